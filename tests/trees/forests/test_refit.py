"""Refits of leaves, against dense closed forms and scikit-learn's ridge."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge

from skprune.trees.core.arrays import prune_sklearn_tree
from skprune.trees.forests.refit import (
    SIGNIFICANCE,
    leaf_indicators,
    merge_leaf_pairs,
    refit_leaves,
    refit_path,
)


def make_forest(seed, n_rows=60, n_trees=5, leaves_each=7, n_outputs=2):
    rng = np.random.default_rng(seed)
    leaves = rng.integers(0, leaves_each, (n_rows, n_trees)) + leaves_each * np.arange(n_trees)
    targets = rng.normal(size=(n_rows, n_outputs))
    prior = rng.normal(size=(n_trees * leaves_each, n_outputs)) / n_trees
    weight = rng.integers(0, 4, size=n_rows).astype(float)
    judged = rng.random((n_rows, n_trees)) < 0.4
    return leaves, targets, prior, weight, judged


def make_classifier(seed):
    """Leaves, indicators of classes and a prior whose sums over a row's leaves are one."""
    leaves, _, prior, weight, judged = make_forest(seed, n_outputs=4)
    prior = np.abs(prior)
    prior /= leaves.shape[1] * prior.sum(axis=1, keepdims=True)
    classes = np.random.default_rng(seed).integers(0, 4, size=len(leaves))
    return leaves, np.eye(4)[classes], prior, weight, judged


def closed_form(indicators, targets, prior, ridge, weight):
    weighted = indicators.T * weight
    left = weighted @ indicators + ridge * np.eye(indicators.shape[1])
    return np.linalg.solve(left, weighted @ targets + ridge * prior)


@pytest.mark.parametrize("alpha", [0.01, 1.0, 50.0])
@pytest.mark.parametrize("seed", range(3))
def test_refit_solves_the_normal_equations(seed, alpha):
    leaves, targets, prior, weight, _ = make_forest(seed)
    fitted = refit_leaves(leaves, targets, prior, alpha=alpha, sample_weight=weight, tol=1e-11)
    dense = np.zeros((len(leaves), len(prior)))
    dense[np.arange(len(leaves))[:, np.newaxis], leaves] = 1.0
    direct = closed_form(dense, targets, prior, alpha * 5, weight)
    assert_allclose(fitted, direct, atol=1e-9)


def test_out_of_bag_refit_solves_the_normal_equations():
    leaves, targets, prior, weight, judged = make_forest(3)
    fitted = refit_leaves(
        leaves, targets, prior, alpha=0.5, sample_weight=weight, judged=judged, tol=1e-11
    )
    dense = np.zeros((len(leaves), len(prior)))
    for row, (trees, mask) in enumerate(zip(leaves, judged, strict=True)):
        if mask.any():
            dense[row, trees[mask]] = 5 / mask.sum()
        else:
            weight[row] = 0.0
    assert_allclose(leaf_indicators(leaves, len(prior), judged).toarray(), dense)
    assert_allclose(fitted, closed_form(dense, targets, prior, 2.5, weight), atol=1e-9)


@pytest.mark.parametrize("alpha", [0.1, 3.0])
def test_without_a_prior_it_is_ridge(alpha):
    leaves, targets, prior, weight, _ = make_forest(4)
    ridge = Ridge(alpha=alpha * 5, fit_intercept=False, tol=1e-12)
    ridge.fit(leaf_indicators(leaves, len(prior)).toarray(), targets, weight)
    fitted = refit_leaves(
        leaves, targets, np.zeros_like(prior), alpha=alpha, sample_weight=weight, tol=1e-11
    )
    assert_allclose(fitted, ridge.coef_.T, atol=1e-8)


