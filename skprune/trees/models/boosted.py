"""Boosted trees: sums of small trees, each grown on what those before it got wrong."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import is_classifier
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from skprune.base import TrainingData
from skprune.categories import Categories
from skprune.engine import Forest
from skprune.trees.core import boosting
from skprune.trees.core.arrays import NO_CHILD, TreeArrays
from skprune.trees.core.boosting.frames import is_frame, is_text
from skprune.trees.core.boosting.member import no_categories
from skprune.trees.core.subtrees import PrunedTree, Subtree
from skprune.trees.models.base import TreeModel, drop_scores, joined_nodes, joined_weights


class GradientBoostedTrees(TreeModel):
    """GradientBoosting, classifier or regressor.

    Examples
    --------
    >>> from sklearn.ensemble import GradientBoostingRegressor
    >>> from skprune.base import TrainingData
    >>> from skprune.trees.models.boosted import GradientBoostedTrees
    >>> X, y = np.array([[0.0], [1.0]]), np.array([2.0, 3.0])
    >>> model = GradientBoostedTrees(GradientBoostingRegressor(n_estimators=2).fit(X, y))
    >>> [tree.n_leaves for tree in model.trees(TrainingData(X, y, None))]
    [2, 2]
    """

    kinds = (GradientBoostingClassifier, GradientBoostingRegressor)
    votes = False
    dtype: ClassVar[str] = "float32"
    accepts_sparse: ClassVar[bool] = True

    @classmethod
    def check(cls, estimator: Any) -> None:
        """Refuse a start that is no constant, which is no part of any tree."""
        init = estimator.init
        if init is not None and not (isinstance(init, str) and init == "zero"):
            raise ValueError(
                f"init of {type(estimator).__name__} must be None or 'zero': trees are added to a "
                f"constant, not to what {init!r} predicts."
            )

    def trees(self, data: TrainingData | None) -> list[TreeArrays]:
        """Give the trees; the values of their splits are worked out from the rows."""
        members = boosting.members(self.estimator)
        rows = () if data is None else (data.X, data.y, data.sample_weight)
        values = boosting.leaf_values(self.estimator, *rows)
        return [
            _with_categories(member, value) for member, value in zip(members, values, strict=True)
        ]

    def as_stored(self) -> list[TreeArrays]:
        """Give the trees with the values that are stored, which at splits mean nothing."""
        members = boosting.members(self.estimator)
        return [_with_categories(member, member.tree.value[:, 0, 0]) for member in members]

    def cut(self, subtrees: Sequence[Subtree]) -> Any:
        """Give a copy whose trees are these subtrees."""
        pruned = boosting.pruned_copy(
            self.estimator,
            [subtree.left == NO_CHILD for subtree in subtrees],
            [subtree.nodes.value[:, 0, 0] for subtree in subtrees],
        )
        return drop_scores(pruned)

    def to_engine(self, trees: Sequence[PrunedTree], engine: str) -> Forest:
        """Make the engine's forest, which sums in scikit-learn's order from the same start."""
        nodes = joined_nodes(trees)
        return Forest(
            **nodes | {"value": boosting.shrinkage(self.estimator) * nodes["value"]},
            **_categories(trees, self._known_categories),
            outputs=self._outputs(len(trees)),
            base=boosting.base_values(self.estimator),
            link=boosting.link_name(self.estimator),
            dtype=self.dtype,
            allow_nan=self._allows_nan,
            accepts_sparse=self.accepts_sparse,
            engine=engine,
        )

    def sparse_weights(self, trees: Sequence[PrunedTree]) -> dict[str, csr_array]:
        """Write the trees as a sparse net, and with them `f`, what their sums start from.

        With categories, `S` (n_splits, n_categories) is 1 where a category goes left, and `c`
        (n_categories, 2) names the column and the value of each; of a category that is no number,
        its place among those of its column. The threshold of a split by category is minus infinity:
        nothing else goes left, but what is missing or not known where `m` says so.
        """
        base = boosting.base_values(self.estimator)
        weights = joined_weights(trees)
        n_leaves = [tree.nodes.n_leaves for tree in trees]
        column = np.repeat(self._outputs(len(trees)), n_leaves)
        value = boosting.shrinkage(self.estimator) * weights["E"].toarray()[:, 0]
        shape = (len(value), len(base))
        joined = weights | {
            "E": csr_array((value, (np.arange(len(value)), column)), shape=shape),
            "f": csr_array(base[np.newaxis]),
        }
        known = self._known_categories
        return joined | _category_weights(trees, known, joined["b"]) if known else joined

    @property
    def output(self) -> dict[str, Any]:
        """What the label of two classes is decided by."""
        if not is_classifier(self.estimator):
            return {}
        # "more than" the number before 0 is "0 or more"
        zero_counts = boosting.zero_is_positive(self.estimator)
        return {"decision_threshold": np.nextafter(0.0, -1.0) if zero_counts else 0.0}

    @property
    def _allows_nan(self) -> bool:
        return False

    @property
    def _known_categories(self) -> dict[int, np.ndarray]:
        """Numbers by column, by which the engine knows categories."""
        return {}

    def _outputs(self, n_trees: int) -> np.ndarray:
        """Return which output each tree adds to."""
        return np.arange(n_trees) % len(boosting.base_values(self.estimator))


class HistGradientBoostedTrees(GradientBoostedTrees):
    """HistGradientBoosting, classifier or regressor: float64 rows, infinite or missing as well.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> from skprune.base import TrainingData
    >>> from skprune.trees.models.boosted import HistGradientBoostedTrees
    >>> X, y = np.array([[0.0], [1.0]]), np.array([2.0, 3.0])
    >>> fitted = HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=1).fit(X, y)
    >>> trees = HistGradientBoostedTrees(fitted).trees(TrainingData(X, y, None))
    >>> [tree.n_leaves for tree in trees]
    [2, 2]
    """

    kinds = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    validation: ClassVar[dict[str, Any]] = {"dtype": np.float64, "ensure_all_finite": False}
    dtype = "float64"
    accepts_sparse = False

    @classmethod
    def check(cls, estimator: Any) -> None:
        """Refuse nothing: these always start from a constant."""

    @classmethod
    def checks_rows(cls, estimator: Any, X: Any) -> bool:
        """Tell whether X is a frame, or an array that may hold categories of text."""
        if hasattr(estimator, "is_categorical_"):
            by_category = estimator.is_categorical_ is not None
        else:
            asked = estimator.categorical_features
            by_category = not (asked is None or isinstance(asked, str))
        return is_frame(X) or (by_category and is_text(X))

    @property
    def output(self) -> dict[str, Any]:
        """What the label of two classes is decided by, and the categories of X."""
        categories = self._categories
        return super().output | ({} if categories is None else {"categories": categories})

    @property
    def _categories(self) -> Categories | None:
        known = boosting.known_categories(self.estimator)
        return Categories(known, self.estimator.n_features_in_) if known else None

    @property
    def _known_categories(self) -> dict[int, np.ndarray]:
        categories = self._categories
        return {} if categories is None else categories.in_engine

    @property
    def _allows_nan(self) -> bool:
        return True


def _with_categories(member: boosting.Member, value: np.ndarray) -> TreeArrays:
    """Give a tree the values that its splits would have as leaves, and its sets of categories."""
    tree = replace(member.tree, value=value[:, np.newaxis, np.newaxis])
    if not member.is_categorical.any():
        return tree
    return replace(tree, by_category=member.is_categorical, left_categories=member.left_categories)


def _categories(trees: Sequence[PrunedTree], known: dict[int, np.ndarray]) -> dict[str, Any]:
    """Give the engine's arguments about categories; none where there are none."""
    if not known:
        return {}
    marks, sets = zip(*(_marks_and_sets(tree.nodes) for tree in trees), strict=True)
    return {
        "categories": known,
        "by_category": np.concatenate(marks),
        "left_categories": np.concatenate(sets),
    }


