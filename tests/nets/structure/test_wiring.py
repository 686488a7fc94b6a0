"""Who reads whose units, on modules as users write them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from skprune.masks.groups import Link
from skprune.nets.structure.wiring import links


def found(module, **params):
    """Find the links between all Linear and Conv layers, as tuples."""
    kinds = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
    names = [name for name, m in module.named_modules() if isinstance(m, kinds)]
    return [tuple(link) for link in links(module, names, **params)]


class Written(nn.Module):
    """Holds layers, and runs a function on them and the input."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._run = forward

    def forward(self, x):
        return self._run(self, x)


def test_sequential_net_is_a_chain():
    net = nn.Sequential(
        *(nn.Linear(4, 5), nn.ReLU(), nn.Dropout(0.1), nn.Linear(5, 3)),
        *(nn.Tanh(), nn.Linear(3, 2), nn.Softmax(-1)),
    )
    assert found(net) == [("0", "3", True), ("3", "5", True)]
    assert links(net, ["0", "3"]) == [Link("0", "3", True)]
    assert links(net, ["0", "5"]) == []


def test_names_have_their_prefix():
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    names = ["module.0", "module.2", "criterion.0"]
    assert links(net, names, "module") == [Link("module.0", "module.2")]


def test_nested_modules_are_looked_into():
    block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    net = nn.Sequential(block, nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Linear(3, 1))
    assert found(net) == [("0.0", "1.0", True), ("1.0", "2", True)]


def fully_connected(forward, n_hidden=6):
    return Written(forward, fc1=nn.Linear(4, n_hidden), fc2=nn.Linear(6, 3))


@pytest.mark.parametrize(
    ("forward", "keeps_zero"),
    [
        (lambda m, x: m.fc2(m.fc1(x)), True),
        (lambda m, x: m.fc2(F.relu(m.fc1(x))), True),
        (lambda m, x: m.fc2(torch.relu(m.fc1(x))), True),
        (lambda m, x: m.fc2(m.fc1(x).relu()), True),
        (lambda m, x: m.fc2(F.dropout(F.gelu(m.fc1(x)), training=m.training)), True),
        (lambda m, x: m.fc2(torch.tanh(m.fc1(x))), True),
        (lambda m, x: m.fc2(torch.sigmoid(m.fc1(x))), False),
        (lambda m, x: m.fc2(m.fc1(x).sigmoid()), False),
        (lambda m, x: m.fc2(F.relu(F.softplus(m.fc1(x)))), False),
        (lambda m, x: F.log_softmax(m.fc2(F.relu(m.fc1(x))), -1), True),
    ],
)
def test_functions_between_layers_are_followed(forward, keeps_zero):
    assert found(fully_connected(forward)) == [("fc1", "fc2", keeps_zero)]


@pytest.mark.parametrize(
    "forward",
    {
        "softmax": lambda m, x: m.fc2(torch.softmax(m.fc1(x), -1)),
        "residual": lambda m, x: m.fc2(m.fc1(x) + torch.cat([x, x[:, :2]], 1)),
        "gated": lambda m, x: m.fc2(m.fc1(x) * m.fc1(x)),
        "square": lambda m, x: (lambda h: m.fc2(h * h))(m.fc1(x)),
        "read_twice": lambda m, x: (lambda h: m.fc2(F.relu(h)) + h[:, :3])(m.fc1(x)),
        "returned_too": lambda m, x: (lambda h: (m.fc2(F.relu(h)), h))(m.fc1(x)),
        "branch_returned": lambda m, x: (lambda h: (m.fc2(h), h))(F.relu(m.fc1(x))),
        "permuted": lambda m, x: m.fc2(m.fc1(x)[:, [5, 4, 3, 2, 1, 0]]),
        "flipped": lambda m, x: m.fc2(torch.flip(m.fc1(x), (1,))),
        "concatenated": lambda m, x: m.fc2(torch.cat([m.fc1(x)[:, :3], m.fc1(x)[:, 3:]], 1)),
        "called_twice": lambda m, x: m.fc2(F.relu(m.fc1(F.relu(m.fc1(x))[:, :4]))),
        "reader_called_twice": lambda m, x: m.fc2(F.relu(m.fc1(x))) + m.fc2(x[:, [0] * 6]),
        "unused": lambda m, x: (m.fc1(x), m.fc2(x[:, [0] * 6]))[1],
    }.items(),
    ids=lambda item: item[0],
)
def test_units_with_another_use_make_no_link(forward):
    assert found(fully_connected(forward[1])) == []


