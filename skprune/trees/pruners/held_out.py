"""Rows that are kept from the training, to judge by."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import _check_method_params

from skprune.base import TrainingData


def hold_out(
    data: TrainingData, fraction: float, random_state: Any, classifies: bool
) -> tuple[TrainingData, TrainingData]:
    """Divide rows into those to train on and those held out, of every class alike.

    Parameters
    ----------
    data : TrainingData
        All rows. Those of weight 0 are never held out.
    fraction : float in (0, 1)
        How many to hold out; of each class one row at least remains to train on.
    random_state : int, RandomState instance or None
        Draws them.
    classifies : bool
        Whether targets are labels.

    Returns
    -------
    training, held_out : TrainingData

    Raises
    ------
    ValueError
        If there are too few rows.

    Examples
    --------
    >>> data = TrainingData(np.zeros((8, 1)), np.repeat(["a", "b"], 4), None)
    >>> training, held_out = hold_out(data, 0.5, random_state=0, classifies=True)
    >>> sorted(training.y), sorted(held_out.y)
    ([np.str_('a'), np.str_('a'), np.str_('b'), np.str_('b')],
     [np.str_('a'), np.str_('a'), np.str_('b'), np.str_('b')])
    """
    drawn = _drawn(data, fraction, check_random_state(random_state), classifies)
    trains = np.ones(data.X.shape[0], dtype=bool)
    trains[drawn] = False
    return take_rows(data, np.flatnonzero(trains)), take_rows(data, drawn)


def take_rows(data: TrainingData, rows: np.ndarray) -> TrainingData:
    """Take some of the rows, and what belongs to them.

    Parameters
    ----------
    data : TrainingData
        All rows.
    rows : ndarray of shape (n_taken,), intp
        Which.

    Returns
    -------
    TrainingData

    Examples
    --------
    >>> data = TrainingData(np.zeros((3, 1)), np.array([1.0, 2.0, 3.0]), None)
    >>> take_rows(data, np.array([0, 2])).y
    array([1., 3.])
    """
    weight = data.sample_weight
    return replace(
        data,
        X=_safe_indexing(data.X, rows),
        y=data.y[rows],
        sample_weight=None if weight is None else weight[rows],
        fit_params=_check_method_params(data.X, data.fit_params, indices=rows),
    )


def _drawn(
    data: TrainingData, fraction: float, random_state: np.random.RandomState, classifies: bool
) -> np.ndarray:
    """Draw the rows to hold out, in proportion to the classes."""
    weight = data.sample_weight
    rows = np.arange(data.X.shape[0]) if weight is None else np.flatnonzero(weight > 0)
    rows = random_state.permutation(rows)
    n_held_out = round(fraction * len(rows))
    n_reserved = 1
    if classifies:
        y = data.y[rows].reshape(len(rows), -1)
        codes = [np.unique(column, return_index=True, return_inverse=True) for column in y.T]
        # the estimator has to know every class
        reserved = np.unique(np.concatenate([first for _, first, _ in codes]))
        n_reserved = len(reserved)
        free = np.setdiff1d(np.arange(len(rows)), reserved)
        by_class = np.lexsort([code[free] for _, _, code in codes])
        rows = rows[free][by_class]
    else:
        rows = rows[n_reserved:]
    if not 1 <= n_held_out <= len(rows):
        raise ValueError(
            f"validation_fraction={fraction!r} of n_samples={len(rows) + n_reserved} rows with a "
            f"weight is {n_held_out} to hold out, but it has to be at least 1, and at most "
            f"{len(rows)} for the tree to be grown on a row of every class."
        )
    # Rows of a class stand side by side: every n-th of them is the same share of each class.
    start = random_state.uniform()
    every = np.floor((np.arange(n_held_out) + start) * len(rows) / n_held_out)
    return np.sort(rows[every.astype(np.intp)])
