"""Magnitude: a weight is worth its absolute value."""

import numpy as np


def magnitude(weight: np.ndarray) -> np.ndarray:
    """Score each weight by its absolute value.

    Han, Pool, Tran and Dally (2015), "Learning both weights and connections for efficient
    neural networks", section 3: connections of small weight are removed.

    Parameters
    ----------
    weight : ndarray
        A layer's weights, of any shape.

    Returns
    -------
    score : ndarray
        ``abs(weight)``, of the same shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> magnitude(np.array([[-2.0, 0.5]]))
    array([[2. , 0.5]])
    """
    return np.abs(weight)
