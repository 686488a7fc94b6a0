"""Pruned trees as sparse nets, read with scipy alone."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_diabetes, load_iris
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from skprune.trees.core.arrays import TreeArrays, prune_sklearn_tree
from skprune.trees.core.sparse_net import sparse_weights
from skprune.trees.core.subtrees import Subtree


def weights_of(tree_, mask):
    return sparse_weights(Subtree.collapse(TreeArrays.from_sklearn(tree_), mask).alone())


def predict_from_sparse_weights(weights, X):
    """Predict with scipy alone; returns (values of each row's leaf, one-hot leaf membership)."""
    A, b, m, C, d, E = (weights[name] for name in "AbmCdE")
    # csr @ dense touches stored entries only, so a NaN reaches just the splits that read it.
    z = A @ np.asarray(X, dtype=np.float32).T.astype(np.float64)
    left = (z <= b.toarray()) | (np.isnan(z) & (m.toarray() == 1.0))
    leaf = (C.T @ left.astype(np.float64) == d.toarray()).T
    return leaf.astype(np.float64) @ E, leaf


def random_mask(tree_, seed, fraction):
    return np.random.default_rng(seed).random(tree_.node_count) < fraction


CASES = {
    "classifier": (DecisionTreeClassifier(), "iris", False),
    "regressor": (DecisionTreeRegressor(), "diabetes", False),
    "multi-output": (DecisionTreeRegressor(max_depth=6), "two diabetes", False),
    "multi-output classes": (DecisionTreeClassifier(max_depth=5), "two irises", False),
    "best first": (DecisionTreeRegressor(max_leaf_nodes=40), "diabetes", False),
    "missing": (DecisionTreeClassifier(), "iris", True),
    "missing regressor": (DecisionTreeRegressor(), "diabetes", True),
    "extra": (ExtraTreeClassifier(), "iris", False),
    "extra missing": (ExtraTreeRegressor(), "diabetes", True),
}


def fit_case(case):
    estimator, data, missing = CASES[case]
    X, y = load_iris(return_X_y=True) if "iris" in data else load_diabetes(return_X_y=True)
    if data == "two diabetes":
        y = np.column_stack([y, np.sqrt(y)])
    elif data == "two irises":
        y = np.column_stack([y, X[:, 0] > 6])
    if missing:
        X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    return estimator.set_params(random_state=0).fit(X, y), X


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("case", CASES)
def test_sparse_weights_predict_as_scikit_learn_does(case, fraction):
    estimator, X = fit_case(case)
    full = estimator.tree_
    mask = random_mask(full, 1, fraction)
    mask[0] = False
    weights = weights_of(full, mask)
    pruned = prune_sklearn_tree(full, mask)

    values, leaf = predict_from_sparse_weights(weights, X)
    assert_array_equal(leaf.sum(axis=1), 1)
    X32 = X.astype(np.float32)
    assert_array_equal(values, pruned.predict(X32).reshape(len(X), -1))
    leaves = np.flatnonzero(pruned.children_left == -1)
    assert_array_equal(leaves[leaf.argmax(axis=1)], pruned.apply(X32))

    estimator.tree_ = pruned
    if hasattr(estimator, "predict_proba") and estimator.n_outputs_ == 1:
        assert_array_equal(values, estimator.predict_proba(X))
    elif hasattr(estimator, "predict_proba"):
        width = full.max_n_classes
        for k, probabilities in enumerate(estimator.predict_proba(X)):
            part = values[:, k * width : k * width + probabilities.shape[1]]
            assert_array_equal(part, probabilities)
    else:
        assert_array_equal(values, estimator.predict(X).reshape(len(X), -1))


@pytest.mark.parametrize("case", CASES)
def test_sparsity_is_counted_on_A_alone(case):
    full = fit_case(case)[0].tree_
    mask = random_mask(full, 2, 0.2)
    weights = weights_of(full, mask)
    A, n_splits = weights["A"], int((full.children_left != -1).sum())
    pruned = prune_sklearn_tree(full, mask)
    kept = int((pruned.children_left != -1).sum())

    assert A.shape == (n_splits, full.n_features)
    assert A.nnz == kept
    assert set(A.data) <= {1.0}
    assert np.diff(A.indptr).max(initial=0) <= 1
    rows_kept = np.diff(A.indptr) == 1
    for name in ("b", "m", "C"):
        assert weights[name].shape[0] == n_splits
        assert not weights[name].toarray()[~rows_kept].any()
    assert weights["C"].shape == (n_splits, kept + 1)
    assert weights["d"].shape == (kept + 1, 1)
    assert weights["E"].shape == (kept + 1, full.value[0].size)
    assert all(matrix.format == "csr" for matrix in weights.values())
    assert all(matrix.dtype == np.float64 for matrix in weights.values())


def test_infinite_threshold_splits_on_missing_alone():
    tree_ = DecisionTreeRegressor().fit([[1.0], [2.0], [np.nan]], [0.0, 0.0, 1.0]).tree_
    assert tree_.threshold[0] == np.inf
    weights = weights_of(tree_, np.zeros(3, dtype=bool))
    X = np.array([[-np.finfo(np.float32).max], [0.0], [np.finfo(np.float32).max], [np.nan]])
    values, _ = predict_from_sparse_weights(weights, X)
    assert values.ravel().tolist() == [0.0, 0.0, 0.0, 1.0]


def test_threshold_of_zero_is_an_implicit_zero():
    tree_ = DecisionTreeRegressor().fit([[-1.0], [1.0]], [3.0, 4.0]).tree_
    weights = weights_of(tree_, np.zeros(3, dtype=bool))
    assert weights["b"].nnz == 0
    values, _ = predict_from_sparse_weights(weights, [[-0.5], [0.0], [0.5]])
    assert values.ravel().tolist() == [3.0, 3.0, 4.0]


@pytest.mark.parametrize("targets", [[1.0, 1.0], [1.0, 2.0]])
def test_a_lone_leaf(targets):
    tree_ = DecisionTreeRegressor().fit([[1.0], [2.0]], targets).tree_
    weights = weights_of(tree_, np.ones(tree_.node_count, dtype=bool))
    n_splits = tree_.node_count // 2
    assert weights["A"].shape == (n_splits, 1)
    assert weights["C"].shape == (n_splits, 1)
    assert weights["A"].nnz == weights["C"].nnz == weights["d"].nnz == 0
    values, leaf = predict_from_sparse_weights(weights, [[0.0], [9.0], [np.nan]])
    assert leaf.all()
    assert_allclose(values.ravel(), np.mean(targets))


def test_sparse_weights_of_a_deep_tree():
    X = np.arange(1500.0)[:, None]
    y = np.arange(1500) % 2
    full = DecisionTreeClassifier(random_state=0).fit(X, y)
    assert full.tree_.max_depth > 1000
    mask = random_mask(full.tree_, 3, 0.0005)
    weights = weights_of(full.tree_, mask)
    full.tree_ = prune_sklearn_tree(full.tree_, mask)
    assert_array_equal(predict_from_sparse_weights(weights, X)[0], full.predict_proba(X))
