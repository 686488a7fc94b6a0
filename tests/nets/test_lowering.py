"""Chains of torch layers against the engine: torch is the oracle."""

import re
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from skorch import (
    NeuralNet,
    NeuralNetBinaryClassifier,
    NeuralNetClassifier,
    NeuralNetRegressor,
)
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from skprune import MLPNetClassifier, MLPNetRegressor
from skprune.nets.lowering import UnsupportedLayerError, lower
from tests.conftest import user_net


def rows(width, n=20, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def initialized(module, net=NeuralNetRegressor, **params):
    """Wrap a ready module in a skorch net that counts as fitted."""
    return net(module, train_split=None, verbose=0, **params).initialize()


def with_trained_norms(module, seed=0):
    """Give each batch norm the statistics, scales and shifts of some training; prune a little."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.running_mean.normal_(generator=generator)
            layer.running_var.uniform_(0.3, 2, generator=generator)
            if layer.affine:
                layer.weight.data.uniform_(-1.5, 1.5, generator=generator)
                layer.bias.data.normal_(generator=generator)
        if isinstance(layer, nn.Linear):
            holes = torch.rand(layer.weight.shape, generator=generator) < 0.4
            layer.weight.data.masked_fill_(holes, 0)
    return module


def torch_output(module, X):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(X)).numpy()


def assert_lowered_like_torch(module, X, atol=2e-5):
    network = lower(initialized(module), X)
    expected = torch_output(module, X)
    scale = max(1.0, np.abs(expected).max())
    assert_allclose(network.predict(X), expected, rtol=1e-4, atol=atol * scale)
    assert_array_equal(network.predict(X[:1]).shape, expected[:1].shape)
    return network


# --- random chains ------------------------------------------------------------------------

ELEMENTWISE = [
    nn.ReLU,
    lambda: nn.LeakyReLU(0.2),
    lambda: nn.ELU(0.7),
    nn.GELU,
    lambda: nn.GELU(approximate="tanh"),
    nn.Tanh,
    nn.Sigmoid,
    nn.Identity,
    lambda: nn.Dropout(0.5),
    lambda: nn.AlphaDropout(0.5),
    nn.Flatten,
]
ROWWISE = [lambda: nn.Softmax(1), lambda: nn.Softmax(dim=-1), lambda: nn.LogSoftmax(1)]


@st.composite
def chains(draw):
    """Draw a Sequential: blocks of a Linear and whatever may stand around it."""
    width = n_inputs = draw(st.integers(1, 6))
    layers = []
    if draw(st.booleans()):
        layers.append(nn.BatchNorm1d(width, affine=draw(st.booleans())))
    for _ in range(draw(st.integers(1, 3))):
        out = draw(st.integers(1, 7))
        layers.append(nn.Linear(width, out, bias=draw(st.booleans())))
        width = out
        for kind in draw(st.lists(st.sampled_from(["norm", "act", "row"]), max_size=3)):
            if kind == "norm":
                layers.append(nn.BatchNorm1d(width, affine=draw(st.booleans())))
            else:
                layers.append(draw(st.sampled_from(ROWWISE if kind == "row" else ELEMENTWISE))())
    return with_trained_norms(nn.Sequential(*layers), draw(st.integers(0, 99))), n_inputs


@given(chain=chains())
@settings(max_examples=120)
def test_random_chains_predict_as_in_torch(chain):
    module, width = chain
    assert_lowered_like_torch(module, rows(width))


FUNCTIONS = {
    "relu": lambda x: F.relu(x),
    "relu inplace": lambda x: F.relu(x, inplace=True),
    "torch.relu": lambda x: torch.relu(x),
    "method relu": lambda x: x.relu(),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.3),
    "leaky_relu keyword": lambda x: F.leaky_relu(x, negative_slope=0.1),
    "elu": lambda x: F.elu(x, alpha=0.5),
    "gelu": lambda x: F.gelu(x),
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "tanh": lambda x: torch.tanh(x),
    "F.tanh": lambda x: F.tanh(x),
    "method tanh": lambda x: x.tanh(),
    "sigmoid": lambda x: torch.sigmoid(x),
    "method sigmoid": lambda x: x.sigmoid(),
    "softmax": lambda x: F.softmax(x, dim=1),
    "torch.softmax": lambda x: torch.softmax(x, -1),
    "method softmax": lambda x: x.softmax(dim=-1),
    "log_softmax": lambda x: F.log_softmax(x, dim=1),
    "flatten": lambda x: torch.flatten(x, 1),
    "method flatten": lambda x: x.flatten(start_dim=1),
    "view": lambda x: x.view(x.size(0), -1),
    "view of shape": lambda x: x.view(x.shape[0], -1),
    "reshape": lambda x: x.reshape(x.size(0), -1),
}


class Functional(nn.Module):
    """Functions between Linear layers."""

    def __init__(self, names, widths):
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.names = names

    def forward(self, x):
        for linear, name in zip(self.linears, self.names, strict=True):
            x = FUNCTIONS[name](linear(x))
            x = F.dropout(x, 0.5, self.training)
        return x


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_known(name):
    torch.manual_seed(0)
    assert_lowered_like_torch(Functional([name, name], [4, 6, 3]), rows(4))


@given(st.lists(st.sampled_from(sorted(FUNCTIONS)), min_size=1, max_size=4), st.data())
@settings(max_examples=40)
def test_random_chains_of_functions_predict_as_in_torch(names, data):
    widths = data.draw(
        st.lists(st.integers(1, 6), min_size=len(names) + 1, max_size=len(names) + 1)
    )
    assert_lowered_like_torch(Functional(names, widths), rows(widths[0]))


NORM_PLACES = {
    "first": [nn.BatchNorm1d(4), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)],
    "before the activation": [
        nn.Linear(4, 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Linear(6, 3),
    ],
    "after the activation": [nn.Linear(4, 6), nn.ReLU(), nn.BatchNorm1d(6), nn.Linear(6, 3)],
    "last": [nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), nn.BatchNorm1d(3)],
    "last, after an activation": [nn.Linear(4, 3), nn.ReLU(), nn.BatchNorm1d(3)],
    "twice": [nn.Linear(4, 6), nn.ReLU(), nn.BatchNorm1d(6), nn.BatchNorm1d(6), nn.Linear(6, 3)],
    "before and after": [nn.BatchNorm1d(4), nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3)],
}


@pytest.mark.parametrize("place", NORM_PLACES)
def test_batch_norm_is_folded_wherever_it_stands(place):
    module = with_trained_norms(nn.Sequential(*NORM_PLACES[place]))
    network = assert_lowered_like_torch(module, rows(4))
    n_linear = sum(isinstance(layer, nn.Linear) for layer in module)
    # nothing takes in a norm behind a last activation; one before the last Linear is not folded,
    # since transform returns what that Linear reads
    alone = ("after the activation", "last, after an activation", "twice", "before and after")
    assert len(network.layers) == n_linear + (place in alone)


def test_pruned_weights_are_not_stored():
    linear = nn.Linear(10, 10)
    linear.weight.data[:, :9] = 0
    module = nn.Sequential(nn.BatchNorm1d(10), linear, nn.BatchNorm1d(10), nn.ReLU())
    network = lower(initialized(with_trained_norms(module)), rows(10))
    assert network.layers[0].weight.nnz <= 10


def test_dropout_and_flatten_cost_nothing():
    module = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(4, 3), nn.Dropout(), nn.ReLU())
    network = assert_lowered_like_torch(module, rows(4))
    assert [layer.activation for layer in network.layers] == ["relu"]


def test_images_are_flattened_in_torchs_order():
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))
    X = rows(12).reshape(20, 2, 3, 2)
    network = lower(initialized(module), X)
    assert_allclose(network.predict(X.reshape(20, -1)), torch_output(module, X), atol=1e-6)


def test_parametrized_weights_are_read_as_they_are_used():
    module = nn.Sequential(weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 2))
    assert_lowered_like_torch(module, rows(4))


def test_module_may_be_a_single_linear():
    assert_lowered_like_torch(nn.Linear(3, 2), rows(3))


@pytest.mark.parametrize("engine", ["native", "scipy"])
def test_engine_is_handed_on(engine):
    net = initialized(nn.Sequential(nn.Linear(3, 2)))
    network = lower(net, rows(3), engine)
    assert network.engine == engine
    assert_allclose(network.predict(rows(3)), net.predict_proba(rows(3)), atol=1e-6)


def test_net_is_left_in_its_state():
    module = with_trained_norms(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3), nn.Dropout()))
    net = initialized(module)
    module.train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    lower(net, rows(4))
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


# --- what skorch makes of the module's output ---------------------------------------------


def classifier_module(n_out=3, last=None):
    layers = [nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, n_out)]
    return nn.Sequential(*layers, *([] if last is None else [last]))


class Squeezed(nn.Module):
    """One logit a row, flat, as skorch's binary classifier wants it."""

    def __init__(self, last=None):
        super().__init__()
        self.chain = classifier_module(1, last)

    def forward(self, X):
        return self.chain(X).squeeze(-1)


OUTPUTS = {
    "NLLLoss, probabilities": (NeuralNetClassifier, classifier_module(3, nn.Softmax(-1)), {}),
    "CrossEntropyLoss, logits": (
        NeuralNetClassifier,
        classifier_module(),
        {"criterion": nn.CrossEntropyLoss},
    ),
    "CrossEntropyLoss behind an activation": (
        NeuralNetClassifier,
        classifier_module(3, nn.ReLU()),
        {"criterion": nn.CrossEntropyLoss},
    ),
    "CrossEntropyLoss object": (
        NeuralNetClassifier,
        classifier_module(),
        {"criterion": nn.CrossEntropyLoss(label_smoothing=0.1)},
    ),
    "no nonlinearity": (
        NeuralNetClassifier,
        classifier_module(),
        {"criterion": nn.CrossEntropyLoss, "predict_nonlinearity": None},
    ),
    "BCEWithLogitsLoss": (NeuralNetBinaryClassifier, Squeezed(), {}),
    "BCEWithLogitsLoss, a column": (NeuralNetBinaryClassifier, classifier_module(1), {}),
    "BCELoss": (NeuralNetBinaryClassifier, Squeezed(nn.Sigmoid()), {"criterion": nn.BCELoss}),
    "log-probabilities of a plain net": (
        NeuralNet,
        classifier_module(3, nn.LogSoftmax(-1)),
        {"criterion": nn.NLLLoss},
    ),
    "MSELoss": (NeuralNetRegressor, classifier_module(2), {}),
    "MSELoss, flat": (NeuralNetRegressor, Squeezed(), {}),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_output_is_that_of_predict_proba(case):
    cls, module, params = OUTPUTS[case]
    net = initialized(module, cls, **params)
    X = rows(4)
    expected = net.predict_proba(X).reshape(len(X), -1)
    assert_allclose(lower(net, X).predict(X), expected, rtol=1e-5, atol=1e-6)


def test_softmax_of_cross_entropy_is_the_last_layers_activation():
    net = initialized(classifier_module(), NeuralNetClassifier, criterion=nn.CrossEntropyLoss)
    network = lower(net, rows(4))
    assert [layer.activation for layer in network.layers] == ["relu", "softmax"]


@pytest.mark.parametrize("make", [MLPNetClassifier, MLPNetRegressor])
def test_shipped_nets_are_lowered(make, iris):
    net = make((7, 5), activation="gelu", batch_norm=True, dropout=0.2, max_epochs=2)
    net.fit(*iris)
    network = lower(net, iris[0])
    assert len(network.layers) == 3
    assert_allclose(network.predict(iris[0]), net.predict_proba(iris[0]), atol=1e-5)


# --- the hidden layer ---------------------------------------------------------------------


def input_of_the_last_linear(module, X):
    caught = []
    last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    handle = last.register_forward_pre_hook(lambda _, args: caught.append(args[0]))
    torch_output(module, X)
    handle.remove()
    return caught[0].numpy()


HIDDEN = {
    "two layers": [nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)],
    "three layers": [
        nn.Linear(4, 6),
        nn.Tanh(),
        nn.Linear(6, 5),
        nn.BatchNorm1d(5),
        nn.ELU(),
        nn.Dropout(),
        nn.Linear(5, 2),
    ],
    "activations behind": [
        nn.Linear(4, 6),
        nn.Sigmoid(),
        nn.Linear(6, 3),
        nn.ReLU(),
        nn.Softmax(1),
    ],
    "no activation": [nn.Linear(4, 6), nn.Linear(6, 3)],
    "norm after the activation": [
        nn.Linear(4, 6),
        nn.ReLU(),
        nn.BatchNorm1d(6),
        nn.Linear(6, 3),
    ],
    "linear model": [nn.Linear(4, 3), nn.Softmax(1)],
}


@pytest.mark.parametrize("case", HIDDEN)
@pytest.mark.parametrize("criterion", [nn.MSELoss, nn.CrossEntropyLoss])
def test_transform_is_what_the_last_linear_reads(case, criterion):
    module = with_trained_norms(nn.Sequential(*HIDDEN[case]))
    net = initialized(module, NeuralNet, criterion=criterion)
    X = rows(4)
    hidden = lower(net, X).transform(X)
    assert_allclose(hidden, input_of_the_last_linear(module, X), rtol=1e-5, atol=1e-6)


# --- what is not supported ----------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return x + self.inner(x)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x) if x.sum() > 0 else -self.linear(x)


class TwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x):
        hidden = self.first(x)
        return self.second(hidden), hidden


