"""From training rows to values of nodes: sums over branches, Newton steps, quantiles by groups.

A row counts at every node on its way from the root to its leaf. Nothing here loops over rows, and
sums climb the tree one level at a time: trees may be deep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from skprune.trees.core.arrays import TreeArrays, node_depths, parents

__all__ = [
    "branch_totals",
    "line_search",
    "mean_of_leaves",
    "newton_steps",
    "quantile",
    "replay",
    "rows_by_node",
    "sums_over_rows",
    "topmost",
    "weighted_quantile",
]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# From a tree, the leaf of each row, the wanted nodes and the tree's output to the nodes' values.
LeafRule = Callable[[TreeArrays, Ints, Bools, int], Floats]


def branch_totals(tree: TreeArrays, at_nodes: Floats, ufunc: np.ufunc = np.add) -> Floats:
    """Return for each node the total over it and all nodes below it.

    Parameters
    ----------
    tree : TreeArrays
    at_nodes : ndarray of shape (n_nodes,), float64
        What each node brings in itself.
    ufunc : numpy.ufunc, default=numpy.add
        What a total is: numpy.add, numpy.minimum or numpy.maximum.

    Returns
    -------
    ndarray of shape (n_nodes,), float64

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.boosting.branches import branch_totals
    >>> tree = DecisionTreeRegressor().fit([[0], [1], [5]], [2.0, 3.0, 9.0]).tree_
    >>> branch_totals(TreeArrays.from_sklearn(tree), np.array([0.0, 0.0, 1.0, 2.0, 4.0]))
    array([7., 3., 1., 2., 4.])
    """
    totals = np.array(at_nodes, dtype=np.float64)
    parent = parents(tree.left, tree.right)
    for nodes in _levels(node_depths(parent))[:0:-1]:
        ufunc.at(totals, parent[nodes], totals[nodes])
    return totals


def sums_over_rows(tree: TreeArrays, leaf: Ints, quantity: Floats) -> Floats:
    """Return for each node the sum of a quantity over the rows that pass it or end in it.

    Parameters
    ----------
    tree : TreeArrays
    leaf : ndarray of shape (n_rows,), intp
        Leaf that each row reaches.
    quantity : ndarray of shape (n_rows,), float
        Summed in float64.

    Returns
    -------
    ndarray of shape (n_nodes,), float64

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.boosting.branches import sums_over_rows
    >>> tree = TreeArrays.from_sklearn(DecisionTreeRegressor().fit([[0], [1]], [2.0, 3.0]).tree_)
    >>> sums_over_rows(tree, np.array([1, 2, 2]), np.array([4.0, 1.0, 3.0]))
    array([8., 4., 4.])
    """
    at_leaves = np.bincount(leaf, weights=quantity, minlength=tree.n_nodes)
    return branch_totals(tree, at_leaves.astype(np.float64))


def topmost(tree: TreeArrays, collapsed: Bools) -> Bools:
    """Return which nodes with children become leaves of the pruned tree.

    Parameters
    ----------
    tree : TreeArrays
    collapsed : ndarray of shape (n_nodes,), bool
        Nodes that become leaves. What it says at leaves and below such nodes makes no difference.

    Returns
    -------
    ndarray of shape (n_nodes,), bool

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.boosting.branches import topmost
    >>> tree = DecisionTreeRegressor().fit([[0], [1], [5]], [2.0, 3.0, 9.0]).tree_
    >>> topmost(TreeArrays.from_sklearn(tree), np.ones(5, dtype=bool))
    array([ True, False, False, False, False])
    """
    parent = parents(tree.left, tree.right)
    below = np.zeros(tree.n_nodes, dtype=np.bool_)
    for nodes in _levels(node_depths(parent))[1:]:
        below[nodes] = below[parent[nodes]] | collapsed[parent[nodes]]
    return collapsed & tree.is_split & ~below


def rows_by_node(tree: TreeArrays, leaf: Ints, wanted: Bools) -> Iterator[tuple[int, Ints]]:
    """Give for each wanted node the rows that pass it or end in it.

    Parameters
    ----------
    tree : TreeArrays
    leaf : ndarray of shape (n_rows,), intp
        Leaf that each row reaches.
    wanted : ndarray of shape (n_nodes,), bool
        Nodes to report on. One that no row reaches is left out.

    Yields
    ------
    node : int
    rows : ndarray of intp
        In rising order.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.boosting.branches import rows_by_node
    >>> tree = DecisionTreeRegressor().fit([[0], [1], [5]], [2.0, 3.0, 9.0]).tree_
    >>> wanted = np.array([True, True, False, False, False])
    >>> reached = rows_by_node(TreeArrays.from_sklearn(tree), np.array([2, 4, 3]), wanted)
    >>> [(node, rows.tolist()) for node, rows in reached]
    [(1, [0, 2]), (0, [0, 1, 2])]
    """
    parent = parents(tree.left, tree.right)
    depth = node_depths(parent)
    above = np.arange(tree.n_nodes)  # of each node: itself, or its ancestor on the current level
    for level in range(int(depth.max()), -1, -1):
        above = np.where(depth[above] > level, parent[above], above)
        counts = wanted[above] & (depth[above] == level)
        if counts.any():
            rows = np.flatnonzero(counts[leaf])
            node = above[leaf[rows]]
            order = np.argsort(node, kind="stable")
            found, starts = np.unique(node[order], return_index=True)
            yield from zip(found.tolist(), np.split(rows[order], starts[1:]), strict=False)


def newton_steps(
    tree: TreeArrays, leaf: Ints, gradient: Floats, hessian: Floats, weight: Floats
) -> Floats:
    """Return the Newton step of every node: weighted means, the first over the second.

    Parameters
    ----------
    tree : TreeArrays
    leaf : ndarray of shape (n_rows,), intp
        Leaf that each row reaches.
    gradient, hessian, weight : ndarray of shape (n_rows,), float64
        Negative gradient and second derivative of the loss of each row, and its weight.

    Returns
    -------
    ndarray of shape (n_nodes,), float64
        0 where the second derivative vanishes, as in scikit-learn; NaN where no row is.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.boosting.branches import newton_steps
    >>> tree = DecisionTreeRegressor().fit([[0], [1]], [2.0, 3.0]).tree_
    >>> leaf, ones = np.array([1, 2, 2]), np.ones(3)
    >>> newton_steps(TreeArrays.from_sklearn(tree), leaf, np.array([4.0, 1.0, 3.0]), 2 * ones, ones)
    array([1.333..., 2.   , 1.   ])
    """
    top, bottom, total = (
        sums_over_rows(tree, leaf, quantity)
        for quantity in (gradient * weight, hessian * weight, weight)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        flat = np.abs(bottom / total) < 1e-150  # scikit-learn's bound; False where no row is
        return np.where(flat, 0.0, top / bottom)


def line_search(
    search: Callable[[Floats, Floats], float], residual: Floats, weight: Floats
) -> LeafRule:
    """Return the rule that gives each node one number for the residuals of its rows.

    Parameters
    ----------
    search : callable (residuals, weights) -> float
    residual, weight : ndarray of shape (n_rows,), float64

    Returns
    -------
    callable
        NaN at the nodes that are not wanted and at those that no row reaches.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.boosting.branches import line_search, weighted_quantile
    >>> rule = line_search(
    ...     lambda values, weights: weighted_quantile(values, weights, 0.5),
    ...     np.array([4.0, 1.0, 3.0]),
    ...     np.ones(3),
    ... )
    >>> tree = TreeArrays.from_sklearn(DecisionTreeRegressor().fit([[0], [1]], [2.0, 3.0]).tree_)
    >>> rule(tree, np.array([1, 2, 2]), np.array([True, True, False]), 0)
    array([ 3.,  4., nan])
    """

    def rule(tree: TreeArrays, leaf: Ints, wanted: Bools, output: int) -> Floats:
        values = np.full(tree.n_nodes, np.nan)
        for node, rows in rows_by_node(tree, leaf, wanted):
            values[node] = search(residual[rows], weight[rows])
        return values

    return rule


def replay(
    trees: Sequence[TreeArrays],
    wanted: Sequence[Bools],
    *,
    base: Floats,
    reach: Callable[[int], Ints],
    rule_at: Callable[[Floats], LeafRule],
    shrinkage: float,
) -> list[Floats]:
    """Go through the iterations of an ensemble as it was fitted; return the values of nodes.

    Parameters
    ----------
    trees : sequence of TreeArrays
        Iteration by iteration and in each output by output, with the values of leaves as stored.
    wanted : sequence of ndarray of shape (n_nodes,), bool
        Nodes to find the values of.
    base : ndarray of shape (n_rows, n_outputs), float64
        Raw predictions before the first tree.
    reach : callable (index of a tree) -> ndarray of shape (n_rows,), intp
        The leaf that each row reaches.
    rule_at : callable (raw predictions) -> LeafRule
        The rule of an iteration: all its trees were grown from the predictions before it.
    shrinkage : float
        What stored values are multiplied by when they are summed.

    Returns
    -------
    list of ndarray of shape (n_nodes,), float64
        NaN where the rule finds nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.boosting.branches import line_search, replay
    >>> y = np.array([2.0, 3.0])
    >>> tree = TreeArrays.from_sklearn(DecisionTreeRegressor().fit([[0], [1]], y).tree_)
    >>> replay(
    ...     [tree],
    ...     [np.array([True, False, False])],
    ...     base=np.zeros((2, 1)),
    ...     reach=lambda index: np.array([1, 2]),
    ...     rule_at=lambda raw: line_search(lambda r, w: r.max(), y - raw[:, 0], np.ones(2)),
    ...     shrinkage=1.0,
    ... )
    [array([ 3., nan, nan])]
    """
    values = [np.full(tree.n_nodes, np.nan) for tree in trees]
    n_needed = 1 + max((index for index, mask in enumerate(wanted) if mask.any()), default=-1)
    raw, rule = np.array(base), None
    for index, tree in enumerate(trees[:n_needed]):
        output = index % raw.shape[1]
        if output == 0 or rule is None:
            rule = rule_at(raw.copy())
        leaf = reach(index)
        values[index] = rule(tree, leaf, wanted[index], output)
        raw[:, output] += shrinkage * tree.value[leaf, 0, 0]
    return values


def mean_of_leaves(tree: TreeArrays) -> Floats:
    """Return for each node the mean of the leaves below it, by the weight of their training rows.

    Parameters
    ----------
    tree : TreeArrays

    Returns
    -------
    ndarray of shape (n_nodes,), float64

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.boosting.branches import mean_of_leaves
    >>> tree = DecisionTreeRegressor().fit([[0], [1]], [2.0, 3.0]).tree_
    >>> mean_of_leaves(TreeArrays.from_sklearn(tree))
    array([2.5, 2. , 3. ])
    """
    weight = np.where(tree.is_split, 0.0, tree.weighted_n_node_samples)
    return branch_totals(tree, weight * tree.value[:, 0, 0]) / branch_totals(tree, weight)


def quantile(values: Floats, level: float) -> float:
    """Return a quantile as scikit-learn's losses take it without weights: numpy's default.

    Parameters
    ----------
    values : ndarray of shape (n,), float64
    level : float in [0, 1]

    Returns
    -------
    float

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.trees.core.boosting.branches import quantile
    >>> quantile(np.array([1.0, 2.0, 3.0, 8.0]), 0.5)
    2.5
    """
    return float(np.percentile(values, 100 * level))


def weighted_quantile(values: Floats, weights: Floats, level: float) -> float:
    """Return a quantile as scikit-learn's losses take it with weights: the inverted CDF.

    Parameters
    ----------
    values, weights : ndarray of shape (n,), float64
    level : float in [0, 1]

    Returns
    -------
    float
        The first value, from below, at which the weight up to it reaches the share `level`. NaN
        if there is no weight.

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.trees.core.boosting.branches import weighted_quantile
    >>> weighted_quantile(np.array([1.0, 2.0, 3.0, 8.0]), np.ones(4), 0.5)
    2.0
    >>> weighted_quantile(np.array([1.0, 2.0, 3.0, 8.0]), np.array([1.0, 1.0, 1.0, 4.0]), 0.5)
    8.0
    """
    order = np.argsort(values)
    cdf = np.cumsum(weights[order])
    if not cdf[-1] > 0.0:
        return float("nan")
    # In this order of operations, and rounded so, because ties hang on the last bit.
    share = 100 * level / 100 * cdf[-1]
    share = share or np.nextafter(0.0, 1.0)  # rows of no weight at the low end do not count
    return float(values[order[min(np.searchsorted(cdf, share), len(order) - 1)]])


def _levels(depth: Ints) -> list[Ints]:
    """Return the nodes of each depth, from the root down."""
    order = np.argsort(depth, kind="stable")
    return np.split(order, np.cumsum(np.bincount(depth))[:-1])
