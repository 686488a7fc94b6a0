"""The network kernels against the reference path, float64 and torch; plans; what is refused."""

import copy
import pickle
import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix
from scipy.special import log_softmax

from skprune.engine import ACTIVATIONS, Forest, Layer, Network, Tree, isa, planning
from skprune.engine.costs import COSTS, ORIGINS
from skprune.engine.planning import KERNELS, WIDTHS, cost_of_copy
from tests.engine.cases import LAYOUTS, batches, networks, oracle, random_network

RELUS = ["relu"] * 9 + ["identity"]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_equals_reference_and_float64(data):
    network = data.draw(networks())
    X = data.draw(batches(network.n_features_in))
    X = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))](X)
    scipy = network.with_engine("scipy")
    for method, depth in (("predict", None), ("transform", len(network.layers) - 1)):
        got = getattr(network, method)(X)
        expected = oracle(network, X, depth)
        assert got.dtype == np.float32
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(getattr(scipy, method)(X), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 8, 31, 70])
def test_memory_layout_does_not_matter(layout, n_rows, engine):
    network = random_network([21, 13, 5], 0.3, RELUS, seed=0, engine=engine)
    X = np.random.default_rng(1).normal(size=(n_rows, 21)).astype(np.float32)
    laid_out = LAYOUTS[layout](X)
    before = laid_out.copy()
    # The scipy path hands BLAS and scipy other strides, and they may add in another order.
    tolerance = 0 if engine == "native" else 1e-6
    np.testing.assert_allclose(network.predict(laid_out), network.predict(X), tolerance, tolerance)
    np.testing.assert_array_equal(laid_out, before)


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize(
    "X",
    [
        [[1, 2, 3], [4, 5, 6]],
        np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int8),
        np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint64),
        np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float16),
        np.array([[1, 2, 3], [4, 5, 6]], dtype=np.longdouble),
        memoryview(np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)),
    ],
    ids=["list", "int8", "uint64", "float16", "longdouble", "memoryview"],
)
def test_numbers_of_any_type(X, engine):
    network = random_network([3, 2], 1.0, ["identity"], seed=0, engine=engine)
    expected = network.predict(np.float32([[1, 2, 3], [4, 5, 6]]))
    np.testing.assert_array_equal(network.predict(X), expected)


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n_rows", [1, 40])
def test_activations_are_accurate_everywhere(activation, n_rows, engine):
    # From denormal to huge, both signs; one unit an input shows the activation bare.
    sizes = np.concatenate([np.geomspace(1e-40, 1e-3, 200), np.linspace(1e-3, 30, 900), [88, 1e4]])
    z = np.concatenate([-sizes, [0.0], sizes]).astype(np.float32)
    n = len(z)
    eye = csr_array((np.ones(n), (range(n), range(n))), shape=(n, n), dtype=np.float32)
    network = Network([Layer(eye, np.zeros(n), activation, 0.7)], engine)
    got = network.predict(np.tile(z, (n_rows, 1)))
    expected = oracle(network, z[None])
    # Relative where the value is away from zero; a GELU's far tail is zero for every purpose.
    np.testing.assert_allclose(got, np.tile(expected, (n_rows, 1)), rtol=1e-6, atol=2e-7)


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("n_rows", [1, 9])
@pytest.mark.parametrize("activation", ["tanh", "elu", "sigmoid"])
def test_small_values_keep_their_relative_accuracy(activation, n_rows, engine):
    z = np.concatenate([-np.geomspace(1e-30, 80, 500), np.geomspace(1e-30, 8, 500)])
    if activation == "sigmoid":
        z = -np.geomspace(1e-3, 80, 1000)  # the tail; it is 1/2 near zero
    z = z.astype(np.float32)
    eye = csr_array(np.eye(len(z), dtype=np.float32))
    network = Network([Layer(eye, np.zeros(len(z)), activation, 1.0)], engine)
    got = network.predict(np.tile(z, (n_rows, 1)))
    np.testing.assert_allclose(got, np.tile(oracle(network, z[None]), (n_rows, 1)), rtol=1e-6)


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("n_rows", [1, 5])
@pytest.mark.parametrize("shift", [-1e30, -1e4, 0.0, 1e4, 1e30])
def test_softmax_survives_extreme_logits(n_rows, shift, engine):
    logits = np.float32([0.0, 1.0, -3.0, 7.0, -200.0]) + np.float32(shift)
    weight = csr_array((5, 1), dtype=np.float32)
    X = np.zeros((n_rows, 1))
    expected = log_softmax(logits.astype(np.float64))
    got = Network([Layer(weight, logits, "softmax")], engine).predict(X)
    np.testing.assert_allclose(got, np.tile(np.exp(expected), (n_rows, 1)), rtol=1e-5, atol=1e-30)
    got = Network([Layer(weight, logits, "log_softmax")], engine).predict(X)
    np.testing.assert_allclose(got, np.tile(expected, (n_rows, 1)), rtol=1e-5, atol=1e-6)


