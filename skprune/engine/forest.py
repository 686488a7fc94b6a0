"""Many decision trees and how they predict together: `Forest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skprune.engine.checks import MAX_WIDTH
from skprune.engine.links import LINKS
from skprune.engine.native import isa, kernels
from skprune.engine.nodes import LEAF, Bools, Floats, Ints, Nodes, checked_vector

_BITS = 32  # of a word of a set


class Forest(Nodes):
    """Trees whose values are added up, run by compiled kernels or by numpy.

    The prediction is ``link((base + sum of values) / divisor)``, where the values are those of the
    row's leaf in each tree, added up in the order of the trees. Predictions equal those of
    scikit-learn's forests and boosted trees to the bit, but for links that call ``exp``: these
    differ by a few units in the last place.

    Parameters
    ----------
    feature, threshold, left, right, missing_go_to_left : array-like of shape (n_nodes,)
        The nodes of all trees, tree after tree, as :class:`Tree` takes them. Children are numbered
        within their tree.
    value : array-like of shape (n_nodes, n_values), float64
        What leaves add to the sums.
    tree_starts : array-like of shape (n_trees + 1,), int
        Where each tree starts among the nodes, and the last one ends.
    n_features_in : int
        Columns of ``X``.
    outputs : array-like of shape (n_trees,), int, default=None
        The sum that each tree's only value adds to. None: all values add to their own sums.
    base : array-like of shape (n_sums,), float64, default=None
        The initial values of the sums. None: zeros.
    divisor : float, default=1.0
        What sums are divided by; neither 0 nor infinite.
    link : {"identity", "exp", "sigmoid", "exponential", "softmax", "clip"}, default="identity"
        The function that turns sums into predictions. "sigmoid" computes the probabilities of two
        classes from one sum, "exponential" from twice that sum. "clip" normalises sums that are
        nearly probabilities: negative ones become 0, and those of a group are divided by their
        total; if none is positive, all classes of the group are equally probable.
    groups : array-like of shape (n_groups,), int, default=None
        The number of classes of each output, for "clip". None: all sums belong to one output.
    categories : mapping of int to array-like, default=None
        Columns of categories, and the values of each, in ascending order. The number of a category
        is its place there. Any other value counts as missing.
    left_categories : array-like of shape (n_nodes, n_words), uint32, default=None
        For splits that `by_category` marks, the categories that go left, as bits: category c goes
        left where bit ``c % 32`` of word ``c // 32`` is set.
    by_category : array-like of shape (n_nodes,), bool, default=None
        The splits that compare categories in place of the threshold.
    dtype : {"float32", "float64"}, default="float32"
        The type that values of ``X`` are rounded to before they are compared.
    allow_nan : bool, default=False
        Whether ``X`` may hold NaN. Columns of categories always may; sparse rows that are compared
        as float32 may not, as in scikit-learn.
    allow_infinity : bool, default=None
        Whether ``X`` may be infinite. None: True for "float64", False for "float32", in which
        numbers that are too large become infinite, too.
    accepts_sparse : bool, default=True
        Whether ``X`` may be sparse; False where scikit-learn's own model refuses it.
    engine : {"auto", "native", "scipy"}, default="auto"
        As for `skprune.engine.Network`; here "scipy" needs numpy alone.

    Attributes
    ----------
    n_features_in, n_trees, n_outputs, n_leaves, n_nodes : int
        Columns of ``X``, trees, columns of the predictions, and leaves and nodes that the roots
        reach.
    dtype, allow_nan, allow_infinity : str, bool, bool
        What ``X`` may hold.
    engine : {"native", "scipy"}
        What runs.

    Examples
    --------
    Two trees, the second of which is a lone leaf:

    >>> forest = Forest(
    ...     feature=[0, -2, -2, -2], threshold=[0.5, -2, -2, -2], left=[1, -1, -1, -1],
    ...     right=[2, -1, -1, -1], value=[[0.5], [0.0], [1.0], [3.0]],
    ...     missing_go_to_left=[0, 0, 0, 0], tree_starts=[0, 3, 4], n_features_in=2, divisor=2.0,
    ... )
    >>> X = np.array([[0.0, 9.0], [1.0, 9.0]])
    >>> forest.predict(X)
    array([[1.5],
           [2. ]])
    >>> forest.apply(X)
    array([[1, 0],
           [2, 0]])
    >>> forest.transform(X).toarray()
    array([[1., 0., 1.],
           [0., 1., 1.]])
    """

    _kernels = ("16 trees interleaved", "8 rows interleaved")

    def __init__(
        self,
        feature: Any,
        threshold: Any,
        left: Any,
        right: Any,
        value: Any,
        missing_go_to_left: Any,
        tree_starts: Any,
        n_features_in: int,
        *,
        outputs: Any = None,
        base: Any = None,
        divisor: float = 1.0,
        link: str = "identity",
        groups: Any = None,
        categories: Mapping[int, Any] | None = None,
        left_categories: Any = None,
        by_category: Any = None,
        dtype: str = "float32",
        allow_nan: bool = False,
        allow_infinity: bool | None = None,
        accepts_sparse: bool = True,
        engine: str = "auto",
    ) -> None:
        super().__init__(
            feature, threshold, left, right, value, missing_go_to_left,
            tree_starts, n_features_in, allow_nan,
        )  # fmt: skip
        self.accepts_sparse = bool(accepts_sparse)
        self.divisor = _checked_divisor(divisor)
        self.link = _one_of("link", link, LINKS)
        self.dtype = _one_of("dtype", dtype, ("float32", "float64"))
        doubles = self.dtype == "float64"
        self.allow_infinity = doubles if allow_infinity is None else bool(allow_infinity)
        if self.allow_infinity and not doubles:
            raise ValueError("allow_infinity=True needs dtype='float64', but it is 'float32'.")
        self.outputs = self._checked_outputs(outputs)
        self.base = self._checked_base(base)
        self.groups = self._checked_groups(groups)
        self.by_category, self.left_categories = self._checked_sets(by_category, left_categories)
        self.categories = self._checked_categories(categories)
        self.n_outputs = 2 if link in ("sigmoid", "exponential") else len(self.base)
        self._use(engine)

    def predict(self, X: Any, n_jobs: int | None = 1) -> np.ndarray:
        """Return the predictions of the trees together.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_rows, n_features_in)
            float32 and float64 arrays of any strides are read in place, and so are those of a CSR
            matrix, of which entries given twice are added up. With dtype="float64" sparse ones are
            made dense a few rows at a time.
        n_jobs : int or None, default=1
            Threads; -1 uses every core.

        Returns
        -------
        ndarray of shape (n_rows, n_outputs), float64

        Raises
        ------
        NonFiniteError
            Where ``X`` is infinite without ``allow_infinity``, or NaN without ``allow_nan``.
        """
        if self._native is None:
            return self.predict_at(self.apply(X, n_jobs))
        return self._run("predict", X, n_jobs)

    def decision(self, X: Any, n_jobs: int | None = 1) -> np.ndarray:
        """Return what `predict` puts through the link.

        Parameters and errors are those of `predict`.

        Returns
        -------
        ndarray of shape (n_rows, n_sums), float64
        """
        if self._native is None:
            return self.decision_at(self.apply(X, n_jobs))
        return self._run("decide", X, n_jobs)

    @np.errstate(all="ignore")  # exp of a large sum overflows, or is 0
    def predict_at(self, nodes: Ints) -> np.ndarray:
        """Return the predictions for rows whose node in each tree is known already.

        Parameters
        ----------
        nodes : ndarray of shape (n_rows, n_trees), int
            Numbers within the trees, which need not be leaves.

        Returns
        -------
        ndarray of shape (n_rows, n_outputs), float64
        """
        return LINKS[self.link](self.decision_at(nodes), self.groups)

    def decision_at(self, nodes: Ints) -> np.ndarray:
        """Return what `predict_at` puts through the link.

        Parameters
        ----------
        nodes : ndarray of shape (n_rows, n_trees), int
            As for `predict_at`.

        Returns
        -------
        ndarray of shape (n_rows, n_sums), float64
        """
        sums = np.repeat(self.base[np.newaxis], len(nodes), axis=0)
        for tree, start in enumerate(self.tree_starts[:-1]):
            values = self.value[start + nodes[:, tree]]
            if self.outputs is None:
                sums += values
            else:
                sums[:, self.outputs[tree]] += values[:, 0]
        return sums / self.divisor

    def __repr__(self) -> str:
        return (
            f"Forest({self.n_trees} trees, {self.n_nodes} nodes, {self.n_leaves} leaves, "
            f"engine={self.engine!r})"
        )

    def _counts(self) -> dict[str, int]:
        counts = {"trees": self.n_trees, "nodes": self.n_nodes}
        return counts | {"leaves": self.n_leaves, "deepest": self._depth}

    def _goes_left(self, at: Ints, x: np.ndarray) -> Bools:
        left = super()._goes_left(at, x)
        if self.by_category is None:
            return left
        in_set = self._category_goes_left(at, x)
        return np.where(self.by_category[at] & ~np.isnan(x), in_set, left)

    def _category_goes_left(self, node: Ints, category: Floats) -> Bools:
        assert self.left_categories is not None
        number = np.where(self.by_category[node] & ~np.isnan(category), category, 0).astype(np.intp)
        number = np.where(number < _BITS * self.left_categories.shape[1], number, 0)
        word = self.left_categories[node, number // _BITS]
        return (word >> (number % _BITS).astype(np.uint32)) & 1 == 1

    def _checked_outputs(self, outputs: Any) -> Ints | None:
        if outputs is None:
            return None
        outputs = checked_vector(outputs, "outputs", np.int64, len(self.tree_starts) - 1, "tree")
        if self.value.shape[1] != 1:
            raise ValueError(
                f"value must have one column where outputs says what it adds to, but its shape is "
                f"{self.value.shape}."
            )
        if outputs.min() < 0:
            raise ValueError(f"outputs must not be negative, but one is {outputs.min()}.")
        if outputs.max() >= MAX_WIDTH:
            raise ValueError(f"outputs must be below {MAX_WIDTH}, but one is {outputs.max()}.")
        return outputs

    def _checked_base(self, base: Any) -> Floats:
        own = self.value.shape[1] if self.outputs is None else int(self.outputs.max()) + 1
        base = np.zeros(own) if base is None else checked_vector(base, "base", np.float64)
        if (len(base) != own) if self.outputs is None else (len(base) < own):
            raise ValueError(f"base must have {own} entries, one per sum, but it has {len(base)}.")
        if self.link in ("sigmoid", "exponential") and len(base) != 1:
            raise ValueError(f"link={self.link!r} takes one sum, but there are {len(base)}.")
        return base

    def _checked_groups(self, groups: Any) -> Ints:
        if groups is None:
            return np.array([len(self.base)])
        groups = checked_vector(groups, "groups", np.int64)
        n_sums = len(self.base)
        fits = len(groups) and groups.min() >= 1 and groups.max() <= n_sums
        if not fits or groups.sum() != n_sums:
            raise ValueError(
                f"groups must be positive and add up to the {len(self.base)} sums, but they are "
                f"{groups.tolist()}."
            )
        return groups

    def _checked_sets(self, marks: Any, sets: Any) -> tuple[Any, Any]:
        if marks is None and sets is None:
            return None, None
        if marks is None or sets is None or self.dtype != "float64":
            raise ValueError(
                "by_category and left_categories must be given together, and with dtype='float64'."
            )
        marks = checked_vector(marks, "by_category", np.bool_, len(self.left))
        sets = np.asarray(sets)
        if (
            sets.dtype.kind not in "iub"
            or (sets.astype(np.uint32).astype(sets.dtype) != sets).any()
        ):
            raise ValueError("left_categories must hold words of 32 bits, as uint32.")
        sets = np.array(sets, dtype=np.uint32, order="C")
        if sets.ndim != 2 or len(sets) != len(self.left) or sets.shape[1] < 1:
            raise ValueError(
                f"left_categories must have shape ({len(self.left)}, n_words), but it is "
                f"{sets.shape}."
            )
        sets.setflags(write=False)
        return marks, sets

    def _checked_categories(self, categories: Mapping[int, Any] | None) -> dict[int, Floats] | None:
        checked: dict[int, Floats] = {}
        if not isinstance(categories, Mapping | None):
            raise TypeError(
                f"categories must be a mapping or None, not {type(categories).__name__}."
            )
        for column, values in sorted((categories or {}).items()):
            if column not in range(self.n_features_in):
                raise ValueError(
                    f"categories must name columns in [0, {self.n_features_in}), got {column}."
                )
            known = checked_vector(values, f"categories[{column}]", np.float64)
            if np.isnan(known).any() or (np.diff(known) <= 0).any():
                raise ValueError(f"categories[{column}] must grow and hold no NaN.")
            checked[int(column)] = known
        if checked and self.dtype != "float64":
            raise ValueError("categories need dtype='float64'.")
        if self.by_category is None:
            return checked or None
        for feature in np.unique(self.feature[self.by_category & (self.left != LEAF)]).tolist():
            if feature not in checked:
                raise ValueError(f"categories must have those of column {feature}.")
            if len(checked[feature]) > _BITS * self.left_categories.shape[1]:
                raise ValueError(
                    f"left_categories must have a bit for each of the {len(checked[feature])} "
                    f"categories of column {feature}."
                )
        return checked or None

    def _compile(self, for_csr: bool = False) -> Any:
        assert kernels is not None
        feature, columns = self._columns_for(for_csr)
        none, known = np.zeros(0, dtype=np.int64), self.categories or {}
        lengths = [len(values) for values in known.values()]
        marked = None if self.by_category is None else np.flatnonzero(self.by_category)
        set_of = none
        if marked is not None:
            set_of = np.full(len(self.left), -1, dtype=np.int64)
            set_of[marked] = np.arange(len(marked))
        sets = np.zeros((0, 1), dtype=np.uint32)
        if self.left_categories is not None:
            sets = np.ascontiguousarray(self.left_categories[marked])
        return kernels.Forest(
            feature,
            self.threshold,
            self.left,
            self.right,
            self.value,
            self.missing_go_to_left,
            self.tree_starts,
            none if self.outputs is None else self.outputs,
            self.base,
            self.divisor,
            list(LINKS).index(self.link),
            self.groups,
            set_of,
            sets,
            np.array(list(known), dtype=np.int64),
            np.cumsum([0, *lengths], dtype=np.int64),
            np.concatenate([np.zeros(0), *known.values()]),
            columns,
            self.n_features_in,
            self.dtype == "float64",
            self.allow_nan and not for_csr,
            self.allow_infinity,
            isa(),
        )


def _checked_divisor(divisor: float) -> float:
    divisor = float(divisor)
    if divisor == 0 or not np.isfinite(divisor):
        raise ValueError(f"divisor must be a finite number other than 0, but it is {divisor}.")
    return divisor


def _one_of(name: str, given: str, allowed: Any) -> str:
    if given not in allowed:
        raise ValueError(f"{name} must be one of {tuple(allowed)}, but it is {given!r}.")
    return given
