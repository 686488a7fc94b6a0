"""Sparse from the start, with weights that move: against the formula by hand."""

from itertools import groupby
from math import cos, inf, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skprune.masks import Constant, Plan, Update

PLAN = Plan(0.9, start=0, stop=16)  # 0.75 of it are 12 epochs
LAST = Update(0.9, is_last=True)


def updates_of(schedule, plan=PLAN):
    """The updates of a run in order, with the epoch at which each comes."""
    epochs = np.arange(plan.start * 8, plan.stop * 8 + 1) / 8
    found = groupby(epochs, lambda epoch: schedule.update_at(epoch, plan))
    return [(float(next(at)), update) for update, at in found]


def test_rounds_by_hand():
    found = updates_of(Constant(interval=3.0, fraction=0.4))
    assert [epoch for epoch, _ in found] == [0, 3, 6, 9, 12]
    assert [update.round for _, update in found[:-1]] == [0, 1, 2, 3]
    # 0.4 / 2 * (1 + cos(pi t / 12)) at t = 3, 6, 9
    root = 2**-0.5
    expected = [0, 0.2 * (1 + root), 0.2, 0.2 * (1 - root), 0]
    assert [update.regrow for _, update in found] == pytest.approx(expected)
    assert [update.sparsity for _, update in found] == [0.9] * 5
    assert [update.is_last for _, update in found] == [False] * 4 + [True]


@given(
    interval=st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 5.0, 7.0]),
    fraction=st.floats(0.01, 1),
    start=st.integers(0, 5),
    length=st.integers(1, 16),
    end=st.sampled_from([0.25, 0.5, 0.75, 1.0]),
)
def test_each_round_is_the_papers_formula(interval, fraction, start, length, end):
    plan = Plan(0.8, start, start + length)
    schedule = Constant(interval, fraction, end)
    for t in np.arange(0, length + 2, 0.125):
        update = schedule.update_at(start + t, plan)
        assert update.sparsity == 0.8
        begun = t // interval * interval  # exact: all of these are eighths
        assert update.is_last == (t >= end * length)
        if t >= end * length or begun == 0:
            assert update.regrow == 0
        else:
            formula = fraction / 2 * (1 + cos(pi * begun / (end * length)))
            assert update.regrow == pytest.approx(formula, abs=1e-12)
            assert update.round == t // interval


def test_an_interval_that_does_not_divide_ends_on_time():
    found = updates_of(Constant(interval=5.0))
    assert [epoch for epoch, _ in found] == [0, 5, 10, 12]
    assert found[-1][1] == LAST
    to_the_end = updates_of(Constant(interval=5.0, end=1.0))
    assert [epoch for epoch, _ in to_the_end] == [0, 5, 10, 15, 16]
    assert to_the_end[-1][1] == LAST


@pytest.mark.parametrize("interval", [12.0, 20.0, 1e9, inf])
def test_an_interval_longer_than_the_run_moves_nothing(interval):
    assert updates_of(Constant(interval=interval)) == [(0, Update(0.9)), (12, LAST)]


@pytest.mark.parametrize("schedule", [Constant(end=0.0), Constant(fraction=0.0)], ids=repr)
def test_where_nothing_moves_the_first_update_is_the_last(schedule):
    assert updates_of(schedule) == [(0, LAST)]


def test_an_end_of_one_moves_to_the_end():
    found = updates_of(Constant(interval=4.0, end=1.0))
    assert [epoch for epoch, _ in found] == [0, 4, 8, 12, 16]
    assert found[-1][1] == LAST


def test_a_later_start_is_dense_before_and_shifts_all():
    schedule = Constant(interval=2.0)
    later = Plan(0.9, start=5, stop=21)
    assert schedule.update_at(4.99, later) == Update(0.0)
    for epoch in np.arange(0, 18, 0.5):
        assert schedule.update_at(epoch + 5, later) == schedule.update_at(epoch, PLAN)


def test_rounds_begin_on_time_in_spite_of_rounding():
    # ten rounds an epoch: 0.1 is no float, and 3 * 0.1 is above 0.3
    schedule, plan = Constant(interval=0.1, end=1.0), Plan(0.9, 0, 1)
    assert [schedule.update_at(k / 10, plan).round for k in range(10)] == list(range(10))
    assert schedule.update_at(sum([0.1] * 10), plan) == LAST  # 0.9999999999999999


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"interval": 0}, "interval must be .* above 0, got 0"),
        ({"interval": -1.0}, "interval .* got -1.0"),
        ({"interval": float("nan")}, "interval .* got nan"),
        ({"interval": "1"}, "interval .* got '1'"),
        ({"fraction": 1.1}, r"fraction must be in \[0, 1\], got 1.1"),
        ({"fraction": -0.1}, r"fraction must be in \[0, 1\], got -0.1"),
        ({"fraction": None}, r"fraction must be in \[0, 1\], got None"),
        ({"end": 1.5}, r"^end must be in \[0, 1\], got 1.5"),
        ({"end": float("nan")}, r"^end must be in \[0, 1\], got nan"),
    ],
)
def test_wrong_parameters_are_named(params, named):
    with pytest.raises(ValueError, match=named):
        Constant(**params)


def test_compares_by_value():
    assert Constant(interval=2.0) == Constant(interval=2.0) != Constant(interval=3.0)
