"""Weights that live between gates, against dense matrices and against gradients of real nets."""

import re
from fractions import Fraction
from itertools import islice, product
from math import ceil
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from skprune.masks.groups import Link, Units


class Layer(NamedTuple):
    """A layer as these tests write it down."""

    n_outputs: int
    n_inputs: int
    kernel: int
    side: str | None


MLP = {
    "a": Layer(3, 4, 1, "inputs"),
    "b": Layer(2, 3, 1, "inputs"),
    "c": Layer(3, 2, 1, "inputs"),
}
CNN = {
    "a": Layer(2, 1, 3, "outputs"),
    "b": Layer(3, 2, 2, "outputs"),
    "c": Layer(2, 6, 1, "inputs"),  # two positions a map
    "d": Layer(1, 2, 1, "inputs"),
}
NEURONS = {  # the same with neurons: the outputs of all but the last layer
    "a": Layer(2, 1, 3, "outputs"),
    "b": Layer(3, 2, 2, "outputs"),
    "c": Layer(4, 6, 1, "outputs"),
    "d": Layer(2, 4, 1, None),
}
NEURON_LINKS = [Link("a", "b"), Link("b", "c"), Link("c", "d")]
CHAINS = {
    "mlp": (MLP, [Link("a", "b"), Link("b", "c")]),
    "mlp_sigmoid": (MLP, [Link("a", "b", keeps_zero=False), Link("b", "c")]),
    "mlp_in_parts": (MLP, [Link("b", "c")]),
    "unlinked": (CNN, []),
    "cnn": (CNN, [Link("a", "b"), Link("b", "c"), Link("c", "d")]),
    "cnn_norm": (CNN, [Link("a", "b", False), Link("b", "c", False), Link("c", "d")]),
    "cnn_norm_once": (CNN, [Link("a", "b"), Link("b", "c", False)]),
    "neurons": (NEURONS, NEURON_LINKS),
    "neurons_norm": (NEURONS, [link._replace(keeps_zero=False) for link in NEURON_LINKS]),
    "neurons_in_parts": (NEURONS, [Link("a", "b"), Link("c", "d")]),
}


def make(layers, links):
    shapes = {name: (u.n_outputs, u.n_inputs, u.kernel) for name, u in layers.items()}
    return Units(shapes, {name: u.side for name, u in layers.items()}, links)


def size_of(layers):
    return sum(u.n_outputs * u.n_inputs * u.kernel for u in layers.values())


def least(layers, links):
    """The weights that stay where no group does."""
    return dense_count(layers, {n: np.zeros(n_groups(u)) for n, u in layers.items()}, links)


def n_groups(layer):
    return {"inputs": layer.n_inputs, "outputs": layer.n_outputs, None: 0}[layer.side]


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
            read = consumer.side != "inputs" or any(gates[link.consumer][i] for i in read_as)
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
    units = make(layers, links)
    for gates in all_gates(layers, np.random.default_rng(0)):
        weights, alive = dense(layers, gates, links), units.living(gates)
        for name, (rows, columns) in alive.items():
            ones = np.ones(layers[name].kernel)
            np.testing.assert_array_equal(
                np.einsum("i,j,k->ijk", rows, columns, ones), weights[name], err_msg=name
            )
            np.testing.assert_array_equal(units.spread(gates)[name], weights[name] > 0)
            np.testing.assert_array_equal(units.outputs(gates)[name], rows > 0)
        count = dense_count(layers, gates, links)
        assert units.density(gates) * size_of(layers) == pytest.approx(count)
        masks = np.concatenate([mask.ravel() for mask in units.spread(gates).values()])
        assert units.density(gates) == pytest.approx(masks.mean())


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
    ours = make(layers, links).density(chances) * size_of(layers)
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
    units = make(layers, links)
    alive = units.living(gates)
    rows = {name: alive[name][0].tolist() for name in layers}
    columns = {name: alive[name][1].tolist() for name in layers}
    assert rows == {"a": [1, 0], "b": [0, 1, 0], "c": [1, 0], "d": [1]}
    assert columns == {"a": [1], "b": [1, 0], "c": [0, 0, 1, 0, 0, 0], "d": [1, 0]}
    assert units.density(gates) * size_of(layers) == pytest.approx(3 + 2 + 1 + 1)


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
            layers[name] = Layer(*m.weight.shape[:2], m.weight[0, 0].numel(), side)
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
        alive = make(layers, links).living(gates)
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
    size = size_of(layers)
    allowed = size - ceil(Fraction(per_mille, 1000) * size)
    assume(least(layers, links) <= allowed)
    kept = make(layers, links).keep(scores, per_mille / 1000)
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
    kept = make(layers, links).keep(scores, 0.0)
    assert all(gates.all() for gates in kept.values())


@pytest.mark.parametrize("chain", [c for c in CHAINS if "neurons" not in c])
def test_sparsity_one_leaves_no_weight(chain):
    layers, links = CHAINS[chain]
    rng = np.random.default_rng(0)
    scores = {name: rng.random(n_groups(layer)) for name, layer in layers.items()}
    assert dense_count(layers, make(layers, links).keep(scores, 1.0), links) == 0


def test_chances_have_the_gradient_of_finite_differences():
    layers, links = CHAINS["cnn"]
    chances = [torch.rand(n_groups(u), dtype=torch.float64) for u in layers.values()]
    chances = [chance.requires_grad_() for chance in chances]

    def count(*gates):
        return make(layers, links).density(dict(zip(layers, gates, strict=True)))

    assert torch.autograd.gradcheck(count, chances)


