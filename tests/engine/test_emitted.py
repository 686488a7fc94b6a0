"""The loops of sums hold their values in registers, whatever set of instructions they are for.

A compiler that goes by way of the stack between a load and its multiply-add makes kernels several
times slower and breaks no answer: GCC 12 did with the quads of weights on AVX-512, and clang with
the sums of NEON. So the kernels are compiled to assembly, for processors that need not be here, and
read.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.engine.emitted import sums

CSRC = Path(__file__).parents[2] / "skprune" / "engine" / "csrc"
CMAKE = Path(__file__).parents[2] / "CMakeLists.txt"
X86 = {
    "baseline": "",
    "avx2": "-mavx2 -mfma",
    "avx512": "-mavx2 -mfma -mavx512f -mavx512vl -mavx512bw -mavx512dq",
}
OPTIONS = (
    "-std=c++17 -g0 -O3 -DNDEBUG -fPIC -ffp-contract=fast -fno-tree-vectorize "
    "-fno-tree-slp-vectorize -fvisibility=hidden"
)


def _compilers():
    """Return, by name, the commands of compilers that are here, and what they compile for."""
    zig = [sys.executable, "-m", "ziglang", "c++", "-fno-sanitize=all"]
    native = shutil.which((os.environ.get("CXX") or "c++").split()[0])
    machine = os.uname().machine if hasattr(os, "uname") else ""
    found = {}
    if native and machine in ("x86_64", "AMD64"):
        found |= {f"c++ {isa}": ([native], isa) for isa in X86}
    elif native and machine in ("aarch64", "arm64"):
        found["c++ neon"] = [native], "neon"
    if cross := shutil.which("aarch64-linux-gnu-g++"):
        found["cross g++ neon"] = [cross], "neon"
    if find_spec("ziglang"):
        found["clang neon"] = [*zig, "-target", "aarch64-linux-gnu"], "neon"
        x86 = [*zig, "-target", "x86_64-linux-gnu"]
        found |= {f"clang {isa}": (x86, isa) for isa in ("baseline", "avx2")}
        # zig goes by the processor, and leaves 512 bits out where flags alone ask for them
        found["clang avx512"] = [*x86, "-mcpu=x86_64_v4"], "avx512"
    return found


COMPILERS = _compilers()


@pytest.fixture(scope="module", params=COMPILERS)
def loops(request, tmp_path_factory):
    command, isa = COMPILERS[request.param]
    output = tmp_path_factory.mktemp("emitted") / "kernels.s"
    options = [*OPTIONS.split(), *X86.get(isa, "").split(), f"-DSKPRUNE_ISA={isa}"]
    subprocess.run(
        [*command, *options, "-S", "-o", str(output), str(CSRC / "kernels.cpp")],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return isa, sums(output.read_text(), "aarch64" if isa == "neon" else "x86")


# A function each, by its name in the object: of sparse layers for short offsets and for long ones.
WIDTHS = (8, 16, 32, 64)
KERNELS = [
    *(f"14sparse_outputsILi{width}E{offset}" for width in WIDTHS for offset in "tj"),
    *(f"13dense_outputsILi{width}E" for width in WIDTHS),
    *(f"13block_outputsILi{width}E" for width in WIDTHS),
]


@pytest.mark.slow
def test_sums_stay_in_registers(loops):
    isa, found = loops
    for kernel in KERNELS:
        # a loop that stores its sums somewhere at every turn is none of these
        assert any(kernel in loop.function for loop in found), f"{kernel} has no loop of sums"
    for loop in found:
        if isa == "baseline" and _spills_only(loop):
            continue  # 16 registers hold 8 sums, a product and little else
        assert not loop.on_stack, (loop.function, loop.on_stack, loop.instructions)


def _spills_only(loop):
    """Return whether no more than two values go to the stack, and come back as they went."""
    return len(loop.on_stack) <= 4 and all("%xmm" in line.operands for line in loop.on_stack)


def test_the_options_are_those_of_the_build():
    text = CMAKE.read_text()
    for isa, options in X86.items():
        assert f"add_kernels({' '.join(filter(None, [isa, options]))})" in text
    for option in OPTIONS.split()[2:]:
        if option.startswith("-f") and option != "-fPIC":
            assert option in text
