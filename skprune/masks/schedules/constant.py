"""Constant: sparse from the start, with weights that move."""

from dataclasses import dataclass
from math import cos, floor, pi

from skprune.masks.schedules.base import Plan, Schedule, Update, ordered, progress


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
        ordered(begin=0.0, end=self.end)
        if not self.interval > 0:
            raise ValueError(f"interval must be above 0, got {self.interval!r}.")
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"fraction must be in [0, 1], got {self.fraction!r}.")

    def update_at(self, epoch: float, plan: Plan) -> Update:
        """Return the target, and the fraction to replace in the round that has begun."""
        end = plan.start + (plan.stop - plan.start) * self.end
        last_round = int(max(0.0, (end - plan.start) / self.interval - 1e-9) + 1)
        number = min(last_round, floor((epoch - plan.start) / self.interval + 1e-9))
        if number <= 0:
            return Update(plan.target)
        if number == last_round:
            return Update(plan.target, round=number, is_last=True)
        passed = progress(plan.start + number * self.interval, plan.start, end)
        return Update(plan.target, self.fraction / 2 * (1 + cos(pi * passed)), number)
