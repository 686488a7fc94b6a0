"""What reaches the loss of a skorch net as y, against plain skorch; and what is predicted then."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import StackingRegressor, VotingRegressor
from sklearn.exceptions import DataConversionWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler
from skorch import (
    NeuralNet,
    NeuralNetBinaryClassifier,
    NeuralNetClassifier,
    NeuralNetRegressor,
)
from skorch.callbacks import Callback
from torch import nn
from torch.nn import functional

import skprune
from skprune import L0Pruner, MagnitudePruner, MLPNetClassifier

LENGTH = {"max_epochs": 3, "lr": 0.05, "train_split": None, "verbose": 0}
IN_TORCH = "ignore:predict runs the pruned net in torch"


class Module(nn.Module):
    def __init__(self, n_out=1, flat=False, last=None, n_in=4):
        super().__init__()
        self.hidden = nn.Linear(n_in, 8)
        self.out = nn.Linear(8, n_out)
        self.flat = flat
        self.last = last

    def forward(self, X):
        outputs = self.out(torch.relu(self.hidden(X)))
        outputs = outputs if self.last is None else self.last(outputs)
        return outputs.squeeze(-1) if self.flat else outputs


class OwnBCE(nn.Module):
    def forward(self, outputs, y):
        return functional.binary_cross_entropy_with_logits(outputs, y)


class OwnHinge(nn.Module):
    def forward(self, outputs, y):
        return (1 - y * outputs).clamp(min=0).mean()


class OwnSquares(nn.Module):
    def forward(self, outputs, y):
        return ((outputs - y) ** 2).mean()


class SqueezingSquares(nn.Module):
    """Takes y of one dimension and outputs of two: to reshape y would be wrong."""

    def forward(self, outputs, y):
        return ((outputs.squeeze(1) - y) ** 2).mean()


class Correlation(nn.Module):
    """No mean over rows: its rows make sense together only."""

    def forward(self, outputs, y):
        outputs, y = outputs - outputs.mean(), y - y.mean()
        return -(outputs * y).mean() / (outputs.std() * y.std())


class Masked(nn.Module):
    def forward(self, outputs, y):
        known = ~torch.isnan(y)
        return ((outputs[known] - y[known]) ** 2).mean()


SEEN = []


def recording(criterion):
    """Make a criterion that notes what reaches it."""

    class Recording(criterion):
        def forward(self, outputs, y):
            values = np.unique(y.detach().numpy())
            SEEN.append((y.dtype, tuple(y.shape[1:]), values[~np.isnan(values)].tolist()))
            return super().forward(outputs, y)

    return Recording


def net_of(kind, criterion, module=None, **params):
    made = {f"module__{name}": value for name, value in (module or {}).items()}
    return kind(Module, criterion=recording(criterion), **(LENGTH | made | params))


def trained(estimator, X, y):
    """Fit from one seed; tell what the loss saw."""
    torch.manual_seed(0)
    SEEN.clear()
    estimator.fit(X, y)
    batches = SEEN.copy()
    values = sorted({value for *_, batch in batches for value in batch})
    return batches[0][:2], values


def unpruned(net, X, y):
    """Train a pruner that removes nothing; tell what the loss saw in training."""
    pruner = MagnitudePruner(net, sparsity=0, finetune_epochs=0)
    torch.manual_seed(0)
    watch = _AtTrainBegin()
    pruner.set_params(estimator__callbacks=[("forget", watch)])
    pruner.fit(X, y)
    batches = SEEN.copy()
    values = sorted({value for *_, batch in batches for value in batch})
    return pruner, (batches[0][:2], values)


class _AtTrainBegin(Callback):
    """Forgets what was tried before training."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        SEEN.clear()


def weights(net):
    return [value.numpy() for value in net.module_.state_dict().values()]


def assert_as_plain_skorch(net, X, y):
    """Compare the pruner that removes nothing with the net by itself, and give the pruner."""
    plain = clone(net)
    saw = trained(plain, X, y)
    pruner, ours = unpruned(net, X, y)
    assert ours == saw
    for own, other in zip(weights(pruner.estimator_), weights(plain), strict=True):
        assert_array_equal(own, other)
    return pruner, plain


@pytest.fixture(scope="module")
def two(iris):
    """Labels 0 and 1."""
    return (iris[1] > 0).astype(int)


@pytest.fixture(scope="module")
def linear(iris):
    """A target that the rows tell."""
    return iris[0] @ np.array([1, 2, -1, 0.5], np.float32)


