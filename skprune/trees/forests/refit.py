"""New values for the leaves of a whole forest at once, and the merging of leaves that follows.

The leaves of a forest make features: a row has a one for the leaf that it reaches in each tree. The
forest predicts by a linear model of them, and this module fits that model by ridge regression.
Values here are what a leaf adds to the *sum* over trees: for a forest that averages, the values of
its leaves divided by the number of trees.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, diags_array

from skprune.indices import with_short_indices
from skprune.trees.core.arrays import NO_CHILD, node_depths, parents
from skprune.trees.forests.selection import check_judged, check_weight

__all__ = [
    "MergedForest",
    "leaf_indicators",
    "merge_leaf_pairs",
    "refit_leaves",
    "refit_path",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Errors that sum to less than this part of the largest are zero but for rounding.
ROUNDING = 1e-9


def leaf_indicators(leaves: ArrayLike, n_leaves: int, judged: ArrayLike | None = None) -> csr_array:
    """Return the matrix that has a one for the leaf that each row reaches in each tree.

    Times the values of the leaves, it is the sum over the trees.

    Parameters
    ----------
    leaves : array-like of shape (n_rows, n_trees), integers
        Which leaf each row reaches in each tree, leaves being numbered over the whole forest.
    n_leaves : int
        How many there are.
    judged : array-like of shape (n_rows, n_trees), bool, default=None
        Trees to count for each row, such as those whose bag it is out of; all by default. Entries
        are then ``n_trees`` over their number in the row, so that the sum still stands for that of
        all trees. A row with none is empty.

    Returns
    -------
    csr_array of shape (n_rows, n_leaves), float64

    Raises
    ------
    ValueError
        If a leaf is out of range, or the shapes disagree.

    Examples
    --------
    >>> from skprune.trees.forests.refit import leaf_indicators
    >>> leaf_indicators([[0, 2], [1, 2]], n_leaves=4).toarray()
    array([[1., 0., 1., 0.],
           [0., 1., 1., 0.]])
    >>> leaf_indicators([[0, 2]], n_leaves=4, judged=[[True, False]]).toarray()
    array([[2., 0., 0., 0.]])
    """
    leaves = _check_leaves(leaves, n_leaves)
    mask = check_judged(judged, leaves.shape)
    n_rows, n_trees = leaves.shape
    if mask is None:
        counts = np.full(n_rows, n_trees)
        columns = leaves.ravel()
    else:
        counts = np.count_nonzero(mask, axis=1)
        columns = leaves[mask]
    entries = np.repeat(n_trees / np.maximum(counts, 1), counts)
    starts = np.concatenate([[0], np.cumsum(counts)])
    return with_short_indices(csr_array((entries, columns, starts), shape=(n_rows, n_leaves)))


def refit_leaves(
    leaves: ArrayLike,
    targets: ArrayLike,
    prior: ArrayLike,
    *,
    alpha: float = 0.3,
    sample_weight: ArrayLike | None = None,
    judged: ArrayLike | None = None,
    tol: float = 1e-3,
    max_iter: int = 1000,
) -> Floats:
    """Fit the values of all leaves of a forest together, by ridge regression towards a prior.

    With indicators L, targets Y and weights w of the rows, prior values V0 and T trees, the values
    V minimise::

        sum_i w_i ||Y_i - L_i V||^2 + alpha T ||V - V0||^2

    This is global refinement [1]_ with the squared error. There the prior is 0; the values that the
    forest has, over T, make small and large alphas safe alike, as a large one leaves the forest as
    it is, and a leaf that no row reaches keeps its value.

    The factor T makes the same `alpha` mean the same for forests of any size: the solution is the
    posterior mean of a Gaussian process whose kernel is the proximity of the forest [2]_, the share
    of trees in which two rows meet, with noise of `alpha` times its variance. Weights count as
    repetitions, so they should be about 1 on average.

    Parameters
    ----------
    leaves : array-like of shape (n_rows, n_trees), integers
        Which leaf each row reaches in each tree, leaves being numbered over the whole forest.
    targets : array-like of shape (n_rows, n_outputs), float64
        What the sum over the trees should be; classes as indicators.
    prior : array-like of shape (n_leaves, n_outputs), float64
        Values to shrink towards; zeros for plain ridge.
    alpha : float > 0, default=0.3
        How strongly. Targets without noise take less, those that are mostly noise more.
    sample_weight : array-like of shape (n_rows,), default=None
        Weights of the rows, all 1 by default.
    judged : array-like of shape (n_rows, n_trees), bool, default=None
        Trees to count for each row; see :func:`leaf_indicators`. Given the rows out of the bag of
        each tree, the fit does not see values that were learned from the row itself.
    tol : float > 0, default=1e-3
        Largest norm of the residual of the equations, relative to that of their right hand side.
    max_iter : int, default=1000
        Largest number of steps; when they do not suffice there is a ``RuntimeWarning``.

    Returns
    -------
    ndarray of shape (n_leaves, n_outputs), float64
        Where the targets sum to one in every row, and the sums of the prior do, so do those of the
        new values: predicted probabilities sum to one. They may leave [0, 1].

    Raises
    ------
    ValueError
        If shapes disagree, a leaf is out of range, a number is not finite, or `alpha` is not
        positive.

    References
    ----------
    .. [1] S. Ren, X. Cao, Y. Wei and J. Sun, "Global Refinement of Random Forest", CVPR 2015,
       section 3.
    .. [2] E. Scornet, "Random Forests and Kernel Methods", IEEE Transactions on Information Theory
       62(3), 2016.

    Examples
    --------
    One tree with two leaves: each value is the mean of its rows and of one row at the prior.

    >>> from skprune.trees.forests.refit import refit_leaves
    >>> refit_leaves([[0], [0], [1]], [[1.0], [4.0], [5.0]], [[1.0], [3.0]], alpha=1.0)
    array([[2.],
           [4.]])
    """
    path = refit_path(
        leaves,
        targets,
        prior,
        alphas=[alpha],
        sample_weight=sample_weight,
        judged=judged,
        tol=tol,
        max_iter=max_iter,
    )
    return next(path)


def refit_path(
    leaves: ArrayLike,
    targets: ArrayLike,
    prior: ArrayLike,
    *,
    alphas: Sequence[float],
    sample_weight: ArrayLike | None = None,
    judged: ArrayLike | None = None,
    tol: float = 1e-3,
    max_iter: int = 1000,
) -> Iterator[Floats]:
    """Fit the values of all leaves for several alphas, at about the price of the smallest.

    Parameters
    ----------
    leaves, targets, prior, sample_weight, judged, tol, max_iter
        As in :func:`refit_leaves`.
    alphas : sequence of float > 0
        Strengths of the prior, in any order.

    Yields
    ------
    values : ndarray of shape (n_leaves, n_outputs), float64
        As :func:`refit_leaves` returns them, one array an alpha.

    Raises
    ------
    ValueError
        As :func:`refit_leaves`.

    Examples
    --------
    >>> from skprune.trees.forests.refit import refit_path
    >>> path = refit_path([[0], [0]], [[1.0], [4.0]], [[1.0]], alphas=[1.0, 4.0])
    >>> [values.item() for values in path]
    [2.0, 1.5]
    """
    prior, targets = _matrix("prior", prior), _matrix("targets", targets)
    if prior.shape[1] != targets.shape[1]:
        raise ValueError(
            f"prior and targets must have as many outputs, got {prior.shape} and {targets.shape}."
        )
    shifts = _check_alphas(alphas)
    indicators = leaf_indicators(leaves, len(prior), judged)
    if indicators.shape[0] != len(targets):
        raise ValueError(
            f"leaves and targets must have as many rows, "
            f"got {indicators.shape[0]} and {len(targets)}."
        )
    weight = check_weight(sample_weight, len(targets))
    if judged is not None:  # a row that no tree may be judged on says nothing
        weight = np.where(np.diff(indicators.indptr) > 0, weight, 0.0)

    root = np.sqrt(weight)[:, np.newaxis]
    features = csr_array(diags_array(root[:, 0]) @ indicators)
    errors = root * (targets - indicators @ prior)
    return _refits(features, errors, prior, shifts * np.shape(leaves)[1], tol, max_iter)


class MergedForest(NamedTuple):
    """A forest whose leaves were merged, and their values.

    Attributes
    ----------
    collapsed : list of ndarray of shape (n_nodes,), bool
        For each tree, the mask of the nodes that were splits and are no more.
    values : list of ndarray of shape (n_nodes, n_outputs), float64
        For each tree, what its leaves add to the sum over the trees; at other nodes, the prior.
    """

    collapsed: list[Bools]
    values: list[Floats]


def merge_leaf_pairs(
    children: Sequence[tuple[ArrayLike, ArrayLike]],
    leaves: ArrayLike,
    targets: ArrayLike,
    prior: Sequence[ArrayLike],
    *,
    n_splits: int,
    fraction: float = 0.3,
    significance: Literal["change", "norm"] = "change",
    alpha: float = 0.3,
    sample_weight: ArrayLike | None = None,
    tol: float = 1e-3,
    max_iter: int = 1000,
    advance: Callable[[int], object] | None = None,
) -> MergedForest:
    """Merge the least significant sibling leaves of a forest and refit, to a number of splits.

    This is global pruning [1]_: in each round the splits whose two children are leaves are ranked
    over the whole forest, the least significant ones become leaves, and all leaves are refitted.

    Parameters
    ----------
    children : sequence of (left, right)
        For each tree, the children of its nodes, both -1 at a leaf; node 0 is the root.
    leaves : array-like of shape (n_rows, n_trees), integers
        Which node, a leaf, each row reaches in each tree, by the number it has in its tree.
    targets : array-like of shape (n_rows, n_outputs), float64
        What the sum over the trees should be; classes as indicators.
    prior : sequence of array-like of shape (n_nodes, n_outputs), float64
        For each tree, values to shrink towards at each of its nodes: what the node predicts as a
        leaf, over the number of trees; or zeros.
    n_splits : int
        How many splits to leave, over all trees.
    fraction : float in (0, 1], default=0.3
        Part of the pairs that a round merges. Less is slower and, towards few splits, better.
    significance : {"change", "norm"}, default="change"
        "change": sum of the squared changes of predictions when both leaves take their mean,
        ``w_l w_r / (w_l + w_r) ||v_l - v_r||^2`` with w the weight of the rows in a leaf. "norm":
        ``||v_l - p_l|| + ||v_r - p_r||``, how far the fit has moved the leaves from their prior; it
        is the paper's where that is zero.
    alpha, sample_weight, max_iter
        As in :func:`refit_leaves`.
    tol : float > 0, default=1e-3
        As in :func:`refit_leaves`, for the last fit; those that only rank take 1e-2 or more.
    advance : callable, default=None
        Is told after each round how many splits went.

    Returns
    -------
    MergedForest

    Raises
    ------
    ValueError
        If the arrays are not trees, a row is not at a leaf, or as :func:`refit_leaves`.

    References
    ----------
    .. [1] S. Ren, X. Cao, Y. Wei and J. Sun, "Global Refinement of Random Forest", CVPR 2015,
       section 4.

    Examples
    --------
    >>> from skprune.trees.forests.refit import merge_leaf_pairs
    >>> left, right = [1, -1, 3, -1, -1], [2, -1, 4, -1, -1]
    >>> merged = merge_leaf_pairs(
    ...     [(left, right)],
    ...     leaves=[[1], [3], [4]],
    ...     targets=[[0.0], [5.0], [6.0]],
    ...     prior=[[[3.0], [1.0], [4.0], [5.0], [5.0]]],
    ...     n_splits=1,
    ...     alpha=1.0,
    ... )
    >>> merged.collapsed[0].tolist()
    [False, False, True, False, False]
    >>> merged.values[0].round(3).ravel().tolist()
    [3.0, 0.5, 5.0, 5.0, 5.0]
    """
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"fraction must be in (0, 1], got {fraction!r}.")
    if significance not in SIGNIFICANCE:
        raise ValueError(f"significance must be 'change' or 'norm', got {significance!r}.")
    if n_splits < 0:
        raise ValueError(f"n_splits must not be negative, got {n_splits!r}.")
    left, right, starts = _join(children)
    before = _matrix("prior", np.concatenate([np.asarray(values) for values in prior]))
    if len(before) != len(left) or len(prior) != len(children):
        raise ValueError("prior must have the values of every node of every tree.")
    forest = _Merging(left, right, _number_leaves(leaves, left, starts), sample_weight)

    def fit(tol: float) -> Floats:
        nodes, columns = forest.leaf_numbers()
        values = before.copy()
        values[nodes] = refit_leaves(
            columns,
            targets,
            before[nodes],
            alpha=alpha,
            sample_weight=sample_weight,
            tol=tol,
            max_iter=max_iter,
        )
        return values

    while (excess := forest.n_splits - n_splits) > 0:
        pairs = forest.pairs()
        rank = SIGNIFICANCE[significance](
            fit(max(tol, 1e-2)), before, left[pairs], right[pairs], forest.weight
        )
        n_merged = min(int(np.ceil(fraction * len(pairs))), excess)
        forest.merge(pairs[np.argsort(rank, kind="stable")[:n_merged]])
        if advance is not None:
            advance(n_merged)
    ends = starts[1:-1]
    return MergedForest(np.split(forest.collapsed, ends), np.split(fit(tol), ends))


class _Merging:
    """All trees of a forest in one numbering, and which of their splits are left."""

    def __init__(
        self, left: Ints, right: Ints, at: Ints, sample_weight: ArrayLike | None = None
    ) -> None:
        self._left, self._right, self._at = left, right, at
        self._is_leaf = left == NO_CHILD
        self.n_splits = int(np.count_nonzero(~self._is_leaf))
        self.collapsed = np.zeros(len(left), dtype=np.bool_)
        weight = np.repeat(check_weight(sample_weight, len(at)), at.shape[1])
        # Of the rows at each leaf; that of a split is known when it becomes one.
        self.weight: Floats = np.zeros(len(left))
        np.add.at(self.weight, at.ravel(), weight)

    def pairs(self) -> Ints:
        """Return the splits whose children are both leaves."""
        splits = np.flatnonzero((self._left != NO_CHILD) & ~self.collapsed)
        both = self._is_leaf[self._left[splits]] & self._is_leaf[self._right[splits]]
        return splits[both]

    def merge(self, pairs: Ints) -> None:
        """Make leaves of these splits."""
        left, right = self._left[pairs], self._right[pairs]
        follow = np.arange(len(self._left))
        follow[left] = follow[right] = pairs
        self._at = follow[self._at]
        self.weight[pairs] = self.weight[left] + self.weight[right]
        self._is_leaf[left] = self._is_leaf[right] = False
        self._is_leaf[pairs] = self.collapsed[pairs] = True
        self.n_splits -= len(pairs)

    def leaf_numbers(self) -> tuple[Ints, Ints]:
        """Return the nodes that are leaves, and which of these each row reaches in each tree."""
        number = np.cumsum(self._is_leaf) - 1
        return np.flatnonzero(self._is_leaf), number[self._at]


def _change(values: Floats, before: Floats, left: Ints, right: Ints, weight: Floats) -> Floats:
    """Return the squared change of predictions when each pair takes its weighted mean."""
    total = weight[left] + weight[right]
    share = weight[left] * weight[right] / np.where(total > 0.0, total, 1.0)
    return share * ((values[left] - values[right]) ** 2).sum(axis=1)


def _norm(values: Floats, before: Floats, left: Ints, right: Ints, weight: Floats) -> Floats:
    """Return how far both leaves of each pair are from their prior."""
    moved = np.linalg.norm(values - before, axis=1)
    return moved[left] + moved[right]


SIGNIFICANCE: dict[str, Callable[[Floats, Floats, Ints, Ints, Floats], Floats]] = {
    "change": _change,
    "norm": _norm,
}


def _join(children: Sequence[tuple[ArrayLike, ArrayLike]]) -> tuple[Ints, Ints, Ints]:
    """Return the children of all nodes in one numbering, and where each tree starts in it."""
    if not len(children):
        raise ValueError("children must be those of at least one tree, got none.")
    lefts, rights, starts = [], [], [0]
    for left, right in children:
        node_depths(parents(left, right))  # refuses what is not one tree
        lefts.append(_shifted(left, starts[-1]))
        rights.append(_shifted(right, starts[-1]))
        starts.append(starts[-1] + len(lefts[-1]))
    return np.concatenate(lefts), np.concatenate(rights), np.array(starts)


def _shifted(nodes: ArrayLike, by: int) -> Ints:
    nodes = np.asarray(nodes, dtype=np.intp)
    return np.where(nodes == NO_CHILD, NO_CHILD, nodes + by)


def _number_leaves(leaves: ArrayLike, left: Ints, starts: Ints) -> Ints:
    leaves = _check_leaves(leaves, len(left))
    if leaves.shape[1] != len(starts) - 1:
        raise ValueError(
            f"leaves must have a column for each of {len(starts) - 1} trees, got {leaves.shape}."
        )
    numbered = leaves + starts[:-1]
    if (numbered >= starts[1:]).any() or (left[numbered] != NO_CHILD).any():
        raise ValueError("leaves must be leaves of their trees.")
    return numbered


def _refits(
    features: csr_array, errors: Floats, prior: Floats, shifts: Floats, tol: float, max_iter: int
) -> Iterator[Floats]:
    """Solve for the rows' multipliers and give the values of the leaves, one shift at a time.

    The solution is V0 + F' A with (F F' + shift) A = errors: equations over rows, which are fewer
    than the leaves of deep trees, and all shifts share their Krylov space.
    """
    transposed = csr_array(features.T)
    multipliers = _solve_shifted(features, transposed, errors, shifts, tol, max_iter)
    # Equations whose right hand sides sum to zero over outputs have solutions that do; iteration
    # leaves that true within the tolerance, and this to the last bits.
    balanced = np.abs(errors.sum(axis=1)).max(initial=0.0) <= ROUNDING * np.abs(errors).max(
        initial=0.0
    )
    for solution in multipliers:
        change = transposed @ solution
        if balanced:
            change -= change.mean(axis=1, keepdims=True)
        yield prior + change


def _solve_shifted(
    features: csr_array,
    transposed: csr_array,
    right: Floats,
    shifts: Floats,
    tol: float,
    max_iter: int,
) -> Floats:
    """Solve (F F' + shift) A = right for every shift and column, by conjugate gradients.

    One Lanczos process a column serves all shifts, for they change only the diagonal of its
    tridiagonal matrix. Each shift factors that matrix as it grows and updates its own solution:
    Y. Saad, "Iterative Methods for Sparse Linear Systems", second edition, algorithm 6.17.

    Returns an array of shape (n_shifts, n_rows, n_outputs).
    """
    norms = np.linalg.norm(right, axis=0)
    vector = right / np.where(norms > 0.0, norms, 1.0)
    before = np.zeros_like(vector)
    solutions = np.zeros((len(shifts), *right.shape))
    directions = np.zeros_like(solutions)
    pivots = np.ones((len(shifts), len(norms)))
    steps = np.tile(norms, (len(shifts), 1))
    beta = np.zeros(len(norms))
    active = np.arange(len(shifts))

    for iteration in range(max_iter):
        following = features @ (transposed @ vector) - beta * before
        diagonal = np.einsum("ij,ij->j", following, vector)
        following -= diagonal * vector
        for k in active:
            factor = beta / pivots[k]
            pivots[k] = diagonal + shifts[k] - beta * factor
            if iteration:
                steps[k] *= -factor
            directions[k] *= -beta
            directions[k] += vector
            directions[k] /= pivots[k]
            solutions[k] += steps[k] * directions[k]
        beta = np.linalg.norm(following, axis=0)
        residual = beta * np.abs(steps[active] / pivots[active])
        active = active[(residual > tol * norms).any(axis=1)]
        if not active.size:
            return solutions
        before, vector = vector, following / np.where(beta > 0.0, beta, 1.0)
    warnings.warn(
        f"The refit of the leaves stopped after {max_iter} steps, short of the tolerance {tol}; "
        "a larger alpha needs fewer.",
        RuntimeWarning,
        stacklevel=4,
    )
    return solutions


def _check_leaves(leaves: ArrayLike, n_leaves: int) -> Ints:
    leaves = np.asarray(leaves)
    if leaves.ndim != 2 or leaves.shape[1] == 0 or leaves.dtype.kind not in "iu":
        raise ValueError(
            "leaves must hold integers, rows by trees, "
            f"got dtype {leaves.dtype} and shape {leaves.shape}."
        )
    if leaves.size and not (leaves.min() >= 0 and leaves.max() < n_leaves):
        raise ValueError(
            f"leaves must be in [0, {n_leaves}), got {leaves.min()} to {leaves.max()}."
        )
    return leaves.astype(np.intp, copy=False)


def _check_alphas(alphas: Sequence[float]) -> Floats:
    array = np.asarray(alphas, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not (np.isfinite(array) & (array > 0.0)).all():
        raise ValueError(f"alpha must be a positive number, got {alphas!r}.")
    return array


def _matrix(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} must have two dimensions and a column, got {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite.")
    return array
