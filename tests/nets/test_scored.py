"""The loop with criteria of any kind: reopening, optimizer state, early stopping, refusals."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import ValidSplit
from torch import nn

from skprune import MagnitudePruner, MLPNetClassifier, MLPNetRegressor, SaliencyPruner
from skprune.masks import Cubic, Cyclic, Schedule, Update
from skprune.nets.criteria import Criterion, Magnitude
from skprune.nets.evidence import MeanGradient
from skprune.nets.layers import measured_sparsity


def mlp(hidden=(20,), **params):
    defaults = {"lr": 0.02, "max_epochs": 8, "batch_size": 30, "random_state": 0}
    return MLPNetClassifier(hidden, **(defaults | params))


def curve(pruner):
    return [entry["sparsity"] for entry in pruner.pruning_history_]


# --- cyclic ---------------------------------------------------------------------------------


class State(Callback):
    """Copies what the optimizer remembers of each weight, and the weights, after every batch."""

    def initialize(self):
        self.seen = []
        return self

    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            self.seen.append(
                {
                    name: (p.detach().clone(), copy.deepcopy(net.optimizer_.state.get(p, {})))
                    for name, p in net.module_.named_parameters()
                }
            )


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_masks_reopen_with_a_clean_optimizer_state(optimizer, iris):
    momentum = {"optimizer__momentum": 0.9} if optimizer is torch.optim.SGD else {}
    net = mlp(optimizer=optimizer, callbacks=[State()], **momentum)
    schedule = Cyclic(begin=0.25, end=0.75, n_cycles=1)
    pruner = MagnitudePruner(net, sparsity=0.7, schedule=schedule).fit(*iris)
    per_epoch = 5
    seen = dict(pruner.estimator_.callbacks_)["State"].seen
    assert len(seen) == 8 * per_epoch
    name = "layers.hidden0.weight"
    # 2 epochs dense, 2 sparse, 2 dense, 2 sparse
    closed = seen[2 * per_epoch][name][0] == 0
    assert 0.4 < closed.float().mean() < 1
    assert_array_equal(seen[4 * per_epoch - 1][name][0] == 0, closed)
    reopened_weight, state = seen[4 * per_epoch][name]
    assert_array_equal(reopened_weight == 0, closed)  # they start from zero
    moments = [v for v in state.values() if torch.is_tensor(v) and v.shape == closed.shape]
    assert moments
    for moment in moments:
        assert not moment[closed].any()
        assert moment[~closed].any()
    alive = seen[6 * per_epoch - 1][name][0] != 0
    assert alive[closed].any()  # and trained
    assert measured_sparsity(pruner.estimator_) == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("granularity", ["weight", "2:4", (4, 1)])
@pytest.mark.parametrize("criterion", ["magnitude", "taylor"])
def test_a_cycle_ends_sparse(criterion, granularity, iris):
    pruner = SaliencyPruner(
        mlp(), criterion=criterion, sparsity=0.5, schedule="cyclic", granularity=granularity
    ).fit(*iris)
    sparsities = curve(pruner)
    assert sparsities[-1] == pruner.sparsity_
    assert 0.5 <= pruner.sparsity_ < 0.55
    assert min(sparsities[1:6]) < 0.4


def test_early_stopping_cannot_end_a_dense_phase(iris):
    stopping = EarlyStopping(monitor="train_loss", patience=1, threshold=10.0)
    net = mlp(max_epochs=12, callbacks=[stopping])
    schedule = Cyclic(begin=1 / 4, end=3 / 4, n_cycles=1)
    pruner = MagnitudePruner(net, sparsity=0.7, schedule=schedule).fit(*iris)
    # nothing ever improves by its measure: it ends training as soon as it may, in the last phase
    assert 9 < len(pruner.pruning_history_) < 12
    assert curve(pruner)[6:9] == sorted(curve(pruner)[6:9]) or max(curve(pruner)[6:8]) < 0.7
    assert pruner.sparsity_ == pytest.approx(0.7, abs=0.01)


def test_a_callback_that_ends_training_in_a_dense_phase_leaves_a_sparse_net(iris):
    class Stop(Callback):
        def on_train_begin(self, net, **kwargs):
            self.n = 0

        def on_batch_end(self, net, training=False, **kwargs):
            self.n += training
            if self.n == 28:
                raise KeyboardInterrupt

    schedule = Cyclic(begin=1 / 4, end=3 / 4, n_cycles=1)
    net = mlp(callbacks=[Stop()])
    pruner = MagnitudePruner(net, sparsity=0.7, schedule=schedule).fit(*iris)
    assert pruner.sparsity_ == pytest.approx(0.7, abs=0.01)


# --- criteria of the user's own ----------------------------------------------------------------


class Inverse(Criterion):
    """Large weights of a small gradient."""

    needs = (MeanGradient,)

    def score(self, weight, seen):
        return weight.abs() / (seen[MeanGradient].abs() + 1e-3)


@pytest.mark.parametrize(
    "criterion",
    [torch.abs, lambda w: w.abs() ** 2, lambda weight, gradient: weight.abs(), Magnitude()],
    ids=["torch", "lambda", "with gradient", "object"],
)
def test_a_function_or_object_that_ranks_like_magnitude_prunes_alike(criterion, iris):
    ours = SaliencyPruner(mlp(), criterion=criterion, sparsity=0.6, random_state=0).fit(*iris)
    theirs = MagnitudePruner(mlp(), sparsity=0.6, random_state=0).fit(*iris)
    for name, weight in theirs.sparse_weights_.items():
        assert_array_equal(weight.toarray(), ours.sparse_weights_[name].toarray())


def test_an_object_with_needs_of_its_own(iris):
    pruner = SaliencyPruner(mlp(), criterion=Inverse(), sparsity=0.5).fit(*iris)
    assert pruner.sparsity_ == 0.5
    assert pruner.score(*iris) > 0.8
    assert isinstance(clone(pruner).criterion, Inverse)


def test_a_criterion_is_searched(iris):
    pruner = SaliencyPruner(mlp(), sparsity=0.5, random_state=0)
    search = GridSearchCV(pruner, {"criterion": ["magnitude", "taylor", "random"]}, cv=2)
    search.fit(*iris)
    assert search.cv_results_["mean_test_score"].min() > 0.3


def wrong_shape(weight):
    return weight.sum()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"criterion": "tailor"}, "criterion must be one of .*'taylor'.*; got 'tailor'"),
        ({"criterion": 3}, "criterion must be one of"),
        ({"criterion": wrong_shape}, "must return scores of the shape of the weights"),
        ({"criterion": lambda w: w * torch.nan}, "as NaN"),
        ({"granularity": "3:2"}, "'granularity' parameter must be .*; got '3:2'"),
        ({"granularity": "2:4"}, "sparsity=0.9 and granularity='2:4' contradict .*sparsity=0.5"),
        ({"granularity": "neuron", "schedule": "cyclic"}, "Cyclic .*granularity='neuron'"),
        ({"granularity": "neuron", "layers": ["layers.output"]}, "out of reach"),
        ({"regrowth": "gradient"}, "regrowth='gradient' has no effect with schedule='one_shot'"),
        (
            {"regrowth": "random", "schedule": "constant", "granularity": "neuron"},
            "regrowth needs single weights or blocks",
        ),
        ({"n_samples": 0}, "n_samples"),
        ({"schedule": "weekly"}, "schedule"),
        ({"schedule": Cyclic}, "schedule"),
        ({"schedule": Cubic}, r"Cubic is a class: write Cubic\(\)"),
    ],
)
def test_what_cannot_work_is_named(params, message, iris):
    pruner = SaliencyPruner(mlp(max_epochs=1), random_state=0).set_params(**params)
    with pytest.raises(ValueError, match=message):
        pruner.fit(*iris)
    assert not hasattr(pruner, "estimator_")


def test_gradients_of_frozen_layers_are_refused_by_name(iris):
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 3)
            self.a.requires_grad_(False)

        def forward(self, X):
            return self.b(self.a(X).relu())

    net = NeuralNetClassifier(Module, criterion=nn.CrossEntropyLoss, max_epochs=1)
    with pytest.raises(ValueError, match=r"layers \['a'\] have requires_grad=False"):
        SaliencyPruner(net, sparsity=0.5).fit(*iris)
    pruner = SaliencyPruner(net, sparsity=0.5, layers=["b"], random_state=0).fit(*iris)
    assert list(pruner.sparse_weights_) == ["b.weight"]


# --- sparsity 0, schedules of the user's own ---------------------------------------------------


@pytest.mark.parametrize("criterion", ["taylor", "random"])
@pytest.mark.parametrize("schedule", ["one_shot", "iterative", "cubic", "cyclic", "constant"])
@pytest.mark.parametrize("granularity", ["weight", "2:4", (2, 3)])
def test_sparsity_zero_is_the_plain_net(criterion, schedule, granularity, iris):
    pruner = SaliencyPruner(
        mlp(max_epochs=3, train_split=ValidSplit(5)),
        criterion=criterion,
        sparsity=0,
        schedule=schedule,
        granularity=granularity,
        random_state=7,
    ).fit(*iris)
    plain = mlp(max_epochs=len(pruner.pruning_history_), train_split=ValidSplit(5), random_state=7)
    plain.fit(*iris)
    for (name, ours), (_, theirs) in zip(
        pruner.estimator_.module_.named_parameters(),
        plain.module_.named_parameters(),
        strict=True,
    ):
        assert_array_equal(ours.detach(), theirs.detach(), err_msg=name)


class WhereTheLossIsLow(Schedule):
    """Prunes once the training loss is below a bound; depends on the history."""

    def update_at(self, epoch, plan):
        low = any(entry["train_loss"] < 0.7 for entry in plan.history)
        return Update(plan.target, is_last=True) if low else Update(0.0)


def test_a_schedule_sees_the_history(iris):
    pruner = MagnitudePruner(
        mlp(max_epochs=15), sparsity=0.5, schedule=WhereTheLossIsLow(), random_state=0
    ).fit(*iris)
    losses = [entry["train_loss"] for entry in pruner.pruning_history_]
    first = next(i for i, loss in enumerate(losses) if loss < 0.7)
    assert 0 < first < 13
    assert curve(pruner)[first] == 0
    assert curve(pruner)[first + 1] == 0.5


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


# --- granularity on nets ------------------------------------------------------------------------


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.c, self.d = nn.Linear(6 * 16, 12), nn.Linear(12, 10)

    def forward(self, X):
        X = self.a(X.reshape(-1, 1, 8, 8)).relu()
        X = self.norm(self.b(X)).relu()
        return self.d(self.c(X.flatten(1)).relu())


@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "random"])
@pytest.mark.parametrize("allocation", ["global", "uniform"])
def test_neurons_of_convolutions(criterion, allocation, digits):
    X, y = digits
    net = NeuralNetClassifier(
        ConvNet, criterion=nn.CrossEntropyLoss, max_epochs=2, lr=0.1, batch_size=64
    )
    pruner = SaliencyPruner(
        net,
        criterion=criterion,
        sparsity=0.6,
        granularity="neuron",
        allocation=allocation,
        random_state=0,
    ).fit(X[:400], y[:400])
    module = pruner.estimator_.module_
    assert 0.6 <= pruner.sparsity_ < 0.75
    dead_a = ~module.a.weight.flatten(1).any(1)
    assert not module.a.bias[dead_a].any()
    assert not module.b.weight[:, dead_a].any()
    dead_c = ~module.c.weight.any(1)
    assert not module.d.weight[:, dead_c].any()
    assert module.d.weight.any(1).all()  # the outputs stay
    if allocation == "uniform":
        dead_b = ~module.b.weight.flatten(1).any(1)
        shares = [d.float().mean().item() for d in (dead_a, dead_b, dead_c)]
        assert max(shares) - min(shares) <= 1 / 6 + 1e-6


def test_neurons_of_a_net_that_cannot_be_traced(iris):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 20), nn.Linear(20, 3)

        def forward(self, X):
            if X.sum() > 1e9:
                X = X * 2
            return self.b(self.a(X).relu())

    net = NeuralNetClassifier(Odd, criterion=nn.CrossEntropyLoss, max_epochs=3, lr=0.1)
    pruner = SaliencyPruner(net, sparsity=0.3, granularity="neuron", random_state=0).fit(*iris)
    assert 0.3 <= pruner.sparsity_ < 0.35
    rows = pruner.sparse_weights_["a.weight"].toarray().any(axis=1)
    assert not rows.all()
    assert pruner.sparse_weights_["b.weight"].toarray().any(axis=1).all()


def test_neurons_of_recurrent_layers_are_refused_by_name(iris):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

        def forward(self, X):
            return self.out(self.rnn(X[:, None])[0][:, -1])

    net = NeuralNetClassifier(Recurrent, criterion=nn.CrossEntropyLoss, max_epochs=1)
    with pytest.raises(ValueError, match=r"granularity='neuron' .*'rnn"):
        MagnitudePruner(net, sparsity=0.3, granularity="neuron").fit(*iris)
    pruner = MagnitudePruner(net, sparsity=0.5, granularity=(1, 2), random_state=0).fit(*iris)
    assert 0.5 <= pruner.sparsity_ < 0.56


def test_a_regressor_with_every_granularity(iris):
    X, y = iris[0], iris[0][:, 0]
    for granularity in ("weight", "neuron", "1:2", (2, 2), [2, 2]):
        net = MLPNetRegressor((16,), max_epochs=3, random_state=0)
        pruner = SaliencyPruner(net, sparsity=0.5, granularity=granularity).fit(X, y)
        assert 0.5 <= pruner.sparsity_ <= 0.57
        model = pruner.sparse_estimator_
        np.testing.assert_allclose(model.predict(X), pruner.estimator_.predict(X), atol=1e-4)


def test_a_frozen_net_with_every_granularity_is_pruned_on_a_copy(iris):
    fitted = mlp(max_epochs=2).fit(*iris)
    before = {n: p.detach().clone() for n, p in fitted.module_.named_parameters()}
    for granularity in ("weight", "neuron", "2:4", (2, 2)):
        pruner = SaliencyPruner(FrozenEstimator(fitted), sparsity=0.5, granularity=granularity)
        assert 0.5 <= pruner.fit(*iris).sparsity_ <= 0.57
    for name, parameter in fitted.module_.named_parameters():
        assert_array_equal(parameter.detach(), before[name])


@pytest.mark.parametrize("frozen", [True, False])
def test_weights_of_rows_count_in_the_gradients(frozen, iris):
    X, y = iris
    net = mlp(max_epochs=2, batch_size=len(X))
    net = FrozenEstimator(net.fit(X, y)) if frozen else net
    masks = {}
    for name, weight in {
        "none": None,
        "ones": np.ones(len(X)),
        "class 0": 1.0 * (y == y[0]),
    }.items():
        pruner = SaliencyPruner(net, sparsity=0.5, finetune_epochs=0, random_state=0)
        pruner.fit(X, y, sample_weight=weight)
        masks[name] = [w.toarray() != 0 for w in pruner.sparse_weights_.values()]
    assert all((a == b).all() for a, b in zip(masks["none"], masks["ones"], strict=True))
    assert any((a != b).any() for a, b in zip(masks["none"], masks["class 0"], strict=True))
