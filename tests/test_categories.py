"""Categories of text, and of any kind: HistGradientBoosting of scikit-learn says what is right."""

import pickle
import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import skprune
from skprune import CostComplexityPruner, PrunerCV
from skprune.categories import Categories, as_numbers
from skprune.engine.file import read_header, read_tensors, to_bytes
from skprune.saving import load_bytes, save_bytes

N = 160
RNG = np.random.default_rng(0)
AGE = RNG.normal(size=N)
TOWNS = np.array(["Bern", "Chur", "Genf", "Zürich"])[RNG.integers(0, 4, N)]
FLOORS = RNG.integers(0, 3, N)
ROOMS = RNG.integers(0, 6, N)
LABELS = np.where((TOWNS == "Genf") | (RNG.random(N) < 0.2), "yes", "no")
CLASSIFIER = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=3)
REGRESSOR = HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=3)
SOME = np.arange(N) % 9 == 0
MISSING = pd.Series(TOWNS, dtype=object).mask(SOME, None)
PANDAS = pd.DataFrame({"age": AGE, "town": TOWNS, "floor": FLOORS, "rooms": ROOMS})
CATEGORICAL = PANDAS.astype({"town": "category", "floor": "category"})
POLARS = pl.DataFrame({"age": AGE, "town": TOWNS, "floor": FLOORS, "rooms": ROOMS})
NAMED = ["floor", "town"]
# rows, and what says which columns are categories
TRAIN = {
    "pandas": (CATEGORICAL, "from_dtype"),
    "pandas, missing": (CATEGORICAL.assign(town=pd.Categorical(MISSING)), "from_dtype"),
    "pandas, all missing": (
        CATEGORICAL.assign(town=pd.Categorical([None] * N, categories=["Bern"])),
        "from_dtype",
    ),
    "objects by name": (PANDAS.astype({"town": object}), NAMED),
    "objects and None": (PANDAS.assign(town=MISSING), NAMED),
    "strings by index": (PANDAS.astype({"town": "str"}), [1, 2]),
    "nullable strings": (PANDAS.astype({"town": "string"}), NAMED),
    "arrow strings": (PANDAS.astype({"town": "string[pyarrow]"}), NAMED),
    "nullable numbers": (
        CATEGORICAL.assign(
            age=pd.Series(AGE, dtype="Float64").mask(SOME),
            rooms=pd.Series(ROOMS, dtype="Int8").mask(SOME),
        ),
        "from_dtype",
    ),
    "nullable categories": (
        PANDAS.assign(floor=pd.Series(FLOORS, dtype="Int64").mask(SOME)), NAMED
    ),
    "mask": (PANDAS, [False, True, True, False]),
    "polars": (POLARS.cast({"town": pl.Categorical}), "from_dtype"),
    "polars enum": (POLARS.cast({"town": pl.Enum(sorted(set(TOWNS))[::-1])}), "from_dtype"),
    "polars null": (
        POLARS.with_columns(town=pl.Series(MISSING.tolist()).cast(pl.Categorical)), "from_dtype"
    ),
    "polars strings": (POLARS, NAMED),
    "arrow": (
        pa.table({"age": AGE, "town": pa.array(TOWNS.tolist()).dictionary_encode()}), "from_dtype"
    ),
    "array": (PANDAS.to_numpy(), [1]),
    "array and None": (PANDAS.assign(town=MISSING).to_numpy(), [1]),
    "array of strings": (PANDAS.to_numpy().astype(str), [1]),
    "no names": (CATEGORICAL.set_axis([0, 1, 2, 3], axis=1), "from_dtype"),
    "dates": (
        PANDAS.assign(town=pd.Categorical(pd.to_datetime(["2020-01-01", "2021-05-05"] * (N // 2)))),
        "from_dtype",
    ),
    "large numbers": (PANDAS.assign(town=ROOMS + 2**53), [1]),
    "true and false": (PANDAS.assign(town=pd.Categorical(AGE > 0)), "from_dtype"),
}  # fmt: skip


def methods_of(estimator):
    names = ("predict", "predict_proba", "decision_function")
    return [name for name in names if hasattr(estimator, name)]


def first(rows, n):
    return rows.slice(0, n) if isinstance(rows, pl.DataFrame | pa.Table) else rows[:n]


def assert_same_answers(ours, theirs, rows):
    """Compare all answers: to the bit, but for exp, which differs in the last place."""
    for name in methods_of(theirs):
        given, expected = getattr(ours, name)(rows), getattr(theirs, name)(rows)
        if name == "predict_proba":
            assert_allclose(given, expected, rtol=1e-13)
        else:
            assert_array_equal(given, expected)


def outcome(model, rows):
    """Tell what a call answers, warns of and raises; who speaks is left out."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            answer = model.decision_function(rows).tolist()
        except (TypeError, ValueError) as error:
            answer = type(error), str(error)
    return answer, [re.sub(r"but \w+", "", str(warning.message)) for warning in told]


@pytest.fixture(scope="module")
def plain():
    return clone(CLASSIFIER).fit(CATEGORICAL, LABELS)


@pytest.fixture(scope="module")
def pruner():
    return CostComplexityPruner(CLASSIFIER, sparsity=0.0).fit(CATEGORICAL, LABELS)


@pytest.fixture
def no_encoder(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("scikit-learn's encoder was asked")

    monkeypatch.setattr(Categories, "numbers", fail)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", [CLASSIFIER, REGRESSOR])
@pytest.mark.parametrize("name", TRAIN)
def test_categories_are_those_of_the_plain_estimator(name, kind, frozen):
    rows, how = TRAIN[name]
    estimator = clone(kind).set_params(categorical_features=how)
    y = LABELS if kind is CLASSIFIER else AGE + 3.0 * (TOWNS == "Genf")
    plain = clone(estimator).fit(rows, y)
    assert plain.is_categorical_.any()
    for sparsity in (0.0, 0.4):
        wrapped = FrozenEstimator(plain) if frozen else estimator
        pruner = CostComplexityPruner(wrapped, sparsity=sparsity).fit(rows, y)
        if sparsity == 0.0:
            assert_same_answers(pruner, plain, rows)
        assert pruner.score(rows, y) == pruner.estimator_.score(rows, y)
        sparse = pruner.sparse_estimator_
        for model in (pruner, sparse, pickle.loads(pickle.dumps(sparse)),
                      load_bytes(save_bytes(pruner)),
                      load_bytes(save_bytes(pruner), engine="scipy")):  # fmt: skip
            assert_same_answers(model, pruner.estimator_, rows)
            assert_same_answers(model, pruner.estimator_, first(rows, 1))
        assert pruner.transform(rows).sum() == N * kind.max_iter


OTHERS = {
    "another order": CATEGORICAL[["rooms", "town", "floor", "age"]],
    "more columns": CATEGORICAL.assign(street="Weg"),
    "fewer columns": CATEGORICAL[["age", "town", "floor"]],
    "unknown": CATEGORICAL.assign(town="Basel"),
    "unknown categories": CATEGORICAL.assign(town=pd.Categorical(["Basel"] * N)),
    "unknown number": CATEGORICAL.assign(floor=77),
    "text for numbers": CATEGORICAL.assign(floor="77"),
    "missing": CATEGORICAL.assign(town=pd.Categorical([None] * N, categories=["Bern"])),
    "None": CATEGORICAL.assign(town=pd.Series([None] * N, dtype=object)),
    "missing number": CATEGORICAL.assign(floor=np.nan),
    "infinite category": CATEGORICAL.assign(floor=np.inf),
    "infinite number": CATEGORICAL.assign(age=np.inf),
    "words for a number": CATEGORICAL.assign(age="old"),
    "numbers as words": CATEGORICAL.assign(age="1.5"),
    "true": CATEGORICAL.assign(floor=True),
    "NA": CATEGORICAL.assign(age=pd.array([pd.NA] * N, dtype="Float64")),
    "NA of strings": CATEGORICAL.assign(town=pd.array([pd.NA] * N, dtype="string")),
    "objects": PANDAS.astype(object),
    "array": PANDAS.to_numpy(),
    "list": PANDAS.to_numpy().tolist(),
    "array of strings": PANDAS.to_numpy().astype(str),
    "polars": POLARS,
    "polars null": POLARS.with_columns(town=pl.lit(None, pl.String)),
    "polars missing": POLARS.with_columns(age=pl.lit(None, pl.Float64)),
    "arrow": pa.table(POLARS.to_dict(as_series=False)),
    "narrow array": PANDAS.to_numpy()[:, :3],
    "no rows": CATEGORICAL[:0],
    "three dimensions": np.zeros((2, 4, 2)),
    "sparse": csr_array(np.eye(4)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_rows_fare_as_with_the_plain_estimator(name, plain, pruner):
    rows = OTHERS[name]
    loaded = load_bytes(save_bytes(pruner))
    for given in (rows, rows[:1]):
        for model in (pruner, pruner.sparse_estimator_, loaded):
            assert outcome(model, given) == outcome(plain, given)


@pytest.mark.parametrize("value", [np.nan, 3])
def test_numbers_in_the_place_of_text_are_refused_by_the_column(value, plain, pruner):
    rows = CATEGORICAL.assign(town=value)
    with pytest.raises(TypeError):
        plain.predict(rows)
    for given in (rows, rows[:1]):
        with pytest.raises(TypeError, match=r"categories .* in columns \['town'\], .* numbers"):
            pruner.predict(given)


def test_categories_that_are_numbers_are_found_by_name_too():
    rows = CATEGORICAL.drop(columns="town")
    plain = clone(CLASSIFIER).fit(rows, LABELS)
    pruner = CostComplexityPruner(CLASSIFIER, sparsity=0.0).fit(rows, LABELS)
    floats = rows.astype(float).to_numpy()
    for given in (rows[["rooms", "floor", "age"]], rows.assign(more="x"), rows[:1], floats,
                  floats + [0, np.inf, 0], floats + [np.inf, 0, 0]):  # fmt: skip
        assert outcome(pruner, given) == outcome(plain, given)


def test_a_row_of_a_frame_needs_no_encoder(no_encoder):
    for rows, missing in ((CATEGORICAL, None), (CATEGORICAL, SOME), (POLARS, None)):
        if missing is not None:
            rows = rows.assign(town=rows.town.mask(missing))
        estimator = clone(CLASSIFIER).set_params(categorical_features=NAMED)
        pruner = CostComplexityPruner(estimator, sparsity=0.4).fit(rows, LABELS)
        for at in range(12):
            one = rows[at : at + 1]
            expected = pruner.estimator_.decision_function(one)
            assert_array_equal(pruner.decision_function(one), expected)


def test_a_search_and_a_path_see_the_frame():
    values = [0.0, 0.5]
    pruner = CostComplexityPruner(CLASSIFIER)
    ours = PrunerCV(pruner, param_name="sparsity", param_range=values, cv=3)
    ours.fit(CATEGORICAL, LABELS)
    theirs = GridSearchCV(clone(pruner), {"sparsity": values}, cv=3, n_jobs=2)
    theirs.fit(CATEGORICAL, LABELS)
    assert_allclose(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-12
    )
    for search in (ours, theirs):
        compiled = skprune.compile(search)
        assert_array_equal(compiled.predict(CATEGORICAL), search.predict(CATEGORICAL))
    ranked = PrunerCV(pruner, param_name="sparsity", param_range=values, cv=3, scoring="roc_auc")
    assert np.isfinite(ranked.fit(CATEGORICAL, LABELS).best_score_)
    assert_array_equal(
        theirs.set_params(estimator__n_jobs=2).fit(CATEGORICAL, LABELS).predict(CATEGORICAL),
        theirs.best_estimator_.estimator_.predict(CATEGORICAL),
    )


@pytest.mark.parametrize("front", ["passthrough", FunctionTransformer()])
def test_a_pipeline_compiles(front):
    pruner = CostComplexityPruner(CLASSIFIER, sparsity=0.4)
    pipeline = make_pipeline(front, pruner).fit(CATEGORICAL, LABELS)
    for model in (skprune.compile(pipeline), load_bytes(save_bytes(pipeline))):
        for rows in (CATEGORICAL, CATEGORICAL[:1], OTHERS["unknown"], OTHERS["missing"]):
            assert_same_answers(model, pipeline, rows)


def test_weights_and_absolute_errors_take_the_frame():
    y, weight = AGE + (TOWNS == "Bern"), RNG.integers(1, 4, N)
    for loss in ("absolute_error", "squared_error"):
        estimator = clone(REGRESSOR).set_params(loss=loss)
        plain = clone(estimator).fit(CATEGORICAL, y, sample_weight=weight)
        pruner = CostComplexityPruner(estimator, sparsity=0.0)
        pruner.fit(CATEGORICAL, y, sample_weight=weight)
        assert_array_equal(pruner.predict(CATEGORICAL), plain.predict(CATEGORICAL))
        pruner.set_params(sparsity=0.5).fit(CATEGORICAL, y, sample_weight=weight)
        expected = pruner.estimator_.predict(CATEGORICAL)
        assert_array_equal(pruner.predict(CATEGORICAL), expected)


def test_onnx_has_no_categories_and_the_error_says_so(pruner):
    with pytest.raises(ValueError, match=r"columns \['town', 'floor'\] hold categories"):
        skprune.to_onnx(pruner)


@pytest.mark.parametrize(
    ("rows", "y", "error"),
    [
        (CATEGORICAL, None, "requires y"),
        (CATEGORICAL, LABELS[:5], "inconsistent numbers of samples"),
        (CATEGORICAL.assign(age="old"), LABELS, "could not convert string to float: 'old'"),
        (CATEGORICAL.assign(town=pd.Categorical(AGE.astype(str))), LABELS, "cardinality <= 100"),
    ],
)
def test_what_is_fitted_wrong_leaves_nothing_behind(rows, y, error):
    estimator = clone(CLASSIFIER).set_params(max_bins=100)
    pruner = CostComplexityPruner(estimator).fit(CATEGORICAL, LABELS)
    before = vars(pruner).copy()
    with pytest.raises(ValueError, match=error):
        pruner.fit(rows, y)
    assert vars(pruner) == before


# -- sparse rows ---------------------------------------------------------------------------


def test_sparse_rows_are_refused_where_the_plain_estimator_refuses_them():
    rows = np.round(np.column_stack([AGE, ROOMS, FLOORS]))
    estimator = clone(CLASSIFIER)
    plain = clone(estimator).fit(rows, LABELS)
    pruner = CostComplexityPruner(estimator, sparsity=0.3).fit(rows, LABELS)
    frozen = CostComplexityPruner(FrozenEstimator(plain), sparsity=0.3).fit(rows, LABELS)
    compiled = skprune.compile(make_pipeline("passthrough", pruner).fit(rows, LABELS))
    for model in (plain, pruner, frozen, pruner.sparse_estimator_, load_bytes(save_bytes(pruner)),
                  load_bytes(save_bytes(pruner), engine="scipy"), compiled):  # fmt: skip
        for given in (csr_array(rows), csr_array(rows[:1])):
            with pytest.raises(TypeError, match="Sparse data was passed"):
                model.predict(given)
    for engine in ("auto", "scipy"):
        with pytest.raises(TypeError, match="X must be dense"):
            pruner.sparse_estimator_.model.with_engine(engine).predict(csr_array(rows))
    with pytest.raises(TypeError, match="Sparse data was passed"):
        pruner.fit(csr_array(rows), LABELS)
    taken = CostComplexityPruner(GradientBoostingRegressor(n_estimators=2), sparsity=0.3)
    taken.fit(rows, AGE)
    assert_array_equal(taken.predict(csr_array(rows)), taken.predict(rows))


# -- files -----------------------------------------------------------------------------------------


def parts_of(pruner):
    data = save_bytes(pruner)
    return read_header(data), {name: array.copy() for name, array in read_tensors(data).items()}


def test_files_older_than_the_categories_of_text_load():
    rows = np.column_stack([AGE, FLOORS])
    estimator = clone(CLASSIFIER).set_params(categorical_features=[1])
    pruner = CostComplexityPruner(estimator, sparsity=0.3).fit(rows, LABELS)
    header, tensors = parts_of(pruner)
    del header["model"]["accepts_sparse"]
    older = {name: array for name, array in tensors.items() if not name.startswith("known.")}
    loaded = load_bytes(to_bytes(header, older))
    assert_array_equal(loaded.decision_function(rows), pruner.decision_function(rows))
    assert_array_equal(loaded.predict(csr_array(rows)), pruner.predict(rows))


def text(*values):
    coded = [value.encode() for value in values]
    return {
        "known.values.text": np.frombuffer(b"".join(coded), np.uint8),
        "known.values.ends": np.cumsum([len(value) for value in coded]).astype(np.uint32),
    }


TOWN_TEXTS = ['"Bern"', '"Chur"', '"Genf"', '"Z\\u00fcrich"']
MALFORMED = {
    "not JSON": text("Bern", *TOWN_TEXTS[1:], "0", "1", "2"),
    "a list": text("[]", *TOWN_TEXTS[1:], "0", "1", "2"),
    "NaN": text("NaN", *TOWN_TEXTS[1:], "0", "1", "2"),
    "deep": text("[" * 100_000, *TOWN_TEXTS[1:], "0", "1", "2"),
    "twice": text(*TOWN_TEXTS[:1] * 2, *TOWN_TEXTS[2:], "0", "1", "2"),
    "fewer": text(*TOWN_TEXTS, "0", "1"),
    "other numbers": text(*TOWN_TEXTS, "0", "1", "3"),
    "shrinking": text(*TOWN_TEXTS, "2", "1", "0"),
    "no integer": text(*TOWN_TEXTS, "0", "1", "1.5"),
    "too large": text(*TOWN_TEXTS, "0", "1", "1" + "0" * 30),
    "other counts": {"known.counts": np.array([3, 4], np.uint16)},
    "one count": {"known.counts": np.array([7], np.uint16)},
    "other columns": {"known.columns": np.array([0, 2], np.uint16)},
    "columns out of reach": {"known.columns": np.array([1, 9], np.uint16)},
    "unknown dtype": {
        "known.dtypes.text": np.frombuffer(b"object|O8xxx", np.uint8),
        "known.dtypes.ends": np.array([6, 12], np.uint32),
    },
    "one dtype": {
        "known.dtypes.text": np.frombuffer(b"object", np.uint8),
        "known.dtypes.ends": np.array([6], np.uint32),
    },
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_categories_are_refused(name, pruner):
    header, tensors = parts_of(pruner)
    assert load_bytes(to_bytes(header, tensors | text(*TOWN_TEXTS, "0", "1", "2")))
    with pytest.raises(skprune.FileFormatError, match="known"):
        load_bytes(to_bytes(header, tensors | MALFORMED[name]))


def test_categories_that_no_file_holds_are_named():
    rows = CATEGORICAL.assign(town=pd.cut(AGE, 3))
    pruner = CostComplexityPruner(CLASSIFIER, sparsity=0.3).fit(rows, LABELS)
    assert_same_answers(pruner, pruner.estimator_, rows)
    with pytest.raises(TypeError, match=r"of column 1 must be text, .* one is Interval"):
        save_bytes(pruner)


# -- Categories ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([1, 3], [1.0, 3.0]),
        (np.array([0.5, 2], dtype=object), [0.5, 2.0]),
        ([False, True], [0.0, 1.0]),
        (["1", "2"], None),
        (np.array([1, None], dtype=object), None),
        ([2**53 + 1], None),
        (np.array([1j], dtype=object), None),
        (np.array([0.5, np.inf], dtype=object), None),
        (np.array([10**400], dtype=object), None),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), None),
    ],
)
def test_numbers_are_told_from_other_categories(values, numbers):
    found = as_numbers(np.asarray(values))
    assert (found is None) == (numbers is None)
    if numbers is not None:
        assert_array_equal(found, numbers)


def test_categories_show_how_many_there_are():
    assert repr(Categories({2: ["a", "b"]}, 3)) == "Categories(of columns {2: 2})"
