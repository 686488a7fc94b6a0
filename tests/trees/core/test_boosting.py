"""Boosted ensembles: trees as read, values of cut branches, pruned copies, for both kinds alike."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.ensemble import (
    AdaBoostRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from skprune.trees.core.arrays import parents
from skprune.trees.core.boosting import (
    base_values,
    known_categories,
    leaf_values,
    link_name,
    members,
    pruned_copy,
    shrinkage,
    tree_input,
    zero_is_positive,
)
from skprune.trees.core.boosting.branches import (
    branch_totals,
    quantile,
    rows_by_node,
    topmost,
    weighted_quantile,
)
from skprune.trees.core.risks import impurity_risk
from skprune.trees.core.weakest_link import pruning_path

GB_SHAPE = {"n_estimators": 4, "max_depth": 3, "random_state": 0, "learning_rate": 0.3}
HGB_SHAPE = {"max_iter": 4, "max_leaf_nodes": 8, "min_samples_leaf": 5, "learning_rate": 0.3}

GRADIENT = {
    **{
        f"gb-{loss}": GradientBoostingRegressor(loss=loss, alpha=0.8, **GB_SHAPE)
        for loss in ("squared_error", "absolute_error", "huber", "quantile")
    },
    "gb-best-first": GradientBoostingRegressor(
        loss="huber", max_leaf_nodes=6, **(GB_SHAPE | {"max_depth": None})
    ),
    "gb-stumps": GradientBoostingRegressor(loss="huber", **(GB_SHAPE | {"max_depth": 1})),
    "gb-subsample": GradientBoostingRegressor(loss="huber", subsample=0.5, **GB_SHAPE),
    "gb-zero": GradientBoostingRegressor(loss="absolute_error", init="zero", **GB_SHAPE),
    "gb-binary": GradientBoostingClassifier(**GB_SHAPE),
    "gb-exponential": GradientBoostingClassifier(loss="exponential", **GB_SHAPE),
    "gb-multinomial": GradientBoostingClassifier(**GB_SHAPE),
}
HIST = {
    **{
        f"hgb-{loss}": HistGradientBoostingRegressor(loss=loss, quantile=0.8, **HGB_SHAPE)
        for loss in ("squared_error", "absolute_error", "quantile", "poisson", "gamma")
    },
    "hgb-stumps": HistGradientBoostingRegressor(max_depth=1, loss="poisson", **HGB_SHAPE),
    "hgb-categories": HistGradientBoostingRegressor(categorical_features=[2, 0], **HGB_SHAPE),
    "hgb-l2": HistGradientBoostingRegressor(l2_regularization=3.0, **HGB_SHAPE),
    "hgb-binary": HistGradientBoostingClassifier(**HGB_SHAPE),
    "hgb-multinomial": HistGradientBoostingClassifier(categorical_features=[2], **HGB_SHAPE),
    "hgb-balanced": HistGradientBoostingClassifier(class_weight="balanced", **HGB_SHAPE),
}
MODELS = GRADIENT | HIST


def make_data(name, n_rows=200):
    """Rows with a column of categories (and missing values for HGB), positive targets or labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 4))
    X[:, 0] = rng.integers(0, 4, n_rows)
    X[:, 2] = rng.choice([1.0, 3.0, 10.0, 11.0, 20.0, 40.0], n_rows)
    score = X[:, 1] + 0.5 * np.sin(3 * X[:, 3]) + (X[:, 2] % 4) / 2 + 0.3 * rng.normal(size=n_rows)
    if name in HIST:
        X[::7, 1] = np.nan
        X[3::11, 2] = np.nan
    if "multinomial" in name:
        return X, np.array(["a", "b", "c"])[np.digitize(score, [0.0, 1.0])]
    if any(word in name for word in ("binary", "exponential", "balanced")):
        return X, np.where(score > 0.3, "yes", "no")
    return X, np.exp(score / 2)


