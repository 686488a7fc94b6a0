"""A flat, checked copy of a decision tree: from scikit-learn, and back to it.

Everything here is loops over arrays, never over call frames: trees reach depths of thousands.
A subtree is told by one boolean mask, ``collapsed``: True where a node becomes a leaf. What the
mask says below a collapsed node, or at a leaf of the full tree, makes no difference.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "TreeArrays",
    "node_depths",
    "parents",
    "prune_sklearn_tree",
    "rebuild_sklearn_tree",
    "topological_order",
]

NO_CHILD = -1
# scikit-learn's mark for "undefined" in the feature and the threshold of a leaf.
UNDEFINED = -2

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class TreeArrays:
    """A binary decision tree as flat, read-only arrays; node 0 is the root.

    A row goes left at a split when ``x[feature] <= threshold``, or when ``x[feature]`` is missing
    and ``missing_go_to_left`` is true. The arrays are copied and checked here, once, so that
    whoever holds a ``TreeArrays`` may walk it without further care.

    Parameters
    ----------
    feature : array of shape (n_nodes,), integers
        Feature tested at each split, in ``[0, n_features)``. Not read at leaves.
    threshold : array of shape (n_nodes,), float64
        Threshold of each split; infinite ones are legal (a split on missing values alone). Not read
        at leaves.
    left, right : arrays of shape (n_nodes,), integers
        Children of each split; both -1 at a leaf.
    value : array of shape (n_nodes, n_outputs, n_classes), float64
        What each node predicts; ``n_classes`` is 1 for regression.
    impurity : array of shape (n_nodes,), float64
        Impurity of each node.
    n_node_samples : array of shape (n_nodes,), integers
        Training rows that reach each node.
    weighted_n_node_samples : array of shape (n_nodes,), float64
        Their total weight.
    missing_go_to_left : array of shape (n_nodes,), bool
        Where each split sends missing values.
    n_features : int
        Width of the data.
    by_category : array of shape (n_nodes,), bool, default=None
        Splits that look at the number of a category in place of the threshold. None: there are
        none.
    left_categories : array of shape (n_nodes, n_words), uint32, default=None
        What these send left, as bits: category c where bit ``c % 32`` of word ``c // 32`` is set.
        Categories that are not known count as missing.

    Raises
    ------
    ValueError
        If shapes or types disagree, or if the arrays are not one binary tree with legal splits: a
        child out of range, a node reached twice or never, a cycle, a bad feature, a NaN threshold.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> tree = TreeArrays.from_sklearn(DecisionTreeRegressor().fit([[0], [1]], [2.0, 5.0]).tree_)
    >>> tree.n_splits, tree.threshold[0].item(), tree.left.tolist()
    (1, 0.5, [1, -1, -1])
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    impurity: Floats
    n_node_samples: Ints
    weighted_n_node_samples: Floats
    missing_go_to_left: Bools
    n_features: int
    by_category: Bools | None = None
    left_categories: NDArray[np.uint32] | None = None

    def __post_init__(self) -> None:
        for name in ("feature", "left", "right", "n_node_samples"):
            self._store(name, _integers(name, getattr(self, name)))
        for name in ("threshold", "value", "impurity", "weighted_n_node_samples"):
            self._store(name, np.array(getattr(self, name), dtype=np.float64))
        self._store("missing_go_to_left", np.array(self.missing_go_to_left, dtype=np.bool_))
        if (self.by_category is None) != (self.left_categories is None):
            raise ValueError("by_category and left_categories must be given together.")
        if self.by_category is not None:
            self._store("by_category", np.array(self.by_category, dtype=np.bool_))
            self._store("left_categories", np.array(self.left_categories, dtype=np.uint32))
        self._check_shapes()
        node_depths(parents(self.left, self.right))
        self._check_splits()

    @classmethod
    def from_sklearn(cls, tree_: Any) -> TreeArrays:
        """Copy the ``tree_`` attribute of a fitted scikit-learn tree.

        Parameters
        ----------
        tree_ : sklearn.tree._tree.Tree
            Or any object with the same attributes.

        Returns
        -------
        TreeArrays
        """
        return cls(
            feature=tree_.feature,
            threshold=tree_.threshold,
            left=tree_.children_left,
            right=tree_.children_right,
            value=tree_.value,
            impurity=tree_.impurity,
            n_node_samples=tree_.n_node_samples,
            weighted_n_node_samples=tree_.weighted_n_node_samples,
            missing_go_to_left=tree_.missing_go_to_left,
            n_features=int(tree_.n_features),
        )

    def take(self, nodes: Ints, left: Ints, right: Ints) -> TreeArrays:
        """Return a tree of some of the nodes.

        Parameters
        ----------
        nodes : ndarray of shape (n_taken,), intp
            Which, the root first.
        left, right : ndarray of shape (n_taken,), intp
            Their children, as places in `nodes`; both -1 at a leaf.

        Returns
        -------
        TreeArrays
        """
        taken: dict[str, Any] = {
            field.name: array[nodes]
            for field in fields(self)
            if isinstance(array := getattr(self, field.name), np.ndarray)
        }
        return replace(self, **(taken | {"left": left, "right": right}))

    @property
    def n_nodes(self) -> int:
        """Number of nodes, splits and leaves together."""
        return len(self.left)

    @property
    def is_split(self) -> Bools:
        """Mask of the nodes that have children, of shape (n_nodes,)."""
        return self.left != NO_CHILD

    @property
    def n_splits(self) -> int:
        """Number of nodes that have children."""
        return int(np.count_nonzero(self.is_split))

    @property
    def n_leaves(self) -> int:
        """Number of nodes that have no children."""
        return self.n_nodes - self.n_splits

    def _store(self, name: str, array: NDArray[Any]) -> None:
        array.flags.writeable = False
        object.__setattr__(self, name, array)

    def _check_shapes(self) -> None:
        if self.n_features < 1:
            raise ValueError(f"n_features must be at least 1, got {self.n_features}.")
        n_nodes = self.left.shape[0] if self.left.ndim else 0
        if self.value.ndim != 3 or len(self.value) != n_nodes or 0 in self.value.shape[1:]:
            raise ValueError(
                f"value must have shape ({n_nodes}, n_outputs, n_classes), got {self.value.shape}."
            )
        for name in (field.name for field in fields(self)):
            if name in ("n_features", "value", "left_categories") or getattr(self, name) is None:
                continue
            shape = getattr(self, name).shape
            if shape != (n_nodes,):
                raise ValueError(f"{name} must have shape ({n_nodes},), got {shape}.")
        sets = self.left_categories
        if sets is not None and (sets.ndim != 2 or len(sets) != n_nodes):
            raise ValueError(
                f"left_categories must have shape ({n_nodes}, n_words), got {sets.shape}."
            )

    def _check_splits(self) -> None:
        split = self.is_split
        bad = split & ((self.feature < 0) | (self.feature >= self.n_features))
        if bad.any():
            node = int(np.argmax(bad))
            raise ValueError(
                f"Node {node} tests feature {self.feature[node]}, "
                f"but features are numbered 0 to {self.n_features - 1}."
            )
        bad = split & np.isnan(self.threshold)
        if bad.any():
            raise ValueError(f"The threshold of node {int(np.argmax(bad))} is NaN.")


