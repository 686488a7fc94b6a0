"""Sparse predict beside torch, onnxruntime, scipy and DeepSparse: microseconds and ratios.

Two nets, four sparsities, six batches, uniform random masks and nets that were pruned on MNIST, one
thread and two. All contenders hold the same weights, and their answers are compared first. Then
they run in turn, many times; a ratio is taken within a turn, where both saw the same machine, and
quoted as the median over turns with its 95% interval.

One thread is measured in processor time: on an idle machine that is the time on the wall, on a
shared one it leaves the others out. DeepSparse, which lives in a process of its own, measures its
own in the same way. Two threads need the wall: the processor time of two threads is that of one
and what they cost each other. So other work on the machine shows there, and so would a pool that
spins after its call and takes a core from the next contender; hence everyone waits before a turn
until the process before it rests, and makes one call that is not counted to wake its own pool.

What a multiply-add is worth is measured, too: `fma_peak.cpp` in the turns of 1024 rows.

    python benchmarks/engine.py [--quick] [--json engine.json] [--figure engine.png]
    python benchmarks/engine.py --net lenet --sparsity 0.95 --batch 1 64 --threads 1 --masks uniform
    python benchmarks/engine.py --isa    # every set of instructions that runs here, side by side

With `--isa` the lesser sets of instructions are contenders, too, on one thread. The run ends with
an error where one is faster than the set that is used: its interval is below 1, by more than 3%.

DeepSparse wants an environment of its own: name its interpreter by --deepsparse or in
SKPRUNE_DEEPSPARSE_PYTHON. `report.py` prints the tables from the JSON again.
"""

import os

# Before numpy and torch start their pools.
os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
)

import argparse
import ctypes
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from unittest import mock

import numpy as np
import report
from nets import WIDTHS, Layers, mnist, pruned_nets, random_net, rows_of_pixels
from peers import PEERS, Peer, deepsparse, onnxruntime_dense
from timing import Contender, in_process, in_turns, median_interval

from skprune.engine import Network, isa, native
from skprune.engine.cleanup import without_dead_units

SPARSITIES = (0.8, 0.9, 0.95, 0.98)
BATCHES = (1, 8, 15, 16, 17, 64, 1024)
QUICK_BATCHES = (1, 8, 16, 64, 1024)
PACKAGES = ("skprune", "numpy", "scipy", "torch", "onnxruntime", "scikit-learn")
OURS, ONE_THREAD, PEAK = "skprune", "skprune, one thread", "multiply-adds"  # what is timed
PEAK_ROUNDS = 200_000  # about half a millisecond
ISA_TOLERANCE = 0.97  # a lesser set of instructions may be so much faster before it is an error


def sparse_network(layers: Layers, on: str | None = None) -> Network:
    """Return what a pruner makes of a pruned net: dead units are removed first.

    A network keeps the set of instructions that it was made for.
    """
    with mock.patch.object(native, "_ISA", on or isa()):
        return Network(without_dead_units(layers)[0])


def lesser_isas() -> list[str]:
    usable = native.kernels.available_isas()
    return usable[: usable.index(isa())]


def set_of(name: str) -> str:
    """Return the name by which a set of instructions stands among the contenders."""
    return f"{OURS}, {name}"


def available_peers(python: Path | None) -> tuple[dict[str, Peer], dict[str, str]]:
    """Return the peers that run here, and the version of the one that is not of this process."""
    found, versions = {}, {}
    probe = random_net((4, 3, 2), 0.5)
    for name, make in PEERS.items():
        try:
            make(probe, 1)
            found[name] = make
        except ImportError as error:
            print(f"{name} is left out: {error}")
    try:
        if python is None:
            raise RuntimeError("--deepsparse and SKPRUNE_DEEPSPARSE_PYTHON name no interpreter")
        found["DeepSparse"], versions["deepsparse"] = deepsparse(python)
    except (OSError, RuntimeError) as error:
        print(f"DeepSparse is left out: {error}")
    return found, versions


def fma_peak() -> tuple[Contender, float] | None:
    """Compile `fma_peak.cpp` for this processor; return it and the operations of a call."""
    compiler = os.environ.get("CXX", "c++")
    source = Path(__file__).with_name("fma_peak.cpp")
    with TemporaryDirectory() as folder:
        library = Path(folder, "fma_peak.so")
        options = ["-O3", "-march=native", "-shared", "-fPIC", source, "-o", library]
        try:
            subprocess.run([*compiler.split(), *options], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"The share of the peak is left out: {error}")
            return None
        run = ctypes.CDLL(str(library)).fma_peak
    run.argtypes = [ctypes.c_long, ctypes.c_float, ctypes.POINTER(ctypes.c_float)]
    run.restype = ctypes.c_double
    sums = (ctypes.c_float * 16)()
    call = lambda: run(PEAK_ROUNDS, 1.0, sums)  # noqa: E731
    return in_process(call), call()


