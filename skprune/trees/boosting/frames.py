"""What the names and types of a frame's columns say to HistGradientBoosting, told by numbers."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np

__all__ = ["categorical_mask", "constraints_in_order", "is_frame", "refuse_text"]

# pandas, and polars
_CATEGORY_TYPES = ("category", "Categorical", "Enum")


def is_frame(X: Any) -> bool:
    """Tell whether rows have columns with names and types, as those of pandas and polars have.

    Examples
    --------
    >>> from skprune.trees.boosting.frames import is_frame
    >>> is_frame([[0.0, 1.0]])
    False
    """
    return hasattr(X, "columns") and hasattr(X, "dtypes")


def categorical_mask(categorical_features: Any, frame: Any) -> list[bool] | None:
    """Return which columns of a frame are categories, by their names or their types.

    Parameters
    ----------
    categorical_features : "from_dtype", or array-like of str, int or bool, or None
        As HistGradientBoosting takes it.
    frame : DataFrame
        The training rows.

    Returns
    -------
    list of bool, or None
        None where `categorical_features` means the same for an array, or is for scikit-learn to
        refuse.

    Raises
    ------
    ValueError
        If there is no column of a name.

    Examples
    --------
    >>> import pandas as pd
    >>> from skprune.trees.boosting.frames import categorical_mask
    >>> frame = pd.DataFrame({"age": [31, 40], "town": pd.Categorical([3, 7])})
    >>> categorical_mask("from_dtype", frame), categorical_mask(["age"], frame)
    ([False, True], [True, False])
    """
    if isinstance(categorical_features, str) and categorical_features == "from_dtype":
        return [str(dtype).split("(")[0] in _CATEGORY_TYPES for dtype in frame.dtypes]
    asked = np.asarray(categorical_features)
    if asked.ndim != 1 or not asked.size or not all(isinstance(name, str) for name in asked):
        return None
    names = list(frame.columns)
    if unknown := [str(name) for name in asked if name not in names]:
        raise ValueError(f"categorical_features names {unknown}, but the columns of X are {names}.")
    return [name in asked for name in names]


def constraints_in_order(monotonic_cst: dict[str, int], names: Sequence[Any]) -> list[int]:
    """Return monotonic constraints that are given by name, one for each column.

    Raises
    ------
    ValueError
        If there is no column of a name.

    Examples
    --------
    >>> from skprune.trees.boosting.frames import constraints_in_order
    >>> constraints_in_order({"income": 1}, ["age", "income"])
    [0, 1]
    """
    if unknown := [name for name in monotonic_cst if name not in names]:
        raise ValueError(f"monotonic_cst names {unknown}, but the columns of X are {list(names)}.")
    return [monotonic_cst.get(name, 0) for name in names]


def refuse_text(name: Any, values: Any) -> None:
    """Refuse a column of categories that are no numbers.

    Parameters
    ----------
    name : str or int
        Of the column, for the message.
    values : array-like of shape (n_values,)
        What the column holds. NaN is a number; None is not, but one more category to scikit-learn.

    Raises
    ------
    ValueError
        If there are others than numbers.

    Examples
    --------
    >>> from skprune.trees.boosting.frames import refuse_text
    >>> refuse_text("town", ["Bern", "Chur"])
    Traceback (most recent call last):
    ValueError: column 'town' of X holds categories that are no numbers, such as 'Bern': ...
    """
    values = np.asarray(values)
    if values.dtype.kind in "biuf":
        return
    for value in values.astype(object).tolist():
        if not isinstance(value, Number | np.bool_):
            raise ValueError(
                f"column {name!r} of X holds categories that are no numbers, such as {value!r}: "
                f"encode it first, as scikit-learn's OrdinalEncoder does, and name it in "
                f"categorical_features."
            )
