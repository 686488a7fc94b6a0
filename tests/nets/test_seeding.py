"""Seeds inside, untouched generators outside."""

import random

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skprune.nets.seeding import draw_seed, seeded


def draws():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()  # noqa: NPY002


def states():
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), (keys.tolist(), position), random.getstate()


def test_seed_decides_what_torch_numpy_and_python_draw():
    with seeded(3):
        first = draws()
    with seeded(3):
        assert draws() == first
    with seeded(4):
        other = draws()
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_seed_is_what_manual_seed_would_be():
    with seeded(11):
        inside = torch.rand(4).tolist()
    with torch.random.fork_rng():
        torch.manual_seed(11)
        assert torch.rand(4).tolist() == inside


def test_states_are_restored_also_after_an_error():
    before = states()
    with seeded(0):
        draws()
    assert states() == before
    with pytest.raises(ZeroDivisionError), seeded(0):
        _ = draws()[2] / 0
    assert states() == before


def test_blocks_nest():
    with seeded(1):
        draws()
        expected = draws()
    with seeded(1):
        draws()
        with seeded(2):
            draws()
        assert draws() == expected


def test_none_lets_the_generators_run_on():
    before = states()
    with seeded(None):
        draws()
    assert all(a != b for a, b in zip(states(), before, strict=True))


def test_large_seeds_are_legal():
    first, second = [], []
    for drawn in (first, second):
        with seeded(2**40 + 5):
            drawn.append(torch.rand(3).tolist())
    assert first == second


def test_integers_and_none_are_their_own_seeds():
    assert draw_seed(None) is None
    assert draw_seed(7) == 7
    assert type(draw_seed(np.int64(7))) is int


def test_generator_gives_a_new_seed_each_time():
    generator = np.random.RandomState(0)
    seeds = [draw_seed(generator) for _ in range(5)]
    again = np.random.RandomState(0)
    assert_array_equal(seeds, [draw_seed(again) for _ in range(5)])
    assert len(set(seeds)) == 5


def test_what_is_no_random_state_is_refused():
    with pytest.raises(ValueError, match="cannot be used to seed"):
        draw_seed("today")
