"""What all pruners of nets share: a skorch net in, its method, the engine's form of it out."""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from inspect import signature
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_array, validate_data

from skprune.base import BasePruner, Pruned, TrainingData
from skprune.engine.native import choose_engine
from skprune.nets import check_is_skorch_net, naming_the_extra
from skprune.nets.rows import (
    are_several,
    as_array,
    halves,
    is_dataset,
    is_slice_dataset,
    is_stream,
    n_rows,
    one_array,
)

if TYPE_CHECKING:
    from skorch import NeuralNet

    from skprune.nets.method import Method


class NetPruner(BasePruner):
    """Base class of the pruners of skorch nets: a subclass says by which method a net is pruned."""

    sparsity: float | None
    layers: Sequence[str] | None
    finetune_epochs: int | None
    refresh_batch_norm: bool
    random_state: Any
    verbose: int

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BasePruner._parameter_constraints,
        "estimator": "no_validation",  # told what it must be before anything else
        "sparsity": [Interval(Real, 0, 1, closed="both")],
        "layers": [list, tuple, None],
        "finetune_epochs": [Interval(Integral, 0, None, closed="left"), None],
        "refresh_batch_norm": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @abstractmethod
    def _method(
        self, net: "NeuralNet", data: TrainingData, own_epochs: int
    ) -> tuple["Method", int]:
        """Say how a net is pruned, and how long it trains, fine-tuning included."""

    def _validation_options(self) -> dict[str, Any]:
        return {"dtype": "numeric", "allow_nd": True}

    @property
    def _takes_many_outputs(self) -> bool:
        return not is_classifier(self)

    @property
    def _trains(self) -> bool:
        return not self._is_frozen or bool(self.finetune_epochs)

    def _checked_fit_params(self, fit_params: dict[str, Any]) -> dict[str, Any]:
        """Copy what skorch's `fit` is to get; refuse what says nothing or cannot be."""
        if fit_params and not self._trains:
            raise ValueError(
                f"fit got {sorted(fit_params)}, which are for training, and a FrozenEstimator is "
                f"not trained: set finetune_epochs, or leave them out."
            )
        epochs = fit_params.get("epochs")
        if epochs is None:  # as in skorch
            return {name: value for name, value in fit_params.items() if name != "epochs"}
        if self._is_frozen:
            raise ValueError(
                f"fit got epochs={epochs!r}, but a FrozenEstimator trains for finetune_epochs="
                f"{self.finetune_epochs!r}: set that, and leave out epochs."
            )
        if not isinstance(epochs, Integral) or isinstance(epochs, bool) or epochs < 0:
            raise ValueError(f"epochs must be an int of 0 or more, got {epochs!r}.")
        return dict(fit_params)

    def _validate_training_data(
        self, X: Any, y: Any, sample_weight: Any, fit_params: dict[str, Any]
    ) -> TrainingData:
        check_is_skorch_net(self._inner)  # before anything that skorch takes, and others do not
        if getattr(self._inner, "encodes_labels", False):
            one_array(X, type(self._inner).__name__)
            X, y = halves(X) if is_dataset(X) else (as_array(X), as_array(y))
            return super()._validate_training_data(X, y, sample_weight, fit_params)
        if y is None and self._trains and not is_dataset(X):
            self._check_needs_no_target(X)
        y = None if y is None else _checked_targets(y)
        if _only_skorch_reads(X, self._inner, None if y is None else n_rows(y)):
            for stale in {"n_features_in_", "feature_names_in_"} & vars(self).keys():
                delattr(self, stale)
        else:
            X = validate_data(self, as_array(X), **self._validation_options())
            if self._is_frozen:
                self._check_same_width(X)
        if y is not None and n_rows(X) != n_rows(y):
            raise ValueError(
                f"Found input variables with inconsistent numbers of samples: "
                f"[{n_rows(X)}, {n_rows(y)}]"
            )
        if sample_weight is not None:
            sample_weight = self._validate_sample_weight(sample_weight, np.empty(n_rows(X)))
        return TrainingData(X, y, sample_weight, fit_params)

    def _check_needs_no_target(self, X: Any) -> None:
        """Let the net itself refuse to train without y: an autoencoder's, say, does not need it."""
        try:
            clone(self._inner).check_data(X, None)
        except Exception as error:  # whatever a net of the user's own raises
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            ) from error

    def _prune(self, data: TrainingData) -> Pruned:
        with naming_the_extra(f"{type(self).__name__}.fit"):
            from skprune.nets.data import inputs_for, rows_to_try
            from skprune.nets.fallback import engine_or_torch, n_hidden
            from skprune.nets.layers import measured_sparsity, sparse_weights
            from skprune.nets.precision import check_device
            from skprune.nets.run import train_and_prune
            from skprune.nets.seeding import draw_seed, seeded
            from skprune.nets.targets import classes_after_training, targets_for
            from skprune.nets.trial import Trial

        net = self._unfitted_or_frozen_copy()
        check_device(net)
        choose_engine(self.engine)
        seed = draw_seed(self.random_state)
        if seed is not None and "random_state" in net.get_params():
            net.set_params(random_state=seed)
        fit_params = self._checked_fit_params(data.fit_params)
        classifies = is_classifier(self)
        trial = None
        # a stream is not converted, so nothing depends on a trial, which might use up its rows
        if not getattr(net, "encodes_labels", False) and not is_stream(data.X):
            trial = Trial(net, data.X, data.y, data.fit_params)
        X = inputs_for(net, data.X, trial)
        targets = targets_for(net, data.y, trial, classifies=classifies)
        y = targets.values
        own_epochs = fit_params.pop("epochs", net.max_epochs)  # skorch's word for this fit alone
        weighted = self._trains or getattr(net, "encodes_labels", False)
        if data.sample_weight is not None and weighted:
            fit_params["sample_weight"] = data.sample_weight
        method, epochs = self._method(net, data, own_epochs)
        with seeded(seed, net.device):
            history = train_and_prune(
                net,
                method,
                own_epochs,
                epochs,
                X,
                y,
                refresh_batch_norm=self.refresh_batch_norm,
                verbose=self.verbose,
                fit_params=fit_params,
            )
        few = rows_to_try(net, X)
        classes = classes_after_training(net, few, targets) if classifies else None
        with seeded(0, net.device):  # a net that predicts draws from torch's global generator
            model, unsupported = engine_or_torch(net, few, self.engine, targets.labels)
            output = _output_form(net, few, data.y, classifies)
            n_features_out = n_hidden(model, few)
        return Pruned(
            estimator=net,
            model=model,
            sparse_weights=partial(sparse_weights, net, method.choice),
            sparsity=measured_sparsity(net, method.choice),
            n_features_out=n_features_out,
            history=history,
            classes=classes,
            output=output,
            unsupported=unsupported,
        )


