"""What pruning leaves of a tree, and the merging of leaves that predict alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skprune.trees.core.arrays import (
    NO_CHILD,
    TreeArrays,
    cut_children,
    reached_nodes,
    rebuild_sklearn_tree,
)

__all__ = ["PrunedTree", "Subtree", "merge_equal_leaves"]

Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Subtree:
    """Some nodes of a tree, under the numbers that they have there.

    A mask of collapsed nodes tells most subtrees. Here a node's children may be any of its
    descendants, so that a branch can also stand in the place of a node above it.

    Parameters
    ----------
    nodes : TreeArrays
        The full tree. Where rows have come to other nodes, their values and numbers of samples
        are already those of the subtree.
    left, right : ndarray of shape (n_nodes,), intp
        Children of each node of the subtree; both -1 at its leaves. Not read elsewhere.
    root : int, default=0
        The node on top.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.subtrees import Subtree
    >>> full = DecisionTreeRegressor().fit([[0], [1], [5]], [2.0, 3.0, 9.0]).tree_
    >>> subtree = Subtree.collapse(TreeArrays.from_sklearn(full), [False, True] + 3 * [False])
    >>> subtree.n_splits, subtree.sparsity
    (1, 0.5)
    """

    nodes: TreeArrays
    left: Ints
    right: Ints
    root: int = 0

    @classmethod
    def collapse(cls, nodes: TreeArrays, collapsed: ArrayLike) -> Self:
        """Make leaves of some nodes.

        Parameters
        ----------
        nodes : TreeArrays
            The full tree.
        collapsed : array-like of shape (n_nodes,), bool
            The nodes that become leaves.

        Returns
        -------
        Subtree
        """
        return cls(nodes, *cut_children(nodes.left, nodes.right, collapsed))

    @cached_property
    def order(self) -> Ints:
        """Numbers of the nodes that are left, depth first, left before right."""
        return reached_nodes(self.left, self.right, self.root)

    @property
    def n_splits(self) -> int:
        """Number of splits that are left."""
        return int(np.count_nonzero(self.left[self.order] != NO_CHILD))

    @property
    def n_leaves(self) -> int:
        """Number of leaves."""
        return self.n_splits + 1

    @property
    def sparsity(self) -> float:
        """Fraction of the full tree's splits that is gone; 0 for a tree without splits."""
        full = self.nodes.n_splits
        return 1.0 - self.n_splits / full if full else 0.0

    def to_sklearn(self, tree_: Any) -> Any:
        """Return it as a scikit-learn ``tree_``.

        Parameters
        ----------
        tree_ : sklearn.tree._tree.Tree
            That of the full tree; left as it is.

        Returns
        -------
        sklearn.tree._tree.Tree
        """
        return rebuild_sklearn_tree(tree_, self.left, self.right, self.root, self.nodes)

    def alone(self) -> PrunedTree:
        """Return it as a tree of its own, without what is gone.

        Returns
        -------
        PrunedTree
            Its nodes are depth first, left before right.
        """
        full, order = self.nodes, self.order
        number = np.full(full.n_nodes + 1, NO_CHILD, dtype=np.intp)  # the last: for NO_CHILD
        number[order] = np.arange(len(order))
        left = number[self.left[order]]
        rank = np.cumsum(full.is_split) - 1
        return PrunedTree(
            nodes=full.take(order, left, number[self.right[order]]),
            numbers=order,
            splits=rank[order[left != NO_CHILD]],
            n_full_splits=full.n_splits,
        )


@dataclass(frozen=True, eq=False)
class PrunedTree:
    """What is left of a tree, as a tree of its own.

    Parameters
    ----------
    nodes : TreeArrays
        Those that are left.
    numbers : ndarray of shape (n_nodes,), intp
        The number of each in the full tree.
    splits : ndarray of shape (n_splits,), intp
        The place of each split that is left among the splits of the full tree, in node order.
    n_full_splits : int
        Splits of the full tree.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.subtrees import Subtree
    >>> full = DecisionTreeRegressor().fit([[0], [1], [5]], [2.0, 3.0, 9.0]).tree_
    >>> subtree = Subtree.collapse(TreeArrays.from_sklearn(full), [False, True] + 3 * [False])
    >>> tree = subtree.alone()
    >>> tree.nodes.left.tolist(), tree.numbers.tolist(), tree.splits.tolist()
    ([1, -1, -1], [0, 1, 4], [0])
    """

    nodes: TreeArrays
    numbers: Ints
    splits: Ints
    n_full_splits: int

    @classmethod
    def unpruned(cls, nodes: TreeArrays) -> Self:
        """Return a full tree, with its nodes in the order that they have.

        Parameters
        ----------
        nodes : TreeArrays

        Returns
        -------
        PrunedTree
        """
        return cls(nodes, np.arange(nodes.n_nodes), np.arange(nodes.n_splits), nodes.n_splits)


def merge_equal_leaves(subtree: Subtree, classifier: bool) -> Subtree:
    """Make one leaf of sibling leaves that predict alike, as often as there are any.

    Predictions do not change, to the bit: a classifier's merged leaf has the label of the two, and
    the class probabilities of all rows in it; a regressor's has the value of the two.

    Parameters
    ----------
    subtree : Subtree
    classifier : bool
        Whether a node predicts the class with the largest value, or the value itself; of several
        outputs, all have to agree.

    Returns
    -------
    Subtree

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.subtrees import Subtree, merge_equal_leaves
    >>> tree = DecisionTreeClassifier(max_depth=2, random_state=0)
    >>> full = tree.fit([[0], [1], [2], [3], [4]], [0, 1, 0, 0, 1]).tree_
    >>> subtree = Subtree.collapse(TreeArrays.from_sklearn(full), full.children_left < 0)
    >>> subtree.n_leaves, merge_equal_leaves(subtree, classifier=True).n_leaves
    (3, 2)
    """
    value = subtree.nodes.value.copy()
    label = value.argmax(axis=2) if classifier else value
    left, right = subtree.left.copy(), subtree.right.copy()
    splits = subtree.order[left[subtree.order] != NO_CHILD]
    for node in splits[::-1].tolist():
        one, other = left[node], right[node]
        if left[one] != NO_CHILD or left[other] != NO_CHILD:
            continue
        if not np.array_equal(label[one], label[other]):
            continue
        if not classifier:
            value[node] = value[one]  # the mean over both may be off in the last bit
        elif not np.array_equal(label[node], label[one]):
            continue  # so may its fractions, where two classes tie
        left[node] = right[node] = NO_CHILD
    return Subtree(replace(subtree.nodes, value=value), left, right, subtree.root)
