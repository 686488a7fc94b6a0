"""Soft thresholds by hand and by finite differences."""

from math import log

import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.testing import assert_close

from skprune.nets.gates import SoftThresholdGate

WEIGHTS = [[1.0, -0.25, 0.1], [-0.8, 0.0, 0.3]]
S = log(0.2 / 0.8)  # sigmoid(S) = 0.2


def gate_of(weights=WEIGHTS, s=S, dtype=torch.float64):
    """Make a gate whose threshold is 0.2 unless told otherwise."""
    weights = torch.tensor(weights, dtype=dtype)
    layer = nn.Linear(weights.shape[1], weights.shape[0], dtype=dtype)
    layer.weight.data.copy_(weights)
    return SoftThresholdGate(layer, s_init=s)


def test_weights_move_towards_zero_by_the_threshold():
    gate = gate_of()
    expected = [[0.8, -0.05, 0.0], [-0.6, 0.0, 0.1]]
    assert_allclose(gate.thresholded().detach(), expected, atol=1e-12)
    assert gate.is_open().tolist() == [[True, True, False], [True, False, True]]
    assert_allclose(gate.values().detach(), [[0.8, 0.2, 0.0], [0.75, 0.0, 1 / 3]], atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_layer_runs_on_the_moved_weights(training):
    gate = gate_of().train(training)
    x = torch.tensor([[1.0, 10.0, 100.0]], dtype=torch.float64)
    expected = torch.tensor([[0.3, 9.4]], dtype=torch.float64) + gate.bias
    assert_close(gate(x), expected)


def test_share_of_a_weight_gives_the_moved_weight():
    gate = gate_of()
    assert_close(gate.weight * gate.values(), gate.thresholded())


@pytest.mark.parametrize("layer", [nn.Linear(3, 4), nn.Conv2d(2, 2, 2)])
def test_gradients_are_those_of_finite_differences(layer):
    gate = SoftThresholdGate(layer.double(), s_init=-1.5)
    away = (gate.weight.abs() - torch.sigmoid(gate.s)).abs() > 1e-4
    assert away.all()
    x = torch.randn((2, 3) if isinstance(layer, nn.Linear) else (2, 2, 3, 3)).double()
    loss = lambda *_: gate(x).square().mean() + gate.penalty()  # noqa: E731
    assert torch.autograd.gradcheck(loss, [gate.s, gate.weight, gate.bias])


def test_gradient_of_the_threshold_by_hand():
    gate = gate_of()
    gate.thresholded().sum().backward()
    # sigma' = .2 * .8, and signs of what is open: + - - +
    assert float(gate.s.grad) == pytest.approx(0.0)
    assert gate.weight.grad.tolist() == [[1, 1, 0], [1, 0, 1]]
    gate = gate_of()
    gate.thresholded().square().sum().backward()
    total = 0.8 + 0.05 + 0.6 + 0.1
    assert float(gate.s.grad) == pytest.approx(-2 * 0.16 * total)


def test_penalty_is_weight_decay():
    gate = gate_of(s=-4.0)
    assert float(gate.penalty().detach()) == pytest.approx(8.0)
    gate.penalty().backward()
    assert float(gate.s.grad) == pytest.approx(-4.0)


def test_keeping_fewer_than_are_open_cuts_off_the_rest():
    gate = gate_of()
    kept = torch.tensor([[True, False, False], [True, False, False]])
    values = gate.closing_values(kept).detach()
    assert_allclose(values, [[0.8, 0, 0], [0.75, 0, 0]], atol=1e-12)


def test_keeping_more_than_are_open_lowers_the_threshold():
    gate = gate_of([[1.0, -0.25, 0.1], [-0.15, 0.05, 0.3]])
    kept = torch.tensor([[True, True, True], [True, False, True]])
    weights = (gate.weight * gate.closing_values(kept)).detach()
    expected = [[0.9, -0.15, 0.0], [-0.05, 0.0, 0.2]]
    assert_allclose(weights, expected, atol=1e-5)
    assert torch.equal(weights != 0, kept)
    assert torch.equal(weights.sign()[kept], gate.weight.sign()[kept])


@pytest.mark.parametrize("s", [-5.0, -2.0, 0.0, 3.0])
@pytest.mark.parametrize("scale", [1.0, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("n_kept", [1, 10, 500, 999])
def test_nothing_that_is_kept_is_zero(s, scale, n_kept):
    torch.manual_seed(0)
    weights = (scale * torch.randn(10, 100)).tolist()
    gate = gate_of(weights, s, torch.float32)
    order = torch.argsort(-gate.scores().flatten(), stable=True)
    kept = torch.zeros(1000, dtype=torch.bool)
    kept[order[:n_kept]] = True
    kept = kept.reshape(10, 100)
    values = gate.closing_values(kept).detach()
    assert (values[kept] > 0).all()
    assert (values[kept] <= 1).all()
    assert (values[~kept] == 0).all()


def test_keeping_none_gives_zeros():
    values = gate_of().closing_values(torch.zeros(2, 3, dtype=torch.bool))
    assert (values == 0).all()