def parents(left: ArrayLike, right: ArrayLike) -> Ints:
    """Return the parent of every node; -1 for the root, node 0.

    Parameters
    ----------
    left, right : array-like of shape (n_nodes,), integers
        Children of each node, both -1 at a leaf.

    Returns
    -------
    ndarray of shape (n_nodes,), intp

    Raises
    ------
    ValueError
        If a child is out of range, a node has one child only, or some node but the root has not
        exactly one parent.

    Examples
    --------
    >>> from skprune.trees.core.arrays import parents
    >>> parents([1, -1, 3, -1, -1], [2, -1, 4, -1, -1])
    array([-1,  0,  0,  2,  2])
    """
    left, right = _integers("left", left), _integers("right", right)
    _check_children(left, right)
    splits = np.flatnonzero(left != NO_CHILD)
    parent = np.full(len(left), -1, dtype=np.intp)
    parent[left[splits]] = splits
    parent[right[splits]] = splits
    return parent


def node_depths(parent: Ints) -> Ints:
    """Return how many edges lie between each node and the root.

    Every round doubles the stretch of ancestors that is summed up, so a chain of 100,000 nodes
    takes 17 rounds.

    Parameters
    ----------
    parent : ndarray of shape (n_nodes,), intp
        As :func:`parents` returns it.

    Returns
    -------
    ndarray of shape (n_nodes,), intp

    Raises
    ------
    ValueError
        If following parents from some node never arrives at node 0.

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.trees.core.arrays import node_depths
    >>> node_depths(np.array([-1, 0, 0, 2, 2]))
    array([0, 1, 1, 2, 2])
    """
    ancestor = np.maximum(parent, 0)
    depth = (parent >= 0).astype(np.intp)  # edges between each node and `ancestor`
    for _ in range(len(parent).bit_length()):
        if not ancestor.any():
            return depth
        depth += depth[ancestor]
        ancestor = ancestor[ancestor]
    lost = int(np.argmax(ancestor != 0))
    raise ValueError(f"Node {lost} is not reachable from the root: it hangs on a cycle.")


