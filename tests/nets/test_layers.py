"""Which layers are pruned, and what is said of those that are not."""

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import nn

from skprune import L0Pruner, MagnitudePruner, SoftThresholdPruner
from tests.conftest import UserModule, user_net

IN_TORCH = "ignore:predict runs the pruned net in torch"
pytestmark = pytest.mark.filterwarnings(IN_TORCH, "ignore:.*leaves no weight in")


class Wrapped(nn.Module):
    """A layer, and a Linear that reads what it makes of a row."""

    def __init__(self, layer, n_out):
        super().__init__()
        self.layer = layer
        self.out = nn.Linear(n_out, 3)

    def forward(self, X):
        return self.out(self.run(X).flatten(1))

    def run(self, X):
        layer = self.layer
        if isinstance(layer, nn.RNNBase):
            return layer(X[:, :, None])[0][:, -1]
        if isinstance(layer, nn.LSTMCell):
            return layer(X)[0]
        if isinstance(layer, nn.Bilinear):
            return layer(X, X)
        if isinstance(layer, nn.MultiheadAttention):
            X = X[:, :, None].expand(-1, -1, 4)
            return layer(X, X, X)[0]
        if isinstance(layer, nn.RNNCellBase):
            return layer(X)
        return layer(X[:, :, *[None] * (layer.weight.ndim - 2)])


LAYERS = {
    "lstm": (lambda: nn.LSTM(1, 5, 2, batch_first=True, bidirectional=True), 10, 8),
    "projected lstm": (lambda: nn.LSTM(1, 5, batch_first=True, proj_size=3), 3, 3),
    "gru": (lambda: nn.GRU(1, 5, batch_first=True), 5, 2),
    "rnn": (lambda: nn.RNN(1, 5, batch_first=True), 5, 2),
    "lstm cell": (lambda: nn.LSTMCell(4, 5), 5, 2),
    "gru cell": (lambda: nn.GRUCell(4, 5), 5, 2),
    "rnn cell": (lambda: nn.RNNCell(4, 5), 5, 2),
    "transposed 1d": (lambda: nn.ConvTranspose1d(4, 5, 1), 5, 1),
    "transposed 2d": (lambda: nn.ConvTranspose2d(4, 5, 1), 5, 1),
    "transposed 3d": (lambda: nn.ConvTranspose3d(4, 5, 1), 5, 1),
    "bilinear": (lambda: nn.Bilinear(4, 4, 5), 5, 1),
    "attention": (lambda: nn.MultiheadAttention(4, 2, batch_first=True), 16, 2),
    "attention in three": (
        lambda: nn.MultiheadAttention(4, 2, batch_first=True, kdim=4, vdim=4),
        16,
        2,
    ),
}


def net_of(kind):
    make, n_out, _ = LAYERS[kind]
    return user_net(Wrapped, module__layer=make(), module__n_out=n_out, max_epochs=2)


@pytest.mark.parametrize("schedule", ["one_shot", "cubic"])
@pytest.mark.parametrize("kind", LAYERS)
def test_every_weight_is_pruned_and_counted(kind, schedule, iris):
    pruner = MagnitudePruner(net_of(kind), sparsity=0.6, schedule=schedule, random_state=0)
    module = pruner.fit(*iris).estimator_.module_
    expected = {n: p for n, p in module.named_parameters() if "bias" not in n}
    assert len(expected) == LAYERS[kind][2] + 1
    taken = pruner.sparse_weights_
    assert list(taken) == list(expected)
    for name, parameter in expected.items():
        assert_array_equal(taken[name].toarray(), parameter.detach().flatten(1).numpy())
    size = sum(parameter.numel() for parameter in expected.values())
    zeros = sum(int((parameter == 0).sum()) for parameter in expected.values())
    assert zeros == int(np.ceil(round(0.6 * size, 6)))
    assert pruner.sparsity_ == zeros / size
    assert_array_equal(pruner.predict(iris[0]), pruner.estimator_.predict(iris[0]))


@pytest.mark.parametrize("pruner", [L0Pruner, SoftThresholdPruner])
def test_what_cannot_have_gates_stays_dense_and_is_named(pruner, iris):
    with pytest.warns(UserWarning, match=r"9\d% of .*'layer.weight_ih_l0' \(LSTM\)"):
        fitted = pruner(net_of("lstm"), sparsity=0.5, random_state=0).fit(*iris)
    assert list(fitted.sparse_weights_) == ["out.weight"]
    assert fitted.sparsity_ >= 0.5
    with pytest.raises(ValueError, match=r"layers=\['layer'\] must name layers among \['out'\]"):
        pruner(net_of("lstm"), layers=["layer"]).fit(*iris)


class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(30, 4)
        self.own = nn.Parameter(torch.randn(4, 5))
        self.out = nn.Linear(5, 3)

    def forward(self, X):
        return self.out(self.table((X[:, 0].abs() * 9).long()) @ self.own)


def test_share_of_what_is_not_counted_is_told(iris):
    # 120 + 20 of 155
    match = r"^90% of .*: 'own' \(Table\), 'table.weight' \(Embedding\)\.$"
    with pytest.warns(UserWarning, match=match):
        MagnitudePruner(user_net(Table), sparsity=0.5).fit(*iris)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*are not pruned")
        MagnitudePruner(user_net(Table), sparsity=0.5, layers=["out"]).fit(*iris)
        MagnitudePruner(user_net(), sparsity=0.5).fit(*iris)


class Fixed(UserModule):
    def __init__(self):
        super().__init__()
        self.fc1.weight.requires_grad_(False)


def test_weights_that_do_not_train_are_pruned_and_named(iris):
    with pytest.warns(UserWarning, match=r"\['fc1'\] have requires_grad=False"):
        pruner = MagnitudePruner(user_net(Fixed), sparsity=0.5, random_state=0).fit(*iris)
    torch.manual_seed(0)
    before = Fixed().fc1.weight.detach().numpy()
    after = pruner.estimator_.module_.fc1.weight.detach().numpy()
    assert (after == 0).any()
    assert_array_equal(after[after != 0], before[after != 0])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight

    def forward(self, X):
        return self.out(torch.relu(self.second(torch.relu(self.first(X)))))


@pytest.mark.parametrize("layers", [["first"], ["second"], ["second", "first"]])
def test_tied_layers_go_by_either_name_and_count_once(layers, iris):
    net = user_net(Tied, max_epochs=1)
    pruner = MagnitudePruner(net, sparsity=0.5, layers=layers, random_state=0).fit(*iris)
    module = pruner.estimator_.module_
    assert [weight.shape for weight in pruner.sparse_weights_.values()] == [(4, 4)]
    assert pruner.sparsity_ == 8 / 16
    assert module.second.weight is module.first.weight
    assert int((module.first.weight == 0).sum()) == 8
    assert (module.out.weight != 0).all()
    with pytest.raises(ValueError, match=r"layers=\['none'\].* among \['first', 'second', 'out'\]"):
        pruner.set_params(layers=["none"]).fit(*iris)
