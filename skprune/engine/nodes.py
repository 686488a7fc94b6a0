"""What a tree and a forest have in common: `Nodes`."""

from __future__ import annotations

from collections.abc import Iterator
from operator import index
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from skprune.engine.checks import as_matrix, dense_parts, n_threads, non_finite, on_csr
from skprune.engine.explaining import explain_nodes
from skprune.engine.model import Model
from skprune.engine.native import choose_engine
from skprune.indices import with_short_indices

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAF = -1  # in place of both children


class Nodes(Model):
    """Binary decision trees as arrays of nodes, tree after tree.

    A row goes left at a split where ``x[feature] <= threshold``, from the first node of each tree
    down to a leaf. A subclass says what the leaves add up to, and which kernels run it.

    Parameters
    ----------
    feature, threshold, left, right, value, missing_go_to_left : array-like
        As for `skprune.engine.Forest`.
    tree_starts : array-like of shape (n_trees + 1,), int, or None
        Where each tree starts among the nodes, and the last one ends. None: there is one tree.
    n_features_in : int
        Columns of ``X``.
    allow_nan : bool
        Whether ``X`` may hold NaN.
    """

    accepts_sparse = True
    converts = True
    dtype = "float32"

    # what the native engine runs for up to 7 rows, and for more
    _kernels: ClassVar[tuple[str, str]]

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
        allow_nan: bool,
    ) -> None:
        self.feature = checked_vector(feature, "feature", np.int64)
        n_nodes = len(self.feature)
        self.threshold = checked_vector(threshold, "threshold", np.float64, n_nodes)
        self.left = checked_vector(left, "left", np.int64, n_nodes)
        self.right = checked_vector(right, "right", np.int64, n_nodes)
        self.missing_go_to_left = checked_vector(
            missing_go_to_left, "missing_go_to_left", np.bool_, n_nodes
        )
        self.value = _node_values(value, n_nodes)
        self.tree_starts = self._checked_starts(tree_starts)
        self.n_features_in = _whole_number(n_features_in, "n_features_in")
        self.allow_nan = bool(allow_nan)
        self._left, self._right = self._absolute_children()
        self._refuse_bad_splits()

        levels = self._nodes_by_level()
        reached = np.zeros(n_nodes, dtype=bool)
        reached[np.concatenate(levels)] = True
        leaves = np.flatnonzero(reached & (self.left == LEAF))
        self._column_of = np.full(n_nodes, -1, dtype=np.int64)  # in what `transform` returns
        self._column_of[leaves] = np.arange(len(leaves))
        self.n_trees = len(self.tree_starts) - 1
        self.n_nodes = int(reached.sum())
        self.n_leaves = len(leaves)
        self._depth = len(levels) - 1

    def _use(self, engine: str) -> None:
        """Choose the engine, and make the kernels if it is the native one."""
        self.engine = choose_engine(engine)
        self.requested_engine = engine
        self._native = self._compile() if self.engine == "native" else None
        self._native_csr: Any = None

    def _compile(self, for_csr: bool = False) -> Any:
        """Return the kernels, for dense rows or for those of a CSR matrix."""
        raise NotImplementedError

    def apply(self, X: Any, n_jobs: int | None = 1) -> np.ndarray:
        """Return the leaf that each row reaches in each tree, as a number of a node of the tree.

        Parameters and errors are those of `predict`.

        Returns
        -------
        ndarray of shape (n_rows, n_trees), int64
            Of a `skprune.engine.Tree` of shape (n_rows,).
        """
        return self._run("apply", X, n_jobs)

    def transform(self, X: Any, n_jobs: int | None = 1) -> csr_array:
        """Return which leaf of each tree every row reaches, as ones.

        Parameters and errors are those of `predict`.

        Returns
        -------
        csr_array of shape (n_rows, n_leaves), float64
            Columns are the leaves, tree after tree, in the order of their node numbers.
        """
        leaves = self.apply(X, n_jobs).reshape(-1, self.n_trees)
        columns = self._column_of[leaves + self.tree_starts[:-1]]
        n_rows = len(columns)
        ones, rows = np.ones(columns.size), np.arange(n_rows + 1) * self.n_trees
        shape = (n_rows, self.n_leaves)
        return with_short_indices(csr_array((ones, columns.ravel(), rows), shape=shape))

    @property
    def columns_read(self) -> np.ndarray:
        """Columns of ``X`` that splits read, in ascending order."""
        return np.unique(self.feature[self.left != LEAF])

    def explain(self, n_rows: int | None = None) -> str:
        """Return the plan as a table.

        Parameters
        ----------
        n_rows : int, optional
            Show only what runs for a batch of this many rows.

        Examples
        --------
        >>> from skprune.engine import Tree
        >>> print(Tree([-2], [0], [-1], [-1], [[1.0]], [0], 3, engine="scipy").explain())
        engine scipy, 3 -> 1
        nodes  leaves  depth  missing  any batch
        1           1      0  refused  numpy, level by level
        """
        shape = (self.n_features_in, self.n_outputs)
        return explain_nodes(
            self.engine, shape, self._counts(), self.allow_nan, self._kernels, n_rows
        )

    def _counts(self) -> dict[str, int]:
        """Return the numbers that `explain` shows."""
        raise NotImplementedError

    def _run(self, method: str, X: Any, n_jobs: int | None) -> np.ndarray:
        # short, because a call takes half a microsecond
        threads = n_threads(n_jobs)
        if self._native is None:
            return self._run_reference(X)
        result = getattr(self._native, method)(X, threads)
        # None where X is not a float matrix of the right width that C++ can read in place
        return self._run_converted(method, X, threads) if result is None else result

    def _run_reference(self, X: Any) -> np.ndarray:
        self._refuse_sparse(X)
        if not issparse(X):
            return self._descend(X)
        return np.concatenate([self._descend(part) for part in self._dense_parts(X)])

    def _run_converted(self, method: str, X: Any, threads: int) -> np.ndarray:
        self._refuse_sparse(X)
        answer = getattr(self._native, method)
        if not issparse(X):
            return answer(as_matrix(X, self.n_features_in, self.dtype), threads)
        if self.dtype == "float64":
            return np.concatenate([answer(part, threads) for part in self._dense_parts(X)])
        if self._native_csr is None:
            self._native_csr = self._compile(for_csr=True)
        run = getattr(self._native_csr, f"{method}_csr")
        return on_csr(run, X, self.n_features_in, threads)

    def _refuse_sparse(self, X: Any) -> None:
        if issparse(X) and not self.accepts_sparse:
            raise TypeError("X must be dense, but it is sparse; use X.toarray().")

    def _dense_parts(self, X: Any) -> Iterator[np.ndarray]:
        doubles = self.dtype == "float64"
        return dense_parts(X, self.n_features_in, self.dtype, allow_nan=doubles)

    def _descend(self, X: Any) -> np.ndarray:
        """Return the leaves of rows by numpy: all rows go down all trees a level at a time."""
        X = self._numbered(X)
        row, tree = np.divmod(np.arange(len(X) * self.n_trees), self.n_trees)
        root = self.tree_starts[tree]
        node = root.copy()
        going = np.flatnonzero(self._left[node] != LEAF)
        while going.size:
            at = node[going]
            left = self._goes_left(at, X[row[going], self.feature[at]])
            node[going] = np.where(left, self._left[at], self._right[at])
            going = going[self._left[node[going]] != LEAF]
        return (node - root).reshape(len(X), self.n_trees)

    def _goes_left(self, at: Ints, x: np.ndarray) -> Bools:
        """Return whether rows go left at the splits ``at``, where they hold ``x``."""
        return np.where(np.isnan(x), self.missing_go_to_left[at], x <= self.threshold[at])

    def _numbered(self, X: Any) -> np.ndarray:
        """Return a checked copy of ``X`` that holds numbers of categories in place of these."""
        with np.errstate(over="ignore"):
            X = as_matrix(X, self.n_features_in, self.dtype).astype(self.dtype)
        categories = self.categories or {}
        if not np.isfinite(X).all():
            missing = np.isnan(np.delete(X, list(categories), axis=1)).any()
            infinite = np.isinf(X).any()
            if (infinite and not self.allow_infinity) or (missing and not self.allow_nan):
                raise non_finite(self.allow_nan, self.allow_infinity)
        for column, known in categories.items():
            x = X[:, column]
            place = np.searchsorted(known, x).clip(max=max(len(known) - 1, 0))
            found = known[place] == x if len(known) else np.zeros(len(x), dtype=bool)
            X[:, column] = np.where(found, place, np.nan)
        return X

    def _nodes_by_level(self) -> list[Ints]:
        """Return the nodes of each level that the roots reach, the roots first."""
        levels = [self.tree_starts[:-1]]
        while (splits := levels[-1][self._left[levels[-1]] != LEAF]).size:
            levels.append(np.concatenate([self._left[splits], self._right[splits]]))
        return levels

    def _checked_starts(self, tree_starts: Any) -> Ints:
        n_nodes = len(self.left)
        starts = [0, n_nodes] if tree_starts is None else tree_starts
        starts = checked_vector(starts, "tree_starts", np.int64)
        if not 1 <= n_nodes < 2**31:
            kind = type(self).__name__.lower()
            raise ValueError(f"A {kind} must have 1 to {2**31 - 1} nodes, but it has {n_nodes}.")
        if (
            len(starts) < 2
            or starts[0] != 0
            or starts[-1] != n_nodes
            or (starts[1:] <= starts[:-1]).any()  # a difference may overflow
        ):
            raise ValueError(
                f"tree_starts must grow from 0 to the number of nodes, {n_nodes}, with at least "
                f"one tree, but it is {starts.tolist()[:8]}."
            )
        return starts

    def _absolute_children(self) -> tuple[Ints, Ints]:
        """Return the children as numbers among all nodes; refuse those outside their tree."""
        sizes = np.diff(self.tree_starts)
        size, start = np.repeat(sizes, sizes), np.repeat(self.tree_starts[:-1], sizes)
        is_split = (self.left != LEAF) | (self.right != LEAF)
        for children in (self.left, self.right):
            outside = is_split & ((children < 0) | (children >= size))
            if outside.any():
                raise ValueError(
                    f"left and right must both be -1 (a leaf) or both lie in "
                    f"[0, {size[np.argmax(outside)]}), the nodes of their tree."
                )
        left = np.where(is_split, self.left + start, LEAF)
        return left, np.where(is_split, self.right + start, LEAF)

    def _refuse_bad_splits(self) -> None:
        """Raise unless the children make trees, and splits read known columns."""
        n_features, is_split = self.n_features_in, self._left != LEAF
        if not 1 <= n_features < 2**31:
            raise ValueError(f"n_features_in must be at least 1, but it is {n_features}.")
        children = np.concatenate([self._left[is_split], self._right[is_split]])
        # With one parent a node at most, and none for a root, no walk can come back.
        parents = np.bincount(children, minlength=len(self.left))
        parents[self.tree_starts[:-1]] += 1  # the walk starts there
        if parents.max() > 1:
            node = int(np.argmax(parents > 1))
            raise ValueError(f"left and right must form a tree, but node {node} is reached twice.")
        reads = self.feature[is_split]
        if reads.size and (reads.min() < 0 or reads.max() >= n_features):
            raise ValueError(f"feature must lie in [0, {n_features}) at every split.")
        if np.isnan(self.threshold[is_split]).any():
            raise ValueError("threshold must not be NaN at a split.")

    def _columns_for(self, for_csr: bool) -> tuple[Ints, np.ndarray]:
        """Return the features as the kernels take them, and the columns that they number.

        For dense rows there is no such list: the features are columns of ``X``.
        """
        if not for_csr:
            return self.feature, np.zeros(0, dtype=np.uint32)
        return packed_columns(self.feature, self.left != LEAF)


