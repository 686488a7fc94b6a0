"""Pruning criteria: each a function from a layer's weights to scores, the higher, the sooner kept.

A criterion is one small file: weights (and, where the method needs them, gradients) in,
scores of the same shape out.
"""

from skprune.nets.criteria.magnitude import magnitude

__all__ = ["magnitude"]
