"""The cubic schedule, against its formula written out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skprune.masks import Cubic

SHARES = st.floats(0, 1)


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
        (lambda: Cubic(n_steps=0), "n_steps.*0"),
        (lambda: Cubic(n_steps=1.5), "n_steps.*1.5"),
        (lambda: Cubic(begin=0.8, end=0.5), "begin=0.8, end=0.5"),
        (lambda: Cubic(begin=-0.1), "begin=-0.1"),
        (lambda: Cubic(end=1.1), "end=1.1"),
        (lambda: Cubic(end=float("nan")), "end=nan"),
        (lambda: Cubic(begin=None), "begin=None"),
        (lambda: Cubic(end="0.7"), "end='0.7'"),
    ],
)
def test_wrong_parameters_are_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()
