"""Learning-rate schedules in a run of training, pruning and fine-tuning."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint, LRScheduler
from torch.optim import lr_scheduler as torch_schedules

from skprune import L0Pruner, MagnitudePruner
from tests.conftest import user_net

EPOCHS = 6
STEPS = 5  # 150 rows of iris in batches of 32


def to_zero(epoch):
    return 1 - epoch / EPOCHS


class Squared(torch_schedules.LRScheduler):
    """A schedule of a user's own."""

    def get_lr(self):
        return [rate * to_zero(self.last_epoch) ** 2 for rate in self.base_lrs]


class Mine(LRScheduler):
    """A callback of a user's own that asks the net how long it trains."""

    def on_train_begin(self, net, **kwargs):
        self.lr_scheduler_ = torch_schedules.OneCycleLR(
            net.optimizer_, max_lr=0.1, total_steps=net.max_epochs
        )


class NotSkorchs(Callback):
    """One that has nothing to do with skorch's."""

    def on_train_begin(self, net, **kwargs):
        self.schedule = torch_schedules.LambdaLR(net.optimizer_, to_zero)

    def on_epoch_end(self, net, **kwargs):
        self.schedule.step()


class InAList(Callback):
    """One that keeps several."""

    def on_train_begin(self, net, **kwargs):
        self.schedules = [torch_schedules.LambdaLR(net.optimizer_, to_zero)]

    def on_epoch_end(self, net, **kwargs):
        for schedule in self.schedules:
            schedule.step()


class ByHand(Callback):
    """Sets the rate without a schedule of torch."""

    def on_epoch_begin(self, net, *args, **kwargs):
        net.optimizer_.param_groups[0]["lr"] = 0.05 * to_zero(len(net.history) - 1)


class SchedulesItself(NeuralNetClassifier):
    """A net that needs no callback."""

    def initialize_optimizer(self, *args, **kwargs):
        super().initialize_optimizer(*args, **kwargs)
        self.schedule_ = torch_schedules.LambdaLR(self.optimizer_, to_zero)
        return self

    def on_epoch_end(self, *args, **kwargs):
        super().on_epoch_end(*args, **kwargs)
        self.schedule_.step()


class LinearThenCosine(torch_schedules.SequentialLR):
    def __init__(self, optimizer, last_epoch=-1):
        up = torch_schedules.LinearLR(optimizer, total_iters=2)
        down = torch_schedules.CosineAnnealingLR(optimizer, T_max=EPOCHS - 2)
        super().__init__(optimizer, [up, down], milestones=[2])


torch_names = {  # skorch finds the names of its own module
    "OneCycleLR": torch_schedules.OneCycleLR,
    "PolynomialLR": torch_schedules.PolynomialLR,
}


def scheduler(policy, **params):
    return LRScheduler(torch_names.get(policy, policy), **params)


RUN_LONG = {
    "linear to zero": lambda: [scheduler("LambdaLR", lr_lambda=to_zero)],
    "named": lambda: [("rate", scheduler("LambdaLR", lr_lambda=to_zero))],
    "one cycle": lambda: [
        scheduler("OneCycleLR", step_every="batch", max_lr=0.1, total_steps=EPOCHS * STEPS)
    ],
    "one cycle by epochs": lambda: [
        scheduler(
            "OneCycleLR", step_every="batch", max_lr=0.1, epochs=EPOCHS, steps_per_epoch=STEPS
        )
    ],
    "polynomial": lambda: [scheduler("PolynomialLR", total_iters=EPOCHS, power=2)],
    "polynomial of one more": lambda: [scheduler("PolynomialLR", total_iters=EPOCHS + 1)],
    "cosine": lambda: [scheduler("CosineAnnealingLR", T_max=EPOCHS)],
    "cosine by batches": lambda: [
        scheduler("CosineAnnealingLR", T_max=EPOCHS * STEPS, step_every="batch")
    ],
    "one warm period": lambda: [scheduler(torch_schedules.CosineAnnealingWarmRestarts, T_0=EPOCHS)],
    "two warm periods": lambda: [
        scheduler(torch_schedules.CosineAnnealingWarmRestarts, T_0=2, T_mult=2)
    ],
    "schedule of one's own": lambda: [scheduler(Squared)],
    "callback of one's own": lambda: [Mine()],
    "callback that is not skorch's": lambda: [NotSkorchs()],
    "callback that keeps it in a list": lambda: [InAList()],
    "warm-up and cosine in one": lambda: [scheduler(LinearThenCosine)],
    "warm-up and cosine in two": lambda: [
        ("up", scheduler(torch_schedules.LinearLR, total_iters=2)),
        ("down", scheduler("CosineAnnealingLR", T_max=EPOCHS)),
    ],
}
ENDLESS = {
    "steps": lambda: [scheduler("StepLR", step_size=2)],
    "milestones": lambda: [scheduler("MultiStepLR", milestones=[2, 4])],
    "exponential": lambda: [scheduler("ExponentialLR", gamma=0.9)],
    "plateau": lambda: [scheduler("ReduceLROnPlateau", patience=0)],
    "short cosine": lambda: [scheduler("CosineAnnealingLR", T_max=2)],
    "cosine for both": lambda: [scheduler("CosineAnnealingLR", T_max=2 * EPOCHS)],
    "warm periods": lambda: [scheduler(torch_schedules.CosineAnnealingWarmRestarts, T_0=4)],
    "skorch's default": lambda: [LRScheduler()],
}


