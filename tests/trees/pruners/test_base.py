"""What the tree pruners share: merged leaves, and what pruning leaves as it is."""

import pickle
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_regressor
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_selection import RFE, RFECV, SelectFromModel
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune import (
    CostComplexityPruner,
    ErrorBasedPruner,
    ForestPruner,
    MinimumErrorPruner,
    PrunerCV,
    ReducedErrorPruner,
    load,
    save,
)
from tests.trees.pruners.cases import CASES, DATA, N_ROWS, TREES, X, predict_with_scipy, target

RULES = {
    "cost": CostComplexityPruner(None, sparsity=0.2),
    "cost, all": CostComplexityPruner(None, sparsity=0.0),
    "reduced": ReducedErrorPruner(None, random_state=0),
    "reduced, sparsity": ReducedErrorPruner(None, sparsity=0.2, random_state=0),
    "bound": ErrorBasedPruner(None),
    "raised": ErrorBasedPruner(None, subtree_raising=True),
    "m-estimate": MinimumErrorPruner(None),
}
RULE_CASES = [
    (rule, kind, data)
    for rule in RULES
    for kind, data in CASES
    if "regressor" not in kind or rule.startswith(("cost", "reduced"))
]


def labels_alike(tree, one, other):
    if tree.value.shape[2] == 1:
        return np.array_equal(tree.value[one], tree.value[other])
    return np.array_equal(tree.value[one].argmax(axis=1), tree.value[other].argmax(axis=1))


@pytest.mark.parametrize(("rule", "kind", "data"), RULE_CASES)
def test_merged_leaves_change_no_prediction(rule, kind, data):
    rows, outputs, weight = DATA[data]
    y = target(kind, outputs)
    if "regressor" in kind:
        y = np.round(y)  # so that there are leaves alike
    plain = clone(RULES[rule]).set_params(estimator=TREES[kind])
    merged = clone(plain).set_params(merge_equal_leaves=True)
    plain.fit(rows, y, sample_weight=weight)
    merged.fit(rows, y, sample_weight=weight)
    assert_array_equal(merged.predict(rows), plain.predict(rows))
    assert_array_equal(merged.predict(rows), merged.estimator_.predict(rows))

    tree = merged.estimator_.tree_
    for one, other in zip(tree.children_left, tree.children_right, strict=True):
        if one > 0 and tree.children_left[one] == tree.children_left[other] == -1:
            assert not labels_alike(tree, one, other)

    assert [len(pruner.pruning_history_) for pruner in (plain, merged)] == [2, 3]
    before, after = merged.pruning_history_[1:]
    assert before["n_leaves"] == plain.estimator_.get_n_leaves()
    assert after["n_leaves"] == tree.n_leaves == merged.transform(rows).shape[1]
    assert after["sparsity"] == merged.sparsity_ >= plain.sparsity_
    A = merged.sparse_weights_["A"]
    assert merged.sparsity_ == 1 - A.nnz / A.shape[0]
    predicted = predict_with_scipy(merged.sparse_weights_, rows)
    if "regressor" in kind:
        assert_array_equal(predicted, merged.predict(rows).reshape(N_ROWS, -1))
    else:
        proba = merged.predict_proba(rows)
        side_by_side = np.concatenate(proba, axis=1) if isinstance(proba, list) else proba
        assert_array_equal(predicted, side_by_side)


def test_merged_leaves_have_the_class_shares_of_all_their_rows():
    y = target("entropy")
    pruner = CostComplexityPruner(TREES["entropy"], sparsity=0.0, merge_equal_leaves=True)
    pruner.fit(X, y)
    assert 0 < pruner.sparsity_ < 1
    at = pruner.estimator_.apply(X)
    for leaf in np.unique(at):
        shares = np.bincount(y[at == leaf], minlength=3) / np.sum(at == leaf)
        assert_allclose(pruner.estimator_.tree_.value[leaf, 0], shares, atol=1e-12)


def test_equal_values_merge_all_the_way_up_and_keep_every_bit():
    # 0.1 is in both halves of the right branch, and the mean of thrice 0.1 need not be 0.1
    rows, y = np.arange(8.0)[:, None], np.array([5, 5, 0.1, 0.1, 0.1, 7, 0.1, 0.1])
    pruner = CostComplexityPruner(DecisionTreeRegressor(), sparsity=0.0, merge_equal_leaves=True)
    grown = DecisionTreeRegressor().fit(rows, y)
    assert_array_equal(pruner.fit(rows, y).predict(rows), grown.predict(rows))


@pytest.mark.parametrize("rule", RULES)
def test_merge_equal_leaves_is_checked(rule):
    pruner = clone(RULES[rule]).set_params(estimator=TREES["classifier"], merge_equal_leaves="all")
    with pytest.raises(ValueError, match="merge_equal_leaves"):
        pruner.fit(X, target("classifier"))


@pytest.mark.parametrize(("rule", "kind", "data"), RULE_CASES)
def test_pruning_leaves_the_estimator_as_it_was(rule, kind, data):
    rows, outputs, weight = DATA[data]
    tree = clone(TREES[kind])
    clone(RULES[rule]).set_params(estimator=tree).fit(rows, target(kind, outputs), weight)
    assert not hasattr(tree, "tree_")


