"""When to prune, and how much, one schedule a file."""

from skprune.masks.schedules.base import Curve, Following, Plan, Schedule, Update
from skprune.masks.schedules.constant import Constant
from skprune.masks.schedules.cubic import Cubic
from skprune.masks.schedules.cyclic import Cyclic
from skprune.masks.schedules.iterative import Iterative
from skprune.masks.schedules.one_shot import OneShot

SCHEDULES: dict[str, Schedule | Curve] = {
    "one_shot": OneShot(),
    "iterative": Iterative(),
    "cubic": Cubic(),
    "cyclic": Cyclic(),
    "constant": Constant(),
}


def as_schedule(given: str | Schedule | Curve) -> Schedule:
    """Return the schedule of a name, of a curve, or the schedule itself.

    Parameters
    ----------
    given : str, Schedule or Curve
        What a pruner got as `schedule`.

    Returns
    -------
    schedule : Schedule

    Examples
    --------
    >>> as_schedule("one_shot")
    Following(curve=OneShot())
    """
    found = SCHEDULES[given] if isinstance(given, str) else given
    if isinstance(found, type):
        raise ValueError(
            f"The 'schedule' parameter must be a name or an object, and {found.__name__} is a "
            f"class: write {found.__name__}()."
        )
    return found if isinstance(found, Schedule) else Following(found)


__all__ = [
    "SCHEDULES",
    "Constant",
    "Cubic",
    "Curve",
    "Cyclic",
    "Iterative",
    "OneShot",
    "Plan",
    "Schedule",
    "Update",
    "as_schedule",
]
