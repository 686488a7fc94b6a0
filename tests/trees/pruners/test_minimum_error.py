"""MinimumErrorPruner against the m-estimate worked out by hand, and against all subtrees."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune import MinimumErrorPruner
from tests.trees.pruners.cases import (
    CASES,
    DATA,
    N_ROWS,
    TREES,
    X,
    assert_equal_node_for_node,
    subtrees,
    target,
)

CASES = [(kind, data) for kind, data in CASES if "regressor" not in kind]


def estimates(tree, m):
    """The formula of Cestnik and Bratko, class by class, for weights with a mean of 1."""
    tree = tree.tree_
    risk = []
    scale = tree.n_node_samples[0] / tree.weighted_n_node_samples[0]
    cases = scale * tree.weighted_n_node_samples
    for value, weight in zip(tree.value, cases, strict=True):
        rates = [
            1 - max((weight * p + prior * m) / (weight + m) for p, prior in zip(*pair, strict=True))
            for pair in zip(value, tree.value[0], strict=True)
        ]
        risk.append(weight / cases[0] * np.mean(rates))
    return risk


@pytest.mark.parametrize("m", [0.0, 0.5, 2.0, 30.0])
@pytest.mark.parametrize(("kind", "data"), CASES, ids="-".join)
def test_the_subtree_with_the_least_estimate_and_of_those_the_smallest(kind, data, m):
    rows, outputs, weight = DATA[data]
    y = target(kind, outputs)
    tree = clone(TREES[kind]).set_params(max_depth=4)
    candidates = subtrees(tree.fit(rows, y, weight).tree_, estimates(tree, m))
    least = min(risk for risk, _ in candidates)
    fewest = min(n for risk, n in candidates if risk <= least + 1e-12)
    pruner = MinimumErrorPruner(tree, m=m).fit(rows, y, sample_weight=weight)
    assert pruner.estimator_.get_n_leaves() == fewest
    frozen = MinimumErrorPruner(FrozenEstimator(tree), m=m).fit(rows)
    assert_equal_node_for_node(frozen.estimator_, pruner.estimator_)


def test_by_hand():
    # root 4:4, left 4:1, right 0:3. R(root) = 1/2; the leaves: 5/8 (1 - 5/7) + 3/8 (1 - 4/5)
    rows = np.repeat([[0], [1]], [5, 3], axis=0)
    tree = DecisionTreeClassifier(max_depth=1)
    pruner = MinimumErrorPruner(tree, sparsity=1.0, m=2.0)
    y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    price = pruner.fit(rows, y).pruning_history_[-1]["ccp_alpha"]
    left, right = 5 / 8 * (1 - (4 + 0.5 * 2) / 7), 3 / 8 * (1 - (3 + 0.5 * 2) / 5)
    assert price == pytest.approx(0.5 - left - right, abs=1e-15)


@pytest.mark.parametrize("tree", [DecisionTreeClassifier, RandomForestClassifier])
def test_the_scale_of_weights_makes_no_difference(tree):
    y = target("classifier")
    pruner = MinimumErrorPruner(tree(random_state=0), m=4.0)
    if tree is RandomForestClassifier:
        pruner.estimator.set_params(n_estimators=3)
    plain = clone(pruner).fit(X, y, np.ones(N_ROWS))
    assert 0 < plain.sparsity_ < 1
    for scale in (2.0**-10, 2.0**10):  # which moves no bit of the full trees
        other = clone(pruner).fit(X, y, np.full(N_ROWS, scale))
        assert other.sparsity_ == plain.sparsity_
        assert_array_equal(other.predict(X), plain.predict(X))


def test_weights_that_are_counts():
    y = target("classifier")
    pruner = MinimumErrorPruner(DecisionTreeClassifier(random_state=0), m=4.0, weights="counts")
    doubled = clone(pruner).fit(X, y, np.full(len(y), 2.0))
    repeated = clone(pruner).fit(np.repeat(X, 2, axis=0), np.repeat(y, 2))
    assert doubled.sparsity_ == repeated.sparsity_
    assert doubled.sparsity_ != clone(pruner).fit(X, y).sparsity_


def test_larger_m_smaller_tree():
    y = target("classifier")
    sizes = [
        MinimumErrorPruner(TREES["classifier"], m=m).fit(X, y).estimator_.get_n_leaves()
        for m in (0, 1, 3, 10, 100)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_regressors_are_refused():
    with pytest.raises(TypeError, match=r"estimator must be a classifier.*DecisionTreeRegressor"):
        MinimumErrorPruner(DecisionTreeRegressor()).fit(X, target("regressor"))


@pytest.mark.parametrize("m", [-1, "two", None])
def test_m_is_checked(m):
    with pytest.raises(ValueError, match="'m' parameter"):
        MinimumErrorPruner(DecisionTreeClassifier(), m=m).fit(X, target("classifier"))
