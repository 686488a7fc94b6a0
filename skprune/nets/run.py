"""The life of a net inside `fit`: skorch's own training, entered through one callback.

At every step: the update that is due -> the method's masks -> zeros held. The rest keeps callbacks
of the user's from ending training before the last update, and leaves no trace on the net.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping
from tqdm.auto import tqdm

from skprune.masks import Update
from skprune.nets.batch_norm import take_statistics_anew
from skprune.nets.evidence import Rows
from skprune.nets.interrupts import Interrupts, interruptible
from skprune.nets.layers import measured_sparsity, prunable_weights
from skprune.nets.masking import Masking
from skprune.nets.method import Method
from skprune.nets.outcome import check_outcome
from skprune.nets.rates import Rates, forget_plateaus, rate


def train_and_prune(
    net: NeuralNet,
    method: Method,
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
    method : Method
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
    of_forward = dict(fit_params or {})
    # the nets of this package hand weights over with the rows, others with forward's arguments
    weight = of_forward.pop("sample_weight", None) if hasattr(net, "training_rows") else None
    with interruptible(net) as interrupts:
        run = PruningRun(method, epochs, interrupts, verbose, of_forward)
        if epochs == 0 and net.initialized_:
            if y is not None and hasattr(net, "training_rows"):
                X, y = net.training_rows(X, y, weight)
            run.dataset = net.get_dataset(X, y)
            method.begin(net)
            run.reach_target(net)
        else:
            run.rates = Rates(net, own_epochs, epochs)
            with method.prepared(net), _last_callback(net, run), _epochs(net, epochs):
                train = net.partial_fit if net.initialized_ else net.fit
                train(X, y, **(fit_params or {}))
        if refresh_batch_norm and run.is_stale:
            rows = net.get_dataset(X) if run.dataset is None else run.dataset
            take_statistics_anew(net, rows, of_forward)
    check_outcome(net, method, run.history_)
    return run.history_


class PruningRun(Callback):
    """Carry out a method's updates and hold pruned weights at zero, after every other callback.

    Parameters
    ----------
    method : Method
        What to remove, and when.
    epochs : int
        Length of the run.
    interrupts : Interrupts
        Tells how callbacks end training.
    verbose : int, default=0
        1 shows a progress bar.
    fit_params : mapping of str to object, default=None
        What the module's forward takes beside the rows.
    """

    def __init__(
        self,
        method: Method,
        epochs: int,
        interrupts: Interrupts,
        verbose: int = 0,
        fit_params: Mapping[str, Any] | None = None,
    ) -> None:
        self.method = method
        self.epochs = epochs
        self.interrupts = interrupts
        self.verbose = verbose
        self.fit_params = dict(fit_params or {})
        self.history_: list[dict[str, Any]] = []
        self.masking_ = Masking()
        self.update_ = Update(0.0)
        self.starts_sparse_ = False  # whether the last update was made before this epoch began
        self.is_stale = False  # whether weights were pruned, and no step of training came after
        self.dataset: Any = None

    _TRANSIENT = ("bar_", "rates", "dataset", "fit_params")

    def __getstate__(self) -> dict[str, Any]:
        # a user's Checkpoint may pickle the net in mid-training; a progress bar cannot be, nor a
        # function that a schedule asks
        return {key: value for key, value in vars(self).items() if key not in self._TRANSIENT}

    def on_train_begin(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Start to hold early stopping back, now that the module has its final sizes."""
        self.method.begin(net)  # a wrong name must not cost a training run
        self.rates.begin(net)
        self.epoch_ = 0
        self.first_row_ = len(net.history)
        self.bar_ = tqdm(total=self.epochs, unit="epoch", disable=not self.verbose)
        held = [(name, _Held(cb, self)) for name, cb in net.callbacks_ if cb is not self]
        self.first_ = self.method.callbacks()
        net.callbacks_ = [*(("skprune", cb) for cb in self.first_), *held, ("skprune", self)]

    def on_epoch_begin(
        self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Count the steps of the epoch; from a sparse one on, scores are those of a sparse net."""
        self.dataset = dataset_train
        self.masking_.find(net)
        self._tick(net, self.epoch_)
        if self.reached and not self.starts_sparse_:
            self.starts_sparse_ = True
            _restart_monitors(net)
        self.rate_ = rate(net)
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
        self.masking_.hold()
        self.step_ += 1
        if 0 < self.step_ <= self.steps_:
            self._tick(net, self.epoch_ + self.step_ / self.steps_)

    def on_epoch_end(
        self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Write the history."""
        self.masking_.hold()
        self._tick(net, self.epoch_ + 1)
        self._record(net)
        self.rates.end_epoch(net, self.epoch_)

    def on_train_end(self, net: NeuralNet, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Reach the target even where training was cut short, or old weights were loaded."""
        if self.dataset is None:
            self.dataset = net.get_dataset(X, y)
        self.reach_target(net)
        n_rows = len(net.history) - self.first_row_
        if n_rows > self.epoch_ and "train_batch_count" in net.history[-1]:
            self._record(net)  # another callback ended training where this epoch ended
        if self.history_:
            self.history_[-1]["sparsity"] = measured_sparsity(net, self.method.choice)
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

    @property
    def reached(self) -> bool:
        """Whether no update is left."""
        return self.update_.is_last

    def reach_target(self, net: NeuralNet) -> None:
        """Hold zeros, and carry out the last update if training ended before it."""
        before = self._sum_of_weights(net)
        self.masking_.find(net)
        self.masking_.hold()
        final = self.method.update_at(inf, self.history_)
        if not self.reached and final.sparsity != self.update_.sparsity:
            self._carry_out(net, final)
        self.is_stale |= before != self._sum_of_weights(net)

    def _tick(self, net: NeuralNet, epoch: float) -> None:
        update = self.method.update_at(epoch, self.history_)
        if update != self.update_:
            self._carry_out(net, update)

    def _carry_out(self, net: NeuralNet, update: Update) -> None:
        before, was_reached = self._sum_of_weights(net), self.reached
        rows = Rows(self.dataset, self.fit_params)
        self.masking_.put_on(net, self.method.masks(net, update, rows))
        self.update_ = update
        self.is_stale |= before != self._sum_of_weights(net)
        if self.reached and not was_reached:
            _restart_monitors(net)

    def _record(self, net: NeuralNet) -> None:
        self.epoch_ += 1
        row = net.history[-1]
        losses = {key: row[key] for key in ("train_loss", "valid_loss") if key in row}
        sparsity = self.method.sparsity_of(net)
        if sparsity is None:
            sparsity = measured_sparsity(net, self.method.choice)
        entry = {
            "epoch": self.epoch_,
            "sparsity": float(sparsity),
            "lr": self.rate_,
            "lr_restarted": self.rates.began_anew == self.epoch_,
        }
        self.history_.append({**entry, **self.method.record(net, sparsity), **losses})
        self.bar_.set_postfix(sparsity=f"{entry['sparsity']:.3f}", **losses)
        self.bar_.update()

    def _sum_of_weights(self, net: NeuralNet) -> float:
        weights = prunable_weights(net, self.method.choice).values()
        return sum(float(weight.detach().abs().sum(dtype=torch.float64)) for weight in weights)


class _Held:
    """A callback that cannot end training while an update is left."""

    def __init__(self, callback: Callback, run: PruningRun) -> None:
        self.callback = callback
        self.run = run

    def __getattr__(self, name: str) -> Any:
        if name == "callback":  # while unpickling, before there is one
            raise AttributeError(name)
        return getattr(self.callback, name)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        # an early-stopping rule must not even count before; KeyboardInterrupt is how any
        # skorch callback ends training
        if self.run.starts_sparse_:
            self.callback.on_epoch_end(net, **kwargs)
        elif not isinstance(self.callback, EarlyStopping):
            try:
                self.callback.on_epoch_end(net, **kwargs)
            except KeyboardInterrupt as error:
                if self.run.reached or not self.run.interrupts.is_stop(error):
                    raise


def _restart_monitors(net: NeuralNet) -> None:
    """Make callbacks forget the best scores of the denser net, which the sparse one may miss."""
    for _, held in net.callbacks_:
        callback = getattr(held, "callback", held)
        if hasattr(callback, "best_score_"):
            lower = getattr(callback, "lower_is_better", True)
            callback.best_score_ = np.inf if lower else -np.inf
    forget_plateaus(net)


@contextmanager
def _last_callback(net: NeuralNet, callback: PruningRun) -> Iterator[None]:
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
