"""Counts and positions of what stays, against exact arithmetic and full sorts."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from skprune.masks import ALLOCATIONS, keep_counts
from skprune.masks.allocation import highest, n_kept

# few different values, so that most draws hold ties
TIED = st.sampled_from([0.0, 0.5, 1.0, 2.0])
LAYERS = st.lists(
    arrays(np.float64, array_shapes(max_dims=3, max_side=5), elements=TIED),
    min_size=1,
    max_size=4,
).map(lambda arrays: {f"layer{i}": array for i, array in enumerate(arrays)})
PER_MILLE = st.integers(0, 1000)


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
