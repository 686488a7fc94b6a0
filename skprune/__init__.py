"""skprune: prune scikit-learn trees and skorch nets, and predict on a sparse engine.

The public names are below. What needs torch is imported on first use, so that a saved sparse
model can be loaded and run where torch is not installed.
"""

from importlib import import_module
from typing import Any

from skprune.nets import naming_the_extra

__version__ = "0.1.0"

_HOME = {
    "BayesianGroupPruner": "skprune.nets.pruners",
    "CostComplexityPruner": "skprune.trees.pruners",
    "ErrorBasedPruner": "skprune.trees.pruners",
    "FileFormatError": "skprune.engine.file",
    "ForestPruner": "skprune.trees.pruners",
    "L0Pruner": "skprune.nets.pruners",
    "MLPNetClassifier": "skprune.nets.modules",
    "MLPNetRegressor": "skprune.nets.modules",
    "MagnitudePruner": "skprune.nets.pruners",
    "PrunerCV": "skprune.model_selection",
    "PruningCurveDisplay": "skprune.displays",
    "PruningHistoryDisplay": "skprune.displays",
    "MinimumErrorPruner": "skprune.trees.pruners",
    "ReducedErrorPruner": "skprune.trees.pruners",
    "SaliencyPruner": "skprune.nets.pruners",
    "SoftThresholdPruner": "skprune.nets.pruners",
    "SparseClassifier": "skprune.estimators",
    "SparseRegressor": "skprune.estimators",
    "VariationalDropoutPruner": "skprune.nets.pruners",
    "compile": "skprune.compiling",
    "load": "skprune.saving",
    "save": "skprune.saving",
    "to_onnx": "skprune.exporting",
}

_SUBPACKAGES = ("base", "engine", "masks", "nets", "trees")

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"skprune.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'skprune' has no attribute {name!r}")
    with naming_the_extra(f"skprune.{name}"):
        value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
