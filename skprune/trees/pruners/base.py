"""TreePruner: what the pruners of single trees share. A subclass gives a risk and where to stop."""

from abc import abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.tree import BaseDecisionTree
from sklearn.utils import compute_sample_weight, get_tags
from sklearn.utils._param_validation import Interval

from skprune.base import BasePruner, Pruned, TrainingData
from skprune.engine import Tree
from skprune.trees.arrays import TreeArrays
from skprune.trees.subtrees import Subtree, merge_equal_leaves
from skprune.trees.weakest_link import PruningPath, pruning_path

# Prices of no more than this share of the largest risk are rounding: splits at them are ties.
ROUNDING = 1e-12


class TreePruner(BasePruner):
    """Base class of the pruners of single trees.

    A subclass implements `_risk`. With `sparsity`, the path of best subtrees for that risk is
    followed to it; without, to the price 0: splits go that do not lower the risk. A rule that
    stops elsewhere overrides `_step`, or `_subtree` where it takes trees that are on no path.

    Examples
    --------
    A rule of one's own: no leaf may hold less than a tenth of the rows.

    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.pruners import TreePruner
    >>> class LargeLeavesPruner(TreePruner):
    ...     def __init__(self, estimator, *, sparsity=None, merge_equal_leaves=False,
    ...                  sparse_output=True, n_jobs=None, engine="auto"):
    ...         self.estimator, self.sparsity, self.engine = estimator, sparsity, engine
    ...         self.merge_equal_leaves, self.sparse_output = merge_equal_leaves, sparse_output
    ...         self.n_jobs = n_jobs
    ...     def _risk(self, estimator, full, data):
    ...         return 1.0 * (full.n_node_samples < full.n_node_samples[0] / 10)
    >>> pruner = LargeLeavesPruner(DecisionTreeClassifier(random_state=0), sparsity=0.5)
    >>> pruner.fit(*load_iris(return_X_y=True)).sparsity_
    0.5
    """

    sparsity: float | None
    merge_equal_leaves: bool

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **BasePruner._parameter_constraints,
        "sparsity": [Interval(Real, 0, 1, closed="both"), None],
        "merge_equal_leaves": ["boolean"],
        "sparse_output": ["boolean"],
    }

    # What history calls the price of the full tree, which is the best at any price below.
    _lowest_price: ClassVar[float] = -np.inf

    @abstractmethod
    def _risk(self, estimator: Any, full: TreeArrays, data: TrainingData) -> np.ndarray:
        """Give the risk of each node as a leaf, from the grown tree and the rows that judge it."""

    def _step(self, path: PruningPath, risk: np.ndarray) -> int | None:
        """Give the step of the path to stop at, or None for a subtree that is on no path."""
        if self.sparsity is not None:
            return path.step_for_sparsity(self.sparsity)
        return path.step_for_alpha(ROUNDING * np.abs(risk).max())

    def _subtree(self, estimator: Any, full: TreeArrays, data: TrainingData) -> Subtree:
        """Give the subtree where `_step` gives none."""
        raise NotImplementedError

    def _divide(self, data: TrainingData) -> tuple[TrainingData, TrainingData]:
        """Give the rows to grow the tree on, and those to judge it by."""
        return data, data

    def _prune(self, data: TrainingData) -> Pruned:
        estimator = self._unfitted_or_frozen_copy()
        self._check_parameters_agree(estimator)
        growing, judging = self._divide(data)
        if not self._is_frozen:
            estimator.fit(
                growing.X, growing.y, sample_weight=growing.sample_weight, **growing.fit_params
            )
        full = TreeArrays.from_sklearn(estimator.tree_)
        risk = self._risk(estimator, full, judging)
        path = pruning_path(full.left, full.right, risk)
        history = [_record(Subtree(full, full.left, full.right), self._lowest_price)]

        step = self._step(path, risk)
        if step is None:
            subtree = self._subtree(estimator, full, judging)
            history.append(_record(subtree, np.nan))
        else:
            subtree = Subtree.collapse(full, path.collapsed(step))
            history.append(_record(subtree, max(float(path.alphas[step]), self._lowest_price)))
        if self.merge_equal_leaves:
            subtree = merge_equal_leaves(subtree, is_classifier(estimator))
            history.append(_record(subtree, np.nan))

        if subtree.n_splits < full.n_splits:
            estimator.tree_ = subtree.to_sklearn(estimator.tree_)
        model = engine_tree(estimator, self.engine)
        return Pruned(
            estimator=estimator,
            model=model,
            sparse_weights=subtree.sparse_weights,
            sparsity=subtree.sparsity,
            n_features_out=model.n_leaves,
            history=history,
            classes=getattr(estimator, "classes_", None),
        )

    def _check_parameters_agree(self, estimator: Any) -> None:
        if not isinstance(estimator, BaseDecisionTree):
            raise TypeError(
                f"estimator must be a DecisionTree or ExtraTree, classifier or regressor, or a "
                f"FrozenEstimator around a fitted one; got {estimator!r}."
            )

    def _check_classifier(self, estimator: Any) -> None:
        if not is_classifier(estimator):
            raise TypeError(
                f"estimator must be a classifier: {type(self).__name__} counts errors of labels; "
                f"got {estimator!r}."
            )


