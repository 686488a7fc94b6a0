"""The life of a net inside fit: what training, callbacks and pruning do to each other."""

import re
from math import ceil

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from skorch import NeuralNet
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, LRScheduler
from skorch.dataset import ValidSplit
from torch import nn
from torch.nn.utils import parametrize

from skprune import MagnitudePruner, MLPNetClassifier, MLPNetRegressor
from skprune.masks import Cubic, Iterative
from skprune.nets.layers import measured_sparsity, prunable_layers, sparse_weights
from tests.conftest import UserModule, user_net

SGD = {
    "optimizer": torch.optim.SGD,
    "optimizer__momentum": 0.9,
    "optimizer__nesterov": True,
    "optimizer__weight_decay": 0.01,
    "lr": 0.05,
}
ADAM = {"optimizer": torch.optim.Adam, "optimizer__weight_decay": 0.01, "lr": 0.02}
ADAMW = {"optimizer": torch.optim.AdamW, "optimizer__amsgrad": True, "lr": 0.02}
OPTIMIZERS = {"nesterov": SGD, "adam": ADAM, "adamw": ADAMW}
SCHEDULES = ["one_shot", "iterative", "cubic"]


def mlp(hidden=(10,), **params):
    defaults = {"lr": 0.02, "max_epochs": 3, "batch_size": 50, "random_state": 0}
    return MLPNetClassifier(hidden, **(defaults | params))


def state(net):
    return {name: value.numpy().copy() for name, value in net.module_.state_dict().items()}


def assert_same_state(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert_array_equal(ours[name], theirs[name], err_msg=name)


def weights(net):
    """Name the weights that are pruned, as numpy arrays."""
    return {name: layer.weight.detach().numpy() for name, layer in prunable_layers(net).items()}


class Probe(Callback):
    """Copies the weights where each epoch ends, before the pruner's own callback sees them."""

    def initialize(self):
        self.epochs = []
        return self

    def on_epoch_end(self, net, **kwargs):
        self.epochs.append({name: value.copy() for name, value in weights(net).items()})


# --- zeros stay zeros ---------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", ["one_shot", "iterative"])
def test_pruned_weights_stay_zero_while_others_move(optimizer, schedule, iris):
    probe = Probe()
    net = user_net(max_epochs=2, callbacks=[probe], **OPTIMIZERS[optimizer])
    pruner = MagnitudePruner(
        net, sparsity=0.6, schedule=schedule, finetune_epochs=4, random_state=0
    ).fit(*iris)
    probe = dict(pruner.estimator_.callbacks_)["Probe"]
    assert len(probe.epochs) == 6
    for name, final in weights(pruner.estimator_).items():
        just_pruned = probe.epochs[1][name]
        assert (just_pruned == 0).any()
        assert not final[just_pruned == 0].any()
        assert (final[final != 0] != just_pruned[final != 0]).all()
    assert pruner.sparsity_ == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_target_is_met_exactly_from_above(schedule, optimizer, iris):
    net = user_net(**OPTIMIZERS[optimizer])
    pruner = MagnitudePruner(net, sparsity=0.613, schedule=schedule).fit(*iris)
    size = 4 * 12 + 12 * 3
    assert pruner.sparsity_ == ceil(0.613 * size) / size
    assert pruner.sparsity_ == measured_sparsity(pruner.estimator_)


class MomentumProbe(Callback):
    """Looks at the optimizer's state when the first mask has closed."""

    def on_epoch_end(self, net, **kwargs):
        weight = net.module_.fc1.weight
        closed = weight == 0
        if not hasattr(self, "closed_") and closed.any():
            states = net.optimizer_.state[weight].values()
            like = [s for s in states if torch.is_tensor(s) and s.shape == weight.shape]
            self.closed_ = [s[closed].abs().max().item() for s in like]
            self.open_ = [s[~closed].abs().min().item() for s in like]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer_forgets_pruned_weights_when_the_mask_closes(optimizer, iris):
    net = user_net(callbacks=[MomentumProbe()], **OPTIMIZERS[optimizer])
    pruner = MagnitudePruner(net, sparsity=0.7, random_state=0).fit(*iris)
    probe = dict(pruner.estimator_.callbacks_)["MomentumProbe"]
    assert len(probe.closed_) >= 1
    assert max(probe.closed_) == 0
    assert min(probe.open_) > 0


def test_unit_that_lost_all_its_weights_is_no_problem(iris):
    pruner = MagnitudePruner(mlp(), sparsity=1.0).fit(*iris)
    assert pruner.sparsity_ == 1
    assert not any(w.any() for w in weights(pruner.estimator_).values())
    proba = pruner.predict_proba(iris[0])
    assert_allclose(proba, np.tile(proba[0], (150, 1)))  # the biases alone speak


# --- sparsity 0 is the plain net ----------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "finetune", "epochs"),
    [("one_shot", None, 6), ("one_shot", 1, 4), ("iterative", 2, 5), ("cubic", None, 3)],
)
@pytest.mark.parametrize("split", [None, ValidSplit(5)], ids=["all rows", "train_split"])
def test_sparsity_zero_is_the_shipped_net_to_the_bit(schedule, finetune, epochs, split, iris):
    params = {"dropout": 0.3, "batch_norm": True, "train_split": split}
    plain = mlp(**params, max_epochs=epochs, random_state=5).fit(*iris)
    pruner = MagnitudePruner(
        mlp(**params),
        sparsity=0,
        schedule=schedule,
        finetune_epochs=finetune,
        random_state=5,
    ).fit(*iris)
    assert_same_state(state(pruner.estimator_), state(plain))
    assert pruner.sparsity_ == 0
    assert_allclose(pruner.predict_proba(iris[0]), plain.predict_proba(iris[0]), atol=1e-6)


