"""Forests and baggings: each tree as scikit-learn prunes it, and all of them as one model."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_matrix, csr_array, csr_matrix
from sklearn.base import clone
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune import (
    CostComplexityPruner,
    ErrorBasedPruner,
    MinimumErrorPruner,
    PrunerCV,
    ReducedErrorPruner,
)
from skprune.base import BasePruner
from tests.trees.pruners.cases import (
    DATA,
    N_ROWS,
    WEIGHT,
    X,
    assert_equal_node_for_node,
    predict_with_scipy,
    target,
)

FORESTS = {
    "forest classifier": RandomForestClassifier(5, random_state=0),
    "forest regressor": RandomForestRegressor(5, random_state=0),
    "balanced classifier": RandomForestClassifier(5, class_weight="balanced", random_state=0),
    "extra classifier": ExtraTreesClassifier(5, random_state=0),
    "extra regressor": ExtraTreesRegressor(5, bootstrap=True, random_state=0),
    "bagged classifier": BaggingClassifier(random_state=0, n_estimators=5),
    "bagged classifier, few columns": BaggingClassifier(
        DecisionTreeClassifier(), 5, max_features=0.6, bootstrap_features=True, random_state=0
    ),
    "bagged regressor": BaggingRegressor(
        DecisionTreeRegressor(min_samples_leaf=2), 5, max_samples=0.5, random_state=0
    ),
}
CASES = [
    (kind, data)
    for kind in FORESTS
    for data in DATA
    if not (kind.startswith("bagged classifier") and data == "several outputs")
]


def alphas_of(forest):
    """Return prices between those of the trees' paths, as scikit-learn finds them."""
    from sklearn.tree._tree import ccp_pruning_path

    alphas = [ccp_pruning_path(member.tree_)["ccp_alphas"] for member in forest.estimators_]
    alphas = np.unique(np.concatenate(alphas))
    between = np.flatnonzero(np.diff(alphas) > 1e-9)
    return (alphas[between] + alphas[between + 1]) / 2


def fit_case(kind, data):
    rows, outputs, weight = DATA[data]
    return clone(FORESTS[kind]), rows, target(kind, outputs), weight


