"""CostComplexityPruner against scikit-learn's own ccp_alpha, and against all subtrees."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    export_text,
    plot_tree,
)

from skprune import CostComplexityPruner
from tests.trees.pruners.cases import (
    CASES,
    DATA,
    N_ROWS,
    TREES,
    WEIGHT,
    X,
    assert_equal_node_for_node,
    predict_with_scipy,
    subtrees,
    target,
)

every_tree = pytest.mark.parametrize("kind", TREES)


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    """An unfitted tree and its X, y, sample_weight."""
    kind, data = request.param
    rows, outputs, weight = DATA[data]
    return clone(TREES[kind]), rows, target(kind, outputs), weight


def fitted(kind, **params):
    return CostComplexityPruner(TREES[kind], **params).fit(X, target(kind))


# --- scikit-learn as the oracle -----------------------------------------------------------


def midpoints(alphas, at_most):
    """Points between neighbouring alphas, where no last bit decides; spread over the path."""
    alphas = np.unique(np.maximum(alphas, 0))
    apart = np.diff(alphas) > 1e-9
    middle = (alphas[:-1] + alphas[1:])[apart] / 2
    return middle[np.unique(np.linspace(0, len(middle) - 1, at_most).astype(int))]


def test_same_tree_as_scikit_learns_between_any_two_alphas(case):
    tree, rows, y, weight = case
    path = tree.cost_complexity_pruning_path(rows, y, sample_weight=weight)
    for alpha in [0.0, *midpoints(path.ccp_alphas, 8), 2 * path.ccp_alphas[-1] + 1]:
        pruner = CostComplexityPruner(tree, ccp_alpha=alpha).fit(rows, y, sample_weight=weight)
        oracle = clone(tree).set_params(ccp_alpha=alpha).fit(rows, y, sample_weight=weight)
        assert_equal_node_for_node(pruner.estimator_, oracle)
        assert_array_equal(pruner.predict(rows), oracle.predict(rows))


SMALL = np.random.default_rng(0)
COUNTS = [
    (SMALL.integers(0, 5, (n, 3)).astype(float), SMALL.integers(0, 3, n)) for n in (12, 25, 40, 60)
]
COUNTS.append((np.arange(4.0)[:, None], np.array([1, 0, 1, 0])))
TOY = [[-2, -1], [-1, -1], [-1, -2], [1, 1], [1, 2], [2, 1]]
COUNTS.append((np.array(TOY, dtype=float), np.array([-1, -1, -1, 1, 1, 1])))


def all_prices(tree, rows, y, weight):
    """List 0, every price of scikit-learn's path, its neighbours in float64, and midpoints."""
    path = tree.cost_complexity_pruning_path(rows, y, sample_weight=weight)
    alphas = np.unique(np.abs(path.ccp_alphas))
    between = (alphas[1:] + alphas[:-1]) / 2
    return np.unique([0, *alphas, *between, *np.nextafter(alphas, 0), *np.nextafter(alphas, 9)])


def assert_equal_at(prices, tree, rows, y, weight):
    pruner = CostComplexityPruner(tree, ccp_alpha=0.0)
    path = pruner.path(rows, y, prices, param_name="ccp_alpha", sample_weight=weight)
    for alpha, pruned in zip(prices, path, strict=True):
        oracle = clone(tree).set_params(ccp_alpha=alpha).fit(rows, y, sample_weight=weight)
        assert_equal_node_for_node(pruned.estimator_, oracle)


@pytest.mark.parametrize("weigh", [False, True])
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(
    "tree",
    [
        DecisionTreeClassifier(random_state=0),
        DecisionTreeClassifier(criterion="entropy", max_leaf_nodes=9, random_state=0),
        DecisionTreeClassifier(class_weight="balanced", random_state=0),
        DecisionTreeRegressor(random_state=0),
        DecisionTreeRegressor(criterion="absolute_error", random_state=0),
        ExtraTreeClassifier(random_state=0),
    ],
    ids=str,
)
def test_same_tree_as_scikit_learns_at_each_of_its_prices_though_counts_tie(tree, outputs, weigh):
    for rows, y in COUNTS:
        targets = np.stack([y, y[::-1]], axis=1)[:, :outputs]
        weight = np.arange(len(y)) % 3 + 0.1 if weigh else None
        prices = all_prices(tree, rows, targets, weight)
        assert_equal_at(prices, tree, rows, targets, weight)


