"""Checks of ``X`` and ``n_jobs`` before a kernel runs, common to networks and trees."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from operator import index
from typing import Any

import numpy as np

MAX_WIDTH = 2**27 - 1  # columns of X, units of a layer, outputs

# entries of a sparse matrix that are made dense at a time: 4 MB as float32
_DENSE_ENTRIES = 1 << 20

_NON_FINITE = "X contains NaN, infinity or a value too large for dtype('float32')."
_INFINITE = "X contains infinity or a value too large for dtype('float32')."


class NonFiniteError(ValueError):
    """``X`` holds NaN, infinity, or a number that float32 cannot hold.

    Examples
    --------
    >>> as_finite_float32([[1.0, np.inf]], n_features=2)
    Traceback (most recent call last):
    skprune.engine.checks.NonFiniteError: X contains NaN, infinity or a value too large for
    dtype('float32').
    """


def non_finite(allow_nan: bool = False, allow_infinity: bool = False) -> NonFiniteError:
    """Return the error for a value of ``X`` that a model does not take."""
    if allow_infinity:
        return NonFiniteError("X contains NaN.")
    return NonFiniteError(_INFINITE if allow_nan else _NON_FINITE)


def as_matrix(X: Any, n_features: int, dtype: str = "float32") -> np.ndarray:
    """Return ``X`` as a 2-D float32 or float64 array of ``n_features`` columns.

    float32 and float64 pass without a copy, whatever their strides; other numeric types are
    converted to `dtype`. The values are not checked.
    """
    array = np.asarray(X)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"X must be numeric (float, int or bool), but its dtype is {array.dtype}.")
    if array.ndim != 2:
        raise ValueError(
            f"X must be 2-dimensional, (n_rows, {n_features}), but its shape is {array.shape}."
        )
    if array.shape[1] != n_features:
        raise ValueError(f"X must have {n_features} columns, but it has {array.shape[1]}.")
    if array.dtype in (np.float32, np.float64):
        # a foreign byte order becomes the native one
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    # a long double keeps its range, so that the check for float32 finds what is too large
    wide = array.dtype.kind == "f" and array.dtype.itemsize > 8
    with np.errstate(over="ignore"):
        return array.astype(np.float64 if wide else dtype)


def as_finite_float32(X: Any, n_features: int, allow_nan: bool = False) -> np.ndarray:
    """Return ``X`` as a float32 matrix, or raise `NonFiniteError`."""
    with np.errstate(over="ignore"):
        array = as_matrix(X, n_features).astype(np.float32)
    bad = np.isinf(array) if allow_nan else ~np.isfinite(array)
    if bad.any():
        raise non_finite(allow_nan)
    return array


def csr_arrays(X: Any, n_features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the data, indices and row starts of a sparse ``X``, without a copy where it is CSR.

    The data are float32 or float64, the others int32 or int64. The range of the indices of a CSR
    matrix is not checked.
    """
    _refuse_shape_and_type(X, n_features)
    rows = X if X.format == "csr" else refuse_stray_indices(X).tocsr()
    data, indices, starts = (np.asarray(part) for part in (rows.data, rows.indices, rows.indptr))
    if {indices.dtype.kind, starts.dtype.kind} != {"i"}:
        raise ValueError("X must be a valid sparse matrix, but its indices are not integers.")
    if data.ndim != 1 or data.shape != indices.shape:
        raise ValueError(
            "X must be a valid sparse matrix, but its data and indices differ in shape."
        )
    if starts.shape != (X.shape[0] + 1,) or starts[0] != 0:
        raise ValueError("X must be a valid sparse matrix, but its indptr does not fit its shape.")
    if data.dtype.kind != "f":
        # duplicate entries of integers are added up as integers
        rows = refuse_stray_indices(rows)
        if not rows.has_canonical_format:
            rows = rows.copy()
            rows.sum_duplicates()
            data, indices, starts = rows.data, rows.indices, rows.indptr
    index = np.result_type(indices, starts, np.int32)
    data = as_matrix(data[None], data.size)[0]
    return _readable(data, data.dtype), _readable(indices, index), _readable(starts, index)


