"""Which weights stay, given a layer's scores and how many of them to keep."""

from collections.abc import Callable, Mapping

import numpy as np

from skprune.masks.allocation import highest


def top_masks(
    scores: Mapping[str, np.ndarray], counts: Mapping[str, int], granularity: str = "weight"
) -> dict[str, np.ndarray]:
    """Mark the weights that stay.

    Parameters
    ----------
    scores : mapping of str to ndarray
        One array a layer, of the shape of its weights; the higher, the sooner kept.
    counts : mapping of str to int
        The number of weights that each layer keeps.
    granularity : {"weight"}, default="weight"
        What is kept or removed as one: single weights.

    Returns
    -------
    masks : dict of str to ndarray of bool
        True where the weight stays. Equal scores are kept in the order of their positions.

    Examples
    --------
    >>> import numpy as np
    >>> top_masks({"a": np.array([[0.1, 0.9], [0.5, 0.2]])}, {"a": 2})
    {'a': array([[False,  True],
           [ True, False]])}
    """
    choose = GRANULARITIES[granularity]
    return {name: choose(score, counts[name]) for name, score in scores.items()}


def _weight(score: np.ndarray, count: int) -> np.ndarray:
    mask = np.zeros(score.size, dtype=bool)
    mask[highest(score.ravel(), count)] = True
    return mask.reshape(score.shape)


GRANULARITIES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"weight": _weight}
