"""What to remove: scores in, boolean masks out; True stays. Numpy only, whoever trains."""

from skprune.masks.allocation import ALLOCATIONS
from skprune.masks.groups import make_groups
from skprune.masks.schedules import (
    SCHEDULES,
    Constant,
    Cubic,
    Curve,
    Cyclic,
    Iterative,
    OneShot,
    Plan,
    Schedule,
    Update,
    as_schedule,
)

__all__ = [
    "ALLOCATIONS",
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
    "make_groups",
]
