"""Weights that live between gates, against dense matrices and against gradients of real nets."""

from fractions import Fraction
from itertools import product
from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from skprune.masks.units import Link, Units, living, n_living, top_units

MLP = {
    "a": Units(3, 4, 1, "inputs"),
    "b": Units(2, 3, 1, "inputs"),
    "c": Units(3, 2, 1, "inputs"),
}
CNN = {
    "a": Units(2, 1, 3, "outputs"),
    "b": Units(3, 2, 2, "outputs"),
    "c": Units(2, 6, 1, "inputs"),  # two positions a map
    "d": Units(1, 2, 1, "inputs"),
}
CHAINS = {
    "mlp": (MLP, [Link("a", "b"), Link("b", "c")]),
    "mlp_sigmoid": (MLP, [Link("a", "b", keeps_zero=False), Link("b", "c")]),
    "mlp_in_parts": (MLP, [Link("b", "c")]),
    "unlinked": (CNN, []),
    "cnn": (CNN, [Link("a", "b"), Link("b", "c"), Link("c", "d")]),
    "cnn_norm": (CNN, [Link("a", "b", False), Link("b", "c", False), Link("c", "d")]),
    "cnn_norm_once": (CNN, [Link("a", "b"), Link("b", "c", False)]),
}


def n_groups(layer):
    return layer.n_inputs if layer.side == "inputs" else layer.n_outputs


def dense(layers, gates, links):
    """Write every layer out as an array of ones, and strike out what is dead."""
    weights = {k: np.ones((u.n_outputs, u.n_inputs, u.kernel)) for k, u in layers.items()}
    for name, layer in layers.items():
        for group in range(n_groups(layer)):
            if not gates[name][group]:
                weights[name][(slice(None), group) if layer.side == "inputs" else group] = 0
    for link in links:
        producer, consumer = layers[link.producer], layers[link.consumer]
        repeats = consumer.n_inputs // producer.n_outputs
        for unit in range(producer.n_outputs):
            read_as = range(unit * repeats, (unit + 1) * repeats)
            read = consumer.side == "outputs" or any(gates[link.consumer][i] for i in read_as)
            if not read:
                weights[link.producer][unit] = 0
            if producer.side == "outputs" and not gates[link.producer][unit] and link.keeps_zero:
                for i in read_as:
                    weights[link.consumer][:, i] = 0
    return weights


def dense_count(layers, gates, links):
    return sum(np.count_nonzero(weight) for weight in dense(layers, gates, links).values())


def all_gates(layers, rng, n=200):
    """Draw combinations of gates, those of all open and all closed among them."""
    for chance in (0.0, 1.0, *rng.random(n)):
        yield {k: (rng.random(n_groups(u)) < chance).astype(float) for k, u in layers.items()}


@pytest.mark.parametrize("chain", CHAINS)
def test_living_weights_are_those_of_dense_matrices(chain):
    layers, links = CHAINS[chain]
    for gates in all_gates(layers, np.random.default_rng(0)):
        weights, alive = dense(layers, gates, links), living(layers, gates, links)
        for name, (rows, columns) in alive.items():
            ones = np.ones(layers[name].kernel)
            np.testing.assert_array_equal(
                np.einsum("i,j,k->ijk", rows, columns, ones), weights[name], err_msg=name
            )
        assert n_living(layers, alive) == dense_count(layers, gates, links)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_chances_give_the_expected_number_over_all_combinations(chain, kind):
    layers, links = CHAINS[chain]
    rng = np.random.default_rng(1)
    chances = {name: rng.random(n_groups(layer)) for name, layer in layers.items()}
    ends = np.cumsum([len(chance) for chance in chances.values()])[:-1]
    flat = np.concatenate(list(chances.values()))
    expected = 0.0
    for combination in product([0, 1], repeat=len(flat)):
        gates = np.array(combination)
        probability = np.where(gates, flat, 1 - flat).prod()
        named = dict(zip(chances, np.split(gates, ends), strict=True))
        expected += probability * quick_count(layers, named, links)
    if kind == "torch":
        chances = {name: torch.from_numpy(chance) for name, chance in chances.items()}
    ours = n_living(layers, living(layers, chances, links))
    assert float(ours) == pytest.approx(expected)


def quick_count(layers, gates, links):
    """Count as `dense` does, without the arrays."""
    rows = {
        k: list(gates[k]) if u.side == "outputs" else [1] * u.n_outputs for k, u in layers.items()
    }
    columns = {
        k: list(gates[k]) if u.side == "inputs" else [1] * u.n_inputs for k, u in layers.items()
    }
    reads, maps = {k: list(v) for k, v in columns.items()}, {k: list(v) for k, v in rows.items()}
    for link in links:
        repeats = len(columns[link.consumer]) // len(rows[link.producer])
        for unit, open_map in enumerate(maps[link.producer]):
            block = slice(unit * repeats, (unit + 1) * repeats)
            if not any(reads[link.consumer][block]):
                rows[link.producer][unit] = 0
            if not open_map and link.keeps_zero:
                columns[link.consumer][block] = [0] * repeats
    return sum(u.kernel * sum(rows[k]) * sum(columns[k]) for k, u in layers.items())


@pytest.mark.parametrize("chain", CHAINS)
def test_both_ways_to_count_by_hand_agree(chain):
    layers, links = CHAINS[chain]
    for gates in all_gates(layers, np.random.default_rng(2), 50):
        assert quick_count(layers, gates, links) == dense_count(layers, gates, links)