def test_gates_stay_as_they_were():
    layers, links = CHAINS["cnn"]
    gates = {name: np.zeros(n_groups(layer)) for name, layer in layers.items()}
    gates["a"][0] = 1.0
    before = {name: gate.copy() for name, gate in gates.items()}
    make(layers, links).living(gates)
    for name, gate in gates.items():
        np.testing.assert_array_equal(gate, before[name])


@pytest.mark.parametrize("chain", CHAINS)
def test_what_is_out_of_reach_is_refused_and_the_most_is_told(chain):
    layers, links = CHAINS[chain]
    units = make(layers, links)
    names = list(layers)
    every = [product([0, 1], repeat=n_groups(layers[name])) for name in names]
    fewest = min(
        dense_count(layers, dict(zip(names, gates, strict=True)), links)
        for gates in islice(product(*every), 600)  # none at all is among the first
    )
    most = 1 - fewest / size_of(layers)
    assert units.reachable(most) == most
    assert units.reachable(0.0) == 0.0
    if most == 1:
        return
    with pytest.raises(ValueError, match="out of reach of granularity='neuron'") as caught:
        units.reachable(most + 1e-4)
    told = float(re.search(r"removes ([\d.]+) of", str(caught.value))[1])
    assert told == pytest.approx(most, abs=1e-4)
    assert units.reachable(told) == told
    assert "['d']" in str(caught.value)


def test_most_that_neurons_remove_by_hand():
    # 4 -> 3 -> 2: without hidden units, the 12 weights to them go, and the 6 that read them
    shapes, sides = {"a": (3, 4), "b": (2, 3)}, {"a": "outputs", "b": None}
    assert Units(shapes, sides, [Link("a", "b")]).reachable(1.0) == 1.0
    # what reads a unit through a sigmoid or a batch norm stays: 12 of 18
    apart = Units(shapes, sides, [Link("a", "b", keeps_zero=False)])
    assert apart.reachable(12 / 18) == 12 / 18
    with pytest.raises(ValueError, match=r"removes 0\.6666 of the weights at most"):
        apart.reachable(0.6667)


def test_a_net_of_protected_layers_alone_loses_nothing():
    units = Units({"a": (2, 3)}, {"a": None})
    assert units.reachable(0.0) == 0.0
    with pytest.raises(ValueError, match=r"sparsity=0.1 .* removes 0.0 of .* outputs of \['a'\]"):
        units.reachable(0.1)


@pytest.mark.parametrize("keeps_zero", [True, False])
def test_readers_lose_columns_only_where_zero_arrives_as_zero(keeps_zero):
    units = Units(
        {"a": (3, 2), "b": (2, 3)}, {"a": "outputs", "b": None}, [Link("a", "b", keeps_zero)]
    )
    kept = {"a": np.array([True, False, True]), "b": np.zeros(0, dtype=bool)}
    masks = units.spread(kept)
    assert masks["a"].tolist() == [[True, True], [False, False], [True, True]]
    assert masks["b"].tolist() == [[True, not keeps_zero, True]] * 2
    outputs = units.outputs(kept)
    assert outputs["a"].tolist() == [True, False, True]
    assert outputs["b"].tolist() == [True, True]
    assert units.density(kept) == pytest.approx((4 + (4 if keeps_zero else 6)) / 12)


def test_pooled_scores_are_means_over_rows_or_columns():
    rng = np.random.default_rng(0)
    scores = {"a": rng.random((3, 2, 2, 2)), "b": rng.random((2, 3)), "c": rng.random((2, 2))}
    shapes = {name: score.shape for name, score in scores.items()}
    pooled = Units(shapes, {"a": "outputs", "b": "inputs", "c": None}).pool(scores)
    for unit in range(3):
        assert pooled["a"][unit] == pytest.approx(sum(scores["a"][unit].ravel()) / 8)
        assert pooled["b"][unit] == pytest.approx(sum(scores["b"][:, unit]) / 2)
    assert pooled["c"].size == 0


@given(
    n_units=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    per_mille=st.integers(0, 1000),
    data=st.data(),
)
def test_uniform_removes_equal_shares_of_units(n_units, per_mille, data):
    shapes = {str(i): (n, 2) for i, n in enumerate(n_units)}
    units = Units(shapes, dict.fromkeys(shapes, "outputs"))
    tied = st.sampled_from([0.0, 1.0, 100.0])  # of very different layers, too
    scores = {
        name: np.array(data.draw(st.lists(tied, min_size=n, max_size=n)))
        for name, (n, _) in shapes.items()
    }
    kept = units.keep(scores, per_mille / 1000, "uniform")
    removed = {name: int((~each).sum()) for name, each in kept.items()}
    for name, each in kept.items():
        n = each.size
        order = sorted(range(n), key=lambda i: (-scores[name][i], i))
        assert sorted(np.flatnonzero(each)) == sorted(order[: n - removed[name]])
        for other, their in kept.items():
            apart = abs(Fraction(removed[name], n) - Fraction(removed[other], their.size))
            assert apart <= Fraction(1, min(n, their.size))
    # one unit more would break the target
    total = sum(n_units)
    assert sum(removed.values()) == ceil(Fraction(per_mille, 1000) * 2 * total / 2)


def test_uniform_shares_by_hand():
    # half of the units of both layers, however the scores of one tower above the other's
    units = Units({"a": (4, 1), "b": (2, 1)}, {"a": "outputs", "b": "outputs"})
    scores = {"a": np.array([1.0, 4.0, 3.0, 2.0]), "b": np.array([100.0, 200.0])}
    kept = units.keep(scores, 0.5, "uniform")
    assert kept["a"].tolist() == [False, True, True, False]
    assert kept["b"].tolist() == [False, True]
    kept = units.keep(scores, 0.5, "global")
    assert kept["a"].tolist() == [False, True, False, False]
    assert kept["b"].tolist() == [True, True]
