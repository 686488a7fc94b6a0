"""What returns when weights are rewired, one rule a file: the higher a score, the sooner."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from skprune.nets.criteria import Criterion
from skprune.nets.regrowth.gradient import Gradient
from skprune.nets.regrowth.random import RandomAnew

REGROWTH: dict[str, Callable[[], Criterion]] = {"gradient": Gradient, "random": RandomAnew}


def as_regrowth(given: Any) -> Criterion | None:
    """Return the rule of a name, or a copy of a user's own; None for none."""
    if isinstance(given, str) and given in REGROWTH:
        return REGROWTH[given]()
    if given is None or isinstance(given, Criterion):
        return deepcopy(given)
    raise ValueError(
        f"regrowth must be one of {sorted(REGROWTH)}, an object of skprune.nets.regrowth, or None; "
        f"got {given!r}."
    )


__all__ = ["REGROWTH", "Gradient", "RandomAnew", "as_regrowth"]
