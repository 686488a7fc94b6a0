"""ErrorBasedPruner: C4.5's upper limits of the training errors, and its subtree raising."""

from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skprune.trees.core.arrays import TreeArrays
from skprune.trees.core.bottom_up import add_counts, collapse_bottom_up, raise_branches
from skprune.trees.core.risks import (
    class_counts,
    class_entropy,
    confidence_risk,
    estimated_errors,
    gini_impurity,
)
from skprune.trees.core.subtrees import Subtree
from skprune.trees.grown import FullModel, Grown
from skprune.trees.models import kind_of
from skprune.trees.pruners.base import TreePruner, class_positions, weights_of_rows

IMPURITIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gini": gini_impurity,
    "entropy": class_entropy,
    "log_loss": class_entropy,
}


class ErrorBasedPruner(TreePruner):
    """Error-based pruning of CART trees and forests: C4.5's rule.

    Training errors flatter a tree. C4.5 takes, in place of the E errors that a leaf makes on its N
    training rows, as many as there would be at the upper limit of the error rate,

    ``N * U(E, N)``, with ``U(E, N) = beta.ppf(1 - confidence, E + 1, N - E)``:

    Quinlan (1993) [1]_, chapter 4. From the bottom up, a branch becomes a leaf unless that adds
    more than 0.1 to the estimated errors. It needs no rows of its own to prune by.

    Parameters
    ----------
    estimator : classifier: tree, forest or bagging
        What to grow and prune: DecisionTree or ExtraTree; RandomForest, ExtraTrees or Bagging of
        trees. Or a
        :class:`~sklearn.frozen.FrozenEstimator` around a fitted one, which is pruned on a copy.
    sparsity : float in [0, 1], default=None
        Fraction of the splits to remove: the path of best subtrees for the risk
        ``(w_t / w_root) * U(E_t, w_t)`` is followed to the first that is sparse enough. None is
        C4.5's own rule, from the bottom up.
    confidence : float in (0, 1), default=0.25
        C4.5's CF: the smaller, the larger the limits and the smaller the tree.
    weights : {"relative", "counts"}, default="relative"
        How training rows of unequal weight, by `sample_weight` or by the `class_weight` of the
        estimator, count as cases. "relative": as if their mean weight were 1, so that the result
        does not depend on the scale of the weights. "counts": as many times as they weigh.
    subtree_raising : bool, default=False
        Whether a node may also be replaced by the branch of its larger child, as in C4.5: all
        rows of the node are sent down that branch, and if its estimated errors are then not more
        than 0.1 above those of the node's own branch, it takes the node's place and is pruned
        again. Such a tree is on no path, so it cannot be combined with `sparsity`. A frozen tree
        is raised with the rows and weights that it was grown on, which have to be given to `fit`.
        Sparse X is not taken.
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
        the full tree, NaN for trees that are on no path: those of C4.5's own rule and merged
        ones), "n_leaves" and "sparsity".
    classes_ : ndarray of shape (n_classes,), or list of ndarray for several outputs
        Labels.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X, where it had names.

    Notes
    -----
    N and E are weights of rows, `class_weight` among them, and need not be whole. Over several
    outputs the estimated errors are the mean. The limit is the exact one, where C4.5's own code
    interpolates in a table.

    References
    ----------
    .. [1] J. R. Quinlan, "C4.5: Programs for Machine Learning", Morgan Kaufmann, 1993.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune import ErrorBasedPruner
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> pruner = ErrorBasedPruner(DecisionTreeClassifier(random_state=0))
    >>> [step["n_leaves"] for step in pruner.fit(X, y).pruning_history_]
    [22, 13]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TreePruner._parameter_constraints,
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "weights": [StrOptions({"relative", "counts"})],
        "subtree_raising": ["boolean"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        sparsity: float | None = None,
        confidence: float = 0.25,
        weights: str = "relative",
        subtree_raising: bool = False,
        allocation: str = "global",
        merge_equal_leaves: bool = False,
        sparse_output: bool = True,
        n_jobs: int | None = None,
        engine: str = "auto",
    ) -> None:
        self.estimator = estimator
        self.sparsity = sparsity
        self.confidence = confidence
        self.weights = weights
        self.subtree_raising = subtree_raising
        self.allocation = allocation
        self.merge_equal_leaves = merge_equal_leaves
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs
        self.engine = engine

    @property
    def _needs_target(self) -> bool:
        return self._trains or self.subtree_raising

    @property
    def _accepts_sparse(self) -> bool:
        return not self.subtree_raising  # which looks at the columns of rows, again and again

    def _n_cases(self, full: FullModel) -> list[float | None]:
        return full.n_cases(self.weights == "relative")

    def _risks(self, full: FullModel) -> Iterable[np.ndarray]:
        return [
            confidence_risk(tree, self.confidence, n_cases)
            for tree, n_cases in zip(full.trees, self._n_cases(full), strict=True)
        ]

    def _chosen(self, grown: Grown) -> tuple[list[Subtree], float]:
        if self.sparsity is not None:
            return super()._chosen(grown)
        full = grown.full
        if self.subtree_raising:
            return [self._raised(full)], np.nan
        return list(map(self._collapsed, full.trees, self._n_cases(full))), np.nan

    def _collapsed(self, tree: TreeArrays, n_cases: float | None) -> Subtree:
        errors = estimated_errors(class_counts(tree, n_cases), self.confidence)
        return Subtree.collapse(tree, collapse_bottom_up(tree.left, tree.right, errors))

    def _raised(self, model: FullModel) -> Subtree:
        estimator, full, data = model.model.estimator, model.trees[0], model.data
        counts = class_counts(full)
        n_cases = self._n_cases(model)[0]
        scale = 1.0 if n_cases is None else n_cases / full.weighted_n_node_samples[0]

        def errors(counts: np.ndarray) -> np.ndarray:
            return estimated_errors(scale * counts, self.confidence)

        weight = weights_of_rows(estimator, data.y, data.sample_weight)
        rows = np.flatnonzero(weight > 0)  # as scikit-learn, which grows on no other
        X, leaf = data.X[rows], estimator.tree_.apply(data.X[rows])
        classes = class_positions(estimator, data.y)[rows]
        self._check_grown_on(full, counts, leaf, classes, weight[rows])
        return raise_branches(
            full, X, leaf, classes, weight[rows], errors, IMPURITIES[estimator.criterion]
        )

    def _check_grown_on(
        self,
        full: TreeArrays,
        counts: np.ndarray,
        leaf: np.ndarray,
        classes: np.ndarray,
        weight: np.ndarray,
    ) -> None:
        """Refuse rows that are not those of a frozen tree: raising would mix the two."""
        found = np.zeros_like(counts)
        add_counts(found, leaf, classes, weight)
        leaves = ~full.is_split
        scale = full.weighted_n_node_samples[0]
        if not np.allclose(found[leaves], counts[leaves], rtol=1e-6, atol=1e-9 * scale):
            raise ValueError(
                "subtree_raising=True sends the rows that the tree was grown on down other "
                "branches, but X, y and sample_weight are not those that the frozen estimator was "
                "fitted with."
            )

    def _check_parameters_agree(self, estimator: Any) -> None:
        self._check_votes(estimator)
        if not self.subtree_raising:
            return
        if kind_of(estimator).is_ensemble:
            raise ValueError(
                f"subtree_raising=True needs a lone tree: which rows each tree of an ensemble was "
                f"grown on is not known; got {type(estimator).__name__}."
            )
        if self.sparsity is not None:
            raise ValueError(
                f"subtree_raising=True cannot be combined with sparsity={self.sparsity!r}, nor can "
                f"PrunerCV search it along sparsity: raised trees are on no path of subtrees."
            )
        if getattr(estimator, "monotonic_cst", None) is not None:
            raise ValueError(
                "subtree_raising=True cannot keep the monotonic_cst of the estimator: rows that "
                "come to other leaves change what these predict."
            )
        if estimator.criterion not in IMPURITIES:
            raise ValueError(
                f"subtree_raising=True needs an estimator with criterion in "
                f"{sorted(IMPURITIES)}; got {estimator.criterion!r}."
            )
