"""The contract of every pruner, shown on trees and on nets."""

import pickle
import random
import re
import subprocess
import sys
import warnings
from copy import deepcopy
from inspect import signature

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, issparse
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
)
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter
from skorch.callbacks import Callback
from torch import nn

from skprune import (
    CostComplexityPruner,
    L0Pruner,
    MagnitudePruner,
    MLPNetClassifier,
    MLPNetRegressor,
    PrunerCV,
    SparseClassifier,
    SparseRegressor,
)
from skprune.base import BasePruner
from tests.conftest import FORBID_TORCH, user_net

QUICK = {"max_epochs": 2, "lr": 0.02, "batch_size": 32}


def tree_classifier(**params):
    return CostComplexityPruner(
        DecisionTreeClassifier(random_state=0), **({"sparsity": 0.5} | params)
    )


def tree_regressor(**params):
    return CostComplexityPruner(
        DecisionTreeRegressor(random_state=0), **({"sparsity": 0.5} | params)
    )


def net_classifier(**params):
    defaults = {"sparsity": 0.5, "random_state": 0}
    return MagnitudePruner(MLPNetClassifier((8,), **QUICK), **(defaults | params))


def net_regressor(**params):
    defaults = {"sparsity": 0.5, "random_state": 0}
    return MagnitudePruner(MLPNetRegressor((8,), **QUICK), **(defaults | params))


def user_classifier(**params):
    defaults = {"sparsity": 0.5, "random_state": 0}
    return MagnitudePruner(user_net(max_epochs=2), **(defaults | params))


CLASSIFIERS = [tree_classifier, net_classifier, user_classifier]
REGRESSORS = [tree_regressor, net_regressor]
EVERY_PRUNER = CLASSIFIERS + REGRESSORS
NET_PRUNERS = [net_classifier, user_classifier, net_regressor]

every_pruner = pytest.mark.parametrize("make", EVERY_PRUNER)
classifiers = pytest.mark.parametrize("make", CLASSIFIERS)


@pytest.fixture
def rows(iris):
    """Rows that are whole numbers, so that every dtype holds them exactly."""
    return np.round(iris[0] * 20).astype(np.float32)


@pytest.fixture
def target(iris):
    """Serves as labels and as a regression target."""
    return iris[1]


# --- constructor, clone, the caller's estimator -------------------------------------------


@every_pruner
def test_constructor_stores_its_arguments_as_they_are(make):
    pruner = make()
    assert vars(pruner) == pruner.get_params(deep=False)


@every_pruner
def test_clone_is_unfitted_with_equal_parameters(make, rows, target):
    pruner = make(sparsity=0.25).fit(rows, target)
    copy = clone(pruner)
    assert copy.sparsity == 0.25
    assert copy.estimator is not pruner.estimator
    assert vars(copy).keys() == copy.get_params(deep=False).keys()
    assert_array_equal(copy.fit(rows, target).predict(rows), pruner.predict(rows))


@every_pruner
def test_callers_estimator_is_untouched(make, rows, target):
    pruner = make()
    estimator = pruner.estimator
    before = set(vars(estimator))
    pruner.fit(rows, target)
    assert pruner.estimator is estimator
    assert set(vars(estimator)) == before
    assert not hasattr(estimator, "classes_")
    assert not hasattr(estimator, "tree_")
    assert not getattr(estimator, "initialized_", False)
    assert pruner.estimator_ is not estimator


@every_pruner
def test_fit_returns_self_with_all_fitted_attributes(make, rows, target):
    pruner = make()
    assert pruner.fit(rows, target) is pruner
    assert pruner.n_features_in_ == 4
    assert 0.5 <= pruner.sparsity_ <= 1
    assert pruner.pruning_history_[-1]["sparsity"] == pruner.sparsity_
    assert isinstance(pruner.sparse_estimator_, SparseClassifier | SparseRegressor)
    assert all(isinstance(w, csr_array) for w in pruner.sparse_weights_.values())
    assert not hasattr(pruner, "feature_names_in_")


@pytest.mark.parametrize("make", NET_PRUNERS)
def test_sparsity_of_a_net_is_counted_in_its_sparse_weights(make, rows, target):
    pruner = make(sparsity=0.7).fit(rows, target)
    weights = pruner.sparse_weights_.values()
    zeros = sum(np.prod(w.shape) - np.count_nonzero(w.toarray()) for w in weights)
    size = sum(np.prod(w.shape) for w in weights)
    assert pruner.sparsity_ == zeros / size
    assert zeros == np.ceil(0.7 * size)


# --- labels -------------------------------------------------------------------------------

LABELS = {
    "strings": ["versicolor", "virginica", "setosa"],
    "objects": np.array(["b", "a", "c"], dtype=object),
    "negative": [-1, 0, -7],
    "any integers": [1000, -5, 7],
    "unsigned bytes": np.array([200, 3, 77], dtype=np.uint8),
}


@classifiers
@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind_come_back(make, kind, rows, target):
    labels = np.sort(np.asarray(LABELS[kind]))
    pruner = make().fit(rows, labels[target])
    assert_array_equal(pruner.classes_, labels)
    assert pruner.classes_.dtype == labels.dtype
    codes = make().fit(rows, target).predict(rows)
    assert len(np.unique(codes)) > 1
    predicted = pruner.predict(rows)
    assert_array_equal(predicted, labels[codes])
    assert predicted.dtype == labels.dtype
    assert pruner.score(rows, labels[target]) == np.mean(codes == target)


@pytest.mark.parametrize("make", [tree_classifier, net_classifier])
def test_boolean_labels_come_back(make, rows, target):
    pruner = make().fit(rows, target == 0)
    assert pruner.classes_.tolist() == [False, True]
    assert pruner.predict(rows).dtype == bool
    assert pruner.predict_proba(rows).shape == (150, 2)


