"""Which numbers X may hold: those that the plain scikit-learn object takes, column by column."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import skprune
from skprune import CostComplexityPruner, ForestPruner, MagnitudePruner, MLPNetClassifier
from skprune.engine import NonFiniteError
from skprune.engine.file import FileFormatError, read_header, read_tensors, to_bytes
from skprune.limits import FLOAT32_MOST, Limits
from skprune.saving import load_bytes, save_bytes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6)) * [1.0, 1e-3, 30.0, 1.0, 0.1, 2.0]
Y = (X[:, 0] + X[:, 2] / 30 > 0).astype(int)
STRANGE = (np.nan, np.inf, -np.inf, 1e39, -1e39, 3e38, -1e37, 1.5e308)

TREE = DecisionTreeClassifier(random_state=0)
BAGGING = BaggingClassifier(TREE, 2, max_features=0.3, random_state=1)
MODELS = {
    "tree": TREE,
    "constrained": DecisionTreeRegressor(random_state=0, monotonic_cst=[1, 0, 0, 0, 0, 0]),
    "forest": RandomForestRegressor(3, random_state=0),
    "extra trees": ExtraTreesClassifier(3, random_state=0),
    "bagging": BAGGING,
    "histograms": HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=5),
}
FRONTS = {
    "best": [SelectKBest(k=3)],
    "variance": [VarianceThreshold(0.1)],
    "scaled": [StandardScaler()],
    "scaled, best": [StandardScaler(), SelectKBest(k=3)],
    "variance, scaled": [VarianceThreshold(0.1), StandardScaler()],
    "divided": [MaxAbsScaler()],
    "filled": [SimpleImputer()],
    "variance, filled": [VarianceThreshold(0.1), SimpleImputer()],
    "filled, best, scaled": [SimpleImputer(), SelectKBest(k=3), StandardScaler()],
    "scaled twice, best": [MinMaxScaler(), RobustScaler(), SelectKBest(k=3)],
    "nothing": [FunctionTransformer()],
}
TAKE_SPARSE = ("best", "variance", "divided", "filled", "variance, filled", "nothing")


def answer(estimator, rows):
    """Give the predictions, or that scikit-learn's kind of error came."""
    try:
        return estimator.predict(rows).tolist()
    except ValueError:
        return "refused"


def strange_rows():
    """Give rows with one strange number each, in every column."""
    for number in STRANGE:
        for column in range(X.shape[1]):
            rows = X[:5].copy()
            rows[2, column] = number
            yield rows
            if not np.isfinite(number):  # what may overflow when it is scaled is for float64
                yield rows.astype(np.float32)


def assert_same_answers(ours, plain, sparse):
    answers = set[bool]()
    for rows in strange_rows():
        for one in [rows, csr_array(rows)] if sparse else [rows]:
            expected = answer(plain, one)
            assert answer(ours, one) == expected, (rows[2], rows.dtype, type(one))
            answers.add(expected == "refused")
    assert False in answers
    assert True in answers or isinstance(plain, HistGradientBoostingClassifier | Pipeline)


@pytest.mark.parametrize("name", MODELS)
def test_a_pruner_answers_and_refuses_as_the_plain_model(name):
    plain = clone(MODELS[name]).fit(X, Y)
    pruner = CostComplexityPruner(clone(MODELS[name]), sparsity=0.0).fit(X, Y)
    sparse = name != "histograms"
    assert_same_answers(pruner, plain, sparse)
    assert_same_answers(load_bytes(save_bytes(pruner)), plain, sparse)


def test_a_pruned_bagging_looks_at_no_column_that_it_was_not_shown():
    pruner = ForestPruner(BAGGING, sparsity=0.5).fit(X, Y)
    assert_same_answers(pruner, pruner.estimator_, sparse=True)
    unseen = np.setdiff1d(np.arange(6), np.concatenate(pruner.estimator_.estimators_features_))
    rows = X.copy()
    rows[:, unseen] = np.nan
    assert_array_equal(pruner.predict(rows), pruner.predict(X))
    assert (pruner.transform(rows) != pruner.transform(X)).nnz == 0


@pytest.mark.parametrize("name", [name for name in MODELS if name != "constrained"])
@pytest.mark.parametrize("front", FRONTS)
def test_a_compiled_pipeline_answers_and_refuses_as_the_pipeline(front, name):
    model = CostComplexityPruner(clone(MODELS[name]), sparsity=0.0)
    pipeline = make_pipeline(*map(clone, FRONTS[front]), model).fit(X, Y)
    sparse = front in TAKE_SPARSE and name != "histograms"
    compiled = skprune.compile(pipeline)
    assert_same_answers(compiled, pipeline, sparse)
    assert_same_answers(load_bytes(save_bytes(compiled)), pipeline, sparse)


