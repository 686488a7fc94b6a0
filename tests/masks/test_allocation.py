"""Counts and positions of what stays, against exact arithmetic and full sorts."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from skprune.masks import ALLOCATIONS
from skprune.masks.allocation import highest, keep_highest, n_kept, shares

# few different values, so that most draws hold ties
TIED = st.sampled_from([0.0, 0.5, 1.0, 2.0])
LAYERS = st.lists(
    arrays(np.float64, array_shapes(max_dims=3, max_side=5), elements=TIED),
    min_size=1,
    max_size=4,
).map(lambda arrays: {f"layer{i}": array for i, array in enumerate(arrays)})
PER_MILLE = st.integers(0, 1000)


def keep_counts(scores, sparsity, allocation):
    """How many weights each layer keeps."""
    shapes = {name: score.shape for name, score in scores.items()}
    counts = {}
    for names, share in shares(shapes, sparsity, allocation):
        part = {name: scores[name] for name in names}
        kept = keep_highest(part, dict.fromkeys(names, 1), share)
        assert all(mask.shape == scores[name].shape for name, mask in kept.items())
        counts |= {name: int(mask.sum()) for name, mask in kept.items()}
    return counts


def exact_count(size, per_mille):
    """The most weights that may stay, in arithmetic without rounding."""
    return size - ceil(Fraction(per_mille, 1000) * size)


@given(size=st.integers(1, 10_000_000), per_mille=PER_MILLE)
def test_count_is_exact_and_from_above(size, per_mille):
    assert n_kept(size, per_mille / 1000) == exact_count(size, per_mille)


@pytest.mark.parametrize(("size", "sparsity", "kept"), [(10, 0.9, 1), (1000, 0.9, 100)])
@pytest.mark.parametrize("nudge", [-1, 0, 1])
def test_last_bit_of_the_sparsity_costs_no_weight(size, sparsity, kept, nudge):
    nudged = np.nextafter(sparsity, sparsity + nudge)
    assert n_kept(size, nudged) == kept


def test_computed_sparsity_counts_as_the_number_it_stands_for():
    assert 0.1 * 3 > 0.3
    assert n_kept(10, 0.1 * 3) == n_kept(10, 0.3) == 7


def test_what_cannot_be_met_exactly_is_met_from_above():
    assert n_kept(3, 0.5) == 1
    assert n_kept(7, 0.01) == 6


@pytest.mark.parametrize("allocation", sorted(ALLOCATIONS))
@given(scores=LAYERS)
def test_sparsity_zero_keeps_all_and_one_keeps_none(allocation, scores):
    everything = {name: score.size for name, score in scores.items()}
    assert keep_counts(scores, 0.0, allocation) == everything
    assert keep_counts(scores, 1.0, allocation) == dict.fromkeys(scores, 0)


@given(scores=LAYERS, per_mille=PER_MILLE)
def test_global_counts_are_those_of_a_stable_sort_of_all_scores(scores, per_mille):
    pooled = [(-s, i) for i, score in enumerate(scores.values()) for s in score.ravel()]
    stay = sorted(pooled, key=lambda pair: pair[0])[: exact_count(len(pooled), per_mille)]
    expected = {name: sum(i == k for _, i in stay) for k, name in enumerate(scores)}
    assert keep_counts(scores, per_mille / 1000, "global") == expected


@given(scores=LAYERS, per_mille=PER_MILLE)
def test_uniform_counts_are_exact_in_every_layer(scores, per_mille):
    expected = {name: exact_count(score.size, per_mille) for name, score in scores.items()}
    assert keep_counts(scores, per_mille / 1000, "uniform") == expected


@given(scores=LAYERS, sparsities=st.tuples(PER_MILLE, PER_MILLE).map(sorted))
def test_a_higher_sparsity_keeps_no_layer_larger(scores, sparsities):
    low, high = (keep_counts(scores, s / 1000, "global") for s in sparsities)
    assert all(high[name] <= low[name] for name in scores)


@given(score=arrays(np.float64, st.integers(1, 30), elements=TIED), data=st.data())
def test_highest_prefers_earlier_positions_among_equals(score, data):
    count = data.draw(st.integers(0, score.size))
    by_score_then_position = sorted(range(score.size), key=lambda i: (-score[i], i))
    assert sorted(highest(score, count).tolist()) == sorted(by_score_then_position[:count])


def test_unknown_allocation_is_no_silent_default():
    with pytest.raises(KeyError, match="erkk"):
        keep_counts({"a": np.ones(3)}, 0.5, "erkk")


@given(scores=LAYERS, per_mille=PER_MILLE, data=st.data())
def test_groups_of_any_sizes_stay_while_their_weights_are_allowed(scores, per_mille, data):
    sizes = {
        name: data.draw(arrays(np.int64, score.shape, elements=st.integers(1, 5)))
        for name, score in scores.items()
    }
    kept = keep_highest(scores, sizes, per_mille / 1000)
    groups = [
        (-score, name, at) for name, layer in scores.items() for at, score in np.ndenumerate(layer)
    ]
    total = sum(int(size.sum()) for size in sizes.values())
    left = exact_count(total, per_mille)
    stays = True
    for _, name, at in sorted(groups, key=lambda group: group[0]):  # stable: ties in order
        left -= sizes[name][at]
        stays = stays and left >= 0
        assert kept[name][at] == stays


@given(scores=LAYERS, per_mille=PER_MILLE, size=st.integers(1, 6))
def test_one_size_for_all_is_the_same_as_one_a_group(scores, per_mille, size):
    one = keep_highest(scores, dict.fromkeys(scores, size), per_mille / 1000)
    each = {name: np.full(score.shape, size) for name, score in scores.items()}
    many = keep_highest(scores, each, per_mille / 1000)
    for name in scores:
        np.testing.assert_array_equal(one[name], many[name])


def test_layers_of_different_sizes_are_weighed_by_them():
    # 2 groups of 3 weights and 4 of 1: of 10 weights, 6 may stay
    scores = {"a": np.array([9.0, 1.0]), "b": np.array([8.0, 7.0, 6.0, 5.0])}
    kept = keep_highest(scores, {"a": 3, "b": 1}, 0.4)
    assert kept["a"].tolist() == [True, False]
    assert kept["b"].tolist() == [True, True, True, False]
