"""ErrorBasedPruner against recursive forms of C4.5's rule, with and without subtree raising."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import beta
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import AdaBoostClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from skprune import ErrorBasedPruner
from tests.trees.pruners.cases import (
    CASES,
    DATA,
    LABELS,
    N_ROWS,
    RNG,
    TREES,
    WEIGHT,
    X,
    assert_equal_node_for_node,
    predict_with_scipy,
    subtrees,
    target,
)

CASES = [(kind, data) for kind, data in CASES if "regressor" not in kind]
every_case = pytest.mark.parametrize(("kind", "data"), CASES, ids="-".join)


def data_of(kind, data):
    rows, outputs, weight = DATA[data]
    return rows, target(kind, outputs), weight


def bound(counts, confidence):
    """Errors that C4.5 expects of class counts, one row of them an output."""
    found = []
    for classes in counts:
        n, e = classes.sum(), classes.sum() - classes.max()
        found.append(n * (beta.ppf(1 - confidence, e + 1, n - e) if e < n else 1))
    return np.mean(found)


class Oracle:
    """C4.5's pruning as the book tells it: recursive, with the rows themselves at every node.

    A node is a number, the label counts of its rows are taken anew each time it is looked at, and
    a pruned branch is None for a leaf, or (node, left, right).
    """

    def __init__(self, tree, X, y, weight, confidence=0.25, raising=False):
        self.tree, self.X = tree.tree_, X.astype(np.float32)
        y = y.reshape(len(y), -1)
        self.y = [np.unique(column, return_inverse=True)[1] for column in y.T]
        self.weight = np.ones(len(X)) if weight is None else weight
        self.cases = self.weight / self.weight[self.weight > 0].mean()
        self.confidence, self.raising = confidence, raising

    def grown(self, node=0):
        if self.tree.children_left[node] < 0:
            return None
        children = self.tree.children_left[node], self.tree.children_right[node]
        return (node, *(self.grown(child) for child in children))

    def parted(self, node, rows):
        x = self.X[rows, self.tree.feature[node]]
        left = x <= self.tree.threshold[node]
        left |= np.isnan(x) & bool(self.tree.missing_go_to_left[node])
        return rows[left], rows[~left]

    def as_leaf(self, rows):
        return bound([np.bincount(y[rows], self.cases[rows]) for y in self.y], self.confidence)

    def errors(self, branch, rows):
        if branch is None:
            return self.as_leaf(rows)
        node, *children = branch
        return sum(map(self.errors, children, self.parted(node, rows)))

    def prune(self, branch, rows):
        if branch is None:
            return None
        node, *children = branch
        parts = self.parted(node, rows)
        children = list(map(self.prune, children, parts))
        mine = self.errors((node, *children), rows)
        leaf = self.as_leaf(rows)
        if not self.raising:
            return None if leaf <= mine + 0.1 else (node, *children)
        weights = [self.weight[part].sum() for part in parts]
        larger = children[int(weights[1] > weights[0])]
        raised = self.errors(larger, rows)
        if leaf <= mine + 0.1 and leaf <= raised + 0.1:
            return None
        if raised <= mine + 0.1:
            return self.prune(larger, rows)
        return (node, *children)

    def run(self):
        rows = np.flatnonzero(self.weight > 0)
        return self.prune(self.grown(), rows), rows

    def assert_is(self, tree):
        """Compare a scikit-learn tree, node for node, with the rows that are in each."""
        waiting = [(0, *self.run())]
        while waiting:
            node, branch, rows = waiting.pop()
            assert tree.n_node_samples[node] == len(rows)
            assert_allclose(tree.weighted_n_node_samples[node], self.weight[rows].sum())
            for output, y in enumerate(self.y):
                shares = np.bincount(y[rows], self.weight[rows], tree.value.shape[2])
                assert_allclose(tree.value[node, output], shares / shares.sum(), atol=1e-12)
            if branch is None:
                assert tree.children_left[node] < 0
                continue
            assert tree.feature[node] == self.tree.feature[branch[0]]
            assert tree.threshold[node] == self.tree.threshold[branch[0]]
            children = tree.children_left[node], tree.children_right[node]
            waiting += zip(children, branch[1:], self.parted(branch[0], rows), strict=True)


@every_case
@pytest.mark.parametrize("confidence", [0.01, 0.25, 0.6])
@pytest.mark.parametrize("raising", [False, True])
def test_the_tree_is_that_of_the_recursive_rule(kind, data, confidence, raising):
    rows, y, weight = data_of(kind, data)
    pruner = ErrorBasedPruner(TREES[kind], confidence=confidence, subtree_raising=raising)
    pruner.fit(rows, y, sample_weight=weight)
    full = clone(TREES[kind]).fit(rows, y, sample_weight=weight)
    Oracle(full, rows, y, weight, confidence, raising).assert_is(pruner.estimator_.tree_)


def noisy_problem(seed):
    """Labels that turn on little, seen through many columns: where raising finds work."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 4, size=(300, 6)).astype(float)
    y = (rows[:, 0] > 1).astype(int) + (rows[:, 1] > 2)
    y = np.where(rng.random(300) < 0.25, rng.integers(0, 3, 300), y)
    return rows, y


