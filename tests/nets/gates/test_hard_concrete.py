"""Hard-concrete gates against the distribution that they are drawn from."""

from copy import deepcopy
from math import exp, log

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.testing import assert_close

from skprune.nets.gates import HardConcreteGate

N_DRAWS = 200_000
LOG_ALPHAS = [-3.0, -1.0, 0.0, 0.7, 2.5]


def gate_of(log_alpha, **params):
    """Make a gate of as many inputs as there are numbers, float64."""
    gate = HardConcreteGate(nn.Linear(len(log_alpha), 2, dtype=torch.float64), **params)
    gate.log_alpha.data = torch.tensor(log_alpha, dtype=torch.float64)
    return gate


def cdf(t, log_alpha, beta=2 / 3, gamma=-0.1, zeta=1.1):
    """Give P(z <= t) for 0 <= t < 1: z is a stretched binary concrete variable, clipped."""
    s = (t - gamma) / (zeta - gamma)
    return 1 / (1 + exp(log_alpha - beta * log(s / (1 - s))))


def within_errors(share, probability, n=N_DRAWS):
    return abs(share - probability) < 4 * np.sqrt(probability * (1 - probability) / n)


@pytest.mark.parametrize("log_alpha", LOG_ALPHAS)
def test_samples_follow_the_hard_concrete_distribution(log_alpha):
    z = gate_of([log_alpha] * N_DRAWS).sample().detach().numpy()
    assert z.min() >= 0
    assert z.max() <= 1
    assert within_errors((z == 0).mean(), cdf(0.0, log_alpha))
    assert within_errors((z == 1).mean(), 1 - cdf(1.0, log_alpha))
    for t in (0.05, 0.3, 0.5, 0.8, 0.99):
        assert within_errors((z <= t).mean(), cdf(t, log_alpha)), t


def test_samples_follow_another_temperature_and_stretch():
    params = {"temperature": 0.4, "stretch": (-0.3, 1.5)}
    z = gate_of([0.5] * N_DRAWS, **params).sample().detach().numpy()
    shape = {"beta": 0.4, "gamma": -0.3, "zeta": 1.5}
    for t in (0.0, 0.25, 0.75):
        assert within_errors((z <= t).mean(), cdf(t, 0.5, **shape))
    assert within_errors((z == 1).mean(), 1 - cdf(1.0, 0.5, **shape))
    probability = float(gate_of([0.5], **params).open_probability().detach())
    assert within_errors((z != 0).mean(), probability)


@pytest.mark.parametrize("log_alpha", LOG_ALPHAS)
def test_chance_of_being_open_is_how_often_samples_are(log_alpha):
    gate = gate_of([log_alpha] * N_DRAWS)
    probability = float(gate.open_probability()[0].detach())
    assert within_errors(float((gate.sample() != 0).double().mean()), probability)
    assert probability == pytest.approx(1 - cdf(0.0, log_alpha))


def test_penalty_counts_the_expected_number_of_weights():
    linear = HardConcreteGate(nn.Linear(3, 5))
    linear.log_alpha.data.copy_(torch.tensor([-40.0, 40.0, 40.0]))
    assert float(linear.penalty().detach()) == pytest.approx(10)
    conv = HardConcreteGate(nn.Conv2d(2, 3, 4))
    conv.log_alpha.data.copy_(torch.tensor([-40.0, -40.0, 40.0]))
    assert float(conv.penalty().detach()) == pytest.approx(32)
    # where beta log(-gamma / zeta) = (2/3) log(1/11) is all there is: 11^(2/3) = 4.9461
    linear.log_alpha.data.zero_()
    assert float(linear.penalty().detach()) == pytest.approx(15 * 4.9461 / 5.9461, rel=1e-4)
    weights = HardConcreteGate(nn.Linear(3, 5), "weight")
    weights.log_alpha.data.zero_()
    assert float(weights.penalty().detach()) == pytest.approx(15 * 4.9461 / 5.9461, rel=1e-4)


