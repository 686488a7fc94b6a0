"""Passes over training rows, in batches of any size, against autograd."""

import numpy as np
import torch
from numpy.testing import assert_allclose
from sklearn.frozen import FrozenEstimator

from skprune import MLPNetClassifier, SaliencyPruner
from skprune.nets.criteria import Criterion
from skprune.nets.evidence import Evidence, MeanGradient


class OfEachRow(Evidence):
    batch_size = 1

    def of_batch(self, gradient):
        return gradient**2


class Keeps(Criterion):
    """Remembers what it was shown."""

    needs = (MeanGradient, OfEachRow)
    shown: list = []

    def score(self, weight, seen):
        self.shown.append((seen[MeanGradient], seen[OfEachRow]))
        return weight.abs()


def test_rows_alone_and_in_batches(iris):
    X, y = iris
    net = MLPNetClassifier((5,), max_epochs=2, batch_size=64, random_state=0).fit(X, y)
    Keeps.shown.clear()
    SaliencyPruner(FrozenEstimator(net), criterion=Keeps(), sparsity=0.5, n_samples=None).fit(X, y)
    weight = net.module_.layers.hidden0.weight
    codes = torch.from_numpy(np.unique(y, return_inverse=True)[1])
    rows = torch.from_numpy(X.astype(np.float32))
    gradients = [
        torch.autograd.grad(
            torch.nn.functional.cross_entropy(
                net.module_.eval()(rows[i : i + 1]), codes[i : i + 1]
            ),
            weight,
        )[0]
        for i in range(len(X))
    ]
    mean, squares = Keeps.shown[0]
    assert_allclose(mean, sum(gradients) / len(X), atol=1e-6)
    assert_allclose(squares, sum(g**2 for g in gradients) / len(X), rtol=1e-4, atol=1e-8)


def test_rows_alone_are_taken_behind_training_too(iris):
    Keeps.shown.clear()
    net = MLPNetClassifier((5,), max_epochs=3, batch_size=64, lr=0.02, random_state=0)
    pruner = SaliencyPruner(net, criterion=Keeps(), sparsity=0.5, finetune_epochs=0).fit(*iris)
    assert pruner.sparsity_ == 18 / 35
    assert all((squares > 0).any() for _, squares in Keeps.shown)
