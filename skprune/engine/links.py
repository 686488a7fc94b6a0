"""The links: how the sums of a forest become predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _two(second: Floats) -> Floats:
    return np.concatenate([1.0 - second, second], axis=1)


def _clip(sums: Floats, groups: Ints) -> Floats:
    clipped = sums.clip(min=0.0)
    totals = np.add.reduceat(clipped, np.cumsum(groups) - groups, axis=1)
    totals, sizes = np.repeat(totals, groups, axis=1), np.repeat(groups, groups)
    # without a positive sum all classes are equally probable
    nothing = totals == 0.0
    return np.where(nothing, 1.0 / sizes, clipped / np.where(nothing, 1.0, totals))


# One signature for all: (sums, groups) -> predictions. The position of a name is also its number in
# the kernels (csrc/forest.h).
LINKS: dict[str, Callable[[Floats, Ints], Floats]] = {
    "identity": lambda sums, groups: sums,
    "exp": lambda sums, groups: np.exp(sums),
    "sigmoid": lambda sums, groups: _two(expit(sums)),
    "exponential": lambda sums, groups: _two(expit(2.0 * sums)),
    "softmax": lambda sums, groups: softmax(sums, axis=1),
    "clip": _clip,
}
