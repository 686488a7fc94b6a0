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
from skorch.callbacks import Callback
from torch import nn

from skprune import L0Pruner, MagnitudePruner, SparseClassifier
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


# --- weights that are used without a call of their layer ----------------------------------


class Functional(nn.Module):
    """Reads the weights of its layers and never calls these; `hidden` is what the last one reads.

    Parameters
    ----------
    product : callable
        (rows, weight) -> rows @ weight.T
    """

    def __init__(self, product=nn.functional.linear):
        super().__init__()
        self.product = product
        self.first = nn.Linear(4, 6)
        self.last = nn.Linear(6, 3)

    def hidden(self, X):
        return torch.relu(self.product(X, self.first.weight))

    def forward(self, X):
        return self.product(self.hidden(X), self.last.weight) + self.last.bias


class Tied(nn.Module):
    """Two layers of one weight, of which the second is called last."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)
        self.last.weight = self.first.weight

    def hidden(self, X):
        return torch.tanh(self.first(X))

    def forward(self, X):
        return self.last(self.hidden(X))[:, :3]


class Autoencoder(nn.Module):
    """Uses the transpose of the first weight, as in tied autoencoders."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 3)

    def hidden(self, X):
        return torch.sigmoid(self.first(X))

    def forward(self, X):
        return nn.functional.linear(self.hidden(X), self.first.weight.T)[:, :3]


class TiedEmbedding(nn.Module):
    """Scores words by the embedding that looked them up: its integers are no hidden layer."""

    def __init__(self):
        super().__init__()
        self.table, self.last = nn.Embedding(3, 5), nn.Linear(5, 3, bias=False)
        self.table.weight = self.last.weight

    def hidden(self, X):
        return self.table(X).sum(1)

    def forward(self, X):
        return self.last(self.hidden(X))


class Unseen(nn.Module):
    """Multiplies by its weights row by row, so only its outputs can be told."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 3, bias=False)

    def forward(self, X):
        return torch.stack([self.first.weight @ row for row in X])

    hidden = forward


PRODUCTS = {
    "linear": nn.functional.linear,
    "transposed": lambda X, weight: X @ weight.T,
    "einsum": lambda X, weight: torch.einsum("ni,oi->no", X, weight),
    "addmm": lambda X, weight: torch.addmm(torch.zeros(len(weight)), X, weight.t()),
    "keywords": lambda X, weight: nn.functional.linear(input=X, weight=weight),
    "batches": lambda X, weight: torch.bmm(weight.expand(len(X), -1, -1), X[..., None])[..., 0],
    "computed": lambda X, weight: nn.functional.linear(X, 2 * weight),
}  # fmt: skip
ODD = {
    **{name: (Functional, 42, {"module__product": p}) for name, p in PRODUCTS.items()},
    "compiled": (Functional, 42, {"compile": True, "compile__backend": "eager"}),
    "tied": (Tied, 16, {}),
    "tied, compiled": (Tied, 16, {"compile": True, "compile__backend": "eager"}),
    "autoencoder": (Autoencoder, 12, {}),
    "embedding": (TiedEmbedding, 15, {}),
    "unseen": (Unseen, 12, {}),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.filterwarnings(f"ignore:{WARNING}", "ignore:.*jit.script_method:DeprecationWarning")
def test_weights_are_pruned_and_counted_once_however_they_are_used(name, iris):
    module, n_weights, params = ODD[name]
    X, y = iris
    if module is TiedEmbedding:
        X = np.random.default_rng(0).integers(0, 3, (150, 2))
    net = user_net(module, max_epochs=1, **params)
    pruner = MagnitudePruner(net, sparsity=0.5, random_state=0).fit(X, y)
    trained = getattr(pruner.estimator_.module_, "_orig_mod", pruner.estimator_.module_)
    weights = pruner.sparse_weights_
    assert sum(w.shape[0] * w.shape[1] for w in weights.values()) == n_weights
    assert pruner.sparsity_ == 1 - sum(w.nnz for w in weights.values()) / n_weights
    assert pruner.sparsity_ == pytest.approx(0.5, abs=0.5 / n_weights)
    assert_array_equal(weights[list(weights)[-1]].toarray(), _last_weight(trained))
    rows = torch.from_numpy(X)
    with torch.no_grad():
        assert_allclose(pruner.predict_proba(X), trained(rows).softmax(1), atol=1e-6)
        assert_allclose(pruner.transform(X), trained.hidden(rows), atol=1e-6)
        assert_allclose(pruner.transform(X[:1]), trained.hidden(rows[:1]), atol=1e-6)
    assert isinstance(pruner._predictor.model, TorchModel)


def _last_weight(module):
    return getattr(module, "last", getattr(module, "first", None)).weight.detach()


# --- nets that fail on some rows ----------------------------------------------------------


class Squeezed(UserModule):
    """Returns one dimension less for a row alone."""

    def __init__(self, activation=nn.ReLU):
        super().__init__()
        self.norm = activation()

    def forward(self, X):
        return super().forward(X).squeeze()


class Unrecorded(UserModule):
    """Takes the variance of a batch in prediction too, which a row alone does not have."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(12, track_running_stats=False)


class TakesFifteen(UserModule):
    """Was exported for one size of batches."""

    def forward(self, X):
        return super().forward(X.reshape(15, 4))


class OnlyTrains(UserModule):
    """Has a forward for training alone."""

    def forward(self, X):
        if not self.training:
            raise RuntimeError("loss heads only")
        return super().forward(X)


class Hooked(UserModule):
    """Fails in prediction by a hook, which the module's graph does not tell."""

    def __init__(self):
        super().__init__()
        self.fc1.register_forward_pre_hook(self.refuse)

    def refuse(self, layer, args):
        if not self.training:
            raise RuntimeError("loss heads only")


