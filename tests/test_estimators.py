"""SparseClassifier and SparseRegressor, made by hand and by pruners."""

import pickle
import subprocess
import sys
from copy import copy, deepcopy

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.frozen import FrozenEstimator
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skprune import (
    CostComplexityPruner,
    MagnitudePruner,
    MLPNetClassifier,
    SparseClassifier,
    SparseRegressor,
)
from skprune.engine import Layer, Network
from tests.conftest import FORBID_TORCH, user_net

RNG = np.random.default_rng(0)
W1 = RNG.normal(size=(5, 3)).astype(np.float32) * (RNG.random((5, 3)) < 0.6)
W2 = RNG.normal(size=(2, 5)).astype(np.float32) * (RNG.random((2, 5)) < 0.6)
B1, B2 = RNG.normal(size=5).astype(np.float32), RNG.normal(size=2).astype(np.float32)
X = RNG.normal(size=(40, 3)).astype(np.float32)
LABELS = np.array(["no", "yes"])


def network(activation="softmax", engine="auto"):
    hidden = Layer(csr_array(W1), B1, "relu", name="hidden")
    return Network([hidden, Layer(csr_array(W2), B2, activation, name="output")], engine)


def logits(rows=X):
    return np.maximum(rows @ W1.T + B1, 0) @ W2.T + B2


