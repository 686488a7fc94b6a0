"""Which kernel runs a layer: by a fixed cost model, so that a plan can be read and repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from skprune.engine.costs import COPY, COSTS, NEAREST_CACHE, ORIGINS, SECOND_CACHE
from skprune.engine.layers import Layer

# Rows of X go through the network in tiles of so many, the first of them a lone row (csrc/views.h).
WIDTHS = (1, 8, 16, 32, 64)

# What a layer's weights are laid out for, in the order of Layout in csrc/views.h.
KERNELS = ("sparse", "dense", "blocks")

# Outputs in a block, which share their inputs.
HEIGHTS = (4, 8)

# Lone rows skip the inputs that are zero. How many those will be nobody knows beforehand: after a
# ReLU and among pixels half of them is usual.
ACTIVE = 0.5


class LayerPlan(NamedTuple):
    """What runs one layer, for each width of a tile, and what it is expected to cost."""

    kernels: tuple[str, ...]
    nanoseconds: tuple[float, ...]  # a tile
    dense_nanoseconds: tuple[float, ...]
    height: int  # of the blocks; 0 where there are none
    order: np.ndarray  # of the outputs in blocks, n_out where there is none


class Plan(NamedTuple):
    """What runs a network: its layers, and which tile comes next for so many rows left."""

    layers: tuple[LayerPlan, ...]
    isa: str  # the set of instructions that it is for
    steps: np.ndarray  # by rows left, 0 to 64 and more: the number of a width
    nanoseconds_a_row: float  # of a large batch

    @property
    def origin(self) -> str:
        """Where the costs come from that the plan rests on."""
        return f"{self.isa}, {ORIGINS[self.isa]}"

    def widths(self, n_rows: int) -> list[int]:
        """Return the tiles of a batch of ``n_rows``, in their order."""
        tiles = []
        piece = max(_PIECE, WIDTHS[self.steps[-1]])
        for first in range(0, n_rows, piece):
            left = min(piece, n_rows - first)
            while left > 0:
                tiles.append(WIDTHS[self.steps[left]])
                left -= tiles[-1]
        return tiles


# Threads take pieces of so many rows, or of a tile if that is wider (csrc/network.cpp).
_PIECE = 32


def plan_network(layers: Sequence[Layer], isa: str, n_inputs: int) -> Plan:
    """Return the plan for a chain of layers on a set of instructions: never a matter of timing.

    Of the columns of X the first layer is handed ``n_inputs``.
    """
    widths = [n_inputs, *(layer.weight.shape[0] for layer in layers[:-1])]
    plans = tuple(plan_layer(*pair, isa) for pair in zip(layers, widths, strict=True))
    costs = [
        sum(plan.nanoseconds[i] for plan in plans) + cost_of_copy(isa, width, n_inputs)
        for i, width in enumerate(WIDTHS)
    ]
    steps, total = _steps(costs)
    return Plan(plans, isa, steps, total / WIDTHS[-1])


def plan_layer(layer: Layer, n_in: int, isa: str) -> LayerPlan:
    """Return the plan for ``layer``: a matter of its shape and of where its non-zeros are."""
    n_out = layer.weight.shape[0]
    height, order, stored = _best_blocks(layer, n_in)
    multiplies = {
        "sparse": layer.weight.nnz,
        "dense": n_in * -(-n_out // 8) * 8,
        **({"blocks": stored} if height else {}),
    }
    chosen, best, dense = [], [], []
    for width in WIDTHS:
        costs = {
            kernel: cost_of_layer(isa, kernel, width, n, n_in, n_out)
            for kernel, n in multiplies.items()
        }
        chosen.append(min(costs, key=lambda kernel: costs[kernel]))
        best.append(costs[chosen[-1]])
        dense.append(costs["dense"])
    return LayerPlan(tuple(chosen), tuple(best), tuple(dense), height, order)


def cost_of_layer(
    isa: str, kernel: str, width: int, multiplies: int, n_in: int, n_out: int
) -> float:
    """Return the nanoseconds that a tile of ``width`` rows is expected to take in one layer.

    Examples
    --------
    >>> sparse = cost_of_layer("avx2", "sparse", 16, 1000, 100, 100)
    >>> sparse < cost_of_layer("avx2", "dense", 16, 10_000, 100, 100)
    True
    """
    counts = counts_of(kernel, width, multiplies, n_in, n_out)
    return sum(a * n for a, n in zip(COSTS[isa][kernel, width], counts, strict=True))


def counts_of(
    kernel: str, width: int, multiplies: int, n_in: int, n_out: int
) -> tuple[float, float, int, int]:
    """Return what has a price: multiplies, those that wait for memory, outputs, and the layer.

    A tile waits for its inputs where they are too many for the nearest cache, a lone row for the
    weights where they are too many for the second.

    Examples
    --------
    >>> counts_of("sparse", 16, 1000, 1024, 50)
    (1000.0, 500.0, 50, 1)
    >>> counts_of("dense", 1, 2**20, 1024, 1024)
    (524288.0, 458752.0, 1024, 1)
    """
    work = multiplies * (ACTIVE if width == 1 else 1.0)
    held = 4 * n_in * width if width > 1 else _BYTES[kernel] * multiplies
    cache = SECOND_CACHE if width == 1 else NEAREST_CACHE
    return work, work * max(0.0, 1 - cache / max(1, held)), n_out, 1


# of a weight, as lone rows read it
_BYTES = {"sparse": 6, "dense": 4, "blocks": 5}


def cost_of_copy(isa: str, width: int, n_inputs: int) -> float:
    """Return the nanoseconds that it is expected to take to bring in a tile of X."""
    an_input, a_tile = COPY[isa][width]
    return n_inputs * an_input + a_tile


def _steps(costs: Sequence[float]) -> tuple[np.ndarray, float]:
    """Return the tile to begin with for every number of rows left, and what 64 rows cost so."""
    most = WIDTHS[-1]
    total, steps = [0.0], [0]
    for n in range(1, most + 1):
        ways = [cost + total[max(n - width, 0)] for width, cost in zip(WIDTHS, costs, strict=True)]
        total.append(min(ways))
        steps.append(ways.index(total[n]))
    return np.array(steps, np.uint8), total[most]


def _best_blocks(layer: Layer, n_in: int) -> tuple[int, np.ndarray, int]:
    """Return the height of the blocks, the outputs in groups of it, and the weights these store.

    Outputs with the same inputs make a group, which may be short of some. Where hardly any have
    partners the height is 0.
    """
    none = 0, np.zeros(0, np.uint32), 0
    n_out = layer.weight.shape[0]
    if layer.weight.nnz == n_out * n_in:
        return none
    indptr = layer.weight.indptr.astype(np.int64)
    lengths = np.diff(indptr)
    # Rows of the same inputs have the same sum of scrambled numbers, and others do not.
    scrambled = np.multiply(layer.weight.indices.astype(np.uint64) + 1, _SCRAMBLE)
    scrambled ^= scrambled >> np.uint64(29)
    scrambled *= _SCRAMBLE
    sums = np.concatenate([[np.uint64(0)], np.cumsum(scrambled, dtype=np.uint64)])
    keys = sums[indptr[1:]] - sums[indptr[:-1]]
    order = np.lexsort((np.arange(n_out), keys, -lengths))
    starts = np.flatnonzero(
        np.r_[True, (np.diff(keys[order]) != 0) | (np.diff(lengths[order]) != 0)]
    )
    sizes = np.diff(np.r_[starts, n_out])
    if 2 * len(starts) > n_out:
        return none
    stored = {h: int((-(-sizes // h) * h * lengths[order[starts]]).sum()) for h in HEIGHTS}
    # a weight of the higher blocks costs less
    height = HEIGHTS[1] if 4 * stored[8] <= 5 * stored[4] else HEIGHTS[0]
    groups = -(-sizes // height)
    places = np.full(int(groups.sum()) * height, n_out, np.uint32)
    first = np.repeat(np.cumsum(groups) - groups, sizes) * height
    places[first + np.arange(n_out) - np.repeat(starts, sizes)] = order
    return height, places, stored[height]


_SCRAMBLE = np.uint64(0x9E3779B97F4A7C15)
