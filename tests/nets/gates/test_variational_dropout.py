"""Sparse variational dropout against quadrature and weights that are really drawn."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import digamma
from scipy.stats import norm, poisson
from torch import nn
from torch.nn import functional

from skprune.nets.gates import VariationalDropoutGate
from skprune.nets.gates.variational_dropout import negative_kl

N_DRAWS = 40_000


def mean_log(alpha):
    """Give E log|1 + sqrt(alpha) n|: the square is alpha times a noncentral chi-squared."""
    j = np.arange(6000)
    log_chi2 = poisson.pmf(j, 0.5 / alpha) @ (digamma(0.5 + j) + np.log(2))
    return 0.5 * (np.log(alpha) + log_chi2)


def true_negative_kl(log_alpha):
    """Give minus the divergence of N(1, alpha) from the log-uniform, 0 for infinite alpha."""
    limit = -0.5 * (digamma(0.5) + np.log(2))
    return 0.5 * log_alpha - mean_log(np.exp(log_alpha)) - limit


@pytest.mark.parametrize("log_alpha", [-6.0, -1.0, 0.0, 3.0])
def test_series_of_the_divergence_is_its_integral(log_alpha):
    sd = np.exp(log_alpha / 2)

    def of_distance(r):  # from the singularity at 0, on a log scale
        e = np.exp(r)
        return r * (norm.pdf(e, 1, sd) + norm.pdf(-e, 1, sd)) * e

    expectation, _ = quad(of_distance, -40, np.log(1 + 12 * sd), points=[-2, 0], limit=500)
    assert mean_log(sd**2) == pytest.approx(expectation, abs=1e-6)


def test_divergence_is_that_from_the_log_uniform_prior():
    log_alpha = np.linspace(-8, 8, 65)
    true = [true_negative_kl(a) for a in log_alpha]
    assert_allclose(negative_kl(torch.from_numpy(log_alpha)), true, atol=0.01)


def test_penalty_sums_the_divergence_of_every_weight():
    gate = VariationalDropoutGate(nn.Linear(2, 2))
    gate.weight.data.copy_(torch.tensor([[0.5, -2.0], [1.0, -0.1]]))
    gate.log_sigma2.data.copy_(torch.tensor([[-3.0, 0.0], [1.0, -2.0]]))
    square = np.array([0.25, 4.0, 1.0, 0.01])
    log_alpha = np.array([-3.0, 0.0, 1.0, -2.0]) - np.log(square)
    true = -sum(true_negative_kl(a) for a in log_alpha)
    assert float(gate.penalty().detach()) == pytest.approx(true, abs=0.04)


def test_noise_level_is_bounded():
    gate = VariationalDropoutGate(nn.Linear(3, 1))
    gate.weight.data.copy_(torch.tensor([[1.0, 0.0, 1.0]]))
    gate.log_sigma2.data.copy_(torch.tensor([[-30.0, 0.0, 2.0]]))
    assert_allclose(gate.log_alpha().detach(), [[-8.0, 8.0, 2.0]], atol=1e-6)


def gate_of(layer):
    gate = VariationalDropoutGate(layer).train()
    gate.log_sigma2.data.uniform_(-3, 0)
    return gate


def drawn_weights(gate):
    noise = torch.randn(N_DRAWS, *gate.weight.shape)
    return (gate.weight + torch.exp(0.5 * gate.log_sigma2) * noise).detach()


def assert_same_moments(ours, drawn):
    """Compare means and variances over the first axis, in standard errors."""
    n = len(ours)
    variance = drawn.var(0)
    assert (abs(ours.mean(0) - drawn.mean(0)) < 5 * np.sqrt(2 * variance / n)).all()
    assert_allclose(ours.var(0), variance, rtol=5 * np.sqrt(4 / n))


def test_outputs_of_a_linear_layer_vary_as_if_weights_were_drawn():
    gate, x = gate_of(nn.Linear(4, 3)), torch.randn(4)
    ours = gate(x.expand(N_DRAWS, 4)).detach().numpy()
    drawn = drawn_weights(gate) @ x + gate.bias.detach()
    assert_same_moments(ours, drawn.numpy())


def test_outputs_of_a_convolution_vary_as_if_weights_were_drawn():
    gate = gate_of(nn.Conv2d(2, 2, 2, stride=2, padding=1))
    x = torch.randn(1, 2, 3, 3)
    ours = gate(x.expand(N_DRAWS, 2, 3, 3)).detach().numpy()
    weights, bias = drawn_weights(gate), gate.bias.detach().repeat(N_DRAWS)
    drawn = functional.conv2d(x, weights.flatten(0, 1), bias, stride=2, padding=1)
    assert_same_moments(ours, drawn.reshape(ours.shape).numpy())


def test_every_row_has_noise_of_its_own():
    output = gate_of(nn.Linear(4, 3))(torch.ones(50, 4))
    assert len(torch.unique(output[:, 0])) == 50


@pytest.mark.parametrize("layer", [nn.Linear(3, 2), nn.Conv1d(2, 2, 2)])
def test_gradients_are_those_of_finite_differences(layer):
    gate = gate_of(layer).double()
    gate.weight.data = torch.where(gate.weight < 0, -1.0, 1.0) * (0.3 + gate.weight.data.abs())
    x = torch.randn((2, 3) if isinstance(layer, nn.Linear) else (2, 2, 3)).double()

    def loss(*_):
        torch.manual_seed(1)
        return gate(x).square().mean()

    parameters = [gate.weight, gate.log_sigma2, gate.bias]
    assert torch.autograd.gradcheck(loss, parameters)
    assert torch.autograd.gradcheck(lambda *_: gate.penalty(), parameters[:2])


def test_weights_go_where_log_alpha_reaches_the_threshold():
    layer = nn.Linear(4, 1)
    layer.weight.data.copy_(torch.tensor([[1.0, -1.0, 0.1, 10.0]]))
    gate = VariationalDropoutGate(layer)
    gate.log_sigma2.data.copy_(torch.tensor([[2.99, 3.01, 0.0, 3.01]]))
    assert gate.is_open().tolist() == [[True, False, False, True]]
    stricter = VariationalDropoutGate(layer, threshold=-2.0)
    stricter.log_sigma2.data.copy_(gate.log_sigma2)
    assert stricter.is_open().tolist() == [[False, False, False, False]]
    x = torch.tensor([[1.0, 2.0, 4.0, 8.0]])
    expected = 1.0 + 80.0 + float(layer.bias.detach())
    assert float(gate.eval()(x).detach()) == pytest.approx(expected, rel=1e-6)


def test_scores_rank_weights_beyond_the_bounds_of_log_alpha():
    gate = VariationalDropoutGate(nn.Linear(3, 1))
    gate.weight.data.fill_(1.0)
    gate.log_sigma2.data.copy_(torch.tensor([[-20.0, -30.0, 1.0]]))
    assert torch.argsort(-gate.scores()).tolist() == [[1, 0, 2]]
