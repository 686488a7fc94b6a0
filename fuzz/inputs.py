"""Hand the engine everything that is not what it wants: it must answer or refuse, never crash.

    python fuzz/inputs.py --count 100000 --seed 0

Each case hands one kind of thing to one place:

- *kernel*: the arguments of the compiled classes, one or two of them spoilt. How the package calls
  these classes is noted while it does so, thus nothing here knows their signatures.
- *model*: the arguments of ``Network``, ``Tree`` and ``Forest``, spoilt likewise.
- *rows*: ``X`` and ``n_jobs`` for the methods of a sound model, on the kernels and on scipy. Both
  must answer alike or raise the same exception; where ``X`` is a matrix of numbers, in whatever
  shape, the answer must be that of scipy for these numbers.
- *estimator*: ``X`` for the scikit-learn estimators around such models.

A case fails if it crashes, takes more than a second or a gigabyte, answers wrongly, or raises
anything but `ALLOWED`.
"""

from __future__ import annotations

import array
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from models import KINDS, Model, estimator_of, random_model
from workers import is_sanitized, main

import skprune.engine.forest
import skprune.engine.network
import skprune.engine.tree
from skprune.engine import Forest, Layer, Network, Tree
from skprune.engine.native import kernels


class OwnError(Exception):
    """What an object of the caller raises when it is looked at: it must reach the caller."""


# MemoryError: for what is too large to be made. OverflowError: Python's own, of its int.
# NotImplementedError: scipy's own, of what one of its formats cannot do.
ALLOWED = (ValueError, TypeError, MemoryError, OverflowError, NotImplementedError, OwnError)

Rng = np.random.Generator

_SIZES = [0, 1, 1, 2, 3, 7, 8, 9, 16, 31, 33, 64, 65, 130, 257, 600]
_THREADS = [1, 1, 1, 2, 3, 7, -1, 10**9, -(10**9), 2**31 - 1, 2**31, 2**63, 0, 1.5, "2", None, True]


def check(rng: Rng) -> str:
    """Run one case and return what became of it."""
    place = str(rng.choice(list(_PLACES), p=[0.3, 0.2, 0.35, 0.15]))
    kind = str(rng.choice(KINDS))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return f"{place:9}  {kind:7}  {_PLACES[place](rng, kind)}"


