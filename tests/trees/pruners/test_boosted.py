"""Boosted trees: pruned as sums, and predicted with as scikit-learn does, to the bit."""

import pickle
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal, assert_array_max_ulp
from scipy.sparse import csr_array
from sklearn.base import clone, is_classifier
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.metrics import get_scorer, make_scorer
from sklearn.model_selection import GridSearchCV

from skprune import (
    CostComplexityPruner,
    ErrorBasedPruner,
    MinimumErrorPruner,
    PrunerCV,
    ReducedErrorPruner,
)
from skprune.base import BasePruner
from skprune.trees.core import boosting
from tests.trees.pruners.cases import LABELS, N_ROWS, RNG, SIGNAL, WEIGHT, WITH_GAPS, X

GB = {"n_estimators": 5, "max_depth": 3, "learning_rate": 0.3, "random_state": 0}
HIST = {"max_iter": 5, "max_leaf_nodes": 8, "min_samples_leaf": 5, "learning_rate": 0.3}
HIST["random_state"] = 0
CATEGORIES = [3, 4]  # of the columns of WITH_CATEGORIES

WITH_CATEGORIES = X.copy()
WITH_CATEGORIES[:, 3] = np.array([-1.0, 2.0, 3.5, 7.0, 40.0])[RNG.integers(0, 5, N_ROWS)]
WITH_CATEGORIES[:, 4] = RNG.integers(0, 40, N_ROWS)
WITH_CATEGORIES[RNG.random(N_ROWS) < 0.1, 3] = np.nan
EFFECT = np.isin(WITH_CATEGORIES[:, 3], [2.0, 7.0]) + np.isin(WITH_CATEGORIES[:, 4] % 7, [1, 4])
WITH_INFINITIES = np.where(RNG.random(X.shape) < 0.1, np.inf, WITH_GAPS)
WITH_INFINITIES[RNG.random(X.shape) < 0.1] = -np.inf
MONOTONIC = [1, -1, 0, 0, 0]

NUMBERS = SIGNAL[:, 0] + EFFECT
POSITIVE = np.exp(NUMBERS / 2)
TARGETS = {
    "numbers": NUMBERS,
    "positive": POSITIVE,
    "two classes": np.array(["no", "yes"])[(NUMBERS > 0.8).astype(int)],
    "classes": np.array(["a", "b", "c"])[LABELS[:, 1]],
}
ROWS = {
    "plain": X,
    "gaps": WITH_GAPS,
    "infinities": WITH_INFINITIES,
    "categories": WITH_CATEGORIES,
}
# Sums of leaves are scikit-learn's to the bit. Behind a link both sides call an exp of their own,
# and numpy has several, by the processor: each may be an ulp off, and a softmax divides two.
EXPONENTIAL_MEANS = ("poisson", "gamma")
LINK_ULPS = 4
MASK = np.isin(np.arange(X.shape[1]), CATEGORIES)
BALANCED = {"class_weight": "balanced"}
# estimator, rows, target, whether rows are weighted
CASES = {
    "gb two classes": (GradientBoostingClassifier(**GB), "plain", "two classes", False),
    "gb classes": (GradientBoostingClassifier(**GB), "plain", "classes", True),
    "gb exponential": (
        GradientBoostingClassifier(loss="exponential", **GB), "plain", "two classes", True,
    ),
    "gb subsample": (
        GradientBoostingClassifier(subsample=0.7, **GB), "plain", "classes", False,
    ),
    **{
        f"gb {loss}": (
            GradientBoostingRegressor(loss=loss, alpha=0.7, **GB), "plain", "numbers", weighted,
        )
        for loss, weighted in [
            ("squared_error", True), ("huber", False), ("quantile", True), ("absolute_error", False)
        ]
    },
    "gb zero": (GradientBoostingRegressor(init="zero", **GB), "plain", "numbers", False),
    "gb zero classes": (
        GradientBoostingClassifier(init="zero", **GB), "plain", "classes", False,
    ),
    "gb stops early": (
        GradientBoostingRegressor(n_iter_no_change=2, tol=0.2, **GB), "plain", "numbers", False,
    ),
    "hist two classes": (HistGradientBoostingClassifier(**HIST), "gaps", "two classes", True),
    "hist classes": (HistGradientBoostingClassifier(**HIST), "infinities", "classes", True),
    "hist balanced": (
        HistGradientBoostingClassifier(**BALANCED, **HIST), "gaps", "two classes", False,
    ),
    # scikit-learn reads the keys as the places of the classes
    "hist class_weight": (
        HistGradientBoostingClassifier(class_weight={0: 1.0, 1: 3.0, 2: 0.5}, **HIST),
        "plain", "classes", True,
    ),
    **{
        f"hist {loss}": (
            HistGradientBoostingRegressor(loss=loss, **HIST), rows, target, weighted,
        )
        for loss, rows, target, weighted in [
            ("squared_error", "infinities", "numbers", False),
            ("poisson", "gaps", "positive", True),
            ("absolute_error", "gaps", "numbers", True),
            ("gamma", "plain", "positive", False),
        ]
    },
    "hist quantile": (
        HistGradientBoostingRegressor(loss="quantile", quantile=0.7, **HIST),
        "infinities", "numbers", False,
    ),
    "hist indices": (
        HistGradientBoostingRegressor(categorical_features=CATEGORIES, **HIST),
        "categories", "numbers", False,
    ),
    "hist mask": (
        HistGradientBoostingClassifier(categorical_features=MASK, **HIST),
        "categories", "two classes", True,
    ),
    "hist mask, classes": (
        HistGradientBoostingClassifier(categorical_features=MASK, **HIST),
        "categories", "classes", False,
    ),
    "hist monotonic": (
        HistGradientBoostingRegressor(monotonic_cst=MONOTONIC, **HIST), "gaps", "numbers", False,
    ),
    "hist stops early": (
        HistGradientBoostingClassifier(
            early_stopping=True, n_iter_no_change=2, tol=0.1, **HIST | {"max_iter": 30}
        ),
        "gaps", "two classes", False,
    ),
}  # fmt: skip


