"""One decision tree and how it predicts: `Tree`."""

from __future__ import annotations

from typing import Any

import numpy as np

from skprune.engine.native import isa, kernels
from skprune.engine.nodes import Nodes


class Tree(Nodes):
    """A binary decision tree, run by compiled kernels or by numpy.

    The arrays are scikit-learn's ``tree_``: node 0 is the root, a row goes left where
    ``float32(x[feature]) <= threshold``.

    Parameters
    ----------
    feature : array-like of shape (n_nodes,), int
        The column that each split reads; ignored at leaves.
    threshold : array-like of shape (n_nodes,), float64
        May be infinite, not NaN.
    left, right : array-like of shape (n_nodes,), int
        Children; -1 in both marks a leaf.
    value : array-like of shape (n_nodes, n_values), float64
        The prediction at each leaf.
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
        Columns of ``X``, columns of the predictions, and leaves and nodes that the root reaches.
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

    _kernels = ("row by row", "8 rows interleaved")

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
        super().__init__(
            feature, threshold, left, right, value, missing_go_to_left,
            None, n_features_in, allow_nan,
        )  # fmt: skip
        self.n_outputs = self.value.shape[1]
        self._use(engine)

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

    def __repr__(self) -> str:
        return f"Tree({self.n_nodes} nodes, {self.n_leaves} leaves, engine={self.engine!r})"

    def _counts(self) -> dict[str, int]:
        return {"nodes": self.n_nodes, "leaves": self.n_leaves, "depth": self._depth}

    def _descend(self, X: Any) -> np.ndarray:
        return super()._descend(X)[:, 0]

    def _compile(self, for_csr: bool = False) -> Any:
        assert kernels is not None
        feature, columns = self._columns_for(for_csr)
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
