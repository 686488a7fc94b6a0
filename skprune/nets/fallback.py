"""Prediction by torch, for a pruned net of which the engine lacks a layer."""

import warnings

import numpy as np
import torch
from sklearn.base import is_classifier
from skorch import NeuralNet

from skprune.engine import Network
from skprune.nets.lowering import UnsupportedLayerError, lower
from skprune.nets.seeding import seeded
from skprune.nets.training import prunable_layers


def engine_or_torch(
    net: NeuralNet, X: np.ndarray, engine: str
) -> "tuple[Network | TorchModel, str | None]":
    """Compile a fitted net for the engine, or let torch run it and warn.

    Parameters
    ----------
    net : NeuralNet
        A fitted net.
    X : ndarray of shape (n_samples, ...)
        Some rows as the net wants them.
    engine : {"auto", "native", "scipy"}
        See :class:`skprune.engine.Network`.

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
    return TorchModel(net, X, reason), reason


class TorchModel:
    """A fitted skorch net behind the interface of the engine's models.

    Parameters
    ----------
    net : NeuralNet
        The fitted net.
    X : ndarray of shape (n_samples, ...)
        Rows as the net wants them; their shape and dtype are remembered.
    reason : str
        Why the engine does not run the net; `explain` tells it.
    """

    allow_nd = True

    def __init__(self, net: NeuralNet, X: np.ndarray, reason: str) -> None:
        self.net = net
        self.n_features_in = X.shape[1]
        self.dtype = X.dtype
        self.reason = reason

    def predict(self, X: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        """Predict what the net predicts: probabilities of a classifier, else targets."""
        with seeded(0, self.net.device):  # torch's DataLoader draws from the global generator
            X = _writable(X)
            return self.net.predict_proba(X) if is_classifier(self.net) else self.net.predict(X)

    def decide(self, X: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        """Predict numbers of classes, by the net's own rule."""
        with seeded(0, self.net.device):
            predicted = self.net.predict(_writable(X))
        if getattr(self.net, "encodes_labels", False):
            return np.searchsorted(self.net.classes_, predicted)
        return np.asarray(predicted).astype(np.intp)

    def transform(self, X: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        """Give the input of the prunable layer that is called last, a row each."""
        latest: list[torch.Tensor] = []
        hooks = [
            layer.register_forward_pre_hook(lambda _, args: latest.append(args[0].cpu()))
            for layer in prunable_layers(self.net).values()
        ]
        batches = []
        try:
            with seeded(0, self.net.device):
                for _ in self.net.forward_iter(_writable(X)):
                    batches.append(latest[-1].flatten(start_dim=1))
                    latest.clear()
        finally:
            for hook in hooks:
                hook.remove()
        return torch.cat(batches).numpy()

    def explain(self, n_rows: int | None = None) -> str:
        """Tell why torch runs the net."""
        return f"runs in torch, dense: {self.reason}"


def _writable(X: np.ndarray) -> np.ndarray:
    return np.require(X, requirements="W")  # torch warns of arrays that are not, as frames hold