class Watch(Callback):
    """Notes each batch's rate and momentum, and each epoch's weights."""

    def initialize(self):
        self.seen_ = []
        self.weights_ = []
        return self

    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            group = net.optimizer_.param_groups[0]
            self.seen_.append((group["lr"], group["momentum"]))

    def on_epoch_end(self, net, **kwargs):
        self.weights_.append(net.module_.fc1.weight.detach().numpy().copy())


def net_with(callbacks, **params):
    return user_net(max_epochs=EPOCHS, callbacks=[*callbacks, ("watch", Watch())], **params)


def watched(net):
    return dict(net.callbacks_)["watch"]


def plain_net(callbacks, iris, **params):
    torch.manual_seed(0)
    return net_with(callbacks, **params).fit(*iris)


@pytest.fixture
def iris_in_batches(iris):
    assert -(-len(iris[0]) // 32) == STEPS
    return iris


@pytest.mark.parametrize("kind", RUN_LONG)
@pytest.mark.parametrize("schedule", ["one_shot", "iterative"])
@pytest.mark.usefixtures("warnings_are_errors")
def test_schedule_of_the_runs_length_starts_anew(kind, schedule, iris_in_batches):
    plain = watched(plain_net(RUN_LONG[kind](), iris_in_batches))
    net = net_with(RUN_LONG[kind]())
    pruner = MagnitudePruner(net, sparsity=0.5, schedule=schedule, random_state=0)
    run = watched(pruner.fit(*iris_in_batches).estimator_)
    n = EPOCHS * STEPS
    assert run.seen_[:n] == plain.seen_
    for ours, theirs in zip(run.weights_[: EPOCHS - 1], plain.weights_[:-1], strict=True):
        assert_array_equal(ours, theirs)
    assert_allclose(run.seen_[n:], plain.seen_, rtol=1e-12)
    history = pruner.pruning_history_
    assert [epoch["lr"] for epoch in history] == [rate for rate, _ in run.seen_[::STEPS]]
    assert [epoch["epoch"] for epoch in history if epoch["lr_restarted"]] == [EPOCHS + 1]


@pytest.mark.parametrize("kind", ENDLESS)
def test_any_other_schedule_goes_on(kind, iris):
    torch.manual_seed(0)
    plain = net_with(ENDLESS[kind]()).set_params(max_epochs=2 * EPOCHS).fit(*iris)
    # sparsity 0, as a plateau depends on the losses
    pruner = MagnitudePruner(net_with(ENDLESS[kind]()), sparsity=0, random_state=0).fit(*iris)
    assert watched(pruner.estimator_).seen_ == watched(plain).seen_
    assert not any(epoch["lr_restarted"] for epoch in pruner.pruning_history_)


@pytest.mark.parametrize(("more", "taken"), [(3, [0, 2, 4]), (9, [0, 0, 1, 2, 2, 3, 4, 4, 5])])
def test_fine_tuning_of_another_length_runs_through_the_whole_schedule(more, taken, iris):
    net = net_with([scheduler("LambdaLR", lr_lambda=to_zero)])
    pruner = MagnitudePruner(net, sparsity=0.5, finetune_epochs=more, random_state=0).fit(*iris)
    rates = [epoch["lr"] for epoch in pruner.pruning_history_]
    assert_allclose(rates, [0.05 * to_zero(e) for e in [*range(EPOCHS), *taken]])
    callback = dict(pruner.estimator_.callbacks_)["LRScheduler"]
    assert type(callback.lr_scheduler_) is torch_schedules.LambdaLR
    assert callback.lr_scheduler_.last_epoch == EPOCHS


def test_one_cycle_of_another_length_never_runs_past_its_end(iris):
    for more in (1, 4, 7, 13):
        net = net_with(RUN_LONG["one cycle"]())
        pruner = MagnitudePruner(net, sparsity=0.5, finetune_epochs=more, random_state=0)
        rates = np.array(watched(pruner.fit(*iris).estimator_).seen_)[EPOCHS * STEPS :]
        assert len(rates) == more * STEPS
        assert rates[0, 0] == pytest.approx(0.1 / 25)
        assert rates[:, 0].max() > 0.09
        assert rates[-1, 0] < 0.02


def test_without_fine_tuning_nothing_starts_anew(iris):
    plain = plain_net(RUN_LONG["linear to zero"](), iris)
    net = net_with(RUN_LONG["linear to zero"]())
    pruner = MagnitudePruner(net, sparsity=0.5, finetune_epochs=0, random_state=0).fit(*iris)
    groups = [each.optimizer_.param_groups[0]["lr"] for each in (plain, pruner.estimator_)]
    assert groups == [0, 0]
    assert not any(epoch["lr_restarted"] for epoch in pruner.pruning_history_)


@pytest.mark.parametrize("pruner", [MagnitudePruner, L0Pruner])
def test_fine_tuning_behind_gradual_and_learned_pruning(pruner, iris):
    more = {"schedule": "cubic"} if pruner is MagnitudePruner else {}
    net = net_with(RUN_LONG["linear to zero"]())
    fitted = pruner(net, sparsity=0.5, finetune_epochs=EPOCHS, random_state=0, **more).fit(*iris)
    rates = [epoch["lr"] for epoch in fitted.pruning_history_]
    assert_allclose(rates, 2 * [0.05 * to_zero(epoch) for epoch in range(EPOCHS)])


@pytest.mark.parametrize("kind", RUN_LONG)
def test_frozen_nets_schedule_starts_anew(kind, iris):
    plain = plain_net(RUN_LONG[kind](), iris)
    n_seen = EPOCHS * STEPS
    pruner = MagnitudePruner(FrozenEstimator(plain), sparsity=0.5, finetune_epochs=EPOCHS)
    fitted = pruner.fit(*iris).estimator_
    assert_allclose(watched(fitted).seen_[-n_seen:], watched(plain).seen_[:n_seen], rtol=1e-12)
    assert len(fitted.history) == 2 * EPOCHS
    restarted = [epoch["lr_restarted"] for epoch in pruner.pruning_history_]
    assert restarted == [True] + [False] * (EPOCHS - 1)


def test_frozen_net_with_an_endless_schedule_goes_on(iris):
    plain = plain_net(ENDLESS["exponential"](), iris)
    pruner = MagnitudePruner(FrozenEstimator(plain), sparsity=0.5, finetune_epochs=2).fit(*iris)
    assert_allclose([e["lr"] for e in pruner.pruning_history_], [0.05 * 0.9**6, 0.05 * 0.9**7])


def test_net_may_be_pickled_in_its_fine_tuning(iris, tmp_path):
    checkpoint = Checkpoint(dirname=str(tmp_path), monitor=None, f_pickle="net.pkl")
    net = net_with([*RUN_LONG["linear to zero"](), checkpoint])
    MagnitudePruner(net, sparsity=0.5, finetune_epochs=3).fit(*iris)
    assert pickle.loads((tmp_path / "net.pkl").read_bytes()).predict(iris[0]).shape == (150,)


def test_rate_of_a_net_without_schedules_is_told(iris):
    pruner = MagnitudePruner(user_net(), sparsity=0.5).fit(*iris)
    assert [epoch["lr"] for epoch in pruner.pruning_history_] == [0.05] * 6


@pytest.mark.parametrize("more", [3, EPOCHS])
def test_schedule_that_the_net_itself_holds_starts_anew(more, iris):
    parameters = net_with([]).get_params(deep=False)
    parameters = {k: v for k, v in parameters.items() if not k.startswith("_")}
    net = SchedulesItself(**parameters | {"optimizer__momentum": 0.9})
    pruner = MagnitudePruner(net, sparsity=0.5, finetune_epochs=more, random_state=0).fit(*iris)
    again = [to_zero(epoch * EPOCHS // more) for epoch in range(more)]
    expected = [*map(to_zero, range(EPOCHS)), *again]
    assert_allclose([e["lr"] for e in pruner.pruning_history_], 0.05 * np.array(expected))
    assert type(pruner.estimator_.schedule_) is torch_schedules.LambdaLR


def test_negative_rate_is_told(iris):
    with pytest.warns(UserWarning, match="learning rate is -"):
        MagnitudePruner(net_with([ByHand()]), sparsity=0.5, finetune_epochs=2).fit(*iris)


def test_the_jump_that_pruning_brings_is_no_plateau(iris):
    waiting = LRScheduler(
        policy=torch_schedules.ReduceLROnPlateau, monitor="train_loss", patience=2, factor=0.1
    )
    net = user_net(callbacks=[waiting], max_epochs=12, lr=0.05)
    pruner = MagnitudePruner(net, sparsity=0.8, allocation="uniform", random_state=0).fit(*iris)
    losses = [entry["train_loss"] for entry in pruner.pruning_history_]
    rates = [entry["lr"] for entry in pruner.pruning_history_]
    assert min(losses[12:15]) > min(losses[:12])  # the sparse net is worse at first
    assert losses[13] < losses[12]  # and gets better
    assert rates[12:17] == rates[12:13] * 5
