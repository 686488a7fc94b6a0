"""Constant: sparse from the start, with weights that move."""

from dataclasses import dataclass
from math import cos, floor, pi
from numbers import Real

from skprune.masks.schedules.base import Plan, Schedule, Update, progress, share


@dataclass(frozen=True)
class Constant(Schedule):
    """Hold the target sparsity from the start on, and replace some weights by others now and then.

    Evci et al. (2020), "Rigging the lottery: making all tickets winners", section 3: the fraction
    that is replaced decays by a cosine, ``fraction / 2 * (1 + cos(pi t / t_end))``, and is 0 from
    t_end on. What comes back is up to `regrowth`.

    Parameters
    ----------
    interval : float, default=1.0
        Epochs from one replacement to the next. The paper takes 100 steps.
    fraction : float, default=0.3
        Of each layer's weights, how many are replaced at first.
    end : float, default=0.75
        When weights stop to move, as a fraction of the run.

    Examples
    --------
    >>> from skprune.masks.schedules import Plan
    >>> schedule = Constant(interval=2.0)
    >>> plan = Plan(0.9, start=0, stop=16)
    >>> [round(schedule.update_at(epoch, plan).regrow, 4) for epoch in (0, 2, 6, 12)]
    [0.0, 0.2799, 0.15, 0.0]
    """

    interval: float = 1.0
    fraction: float = 0.3
    end: float = 0.75
    rewires = True

    def __post_init__(self) -> None:
        share(fraction=self.fraction, end=self.end)
        if not isinstance(self.interval, Real) or not self.interval > 0:
            raise ValueError(f"interval must be a number above 0, got {self.interval!r}.")

    def update_at(self, epoch: float, plan: Plan) -> Update:
        """Return the target, and the fraction to replace in the round that has begun."""
        if epoch < plan.start:
            return Update(0.0)
        # without a replacement no update follows the first one
        moves = self.end if self.fraction else 0.0
        end = plan.start + (plan.stop - plan.start) * moves
        if epoch >= end - 1e-9:
            return Update(plan.target, is_last=True)
        number = floor((epoch - plan.start) / self.interval + 1e-9)
        if number == 0:
            return Update(plan.target)
        passed = progress(plan.start + number * self.interval, plan.start, end)
        return Update(plan.target, self.fraction / 2 * (1 + cos(pi * passed)), number)
