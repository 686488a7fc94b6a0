"""What all schedules and curves share."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skprune.masks import Cubic, Curve, Iterative, OneShot, Plan, Schedule, Update
from skprune.masks.schedules.base import Following

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


@given(schedule=ANY_SCHEDULE, target=st.floats(0.001, 1), span=SPANS)
def test_following_is_the_curve_and_last_from_the_target_on(schedule, target, span):
    plan = Plan(target, *span)
    following = Following(schedule)
    assert following.trains_first is schedule.trains_first
    for epoch in np.linspace(span[0] - 1, span[1] + 1, 40):
        update = following.update_at(epoch, plan)
        assert update.sparsity == schedule.sparsity_at(epoch, target, *span)
        assert update.is_last == (update.sparsity == target)
        assert (update.regrow, update.round) == (0.0, 0)
    assert following.update_at(span[1], plan).is_last


def test_following_by_hand():
    plan = Plan(0.75, start=10, stop=20)
    updates = [Following(Iterative(2)).update_at(epoch, plan) for epoch in (9.9, 10, 14.9, 15, 20)]
    half, full = Update(0.5), Update(0.75, is_last=True)
    assert updates == [Update(0.0), half, half, full, full]


@dataclass(frozen=True)
class Linear:
    """A curve of a user's own, which knows no class of this package."""

    trains_first: bool = True

    def sparsity_at(self, epoch, target, start, stop):
        return target * min(1.0, max(0.0, (epoch - start) / (stop - start)))


def test_a_curve_of_ones_own_needs_no_base_class():
    assert isinstance(Linear(), Curve)
    following = Following(Linear())
    plan = Plan(0.8, start=2, stop=6)
    updates = [following.update_at(epoch, plan) for epoch in (1, 3, 4, 6, 7)]
    assert [update.sparsity for update in updates] == pytest.approx([0, 0.2, 0.4, 0.8, 0.8])
    assert [update.is_last for update in updates] == [False, False, False, True, True]
    assert following.trains_first
    assert not Following(Linear(trains_first=False)).trains_first


def test_what_is_no_curve():
    assert not isinstance(object(), Curve)
    assert not isinstance("cubic", Curve)


class Patient(Schedule):
    """A schedule of a user's own: it prunes once the loss has stopped to fall."""

    def update_at(self, epoch, plan):
        losses = [row["valid_loss"] for row in plan.history]
        settled = any(after >= before for before, after in pairwise(losses))
        due = settled or plan.progress(epoch) >= 1
        return Update(plan.target, is_last=True) if due else Update(0.0)


def test_a_schedule_of_ones_own_sees_the_history():
    schedule = Patient()
    falling = [{"valid_loss": loss} for loss in (3.0, 2.0, 1.0)]
    settled = [*falling, {"valid_loss": 1.0}]
    assert schedule.update_at(3, Plan(0.9, 0, 10, falling)) == Update(0.0)
    assert schedule.update_at(4, Plan(0.9, 0, 10, settled)) == Update(0.9, is_last=True)
    assert schedule.update_at(10, Plan(0.9, 0, 10, falling)) == Update(0.9, is_last=True)
    assert (schedule.trains_first, schedule.rewires, schedule.reopens) == (False, False, False)


def test_a_schedule_must_say_its_updates():
    class Mute(Schedule):
        pass

    with pytest.raises(TypeError, match="update_at"):
        Mute()


def test_progress_by_hand():
    plan = Plan(0.9, start=4, stop=12)
    assert [plan.progress(epoch) for epoch in (2, 4, 6, 12, 16)] == [-0.25, 0, 0.25, 1, 1.5]


def test_a_plan_of_no_length_is_over_where_it_starts_and_not_before():
    plan = Plan(0.9, start=10, stop=10)
    assert plan.progress(9.9) < 0
    assert [plan.progress(epoch) for epoch in (10, 11)] == [1, 1]


def test_updates_differ_by_each_of_their_parts():
    # an update is carried out when it differs from the one before
    base = Update(0.5)
    assert base == Update(0.5, regrow=0.0, round=0, is_last=False)
    others = [Update(0.6), Update(0.5, regrow=0.1), Update(0.5, round=1), Update(0.5, is_last=True)]
    assert all(base != other for other in others)


def test_schedules_compare_by_value():
    # so that clone and GridSearchCV can tell parameters apart
    assert Cubic(end=0.5) == Cubic(end=0.5) != Cubic(end=0.6)
    assert Iterative(3) != Iterative(4)
    assert Following(Cubic()) == Following(Cubic()) != Following(OneShot())