# --- targets that plain skorch trains on --------------------------------------------------


def _probabilities(y):
    return np.eye(3)[y] * 0.9 + 0.1 / 3


CLASS_TARGETS = {
    "cross entropy": (nn.CrossEntropyLoss, 3, lambda y: y),
    "uint8": (nn.CrossEntropyLoss, 3, lambda y: y.astype(np.uint8)),
    "ignored rows": (nn.CrossEntropyLoss, 3, lambda y: np.where(y == 1, -100, y)),
    "some outputs without rows": (nn.CrossEntropyLoss, 5, lambda y: y + 1),
    "one label": (nn.CrossEntropyLoss, 3, lambda y: 0 * y),
    "probabilities": (nn.CrossEntropyLoss, 3, _probabilities),
    "probabilities in float32": (
        nn.CrossEntropyLoss,
        3,
        lambda y: _probabilities(y).astype(np.float32),
    ),
    "multi margin": (nn.MultiMarginLoss, 3, lambda y: y),
    "multi label margin": (
        nn.MultiLabelMarginLoss,
        3,
        lambda y: np.stack([y, np.full_like(y, -1), np.full_like(y, -1)], axis=1),
    ),
    "multi label soft margin": (
        nn.MultiLabelSoftMarginLoss,
        3,
        lambda y: np.eye(3, dtype=np.float32)[y],
    ),
}


@pytest.mark.parametrize("case", CLASS_TARGETS)
def test_targets_of_classifiers_reach_the_loss_as_they_are(case, iris):
    criterion, n_out, make = CLASS_TARGETS[case]
    X, y = iris[0], make(iris[1])
    net = net_of(NeuralNetClassifier, criterion, {"n_out": n_out})
    pruner, plain = assert_as_plain_skorch(net, X, y)
    assert_array_equal(pruner.predict(X), plain.predict(X))
    assert_allclose(pruner.predict_proba(X), plain.predict_proba(X), atol=1e-6)
    assert_array_equal(pruner.sparse_estimator_.predict(X), plain.predict(X))
    assert pruner.classes_.tolist() == list(range(n_out))


def test_parameters_of_the_criterion_hold(iris):
    net = net_of(
        NeuralNetClassifier,
        nn.CrossEntropyLoss,
        {"n_out": 3},
        criterion__label_smoothing=0.1,
        criterion__weight=torch.tensor([1.0, 2.0, 3.0]),
    )
    assert_as_plain_skorch(net, *iris)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.float32, np.float64])
@pytest.mark.parametrize("criterion", [nn.SoftMarginLoss, nn.HingeEmbeddingLoss, OwnHinge])
@pytest.mark.parametrize("kind", [NeuralNetClassifier, NeuralNetBinaryClassifier])
@pytest.mark.filterwarnings(IN_TORCH)
def test_minus_one_stays_minus_one(kind, criterion, dtype, iris, two):
    y = (2 * two - 1).astype(dtype)
    pruner, plain = assert_as_plain_skorch(net_of(kind, criterion, {"flat": True}), iris[0], y)
    assert_array_equal(pruner.predict_proba(iris[0]), plain.predict_proba(iris[0]))
    with pytest.raises(IndexError):  # as of plain skorch: scores are no columns of classes
        pruner.predict(iris[0])


class SignClassifier(NeuralNetClassifier):
    def predict(self, X):
        return np.where(self.predict_proba(X).ravel() > 0, 1, -1)


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("dtype", [np.int64, np.float32])
@pytest.mark.filterwarnings(IN_TORCH)
def test_labels_of_a_predict_of_ones_own(flat, dtype):
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X).astype(np.float32)
    y = (2 * y - 1).astype(dtype)
    params = {"module__n_in": 30, "module__flat": flat, "criterion": nn.SoftMarginLoss}
    net = SignClassifier(Module, **(LENGTH | params | {"max_epochs": 10, "lr": 0.1}))
    torch.manual_seed(0)
    pruner = MagnitudePruner(net, sparsity=0, finetune_epochs=0).fit(X, y)
    assert pruner.score(X, y) > 0.93
    assert pruner.classes_.tolist() == [-1, 1]
    assert set(pruner.predict(X).tolist()) == {-1, 1}
    copy = pickle.loads(pickle.dumps(pruner))
    assert_array_equal(copy.predict(X), pruner.predict(X))


def _two_columns(scores):
    positive = torch.sigmoid(scores.reshape(-1))
    return torch.stack([1 - positive, positive], dim=1)


