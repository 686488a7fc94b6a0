"""Random models of every kind that the engine runs, and the estimators around them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from skprune import SparseClassifier, SparseRegressor
from skprune.engine import ACTIVATIONS, Forest, Layer, Network, Tree

Model = Network | Tree | Forest
KINDS = ("network", "tree", "forest")

_LINKS = ("identity", "exp", "sigmoid", "exponential", "softmax", "clip")


def random_model(rng: np.random.Generator, kind: str, engine: str = "native") -> Model:
    """Return a small model of one of `KINDS`."""
    make = {"network": random_network, "tree": random_tree, "forest": random_forest}
    return make[kind](rng, engine)


def random_network(rng: np.random.Generator, engine: str = "native", widest: int = 48) -> Network:
    """Return a chain of a few layers whose outputs stay of the order of 1."""
    widths = rng.integers(1, widest, rng.integers(2, 5))
    density = rng.choice([0.0, 0.05, 0.3, 0.7, 1.0])
    layers = []
    for n_in, n_out in pairwise(widths):
        mask = rng.random((n_out, n_in)) < density
        scale = 1 / np.sqrt(max(1, mask.sum() / n_out))
        weight = np.where(mask, rng.normal(0, scale, mask.shape), 0).astype(np.float32)
        bias = rng.normal(size=n_out).astype(np.float32)
        layers.append(Layer(csr_array(weight), bias, str(rng.choice(ACTIVATIONS)), 0.3))
    fill = rng.normal(size=widths[0]) if rng.random() < 0.3 else None  # in the place of NaN
    return Network(layers, engine, fill=fill)


def random_tree(rng: np.random.Generator, engine: str = "native") -> Tree:
    """Return a tree that was grown by splitting random leaves."""
    n_features = int(rng.integers(1, 40))
    nodes = _nodes(rng, n_features, int(rng.integers(0, 30)), int(rng.integers(1, 4)))
    allow_nan = bool(rng.random() < 0.5)
    return Tree(**nodes, n_features_in=n_features, allow_nan=allow_nan, engine=engine)


def random_forest(rng: np.random.Generator, engine: str = "native") -> Forest:
    """Return some trees whose values are added up, in any of the ways that there are."""
    n_features = int(rng.integers(1, 40))
    link = str(rng.choice(_LINKS))
    n_sums = 1 if link in ("sigmoid", "exponential") else int(rng.integers(1, 4))
    n_trees = int(rng.integers(1, 20))
    one_output = bool(rng.random() < 0.5)
    members = [
        _nodes(rng, n_features, int(rng.integers(0, 12)), 1 if one_output else n_sums)
        for _ in range(n_trees)
    ]
    nodes = {name: np.concatenate([member[name] for member in members]) for name in members[0]}
    sizes = [len(member["left"]) for member in members]
    options: dict[str, Any] = {"dtype": str(rng.choice(["float32", "float64"]))}
    if one_output:
        options["outputs"] = rng.integers(0, n_sums, n_trees)
    if options["dtype"] == "float64" and rng.random() < 0.6:
        column = int(rng.integers(n_features))
        marked = (nodes["feature"] == column) & (nodes["left"] >= 0)
        options |= {
            "categories": {column: np.sort(rng.choice(np.arange(-40.0, 40.0), 40, replace=False))},
            "by_category": marked & (rng.random(len(marked)) < 0.7),
            "left_categories": rng.integers(0, 2**32, (len(marked), 2), dtype=np.uint32),
        }
    return Forest(
        **nodes,
        tree_starts=np.cumsum([0, *sizes]),
        n_features_in=n_features,
        base=rng.normal(size=n_sums) + 50 * (link == "clip"),  # whose sums must be positive
        divisor=float(rng.choice([1.0, 3.0])),
        link=link,
        allow_nan=bool(rng.random() < 0.5),
        engine=engine,
        **options,
    )


def estimator_of(model: Model, classifies: bool, n_jobs: int | None = None) -> Any:
    """Return the scikit-learn estimator that predicts with `model`."""
    if classifies:
        return SparseClassifier(model, classes=np.arange(model.n_outputs), n_jobs=n_jobs)
    return SparseRegressor(model, flat=False, n_jobs=n_jobs)


def _nodes(
    rng: np.random.Generator, n_features: int, n_splits: int, n_values: int
) -> dict[str, np.ndarray]:
    n_nodes = 2 * n_splits + 1
    left, right = np.full(n_nodes, -1), np.full(n_nodes, -1)
    leaves = [0]
    for k in range(n_splits):
        # young leaves are split more often than old ones, so that some branches grow deep
        node = leaves.pop(int(len(leaves) * rng.random() ** 0.3))
        left[node], right[node] = 2 * k + 1, 2 * k + 2
        leaves += [2 * k + 1, 2 * k + 2]
    grid = np.array([-np.inf, -1e300, -1.0, -1e-300, 0.0, 1e-300, 0.5, 1e300, np.inf])
    threshold = np.where(
        rng.random(n_nodes) < 0.3, rng.choice(grid, n_nodes), rng.normal(size=n_nodes)
    )
    return {
        "feature": np.where(left < 0, -2, rng.integers(0, n_features, n_nodes)),
        "threshold": np.where(left < 0, -2.0, threshold),
        "left": left,
        "right": right,
        "value": rng.normal(size=(n_nodes, n_values)),
        "missing_go_to_left": rng.random(n_nodes) < 0.5,
    }
