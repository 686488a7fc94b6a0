"""The pruning path, against scikit-learn's own, against brute force, and at size."""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from skprune.trees.core import weakest_link
from skprune.trees.core.arrays import TreeArrays, prune_sklearn_tree
from skprune.trees.core.risks import impurity_risk, misclassification_risk
from skprune.trees.core.weakest_link import PruningPath, node_alphas, pruning_path

# -- scikit-learn is the oracle --------------------------------------------------------------------

REGRESSORS = {
    "squared": DecisionTreeRegressor(),
    "squared, large leaves": DecisionTreeRegressor(min_samples_leaf=2),
    "absolute": DecisionTreeRegressor(criterion="absolute_error", max_depth=7),
    "poisson": DecisionTreeRegressor(criterion="poisson"),
    "best first": DecisionTreeRegressor(max_leaf_nodes=45),
    "extra": ExtraTreeRegressor(),
    "random": DecisionTreeRegressor(splitter="random", max_features=1),
    "monotonic": DecisionTreeRegressor(monotonic_cst=[1, 0, -1, 0]),
}
CLASSIFIERS = {
    "gini": DecisionTreeClassifier(),
    "entropy": DecisionTreeClassifier(criterion="entropy", class_weight="balanced"),
    "best first": DecisionTreeClassifier(max_leaf_nodes=30),
    "extra": ExtraTreeClassifier(),
    "extra best first": ExtraTreeClassifier(max_leaf_nodes=40),
}
REFUSED_BY_SCIKIT_LEARN = {
    ("absolute", "missing"),
    ("monotonic", "missing"),
    ("monotonic", "multi-output"),
}
VARIANTS = ("plain", "weights", "missing", "multi-output", "ties")
PROBLEMS = [
    (kind, name, variant)
    for kind, estimators in (("regressor", REGRESSORS), ("classifier", CLASSIFIERS))
    for name, variant in product(estimators, VARIANTS)
    if (name, variant) not in REFUSED_BY_SCIKIT_LEARN
]


def make_problem(kind, name, variant):
    """Return (estimator, X, y, sample_weight), drawn from a seed that the problem's name fixes."""
    rng = np.random.default_rng(list(f"{kind} {name} {variant}".encode()))
    estimator = clone((REGRESSORS if kind == "regressor" else CLASSIFIERS)[name])
    n = int(rng.integers(120, 220))
    X = rng.normal(size=(n, 4))
    signal = np.abs(np.sin(2 * X[:, 0]) + X[:, 1] ** 2 + rng.normal(scale=0.5, size=n))
    weight = None
    if variant == "weights":
        weight = rng.exponential(size=n) * (rng.random(n) > 0.1)
    elif variant == "ties":
        # Mirrored rows grow mirrored branches, of alphas that are equal but for rounding.
        X = np.round(X)
        X, signal = np.vstack([X - 20, X + 20]), np.round(np.tile(signal, 2))
    elif variant == "missing":
        X[rng.random(X.shape) < 0.15] = np.nan
    y = signal if kind == "regressor" else np.digitize(signal, [0.7, 1.5])
    if variant == "multi-output":
        y = np.column_stack([y, signal[::-1] if kind == "regressor" else X[:, 2] > 0.3])
    return estimator.set_params(random_state=int(rng.integers(1000))), X, y, weight


def midpoints(alphas, at_most):
    """Return prices halfway between neighbouring alphas, and above the last, evenly thinned out."""
    alphas = np.sort(alphas)
    wide = np.diff(alphas) > 1e-9
    middle = (alphas[:-1] + alphas[1:])[wide] / 2
    middle = middle[middle > 0]
    chosen = np.linspace(0, len(middle) - 1, min(at_most, len(middle))).astype(int)
    return [*middle[chosen], 2 * alphas[-1] + 1]


def assert_same_tree(actual, expected):
    actual, expected = actual.__getstate__(), expected.__getstate__()
    assert actual["max_depth"] == expected["max_depth"]
    assert actual["node_count"] == expected["node_count"]
    for name in expected["nodes"].dtype.names:
        assert_array_equal(actual["nodes"][name], expected["nodes"][name], err_msg=name)
    assert_array_equal(actual["values"], expected["values"])


def path_of(tree_, risk=impurity_risk):
    tree = TreeArrays.from_sklearn(tree_)
    return pruning_path(tree.left, tree.right, risk(tree))


