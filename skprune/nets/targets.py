"""What a skorch net gets as y: targets as they are or, where its loss cannot take these, codes.

Plain skorch hands its loss whatever `fit` was given. So does a pruner, as long as the loss can
compute with it and sees each row with its own target.
"""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import nn

from skprune.nets.precision import float_dtype, numpy_dtype
from skprune.nets.seeding import seeded
from skprune.nets.trial import COMPUTES, PAIRS, Trial


class Targets(NamedTuple):
    """What skorch gets as y.

    Attributes
    ----------
    values : object
        The targets, or codes of labels.
    labels : ndarray of shape (n_classes,) or None
        The labels that the codes 0, 1, ... stand for; None where `values` are what `fit` got.
    """

    values: Any
    labels: np.ndarray | None = None


class _Form(NamedTuple):
    """A way to write targets; `labels` are what it writes as codes."""

    write: Callable[[np.ndarray], np.ndarray]
    labels: np.ndarray | None = None


def targets_for(net: NeuralNet, y: Any, trial: Trial | None, *, classifies: bool) -> Targets:
    """Write targets as the net's loss takes them.

    Parameters
    ----------
    net : NeuralNet
        Fitted or not. A fitted one keeps its codes, the numbers of its outputs.
    y : ndarray of shape (n_samples, ...), what else skorch takes, or None
        Labels or targets.
    trial : Trial or None
        Of the net, after X was tried; None for a net that takes labels of any kind.
    classifies : bool
        Whether y may hold labels.

    Returns
    -------
    targets : Targets
        The first of these forms that the loss computes with, such that each row meets its own
        target: y as it is; the same values as floats of the module's kind, or as int64; codes of
        the labels. Each of them in the shape of y, or else in that of the module's output.

    Raises
    ------
    ValueError
        If y must be encoded and cannot be, or holds NaN of which the loss makes NaN.
    """
    if trial is None and classifies and y is not None and net.initialized_:
        _refuse_unseen(y, net.classes_)
    if trial is None or not isinstance(y, np.ndarray):
        return Targets(y)
    forms = list(_forms(net, y, trial, classifies))
    form = _first_taken(trial, y, forms)
    if form is None:
        form = _untried(net, y, forms, classifies, getattr(trial.outputs, "shape", ()))
    values = np.require(form.write(y), requirements="W")  # torch warns of read-only arrays
    if classifies and values.ndim < y.ndim:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected.",
            DataConversionWarning,
            stacklevel=5,
        )
    return Targets(values, form.labels)


def _forms(net: NeuralNet, y: np.ndarray, trial: Trial, classifies: bool) -> Iterator[_Form]:
    """List the forms of y, the plainest first."""
    kind = torch.get_default_dtype() if trial.latest is None else float_dtype(trial.latest)
    floats = numpy_dtype(kind)
    numeric = y.dtype.kind in "biuf"
    if numeric:
        yield _Form(lambda values: values)
        if not (classifies and _wants_probabilities(net) and _leaves_unit_interval(y)):
            yield _Form(lambda values: values.astype(floats))
        if _is_whole(y):
            yield _Form(lambda values: values.astype(np.int64))
    if not classifies or y.size != len(y) or (numeric and not _is_whole(y)):
        return
    codes = _Codes(net, y, trial)
    for dtype in (np.dtype(np.int64), floats):
        yield _Form(partial(codes.write, dtype=dtype), codes.labels)


def _first_taken(trial: Trial, y: np.ndarray, forms: list[_Form]) -> _Form | None:
    if trial.net is None:
        return None
    rows = trial.rows_of(y)
    shape: Any = getattr(trial.outputs, "shape", None)
    second: _Form | None = None
    second_fits = False
    for form in forms:
        for reshape in _reshapes(rows.shape, shape):
            try:
                written = reshape(form.write(rows))
            except ValueError:  # labels that have no code: told if nothing else is left
                continue
            verdict = trial.verdict(written)
            shaped = _Form(partial(_write_shaped, form, reshape), form.labels)
            if verdict == PAIRS:
                return shaped
            # of shapes that make no difference to the loss, the one that it does not stretch
            if verdict == COMPUTES and not second_fits:
                second_fits = written.shape == shape
                second = shaped if second_fits or second is None else second
    return second


def _write_shaped(form: _Form, reshape: Callable, y: np.ndarray) -> np.ndarray:
    return reshape(form.write(y))


def _reshapes(own: tuple[int, ...], outputs: Any) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    """List the shapes that a loss may want: that of y, of the outputs, or a vector."""
    yield lambda y: y
    if outputs is not None and tuple(outputs) != own and _squeezed(outputs) == _squeezed(own):
        yield lambda y: y.reshape(len(y), *outputs[1:])
    if len(own) == 2 and own[1] == 1:
        yield lambda y: y.reshape(len(y))


def _squeezed(shape: Any) -> list[int]:
    return [shape[0], *(size for size in shape[1:] if size != 1)]


