"""Many threads call one estimator at once: each answer must be that of a lone call, to the bit.

    python fuzz/threads.py --seconds 60

Estimators around nets, trees and forests take turns. The threads share the estimator and nothing
else; each call has rows, a method and a number of threads of its own.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import scipy.sparse as sp
from models import KINDS, estimator_of, random_model, random_network

_SIZES = (1, 2, 3, 8, 17, 64, 65, 300, 700)


def hammer(rng: np.random.Generator, kind: str, seconds: float, n_threads: int = 8) -> int:
    """Call one estimator of this kind from all threads for so long; return the number of calls."""
    # a small net is run by one thread, whatever the number that may
    model = random_network(rng, widest=300) if kind == "network" else random_model(rng, kind)
    tasks = _tasks(rng, [estimator_of(model, False, n_jobs) for n_jobs in (None, 3)])
    calls: Counter[int] = Counter()
    errors: list[BaseException] = []
    start, end = threading.Barrier(n_threads), time.monotonic() + seconds

    def call(thread: int) -> None:
        order = np.random.default_rng(thread).permutation(len(tasks))
        start.wait()
        try:
            while time.monotonic() < end and not errors:
                for n in order:
                    estimator, method, X, expected = tasks[n]
                    got = getattr(estimator, method)(X)
                    np.testing.assert_array_equal(_dense(got), expected)
                    calls[thread] += 1
        except BaseException as error:  # of whatever kind: it is raised below
            errors.append(error)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return calls.total()


def _tasks(rng: np.random.Generator, estimators: list[Any]) -> list[tuple[Any, str, Any, Any]]:
    """Return calls, and what each answers when nothing else runs."""
    tasks = []
    for estimator in estimators:
        for n_rows in _SIZES:
            X = rng.normal(size=(n_rows, estimator.n_features_in_)).astype(np.float32)
            X[rng.random(X.shape) < 0.5] = 0
            rows: list[Any] = [X, np.asfortranarray(X, np.float64)]
            if estimator.__sklearn_tags__().input_tags.sparse and n_rows in (8, 65):
                rows.append(sp.csr_array(X))
            for method in ("predict", "transform"):
                for laid_out in rows:
                    expected = _dense(getattr(estimator, method)(laid_out))
                    tasks.append((estimator, method, laid_out, expected))
    return tasks


def _dense(answer: Any) -> np.ndarray:
    return answer.toarray() if sp.issparse(answer) else answer


def main() -> int:
    """Read the command line and call; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    sys.setswitchinterval(1e-4)  # of Python's own threads, so that calls meet more often
    calls: Counter[str] = Counter()
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        for kind in KINDS:
            calls[kind] += hammer(rng, kind, min(1.0, options.seconds / 3), options.threads)
    for kind, count in calls.items():
        print(f"{count:9,d} calls of a {kind}, all as when called alone")
    print(f"{calls.total():,d} calls by {options.threads} threads in {options.seconds:g} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
