"""How many bytes a fitted tree pruner pickles to, beside its parts and the full model.

A pruner keeps the pruned model twice, in scikit-learn's form and in the engine's; more than these
two would be waste.

    python benchmarks/pickles.py [--rows 5000]
"""

import argparse
import pickle
from typing import Any

from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from skprune import CostComplexityPruner
from skprune.engine.explaining import table

MODELS: dict[str, Any] = {
    "tree": DecisionTreeClassifier(random_state=0),
    "forest of 50": RandomForestClassifier(50, random_state=0),
    "boosting of 50": GradientBoostingClassifier(n_estimators=50, max_depth=6, random_state=0),
}


def n_bytes(fitted: Any) -> int:
    return len(pickle.dumps(fitted))


def compare(model: Any, X: Any, y: Any) -> list[int]:
    """Return the bytes of the full model, the pruner, `estimator_` and `sparse_estimator_`."""
    pruner = CostComplexityPruner(clone(model), sparsity=0.5).fit(X, y)
    pruner.predict(X[:1])  # what is made on first use counts as well
    parts = (pruner, pruner.estimator_, pruner.sparse_estimator_)
    return [n_bytes(model.fit(X, y)), *map(n_bytes, parts)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=5000)
    arguments = parser.parse_args()
    X, y = make_classification(arguments.rows, 20, n_informative=8, flip_y=0.1, random_state=0)
    lines = [
        ["model, half pruned", "full, kB", "pruner, kB", "estimator_, kB", "sparse_estimator_, kB"]
        + ["pruner / both"]
    ]
    for name, model in MODELS.items():
        full, whole, estimator, sparse = compare(model, X, y)
        sizes = [f"{size / 1e3:.1f}" for size in (full, whole, estimator, sparse)]
        lines.append([name, *sizes, f"{whole / (estimator + sparse):.3f}"])
    print(table(lines))


if __name__ == "__main__":
    main()