def fit_case(name):
    estimator, rows, target, weighted = CASES[name]
    return clone(estimator), ROWS[rows], TARGETS[target], WEIGHT if weighted else None


def unseen(rows):
    """Return rows that the model was not fitted to: unknown and missing categories with them."""
    rows = rows[::-1].copy()
    rows[:, 0] += 0.1
    if rows[0, 4] == WITH_CATEGORIES[-1, 4]:
        rows[::5, 3], rows[1::5, 3], rows[2::5, 4], rows[3::5, 4] = 99.0, np.nan, -4.0, np.nan
        rows[4::9, 4] = 1.5  # between two known ones
    return rows


def raw_of(estimator, rows):
    """Return the sums of the trees, by scikit-learn alone."""
    if is_classifier(estimator):
        raw = estimator.decision_function(rows)
    elif hasattr(estimator, "_predictors"):
        raw = estimator._raw_predict(rows)
    else:
        raw = estimator.predict(rows)
    return np.reshape(raw, (len(rows), -1))


def raw_with_scipy(weights, rows, n_trees, dtype):
    """Run the sparse net of boosted trees as its docstring has it."""
    A, b, m, C, d, E, f = (weights[name] for name in "AbmCdEf")
    rows = rows.astype(dtype).astype(np.float64)
    column = A.indices  # the one column that each split looks at
    assert (A.data == 1.0).all()
    z = np.full((len(rows), A.shape[0]), 0.0)
    z[:, np.flatnonzero(np.diff(A.indptr))] = rows[:, column]
    unknown = np.isnan(z)
    left = z <= b.toarray()[:, 0]
    if "c" in weights:
        listed = weights["c"].toarray()
        is_category = rows[:, listed[:, 0].astype(int)] == listed[:, 1]
        by_category = (b.toarray()[:, 0] == -np.inf) & (np.diff(A.indptr) > 0)
        left = np.where(by_category, (weights["S"] @ is_category.T.astype(float)).T > 0, left)
        columns = np.unique(listed[:, 0])
        known = {c: is_category[:, listed[:, 0] == c].any(axis=1) for c in columns}
        for split in np.flatnonzero(by_category):
            unknown[:, split] = ~known[A.indices[A.indptr[split]]]
    left = left | (unknown & (m.toarray()[:, 0] != 0))
    leaf = d.toarray()[:, 0] == (C.T @ left.T.astype(float)).T
    assert (leaf.sum(axis=1) == n_trees).all()
    return f.toarray() + leaf.astype(float) @ E.toarray()


