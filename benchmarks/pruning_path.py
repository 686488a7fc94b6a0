"""The path of a full tree beside scikit-learn's ``cost_complexity_pruning_path``: seconds.

Regression trees that fit every row of noise, from 10,000 to 1,000,000 nodes. scikit-learn's time is
that beyond its fit: its method grows the tree again, and the time of a plain fit is taken off. Its
path is quadratic in the nodes, so it is left out above ``--peer-up-to``. Contenders run in turn, on
processor time; alphas are compared first.

    python benchmarks/pruning_path.py [--turns 5] [--peer-up-to 80000] [--json results.json]
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import process_time as clock

import numpy as np
from sklearn.tree import DecisionTreeRegressor

from skprune.engine.explaining import table
from skprune.trees.core.arrays import TreeArrays
from skprune.trees.core.risks import impurity_risk
from skprune.trees.core.weakest_link import PruningPath, pruning_path

N_NODES = (10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_000_000)


def problem(n_nodes: int) -> tuple[DecisionTreeRegressor, np.ndarray, np.ndarray]:
    """Return an unfitted tree and the rows on which it gets about so many nodes: two a row."""
    rng = np.random.default_rng(n_nodes)
    X = rng.normal(size=(n_nodes // 2, 3)).astype(np.float32)
    return DecisionTreeRegressor(random_state=0), X, np.sin(3 * X[:, 0]) + rng.normal(size=len(X))


def our_path(tree_) -> PruningPath:
    """Return the path, all checks and copies of the arrays included."""
    arrays = TreeArrays.from_sklearn(tree_)
    return pruning_path(arrays.left, arrays.right, impurity_risk(arrays))


def seconds(call: Callable[[], object]) -> float:
    start = clock()
    call()
    return clock() - start


def check(path: PruningPath, alphas: np.ndarray) -> None:
    """Refuse to time paths that differ; scikit-learn lists ties more than once, and its 0 first."""
    apart = 1e-9 * alphas[-1]

    def distinct(values: np.ndarray) -> np.ndarray:
        values = values[values > apart]
        return values[np.diff(values, prepend=0.0) > apart]

    np.testing.assert_allclose(distinct(path.alphas[1:]), distinct(alphas), rtol=1e-6)


def measure(n_nodes: int, turns: int, peer: bool) -> dict:
    tree, X, y = problem(n_nodes)
    fitted = tree.fit(X, y).tree_
    if peer:
        check(our_path(fitted), tree.cost_complexity_pruning_path(X, y).ccp_alphas)
    ours, theirs = [], []
    for _ in range(turns):
        ours.append(seconds(lambda: our_path(fitted)))
        if peer:
            fit = seconds(lambda: tree.fit(X, y))
            theirs.append(seconds(lambda: tree.cost_complexity_pruning_path(X, y)) - fit)
    return {
        "nodes": int(fitted.node_count),
        "depth": int(fitted.max_depth),
        "skprune_s": ours,
        "ratios": (np.array(theirs) / ours).tolist() if peer else [],
    }


def row(result: dict) -> list[str]:
    ours = float(np.median(result["skprune_s"]))
    nodes = result["nodes"]
    ratio = "-"
    if result["ratios"]:
        low, middle, high = np.percentile(result["ratios"], [10, 50, 90])
        ratio = f"{middle:.0f} ({low:.0f}-{high:.0f})"
    per_step = 1e9 * ours / (nodes * np.log2(nodes))
    return [f"{nodes:,}", str(result["depth"]), f"{ours:.3f}", f"{per_step:.0f}", ratio]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--peer-up-to", type=int, default=80_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = [measure(n, options.turns, n <= options.peer_up_to) for n in N_NODES]
    heads = ["nodes", "depth", "skprune, s", "ns / (n log2 n)", "scikit-learn / skprune"]
    print(table([heads, *map(row, results)]))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
