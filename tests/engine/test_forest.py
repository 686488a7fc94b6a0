"""The forest kernels against the reference path, the definition and scikit-learn."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import bsr_array, coo_array, csc_array, csr_array, csr_matrix
from scipy.special import expit, softmax
from sklearn.datasets import load_iris, make_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from skprune.base import TrainingData
from skprune.engine import Forest, NonFiniteError
from skprune.trees.core.subtrees import PrunedTree
from skprune.trees.models import kind_of
from tests.engine.cases import LAYOUTS, forests, rows_for

ENGINES = ["native", "scipy"]
LINKS = {
    "identity": lambda sums: sums,
    "exp": np.exp,
    "sigmoid": lambda sums: np.hstack([1 - expit(sums), expit(sums)]),
    "exponential": lambda sums: np.hstack([1 - expit(2 * sums), expit(2 * sums)]),
    "softmax": lambda sums: softmax(sums, axis=1),
    "clip": lambda sums: sums.clip(0) / sums.clip(0).sum(axis=1, keepdims=True),
}


def from_sklearn(estimator, X, y, engine="native"):
    model = kind_of(estimator)(estimator)
    trees = model.trees(TrainingData(X, y, None))
    return model.to_engine([PrunedTree.unpruned(tree) for tree in trees], engine)


def walk(forest, x):
    """Walk one row down all trees, and add up, the way the definition reads."""
    sums, leaves = forest.base.copy(), []
    for tree, start in enumerate(forest.tree_starts[:-1]):
        node = 0
        while forest.left[start + node] >= 0:
            at = start + node
            value = np.dtype(forest.dtype).type(x[forest.feature[at]])
            known = (forest.categories or {}).get(int(forest.feature[at]))
            place = None if known is None else np.flatnonzero(known == value)
            if np.isnan(value) or (place is not None and not len(place)):
                left = forest.missing_go_to_left[at]
            elif forest.by_category is not None and forest.by_category[at]:
                word = int(forest.left_categories[at, place[0] // 32])
                left = word >> int(place[0] % 32) & 1
            else:
                left = (value if place is None else place[0]) <= forest.threshold[at]
            node = forest.left[at] if left else forest.right[at]
        leaves.append(node)
        if forest.outputs is None:
            sums += forest.value[start + node]
        else:
            sums[forest.outputs[tree]] += forest.value[start + node, 0]
    return sums / forest.divisor, leaves


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_equals_reference_and_definition(data):
    forest = data.draw(forests())
    X = data.draw(rows_for(forest))
    X = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))](X)
    walked = [walk(forest, x) for x in X]
    sums = np.array([sums for sums, _ in walked]).reshape(len(X), len(forest.base))
    leaves = np.array([leaf for _, leaf in walked], dtype=np.int64).reshape(len(X), forest.n_trees)
    for engine in (forest, forest.with_engine("scipy")):
        np.testing.assert_array_equal(engine.apply(X), leaves)
        np.testing.assert_array_equal(engine.decision(X), sums)
        np.testing.assert_allclose(engine.predict(X), LINKS[forest.link](sums), rtol=1e-12)
        np.testing.assert_array_equal(engine.decision_at(leaves), sums)
        one_hot = engine.transform(X)
        assert one_hot.shape == (len(X), forest.n_leaves)
        columns = np.flatnonzero(forest.left < 0)
        starts = forest.tree_starts[:-1]
        expected = (leaves + starts)[:, :, None] == columns
        np.testing.assert_array_equal(one_hot.toarray(), expected.any(axis=1))


@settings(max_examples=40, deadline=None)
@given(forest=forests(), seed=st.integers(0, 99))
def test_a_row_is_answered_alike_in_any_batch_and_by_any_threads(forest, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(700, forest.n_features_in)).astype(np.float32)
    whole = forest.predict(X)
    for size in (1, 3, 7, 8, 9, 255, 256, 257):
        np.testing.assert_array_equal(forest.predict(X[:size]), whole[:size])
    for n_jobs in (2, 5, -1):
        np.testing.assert_array_equal(forest.predict(X, n_jobs), whole)
        np.testing.assert_array_equal(forest.apply(X, n_jobs), forest.apply(X))
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(forest.predict, [X] * 8):
            np.testing.assert_array_equal(answer, whole)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    "model",
    [RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor],
)
def test_forests_are_scikit_learns_to_the_bit(model, missing, engine):
    X, y = make_classification(400, 6, n_informative=4, n_classes=3, random_state=0)
    if missing:
        X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    for target in (y, np.stack([y, y % 2], axis=1)):
        fitted = model(7, random_state=0).fit(X, target)
        forest = from_sklearn(fitted, X, target, engine)
        for rows in (X, X[:1], X[:5], X[:20].astype(np.float32), np.asfortranarray(X)):
            if hasattr(fitted, "predict_proba"):
                theirs = np.hstack(fitted.predict_proba(rows))
                theirs = theirs if target.ndim > 1 else fitted.predict_proba(rows)
            else:
                theirs = fitted.predict(rows).reshape(len(rows), -1)
            np.testing.assert_array_equal(forest.predict(rows), theirs)
            np.testing.assert_array_equal(forest.apply(rows), fitted.apply(rows))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("loss", ["log_loss", "exponential", "multi"])
@pytest.mark.parametrize("model", [GradientBoostingClassifier, HistGradientBoostingClassifier])
def test_boosted_classifiers_are_scikit_learns(model, loss, engine):
    if loss == "exponential" and model is HistGradientBoostingClassifier:
        pytest.skip("it has no such loss")
    X, y = make_classification(300, 6, n_informative=4, n_classes=3, random_state=0)
    y = y if loss == "multi" else y % 2
    size = {"n_estimators": 8} if model is GradientBoostingClassifier else {"max_iter": 8}
    options = {"loss": loss} if loss == "exponential" else {}
    fitted = model(random_state=0, **size, **options).fit(X, y)
    forest = from_sklearn(fitted, X, y, engine)
    decision = fitted.decision_function(X).reshape(len(X), -1)
    np.testing.assert_allclose(forest.decision(X), decision, rtol=0, atol=1e-12)
    np.testing.assert_allclose(forest.predict(X), fitted.predict_proba(X), rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # scikit-learn's
@pytest.mark.parametrize("engine", ENGINES)
def test_hist_gradient_boosting_takes_what_others_refuse(engine):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    X[:, 3] = rng.choice([-7.0, 0.5, 2.0, 2.5, 1e9], 600)
    y = X[:, 0] + 3 * (X[:, 3] == 2.0) - 2 * (X[:, 3] < 0)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[::37, 0], X[::41, 1] = np.inf, -np.inf
    fitted = HistGradientBoostingRegressor(max_iter=20, categorical_features=[3], random_state=0)
    fitted.fit(X, y)
    forest = from_sklearn(fitted, X, y, engine)
    assert forest.by_category.any()
    rows = X.copy()
    rows[:200, 3] = rng.choice([-7.0, 3.0, -1.0, np.nan, 2.5, 1e300], 200)
    for part in (rows, rows[:1], rows[150:155]):
        np.testing.assert_array_equal(forest.predict(part)[:, 0], fitted.predict(part))
    # a threshold between two float32 numbers
    narrow = HistGradientBoostingRegressor(max_iter=1, min_samples_leaf=1).fit(
        [[1.0], [1.0 + 1e-12]], [0.0, 1.0]
    )
    forest = from_sklearn(narrow, np.zeros((2, 1)), np.zeros(2), engine)
    assert np.ptp(forest.predict([[1.0], [1.0 + 1e-12]])) > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_huber_and_poisson(engine):
    X, y = make_regression(200, 4, random_state=0)
    for fitted in (
        GradientBoostingRegressor(n_estimators=6, loss="huber", random_state=0).fit(X, y),
        HistGradientBoostingRegressor(max_iter=6, loss="poisson").fit(X, np.abs(y)),
    ):
        forest = from_sklearn(fitted, X, np.abs(y), engine)
        np.testing.assert_allclose(forest.predict(X)[:, 0], fitted.predict(X), rtol=1e-12)


def complete_tree(depth, n_features, seed=0):
    """A tree of 2 ** (depth + 1) - 1 nodes in level order."""
    rng = np.random.default_rng(seed)
    n_nodes, n_splits = 2 ** (depth + 1) - 1, 2**depth - 1
    left = np.full(n_nodes, -1)
    left[:n_splits] = 2 * np.arange(n_splits) + 1
    right = np.where(left < 0, -1, left + 1)
    feature = np.where(left < 0, -2, rng.integers(0, n_features, n_nodes))
    threshold = rng.normal(size=n_nodes)
    return {
        "feature": feature,
        "threshold": threshold,
        "left": left,
        "right": right,
        "value": rng.normal(size=(n_nodes, 1)),
        "missing_go_to_left": rng.random(n_nodes) < 0.5,
    }


@pytest.mark.parametrize(("depth", "n_features"), [(16, 5), (15, 5), (6, 70_000)])
def test_large_trees_and_wide_rows(depth, n_features):
    nodes = complete_tree(depth, n_features)
    starts = [0, len(nodes["left"])]
    forest = Forest(**nodes, tree_starts=starts, n_features_in=n_features, allow_nan=True)
    X = np.random.default_rng(1).normal(size=(300, n_features)).astype(np.float32)
    X[::3, :4] = np.nan
    reference = forest.with_engine("scipy")
    for rows in (X, X[:3]):
        np.testing.assert_array_equal(forest.apply(rows), reference.apply(rows))
        np.testing.assert_array_equal(forest.predict(rows), reference.predict(rows))


def test_deep_trees():
    X, y = np.arange(500.0)[:, None], 2.0 ** np.arange(500)
    fitted = RandomForestRegressor(2, random_state=0, bootstrap=False).fit(X, y)
    assert max(tree.get_depth() for tree in fitted.estimators_) > 200
    for engine in ENGINES:
        np.testing.assert_array_equal(
            from_sklearn(fitted, X, y, engine).predict(X)[:, 0], fitted.predict(X)
        )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", [csr_array, csc_array, coo_array, csr_matrix])
def test_sparse_rows(form, engine, monkeypatch):
    monkeypatch.setattr("skprune.engine.checks._DENSE_ENTRIES", 100)  # many parts
    X, y = load_iris(return_X_y=True)
    X = np.where(X > 2, X, 0)
    X[::9] = 0
    fitted = RandomForestClassifier(5, random_state=0).fit(X, y)
    forest = from_sklearn(fitted, X, y, engine)
    for rows in (X, np.floor(X).astype(np.int64)):
        sparse = form(rows)
        np.testing.assert_array_equal(forest.predict(sparse), forest.predict(rows))
        np.testing.assert_array_equal(forest.apply(sparse), forest.apply(rows))
        assert (forest.transform(sparse) != forest.transform(rows)).nnz == 0
    explicit = csr_array(X)
    explicit.data[:5] = 0.0
    np.testing.assert_array_equal(forest.predict(explicit), forest.predict(explicit.toarray()))
    assert forest.predict(form((0, 4))).shape == (0, 3)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_not_finite_is_refused(engine):
    tree = complete_tree(2, 3)
    for options, bad in (
        ({}, [np.nan, np.inf, -np.inf, 1e39]),
        ({"allow_nan": True}, [np.inf, 1e39]),
        ({"dtype": "float64"}, [np.nan]),
    ):
        forest = Forest(**tree, tree_starts=[0, 7], n_features_in=3, engine=engine, **options)
        for value in bad:
            for n_rows in (1, 40):
                X = np.zeros((n_rows, 3))
                X[-1, 2] = value
                with pytest.raises(NonFiniteError):
                    forest.predict(X)
                with pytest.raises(NonFiniteError):
                    forest.apply(csr_array(X))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", [csr_array, csc_array, bsr_array])
@pytest.mark.parametrize("index", [-1, 10**6])
def test_sparse_rows_with_stray_indices_are_refused(index, form, engine):
    forest = Forest(**complete_tree(2, 3), tree_starts=[0, 7], n_features_in=3, engine=engine)
    X = form(np.ones((4, 3)))
    forest.predict(X)
    X.indices[1] = index
    with pytest.raises(ValueError, match="X must be a valid sparse matrix"):
        forest.predict(X)


@pytest.mark.parametrize("engine", ENGINES)
def test_clip_says_that_nothing_is_known_where_nothing_is_left(engine):
    value = [[-1.0, -2.0, -1.0, 0.0, 0.0], [1.0, 3.0, -1.0, 0.0, 2.0]]
    forest = Forest(
        *([-2] * 2, [0.0] * 2, [-1] * 2, [-1] * 2, value, [False] * 2, [0, 1, 2], 1),
        link="clip", groups=[3, 2], base=[0.0, -5.0, 0.0, 0.0, 0.0], engine=engine,
    )  # fmt: skip
    third = 1.0 / 3.0
    np.testing.assert_array_equal(forest.predict([[0.0]]), [[third, third, third, 0.0, 1.0]])


def test_it_pickles_and_copies():
    tree = complete_tree(3, 3)
    forest = Forest(**tree, tree_starts=[0, 15], n_features_in=3, base=[2.0], divisor=3.0)
    X = np.random.default_rng(0).normal(size=(20, 3))
    for other in (pickle.loads(pickle.dumps(forest)), copy.deepcopy(forest)):
        np.testing.assert_array_equal(other.predict(X), forest.predict(X))
    assert "1 trees, 15 nodes, 8 leaves" in repr(forest)
    assert "16 trees interleaved" in forest.explain(3)
    assert "8 rows interleaved" in forest.explain(8)
    with pytest.raises(ValueError, match="read-only"):
        forest.value[0] = 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature": [0, 9, 1, -2, -2, -2, -2]}, "feature must lie in"),
        ({"feature": [0.5] * 7}, "feature must be a vector of int64"),
        ({"threshold": [np.nan] * 7}, "threshold must not be NaN"),
        ({"threshold": [0.0]}, "threshold must have 7 entries"),
        ({"left": [1, 3, 5, -1, -1, -1, 9]}, "left and right must both be"),
        ({"left": [1, 3, 5, -1, -1, -1, -1], "right": [2, 4, 5, -1, -1, -1, -1]}, "reached twice"),
        ({"left": [0, 3, 5, -1, -1, -1, -1]}, "reached twice"),
        ({"value": np.zeros((3, 1))}, "value must have shape"),
        ({"tree_starts": [0, 5]}, "tree_starts must grow"),
        ({"tree_starts": [0, 4, 3, 7]}, "tree_starts must grow"),
        ({"tree_starts": [0]}, "tree_starts must grow"),
        ({"tree_starts": [0, 3, 7]}, "left and right must both be"),
        ({"n_features_in": 0}, "n_features_in must be at least 1"),
        ({"missing_go_to_left": [2] * 7}, "missing_go_to_left must hold booleans"),
        ({"value": np.full((7, 1), np.nan)}, "value must not hold NaN"),
        ({"outputs": [-1]}, "outputs must not be negative"),
        ({"outputs": [2**40]}, "outputs must be below"),
        ({"outputs": [0, 0]}, "outputs must have 1 entries, one per tree"),
        ({"outputs": [3], "base": [0.0, 0.0]}, "base must have 4 entries"),
        ({"outputs": [0], "value": np.zeros((7, 2))}, "value must have one column"),
        ({"base": [0.0, 0.0]}, "base must have 1 entries"),
        ({"link": "probit"}, "link must be one of"),
        ({"link": "sigmoid", "value": np.zeros((7, 2))}, "takes one sum"),
        ({"groups": [2]}, "groups must be positive and add up to the 1 sums"),
        ({"groups": [1, 0]}, "groups must be positive"),
        ({"dtype": "float16"}, "dtype must be one of"),
        ({"divisor": 0.0}, "divisor must be a finite number other than 0"),
        ({"divisor": np.inf}, "divisor must be a finite number other than 0"),
        ({"by_category": [True] * 7}, "must be given together"),
        ({"categories": {0: [1.0]}}, "categories need dtype='float64'"),
        ({"categories": {5: [1.0]}, "dtype": "float64"}, "must name columns in"),
        ({"categories": {0.5: [1.0]}, "dtype": "float64"}, "must name columns in"),
        ({"categories": {0: [2.0, 1.0]}, "dtype": "float64"}, "must grow and hold no NaN"),
        ({"engine": "gpu"}, "engine must be one of"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = complete_tree(2, 3) | {"tree_starts": [0, 7], "n_features_in": 3}
    with pytest.raises(ValueError, match=message):
        Forest(**(arguments | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": {0: [1.0]}}, "categories must have those of column"),
        ({"left_categories": np.zeros((6, 1), np.uint32)}, "left_categories must have shape"),
        (
            {"categories": {0: np.arange(40.0)}},
            "left_categories must have a bit for each of the 40",
        ),
        ({"left_categories": None}, "must be given together"),
        ({"left_categories": np.full((7, 1), 2**32)}, "must hold words of 32 bits"),
    ],
)
def test_wrong_categories_are_named(change, message):
    arguments = complete_tree(2, 3) | {"tree_starts": [0, 7], "n_features_in": 3}
    arguments["feature"] = np.array([0, 1, 0, -2, -2, -2, -2])
    arguments |= {
        "dtype": "float64",
        "categories": {0: [1.0, 5.0], 1: [0.0]},
        "by_category": [True, True, False, False, False, False, False],
        "left_categories": np.ones((7, 1), np.uint32),
    }
    Forest(**arguments)
    if "categories" in change and len(change["categories"][0]) == 40:
        change = {"categories": {0: np.arange(40.0), 1: [0.0]}}
    with pytest.raises(ValueError, match=message):
        Forest(**(arguments | change))
