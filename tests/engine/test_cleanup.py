"""Dead units leave the network, and predictions stay."""

import itertools
import pickle

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from skprune.engine import Layer, Network
from skprune.engine.cleanup import without_dead_units


def chain(widths, density, seed, activation="relu", output="softmax"):
    rng = np.random.default_rng(seed)
    layers = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        weight = random_array((n_out, n_in), density=density, rng=rng, dtype=np.float32)
        bias = rng.normal(size=n_out).astype(np.float32)
        last = i == len(widths) - 2
        layers.append(Layer(csr_array(weight), bias, output if last else activation))
    return layers


@pytest.mark.parametrize("engine", ["native", "scipy"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "elu", "identity"])
@pytest.mark.parametrize("seed", range(5))
def test_predictions_and_representation_stay(seed, activation, engine):
    layers = chain([20, 30, 25, 12, 4], 0.05, seed, activation)
    X = np.random.default_rng(seed).normal(size=(50, 20)).astype(np.float32)
    before = Network(layers, engine)
    small, constants = without_dead_units(layers)
    after = Network(small, engine, hidden_constants=constants)
    np.testing.assert_allclose(after.predict(X), before.predict(X), rtol=1e-5, atol=1e-6)
    hidden, was = after.transform(X), before.transform(X)
    assert hidden.shape == was.shape
    np.testing.assert_allclose(hidden, was, rtol=1e-5, atol=1e-6)
    assert sum(a.weight.shape[0] for a in small) < sum(a.weight.shape[0] for a in layers)
    again = pickle.loads(pickle.dumps(after))
    np.testing.assert_array_equal(again.transform(X), hidden)


@pytest.mark.parametrize("seed", range(5))
def test_no_dead_unit_is_left_between_the_ends(seed):
    small, _ = without_dead_units(chain([20, 30, 25, 12, 4], 0.1, seed))
    for layer, reader in itertools.pairwise(small):
        assert np.diff(layer.weight.indptr).all() or layer.weight.shape[0] == 1
        read = np.unique(reader.weight.indices)
        asked_for = reader is small[-1]
        assert len(read) == layer.weight.shape[0] or layer.weight.shape[0] == 1 or asked_for


def test_a_chain_without_dead_units_is_left_alone():
    layers = chain([5, 4, 3], 1.0, 0)
    small, constants = without_dead_units(layers)
    assert constants is None
    assert all(a is b for a, b in zip(small, layers, strict=True))


def test_an_empty_network_predicts_its_biases():
    empty = [
        Layer(csr_array((4, 3), dtype=np.float32), np.float32([1, -1, 2, 0]), "relu"),
        Layer(csr_array((2, 4), dtype=np.float32), np.float32([0.5, 1.5])),
    ]
    small, constants = without_dead_units(empty)
    network = Network(small, hidden_constants=constants)
    assert network.predict(np.ones((1, 3))).tolist() == [[0.5, 1.5]]
    assert network.transform(np.ones((1, 3))).shape == (1, 4)


def test_units_under_a_softmax_stay():
    layers = chain([6, 5, 4, 3], 0.2, 1)
    layers[0] = Layer(layers[0].weight, layers[0].bias, "softmax")
    small, _ = without_dead_units(layers)
    assert small[0].weight.shape == (5, 6)


@pytest.mark.parametrize("constants", [[np.nan], [1.0] * 4, [np.inf] * 4, [[np.nan] * 4]])
def test_wrong_constants_are_refused(constants):
    with pytest.raises(ValueError, match="hidden_constants must be"):
        Network(chain([5, 4, 3], 1.0, 0), hidden_constants=constants)
