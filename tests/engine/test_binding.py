"""Whatever Python hands to the kernels, they refuse it and do not crash."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

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
    "layouts": np.array([0, 1, 2, 2, 0], np.uint8),
    "height": 4,
    "order": np.array([1, 0, 2, 2], np.uint32),
}
STEPS = np.array([0, *([1] * 64)], np.uint8)
BAD_LAYERS = {
    "n_out": [0, -1, 3, 2**40],
    "starts": [np.array([0, 1]), np.array([0, 2, 1]), np.array([1, 1, 2]), np.array([0, 1, 99])],
    "columns": [np.array([0, 4], np.uint32), np.array([0], np.uint32)],
    "weights": [np.ones(1, np.float32)],
    "bias": [np.zeros(1, np.float32)],
    "activation": [-1, 99],
    "layouts": [np.zeros(4, np.uint8), np.full(5, 3, np.uint8)],
    "height": [0, -4, 3, 16],
    "order": [
        np.array([1, 0], np.uint32),
        np.array([1, 1, 0, 2], np.uint32),
        np.array([1, 2, 2, 2], np.uint32),
        np.array([1, 0, 2, 3], np.uint32),
        np.array([1, 0, *([2] * 10)], np.uint32),
    ],
}
TREE = {
    "feature": np.array([0, -2, -2]),
    "threshold": np.array([0.5, -2.0, -2.0]),
    "left": np.array([1, -1, -1]),
    "right": np.array([2, -1, -1]),
    "value": np.zeros((3, 1)),
    "missing_left": np.zeros(3, bool),
}
DENSE = np.zeros(0, np.uint32)  # the columns of sparse rows that splits read: none
BAD_TREES = {
    "feature": [np.array([4, -2, -2]), np.array([-1, -2, -2]), np.array([0])],
    "threshold": [np.array([np.nan, 0.0, 0.0]), np.zeros(2)],
    "left": [np.array([0, -1, -1]), np.array([3, -1, -1]), np.array([2, -1, -1])],
    "right": [np.array([-1, -1, -1]), np.array([0, -1, -1]), np.array([9, -1, -1])],
    "value": [np.zeros((2, 1))],
    "missing_left": [np.zeros(1, bool)],
}
FOREST = TREE | {
    "tree_starts": np.array([0, 3]),
    "outputs": np.zeros(0, np.int64),
    "base": np.zeros(1),
    "divisor": 1.0,
    "link": 0,
    "groups": np.array([1]),
    "set": np.array([0, -1, -1]),
    "sets": np.ones((1, 1), np.uint32),
    "category_columns": np.array([0]),
    "category_starts": np.array([0, 2]),
    "categories": np.array([1.0, 4.0]),
    "columns": DENSE,
    "n_features": 4,
    "is_double": True,
    "allow_nan": False,
    "allow_infinity": True,
}
BAD_FORESTS = BAD_TREES | {
    "tree_starts": [
        np.array([0, 4]),
        np.array([0, 2]),
        np.array([0, 0, 3]),
        np.array([1, 3]),
        np.array([0, 3, 2]),
        np.array([0, -1, 3]),
        np.array([0]),
    ],
    "outputs": [np.array([1]), np.array([-1]), np.array([0, 0])],
    "base": [np.zeros(2), np.zeros(0)],
    "link": [-1, 6, 99],
    "groups": [np.array([2]), np.array([0]), np.array([-1, 2]), np.zeros(0, np.int64)],
    "set": [np.array([1, -1, -1]), np.array([0])],
    "category_columns": [np.array([4]), np.array([-1]), np.array([1]), np.array([0, 1])],
    "category_starts": [np.array([0, 3]), np.array([1, 2]), np.array([2, 0]), np.array([0])],
    "categories": [np.array([4.0, 1.0]), np.array([np.nan, 1.0]), np.array([1.0])],
    "n_features": [0, -1, 2**40],
    "is_double": [False],
}


def bad(cases):
    return [pytest.param(name, value) for name, values in cases.items() for value in values]


@pytest.mark.parametrize(("name", "value"), bad(BAD_LAYERS))
def test_bad_layers_are_refused(name, value):
    network = kernels.Network(4, np.zeros(0, np.uint32), np.zeros(0, np.float32), STEPS, isa())
    with pytest.raises(ValueError, match=r"."):
        network.add_layer(*(LAYER | {name: value}).values())


@pytest.mark.parametrize("depth", [-5, 2, 1_000_000])
def test_depths_that_are_not_there_are_refused(depth):
    network = kernels.Network(4, np.zeros(0, np.uint32), np.zeros(0, np.float32), STEPS, isa())
    network.add_layer(*LAYER.values())
    with pytest.raises(ValueError, match="no layer of this depth"):
        network.run(np.zeros((1, 4)), 1, depth)
    assert network.run(np.zeros((1, 4)), -7, 1).shape == (1, 2)


@pytest.mark.parametrize(("name", "value"), bad(BAD_TREES))
def test_bad_trees_are_refused(name, value):
    with pytest.raises(ValueError, match=r"."):
        kernels.Tree(*(TREE | {name: value}).values(), DENSE, 4, False, isa())


def test_good_ones_are_not():
    tree = kernels.Tree(*TREE.values(), DENSE, 4, False, isa())
    assert tree.predict(np.zeros((2, 4)), 1).shape == (2, 1)


@pytest.mark.parametrize(("name", "value"), bad(BAD_FORESTS))
def test_bad_forests_are_refused(name, value):
    with pytest.raises(ValueError, match=r"."):
        kernels.Forest(*(FOREST | {name: value}).values(), isa())


def test_a_column_of_categories_is_listed_once():
    # else its numbers would be taken for values, and numbered again
    twice = {
        "category_columns": np.array([0, 0]),
        "category_starts": np.array([0, 1, 3]),
        "categories": np.array([0.0, 1.0, 4.0]),
    }
    with pytest.raises(ValueError, match="listed twice"):
        kernels.Forest(*(FOREST | twice).values(), isa())


def test_sets_need_a_bit_for_every_category():
    many = {"categories": np.arange(33.0), "category_starts": np.array([0, 33])}
    with pytest.raises(ValueError, match="a set is too short"):
        kernels.Forest(*(FOREST | many).values(), isa())


small = st.integers(-3, 5)


@settings(max_examples=300, deadline=None)
@given(
    feature=arrays(np.int64, 7, elements=small),
    left=arrays(np.int64, 7, elements=small),
    right=arrays(np.int64, 7, elements=small),
    starts=st.lists(small, min_size=1, max_size=4),
    outputs=st.lists(small, max_size=3),
    sets=arrays(np.int64, 7, elements=small),
)
def test_whatever_is_taken_for_a_forest_can_be_walked(feature, left, right, starts, outputs, sets):
    arguments = FOREST | {
        "feature": feature,
        "threshold": np.zeros(7),
        "left": left,
        "right": right,
        "value": np.zeros((7, 1)),
        "missing_left": np.zeros(7, bool),
        "tree_starts": np.array(starts),
        "outputs": np.array(outputs, dtype=np.int64),
        "set": sets,
    }
    try:
        forest = kernels.Forest(*arguments.values(), isa())
    except ValueError:
        return
    X = np.random.default_rng(0).choice([0.0, 1.0, 4.0, -1.0], (20, 4))
    assert forest.apply(X, 1).shape == (20, len(starts) - 1)
    assert forest.predict(X[:3], 1).shape == (3, 1)


def test_a_good_forest_is_not():
    forest = kernels.Forest(*FOREST.values(), isa())
    assert forest.predict(np.zeros((2, 4)), 1).shape == (2, 1)