def _outcome(call: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "answered", call()
    except ALLOWED as error:
        return _kind(error), None


def _kind(error: Exception) -> str:
    """Return which of the allowed types it is: subclasses count as what they are."""
    return next(kind.__name__ for kind in ALLOWED if isinstance(error, kind))


# --- places -------------------------------------------------------------------------------------


def _kernel(rng: Rng, kind: str) -> str:
    calls = _noted_calls(rng, kind)
    for _ in range(rng.integers(1, 3)):
        n = rng.integers(len(calls))
        number, name, given = calls[n]
        arguments = list(given)
        if arguments:
            i = rng.integers(len(arguments))
            is_rows = name in ("run", "predict", "decide", "apply") and i == 0
            if is_rows and rng.random() < 0.7:
                arguments[i] = _odd_rows(rng, int(rng.integers(1, 40)))
            else:
                arguments[i] = _spoilt(rng, arguments[i])
        calls[n] = number, name, tuple(arguments)
    return _outcome(lambda: _replay(kind, calls))[0]


# The number of the object, what was called of it ("" made it), and with what.
Call = tuple[int, str, tuple[Any, ...]]


def _noted_calls(rng: Rng, kind: str) -> list[Call]:
    """Make a model and let it predict; return how it called the class of its kernels."""
    calls: list[Call] = []

    class Noting:
        def __init__(self, *arguments: Any) -> None:
            self.number = sum(name == "" for _, name, _ in calls)
            calls.append((self.number, "", arguments))
            self.real = getattr(kernels, kind.capitalize())(*arguments)

        def __getattr__(self, name: str) -> Any:
            def call(*arguments: Any) -> Any:
                calls.append((self.number, name, arguments))
                return getattr(self.real, name)(*arguments)

            return call

    module = getattr(skprune.engine, kind)
    assert module.kernels is kernels
    module.kernels = SimpleNamespace(**{kind.capitalize(): Noting})
    try:
        model = random_model(rng, kind)
        rows = _numbers(rng, _size(rng), model.n_features_in).astype(rng.choice(["f4", "f8"]))
        sparse = sp.csr_array(rows)
        for method in _methods(model):
            for X in (rows, sparse) if rng.random() < 0.5 else (rows,):
                _outcome(lambda method=method, X=X: getattr(model, method)(X, 2))
    finally:
        module.kernels = kernels
    return calls


def _replay(kind: str, calls: list[Call]) -> None:
    made: list[Any] = []
    for number, name, arguments in calls:
        if name == "":
            made.append(getattr(kernels, kind.capitalize())(*arguments))
            continue
        answer = getattr(made[number], name)(*arguments)
        assert answer is None or isinstance(answer, np.ndarray), answer


def _model(rng: Rng, kind: str) -> str:
    sound = random_model(rng, kind)
    arguments = _arguments_of(sound)
    for _ in range(rng.integers(1, 3)):
        name = str(rng.choice(list(arguments)))
        arguments[name] = _spoilt(rng, arguments[name])
    if kind == "network":
        spoil = rng.random()
        if spoil < 0.7 and isinstance(arguments["layers"], tuple | list) and arguments["layers"]:
            arguments["layers"] = _spoilt_layers(rng, sound.layers)
    make = {"network": Network, "tree": Tree, "forest": Forest}[kind]
    made, model = _outcome(lambda: make(**arguments))
    if model is None:
        return made
    rows = _numbers(rng, 9, min(model.n_features_in, 1000))
    _same_on_both(model, str(rng.choice(_methods(model))), rows, rows, 1)
    return "answered"


def _arguments_of(model: Model) -> dict[str, Any]:
    if isinstance(model, Network):
        own = {"layers": model.layers, "n_hidden": 1, "hidden_constants": None, "fill": model.fill}
        return {**own, "engine": "native"}
    return {**model.state(), "engine": "native"}


def _spoilt_layers(rng: Rng, layers: tuple[Layer, ...]) -> list[Any]:
    spoilt: list[Any] = list(layers)
    i = int(rng.integers(len(spoilt)))
    layer = spoilt[i]
    fields = {
        "weight": layer.weight,
        "bias": layer.bias,
        "activation": layer.activation,
        "alpha": layer.alpha,
    }
    name = str(rng.choice(list(fields)))
    if name == "weight":
        fields["weight"] = _stray(rng, layer.weight.copy())
    else:
        fields[name] = _spoilt(rng, fields[name])
    spoilt[i] = Layer(**fields)
    return spoilt


def _rows(rng: Rng, kind: str) -> str:
    model = random_model(rng, kind)
    numbers = None
    if rng.random() < 0.5:
        X, numbers = _legal_rows(rng, model.n_features_in)
    else:
        X = _odd_rows(rng, model.n_features_in)
    n_jobs = rng.choice(np.array(_THREADS, dtype=object)) if rng.random() < 0.4 else 1
    return _same_on_both(model, str(rng.choice(_methods(model))), X, numbers, n_jobs)


def _same_on_both(model: Model, method: str, X: Any, numbers: Any, n_jobs: Any) -> str:
    reference = model.with_engine("scipy")
    native, answer = _outcome(lambda: getattr(model, method)(X, n_jobs))
    plain, expected = _outcome(lambda: getattr(reference, method)(X, n_jobs))
    if "MemoryError" not in (native, plain):
        assert native == plain, f"{method}: the kernels {native}, scipy {plain}"
    if native != "answered":
        return native
    if plain == "answered":
        _assert_equal(answer, expected, model)
    if numbers is not None:
        _assert_equal(answer, getattr(reference, method)(numbers), model)
    return native


def _assert_equal(answer: Any, expected: Any, model: Model) -> None:
    if sp.issparse(answer):
        answer, expected = answer.toarray(), expected.toarray()
    assert isinstance(answer, np.ndarray)
    assert answer.shape == expected.shape
    assert answer.dtype == expected.dtype
    if isinstance(model, Network) and not np.abs(expected).max(initial=0) < 1e4:
        return  # sums of large numbers that cancel, or overflow, are no test
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-4)