def check_against_scikit_learn(estimator, X, y, weight, at_most):
    full = clone(estimator).fit(X, y, sample_weight=weight).tree_
    theirs = estimator.cost_complexity_pruning_path(X, y, sample_weight=weight).ccp_alphas
    path = path_of(full)
    # The alphas agree as sets: theirs repeat where ours are one step, or the reverse.
    for some, others in ((theirs[1:], path.alphas[1:]), (path.alphas[1:], theirs[1:])):
        assert np.abs(some[:, None] - others).min(axis=1).max() < 1e-9 * max(
            1, np.abs(theirs).max()
        )

    prices = midpoints(theirs, at_most)
    assert len(prices) > 4
    for alpha in prices:
        pruned = prune_sklearn_tree(full, path.collapsed(path.step_for_alpha(alpha)))
        expected = clone(estimator).set_params(ccp_alpha=alpha).fit(X, y, sample_weight=weight)
        assert_same_tree(pruned, expected.tree_)
    return full


@pytest.mark.parametrize(("kind", "name", "variant"), PROBLEMS)
def test_equals_scikit_learn_node_for_node(kind, name, variant):
    estimator, X, y, weight = make_problem(kind, name, variant)
    full = check_against_scikit_learn(estimator, X, y, weight, at_most=12)
    assert full.node_count > 30


def test_there_are_at_least_40_problems():
    assert len(PROBLEMS) >= 40


@pytest.mark.parametrize("missing", [False, True])
def test_equals_scikit_learn_on_a_tree_deeper_than_1000(missing):
    # Alternating labels come off one row at a time; random ones give the path more than one alpha.
    X = np.arange(1700.0)[:, None]
    y = np.where(X[:, 0] < 1300, X[:, 0] % 2, np.random.default_rng(0).random(1700) > 0.4)
    if missing:
        X[-5:] = np.nan
    full = check_against_scikit_learn(
        DecisionTreeClassifier(random_state=0), X, y, weight=None, at_most=10
    )
    assert full.max_depth > 1000


def test_prices_and_their_order_are_scikit_learns_to_the_bit():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 9, (300, 3)), rng.integers(0, 2, 300)
    tree = DecisionTreeClassifier(random_state=0)
    theirs = tree.cost_complexity_pruning_path(X, y).ccp_alphas[1:]
    path = path_of(tree.fit(X, y).tree_)
    assert path.exact
    assert_array_equal(np.unique(path.alphas[1:]), np.unique(np.maximum.accumulate(theirs)))


def test_a_price_within_rounding_is_reached_where_trees_are_too_large_for_exact_ones(monkeypatch):
    monkeypatch.setattr(weakest_link, "MOST_STEPS_UP", 0)
    X, y = np.arange(4.0)[:, None], [1, 0, 1, 0]
    tree = DecisionTreeClassifier(random_state=0)
    path = path_of(tree.fit(X, y).tree_)
    assert not path.exact
    asked = tree.cost_complexity_pruning_path(X, y).ccp_alphas[-1]
    assert path.alphas[-1] > asked  # by the last bit
    assert path.collapsed(path.step_for_alpha(asked)).all()
    assert not path.collapsed(path.step_for_alpha(asked * (1 - 1e-9))).all()


def test_alpha_between_zero_and_the_first_keeps_all_as_scikit_learn_does():
    """scikit-learn renumbers a tree that was grown best-first even if it then prunes nothing."""
    estimator, X, y, _ = make_problem("regressor", "best first", "plain")
    full = clone(estimator).fit(X, y).tree_
    path = path_of(full)
    alpha = path.alphas[1] / 2
    assert path.step_for_alpha(alpha) == 0
    pruned = prune_sklearn_tree(full, path.collapsed(0))
    assert_same_tree(pruned, clone(estimator).set_params(ccp_alpha=alpha).fit(X, y).tree_)
    assert (pruned.children_left != full.children_left).any()


# -- brute force is the oracle ---------------------------------------------------------------------


def random_tree(rng, n_splits):
    """Split random leaves; children get the next free numbers, so the order is not depth first."""
    left, right = [-1], [-1]
    for _ in range(n_splits):
        node = rng.choice(np.flatnonzero(np.array(left) == -1))
        left[node], right[node] = len(left), len(left) + 1
        left += [-1, -1]
        right += [-1, -1]
    return np.array(left), np.array(right)


