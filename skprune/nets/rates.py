"""Learning-rate schedules of a net that trains, is pruned, and is fine-tuned in one run."""

import warnings
from collections.abc import Iterator
from math import floor
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import LRScheduler as SchedulerCallback
from skorch.callbacks import WarmRestartLR
from skorch.history import History
from torch.optim import Optimizer, lr_scheduler

# Which schedules have a length that is not that of the training. Of any other kind, such as a
# function of the user's own, nobody can ask the length: it is that of the training.
ENDLESS = (
    lr_scheduler.StepLR,
    lr_scheduler.MultiStepLR,
    lr_scheduler.ExponentialLR,
    lr_scheduler.ConstantLR,
    lr_scheduler.CyclicLR,
    lr_scheduler.ReduceLROnPlateau,
    WarmRestartLR,
)
LENGTHS: dict[type[lr_scheduler.LRScheduler], str] = {
    lr_scheduler.OneCycleLR: "total_steps",
    lr_scheduler.PolynomialLR: "total_iters",
    lr_scheduler.LinearLR: "total_iters",
    lr_scheduler.CosineAnnealingLR: "T_max",
}


class Rates:
    """The learning-rate schedules of a run.

    A schedule whose length is that of the training starts anew for the fine-tuning, and runs
    through it from its first step to its last. Renda, Frankle and Carbin (2020) [1]_ call that
    learning-rate rewinding. Any other schedule goes on. Schedules of one optimizer share its rate,
    so they start anew together.

    Parameters
    ----------
    net : NeuralNet
        All the epochs of one that is initialized are fine-tuning.
    own_epochs : int
        How long it trains before its fine-tuning, or has been trained.
    epochs : int
        Length of the run.

    Attributes
    ----------
    began_anew : int or None
        The epoch, counted from 1, with which schedules started anew.

    References
    ----------
    .. [1] A. Renda, J. Frankle and M. Carbin, "Comparing rewinding and fine-tuning in neural
       network pruning", 2020, section 2.
    """

    def __init__(self, net: NeuralNet, own_epochs: int, epochs: int) -> None:
        self.began_anew: int | None = None
        self._n_trained = own_epochs
        self._n_more = epochs if net.initialized_ else epochs - own_epochs
        self._history: History | None = None
        if net.initialized_:
            self._forget(net)

    def _forget(self, net: NeuralNet) -> None:
        """Let the schedules of a net that has trained begin as if it had not.

        skorch's go on where the history of the net ends, so it is away while they begin.
        """
        used_up = [self._is_used_up(scheduler) for _, _, scheduler in _schedules(net)]
        callbacks = [cb for _, cb in net.callbacks_ if isinstance(cb, SchedulerCallback)]
        without = [cb for cb in callbacks if getattr(cb, "lr_scheduler_", None) is None]
        if not any(used_up) and not without:
            return
        for optimizer in _optimizers(net):
            groups = optimizer.param_groups
            _restore(optimizer, [{"lr": group.get("initial_lr", group["lr"])} for group in groups])
        self._history, net.history_ = net.history_, History()
        self.began_anew = 1

    def begin(self, net: NeuralNet) -> None:
        """Remember how schedules begin, once all callbacks have begun to train the net."""
        schedules = list(_schedules(net))
        self._begun = [(each, _copied(each.state_dict())) for _, _, each in schedules]
        self._settings = [(optimizer, _settings(optimizer)) for optimizer in _optimizers(net)]
        if self._history is not None:
            net.history_, self._history = self._history, None
            self._stretch(net, {id(each.optimizer) for _, _, each in schedules})

    def end_epoch(self, net: NeuralNet, epoch: int) -> None:
        """Start schedules anew if this was the last epoch before the fine-tuning."""
        if self.began_anew is not None or epoch != self._n_trained or self._n_more <= 0:
            return
        used_up = {
            id(scheduler.optimizer)
            for scheduler, begun in self._begun
            if self._is_used_up(scheduler, begun.get("last_epoch", 0))
        }
        if not used_up:
            return
        for optimizer, settings in self._settings:
            if id(optimizer) in used_up:
                _restore(optimizer, settings)
        for scheduler, begun in self._begun:
            if id(scheduler.optimizer) in used_up:
                scheduler.load_state_dict(_copied(begun))
        self._stretch(net, used_up)
        self.began_anew = epoch + 1

    def end(self, net: NeuralNet) -> None:
        """Give callbacks back the schedules that were stretched."""
        for place, key, stretched in _held_by_callbacks(net, _Stretched):
            place[key] = stretched.scheduler

    def _stretch(self, net: NeuralNet, optimizers: set[int]) -> None:
        """Let a schedule of the training's length last for the fine-tuning."""
        pace = self._n_trained / self._n_more
        if pace == 1:
            return
        for place, key, scheduler in _schedules(net):
            if id(scheduler.optimizer) in optimizers:
                place[key] = _Stretched(scheduler, pace)

    def _is_used_up(self, scheduler: lr_scheduler.LRScheduler, begun: int = 0) -> bool:
        """Tell whether a schedule, which began with a step, was made for the training alone."""
        if isinstance(scheduler, ENDLESS):
            return False
        if isinstance(scheduler, lr_scheduler.CosineAnnealingWarmRestarts):
            return bool(scheduler.T_cur == 0)  # a period ends with the training
        name = next((LENGTHS[cls] for cls in type(scheduler).__mro__ if cls in LENGTHS), None)
        if name is None:
            return True
        # one that is far shorter was over, or came round again, in the training already; one that
        # lasts for both was made for both
        n_steps = scheduler.last_epoch - begun
        n_more = n_steps * self._n_more / max(1, self._n_trained)
        return bool(n_steps / 2 < getattr(scheduler, name) < n_steps + n_more)


