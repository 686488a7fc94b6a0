"""Random networks, trees and matrices for the tests of the engine, and oracles in float64."""

import numpy as np
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.special import erf, log_softmax

from skprune.engine import ACTIVATIONS, Forest, Layer, Network, Tree


def random_network(widths, density, activations, seed, engine="native", alpha=0.3):
    """Weights whose outputs stay of the order of 1, so that one absolute tolerance serves."""
    rng = np.random.default_rng(seed)
    layers = []
    for n_in, n_out, activation in zip(widths, widths[1:], activations, strict=False):
        mask = rng.random((n_out, n_in)) < density
        scale = 1 / np.sqrt(max(1, mask.sum() / n_out))
        weight = np.where(mask, rng.normal(0, scale, mask.shape), 0).astype(np.float32)
        bias = rng.normal(size=n_out).astype(np.float32)
        layers.append(Layer(csr_array(weight), bias, activation, alpha))
    return Network(layers, engine)


def oracle(network, X, depth=None):
    """The layers in dense float64, written apart from the package's own reference path."""
    h = np.asarray(X, dtype=np.float32).astype(np.float64)
    for layer in network.layers[:depth]:
        z = h @ layer.weight.toarray().T.astype(np.float64) + layer.bias
        with np.errstate(over="ignore"):
            h = {
                "identity": lambda z=z: z,
                "relu": lambda z=z: z.clip(0),
                "leaky_relu": lambda z=z, a=layer.alpha: z.clip(0) + a * z.clip(max=0),
                "elu": lambda z=z, a=layer.alpha: z.clip(0) + a * np.expm1(z.clip(max=0)),
                "gelu": lambda z=z: z * (1 + erf(z * 0.5**0.5)) / 2,
                "gelu_tanh": lambda z=z: (
                    z / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (z + 0.044715 * z**3)))
                ),
                "tanh": lambda z=z: np.tanh(z),
                "sigmoid": lambda z=z: 1 / (1 + np.exp(-z)),
                "softmax": lambda z=z: np.exp(log_softmax(z, axis=1)),
                "log_softmax": lambda z=z: log_softmax(z, axis=1),
            }[layer.activation]()
    return h


# Ways to lay the same numbers out in memory.
LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "float64": lambda X: X.astype(np.float64),
    "Fortran float64": lambda X: np.asfortranarray(X, dtype=np.float64),
    "rows backwards": lambda X: np.ascontiguousarray(X[::-1])[::-1],
    "columns backwards": lambda X: np.ascontiguousarray(X[:, ::-1])[:, ::-1],
    "every second row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "every second column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "unaligned": lambda X: _unaligned(X, np.float32),
    "unaligned float64": lambda X: _unaligned(X, np.float64),
    "field of a record": lambda X: _field(X),
    "big endian": lambda X: X.astype(">f4"),
    "read-only": lambda X: _read_only(X),
}


def _unaligned(X, dtype):
    memory = np.zeros(X.size * np.dtype(dtype).itemsize + 1, dtype=np.uint8)
    view = memory[1:].view(dtype).reshape(X.shape)
    view[...] = X
    return view


def _field(X):
    # A stride that is no multiple of the item: DLPack could not say it.
    records = np.zeros(X.shape, dtype=np.dtype([("x", np.float32), ("byte", np.uint8)]))
    records["x"] = X
    return records["x"]


def _read_only(X):
    X = X.copy()
    X.setflags(write=False)
    return X


@st.composite
def networks(draw):
    widths = draw(st.lists(st.integers(1, 90), min_size=2, max_size=5))
    n_layers = len(widths) - 1
    activations = draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=n_layers, max_size=n_layers))
    density = draw(st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.6, 1.0]))
    return random_network(widths, density, activations, draw(st.integers(0, 2**32 - 1)))


@st.composite
def batches(draw, n_features, max_rows=70):
    """A float32 matrix of numbers of the order of 1, some of them zero."""
    n_rows = draw(st.integers(0, max_rows))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.normal(size=(n_rows, n_features)).astype(np.float32)
    X[rng.random(X.shape) < draw(st.sampled_from([0.0, 0.5, 0.9]))] = 0
    return X


