"""Nets of which the engine lacks a layer: pruned all the same, predicted by torch."""

import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from skorch import NeuralNetBinaryClassifier, NeuralNetRegressor
from torch import nn

from skprune import MagnitudePruner, SparseClassifier
from skprune.nets.fallback import TorchModel, engine_or_torch
from tests.conftest import UserModule, user_net

WARNING = "predict runs the pruned net in torch, dense"


class ConvModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.hidden = nn.Linear(36, 8)
        self.out = nn.Linear(8, 10)

    def forward(self, X):
        X = torch.max_pool2d(torch.relu(self.conv(X)), 2).flatten(1)
        return self.out(torch.relu(self.hidden(X)))


class EmbeddingModule(nn.Module):
    """Looks up words; a float would be an error."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(20, 4)
        self.hidden = nn.Linear(12, 6)
        self.out = nn.Linear(6, 2)

    def forward(self, X):
        return self.out(torch.relu(self.hidden(self.table(X).flatten(1))))


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X[:300] / 16).astype(np.float32).reshape(-1, 1, 8, 8), y[:300]


@pytest.fixture(scope="module")
def words():
    X = np.random.default_rng(0).integers(0, 20, (200, 3))
    return X, np.where(X[:, 0] < 10, "low", "high")


@pytest.fixture(scope="module")
def conv(digits):
    net = user_net(ConvModule, max_epochs=8, lr=0.1)
    with pytest.warns(UserWarning, match=WARNING):
        return MagnitudePruner(net, sparsity=0.6, random_state=0).fit(*digits)


@pytest.fixture(scope="module")
def lookup(words):
    net = user_net(EmbeddingModule, max_epochs=10)
    with pytest.warns(UserWarning, match=WARNING):
        return MagnitudePruner(net, sparsity=0.5, random_state=0).fit(*words)


def test_conv_net_is_pruned_and_predicts(conv, digits):
    X, y = digits
    assert conv.sparsity_ == pytest.approx(0.6, abs=0.01)
    assert conv.score(X, y) > 0.7
    assert_array_equal(conv.predict(X), conv.estimator_.predict(X))
    assert_array_equal(conv.predict_proba(X), conv.estimator_.predict_proba(X))
    assert_allclose(conv.predict_proba(X).sum(axis=1), 1, rtol=1e-5)


def test_kernels_are_rows_of_the_sparse_weights(conv):
    weights = conv.sparse_weights_
    assert {name: w.shape for name, w in weights.items()} == {
        "conv.weight": (4, 9),
        "hidden.weight": (8, 36),
        "out.weight": (10, 8),
    }
    assert all(isinstance(w, csr_array) for w in weights.values())
    kernel = conv.estimator_.module_.conv.weight.detach().numpy()
    assert_array_equal(weights["conv.weight"].toarray(), kernel.reshape(4, 9))
    assert conv.sparsity_ == 1 - sum(w.nnz for w in weights.values()) / (36 + 288 + 80)


def test_embedding_net_gets_its_integers(lookup, words):
    X, y = words
    assert lookup.score(X, y) > 0.8
    assert lookup.classes_.tolist() == ["high", "low"]
    codes = lookup.estimator_.predict(X)
    assert_array_equal(lookup.predict(X), lookup.classes_[codes])
    assert_array_equal(lookup.predict(X.astype(np.int8)), lookup.predict(X))
    assert list(lookup.sparse_weights_) == ["hidden.weight", "out.weight"]


def test_warning_comes_once_at_fit_and_names_the_layer(digits):
    net = user_net(ConvModule, max_epochs=1)
    with pytest.warns(UserWarning, match=WARNING + ".*conv: the engine has no Conv2d") as caught:
        pruner = MagnitudePruner(net, sparsity=0.5).fit(*digits)
    assert [str(w.message) for w in caught if WARNING in str(w.message)] == [str(caught[0].message)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pruner.predict(digits[0][:5])
        pruner.transform(digits[0][:5])


def test_warning_points_to_the_callers_line(digits):
    with pytest.warns(UserWarning, match=WARNING) as caught:
        MagnitudePruner(user_net(ConvModule, max_epochs=1), sparsity=0.5).fit(*digits)
    assert caught[0].filename == __file__


def test_net_that_the_engine_runs_brings_no_warning(iris):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pruner = MagnitudePruner(user_net(), sparsity=0.5, random_state=0).fit(*iris)
    assert pruner.sparse_estimator_.predict(iris[0]).shape == (150,)


def test_asking_for_the_sparse_estimator_names_the_layer(conv):
    with pytest.raises(AttributeError, match=r"no sparse_estimator_: conv: .* no Conv2d"):
        _ = conv.sparse_estimator_
    assert not hasattr(conv, "sparse_estimator_")


def test_transform_is_the_last_hidden_layer(conv, digits):
    X = digits[0]
    module = conv.estimator_.module_.eval()
    with torch.no_grad():
        pooled = torch.max_pool2d(torch.relu(module.conv(torch.from_numpy(X))), 2).flatten(1)
        expected = torch.relu(module.hidden(pooled)).numpy()
    assert_allclose(conv.transform(X), expected, atol=1e-6)
    assert conv.get_feature_names_out().tolist() == [f"magnitudepruner{i}" for i in range(8)]


def test_transform_leaves_no_hook(conv, digits):
    conv.transform(digits[0][:2])
    for module in conv.estimator_.module_.modules():
        assert not module._forward_pre_hooks


@pytest.mark.parametrize("kind", ["conv", "lookup"])
def test_fitted_pruner_pickles(kind, conv, lookup, digits, words):
    pruner, X = (conv, digits[0]) if kind == "conv" else (lookup, words[0])
    copy = pickle.loads(pickle.dumps(pruner))
    assert_array_equal(copy.predict_proba(X), pruner.predict_proba(X))
    assert not hasattr(copy, "sparse_estimator_")


def test_predictions_leave_torchs_generator_alone(conv, digits):
    before = torch.get_rng_state()
    conv.predict(digits[0][:9])
    conv.transform(digits[0][:9])
    assert torch.equal(torch.get_rng_state(), before)


def test_input_is_checked_as_for_the_engine(conv, digits):
    X = digits[0][:3]
    with pytest.raises(ValueError, match="contains NaN"):
        conv.predict(np.full_like(X, np.nan))
    with pytest.raises(ValueError, match="X has 2 features"):
        conv.predict(np.concatenate([X, X], axis=1))
    assert_array_equal(conv.predict(X.astype(np.float64)), conv.predict(X))


@pytest.mark.filterwarnings("ignore:predict runs the pruned net in torch")
def test_torch_gets_rows_of_the_type_that_it_was_trained_on():
    X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    odd = nn.Sequential(nn.Linear(4, 3), nn.Softsign(), nn.Linear(3, 1))
    net = NeuralNetRegressor(odd, max_epochs=1, train_split=None, verbose=0)
    pruner = MagnitudePruner(net, sparsity=0.5, finetune_epochs=0).fit(X, X[:, :1])
    for rows in (X.astype(np.float64), X.tolist(), pd.DataFrame(X), pd.DataFrame(X).astype(float)):
        assert_array_equal(pruner.predict(rows), pruner.predict(X))


def test_explain_says_why_torch_runs(conv):
    assert re.fullmatch("runs in torch, dense: conv: .*Conv2d.*", conv._predictor.explain())


class ReLU6Regression(UserModule):
    def __init__(self):
        super().__init__(n_in=10, n_out=2)

    def forward(self, X):
        return nn.functional.relu6(super().forward(X))


def test_regressor_of_several_targets_runs_in_torch(diabetes):
    X, y = diabetes
    net = NeuralNetRegressor(ReLU6Regression, max_epochs=2, train_split=None, verbose=0)
    with pytest.warns(UserWarning, match="no relu6"):
        pruner = MagnitudePruner(net, sparsity=0.3).fit(X, np.stack([y, -y], axis=1))
    assert pruner.predict(X).shape == (200, 2)
    assert_array_equal(pruner.predict(X), pruner.estimator_.predict(X))


# --- skorch's binary classifier -----------------------------------------------------------


class OneLogit(nn.Module):
    def __init__(self, activation=nn.ReLU):
        super().__init__()
        self.chain = nn.Sequential(nn.Linear(4, 6), activation(), nn.Linear(6, 1))

    def forward(self, X):
        return self.chain(X).squeeze(-1)


def binary(activation, threshold):
    return NeuralNetBinaryClassifier(
        OneLogit,
        module__activation=activation,
        threshold=threshold,
        max_epochs=20,
        lr=0.2,
        train_split=None,
        verbose=0,
    )


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Hardswish], ids=["engine", "torch"])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8])
@pytest.mark.filterwarnings(f"ignore:{WARNING}")
def test_binary_classifier_keeps_its_threshold(activation, threshold, iris):
    X, y = iris[0], np.where(iris[1] == 2, "yes", "no")
    net = binary(activation, threshold)
    pruner = MagnitudePruner(net, sparsity=0.3, random_state=0).fit(X, y)
    assert isinstance(pruner._predictor, SparseClassifier)
    assert hasattr(pruner, "sparse_estimator_") == (activation is nn.ReLU)
    assert pruner.classes_.tolist() == ["no", "yes"]
    proba = pruner.predict_proba(X)
    assert_allclose(proba, pruner.estimator_.predict_proba(X), atol=1e-6)
    predicted = pruner.predict(X)
    assert_array_equal(predicted == "yes", proba[:, 1] > threshold)
    assert 0 < (predicted == "yes").sum() < 150
    assert_array_equal(predicted == "yes", pruner.estimator_.predict(X) == 1)


# --- the two functions themselves ---------------------------------------------------------


def test_engine_or_torch_gives_the_reason_or_none(iris, digits):
    network, reason = engine_or_torch(user_net().fit(*iris), iris[0], "auto")
    assert reason is None
    assert network.predict(iris[0]).shape == (150, 3)
    net = user_net(ConvModule, max_epochs=1).fit(*digits)
    with pytest.warns(UserWarning, match=WARNING):
        model, reason = engine_or_torch(net, digits[0], "auto")
    assert isinstance(model, TorchModel)
    assert "Conv2d" in reason
