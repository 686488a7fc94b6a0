"""Cubic: gradually, while the net trains."""

from dataclasses import dataclass
from math import floor

from skprune.masks.schedules.base import at_least_one, ordered, progress


@dataclass(frozen=True)
class Cubic:
    """Prune gradually while the net trains.

    Zhu and Gupta (2017), "To prune, or not to prune", equation 1, from zero to the target s_f:
    ``s_t = s_f - s_f (1 - (t - t0) / (t1 - t0)) ** 3``, taken in `n_steps` equal steps of time.

    Parameters
    ----------
    begin, end : float, default=0.0 and 0.7
        When the sparsity starts to rise and when the target is reached, as fractions of the
        run; what is left of the run recovers.
    n_steps : int, default=100
        Number of pruning steps between the two.

    Examples
    --------
    >>> schedule = Cubic(end=1.0, n_steps=4)
    >>> [round(schedule.sparsity_at(epoch, 0.8, start=0, stop=4), 4) for epoch in range(5)]
    [0.0, 0.4625, 0.7, 0.7875, 0.8]
    """

    begin: float = 0.0
    end: float = 0.7
    n_steps: int = 100
    trains_first = False

    def __post_init__(self) -> None:
        ordered(begin=self.begin, end=self.end)
        at_least_one(n_steps=self.n_steps)

    def sparsity_at(self, epoch: float, target: float, start: float, stop: float) -> float:
        """Follow the cubic, held constant between two pruning steps."""
        t0, t1 = (start + (stop - start) * share for share in (self.begin, self.end))
        if epoch < t0:
            return 0.0
        passed = floor(progress(epoch, t0, t1) * self.n_steps + 1e-9) / self.n_steps
        return target if passed >= 1 else target - target * (1 - passed) ** 3