@pytest.mark.parametrize(("schedule", "epochs"), [("one_shot", 6), ("cubic", 3)])
@pytest.mark.parametrize("split", [None, ValidSplit(5)], ids=["all rows", "train_split"])
def test_sparsity_zero_is_a_users_net_to_the_bit(schedule, epochs, split, iris):
    torch.manual_seed(9)
    plain = user_net(train_split=split, max_epochs=epochs).fit(*iris)
    net = user_net(train_split=split)
    pruner = MagnitudePruner(net, sparsity=0, schedule=schedule, random_state=9).fit(*iris)
    assert_same_state(state(pruner.estimator_), state(plain))
    assert pruner.estimator_.history[:, "train_loss"] == plain.history[:, "train_loss"]


# --- which weights go ---------------------------------------------------------------------


def test_global_allocation_keeps_the_largest_of_the_trained_net(iris):
    net = mlp((8, 6))
    pruner = MagnitudePruner(net, sparsity=0.7, finetune_epochs=0, random_state=0).fit(*iris)
    dense = weights(mlp((8, 6)).fit(*iris))
    pooled = np.sort(np.abs(np.concatenate([w.ravel() for w in dense.values()])))
    threshold = pooled[ceil(0.7 * pooled.size)]
    assert pruner.estimator_.max_epochs == len(pruner.estimator_.history) == 3
    for name, pruned in weights(pruner.estimator_).items():
        assert_array_equal(pruned, np.where(np.abs(dense[name]) >= threshold, dense[name], 0))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_uniform_allocation_takes_the_same_share_of_each_layer(schedule, iris):
    net = mlp((8, 6))
    pruner = MagnitudePruner(net, sparsity=0.7, schedule=schedule, allocation="uniform")
    pruner.fit(*iris)
    for weight in weights(pruner.estimator_).values():
        assert np.count_nonzero(weight == 0) == ceil(0.7 * weight.size)


