import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skprune.nets.criteria import magnitude


@pytest.mark.parametrize("shape", [(6,), (3, 2), (2, 1, 3, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_score_is_the_distance_from_zero(shape, dtype):
    weight = np.array([-3.0, 0.0, 0.5, -0.25, 2.0, -0.0], dtype=dtype).reshape(shape)
    score = magnitude(weight)
    assert score.dtype == dtype
    assert_array_equal(score.ravel(), [3, 0, 0.5, 0.25, 2, 0])
    assert score.shape == shape


def test_weights_are_left_alone():
    weight = np.array([-1.0, 2.0])
    weight.setflags(write=False)
    score = magnitude(weight)
    score[0] = 5
    assert weight[0] == -1
