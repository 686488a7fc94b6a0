"""Rows that HistGradientBoosting must see as the user has them: frames, and arrays of text."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["is_frame", "is_text"]


def is_frame(X: Any) -> bool:
    """Tell whether rows have columns with names and types, as those of pandas and polars have.

    Examples
    --------
    >>> from skprune.trees.core.boosting.frames import is_frame
    >>> is_frame([[0.0, 1.0]])
    False
    """
    return hasattr(X, "__dataframe__") or (hasattr(X, "columns") and hasattr(X, "dtypes"))


def is_text(X: Any) -> bool:
    """Tell whether rows are an array that may hold text.

    Examples
    --------
    >>> from skprune.trees.core.boosting.frames import is_text
    >>> is_text(np.array([[1.0, "a"]], dtype=object)), is_text(np.zeros((1, 2)))
    (True, False)
    """
    return isinstance(X, np.ndarray) and X.dtype.kind in "OUS"
