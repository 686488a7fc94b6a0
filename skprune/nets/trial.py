"""What a net's module and its loss take, tried on a few rows before training."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from inspect import signature
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from skorch import NeuralNet
from skorch.dataset import unpack_data
from skorch.utils import multi_indexing

from skprune.nets.rows import is_dataset, is_slice_dataset, n_rows
from skprune.nets.seeding import seeded

_N_ROWS = 32
_SAME = 1e-5  # of a loss: sums in another order differ by less

FAILS, COMPUTES, PAIRS = range(3)

_ITERATOR = {"iterator_valid__num_workers": 0, "iterator_valid__batch_size": -1}


class Trial:
    """A copy of a net, and some rows to try on it; neither the net nor global states change.

    Parameters
    ----------
    net : NeuralNet
        Fitted or not.
    X : object
        Whatever skorch takes.
    y : object
        Targets. The rows hold as many different ones as possible, the extremes among them.
    fit_params : dict, default=None
        What `fit` gets; the module's share is handed to it.

    Attributes
    ----------
    outputs : Tensor, object or None
        What the module returns for the rows; None before it was tried, or where it fails.
    net : NeuralNet or None
        The copy that took the rows.
    latest : NeuralNet or None
        The copy that was tried last, even in vain.
    error : Exception or None
        What the module raised at last.
    """

    def __init__(
        self, net: NeuralNet, X: Any, y: Any = None, fit_params: dict[str, Any] | None = None
    ) -> None:
        self._original = net
        self._rows = _some_rows(X, y)
        self._X = X
        self._for_module = _module_share(net, fit_params or {})
        self.net: NeuralNet | None = None
        self.latest: NeuralNet | None = None
        self.error: Exception | None = None
        self.outputs: Any = None

    def rows_of(self, data: Any) -> Any:
        """Pick the rows of some data.

        Parameters
        ----------
        data : object
            X, y, or what was made of them.

        Returns
        -------
        rows : object
            Of the same kind.
        """
        return picked(data, self._rows)

    def first_input_taken(self, forms: Sequence[Callable[[Any], Any]]) -> Callable | None:
        """Find the first form of X that the module runs on.

        Parameters
        ----------
        forms : sequence of callable
            X -> X in another form.

        Returns
        -------
        form : callable or None
            None if the module runs on none of them, or cannot be made before training.
        """
        rows = self.rows_of(self._X)
        with warnings.catch_warnings(), seeded(0, self._original.device):
            warnings.simplefilter("ignore")
            for net in self._copies(rows):
                self.latest = net
                for form in forms:
                    try:
                        self._run(net, form(rows))
                    except Exception as error:  # whatever a module raises that does not fit
                        self.error = error
                        continue
                    return form
        return None

    def _copies(self, rows: Any) -> Iterator[NeuralNet]:
        """Make copies on the CPU: a label out of range would end all work on a GPU."""
        if self._original.initialized_:
            copy = deepcopy(self._original)
            for name in copy._modules + copy._criteria:
                setattr(copy, name + "_", getattr(copy, name + "_").to("cpu"))
            yield _plainly_set(copy, callbacks_=[])
            return
        with suppress(Exception):  # whatever a module raises that its net has yet to be fitted for
            copy = _plainly_set(clone(self._original), callbacks="disable").initialize()
            yield copy
        with suppress(Exception):
            # only where this does not do: callbacks may set the sizes of the module
            copy = _plainly_set(clone(self._original)).initialize()
            copy.notify("on_train_begin", X=rows, y=None)
            yield copy

    def _run(self, net: NeuralNet, rows: Any) -> None:
        batch = next(iter(net.get_iterator(net.get_dataset(rows), training=False)))
        inputs = unpack_data(batch)[0]
        net._set_training(len(self._rows) > 1)  # a batch norm refuses to learn from one row
        outputs = net.infer(inputs, **self._for_module)
        self.net, self.outputs = net, outputs
        self._batch, self._net_rows = inputs, rows
        self._scores = None
        if torch.is_tensor(outputs) and outputs.is_floating_point():
            # a module may return constants at its start, of which no loss tells targets apart
            self._scores = torch.rand(outputs.shape, dtype=torch.float64).to(outputs.dtype)

    def verdict(self, y: np.ndarray) -> int:
        """Tell what the loss makes of targets.

        Parameters
        ----------
        y : ndarray of shape (n_rows, ...)
            Targets of the rows.

        Returns
        -------
        verdict : {FAILS, COMPUTES, PAIRS}
            PAIRS where the loss depends on which row has which target. Where it does not, shapes
            such as (n,) and (n, 1) were stretched against each other, so that all rows meet all
            targets; or the targets are all alike, or not used.
        """
        assert self.net is not None
        with warnings.catch_warnings(), seeded(0, "cpu"):
            warnings.simplefilter("ignore")
            try:
                self.net.check_data(self._net_rows, y)
                loss = self._loss(y)
                moved = self._loss(np.roll(y, 1, axis=0))
            except Exception:  # whatever a loss raises that does not fit
                return FAILS
        if y.dtype.kind == "f" and not np.isfinite(y).all() and not np.isfinite(loss):
            return FAILS
        # rounding alone tells apart what is 0 but for it, hence the 1
        return PAIRS if abs(loss - moved) > _SAME * max(abs(loss), abs(moved), 1) else COMPUTES

    def _loss(self, y: np.ndarray) -> float:
        assert self.net is not None
        torch.manual_seed(0)
        outputs = self.outputs
        if self._scores is not None:
            outputs = self._scores.clone().requires_grad_()
        loss = self.net.get_loss(outputs, torch.as_tensor(y), X=self._batch, training=True)
        if self._scores is not None:
            loss.backward()
        return float(loss.detach())


def picked(data: Any, rows: np.ndarray) -> Any:
    """Pick rows of whatever skorch takes.

    Parameters
    ----------
    data : object
        X or y.
    rows : ndarray of int
        Their numbers.

    Returns
    -------
    picked : object
        Of the same kind.
    """
    if is_dataset(data):
        return torch.utils.data.Subset(data, rows.tolist())
    return data[rows] if is_slice_dataset(data) else multi_indexing(data, rows)


def _plainly_set(net: NeuralNet, **more: Any) -> NeuralNet:
    """Let a copy work at once, in one batch, and in silence."""
    plain = {"device": "cpu", "verbose": 0, "batch_size": -1, "compile": False}
    own = {name: value for name, value in _ITERATOR.items() if name in vars(net)}
    # past skorch's set_params, which would make an initialized module anew
    vars(net).update(plain | own | more)
    return net


def _module_share(net: NeuralNet, fit_params: dict[str, Any]) -> dict[str, Any]:
    """Leave out what `fit` itself takes: skorch hands the rest to the module."""
    methods = (net.fit, net.partial_fit, net.fit_loop)
    parameters = [p for method in methods for p in signature(method).parameters.values()]
    own = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    return {name: value for name, value in fit_params.items() if name not in own}


def _some_rows(X: Any, y: Any) -> np.ndarray:
    n = n_rows(X)
    first = np.arange(min(n, _N_ROWS))
    if not isinstance(y, np.ndarray) or not y.size:
        return first
    if y.ndim > 1:
        extremes = [] if y.dtype.kind not in "biuf" else _extremes(y.reshape(len(y), -1))
        return np.union1d(first, extremes).astype(int)
    different = np.unique(y, return_index=True)[1]
    spread = np.linspace(0, len(different) - 1, min(len(different), 2 * _N_ROWS)).astype(int)
    missing = np.flatnonzero(np.isnan(y) if y.dtype.kind == "f" else np.zeros(len(y)))[:1]
    return np.unique(np.concatenate([first, different[spread], missing])).astype(int)


def _extremes(y: np.ndarray) -> list[int]:
    missing = np.isnan(y).any(axis=1) if y.dtype.kind == "f" else np.zeros(len(y), bool)
    return [y.min(axis=1).argmin(), y.max(axis=1).argmax(), missing.argmax()]