def test_only_the_named_layers_are_pruned_and_counted(iris):
    pruner = MagnitudePruner(mlp((8, 6)), sparsity=0.75, layers=["layers.hidden1"]).fit(*iris)
    pruned = weights(pruner.estimator_)
    assert np.count_nonzero(pruned["layers.hidden1"]) == 12
    assert pruned["layers.hidden0"].all()
    assert pruned["layers.output"].all()
    assert pruner.sparsity_ == 0.75
    assert list(pruner.sparse_weights_) == ["layers.hidden1.weight"]


@pytest.mark.parametrize("layers", [["fc3"], ["fc1", "norm"], []])
def test_layers_that_do_not_exist_are_named_before_training(layers, iris):
    class Count(Callback):
        epochs = 0

        def on_epoch_begin(self, net, **kwargs):
            Count.epochs += 1

    net = user_net(callbacks=[Count()])
    with pytest.raises(ValueError, match=rf"layers={re.escape(repr(layers))}.*'fc1', 'fc2'"):
        MagnitudePruner(net, layers=layers).fit(*iris)
    assert Count.epochs == 0


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.last = nn.Linear(4, 3)

    def forward(self, X):
        return self.last(torch.relu(self.second(torch.relu(self.first(X)))))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_tied_weights_count_once_and_stay_tied(schedule, iris):
    net = user_net(Tied)
    pruner = MagnitudePruner(net, sparsity=0.5, schedule=schedule, random_state=0).fit(*iris)
    module = pruner.estimator_.module_
    assert module.second.weight is module.first.weight
    assert list(pruner.sparse_weights_) == ["first.weight", "last.weight"]
    zeros = [int((w.weight == 0).sum()) for w in (module.first, module.last)]
    assert sum(zeros) == 14  # half of 16 + 12
    assert_array_equal(pruner.predict(iris[0]), pruner.estimator_.predict(iris[0]))


class NothingToPrune(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, X):
        return X[:, :3] * self.scale


def test_net_without_linear_or_conv_is_refused(iris):
    with pytest.raises(ValueError, match=r"no Linear or Conv layer.*NothingToPrune"):
        MagnitudePruner(user_net(NothingToPrune)).fit(*iris)


def test_biases_and_norms_are_not_pruned(iris):
    pruner = MagnitudePruner(user_net(), sparsity=0.9, random_state=0).fit(*iris)
    others = {name: v for name, v in state(pruner.estimator_).items() if "fc" not in name}
    assert others["norm.weight"].all()
    assert state(pruner.estimator_)["fc1.bias"].all()
    assert list(pruner.sparse_weights_) == ["fc1.weight", "fc2.weight"]


# --- when they go -------------------------------------------------------------------------


def curve(pruner):
    return [epoch["sparsity"] for epoch in pruner.pruning_history_]


def test_one_shot_prunes_when_the_nets_own_epochs_are_over(iris):
    pruner = MagnitudePruner(mlp((25,)), sparsity=0.8, finetune_epochs=2).fit(*iris)
    assert curve(pruner) == [0, 0, 0.8, 0.8, 0.8]
    assert [epoch["epoch"] for epoch in pruner.pruning_history_] == [1, 2, 3, 4, 5]


def test_iterative_densities_fall_geometrically(iris):
    net = mlp((100,), max_epochs=1)
    pruner = MagnitudePruner(net, sparsity=0.9, schedule=Iterative(3), finetune_epochs=3)
    density = 1 - np.array(curve(pruner.fit(*iris)))
    # 700 weights, rounded down to whole ones
    assert_allclose(density, [0.1 ** (1 / 3), 0.1 ** (2 / 3), 0.1, 0.1], atol=1 / 700)


def test_cubic_prunes_within_epochs_as_the_formula_says(iris):
    net = mlp((100,), max_epochs=10, batch_size=15)
    pruner = MagnitudePruner(net, sparsity=0.9, schedule=Cubic(end=0.5, n_steps=50)).fit(*iris)
    expected = 0.9 - 0.9 * (1 - np.minimum(np.arange(1, 11) / 5, 1)) ** 3
    assert_allclose(curve(pruner), expected, atol=1 / 700)


