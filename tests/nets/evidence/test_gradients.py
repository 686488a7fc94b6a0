"""Means over batches against sums written out."""

import pytest
import torch
from numpy.testing import assert_allclose

from skprune.nets.evidence import (
    CurrentGradient,
    MeanAbsoluteGradient,
    MeanGradient,
    MeanSquaredGradient,
)

OF_BATCH = {
    MeanGradient: lambda g: g,
    MeanAbsoluteGradient: abs,
    MeanSquaredGradient: lambda g: g * g,
}


def fed(kind, gradients, sizes, **how):
    weight = torch.nn.Parameter(torch.zeros(4))
    evidence = kind()
    for gradient, size in zip(gradients, sizes, strict=True):
        weight.grad = gradient
        evidence.add({"w": weight}, size, **how)
    return evidence.means["w"]


@pytest.mark.parametrize("kind", OF_BATCH)
def test_mean_is_over_rows(kind):
    gradients = torch.randn(5, 4)
    sizes = [10, 10, 3, 10, 7]
    expected = sum(n * OF_BATCH[kind](g) for n, g in zip(sizes, gradients, strict=True)) / 40
    assert_allclose(fed(kind, gradients, sizes), expected, rtol=1e-5)


def test_while_training_old_batches_fade():
    gradients = torch.randn(400, 4) + torch.linspace(0, 9, 400)[:, None]
    expected = gradients[:100].mean(axis=0)
    for gradient in gradients[100:]:
        expected = expected + (gradient - expected) / 100
    assert_allclose(fed(MeanGradient, gradients, [8] * 400, fades=True), expected, rtol=1e-4)


def test_the_current_gradient_is_the_last():
    gradients = torch.randn(3, 4)
    assert_allclose(fed(CurrentGradient, gradients, [5, 5, 2], fades=True), gradients[-1])


def test_a_weight_without_gradient_counts_as_zero():
    assert_allclose(fed(MeanGradient, [torch.ones(4), None], [1, 3]), [0.25] * 4)


def test_gradients_are_not_held_on_to():
    gradient = torch.ones(4)
    mean = fed(MeanGradient, [gradient], [1])
    gradient.zero_()
    assert mean.tolist() == [1, 1, 1, 1]
