"""Choose the kernels of each layer by a fixed cost model, so that plans can be reproduced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from skprune.engine.costs import COPY, COSTS, NEAREST_CACHE, ORIGINS, SECOND_CACHE
from skprune.engine.layers import Layer

# Numbers of rows that go through the network together, as a tile (csrc/views.h).
WIDTHS = (1, 8, 16, 32, 64)

# What a layer's weights are laid out for, in the order of Layout in csrc/views.h.
KERNELS = ("sparse", "dense", "blocks")

# Outputs in a block, which share their inputs.
HEIGHTS = (4, 8)

# The expected fraction of inputs that are not zero; lone rows skip the others. Half of them is
# usual after a ReLU and among pixels.
ACTIVE = 0.5


class LayerPlan(NamedTuple):
    """What runs one layer, for each width of a tile, and what it is expected to cost."""

    kernels: tuple[str, ...]
    nanoseconds: tuple[float, ...]  # a tile
    dense_nanoseconds: tuple[float, ...]
    height: int  # of the blocks; 0 where there are none
    order: np.ndarray  # of the outputs in blocks, n_out where there is none


class Plan(NamedTuple):
    """What runs a network: plans of its layers, and the next tile for each number of rows left."""

    layers: tuple[LayerPlan, ...]
    isa: str  # the instruction set
    steps: np.ndarray  # by rows left, from 0 to 64 (or more): the place of a width in WIDTHS
    nanoseconds_a_row: float  # of a large batch

    @property
    def origin(self) -> str:
        """The source of the costs that the plan rests on."""
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


# Rows that a thread takes at a time, unless a tile is wider (csrc/network.cpp).
_PIECE = 32


def plan_network(layers: Sequence[Layer], isa: str, n_inputs: int) -> Plan:
    """Return the plan for a chain of layers on an instruction set, without timing anything.

    The first layer gets ``n_inputs`` columns of X.
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
    """Return the plan for ``layer``, by its shape and the places of its non-zeros."""
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
    """Return how many multiplies, multiplies that wait for memory, outputs and layers to pay for.

    A tile waits for inputs that do not fit in the nearest cache, a lone row for weights that do not
    fit in the second.

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


# bytes of a weight that a lone row reads
_BYTES = {"sparse": 6, "dense": 4, "blocks": 5}


def cost_of_copy(isa: str, width: int, n_inputs: int) -> float:
    """Return the nanoseconds that copying in a tile of X is expected to take."""
    an_input, a_tile = COPY[isa][width]
    return n_inputs * an_input + a_tile


def _steps(costs: Sequence[float]) -> tuple[np.ndarray, float]:
    """Return the best next tile for each number of rows left, and the cost of 64 rows."""
    most = WIDTHS[-1]
    total, steps = [0.0], [0]
    for n in range(1, most + 1):
        ways = [cost + total[max(n - width, 0)] for width, cost in zip(WIDTHS, costs, strict=True)]
        total.append(min(ways))
        steps.append(ways.index(total[n]))
    return np.array(steps, np.uint8), total[most]


def _best_blocks(layer: Layer, n_in: int) -> tuple[int, np.ndarray, int]:
    """Return the height of blocks, the outputs in their order, and the number of stored weights.

    Outputs with the same inputs share blocks, the last of which may not be full. The height is 0
    where few outputs have the same inputs.
    """
    none = 0, np.zeros(0, np.uint32), 0
    n_out = layer.weight.shape[0]
    if layer.weight.nnz == n_out * n_in:
        return none
    indptr = layer.weight.indptr.astype(np.int64)
    lengths = np.diff(indptr)
    # Outputs with the same inputs have the same sum of hashes; others have another sum.
    hashed = np.multiply(layer.weight.indices.astype(np.uint64) + 1, _HASH)
    hashed ^= hashed >> np.uint64(29)
    hashed *= _HASH
    sums = np.concatenate([[np.uint64(0)], np.cumsum(hashed, dtype=np.uint64)])
    keys = sums[indptr[1:]] - sums[indptr[:-1]]
    order = np.lexsort((np.arange(n_out), keys, -lengths))
    starts = np.flatnonzero(
        np.r_[True, (np.diff(keys[order]) != 0) | (np.diff(lengths[order]) != 0)]
    )
    sizes = np.diff(np.r_[starts, n_out])
    if 2 * len(starts) > n_out:
        return none
    stored = {h: int((-(-sizes // h) * h * lengths[order[starts]]).sum()) for h in HEIGHTS}
    # a stored weight costs less in the higher blocks
    height = HEIGHTS[1] if 4 * stored[8] <= 5 * stored[4] else HEIGHTS[0]
    groups = -(-sizes // height)
    places = np.full(int(groups.sum()) * height, n_out, np.uint32)
    first = np.repeat(np.cumsum(groups) - groups, sizes) * height
    places[first + np.arange(n_out) - np.repeat(starts, sizes)] = order
    return height, places, stored[height]


_HASH = np.uint64(0x9E3779B97F4A7C15)
