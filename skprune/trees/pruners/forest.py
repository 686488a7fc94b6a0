"""ForestPruner: pairs of leaves or whole trees go, and the leaves that stay are fitted together."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import is_classifier
from sklearn.utils._param_validation import Interval, StrOptions

from skprune.base import BasePruner, Pruned, TrainingData
from skprune.progress import progress
from skprune.trees.core.arrays import TreeArrays
from skprune.trees.core.subtrees import Subtree
from skprune.trees.core.weakest_link import splits_allowed
from skprune.trees.forests.refit import merge_leaf_pairs, refit_leaves
from skprune.trees.forests.selection import error_gram, order_trees, prefix_losses
from skprune.trees.grown import FullModel
from skprune.trees.models import kind_of
from skprune.trees.models.averaged import AveragedTrees
from skprune.trees.models.base import places_left, side_by_side, weights_left
from skprune.trees.pruners.base import (
    bags_many_outputs,
    class_positions,
    outputs_of,
    train,
    weights_of_rows,
)
from skprune.trees.pruners.held_out import hold_out

# Sparsities worth trying where each one costs a refit.
LADDER = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)


class ForestPruner(BasePruner):
    """A forest made smaller as a whole, its leaves fitted together.

    Global refinement [1]_ takes the leaves of all trees for the features of one linear model and
    fits their values jointly: with indicators L of the T leaves that each row reaches, targets Y
    and the values V0 that the leaves have, by ridge regression,

    ``min over V of sum_i w_i ||Y_i - L_i V||^2 + alpha T ||V - V0||^2``.

    So trees make up for each other's errors, and for what is gone. What goes are pairs of sibling
    leaves, over the whole forest those that tell least, round by round, with a refit in between;
    or, with ``granularity="tree"``, whole trees: kept are those that do well together, found
    greedily, each next one being that which makes the best average with those before it, by the
    squared error on the training rows (ordered aggregation [2]_).

    Parameters
    ----------
    estimator : RandomForest, ExtraTrees or Bagging of trees, classifier or regressor
        The forest to grow and prune, or a :class:`~sklearn.frozen.FrozenEstimator` around a
        fitted one, which is pruned on a copy: then no tree may have seen the rows given to `fit`.
    sparsity : float in [0, 1], default=None
        Fraction of the splits to remove. 0 leaves the forest, and its leaves, as they are. None:
        half of the splits, or those of the trees without which the error on rows that the trees
        have not seen is least.
    n_estimators : int, default=None
        How many trees to keep, in place of `sparsity`, with ``granularity="tree"``.
    granularity : {"leaf", "tree"}, default="leaf"
        What is removed: pairs of leaves, or whole trees.
    refit : bool, default=True
        Whether the leaves take the values that were fitted. With False these only tell which
        pairs of leaves go.
    alpha : float > 0, default=1.0
        How strongly the values are held to what they were: the noisier the targets, the larger it
        should be, as it is the variance of the noise over that of the signal. Weights of rows
        count as repetitions.
    validation_fraction : float in (0, 1), default=0.2
        Fraction of the rows that no tree sees, of each class alike, with ``granularity="tree"``
        where the forest draws no bootstrap samples. Where it does, the rows that a tree has not
        drawn judge it.
    random_state : int, RandomState instance or None, default=None
        Draws these rows; the forest has its own.
    verbose : int, default=0
        Whether to show a progress bar over what is removed or fitted, once the forest is grown;
        needs tqdm. The forest has a `verbose` of its own.
    sparse_output : bool, default=True
        Whether `transform` gives a sparse array. Needs to be False for
        ``set_output(transform="pandas")``.
    n_jobs : int, default=None
        Threads of `predict` on large batches; None means 1, -1 all processors.
    engine : {"auto", "native", "scipy"}, default="auto"
        What `predict` runs on: compiled kernels, or numpy as the plain reference; "auto" takes
        the kernels where they were built.

    Attributes
    ----------
    estimator_ : estimator
        The forest that is left: a real one of scikit-learn's. Of a classifier with fitted leaves,
        its probabilities add up to 1 but may leave [0, 1]; those of the pruner are clipped.
    sparse_estimator_ : SparseClassifier or SparseRegressor
        The forest on the sparse engine.
    sparse_weights_ : dict of str to csr_array
        The forest written as a sparse net, made on access; see
        :func:`skprune.trees.core.sparse_net.sparse_weights`.
    sparsity_ : float
        1 - splits kept / splits of the full forest; 0 where there are none.
    pruning_history_ : list of dict
        The full forest and the pruned one: "n_estimators", "n_leaves", "sparsity", "loss", which
        is the mean squared error on rows that the trees have not seen, before the refit (NaN with
        ``granularity="leaf"``).
    classes_ : ndarray of shape (n_classes,), or list of ndarray for several outputs
        Labels (classifiers).
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X, where it had names.

    References
    ----------
    .. [1] S. Ren, X. Cao, Y. Wei and J. Sun, "Global Refinement of Random Forest", CVPR 2015.
    .. [2] G. Martinez-Munoz and A. Suarez, "Pruning in Ordered Bagging Ensembles", ICML 2006.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from skprune import ForestPruner
    >>> X, y = load_digits(return_X_y=True)
    >>> forest = RandomForestClassifier(n_estimators=50, random_state=0)
    >>> pruner = ForestPruner(forest, sparsity=0.5).fit(X[:1200], y[:1200])
    >>> round(pruner.score(X[1200:], y[1200:]), 2)
    0.94
    >>> round(forest.fit(X[:1200], y[:1200]).score(X[1200:], y[1200:]), 2)
    0.93
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BasePruner._parameter_constraints,
        "sparsity": [Interval(Real, 0, 1, closed="both"), None],
        "n_estimators": [Interval(Integral, 1, None, closed="left"), None],
        "granularity": [StrOptions({"tree", "leaf"})],
        "refit": ["boolean"],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "sparse_output": ["boolean"],
    }
    path_params: ClassVar[dict[str, int]] = {"sparsity": 1, "n_estimators": -1}

    def __init__(
        self,
        estimator: Any,
        *,
        sparsity: float | None = None,
        n_estimators: int | None = None,
        granularity: str = "leaf",
        refit: bool = True,
        alpha: float = 1.0,
        validation_fraction: float = 0.2,
        random_state: Any = None,
        verbose: int = 0,
        sparse_output: bool = True,
        n_jobs: int | None = None,
        engine: str = "auto",
    ) -> None:
        self.estimator = estimator
        self.sparsity = sparsity
        self.n_estimators = n_estimators
        self.granularity = granularity
        self.refit = refit
        self.alpha = alpha
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs
        self.engine = engine

    @property
    def _accepts_sparse(self) -> bool:
        return True

    @property
    def _takes_many_outputs(self) -> bool:
        return super()._takes_many_outputs or bags_many_outputs(self._inner)

    @property
    def _needs_target(self) -> bool:
        return True

    def path_values(
        self,
        X: Any,
        y: Any,
        *,
        param_name: str | None = None,
        every: bool = False,
        sample_weight: Any = None,
        **fit_params: Any,
    ) -> list[Any]:
        """List some values of the parameter that are worth trying; the data are not looked at.

        Parameters
        ----------
        X, y, sample_weight : object
            Ignored.
        param_name : str, default=None
            The parameter; see `path_param`.
        every : bool, default=False
            Is refused: there is no end of values.
        **fit_params : dict
            Ignored.

        Returns
        -------
        values : list
            A ladder of sparsities, or of as many trees as these leave, in growing sparsity.
        """
        name = self.path_param(param_name)
        if every:
            self._refuse_every_value(name)
        if name == "sparsity":
            return list(LADDER)
        forest = self.estimator.estimator if self._is_frozen else self.estimator
        left = [max(1, round(forest.n_estimators * (1.0 - sparsity))) for sparsity in LADDER]
        return sorted(set(left), reverse=True)

    def _prune(self, data: TrainingData) -> Pruned:
        estimator = self._unfitted_or_frozen_copy()
        self._check_parameters_agree(estimator)
        if self.sparsity == 0.0:
            return self._unchanged(estimator, data)
        return self._choose(estimator, self._grow(estimator, data))

    @np.errstate(all="ignore")  # as in TreePruner
    def _choose(self, estimator: Any, rows: "_Rows") -> Pruned:
        if not rows.weight.any():
            raise ValueError("sample_weight is 0 on all rows: none is left to fit leaves to.")
        if self.refit:
            _refuse_classes(rows.model)
        chosen = (
            self._choose_trees(rows) if self.granularity == "tree" else self._choose_leaves(rows)
        )
        model = rows.model.only(chosen.numbers.tolist())
        if self.refit and is_classifier(estimator):
            model.link = "clip"
        return self._pruned(rows, chosen, model)

    def _unchanged(self, estimator: Any, data: TrainingData) -> Pruned:
        if not self._is_frozen:
            train(estimator, data)
        rows = _Rows.gather(estimator, [data], unseen=None)
        subtrees = [Subtree(tree, tree.left, tree.right) for tree in rows.trees]
        return self._pruned(rows, _Chosen(np.arange(len(subtrees)), subtrees), rows.model)

    def _pruned(self, rows: "_Rows", chosen: "_Chosen", model: AveragedTrees) -> Pruned:
        pruned = copy(model)
        pruned.estimator = model.cut(chosen.subtrees)
        trees = [subtree.alone() for subtree in chosen.subtrees]
        engine = pruned.to_engine(trees, self.engine)
        n_splits = rows.n_splits
        record = {
            "n_estimators": len(trees),
            "n_leaves": sum(tree.nodes.n_leaves for tree in trees),
            "sparsity": _sparsity(sum(len(tree.splits) for tree in trees), n_splits.sum()),
            "loss": chosen.loss,
        }
        return Pruned(
            estimator=pruned.estimator,
            model=engine,
            sparse_weights=partial(_weights, pruned, places_left(trees), chosen.numbers, n_splits),
            sparsity=record["sparsity"],
            n_features_out=engine.n_leaves,
            history=[rows.record(chosen.full_loss), record],
            classes=getattr(pruned.estimator, "classes_", None),
            output=pruned.output,
        )

    def _check_parameters_agree(self, estimator: Any) -> None:
        if kind_of(estimator) is not AveragedTrees:
            raise TypeError(
                f"estimator must be a RandomForest, ExtraTrees or Bagging of trees, whose trees "
                f"are averaged; got {estimator!r}."
            )
        if self.sparsity is not None and self.n_estimators is not None:
            raise ValueError(
                f"only one of sparsity and n_estimators may be given; got "
                f"sparsity={self.sparsity!r}, n_estimators={self.n_estimators!r}."
            )
        if self.n_estimators is not None and self.granularity == "leaf":
            raise ValueError(
                f"n_estimators={self.n_estimators!r} counts trees, of which granularity='leaf' "
                f"removes none; give sparsity."
            )

    def _grow(self, estimator: Any, data: TrainingData) -> "_Rows":
        """Train the forest, and gather the rows with what each tree may be judged by."""
        if not self._is_frozen and self.granularity == "leaf":
            train(estimator, data)
        if self._is_frozen or self.granularity == "leaf":
            return _Rows.gather(estimator, [data], unseen=None)
        if getattr(estimator, "bootstrap", False):
            train(estimator, data)
            unseen = np.ones((data.X.shape[0], len(estimator.estimators_)), dtype=bool)
            for number, drawn in enumerate(estimator.estimators_samples_):
                unseen[drawn, number] = False
            return _Rows.gather(estimator, [data], unseen)
        seen, held_out = hold_out(
            data, self.validation_fraction, self.random_state, is_classifier(estimator)
        )
        train(estimator, seen)
        n_seen, n_held_out = seen.X.shape[0], held_out.X.shape[0]
        unseen = np.zeros((n_seen + n_held_out, len(estimator.estimators_)), dtype=bool)
        unseen[n_seen:] = True
        return _Rows.gather(estimator, [seen, held_out], unseen)

    def _choose_trees(self, rows: "_Rows") -> "_Chosen":
        """Keep the trees that come first in an order, as many as asked for or as are best."""
        seen_less = rows.judging
        if not rows.weight[seen_less].any():
            raise ValueError(
                f"with n_samples={len(seen_less)} rows there is none, with a weight, that a tree "
                f"has not seen and could be judged by."
            )
        with progress(2 + self.refit, "step", self.verbose) as advance:
            return self._choose_and_refit(rows, seen_less, advance)

    def _choose_and_refit(
        self, rows: "_Rows", seen_less: np.ndarray, advance: Callable[[int], object]
    ) -> "_Chosen":
        order = order_trees(
            error_gram(
                rows.values, rows.at[seen_less], rows.targets[seen_less], rows.weight[seen_less]
            )
        ).order
        advance(1)
        losses = prefix_losses(
            error_gram(rows.values, rows.at, rows.targets, rows.weight, rows.unseen), order
        )
        advance(1)
        kept = self._n_kept(rows.n_splits[order], losses)
        numbers = np.sort(order[: max(kept, 1)])
        subtrees = [Subtree(tree, tree.left, tree.right) for tree in rows.take(numbers)]
        if kept == 0:  # not even one tree is sparse enough, so its root alone stays
            root = np.ones(subtrees[0].nodes.n_nodes, dtype=bool)
            return _Chosen(numbers, [Subtree.collapse(subtrees[0].nodes, root)])
        chosen = _Chosen(numbers, subtrees, float(losses[kept - 1]), float(losses[-1]))
        if self.refit:
            chosen = self._refitted(rows.of(numbers), chosen)
            advance(1)
        return chosen

    def _n_kept(self, n_splits: np.ndarray, losses: np.ndarray) -> int:
        if self.n_estimators is not None:
            return min(self.n_estimators, len(n_splits))
        if self.sparsity is None:
            return int(np.argmin(losses)) + 1
        allowed = splits_allowed(int(n_splits.sum()), self.sparsity)
        return int(np.searchsorted(np.cumsum(n_splits), allowed, side="right"))

    def _refitted(self, rows: "_Rows", chosen: "_Chosen") -> "_Chosen":
        """Fit the values of the leaves of some trees."""
        n_trees = len(chosen.numbers)
        values = n_trees * refit_leaves(
            rows.at,
            rows.targets,
            rows.values / n_trees,
            alpha=self.alpha,
            sample_weight=rows.weight,
        )
        ends = np.cumsum([subtree.nodes.n_nodes for subtree in chosen.subtrees])[:-1]
        subtrees = [
            replace(subtree, nodes=rows.with_values(subtree.nodes, value))
            for subtree, value in zip(chosen.subtrees, np.split(values, ends), strict=True)
        ]
        return replace(chosen, subtrees=subtrees)

    def _choose_leaves(self, rows: "_Rows") -> "_Chosen":
        """Merge the pairs of leaves that tell least until few enough splits are left."""
        n_trees = len(rows.trees)
        ends = rows.starts[1:-1]
        n_splits = int(rows.n_splits.sum())
        allowed = splits_allowed(n_splits, 0.5 if self.sparsity is None else self.sparsity)
        with progress(max(n_splits - allowed, 0), "split", self.verbose) as advance:
            merged = merge_leaf_pairs(
                [(tree.left, tree.right) for tree in rows.trees],
                rows.leaves,
                rows.targets,
                np.split(rows.values / n_trees, ends),
                n_splits=allowed,
                alpha=self.alpha,
                sample_weight=rows.weight,
                advance=advance,
            )
        trees = rows.trees
        if self.refit:
            trees = [
                rows.with_values(tree, n_trees * value)
                for tree, value in zip(trees, merged.values, strict=True)
            ]
        subtrees = [
            Subtree.collapse(tree, collapsed)
            for tree, collapsed in zip(trees, merged.collapsed, strict=True)
        ]
        return _Chosen(np.arange(n_trees), subtrees)


