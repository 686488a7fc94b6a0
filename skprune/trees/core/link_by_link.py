"""The weakest links of a tree, one by one, in the floating-point sums of scikit-learn.

In exact arithmetic there is one path of best subtrees, however it is found. In floats the last bits
of a price depend on the order of the sums, and small counts make many prices that differ in their
last bits alone. A loop over the ``ccp_alphas`` that scikit-learn found asks for just these prices.
So this module adds and subtracts in scikit-learn's order: every price equals scikit-learn's to the
bit, and so does the order in which splits collapse.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from skprune.trees.core.arrays import NO_CHILD, node_depths, parents

__all__ = ["steps_up", "weakest_links"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def steps_up(left: Ints, right: Ints) -> int:
    """Count the steps from all splits up to the root: the work of :func:`weakest_links`.

    Parameters
    ----------
    left, right : ndarray of shape (n_nodes,), intp
        Children of each node, both -1 at a leaf.

    Returns
    -------
    int

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.trees.core.link_by_link import steps_up
    >>> steps_up(np.array([1, 3, -1, -1, -1]), np.array([2, 4, -1, -1, -1]))
    1
    """
    return int(node_depths(parents(left, right))[left != NO_CHILD].sum())


def weakest_links(left: Ints, right: Ints, risk: Floats) -> tuple[Ints, Floats, Ints]:
    """Collapse the split that is worth least by leaf, again and again.

    A split is worth its risk as a leaf less the risk of the leaves below it, shared out among the
    leaves that go. Of splits that are worth the same, the one with the lowest number collapses
    first. Where a split and others below it are worth the same, those below make steps of their
    own: scikit-learn takes them away in one step, and a path with more steps meets a size better.

    Parameters
    ----------
    left, right : ndarray of shape (n_nodes,), intp
        Children of each node, both -1 at a leaf.
    risk : ndarray of shape (n_nodes,), float64
        Of each node as a leaf.

    Returns
    -------
    tops : ndarray of shape (n_steps,), intp
        The node that each step makes a leaf.
    prices : ndarray of shape (n_steps,), float64
        What it was worth. Rounding can let a price fall below the one before.
    top_of : ndarray of shape (n_nodes,), intp
        With which of `tops` each split collapses; leaves have themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.trees.core.link_by_link import weakest_links
    >>> left, right = np.array([1, 3, -1, -1, -1]), np.array([2, 4, -1, -1, -1])
    >>> weakest_links(left, right, np.array([4.0, 1.0, 0.0, 0.0, 0.0]))
    (array([1, 0]), array([1., 3.]), array([0, 1, 2, 3, 4]))
    """
    parent = parents(left, right)
    branch, n_leaves = _sums_below(left, parent, risk)
    # Item access on lists is several times faster than on arrays.
    lefts, rights, above = left.tolist(), right.tolist(), parent.tolist()
    alone, below, leaves = risk.tolist(), branch.tolist(), n_leaves.tolist()
    splits = np.flatnonzero(left != NO_CHILD)
    worth = np.full(len(left), np.inf)
    worth[splits] = (risk[splits] - branch[splits]) / (n_leaves[splits] - 1)
    # No more than what a node is worth: that grows when a weaker link below it goes, so that what
    # was computed earlier may stand until it comes up. Rounding can lower it, which is noted.
    least = worth.tolist()
    heap = list(zip(worth[splits].tolist(), splits.tolist(), strict=True))
    heapify(heap)
    tops: list[int] = []
    prices: list[float] = []
    top_of = list(range(len(lefts)))

    while heap:
        price, node = heappop(heap)
        if leaves[node] == 1 or price != least[node]:  # gone, or noted again since
            continue
        now = (alone[node] - below[node]) / (leaves[node] - 1)
        if now > price:
            least[node] = now
            heappush(heap, (now, node))
            continue

        gone, risen = leaves[node] - 1, alone[node] - below[node]
        ties = []
        stack = [(node, node)]
        while stack:
            split, top = stack.pop()
            if split != node and (alone[split] - below[split]) / (leaves[split] - 1) == price:
                top = split
                ties.append(split)
            top_of[split] = top
            leaves[split] = 1
            stack += [(child, top) for child in (rights[split], lefts[split]) if leaves[child] > 1]
        tops += [*reversed(ties), node]
        prices += [price] * (len(ties) + 1)

        split = above[node]
        while split != NO_CHILD:
            leaves[split] -= gone
            below[split] += risen
            now = (alone[split] - below[split]) / (leaves[split] - 1)
            if now < least[split]:
                least[split] = now
                heappush(heap, (now, split))
            split = above[split]
    return (
        np.array(tops, dtype=np.intp),
        np.array(prices, dtype=np.float64),
        np.array(top_of, dtype=np.intp),
    )


def _sums_below(left: Ints, parent: Ints, risk: Floats) -> tuple[Floats, Ints]:
    """Sum the risks of the leaves below each split, in the order of their numbers, and count them.

    Leaves keep their risk and count as one. Each level of the tree is summed at once; no sum mixes
    levels, so that the order is the same as leaf by leaf.
    """
    depth = node_depths(parent)
    leaves = np.flatnonzero(left == NO_CHILD)
    branch = np.where(left == NO_CHILD, risk, 0.0)
    n_leaves = (left == NO_CHILD).astype(np.intp)
    at = leaves.copy()  # the ancestor of each leaf on the level, or a leaf that is higher up
    for level in range(int(depth.max()) - 1, -1, -1):
        deeper = depth[at] > level
        at[deeper] = parent[at[deeper]]
        np.add.at(branch, at[deeper], risk[leaves[deeper]])
        np.add.at(n_leaves, at[deeper], 1)
    return branch, n_leaves
