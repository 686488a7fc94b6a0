"""n:m sparsity: of every m weights in a row, n stay."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from skprune.masks.allocation import Scores, Shapes, keep_highest, shares
from skprune.masks.groups.base import Groups, Kept, rounded_down
from skprune.masks.groups.blocks import as_matrix


class NOfM(Groups):
    """Of every m weights side by side in a row, n stay.

    Mishra et al. (2021) [1]_. The weights of a layer are read as a matrix, as
    :class:`~skprune.masks.groups.Blocks` does. A row whose length is no multiple of m ends with a
    shorter group of t weights, of which ``n * t // m`` stay, so that the sparsity is met.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        The shape of each layer's weights.
    n, m : int
        How many of how many stay, ``0 < n < m``.

    References
    ----------
    .. [1] A. Mishra et al., "Accelerating sparse deep neural networks", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> NOfM({"a": (1, 4)}, 2, 4).keep({"a": np.array([[3.0, 1.0, 2.0, 4.0]])}, 0.5)
    {'a': array([[ True, False, False,  True]])}
    """

    can_rewire = False

    def __init__(self, shapes: Shapes, n: int, m: int) -> None:
        super().__init__(shapes)
        self.n = n
        self.m = m

    def sizes(self) -> dict[str, int | np.ndarray]:
        """Return 1 for each layer."""
        return dict.fromkeys(self.shapes, 1)

    def pool(self, scores: Scores) -> dict[str, np.ndarray]:
        """Return the scores as they are."""
        return dict(scores)

    def spread(self, kept: Mapping[str, Any]) -> Kept:
        """Return the masks as they are."""
        return dict(kept)

    def reachable(self, sparsity: float) -> float:
        """Return the sparsity of the pattern, or 0 where nothing is to be removed."""
        if sparsity == 0:
            return 0.0
        most = 1 - self.n / self.m
        if sparsity > most + 1e-9:
            raise ValueError(
                f"sparsity={sparsity!r} and granularity='{self.n}:{self.m}' contradict each other: "
                f"the pattern removes {most:.4g} of the weights; set "
                f"sparsity={rounded_down(most)!r}, or another granularity."
            )
        narrow = [
            name for name, shape in self.shapes.items() if as_matrix(shape)[1] * self.n < self.m
        ]
        if narrow:
            raise ValueError(
                f"granularity='{self.n}:{self.m}' would remove all weights of {narrow}, whose rows "
                f"have fewer than {-(-self.m // self.n)} weights: leave them out of layers."
            )
        return self._pattern

    @property
    def _pattern(self) -> float:
        return sum(self._n_removable(shape) for shape in self.shapes.values()) / self.n_weights

    def _n_removable(self, shape: tuple[int, ...]) -> int:
        height, width = as_matrix(shape)
        whole, rest = divmod(width, self.m)
        return height * (whole * (self.m - self.n) + rest - self.n * rest // self.m)

    def keep(self, scores: Scores, sparsity: float, allocation: str = "global") -> Kept:
        """Return which weights stay.

        On the way to the pattern, weights go that the pattern will remove, those of the lowest
        scores first.
        """
        pattern = self._pattern
        if sparsity == 0 or pattern == 0:
            return {name: np.ones(shape, dtype=bool) for name, shape in self.shapes.items()}
        stay = {name: self._highest_of_each(scores[name]) for name in self.shapes}
        if sparsity >= pattern:
            return stay
        candidates = {name: np.asarray(scores[name])[~stay[name]] for name in self.shapes}
        lengths = {name: each.shape for name, each in candidates.items()}
        for names, share in shares(lengths, sparsity / pattern, allocation):
            for name, back in keep_highest(
                {n: candidates[n] for n in names}, self.sizes(), share
            ).items():
                stay[name][~stay[name]] = back
        return stay

    def _highest_of_each(self, score: np.ndarray) -> np.ndarray:
        height, width = as_matrix(score.shape)
        n_groups = -(-width // self.m)
        padded = np.full((height, n_groups * self.m), -np.inf)
        padded[:, :width] = score.reshape(height, width)
        order = np.argsort(-padded.reshape(height, n_groups, self.m), axis=2, kind="stable")
        place = np.argsort(order, axis=2)  # of each weight among those of its group
        allowed = np.full(n_groups, self.n)
        if rest := width % self.m:
            allowed[-1] = self.n * rest // self.m
        kept = (place < allowed[:, None]).reshape(height, -1)[:, :width]
        return kept.reshape(score.shape)
