"""PrunerCV beside GridSearchCV over the same alphas and folds: seconds, and their ratio.

The peer is scikit-learn's own tree with its ``ccp_alpha``, which is what a user would search
otherwise. Contenders run in turn, one thread each, and a ratio is taken within a turn. The chosen
alpha must be the same, and so must all the scores.

    python benchmarks/pruner_cv.py [--rows 3000] [--turns 5] [--json results.json]
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
from time import process_time as clock

import numpy as np
from sklearn.datasets import make_classification, make_friedman1
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune import CostComplexityPruner, PrunerCV
from skprune.engine.explaining import table

FOLDS = 5


def problems(n_rows: int) -> dict[str, tuple]:
    """Return a tree, rows, targets and a metric for each line of the table; ~150 alphas each."""
    labelled = make_classification(n_rows, 20, n_informative=8, flip_y=0.2, random_state=0)
    # leaves as large as give the regressor, too, about 150 alphas
    measured = make_friedman1(n_rows, n_features=10, noise=2.0, random_state=0)
    classifier = DecisionTreeClassifier(random_state=0)
    regressor = DecisionTreeRegressor(min_samples_leaf=max(1, n_rows // 250), random_state=0)
    return {
        "classifier, accuracy": (classifier, *labelled, "accuracy"),
        "classifier, roc_auc": (classifier, *labelled, "roc_auc"),
        "regressor, r2": (regressor, *measured, "r2"),
        "regressor, neg_mean_squared_error": (regressor, *measured, "neg_mean_squared_error"),
    }


def seconds(call: Callable[[], object]) -> tuple[float, object]:
    start = clock()
    result = call()
    return clock() - start, result


def largest_difference(one: dict, other: dict) -> float:
    """Return how far the scores of two searches are apart, over all folds."""
    keys = [key for key in one if key.endswith("_test_score") and key.startswith("split")]
    return max(float(np.abs(one[key] - other[key]).max()) for key in keys)


def quoted(values: list[float], digits: int) -> str:
    low, middle, high = np.percentile(values, [10, 50, 90])
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def compare(name: str, tree, X, y, scoring: str, turns: int) -> dict:
    """Search with all contenders, in turn; the alphas are all of the path."""
    pruner = CostComplexityPruner(tree)
    every = PrunerCV(pruner, param_range="all", scoring=scoring, cv=FOLDS).fit(X, y)
    found = every.cv_results_["params"]
    # scikit-learn's own ccp_alpha is never infinite; beyond the largest, all prices are alike
    alphas = [min(params["ccp_alpha"], 1e300) for params in found]
    contenders = {
        "auto": PrunerCV(pruner, scoring=scoring, cv=FOLDS),
        "ours": PrunerCV(pruner, param_range=alphas, scoring=scoring, cv=FOLDS),
        "grid": GridSearchCV(tree, {"ccp_alpha": alphas}, scoring=scoring, cv=FOLDS),
    }
    times: dict[str, list[float]] = {key: [] for key in contenders}
    for _ in range(turns):
        for key, search in contenders.items():
            times[key].append(seconds(lambda search=search: search.fit(X, y))[0])
    ours, peer = contenders["ours"], contenders["grid"]
    apart = largest_difference(ours.cv_results_, peer.cv_results_)
    if ours.best_params_ != peer.best_params_ or apart > 1e-9:
        raise SystemExit(
            f"{name}: PrunerCV chose {ours.best_params_}, GridSearchCV {peer.best_params_}; "
            f"scores differ by up to {apart:.2g}"
        )
    return {
        "problem": name,
        "alphas": len(alphas),
        "chosen": ours.best_params_["ccp_alpha"],
        "difference": apart,
        "seconds": times,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    results = []
    lines = [
        ["problem", "alphas", "chosen", "scores differ by", "PrunerCV, s", '"auto", s']
        + ["GridSearchCV, s", "GridSearchCV / PrunerCV"]
    ]
    for name, problem in problems(arguments.rows).items():
        result = compare(name, *problem, turns=arguments.turns)
        results.append(result)
        times = {key: np.array(values) for key, values in result["seconds"].items()}
        lines.append(
            [
                name,
                str(result["alphas"]),
                f"{result['chosen']:.4g}",
                f"{result['difference']:.1g}",
                quoted(times["ours"], 3),
                quoted(times["auto"], 3),
                quoted(times["grid"], 1),
                quoted(times["grid"] / times["ours"], 0),
            ]
        )
    print(f"{arguments.rows} rows, {FOLDS} folds, {arguments.turns} turns")
    print(table(lines))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