def fitted(name, weighted=False):
    X, y = make_data(name)
    weight = np.random.default_rng(1).integers(1, 4, len(y)) / 2.0 if weighted else None
    return clone(MODELS[name]).fit(X, y, sample_weight=weight), X, y, weight


def random_masks(model, seed=0, share=0.4):
    rng = np.random.default_rng(seed)
    return [rng.random(member.tree.n_nodes) < share for member in members(model)]


def step(member, node, row):
    """Where a row goes at a split: the reading of a member, word by word."""
    tree, value = member.tree, row[member.tree.feature[node]]
    missing = np.isnan(value)
    if member.is_categorical[node] and not missing:
        word = int(member.left_categories[node, int(value) // 32])
        left = bool(word >> (int(value) % 32) & 1)
    else:
        left = bool(tree.missing_go_to_left[node]) if missing else value <= tree.threshold[node]
    return (tree.left if left else tree.right)[node]


def slow_raw(model, X, collapsed=None, values=None):
    """Raw predictions from members alone; nodes of `collapsed` answer with `values`."""
    rows = np.asarray(tree_input(model, X))
    raw = np.repeat(base_values(model)[np.newaxis], len(rows), axis=0)
    for index, member in enumerate(members(model)):
        tree = member.tree
        for i, row in enumerate(rows):
            node, value = 0, tree.value[:, 0, 0]
            while tree.is_split[node]:
                if collapsed is not None and collapsed[index][node]:
                    value = values[index]
                    break
                node = step(member, node, row)
            raw[i, member.output] += shrinkage(model) * value[node]
    return raw


def predictions(model, raw):
    """What `predict` and `predict_proba` make of raw predictions, by name of link."""
    link = link_name(model)
    if not hasattr(model, "classes_"):
        return {"identity": raw, "exp": np.exp(raw)}[link][:, 0], None
    if link == "softmax":
        return model.classes_[raw.argmax(axis=1)], softmax(raw, axis=1)
    positive = raw[:, 0] >= 0 if zero_is_positive(model) else raw[:, 0] > 0
    p = expit(raw[:, 0] * {"sigmoid": 1, "exponential": 2}[link])
    return model.classes_[positive.astype(int)], np.column_stack([1 - p, p])


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_members_say_what_the_ensemble_predicts(name):
    model, X, *_ = fitted(name)
    X = X[:40].copy()
    if name in HIST:
        X[0, 1:] = np.nan
        X[1:4, 2] = 77.0, -1.0, 2.0  # categories that the model does not know, or plain numbers
    labels, proba = predictions(model, slow_raw(model, X))
    if proba is None:
        assert_allclose(labels, model.predict(X), rtol=1e-14)
    else:
        assert_array_equal(labels, model.predict(X))
        assert_allclose(proba, model.predict_proba(X), rtol=1e-13)


def test_outputs_come_in_order_of_prediction():
    model, *_ = fitted("hgb-multinomial")
    assert [member.output for member in members(model)] == [0, 1, 2] * 4
    model, *_ = fitted("gb-multinomial")
    assert [member.output for member in members(model)] == [0, 1, 2] * 4


def test_features_are_the_users_columns():
    model, *_ = fitted("hgb-categories")
    splits = [
        (member.tree.feature[member.tree.is_split], member.is_categorical[member.tree.is_split])
        for member in members(model)
    ]
    feature, categorical = (np.concatenate(part) for part in zip(*splits, strict=True))
    assert categorical.any()
    assert not categorical.all()
    assert_array_equal(categorical, np.isin(feature, [0, 2]))


def test_known_categories_leave_missing_ones_out():
    model, *_ = fitted("hgb-categories")
    found = known_categories(model)
    assert list(found) == [0, 2]
    assert_array_equal(found[0], [0, 1, 2, 3])
    assert_array_equal(found[2], [1, 3, 10, 11, 20, 40])
    assert known_categories(fitted("hgb-l2")[0]) == {}
    assert known_categories(fitted("gb-huber")[0]) == {}


def test_categories_by_name():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "size": rng.normal(size=120),
            "colour": pandas.Categorical(rng.choice(["red", "green", "blue"], 120)),
        }
    )
    frame.loc[::9, "colour"] = None
    y = frame["size"] + 3.0 * (frame["colour"] == "green")
    model = HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=5).fit(frame, y)
    assert list(known_categories(model)[1]) == ["blue", "green", "red"]
    assert any(member.is_categorical.any() for member in members(model))
    other = frame.assign(colour=pandas.Categorical(["violet", "red"] * 60))
    for rows in (frame, other):
        assert_allclose(slow_raw(model, rows)[:, 0], model.predict(rows), rtol=1e-14)