def _estimator(rng: Rng, kind: str) -> str:
    model = random_model(rng, kind)
    estimator = estimator_of(model, bool(rng.random() < 0.5))
    numbers = None
    if rng.random() < 0.5:
        X, numbers = _legal_rows(rng, model.n_features_in)
    else:
        # scikit-learn looks at every number before it asks how many there should be
        X = _odd_rows(rng, model.n_features_in, huge=False)
    method = "predict_proba" if hasattr(estimator, "predict_proba") else "predict"
    name = str(rng.choice([method, "transform"]))
    got, answer = _outcome(lambda: getattr(estimator, name)(X))
    if got == "answered" and numbers is not None:
        plain = model.with_engine("scipy")
        expected = (plain.transform if name == "transform" else plain.predict)(numbers)
        if name == "predict":
            expected = expected.astype(np.float64)
        _assert_equal(answer, expected, model)
    return got


def _methods(model: Model) -> list[str]:
    return [m for m in ("predict", "transform", "apply", "decision") if hasattr(model, m)]


_PLACES = {"kernel": _kernel, "model": _model, "rows": _rows, "estimator": _estimator}


# --- rows that hold a matrix of numbers, whatever they look like --------------------------------


def _size(rng: Rng) -> int:
    return int(rng.choice(_SIZES))


def _numbers(rng: Rng, n_rows: int, n_features: int) -> np.ndarray:
    """Return a matrix of numbers that float32 holds, and at times NaN or infinity."""
    X = rng.normal(size=(n_rows, n_features)).astype(np.float32).astype(np.float64)
    X[rng.random(X.shape) < rng.choice([0.0, 0.5, 0.95])] = 0
    odd = rng.random()
    if odd < 0.25:
        strange = [np.nan, np.inf, -np.inf, 3e18, 1e39, -1e300, 2.0**-149, -0.0, 7.0, -3.0]
        X[rng.random(X.shape) < rng.choice([0.01, 0.3])] = rng.choice(strange)
    return X


def _legal_rows(rng: Rng, n_features: int) -> tuple[Any, np.ndarray]:
    """Return rows in some shape, and the numbers that they hold."""
    X = _numbers(rng, _size(rng), n_features)
    if rng.random() < 0.5:
        X = X.astype(np.float32)
    elif rng.random() < 0.4:
        dtype = str(rng.choice(["f2", "g", "i1", "u1", "i4", "i8", "u8", "?", ">f4", ">f8", ">i4"]))
        if np.dtype(dtype).kind in "iub":
            X = np.nan_to_num(X, posinf=3, neginf=-3).clip(-100, 100)
            X = abs(X) if np.dtype(dtype).kind == "u" else X
        X = X.astype(dtype)
    numbers = X.astype(np.float64)
    shape = rng.choice(list(_SHAPES))
    return _SHAPES[shape](rng, X), numbers


def _unaligned(rng: Rng, X: np.ndarray) -> np.ndarray:
    memory = np.zeros(X.nbytes + 1, dtype=np.uint8)
    view = memory[1:].view(X.dtype).reshape(X.shape)
    view[...] = X
    return view


def _field(rng: Rng, X: np.ndarray) -> np.ndarray:
    records = np.zeros(X.shape, dtype=np.dtype([("x", X.dtype), ("byte", np.uint8)]))
    records["x"] = X
    return records["x"]


def _inside(rng: Rng, X: np.ndarray) -> np.ndarray:
    """Return X as a part of a larger array that holds NaN around it."""
    n_rows, n_columns = X.shape
    filler = np.nan if X.dtype.kind == "f" else 1
    around = np.full((2 * n_rows + 3, 3 * n_columns + 5), filler).astype(X.dtype)
    part = around[1 : 1 + 2 * n_rows : 2, 2 : 2 + 3 * n_columns : 3]
    part[...] = X
    return part