@classifiers
def test_probabilities_stand_in_the_order_of_the_classes(make, rows, target):
    pruner = make().fit(rows, np.array(["b", "c", "a"])[target])
    proba = pruner.predict_proba(rows)
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert_array_equal(pruner.classes_[proba.argmax(axis=1)], pruner.predict(rows))
    assert_array_equal(pruner.predict_proba(rows), pruner.sparse_estimator_.predict_proba(rows))


# --- kinds of input -----------------------------------------------------------------------

NAMES = ["sepal length", "sepal width", "petal length", "petal width"]
KINDS = {
    "float64": lambda X: X.astype(np.float64),
    "int": lambda X: X.astype(np.int64),
    "lists": lambda X: X.tolist(),
    "fortran order": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "pandas": lambda X: pd.DataFrame(X, columns=NAMES),
    "polars": lambda X: pl.DataFrame(X, schema=NAMES),
}


@every_pruner
@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_of_input_agree_exactly(make, kind, rows, target):
    X = KINDS[kind](rows)
    expected = make().fit(rows, target)
    pruner = make().fit(X, target)
    method = "predict_proba" if is_classifier(pruner) else "predict"
    assert_array_equal(getattr(pruner, method)(X), getattr(expected, method)(rows))
    assert_array_equal(pruner.predict(X), expected.predict(rows))
    assert (pruner.transform(X[:5]) != expected.transform(rows[:5])).sum() == 0


@every_pruner
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_feature_names_are_remembered_and_checked(make, kind, rows, target):
    frame = KINDS[kind](rows)
    pruner = make().fit(frame, target)
    assert pruner.feature_names_in_.tolist() == NAMES
    assert pruner.sparse_estimator_.feature_names_in_.tolist() == NAMES
    if make is not user_classifier:  # plain skorch nets know nothing of feature names
        assert pruner.estimator_.feature_names_in_.tolist() == NAMES
    swapped = frame[list(reversed(NAMES))]
    for model in (pruner, pruner.sparse_estimator_):
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(swapped)
        with pytest.raises(ValueError, match=r"missing|feature names should match"):
            model.predict(frame[NAMES[:3]])
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            model.predict(rows)


@every_pruner
def test_names_that_were_not_there_in_fit_bring_a_warning(make, rows, target):
    pruner = make().fit(rows, target)
    with pytest.warns(UserWarning, match="fitted without feature names"):
        predicted = pruner.predict(pd.DataFrame(rows, columns=NAMES))
    assert_array_equal(predicted, pruner.predict(rows))


@pytest.mark.usefixtures("warnings_are_errors")
@every_pruner
def test_read_only_data_bring_no_warning(make, rows, target):
    X, y = pd.DataFrame(rows, columns=NAMES), pd.Series(target)
    assert not X.to_numpy().flags.writeable  # and torch warns of such arrays
    make().fit(X, y).predict(X)


def test_polars_series_and_pandas_series_are_targets(rows, target):
    expected = tree_classifier().fit(rows, target).predict(rows)
    for y in (pd.Series(target), pl.Series(target), target.tolist()):
        assert_array_equal(tree_classifier().fit(rows, y).predict(rows), expected)


# --- frozen estimators --------------------------------------------------------------------


def frozen(make, X, y):
    """A pruner like make()'s, around its estimator, fitted and frozen."""
    pruner = make()
    fitted = clone(pruner.estimator).fit(X, y)
    return pruner.set_params(estimator=FrozenEstimator(fitted)), fitted


def weights_of(estimator):
    """Copy what a fitted estimator learned."""
    if hasattr(estimator, "tree_"):
        return {name: np.array(getattr(estimator.tree_, name)) for name in ("feature", "value")}
    return {k: v.numpy().copy() for k, v in estimator.module_.state_dict().items()}


