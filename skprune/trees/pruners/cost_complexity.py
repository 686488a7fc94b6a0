"""CostComplexityPruner: minimal cost-complexity pruning, by the price or the size of the tree."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils._param_validation import Interval, StrOptions

from skprune.trees.core.arrays import TreeArrays
from skprune.trees.core.risks import impurity_risk, misclassification_risk
from skprune.trees.grown import Grown
from skprune.trees.models import kind_of
from skprune.trees.pruners.base import TreePruner

RISKS: dict[str, Callable[[TreeArrays], np.ndarray]] = {
    "impurity": impurity_risk,
    "misclassification": misclassification_risk,
}


class CostComplexityPruner(TreePruner):
    """Minimal cost-complexity pruning of CART trees and of ensembles of them.

    Among all pruned subtrees T the one that minimises ``R(T) + alpha * leaves(T)`` is kept, for
    the price alpha that gives the sparsity, the number of leaves, or that is given itself:
    Breiman et al. (1984) [1]_, chapter 3.

    Parameters
    ----------
    estimator : tree or ensemble of trees, classifier or regressor
        What to grow and prune: DecisionTree or ExtraTree; RandomForest, ExtraTrees or Bagging of
        trees; GradientBoosting (that starts from a constant) or HistGradientBoosting. Or a
        :class:`~sklearn.frozen.FrozenEstimator` around a fitted one, which is pruned on a copy.
        Boosted ones need `y` then, too, unless their loss is the squared error.
    sparsity : float in [0, 1], default=None
        Fraction of the splits to remove. The path of best subtrees is nested but does not hold
        every size; the first that is sparse enough is taken.
    ccp_alpha : float >= 0, default=None
        Price of a leaf. The result is that of scikit-learn's own `ccp_alpha`; as there, 0
        removes nothing. Infinity leaves the root alone.
    max_leaf_nodes : int, default=None
        The largest subtree of the path with at most so many leaves is taken, of each tree.

        At most one of `sparsity`, `ccp_alpha` and `max_leaf_nodes` may be given; with none,
        ``sparsity=0.5``.
    risk : {"impurity", "misclassification"}, default="impurity"
        What R sums over the leaves: the tree's own criterion, as in scikit-learn, or the
        training error, as in the book (classifiers whose trees each predict a class). Of
        HistGradientBoosting, the gains of its splits.
    allocation : {"global", "uniform"}, default="global"
        How `sparsity` is shared out among the trees of an ensemble: all their alphas in one pool,
        so that each gives up what costs least, or the same fraction of each.
    merge_equal_leaves : bool, default=False
        Whether to then make one leaf of sibling leaves that predict alike, as often as there are
        any. It changes `predict_proba` alone, and may make the tree sparser than `sparsity`.
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
        The pruned tree, or the ensemble of pruned trees: a real one of scikit-learn's.
    sparse_estimator_ : SparseClassifier or SparseRegressor
        The pruned model on the sparse engine.
    sparse_weights_ : dict of str to csr_array
        The pruned model written as a sparse net, made on access; see
        :func:`skprune.trees.core.sparse_net.sparse_weights`.
    sparsity_ : float
        1 - splits kept / splits of the full model; 0 where there are none.
    pruning_history_ : list of dict
        The full tree, the pruned one and, with `merge_equal_leaves`, the merged one:
        "ccp_alpha", the price from which on each is best (NaN for the merged tree), "n_leaves"
        and "sparsity".
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

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TreePruner._parameter_constraints,
        "ccp_alpha": [Interval(Real, 0, None, closed="both"), None],  # infinity is a price
        "max_leaf_nodes": [Interval(Integral, 1, None, closed="left"), None],
        "risk": [StrOptions(set(RISKS))],
    }
    path_params: ClassVar[dict[str, int]] = {"ccp_alpha": 1, "sparsity": 1, "max_leaf_nodes": -1}
    _takes_negative_weights = True
    _lowest_price = 0.0  # scikit-learn's, at which nothing goes

    def __init__(
        self,
        estimator: Any,
        *,
        sparsity: float | None = None,
        ccp_alpha: float | None = None,
        max_leaf_nodes: int | None = None,
        risk: str = "impurity",
        allocation: str = "global",
        merge_equal_leaves: bool = False,
        sparse_output: bool = True,
        n_jobs: int | None = None,
        engine: str = "auto",
    ) -> None:
        self.estimator = estimator
        self.sparsity = sparsity
        self.ccp_alpha = ccp_alpha
        self.max_leaf_nodes = max_leaf_nodes
        self.risk = risk
        self.allocation = allocation
        self.merge_equal_leaves = merge_equal_leaves
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs
        self.engine = engine

    @property
    def _reorders(self) -> bool:
        return bool(self.ccp_alpha)  # as scikit-learn does at any price but zero

    def _risk(self, tree: TreeArrays) -> np.ndarray:
        return RISKS[self.risk](tree)

    def _steps(self, grown: Grown) -> np.ndarray:
        if self.ccp_alpha is not None:
            # scikit-learn reads 0 as "do not prune", also where splits are worth nothing
            alpha = self.ccp_alpha if self.ccp_alpha > 0 else -np.inf
            return grown.path.steps_for_alpha(alpha)
        if self.max_leaf_nodes is not None:
            return grown.path.steps_for_max_leaf_nodes(self.max_leaf_nodes)
        return grown.path.steps_for_sparsity(0.5 if self.sparsity is None else self.sparsity)

    def _check_parameters_agree(self, estimator: Any) -> None:
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
        if self.risk == "misclassification" and not (
            is_classifier(estimator) and kind_of(estimator).votes
        ):
            raise ValueError(
                f"risk='misclassification' needs trees that predict classes; "
                f"{type(estimator).__name__} allows risk='impurity'."
            )
