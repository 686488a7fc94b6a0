"""MinimumErrorPruner: the training errors of a leaf, drawn towards the class shares of the data."""

from collections.abc import Iterable
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skprune.trees.core.risks import m_estimate_risk
from skprune.trees.grown import FullModel
from skprune.trees.pruners.base import TreePruner


class MinimumErrorPruner(TreePruner):
    """Minimum-error pruning of CART trees and forests, by the m-estimate of its error.

    Training errors flatter small leaves. Here the share of class c in a node t is estimated as if m
    more rows had come to it, of which each class has its share p_c of all rows, so that the
    expected error of t as a leaf is

    ``R(t) = (w_t / w_root) * (1 - max_c (w_tc + p_c m) / (w_t + m))``,

    with w_t the weight of the training rows in t and w_tc that of class c among them: Cestnik and
    Bratko (1991) [1]_. The subtree with the least sum over its leaves is kept, and of those that
    tie the smallest. It needs no rows of its own to prune by.

    Parameters
    ----------
    estimator : classifier: tree, forest or bagging
        What to grow and prune: DecisionTree or ExtraTree; RandomForest, ExtraTrees or Bagging of
        trees. Or a
        :class:`~sklearn.frozen.FrozenEstimator` around a fitted one, which is pruned on a copy.
    sparsity : float in [0, 1], default=None
        Fraction of the splits to remove: the path of best subtrees for this risk is followed to
        the first that is sparse enough. None keeps the splits that lower the risk.
    m : float >= 0, default=2.0
        How many rows the class shares of the data count for; more of them make a smaller tree.
        Rows are counted as `weights` says.
    weights : {"relative", "counts"}, default="relative"
        How training rows of unequal weight, by `sample_weight` or by the `class_weight` of the
        estimator, count as cases. "relative": as if their mean weight were 1, so that the result
        does not depend on the scale of the weights. "counts": as many times as they weigh.
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
    estimator_ : DecisionTreeClassifier or ExtraTreeClassifier
        The pruned tree: a real scikit-learn tree.
    sparse_estimator_ : SparseClassifier
        The pruned model on the sparse engine.
    sparse_weights_ : dict of str to csr_array
        The pruned model written as a sparse net, made on access; see
        :func:`skprune.trees.core.sparse_net.sparse_weights`.
    sparsity_ : float
        1 - splits kept / splits of the full model; 0 where there are none.
    pruning_history_ : list of dict
        The full tree, the pruned one and, with `merge_equal_leaves`, the merged one:
        "ccp_alpha", the price of a leaf, in estimated error, from which on each is best (-inf for
        the full tree, NaN for the merged one), "n_leaves" and "sparsity".
    classes_ : ndarray of shape (n_classes,), or list of ndarray for several outputs
        Labels.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X, where it had names.

    Notes
    -----
    Over several outputs the risk is the mean. The predictions stay those of the plain class shares:
    the estimate decides what goes, not what a leaf says.

    References
    ----------
    .. [1] B. Cestnik and I. Bratko, "On estimating probabilities in tree pruning", EWSL 1991.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune import MinimumErrorPruner
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> pruner = MinimumErrorPruner(DecisionTreeClassifier(random_state=0), m=10.0)
    >>> [step["n_leaves"] for step in pruner.fit(X, y).pruning_history_]
    [22, 13]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TreePruner._parameter_constraints,
        "m": [Interval(Real, 0, None, closed="left")],
        "weights": [StrOptions({"relative", "counts"})],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        sparsity: float | None = None,
        m: float = 2.0,
        weights: str = "relative",
        allocation: str = "global",
        merge_equal_leaves: bool = False,
        sparse_output: bool = True,
        n_jobs: int | None = None,
        engine: str = "auto",
    ) -> None:
        self.estimator = estimator
        self.sparsity = sparsity
        self.m = m
        self.weights = weights
        self.allocation = allocation
        self.merge_equal_leaves = merge_equal_leaves
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs
        self.engine = engine

    def _risks(self, full: FullModel) -> Iterable[np.ndarray]:
        relative = self.weights == "relative"
        return [
            m_estimate_risk(tree, self.m, n_cases)
            for tree, n_cases in zip(full.trees, full.n_cases(relative), strict=True)
        ]

    def _check_parameters_agree(self, estimator: Any) -> None:
        self._check_votes(estimator)
