"""n:m patterns, against all masks of a group and counts by hand."""

import re
from fractions import Fraction
from itertools import combinations
from math import ceil, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from skprune.masks.groups import NOfM

PATTERNS = st.sampled_from([(1, 2), (2, 4), (1, 3), (3, 4), (1, 4), (4, 8), (2, 5)])
TIED = st.sampled_from([0.0, 1.0, 2.0])
PER_MILLE = st.integers(1, 1000)


@st.composite
def layers(draw, n, m):
    """Layers whose rows are wide enough, most of them with a tail."""
    narrowest = -(-m // n)
    shapes = draw(
        st.lists(
            st.one_of(
                st.tuples(st.integers(1, 4), st.integers(narrowest, 3 * m)),
                st.tuples(st.integers(1, 3), st.integers(narrowest, 4), st.just(2), st.just(3)),
            ),
            min_size=1,
            max_size=3,
        )
    )
    return {
        str(i): draw(arrays(np.float64, shape, elements=TIED)) for i, shape in enumerate(shapes)
    }


def make(scores, n, m):
    return NOfM({name: score.shape for name, score in scores.items()}, n, m)


def groups_of(layer, m):
    """Yield the weights of each group, row by row."""
    for row in layer.reshape(layer.shape[0], -1):
        for start in range(0, row.size, m):
            yield row[start : start + m]


def highest_by_trying(score, count):
    """Of all choices of `count` weights, the one of the highest sum; the first of equal ones."""
    best = max(combinations(range(score.size), count), key=lambda chosen: sum(score[list(chosen)]))
    return [i in best for i in range(score.size)]


def n_removed_by_pattern(scores, n, m):
    return sum(
        group.size - n * group.size // m
        for score in scores.values()
        for group in groups_of(score, m)
    )


@given(pattern=PATTERNS, data=st.data(), allocation=st.sampled_from(["global", "uniform"]))
def test_every_group_keeps_its_n_highest(pattern, data, allocation):
    n, m = pattern
    scores = data.draw(layers(n, m))
    groups = make(scores, n, m)
    kept = groups.keep(scores, groups.reachable(1 - n / m), allocation)
    assert list(kept) == list(scores)
    for name, mask in kept.items():
        assert mask.shape == scores[name].shape
        for score, stays in zip(groups_of(scores[name], m), groups_of(mask, m), strict=True):
            count = n if score.size == m else n * score.size // m
            assert stays.tolist() == highest_by_trying(score, count)
    assert groups.density(kept) == pytest.approx(1 - groups.reachable(1 - n / m))


def test_pattern_by_hand():
    score = np.array([[4.0, 1, 2, 3, 9, 8, 7], [1, 1, 1, 1, 0, 5, 0]])
    groups = NOfM({"a": (2, 7)}, 2, 4)
    assert groups.reachable(0.5) == 8 / 14  # a tail of 3 keeps 1
    kept = groups.keep({"a": score}, 8 / 14)["a"]
    assert kept.astype(int).tolist() == [[1, 0, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 1, 0]]


@given(pattern=PATTERNS, data=st.data(), per_mille=st.integers(0, 1000))
def test_what_is_reachable_is_the_pattern_and_never_below(pattern, data, per_mille):
    n, m = pattern
    scores = data.draw(layers(n, m))
    groups = make(scores, n, m)
    target = Fraction(per_mille, 1000)
    if target > 1 - Fraction(n, m):
        with pytest.raises(ValueError, match="contradict"):
            groups.reachable(per_mille / 1000)
        return
    reached = groups.reachable(per_mille / 1000)
    size = sum(score.size for score in scores.values())
    expected = n_removed_by_pattern(scores, n, m) / size if per_mille else 0
    assert reached == pytest.approx(expected)
    assert reached >= target - Fraction(1, 10**9)


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 3), (2, 3), (1, 7), (6, 7), (1, 16)])
def test_refusal_names_a_sparsity_that_works(n, m):
    groups = NOfM({"a": (2, 112 * 3)}, n, m)
    with pytest.raises(ValueError, match=f"sparsity=0.95.*granularity='{n}:{m}'") as caught:
        groups.reachable(0.95)
    advised = float(re.search(r"set sparsity=([\d.]+)", str(caught.value))[1])
    assert advised == pytest.approx(1 - n / m, abs=1e-4)
    assert groups.reachable(advised) == pytest.approx(1 - n / m)