def test_a_split_on_missing_values_alone():
    X = np.array([[np.nan, 0.0]] * 10 + [[1.0, 0.0]] * 10)
    model = HistGradientBoostingRegressor(max_iter=1, min_samples_leaf=2)
    model.fit(X, np.repeat([0.0, 5.0], 10))
    tree = members(model)[0].tree
    assert tree.threshold[0] == np.inf
    assert_array_equal(slow_raw(model, X)[:, 0], model.predict(X))


def test_one_category_and_missing_values():
    # here scikit-learn gives a split the set of the first one, and predicts so
    rng = np.random.default_rng(5)
    X = np.column_stack([rng.normal(size=200), np.full(200, 5.0), rng.integers(0, 5, 200)])
    X[::2, 1] = np.nan
    y = X[:, 0] + 3 * np.isnan(X[:, 1]) + 4 * (X[:, 2] % 2)
    model = HistGradientBoostingRegressor(categorical_features=[1, 2], **HGB_SHAPE).fit(X, y)
    by_category = [
        member.is_categorical & ~np.isfinite(member.tree.threshold) for member in members(model)
    ]
    assert np.concatenate(by_category).any()
    masks = random_masks(model)
    values = leaf_values(model, X, y)
    pruned = pruned_copy(model, masks, values)
    assert_array_equal(slow_raw(model, X)[:, 0], model.predict(X))
    assert_array_equal(slow_raw(model, X, masks, values)[:, 0], pruned.predict(X))


@pytest.mark.parametrize("name", ["gb-huber", "gb-binary", "gb-multinomial", "gb-exponential"])
def test_base_values_are_those_of_every_row(name):
    model, X, *_ = fitted(name)
    start = model._raw_predict_init(X.astype(np.float32))
    assert_array_equal(start, np.broadcast_to(base_values(model), start.shape))


def test_base_values_need_a_constant_start():
    X, y = make_data("gb-squared_error")
    model = GradientBoostingRegressor(init=GradientBoostingRegressor(n_estimators=2), **GB_SHAPE)
    with pytest.raises(ValueError, match="init must be None or 'zero'"):
        base_values(model.fit(X, y))
    assert_array_equal(base_values(fitted("gb-zero")[0]), [0.0])


@pytest.mark.parametrize("kind", [GradientBoostingClassifier, HistGradientBoostingClassifier])
def test_which_class_takes_zero(kind):
    # two classes as often as each other, and no feature to tell them apart
    model = kind().fit(np.zeros((4, 1)), ["a", "a", "b", "b"])
    assert base_values(model) == 0.0
    assert model.predict([[0.0]])[0] == "ab"[zero_is_positive(model)]


def test_refuses_other_estimators():
    X, y = make_data("gb-squared_error")
    for estimator in (AdaBoostRegressor(n_estimators=2).fit(X, y), GradientBoostingRegressor()):
        with pytest.raises(TypeError, match="fitted GradientBoosting or HistGradientBoosting"):
            members(estimator)


# -- risks -----------------------------------------------------------------------------------------


def test_risk_of_gradient_boosting_is_that_of_ccp_alpha():
    model, *_ = fitted("gb-huber")
    for member, grown in zip(members(model), model.estimators_.flat, strict=True):
        weight = grown.tree_.weighted_n_node_samples
        risk = weight * grown.tree_.impurity / weight[0]
        assert_array_equal(impurity_risk(member.tree), risk)