@pytest.mark.filterwarnings(IN_TORCH)
def test_predictions_are_numbers_of_outputs_where_skorch_s_are(iris, two):
    y = 2 * two - 1
    net = net_of(NeuralNetBinaryClassifier, nn.SoftMarginLoss, predict_nonlinearity=_two_columns)
    pruner, plain = assert_as_plain_skorch(net, iris[0], y)
    assert_array_equal(pruner.predict(iris[0]), plain.predict(iris[0]))
    assert pruner.classes_.tolist() == plain.classes_.tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("criterion", [nn.BCEWithLogitsLoss, OwnBCE])
def test_floats_of_binary_cross_entropy_stay(criterion, soft, dtype, iris, two):
    y = (0.1 + 0.8 * two if soft else two).astype(dtype)
    net = net_of(NeuralNetBinaryClassifier, criterion, {"flat": True})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "predict runs the pruned net in torch")
        assert_as_plain_skorch(net, iris[0], y)


# --- targets that plain skorch cannot take ------------------------------------------------


@pytest.mark.parametrize("dtype", [int, np.int8, bool])
@pytest.mark.parametrize(
    ("kind", "criterion", "last"),
    [
        (NeuralNetBinaryClassifier, nn.BCEWithLogitsLoss, None),
        (NeuralNetBinaryClassifier, nn.BCELoss, torch.sigmoid),
        (NeuralNetClassifier, OwnBCE, None),
    ],
)
@pytest.mark.filterwarnings(IN_TORCH)
def test_integers_become_floats_where_the_loss_takes_no_others(
    kind, criterion, last, dtype, iris, two
):
    net = net_of(kind, criterion, {"flat": True, "last": last})
    _, saw = unpruned(net, iris[0], two.astype(dtype))
    assert saw == ((torch.float32, ()), [0, 1])


@pytest.mark.parametrize(
    ("odd", "kinds"), [(None, "'NoneType', 'str'"), (0, "'int', 'str'"), (np.nan, "'float', 'str'")]
)
def test_labels_of_several_types_are_refused(odd, kinds, iris, two):
    y = np.array(["no", "yes"], dtype=object)[two]
    y[3] = odd
    with pytest.raises(ValueError, match=rf"y must hold labels of one type.*\[{kinds}\]"):
        MagnitudePruner(net_of(NeuralNetBinaryClassifier, nn.BCEWithLogitsLoss)).fit(iris[0], y)


@pytest.mark.parametrize("one_class", [False, True])
@pytest.mark.parametrize(
    ("kind", "criterion", "params"),
    [
        (NeuralNetBinaryClassifier, nn.BCEWithLogitsLoss, {}),
        (NeuralNetClassifier, nn.CrossEntropyLoss, {"n_out": 2}),
    ],
)
def test_bools_are_predicted_as_bools(kind, criterion, params, one_class, iris, two):
    y = np.zeros(150, bool) if one_class else two.astype(bool)
    pruner, saw = unpruned(net_of(kind, criterion, params), iris[0], y)
    assert saw[1] == ([0] if one_class else [0, 1])
    assert pruner.classes_.dtype == bool
    assert pruner.classes_.tolist() == [False, True]
    assert pruner.predict(iris[0]).dtype == bool
    assert_array_equal(pruner.predict(iris[0]), pruner.estimator_.predict(iris[0]) == 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda y: np.array(["no", "yes"])[y],
        lambda y: np.array(["no", "yes"], dtype=object)[y],
        lambda y: pd.Series(np.array(["no", "yes"])[y]).astype("category"),
        lambda y: y + 1,
        lambda y: 2 * y - 1,
    ],
)
def test_labels_are_encoded_for_binary_cross_entropy(make, iris, two):
    y = make(two)
    net = net_of(NeuralNetBinaryClassifier, nn.BCEWithLogitsLoss)
    pruner, saw = unpruned(net, iris[0], y)
    assert saw == ((torch.float32, ()), [0, 1])
    assert pruner.classes_.tolist() == sorted(set(y))
    codes = pruner.estimator_.predict(iris[0])
    assert_array_equal(pruner.predict(iris[0]), pruner.classes_[codes])


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (lambda y: np.array(["b", "c", "a"])[y], ["a", "b", "c"]),
        (lambda y: pd.Series(np.array(["b", "c", "a"])[y], dtype="category"), ["a", "b", "c"]),
        (lambda y: y + 1, [1, 2, 3]),
        (lambda y: 10.0 * y, [0, 10, 20]),
    ],
)
def test_labels_are_encoded_for_cross_entropy(make, labels, iris):
    y = make(iris[1])
    net = net_of(NeuralNetClassifier, nn.CrossEntropyLoss, {"n_out": 3}, max_epochs=40, lr=0.3)
    pruner, saw = unpruned(net, iris[0], y)
    assert saw == ((torch.int64, ()), [0, 1, 2])
    assert pruner.classes_.tolist() == labels
    assert pruner.score(iris[0], y) > 0.8
    assert set(pruner.sparse_estimator_.predict(iris[0])) <= set(labels)


