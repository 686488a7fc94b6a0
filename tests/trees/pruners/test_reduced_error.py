"""ReducedErrorPruner against a search over all subtrees, and how it divides the rows."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune import ReducedErrorPruner
from tests.trees.pruners.cases import (
    CASES,
    DATA,
    LABELS,
    N_ROWS,
    RNG,
    TREES,
    WEIGHT,
    X,
    assert_equal_node_for_node,
    subtrees,
    target,
)

GROWN, HELD_OUT = np.arange(0, N_ROWS, 2), np.arange(1, N_ROWS, 2)


def rows_of(kind, data):
    """Give two quadruples X, y, sample_weight: to grow a tree on, and to prune it by."""
    X, outputs, weight = DATA[data]
    y = target(kind, outputs)
    return [
        (X[rows], y[rows], None if weight is None else weight[rows]) for rows in (GROWN, HELD_OUT)
    ]


def grown_small(kind, data):
    X, y, weight = rows_of(kind, data)[0]
    tree = clone(TREES[kind]).set_params(max_depth=4, min_samples_leaf=1)
    return tree.fit(X, y, sample_weight=weight)


def losses(tree, X, y, weight):
    """Loss that each node would have as a leaf, by predicting at it, row by row."""
    if hasattr(tree, "classes_"):
        classes = tree.classes_ if isinstance(tree.classes_, list) else [tree.classes_]
        best = tree.tree_.value.argmax(axis=2)
        said = np.stack([known[column] for known, column in zip(classes, best.T, strict=True)], 1)
    else:
        said = tree.tree_.value[:, :, 0]
    y = y.reshape(len(y), -1)
    weight = np.ones(len(y)) if weight is None else weight
    passes = tree.decision_path(X).toarray().astype(bool)
    lost = np.zeros(tree.tree_.node_count)
    for node, rows in enumerate(passes.T):
        off = y[rows] != said[node] if hasattr(tree, "classes_") else (y[rows] - said[node]) ** 2
        lost[node] = (weight[rows] * off.mean(axis=1)).sum()
    return lost / weight.sum()


@pytest.mark.parametrize(("kind", "data"), CASES, ids="-".join)
def test_the_best_subtree_on_the_held_out_rows_and_of_those_the_smallest(kind, data):
    tree, (rows, y, weight) = grown_small(kind, data), rows_of(kind, data)[1]
    risk = losses(tree, rows, y, weight)
    candidates = subtrees(tree.tree_, risk)
    least = min(loss for loss, _ in candidates)
    fewest = min(n for loss, n in candidates if loss <= least + 1e-12)

    pruner = ReducedErrorPruner(FrozenEstimator(tree)).fit(rows, y, weight)
    assert pruner.estimator_.get_n_leaves() == fewest < tree.get_n_leaves()
    leaf = pruner.estimator_.tree_.children_left < 0
    found = losses(pruner.estimator_, rows, y, weight)[leaf].sum()
    assert found == pytest.approx(least, abs=1e-12)


@pytest.mark.parametrize(("kind", "data"), CASES, ids="-".join)
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.7, 1.0])
def test_sparsity_follows_the_path_of_the_held_out_error(kind, data, sparsity):
    tree, (rows, y, weight) = grown_small(kind, data), rows_of(kind, data)[1]
    pruner = ReducedErrorPruner(FrozenEstimator(tree), sparsity=sparsity).fit(rows, y, weight)
    assert pruner.sparsity_ >= sparsity
    assert pruner.sparsity_ == 1 - pruner.sparse_weights_["A"].nnz / (tree.get_n_leaves() - 1)
    n_leaves = pruner.estimator_.get_n_leaves()
    leaf = pruner.estimator_.tree_.children_left < 0
    found = losses(pruner.estimator_, rows, y, weight)[leaf].sum()
    of_that_size = [
        loss for loss, n in subtrees(tree.tree_, losses(tree, rows, y, weight)) if n == n_leaves
    ]
    assert found == pytest.approx(min(of_that_size), abs=1e-12)


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_weights_of_held_out_rows_are_repetitions(kind):
    tree = grown_small(kind, "plain")
    times = RNG.integers(0, 4, len(HELD_OUT))
    rows, y = X[HELD_OUT], target(kind)[HELD_OUT]
    weighted = ReducedErrorPruner(FrozenEstimator(tree)).fit(rows, y, sample_weight=times)
    repeated = ReducedErrorPruner(FrozenEstimator(tree)).fit(
        np.repeat(rows, times, axis=0), np.repeat(y, times)
    )
    assert_equal_node_for_node(weighted.estimator_, repeated.estimator_)


@pytest.mark.parametrize("kind", TREES)
def test_the_tree_is_grown_on_the_other_rows_alone(kind):
    pruner = ReducedErrorPruner(TREES[kind], sparsity=0.0, random_state=3).fit(X, target(kind))
    root = pruner.estimator_.tree_.n_node_samples[0]
    assert root == N_ROWS * 3 / 4
    for fraction, held_out in [(0.1, 16), (0.5, 80)]:
        pruner.set_params(validation_fraction=fraction).fit(X, target(kind))
        assert pruner.estimator_.tree_.n_node_samples[0] == N_ROWS - held_out


def test_what_is_left_of_the_tree_is_as_it_was_grown():
    y = target("classifier")
    full, pruned = (
        ReducedErrorPruner(TREES["classifier"], sparsity=s, random_state=0).fit(X, y).estimator_
        for s in (0.0, None)
    )
    paths = full.decision_path(X)
    for node, leaf in enumerate(pruned.tree_.children_left < 0):
        if leaf:
            rows = np.flatnonzero(pruned.apply(X) == node)
            shared = np.flatnonzero(paths[rows].toarray().all(axis=0))
            assert any(
                np.array_equal(pruned.tree_.value[node], full.tree_.value[n]) for n in shared
            )


def test_same_random_state_same_tree_and_another_another():
    y = target("classifier")
    make = lambda seed: ReducedErrorPruner(TREES["classifier"], random_state=seed).fit(X, y)  # noqa: E731
    assert_equal_node_for_node(make(1).estimator_, make(1).estimator_)
    assert len({make(seed).estimator_.tree_.node_count for seed in range(8)}) > 1


def test_classes_are_held_out_in_proportion():
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat([0, 1, 2], [300, 80, 20]))
    rows = rng.normal(size=(400, 3))
    for seed in range(5):
        pruner = ReducedErrorPruner(DecisionTreeClassifier(), sparsity=1.0, random_state=seed)
        tree = pruner.fit(rows, y).estimator_.tree_
        assert_allclose(300 * tree.value[0, 0], [225, 60, 15], atol=1.01)


def test_a_class_of_one_row_is_never_held_out():
    y = np.append(target("classifier")[:-1], 9)
    for seed in range(10):
        pruner = ReducedErrorPruner(DecisionTreeClassifier(), random_state=seed).fit(X, y)
        assert pruner.classes_.tolist() == [0, 1, 2, 9]


@pytest.mark.parametrize(
    ("tree", "fraction", "n"),
    [
        (DecisionTreeClassifier(), 0.25, 3),
        (DecisionTreeClassifier(), 0.9, 4),
        (DecisionTreeRegressor(), 0.25, 1),
        (DecisionTreeRegressor(), 0.01, 20),
    ],
)
def test_rows_that_cannot_be_divided_are_an_error(tree, fraction, n):
    pruner = ReducedErrorPruner(tree, validation_fraction=fraction)
    with pytest.raises(ValueError, match=rf"validation_fraction={fraction}.*n_samples={n}"):
        pruner.fit(X[:n], np.arange(n) % 3)
    assert not hasattr(pruner, "estimator_")


@pytest.mark.parametrize("fraction", [0, 1, -0.1, "half"])
def test_validation_fraction_is_checked(fraction):
    pruner = ReducedErrorPruner(DecisionTreeClassifier(), validation_fraction=fraction)
    with pytest.raises(ValueError, match="validation_fraction"):
        pruner.fit(X, target("classifier"))


def test_rows_without_weight_count_nowhere():
    weight = WEIGHT * (RNG.random(N_ROWS) < 0.7)
    y = target("classifier")
    kept = weight > 0
    pruner = ReducedErrorPruner(DecisionTreeClassifier(random_state=0), random_state=0)
    one = clone(pruner).fit(X, y, sample_weight=weight).estimator_
    other = clone(pruner).fit(X[kept], y[kept], sample_weight=weight[kept]).estimator_
    assert_equal_node_for_node(one, other)


def test_class_weight_counts_on_the_held_out_rows():
    X, y = load_iris(return_X_y=True)
    heavy = {0: 1.0, 1: 1.0, 2: 50.0}
    tree = DecisionTreeClassifier(class_weight=heavy, random_state=0).fit(X[::2], y[::2])
    rows, labels = X[1::2], y[1::2]
    by_class = ReducedErrorPruner(FrozenEstimator(tree)).fit(rows, labels)
    plain = clone(tree).set_params(class_weight=None)
    plain.__dict__.update({k: v for k, v in vars(tree).items() if k.endswith("_")})
    by_row = ReducedErrorPruner(FrozenEstimator(plain)).fit(
        rows, labels, sample_weight=np.array([heavy[label] for label in labels])
    )
    assert_equal_node_for_node(by_class.estimator_, by_row.estimator_)


def test_frozen_tree_needs_y():
    tree = DecisionTreeClassifier().fit(X, target("classifier"))
    with pytest.raises(ValueError, match="requires y to be passed"):
        ReducedErrorPruner(FrozenEstimator(tree)).fit(X)


def test_frozen_tree_is_not_grown_again():
    tree = grown_small("classifier", "plain")
    before = tree.tree_.__getstate__()["nodes"].copy()
    pruner = ReducedErrorPruner(FrozenEstimator(tree), sparsity=0.0)
    pruner.fit(X[HELD_OUT], target("classifier")[HELD_OUT])
    assert_equal_node_for_node(pruner.estimator_, tree)
    assert_array_equal(tree.tree_.__getstate__()["nodes"], before)


def test_labels_and_outputs_that_a_frozen_tree_does_not_know_are_named():
    tree = DecisionTreeClassifier().fit(X, target("classifier"))
    pruner = ReducedErrorPruner(FrozenEstimator(tree))
    with pytest.raises(ValueError, match=r"does not know: \[7\].*\[0, 1, 2\]"):
        pruner.fit(X[:3], [0, 7, 1])
    with pytest.raises(ValueError, match=r"2 outputs.*trained with 1"):
        pruner.fit(X, LABELS)
    with pytest.raises(ValueError, match=r"(?i)sample.weight"):
        pruner.fit(X, target("classifier"), sample_weight=np.zeros(N_ROWS))


def test_labels_of_any_kind():
    names = np.array(["low", "mid", "high"], dtype=object)[target("classifier")]
    pruner = ReducedErrorPruner(DecisionTreeClassifier(random_state=0), random_state=0)
    pruner.fit(X, names)
    assert pruner.classes_.tolist() == ["high", "low", "mid"]
    assert 0 < pruner.sparsity_ < 1
    assert pruner.score(X, names) > 0.5


def test_ties_prune_whatever_the_units_of_the_weights():
    # a split that mends as many held-out rows as it breaks: 0.1 + 0.2 is not 0.3 in floats
    tree = DecisionTreeClassifier().fit([[0], [0], [0], [1]], [0, 0, 0, 1])
    pruner = ReducedErrorPruner(FrozenEstimator(tree))
    rows, y = [[1], [1], [1]], [1, 1, 0]
    assert pruner.fit(rows, y, sample_weight=[0.1, 0.2, 0.1 + 0.2]).sparsity_ == 1
    assert pruner.fit(rows, y, sample_weight=[0.1, 0.2, 0.3]).sparsity_ == 1
    assert pruner.fit(rows, y, sample_weight=[0.1, 0.2, 0.29]).sparsity_ == 0


def test_branches_that_no_held_out_row_reaches_go():
    tree = DecisionTreeClassifier().fit([[0], [1], [2]], [0, 1, 0])
    pruner = ReducedErrorPruner(FrozenEstimator(tree)).fit([[0]], [0])
    assert pruner.estimator_.get_n_leaves() == 1
