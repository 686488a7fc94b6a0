"""One shot, by hand."""

from skprune.masks import OneShot


def test_one_shot_is_a_jump_at_the_start():
    curve = [OneShot().sparsity_at(epoch, 0.9, 4, 8) for epoch in (0, 3.999, 4, 5.5, 8)]
    assert curve == [0, 0, 0.9, 0.9, 0.9]
