"""Masks of single weights, against a full sort."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.testing import assert_array_equal

from skprune.masks.groups import Weights

SHAPES = array_shapes(min_dims=1, max_dims=4, max_side=4)
TIED = st.sampled_from([0.0, 1.0, 1.5])


def mask_by_sorting(score, count):
    mask = np.zeros(score.size, dtype=bool)
    mask[np.argsort(-score.ravel(), kind="stable")[:count]] = True
    return mask.reshape(score.shape)


def keep(scores, sparsity, allocation="global"):
    return Weights({n: s.shape for n, s in scores.items()}).keep(scores, sparsity, allocation)


def removing(size, count):
    """A sparsity that leaves `count` of `size` weights."""
    return (size - count) / size


@given(score=arrays(np.float32, SHAPES, elements=TIED), data=st.data())
def test_mask_is_that_of_a_stable_sort(score, data):
    count = data.draw(st.integers(0, score.size))
    mask = keep({"a": score}, removing(score.size, count))["a"]
    assert mask.dtype == bool
    assert_array_equal(mask, mask_by_sorting(score, count))


@pytest.mark.parametrize(
    ("sparsity", "counts"), [(0.5, (7, 8, 3)), (0.9, (1, 1, 0)), (0, (15, 16, 7))]
)
def test_uniform_gives_every_layer_its_own_count(sparsity, counts):
    rng = np.random.default_rng(0)
    scores = {"a": rng.random((3, 5)), "b": rng.random((2, 2, 4)), "c": rng.random(7)}
    masks = keep(scores, sparsity, "uniform")
    assert list(masks) == ["a", "b", "c"]
    for (name, mask), count in zip(masks.items(), counts, strict=True):
        assert_array_equal(mask, mask_by_sorting(scores[name], count))


def test_all_scores_equal_keeps_the_first():
    mask = keep({"a": np.ones((2, 3))}, removing(6, 4))["a"]
    assert mask.tolist() == [[True, True, True], [True, False, False]]


@given(
    layers=st.lists(arrays(np.float32, SHAPES, elements=TIED), min_size=1, max_size=3),
    per_mille=st.integers(0, 1000),
)
def test_global_masks_are_one_sort_over_all_layers(layers, per_mille):
    masks = keep({str(i): layer for i, layer in enumerate(layers)}, per_mille / 1000)
    pooled = np.concatenate([layer.ravel() for layer in layers])
    count = pooled.size - ceil(Fraction(per_mille, 1000) * pooled.size)
    expected = mask_by_sorting(pooled, count)
    assert_array_equal(np.concatenate([m.ravel() for m in masks.values()]), expected)


def test_scores_are_left_alone():
    score = np.array([3.0, 1.0, 2.0])
    score.setflags(write=False)
    assert keep({"a": score}, removing(3, 1))["a"].tolist() == [True, False, False]


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_density_is_the_mean_over_all_weights(kind):
    weights = Weights({"a": (2, 2), "b": (6,)})
    kept = {"a": kind([[1.0, 0.25], [0.0, 0.5]]), "b": kind([1.0, 0.0, 0.0, 0.0, 0.0, 0.75])}
    assert float(weights.density(kept)) == pytest.approx(3.5 / 10)
    assert float(weights.density({n: each > 0 for n, each in kept.items()})) == pytest.approx(0.5)


def test_groups_are_the_weights_themselves():
    weights = Weights({"a": (2, 3)})
    score = np.arange(6.0).reshape(2, 3)
    assert_array_equal(weights.pool({"a": score})["a"], score)
    assert_array_equal(weights.spread({"a": score > 2})["a"], score > 2)
    assert weights.outputs({"a": score > 2}) == {}
    assert weights.reachable(0.37) == 0.37
