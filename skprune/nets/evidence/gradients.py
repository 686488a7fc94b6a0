"""Means over the gradients of batches."""

import torch

from skprune.nets.evidence.base import Evidence


class MeanGradient(Evidence):
    """The mean gradient of the loss."""

    def of_batch(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient itself."""
        return gradient


class MeanAbsoluteGradient(Evidence):
    """The mean of the absolute gradients of batches."""

    def of_batch(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return its absolute value."""
        return gradient.abs()


class MeanSquaredGradient(Evidence):
    """The mean of the squared gradients of batches."""

    def of_batch(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return its square."""
        return gradient * gradient


class CurrentGradient(MeanGradient):
    """The gradient of the newest batch alone."""

    horizon = 1.0
