"""Iterative: in rounds of pruning and retraining."""

from dataclasses import dataclass
from math import floor

from skprune.masks.schedules.base import at_least_one, progress


@dataclass(frozen=True)
class Iterative:
    """Train, then prune and retrain in rounds.

    Each round removes the same fraction of the weights that are left, as in Han et al. (2015),
    "Learning both weights and connections for efficient neural networks", section 3, and
    Frankle and Carbin (2019): after round r of R the density is ``(1 - target) ** (r / R)``.

    Parameters
    ----------
    n_rounds : int, default=5
        Rounds of pruning and retraining, evenly spread over the epochs of fine-tuning.

    Examples
    --------
    >>> schedule = Iterative(n_rounds=2)
    >>> [round(schedule.sparsity_at(epoch, 0.75, start=10, stop=20), 3) for epoch in (9, 10, 15)]
    [0.0, 0.5, 0.75]
    """

    n_rounds: int = 5
    trains_first = True

    def __post_init__(self) -> None:
        at_least_one(n_rounds=self.n_rounds)

    def sparsity_at(self, epoch: float, target: float, start: float, stop: float) -> float:
        """Climb one stair a round, the last one before the last stretch of retraining."""
        if epoch < start:
            return 0.0
        done = floor(progress(epoch, start, stop) * self.n_rounds + 1e-9) + 1
        if done >= self.n_rounds:
            return target
        return 1 - (1 - target) ** (done / self.n_rounds)
