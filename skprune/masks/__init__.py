"""What to remove: scores in, boolean masks out. Numpy only, shared by every net."""

from skprune.masks.allocation import ALLOCATIONS, keep_counts
from skprune.masks.granularity import GRANULARITIES, top_masks
from skprune.masks.schedules import SCHEDULES, Cubic, Iterative, OneShot, Schedule

__all__ = [
    "ALLOCATIONS",
    "GRANULARITIES",
    "SCHEDULES",
    "Cubic",
    "Iterative",
    "OneShot",
    "Schedule",
    "keep_counts",
    "top_masks",
]
