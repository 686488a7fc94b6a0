"""Some thousands of the malformed inputs of fuzz/inputs.py, and threads that share a model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skprune.engine.native import kernels

FUZZ = Path(__file__).parents[1] / "fuzz"
pytestmark = [
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and forks"),
    pytest.mark.skipif(kernels is None, reason="the kernels were not built"),
]


def run(script, *options):
    # in a process of its own, which a crash may end
    command = [sys.executable, str(FUZZ / script), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_malformed_inputs_are_answered_or_refused():
    done = run("inputs.py", "--count", 3000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3,000 cases, 0 failures" in done.stdout
    for place in ("kernel", "model", "rows", "estimator"):
        for kind in ("network", "tree", "forest"):
            assert f"  {place:9}  {kind:7}  answered" in done.stdout
            assert f"  {place:9}  {kind:7}  ValueError" in done.stdout


def test_eight_threads_share_a_model():
    done = run("threads.py", "--seconds", 1.5)
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("network", "tree", "forest"):
        assert f"calls of a {kind}, all as when called alone" in done.stdout


# What the two scripts stand on: a check that does all that must not be done.
BAD_CHECK = """
import os, sys, time
import numpy as np
sys.path.insert(0, {folder!r})
import workers

def check(rng):
    n = int(rng.integers(0, 12))
    if n == 0:
        os.abort()
    if n == 1:
        time.sleep(60)
    if n == 2:
        raise RuntimeError("what must not be")
    if n == 3:
        assert np.ones(2**25).sum()  # 256 MB
    return "good"

report = workers.run_cases(check, range(24), seed=0, workers=2, seconds=1.0, megabytes=100)
bad = [case for case in range(24) if np.random.default_rng([0, case]).integers(0, 12) < 4]
print([case for case, _ in report.failures] == bad, report)
"""


def test_the_workers_find_what_is_wrong():
    code = BAD_CHECK.format(folder=str(FUZZ))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    drawn = [np.random.default_rng([0, case]).integers(0, 12) for case in range(24)]
    assert {0, 1, 2, 3} <= set(drawn)
    assert done.stdout.startswith("True"), done.stdout + done.stderr
    for what in ("crashed: SIGABRT", "took more than 1 s", "what must not be", "MB of memory"):
        assert what in done.stdout