class BatchProbe(Callback):
    def initialize(self):
        self.zeros = []
        return self

    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            self.zeros.append(measured_sparsity(net))


def test_cubic_moves_from_batch_to_batch(iris):
    net = mlp((100,), max_epochs=2, batch_size=15, callbacks=[BatchProbe()])
    schedule = Cubic(begin=0.0, end=1.0, n_steps=20)
    pruner = MagnitudePruner(net, sparsity=0.9, schedule=schedule).fit(*iris)
    seen = dict(pruner.estimator_.callbacks_)["BatchProbe"].zeros
    expected = 0.9 - 0.9 * (1 - np.arange(20) / 20) ** 3
    assert_allclose(seen, expected, atol=1 / 700)


class Halves:
    """A schedule of a user's own: half of the target at half time."""

    trains_first = False

    def sparsity_at(self, epoch, target, start, stop):
        return target if epoch >= stop else target / 2 if epoch >= (start + stop) / 2 else 0.0


def test_schedule_may_be_an_object_of_the_users_own(iris):
    net = mlp((100,), max_epochs=4)
    pruner = MagnitudePruner(net, sparsity=0.8, schedule=Halves()).fit(*iris)
    assert curve(pruner) == [0, 0.4, 0.4, 0.8]


def test_history_holds_the_losses_of_the_net(iris):
    net = mlp(train_split=ValidSplit(5))
    pruner = MagnitudePruner(net, schedule="cubic").fit(*iris)
    history = pruner.estimator_.history
    for key in ("train_loss", "valid_loss"):
        assert [epoch[key] for epoch in pruner.pruning_history_] == history[:, key]


# --- nothing stays behind -----------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_estimator_is_a_plain_net_of_the_users_own(schedule, iris):
    mine = BatchProbe()
    net = user_net(callbacks=[("mine", mine)])
    fitted = MagnitudePruner(net, schedule=schedule, finetune_epochs=1).fit(*iris).estimator_
    plain = user_net(callbacks=[("mine", BatchProbe())]).fit(*iris)

    assert type(fitted) is type(plain)
    assert type(fitted.module_) is UserModule
    assert {k: v.shape for k, v in state(fitted).items()} == {
        k: v.shape for k, v in state(plain).items()
    }
    for module in fitted.module_.modules():
        assert not parametrize.is_parametrized(module)
        assert not any(hooks for name, hooks in vars(module).items() if name.endswith("_hooks"))
    assert fitted.max_epochs == plain.max_epochs
    assert [name for name, _ in fitted.callbacks] == ["mine"]
    assert [(name, type(cb)) for name, cb in fitted.callbacks_] == [
        (name, type(cb)) for name, cb in plain.callbacks_
    ]
    assert fitted.get_params().keys() == plain.get_params().keys()


def test_estimator_trains_on_as_any_net(iris):
    pruner = MagnitudePruner(user_net(), sparsity=0.8).fit(*iris)
    n_epochs = len(pruner.estimator_.history)
    pruner.estimator_.partial_fit(*iris)
    assert len(pruner.estimator_.history) == n_epochs + 3
    assert measured_sparsity(pruner.estimator_) < 0.4  # nothing holds the zeros any more


# --- the user's callbacks -----------------------------------------------------------------

STOP = {"monitor": "train_loss", "patience": 2, "threshold": 1e9, "sink": lambda text: None}


def test_early_stopping_waits_for_the_target(iris):
    stopped = mlp((100,), max_epochs=20, callbacks=[EarlyStopping(**STOP)])
    assert len(stopped.fit(*iris).history) == 3
    schedule = Cubic(end=0.5)
    pruner = MagnitudePruner(stopped, sparsity=0.8, schedule=schedule, random_state=0).fit(*iris)
    # the schedule ends with epoch 10; two epochs without progress follow that one or the next
    assert len(pruner.estimator_.history) in (12, 13)
    assert pruner.sparsity_ == 0.8


