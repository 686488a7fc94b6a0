"""A chain of sparse layers and how it predicts: `Network`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from skprune.engine.activations import ACTIVATIONS, activate
from skprune.engine.checks import as_finite_float32, as_matrix, dense_parts, n_threads, on_csr
from skprune.engine.explaining import explain_network
from skprune.engine.layers import Layer, as_float32, checked_chain
from skprune.engine.model import Model
from skprune.engine.native import choose_engine, isa, kernels
from skprune.engine.planning import KERNELS, Plan, plan_network

# The least work for which starting a thread pays.
_THREAD_NANOSECONDS = 60_000


class Network(Model):
    """A chain of layers, run by compiled kernels or by scipy.

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
        For each column that `transform` returns: the value of a unit that was removed as constant,
        NaN for a unit that the last hidden layer computes. By default it computes all.
    fill : array-like of shape (n_features_in,), optional
        What replaces NaN in each column of ``X``. By default NaN is refused.

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
    n_hidden : int
        The number of layers that `transform` runs.
    hidden_constants : ndarray of shape (n_units,), float32, or None
        As given.
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
    converts = True
    flattens = True  # as a net's own Flatten does

    def __init__(
        self,
        layers: Sequence[Layer],
        engine: str = "auto",
        n_hidden: int | None = None,
        hidden_constants: Any = None,
        fill: Any = None,
    ) -> None:
        self.layers = checked_chain(layers)
        depth = len(self.layers)
        if n_hidden is not None and not (isinstance(n_hidden, Integral) and 0 <= n_hidden <= depth):
            raise ValueError(
                f"n_hidden must be an integer in [0, {depth}], but it is {n_hidden!r}."
            )
        self.n_hidden = depth - 1 if n_hidden is None else int(n_hidden)
        self.hidden_constants = self._checked_constants(hidden_constants)
        self.n_features_in = int(self.layers[0].weight.shape[1])
        self.n_outputs = int(self.layers[-1].weight.shape[0])
        self.fill = self._checked_fill(fill)
        self._first_columns, self._inputs = _only_used_inputs(self.layers[0].weight)
        self.plan: Plan = plan_network(self.layers, isa(), len(self._inputs) or self.n_features_in)
        self.engine = choose_engine(engine)
        self.requested_engine = engine
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
        """Return the output of the last layer for each row.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_rows, n_features_in)
            float32 and float64 arrays of any strides are read in place, and so are CSR arrays,
            which are made dense a few rows at a time.
        n_jobs : int or None, default=1
            Threads; -1 uses every core. The prediction of the native kernels for a row is the same
            to the bit, whatever the number of threads and the other rows.

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
        if self.n_hidden == 0:
            n_threads(n_jobs)
            return np.concatenate([self._finite(part) for part in self._dense_parts(X)])
        hidden = self._run(X, n_jobs, self.n_hidden)
        if self.hidden_constants is None:
            return hidden
        units = np.tile(self.hidden_constants, (len(hidden), 1))
        units[:, np.isnan(self.hidden_constants)] = hidden
        return units

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
        return explain_network(self.engine, self.layers, self.plan, n_rows)

    def __repr__(self) -> str:
        widths = [self.n_features_in] + [layer.weight.shape[0] for layer in self.layers]
        shown = widths if len(widths) <= 8 else [*widths[:4], "...", *widths[-3:]]
        return f"Network({' -> '.join(map(str, shown))}, engine={self.engine!r})"

    def _checked_constants(self, constants: Any) -> np.ndarray | None:
        if constants is None:
            return None
        array = np.array(constants, dtype=np.float32)
        computed = self.layers[self.n_hidden - 1].weight.shape[0] if self.n_hidden else -1
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
        array = np.array(as_float32(fill, "fill"))
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
                X = as_matrix(X, self.n_features_in)  # X may be a list, which has no shape
            threads = self._worthwhile_threads(X, threads)
        if issparse(X):
            return self._run_csr(X, threads, depth)
        result = self._native.run(X, threads, depth)
        if result is None:  # X is no float matrix of the right width that C++ can read in place
            result = self._native.run(as_matrix(X, self.n_features_in), threads, depth)
        return result

    def _worthwhile_threads(self, X: Any, threads: int) -> int:
        """Return how many of the threads have enough rows to pay for their start."""
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
