"""One shot: all at once."""

from dataclasses import dataclass


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
