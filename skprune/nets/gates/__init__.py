"""Gates: modules that stand in for a Linear or Conv and learn what to remove, one file a method."""

from skprune.nets.gates.base import Gate
from skprune.nets.gates.group_posterior import GroupPosteriorGate
from skprune.nets.gates.hard_concrete import HardConcreteGate
from skprune.nets.gates.soft_threshold import SoftThresholdGate
from skprune.nets.gates.variational_dropout import VariationalDropoutGate

__all__ = [
    "Gate",
    "GroupPosteriorGate",
    "HardConcreteGate",
    "SoftThresholdGate",
    "VariationalDropoutGate",
]