def assert_same_weights(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert_array_equal(ours[name], theirs[name], err_msg=name)


@every_pruner
def test_frozen_estimator_is_pruned_on_a_copy_without_y(make, rows, target):
    pruner, fitted = frozen(make, rows, target)
    before = weights_of(fitted)
    pruner.fit(rows)
    assert_same_weights(weights_of(fitted), before)
    assert pruner.estimator_ is not fitted
    assert pruner.sparsity_ >= 0.5
    assert_array_equal(pruner.predict(rows), pruner.fit(rows, target).predict(rows))


@pytest.mark.parametrize("make", NET_PRUNERS)
def test_frozen_net_is_not_trained(make, rows, target):
    pruner, fitted = frozen(make, rows, target)
    dense, pruned = weights_of(fitted), weights_of(pruner.fit(rows, target).estimator_)
    for name in dense:
        if "running" in name or "tracked" in name:
            continue  # statistics of a batch norm are those of the pruned net
        kept = pruned[name] != 0
        assert_array_equal(pruned[name][kept], dense[name][kept], err_msg=name)
    assert pruner.pruning_history_ == [] or pruner.pruning_history_[-1]["sparsity"] >= 0.5


def test_frozen_tree_is_pruned_as_one_grown_in_fit(rows, target):
    pruner, _ = frozen(tree_classifier, rows, target)
    grown = tree_classifier().fit(rows, target)
    assert_same_weights(weights_of(pruner.fit(rows).estimator_), weights_of(grown.estimator_))


@classifiers
def test_frozen_classifier_keeps_its_own_classes(make, rows, target):
    labels = np.array(["a", "b", "c"])[target] if make is not user_classifier else target
    pruner, fitted = frozen(make, rows, labels)
    some = target != 1
    pruner.fit(rows[some], labels[some])
    assert_array_equal(pruner.classes_, fitted.classes_)
    assert pruner.predict_proba(rows).shape == (150, 3)


@pytest.mark.parametrize("make", NET_PRUNERS)
def test_frozen_net_is_trained_for_finetune_epochs(make, rows, target):
    pruner, fitted = frozen(make, rows, target)
    before = weights_of(fitted)
    pruner.set_params(finetune_epochs=3, schedule="cubic").fit(rows, target)
    assert_same_weights(weights_of(fitted), before)
    sparsities = [epoch["sparsity"] for epoch in pruner.pruning_history_]
    assert len(sparsities) == 3
    assert 0 < sparsities[0] < sparsities[-1] == pruner.sparsity_
    after = weights_of(pruner.estimator_)
    name = next(name for name in after if name.endswith("bias"))
    assert (after[name] != before[name]).any()


def test_frozen_net_that_is_trained_needs_y(rows, target):
    pruner, _ = frozen(net_classifier, rows, target)
    with pytest.raises(ValueError, match="requires y"):
        pruner.set_params(finetune_epochs=1).fit(rows)


@pytest.mark.parametrize("make", [net_classifier, user_classifier])
def test_frozen_net_refuses_labels_that_it_does_not_know(make, rows, target):
    pruner, _ = frozen(make, rows, target)
    with pytest.raises(ValueError, match=r"y holds unseen labels: \[3\]"):
        pruner.fit(rows, target + 1)


@every_pruner
def test_frozen_estimator_refuses_another_width(make, rows, target):
    pruner, _ = frozen(make, rows, target)
    with pytest.raises(ValueError, match="3 features"):
        pruner.fit(rows[:, :3], target)


@every_pruner
def test_frozen_estimator_must_be_fitted(make, rows, target):
    pruner = make()
    pruner.set_params(estimator=FrozenEstimator(pruner.estimator))
    with pytest.raises(NotFittedError):
        pruner.fit(rows, target)


@every_pruner
def test_estimator_without_frozen_needs_y(make, rows):
    with pytest.raises(ValueError, match="requires y"):
        make().fit(rows)


# --- tags and optional methods ------------------------------------------------------------


@every_pruner
def test_pruner_is_what_its_estimator_is(make):
    pruner = make()
    assert isinstance(pruner, BasePruner)
    assert is_classifier(pruner) == is_classifier(pruner.estimator) == (make in CLASSIFIERS)
    assert is_regressor(pruner) == is_regressor(pruner.estimator) == (make in REGRESSORS)


class Complete(DecisionTreeClassifier):
    """A tree that declares to take no missing values."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        return tags


def test_tags_follow_the_estimator():
    assert get_tags(tree_classifier()).input_tags.allow_nan
    assert not get_tags(net_classifier()).input_tags.allow_nan
    assert get_tags(tree_regressor()).target_tags.multi_output
    assert get_tags(net_regressor()).target_tags.multi_output
    assert not get_tags(net_classifier()).target_tags.multi_output
    assert not get_tags(CostComplexityPruner(Complete())).input_tags.allow_nan


@pytest.mark.parametrize(
    ("make", "present", "absent"),
    [
        (tree_classifier, ["predict_proba", "predict_log_proba", "score"], ["decision_function"]),
        (
            net_classifier,
            ["predict_proba", "score"],
            ["predict_log_proba", "decision_function"],
        ),
        (tree_regressor, ["predict", "score"], ["predict_proba", "predict_log_proba"]),
        # skorch's regressors have a predict_proba, which is no probability
        (net_regressor, ["predict", "score"], ["predict_proba", "predict_log_proba"]),
    ],
)
def test_methods_exist_where_the_estimator_has_them(make, present, absent, rows, target):
    for pruner in (make(), make().fit(rows, target)):
        assert [name for name in present if not hasattr(pruner, name)] == []
        assert [name for name in absent if hasattr(pruner, name)] == []


def test_log_probabilities_are_the_logarithm(rows, target):
    pruner = tree_classifier(sparsity=0.9).fit(rows, target)
    with np.errstate(divide="ignore"):
        expected = np.log(pruner.predict_proba(rows))
    assert_array_equal(pruner.predict_log_proba(rows), expected)


# --- transform ----------------------------------------------------------------------------


@every_pruner
def test_transform_has_the_columns_that_are_named(make, rows, target):
    pruner = make().fit(rows, target)
    Xt = pruner.transform(rows)
    names = pruner.get_feature_names_out()
    assert Xt.shape == (150, len(names))
    assert names[0] == f"{type(pruner).__name__.lower()}0"
    assert issparse(Xt) == isinstance(pruner, CostComplexityPruner)
    dense = Xt.toarray() if issparse(Xt) else Xt
    refitted = make().fit_transform(rows, target)
    assert_array_equal(dense, refitted.toarray() if issparse(refitted) else refitted)


@every_pruner
@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_transform_gives_frames(make, container, rows, target):
    dense = {"sparse_output": False} if "tree" in make.__name__ else {}
    pruner = make(**dense).fit(rows, target)
    expected = pruner.transform(rows)
    frame = pruner.set_output(transform=container).transform(rows)
    assert isinstance(frame, pd.DataFrame if container == "pandas" else pl.DataFrame)
    assert list(frame.columns) == pruner.get_feature_names_out().tolist()
    assert_array_equal(frame.to_numpy(), expected)


def test_sparse_transform_into_pandas_is_refused(rows, target):
    pruner = tree_classifier().set_output(transform="pandas").fit(rows, target)
    with pytest.raises(ValueError, match="scipy sparse matrix"):
        pruner.transform(rows)


@every_pruner
def test_pruner_is_a_step_before_another_estimator(make, rows, target):
    pipe = make_pipeline(make(), LogisticRegression(max_iter=300)).fit(rows, target)
    assert pipe.score(rows, target) > 0.6


# --- repr, pickle, copies -----------------------------------------------------------------


@every_pruner
def test_html_repr_shows_the_estimator_inside(make, rows, target):
    pruner = make()
    inside = type(pruner.estimator).__name__
    for shown in (pruner, pruner.fit(rows, target)):
        html = shown._repr_html_()
        assert type(pruner).__name__ in html
        assert inside in html
    assert re.search("fitted", html, re.IGNORECASE)


@every_pruner
@pytest.mark.parametrize("copied", [deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_copies_of_a_fitted_pruner_predict_the_same(make, copied, rows, target):
    pruner = make().fit(rows, target)
    copy = copied(pruner)
    assert_array_equal(copy.predict(rows), pruner.predict(rows))
    assert (copy.transform(rows) != pruner.transform(rows)).sum() == 0
    assert copy.sparsity_ == pruner.sparsity_
    assert copy.pruning_history_ == pruner.pruning_history_
    for name, weight in pruner.sparse_weights_.items():
        assert_array_equal(copy.sparse_weights_[name].toarray(), weight.toarray())
    assert_array_equal(copy.estimator_.predict(rows), pruner.estimator_.predict(rows))


# --- errors -------------------------------------------------------------------------------


@every_pruner
@pytest.mark.parametrize("sparsity", [1.5, -0.1, "x", float("nan"), [0.5], {"fc1": 0.5}])
def test_wrong_sparsity_is_named_with_its_value(make, sparsity, rows, target):
    shown = re.escape(repr(sparsity))
    with pytest.raises(ValueError, match=f"'sparsity' parameter.*{shown}"):
        make(sparsity=sparsity).fit(rows, target)


def test_net_needs_a_sparsity(rows, target):
    with pytest.raises(ValueError, match=r"'sparsity' parameter.*None"):
        net_classifier(sparsity=None).fit(rows, target)


def test_tree_without_a_target_loses_half_of_its_splits(rows, target):
    default = CostComplexityPruner(DecisionTreeClassifier(random_state=0)).fit(rows, target)
    assert default.sparsity_ == tree_classifier(sparsity=0.5).fit(rows, target).sparsity_


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (net_classifier, "schedule", "never"),
        (net_classifier, "schedule", 3),
        (net_classifier, "allocation", "most"),
        (net_classifier, "granularity", "2:5:7"),
        (net_classifier, "layers", "layers.hidden0"),
        (net_classifier, "finetune_epochs", -1),
        (net_classifier, "finetune_epochs", 1.5),
        (net_classifier, "random_state", "seed"),
        (net_classifier, "verbose", -1),
        (net_classifier, "n_jobs", 0),
        (net_classifier, "engine", "gpu"),
        (tree_classifier, "ccp_alpha", -0.5),
        (tree_classifier, "ccp_alpha", "auto"),
        (tree_classifier, "max_leaf_nodes", 0),
        (tree_classifier, "max_leaf_nodes", 2.5),
        (tree_classifier, "risk", "entropy"),
        (tree_classifier, "sparse_output", "no"),
        (tree_classifier, "n_jobs", 0),
        (tree_classifier, "engine", "gpu"),
    ],
)
def test_wrong_parameters_are_named_with_their_values(make, name, value, rows, target):
    with pytest.raises(ValueError, match=f"'{name}' parameter.*{re.escape(repr(value))}"):
        make(**{name: value}).fit(rows, target)


@pytest.mark.parametrize(
    "given",
    [
        {"sparsity": 0.5, "ccp_alpha": 0.1},
        {"sparsity": 0.0, "max_leaf_nodes": 3},
        {"ccp_alpha": 0.0, "max_leaf_nodes": 3},
    ],
)
def test_contradicting_targets_of_a_tree_are_named(given, rows, target):
    pruner = CostComplexityPruner(DecisionTreeClassifier(), **given)
    named = ".*".join(f"{name}={value!r}" for name, value in given.items())
    with pytest.raises(ValueError, match=f"only one of.*{named}"):
        pruner.fit(rows, target)


def test_misclassification_risk_needs_a_classifier(rows, target):
    with pytest.raises(ValueError, match=r"risk='misclassification'.*DecisionTreeRegressor"):
        tree_regressor(risk="misclassification").fit(rows, target)


@pytest.mark.parametrize("estimator", [None, "tree", DecisionTreeClassifier, StandardScaler()])
@pytest.mark.parametrize("cls", [MagnitudePruner, CostComplexityPruner])
def test_what_is_no_estimator_is_refused(cls, estimator, rows, target):
    with pytest.raises((TypeError, ValueError), match="estimator"):
        cls(estimator).fit(rows, target)


@pytest.mark.parametrize(
    ("pruner", "wanted"),
    [
        (MagnitudePruner(LogisticRegression()), "skorch net"),
        (MagnitudePruner(DecisionTreeClassifier()), "skorch net"),
        (CostComplexityPruner(LogisticRegression()), "DecisionTree or ExtraTree"),
        (CostComplexityPruner(MLPNetClassifier()), "DecisionTree or ExtraTree"),
    ],
)
def test_estimator_of_the_wrong_kind_is_named(pruner, wanted, rows, target):
    name = type(pruner.estimator).__name__
    with pytest.raises(TypeError, match=f"estimator must be a {wanted}.*{name}"):
        pruner.fit(rows, target)


@every_pruner
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # scikit-learn's, on 1e300
def test_values_that_no_model_takes_are_refused(make, value, rows, target):
    trees_take_nan = np.isnan(value) and "tree" in make.__name__
    broken = rows.astype(np.float64)
    broken[3, 1] = value
    pruner = make().fit(rows, target)
    if trees_take_nan:
        assert_array_equal(pruner.predict(broken), pruner.estimator_.predict(broken))
        return
    message = "NaN" if np.isnan(value) else r"infinity|too large"
    with pytest.raises(ValueError, match=f"X contains.*({message})"):
        make().fit(broken, target)
    for method in (pruner.predict, pruner.transform, pruner.sparse_estimator_.predict):
        with pytest.raises(ValueError, match=f"X contains.*({message})"):
            method(broken)


@every_pruner
def test_wrong_width_is_told_in_scikit_learns_words(make, rows, target):
    pruner = make().fit(rows, target)
    for method in (pruner.predict, pruner.transform, pruner.sparse_estimator_.predict):
        with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4 features"):
            method(rows[:, :3])
        with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
            method(rows[0])


@every_pruner
@pytest.mark.parametrize("method", ["predict", "transform", "score", "predict_proba"])
def test_unfitted_pruner_says_so(make, method, rows, target):
    pruner = make()
    if not hasattr(pruner, method):
        assert make in REGRESSORS
        return
    arguments = (rows, target) if method == "score" else (rows,)
    with pytest.raises(NotFittedError, match=type(pruner).__name__):
        getattr(pruner, method)(*arguments)


@every_pruner
def test_fitted_attributes_do_not_exist_before_fit(make):
    pruner = make()
    for name in ("sparse_estimator_", "sparse_weights_", "estimator_", "sparsity_"):
        assert not hasattr(pruner, name)
    with pytest.raises(AttributeError, match="not fitted"):
        _ = pruner.sparse_estimator_


@pytest.mark.parametrize("make", [net_classifier, user_classifier])
def test_one_class_is_refused_by_nets(make, rows, target):
    with pytest.raises(ValueError, match=r"one class only: \['a'\]"):
        make().fit(rows, np.full(len(target), "a"))


def test_one_class_is_a_tree_without_splits(rows, target):
    pruner = tree_classifier().fit(rows, np.full(len(target), "a"))
    assert pruner.sparsity_ == 0
    assert set(pruner.predict(rows)) == {"a"}


@every_pruner
def test_empty_data_are_refused(make, rows, target):
    pruner = make().fit(rows, target)
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        make().fit(rows[:0], target[:0])
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        make().fit(rows[:, :0], target)
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        pruner.predict(rows[:0])


@every_pruner
def test_lengths_must_agree(make, rows, target):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make().fit(rows, target[:-1])


@classifiers
def test_continuous_labels_are_refused(make, rows, target):
    with pytest.raises(ValueError, match="continuous"):
        make().fit(rows, target + 0.5)


@every_pruner
def test_missing_targets_are_refused(make, rows, target):
    y = target.astype(float)
    y[2] = np.nan
    with pytest.raises(ValueError, match=r"y contains NaN"):
        make().fit(rows, y)


@every_pruner
def test_sparse_input_is_for_trees(make, rows, target):
    sparse = csr_array(rows)
    if isinstance(make(), CostComplexityPruner):
        assert_array_equal(
            make().fit(sparse, target).predict(sparse), make().fit(rows, target).predict(rows)
        )
        return
    with pytest.raises(TypeError, match="Sparse data was passed"):
        make().fit(sparse, target)


@every_pruner
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(3), r"sample_weight.shape == \(3,\)"),
        (np.full(150, np.nan), "sample_weight contains NaN"),
        (np.full(150, -1.0), "Negative values in data passed to `sample_weight`"),
    ],
)
def test_wrong_sample_weight_is_named(make, weight, message, rows, target):
    if make is user_classifier:
        message = "has no parameter sample_weight"
    if message.startswith("Negative") and isinstance(make(), CostComplexityPruner):
        plain = clone(make().estimator).fit(rows, target, weight)  # scikit-learn's trees take them
        pruner = make().set_params(sparsity=0.0).fit(rows, target, sample_weight=weight)
        assert_array_equal(pruner.predict(rows), plain.predict(rows))
        return
    with pytest.raises((ValueError, TypeError), match=message):
        make().fit(rows, target, sample_weight=weight)


def test_sample_weight_that_the_net_does_not_take_is_refused(rows, target):
    with pytest.raises(TypeError, match=r"sample_weight.*NeuralNetClassifier\.fit has no"):
        user_classifier().fit(rows, target, sample_weight=np.ones(150))


# --- failure leaves nothing half-fitted ---------------------------------------------------


class Fails(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise RuntimeError("in the middle of training")


def fail_late(pruner):
    """Let a fit fail as late as its kind allows."""
    if isinstance(pruner, MagnitudePruner):
        return pruner.set_params(estimator__callbacks=[Fails()])
    return pruner.set_params(ccp_alpha=0.1)


@every_pruner
def test_failed_first_fit_leaves_nothing(make, rows, target):
    for pruner, X in (
        (make(sparsity=7), rows),
        (make(), np.full_like(rows, np.inf)),
        (fail_late(make()), rows),
    ):
        before = vars(pruner).copy()
        with pytest.raises((ValueError, RuntimeError)):
            pruner.fit(X, target)
        assert vars(pruner) == before
        with pytest.raises(NotFittedError):
            pruner.predict(rows)


@every_pruner
def test_failed_refit_leaves_the_fitted_state(make, rows, target):
    pruner = make().fit(rows, target)
    expected = pruner.predict(rows)
    fitted = {name: value for name, value in vars(pruner).items() if name.endswith("_")}
    fail_late(pruner)
    with pytest.raises((ValueError, RuntimeError)):
        pruner.fit(rows[:, :3], target[::-1])
    assert pruner.n_features_in_ == 4
    assert all(getattr(pruner, name) is value for name, value in fitted.items())
    assert_array_equal(pruner.predict(rows), expected)


@every_pruner
def test_refit_forgets_the_names_of_columns(make, rows, target):
    pruner = make().fit(pd.DataFrame(rows, columns=NAMES), target).fit(rows, target)
    assert not hasattr(pruner, "feature_names_in_")
    assert_array_equal(pruner.predict(rows), make().fit(rows, target).predict(rows))


@pytest.mark.parametrize("make", [tree_classifier, net_classifier, tree_regressor, net_regressor])
def test_refit_takes_another_width(make, rows, target):
    pruner = make().fit(rows, target).fit(rows[:, :3], target)
    assert pruner.n_features_in_ == 3
    assert pruner.predict(rows[:, :3]).shape == (150,)


# --- scikit-learn's tools -----------------------------------------------------------------


def test_sample_weight_is_routed_through_a_pipeline(rows, target):
    weight = np.random.default_rng(0).integers(0, 4, len(rows)).astype(float)
    expected = tree_classifier().fit(StandardScaler().fit_transform(rows), target, weight)
    with config_context(enable_metadata_routing=True):
        pruner = tree_classifier().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, pruner).fit(rows, target, sample_weight=weight)
    unweighted = tree_classifier().fit(StandardScaler().fit_transform(rows), target)
    assert_same_weights(weights_of(pipe[-1].estimator_), weights_of(expected.estimator_))
    assert weights_of(unweighted.estimator_)["value"].tolist() != (
        weights_of(expected.estimator_)["value"].tolist()
    )


class Noted(DecisionTreeClassifier):
    """A tree whose fit takes something of its own."""

    def fit(self, X, y, sample_weight=None, check_input=True, note=None):
        self.note_ = note
        return super().fit(X, y, sample_weight, check_input)


def test_other_metadata_are_routed_to_the_estimator(rows, target):
    with config_context(enable_metadata_routing=True):
        pruner = CostComplexityPruner(Noted().set_fit_request(note=True))
        pipe = make_pipeline(StandardScaler(), pruner).fit(rows, target, note="seen")
        assert pipe[-1].estimator_.note_ == "seen"
        with pytest.raises(TypeError, match="nonsense"):
            pruner.fit(rows, target, nonsense=1)


def test_fit_parameters_reach_the_estimator_without_routing(rows, target):
    pruner = CostComplexityPruner(Noted()).fit(rows, target, note="seen")
    assert pruner.estimator_.note_ == "seen"


def test_grid_search_routes_sample_weight(rows, target):
    with config_context(enable_metadata_routing=True):
        pruner = tree_classifier().set_fit_request(sample_weight=True)
        pruner.set_score_request(sample_weight=True)
        weight = (target > 0).astype(float)
        search = GridSearchCV(pruner, {"sparsity": [0.0, 0.5]}, cv=3)
        search.fit(rows, target, sample_weight=weight)
    # class 0 has no weight: nothing of it was learnt, and it does not count in the score
    assert 0 not in search.predict(rows)
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("make", [tree_classifier, net_classifier])
def test_sparsity_is_searched_in_a_pipeline(make, rows, target):
    pipe = make_pipeline(StandardScaler(), make())
    name = pipe.steps[-1][0] + "__sparsity"
    search = GridSearchCV(pipe, {name: [0.0, 0.9]}, cv=2).fit(rows, target)
    assert search.best_estimator_[-1].sparsity_ >= search.best_params_[name]
    scaled = search.best_estimator_[0].transform(rows)
    assert_array_equal(search.predict(rows), search.best_estimator_[-1].estimator_.predict(scaled))


def test_parameters_of_a_users_net_are_searched(rows, target):
    grid = {"estimator__lr": [0.0, 0.1], "estimator__module__n_hidden": [5, 7]}
    search = GridSearchCV(user_classifier(), grid, cv=2).fit(rows, target)
    assert search.best_params_["estimator__lr"] == 0.1
    n_hidden = search.best_params_["estimator__module__n_hidden"]
    assert search.best_estimator_.transform(rows).shape == (150, n_hidden)
    means = search.cv_results_["mean_test_score"]
    assert max(means[:2]) < min(means[2:])  # a net that learns nothing is worse


@every_pruner
def test_cross_val_score(make, rows, target):
    pruner = make()
    if isinstance(pruner, MagnitudePruner):
        pruner.set_params(estimator__max_epochs=10)
    scores = cross_val_score(make_pipeline(StandardScaler(), pruner), rows, target, cv=3)
    assert scores.shape == (3,)
    assert scores.min() > 0.6


def test_grid_search_in_two_processes_gives_what_one_gives(rows, target):
    def search(n_jobs):
        grid = {"sparsity": [0.3, 0.8]}
        return GridSearchCV(net_classifier(), grid, cv=2, n_jobs=n_jobs).fit(rows, target)

    one, two = search(1), search(2)
    for key in ("split0_test_score", "split1_test_score"):
        assert_array_equal(one.cv_results_[key], two.cv_results_[key])
    assert_array_equal(one.predict_proba(rows), two.predict_proba(rows))
    assert_same_weights(
        weights_of(one.best_estimator_.estimator_), weights_of(two.best_estimator_.estimator_)
    )


# --- several outputs ----------------------------------------------------------------------


@pytest.mark.parametrize("tree", [DecisionTreeClassifier, ExtraTreeClassifier])
def test_trees_with_several_outputs_of_labels(tree, rows, target):
    labels = np.array(["a", "b", "c"])[target]
    y = np.stack([labels, np.where(rows[:, 0] > 0, "high", "low")], axis=1)
    pruner = CostComplexityPruner(tree(random_state=0), sparsity=0.4).fit(rows, y)
    inner = pruner.estimator_
    assert [c.tolist() for c in pruner.classes_] == [["a", "b", "c"], ["high", "low"]]
    assert_array_equal(pruner.predict(rows), inner.predict(rows))
    for ours, theirs in zip(pruner.predict_proba(rows), inner.predict_proba(rows), strict=True):
        assert_array_equal(ours, theirs)
    for ours, proba in zip(pruner.predict_log_proba(rows), pruner.predict_proba(rows), strict=True):
        with np.errstate(divide="ignore"):
            assert_array_equal(ours, np.log(proba))


def test_score_of_several_outputs_of_labels_is_refused_as_in_scikit_learn(rows, target):
    y = np.stack([target, target % 2], axis=1)
    pruner = tree_classifier().fit(rows, y)
    with pytest.raises(ValueError, match="multiclass-multioutput is not supported"):
        pruner.score(rows, y)


@pytest.mark.parametrize("make", REGRESSORS)
def test_regressors_with_several_outputs(make, rows):
    y = np.stack([rows[:, 0], -rows[:, 1], rows[:, 2]], axis=1) / 20
    pruner = make(sparsity=0.3).fit(rows, y)
    assert pruner.predict(rows).shape == (150, 3)
    assert pruner.predict(rows).dtype == np.float64
    assert_allclose(pruner.predict(rows), pruner.estimator_.predict(rows), atol=1e-5)


# --- randomness ---------------------------------------------------------------------------


def global_states():
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), (keys.tolist(), position), random.getstate()


@every_pruner
def test_global_generators_are_left_alone(make, rows, target):
    before = global_states()
    pruner = make().fit(rows, target)
    pruner.predict(rows)
    pruner.transform(rows)
    assert global_states() == before


@pytest.mark.parametrize("make", NET_PRUNERS)
def test_random_state_fixes_masks_and_predictions(make, rows, target):
    torch.manual_seed(1)
    first = make(random_state=3).fit(rows, target)
    torch.manual_seed(2)
    second = make(random_state=3).fit(rows, target)
    other = make(random_state=4).fit(rows, target)
    assert_same_weights(weights_of(first.estimator_), weights_of(second.estimator_))
    assert_array_equal(first.predict(rows), second.predict(rows))
    masks = [np.concatenate([w.toarray().ravel() != 0 for w in p.sparse_weights_.values()])
             for p in (first, other)]  # fmt: skip
    assert (masks[0] != masks[1]).any()


@pytest.mark.parametrize("make", NET_PRUNERS)
def test_a_generator_as_random_state_gives_a_new_run_each_fit(make, rows, target):
    def two_fits():
        pruner = make(random_state=np.random.RandomState(0))
        return [weights_of(pruner.fit(rows, target).estimator_) for _ in range(2)]

    (first, second), (again, _) = two_fits(), two_fits()
    assert_same_weights(first, again)
    assert any((first[name] != second[name]).any() for name in first)


def test_nets_own_random_state_counts_where_the_pruner_has_none(rows, target):
    def fit(seed):
        pruner = net_classifier(random_state=None)
        return pruner.set_params(estimator__random_state=seed).fit(rows, target)

    assert_same_weights(weights_of(fit(1).estimator_), weights_of(fit(1).estimator_))
    assert (fit(1).predict_proba(rows) != fit(2).predict_proba(rows)).any()


def test_without_any_random_state_torchs_generator_decides(rows, target):
    def fit(seed):
        torch.manual_seed(seed)
        return user_classifier(random_state=None).fit(rows, target)

    assert_same_weights(weights_of(fit(1).estimator_), weights_of(fit(1).estimator_))
    assert (fit(1).predict_proba(rows) != fit(2).predict_proba(rows)).any()


# --- the form of the result ---------------------------------------------------------------


@pytest.mark.parametrize("engine", ["native", "scipy"])
@every_pruner
def test_engine_is_the_one_asked_for(make, engine, rows, target):
    pruner = make(engine=engine).fit(rows, target)
    assert pruner.sparse_estimator_.model.engine == engine
    expected = make().fit(rows, target).predict(rows)
    if is_classifier(pruner):
        assert_array_equal(pruner.predict(rows), expected)
    else:
        assert_allclose(pruner.predict(rows), expected, rtol=1e-5, atol=1e-6)


@every_pruner
def test_n_jobs_changes_nothing_but_time(make, rows, target):
    many = np.tile(rows, (40, 1))
    one, two = make(n_jobs=1).fit(rows, target), make(n_jobs=-1).fit(rows, target)
    assert_array_equal(one.predict(many), two.predict(many))
    assert two.sparse_estimator_.n_jobs == -1


def test_nets_take_rows_of_more_dimensions(rows, target):
    images = rows.reshape(-1, 2, 2)
    pruner = MagnitudePruner(user_net(ImageModule), sparsity=0.5, random_state=0)
    pruner.fit(images, target)
    assert pruner.predict(images).shape == (150,)
    assert_array_equal(pruner.predict(images), pruner.estimator_.predict(images))


class ImageModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))

    def forward(self, X):
        return self.layers(X)


def test_frozen_model_knows_the_names_of_its_columns(rows, target):
    frame = pd.DataFrame(rows, columns=list("abcd"))
    tree = DecisionTreeClassifier(random_state=0).fit(frame, target)
    pruner = CostComplexityPruner(FrozenEstimator(tree), sparsity=0)
    with pytest.raises(ValueError, match="feature names should match"):
        pruner.fit(frame[list("dcba")])
    assert pruner.fit(frame).feature_names_in_.tolist() == list("abcd")


def test_threads_may_be_set_after_fit(rows, target):
    pruner = tree_classifier().fit(rows, target).set_params(n_jobs=2)
    pruner.predict(rows)
    assert pruner.sparse_estimator_.n_jobs == 2


# --- whether fit takes weights ------------------------------------------------------------


def test_signature_of_fit_tells_whether_weights_are_taken():
    weighing = [
        MagnitudePruner(MLPNetClassifier()),
        MagnitudePruner(FrozenEstimator(MLPNetClassifier())),
        CostComplexityPruner(DecisionTreeClassifier()),
        CostComplexityPruner(FrozenEstimator(DecisionTreeClassifier())),
    ]
    not_weighing = [MagnitudePruner(user_net()), MagnitudePruner(FrozenEstimator(user_net()))]
    assert all(has_fit_parameter(pruner, "sample_weight") for pruner in weighing)
    assert not any(has_fit_parameter(pruner, "sample_weight") for pruner in not_weighing)
    assert not has_fit_parameter(MagnitudePruner(None), "sample_weight")
    assert list(signature(not_weighing[0].fit).parameters) == ["X", "y", "fit_params"]
    assert "sample_weight" in signature(MagnitudePruner.fit).parameters
    assert MagnitudePruner(user_net()).fit.__doc__ == MagnitudePruner.fit.__doc__


def test_weights_that_the_net_cannot_take_are_refused_however_they_come(iris):
    for pruner in (MagnitudePruner(user_net()), MagnitudePruner(FrozenEstimator(user_net()))):
        for give in (
            lambda fit: fit(*iris, np.ones(150)),
            lambda fit: fit(*iris, sample_weight=np.ones(150)),
        ):
            with pytest.raises(TypeError, match=r"NeuralNetClassifier\.fit has no parameter"):
                give(pruner.fit)


@pytest.mark.parametrize(
    "around",
    [
        lambda pruner: BaggingClassifier(pruner, 2),
        lambda pruner: VotingClassifier([("pruner", pruner), ("tree", DecisionTreeClassifier())]),
        lambda pruner: StackingClassifier([("pruner", pruner)], cv=2),
    ],
    ids=["bagging", "voting", "stacking"],
)
@pytest.mark.parametrize("routing", [False, True])
def test_ensembles_of_scikit_learn_take_pruners_of_any_net(around, routing, iris):
    pruner = MagnitudePruner(user_net(), sparsity=0.5, random_state=0)
    with config_context(enable_metadata_routing=routing):
        assert around(pruner).fit(*iris).score(*iris) > 0.5


def test_boosting_by_weights_takes_only_nets_that_weigh(iris):
    with pytest.raises(ValueError, match="doesn't support sample_weight"):
        AdaBoostClassifier(MagnitudePruner(user_net()), n_estimators=2).fit(*iris)
    net = MLPNetClassifier((16,), lr=0.02, random_state=0)
    boosted = AdaBoostClassifier(MagnitudePruner(net, sparsity=0.3), n_estimators=2)
    assert boosted.fit(*iris).score(*iris) > 0.9


def test_requests_tell_whether_weights_are_taken():
    with config_context(enable_metadata_routing=True):
        takes = MagnitudePruner(MLPNetClassifier()).set_fit_request(sample_weight=True)
        lacks = MagnitudePruner(user_net()).set_fit_request(sample_weight=True)
        assert takes.get_metadata_routing().consumes("fit", ["sample_weight"]) == {"sample_weight"}
        assert not lacks.get_metadata_routing().consumes("fit", ["sample_weight"])


# --- a target that is far from what was reached -------------------------------------------


@pytest.mark.parametrize(
    ("pruner", "reached"),
    [
        (CostComplexityPruner(DecisionTreeClassifier(max_depth=1), sparsity=0.05), "1"),
        (CostComplexityPruner(DecisionTreeClassifier(max_leaf_nodes=9), sparsity=0.9), "1"),
        (CostComplexityPruner(DecisionTreeClassifier(max_leaf_nodes=5), sparsity=0.05), None),
        (L0Pruner(MLPNetClassifier((3,), max_epochs=3), sparsity=0.05), "0.3333"),
        (MagnitudePruner(MLPNetClassifier((9,), max_epochs=1), sparsity=0.05), None),
        (CostComplexityPruner(DecisionTreeClassifier(max_leaf_nodes=5), sparsity=0.2), None),
        (CostComplexityPruner(DecisionTreeClassifier(max_leaf_nodes=5), ccp_alpha=9.0), None),
        (CostComplexityPruner(DecisionTreeClassifier(max_depth=1), sparsity=1.0), None),
        (CostComplexityPruner(DecisionTreeClassifier(max_depth=1), sparsity=0.0), None),
    ],
)
def test_a_target_that_is_far_exceeded_is_told(pruner, reached, iris):
    pruner.set_params(estimator__random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pruner.fit(*iris)
    told = [w for w in caught if "was asked for" in str(w.message)]
    assert len(told) == (reached is not None)
    if reached is not None:
        target = re.escape(f"sparsity={pruner.sparsity} was asked for")
        assert re.match(rf"{target}, but sparsity_={reached} was reached", str(told[0].message))
        assert told[0].filename == __file__


# --- what is no net -----------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [LogisticRegression(), MLPClassifier(), nn.Linear(1, 1)])
def test_what_is_no_skorch_net_is_refused_by_what_works(estimator, iris):
    for wrapped in (estimator, FrozenEstimator(estimator)):
        with pytest.raises((TypeError, ValueError), match=r"estimator.* must be a"):
            MagnitudePruner(wrapped).fit(*iris)
    with pytest.raises(TypeError, match=r"such as skprune\.MLPNetClassifier.*got MLPClassifier"):
        MagnitudePruner(MLPClassifier()).fit(*iris)


def test_what_is_no_skorch_net_is_refused_without_torch():
    code = """
from sklearn.neural_network import MLPClassifier
from skprune import MagnitudePruner
try:
    MagnitudePruner(MLPClassifier()).fit([[0.0], [1.0]], [0, 1])
except TypeError as error:
    print(error)
"""
    command = [sys.executable, "-c", FORBID_TORCH + code]
    told = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout
    assert told.startswith("estimator must be a skorch net, such as skprune.MLPNetClassifier")
    assert "install" not in told


@pytest.mark.parametrize(
    ("estimator", "told"),
    [
        (None, "got None."),
        (DecisionTreeClassifier, "This is a class: pass an instance."),
        (make_pipeline(DecisionTreeClassifier()), "Put the pruner into the pipeline, around the"),
        (torch.nn.Linear(4, 3), "Wrap a module in skorch.NeuralNetClassifier or"),
    ],
)
@pytest.mark.parametrize("kind", [CostComplexityPruner, MagnitudePruner])
def test_what_cannot_be_wrapped_is_told_how_it_can(kind, estimator, told, iris):
    with pytest.raises(TypeError, match=r"(?s)^estimator must be a .*" + re.escape(told)):
        kind(estimator, sparsity=0.5).fit(*iris)


def test_a_search_takes_pruners_alone(iris):
    pruner = CostComplexityPruner(DecisionTreeClassifier())
    with pytest.raises(
        TypeError,
        match=r"(?s)'pruner' parameter .*Make PrunerCV the last step",
    ):
        PrunerCV(make_pipeline(pruner)).fit(*iris)
    with pytest.raises(
        TypeError,
        match=r"'pruner' parameter .* got DecisionTreeClassifier\(\)",
    ):
        PrunerCV(DecisionTreeClassifier()).fit(*iris)
