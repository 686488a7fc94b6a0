"""Whatever Python hands to the kernels, they refuse it and do not crash."""

import numpy as np
import pytest

from skprune.engine import isa
from skprune.engine.native import kernels

pytestmark = pytest.mark.skipif(kernels is None, reason="the kernels were not built")

LAYER = {
    "n_out": 2,
    "starts": np.array([0, 1, 2]),
    "columns": np.array([0, 3], np.uint32),
    "weights": np.ones(2, np.float32),
    "bias": np.zeros(2, np.float32),
    "activation": 1,
    "alpha": 0.0,
    "dense_rows": False,
    "dense_tiles": False,
}
BAD_LAYERS = {
    "n_out": [0, -1, 3, 2**40],
    "starts": [np.array([0, 1]), np.array([0, 2, 1]), np.array([1, 1, 2]), np.array([0, 1, 99])],
    "columns": [np.array([0, 4], np.uint32), np.array([0], np.uint32)],
    "weights": [np.ones(1, np.float32)],
    "bias": [np.zeros(1, np.float32)],
    "activation": [-1, 99],
}
TREE = {
    "feature": np.array([0, -2, -2]),
    "threshold": np.array([0.5, -2.0, -2.0]),
    "left": np.array([1, -1, -1]),
    "right": np.array([2, -1, -1]),
    "value": np.zeros((3, 1)),
    "missing_left": np.zeros(3, bool),
}
BAD_TREES = {
    "feature": [np.array([4, -2, -2]), np.array([-1, -2, -2]), np.array([0])],
    "threshold": [np.array([np.nan, 0.0, 0.0]), np.zeros(2)],
    "left": [np.array([0, -1, -1]), np.array([3, -1, -1]), np.array([2, -1, -1])],
    "right": [np.array([-1, -1, -1]), np.array([0, -1, -1]), np.array([9, -1, -1])],
    "value": [np.zeros((2, 1))],
    "missing_left": [np.zeros(1, bool)],
}


def bad(cases):
    return [pytest.param(name, value) for name, values in cases.items() for value in values]


@pytest.mark.parametrize(("name", "value"), bad(BAD_LAYERS))
def test_bad_layers_are_refused(name, value):
    network = kernels.Network(4, 2, isa())
    with pytest.raises(ValueError, match=r"."):
        network.add_layer(*(LAYER | {name: value}).values())


@pytest.mark.parametrize("depth", [-5, 2, 1_000_000])
def test_depths_that_are_not_there_are_refused(depth):
    network = kernels.Network(4, 2, isa())
    network.add_layer(*LAYER.values())
    with pytest.raises(ValueError, match="no layer of this depth"):
        network.run(np.zeros((1, 4)), 1, depth)
    assert network.run(np.zeros((1, 4)), -7, 1).shape == (1, 2)


@pytest.mark.parametrize(("name", "value"), bad(BAD_TREES))
def test_bad_trees_are_refused(name, value):
    with pytest.raises(ValueError, match=r"."):
        kernels.Tree(*(TREE | {name: value}).values(), 4, False, isa())


def test_good_ones_are_not():
    tree = kernels.Tree(*TREE.values(), 4, False, isa())
    assert tree.predict(np.zeros((2, 4)), 1).shape == (2, 1)
