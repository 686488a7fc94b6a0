"""The pruners that learn what to remove: what is left of gates, of the net, and of the target."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, GradientNormClipping
from skorch.dataset import ValidSplit
from torch import nn

from skprune import (
    BayesianGroupPruner,
    L0Pruner,
    MLPNetClassifier,
    MLPNetRegressor,
    PrunerCV,
    SoftThresholdPruner,
    VariationalDropoutPruner,
)
from skprune.nets.gates import Gate
from tests.conftest import UserModule, user_net

PRUNERS = {
    "L0 units": (L0Pruner, {}),
    "L0 weights": (L0Pruner, {"groups": "weights"}),
    "variational dropout": (VariationalDropoutPruner, {}),
    "soft thresholds": (SoftThresholdPruner, {}),
    "Bayesian groups": (BayesianGroupPruner, {}),
}
OF_UNITS = ("L0 units", "Bayesian groups")
OWN_RULES = [
    (L0Pruner, {"lam": 0.1}),
    (L0Pruner, {"lam": 0.1, "groups": "weights"}),
    (VariationalDropoutPruner, {"threshold": 3.0}),
    (SoftThresholdPruner, {"threshold_decay": 0.1}),
    (BayesianGroupPruner, {"threshold": 0.0}),
]


def mlp(**params):
    defaults = {"max_epochs": 4, "lr": 0.02, "batch_size": 50, "random_state": 0}
    return MLPNetClassifier((24, 12), **(defaults | params))


def make(name, net=None, **params):
    cls, own = PRUNERS[name]
    return cls(mlp() if net is None else net, **(own | params))


def state(net):
    return {name: value.numpy().copy() for name, value in net.module_.state_dict().items()}


def is_plain(net):
    modules = list(net.module_.modules())
    hooked = any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in modules)
    return not hooked and not any(isinstance(module, Gate) for module in modules)


class ImageModule(nn.Module):
    """Two convolutions and two linear layers, on 8x8 images."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.fc1 = nn.Linear(8 * 16, 20)
        self.fc2 = nn.Linear(20, 10)

    def forward(self, X):
        X = torch.relu(self.conv1(X))
        X = torch.relu(self.conv2(X))
        return self.fc2(torch.relu(self.fc1(X.flatten(1))))


@pytest.fixture(scope="module")
def images():
    X, y = load_digits(return_X_y=True)
    return (X[:300].reshape(-1, 1, 8, 8) / 16).astype(np.float32), y[:300]


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("name", PRUNERS)
def test_the_sparsity_that_was_asked_for_is_reached(name, sparsity, iris):
    pruner = make(name, sparsity=sparsity).fit(*iris)
    weights = list(pruner.sparse_weights_.values())
    size = sum(np.prod(w.shape) for w in weights)
    assert pruner.sparsity_ == pytest.approx(1 - sum(w.nnz for w in weights) / size)
    # the largest group of this net has 40 weights of 420
    allowed = 40 / size if name in OF_UNITS else 1 / size
    assert sparsity - 1e-12 <= pruner.sparsity_ < sparsity + allowed


