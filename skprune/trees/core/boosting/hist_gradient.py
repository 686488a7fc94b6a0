"""HistGradientBoostingClassifier and HistGradientBoostingRegressor of scikit-learn.

Leaf values include the learning rate. An inner node still holds the Newton step that it would
take as a leaf, within the bounds of its monotonic constraints, but without the learning rate; the
root holds a placeholder, 0. Where the loss has a line search only the leaves went through it.

The functions are those of :mod:`skprune.trees.core.boosting`, which calls them with checked
arguments.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from skprune.trees.core.arrays import NO_CHILD, TreeArrays
from skprune.trees.core.boosting.branches import (
    LeafRule,
    branch_totals,
    line_search,
    quantile,
    replay,
    sums_over_rows,
    weighted_quantile,
)
from skprune.trees.core.boosting.member import Member, TrainingRows, no_categories

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

ZERO_IS_POSITIVE = False
# Fields that scikit-learn leaves at 0 in the record of a leaf. Its gain is that of the split which
# some limit forbade, so that the gain of a collapsed node stays.
_SPLIT_FIELDS = (
    *("feature_idx", "num_threshold", "missing_go_to_left", "left", "right"),
    *("bin_threshold", "is_categorical", "bitset_idx"),
)


def members(estimator: Any) -> list[Member]:
    """Return the trees, iteration by iteration and in each output by output."""
    columns, n_features = _user_columns(estimator), estimator.n_features_in_
    return [
        _member(predictor, output, columns, n_features)
        for stage in estimator._predictors
        for output, predictor in enumerate(stage)
    ]


def shrinkage(estimator: Any) -> float:
    """Return 1: the leaves have gone through the learning rate."""
    return 1.0


def base_values(estimator: Any) -> Floats:
    """Return what is predicted before the first tree."""
    return np.array(estimator._baseline_prediction, dtype=np.float64).ravel()


def link_name(estimator: Any) -> str:
    """Return the name of the function from raw predictions to predictions."""
    if estimator.loss == "log_loss":
        return "sigmoid" if estimator.n_trees_per_iteration_ == 1 else "softmax"
    return "exp" if estimator.loss in ("poisson", "gamma") else "identity"


def known_categories(estimator: Any) -> dict[int, NDArray[Any]]:
    """Return the categories of each categorical column, in the order of their numbers."""
    if estimator.is_categorical_ is None:
        return {}
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    columns = np.flatnonzero(estimator.is_categorical_).tolist()
    return {
        column: _without_missing(categories)
        for column, categories in zip(columns, encoder.categories_, strict=True)
    }


def tree_input(estimator: Any, X: Any) -> Floats:
    """Return rows as the trees read them: categories by number, columns in the user's order."""
    encoded = _encoded(estimator, X)
    ordered = np.empty_like(encoded, order="C")
    ordered[:, _user_columns(estimator)] = encoded
    return ordered


def leaf_values(
    estimator: Any, trees: Sequence[Member], wanted: Sequence[Bools], rows: TrainingRows
) -> list[Floats]:
    """Return the stored values, with those of the wanted nodes as they would be of leaves."""
    if estimator.loss in _LEVELS:
        return _line_searched(estimator, trees, wanted, rows)
    missing = [_roots_to_sum_up(estimator, mask) for mask in wanted]
    values = [_stored_values(estimator, member.tree) for member in trees]
    if any(mask.any() for mask in missing):
        for found, new, mask in zip(
            values, recomputed(estimator, trees, missing, rows), missing, strict=True
        ):
            found[mask] = new[mask]
    return values


def recomputed(
    estimator: Any, trees: Sequence[Member], wanted: Sequence[Bools], rows: TrainingRows
) -> list[Floats]:
    """Return the values of the wanted nodes from the rows alone; NaN where no row is."""
    X = _encoded(estimator, rows.required_X(f"loss={estimator.loss!r}"))
    y = rows.required_y(estimator, f"loss={estimator.loss!r}")
    weight = estimator._finalize_sample_weight(rows.sample_weight, y)
    predictors = [predictor for stage in estimator._predictors for predictor in stage]
    known = estimator._bin_mapper.make_known_categories_bitsets()
    return replay(
        [member.tree for member in trees],
        wanted,
        base=np.repeat(base_values(estimator)[np.newaxis], len(y), axis=0),
        reach=lambda index: _leaves_reached(predictors[index], X, known),
        rule_at=lambda raw: _leaf_rule(estimator, y, raw, weight),
        shrinkage=1.0,
    )