@dataclass
class _Chosen:
    """What stays of a forest.

    Attributes
    ----------
    numbers : ndarray of shape (n_kept,), intp
        The trees.
    subtrees : list of Subtree
        What stays of each.
    loss, full_loss : float
        As in `pruning_history_`, of the trees that stay and of all.
    """

    numbers: np.ndarray
    subtrees: list[Subtree]
    loss: float = np.nan
    full_loss: float = np.nan


@dataclass
class _Rows:
    """A full forest, or some of its trees, and the rows that judge and fit it.

    Attributes
    ----------
    model : AveragedTrees
        The full forest.
    trees : list of TreeArrays
        The trees.
    leaves : ndarray of shape (n_rows, n_trees), intp
        The leaf that each row reaches in each of them.
    targets : ndarray of shape (n_rows, n_values), float64
        What they should answer: targets, or one-hot labels.
    weight : ndarray of shape (n_rows,), float64
        Of the rows.
    unseen : ndarray of shape (n_rows, n_trees), bool, or None
        Which rows each tree has not seen; None where no tree has seen any.
    """

    model: AveragedTrees
    trees: list[TreeArrays]
    leaves: np.ndarray
    targets: np.ndarray
    weight: np.ndarray
    unseen: np.ndarray | None

    @classmethod
    def gather(
        cls, estimator: Any, parts: list[TrainingData], unseen: np.ndarray | None
    ) -> "_Rows":
        model = AveragedTrees(estimator)
        full = FullModel(model, model.trees(None), parts[0])
        y = np.concatenate([part.y for part in parts])
        given = [part.sample_weight for part in parts if part.sample_weight is not None]
        weight = weights_of_rows(estimator, y, np.concatenate(given) if given else None)
        return cls(
            model,
            full.trees,
            np.concatenate([full.leaves(part.X) for part in parts]),
            _targets(estimator, full.trees[0].value.shape[1], y),
            weight,
            unseen,
        )

    @property
    def n_splits(self) -> np.ndarray:
        return np.array([tree.n_splits for tree in self.trees])

    @property
    def starts(self) -> np.ndarray:
        return np.cumsum([0] + [tree.n_nodes for tree in self.trees])

    @property
    def at(self) -> np.ndarray:
        """Leaves as places among the nodes of all trees."""
        return self.leaves + self.starts[:-1]

    @property
    def values(self) -> np.ndarray:
        """What the nodes of all trees answer."""
        value = np.concatenate([tree.value for tree in self.trees])
        return side_by_side(value, self.model.n_classes)

    @property
    def judging(self) -> np.ndarray:
        """Which rows some tree has not seen."""
        if self.unseen is None:
            return np.ones(len(self.leaves), dtype=bool)
        return np.asarray(self.unseen.any(axis=1))

    def record(self, loss: float) -> dict[str, Any]:
        """Tell of the full forest in the history."""
        return {
            "n_estimators": len(self.trees),
            "n_leaves": int(self.n_splits.sum()) + len(self.trees),
            "sparsity": 0.0,
            "loss": loss,
        }

    def take(self, numbers: np.ndarray) -> list[TreeArrays]:
        """Give some of the trees."""
        return [self.trees[number] for number in numbers]

    def of(self, numbers: np.ndarray) -> "_Rows":
        """Give the rows as some of the trees see them."""
        unseen = None if self.unseen is None else self.unseen[:, numbers]
        return replace(
            self, trees=self.take(numbers), leaves=self.leaves[:, numbers], unseen=unseen
        )

    def with_values(self, tree: TreeArrays, value: np.ndarray) -> TreeArrays:
        """Give a tree other values, in the layout of scikit-learn's."""
        if self.model.n_classes is None:
            return replace(tree, value=value[:, :, np.newaxis])
        wide, ends = np.zeros_like(tree.value), np.cumsum(self.model.n_classes)[:-1]
        for output, share in enumerate(np.split(value, ends, axis=1)):
            wide[:, output, : share.shape[1]] = share
        return replace(tree, value=wide)