def rate(net: NeuralNet) -> float:
    """Tell the learning rate now, of the first group of parameters; warn of a negative one."""
    now = float(_optimizers(net)[0].param_groups[0]["lr"])
    if now < 0:
        warnings.warn(
            f"the learning rate is {now:.3g}, so training raises the loss: something sets it for "
            f"fewer epochs than the net trains with its fine-tuning. Use skorch's LRScheduler, "
            f"which starts anew for the fine-tuning, or set finetune_epochs=0.",
            stacklevel=2,
        )
    return now


def forget_plateaus(net: NeuralNet) -> None:
    """Let schedules that wait for a plateau forget the best score of the denser net.

    The jump of the loss that pruning brings would count as a plateau. The rate stays what it is.
    """
    for _, _, scheduler in _schedules(net):
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.best = np.inf if scheduler.mode == "min" else -np.inf
            scheduler.num_bad_epochs = 0


class _Stretched:
    """A schedule that takes another number of steps than it is asked for."""

    def __init__(self, scheduler: lr_scheduler.LRScheduler, pace: float) -> None:
        self.scheduler = scheduler
        self.pace = pace
        self.n_asked = 0

    def __getattr__(self, name: str) -> Any:
        if name == "scheduler":  # while unpickling, before there is one
            raise AttributeError(name)
        return getattr(self.scheduler, name)

    def step(self, *args: Any, **kwargs: Any) -> None:
        done, due = (floor(n * self.pace + 1e-9) for n in (self.n_asked, self.n_asked + 1))
        self.n_asked += 1
        for _ in range(due - done):
            self.scheduler.step(*args, **kwargs)


def _schedules(net: NeuralNet) -> Iterator[tuple[Any, Any, lr_scheduler.LRScheduler]]:
    return _held_by_callbacks(net, lr_scheduler.LRScheduler)


def _held_by_callbacks(net: NeuralNet, kind: type) -> Iterator[tuple[Any, Any, Any]]:
    """Find what callbacks, or a net of a user's own, hold: each with its place and key there."""
    for _, held in [("", net), *net.callbacks_]:
        attributes = vars(getattr(held, "callback", held))
        nested = [value for value in attributes.values() if isinstance(value, dict | list)]
        for place in [attributes, *nested]:
            items = place.items() if isinstance(place, dict) else enumerate(place)
            yield from [(place, key, value) for key, value in items if isinstance(value, kind)]


def _optimizers(net: NeuralNet) -> list[Optimizer]:
    return [getattr(net, name + "_") for name in net._optimizers]


def _settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    return [
        {key: _copied(value) for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]


def _restore(optimizer: Optimizer, settings: list[dict[str, Any]]) -> None:
    for group, before in zip(optimizer.param_groups, settings, strict=False):
        for key, value in before.items():
            if isinstance(group.get(key), torch.Tensor):  # a rate that a captured graph reads
                group[key].fill_(torch.as_tensor(value))
            else:
                group[key] = _copied(value)


def _copied(value: Any) -> Any:
    """Copy what a schedule counts with; whatever else it knows stays the same object."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return value.copy() if isinstance(value, np.ndarray) else value
