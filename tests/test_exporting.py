"""ONNX models against the sparse estimators that they are made of, by onnxruntime."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune import (
    CostComplexityPruner,
    ForestPruner,
    MagnitudePruner,
    MLPNetClassifier,
    SparseClassifier,
    SparseRegressor,
    to_onnx,
)
from skprune.engine import ACTIVATIONS, Forest, Network, Tree
from tests.engine.cases import forests, random_network, rows_for, trees
from tests.test_imports import run_python

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])


def run(model, rows):
    """Run an ONNX model; give its outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}[given.type]
    values = session.run(None, {"X": np.asarray(rows, dtype=dtype)})
    return dict(zip([output.name for output in session.get_outputs()], values, strict=True))


def assert_predicts_alike(estimator, rows, rtol=1e-5, atol=1e-6):
    found = run(to_onnx(estimator), rows)
    if isinstance(estimator, SparseRegressor):
        expected = estimator.model.predict(rows)
        np.testing.assert_allclose(found["variable"], expected, rtol=rtol, atol=atol)
        return
    labels, proba = estimator.predict(rows), estimator.predict_proba(rows)
    many = isinstance(proba, list)
    for k, expected in enumerate(proba if many else [proba]):
        suffix = f"_{k}" if many else ""
        np.testing.assert_allclose(found[f"probabilities{suffix}"], expected, rtol=rtol, atol=atol)
        np.testing.assert_array_equal(found[f"label{suffix}"], labels[:, k] if many else labels)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    network = random_network([5, 30, 4], 0.5, [activation, "identity"], seed=0)
    rows = np.random.default_rng(0).normal(size=(50, 5)) * 3
    assert_predicts_alike(SparseRegressor(network), rows, atol=1e-5)
    network = random_network([5, 30, 4], 0.5, ["relu", activation], seed=0)
    assert_predicts_alike(SparseRegressor(network), rows, atol=1e-5)


def test_a_pruned_net():
    net = MLPNetClassifier((16,), max_epochs=5, lr=0.1)
    pruner = MagnitudePruner(net, sparsity=0.5, random_state=0).fit(X, NAMES[Y])
    assert_predicts_alike(pruner.sparse_estimator_, X)
    found = run(to_onnx(pruner), X)
    assert list(found) == ["label", "probabilities"]
    np.testing.assert_array_equal(found["label"], pruner.predict(X))


def test_what_stands_in_for_missing_values():
    layers = random_network([4, 3, 2], 0.8, ["relu", "softmax"], seed=0).layers
    rows = np.where(np.random.default_rng(0).random(X.shape) < 0.3, np.nan, X)
    network = Network(layers, fill=[0.5, -1.0, 2.0, 0.0])
    assert_predicts_alike(SparseRegressor(network), rows)


def test_a_threshold_decides():
    network = random_network([4, 2], 1.0, ["softmax"], seed=1)
    for threshold in (0.1, 0.5, 0.9):
        model = SparseClassifier(network, classes=np.array(["no", "yes"]), threshold=threshold)
        assert_predicts_alike(model, X)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_tree(data):
    tree = data.draw(trees(allow_nan=data.draw(st.booleans())))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows = rng.choice([0.0, -0.0, 0.1, -1.0, 1e-45, 3e38, 0.7], (30, tree.n_features_in))
    rows = np.where(rng.random(rows.shape) < 0.5, rng.normal(size=rows.shape), rows)
    rows = rows.astype(np.float32)
    if tree.allow_nan:
        rows[rng.random(rows.shape) < 0.3] = np.nan
    assert_predicts_alike(SparseRegressor(tree), rows)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_forest_of_numbers(data):
    forest = data.draw(forests().filter(lambda forest: forest.categories is None))
    rows = data.draw(rows_for(forest).filter(len))
    assert_predicts_alike(SparseRegressor(forest), rows, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("labels", [Y, NAMES[Y], Y - 1.0, NAMES.astype(object)[Y]])
def test_labels_of_every_kind(labels):
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0), sparsity=0.3)
    assert_predicts_alike(pruner.fit(X, labels).sparse_estimator_, X)


def test_boolean_labels():
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0), sparsity=0.3)
    pruner.fit(X, Y == 1)
    found = run(to_onnx(pruner), X)
    assert found["label"].dtype == bool
    np.testing.assert_array_equal(found["label"], pruner.predict(X))


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(20, random_state=0),
        GradientBoostingClassifier(n_estimators=10, random_state=0),
        HistGradientBoostingClassifier(max_iter=10),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_ensembles_of_classifiers(model, n_classes):
    rows, labels = X[: 50 * n_classes], NAMES[Y[: 50 * n_classes]]
    pruner = CostComplexityPruner(model, sparsity=0.3).fit(rows, labels)
    assert_predicts_alike(pruner.sparse_estimator_, rows)


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeRegressor(random_state=0),
        RandomForestRegressor(20, random_state=0),
        ExtraTreesRegressor(20, random_state=0),
        GradientBoostingRegressor(n_estimators=10, random_state=0),
        HistGradientBoostingRegressor(max_iter=10),
        HistGradientBoostingRegressor(max_iter=10, loss="poisson"),
    ],
    ids=lambda model: type(model).__name__,
)
def test_regressors(model):
    rows, y = make_regression(200, 5, random_state=0)
    pruner = CostComplexityPruner(model, sparsity=0.3).fit(rows, y - y.min())
    assert_predicts_alike(pruner.sparse_estimator_, rows)


@pytest.mark.parametrize(
    "model",
    [RandomForestClassifier(10, random_state=0), HistGradientBoostingClassifier(max_iter=5)],
)
def test_missing_values(model):
    rows = X.copy()
    rows[np.random.default_rng(0).random(rows.shape) < 0.2] = np.nan
    pruner = CostComplexityPruner(model, sparsity=0.3).fit(rows, Y)
    assert_predicts_alike(pruner.sparse_estimator_, rows)


