"""Ctrl-C in a pruner's fit, and callbacks that end training by the same exception."""

import signal
import threading
from contextlib import suppress

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from skorch.dataset import Dataset, ValidSplit
from torch import nn

from skprune import L0Pruner, MagnitudePruner, MLPNetClassifier
from tests.conftest import UserModule, user_net

FIT = ("estimator_", "classes_", "n_features_in_", "sparsity_", "pruning_history_")


def by_signal():
    signal.raise_signal(signal.SIGINT)


def by_exception():
    raise KeyboardInterrupt


WAYS = pytest.mark.parametrize("interrupt", [by_signal, by_exception], ids=["signal", "exception"])


class Countdown:
    """Calls something the n-th time that it is reached."""

    def __init__(self, interrupt, n=8):
        self.interrupt = interrupt
        self.n = n

    def __call__(self):
        self.n -= 1
        if self.n == 0:
            self.interrupt()


class InForward(UserModule):
    def __init__(self, reached):
        super().__init__()
        self.reached = reached

    def forward(self, X):
        self.reached()
        return super().forward(X)


class InLoss(nn.CrossEntropyLoss):
    def __init__(self, reached):
        super().__init__()
        self.reached = reached

    def forward(self, *args):
        self.reached()
        return super().forward(*args)


class InOptimizer(torch.optim.SGD):
    def __init__(self, params, reached, **kwargs):
        super().__init__(params, **kwargs)
        self.reached = reached

    def step(self, closure=None):
        self.reached()
        return super().step(closure)


class InDataset(Dataset):
    def __init__(self, X, y, reached, length=None):
        super().__init__(X, y, length=length)
        self.reached = reached

    def __getitem__(self, i):
        self.reached()
        return super().__getitem__(i)


def interrupted_net(place, interrupt, **params):
    reached = Countdown(interrupt)
    given = {
        "forward": {"module": InForward, "module__reached": reached},
        "loss": {"criterion": InLoss, "criterion__reached": reached},
        "optimizer": {"optimizer": InOptimizer, "optimizer__reached": reached},
        "data": {"dataset": InDataset, "dataset__reached": reached},
    }
    return user_net(**(given[place] | params))


def assert_not_fitted(pruner):
    assert not [name for name in vars(pruner) if name.endswith("_")]
    assert not any(hasattr(pruner, name) for name in FIT)


@WAYS
@pytest.mark.parametrize("place", ["forward", "loss", "optimizer", "data"])
@pytest.mark.parametrize("schedule", ["one_shot", "cubic"])
def test_ctrl_c_reaches_the_caller_and_leaves_nothing(place, interrupt, schedule, iris):
    pruner = MagnitudePruner(interrupted_net(place, interrupt), schedule=schedule)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        pruner.fit(*iris)
    assert_not_fitted(pruner)
    assert signal.getsignal(signal.SIGINT) is handler


@WAYS
def test_ctrl_c_while_gates_learn(interrupt, iris):
    pruner = L0Pruner(interrupted_net("forward", interrupt))
    with pytest.raises(KeyboardInterrupt):
        pruner.fit(*iris)
    assert_not_fitted(pruner)


@WAYS
def test_ctrl_c_in_the_fine_tuning_of_a_frozen_net(interrupt, iris):
    net = interrupted_net("loss", interrupt, criterion__reached=Countdown(interrupt, 18)).fit(*iris)
    before = {name: value.clone() for name, value in net.module_.state_dict().items()}
    pruner = MagnitudePruner(FrozenEstimator(net), finetune_epochs=2)
    with pytest.raises(KeyboardInterrupt):
        pruner.fit(*iris)
    assert_not_fitted(pruner)
    assert all(torch.equal(value, before[n]) for n, value in net.module_.state_dict().items())


def test_a_fit_before_stays_as_it_was(iris):
    pruner = MagnitudePruner(user_net(), sparsity=0.5, random_state=0).fit(*iris)
    expected = pruner.predict_proba(iris[0])
    pruner.set_params(estimator=interrupted_net("forward", by_signal))
    with pytest.raises(KeyboardInterrupt):
        pruner.fit(*iris)
    np.testing.assert_array_equal(pruner.predict_proba(iris[0]), expected)


