"""Orders of trees, against losses computed from the averages of their predictions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skprune.trees.forests import selection
from skprune.trees.forests.selection import ErrorGram, error_gram, order_trees, prefix_losses


def make_predictions(seed, n_trees=8, n_rows=40, n_outputs=3):
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(n_rows, n_outputs))
    noise = rng.normal(size=(n_trees, n_rows, n_outputs)) * rng.uniform(0.3, 2, (n_trees, 1, 1))
    weight = rng.integers(0, 4, size=n_rows).astype(float)
    judged = rng.random((n_rows, n_trees)) < 0.4
    return targets + noise + rng.normal(size=targets.shape), targets, weight, judged


def gram_of(predictions, targets, weight=None, judged=None):
    gram = ErrorGram(len(predictions))
    gram.add(predictions, targets, weight, judged)
    return gram.matrix()


def loss_of(trees, predictions, targets, weight):
    errors = ((predictions[trees].mean(axis=0) - targets) ** 2).sum(axis=1)
    return np.average(errors, weights=weight)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("seed", range(3))
def test_losses_are_those_of_the_averages(seed, direction):
    predictions, targets, weight, _ = make_predictions(seed)
    order, losses = order_trees(gram_of(predictions, targets, weight), direction)
    assert sorted(order) == list(range(len(predictions)))
    direct = [loss_of(order[:k], predictions, targets, weight) for k in range(1, len(order) + 1)]
    assert_allclose(losses, direct, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_forward_takes_the_best_next_tree(seed):
    predictions, targets, weight, _ = make_predictions(seed)
    order = []
    while len(order) < len(predictions):
        others = [tree for tree in range(len(predictions)) if tree not in order]
        order.append(min(others, key=lambda t: loss_of([*order, t], predictions, targets, weight)))
    assert_array_equal(order_trees(gram_of(predictions, targets, weight)).order, order)


@pytest.mark.parametrize("seed", range(3))
def test_backward_drops_the_tree_that_the_others_miss_least(seed):
    predictions, targets, weight, _ = make_predictions(seed)
    kept, dropped = list(range(len(predictions))), []
    while len(kept) > 1:
        losses = [
            loss_of([t for t in kept if t != out], predictions, targets, weight) for out in kept
        ]
        dropped.append(kept.pop(int(np.argmin(losses))))
    order = order_trees(gram_of(predictions, targets, weight), "backward").order
    assert_array_equal(order, kept + dropped[::-1])


def test_pairs_are_compared_on_the_rows_that_may_judge_both():
    predictions, targets, weight, judged = make_predictions(4)
    gram = gram_of(predictions, targets, weight, judged)
    errors = predictions - targets
    products = np.einsum("tij,uij->itu", errors, errors)
    for t in range(len(predictions)):
        for u in range(len(predictions)):
            pairs = [
                [
                    product[v, x]
                    for v in np.flatnonzero(mask)
                    for x in np.flatnonzero(mask)
                    if (v == x) == (t == u)
                ]
                for product, mask in zip(products, judged, strict=True)
            ]
            known = np.array([len(row) > 0 for row in pairs])
            means = np.array([np.mean(row) if row else 0.0 for row in pairs])
            both = weight * judged[:, t] * judged[:, u]
            direct = np.average(products[:, t, u] - means, weights=both)
            assert_allclose(gram[t, u], direct + np.average(means, weights=weight * known))


def test_hard_rows_are_not_held_against_the_trees_they_judge():
    # All trees err alike, in rows that are a hundred times apart.
    scale = np.repeat([0.1, 10.0], 20)[:, np.newaxis]
    judged = np.random.default_rng(0).random((40, 5)) < 0.5
    gram = gram_of(np.repeat(scale[np.newaxis], 5, axis=0), np.zeros((40, 1)), judged=judged)
    counts = judged.sum(axis=1)
    pair, own = ((scale[counts >= least] ** 2).mean() for least in (2, 1))
    assert_allclose(gram, np.where(np.eye(5), own, pair))


def test_out_of_bag_losses_estimate_those_on_all_rows():
    predictions, targets, _, _ = make_predictions(5, n_trees=60, n_rows=5000)
    judged = np.random.default_rng(0).random((5000, 60)) < 0.37
    order, losses = order_trees(gram_of(predictions, targets, judged=judged))
    sizes = np.array([1, 5, 20, 60])
    direct = [loss_of(order[:k], predictions, targets, None) for k in sizes]
    assert_allclose(losses[sizes - 1], direct, rtol=0.03)


def test_weights_are_repetitions():
    predictions, targets, weight, judged = make_predictions(6)
    rows = np.repeat(np.arange(len(targets)), weight.astype(int))
    repeated = gram_of(predictions[:, rows], targets[rows], judged=judged[rows])
    assert_allclose(gram_of(predictions, targets, weight, judged), repeated, rtol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_leaves_are_read_in_chunks(monkeypatch, masked):
    rng = np.random.default_rng(7)
    values, leaves = rng.normal(size=(30, 2)), rng.integers(0, 30, size=(50, 6))
    targets, weight = rng.normal(size=(50, 2)), rng.random(50)
    judged = rng.random((50, 6)) < 0.5 if masked else None
    whole = gram_of(values[leaves.T], targets, weight, judged)
    assert_allclose(error_gram(values, leaves, targets, weight, judged), whole, rtol=1e-12)
    monkeypatch.setattr(selection, "CHUNK", 7 * 12)
    assert_allclose(error_gram(values, leaves, targets, weight, judged), whole, rtol=1e-12)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_equal_trees_come_by_number(direction):
    predictions, targets, weight, _ = make_predictions(8, n_trees=1, n_rows=301)
    gram = gram_of(np.repeat(predictions, 7, axis=0), targets, weight)
    order, losses = order_trees(gram, direction)
    assert_array_equal(order, np.arange(7))
    assert_allclose(losses, losses[0])


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_orders_repeat(direction):
    predictions, targets, weight, judged = make_predictions(9)
    first, second = (
        order_trees(gram_of(predictions, targets, weight, judged), direction) for _ in range(2)
    )
    assert_array_equal(first.order, second.order)
    assert_array_equal(first.losses, second.losses)


def test_pairs_without_a_common_row_are_average_pairs():
    predictions = np.array([[[1.0], [0.0]], [[2.0], [4.0]], [[0.0], [3.0]]])
    judged = [[True, True, False], [False, True, True]]
    gram = gram_of(predictions, np.zeros((2, 1)), judged=judged)
    # Each row has one pair, of product 2 and 12; the squares are 1 and 4, then 16 and 9.
    assert_allclose(gram, [[6, 7, 7], [7, 10 + 0, 7], [7, 7, 4]])


def test_trees_without_rows_are_average_trees():
    judged = [[True, False], [True, False]]
    gram = gram_of(np.ones((2, 2, 1)), np.zeros((2, 1)), judged=judged)
    assert_allclose(gram, [[1, 0], [0, 1]])


def test_an_order_is_judged_by_another_matrix():
    predictions, targets, weight, _ = make_predictions(10)
    order = np.array([5, 0, 3])
    losses = prefix_losses(gram_of(predictions, targets, weight), order)
    direct = [loss_of(order[:k], predictions, targets, weight) for k in (1, 2, 3)]
    assert_allclose(losses, direct, rtol=1e-12)


def test_one_tree():
    order, losses = order_trees([[3.0]], "backward")
    assert order.tolist() == [0]
    assert losses.tolist() == [3.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3, 1)), np.ones((4, 1))), "predictions must have shape"),
        ((np.ones((3, 3, 1)), np.ones((3, 1))), "predictions must have shape"),
        ((np.ones((2, 3, 1)), np.ones((3, 1)), [1.0, -1.0, 1.0]), "sample_weight"),
        ((np.ones((2, 3, 1)), np.ones((3, 1)), [1.0]), "sample_weight"),
        ((np.ones((2, 3, 1)), np.ones((3, 1)), None, np.ones((3, 2))), "judged must be a boolean"),
    ],
)
def test_wrong_rows_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ErrorGram(2).add(*arguments)


def test_wrong_matrices_are_refused():
    with pytest.raises(ValueError, match="n_trees must be at least 1"):
        ErrorGram(0)
    with pytest.raises(ValueError, match="No tree can be judged"):
        ErrorGram(2).matrix()
    with pytest.raises(ValueError, match="square"):
        order_trees(np.ones((2, 3)))
    with pytest.raises(ValueError, match="finite"):
        order_trees([[np.nan]])
    with pytest.raises(ValueError, match="direction"):
        order_trees([[1.0]], "sideways")
