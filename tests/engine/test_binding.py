"""Whatever Python hands to the kernels, they refuse it and do not crash."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
# A lone leaf, and a tree of two splits, one of which looks at categories.
FOREST = {
    "feature": np.array([-2, 0, 2, -2, -2, -2]),
    "threshold": np.array([0.0, 0.5, 0.0, 0.0, 0.0, 0.0]),
    "left": np.array([-1, 1, 3, -1, -1, -1]),
    "right": np.array([-1, 2, 4, -1, -1, -1]),
    "value": np.arange(6.0)[:, None],
    "missing_left": np.zeros(6, bool),
    "tree_starts": np.array([0, 1, 6]),
    "outputs": np.array([1, 0]),
    "base": np.zeros(2),
    "divisor": 1.0,
    "link": 0,
    "set": np.array([-1, -1, 1, -1, -1, -1]),
    "sets": np.array([[0, 0], [5, 1]], np.uint32),
    "category_columns": np.array([1, 2]),
    "category_starts": np.array([0, 1, 34]),
    "categories": np.concatenate([[7.0], np.arange(33.0)]),
    "n_features": 4,
    "is_double": True,
    "allow_nan": False,
}


def change(name, at, value):
    array = FOREST[name].copy()
    array[at] = value
    return array


BAD_FORESTS = {
    "feature": [change("feature", 1, 4), change("feature", 1, -1), change("feature", 2, 0)]
    + [change("feature", 2, 2**40), np.zeros(5, np.int64)],
    "threshold": [change("threshold", 1, np.nan), np.zeros(5)],
    # out of the tree, to its own root, twice to one node, in a cycle
    "left": [change("left", 1, n) for n in (5, 0, 2, 2**40)] + [change("left", 2, 1)],
    "right": [change("right", 1, n) for n in (5, 0, 1, -1)] + [np.zeros(5, np.int64)],
    "value": [np.zeros((5, 1)), np.zeros((6, 2)), np.zeros((6, 0))],
    "missing_left": [np.zeros(5, bool)],
    "tree_starts": [np.array(a) for a in ([0], [0, 7, 6], [0, 1, 7], [1, 2, 6], [0, 0, 6])]
    + [np.array(a) for a in ([0, 6, 1], [0, -1, 6], [0, 1, 2, 6], [0, 1, 2])]
    + [np.zeros(0, np.int64)],
    "outputs": [np.array([2, 0]), np.array([-1, 0]), np.array([0]), np.zeros(0, np.int64)],
    "base": [np.zeros(0), np.zeros(1)],
    "link": [-1, 6, 2**31 - 1, 2, 3],  # the last two take one sum
    "set": [change("set", 1, 0), change("set", 2, 2), np.zeros(5, np.int64)],
    "sets": [np.zeros((2, 1), np.uint32), np.zeros((1, 2), np.uint32), np.zeros((2, 0), np.uint32)],
    "category_columns": [np.array(a) for a in ([1, 4], [-1, 2], [2, 2], [1], [1, 3], [1, 2**40])],
    "category_starts": [np.array(a) for a in ([0, 35, 34], [0, 1], [0, 1, 33], [1, 2, 34])]
    + [np.array([0, -1, 34]), np.array([0, 1, 99]), np.zeros(0, np.int64)],
    "categories": [change("categories", 5, np.nan), change("categories", 5, 3.0)]
    + [np.zeros(0), np.zeros(33)],
    "n_features": [0, -1, 2, 2**40],
    "is_double": [False],
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
    forest = kernels.Forest(*FOREST.values(), isa())
    assert forest.predict(np.zeros((2, 4)), 1).tolist() == [[4.0, 0.0]] * 2
    X = np.array([[0.0, 0, 32, 0], [1.0, 0, 32, 0], [0, 0, 1, 0], [0, 0, 33, 0]])
    assert forest.apply(X, 1).tolist() == [[0, 3], [0, 2], [0, 4], [0, 4]]


@pytest.mark.parametrize(("name", "value"), bad(BAD_FORESTS))
def test_bad_forests_are_refused(name, value):
    with pytest.raises(ValueError, match=r"."):
        kernels.Forest(*(FOREST | {name: value}).values(), isa())


SCALARS = {
    "divisor": st.sampled_from([1.0, 0.0, np.nan, -np.inf]),
    "link": st.integers(-2, 7),
    "n_features": st.integers(-1, 6) | st.sampled_from([2**27, 2**31, 2**62]),
    "is_double": st.booleans(),
    "allow_nan": st.booleans(),
}


@st.composite
def damaged(draw):
    """A good forest in which some arrays are cut, grown, emptied, or hold other numbers."""
    arrays = dict(FOREST)
    for name in draw(st.lists(st.sampled_from(sorted(FOREST)), max_size=4, unique=True)):
        if name in SCALARS:
            arrays[name] = draw(SCALARS[name])
            continue
        array = arrays[name]
        length = draw(st.just(len(array)) | st.integers(0, len(array) + 2))
        array = np.resize(array, (length, *array.shape[1:]))
        if array.ndim == 2:
            width = draw(st.just(array.shape[1]) | st.integers(0, 3))
            array = np.resize(array, (length, width))
        for _ in range(draw(st.integers(0, 3)) if array.size else 0):
            at = draw(st.integers(0, array.size - 1))
            numbers = {
                "i": st.integers(-2, 8) | st.sampled_from([2**31, 2**32, 2**62, -(2**62)]),
                "u": st.integers(0, 2**32 - 1),
                "f": st.floats(),
                "b": st.booleans(),
            }
            array.flat[at] = draw(numbers[array.dtype.kind])
        arrays[name] = array
    return arrays


@settings(max_examples=1000, deadline=None)
@given(damaged(), st.sampled_from([0, 1, 9, 300]), st.integers(0, 2**32 - 1))
def test_damaged_forests_are_refused_or_run(arrays, n_rows, seed):
    try:
        forest = kernels.Forest(*arrays.values(), isa())
    except ValueError:
        return
    rng = np.random.default_rng(seed)
    X = rng.choice([0.0, 1.0, 7.0, 32.0, 33.0, -1.0, 1e300], (n_rows, arrays["n_features"]))
    if not arrays["is_double"]:
        X = X.clip(max=9)
    n_trees, n_sums = len(arrays["tree_starts"]) - 1, len(arrays["base"])
    nodes = forest.apply(X, 2)
    sizes = np.diff(arrays["tree_starts"])
    assert nodes.shape == (n_rows, n_trees)
    assert ((nodes >= 0) & (nodes < sizes)).all()
    leaves = arrays["left"][nodes + arrays["tree_starts"][:-1]]
    assert (leaves < 0).all()
    assert forest.decide(X, 2).shape == (n_rows, n_sums)
    assert len(forest.predict(X, 2)) == n_rows
