"""The life of a net inside `fit`: skorch's own training, entered through one callback."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from scipy.sparse import csr_array
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from torch import nn
from tqdm.auto import tqdm

from skprune.masks import Schedule, keep_counts, top_masks
from skprune.nets.gates.base import Gate, Prunable
from skprune.nets.rows import as_array

# (name of a layer, "weight" or "bias") -> True where the parameter is held at zero
Masks = dict[tuple[str, str], torch.Tensor]


class Recipe(Protocol):
    """What a pruning run asks for.

    Attributes
    ----------
    sparsity : float or None
        The target; None where the method itself says how much goes.
    layers : sequence of str or None
        Names of the layers to prune; None for every Linear and Conv.
    advice : str
        What else to do where a layer loses all its weights, behind a comma.
    final_level : float
        The last value of `level_at`; at the latest, the end of training brings it.
    """

    @property
    def sparsity(self) -> float | None: ...  # noqa: D102
    @property
    def layers(self) -> Sequence[str] | None: ...  # noqa: D102
    @property
    def final_level(self) -> float: ...  # noqa: D102
    @property
    def advice(self) -> str: ...  # noqa: D102

    def level_at(self, epoch: float) -> float:
        """Tell how far pruning should have come at a time in epochs; 0 prunes nothing."""
        ...

    def masks(self, net: NeuralNet, level: float) -> Masks:
        """Say what goes at a level. May change weights."""
        ...

    def prepared(self, net: NeuralNet) -> AbstractContextManager:
        """Make a net ready for the run, and undo it."""
        ...

    def callbacks(self) -> list[Callback]:
        """List what has to run before any other callback."""
        ...

    def record(self, net: NeuralNet, sparsity: float) -> dict[str, Any]:
        """Tell more for the history, at the end of an epoch."""
        ...

    def sparsity_of(self, net: NeuralNet) -> float | None:
        """Tell the sparsity now, where it does not stand in the weights."""
        ...


@dataclass(frozen=True)
class ScoreRecipe:
    """Remove the weights of lowest score as a schedule says; a `Recipe`.

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

    advice = ", or take allocation='uniform'"

    @property
    def final_level(self) -> float:
        """The target sparsity: the level is the sparsity."""
        return self.sparsity

    def level_at(self, epoch: float) -> float:
        """Ask the schedule."""
        return self.schedule.sparsity_at(epoch, self.sparsity, self.start, self.stop)

    def masks(self, net: NeuralNet, level: float) -> Masks:
        """Score the weights and find the lowest."""
        layers = prunable_layers(net, self.layers)
        scores = {name: self.criterion(_finite_weight(name, la)) for name, la in layers.items()}
        counts = keep_counts(scores, level, self.allocation)
        kept = top_masks(scores, counts, self.granularity)
        return {
            (name, "weight"): torch.from_numpy(~kept[name]).to(layer.weight.device)
            for name, layer in layers.items()
        }

    def prepared(self, net: NeuralNet) -> AbstractContextManager:
        """Nothing to prepare."""
        return nullcontext()

    def callbacks(self) -> list[Callback]:
        """None are needed."""
        return []

    def record(self, net: NeuralNet, sparsity: float) -> dict[str, Any]:
        """Nothing more to tell."""
        return {}

    def sparsity_of(self, net: NeuralNet) -> float | None:
        """Count the zeros."""
        return None


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
        with recipe.prepared(net), _last_callback(net, pruning), _max_epochs(net, epochs):
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
    if empty and recipe.sparsity != 1:
        if recipe.sparsity is None:
            cause, remedy = "pruning", "prune less"
        else:
            cause, remedy = f"sparsity={recipe.sparsity}", "lower sparsity"
        warnings.warn(
            f"{cause} leaves no weight in {empty}, so predictions do not depend on X through them; "
            f"{remedy}{recipe.advice}.",
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
        self.masks_: Masks = {}
        self.level_ = 0.0
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
        held = [(name, _Held(cb, self)) for name, cb in net.callbacks_ if cb is not self]
        self.first_ = self.recipe.callbacks()
        net.callbacks_ = [*(("skprune", cb) for cb in self.first_), *held, ("skprune", self)]
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
        sparsity = self.recipe.sparsity_of(net)
        if sparsity is None:
            sparsity = measured_sparsity(net, self.recipe.layers)
        entry = {"epoch": self.epoch_, "sparsity": float(sparsity)}
        self.history_.append({**entry, **self.recipe.record(net, sparsity), **losses})
        self.bar_.set_postfix(sparsity=f"{entry['sparsity']:.3f}", **losses)
        self.bar_.update()

    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Reach the target even where training was cut short, or old weights were loaded."""
        self.reach_target(net)
        n_rows = len(net.history) - self.first_row_
        if n_rows > self.epoch_ and "train_batch_count" in net.history[-1]:
            self._record(net)  # another callback ended training where this epoch ended
        if self.history_:
            self.history_[-1]["sparsity"] = measured_sparsity(net, self.recipe.layers)
        self.bar_.close()
        net.callbacks_ = [
            (name, cb.callback if isinstance(cb, _Held) else cb)
            for name, cb in net.callbacks_
            if cb not in self.first_
        ]

    def reach_target(self, net: NeuralNet) -> None:
        """Prune to the final level, whatever the time."""
        self._hold_zeros(net)
        self._prune(net, self.recipe.final_level)

    @property
    def reached(self) -> bool:
        """Whether the target sparsity holds already."""
        return self.level_ >= self.recipe.final_level

    def _tick(self, net: NeuralNet, epoch: float) -> None:
        self._prune(net, self.recipe.level_at(epoch))

    def _prune(self, net: NeuralNet, level: float) -> None:
        if level == self.level_:
            return
        self.masks_ = self.recipe.masks(net, level)
        was_reached, self.level_ = self.reached, level
        self._hold_zeros(net)
        _clear_optimizer_state(net, self._held_at_zero(net))
        if self.reached and not was_reached:
            _restart_monitors(net)

    def _hold_zeros(self, net: NeuralNet) -> None:
        for parameter, zeros in self._held_at_zero(net):
            parameter.detach().masked_fill_(zeros, 0)

    def _held_at_zero(self, net: NeuralNet) -> list[tuple[nn.Parameter, torch.Tensor]]:
        if not self.masks_:
            return []
        layers = prunable_layers(net, self.recipe.layers)
        return [(getattr(layers[name], kind), zeros) for (name, kind), zeros in self.masks_.items()]


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


def _clear_optimizer_state(net: NeuralNet, held: list[tuple[nn.Parameter, torch.Tensor]]) -> None:
    """Forget momenta of pruned weights: they belong to values that are gone."""
    for optimizer_name in net._optimizers:
        state = getattr(net, optimizer_name + "_").state
        for parameter, zeros in held:
            for value in state.get(parameter, {}).values():
                if torch.is_tensor(value) and value.shape == parameter.shape:
                    value.masked_fill_(zeros, 0)


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
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for name, layer in _named_modules(net):
        if isinstance(layer, Prunable | Gate) and id(layer.weight) not in seen:
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


def modules_of(net: NeuralNet) -> list[tuple[str, nn.Module]]:
    """List the modules of a net, each with what stands before the names of its layers.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.

    Returns
    -------
    modules : list of (str, Module)
        The prefix of ``module_`` itself is empty.
    """
    named = ((name, getattr(net, name + "_")) for name in net._modules)
    return [
        # what torch.compile wraps
        ("" if name == "module" else name, getattr(module, "_orig_mod", module))
        for name, module in named
    ]


def _named_modules(net: NeuralNet) -> Iterator[tuple[str, nn.Module]]:
    for prefix, module in modules_of(net):
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
        f"{name}.weight".lstrip("."): csr_array(as_array(_rows(layer)))
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
    weight: np.ndarray = as_array(layer.weight)
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
