"""What criteria ask for beside the weights, as means over batches of training rows."""

from skprune.nets.evidence.base import Evidence, Rows, Seen
from skprune.nets.evidence.gradients import (
    CurrentGradient,
    MeanAbsoluteGradient,
    MeanGradient,
    MeanSquaredGradient,
)

__all__ = [
    "CurrentGradient",
    "Evidence",
    "MeanAbsoluteGradient",
    "MeanGradient",
    "MeanSquaredGradient",
    "Rows",
    "Seen",
]