def all_subtrees(left, right, node=0):
    """Yield every pruned subtree below `node`, as the frozenset of its splits."""
    yield frozenset()
    if left[node] != -1:
        for one in all_subtrees(left, right, left[node]):
            for other in all_subtrees(left, right, right[node]):
                yield one | other | {node}


def exact_risk(kept, left, right, risk):
    """Sum the risks of the leaves, exactly: from the root, each split trades one leaf for two."""
    total = Fraction(risk[0])
    for node in kept:
        total += Fraction(risk[left[node]]) + Fraction(risk[right[node]]) - Fraction(risk[node])
    return total


def check_by_brute_force(left, right, risk):
    risk = np.asarray(risk, dtype=float).tolist()
    path = pruning_path(left, right, risk)
    subtrees = [
        (exact_risk(kept, left, right, risk), len(kept), kept) for kept in all_subtrees(left, right)
    ]
    kept_at = [frozenset(np.flatnonzero(~path.collapsed(step))) for step in range(path.n_steps)]
    assert [len(kept) for kept in kept_at] == path.n_splits.tolist()
    assert all(after < before for before, after in pairwise(kept_at))
    assert kept_at[0] == frozenset(np.flatnonzero(left != -1))
    assert kept_at[-1] == frozenset()

    for step in range(1, path.n_steps):  # each is a best subtree at its own price, but for rounding
        alpha = Fraction(path.alphas[step])
        best = min(risk_of + alpha * size for risk_of, size, _ in subtrees)
        cost = exact_risk(kept_at[step], left, right, risk) + alpha * len(kept_at[step])
        assert float(cost - best) <= 1e-9

    prices = np.unique(path.alphas[1:])
    between = (prices[:-1] + prices[1:])[np.diff(prices) > 1e-9] / 2
    for alpha in (prices[0] - 1, *between, prices[-1] + 1):  # and between prices the only best one
        best = min((risk_of + Fraction(alpha) * size, size) for risk_of, size, _ in subtrees)
        (only,) = (
            kept
            for risk_of, size, kept in subtrees
            if (risk_of + Fraction(alpha) * size, size) == best
        )
        assert kept_at[path.step_for_alpha(alpha)] == only


@given(
    seed=st.integers(0, 10_000),
    n_splits=st.integers(1, 7),
    risk=st.lists(st.integers(-4, 4), min_size=15, max_size=15),
)
@settings(deadline=None)
def test_is_best_at_every_price_for_any_integer_risk(seed, n_splits, risk):
    left, right = random_tree(np.random.default_rng(seed), n_splits)
    check_by_brute_force(left, right, risk[: len(left)])


@pytest.mark.parametrize("risk", [impurity_risk, misclassification_risk])
@pytest.mark.parametrize("seed", range(12))
def test_is_best_at_every_price_on_small_classifiers(risk, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, 3))
    y = (X[:, 0] + rng.normal(size=60) > 0) + (X[:, 1] > 0.5)
    weight = rng.exponential(size=60) if seed % 2 else None
    full = DecisionTreeClassifier(max_leaf_nodes=8, random_state=seed).fit(X, y, weight).tree_
    check_by_brute_force(
        full.children_left, full.children_right, risk(TreeArrays.from_sklearn(full))
    )


def weakest_links_by_definition(left, right, risk):
    """Collapse the split of least gain per leaf, again and again, in exact arithmetic."""
    alphas = np.full(len(left), -np.inf)
    kept = set(np.flatnonzero(left != -1).tolist())

    def below(node):
        return {node} | below(left[node]) | below(right[node]) if node in kept else set()

    highest = None
    while kept:
        gains = {
            node: Fraction(int(risk[node]))
            - sum(
                Fraction(int(risk[child]))
                for split in below(node)
                for child in (left[split], right[split])
                if child not in kept
            )
            for node in kept
        }
        price, node = min((gains[node] / len(below(node)), node) for node in kept)
        highest = price if highest is None else max(highest, price)
        gone = below(node)
        alphas[list(gone)] = float(highest)
        kept -= gone
    return alphas


@pytest.mark.parametrize("seed", range(30))
def test_node_alphas_follow_the_definition(seed):
    rng = np.random.default_rng(seed)
    left, right = random_tree(rng, 30)
    risk = rng.integers(-3, 12, size=len(left))  # few values: many ties
    expected = weakest_links_by_definition(left, right, risk)
    assert_allclose(node_alphas(left, right, risk), expected, rtol=1e-12, atol=1e-12)


