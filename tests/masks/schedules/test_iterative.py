"""Rounds of pruning, against their formula written out by hand."""

import numpy as np
import pytest

from skprune.masks import Iterative


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


@pytest.mark.parametrize("n_rounds", [0, -1, 2.5, float("nan"), None, "5"])
def test_wrong_rounds_are_named(n_rounds):
    with pytest.raises(ValueError, match=f"n_rounds must be a whole number.*{n_rounds!r}"):
        Iterative(n_rounds=n_rounds)


def test_numbers_of_numpy_count():
    assert Iterative(np.int64(2)).sparsity_at(10, 0.75, 10, 20) == 0.5
