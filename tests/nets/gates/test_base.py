"""What every gate owes to the layer that it stands in for."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from skprune.nets.gates import (
    GroupPosteriorGate,
    HardConcreteGate,
    SoftThresholdGate,
    VariationalDropoutGate,
)

GATES = {
    "hard_concrete": HardConcreteGate,
    "hard_concrete_weights": lambda layer: HardConcreteGate(layer, "weight"),
    "variational_dropout": VariationalDropoutGate,
    "group_posterior": GroupPosteriorGate,
    "soft_threshold": SoftThresholdGate,
}
PER_UNIT = {"hard_concrete", "group_posterior"}
LAYERS = {
    "linear": (lambda: nn.Linear(4, 3), (5, 4)),
    "linear_3d": (lambda: nn.Linear(4, 3), (5, 2, 4)),
    "linear_no_bias": (lambda: nn.Linear(4, 3, bias=False), (5, 4)),
    "conv1d": (lambda: nn.Conv1d(2, 3, 3, stride=2), (5, 2, 7)),
    "conv2d": (lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), (5, 2, 4, 4)),
    "conv2d_unbatched": (lambda: nn.Conv2d(2, 4, 3), (2, 4, 4)),
    "conv2d_no_bias": (lambda: nn.Conv2d(2, 4, 3, bias=False), (5, 2, 4, 4)),
    "conv2d_grouped": (lambda: nn.Conv2d(2, 4, 3, groups=2), (5, 2, 4, 4)),
    "conv3d": (lambda: nn.Conv3d(1, 2, 2), (3, 1, 3, 3, 3)),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("gate", GATES)
def test_closed_gate_is_a_plain_layer_with_zeros(gate, layer):
    make, shape = LAYERS[layer]
    plain, x = make(), torch.randn(shape)
    gate = GATES[gate](plain)
    half_closed(gate)
    is_open, values = gate.is_open(), gate.values().detach()
    assert 0 < int(is_open.sum()) < is_open.numel()
    folded = deepcopy(plain)
    with torch.no_grad():
        for index in torch.nonzero(torch.ones_like(is_open)).tolist():
            factor = float(values[tuple(index)]) if is_open[tuple(index)] else 0.0
            if gate.side == "inputs":
                folded.weight[:, index[0]] *= factor
            else:
                folded.weight[tuple(index)] *= factor
                if gate.side == "outputs" and folded.bias is not None:
                    folded.bias[index[0]] *= factor
    assert_close(gate.eval()(x), folded(x))


def half_closed(gate):
    """Move the gate's own parameters such that every other group closes."""
    n_groups = gate.group_shape().numel()
    closes = torch.arange(n_groups).reshape(gate.group_shape()) % 2 == 0
    with torch.no_grad():
        if isinstance(gate, HardConcreteGate):
            gate.log_alpha.copy_(torch.where(closes, -5.0, 1.0))
        elif isinstance(gate, VariationalDropoutGate):
            gate.log_sigma2.copy_(gate.weight.square().log() + torch.where(closes, 4.0, -4.0))
        elif isinstance(gate, GroupPosteriorGate):
            gate.z_log_variance.copy_(torch.where(closes, 2.0, -2.0))
        else:
            gate.weight.copy_(torch.where(closes, 1e-3, -0.5))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("gate", GATES)
def test_training_output_has_the_layers_shape_and_reaches_every_parameter(gate, layer):
    make, shape = LAYERS[layer]
    plain, x = make(), torch.randn(shape)
    gate = GATES[gate](plain).train()
    output = gate(x)
    assert output.shape == plain(x).shape
    (output.square().sum() + gate.penalty()).backward()
    for name, parameter in gate.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("gate", GATES)
def test_numbers_about_groups_have_the_shape_of_the_groups(gate, layer):
    plain = LAYERS[layer][0]()
    per_unit, gate = gate in PER_UNIT, GATES[gate](plain)
    if not per_unit:
        shape, side = tuple(plain.weight.shape), "weights"
    elif isinstance(plain, nn.Linear):
        shape, side = (plain.in_features,), "inputs"
    else:
        shape, side = (plain.out_channels,), "outputs"
    assert gate.side == side
    assert tuple(gate.group_shape()) == shape
    for numbers in (gate.scores(), gate.is_open(), gate.values(), gate.open_probability()):
        assert tuple(numbers.shape) == shape
    assert gate.is_open().dtype == torch.bool
    assert gate.group_size * gate.group_shape().numel() == plain.weight.numel()


@pytest.mark.parametrize("gate", GATES)
def test_gate_holds_the_layers_own_parameters_and_names_its_own(gate):
    plain = nn.Linear(4, 3)
    gate = GATES[gate](plain)
    assert gate.layer is plain
    assert gate.weight is plain.weight
    assert gate.bias is plain.bias
    assert gate.in_features == 4
    own = {id(p) for p in gate.own_parameters().values()}
    shared = {id(plain.weight), id(plain.bias)}
    assert own
    assert not own & shared
    assert {id(p) for p in gate.parameters()} == own | shared
    with pytest.raises(AttributeError):
        gate.no_such_thing  # noqa: B018


@pytest.mark.parametrize("gate", GATES)
def test_copies_and_casts_keep_gate_and_layer_together(gate):
    gate = deepcopy(GATES[gate](nn.Linear(4, 3))).double()
    assert gate.layer.weight is gate.weight
    assert gate.layer.bias is gate.bias
    assert {p.dtype for p in gate.parameters()} == {torch.float64}
    assert gate.train()(torch.randn(2, 4).double()).dtype == torch.float64


@pytest.mark.parametrize("gate", GATES)
def test_gates_take_the_dtype_of_the_layer(gate):
    gate = GATES[gate](nn.Conv2d(2, 3, 2, dtype=torch.float64))
    assert {p.dtype for p in gate.parameters()} == {torch.float64}
    assert gate.train()(torch.randn(1, 2, 3, 3).double()).dtype == torch.float64


@pytest.mark.parametrize("gate", sorted(set(GATES) - {"hard_concrete", "hard_concrete_weights"}))
def test_gates_without_a_chance_of_their_own_are_open_or_not(gate):
    gate = GATES[gate](nn.Linear(4, 3))
    half_closed(gate)
    assert gate.open_probability().tolist() == gate.is_open().float().tolist()
