"""Prediction by torch, for a pruned net of which the engine lacks a layer."""

import warnings
from contextlib import suppress
from typing import Any, Self

import numpy as np
from sklearn.base import is_classifier
from skorch import NeuralNet

from skprune.engine import Model, Network
from skprune.nets.hidden import last_hidden
from skprune.nets.lowering import UnsupportedLayerError, lower
from skprune.nets.rows import (
    are_several,
    as_array,
    each_part,
    is_dataset,
    is_slice_dataset,
    n_rows,
    numbers_of,
)
from skprune.nets.seeding import seeded

_FLOAT32 = np.dtype(np.float32)


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
    except Exception as error:  # a net that took hours to train is not lost for that
        reason = f"the engine cannot take it ({error!r})"
    warnings.warn(f"predict runs the pruned net in torch, dense: {reason}.", stacklevel=4)
    return TorchModel.trained_on(X, net, reason, labels), reason


def n_hidden(model: "Network | TorchModel", X: Any) -> int:
    """Return the number of columns that `transform` of a model returns.

    Parameters
    ----------
    model : Network or TorchModel
        Of a trained net.
    X : object
        Some rows that it was trained on.

    Returns
    -------
    n_columns : int
        0 where the net fails on the rows.

    Warns
    -----
    UserWarning
        If it does.
    """
    try:
        return model.transform(X if isinstance(model, TorchModel) else numbers_of(X)).shape[1]
    except Exception as error:  # whatever a user's forward raises: the net is trained
        warnings.warn(
            f"the net is trained and pruned, but it fails on {n_rows(X)} rows that it was trained "
            f"on, outside training: {error!r}.",
            stacklevel=4,
        )
        return 0


class TorchModel(Model):
    """A fitted skorch net as a model of the engine.

    Parameters
    ----------
    net : NeuralNet
        The fitted net.
    reason : str
        Why the engine does not run the net; `explain` returns it.
    labels : ndarray of shape (n_classes,), default=None
        The labels of the codes that the net predicts; None where it predicts labels.
    n_features_in : int, default=None
        Columns of ``X``; None where the net was not trained on a matrix of numbers.
    dtype : numpy.dtype, default=float32
        The type of this matrix.
    dtypes : object, default=None
        The types of all arrays that the net was trained on, built as ``X`` is.
    streams : bool, default=False
        Whether the net was trained on a Dataset.
    """

    allow_nd = True
    keeps_dtype = True
    predicts_labels = True

    def __init__(
        self,
        net: NeuralNet,
        reason: str,
        labels: np.ndarray | None = None,
        *,
        n_features_in: int | None = None,
        dtype: np.dtype = _FLOAT32,
        dtypes: Any = None,
        streams: bool = False,
    ) -> None:
        self.net = net
        self.reason = reason
        self.labels = labels
        self.n_features_in = n_features_in
        self.dtype = dtype
        self.dtypes = dtypes
        self.streams = streams

    @classmethod
    def trained_on(
        cls, X: Any, net: NeuralNet, reason: str, labels: np.ndarray | None = None
    ) -> Self:
        """Return the model of a net, with the shape and the types of rows that it was trained on.

        Parameters
        ----------
        X : ndarray of shape (n_samples, ...), or what else skorch takes
            Rows as the net wants them.
        net, reason, labels
            As for the class.
        """
        streams = is_dataset(X) or is_slice_dataset(X)
        dtypes = None if streams else each_part(X, _number_type)
        rows: Any = None
        with suppress(ValueError):  # rows of different lengths, which a collate_fn joins
            rows = as_array(X)
        width, dtype = None, _FLOAT32
        if _number_type(rows) is not None and rows.ndim > 1:
            width, dtype = rows.shape[1], rows.dtype
        return cls(
            net, reason, labels, n_features_in=width, dtype=dtype, dtypes=dtypes, streams=streams
        )

    def reads(self, X: Any) -> bool:
        """Return whether only skorch can read X: several arrays, a Dataset, a frame by columns."""
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
        """Return the probabilities of a classifier, or the targets of another net."""
        X = self._rows(X)
        with seeded(0, self.net.device):  # torch's DataLoader draws from the global generator
            return self.net.predict_proba(X) if is_classifier(self.net) else self.net.predict(X)

    def predict_labels(self, X: Any, n_jobs: int | None = None) -> np.ndarray:
        """Return labels, by the net's own rule."""
        with seeded(0, self.net.device):
            predicted = np.asarray(self.net.predict(self._rows(X)))
        return predicted if self.labels is None else self.labels.take(predicted.astype(np.intp))

    def transform(self, X: Any, n_jobs: int | None = None) -> np.ndarray:
        """Return the input of the last use of a prunable weight, one row per row of X."""
        with seeded(0, self.net.device):
            return last_hidden(self.net, self._rows(X)).float().numpy()

    def explain(self, n_rows: int | None = None) -> str:
        """Return why torch runs the net."""
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
