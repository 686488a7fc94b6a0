"""TreeModel: what the pruners ask of a fitted scikit-learn model that is made of trees."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import block_diag, csr_array, vstack
from sklearn.base import is_classifier

from skprune.base import TrainingData
from skprune.engine import Forest, Tree
from skprune.trees.core.arrays import TreeArrays
from skprune.trees.core.sparse_net import sparse_weights
from skprune.trees.core.subtrees import PrunedTree, Subtree


class TreeModel(ABC):
    """A fitted model made of trees.

    Parameters
    ----------
    estimator : estimator
        One of `kinds`, fitted; it is not changed.
    """

    kinds: ClassVar[tuple[type, ...]]
    is_ensemble: ClassVar[bool] = True
    # whether each tree by itself predicts the target, as those that boosting adds up do not
    votes: ClassVar[bool] = True
    # how `fit` of these estimators is given its rows
    validation: ClassVar[dict[str, Any]] = {}

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    @classmethod
    def check(cls, estimator: Any) -> None:
        """Refuse an estimator of this kind, fitted or not, that cannot be seen as trees."""
        return None

    @classmethod
    def checks_rows(cls, estimator: Any, X: Any) -> bool:
        """Tell whether an estimator, fitted or not, must see X as it is, and checks it by itself.

        A frame has names and types, by which parameters may speak of its columns.
        """
        return False

    @abstractmethod
    def trees(self, data: TrainingData | None) -> list[TreeArrays]:
        """Give the trees, in the order in which their answers are added up.

        Splits have the values that they would have as leaves; where the model does not keep
        these, they are worked out from the rows that it was trained on.
        """

    def as_stored(self) -> list[TreeArrays]:
        """Give the same trees for their leaves alone, which need no rows."""
        return self.trees(None)

    def n_cases(self, tree: TreeArrays) -> float:
        """Count the rows that a tree was grown on, each as often as it was drawn."""
        return float(tree.n_node_samples[0])

    @abstractmethod
    def cut(self, subtrees: Sequence[Subtree]) -> Any:
        """Give a copy of the estimator that has these subtrees of its trees."""

    @abstractmethod
    def to_engine(self, trees: Sequence[PrunedTree], engine: str) -> Tree | Forest:
        """Make the engine's form of the model with these trees."""

    @abstractmethod
    def sparse_weights(self, trees: Sequence[PrunedTree]) -> dict[str, csr_array]:
        """Write the model with these trees as one sparse net."""

    @property
    def output(self) -> dict[str, Any]:
        """Further arguments of SparseClassifier or SparseRegressor."""
        return {}

    @property
    def n_classes(self) -> np.ndarray | None:
        """Classes of each output; None for regression."""
        if not is_classifier(self.estimator):
            return None
        return np.atleast_1d(self.estimator.n_classes_)


def places_left(trees: Sequence[PrunedTree]) -> list[tuple[np.ndarray, int]]:
    """Tell where the splits of pruned trees were: all that the pruned estimator does not know.

    Parameters
    ----------
    trees : sequence of PrunedTree

    Returns
    -------
    list of (ndarray of shape (n_splits,), int)
        The place of each split among those of the full tree, as int32, and how many these are.
    """
    return [(tree.splits.astype(np.int32), tree.n_full_splits) for tree in trees]


# a function, as skops keeps no bound method of a base class
def weights_left(
    model: TreeModel, places: Sequence[tuple[np.ndarray, int]]
) -> dict[str, csr_array]:
    """Write a pruned model as one sparse net, with the splits of the full one.

    Parameters
    ----------
    model : TreeModel
        Pruned.
    places : sequence of (splits, n_full_splits), one for each tree
        As :class:`skprune.trees.core.subtrees.PrunedTree` has them; see :func:`places_left`.

    Returns
    -------
    dict of csr_array
    """
    trees = [
        PrunedTree(nodes, np.arange(nodes.n_nodes), splits, n_full_splits)
        for nodes, (splits, n_full_splits) in zip(model.as_stored(), places, strict=True)
    ]
    return model.sparse_weights(trees)


# Scores that training leaves on an estimator. They are those of the model that was trained; rows
# that they were measured on are not kept, so that they cannot be measured again.
SCORES_OF_TRAINING = (
    "oob_score_",
    "oob_scores_",
    "oob_improvement_",
    "oob_decision_function_",
    "oob_prediction_",
    "train_score_",
    "validation_score_",
)


