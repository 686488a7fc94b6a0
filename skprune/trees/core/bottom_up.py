"""C4.5's way to prune: each node is decided on after all below it, with no price and no path.

A leaf is taken where its estimated errors are at most those of its branch, give or take a tenth of
a case: so C4.5 leans towards smaller trees, node by node, which no one price of a leaf does.
Subtree raising looks at a third choice, the larger child's branch in place of the node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skprune.trees.core.arrays import NO_CHILD, TreeArrays, parents, topological_order
from skprune.trees.core.subtrees import Subtree

__all__ = ["SLACK", "add_counts", "collapse_bottom_up", "raise_branches"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Cases by which a smaller tree may be worse than a larger one: Quinlan's constant.
SLACK = 0.1


def collapse_bottom_up(left: Ints, right: Ints, errors: Floats, slack: float = SLACK) -> Bools:
    """Collapse, from the bottom up, every node that is as good a leaf as a branch.

    Parameters
    ----------
    left, right : ndarray of shape (n_nodes,), intp
        Children of each node, both -1 at a leaf.
    errors : ndarray of shape (n_nodes,), float64
        Estimated errors of each node as a leaf; a branch has the sum of its leaves'.
    slack : float, default=0.1
        By how much a leaf may be worse.

    Returns
    -------
    ndarray of shape (n_nodes,), bool
        The nodes that become leaves.

    Examples
    --------
    >>> from skprune.trees.core.bottom_up import collapse_bottom_up
    >>> left, right = np.array([1, 3, -1, -1, -1]), np.array([2, 4, -1, -1, -1])
    >>> collapse_bottom_up(left, right, np.array([6.0, 3.0, 1.0, 1.5, 1.45]))
    array([False,  True, False, False, False])
    """
    lefts, rights = left.tolist(), right.tolist()
    as_leaf = errors.tolist()
    best = list(as_leaf)
    collapsed = np.zeros(len(lefts), dtype=np.bool_)
    for node in topological_order(left, right)[::-1].tolist():
        if lefts[node] == NO_CHILD:
            continue
        branch = best[lefts[node]] + best[rights[node]]
        if as_leaf[node] <= branch + slack:
            collapsed[node] = True
        else:
            best[node] = branch
    return collapsed


def raise_branches(
    tree: TreeArrays,
    X: NDArray[np.float32],
    leaf: Ints,
    classes: Ints,
    weight: Floats,
    errors: Callable[[Floats], Floats],
    impurity: Callable[[Floats], Floats],
    slack: float = SLACK,
) -> Subtree:
    """Prune bottom-up with subtree raising.

    At each node three choices are compared: the branch as it is, a leaf, and the branch of the
    child with more weight, with the rows of the other child sent down it too. A leaf is taken where
    it is as good as both others, else the larger child's branch where it is as good as the node's
    own; that branch, which has other rows now, is then pruned again.

    Parameters
    ----------
    tree : TreeArrays
        The full tree of a classifier.
    X : ndarray of shape (n_rows, n_features), float32
        The rows that it was grown on.
    leaf : ndarray of shape (n_rows,), intp
        The leaf that each row reaches.
    classes : ndarray of shape (n_rows, n_outputs), intp
        Their classes, as positions in the last axis of `tree.value`.
    weight : ndarray of shape (n_rows,), float64
        Their weights, all positive.
    errors, impurity : callable
        From class counts, of shape (n_nodes, n_outputs, n_classes), to a number for each node.
    slack : float, default=0.1
        By how much a smaller tree may be worse.

    Returns
    -------
    Subtree
        With the values, impurities and numbers of samples of where its rows are now.

    Examples
    --------
    The split on top parts like from like, and the branch of its larger child serves all:

    >>> import numpy as np
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.bottom_up import raise_branches
    >>> from skprune.trees.core.risks import estimated_errors
    >>> counts = np.array([[[12.0, 13.0]], [[0, 1]], [[12, 12]], [[12, 0]], [[0, 12]]])
    >>> tree = TreeArrays(
    ...     feature=[0, -2, 1, -2, -2], threshold=[0.5, -2, 0.5, -2, -2],
    ...     left=[1, -1, 3, -1, -1], right=[2, -1, 4, -1, -1], value=counts,
    ...     impurity=np.zeros(5), n_node_samples=[25, 1, 24, 12, 12],
    ...     weighted_n_node_samples=[25, 1, 24, 12, 12], missing_go_to_left=np.zeros(5, bool),
    ...     n_features=2,
    ... )
    >>> X = np.float32([[0, 1]] + [[1, 0]] * 12 + [[1, 1]] * 12)
    >>> leaf, y = np.repeat([1, 3, 4], [1, 12, 12]), np.repeat([[1], [0], [1]], [1, 12, 12], axis=0)
    >>> gini = lambda counts: counts[:, 0, 0]
    >>> raised = raise_branches(tree, X, leaf, y, np.ones(25), estimated_errors, gini)
    >>> raised.root, raised.order.tolist(), raised.nodes.n_node_samples.tolist()
    (2, [2, 3, 4], [25, 1, 25, 12, 13])
    """
    return _Raising(tree, X, leaf, classes, weight, errors, slack).run(impurity)


def add_counts(counts: Floats, node: Ints, classes: Ints, weight: Floats) -> None:
    """Count the classes of rows in the nodes where they are.

    Parameters
    ----------
    counts : ndarray of shape (n_nodes, n_outputs, n_classes), float64
        Added to, in place; in C order.
    node : ndarray of shape (n_rows,), intp
        Where each row is.
    classes : ndarray of shape (n_rows, n_outputs), intp
        Its class of each output.
    weight : ndarray of shape (n_rows,), float64
        Its weight.

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.trees.core.bottom_up import add_counts
    >>> counts = np.zeros((2, 1, 2))
    >>> classes = np.array([[0], [0], [1]])
    >>> add_counts(counts, np.array([0, 1, 1]), classes, np.array([1.0, 2.0, 3.0]))
    >>> counts[:, 0]
    array([[1., 0.],
           [2., 3.]])
    """
    _, n_outputs, n_classes = counts.shape
    at = (node[:, np.newaxis] * n_outputs + np.arange(n_outputs)) * n_classes + classes
    np.add.at(counts.reshape(-1), at, weight[:, np.newaxis])


class _Raising:
    """The state of one run: who is whose child now, and which rows are where."""

    def __init__(
        self,
        tree: TreeArrays,
        X: NDArray[np.float32],
        leaf: Ints,
        classes: Ints,
        weight: Floats,
        errors: Callable[[Floats], Floats],
        slack: float,
    ) -> None:
        self.tree, self.X, self.classes, self.weight = tree, X, classes, weight
        self.errors, self.slack = errors, slack
        self.left, self.right = tree.left.copy(), tree.right.copy()
        self.parent = parents(tree.left, tree.right)
        self.order = topological_order(tree.left, tree.right)
        self.root = 0

        self.rows: dict[int, Ints] = dict(enumerate(_grouped(leaf, tree.n_nodes)))
        self.counts = np.zeros(tree.value.shape)
        self.n_rows = np.bincount(leaf, minlength=tree.n_nodes)
        self._count(self.counts, leaf, np.arange(len(leaf)))
        for node in self.order[:0:-1]:
            self.counts[self.parent[node]] += self.counts[node]
            self.n_rows[self.parent[node]] += self.n_rows[node]
        self.changed = np.zeros(tree.n_nodes, dtype=np.bool_)
        self.as_leaf = errors(self.counts)
        self.best = self.as_leaf.copy()

    def run(self, impurity: Callable[[Floats], Floats]) -> Subtree:
        """Decide on every split, those below first; what is raised comes up again."""
        waiting = self.order[self.tree.is_split[self.order]].tolist()
        while waiting:
            waiting += self._decide(waiting.pop())
        return Subtree(self._nodes(impurity), self.left, self.right, self.root)

    def _decide(self, node: int) -> list[int]:
        """Settle one node; return the splits, parents first, to decide on because of it."""
        left, right = int(self.left[node]), int(self.right[node])
        branch = self.best[left] + self.best[right]
        weights = self.counts[[left, right], 0].sum(axis=1)
        larger, smaller = (left, right) if weights[0] >= weights[1] else (right, left)
        rows = self._rows_below(smaller)
        raised = self._errors_with(larger, rows)  # if a leaf: those of the node as a leaf
        if self.as_leaf[node] <= min(branch, raised) + self.slack:
            self._collapse(node)
        elif raised <= branch + self.slack:
            return self._raise(larger, node, rows)
        else:
            self.best[node] = branch
        return []

    def _collapse(self, node: int) -> None:
        self.rows[node] = self._rows_below(node)
        self.left[node] = self.right[node] = NO_CHILD
        self.best[node] = self.as_leaf[node]

    def _raise(self, child: int, node: int, rows: Ints) -> list[int]:
        """Put a child in the place of its parent, and its sibling's rows into its branch."""
        above = self.parent[node]
        self.parent[child] = above
        if above < 0:
            self.root = child
        elif self.left[above] == node:
            self.left[above] = child
        else:
            self.right[above] = child

        met = np.zeros(self.tree.n_nodes, dtype=np.bool_)
        at = np.full(len(rows), child)
        while len(rows):
            np.add.at(self.n_rows, at, 1)
            self._count(self.counts, at, rows)
            met[at] = True
            stays = self.left[at] == NO_CHILD
            for leaf in np.unique(at[stays]).tolist():
                self.rows[leaf] = np.concatenate([self.rows[leaf], rows[stays & (at == leaf)]])
            at, rows = at[~stays], rows[~stays]
            at = self._next(at, rows)
        self.changed |= met
        nodes = np.flatnonzero(met)
        self.as_leaf[nodes] = self.best[nodes] = self.errors(self.counts[nodes])
        return [n for n in self.order[met[self.order]].tolist() if self.left[n] != NO_CHILD]

    def _errors_with(self, branch: int, rows: Ints) -> float:
        """Estimate the errors of a branch if some more rows came to it."""
        at = np.full(len(rows), branch)
        inner = self.left[at] != NO_CHILD
        while inner.any():
            at[inner] = self._next(at[inner], rows[inner])
            inner = self.left[at] != NO_CHILD
        leaves, which = np.unique(at, return_inverse=True)
        counts = self.counts[leaves]
        self._count(counts, which, rows)
        return self.best[branch] + (self.errors(counts) - self.best[leaves]).sum()

    def _next(self, at: Ints, rows: Ints) -> Ints:
        x = self.X[rows, self.tree.feature[at]]
        goes_left = np.where(
            np.isnan(x), self.tree.missing_go_to_left[at], x <= self.tree.threshold[at]
        )
        return np.where(goes_left, self.left[at], self.right[at])

    def _rows_below(self, node: int) -> Ints:
        found, waiting = [], [node]
        while waiting:
            node = waiting.pop()
            if self.left[node] == NO_CHILD:
                found.append(self.rows[node])
            else:
                waiting += [int(self.left[node]), int(self.right[node])]
        return np.concatenate(found)

    def _count(self, counts: Floats, at: Ints, rows: Ints) -> None:
        add_counts(counts, at, self.classes[rows], self.weight[rows])

    def _nodes(self, impurity: Callable[[Floats], Floats]) -> TreeArrays:
        """Tell the nodes that rows have come to anew; leave the others untouched, to the bit."""
        new = np.flatnonzero(self.changed)
        counts = self.counts[new]
        value, weight = self.tree.value.copy(), self.tree.weighted_n_node_samples.copy()
        n_rows, impure = self.tree.n_node_samples.copy(), self.tree.impurity.copy()
        value[new] = counts / counts.sum(axis=2, keepdims=True)
        weight[new] = counts[:, 0].sum(axis=1)
        n_rows[new] = self.n_rows[new]
        impure[new] = impurity(counts)
        return replace(
            self.tree,
            value=value,
            weighted_n_node_samples=weight,
            n_node_samples=n_rows,
            impurity=impure,
        )


def _grouped(leaf: Ints, n_nodes: int) -> list[Ints]:
    """Return the rows in each node, as one list."""
    by_leaf = np.argsort(leaf, kind="stable")
    return np.split(by_leaf, np.cumsum(np.bincount(leaf, minlength=n_nodes))[:-1])