def test_activations_agree_with_torch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    functional = torch.nn.functional
    z = np.linspace(-12, 12, 4001, dtype=np.float32)
    eye = csr_array((np.ones(1, np.float32), ([0], [0])), shape=(1, 1))
    t = torch.from_numpy(z)
    in_torch = {
        "relu": functional.relu(t),
        "leaky_relu": functional.leaky_relu(t, 0.2),
        "elu": functional.elu(t, 0.2),
        "gelu": functional.gelu(t),
        "gelu_tanh": functional.gelu(t, approximate="tanh"),
        "tanh": torch.tanh(t),
        "sigmoid": torch.sigmoid(t),
    }
    for activation, expected in in_torch.items():
        network = Network([Layer(eye, np.zeros(1), activation, 0.2)], "native")
        got = network.predict(z[:, None])[:, 0]
        np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=1e-6, err_msg=activation)


@pytest.mark.parametrize("density", [0.05, 0.9])
def test_the_result_does_not_depend_on_threads_or_batch(density):
    network = random_network([50, 40, 7], density, ["gelu", "softmax"], seed=3)
    X = np.random.default_rng(0).normal(size=(1000, 50)).astype(np.float32)
    expected = network.predict(X)
    for n_jobs in (None, 2, 3, 8, -1, -2):
        np.testing.assert_array_equal(network.predict(X, n_jobs=n_jobs), expected)
    # Every kernel adds in one order, so a row does not depend on the rows that it comes with.
    for n in range(1, 70):
        np.testing.assert_array_equal(network.predict(X[:n]), expected[:n])
    np.testing.assert_array_equal(network.transform(X, 2), network.transform(X))