def probabilities(rows=X):
    exp = np.exp(logits(rows) - logits(rows).max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


@pytest.fixture(params=["auto", "scipy"])
def classifier(request):
    return SparseClassifier(network(engine=request.param), classes=LABELS)


@pytest.fixture(params=["auto", "scipy"])
def regressor(request):
    return SparseRegressor(network("identity", request.param))


# --- predictions --------------------------------------------------------------------------


def test_classifier_predicts_labels_and_probabilities(classifier):
    assert_allclose(classifier.predict_proba(X), probabilities(), atol=1e-6)
    assert_array_equal(classifier.predict(X), LABELS[logits().argmax(axis=1)])
    assert_allclose(classifier.predict_log_proba(X), np.log(probabilities()), atol=1e-5)
    y = LABELS[RNG.integers(0, 2, len(X))]
    assert classifier.score(X, y) == np.mean(classifier.predict(X) == y)


def test_regressor_predicts_float64(regressor):
    assert regressor.predict(X).dtype == np.float64
    assert_allclose(regressor.predict(X), logits(), atol=1e-5)
    assert regressor.score(X, logits()) == pytest.approx(1)


@pytest.mark.parametrize(("flat", "shape"), [(True, (40,)), (False, (40, 1))])
def test_single_output_is_flat_unless_told_otherwise(flat, shape):
    layer = Layer(csr_array(W1[:1]), B1[:1])
    model = SparseRegressor(Network([layer]), flat=flat)
    assert model.predict(X).shape == shape
    assert_allclose(model.predict(X).ravel(), X @ W1[0] + B1[0], atol=1e-6)


def test_several_outputs_are_never_flattened(regressor):
    assert regressor.predict(X).shape == (40, 2)
    assert regressor.predict(X[:1]).shape == (1, 2)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_threshold_decides_for_the_second_class(threshold):
    model = SparseClassifier(network(), classes=LABELS, threshold=threshold)
    proba = model.predict_proba(X)[:, 1]
    assert_array_equal(model.predict(X) == "yes", proba > threshold)


def test_transform_is_the_hidden_layer(classifier):
    assert_allclose(classifier.transform(X), np.maximum(X @ W1.T + B1, 0), atol=1e-6)


def test_several_outputs_of_labels_are_lists():
    layer = Layer(csr_array(np.eye(5, 3, dtype=np.float32)), B1)
    classes = [np.array(["a", "b", "c"]), np.array([-1, 1])]
    model = SparseClassifier(Network([layer]), classes=classes)
    first, second = model.predict_proba(X)
    assert (first.shape, second.shape) == ((40, 3), (40, 2))
    outputs = X @ np.eye(5, 3, dtype=np.float32).T + B1
    assert_allclose(np.concatenate([first, second], axis=1), outputs, atol=1e-6)
    predicted = model.predict(X)
    assert_array_equal(predicted[:, 0], classes[0][outputs[:, :3].argmax(axis=1)])
    assert_array_equal(predicted[:, 1].astype(int), classes[1][outputs[:, 3:].argmax(axis=1)])


# --- the fast path and scikit-learn's validation ------------------------------------------

SAME_ROWS = {
    "float64": X.astype(np.float64),
    "big endian": X.astype(">f4"),
    "fortran order": np.asfortranarray(X),
    "every other row": np.repeat(X, 2, axis=0)[::2],
    "every other column": np.repeat(X, 2, axis=1)[:, ::2],
    "backwards twice": X[::-1, ::-1][::-1, ::-1],
    "read-only": np.frombuffer(X.tobytes(), dtype=np.float32).reshape(X.shape),
    "unaligned": np.frombuffer(b"0" + X.tobytes(), dtype=np.uint8)[1:]
    .view(np.float32)
    .reshape(X.shape),
    "lists": X.tolist(),
    "pandas": pd.DataFrame(X),
    "n-d": X.reshape(40, 1, 3),
    "subclass": np.ma.masked_array(X),
}


@pytest.mark.parametrize("kind", SAME_ROWS)
def test_every_form_of_the_same_rows_gives_the_same(kind, classifier):
    assert_array_equal(classifier.predict_proba(SAME_ROWS[kind]), classifier.predict_proba(X))
    assert_array_equal(classifier.transform(SAME_ROWS[kind]), classifier.transform(X))


def test_fast_path_takes_arrays_and_frames_of_numbers_only(classifier, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("validated")

    monkeypatch.setattr("skprune.estimators.validate_data", fail)
    classifier.predict(X)
    for rows in (X.astype(np.float64), X.astype(int), X > 0, pd.DataFrame(X)):
        classifier.predict(rows)
    for rows in (X.tolist(), pd.DataFrame(X).astype(str), X[:, :2], X[:0], X.astype(object)):
        with pytest.raises(AssertionError, match="validated"):
            classifier.predict(rows)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_both_paths_word_errors_as_scikit_learn(value, classifier):
    broken = X.astype(np.float64)
    broken[7, 1] = value
    for rows in (broken, broken.tolist()):
        with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
            classifier.predict(rows)


def test_shapes_are_checked(classifier):
    with pytest.raises(ValueError, match="X has 2 features, but SparseClassifier is expecting 3"):
        classifier.predict(X[:, :2])
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        classifier.predict(X[0])
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        classifier.predict(X[:0])


def test_single_rows_agree_with_batches(classifier):
    one_by_one = np.concatenate([classifier.predict_proba(row[None]) for row in X])
    assert_allclose(one_by_one, classifier.predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize("n_jobs", [1, 2, -1])
def test_threads_change_nothing(n_jobs):
    many = np.tile(X, (50, 1))
    model = SparseClassifier(network(), classes=LABELS, n_jobs=n_jobs)
    assert_array_equal(
        model.predict_proba(many),
        SparseClassifier(network(), classes=LABELS).predict_proba(many),
    )


# --- feature names ------------------------------------------------------------------------


def test_feature_names_are_checked_where_they_are_known():
    names = np.array(["a", "b", "c"], dtype=object)
    model = SparseClassifier(network(), classes=LABELS, feature_names_in=names)
    frame = pd.DataFrame(X, columns=names)
    assert_array_equal(model.feature_names_in_, names)
    assert_allclose(model.predict_proba(frame), probabilities(), atol=1e-6)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["b", "a", "c"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)


def test_without_names_there_is_no_attribute(classifier):
    assert not hasattr(classifier, "feature_names_in_")
    assert classifier.n_features_in_ == 3


# --- scikit-learn's conventions -----------------------------------------------------------


def test_kinds(classifier, regressor):
    assert is_classifier(classifier)
    assert is_regressor(regressor)
    assert not hasattr(regressor, "predict_proba")
    assert_array_equal(classifier.classes_, LABELS)
    assert not get_tags(classifier).requires_fit
    check_is_fitted(classifier)


def test_frozen_fit_and_clone_change_nothing(classifier):
    expected = classifier.predict_proba(X)
    assert classifier.fit(X * 0, ["a"] * 40, sample_weight=3) is classifier
    assert clone(classifier) is classifier
    assert_array_equal(classifier.predict_proba(X), expected)


@pytest.mark.parametrize("copied", [copy, deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_predict_the_same(copied, classifier, regressor):
    for model in (classifier, regressor):
        again = copied(model)
        assert_array_equal(again.predict(X), model.predict(X))
        assert_array_equal(again.transform(X), model.transform(X))
        assert again.explain() == model.explain()


def test_parameters_are_stored(classifier):
    assert classifier.get_params(deep=False).keys() == {
        "model",
        "classes",
        "threshold",
        "decision_threshold",
        "feature_names_in",
        "limits",
        "categories",
        "n_jobs",
    }
    assert "SparseClassifier" in repr(classifier)


def test_explain_names_every_layer(classifier):
    plan = classifier.explain()
    assert plan.splitlines()[0].startswith(f"engine {classifier.model.engine}")
    assert [line.split()[0] for line in plan.splitlines()[2:4]] == ["hidden", "output"]
    assert f"{W1.astype(bool).sum() + W2.astype(bool).sum()} of 25 weights" in plan
    origin = classifier.model.engine == "native"  # a line more: of the costs
    assert len(classifier.explain(n_rows=1).splitlines()) == 4 + origin


# --- as pruners make them -----------------------------------------------------------------


def test_pruned_tree_takes_missing_values(iris):
    rows, y = iris
    rows = np.where(RNG.random(rows.shape) < 0.1, np.nan, rows)
    tree = DecisionTreeClassifier(random_state=0)
    pruner = CostComplexityPruner(tree, sparsity=0.5).fit(rows, y)
    model = pruner.sparse_estimator_
    assert get_tags(model).input_tags.allow_nan
    assert_array_equal(model.predict(rows), pruner.estimator_.predict(rows))
    assert_array_equal(model.predict(rows.tolist()), model.predict(rows))
    rows[0, 0] = np.inf
    with pytest.raises(ValueError, match="X contains infinity"):
        model.predict(rows)


def test_fast_and_validated_path_agree_for_trees(diabetes):
    rows, y = diabetes
    tree = DecisionTreeRegressor(random_state=0)
    model = CostComplexityPruner(tree, sparsity=0.5).fit(rows, y).sparse_estimator_
    assert_array_equal(model.predict(rows), model.predict(pd.DataFrame(rows)))
    assert_array_equal(model.predict(rows.astype(np.float64)), model.predict(rows))
    assert (model.transform(rows) != model.transform(rows.tolist())).nnz == 0


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "?"])
@pytest.mark.parametrize("form", [csr_array, csr_matrix])
def test_csr_rows_go_to_trees_as_they_are(form, dtype, iris, monkeypatch):
    rows, y = iris
    rows = np.where(rows > 2, rows, 0).astype(dtype)
    tree = DecisionTreeClassifier(random_state=0).fit(rows, y)
    pruner = CostComplexityPruner(FrozenEstimator(tree), sparsity=0.0).fit(rows, y)
    expected, sparse = tree.predict_proba(form(rows)), form(rows)
    monkeypatch.setattr("skprune.estimators.validate_data", None)  # slower than most predictions
    assert_array_equal(pruner.predict_proba(sparse), expected)
    assert_array_equal(pruner.predict(sparse[:1]), tree.classes_[expected[:1].argmax(axis=1)])


def _with(part, values):
    sparse = csr_array(np.ones((2, 4)))
    setattr(sparse, part, values)
    return sparse


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (csr_array(np.ones((2, 3))), "X has 3 features, but CostComplexityPruner is expecting 4"),
        (csr_array((0, 4)), "Found array with 0 sample"),
        (csr_array([[1, 1, 1, np.nan]]), "NaN"),
        (csr_array([[1, 1, np.inf, 1]]), "infinity"),
        (csr_array([[1, 1, 1e39, 1]]), "infinity or a value too large"),
        (csr_array(np.ones((2, 4), complex)), "Complex data not supported"),
        (_with("data", np.ones(7)), "X must be a valid sparse matrix"),
        (_with("indices", np.full(8, 4)), "X must be a valid sparse matrix"),
    ],
)
@pytest.mark.parametrize("missing", [False, True])
def test_csr_rows_that_scikit_learn_refuses_are_refused(missing, rows, message, iris):
    train, y = iris
    if missing:  # NaN in dense rows is taken then, in sparse ones it is not
        train = np.where(RNG.random(train.shape) < 0.1, np.nan, train)
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0), sparsity=0.3)
    pruner.fit(train, y)
    with pytest.raises(ValueError, match=message), np.errstate(over="ignore"):
        pruner.predict(rows)


