"""The subtrees of a path, scored on other rows: all of them from one descent of the full trees."""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.metrics import (
    accuracy_score,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)
from sklearn.metrics._scorer import _BaseScorer, _PassthroughScorer
from sklearn.utils.validation import check_array, column_or_1d

from skprune.base import score_of
from skprune.engine import Forest, Model, Tree
from skprune.estimators import SparseClassifier, SparseRegressor
from skprune.trees.core.descent import Descent
from skprune.trees.grown import Grown

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def sees_predictions_alone(scorer: Any) -> bool:
    """Tell whether a scorer is one of scikit-learn's, which look at nothing but predictions.

    Parameters
    ----------
    scorer : callable
        Any scorer.

    Returns
    -------
    bool

    Examples
    --------
    >>> from sklearn.metrics import get_scorer
    >>> sees_predictions_alone(get_scorer("roc_auc")), sees_predictions_alone(lambda *args: 0.0)
    (True, False)
    """
    return isinstance(scorer, _BaseScorer | _PassthroughScorer)


def scores_of_choices(
    choices: Ints,
    grown: Grown,
    predictor: SparseClassifier | SparseRegressor,
    X: Any,
    y: Any,
    scorer: Callable,
    params: dict[str, Any],
) -> Floats:
    """Score what some choices of how much to prune leave of a model.

    Accuracy, R squared, the mean squared and the mean absolute error of all subtrees of a lone
    tree take O(rows * depth) together. Anything else is computed once for each different choice,
    from its predictions.

    Parameters
    ----------
    choices : ndarray of shape (n_choices, n_trees), intp
        Steps of the path of each tree; none may fall from one choice to the next.
    grown : Grown
        The full model and its path.
    predictor : SparseClassifier or SparseRegressor
        The full model.
    X : array-like of shape (n_rows, n_features)
        Rows to score on.
    y : array-like of shape (n_rows,) or (n_rows, n_outputs)
        Their labels or targets.
    scorer : callable
        See :func:`sees_predictions_alone`.
    params : dict
        Further arguments of the scorer.

    Returns
    -------
    scores : ndarray of shape (n_choices,), float64
    """
    X = predictor._validate(X)
    leaves = grown.full.leaves(X)
    descents = [
        Descent(tree, path, leaves[:, number])
        for number, (tree, path) in enumerate(zip(grown.full.trees, grown.path.paths, strict=True))
    ]
    if isinstance(grown.full.engine, Tree):
        additive = _as_additive(scorer, predictor, grown.full.engine, y, params)
        if additive is not None:
            return additive.scores(descents[0])[choices[:, 0]]
    different, which = np.unique(choices, axis=0, return_inverse=True)
    scores = np.empty(len(different))
    for number, nodes in enumerate(_nodes_at(different, descents)):
        stand_in: Any = copy(predictor)
        stand_in.model = _Predictions(grown.full.engine, nodes)
        # X was checked above
        stand_in.feature_names_in = stand_in.categories = stand_in.limits = None
        scores[number] = score_of(scorer, stand_in, X, y, params)
    return scores[which.ravel()]


def _nodes_at(choices: Ints, descents: list[Descent]) -> Iterator[Ints]:
    """Give the node of each tree that each row reaches, for one choice after the other."""
    walks = [descent.nodes_at(steps) for descent, steps in zip(descents, choices.T, strict=True)]
    for nodes in zip(*walks, strict=True):
        yield np.stack(nodes, axis=1)


class _Predictions(Model):
    """A model that knows the nodes of some rows, and predicts for these whatever ``X`` is."""

    def __init__(self, model: Tree | Forest, nodes: Ints) -> None:
        self.n_features_in = model.n_features_in
        self.allow_nan = model.allow_nan
        self.allow_infinity = model.allow_infinity
        self.accepts_sparse = model.accepts_sparse
        self.dtype = model.dtype
        self.model, self.nodes = model, nodes

    def predict(self, X: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        return self.model.predict_at(self.nodes)

    def decision(self, X: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        assert isinstance(self.model, Forest)  # a lone tree has no decision function
        return self.model.decision_at(self.nodes)


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
