import numpy as np
import torch
from numpy.testing import assert_array_equal

from skprune import MLPNetClassifier, SaliencyPruner
from skprune.nets.criteria import Random


def test_scores_stay_from_one_update_to_the_next():
    criterion = Random()
    weights = {"a": torch.zeros(3, 4), "b": torch.zeros(5)}
    first = criterion.scores(weights, {})
    again = criterion.scores({name: w + 1 for name, w in weights.items()}, {})
    for name in weights:
        assert_array_equal(first[name], again[name])
        assert len(np.unique(first[name])) == first[name].numel()


def masks(seed, iris):
    net = MLPNetClassifier((8,), max_epochs=4, batch_size=50, lr=0.02)
    pruner = SaliencyPruner(
        net, criterion="random", sparsity=0.5, schedule="iterative", random_state=seed
    ).fit(*iris)
    history = [entry["sparsity"] for entry in pruner.pruning_history_]
    assert history == sorted(history)  # what is gone stays away
    return np.concatenate([w.toarray().ravel() != 0 for w in pruner.sparse_weights_.values()])


def test_masks_follow_the_seed(iris):
    assert_array_equal(masks(0, iris), masks(0, iris))
    assert (masks(0, iris) != masks(1, iris)).any()