def test_rows_that_would_lose_all_weights_are_refused():
    groups = NOfM({"a": (4, 4), "b": (4, 3), "c": (9,), "d": (2, 1, 1, 3)}, 1, 4)
    with pytest.raises(ValueError, match=r"all weights of \['b', 'c', 'd'\].*fewer than 4"):
        groups.reachable(0.5)
    assert groups.reachable(0.0) == 0.0
    assert NOfM({"a": (4, 2)}, 2, 4).reachable(0.5) == 0.5


@given(pattern=PATTERNS, data=st.data(), per_mille=PER_MILLE)
def test_on_the_way_the_lowest_go_of_those_that_the_pattern_removes(pattern, data, per_mille):
    n, m = pattern
    scores = data.draw(layers(n, m))
    groups = make(scores, n, m)
    removable = n_removed_by_pattern(scores, n, m)
    size = sum(score.size for score in scores.values())
    last = groups.keep(scores, groups.reachable(1 - n / m))
    level = Fraction(per_mille, 1000) * Fraction(removable, size)
    kept = groups.keep(scores, float(level))
    n_gone = ceil(level * size)
    candidates = [
        (-scores[name].ravel()[i], name, i)
        for name, mask in last.items()
        for i in np.flatnonzero(~mask)
    ]
    candidates.sort(key=lambda weight: weight[0])  # the highest first, ties in order
    expected = {name: np.ones(score.size, dtype=bool) for name, score in scores.items()}
    for _, name, i in candidates[len(candidates) - n_gone :]:
        expected[name][i] = False
    for name, mask in kept.items():
        assert_array_equal(mask, expected[name].reshape(mask.shape))


@given(pattern=PATTERNS, data=st.data(), per_mille=PER_MILLE)
def test_uniform_removes_the_same_part_of_each_layers_pattern(pattern, data, per_mille):
    n, m = pattern
    scores = data.draw(layers(n, m))
    groups = make(scores, n, m)
    size = sum(score.size for score in scores.values())
    level = Fraction(per_mille, 1000) * Fraction(n_removed_by_pattern(scores, n, m), size)
    kept = groups.keep(scores, float(level), "uniform")
    last = groups.keep(scores, groups.reachable(1 - n / m))
    for name, mask in kept.items():
        part = n_removed_by_pattern({name: scores[name]}, n, m)
        assert mask.size - mask.sum() == ceil(Fraction(per_mille, 1000) * part)
        assert mask[last[name]].all()


@given(
    pattern=PATTERNS,
    data=st.data(),
    pair=st.tuples(PER_MILLE, PER_MILLE).map(sorted),
    allocation=st.sampled_from(["global", "uniform"]),
)
def test_what_is_gone_stays_gone_at_a_higher_sparsity(pattern, data, pair, allocation):
    scores = data.draw(layers(*pattern))
    groups = make(scores, *pattern)
    low, high = (groups.keep(scores, per_mille / 1000, allocation) for per_mille in pair)
    assert all((high[name] <= low[name]).all() for name in scores)


@pytest.mark.parametrize("allocation", ["global", "uniform"])
def test_sparsity_zero_keeps_all(allocation):
    shapes = {"a": (3, 5), "b": (2, 2, 3)}
    scores = {name: np.zeros(shape) for name, shape in shapes.items()}
    kept = NOfM(shapes, 2, 4).keep(scores, 0.0, allocation)
    assert sum(int(mask.sum()) for mask in kept.values()) == sum(map(prod, shapes.values()))


def test_groups_are_single_weights_that_cannot_take_each_others_place():
    groups = NOfM({"a": (2, 4)}, 2, 4)
    score = np.arange(8.0).reshape(2, 4)
    assert not groups.can_rewire
    assert_array_equal(groups.pool({"a": score})["a"], score)
    assert_array_equal(groups.spread({"a": score > 3})["a"], score > 3)
    assert groups.density({"a": score > 5}) == 2 / 8


def test_scores_are_left_alone():
    score = np.array([[3.0, 1.0, 2.0, 4.0]])
    score.setflags(write=False)
    kept = NOfM({"a": (1, 4)}, 2, 4).keep({"a": score}, 0.25)["a"]
    assert kept.tolist() == [[True, False, True, True]]
