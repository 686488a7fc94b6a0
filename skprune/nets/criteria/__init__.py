"""Pruning criteria, one a file: each scores weights; the higher, the sooner they stay."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from skprune.nets.criteria.base import Criterion, OfFunction
from skprune.nets.criteria.magnitude import Magnitude
from skprune.nets.criteria.random import Random
from skprune.nets.criteria.taylor import Taylor

CRITERIA: dict[str, Callable[[], Criterion]] = {
    "magnitude": Magnitude,
    "random": Random,
    "taylor": Taylor,
}


def as_criterion(given: Any) -> Criterion:
    """Return a criterion for one training run.

    Parameters
    ----------
    given : str, Criterion or callable
        What a pruner got as `criterion`.

    Returns
    -------
    criterion : Criterion
        A copy: it may remember things from one update to the next.

    Examples
    --------
    >>> import torch
    >>> as_criterion(torch.abs).score(torch.tensor([-1.0]), {})
    tensor([1.])
    """
    if isinstance(given, str) and given in CRITERIA:
        return CRITERIA[given]()
    if isinstance(given, Criterion):
        return deepcopy(given)
    if callable(given) and not isinstance(given, type):
        return OfFunction(given)
    raise ValueError(
        f"criterion must be one of {sorted(CRITERIA)}, an object of skprune.nets.criteria, or a "
        f"function of a layer's weights; got {given!r}."
    )


__all__ = ["CRITERIA", "Criterion", "Magnitude", "OfFunction", "Random", "Taylor", "as_criterion"]
