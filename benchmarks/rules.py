"""What each rule leaves of a tree and of a forest, and how that predicts: sizes and test scores.

On letter, adult and California housing (see ``SKPRUNE_DATA``), beside scikit-learn's full tree and
the tree of a grid search over ``ccp_alpha``. How much to prune is chosen on the training rows
alone; the test rows are looked at once. Accuracy, or R squared for California housing.

    python benchmarks/rules.py [--only letter] [--json results.json]
"""

import os

os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
)

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune import (
    CostComplexityPruner,
    ErrorBasedPruner,
    ForestPruner,
    MinimumErrorPruner,
    PrunerCV,
    ReducedErrorPruner,
)
from skprune.base import BasePruner
from skprune.engine.explaining import table

DATA = Path(os.environ.get("SKPRUNE_DATA", "../shared/data"))
# What a user tries who has no path: scikit-learn has no default of its own.
ALPHA_GRID = [0.0, *np.logspace(-5, -1, 9)]
SPARSITIES = [0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98]


def numbers(frame: pd.DataFrame) -> np.ndarray:
    """Return a frame as numbers: texts by their order in the alphabet, gaps as NaN."""
    texts = frame.select_dtypes(exclude="number").columns
    frame = frame.copy()
    if len(texts):
        encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
        frame[texts] = encoder.fit_transform(frame[texts])
    return frame.to_numpy(dtype=np.float64)


def letter() -> tuple:
    with np.load(DATA / "letter.npz", allow_pickle=False) as data:
        X, y = data["X"].astype(np.float64), data["y"].astype(str)
    return X[:16000], X[16000:], y[:16000], y[16000:]


def adult() -> tuple:
    frame = pd.read_csv(DATA / "adult.csv.gz")
    train = (frame.pop("split") == "train").to_numpy()
    y = frame.pop("income").to_numpy(dtype=str)
    X = numbers(frame)
    return X[train], X[~train], y[train], y[~train]


def california() -> tuple:
    frame = pd.read_csv(DATA / "california_housing.csv.gz")
    y = frame.pop("median_house_value").to_numpy(dtype=np.float64) / 1e5
    return tuple(train_test_split(numbers(frame), y, test_size=0.2, random_state=0))


def searched(pruner: BasePruner, rule: str = "best", **options: Any) -> PrunerCV:
    return PrunerCV(pruner, cv=5, rule=rule, **options)


def contenders(classifies: bool) -> dict[str, Any]:
    """Return what is compared, by name; each has `fit` and `score`."""
    tree = (DecisionTreeClassifier if classifies else DecisionTreeRegressor)(random_state=0)
    forest = (RandomForestClassifier if classifies else RandomForestRegressor)(random_state=0)
    hist = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
    boosted = hist(random_state=0)
    price = CostComplexityPruner(tree)
    rules = {
        "scikit-learn, full tree": tree,
        "scikit-learn, grid of 10 ccp_alpha": GridSearchCV(tree, {"ccp_alpha": ALPHA_GRID}, cv=5),
        "cost complexity, PrunerCV best": searched(price),
        "cost complexity, PrunerCV one-SE": searched(price, "one_se"),
        "reduced error": ReducedErrorPruner(tree, random_state=0),
    }
    if classifies:
        wrong = CostComplexityPruner(tree, risk="misclassification")
        rules |= {
            "cost complexity, misclassification": searched(wrong),
            "error based (C4.5)": ErrorBasedPruner(tree),
            "error based, subtree raising": ErrorBasedPruner(tree, subtree_raising=True),
            "minimum error, m = 2": MinimumErrorPruner(tree),
            "minimum error, PrunerCV": searched(MinimumErrorPruner(tree)),
        }
    ladder = {"param_name": "sparsity", "param_range": SPARSITIES}
    whole = CostComplexityPruner(forest)
    together = {
        f"forest, ForestPruner {sparsity:.0%}": ForestPruner(forest, sparsity=sparsity)
        for sparsity in (0.5, 0.8, 0.9, 0.95)
    }
    return (
        rules
        | {
            "forest of 100 trees, full": forest,
            "forest, cost complexity, PrunerCV best": searched(whole, **ladder),
            "forest, cost complexity, PrunerCV one-SE": searched(whole, "one_se", **ladder),
            "forest, cost complexity 80%": CostComplexityPruner(forest, sparsity=0.8),
            "forest, the best fifth of the trees": ForestPruner(
                forest, granularity="tree", n_estimators=20
            ),
        }
        | together
        | {
            "hist. gradient boosting, full": boosted,
            "hist. gradient boosting, 30% pruned": CostComplexityPruner(boosted, sparsity=0.3),
            "hist. gradient boosting, 60% pruned": CostComplexityPruner(boosted, sparsity=0.6),
        }
    )


def splits(model: Any) -> int:
    """Return how many splits a fitted contender has."""
    model = getattr(model, "best_estimator_", model)
    model = getattr(model, "estimator_", model) if isinstance(model, BasePruner) else model
    if hasattr(model, "tree_"):
        return model.tree_.node_count // 2
    if hasattr(model, "_predictors"):
        return sum(len(tree.nodes) // 2 for trees in model._predictors for tree in trees)
    return sum(tree.tree_.node_count // 2 for tree in np.ravel(model.estimators_))


def measure(data: tuple) -> list[dict]:
    X, X_test, y, y_test = data
    results = []
    for name, model in contenders(y.dtype.kind != "f").items():
        start = perf_counter()
        model.fit(X, y)
        took = perf_counter() - start
        score = float(model.score(X_test, y_test))
        results.append({"name": name, "splits": splits(model), "score": score, "seconds": took})
        print(f"  {name}: {results[-1]}", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=["letter", "adult", "california"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = {}
    for load in (letter, adult, california):
        if options.only in (None, load.__name__):
            results[load.__name__] = measure(load())
    for name, rows in results.items():
        print(f"\n{name}")
        lines = [
            [row["name"], f"{row['splits']:,}", f"{row['score']:.4f}", f"{row['seconds']:.1f}"]
            for row in rows
        ]
        print(table([["", "splits", "test score", "fit, s"], *lines]))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