def features_by_node(tree):
    left, right = tree.children_left, tree.children_right
    return {(tree.feature[n], tree.threshold[n]) for n in range(len(left)) if left[n] != right[n]}


@pytest.mark.parametrize("seed", range(12))
def test_raising_on_noisy_problems(seed):
    rows, y = noisy_problem(seed)
    tree = ExtraTreeClassifier(random_state=seed, criterion=["gini", "entropy"][seed % 2])
    full = clone(tree).fit(rows, y)
    raised = ErrorBasedPruner(tree, subtree_raising=True).fit(rows, y)
    Oracle(full, rows, y, None, raising=True).assert_is(raised.estimator_.tree_)
    # the rows of each node are those that scikit-learn itself sends there
    tree = raised.estimator_.tree_
    reached = raised.estimator_.decision_path(rows).sum(axis=0)
    assert_array_equal(np.asarray(reached).ravel(), tree.n_node_samples)
    kept = raised.sparse_weights_["A"].nnz
    assert raised.sparsity_ == 1 - kept / (full.get_n_leaves() - 1)
    assert kept == raised.estimator_.get_n_leaves() - 1
    assert tree.max_depth == raised.estimator_.get_depth() <= full.get_depth()


def test_raising_does_raise():
    raised = 0
    for seed in range(12):
        rows, y = noisy_problem(seed)
        tree = ExtraTreeClassifier(random_state=seed)
        plain = ErrorBasedPruner(tree).fit(rows, y).estimator_.tree_
        other = ErrorBasedPruner(tree, subtree_raising=True).fit(rows, y).estimator_.tree_
        raised += plain.n_node_samples.tolist() != other.n_node_samples.tolist()
    assert raised > 6


@pytest.mark.parametrize("criterion", ["gini", "entropy", "log_loss"])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_impurities_of_a_raised_tree_are_those_of_its_values(criterion, weight):
    y = LABELS
    tree = ExtraTreeClassifier(criterion=criterion, random_state=1)
    pruner = ErrorBasedPruner(tree, subtree_raising=True, confidence=0.5).fit(X, y, weight)
    tree = pruner.estimator_.tree_
    p = tree.value
    logs = np.log2(p, out=np.zeros_like(p), where=p > 0)
    per_class = p * (1 - p) if criterion == "gini" else -p * logs
    assert_allclose(tree.impurity, per_class.sum(axis=2).mean(axis=1), atol=1e-12)


@every_case
def test_forms_of_a_raised_tree_agree(kind, data):
    rows, y, weight = data_of(kind, data)
    pruner = ErrorBasedPruner(TREES[kind], subtree_raising=True, confidence=0.5)
    pruner.fit(rows, y, sample_weight=weight)
    assert_array_equal(pruner.predict(rows), pruner.estimator_.predict(rows))
    proba = pruner.predict_proba(rows)
    side_by_side = np.concatenate(proba, axis=1) if isinstance(proba, list) else proba
    assert_array_equal(predict_with_scipy(pruner.sparse_weights_, rows), side_by_side)
    leaves = np.flatnonzero(pruner.estimator_.tree_.children_left < 0)
    expected = pruner.estimator_.apply(rows)[:, None] == leaves
    assert_array_equal(pruner.transform(rows).toarray(), expected)