def packed_columns(feature: np.ndarray, is_split: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each node's column among those that splits read, and these columns.

    The columns that most splits read come first: in a tile of sparse rows they are side by side in
    the cache.

    Examples
    --------
    >>> packed_columns(np.array([5, 9, 9, -2]), np.array([True, True, True, False]))
    (array([1, 0, 0, 0]), array([9, 5], dtype=uint32))
    """
    columns, place, counts = np.unique(feature[is_split], return_inverse=True, return_counts=True)
    if not columns.size:  # a tile has at least one column
        return np.zeros_like(feature), np.zeros(1, dtype=np.uint32)
    order = np.argsort(-counts, kind="stable")
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    places = np.zeros_like(feature)
    places[is_split] = ranks[place]
    return places, columns[order].astype(np.uint32)


def _whole_number(value: Any, name: str) -> int:
    """Return an int, or raise where it is not one: ``int`` would cut 2.7 to 2."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, but it is {value!r}.") from None


def checked_vector(
    values: Any, name: str, dtype: type, length: int | None = None, entry: str = "node"
) -> np.ndarray:
    """Return a read-only vector of a dtype, or raise."""
    array = np.asarray(values)
    wanted = "fiub" if dtype is np.float64 else "iub"
    if array.dtype.kind not in wanted or array.ndim != 1:
        raise ValueError(
            f"{name} must be a vector of {np.dtype(dtype).name}, but its dtype is {array.dtype} "
            f"and its shape {array.shape}."
        )
    if length is not None and len(array) != length:
        raise ValueError(
            f"{name} must have {length} entries, one per {entry}, but it has {len(array)}."
        )
    if dtype is np.bool_ and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must hold booleans, or 0 and 1, but it holds {array.tolist()}.")
    array = np.array(array, dtype=dtype)
    array.setflags(write=False)
    return array


def _node_values(value: Any, n_nodes: int) -> np.ndarray:
    """Return what nodes hold as a read-only matrix of float64, or raise."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or array.ndim != 2:
        raise ValueError(
            f"value must be a numeric matrix (n_nodes, n_values), but its dtype is {array.dtype} "
            f"and its shape {array.shape}."
        )
    if array.shape[0] != n_nodes or array.shape[1] < 1:
        raise ValueError(f"value must have shape ({n_nodes}, n_values), but it is {array.shape}.")
    if np.isnan(array).any():
        raise ValueError("value must not hold NaN.")
    array = np.array(array, dtype=np.float64, order="C")
    array.setflags(write=False)
    return array