def class_positions(estimator: Any, y: np.ndarray) -> np.ndarray:
    """Turn labels into positions in the classes that a fitted tree knows.

    Parameters
    ----------
    estimator : DecisionTree or ExtraTree classifier
        A fitted tree.
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Labels.

    Returns
    -------
    ndarray of shape (n_rows, n_outputs), intp

    Raises
    ------
    ValueError
        If the tree does not know a label.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.pruners.base import class_positions
    >>> tree = DecisionTreeClassifier().fit([[0], [1]], ["no", "yes"])
    >>> class_positions(tree, np.array(["yes", "no"])).ravel()
    array([1, 0])
    """
    y = outputs_of(estimator, y)
    classes = [estimator.classes_] if estimator.n_outputs_ == 1 else estimator.classes_
    positions = np.empty(y.shape, dtype=np.intp)
    for output, known in enumerate(classes):
        number = {label: position for position, label in enumerate(known.tolist())}
        labels = y[:, output].tolist()
        unknown = set(labels) - number.keys()
        if unknown:
            raise ValueError(
                f"y holds labels that the tree does not know: {sorted(unknown, key=str)}; "
                f"it was grown on {known.tolist()}."
            )
        positions[:, output] = [number[label] for label in labels]
    return positions


def outputs_of(estimator: Any, y: np.ndarray) -> np.ndarray:
    """Give the targets one column an output, as many as a fitted tree has.

    Parameters
    ----------
    estimator : DecisionTree or ExtraTree
        A fitted tree.
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Labels or targets.

    Returns
    -------
    ndarray of shape (n_rows, n_outputs)

    Raises
    ------
    ValueError
        If the tree has another number of outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.pruners.base import outputs_of
    >>> outputs_of(DecisionTreeRegressor().fit([[0], [1]], [3.0, 4.0]), np.array([5.0, 6.0]))
    array([[5.],
           [6.]])
    """
    y = np.asarray(y).reshape(len(y), -1)
    if y.shape[1] != estimator.n_outputs_:
        raise ValueError(
            f"y has {y.shape[1]} outputs, but the tree was grown with {estimator.n_outputs_}."
        )
    return y


def weights_of_rows(estimator: Any, y: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray:
    """Weigh rows as a tree does when it grows: by `sample_weight` and by its own `class_weight`.

    Parameters
    ----------
    estimator : DecisionTree or ExtraTree
        Any tree.
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Labels or targets.
    sample_weight : ndarray of shape (n_rows,) or None
        Weights given to `fit`.

    Returns
    -------
    ndarray of shape (n_rows,), float64

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.pruners.base import weights_of_rows
    >>> tree = DecisionTreeClassifier(class_weight={0: 1, 1: 3})
    >>> weights_of_rows(tree, np.array([0, 1, 1]), np.array([1.0, 1.0, 2.0]))
    array([1., 3., 6.])
    """
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    class_weight = getattr(estimator, "class_weight", None)
    return weight if class_weight is None else weight * compute_sample_weight(class_weight, y)


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


def _record(subtree: Subtree, price: float) -> dict[str, Any]:
    return {
        "ccp_alpha": price,
        "n_leaves": subtree.n_leaves,
        "sparsity": subtree.sparsity,
    }
