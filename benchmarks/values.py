"""What the values cost that PrunerCV leaves out: ``param_range="auto"`` beside "all".

Contenders run in turn, one thread each. A loss is the difference of the best mean scores, in
standard errors over the folds.

    python benchmarks/values.py [--data adult letter ...] [--turns 3]
"""

import os

# Before numpy starts its pools.
os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
)

import argparse
from collections.abc import Callable
from time import process_time as clock

import numpy as np
from rules import DATA, adult, california, letter
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune import CostComplexityPruner, PrunerCV
from skprune.engine.explaining import table

FOLDS = 5


def train_rows(split: Callable[[], tuple]) -> tuple:
    X, _, y, _ = split()
    return X, y


SETS: dict[str, tuple[Callable[[], tuple], list[str]]] = {
    "adult": (lambda: train_rows(adult), ["roc_auc", "accuracy"]),
    "letter": (lambda: train_rows(letter), ["accuracy"]),
    "california": (lambda: train_rows(california), ["r2"]),
    "digits": (lambda: load_digits(return_X_y=True), ["accuracy"]),
    "cancer": (lambda: load_breast_cancer(return_X_y=True), ["roc_auc", "accuracy"]),
    "diabetes": (lambda: load_diabetes(return_X_y=True), ["r2"]),
}
STORED = ("adult", "letter", "california")


def compare(X, y, scoring: str, turns: int) -> dict:
    """Search with both, in turn."""
    tree = DecisionTreeRegressor if scoring == "r2" else DecisionTreeClassifier
    pruner = CostComplexityPruner(tree(random_state=0))
    searches = {
        name: PrunerCV(pruner, param_range=name, scoring=scoring, cv=FOLDS)
        for name in ("auto", "all")
    }
    times: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(turns):
        for name, search in searches.items():
            start = clock()
            search.fit(X, y)
            times[name].append(clock() - start)
    auto, every = searches["auto"], searches["all"]
    best = every.best_index_
    folds = [every.cv_results_[f"split{fold}_test_score"][best] for fold in range(FOLDS)]
    error = np.std(folds, ddof=1) / np.sqrt(FOLDS)
    ratios = np.array(times["all"]) / times["auto"]
    return {
        "values": [len(search.cv_results_["params"]) for search in (auto, every)],
        "scores": [search.best_score_ for search in (auto, every)],
        "loss": (every.best_score_ - auto.best_score_) / error if error else 0.0,
        "seconds": [float(np.median(times[name])) for name in ("auto", "all")],
        "ratio": [float(ratios.min()), float(np.median(ratios)), float(ratios.max())],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    lines = [["data", "values, auto / all", "best score, auto / all", "loss, standard errors"]]
    lines[0] += ["auto, s", "all, s", "all / auto"]
    for name in arguments.data:
        load, scorings = SETS[name]
        if name in STORED and not DATA.exists():
            print(f"{name} is left out: there is no folder {DATA}; set SKPRUNE_DATA.")
            continue
        X, y = load()
        for scoring in scorings:
            found = compare(X, y, scoring, arguments.turns)
            low, middle, high = found["ratio"]
            lines.append(
                [
                    f"{name}, {scoring}",
                    "{} / {}".format(*found["values"]),
                    "{:.4f} / {:.4f}".format(*found["scores"]),
                    f"{found['loss']:.2f}",
                    *(f"{seconds:.2f}" for seconds in found["seconds"]),
                    f"{middle:.1f} ({low:.1f}-{high:.1f})",
                ]
            )
    print(table(lines))


if __name__ == "__main__":
    main()