def _marks_and_sets(nodes: TreeArrays) -> tuple[np.ndarray, np.ndarray]:
    """Give which splits are by category, and what goes left there; also where none is."""
    if nodes.by_category is None or nodes.left_categories is None:
        return no_categories(nodes.n_nodes)
    return nodes.by_category, nodes.left_categories


def _category_weights(
    trees: Sequence[PrunedTree], known: dict[int, np.ndarray], thresholds: csr_array
) -> dict[str, csr_array]:
    """Write the sets of the splits by category as a matrix, and give them thresholds to match."""
    first = dict(zip(known, np.cumsum([0, *map(len, known.values())]), strict=False))
    starts = np.cumsum([0] + [tree.n_full_splits for tree in trees])
    rows, columns, marked = [], [], []
    for tree, start in zip(trees, starts, strict=False):
        marks, sets = _marks_and_sets(tree.nodes)
        splits = zip(np.flatnonzero(tree.nodes.is_split), start + tree.splits, strict=True)
        for node, split in splits:
            if not marks[node]:
                continue
            feature = int(tree.nodes.feature[node])
            words = sets[node].astype("<u4").view(np.uint8)
            bits = np.unpackbits(words, bitorder="little")
            left = np.flatnonzero(bits[: len(known[feature])])
            rows += [split] * len(left)
            columns += (first[feature] + left).tolist()
            marked.append(split)
    b = thresholds.toarray()
    b[marked] = -np.inf
    listed = [(column, value) for column, values in known.items() for value in values.tolist()]
    return {
        "b": csr_array(b),
        "S": csr_array((np.ones(len(rows)), (rows, columns)), shape=(starts[-1], len(listed))),
        "c": csr_array(np.array(listed, dtype=np.float64)),
    }