def topological_order(left: ArrayLike, right: ArrayLike) -> Ints:
    """Return the nodes depth first: every parent before its children, left before right.

    Parameters
    ----------
    left, right : array-like of shape (n_nodes,), integers
        Children of each node, both -1 at a leaf.

    Returns
    -------
    ndarray of shape (n_nodes,), intp

    Raises
    ------
    ValueError
        If the arrays are not one tree rooted at node 0.

    Examples
    --------
    >>> from skprune.trees.core.arrays import topological_order
    >>> topological_order([1, 3, -1, -1, -1], [2, 4, -1, -1, -1])
    array([0, 1, 3, 4, 2])
    """
    left, right = _integers("left", left), _integers("right", right)
    node_depths(parents(left, right))
    return reached_nodes(left, right)


def prune_sklearn_tree(tree_: Any, collapsed: ArrayLike) -> Any:
    """Return a pruned copy of a scikit-learn ``tree_``, as scikit-learn itself would build it.

    Nodes stand in depth-first order, left before right, which is what scikit-learn's ``ccp_alpha``
    gives also where the full tree was grown best-first. So a mask without a split in it reorders
    such a tree and is not a plain copy; scikit-learn leaves the tree alone at ``ccp_alpha=0``.

    The state of the tree is edited, and no private function of scikit-learn called, so that this
    works over its versions.

    Parameters
    ----------
    tree_ : sklearn.tree._tree.Tree
        Left as it is.
    collapsed : array-like of shape (n_nodes,), bool
        Nodes that become leaves.

    Returns
    -------
    sklearn.tree._tree.Tree
        Of the same class as `tree_`.

    Raises
    ------
    ValueError
        If `collapsed` is not a boolean mask over the nodes, or `tree_` is malformed.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import prune_sklearn_tree
    >>> full = DecisionTreeRegressor().fit([[0], [1], [5]], [2.0, 3.0, 9.0]).tree_
    >>> full.children_left.tolist()
    [1, 2, -1, -1, -1]
    >>> pruned = prune_sklearn_tree(full, [False, True, False, False, False])
    >>> pruned.children_left.tolist(), pruned.value.ravel().tolist()
    ([1, -1, -1], [4.66..., 2.5, 9.0])
    """
    nodes = tree_.__getstate__()["nodes"]
    node_depths(parents(nodes["left_child"], nodes["right_child"]))
    return rebuild_sklearn_tree(
        tree_, *cut_children(nodes["left_child"], nodes["right_child"], collapsed)
    )


