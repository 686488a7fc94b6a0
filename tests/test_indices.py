"""Sparse arrays that are handed out: scikit-learn's compiled code takes their indices."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomTreesEmbedding,
)
from sklearn.linear_model import Lasso, LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

import skprune
from skprune import CostComplexityPruner, ForestPruner, MagnitudePruner, MLPNetClassifier
from skprune.indices import with_short_indices

X, Y = load_iris(return_X_y=True)
FOREST = RandomForestClassifier(5, random_state=0)
MODELS = {
    "tree": DecisionTreeClassifier(random_state=0),
    "forest": FOREST,
    "bagging": BaggingClassifier(DecisionTreeClassifier(), 3, max_features=2, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=3, random_state=0),
    "histogram": HistGradientBoostingClassifier(max_iter=3, categorical_features=[3]),
}


def pruner(model=FOREST, **params):
    return CostComplexityPruner(model, sparsity=0.3, **params)


def assert_short(matrix):
    assert {matrix.indices.dtype, matrix.indptr.dtype} == {np.dtype(np.int32)}


@pytest.mark.parametrize(
    "last",
    [
        LinearSVC(),
        SVC(),
        SGDClassifier(random_state=0),
        LogisticRegression(solver="saga", max_iter=20, tol=0.1),
        Lasso(),
        KMeans(3, n_init=1, random_state=0),
        DecisionTreeClassifier(random_state=0),
        RandomForestClassifier(3, random_state=0),
        pruner(),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_take_the_leaves_of_a_pruner(last):
    front = pruner()
    pipeline = make_pipeline(front, last).fit(X, Y)
    leaves = csr_array(front.transform(X).toarray())
    np.testing.assert_allclose(pipeline.predict(X), pipeline[-1].predict(leaves))
    assert_short(front.transform(X))


@pytest.mark.parametrize("join", [make_union, lambda *steps: make_column_transformer(
    *[(step, [k, 3]) for k, step in enumerate(steps)])])  # fmt: skip
def test_leaves_are_joined_with_other_columns(join):
    joined = join(pruner(), RandomTreesEmbedding(3, random_state=0))
    assert_short(joined.fit(X, Y).transform(X))
    assert make_pipeline(joined, LinearSVC()).fit(X, Y).score(X, Y) > 0.9


@pytest.mark.parametrize("engine", ["auto", "scipy"])
@pytest.mark.parametrize("name", MODELS)
def test_all_that_a_pruner_of_trees_hands_out(name, engine):
    rows = np.abs(X).round() if name == "histogram" else X
    fitted = pruner(MODELS[name], engine=engine).fit(rows, Y)
    weights = fitted.sparse_weights_
    assert set(weights) >= set("AbmCdE")
    estimators = fitted, fitted.sparse_estimator_, fitted.sparse_estimator_.model
    leaves = [estimator.transform(rows) for estimator in estimators]
    for matrix in (*weights.values(), *leaves, leaves[0][:1], leaves[0].T.tocsr()):
        assert_short(matrix)


def test_all_that_other_pruners_hand_out():
    forest = ForestPruner(FOREST, sparsity=0.5).fit(X, Y)
    net = MLPNetClassifier((4,), max_epochs=1)
    net = MagnitudePruner(net, sparsity=0.5, finetune_epochs=0, random_state=0).fit(X, Y)
    scaled = skprune.compile(make_pipeline(net)).model
    for fitted in (forest, net):
        for matrix in fitted.sparse_weights_.values():
            assert_short(matrix)
    for layer in scaled.layers:
        assert_short(layer.weight)


def test_indices_that_do_not_fit_stay_long():
    last = np.array([2**31], dtype=np.int64)
    wide = csr_array((np.ones(1), last, np.array([0, 1])), shape=(1, 2**31 + 1))
    assert with_short_indices(wide).indices.dtype == np.int64
    assert wide.indices[0] == 2**31
