"""C4.5's rule on arrays, against its own words."""

import numpy as np
import pytest

from skprune.trees.core.bottom_up import SLACK, collapse_bottom_up

LEFT, RIGHT = np.array([1, 3, -1, -1, -1]), np.array([2, 4, -1, -1, -1])


@pytest.mark.parametrize(
    ("errors", "collapsed"),
    [
        ([6.0, 3.0, 1.0, 1.0, 1.0], []),
        ([6.0, 2.05, 1.0, 1.0, 1.0], [1]),
        ([3.14, 2.05, 1.0, 1.0, 1.0], [0, 1]),  # the branch has 1 + 2.05
        ([3.05, 2.5, 1.0, 1.0, 1.0], [0]),
        ([3.14, 2.5, 1.0, 1.0, 1.0], []),
    ],
)
def test_a_leaf_may_be_a_tenth_of_a_case_worse_than_its_pruned_branch(errors, collapsed):
    assert SLACK == 0.1
    mask = collapse_bottom_up(LEFT, RIGHT, np.array(errors))
    assert np.flatnonzero(mask).tolist() == collapsed


def test_a_lone_leaf():
    assert not collapse_bottom_up(np.array([-1]), np.array([-1]), np.array([1.0])).any()


def test_a_chain_needs_no_call_frames():
    n = 20_001
    left, right = np.full(n, -1), np.full(n, -1)
    left[: n - 1 : 2], right[: n - 1 : 2] = np.arange(1, n, 2), np.arange(2, n, 2)
    assert np.count_nonzero(collapse_bottom_up(left, right, np.ones(n))) == n // 2