def test_threads_may_share_a_network():
    network = random_network([64, 128, 10], 0.2, RELUS, seed=4)
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(n, 64)).astype(np.float32) for n in (1, 2, 3, 40, 1, 200) * 20]
    expected = [network.predict(X) for X in inputs]
    with ThreadPoolExecutor(8) as pool:
        for got, want in zip(pool.map(network.predict, inputs), expected, strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("n_rows", [1, 2, 3, 33])
def test_layers_that_are_odd(n_rows):
    rng = np.random.default_rng(0)

    def layer(weight, activation="identity"):
        bias = rng.normal(size=weight.shape[0]).astype(np.float32)
        return Layer(csr_array(weight.astype(np.float32)), bias, activation)

    one_full_row = np.zeros((30, 40))
    one_full_row[3] = rng.normal(size=40)
    one_full_column = np.zeros((9, 30))
    one_full_column[:, 4] = 1
    network = Network(
        [
            layer(one_full_row, "relu"),
            layer(one_full_column, "softmax"),
            layer(np.zeros((1, 9)), "tanh"),
            layer(np.ones((17, 1)), "elu"),
        ],
        "native",
    )
    X = rng.normal(size=(n_rows, 40)).astype(np.float32)
    np.testing.assert_allclose(network.predict(X), oracle(network, X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_rows", [1, 3])
def test_more_outputs_than_short_indices_hold(n_rows):
    n = 70_001
    w = csr_array((np.arange(1, n + 1, dtype=np.float32), (range(n), [1] * n)), shape=(n, 2))
    wide = Layer(w, np.full(n, 0.5), "identity")
    back = Layer(csr_array(([1.0], ([0], [n - 1])), shape=(1, n), dtype=np.float32), np.zeros(1))
    X = np.tile(np.float32([9, 2]), (n_rows, 1))
    native = Network([wide], "native")
    np.testing.assert_array_equal(native.predict(X)[-1], 2 * np.arange(1, n + 1) + 0.5)
    assert Network([wide, back], "native").predict(X)[-1, 0] == 2 * n + 0.5


@pytest.mark.parametrize("n_rows", [1, 5])
def test_thousands_of_layers(n_rows):
    layers = [Layer(csr_array(np.eye(3, dtype=np.float32)), np.float32([1, 0, -1]))] * 3000
    got = Network(layers, "native").predict(np.zeros((n_rows, 3)))
    np.testing.assert_array_equal(got, np.tile([3000, 0, -3000], (n_rows, 1)))


@pytest.mark.parametrize("engine", ["native", "scipy"])
def test_transform_of_one_layer_is_a_float32_copy(engine):
    network = random_network([3, 2], 1.0, ["identity"], seed=0, engine=engine)
    for n_rows in (1, 40):
        X = np.random.default_rng(0).normal(size=(n_rows, 3)).astype(np.float32)
        H = network.transform(X)
        np.testing.assert_array_equal(H, X)
        assert not np.shares_memory(H, X)


@pytest.mark.parametrize("engine", ["auto", "native", "scipy"])
def test_copies_and_pickles_predict_the_same(engine):
    network = random_network([6, 5, 4], 0.5, ["elu", "softmax"], seed=0).with_engine(engine)
    X = np.random.default_rng(0).normal(size=(7, 6))
    for twin in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        assert twin.engine == network.engine
        assert twin.explain() == network.explain()
        np.testing.assert_array_equal(twin.predict(X), network.predict(X))


def test_the_network_does_not_change_with_its_sources():
    weight, bias = csr_array(np.float32([[1, 2]])), np.float32([0])
    network = Network([Layer(weight, bias)])
    weight.data[:] = 7
    bias[:] = 7
    assert network.predict([[1, 1]]) == [[3]]
    assert network.with_engine("scipy").predict([[1, 1]]) == [[3]]
    with pytest.raises(ValueError, match="read-only"):
        network.layers[0].bias[0] = 1


def test_weights_are_made_canonical():
    # Unsorted, one entry twice, one stored zero.
    w = csr_array((np.float32([1, 2, 3, 0]), [2, 0, 2, 1], [0, 4]), shape=(1, 3))
    network = Network([Layer(w, np.zeros(1))])
    assert network.layers[0].weight.nnz == 2
    assert network.predict([[1, 10, 100]]) == [[402]]


def _blocks(n_out, n_in, rows, columns, density, seed=0):
    """Weights whose non-zeros come in blocks of so many rows and columns."""
    rng = np.random.default_rng(seed)
    kept = rng.random((-(-n_out // rows), -(-n_in // columns))) < density
    mask = np.kron(kept, np.ones((rows, columns)))[:n_out, :n_in]
    scale = 1 / np.sqrt(max(1, mask.sum() / n_out))
    return csr_array(np.where(mask, rng.normal(0, scale, mask.shape), 0).astype(np.float32))


def test_explain_tells_what_runs():
    rng = np.random.default_rng(0)
    layers = [
        Layer(_blocks(128, 96, 1, 1, 0.02), np.zeros(128), "relu", name="first"),
        Layer(csr_array(rng.normal(size=(96, 128)).astype(np.float32)), np.zeros(96), "elu", 0.5),
        Layer(_blocks(64, 96, 8, 1, 0.1), np.zeros(64), name="last"),
    ]
    text = Network(layers, "native").explain()
    head, titles, first, second, last, origin = text.splitlines()
    assert origin == f"expected gains: costs of {isa()}, {ORIGINS[isa()]}"
    assert head.startswith("engine native")
    assert "96 -> 64" in head
    assert titles.split()[:4] == ["layer", "shape", "non-zeros", "sparsity"]
    words = [" ".join(line.split()) for line in (first, second, last)]
    assert re.match(r"first 128 x 96 \d+ 9\d\.\d% sparse row \(\d+\.\dx\) sparse tile", words[0])
    assert words[1].startswith("layer 1 96 x 128 12288 0.0% dense row (1.0x)")
    assert "blocks" not in words[1]
    assert words[1].endswith("elu(0.5)")
    assert "8x1 blocks tile of" in words[2]
    alone = Network(layers, "native").explain(n_rows=1)
    assert "1 row " in alone
    assert "tile" not in alone
    assert "row (" not in Network(layers, "native").explain(n_rows=64)
    assert Network(layers, "scipy").explain().count("scipy CSR") == 3


@pytest.mark.parametrize("n_rows", [1, 17, 33, 100])
def test_explain_tells_of_the_tiles_that_take_the_rows(n_rows):
    network = random_network([784, 300, 10], 0.05, RELUS, seed=0)
    tiles = network.plan.widths(n_rows)
    assert n_rows <= sum(tiles) < n_rows + 64
    rows_of = {width: width * tiles.count(width) for width in tiles}
    most = max(rows_of, key=lambda width: (rows_of[width], width))
    titles, first = network.explain(n_rows).splitlines()[1:3]
    assert f"{n_rows} row" in titles
    assert f"{'row' if most == 1 else f'tile of {most}'} (" in first
    if n_rows > 1:
        assert most > 1
    if isa() == "avx2":  # each set of instructions has costs of its own
        assert {1: [1], 17: [1, 16], 33: [1, 16, 16], 100: [8, *[16] * 6]}[n_rows] == sorted(tiles)


@pytest.mark.parametrize("n_rows", [0, -5, 2.5, "a", True])
def test_explain_wants_a_number_of_rows(n_rows):
    leaf = ([-2], [0], [-1], [-1], [[4.0]], [0])
    network = random_network([3, 2], 1.0, ["identity"], seed=0)
    for model in (network, Tree(*leaf, 1), Forest(*leaf, [0, 1], 1)):
        with pytest.raises(ValueError, match="n_rows must be None or an integer from 1"):
            model.explain(n_rows)


def test_the_plan_counts_the_inputs_that_are_read():
    rng = np.random.default_rng(0)
    weight = np.zeros((300, 784), np.float32)
    weight[:, rng.permutation(784)[:250]] = rng.normal(size=(300, 250))
    plan = Network([Layer(csr_array(weight), np.zeros(300))], "native").plan
    full = Network([Layer(csr_array(weight[:, weight.any(axis=0)]), np.zeros(300))], "native").plan
    assert plan.layers[0].kernels == full.layers[0].kernels
    assert plan.layers[0].kernels[0] == "dense"


def test_a_sum_of_nothing_is_no_negative_zero():
    network = Network([Layer(csr_array((2, 3), dtype=np.float32), np.float32([-0.0, 0]))])
    for n_rows in (1, 3, 40):
        assert not np.signbit(network.predict(np.zeros((n_rows, 3)))).any()


@pytest.mark.parametrize("n_rows", [1, 2, 8, 17, 64, 100])
@pytest.mark.parametrize("block", [(8, 1), (4, 1), (3, 5), (5, 2), (16, 4), (1, 8), (2, 2)])
@pytest.mark.parametrize("density", [0.05, 0.3])
def test_blocks_of_any_shape(block, density, n_rows):
    first = Layer(_blocks(67, 90, *block, density), np.linspace(-1, 1, 67), "relu")
    last = Layer(_blocks(41, 67, *block, density, seed=1), np.linspace(-1, 1, 41), "gelu")
    network = Network([first, last], "native")
    X = np.random.default_rng(0).normal(size=(n_rows, 90)).astype(np.float32)
    np.testing.assert_allclose(network.predict(X), oracle(network, X), rtol=1e-5, atol=1e-5)


def test_rows_take_the_blocks_way_where_there_are_blocks():
    network = Network([Layer(_blocks(256, 256, 8, 1, 0.1), np.zeros(256))], "native")
    assert "blocks" in network.plan.layers[0].kernels
    assert network.plan.layers[0].height == 8
    quads = Network([Layer(_blocks(256, 256, 4, 4, 0.1), np.zeros(256))], "native")
    assert quads.plan.layers[0].height == 4
    alone = Network([Layer(_blocks(256, 256, 1, 4, 0.1), np.zeros(256))], "native")
    assert alone.plan.layers[0].height == 0


def _csr(data, indices, indptr, shape):
    """A csr_array with arrays that scipy's constructor would refuse, or should."""
    w = csr_array(shape, dtype=np.float32)
    w.data, w.indices, w.indptr = np.float32(data), np.array(indices), np.array(indptr)
    return w


GOOD = csr_array(np.float32([[1, 2], [0, 3]]))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "at least one Layer"),
        (["fc"], r"layers\[0\] must be a Layer"),
        ([Layer(GOOD.toarray(), np.zeros(2))], "csr_array"),
        ([Layer(csc_array(GOOD), np.zeros(2))], "csr_array"),
        ([Layer(GOOD, np.zeros(3))], r"bias must have shape \(2,\)"),
        ([Layer(GOOD, np.zeros((2, 1)))], r"bias must have shape \(2,\)"),
        ([Layer(GOOD, np.array(["a", "b"]))], "bias must be numeric"),
        ([Layer(GOOD, np.array([np.nan, 0]))], "bias contains NaN"),
        ([Layer(GOOD, np.array([1e39, 0]))], "too large for float32"),
        ([Layer(GOOD * np.float32(np.inf), np.zeros(2))], "weight contains NaN"),
        ([Layer(GOOD, np.zeros(2), "swish")], "activation must be one of.*'swish'"),
        ([Layer(GOOD, np.zeros(2), "elu", np.nan)], "alpha must be finite"),
        ([Layer(GOOD, np.zeros(2), "elu", "1")], "alpha must be finite"),
        ([Layer(GOOD, np.zeros(2), name=3)], "name must be a string"),
        ([Layer(_csr([3e38, 3e38], [0, 0], [0, 2, 2], (2, 2)), np.zeros(2))], "duplicates summed"),
        ([Layer(_csr([1, 1], [0.0, 1.0], [0, 1, 2], (2, 2)), np.zeros(2))], "signed integers"),
        ([Layer(_csr([1, 1], [[0], [1]], [0, 1, 2], (2, 2)), np.zeros(2))], "vectors"),
        ([Layer(GOOD, np.zeros(2)), Layer(csr_array((1, 3)), np.zeros(1))], "reads 3 inputs"),
        ([Layer(csr_array((0, 2)), np.zeros(0))], "rows and columns"),
        ([Layer(csr_array((2, 2**27)), np.zeros(2))], "rows and columns"),
        ([Layer(_csr([1, 1], [0, 2], [0, 1, 2], (2, 2)), np.zeros(2))], r"lie in \[0, 2\)"),
        ([Layer(_csr([1, 1], [0, -1], [0, 1, 2], (2, 2)), np.zeros(2))], r"lie in \[0, 2\)"),
        ([Layer(_csr([1, 1], [0, 1], [0, 2, 1], (2, 2)), np.zeros(2))], "never fall"),
        ([Layer(_csr([1, 1], [0, 1], [1, 1, 2], (2, 2)), np.zeros(2))], "start at 0"),
        ([Layer(_csr([1, 1], [0, 1], [0, 1], (2, 2)), np.zeros(2))], "3 entries"),
        ([Layer(_csr([1, 1], [0, 1], [0, 1, 9], (2, 2)), np.zeros(2))], "beyond the end"),
    ],
)
def test_bad_layers_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        Network(layers)


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match=r"engine must be one of.*'cuda'"):
        Network([Layer(GOOD, np.zeros(2))], engine="cuda")


def test_the_error_names_the_layer():
    with pytest.raises(ValueError, match=r"layers\[1\] \(head\)\.bias"):
        Network([Layer(GOOD, np.zeros(2)), Layer(GOOD, np.zeros(1), name="head")])


def _with_gaps(X, seed=0, share=0.6):
    X = X.copy()
    X[np.random.default_rng(seed).random(X.shape) < share] = 0
    return X


SPARSE = {
    "csr": csr_array,
    "csr of int64 indices": lambda X: _long_indices(csr_array(X)),
    "csr_matrix": csr_matrix,
    "float64": lambda X: csr_array(X.astype(np.float64)),
    "csc": csc_array,
    "coo": coo_array,
    "unsorted": lambda X: csr_array(X)[:, ::-1][:, ::-1],
}


def _long_indices(X):
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("kind", SPARSE)
@pytest.mark.parametrize("n_rows", [0, 1, 2, 8, 17, 70, 300])
def test_sparse_rows_predict_what_dense_ones_do(n_rows, kind, engine):
    network = random_network([60, 40, 3], 0.2, RELUS, seed=0, engine=engine)
    X = _with_gaps(np.random.default_rng(1).normal(size=(n_rows, 60)).astype(np.float32))
    sparse = SPARSE[kind](X)
    before = sparse.copy()
    tolerance = 0 if engine == "native" else 1e-6
    for n_jobs in (1, 2):
        got = network.predict(sparse, n_jobs)
        np.testing.assert_allclose(got, network.predict(X), tolerance, tolerance)
    np.testing.assert_allclose(
        network.transform(sparse), network.transform(X), tolerance, tolerance
    )
    assert (sparse != before).nnz == 0


def test_entries_given_twice_are_added():
    X = csr_array((np.float32([1, 2, 4]), [1, 0, 1], [0, 3]), shape=(1, 2))
    network = Network([Layer(csr_array(np.float32([[1, 10]])), np.zeros(1))], "native")
    for n in (1, 5):
        np.testing.assert_array_equal(network.predict(_stack(X, n)), np.full((n, 1), 52.0))


def _stack(X, n):
    data, indices = np.tile(X.data, n), np.tile(X.indices, n)
    return csr_array((data, indices, np.arange(n + 1) * X.nnz), shape=(n, X.shape[1]))


@pytest.mark.parametrize("n_rows", [1, 30])
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("indices", 4, "valid sparse matrix"),
        ("indices", -1, "valid sparse matrix"),
        ("indptr", 10**6, "valid sparse matrix"),
        ("indptr", -3, "valid sparse matrix"),
        ("data", np.nan, "NaN, infinity"),
        ("data", np.inf, "NaN, infinity"),
    ],
)
def test_bad_sparse_rows_are_refused(name, value, error, n_rows):
    network = random_network([4, 3], 1.0, ["identity"], seed=0)
    X = csr_array(np.ones((n_rows, 4), np.float32))
    getattr(X, name)[-1 if name != "indptr" else n_rows] = value
    with pytest.raises(ValueError, match=error):
        network.predict(X)
    with pytest.raises(ValueError, match="4 columns"):
        network.predict(csr_array((2, 5)))
    with pytest.raises(ValueError, match="must be numeric"):
        network.predict(csr_array((2, 4), dtype=complex))


