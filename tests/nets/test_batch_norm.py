"""Statistics of batch norms where no training follows the pruning."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from skprune import L0Pruner, MagnitudePruner
from tests.conftest import user_net

pytestmark = pytest.mark.filterwarnings("ignore:.*leaves no weight in")
TRAINED = {"max_epochs": 10, "batch_size": 150}


def statistics_of(net, X):
    """Compute by hand what the norm of a UserModule sees."""
    with torch.no_grad():
        seen = net.module_.fc1(torch.from_numpy(X)).double()
    return seen.mean(0).numpy(), seen.var(0).numpy()


def assert_statistics(net, X):
    mean, variance = statistics_of(net, X)
    assert_allclose(net.module_.norm.running_mean.numpy(), mean, atol=1e-5)
    assert_allclose(net.module_.norm.running_var.numpy(), variance, rtol=1e-4, atol=1e-6)


def test_frozen_net(iris):
    plain = user_net(**TRAINED).fit(*iris)
    pruner = MagnitudePruner(FrozenEstimator(plain), sparsity=0.6).fit(iris[0])
    assert_statistics(pruner.estimator_, iris[0])
    assert pruner.estimator_.module_.norm.momentum == 0.1
    stale = MagnitudePruner(FrozenEstimator(plain), sparsity=0.6, refresh_batch_norm=False)
    kept = stale.fit(iris[0]).estimator_.module_.norm
    assert_array_equal(kept.running_mean.numpy(), plain.module_.norm.running_mean.numpy())


@pytest.mark.parametrize("params", [{"finetune_epochs": 0}, {"schedule": "cubic"}])
def test_where_training_follows_its_statistics_stay(params, iris):
    first, second = (
        MagnitudePruner(
            user_net(**TRAINED), sparsity=0.6, random_state=0, refresh_batch_norm=on, **params
        ).fit(*iris)
        for on in (True, False)
    )
    means = [p.estimator_.module_.norm.running_mean.numpy() for p in (first, second)]
    if "schedule" in params:
        assert_array_equal(*means)
    else:
        assert_statistics(first.estimator_, iris[0])
        assert np.abs(means[0] - means[1]).max() > 1e-3


def test_gates_that_are_folded_at_the_end(iris):
    net = user_net(**TRAINED)
    pruner = L0Pruner(net, sparsity=0.5, recovery_fraction=0, random_state=0).fit(*iris)
    assert_statistics(pruner.estimator_, iris[0])


def test_without_pruning_nothing_changes(iris):
    plain = user_net(**TRAINED).fit(*iris)
    pruner = MagnitudePruner(FrozenEstimator(plain), sparsity=0).fit(iris[0])
    for name, value in plain.module_.state_dict().items():
        assert_array_equal(pruner.estimator_.module_.state_dict()[name].numpy(), value.numpy())


def test_sorted_rows_in_small_batches(iris):
    order = np.argsort(iris[0][:, 2])
    plain = user_net(max_epochs=3, batch_size=10).fit(iris[0][order], iris[1][order])
    pruner = MagnitudePruner(FrozenEstimator(plain), sparsity=0.6).fit(iris[0][order])
    mean, variance = statistics_of(pruner.estimator_, iris[0])
    assert_allclose(pruner.estimator_.module_.norm.running_mean.numpy(), mean, atol=1e-5)
    assert_allclose(pruner.estimator_.module_.norm.running_var.numpy(), variance, rtol=0.15)


@pytest.mark.parametrize("pruner", [MagnitudePruner, L0Pruner])
def test_option_is_a_parameter(pruner):
    made = pruner(user_net(), refresh_batch_norm=False)
    assert clone(made).get_params()["refresh_batch_norm"] is False
