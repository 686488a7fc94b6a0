"""Values of cut branches, against what scikit-learn stores when it stops to grow there itself."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

from skprune.trees.core.boosting import (
    gradient,
    hist_gradient,
    leaf_values,
    members,
    pruned_copy,
)
from skprune.trees.core.boosting.member import TrainingRows

from .test_boosting import (
    GB_SHAPE,
    GRADIENT,
    HGB_SHAPE,
    HIST,
    MODELS,
    fitted,
    make_data,
    members_rows,
    random_masks,
)

LINE_SEARCH = ("hgb-absolute_error", "hgb-quantile")
SMOOTH = sorted(set(HIST) - set(LINE_SEARCH))


def from_rows(model, X, y, weight):
    """Values of all nodes, leaves among them, as computed from rows alone."""
    kind = hist_gradient if hasattr(model, "_predictors") else gradient
    trees = members(model)
    everything = [np.ones(member.tree.n_nodes, dtype=bool) for member in trees]
    return kind.recomputed(model, trees, everything, TrainingRows(X, y, weight))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", sorted(set(GRADIENT) - {"gb-subsample", "gb-squared_error"}))
def test_leaves_of_gradient_boosting_come_out_as_stored(name, weighted):
    model, *data = fitted(name, weighted)
    for member, values in zip(members(model), from_rows(model, *data), strict=True):
        stored, leaf = member.tree.value[:, 0, 0], ~member.tree.is_split
        assert_allclose(values[leaf], stored[leaf], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LINE_SEARCH)
def test_line_searched_leaves_come_out_as_stored(name, weighted):
    model, *data = fitted(name, weighted)
    for member, values in zip(members(model), from_rows(model, *data), strict=True):
        stored, leaf = member.tree.value[:, 0, 0], ~member.tree.is_split
        assert_allclose(values[leaf], stored[leaf], rtol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SMOOTH)
def test_newton_steps_come_out_as_stored(name, weighted):
    # which makes that of the root, which is not stored, right by the same formula
    model, *data = fitted(name, weighted)
    rate = model.learning_rate
    for member, values in zip(members(model), from_rows(model, *data), strict=True):
        stored = member.tree.value[:, 0, 0] * np.where(member.tree.is_split, rate, 1.0)
        assert_allclose(values[1:], stored[1:], rtol=1e-5, atol=1e-8)  # gradients are float32


def limited(name, limit, weighted):
    """The model, and one whose last iteration was grown under a limit on top of the same others."""
    X, y = make_data(name)
    weight = np.random.default_rng(1).integers(1, 4, len(y)) / 2.0 if weighted else None
    size = "n_estimators" if name in GRADIENT else "max_iter"
    model = clone(MODELS[name]).set_params(warm_start=True, max_leaf_nodes=None, **{size: 3})
    small = clone(model).set_params(**{size: 2}).fit(X, y, sample_weight=weight)
    small.set_params(**{size: 3}, **limit).fit(X, y, sample_weight=weight)
    return model.fit(X, y, sample_weight=weight), small, X, y, weight


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", sorted(set(MODELS) - {"gb-subsample", "gb-best-first"}))
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_inner_nodes_hold_what_the_leaves_of_a_smaller_tree_hold(name, depth, weighted):
    if (depth == 0 and name in SMOOTH) or (depth == 2 and "stumps" in name):
        return  # scikit-learn gives a lone root the value 0; stumps have no such nodes
    # a root that may not be split is a lone leaf
    root_only = {"min_samples_split" if name in GRADIENT else "min_samples_leaf": 150}
    limit = {"max_depth": depth} if depth else root_only
    model, small, X, y, weight = limited(name, limit, weighted)
    values, trees = leaf_values(model, X, y, weight), members(small)
    at_nodes, at_leaves = members_rows(model, X), members_rows(small, X)
    n_outputs = 1 + max(member.output for member in trees)
    for index in range(len(trees) - n_outputs, len(trees)):
        node_of = {tuple(rows): node for node, rows in enumerate(at_nodes[index])}
        for leaf in np.flatnonzero(~trees[index].tree.is_split):
            node = node_of[tuple(at_leaves[index][leaf])]
            expected = trees[index].tree.value[leaf, 0, 0]
            assert_allclose(values[index][node], expected, rtol=1e-10, atol=1e-14)


def raw_before_last(model, X):
    *_, before, _ = model._staged_raw_predict(X)
    return before


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", SMOOTH)
def test_roots_take_the_newton_step_of_all_rows(name, weighted):
    model, X, y, weight = fitted(name, weighted)
    target = y.astype(float) if y.dtype.kind == "f" else np.searchsorted(model.classes_, y) * 1.0
    weight = model._finalize_sample_weight(weight, target)
    raw = np.ascontiguousarray(raw_before_last(model, X))
    g, h = model._loss.gradient_hessian(target, raw, sample_weight=weight)
    g, h = (terms.reshape(len(y), -1).sum(axis=0) for terms in (g, h))
    given = np.random.default_rng(1).integers(1, 4, len(y)) / 2.0 if weighted else None
    values = leaf_values(model, X, y, given)[-len(g) :]
    expected = -model.learning_rate * g / (h + model.l2_regularization)
    assert_allclose([value[0] for value in values], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "level"),
    [("gb-absolute_error", 0.5), ("gb-quantile", 0.8), *zip(LINE_SEARCH, (0.5, 0.8), strict=True)],
)
def test_line_searches_find_the_best_constant(name, level):
    model, X, y, weight = fitted(name, weighted=True)
    residual = y - raw_before_last(model, X)[:, 0]
    rate = 1.0 if name in GRADIENT else model.learning_rate
    for node, value in enumerate(leaf_values(model, X, y, weight)[-1]):
        rows = members_rows(model, X)[-1][node]

        def loss(x, r=residual[rows], w=weight[rows]):
            return float(w @ np.where(r >= x, level * (r - x), (level - 1) * (r - x)))

        best = min(loss(candidate) for candidate in residual[rows])
        assert loss(value / rate) <= best + 1e-12


# -- what rows cannot tell -------------------------------------------------------------------------


def test_squared_error_needs_no_rows():
    for name in ("gb-squared_error", "hgb-squared_error", "hgb-l2", "hgb-categories"):
        model, X, y, _ = fitted(name)
        for values, from_all, member in zip(
            leaf_values(model), from_rows_or_means(model, X, y), members(model), strict=True
        ):
            inner = member.tree.is_split
            assert_allclose(values[inner], from_all[inner], rtol=1e-5, atol=1e-7)


def from_rows_or_means(model, X, y):
    if hasattr(model, "_predictors"):
        return from_rows(model, X, y, None)
    raw, values = np.full(len(y), y.mean()), []
    for grown, at in zip(model.estimators_[:, 0], members_rows(model, X), strict=True):
        values.append(np.array([np.mean((y - raw)[rows]) for rows in at]))
        raw += model.learning_rate * grown.predict(X)
    return values


def test_subsample_is_close():
    model, X, y, _ = fitted("gb-subsample")
    stored = np.concatenate([member.tree.value[:, 0, 0] for member in members(model)])
    leaf = np.concatenate([~member.tree.is_split for member in members(model)])
    values = np.concatenate(from_rows(model, X, y, None))
    assert np.corrcoef(stored[leaf], values[leaf])[0, 1] > 0.9


def test_early_stopping_keeps_the_stored_sums():
    X, y = make_data("hgb-squared_error")
    model = HistGradientBoostingRegressor(early_stopping=True, random_state=0, **HGB_SHAPE)
    model.fit(X, y)
    X_train, _, y_train, _ = train_test_split(X, y, test_size=0.1, random_state=model._random_seed)
    assert members(model)[0].tree.n_node_samples[0] == len(y_train) < len(y)
    expected = from_rows(model, X_train, y_train, None)
    for values, wanted in zip(leaf_values(model), expected, strict=True):
        assert_allclose(values, wanted, rtol=1e-5, atol=1e-7)


def test_early_stopping_where_rows_are_needed():
    X, y = make_data("gb-huber")
    model = GradientBoostingRegressor(loss="huber", n_iter_no_change=3, **GB_SHAPE).fit(X, y)
    masks = random_masks(model)
    pruned = pruned_copy(model, masks, leaf_values(model, X, y, collapsed=masks))
    assert pruned.score(X, y) > 0.3


def test_an_estimator_as_init():
    X, y = make_data("gb-huber")
    model = GradientBoostingRegressor(loss="huber", init=LinearRegression(), **GB_SHAPE).fit(X, y)
    for member, values in zip(members(model), from_rows(model, X, y, None), strict=True):
        leaf = ~member.tree.is_split
        assert_allclose(values[leaf], member.tree.value[leaf, 0, 0], rtol=1e-10)
    roots = [np.arange(member.tree.n_nodes) == 0 for member in members(model)]
    pruned = pruned_copy(model, roots, leaf_values(model, X, y))
    assert_allclose(
        np.ptp(pruned.predict(X) - pruned.init_.predict(X.astype(np.float32))), 0, atol=1e-6
    )


def test_sparse_rows():
    X, y = make_data("gb-binary")
    X[np.abs(X) < 0.7] = 0.0
    model = clone(GRADIENT["gb-binary"]).fit(csr_array(X), y)
    for dense, sparse in zip(
        leaf_values(model, X, y), leaf_values(model, csr_array(X), y), strict=True
    ):
        assert_array_equal(dense, sparse)


def test_class_weight_by_number():
    X, y = make_data("hgb-binary")
    weight = {0: 3.0, 1: 0.5}
    label = (y == "yes").astype(int)
    model = HistGradientBoostingClassifier(class_weight=weight, **HGB_SHAPE).fit(X, label)
    plain = HistGradientBoostingClassifier(**HGB_SHAPE)
    plain.fit(X, label, sample_weight=np.where(label == 1, 0.5, 3.0))
    given = leaf_values(plain, X, label, np.where(label == 1, 0.5, 3.0))
    for one, other in zip(leaf_values(model, X, label), given, strict=True):
        assert_array_equal(one, other)


# -- constraints -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("loss", ["squared_error", "poisson", "log_loss"])
def test_pruned_copies_stay_monotonic(loss, seed):
    X, y = make_data("gb-squared_error")
    options = {"monotonic_cst": [0, 1, 0, -1], "l2_regularization": 1.0, **HGB_SHAPE}
    if loss == "log_loss":
        model, y = HistGradientBoostingClassifier(**options), y > 1.0
    else:
        model = HistGradientBoostingRegressor(loss=loss, **options)
    model.fit(X, y)
    masks = random_masks(model, seed, share=0.3)
    pruned = pruned_copy(model, masks, leaf_values(model, X, y))
    grid = np.linspace(-3, 3, 200)
    for column, sign in ((1, 1), (3, -1)):
        for start in X[:25]:
            rows = np.repeat(start[np.newaxis], len(grid), axis=0)
            rows[:, column] = grid
            assert (sign * np.diff(pruned._raw_predict(rows)[:, 0]) >= -1e-12).all()


@pytest.mark.parametrize("loss", ["absolute_error", "quantile"])
def test_line_searches_stay_in_the_range_of_the_leaves_under_constraints(loss):
    X, y = make_data("gb-squared_error")
    model = HistGradientBoostingRegressor(
        loss=loss, quantile=0.8, monotonic_cst=[0, 1, 0, 0], **HGB_SHAPE
    ).fit(X, y)
    for member, values in zip(members(model), leaf_values(model, X, y + 100.0), strict=True):
        leaves = values[~member.tree.is_split]
        assert leaves.min() <= values.min()
        assert leaves.max() >= values.max()


def test_interaction_constraints_outlive_pruning():
    X, y = make_data("gb-squared_error")
    model = HistGradientBoostingRegressor(interaction_cst="no_interactions", **HGB_SHAPE)
    model.fit(X, y)
    masks = random_masks(model)
    for member in members(pruned_copy(model, masks, leaf_values(model, X, y))):
        assert len(set(member.tree.feature[member.tree.is_split])) <= 1


def test_records_of_new_leaves_are_as_scikit_learn_writes_them():
    model, X, y, _ = fitted("hgb-categories")
    masks = random_masks(model, share=0.3)
    pruned = pruned_copy(model, masks, leaf_values(model, X, y))
    assert sum(len(stage[0].raw_left_cat_bitsets) for stage in pruned._predictors) > 0
    for (predictor,) in pruned._predictors:
        nodes = predictor.nodes
        leaf, by_category = nodes["is_leaf"] == 1, nodes["is_categorical"] == 1
        for name in ("left", "right", "feature_idx", "is_categorical", "bitset_idx"):
            assert_array_equal(nodes[name][leaf], 0)
        assert_array_equal(nodes["bitset_idx"][by_category], np.arange(by_category.sum()))
        for sets in (predictor.raw_left_cat_bitsets, predictor.binned_left_cat_bitsets):
            assert sets.shape == (by_category.sum(), 8)
        binned = model._bin_mapper.transform(model._preprocess_X(X, reset=False))
        missing = model._bin_mapper.missing_values_bin_idx_
        known = model._bin_mapper.make_known_categories_bitsets()
        raw = predictor.predict(model._preprocess_X(X, reset=False), *known, n_threads=1)
        assert_array_equal(predictor.predict_binned(binned, missing, n_threads=1), raw)