@pytest.mark.parametrize("name", PRUNERS)
def test_what_is_left_is_a_plain_net_of_the_users_own(name, iris):
    net = user_net(max_epochs=3)
    before = pickle.dumps(net)
    pruner = make(name, net, sparsity=0.5).fit(*iris)
    assert pickle.dumps(net) == before
    trained = pruner.estimator_
    assert type(trained) is NeuralNetClassifier
    assert type(trained.module_) is UserModule
    assert type(trained.module_.fc1) is nn.Linear
    assert is_plain(trained)
    assert state(trained).keys() == UserModule().state_dict().keys()
    assert {"initialize_module", "get_all_learnable_params"}.isdisjoint(vars(trained))
    assert not any("skprune" in name for name, _ in trained.callbacks_)
    again = pickle.loads(pickle.dumps(pruner))
    assert_array_equal(again.predict(iris[0]), pruner.predict(iris[0]))
    trained.partial_fit(*iris)


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("recovery", [0.0, 0.5])
def test_the_engine_predicts_as_the_net(name, recovery, iris):
    pruner = make(name, sparsity=0.6, recovery_fraction=recovery).fit(*iris)
    theirs = pruner.estimator_.predict_proba(iris[0])
    assert_allclose(pruner.predict_proba(iris[0]), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", PRUNERS)
def test_zeros_stay_zero_while_the_rest_recovers(name, iris):
    class Zeros(Callback):
        def on_epoch_end(self, net, **kwargs):
            layers = [m for m in net.module_.modules() if isinstance(m, nn.Linear)]
            if len(layers) == 3:
                found = np.concatenate([m.weight.detach().numpy().ravel() == 0 for m in layers])
                seen.append(found)

    seen = []
    net = mlp(max_epochs=6, callbacks=[Zeros()])
    make(name, net, sparsity=0.7, recovery_fraction=0.5, random_state=0).fit(*iris)
    assert len(seen) == 4  # epochs 3 to 6
    assert seen[0].mean() >= 0.7
    for later in seen[1:]:
        assert_array_equal(later, seen[0])


@pytest.mark.parametrize("name", PRUNERS)
def test_sparsity_zero_is_the_plain_net_to_the_bit(name, iris):
    plain = user_net(max_epochs=3)
    torch.manual_seed(7)
    plain.fit(*iris)
    pruner = make(name, user_net(max_epochs=3), sparsity=0.0, random_state=7).fit(*iris)
    theirs = state(plain)
    for key, value in state(pruner.estimator_).items():
        assert_array_equal(value, theirs[key])
    assert len(pruner.pruning_history_) == 3


@pytest.mark.parametrize("name", PRUNERS)
def test_everything_may_go(name, iris):
    pruner = make(name, sparsity=1.0).fit(*iris)
    assert pruner.sparsity_ == 1
    assert len(np.unique(pruner.predict(iris[0]))) == 1


@pytest.mark.parametrize(("cls", "own"), OWN_RULES)
def test_without_a_sparsity_the_methods_own_rule_decides(cls, own, iris):
    net = mlp(max_epochs=30)
    pruner = cls(net, random_state=0, **own).fit(*iris)
    assert 0 < pruner.sparsity_ < 1
    assert pruner.score(*iris) > 0.8


@pytest.mark.parametrize(
    ("cls", "name", "less", "more"),
    [
        (L0Pruner, "lam", 0.01, 0.5),
        (VariationalDropoutPruner, "threshold", 5.0, -2.0),
        (SoftThresholdPruner, "threshold_decay", 0.001, 1.0),
        (BayesianGroupPruner, "threshold", 3.0, -4.0),
    ],
)
def test_the_rules_parameter_says_how_much(cls, name, less, more, iris):
    sparsities = [
        cls(mlp(max_epochs=20), random_state=0, gate_lr=0.1, **{name: value}).fit(*iris).sparsity_
        for value in (less, more)
    ]
    assert sparsities[0] + 0.1 < sparsities[1]


def test_a_price_may_differ_from_layer_to_layer(iris):
    lam = {"layers.hidden1": 5.0}
    pruner = L0Pruner(mlp(max_epochs=20), lam=lam, random_state=0).fit(*iris)
    first = pruner.pruning_history_[10]["gates"]
    assert first["layers.hidden1"].mean() < 0.3 < first["layers.hidden0"].mean()


def test_the_dual_variable_rises_until_the_constraint_holds_and_starts_anew(iris):
    net = mlp(max_epochs=40)
    history = L0Pruner(net, sparsity=0.4, random_state=0).fit(*iris).pruning_history_
    learning = [entry for entry in history if entry["dual"] is not None]
    assert len(learning) == 31  # at the end of epoch 32 the gates are folded
    for entry in learning:
        assert entry["dual"] >= 0
    assert max(entry["dual"] for entry in learning) > 0
    assert any(entry["dual"] == 0 for entry in learning)
    assert all(e["dual"] == 0 or e["expected_sparsity"] < 0.41 for e in learning)


@pytest.mark.parametrize("name", PRUNERS)
def test_history_tells_of_every_epoch(name, iris):
    net = mlp(max_epochs=5, train_split=ValidSplit(5))
    pruner = make(name, net, sparsity=0.5, recovery_fraction=0.4, finetune_epochs=1).fit(*iris)
    history = pruner.pruning_history_
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4, 5, 6]
    for entry in history:
        assert {"sparsity", "expected_sparsity", "penalty", "dual", "train_loss", "valid_loss"} <= (
            entry.keys()
        )
    # epochs 1 and 2 learn; at the end of the third the gates are folded
    assert [("gates" in entry) for entry in history] == [name in OF_UNITS] * 2 + [False] * 4
    assert all(entry["sparsity"] == pruner.sparsity_ for entry in history[2:])