def test_transposed_output_is_a_second_reader():
    net = fully_connected(lambda m, x: (lambda h: (m.fc2(h), h.T))(m.fc1(x)))
    assert found(net) == []


@pytest.mark.parametrize(
    "pool", [nn.MaxPool1d(3, 1, 1), nn.AvgPool1d(3, 1, 1), nn.AdaptiveAvgPool1d(6)]
)
def test_pooling_over_units_makes_no_link(pool):
    net = nn.Sequential(nn.Linear(4, 6), pool, nn.Linear(6, 2))
    assert net(torch.randn(3, 4)).shape == (3, 2)
    assert found(net) == []


def test_pooling_over_maps_without_a_batch_axis_makes_no_link():
    net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.AvgPool2d(3, 1, 1), nn.Conv1d(4, 2, 3))
    assert net(torch.randn(3, 2, 8)).shape == (3, 2, 4)
    assert found(net) == []


FLATTENERS = {
    "flatten": lambda x: torch.flatten(x, 1),
    "flatten_keyword": lambda x: torch.flatten(x, start_dim=1),
    "flatten_method": lambda x: x.flatten(1),
    "flatten_to_the_end": lambda x: x.flatten(1, -1),
    "view": lambda x: x.view(x.size(0), -1),
    "view_shape": lambda x: x.view(x.shape[0], -1),
    "view_tuple": lambda x: x.view((x.size(0), -1)),
    "reshape": lambda x: x.reshape(x.shape[0], -1),
    "reshape_function": lambda x: torch.reshape(x, (x.shape[0], -1)),
    "module": nn.Flatten(),
}


def convolutional(flatten, norm=None):
    """Make a LeNet for images of 12 times 12, with 3 times 3 positions a map before `fc1`."""
    is_module = isinstance(flatten, nn.Module)

    def forward(m, x):
        x = F.max_pool2d(F.relu(m.norm(m.conv1(x))), 2)
        x = F.relu(F.max_pool2d(m.conv2(x), 2))
        return m.fc2(F.relu(m.fc1(m.flatten(x) if is_module else flatten(x))))

    return Written(
        forward,
        conv1=nn.Conv2d(1, 3, 3, padding=1),
        norm=norm or nn.Identity(),
        conv2=nn.Conv2d(3, 4, 3, padding=1),
        flatten=flatten if is_module else nn.Identity(),
        fc1=nn.Linear(36, 5),
        fc2=nn.Linear(5, 2),
    )


@pytest.mark.parametrize("flatten", FLATTENERS)
def test_convolutional_net_is_a_chain_through_flattening(flatten):
    net = convolutional(FLATTENERS[flatten])
    assert net(torch.randn(2, 1, 12, 12)).shape == (2, 2)
    chain = [("conv1", "conv2", True), ("conv2", "fc1", True), ("fc1", "fc2", True)]
    assert found(net) == chain


def test_batch_norm_does_not_keep_zeros():
    net = convolutional(nn.Flatten(), nn.BatchNorm2d(3))
    chain = [("conv1", "conv2", False), ("conv2", "fc1", True), ("fc1", "fc2", True)]
    assert found(net) == chain
    mlp = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    assert found(mlp) == [("0", "3", False)]


def test_global_pooling_leaves_one_position_a_map():
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    assert found(net) == [("0", "4", True)]


@pytest.mark.parametrize(
    "flatten",
    {
        "transposed": lambda x: x.transpose(1, 2).flatten(1),
        "permuted": lambda x: x.permute(0, 2, 3, 1).flatten(1),
        "from_the_second": lambda x: x.flatten(2).sum(1).repeat(1, 4),
        "mean": lambda x: x.mean((2, 3)).repeat(1, 9),
    }.items(),
    ids=lambda item: item[0],
)
def test_other_orders_of_the_positions_make_no_link(flatten):
    net = convolutional(flatten[1])
    assert net(torch.randn(2, 1, 12, 12)).shape == (2, 2)
    assert found(net) == [("conv1", "conv2", True), ("fc1", "fc2", True)]


