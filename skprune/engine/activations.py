"""The activations, as numpy writes them: what the kernels' approximations are held against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import erf, expit

# One signature for all: (Z, alpha) -> activated Z, where the columns of Z are the samples.
_FORMULAS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "identity": lambda z, alpha: z,
    "relu": lambda z, alpha: np.maximum(z, 0),
    "leaky_relu": lambda z, alpha: np.where(z < 0, alpha * z, z),
    "elu": lambda z, alpha: np.where(z < 0, alpha * np.expm1(np.minimum(z, 0)), z),
    "gelu": lambda z, alpha: 0.5 * z * (1 + erf(z / np.sqrt(2))),
    "gelu_tanh": lambda z, alpha: (
        0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    ),
    "tanh": lambda z, alpha: np.tanh(z),
    "sigmoid": lambda z, alpha: expit(z),
    "softmax": lambda z, alpha: np.exp(_log_softmax(z)),
    "log_softmax": lambda z, alpha: _log_softmax(z),
}

# The position of a name is also its number in the kernels (csrc/network.h).
ACTIVATIONS: tuple[str, ...] = tuple(_FORMULAS)


def activate(z: np.ndarray, name: str, alpha: float = 0.0) -> np.ndarray:
    """Apply one activation to ``z`` of shape (n_units, n_rows).

    Examples
    --------
    >>> activate(np.float32([[-2.0, 3.0]]), "leaky_relu", 0.5)
    array([[-1.,  3.]], dtype=float32)
    """
    return _FORMULAS[name](z, alpha).astype(z.dtype, copy=False)


def _log_softmax(z: np.ndarray) -> np.ndarray:
    shifted = z - z.max(axis=0)
    return shifted - np.log(np.exp(shifted).sum(axis=0))