@pytest.mark.parametrize("name", OF_UNITS)
def test_dead_units_are_rows_and_columns_of_zeros(name, iris):
    pruner = make(name, sparsity=0.7).fit(*iris)
    layers = pruner.estimator_.module_.layers
    chain = [layers.hidden0, layers.hidden1, layers.output]
    weights = [layer.weight.detach().numpy() for layer in chain]
    removed = 0
    for layer, rows, reader in zip(chain[:-1], weights[:-1], weights[1:], strict=True):
        unread = ~reader.any(axis=0)
        assert_array_equal(rows[unread], 0)
        assert_array_equal(layer.bias.detach().numpy()[unread], 0)
        removed += unread.sum()
    assert removed > 0
    engine = pruner.sparse_estimator_.model.layers
    sizes = [layer.weight.shape[0] for layer in engine[:2]]
    assert sizes == [int(w.any(axis=0).sum()) for w in weights[1:]]
    assert pruner.transform(iris[0]).shape == (150, 12)


@pytest.mark.parametrize("name", PRUNERS)
def test_convolutions_have_gates_too(name, images):
    net = user_net(ImageModule, max_epochs=2)
    with pytest.warns(UserWarning, match="in torch"):
        pruner = make(name, net, sparsity=0.6).fit(*images)
    assert 0.6 <= pruner.sparsity_ < 0.72  # a map of conv2 has 374 of 3246 weights
    assert is_plain(pruner.estimator_)
    if name in OF_UNITS:
        module = pruner.estimator_.module_
        dead = ~module.conv2.weight.detach().numpy().any(axis=(1, 2, 3))
        columns = module.fc1.weight.detach().numpy().reshape(20, 8, 16)
        assert_array_equal(columns[:, dead], 0)
        dead = ~module.conv1.weight.detach().numpy().any(axis=(1, 2, 3))
        assert_array_equal(module.conv2.weight.detach().numpy()[:, dead], 0)


@pytest.mark.parametrize("name", PRUNERS)
def test_one_dimensional_convolutions_have_gates_too(name, iris):
    class Signal(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 5, 2)
            self.fc = nn.Linear(15, 3)

        def forward(self, X):
            return self.fc(torch.relu(self.conv(X)).flatten(1))

    X, y = iris
    with pytest.warns(UserWarning, match="in torch"):
        pruner = make(name, user_net(Signal), sparsity=0.5).fit(X[:, None, :], y)
    assert pruner.sparsity_ >= 0.5


@pytest.mark.parametrize("name", PRUNERS)
def test_regression_on_one_and_several_targets(name, diabetes):
    X, y = diabetes
    net = MLPNetRegressor((20,), lr=0.02, max_epochs=30, batch_size=50, random_state=0)
    pruner = make(name, net, sparsity=0.5).fit(X, y)
    assert pruner.score(X, y) > 0.3
    both = make(name, net, sparsity=0.5).fit(X, np.stack([y, -y], axis=1))
    assert both.predict(X).shape == (200, 2)


@pytest.mark.parametrize("name", PRUNERS)
def test_the_same_seed_gives_the_same_net(name, iris):
    global_state = torch.get_rng_state()
    first, second = (make(name, user_net(), sparsity=0.5, random_state=3) for _ in range(2))
    assert_array_equal(
        first.fit(*iris).predict_proba(iris[0]), second.fit(*iris).predict_proba(iris[0])
    )
    assert torch.equal(torch.get_rng_state(), global_state)
    other = make(name, user_net(), sparsity=0.5, random_state=4).fit(*iris)
    assert (other.predict_proba(iris[0]) != first.predict_proba(iris[0])).any()