def _mapped(rng: Rng, X: np.ndarray) -> np.ndarray:
    if not X.size:
        return X
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, dtype=X.dtype, mode="w+", shape=X.shape)
    mapped[...] = X
    return mapped


def _read_only(rng: Rng, X: np.ndarray) -> np.ndarray:
    X = X.copy()
    X.setflags(write=False)
    return X


class _Subclass(np.ndarray):
    pass


class _Array:
    """What numpy makes an array of, by one protocol or another."""

    def __init__(self, X: np.ndarray) -> None:
        self.X = X

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.X if dtype is None else self.X.astype(dtype)


class _Interface:
    def __init__(self, X: np.ndarray) -> None:
        self.X = X
        self.__array_interface__ = X.__array_interface__


def _memoryview(rng: Rng, X: np.ndarray) -> Any:
    return memoryview(X) if X.dtype.isnative and X.dtype.char != "e" else X


def _sparse(rng: Rng, X: np.ndarray) -> Any:
    """Return X as a sparse matrix: of any format, with entries in any order, some of them twice."""
    if X.dtype.char in "eg" or not X.dtype.isnative:
        X = X.astype(np.float64)
    make = sp.csr_array if rng.random() < 0.5 else sp.csr_matrix
    csr = make(X)
    if rng.random() < 0.5:
        csr = _untidy(rng, csr)
    if rng.random() < 0.5:
        csr.indices, csr.indptr = csr.indices.astype(np.int64), csr.indptr.astype(np.int64)
    return csr.asformat(str(rng.choice(["csr", "csr", "csr", "csc", "coo", "bsr", "lil", "dia"])))


def _untidy(rng: Rng, csr: Any) -> Any:
    """Return the same matrix with stored zeros, and entries in two halves, out of order."""
    n_rows, n_columns = csr.shape
    row = np.repeat(np.arange(n_rows), np.diff(csr.indptr))
    zeros = rng.integers(0, [max(n_rows, 1), n_columns], (n_rows, 2))
    if csr.dtype.kind == "f":
        # half of the smallest number is none
        half = np.where(abs(csr.data) < 1e-30, 0, csr.data / 2)
        rest = np.where(half == 0, csr.data, half)
    else:
        half = csr.data if csr.dtype.kind == "b" else csr.data // 2
        rest = csr.data if csr.dtype.kind == "b" else csr.data - half
    row, column, data = (
        np.concatenate(parts)
        for parts in (
            (row, row, zeros[:, 0]),
            (csr.indices, csr.indices, zeros[:, 1]),
            (half, rest, np.zeros(n_rows, csr.dtype)),
        )
    )
    order = rng.permutation(len(row))
    order = order[np.argsort(row[order], kind="stable")]
    starts = np.searchsorted(row[order], np.arange(n_rows + 1))
    indices = column[order].astype(csr.indices.dtype)
    return type(csr)((data[order], indices, starts.astype(indices.dtype)), shape=csr.shape)


_SHAPES: dict[str, Callable[[Rng, np.ndarray], Any]] = {
    "plain": lambda rng, X: X,
    "Fortran": lambda rng, X: np.asfortranarray(X),
    "rows backwards": lambda rng, X: np.ascontiguousarray(X[::-1])[::-1],
    "columns backwards": lambda rng, X: np.ascontiguousarray(X[:, ::-1])[:, ::-1],
    "unaligned": _unaligned,
    "field": _field,
    "inside": _inside,
    "mapped": _mapped,
    "read-only": _read_only,
    "subclass": lambda rng, X: X.view(_Subclass),
    "np.matrix": lambda rng, X: X.view(np.matrix),
    "list": lambda rng, X: X.tolist() or X,
    "tuple of rows": lambda rng, X: tuple(X) or X,
    "__array__": lambda rng, X: _Array(X),
    "__array_interface__": lambda rng, X: _Interface(X),
    "memoryview": _memoryview,
    "DataFrame": lambda rng, X: pd.DataFrame(X.astype(X.dtype.newbyteorder("="))),
    "columns of objects": lambda rng, X: pd.DataFrame(X.astype(np.float64)).astype(object),
    "sparse": _sparse,
    "sparse again": _sparse,
    "sparse once more": _sparse,
}


