"""Cyclic: sparse and dense phases in turn."""

from dataclasses import dataclass
from math import floor

from skprune.masks.schedules.base import Plan, Schedule, Update, at_least_one, ordered, progress


@dataclass(frozen=True)
class Cyclic(Schedule):
    """Prune, let all weights train again, and prune anew; the run ends sparse.

    Peste, Iofinova, Vladu and Alistarh (2021), "AC/DC: alternating compressed/decompressed training
    of deep neural networks", algorithm 1; with one cycle it is the dense-sparse-dense training of
    Han et al. (2017), with a sparse phase at its end. Weights that return start from zero.

    Parameters
    ----------
    begin, end : float, default=0.1 and 0.75
        When the first sparse phase begins, and when the last one does, as fractions of the run.
    n_cycles : int, default=4
        Number of cycles between the two: each is half a sparse phase and half a dense one.

    Examples
    --------
    >>> from skprune.masks.schedules import Plan
    >>> schedule = Cyclic(begin=0.2, end=0.6, n_cycles=1)
    >>> plan = Plan(0.9, start=0, stop=10)
    >>> [schedule.update_at(epoch, plan).sparsity for epoch in (1, 2, 4, 6)]
    [0.0, 0.9, 0.0, 0.9]
    """

    begin: float = 0.1
    end: float = 0.75
    n_cycles: int = 4
    reopens = True

    def __post_init__(self) -> None:
        ordered(begin=self.begin, end=self.end)
        at_least_one(n_cycles=self.n_cycles)

    def update_at(self, epoch: float, plan: Plan) -> Update:
        """Return the target in a sparse phase, and 0 in a dense one."""
        begin, end = (plan.start + (plan.stop - plan.start) * at for at in (self.begin, self.end))
        # a phase that begins at 1/3 of an epoch begins there, in spite of rounding
        phase = floor(progress(epoch + 1e-9, begin, end) * 2 * self.n_cycles)
        if phase < 0:
            return Update(0.0)
        if phase >= 2 * self.n_cycles:
            return Update(plan.target, round=2 * self.n_cycles + 1, is_last=True)
        return Update(plan.target if phase % 2 == 0 else 0.0, round=phase + 1)