@pytest.mark.parametrize("name", PRUNERS)
def test_a_weight_of_two_is_two_rows_where_one_batch_holds_all(name, iris):
    X, y = iris
    # of mean 1: only then are there as many rows
    weight = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], 50))
    net = mlp(batch_size=-1, max_epochs=5)
    cls, own = PRUNERS[name]
    # noise of one kind only is the same for any number of rows
    if name in ("variational dropout", "Bayesian groups"):
        own = own | {"warmup_epochs": 0}
        net = mlp(batch_size=-1, max_epochs=1)
    weighted = cls(net, sparsity=0.5, random_state=0, **own).fit(X, y, sample_weight=weight)
    repeated = cls(net, sparsity=0.5, random_state=0, **own).fit(
        np.repeat(X, weight, axis=0), np.repeat(y, weight)
    )
    penalties = [[e["penalty"] for e in p.pruning_history_] for p in (weighted, repeated)]
    assert_allclose(*penalties, rtol=1e-4)
    if name in ("L0 units", "L0 weights", "soft thresholds"):
        assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1 / 150, 2.0**30, 1e-60])
@pytest.mark.parametrize("name", PRUNERS)
def test_scale_of_the_weights_makes_no_difference(name, scale, iris):
    X, y = iris
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    cls, own = PRUNERS[name]
    if name in ("variational dropout", "Bayesian groups"):
        own = own | {"warmup_epochs": 0}
    # by its own rule, which a divergence or a price that counts the rows otherwise would move
    pruner = cls(mlp(max_epochs=8), random_state=0, **own)
    first = clone(pruner).fit(X, y, sample_weight=weight)
    second = clone(pruner).fit(X, y, sample_weight=weight * scale)
    assert_allclose(
        [e["penalty"] for e in second.pruning_history_],
        [e["penalty"] for e in first.pruning_history_],
        rtol=1e-3,
    )
    assert_allclose(second.predict_proba(X), first.predict_proba(X), atol=1e-2)


@pytest.mark.parametrize("name", PRUNERS)
def test_grid_search_over_sparsity_in_a_pipeline(name, iris):
    pipe = make_pipeline(StandardScaler(), make(name, mlp(max_epochs=2), random_state=0))
    step = pipe.steps[-1][0]
    search = GridSearchCV(pipe, {f"{step}__sparsity": [0.3, 0.6]}, cv=2).fit(*iris)
    assert search.best_estimator_[-1].sparsity_ >= 0.3
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    ("pruner", "grid"),
    [
        (L0Pruner(mlp()), {"lam": [0.1, 1.0], "groups": ["units", "weights"]}),
        (VariationalDropoutPruner(mlp()), {"threshold": [1.0, 3.0]}),
        (SoftThresholdPruner(mlp()), {"threshold_decay": [0.01, 0.1]}),
        (BayesianGroupPruner(mlp()), {"threshold": [-1.0, 1.0]}),
    ],
)
def test_grid_search_over_the_rules_parameter(pruner, grid, iris):
    search = GridSearchCV(clone(pruner), grid, cv=2).fit(*iris)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    ("pruner", "param", "values"),
    [
        (L0Pruner(mlp(max_epochs=2)), "sparsity", [0.3, 0.6]),
        (L0Pruner(mlp(max_epochs=2), lam=0.1), "lam", [0.1, 0.2]),
        (VariationalDropoutPruner(mlp(max_epochs=2), threshold=3.0), "threshold", [3.0, 1.0]),
        (SoftThresholdPruner(mlp(max_epochs=2), threshold_decay=1.0), "threshold_decay", [0.1, 1]),
        (BayesianGroupPruner(mlp(max_epochs=2), threshold=0.0), "threshold", [1.0, -1.0]),
    ],
)
def test_pruner_cv_searches_along_what_is_given(pruner, param, values, iris):
    search = PrunerCV(pruner, param_range=values, cv=2).fit(*iris)
    assert list(search.best_params_) == [param]
    grid = GridSearchCV(clone(pruner), {param: values}, cv=2).fit(*iris)
    assert_array_equal(search.cv_results_["mean_test_score"], grid.cv_results_["mean_test_score"])


