"""Taylor: a weight is worth the change of the loss that its removal brings, to first order."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from skprune.nets.criteria.base import Criterion
from skprune.nets.evidence import (
    Evidence,
    MeanAbsoluteGradient,
    MeanGradient,
    MeanSquaredGradient,
    Seen,
)

_NEEDS: Mapping[str, type[Evidence]] = {
    "abs_of_mean": MeanGradient,
    "mean_of_abs": MeanAbsoluteGradient,
    "mean_of_squares": MeanSquaredGradient,
}


class Taylor(Criterion):
    r"""Score each weight by the first-order change of the loss without it, :math:`w \, dL/dw`.

    Molchanov, Mallya, Tyree, Frosio and Kautz (2019), "Importance estimation for neural network
    pruning", equation 8 for "mean_of_squares", over batches. The three means rank differently.

    Parameters
    ----------
    mean : {"abs_of_mean", "mean_of_abs", "mean_of_squares"}, default="abs_of_mean"
        What is averaged over the batches: :math:`|w \, \mathrm{mean}(g)|`,
        :math:`\mathrm{mean} |w g|` or :math:`\mathrm{mean}\,(w g)^2`, with g the gradient of a
        batch's loss.

    Examples
    --------
    >>> import torch
    >>> from skprune.nets.evidence import MeanGradient
    >>> Taylor().score(torch.tensor([2.0, -1.0]), {MeanGradient: torch.tensor([0.5, 3.0])})
    tensor([1., 3.])
    """

    needs: ClassVar[Any]

    def __init__(self, mean: str = "abs_of_mean") -> None:
        if mean not in _NEEDS:
            raise ValueError(f"mean must be one of {sorted(_NEEDS)}, got {mean!r}.")
        self.mean = mean
        self.needs = (_NEEDS[mean],)  # type: ignore[misc]

    def score(self, weight: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Return the magnitude of the change."""
        gradient = seen[_NEEDS[self.mean]]
        if self.mean == "mean_of_squares":
            return weight * weight * gradient
        return (weight * gradient).abs()
