"""Predict with pruned models: compiled kernels beside a plain scipy/numpy reference path.

Knows numpy and scipy, nothing of scikit-learn or torch: arrays in, arrays out.
"""

from skprune.engine.activations import ACTIVATIONS
from skprune.engine.checks import NonFiniteError
from skprune.engine.forest import Forest
from skprune.engine.layers import Layer
from skprune.engine.model import Model
from skprune.engine.native import isa
from skprune.engine.network import Network
from skprune.engine.tree import Tree

__all__ = ["ACTIVATIONS", "Forest", "Layer", "Model", "Network", "NonFiniteError", "Tree", "isa"]