@pytest.mark.parametrize("name", PRUNERS)
def test_a_frozen_net_learns_its_gates_in_the_epochs_of_fine_tuning(name, iris):
    dense = mlp(max_epochs=8).fit(*iris)
    before = state(dense)
    pruner = make(name, FrozenEstimator(dense), sparsity=0.4, finetune_epochs=6).fit(*iris)
    assert len(pruner.pruning_history_) == 6
    assert pruner.sparsity_ >= 0.4
    assert pruner.score(*iris) > 0.8
    for key, value in state(dense).items():
        assert_array_equal(value, before[key])
    assert is_plain(dense)


@pytest.mark.parametrize("name", PRUNERS)
@pytest.mark.parametrize("finetune", [None, 0])
def test_a_frozen_net_that_does_not_train_cannot_learn_gates(name, finetune, iris):
    dense = mlp(max_epochs=1).fit(*iris)
    pruner = make(name, FrozenEstimator(dense), sparsity=0.4, finetune_epochs=finetune)
    with pytest.raises(ValueError, match="finetune_epochs must be at least 1"):
        pruner.fit(*iris)


@pytest.mark.parametrize(
    ("cls", "params", "message"),
    [
        (L0Pruner, {"sparsity": 0.5, "lam": 1.0}, "leave out one of the two"),
        (VariationalDropoutPruner, {"sparsity": 0.5, "threshold": 1.0}, "leave out one of the two"),
        (SoftThresholdPruner, {"sparsity": 0.5, "threshold_decay": 1.0}, "leave out one"),
        (BayesianGroupPruner, {"sparsity": 0.5, "threshold": 1.0}, "leave out one of the two"),
        (L0Pruner, {"lam": -1.0}, "'lam' parameter"),
        (L0Pruner, {"lam": {"nowhere": 1.0}}, "lam.*must name layers among"),
        (L0Pruner, {"lam": {"layers.hidden0": -1.0}}, "lam.*must hold prices of 0 or more"),
        (L0Pruner, {"lam": 1.0, "dual_lr": 0.1}, "dual_lr=0.1 is for a given sparsity"),
        (L0Pruner, {"groups": "rows"}, "'groups' parameter"),
        (L0Pruner, {"stretch": (0.1, 1.1)}, "stretch must be a pair"),
        (L0Pruner, {"stretch": (-0.1,)}, "stretch must be a pair"),
        (L0Pruner, {"stretch": (-0.1, "a")}, "stretch must be a pair"),
        (L0Pruner, {"droprate_init": 1.0}, "'droprate_init' parameter"),
        (L0Pruner, {"recovery_fraction": 1.0}, "'recovery_fraction' parameter"),
        (L0Pruner, {"gate_lr": 0.0}, "'gate_lr' parameter"),
        (L0Pruner, {"sparsity": 1.5}, "'sparsity' parameter"),
        (VariationalDropoutPruner, {"warmup_epochs": (3, 1)}, "warmup_epochs must be"),
        (BayesianGroupPruner, {"warmup_epochs": ("a", 1)}, "warmup_epochs must be"),
        (SoftThresholdPruner, {"s_init": 1.0}, "'s_init' parameter"),
        (SoftThresholdPruner, {"threshold_decay": 1.0, "dual_lr": 0.1}, "dual_lr=0.1"),
        (L0Pruner, {"layers": ["nowhere"]}, "must name layers among"),
    ],
)
def test_wrong_parameters_are_named(cls, params, message, iris):
    with pytest.raises(ValueError, match=message):
        cls(mlp(), **params).fit(*iris)


@pytest.mark.parametrize("name", PRUNERS)
def test_only_the_named_layers_have_gates(name, iris):
    pruner = make(name, sparsity=0.5, layers=["layers.hidden1"]).fit(*iris)
    layers = pruner.estimator_.module_.layers
    assert list(pruner.sparse_weights_) == ["layers.hidden1.weight"]
    assert (layers.hidden0.weight != 0).all()
    assert (layers.hidden1.weight == 0).float().mean() >= 0.5