@given(st.integers(0, 10_000), st.integers(1, 40))
@settings(deadline=None)
def test_alphas_never_rise_on_the_way_down(seed, n_splits):
    rng = np.random.default_rng(seed)
    left, right = random_tree(rng, n_splits)
    alphas = node_alphas(left, right, rng.normal(size=len(left)).round(1))
    splits = np.flatnonzero(left != -1)
    assert (alphas[left[splits]] <= alphas[splits]).all()
    assert (alphas[right[splits]] <= alphas[splits]).all()
    assert_array_equal(np.isneginf(alphas), left == -1)


# -- ties ------------------------------------------------------------------------------------------


def test_equal_alphas_collapse_descendants_first_and_right_before_left():
    #        0            All three splits gain 1.
    #      /   \
    #     1     2
    #    / \   / \
    #   3   4 5   6
    left, right = [1, 3, 5, -1, -1, -1, -1], [2, 4, 6, -1, -1, -1, -1]
    path = pruning_path(left, right, [3.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    assert path.alphas.tolist() == [-np.inf, 1.0, 1.0, 1.0]
    assert path.node_steps.tolist() == [3, 2, 1, 0, 0, 0, 0]
    assert path.step_for_alpha(1.0) == 3
    assert path.step_for_sparsity(0.3) == 1


# -- choices ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def path():
    estimator, X, y, _ = make_problem("regressor", "squared", "plain")
    return path_of(estimator.fit(X, y).tree_)


def test_sparsity_takes_the_fewest_collapses(path):
    full = path.n_splits[0]
    for sparsity in np.linspace(0, 1, 301):
        step = path.step_for_sparsity(sparsity)
        # Rounded: 148 of 185 splits left is a sparsity of 0.2, but in floats 1 - 148 / 185 < 0.2.
        assert round(1 - path.n_splits[step] / full, 12) >= round(sparsity, 12)
        assert step == 0 or round(1 - path.n_splits[step - 1] / full, 12) < round(sparsity, 12)
    assert path.step_for_sparsity(0) == 0
    assert path.n_splits[path.step_for_sparsity(1)] == 0


def test_sparsity_zero_keeps_worthless_splits():
    path = pruning_path([1, -1, -1], [2, -1, -1], [0.0, 1.0, 1.0])
    assert path.alphas[1] == -2.0
    assert path.step_for_sparsity(0.0) == 0
    assert path.step_for_alpha(0.0) == 1


def test_max_leaf_nodes_takes_the_largest_subtree(path):
    for k in range(1, path.n_leaves[0] + 3):
        step = path.step_for_max_leaf_nodes(k)
        assert path.n_leaves[step] == max(n for n in path.n_leaves if n <= k)


def test_alpha_keeps_splits_that_are_worth_more(path):
    for alpha in (-1.0, 0.0, *path.alphas[1::7], np.inf, -np.inf):
        step = path.step_for_alpha(alpha)
        assert_array_equal(path.collapsed(step), ~(path.node_alphas > alpha))


@given(st.integers(1, 10**6), st.data())
def test_sparsity_written_as_a_fraction_of_splits_is_met_exactly(n_splits, data):
    kept = data.draw(st.integers(0, n_splits))
    one_by_one = PruningPath(
        alphas=np.arange(-1.0, n_splits),
        n_splits=np.arange(n_splits, -1, -1),
        node_steps=np.zeros(1, dtype=np.intp),
        rounding=np.zeros(n_splits + 1),
    )
    for sparsity in (1 - kept / n_splits, (n_splits - kept) / n_splits):
        assert one_by_one.n_splits[one_by_one.step_for_sparsity(sparsity)] == kept


def test_a_large_risk_elsewhere_makes_no_gain_worthless():
    left, right = [1, 3, 5, -1, -1, -1, -1], [2, 4, 6, -1, -1, -1, -1]
    # the left branch gains 1e-3 and lies beside one that 1e13 passes through; the top gains nothing
    path = pruning_path(left, right, [1e13 + 1e-3, 1e-3, 1e13, 0.0, 0.0, 1e12, 1e12])
    assert path.last_worthless_step == 0
    # of a gain, rounding is judged by the risks that it is the difference of: 0.1 + 0.2 - 0.3
    assert pruning_path([1, -1, -1], [2, -1, -1], [0.3, 0.1, 0.2]).last_worthless_step == 1
    assert pruning_path([1, -1, -1], [2, -1, -1], [0.1 + 0.2, 0.3, 0.0]).last_worthless_step == 1


def test_sparsities_are_those_counted_on_the_splits(path):
    assert path.sparsities[0] == 0.0
    assert path.sparsities[-1] == 1.0
    for step, sparsity in enumerate(path.sparsities):
        assert path.step_for_sparsity(sparsity) == step


def test_a_tree_without_splits():
    path = pruning_path([-1], [-1], [0.3])
    assert (path.n_steps, path.n_leaves.tolist(), path.sparsities.tolist()) == (1, [1], [0.0])
    assert path.alphas.tolist() == path.node_alphas.tolist() == [-np.inf]
    assert path.step_for_alpha(np.inf) == path.step_for_sparsity(1.0) == 0
    assert path.step_for_max_leaf_nodes(1) == 0
    assert path.collapsed(0).tolist() == [True]


@pytest.mark.parametrize(
    ("method", "argument", "message"),
    [
        ("step_for_sparsity", 1.5, "sparsity .* got 1.5"),
        ("step_for_sparsity", -0.1, "sparsity"),
        ("step_for_sparsity", np.nan, "sparsity"),
        ("step_for_max_leaf_nodes", 0, "max_leaf_nodes must be at least 1"),
        ("step_for_alpha", np.nan, "alpha"),
        ("collapsed", -1, "step"),
        ("collapsed", 10_000, "step"),
    ],
)
def test_bad_choices_are_refused(path, method, argument, message):
    with pytest.raises(ValueError, match=message):
        getattr(path, method)(argument)


@pytest.mark.parametrize("risk", [[1.0, 0.0], [[1.0, 0.0, 0.0]], [1.0, np.nan, 0], [np.inf, 0, 0]])
def test_bad_risks_are_refused(risk):
    with pytest.raises(ValueError, match="risk must"):
        pruning_path([1, -1, -1], [2, -1, -1], risk)


def test_a_cycle_is_refused():
    with pytest.raises(ValueError, match="cycle"):
        pruning_path([1, -1, -1, 4, 3, -1, -1], [2, -1, -1, 5, 6, -1, -1], np.zeros(7))


# -- size ------------------------------------------------------------------------------------------


def chain(n_splits):
    splits = np.arange(n_splits)
    left, right = np.full((2, 2 * n_splits + 1), -1)
    left[:n_splits] = n_splits + 1 + splits
    right[:n_splits] = splits + 1
    return left, right


def test_a_chain_of_100_000_that_collapses_one_by_one():
    n = 100_000
    left, right = chain(n)
    gains = np.arange(n, 0, -1.0)  # the root gains most
    risk = np.zeros(2 * n + 1)
    risk[:n] = np.cumsum(gains[::-1])[::-1]
    path = pruning_path(left, right, risk)
    assert_array_equal(path.alphas[1:], np.arange(1.0, n + 1))
    assert_array_equal(path.node_steps[:n], np.arange(n, 0, -1))


def test_a_chain_of_100_000_that_collapses_at_once():
    n = 100_000
    left, right = chain(n)
    gains = np.arange(1.0, n + 1)  # the root gains least
    risk = np.zeros(2 * n + 1)
    risk[:n] = np.cumsum(gains[::-1])[::-1]
    path = pruning_path(left, right, risk)
    assert path.alphas.tolist() == [-np.inf, (n + 1) / 2]
    assert (path.node_steps[:n] == 1).all()


def test_a_balanced_tree_of_131_071_nodes():
    n_splits = 2**16 - 1
    left, right = np.full((2, 2 * n_splits + 1), -1)
    left[:n_splits] = 2 * np.arange(n_splits) + 1
    right[:n_splits] = 2 * np.arange(n_splits) + 2
    gains = np.random.default_rng(0).permutation(n_splits) + 1.0
    gains *= 10.0 ** -np.floor(np.log2(np.arange(n_splits) + 1))  # each level is worth a tenth
    risk = np.zeros(2 * n_splits + 1)
    for node in range(n_splits - 1, -1, -1):
        risk[node] = gains[node] + risk[left[node]] + risk[right[node]]
    path = pruning_path(left, right, risk)
    # Alphas pool to block means: the price of all splits together is what they gain together.
    assert_allclose((path.alphas[1:] * -np.diff(path.n_splits)).sum(), risk[0], rtol=1e-9)
    assert (np.diff(path.alphas) >= 0).all()
