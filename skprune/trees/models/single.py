"""One decision tree."""

from collections.abc import Sequence
from copy import copy
from typing import Any

from scipy.sparse import csr_array
from sklearn.tree import BaseDecisionTree
from sklearn.utils import get_tags

from skprune.base import TrainingData
from skprune.engine import Tree
from skprune.trees.core.arrays import TreeArrays
from skprune.trees.core.subtrees import PrunedTree, Subtree
from skprune.trees.models.base import TreeModel, joined_weights, side_by_side


class SingleTree(TreeModel):
    """A decision tree.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.models.single import SingleTree
    >>> model = SingleTree(DecisionTreeRegressor().fit([[0.0], [1.0]], [2.0, 3.0]))
    >>> [tree.n_leaves for tree in model.trees(data=None)]
    [2]
    """

    kinds = (BaseDecisionTree,)
    is_ensemble = False

    def trees(self, data: TrainingData | None) -> list[TreeArrays]:
        """Give the tree."""
        return [TreeArrays.from_sklearn(self.estimator.tree_)]

    def cut(self, subtrees: Sequence[Subtree]) -> Any:
        """Give a copy that has this subtree."""
        estimator = copy(self.estimator)
        estimator.tree_ = subtrees[0].to_sklearn(estimator.tree_)
        return estimator

    def to_engine(self, trees: Sequence[PrunedTree], engine: str) -> Tree:
        """Make the engine's tree; its values are those of each output, side by side."""
        nodes = trees[0].nodes
        return Tree(
            nodes.feature,
            nodes.threshold,
            nodes.left,
            nodes.right,
            side_by_side(nodes.value, self.n_classes),
            nodes.missing_go_to_left,
            n_features_in=nodes.n_features,
            allow_nan=get_tags(self.estimator).input_tags.allow_nan,
            engine=engine,
        )

    def sparse_weights(self, trees: Sequence[PrunedTree]) -> dict[str, csr_array]:
        """Write the tree as a sparse net."""
        return joined_weights(trees, self.n_classes)
