"""Blocks of weights, against loops over them."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.testing import assert_allclose, assert_array_equal

from skprune.masks.groups import Blocks, Weights

SIDE = st.integers(1, 5)
TIED = st.sampled_from([0.0, 1.0, 2.0, 7.0])
LAYERS = st.lists(
    arrays(np.float64, array_shapes(max_dims=4, max_side=4), elements=TIED), min_size=1, max_size=3
).map(lambda layers: {f"layer{i}": layer for i, layer in enumerate(layers)})
PER_MILLE = st.integers(0, 1000)


def make(scores, rows, columns):
    return Blocks({name: score.shape for name, score in scores.items()}, rows, columns)


def blocks_of(score, rows, columns):
    """Yield the place of each block, and the flat positions of its weights."""
    positions = np.arange(score.size).reshape(score.shape[0], -1)
    height, width = positions.shape
    for down, top in enumerate(range(0, height, rows)):
        for across, left in enumerate(range(0, width, columns)):
            block = positions[top : top + rows, left : left + columns]
            yield (down, across), block.ravel()


@given(scores=LAYERS, rows=SIDE, columns=SIDE)
def test_scores_are_means_and_sizes_are_counts(scores, rows, columns):
    blocks = make(scores, rows, columns)
    pooled, sizes = blocks.pool(scores), blocks.sizes()
    for name, score in scores.items():
        places = dict(blocks_of(score, rows, columns))
        assert pooled[name].shape == sizes[name].shape == tuple(np.add(max(places), 1))
        for place, positions in places.items():
            assert sizes[name][place] == positions.size
            assert pooled[name][place] == pytest.approx(score.ravel()[positions].mean())


def test_edges_that_do_not_divide_by_hand():
    score = np.array([[1.0, 3.0, 5.0], [3.0, 5.0, 7.0], [2.0, 4.0, 9.0]])
    blocks = make({"a": score}, 2, 2)
    assert blocks.sizes()["a"].tolist() == [[4, 2], [2, 1]]
    assert blocks.pool({"a": score})["a"].tolist() == [[3, 6], [3, 9]]


def test_all_but_the_first_dimension_are_columns():
    score = np.arange(2 * 3 * 2 * 2.0).reshape(2, 3, 2, 2)
    blocks = make({"conv": score}, 1, 4)  # one kernel a block
    assert_allclose(blocks.pool({"conv": score})["conv"], score.mean((2, 3)))
    masks = blocks.spread({"conv": np.array([[True, False, True], [False, True, False]])})
    assert_array_equal(masks["conv"].all((2, 3)), [[1, 0, 1], [0, 1, 0]])
    assert_array_equal(masks["conv"].any((2, 3)), [[1, 0, 1], [0, 1, 0]])


def test_one_dimension_is_a_column():
    blocks = make({"a": np.zeros(5)}, 2, 3)
    assert blocks.pool({"a": np.array([1.0, 3, 5, 7, 8])})["a"].tolist() == [[2], [6], [8]]
    mask = blocks.spread({"a": np.array([[True], [False], [True]])})["a"]
    assert mask.tolist() == [True, True, False, False, True]


@given(scores=LAYERS, rows=SIDE, columns=SIDE, data=st.data())
def test_masks_and_density_are_those_of_the_weights(scores, rows, columns, data):
    blocks = make(scores, rows, columns)
    kept = {name: data.draw(arrays(np.bool_, size.shape)) for name, size in blocks.sizes().items()}
    masks = blocks.spread(kept)
    n_stay = 0
    for name, score in scores.items():
        assert masks[name].shape == score.shape
        for place, positions in blocks_of(score, rows, columns):
            n_stay += positions.size * kept[name][place]
            assert (masks[name].ravel()[positions] == kept[name][place]).all()
    assert blocks.outputs(kept) == {}
    share = pytest.approx(n_stay / sum(score.size for score in scores.values()))
    assert blocks.density(kept) == share
    for number in (torch.bool, torch.float32):
        tensors = {name: torch.from_numpy(each).to(number) for name, each in kept.items()}
        assert float(blocks.density(tensors)) == share


def by_hand(scores, rows, columns, per_mille):
    """Take blocks by their means, ties in order, while their weights are allowed."""
    size = sum(score.size for score in scores.values())
    left = size - ceil(Fraction(per_mille, 1000) * size)
    order = sorted(
        (
            (-score.ravel()[positions].mean(), name, positions)
            for name, score in scores.items()
            for _, positions in blocks_of(score, rows, columns)
        ),
        key=lambda block: block[0],
    )
    masks = {name: np.zeros(score.size, dtype=bool) for name, score in scores.items()}
    for _, name, positions in order:
        left -= positions.size
        if left < 0:
            break
        masks[name][positions] = True
    return {name: mask.reshape(scores[name].shape) for name, mask in masks.items()}


# means of these are exact, so that ties are ties
BINARY = st.sampled_from([0.0, 60.0, 120.0])
EVEN_LAYERS = st.lists(
    arrays(np.float64, array_shapes(max_dims=3, max_side=5), elements=BINARY),
    min_size=1,
    max_size=3,
).map(lambda layers: {f"layer{i}": layer for i, layer in enumerate(layers)})


@given(scores=EVEN_LAYERS, rows=SIDE, columns=SIDE, per_mille=PER_MILLE)
def test_kept_are_the_highest_from_above(scores, rows, columns, per_mille):
    blocks = make(scores, rows, columns)
    masks = blocks.spread(blocks.keep(blocks.pool(scores), per_mille / 1000))
    expected = by_hand(scores, rows, columns, per_mille)
    for name, mask in masks.items():
        assert_array_equal(mask, expected[name])


@given(scores=EVEN_LAYERS, rows=SIDE, columns=SIDE, per_mille=PER_MILLE)
def test_uniform_meets_the_sparsity_in_every_layer(scores, rows, columns, per_mille):
    blocks = make(scores, rows, columns)
    masks = blocks.spread(blocks.keep(blocks.pool(scores), per_mille / 1000, "uniform"))
    assert list(masks) == list(scores)
    for name, mask in masks.items():
        assert mask.size - mask.sum() >= Fraction(per_mille, 1000) * mask.size
        alone = by_hand({name: scores[name]}, rows, columns, per_mille)
        assert_array_equal(mask, alone[name])


def test_smaller_edge_blocks_count_as_what_they_are():
    # blocks of 4, 2, 2 and 1 weights, all equal: of 9 weights, 6 may stay, the first in order
    blocks = Blocks({"a": (3, 3)}, 2, 2)
    kept = blocks.keep({"a": np.ones((2, 2))}, 1 / 3)
    assert kept["a"].tolist() == [[True, True], [False, False]]
    # 5 may stay: the second block is one weight too large, and none behind it is taken instead
    kept = blocks.keep({"a": np.ones((2, 2))}, 4 / 9)
    assert kept["a"].tolist() == [[True, False], [False, False]]


@given(scores=LAYERS, per_mille=PER_MILLE, allocation=st.sampled_from(["global", "uniform"]))
def test_blocks_of_one_weight_are_weights(scores, per_mille, allocation):
    ones = make(scores, 1, 1)
    ours = ones.spread(ones.keep(ones.pool(scores), per_mille / 1000, allocation))
    single = Weights({name: score.shape for name, score in scores.items()})
    for name, mask in single.keep(scores, per_mille / 1000, allocation).items():
        assert_array_equal(ours[name], mask)


@pytest.mark.parametrize("allocation", ["global", "uniform"])
def test_zero_keeps_all_and_one_keeps_none(allocation):
    blocks = Blocks({"a": (5, 3), "b": (2, 2, 3, 3)}, 2, 4)
    scores = blocks.pool({"a": np.zeros((5, 3)), "b": np.zeros((2, 2, 3, 3))})
    assert blocks.density(blocks.keep(scores, 0.0, allocation)) == 1
    assert blocks.density(blocks.keep(scores, 1.0, allocation)) == 0
