"""Which whole trees of an averaged forest to keep.

The squared error of an average of trees is the mean, over all pairs of them, of the products of
their errors. So one matrix of trees by trees tells the loss of every subset, and rows of data are
read once, in chunks, to fill it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ErrorGram", "TreeOrder", "error_gram", "order_trees", "prefix_losses"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Trees that are equally good in exact arithmetic differ by rounding, which is relative to the
# largest entry of the matrix.
ROUNDING = 1e-12
# Numbers held at once while the matrix is filled: 32 MiB of float64.
CHUNK = 2**22


class TreeOrder(NamedTuple):
    """An order of the trees of a forest, and how good each of its beginnings is.

    Attributes
    ----------
    order : ndarray of shape (n_trees,), intp
        Tree numbers; those to keep longest come first.
    losses : ndarray of shape (n_trees,), float64
        ``losses[k - 1]`` is the mean squared error, summed over outputs, of the average of the
        first ``k`` trees of the order.
    """

    order: Ints
    losses: Floats


class ErrorGram:
    """Mean products of the errors of every two trees, filled chunk by chunk.

    For trees t and u with predictions f, targets y and weights w of the rows, the entry is::

        G[t, u] = sum_i w_i <f_t(x_i) - y_i, f_u(x_i) - y_i> / sum_i w_i

    The average of the trees of a set S has the mean squared error ``G[S][:, S].mean()`` [1]_.

    Where each tree may be judged only on some rows, such as those out of its bag, every pair has
    the rows that may judge both, and some pairs have harder rows than others. So the entry is how
    far a pair's products are, in the mean over its rows, from the mean product of the pairs that
    share the row; and to it is added the mean of that over all rows. Squared errors, on the
    diagonal, are compared with squared errors. A pair's own part in the mean of its rows draws the
    entry a little towards the others', the less the more trees there are.

    What results estimates the loss of any average of ``len(S)`` trees on new rows, although no row
    is out of bag in all of them: the average of only those trees for which it is would be one of
    fewer trees, and so of more variance. The smallest of many such estimates is too small.

    Parameters
    ----------
    n_trees : int
        At least 1.

    References
    ----------
    .. [1] G. Martinez-Munoz, D. Hernandez-Lobato and A. Suarez, "An Analysis of Ensemble Pruning
       Techniques Based on Ordered Aggregation", IEEE TPAMI 31(2), 2009.

    Examples
    --------
    >>> from skprune.trees.forests.selection import ErrorGram
    >>> gram = ErrorGram(n_trees=2)
    >>> gram.add([[[1.0], [3.0]], [[2.0], [2.0]]], targets=[[2.0], [2.0]])
    >>> gram.add([[[5.0]], [[6.0]]], targets=[[4.0]])
    >>> gram.matrix()
    array([[1.        , 0.66666667],
           [0.66666667, 1.33333333]])
    """

    def __init__(self, n_trees: int) -> None:
        if n_trees < 1:
            raise ValueError(f"n_trees must be at least 1, got {n_trees!r}.")
        self._n_trees = n_trees
        self._products = np.zeros((n_trees, n_trees))
        self._weights = np.zeros((n_trees, n_trees))
        # Over rows: weighted sums of the mean product of two trees and of the mean squared error
        # of one, and the weights of the rows on which two trees, and one, may be judged.
        self._means = np.zeros(2)
        self._mean_weights = np.zeros(2)

    def add(
        self,
        predictions: ArrayLike,
        targets: ArrayLike,
        sample_weight: ArrayLike | None = None,
        judged: ArrayLike | None = None,
    ) -> None:
        """Count in some rows.

        Parameters
        ----------
        predictions : array-like of shape (n_trees, n_rows, n_outputs), float64
            What each tree alone predicts: a value per output, or a probability per class.
        targets : array-like of shape (n_rows, n_outputs), float64
            What it should predict; classes as indicators.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows, all 1 by default; a weight of 2 is a row given twice.
        judged : array-like of shape (n_rows, n_trees), bool, default=None
            On which rows each tree may be judged, such as those out of its bag; all by default.

        Raises
        ------
        ValueError
            If the shapes disagree, or a weight is negative or not finite.
        """
        errors = np.array(predictions, dtype=np.float64)
        targets = np.asarray(targets, dtype=np.float64)
        if targets.ndim != 2 or errors.shape != (self._n_trees, *targets.shape):
            raise ValueError(
                f"predictions must have shape (n_trees, n_rows, n_outputs) with {self._n_trees} "
                f"trees, and targets (n_rows, n_outputs); got {errors.shape} and {targets.shape}."
            )
        weight = check_weight(sample_weight, len(targets))
        mask = check_judged(judged, (len(targets), self._n_trees))

        errors -= targets
        if mask is not None:
            errors *= mask.T[:, :, np.newaxis]
            self._count_means(errors, weight, mask)
        errors *= np.sqrt(weight)[:, np.newaxis]
        flat = errors.reshape(self._n_trees, -1)
        self._products += flat @ flat.T
        if mask is None:
            self._weights += weight.sum()

    def _count_means(self, errors: Floats, weight: Floats, mask: Bools) -> None:
        """Set the products against the mean of their rows; `errors` are 0 where `mask` is false."""
        counts = np.count_nonzero(mask, axis=1)
        total = errors.sum(axis=0)
        squares = np.einsum("tij,tij->i", errors, errors)
        pairs = (np.einsum("ij,ij->i", total, total) - squares) / np.maximum(
            counts * (counts - 1), 1
        )
        own = squares / np.maximum(counts, 1)

        trees = mask.T.astype(np.float64)
        self._weights += (trees * weight) @ mask
        expected = (trees * (weight * pairs)) @ mask
        np.fill_diagonal(expected, trees @ (weight * own))
        self._products -= expected
        self._means += [weight @ np.where(counts >= 2, pairs, 0.0), weight @ own]
        self._mean_weights += [weight @ (counts >= 2), weight @ (counts >= 1)]

    def matrix(self) -> Floats:
        """Return the mean products.

        A pair of trees that no row can judge together is taken for an average pair, and a tree that
        no row can judge for an average tree: with few rows, as out of bag, that happens, and says
        nothing for or against them.

        Returns
        -------
        ndarray of shape (n_trees, n_trees), float64

        Raises
        ------
        ValueError
            If no row can judge any tree.
        """
        if not np.diagonal(self._weights).any():
            raise ValueError("No tree can be judged: there is no row with weight to judge it on.")
        gram = self._products / np.where(self._weights > 0.0, self._weights, 1.0)
        pair, own = self._means / np.where(self._mean_weights > 0.0, self._mean_weights, 1.0)
        gram += pair
        gram[np.diag_indices_from(gram)] += own - pair
        return (gram + gram.T) / 2.0


def error_gram(
    values: ArrayLike,
    leaves: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    judged: ArrayLike | None = None,
) -> Floats:
    """Return the mean products of the errors of every two trees, from the leaves of the rows.

    Predictions are looked up some rows at a time, so that those of all trees for all rows are never
    held at once.

    Parameters
    ----------
    values : array-like of shape (n_leaves, n_outputs), float64
        What each leaf, of whichever tree, predicts for its tree alone.
    leaves : array-like of shape (n_rows, n_trees), integers
        Which of them each row reaches in each tree.
    targets : array-like of shape (n_rows, n_outputs), float64
        What the forest should predict; classes as indicators.
    sample_weight : array-like of shape (n_rows,), default=None
        Weights of the rows, all 1 by default.
    judged : array-like of shape (n_rows, n_trees), bool, default=None
        On which rows each tree may be judged; all by default.

    Returns
    -------
    ndarray of shape (n_trees, n_trees), float64
        As :meth:`ErrorGram.matrix`.

    Raises
    ------
    ValueError
        As :meth:`ErrorGram.add` and :meth:`ErrorGram.matrix`.

    Examples
    --------
    >>> from skprune.trees.forests.selection import error_gram
    >>> values = [[1.0], [3.0], [2.0], [5.0]]  # the first two are leaves of tree 0
    >>> error_gram(values, [[0, 2], [1, 2], [1, 3]], targets=[[2.0], [2.0], [4.0]])
    array([[ 1.        , -0.33333333],
           [-0.33333333,  0.33333333]])
    """
    values = np.asarray(values, dtype=np.float64)
    leaves = np.asarray(leaves)
    targets = np.asarray(targets, dtype=np.float64)
    weight = check_weight(sample_weight, len(leaves))
    mask = check_judged(judged, leaves.shape)

    gram = ErrorGram(leaves.shape[1])
    step = max(1, CHUNK // (leaves.shape[1] * values.shape[1]))
    for start in range(0, len(leaves), step):
        rows = slice(start, start + step)
        gram.add(
            values[leaves[rows].T],
            targets[rows],
            weight[rows],
            None if mask is None else mask[rows],
        )
    return gram.matrix()


def order_trees(
    gram: ArrayLike, direction: Literal["forward", "backward"] = "forward"
) -> TreeOrder:
    """Order the trees of a forest greedily, by the squared error of the averages it passes through.

    Forward, each next tree is the one that makes the best average with those before it: ordered
    aggregation [2]_, which is reduce-error pruning [1]_ without its exchanges and with the squared
    error. It was proposed for products on the training rows, all of them for every tree, and for
    bagged trees these order better than the fewer rows out of bag do; but only the latter tell how
    good the averages are, by :func:`prefix_losses`.

    Backward, trees are taken out of the whole forest, each time the one that the others do best
    without. Ties go to the tree with the lower number.

    Parameters
    ----------
    gram : array-like of shape (n_trees, n_trees), float64
        Mean products of the errors, as :func:`error_gram` returns them.
    direction : {"forward", "backward"}, default="forward"
        Forward is made for keeping few trees, backward for removing few.

    Returns
    -------
    TreeOrder

    Raises
    ------
    ValueError
        If `gram` is not a square matrix of finite numbers, or there is no such direction.

    References
    ----------
    .. [1] D. Margineantu and T. Dietterich, "Pruning Adaptive Boosting", ICML 1997.
    .. [2] G. Martinez-Munoz and A. Suarez, "Pruning in Ordered Bagging Ensembles", ICML 2006.

    Examples
    --------
    Of three trees, the second is best, and the third errs in the other direction.

    >>> from skprune.trees.forests.selection import order_trees
    >>> gram = [[2.0, 1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, 2.0]]
    >>> order_trees(gram)
    TreeOrder(order=array([1, 2, 0]), losses=array([1.        , 0.25      , 0.33333333]))
    """
    gram = _check_gram(gram)
    if direction == "forward":
        order = _forward(gram)
    elif direction == "backward":
        order = _backward(gram)
    else:
        raise ValueError(f"direction must be 'forward' or 'backward', got {direction!r}.")
    return TreeOrder(order, prefix_losses(gram, order))


def _forward(gram: Floats) -> Ints:
    n_trees = len(gram)
    slack = ROUNDING * np.abs(gram).max() * n_trees
    order = np.empty(n_trees, dtype=np.intp)
    left = np.ones(n_trees, dtype=np.bool_)
    cost = np.diagonal(gram).copy()  # what each tree would add to the sum over pairs
    for k in range(n_trees):
        candidates = np.where(left, cost, np.inf)
        tree = int(np.argmax(candidates <= candidates.min() + slack))
        order[k] = tree
        left[tree] = False
        cost += 2.0 * gram[tree]
    return order


def _backward(gram: Floats) -> Ints:
    n_trees = len(gram)
    slack = ROUNDING * np.abs(gram).max() * n_trees
    order = np.empty(n_trees, dtype=np.intp)
    left = np.ones(n_trees, dtype=np.bool_)
    gain = 2.0 * gram.sum(axis=1) - np.diagonal(gram)  # what each takes out of the sum over pairs
    for k in range(n_trees - 1, -1, -1):
        candidates = np.where(left, gain, -np.inf)
        tree = int(np.flatnonzero(candidates >= candidates.max() - slack)[-1])
        order[k] = tree
        left[tree] = False
        gain -= 2.0 * gram[tree]
    return order


def prefix_losses(gram: ArrayLike, order: ArrayLike) -> Floats:
    """Return the mean squared error of the average of the first k trees of an order, for every k.

    So an order that was found on some rows is judged on others: the losses of :func:`order_trees`
    are those of the choice itself.

    Parameters
    ----------
    gram : array-like of shape (n_trees, n_trees), float64
        Mean products of the errors, as :func:`error_gram` returns them.
    order : array-like of shape (n_kept,), integers
        Tree numbers.

    Returns
    -------
    ndarray of shape (n_kept,), float64

    Raises
    ------
    ValueError
        If `gram` is not a square matrix of finite numbers.

    Examples
    --------
    >>> from skprune.trees.forests.selection import prefix_losses
    >>> prefix_losses([[2.0, 1.0], [1.0, 4.0]], [1, 0])
    array([4., 2.])
    """
    order = np.asarray(order, dtype=np.intp)
    ordered = _check_gram(gram)[np.ix_(order, order)]
    added = 2.0 * np.tril(ordered).sum(axis=1) - np.diagonal(ordered)
    return np.cumsum(added) / np.arange(1, len(order) + 1) ** 2


def _check_gram(gram: ArrayLike) -> Floats:
    gram = np.asarray(gram, dtype=np.float64)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or gram.size == 0:
        raise ValueError(f"gram must be a square matrix, got shape {gram.shape}.")
    if not np.isfinite(gram).all():
        raise ValueError("gram must hold finite numbers.")
    return (gram + gram.T) / 2.0


def check_weight(sample_weight: ArrayLike | None, n_rows: int) -> Floats:
    """Return the weights of the rows, all 1 if there are none given.

    Parameters
    ----------
    sample_weight : array-like of shape (n_rows,) or None
        Finite, not negative.
    n_rows : int
        Number of rows.

    Returns
    -------
    ndarray of shape (n_rows,), float64

    Raises
    ------
    ValueError
        If they are not that.

    Examples
    --------
    >>> from skprune.trees.forests.selection import check_weight
    >>> check_weight(None, 2)
    array([1., 1.])
    """
    if sample_weight is None:
        return np.ones(n_rows)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n_rows,):
        raise ValueError(f"sample_weight must have shape ({n_rows},), got {weight.shape}.")
    if not (np.isfinite(weight).all() and (weight >= 0.0).all()):
        raise ValueError("sample_weight must be finite and not negative.")
    return weight


def check_judged(judged: ArrayLike | None, shape: tuple[int, ...]) -> Bools | None:
    """Return the mask of the rows that each tree may be judged on; None for all.

    Parameters
    ----------
    judged : array-like of shape (n_rows, n_trees), bool, or None
        The mask.
    shape : tuple of int
        The shape that it must have.

    Returns
    -------
    ndarray of shape (n_rows, n_trees), bool, or None

    Raises
    ------
    ValueError
        If it is not that.

    Examples
    --------
    >>> from skprune.trees.forests.selection import check_judged
    >>> check_judged([[True, False]], (1, 2))
    array([[ True, False]])
    """
    if judged is None:
        return None
    mask = np.asarray(judged)
    if mask.dtype != np.bool_ or mask.shape != shape:
        raise ValueError(
            f"judged must be a boolean mask of shape {shape}, "
            f"got dtype {mask.dtype} and shape {mask.shape}."
        )
    return mask
