"""One choice for many trees, against choices made one by one."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import RandomForestRegressor

from skprune.trees.core.allocation import MOST_VALUES, EnsemblePath, geometric_mean_alphas
from skprune.trees.core.arrays import TreeArrays
from skprune.trees.core.risks import impurity_risk
from skprune.trees.core.weakest_link import pruning_path

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = X[:, 0] ** 2 + RNG.normal(size=60)


def paths(n_trees=3, **options):
    forest = RandomForestRegressor(n_trees, random_state=0, **options).fit(X, Y)
    trees = [TreeArrays.from_sklearn(member.tree_) for member in forest.estimators_]
    return [pruning_path(tree.left, tree.right, impurity_risk(tree)) for tree in trees]


def kept(all_paths, steps):
    return sum(path.n_splits[step] for path, step in zip(all_paths, steps, strict=True))


@pytest.mark.parametrize("sparsity", [0.0, 0.05, 0.3, 0.5, 0.77, 0.9, 1.0])
def test_a_global_choice_is_the_least_that_is_sparse_enough(sparsity):
    all_paths = paths()
    path = EnsemblePath(all_paths)
    steps = path.steps_for_sparsity(sparsity)
    assert path.sparsity(steps) >= sparsity - 1e-12
    assert path.sparsity(steps) == 1 - kept(all_paths, steps) / path.n_splits
    assert path.n_leaves(steps) == kept(all_paths, steps) + 3
    # the removed steps are the cheapest of all trees, and one step less is not sparse enough
    taken = np.concatenate([p.alphas[1 : s + 1] for p, s in zip(all_paths, steps, strict=True)])
    left = np.concatenate([p.alphas[s + 1 :] for p, s in zip(all_paths, steps, strict=True)])
    if len(taken):
        assert taken.max() <= left.min(initial=np.inf)
        assert path.price(steps) == taken.max()
        last = int(np.argmax([p.alphas[s] for p, s in zip(all_paths, steps, strict=True)]))
        steps[last] -= 1
        assert path.sparsity(steps) < sparsity
    else:
        assert path.price(steps) == -np.inf


def test_a_global_choice_has_the_least_risk_of_all_of_its_size():
    all_paths = paths(max_depth=3)
    path = EnsemblePath(all_paths)

    def risk_saved(steps):
        """What the removed splits took off the risk: at each step, price times number."""
        return sum(
            float(np.sum(p.alphas[1 : s + 1] * -np.diff(p.n_splits[: s + 1])))
            for p, s in zip(all_paths, steps, strict=True)
        )

    every = list(itertools.product(*(range(p.n_steps) for p in all_paths)))
    for sparsity in (0.2, 0.5, 0.8):
        steps = path.steps_for_sparsity(sparsity)
        as_small = [s for s in every if kept(all_paths, s) == kept(all_paths, steps)]
        assert risk_saved(steps) == pytest.approx(min(map(risk_saved, as_small)))


def test_a_uniform_choice_takes_the_same_share_of_each_tree():
    all_paths = paths()
    steps = EnsemblePath(all_paths, "uniform").steps_for_sparsity(0.6)
    assert_array_equal(steps, [path.step_for_sparsity(0.6) for path in all_paths])
    assert np.isnan(EnsemblePath(all_paths, "uniform").price(steps))


@pytest.mark.parametrize("allocation", ["global", "uniform"])
def test_prices_and_leaves_are_said_of_each_tree(allocation):
    all_paths = paths()
    path = EnsemblePath(all_paths, allocation)
    alpha = float(np.median(all_paths[0].alphas[1:]))
    assert_array_equal(path.steps_for_alpha(alpha), [p.step_for_alpha(alpha) for p in all_paths])
    steps = path.steps_for_max_leaf_nodes(7)
    assert_array_equal(steps, [p.step_for_max_leaf_nodes(7) for p in all_paths])


@pytest.mark.parametrize("name", ["ccp_alpha", "sparsity", "max_leaf_nodes"])
def test_values_worth_trying_grow_in_sparsity_from_nothing_to_all(name):
    path = EnsemblePath(paths(8))
    values = path.values(name)
    assert len(values) <= MOST_VALUES
    steps_for = getattr(path, f"steps_for_{name.removeprefix('ccp_')}")
    sparsities = [path.sparsity(steps_for(value)) for value in values]
    assert sparsities == sorted(sparsities)
    assert (sparsities[0], sparsities[-1]) == (0.0, 1.0)
    assert np.diff(sparsities).max() < 0.2


def test_values_of_a_lone_tree_are_all_of_them():
    (path,) = paths(1)
    assert len(EnsemblePath([path]).values("sparsity")) == path.n_steps
    alphas = geometric_mean_alphas(path.alphas[1:], path.rounding[1:])
    assert EnsemblePath([path]).values("ccp_alpha") == alphas


def test_one_outlier_hides_no_alpha_and_spares_no_tree():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5))
    y = X[:, 0] + 0.3 * rng.normal(size=400)
    n_alphas, shares = [], []
    for outlier in (y[7], 1e7):
        y[7] = outlier
        forest = RandomForestRegressor(10, random_state=0).fit(X, y)
        trees = [TreeArrays.from_sklearn(member.tree_) for member in forest.estimators_]
        all_paths = [pruning_path(t.left, t.right, impurity_risk(t)) for t in trees]
        n_alphas.append(len(EnsemblePath(all_paths[:1]).values("ccp_alpha")))
        steps = EnsemblePath(all_paths).steps_for_sparsity(0.5)
        shares.append([p.sparsities[s] for p, s in zip(all_paths, steps, strict=True)])
    assert n_alphas[1] > 0.9 * n_alphas[0]
    assert np.ptp(shares[1]) < 0.2


def test_trees_without_splits():
    stump = pruning_path([-1], [-1], [0.5])
    path = EnsemblePath([stump, stump])
    assert_array_equal(path.steps_for_sparsity(0.5), [0, 0])
    assert path.sparsity([0, 0]) == 0.0
    assert path.values("sparsity") == [0.0]
    assert path.values("ccp_alpha") == [0.0, 1.0]
    assert path.values("max_leaf_nodes") == [1]