def test_a_huge_sparse_matrix_is_never_dense():
    n, width = 200_000, 100_000  # 80 GB, were it dense
    rng = np.random.default_rng(0)
    columns = rng.integers(0, width, n)
    X = csr_array((np.ones(n, np.float32), columns, np.arange(n + 1)), shape=(n, width))
    few = np.unique(columns)[:50]
    weight = csr_array((np.arange(1.0, 51.0), few, [0, 50]), shape=(1, width))
    got = Network([Layer(weight, np.zeros(1))], "native").predict(X, n_jobs=2)[:, 0]
    np.testing.assert_array_equal(got, (X @ weight.T).toarray()[:, 0])


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("n_rows", [1, 3, 8, 20, 64, 130])
@pytest.mark.parametrize("n_used", [0, 1, 7, 40])
def test_inputs_that_nobody_reads(n_used, n_rows, engine):
    rng = np.random.default_rng(0)
    weight = np.zeros((20, 101), np.float32)
    weight[:, rng.permutation(101)[:n_used]] = rng.normal(size=(20, n_used))
    network = Network([Layer(csr_array(weight), np.ones(20), "relu")], engine)
    X = rng.normal(size=(n_rows, 101)).astype(np.float32)
    for layout in ("C", "float64", "every second column"):
        got = network.predict(LAYOUTS[layout](X))
        np.testing.assert_allclose(got, oracle(network, X), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(network.predict(csr_array(X)), oracle(network, X), 1e-5, 1e-5)
    # what nobody reads is looked at all the same
    X[-1, np.flatnonzero(~weight.any(axis=0))[-1]] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        network.predict(X)


def test_a_large_declared_width_costs_no_memory():
    width = 2**27 - 1
    w = csr_array((np.float32([2, 3]), ([0, 1], [5, width - 1])), shape=(2, width))
    tracemalloc.start()
    network = Network([Layer(w, np.zeros(2))])
    X = csr_array((np.float32([7, 1]), ([0, 0], [width - 1, 5])), shape=(1, width))
    np.testing.assert_array_equal(network.predict(X), [[2, 21]])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("n_rows", [1, 3, 8, 20, 64, 130])
@pytest.mark.parametrize("density", [0.01, 0.5])
def test_fill_stands_in_for_nan(density, n_rows, engine):
    rng = np.random.default_rng(0)
    plain = random_network([45, 30, 2], density, RELUS, seed=0, engine=engine)
    fill = rng.normal(size=45).astype(np.float32)
    network = Network(plain.layers, engine, fill=fill)
    assert (plain.allow_nan, network.allow_nan) == (False, True)
    X = rng.normal(size=(n_rows, 45)).astype(np.float32)
    X[rng.random(X.shape) < 0.3] = np.nan
    filled = np.where(np.isnan(X), fill, X)
    for layout in ("C", "float64", "every second column", "Fortran"):
        for method in ("predict", "transform"):
            got = getattr(network, method)(LAYOUTS[layout](X))
            np.testing.assert_array_equal(got, getattr(plain, method)(LAYOUTS[layout](filled)))
    # in a sparse X what is not stored is zero, and no NaN
    holes = _with_gaps(X)
    np.testing.assert_allclose(
        network.predict(csr_array(holes)), network.predict(holes), rtol=1e-6, atol=1e-6
    )
    X[0, 0] = np.inf
    with pytest.raises(ValueError, match=r"X contains infinity"):
        network.predict(X)


def test_fill_is_kept_and_checked():
    fill = np.float32([1, 2, 3])
    network = Network(random_network([3, 2], 1.0, ["identity"], seed=0).layers, fill=fill)
    X = np.full((2, 3), np.nan)
    for twin in (pickle.loads(pickle.dumps(network)), network.with_engine("scipy")):
        np.testing.assert_allclose(twin.predict(X), network.predict(X), rtol=1e-6)
    for bad, message in (
        (np.zeros(2), r"fill must have shape \(3,\)"),
        ([1, 2, np.nan], "fill contains NaN"),
        (["a", "b", "c"], "fill must be numeric"),
    ):
        with pytest.raises(ValueError, match=message):
            Network(network.layers, fill=bad)


def test_transform_of_one_layer_fills_and_reads_sparse_rows():
    network = Network(random_network([3, 2], 1.0, ["relu"], seed=0).layers, fill=np.ones(3))
    np.testing.assert_array_equal(network.transform([[np.nan, 2, 3]]), [[1, 2, 3]])
    np.testing.assert_array_equal(network.transform(csr_array([[0.0, 2, 3]])), [[0, 2, 3]])


def test_a_memmap_is_read_in_place(tmp_path):
    X = np.random.default_rng(0).normal(size=(100, 12))
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", np.float64, "r", shape=X.shape)
    network = random_network([12, 5], 0.5, ["relu"], seed=0)
    np.testing.assert_array_equal(network.predict(mapped), network.predict(X))


def test_the_same_model_has_the_same_plan():
    def network():
        return random_network([784, 300, 100, 10], 0.05, RELUS, seed=0)

    assert network().explain() == network().explain()
    np.testing.assert_array_equal(network().plan.steps, network().plan.steps)


def test_the_steps_add_up_to_the_least_cost():
    network = random_network([300, 200, 10], 0.1, RELUS, seed=0)
    plan = network.plan
    cost = [
        sum(layer.nanoseconds[i] for layer in plan.layers) + cost_of_copy(isa(), width, 300)
        for i, width in enumerate(WIDTHS)
    ]
    least = [0.0]
    for n in range(1, 65):  # every way to cover n rows, by its first tile
        least.append(min(c + least[max(0, n - w)] for c, w in zip(cost, WIDTHS, strict=True)))
        step = plan.steps[n]
        assert cost[step] + least[max(0, n - WIDTHS[step])] == pytest.approx(least[n])


def _choose(kernel, width, monkeypatch):
    """Make one kernel and one tile free of charge."""
    chosen = {(k, w): (0.0 if (k, w) == (kernel, width) else 1.0,) * 4 for k, w in COSTS["avx2"]}
    monkeypatch.setattr(planning, "COSTS", {isa(): chosen})
    monkeypatch.setattr(
        planning, "COPY", {isa(): {w: (float(w != width), float(w != width)) for w in WIDTHS}}
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_in_every_tile(kernel, width, monkeypatch):
    """Also those that the plan would not choose here."""
    _choose(kernel, width, monkeypatch)
    first = Layer(_blocks(70, 50, 8, 1, 0.3), np.linspace(-1, 1, 70), "relu")
    last = Layer(_blocks(21, 70, 8, 1, 0.3, seed=1), np.linspace(-1, 1, 21), "tanh")
    network = Network([first, last], "native")
    assert set(network.plan.widths(64)) == {width}
    assert network.plan.layers[0].kernels[WIDTHS.index(width)] == kernel
    for n_rows in (1, 7, 33, 130):
        X = np.random.default_rng(0).normal(size=(n_rows, 50)).astype(np.float32)
        np.testing.assert_allclose(network.predict(X), oracle(network, X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_rows", [1, 20])
def test_more_inputs_than_short_indices_hold(n_rows):
    n = 70_001
    w = csr_array((np.ones(n, np.float32), np.arange(n), [0, n // 2, n]), shape=(2, n))
    X = np.random.default_rng(0).normal(size=(n_rows, n)).astype(np.float32)
    network = Network([Layer(w, np.zeros(2))], "native")
    np.testing.assert_allclose(network.predict(X), oracle(network, X), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("width", WIDTHS)
def test_infinite_units_reach_only_what_reads_them(width, monkeypatch):
    _choose("sparse", width, monkeypatch)
    # 1e38 overflows in the first layer; the second reads it in one output only
    first = csr_array(np.float32([[1e38, 1e38, 0, 0]] + [[0, 0, 1, 1]] * 9))
    second = np.zeros((12, 10), np.float32)
    second[0, 0] = 1
    second[1:, 1:] = np.tri(11, 9)
    network = Network([Layer(first, np.zeros(10)), Layer(csr_array(second), np.zeros(12))])
    for n_rows in (1, 5, 17, 64):
        X = np.full((n_rows, 4), 10, np.float32)
        got = network.predict(X)
        assert np.isinf(got[:, 0]).all()
        np.testing.assert_allclose(got[:, 1:], oracle(network, X)[:, 1:])


@pytest.mark.parametrize("n_hidden", [-1, 3, 1.5, "1"])
def test_n_hidden_counts_layers(n_hidden):
    layers = random_network([3, 2, 2], 1.0, RELUS, seed=0).layers
    with pytest.raises(ValueError, match=r"n_hidden must be an integer in \[0, 2\]"):
        Network(layers, n_hidden=n_hidden)


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize(
    ("data", "good"),
    [([3e38, 3e38], False), ([3e38, -1e38], True), ([1e39, 0.0], False), ([np.nan, 1.0], False)],
)
def test_of_entries_given_twice_the_sum_is_checked(data, good, engine):
    network = random_network([3, 2], 1.0, ["identity"], seed=0, engine=engine)
    for n in (1, 20):
        X = _stack(csr_array((data, [1, 1], [0, 2]), shape=(1, 3)), n)
        if good:
            np.testing.assert_allclose(network.predict(X), network.predict(X.toarray()), 1e-5)
            continue
        with pytest.raises(ValueError, match="NaN, infinity"):
            network.predict(X)