class StopsAt(Callback):
    """Ends training as skorch's callbacks do."""

    def __init__(self, method, epoch):
        self.method = method
        self.epoch = epoch

    def initialize(self):
        setattr(self, self.method, self.stop)
        return self

    def stop(self, net, **kwargs):
        if len(net.history) >= self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("method", ["on_batch_begin", "on_batch_end", "on_epoch_begin"])
def test_interrupted_training_still_reaches_the_target(schedule, method, iris):
    net = mlp((100,), callbacks=[StopsAt(method, 2)])
    pruner = MagnitudePruner(net, sparsity=0.8, schedule=schedule).fit(*iris)
    assert len(pruner.pruning_history_) == 1
    assert pruner.sparsity_ == 0.8


# of 3 epochs and 3 more; the last round of iterative begins at 5.4, cubic ends at 2.1
@pytest.mark.parametrize(("schedule", "epoch"), [("one_shot", 3), ("iterative", 6), ("cubic", 3)])
def test_callback_ends_training_in_the_epoch_of_the_target_not_before(schedule, epoch, iris):
    net = mlp((100,), callbacks=[StopsAt("on_epoch_end", 1)])
    pruner = MagnitudePruner(net, sparsity=0.8, schedule=schedule).fit(*iris)
    assert len(pruner.pruning_history_) == len(pruner.estimator_.history) == epoch
    assert curve(pruner)[-1] == pruner.sparsity_ == 0.8


class BestProbe(Callback):
    """Copies loss and weights where an epoch ends, behind a Checkpoint in the list."""

    def initialize(self):
        self.epochs = []
        return self

    def on_epoch_end(self, net, dataset_valid=None, **kwargs):
        key = "valid_loss" if "valid_loss" in net.history[-1] else "train_loss"
        self.epochs.append((net.history[-1, key], state(net)))


@pytest.mark.parametrize("split", [None, ValidSplit(5)], ids=["train_loss", "valid_loss"])
def test_checkpoint_brings_back_the_best_of_the_sparse_epochs(split, iris, tmp_path):
    monitor = "train_loss_best" if split is None else "valid_loss_best"
    checkpoint = Checkpoint(monitor=monitor, dirname=str(tmp_path), load_best=True)
    net = user_net(lr=0.3, train_split=split, max_epochs=8, callbacks=[BestProbe(), checkpoint])
    pruner = MagnitudePruner(net, sparsity=0.9, finetune_epochs=6, random_state=0).fit(*iris)
    assert pruner.sparsity_ >= 0.9
    probe = dict(pruner.estimator_.callbacks_)["BestProbe"]
    assert min(loss for loss, _ in probe.epochs[:8]) < min(loss for loss, _ in probe.epochs[8:])
    # epoch 8 ends with a net just pruned, whose train_loss is still that of the dense one
    sparse = probe.epochs[8 if split is None else 7 :]
    _, best = min(sparse, key=lambda epoch: epoch[0])
    assert_same_state(state(pruner.estimator_), best)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_checkpoint_of_the_dense_net_revives_no_zeros(schedule, iris, tmp_path):
    first_epoch = Checkpoint(
        monitor=lambda net: len(net.history) == 1, dirname=str(tmp_path), load_best=True
    )
    net = user_net(callbacks=[first_epoch])
    pruner = MagnitudePruner(net, sparsity=0.5, schedule=schedule).fit(*iris)
    assert pruner.sparsity_ == measured_sparsity(pruner.estimator_) == 0.5


def test_checkpoint_may_pickle_the_whole_net_in_training(iris, tmp_path):
    checkpoint = Checkpoint(dirname=str(tmp_path), monitor=None, f_pickle="net.pkl")
    pruner = MagnitudePruner(user_net(callbacks=[checkpoint]), verbose=1).fit(*iris)
    assert (tmp_path / "net.pkl").stat().st_size > 0
    assert pruner.sparsity_ >= 0.9


