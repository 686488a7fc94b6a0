"""ReducedErrorPruner: splits stay that lower the error on rows that the tree has not seen."""

from collections.abc import Iterator
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils._param_validation import Interval

from skprune.base import TrainingData
from skprune.trees.core.risks import held_out_risk
from skprune.trees.grown import FullModel
from skprune.trees.models import kind_of
from skprune.trees.pruners.base import TreePruner, class_positions, outputs_of, weights_of_rows
from skprune.trees.pruners.held_out import hold_out


class ReducedErrorPruner(TreePruner):
    """Reduced-error pruning of CART trees and forests, by the error on held-out rows.

    Part of the rows is held out, and the tree is grown on the others. Then, of all pruned subtrees,
    the one with the least error on the held-out rows is kept, and of those that tie the smallest:
    Quinlan (1987) [1]_, with the properties that Elomaa and Kääriäinen (2001) [2]_ show. A split t
    stays if its branch, pruned itself, has a smaller sum of ``R(leaf)`` than ``R(t)``, where

    ``R(t) = sum of w_i * loss(y_i, prediction of t) / sum of w_i``,

    above over the held-out rows i that reach t, below over all of them; the loss is 1 for a wrong
    label and the squared error for regression, its mean over several outputs. A branch that no
    held-out row reaches goes. What the leaves predict remains that of the rows that the tree was
    grown on.

    Parameters
    ----------
    estimator : tree, forest or bagging, classifier or regressor
        What to grow and prune: DecisionTree or ExtraTree; RandomForest, ExtraTrees or Bagging of
        trees, each of which is judged by itself. Or a
        :class:`~sklearn.frozen.FrozenEstimator` around a fitted one, which is pruned on a copy:
        then all rows given to `fit` are held-out rows.
    sparsity : float in [0, 1], default=None
        Fraction of the splits to remove: the path of best subtrees on the held-out rows is
        followed to the first that is sparse enough. None keeps what lowers the error.
    validation_fraction : float in (0, 1), default=0.25
        Fraction of the rows to hold out; of each class alike, and of each class at least one
        row remains to grow the tree on. Not used with a frozen estimator.
    random_state : int, RandomState instance or None, default=None
        Draws the rows to hold out. The tree has its own.
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
        "ccp_alpha", the price of a leaf, in held-out error, from which on each is best (-inf for
        the full tree, NaN for the merged one), "n_leaves" and "sparsity".
    classes_ : ndarray of shape (n_classes,), or list of ndarray for several outputs
        Labels (classifiers).
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X, where it had names.

    Notes
    -----
    Weights count on the held-out rows as they do on the others, the tree's own `class_weight`
    among them. Rows of weight 0 are never held out.

    References
    ----------
    .. [1] J. R. Quinlan, "Simplifying decision trees", International Journal of Man-Machine
       Studies 27 (1987), section 2.2.
    .. [2] T. Elomaa and M. Kääriäinen, "An analysis of reduced error pruning", Journal of
       Artificial Intelligence Research 15 (2001).

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune import ReducedErrorPruner
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> pruner = ReducedErrorPruner(DecisionTreeClassifier(random_state=0), random_state=0)
    >>> [step["n_leaves"] for step in pruner.fit(X, y).pruning_history_]
    [20, 7]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TreePruner._parameter_constraints,
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        sparsity: float | None = None,
        validation_fraction: float = 0.25,
        random_state: Any = None,
        allocation: str = "global",
        merge_equal_leaves: bool = False,
        sparse_output: bool = True,
        n_jobs: int | None = None,
        engine: str = "auto",
    ) -> None:
        self.estimator = estimator
        self.sparsity = sparsity
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.allocation = allocation
        self.merge_equal_leaves = merge_equal_leaves
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs
        self.engine = engine

    @property
    def _needs_target(self) -> bool:
        return True

    def _check_parameters_agree(self, estimator: Any) -> None:
        if not kind_of(estimator).votes:
            raise TypeError(
                f"estimator must have trees that each predict the target: "
                f"{type(self).__name__} judges them one by one; got {estimator!r}."
            )

    def _risks(self, full: FullModel) -> Iterator[np.ndarray]:
        estimator, data = full.model.estimator, full.data
        classifier = is_classifier(estimator)
        n_outputs = full.trees[0].value.shape[1]
        target = class_positions(estimator, data.y) if classifier else outputs_of(n_outputs, data.y)
        weight = weights_of_rows(estimator, data.y, data.sample_weight)
        if not weight.any():
            raise ValueError("sample_weight is 0 on all rows: none is left to prune by.")
        for tree, leaf in zip(full.trees, full.leaves(data.X).T, strict=True):
            yield held_out_risk(tree, leaf, target, weight, classifier)

    def _divide(self, data: TrainingData) -> tuple[TrainingData, TrainingData]:
        if self._is_frozen:
            return data, data
        return hold_out(data, self.validation_fraction, self.random_state, is_classifier(self))
