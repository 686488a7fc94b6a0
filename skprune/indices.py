"""Indices of sparse arrays, as wide as other libraries take them."""

from typing import Any

import numpy as np


def with_short_indices(X: Any) -> Any:
    """Give a CSR array indices of 32 bits wherever these suffice.

    Most of scikit-learn's compiled code refuses others, and scipy keeps those of 64 bits that an
    array is made of.

    Parameters
    ----------
    X : csr_array
        It is changed in place.

    Returns
    -------
    csr_array
        The same one.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> X = csr_array((np.ones(2), np.array([1, 0]), np.array([0, 1, 2])))
    >>> X.indices.dtype, with_short_indices(X).indices.dtype
    (dtype('int64'), dtype('int32'))
    """
    if max(X.nnz, *X.shape) <= np.iinfo(np.int32).max:
        X.indices = X.indices.astype(np.int32, copy=False)
        X.indptr = X.indptr.astype(np.int32, copy=False)
    return X


__all__ = ["with_short_indices"]
