"""PrunerCV against GridSearchCV, its oracle, and what it does where the two part ways."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_array, csr_array
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_diabetes, load_digits, make_classification, make_regression
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import f1_score, make_scorer, mean_absolute_error, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RepeatedKFold,
    ShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)
from sklearn.utils.estimator_checks import parametrize_with_checks

from skprune import (
    CostComplexityPruner,
    ErrorBasedPruner,
    ForestPruner,
    MagnitudePruner,
    MinimumErrorPruner,
    MLPNetClassifier,
    PrunerCV,
    ReducedErrorPruner,
)
from skprune.base import BasePruner
from skprune.model_selection import one_se_index
from skprune.trees.core.allocation import geometric_mean_alphas
from skprune.trees.core.arrays import TreeArrays
from skprune.trees.core.descent import Descent
from skprune.trees.core.risks import impurity_risk
from skprune.trees.core.weakest_link import pruning_path

PARAMS = ["ccp_alpha", "sparsity", "max_leaf_nodes"]


def classes(n=160, n_classes=3, seed=0):
    X, y = make_classification(
        n, 8, n_informative=5, n_classes=n_classes, flip_y=0.15, random_state=seed
    )
    return X, np.array(["ash", "birch", "oak"])[y]


def targets(n=150, n_targets=1, seed=0):
    X, y = make_regression(n, 6, n_targets=n_targets, noise=40.0, random_state=seed)
    return X, np.round(y, 1)


def grid(search, X, y, cv, **params):
    """Search the same values on the same folds by GridSearchCV."""
    values = search.cv_results_["params"]
    (name,) = values[0]
    return GridSearchCV(
        search.pruner,
        {name: [value[name] for value in values]},
        cv=cv,
        scoring=search.scoring,
        error_score="raise",
    ).fit(X, y, **params)


def assert_same(search, oracle, tolerance=1e-12):
    ours, theirs = search.cv_results_, oracle.cv_results_
    assert set(theirs) <= set(ours)
    assert ours["params"] == theirs["params"]
    for key in theirs:
        if key.endswith("_test_score"):
            np.testing.assert_allclose(ours[key], theirs[key], rtol=tolerance, atol=tolerance)
        elif key.startswith("param_"):
            np.testing.assert_array_equal(ours[key], theirs[key])
            assert ours[key].dtype == theirs[key].dtype
    assert search.best_params_ == oracle.best_params_
    assert search.best_index_ == oracle.best_index_
    assert search.best_score_ == pytest.approx(oracle.best_score_, rel=tolerance)
    assert search.n_splits_ == oracle.n_splits_


def searched(pruner, X, y, *, cv=2, fit_params=None, **options):
    search = PrunerCV(pruner, cv=cv, **options).fit(X, y, **(fit_params or {}))
    assert_same(search, grid(search, X, y, cv, **(fit_params or {})))
    return search


@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize(
    "scoring", [None, "accuracy", "balanced_accuracy", "roc_auc_ovr", "neg_log_loss", "f1_macro"]
)
def test_a_classifier_is_searched_as_by_a_grid(name, scoring):
    X, y = classes()
    pruner = CostComplexityPruner(DecisionTreeClassifier(min_samples_leaf=3, random_state=0))
    search = searched(pruner, X, y, param_name=name, scoring=scoring)
    assert search.best_estimator_.get_params()[name] == search.best_params_[name]
    np.testing.assert_array_equal(search.predict(X), search.best_estimator_.predict(X))


@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize(
    "scoring",
    [
        None,
        "r2",
        "neg_mean_squared_error",
        "neg_mean_absolute_error",
        "neg_root_mean_squared_error",
    ],
)
def test_a_regressor_is_searched_as_by_a_grid(name, scoring):
    X, y = targets()
    pruner = CostComplexityPruner(DecisionTreeRegressor(min_samples_leaf=4, random_state=0))
    searched(pruner, X, y, param_name=name, scoring=scoring)


@pytest.mark.parametrize("seed", range(6))
def test_counts_are_equal_to_the_last_bit(seed):
    X, y = classes(n_classes=2, seed=seed)
    pruner = CostComplexityPruner(ExtraTreeClassifier(random_state=seed), risk="misclassification")
    for scoring in ("accuracy", "roc_auc"):
        search = PrunerCV(pruner, scoring=scoring, cv=4).fit(X, y)
        assert_same(search, grid(search, X, y, 4), tolerance=0)


@pytest.mark.parametrize("name", PARAMS)
def test_the_values_may_be_in_any_order(name):
    X, y = classes()
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    values = {"ccp_alpha": [0.01, np.inf, 0.0, 0.02, 0.01], "sparsity": [0.9, 0.1, 0.5, 0.1]}
    values["max_leaf_nodes"] = np.array([5, 40, 1, 2])
    search = searched(pruner, X, y, param_name=name, param_range=values[name])
    assert search.cv_results_[f"param_{name}"].tolist() == list(values[name])
    repeat = PrunerCV(pruner, cv=3, param_name=name, param_range=values[name], rule="one_se")
    chosen = repeat.fit(X, y).best_index_
    assert chosen == one_se_by_hand(repeat, -1 if name == "max_leaf_nodes" else 1)


@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc_ovr", "balanced_accuracy"])
def test_weights_of_a_classifier(scoring):
    X, y = classes()
    weight = np.random.default_rng(0).uniform(0.1, 3, len(y))
    tree = DecisionTreeClassifier(class_weight="balanced", random_state=0)
    searched(
        CostComplexityPruner(tree), X, y, scoring=scoring, fit_params={"sample_weight": weight}
    )


@pytest.mark.parametrize("scoring", [None, "neg_mean_squared_error", "neg_mean_absolute_error"])
@pytest.mark.parametrize("n_targets", [1, 3])
def test_weights_of_a_regressor(scoring, n_targets):
    X, y = targets(n_targets=n_targets)
    weight = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    pruner = CostComplexityPruner(DecisionTreeRegressor(max_depth=5, random_state=0))
    searched(pruner, X, y, scoring=scoring, fit_params={"sample_weight": weight})


def test_rows_without_weight_in_a_fold_are_left_to_the_scorer():
    X, y = targets(60)
    weight = np.r_[np.zeros(20), np.ones(40)]
    pruner = CostComplexityPruner(DecisionTreeRegressor(random_state=0))
    search = PrunerCV(pruner, cv=KFold(3), scoring="neg_mean_squared_error")
    with pytest.raises((ValueError, ZeroDivisionError), match=r"(?i)weights"):
        search.fit(X, y, sample_weight=weight)


def test_a_scorer_that_takes_no_weights_is_named():
    X, y = classes(n_classes=2)

    def depth(estimator, X, y):
        return -estimator.estimator_.get_depth()

    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    with pytest.warns(UserWarning, match=r"depth.* takes no sample_weight"):
        PrunerCV(pruner, cv=2, scoring=depth).fit(X, y, sample_weight=np.ones(len(y)))


def test_missing_values():
    X, y = classes()
    X[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    searched(CostComplexityPruner(DecisionTreeClassifier(random_state=0)), X, y, scoring="accuracy")
    searched(CostComplexityPruner(DecisionTreeClassifier(random_state=0)), X, y, scoring="f1_macro")


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss"])
def test_frames(scoring):
    X, y = classes()
    frame, labels = pd.DataFrame(X).add_prefix("x"), pd.Series(y, index=np.arange(len(y)) + 7)
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    search = searched(pruner, frame, labels, scoring=scoring)
    assert search.feature_names_in_.tolist() == frame.columns.tolist()
    assert search.predict(frame).shape == y.shape


def test_groups_and_splitters_of_ones_own():
    X, y = targets()
    groups = np.random.default_rng(0).integers(0, 7, len(y))
    pruner = CostComplexityPruner(ExtraTreeRegressor(min_samples_leaf=9, random_state=0))
    searched(pruner, X, y, cv=GroupKFold(4), fit_params={"groups": groups})
    for cv in (
        RepeatedKFold(n_splits=2, n_repeats=2, random_state=0),
        ShuffleSplit(random_state=1),
    ):
        searched(pruner, X, y, cv=cv)
    splits = [(np.arange(100), np.arange(100, 150)), (np.arange(50, 150), np.arange(50))]
    search = searched(pruner, X, y, cv=splits)
    assert search.n_splits_ == 2
    assert PrunerCV(pruner, cv=iter(splits)).fit(X, y).n_splits_ == 2


def test_folds_side_by_side():
    X, y = classes()
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    alone = PrunerCV(pruner, cv=4, scoring="roc_auc_ovr").fit(X, y)
    beside = PrunerCV(pruner, cv=4, scoring="roc_auc_ovr", n_jobs=2).fit(X, y)
    for key in alone.cv_results_:
        if "_time" not in key:
            np.testing.assert_array_equal(alone.cv_results_[key], beside.cv_results_[key])


def test_a_class_that_a_training_fold_lacks():
    X, y = classes()
    y[:2] = "yew"
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    searched(pruner, X, y, cv=KFold(3), scoring="accuracy")


def test_a_target_that_does_not_vary_in_a_fold():
    X, y = targets(60)
    y[:20] = 1.0
    searched(CostComplexityPruner(DecisionTreeRegressor(random_state=0)), X, y, cv=KFold(3))


def test_folds_of_one_row_have_no_r2():
    X, y = targets(12)
    pruner = CostComplexityPruner(DecisionTreeRegressor(random_state=0))
    with pytest.warns(UserWarning, match="not (finite|well-defined)"):
        search = PrunerCV(pruner, cv=12, param_range=[0.0, np.inf]).fit(X, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).all()
    assert search.cv_results_["rank_test_score"].tolist() == [1, 1]
    assert search.best_index_ == 0
    with pytest.warns(UserWarning, match="not (finite|well-defined)"):
        assert search.set_params(rule="one_se").fit(X, y).best_index_ == 0


def test_a_frozen_tree_is_pruned_and_not_trained():
    X, y = classes()
    tree = DecisionTreeClassifier(random_state=0).fit(X[:80], y[:80])
    search = searched(CostComplexityPruner(FrozenEstimator(tree)), X[80:], y[80:])
    assert search.best_estimator_.sparsity_ > 0
    assert tree.tree_.node_count > search.best_estimator_.estimator_.tree_.node_count


def test_a_stump_and_a_root():
    X, y = classes()
    searched(CostComplexityPruner(DecisionTreeClassifier(max_depth=1)), X, y)
    search = searched(CostComplexityPruner(DecisionTreeClassifier(min_samples_split=999)), X, y)
    assert search.cv_results_["params"] == [{"ccp_alpha": 0.0}, {"ccp_alpha": 1.0}]


def test_scikit_learn_s_own_pruning_scores_alike():
    X, y = load_diabetes(return_X_y=True)
    tree = DecisionTreeRegressor(min_samples_leaf=5, random_state=0)
    search = PrunerCV(CostComplexityPruner(tree)).fit(X, y)
    alphas = [params["ccp_alpha"] for params in search.cv_results_["params"]][:-1]
    oracle = GridSearchCV(tree, {"ccp_alpha": alphas}, cv=5).fit(X, y)
    ours = search.cv_results_["mean_test_score"][:-1]
    np.testing.assert_allclose(ours, oracle.cv_results_["mean_test_score"], rtol=1e-12)
    assert search.best_params_ == oracle.best_params_


# which values


def test_auto_alphas_are_geometric_means():
    X, y = classes()
    tree = DecisionTreeClassifier(random_state=0)
    search = PrunerCV(CostComplexityPruner(tree), cv=2).fit(X, y)
    alphas = np.unique(np.round(tree.cost_complexity_pruning_path(X, y).ccp_alphas, 14))
    alphas = alphas[alphas > 0]
    tried = [params["ccp_alpha"] for params in search.cv_results_["params"]]
    assert tried[0] == 0
    assert alphas[-1] < tried[-1] < np.inf
    np.testing.assert_allclose(tried[1:-1], np.sqrt(alphas[:-1] * alphas[1:]), rtol=1e-9)


@pytest.mark.parametrize(
    ("tree", "y"),
    [
        (DecisionTreeClassifier(random_state=0), np.random.default_rng(0).integers(0, 2, 60)),
        (DecisionTreeRegressor(random_state=0), 1e3 * np.random.default_rng(0).normal(size=60)),
        (DecisionTreeRegressor(random_state=0), np.zeros(60)),
    ],
)
def test_where_the_root_is_best_scikit_learn_takes_the_price(tree, y):
    X = np.random.default_rng(1).normal(size=(60, 2))
    search = PrunerCV(CostComplexityPruner(tree), rule="one_se").fit(X, y)
    assert search.best_estimator_.estimator_.get_n_leaves() == 1
    assert clone(tree).set_params(**search.best_params_).fit(X, y).get_n_leaves() == 1
    largest = PrunerCV(CostComplexityPruner(tree), cv=3).fit(X, y).cv_results_["params"][-1]
    for train, _ in KFold(3).split(X):
        assert clone(tree).set_params(**largest).fit(X[train], y[train]).get_n_leaves() == 1


@pytest.mark.parametrize("kind", ["counts", "digits"])
def test_the_prices_of_scikit_learns_path_score_as_in_a_grid(kind):
    rng = np.random.default_rng(0)
    if kind == "counts":
        X, y = rng.integers(0, 6, (60, 3)).astype(float), rng.integers(0, 2, 60)
    else:
        X, y = (part[:200] for part in load_digits(return_X_y=True))
    tree = DecisionTreeClassifier(random_state=0)
    train = next(iter(KFold(3).split(X)))[0]
    # those of a fold: where they are compared in the fold, the last bit decides
    prices = tree.cost_complexity_pruning_path(X[train], y[train]).ccp_alphas
    prices = np.unique(np.abs(prices))
    search = PrunerCV(CostComplexityPruner(tree), cv=KFold(3), param_range=prices).fit(X, y)
    oracle = GridSearchCV(tree, {"ccp_alpha": prices}, cv=KFold(3)).fit(X, y)
    assert_array_equal(
        search.cv_results_["split0_test_score"], oracle.cv_results_["split0_test_score"]
    )
    assert search.best_params_ == oracle.best_params_


def test_a_cv_without_splits_is_refused():
    with pytest.raises(ValueError, match="cv must give at least one split"):
        PrunerCV(CostComplexityPruner(DecisionTreeClassifier()), cv=[]).fit([[0.0], [1.0]], [0, 1])


def test_alphas_that_differ_by_rounding_are_one():
    # gains of 0.1 + 0.2 and of 0.3 below a root that is worth 2
    left, right = [1, 3, 5, -1, -1, -1, -1], [2, 4, 6, -1, -1, -1, -1]
    path = pruning_path(left, right, [2.6, 0.1 + 0.2, 0.3, 0.0, 0.0, 0.0, 0.0])
    assert path.n_steps == 4
    assert geometric_mean_alphas(path.alphas[1:], path.rounding[1:]) == pytest.approx(
        [0, np.sqrt(0.3 * 2), 2 * (0.3 + 0.3 + 2)]
    )


@pytest.mark.parametrize("name", ["sparsity", "max_leaf_nodes"])
def test_auto_sizes_are_those_of_the_path(name):
    X, y = classes()
    tree = DecisionTreeClassifier(random_state=0)
    full = TreeArrays.from_sklearn(clone(tree).fit(X, y).tree_)
    path = pruning_path(full.left, full.right, impurity_risk(full))
    search = PrunerCV(CostComplexityPruner(tree), cv=2, param_name=name).fit(X, y)
    expected = path.sparsities if name == "sparsity" else path.n_leaves
    assert [params[name] for params in search.cv_results_["params"]] == expected.tolist()
    assert {type(params[name]) for params in search.cv_results_["params"]} <= {int, float}


def test_the_parameter_that_the_pruner_sets_is_searched():
    X, y = classes()
    tree = DecisionTreeClassifier(random_state=0)
    search = PrunerCV(CostComplexityPruner(tree, max_leaf_nodes=4), cv=2).fit(X, y)
    assert list(search.best_params_) == ["max_leaf_nodes"]
    search = PrunerCV(CostComplexityPruner(tree), cv=2).fit(X, y)
    assert list(search.best_params_) == ["ccp_alpha"]
    both = PrunerCV(CostComplexityPruner(tree, sparsity=0.5), cv=2, param_name="ccp_alpha")
    with pytest.raises(ValueError, match="only one of sparsity, ccp_alpha and max_leaf_nodes"):
        both.fit(X, y)


# which is chosen


def one_se_by_hand(search, direction=1):
    folds = [search.cv_results_[f"split{i}_test_score"] for i in range(search.n_splits_)]
    scores = np.transpose(folds)
    best = scores.mean(axis=1).argmax()
    spread = np.sqrt(np.sum((scores[best] - scores[best].mean()) ** 2) / (len(folds) - 1))
    bar = scores[best].mean() - spread / np.sqrt(len(folds))
    (name,) = search.best_params_
    values = [direction * params[name] for params in search.cv_results_["params"]]
    allowed = [values[i] for i in range(len(values)) if scores[i].mean() >= bar]
    return values.index(max(allowed))


@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize("seed", range(3))
def test_the_sparsest_within_one_standard_error(name, seed):
    X, y = classes(seed=seed)
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    best = PrunerCV(pruner, param_name=name).fit(X, y)
    near = PrunerCV(pruner, param_name=name, rule="one_se").fit(X, y)
    assert near.best_index_ == one_se_by_hand(near, -1 if name == "max_leaf_nodes" else 1)
    assert near.best_estimator_.sparsity_ >= best.best_estimator_.sparsity_
    assert near.best_params_ == near.cv_results_["params"][near.best_index_]
    assert near.best_score_ == near.cv_results_["mean_test_score"][near.best_index_]


def test_one_se_on_numbers():
    results = {
        "split0_test_score": np.array([0.70, 0.80, 0.76, 0.74, 0.5]),
        "split1_test_score": np.array([0.70, 0.88, 0.84, 0.86, 0.5]),
        "split2_test_score": np.array([0.70, 0.84, 0.83, 0.80, 0.5]),
        "mean_sparsity": np.array([0.0, 0.2, 0.4, 0.6, 1.0]),
        "params": [{"sparsity": v} for v in (0.0, 0.2, 0.4, 0.6, 1.0)],
    }
    results["mean_test_score"] = np.mean(
        [results[f"split{i}_test_score"] for i in range(3)], axis=0
    )
    # the best, 0.84, has a standard deviation of 0.04: the bar is at 0.84 - 0.04 / sqrt(3) = 0.8169
    assert one_se_index(results) == 1
    results["mean_test_score"][2] = 0.817
    assert one_se_index(results) == 2


def test_one_se_needs_two_folds():
    X, y = classes()
    pruner = CostComplexityPruner(DecisionTreeClassifier())
    with pytest.raises(ValueError, match="needs two folds"):
        PrunerCV(pruner, cv=ShuffleSplit(1), rule="one_se").fit(X, y)
    assert PrunerCV(pruner, cv=ShuffleSplit(1)).fit(X, y).n_splits_ == 1


def test_the_first_of_ties_is_the_best():
    X, y = classes()
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    search = PrunerCV(pruner, param_range=[5.0, 3.0, np.inf, 4.0]).fit(X, y)
    assert search.best_index_ == 0
    assert search.cv_results_["rank_test_score"].tolist() == [1, 1, 1, 1]
    assert search.set_params(rule="one_se").fit(X, y).best_params_ == {"ccp_alpha": np.inf}
    leaves = PrunerCV(pruner, param_name="max_leaf_nodes", param_range=[999, 998, 1000])
    assert leaves.fit(X, y).best_index_ == 0
    assert leaves.set_params(rule="one_se").fit(X, y).best_params_ == {"max_leaf_nodes": 998}


def test_the_sparsity_reached_stands_beside_the_score():
    X, y = classes()
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    cv = KFold(3)
    search = PrunerCV(pruner, cv=cv, param_range=[0.0, 0.01, np.inf]).fit(X, y)
    for fold, (train, _) in enumerate(cv.split(X)):
        for row, params in enumerate(search.cv_results_["params"]):
            reached = clone(pruner).set_params(**params).fit(X[train], y[train]).sparsity_
            assert search.cv_results_[f"split{fold}_sparsity"][row] == reached
    means = np.mean([search.cv_results_[f"split{i}_sparsity"] for i in range(3)], axis=0)
    np.testing.assert_allclose(search.cv_results_["mean_sparsity"], means)


# the ways to score


def test_a_scorer_of_ones_own_sees_fitted_pruners():
    X, y = classes()
    seen = []

    def frugal(estimator, X, y):
        seen.append(estimator)
        return estimator.score(X, y) + 0.1 * estimator.sparsity_ - 1e-3 * estimator.ccp_alpha

    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    search = PrunerCV(pruner, scoring=frugal, cv=3, param_range=[0.0, 0.01, 0.02]).fit(X, y)
    assert all(isinstance(estimator, CostComplexityPruner) for estimator in seen)
    assert_same(search, grid(search, X, y, 3))


def test_a_made_scorer_with_settings():
    X, y = targets(n_targets=2)
    pruner = CostComplexityPruner(DecisionTreeRegressor(max_depth=4, random_state=0))
    for scoring in (
        make_scorer(r2_score, multioutput="variance_weighted"),
        make_scorer(mean_absolute_error, greater_is_better=False),
        make_scorer(mean_absolute_error),
    ):
        searched(pruner, X, y, scoring=scoring)


def test_several_outputs_of_a_classifier():
    X, y = classes()
    Y = np.stack([y == "oak", X[:, 0] > 0], axis=1).astype(int)
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    searched(pruner, X, Y, scoring="accuracy")
    scorer = make_scorer(f1_score, average="samples", zero_division=0.0)
    searched(pruner, X, Y, scoring=scorer)


def test_several_metrics_are_refused():
    X, y = classes()
    pruner = CostComplexityPruner(DecisionTreeClassifier())
    for scoring in (["accuracy", "f1_macro"], {"a": "accuracy"}):
        with pytest.raises(ValueError, match="'scoring' parameter of PrunerCV"):
            PrunerCV(pruner, scoring=scoring).fit(X, y)
    with pytest.raises(ValueError, match="one number, for one metric"):
        PrunerCV(pruner, scoring=lambda estimator, X, y: {"a": 1.0}).fit(X, y)


def test_subtrees_that_predict_alike_score_alike():
    # rows of the test fold meet few of the splits: most neighbours on the path tie
    X, y = targets(80)
    cv = ShuffleSplit(3, test_size=4, random_state=0)
    search = searched(CostComplexityPruner(DecisionTreeRegressor(random_state=0)), X, y, cv=cv)
    for fold, (train, test) in enumerate(cv.split(X)):
        told = {}
        for row, params in enumerate(search.cv_results_["params"]):
            pruner = clone(search.pruner).set_params(**params).fit(X[train], y[train])
            told.setdefault(pruner.predict(X[test]).tobytes(), set()).add(
                search.cv_results_[f"split{fold}_test_score"][row]
            )
        assert {len(scores) for scores in told.values()} == {1}
        assert len(told) < 40


@pytest.mark.parametrize("seed", range(5))
def test_descent_by_hand(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.integers(0, 6, (80, 3)).astype(float), rng.integers(0, 4, 80).astype(float)
    fitted = DecisionTreeRegressor(random_state=seed).fit(X, y)
    tree = TreeArrays.from_sklearn(fitted.tree_)
    path = pruning_path(tree.left, tree.right, impurity_risk(tree))
    way = fitted.decision_path(X).toarray().astype(bool)
    descent = Descent(tree, path, fitted.apply(X))
    expected = []
    for step in range(path.n_steps):
        stops = way & path.collapsed(step)
        depth = np.where(stops, way.cumsum(axis=1), 999)  # nodes are numbered from the root down
        expected.append(depth.argmin(axis=1))
    got = list(descent.nodes_at(range(path.n_steps)))
    np.testing.assert_array_equal(got, expected)
    some = [0, 2, path.n_steps - 1]
    np.testing.assert_array_equal(list(descent.nodes_at(some)), np.array(expected)[some])
    error = np.abs(y - tree.value[:, 0, 0][np.array(expected)]).sum(axis=1)
    sums = descent.sums(lambda rows, nodes: np.abs(y[rows] - tree.value[nodes, 0, 0])[:, None])
    np.testing.assert_allclose(sums[:, 0], error, atol=1e-12)


# the protocol


@pytest.mark.parametrize("name", PARAMS)
def test_the_path_yields_what_fit_would_leave(name):
    X, y = classes()
    frame = pd.DataFrame(X).add_prefix("x")
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    values = {"ccp_alpha": [0.0, 0.01, np.inf], "sparsity": [0.0, 0.4, 1.0]}
    values["max_leaf_nodes"] = [99, 4, 1]
    for value, walked in zip(
        values[name], pruner.path(frame, y, values[name], param_name=name), strict=True
    ):
        fitted = clone(pruner).set_params(**{name: value}).fit(frame, y)
        assert vars(walked).keys() == vars(fitted).keys()
        assert walked.sparsity_ == fitted.sparsity_
        assert walked.pruning_history_ == fitted.pruning_history_
        assert walked.estimator is not pruner.estimator
        np.testing.assert_array_equal(walked.predict_proba(frame), fitted.predict_proba(frame))
        np.testing.assert_array_equal(
            walked.estimator_.tree_.threshold, fitted.estimator_.tree_.threshold
        )
    assert not pruner.__sklearn_is_fitted__()
    assert list(pruner.path(frame, y, [], param_name=name)) == []


def test_a_pruner_without_a_cheaper_path_is_trained_for_each_value():
    X, y = classes(90)
    X = X.astype(np.float32)
    net = MLPNetClassifier((6,), max_epochs=2, lr=0.1)
    pruner = MagnitudePruner(net, random_state=0)
    search = PrunerCV(pruner, param_range=[0.9, 0.5], cv=2).fit(X, y)
    assert_same(search, grid(search, X, y, 2), tolerance=0)
    assert search.cv_results_["mean_sparsity"] == pytest.approx([0.9, 0.5], abs=0.02)
    assert search.best_estimator_.sparsity_ >= min(0.9, search.best_params_["sparsity"])
    with pytest.raises(ValueError, match="MagnitudePruner does not know which values of sparsity"):
        PrunerCV(pruner, cv=2).fit(X, y)
    with pytest.raises(ValueError, match=r"one of \['sparsity'\].*MagnitudePruner"):
        PrunerCV(pruner, param_name="ccp_alpha", param_range=[0.0]).fit(X, y)


def test_every_way_to_score_trees_agrees_with_the_general_one():
    X, y = classes()
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    values = [0.0, 0.004, 0.01, 0.05, np.inf]
    scorer = make_scorer(lambda y, predicted: float(np.mean(y == predicted)))
    args = (X[:99], y[:99], values, X[99:], y[99:], scorer)
    quick, plain = pruner.path_scores(*args), BasePruner.path_scores(pruner, *args)
    np.testing.assert_array_equal(quick.scores, plain.scores)
    np.testing.assert_array_equal(quick.sparsities, plain.sparsities)
    assert CostComplexityPruner.path_scores is not BasePruner.path_scores


# the estimator


def test_wrong_parameters_are_named():
    X, y = classes()
    pruner = CostComplexityPruner(DecisionTreeClassifier())
    for wrong, message in (
        ({"pruner": DecisionTreeClassifier()}, "'pruner' parameter of PrunerCV"),
        ({"rule": "worst"}, "'rule' parameter"),
        ({"refit": "accuracy"}, "'refit' parameter"),
        ({"param_name": "risk"}, "param_name must be one of"),
        ({"param_range": "some"}, "'param_range' parameter"),
        ({"param_range": []}, "param_range must be 'auto', 'all' or a list"),
        ({"param_range": [[0.1]]}, "param_range must be 'auto', 'all' or a list"),
        ({"verbose": -1}, "'verbose' parameter"),
        ({"param_range": [None, 0.1]}, "must hold numbers, as values of ccp_alpha"),
        ({"param_range": [-1.0]}, "'ccp_alpha' parameter of CostComplexityPruner"),
        ({"param_range": [0.1, -1.0]}, "'ccp_alpha' parameter of CostComplexityPruner"),
    ):
        search = PrunerCV(**{"pruner": pruner, **wrong})
        with pytest.raises(ValueError, match=message):
            search.fit(X, y)
        assert not hasattr(search, "cv_results_")


def test_a_failed_fit_leaves_the_search_as_it_was():
    X, y = classes()
    search = PrunerCV(CostComplexityPruner(DecisionTreeClassifier()), cv=2).fit(X, y)
    before = search.cv_results_
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        search.fit(X, y[:-1])
    assert search.cv_results_ is before


def test_it_delegates_as_a_grid_search_does():
    X, y = classes()
    search = PrunerCV(CostComplexityPruner(DecisionTreeClassifier()), scoring="neg_log_loss")
    assert is_classifier(search)
    assert is_regressor(PrunerCV(CostComplexityPruner(DecisionTreeRegressor())))
    assert hasattr(search, "predict_proba")
    assert not hasattr(search, "decision_function")
    assert not hasattr(search, "n_features_in_")
    assert not hasattr(PrunerCV(CostComplexityPruner(DecisionTreeRegressor())), "predict_proba")
    with pytest.raises(NotFittedError):
        search.predict(X)
    search.fit(X, y)
    best = search.best_estimator_
    for method in ("predict_proba", "predict_log_proba"):
        np.testing.assert_array_equal(getattr(search, method)(X), getattr(best, method)(X))
    assert (search.transform(X) != best.transform(X)).nnz == 0
    assert search.score(X, y) == search.scorer_(best, X, y)
    assert search.classes_.tolist() == ["ash", "birch", "oak"]
    assert search.n_features_in_ == 8
    assert search.refit_time_ > 0


def test_without_refit():
    X, y = classes()
    search = PrunerCV(CostComplexityPruner(DecisionTreeClassifier()), cv=2).fit(X, y)
    search.set_params(refit=False).fit(X, y)
    assert search.best_params_ == search.cv_results_["params"][search.best_index_]
    for name in ("best_estimator_", "refit_time_", "predict", "classes_", "n_features_in_"):
        assert not hasattr(search, name)
    with pytest.raises(AttributeError) as raised:
        search.predict(X)
    assert "refit=False" in str(raised.value.__cause__ or raised.value)


def test_it_clones_pickles_and_shows_itself():
    X, y = classes()
    search = PrunerCV(CostComplexityPruner(DecisionTreeClassifier(random_state=0)), rule="one_se")
    assert clone(search).get_params()["pruner__estimator__random_state"] == 0
    search.fit(X, y)
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))
    assert again.best_params_ == search.best_params_
    assert "PrunerCV" in search._repr_html_()
    assert "DecisionTreeClassifier" in search._repr_html_()


def test_inside_scikit_learn():
    X, y = classes()
    pipe = make_pipeline(
        StandardScaler(), PrunerCV(CostComplexityPruner(DecisionTreeClassifier(random_state=0)))
    )
    assert cross_val_score(pipe, X, y, cv=3).shape == (3,)
    grid = {"prunercv__pruner__estimator__criterion": ["gini", "entropy"]}
    assert GridSearchCV(pipe, grid, cv=2).fit(X, y).best_estimator_.score(X, y) > 0.5


def test_metadata_is_routed():
    X, y = targets()
    rng = np.random.default_rng(0)
    weight, groups = rng.uniform(0.5, 2, len(y)), rng.integers(0, 6, len(y))
    with config_context(enable_metadata_routing=True):
        tree = DecisionTreeRegressor(random_state=0)
        pruner = CostComplexityPruner(tree).set_fit_request(sample_weight=True)
        scorer = make_scorer(r2_score).set_score_request(sample_weight="test_weight")
        given = {"sample_weight": weight, "test_weight": weight**2, "groups": groups}
        search = PrunerCV(pruner, scoring=scorer, cv=GroupKFold(3), param_range=[0, 10, 50])
        search.fit(X, y, **given)
        assert_same(search, grid(search, X, y, GroupKFold(3), **given))
        assert search.score(X, y, test_weight=weight) == pytest.approx(
            r2_score(y, search.predict(X), sample_weight=weight)
        )


@parametrize_with_checks(
    [
        PrunerCV(CostComplexityPruner(DecisionTreeClassifier(random_state=0)), cv=2),
        PrunerCV(CostComplexityPruner(DecisionTreeRegressor(random_state=0)), cv=2, rule="one_se"),
        PrunerCV(
            CostComplexityPruner(DecisionTreeClassifier(random_state=0)),
            param_name="sparsity",
            param_range=[0.0, 0.5],
            cv=2,
        ),
    ]
)
def test_scikit_learn_s_checks(estimator, check):
    check(estimator)


# --- rows that are sparse, or infinite ----------------------------------------------------

FEW = {"n_estimators": 3, "random_state": 0}
TREE_PRUNERS = [
    CostComplexityPruner(DecisionTreeClassifier(random_state=0)),
    CostComplexityPruner(RandomForestClassifier(**FEW)),
    CostComplexityPruner(GradientBoostingClassifier(**FEW)),
    ErrorBasedPruner(DecisionTreeClassifier(random_state=0)),
    MinimumErrorPruner(DecisionTreeClassifier(random_state=0)),
    ReducedErrorPruner(RandomForestClassifier(**FEW), random_state=0),
]


@pytest.mark.parametrize("scoring", ["roc_auc", "accuracy"])
def test_baggings_that_were_not_shown_every_column_are_searched_as_by_a_grid(scoring):
    X, y = make_classification(80, 6, flip_y=0.1, random_state=0)
    bagging = BaggingClassifier(
        DecisionTreeClassifier(max_depth=3), 2, max_features=0.3, random_state=0
    )
    shown = bagging.fit(X, y).estimators_features_
    assert np.setdiff1d(np.arange(6), np.concatenate(shown)).size
    for rows in (X, csr_array(X)):
        searched(
            CostComplexityPruner(bagging),
            rows,
            y,
            param_name="sparsity",
            param_range=[0.0, 0.4, 0.8],
            scoring=scoring,
        )


@pytest.mark.parametrize("scoring", ["roc_auc", "neg_log_loss", "f1_macro", "accuracy"])
@pytest.mark.parametrize("pruner", TREE_PRUNERS)
@pytest.mark.parametrize("form", [csr_array, csc_array])
def test_sparse_rows_score_as_dense_ones(form, pruner, scoring):
    X, y = make_classification(100, 8, flip_y=0.1, random_state=0)
    X[np.abs(X) < 0.7] = 0
    search = PrunerCV(
        pruner, param_name="sparsity", param_range=[0.0, 0.3, 0.6], cv=2, scoring=scoring
    )
    dense = clone(search).fit(X, y)
    sparse = clone(search).fit(form(X), y)
    assert_allclose(
        sparse.cv_results_["mean_test_score"], dense.cv_results_["mean_test_score"], rtol=1e-6
    )
    assert_array_equal(sparse.predict(form(X)), dense.predict(X))


def test_infinite_rows_of_histograms_are_scored_by_probabilities():
    X, y = make_classification(200, 4, random_state=0)
    X[::7, 0] = np.inf
    pruner = CostComplexityPruner(HistGradientBoostingClassifier(max_iter=3, random_state=0))
    params = {"param_name": "sparsity", "param_range": [0.0, 0.5], "scoring": "roc_auc"}
    search = PrunerCV(pruner, cv=2, **params).fit(X, y)
    grid = GridSearchCV(pruner, {"sparsity": [0.0, 0.5]}, cv=2, scoring="roc_auc").fit(X, y)
    expected = grid.cv_results_["mean_test_score"]
    assert_allclose(search.cv_results_["mean_test_score"], expected)


# how many values, and what is shown meanwhile


@pytest.mark.parametrize("name", PARAMS)
def test_auto_tries_a_hundred_at_most_and_all_tries_all(name):
    X, y = make_regression(400, 5, noise=90.0, random_state=0)
    tree = DecisionTreeRegressor(random_state=0)
    pruner = CostComplexityPruner(tree)
    options = {"cv": 3, "param_name": name}
    auto = PrunerCV(pruner, **options).fit(X, y).cv_results_
    every = PrunerCV(pruner, param_range="all", **options).fit(X, y).cv_results_
    tried, all_of_them = (
        [params[name] for params in results["params"]] for results in (auto, every)
    )
    n_prices = len(np.unique(tree.cost_complexity_pruning_path(X, y).ccp_alphas))
    assert len(all_of_them) > 0.95 * n_prices > 300
    assert 50 < len(tried) <= 100
    assert set(tried) <= set(all_of_them)
    assert (tried[0], tried[-1]) == (all_of_them[0], all_of_them[-1])
    best = every["mean_test_score"].argmax()
    error = every["std_test_score"][best] / np.sqrt(2)
    assert auto["mean_test_score"].max() > every["mean_test_score"][best] - 0.2 * error


@pytest.mark.parametrize(
    "pruner",
    [MagnitudePruner(MLPNetClassifier((3,))), ForestPruner(RandomForestClassifier(2))],
    ids=lambda pruner: type(pruner).__name__,
)
def test_all_needs_a_path(pruner):
    X, y = classes(60)
    with pytest.raises(ValueError, match=f"'all'.*{type(pruner).__name__}.*list of values"):
        PrunerCV(pruner, param_range="all", cv=2).fit(X.astype(np.float32), y)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_verbose_shows_a_bar_over_the_folds(n_jobs, capsys):
    X, y = classes(60)
    search = PrunerCV(CostComplexityPruner(DecisionTreeClassifier()), cv=3, n_jobs=n_jobs)
    search.fit(X, y)
    assert capsys.readouterr().err == ""
    search.set_params(verbose=1).fit(X, y)
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize("granularity", ["leaf", "tree"])
def test_verbose_of_a_forest_shows_a_bar(granularity, capsys):
    X, y = classes(60)
    forest = RandomForestClassifier(3, random_state=0)
    pruner = ForestPruner(forest, granularity=granularity, sparsity=0.4).fit(X, y)
    assert capsys.readouterr().err == ""
    pruner.set_params(verbose=1).fit(X, y)
    assert "100%" in capsys.readouterr().err


def test_features_are_selected_over_a_search():
    X, y = classes()
    search = PrunerCV(CostComplexityPruner(DecisionTreeClassifier(random_state=0)), cv=2)
    assert not hasattr(search, "feature_importances_")
    assert RFE(search, n_features_to_select=3).fit(X, y).support_.sum() == 3
    selected = SelectFromModel(search, max_features=2).fit(X, y)
    importances = search.fit(X, y).best_estimator_.estimator_.feature_importances_
    assert_array_equal(search.feature_importances_, importances)
    assert_array_equal(
        np.flatnonzero(selected.get_support()), np.sort(np.argsort(-importances)[:2])
    )
    assert not hasattr(search, "coef_")
    assert not hasattr(search.set_params(refit=False).fit(X, y), "feature_importances_")


@pytest.mark.parametrize("scoring", [None, "roc_auc_ovr"])
def test_a_search_takes_strict_floating_point(scoring):
    X, y = classes()
    for pruner in (
        CostComplexityPruner(DecisionTreeClassifier(random_state=0)),
        CostComplexityPruner(RandomForestClassifier(3, random_state=0)),
        CostComplexityPruner(GradientBoostingClassifier(n_estimators=3, random_state=0)),
        CostComplexityPruner(HistGradientBoostingClassifier(max_iter=3)),
        ErrorBasedPruner(DecisionTreeClassifier(random_state=0)),
        MinimumErrorPruner(DecisionTreeClassifier(random_state=0)),
        ReducedErrorPruner(DecisionTreeClassifier(random_state=0), random_state=0),
        ForestPruner(RandomForestClassifier(3, random_state=0)),
    ):
        with np.errstate(all="raise"):
            search = PrunerCV(pruner, param_name="sparsity", scoring=scoring, cv=2).fit(X, y)
            search.predict_proba(X)
            search.transform(X)
