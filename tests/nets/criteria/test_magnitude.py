import pytest
import torch

from skprune.nets.criteria import Magnitude


@pytest.mark.parametrize("shape", [(6,), (3, 2), (2, 1, 3, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_score_is_the_distance_from_zero(shape, dtype):
    weight = torch.tensor([-3.0, 0.0, 0.5, -0.25, 2.0, -0.0], dtype=dtype).reshape(shape)
    score = Magnitude().score(weight, {})
    assert score.dtype == dtype
    assert score.ravel().tolist() == [3, 0, 0.5, 0.25, 2, 0]
    assert score.shape == shape


def test_weights_are_left_alone():
    weight = torch.tensor([-1.0, 2.0])
    Magnitude().score(weight, {})[0] = 5
    assert weight[0] == -1