@pytest.mark.parametrize(("kind", "data"), CASES)
def test_a_price_prunes_each_tree_as_scikit_learn_does(kind, data):
    forest, rows, y, weight = fit_case(kind, data)
    alphas = alphas_of(clone(forest).fit(rows, y, weight))
    for alpha in (0.0, *alphas[:: max(1, len(alphas) // 3)]):
        pruner = CostComplexityPruner(forest, ccp_alpha=alpha).fit(rows, y, weight)
        theirs = clone(forest)
        if "bagged" in kind:
            inner = theirs.estimator or DecisionTreeClassifier()
            theirs.set_params(estimator=inner.set_params(ccp_alpha=alpha))
        else:
            theirs.set_params(ccp_alpha=alpha)
        theirs.fit(rows, y, weight)
        for ours, other in zip(pruner.estimator_.estimators_, theirs.estimators_, strict=True):
            assert_equal_node_for_node(ours, other)
        assert_array_equal(pruner.predict(rows), theirs.predict(rows))


@pytest.mark.parametrize(
    "forest",
    [
        RandomForestClassifier(4, random_state=0),
        RandomForestRegressor(4, random_state=0),
        ExtraTreesClassifier(4, random_state=0),
    ],
    ids=str,
)
def test_each_price_of_scikit_learns_paths_prunes_each_tree_as_it_does(forest):
    from sklearn.tree._tree import ccp_pruning_path

    rng = np.random.default_rng(0)
    rows, y = rng.integers(0, 5, (50, 3)).astype(float), rng.integers(0, 3, 50)
    members = clone(forest).fit(rows, y).estimators_
    alphas = [ccp_pruning_path(member.tree_)["ccp_alphas"] for member in members]
    alphas = np.unique(np.abs(np.concatenate(alphas)))
    path = CostComplexityPruner(forest, ccp_alpha=0.0).path(rows, y, alphas, param_name="ccp_alpha")
    for alpha, pruned in zip(alphas, path, strict=True):
        theirs = clone(forest).set_params(ccp_alpha=alpha).fit(rows, y)
        for ours, other in zip(pruned.estimator_.estimators_, theirs.estimators_, strict=True):
            assert_equal_node_for_node(ours, other)


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("sparsity", [0.0, 0.6, 1.0])
@pytest.mark.parametrize(("kind", "data"), CASES)
def test_the_engine_predicts_as_scikit_learn_to_the_bit(kind, data, sparsity, engine):
    forest, rows, y, weight = fit_case(kind, data)
    pruner = CostComplexityPruner(forest, sparsity=sparsity, engine=engine).fit(rows, y, weight)
    if sparsity == 0.0:
        assert_array_equal(pruner.predict(rows), clone(forest).fit(rows, y, weight).predict(rows))
    else:
        assert pruner.sparsity_ >= sparsity
    assert_array_equal(pruner.predict(rows), pruner.estimator_.predict(rows))
    for one, count in ((rows[:1], 1), (rows[:9], 9)):
        assert_array_equal(pruner.predict(one), pruner.predict(rows)[:count])
    weights = pruner.sparse_weights_
    assert pruner.sparsity_ == 1 - weights["A"].nnz / weights["A"].shape[0]
    answers = predict_with_scipy(weights, rows, n_trees=5)
    if "classifier" in kind:
        ours, theirs = pruner.predict_proba(rows), pruner.estimator_.predict_proba(rows)
        assert_array_equal(np.hstack(ours), np.hstack(theirs))
        assert_allclose(answers, np.hstack(ours) if isinstance(ours, list) else ours, atol=1e-12)
    else:
        assert_allclose(answers, pruner.predict(rows).reshape(N_ROWS, -1), atol=1e-12)


@pytest.mark.parametrize("kind", FORESTS)
def test_transform_tells_the_leaf_in_every_tree(kind):
    forest, rows, y, _ = fit_case(kind, "plain")
    pruner = CostComplexityPruner(forest, sparsity=0.5).fit(rows, y)
    leaves = pruner.transform(rows)
    assert isinstance(leaves, csr_array)
    n_leaves = pruner.pruning_history_[-1]["n_leaves"]
    assert leaves.shape == (N_ROWS, n_leaves) == (N_ROWS, len(pruner.get_feature_names_out()))
    assert_array_equal(leaves.sum(axis=1), 5)
    start = 0
    for number, member in enumerate(pruner.estimator_.estimators_):
        seen = rows
        if hasattr(pruner.estimator_, "estimators_features_"):
            seen = rows[:, pruner.estimator_.estimators_features_[number]]
        ours = leaves[:, start : start + member.get_n_leaves()].toarray().argmax(axis=1)
        numbers = np.flatnonzero(member.tree_.children_left < 0)
        assert_array_equal(numbers[ours], member.apply(seen))
        start += member.get_n_leaves()


def test_global_allocation_spares_the_trees_that_are_worth_more():
    forest = FORESTS["forest regressor"]
    y = target("regressor")
    kept = {}
    for allocation in ("global", "uniform"):
        pruner = CostComplexityPruner(forest, sparsity=0.7, allocation=allocation).fit(X, y)
        full = clone(forest).fit(X, y)
        kept[allocation] = [
            1 - ours.tree_.node_count // 2 / (theirs.tree_.node_count // 2)
            for ours, theirs in zip(pruner.estimator_.estimators_, full.estimators_, strict=True)
        ]
        assert pruner.sparsity_ >= 0.7
    assert min(kept["uniform"]) >= 0.7 > min(kept["global"])


def test_max_leaf_nodes_holds_for_each_tree():
    pruner = CostComplexityPruner(FORESTS["forest classifier"], max_leaf_nodes=6)
    leaves = [m.get_n_leaves() for m in pruner.fit(X, target("classifier")).estimator_.estimators_]
    assert max(leaves) <= 6
    assert pruner.pruning_history_[-1]["n_leaves"] == sum(leaves)


RULES = [
    CostComplexityPruner(None, ccp_alpha=0.01, risk="misclassification"),
    # alone, a tree does not know that its weights are how often each row was drawn
    ErrorBasedPruner(None, weights="counts"),
    MinimumErrorPruner(None, m=4.0, weights="counts"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("kind", ["forest classifier", "balanced classifier", "bagged classifier"])
def test_a_rule_prunes_each_tree_as_it_would_alone(rule, kind):
    forest, y = clone(FORESTS[kind]).fit(X, target("classifier")), target("classifier")
    pruner = clone(rule).set_params(estimator=FORESTS[kind]).fit(X, y)
    for ours, member in zip(pruner.estimator_.estimators_, forest.estimators_, strict=True):
        alone = clone(rule).set_params(estimator=FrozenEstimator(member)).fit(X)
        assert_equal_node_for_node(ours, alone.estimator_)
    assert 0 < pruner.sparsity_ < 1
    assert_array_equal(pruner.predict(X), pruner.estimator_.predict(X))


# the members of a balanced forest do not know of its class_weight
@pytest.mark.parametrize("kind", sorted(FORESTS.keys() - {"balanced classifier"}))
def test_reduced_error_of_a_frozen_forest_judges_each_tree(kind):
    y = target(kind)
    forest = clone(FORESTS[kind]).fit(X[:100], y[:100])
    pruner = ReducedErrorPruner(FrozenEstimator(forest)).fit(X[100:], y[100:])
    for number, (ours, member) in enumerate(
        zip(pruner.estimator_.estimators_, forest.estimators_, strict=True)
    ):
        seen = X[100:]
        if hasattr(forest, "estimators_features_"):
            seen = seen[:, forest.estimators_features_[number]]
        codes = y[100:].astype(float) if "forest" in kind else y[100:]
        alone = ReducedErrorPruner(FrozenEstimator(member)).fit(seen, codes)
        assert_equal_node_for_node(ours, alone.estimator_)


@pytest.mark.parametrize("kind", FORESTS)
def test_merged_leaves_of_an_ensemble_change_no_bit(kind):
    forest, rows, y, _ = fit_case(kind, "plain")
    y = np.round(y)
    plain = CostComplexityPruner(forest, sparsity=0.3).fit(rows, y)
    merged = clone(plain).set_params(merge_equal_leaves=True).fit(rows, y)
    ask = "predict_proba" if "classifier" in kind else "predict"
    assert_array_equal(getattr(merged, ask)(rows), getattr(plain, ask)(rows))
    assert merged.sparsity_ >= plain.sparsity_


@pytest.mark.parametrize("kind", ["forest classifier", "forest regressor", "bagged classifier"])
def test_frozen_forests_are_pruned_on_a_copy(kind):
    y = target(kind)
    forest = clone(FORESTS[kind]).fit(X, y)
    before = pickle.dumps(forest)
    pruner = CostComplexityPruner(FrozenEstimator(forest), sparsity=0.5).fit(X)
    fitted = CostComplexityPruner(FORESTS[kind], sparsity=0.5).fit(X, y)
    assert_array_equal(pruner.predict(X), fitted.predict(X))
    assert pickle.dumps(forest) == before


def test_a_pruned_forest_does_not_claim_the_full_one_s_score_out_of_bag():
    y = target("classifier")
    forest = RandomForestClassifier(20, oob_score=True, random_state=0).fit(X, y)
    pruned = CostComplexityPruner(FrozenEstimator(forest), sparsity=0.9).fit(X, y).estimator_
    assert hasattr(forest, "oob_score_")
    assert not hasattr(pruned, "oob_score_")


def test_bagged_trees_that_miss_a_class_speak_of_the_others():
    rows, y = np.arange(12.0)[:, None], np.repeat(["a", "b", "c"], [10, 1, 1])
    frozen = BaggingClassifier(n_estimators=6, max_samples=4, random_state=1).fit(rows, y)
    # as if the trees had seen their own rows alone, as those of other versions of scikit-learn do
    for member in frozen.estimators_:
        known = np.arange(2) if member.random_state % 2 else np.array([0, 2])
        member.fit(rows[:6] + member.random_state % 5, known[np.arange(6) % 2])
        member.classes_ = known
    pruner = CostComplexityPruner(FrozenEstimator(frozen), sparsity=0.4).fit(rows)
    assert {len(member.classes_) for member in pruner.estimator_.estimators_} == {2}
    assert_array_equal(pruner.predict_proba(rows), pruner.estimator_.predict_proba(rows))
    assert_array_equal(pruner.predict(rows), pruner.estimator_.predict(rows))


@pytest.mark.parametrize("form", [csr_matrix, csc_matrix, csr_array])
@pytest.mark.parametrize("kind", ["forest classifier", "extra regressor", "bagged regressor"])
def test_sparse_rows_are_as_good_as_dense_ones(kind, form):
    rows = np.where(X > 0.3, X, 0.0)
    y = target(kind)
    dense = CostComplexityPruner(FORESTS[kind], sparsity=0.5).fit(rows, y)
    sparse = CostComplexityPruner(FORESTS[kind], sparsity=0.5).fit(form(rows), y)
    # scikit-learn sums in another order as it grows on sparse rows
    assert_allclose(sparse.predict(form(rows)), dense.predict(rows), rtol=1e-9)
    assert_array_equal(dense.predict(form(rows)), dense.predict(rows))
    assert (sparse.transform(form(rows)) != dense.transform(rows)).nnz == 0
    held_out = ReducedErrorPruner(FORESTS[kind], random_state=0).fit(form(rows), y)
    assert_array_equal(held_out.predict(form(rows)), held_out.estimator_.predict(rows))


@pytest.mark.parametrize("allocation", ["global", "uniform"])
@pytest.mark.parametrize("name", ["ccp_alpha", "sparsity", "max_leaf_nodes"])
@pytest.mark.parametrize(
    ("kind", "scoring"),
    [
        ("forest classifier", "accuracy"),
        ("forest classifier", "roc_auc_ovr"),
        ("bagged regressor", "r2"),
    ],
)
def test_pruner_cv_finds_what_a_grid_search_finds(kind, scoring, name, allocation):
    values = {
        "ccp_alpha": [0.0, 0.002, 0.01, 0.1],
        "sparsity": [0.0, 0.3, 0.8, 1.0],
        "max_leaf_nodes": [30, 10, 3, 1],
    }[name]
    pruner = CostComplexityPruner(FORESTS[kind], allocation=allocation)
    y = target(kind)
    ours = PrunerCV(pruner, param_name=name, param_range=values, cv=3, scoring=scoring).fit(X, y)
    theirs = GridSearchCV(pruner, {name: values}, cv=3, scoring=scoring).fit(X, y)
    assert ours.best_params_ == theirs.best_params_
    for key in theirs.cv_results_:
        if "test_score" in key and "rank" not in key:
            assert_allclose(ours.cv_results_[key], theirs.cv_results_[key], rtol=1e-12)
    assert ours.best_estimator_.score(X, y) == theirs.best_estimator_.score(X, y)


@pytest.mark.parametrize(
    "rule",
    [
        ReducedErrorPruner(FORESTS["forest classifier"], random_state=0),
        ErrorBasedPruner(FORESTS["forest classifier"]),
        MinimumErrorPruner(FORESTS["extra classifier"]),
        ReducedErrorPruner(DecisionTreeClassifier(random_state=0), random_state=0),
        ErrorBasedPruner(DecisionTreeClassifier(random_state=0)),
        MinimumErrorPruner(DecisionTreeClassifier(random_state=0)),
        CostComplexityPruner(
            DecisionTreeClassifier(random_state=0), merge_equal_leaves=True, sparsity=0.5
        ),
    ],
    ids=lambda rule: f"{type(rule).__name__}-{type(rule.estimator).__name__}",
)
def test_every_rule_has_a_path_along_sparsity(rule):
    y = target("classifier")
    auto = PrunerCV(rule, param_name="sparsity", cv=2).fit(X, y)
    assert auto.cv_results_["mean_sparsity"][[0, -1]] == pytest.approx([0, 1], abs=0.2)
    args = (X[:99], y[:99], [0.0, 0.4, 0.9], X[99:], y[99:], auto.scorer_)
    quick = rule.path_scores(*args, param_name="sparsity")
    plain = BasePruner.path_scores(rule, *args, param_name="sparsity")
    assert_array_equal(quick.scores, plain.scores)
    assert_array_equal(quick.sparsities, plain.sparsities)


def test_a_sample_weight_of_two_is_two_rows_for_a_bagging_without_luck():
    forest = ExtraTreesRegressor(3, random_state=0)
    y = target("regressor")
    pruner = CostComplexityPruner(forest, ccp_alpha=0.01).fit(X, y, np.full(N_ROWS, 2.0))
    assert_array_equal(
        pruner.predict(X), CostComplexityPruner(forest, ccp_alpha=0.01).fit(X, y).predict(X)
    )


def test_what_is_not_made_of_trees_is_refused():
    y = target("classifier")
    for wrong in (AdaBoostClassifier(), KNeighborsClassifier()):
        with pytest.raises(TypeError, match="estimator must be a DecisionTree or ExtraTree"):
            CostComplexityPruner(wrong).fit(X, y)
    with pytest.raises(TypeError, match="estimator must be a bagging of decision trees"):
        CostComplexityPruner(BaggingClassifier(KNeighborsClassifier())).fit(X, y)
    with pytest.raises(ValueError, match="'allocation' parameter"):
        CostComplexityPruner(FORESTS["forest classifier"], allocation="even").fit(X, y)
    with pytest.raises(ValueError, match="subtree_raising=True needs a lone tree"):
        ErrorBasedPruner(FORESTS["forest classifier"], subtree_raising=True).fit(X, y)
    with pytest.raises(TypeError, match="estimator must be a classifier"):
        MinimumErrorPruner(FORESTS["forest regressor"]).fit(X, target("regressor"))


def test_a_fitted_pruner_pickles_and_its_engine_predicts_alone():
    pruner = CostComplexityPruner(FORESTS["forest classifier"], sparsity=0.5)
    pruner.fit(X, target("classifier"), sample_weight=WEIGHT)
    again = pickle.loads(pickle.dumps(pruner))
    assert_array_equal(again.predict_proba(X), pruner.predict_proba(X))
    alone = pickle.loads(pickle.dumps(pruner.sparse_estimator_))
    assert_array_equal(alone.predict_proba(X), pruner.predict_proba(X))
    assert (again.sparse_weights_["E"] != pruner.sparse_weights_["E"]).nnz == 0
