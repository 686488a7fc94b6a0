"""One layer of a network, and the checks of a chain of them: `Layer`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from skprune.engine.activations import ACTIVATIONS
from skprune.engine.checks import MAX_WIDTH
from skprune.indices import with_short_indices


@dataclass(frozen=True, eq=False)
class Layer:
    """One linear map with its activation: ``activation(weight @ x + bias)``.

    Parameters
    ----------
    weight : csr_array of shape (n_out, n_in), float32
        The weights. `Network` drops stored zeros.
    bias : ndarray of shape (n_out,), float32
        The bias.
    activation : str, default="identity"
        One of `skprune.engine.ACTIVATIONS`.
    alpha : float, default=0.0
        The slope of "leaky_relu" below zero, the scale of "elu".
    name : str, default=""
        The name of the layer in the module; `Network.explain` shows it.

    Examples
    --------
    >>> Layer(csr_array(np.float32([[1, 0, 2]])), np.float32([0.5]), "relu").weight.shape
    (1, 3)
    """

    weight: csr_array
    bias: np.ndarray
    activation: str = "identity"
    alpha: float = 0.0
    name: str = ""

    def __getstate__(self) -> dict[str, Any]:
        # Plain arrays, so that a pickle does not depend on the inside of scipy's classes.
        w = self.weight
        return vars(self) | {"weight": (w.data, w.indices, w.indptr, w.shape)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        data, indices, indptr, shape = state["weight"]
        weight = csr_array((data, indices, indptr), shape=shape)
        Layer.__init__(self, **state | {"weight": weight})


def checked_chain(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return frozen, canonical copies of layers that fit together, or raise."""
    chain: list[Layer] = []
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise ValueError(f"layers[{i}] must be a Layer, but it is {type(layer).__name__}.")
        where = f"layers[{i}]" + (f" ({layer.name})" if layer.name else "")
        checked = _checked_layer(layer, where)
        if chain and checked.weight.shape[1] != chain[-1].weight.shape[0]:
            raise ValueError(
                f"{where} reads {checked.weight.shape[1]} inputs, but the layer before it has "
                f"{chain[-1].weight.shape[0]} outputs."
            )
        chain.append(checked)
    if not chain:
        raise ValueError("layers must hold at least one Layer.")
    return tuple(chain)


def _checked_layer(layer: Layer, where: str) -> Layer:
    """Return a frozen, canonical copy of ``layer``, or raise."""
    if layer.activation not in ACTIVATIONS:
        raise ValueError(
            f"{where}.activation must be one of {ACTIVATIONS}, but it is {layer.activation!r}."
        )
    if not isinstance(layer.name, str):
        raise ValueError(f"{where}.name must be a string, but it is {layer.name!r}.")
    if not isinstance(layer.alpha, Real) or not np.isfinite(float(layer.alpha)):
        raise ValueError(f"{where}.alpha must be finite, but it is {layer.alpha!r}.")
    weight = _checked_weight(layer.weight, where)
    bias = as_float32(layer.bias, f"{where}.bias")
    if bias.shape != (weight.shape[0],):
        raise ValueError(
            f"{where}.bias must have shape ({weight.shape[0]},), one entry an output, but its "
            f"shape is {bias.shape}."
        )
    bias = bias + np.float32(0)  # -0 becomes 0, as in every sum with another term
    for array in (bias, weight.data, weight.indices, weight.indptr):
        array.setflags(write=False)
    return replace(layer, weight=weight, bias=bias, alpha=float(layer.alpha))


def _checked_weight(weight: Any, where: str) -> csr_array:
    if not isinstance(weight, csr_array | csr_matrix) or weight.ndim != 2:
        raise ValueError(
            f"{where}.weight must be a 2-D scipy.sparse.csr_array, but it is a "
            f"{type(weight).__name__}."
        )
    n_out, n_in = weight.shape
    if not (1 <= n_out <= MAX_WIDTH and 1 <= n_in <= MAX_WIDTH):
        raise ValueError(
            f"{where}.weight must have 1 to {MAX_WIDTH} rows and columns, but its shape is "
            f"{weight.shape}."
        )
    # scipy's own constructor trusts these arrays, and its compiled loops crash on bad ones.
    indptr, indices = np.asarray(weight.indptr), np.asarray(weight.indices)
    if {indptr.dtype.kind, indices.dtype.kind} != {"i"} or indices.ndim != 1:
        raise ValueError(f"{where}.weight.indptr and .indices must be vectors of signed integers.")
    if indptr.shape != (n_out + 1,) or indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(
            f"{where}.weight.indptr must hold {n_out + 1} entries that start at 0 and never fall."
        )
    nnz = int(indptr[-1])
    if nnz > min(len(indices), len(weight.data)):
        raise ValueError(f"{where}.weight.indptr points beyond the end of indices or data.")
    indices = indices[:nnz]
    if nnz and (indices.min() < 0 or indices.max() >= n_in):
        raise ValueError(f"{where}.weight.indices must lie in [0, {n_in}).")
    data = as_float32(weight.data[:nnz], f"{where}.weight")
    clean = csr_array((data.copy(), indices.copy(), indptr.copy()), shape=(n_out, n_in))
    clean.sum_duplicates()
    clean.eliminate_zeros()
    with_short_indices(clean)
    as_float32(clean.data, f"{where}.weight, its duplicates summed,")
    return clean


def as_float32(values: Any, where: str) -> np.ndarray:
    """Return numbers as finite float32, without a copy of those that are, or raise."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{where} must be numeric, but its dtype is {array.dtype}.")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise ValueError(f"{where} contains NaN, infinity or a value too large for float32.")
    return array
