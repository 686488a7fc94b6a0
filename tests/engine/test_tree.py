"""The tree kernels against the reference path and scikit-learn; what is refused."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris, make_regression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from skprune.engine import Tree
from tests.engine.cases import LAYOUTS, trees


def from_sklearn(model, engine="native", allow_nan=False):
    t = model.tree_
    value = t.value.reshape(t.node_count, -1)
    return Tree(
        t.feature,
        t.threshold,
        t.children_left,
        t.children_right,
        value,
        t.missing_go_to_left,
        t.n_features,
        allow_nan=allow_nan,
        engine=engine,
    )


def apply_one(tree, x):
    """Walk one row the way the definition reads."""
    node = 0
    while tree.left[node] >= 0:
        value = float(np.float32(x[tree.feature[node]]))
        if np.isnan(value):
            go_left = tree.missing_go_to_left[node]
        else:
            go_left = value <= tree.threshold[node]
        node = tree.left[node] if go_left else tree.right[node]
    return node


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_equals_reference_and_definition(data):
    allow_nan = data.draw(st.booleans())
    tree = data.draw(trees(allow_nan))
    n_rows = data.draw(st.integers(0, 70))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    X = rng.choice([0.0, -0.0, 0.1, -1.0, 1e-45, 3e38, -3e38, 0.7], (n_rows, tree.n_features_in))
    X = np.where(rng.random(X.shape) < 0.5, rng.normal(size=X.shape), X).astype(np.float32)
    if allow_nan:
        X[rng.random(X.shape) < 0.3] = np.nan
    X = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))](X)
    leaves = np.array([apply_one(tree, x) for x in X], dtype=np.int64)
    for engine in (tree, tree.with_engine("scipy")):
        assert engine.apply(X).dtype == np.int64
        np.testing.assert_array_equal(engine.apply(X), leaves)
        np.testing.assert_array_equal(engine.predict(X), tree.value[leaves])
        one_hot = engine.transform(X)
        assert one_hot.shape == (n_rows, tree.n_leaves)
        assert one_hot.dtype == np.float64
        columns = np.flatnonzero(tree.left < 0)
        np.testing.assert_array_equal(one_hot.toarray(), leaves[:, None] == columns)


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("max_depth", [0, 1, 4, None])
@pytest.mark.parametrize("model", [DecisionTreeClassifier, ExtraTreeClassifier])
def test_is_scikit_learn_to_the_bit(model, max_depth, engine):
    X, y = load_iris(return_X_y=True)
    if max_depth == 0:
        y = np.zeros_like(y)  # a tree of one leaf
    model = model(max_depth=max_depth or None, random_state=0).fit(X, y)
    tree = from_sklearn(model, engine)
    assert tree.n_leaves == model.get_n_leaves()
    # On the thresholds themselves, and a float above and below: where rounding would show.
    t = model.tree_.threshold[model.tree_.feature >= 0].astype(np.float32)
    edges = np.concatenate([t, np.nextafter(t, np.float32(9)), np.nextafter(t, np.float32(-9))])
    for rows in (X, X.astype(np.float32), np.tile(edges[:, None], (1, 4)), X[:1], X[:9]):
        if len(rows):
            np.testing.assert_array_equal(tree.predict(rows), model.predict_proba(rows))
            np.testing.assert_array_equal(tree.apply(rows), model.apply(rows))


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_is_scikit_learn_where_values_are_missing(n_targets, engine):
    X, y = make_regression(400, 6, n_targets=n_targets, random_state=0)
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    model = DecisionTreeRegressor(random_state=0).fit(X, y)
    tree = from_sklearn(model, engine, allow_nan=True)
    np.testing.assert_array_equal(tree.predict(X), model.predict(X).reshape(len(X), -1))
    np.testing.assert_array_equal(tree.apply(X), model.apply(X))


def test_float64_is_rounded_before_it_is_compared():
    # 0.1 + 1e-12 is above the threshold, its float32 is below the next one.
    tree = Tree([0, -2, -2], [0.1, 0, 0], [1, -1, -1], [2, -1, -1], [[0], [1], [2]], [0] * 3, 1)
    model = DecisionTreeRegressor().fit([[0.0], [0.2]], [1, 2])
    for x in (0.1, 0.1 + 1e-12, 0.1 - 1e-12, np.nextafter(0.1, 1)):
        expected = 1 if np.float64(np.float32(x)) <= 0.1 else 2
        assert tree.predict([[x]]) == [[expected]]
        assert model.predict([[x]]) == from_sklearn(model).predict([[x]])


@pytest.mark.parametrize("method", ["predict", "apply"])
def test_the_result_does_not_depend_on_threads_or_batch(method):
    X, y = make_regression(3000, 8, random_state=0)
    tree = from_sklearn(DecisionTreeRegressor(random_state=0).fit(X, y))
    run = getattr(tree, method)
    expected = run(X)
    for n_jobs in (None, 2, 5, -1):
        np.testing.assert_array_equal(run(X, n_jobs=n_jobs), expected)
    for n in range(40):
        np.testing.assert_array_equal(run(X[:n]), expected[:n])
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: run(X), range(16)):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("engine", ["auto", "native", "scipy"])
def test_copies_and_pickles_predict_the_same(engine):
    X, y = load_iris(return_X_y=True)
    tree = from_sklearn(DecisionTreeClassifier().fit(X, y), engine)
    for twin in (pickle.loads(pickle.dumps(tree)), copy.deepcopy(tree)):
        assert twin.engine == tree.engine
        assert twin.explain() == tree.explain()
        np.testing.assert_array_equal(twin.predict(X), tree.predict(X))


def test_a_tree_deeper_than_any_stack():
    n = 20_001  # a comb: every right child is a leaf
    node = np.arange(n)
    is_split = (node % 2 == 0) & (node < n - 1)
    tree = Tree(
        np.where(is_split, 0, -2),
        np.where(is_split, -node / 2.0, -2),
        np.where(is_split, node + 2, -1),
        np.where(is_split, node + 1, -1),
        node[:, None],
        np.zeros(n, bool),
        1,
    )
    X = -np.arange(0, 10_000, 97.0)[:, None] + 0.5
    np.testing.assert_array_equal(tree.predict(X)[:, 0], -2 * (X[:, 0] - 0.5) + 1)


def test_nodes_out_of_reach_count_for_nothing():
    # Nodes 3 and 4 lead to each other and to leaf 5 and 6, but nothing leads there.
    tree = Tree(
        feature=[0, -2, -2, 0, 0, -2, -2],
        threshold=[0.0] * 7,
        left=[1, -1, -1, 4, 3, -1, -1],
        right=[2, -1, -1, 5, 6, -1, -1],
        value=np.ones((7, 1)),
        missing_go_to_left=[0] * 7,
        n_features_in=1,
    )
    assert (tree.n_nodes, tree.n_leaves) == (3, 2)
    assert tree.transform([[1.0]]).shape == (1, 2)


def test_explain_tells_what_runs():
    X, y = load_iris(return_X_y=True)
    model = DecisionTreeClassifier(max_depth=2).fit(X, y)
    head, titles, plan = from_sklearn(model).explain().splitlines()
    assert head.startswith("engine native")
    assert head.endswith("4 -> 3")
    assert "8+ rows" in titles
    assert plan.split()[:4] == ["5", "3", "2", "refused"]
    assert "allowed" in from_sklearn(model, allow_nan=True).explain()
    assert "interleaved" not in from_sklearn(model).explain(n_rows=7)
    assert "row by row" not in from_sklearn(model).explain(n_rows=8)
    assert "numpy" in from_sklearn(model, "scipy").explain()


GOOD = {
    "feature": [0, -2, -2],
    "threshold": [0.5, -2.0, -2.0],
    "left": [1, -1, -1],
    "right": [2, -1, -1],
    "value": [[0.0], [1.0], [2.0]],
    "missing_go_to_left": [0, 0, 0],
    "n_features_in": 1,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": [0, -1, -1]}, "node 0 is reached twice"),
        ({"left": [2, -1, -1]}, "node 2 is reached twice"),
        ({"left": [1, 0, -1], "right": [2, 2, -1]}, "reached twice"),
        ({"left": [3, -1, -1]}, r"lie in \[0, 3\)"),
        ({"left": [-2, -1, -1]}, r"lie in \[0, 3\)"),
        ({"left": [-1, -1, -1]}, r"lie in \[0, 3\)"),
        ({"right": [2**40, -1, -1]}, r"lie in \[0, 3\)"),
        ({"left": [1.0, -1.0, -1.0]}, "left must be a vector of int64"),
        ({"right": [2, -1]}, "right must have 3 entries"),
        ({"feature": [1, -2, -2]}, r"feature must lie in \[0, 1\)"),
        ({"feature": [-2, -2, -2]}, r"feature must lie in \[0, 1\)"),
        ({"feature": []}, "feature must be a vector|1 to"),
        ({"feature": np.zeros(0, int), "threshold": np.zeros(0)}, "left must have 0 entries"),
        ({"threshold": [np.nan, 0, 0]}, "threshold must not be NaN"),
        ({"threshold": ["a", "b", "c"]}, "threshold must be a vector"),
        ({"value": [0.0, 1.0, 2.0]}, "value must be a numeric matrix"),
        ({"value": [[0.0], [1.0]]}, "value must have shape"),
        ({"value": np.zeros((3, 0))}, "value must have shape"),
        ({"missing_go_to_left": [0]}, "missing_go_to_left must have 3 entries"),
        ({"n_features_in": 0}, "n_features_in must be at least 1"),
        ({"missing_go_to_left": [2] * 3}, "missing_go_to_left must hold booleans"),
        ({"value": np.full((3, 1), np.nan)}, "value must not hold NaN"),
        ({"engine": "cuda"}, "engine must be one of"),
    ],
)
def test_bad_trees_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Tree(**(GOOD | change))


def test_a_number_of_columns_is_not_cut_to_a_whole_one():
    with pytest.raises(TypeError, match=r"n_features_in must be an int, but it is 2\.7"):
        Tree(**(GOOD | {"n_features_in": 2.7}))


def test_nothing_at_all_is_no_tree():
    empty = np.zeros(0, int)
    with pytest.raises(ValueError, match="must have 1 to"):
        Tree(empty, empty * 1.0, empty, empty, np.zeros((0, 1)), empty, 1)


def test_the_tree_does_not_change_with_its_sources():
    value = np.array([[0.0], [1.0], [2.0]])
    tree = Tree(**(GOOD | {"value": value}))
    value[:] = 9
    assert tree.predict([[0.0]]) == [[1]]
    assert tree.with_engine("scipy").predict([[0.0]]) == [[1]]
