"""Risks: what each node adds to the risk of the tree when it is a leaf. One function a risk."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainccinv, entr

from skprune.trees.core.arrays import TreeArrays, parents

__all__ = [
    "class_counts",
    "class_entropy",
    "confidence_risk",
    "estimated_errors",
    "gini_impurity",
    "held_out_risk",
    "impurity_risk",
    "m_estimate_risk",
    "misclassification_risk",
    "upper_error_rate",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def impurity_risk(tree: TreeArrays) -> Floats:
    """Return the impurity of each node, weighted by the share of the training data it holds.

    ``R(t) = (w_t / w_root) * impurity(t)``, with ``w_t`` the weight of the training rows in node t.
    It is the risk of scikit-learn's ``ccp_alpha`` [1]_, with whatever criterion the tree was grown
    by.

    Parameters
    ----------
    tree : TreeArrays

    Returns
    -------
    ndarray of shape (n_nodes,), float64

    References
    ----------
    .. [1] scikit-learn User Guide, "Minimal Cost-Complexity Pruning".

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.risks import impurity_risk
    >>> tree = DecisionTreeRegressor().fit([[0], [1], [2], [3]], [0.0, 0.0, 4.0, 4.0]).tree_
    >>> impurity_risk(TreeArrays.from_sklearn(tree))
    array([4., 0., 0.])
    """
    # in scikit-learn's order: equal to the bit
    return tree.weighted_n_node_samples * tree.impurity / tree.weighted_n_node_samples[0]


def misclassification_risk(tree: TreeArrays) -> Floats:
    """Return the weight of the training rows that each node would get wrong, as a share of all.

    ``R(t) = (w_t - max_k w_tk) / w_root``, with ``w_tk`` the weight of the rows of class k in node
    t: the resubstitution estimate that CART prunes by [1]_. Over several outputs it is the mean, as
    scikit-learn's impurity is.

    Parameters
    ----------
    tree : TreeArrays
        Of a classifier. Values may be fractions of the node's weight or, as scikit-learn stored
        them before 1.3, weights.

    Returns
    -------
    ndarray of shape (n_nodes,), float64

    Raises
    ------
    ValueError
        If the values of a tree with splits are not over two or more classes.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees",
       1984, sections 2.4 and 3.2.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.risks import misclassification_risk
    >>> tree = DecisionTreeClassifier().fit([[0], [1], [2], [3]], [0, 1, 1, 1]).tree_
    >>> misclassification_risk(TreeArrays.from_sklearn(tree))
    array([0.25, 0.  , 0.  ])
    """
    n_classes = tree.value.shape[2]
    if n_classes < 2 and tree.n_splits:
        raise ValueError(
            "misclassification_risk needs the tree of a classifier, "
            f"got values over {n_classes} class: those of a regressor."
        )
    return _share(tree) * (1.0 - _fractions(tree.value).max(axis=2)).mean(axis=1)


def held_out_risk(
    tree: TreeArrays, leaf: Ints, target: ArrayLike, weight: ArrayLike | None, classifier: bool
) -> Floats:
    """Return what each node loses on the held-out rows that reach it, as a share of their weight.

    ``R(t) = sum of w_i * loss(y_i, prediction of t) / sum of w_i``, above over the rows i that
    reach node t, below over all: the error rate, or for regression the squared error. Its best
    subtree at price 0 is that of reduced-error pruning [1]_. Over several outputs it is the mean.

    Parameters
    ----------
    tree : TreeArrays
    leaf : ndarray of shape (n_rows,), intp
        The leaf that each held-out row reaches.
    target : array-like of shape (n_rows, n_outputs)
        True classes, as positions in the last axis of `tree.value`, or true values.
    weight : array-like of shape (n_rows,) or None
        Weights of the rows; None for ones. Their sum must be positive.
    classifier : bool
        Whether a node predicts the class with the largest value, or the value itself.

    Returns
    -------
    ndarray of shape (n_nodes,), float64

    References
    ----------
    .. [1] J. R. Quinlan, "Simplifying decision trees", International Journal of Man-Machine
       Studies 27 (1987).

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.risks import held_out_risk
    >>> tree = DecisionTreeClassifier().fit([[0], [1], [2], [3]], [0, 1, 1, 1]).tree_
    >>> arrays = TreeArrays.from_sklearn(tree)
    >>> held_out_risk(arrays, [1, 1, 2, 2], [[0], [1], [1], [1]], None, classifier=True)
    array([0.25, 0.25, 0.  ])
    """
    node, target = np.asarray(leaf, dtype=np.intp), np.asarray(target)
    weight = np.ones(len(node)) if weight is None else np.asarray(weight, dtype=np.float64)
    total = weight.sum()
    predicted = tree.value.argmax(axis=2) if classifier else tree.value[:, :, 0]
    parent = parents(tree.left, tree.right)
    lost = np.zeros(tree.n_nodes)
    while len(node):  # all rows climb from their leaves at once
        off = predicted[node] != target if classifier else (predicted[node] - target) ** 2
        np.add.at(lost, node, weight * off.mean(axis=1))
        above = parent[node]
        inside = above >= 0
        node, target, weight = above[inside], target[inside], weight[inside]
    return lost / total


def m_estimate_risk(tree: TreeArrays, m: float = 2.0, n_cases: float | None = None) -> Floats:
    """Return the m-estimate of each node's error rate, weighted by the share of the data it holds.

    ``R(t) = (w_t / w_root) * (1 - max_c (w_tc + p_c m) / (w_t + m))``, with ``w_tc`` the weight of
    the rows of class c in node t and ``p_c`` that class's share of all rows [1]_: as if each node
    held m more rows, of which the classes have their shares. Over several outputs it is the mean.

    Parameters
    ----------
    tree : TreeArrays
        Of a classifier.
    m : float, default=2.0
        At least 0.
    n_cases : float, default=None
        As how many rows those of the root count, whatever they weigh; None is their weight.

    Returns
    -------
    ndarray of shape (n_nodes,), float64

    References
    ----------
    .. [1] B. Cestnik and I. Bratko, "On estimating probabilities in tree pruning", EWSL 1991.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.risks import m_estimate_risk
    >>> tree = DecisionTreeClassifier().fit([[0], [1], [2], [3]], [0, 1, 1, 1]).tree_
    >>> m_estimate_risk(TreeArrays.from_sklearn(tree), m=1.0)
    array([0.25    , 0.09375 , 0.046875])
    """
    weight = _cases(tree, n_cases)[:, np.newaxis, np.newaxis]
    fractions = _fractions(tree.value)
    estimate = np.divide(
        weight * fractions + m * fractions[0],
        weight + m,
        out=np.ones_like(fractions),
        where=weight + m > 0.0,
    )
    return _share(tree) * (1.0 - estimate.max(axis=2)).mean(axis=1)


def upper_error_rate(errors: ArrayLike, cases: ArrayLike, confidence: float = 0.25) -> Floats:
    """Return the upper limit of an error rate: C4.5's pessimistic estimate [1]_.

    If the rate were U, so few errors as E in N cases would be seen with the probability
    `confidence` only. It is the exact (Clopper-Pearson) bound,
    ``U(E, N) = beta.ppf(1 - confidence, E + 1, N - E)``, and ``U(N, N) = 1``.

    Parameters
    ----------
    errors : array-like
        E: the cases in error, which need not be a whole number.
    cases : array-like
        N, at least E.
    confidence : float, default=0.25
        In (0, 1); the smaller, the larger the bound.

    Returns
    -------
    ndarray

    References
    ----------
    .. [1] J. R. Quinlan, "C4.5: Programs for Machine Learning", 1993, section 4.2.

    Examples
    --------
    >>> from skprune.trees.core.risks import upper_error_rate
    >>> upper_error_rate([0, 0, 1, 2], [6, 9, 16, 2]).round(4)
    array([0.2063, 0.1428, 0.1596, 1.    ])
    """
    errors, cases = np.broadcast_arrays(
        np.asarray(errors, dtype=np.float64), np.asarray(cases, dtype=np.float64)
    )
    right = cases - errors
    some = right > 0.0
    # The complement of the beta distribution, so that a small confidence loses no digits.
    bound = betainccinv(errors + 1.0, np.where(some, right, 1.0), confidence)
    return np.where(some, bound, 1.0)


def estimated_errors(counts: Floats, confidence: float = 0.25) -> Floats:
    """Return how many errors C4.5 expects of nodes: their cases, times the upper error rate.

    Parameters
    ----------
    counts : ndarray of shape (n_nodes, n_outputs, n_classes), float64
        Weight of the rows of each class in each node.
    confidence : float, default=0.25
        See :func:`upper_error_rate`.

    Returns
    -------
    ndarray of shape (n_nodes,), float64
        The mean over the outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.trees.core.risks import estimated_errors
    >>> estimated_errors(np.array([[[6.0, 0.0]], [[1.0, 15.0]]])).round(3)
    array([1.238, 2.554])
    """
    cases = counts.sum(axis=2)
    errors = cases - counts.max(axis=2)
    return (cases * upper_error_rate(errors, cases, confidence)).mean(axis=1)


def confidence_risk(
    tree: TreeArrays, confidence: float = 0.25, n_cases: float | None = None
) -> Floats:
    """Return C4.5's upper limit of each node's error rate, weighted by the share of the data.

    ``R(t) = (w_t / w_root) * U(E_t, w_t)``, with ``E_t`` the weight of the training rows in node t
    outside its majority class and U as in :func:`upper_error_rate`. Over several outputs it is the
    mean.

    Parameters
    ----------
    tree : TreeArrays
        Of a classifier.
    confidence : float, default=0.25
        In (0, 1); the smaller, the more splits are not worth their leaves.
    n_cases : float, default=None
        As for :func:`class_counts`.

    Returns
    -------
    ndarray of shape (n_nodes,), float64

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.risks import confidence_risk
    >>> tree = DecisionTreeClassifier().fit([[0], [1], [2], [3]], [0, 1, 1, 1]).tree_
    >>> confidence_risk(TreeArrays.from_sklearn(tree)).round(4)
    array([0.5437, 0.1875, 0.2775])
    """
    errors = estimated_errors(class_counts(tree, n_cases), confidence)
    return errors / _cases(tree, n_cases)[0]


def class_counts(tree: TreeArrays, n_cases: float | None = None) -> Floats:
    """Return the weight of the training rows of each class in each node.

    Parameters
    ----------
    tree : TreeArrays
        Of a classifier.
    n_cases : float, default=None
        As how many rows those of the root count, whatever they weigh; None is their weight.

    Returns
    -------
    ndarray of shape (n_nodes, n_outputs, n_classes), float64

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.risks import class_counts
    >>> tree = DecisionTreeClassifier().fit([[0], [1], [2], [3]], [0, 1, 1, 1]).tree_
    >>> class_counts(TreeArrays.from_sklearn(tree))[:, 0]
    array([[1., 3.],
           [1., 0.],
           [0., 3.]])
    """
    return _fractions(tree.value) * _cases(tree, n_cases)[:, np.newaxis, np.newaxis]


def gini_impurity(counts: Floats) -> Floats:
    """Return the Gini impurity of class counts, ``1 - sum of squared shares``.

    Parameters
    ----------
    counts : ndarray of shape (n_nodes, n_outputs, n_classes), float64

    Returns
    -------
    ndarray of shape (n_nodes,), float64
        The mean over the outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.trees.core.risks import gini_impurity
    >>> gini_impurity(np.array([[[5.0, 5.0]], [[4.0, 0.0]]]))
    array([0.5, 0. ])
    """
    return (1.0 - (_fractions(counts) ** 2).sum(axis=2)).mean(axis=1)


def class_entropy(counts: Floats) -> Floats:
    """Return the entropy of class counts, in bits.

    Parameters
    ----------
    counts : ndarray of shape (n_nodes, n_outputs, n_classes), float64

    Returns
    -------
    ndarray of shape (n_nodes,), float64
        The mean over the outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.trees.core.risks import class_entropy
    >>> class_entropy(np.array([[[5.0, 5.0]], [[4.0, 0.0]]]))
    array([1., 0.])
    """
    return entr(_fractions(counts)).sum(axis=2).mean(axis=1) / np.log(2.0)


def _fractions(value: Floats) -> Floats:
    """Values as fractions of their node; a node without weight is all of its first class."""
    total = value.sum(axis=2, keepdims=True)
    whole = np.zeros_like(value)
    whole[:, :, 0] = 1.0
    return np.divide(value, total, out=whole, where=total != 0.0)


def _cases(tree: TreeArrays, n_cases: float | None) -> Floats:
    weight = tree.weighted_n_node_samples
    return weight if n_cases is None else weight * (n_cases / weight[0])


def _share(tree: TreeArrays) -> Floats:
    return tree.weighted_n_node_samples / tree.weighted_n_node_samples[0]
