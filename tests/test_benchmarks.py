"""What the benchmarks share: turns, intervals, peers, and the tables on the pages."""

import json
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from skprune.engine import Network

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

# stands in for the real one, which has an environment of its own: sums what the rows hold
DEEPSPARSE = """
import numpy as np

__version__ = "stand-in"

class Engine:
    def run(self, inputs, val_inp):
        return [inputs[0].sum(axis=1, keepdims=True)]

def compile_model(path, batch_size, num_cores):
    print("a banner on standard output")
    assert open(path, "rb").read() == b"model" and batch_size == 3
    return Engine()
"""


@pytest.fixture(autouse=True)
def path(monkeypatch):
    """Import the scripts as they import each other."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.mark.parametrize(
    ("n", "expected"),
    # the third column of any table of the sign test: 6th, 10th and 40th from each end
    [(1, [1, 1, 1]), (5, [3, 1, 5]), (6, [3.5, 1, 6]), (21, [11, 6, 16]), (100, [50.5, 40, 61])],
)
def test_interval_of_the_median(n, expected):
    from timing import median_interval

    values = np.random.default_rng(0).permutation(n) + 1.0
    assert median_interval(values) == expected


def test_interval_of_many_turns():
    from timing import median_interval

    middle, low, high = median_interval(np.arange(5001.0))
    assert middle == 2500
    assert 2 * 68 < high - low < 2 * 72  # 1.96 standard deviations, sqrt(n) / 2 each


@pytest.mark.parametrize("wall", [False, True])
def test_contenders_take_turns(wall):
    from timing import Contender, Elapsed, in_turns

    order = []

    def contender(name, cpu, on_wall):
        def elapsed(n, warm):
            order.append(name)
            return Elapsed(n * cpu, n * on_wall)

        return Contender(lambda: None, elapsed)

    calls = {"ours": contender("ours", 1e-3, 1.0), "peer": contender("peer", 2e-3, 3.0)}
    times = in_turns(calls, 0, wall, least=4)
    assert times["ours"].tolist() == [1.0 if wall else 1e-3] * 4
    assert times["peer"].tolist() == [3.0 if wall else 2e-3] * 4
    goes = 3 if wall else 1
    assert order[4:] == (["ours"] * goes + ["peer"] * goes) * 4


@pytest.fixture
def layers():
    from nets import random_net

    return random_net((20, 13, 7, 3), 0.8)


@pytest.mark.parametrize("name", ["torch", "torch CSR", "scipy CSR", "onnxruntime"])
def test_peers_answer_as_we_do(layers, name):
    from peers import PEERS

    if name == "onnxruntime":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
    X = np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32)
    contender = PEERS[name](layers, 1)(X)
    np.testing.assert_allclose(contender.answer(), Network(layers).predict(X), atol=1e-5)
    assert contender.elapsed(2, True).wall > 0


def test_padded_nets_answer_alike(layers):
    from peers import padded

    chain = padded(layers)
    assert [layer.weight.shape for layer in chain] == [(16, 20), (8, 16), (3, 8)]
    X = np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32)
    np.testing.assert_allclose(Network(chain).predict(X), Network(layers).predict(X), atol=1e-6)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in's interpreter is a shell script")
def test_deepsparse_runs_in_a_process_of_its_own(layers, tmp_path, monkeypatch):
    import peers

    (tmp_path / "deepsparse.py").write_text(DEEPSPARSE)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(peers, "onnx_model", lambda layers: b"model")

    make, version = peers.deepsparse(python)
    assert version == "stand-in"
    contender = make(layers, 1)(np.ones((3, 20), np.float32))
    assert contender.answer().tolist() == [[20], [20], [20]]
    took = contender.elapsed(1000, True)
    assert took.wall > 0
    assert took.cpu > 0


def test_deepsparse_that_is_not_there_says_so():
    import peers

    with pytest.raises(RuntimeError, match="No module named 'deepsparse'"):
        peers.deepsparse(sys.executable)


def cell(batch, ratio, **more):
    interval = [ratio, 0.9 * ratio, 1.1 * ratio]
    return {
        "net": "wide",
        "masks": "uniform",
        "sparsity": 0.95,
        "batch": batch,
        "threads": 1,
        "microseconds": {"skprune": 10.0, "onnxruntime": 10.0 * ratio},
        "ratios": {"onnxruntime": interval},
        **more,
    }


def test_a_pickled_pruner_holds_its_two_models():
    import pickles

    X, y = make_classification(300, 6, random_state=0)
    for model in (DecisionTreeClassifier(random_state=0), RandomForestClassifier(5)):
        full, whole, estimator, sparse = pickles.compare(model, X, y)
        assert estimator < full
        # of so small a model, its parameters are a part
        assert estimator + sparse < whole < 1.1 * (estimator + sparse) + 2000


def test_values_left_out_are_told():
    import values

    found = values.compare(*load_diabetes(return_X_y=True), "r2", turns=1)
    auto, every = found["values"]
    assert 50 < auto <= 100 < every
    assert found["scores"][0] <= found["scores"][1]
    assert found["loss"] >= 0
    assert all(seconds > 0 for seconds in found["seconds"])


def test_report_tells_what_is_met():
    import report

    results = {
        "machine": {
            "cpu": "a cpu",
            "cores": 2,
            "load": 0.1,
            "isa": "avx2",
            "versions": {"numpy": "2"},
        },
        "accuracy": {},
        "cells": [cell(1, 8.0), cell(64, 0.5), cell(1024, 4.0, of_peak=[0.4, 0.3, 0.5])],
        "calls": [],
    }
    means = report.means(results).rows
    assert means[1][3:] == ["2.52", "3.5, missed", "0.50: wide, 95%, 64", "1 of 3"]
    assert [row[0] for row in report.slower(results).rows[1:]] == [
        "wide, uniform, one thread, 95%, 64"
    ]
    met = {row[0].rsplit(maxsplit=1)[-1]: row[-1] for row in report.targets(results).rows[1:4]}
    assert met == {"1": "yes", "64": "no", "1024": "no"}
    assert report.targets(results).rows[4][1:] == ["40% (30-50)", "35%", "yes"]
    assert "40%" in report.as_text(results)  # 8 times of the 20 that 95% promises


def test_pages_show_the_committed_figures():
    import report

    results = json.loads((BENCHMARKS / "engine.json").read_text())
    for page, text in report.refreshed(results).items():
        assert page.read_text() == text, "run `python benchmarks/report.py` with --refresh"
