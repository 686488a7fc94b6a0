"""What networks, trees and forests ask of X and n_jobs, on both engines."""

import os

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.tree import DecisionTreeRegressor

from skprune.engine import Forest, NonFiniteError
from skprune.engine.checks import n_threads
from tests.engine.cases import LAYOUTS, random_network
from tests.engine.test_tree import from_sklearn

WIDTH = 19  # two blocks of eight and a rest


def make(kind, engine):
    if kind == "network":
        return random_network([WIDTH, 4], 0.1, ["relu"], seed=0, engine=engine)
    X = np.random.default_rng(0).normal(size=(50, WIDTH))
    allow_nan = "missing" in kind
    tree = from_sklearn(DecisionTreeRegressor().fit(X, X[:, 3]), engine, allow_nan=allow_nan)
    if kind.startswith("tree"):
        return tree
    return forest_of(tree, dtype="float64" if "doubles" in kind else "float32")


def forest_of(tree, dtype):
    """Twenty times the same tree."""
    names = ("feature", "threshold", "left", "right", "value", "missing_go_to_left")
    return Forest(
        **{name: np.concatenate([getattr(tree, name)] * 20) for name in names},
        tree_starts=np.arange(21) * len(tree.left),
        n_features_in=tree.n_features_in,
        divisor=20.0,
        dtype=dtype,
        allow_nan=tree.allow_nan,
        engine=tree.engine,
    )


MODELS = ["network", "tree", "forest"]
KINDS = [*MODELS, "tree with missing", "forest with missing"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["C", "Fortran", "float64", "every second column"])
@pytest.mark.parametrize("n_rows", [1, 2, 9, 40])
def test_a_number_that_is_not_finite_is_found_anywhere(n_rows, layout, kind):
    model = make(kind, "native")
    X = LAYOUTS[layout](np.zeros((n_rows, WIDTH), np.float32))
    bad = [np.inf, -np.inf] + [np.nan] * ("missing" not in kind)
    if X.dtype == np.float64:
        bad += [1e39, -1e39]
    for row in range(n_rows):
        for column in range(WIDTH):
            for value in bad:
                X[row, column] = value
                with pytest.raises(NonFiniteError, match="infinity or a value too large"):
                    model.predict(X)
            X[row, column] = 0
    model.predict(X)


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_same_error_on_every_path(kind, engine, value, n_jobs):
    model = make(kind, engine)
    X = np.zeros((100, WIDTH))
    X[70, 5] = value
    if "missing" in kind and np.isnan(value):
        assert model.predict(X, n_jobs=n_jobs).shape == (100, 1)
        return
    methods = [model.predict, model.transform]
    if kind != "network":
        methods.append(model.apply)
    expected = "X contains (NaN, )?infinity or a value too large for dtype\\('float32'\\)"
    for method in methods:
        with pytest.raises(NonFiniteError, match=expected):
            method(X, n_jobs=n_jobs)
    assert issubclass(NonFiniteError, ValueError)


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("layout", ["C", "Fortran", "float64", "every second column"])
@pytest.mark.parametrize("n_rows", [1, 9, 300])
def test_forests_in_float64_take_infinity_and_refuse_nan_anywhere(n_rows, layout, engine):
    model = make("forest of doubles", engine)
    X = LAYOUTS[layout](np.zeros((n_rows, WIDTH), np.float32))
    X[-1] = np.inf
    X[0, 5] = -np.inf
    assert np.isfinite(model.predict(X)).all()
    for row in range(0, n_rows, max(1, n_rows // 9)):
        for column in (0, 7, WIDTH - 1):
            before, X[row, column] = X[row, column], np.nan
            for method in (model.predict, model.decision, model.apply, model.transform):
                with pytest.raises(NonFiniteError, match=r"^X contains NaN\.$"):
                    method(X, n_jobs=2)
            X[row, column] = before
    with_missing = make("forest of doubles with missing", engine)
    X[:] = np.nan
    assert np.isfinite(with_missing.predict(X)).all()


@pytest.mark.parametrize("kind", MODELS)
def test_the_largest_float32_is_fine(kind):
    model = make(kind, "native")
    X = np.full((3, WIDTH), np.finfo(np.float32).max)
    X[1] *= -1
    assert model.predict(X).shape[0] == 3
    assert model.predict(X.astype(np.float64)).shape[0] == 3


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((2, WIDTH + 1), np.float32), "X must have 19 columns, but it has 20"),
        (np.zeros((2, 0)), "X must have 19 columns, but it has 0"),
        (np.zeros(WIDTH), "X must be 2-dimensional"),
        (np.zeros((1, 1, WIDTH)), "X must be 2-dimensional"),
        (np.float32(1), "X must be 2-dimensional"),
        (np.full((2, WIDTH), "1"), "X must be numeric"),
        (np.full((2, WIDTH), None), "X must be numeric"),
        (np.zeros((2, WIDTH), np.complex64), "X must be numeric"),
        (np.zeros((2, WIDTH), "datetime64[s]"), "X must be numeric"),
        (csr_array(np.zeros((2, WIDTH), dtype=complex)), "X must be numeric"),
        (None, "X must be numeric"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(X, message, kind, engine):
    with pytest.raises(ValueError, match=message):
        make(kind, engine).predict(X)


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("n_jobs", [0, "all", 1.5])
def test_n_jobs_must_be_a_number_of_jobs(n_jobs, kind, engine):
    with pytest.raises(ValueError, match="n_jobs must be None or an integer other than 0"):
        make(kind, engine).predict(np.zeros((1, WIDTH)), n_jobs=n_jobs)


def test_n_jobs_counts_as_joblib_counts():
    cores = os.cpu_count() or 1
    assert [n_threads(n) for n in (None, 1, 5)] == [1, 1, 5]
    assert n_threads(-1) == cores
    assert n_threads(-cores - 5) == 1
    assert n_threads(10**12) <= 1024