def pruned_copy(
    estimator: Any,
    trees: Sequence[Member],
    collapsed: Sequence[Bools],
    values: Sequence[Floats],
) -> Any:
    """Return a copy in which `collapsed` nodes, none below another, are leaves."""
    pruned = deepcopy(estimator)
    todo = iter(zip(trees, collapsed, values, strict=True))
    pruned._predictors = [
        [_pruned_predictor(predictor, *next(todo)) for predictor in stage]
        for stage in pruned._predictors
    ]
    return pruned


# -- reading ---------------------------------------------------------------------------------------


def _encoded(estimator: Any, X: Any) -> Floats:
    """Return rows with the numbers of categories in front; arrays do for frames, without a word."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X (does not have valid|has) feature names", UserWarning)
        return estimator._preprocess_X(X, reset=False)


def _user_columns(estimator: Any) -> Ints:
    """Return the user's column of each feature number in the trees, where categories come first."""
    if estimator.is_categorical_ is None:
        return np.arange(estimator.n_features_in_)
    categorical = np.asarray(estimator.is_categorical_)
    return np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])


def _member(predictor: Any, output: int, columns: Ints, n_features: int) -> Member:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(np.bool_)
    left, right = (
        np.where(leaf, NO_CHILD, nodes[name].astype(np.intp)) for name in ("left", "right")
    )
    count = nodes["count"].astype(np.float64)
    bare = TreeArrays(
        feature=columns[nodes["feature_idx"]],
        threshold=nodes["num_threshold"],
        left=left,
        right=right,
        value=nodes["value"][:, np.newaxis, np.newaxis],
        impurity=np.zeros(len(nodes)),
        n_node_samples=nodes["count"].astype(np.intp),
        weighted_n_node_samples=count,
        missing_go_to_left=nodes["missing_go_to_left"],
        n_features=n_features,
    )
    # A leaf may hold the gain of a split that a limit forbade.
    gained = branch_totals(bare, np.where(leaf, 0.0, nodes["gain"]))
    tree = TreeArrays(**(vars(bare) | {"impurity": gained / count}))
    is_categorical, sets = no_categories(len(nodes))
    is_categorical |= nodes["is_categorical"].astype(np.bool_)
    sets[is_categorical] = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][is_categorical]]
    return Member(tree, output, is_categorical, sets)


def _without_missing(categories: NDArray[Any]) -> NDArray[Any]:
    """Cut off the NaN, which the encoder lists last and does not number."""
    last = categories[-1] if len(categories) else None
    is_nan = isinstance(last, float | np.floating) and np.isnan(last)
    return categories[:-1] if is_nan else categories


def _leaves_reached(predictor: Any, X: Floats, known: tuple[Any, Any]) -> Ints:
    """Return each row's leaf: scikit-learn's own descent, on nodes that hold their numbers."""
    nodes = predictor.nodes.copy()
    nodes["value"] = np.arange(len(nodes))
    numbered = type(predictor)(
        nodes, predictor.binned_left_cat_bitsets, predictor.raw_left_cat_bitsets
    )
    return numbered.predict(X, *known, n_threads=1).astype(np.intp)


# -- values ----------------------------------------------------------------------------------------


def _roots_to_sum_up(estimator: Any, wanted: Bools) -> Bools:
    """Return the root, if it is wanted and takes rows: if second derivatives are not all 1."""
    is_root = np.arange(len(wanted)) == 0
    return wanted & is_root & np.logical_not(estimator._loss.constant_hessian)


def _stored_values(estimator: Any, tree: TreeArrays) -> Floats:
    """Return the values of leaves as stored, and the stored Newton steps of inner nodes, shrunk.

    That of the root comes from its children, whose values no bound has cut; it is right only where
    the second derivatives are 1.
    """
    rate = estimator.learning_rate
    values = tree.value[:, 0, 0] * np.where(tree.is_split, rate, 1.0)
    if tree.n_splits:
        children = [tree.left[0], tree.right[0]]
        held = tree.n_node_samples[children] + estimator.l2_regularization
        values[0] = values[children] @ held / (tree.n_node_samples[0] + estimator.l2_regularization)
    return values


def _line_searched(
    estimator: Any, trees: Sequence[Member], wanted: Sequence[Bools], rows: TrainingRows
) -> list[Floats]:
    """Return the stored values, with those of the wanted nodes found by line search.

    scikit-learn's line search ignores the bounds of monotonic constraints. Under such constraints
    values stay in the range of the leaves below, so that branches that are in order in the full
    tree are so in the pruned one, also where the rows are not those that the leaves come from.
    """
    values = [member.tree.value[:, 0, 0].copy() for member in trees]
    if not any(mask.any() for mask in wanted):
        return values
    for member, found, new, mask in zip(
        trees, values, recomputed(estimator, trees, wanted, rows), wanted, strict=True
    ):
        if estimator.monotonic_cst is not None:
            new = np.clip(new, *_range_of_leaves(member.tree))
        found[mask] = new[mask]
    return values


