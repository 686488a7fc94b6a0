"""A chain of sparse layers and how it predicts: `Network`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy.sparse import csr_array, csr_matrix, issparse

from skprune.engine.activations import ACTIVATIONS, activate
from skprune.engine.checks import (
    as_finite_float32,
    as_matrix,
    dense_parts,
    n_threads,
    on_csr,
)
from skprune.engine.native import choose_engine, isa, kernels
from skprune.engine.planning import (
    KERNELS,
    MAX_WIDTH,
    Plan,
    checked_rows,
    plan_network,
    table,
    tiles_in_words,
)
from skprune.indices import with_short_indices

# What a thread must have to do, or to start it takes longer than it saves.
_THREAD_NANOSECONDS = 60_000


@dataclass(frozen=True, eq=False)
class Layer:
    """One linear map with its activation: ``activation(weight @ x + bias)``.

    Parameters
    ----------
    weight : csr_array of shape (n_out, n_in), float32
        What the kernels multiply by. Stored zeros are dropped by `Network`.
    bias : ndarray of shape (n_out,), float32
        Where the sums start.
    activation : str, default="identity"
        One of `skprune.engine.ACTIVATIONS`.
    alpha : float, default=0.0
        The slope of "leaky_relu" below zero, the scale of "elu".
    name : str, default=""
        Where the layer came from; `Network.explain` shows it.

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


