"""What a skorch net wants its data to be: dtypes, and labels as numbers."""

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import column_or_1d
from skorch import NeuralNet
from torch import nn

from skprune.nets.seeding import seeded


def check_is_skorch_net(net: Any) -> None:
    """Refuse what is no skorch net.

    Parameters
    ----------
    net : object
        What a net pruner was given as `estimator`.

    Raises
    ------
    TypeError
        If it is not a skorch net.
    """
    if not isinstance(net, NeuralNet):
        raise TypeError(
            f"estimator must be a skorch net, such as MLPNetClassifier, or a FrozenEstimator "
            f"around a fitted one; got {net!r}."
        )


def inputs_for(net: NeuralNet, X: np.ndarray) -> np.ndarray:
    """Convert rows to the dtype that the net's module takes.

    Parameters
    ----------
    net : NeuralNet
        Fitted or not.
    X : ndarray of shape (n_samples, ...)
        Numbers.

    Returns
    -------
    X : ndarray of shape (n_samples, ...)
        Float32; integers stay integers, int64, for a module that looks them up.

    Raises
    ------
    ValueError
        If a value is too large for float32.
    """
    if X.dtype.kind in "iu" and _has_embedding(net):
        return np.require(X, np.int64, "W")
    with np.errstate(over="ignore"):
        converted = np.require(X, np.float32, "W")  # torch warns of read-only arrays
    if not np.isfinite(converted).all():
        raise ValueError("Input X contains a value too large for dtype('float32').")
    return converted


def _has_embedding(net: NeuralNet) -> bool:
    if getattr(net, "encodes_labels", False):
        return False
    if not net.initialized_:
        with seeded(0, net.device):
            net = clone(net).initialize()
    layers = (layer for name in net._modules for layer in getattr(net, name + "_").modules())
    return any(isinstance(layer, nn.Embedding | nn.EmbeddingBag) for layer in layers)


class Labels:
    """Labels of any kind, and the codes that a net trains on.

    Parameters
    ----------
    net : NeuralNet
        A net that is fitted keeps its own classes. One with `encodes_labels` gets the labels
        as they are.
    y : ndarray of shape (n_samples,) or None
        The labels; None where a fitted net is not trained.
    """

    def __init__(self, net: NeuralNet, y: Any) -> None:
        self._net = net
        self._own = getattr(net, "encodes_labels", False)
        self._classes = net.classes_ if net.initialized_ else np.unique(y)
        self.encoded = y
        if y is None:
            return
        y = column_or_1d(y, warn=True)
        unseen = np.setdiff1d(y, self._classes)
        if len(unseen):
            raise ValueError(
                f"y holds labels that the frozen estimator does not know: {unseen.tolist()}."
            )
        if len(self._classes) < 2:
            raise ValueError(
                f"y must hold at least 2 classes, but it holds one class only: "
                f"{self._classes.tolist()}."
            )
        self.encoded = y if self._own else np.searchsorted(self._classes, y)

    @property
    def classes(self) -> np.ndarray:
        """The labels, in the order of the net's outputs; to be asked for after training."""
        return self._net.classes_ if self._own else self._classes


def targets_for(net: NeuralNet, y: Any) -> Any:
    """Convert targets to the dtype that the net's criterion takes.

    Parameters
    ----------
    net : NeuralNet
        Fitted or not.
    y : ndarray or None
        Codes of classes, labels for a net with `encodes_labels`, or targets.

    Returns
    -------
    y : ndarray or None
        Float32 in place of float64, and for binary cross entropy; int64 codes otherwise.
    """
    if y is None or getattr(net, "encodes_labels", False):
        return y
    criterion = net.criterion if isinstance(net.criterion, type) else type(net.criterion)
    if issubclass(criterion, nn.BCELoss | nn.BCEWithLogitsLoss) or y.dtype == np.float64:
        return y.astype(np.float32)
    return np.require(y, requirements="W")