def test_counts_of_a_small_net_by_hand():
    layers, links = CHAINS["cnn"]
    gates = {
        "a": np.array([1.0, 0.0]),
        "b": np.array([1.0, 1.0, 0.0]),
        "c": np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0]),
        "d": np.array([1.0, 0.0]),
    }
    alive = living(layers, gates, links)
    rows = {name: alive[name][0].tolist() for name in layers}
    columns = {name: alive[name][1].tolist() for name in layers}
    assert rows == {"a": [1, 0], "b": [0, 1, 0], "c": [1, 0], "d": [1]}
    assert columns == {"a": [1], "b": [1, 0], "c": [0, 0, 1, 0, 0, 0], "d": [1, 0]}
    assert n_living(layers, alive) == 3 + 2 + 1 + 1


@pytest.mark.parametrize("keeps_zero", [True, False])
def test_weights_live_where_a_real_net_has_a_gradient(keeps_zero):
    act = nn.Tanh if keeps_zero else nn.Sigmoid
    net = nn.Sequential(
        *(nn.Conv1d(2, 3, 2), act(), nn.Conv1d(3, 4, 2), act(), nn.Flatten()),
        *(nn.Linear(12, 5), act(), nn.Linear(5, 2)),
    ).double()
    layers = {}
    for name, m in net.named_children():
        if hasattr(m, "weight"):
            side = "inputs" if isinstance(m, nn.Linear) else "outputs"
            layers[name] = Units(*m.weight.shape[:2], m.weight[0, 0].numel(), side)
    links = [Link("0", "2", keeps_zero), Link("2", "5", keeps_zero), Link("5", "7", keeps_zero)]
    x = torch.randn(8, 2, 5, dtype=torch.float64)
    rng = np.random.default_rng(0)
    for _ in range(30):
        gates = {name: (rng.random(n_groups(u)) < 0.4) * 1.0 for name, u in layers.items()}
        for gate in gates.values():
            gate[rng.integers(len(gate))] = 1.0  # a net with a closed layer has no gradient at all
        h = x
        for name, m in net.named_children():
            z = torch.from_numpy(gates.get(name, np.ones(1)))
            if name in layers and layers[name].side == "inputs":
                h = m(h * z)
            else:
                h = m(h) * z.reshape(-1, 1) if name in layers else m(h)
        weights = [net.get_submodule(name).weight for name in layers]
        gradients = torch.autograd.grad(h.sin().sum(), weights)
        alive = living(layers, gates, links)
        for name, gradient in zip(layers, gradients, strict=True):
            has_gradient = (gradient != 0).reshape(*gradient.shape[:2], -1).any(2)
            rows, columns = alive[name]
            if reaches_output(name, gates):
                np.testing.assert_array_equal(has_gradient, np.outer(rows, columns) > 0, name)


def reaches_output(name, gates):
    """Tell whether open maps of the layers behind are read at all."""
    columns = gates["5"].reshape(4, 3).any(1)
    is_read = bool((gates["2"] * columns).any())
    return is_read or name not in ("0", "2")


@given(data=st.data(), per_mille=st.integers(0, 1000), chain=st.sampled_from(sorted(CHAINS)))
def test_as_many_gates_are_kept_as_the_sparsity_allows(data, per_mille, chain):
    layers, links = CHAINS[chain]
    tied = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0])
    scores = {}
    for name, layer in layers.items():
        size = n_groups(layer)
        scores[name] = np.array(data.draw(st.lists(tied, min_size=size, max_size=size)))
    kept = top_units(layers, scores, per_mille / 1000, links)
    size = sum(layer.size for layer in layers.values())
    allowed = size - ceil(Fraction(per_mille, 1000) * size)
    assert list(kept) == list(layers)
    assert dense_count(layers, kept, links) <= allowed

    groups = [(name, i) for name in layers for i in range(n_groups(layers[name]))]
    groups.sort(key=lambda group: -scores[group[0]][group[1]])
    ranks = [kept[name][i] for name, i in groups]
    n_kept = sum(ranks)
    assert all(ranks[:n_kept])  # the highest, ties in order
    if n_kept < len(groups):
        name, i = groups[n_kept]
        kept[name][i] = True
        assert dense_count(layers, kept, links) > allowed


@pytest.mark.parametrize("chain", CHAINS)
def test_sparsity_zero_keeps_every_gate(chain):
    layers, links = CHAINS[chain]
    scores = {name: np.zeros(n_groups(layer)) for name, layer in layers.items()}
    kept = top_units(layers, scores, 0.0, links)
    assert all(gates.all() for gates in kept.values())


@pytest.mark.parametrize("chain", CHAINS)
def test_sparsity_one_leaves_no_weight(chain):
    layers, links = CHAINS[chain]
    rng = np.random.default_rng(0)
    scores = {name: rng.random(n_groups(layer)) for name, layer in layers.items()}
    assert dense_count(layers, top_units(layers, scores, 1.0, links), links) == 0


def test_chances_have_the_gradient_of_finite_differences():
    layers, links = CHAINS["cnn"]
    chances = [torch.rand(n_groups(u), dtype=torch.float64) for u in layers.values()]
    chances = [chance.requires_grad_() for chance in chances]

    def count(*gates):
        return n_living(layers, living(layers, dict(zip(layers, gates, strict=True)), links))

    assert torch.autograd.gradcheck(count, chances)


def test_gates_stay_as_they_were():
    layers, links = CHAINS["cnn"]
    gates = {name: np.zeros(n_groups(layer)) for name, layer in layers.items()}
    gates["a"][0] = 1.0
    before = {name: gate.copy() for name, gate in gates.items()}
    living(layers, gates, links)
    for name, gate in gates.items():
        np.testing.assert_array_equal(gate, before[name])