def test_csr_rows_have_no_names(iris):
    rows, y = iris
    frame = pd.DataFrame(rows, columns=list("abcd"))
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0), sparsity=0.3)
    pruner.fit(frame, y)
    message = "X does not have valid feature names, but CostComplexityPruner was fitted"
    with pytest.warns(UserWarning, match=message):
        answers = pruner.predict(csr_array(rows))
    assert_array_equal(answers, pruner.predict(frame))


def test_pruned_net_runs_where_torch_is_not_installed(iris, tmp_path):
    labels = np.array(["x", "y", "z"])[iris[1]]
    net = MLPNetClassifier((8,), max_epochs=3)
    model = MagnitudePruner(net, sparsity=0.5, random_state=0).fit(iris[0], labels)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model.sparse_estimator_))
    np.save(tmp_path / "rows.npy", iris[0])
    code = """
import pickle
import numpy as np
with open("model.pkl", "rb") as file:
    model = pickle.load(file)
np.save("proba.npy", model.predict_proba(np.load("rows.npy")))
np.save("labels.npy", model.predict(np.load("rows.npy")))
"""
    subprocess.run(
        [sys.executable, "-c", FORBID_TORCH + code], check=True, cwd=tmp_path, timeout=60
    )
    assert_array_equal(np.load(tmp_path / "proba.npy"), model.predict_proba(iris[0]))
    assert_array_equal(np.load(tmp_path / "labels.npy"), model.predict(iris[0]))


def test_sparse_estimator_does_not_follow_later_changes(iris):
    pruner = MagnitudePruner(user_net(), sparsity=0.5, random_state=0).fit(*iris)
    expected = pruner.predict_proba(iris[0])
    for parameter in pruner.estimator_.module_.parameters():
        parameter.data.zero_()
    assert_array_equal(pruner.predict_proba(iris[0]), expected)