@WAYS
def test_search_lets_ctrl_c_through(interrupt, iris):
    search = GridSearchCV(
        MagnitudePruner(interrupted_net("forward", interrupt)), {"sparsity": [0.5, 0.8]}, cv=2
    )
    with pytest.raises(KeyboardInterrupt):
        search.fit(*iris)
    assert not hasattr(search, "cv_results_")


class Stops(Callback):
    """Raises where it is told to, from the n-th time on."""

    def __init__(self, method, how, n=2):
        self.method = method
        self.how = how
        self.n = n

    def initialize(self):
        self.left_ = self.n
        setattr(self, self.method, self.count)
        return self

    def count(self, net, **kwargs):
        self.left_ -= 1
        if self.left_ <= 0:
            self.how()


HOOKS = ["on_epoch_begin", "on_epoch_end", "on_batch_begin", "on_batch_end", "on_grad_computed"]


@pytest.mark.parametrize("hook", HOOKS)
def test_callback_may_still_end_training(hook, iris):
    net = MLPNetClassifier((20,), max_epochs=3, callbacks=[Stops(hook, by_exception)])
    pruner = MagnitudePruner(net, sparsity=0.8, schedule="cubic").fit(*iris)
    assert pruner.sparsity_ == 0.8
    assert len(pruner.pruning_history_) <= 3


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("schedule", ["one_shot", "cubic"])
def test_ctrl_c_in_a_callback_is_no_stop(hook, schedule, iris):
    pruner = MagnitudePruner(user_net(callbacks=[Stops(hook, by_signal)]), schedule=schedule)
    with pytest.raises(KeyboardInterrupt):
        pruner.fit(*iris)
    assert_not_fitted(pruner)


def stop_after_cleaning_up():
    try:
        by_signal()
    except KeyboardInterrupt:
        raise KeyboardInterrupt  # noqa: B904 as users write it


def test_ctrl_c_that_a_callback_raises_again_is_no_stop(iris):
    net = user_net(callbacks=[Stops("on_batch_end", stop_after_cleaning_up)])
    with pytest.raises(KeyboardInterrupt):
        MagnitudePruner(net).fit(*iris)


@WAYS
def test_ctrl_c_while_a_callback_scores_is_no_stop(interrupt, iris):
    scoring = EpochScoring("accuracy", on_train=True, use_caching=False)
    # 5 batches of training an epoch, and then 5 of scoring
    net = interrupted_net("forward", interrupt, callbacks=[scoring])
    with pytest.raises(KeyboardInterrupt):
        MagnitudePruner(net).fit(*iris)


def swallow():
    with suppress(KeyboardInterrupt):
        by_signal()


def test_ctrl_c_that_a_callback_deals_with_is_its_own(iris):
    net = user_net(callbacks=[Stops("on_batch_end", swallow)])
    assert MagnitudePruner(net, sparsity=0.5, random_state=0).fit(*iris).sparsity_ == 0.5


def test_early_stopping_is_no_ctrl_c(iris):
    stopping = EarlyStopping(monitor="train_loss", patience=1, threshold=1e9, sink=lambda text: 0)
    net = user_net(max_epochs=4, callbacks=[stopping])
    pruner = MagnitudePruner(net, sparsity=0.5, random_state=0).fit(*iris)
    assert 4 < len(pruner.pruning_history_) < 8


def test_handler_of_the_users_own_decides(iris):
    seen = []
    before = signal.signal(signal.SIGINT, lambda signum, frame: seen.append(signum))
    try:
        pruner = MagnitudePruner(interrupted_net("forward", by_signal), sparsity=0.5).fit(*iris)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]
    assert pruner.sparsity_ == 0.5


def test_fit_in_another_thread(iris):
    found = []

    def fit():
        try:
            MagnitudePruner(interrupted_net("forward", by_exception)).fit(*iris)
        except KeyboardInterrupt as error:
            found.append(error)

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    assert len(found) == 1


def test_validation_rows_too(iris):
    net = interrupted_net("forward", by_exception, train_split=ValidSplit(5))  # 4 batches, and 1
    net.set_params(module__reached=Countdown(by_exception, 5))
    with pytest.raises(KeyboardInterrupt):
        MagnitudePruner(net).fit(*iris)