@pytest.mark.parametrize("raising", [False, True])
def test_class_weight_and_sample_weight_multiply(raising):
    y = target("classifier")
    tree = DecisionTreeClassifier(class_weight={0: 1, 1: 2, 2: 5}, random_state=0)
    pruner = ErrorBasedPruner(tree, subtree_raising=raising).fit(X, y, sample_weight=WEIGHT)
    full = clone(tree).fit(X, y, sample_weight=WEIGHT)
    both = WEIGHT * np.array([1, 2, 5])[y]
    Oracle(full, X, y, both, raising=raising).assert_is(pruner.estimator_.tree_)


@pytest.mark.parametrize("raising", [False, True])
def test_weights_are_repetitions_where_they_are_counts(raising):
    y = target("classifier")
    times = RNG.integers(0, 4, N_ROWS)
    tree = DecisionTreeClassifier(random_state=0)
    pruner = ErrorBasedPruner(tree, subtree_raising=raising, weights="counts")
    weighted = clone(pruner).fit(X, y, sample_weight=times).estimator_.tree_
    repeated = clone(pruner).fit(np.repeat(X, times, axis=0), np.repeat(y, times)).estimator_.tree_
    assert_array_equal(weighted.threshold, repeated.threshold)
    assert_array_equal(weighted.weighted_n_node_samples, repeated.weighted_n_node_samples)
    assert_allclose(weighted.value, repeated.value, atol=1e-12)


@pytest.mark.parametrize("sparsity", [None, 0.5])
@pytest.mark.parametrize("raising", [False, True])
@pytest.mark.parametrize("weight", [np.ones(N_ROWS), WEIGHT], ids=["equal", "unequal"])
def test_the_scale_of_weights_makes_no_difference(weight, raising, sparsity):
    if raising and sparsity is not None:
        pytest.skip("a raised tree is on no path")
    y = target("classifier")
    pruner = ErrorBasedPruner(
        DecisionTreeClassifier(random_state=0), subtree_raising=raising, sparsity=sparsity
    )
    plain = clone(pruner).fit(X, y, weight)
    assert 0 < plain.sparsity_ < 1
    for scale in (2.0**-10, 2.0**10):  # which moves no bit of the full tree
        other = clone(pruner).fit(X, y, scale * weight)
        assert_array_equal(other.estimator_.tree_.threshold, plain.estimator_.tree_.threshold)
        assert_allclose(other.predict_proba(X), plain.predict_proba(X), atol=1e-12)
    if weight is not WEIGHT:
        assert_array_equal(plain.predict(X), clone(pruner).fit(X, y).predict(X))


def test_boosting_of_pruners_by_weights_that_sum_to_one():
    y = (target("classifier") > 0).astype(int)
    boosted = AdaBoostClassifier(
        ErrorBasedPruner(DecisionTreeClassifier(random_state=0)), n_estimators=2, random_state=0
    ).fit(X, y)
    first = boosted.estimators_[0]
    plain = ErrorBasedPruner(DecisionTreeClassifier(random_state=first.estimator.random_state))
    assert first.estimator_.get_n_leaves() == plain.fit(X, y).estimator_.get_n_leaves() > 1


@every_case
@pytest.mark.parametrize("sparsity", [0.0, 0.4, 0.8, 1.0])
def test_sparsity_follows_the_path_of_the_bound(kind, data, sparsity):
    rows, y, weight = data_of(kind, data)
    small = clone(TREES[kind]).set_params(max_depth=4)
    full = clone(small).fit(rows, y, sample_weight=weight)
    pruner = ErrorBasedPruner(small, sparsity=sparsity).fit(rows, y, sample_weight=weight)
    tree = full.tree_
    scale = tree.n_node_samples[0] / tree.weighted_n_node_samples[0]
    counts = scale * tree.value * tree.weighted_n_node_samples[:, None, None]
    candidates = subtrees(tree, np.array([bound(node, 0.25) for node in counts]))
    kept = pruner.estimator_.tree_
    counts = scale * kept.value * kept.weighted_n_node_samples[:, None, None]
    found = sum(bound(node, 0.25) for node in counts[kept.children_left < 0])
    assert pruner.sparsity_ >= sparsity
    assert found == pytest.approx(min(r for r, n in candidates if n == kept.n_leaves), abs=1e-9)