# --- rows that are none -------------------------------------------------------------------------


class _Liar:
    """Has the looks of a matrix and nothing behind them."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.ndim, self.dtype = shape, len(shape), np.dtype(np.float32)
        self.format = "csr"

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, i: Any) -> float:
        raise OwnError


class _Raising:
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise OwnError


class _NoArray:
    def __init__(self, what: Any) -> None:
        self.what = what

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.what


class _FalseShape(np.ndarray):
    shape = (3, 10**12)  # type: ignore[assignment]
    ndim = 2  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "false"


class _FalseInterface:
    def __init__(self, **fields: Any) -> None:
        self.__array_interface__ = fields


def _odd_rows(rng: Rng, n_features: int, huge: bool = True) -> Any:
    """Return something that is no matrix of `n_features` columns, or not quite, or almost."""
    n_rows = _size(rng)
    X = _numbers(rng, n_rows, n_features)
    options: list[Callable[[], Any]] = [
        lambda: X[:, :-1],
        lambda: _numbers(rng, n_rows, n_features + 1),
        lambda: _numbers(rng, n_features, n_rows),
        lambda: X.ravel(),
        lambda: X[None],
        lambda: X[..., None],
        lambda: np.zeros(()),
        lambda: np.float32(1),
        lambda: X.astype(str(rng.choice(["c8", "O", "S3", "U3", "M8[s]", "m8[s]", "V4"]))),
        lambda: np.zeros((n_rows, n_features), dtype=[("a", "f4")]),
        lambda: np.broadcast_to(np.float32(1), (n_rows, n_features)),
        lambda: np.broadcast_to(X[:1], (X[:1].shape[0] * n_rows, n_features)),
        lambda: np.lib.stride_tricks.as_strided(X, (0, n_features), (2**62, -(2**62))),
        lambda: np.lib.stride_tricks.as_strided(X, (X[:1].shape[0], n_features), (2**62, 8)),
        lambda: X[:0],
        lambda: np.ma.masked_array(X, X > 0),
        lambda: [[1.0] * n_features, [1.0]],
        lambda: [[object()] * n_features],
        lambda: [X, X],
        lambda: [],
        lambda: [[]],
        lambda: [[[]]],
        lambda: {"a": 1},
        lambda: {1.0, 2.0},
        lambda: (row for row in X),
        lambda: iter([]),
        lambda: None,
        lambda: True,
        lambda: 10**400,
        lambda: "1 2 3",
        lambda: b"1234" * n_features,
        lambda: bytearray(8 * n_features),
        lambda: type,
        lambda: ...,
        lambda: array.array("f", [1.0] * n_features),
        lambda: memoryview(b"12345678" * n_features),
        lambda: memoryview(bytes(4 * 4 * n_features)).cast("f", (4, n_features)),
        lambda: memoryview(bytes(8 * 2 * n_features)).cast("d", (2, n_features))[::-1],
        lambda: memoryview(bytes(8 * 2 * n_features)).cast("q", (2, n_features)),
        lambda: pd.DataFrame(X).astype(str),
        lambda: pd.DataFrame(X).assign(text="a"),
        lambda: pd.DataFrame(X).astype("category"),
        lambda: pd.DataFrame(X).astype("Float64"),
        lambda: pd.DataFrame(X)[0],
        lambda: pd.DataFrame(),
        lambda: _Liar((2, n_features)),
        lambda: _Raising(),
        lambda: _NoArray(rng.choice(np.array([None, "x", 3], dtype=object))),
        lambda: _NoArray([[1.0]]),
        lambda: X.view(_FalseShape),
        lambda: _FalseInterface(shape=(2, n_features)),
        lambda: _FalseInterface(shape=(9, n_features), typestr="<f4", data=b"123", version=3),
        lambda: _FalseInterface(shape=(-1, n_features), typestr="<f4", data=b"1234", version=3),
        lambda: _FalseInterface(shape="xy", typestr="<f9", data=None, version=3),
        lambda: _ctypes_rows(rng, n_features),
        lambda: _stray(rng, sp.csr_array(X)),
        lambda: _stray(rng, sp.csr_array(X)),
        lambda: _stray(rng, sp.csr_matrix(X)),
        lambda: _stray(rng, sp.csc_array(X)),
        lambda: _stray(rng, sp.csc_matrix(X)),
        lambda: _stray(rng, sp.coo_array(X)),
        lambda: _stray(rng, sp.bsr_array(X)),
        lambda: _stray(rng, sp.lil_array(X)),
        lambda: _stray(rng, sp.dia_array(X)),
        lambda: _stray(rng, sp.dok_array(X[:20])),
        lambda: sp.csr_array(X[:, :-1] if n_features > 1 else X[:, [0, 0]]),
        lambda: sp.csr_array(X.astype("c8")),
        lambda: sp.coo_array(X.ravel()),
        lambda: _spoilt(rng, X),
    ]
    if huge and not is_sanitized():  # where what cannot be allocated ends the process
        options += [
            lambda: np.broadcast_to(np.float32(1), (2 ** int(rng.integers(33, 50)), n_features)),
            lambda: np.broadcast_to(np.float32(1), (n_rows, 2 ** int(rng.integers(33, 50)))),
        ]
    with suppress(Exception):  # some cannot be made of some numbers
        return options[rng.integers(len(options))]()
    return None


def _ctypes_rows(rng: Rng, n_features: int) -> Any:
    import ctypes

    kind = [ctypes.c_float, ctypes.c_double, ctypes.c_int][rng.integers(3)]
    return ((kind * n_features) * 3)()


def _stray(rng: Rng, X: Any) -> Any:
    """Return a sparse matrix whose arrays contradict each other; scipy checks none of this."""
    if X.format == "lil":
        if X.shape[0]:
            X.rows[rng.integers(X.shape[0])] = [int(rng.choice([-1, X.shape[1], 10**6, 2**62]))]
        return X
    if X.format == "dok":
        X._dict[(int(rng.choice([-1, 10**6])), 0)] = 1.0
        return X
    names = {"coo": ["data", "coords"], "dia": ["data", "offsets"]}
    name = str(rng.choice(names.get(X.format, ["data", "indices", "indptr", "shape"])))
    if name == "shape":
        n_rows, n_columns = X.shape
        change = rng.integers(-2, 3, 2) * rng.choice([1, 1000])
        X._shape = (max(0, n_rows + int(change[0])), max(0, n_columns + int(change[1])))
    elif name == "coords":
        coords = list(X.coords)
        i = rng.integers(2)
        coords[i] = _stray_numbers(rng, coords[i])
        X.coords = tuple(coords)
    else:
        values = getattr(X, name)
        spoil = _spoilt if rng.random() < 0.3 else _stray_numbers
        with suppress(*ALLOWED):  # scipy's own
            setattr(X, name, spoil(rng, values))
    return X


def _stray_numbers(rng: Rng, values: np.ndarray) -> np.ndarray:
    if not values.size or rng.random() < 0.3:
        return values[: rng.integers(values.shape[0] + 1)] if rng.random() < 0.5 else values[::-1]
    values = values.copy()
    dtype = values.dtype
    odd = [-1, 0, 1, 10**6, 2**31 - 1, -(2**31)] + [2**62, -(2**63)] * (dtype.itemsize == 8)
    values.flat[rng.integers(values.size)] = odd[rng.integers(len(odd))]
    return values


# --- arguments ----------------------------------------------------------------------------------


def _spoilt(rng: Rng, value: Any) -> Any:
    """Return something else than `value`, which may still be as good."""
    if rng.random() < 0.1:
        others: list[Any] = [
            None,
            "x",
            1.5,
            -1,
            [],
            {},
            object(),
            np.zeros(0),
            np.zeros((2, 2)),
            1j,
        ]
        return others[rng.integers(len(others))]
    if isinstance(value, np.ndarray):
        return _spoilt_array(rng, value) if value.nbytes < 2**30 else value
    if isinstance(value, bool | np.bool_):
        return [not value, 2, "yes", np.array([True, False])][rng.integers(4)]
    if isinstance(value, int | np.integer):
        near = [value - 1, value + 1, -value, 0]
        far = [-1, 2**15, 2**31 - 1, 2**31, 2**62, 2**63 - 1, 2**63, 2**70, -(2**63), 0.5, 2.0]
        if is_sanitized():
            far = far[-2:] + far[4:7]
        return [*near, *far][rng.integers(len(near) + len(far))]
    if isinstance(value, float):
        return [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, 1e-320, "1", 10**400][rng.integers(9)]
    if isinstance(value, str):
        others = ["", "avx512", "avx2", "neon", "mmx", "scipy", "\0", "x" * 10**5, b"avx2", "auto"]
        return others[rng.integers(len(others))]
    if isinstance(value, dict):
        odd = [-1, 0, 1, 2**40]
        items = list(value.items())  # the next line spoils what others may share
        return {[key, *odd][rng.integers(5)]: _spoilt(rng, item) for key, item in items}
    if isinstance(value, tuple | list) and value:
        return [value[::-1], value[1:], [*value, *value], [None, *value]][rng.integers(4)]
    if sp.issparse(value):
        with suppress(Exception):  # what was spoilt before may be beyond that
            return _stray(rng, value.copy())
    return _odd_rows(rng, 3)


def _spoilt_array(rng: Rng, values: np.ndarray) -> Any:
    n = len(values) if values.ndim else 0
    options: list[Callable[[], Any]] = [
        lambda: values[: rng.integers(n + 1)],
        lambda: np.concatenate([values, values]) if n else values,
        lambda: values[:0],
        lambda: values[::-1],
        lambda: np.repeat(values, 2, axis=0)[::2] if n else values,
        lambda: np.broadcast_to(values[:1], values.shape) if n else values,
        lambda: values[None],
        lambda: values[..., None],
        lambda: values.reshape(-1),
        lambda: np.asfortranarray(values),
        lambda: values.astype(str(rng.choice(list("?bBhHiIlLqQefdgFDOSUM")))),
        lambda: values.astype(values.dtype.newbyteorder()),
        lambda: values.tolist(),
        lambda: rng.permutation(values) if n else values,
        lambda: _unaligned(rng, values) if values.dtype.kind in "iufb" else values,
        lambda: _Array(values),
        lambda: memoryview(values) if values.dtype.kind in "iufb" else values,
    ]
    if values.dtype == np.bool_:
        # bytes that are neither 0 nor 1, as a file may hold
        odd = rng.integers(0, 256, values.shape, dtype=np.uint8).view(np.bool_)
        options += [lambda: odd] * 6
    if n and values.dtype.kind in "iuf":
        options += [lambda: _with_odd_entries(rng, values)] * 12
    if not is_sanitized():
        first = values.ravel()[:1] if values.size else np.zeros(1, values.dtype)
        options += [lambda: np.broadcast_to(first, (2 ** int(rng.integers(33, 45)),))]
    with suppress(Exception):
        return options[rng.integers(len(options))]()
    return None


def _with_odd_entries(rng: Rng, values: np.ndarray) -> np.ndarray:
    values = values.copy()
    if values.dtype.kind == "f":
        odd: Any = [np.nan, np.inf, -np.inf, 1e300, -0.0, 1e-320]
    else:
        limits = np.iinfo(values.dtype)
        near = [0, 1, 2, -1, -2, len(values) - 1, len(values), values.max(), values.max() + 1]
        odd = [*near, 2**31 - 1, 2**31, 2**32 - 1, limits.min, limits.max]
        odd = [int(np.clip(int(x), limits.min, limits.max)) for x in odd]
    for _ in range(rng.integers(1, 4)):
        values.flat[rng.integers(values.size)] = odd[rng.integers(len(odd))]
    return values


if __name__ == "__main__":
    sys.exit(main(check, __doc__.splitlines()[0]))
