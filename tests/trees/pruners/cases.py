"""Trees, data and oracles that the tests of the tree pruners share."""

import numpy as np
from numpy.testing import assert_array_equal
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

RNG = np.random.default_rng(0)
N_ROWS = 160
X = RNG.normal(size=(N_ROWS, 5)).astype(np.float32).astype(np.float64)
NOISE = RNG.normal(size=(N_ROWS, 2))
SIGNAL = np.stack([X[:, 0] * X[:, 1], np.sin(3 * X[:, 2])], axis=1) + NOISE / 2
LABELS = np.digitize(SIGNAL, [-0.5, 0.5])
WEIGHT = RNG.integers(0, 4, N_ROWS) + RNG.random(N_ROWS)
WITH_GAPS = np.where(RNG.random(X.shape) < 0.15, np.nan, X)

DATA = {
    "plain": (X, 0, None),
    "weighted": (X, 0, WEIGHT),
    "missing": (WITH_GAPS, 0, None),
    "missing and weighted": (WITH_GAPS, 0, WEIGHT),
    "several outputs": (X, slice(None), None),
}
TREES = {
    "classifier": DecisionTreeClassifier(random_state=0),
    "entropy": DecisionTreeClassifier(criterion="entropy", min_samples_leaf=3, random_state=0),
    "regressor": DecisionTreeRegressor(random_state=0),
    "extra classifier": ExtraTreeClassifier(random_state=0),
    "extra regressor": ExtraTreeRegressor(random_state=0),
}
CASES = [(tree, data) for tree in TREES for data in DATA]


def target(kind, outputs=0):
    return (SIGNAL if "regressor" in kind else LABELS)[:, outputs]


def assert_equal_node_for_node(ours, theirs):
    ours, theirs = ours.tree_.__getstate__(), theirs.tree_.__getstate__()
    assert ours.keys() == theirs.keys()
    for key in ours.keys() - {"nodes"}:
        assert_array_equal(ours[key], theirs[key], err_msg=key)
    for name in ours["nodes"].dtype.names:
        assert_array_equal(ours["nodes"][name], theirs["nodes"][name], err_msg=name)


def subtrees(tree, risk, node=0):
    """List (risk, leaves) of every pruned subtree below a node."""
    alone = [(risk[node], 1)]
    if tree.children_left[node] < 0:
        return alone
    left, right = (subtrees(tree, risk, c[node]) for c in (tree.children_left, tree.children_right))
    return alone + [(a + b, n + m) for a, n in left for b, m in right]


def predict_with_scipy(weights, rows, n_trees=1):
    """Run the sparse net of DESIGN section 1 as it is written there."""
    A, b, m, C, d, E = (weights[name] for name in "AbmCdE")
    z = (A @ rows.astype(np.float32).astype(np.float64).T).T
    left = (z <= b.toarray()[:, 0]) | (np.isnan(z) & (m.toarray()[:, 0] != 0))
    leaf = d.toarray()[:, 0] == (C.T @ left.T.astype(float)).T
    assert (leaf.sum(axis=1) == n_trees).all()
    return leaf.astype(float) @ E.toarray()
