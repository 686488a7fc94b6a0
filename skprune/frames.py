"""Data frames as arrays in microseconds, where scikit-learn's own checks take hundreds."""

import sys
from typing import Any

import numpy as np


def numbers_of(X: Any) -> tuple[np.ndarray, list[str] | None] | None:
    """Give what pandas and polars frames of plain numbers hold, and the names of the columns.

    Parameters
    ----------
    X : object
        Anything.

    Returns
    -------
    values : ndarray of shape (n_samples, n_features)
        The numbers that scikit-learn makes of the frame.
    names : list of str or None
        None where no column has a string for a name: to scikit-learn these are none.

    Or None for what only scikit-learn's own checks can tell: anything but a frame, columns that
    are no plain numbers, names of several types, or given twice.

    Examples
    --------
    >>> import pandas as pd
    >>> numbers_of(pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}))
    (array([[1. , 0.5],
           [2. , 1.5]]), ['a', 'b'])
    >>> numbers_of(pd.DataFrame([[1, 2]]))
    (array([[1, 2]]), None)
    """
    # neither library is imported for this: who has a frame has done so
    for library, read in _READERS.items():
        module = sys.modules.get(library)
        if module is not None and type(X) is getattr(module, "DataFrame", None):
            values, names = read(X)
            kinds = set(map(type, names))
            if values is None or values.dtype.kind not in "fiub" or len(set(names)) < len(names):
                return None
            if str not in kinds:
                return values, None
            return (values, names) if kinds == {str} else None
    return None


def _read_pandas(X: Any) -> tuple[np.ndarray | None, list[Any]]:
    values = X.to_numpy()
    # What pandas still holds itself, it hands out read-only: one block of plain numbers. Columns
    # of types of its own, such as sparse ones, it converts.
    if values.flags.writeable and not all(isinstance(dtype, np.dtype) for dtype in X.dtypes):
        return None, []
    return values, X.columns.tolist()


def _read_polars(X: Any) -> tuple[np.ndarray, list[Any]]:
    return X.to_numpy(order="c"), X.columns  # the other order wakes threads for a single row


_READERS = {"pandas": _read_pandas, "polars": _read_polars}

__all__ = ["numbers_of"]
