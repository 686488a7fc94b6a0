"""What all kinds of groups share: which weights go together, and which groups stay."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import floor, prod
from typing import Any, ClassVar

import numpy as np

from skprune.masks.allocation import Scores, Shapes, keep_highest, shares

Kept = dict[str, np.ndarray]


class Groups(ABC):
    """Weights that are removed together, for some layers.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        The shape of each layer's weights.

    Attributes
    ----------
    n_weights : int
        Weights of all layers.
    can_rewire : bool
        Whether any group can take the place of any other in its layer.
    can_return : bool
        Whether a group that is zero gets a gradient again once its mask opens.
    """

    can_rewire: ClassVar[bool] = True
    can_return: ClassVar[bool] = True

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = dict(shapes)
        self.n_weights = sum(prod(shape) for shape in self.shapes.values())

    @abstractmethod
    def sizes(self) -> dict[str, int | np.ndarray]:
        """Return the number of weights in each group; an int where a layer's are all alike."""

    @abstractmethod
    def pool(self, scores: Scores) -> dict[str, np.ndarray]:
        """Return one score a group: the mean over its weights.

        Parameters
        ----------
        scores : mapping of str to ndarray
            One array a layer, of the shape of its weights.
        """

    @abstractmethod
    def spread(self, kept: Mapping[str, Any]) -> Kept:
        """Return the masks of the weights that belong to some groups.

        Parameters
        ----------
        kept : mapping of str to ndarray of bool
            One entry a group, True where it stays.

        Returns
        -------
        masks : dict of str to ndarray of bool
            Of the shapes of the weights.
        """

    def outputs(self, kept: Mapping[str, Any]) -> Kept:
        """Return which outputs of each layer stay, where groups take whole outputs along.

        Parameters
        ----------
        kept : mapping of str to ndarray of bool
            One entry a group, True where it stays.

        Returns
        -------
        outputs : dict of str to ndarray of bool of shape (n_outputs,)
            Empty for groups that are made of weights alone.
        """
        return {}

    def reachable(self, sparsity: float) -> float:
        """Return the sparsity that these groups reach where this one is asked for.

        Raises
        ------
        ValueError
            If groups of this kind cannot reach as much.
        """
        return sparsity

    def keep(self, scores: Scores, sparsity: float, allocation: str = "global") -> Kept:
        """Return which groups stay: those of the highest scores.

        Parameters
        ----------
        scores : mapping of str to ndarray
            One number a group, as `pool` returns them; the higher, the sooner kept. Equal scores
            are kept in the order of their positions.
        sparsity : float in [0, 1]
            Fraction of all weights to remove. Met from above where groups cannot meet it exactly.
        allocation : str, default="global"
            How the sparsity is shared out over the layers; see :mod:`skprune.masks.allocation`.

        Returns
        -------
        kept : dict of str to ndarray of bool
            Of the shapes of the scores.
        """
        sizes = self.sizes()
        kept: Kept = {}
        for names, share in shares(self.shapes, sparsity, allocation):
            kept |= keep_highest({n: scores[n] for n in names}, sizes, share)
        return {name: kept[name] for name in self.shapes}

    def density(self, kept: Mapping[str, Any]) -> Any:
        """Return the fraction of the weights that stay.

        Parameters
        ----------
        kept : mapping of str to ndarray or Tensor
            One number a group: 1 where it stays and 0 where it goes, or the probability of it.
        """
        sizes = self.sizes()
        stay = sum((kept[name] * _like(sizes[name], kept[name])).sum() for name in self.shapes)
        return stay / self.n_weights


def _like(sizes: int | np.ndarray, numbers: Any) -> Any:
    """Return sizes that can be multiplied with an array or with a tensor."""
    if isinstance(sizes, int) or isinstance(numbers, np.ndarray):
        return sizes
    return (numbers * 1.0).new_tensor(sizes)  # of bool, sizes would be 1


def rounded_down(sparsity: float) -> float:
    """Return the sparsity with four decimals, never above it, so that an error can advise it.

    Examples
    --------
    >>> rounded_down(2 / 3), rounded_down(0.29)
    (0.6666, 0.29)
    """
    return floor(sparsity * 1e4 + 1e-6) / 1e4
