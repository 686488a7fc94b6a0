"""Schedules against their formulas, written out by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skprune.masks import SCHEDULES, Cubic, Iterative, OneShot, Schedule

SHARES = st.floats(0, 1)
STEPS = st.integers(1, 50)
ANY_SCHEDULE = st.one_of(
    st.just(OneShot()),
    STEPS.map(Iterative),
    st.builds(lambda ends, n: Cubic(min(ends), max(ends), n), st.tuples(SHARES, SHARES), STEPS),
)
SPANS = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted)


@given(schedule=ANY_SCHEDULE, target=SHARES, span=SPANS)
def test_rises_from_zero_to_exactly_the_target_and_never_falls(schedule, target, span):
    start, stop = span
    epochs = np.linspace(start - 1, stop + 1, 60)
    curve = [schedule.sparsity_at(epoch, target, start, stop) for epoch in epochs]
    assert curve[0] == 0.0
    assert all(0 <= a <= b + 1e-12 for a, b in pairwise(curve))
    assert curve[-1] == schedule.sparsity_at(stop, target, start, stop) == target


@given(schedule=ANY_SCHEDULE, epoch=st.floats(-1, 30), span=SPANS)
def test_target_zero_prunes_nothing_at_any_time(schedule, epoch, span):
    assert schedule.sparsity_at(epoch, 0.0, *span) == 0.0


def test_one_shot_is_a_jump_at_the_start():
    curve = [OneShot().sparsity_at(epoch, 0.9, 4, 8) for epoch in (0, 3.999, 4, 5.5, 8)]
    assert curve == [0, 0, 0.9, 0.9, 0.9]


def test_iterative_removes_the_same_share_of_the_survivors_each_round():
    curve = [Iterative(4).sparsity_at(epoch, 0.9, 10, 14) for epoch in (9.9, 10, 11, 12, 13, 14)]
    density = 1 - np.array(curve)
    np.testing.assert_allclose(density, [1, 0.1**0.25, 0.1**0.5, 0.1**0.75, 0.1, 0.1])
    ratios = density[1:5] / density[:4]
    np.testing.assert_allclose(ratios, ratios[0])


def test_iterative_holds_still_within_a_round():
    schedule = Iterative(2)
    assert schedule.sparsity_at(10, 0.75, 10, 20) == schedule.sparsity_at(14.99, 0.75, 10, 20)


def test_iterative_round_begins_on_time_in_spite_of_rounding():
    # 3 rounds in one epoch: 1/3 is no float, and 1/3 * 3 may fall just short of 1
    stairs = [Iterative(3).sparsity_at(2 + k / 3, 0.9, 2, 3) for k in range(3)]
    np.testing.assert_allclose(1 - np.array(stairs), [0.1 ** (1 / 3), 0.1 ** (2 / 3), 0.1])


def test_iterative_reaches_one():
    stairs = [Iterative(3).sparsity_at(epoch, 1.0, 0, 3) for epoch in range(3)]
    assert stairs[-1] == 1.0


def test_cubic_follows_zhu_and_gupta():
    schedule = Cubic(begin=0.25, end=0.75, n_steps=4)
    epochs = np.array([0, 5, 6.24, 6.25, 7.5, 8.75, 10, 12, 20])
    # 20 epochs: t0 = 5, t1 = 15, a step every 2.5 epochs
    passed = np.array([0, 0, 0, 0, 0.25, 0.25, 0.5, 0.5, 1])
    expected = 0.8 - 0.8 * (1 - passed) ** 3
    curve = [schedule.sparsity_at(epoch, 0.8, 0, 20) for epoch in epochs]
    np.testing.assert_allclose(curve, expected, atol=1e-15)


@given(epoch=st.floats(0, 10), target=SHARES)
def test_cubic_with_many_steps_is_the_formula(epoch, target):
    smooth = target - target * (1 - epoch / 10) ** 3
    stairs = Cubic(begin=0.0, end=1.0, n_steps=100_000).sparsity_at(epoch, target, 0, 10)
    assert stairs == pytest.approx(smooth, abs=1e-4)


def test_cubic_defaults_leave_the_last_three_tenths_to_recover():
    assert Cubic().sparsity_at(6.9, 0.9, 0, 10) < 0.9
    assert Cubic().sparsity_at(7.0, 0.9, 0, 10) == 0.9


def test_cubic_that_begins_where_it_ends_is_a_jump():
    curve = [Cubic(0.5, 0.5).sparsity_at(epoch, 0.9, 0, 10) for epoch in (4.9, 5, 6)]
    assert curve == [0, 0.9, 0.9]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Iterative(n_rounds=0), "n_rounds.*0"),
        (lambda: Cubic(n_steps=0), "n_steps.*0"),
        (lambda: Cubic(begin=0.8, end=0.5), "begin=0.8, end=0.5"),
        (lambda: Cubic(begin=-0.1), "begin=-0.1"),
        (lambda: Cubic(end=1.1), "end=1.1"),
        (lambda: Cubic(end=float("nan")), "end=nan"),
    ],
)
def test_wrong_parameters_are_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()


def test_names_give_schedules_of_the_protocol():
    assert set(SCHEDULES) == {"one_shot", "iterative", "cubic"}
    assert all(isinstance(schedule, Schedule) for schedule in SCHEDULES.values())
    assert [SCHEDULES[name].trains_first for name in ("one_shot", "iterative", "cubic")] == [
        True,
        True,
        False,
    ]


def test_schedules_compare_by_value():
    # so that clone and GridSearchCV can tell parameters apart
    assert Cubic(end=0.5) == Cubic(end=0.5) != Cubic(end=0.6)
    assert Iterative(3) != Iterative(4)
