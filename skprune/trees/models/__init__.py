"""Fitted scikit-learn models, seen as the trees that they are made of: one file a kind."""

from typing import Any

from skprune.advice import advice
from skprune.trees.models.averaged import AveragedTrees
from skprune.trees.models.base import TreeModel
from skprune.trees.models.boosted import GradientBoostedTrees, HistGradientBoostedTrees
from skprune.trees.models.single import SingleTree

__all__ = ["MODELS", "TreeModel", "kind_of"]

MODELS: tuple[type[TreeModel], ...] = (
    SingleTree,
    AveragedTrees,
    GradientBoostedTrees,
    HistGradientBoostedTrees,
)


def kind_of(estimator: Any) -> type[TreeModel]:
    """Find what sees an estimator as trees.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.

    Returns
    -------
    subclass of TreeModel

    Raises
    ------
    TypeError
        If it is not made of trees, or of trees that cannot be pruned.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.models import kind_of
    >>> kind_of(DecisionTreeClassifier()).__name__
    'SingleTree'
    """
    for model in MODELS:
        if isinstance(estimator, model.kinds):
            model.check(estimator)
            return model
    known = [kind.__name__ for model in MODELS for kind in model.kinds]
    raise TypeError(
        f"estimator must be a DecisionTree or ExtraTree, classifier or regressor, an ensemble of "
        f"them ({', '.join(known[1:])}), or a FrozenEstimator around a fitted one; "
        f"got {estimator!r}.{advice(estimator)}"
    )
