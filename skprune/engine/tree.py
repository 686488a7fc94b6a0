"""One decision tree and how it predicts: `Tree`."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from skprune.engine.checks import as_finite_float32, as_matrix, dense_parts, n_threads, on_csr
from skprune.engine.explaining import checked_rows, table
from skprune.engine.native import choose_engine, isa, kernels
from skprune.indices import with_short_indices

_LEAF = -1


class Tree:
    """A binary decision tree, run by compiled kernels or by numpy.

    The arrays are scikit-learn's ``tree_``: node 0 is the root, a row goes left where
    ``float32(x[feature]) <= threshold``. A tree never changes after it is made, so threads may
    share it.

    Parameters
    ----------
    feature : array-like of shape (n_nodes,), int
        What each split reads; ignored at leaves.
    threshold : array-like of shape (n_nodes,), float64
        May be infinite, not NaN.
    left, right : array-like of shape (n_nodes,), int
        Children; -1 in both marks a leaf.
    value : array-like of shape (n_nodes, n_values), float64
        What a leaf answers.
    missing_go_to_left : array-like of shape (n_nodes,), bool
        Where NaN goes; read only with ``allow_nan``.
    n_features_in : int
        Columns of ``X``.
    allow_nan : bool, default=False
        Whether ``X`` may hold NaN. Sparse ones may not, as in scikit-learn.
    engine : {"auto", "native", "scipy"}, default="auto"
        As for `skprune.engine.Network`; here "scipy" needs numpy alone.

    Attributes
    ----------
    n_features_in, n_outputs, n_leaves, n_nodes : int
        Columns of ``X``, values a leaf holds, leaves and nodes that the root reaches.
    engine : {"native", "scipy"}
        What runs.

    Examples
    --------
    >>> tree = Tree(
    ...     feature=[0, -2, -2], threshold=[0.5, -2, -2], left=[1, -1, -1], right=[2, -1, -1],
    ...     value=[[0.5], [0.0], [1.0]], missing_go_to_left=[0, 0, 0], n_features_in=2,
    ... )
    >>> X = np.array([[0.0, 9.0], [1.0, 9.0]])
    >>> tree.predict(X)
    array([[0.],
           [1.]])
    >>> tree.apply(X)
    array([1, 2])
    >>> tree.transform(X).toarray()
    array([[1., 0.],
           [0., 1.]])
    """

    accepts_sparse = True
    converts = True  # numbers of any type

    def __init__(
        self,
        feature: Any,
        threshold: Any,
        left: Any,
        right: Any,
        value: Any,
        missing_go_to_left: Any,
        n_features_in: int,
        allow_nan: bool = False,
        engine: str = "auto",
    ) -> None:
        self.feature = checked_vector(feature, "feature", np.int64)
        n_nodes = len(self.feature)
        self.threshold = checked_vector(threshold, "threshold", np.float64, n_nodes)
        self.left = checked_vector(left, "left", np.int64, n_nodes)
        self.right = checked_vector(right, "right", np.int64, n_nodes)
        self.missing_go_to_left = checked_vector(
            missing_go_to_left, "missing_go_to_left", np.bool_, n_nodes
        )
        self.value = node_values(value, n_nodes)
        self.n_features_in = whole_number(n_features_in, "n_features_in")
        self.allow_nan = bool(allow_nan)
        n_nodes = len(self.left)
        if not 1 <= n_nodes < 2**31:
            raise ValueError(f"A tree must have 1 to {2**31 - 1} nodes, but it has {n_nodes}.")
        refuse_bad_splits(
            self.feature, self.threshold, self.left, self.right, [0], self.n_features_in
        )
        reached = self._reached()
        self._leaves = np.flatnonzero(reached & (self.left == _LEAF))
        self.n_nodes = int(reached.sum())
        self.n_leaves = len(self._leaves)
        self.n_outputs = int(self.value.shape[1])
        self.engine = choose_engine(engine)
        self._requested = engine
        self._native = self._compile() if self.engine == "native" else None
        self._native_csr: Any = None

    def predict(self, X: Any, n_jobs: int | None = 1) -> np.ndarray:
        """Return the value of the leaf that each row reaches.

        Parameters
        ----------
        X : array-like or sparse array of shape (n_rows, n_features_in)
            float32 and float64 arrays of any strides are read in place, and so are those of a CSR
            matrix, of which entries given twice are added up.
        n_jobs : int or None, default=1
            Threads; -1 uses every core.

        Returns
        -------
        ndarray of shape (n_rows, n_outputs), float64

        Raises
        ------
        NonFiniteError
            Where ``X`` is infinite in float32, or NaN without ``allow_nan``.
        """
        if self._native is None:
            return self.value[self.apply(X, n_jobs)]
        return self._run("predict", X, n_jobs)

    def predict_at(self, nodes: np.ndarray) -> np.ndarray:
        """Return the values for rows whose node is known already.

        Parameters
        ----------
        nodes : ndarray of shape (n_rows, 1), int
            Numbers of nodes, which need not be leaves.

        Returns
        -------
        ndarray of shape (n_rows, n_outputs), float64
        """
        return self.value[nodes[:, 0]]

    def apply(self, X: Any, n_jobs: int | None = 1) -> np.ndarray:
        """Return the leaf that each row reaches, as a node number.

        Parameters and errors are those of `predict`.

        Returns
        -------
        ndarray of shape (n_rows,), int64
        """
        return self._run("apply", X, n_jobs)

    def transform(self, X: Any, n_jobs: int | None = 1) -> csr_array:
        """Return which leaf each row reaches, as a one-hot matrix.

        Parameters and errors are those of `predict`.

        Returns
        -------
        csr_array of shape (n_rows, n_leaves), float64
            Columns are the leaves in the order of their node numbers.
        """
        columns = np.searchsorted(self._leaves, self.apply(X, n_jobs))
        n_rows = len(columns)
        ones, rows = np.ones(n_rows), np.arange(n_rows + 1)
        shape = (n_rows, self.n_leaves)
        return with_short_indices(csr_array((ones, columns, rows), shape=shape))

    @property
    def columns_read(self) -> np.ndarray:
        """Columns of ``X`` that splits look at, in growing order."""
        return np.unique(self.feature[self.left != _LEAF])

    def with_engine(self, engine: str) -> Tree:
        """Return the same tree on another engine."""
        return Tree(**self._arrays(), engine=engine)

    def explain(self, n_rows: int | None = None) -> str:
        """Return the plan as a table.

        Parameters
        ----------
        n_rows : int, optional
            Show only what runs for a batch of this many rows.

        Examples
        --------
        >>> print(Tree([-2], [0], [-1], [-1], [[1.0]], [0], 3, engine="scipy").explain())
        engine scipy, 3 -> 1
        nodes  leaves  depth  missing  any batch
        1           1      0  refused  numpy, level by level
        """
        native = self.engine == "native"
        title = f"engine {f'native ({isa()})' if native else 'scipy'}, {self.n_features_in}"
        batches = {"any batch": "numpy, level by level"}
        if native:
            batches = {"1-7 rows": "row by row", "8+ rows": "8 rows interleaved"}
        n = None if n_rows is None else checked_rows(n_rows)
        if native and n is not None:
            batches = {f"{n} row{'s' * (n != 1)}": list(batches.values())[n >= 8]}
        return f"{title} -> {self.n_outputs}\n" + table(
            [
                ["nodes", "leaves", "depth", "missing", *batches],
                [
                    str(self.n_nodes),
                    str(self.n_leaves),
                    str(self._depth()),
                    "allowed" if self.allow_nan else "refused",
                    *batches.values(),
                ],
            ]
        )

    def __repr__(self) -> str:
        return f"Tree({self.n_nodes} nodes, {self.n_leaves} leaves, engine={self.engine!r})"

    # the arguments, which are checked again; skops runs no function that a file names
    def __getstate__(self) -> dict[str, Any]:
        return self._arrays() | {"engine": self._requested}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Tree.__init__(self, **state)

    def _arrays(self) -> dict[str, Any]:
        return {
            "feature": self.feature,
            "threshold": self.threshold,
            "left": self.left,
            "right": self.right,
            "value": self.value,
            "missing_go_to_left": self.missing_go_to_left,
            "n_features_in": self.n_features_in,
            "allow_nan": self.allow_nan,
        }

    def _run(self, method: str, X: Any, n_jobs: int | None) -> np.ndarray:
        threads = n_threads(n_jobs)
        if self._native is None:
            if not issparse(X):
                return self._descend(X)
            parts = dense_parts(X, self.n_features_in, allow_nan=False)
            return np.concatenate([self._descend(part) for part in parts])
        answer = getattr(self._native, method)
        if (result := answer(X, threads)) is not None:
            return result
        if issparse(X):
            if self._native_csr is None:
                self._native_csr = self._compile(for_csr=True)
            run = getattr(self._native_csr, f"{method}_csr")
            return on_csr(run, X, self.n_features_in, threads)
        # no float matrix of the right width that C++ can read in place
        return answer(as_matrix(X, self.n_features_in), threads)

    def _descend(self, X: Any) -> np.ndarray:
        """Return the leaf of each row by numpy: all rows go down a level at a time."""
        X = as_finite_float32(X, self.n_features_in, self.allow_nan)
        node = np.zeros(len(X), dtype=np.int64)
        going = np.flatnonzero(self.left[node] != _LEAF)
        while going.size:
            at = node[going]
            x = X[going, self.feature[at]]
            go_left = np.where(np.isnan(x), self.missing_go_to_left[at], x <= self.threshold[at])
            node[going] = np.where(go_left, self.left[at], self.right[at])
            going = going[self.left[node[going]] != _LEAF]
        return node

    def _levels(self) -> list[np.ndarray]:
        """Return the nodes of each level, the root's first."""
        levels = [np.zeros(1, dtype=np.int64)]
        while (splits := levels[-1][self.left[levels[-1]] != _LEAF]).size:
            levels.append(np.stack([self.left[splits], self.right[splits]], axis=1).ravel())
        return levels

    def _reached(self) -> np.ndarray:
        reached = np.zeros(len(self.left), dtype=bool)
        reached[np.concatenate(self._levels())] = True
        return reached

    def _depth(self) -> int:
        return len(self._levels()) - 1

    def _compile(self, for_csr: bool = False) -> Any:
        assert kernels is not None
        feature, columns = self.feature, np.zeros(0, dtype=np.uint32)
        if for_csr:
            feature, columns = columns_read(feature, self.left != _LEAF)
        return kernels.Tree(
            feature,
            self.threshold,
            self.left,
            self.right,
            self.value,
            self.missing_go_to_left,
            columns,
            self.n_features_in,
            self.allow_nan and not for_csr,
            isa(),
        )