@pytest.mark.parametrize("batch_size", [15, 3, 1, -1])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Softsign], ids=["engine", "torch"])
@pytest.mark.filterwarnings(f"ignore:{WARNING}")
def test_rows_that_are_tried_after_training_are_one_batch(batch_size, activation, iris):
    params = {"module__activation": activation, "batch_size": 15, "max_epochs": 1}
    net = user_net(Squeezed, iterator_valid__batch_size=batch_size, **params)
    X = iris[0]
    pruner = MagnitudePruner(net, sparsity=0.5, random_state=0).fit(*iris)
    assert pruner.sparsity_ == 0.5
    if batch_size != 1:
        assert hasattr(pruner, "sparse_estimator_") == (activation is nn.ReLU)
        assert_array_equal(pruner.predict(X), pruner.estimator_.predict(X))


@pytest.mark.parametrize("module", [Unrecorded, TakesFifteen])
@pytest.mark.parametrize("labels", [[0, 1, 2], ["a", "b", "c"]], ids=["int", "str"])
@pytest.mark.filterwarnings(f"ignore:{WARNING}")
def test_batches_have_the_size_that_the_net_was_trained_on(module, labels, iris):
    X, y = iris[0], np.array(labels)[iris[1]]
    net = user_net(module, max_epochs=1, batch_size=15)
    pruner = MagnitudePruner(net, sparsity=0.5, random_state=0).fit(X, y)
    assert_array_equal(pruner.predict(X), np.array(labels)[pruner.estimator_.predict(X)])
    assert pruner.transform(X).shape == (150, 12)


@pytest.mark.parametrize("module", [OnlyTrains, Hooked])
@pytest.mark.parametrize("labels", [[0, 1, 2], ["a", "b", "c"]], ids=["int", "str"])
@pytest.mark.parametrize("pruner_class", [MagnitudePruner, L0Pruner])
def test_trained_net_that_does_not_predict_is_kept(pruner_class, module, labels, iris):
    pruner = pruner_class(user_net(module, max_epochs=1), sparsity=0.5, random_state=0)
    with (
        pytest.warns(UserWarning, match=WARNING),
        pytest.warns(UserWarning, match="trained and pruned, but it fails on 16 rows.*loss heads"),
    ):
        pruner.fit(iris[0], np.array(labels)[iris[1]])
    assert pruner.sparsity_ >= 0.5
    assert pruner.classes_.tolist() == labels
    assert pruner.sparse_weights_["fc1.weight"].shape == (12, 4)
    with pytest.raises(RuntimeError, match="loss heads only"):
        pruner.predict(iris[0])


class Ragged(torch.utils.data.Dataset):
    """Sentences of one to four words, of which a collate_fn makes batches."""

    def __len__(self):
        return 40

    def __getitem__(self, number):
        return torch.arange(1 + number % 4), number % 2


def padded(items):
    words, labels = zip(*items, strict=True)
    return nn.utils.rnn.pad_sequence(words, batch_first=True), torch.tensor(labels)


class Sentences(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(4, 3)
        self.out = nn.Linear(3, 2)

    def forward(self, X):
        return self.out(self.table(X).mean(1))


@pytest.mark.filterwarnings(f"ignore:{WARNING}", "ignore:.*are not pruned")
@pytest.mark.parametrize("pruner_class", [MagnitudePruner, L0Pruner])
def test_rows_that_a_collate_fn_joins_are_taken(pruner_class):
    collate = {f"iterator_{kind}__collate_fn": padded for kind in ("train", "valid")}
    net = user_net(Sentences, max_epochs=1, **collate)
    pruner = pruner_class(net, sparsity=0.5, random_state=0).fit(Ragged())
    assert_array_equal(pruner.predict(Ragged()), pruner.estimator_.predict(Ragged()))
    assert pruner.transform(Ragged()).shape == (40, 3)


def test_trained_regressor_that_does_not_predict_is_kept(iris):
    net = NeuralNetRegressor(OnlyTrains, max_epochs=1, train_split=None, verbose=0)
    data = torch.utils.data.TensorDataset(*map(torch.from_numpy, (iris[0], iris[0][:, :3])))
    with pytest.warns(UserWarning, match="trained and pruned, but it fails"):
        pruner = MagnitudePruner(net, sparsity=0.5).fit(data)
    assert pruner.sparsity_ == 0.5


def test_torch_predicts_what_the_engine_fails_on(iris, monkeypatch):
    def fail(*args):
        raise IndexError("a fault of ours")

    monkeypatch.setattr("skprune.nets.fallback.lower", fail)
    with pytest.warns(UserWarning, match=WARNING + ".*IndexError.*a fault of ours"):
        pruner = MagnitudePruner(user_net(max_epochs=1), sparsity=0.5).fit(*iris)
    assert_array_equal(pruner.predict(iris[0]), pruner.estimator_.predict(iris[0]))


def test_engine_that_is_missing_is_told_before_training(iris, monkeypatch):
    monkeypatch.setattr("skprune.engine.native.kernels", None)
    with pytest.raises(ImportError, match="engine='native' needs"):
        MagnitudePruner(user_net(callbacks=[Untrained]), engine="native").fit(*iris)


def test_labels_for_which_outputs_are_missing_are_told_before_training(iris):
    net = user_net(module__n_out=5, callbacks=[Untrained])
    with pytest.raises(ValueError, match="estimator has 5 outputs, but y holds 3 classes"):
        MagnitudePruner(net).fit(iris[0], np.array(["a", "b", "c"])[iris[1]])


class Untrained(Callback):
    def on_epoch_begin(self, net, **kwargs):
        raise AssertionError("trained")


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
