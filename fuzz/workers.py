"""Run numbered random cases in processes that may die, and tell which of them killed theirs.

A check is a function of a `numpy.random.Generator` that returns the name of an outcome and raises
on what must not be. Case number n of seed s has the generator ``default_rng([s, n])`` of its own,
so ``--seed s --case n`` repeats it alone, in this process, where a debugger can look at it.

Needs Linux: workers are forks, which start in a millisecond, and die of a signal like any process.
"""

from __future__ import annotations

import argparse
import faulthandler
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

Check = Callable[[np.random.Generator], str]

_FORK = multiprocessing.get_context("fork")
_TOO_MANY = 20  # failures; the rest would say the same


@dataclass
class Report:
    """What became of the cases."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    slow_once: int = 0  # cases that were in time when they were run again
    longest: tuple[float, int] = (0.0, -1)  # seconds, and of which case

    def __str__(self) -> str:
        lines = [f"{count:9,d}  {name}" for name, count in self.outcomes.most_common()]
        seconds, case = self.longest
        lines.append(f"longest case: {seconds:.3f} s (case {case})")
        if self.slow_once:
            lines.append(f"late at first and in time when repeated: {self.slow_once}")
        lines += [f"FAILED case {case}: {what}" for case, what in self.failures]
        total = sum(self.outcomes.values()) + len(self.failures)
        return "\n".join([*lines, f"{total:,d} cases, {len(self.failures)} failures"])


class _Worker:
    """A fork that runs every `step`-th case; another one takes over where it dies."""

    def __init__(self, check: Check, seed: int, cases: range, megabytes: int) -> None:
        self.cases = cases
        self.now = _FORK.RawArray("d", [-1.0, 0.0])  # the case that runs, and since when
        self.results, theirs = _FORK.Pipe(duplex=False)
        self.process = _FORK.Process(
            target=_work, args=(check, seed, cases, megabytes, self.now, theirs), daemon=True
        )
        self.process.start()
        theirs.close()

    def late_case(self, seconds: float) -> int | None:
        case, since = self.now
        return int(case) if since and time.monotonic() - since > seconds else None

    def cases_after(self, case: int) -> range:
        return range(case + self.cases.step, self.cases.stop, self.cases.step)

    def end(self) -> int | None:
        """Kill what is left of the process; return its exit code."""
        self.process.kill()
        self.process.join()
        self.results.close()
        return self.process.exitcode


def _work(
    check: Check, seed: int, cases: range, megabytes: int, now: Any, results: Connection
) -> None:
    faulthandler.enable()  # tells on stderr which Python line a crash came from
    _limit_memory(megabytes)
    peak = _peak_megabytes()
    for case in cases:
        now[0] = case
        now[1] = start = time.monotonic()
        what, good = _outcome(check, seed, case)
        took, now[1] = time.monotonic() - start, 0.0
        # a sanitizer has no address space to limit, so what was really used is looked at as well
        grown = _peak_megabytes() - peak
        if grown > megabytes:
            what, good = f"took {grown:.0f} MB of memory", False
        results.send((case, what, good, took))
        if grown > megabytes / 2:
            break  # the peak never falls, and would hide what comes next: another one goes on
    results.send(None)


def _outcome(check: Check, seed: int, case: int) -> tuple[str, bool]:
    try:
        return check(np.random.default_rng([seed, case])), True
    except Exception:
        return traceback.format_exc(), False


def _limit_memory(megabytes: int) -> None:
    if is_sanitized():
        return
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    limit = mapped + (megabytes << 22)  # the C library maps more for a thread than it uses
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def is_sanitized() -> bool:
    """Say whether this process runs under a sanitizer, which is slow and maps terabytes."""
    return "san.so" in os.environ.get("LD_PRELOAD", "")


def run_cases(
    check: Check,
    cases: range,
    seed: int = 0,
    *,
    workers: int = 2,
    seconds: float = 1.0,
    megabytes: int = 1024,
    progress: bool = False,
) -> Report:
    """Run `check` for each of the cases; no case stops the others.

    A case fails where it raises, kills its process, takes more than `seconds` twice (machines
    pause, so the first time is forgiven), or more than `megabytes` of memory.
    """
    report = Report()
    lanes = [cases[k::workers] for k in range(min(workers, len(cases)))]
    late = _run(check, lanes, seed, report, seconds, megabytes, progress)
    # one by one, when nothing of ours is in the way
    for case in late:
        still = _run(check, [range(case, case + 1)], seed, report, seconds, megabytes, False)
        report.failures += [(case, f"took more than {seconds:g} s, twice") for case in still]
        report.slow_once += not still
    report.failures.sort()
    return report


def _run(
    check: Check,
    lanes: list[range],
    seed: int,
    report: Report,
    seconds: float,
    megabytes: int,
    progress: bool,
) -> list[int]:
    """Run each lane of cases in a process; return those that took too long."""
    late: list[int] = []
    running = [_Worker(check, seed, lane, megabytes) for lane in lanes]
    told = time.monotonic()
    try:
        while running and len(report.failures) < _TOO_MANY:
            wait([worker.results for worker in running], timeout=0.05)
            for worker in list(running):
                rest = _look_at(worker, report, late, seconds)
                if rest is None:
                    continue
                running.remove(worker)
                if rest:
                    running.append(_Worker(check, seed, rest, megabytes))
            if progress and time.monotonic() - told > 30:
                told = time.monotonic()
                print(f"... {sum(report.outcomes.values()):,d}", file=sys.stderr, flush=True)
    finally:
        for worker in running:
            worker.end()
    return late


def _look_at(worker: _Worker, report: Report, late: list[int], seconds: float) -> range | None:
    """Take what a worker has to say; return the cases left where it has ended, else None."""
    try:
        while worker.results.poll():
            result = worker.results.recv()
            if result is None:
                worker.end()
                return worker.cases_after(int(worker.now[0]))
            case, what, good, took = result
            if not good:
                report.failures.append((case, what))
            elif took > seconds:
                late.append(case)
            else:
                report.outcomes[what] += 1
                report.longest = max(report.longest, (took, case))
    except EOFError:
        case = int(worker.now[0])
        if case < 0:
            raise RuntimeError("a worker died before its first case") from None
        report.failures.append((case, f"crashed: {_ending(worker.end())}"))
        return worker.cases_after(case)
    hung = worker.late_case(seconds)
    if hung is None or worker.results.poll():
        return None
    worker.end()
    late.append(hung)
    return worker.cases_after(hung)


def _ending(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    return signal.Signals(-exit_code).name


def main(check: Check, description: str, arguments: list[str] | None = None) -> int:
    """Read the command line, run the cases, print what became of them; return the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=1000, help="how many cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run this case alone, in this process")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, help="that a case may take")
    options = parser.parse_args(arguments)
    if options.case is not None:
        faulthandler.enable()
        print(check(np.random.default_rng([options.seed, options.case])))
        return 0
    seconds = options.seconds or (10.0 if is_sanitized() else 1.0)
    start = time.monotonic()
    report = run_cases(
        check, range(options.count), options.seed,
        workers=options.workers, seconds=seconds, progress=True,
    )  # fmt: skip
    print(report)
    print(f"seed {options.seed}, {time.monotonic() - start:.0f} s")
    return 1 if report.failures else 0