def _refuse_classes(model: AveragedTrees) -> None:
    """Refuse to fit probabilities of which some trees hold a part."""
    if model.n_classes is None or len(model.n_classes) > 1:
        return
    if any(len(tree.classes_) < model.n_classes[0] for tree in model.estimator.estimators_):
        raise ValueError(
            "refit=True needs trees that know all classes, but some have seen rows of a few only. "
            "Give refit=False."
        )


def _targets(estimator: Any, n_outputs: int, y: np.ndarray) -> np.ndarray:
    if not is_classifier(estimator):
        return outputs_of(n_outputs, y).astype(np.float64)
    positions = class_positions(estimator, y)
    known = np.atleast_1d(estimator.n_classes_)
    return np.hstack([np.eye(n)[column] for n, column in zip(known, positions.T, strict=True)])


def _sparsity(kept: int, full: int) -> float:
    return 1.0 - int(kept) / int(full) if full else 0.0


def _weights(
    model: AveragedTrees,
    places: list[tuple[np.ndarray, int]],
    numbers: np.ndarray,
    n_splits: np.ndarray,
) -> dict[str, csr_array]:
    """Write the trees that are left as a sparse net with the splits of the full forest."""
    weights = weights_left(model, places)
    starts = np.cumsum([0, *n_splits])
    rows = np.concatenate([np.arange(starts[n], starts[n + 1]) for n in numbers])
    shape = (starts[-1], len(rows))
    place = csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=shape)
    return weights | {name: csr_array(place @ weights[name]) for name in "AbmC"}
