"""Pruning by scores: criterion -> groups -> allocation -> masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch.nn.parameter import is_lazy

from skprune.masks import Plan, Schedule, Update, make_groups
from skprune.masks.allocation import Scores, highest
from skprune.masks.groups import Groups, Kept
from skprune.nets.criteria import Criterion
from skprune.nets.evidence import Rows
from skprune.nets.evidence.gathering import Gathering
from skprune.nets.layers import (
    EVERY,
    Choice,
    check_finite,
    label,
    parameters_named,
    prunable_weights,
)
from skprune.nets.method import Method
from skprune.nets.rows import as_array
from skprune.nets.structure.wiring import wiring_of

Tensors = dict[str, torch.Tensor]


@dataclass(eq=False)
class Scored(Method):
    """Remove the groups of weights of the lowest scores, as a schedule says.

    Attributes
    ----------
    criterion : Criterion
        Scores the weights.
    sparsity : float
        Fraction of the weights to remove.
    schedule : Schedule
        The updates.
    start, stop : float
        The epochs between which the schedule runs.
    allocation : str
        See :mod:`skprune.masks.allocation`.
    granularity : str or (int, int)
        See :mod:`skprune.masks.groups`.
    regrowth : Criterion or None
        Scores the weights that may return where an update replaces some.
    choice : Choice
        The layers to prune.
    n_samples : int or None
        Training rows for what the criterion asks for, where the net does not train.
    """

    criterion: Criterion
    sparsity: float
    schedule: Schedule
    start: float = 0
    stop: float = 0
    allocation: str = "global"
    granularity: Any = "weight"
    regrowth: Criterion | None = None
    choice: Choice = EVERY
    n_samples: int | None = None

    advice = ", or take allocation='uniform'"

    def __post_init__(self) -> None:
        needs = (*self.criterion.needs, *(self.regrowth.needs if self.regrowth else ()))
        self.gathering = Gathering(needs, self.choice, self.n_samples)
        self.kept: Kept = {}  # one entry a group; empty while all stay
        self.last_sparsity = 0.0

    def begin(self, net: NeuralNet) -> None:
        """Find the groups; refuse layers that have none, or no gradient where one is asked for."""
        weights = prunable_weights(net, self.choice)
        fixed = [label(name) for name, weight in weights.items() if not weight.requires_grad]
        if fixed and self.gathering.needs and self.sparsity:
            raise ValueError(
                f"criterion and regrowth need gradients here, and layers {fixed} have "
                f"requires_grad=False: leave them out of layers, or take criterion='magnitude'."
            )
        if any(is_lazy(weight) for weight in weights.values()):
            return  # sizes come with the first batch
        self._find_groups(net, weights)

    def _find_groups(self, net: NeuralNet, weights: Mapping[str, Any]) -> Groups:
        shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
        groups = make_groups(self.granularity, shapes, partial(wiring_of, net, weights))
        self.target = groups.reachable(self.sparsity)
        if self.regrowth is not None and not groups.can_rewire:
            raise ValueError(
                f"regrowth needs single weights or blocks: granularity={self.granularity!r} cannot "
                f"replace some groups by others; leave out one of the two."
            )
        if self.schedule.reopens and not groups.can_return:
            raise ValueError(
                f"{type(self.schedule).__name__} lets what it pruned train again, and granularity="
                f"{self.granularity!r} has no gradient there, as all weights around are zero: "
                f"take another schedule, or blocks such as (4, 1)."
            )
        return groups

    def update_at(self, epoch: float, history: Sequence[dict[str, Any]]) -> Update:
        """Return the schedule's update, and the target once the run is over."""
        if self.sparsity == 0 or epoch == inf:
            return Update(self.sparsity, is_last=True)
        return self.schedule.update_at(epoch, Plan(self.sparsity, self.start, self.stop, history))

    def callbacks(self) -> list[Callback]:
        """Gather evidence while the net trains."""
        return [self.gathering] if self.gathering.needs and self.sparsity else []

    def masks(self, net: NeuralNet, update: Update, rows: Rows) -> Tensors:
        """Score the weights, and keep the groups of the highest scores."""
        was, self.last_sparsity = self.last_sparsity, update.sparsity
        if update.sparsity == 0:
            self.kept = {}
            return {}
        parameters = prunable_weights(net, self.choice)
        check_finite(parameters)
        groups = self._find_groups(net, parameters)
        seen = self.gathering.seen(net, rows)
        weights = {name: weight.detach() for name, weight in parameters.items()}
        with torch.no_grad():
            scores = _pooled(groups, self.criterion, weights, seen)
            if not (self.kept and update.sparsity == was):
                level = update.sparsity
                if self.target != self.sparsity:
                    level *= self.target / self.sparsity
                self.kept = groups.keep(_open_first(scores, self.kept), level, self.allocation)
            if update.regrow and self.regrowth is not None:
                growth = _pooled(groups, self.regrowth, weights, seen)
                self.kept = rewired(self.kept, scores, growth, update.regrow)
            masks = _on_parameters(net, groups, self.kept, parameters)
            self.criterion.repair(weights, masks, seen)
        return masks