@pytest.mark.parametrize("dtype", [np.int32, np.float32, "Int64", "object"])
def test_numbers_of_classes_keep_their_values_in_any_dtype(dtype, iris):
    net = net_of(NeuralNetClassifier, nn.CrossEntropyLoss, {"n_out": 4})
    y = pd.Series(2 * (iris[1] > 0) + 1).astype(dtype)  # 1 and 3 of the outputs 0 to 3
    pruner, saw = unpruned(net, iris[0], y)
    assert saw == ((torch.int64, ()), [1, 3])
    assert pruner.classes_.tolist() == [0, 1, 2, 3]


def test_ignored_rows_stay_so_among_codes(iris):
    y = np.where(iris[0][:, 0] > 1, -100, iris[1] + 1)
    net = net_of(NeuralNetClassifier, nn.CrossEntropyLoss, {"n_out": 3})
    pruner, saw = unpruned(net, iris[0], y)
    assert saw == ((torch.int64, ()), [-100, 0, 1, 2])
    assert pruner.classes_.tolist() == [1, 2, 3]


@pytest.mark.filterwarnings(IN_TORCH)
def test_integers_of_many_labels_become_floats(iris):
    net = net_of(NeuralNetClassifier, nn.BCEWithLogitsLoss, {"n_out": 3})
    y = np.eye(3, dtype=int)[iris[1]]
    pruner, saw = unpruned(net, iris[0], y)
    assert saw == ((torch.float32, (3,)), [0, 1])
    plain = clone(net)
    trained(plain, iris[0], y.astype(np.float32))
    assert_array_equal(pruner.predict(iris[0]), plain.predict(iris[0]))
    assert pruner.predict(iris[0]).shape == (150, 3)
    assert pruner.score(iris[0], y) == plain.score(iris[0], y)


def test_column_of_labels_is_flattened_with_a_warning(iris):
    net = net_of(NeuralNetClassifier, nn.CrossEntropyLoss, {"n_out": 3})
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        _, saw = unpruned(net, iris[0], iris[1][:, None])
    assert saw == ((torch.int64, ()), [0, 1, 2])


def test_shipped_net_gets_labels_as_they_are(iris):
    y = np.array(["b", "c", "a"])[iris[1]]
    pruner = MagnitudePruner(MLPNetClassifier((4,), max_epochs=1), sparsity=0).fit(iris[0], y)
    assert pruner.classes_.tolist() == pruner.estimator_.classes_.tolist() == ["a", "b", "c"]


# --- refusals -----------------------------------------------------------------------------


def cross_entropy(**params):
    return NeuralNetClassifier(
        Module, module__n_out=3, criterion=nn.CrossEntropyLoss, **(LENGTH | params)
    )


def test_one_class_that_must_be_encoded_is_refused(iris):
    with pytest.raises(ValueError, match=r"one class only: \[4\]"):
        MagnitudePruner(cross_entropy()).fit(iris[0], np.full(150, 4))


@pytest.mark.parametrize("labels", [5, 2])
def test_another_number_of_outputs_than_labels_is_refused(labels, iris):
    y = np.array(list("abcde"))[np.arange(150) % labels]
    with pytest.raises(ValueError, match=rf"3 outputs, but y holds {labels} classes"):
        MagnitudePruner(cross_entropy()).fit(iris[0], y)


def test_continuous_labels_are_refused_where_no_loss_takes_them(iris, linear):
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        MagnitudePruner(cross_entropy()).fit(iris[0], linear)


def test_labels_that_a_fitted_net_does_not_know_are_refused(iris):
    net = FrozenEstimator(cross_entropy().fit(*iris))
    with pytest.raises(ValueError, match=r"unseen labels: \[7, 9\].*\[0, 1, 2\]"):
        MagnitudePruner(net).fit(iris[0], np.where(iris[1] > 0, 7, 9))
    with pytest.raises(ValueError, match=r"unseen labels: \['a', 'b'\]"):
        MagnitudePruner(net, finetune_epochs=1).fit(iris[0], np.array(["a", "b", "b"])[iris[1]])


