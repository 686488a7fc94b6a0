"""A pruned tree as the weights of a sparse net with two hidden layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skprune.indices import with_short_indices
from skprune.trees.core.arrays import parents
from skprune.trees.core.subtrees import PrunedTree

__all__ = ["sparse_weights"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def sparse_weights(tree: PrunedTree) -> dict[str, csr_array]:
    """Write a pruned tree as a sparse net.

    Its splits are those of the full tree, in node order; the rows of removed ones are empty, so
    that ``1 - A.nnz / A.shape[0]`` is the sparsity. Its leaves are those of the pruned tree, in
    their order. It reads a row ``x`` of data so::

        z = A @ x
        left = (z <= b) | (isnan(z) & m)    which splits send x to the left
        leaf = C.T @ left == d              one-hot: the leaf that x reaches
        prediction = leaf @ E

    Parameters
    ----------
    tree : PrunedTree
        See :meth:`skprune.trees.core.subtrees.Subtree.alone`.

    Returns
    -------
    dict of csr_array, float64
        - ``A`` (n_splits, n_features): 1 at the feature of each kept split.
        - ``b`` (n_splits, 1): their thresholds.
        - ``m`` (n_splits, 1): 1 where missing values go left.
        - ``C`` (n_splits, n_leaves): +1 where a leaf is to the left of a split, -1 to the right.
        - ``d`` (n_leaves, 1): left turns on the way to each leaf.
        - ``E`` (n_leaves, n_outputs * n_classes): the values of the leaves.

    Notes
    -----
    This is the form of Hummingbird's GEMM strategy [1]_. ``C`` has one entry per leaf and ancestor,
    which is n_leaves * depth: many, for a tree that is a chain.

    References
    ----------
    .. [1] S. Nakandala et al., "A Tensor Compiler for Unified Machine Learning Prediction Serving",
       OSDI 2020, section 4.1.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.sparse_net import sparse_weights
    >>> from skprune.trees.core.subtrees import Subtree
    >>> full = DecisionTreeRegressor().fit([[0], [1], [5]], [2.0, 3.0, 9.0]).tree_
    >>> subtree = Subtree.collapse(TreeArrays.from_sklearn(full), [False, True] + 3 * [False])
    >>> weights = sparse_weights(subtree.alone())
    >>> weights["A"].toarray().tolist(), weights["b"].toarray().tolist()
    ([[1.0], [0.0]], [[3.0], [0.0]])
    >>> weights["C"].toarray().tolist(), weights["E"].toarray().tolist()
    ([[1.0, -1.0], [0.0, 0.0]], [[2.5], [9.0]])
    """
    nodes = tree.nodes
    kept = np.flatnonzero(nodes.is_split)
    leaves = np.flatnonzero(~nodes.is_split)
    row = np.zeros(nodes.n_nodes, dtype=np.intp)
    row[kept] = tree.splits

    def spread(values: NDArray[Any]) -> csr_array:
        column = np.zeros((tree.n_full_splits, 1))
        column[tree.splits, 0] = values[kept]
        return csr_array(column)

    ancestors, leaf, side = _leaf_ancestors(nodes.left, parents(nodes.left, nodes.right), leaves)
    A = (np.ones(len(kept)), (tree.splits, nodes.feature[kept]))
    left_turns = np.bincount(leaf[side > 0], minlength=len(leaves)).astype(np.float64)
    weights = {
        "A": csr_array(A, shape=(tree.n_full_splits, nodes.n_features)),
        "b": spread(nodes.threshold),
        "m": spread(nodes.missing_go_to_left),
        "C": csr_array((side, (row[ancestors], leaf)), shape=(tree.n_full_splits, len(leaves))),
        "d": csr_array(left_turns[:, np.newaxis]),
        "E": csr_array(nodes.value[leaves].reshape(len(leaves), -1)),
    }
    return {name: with_short_indices(weight) for name, weight in weights.items()}


def _leaf_ancestors(left: Ints, parent: Ints, leaves: Ints) -> tuple[Ints, Ints, Floats]:
    """Climb from all leaves at once; return triples (ancestor, position of the leaf, +1 or -1)."""
    climbed: list[tuple[Ints, Ints, Floats]] = []
    node, leaf = leaves, np.arange(len(leaves))
    while len(node):
        above = parent[node]
        node, leaf, above = node[above >= 0], leaf[above >= 0], above[above >= 0]
        climbed.append((above, leaf, np.where(left[above] == node, 1.0, -1.0)))
        node = above
    ancestors, positions, sides = zip(*climbed, strict=True)
    return np.concatenate(ancestors), np.concatenate(positions), np.concatenate(sides)
