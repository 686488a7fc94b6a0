"""How a sparsity is shared out over the layers, and which groups stay in each share."""

from collections.abc import Callable, Mapping
from math import ceil

import numpy as np

Scores = Mapping[str, np.ndarray]
Shapes = Mapping[str, tuple[int, ...]]
# one number for all groups of a layer, or one a group
Sizes = Mapping[str, int | np.ndarray]
Shares = list[tuple[list[str], float]]


def shares(shapes: Shapes, sparsity: float, allocation: str = "global") -> Shares:
    """Share a sparsity out over layers.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        The shape of each layer's weights.
    sparsity : float in [0, 1]
        Fraction of all weights to remove.
    allocation : {"global", "uniform"}, default="global"
        "global" removes the lowest scores wherever they stand; "uniform" removes the same
        fraction of every layer.

    Returns
    -------
    shares : list of (list of str, float)
        Layers whose scores are compared with each other, and the sparsity that they reach together.

    Examples
    --------
    >>> shares({"a": (2, 2), "b": (3, 2)}, 0.5, "global")
    [(['a', 'b'], 0.5)]
    >>> shares({"a": (2, 2), "b": (3, 2)}, 0.5, "uniform")
    [(['a'], 0.5), (['b'], 0.5)]
    """
    return ALLOCATIONS[allocation](shapes, sparsity)


def _global(shapes: Shapes, sparsity: float) -> Shares:
    return [(list(shapes), sparsity)]


def _uniform(shapes: Shapes, sparsity: float) -> Shares:
    return [([name], sparsity) for name in shapes]


ALLOCATIONS: dict[str, Callable[[Shapes, float], Shares]] = {
    "global": _global,
    "uniform": _uniform,
}


def keep_highest(scores: Scores, sizes: Sizes, sparsity: float) -> dict[str, np.ndarray]:
    """Keep the groups of the highest scores, as many as a sparsity of the weights allows.

    Parameters
    ----------
    scores : mapping of str to ndarray
        One number a group; the higher, the sooner kept. They are compared across layers, and equal
        ones are kept in the order of their positions.
    sizes : mapping of str to int or ndarray of int
        The number of weights in each group; an int where it is the same for all of a layer.
    sparsity : float in [0, 1]
        Fraction of these weights to remove. What cannot be met exactly is met from above.

    Returns
    -------
    kept : dict of str to ndarray of bool
        Of the shapes of the scores.

    Examples
    --------
    >>> import numpy as np
    >>> scores = {"a": np.array([1.0, 2.0]), "b": np.array([5.0, 0.0])}
    >>> keep_highest(scores, {"a": 1, "b": 1}, 0.5)
    {'a': array([False,  True]), 'b': array([ True, False])}
    """
    pooled = np.concatenate([np.ravel(score) for score in scores.values()])
    ends = np.cumsum([score.size for score in scores.values()])[:-1]
    kept = np.zeros(pooled.size, dtype=bool)
    same = {size if isinstance(size, int) else None for size in (sizes[name] for name in scores)}
    size = same.pop()
    if size is not None and not same:
        kept[highest(pooled, n_kept(pooled.size * size, sparsity) // size)] = True
    else:
        size_of = np.concatenate(
            [np.broadcast_to(sizes[name], score.shape).ravel() for name, score in scores.items()]
        )
        order = np.argsort(-pooled, kind="stable")
        allowed = n_kept(int(size_of.sum()), sparsity)
        kept[order[np.cumsum(size_of[order]) <= allowed]] = True
    parts = np.split(kept, ends)
    return {
        name: part.reshape(score.shape)
        for (name, score), part in zip(scores.items(), parts, strict=True)
    }


def n_kept(size: int, sparsity: float) -> int:
    """Return how many of `size` weights stay; ``0.9 * size`` must not round up to one more."""
    return size - ceil(round(sparsity * size, 6))


def highest(score: np.ndarray, count: int) -> np.ndarray:
    """Return the positions of the `count` highest scores; of equal scores, the earlier ones."""
    if count == 0:
        return np.empty(0, dtype=np.intp)
    # the count-th highest value is found in linear time; only its ties need an order
    threshold = np.partition(score, score.size - count)[score.size - count]
    above = np.flatnonzero(score > threshold)
    ties = np.flatnonzero(score == threshold)[: count - above.size]
    return np.concatenate([above, ties])