@pytest.mark.parametrize("front", ["best", "scaled, best", "filled, best, scaled"])
def test_a_compiled_net_answers_where_the_pipeline_does(front):
    net = MLPNetClassifier((4,), max_epochs=2)
    pruner = MagnitudePruner(net, sparsity=0.5, random_state=0)
    pipeline = make_pipeline(*map(clone, FRONTS[front]), pruner).fit(X, Y)
    compiled = skprune.compile(pipeline)
    for rows in strange_rows():
        rows = rows[2:3]
        try:
            found = answer(compiled, rows)
        except NonFiniteError:
            found = "refused"
        if found != answer(pipeline, rows):  # what a net reads, it reads as float32
            assert found == "refused"
            read = compiled.model.columns_read
            assert np.abs(rows[0, read]).max() > FLOAT32_MOST


@pytest.mark.parametrize("name", ["tree", "forest", "histograms"])
def test_rows_of_trees_have_one_dimension(name):
    pruner = CostComplexityPruner(clone(MODELS[name]), sparsity=0.0).fit(X, Y)
    pipeline = make_pipeline(StandardScaler(), clone(pruner)).fit(X, Y)
    for model in (pruner, pruner.sparse_estimator_, skprune.compile(pipeline)):
        for rows in (X.reshape(-1, 2, 3), X.reshape(-1, 6, 1).tolist()):
            with pytest.raises(ValueError, match="Found array with dim 3, while dim <= 2"):
                model.predict(rows)


def test_text_that_tells_numbers_is_taken_as_by_the_pipeline():
    pipeline = make_pipeline(StandardScaler(), CostComplexityPruner(TREE, sparsity=0.0)).fit(X, Y)
    text = X.astype(str).tolist()
    assert_array_equal(skprune.compile(pipeline).predict(text), pipeline.predict(text))


def test_an_unpruned_bagging_compiles_with_its_limits():
    bagging = clone(BAGGING).fit(X, Y)
    assert_same_answers(skprune.compile(bagging), bagging, sparse=True)


def test_the_error_is_that_of_scikit_learn():
    pipeline = make_pipeline(SelectKBest(k=3), CostComplexityPruner(TREE, sparsity=0.0)).fit(X, Y)
    rows = X.copy()
    rows[1, pipeline[0].get_support()] = 1e39
    for estimator in (pipeline, skprune.compile(pipeline)):
        with pytest.raises(ValueError, match=r"^Input X contains infinity or a value too large"):
            estimator.predict(rows)
    rows[1] = np.nan
    with pytest.raises(ValueError, match=r"^Input X contains NaN"):
        skprune.compile(pipeline).predict(rows)


def test_what_a_model_keeps_by_itself_needs_no_limits():
    pruner = CostComplexityPruner(TREE, sparsity=0.0).fit(X, Y)
    assert pruner.sparse_estimator_.limits is None
    pipeline = make_pipeline(FunctionTransformer(), pruner).fit(X, Y)
    assert skprune.compile(pipeline).limits is None
    assert not any("limits" in name for name in read_tensors(save_bytes(pruner)))


def test_no_floating_point_error_is_raised_by_the_check():
    pipeline = make_pipeline(StandardScaler(), CostComplexityPruner(TREE, sparsity=0.0)).fit(X, Y)
    compiled = skprune.compile(pipeline)
    for rows in (X, np.tile(X, (100, 1))):
        rows = rows.copy()
        rows[0, 3] = 1e37
        expected = compiled.predict(rows)
        with np.errstate(all="raise"):
            assert_array_equal(compiled.predict(rows), expected)
            assert_array_equal(compiled.predict(rows.astype(np.float32))[1:], expected[1:])


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("low", np.full(6, np.nan), "must not be above"),
        ("low", np.full(6, 1e300), "must not be above"),
        ("high", np.full(5, np.inf), "must have 6 entries, one per column"),
        ("missing", np.full(6, 3, np.uint8), "must hold 0, 1 and 2"),
        ("missing", np.zeros(6), "must have 1 dimension"),
    ],
)
def test_bad_limits_in_a_file_are_refused(name, array, message):
    pipeline = make_pipeline(StandardScaler(), CostComplexityPruner(TREE, sparsity=0.0)).fit(X, Y)
    data = save_bytes(pipeline)
    header, tensors = read_header(data), read_tensors(data)
    tensors[f"limits.{name}"] = array
    with pytest.raises(FileFormatError, match=message):
        load_bytes(to_bytes(header, tensors))


def test_limits_in_a_file_are_whole():
    pipeline = make_pipeline(StandardScaler(), CostComplexityPruner(TREE, sparsity=0.0)).fit(X, Y)
    data = save_bytes(pipeline)
    header, tensors = read_header(data), read_tensors(data)
    for name in Limits.of_columns(1).arrays:
        rest = {key: array for key, array in tensors.items() if key != f"limits.{name}"}
        with pytest.raises(FileFormatError, match="limits"):
            load_bytes(to_bytes(header, rest))
