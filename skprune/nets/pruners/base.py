"""What all pruners of nets share: a skorch net in, its recipe, the engine's form of it out."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils._param_validation import Interval

from skprune.base import BasePruner, Pruned, TrainingData
from skprune.nets import naming_the_extra

if TYPE_CHECKING:
    from skorch import NeuralNet

    from skprune.nets.training import Recipe


class NetPruner(BasePruner):
    """Base class of the pruners of skorch nets: a subclass says by which recipe a net is pruned."""

    sparsity: float | None
    layers: Sequence[str] | None
    finetune_epochs: int | None
    refresh_batch_norm: bool
    random_state: Any
    verbose: int

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **BasePruner._parameter_constraints,
        "sparsity": [Interval(Real, 0, 1, closed="both")],
        "layers": [list, tuple, None],
        "finetune_epochs": [Interval(Integral, 0, None, closed="left"), None],
        "refresh_batch_norm": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @abstractmethod
    def _recipe(
        self, net: "NeuralNet", data: TrainingData, own_epochs: int
    ) -> tuple["Recipe", int]:
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

    def _prune(self, data: TrainingData) -> Pruned:
        with naming_the_extra(f"{type(self).__name__}.fit"):
            from skprune.nets.data import Labels, check_is_skorch_net, inputs_for, targets_for
            from skprune.nets.fallback import engine_or_torch
            from skprune.nets.seeding import draw_seed, seeded
            from skprune.nets.training import measured_sparsity, sparse_weights, train_and_prune

        net = self._unfitted_or_frozen_copy()
        check_is_skorch_net(net)
        seed = draw_seed(self.random_state)
        if seed is not None and "random_state" in net.get_params():
            net.set_params(random_state=seed)
        X = inputs_for(net, data.X)
        labels = Labels(net, X, data.y) if is_classifier(self) else None
        y = targets_for(net, data.y if labels is None else labels.encoded)
        fit_params = self._checked_fit_params(data.fit_params)
        own_epochs = fit_params.pop("epochs", net.max_epochs)  # skorch's word for this fit alone
        if data.sample_weight is not None and self._trains:
            fit_params["sample_weight"] = data.sample_weight
        recipe, epochs = self._recipe(net, data, own_epochs)
        with seeded(seed, net.device):
            history = train_and_prune(
                net,
                recipe,
                own_epochs,
                epochs,
                X,
                y,
                refresh_batch_norm=self.refresh_batch_norm,
                verbose=self.verbose,
                fit_params=fit_params,
            )
        if labels is not None:
            labels.check_outputs(X)
        with seeded(0, net.device):  # a net that predicts draws from torch's global generator
            model, unsupported = engine_or_torch(net, X, self.engine)
            output = _output_form(net, X, labels is not None)
            row = X[:1].reshape(1, -1) if unsupported is None else X[:1]
            hidden = model.transform(row)
        return Pruned(
            estimator=net,
            model=model,
            sparse_weights=partial(sparse_weights, net, recipe.choice),
            sparsity=measured_sparsity(net, recipe.choice),
            n_features_out=hidden.shape[1],
            history=history,
            classes=None if labels is None else labels.classes,
            output=output,
            unsupported=unsupported,
        )


def _output_form(net: "NeuralNet", X: np.ndarray, classifies: bool) -> dict[str, Any]:
    """Tell how the net turns outputs into predictions, where that is not a matter of course."""
    if not classifies:
        return {"flat": net.predict(X[:1]).ndim == 1}
    threshold = getattr(net, "threshold", 0.5)  # of skorch's NeuralNetBinaryClassifier
    return {} if threshold == 0.5 else {"threshold": threshold}
