"""What a schedule is: which update is in force at any time of a training run.

Time is counted in epochs, with fractions inside an epoch, so that a schedule needs to know
neither the size of a batch nor that of the data.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Update:
    """What the masks should come to.

    Attributes
    ----------
    sparsity : float
        The fraction of the weights that is zero; 0 makes the net dense again.
    regrow : float
        The fraction of each layer's weights that are replaced by others at this sparsity.
    round : int
        Tells updates of the same sparsity apart.
    is_last : bool
        Whether no update follows.
    """

    sparsity: float
    regrow: float = 0.0
    round: int = 0
    is_last: bool = False


@dataclass(frozen=True)
class Plan:
    """The run that a schedule is laid over.

    Attributes
    ----------
    target : float
        The sparsity to reach at `stop` at the latest.
    start, stop : float
        The epochs between which the schedule runs.
    history : sequence of dict
        The epochs so far, as in `pruning_history_`, for schedules that depend on the training.
    """

    target: float
    start: float
    stop: float
    history: Sequence[dict[str, Any]] = field(default=(), compare=False)

    def progress(self, epoch: float) -> float:
        """Return how much of the time is over at `epoch`: 0 at the start, 1 at the end.

        It is below 0 before the start. A schedule of no length is over where it starts.
        """
        return progress(epoch, self.start, self.stop)


class Schedule(ABC):
    """When to prune, and how much.

    Attributes
    ----------
    trains_first : bool
        True: the net trains for its `max_epochs` before the schedule starts, and the schedule
        runs over `finetune_epochs` more. False: the schedule runs inside the `max_epochs`.
    rewires : bool
        Whether updates replace weights by others, so that `regrowth` matters.
    reopens : bool
        Whether the sparsity falls, so that what was pruned trains again.
    """

    trains_first: bool = False
    rewires: bool = False
    reopens: bool = False

    @abstractmethod
    def update_at(self, epoch: float, plan: Plan) -> Update:
        """Return the update in force at time `epoch`.

        Parameters
        ----------
        epoch : float
            Time since the run began, in epochs.
        plan : Plan
            Target, start and end.

        Returns
        -------
        update : Update
            It is carried out once, when it differs from the one before. From some time on it must
            be the last one, of the target sparsity.
        """


@runtime_checkable
class Curve(Protocol):
    """A sparsity that rises to its target and stays there: the short form of a schedule."""

    @property
    def trains_first(self) -> bool: ...  # noqa: D102

    def sparsity_at(self, epoch: float, target: float, start: float, stop: float) -> float:
        """Return the sparsity that should hold at time `epoch`.

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
class Following(Schedule):
    """The schedule that follows a curve.

    Examples
    --------
    >>> from skprune.masks import OneShot
    >>> Following(OneShot()).update_at(10, Plan(0.9, start=10, stop=20))
    Update(sparsity=0.9, regrow=0.0, round=0, is_last=True)
    """

    curve: Curve

    @property
    def trains_first(self) -> bool:  # type: ignore[override]
        """That of the curve."""
        return self.curve.trains_first

    def update_at(self, epoch: float, plan: Plan) -> Update:
        """Return the curve's sparsity; it is the last one where it is the target."""
        sparsity = self.curve.sparsity_at(epoch, plan.target, plan.start, plan.stop)
        return Update(sparsity, is_last=sparsity >= plan.target)


def progress(epoch: float, start: float, stop: float) -> float:
    """Return how much of the time from `start` to `stop` is over at `epoch`."""
    if stop <= start:
        return 1.0 if epoch >= start else -1.0
    return (epoch - start) / (stop - start)


def at_least_one(**counts: Any) -> None:
    """Refuse what is no whole number of 1 or more, by its name."""
    for name, count in counts.items():
        if not isinstance(count, Integral) or int(count) < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {count!r}.")


def share(**numbers: Any) -> None:
    """Refuse what is no number in [0, 1], by its name."""
    for name, number in numbers.items():
        if not isinstance(number, Real) or not 0 <= float(number) <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {number!r}.")


def ordered(**shares: Any) -> None:
    """Refuse two shares of a run that are not in order within [0, 1], by their names."""
    (first, begin), (second, end) = shares.items()
    are_numbers = isinstance(begin, Real) and isinstance(end, Real)
    if not are_numbers or not 0 <= begin <= end <= 1:
        raise ValueError(
            f"{first} and {second} must satisfy 0 <= {first} <= {second} <= 1, "
            f"got {first}={begin!r}, {second}={end!r}."
        )
