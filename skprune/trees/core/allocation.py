"""How much to prune where: one choice for all trees of an ensemble, from the path of each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skprune.trees.core.weakest_link import PruningPath, first_step_for_sparsity

__all__ = ["EnsemblePath", "geometric_mean_alphas"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# How many choices are worth trying: each costs a metric, and of an ensemble a prediction by all of
# its trees. The best mean score of all is 0 to 0.4 of its standard error above that of these
# (benchmarks/values.py). Three times as many come no nearer: the rest is the folds' noise.
MOST_VALUES = 100


class EnsemblePath:
    """The paths of several trees, followed together.

    A choice is one step a tree. At one price per leaf every tree has its own best subtree, and
    together these are the best of all choices with as many leaves: so one pool of all alphas
    prunes the trees unevenly, each where it costs least. That is what "global" does; "uniform"
    takes the same fraction of every tree.

    Parameters
    ----------
    paths : sequence of PruningPath
        One a tree.
    allocation : {"global", "uniform"}, default="global"
        How a sparsity is shared out. Prices and numbers of leaves are said of each tree, and
        mean the same for both.

    Examples
    --------
    Two trees of two splits, of which one is worth far more:

    >>> from skprune.trees.core.allocation import EnsemblePath
    >>> from skprune.trees.core.weakest_link import pruning_path
    >>> left, right = [1, 3, -1, -1, -1], [2, 4, -1, -1, -1]
    >>> cheap = pruning_path(left, right, [0.4, 0.1, 0.0, 0.0, 0.0])
    >>> dear = pruning_path(left, right, [40.0, 10.0, 0.0, 0.0, 0.0])
    >>> EnsemblePath([cheap, dear]).steps_for_sparsity(0.5)
    array([2, 0])
    >>> EnsemblePath([cheap, dear], allocation="uniform").steps_for_sparsity(0.5)
    array([1, 1])
    """

    def __init__(self, paths: Sequence[PruningPath], allocation: str = "global") -> None:
        self.paths = list(paths)
        self.allocation = allocation

    @property
    def n_splits(self) -> int:
        """Splits of the full trees together."""
        return int(sum(path.n_splits[0] for path in self.paths))

    def steps_for_alpha(self, alpha: float) -> Ints:
        """Return the step of each tree's smallest subtree that is best at a price.

        Parameters
        ----------
        alpha : float
            Price of a leaf.

        Returns
        -------
        ndarray of shape (n_trees,), intp
        """
        return np.array([path.step_for_alpha(alpha) for path in self.paths], dtype=np.intp)

    def steps_for_max_leaf_nodes(self, max_leaf_nodes: int) -> Ints:
        """Return the step of each tree's largest subtree with so many leaves at most.

        Parameters
        ----------
        max_leaf_nodes : int
            At least 1.

        Returns
        -------
        ndarray of shape (n_trees,), intp
        """
        steps = [path.step_for_max_leaf_nodes(max_leaf_nodes) for path in self.paths]
        return np.array(steps, dtype=np.intp)

    def steps_for_sparsity(self, sparsity: float) -> Ints:
        """Return the first choice at which at least a fraction of the splits is gone.

        Parameters
        ----------
        sparsity : float
            In [0, 1]; 0 removes nothing.

        Returns
        -------
        ndarray of shape (n_trees,), intp
        """
        if self.allocation == "uniform":
            steps = [path.step_for_sparsity(sparsity) for path in self.paths]
            return np.array(steps, dtype=np.intp)
        trees, _, n_splits, _ = self.pool
        step = first_step_for_sparsity(n_splits, sparsity)
        return np.bincount(trees[:step], minlength=len(self.paths)).astype(np.intp)

    def price(self, steps: Ints) -> float:
        """Return the price from which on a choice is the best, which is that of its last step.

        Parameters
        ----------
        steps : ndarray of shape (n_trees,), intp
            A choice.

        Returns
        -------
        float
            -inf where nothing is removed; NaN for a choice that is not the best at any price,
            as an even share of unlike trees is not.
        """
        price = max(path.alphas[step] for path, step in zip(self.paths, steps, strict=True))
        following = (
            path.alphas[step + 1]
            for path, step in zip(self.paths, steps, strict=True)
            if step + 1 < path.n_steps
        )
        return float(price) if price <= min(following, default=np.inf) else np.nan

    def n_leaves(self, steps: Ints) -> int:
        """Return the leaves of all trees together.

        Parameters
        ----------
        steps : ndarray of shape (n_trees,), intp
            A choice.

        Returns
        -------
        int
        """
        return int(sum(p.n_leaves[step] for p, step in zip(self.paths, steps, strict=True)))

    def sparsity(self, steps: Ints) -> float:
        """Return the fraction of the splits that a choice removes; 0 where there are none.

        Parameters
        ----------
        steps : ndarray of shape (n_trees,), intp
            A choice.

        Returns
        -------
        float
        """
        kept = self.n_leaves(steps) - len(self.paths)
        return 1.0 - kept / self.n_splits if self.n_splits else 0.0

    @cached_property
    def pool(self) -> tuple[Ints, Floats, Ints, Floats]:
        """The steps of all trees, cheapest first.

        Returns
        -------
        trees : ndarray of shape (n_steps,), intp
            Whose step it is; where prices tie, tree after tree, each in its order.
        alphas : ndarray of shape (n_steps,), float64
            Its price.
        n_splits : ndarray of shape (n_steps + 1,), intp
            Splits of all trees together before the first step and after each.
        rounding : ndarray of shape (n_steps,), float64
            How far rounding may have moved each price.
        """
        alphas = np.concatenate([path.alphas[1:] for path in self.paths])
        gone = np.concatenate([-np.diff(path.n_splits) for path in self.paths])
        lengths = [path.n_steps - 1 for path in self.paths]
        trees = np.repeat(np.arange(len(self.paths)), lengths)
        rounding = np.concatenate([path.rounding[1:] for path in self.paths])
        order = np.argsort(alphas, kind="stable")
        # Ties that rounding has parted are put back, tree after tree: each tree's own are sorted.
        ties = np.zeros(len(order), dtype=np.intp)
        ties[1:] = np.cumsum(_apart(alphas[order], rounding[order]))
        order = order[np.lexsort((order, ties))]
        n_splits = self.n_splits - np.concatenate([[0], np.cumsum(gone[order])])
        return trees[order], alphas[order], n_splits.astype(np.intp), rounding[order]

    def values(self, name: str, *, every: bool = False) -> list[float] | list[int]:
        """List values of a parameter, in growing sparsity.

        Parameters
        ----------
        name : {"ccp_alpha", "sparsity", "max_leaf_nodes"}
            The parameter.
        every : bool, default=False
            Whether to list all that tell choices apart, or a hundred at most, the first and the
            last among them: of a lone tree evenly spread over the logarithm of the splits that are
            left, for small trees differ more than large ones; of an ensemble over its steps.

        Returns
        -------
        list
        """
        values = self._all_values(name)
        if every or len(values) <= MOST_VALUES:
            return values
        if len(self.paths) == 1:
            size = np.log1p(self._splits_left(name, np.asarray(values)))
            even = np.linspace(size[0], size[-1], MOST_VALUES)
            places = np.unique(np.abs(size - even[:, np.newaxis]).argmin(axis=1))
            places[-1] = len(values) - 1  # of values alike in size the first was taken
        else:
            places = np.linspace(0, len(values) - 1, MOST_VALUES).round().astype(np.intp)
        return [values[place] for place in places]

    def _splits_left(self, name: str, values: Floats) -> Floats:
        """Count the splits that a lone tree has at each of its values."""
        if name == "ccp_alpha":
            _, alphas, n_splits, _ = self.pool
            steps = np.searchsorted(np.maximum.accumulate(alphas), values, side="right")
            return n_splits[steps].astype(np.float64)
        return self.n_splits * (1.0 - values) if name == "sparsity" else values - 1.0

    def _all_values(self, name: str) -> list[float] | list[int]:
        _, alphas, n_splits, rounding = self.pool
        if name == "ccp_alpha":
            return geometric_mean_alphas(alphas, rounding)
        if name == "sparsity":
            full = self.n_splits
            return (1.0 - n_splits / full).tolist() if full else [0.0]
        return np.unique(np.concatenate([path.n_leaves for path in self.paths]))[::-1].tolist()


def geometric_mean_alphas(alphas: Floats, rounding: Floats | float = 0.0) -> list[float]:
    """List one price for each range of prices that have the same best subtree.

    The middle of a range is its geometric mean [1]_: as good a guess as any of which price on
    all of the data means the same as one on a part of them.

    Parameters
    ----------
    alphas : ndarray of shape (n_steps,), float64
        Those of the steps of a path, growing but for rounding. Ones that are not positive, or that
        differ by rounding alone, make no range.
    rounding : float or ndarray of shape (n_steps,), default=0.0
        How far rounding may have moved each.

    Returns
    -------
    list of float
        From 0, which prunes nothing, to twice the sum of all, which leaves the root. That is more
        than the last alpha also on a part of the rows, and a number: scikit-learn's ``ccp_alpha``
        takes no infinity.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees",
       1984, section 3.4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.trees.core.allocation import geometric_mean_alphas
    >>> geometric_mean_alphas(np.array([1.0, 4.0]))
    [0.0, 2.0, 10.0]
    """
    order = np.argsort(alphas, kind="stable")
    rounding = np.broadcast_to(rounding, alphas.shape)[order]
    alphas = alphas[order]
    positive = alphas > rounding
    alphas, rounding = alphas[positive], rounding[positive]
    # the product of two alphas may be beyond float64 where their roots are not
    means = np.sqrt(alphas[:-1]) * np.sqrt(alphas[1:])
    above = min(2.0 * alphas.sum(), np.finfo(np.float64).max) if len(alphas) else 1.0
    return [0.0, *means[_apart(alphas, rounding)].tolist(), float(above)]


def _apart(alphas: Floats, rounding: Floats) -> NDArray[np.bool_]:
    """Tell which neighbours among growing alphas differ by more than rounding."""
    return np.diff(alphas) > rounding[:-1] + rounding[1:]