def test_a_path_gives_what_single_refits_give():
    leaves, targets, prior, weight, _ = make_forest(5)
    alphas = [3.0, 0.03, 30.0]
    path = refit_path(leaves, targets, prior, alphas=alphas, sample_weight=weight, tol=1e-11)
    for alpha, values in zip(alphas, path, strict=True):
        single = refit_leaves(leaves, targets, prior, alpha=alpha, sample_weight=weight, tol=1e-11)
        assert_allclose(values, single, atol=1e-9)


def test_weights_are_repetitions():
    leaves, targets, prior, weight, _ = make_forest(6)
    rows = np.repeat(np.arange(len(leaves)), weight.astype(int))
    weighted = refit_leaves(leaves, targets, prior, sample_weight=weight, tol=1e-11)
    repeated = refit_leaves(leaves[rows], targets[rows], prior, tol=1e-11)
    assert_allclose(weighted, repeated, atol=1e-9)


def test_doubling_the_forest_changes_no_prediction():
    leaves, targets, prior, _, _ = make_forest(7)
    one = refit_leaves(leaves, targets, prior, tol=1e-11)
    doubled = np.hstack([leaves, leaves + len(prior)])
    two = refit_leaves(doubled, targets, np.vstack([prior, prior]) / 2.0, tol=1e-11)
    assert_allclose(two[doubled].sum(axis=1), one[leaves].sum(axis=1), atol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_probabilities_go_on_summing_to_one(masked):
    leaves, targets, prior, weight, judged = make_classifier(8)
    fitted = refit_leaves(
        leaves,
        targets,
        prior,
        alpha=0.01,
        sample_weight=weight,
        judged=judged if masked else None,
        tol=0.1,
    )
    assert np.abs(fitted - prior).max() > 0.01
    assert_allclose(fitted[leaves].sum(axis=(1, 2)), 1.0, rtol=1e-12)
    assert_allclose(fitted.sum(axis=1), 0.2, rtol=1e-12)


def test_a_strong_prior_and_unreached_leaves_stay():
    leaves, targets, prior, _, _ = make_forest(9, n_rows=3)
    fitted = refit_leaves(leaves, targets, prior)
    unreached = np.setdiff1d(np.arange(len(prior)), leaves)
    assert unreached.size
    assert_array_equal(fitted[unreached], prior[unreached])
    assert_allclose(refit_leaves(leaves, targets, prior, alpha=1e12), prior, atol=1e-9)


def test_a_fit_without_errors_changes_nothing():
    leaves, _, prior, _, _ = make_forest(10)
    fitted = refit_leaves(leaves, prior[leaves].sum(axis=1), prior)
    assert_allclose(fitted, prior, atol=1e-12)


def test_refits_repeat():
    leaves, targets, prior, weight, _ = make_forest(11)
    first, second = (
        refit_leaves(leaves, targets, prior, alpha=0.1, sample_weight=weight) for _ in range(2)
    )
    assert_array_equal(first, second)


def test_too_few_steps_are_told():
    leaves, targets, prior, _, _ = make_forest(12)
    with pytest.warns(RuntimeWarning, match="stopped after 2 steps"):
        refit_leaves(leaves, targets, prior, alpha=1e-3, max_iter=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "alpha must be a positive"),
        ({"alpha": np.nan}, "alpha must be a positive"),
        ({"leaves": np.full((60, 5), 35)}, "leaves must be in"),
        ({"leaves": np.full((60, 5), -1)}, "leaves must be in"),
        ({"leaves": np.zeros((60, 5))}, "leaves must hold integers"),
        ({"leaves": np.zeros((59, 5), dtype=int)}, "as many rows"),
        ({"prior": np.zeros((35, 3))}, "as many outputs"),
        ({"targets": np.full((60, 2), np.inf)}, "targets must be finite"),
        ({"targets": np.zeros(60)}, "two dimensions"),
        ({"sample_weight": -np.ones(60)}, "sample_weight"),
        ({"judged": np.ones((60, 5))}, "judged must be a boolean"),
    ],
)
def test_wrong_input_is_refused(change, message):
    leaves, targets, prior, _, _ = make_forest(17)
    with pytest.raises(ValueError, match=message):
        refit_leaves(**({"leaves": leaves, "targets": targets, "prior": prior} | change))