@pytest.mark.parametrize("name", PRUNERS)
def test_penalties_come_before_a_users_clipping(name, iris):
    class Norms(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            grads = [p.grad for _, p in net.get_all_learnable_params() if p.grad is not None]
            norms.append(float(torch.linalg.vector_norm(torch.cat([g.ravel() for g in grads]))))

    norms = []
    net = mlp(callbacks=[GradientNormClipping(1e-3), Norms()])
    make(name, net, sparsity=0.5).fit(*iris)
    assert norms
    assert max(norms) <= 1.001e-3


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("name", PRUNERS)
def test_any_optimizer_trains_the_weights(name, optimizer, iris):
    net = mlp(optimizer=optimizer, lr=0.05, max_epochs=10)
    pruner = make(name, net, sparsity=0.4, random_state=0).fit(*iris)
    assert pruner.sparsity_ >= 0.4
    assert pruner.score(*iris) > 0.7


def test_an_optimizer_that_computes_the_loss_itself_is_refused(iris):
    net = mlp(optimizer=torch.optim.LBFGS, batch_size=-1)
    with pytest.raises(ValueError, match="optimizer=LBFGS computes the loss by itself"):
        L0Pruner(net, sparsity=0.5).fit(*iris)


def test_shared_weights_are_refused_by_name(iris):
    class Tied(UserModule):
        def __init__(self):
            super().__init__(n_hidden=4)
            self.twin = nn.Linear(4, 4)
            self.twin.weight = self.fc1.weight

        def forward(self, X):
            return super().forward(self.twin(X))

    with pytest.raises(ValueError, match="'fc1' shares its weight"):
        L0Pruner(user_net(Tied), sparsity=0.5).fit(*iris)
    L0Pruner(user_net(Tied), sparsity=0.5, layers=["fc2"]).fit(*iris)


def test_a_layer_with_a_forward_of_its_own_is_refused_by_name(iris):
    class Doubled(nn.Linear):
        def forward(self, X):
            return 2 * super().forward(X)

    class Module(UserModule):
        def __init__(self):
            super().__init__()
            self.fc2 = Doubled(12, 3)

    with pytest.raises(ValueError, match="'fc2' is a Doubled with a forward of its own"):
        L0Pruner(user_net(Module), sparsity=0.5).fit(*iris)


def test_layers_past_which_the_module_reads_are_refused_by_name(iris):
    class ByHand(UserModule):
        def forward(self, X):
            return self.fc2(torch.relu(nn.functional.linear(X, self.fc1.weight, self.fc1.bias)))

    with pytest.raises(ValueError, match=r"layers \['fc1'\] are not called"):
        L0Pruner(user_net(ByHand), sparsity=0.5).fit(*iris)
    L0Pruner(user_net(ByHand), sparsity=0.5, layers=["fc2"]).fit(*iris)


def test_layers_without_a_shape_are_refused_by_name(iris):
    class Lazy(UserModule):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.LazyLinear(12)

    with pytest.raises(ValueError, match="'fc1' is a LazyLinear without a shape"):
        L0Pruner(user_net(Lazy), sparsity=0.5).fit(*iris)


@pytest.mark.parametrize("name", PRUNERS)
def test_a_users_hooks_see_every_call(name, iris):
    calls = []

    class Hooked(UserModule):
        def __init__(self):
            super().__init__()
            self.fc2.register_forward_hook(lambda module, args, output: calls.append(1))

    make(name, user_net(Hooked, max_epochs=2), sparsity=0.5, recovery_fraction=0.0).fit(*iris)
    assert len(calls) >= 2 * 5  # batches of 32 rows, two epochs


@pytest.mark.parametrize("name", PRUNERS)
def test_a_frozen_net_keeps_what_it_has_learned(name, diabetes):
    X, y = diabetes
    net = MLPNetRegressor((20,), lr=0.02, max_epochs=40, batch_size=20, random_state=0).fit(X, y)
    pruner = make(name, FrozenEstimator(net), sparsity=0.01, finetune_epochs=1, random_state=0)
    assert pruner.fit(X, y).score(X, y) > 0.4  # of 0.78


@pytest.mark.parametrize("name", PRUNERS)
def test_a_lone_linear_module_is_gated_where_it_stands(name, iris):
    net = user_net(nn.Linear, module__in_features=4, module__out_features=3)
    pruner = make(name, net, sparsity=0.5).fit(*iris)
    assert type(pruner.estimator_.module_) is nn.Linear
    assert pruner.sparsity_ >= 0.5


@pytest.mark.parametrize("name", PRUNERS)
def test_early_stopping_waits_for_the_gates(name, iris):
    net = mlp(
        max_epochs=10,
        train_split=ValidSplit(5),
        callbacks=[EarlyStopping(patience=1, threshold=10.0)],
    )
    pruner = make(name, net, sparsity=0.5, recovery_fraction=0.5).fit(*iris)
    assert 5 < len(pruner.pruning_history_) < 10
    assert pruner.sparsity_ >= 0.5


@pytest.mark.parametrize("recovery", [0.0, 0.5])
@pytest.mark.parametrize("name", PRUNERS)
def test_checkpoints_in_training_revive_nothing(name, recovery, iris, tmp_path):
    checkpoint = Checkpoint(
        dirname=tmp_path, monitor="valid_loss_best", load_best=True, f_pickle="net.pkl"
    )
    net = mlp(max_epochs=6, train_split=ValidSplit(5), callbacks=[checkpoint])
    pruner = make(name, net, sparsity=0.5, recovery_fraction=recovery).fit(*iris)
    assert pruner.sparsity_ >= 0.5
    assert is_plain(pruner.estimator_)


@pytest.mark.parametrize("name", PRUNERS)
def test_a_checkpoint_with_gates_may_be_loaded_after_they_are_folded(name, iris, tmp_path):
    checkpoint = Checkpoint(
        dirname=tmp_path, monitor=lambda net: len(net.history) == 2, load_best=True
    )
    net = mlp(max_epochs=6, callbacks=[checkpoint])
    pruner = make(name, net, sparsity=0.5, recovery_fraction=0.5).fit(*iris)
    assert pruner.sparsity_ >= 0.5
    layer = pruner.estimator_.module_.layers.hidden0
    assert not layer._load_state_dict_pre_hooks


def test_torchs_shortcut_past_the_gates_is_closed_only_while_they_are_in(iris):
    seen = []

    class Shortcut(Callback):
        def on_batch_end(self, net, **kwargs):
            seen.append(torch.backends.mha.get_fastpath_enabled())

    before = torch.backends.mha.get_fastpath_enabled()
    L0Pruner(mlp(callbacks=[Shortcut()]), sparsity=0.5).fit(*iris)
    assert not any(seen)
    assert torch.backends.mha.get_fastpath_enabled() is before


def test_a_computed_bias_is_refused_by_name(iris):
    class Computed(UserModule):
        def __init__(self):
            super().__init__()
            nn.utils.prune.random_unstructured(self.fc1, "bias", 0.3)

    with pytest.raises(ValueError, match="the bias of layer 'fc1' is no parameter"):
        L0Pruner(user_net(Computed), sparsity=0.5).fit(*iris)


@pytest.mark.parametrize("name", PRUNERS)
def test_sizes_may_be_set_where_training_begins(name, iris):
    class Resize(Callback):
        def on_train_begin(self, net, X, y=None, **kwargs):
            net.set_params(module__n_in=X.shape[1])

    net = user_net(module__n_in=9, callbacks=[Resize()])
    pruner = make(name, net, sparsity=0.5).fit(*iris)
    assert pruner.estimator_.module_.fc1.in_features == 4
    assert is_plain(pruner.estimator_)
    assert pruner.sparsity_ >= 0.5


def test_groups_of_weights_start_no_smaller_than_without_gates(iris):
    # Gallego-Posada 2022: weights are divided by 1 - p where the constraint is used
    plain = mlp(max_epochs=1, lr=1e-12).fit(*iris)
    pruner = L0Pruner(
        mlp(max_epochs=1, lr=1e-12), sparsity=0.01, gate_lr=1e-12, recovery_fraction=0
    ).fit(*iris)
    ours = pruner.estimator_.module_.layers.hidden1.weight.detach().numpy()
    theirs = plain.module_.layers.hidden1.weight.detach().numpy()
    # gates of log alpha near 0 are near one half at test time
    kept = ours != 0
    assert_allclose(ours[kept], theirs[kept], rtol=0.05)


def test_verbose_shows_a_bar_over_the_epochs(iris, capsys):
    L0Pruner(mlp(max_epochs=2), sparsity=0.5, verbose=1).fit(*iris)
    assert "2/2" in capsys.readouterr().err