@pytest.mark.parametrize(
    "pruner",
    [
        CostComplexityPruner(DecisionTreeClassifier(random_state=0), sparsity=0.5),
        CostComplexityPruner(RandomForestClassifier(10, random_state=0), sparsity=0.5),
        CostComplexityPruner(RandomForestClassifier(10, random_state=0), sparsity=0.0),
        CostComplexityPruner(
            BaggingClassifier(DecisionTreeClassifier(), max_features=0.5, random_state=0),
            sparsity=0.5,
        ),
        CostComplexityPruner(GradientBoostingClassifier(max_depth=6), sparsity=0.5),
        CostComplexityPruner(HistGradientBoostingClassifier(max_iter=20), sparsity=0.5),
        ErrorBasedPruner(DecisionTreeClassifier(random_state=0), subtree_raising=True),
        ForestPruner(RandomForestClassifier(10, random_state=0), sparsity=0.5, random_state=0),
    ],
    ids=lambda pruner: f"{type(pruner).__name__} {type(pruner.estimator).__name__}",
)
def test_a_pickle_holds_the_trees_twice_and_not_more(pruner):
    rows, y = make_classification(1500, 10, n_informative=6, flip_y=0.2, random_state=0)
    fitted = clone(pruner).fit(rows, y)
    whole, *parts = (
        len(pickle.dumps(one)) for one in (fitted, fitted.estimator_, fitted.sparse_estimator_)
    )
    assert whole <= 1.1 * sum(parts)
    again = pickle.loads(pickle.dumps(fitted))
    for name, weight in fitted.sparse_weights_.items():
        assert_array_equal(again.sparse_weights_[name].toarray(), weight.toarray())


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(max_depth=3),
        RandomForestClassifier(2, max_depth=3),
        BaggingRegressor(n_estimators=2),
        GradientBoostingClassifier(n_estimators=2),
        HistGradientBoostingRegressor(max_iter=2),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_what_is_no_table_is_refused_as_scikit_learn_does(estimator, engine):
    y = target("regressor" if is_regressor(estimator) else "classifier")
    pruner = CostComplexityPruner(estimator, sparsity=0.5, engine=engine).fit(X, y)
    malformed = {
        "three dimensions": X[:6].reshape(6, 5, 1),
        "one row of three": X[:1].reshape(1, 1, 5),
        "of float32": X[:6].reshape(2, 3, 5).astype(np.float32),
        "lists": X[:6].reshape(6, 5, 1).tolist(),
        "one dimension": X[0],
        "a number": np.float64(3),
        "too wide": np.hstack([X, X]),
    }
    methods = ["predict", "predict_proba", "decision_function", "transform"]
    for rows in malformed.values():
        with pytest.raises(ValueError, match=r"dim 3|2D array|features"):
            pruner.estimator_.predict(rows)
        for model in (pruner, pruner.sparse_estimator_):
            for name in filter(partial(hasattr, model), methods):
                with pytest.raises(ValueError, match=r"dim 3|2D array|features"):
                    getattr(model, name)(rows)


@pytest.mark.parametrize("label", [0, 7, "only"])
@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(),
        RandomForestClassifier(2),
        BaggingClassifier(n_estimators=2),
        HistGradientBoostingClassifier(max_iter=2),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_a_single_class_is_predicted_saved_and_loaded(estimator, label, tmp_path):
    y = np.full(N_ROWS, label)
    pruner = CostComplexityPruner(clone(estimator).set_params(random_state=0), sparsity=0.5)
    plain = clone(pruner.estimator).fit(X, y)
    save(pruner.fit(X, y), tmp_path / "one.skprune")
    for model in (pruner, load(tmp_path / "one.skprune")):
        assert_array_equal(model.predict(X), plain.predict(X))
        assert_array_equal(model.predict_proba(X), plain.predict_proba(X))


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("loss", ["log_loss", "exponential"])
def test_errors_that_numpy_is_set_to_raise_are_those_of_scikit_learn_alone(loss, engine):
    y = (target("classifier") > 0).astype(int)
    estimator = GradientBoostingClassifier(
        n_estimators=60, learning_rate=1.0, loss=loss, random_state=0
    )
    pruner = CostComplexityPruner(estimator, sparsity=0.1, engine=engine)
    expected = clone(pruner).fit(X, y).predict_proba(X)
    scores = {"cv": 2, "param_name": "sparsity", "param_range": [0.0, 0.5]}
    with np.errstate(all="raise"):
        estimator.fit(X, y).predict_proba(X)
        assert_array_equal(pruner.fit(X, y).predict_proba(X), expected)
        PrunerCV(pruner, scoring="accuracy", **scores).fit(X, y).predict(X)


@pytest.mark.parametrize("select", [RFE, RFECV, SelectFromModel])
@pytest.mark.parametrize("tree", [DecisionTreeClassifier, RandomForestClassifier])
def test_columns_are_selected_by_what_they_are_worth_to_the_pruned_model(select, tree):
    y = target("classifier")
    estimator = tree(random_state=0)
    chosen = select(CostComplexityPruner(estimator, sparsity=0.0)).fit(X, y)
    assert_array_equal(chosen.get_support(), select(estimator).fit(X, y).get_support())
    pruner = CostComplexityPruner(estimator, sparsity=0.8)
    assert not hasattr(pruner, "feature_importances_")
    pruner.fit(X, y)
    assert_array_equal(pruner.feature_importances_, pruner.estimator_.feature_importances_)
    assert not hasattr(pruner, "coef_")


@pytest.mark.parametrize("tree", [DecisionTreeClassifier, DecisionTreeRegressor])
def test_weights_may_be_negative_where_the_tree_takes_them(tree):
    y = target("classifier")
    weight = np.where(np.arange(N_ROWS) < 5, -0.5, 1.0)
    plain = tree(max_depth=3, ccp_alpha=0.01, random_state=0).fit(X, y, weight)
    pruner = CostComplexityPruner(clone(plain).set_params(ccp_alpha=0.0), ccp_alpha=0.01)
    assert_array_equal(pruner.fit(X, y, weight).predict(X), plain.predict(X))
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        ReducedErrorPruner(tree()).fit(X, y, weight)
