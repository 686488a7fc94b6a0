"""Forests of 100 trees and single trees beside their peers: microseconds a call, and ratios.

Random forests and trees on 20 columns, of depth 8 and fully grown, one row and 10,000 rows a call,
one thread each. skprune answers through its public API, checks of the input included; so do
scikit-learn, and the runtimes of skl2onnx and treelite as far as they check. Contenders run in
turn, on processor time, and a ratio is taken within a turn. Their answers are compared first:
skprune's must be scikit-learn's to the bit, the others' up to float32.

    python benchmarks/forest.py [--seconds 20] [--quick] [--json results.json]
"""

import os

# Before numpy starts its pools.
os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
)

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.tree import DecisionTreeClassifier
from timing import in_process, in_turns

from skprune import CostComplexityPruner
from skprune.engine.explaining import table

N_TRAIN, N_FEATURES = 10_000, 20
BATCHES = (1, 10_000)
DEPTHS = {"depth 8": 8, "deep": None}
Contender = Callable[[np.ndarray], np.ndarray]


def data() -> tuple[np.ndarray, np.ndarray]:
    X, y = make_classification(
        N_TRAIN + max(BATCHES), N_FEATURES, n_informative=10, flip_y=0.1, random_state=0
    )
    return X.astype(np.float32), y


def with_skprune(model) -> Contender:
    pruner = CostComplexityPruner(FrozenEstimator(model), sparsity=0.0)
    pruner.fit(np.zeros((1, N_FEATURES), np.float32))
    return lambda X: pruner.predict_proba(X)  # the look-up of the method is part of a call


def with_sklearn(model) -> Contender:
    return lambda X: model.predict_proba(X)


def with_onnxruntime(model) -> Contender:
    import onnxruntime
    from skl2onnx import to_onnx

    graph = to_onnx(model, np.zeros((1, N_FEATURES), np.float32), options={"zipmap": False})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    return lambda X: session.run(["probabilities"], {"X": X})[0]


def with_treelite(model) -> Contender:
    import treelite

    forest = treelite.sklearn.import_model(model)
    return lambda X: treelite.gtil.predict(forest, X, nthread=1).reshape(len(X), -1)


CONTENDERS: dict[str, Callable[..., Contender]] = {
    "skprune": with_skprune,
    "scikit-learn": with_sklearn,
    "onnxruntime": with_onnxruntime,
    "treelite": with_treelite,
}


def contenders(model) -> dict[str, Contender]:
    """Return how each answers for a model; those that are not installed are left out."""
    made = {}
    for name, make in CONTENDERS.items():
        if name == "treelite" and isinstance(model, DecisionTreeClassifier):
            continue  # it takes ensembles only
        try:
            made[name] = make(model)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return made


def check(answers: dict[str, Contender], X: np.ndarray) -> None:
    expected = answers["scikit-learn"](X)
    for name, answer in answers.items():
        if name == "skprune":
            np.testing.assert_array_equal(answer(X), expected)
        else:
            np.testing.assert_allclose(answer(X), expected, atol=1e-5, err_msg=name)


def measure(answers: dict[str, Contender], X: np.ndarray, seconds: float) -> dict[str, np.ndarray]:
    calls = {name: in_process(lambda a=answer: a(X)) for name, answer in answers.items()}
    return in_turns(calls, seconds, least=5)


def row(label: str, times: dict[str, np.ndarray]) -> list[str]:
    ours = times["skprune"]
    cells = [label, f"{1e6 * np.median(ours):.1f}"]
    for name in CONTENDERS:
        if name == "skprune":
            continue
        if name not in times:
            cells.append("-")
            continue
        low, middle, high = np.percentile(times[name] / ours, [10, 50, 90])
        digits = 0 if middle >= 100 else 1
        cells.append(f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seconds = 3.0 if options.quick else options.seconds

    X, y = data()
    results, lines = {}, []
    models = {
        name: RandomForestClassifier(100, max_depth=depth, random_state=0, n_jobs=1)
        for name, depth in DEPTHS.items()
    }
    models["one tree"] = DecisionTreeClassifier(max_depth=8, random_state=0)
    models["one deep tree"] = DecisionTreeClassifier(random_state=0)
    for name, model in models.items():
        answers = contenders(model.fit(X[:N_TRAIN], y[:N_TRAIN]))
        for n_rows in BATCHES:
            rows = np.ascontiguousarray(X[N_TRAIN : N_TRAIN + n_rows])
            check(answers, rows)
            label = f"{name}, {n_rows}"
            times = measure(answers, rows, seconds)
            results[label] = {answerer: t.tolist() for answerer, t in times.items()}
            lines.append(row(label, times))
    heads = ["forest, batch", "skprune, us"]
    heads += [f"{name} / skprune" for name in CONTENDERS if name != "skprune"]
    print(table([heads, *lines]))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
