"""When to prune, and how much: the sparsity at any time of a training run.

Time is counted in epochs, with fractions inside an epoch, so that a schedule needs to know
neither the size of a batch nor that of the data.
"""

from dataclasses import dataclass
from math import floor
from typing import Protocol, runtime_checkable


@runtime_checkable
class Schedule(Protocol):
    """What `schedule=` takes: anything with these two.

    Attributes
    ----------
    trains_first : bool
        True: the net trains for its `max_epochs` before the schedule starts, and the schedule
        runs over `finetune_epochs` more. False: the schedule runs inside the `max_epochs`.
    """

    @property
    def trains_first(self) -> bool: ...  # noqa: D102

    def sparsity_at(self, epoch: float, target: float, start: float, stop: float) -> float:
        """Give the sparsity that should hold at time `epoch`.

        Parameters
        ----------
        epoch : float
            Time since the run began, in epochs.
        target : float
            The sparsity to reach at `stop` at the latest.
        start, stop : float
            The epochs between which the schedule runs.

        Returns
        -------
        sparsity : float
            In [0, target]; must equal `target` from some time on.
        """
        ...


@dataclass(frozen=True)
class OneShot:
    """Train, prune once, fine-tune.

    Examples
    --------
    >>> schedule = OneShot()
    >>> [schedule.sparsity_at(epoch, 0.9, start=10, stop=20) for epoch in (9, 10, 20)]
    [0.0, 0.9, 0.9]
    """

    trains_first = True

    def sparsity_at(self, epoch: float, target: float, start: float, stop: float) -> float:
        """Jump to the target at `start`."""
        return target if epoch >= start else 0.0


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
        if self.n_rounds < 1:
            raise ValueError(f"n_rounds must be at least 1, got {self.n_rounds!r}.")

    def sparsity_at(self, epoch: float, target: float, start: float, stop: float) -> float:
        """Climb one stair a round, the last one before the last stretch of retraining."""
        if epoch < start:
            return 0.0
        done = floor(_progress(epoch, start, stop) * self.n_rounds + 1e-9) + 1
        if done >= self.n_rounds:
            return target
        return 1 - (1 - target) ** (done / self.n_rounds)


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
        if not 0 <= self.begin <= self.end <= 1:
            raise ValueError(
                f"begin and end must satisfy 0 <= begin <= end <= 1, "
                f"got begin={self.begin!r}, end={self.end!r}."
            )
        if self.n_steps < 1:
            raise ValueError(f"n_steps must be at least 1, got {self.n_steps!r}.")

    def sparsity_at(self, epoch: float, target: float, start: float, stop: float) -> float:
        """Follow the cubic, held constant between two pruning steps."""
        t0, t1 = (start + (stop - start) * share for share in (self.begin, self.end))
        if epoch < t0:
            return 0.0
        passed = floor(_progress(epoch, t0, t1) * self.n_steps + 1e-9) / self.n_steps
        return target if passed >= 1 else target - target * (1 - passed) ** 3


def _progress(epoch: float, start: float, stop: float) -> float:
    return 1.0 if stop <= start else (epoch - start) / (stop - start)


SCHEDULES: dict[str, Schedule] = {
    "one_shot": OneShot(),
    "iterative": Iterative(),
    "cubic": Cubic(),
}