def random_nodes(rng, n_splits, n_features, n_values):
    """A tree grown by splitting random leaves; its nodes in random order, the root first."""
    n_nodes = 2 * n_splits + 1
    left = np.full(n_nodes, -1)
    right = np.full(n_nodes, -1)
    leaves = [0]
    for k in range(n_splits):
        # Young leaves are split more often than old ones: some branches grow deep.
        node = leaves.pop(int(len(leaves) * rng.random() ** 0.3))
        left[node], right[node] = 2 * k + 1, 2 * k + 2
        leaves += [2 * k + 1, 2 * k + 2]
    number = np.concatenate([[0], 1 + rng.permutation(n_nodes - 1)])  # old -> new
    order = np.argsort(number)
    left, right = (np.where(a[order] < 0, -1, number[a[order]]) for a in (left, right))
    grid = np.array([-np.inf, -1e300, -1.0, -0.1, -1e-300, 0.0, 1e-300, 0.1, 0.7, 1e300, np.inf])
    threshold = np.where(
        rng.random(n_nodes) < 0.3, rng.choice(grid, n_nodes), rng.normal(size=n_nodes)
    )
    is_leaf = left < 0
    return {
        "feature": np.where(is_leaf, -2, rng.integers(0, n_features, n_nodes)),
        "threshold": np.where(is_leaf, -2.0, threshold),
        "left": left,
        "right": right,
        "value": rng.normal(size=(n_nodes, n_values)),
        "missing_go_to_left": rng.random(n_nodes) < 0.5,
    }


@st.composite
def trees(draw, allow_nan=False):
    n_splits = draw(st.integers(0, 60))
    n_features = draw(st.integers(1, 12))
    n_values = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nodes = random_nodes(rng, n_splits, n_features, n_values)
    return Tree(**nodes, n_features_in=n_features, allow_nan=allow_nan, engine="native")


@st.composite
def forests(draw):
    """Trees of all sizes, one or many, with everything that a forest may be told about them."""
    n_features = draw(st.integers(1, 12))
    n_trees = draw(st.integers(1, 40))  # a lone row walks down sixteen at once
    max_splits = draw(st.sampled_from([0, 3, 30]))
    single = draw(st.booleans())  # one value a leaf, each tree for a sum of its own
    n_values = 1 if single else draw(st.integers(1, 4))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    by_category = dtype == "float64" and draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grown = [
        random_nodes(rng, int(rng.integers(0, max_splits + 1)), n_features, n_values)
        for _ in range(n_trees)
    ]
    nodes = {name: np.concatenate([tree[name] for tree in grown]) for name in grown[0]}
    n_sums = n_values
    if single:
        outputs = rng.integers(0, draw(st.integers(1, 4)), n_trees)
        n_sums = int(outputs.max()) + draw(st.integers(1, 2))  # the last may be no tree's
        nodes["outputs"] = outputs
    if by_category:
        nodes |= _random_sets(rng, nodes["feature"], n_features)
    links = ["identity", "exp", "softmax", "clip"] + ["sigmoid", "exponential"] * (n_sums == 1)
    return Forest(
        **nodes,
        tree_starts=np.cumsum([0] + [len(tree["left"]) for tree in grown]),
        n_features_in=n_features,
        base=rng.normal(size=n_sums) if single or draw(st.booleans()) else None,
        divisor=draw(st.sampled_from([1.0, float(n_trees), 0.3])),
        link=draw(st.sampled_from(links)),
        dtype=dtype,
        allow_nan=draw(st.booleans()),
        engine="native",
    )


def _random_sets(rng, feature, n_features):
    """Categories of some columns; many of the splits that read these look at them."""
    n_words = int(rng.integers(1, 4))
    columns = np.flatnonzero(rng.random(n_features) < 0.6)
    pool = np.concatenate([np.arange(-20.0, 100.0), [-1e300, -0.5, 1e-300, 0.1, 1e300, np.inf]])
    sizes = [int(rng.integers(0, 32 * n_words + 1)) for _ in columns]
    return {
        "categories": {
            int(column): np.sort(rng.choice(pool, size, replace=False))
            for column, size in zip(columns, sizes, strict=True)
        },
        "by_category": np.isin(feature, columns) & (rng.random(len(feature)) < 0.7),
        "left_categories": rng.integers(0, 2**32, (len(feature), n_words), dtype=np.uint32),
    }


def rows_for(forest, n_rows, rng):
    """Rows with all that a forest takes: the edges of its dtype, missing and unknown values."""
    edges = [0.0, -0.0, 0.1, -1.0, 1e-45, 3e38, -3e38, 0.7]
    if forest.allow_infinity:
        edges += [np.inf, -np.inf, 1e300, -1e300, 5e-324, np.nextafter(0.7, 1)]
    X = rng.choice(edges, (n_rows, forest.n_features_in))
    X = np.where(rng.random(X.shape) < 0.5, rng.normal(size=X.shape), X)
    for column, known in (forest.categories or {}).items():
        # 999 and negative halves are nobody's category
        values = np.concatenate([known, [np.nan, -7.5, 999.0, -0.0]])
        X[:, column] = rng.choice(values, n_rows)
    if forest.allow_nan:
        X[rng.random(X.shape) < rng.choice([0.0, 0.3])] = np.nan
    return X if forest.allow_infinity else X.astype(np.float32)
