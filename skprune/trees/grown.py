"""A full model, its trees and the paths of these: what every pruned model is cut from."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from skprune.base import TrainingData
from skprune.engine import Forest, Tree
from skprune.trees.core.allocation import EnsemblePath
from skprune.trees.core.arrays import TreeArrays
from skprune.trees.core.subtrees import PrunedTree, Subtree
from skprune.trees.models import TreeModel

Ints = NDArray[np.intp]


@dataclass
class FullModel:
    """A fitted model that is not pruned, and the rows to judge it by.

    Attributes
    ----------
    model : TreeModel
        The model.
    trees : list of TreeArrays
        Its trees; splits have the values that they would have as leaves.
    data : TrainingData
        The rows.
    """

    model: TreeModel
    trees: list[TreeArrays]
    data: TrainingData

    @cached_property
    def engine(self) -> Tree | Forest:
        """The model in the engine, with the nodes under the numbers that they have here."""
        return self.model.to_engine([PrunedTree.unpruned(tree) for tree in self.trees], "auto")

    def n_cases(self, relative: bool) -> list[float | None]:
        """Tell as how many cases the rows of each tree count.

        Parameters
        ----------
        relative : bool
            Whether weights are taken as if their mean were 1.

        Returns
        -------
        list of float or None
            None where each row counts as often as it weighs.
        """
        return [self.model.n_cases(tree) if relative else None for tree in self.trees]

    def leaves(self, X: np.ndarray) -> Ints:
        """Find the leaf of each tree that rows reach.

        Parameters
        ----------
        X : array or sparse array of shape (n_rows, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_rows, n_trees), intp
        """
        leaves = self.engine.apply(X)
        return leaves.reshape(len(leaves), len(self.trees))


@dataclass
class Grown:
    """A full model and the paths of its trees.

    Attributes
    ----------
    full : FullModel
        The model.
    path : EnsemblePath
        The subtrees of its trees.
    stop : ndarray of shape (n_trees,), intp
        The step of each tree at which the pruner's rule stops by itself.
    """

    full: FullModel
    path: EnsemblePath
    stop: Ints

    def subtrees(self, steps: Sequence[int] | Ints) -> list[Subtree]:
        """Give the subtrees of a choice.

        Parameters
        ----------
        steps : sequence of int, of length n_trees
            One step a tree.

        Returns
        -------
        list of Subtree
        """
        return [
            Subtree.collapse(tree, path.collapsed(int(step)))
            for tree, path, step in zip(self.full.trees, self.path.paths, steps, strict=True)
        ]