@pytest.mark.parametrize("name", HIST)
def test_risk_of_hist_gradient_boosting_falls_by_the_gains(name):
    model, *_ = fitted(name)
    predictors = [predictor for stage in model._predictors for predictor in stage]
    for member, predictor in zip(members(model), predictors, strict=True):
        tree, nodes = member.tree, predictor.nodes
        risk, split = impurity_risk(tree), member.tree.is_split
        assert_array_equal(risk[~split], 0.0)
        gain = risk[split] - risk[tree.left[split]] - risk[tree.right[split]]
        assert_allclose(gain, nodes["gain"][split] / nodes["count"][0], rtol=1e-9, atol=1e-15)
        assert (gain > 0).all()


def test_smaller_gains_go_first():
    model, *_ = fitted("hgb-squared_error")
    nodes, tree = model._predictors[0][0].nodes, members(model)[0].tree
    path = pruning_path(tree.left, tree.right, impurity_risk(tree))
    bottom = tree.is_split & ~tree.is_split[tree.left] & ~tree.is_split[tree.right]
    first = np.flatnonzero(path.node_steps == 1)
    assert first[0] == np.flatnonzero(bottom)[nodes["gain"][bottom].argmin()]


# -- values ----------------------------------------------------------------------------------------


def members_rows(model, X):
    """For each tree, the rows at each node, one row after the other."""
    rows = np.asarray(tree_input(model, X))
    reached = []
    for member in members(model):
        at = [[] for _ in range(member.tree.n_nodes)]
        for i, row in enumerate(rows):
            node = 0
            at[node].append(i)
            while member.tree.is_split[node]:
                node = step(member, node, row)
                at[node].append(i)
        reached.append(at)
    return reached


def test_rows_at_nodes_and_totals():
    model, X, *_ = fitted("hgb-categories")
    for member, at in zip(members(model), members_rows(model, X), strict=True):
        tree = member.tree
        leaf = np.empty(len(X), dtype=np.intp)
        for node in np.flatnonzero(~tree.is_split):
            leaf[at[node]] = node
        found = dict(rows_by_node(tree, leaf, np.ones(tree.n_nodes, dtype=bool)))
        assert sorted(found) == list(range(tree.n_nodes))
        for node, rows in found.items():
            assert_array_equal(rows, at[node])
        assert_array_equal(tree.n_node_samples, [len(rows) for rows in at])
        totals = branch_totals(tree, np.bincount(leaf, minlength=tree.n_nodes))
        assert_array_equal(totals, tree.n_node_samples)


def test_topmost():
    model, *_ = fitted("hgb-squared_error")
    for member, mask in zip(members(model), random_masks(model), strict=True):
        tree, parent = member.tree, parents(member.tree.left, member.tree.right)
        for node in range(tree.n_nodes):
            above, up = [], parent[node]
            while up >= 0:
                above.append(up)
                up = parent[up]
            expected = mask[node] and tree.is_split[node] and not mask[above].any()
            assert topmost(tree, mask)[node] == expected


def test_quantiles_are_those_of_the_losses():
    from sklearn._loss.loss import PinballLoss

    rng = np.random.default_rng(0)
    for level in (0.1, 0.25, 0.5, 0.9):
        for n in (1, 2, 7, 20):
            values, weights = rng.normal(size=n), rng.integers(0, 3, n).astype(float)
            weights[rng.integers(n)] = 1.0
            loss = PinballLoss(quantile=level)
            assert quantile(values, level) == loss.fit_intercept_only(values)
            for w in (weights, np.ones(n)):
                expected = loss.fit_intercept_only(values, sample_weight=w)
                assert weighted_quantile(values, w, level) == expected
    assert np.isnan(weighted_quantile(np.ones(2), np.zeros(2), 0.5))


