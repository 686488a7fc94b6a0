"""What the modules of both kinds of ensemble share: a tree with its output, and training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skprune.trees.core.arrays import TreeArrays

__all__ = ["Member", "TrainingRows", "no_categories"]

# scikit-learn keeps sets of categories as 256 bits in 8 words.
N_WORDS = 8


@dataclass(frozen=True, eq=False)
class Member:
    """One tree of a boosted ensemble.

    Parameters
    ----------
    tree : TreeArrays
        Features are numbered as the user's columns. Values are the stored ones: those of leaves
        are what is predicted, up to :func:`~skprune.trees.core.boosting.shrinkage`; those of inner
        nodes are not what they would be in leaves. Thresholds of splits by category mean nothing.
    output : int
        Column of the raw prediction that the tree adds to.
    is_categorical : ndarray of shape (n_nodes,), bool
        Splits by category: known categories go left if they are in the set, else right; missing
        and unknown ones as ``tree.missing_go_to_left`` says.
    left_categories : ndarray of shape (n_nodes, 8), uint32
        The set, as bits: category number c is in it if bit ``c % 32`` of word ``c // 32`` is set.
        Categories are numbered as :func:`~skprune.trees.core.boosting.known_categories` lists them.

    Examples
    --------
    >>> from sklearn.ensemble import GradientBoostingRegressor
    >>> from skprune.trees.core.boosting import members
    >>> model = GradientBoostingRegressor(n_estimators=2).fit([[0], [1]], [2.0, 3.0])
    >>> [(member.output, member.tree.n_splits) for member in members(model)]
    [(0, 1), (0, 1)]
    """

    tree: TreeArrays
    output: int
    is_categorical: NDArray[np.bool_]
    left_categories: NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """What an ensemble was fitted to, as far as it is there.

    Parameters
    ----------
    X, y : array-like or None
    sample_weight : ndarray of shape (n_rows,), float64, or None

    Examples
    --------
    >>> from skprune.trees.core.boosting.member import TrainingRows
    >>> TrainingRows(None, None, None).required_X("loss='huber'")
    Traceback (most recent call last):
    ValueError: X must be given, the training rows: with loss='huber' ... needs them.
    """

    X: Any
    y: ArrayLike | None
    sample_weight: NDArray[np.float64] | None

    def required_X(self, reason: str) -> Any:
        """Return X; raise a ValueError that says what it is for if there is none."""
        return self._required("X", reason)

    def required_y(self, estimator: Any, reason: str) -> NDArray[np.float64]:
        """Return y as numbers, those of classes for a classifier; raise a ValueError if absent."""
        y = np.asarray(self._required("y", reason)).ravel()  # scikit-learn takes one column too
        if not hasattr(estimator, "classes_"):
            return y.astype(np.float64)
        number = np.searchsorted(estimator.classes_, y).clip(max=len(estimator.classes_) - 1)
        unknown = estimator.classes_[number] != y
        if unknown.any():
            label = y[unknown].tolist()[0]
            raise ValueError(f"y holds the label {label!r}, which no class of the estimator has.")
        return number.astype(np.float64)

    def _required(self, name: str, reason: str) -> Any:
        given = getattr(self, name)
        if given is None:
            raise ValueError(
                f"{name} must be given, the training rows: with {reason} the value of a branch "
                f"that becomes a leaf needs them."
            )
        return given


def no_categories(n_nodes: int) -> tuple[NDArray[np.bool_], NDArray[np.uint32]]:
    """Return the masks and sets of a tree without splits by category.

    Examples
    --------
    >>> from skprune.trees.core.boosting.member import no_categories
    >>> no_categories(2)[0]
    array([False, False])
    """
    return np.zeros(n_nodes, dtype=np.bool_), np.zeros((n_nodes, N_WORDS), dtype=np.uint32)
