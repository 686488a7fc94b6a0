"""What fuzz/inputs.py and the sanitizers found: bad inputs get an error, and never a crash."""

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import (
    bsr_array,
    coo_array,
    csc_array,
    csc_matrix,
    csr_array,
    csr_matrix,
    dia_array,
    dok_array,
    lil_array,
)

from skprune import SparseClassifier, SparseRegressor
from skprune.engine import Forest, Layer, Network, Tree, isa
from skprune.engine.native import kernels
from tests.engine.cases import random_network
from tests.engine.test_binding import DENSE, FOREST, TREE

N = 6  # features of every model here
ENGINES = ["native", "scipy"]
NODES = {
    "feature": [0, -2, 1, -2, -2],
    "threshold": [0.5, -2, -0.5, -2, -2],
    "left": [1, -1, 3, -1, -1],
    "right": [2, -1, 4, -1, -1],
    "value": [[0.0], [1.0], [2.0], [3.0], [4.0]],
    "missing_go_to_left": [0, 0, 1, 0, 0],
    "n_features_in": N,
}


def make(kind, engine="native", **changes):
    if kind == "network":
        return random_network([N, 5, 3], 0.7, ["relu", "identity"], seed=0, engine=engine)
    if kind == "tree":
        return Tree(**NODES | changes, engine=engine)
    return Forest(**NODES | {"tree_starts": [0, 5]} | changes, engine=engine)


KINDS = ["network", "tree", "forest"]


def rows(n_rows=20):
    X = np.random.default_rng(0).normal(size=(n_rows, N))
    X[::2, 3] = 0
    return X


def changed(X, **arrays):
    """Put arrays into a sparse matrix past its own checks."""
    for name, value in arrays.items():
        setattr(X, name, value)
    return X


def starts_of(make, *starts):
    X = make(rows(len(starts) - 1) if make in (csr_array, csr_matrix) else rows(4))
    return changed(X, indptr=np.array(starts, dtype=np.int32))


def with_entry(X, name, value):
    values = getattr(X, name).copy()
    values[3] = value
    return changed(X, **{name: values})


LARGE = np.iinfo(np.int32)
STRAY = {
    "csr index": lambda: with_entry(csr_array(rows()), "indices", N),
    "csr index below 0": lambda: with_entry(csr_matrix(rows()), "indices", -1),
    "csr index far off": lambda: with_entry(csr_array(rows()), "indices", LARGE.max),
    "csr starts at 1": lambda: starts_of(csr_array, 1, 3, 5),
    "csr starts fall to 0": lambda: starts_of(csr_array, 0, 3, 0),
    "csr starts overflow": lambda: starts_of(csr_array, 0, 5, LARGE.min),
    "csr starts overflow twice": lambda: starts_of(csr_array, 0, LARGE.max, LARGE.min, 9),
    "csr starts beyond the end": lambda: starts_of(csr_array, 0, 5, 99),
    "csr too few starts": lambda: changed(csr_array(rows()), indptr=np.array([0, 1])),
    "csr short data": lambda: changed(csr_array(rows()), data=np.ones(3)),
    "csr 2-D indices": lambda: changed(csr_array(rows()), indices=np.zeros((1, 99), int)),
    "csr text": lambda: changed(csr_array(rows()), indices="x"),
    "csr a number for data": lambda: changed(csr_array(rows()), data=1),
    "csr of floats": lambda: changed(csr_array(rows()), indices=np.zeros(99)),
    "csc index": lambda: with_entry(csc_array(rows()), "indices", 1000),
    "csc starts fall to 0": lambda: changed(
        csc_matrix(rows(1)), indptr=np.array([0, LARGE.max, 0, 0, 0, 0, 0], dtype=np.int32)
    ),
    "coo column": lambda: changed(
        coo_array(([1.0], ([0], [0])), shape=(2, N)), coords=(np.array([0]), np.array([10**6]))
    ),
    "coo lengths": lambda: changed(
        coo_array(([1.0], ([0], [0])), shape=(2, N)), coords=(np.array([0]), np.array([0, 0]))
    ),
    "bsr index": lambda: with_entry(bsr_array(rows(), blocksize=(2, 2)), "indices", 77),
    "bsr in no whole blocks": lambda: changed(
        bsr_array(np.ones((600, N)), blocksize=(50, 2)), _shape=(601, N)
    ),
    "dia offsets": lambda: changed(dia_array(rows()), offsets=np.arange(2)),
    "lil lists": lambda: with_entry(lil_array(rows()), "rows", [0]),
    "dok place": lambda: dok_with((0, 10**6)),
}


