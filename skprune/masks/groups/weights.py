"""Single weights: each is a group of its own."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from skprune.masks.allocation import Scores
from skprune.masks.groups.base import Groups, Kept


class Weights(Groups):
    """Every weight stays or goes alone.

    Examples
    --------
    >>> import numpy as np
    >>> Weights({"a": (2, 2)}).keep({"a": np.array([[0.1, 0.9], [0.5, 0.2]])}, sparsity=0.5)
    {'a': array([[False,  True],
           [ True, False]])}
    """

    def sizes(self) -> dict[str, int | np.ndarray]:
        """Return 1 for each layer."""
        return dict.fromkeys(self.shapes, 1)

    def pool(self, scores: Scores) -> dict[str, np.ndarray]:
        """Return the scores as they are."""
        return dict(scores)

    def spread(self, kept: Mapping[str, Any]) -> Kept:
        """Return the masks as they are."""
        return dict(kept)

    def density(self, kept: Mapping[str, Any]) -> Any:
        """Return the mean over all weights."""
        return sum(kept[name].sum() for name in self.shapes) / self.n_weights
