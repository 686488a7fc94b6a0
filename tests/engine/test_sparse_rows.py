"""Trees on the rows of a CSR matrix: those of dense rows and of scikit-learn, to the bit."""

import numpy as np
import pytest
from scipy.sparse import csc_array, csr_array, csr_matrix, random_array
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from skprune.engine import Forest, NonFiniteError, Tree
from tests.engine.test_forest import from_sklearn as forest_of
from tests.engine.test_tree import from_sklearn as tree_of

ENGINES = ["native", "scipy"]
MODELS = {
    "tree": DecisionTreeClassifier(random_state=0),
    "forest": RandomForestClassifier(11, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=20, random_state=0),
}
N, WIDTH = 700, 300  # several tiles, and more columns than any tree here reads


def texts(dtype="f8"):
    """Rows of a few counts each, every ninth empty, and a target that depends on them."""
    rng = np.random.default_rng(0)
    X = random_array((N, WIDTH), density=0.02, rng=rng, format="lil")
    X[::9] = 0
    X = X.tocsr()
    y = (X @ rng.normal(size=WIDTH) + rng.normal(scale=0.1, size=N) > 0).astype(int)
    X.data = (np.ceil(9 * X.data) if np.dtype(dtype).kind in "iu" else X.data).astype(dtype)
    return X, y


def with_indices(X, dtype):
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(dtype), X.indptr.astype(dtype)
    return X


def fitted(kind, X, y, engine="native"):
    model = MODELS[kind].fit(X, y)
    return model, tree_of(model, engine) if kind == "tree" else forest_of(model, X, y, engine)


def stump(column=0, threshold=0.5, n_features=3, engine="native", forest=False, **options):
    """A tree that answers 1 where the column exceeds the threshold, else 0."""
    arrays = (
        *([column, -2, -2], [threshold, -2.0, -2.0], [1, -1, -1], [2, -1, -1]),
        *([[0.5], [0.0], [1.0]], [True, False, False]),
    )
    if forest:
        return Forest(*arrays, [0, 3], n_features, engine=engine, **options)
    return Tree(*arrays, n_features, engine=engine, **options)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("dtype", "index"), [("f8", "i4"), ("f4", "i8"), ("i8", "i4"), ("u1", "i8")]
)
def test_rows_are_answered_as_dense_ones_and_as_by_scikit_learn(dtype, index, kind, engine):
    X, y = texts(dtype)
    model, ours = fitted(kind, X, y, engine)
    rows, leaves, theirs = X.toarray(), model.apply(X).reshape(N, -1), model.predict_proba(X)
    X = with_indices(X, index)  # scikit-learn takes short ones alone
    for form in (csr_array, csr_matrix, csc_array):
        np.testing.assert_array_equal(ours.apply(form(X)).reshape(N, -1), leaves)
        np.testing.assert_array_equal(ours.predict(form(X)), ours.predict(rows))
    np.testing.assert_allclose(ours.predict(X), theirs, rtol=1e-14, atol=1e-15)
    if kind != "boosting":  # whose link calls exp
        np.testing.assert_array_equal(ours.predict(X), theirs)
    for size in (0, 1, 2, 7, 8, 9, 63, 64, 65, 300, 513):
        np.testing.assert_array_equal(ours.predict(X[:size]), ours.predict(rows)[:size])
    for n_jobs in (2, 5):
        np.testing.assert_array_equal(ours.predict(X, n_jobs), ours.predict(X))
        np.testing.assert_array_equal(ours.apply(X, n_jobs), ours.apply(X))
    if kind == "boosting":
        np.testing.assert_array_equal(ours.decision(X), ours.decision(rows))


def test_rows_without_entries():
    X, y = texts()
    for kind in MODELS:
        model, ours = fitted(kind, X, y)
        none = csr_array((70, WIDTH))
        np.testing.assert_array_equal(
            ours.apply(none).reshape(70, -1), model.apply(none).reshape(70, -1)
        )


@pytest.mark.parametrize("forest", [False, True])
def test_a_lone_leaf_reads_nothing_and_checks_all(forest):
    leaf = [-2], [-2.0], [-1], [-1], [[7.0]], [False]
    ours = Forest(*leaf, [0, 1], 3) if forest else Tree(*leaf, 3)
    X = csr_array(np.eye(3))
    np.testing.assert_array_equal(ours.predict(X), [[7.0]] * 3)
    X.data[1] = np.nan
    with pytest.raises(NonFiniteError):
        ours.predict(X)


