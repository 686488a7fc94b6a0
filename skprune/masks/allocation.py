"""How many weights each layer keeps, given all layers' scores and one sparsity."""

from collections.abc import Callable, Mapping
from math import ceil

import numpy as np

Scores = Mapping[str, np.ndarray]


def keep_counts(scores: Scores, sparsity: float, allocation: str = "global") -> dict[str, int]:
    """Share a sparsity out over the layers.

    Parameters
    ----------
    scores : mapping of str to ndarray
        One array a layer, of the shape of its weights; the higher, the sooner kept.
    sparsity : float in [0, 1]
        Fraction of the weights to remove. What cannot be met exactly is met from above.
    allocation : {"global", "uniform"}, default="global"
        "global" removes the lowest scores wherever they stand; "uniform" removes the same
        fraction of every layer.

    Returns
    -------
    counts : dict of str to int
        The number of weights that each layer keeps.

    Examples
    --------
    >>> import numpy as np
    >>> scores = {"a": np.array([1.0, 2.0, 3.0, 4.0]), "b": np.array([5.0, 6.0, 7.0, 0.0])}
    >>> keep_counts(scores, 0.5, "global")
    {'a': 1, 'b': 3}
    >>> keep_counts(scores, 0.5, "uniform")
    {'a': 2, 'b': 2}
    """
    return ALLOCATIONS[allocation](scores, sparsity)


def n_kept(size: int, sparsity: float) -> int:
    """Count what is left of `size` weights; ``0.9 * size`` must not round up to one more."""
    return size - ceil(round(sparsity * size, 6))


def _global(scores: Scores, sparsity: float) -> dict[str, int]:
    pooled = np.concatenate([score.ravel() for score in scores.values()])
    layer = np.repeat(np.arange(len(scores)), [score.size for score in scores.values()])
    kept = layer[highest(pooled, n_kept(pooled.size, sparsity))]
    return dict(zip(scores, np.bincount(kept, minlength=len(scores)).tolist(), strict=True))


def _uniform(scores: Scores, sparsity: float) -> dict[str, int]:
    return {name: n_kept(score.size, sparsity) for name, score in scores.items()}


def highest(score: np.ndarray, count: int) -> np.ndarray:
    """Find the positions of the `count` highest scores; of equal scores, the earlier positions."""
    if count == 0:
        return np.empty(0, dtype=np.intp)
    # the count-th highest value is found in linear time; only its ties need an order
    threshold = np.partition(score, score.size - count)[score.size - count]
    above = np.flatnonzero(score > threshold)
    ties = np.flatnonzero(score == threshold)[: count - above.size]
    return np.concatenate([above, ties])


ALLOCATIONS: dict[str, Callable[[Scores, float], dict[str, int]]] = {
    "global": _global,
    "uniform": _uniform,
}