@pytest.mark.parametrize(
    ("load", "tree"),
    [
        (load_iris, DecisionTreeClassifier(random_state=0)),
        (load_digits, DecisionTreeClassifier(max_depth=8, random_state=0)),
        (load_diabetes, DecisionTreeRegressor(max_leaf_nodes=100, random_state=0)),
    ],
)
def test_same_tree_as_scikit_learns_at_each_of_its_prices(load, tree):
    rows, y = (part[:600] for part in load(return_X_y=True))
    prices = all_prices(tree, rows, y, None)
    assert_equal_at(prices[:: 1 + len(prices) // 60], tree, rows, y, None)


def test_a_price_of_one_sixth_is_reached():
    pruner = CostComplexityPruner(DecisionTreeClassifier(), ccp_alpha=1 / 6)
    assert pruner.fit([[0], [1], [2], [3]], [1, 0, 1, 0]).estimator_.tree_.node_count == 1


def test_predictions_are_those_of_the_pruned_tree_to_the_bit(case):
    tree, rows, y, weight = case
    pruner = CostComplexityPruner(tree, sparsity=0.6).fit(rows, y, sample_weight=weight)
    assert_array_equal(pruner.predict(rows), pruner.estimator_.predict(rows))
    if hasattr(pruner, "predict_proba"):
        ours, theirs = pruner.predict_proba(rows), pruner.estimator_.predict_proba(rows)
        for a, b in zip(np.atleast_3d(ours), np.atleast_3d(theirs), strict=True):
            assert_array_equal(a, b)


def test_sparsity_zero_removes_nothing(case):
    tree, rows, y, weight = case
    pruner = CostComplexityPruner(tree, sparsity=0.0).fit(rows, y, sample_weight=weight)
    oracle = clone(tree).fit(rows, y, sample_weight=weight)
    assert pruner.sparsity_ == 0
    assert_equal_node_for_node(pruner.estimator_, oracle)
    assert_array_equal(pruner.predict(rows), oracle.predict(rows))


# --- the three ways to say how much -------------------------------------------------------


@every_tree
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.77, 0.95])
def test_sparsity_is_met_from_above_and_counts_splits(kind, sparsity):
    pruner = fitted(kind, sparsity=sparsity)
    full = fitted(kind, sparsity=0.0).estimator_.get_n_leaves() - 1
    kept = pruner.estimator_.get_n_leaves() - 1
    assert pruner.sparsity_ == 1 - kept / full >= sparsity
    A = pruner.sparse_weights_["A"]
    assert A.shape[0] == full
    assert pruner.sparsity_ == 1 - A.nnz / A.shape[0]


@every_tree
def test_sparsity_takes_the_first_subtree_of_the_path_that_is_sparse_enough(kind):
    alphas = TREES[kind].cost_complexity_pruning_path(X, target(kind)).ccp_alphas
    full = fitted(kind, sparsity=0.0).estimator_.get_n_leaves() - 1
    sizes = [
        fitted(kind, ccp_alpha=alpha).estimator_.get_n_leaves() - 1
        for alpha in midpoints(alphas, 1000)
    ]
    expected = max(size for size in [full, *sizes, 0] if 1 - size / full >= 0.6)
    assert fitted(kind, sparsity=0.6).estimator_.get_n_leaves() - 1 == expected


@every_tree
def test_sparsity_one_leaves_the_root(kind):
    pruner = fitted(kind, sparsity=1.0)
    assert pruner.sparsity_ == 1
    assert pruner.estimator_.tree_.node_count == 1
    assert len(np.unique(pruner.predict(X))) == 1
    assert pruner.transform(X).shape == (N_ROWS, 1)
    assert pruner.sparse_weights_["A"].nnz == 0


@every_tree
@pytest.mark.parametrize("n_leaves", [1, 2, 5, 11, 10_000])
def test_max_leaf_nodes_takes_the_largest_subtree_that_fits(kind, n_leaves):
    pruner = fitted(kind, max_leaf_nodes=n_leaves)
    found = pruner.estimator_.get_n_leaves()
    assert found <= n_leaves
    larger = {fitted(kind, sparsity=s / 100).estimator_.get_n_leaves() for s in range(0, 100, 3)}
    assert not any(found < size <= n_leaves for size in larger)


