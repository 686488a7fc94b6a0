"""Taylor scores against gradients that torch computes one row at a time."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.frozen import FrozenEstimator

from skprune import MLPNetClassifier, MLPNetRegressor, SaliencyPruner
from skprune.nets.criteria import Taylor

MEANS = ["abs_of_mean", "mean_of_abs", "mean_of_squares"]


@pytest.fixture(scope="module")
def fitted(iris):
    net = MLPNetClassifier((6,), max_epochs=5, lr=0.02, batch_size=40, random_state=0)
    return net.fit(*iris)


def gradients_of_batches(net, X, y, size):
    """Compute the gradient of each batch's mean loss, by autograd alone, and its share of rows."""
    module = net.module_.eval()
    codes = torch.from_numpy(np.unique(y, return_inverse=True)[1])
    X = torch.from_numpy(X.astype(np.float32))
    weights = {n: p for n, p in module.named_parameters() if n.endswith("weight")}
    found, shares = [], []
    for start in range(0, len(X), size):
        rows = slice(start, start + size)
        loss = torch.nn.functional.cross_entropy(module(X[rows]), codes[rows])
        found.append(torch.autograd.grad(loss, list(weights.values())))
        shares.append(len(X[rows]) / len(X))
    return weights, found, shares


def by_hand(mean, weight, gradients, shares):
    if mean == "abs_of_mean":
        return abs(weight * sum(s * g for s, g in zip(shares, gradients, strict=True)))
    if mean == "mean_of_abs":
        return sum(s * abs(weight * g) for s, g in zip(shares, gradients, strict=True))
    return sum(s * (weight * g) ** 2 for s, g in zip(shares, gradients, strict=True))


@pytest.mark.parametrize("granularity", ["weight", "neuron", (2, 2)])
@pytest.mark.parametrize("mean", MEANS)
def test_a_frozen_net_loses_what_autograd_scores_lowest(mean, granularity, fitted, iris):
    X, y = iris
    weights, gradients, shares = gradients_of_batches(fitted, X, y, 40)
    scores = [
        by_hand(mean, w.detach(), [g[i] for g in gradients], shares).numpy()
        for i, w in enumerate(weights.values())
    ]
    pruner = SaliencyPruner(
        FrozenEstimator(fitted),
        criterion=Taylor(mean),
        sparsity=0.3,
        granularity=granularity,
        n_samples=None,
    ).fit(X, y)
    masks = [w.toarray() != 0 for w in pruner.sparse_weights_.values()]
    if granularity == "weight":
        pooled = np.concatenate([score.ravel() for score in scores])
        n_kept = pooled.size - int(np.ceil(0.3 * pooled.size))
        expected = pooled >= np.sort(pooled)[-n_kept]
        assert_array_equal(np.concatenate([mask.ravel() for mask in masks]), expected)
    elif granularity == "neuron":
        order = np.argsort(-scores[0].mean(axis=1))
        alive = masks[0].any(axis=1)
        n_alive = int(alive.sum())
        assert 0 < n_alive < len(alive)
        assert_array_equal(np.sort(order[:n_alive]), np.flatnonzero(alive))
        assert_array_equal(masks[1].any(axis=0), alive)
        assert not pruner.estimator_.module_.layers.hidden0.bias[~torch.from_numpy(alive)].any()
    else:
        lowest_kept, highest_gone = np.inf, -np.inf
        for score, mask in zip(scores, masks, strict=True):
            for i in range(0, score.shape[0], 2):
                for j in range(0, score.shape[1], 2):
                    block, kept = score[i : i + 2, j : j + 2], mask[i : i + 2, j : j + 2]
                    assert kept.all() or not kept.any()
                    if kept.any():
                        lowest_kept = min(lowest_kept, block.mean())
                    else:
                        highest_gone = max(highest_gone, block.mean())
        assert highest_gone <= lowest_kept


def test_weights_and_modes_and_gradients_stay(fitted, iris):
    before = {n: p.detach().clone() for n, p in fitted.module_.named_parameters()}
    pruner = SaliencyPruner(FrozenEstimator(fitted), sparsity=0.5).fit(*iris)
    for name, parameter in pruner.estimator_.module_.named_parameters():
        kept = parameter.detach() != 0
        assert_array_equal(parameter.detach()[kept], before[name][kept])
        assert parameter.grad is None
    for name, parameter in fitted.module_.named_parameters():
        assert_array_equal(parameter.detach(), before[name])


def test_few_rows_are_enough_and_give_the_same_masks_each_time(fitted, iris):
    def masks(**params):
        pruner = SaliencyPruner(FrozenEstimator(fitted), sparsity=0.5, **params).fit(*iris)
        return np.concatenate([w.toarray().ravel() != 0 for w in pruner.sparse_weights_.values()])

    assert_array_equal(masks(n_samples=20), masks(n_samples=20))
    assert (masks(n_samples=1) != masks(n_samples=None)).any()


def test_a_pass_over_rows_leaves_global_random_state_alone(fitted, iris):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    SaliencyPruner(FrozenEstimator(fitted), sparsity=0.5).fit(*iris)
    drawn = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    assert drawn == (torch.rand(1), np.random.rand())  # noqa: NPY002


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("schedule", ["one_shot", "cubic"])
def test_gradients_of_training_serve_as_well(mean, schedule, iris):
    net = MLPNetClassifier((16,), max_epochs=12, lr=0.02, batch_size=30, random_state=0)
    pruner = SaliencyPruner(net, criterion=Taylor(mean), sparsity=0.5, schedule=schedule).fit(*iris)
    assert pruner.sparsity_ == pytest.approx(0.5, abs=0.01)
    assert pruner.score(*iris) > 0.9


def test_unknown_mean_is_named():
    with pytest.raises(ValueError, match=r"mean must be one of .*, got 'median'"):
        Taylor("median")


def test_scores_by_hand():
    weight, gradient = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([0.5, 3.0, -2.0])
    squares = Taylor("mean_of_squares")
    assert_allclose(squares.score(weight, {squares.needs[0]: gradient**2}), [1, 9, 1])
    plain = Taylor()
    assert_allclose(plain.score(weight, {plain.needs[0]: gradient}), [1, 3, 1])


@pytest.mark.parametrize("target", ["flat", "column", "text"])
def test_targets_of_a_frozen_net_are_those_of_its_training(target, iris):
    X, y = iris
    module = {"text": MLPNetClassifier}.get(target, MLPNetRegressor)
    y = (
        np.array(["c", "a", "b"])[np.unique(y, return_inverse=True)[1]]
        if target == "text"
        else X[:, 0]
    )
    y = y[:, None] if target == "column" else y
    net = module((5,), max_epochs=3, batch_size=40, random_state=0).fit(X, y)
    seen = []

    def remembers(weight, gradient):
        seen.append(gradient.clone())
        return weight.abs()

    pruner = SaliencyPruner(FrozenEstimator(net), criterion=remembers, sparsity=0.5, n_samples=None)
    pruner.fit(X, y)
    outputs = net.module_.eval()(torch.from_numpy(X.astype(np.float32)))
    if target == "text":
        codes = torch.from_numpy(np.unique(y, return_inverse=True)[1])
        loss = torch.nn.functional.cross_entropy(outputs, codes)
    else:
        wanted = torch.from_numpy(y.reshape(-1, 1).astype(np.float32))
        loss = torch.nn.functional.mse_loss(outputs, wanted)
    weights = [p for n, p in net.module_.named_parameters() if n.endswith("weight")]
    for found, expected in zip(seen, torch.autograd.grad(loss, weights), strict=True):
        assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
