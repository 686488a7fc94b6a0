"""Sparse and dense phases in turn, by hand."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skprune.masks import Cyclic, Plan, Update

PLAN = Plan(0.9, start=0, stop=20)


def phases(schedule, plan, n=4000):
    """The updates of a run in order, each once."""
    epochs = np.linspace(plan.start, plan.stop, n + 1)
    return [update for update, _ in groupby(schedule.update_at(epoch, plan) for epoch in epochs)]


def test_phases_by_hand():
    # from epoch 2 to epoch 14 three cycles of 4 epochs, half of them sparse
    schedule = Cyclic(begin=0.1, end=0.7, n_cycles=3)
    sparse_from = [2, 6, 10, 14]
    dense_from = [0, 4, 8, 12]
    for start in sparse_from:
        assert schedule.update_at(start - 1e-3, PLAN).sparsity == 0
        assert schedule.update_at(start, PLAN).sparsity == 0.9
    for start in dense_from[1:]:
        assert schedule.update_at(start - 1e-3, PLAN).sparsity == 0.9
        assert schedule.update_at(start, PLAN).sparsity == 0
    assert schedule.update_at(13.999, PLAN).is_last is False
    assert schedule.update_at(14, PLAN).is_last is True


def test_a_plan_that_starts_later_shifts_all():
    schedule = Cyclic(begin=0.1, end=0.7, n_cycles=3)
    later = Plan(0.9, start=5, stop=25)
    for epoch in np.arange(-1, 21, 0.25):
        assert schedule.update_at(epoch + 5, later) == schedule.update_at(epoch, PLAN)


@given(
    ends=st.tuples(st.integers(1, 20), st.integers(1, 20)).filter(lambda e: e[0] != e[1]),
    n_cycles=st.integers(1, 6),
)
def test_dense_and_sparse_alternate_and_the_run_ends_sparse(ends, n_cycles):
    schedule = Cyclic(min(ends) / 20, max(ends) / 20, n_cycles)
    updates = phases(schedule, PLAN)
    assert [update.sparsity for update in updates] == [0, 0.9] * (n_cycles + 1)
    assert [update.is_last for update in updates] == [False] * (2 * n_cycles + 1) + [True]
    assert all(update.regrow == 0 for update in updates)
    assert len({update.round for update in updates if update.sparsity}) == n_cycles + 1


def test_one_cycle_is_dense_sparse_dense_sparse():
    updates = phases(Cyclic(begin=0.25, end=0.75, n_cycles=1), PLAN)
    assert updates == [
        Update(0.0),
        Update(0.9, round=1),
        Update(0.0, round=2),
        Update(0.9, round=3, is_last=True),
    ]


@pytest.mark.parametrize("at", [0.0, 0.3, 0.5, 1.0])
def test_begin_at_the_end_is_a_jump(at):
    schedule = Cyclic(begin=at, end=at, n_cycles=3)
    for epoch in (-0.5, 20 * at - 0.01):
        assert schedule.update_at(epoch, PLAN) == Update(0.0)
    for epoch in (20 * at, 20 * at + 1):
        update = schedule.update_at(epoch, PLAN)
        assert (update.sparsity, update.is_last) == (0.9, True)


def test_a_begin_of_zero_starts_sparse():
    assert Cyclic(begin=0.0).update_at(0, PLAN).sparsity == 0.9


def test_an_end_of_one_ends_sparse():
    schedule = Cyclic(begin=0.5, end=1.0, n_cycles=2)
    assert schedule.update_at(19.99, PLAN).sparsity == 0
    assert schedule.update_at(20, PLAN) == Update(0.9, round=5, is_last=True)


@pytest.mark.parametrize("n_cycles", [3, 5, 7])
def test_phases_begin_on_time_in_spite_of_rounding(n_cycles):
    # thirds of an epoch are no floats, nor is 0.07 * 100
    plan = Plan(0.9, start=0, stop=100)
    schedule = Cyclic(begin=0.07, end=0.57, n_cycles=n_cycles)
    for k in range(2 * n_cycles + 1):
        update = schedule.update_at(7 + 50 * k / (2 * n_cycles), plan)
        assert update.round == k + 1
        assert update.is_last == (k == 2 * n_cycles)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"n_cycles": 0}, "n_cycles.*0"),
        ({"n_cycles": 1.5}, "n_cycles.*1.5"),
        ({"n_cycles": None}, "n_cycles.*None"),
        ({"begin": 0.8, "end": 0.5}, "begin=0.8, end=0.5"),
        ({"begin": -0.1}, "begin=-0.1"),
        ({"end": 1.1}, "end=1.1"),
        ({"end": float("nan")}, "end=nan"),
        ({"begin": "0.1"}, "begin='0.1'"),
    ],
)
def test_wrong_parameters_are_named(params, named):
    with pytest.raises(ValueError, match=named):
        Cyclic(**params)


def test_compares_by_value():
    assert Cyclic(n_cycles=2) == Cyclic(n_cycles=2) != Cyclic(n_cycles=3)
