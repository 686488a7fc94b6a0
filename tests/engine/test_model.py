"""What every model of the engine keeps: its public state, and what it says of itself."""

import copy
import pickle
from inspect import signature

import numpy as np
import pytest
from scipy.sparse import csr_array

from skprune.engine import Forest, Layer, Model, Network, Tree
from skprune.engine.native import kernels

NODES = {
    "feature": [0, -2, -2],
    "threshold": [0.5, 0.0, 0.0],
    "left": [1, -1, -1],
    "right": [2, -1, -1],
    "value": [[0.0], [1.0], [2.0]],
    "missing_go_to_left": [True, False, False],
    "n_features_in": 2,
}
FOREST = NODES | {
    "tree_starts": [0, 3],
    "outputs": [1],
    "base": [1.0, 0.5],
    "divisor": 2.0,
    "link": "clip",
    "groups": [2],
    "categories": {0: [1.0, 4.0]},
    "left_categories": np.ones((3, 1), np.uint32),
    "by_category": [True, False, False],
    "dtype": "float64",
    "allow_nan": True,
    "allow_infinity": False,
    "accepts_sparse": False,
}
LAYERS = (
    Layer(csr_array(np.float32([[1, 2], [0, 3]])), np.float32([0, 1]), "relu"),
    Layer(csr_array(np.float32([[1, 1]])), np.float32([0.5])),
)
NETWORK = {
    "layers": LAYERS,
    "n_hidden": 1,
    "hidden_constants": [np.nan, 3.0, np.nan],
    "fill": [1, 2],
}
CASES = [(Network, NETWORK), (Tree, NODES | {"allow_nan": True}), (Forest, FOREST)]
each_model = pytest.mark.parametrize(("kind", "arguments"), CASES)


def assert_same(actual, expected):
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(actual[key], value)
    elif isinstance(expected, tuple):
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, Layer):
        assert_same(one := actual.weight.toarray(), expected.weight.toarray())
        assert one.dtype == np.float32
        assert_same(actual.bias, expected.bias)
        assert actual.activation == expected.activation
    else:
        np.testing.assert_array_equal(actual, expected)


@each_model
def test_the_state_is_the_arguments(kind, arguments):
    state = kind(**arguments).state()
    assert list(state) == list(signature(kind).parameters)
    assert_same(state, arguments | {"engine": "auto"})


@each_model
def test_copies_have_the_same_state(kind, arguments):
    model = kind(**arguments)
    pickled = pickle.loads(pickle.dumps(model))
    for other in (pickled, copy.deepcopy(model), model.replace(), kind(**model.state())):
        assert type(other) is kind
        assert_same(other.state(), model.state())


@each_model
def test_the_engine_that_was_asked_for_is_kept(kind, arguments):
    model = kind(**arguments)
    assert model.engine == ("scipy" if kernels is None else "native")
    assert model.state()["engine"] == "auto"
    plain = model.with_engine("scipy")
    assert plain.engine == plain.state()["engine"] == "scipy"
    assert_same(plain.state(), model.state() | {"engine": "scipy"})


@each_model
def test_what_replaces_an_argument_is_checked(kind, arguments):
    model = kind(**arguments)
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_leaves'"):
        model.replace(n_leaves=3)
    wrong = {"layers": []} if kind is Network else {"left": [7, -1, -1]}
    with pytest.raises(ValueError, match=r"layers must hold|left and right must"):
        model.replace(**wrong)
    # nor does a pickle bring it in
    with pytest.raises(ValueError, match=r"layers must hold|left and right must"):
        kind.__new__(kind).__setstate__(model.state() | wrong)


def test_replace_leaves_the_model_as_it_is():
    tree = Tree(**NODES)
    other = tree.replace(value=[[0.0], [5.0], [6.0]])
    assert other.predict([[0.0, 0.0]]) == [[5.0]]
    assert tree.predict([[0.0, 0.0]]) == [[1.0]]


def test_columns_read():
    assert Network(LAYERS[1:]).columns_read.tolist() == [0, 1]
    assert Network([Layer(csr_array(np.float32([[0, 3]])), np.zeros(1))]).columns_read.tolist() == [
        1
    ]
    assert Tree(**NODES).columns_read.tolist() == Forest(**FOREST).columns_read.tolist() == [0]


class _Echo(Model):
    """A model with nothing but what it must have."""

    def __init__(self, n_features_in):
        self.n_features_in = n_features_in

    def predict(self, X, n_jobs=1):
        return X


def test_a_model_that_says_nothing_takes_finite_rows_of_float32():
    from skprune import SparseRegressor

    model = SparseRegressor(_Echo(2))
    X = np.array([[1.0, 2.0]])
    assert model.predict(X).tolist() == X.tolist()
    with pytest.raises(ValueError, match="contains NaN"):
        model.predict(X * np.nan)
    with pytest.raises(ValueError, match="infinity"):
        model.predict(X * np.inf)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        model.predict(csr_array(X))
    with pytest.raises(ValueError, match="dim"):
        model.predict(np.ones((2, 1, 2)))
    assert pickle.loads(pickle.dumps(model.model)).state() == {"n_features_in": 2}
    assert model.model.columns_read.tolist() == [0, 1]
