"""Masks of single weights, against a full sort."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.testing import assert_array_equal

from skprune.masks import keep_counts, top_masks

SHAPES = array_shapes(min_dims=1, max_dims=4, max_side=4)
TIED = st.sampled_from([0.0, 1.0, 1.5])


def mask_by_sorting(score, count):
    mask = np.zeros(score.size, dtype=bool)
    mask[np.argsort(-score.ravel(), kind="stable")[:count]] = True
    return mask.reshape(score.shape)


@given(score=arrays(np.float32, SHAPES, elements=TIED), data=st.data())
def test_mask_is_that_of_a_stable_sort(score, data):
    count = data.draw(st.integers(0, score.size))
    mask = top_masks({"a": score}, {"a": count})["a"]
    assert mask.dtype == bool
    assert_array_equal(mask, mask_by_sorting(score, count))


def test_every_layer_gets_its_own_count():
    rng = np.random.default_rng(0)
    scores = {"a": rng.random((3, 5)), "b": rng.random((2, 2, 4)), "c": rng.random(7)}
    counts = {"a": 4, "b": 0, "c": 7}
    masks = top_masks(scores, counts, "weight")
    assert list(masks) == ["a", "b", "c"]
    for name, mask in masks.items():
        assert_array_equal(mask, mask_by_sorting(scores[name], counts[name]))


def test_all_scores_equal_keeps_the_first():
    mask = top_masks({"a": np.ones((2, 3))}, {"a": 4})["a"]
    assert mask.tolist() == [[True, True, True], [True, False, False]]


@given(
    layers=st.lists(arrays(np.float32, SHAPES, elements=TIED), min_size=1, max_size=3),
    per_mille=st.integers(0, 1000),
)
def test_global_masks_are_one_sort_over_all_layers(layers, per_mille):
    scores = {str(i): layer for i, layer in enumerate(layers)}
    counts = keep_counts(scores, per_mille / 1000, "global")
    masks = top_masks(scores, counts)
    pooled = np.concatenate([layer.ravel() for layer in layers])
    expected = mask_by_sorting(pooled, sum(counts.values()))
    assert_array_equal(np.concatenate([m.ravel() for m in masks.values()]), expected)


def test_scores_are_left_alone():
    score = np.array([3.0, 1.0, 2.0])
    score.setflags(write=False)
    assert top_masks({"a": score}, {"a": 1})["a"].tolist() == [True, False, False]
