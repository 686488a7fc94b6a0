"""Remove dead units: those that no weight reads, and those without weights of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_array

from skprune.engine.activations import activate
from skprune.engine.layers import Layer

_OF_WHOLE_ROWS = ("softmax", "log_softmax")  # where a unit's value depends on the others


def without_dead_units(
    layers: Sequence[Layer], n_hidden: int | None = None
) -> tuple[list[Layer], np.ndarray | None]:
    """Remove dead units from a chain of layers; predictions stay the same, but for rounding.

    A unit that no weight reads is removed, unless it is part of the hidden representation. One
    without weights of its own is a constant, which is added to the biases of the next layer.

    Parameters
    ----------
    layers : sequence of Layer
        From input to output. The input and the output keep their width.
    n_hidden : int, default=None
        The number of layers that make up a hidden representation; None for all but the last.

    Returns
    -------
    layers : list of Layer
        The same number of layers, of fewer units.
    constants : ndarray of shape (n_units,), float32, or None
        Of the hidden representation: the values of removed units, NaN for those that are left.
        None where none is removed.

    Examples
    --------
    >>> first = Layer(csr_array(np.float32([[1, 0], [0, 0]])), np.float32([0, 3]), "relu")
    >>> last = Layer(csr_array(np.float32([[1, 2]])), np.float32([0]))
    >>> chain, constants = without_dead_units([first, last])
    >>> [layer.weight.shape for layer in chain], chain[1].bias, constants
    ([(1, 2), (1, 1)], array([6.], dtype=float32), array([nan,  3.], dtype=float32))
    """
    chain = list(layers)
    n_hidden = len(chain) - 1 if n_hidden is None else n_hidden
    numbers = [np.arange(layer.weight.shape[0]) for layer in chain]
    constants = np.full(chain[n_hidden - 1].weight.shape[0], np.nan, np.float32)
    removed = True
    while removed:
        removed = False
        for i in range(len(chain) - 1):
            if chain[i].activation in _OF_WHOLE_ROWS:
                continue
            unread, constant = _dead(chain[i], chain[i + 1])
            # units of the hidden representation are read by callers of `transform`
            gone = constant if i == n_hidden - 1 else unread | constant
            if gone.all():  # a layer keeps at least one unit
                gone[0] = False
            if not gone.any():
                continue
            removed = True
            values = _values(chain[i])
            if i == n_hidden - 1:
                constants[numbers[i][gone]] = values[gone]
            chain[i : i + 2] = _without(chain[i], chain[i + 1], gone, values)
            numbers[i] = numbers[i][~gone]
    return chain, None if np.isnan(constants).all() else constants


def _dead(layer: Layer, reader: Layer) -> tuple[np.ndarray, np.ndarray]:
    n_units = layer.weight.shape[0]
    unread = np.bincount(reader.weight.indices, minlength=n_units) == 0
    return unread, np.diff(layer.weight.indptr) == 0


def _values(layer: Layer) -> np.ndarray:
    """Return the values that units have without weights."""
    return activate(layer.bias[:, None], layer.activation, layer.alpha)[:, 0]


def _without(layer: Layer, reader: Layer, gone: np.ndarray, values: np.ndarray) -> list[Layer]:
    weight = reader.weight.astype(np.float64)
    bias = reader.bias + weight @ np.where(gone, values.astype(np.float64), 0)
    return [
        replace(layer, weight=csr_array(layer.weight[~gone]), bias=layer.bias[~gone]),
        replace(
            reader,
            weight=csr_array(reader.weight[:, ~gone]),
            bias=bias.astype(np.float32),
        ),
    ]


__all__ = ["without_dead_units"]
