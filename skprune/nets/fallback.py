"""Prediction by torch, for a pruned net of which the engine lacks a layer."""

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.base import is_classifier
from skorch import NeuralNet

from skprune.engine import Network
from skprune.nets.lowering import UnsupportedLayerError, lower
from skprune.nets.rows import are_several, as_array, each_part, is_dataset, is_slice_dataset
from skprune.nets.seeding import seeded
from skprune.nets.training import prunable_layers


def engine_or_torch(
    net: NeuralNet, X: Any, engine: str, labels: np.ndarray | None = None
) -> "tuple[Network | TorchModel, str | None]":
    """Compile a fitted net for the engine, or let torch run it and warn.

    Parameters
    ----------
    net : NeuralNet
        A fitted net.
    X : ndarray of shape (n_samples, ...), or what else skorch takes
        Some rows as the net wants them.
    engine : {"auto", "native", "scipy"}
        See :class:`skprune.engine.Network`.
    labels : ndarray of shape (n_classes,), default=None
        What the numbers that the net predicts stand for, if it was trained on codes.

    Returns
    -------
    model : Network or TorchModel
        What predicts.
    reason : str or None
        Why it is torch, naming the layer.
    """
    try:
        return lower(net, X, engine), None
    except UnsupportedLayerError as error:
        reason = str(error)
    warnings.warn(f"predict runs the pruned net in torch, dense: {reason}.", stacklevel=4)
    return TorchModel(net, X, reason, labels), reason


class TorchModel:
    """A fitted skorch net behind the interface of the engine's models.

    Parameters
    ----------
    net : NeuralNet
        The fitted net.
    X : ndarray of shape (n_samples, ...), or what else skorch takes
        Rows as the net wants them; shape and dtype of an array are remembered.
    reason : str
        Why the engine does not run the net; `explain` tells it.
    labels : ndarray of shape (n_classes,), default=None
        What the numbers that the net predicts stand for; None where it predicts labels.
    """

    allow_nd = True

    def __init__(
        self, net: NeuralNet, X: Any, reason: str, labels: np.ndarray | None = None
    ) -> None:
        self.net = net
        self.streams = is_dataset(X) or is_slice_dataset(X)
        self.dtypes = None if self.streams else each_part(X, _number_type)
        rows = as_array(X)
        self.n_features_in: Any = None
        self.dtype: Any = np.dtype(np.float32)
        if _number_type(rows) is not None and rows.ndim > 1:
            self.n_features_in, self.dtype = rows.shape[1], rows.dtype
        self.reason = reason
        self.labels = labels

    def reads(self, X: Any) -> bool:
        """Tell whether X is for skorch alone: several arrays, a Dataset, a frame by columns."""
        if is_dataset(X) or is_slice_dataset(X) or are_several(X):
            return True
        return self.n_features_in is None and hasattr(X, "columns")

    def _rows(self, X: Any) -> Any:
        """Convert arrays to the dtypes that the net was trained on."""
        if is_dataset(X) or is_slice_dataset(X):
            return X if self.streams else _of_type(as_array(X), self.dtype)
        dtypes = self.dtype if self.streams else self.dtypes
        return each_part(X, lambda part, dtype: _of_type(as_array(part), dtype), dtypes)

    def predict(self, X: Any, n_jobs: int | None = None) -> np.ndarray:
        """Predict what the net predicts: probabilities of a classifier, else targets."""
        X = self._rows(X)
        with seeded(0, self.net.device):  # torch's DataLoader draws from the global generator
            return self.net.predict_proba(X) if is_classifier(self.net) else self.net.predict(X)

    def decide(self, X: Any, n_jobs: int | None = None) -> np.ndarray:
        """Predict labels, by the net's own rule."""
        with seeded(0, self.net.device):
            predicted = np.asarray(self.net.predict(self._rows(X)))
        return predicted if self.labels is None else self.labels.take(predicted.astype(np.intp))

    def transform(self, X: Any, n_jobs: int | None = None) -> np.ndarray:
        """Give the input of the prunable layer that is called last, a row each."""
        X = self._rows(X)
        latest: list[torch.Tensor] = []
        hooks = [
            layer.register_forward_pre_hook(lambda _, args: latest.append(args[0].cpu()))
            for layer in prunable_layers(self.net).values()
        ]
        batches = []
        try:
            with seeded(0, self.net.device):
                for _ in self.net.forward_iter(X):
                    batches.append(latest[-1].flatten(start_dim=1))
                    latest.clear()
        finally:
            for hook in hooks:
                hook.remove()
        return torch.cat(batches).float().numpy()

    def explain(self, n_rows: int | None = None) -> str:
        """Tell why torch runs the net."""
        return f"runs in torch, dense: {self.reason}"


def _number_type(data: Any) -> np.dtype | None:
    data = as_array(data)
    numbers = isinstance(data, np.ndarray) and data.dtype.kind in "fiub"
    return data.dtype if numbers else None


def _of_type(data: Any, dtype: Any) -> Any:
    if dtype is None or not isinstance(data, np.ndarray):
        return data
    if dtype.kind in "iu" and data.dtype.kind == "f" and (np.rint(data) != data).any():
        return data  # as skorch, which would hand over fractions as they are
    return np.require(data, dtype, "W")