def on_csr(run: Callable[..., np.ndarray], X: Any, n_features: int, *options: Any) -> np.ndarray:
    """Return ``run(data, indices, starts, *options)`` for the arrays of a sparse ``X``."""
    try:
        return run(*csr_arrays(X, n_features), *options)
    except NonFiniteError:
        # the kernel checks the indices, too, but does not say whether they or the data are wrong
        refuse_stray_indices(X)
        raise


def _readable(vector: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the vector as C++ can read it: contiguous and aligned."""
    vector = np.ascontiguousarray(vector, dtype)
    return vector if vector.flags.aligned else vector.copy()


def _refuse_shape_and_type(X: Any, n_features: int) -> None:
    if X.ndim != 2 or X.shape[1] != n_features:
        raise ValueError(f"X must have {n_features} columns, but its shape is {X.shape}.")
    try:
        dtype = X.dtype
    except AttributeError as error:  # its data may be anything, and need not have a dtype
        raise ValueError(f"X must be a valid sparse matrix, but {error}.") from error
    if dtype.kind not in "fiub":
        raise ValueError(f"X must be numeric (float, int or bool), but its dtype is {dtype}.")


def dense_parts(
    X: Any, n_features: int, dtype: str = "float32", allow_nan: bool = True
) -> Iterator[np.ndarray]:
    """Yield a sparse ``X`` as dense float matrices of a few rows each.

    Other types than float32 and float64 are converted to `dtype`.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> [part.shape for part in dense_parts(csr_array((3, 2)), n_features=2)]
    [(3, 2)]
    """
    _refuse_shape_and_type(X, n_features)
    rows = refuse_stray_indices(X).tocsr()
    n_rows = max(8, _DENSE_ENTRIES // max(1, n_features))
    for first in range(0, max(1, rows.shape[0]), n_rows):
        part = as_matrix(rows[first : first + n_rows].toarray(), n_features, dtype)
        if not allow_nan and np.isnan(part).any():
            raise non_finite()
        yield part


def refuse_stray_indices(X: Any) -> Any:
    """Return the same sparse matrix, checked: scipy's own code writes wherever an index points."""
    make, shape = type(X), X.shape
    try:
        # new matrices of the same arrays, because the checks change the matrix they are called on
        if X.format == "coo":
            return make((X.data, X.coords), shape=shape)  # this checks every index
        if X.format == "dia":
            return make((X.data, X.offsets), shape=shape)
        if X.format in ("csr", "csc", "bsr"):
            if {np.asarray(part).dtype.kind for part in (X.indices, X.indptr)} != {"i"}:
                raise ValueError("its indices are not integers")
            X = make((X.data, X.indices, X.indptr), shape=shape)
        elif X.format == "lil":
            if [len(row) for row in X.rows] != [len(values) for values in X.data]:
                raise ValueError("its lists of columns and of values differ in length")
            X = X.tocsr()
        else:
            X = X.tocsr()
        # scipy's own check, below, leaves out two things; a difference may overflow
        if (X.indptr[1:] < X.indptr[:-1]).any():
            raise ValueError("index pointer values must not decrease")
        if X.format == "bsr" and np.any(np.mod(shape, X.blocksize)):
            raise ValueError(f"its shape {shape} is not a multiple of its blocks {X.blocksize}")
        X.check_format(full_check=True)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"X must be a valid sparse matrix, but {error}.") from error
    return X


def n_threads(n_jobs: int | None) -> int:
    """Return how many threads ``n_jobs`` asks for.

    Examples
    --------
    >>> n_threads(None), n_threads(3)
    (1, 3)
    """
    if n_jobs is None:
        return 1
    if n_jobs == 1:  # by far the most frequent value, and a call may take less than a microsecond
        return 1
    try:
        wanted = index(n_jobs)
    except TypeError:
        wanted = 0
    if wanted == 0:
        raise ValueError(f"n_jobs must be None or an integer other than 0, but it is {n_jobs!r}.")
    # As in joblib: -1 is every core, -2 all but one. No machine has more cores than the cap.
    return min(wanted, 1024) if wanted > 0 else max(1, (os.cpu_count() or 1) + 1 + wanted)
