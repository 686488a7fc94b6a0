"""Weakest-link pruning: from one risk per node to the nested sequence of best subtrees.

At the price ``alpha`` per leaf, the best pruned subtree minimises the sum of the risks of its
leaves plus ``alpha`` times their number. As the price rises, splits collapse, and none ever comes
back (Breiman et al. 1984, chapter 3). Which split goes at which price follows from one observation:
let the *gain* of a split be what it takes off the risk, ``R(t) - R(left) - R(right)``. The prices
are the means of the gains over blocks of the tree, such that no split outlives its parent: the
isotonic regression of the gains, with parents on top. Pooling each split, bottom-up, with the
descendants that are worth more than it is computes that exactly [1]_.

In floats, prices then differ from scikit-learn's in their last bits. Where its way is not too much
work, the splits go in its order and at its prices: :mod:`skprune.trees.core.link_by_link`.

References
----------
.. [1] P. M. Pardalos and G. Xue, "Algorithms for a class of isotonic regression problems",
   Algorithmica 23 (1999).
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skprune.trees.core.arrays import NO_CHILD, parents, topological_order
from skprune.trees.core.link_by_link import steps_up, weakest_links

__all__ = [
    "PruningPath",
    "first_step_for_sparsity",
    "node_alphas",
    "pruning_path",
    "splits_allowed",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# How far rounding may move the gain of a split, as a share of the risks that it is the difference
# of. Not of the largest risk of the tree: one outlier would make all other gains look like none.
ROUNDING = 1e-12

# Steps up a tree that are worth the last bit of each price: seconds. Trees of more are chains of
# thousands of splits, or hold millions.
MOST_STEPS_UP = 10_000_000


@dataclass(frozen=True, eq=False)
class PruningPath:
    """The subtrees of a tree from the full one to its root, each pruned from the one before.

    Step 0 is the full tree. Every further step collapses one node, with all that is still below it,
    and stands for a subtree that is best at some price per leaf. Choices of how much to prune are
    indexes of steps; ``collapsed`` turns an index into a mask of nodes.

    Steps are sorted by alpha. Where alphas are equal, a node collapses before its ancestors, so the
    sequence is deterministic. Gains that tie in exact arithmetic may make one step or several, as
    rounding has it.

    Parameters
    ----------
    alphas : ndarray of shape (n_steps,), float64
        Price per leaf from which on each step's subtree is the best; -inf for step 0. Negative ones
        are legal: splits that make the risk worse.
    n_splits : ndarray of shape (n_steps,), intp
        Splits left after each step; falls strictly, to 0.
    node_steps : ndarray of shape (n_nodes,), intp
        Step from which on each node has no children any more; 0 for the leaves of the full tree.
    rounding : ndarray of shape (n_steps,), float64
        How far rounding may have moved each alpha; 0 for step 0.
    exact : bool, default=True
        Whether alphas equal scikit-learn's to the bit, for risks that do. Where they do not, an
        alpha within the rounding of the one asked for is reached.

    Examples
    --------
    A split that takes 3 off the risk, above one that takes off 1:

    >>> from skprune.trees.core.weakest_link import pruning_path
    >>> path = pruning_path([1, 3, -1, -1, -1], [2, 4, -1, -1, -1], [4.0, 1.0, 0.0, 0.0, 0.0])
    >>> path.alphas, path.n_leaves
    (array([-inf,   1.,   3.]), array([3, 2, 1]))
    >>> path.collapsed(path.step_for_sparsity(0.5))
    array([False,  True,  True,  True,  True])
    """

    alphas: Floats
    n_splits: Ints
    node_steps: Ints
    rounding: Floats
    exact: bool = True

    @property
    def n_steps(self) -> int:
        """Number of subtrees on the path, the full tree among them."""
        return len(self.alphas)

    @property
    def n_leaves(self) -> Ints:
        """Leaves after each step, of shape (n_steps,)."""
        return self.n_splits + 1

    @property
    def sparsities(self) -> Floats:
        """Fraction of the splits removed after each step, of shape (n_steps,)."""
        full = int(self.n_splits[0])
        return 1.0 - self.n_splits / full if full else np.zeros(1)

    @property
    def node_alphas(self) -> Floats:
        """Largest price at which each node still has its children; -inf at leaves."""
        return self.alphas[self.node_steps]

    def collapsed(self, step: int) -> Bools:
        """Return which nodes have no children after `step`.

        Parameters
        ----------
        step : int
            In ``[0, n_steps)``.

        Returns
        -------
        ndarray of shape (n_nodes,), bool
            True at the leaves of the subtree, at all nodes below them, and at the leaves of the
            full tree.

        Raises
        ------
        ValueError
            If there is no such step.
        """
        if not 0 <= step < self.n_steps:
            raise ValueError(f"step must be in [0, {self.n_steps}), got {step}.")
        return self.node_steps <= step

    def step_for_alpha(self, alpha: float) -> int:
        """Return the step of the smallest subtree that is best at the price `alpha`.

        A split stays if its alpha is greater than `alpha`, for zero as for any other price: splits
        that are worth nothing go, which is what the rules that prune at zero mean. That
        scikit-learn reads ``ccp_alpha=0`` as "do not prune" is a rule about that parameter, and so
        for its pruner to know.

        Parameters
        ----------
        alpha : float
            May be negative or infinite.

        Returns
        -------
        int

        Raises
        ------
        ValueError
            If `alpha` is NaN.
        """
        if np.isnan(alpha):
            raise ValueError("alpha must be a number, got nan.")
        reached_at = self.alphas[1:]
        if not self.exact:
            reached_at = np.maximum.accumulate(reached_at - self.rounding[1:])
        return int(np.searchsorted(reached_at, alpha, side="right"))

    @property
    def last_worthless_step(self) -> int:
        """The step up to which every split that went was worth nothing, but for rounding."""
        worth = self.alphas[1:] > self.rounding[1:]
        return int(np.argmax(worth)) if worth.any() else self.n_steps - 1

    def step_for_sparsity(self, sparsity: float) -> int:
        """Return the first step at which at least the fraction `sparsity` of the splits is gone.

        Parameters
        ----------
        sparsity : float
            In [0, 1]. 0 removes nothing, not even splits that are worth nothing. A value computed
            as ``1 - kept / n_splits``, however rounded, allows exactly ``kept`` splits.

        Returns
        -------
        int

        Raises
        ------
        ValueError
            If `sparsity` is not in [0, 1].
        """
        return first_step_for_sparsity(self.n_splits, sparsity)

    def step_for_max_leaf_nodes(self, max_leaf_nodes: int) -> int:
        """Return the step of the largest subtree with at most `max_leaf_nodes` leaves.

        Parameters
        ----------
        max_leaf_nodes : int
            At least 1.

        Returns
        -------
        int

        Raises
        ------
        ValueError
            If `max_leaf_nodes` is less than 1.
        """
        if max_leaf_nodes < 1:
            raise ValueError(f"max_leaf_nodes must be at least 1, got {max_leaf_nodes!r}.")
        return _first_step_with(self.n_splits, max_leaf_nodes - 1)


def first_step_for_sparsity(n_splits: Ints, sparsity: float) -> int:
    """Return the first of falling numbers of splits that is a given fraction below the first.

    Parameters
    ----------
    n_splits : ndarray of shape (n_steps,), intp
        Splits left after each step.
    sparsity : float
        In [0, 1].

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If `sparsity` is not in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.trees.core.weakest_link import first_step_for_sparsity
    >>> first_step_for_sparsity(np.array([10, 8, 3, 0]), 0.5)
    2
    """
    return _first_step_with(n_splits, splits_allowed(int(n_splits[0]), sparsity))


def splits_allowed(full: int, sparsity: float) -> int:
    """Return how many of the splits a sparsity leaves at most.

    Parameters
    ----------
    full : int
        All splits.
    sparsity : float
        In [0, 1]. A value computed as ``1 - kept / full``, however rounded, allows exactly `kept`.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If `sparsity` is not in [0, 1].

    Examples
    --------
    >>> from skprune.trees.core.weakest_link import splits_allowed
    >>> splits_allowed(10, 1 - 3 / 10)
    3
    """
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparsity must be in [0, 1], got {sparsity!r}.")
    rounding = 4.0 * np.finfo(np.float64).eps * full
    return int(full * (1.0 - sparsity) + rounding)


def _first_step_with(n_splits: Ints, at_most: int) -> int:
    return int(np.searchsorted(-n_splits, -at_most, side="left"))


def pruning_path(left: ArrayLike, right: ArrayLike, risk: ArrayLike) -> PruningPath:
    """Find all best pruned subtrees of a tree, for any risk, without recursion.

    Parameters
    ----------
    left, right : array-like of shape (n_nodes,), integers
        Children of each node, both -1 at a leaf; node 0 is the root.
    risk : array-like of shape (n_nodes,), float64
        What each node adds to the risk of the tree when it is a leaf. It may rise from a node to
        its children.

    Returns
    -------
    PruningPath

    Raises
    ------
    ValueError
        If the children are not one tree, or `risk` has not one finite number per node.

    Examples
    --------
    >>> from skprune.trees.core.weakest_link import pruning_path
    >>> path = pruning_path([1, -1, -1], [2, -1, -1], [0.5, 0.0, 0.25])
    >>> path.alphas, path.n_splits, path.node_steps
    (array([-inf, 0.25]), array([1, 0]), array([1, 0, 0]))
    """
    order = topological_order(left, right)
    left, right = np.asarray(left), np.asarray(right)
    risk = _check_risk(risk, len(left))
    splits = order[left[order] != NO_CHILD]

    exact = steps_up(left, right) <= MOST_STEPS_UP
    tops, alphas, top_of = (weakest_links if exact else _pooled)(left, right, risk)
    step_of = np.zeros(len(left), dtype=np.intp)
    step_of[tops] = np.arange(1, len(tops) + 1)
    node_steps = np.zeros(len(left), dtype=np.intp)
    node_steps[splits] = step_of[top_of[splits]]
    sizes = np.bincount(node_steps[splits], minlength=len(tops) + 1)
    magnitude = np.abs(risk)
    terms = magnitude[splits] + magnitude[left[splits]] + magnitude[right[splits]]
    summed = np.bincount(node_steps[splits], weights=terms, minlength=len(tops) + 1)
    return PruningPath(
        # rounding can make a price of scikit-learn's fall; nothing comes back then
        alphas=np.maximum.accumulate(np.concatenate([[-np.inf], alphas])),
        n_splits=(len(splits) - np.cumsum(sizes)).astype(np.intp),
        node_steps=node_steps,
        rounding=ROUNDING * summed / np.maximum(sizes, 1),
        exact=exact,
    )


def node_alphas(left: ArrayLike, right: ArrayLike, risk: ArrayLike) -> Floats:
    """Return the price per leaf at which each split collapses, itself or with an ancestor.

    ``node_alphas(...) > alpha`` is the mask of the splits that stay at the price ``alpha``; along
    every way down from the root, alphas never rise.

    Parameters
    ----------
    left, right : array-like of shape (n_nodes,), integers
        Children of each node, both -1 at a leaf; node 0 is the root.
    risk : array-like of shape (n_nodes,), float64
        What each node adds to the risk of the tree when it is a leaf.

    Returns
    -------
    ndarray of shape (n_nodes,), float64
        -inf at leaves.

    Raises
    ------
    ValueError
        As :func:`pruning_path`.

    Examples
    --------
    >>> from skprune.trees.core.weakest_link import node_alphas
    >>> node_alphas([1, 3, -1, -1, -1], [2, 4, -1, -1, -1], [4.0, 1.0, 0.0, 0.0, 0.0])
    array([  3.,   1., -inf, -inf, -inf])
    """
    return pruning_path(left, right, risk).node_alphas


def _check_risk(risk: ArrayLike, n_nodes: int) -> Floats:
    risk = np.asarray(risk, dtype=np.float64)
    if risk.shape != (n_nodes,):
        raise ValueError(f"risk must have shape ({n_nodes},), got {risk.shape}.")
    if not np.isfinite(risk).all():
        node = int(np.argmin(np.isfinite(risk)))
        raise ValueError(f"risk must be finite, got {risk[node]} at node {node}.")
    return risk


def _pooled(left: Ints, right: Ints, risk: Floats) -> tuple[Ints, Floats, Ints]:
    """Give tops, prices and the top of each node, as `weakest_links` does, in O(n log^2 n)."""
    order = topological_order(left, right)
    splits = order[left[order] != NO_CHILD]
    gains = risk[splits] - risk[left[splits]] - risk[right[splits]]
    number = np.full(len(left) + 1, len(splits))  # the last entry answers for the root's parent, -1
    number[splits] = np.arange(len(splits))
    tops, alphas, joined = _pool(gains, number[parents(left, right)[splits]])
    top_of = np.arange(len(left))
    top_of[splits] = splits[_follow(joined)]
    return splits[tops], alphas, top_of


def _pool(gains: Floats, parent: Ints) -> tuple[Ints, Floats, Ints]:
    """Pool splits into blocks of one price.

    Splits are numbered with parents first; ``parent`` is ``len(gains)`` at the root. A block is
    known by its top split. Its price is the mean gain of its splits, and each heap holds, dearest
    first, the blocks below one split.

    Returns the tops and prices of the blocks in the order in which they collapse, and for each
    split the one above that it joined: itself at the top of a block.
    """
    n = len(gains)
    # Item access on lists is several times faster than on arrays.
    gain, above = gains.tolist(), parent.tolist()
    size = [1] * n
    joined = list(range(n))
    heaps: list[list[tuple[float, int]] | None] = [None] * (n + 1)

    for split in range(n - 1, -1, -1):
        heap = heaps[split] or []
        heaps[split] = None
        # Strictly dearer: of two blocks that tie, the lower one can go first, as a step of its own.
        while heap and -heap[0][0] > gain[split] / size[split]:
            _, below = heappop(heap)
            gain[split] += gain[below]
            size[split] += size[below]
            joined[below] = split
        heappush(heap, (-gain[split] / size[split], split))
        heaps[above[split]] = _meld(heaps[above[split]], heap)

    # Falling (-price, number): cheapest first and, where prices tie, descendants before ancestors.
    collapses = sorted(heaps[n] or [], reverse=True)
    tops = np.array([top for _, top in collapses], dtype=np.intp)
    prices = np.array([-negated for negated, _ in collapses], dtype=np.float64)
    return tops, prices, np.array(joined, dtype=np.intp)


def _meld(
    one: list[tuple[float, int]] | None, other: list[tuple[float, int]]
) -> list[tuple[float, int]]:
    """Pour the smaller heap into the larger: no item moves more than log2(n) times in all."""
    if one is None:
        return other
    small, large = (one, other) if len(one) < len(other) else (other, one)
    for item in small:
        heappush(large, item)
    return large


def _follow(link: Ints) -> Ints:
    """Return where each chain of links ends, doubling the stretch that is followed each round."""
    while True:
        further = link[link]
        if np.array_equal(further, link):
            return link
        link = further