class Scales(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x * 2)


class NoisyLinear(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


class AlwaysDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return F.dropout(self.linear(x), 0.5, training=True)


class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x).view(4, -1)


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x) + torch.from_numpy(np.asarray(x.detach()))[:, :2]


def sequential(layer, width=4):
    return nn.Sequential(nn.Linear(4, width), layer, nn.Linear(width, 2))


UNSUPPORTED = {
    "Hardswish": (sequential(nn.Hardswish()), "1: the engine has no Hardswish"),
    "PReLU": (sequential(nn.PReLU()), "1: the engine has no PReLU"),
    "LayerNorm": (sequential(nn.LayerNorm(4)), "1: the engine has no LayerNorm"),
    "nested": (nn.Sequential(sequential(nn.Mish())), r"0\.1: the engine has no Mish"),
    "softmax over rows": (sequential(nn.Softmax(0)), "1: a softmax over dim=0"),
    "flatten of parts": (sequential(nn.Flatten(0)), "1: a flatten that is not of whole rows"),
    "norm of batches": (
        sequential(nn.BatchNorm1d(4, track_running_stats=False)),
        "1: a batch norm without running statistics",
    ),
    "residual": (Residual(), "add is not one of a chain"),
    "branches": (Branches(), "forward of Branches cannot be traced"),
    "untraceable": (Untraceable(), "forward of Untraceable cannot be traced"),
    "two outputs": (TwoOutputs(), "returns more than its last layer"),
    "arithmetic": (Scales(), "mul: the engine has no mul"),
    "subclass": (sequential(NoisyLinear(4, 4)), "1: the engine has no NoisyLinear"),
    "always dropout": (AlwaysDropout(), "dropout that is active at prediction"),
    "reshape": (Transposed(), "not a flatten"),
    "no Linear": (nn.Sequential(nn.BatchNorm1d(4)), "has no Linear layer"),
    "activation first": (nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), "0: an activation before"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_the_engine_lacks_is_named(case):
    module, message = UNSUPPORTED[case]
    with pytest.raises(UnsupportedLayerError, match=message):
        lower(initialized(module), rows(4))


class SoftmaxOverRows(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return F.softmax(self.linear(x), dim=0)


def test_function_the_engine_lacks_is_named():
    with pytest.raises(UnsupportedLayerError, match="softmax: a softmax over dim=0"):
        lower(initialized(SoftmaxOverRows()), rows(4))


@pytest.mark.parametrize("where", [0, 1, None])
def test_hooks_that_change_the_output_are_noticed(where):
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    layer = module if where is None else module[where]
    layer.register_forward_hook(lambda _, inputs, output: output + 1)
    # those of a leaf run unseen and are caught by comparison; the module's own are traced
    message = "the engine has no add" if where is None else "differ from those of Sequential"
    with pytest.raises(UnsupportedLayerError, match=message):
        lower(initialized(module), rows(4))


def test_hooks_that_only_watch_do_no_harm():
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    module[0].register_forward_hook(lambda *_: None)
    assert_lowered_like_torch(module, rows(4))


def test_nonlinearity_of_the_users_own_is_named():
    net = initialized(classifier_module(), NeuralNetClassifier, predict_nonlinearity=torch.exp)
    with pytest.raises(UnsupportedLayerError, match=r"predict_nonlinearity=.*exp"):
        lower(net, rows(4))


def overridden(method):
    def replacement(self, *args, **kwargs):
        return getattr(super(cls, self), method)(*args, **kwargs)

    cls = type("Mine", (NeuralNetClassifier,), {method: replacement})
    return cls


@pytest.mark.parametrize("method", ["predict", "predict_proba", "forward_iter", "infer"])
def test_net_with_a_prediction_of_its_own_is_named(method):
    net = initialized(classifier_module(), overridden(method), criterion=nn.CrossEntropyLoss)
    with pytest.raises(UnsupportedLayerError, match=f"Mine has a {method} of its own"):
        lower(net, rows(4))


def test_subclass_that_only_trains_differently_is_lowered():
    net = initialized(classifier_module(), overridden("get_loss"), criterion=nn.CrossEntropyLoss)
    X = rows(4)
    assert_allclose(lower(net, X).predict(X), net.predict_proba(X), atol=1e-6)


class TwoModules(NeuralNetRegressor):
    def initialize_module(self):
        super().initialize_module()
        self.second_ = nn.Linear(2, 2)
        return self


def test_net_of_several_modules_is_named():
    net = initialized(nn.Linear(4, 2), TwoModules)
    with pytest.raises(UnsupportedLayerError, match=re.escape("several modules: ['module', 'sec")):
        lower(net, rows(4))


def test_rows_that_do_not_fit_the_first_layer_are_told():
    with pytest.raises(ValueError, match="3"):
        lower(initialized(classifier_module()), rows(3))


def test_users_net_is_lowered_after_training(iris):
    net = user_net().fit(*iris)
    network = lower(net, iris[0])
    assert len(network.layers) == 2
    assert_allclose(network.predict(iris[0]), net.predict_proba(iris[0]), atol=1e-5)
