"""Subtrees as nodes joined anew, and the merging of their leaves, against the mask of old."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune.trees.core.arrays import TreeArrays, prune_sklearn_tree
from skprune.trees.core.subtrees import Subtree, merge_equal_leaves

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3)).astype(np.float32)
FULL = DecisionTreeRegressor(random_state=0).fit(X, RNG.normal(size=80)).tree_
ARRAYS = TreeArrays.from_sklearn(FULL)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_collapsed_subtree_is_the_tree_of_its_mask(share):
    mask = RNG.random(FULL.node_count) < share
    subtree, pruned = Subtree.collapse(ARRAYS, mask), prune_sklearn_tree(FULL, mask)
    assert subtree.n_leaves == pruned.n_leaves == subtree.n_splits + 1
    assert subtree.sparsity == 1 - subtree.n_splits / ARRAYS.n_splits
    ours, theirs = subtree.to_sklearn(FULL).__getstate__(), pruned.__getstate__()
    assert ours["max_depth"] == theirs["max_depth"]
    assert_array_equal(ours["values"], theirs["values"])
    assert_array_equal(ours["nodes"], theirs["nodes"])
    alone = subtree.alone()
    assert_array_equal(alone.nodes.left, pruned.children_left)
    assert_array_equal(alone.nodes.right, pruned.children_right)
    split = alone.nodes.is_split
    assert_array_equal(alone.nodes.threshold[split], pruned.threshold[split])
    assert_array_equal(alone.nodes.value, pruned.value)
    assert_array_equal(np.flatnonzero(ARRAYS.is_split)[alone.splits], alone.numbers[split])


def test_a_branch_in_the_place_of_the_root():
    child = int(ARRAYS.left[0])
    subtree = Subtree(ARRAYS, ARRAYS.left, ARRAYS.right, root=child)
    tree = subtree.to_sklearn(FULL)
    rows = X[FULL.decision_path(X)[:, [child]].toarray().ravel() > 0]
    assert_array_equal(tree.predict(rows), FULL.predict(rows))
    assert tree.max_depth <= FULL.max_depth - 1
    assert subtree.alone().nodes.n_splits == subtree.n_splits == tree.node_count // 2


def test_tree_without_splits_has_sparsity_zero():
    tree = TreeArrays.from_sklearn(DecisionTreeRegressor().fit(X, np.ones(80)).tree_)
    subtree = Subtree.collapse(tree, [False])
    assert (subtree.sparsity, subtree.n_leaves) == (0.0, 1)
    assert merge_equal_leaves(subtree, classifier=False).n_leaves == 1


def test_equal_values_merge_up_to_the_root_and_are_not_rounded():
    value = np.full(FULL.node_count, 0.1)
    value[ARRAYS.is_split] += 1e-16 * RNG.random(ARRAYS.n_splits)
    state = ARRAYS.__dict__ | {"value": value[:, None, None]}
    tree = TreeArrays(**state)
    merged = merge_equal_leaves(Subtree.collapse(tree, ~tree.is_split), classifier=False)
    assert merged.n_leaves == 1
    assert merged.nodes.value[0, 0, 0] == 0.1
    assert tree.value[0, 0, 0] == value[0]  # the input is left alone


def test_all_outputs_have_to_agree():
    y = np.array([[0, 0], [0, 1], [0, 0], [0, 0]])
    full = DecisionTreeClassifier().fit([[0], [1], [2], [2]], y).tree_
    tree = TreeArrays.from_sklearn(full)
    both = merge_equal_leaves(Subtree.collapse(tree, ~tree.is_split), classifier=True)
    assert both.n_leaves == tree.n_leaves == 3


def test_a_parent_that_would_say_another_class_keeps_its_leaves():
    tree = TreeArrays.from_sklearn(DecisionTreeClassifier().fit([[0], [1]], [0, 1]).tree_)
    value = np.array([[[0.5, 0.5]], [[0.0, 1.0]], [[0.0, 1.0]]])  # as rounding might leave it
    tied = TreeArrays(**(tree.__dict__ | {"value": value}))
    subtree = Subtree.collapse(tied, ~tied.is_split)
    assert merge_equal_leaves(subtree, classifier=True).n_leaves == 2
