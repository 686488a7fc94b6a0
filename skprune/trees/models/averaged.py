"""Forests and baggings of trees: the mean of what their trees answer."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import is_classifier
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import BaseDecisionTree
from sklearn.utils import get_tags

from skprune.base import TrainingData
from skprune.engine import Forest
from skprune.limits import ANY, DENSE, FLOAT32_MOST, REFUSED, Limits
from skprune.trees.core.arrays import TreeArrays
from skprune.trees.core.subtrees import PrunedTree, Subtree
from skprune.trees.models.base import TreeModel, drop_scores, joined_nodes, joined_weights


class AveragedTrees(TreeModel):
    """A forest, or a bagging of trees.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from skprune.trees.models.averaged import AveragedTrees
    >>> forest = RandomForestRegressor(2, bootstrap=False).fit([[0.0], [1.0]], [2.0, 3.0])
    >>> [tree.n_leaves for tree in AveragedTrees(forest).trees(data=None)]
    [2, 2]
    """

    kinds = (
        RandomForestClassifier,
        RandomForestRegressor,
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        BaggingClassifier,
        BaggingRegressor,
    )

    @classmethod
    def check(cls, estimator: Any) -> None:
        """Refuse a bagging of anything but trees."""
        inner = getattr(estimator, "estimator", None)
        if inner is None or isinstance(inner, BaseDecisionTree):
            return
        raise TypeError(
            f"estimator must be a bagging of decision trees, such as "
            f"{type(estimator).__name__}(DecisionTree{_kind(estimator)}()); it is one of {inner!r}."
        )

    # how the engine makes answers of means; see skprune.engine.Forest
    link = "identity"

    @property
    def output(self) -> dict[str, Any]:
        """Say which columns no tree was shown: a bagging does not look at what they hold."""
        shown = getattr(self.estimator, "estimators_features_", None)
        if shown is None:
            return {}
        n_features = self.estimator.n_features_in_
        unseen = np.setdiff1d(np.arange(n_features), np.concatenate(shown))
        if not unseen.size:
            return {}
        nan = get_tags(self.estimator).input_tags.allow_nan
        limits = Limits.of_columns(n_features, FLOAT32_MOST, DENSE if nan else REFUSED)
        limits.low[unseen], limits.high[unseen], limits.missing[unseen] = -np.inf, np.inf, ANY
        return {"limits": limits}

    def only(self, numbers: Sequence[int]) -> "AveragedTrees":
        """Give the model of some of the trees, in the order of their numbers."""
        estimator = self._copied()
        estimator.n_estimators = len(numbers)
        for name in ("estimators_", "estimators_features_", "_seeds"):
            if hasattr(estimator, name):
                everything = getattr(estimator, name)
                setattr(estimator, name, [everything[number] for number in numbers])
        return type(self)(estimator)

    def trees(self, data: TrainingData | None) -> list[TreeArrays]:
        """Give the trees in the columns and the classes of the whole."""
        return [
            self._in_common(number, TreeArrays.from_sklearn(member.tree_))
            for number, member in enumerate(self.estimator.estimators_)
        ]

    def n_cases(self, tree: TreeArrays) -> float:
        """Count the rows that a tree was grown on, each as often as it was drawn."""
        # n_node_samples does not tell how often
        names = ("_n_samples_bootstrap", "_max_samples")
        drawn = (getattr(self.estimator, name, None) for name in names)
        return float(next(filter(None, drawn), tree.n_node_samples[0]))

    def cut(self, subtrees: Sequence[Subtree]) -> Any:
        """Give a copy whose trees are these subtrees."""
        estimator = self._copied()
        estimator.estimators_ = []
        for number, subtree in enumerate(subtrees):
            member = copy(self.estimator.estimators_[number])
            classes = self._classes_of(number)
            if classes is not None:
                nodes = replace(subtree.nodes, value=subtree.nodes.value[:, :, classes])
                subtree = replace(subtree, nodes=nodes)
            member.tree_ = subtree.to_sklearn(member.tree_)
            estimator.estimators_.append(member)
        return estimator

    def to_engine(self, trees: Sequence[PrunedTree], engine: str) -> Forest:
        """Make the engine's forest, which sums in scikit-learn's order."""
        return Forest(
            **joined_nodes(trees, self.n_classes),
            divisor=float(len(trees)),
            link=self.link,
            groups=self.n_classes,
            allow_nan=get_tags(self.estimator).input_tags.allow_nan,
            engine=engine,
        )

    def sparse_weights(self, trees: Sequence[PrunedTree]) -> dict[str, csr_array]:
        """Write the forest as a sparse net; its leaves hold their share of the mean."""
        weights = joined_weights(trees, self.n_classes)
        return weights | {"E": csr_array(weights["E"] / len(trees))}

    def _copied(self) -> Any:
        """Copy the estimator, without what the full one scored on the rows left out of its bags."""
        return drop_scores(copy(self.estimator))

    def _in_common(self, number: int, tree: TreeArrays) -> TreeArrays:
        """Tell a tree of some columns and classes in those of the whole."""
        if self._columns_of(number) is None and self._classes_of(number) is None:
            return tree
        feature, value = tree.feature, tree.value
        if (columns := self._columns_of(number)) is not None:
            feature = np.where(feature >= 0, columns[np.maximum(feature, 0)], feature)
        if (classes := self._classes_of(number)) is not None:
            value = np.zeros((tree.n_nodes, 1, self.estimator.n_classes_))
            value[:, :, classes] = tree.value
        return replace(tree, feature=feature, value=value, n_features=self.estimator.n_features_in_)

    def _columns_of(self, number: int) -> np.ndarray | None:
        """Columns that a bagged tree was shown; None for all of them in their order."""
        if not hasattr(self.estimator, "estimators_features_"):
            return None
        columns = self.estimator.estimators_features_[number]
        everything = np.arange(self.estimator.n_features_in_)
        return None if np.array_equal(columns, everything) else columns

    def _classes_of(self, number: int) -> np.ndarray | None:
        """Places of the classes that a bagged tree knows; None for all of them."""
        if self.n_classes is None or len(self.n_classes) > 1:
            return None
        classes = self.estimator.estimators_[number].classes_.astype(np.intp)
        return None if len(classes) == self.estimator.n_classes_ else classes


def _kind(estimator: Any) -> str:
    return "Classifier" if is_classifier(estimator) else "Regressor"
