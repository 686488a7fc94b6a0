"""Every instruction set that this machine runs passes the kernels' tests; so does having none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skprune.engine import isa
from skprune.engine.native import kernels

HERE = Path(__file__).parent
FUZZ = HERE.parents[1] / "fuzz" / "inputs.py"
USABLE = kernels.available_isas() if kernels else []


def run_python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("name", [name for name in USABLE if name != isa()])
def test_the_kernels_of_every_instruction_set(name):
    kinds = ("network", "tree", "forest", "input", "binding", "safety", "sparse_rows")
    tests = [str(HERE / f"test_{kind}.py") for kind in kinds]
    # The shared conftest imports torch, for which these tests have no use.
    options = ["-q", "-x", "-p", "no:cacheprovider", "--noconftest", "-k", "not torch"]
    options.append("--capture=sys")  # what a crash writes, pytest cannot give back
    done = run_python("-m", "pytest", *tests, *options, SKPRUNE_ISA=name)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    done = run_python("-c", "import skprune.engine as e; print(e.isa())", SKPRUNE_ISA=name)
    assert done.stdout.split() == [name]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and forks")
@pytest.mark.parametrize("name", [name for name in USABLE if name != isa()])
def test_malformed_inputs_with_every_instruction_set(name):
    # the set that is used by default has more of them in tests/test_fuzz_inputs.py
    done = run_python(str(FUZZ), "--count", "1000", "--seed", "1", SKPRUNE_ISA=name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1,000 cases, 0 failures" in done.stdout


def test_an_instruction_set_that_is_not_there_is_an_error():
    done = run_python("-c", "import skprune.engine", SKPRUNE_ISA="mmx")
    assert done.returncode != 0
    assert "SKPRUNE_ISA='mmx' cannot be used" in done.stderr


def test_without_the_extension_scipy_runs():
    code = """
import sys
sys.modules["skprune.engine._kernels"] = None  # what makes an import fail
import numpy as np
from scipy.sparse import csr_array
from skprune.engine import Forest, Layer, Network, Tree, isa
network = Network([Layer(csr_array(np.float32([[1, 2]])), np.zeros(1))])
assert (network.engine, isa()) == ("scipy", "baseline")
assert network.predict([[1, 1]]) == [[3]]
leaf = ([-2], [0], [-1], [-1], [[4.0]], [0])
assert Tree(*leaf, 1).predict([[1]]) == [[4]]
forest = Forest(*leaf, [0, 1], 1, base=[1.0], link="exp")
assert (forest.engine, forest.decision([[1]])) == ("scipy", [[5]])
try:
    network.with_engine("native")
except ImportError as error:
    assert "skprune.engine._kernels" in str(error)
else:
    raise AssertionError("engine='native' went through")
"""
    done = run_python("-c", code, SKPRUNE_ISA="")  # which nothing but the kernels can serve
    assert done.returncode == 0, done.stderr


def test_the_engine_knows_neither_scikit_learn_nor_torch():
    code = (
        "import sys, skprune.engine; print([m for m in ('sklearn', 'torch') if m in sys.modules])"
    )
    done = run_python("-c", code)
    assert done.stdout.strip() == "[]", done.stderr
