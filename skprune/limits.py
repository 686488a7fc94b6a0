"""Limits: the numbers that columns of X may hold, where the model's own check is not enough."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite

if TYPE_CHECKING:
    from skprune.engine import Model

# the largest float64 that is finite when it is rounded to float32
FLOAT32_MOST = float(np.nextafter(float(np.finfo(np.float32).max) + 2.0**103, 0.0))
FLOAT64_MOST = float(np.finfo(np.float64).max)

_FEW = 4096

# NaN in a column of X
REFUSED, DENSE, ANY = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Limits:
    """What each column of X may hold.

    A model applies one check to all columns: it refuses what its float type cannot hold. Columns
    that a folded step drops or scales, or that the model never saw, need other limits.

    Parameters
    ----------
    low, high : ndarray of shape (n_features,), float64
        The least and the largest number; infinite where infinity is taken.
    missing : ndarray of shape (n_features,), uint8
        Whether X may be NaN: 0 never, 1 in a dense X, 2 in a sparse X, too.

    Examples
    --------
    >>> limits = Limits.of_columns(2, most=1e38)
    >>> limits.check(np.array([[1.0, 2.0]]), "Model")
    >>> limits.check(np.array([[1.0, 2e38]]), "Model")
    Traceback (most recent call last):
    ValueError: Input X contains infinity or a value too large for dtype('float32').
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    missing: NDArray[np.uint8]

    @classmethod
    def of_columns(cls, n_features: int, most: float = np.inf, missing: int = ANY) -> Self:
        """Return the same limits for all columns."""
        high = np.full(n_features, most)
        return cls(-high, high, np.full(n_features, missing, np.uint8))

    @classmethod
    def of_model(cls, model: Model) -> Self:
        """Return the limits that a model of the engine checks by itself."""
        missing = DENSE if model.allow_nan else REFUSED
        return cls.of_columns(model.n_features_in, most_of(model), missing)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters by name."""
        return {"low": self.low, "high": self.high, "missing": self.missing}

    def beyond(self, model: Model) -> Self | None:
        """Return None if a model checks these limits by itself, else the limits."""
        own = Limits.of_model(model).arrays
        same = all(np.array_equal(own[name], array) for name, array in self.arrays.items())
        return None if same else self

    @cached_property
    def _bound(self) -> float:
        return float(min((-self.low).min(), self.high.min()))

    @cached_property
    def _takes_nan(self) -> bool:
        return bool(self.missing.all())

    def surely_hold(self, X: np.ndarray, most: float) -> bool:
        """Return True if a quick check shows that a dense X is within the limits.

        False does not mean that it is not.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Numbers.
        most : float
            The largest number that the model takes.
        """
        bound, takes_nan = self._bound, self._takes_nan
        if bound >= most and takes_nan:
            return True
        if X.dtype.kind == "f":
            flat = X.ravel(order="K")
            # no number is larger than the root of the sum of all squares; einsum for many
            # numbers, because BLAS would start threads
            few = flat.size < _FEW
            if sqrt(np.vdot(flat, flat) if few else np.einsum("i,i", flat, flat)) <= bound:
                return True
        holds = np.abs(X) <= bound
        return bool((holds | np.isnan(X)).all() if takes_nan else holds.all())

    def check(self, X: Any, name: str) -> None:
        """Raise scikit-learn's error, for the estimator of this name, unless X keeps the limits."""
        sparse = issparse(X)
        values, columns = (X.data, X.indices) if sparse else (X, slice(None))
        nan = np.isnan(values)
        too_large = (values < self.low[columns]) | (values > self.high[columns])
        bad = np.where(nan, self.missing[columns] < (ANY if sparse else DENSE), too_large)
        if bad.any():
            found = np.where(nan, np.nan, np.inf)[bad].astype(np.float32)
            assert_all_finite(found, input_name="X", estimator_name=name)


def most_of(model: Model) -> float:
    """Return the largest number that a model of the engine takes."""
    if model.allow_infinity:
        return np.inf
    return FLOAT64_MOST if model.dtype == "float64" else FLOAT32_MOST


def blanked(X: Any, model: Model) -> Any:
    """Return X, dense or CSR, with 0 in the columns that a model of the engine does not read."""
    unread = np.ones(model.n_features_in, dtype=bool)
    unread[model.columns_read] = False
    if not unread.any():
        return X
    sparse = issparse(X)
    X = X.copy()
    if sparse:
        X.data[unread[X.indices]] = 0
    else:
        X[:, unread] = 0
    return X