class Counter(Callback):
    METHODS = (
        "on_train_begin",
        "on_train_end",
        "on_epoch_begin",
        "on_epoch_end",
        "on_batch_begin",
        "on_batch_end",
        "on_grad_computed",
    )

    def initialize(self):
        self.counts = dict.fromkeys(self.METHODS, 0)
        return self


def _counted(name):
    def method(self, net, **kwargs):
        self.counts[name] += 1

    return method


for _name in Counter.METHODS:
    setattr(Counter, _name, _counted(_name))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_method_of_a_users_callback_is_called(schedule, iris):
    net = user_net(callbacks=[Counter()], batch_size=75)
    pruner = MagnitudePruner(net, schedule=schedule, finetune_epochs=2).fit(*iris)
    counts = dict(pruner.estimator_.callbacks_)["Counter"].counts
    once = ["on_train_begin", "on_train_end"]
    per_epoch = ["on_epoch_begin", "on_epoch_end"]
    epochs = 5
    assert counts == {
        name: 1 if name in once else epochs if name in per_epoch else 2 * epochs
        for name in Counter.METHODS
    }


def test_learning_rate_schedulers_run(iris):
    scheduler = LRScheduler(policy="StepLR", step_size=1, gamma=0.5, event_name="lr")
    pruner = MagnitudePruner(user_net(callbacks=[scheduler], lr=0.8)).fit(*iris)
    expected = 0.8 * 0.5 ** np.arange(6)
    assert_allclose(pruner.estimator_.history[:, "lr"], expected)
    assert pruner.estimator_.optimizer_.param_groups[0]["lr"] == pytest.approx(0.8 / 2**6)


class InputShapeSetter(Callback):
    """As in skorch's documentation: the module is made anew where training begins."""

    def on_train_begin(self, net, X, y, **kwargs):
        net.set_params(module__n_in=X.shape[-1])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_sizes_may_be_set_where_training_begins(schedule, iris):
    net = user_net(module__n_in=99, callbacks=[InputShapeSetter()])
    pruner = MagnitudePruner(net, sparsity=0.5, schedule=schedule, random_state=0).fit(*iris)
    assert pruner.estimator_.module_.fc1.weight.shape == (12, 4)
    assert pruner.sparsity_ == 0.5
    assert pruner.predict(iris[0]).shape == (150,)


def test_train_split_of_the_net_is_kept(iris):
    pruner = MagnitudePruner(user_net(train_split=ValidSplit(5)), schedule="cubic").fit(*iris)
    history = pruner.estimator_.history
    assert len(history) == 3
    assert np.isfinite(history[:, "valid_loss"]).all()
    assert all(0 <= acc <= 1 for acc in history[:, "valid_acc"])
    # 120 rows of 32 in training, 30 in validation
    assert history[0, "batches", :, "train_batch_size"] == [32, 32, 32, 24]


class Scaled(UserModule):
    """A module whose forward takes something of its own; it remembers all that it got."""

    def __init__(self):
        super().__init__()
        self.scales = []

    def forward(self, X, scale=1.0):
        self.scales.append(scale)
        return super().forward(X) * scale


@pytest.mark.filterwarnings("ignore:predict runs the pruned net in torch")
def test_fit_parameters_reach_the_module(iris):
    net = user_net(Scaled, batch_size=-1)
    pruner = MagnitudePruner(net, schedule="cubic").fit(*iris, scale=2.0)
    assert pruner.estimator_.module_.scales[:3] == [2.0, 2.0, 2.0]  # an epoch is one batch


# --- losses, optimizers and kinds of nets of the user's own -------------------------------


