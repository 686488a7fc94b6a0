"""Risks per node, against counting the training rows in each node."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import betainc
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune.trees.core.arrays import TreeArrays
from skprune.trees.core.risks import (
    class_counts,
    class_entropy,
    estimated_errors,
    gini_impurity,
    held_out_risk,
    impurity_risk,
    m_estimate_risk,
    misclassification_risk,
    upper_error_rate,
)


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


@pytest.mark.parametrize(
    ("errors", "cases", "rate"),
    [(0, 6, 0.2063), (0, 9, 0.1428), (0, 1, 0.75), (1, 16, 0.1596), (3, 3, 1.0), (0, 0, 1.0)],
)
def test_upper_error_rate_at_c45s_confidence(errors, cases, rate):
    assert round(float(upper_error_rate(errors, cases)), 4) == rate


def test_upper_error_rate_solves_for_the_rate():
    errors = np.array([0.0, 2.0, 7.5, 0.25])
    cases = np.array([12.0, 9.0, 40.25, 0.75])
    for confidence in (1e-4, 0.1, 0.25, 0.9):
        rate = upper_error_rate(errors, cases, confidence)
        assert_allclose(betainc(cases - errors, errors + 1, 1 - rate), confidence, rtol=1e-6)


def test_estimated_errors_grow_with_errors_and_with_confidence_asked():
    counts = np.array([[[10.0, 0.0]], [[9.0, 1.0]], [[6.0, 4.0]]])
    for smaller, larger in [(0.25, 0.1), (0.1, 0.01)]:
        assert (estimated_errors(counts, smaller) < estimated_errors(counts, larger)).all()
    assert (np.diff(estimated_errors(counts)) > 0).all()


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_class_counts_count_the_rows(n_outputs):
    X, y, weight = make_data(5, n_outputs)
    estimator = DecisionTreeClassifier(max_depth=5, random_state=0).fit(X, y, weight)
    counts = class_counts(TreeArrays.from_sklearn(estimator.tree_))
    passes = estimator.decision_path(X).toarray().astype(bool)
    for output, target in enumerate(y.T):
        expected = [np.bincount(target[rows], weight[rows], 3) for rows in passes.T]
        assert_allclose(counts[:, output], expected, atol=1e-12)


def test_m_estimate_without_m_is_the_training_error():
    X, y, weight = make_data(6, 2)
    tree = TreeArrays.from_sklearn(DecisionTreeClassifier(max_depth=5).fit(X, y, weight).tree_)
    assert_allclose(m_estimate_risk(tree, 0.0), misclassification_risk(tree), atol=1e-14)


def test_impurities_of_counts_are_scikit_learns():
    X, y, weight = make_data(7, 2)
    for criterion, impurity in [("gini", gini_impurity), ("entropy", class_entropy)]:
        estimator = DecisionTreeClassifier(criterion=criterion, max_depth=5).fit(X, y, weight)
        tree = TreeArrays.from_sklearn(estimator.tree_)
        assert_allclose(impurity(class_counts(tree)), tree.impurity, atol=1e-12)


def test_held_out_risk_is_zero_where_no_row_comes():
    tree = TreeArrays.from_sklearn(DecisionTreeRegressor().fit([[0], [1]], [0.0, 1.0]).tree_)
    risk = held_out_risk(tree, np.array([1]), np.array([[0.0]]), None, classifier=False)
    assert risk.tolist() == [0.25, 0.0, 0.0]