@pytest.mark.filterwarnings(IN_TORCH)
def test_fitted_net_goes_on_with_the_labels_that_its_loss_reads(iris, two):
    y = 2 * two - 1
    params = {"criterion": nn.SoftMarginLoss, "module__flat": True, "max_epochs": 20}
    fitted = SignClassifier(Module, **(LENGTH | params)).fit(iris[0], y)
    pruner = MagnitudePruner(FrozenEstimator(fitted), sparsity=0.3, finetune_epochs=5)
    assert pruner.fit(iris[0], y).score(iris[0], y) > 0.9


# --- classes of the net -------------------------------------------------------------------


def test_frozen_net_keeps_its_codes_whatever_its_classes(iris):
    X, y = iris
    net = cross_entropy(classes=[2, 1, 0]).fit(X, y)
    pruner = MagnitudePruner(FrozenEstimator(net), sparsity=0).fit(X)
    assert_array_equal(pruner.predict(X), net.predict(X))
    assert pruner.classes_.tolist() == [0, 1, 2]


def test_classes_of_the_net_name_its_outputs(iris):
    X, y = iris
    some = y < 2
    net = cross_entropy(classes=["c", "a", "b"])
    pruner = MagnitudePruner(net, sparsity=0.5).fit(X[some], np.array(["a", "b"])[y[some]])
    assert pruner.classes_.tolist() == ["c", "a", "b"]
    assert pruner.predict_proba(X).shape == (150, 3)


def test_labels_outlive_a_file(tmp_path, iris):
    X, y = iris
    for labels in (y, y + 1, np.array(["a", "b", "c"])[y], np.where(y == 1, -100, y)):
        pruner = MagnitudePruner(cross_entropy(), sparsity=0.2).fit(X, labels)
        skprune.save(pruner, tmp_path / "model")
        loaded = skprune.load(tmp_path / "model")
        assert_array_equal(loaded.predict(X), pruner.predict(X))
        assert loaded.score(X, labels) == pruner.score(X, labels)
        assert_array_equal(loaded.classes_, pruner.classes_)


# --- regression: shapes -------------------------------------------------------------------

CRITERIA = [nn.MSELoss, nn.L1Loss, nn.HuberLoss, OwnSquares, Correlation]


def regressor(criterion=nn.MSELoss, kind=NeuralNetRegressor, **module):
    return net_of(kind, criterion, module)