def dok_with(place):
    X = dok_array((4, N))
    X._dict[place] = 1.0
    return X


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stray", STRAY)
def test_sparse_matrices_that_contradict_themselves_are_refused(stray, kind, engine):
    model = make(kind, engine)
    for n_jobs in (1, 3):
        for method in (model.predict, model.transform):
            with pytest.raises(ValueError, match="X "):
                method(STRAY[stray](), n_jobs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stray", STRAY)
def test_estimators_refuse_them_too(stray, kind):
    # before scikit-learn converts them, which crashes
    model = make(kind)
    for estimator in (SparseRegressor(model), SparseClassifier(model, classes=np.arange(3))):
        with pytest.raises((ValueError, TypeError)):
            estimator.predict(STRAY[stray]())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("entries", [[np.nan, np.nan], [np.nan, 1.0], [1.0, np.nan, np.nan]])
def test_what_is_filled_is_the_sum_of_entries_given_twice(entries, engine):
    network = random_network([N, 3], 1.0, ["identity"], seed=0)
    network = Network(network.layers, engine, fill=np.arange(1.0, N + 1))
    X = csr_array((entries, [2] * len(entries), [0, len(entries)]), shape=(1, N))
    X = changed(csr_array((1, N)), data=X.data, indices=X.indices, indptr=X.indptr)
    expected = network.predict(np.array([[0, 0, np.nan, 0, 0, 0]]))
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [ctypes.c_float, ctypes.c_double])
def test_arrays_of_ctypes_have_no_strides(number, kind, engine):
    model = make(kind, engine)
    shared = ((number * N) * 20)()
    X = np.asarray(shared)
    X[:] = rows()
    expected = model.predict(rows().astype(X.dtype))
    for same in (shared, X, X.copy(), X[::-1][::-1]):
        np.testing.assert_array_equal(model.predict(same), expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_say_how_long_it_is(kind, engine):
    class Rows:
        def __array__(self, dtype=None, copy=None):
            return rows()

    model = make(kind, engine)
    np.testing.assert_array_equal(model.predict(Rows(), 3), model.predict(rows()))
    for X in (np.float32(1), True, np.zeros(())):
        with pytest.raises(ValueError, match="X must be 2-dimensional"):
            model.predict(X, 3)


FORK = """
import os, signal
import numpy as np
from tests.engine.test_safety import make

model = make("tree")
X = np.zeros((2000, 6), np.float32)
expected = model.predict(X, 3)  # whose threads a child does not have
for _ in range(5):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a lock that nobody will open would keep it for ever
        os._exit(int((model.predict(X, 3) != expected).any()))
    assert os.waitpid(child, 0)[1] == 0
    assert (model.predict(X, 3) == expected).all()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_process_has_threads_of_its_own():
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["tree", "forest"])
@pytest.mark.parametrize("byte", [2, 7, 128, 255])
def test_bools_that_are_neither_0_nor_1(byte, kind):
    # such a one for a child's side led out of the tree
    marks = np.array([byte, 0, byte, 0, 0], dtype=np.uint8).view(np.bool_)
    options = {"missing_go_to_left": marks, "allow_nan": True}
    X = np.full((20, N), np.nan)
    expected = make(kind, "scipy", **options).predict(X)
    np.testing.assert_array_equal(make(kind, **options).predict(X), expected)
    np.testing.assert_array_equal(expected, 1.0)


def test_differences_that_overflow():
    far = np.iinfo(np.int64)
    with pytest.raises(ValueError, match="tree_starts must grow"):
        make("forest", "scipy", tree_starts=[0, far.max, far.min, -1, 5])
    with pytest.raises(ValueError, match="groups must be positive"):
        make("forest", "scipy", link="clip", groups=[2**62] * 4 + [1])
    weight = changed(csr_array(np.ones((4, N))), indptr=np.array([0, far.max, far.min, -1, 24]))
    with pytest.raises(ValueError, match="never fall"):
        Network([Layer(weight, np.zeros(4))])


def test_categories_must_be_a_mapping():
    with pytest.raises(TypeError, match="categories must be a mapping or None, not list"):
        make("forest", dtype="float64", categories=[1.0])


@pytest.mark.skipif(kernels is None, reason="the kernels were not built")
class TestKernels:
    def test_every_set_below_0_is_none(self):
        sets = np.array([-2, -(2**40), -1])
        forest = kernels.Forest(*(FOREST | {"set": sets}).values(), isa())
        none = kernels.Forest(*(FOREST | {"set": np.full(3, -1)}).values(), isa())
        X = np.random.default_rng(0).choice([1.0, 4.0, 0.0], (20, 4))
        np.testing.assert_array_equal(forest.apply(X, 1), none.apply(X, 1))

    @pytest.mark.parametrize("name", ["feature", "threshold", "left", "right", "value"])
    def test_arrays_that_are_not_aligned_are_refused(self, name):
        with pytest.raises(ValueError, match="not aligned"):
            kernels.Tree(*(TREE | {name: unaligned(TREE[name])}).values(), DENSE, 4, False, isa())

    def test_models_take_arrays_that_are_not_aligned(self):
        X = csr_array(rows())
        odd = changed(csr_array(rows()), **{n: unaligned(getattr(X, n)) for n in vars_of(X)})
        network = make("network")
        np.testing.assert_array_equal(network.predict(odd), network.predict(X))
        nodes = {name: unaligned(np.asarray(NODES[name])) for name in ("left", "threshold")}
        np.testing.assert_array_equal(make("tree", **nodes).predict(X), make("tree").predict(X))


def vars_of(X):
    return ("data", "indices", "indptr")


def unaligned(values):
    memory = np.zeros(values.nbytes + 1, dtype=np.uint8)
    view = memory[1:].view(values.dtype).reshape(values.shape)
    view[...] = values
    return view
