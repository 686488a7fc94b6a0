"""The forest kernels against the reference path, the definition and scikit-learn; refusals."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csc_array, csr_array
from scipy.special import logsumexp
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    BaggingClassifier,
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
from skprune.trees.models import kind_of
from skprune.trees.subtrees import PrunedTree
from tests.engine.cases import LAYOUTS, forests, random_nodes, rows_for

ENGINES = ["native", "scipy"]


def from_sklearn(model, X=None, y=None, engine="native"):
    """The engine's forest of a fitted ensemble; boosted trees need the rows they were grown on."""
    model = kind_of(model)(model)
    trees = model.trees(TrainingData(X, y, None))
    return model.to_engine([PrunedTree.unpruned(tree) for tree in trees], engine)


def apply_one(forest, tree, x):
    """Walk one row down one tree the way the definition reads."""
    start, node = forest.tree_starts[tree], 0
    while forest.left[start + node] >= 0:
        at = start + node
        feature = int(forest.feature[at])
        value = float(x[feature] if forest.allow_infinity else np.float32(x[feature]))
        if forest.categories and feature in forest.categories:
            places = np.flatnonzero(forest.categories[feature] == value)
            value = float(places[0]) if len(places) else np.nan
        if np.isnan(value):
            go_left = forest.missing_go_to_left[at]
        elif forest.by_category is not None and forest.by_category[at]:
            word = int(forest.left_categories[at, int(value) // 32])
            go_left = word >> (int(value) % 32) & 1
        else:
            go_left = value <= forest.threshold[at]
        node = forest.left[at] if go_left else forest.right[at]
    return node


def linked(link, z):
    """What becomes of sums, written apart from the package's own."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if link == "identity":
            return z
        if link == "exp":
            return np.exp(z)
        if link == "softmax":
            return np.exp(z - logsumexp(z, axis=1, keepdims=True))
        if link == "clip":
            z = np.where(z > 0, z, 0)
            return z / z.sum(axis=1, keepdims=True)
        scale = {"sigmoid": 1, "exponential": 2}[link]
        second = 1 / (1 + np.exp(-scale * z))
        return np.hstack([1 - second, second])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_equals_reference_and_definition(data):
    forest = data.draw(forests())
    n_rows = data.draw(st.integers(0, 70) | st.sampled_from([255, 256, 257, 300, 600]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    with np.errstate(over="ignore"):  # a layout in float32 makes 1e300 infinite
        X = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))](rows_for(forest, n_rows, rng))
    twin = forest.with_engine("scipy")
    nodes = twin.apply(X)
    some = range(0, n_rows, max(1, n_rows // 12))
    definition = [[apply_one(forest, t, X[row]) for t in range(forest.n_trees)] for row in some]
    np.testing.assert_array_equal(nodes[list(some)], np.reshape(definition, (-1, forest.n_trees)))

    with np.errstate(invalid="ignore", divide="ignore"):  # nothing is left of a row to "clip"
        expected = twin.predict(X)
    for engine in (forest, twin):
        assert engine.apply(X).dtype == np.int64
        np.testing.assert_array_equal(engine.apply(X), nodes)
        decision = engine.decision(X)
        assert decision.shape == (n_rows, len(forest.base))
        np.testing.assert_array_equal(decision, twin.decision_at(nodes))
        one_hot = engine.transform(X)
        assert one_hot.shape == (n_rows, forest.n_leaves)
        assert one_hot.dtype == np.float64
        leaves = np.flatnonzero(forest.left < 0)
        reached = np.zeros((n_rows, len(forest.left)))
        np.put_along_axis(reached, nodes + forest.tree_starts[:-1], 1.0, axis=1)
        np.testing.assert_array_equal(one_hot.toarray(), reached[:, leaves])
    answer = forest.predict(X)
    assert answer.shape == expected.shape == (n_rows, forest.n_outputs)
    assert answer.dtype == np.float64
    if forest.link == "identity":
        np.testing.assert_array_equal(answer, expected)
    np.testing.assert_allclose(answer, expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(answer, linked(forest.link, decision), rtol=1e-12, atol=1e-15)
    with np.errstate(invalid="ignore", divide="ignore"):
        np.testing.assert_array_equal(twin.predict_at(nodes), expected)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_row_does_not_depend_on_its_neighbours_or_on_threads(data):
    forest = data.draw(forests())
    n_rows = data.draw(st.sampled_from([9, 70, 300, 1100]))
    X = rows_for(forest, n_rows, np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))))
    for method in ("predict", "decision", "apply"):
        run = getattr(forest, method)
        expected = run(X)
        for row in range(0, n_rows, max(1, n_rows // 8)):
            np.testing.assert_array_equal(run(X[row : row + 1]), expected[row : row + 1])
        for n in range(1, 9):
            np.testing.assert_array_equal(run(X[-n:]), expected[-n:])
        for n_jobs in (None, 2, 3, -1):
            np.testing.assert_array_equal(run(X, n_jobs=n_jobs), expected)


def test_the_sums_are_plain_sums_in_the_order_of_the_trees():
    """Large and small values: any other order, or a fused step, would round differently."""
    rng = np.random.default_rng(0)
    grown = [random_nodes(rng, 5, 3, 3) for _ in range(37)]
    nodes = {name: np.concatenate([tree[name] for tree in grown]) for name in grown[0]}
    nodes["value"] *= 10.0 ** rng.integers(-12, 12, (len(nodes["value"]), 1))
    forest = Forest(**nodes, tree_starts=np.arange(38) * 11, n_features_in=3, divisor=37.0)
    X = rng.normal(size=(20, 3))
    for x, got in zip(X, forest.predict(X), strict=True):
        sums = [0.0, 0.0, 0.0]
        for tree, node in enumerate(forest.apply([x])[0]):
            sums = [s + float(v) for s, v in zip(sums, forest.value[11 * tree + node], strict=True)]
        assert got.tolist() == [s / 37.0 for s in sums]


X_CLASSES, Y_CLASSES = make_classification(
    600, 12, n_informative=6, n_classes=3, flip_y=0.1, random_state=0
)
X_CLASSES = X_CLASSES.astype(np.float32).astype(np.float64)
X_NUMBERS, Y_NUMBERS = make_regression(600, 8, noise=3.0, random_state=0)


def assert_is(forest, expected, X):
    """All batches are those of scikit-learn to the bit: one row, a few, a tile and more."""
    for rows in (slice(0, 1), slice(3, 10), slice(0, 8), slice(0, None)):
        np.testing.assert_array_equal(forest(X[rows]), expected(X[rows]))


def edges(model, n_features):
    """Rows on thresholds, and a float above and below: where rounding would show."""
    t = np.concatenate([tree.tree_.threshold[tree.tree_.feature >= 0] for tree in model])
    t = t[:: max(1, len(t) // 200)].astype(np.float32)
    t = np.concatenate([t, np.nextafter(t, np.float32(99)), np.nextafter(t, np.float32(-99))])
    return np.tile(t[:, None], (1, n_features))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("max_depth", [0, 1, 5, None])
@pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])
def test_is_scikit_learn_to_the_bit(kind, max_depth, engine):
    y = Y_CLASSES if max_depth != 0 else np.zeros_like(Y_CLASSES)  # lone leaves
    model = kind(23, max_depth=max_depth or None, random_state=0).fit(X_CLASSES, y)
    forest = from_sklearn(model, engine=engine)
    assert forest.n_leaves == sum(tree.get_n_leaves() for tree in model.estimators_)
    for X in (X_CLASSES, X_CLASSES.astype(np.float32), edges(model.estimators_, 12)):
        if len(X):
            assert_is(forest.predict, model.predict_proba, X)
            assert_is(forest.apply, model.apply, X)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("kind", [RandomForestRegressor, ExtraTreesRegressor])
def test_is_scikit_learn_where_values_are_missing(kind, n_targets, engine):
    X, y = make_regression(400, 6, n_targets=n_targets, random_state=0)
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    model = kind(19, random_state=0).fit(X, y)
    forest = from_sklearn(model, engine=engine)
    assert_is(forest.predict, lambda X: model.predict(X).reshape(len(X), -1), X)
    assert_is(forest.apply, model.apply, X)


@pytest.mark.parametrize("engine", ENGINES)
def test_is_scikit_learn_on_several_outputs(engine):
    y = np.stack([Y_CLASSES, Y_CLASSES % 2, X_CLASSES[:, 0] > 0], axis=1).astype(int)
    model = RandomForestClassifier(12, random_state=0).fit(X_CLASSES, y)
    forest = from_sklearn(model, engine=engine)
    assert_is(forest.predict, lambda X: np.hstack(model.predict_proba(X)), X_CLASSES)


@pytest.mark.parametrize("engine", ENGINES)
def test_is_scikit_learn_on_baggings_of_some_columns(engine):
    model = BaggingClassifier(n_estimators=9, max_features=5, random_state=0)
    model.fit(X_CLASSES, Y_CLASSES)
    assert_is(from_sklearn(model, engine=engine).predict, model.predict_proba, X_CLASSES)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", [GradientBoostingClassifier, HistGradientBoostingClassifier])
def test_is_scikit_learn_on_boosted_classifiers(kind, n_classes, engine):
    n_trees = "n_estimators" if kind is GradientBoostingClassifier else "max_iter"
    X, y = X_CLASSES, Y_CLASSES % n_classes
    model = kind(**{n_trees: 20}, random_state=0).fit(X, y)
    forest = from_sklearn(model, X, y, engine)
    raw = model.decision_function(X).reshape(len(X), -1)
    np.testing.assert_allclose(forest.decision(X), raw, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(forest.predict(X), model.predict_proba(X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [GradientBoostingRegressor, HistGradientBoostingRegressor])
def test_is_scikit_learn_on_boosted_regressors(kind, engine):
    X, y = X_NUMBERS, Y_NUMBERS
    model = kind(random_state=0).fit(X, y)
    got = from_sklearn(model, X, y, engine).predict(X)[:, 0]
    np.testing.assert_allclose(got, model.predict(X), rtol=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_is_scikit_learn_on_categories_and_values_at_the_ends_of_float64(engine):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 4))
    X[:, 1] = rng.integers(0, 70, 800)  # more than two words of bits
    X[:, 3] = rng.integers(0, 5, 800)
    y = np.sin(3 * X[:, 1]) + X[:, 0] + (X[:, 3] == 2)
    X[rng.random(X.shape) < 0.1] = np.nan
    model = HistGradientBoostingRegressor(
        max_iter=30, categorical_features=[1, 3], random_state=0
    ).fit(X, y)
    forest = from_sklearn(model, X, y, engine)
    assert forest.by_category.any()
    X = X.copy()
    X[::7, 0], X[1::7, 0], X[2::7, 2], X[3::7, 2] = np.inf, -np.inf, 1e300, 5e-324
    X[::11, 1], X[1::11, 1], X[2::11, 3] = -4, 12345, 69  # unknown to the forest
    np.testing.assert_allclose(forest.predict(X)[:, 0], model.predict(X), rtol=1e-12)


def test_float64_is_compared_as_it_is_and_rounded_for_float32():
    arrays = {
        "feature": [0, -2, -2], "threshold": [0.1, 0, 0], "left": [1, -1, -1],
        "right": [2, -1, -1], "value": [[0], [1], [2]], "missing_go_to_left": [0] * 3,
        "tree_starts": [0, 3], "n_features_in": 1,
    }  # fmt: skip
    for dtype in (np.float32, np.float64):
        forest = Forest(**arrays, dtype=dtype.__name__)
        for x in (0.1, 0.1 + 1e-12, 0.1 - 1e-12, np.nextafter(0.1, 1)):
            expected = 1 if float(dtype(x)) <= 0.1 else 2
            assert forest.predict([[x]]) == forest.with_engine("scipy").predict([[x]])
            assert forest.predict([[x]]) == [[expected]]


def comb(n_nodes):
    """Every right child is a leaf; row -k - 0.5 leaves after k steps."""
    node = np.arange(n_nodes)
    is_split = (node % 2 == 0) & (node < n_nodes - 1)
    return {
        "feature": np.where(is_split, 0, -2),
        "threshold": np.where(is_split, -node / 2.0, -2),
        "left": np.where(is_split, node + 2, -1),
        "right": np.where(is_split, node + 1, -1),
        "value": node[:, None],
        "missing_go_to_left": np.zeros(n_nodes, bool),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_rows", [1, 7, 104])
def test_a_tree_deeper_than_any_stack_beside_a_leaf(n_rows, dtype):
    deep, leaf = comb(20_001), comb(1)
    nodes = {name: np.concatenate([leaf[name], deep[name], leaf[name]]) for name in deep}
    forest = Forest(**nodes, tree_starts=[0, 1, 20_002, 20_003], n_features_in=1, dtype=dtype)
    X = -np.linspace(0, 9999, n_rows).round()[:, None] + 0.5
    np.testing.assert_array_equal(forest.predict(X)[:, 0], -2 * (X[:, 0] - 0.5) + 1)
    assert forest.explain().splitlines()[2].split()[3] == "10000"


def test_is_scikit_learn_on_trees_deeper_than_a_thousand():
    x = np.arange(1300.0)
    # targets that alternate are best split off one by one, from an end
    model = RandomForestRegressor(2, bootstrap=False, random_state=0).fit(x[:, None], x % 2)
    depth = max(tree.get_depth() for tree in model.estimators_)
    assert depth > 1000
    forest = from_sklearn(model)
    assert str(depth) in forest.explain()
    assert_is(forest.predict, lambda X: model.predict(X)[:, None], x[:, None])


def complete(depth, n_features, rng):
    n_nodes = 2 ** (depth + 1) - 1
    node = np.arange(n_nodes)
    is_split = node < 2**depth - 1
    return {
        "feature": np.where(is_split, rng.integers(0, n_features, n_nodes), -2),
        "threshold": rng.normal(size=n_nodes),
        "left": np.where(is_split, 2 * node + 1, -1),
        "right": np.where(is_split, 2 * node + 2, -1),
        "value": rng.normal(size=(n_nodes, 2)),
        "missing_go_to_left": rng.random(n_nodes) < 0.5,
    }


@pytest.mark.parametrize(
    ("depth", "n_features"),
    [(15, 65_536), (16, 20), (3, 65_537), (3, 70_000)],
    ids=["short nodes, just", "many nodes", "many columns", "more columns"],
)
def test_the_largest_short_nodes_and_the_smallest_wide_ones(depth, n_features):
    rng = np.random.default_rng(0)
    grown = [complete(depth, n_features, rng), complete(2, n_features, rng)]
    for tree in grown:
        tree["feature"][0] = n_features - 1
    forest = Forest(
        **{name: np.concatenate([tree[name] for tree in grown]) for name in grown[0]},
        tree_starts=np.cumsum([0] + [len(tree["left"]) for tree in grown]),
        n_features_in=n_features,
        allow_nan=True,
    )
    twin = forest.with_engine("scipy")
    X = rng.normal(size=(40, n_features)).astype(np.float32)
    if n_features < 100:
        X = np.tile(X, (200, 1)) + rng.normal(size=(8000, 1)).astype(np.float32)
    for rows in (X, X[:3], np.where(rng.random(X.shape) < 0.3, np.float32(np.nan), X)):
        np.testing.assert_array_equal(forest.apply(rows), twin.apply(rows))
        np.testing.assert_array_equal(forest.predict(rows), twin.predict(rows))


def test_threads_of_the_caller_may_share_a_forest():
    model = RandomForestRegressor(10, random_state=0).fit(X_NUMBERS, Y_NUMBERS)
    forest = from_sklearn(model)
    expected = forest.predict(X_NUMBERS)
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: forest.predict(X_NUMBERS), range(16)):
            np.testing.assert_array_equal(got, expected)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_sparse_rows_answer_as_dense_ones_do(data):
    forest = data.draw(forests())
    n_rows = data.draw(st.integers(0, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64, np.int64, np.int8, bool]))
    X = rng.integers(-3, 4, (n_rows, forest.n_features_in)).astype(dtype)
    X[rng.random(X.shape) < 0.5] = 0  # some of them are stored, below
    X[rng.random(n_rows) < 0.3] = 0
    row, column = np.nonzero((X != 0) | (rng.random(X.shape) < 0.2))
    stored = coo_array((X[row, column], (row, column)), shape=X.shape)
    form = data.draw(st.sampled_from([csr_array, csc_array, coo_array]))
    for engine in (forest, forest.with_engine("scipy")):
        np.testing.assert_array_equal(engine.apply(form(stored)), engine.apply(X))
        np.testing.assert_array_equal(engine.decision(form(stored)), engine.decision(X))
        assert (engine.transform(form(stored)) != engine.transform(X)).nnz == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_large_sparse_integers_keep_their_digits_in_float64(engine):
    forest = Forest(**(GOOD | {"threshold": [2.0**24, 0, 0]}), dtype="float64", engine=engine)
    X = np.array([[2**24], [2**24 + 1]])
    assert forest.apply(X).tolist() == [[1], [2]]
    assert forest.apply(csr_array(X)).tolist() == [[1], [2]]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_copies_and_pickles_predict_the_same(data):
    forest = data.draw(forests()).with_engine(data.draw(st.sampled_from(["auto", *ENGINES])))
    X = rows_for(forest, 20, np.random.default_rng(0))
    for twin in (pickle.loads(pickle.dumps(forest)), copy.deepcopy(forest)):
        assert (twin.engine, twin.explain(), repr(twin)) == (
            (forest.engine, forest.explain(), repr(forest))
        )
        np.testing.assert_array_equal(twin.apply(X), forest.apply(X))
        np.testing.assert_array_equal(twin.decision(X), forest.decision(X))


def test_repr_and_explain_tell_what_runs():
    model = RandomForestRegressor(3, max_depth=2, random_state=0).fit(X_NUMBERS, Y_NUMBERS)
    forest = from_sklearn(model)
    n_nodes = sum(tree.tree_.node_count for tree in model.estimators_)
    assert repr(forest) == (
        f"Forest(3 trees, {n_nodes} nodes, {forest.n_leaves} leaves, engine='native')"
    )
    head, titles, plan = forest.explain().splitlines()
    assert head.startswith("engine native")
    assert head.endswith("8 -> 1")
    assert "8+ rows" in titles
    assert plan.split()[:5] == ["3", str(n_nodes), str(forest.n_leaves), "2", "allowed"]
    assert "8 rows interleaved" not in forest.explain(n_rows=7)
    assert "16 trees" not in forest.explain(n_rows=8)
    assert "numpy" in forest.with_engine("scipy").explain()
    assert "refused" in Forest(**GOOD).explain()


def test_nodes_out_of_reach_count_for_nothing():
    # Nodes 3 and 4 lead to each other and to leaf 5 and 6, but nothing leads there.
    forest = Forest(
        feature=[-2, 0, -2, -2, 0, 0, -2, -2],
        threshold=[0.0] * 8,
        left=[-1, 1, -1, -1, 4, 3, -1, -1],
        right=[-1, 2, -1, -1, 5, 6, -1, -1],
        value=np.arange(8.0)[:, None],
        missing_go_to_left=[0] * 8,
        tree_starts=[0, 1, 8],
        n_features_in=1,
    )
    assert (forest.n_nodes, forest.n_leaves) == (4, 3)
    for engine in (forest, forest.with_engine("scipy")):
        assert engine.transform([[1.0]]).toarray().tolist() == [[1, 0, 1]]
        assert engine.apply([[1.0]]).tolist() == [[0, 2]]
        assert engine.predict([[1.0]]).tolist() == [[3]]


GOOD = {
    "feature": [0, -2, -2],
    "threshold": [0.5, -2.0, -2.0],
    "left": [1, -1, -1],
    "right": [2, -1, -1],
    "value": [[0.0], [1.0], [2.0]],
    "missing_go_to_left": [0, 0, 0],
    "tree_starts": [0, 3],
    "n_features_in": 1,
}
SETS = {
    "dtype": "float64",
    "categories": {0: [1.0, 2.0]},
    "by_category": [1, 0, 0],
    "left_categories": np.ones((3, 1), np.uint32),
}
TWO = {
    "feature": [0, -2, -2, -2],
    "threshold": [0.0] * 4,
    "left": [1, -1, -1, -1],
    "right": [2, -1, -1, -1],
    "value": [[0.0]] * 4,
    "missing_go_to_left": [0] * 4,
    "tree_starts": [0, 3, 4],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": [0, -1, -1]}, "node 0 is reached twice"),
        ({"left": [2, -1, -1]}, "node 2 is reached twice"),
        ({"left": [1, 0, -1], "right": [2, 2, -1]}, "reached twice"),
        ({"left": [3, -1, -1]}, "left and right must both be"),
        ({"left": [-2, -1, -1]}, "left and right must both be"),
        ({"left": [-1, -1, -1]}, "left and right must both be"),
        ({"right": [2**40, -1, -1]}, "left and right must both be"),
        (TWO | {"right": [3, -1, -1, -1]}, "within their tree"),
        ({"left": [1.0, -1.0, -1.0]}, "left must be a vector of int64"),
        ({"right": [2, -1]}, "right must have 3 entries"),
        ({"feature": [1, -2, -2]}, r"feature must lie in \[0, 1\)"),
        ({"feature": [-2, -2, -2]}, r"feature must lie in \[0, 1\)"),
        ({"feature": [0.0, 0.0, 0.0]}, "feature must be a vector"),
        ({"threshold": [np.nan, 0, 0]}, "threshold must not be NaN"),
        ({"threshold": ["a", "b", "c"]}, "threshold must be a vector"),
        ({"threshold": [0.0]}, "threshold must have 3 entries"),
        ({"value": [0.0, 1.0, 2.0]}, "value must be a numeric matrix"),
        ({"value": [[0.0], [1.0]]}, "value must have shape"),
        ({"value": np.zeros((3, 0))}, "value must have shape"),
        ({"missing_go_to_left": [0]}, "missing_go_to_left must have 3 entries"),
        ({"tree_starts": [0]}, "tree_starts must grow from 0"),
        ({"tree_starts": [0, 2]}, "tree_starts must grow from 0"),
        ({"tree_starts": [0, 4]}, "tree_starts must grow from 0"),
        ({"tree_starts": [1, 3]}, "tree_starts must grow from 0"),
        ({"tree_starts": [0, 0, 3]}, "tree_starts must grow from 0"),
        ({"tree_starts": [0, 5, 3]}, "tree_starts must grow from 0"),
        ({"tree_starts": [[0, 3]]}, "tree_starts must be a vector"),
        ({"tree_starts": [0.0, 3.0]}, "tree_starts must be a vector of int64"),
        ({"n_features_in": 0}, "n_features_in must be at least 1"),
        ({"engine": "cuda"}, "engine must be one of"),
        ({"link": "probit"}, "link must be one of"),
        ({"dtype": "float16"}, "dtype must be one of"),
        ({"divisor": 0.0}, "divisor must be"),
        ({"divisor": np.nan}, "divisor must be"),
        ({"divisor": np.inf}, "divisor must be"),
        ({"outputs": [0, 0]}, "outputs must have 1 entries"),
        ({"outputs": [-1]}, "outputs must not be negative"),
        ({"outputs": [0.0]}, "outputs must be a vector"),
        ({"outputs": [0], "value": np.zeros((3, 2))}, "value must have one column"),
        ({"outputs": [1], "base": [0.0]}, "base must have 2 entries"),
        ({"base": [0.0, 0.0]}, "base must have 1 entries"),
        ({"base": 0.0}, "base must be a vector"),
        ({"link": "sigmoid", "value": np.zeros((3, 2))}, "link='sigmoid' takes one sum"),
        ({"link": "exponential", "outputs": [1]}, "link='exponential' takes one sum"),
        (SETS | {"dtype": "float32"}, "dtype='float64'"),
        (SETS | {"left_categories": None}, "left_categories must be given together"),
        (SETS | {"by_category": None}, "by_category and left_categories must be given together"),
        (SETS | {"by_category": [1]}, "by_category must have 3 entries"),
        (SETS | {"left_categories": np.ones((2, 1), np.uint32)}, "left_categories must have shape"),
        (SETS | {"left_categories": np.ones((3, 0), np.uint32)}, "left_categories must have shape"),
        (SETS | {"left_categories": np.ones(3, np.uint32)}, "left_categories must have shape"),
        (SETS | {"left_categories": np.ones((3, 1))}, "left_categories must hold"),
        (SETS | {"left_categories": [[-1], [0], [0]]}, "left_categories must hold"),
        (SETS | {"left_categories": [[2**32], [0], [0]]}, "left_categories must hold"),
        (SETS | {"categories": None}, "categories must have those of column 0"),
        (SETS | {"categories": {1: [1.0]}}, "categories must name columns"),
        (SETS | {"categories": {-1: [1.0]}}, "categories must name columns"),
        (SETS | {"categories": {0: [2.0, 1.0]}}, r"categories\[0\] must grow"),
        (SETS | {"categories": {0: [1.0, 1.0]}}, r"categories\[0\] must grow"),
        (SETS | {"categories": {0: [1.0, np.nan]}}, r"categories\[0\] must grow"),
        (SETS | {"categories": {0: [[1.0]]}}, r"categories\[0\] must be a vector"),
        (SETS | {"categories": {0: np.arange(33.0)}}, "left_categories must have a bit"),
        ({"categories": {0: [1.0]}}, "categories need dtype='float64'"),
    ],
)
def test_bad_forests_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Forest(**(GOOD | change))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("change", [{}, SETS, TWO, TWO | {"outputs": [1, 0]}])
def test_good_ones_are_not(change, engine):
    assert len(Forest(**(GOOD | change), engine=engine).predict([[1.0]])) == 1


def test_nothing_at_all_is_no_forest():
    empty = np.zeros(0, int)
    with pytest.raises(ValueError, match="must have 1 to"):
        Forest(empty, empty * 1.0, empty, empty, np.zeros((0, 1)), empty, [0, 0], 1)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_rows", [1, 20, 600])
def test_categories_may_be_missing_where_numbers_may_not(n_rows, engine):
    forest = Forest(**(GOOD | SETS | {"n_features_in": 2}), engine=engine)
    X = np.ones((n_rows, 2))
    X[-1, 0] = np.nan
    assert forest.apply(X)[-1].tolist() == [2]
    X[-1, 1] = np.nan
    for method in (forest.apply, forest.predict, forest.decision, forest.transform):
        with pytest.raises(NonFiniteError, match="X contains NaN"):
            method(X)


def test_the_forest_does_not_change_with_its_sources():
    arrays = {name: np.array(given) for name, given in GOOD.items() if name != "n_features_in"}
    sets = {name: np.array(SETS[name]) for name in ("by_category", "left_categories")}
    known = np.array([1.0, 2.0])
    forest = Forest(
        **arrays, **sets, n_features_in=1, categories={0: known}, dtype="float64", base=np.zeros(1)
    )
    for array in (*arrays.values(), *sets.values(), known):
        array[...] = 1
    for engine in (forest, forest.with_engine("scipy")):
        assert engine.apply([[1.0], [2.0], [3.0]]).tolist() == [[1], [2], [2]]
    for name in (*arrays, *sets, "base"):
        assert not getattr(forest, name).flags.writeable
    assert not forest.categories[0].flags.writeable