def columns_read(feature: np.ndarray, is_split: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each node's column among those that splits read, and these columns.

    Those that most splits read come first: of a tile of sparse rows they are side by side in the
    cache.

    Examples
    --------
    >>> columns_read(np.array([5, 9, 9, -2]), np.array([True, True, True, False]))
    (array([1, 0, 0, 0]), array([9, 5], dtype=uint32))
    """
    columns, place, counts = np.unique(feature[is_split], return_inverse=True, return_counts=True)
    if not columns.size:  # a tile has one column at least
        return np.zeros_like(feature), np.zeros(1, dtype=np.uint32)
    order = np.argsort(-counts, kind="stable")
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    places = np.zeros_like(feature)
    places[is_split] = ranks[place]
    return places, columns[order].astype(np.uint32)


def refuse_bad_splits(
    feature: np.ndarray,
    threshold: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    roots: Any,
    n_features: int,
) -> None:
    """Raise unless the children make trees of these roots, and splits read known columns."""
    if not 1 <= n_features < 2**31:
        raise ValueError(f"n_features_in must be at least 1, but it is {n_features}.")
    n_nodes = len(left)
    is_split = (left != _LEAF) | (right != _LEAF)
    children = np.concatenate([left[is_split], right[is_split]])
    if children.size and (children.min() < 0 or children.max() >= n_nodes):
        raise ValueError(f"left and right must both be -1 (a leaf) or both lie in [0, {n_nodes}).")
    # With one parent a node at most, and none for a root, no walk can come back.
    parents = np.bincount(children, minlength=n_nodes)
    parents[roots] += 1  # the walk starts there
    if parents.max() > 1:
        node = int(np.argmax(parents > 1))
        raise ValueError(f"left and right must form a tree, but node {node} is reached twice.")
    reads = feature[is_split]
    if reads.size and (reads.min() < 0 or reads.max() >= n_features):
        raise ValueError(f"feature must lie in [0, {n_features}) at every split.")
    if np.isnan(threshold[is_split]).any():
        raise ValueError("threshold must not be NaN at a split.")


def whole_number(value: Any, name: str) -> int:
    """Return an int, or say that it is none: ``int`` would cut 2.7 to 2."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, but it is {value!r}.") from None


def checked_vector(
    values: Any, name: str, dtype: type, length: int | None = None, entry: str = "node"
) -> np.ndarray:
    """Return a read-only vector of a dtype, or say what is wrong with it."""
    array = np.asarray(values)
    wanted = "fiub" if dtype is np.float64 else "iub"
    if array.dtype.kind not in wanted or array.ndim != 1:
        raise ValueError(
            f"{name} must be a vector of {np.dtype(dtype).name}, but its dtype is {array.dtype} "
            f"and its shape {array.shape}."
        )
    if length is not None and len(array) != length:
        raise ValueError(f"{name} must have {length} entries, one a {entry}, but has {len(array)}.")
    if dtype is np.bool_ and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must hold booleans, or 0 and 1, but it holds {array.tolist()}.")
    array = np.array(array, dtype=dtype)
    array.setflags(write=False)
    return array


def node_values(value: Any, n_nodes: int) -> np.ndarray:
    """Return what nodes hold as a read-only matrix of float64, or say what is wrong with it."""
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