@pytest.mark.parametrize("name", MODELS)
def test_values_asked_for_do_not_depend_on_the_others(name):
    model, X, y, _ = fitted(name)
    full, masks = leaf_values(model, X, y), random_masks(model)
    for member, some, every, mask in zip(
        members(model), leaf_values(model, X, y, collapsed=masks), full, masks, strict=True
    ):
        assert np.isfinite(every).all()
        asked = topmost(member.tree, mask)
        assert_array_equal(some[asked], every[asked])
        assert_array_equal(np.isnan(some), member.tree.is_split & ~asked)
        leaf = ~member.tree.is_split
        assert_array_equal(some[leaf], member.tree.value[leaf, 0, 0])


@pytest.mark.parametrize("name", ["gb-huber", "gb-binary", "hgb-binary", "hgb-quantile"])
def test_rows_must_be_there_when_they_are_needed(name):
    model, X, y, _ = fitted(name)
    with pytest.raises(ValueError, match="y must be given"):
        leaf_values(model, X)
    with pytest.raises(ValueError, match="X must be given"):
        leaf_values(model, y=y)
    nothing = [np.zeros(member.tree.n_nodes, dtype=bool) for member in members(model)]
    leaf_values(model, collapsed=nothing)


def test_labels_must_be_known():
    model, X, y, _ = fitted("hgb-binary")
    with pytest.raises(ValueError, match="y holds the label 'zz'"):
        leaf_values(model, X, np.where(y == "yes", y, "zz"))


def test_rows_must_match():
    model, X, y, _ = fitted("gb-huber")
    with pytest.raises(ValueError, match=r"as many rows each, got .*199"):
        leaf_values(model, X, y[:-1], np.ones(200))


@pytest.mark.parametrize("name", ["gb-huber", "hgb-multinomial"])
def test_targets_in_one_column(name):
    model, X, y, _ = fitted(name)
    column = leaf_values(model, X, y[:, np.newaxis])
    for one, other in zip(column, leaf_values(model, X, y), strict=True):
        assert_array_equal(one, other)


def test_a_node_without_rows_takes_the_mean_of_its_leaves():
    model, X, y, _ = fitted("gb-huber")
    tree = model.estimators_[0, 0].tree_
    one = np.repeat(X[:1], 10, axis=0)
    values = leaf_values(model, one, y[:10])[0]
    reached = np.unique(tree.decision_path(one.astype(np.float32)).indices)
    lonely = next(n for n in range(1, 15) if tree.children_left[n] >= 0 and n not in reached)
    leaves = [tree.children_left[lonely], tree.children_right[lonely]]
    while any(tree.children_left[n] >= 0 for n in leaves):
        inner = next(n for n in leaves if tree.children_left[n] >= 0)
        leaves.remove(inner)
        leaves += [tree.children_left[inner], tree.children_right[inner]]
    expected = np.average(tree.value[leaves, 0, 0], weights=tree.weighted_n_node_samples[leaves])
    assert_allclose(values[lonely], expected, rtol=1e-12)


# -- pruned copies ---------------------------------------------------------------------------------


def methods_agree(one, other, X):
    assert_array_equal(one.predict(X), other.predict(X))
    for name in ("predict_proba", "decision_function"):
        if hasattr(one, name):
            assert_array_equal(getattr(one, name)(X), getattr(other, name)(X))
    for a, b in zip(one.staged_predict(X), other.staged_predict(X), strict=True):
        assert_array_equal(a, b)


