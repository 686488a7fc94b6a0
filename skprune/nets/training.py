"""The life of a net inside `fit`: skorch's own training, entered through one callback."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from torch import nn
from tqdm.auto import tqdm

from skprune.masks import Schedule, keep_counts, top_masks

Prunable = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True)
class Recipe:
    """What to remove from a net, and when.

    Attributes
    ----------
    criterion : callable
        Weights of a layer -> scores; see :mod:`skprune.nets.criteria`.
    sparsity : float
        Fraction of the weights to remove.
    schedule : Schedule
        The sparsity at any time.
    start, stop : int
        The epochs between which the schedule runs.
    allocation, granularity : str
        See :mod:`skprune.masks`.
    layers : sequence of str or None
        Names of the layers to prune; None for every Linear and Conv.
    """

    criterion: Callable[[np.ndarray], np.ndarray]
    sparsity: float
    schedule: Schedule
    start: int
    stop: int
    allocation: str = "global"
    granularity: str = "weight"
    layers: Sequence[str] | None = None


def train_and_prune(
    net: NeuralNet,
    recipe: Recipe,
    epochs: int,
    X: Any,
    y: Any,
    *,
    verbose: int = 0,
    **fit_params: Any,
) -> list[dict[str, Any]]:
    """Train a net with skorch's own `fit`, pruning as the recipe says.

    Parameters
    ----------
    net : NeuralNet
        Changed in place. One that is initialized is trained further, another from its start.
    recipe : Recipe
        What to remove, and when.
    epochs : int
        How long to train; 0 only prunes.
    X, y : object
        Handed to skorch.
    verbose : int, default=0
        1 shows a progress bar over the epochs.
    **fit_params : dict
        Handed to skorch.

    Returns
    -------
    history : list of dict
        One entry an epoch: its number, the sparsity at its end and its losses.
    """
    pruning = PruningCallback(recipe, epochs, verbose)
    if epochs == 0 and net.initialized_:
        pruning.reach_target(net)
    else:
        with _last_callback(net, pruning), _max_epochs(net, epochs):
            train = net.partial_fit if net.initialized_ else net.fit
            train(X, y, **fit_params)
    _check_outcome(net, recipe, pruning.history_)
    return pruning.history_


def _check_outcome(net: NeuralNet, recipe: Recipe, history: list[dict[str, Any]]) -> None:
    """Refuse a net that learnt nothing but NaN; warn of one that is cut in two."""
    layers = prunable_layers(net, recipe.layers)
    weights = {name: _finite_weight(name, layer) for name, layer in layers.items()}
    loss = history[-1].get("train_loss", 0.0) if history else 0.0
    if not np.isfinite(loss):
        raise ValueError(
            f"train_loss is {loss} after the last epoch: lower the estimator's lr, scale X and y, "
            f"or give it a criterion that fits what its module returns (NLLLoss wants "
            f"probabilities, CrossEntropyLoss logits)."
        )
    empty = [name for name, weight in weights.items() if not weight.any()]
    if empty and recipe.sparsity < 1:
        warnings.warn(
            f"sparsity={recipe.sparsity} leaves no weight in {empty}, so predictions do not "
            f"depend on X through them; lower sparsity, or take allocation='uniform'.",
            stacklevel=5,
        )


class PruningCallback(Callback):
    """Tick the schedule and hold pruned weights at zero, after every other callback.

    Parameters
    ----------
    recipe : Recipe
        What to remove, and when.
    epochs : int
        Length of the run, for the progress bar.
    verbose : int, default=0
        1 shows a progress bar.
    """

    def __init__(self, recipe: Recipe, epochs: int, verbose: int = 0) -> None:
        self.recipe = recipe
        self.epochs = epochs
        self.verbose = verbose
        self.history_: list[dict[str, Any]] = []
        self.masks_: dict[str, torch.Tensor] = {}
        self.sparsity_ = 0.0
        self.starts_sparse_ = False  # whether the target held from the start of this epoch on

    def __getstate__(self) -> dict[str, Any]:
        # a user's Checkpoint may pickle the net in mid-training; a progress bar cannot be
        return {key: value for key, value in vars(self).items() if key != "bar_"}

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Start to hold early stopping back, now that the module has its final sizes."""
        prunable_layers(net, self.recipe.layers)  # a wrong name must not cost a training run
        self.epoch_ = 0
        self.first_row_ = len(net.history)
        self.bar_ = tqdm(total=self.epochs, unit="epoch", disable=not self.verbose)
        net.callbacks_ = [(name, _Held(cb, self)) for name, cb in net.callbacks_ if cb is not self]
        net.callbacks_.append(("skprune", self))
        self._tick(net, 0.0)

    def on_epoch_begin(
        self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Count the steps of the epoch; from a sparse one on, scores are those of a sparse net."""
        if self.reached and not self.starts_sparse_:
            self.starts_sparse_ = True
            _restart_monitors(net)
        self.step_ = 0
        try:
            self.steps_ = len(net.get_iterator(dataset_train, training=True))
        except TypeError:
            self.steps_ = 0  # data without a length: the schedule moves between epochs only

    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Prune where the schedule says so, and undo what the optimizer did to zeros."""
        if not training:
            return
        self.step_ += 1
        if 0 < self.step_ <= self.steps_:
            self._tick(net, self.epoch_ + self.step_ / self.steps_)
        self._hold_zeros(net)

    def on_epoch_end(
        self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Write the history."""
        self._tick(net, self.epoch_ + 1)
        self._hold_zeros(net)
        self._record(net)

    def _record(self, net: NeuralNet) -> None:
        self.epoch_ += 1
        row = net.history[-1]
        losses = {key: row[key] for key in ("train_loss", "valid_loss") if key in row}
        entry = {"epoch": self.epoch_, "sparsity": measured_sparsity(net, self.recipe.layers)}
        self.history_.append({**entry, **losses})
        self.bar_.set_postfix(sparsity=f"{entry['sparsity']:.3f}", **losses)
        self.bar_.update()

    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Reach the target even where training was cut short, or old weights were loaded."""
        self.reach_target(net)
        n_rows = len(net.history) - self.first_row_
        if n_rows > self.epoch_ and "train_batch_count" in net.history[-1]:
            self._record(net)  # another callback ended training where this epoch ended
        self.bar_.close()
        net.callbacks_ = [
            (name, cb.callback if isinstance(cb, _Held) else cb) for name, cb in net.callbacks_
        ]

    def reach_target(self, net: NeuralNet) -> None:
        """Prune to the final sparsity, whatever the time."""
        self._hold_zeros(net)
        self._prune(net, self.recipe.sparsity)

    @property
    def reached(self) -> bool:
        """Whether the target sparsity holds already."""
        return self.sparsity_ >= self.recipe.sparsity

    def _tick(self, net: NeuralNet, epoch: float) -> None:
        r = self.recipe
        self._prune(net, r.schedule.sparsity_at(epoch, r.sparsity, r.start, r.stop))

    def _prune(self, net: NeuralNet, sparsity: float) -> None:
        if sparsity == self.sparsity_:
            return
        layers = prunable_layers(net, self.recipe.layers)
        scores = {
            name: self.recipe.criterion(_finite_weight(name, layer))
            for name, layer in layers.items()
        }
        counts = keep_counts(scores, sparsity, self.recipe.allocation)
        kept = top_masks(scores, counts, self.recipe.granularity)
        self.masks_ = {
            name: torch.from_numpy(~kept[name]).to(layer.weight.device)
            for name, layer in layers.items()
        }
        was_reached, self.sparsity_ = self.reached, sparsity
        self._hold_zeros(net)
        _clear_optimizer_state(net, layers, self.masks_)
        if self.reached and not was_reached:
            _restart_monitors(net)

    def _hold_zeros(self, net: NeuralNet) -> None:
        if self.masks_:
            for name, layer in prunable_layers(net, self.recipe.layers).items():
                layer.weight.detach().masked_fill_(self.masks_[name], 0)


class _Held:
    """A callback that cannot end training before the target sparsity is reached."""

    def __init__(self, callback: Callback, pruning: PruningCallback) -> None:
        self.callback = callback
        self.pruning = pruning

    def __getattr__(self, name: str) -> Any:
        if name == "callback":  # while unpickling, before there is one
            raise AttributeError(name)
        return getattr(self.callback, name)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        # an early-stopping rule must not even count before; KeyboardInterrupt is how any
        # skorch callback ends training
        if self.pruning.starts_sparse_:
            self.callback.on_epoch_end(net, **kwargs)
        elif not isinstance(self.callback, EarlyStopping):
            stop = nullcontext() if self.pruning.reached else suppress(KeyboardInterrupt)
            with stop:
                self.callback.on_epoch_end(net, **kwargs)


def _restart_monitors(net: NeuralNet) -> None:
    """Make callbacks forget the best scores of the denser net, which the sparse one may miss."""
    for _, held in net.callbacks_:
        callback = getattr(held, "callback", held)
        if hasattr(callback, "best_score_"):
            lower = getattr(callback, "lower_is_better", True)
            callback.best_score_ = np.inf if lower else -np.inf


def _clear_optimizer_state(
    net: NeuralNet, layers: dict[str, Prunable], closed: dict[str, torch.Tensor]
) -> None:
    """Forget momenta of pruned weights: they belong to values that are gone."""
    for optimizer_name in net._optimizers:
        state = getattr(net, optimizer_name + "_").state
        for name, layer in layers.items():
            for value in state.get(layer.weight, {}).values():
                if torch.is_tensor(value) and value.shape == layer.weight.shape:
                    value.masked_fill_(closed[name], 0)


def prunable_layers(net: NeuralNet, layers: Sequence[str] | None = None) -> dict[str, Prunable]:
    """Name the layers of a net that are pruned.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.
    layers : sequence of str, default=None
        The layers to take; None for every Linear and Conv.

    Returns
    -------
    layers : dict of str to Linear or Conv
        In the order of the module; layers that share a weight stand once.

    Raises
    ------
    ValueError
        If a name is none of a Linear or Conv layer, or if there is nothing to prune.
    """
    found: dict[str, Prunable] = {}
    seen: set[int] = set()
    for name, layer in _named_modules(net):
        if isinstance(layer, Prunable) and id(layer.weight) not in seen:
            seen.add(id(layer.weight))
            found[name] = layer
    if not found:
        raise ValueError(f"estimator has no Linear or Conv layer to prune: {net.module!r}.")
    if layers is not None:
        if not layers or set(layers) - set(found):
            raise ValueError(f"layers={layers!r} must name layers among {list(found)}.")
        found = {name: layer for name, layer in found.items() if name in set(layers)}
    computed = [name for name, layer in found.items() if "weight" not in layer._parameters]
    if computed:
        raise ValueError(
            f"the weights of {computed} are no parameters but computed from others (weight_norm, "
            f"torch's own pruning): make them plain again, or leave the layers out of layers."
        )
    return found


def _named_modules(net: NeuralNet) -> Iterator[tuple[str, nn.Module]]:
    for module_name in net._modules:
        module = getattr(net, module_name + "_")
        module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
        prefix = "" if module_name == "module" else module_name
        yield from module.named_modules(prefix=prefix)


def sparse_weights(net: NeuralNet, layers: Sequence[str] | None = None) -> dict[str, csr_array]:
    """Copy the pruned layers' weights into CSR arrays.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.
    layers : sequence of str, default=None
        As in :func:`prunable_layers`.

    Returns
    -------
    weights : dict of str to csr_array
        Named as in the module's ``named_parameters``, of shape (n_out, n_in * kernel size).
    """
    return {
        f"{name}.weight".lstrip("."): csr_array(_rows(layer).cpu().numpy())
        for name, layer in prunable_layers(net, layers).items()
    }


def measured_sparsity(net: NeuralNet, layers: Sequence[str] | None = None) -> float:
    """Count the fraction of the prunable weights that are zero.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.
    layers : sequence of str, default=None
        As in :func:`prunable_layers`.

    Returns
    -------
    sparsity : float
        In [0, 1].
    """
    weights = [layer.weight for layer in prunable_layers(net, layers).values()]
    zeros = sum(w.numel() - int(torch.count_nonzero(w)) for w in weights)
    return zeros / sum(w.numel() for w in weights)


def _rows(layer: Prunable) -> torch.Tensor:
    return layer.weight.detach().flatten(start_dim=1)


def _finite_weight(name: str, layer: Prunable) -> np.ndarray:
    weight = layer.weight.detach().cpu().numpy()
    if not np.isfinite(weight).all():
        raise ValueError(
            f"the weights of layer {name!r} hold NaN or infinity: training diverged; lower the "
            f"estimator's lr, or scale X and y."
        )
    return weight


@contextmanager
def _last_callback(net: NeuralNet, callback: Callback) -> Iterator[None]:
    """Put a callback behind the user's own, and take every trace of it away again."""
    own = net.callbacks
    disabled = own == "disable"  # skorch's word for "not even the default ones"
    if net.initialized_:
        net.callbacks_ = [*net.callbacks_, ("skprune", callback)]
    else:
        net.callbacks = [*([] if disabled else own or []), ("skprune", callback)]
        if disabled:
            net.get_default_callbacks = list
    try:
        yield
    finally:
        vars(net).pop("get_default_callbacks", None)
        net.callbacks = own
        running = getattr(net, "callbacks_", [])  # there are none if fit refused its data
        net.callbacks_ = [(name, cb) for name, cb in running if cb is not callback]


@contextmanager
def _max_epochs(net: NeuralNet, epochs: int) -> Iterator[None]:
    own = net.max_epochs
    net.max_epochs = epochs
    try:
        yield
    finally:
        net.max_epochs = own