def _output_form(net: "NeuralNet", X: Any, y: Any, classifies: bool) -> dict[str, Any]:
    """Tell how the net turns outputs into predictions, where that is not a matter of course."""
    if not classifies:
        if isinstance(y, np.ndarray):
            return {"flat": y.ndim == 1}
        with suppress(Exception):  # whatever a user's forward raises: the net is trained
            return {"flat": net.predict(X).ndim == 1}
        return {}
    threshold = getattr(net, "threshold", 0.5)  # of skorch's NeuralNetBinaryClassifier
    return {} if threshold == 0.5 else {"threshold": threshold}


def _checked_targets(y: Any) -> Any:
    """Make an array of y, of whatever type and shape; leave alone what holds several arrays."""
    if are_several(y):
        return y
    y = check_array(
        as_array(y),
        ensure_2d=False,
        allow_nd=True,
        dtype=None,
        ensure_all_finite=False,
        input_name="y",
    )
    return y if y.dtype.kind != "O" else _of_one_type(y)


def _of_one_type(y: np.ndarray) -> np.ndarray:
    # frames of several types, and old columns of numbers, hold objects
    if all(isinstance(value, Real) for value in y.flat):
        return y.astype(np.array(y.tolist()).dtype)
    try:
        np.unique(y)
    except TypeError as error:
        kinds = sorted({type(value).__name__ for value in y.flat})
        raise ValueError(
            f"y must hold labels of one type that can be sorted; got {kinds}."
        ) from error
    return y


def _only_skorch_reads(X: Any, net: Any, n_targets: int | None) -> bool:
    """Tell whether X is no array, but what skorch hands to a module in parts or piece by piece."""
    if is_dataset(X) or is_slice_dataset(X) or are_several(X, n_targets):
        return True
    columns = set(getattr(X, "columns", ()))
    forward = getattr(net.module, "forward", None)
    if not columns or forward is None:
        return False
    # skorch hands a frame over column by column
    return columns <= set(signature(forward).parameters)
