"""Bayesian compression against scales and weights that are really drawn."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional
from torch.testing import assert_close

from skprune.nets.gates import GroupPosteriorGate
from tests.nets.gates.test_variational_dropout import true_negative_kl

N_DRAWS = 40_000


def gate_of(layer):
    gate = GroupPosteriorGate(layer).train()
    gate.z_mean.data.uniform_(0.5, 1.5)
    gate.z_log_variance.data.uniform_(-2, 0)
    gate.weight_log_variance.data.uniform_(-3, -1)
    return gate


def drawn(gate):
    """Draw scales, and weights N(z mu, z^2 sigma^2) for each."""
    z_noise = torch.randn(N_DRAWS, *gate.z_mean.shape)
    z = gate.z_mean + torch.exp(0.5 * gate.z_log_variance) * z_noise
    on_weights = z[:, None, :] if gate.side == "inputs" else z.reshape(N_DRAWS, -1, 1, 1, 1)
    sigma = torch.exp(0.5 * gate.weight_log_variance) * on_weights.abs()
    weights = gate.weight * on_weights + sigma * torch.randn(N_DRAWS, *gate.weight.shape)
    return z.detach(), weights.detach()


def assert_same_moments(ours, theirs):
    """Compare means and covariances, in standard errors; fourth moments are those of theirs."""
    n = len(ours)
    centred = theirs - theirs.mean(0)
    assert (abs(ours.mean(0) - theirs.mean(0)) < 5 * theirs.std(0) * np.sqrt(2 / n)).all()
    error = (centred**2).std(0) * np.sqrt(2 / n)
    assert (abs(ours.var(0) - theirs.var(0)) < 5 * error).all()


def test_outputs_of_a_linear_layer_vary_as_if_scales_and_weights_were_drawn():
    gate, x = gate_of(nn.Linear(3, 2)), torch.randn(3)
    ours = gate(x.expand(N_DRAWS, 3)).detach().numpy()
    _, weights = drawn(gate)
    theirs = (weights @ x + gate.bias.detach()).numpy()
    assert_same_moments(ours, theirs)
    # both outputs of a row share its scales
    assert_same_moments(ours.prod(1, keepdims=True), theirs.prod(1, keepdims=True))


def test_outputs_of_a_convolution_vary_as_if_scales_and_weights_were_drawn():
    gate = gate_of(nn.Conv2d(2, 2, 2, padding=1))
    x = torch.randn(1, 2, 2, 2)
    ours = gate(x.expand(N_DRAWS, 2, 2, 2)).detach().numpy()
    z, weights = drawn(gate)
    biases = (gate.bias.detach() * z).flatten()
    maps = functional.conv2d(x, weights.flatten(0, 1), biases, padding=1)
    assert_same_moments(ours, maps.reshape(ours.shape).numpy())


def test_all_positions_of_a_map_share_its_scale():
    gate = gate_of(nn.Conv2d(1, 2, 1))
    gate.weight_log_variance.data.fill_(-40.0)
    gate.bias.data.zero_()
    x = torch.rand(5, 1, 3, 3) + 1
    with torch.no_grad():
        z = gate(x) / (x * gate.weight.reshape(1, 2, 1, 1))
    assert_close(z, z[..., :1, :1].expand_as(z), rtol=0.02, atol=0.02)
    assert len(torch.unique(z[..., 0, 0])) == 10


@pytest.mark.parametrize("layer", [nn.Linear(3, 2), nn.Conv2d(2, 3, 2)])
def test_penalty_is_both_divergences(layer):
    gate = gate_of(layer)
    posterior = Normal(gate.weight, torch.exp(0.5 * gate.weight_log_variance))
    of_weights = float(kl_divergence(posterior, Normal(0.0, 1.0)).sum().detach())
    log_alpha = (gate.z_log_variance - 2 * gate.z_mean.abs().log()).tolist()
    of_scales = -sum(true_negative_kl(a) for a in log_alpha)
    penalty = float(gate.penalty().detach())
    assert penalty == pytest.approx(of_weights + of_scales, abs=0.03)


@pytest.mark.parametrize("layer", [nn.Linear(3, 2), nn.Conv1d(2, 2, 2)])
def test_gradients_are_those_of_finite_differences(layer):
    gate = gate_of(layer).double()
    x = torch.randn((2, 3) if isinstance(layer, nn.Linear) else (2, 2, 3)).double()

    def loss(*_):
        torch.manual_seed(1)
        return gate(x).square().mean()

    assert torch.autograd.gradcheck(loss, list(gate.parameters()))
    assert torch.autograd.gradcheck(
        lambda *_: gate.penalty(), [*gate.own_parameters().values(), gate.weight]
    )


def test_folded_values_are_the_mean_scales():
    gate = gate_of(nn.Linear(3, 2))
    assert torch.equal(gate.values(), gate.z_mean)
    kept = torch.tensor([True, False, True])
    mean = gate.z_mean.detach()
    assert_allclose(gate.closing_values(kept).detach(), [mean[0], 0, mean[2]])
    gate.z_log_variance.data.fill_(-4.0)
    x = torch.randn(5, 3)
    expected = (x.numpy() * mean.numpy()) @ gate.weight.detach().numpy().T
    expected += gate.bias.detach().numpy()
    assert_allclose(gate.eval()(x).detach(), expected, rtol=1e-5, atol=1e-6)


def test_groups_go_where_log_alpha_reaches_the_threshold():
    gate = GroupPosteriorGate(nn.Conv2d(1, 4, 2), threshold=-1.0)
    gate.z_mean.data.copy_(torch.tensor([1.0, -1.0, 0.1, -10.0]))
    gate.z_log_variance.data.copy_(torch.tensor([-1.01, -0.99, -2.0, 0.0]))
    log_alpha = [-1.01, -0.99, -2 + 2 * np.log(10), -2 * np.log(10)]
    assert_allclose(gate.log_alpha().detach(), log_alpha, atol=1e-5)
    assert_allclose(gate.scores().detach(), np.negative(log_alpha), atol=1e-5)
    assert gate.is_open().tolist() == [True, False, False, True]
    maps = gate.eval()(torch.randn(2, 1, 3, 3))
    assert (maps[:, [1, 2]] == 0).all()
    assert (maps[:, [0, 3]] != 0).all()


def test_scales_start_near_one_and_variances_small():
    gate = GroupPosteriorGate(nn.Linear(2000, 2))
    assert float(gate.z_mean.detach().mean()) == pytest.approx(1, abs=2e-3)
    assert float(gate.z_mean.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert (gate.z_log_variance == -9).all()
    assert (gate.weight_log_variance == -9).all()
    assert gate.is_open().all()
