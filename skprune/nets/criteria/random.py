"""Random: the baseline that any criterion must beat."""

import torch

from skprune.nets.criteria.base import Criterion, Tensors
from skprune.nets.evidence import Seen


class Random(Criterion):
    """Score each weight by a random number, the same at every update of a run.

    Gale, Elsen and Hooker (2019), "The state of sparsity in deep neural networks", take random
    pruning as the baseline.
    """

    def __init__(self) -> None:
        self._noise: Tensors = {}

    def score(self, weight: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Return uniform numbers in [0, 1), drawn anew at every call."""
        return torch.rand(weight.shape, device=weight.device)

    def scores(self, weights: Tensors, seen: object) -> Tensors:
        """Return the numbers that were drawn at the first update."""
        for name, weight in weights.items():
            if name not in self._noise:
                self._noise[name] = self.score(weight, {})
        return {name: self._noise[name] for name in weights}
