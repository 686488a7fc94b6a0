"""Contenders in turn, and what their times say: shared by the benchmarks, needs only numpy."""

from collections.abc import Callable, Mapping
from math import comb
from time import perf_counter, process_time, sleep
from typing import Any, NamedTuple

import numpy as np

Call = Callable[[], Any]

TURN = {False: 3e-4, True: 5e-3}  # seconds a turn, on processor time and on the wall
WARM_BELOW = 3e-3  # a call that takes longer fills the caches by itself


class Elapsed(NamedTuple):
    """What some calls took, in seconds: of the processor, by all threads, and on the wall."""

    cpu: float
    wall: float


class Contender(NamedTuple):
    """Something to time: what it answers, and what so many calls take, wherever they run.

    The second argument asks for one call more, ahead of those and not counted.
    """

    answer: Call
    elapsed: Callable[[int, bool], Elapsed]


def elapsed(call: Call, n: int, warm: bool) -> Elapsed:
    if warm:
        call()
    cpu, wall = process_time(), perf_counter()
    for _ in range(n):
        call()
    return Elapsed(process_time() - cpu, perf_counter() - wall)


def in_process(call: Call) -> Contender:
    return Contender(call, lambda n, warm: elapsed(call, n, warm))


def settle(at_most: float = 0.2) -> None:
    """Wait until this process uses no processor: pools spin for up to 60 ms after their last call.

    What spins would take a core from the contender whose turn is next.
    """
    end = perf_counter() + at_most
    busy = True
    while busy and perf_counter() < end:
        before = process_time()
        sleep(5e-3)  # longer than the kernel's tick, by which it accounts for other threads
        busy = process_time() - before > 1e-3


def in_turns(
    contenders: Mapping[str, Contender], seconds: float, wall: bool = False, least: int = 7
) -> dict[str, np.ndarray]:
    """Return seconds a call, one entry a turn, for each contender.

    Of a fast contender a turn is many calls: enough to drown the clock, few enough to switch often.
    One call ahead of them is not counted: it finds the caches as the others left them, and, where
    there are several threads, a pool asleep. On the wall, a turn is the fastest of three goes: what
    else runs on the machine can only add to them.
    """
    repeats, warm = {}, {}
    for name, (_, took) in contenders.items():
        once = min(took(1, True)[wall] for _ in range(2))
        repeats[name] = max(1, round(TURN[wall] / max(once, 1e-7)))
        warm[name] = once < WARM_BELOW
    times: dict[str, list[float]] = {name: [] for name in contenders}
    end = perf_counter() + seconds
    while perf_counter() < end or len(times[name]) < least:
        for name, (_, took) in contenders.items():
            if wall:
                settle()
            goes = [took(repeats[name], warm[name])[wall] for _ in range(3 if wall else 1)]
            times[name].append(min(goes) / repeats[name])
    return {name: np.array(t) for name, t in times.items()}


def spread(ratios: np.ndarray) -> str:
    """Write the median and the two deciles at the ends."""
    low, middle, high = np.percentile(ratios, [10, 50, 90])
    return f"{middle:.1f} ({low:.1f}-{high:.1f})"


def median_interval(values: np.ndarray, confidence: float = 0.95) -> list[float]:
    """Return the median, and the ends of its interval by the sign test: two order statistics.

    It asks nothing of the distribution but that turns be independent, which they are about; of
    fewer than six turns it is the whole range, and promises less than asked for.

    >>> median_interval(np.arange(1.0, 22.0))
    [11.0, 6.0, 16.0]
    """
    ordered = np.sort(values)
    n = len(ordered)
    dropped, tail = 0, 1  # values beyond each end, and ways in which so few fall below the median
    while 2 * tail / 2**n <= 1 - confidence:
        dropped += 1
        tail += comb(n, dropped)
    end = max(dropped - 1, 0)
    return [float(v) for v in (np.median(ordered), ordered[end], ordered[n - 1 - end])]