def _untried(
    net: NeuralNet, y: np.ndarray, forms: list[_Form], classifies: bool, outputs: Any
) -> _Form:
    """Choose by the criterion alone: nothing could be tried before training, or nothing fits."""
    if y.dtype.kind not in "biuf" and not forms:
        raise ValueError(f"y must hold numbers for {type(net).__name__}; its dtype is {y.dtype}.")
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    codes = [form for form in forms if form.labels is not None]
    if codes:
        labels = codes[0].labels
        if labels is not None and len(outputs) == 2 and 1 < outputs[1] < len(labels):
            raise _unequal(outputs[1], labels)
        # both write the same codes: first as integers, then as floats
        form = codes[_wants_probabilities(net)]
        return _Form(lambda y: form.write(y.reshape(len(y))), form.labels)
    if classifies and y.ndim == 1:
        check_classification_targets(y)
    return forms[1] if y.dtype.kind == "f" and len(forms) > 1 else forms[0]


class _Codes:
    """Labels, and their codes.

    Parameters
    ----------
    net : NeuralNet
        Output k is the k-th of its `classes` or, without these, of the labels sorted.
    y : ndarray of shape (n_samples,) or (n_samples, 1)
        The labels.
    trial : Trial
        Of the net. Rows whose label is the `ignore_index` of its criterion keep it. The labels of
        a fitted net are the numbers of its outputs.
    """

    def __init__(self, net: NeuralNet, y: np.ndarray, trial: Trial) -> None:
        if y.dtype.kind not in "biuf":
            check_classification_targets(y)
        criterion = None if trial.net is None else trial.net.criterion_
        self.ignored = getattr(criterion, "ignore_index", None) if y.dtype.kind in "iuf" else None
        given = getattr(net, "classes", None)
        if net.initialized_:
            shape: Any = getattr(trial.outputs, "shape", ())
            given = np.arange(shape[1] if len(shape) > 1 and shape[1] > 1 else 2)
        elif given is None or len(given) == 0:
            given = np.unique(y)
        given = np.asarray(given)
        self.labels = given if self.ignored is None else given[given != self.ignored]

    def write(self, y: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Give the code of each label."""
        left_out = np.zeros(y.shape, bool) if self.ignored is None else y == self.ignored
        known = self.labels
        _refuse_unseen(y[~left_out], known)
        if len(known) < 2:
            raise ValueError(
                f"y must hold at least 2 classes, but it holds one class only: {known.tolist()}."
            )
        order = np.argsort(known)
        found = np.searchsorted(known, y, sorter=order)
        codes = order[np.minimum(found, len(known) - 1)]
        return np.where(left_out, self.ignored or 0, codes).astype(dtype)


def _refuse_unseen(y: np.ndarray, known: np.ndarray) -> None:
    unseen = np.setdiff1d(y, known)
    if len(unseen):
        raise ValueError(
            f"y holds unseen labels: {unseen.tolist()}; the classes of the estimator are "
            f"{known.tolist()}."
        )


def _is_whole(y: np.ndarray) -> bool:
    return y.dtype.kind != "f" or bool(np.isfinite(y).all() and (y == np.rint(y)).all())


def _leaves_unit_interval(y: np.ndarray) -> bool:
    return y.dtype.kind in "iu" and bool(y.size and (y.min() < 0 or y.max() > 1))


def _wants_probabilities(net: NeuralNet) -> bool:
    criterion = net.criterion if isinstance(net.criterion, type) else type(net.criterion)
    return issubclass(criterion, nn.BCELoss | nn.BCEWithLogitsLoss)


def _unequal(n_outputs: int, labels: np.ndarray) -> ValueError:
    return ValueError(
        f"estimator has {n_outputs} outputs, but y holds {len(labels)} classes: {labels.tolist()}; "
        f"give the module as many outputs, or name all labels by the net's parameter classes."
    )


def classes_after_training(net: NeuralNet, X: Any, targets: Targets) -> np.ndarray:
    """Name what a trained classifier predicts.

    Parameters
    ----------
    net : NeuralNet
        The trained net.
    X : object
        Some rows, in the form that the net was trained on.
    targets : Targets
        What it was trained on.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Labels that were encoded, of a net that learns labels by itself, or that a `predict` of the
        user's own gives. skorch's own gives numbers of outputs, whatever the labels are, so these
        are the classes of a net that was trained on labels as they are.

    Raises
    ------
    ValueError
        If labels were encoded, and the net has not as many outputs.
    """
    if getattr(net, "encodes_labels", False):
        return net.classes_
    with seeded(0, net.device):
        shape = np.shape(net.predict_proba(X))
    n_outputs = shape[1] if len(shape) > 1 else 1
    if targets.labels is not None:
        if n_outputs != len(targets.labels):
            raise _unequal(n_outputs, targets.labels)
        return targets.labels
    plain = (NeuralNetClassifier.predict, NeuralNetBinaryClassifier.predict)
    if (type(net).predict not in plain or len(shape) == 1) and hasattr(net, "classes_"):
        return np.asarray(net.classes_)
    return np.arange(n_outputs)