@every_tree
def test_history_tells_of_the_full_and_the_pruned_tree(kind):
    pruner = fitted(kind, max_leaf_nodes=6)
    full, pruned = pruner.pruning_history_
    assert full["sparsity"] == 0
    assert full["ccp_alpha"] == 0
    assert pruned["n_leaves"] == pruner.estimator_.get_n_leaves()
    assert pruned["sparsity"] == pruner.sparsity_
    just_above = fitted(kind, ccp_alpha=pruned["ccp_alpha"] * (1 + 1e-9))
    assert_equal_node_for_node(just_above.estimator_, pruner.estimator_)


def test_tree_without_splits_has_sparsity_zero():
    for params in ({"sparsity": 0.9}, {"sparsity": 0.0}, {"ccp_alpha": 1.0}, {}):
        pruner = CostComplexityPruner(DecisionTreeRegressor(), **params).fit(X, np.ones(N_ROWS))
        assert pruner.sparsity_ == 0
        assert_array_equal(pruner.predict(X), np.ones(N_ROWS))
        assert pruner.transform(X).shape == (N_ROWS, 1)
        assert pruner.sparse_weights_["A"].shape == (0, 5)


def test_trees_own_limits_and_ccp_alpha_hold_before_ours():
    limited = DecisionTreeClassifier(max_depth=3, ccp_alpha=0.02, random_state=0)
    pruner = CostComplexityPruner(limited, sparsity=0.0).fit(X, target("classifier"))
    assert_equal_node_for_node(pruner.estimator_, clone(limited).fit(X, target("classifier")))


# --- all subtrees as the oracle -----------------------------------------------------------


