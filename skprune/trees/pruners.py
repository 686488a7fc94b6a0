"""The pruners of trees: each a risk and a rule to stop, over one engine of paths."""

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.tree import BaseDecisionTree
from sklearn.utils import get_tags
from sklearn.utils._param_validation import Interval, StrOptions

from skprune.base import BasePruner, Pruned, TrainingData
from skprune.engine import Tree
from skprune.trees.arrays import TreeArrays, prune_sklearn_tree, sparse_weights
from skprune.trees.paths import GrownTree, TreePathPruner
from skprune.trees.risks import impurity_risk, misclassification_risk
from skprune.trees.weakest_link import PruningPath, pruning_path

RISKS: dict[str, Callable[[TreeArrays], np.ndarray]] = {
    "impurity": impurity_risk,
    "misclassification": misclassification_risk,
}


class CostComplexityPruner(TreePathPruner):
    """Minimal cost-complexity pruning of a CART tree.

    Among all pruned subtrees T the one that minimises ``R(T) + alpha * leaves(T)`` is kept, for
    the price alpha that gives the sparsity, the number of leaves, or that is given itself:
    Breiman et al. (1984) [1]_, chapter 3.

    Parameters
    ----------
    estimator : DecisionTree or ExtraTree, classifier or regressor
        The tree to grow and prune, or a :class:`~sklearn.frozen.FrozenEstimator` around a
        fitted one, which is pruned on a copy.
    sparsity : float in [0, 1], default=None
        Fraction of the splits to remove. The path of best subtrees is nested but does not hold
        every size; the first that is sparse enough is taken.
    ccp_alpha : float >= 0, default=None
        Price of a leaf. The result is that of scikit-learn's own `ccp_alpha`; as there, 0
        removes nothing. Infinity leaves the root alone.
    max_leaf_nodes : int, default=None
        The largest subtree of the path with at most so many leaves is taken.

        At most one of `sparsity`, `ccp_alpha` and `max_leaf_nodes` may be given; with none,
        ``sparsity=0.5``.
    risk : {"impurity", "misclassification"}, default="impurity"
        What R sums over the leaves: the tree's own criterion, as in scikit-learn, or the
        training error, as in the book (classifiers only).
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
    estimator_ : DecisionTree or ExtraTree
        The pruned tree: a real scikit-learn tree.
    sparse_estimator_ : SparseClassifier or SparseRegressor
        The pruned tree on the sparse engine.
    sparse_weights_ : dict of str to csr_array
        The pruned tree written as a sparse net, made on access; see
        :func:`skprune.trees.arrays.sparse_weights`.
    sparsity_ : float
        1 - splits kept / splits of the full tree; 0 for a tree without splits.
    pruning_history_ : list of dict
        The full tree and the pruned one: "ccp_alpha", the price from which on each is best,
        "n_leaves" and "sparsity".
    classes_ : ndarray of shape (n_classes,), or list of ndarray for several outputs
        Labels (classifiers).
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X, where it had names.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression
       Trees", Wadsworth, 1984.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune import CostComplexityPruner
    >>> X, y = load_iris(return_X_y=True)
    >>> pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0), max_leaf_nodes=4)
    >>> int(pruner.fit(X, y).estimator_.get_n_leaves())
    4
    >>> round(pruner.sparsity_, 3), round(pruner.score(X, y), 3)
    (0.625, 0.973)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **BasePruner._parameter_constraints,
        "sparsity": [Interval(Real, 0, 1, closed="both"), None],
        "ccp_alpha": [Interval(Real, 0, None, closed="both"), None],  # infinity is a price
        "max_leaf_nodes": [Interval(Integral, 1, None, closed="left"), None],
        "risk": [StrOptions(set(RISKS))],
        "sparse_output": ["boolean"],
    }
    path_params: ClassVar[dict[str, int]] = {"ccp_alpha": 1, "sparsity": 1, "max_leaf_nodes": -1}

    def __init__(
        self,
        estimator: Any,
        *,
        sparsity: float | None = None,
        ccp_alpha: float | None = None,
        max_leaf_nodes: int | None = None,
        risk: str = "impurity",
        sparse_output: bool = True,
        n_jobs: int | None = None,
        engine: str = "auto",
    ) -> None:
        self.estimator = estimator
        self.sparsity = sparsity
        self.ccp_alpha = ccp_alpha
        self.max_leaf_nodes = max_leaf_nodes
        self.risk = risk
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs
        self.engine = engine

    def _grow(self, data: TrainingData) -> GrownTree:
        estimator = self._unfitted_or_frozen_copy()
        self._check_parameters_agree(estimator)
        if not self._is_frozen:
            estimator.fit(data.X, data.y, sample_weight=data.sample_weight, **data.fit_params)
        full = TreeArrays.from_sklearn(estimator.tree_)
        path = pruning_path(full.left, full.right, RISKS[self.risk](full))
        return GrownTree(estimator, full, path)

    def _cut(self, grown: GrownTree, step: int) -> Pruned:
        estimator, path = copy(grown.estimator), grown.path
        collapsed = path.collapsed(step)
        # scikit-learn puts nodes into depth-first order at any price but zero
        if step > 0 or self.ccp_alpha:
            estimator.tree_ = prune_sklearn_tree(estimator.tree_, collapsed)
        model = engine_tree(estimator, self.engine)
        return Pruned(
            estimator=estimator,
            model=model,
            sparse_weights=partial(sparse_weights, grown.full, collapsed),
            sparsity=float(path.sparsities[step]),
            n_features_out=model.n_leaves,
            history=_history(path, (0, step)),
            classes=getattr(estimator, "classes_", None),
        )

    def _check_parameters_agree(self, estimator: Any) -> None:
        if not isinstance(estimator, BaseDecisionTree):
            raise TypeError(
                f"estimator must be a DecisionTree or ExtraTree, classifier or regressor, or a "
                f"FrozenEstimator around a fitted one; got {estimator!r}."
            )
        targets = {
            name: getattr(self, name)
            for name in ("sparsity", "ccp_alpha", "max_leaf_nodes")
            if getattr(self, name) is not None
        }
        if len(targets) > 1:
            given = ", ".join(f"{name}={value!r}" for name, value in targets.items())
            raise ValueError(
                f"only one of sparsity, ccp_alpha and max_leaf_nodes may be given; got {given}."
            )
        if self.risk == "misclassification" and not is_classifier(estimator):
            raise ValueError(
                f"risk='misclassification' needs a classifier; {type(estimator).__name__} "
                f"allows risk='impurity'."
            )

    def _chosen_step(self, path: PruningPath) -> int:
        if self.ccp_alpha is not None:
            # scikit-learn reads 0 as "do not prune", also where splits are worth nothing
            return path.step_for_alpha(self.ccp_alpha) if self.ccp_alpha > 0 else 0
        if self.max_leaf_nodes is not None:
            return path.step_for_max_leaf_nodes(self.max_leaf_nodes)
        return path.step_for_sparsity(0.5 if self.sparsity is None else self.sparsity)


def engine_tree(estimator: Any, engine: str = "auto") -> Tree:
    """Copy a fitted scikit-learn tree into the engine.

    Parameters
    ----------
    estimator : DecisionTree or ExtraTree, classifier or regressor
        A fitted tree.
    engine : {"auto", "native", "scipy"}, default="auto"
        See :class:`skprune.engine.Tree`.

    Returns
    -------
    tree : Tree
        Its values are the class probabilities of each output, side by side, or the targets.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> tree = DecisionTreeRegressor().fit([[0.0], [1.0]], [2.0, 3.0])
    >>> engine_tree(tree).predict([[0.2], [0.8]])
    array([[2.],
           [3.]])
    """
    tree = estimator.tree_
    n_classes = np.atleast_1d(estimator.n_classes_) if is_classifier(estimator) else None
    return Tree(
        tree.feature,
        tree.threshold,
        tree.children_left,
        tree.children_right,
        _values(tree.value, n_classes),
        tree.missing_go_to_left,
        n_features_in=estimator.n_features_in_,
        allow_nan=get_tags(estimator).input_tags.allow_nan,
        engine=engine,
    )


def _values(value: np.ndarray, n_classes: Sequence[int] | np.ndarray | None) -> np.ndarray:
    """Lay the outputs side by side, without the padding of those with fewer classes."""
    if n_classes is None:
        return value[:, :, 0]
    return np.concatenate([value[:, k, :n] for k, n in enumerate(n_classes)], axis=1)


def _history(path: PruningPath, steps: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {
            "ccp_alpha": max(float(path.alphas[step]), 0.0),
            "n_leaves": int(path.n_leaves[step]),
            "sparsity": float(path.sparsities[step]),
        }
        for step in steps
    ]
