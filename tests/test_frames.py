"""Data frames and names of columns: what scikit-learn says of them, in microseconds."""

import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import skprune
from skprune import CostComplexityPruner, MagnitudePruner, MLPNetClassifier
from skprune.frames import numbers_of

X, Y = load_iris(return_X_y=True)
NAMES = ["sepal length", "sepal width", "petal length", "petal width"]
FRAMES = {
    "pandas": lambda rows: pd.DataFrame(rows, columns=NAMES),
    "polars": lambda rows: pl.DataFrame(rows, schema=NAMES),
}
TREE = DecisionTreeClassifier(random_state=0)


def pruner(**params):
    return CostComplexityPruner(TREE, sparsity=0.0, **params)


def models_of_a_tree(train):
    """Give what predicts as the plain tree does, fitted to the same rows."""
    fitted = pruner().fit(train, Y)
    frozen = CostComplexityPruner(FrozenEstimator(TREE.__class__(random_state=0).fit(train, Y)))
    return {
        "pruner": fitted,
        "frozen": frozen.set_params(sparsity=0.0).fit(train, Y),
        "sparse_estimator_": fitted.sparse_estimator_,
        "compiled": skprune.compile(make_pipeline(pruner()).fit(train, Y)),
    }


def outcome(model, rows):
    """Tell what a call answers, warns of and raises; names of classes are left out."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            answer = model.predict(rows).tolist()
        except (TypeError, ValueError) as error:
            answer = type(error), re.sub("a? ?[A-Z][A-Za-z]+(Classifier|Pruner)", "", str(error))
    return answer, [(w.category, re.sub(r"but \w+", "", str(w.message))) for w in told]


@pytest.fixture(params=FRAMES)
def framed(request):
    return FRAMES[request.param]


@pytest.fixture
def no_validation(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("validated")

    monkeypatch.setattr("skprune.estimators.validate_data", fail)


SPARSE = pd.DataFrame.sparse.from_spmatrix
ROWS = {
    "float64": pd.DataFrame(X),
    "float32": pd.DataFrame(X.astype(np.float32)),
    "one": pd.DataFrame(X[50:51]),
    "float and int": pd.DataFrame(X).astype({2: int}),
    "float32 and int64": pd.DataFrame(X.astype(np.float32)).astype({2: np.int64, 1: np.int8}),
    "float and large int": pd.DataFrame(X).assign(b=2**53 + 1).drop(columns=0),
    "bool": pd.DataFrame(X > 1),
    "bool and float": pd.DataFrame(X).assign(b=X[:, 0] > 5).drop(columns=0),
    "nullable": pd.DataFrame(X).astype("Float64"),
    "nullable, missing": pd.DataFrame(X).astype("Float64").replace(X[3, 2], pd.NA),
    "nullable int": pd.DataFrame(X.round()).astype({1: "Int64"}),
    "arrow": pd.DataFrame(X).astype("double[pyarrow]"),
    "objects": pd.DataFrame(X.astype(object)),
    "text": pd.DataFrame(X).astype(str),
    "words": pd.DataFrame(X).assign(b="word").drop(columns=0),
    "categories": pd.DataFrame(X).astype({2: "category"}),
    "dates": pd.DataFrame(X.astype("datetime64[s]")),
    "durations": pd.DataFrame(X).assign(d=pd.Timedelta(1)).drop(columns=2),
    "complex": pd.DataFrame(X.astype(complex)),
    "sparse": pd.DataFrame(X).astype(pd.SparseDtype(float, 0.0)),
    "sparse, missing": pd.DataFrame(X).replace(X[3, 2], np.nan).astype(pd.SparseDtype(float)),
    "one sparse": pd.DataFrame(X).astype({2: pd.SparseDtype(float, 0.0)}),
    "missing": pd.DataFrame(X).replace(X[3, 2], np.nan),
    "infinite": pd.DataFrame(X).replace(X[3, 2], np.inf),
    "too large": pd.DataFrame(X).replace(X[3, 2], 1e39),
    "empty": pd.DataFrame(X[:0]),
    "narrow": pd.DataFrame(X[:, :3]),
    "polars": pl.DataFrame(X),
    "polars, ints": pl.DataFrame(X.round().astype(int)),
    "polars, mixed": pl.DataFrame(X).cast({"column_2": pl.Int64, "column_0": pl.Float32}),
    "polars, null": pl.DataFrame(X).with_columns(column_3=pl.lit(None, pl.Int32)),
    "polars, words": pl.DataFrame(X).cast(pl.String),
    "polars, bool": pl.DataFrame(X).with_columns(column_3=pl.lit(True)),
    "polars, decimal": pl.DataFrame(X).cast(pl.Decimal(20, 2)),
    "list": X.tolist(),
    "ints": X.round().astype(int),
    "bools": X > 1,
    "float16": X.astype(np.float16),
    "longdouble": X.astype(np.longdouble),
    "big endian": X.astype(">f8"),
}


@pytest.mark.filterwarnings("ignore:.*overflow")
@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("kind", ROWS)
def test_rows_of_any_kind_fare_as_with_the_plain_tree(kind, names):
    train = pd.DataFrame(X, columns=NAMES) if names else X
    rows = ROWS[kind]
    if names and isinstance(rows, pd.DataFrame):
        rows = rows.set_axis(NAMES[: rows.shape[1]], axis="columns")
    elif names and isinstance(rows, pl.DataFrame):
        rows = rows.rename(dict(zip(rows.columns, NAMES, strict=True)))
    expected = outcome(TREE.fit(train, Y), rows)
    for model in models_of_a_tree(train).values():
        assert outcome(model, rows) == expected


LABELS = {
    "the same": NAMES,
    "another order": NAMES[::-1],
    "one other": [*NAMES[:3], "else"],
    "none": [0, 1, 2, 3],
    "mixed": [*NAMES[:3], 3],
    "floats": [0.5, 1.5, 2.5, 3.5],
    "pairs": pd.MultiIndex.from_tuples([("a", "b"), ("a", "c"), ("d", "b"), ("d", "c")]),
    "twice": [*NAMES[:3], NAMES[0]],
    "objects": pd.Index(NAMES, dtype=object),
}


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("train", [X, pd.DataFrame(X, columns=NAMES), pl.DataFrame(X, NAMES)])
def test_names_are_held_against_those_of_fit_as_by_the_plain_tree(train, label):
    tree = TREE.fit(train, Y)
    rows = [pd.DataFrame(X, columns=LABELS[label]), pd.DataFrame(X[:1], columns=LABELS[label])]
    if label in ("the same", "another order", "one other"):
        rows.append(pl.DataFrame(X, schema=LABELS[label]))
    for given in rows:
        expected = outcome(tree, given)
        for model in models_of_a_tree(train).values():
            assert outcome(model, given) == expected


ARRAYS = {
    "float64": X,
    "one row": X[:1],
    "float32": X.astype(np.float32),
    "ints": X.round().astype(int),
}


def warned_by(calls, action):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter(action)
        for call in calls:
            call()
    return [str(warning.message) for warning in told]


@pytest.mark.parametrize("rows", ARRAYS.values(), ids=ARRAYS)
def test_each_call_with_an_array_warns_as_the_filters_ask(rows, framed):
    for name, model in models_of_a_tree(framed(X)).items():
        asked = "CostComplexityPruner" if name in ("pruner", "frozen") else "SparseClassifier"
        message = f"X does not have valid feature names, but {asked} was fitted with feature names"
        calls = [lambda model=model: model.predict(rows)] * 3
        assert warned_by(calls, "always") == [message] * 3
        assert warned_by(calls, "default") == [message]
        assert warned_by(calls, "ignore") == []
        with pytest.raises(UserWarning, match=message):
            warned_by(calls, "error")


def test_rows_that_are_refused_bring_one_warning(framed):
    model = pruner().fit(framed(X), Y)
    answer, told = outcome(model, np.where(X[3, 2] == X, np.inf, X))
    assert answer[0] is ValueError
    assert len(told) == 1


def test_frames_take_no_validation(framed, no_validation):
    frame = framed(X)
    for model in models_of_a_tree(frame).values():
        assert_array_equal(model.predict(frame[:5]), TREE.fit(X, Y).predict(X[:5]))


def test_frames_of_nets_take_no_validation(framed, no_validation):
    frame, net = framed(X), MLPNetClassifier((4,), max_epochs=1)
    model = MagnitudePruner(net, sparsity=0.5, finetune_epochs=0, random_state=0)
    pipeline = make_pipeline(StandardScaler(), model).fit(frame, Y)
    compiled = skprune.compile(pipeline)
    model.fit(frame, Y)
    for fitted in (model, model.sparse_estimator_, compiled):
        assert fitted.feature_names_in_.tolist() == NAMES
        expected = fitted.model if fitted is compiled else model.sparse_estimator_.model
        assert_array_equal(fitted.predict_proba(frame), expected.predict(X))
        assert_array_equal(fitted.predict_proba(frame[:1]), expected.predict(X[:1]))


def test_messages_name_the_pruner_that_was_asked():
    fitted = pruner().fit(X, Y)
    for model, name in ((fitted, "CostComplexityPruner"), (fitted.sparse_estimator_, "SparseClas")):
        with pytest.raises(ValueError, match=f"but {name}.* is expecting 4 features"):
            model.predict(X[:, :3])
        with pytest.warns(UserWarning, match=f"but {name}.* was fitted without feature names"):
            model.predict(pd.DataFrame(X, columns=NAMES))
        with pytest.warns(UserWarning, match=f"but {name}.* was fitted without feature names"):
            model.predict(pd.DataFrame(X, columns=NAMES).astype("Float64"))


def test_what_is_no_frame_of_numbers_is_left_to_scikit_learn():
    for rows in (X, X.tolist(), None, pd.Series(X[:, 0]), ROWS["sparse"], ROWS["words"]):
        assert numbers_of(rows) is None
    values, names = numbers_of(ROWS["float and int"])
    assert_array_equal(values, np.where(np.arange(4) == 2, X.astype(int), X))
    assert names is None


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_an_array_without_names_is_not_validated_twice(no_validation):
    model = pruner().fit(pd.DataFrame(X, columns=NAMES), Y)
    assert_array_equal(model.predict(X[:1]), model.estimator_.predict(X[:1]))


def test_the_sparse_estimator_is_an_attribute():
    frozen = CostComplexityPruner(FrozenEstimator(TREE.fit(X, Y)), sparsity=0.3).fit(X, Y)
    assert frozen.sparse_estimator_ is frozen.sparse_estimator_
    assert not hasattr(CostComplexityPruner(TREE), "sparse_estimator_")