@pytest.mark.parametrize("risk", ["impurity", "misclassification"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("alpha", [1e-9, 0.003, 0.011, 0.03, 0.1])
def test_no_subtree_is_cheaper(risk, weight, alpha):
    stump = DecisionTreeClassifier(max_depth=4, random_state=0)
    y = target("classifier")
    full = clone(stump).fit(X, y, sample_weight=weight).tree_
    share = full.weighted_n_node_samples / full.weighted_n_node_samples[0]
    errors = full.impurity if risk == "impurity" else 1 - full.value[:, 0].max(axis=1)
    candidates = subtrees(full, share * errors)
    best = min(r + alpha * n for r, n in candidates)
    fewest = min(n for r, n in candidates if r + alpha * n < best + 1e-12)

    pruner = CostComplexityPruner(stump, ccp_alpha=alpha, risk=risk)
    pruned = pruner.fit(X, y, sample_weight=weight).estimator_
    assert pruned.get_n_leaves() == fewest
    if risk == "misclassification":
        wrong = np.average(pruner.predict(X) != y, weights=weight)
        assert wrong + alpha * fewest == pytest.approx(best, abs=1e-12)


def test_misclassification_drops_splits_that_change_no_label():
    full = fitted("classifier", sparsity=0.0)
    pruner = fitted("classifier", ccp_alpha=1e-12, risk="misclassification")
    assert pruner.score(X, target("classifier")) == full.score(X, target("classifier"))
    stopped = DecisionTreeClassifier(min_samples_leaf=15, random_state=0)
    y = target("classifier")
    pruner = CostComplexityPruner(stopped, ccp_alpha=1e-12, risk="misclassification").fit(X, y)
    full = clone(stopped).fit(X, y)
    assert_array_equal(pruner.predict(X), full.predict(X))
    assert pruner.estimator_.get_n_leaves() < full.get_n_leaves()
    tree = pruner.estimator_.tree_
    label = tree.value[:, 0].argmax(axis=1)
    both_leaves = [
        (a, b)
        for a, b in zip(tree.children_left, tree.children_right, strict=True)
        if a > 0 and tree.children_left[a] < 0 and tree.children_left[b] < 0
    ]
    assert both_leaves
    assert all(label[a] != label[b] for a, b in both_leaves)


# --- the forms of the result --------------------------------------------------------------


@pytest.mark.parametrize("sparsity", [0.0, 0.6, 1.0])
def test_sparse_weights_predict_with_scipy_alone(case, sparsity):
    tree, rows, y, weight = case
    pruner = CostComplexityPruner(tree, sparsity=sparsity).fit(rows, y, sample_weight=weight)
    predicted = predict_with_scipy(pruner.sparse_weights_, rows)
    if not hasattr(pruner, "predict_proba"):
        assert_array_equal(predicted, pruner.predict(rows).reshape(N_ROWS, -1))
        return
    proba = pruner.predict_proba(rows)
    expected = np.concatenate(proba, axis=1) if isinstance(proba, list) else proba
    assert_array_equal(predicted, expected)


def test_transform_is_the_one_hot_of_apply(case):
    tree, rows, y, weight = case
    pruner = CostComplexityPruner(tree, sparsity=0.5).fit(rows, y, sample_weight=weight)
    leaves = np.flatnonzero(pruner.estimator_.tree_.children_left < 0)
    expected = pruner.estimator_.apply(rows)[:, None] == leaves
    Xt = pruner.transform(rows)
    assert Xt.format == "csr"
    assert_array_equal(Xt.toarray(), expected)
    dense = pruner.set_params(sparse_output=False).transform(rows)
    assert isinstance(dense, np.ndarray)
    assert_array_equal(dense, expected)


def test_both_engines_agree_to_the_bit(case):
    tree, rows, y, weight = case
    native, scipy = (
        CostComplexityPruner(tree, sparsity=0.4, engine=engine).fit(rows, y, sample_weight=weight)
        for engine in ("native", "scipy")
    )
    assert_array_equal(native.predict(rows), scipy.predict(rows))
    assert (native.transform(rows) != scipy.transform(rows)).nnz == 0


def test_estimator_is_a_real_tree_to_print_and_plot():
    pruner = fitted("classifier", max_leaf_nodes=4)
    text = export_text(pruner.estimator_)
    assert text.count("class:") == 4
    figure, ax = plt.subplots()
    boxes = plot_tree(pruner.estimator_, ax=ax)
    plt.close(figure)
    assert sum("samples" in box.get_text() for box in boxes) == 7  # 4 leaves, 3 splits


@every_tree
def test_frozen_tree_gives_the_same_as_one_grown_in_fit(kind):
    tree = clone(TREES[kind]).fit(X, target(kind))
    n_nodes = tree.tree_.node_count
    pruner = CostComplexityPruner(FrozenEstimator(tree), sparsity=0.5).fit(X)
    assert_equal_node_for_node(pruner.estimator_, fitted(kind, sparsity=0.5).estimator_)
    assert tree.tree_.node_count == n_nodes > pruner.estimator_.tree_.node_count


def test_a_tree_as_deep_as_it_has_rows_is_pruned():
    # each split takes one row off: no call frame a level, here nor in pickle
    n = 1500
    rows, y = np.arange(n, dtype=float)[:, None], 2.0 ** (np.arange(n) / 20)
    pruner = CostComplexityPruner(DecisionTreeRegressor(), sparsity=0.5).fit(rows, y)
    assert_array_equal(pruner.predict(rows), pruner.estimator_.predict(rows))
    assert pruner.sparsity_ >= 0.5


def test_best_first_tree_is_reordered_at_any_price_but_zero(iris):
    tree = DecisionTreeClassifier(max_leaf_nodes=8, random_state=0)
    for alpha in (0.0, 1e-9):
        ours = CostComplexityPruner(tree, ccp_alpha=alpha).fit(*iris).estimator_.tree_
        theirs = clone(tree).set_params(ccp_alpha=alpha).fit(*iris).tree_
        np.testing.assert_array_equal(ours.feature, theirs.feature)
        np.testing.assert_array_equal(ours.value, theirs.value)


@pytest.mark.parametrize(
    ("kind", "scale", "weight"), [("regressor", 1e200, 1.0), ("classifier", 1, 1e300)]
)
def test_sums_that_overflow_are_refused_with_what_to_do(kind, scale, weight):
    pruner = CostComplexityPruner(TREES[kind], sparsity=0.5)
    with pytest.raises(ValueError, match="Scale y or sample_weight"):
        pruner.fit(X, scale * target(kind), sample_weight=np.full(N_ROWS, weight))