class Network:
    """A chain of layers, run by compiled kernels or by scipy.

    A network never changes after it is made, so threads may share it.

    Parameters
    ----------
    layers : sequence of Layer
        From input to output; each reads what the one before it writes. They are checked and
        copied.
    engine : {"auto", "native", "scipy"}, default="auto"
        "native" runs the compiled kernels, "scipy" the plain reference path, "auto" the kernels
        where the extension module was built and scipy elsewhere.
    n_hidden : int, optional
        The number of layers that make up what `transform` returns; all but the last by default.
    hidden_constants : array-like of shape (n_units,), optional
        Of what `transform` returns: the values of units that no layer computes, NaN for those that
        the last hidden layer does, in its order. By default it computes all.
    fill : array-like of shape (n_features_in,), optional
        What stands in for NaN in each column of ``X``. By default NaN is refused.

    Attributes
    ----------
    allow_nan : bool
        Whether ``X`` may hold NaN.
    fill : ndarray of shape (n_features_in,), float32, or None
        As given.
    n_features_in, n_outputs : int
        Width of the first layer's input and of the last layer's output.
    layers : tuple of Layer
        The checked layers.
    engine : {"native", "scipy"}
        What runs.
    plan : Plan
        Which kernels run, and what they are expected to cost.

    Examples
    --------
    >>> hidden = Layer(csr_array(np.float32([[1, 0], [0, -1]])), np.zeros(2), "relu")
    >>> output = Layer(csr_array(np.float32([[1, 1]])), np.float32([0.5]))
    >>> network = Network([hidden, output])
    >>> network.predict(np.array([[2.0, 3.0], [2.0, -3.0]]))
    array([[2.5],
           [5.5]], dtype=float32)
    >>> network.transform(np.array([[2.0, -3.0]]))
    array([[2., 3.]], dtype=float32)
    """

    accepts_sparse = True
    converts = True  # numbers of any type
    flattens = True  # rows of more dimensions, as a net's own Flatten does

    def __init__(
        self,
        layers: Sequence[Layer],
        engine: str = "auto",
        n_hidden: int | None = None,
        hidden_constants: Any = None,
        fill: Any = None,
    ) -> None:
        self.layers = _checked_chain(layers)
        depth = len(self.layers)
        if n_hidden is not None and not (isinstance(n_hidden, Integral) and 0 <= n_hidden <= depth):
            raise ValueError(
                f"n_hidden must be an integer in [0, {depth}], but it is {n_hidden!r}."
            )
        self._n_hidden = depth - 1 if n_hidden is None else int(n_hidden)
        self._constants = self._checked_constants(hidden_constants)
        self.n_features_in = int(self.layers[0].weight.shape[1])
        self.n_outputs = int(self.layers[-1].weight.shape[0])
        self.fill = self._checked_fill(fill)
        self._first_columns, self._inputs = _only_used_inputs(self.layers[0].weight)
        self.plan: Plan = plan_network(self.layers, isa(), len(self._inputs) or self.n_features_in)
        self.engine = choose_engine(engine)
        self._requested = engine
        self._native = self._compile() if self.engine == "native" else None

    @property
    def allow_nan(self) -> bool:
        """Whether ``X`` may hold NaN."""
        return self.fill is not None

    @property
    def columns_read(self) -> np.ndarray:
        """Columns of ``X`` that have a weight, in growing order."""
        return np.unique(self.layers[0].weight.indices)

    def predict(self, X: Any, n_jobs: int | None = 1) -> np.ndarray:
        """Return what the last layer makes of each row.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_rows, n_features_in)
            float32 and float64 arrays of any strides are read in place, and so are CSR arrays,
            which are made dense a few rows at a time.
        n_jobs : int or None, default=1
            Threads; -1 uses every core. The native kernels predict a row alike, to the bit,
            whatever the threads and the rows that it comes with.

        Returns
        -------
        ndarray of shape (n_rows, n_outputs), float32

        Raises
        ------
        NonFiniteError
            Where ``X`` is not finite in float32, other than by NaN where there is a `fill`.
        """
        return self._run(X, n_jobs, len(self.layers))

    def transform(self, X: Any, n_jobs: int | None = 1) -> np.ndarray:
        """Return the last hidden layer, after its activation.

        A network of one layer has none; it returns a float32 copy of ``X``. Parameters and errors
        are those of `predict`.

        Returns
        -------
        ndarray of shape (n_rows, width of the last hidden layer), float32
        """
        if self._n_hidden == 0:
            n_threads(n_jobs)
            return np.concatenate([self._finite(part) for part in self._dense_parts(X)])
        hidden = self._run(X, n_jobs, self._n_hidden)
        if self._constants is None:
            return hidden
        units = np.tile(self._constants, (len(hidden), 1))
        units[:, np.isnan(self._constants)] = hidden
        return units

    def with_engine(self, engine: str) -> Network:
        """Return the same network on another engine."""
        return Network(self.layers, engine, self._n_hidden, self._constants, self.fill)

    def explain(self, n_rows: int | None = None) -> str:
        """Return the plan as a table: what runs for each layer, and on what.

        Parameters
        ----------
        n_rows : int, optional
            Show only what runs for a batch of this many rows.

        Examples
        --------
        >>> layer = Layer(csr_array(np.float32([[1, 0], [0, 0]])), np.zeros(2), "relu", name="fc1")
        >>> print(Network([layer], engine="scipy").explain())
        engine scipy, 2 -> 2, 1 of 4 weights (sparsity 75.0%)
        layer  shape  non-zeros  sparsity  any batch  activation
        fc1    2 x 2          1     75.0%  scipy CSR  relu
        """
        weights = sum(int(np.prod(layer.weight.shape)) for layer in self.layers)
        nnz = sum(layer.weight.nnz for layer in self.layers)
        native = self.engine == "native"
        title = (
            f"engine {f'native ({self.plan.isa})' if native else 'scipy'}, {self.n_features_in} -> "
            f"{self.n_outputs}, {nnz} of {weights} weights (sparsity {1 - nnz / weights:.1%})"
        )
        source = [f"expected gains: costs of {self.plan.origin}"] if native else []
        return "\n".join([title, table(self._explain_rows(n_rows)), *source])

    def __repr__(self) -> str:
        widths = [self.n_features_in] + [layer.weight.shape[0] for layer in self.layers]
        shown = widths if len(widths) <= 8 else [*widths[:4], "...", *widths[-3:]]
        return f"Network({' -> '.join(map(str, shown))}, engine={self.engine!r})"

    # as Tree's
    def __getstate__(self) -> dict[str, Any]:
        return {
            "layers": self.layers,
            "engine": self._requested,
            "n_hidden": self._n_hidden,
            "hidden_constants": self._constants,
            "fill": self.fill,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        Network.__init__(self, **state)

    def _checked_constants(self, constants: Any) -> np.ndarray | None:
        if constants is None:
            return None
        array = np.array(constants, dtype=np.float32)
        computed = self.layers[self._n_hidden - 1].weight.shape[0] if self._n_hidden else -1
        if array.ndim != 1 or np.isinf(array).any() or np.isnan(array).sum() != computed:
            raise ValueError(
                f"hidden_constants must be a vector of finite numbers, with NaN for each unit of "
                f"the last hidden layer, and for no other; got {constants!r}."
            )
        array.setflags(write=False)
        return array

    def _checked_fill(self, fill: Any) -> np.ndarray | None:
        if fill is None:
            return None
        array = np.array(_as_float32(fill, "fill"))
        if array.shape != (self.n_features_in,):
            raise ValueError(
                f"fill must have shape ({self.n_features_in},), one value a column of X, but its "
                f"shape is {array.shape}."
            )
        array.setflags(write=False)
        return array

    def _run(self, X: Any, n_jobs: int | None, depth: int) -> np.ndarray:
        threads = n_threads(n_jobs)
        if self._native is None:
            return np.concatenate(
                [self._run_reference(part, depth) for part in self._dense_parts(X)]
            )
        if threads > 1:
            if not issparse(X) and not (isinstance(X, np.ndarray) and X.ndim == 2):
                X = as_matrix(X, self.n_features_in)  # not everything can say how long it is
            threads = self._worthwhile_threads(X, threads)
        if issparse(X):
            return self._run_csr(X, threads, depth)
        result = self._native.run(X, threads, depth)
        if result is None:  # X is no float matrix of the right width that C++ can read in place
            result = self._native.run(as_matrix(X, self.n_features_in), threads, depth)
        return result

    def _worthwhile_threads(self, X: Any, threads: int) -> int:
        """Return no more threads than get enough to do; the result does not depend on it."""
        n_rows = X.shape[0]
        return max(1, min(threads, int(n_rows * self.plan.nanoseconds_a_row / _THREAD_NANOSECONDS)))

    def _run_csr(self, X: Any, threads: int, depth: int) -> np.ndarray:
        assert self._native is not None
        return on_csr(self._native.run_csr, X, self.n_features_in, threads, depth)

    def _dense_parts(self, X: Any) -> Iterable[Any]:
        return dense_parts(X, self.n_features_in) if issparse(X) else [X]

    def _finite(self, X: Any) -> np.ndarray:
        array = as_finite_float32(X, self.n_features_in, self.allow_nan)
        return array if self.fill is None else np.where(np.isnan(array), self.fill, array)

    def _run_reference(self, X: Any, depth: int) -> np.ndarray:
        h = self._finite(X).T
        for layer in self.layers[:depth]:
            h = activate(layer.weight @ h + layer.bias[:, None], layer.activation, layer.alpha)
        return np.ascontiguousarray(h.T)

    def _compile(self) -> Any:
        assert kernels is not None
        fill = np.zeros(0, np.float32) if self.fill is None else self.fill
        native = kernels.Network(
            self.n_features_in, self._inputs, fill, self.plan.steps, self.plan.isa
        )
        for i, (layer, plan) in enumerate(zip(self.layers, self.plan.layers, strict=True)):
            w = layer.weight
            native.add_layer(
                w.shape[0],
                w.indptr.astype(np.int64),
                self._first_columns if i == 0 else w.indices.astype(np.uint32),
                w.data,
                layer.bias,
                ACTIVATIONS.index(layer.activation),
                layer.alpha,
                np.array([KERNELS.index(kernel) for kernel in plan.kernels], np.uint8),
                plan.height,
                plan.order,
            )
        return native

    def _explain_rows(self, n_rows: int | None) -> list[list[str]]:
        native = self.engine == "native"
        counts = (1, 8, 16, 64) if n_rows is None else (checked_rows(n_rows),)
        tiles = [self.plan.widths(n) for n in counts]
        batches = ["any batch"]
        if native:
            batches = [f"{n} row{'s' * (n != 1)}" for n in counts]
        if native and n_rows is not None and n_rows > 1:
            batches = [f"{n_rows} rows, {tiles_in_words(tiles[0])}"]
        rows = [["layer", "shape", "non-zeros", "sparsity", *batches, "activation"]]
        for i, (layer, plan) in enumerate(zip(self.layers, self.plan.layers, strict=True)):
            n_out, n_in = layer.weight.shape
            chosen = [plan.describe(widths) for widths in tiles] if native else ["scipy CSR"]
            alpha = f"({layer.alpha:g})" if layer.activation in ("leaky_relu", "elu") else ""
            rows.append(
                [
                    layer.name or f"layer {i}",
                    f"{n_out} x {n_in}",
                    str(layer.weight.nnz),
                    f"{1 - layer.weight.nnz / (n_out * n_in):.1%}",
                    *chosen,
                    layer.activation + alpha,
                ]
            )
        return rows


def _only_used_inputs(weight: csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of the weights, numbered anew, and which columns of X they are.

    Where at least half of the columns are used, they keep their numbers, and there is no list.
    """
    n_in = weight.shape[1]
    columns = weight.indices.astype(np.uint32)
    if n_in <= 8 * weight.nnz:
        flags = np.zeros(n_in, bool)
        flags[columns] = True
        used = np.flatnonzero(flags).astype(np.uint32)
    else:  # a few weights must not ask for memory by a large number of columns
        used = np.unique(columns)
    if 2 * len(used) > n_in:
        return columns, np.zeros(0, np.uint32)
    if len(used) == 0:
        used = np.zeros(1, np.uint32)
    return np.searchsorted(used, columns).astype(np.uint32), used


def _checked_chain(layers: Sequence[Layer]) -> tuple[Layer, ...]:
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
    """Return a frozen, canonical copy of ``layer``, or say what is wrong with it."""
    if layer.activation not in ACTIVATIONS:
        raise ValueError(
            f"{where}.activation must be one of {ACTIVATIONS}, but it is {layer.activation!r}."
        )
    if not isinstance(layer.name, str):
        raise ValueError(f"{where}.name must be a string, but it is {layer.name!r}.")
    if not isinstance(layer.alpha, Real) or not np.isfinite(float(layer.alpha)):
        raise ValueError(f"{where}.alpha must be finite, but it is {layer.alpha!r}.")
    weight = _checked_weight(layer.weight, where)
    bias = _as_float32(layer.bias, f"{where}.bias")
    if bias.shape != (weight.shape[0],):
        raise ValueError(
            f"{where}.bias must have shape ({weight.shape[0]},), one entry an output, but its "
            f"shape is {bias.shape}."
        )
    bias = bias + np.float32(0)  # of -0 it makes 0, as every sum does that adds anything
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
    data = _as_float32(weight.data[:nnz], f"{where}.weight")
    clean = csr_array((data.copy(), indices.copy(), indptr.copy()), shape=(n_out, n_in))
    clean.sum_duplicates()
    clean.eliminate_zeros()
    with_short_indices(clean)
    _as_float32(clean.data, f"{where}.weight, its duplicates summed,")
    return clean


def _as_float32(values: Any, where: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{where} must be numeric, but its dtype is {array.dtype}.")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise ValueError(f"{where} contains NaN, infinity or a value too large for float32.")
    return array
