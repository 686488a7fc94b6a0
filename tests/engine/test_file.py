"""Models of the engine as headers and tensors: they come back the same, and nothing else comes."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from skprune.engine import Forest, Layer, Network, Tree
from skprune.engine.file import (
    MAX_HEADER,
    FileFormatError,
    pack,
    read_header,
    read_tensors,
    to_bytes,
    unpack,
)
from tests.engine.cases import batches, forests, networks, random_network, rows_for, trees


def there_and_back(model, dtype="float32", engine="native"):
    """Take a model through the bytes of a file."""
    header, tensors = pack(model, dtype)
    data = to_bytes(header, tensors)
    found = read_tensors(data)
    loaded = unpack(read_header(data), found, engine)
    assert not found
    return loaded


def assert_same_arrays(one, other, names):
    for name in names:
        a, b = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert np.asarray(a).dtype == np.asarray(b).dtype, name


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_network_comes_back(data):
    network = data.draw(networks())
    loaded = there_and_back(network)
    for one, other in zip(network.layers, loaded.layers, strict=True):
        assert (one.name, one.activation, one.alpha) == (other.name, other.activation, other.alpha)
        assert one.weight.shape == other.weight.shape
        assert_same_arrays(one.weight, other.weight, ["data", "indices"])
        assert_same_arrays(one, other, ["bias"])
    X = data.draw(batches(network.n_features_in))
    for engine in ("native", "scipy"):
        one, other = network.with_engine(engine), loaded.with_engine(engine)
        np.testing.assert_array_equal(one.predict(X), other.predict(X))
        np.testing.assert_array_equal(one.transform(X), other.transform(X))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_tree_comes_back(data):
    tree = data.draw(trees(allow_nan=data.draw(st.booleans())))
    loaded = there_and_back(tree)
    split = tree.left >= 0
    for name in ("feature", "threshold", "missing_go_to_left"):
        np.testing.assert_array_equal(getattr(tree, name)[split], getattr(loaded, name)[split])
    np.testing.assert_array_equal(tree.value[~split], loaded.value[~split])
    assert_same_arrays(tree, loaded, ["left", "right", "n_features_in", "allow_nan", "n_leaves"])
    X = np.random.default_rng(0).normal(size=(40, tree.n_features_in))
    if tree.allow_nan:
        X[::3] = np.nan
    np.testing.assert_array_equal(tree.predict(X), loaded.predict(X))
    np.testing.assert_array_equal(tree.apply(X), loaded.apply(X))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_forest_comes_back(data):
    forest = data.draw(forests())
    loaded = there_and_back(forest)
    names = ["left", "right", "tree_starts", "outputs", "base", "groups", "divisor", "link"]
    assert_same_arrays(
        forest, loaded, [*names, "dtype", "allow_nan", "n_features_in", "by_category"]
    )
    assert list(forest.categories or {}) == list(loaded.categories or {})
    X = data.draw(rows_for(forest))
    for engine in ("native", "scipy"):
        one, other = forest.with_engine(engine), loaded.with_engine(engine)
        np.testing.assert_array_equal(one.predict(X), other.predict(X))
        np.testing.assert_array_equal(one.decision(X), other.decision(X))
        np.testing.assert_array_equal(one.apply(X), other.apply(X))


def test_what_a_network_knows_of_its_hidden_layer_comes_back():
    layers = random_network([4, 3, 3, 2], 0.8, ["relu"] * 3, seed=0).layers
    constants = [np.nan, 0.5, np.nan, np.nan, -1.0]
    network = Network(layers, n_hidden=1, hidden_constants=constants)
    X = np.random.default_rng(0).normal(size=(5, 4))
    loaded = there_and_back(network)
    assert loaded.transform(X).shape == (5, 5)
    np.testing.assert_array_equal(loaded.transform(X), network.transform(X))


def test_what_stands_in_for_missing_values_comes_back():
    layers = random_network([3, 2], 1.0, ["relu"], seed=0).layers
    network = Network(layers, fill=[0.5, -1.0, 2.0])
    loaded = there_and_back(network)
    assert_same_arrays(network, loaded, ["fill"])
    X = np.array([[np.nan, 1, np.nan], [1, np.nan, 2]])
    np.testing.assert_array_equal(loaded.predict(X), network.predict(X))


def test_numbers_take_two_bytes_where_they_fit():
    wide = np.zeros((2, 70_000), dtype=np.float32)
    wide[0, [3, 69_999]] = 1
    _, tensors = pack(Network([Layer(csr_array(wide), np.zeros(2, np.float32))]))
    assert tensors["0.columns"].dtype == np.uint32
    assert tensors["0.counts"].dtype == np.uint16
    _, tensors = pack(Network([Layer(csr_array(wide[:, :50_000]), np.zeros(2, np.float32))]))
    assert tensors["0.columns"].dtype == np.uint16


def test_thresholds_and_values_take_four_bytes_where_nothing_is_lost():
    nodes = {"feature": [0, -2, -2], "left": [1, -1, -1], "right": [2, -1, -1]}
    common = {**nodes, "missing_go_to_left": [0, 0, 0], "n_features_in": 1}
    for threshold, dtype in ((0.5, np.float32), (0.1, np.float64), (np.inf, np.float32)):
        tree = Tree(threshold=[threshold, 0, 0], value=[[0.3], [0.25], [1.0]], **common)
        _, tensors = pack(tree)
        assert tensors["threshold"].dtype == dtype
        assert tensors["value"].dtype == np.float32  # the 0.3 of a split is no answer
        assert there_and_back(tree).threshold[0] == threshold


def test_float16_rounds_weights_and_drops_those_that_become_zero():
    weight = np.float32([[1.0001, 1e-9, 0.0], [0.1, 0.0, 60_000.0]])
    network = Network([Layer(csr_array(weight), np.float32([0.1, 0.2]), "relu")])
    header, tensors = pack(network, "float16")
    assert tensors["0.values"].dtype == np.float16
    np.testing.assert_array_equal(tensors["0.counts"], [1, 2])
    loaded = unpack(header, dict(tensors), "auto").layers[0]
    expected = weight.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(loaded.weight.toarray(), expected)
    np.testing.assert_array_equal(loaded.bias, network.layers[0].bias)


def test_what_float16_cannot_hold_is_refused():
    network = Network([Layer(csr_array(np.float32([[7e4]])), np.float32([0]), name="fc1")])
    with pytest.raises(ValueError, match=r"weights of fc1.*70000; use dtype='float32'"):
        pack(network, "float16")


@pytest.mark.parametrize(("dtype", "model"), [("float64", "net"), ("float16", "tree"), (16, "net")])
def test_an_unknown_dtype_is_refused(dtype, model):
    tree = Tree([-2], [0], [-1], [-1], [[1.0]], [0], 3)
    net = Network([Layer(csr_array(np.float32([[1]])), np.float32([0]))])
    with pytest.raises(ValueError, match=f"dtype must be.*{dtype!r}"):
        pack({"net": net, "tree": tree}[model], dtype)


def test_another_model_is_refused():
    with pytest.raises(TypeError, match="this is a dict"):
        pack({})


def test_the_same_model_makes_the_same_bytes():
    network = random_network([9, 8, 3], 0.5, ["relu", "softmax"], seed=0)
    assert to_bytes(*pack(network)) == to_bytes(*pack(there_and_back(network)))


def test_a_header_that_would_be_too_long_is_refused_when_written():
    with pytest.raises(ValueError, match="too many parts"):
        to_bytes({"x": "x" * MAX_HEADER}, {})


# -- bad files: (what to do to header and tensors, what the error says) ---------------------------


def _net():
    first = Layer(
        csr_array(np.float32([[1, 0, 2], [0, 3, 0]])), np.float32([0, 1]), "elu", 0.5, "a"
    )
    return Network([first, Layer(csr_array(np.float32([[1, 1]])), np.float32([0]))])


def _tree():
    nodes = ([0, -2, 1, -2, -2], [0.5, 0, 0.5, 0, 0], [1, -1, 3, -1, -1], [2, -1, 4, -1, -1])
    return Tree(*nodes, [[1.0]] * 5, [1, 0, 0, 0, 0], 2)


def _forest(**options):
    nodes = ([0, -2, -2, -2], [0.5, 0, 0, 0], [1, -1, -1, -1], [2, -1, -1, -1])
    common = {"dtype": "float64", "categories": {0: [1.0, 2.0]}, "by_category": [1, 0, 0, 0]}
    sets = np.full((4, 1), 2, dtype=np.uint32)
    return Forest(
        *nodes, [[1.0, 2.0]] * 4, [0] * 4, [0, 3, 4], 2, **common, left_categories=sets, **options
    )


def set_header(**values):
    return lambda header, tensors: header.update(values)


def set_layer(**values):
    return lambda header, tensors: header["layers"][0].update(values)


def set_tensor(name, values, dtype):
    return lambda header, tensors: tensors.update({name: np.array(values, dtype=dtype)})


def drop(name):
    return lambda header, tensors: tensors.pop(name)


U16, U32, F32 = np.uint16, np.uint32, np.float32

BAD = [
    (_net, set_header(kind="module"), "model.kind must be one of 'network', 'tree', 'forest'"),
    (_net, set_header(kind=["network"]), "model.kind must be one of"),
    (_net, lambda header, tensors: header.pop("kind"), "model.kind must be one of"),
    (_net, set_header(kind="tree"), "model lacks"),
    (_net, set_header(odd=1), r"model has unknown keys, \['odd'\]"),
    (_net, lambda header, tensors: header.pop("n_hidden"), r"model lacks \['n_hidden'\]"),
    (_net, set_header(n_features_in=0), "n_features_in must be a whole number in 1-"),
    (_net, set_header(n_features_in=2**27), "n_features_in must be a whole number in 1-"),
    (_net, set_header(n_features_in=True), "n_features_in must be a whole number"),
    (_net, set_header(n_features_in=3.0), "n_features_in must be a whole number"),
    (_net, set_header(n_features_in=10**400), "it is a number of 1329 bits"),
    (_net, set_header(n_features_in=2), "'0.columns' must stay below 2"),
    (_net, set_header(n_hidden=-1), "n_hidden must be a whole number from 0"),
    (_net, set_header(n_hidden=3), "n_hidden must be an integer in"),
    (_net, set_header(layers=[]), "layers must hold at least one"),
    (_net, set_header(layers={}), "layers must be a list"),
    (_net, set_header(layers=[1, 2]), r"layers\[0\] must be an object, but it is 1"),
    (_net, set_layer(activation="step"), r"layers\[0\].activation must be one of 'identity'"),
    (_net, set_layer(activation=None), r"layers\[0\].activation must be one of 'identity'"),
    (_net, set_layer(alpha=float("nan")), r"layers\[0\].alpha must be a finite number"),
    (_net, set_layer(alpha=10**400), r"layers\[0\].alpha must be a finite number"),
    (_net, set_layer(alpha=None), r"layers\[0\].alpha must be a finite number"),
    (_net, set_layer(name=1), r"layers\[0\].name must be a string"),
    (_net, set_layer(bias=1), r"layers\[0\] has unknown keys"),
    (_net, drop("0.bias"), "tensor '0.bias' is missing"),
    (_net, drop("1.counts"), "tensor '1.counts' is missing"),
    (_net, set_tensor("0.bias", [0, 1], np.float64), "'0.bias' must have 1.*float32.*float64"),
    (_net, set_tensor("0.bias", [[0, 1]], F32), "'0.bias' must have 1 dimension.*has 2"),
    (_net, set_tensor("0.bias", [0, np.inf], F32), "bias contains NaN"),
    (_net, set_tensor("0.bias", [0], F32), "'0.counts' must have 1 entries, one per unit"),
    (_net, set_tensor("1.bias", [], F32), "'1.counts' must have 0 entries"),
    (_net, set_tensor("0.counts", [2, 2], U16), "'0.columns' must have 4 entries"),
    (_net, set_tensor("0.counts", [2**32 - 1] * 2, U32), "'0.columns' must have 8589934590"),
    (_net, set_tensor("0.counts", [2, 1], np.int64), "'0.counts' must.*uint16 or uint32"),
    (_net, set_tensor("0.columns", [0, 3, 1], U16), "'0.columns' must stay below 3"),
    (_net, set_tensor("0.columns", [2, 0, 1], U16), "'0.columns' must grow within each unit"),
    (_net, set_tensor("0.columns", [1, 1, 1], U16), "'0.columns' must grow within each unit"),
    (_net, set_tensor("0.values", [1, 2], F32), "'0.values' must have 3 entries"),
    (_net, set_tensor("0.values", [1, np.nan, 2], F32), r"layers\[0\] \(a\).weight contains NaN"),
    (_net, set_tensor("hidden_constants", [1.0], F32), "hidden_constants must be"),
    (_net, set_tensor("fill", [1.0, 2.0], F32), "fill"),
    (_net, set_tensor("fill", [1.0, 2.0, np.nan], F32), "fill"),
    (_net, set_tensor("fill", [1, 2, 3], U16), "'fill' must have 1 dimension.*float32"),
    (_tree, set_header(allow_nan=1), "allow_nan must be true or false"),
    (_tree, set_header(n_features_in=1), r"feature must lie in \[0, 1\)"),
    (_tree, set_tensor("left", [1, 0, 0, 0, 0], U16), "'value' must have 4 entries, one per leaf"),
    (_tree, set_tensor("left", [1, 0, 1, 0, 0], U16), "node 1 is reached twice"),
    (_tree, set_tensor("left", [1, 0, 9, 0, 0], U16), r"lie in \[0, 5\)"),
    (_tree, set_tensor("left", [2, 0, 2, 0, 0], U16), "reached twice"),
    (_tree, set_tensor("right", [2, 0], U16), "node 0 is reached twice"),
    (_tree, set_tensor("right", [2], U16), "'right' must have 2 entries, one per split"),
    (_tree, set_tensor("threshold", [0, np.nan], F32), "threshold must not be NaN"),
    (_tree, set_tensor("value", [[1]] * 4, F32), "'value' must have 3 entries, one per leaf"),
    (_tree, set_tensor("value", [1, 1, 1], F32), "'value' must have 2 dimension"),
    (_tree, set_tensor("value", [[np.nan]] * 3, F32), "tensor 'value' must be finite"),
    (_tree, set_tensor("missing_go_to_left", [1, 2], np.uint8), "must hold 0 and 1"),
    (_forest, set_header(link="os.system"), "link must be one of 'identity'"),
    (_forest, set_header(link="sigmoid"), "takes one sum"),
    (_forest, set_header(divisor=0.0), "divisor must be a finite number other than 0"),
    (_forest, set_header(divisor="1"), "divisor must be a finite number"),
    (_forest, set_header(dtype="float16"), "dtype must be one of"),
    (_forest, set_header(dtype="float32"), "allow_infinity=True needs dtype='float64'"),
    (_forest, set_header(dtype="float32", allow_infinity=False), "with dtype='float64'"),
    (_forest, set_tensor("value", [[np.inf] * 2] * 3, np.float64), "tensor 'value' must be finite"),
    (_forest, set_header(allow_infinity=1), "allow_infinity must be true or false"),
    (_forest, set_tensor("tree_sizes", [3, 2], U16), "tree_starts must grow"),
    (_forest, set_tensor("tree_sizes", [0, 4], U16), "tree_starts must grow"),
    (_forest, set_tensor("tree_sizes", [1] * 9, U16), "too few for 9 tree"),
    (_forest, set_tensor("groups", [3], U16), "groups must be positive and add up"),
    (_forest, set_tensor("groups", [0, 2], U16), "groups must be positive and add up"),
    (_forest, set_tensor("base", [0, np.inf], F32), "'base' must be finite"),
    (_forest, set_tensor("base", [0], F32), "base must have 2 entries"),
    (_forest, set_tensor("outputs", [0, 2**31], U32), "value must have one column"),
    (_forest, set_tensor("categories.columns", [1], U16), "categories must have those of column 0"),
    (_forest, set_tensor("categories.columns", [9], U16), r"must name columns in \[0, 2\)"),
    (_forest, set_tensor("categories.columns", [0, 0], U16), "'categories.counts' must have 2"),
    (_forest, set_tensor("categories.counts", [3], U16), "'categories.values' must have 3"),
    (_forest, set_tensor("categories.values", [2, 2], F32), r"categories\[0\] must grow"),
    (_forest, drop("categories.counts"), "'categories.counts' is missing"),
    (_forest, drop("left_categories"), "'left_categories' is missing"),
    (_forest, set_tensor("left_categories", [[1]], U32), r"must have shape \(4, n_words\)"),
    (_forest, set_tensor("left_categories", np.zeros((4, 0)), U32), "must have shape"),
    (_forest, set_tensor("by_category", [3, 0, 0, 0], np.uint8), "by_category must hold booleans"),
]


@pytest.mark.parametrize(("model", "damage", "message"), BAD)
def test_a_bad_model_is_refused(model, damage, message):
    header, tensors = pack(model())
    header = json.loads(json.dumps(header))
    damage(header, tensors)
    with pytest.raises(ValueError, match=message) as caught:
        unpack(header, tensors)
    assert len(str(caught.value)) < 400


def test_what_is_sound_is_not_refused():
    for model in (_net(), _tree(), _forest()):
        there_and_back(model)


def test_two_categories_of_one_column_are_refused():
    forest = _forest()
    header, tensors = pack(forest)
    tensors["categories.columns"] = np.array([0, 0], dtype=U16)
    tensors["categories.counts"] = np.array([1, 1], dtype=U16)
    with pytest.raises(FileFormatError, match=r"categories.columns' must grow"):
        unpack(header, tensors)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"", "ends beyond its end|no JSON"),
        (b"[" * 2000, "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"1" * 5000, "no JSON"),
        (b"[]", "does not tell of a model"),
        (b"{}", "does not tell of a model"),
        (b'{"__metadata__": 1}', "does not tell of a model"),
        (b'{"__metadata__": {"format": "pt"}}', "no file of skprune.save"),
        (b'{"__metadata__": {"skprune": 1}}', "does not tell of a model"),
        (b'{"__metadata__": {"skprune": "1"}}', "header must be an object"),
        (b'{"__metadata__": {"skprune": "{"}}', "no JSON"),
    ],
)
def test_a_bad_header_is_refused(header, message):
    with pytest.raises(FileFormatError, match=message):
        read_header(len(header).to_bytes(8, "little") + header)


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\xff" * 8, b"\x01" + b"\0" * 7])
def test_what_is_shorter_than_its_header_is_refused(data):
    with pytest.raises(FileFormatError, match=r"ends beyond its end|no JSON"):
        read_header(data)


def test_a_header_that_is_too_long_is_not_parsed():
    text = b" " * (MAX_HEADER + 1)
    with pytest.raises(FileFormatError, match=f"at most {MAX_HEADER} bytes"):
        read_header(len(text).to_bytes(8, "little") + text)


def _container(entries, body):
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + body


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}, "no safetensors file"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}, "no safetensors file"),
        ({"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 8]}, "no safetensors file"),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 8]}, "no safetensors file"),
        ({"dtype": "object", "shape": [1], "data_offsets": [0, 8]}, "no safetensors file"),
        ({"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}, "unknown dtype BF16"),
        ({"dtype": "BOOL", "shape": [8], "data_offsets": [0, 8]}, "unknown dtype BOOL"),
        ({"dtype": "F32", "shape": [1, 1, 2], "data_offsets": [0, 8]}, "1 or 2 dimensions"),
    ],
)
def test_a_bad_tensor_is_refused(entry, message):
    with pytest.raises(FileFormatError, match=message):
        read_tensors(_container({"x": entry}, b"\0" * 8))
