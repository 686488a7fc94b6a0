"""The pruners of neural nets. Importable without torch: it comes in when `fit` runs."""

from skprune.nets.pruners.base import NetPruner
from skprune.nets.pruners.bayesian_group import BayesianGroupPruner
from skprune.nets.pruners.l0 import L0Pruner
from skprune.nets.pruners.learned import LearnedPruner
from skprune.nets.pruners.magnitude import MagnitudePruner
from skprune.nets.pruners.saliency import SaliencyPruner
from skprune.nets.pruners.scored import ScoredPruner
from skprune.nets.pruners.soft_threshold import SoftThresholdPruner
from skprune.nets.pruners.variational_dropout import VariationalDropoutPruner

__all__ = [
    "BayesianGroupPruner",
    "L0Pruner",
    "LearnedPruner",
    "MagnitudePruner",
    "NetPruner",
    "SaliencyPruner",
    "ScoredPruner",
    "SoftThresholdPruner",
    "VariationalDropoutPruner",
]