@pytest.mark.parametrize("kind", [NeuralNetRegressor, NeuralNet])
@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("flat_module", [True, False])
@pytest.mark.parametrize("flat_y", [True, False])
def test_each_row_meets_its_own_target(
    kind, criterion, flat_module, flat_y, iris, linear, warnings_are_errors
):
    X, y = iris[0], linear if flat_y else linear[:, None]
    net = regressor(criterion, kind, flat=flat_module)
    pruner, _ = unpruned(net, X, y)
    plain = clone(net)
    trained(plain, X, linear if flat_module else linear[:, None])  # shaped by hand
    for own, other in zip(weights(pruner.estimator_), weights(plain), strict=True):
        assert_array_equal(own, other)
    assert pruner.predict(X).shape == y.shape
    assert pruner.sparse_estimator_.predict(X).shape == y.shape
    assert_allclose(pruner.predict(X).ravel(), plain.predict(X).ravel(), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_dtype_of_targets_is_as_in_plain_skorch(dtype, iris, linear):
    assert_as_plain_skorch(regressor(flat=True), iris[0], (10 * linear).astype(dtype))
    _, saw = unpruned(regressor(nn.HuberLoss, flat=True), iris[0], linear.astype(np.float64))
    assert saw[0] == (torch.float32, ())  # plain skorch fails on these


def test_loss_that_squeezes_gets_targets_as_they_are(iris, linear):
    pruner, _ = assert_as_plain_skorch(regressor(SqueezingSquares), iris[0], linear)
    _, saw = unpruned(regressor(SqueezingSquares), iris[0], linear[:, None])
    assert saw[0] == (torch.float32, ())
    assert pruner.predict(iris[0]).shape == (150,)


def test_targets_far_from_zero_or_all_alike(iris, linear, warnings_are_errors):
    for y in (linear + 1e6, np.ones_like(linear)):
        _, saw = unpruned(regressor(nn.L1Loss), iris[0], y)
        assert saw[0] == (torch.float32, (1,))


def test_sizes_that_a_callback_sets(iris, linear, warnings_are_errors):
    class Sizes(Callback):
        def on_train_begin(self, net, X=None, y=None, **kwargs):
            SEEN.clear()
            net.set_params(module__n_in=X.shape[1])

    net = regressor(n_in=7).set_params(callbacks=[Sizes()])
    MagnitudePruner(net, sparsity=0).fit(iris[0], linear)
    assert SEEN[0][1] == (1,)


def test_many_outputs_stay_many(iris, linear):
    y = np.stack([linear, -linear], axis=1)
    pruner, plain = assert_as_plain_skorch(regressor(n_out=2), iris[0], y)
    assert_allclose(pruner.predict(iris[0]), plain.predict(iris[0]), atol=1e-6)


@pytest.mark.parametrize("flat_module", [True, False])
@pytest.mark.parametrize("flat_y", [True, False])
@pytest.mark.parametrize("epochs", [None, 2])
def test_frozen_regressor(flat_module, flat_y, epochs, iris, linear, warnings_are_errors):
    X, y = iris[0], linear if flat_y else linear[:, None]
    net = NeuralNetRegressor(Module, module__flat=flat_module, **LENGTH)
    net.fit(X, linear if flat_module else linear[:, None])
    pruner = MagnitudePruner(FrozenEstimator(net), sparsity=0, finetune_epochs=epochs).fit(X, y)
    assert pruner.predict(X).shape == y.shape
    if epochs is None:
        assert_allclose(pruner.predict(X).ravel(), net.predict(X).ravel(), atol=1e-6)
        alone = MagnitudePruner(FrozenEstimator(net), sparsity=0).fit(X)
        assert alone.predict(X).shape == net.predict(X).shape


class Relu6(Module):
    def forward(self, X):
        return functional.relu6(super().forward(X))


@pytest.mark.parametrize("flat_module", [True, False])
@pytest.mark.parametrize("flat_y", [True, False])
@pytest.mark.filterwarnings(IN_TORCH)
def test_shapes_of_what_torch_predicts(flat_module, flat_y, iris, linear):
    y = linear if flat_y else linear[:, None]
    net = NeuralNetRegressor(Relu6, module__flat=flat_module, **LENGTH)
    assert MagnitudePruner(net, sparsity=0.3).fit(iris[0], y).predict(iris[0]).shape == y.shape


@pytest.mark.parametrize(
    "around",
    [
        lambda p: VotingRegressor([("p", p), ("line", LinearRegression())]),
        lambda p: StackingRegressor([("p", p), ("line", LinearRegression())], cv=2),
        lambda p: TransformedTargetRegressor(p, transformer=StandardScaler()),
    ],
    ids=["voting", "stacking", "transformed"],
)
def test_regressors_of_scikit_learn_take_a_pruner(around, iris, linear):
    net = NeuralNetRegressor(Module, **(LENGTH | {"max_epochs": 40}))
    pruner = MagnitudePruner(net, sparsity=0.2, random_state=0)
    assert around(pruner).fit(iris[0], linear).score(iris[0], linear) > 0.9


def test_cross_val_predict(iris, linear):
    pruner = MagnitudePruner(regressor(), sparsity=0.2)
    assert cross_val_predict(pruner, iris[0], linear, cv=2).shape == linear.shape


def test_one_column_learns_as_well_as_by_hand(iris, linear):
    net = NeuralNetRegressor(Module, **(LENGTH | {"max_epochs": 40}))
    for make in (MagnitudePruner, L0Pruner):
        pruner = make(net, sparsity=0, random_state=0).fit(iris[0], linear)
        assert pruner.score(iris[0], linear) > 0.9


# --- missing targets ----------------------------------------------------------------------


@pytest.mark.parametrize("flat_y", [True, False])
def test_missing_targets_are_left_to_a_loss_that_masks_them(flat_y, iris, linear):
    y = np.where(np.arange(150) % 70 == 69, np.nan, linear).astype(np.float32)
    y = y if flat_y else y[:, None]
    pruner, _ = assert_as_plain_skorch(regressor(Masked, flat=flat_y), iris[0], y)
    assert np.isfinite(pruner.predict(iris[0])).all()
    with pytest.raises(ValueError, match="Input y contains NaN"):
        MagnitudePruner(regressor(flat=flat_y)).fit(iris[0], y)
