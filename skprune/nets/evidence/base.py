"""What evidence is: numbers about each weight, gathered batch by batch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

# what a criterion asked for -> a tensor for one layer
Seen = Mapping[type["Evidence"], torch.Tensor]


@dataclass(frozen=True)
class Rows:
    """The training rows that evidence can be gathered from.

    Attributes
    ----------
    dataset : Dataset
        As skorch has them.
    fit_params : mapping of str to object
        What the module's forward takes beside the rows.
    """

    dataset: Any
    fit_params: Mapping[str, Any] = field(default_factory=dict)


class Evidence(ABC):
    """Numbers about each weight, of which one array a weight is held, however many rows there are.

    Gathered after the backward pass of each batch: while the net trains, or else in a pass of its
    own over some rows.

    Attributes
    ----------
    batch_size : int or None
        The rows whose mean loss has one gradient. None takes the batches of the net, those of its
        training as well. A number, such as 1 for a gradient of each row, always makes a pass.
    horizon : float
        While the net trains, older batches fade: what is further back than so many counts little.
    """

    batch_size: ClassVar[int | None] = None
    horizon: ClassVar[float] = 100.0

    def __init__(self) -> None:
        self.means: dict[str, torch.Tensor] = {}
        self.n_rows = 0

    @abstractmethod
    def of_batch(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return what one batch adds to the mean.

        Parameters
        ----------
        gradient : Tensor
            That of the batch's mean loss, of the shape of the weights.
        """

    @torch.no_grad()
    def add(self, weights: Mapping[str, torch.Tensor], n_rows: int, fades: bool = False) -> None:
        """Take in the gradients that a backward pass left at the weights.

        Parameters
        ----------
        weights : mapping of str to Tensor
            A weight without a gradient counts as one that the batch does not depend on.
        n_rows : int
            Rows of the batch: means are over rows.
        fades : bool, default=False
            Whether the mean is a running one, as the weights change.
        """
        self.n_rows += n_rows
        share = n_rows / self.n_rows
        if fades:
            share = max(share, 1 / self.horizon)
        for name, weight in weights.items():
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
            new = self.of_batch(gradient)
            if name in self.means:
                self.means[name].lerp_(new, share)
            else:
                self.means[name] = new.clone()