# Two trees. In the first, node 0 splits into 1 and 2, and 2 into 3 and 4; the second has one split.
CHILDREN = [([1, -1, 3, -1, -1], [2, -1, 4, -1, -1]), ([1, -1, -1], [2, -1, -1])]
LEAVES = np.array([[1, 1], [3, 1], [4, 2], [4, 2], [1, 2]])


def merge(n_splits, targets, prior=None, **parameters):
    prior = [np.zeros((5, 1)), np.zeros((3, 1))] if prior is None else prior
    return merge_leaf_pairs(
        CHILDREN, LEAVES, np.reshape(targets, (-1, 1)), prior, n_splits=n_splits, **parameters
    )


def collapsed(merged):
    return [np.flatnonzero(mask).tolist() for mask in merged.collapsed]


def test_nothing_is_merged_where_there_are_few_splits():
    targets = np.arange(5.0)
    merged = merge(3, targets, alpha=0.5)
    assert collapsed(merged) == [[], []]
    # Leaves of both trees, numbered through: 1, 3, 4 and then 1, 2.
    numbers = np.searchsorted([1, 3, 4, 6, 7], LEAVES + [0, 5])
    direct = refit_leaves(numbers, targets[:, np.newaxis], np.zeros((5, 1)), alpha=0.5)
    assert_allclose(merged.values[0][[1, 3, 4]], direct[:3], atol=1e-9)
    assert_allclose(merged.values[1][[1, 2]], direct[3:], atol=1e-9)


@pytest.mark.parametrize("significance", ["change", "norm"])
def test_pairs_that_tell_nothing_go_first(significance):
    first = merge(2, [0.0, 0.0, 0.0, 0.0, 0.0], significance=significance)
    assert collapsed(first) == [[2], []]  # all tie: the lower number
    assert collapsed(merge(2, [0, 4, -4, -4, 0], significance=significance)) == [[], [0]]
    assert collapsed(merge(1, [0, 4, -4, -4, 0], significance=significance)) == [[2], [0]]
    assert collapsed(merge(0, [0, 4, -4, -4, 0], significance=significance)) == [[0, 2], [0]]


def test_one_round_takes_only_pairs_of_leaves():
    merged = merge(0, [0, 4, -4, -4, 0], fraction=1.0)
    assert collapsed(merged) == [[0, 2], [0]]
    # Two constants that share the mean of the targets, shrunk: (sum / 5 + alpha T / 2) each half.
    merged = merge(0, [5.0] * 5, fraction=1.0, alpha=1.0)
    assert_allclose([merged.values[0][0], merged.values[1][0]], 25.0 / 12.0, rtol=1e-6)


def test_merged_leaves_take_the_prior_of_their_node():
    prior = [np.arange(5.0)[:, np.newaxis], 10.0 * np.arange(3.0)[:, np.newaxis]]
    merged = merge(1, np.zeros(5), prior, alpha=1e12)
    for values, before in zip(merged.values, prior, strict=True):
        assert_allclose(values, before, rtol=1e-6, atol=1e-6)
    # Rows 1 and 2, 3 are at leaves 3 and 4: the merge changes 2 / 3 of 1 squared; the others, more.
    assert collapsed(merged) == [[0, 2], []]


def test_change_is_that_of_the_predictions_when_a_pair_is_merged():
    rng = np.random.default_rng(0)
    at, weight, values = rng.integers(0, 2, 30), rng.random(30), rng.normal(size=(2, 3))
    sums = np.bincount(at, weights=weight)
    mean = sums @ values / sums.sum()
    direct = weight @ ((values[at] - mean) ** 2).sum(axis=1)
    rank = SIGNIFICANCE["change"](values, 0 * values, np.array([0]), np.array([1]), sums)
    assert_allclose(rank, [direct])