def rewired(kept: Kept, scores: Scores, growth: Scores, fraction: float) -> Kept:
    """Replace the lowest groups of each layer by those that should grow, which may be the same.

    Parameters
    ----------
    kept : dict of str to ndarray of bool
        One entry a group, True where it stays.
    scores, growth : dict of str to ndarray
        The higher, the sooner a group stays, or returns.
    fraction : float
        Of each layer's groups that stay, how many are replaced.

    Returns
    -------
    kept : dict of str to ndarray of bool
        With as many groups in each layer.

    Examples
    --------
    >>> import numpy as np
    >>> kept = {"a": np.array([True, True, False, False])}
    >>> scores = {"a": np.array([3.0, 1.0, 0.0, 0.0])}
    >>> rewired(kept, scores, {"a": np.array([0.0, 1.0, 2.0, 5.0])}, 0.5)
    {'a': array([ True, False, False,  True])}
    """
    found = {}
    for name, before in kept.items():
        n_before = int(before.sum())
        n_moved = int(fraction * n_before)
        after = np.zeros(before.size, dtype=bool)
        staying = np.flatnonzero(before.ravel())
        after[staying[highest(scores[name].ravel()[staying], n_before - n_moved)]] = True
        free = np.flatnonzero(~after)
        after[free[highest(growth[name].ravel()[free], n_moved)]] = True
        found[name] = after.reshape(before.shape)
    return found


def _open_first(scores: Kept, kept: Kept) -> Kept:
    """Lower the scores of closed groups by one bit, so that those that stay win a tie.

    A zero in place of a weight of score 0 would leave one zero more than the target asks for.
    """
    lowered = {}
    for name, score in scores.items():
        closed = ~kept[name] if name in kept else None
        if closed is not None and closed.any():
            score = np.array(score)
            score[closed] = np.nextafter(score[closed], -inf)
        lowered[name] = score
    return lowered


def _pooled(groups: Groups, criterion: Criterion, weights: Tensors, seen: Any) -> Kept:
    scores = {name: as_array(each) for name, each in criterion.scores(weights, seen).items()}
    for name, score in scores.items():
        if np.isnan(score).any():
            raise ValueError(
                f"{type(criterion).__name__} scores weights of layer {label(name)!r} as NaN."
            )
    return groups.pool(scores)


def _on_parameters(
    net: NeuralNet, groups: Groups, kept: Kept, weights: Mapping[str, torch.Tensor]
) -> Tensors:
    """Return the masks of the weights, and of biases that go with whole outputs."""
    masks = dict(groups.spread(kept))
    biases = parameters_named(net)
    for name, outputs in groups.outputs(kept).items():
        bias = name.removesuffix("weight") + "bias"
        if bias in biases:
            masks[bias] = outputs
    device = next(iter(weights.values())).device
    return {name: torch.from_numpy(mask).to(device) for name, mask in masks.items()}