def test_columns_may_be_more_than_short_numbers_hold():
    n = 200_000
    X = csr_array(([1.0, 1.0, 1.0], ([0, 1, 2], [n - 1, n - 2, 7])), shape=(3, n))
    for forest in (False, True):
        ours = stump(n - 1, n_features=n, forest=forest)
        np.testing.assert_array_equal(ours.predict(X).ravel(), [1.0, 0.0, 0.0])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("forest", [False, True])
@pytest.mark.parametrize(
    ("entries", "dtype", "threshold", "expected"),
    [
        ([0.3, 0.3], "f8", 0.5, 1.0),
        ([0.3, 0.3], "f4", 0.5, 1.0),
        ([9.0, -9.0], "f8", -0.5, 1.0),
        ([0.0, 0.3, 0.3], "f8", 0.5, 1.0),
        # added up as float32, these were 1
        ([1.0, 2.0**-25, 2.0**-25, 2.0**-25], "f8", 1.0 + 2.0**-24, 1.0),
        ([1.0, 2.0**-25, 2.0**-25, 2.0**-25], "f4", 1.0 + 2.0**-24, 0.0),
        ([2**24, 1, 1], "i8", 2.0**24 + 1.0, 1.0),
        ([True, True], "?", 1.5, 0.0),  # their sum is True
        ([127, 127], "i1", 0.0, 0.0),  # -2
    ],
)
def test_entries_given_twice_are_added_up(entries, dtype, threshold, expected, forest, engine):
    ours = stump(1, threshold, forest=forest, engine=engine)
    n, data = len(entries), np.array(entries, dtype)
    row = csr_array((data, np.ones(n, np.int32), [0, n]), shape=(1, 3))
    many = csr_array(
        (np.tile(data, 70), np.ones(70 * n, np.int32), n * np.arange(71)), shape=(70, 3)
    )
    for X in (row, many):
        np.testing.assert_array_equal(ours.predict(X.toarray()).ravel(), expected)
        np.testing.assert_array_equal(ours.predict(X).ravel(), expected)
        assert X.nnz == n * X.shape[0]  # the caller's matrix stays as it was


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("forest", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("column", [0, 2])
def test_what_scikit_learn_refuses_is_refused(column, bad, forest, engine):
    X, y = np.array([[0.0, 1.0, 5.0], [1.0, np.nan, 5.0]] * 10), [0, 1] * 10
    model = DecisionTreeClassifier().fit(X, y)
    ours = stump(0, allow_nan=True, forest=forest, engine=engine)
    for n_rows in (1, 90):
        rows = csr_array(np.ones((n_rows, 3)))
        rows.data[3 * n_rows - 3 + column] = bad  # read by a split, and not
        with (
            pytest.raises(ValueError, match=r"NaN|infinity"),
            np.errstate(over="ignore"),
        ):
            model.predict(rows)
        with pytest.raises(NonFiniteError):
            ours.predict(rows)


@pytest.mark.parametrize("forest", [False, True])
def test_a_sum_that_float32_cannot_hold_is_refused(forest):
    X = csr_array(([3e38, 3e38], [0, 0], [0, 2]), shape=(1, 3))
    with pytest.raises(NonFiniteError):
        stump(forest=forest).predict(X)


def _spoil(part, at, value):
    def spoil(X):
        array = getattr(X, part).copy()
        array[at] = value
        setattr(X, part, array)

    return spoil


MALFORMED = {
    "index below 0": _spoil("indices", 4, -1),
    "index too large": _spoil("indices", 4, 3),
    "huge index": _spoil("indices", -1, 2**31 - 1),
    "starts that fall": _spoil("indptr", 2, 1),
    "start below 0": _spoil("indptr", 3, -5),
    "first start": _spoil("indptr", 0, 1),
    "end behind the data": _spoil("indptr", -1, 10**6),
    "too few data": lambda X: setattr(X, "data", X.data[:-3]),
    "too few indices": lambda X: setattr(X, "indices", X.indices[:-3]),
    "too few of both": lambda X: (
        setattr(X, "data", X.data[:-3]),
        setattr(X, "indices", X.indices[:-3]),
    ),
    "too few rows": lambda X: setattr(X, "indptr", X.indptr[:-1]),
    "float indices": lambda X: setattr(X, "indices", X.indices.astype(float)),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("forest", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "i8"])
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_matrices_are_refused(name, dtype, forest, engine):
    ours = stump(1, forest=forest, engine=engine)
    X = csr_array(np.ones((100, 3), dtype))
    expected = ours.predict(X)
    bad = X.copy()
    MALFORMED[name](bad)
    for method in (ours.predict, ours.apply, ours.transform):
        with pytest.raises(ValueError, match="X must be a valid sparse matrix"):
            method(bad)
    np.testing.assert_array_equal(ours.predict(X), expected)