@pytest.mark.parametrize("name", MODELS)
def test_nothing_collapsed_changes_no_bit(name):
    model, X, y, _ = fitted(name)
    nothing = [np.zeros(member.tree.n_nodes, dtype=bool) for member in members(model)]
    methods_agree(model, pruned_copy(model, nothing, leaf_values(model, X, y)), X)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_pruned_copy_predicts_by_the_new_leaves(name, weighted):
    model, X, y, weight = fitted(name, weighted)
    before = pickle.dumps(model)
    masks = random_masks(model, seed=2)
    values = leaf_values(model, X, y, weight, collapsed=masks)
    pruned = pruned_copy(model, masks, values)

    labels, proba = predictions(model, slow_raw(model, X[:40], masks, values))
    if proba is None:
        assert_allclose(pruned.predict(X[:40]), labels, rtol=1e-14)
    else:
        assert_array_equal(pruned.predict(X[:40]), labels)
        assert_allclose(pruned.predict_proba(X[:40]), proba, rtol=1e-13)

    assert pickle.dumps(model) == before
    methods_agree(pruned, pickle.loads(pickle.dumps(pruned)), X)
    methods_agree(pruned, deepcopy(pruned), X)
    assert clone(pruned).get_params().keys() == model.get_params().keys()
    for new, old, mask in zip(members(pruned), members(model), masks, strict=True):
        cut = topmost(old.tree, mask)
        assert new.tree.n_splits <= old.tree.n_splits - cut.sum()
        kept = np.isin(new.tree.value, old.tree.value)
        assert (~kept).sum() <= cut.sum()


@pytest.mark.parametrize("name", MODELS)
def test_everything_collapsed_leaves_roots(name):
    model, X, y, _ = fitted(name)
    masks = [np.ones(member.tree.n_nodes, dtype=bool) for member in members(model)]
    pruned = pruned_copy(model, masks, leaf_values(model, X, y, collapsed=masks))
    assert [member.tree.n_nodes for member in members(pruned)] == [1] * len(masks)
    raw = pruned._raw_predict(X.astype(np.float32) if name in GRADIENT else X)
    assert_array_equal(raw, np.broadcast_to(raw[0], raw.shape))
    # and once more: a lone leaf has nothing to lose
    masks = [np.ones(1, dtype=bool) for _ in masks]
    methods_agree(pruned, pruned_copy(pruned, masks, leaf_values(pruned)), X)


@pytest.mark.parametrize("name", ["gb-huber", "hgb-categories"])
def test_pruning_twice_is_pruning_once(name):
    model, X, y, _ = fitted(name)
    values, masks = leaf_values(model, X, y), random_masks(model, share=0.3)
    roots = [np.arange(len(mask)) == 0 for mask in masks]
    top = [value[:1] for value in values]
    once = pruned_copy(model, roots, values)
    half = pruned_copy(model, masks, values)
    again = [np.arange(member.tree.n_nodes) == 0 for member in members(half)]
    new = [
        np.concatenate([value, np.zeros(len(mask) - 1)])
        for value, mask in zip(top, again, strict=True)
    ]
    methods_agree(once, pruned_copy(half, again, new), X)


@pytest.mark.parametrize("name", ["gb-huber", "hgb-squared_error"])
def test_training_goes_on_from_a_pruned_copy(name):
    X, y = make_data(name)
    size = "n_estimators" if name in GRADIENT else "max_iter"
    model = clone(MODELS[name]).set_params(warm_start=True).fit(X, y)
    masks = random_masks(model)
    pruned = pruned_copy(model, masks, leaf_values(model, X, y))
    pruned.set_params(**{size: 6}).fit(X, y)
    assert len(members(pruned)) == 6
    assert len(members(model)) == 4


def test_masks_and_values_must_fit():
    model, X, y, _ = fitted("hgb-squared_error")
    values, masks = leaf_values(model, X, y), random_masks(model)
    with pytest.raises(ValueError, match="one mask for each of the 4 trees, got 3"):
        pruned_copy(model, masks[:3], values)
    with pytest.raises(ValueError, match="one array for each of the 4 trees, got 3"):
        pruned_copy(model, masks, values[:3])
    with pytest.raises(ValueError, match=r"collapsed\[1\] must be a boolean mask"):
        pruned_copy(model, [masks[0], masks[1].astype(int), *masks[2:]], values)
    with pytest.raises(ValueError, match=r"values\[0\] must have shape"):
        pruned_copy(model, masks, [values[0][:-1], *values[1:]])
    roots = [np.arange(len(mask)) == 0 for mask in masks]
    lost = [np.full(len(mask), np.nan) for mask in masks]
    with pytest.raises(ValueError, match=r"values\[0\] must be finite .* got nan at node 0"):
        pruned_copy(model, roots, lost)