def rebuild_sklearn_tree(
    tree_: Any,
    left: Ints,
    right: Ints,
    root: int = 0,
    nodes: TreeArrays | None = None,
) -> Any:
    """Return a copy of a scikit-learn ``tree_`` whose nodes hang together in another way.

    Parameters
    ----------
    tree_ : sklearn.tree._tree.Tree
        Left as it is.
    left, right : ndarray of shape (n_nodes,), intp
        Children of each node that stays, by its number in `tree_`; both -1 where it is a leaf.
    root : int, default=0
        The node on top.
    nodes : TreeArrays, default=None
        Where given, its values, impurities and numbers of samples replace those of `tree_`.

    Returns
    -------
    sklearn.tree._tree.Tree
        With its nodes in depth-first order, as :func:`prune_sklearn_tree` tells.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import rebuild_sklearn_tree
    >>> full = DecisionTreeRegressor().fit([[0], [1], [5]], [2.0, 3.0, 9.0]).tree_
    >>> below = rebuild_sklearn_tree(full, full.children_left, full.children_right, root=1)
    >>> below.children_left.tolist(), below.value.ravel().tolist()
    ([1, -1, -1], [2.5, 2.0, 3.0])
    """
    state = tree_.__getstate__()
    order = reached_nodes(left, right, root)
    kept, values = state["nodes"][order], state["values"][order]
    if nodes is not None:
        values = nodes.value[order]
        for name in ("impurity", "n_node_samples", "weighted_n_node_samples"):
            kept[name] = getattr(nodes, name)[order]
    number = np.full(len(left) + 1, NO_CHILD, dtype=np.intp)  # the last entry answers for NO_CHILD
    number[order] = np.arange(len(order))
    kept["left_child"] = number[left[order]]
    kept["right_child"] = number[right[order]]
    leaf = kept["left_child"] == NO_CHILD
    kept["feature"][leaf] = UNDEFINED
    kept["threshold"][leaf] = UNDEFINED
    kept["missing_go_to_left"][leaf] = 0

    make, arguments = tree_.__reduce__()[:2]
    rebuilt = make(*arguments)
    depths = node_depths(parents(kept["left_child"], kept["right_child"]))
    rebuilt.__setstate__(
        state
        | {
            "max_depth": int(depths.max()),
            "node_count": len(order),
            "nodes": kept,
            "values": values,
        }
    )
    return rebuilt


def _integers(name: str, values: ArrayLike) -> Ints:
    array = np.array(values)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} must hold integers, got dtype {array.dtype}.")
    return array.astype(np.intp)


def _check_children(left: Ints, right: Ints) -> None:
    """Refuse children that no tree has; only a cycle apart from the root passes."""
    if left.ndim != 1 or left.shape != right.shape:
        raise ValueError(
            f"left and right must be one-dimensional and of one length, "
            f"got shapes {left.shape} and {right.shape}."
        )
    n_nodes = len(left)
    if n_nodes == 0:
        raise ValueError("A tree has at least one node, got empty arrays.")
    for side, children in (("left", left), ("right", right)):
        bad = (children < NO_CHILD) | (children >= n_nodes)
        if bad.any():
            node = int(np.argmax(bad))
            raise ValueError(
                f"The {side} child of node {node} is {children[node]}, "
                f"but nodes are numbered 0 to {n_nodes - 1} (-1: no child)."
            )
    bad = (left == NO_CHILD) != (right == NO_CHILD)
    if bad.any():
        raise ValueError(f"Node {int(np.argmax(bad))} has one child; a node has two or none.")

    children = np.concatenate([left, right])
    times_reached = np.bincount(children[children != NO_CHILD], minlength=n_nodes)
    if times_reached[0]:
        raise ValueError("Node 0, the root, is the child of another node: a cycle.")
    if (times_reached > 1).any():
        raise ValueError(f"Node {int(np.argmax(times_reached > 1))} is reached twice.")
    if (times_reached[1:] == 0).any():
        node = int(np.argmax(times_reached[1:] == 0)) + 1
        raise ValueError(f"Node {node} is not reachable from the root: it is nobody's child.")


def cut_children(left: ArrayLike, right: ArrayLike, collapsed: ArrayLike) -> tuple[Ints, Ints]:
    """Return the children with those of collapsed nodes cut off."""
    left, right, collapsed = np.asarray(left), np.asarray(right), np.asarray(collapsed)
    if collapsed.dtype != np.bool_ or collapsed.shape != left.shape:
        raise ValueError(
            f"collapsed must be a boolean mask of shape {left.shape}, "
            f"got dtype {collapsed.dtype} and shape {collapsed.shape}."
        )
    return np.where(collapsed, NO_CHILD, left), np.where(collapsed, NO_CHILD, right)


def reached_nodes(left: Ints, right: Ints, root: int = 0) -> Ints:
    """Return the nodes that a root reaches, in the order of :func:`topological_order`."""
    # Item access on lists is several times faster than on arrays.
    lefts, rights = left.tolist(), right.tolist()
    order: list[int] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        while node != NO_CHILD:
            order.append(node)
            waiting.append(rights[node])
            node = lefts[node]
    return np.array(order, dtype=np.intp)