def test_norm_is_the_sum_of_the_two_norms():
    values = np.array([[3.0, 4.0], [0.0, 2.0]])
    rank = SIGNIFICANCE["norm"](values, 0 * values, np.array([0]), np.array([1]), np.ones(2))
    assert rank.tolist() == [7.0]


@pytest.mark.parametrize("n_splits", [0, 30, 60])
def test_merged_forests_of_scikit_learn_predict_as_their_values_say(n_splits):
    X, y = load_diabetes(return_X_y=True)
    forest = RandomForestRegressor(10, min_samples_leaf=5, random_state=0).fit(X, y)
    trees = [tree.tree_ for tree in forest.estimators_]
    prior = [tree.value[:, 0] / 10 for tree in trees]
    merged = merge_leaf_pairs(
        [(tree.children_left, tree.children_right) for tree in trees],
        forest.apply(X),
        y[:, np.newaxis],
        prior,
        n_splits=n_splits,
    )
    total = np.zeros((len(X), 1))
    left = 0
    for tree, mask, values in zip(trees, merged.collapsed, merged.values, strict=True):
        filled = tree.__reduce__()[0](*tree.__reduce__()[1])
        filled.__setstate__(tree.__getstate__() | {"values": values[:, np.newaxis].copy()})
        pruned = prune_sklearn_tree(filled, mask)
        left += int((pruned.children_left >= 0).sum())
        total += pruned.predict(X.astype(np.float32)).reshape(-1, 1)
    assert left == n_splits
    error = ((total[:, 0] - y) ** 2).mean()
    assert error < y.var() * (1.001 if n_splits == 0 else 0.7)


def test_merges_repeat_and_weights_are_repetitions():
    rng = np.random.default_rng(3)
    weight = rng.integers(1, 4, size=5)
    targets = rng.normal(size=5)
    first, second = (merge(1, targets, sample_weight=weight, tol=1e-10) for _ in range(2))
    rows = np.repeat(np.arange(5), weight)
    repeated = merge_leaf_pairs(
        CHILDREN,
        LEAVES[rows],
        targets[rows, np.newaxis],
        [np.zeros((5, 1)), np.zeros((3, 1))],
        n_splits=1,
        tol=1e-10,
    )
    assert collapsed(first) == collapsed(second) == collapsed(repeated)
    for one, two, three in zip(first.values, second.values, repeated.values, strict=True):
        assert_array_equal(one, two)
        assert_allclose(one, three, atol=1e-9)


def test_chains_are_merged_without_recursion():
    n_splits = 3000
    left = np.full(2 * n_splits + 1, -1)
    right = left.copy()
    splits = np.arange(0, 2 * n_splits, 2)
    left[splits], right[splits] = splits + 1, splits + 2
    rows = np.append(splits + 1, 2 * n_splits)[:, np.newaxis]
    merged = merge_leaf_pairs(
        [(left, right)], rows, np.ones(rows.shape), [np.zeros((len(left), 1))], n_splits=2900
    )
    assert np.flatnonzero(merged.collapsed[0]).tolist() == splits[2900:].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fraction": 0.0}, "fraction must be"),
        ({"significance": "size"}, "significance must be"),
        ({"n_splits": -1}, "n_splits must not"),
        ({"children": []}, "at least one tree"),
        ({"prior": [np.zeros((5, 1))]}, "every node of every tree"),
        ({"leaves": LEAVES[:, :1]}, "a column for each of 2 trees"),
        ({"leaves": LEAVES + 1}, "leaves of their trees"),
        ({"children": [CHILDREN[0], ([1, -1], [2, -1])]}, "numbered 0 to 1"),
    ],
)
def test_wrong_forests_are_refused(change, message):
    right = {
        "children": CHILDREN,
        "leaves": LEAVES,
        "targets": np.zeros((5, 1)),
        "prior": [np.zeros((5, 1)), np.zeros((3, 1))],
        "n_splits": 1,
    }
    with pytest.raises(ValueError, match=message):
        merge_leaf_pairs(**(right | change))
