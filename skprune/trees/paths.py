"""Pruners whose path is one of nested subtrees: one fit gives all of them, and all their scores."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.metrics import (
    accuracy_score,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)
from sklearn.metrics._scorer import _BaseScorer, _PassthroughScorer
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.validation import check_array, column_or_1d

from skprune.base import BasePruner, PathScores, Pruned, TrainingData, score_of
from skprune.engine import Tree
from skprune.estimators import SparseClassifier, SparseRegressor
from skprune.trees.arrays import TreeArrays
from skprune.trees.descent import Descent
from skprune.trees.weakest_link import PruningPath

Floats = NDArray[np.float64]

# Alphas that tie in exact arithmetic differ by rounding, which is relative to the largest.
ROUNDING = 1e-12


@dataclass
class GrownTree:
    """A full tree and its path: what every pruned tree is cut from.

    Attributes
    ----------
    estimator : DecisionTree or ExtraTree
        Fitted, not pruned.
    full : TreeArrays
        Its arrays.
    path : PruningPath
        Its subtrees.
    """

    estimator: Any
    full: TreeArrays
    path: PruningPath


class TreePathPruner(BasePruner):
    """Base class of the pruners of one tree: a full tree, its path, and a step to stop at."""

    @abstractmethod
    def _grow(self, data: TrainingData) -> GrownTree:
        """Train the full tree and find its path."""

    @abstractmethod
    def _cut(self, grown: GrownTree, step: int) -> Pruned:
        """Cut the subtree of a step from the full tree, which is left as it is."""

    @abstractmethod
    def _chosen_step(self, path: PruningPath) -> int:
        """Find the step that the parameters ask for."""

    def _prune(self, data: TrainingData) -> Pruned:
        grown = self._grow(data)
        return self._cut(grown, self._chosen_step(grown.path))

    def path(
        self,
        X: Any,
        y: Any,
        values: Sequence[Any],
        *,
        param_name: str | None = None,
        sample_weight: Any = None,
        **fit_params: Any,
    ) -> Iterator[Self]:
        """Fit a pruner for each of several choices of how much to prune, from one tree grown.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or targets.
        values : sequence
            Values of the parameter.
        param_name : str, default=None
            The parameter; see `path_param`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        **fit_params : dict
            As in `fit`.

        Yields
        ------
        pruner : BasePruner
            A clone with the parameter set, as its `fit` would leave it, for each value in turn.
        """
        name = self.path_param(param_name)
        if not len(values):
            return
        first = clone(self).set_params(**{name: values[0]})
        grown = first._grow_on(X, y, sample_weight, fit_params)
        about_X = {key: value for key, value in vars(first).items() if key.endswith("_in_")}
        for value in values:
            pruner = clone(self).set_params(**{name: value})
            pruner._validate_params()
            vars(pruner).update(about_X)
            pruner._store(pruner._cut(grown, pruner._chosen_step(grown.path)))
            yield pruner

    def path_values(
        self,
        X: Any,
        y: Any,
        *,
        param_name: str | None = None,
        sample_weight: Any = None,
        **fit_params: Any,
    ) -> list[Any]:
        """List the values of the parameter that tell the subtrees of the path apart.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or targets.
        param_name : str, default=None
            The parameter; see `path_param`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        **fit_params : dict
            As in `fit`.

        Returns
        -------
        values : list
            In growing sparsity. For "ccp_alpha": 0, the geometric mean of every two neighbours
            among the path's alphas, and infinity; alphas that differ by rounding alone count as
            one. For "sparsity" and "max_leaf_nodes": what each subtree has.
        """
        name = self.path_param(param_name)
        path = clone(self)._grow_on(X, y, sample_weight, fit_params).path
        if name == "ccp_alpha":
            return geometric_mean_alphas(path)
        return (path.n_leaves if name == "max_leaf_nodes" else path.sparsities).tolist()

    def path_scores(
        self,
        X: Any,
        y: Any,
        values: Sequence[Any],
        X_test: Any,
        y_test: Any,
        scorer: Callable,
        *,
        param_name: str | None = None,
        score_params: dict[str, Any] | None = None,
        **fit_params: Any,
    ) -> PathScores:
        """Score the pruners of `path` on other rows, from one tree grown and one descent of it.

        Accuracy, R squared, the mean squared and the mean absolute error of all subtrees take
        O(rows * depth) together. Any other metric of scikit-learn's is computed once for each
        different subtree, from its predictions; a scorer of another kind sees fitted pruners.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or targets.
        values : sequence
            Values of the parameter.
        X_test : array-like of shape (n_test, n_features)
            Rows to score on.
        y_test : array-like of shape (n_test,) or (n_test, n_outputs)
            Their labels or targets.
        scorer : callable
            ``scorer(estimator, X, y, **score_params)``, as scikit-learn's.
        param_name : str, default=None
            The parameter; see `path_param`.
        score_params : dict, default=None
            Further arguments of the scorer.
        **fit_params : dict
            As in `fit`, `sample_weight` among them.

        Returns
        -------
        scores : PathScores
            One entry a value, in their order.
        """
        score_params = score_params or {}
        if not isinstance(scorer, _BaseScorer | _PassthroughScorer):
            return super().path_scores(
                X, y, values, X_test, y_test, scorer,
                param_name=param_name, score_params=score_params, **fit_params,
            )  # fmt: skip
        start = perf_counter()
        name = self.path_param(param_name)
        pruner = clone(self).set_params(**{name: values[0]})
        weight = fit_params.pop("sample_weight", None)
        grown = pruner._grow_on(X, y, weight, fit_params)
        steps = np.array([pruner._step_for(grown.path, name, value) for value in values])
        pruner._store(pruner._cut(grown, 0))
        fitted = perf_counter()
        different, which = np.unique(steps, return_inverse=True)
        scores = _scores_at(
            different, pruner._predictor, grown, X_test, y_test, scorer, score_params
        )
        n_values = len(values)
        return PathScores(
            scores=scores[which],
            sparsities=grown.path.sparsities[steps],
            fit_times=np.full(n_values, (fitted - start) / n_values),
            score_times=np.full(n_values, (perf_counter() - fitted) / n_values),
        )

    def _grow_on(self, X: Any, y: Any, sample_weight: Any, fit_params: dict) -> GrownTree:
        self._validate_params()
        fit_params = self._route(fit_params)
        return self._grow(self._validate_training_data(X, y, sample_weight, fit_params))

    def _step_for(self, path: PruningPath, name: str, value: Any) -> int:
        # thousands of values on a large tree: the other parameters were checked once
        constraints = {name: self._parameter_constraints[name]}
        validate_parameter_constraints(constraints, {name: value}, type(self).__name__)
        setattr(self, name, value)
        return self._chosen_step(path)


def geometric_mean_alphas(path: PruningPath) -> list[float]:
    """List one price for each range of prices that have the same best subtree.

    The middle of a range is its geometric mean [1]_: as good a guess as any of which price on
    all of the data means the same as one on a part of them.

    Parameters
    ----------
    path : PruningPath
        Alphas that are not positive, or that differ by rounding alone, make no range.

    Returns
    -------
    list of float
        From 0, which prunes nothing, to infinity, which leaves the root.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees",
       1984, section 3.4.2.

    Examples
    --------
    >>> from skprune.trees.paths import geometric_mean_alphas
    >>> from skprune.trees.weakest_link import pruning_path
    >>> path = pruning_path([1, 3, -1, -1, -1], [2, 4, -1, -1, -1], [6.0, 1.0, 0.0, 0.0, 0.0])
    >>> path.alphas.tolist(), geometric_mean_alphas(path)
    ([-inf, 1.0, 5.0], [0.0, 2.23606797749979, inf])
    """
    alphas = path.alphas[path.alphas > ROUNDING * path.alphas[-1]]
    apart = np.diff(alphas) > ROUNDING * path.alphas[-1]
    means = np.sqrt(alphas[:-1] * alphas[1:])[apart]
    return [0.0, *means.tolist(), np.inf]


def _scores_at(
    steps: np.ndarray,
    predictor: SparseClassifier | SparseRegressor,
    grown: GrownTree,
    X: Any,
    y: Any,
    scorer: Callable,
    params: dict[str, Any],
) -> Floats:
    """Score the subtrees of some steps, in growing order; the predictor holds the full tree."""
    X = predictor._validate(X)
    tree = predictor.model
    assert isinstance(tree, Tree)
    descent = Descent(grown.full, grown.path, tree.apply(X))
    additive = _as_additive(scorer, predictor, tree, y, params)
    if additive is not None:
        return additive.scores(descent)[steps]
    scores = np.empty(len(steps))
    for number, nodes in enumerate(descent.nodes_at(steps)):
        stand_in: Any = copy(predictor)
        stand_in.model = _Predictions(tree, nodes)
        stand_in.feature_names_in = None  # X was checked above
        scores[number] = score_of(scorer, stand_in, X, y, params)
    return scores


class _Predictions:
    """A model whose rows are known already: it answers for them, whatever it is shown."""

    def __init__(self, tree: Tree, nodes: np.ndarray) -> None:
        self.n_features_in = tree.n_features_in
        self.allow_nan = tree.allow_nan
        self._answer = tree.value[nodes]

    def predict(self, X: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        return self._answer


@dataclass
class _Additive:
    """A metric that follows from a sum over rows, of one number an output.

    Attributes
    ----------
    metric : function
        Of scikit-learn.
    sign : int
        -1 turns a loss into a score.
    y : ndarray of shape (n_rows, n_outputs)
        True targets, or codes of labels.
    predicted : ndarray of shape (n_nodes, n_outputs)
        What each node predicts, likewise.
    weight : ndarray of shape (n_rows,)
        Of the rows.
    """

    metric: Callable
    sign: int
    y: np.ndarray
    predicted: np.ndarray
    weight: Floats

    def scores(self, descent: Descent) -> Floats:
        term = _TERMS[self.metric]
        sums = descent.sums(
            lambda rows, nodes: (
                term(self.y[rows], self.predicted[nodes]) * self.weight[rows, np.newaxis]
            )
        )
        if self.metric is r2_score:
            each = _r2(sums, self.y, self.weight)
        else:
            each = sums / self.weight.sum()
        return self.sign * each.mean(axis=1)


_TERMS: dict[Callable, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    accuracy_score: np.equal,
    mean_absolute_error: lambda y, predicted: np.abs(y - predicted),
    mean_squared_error: lambda y, predicted: (y - predicted) ** 2,
    r2_score: lambda y, predicted: (y - predicted) ** 2,
}


def _r2(residual: Floats, y: Floats, weight: Floats) -> Floats:
    total = weight @ (y - np.average(y, axis=0, weights=weight)) ** 2
    # as scikit-learn has it: of a target that does not vary, all is explained or nothing
    return np.where(
        total != 0.0,
        1.0 - residual / np.where(total != 0.0, total, 1.0),
        np.where(residual == 0.0, 1.0, 0.0),
    )


def _as_additive(
    scorer: Any,
    predictor: SparseClassifier | SparseRegressor,
    tree: Tree,
    y: Any,
    params: dict[str, Any],
) -> _Additive | None:
    """Read a scorer as an additive metric, or give None where it is another, or an odd case."""
    classifies = is_classifier(predictor)
    if isinstance(scorer, _PassthroughScorer):
        metric, sign = (accuracy_score if classifies else r2_score), 1
    elif scorer._kwargs or scorer._response_method != "predict":
        return None
    else:
        metric, sign = scorer._score_func, scorer._sign
    if metric not in _TERMS or classifies != (metric is accuracy_score):
        return None
    if params.keys() - {"sample_weight"} or (metric is r2_score and len(y) < 2):
        return None
    weight = params.get("sample_weight")
    weight = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    if weight.shape != (len(y),) or not weight.sum() > 0:
        return None
    if not classifies:
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        return _Additive(metric, sign, y.reshape(len(y), -1), tree.value, weight)
    classes = predictor.classes_
    if isinstance(classes, list):
        return None
    codes = _codes(column_or_1d(y), classes)[:, np.newaxis]
    return _Additive(metric, sign, codes, tree.value.argmax(axis=1)[:, np.newaxis], weight)


def _codes(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Encode labels by their places among the sorted classes; -1 for those not among them."""
    codes = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    return np.where(classes[codes] == labels, codes, -1)
