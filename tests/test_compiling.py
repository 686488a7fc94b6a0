"""Pipelines as one sparse estimator: what they predict, and what cannot be folded."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingRegressor,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import (
    RFE,
    SelectFromModel,
    SelectKBest,
    VarianceThreshold,
)
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeRegressor

import skprune
from skprune import (
    CostComplexityPruner,
    ForestPruner,
    MagnitudePruner,
    MLPNetClassifier,
    MLPNetRegressor,
    PrunerCV,
    SparseClassifier,
    SparseRegressor,
)
from skprune.compiling import _at_place, _largest, _place
from skprune.engine import Forest, Layer, Network, Tree
from tests.conftest import user_net

RNG = np.random.default_rng(0)
N_ROWS, N_COLUMNS = 120, 6
X = RNG.normal(size=(N_ROWS, N_COLUMNS)) * 10.0 ** np.arange(-2, 4) + [0, 3, -50, 1, 900, 0.1]
Y = np.array(["a", "b", "c"])[(X[:, 0] * 100 > 0).astype(int) + (X[:, 4] > X[:, 5])]
TARGET = X[:, 0] * 100 + np.sin(X[:, 3] / 10) + X[:, 5] / 1e3
MANY = np.stack([TARGET, X[:, 1]], axis=1)
HOLES = np.where(RNG.random(X.shape) < 0.1, np.nan, X)

TREE = DecisionTreeClassifier(random_state=0)
TREES = {
    "tree": CostComplexityPruner(TREE, sparsity=0.2),
    "extra tree": CostComplexityPruner(ExtraTreeRegressor(random_state=0), sparsity=0.2),
    "regression tree": CostComplexityPruner(DecisionTreeRegressor(random_state=0), sparsity=0.5),
    "forest": CostComplexityPruner(RandomForestClassifier(5, random_state=0), sparsity=0.2),
    "extra trees": CostComplexityPruner(ExtraTreesClassifier(4, random_state=0), sparsity=0.2),
    "refitted": ForestPruner(RandomForestClassifier(5, random_state=0), sparsity=0.5),
    "bagging": CostComplexityPruner(
        BaggingRegressor(DecisionTreeRegressor(), 4, max_features=0.5, random_state=0), sparsity=0.2
    ),
    "boosting": CostComplexityPruner(
        GradientBoostingClassifier(n_estimators=4, random_state=0), sparsity=0.2
    ),
    "histograms": CostComplexityPruner(
        HistGradientBoostingClassifier(max_iter=4, min_samples_leaf=5), sparsity=0.2
    ),
    "histograms, regression": CostComplexityPruner(
        HistGradientBoostingRegressor(max_iter=4, min_samples_leaf=5), sparsity=0.2
    ),
}
FRONTS = {
    "standard": [StandardScaler()],
    "mean alone": [StandardScaler(with_std=False)],
    "scale alone": [StandardScaler(with_mean=False)],
    "min max": [MinMaxScaler((-3, 7))],
    "max abs": [MaxAbsScaler()],
    "robust": [RobustScaler()],
    "robust, not centred": [RobustScaler(with_centering=False)],
    "two scalers": [MinMaxScaler(), StandardScaler()],
    "variance": [VarianceThreshold(1.0)],
    "best": [SelectKBest(k=3)],
    "selected and scaled": [VarianceThreshold(0.01), StandardScaler(), SelectKBest(k=3)],
    "from a model": [StandardScaler(), SelectFromModel(DecisionTreeClassifier(random_state=0))],
    "eliminated": [RFE(DecisionTreeClassifier(random_state=0), n_features_to_select=3)],
    "nothing": ["passthrough", None, FunctionTransformer(), "passthrough"],
    "nested": [make_pipeline(StandardScaler(), "passthrough", SelectKBest(k=4)), MaxAbsScaler()],
    "frozen": [FrozenEstimator(StandardScaler().fit(X))],
}
FILLED = {
    "mean": [SimpleImputer()],
    "median, scaled": [SimpleImputer(strategy="median"), StandardScaler()],
    "constant": [SimpleImputer(strategy="constant", fill_value=2.5)],
    "most frequent": [SimpleImputer(strategy="most_frequent"), MinMaxScaler()],
    "scaled before": [StandardScaler(), SimpleImputer(strategy="constant")],
    "between two": [MaxAbsScaler(), SimpleImputer(), VarianceThreshold(1e-4), StandardScaler()],
    "selected before": [VarianceThreshold(0.01), SimpleImputer(), SimpleImputer(strategy="median")],
}


def pipeline_of(front, model, rows=X):
    """Fit a pipeline of clones to labels or targets, as the model wants them."""
    steps = [step if step is None or isinstance(step, str) else clone(step) for step in front]
    pipeline = make_pipeline(*steps, clone(model))
    return pipeline.fit(rows, Y if is_classifier(model) else TARGET)


def close_rows(model, rows=X):
    """Give rows with values at the thresholds of the compiled trees and beside them."""
    at = (model.left != -1) & np.isfinite(model.threshold)
    feature, threshold = model.feature[at], model.threshold[at]
    near = [threshold]
    for far in (-np.inf, np.inf):
        step = threshold
        for _ in range(2):
            step = np.nextafter(step, far)
            near.append(step)
    picked = np.tile(rows, (len(feature) * len(near) // len(rows) + 1, 1))
    picked = picked[: len(feature) * len(near)]
    picked[np.arange(len(picked)), np.tile(feature, len(near))] = np.concatenate(near)
    return np.concatenate([rows, picked])


METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")


def answers(estimator, rows):
    """Give what an estimator answers by all its methods."""
    found = {}
    for method in METHODS:
        if hasattr(estimator, method):
            answer = getattr(estimator, method)(rows)
            found[method] = answer.toarray() if hasattr(answer, "toarray") else answer
    return found


def assert_same(compiled, pipeline, rows, compare=assert_array_equal):
    expected, found = answers(pipeline, rows), answers(compiled, rows)
    assert found.keys() >= expected.keys() > set()
    for method, answer in expected.items():
        compare(found[method], answer, err_msg=method)


# --- trees --------------------------------------------------------------------------------


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
@pytest.mark.parametrize("name", ["tree", "forest", "histograms"])
def test_trees_answer_as_behind_any_front(front, name):
    pipeline = pipeline_of(front, TREES[name])
    compiled = skprune.compile(pipeline)
    assert_same(compiled, pipeline, close_rows(compiled.model))


@pytest.mark.parametrize("model", TREES.values(), ids=TREES)
def test_any_trees_answer_as_in_their_pipeline(model):
    pipeline = pipeline_of([StandardScaler()], model)
    compiled = skprune.compile(pipeline)
    assert isinstance(compiled, SparseClassifier if is_classifier(model) else SparseRegressor)
    assert_same(compiled, pipeline, close_rows(compiled.model))


@pytest.mark.parametrize("front", FILLED.values(), ids=FILLED)
@pytest.mark.parametrize("name", ["tree", "bagging", "boosting", "histograms"])
def test_trees_take_missing_values_as_behind_an_imputer(front, name):
    pipeline = pipeline_of(front, TREES[name], HOLES)
    compiled = skprune.compile(pipeline)
    assert compiled.model.allow_nan
    assert_same(compiled, pipeline, HOLES)
    rows = close_rows(compiled.model, HOLES)
    assert_same(compiled, pipeline, rows)
    rows[::3, ::2] = np.nan
    assert_same(compiled, pipeline, rows)


@pytest.mark.parametrize("name", ["tree", "forest", "histograms"])
def test_trees_keep_their_own_way_with_missing_values(name):
    pipeline = pipeline_of([RobustScaler(), VarianceThreshold(0.01)], TREES[name], HOLES)
    compiled = skprune.compile(pipeline)
    assert_same(compiled, pipeline, close_rows(compiled.model, HOLES))


def test_missing_values_are_refused_where_a_step_refuses_them():
    for front in ([SelectKBest(k=3)], [SelectKBest(k=3), SimpleImputer()]):
        pipeline = pipeline_of(front, TREES["tree"])
        for estimator in (pipeline, skprune.compile(pipeline)):
            with pytest.raises(ValueError, match="NaN"):
                estimator.predict(HOLES)


def test_a_tree_behind_selectors_and_imputers_stays_a_tree():
    plain = skprune.compile(pipeline_of([VarianceThreshold(0.01), SimpleImputer()], TREES["tree"]))
    assert type(plain.model) is Tree
    scaled = skprune.compile(pipeline_of([StandardScaler()], TREES["tree"]))
    assert type(scaled.model) is Forest
    assert scaled.model.dtype == "float64"
    assert "1 " in scaled.explain()


@pytest.mark.parametrize("front", [[SimpleImputer()], [VarianceThreshold(1.0)]])
@pytest.mark.parametrize("name", ["tree", "forest"])
def test_float32_rows_are_the_same_to_the_bit_without_scaling(front, name):
    rows = HOLES.astype(np.float32)
    pipeline = pipeline_of(front, TREES[name], rows)
    assert_same(skprune.compile(pipeline), pipeline, rows)


@pytest.mark.parametrize("name", TREES)
def test_float32_rows_away_from_thresholds_are_the_same(name):
    pipeline = pipeline_of([StandardScaler()], TREES[name])
    compiled = skprune.compile(pipeline)
    rows = RNG.normal(size=(50, N_COLUMNS)).astype(np.float32) * np.abs(X).max(axis=0)
    assert_same(compiled, pipeline, rows.astype(np.float32))
    assert_same(compiled, pipeline, np.rint(rows).astype(np.int64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_in_float32_does_not_matter(dtype):
    pipeline = pipeline_of(
        [SimpleImputer(), MinMaxScaler(), StandardScaler()], TREES["forest"], HOLES.astype(dtype)
    )
    compiled = skprune.compile(pipeline)
    assert_same(compiled, pipeline, close_rows(compiled.model, HOLES))


def test_several_outputs():
    pipeline = make_pipeline(MinMaxScaler(), CostComplexityPruner(RandomForestRegressor(3)))
    compiled = skprune.compile(pipeline.fit(X, MANY))
    assert compiled.predict(X).shape == (N_ROWS, 2)
    assert_same(compiled, pipeline, close_rows(compiled.model))
    labels = np.stack([Y, np.where(X[:, 1] > 3, "yes", "no")], axis=1)
    pipeline = make_pipeline(StandardScaler(), CostComplexityPruner(TREE, sparsity=0.3))
    compiled = skprune.compile(pipeline.fit(X, labels))
    rows = close_rows(compiled.model)
    assert_array_equal(compiled.predict(rows), pipeline.predict(rows))
    for found, expected in zip(
        compiled.predict_proba(rows), pipeline.predict_proba(rows), strict=True
    ):
        assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_columns_that_do_not_vary_or_are_empty():
    rows = np.column_stack([X, np.full(N_ROWS, 7.0), np.full(N_ROWS, np.nan)])
    for front in ([StandardScaler(), SimpleImputer()], [SimpleImputer(), StandardScaler()]):
        pipeline = pipeline_of(front, TREES["forest"], rows)
        compiled = skprune.compile(pipeline)
        others = close_rows(compiled.model, rows)
        others[:, 7] = 1.0
        assert_same(compiled, pipeline, others)
        assert compiled.n_features_in_ == 8
    kept = [SimpleImputer(keep_empty_features=True)]
    pipeline = pipeline_of(kept, TREES["histograms"], rows)
    assert_same(skprune.compile(pipeline), pipeline, rows)


def test_columns_of_categories_can_be_selected():
    rows = np.column_stack([X[:, 1], RNG.integers(0, 6, N_ROWS), np.zeros(N_ROWS), X[:, 0]])
    labels = np.isin(rows[:, 1], [1, 4]) ^ (rows[:, 3] > 0)
    booster = HistGradientBoostingClassifier(
        max_iter=5, min_samples_leaf=3, categorical_features=[1]
    )
    pruner = CostComplexityPruner(booster, sparsity=0.1)
    rows = rows[:, [2, 0, 1, 3]]
    pipeline = make_pipeline(VarianceThreshold(), pruner).fit(rows, labels)
    compiled = skprune.compile(pipeline)
    assert list(compiled.model.categories) == [2]
    rows[::5, 2] = np.nan
    rows[1::7, 2] = 99
    assert_same(compiled, pipeline, rows)


@given(
    st.floats(-1e300, 1e300),
    st.floats(1e-300, 1e300),
    st.floats(allow_nan=False),
    st.sampled_from(["float32", "float64"]),
)
def test_the_largest_value_below_a_threshold(mean, scale, threshold, dtype):
    def goes_left(x):
        with np.errstate(over="ignore", under="ignore"):
            return ((x - mean) / scale).astype(dtype).astype(np.float64) <= threshold

    found = _largest(goes_left, 1)
    if np.isfinite(found[0]):
        assert goes_left(found)[0]
    above = np.nextafter(found, np.inf)
    if np.isfinite(above[0]):
        assert not goes_left(above)[0]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_numbered_in_their_order(x):
    x = np.array([x])
    assert _at_place(_place(x)) == x
    if x[0] < np.finfo(np.float64).max:
        above = np.nextafter(x, np.inf)
        assert _place(above) == _place(x) + 1


# --- nets ---------------------------------------------------------------------------------


def network(widths=(N_COLUMNS, 7, 3), activation="softmax", engine="auto", **more):
    """Make a chain of random sparse layers."""
    rng = np.random.default_rng(1)
    layers = []
    for n_in, n_out in pairwise(widths):
        weight = rng.normal(size=(n_out, n_in)) * (rng.random((n_out, n_in)) < 0.5)
        last = len(layers) == len(widths) - 2
        bias = rng.normal(size=n_out)
        layers.append(Layer(csr_array(weight), bias, activation if last else "relu"))
    return Network(layers, engine, **more)


def net_of(front, widths=None, rows=X, engine="auto", **more):
    """Fit a front and put a random net behind it."""
    steps = [step if step is None or isinstance(step, str) else clone(step) for step in front]
    n_columns = make_pipeline(*steps).fit_transform(rows, Y).shape[1]
    net = network((n_columns, *(widths or (7, 3))), engine=engine, **more)
    classifier = SparseClassifier(net, classes=np.unique(Y), n_jobs=2)
    return make_pipeline(*steps, classifier).fit(rows, Y)


def assert_close(found, expected, err_msg=""):
    if np.asarray(expected).dtype.kind in "fiu":
        assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=err_msg)
    else:
        assert np.mean(found == expected) > 0.99, err_msg


@pytest.mark.parametrize("engine", ["auto", "scipy"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_nets_answer_as_behind_any_front(front, dtype, engine):
    rows = X / [1, 1, 10, 1, 100, 1]  # columns not too far from 0
    pipeline = net_of(front, rows=rows, engine=engine)
    compiled = skprune.compile(pipeline)
    assert compiled.n_jobs == 2
    assert len(compiled.model.layers) == 2
    assert compiled.model.layers[0].weight.nnz == pipeline[-1].model.layers[0].weight.nnz
    assert_same(compiled, pipeline, rows.astype(dtype), assert_close)


@pytest.mark.parametrize("front", FILLED.values(), ids=FILLED)
def test_nets_take_missing_values_as_behind_an_imputer(front):
    pipeline = net_of(front, rows=HOLES)
    compiled = skprune.compile(pipeline)
    assert compiled.model.allow_nan
    assert_same(compiled, pipeline, HOLES, assert_close)
    assert_same(compiled, pipeline, np.full((2, N_COLUMNS), np.nan), assert_close)


def test_nets_refuse_missing_values_without_an_imputer():
    compiled = skprune.compile(net_of([StandardScaler()]))
    with pytest.raises(ValueError, match="NaN"):
        compiled.predict(HOLES)


@pytest.mark.parametrize("front", ["selected and scaled", "standard", "nothing"])
def test_what_a_lone_layer_reads_is_what_transform_gives(front):
    pipeline = net_of(FRONTS[front], widths=(3,))
    compiled = skprune.compile(pipeline)
    assert_same(compiled, pipeline, X, assert_close)


def test_a_net_that_fills_by_itself():
    net = SparseRegressor(network(activation="identity", fill=np.arange(N_COLUMNS)))
    pipeline = make_pipeline(StandardScaler(), net).fit(X, MANY)
    assert_same(skprune.compile(pipeline), pipeline, HOLES, assert_close)
    again = skprune.compile(make_pipeline(MaxAbsScaler(), skprune.compile(pipeline)).fit(X, MANY))
    assert again.model.allow_nan


def test_hidden_units_that_nobody_computes_are_kept():
    net = network(hidden_constants=[np.nan] * 7 + [0.5])
    pipeline = make_pipeline(StandardScaler(), SparseClassifier(net, classes=np.unique(Y)))
    compiled = skprune.compile(pipeline.fit(X, Y))
    assert compiled.transform(X).shape == (N_ROWS, 8)
    assert_allclose(compiled.transform(X), pipeline.transform(X), rtol=1e-4, atol=1e-4)


def test_a_search_over_a_pipeline_of_a_net():
    net = MLPNetClassifier(hidden_layer_sizes=(8,), max_epochs=3, random_state=0)
    pruner = MagnitudePruner(net, finetune_epochs=1, random_state=0)
    pipeline = make_pipeline(SimpleImputer(), StandardScaler(), pruner)
    search = GridSearchCV(pipeline, {"magnitudepruner__sparsity": [0.5, 0.8]}, cv=2)
    compiled = skprune.compile(search.fit(HOLES, Y))
    assert_array_equal(compiled.classes_, np.unique(Y))
    assert_same(compiled, search, HOLES, assert_close)


def test_a_regressor_of_several_targets():
    net = MLPNetRegressor(hidden_layer_sizes=(8,), max_epochs=2, random_state=0)
    pruner = MagnitudePruner(net, finetune_epochs=1, random_state=0)
    pipeline = make_pipeline(RobustScaler(), pruner).fit(X, MANY / MANY.std(axis=0))
    compiled = skprune.compile(pipeline)
    assert compiled.predict(X).shape == (N_ROWS, 2)
    assert_same(compiled, pipeline, X, assert_close)


def test_columns_too_far_from_zero_for_float32():
    far = X.copy()
    far[:, 2] = 1e6 + X[:, 0]
    with pytest.raises(ValueError, match=r"'standardscaler'.*column 2 lies .* times its scale"):
        skprune.compile(net_of([StandardScaler()], rows=far))
    tiny = X.copy()
    tiny[:, 2] = RNG.normal(size=N_ROWS) * 1e-42
    with pytest.raises(ValueError, match=r"'standardscaler'.*column 2 would become"):
        skprune.compile(net_of([StandardScaler()], rows=tiny))
    pipeline = pipeline_of([StandardScaler()], TREES["tree"], far)
    compiled = skprune.compile(pipeline)
    assert_same(compiled, pipeline, close_rows(compiled.model, far))


@pytest.mark.parametrize("last", [TREES["tree"], SparseClassifier(network(), classes=np.unique(Y))])
def test_sparse_rows_are_taken_for_what_they_are(last):
    rows = csr_array(np.where(np.abs(X) > 0.01, X, 0.0))
    pipeline = make_pipeline(StandardScaler(with_mean=False), VarianceThreshold(), clone(last))
    compiled = skprune.compile(pipeline.fit(rows, Y))
    assert_array_equal(compiled.predict(rows), compiled.predict(rows.toarray()))
    assert_close(compiled.predict_proba(rows), pipeline.predict_proba(rows))


# --- what comes out -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "pipeline",
    [pipeline_of([SimpleImputer(), StandardScaler()], TREES["boosting"]), net_of([MaxAbsScaler()])],
    ids=["trees", "net"],
)
def test_the_result_pickles_and_explains_itself(pipeline):
    compiled = skprune.compile(pipeline)
    again = pickle.loads(pickle.dumps(compiled))
    assert_array_equal(again.predict_proba(X), compiled.predict_proba(X))
    assert f"{N_COLUMNS} -> 3" in compiled.explain()
    assert "sparsity" in compiled.explain() or "trees" in compiled.explain()


@pytest.mark.parametrize("front", ["scaled before", "median, scaled"])
def test_the_result_can_be_saved(front, tmp_path):
    for pipeline in (pipeline_of(FILLED[front], TREES["tree"], HOLES), net_of(FILLED[front])):
        compiled = skprune.compile(pipeline)
        skprune.save(compiled, tmp_path / "model")
        again = skprune.load(tmp_path / "model")
        assert_array_equal(again.predict_proba(HOLES), compiled.predict_proba(HOLES))


@pytest.mark.parametrize("front", ["best", "standard"])
def test_names_of_columns_are_those_of_the_pipeline(front):
    frame = pd.DataFrame(X, columns=list("abcdef"))
    pipeline = pipeline_of(FRONTS[front], TREES["forest"], frame)
    compiled = skprune.compile(pipeline)
    assert_array_equal(compiled.feature_names_in_, list("abcdef"))
    assert compiled.n_features_in_ == N_COLUMNS
    assert_same(compiled, pipeline, frame)
    with pytest.raises(ValueError, match="feature names"):
        compiled.predict(frame[list("fedcba")])


def test_names_that_only_later_steps_know_are_none_of_the_pipeline():
    pipeline = make_pipeline(StandardScaler(), SelectKBest(k=3), clone(TREES["tree"]))
    pipeline.set_output(transform="pandas").fit(X, Y)
    compiled = skprune.compile(pipeline)
    assert compiled.feature_names_in is None
    assert_array_equal(compiled.predict(X), pipeline.predict(X))


@pytest.mark.parametrize("front", [[], ["passthrough"]])
def test_where_there_is_nothing_to_fold(front):
    pruner = clone(TREES["forest"]).set_params(n_jobs=1).fit(pd.DataFrame(X), Y)
    pipeline = Pipeline([*[("nothing", step) for step in front], ("pruner", pruner)])
    for estimator in (pipeline, pruner, pruner.sparse_estimator_, FrozenEstimator(pruner)):
        compiled = skprune.compile(estimator)
        assert compiled is not pruner.sparse_estimator_
        assert compiled.model is pruner.sparse_estimator_.model
        assert compiled.n_jobs == 1


def test_searches():
    search = PrunerCV(CostComplexityPruner(TREE), cv=2).fit(X, Y)
    assert_same(skprune.compile(search), search.best_estimator_, X)
    pipeline = make_pipeline(StandardScaler(), PrunerCV(CostComplexityPruner(TREE), cv=2)).fit(X, Y)
    assert_array_equal(skprune.compile(pipeline).predict(X), pipeline.predict(X))


@pytest.mark.parametrize(
    "model",
    [TREE, DecisionTreeRegressor(), RandomForestClassifier(4), RandomForestRegressor(3)],
)
def test_trees_and_forests_of_scikit_learn(model):
    pipeline = pipeline_of([StandardScaler()], model)
    compiled = skprune.compile(pipeline)
    rows = close_rows(compiled.model)
    assert_array_equal(compiled.predict(rows), pipeline.predict(rows))
    if is_classifier(model):
        assert_array_equal(compiled.predict_proba(rows), pipeline.predict_proba(rows))


def test_the_pipeline_is_left_as_it_was():
    pipeline = pipeline_of([SimpleImputer(), StandardScaler()], TREES["forest"], HOLES)
    before = pickle.dumps(pipeline)
    skprune.compile(pipeline)
    assert pickle.dumps(pipeline) == before


# --- what cannot be folded ----------------------------------------------------------------


class OwnScaler(StandardScaler):
    def transform(self, X):
        return super().transform(X) ** 3


class Unknown(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X


@pytest.mark.parametrize(
    ("step", "error", "why"),
    [
        (PCA(3), TypeError, r"'pca' \(PCA\) cannot be folded"),
        (Unknown(), TypeError, r"'unknown' \(Unknown\) cannot be folded"),
        (OwnScaler(), TypeError, r"'ownscaler' \(OwnScaler\) cannot be folded"),
        (
            make_column_transformer((StandardScaler(), [0, 1])),
            TypeError,
            r"'columntransformer' \(ColumnTransformer\) cannot be folded",
        ),
        (MinMaxScaler(clip=True), ValueError, r"'minmaxscaler' \(MinMaxScaler\).*clip=True"),
        (SimpleImputer(add_indicator=True), ValueError, "'simpleimputer'.*add_indicator=True"),
        (SimpleImputer(missing_values=0), ValueError, "'simpleimputer'.*missing_values must be"),
        (FunctionTransformer(np.sign), ValueError, "'functiontransformer'.*func=<ufunc 'sign'>"),
        (
            make_pipeline(StandardScaler(), PCA(2)),
            TypeError,
            r"'pipeline\.pca' \(PCA\) cannot be folded",
        ),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else "",
)
def test_what_cannot_be_folded_is_named(step, error, why):
    with pytest.raises(error, match=why):
        skprune.compile(pipeline_of([step], TREES["tree"]))


def test_an_imputer_of_objects_is_refused():
    pipeline = pipeline_of([SimpleImputer(strategy="most_frequent")], TREES["tree"])
    pipeline[0].fit(X.astype(object))
    with pytest.raises(ValueError, match=r"'simpleimputer'.*data that are no numbers \(object\)"):
        skprune.compile(pipeline)


def test_scaling_by_what_is_not_positive_is_refused():
    pipeline = pipeline_of([StandardScaler()], TREES["forest"])
    pipeline[0].scale_[4] = -2.0
    with pytest.raises(ValueError, match=r"'standardscaler'.*column 4 has -2\.0"):
        skprune.compile(pipeline)


@pytest.mark.parametrize("step", [StandardScaler(), SimpleImputer(strategy="most_frequent")])
def test_scaling_and_filling_columns_of_categories_is_refused(step):
    rows = np.column_stack([RNG.integers(0, 5, N_ROWS), X[:, 0]])
    booster = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0])
    pruner = CostComplexityPruner(booster, sparsity=0.1).fit(rows, Y)
    pipeline = Pipeline([("front", step.fit(rows)), ("pruner", pruner)])
    with pytest.raises(ValueError, match=r"'front'.*column 0 holds categories"):
        skprune.compile(pipeline)


def test_steps_that_do_not_fit_together_are_refused():
    pruner = clone(TREES["tree"]).fit(X, Y)
    for first, second in ((X[:, :3], X[:, :4]), (X, X[:, :3])):
        scalers = [("one", StandardScaler().fit(first)), ("two", StandardScaler().fit(second))]
        with pytest.raises(ValueError, match=r"'two' .* reads \d columns, but .* give \d"):
            skprune.compile(Pipeline([*scalers, ("pruner", pruner)]))
    with pytest.raises(ValueError, match=r"'pruner' .* reads 6 columns, but .* give 3"):
        skprune.compile(
            Pipeline([("one", StandardScaler().fit(X[:, :3])), ("pruner", pruner)]),
        )


@pytest.mark.parametrize(
    "last",
    [LogisticRegression(), StandardScaler(), HistGradientBoostingClassifier(max_iter=2)],
)
def test_a_last_step_that_is_no_model_for_the_engine_is_refused(last):
    pipeline = make_pipeline(StandardScaler(), last).fit(X, Y)
    name = type(last).__name__
    with pytest.raises(TypeError, match=rf"'{name.lower()}(-2)?' \({name}\)"):
        skprune.compile(pipeline)
    with pytest.raises(TypeError, match="what is compiled must be a fitted pruner"):
        skprune.compile(Pipeline([("nothing", "passthrough")]))
    for stranger in (X, CostComplexityPruner, "model"):
        with pytest.raises(TypeError, match=r"must be a fitted pruner.* but it is"):
            skprune.compile(stranger)


def test_a_search_that_was_not_refitted_is_refused():
    search = GridSearchCV(TREES["tree"], {"sparsity": [0.5]}, refit=False, cv=2).fit(X, Y)
    with pytest.raises(TypeError, match=r"GridSearchCV has no best_estimator_.*refit=True"):
        skprune.compile(search)


def test_layers_that_the_engine_lacks_are_named():
    from torch import nn

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(N_COLUMNS, 4)
            self.odd = nn.Softsign()
            self.last = nn.Linear(4, 3)

        def forward(self, rows):
            return self.last(self.odd(self.first(rows)))

    pruner = MagnitudePruner(user_net(Odd, max_epochs=1), sparsity=0.5, finetune_epochs=1)
    with pytest.warns(UserWarning, match="predict runs the pruned net in torch"):
        pipeline = make_pipeline(StandardScaler(), pruner).fit(X.astype(np.float32), Y)
    with pytest.raises(ValueError, match=r"'magnitudepruner' .*Softsign"):
        skprune.compile(pipeline)
    with pytest.raises(TypeError, match="it is TorchModel"):
        skprune.compile(pipeline[-1]._predictor)


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), TREES["tree"]),
        TREES["tree"],
        PrunerCV(TREES["tree"]),
        make_pipeline(StandardScaler(), clone(TREES["tree"]).fit(X, Y)),
    ],
)
def test_what_is_not_fitted_is_refused(estimator):
    with pytest.raises(NotFittedError):
        skprune.compile(estimator)


def test_infinity_is_taken_where_the_pipeline_takes_it():
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = (X[:, 0] > 0).astype(int)
    rows = X.copy()
    rows[1, 0] = np.inf
    boosted = HistGradientBoostingClassifier(max_iter=3)
    for selector, taken in ((VarianceThreshold(), True), (SelectKBest(k=2), False)):
        pruner = CostComplexityPruner(boosted, sparsity=0.0)
        pipeline = make_pipeline(selector, pruner).fit(X, y)
        compiled = skprune.compile(pipeline)
        for model in (pipeline, compiled):
            if taken:
                assert_array_equal(model.predict(rows), pipeline.predict(rows))
                continue
            with pytest.raises(ValueError, match="infinity"):
                model.predict(rows)


@pytest.mark.parametrize("steps", [[StandardScaler()], [SimpleImputer()], [MinMaxScaler()]])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_is_refused_where_the_pipeline_refuses_it(steps, value):
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = (X[:, 0] > 0).astype(int)
    for last in (DecisionTreeClassifier(), RandomForestClassifier(3)):
        pipeline = make_pipeline(*steps, last).fit(X, y)
        rows = X.copy()
        rows[1, 2] = value
        for model in (pipeline, skprune.compile(pipeline)):
            with pytest.raises(ValueError, match="infinity"):
                model.predict(rows)