def test_layer_norm_makes_no_link():
    assert found(nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3))) == []


def test_linear_layer_along_the_last_axis_of_maps_makes_no_link():
    net = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Linear(4, 2))
    assert net(torch.randn(3, 2, 6)).shape == (3, 4, 2)
    assert found(net) == []


def test_grouped_convolution_makes_no_link_as_a_reader():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 2, 3))
    assert found(net) == [("1", "2", True)]
    depthwise = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4))
    assert found(depthwise) == []


def test_residual_block_links_only_what_is_inside():
    net = Written(
        lambda m, x: m.head((lambda h: h + m.c2(F.relu(m.c1(h))))(m.stem(x)).flatten(1)),
        stem=nn.Conv2d(1, 3, 3),
        c1=nn.Conv2d(3, 3, 3, padding=1),
        c2=nn.Conv2d(3, 3, 3, padding=1),
        head=nn.Linear(12, 2),
    )
    assert net(torch.randn(2, 1, 4, 4)).shape == (2, 2)
    assert found(net) == [("c1", "c2", True)]


def test_forward_that_cannot_be_traced_has_no_links():
    def forward(m, x):
        return m.fc2(m.fc1(x)) if x.sum() > 0 else m.fc2(F.relu(m.fc1(x)))

    assert found(fully_connected(forward)) == []


def test_finding_links_leaves_the_module_as_it_was():
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert found(net) == [("0", "2", False)]
    assert net.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


LINKED = {
    "relu": nn.ReLU(), "relu6": nn.ReLU6(), "leaky": nn.LeakyReLU(), "elu": nn.ELU(),
    "gelu": nn.GELU(), "silu": nn.SiLU(), "tanh": nn.Tanh(), "hardtanh": nn.Hardtanh(),
    "hardswish": nn.Hardswish(), "mish": nn.Mish(), "celu": nn.CELU(), "selu": nn.SELU(),
    "softsign": nn.Softsign(), "sigmoid": nn.Sigmoid(), "softplus": nn.Softplus(),
    "dropout": nn.Dropout(), "dropout1d": nn.Dropout1d(), "norm": nn.BatchNorm1d(6),
    "alpha_dropout": nn.AlphaDropout(), "max_pool": nn.MaxPool1d(2), "avg_pool": nn.AvgPool1d(2),
    "adaptive_pool": nn.AdaptiveMaxPool1d(2),
}  # fmt: skip


@pytest.mark.parametrize("between", LINKED)
def test_zero_maps_arrive_as_zero_where_the_link_says_so(between):
    """A link's promise, on a convolution: units stay apart, and zeros zeros if kept."""
    between = LINKED[between].train()
    net = nn.Sequential(nn.Conv1d(2, 6, 3), between, nn.Conv1d(6, 2, 2))
    ((_, _, keeps_zero),) = found(net)
    if isinstance(between, nn.BatchNorm1d):
        nn.init.normal_(between.bias)
    h = torch.randn(4, 6, 5)
    h[:, 2] = 0
    torch.manual_seed(1)
    one = between(h)
    h[:, 3] += 1
    torch.manual_seed(1)
    other = between(h)
    changed = (one != other).any(2).any(0)
    assert changed[[0, 1, 2, 4, 5]].sum() == 0
    assert bool((one[:, 2] == 0).all()) == keeps_zero


def test_hard_tanh_that_lifts_zero_does_not_keep_zeros():
    net = nn.Sequential(nn.Linear(4, 5), nn.Hardtanh(0.5, 1.0), nn.Linear(5, 3))
    assert [keeps_zero for _, _, keeps_zero in found(net)] in ([], [False])


def test_flattening_of_rows_and_maps_makes_no_link():
    net = Written(
        lambda m, x: m.fc(m.conv(x).flatten(end_dim=1)),
        conv=nn.Conv1d(1, 2, 1),
        fc=nn.Linear(4, 2),
    )
    assert net(torch.randn(3, 1, 4)).shape == (6, 2)
    assert found(net) == []
