"""GradientBoostingClassifier and GradientBoostingRegressor of scikit-learn.

Their trees are plain regression trees on the negative gradients, whose leaves were then given
other values, so that an inner node still holds the mean of the gradients. Leaf values are without
the learning rate.

The functions are those of :mod:`skprune.trees.core.boosting`, which calls them with checked
arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from scipy.special import expit, softmax

from skprune.trees.core.arrays import TreeArrays, prune_sklearn_tree
from skprune.trees.core.boosting.branches import (
    LeafRule,
    line_search,
    newton_steps,
    replay,
    weighted_quantile,
)
from skprune.trees.core.boosting.member import Member, TrainingRows, no_categories

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

ZERO_IS_POSITIVE = True


def members(estimator: Any) -> list[Member]:
    """Return the trees, iteration by iteration and in each output by output."""
    trees = [
        (TreeArrays.from_sklearn(tree.tree_), output)
        for stage in estimator.estimators_
        for output, tree in enumerate(stage)
    ]
    return [Member(tree, output, *no_categories(tree.n_nodes)) for tree, output in trees]


def shrinkage(estimator: Any) -> float:
    """Return the learning rate: scikit-learn applies it in `predict`."""
    return float(estimator.learning_rate)


def base_values(estimator: Any) -> Floats:
    """Return what is predicted before the first tree, if that is a constant."""
    init = estimator.init
    if init is not None and not (isinstance(init, str) and init == "zero"):
        raise ValueError(f"init must be None or 'zero' for a constant start, got {init!r}.")
    row = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    return np.asarray(estimator._raw_predict_init(row)[0], dtype=np.float64)


def link_name(estimator: Any) -> str:
    """Return the name of the function from raw predictions to predictions."""
    if estimator.loss == "log_loss":
        return "sigmoid" if estimator.n_trees_per_iteration_ == 1 else "softmax"
    return "exponential" if estimator.loss == "exponential" else "identity"


def tree_input(estimator: Any, X: Any) -> Any:
    """Return rows as the trees read them: rounded to float32; sparse ones stay sparse."""
    if issparse(X):
        rows: Any = X
        return rows.tocsr().astype(np.float32)
    return np.asarray(X, dtype=np.float32, order="C")


def leaf_values(
    estimator: Any, trees: Sequence[Member], wanted: Sequence[Bools], rows: TrainingRows
) -> list[Floats]:
    """Return the stored values, with those of the wanted nodes as they would be of leaves."""
    values = [member.tree.value[:, 0, 0].copy() for member in trees]
    if estimator.loss != "squared_error" and any(mask.any() for mask in wanted):
        for found, new, mask in zip(
            values, recomputed(estimator, trees, wanted, rows), wanted, strict=True
        ):
            found[mask] = new[mask]
    return values


def recomputed(
    estimator: Any, trees: Sequence[Member], wanted: Sequence[Bools], rows: TrainingRows
) -> list[Floats]:
    """Return the values of the wanted nodes from the rows alone; NaN where no row is."""
    X = tree_input(estimator, rows.required_X(f"loss={estimator.loss!r}"))
    y = rows.required_y(estimator, f"loss={estimator.loss!r}")
    weight = np.ones(len(y)) if rows.sample_weight is None else rows.sample_weight
    grown = estimator.estimators_.ravel()
    return replay(
        [member.tree for member in trees],
        wanted,
        base=np.asarray(estimator._raw_predict_init(X), dtype=np.float64),
        reach=lambda index: grown[index].tree_.apply(X),
        rule_at=lambda raw: _leaf_rule(estimator, y, raw, weight),
        shrinkage=estimator.learning_rate,
    )


def pruned_copy(
    estimator: Any,
    trees: Sequence[Member],
    collapsed: Sequence[Bools],
    values: Sequence[Floats],
) -> Any:
    """Return a copy in which `collapsed` nodes, none below another, are leaves."""
    pruned = deepcopy(estimator)
    for grown, mask, value in zip(pruned.estimators_.flat, collapsed, values, strict=True):
        if mask.any():  # else the tree, and the order of its nodes, stay what they are
            # The copy's nodes get their values before the tree is cut, which renumbers them.
            grown.tree_.value[mask, 0, 0] = value[mask]
            grown.tree_ = prune_sklearn_tree(grown.tree_, mask)
    return pruned


def _leaf_rule(estimator: Any, y: Floats, raw: Floats, weight: Floats) -> LeafRule:
    """Return how nodes get their values at one stage: by a Newton step, or by a line search."""
    if estimator.loss in _NEWTON:
        gradient, hessian, factor = _NEWTON[estimator.loss](y, raw)

        def newton(tree: TreeArrays, leaf: Ints, wanted: Bools, output: int) -> Floats:
            step = newton_steps(tree, leaf, gradient[:, output], hessian[:, output], weight)
            return factor * step

        return newton

    residual = y - raw[:, 0]
    return line_search(_LINE_SEARCH[estimator.loss](estimator, residual, weight), residual, weight)


def _log_loss_terms(y: Floats, raw: Floats) -> tuple[Floats, Floats, float]:
    if raw.shape[1] == 1:
        probability, truth, factor = expit(raw), y[:, np.newaxis], 1.0
    else:
        n_classes = raw.shape[1]
        probability, truth = softmax(raw, axis=1), y[:, np.newaxis] == np.arange(n_classes)
        factor = (n_classes - 1) / n_classes  # Friedman's, which scikit-learn has kept
    return truth - probability, probability * (1.0 - probability), factor


def _exponential_terms(y: Floats, raw: Floats) -> tuple[Floats, Floats, float]:
    sign = 2.0 * y[:, np.newaxis] - 1.0
    hessian = np.exp(-sign * raw)
    return sign * hessian, hessian, 1.0


_NEWTON = {"log_loss": _log_loss_terms, "exponential": _exponential_terms}

Search = Callable[[Floats, Floats], float]


def _quantile_search(level: float) -> Search:
    return lambda residual, weight: weighted_quantile(residual, weight, level)


def _huber_search(level: float, residual: Floats, weight: Floats) -> Search:
    """Return Friedman's one step from the median; what counts as far is set over all rows."""
    far = weighted_quantile(np.abs(residual), weight, level)

    def search(residual: Floats, weight: Floats) -> float:
        median = weighted_quantile(residual, weight, 0.5)
        if np.isnan(median):
            return median
        return median + float(np.average(np.clip(residual - median, -far, far), weights=weight))

    return search


_LINE_SEARCH: dict[str, Callable[[Any, Floats, Floats], Search]] = {
    "absolute_error": lambda estimator, residual, weight: _quantile_search(0.5),
    "quantile": lambda estimator, residual, weight: _quantile_search(estimator.alpha),
    "huber": lambda estimator, residual, weight: _huber_search(estimator.alpha, residual, weight),
}


def known_categories(estimator: Any) -> dict[int, NDArray[Any]]:
    """Return nothing: all columns are numbers."""
    return {}
