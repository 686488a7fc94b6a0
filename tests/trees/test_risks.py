"""Risks per node, against counting the training rows in each node."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune.trees.arrays import TreeArrays
from skprune.trees.risks import impurity_risk, misclassification_risk


def make_data(seed, n_outputs=1):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(150, 3))
    y = np.digitize(X[:, :n_outputs] + rng.normal(size=(150, n_outputs)), [-0.5, 1.0])
    return X, y, rng.exponential(size=150)


def misclassified_by_counting(estimator, X, y, weight):
    """Count the weight outside the majority class among the rows that pass through each node."""
    passes = estimator.decision_path(X).toarray().astype(bool)
    risks = [
        [
            weight[rows].sum() - max(weight[rows & (target == k)].sum() for k in np.unique(target))
            for rows in passes.T
        ]
        for target in y.T
    ]
    return np.mean(risks, axis=0) / weight.sum()


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_misclassification_risk_counts_the_rows(seed, n_outputs):
    X, y, weight = make_data(seed, n_outputs)
    estimator = DecisionTreeClassifier(max_depth=6, random_state=0).fit(X, y, weight)
    risk = misclassification_risk(TreeArrays.from_sklearn(estimator.tree_))
    assert_allclose(risk, misclassified_by_counting(estimator, X, y, weight), atol=1e-12)
    assert risk[0] > 0.1


def test_outputs_may_differ_in_their_number_of_classes():
    X, y, weight = make_data(0, 2)
    y[:, 1] = y[:, 1] > 0
    estimator = DecisionTreeClassifier(max_depth=4, random_state=0).fit(X, y, weight)
    risk = misclassification_risk(TreeArrays.from_sklearn(estimator.tree_))
    assert_allclose(risk, misclassified_by_counting(estimator, X, y, weight), atol=1e-12)


def test_misclassification_risk_reads_fractions_and_weights_alike():
    X, y, weight = make_data(1)
    tree = TreeArrays.from_sklearn(DecisionTreeClassifier().fit(X, y, weight).tree_)
    in_weights = replace(tree, value=tree.value * tree.weighted_n_node_samples[:, None, None])
    assert_allclose(
        misclassification_risk(in_weights), misclassification_risk(tree), rtol=0, atol=1e-14
    )


def test_misclassification_risk_refuses_a_regressor():
    X, y, _ = make_data(2, 2)
    tree = TreeArrays.from_sklearn(DecisionTreeRegressor(max_depth=2).fit(X, y).tree_)
    with pytest.raises(ValueError, match="tree of a classifier"):
        misclassification_risk(tree)


def test_one_class_has_no_risk():
    tree = TreeArrays.from_sklearn(DecisionTreeClassifier().fit([[0.0], [1.0]], [1, 1]).tree_)
    assert misclassification_risk(tree).tolist() == [0.0]


def test_a_node_without_weight_has_no_risk():
    tree = TreeArrays.from_sklearn(DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1]).tree_)
    value, weight = tree.value.copy(), tree.weighted_n_node_samples.copy()
    value[2] = weight[2] = 0.0
    empty = replace(tree, value=value, weighted_n_node_samples=weight)
    assert_array_equal(misclassification_risk(empty), [0.5, 0.0, 0.0])


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(criterion="entropy", max_depth=6, random_state=0),
        DecisionTreeRegressor(max_depth=6, random_state=0),
        DecisionTreeRegressor(criterion="poisson", max_depth=6, random_state=0),
    ],
)
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_impurity_risk_sums_to_scikit_learns_total_impurities(estimator, n_outputs):
    X, y, weight = make_data(3, n_outputs)
    tree = TreeArrays.from_sklearn(estimator.fit(X, y, weight).tree_)
    totals = estimator.cost_complexity_pruning_path(X, y, weight).impurities
    risk = impurity_risk(tree)
    assert_allclose([risk[~tree.is_split].sum(), risk[0]], [totals[0], totals[-1]], rtol=1e-12)