def _range_of_leaves(tree: TreeArrays) -> tuple[Floats, Floats]:
    """Return for each node the least and the greatest value of the leaves below it."""
    value = tree.value[:, 0, 0]
    return (
        branch_totals(tree, np.where(tree.is_split, np.inf, value), np.minimum),
        branch_totals(tree, np.where(tree.is_split, -np.inf, value), np.maximum),
    )


def _leaf_rule(estimator: Any, y: Floats, raw: Floats, weight: Floats | None) -> LeafRule:
    """Return how nodes get their values at one iteration, the learning rate included."""
    rate = estimator.learning_rate
    if estimator.loss in _LEVELS:
        level, residual = _LEVELS[estimator.loss](estimator), y - raw[:, 0]
        if weight is None:
            return line_search(
                lambda values, _: rate * quantile(values, level), residual, np.ones_like(residual)
            )
        return line_search(
            lambda values, weights: rate * weighted_quantile(values, weights, level),
            residual,
            weight,
        )

    gradient, hessian = (
        (terms if weight is None else terms * weight[:, np.newaxis])
        .astype(np.float32)
        .astype(np.float64)
        for terms in _TERMS[estimator.loss](y, raw)  # scikit-learn sums them up from float32
    )

    def newton(tree: TreeArrays, leaf: Ints, wanted: Bools, output: int) -> Floats:
        top, bottom = (sums_over_rows(tree, leaf, g[:, output]) for g in (gradient, hessian))
        return rate * -top / (bottom + estimator.l2_regularization + 1e-15)

    return newton


def _log_loss_terms(y: Floats, raw: Floats) -> tuple[Floats, Floats]:
    if raw.shape[1] == 1:
        probability, truth = expit(raw), y[:, np.newaxis]
    else:
        probability, truth = softmax(raw, axis=1), y[:, np.newaxis] == np.arange(raw.shape[1])
    return probability - truth, probability * (1.0 - probability)


def _squared_error_terms(y: Floats, raw: Floats) -> tuple[Floats, Floats]:
    return raw - y[:, np.newaxis], np.ones_like(raw)


def _poisson_terms(y: Floats, raw: Floats) -> tuple[Floats, Floats]:
    return np.exp(raw) - y[:, np.newaxis], np.exp(raw)


def _gamma_terms(y: Floats, raw: Floats) -> tuple[Floats, Floats]:
    ratio = y[:, np.newaxis] * np.exp(-raw)
    return 1.0 - ratio, ratio


# First and second derivative of each loss by the raw prediction.
_TERMS: dict[str, Callable[[Floats, Floats], tuple[Floats, Floats]]] = {
    "squared_error": _squared_error_terms,
    "log_loss": _log_loss_terms,
    "poisson": _poisson_terms,
    "gamma": _gamma_terms,
}
# The quantile of the residuals that a line search takes.
_LEVELS: dict[str, Callable[[Any], float]] = {
    "absolute_error": lambda estimator: 0.5,
    "quantile": lambda estimator: estimator.quantile,
}


# -- rewriting -------------------------------------------------------------------------------------


def _pruned_predictor(predictor: Any, member: Member, collapsed: Bools, values: Floats) -> Any:
    if not collapsed.any():
        return predictor
    nodes = predictor.nodes.copy()
    nodes["value"][collapsed] = values[collapsed]
    nodes["is_leaf"][collapsed] = 1
    for name in _SPLIT_FIELDS:
        nodes[name][collapsed] = 0

    kept = _reached(member.tree, collapsed)
    number = np.cumsum(kept) - 1
    nodes = nodes[kept]
    split = nodes["is_leaf"] == 0
    for name in ("left", "right"):
        nodes[name][split] = number[nodes[name][split]]

    by_category = np.flatnonzero(nodes["is_categorical"])
    sets = nodes["bitset_idx"][by_category]
    nodes["bitset_idx"][by_category] = np.arange(len(by_category))
    return type(predictor)(
        nodes, predictor.binned_left_cat_bitsets[sets], predictor.raw_left_cat_bitsets[sets]
    )


def _reached(tree: TreeArrays, collapsed: Bools) -> Bools:
    """Return which nodes are left when nothing hangs below `collapsed` ones."""
    reached = np.zeros(tree.n_nodes, dtype=np.bool_)
    level = np.zeros(1, dtype=np.intp)
    while len(level):
        reached[level] = True
        level = level[tree.is_split[level] & ~collapsed[level]]
        level = np.concatenate([tree.left[level], tree.right[level]])
    return reached