def structure(estimator):
    """Return the kept splits of each tree."""
    return [member.tree.n_splits for member in boosting.members(estimator)]


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", CASES)
def test_the_engine_predicts_as_scikit_learn(name, sparsity, engine):
    estimator, rows, y, weight = fit_case(name)
    pruner = CostComplexityPruner(estimator, sparsity=sparsity, engine=engine)
    pruner.fit(rows, y, sample_weight=weight)
    inner, plain = pruner.estimator_, clone(estimator).fit(rows, y, sample_weight=weight)
    asked = ["predict"]
    if is_classifier(estimator):
        asked += ["predict_proba", "decision_function"]
        assert hasattr(pruner, "predict_log_proba") == hasattr(plain, "predict_log_proba")
    for seen in (rows, unseen(rows), rows[:1], rows[:9]):
        for ask in asked:
            answer, expected = getattr(pruner, ask)(seen), getattr(inner, ask)(seen)
            if ask == "predict_proba" or getattr(estimator, "loss", "") in EXPONENTIAL_MEANS:
                assert_array_max_ulp(answer, expected, LINK_ULPS)
            else:
                assert_array_equal(answer, expected)
            if sparsity == 0.0:
                assert_array_equal(getattr(inner, ask)(seen), getattr(plain, ask)(seen))

    kept, full = structure(inner), structure(plain)
    assert pruner.sparsity_ == 1 - sum(kept) / sum(full) >= sparsity
    assert pruner.pruning_history_[-1]["n_leaves"] == sum(kept) + len(kept)
    if sparsity == 1.0:
        assert not any(kept)
    leaves = pruner.transform(rows)
    assert isinstance(leaves, csr_array)
    assert leaves.shape == (N_ROWS, sum(kept) + len(kept))
    assert leaves.shape[1] == len(pruner.get_feature_names_out())
    assert_array_equal(leaves.sum(axis=1), len(kept))
    if isinstance(estimator, GradientBoostingClassifier | GradientBoostingRegressor):
        reached = inner.apply(rows).reshape(N_ROWS, -1)
        start = 0
        for number, member in enumerate(boosting.members(inner)):
            numbers = np.flatnonzero(~member.tree.is_split)
            ours = leaves[:, start : start + len(numbers)].toarray().argmax(axis=1)
            assert_array_equal(numbers[ours], reached[:, number])
            start += len(numbers)

    weights = pruner.sparse_weights_
    assert pruner.sparsity_ == 1 - weights["A"].nnz / weights["A"].shape[0]
    dtype = np.float64 if name.startswith("hist") else np.float32
    for seen in (rows, unseen(rows)):
        answer = raw_with_scipy(weights, seen, len(kept), dtype)
        assert_allclose(answer, raw_of(inner, seen), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_cut_branches_hold_what_scikit_learn_would_have_left_there(name):
    estimator, rows, y, weight = fit_case(name)
    plain = clone(estimator).fit(rows, y, sample_weight=weight)
    expected = boosting.leaf_values(plain, rows, y, weight)
    for sparsity in (0.4, 1.0):
        pruner = CostComplexityPruner(estimator, sparsity=sparsity)
        pruner.fit(rows, y, sample_weight=weight)
        for ours, full, value in zip(
            boosting.members(pruner.estimator_), boosting.members(plain), expected, strict=True
        ):
            todo = [(0, 0)]
            while todo:
                node, whole = todo.pop()
                if ours.tree.left[node] < 0:
                    assert ours.tree.value[node, 0, 0] == value[whole]
                    continue
                assert ours.tree.threshold[node] == full.tree.threshold[whole]
                todo.append((ours.tree.left[node], full.tree.left[whole]))
                todo.append((ours.tree.right[node], full.tree.right[whole]))


# the line search of other losses knows of no constraints, in scikit-learn too
@pytest.mark.parametrize("loss", ["squared_error", "poisson", "gamma"])
@pytest.mark.parametrize("sparsity", [0.2, 0.5, 0.8])
def test_what_was_monotone_stays_so(loss, sparsity):
    estimator = HistGradientBoostingRegressor(
        loss=loss, monotonic_cst=MONOTONIC, **HIST | {"max_iter": 20}
    )
    y = np.exp(X[:, 0] - X[:, 1] + np.sin(5 * X[:, 0]) + SIGNAL[:, 1] / 2)
    pruner = CostComplexityPruner(estimator, sparsity=sparsity).fit(X, y)
    for column, sign in ((0, 1), (1, -1)):
        grid = np.repeat(X[:20], 30, axis=0)
        grid[:, column] = np.tile(np.linspace(-3, 3, 30), 20)
        steps = sign * np.diff(pruner.predict(grid).reshape(20, 30), axis=1)
        assert (steps >= -1e-12).all()
        assert (steps > 0).any()


@pytest.mark.parametrize("name", ["gb classes", "gb huber", "hist two classes", "hist mask"])
def test_global_allocation_spares_the_trees_that_are_worth_more(name):
    estimator, rows, y, weight = fit_case(name)
    full = structure(clone(estimator).fit(rows, y, sample_weight=weight))
    gone = {}
    for allocation in ("global", "uniform"):
        pruner = CostComplexityPruner(estimator, sparsity=0.6, allocation=allocation)
        pruner.fit(rows, y, sample_weight=weight)
        gone[allocation] = 1 - np.array(structure(pruner.estimator_)) / full
        assert pruner.sparsity_ >= 0.6
        assert_array_equal(pruner.predict(rows), pruner.estimator_.predict(rows))
    assert min(gone["uniform"]) >= 0.6 > min(gone["global"])


@pytest.mark.parametrize("name", CASES)
def test_max_leaf_nodes_holds_for_each_tree(name):
    estimator, rows, y, weight = fit_case(name)
    pruner = CostComplexityPruner(estimator, max_leaf_nodes=3).fit(rows, y, sample_weight=weight)
    leaves = np.array(structure(pruner.estimator_)) + 1
    assert 1 < leaves.max() <= 3
    assert pruner.pruning_history_[-1]["n_leaves"] == leaves.sum()
    assert_array_equal(pruner.predict(rows), pruner.estimator_.predict(rows))


@pytest.mark.parametrize("name", ["gb classes", "gb squared_error", "hist classes", "hist mask"])
def test_a_higher_price_leaves_less(name):
    estimator, rows, y, weight = fit_case(name)
    pruner = CostComplexityPruner(estimator, ccp_alpha=0.0)
    alphas = pruner.path_values(rows, y, sample_weight=weight)
    assert alphas[0] == 0.0
    assert np.isfinite(alphas[-1])
    fitted = list(pruner.path(rows, y, alphas[:: len(alphas) // 4], sample_weight=weight))
    assert fitted[0].sparsity_ == 0.0
    assert all(more.sparsity_ > less.sparsity_ for less, more in pairwise(fitted))
    for one in fitted:
        alone = clone(one).fit(rows, y, sample_weight=weight)
        assert_array_equal(one.predict(rows), alone.predict(rows))
        assert_array_equal(one.predict(rows), one.estimator_.predict(rows))
        assert one.pruning_history_[-1]["ccp_alpha"] <= one.ccp_alpha


@pytest.mark.parametrize(
    "estimator",
    [
        GradientBoostingClassifier(n_estimators=4, subsample=0.7, random_state=0),
        GradientBoostingRegressor(n_estimators=4, subsample=0.7, random_state=0),
        HistGradientBoostingClassifier(max_iter=4, early_stopping=True, random_state=0),
        HistGradientBoostingRegressor(max_iter=4, early_stopping=True, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_scores_of_the_training_go_with_what_was_pruned(estimator):
    y = (NUMBERS > 0).astype(int) if is_classifier(estimator) else NUMBERS
    full = clone(estimator).fit(X, y)
    scores = {name for name in vars(full) if "score_" in name or name.startswith("oob_")}
    assert "train_score_" in scores
    assert len(scores) > 1
    pruned = CostComplexityPruner(estimator, sparsity=0.5).fit(X, y).estimator_
    assert not any(hasattr(pruned, name) for name in [*scores, "oob_score_"])
    whole = CostComplexityPruner(estimator, sparsity=0.0).fit(X, y).estimator_
    for name in scores - {"_scorer"}:
        assert_array_equal(getattr(whole, name), getattr(full, name))
    assert all(hasattr(full, name) for name in scores)


def test_a_price_prunes_trees_that_boosting_adds_up_as_scikit_learn_s_ccp_alpha_does():
    # later trees are grown on what pruned ones leave, so that the first alone can be compared
    one = GradientBoostingRegressor(**GB | {"n_estimators": 1})
    alphas = CostComplexityPruner(one, ccp_alpha=0.0).path_values(X, NUMBERS, sample_weight=WEIGHT)
    for alpha in alphas[1:-1]:
        ours = CostComplexityPruner(one, ccp_alpha=alpha).fit(X, NUMBERS, sample_weight=WEIGHT)
        theirs = clone(one).set_params(ccp_alpha=alpha).fit(X, NUMBERS, sample_weight=WEIGHT)
        assert ours.sparsity_ > 0
        assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-12)


SCORINGS = [
    ("gb two classes", "roc_auc"),
    ("gb two classes", "neg_log_loss"),
    ("gb classes", "roc_auc_ovr"),
    ("gb classes", "accuracy"),
    ("gb huber", "r2"),
    ("hist two classes", "roc_auc"),
    ("hist mask", "neg_log_loss"),
    ("hist classes", "accuracy"),
    ("hist indices", "r2"),
    ("hist poisson", "neg_mean_absolute_error"),
]


@pytest.mark.parametrize("allocation", ["global", "uniform"])
@pytest.mark.parametrize(("name", "scoring"), SCORINGS)
def test_pruner_cv_finds_what_a_grid_search_finds(name, scoring, allocation):
    estimator, rows, y, _ = fit_case(name)
    along, values = ("sparsity", [0.0, 0.4, 0.8, 1.0])
    if allocation == "uniform":
        along, values = ("max_leaf_nodes", [8, 4, 2, 1])
    pruner = CostComplexityPruner(estimator, allocation=allocation)
    ours = PrunerCV(pruner, param_name=along, param_range=values, cv=3, scoring=scoring)
    ours.fit(rows, y)
    theirs = GridSearchCV(pruner, {along: values}, cv=3, scoring=scoring).fit(rows, y)
    assert ours.best_params_ == theirs.best_params_
    for key in theirs.cv_results_:
        if "test_score" in key and "rank" not in key:
            assert_allclose(ours.cv_results_[key], theirs.cv_results_[key], rtol=1e-12)
    assert ours.best_estimator_.score(rows, y) == theirs.best_estimator_.score(rows, y)


@pytest.mark.parametrize(
    ("name", "scoring"),
    [
        *SCORINGS,
        ("hist two classes", "accuracy"),
        (
            "gb exponential",
            make_scorer(
                lambda y, score: np.mean(score * (y == "yes")), response_method="decision_function"
            ),
        ),
    ],
)
def test_quick_scores_are_those_of_fitted_pruners(name, scoring):
    estimator, rows, y, weight = fit_case(name)
    pruner = CostComplexityPruner(estimator, sparsity=0.5)
    args = (rows[:110], y[:110], [0.0, 0.3, 0.9, 1.0], rows[110:], y[110:], get_scorer(scoring))
    fit_params = {} if weight is None else {"sample_weight": weight[:110]}
    quick = pruner.path_scores(*args, **fit_params)
    plain = BasePruner.path_scores(pruner, *args, **fit_params)
    assert_allclose(quick.scores, plain.scores, rtol=1e-12)
    assert_array_equal(quick.sparsities, plain.sparsities)


@pytest.mark.parametrize("name", CASES)
def test_frozen_ensembles_are_pruned_on_a_copy(name):
    estimator, rows, y, weight = fit_case(name)
    before = pickle.dumps(estimator)
    fitted = CostComplexityPruner(estimator, sparsity=0.5).fit(rows, y, sample_weight=weight)
    assert pickle.dumps(estimator) == before
    assert not hasattr(estimator, "n_features_in_")
    plain = clone(estimator).fit(rows, y, sample_weight=weight)
    before = pickle.dumps(plain)
    frozen = CostComplexityPruner(FrozenEstimator(plain), sparsity=0.5)
    frozen.fit(rows, y, sample_weight=weight)
    assert_array_equal(frozen.predict(rows), fitted.predict(rows))
    assert pickle.dumps(plain) == before


@pytest.mark.parametrize("name", CASES)
def test_frozen_ensembles_say_where_they_need_the_target(name):
    estimator, rows, y, _ = fit_case(name)
    frozen = FrozenEstimator(clone(estimator).fit(rows, y))
    pruner = CostComplexityPruner(frozen, sparsity=0.5)
    if estimator.loss == "squared_error":
        fitted = CostComplexityPruner(frozen, sparsity=0.5).fit(rows, y)
        assert_array_equal(pruner.fit(rows).predict(rows), fitted.predict(rows))
    else:
        with pytest.raises(ValueError, match="y must be given, the training rows: with loss="):
            pruner.fit(rows)
    if is_classifier(estimator):
        wrong = y.copy()
        wrong[3] = "z"
        with pytest.raises(ValueError, match="y holds the label 'z'"):
            pruner.fit(rows, wrong)


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("rows", [X, np.zeros((N_ROWS, 1))], ids=["splits", "no splits"])
@pytest.mark.parametrize(
    ("estimator", "tied"),
    [
        # the roots of later trees would make up for what the leaves of the first left over
        (GradientBoostingClassifier(**GB | {"n_estimators": 1}), "yes"),
        (GradientBoostingClassifier(loss="exponential", **GB | {"n_estimators": 1}), "yes"),
        (HistGradientBoostingClassifier(**HIST | {"max_iter": 1}), "no"),
    ],
)
def test_ties_go_to_the_class_that_scikit_learn_takes(estimator, tied, rows, engine):
    y = np.repeat(["no", "yes"], N_ROWS // 2)
    pruner = CostComplexityPruner(estimator, sparsity=1.0, engine=engine).fit(rows, y)
    assert pruner.sparsity_ == rows.any()
    assert_array_equal(pruner.estimator_.decision_function(rows), np.zeros(N_ROWS))
    assert_array_equal(pruner.decision_function(rows), np.zeros(N_ROWS))
    for one in (pruner, pruner.estimator_, pruner.sparse_estimator_):
        assert_array_equal(one.predict(rows), np.repeat(tied, N_ROWS))


@pytest.mark.parametrize("name", ["gb classes", "gb quantile", "hist mask", "hist gamma"])
def test_a_fitted_pruner_pickles_and_its_engine_predicts_alone(name):
    estimator, rows, y, weight = fit_case(name)
    pruner = CostComplexityPruner(estimator, sparsity=0.5).fit(rows, y, sample_weight=weight)
    again = pickle.loads(pickle.dumps(pruner))
    alone = pickle.loads(pickle.dumps(pruner.sparse_estimator_))
    for other in (again, alone, again.estimator_):
        assert_array_equal(other.predict(unseen(rows)), pruner.predict(unseen(rows)))
    if is_classifier(estimator):
        for ask in ("predict_proba", "decision_function"):
            expected = getattr(pruner, ask)(rows)
            assert_array_equal(getattr(alone, ask)(rows), expected)
            assert_array_equal(getattr(again, ask)(rows), expected)
    else:
        assert not hasattr(alone, "decision_function")
    for key, value in pruner.sparse_weights_.items():
        assert (again.sparse_weights_[key] != value).nnz == 0
    assert b"sklearn.ensemble" not in pickle.dumps(pruner.sparse_estimator_)


@pytest.mark.parametrize("name", ["gb classes", "hist two classes"])
def test_merged_leaves_change_no_bit(name):
    estimator, rows, y, _ = fit_case(name)
    plain = CostComplexityPruner(estimator, sparsity=0.3).fit(rows, y)
    merged = clone(plain).set_params(merge_equal_leaves=True).fit(rows, y)
    assert_array_equal(merged.decision_function(rows), plain.decision_function(rows))
    assert_array_max_ulp(
        merged.predict_proba(rows), merged.estimator_.predict_proba(rows), LINK_ULPS
    )
    assert merged.sparsity_ >= plain.sparsity_


@pytest.mark.parametrize("name", ["gb two classes", "hist two classes", "gb huber", "hist mask"])
def test_rules_that_judge_trees_one_by_one_are_refused(name):
    estimator, rows, y, _ = fit_case(name)
    for rule in (ErrorBasedPruner, MinimumErrorPruner):
        with pytest.raises(TypeError, match="estimator must be a classifier whose trees predict"):
            rule(estimator).fit(rows, y)
    with pytest.raises(TypeError, match="estimator must have trees that each predict the target"):
        ReducedErrorPruner(estimator).fit(rows, y)
    with pytest.raises(ValueError, match="risk='misclassification' needs trees that predict"):
        CostComplexityPruner(estimator, risk="misclassification").fit(rows, y)
    with pytest.raises((TypeError, ValueError), match=r"estimator|subtree_raising"):
        ErrorBasedPruner(estimator, subtree_raising=True).fit(rows, y)


def test_a_start_that_is_no_constant_is_refused():
    estimator = GradientBoostingRegressor(init=LinearRegression(), **GB)
    with pytest.raises(
        ValueError, match="init of GradientBoostingRegressor must be None or 'zero'"
    ):
        CostComplexityPruner(estimator).fit(X, NUMBERS)
    with pytest.raises(ValueError, match="init of GradientBoostingRegressor"):
        CostComplexityPruner(FrozenEstimator(estimator.fit(X, NUMBERS))).fit(X, NUMBERS)


@pytest.mark.parametrize("name", ["gb squared_error", "hist squared_error"])
def test_an_ensemble_that_would_go_on_is_trained_anew(name):
    estimator, rows, y, _ = fit_case(name)
    pruner = CostComplexityPruner(estimator.set_params(warm_start=False), sparsity=0.5)
    first = pruner.fit(rows, y).predict(rows)
    assert_array_equal(pruner.fit(rows, y).predict(rows), first)
    warm = CostComplexityPruner(clone(estimator).set_params(warm_start=True), sparsity=0.5)
    assert_array_equal(warm.fit(rows, y).fit(rows, y).predict(rows), first)


def test_gradient_boosting_takes_sparse_rows():
    rows = np.where(X > 0.3, X, 0.0)
    for name in ("gb classes", "gb huber"):
        estimator, _, y, _ = fit_case(name)
        pruner = CostComplexityPruner(estimator, sparsity=0.5).fit(csr_array(rows), y)
        assert_array_equal(pruner.predict(csr_array(rows)), pruner.predict(rows))
        assert_array_equal(pruner.predict(rows), pruner.estimator_.predict(rows))


# -- frames ----------------------------------------------------------------------------------------

NAMES = ["age", "income", "height", "town", "street"]


def frame_of(rows=WITH_CATEGORIES):
    """Return a frame whose categories hold numbers: with gaps, and without."""
    frame = pd.DataFrame(rows, columns=NAMES)
    frame["town"] = pd.Categorical(frame["town"])
    frame["street"] = pd.Categorical(frame["street"].astype(int), ordered=True)
    return frame


KINDS = [HistGradientBoostingRegressor, HistGradientBoostingClassifier]


@pytest.mark.parametrize("how", ["from_dtype", ["street", "town"], np.array(NAMES[3:])])
@pytest.mark.parametrize("kind", KINDS)
def test_categories_of_a_frame_are_those_that_scikit_learn_sees(kind, how):
    frame = frame_of()
    if not isinstance(how, str):
        frame = frame.astype(float)
    y = TARGETS["numbers" if kind is HistGradientBoostingRegressor else "classes"]
    estimator = kind(categorical_features=how, **HIST)
    plain = clone(estimator).fit(frame, y)
    assert_array_equal(plain.is_categorical_, MASK)
    for sparsity in (0.0, 0.5):
        pruner = CostComplexityPruner(estimator, sparsity=sparsity).fit(frame, y)
        assert_array_equal(pruner.estimator_.is_categorical_, MASK)
        assert_array_equal(pruner.feature_names_in_, NAMES)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            answer = pruner.predict(frame)
        if sparsity == 0.0:
            assert_array_equal(answer, plain.predict(frame))
        assert_array_equal(answer, pruner.estimator_.predict(frame))
        other = frame_of().astype(float).assign(town=99.0)
        assert_array_equal(pruner.predict(other), pruner.estimator_.predict(other))
    assert estimator.categorical_features is how


def test_a_frozen_ensemble_knows_the_categories_of_its_frame():
    frame = frame_of()
    for loss in ("squared_error", "absolute_error"):
        plain = HistGradientBoostingRegressor(loss=loss, **HIST).fit(frame, NUMBERS)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "sparsity=0.5 was asked for")
            frozen = CostComplexityPruner(FrozenEstimator(plain), sparsity=0.5)
            frozen.fit(frame, NUMBERS)
            fitted = CostComplexityPruner(
                HistGradientBoostingRegressor(loss=loss, **HIST), sparsity=0.5
            ).fit(frame, NUMBERS)
            assert_array_equal(frozen.predict(frame), frozen.estimator_.predict(frame))
        assert_array_equal(frozen.predict(frame), fitted.predict(frame))


def test_a_path_and_a_search_see_the_frame_too():
    frame = frame_of()
    pruner = CostComplexityPruner(HistGradientBoostingRegressor(**HIST))
    values = [0.0, 0.5, 1.0]
    ours = PrunerCV(pruner, param_name="sparsity", param_range=values, cv=3).fit(frame, NUMBERS)
    theirs = GridSearchCV(pruner, {"sparsity": values}, cv=3).fit(frame, NUMBERS)
    assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-12
    )
    for one in pruner.path(frame, NUMBERS, values):
        assert_array_equal(one.estimator_.is_categorical_, MASK)


def test_columns_that_are_no_categories_stay_numbers():
    frame = pd.DataFrame(X, columns=NAMES)
    polars = pl.DataFrame(X, schema=NAMES)
    for features in ("from_dtype", None, [], [1, 2], np.arange(5) == 2):
        estimator = HistGradientBoostingRegressor(categorical_features=features, **HIST)
        if features is not None and not isinstance(features, str):
            frame, polars = frame.round(), pl.DataFrame(X.round(), schema=NAMES)
        expected = clone(estimator).fit(frame.to_numpy(), NUMBERS).predict(frame.to_numpy())
        for given in (frame, polars, frame.to_numpy()):
            pruner = CostComplexityPruner(estimator, sparsity=0.0).fit(given, NUMBERS)
            assert_array_equal(pruner.predict(given), expected)


def test_names_are_read_of_polars_frames():
    rows = np.nan_to_num(WITH_CATEGORIES, nan=-5.0)
    frame = pl.DataFrame(rows, schema=NAMES)
    named = HistGradientBoostingRegressor(categorical_features=["town", "street"], **HIST)
    indexed = HistGradientBoostingRegressor(categorical_features=CATEGORIES, **HIST)
    ours = CostComplexityPruner(named, sparsity=0.5).fit(frame, NUMBERS)
    theirs = CostComplexityPruner(indexed, sparsity=0.5).fit(rows, NUMBERS)
    assert_array_equal(ours.predict(frame), theirs.predict(rows))


def test_constraints_may_name_columns():
    frame = pd.DataFrame(X, columns=NAMES)
    named = HistGradientBoostingRegressor(monotonic_cst={"income": -1, "age": 1}, **HIST)
    listed = HistGradientBoostingRegressor(monotonic_cst=MONOTONIC, **HIST)
    ours = CostComplexityPruner(named, sparsity=0.5).fit(frame, NUMBERS)
    theirs = CostComplexityPruner(listed, sparsity=0.5).fit(X, NUMBERS)
    assert_array_equal(ours.predict(frame), theirs.predict(X))
    wrong = HistGradientBoostingRegressor(monotonic_cst={"wealth": -1})
    with pytest.raises(ValueError, match=r"monotonic_cst contains .*\['wealth'\]"):
        CostComplexityPruner(wrong).fit(frame, NUMBERS)


def test_categories_that_are_true_or_false_are_numbers():
    frame = pd.DataFrame({"age": X[:, 0], "is_late": pd.Categorical(X[:, 1] > 0)})
    y = X[:, 1] > 0
    pruner = CostComplexityPruner(HistGradientBoostingClassifier(**HIST), sparsity=0.5)
    assert_array_equal(pruner.fit(frame, y).predict(frame), pruner.estimator_.predict(frame))
    frozen = FrozenEstimator(HistGradientBoostingClassifier(**HIST).fit(frame, y))
    frozen = CostComplexityPruner(frozen, sparsity=0.5).fit(frame, y)
    assert_array_equal(frozen.predict_proba(frame), pruner.predict_proba(frame))


def test_a_frozen_ensemble_may_know_categories_as_objects():
    rows = WITH_CATEGORIES.astype(object)
    plain = HistGradientBoostingRegressor(categorical_features=CATEGORIES, **HIST)
    pruner = CostComplexityPruner(FrozenEstimator(plain.fit(rows, NUMBERS)), sparsity=0.3)
    answer = pruner.fit(rows).predict(rows)
    assert_array_equal(answer, pruner.estimator_.predict(rows))
    assert_array_equal(answer, pruner.predict(WITH_CATEGORIES))
    raw = raw_with_scipy(pruner.sparse_weights_, WITH_CATEGORIES, HIST["max_iter"], np.float64)
    assert_allclose(raw[:, 0], answer, rtol=1e-10)

    rows[::7, 3] = None
    plain.fit(rows, NUMBERS)  # with None for one more category, other than NaN
    assert_array_equal(pruner.fit(rows).predict(rows), pruner.estimator_.predict(rows))
    assert not np.array_equal(pruner.predict(rows), answer)


@pytest.mark.parametrize("form", [np.float32, np.int8, np.asfortranarray, np.ndarray.tolist])
@pytest.mark.parametrize("name", ["gb huber", "hist indices"])
def test_rows_may_have_any_form(name, form):
    estimator, _, y, _ = fit_case(name)
    rows = np.nan_to_num(WITH_CATEGORIES).round()
    given = rows.astype(form) if isinstance(form, type) else form(rows)
    pruner = CostComplexityPruner(estimator, sparsity=0.5).fit(given, y)
    assert_array_equal(pruner.predict(given), pruner.estimator_.predict(given))
    assert_array_equal(pruner.predict(given), pruner.predict(rows))


def test_rows_to_stop_early_by_may_be_a_frame():
    frame = frame_of()
    estimator = HistGradientBoostingRegressor(early_stopping=True, **HIST)
    plain = clone(estimator).fit(frame, NUMBERS, X_val=frame[:50], y_val=NUMBERS[:50])
    pruner = CostComplexityPruner(estimator, sparsity=0.0)
    pruner.fit(frame, NUMBERS, X_val=frame[:50], y_val=NUMBERS[:50])
    assert_array_equal(pruner.predict(frame), plain.predict(frame))


def test_names_that_no_column_has_are_refused():
    estimator = HistGradientBoostingRegressor(categorical_features=["village"], **HIST)
    with pytest.raises(ValueError, match="categorical_features has an item value 'village'"):
        CostComplexityPruner(estimator).fit(frame_of(), NUMBERS)
    with pytest.raises(ValueError, match="categorical_features"):
        CostComplexityPruner(estimator).fit(WITH_CATEGORIES, NUMBERS)


def test_categories_that_no_split_asks_for_are_no_matter():
    rows = WITH_CATEGORIES.copy()
    rows[:, 3] = 1.0
    for sparsity in (0.0, 1.0):
        estimator = HistGradientBoostingRegressor(categorical_features=[3], **HIST)
        pruner = CostComplexityPruner(estimator, sparsity=sparsity).fit(rows, NUMBERS)
        assert_array_equal(pruner.predict(rows), pruner.estimator_.predict(rows))
        answer = raw_with_scipy(pruner.sparse_weights_, rows, HIST["max_iter"], np.float64)
        assert_allclose(answer[:, 0], pruner.predict(rows), rtol=1e-10)
