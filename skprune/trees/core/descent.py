"""Where rows of data are in every subtree of a path, from one descent of the full tree.

A pruned subtree sends a row to the first collapsed node on its way to the leaf of the full tree.
As the path is climbed, a row stays where it is until that node's parent collapses, so it meets as
many nodes as there are collapses above its leaf: at most the depth, however many subtrees there
are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from skprune.trees.core.arrays import TreeArrays, parents
from skprune.trees.core.weakest_link import PruningPath

__all__ = ["Descent"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

NOWHERE = -1


class Descent:
    """The node that each row reaches, in every subtree of a path.

    Parameters
    ----------
    tree : TreeArrays
        The full tree.
    path : PruningPath
        Its subtrees.
    leaves : ndarray of shape (n_rows,), intp
        Leaf of the full tree that each row reaches.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.descent import Descent
    >>> from skprune.trees.core.risks import impurity_risk
    >>> from skprune.trees.core.weakest_link import pruning_path
    >>> X, y = [[0], [1], [2]], np.array([0.0, 1.0, 5.0])
    >>> fitted = DecisionTreeRegressor().fit(X, y)
    >>> tree = TreeArrays.from_sklearn(fitted.tree_)
    >>> path = pruning_path(tree.left, tree.right, impurity_risk(tree))
    >>> descent = Descent(tree, path, fitted.apply(X))
    >>> [nodes.tolist() for nodes in descent.nodes_at(range(path.n_steps))]
    [[2, 3, 4], [1, 1, 4], [0, 0, 0]]
    >>> value = tree.value[:, 0, 0]
    >>> descent.sums(lambda rows, nodes: (y[rows] - value[nodes])[:, np.newaxis] ** 2)
    array([[ 0. ],
           [ 0.5],
           [14. ]])
    """

    def __init__(self, tree: TreeArrays, path: PruningPath, leaves: Ints) -> None:
        self._node_steps = path.node_steps
        self._n_steps = path.n_steps
        self._leaves = np.asarray(leaves, dtype=np.intp)
        self._next = _next_nodes(parents(tree.left, tree.right), path.node_steps)

    def nodes_at(self, steps: Iterable[int]) -> Iterator[Ints]:
        """Give the nodes that the rows reach in some of the subtrees.

        Parameters
        ----------
        steps : iterable of int
            Steps of the path, in growing order.

        Yields
        ------
        nodes : ndarray of shape (n_rows,), intp
            One array a step; it is yours.
        """
        nodes = self._leaves.copy()
        until = self._until(nodes)
        for step in steps:
            while (moving := np.flatnonzero(until <= step)).size:
                nodes[moving] = self._next[nodes[moving]]
                until[moving] = self._until(nodes[moving])
            yield nodes.copy()

    def sums(self, loss: Callable[[Ints, Ints], Floats]) -> Floats:
        """Sum a loss over the rows for every subtree of the path, in O(rows * depth + steps).

        What a row adds changes only where it moves, by the difference of two losses. Subtrees
        that predict alike so get sums that are equal to the last bit.

        Parameters
        ----------
        loss : callable
            ``loss(rows, nodes)``: of each of these rows at the node beside it, of shape
            (len(rows), n_outputs).

        Returns
        -------
        ndarray of shape (n_steps, n_outputs), float64
        """
        rows, nodes = np.arange(len(self._leaves)), self._leaves
        losses = loss(rows, nodes)
        changes = np.zeros((self._n_steps, losses.shape[1]))
        changes[0] = losses.sum(axis=0)
        while (moving := self._next[nodes] != NOWHERE).any():
            rows, nodes, before = rows[moving], self._next[nodes[moving]], losses[moving]
            losses = loss(rows, nodes)
            at = self._node_steps[nodes]
            for output, change in enumerate((losses - before).T):
                changes[:, output] += np.bincount(at, weights=change, minlength=self._n_steps)
        return np.cumsum(changes, axis=0)

    def _until(self, nodes: Ints) -> Ints:
        """Return the step at which the rows at these nodes move on; none is `n_steps`."""
        following = self._next[nodes]
        return np.where(following == NOWHERE, self._n_steps, self._node_steps[following])


def _next_nodes(parent: Ints, node_steps: Ints) -> Ints:
    """Return where the rows at each node go when its parent collapses.

    That is the highest node that collapses in the same step as the parent.
    """
    same = (parent >= 0) & (node_steps == node_steps[parent])
    top = np.where(same, parent, np.arange(len(parent)))
    while not np.array_equal(further := top[top], top):  # each round doubles the stretch
        top = further
    return np.where(parent >= 0, top[parent], NOWHERE)
