"""Boosted ensembles of scikit-learn: read their trees, find the values of cut branches, rewrite.

For GradientBoosting and HistGradientBoosting, classifiers and regressors. What they predict is::

    raw = base_values(model) + sum of shrinkage(model) * (leaf value) over members(model)

by outputs, and :func:`link_name` of that. The risk that cost-complexity pruning goes by is
:func:`skprune.trees.core.risks.impurity_risk` of each member's tree.

A branch that becomes a leaf cannot keep the value that scikit-learn stored at its top: in leaves
that value went through one more step, a Newton step or a line search on the training rows, or the
learning rate. :func:`leaf_values` takes that step, by the formula of scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skprune.trees.core.boosting import gradient, hist_gradient
from skprune.trees.core.boosting.branches import mean_of_leaves, topmost
from skprune.trees.core.boosting.member import Member, TrainingRows

__all__ = [
    "Member",
    "base_values",
    "known_categories",
    "leaf_values",
    "link_name",
    "members",
    "pruned_copy",
    "shrinkage",
    "tree_input",
    "zero_is_positive",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def members(estimator: Any) -> list[Member]:
    """List the trees of a fitted ensemble, in the order in which `predict` adds them up.

    Parameters
    ----------
    estimator : GradientBoosting or HistGradientBoosting, classifier or regressor
        Fitted.

    Returns
    -------
    list of Member
        Iteration by iteration, and in each output by output.

    Raises
    ------
    TypeError
        If `estimator` is no fitted boosted ensemble of scikit-learn.

    Notes
    -----
    The risk R of a node is ``(w_t / w_root) * impurity_t``, for both kinds. For GradientBoosting it
    is that of scikit-learn's ``ccp_alpha``: the impurity is the variance of the negative gradients.
    HistGradientBoosting keeps no impurity, but the gain of each split; here the impurity is made
    such that ``R(t) - R(left) - R(right)`` is the gain by training row, and R is 0 at leaves. This
    gain is twice what the split takes off the second-order expansion of the loss, so that trees
    compare with each other. That of a root is larger: scikit-learn compares its children with no
    tree at all and not with the best constant.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> from skprune.trees.core.boosting import members
    >>> from skprune.trees.core.risks import impurity_risk
    >>> model = HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=1)
    >>> trees = members(model.fit([[0], [1]], [2.0, 4.0]))
    >>> [member.tree.n_splits for member in trees]
    [1, 1]
    >>> impurity_risk(trees[0].tree)
    array([1., 0., 0.])
    """
    return _kind(estimator).members(estimator)


def shrinkage(estimator: Any) -> float:
    """Return what the values of leaves are multiplied by where trees are summed.

    Parameters
    ----------
    estimator : GradientBoosting or HistGradientBoosting, classifier or regressor
        Fitted.

    Returns
    -------
    float
        The learning rate, or 1 where leaves are stored with it.

    Examples
    --------
    >>> from sklearn.ensemble import GradientBoostingRegressor
    >>> from skprune.trees.core.boosting import shrinkage
    >>> shrinkage(GradientBoostingRegressor(learning_rate=0.2).fit([[0], [1]], [2.0, 4.0]))
    0.2
    """
    return _kind(estimator).shrinkage(estimator)


def base_values(estimator: Any) -> Floats:
    """Return the raw predictions before the first tree.

    Parameters
    ----------
    estimator : GradientBoosting or HistGradientBoosting, classifier or regressor
        Fitted.

    Returns
    -------
    ndarray of shape (n_outputs,), float64

    Raises
    ------
    ValueError
        If they differ from row to row: an `init` other than None and "zero".

    Examples
    --------
    >>> from sklearn.ensemble import GradientBoostingRegressor
    >>> from skprune.trees.core.boosting import base_values
    >>> base_values(GradientBoostingRegressor().fit([[0], [1]], [2.0, 4.0]))
    array([3.])
    """
    return _kind(estimator).base_values(estimator)


def link_name(estimator: Any) -> str:
    """Return the name of the function that makes predictions of raw predictions.

    Parameters
    ----------
    estimator : GradientBoosting or HistGradientBoosting, classifier or regressor
        Fitted.

    Returns
    -------
    {"identity", "exp", "sigmoid", "exponential", "softmax"}
        Regressors predict ``raw`` or ``exp(raw)``. The probability of the second of two classes
        is ``expit(raw)``, or ``expit(2 * raw)`` for "exponential"; that of more is the softmax.

    Examples
    --------
    >>> from sklearn.ensemble import GradientBoostingClassifier
    >>> from skprune.trees.core.boosting import link_name
    >>> link_name(GradientBoostingClassifier(loss="exponential").fit([[0], [1]], [0, 1]))
    'exponential'
    """
    return _kind(estimator).link_name(estimator)


def zero_is_positive(estimator: Any) -> bool:
    """Tell which of two classes `predict` gives where the raw prediction is exactly 0.

    Parameters
    ----------
    estimator : GradientBoosting or HistGradientBoosting, classifier or regressor
        Fitted.

    Returns
    -------
    bool
        True for the second class. Of several classes that tie, the first is always taken.

    Examples
    --------
    >>> from sklearn.ensemble import GradientBoostingClassifier
    >>> from skprune.trees.core.boosting import zero_is_positive
    >>> zero_is_positive(GradientBoostingClassifier().fit([[0], [1]], [0, 1]))
    True
    """
    return _kind(estimator).ZERO_IS_POSITIVE


def known_categories(estimator: Any) -> dict[int, NDArray[Any]]:
    """Return the categories that an ensemble knows, for each column that it splits by category.

    Parameters
    ----------
    estimator : GradientBoosting or HistGradientBoosting, classifier or regressor
        Fitted.

    Returns
    -------
    dict of int to ndarray
        By column of X. A category's place in the array is its number; NaN has none.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> from skprune.trees.core.boosting import known_categories
    >>> model = HistGradientBoostingRegressor(max_iter=2, categorical_features=[1])
    >>> known_categories(model.fit(np.array([[0, 7], [1, 3]]), [2.0, 4.0]))
    {1: array([3, 7])}
    """
    return _kind(estimator).known_categories(estimator)


def tree_input(estimator: Any, X: Any) -> Any:
    """Return rows as the trees of :func:`members` read them.

    Parameters
    ----------
    estimator : GradientBoosting or HistGradientBoosting, classifier or regressor
        Fitted.
    X : array-like of shape (n_rows, n_features)
        As `predict` takes it.

    Returns
    -------
    ndarray or sparse array in CSR format, of shape (n_rows, n_features)
        float32 for GradientBoosting, which rounds its rows to it. float64 for
        HistGradientBoosting, with categories replaced by their numbers, and unknown ones by NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> from skprune.trees.core.boosting import tree_input
    >>> model = HistGradientBoostingRegressor(max_iter=2, categorical_features=[1])
    >>> model = model.fit(np.array([[0, 7], [1, 3]]), [2.0, 4.0])
    >>> tree_input(model, np.array([[5, 3], [6, 7], [8, 9]]))
    array([[ 5.,  0.],
           [ 6.,  1.],
           [ 8., nan]])
    """
    return _kind(estimator).tree_input(estimator, X)


def leaf_values(
    estimator: Any,
    X: Any = None,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    collapsed: Sequence[ArrayLike] | None = None,
) -> list[Floats]:
    """Return what each inner node of an ensemble would hold as a leaf, in the units of leaves.

    This is the value that scikit-learn would have stored had it grown the tree no further there,
    with all other trees as they are.

    Parameters
    ----------
    estimator : GradientBoosting or HistGradientBoosting, classifier or regressor
        Fitted.
    X, y : array-like of shape (n_rows, n_features) and (n_rows,), default=None
        The training rows. Which losses can do without is said in the notes.
    sample_weight : array-like of shape (n_rows,), default=None
        As it was given to `fit`. The `class_weight` of a classifier comes on top.
    collapsed : sequence of array-like of shape (n_nodes,), bool, default=None
        For each tree, nodes that become leaves; only those that the root still reaches are
        computed. None means all inner nodes.

    Returns
    -------
    list of ndarray of shape (n_nodes,), float64
        For each tree. Leaves hold the stored values, inner nodes that were not asked for NaN.

    Raises
    ------
    ValueError
        If rows are needed and `X` or `y` is None; if `y` has labels that the classifier does not
        know, or shapes do not match.

    Notes
    -----
    GradientBoosting stores all that is needed for the squared error; other losses need rows.
    HistGradientBoosting stores it for all inner nodes but roots, and for these too with the
    squared error and no weights; roots of other losses need rows, as do all nodes where the loss
    has a line search: "absolute_error" and "quantile". A root takes its Newton step, although
    scikit-learn leaves a tree that it cannot split at 0. Stored values keep within the bounds of
    monotonic constraints. A line search ignores these, in scikit-learn too; under constraints its
    values are kept within the range of the leaves below.

    scikit-learn does not keep which rows a tree was grown on. With ``subsample < 1``, or with a
    part of the rows held out to stop early, all given rows count here, so that values from rows
    are close to, and not exactly, those that scikit-learn would have found. The learning rate is
    taken to have been the same for all trees. A node that no given row reaches takes the mean of
    its leaves.

    Examples
    --------
    >>> from sklearn.ensemble import GradientBoostingClassifier
    >>> from skprune.trees.core.boosting import leaf_values
    >>> X, y = [[0], [1], [2]], [0, 0, 1]
    >>> model = GradientBoostingClassifier(n_estimators=1).fit(X, y)
    >>> model.estimators_[0, 0].tree_.value.ravel()
    array([ 0. , -1.5,  3. ])
    >>> leaf_values(model, X, y)[0].round(6) + 0.0
    array([ 0. , -1.5,  3. ])
    """
    kind, trees = _kind(estimator), members(estimator)
    wanted = [member.tree.is_split for member in trees]
    if collapsed is not None:
        wanted = _cut_nodes(trees, collapsed)
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight, dtype=np.float64)
    _check_lengths(X, y, sample_weight)
    values = kind.leaf_values(estimator, trees, wanted, TrainingRows(X, y, sample_weight))
    return [
        _filled(member, found, mask)
        for member, found, mask in zip(trees, values, wanted, strict=True)
    ]


def pruned_copy(estimator: Any, collapsed: Sequence[ArrayLike], values: Sequence[ArrayLike]) -> Any:
    """Return a pruned copy of an ensemble, an estimator of the same class.

    Parameters
    ----------
    estimator : GradientBoosting or HistGradientBoosting, classifier or regressor
        Fitted. Left as it is.
    collapsed : sequence of array-like of shape (n_nodes,), bool
        For each tree, in the order of :func:`members`, nodes that become leaves. What it says at
        leaves and below such nodes makes no difference.
    values : sequence of array-like of shape (n_nodes,), float64
        For each tree, what nodes that become leaves predict, as :func:`leaf_values` gives it.

    Returns
    -------
    estimator
        Trees without a collapsed node, and the leaves of the others, are bit for bit the old ones.
        Scores of the training, such as `train_score_`, are still those of the full ensemble.

    Raises
    ------
    ValueError
        If masks or values do not match the trees, or a value that is needed is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import GradientBoostingRegressor
    >>> from skprune.trees.core.boosting import leaf_values, members, pruned_copy
    >>> X, y = [[0], [1], [2]], [2.0, 3.0, 7.0]
    >>> model = GradientBoostingRegressor(n_estimators=1, learning_rate=1.0).fit(X, y)
    >>> collapsed = [np.array([False, True, False, False, False])]
    >>> pruned = pruned_copy(model, collapsed, leaf_values(model, collapsed=collapsed))
    >>> model.predict(X), pruned.predict(X)
    (array([2., 3., 7.]), array([2.5, 2.5, 7. ]))
    """
    kind, trees = _kind(estimator), members(estimator)
    cut = _cut_nodes(trees, collapsed)
    return kind.pruned_copy(estimator, trees, cut, _checked_values(values, cut))


def _kind(estimator: Any) -> ModuleType:
    """Return the module that knows an estimator, told by what `fit` left on it."""
    if hasattr(estimator, "_predictors"):
        return hist_gradient
    if getattr(estimator, "estimators_", None) is not None and hasattr(estimator, "init_"):
        return gradient
    raise TypeError(
        f"estimator must be a fitted GradientBoosting or HistGradientBoosting, classifier or "
        f"regressor, got {estimator!r}."
    )


def _check_lengths(X: Any, y: ArrayLike | None, sample_weight: ArrayLike | None) -> None:
    lengths = {
        name: np.shape(given)[0]
        for name, given in {"X": X, "y": y, "sample_weight": sample_weight}.items()
        if given is not None
    }
    if len(set(lengths.values())) > 1:
        raise ValueError(f"X, y and sample_weight must have as many rows each, got {lengths}.")


def _cut_nodes(trees: Sequence[Member], collapsed: Sequence[ArrayLike]) -> list[Bools]:
    """Return the nodes at which each tree is cut."""
    if len(collapsed) != len(trees):
        raise ValueError(
            f"collapsed must hold one mask for each of the {len(trees)} trees, "
            f"got {len(collapsed)}."
        )
    cut = []
    for index, (member, given) in enumerate(zip(trees, collapsed, strict=True)):
        mask = np.asarray(given)
        if mask.dtype != np.bool_ or mask.shape != (member.tree.n_nodes,):
            raise ValueError(
                f"collapsed[{index}] must be a boolean mask of shape ({member.tree.n_nodes},), "
                f"got dtype {mask.dtype} and shape {mask.shape}."
            )
        cut.append(topmost(member.tree, mask))
    return cut


def _checked_values(values: Sequence[ArrayLike], cut: Sequence[Bools]) -> list[Floats]:
    if len(values) != len(cut):
        raise ValueError(
            f"values must hold one array for each of the {len(cut)} trees, got {len(values)}."
        )
    checked = [np.asarray(value, dtype=np.float64) for value in values]
    for index, (value, mask) in enumerate(zip(checked, cut, strict=True)):
        if value.shape != mask.shape:
            raise ValueError(f"values[{index}] must have shape {mask.shape}, got {value.shape}.")
        bad = mask & ~np.isfinite(value)
        if bad.any():
            node = int(np.argmax(bad))
            raise ValueError(
                f"values[{index}] must be finite at nodes that become leaves, "
                f"got {value[node]} at node {node}."
            )
    return checked


def _filled(member: Member, values: Floats, wanted: Bools) -> Floats:
    """Fill in nodes without rows by the mean of their leaves, and hide what is not asked for."""
    values = np.where(wanted & np.isnan(values), mean_of_leaves(member.tree), values)
    return np.where(member.tree.is_split & ~wanted, np.nan, values)