def check(contenders: dict[str, Contender]) -> None:
    """Refuse to time contenders whose answers differ; the first is ours."""
    expected = contenders[OURS].answer()
    for name, contender in contenders.items():
        np.testing.assert_allclose(contender.answer(), expected, rtol=1e-3, atol=1e-3, err_msg=name)


def compare(contenders: dict[str, Contender], seconds: float, wall: bool) -> dict:
    """Time contenders that agree: microseconds of each, and how many times ours the others take."""
    times = in_turns(contenders, seconds, wall)
    return {
        "turns": len(times[OURS]),
        "microseconds": {name: round(1e6 * float(np.median(t)), 3) for name, t in times.items()},
        "ratios": {
            name: rounded(median_interval(t / times[OURS]))
            for name, t in times.items()
            if name != OURS
        },
    }


def rounded(interval: list[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in interval]


def measure_cell(
    layers: Layers,
    made: dict,
    rows: np.ndarray,
    threads: int,
    seconds: float,
    peak: tuple[Contender, float] | None,
    isas: list[str],
) -> dict:
    """Measure one cell of the table; 1024 rows also give the share of the peak, or the speed-up."""
    network = sparse_network(layers)
    contenders = {OURS: in_process(lambda: network.predict(rows, n_jobs=threads))}
    for name in isas:
        lesser = sparse_network(layers, name)
        contenders[set_of(name)] = in_process(lambda n=lesser: n.predict(rows, n_jobs=threads))
    contenders |= {name: on(rows) for name, on in made.items()}
    check(contenders)
    large, wall = len(rows) == max(BATCHES), threads > 1
    if large and wall:
        contenders[ONE_THREAD] = in_process(lambda: network.predict(rows))
    if large and not wall and peak is not None:
        contenders[PEAK] = peak[0]
    cell = compare(contenders, seconds, wall)
    cell["nonzeros"] = sum(layer.weight.nnz for layer in layers)
    if ONE_THREAD in contenders:
        cell["speedup"] = cell["ratios"].pop(ONE_THREAD)
    if PEAK in contenders:
        # operations a second over those of the peak, from the ratio of the times
        ours_over_peak = 2 * cell["nonzeros"] * len(rows) / peak[1]
        cell["of_peak"] = rounded([ours_over_peak * r for r in cell["ratios"].pop(PEAK)])
    return cell


def measure_nets(options: argparse.Namespace, nets: dict, peers: dict[str, Peer]) -> list[dict]:
    X = rows_of_pixels(max(options.batch))
    peak = fma_peak() if max(BATCHES) in options.batch and 1 in options.threads else None
    isas = lesser_isas() if options.isa else []
    cells = []
    for threads in options.threads:
        for (net, masks, sparsity), layers in nets.items():
            made = {name: make(layers, threads) for name, make in peers.items()}
            for batch in options.batch:
                rows = np.ascontiguousarray(X[:batch])
                # the rests between turns on the wall take most of the time
                seconds = options.seconds * (2 if threads > 1 else 1)
                cell = {
                    "net": net,
                    "masks": masks,
                    "sparsity": sparsity,
                    "batch": batch,
                    "threads": threads,
                } | measure_cell(layers, made, rows, threads, seconds, peak, isas)
                cells.append(cell)
                print(report.line(cell), flush=True)
    return cells


def one_row_classifier(layers: Layers, seconds: float) -> dict:
    """Measure `SparseClassifier.predict` of one row beside the dense net's probabilities alone."""
    from skprune import SparseClassifier

    chain = [*layers[:-1], replace(layers[-1], activation="softmax")]
    model = SparseClassifier(sparse_network(tuple(chain)), classes=np.arange(10))
    row = rows_of_pixels(1)
    session = onnxruntime_dense(layers, 1)(row)
    assert session.answer().argmax() == model.predict(row)[0]
    contenders = {OURS: in_process(lambda: model.predict(row)), "onnxruntime": session}
    return compare(contenders, seconds, False)


def one_row_pipeline(seconds: float) -> dict:
    """Measure a compiled pipeline beside scikit-learn's own, one row, labels out."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from skprune import MagnitudePruner, MLPNetClassifier
    from skprune import compile as compiled_for_engine

    data = mnist()
    net = MLPNetClassifier((300, 100), max_epochs=1, random_state=0)
    pipeline = make_pipeline(
        StandardScaler(), MagnitudePruner(net, sparsity=0.95, random_state=0)
    ).fit(data["train"][:5000], data["train labels"][:5000])
    compiled = compiled_for_engine(pipeline)
    row = rows_of_pixels(1)
    np.testing.assert_array_equal(compiled.predict(row), pipeline.predict(row))
    contenders = {
        OURS: in_process(lambda: compiled.predict(row)),
        "Pipeline": in_process(lambda: pipeline.predict(row)),
    }
    return compare(contenders, seconds, False)


def measure_calls(nets: dict, seconds: float) -> list[dict]:
    """Measure what a user calls for one row, checks and labels included."""
    calls: dict[str, Callable[[], dict]] = {
        f"SparseClassifier, LeNet, 95%, {masks}": lambda layers=layers: one_row_classifier(
            layers, seconds
        )
        for (net, masks, sparsity), layers in nets.items()
        if (net, sparsity) == ("lenet", 0.95)
    }
    calls["skprune.compile(StandardScaler, LeNet at 95%)"] = lambda: one_row_pipeline(seconds)
    results = []
    for name, call in calls.items():
        try:
            results.append({"call": name} | call())
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return results


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine() -> dict:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    # what ran before anything of ours: two threads are to be judged by it
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load": load,
        "isa": isa(),
        "versions": versions,
    }


def slower_than_a_lesser(cells: list[dict]) -> list[str]:
    """Return the cells in which a lesser set of instructions is surely faster than the best."""
    return [
        f"{report.place(cell)}: {name} {report.ratio(interval)}"
        for cell in cells
        for name, interval in cell["ratios"].items()
        if name.startswith(f"{OURS}, ") and interval[2] < ISA_TOLERANCE
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    several = {"nargs": "+", "metavar": "ONE"}
    parser.add_argument("--net", choices=WIDTHS, default=list(WIDTHS), **several)
    parser.add_argument("--masks", choices=report.MASKS, default=list(report.MASKS), **several)
    parser.add_argument("--sparsity", type=float, default=list(SPARSITIES), **several)
    parser.add_argument("--batch", type=int, **several)
    parser.add_argument("--threads", type=int, **several)
    parser.add_argument("--seconds", type=float, help="a cell, at least; 2, or 0.2 with --quick")
    parser.add_argument(
        "--quick", action="store_true", help="one thread, fewer batches, a tenth of the time"
    )
    parser.add_argument(
        "--deepsparse",
        type=Path,
        default=os.environ.get("SKPRUNE_DEEPSPARSE_PYTHON"),
        help="the Python of an environment that has DeepSparse",
    )
    parser.add_argument(
        "--nets",
        type=Path,
        default=Path(gettempdir(), "skprune-benchmark-nets"),
        help="the folder that keeps the nets pruned on MNIST; a temporary one by default",
    )
    parser.add_argument(
        "--isa", action="store_true", help="measure the lesser sets of instructions, too"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--figure", type=Path, help="draw the ratios here")
    options = parser.parse_args()
    options.seconds = options.seconds or (0.2 if options.quick else 2.0)
    options.threads = options.threads or ([1] if options.quick else [1, 2])
    options.batch = options.batch or list(QUICK_BATCHES if options.quick else BATCHES)
    return options


def main() -> None:
    options = arguments()
    about = machine()
    peers, peer_versions = available_peers(options.deepsparse)
    about["versions"] |= peer_versions
    nets: dict[tuple[str, str, float], Layers] = {}
    accuracy = {}
    for net in options.net:
        if "uniform" in options.masks:
            nets |= {(net, "uniform", s): random_net(WIDTHS[net], s) for s in options.sparsity}
        if "mnist" in options.masks:
            n_rows = 12_000 if options.quick else None
            found = pruned_nets(WIDTHS[net], options.sparsity, options.nets, n_rows)
            for s, (layers, score) in found.items():
                nets[net, "mnist", s] = layers
                accuracy[f"{net}, {s:.0%}"] = round(score, 4)
    results = {
        "machine": about,
        "seconds": options.seconds,
        "accuracy": accuracy,
        "cells": measure_nets(options, nets, peers),
        "calls": measure_calls(nets, options.seconds),
    }
    print(report.as_text(results))
    if options.json:
        report.write(results, options.json)
    if options.figure:
        report.draw(results, options.figure)
    if options.isa and (slower := slower_than_a_lesser(results["cells"])):
        sys.exit(f"{isa()} is slower than a lesser set of instructions:\n" + "\n".join(slower))


if __name__ == "__main__":
    main()
