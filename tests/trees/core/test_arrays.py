"""Trees as arrays: the checks and the rebuilt scikit-learn tree."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.datasets import load_diabetes, load_iris
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
)

from skprune.trees.core.arrays import (
    TreeArrays,
    node_depths,
    parents,
    prune_sklearn_tree,
    topological_order,
)
from skprune.trees.core.subtrees import Subtree

#        0
#      /   \
#     1     4
#    / \   / \
#   2   3 5   6
LEFT = [1, 2, -1, -1, 5, -1, -1]
RIGHT = [4, 3, -1, -1, 6, -1, -1]
N_NODES = len(LEFT)


def make_tree(**changes):
    arrays = {
        "feature": [0, 1, -2, -2, 2, -2, -2],
        "threshold": np.array([0.5, np.inf, -2, -2, 1.5, -2, -2]),
        "left": LEFT,
        "right": RIGHT,
        "value": np.arange(N_NODES, dtype=float).reshape(N_NODES, 1, 1),
        "impurity": np.ones(N_NODES),
        "n_node_samples": np.ones(N_NODES, dtype=int),
        "weighted_n_node_samples": np.ones(N_NODES),
        "missing_go_to_left": np.zeros(N_NODES, dtype=np.uint8),
        "n_features": 3,
    }
    return TreeArrays(**(arrays | changes))


def chain(n_splits):
    """Splits 0, 1, 2, ...; the left child of each is a leaf, the right one the next split."""
    splits = np.arange(n_splits)
    left = np.full(2 * n_splits + 1, -1)
    right = left.copy()
    left[:n_splits] = n_splits + 1 + splits
    right[:n_splits] = splits + 1
    return left, right


# -- checks ----------------------------------------------------------------------------------------


def test_copies_and_freezes():
    threshold = np.array([0.5, np.inf, -2, -2, 1.5, -2, -2])
    tree = make_tree(threshold=threshold)
    threshold[0] = 9.0
    assert tree.threshold[0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        tree.left[0] = 2
    with pytest.raises(FrozenInstanceError):
        tree.n_features = 5


def test_counts_and_types():
    tree = make_tree()
    assert (tree.n_nodes, tree.n_splits, tree.n_leaves) == (7, 3, 4)
    assert_array_equal(tree.is_split, [True, True, False, False, True, False, False])
    assert tree.threshold.dtype == tree.value.dtype == np.float64
    assert tree.left.dtype == tree.feature.dtype == np.intp
    assert tree.missing_go_to_left.dtype == np.bool_


def test_from_sklearn_takes_every_array():
    X, y = load_iris(return_X_y=True)
    X[::7, 2] = np.nan
    tree_ = DecisionTreeClassifier(random_state=0).fit(X, y).tree_
    tree = TreeArrays.from_sklearn(tree_)
    assert_array_equal(tree.left, tree_.children_left)
    assert_array_equal(tree.right, tree_.children_right)
    assert tree.missing_go_to_left.any()
    for name in (
        *("feature", "threshold", "value", "impurity", "n_node_samples"),
        *("weighted_n_node_samples", "missing_go_to_left", "n_features"),
    ):
        assert_array_equal(getattr(tree, name), getattr(tree_, name))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"left": [1, 2, -1, -1, 7, -1, -1]}, "left child of node 4 is 7, .* 0 to 6"),
        ({"right": [4, 3, -1, -1, -5, -1, -1]}, "right child of node 4 is -5"),
        ({"left": [1, 2, -1, -1, 3, -1, -1]}, "Node 3 is reached twice"),
        ({"right": [4, 0, -1, -1, 6, -1, -1]}, "Node 0, the root, is the child of another"),
        ({"right": [4, -1, -1, -1, 6, -1, -1]}, "Node 1 has one child"),
        ({"left": [1, 2, -1, -1, -1, -1, -1], "right": [4, 3] + [-1] * 5}, "Node 5 is not reach"),
        ({"left": [-1, 2, 1] + [-1] * 4, "right": [-1, 3, 4, 5, -1, 6, -1]}, "has one child"),
        ({"left": [5, 2, 1] + [-1] * 4, "right": [6, 3, 4] + [-1] * 4}, "Node 1 .* on a cycle"),
        ({"left": np.array(LEFT, dtype=float)}, "left must hold integers"),
        ({"feature": [0, 3, -2, -2, 2, -2, -2]}, "Node 1 tests feature 3, .* 0 to 2"),
        ({"feature": [-2, 1, -2, -2, 2, -2, -2]}, "Node 0 tests feature -2"),
        ({"threshold": [0, 0, 0, 0, np.nan, 0, 0]}, "threshold of node 4 is NaN"),
        ({"n_features": 0}, "n_features must be at least 1"),
        ({"value": np.zeros((7, 2))}, "value must have shape"),
        ({"value": np.zeros((6, 1, 2))}, "value must have shape"),
        ({"impurity": np.zeros(6)}, r"impurity must have shape \(7,\)"),
        ({"left": np.zeros((7, 1), dtype=int)}, "left must have shape"),
        ({"left": LEFT[:-1]}, "must have shape"),
    ],
)
def test_malformed_trees_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_tree(**changes)


@pytest.mark.parametrize(
    "bad", [(*np.empty((2, 0), dtype=int),), ([[1]], [[2]]), ([1, -1, -1], [2, -1])]
)
def test_malformed_children_are_refused(bad):
    with pytest.raises(ValueError, match=r"at least one node|one length"):
        parents(*bad)


def test_leaves_may_hold_anything_in_feature_and_threshold():
    tree = make_tree(
        feature=[0, 1, 99, -9, 2, 99, 99],
        threshold=[0, -np.inf, np.nan, np.nan, np.inf, np.nan, np.nan],
    )
    assert tree.n_splits == 3


def reaches_each_node_once(left, right):
    """Walk the tree as a kernel would, but count the steps."""
    seen, waiting = [], [0]
    while waiting and len(seen) <= len(left):
        node = waiting.pop()
        if not 0 <= node < len(left):
            return False
        seen.append(node)
        if (left[node] == -1) != (right[node] == -1):
            return False
        if left[node] != -1:
            waiting += [left[node], right[node]]
    return sorted(seen) == list(range(len(left)))


@given(
    changes=st.lists(
        st.tuples(st.booleans(), st.integers(0, N_NODES - 1), st.integers(-2, N_NODES)),
        min_size=1,
        max_size=4,
    )
)
def test_mutated_children_are_accepted_only_if_they_are_a_tree(changes):
    left, right = list(LEFT), list(RIGHT)
    for on_left, node, child in changes:
        (left if on_left else right)[node] = child
    everywhere_legal = {"feature": np.zeros(N_NODES, dtype=int), "threshold": np.zeros(N_NODES)}
    if reaches_each_node_once(left, right):
        make_tree(left=left, right=right, **everywhere_legal)
    else:
        with pytest.raises(ValueError, match=r"[Nn]ode"):
            make_tree(left=left, right=right, **everywhere_legal)


@given(st.permutations(range(1, N_NODES)))
def test_any_numbering_of_the_nodes_is_accepted(numbers):
    number = np.array([0, *numbers, -1])  # the last entry keeps -1
    left, right = np.empty((2, N_NODES), dtype=int)
    left[number[:-1]] = number[LEFT]
    right[number[:-1]] = number[RIGHT]
    assert_array_equal(topological_order(left, right), number[[0, 1, 2, 3, 4, 5, 6]])
    assert_array_equal(node_depths(parents(left, right))[number[:-1]], [0, 1, 2, 2, 1, 2, 2])


def test_helpers_on_a_chain_of_100_000():
    n_splits = 100_000
    left, right = chain(n_splits)
    depth = node_depths(parents(left, right))
    assert_array_equal(depth[: n_splits + 1], np.arange(n_splits + 1))
    order = topological_order(left, right)
    assert_array_equal(np.sort(order), np.arange(2 * n_splits + 1))
    # Depth first, left before right: each split, its leaf, the next split.
    assert_array_equal(order[:-1:2], np.arange(n_splits))


# -- to scikit-learn -------------------------------------------------------------------------------


def assert_same_tree(actual, expected):
    actual, expected = actual.__getstate__(), expected.__getstate__()
    assert actual.keys() == expected.keys()
    assert actual["max_depth"] == expected["max_depth"]
    assert actual["node_count"] == expected["node_count"]
    assert actual["nodes"].dtype == expected["nodes"].dtype
    for name in expected["nodes"].dtype.names:
        assert_array_equal(actual["nodes"][name], expected["nodes"][name], err_msg=name)
    assert_array_equal(actual["values"], expected["values"])


def test_pruning_nothing_gives_back_a_tree_grown_depth_first():
    X, y = load_diabetes(return_X_y=True)
    full = DecisionTreeRegressor(random_state=0).fit(X, y).tree_
    assert_same_tree(prune_sklearn_tree(full, np.zeros(full.node_count, dtype=bool)), full)


def test_pruning_at_the_root_leaves_one_leaf():
    X, y = load_iris(return_X_y=True)
    full = DecisionTreeClassifier(random_state=0).fit(X, y)
    stump = DecisionTreeClassifier(random_state=0, ccp_alpha=10.0).fit(X, y)
    root_only = np.arange(full.tree_.node_count) == 0
    assert_same_tree(prune_sklearn_tree(full.tree_, root_only), stump.tree_)


def test_what_the_mask_says_below_a_collapsed_node_and_at_leaves_is_not_read():
    X, y = load_iris(return_X_y=True)
    full = DecisionTreeClassifier(random_state=0).fit(X, y).tree_
    only_the_top = np.zeros(full.node_count, dtype=bool)
    only_the_top[2] = True
    all_below_and_leaves = only_the_top | (full.children_left == -1)
    all_below_and_leaves[3:] = True
    assert_same_tree(
        prune_sklearn_tree(full, only_the_top), prune_sklearn_tree(full, all_below_and_leaves)
    )


def test_the_full_tree_is_not_changed():
    X, y = load_iris(return_X_y=True)
    estimator = DecisionTreeClassifier(random_state=0)
    full, again = estimator.fit(X, y).tree_, estimator.fit(X, y).tree_
    prune_sklearn_tree(full, np.ones(full.node_count, dtype=bool))
    assert_same_tree(full, again)


@pytest.mark.parametrize("mask", [np.zeros(3, dtype=bool), np.zeros(17, dtype=int), True])
def test_bad_masks_are_refused(mask):
    X, y = load_iris(return_X_y=True)
    full = DecisionTreeClassifier(random_state=0).fit(X, y).tree_
    with pytest.raises(ValueError, match="collapsed must be a boolean mask"):
        prune_sklearn_tree(full, mask)
    with pytest.raises(ValueError, match="collapsed must be a boolean mask"):
        Subtree.collapse(TreeArrays.from_sklearn(full), mask)


def test_replace_checks_again():
    with pytest.raises(ValueError, match="NaN"):
        replace(make_tree(), threshold=np.full(N_NODES, np.nan))