def test_probabilities_that_were_fitted_are_clipped():
    pruner = ForestPruner(RandomForestClassifier(20, random_state=0), sparsity=0.7)
    assert_predicts_alike(pruner.fit(X, Y).sparse_estimator_, X, atol=1e-5)


def test_several_outputs():
    rows, labels = make_multilabel_classification(200, 6, n_classes=3, random_state=0)
    pruner = CostComplexityPruner(RandomForestClassifier(3, random_state=0), sparsity=0.3)
    pruner.fit(rows, labels)
    assert_predicts_alike(pruner.sparse_estimator_, rows)
    assert [output.name for output in to_onnx(pruner).graph.output][:2] == [
        "label_0",
        "probabilities_0",
    ]
    pruner = CostComplexityPruner(DecisionTreeRegressor(random_state=0), sparsity=0.3)
    assert_predicts_alike(pruner.fit(rows, labels.astype(float)).sparse_estimator_, rows)


def test_the_sum_of_nothing_is_the_same_for_all():
    tree = {"feature": [-2], "threshold": [0], "left": [-1], "right": [-1]}
    forest = Forest(
        **tree, value=[[-1.0, -2.0, 1.0, 3.0]], missing_go_to_left=[0], tree_starts=[0, 1],
        n_features_in=1, link="clip", groups=[2, 2],
    )  # fmt: skip
    found = run(to_onnx(SparseRegressor(forest)), np.zeros((2, 1)))
    np.testing.assert_allclose(found["variable"], [[0.5, 0.5, 0.25, 0.75]] * 2)


def test_nodes_that_no_root_reaches_are_left_out():
    tree = Tree(
        [0, -2, -2, 1, -2, -2], [0.5, 0, 0, 0, 0, 0],
        [5, -1, -1, 4, -1, -1], [2, -1, -1, 1, -1, -1],
        [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]], [0] * 6, 2,
    )  # fmt: skip
    assert_predicts_alike(SparseRegressor(tree), np.array([[0.0, 0.0], [1.0, 0.0]]))


def test_the_model_is_written_and_says_whence_it_comes(tmp_path):
    model = SparseRegressor(random_network([4, 2], 1.0, ["relu"], 0), feature_names_in=list("abcd"))
    made = to_onnx(model, tmp_path / "model.onnx")
    read = onnx.load(tmp_path / "model.onnx")
    assert read == made
    assert read.producer_name == "skprune"
    assert {prop.key: prop.value for prop in read.metadata_props} == {
        "feature_names": '["a", "b", "c", "d"]'
    }
    to_onnx(model, str(tmp_path / "again.onnx"))


def test_categories_are_refused():
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(0, 9, 400), rng.normal(size=400)], axis=1)
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features=[0])
    pruner = CostComplexityPruner(model, sparsity=0.2).fit(rows, rows[:, 0] % 3 == 1)
    with pytest.raises(ValueError, match=r"columns \[0\] hold categories"):
        to_onnx(pruner)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (np.array([1, 2, None]), "their dtype is object"),
        (np.array([1, 2, 3j]), "their dtype is complex128"),
        (np.array([1, 2, 2**64 - 1], dtype=np.uint64), "int64, which cannot hold"),
    ],
)
def test_classes_that_onnx_lacks_are_refused(classes, message):
    network = random_network([4, 3], 1.0, ["softmax"], seed=0)
    with pytest.raises(ValueError, match=message):
        to_onnx(SparseClassifier(network, classes=classes))


def test_values_beyond_float32_are_refused():
    with pytest.raises(ValueError, match=r"a leaf holds 1e\+300"):
        to_onnx(SparseRegressor(Tree([-2], [0], [-1], [-1], [[1e300]], [0], 3)))


def test_what_would_not_fit_is_refused():
    from scipy.sparse import csr_array

    from skprune.engine import Layer

    weight = csr_array((1, 2**27 - 1), dtype=np.float32)
    narrow = Layer(csr_array((20, 1), dtype=np.float32), np.zeros(20, np.float32))
    layers = [Layer(csr_array((1, 1), dtype=np.float32), np.zeros(1, np.float32)), narrow]
    network = Network(layers, engine="scipy")
    network.layers = (Layer(weight, np.zeros(1, np.float32)),) * 8
    with pytest.raises(ValueError, match="would take more than"):
        to_onnx(SparseRegressor(network))


class _Other:
    n_features_in = 4


def test_a_pipeline_is_exported_with_all_of_its_steps():
    tree = CostComplexityPruner(DecisionTreeClassifier(random_state=0), sparsity=0.3)
    pipeline = make_pipeline(StandardScaler(), tree).fit(X, NAMES[Y])
    np.testing.assert_array_equal(run(to_onnx(pipeline), X)["label"], pipeline.predict(X))


@pytest.mark.parametrize(
    ("model", "message"),
    [(None, "None cannot be exported"), (SparseRegressor(_Other()), "it runs a _Other")],
)
def test_what_cannot_be_exported_is_a_type_error(model, message):
    with pytest.raises(TypeError, match=message):
        to_onnx(model)


def test_without_onnx_the_extra_is_named():
    code = """
import sys
sys.modules["onnx"] = None
import skprune
try:
    skprune.to_onnx(None)
except ImportError as error:
    print(error)
"""
    # None in sys.modules raises ModuleNotFoundError, as if it were not installed
    message = run_python(code)
    assert "skprune.to_onnx needs onnx" in message
    assert "skprune[onnx]" in message
    assert "onnx" in sys.modules
