"""Boosted ensembles seen as trees: what the engine and the sparse net are given."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from skprune.base import TrainingData
from skprune.trees.core.subtrees import PrunedTree, Subtree
from skprune.trees.models import kind_of
from skprune.trees.models.boosted import GradientBoostedTrees, HistGradientBoostedTrees

RNG = np.random.default_rng(0)
X = np.column_stack([RNG.normal(size=90), RNG.integers(0, 9, 90), RNG.normal(size=90)])
Y = X[:, 0] + np.isin(X[:, 1], [2, 3, 7])
CLASSES = np.digitize(Y, [0.0, 1.0])
SMALL = {"min_samples_leaf": 3, "max_iter": 3}
MODELS = {
    "gb": GradientBoostingRegressor(n_estimators=3, loss="huber").fit(X, Y),
    "gb classes": GradientBoostingClassifier(n_estimators=3).fit(X, CLASSES),
    "hist": HistGradientBoostingRegressor(categorical_features=[1], **SMALL).fit(X, Y),
    "hist classes": HistGradientBoostingClassifier(categorical_features=[1], **SMALL).fit(
        X, CLASSES
    ),
}


def model_of(name):
    fitted = MODELS[name]
    return kind_of(fitted)(fitted), TrainingData(X, CLASSES if "classes" in name else Y, None)


@pytest.mark.parametrize("name", MODELS)
def test_a_kind_is_told_by_the_estimator(name):
    expected = HistGradientBoostedTrees if name.startswith("hist") else GradientBoostedTrees
    assert kind_of(MODELS[name]) is expected
    assert expected.is_ensemble
    assert not expected.votes


@pytest.mark.parametrize("name", MODELS)
def test_the_whole_comes_back_from_its_trees(name):
    model, data = model_of(name)
    trees = model.trees(data)
    assert len(trees) == (9 if "classes" in name else 3)
    whole = model.cut([Subtree(tree, tree.left, tree.right) for tree in trees])
    assert_array_equal(whole.predict(X), model.estimator.predict(X))
    engine = model.to_engine([PrunedTree.unpruned(tree) for tree in trees], "auto")
    ask = "predict_proba" if "classes" in name else "predict"
    answer = engine.predict(X)
    answer = answer if "classes" in name else answer[:, 0]
    assert_allclose(answer, getattr(model.estimator, ask)(X), rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_sparse_weights_are_as_large_as_the_full_model(name):
    model, data = model_of(name)
    trees = [PrunedTree.unpruned(tree) for tree in model.trees(data)]
    weights = model.sparse_weights(trees)
    n_splits = sum(tree.nodes.n_splits for tree in trees)
    n_leaves = n_splits + len(trees)
    n_outputs = 3 if "classes" in name else 1
    assert weights["A"].shape == (n_splits, 3)
    assert weights["C"].shape == (n_splits, n_leaves)
    assert weights["E"].shape == (n_leaves, n_outputs)
    assert weights["f"].shape == (1, n_outputs)
    if name.startswith("hist"):
        assert weights["S"].shape == (n_splits, 9)
        assert_array_equal(weights["c"].toarray(), [[1, value] for value in range(9)])
        by_category = np.isneginf(weights["b"].toarray()[:, 0])
        assert_array_equal(np.diff(weights["S"].indptr) > 0, by_category)
        assert (weights["A"].indices[by_category] == 1).all()
    else:
        assert not weights.keys() & {"S", "c"}


def test_values_of_the_squared_error_need_no_rows():
    model = GradientBoostedTrees(GradientBoostingRegressor(n_estimators=2).fit(X, Y))
    for alone, given in zip(model.trees(None), model.trees(TrainingData(X, Y, None)), strict=True):
        assert_array_equal(alone.value, given.value)
    with pytest.raises(ValueError, match="X must be given, the training rows: with loss='huber'"):
        GradientBoostedTrees(MODELS["gb"]).trees(None)


@pytest.mark.parametrize("name", MODELS)
def test_two_classes_alone_have_a_threshold_to_decide_by(name):
    model, _ = model_of(name)
    if "classes" not in name:
        assert "decision_threshold" not in model.output
        return
    threshold = model.output["decision_threshold"]
    assert (threshold < 0.0) == (name == "gb classes")
    assert threshold <= 0.0


def test_frames_and_categories_of_text_are_left_to_the_estimator():
    by_index = HistGradientBoostingRegressor(categorical_features=[1])
    by_dtype = HistGradientBoostingRegressor()
    text, frame = X.astype(object), pd.DataFrame(X)
    for checks in (HistGradientBoostedTrees.checks_rows, GradientBoostedTrees.checks_rows):
        assert not checks(by_index, X)
        assert not checks(by_dtype, text)
    assert HistGradientBoostedTrees.checks_rows(by_index, text)
    assert HistGradientBoostedTrees.checks_rows(by_dtype, frame)
    assert HistGradientBoostedTrees.checks_rows(by_index.fit(X, Y), text)
    assert not HistGradientBoostedTrees.checks_rows(by_dtype.fit(X, Y), text)
    assert not GradientBoostedTrees.checks_rows(GradientBoostingRegressor(), frame)
