"""What the tree pruners share: merged leaves, and what pruning leaves as it is."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune import (
    CostComplexityPruner,
    ErrorBasedPruner,
    ForestPruner,
    MinimumErrorPruner,
    ReducedErrorPruner,
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
