"""The pruners of trees: each a risk and a rule to stop, over one engine of paths."""

from skprune.trees.pruners.base import TreePruner
from skprune.trees.pruners.cost_complexity import CostComplexityPruner
from skprune.trees.pruners.error_based import ErrorBasedPruner
from skprune.trees.pruners.forest import ForestPruner
from skprune.trees.pruners.minimum_error import MinimumErrorPruner
from skprune.trees.pruners.reduced_error import ReducedErrorPruner

__all__ = [
    "CostComplexityPruner",
    "ErrorBasedPruner",
    "ForestPruner",
    "MinimumErrorPruner",
    "ReducedErrorPruner",
    "TreePruner",
]
