"""What a skorch net wants as X: the dtype that its module takes."""

from itertools import islice
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from torch import nn

from skprune.nets.precision import float_dtype, numpy_dtype
from skprune.nets.rows import as_array, each_part, is_dataset, is_stream, n_rows
from skprune.nets.trial import Trial, picked


def inputs_for(net: NeuralNet, X: Any, trial: Trial | None) -> Any:
    """Convert rows to the dtype that the net's module takes.

    Parameters
    ----------
    net : NeuralNet
        Fitted or not.
    X : ndarray of shape (n_samples, ...), or what else skorch takes
        Numbers.
    trial : Trial or None
        Of the net and these rows; None for a net that converts X by itself.

    Returns
    -------
    X : object
        As it is, if the module runs on it: then skorch would hand it over so. Otherwise integers,
        int64, or floats of the module's own kind. Where nothing can be tried before training,
        floats; integers for a module that has an Embedding.

    Raises
    ------
    ValueError
        If a value is too large for its new dtype, or a fitted module does not run on X.
    """
    if trial is None:
        return _as_floats(X, numpy_dtype(torch.get_default_dtype()))

    # the module that says which floats is made when X is tried on it
    def by_kind(data: Any) -> Any:
        return _as_integers(_as_floats(data, _floats_of(trial), of="f"))

    def all_floats(data: Any) -> Any:
        return _as_floats(data, _floats_of(trial))

    form = trial.first_input_taken([_writable, by_kind, all_floats])
    if form is None and net.initialized_:
        shape: tuple[int, ...] = getattr(X, "shape", ())
        told = f"{shape[1]} features" if len(shape) == 2 else f"the shape {shape}"
        raise ValueError(
            f"X has {told}, which the estimator's module does not take: {trial.error}"
        ) from trial.error
    if form is None:
        form = by_kind if _looks_up(trial) else all_floats
    return form(X)


def rows_to_try(net: NeuralNet, X: Any) -> Any:
    """Pick the first rows, to see what a trained net does.

    Parameters
    ----------
    net : NeuralNet
        A trained net.
    X : object
        Whatever skorch takes.

    Returns
    -------
    rows : object
        Sixteen rows at most, of the same kind; in a single batch, as what is left over for a
        second one might be a row alone, which not every module takes.
    """
    in_batch = net.get_params_for("iterator_valid").get("batch_size", net.batch_size)
    n_tried = min(16, in_batch) if in_batch > 1 else 16
    if is_stream(X):
        X = list(islice(X, n_tried))
        return torch.utils.data.Subset(X, range(len(X)))
    return picked(X, np.arange(min(n_tried, n_rows(X))))


def _floats_of(trial: Trial) -> np.dtype:
    net = trial.latest
    return numpy_dtype(torch.get_default_dtype() if net is None else float_dtype(net))


def _looks_up(trial: Trial) -> bool:
    net = trial.latest
    if net is None:
        return False
    layers = (layer for name in net._modules for layer in getattr(net, name + "_").modules())
    return any(isinstance(layer, nn.Embedding | nn.EmbeddingBag) for layer in layers)


def _writable(data: Any) -> Any:
    # torch warns of read-only arrays, which pandas hands out
    return np.require(data, requirements="W") if isinstance(data, np.ndarray) else data


def _array_or_stream(data: Any) -> Any:
    # a Dataset may draw its rows anew in each epoch, so it is not read here
    return data if is_dataset(data) else as_array(data)


def _as_integers(data: Any) -> Any:
    def convert(array: Any) -> Any:
        array = _array_or_stream(array)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
            return array
        return np.require(array, np.int64, "W")

    return each_part(data, convert)


def _as_floats(data: Any, dtype: np.dtype, of: str = "fiub") -> Any:
    def convert(array: Any) -> Any:
        array = _array_or_stream(array)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in of:
            return array
        with np.errstate(over="ignore"):
            converted = np.require(array, dtype, "W")
        if not np.isfinite(converted).all() and np.isfinite(array).all():
            raise ValueError(f"Input X contains a value too large for {dtype!r}.")
        return converted

    return each_part(data, convert)
