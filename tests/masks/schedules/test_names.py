"""Schedules by their names, and what else a pruner takes as one."""

import pytest

from skprune.masks import (
    SCHEDULES,
    Constant,
    Cubic,
    Curve,
    Cyclic,
    Iterative,
    OneShot,
    Plan,
    Schedule,
    Update,
    as_schedule,
)
from skprune.masks.schedules.base import Following

PLAN = Plan(0.9, start=0, stop=8)


def test_names_give_schedules_of_the_protocol():
    assert set(SCHEDULES) == {"one_shot", "iterative", "cubic", "cyclic", "constant"}
    assert all(isinstance(schedule, Schedule | Curve) for schedule in SCHEDULES.values())
    found = {name: as_schedule(name) for name in SCHEDULES}
    assert all(isinstance(schedule, Schedule) for schedule in found.values())
    assert {name: schedule.trains_first for name, schedule in found.items()} == {
        "one_shot": True,
        "iterative": True,
        "cubic": False,
        "cyclic": False,
        "constant": False,
    }
    assert [name for name, schedule in found.items() if schedule.rewires] == ["constant"]
    assert [name for name, schedule in found.items() if schedule.reopens] == ["cyclic"]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("plan", [PLAN, Plan(0.5, 3, 7), Plan(1.0, 4, 4)], ids=repr)
def test_every_schedule_ends_with_the_target(name, plan):
    schedule = as_schedule(name)
    for epoch in (plan.stop, plan.stop + 0.5, plan.stop + 100):
        update = schedule.update_at(epoch, plan)
        assert update.sparsity == plan.target
        assert update.regrow == 0
        assert update.is_last
    assert schedule.update_at(plan.start - 0.1, plan) == Update(0.0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_nothing_follows_the_last_update(name):
    updates = [as_schedule(name).update_at(k / 16, PLAN) for k in range(-16, 160)]
    first = [update.is_last for update in updates].index(True)
    assert set(updates[first:]) == {updates[first]}


@pytest.mark.parametrize("curve", [OneShot(), Iterative(3), Cubic(end=0.5)], ids=repr)
def test_curves_are_followed(curve):
    assert as_schedule(curve) == Following(curve)


@pytest.mark.parametrize("schedule", [Cyclic(n_cycles=2), Constant(interval=2)], ids=repr)
def test_schedules_are_taken_as_they_are(schedule):
    assert as_schedule(schedule) is schedule


def test_schedules_and_curves_of_ones_own():
    class Late(Schedule):
        def update_at(self, epoch, plan):
            return Update(plan.target, is_last=True) if epoch >= plan.stop else Update(0.0)

    class Now:
        trains_first = False

        def sparsity_at(self, epoch, target, start, stop):
            return target

    late, now = Late(), Now()
    assert as_schedule(late) is late
    assert as_schedule(now).update_at(0, PLAN) == Update(0.9, is_last=True)


def test_unknown_name_is_no_silent_default():
    with pytest.raises(KeyError, match="cubik"):
        as_schedule("cubik")