def test_diverged_training_names_the_layer_and_what_to_do(diabetes):
    net = MLPNetRegressor((8,), optimizer=torch.optim.SGD, lr=1e20, max_epochs=3)
    with pytest.raises(ValueError, match=r"'layers\.\w+' hold NaN or infinity.*lr"):
        MagnitudePruner(net).fit(*diabetes)


def test_lbfgs_trains_with_its_closures(iris):
    net = mlp(optimizer=torch.optim.LBFGS, lr=0.3, batch_size=-1)
    pruner = MagnitudePruner(net, sparsity=0.5).fit(*iris)
    assert pruner.sparsity_ == 0.5
    assert pruner.score(*iris) > 0.8


class L1Net(NeuralNet):
    """A net with a loss of its own."""

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        penalty = sum(p.abs().sum() for p in self.module_.parameters())
        return super().get_loss(y_pred, y_true, *args, **kwargs) + 0.01 * penalty


def test_any_net_with_a_loss_of_its_own(diabetes):
    X, y = diabetes
    net = L1Net(
        UserModule,
        module__n_in=10,
        module__n_out=1,
        criterion=nn.MSELoss,
        max_epochs=3,
        train_split=None,
        verbose=0,
    )
    pruner = MagnitudePruner(net, sparsity=0.5, random_state=0).fit(X, y[:, None])
    assert type(pruner.estimator_) is L1Net
    assert pruner.sparsity_ == 0.5
    assert_allclose(pruner.predict(X), pruner.estimator_.predict(X), atol=1e-5)


def test_sparse_weights_are_copies(iris):
    pruner = MagnitudePruner(mlp(), sparsity=0.5).fit(*iris)
    taken = sparse_weights(pruner.estimator_)["layers.output.weight"]
    assert_array_equal(taken.toarray(), weights(pruner.estimator_)["layers.output"])
    taken.data[:] = 77
    assert not (weights(pruner.estimator_)["layers.output"] == 77).any()


# --- what is printed ----------------------------------------------------------------------


def test_verbose_shows_a_bar_over_the_epochs(iris, capsys):
    MagnitudePruner(mlp(), verbose=1).fit(*iris)
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert "epoch" in shown
    assert "sparsity=0.9" in shown


def test_quiet_by_default(iris, capsys):
    MagnitudePruner(mlp()).fit(*iris).predict(iris[0])
    assert capsys.readouterr() == ("", "")


def test_disabled_callbacks_stay_disabled(iris):
    pruner = MagnitudePruner(mlp(callbacks="disable"), sparsity=0.5).fit(*iris)
    assert pruner.sparsity_ >= 0.5
    assert pruner.estimator_.callbacks == "disable"
    assert pruner.estimator_.callbacks_ == []
    assert "get_default_callbacks" not in vars(pruner.estimator_)


def test_computed_weights_are_refused_by_name(iris):
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.utils.parametrizations.weight_norm(nn.Linear(4, 8))
            self.fc2 = nn.Linear(8, 3)

        def forward(self, X):
            return self.fc2(torch.relu(self.fc1(X)))

    net = user_net(Normed, max_epochs=1)
    with pytest.raises(ValueError, match=r"\['fc1'\] are no parameters"):
        MagnitudePruner(net).fit(*iris)
    assert MagnitudePruner(net, layers=["fc2"], sparsity=0.5).fit(*iris).sparsity_ == 0.5


def test_loss_that_is_no_number_is_refused(iris):
    # NLLLoss takes the logarithm of what is said to be a probability and is a logit
    net = mlp(criterion=nn.NLLLoss, lr=0.1, max_epochs=20)
    with pytest.raises(ValueError, match="train_loss is nan"):
        MagnitudePruner(net, sparsity=0.5, random_state=0).fit(*iris)


def test_layer_left_without_weights_is_told(iris):
    net = user_net(max_epochs=1)
    with pytest.warns(UserWarning, match="leaves no weight in"):
        MagnitudePruner(net, sparsity=0.99).fit(*iris)