def test_a_smaller_confidence_makes_a_smaller_tree():
    rows, y = load_breast_cancer(return_X_y=True)
    tree = DecisionTreeClassifier(random_state=0)
    sizes = [
        ErrorBasedPruner(tree, confidence=cf).fit(rows, y).estimator_.get_n_leaves()
        for cf in (0.9, 0.25, 0.01, 1e-6)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1] > 1


@pytest.mark.parametrize("raising", [False, True])
def test_frozen_tree_gives_the_same_as_one_grown_in_fit(raising):
    y = target("classifier")
    tree = clone(TREES["classifier"]).fit(X, y, sample_weight=WEIGHT)
    before = tree.tree_.__getstate__()["values"].copy()
    frozen = ErrorBasedPruner(FrozenEstimator(tree), subtree_raising=raising)
    grown = ErrorBasedPruner(TREES["classifier"], subtree_raising=raising)
    frozen.fit(X, y, sample_weight=WEIGHT)
    grown.fit(X, y, sample_weight=WEIGHT)
    assert_equal_node_for_node(frozen.estimator_, grown.estimator_)
    assert_array_equal(tree.tree_.__getstate__()["values"], before)


def test_frozen_tree_needs_y_and_its_own_rows_only_to_be_raised():
    rows, y = load_iris(return_X_y=True)
    tree = FrozenEstimator(DecisionTreeClassifier().fit(rows[::2], y[::2]))
    ErrorBasedPruner(tree).fit(rows)
    raising = ErrorBasedPruner(tree, subtree_raising=True)
    with pytest.raises(ValueError, match="requires y to be passed"):
        raising.fit(rows[::2])
    with pytest.raises(ValueError, match=r"subtree_raising=True.*X, y and sample_weight are not"):
        raising.fit(rows, y)
    with pytest.raises(ValueError, match=r"subtree_raising=True.*X, y and sample_weight are not"):
        raising.fit(rows[::2], y[::2], sample_weight=np.arange(75))
    raising.fit(rows[::2], y[::2])


def test_what_cannot_be_raised_is_refused_by_name():
    y = target("classifier") > 0
    with pytest.raises(ValueError, match=r"subtree_raising=True.*sparsity=0.5"):
        ErrorBasedPruner(TREES["classifier"], sparsity=0.5, subtree_raising=True).fit(X, y)
    monotonic = DecisionTreeClassifier(monotonic_cst=[1, 0, 0, 0, 0])
    ErrorBasedPruner(monotonic).fit(X, y)
    with pytest.raises(ValueError, match=r"subtree_raising=True.*monotonic_cst"):
        ErrorBasedPruner(monotonic, subtree_raising=True).fit(X, y)


def test_regressors_are_refused():
    with pytest.raises(TypeError, match=r"estimator must be a classifier.*DecisionTreeRegressor"):
        ErrorBasedPruner(DecisionTreeRegressor()).fit(X, target("regressor"))


@pytest.mark.parametrize("params", [{"confidence": 0}, {"confidence": 1}, {"subtree_raising": 2}])
def test_parameters_are_checked(params):
    with pytest.raises(ValueError, match=next(iter(params))):
        ErrorBasedPruner(DecisionTreeClassifier(), **params).fit(X, target("classifier"))


def test_one_class_and_one_leaf():
    for raising in (False, True):
        pruner = ErrorBasedPruner(DecisionTreeClassifier(), subtree_raising=raising)
        pruner.fit(X, np.ones(N_ROWS))
        assert pruner.sparsity_ == 0
        assert_array_equal(pruner.predict(X), np.ones(N_ROWS))


@pytest.mark.parametrize("raising", [False, True])
def test_a_tree_as_deep_as_it_has_rows_is_pruned(raising):
    n = 1500
    rows, y = np.arange(n, dtype=float)[:, None], np.arange(n) % 2
    chain = DecisionTreeClassifier(random_state=0)
    pruner = ErrorBasedPruner(chain, subtree_raising=raising).fit(rows, y)
    assert_array_equal(pruner.predict(rows), pruner.estimator_.predict(rows))
