"""ForestPruner: which trees and leaves stay, and what they answer, against dense computations."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits, make_friedman1
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeRegressor

from skprune import CostComplexityPruner, ForestPruner, PrunerCV
from tests.trees.pruners.cases import N_ROWS, WEIGHT, X, predict_with_scipy, target

FORESTS = {
    "forest classifier": RandomForestClassifier(8, random_state=0),
    "forest regressor": RandomForestRegressor(8, random_state=0),
    "extra classifier": ExtraTreesClassifier(8, random_state=0),
    "extra regressor": ExtraTreesRegressor(8, random_state=0),
    "bagged classifier": BaggingClassifier(n_estimators=8, max_features=0.7, random_state=0),
    "bagged regressor": BaggingRegressor(n_estimators=8, random_state=0),
}
WAYS = {
    "leaf": {"sparsity": 0.6},
    "leaf, not refitted": {"sparsity": 0.6, "refit": False},
    "tree": {"granularity": "tree", "sparsity": 0.6},
    "tree, not refitted": {"granularity": "tree", "sparsity": 0.6, "refit": False},
    "tree, count": {"granularity": "tree", "n_estimators": 3},
    "tree, best": {"granularity": "tree"},
    "all": {"sparsity": 1.0},
    "all trees": {"granularity": "tree", "sparsity": 1.0},
}
every_forest = pytest.mark.parametrize("kind", FORESTS)


def fitted(kind, **options):
    return ForestPruner(FORESTS[kind], random_state=0, **options).fit(X, target(kind))


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("way", WAYS)
@every_forest
def test_all_forms_of_the_model_agree(kind, way, engine):
    pruner = fitted(kind, engine=engine, **WAYS[way])
    forest, n_trees = pruner.estimator_, len(pruner.estimator_.estimators_)
    n_splits = sum(tree.tree_.node_count // 2 for tree in forest.estimators_)
    assert forest.n_estimators == n_trees == pruner.pruning_history_[-1]["n_estimators"]
    assert pruner.sparsity_ >= WAYS[way].get("sparsity", 0.0)

    weights = pruner.sparse_weights_
    assert weights["A"].nnz == n_splits
    assert pruner.sparsity_ == 1 - weights["A"].nnz / weights["A"].shape[0]
    full = clone(FORESTS[kind]).fit(X, target(kind))
    if way.startswith("leaf"):  # the others may hold rows out
        assert weights["A"].shape[0] == sum(t.tree_.node_count // 2 for t in full.estimators_)
    assert pruner.transform(X).shape == (N_ROWS, n_splits + n_trees)
    assert_array_equal(pruner.transform(X).sum(axis=1), n_trees)

    answers = predict_with_scipy(weights, X, n_trees)
    if "classifier" in kind:
        assert_array_equal(pruner.predict(X), forest.predict(X))
        assert_allclose(answers, forest.predict_proba(X), atol=1e-12)
        clipped = answers.clip(min=0)
        proba = pruner.predict_proba(X)
        assert_allclose(proba, clipped / clipped.sum(axis=1, keepdims=True), atol=1e-12)
        assert proba.min() >= 0
    else:
        assert_array_equal(pruner.predict(X), forest.predict(X))
        assert_allclose(answers[:, 0], pruner.predict(X), atol=1e-9)


@pytest.mark.parametrize("granularity", ["leaf", "tree"])
@every_forest
def test_sparsity_zero_leaves_all_as_it_is(kind, granularity):
    pruner = fitted(kind, sparsity=0.0, granularity=granularity)
    forest = clone(FORESTS[kind]).fit(X, target(kind))
    ask = "predict_proba" if "classifier" in kind else "predict"
    assert_array_equal(getattr(pruner, ask)(X), getattr(forest, ask)(X))
    assert pruner.sparsity_ == 0.0


def leaf_features(forest):
    """Return the indicators of the leaves of a forest, and what the leaves answer."""
    columns, values = [], []
    for tree in forest.estimators_:
        at = tree.apply(X)
        leaves = np.flatnonzero(tree.tree_.children_left < 0)
        columns.append(at[:, None] == leaves)
        values.append(tree.tree_.value[leaves].reshape(len(leaves), -1))
    return np.hstack(columns).astype(float), np.vstack(values)


@pytest.mark.parametrize("alpha", [0.5, 20.0])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("kind", ["forest classifier", "forest regressor"])
def test_leaves_are_fitted_by_ridge_towards_what_they_were(kind, weight, alpha):
    y = target(kind)
    options = {"granularity": "tree", "n_estimators": 4, "alpha": alpha}
    refitted = ForestPruner(FORESTS[kind], **options).fit(X, y, sample_weight=weight)
    plain = ForestPruner(FORESTS[kind], refit=False, **options).fit(X, y, sample_weight=weight)
    L, before = leaf_features(plain.estimator_)
    _, after = leaf_features(refitted.estimator_)
    Y = np.eye(3)[y] if "classifier" in kind else y[:, None]
    w = np.ones(N_ROWS) if weight is None else weight
    # the normal equations of the sum of the trees' shares
    left = L.T @ (w[:, None] * L) + alpha * 4 * np.eye(L.shape[1])
    share = np.linalg.solve(left, L.T @ (w[:, None] * Y) + alpha * 4 * before / 4)
    assert_allclose(after / 4, share, atol=2e-3 * np.abs(share).max())


def test_trees_are_taken_greedily_by_the_error_of_their_mean():
    kind, y = "forest regressor", target("forest regressor")
    forest = clone(FORESTS[kind]).fit(X, y)
    answers = np.array([tree.predict(X) for tree in forest.estimators_])
    chosen = []
    for _ in range(3):
        left = [t for t in range(8) if t not in chosen]
        errors = [np.mean((answers[[*chosen, t]].mean(axis=0) - y) ** 2) for t in left]
        chosen.append(left[int(np.argmin(errors))])
    pruner = fitted(kind, granularity="tree", n_estimators=3, refit=False)
    kept = [answers[t] for t in sorted(chosen)]
    for tree, expected in zip(pruner.estimator_.estimators_, kept, strict=True):
        assert_array_equal(tree.predict(X), expected)


def test_of_trees_those_are_left_out_that_leave_the_least_error():
    pruner = fitted("forest regressor", granularity="tree")
    full, pruned = pruner.pruning_history_
    assert pruned["loss"] <= full["loss"]
    for count in range(1, 9):
        other = fitted("forest regressor", granularity="tree", n_estimators=count)
        assert pruned["loss"] <= other.pruning_history_[1]["loss"]


def test_pairs_that_tell_nothing_go_first():
    rows = np.repeat(np.arange(8.0)[:, None], 6, axis=0)
    y = np.where(rows[:, 0] < 4, 0.0, 10.0) + 0.01 * (rows[:, 0] % 2)
    forest = RandomForestRegressor(3, bootstrap=False, random_state=0)
    pruner = ForestPruner(forest, sparsity=0.8).fit(rows, y)
    for tree in pruner.estimator_.estimators_:
        assert tree.tree_.threshold[0] == 3.5
    assert_allclose(pruner.predict(rows), y, atol=0.05)


def test_smaller_forests_with_fitted_leaves_beat_plainly_pruned_ones():
    rows, y = make_friedman1(900, noise=1.0, random_state=0)
    forest = RandomForestRegressor(20, random_state=0)
    scores = {
        pruner: pruner.fit(rows[:600], y[:600]).score(rows[600:], y[600:])
        for pruner in (
            ForestPruner(forest, sparsity=0.9),
            CostComplexityPruner(forest, sparsity=0.9),
        )
    }
    ours, plain = scores.values()
    assert ours > plain
    assert ours > forest.fit(rows[:600], y[:600]).score(rows[600:], y[600:])


@every_forest
def test_frozen_forests_are_pruned_by_other_rows(kind):
    y = target(kind)
    forest = clone(FORESTS[kind]).fit(X[:100], y[:100])
    before = pickle.dumps(forest)
    for granularity in ("leaf", "tree"):
        pruner = ForestPruner(FrozenEstimator(forest), sparsity=0.5, granularity=granularity)
        pruner.fit(X[100:], y[100:])
        assert_array_equal(pruner.predict(X), pruner.estimator_.predict(X))
        with pytest.raises(ValueError, match="y"):
            pruner.fit(X[100:])
    assert pickle.dumps(forest) == before


@pytest.mark.parametrize("granularity", ["leaf", "tree"])
@every_forest
def test_fits_repeat(kind, granularity):
    one, other = (fitted(kind, sparsity=0.7, granularity=granularity) for _ in range(2))
    assert_array_equal(one.predict(X), other.predict(X))
    again = pickle.loads(pickle.dumps(one))
    assert_array_equal(again.transform(X).toarray(), one.transform(X).toarray())
    assert_array_equal(again.sparse_weights_["E"].toarray(), one.sparse_weights_["E"].toarray())


def test_sparse_rows():
    rows = np.where(X > 0.3, X, 0.0)
    for granularity in ("leaf", "tree"):
        pruner = ForestPruner(
            FORESTS["extra regressor"], sparsity=0.5, granularity=granularity, random_state=0
        )
        dense = pruner.fit(rows, target("regressor")).predict(rows)
        sparse = pruner.fit(csr_array(rows), target("regressor")).predict(csr_array(rows))
        assert_allclose(sparse, dense, rtol=1e-6, atol=1e-9)


def test_several_outputs():
    y = target("regressor", slice(None))
    for kind in ("forest regressor", "bagged regressor"):
        pruner = ForestPruner(FORESTS[kind], sparsity=0.5).fit(X, y)
        assert pruner.predict(X).shape == y.shape
        assert_allclose(pruner.predict(X), pruner.estimator_.predict(X), rtol=1e-12)
    labels = target("classifier", slice(None))
    for options in ({"refit": True}, {"refit": False}):
        pruner = ForestPruner(FORESTS["forest classifier"], sparsity=0.5, **options).fit(X, labels)
        assert_array_equal(pruner.predict(X), pruner.estimator_.predict(X))
        for ours, theirs in zip(
            pruner.predict_proba(X), pruner.estimator_.predict_proba(X), strict=True
        ):
            clipped = theirs.clip(min=0)
            assert_allclose(ours, clipped / clipped.sum(axis=1, keepdims=True), atol=1e-12)


def test_searches():
    values, y = [0.3, 0.8], target("forest classifier")
    pruner = ForestPruner(FORESTS["forest classifier"], random_state=0)
    ours = PrunerCV(pruner, param_range=values, cv=2).fit(X, y)
    theirs = GridSearchCV(pruner, {"sparsity": values}, cv=2).fit(X, y)
    assert ours.best_params_ == theirs.best_params_
    assert_array_equal(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])


def test_auto_tries_a_ladder():
    y = target("forest regressor")
    pruner = ForestPruner(FORESTS["forest regressor"], random_state=0)
    auto = PrunerCV(pruner, cv=2).fit(X, y)
    sparsities = auto.cv_results_["mean_sparsity"]
    assert_allclose(sparsities, sorted(sparsities))
    assert (sparsities[0], len(sparsities)) == (0.0, 8)
    trees = clone(pruner).set_params(granularity="tree")
    counts = trees.path_values(X, y, param_name="n_estimators")
    assert counts == [8, 6, 4, 2, 1]
    auto = PrunerCV(trees, param_name="n_estimators", cv=2).fit(X, y)
    assert auto.best_params_["n_estimators"] in counts


def test_strings_and_many_classes():
    rows, y = load_digits(return_X_y=True)
    names = np.array([f"digit {label}" for label in y])
    pruner = ForestPruner(RandomForestClassifier(10, random_state=0), sparsity=0.5)
    pruner.fit(rows[:900], names[:900])
    assert pruner.score(rows[900:], names[900:]) > 0.85
    assert_allclose(pruner.predict_proba(rows[900:]).sum(axis=1), 1.0)


def test_wrong_parameters_are_named():
    y = target("forest regressor")
    forest = FORESTS["forest regressor"]
    for estimator in (DecisionTreeRegressor(), GradientBoostingRegressor()):
        with pytest.raises(TypeError, match="estimator must be a RandomForest"):
            ForestPruner(estimator).fit(X, y)
    for options, message in (
        ({"sparsity": 0.5, "n_estimators": 2, "granularity": "tree"}, "only one of sparsity"),
        ({"n_estimators": 2}, "n_estimators=2 counts trees"),
        ({"granularity": "branch"}, "'granularity' parameter"),
        ({"alpha": 0.0}, "'alpha' parameter"),
        ({"sparsity": 1.5}, "'sparsity' parameter"),
        ({"granularity": "tree", "n_estimators": 0}, "'n_estimators' parameter"),
    ):
        with pytest.raises(ValueError, match=message):
            ForestPruner(forest, **options).fit(X, y)
    with pytest.raises(ValueError, match="weight"):
        ForestPruner(forest).fit(X, y, sample_weight=np.zeros(N_ROWS))