def drop_scores(estimator: Any) -> Any:
    """Take from an estimator what the model scored in training, before it was pruned.

    Parameters
    ----------
    estimator : estimator
        A fitted one of scikit-learn's; changed in place.

    Returns
    -------
    estimator
        The same.

    Examples
    --------
    >>> from sklearn.ensemble import GradientBoostingRegressor
    >>> model = drop_scores(GradientBoostingRegressor(n_estimators=1).fit([[0], [1]], [2.0, 3.0]))
    >>> hasattr(model, "train_score_")
    False
    """
    for name in SCORES_OF_TRAINING:
        vars(estimator).pop(name, None)
    return estimator


def side_by_side(value: np.ndarray, n_classes: np.ndarray | None) -> np.ndarray:
    """Lay the values of several outputs side by side, without the padding of smaller ones.

    Parameters
    ----------
    value : ndarray of shape (n_nodes, n_outputs, n_classes), float64
        As scikit-learn's trees have them: as wide as the output with the most classes.
    n_classes : ndarray of shape (n_outputs,) or None
        Classes of each output; None for regression.

    Returns
    -------
    ndarray of shape (n_nodes, n_values), float64

    Examples
    --------
    >>> value = np.array([[[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]]])
    >>> side_by_side(value, np.array([2, 3]))
    array([[0.5, 0.5, 0.2, 0.3, 0.5]])
    """
    if n_classes is None:
        return value[:, :, 0]
    return np.concatenate([value[:, k, :n] for k, n in enumerate(n_classes)], axis=1)


def joined_nodes(
    trees: Sequence[PrunedTree], n_classes: np.ndarray | None = None
) -> dict[str, Any]:
    """Give the nodes of several trees, tree after tree, as the engine's forest takes them.

    Parameters
    ----------
    trees : sequence of PrunedTree
        At least one.
    n_classes : ndarray of shape (n_outputs,) or None
        As for :func:`side_by_side`.

    Returns
    -------
    dict
        Arguments of :class:`skprune.engine.Forest`.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.subtrees import PrunedTree
    >>> full = TreeArrays.from_sklearn(DecisionTreeRegressor().fit([[0], [1]], [2.0, 3.0]).tree_)
    >>> joined_nodes([PrunedTree.unpruned(full)] * 2)["left"]
    array([ 1, -1, -1,  1, -1, -1])
    """
    nodes = [tree.nodes for tree in trees]
    fields = ("feature", "threshold", "left", "right", "missing_go_to_left", "value")
    joined = {name: np.concatenate([getattr(one, name) for one in nodes]) for name in fields}
    return joined | {
        "value": side_by_side(joined["value"], n_classes),
        "tree_starts": np.cumsum([0] + [one.n_nodes for one in nodes]),
        "n_features_in": nodes[0].n_features,
    }


def joined_weights(
    trees: Sequence[PrunedTree], n_classes: np.ndarray | None = None
) -> dict[str, csr_array]:
    """Write several trees as one sparse net, whose prediction is the sum of theirs.

    Parameters
    ----------
    trees : sequence of PrunedTree
        At least one.
    n_classes : ndarray of shape (n_outputs,) or None
        As for :func:`side_by_side`.

    Returns
    -------
    dict of csr_array
        As :func:`skprune.trees.core.sparse_net.sparse_weights`; splits and leaves are tree after
        tree.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.core.arrays import TreeArrays
    >>> from skprune.trees.core.subtrees import PrunedTree
    >>> full = TreeArrays.from_sklearn(DecisionTreeRegressor().fit([[0], [1]], [2.0, 3.0]).tree_)
    >>> joined_weights([PrunedTree.unpruned(full)] * 2)["C"].toarray()
    array([[ 1., -1.,  0.,  0.],
           [ 0.,  0.,  1., -1.]])
    """
    weights = [sparse_weights(tree) for tree in trees]
    joined = {name: vstack([one[name] for one in weights], format="csr") for name in "Abmd"}
    values = [tree.nodes.value[~tree.nodes.is_split] for tree in trees]
    return joined | {
        "C": csr_array(block_diag([one["C"] for one in weights], format="csr")),
        "E": csr_array(side_by_side(np.concatenate(values), n_classes)),
    }
