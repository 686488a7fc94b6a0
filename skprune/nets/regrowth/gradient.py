"""Gradient: those weights return whose gradient is the largest."""

import torch

from skprune.nets.criteria import Criterion
from skprune.nets.evidence import CurrentGradient, Seen


class Gradient(Criterion):
    """Score each weight by the magnitude of its gradient in the newest batch.

    Evci, Gale, Menick, Castro and Elsen (2020), "Rigging the lottery: making all tickets winners",
    section 3: connections grow where the gradient of the dense weights is large.
    """

    needs = (CurrentGradient,)

    def score(self, weight: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Return ``abs(gradient)``."""
        return seen[CurrentGradient].abs()
