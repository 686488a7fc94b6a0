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
        try:
            with seeded(0, net.device):
                net = clone(net).initialize()
        except Exception:  # whatever a module raises that its net has yet to be fitted for
            return False
    layers = (layer for name in net._modules for layer in getattr(net, name + "_").modules())
    return any(isinstance(layer, nn.Embedding | nn.EmbeddingBag) for layer in layers)


class Labels:
    """Labels of any kind, and the codes that a net trains on.

    Parameters
    ----------
    net : NeuralNet
        One with `encodes_labels` gets the labels as they are. Of another, output k is the k-th
        of its `classes` or, without these, of the labels sorted; a fitted one keeps its codes,
        0 to n_outputs - 1.
    X : ndarray of shape (n_samples, ...)
        Rows as the net wants them.
    y : ndarray of shape (n_samples,) or None
        The labels; None where a fitted net is not trained.
    """

    def __init__(self, net: NeuralNet, X: np.ndarray, y: Any) -> None:
        self._net = net
        self._own = getattr(net, "encodes_labels", False)
        self._classes = self._known_classes(X, y)
        self.encoded = y
        if y is None:
            return
        y = column_or_1d(y, warn=True)
        unseen = np.setdiff1d(y, self._classes)
        if len(unseen):
            raise ValueError(
                f"y holds unseen labels: {unseen.tolist()}; the classes of the estimator are "
                f"{self._classes.tolist()}."
            )
        if len(self._classes) < 2:
            raise ValueError(
                f"y must hold at least 2 classes, but it holds one class only: "
                f"{self._classes.tolist()}."
            )
        order = np.argsort(self._classes)
        codes = order[np.searchsorted(self._classes, y, sorter=order)]
        self.encoded = y if self._own else codes

    def _known_classes(self, X: np.ndarray, y: Any) -> np.ndarray:
        if self._net.initialized_:
            # without an encoding of its own, a net predicts numbers of outputs
            return self._net.classes_ if self._own else np.arange(self._n_outputs(X))
        given = getattr(self._net, "classes", None)
        return np.unique(y) if given is None or len(given) == 0 else np.asarray(given)

    def _n_outputs(self, X: np.ndarray) -> int:
        try:
            with seeded(0, self._net.device):
                return self._net.predict_proba(X[:1]).shape[1]
        except RuntimeError as error:
            raise ValueError(
                f"X has {X.shape[1]} features, which the estimator's module does not take: {error}"
            ) from error

    @property
    def classes(self) -> np.ndarray:
        """The labels in the order of the net's outputs; to be asked for after training."""
        return self._net.classes_ if self._own else self._classes

    def check_outputs(self, X: np.ndarray) -> None:
        """Refuse a trained net that has another number of outputs than there are labels.

        Parameters
        ----------
        X : ndarray of shape (n_samples, ...)
            Rows as the net wants them.

        Raises
        ------
        ValueError
            With both numbers.
        """
        n_outputs = self._n_outputs(X)
        if n_outputs != len(self.classes):
            raise ValueError(
                f"estimator has {n_outputs} outputs, but y holds {len(self.classes)} classes: "
                f"{self.classes.tolist()}; give the module as many outputs, or name all labels by "
                f"the net's parameter classes."
            )


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
