"""The life of a net inside `fit`: skorch's own training, entered through one callback."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from scipy.sparse import csr_array
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from torch import nn
from tqdm.auto import tqdm

from skprune.masks import Schedule, keep_counts, top_masks
from skprune.nets.batch_norm import take_statistics_anew
from skprune.nets.interrupts import Interrupts, interruptible
from skprune.nets.layers import EVERY, Choice, dense_weights, modules_of, weight_names
from skprune.nets.rates import Rates, forget_plateaus, rate
from skprune.nets.rows import as_array

# name of a parameter -> True where it is held at zero
Masks = dict[str, torch.Tensor]


class Recipe(Protocol):
    """What a pruning run asks for.

    Attributes
    ----------
    sparsity : float or None
        The target; None where the method itself says how much goes.
    choice : Choice
        The layers to prune.
    advice : str
        What else to do where a layer loses all its weights, behind a comma.
    final_level : float
        The last value of `level_at`; at the latest, the end of training brings it.
    """

    @property
    def sparsity(self) -> float | None: ...  # noqa: D102
    @property
    def choice(self) -> Choice: ...  # noqa: D102
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
    choice : Choice
        The layers to prune.
    """

    criterion: Callable[[np.ndarray], np.ndarray]
    sparsity: float
    schedule: Schedule
    start: int
    stop: int
    allocation: str = "global"
    granularity: str = "weight"
    choice: Choice = EVERY

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
        weights = prunable_weights(net, self.choice)
        scores = {name: self.criterion(_finite(name, w)) for name, w in weights.items()}
        counts = keep_counts(scores, level, self.allocation)
        kept = top_masks(scores, counts, self.granularity)
        return {
            name: torch.from_numpy(~kept[name]).to(weight.device)
            for name, weight in weights.items()
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
    own_epochs: int,
    epochs: int,
    X: Any,
    y: Any,
    *,
    refresh_batch_norm: bool = True,
    verbose: int = 0,
    fit_params: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Train a net with skorch's own `fit`, pruning as the recipe says.

    Parameters
    ----------
    net : NeuralNet
        Changed in place. One that is initialized is trained further, another from its start.
    recipe : Recipe
        What to remove, and when.
    own_epochs : int
        How many of the epochs are the net's own training, before its fine-tuning; of a net that is
        initialized, how long it was trained before.
    epochs : int
        How long to train in all; 0 only prunes.
    X, y : object
        Handed to skorch.
    refresh_batch_norm : bool, default=True
        Whether batch norms get statistics of the pruned net where no training follows the pruning.
    verbose : int, default=0
        1 shows a progress bar over the epochs.
    fit_params : mapping of str to object, default=None
        Handed to skorch.

    Returns
    -------
    history : list of dict
        One entry an epoch: its number, the sparsity at its end, the learning rate with which it
        began, whether schedules of the rate began anew with it, and its losses.
    """
    with interruptible(net) as interrupts:
        pruning = PruningCallback(recipe, epochs, interrupts, verbose)
        if epochs == 0 and net.initialized_:
            pruning.reach_target(net)
        else:
            pruning.rates = Rates(net, own_epochs, epochs)
            with recipe.prepared(net), _last_callback(net, pruning), _epochs(net, epochs):
                train = net.partial_fit if net.initialized_ else net.fit
                train(X, y, **(fit_params or {}))
        if refresh_batch_norm and pruning.is_stale:
            rows = net.get_dataset(X) if pruning.rows is None else pruning.rows
            take_statistics_anew(net, rows, fit_params or {})
    _check_outcome(net, recipe, pruning.history_)
    return pruning.history_


def _check_outcome(net: NeuralNet, recipe: Recipe, history: list[dict[str, Any]]) -> None:
    """Refuse a net that learnt nothing but NaN; warn of one that is cut in two."""
    weights = {name: _finite(name, w) for name, w in prunable_weights(net, recipe.choice).items()}
    loss = history[-1].get("train_loss", 0.0) if history else 0.0
    if not np.isfinite(loss):
        raise ValueError(
            f"train_loss is {loss} after the last epoch: lower the estimator's lr, scale X and y, "
            f"or give it a criterion that fits what its module returns (NLLLoss wants "
            f"probabilities, CrossEntropyLoss logits)."
        )
    if recipe.sparsity != 0:
        _tell_what_stays_dense(net, recipe.choice, trained=bool(history))
    empty = [_label(name) for name, weight in weights.items() if not weight.any()]
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


def _tell_what_stays_dense(net: NeuralNet, choice: Choice, trained: bool) -> None:
    """Warn of weights that are not counted, and of pruned ones that do not train."""
    pruned = prunable_weights(net, choice)
    ids = {id(weight) for weight in pruned.values()}
    dense = [
        each for prefix, module in modules_of(net) for each in dense_weights(module, ids, prefix)
    ]
    n_dense = sum(weight.numel() for _, weight in dense)
    share = n_dense / (n_dense + sum(weight.numel() for weight in pruned.values()))
    if choice.layers is None and share > 0.005:
        warnings.warn(
            f"{share:.0%} of the estimator's weights are not pruned, and sparsity does not count "
            f"them: {', '.join(what for what, _ in dense)}.",
            stacklevel=6,
        )
    fixed = [
        _label(name) for name, w in pruned.items() if not w.requires_grad and not bool(w.all())
    ]
    if fixed and trained:
        warnings.warn(
            f"layers {fixed} have requires_grad=False: they are pruned as any other, and do not "
            f"recover in training; leave them out of layers to keep them as they are.",
            stacklevel=6,
        )


class PruningCallback(Callback):
    """Tick the schedule and hold pruned weights at zero, after every other callback.

    Parameters
    ----------
    recipe : Recipe
        What to remove, and when.
    epochs : int
        Length of the run.
    interrupts : Interrupts
        Tells how callbacks end training.
    verbose : int, default=0
        1 shows a progress bar.
    """

    def __init__(
        self, recipe: Recipe, epochs: int, interrupts: Interrupts, verbose: int = 0
    ) -> None:
        self.recipe = recipe
        self.epochs = epochs
        self.interrupts = interrupts
        self.verbose = verbose
        self.history_: list[dict[str, Any]] = []
        self.masks_: Masks = {}
        self.level_ = 0.0
        self.starts_sparse_ = False  # whether the target held from the start of this epoch on
        self.is_stale = False  # whether weights were pruned, and no step of training came after
        self.rows: Any = None

    _TRANSIENT = ("bar_", "rates", "rows")

    def __getstate__(self) -> dict[str, Any]:
        # a user's Checkpoint may pickle the net in mid-training; a progress bar cannot be, nor a
        # function that a schedule asks
        return {key: value for key, value in vars(self).items() if key not in self._TRANSIENT}

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Start to hold early stopping back, now that the module has its final sizes."""
        prunable_weights(net, self.recipe.choice)  # a wrong name must not cost a training run
        self.rates.begin(net)
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
        self.rate_ = rate(net)
        self.rows = dataset_train
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
        self.is_stale = False
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
        self.rates.end_epoch(net, self.epoch_)

    def _record(self, net: NeuralNet) -> None:
        self.epoch_ += 1
        row = net.history[-1]
        losses = {key: row[key] for key in ("train_loss", "valid_loss") if key in row}
        sparsity = self.recipe.sparsity_of(net)
        if sparsity is None:
            sparsity = measured_sparsity(net, self.recipe.choice)
        entry = {
            "epoch": self.epoch_,
            "sparsity": float(sparsity),
            "lr": self.rate_,
            "lr_restarted": self.rates.began_anew == self.epoch_,
        }
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
            self.history_[-1]["sparsity"] = measured_sparsity(net, self.recipe.choice)
        net.callbacks_ = [
            (name, cb.callback if isinstance(cb, _Held) else cb)
            for name, cb in net.callbacks_
            if cb not in self.first_
        ]

    def close(self, net: NeuralNet) -> None:
        """Leave nothing open, however training ended."""
        if hasattr(self, "bar_"):
            self.bar_.close()
        if hasattr(net, "callbacks_"):
            self.rates.end(net)

    def reach_target(self, net: NeuralNet) -> None:
        """Prune to the final level, whatever the time."""
        before = self._sum_of_weights(net)
        self._hold_zeros(net)
        self._prune(net, self.recipe.final_level)
        self.is_stale |= before != self._sum_of_weights(net)

    @property
    def reached(self) -> bool:
        """Whether the target sparsity holds already."""
        return self.level_ >= self.recipe.final_level

    def _tick(self, net: NeuralNet, epoch: float) -> None:
        self._prune(net, self.recipe.level_at(epoch))

    def _prune(self, net: NeuralNet, level: float) -> None:
        if level == self.level_:
            return
        before = self._sum_of_weights(net)
        self.masks_ = self.recipe.masks(net, level)
        was_reached, self.level_ = self.reached, level
        self._hold_zeros(net)
        self.is_stale |= before != self._sum_of_weights(net)
        _clear_optimizer_state(net, self._held_at_zero(net))
        if self.reached and not was_reached:
            _restart_monitors(net)

    def _sum_of_weights(self, net: NeuralNet) -> float:
        weights = prunable_weights(net, self.recipe.choice).values()
        return sum(float(weight.detach().abs().sum(dtype=torch.float64)) for weight in weights)

    def _hold_zeros(self, net: NeuralNet) -> None:
        for parameter, zeros in self._held_at_zero(net):
            parameter.detach().masked_fill_(zeros, 0)

    def _held_at_zero(self, net: NeuralNet) -> list[tuple[nn.Parameter, torch.Tensor]]:
        if not self.masks_:
            return []
        parameters = _named_parameters(net)
        return [(parameters[name], zeros) for name, zeros in self.masks_.items()]


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
            try:
                self.callback.on_epoch_end(net, **kwargs)
            except KeyboardInterrupt as error:
                if self.pruning.reached or not self.pruning.interrupts.is_stop(error):
                    raise


def _restart_monitors(net: NeuralNet) -> None:
    """Make callbacks forget the best scores of the denser net, which the sparse one may miss."""
    for _, held in net.callbacks_:
        callback = getattr(held, "callback", held)
        if hasattr(callback, "best_score_"):
            lower = getattr(callback, "lower_is_better", True)
            callback.best_score_ = np.inf if lower else -np.inf
    forget_plateaus(net)


def _clear_optimizer_state(net: NeuralNet, held: list[tuple[nn.Parameter, torch.Tensor]]) -> None:
    """Forget momenta of pruned weights: they belong to values that are gone."""
    for optimizer_name in net._optimizers:
        state = getattr(net, optimizer_name + "_").state
        for parameter, zeros in held:
            for value in state.get(parameter, {}).values():
                if torch.is_tensor(value) and value.shape == parameter.shape:
                    value.masked_fill_(zeros, 0)


def prunable_layers(net: NeuralNet, choice: Choice = EVERY) -> dict[str, Any]:
    """Name the layers of a net that are pruned.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.
    choice : Choice
        Which to take; by default all.

    Returns
    -------
    layers : dict of str to Module
        In the order of the module; layers that share all their weights stand once.

    Raises
    ------
    ValueError
        If a name is none of such a layer, or if there is nothing to prune.
    """
    all_of_kind = {
        name: layer
        for prefix, module in modules_of(net)
        for name, layer in module.named_modules(prefix=prefix)
        if weight_names(layer) and choice.takes(layer)
    }
    if not all_of_kind:
        raise ValueError(
            f"estimator has no Linear or Conv layer to prune, nor another layer that can be: "
            f"{net.module!r}."
        )
    layers = choice.layers
    if layers is not None and (not layers or set(layers) - set(all_of_kind)):
        raise ValueError(f"layers={layers!r} must name layers among {list(all_of_kind)}.")
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for name, layer in all_of_kind.items():
        weights = {id(getattr(layer, key)) for key in weight_names(layer)}
        if (layers is None or name in layers) and weights - seen:
            found[name] = layer
            seen |= weights
    computed = [n for n, la in found.items() if set(weight_names(la)) - set(la._parameters)]
    if computed:
        raise ValueError(
            f"the weights of {computed} are no parameters but computed from others (weight_norm, "
            f"torch's own pruning): make them plain again, or leave the layers out of layers."
        )
    return found


def prunable_weights(net: NeuralNet, choice: Choice = EVERY) -> dict[str, nn.Parameter]:
    """Name the weights of a net that are pruned.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.
    choice : Choice
        Which layers to take; by default all.

    Returns
    -------
    weights : dict of str to Parameter
        Named as in the module's ``named_parameters``; one that several layers share stands once.
    """
    found: dict[str, nn.Parameter] = {}
    for name, layer in prunable_layers(net, choice).items():
        for key in weight_names(layer):
            weight = getattr(layer, key)
            if not any(weight is other for other in found.values()):
                found[f"{name}.{key}".lstrip(".")] = weight
    return found


def _named_parameters(net: NeuralNet) -> dict[str, nn.Parameter]:
    return {
        name: parameter
        for prefix, module in modules_of(net)
        for name, parameter in module.named_parameters(prefix=prefix, remove_duplicate=False)
    }


def sparse_weights(net: NeuralNet, choice: Choice = EVERY) -> dict[str, csr_array]:
    """Copy the pruned layers' weights into CSR arrays.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.
    choice : Choice
        Which layers to take; by default all.

    Returns
    -------
    weights : dict of str to csr_array
        Named as in the module's ``named_parameters``. Rows are those of the parameter, and all its
        other dimensions are one: (n_out, n_in * kernel size) of a Linear or Conv.
    """
    return {
        name: csr_array(as_array(weight.detach().flatten(start_dim=1)))
        for name, weight in prunable_weights(net, choice).items()
    }


def measured_sparsity(net: NeuralNet, choice: Choice = EVERY) -> float:
    """Count the fraction of the prunable weights that are zero.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.
    choice : Choice
        Which layers to take; by default all.

    Returns
    -------
    sparsity : float
        In [0, 1].
    """
    weights = prunable_weights(net, choice).values()
    zeros = sum(w.numel() - int(torch.count_nonzero(w)) for w in weights)
    return zeros / sum(w.numel() for w in weights)


def _label(name: str) -> str:
    """Name a weight as users name its layer, where it is the only one of that layer."""
    return name.removesuffix(".weight")


def _finite(name: str, parameter: nn.Parameter) -> np.ndarray:
    weight: np.ndarray = as_array(parameter)
    if not np.isfinite(weight).all():
        raise ValueError(
            f"the weights of layer {_label(name)!r} hold NaN or infinity: training diverged; lower "
            f"the estimator's lr, or scale X and y."
        )
    return weight


@contextmanager
def _last_callback(net: NeuralNet, callback: PruningCallback) -> Iterator[None]:
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
        callback.close(net)
        running = getattr(net, "callbacks_", [])  # there are none if fit refused its data
        net.callbacks_ = [(name, cb) for name, cb in running if cb is not callback]


@contextmanager
def _epochs(net: NeuralNet, epochs: int) -> Iterator[None]:
    """Let a net train for so many epochs, and callbacks see its `max_epochs` as they would."""
    own = net.fit_loop
    vars(net)["fit_loop"] = partial(own, epochs=epochs)
    try:
        yield
    finally:
        vars(net)["fit_loop"] = own
