"""Magnitude: a weight is worth its absolute value."""

import torch

from skprune.nets.criteria.base import Criterion
from skprune.nets.evidence import Seen


class Magnitude(Criterion):
    """Score each weight by its absolute value.

    Han, Pool, Tran and Dally (2015), "Learning both weights and connections for efficient
    neural networks", section 3: connections of small weight are removed.

    Examples
    --------
    >>> import torch
    >>> Magnitude().score(torch.tensor([[-2.0, 0.5]]), {})
    tensor([[2.0000, 0.5000]])
    """

    def score(self, weight: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Return ``abs(weight)``."""
        return weight.abs()