def test_values_at_test_time_by_hand():
    # sigmoid(log 3) = .75, sigmoid(-log 9) = .1, sigmoid(-log 19) = .05, sigmoid(log 99) = .99
    gate = gate_of([0.0, log(3), -log(9), -log(19), log(99)])
    assert_allclose(gate.values().detach(), [0.5, 0.8, 0.02, 0.0, 1.0], atol=1e-12)
    assert gate.is_open().tolist() == [True, True, True, False, True]


@pytest.mark.parametrize("per", ["unit", "weight"])
@pytest.mark.parametrize("layer", [nn.Linear(3, 4).double(), nn.Conv2d(2, 3, 2).double()])
def test_gradients_are_those_of_finite_differences(per, layer):
    layer = deepcopy(layer)
    gate = HardConcreteGate(layer, per)
    gate.log_alpha.data = torch.randn(gate.group_shape(), dtype=torch.float64)
    x = torch.randn((2, 3) if isinstance(layer, nn.Linear) else (2, 2, 3, 3)).double()

    def loss(*_):
        torch.manual_seed(1)
        return gate.train()(x).square().mean()

    parameters = [gate.log_alpha, gate.weight, gate.bias]
    assert torch.autograd.gradcheck(loss, parameters)
    assert torch.autograd.gradcheck(lambda *_: gate.penalty(), [gate.log_alpha])


def test_gates_of_a_linear_layer_scale_its_inputs(monkeypatch):
    layer = nn.Linear(3, 2)
    gate = HardConcreteGate(layer).train()
    z = torch.tensor([0.0, 0.25, 1.0])
    monkeypatch.setattr(gate, "sample", lambda: z)
    x = torch.randn(4, 3)
    expected = x.numpy() * [0, 0.25, 1] @ layer.weight.detach().numpy().T
    assert_allclose(gate(x).detach(), expected + layer.bias.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_gates_of_a_convolution_scale_its_maps_and_their_biases(monkeypatch, bias):
    layer = nn.Conv2d(2, 3, 2, bias=bias)
    gate = HardConcreteGate(layer).train()
    monkeypatch.setattr(gate, "sample", lambda: torch.tensor([0.0, 0.25, 1.0]))
    x = torch.randn(4, 2, 3, 3)
    maps, plain = gate(x), layer(x)
    assert (maps[:, 0] == 0).all()
    assert_close(maps[:, 1], 0.25 * plain[:, 1])
    assert_close(maps[:, 2], plain[:, 2])


def test_gates_of_weights_leave_the_bias_alone(monkeypatch):
    layer = nn.Conv2d(2, 3, 2)
    gate = HardConcreteGate(layer, "weight").train()
    monkeypatch.setattr(gate, "sample", lambda: torch.zeros(layer.weight.shape))
    maps = gate(torch.randn(4, 2, 3, 3))
    assert_close(maps, layer.bias.reshape(1, -1, 1, 1).expand_as(maps))


def test_one_sample_serves_the_whole_batch():
    gate = gate_of([0.0, 0.5, -0.5, 0.2]).train()
    output = gate(torch.ones(6, 4, dtype=torch.float64))
    assert_close(output, output[:1].expand_as(output))


def test_evaluation_has_no_noise():
    gate = gate_of([0.0, 0.5, -0.5, 0.2]).eval()
    x = torch.randn(6, 4, dtype=torch.float64)
    assert torch.equal(gate(x), gate(x))


def test_kept_groups_that_were_closed_come_back_small_and_in_order():
    gate = gate_of([-9.0, -4.0, 0.0, 9.0, -5.0])
    kept = torch.tensor([True, True, True, False, False])
    values = gate.closing_values(kept).tolist()
    assert 0 < values[0] < values[1] < 0.1
    assert values[2:] == pytest.approx([0.5, 0.0, 0.0])


def test_gates_start_around_their_drop_rate():
    layer = nn.Linear(100, 100)
    starts = HardConcreteGate(layer, "weight", droprate_init=0.2).log_alpha.detach().numpy()
    assert starts.mean() == pytest.approx(log(4), abs=5e-4)
    assert starts.std() == pytest.approx(0.01, rel=0.05)
