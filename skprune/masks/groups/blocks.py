"""Blocks: rows x columns of a layer's weight matrix."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from skprune.masks.allocation import Scores, Shapes
from skprune.masks.groups.base import Groups, Kept


class Blocks(Groups):
    """Rectangles of weights stay or go together.

    The weights of a layer are read as a matrix: a row for each entry of the first dimension (the
    outputs of a Linear or Conv), and all other dimensions as columns. A matrix that does not
    divide evenly has smaller blocks at its lower and right edges.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        The shape of each layer's weights.
    rows, columns : int
        The size of a block.

    Examples
    --------
    >>> import numpy as np
    >>> blocks = Blocks({"a": (2, 4)}, 2, 2)
    >>> kept = blocks.keep(blocks.pool({"a": np.array([[1, 2, 9, 0], [3, 4, 9, 9.0]])}), 0.5)
    >>> blocks.spread(kept)["a"].astype(int)
    array([[0, 0, 1, 1],
           [0, 0, 1, 1]])
    """

    def __init__(self, shapes: Shapes, rows: int, columns: int) -> None:
        super().__init__(shapes)
        self.rows = rows
        self.columns = columns

    def sizes(self) -> dict[str, int | np.ndarray]:
        """Return the number of weights in each block."""
        return {
            name: np.outer(_lengths(height, self.rows), _lengths(width, self.columns))
            for name, (height, width) in self._matrices()
        }

    def pool(self, scores: Scores) -> dict[str, np.ndarray]:
        """Return the mean over each block, of shape (blocks down, blocks across)."""
        sizes = self.sizes()
        pooled = {}
        for name, (height, width) in self._matrices():
            matrix = np.asarray(scores[name]).reshape(height, width)
            sums = np.add.reduceat(matrix, np.arange(0, height, self.rows), axis=0)
            sums = np.add.reduceat(sums, np.arange(0, width, self.columns), axis=1)
            pooled[name] = sums / sizes[name]
        return pooled

    def spread(self, kept: Mapping[str, Any]) -> Kept:
        """Return the masks of the weights, each as its block."""
        masks = {}
        for name, (height, width) in self._matrices():
            tall = kept[name].repeat(self.rows, axis=0)[:height]
            masks[name] = tall.repeat(self.columns, axis=1)[:, :width].reshape(self.shapes[name])
        return masks

    def _matrices(self) -> list[tuple[str, tuple[int, int]]]:
        return [(name, as_matrix(shape)) for name, shape in self.shapes.items()]


def as_matrix(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns of weights of any shape.

    Examples
    --------
    >>> as_matrix((8, 3, 5, 5)), as_matrix((4,))
    ((8, 75), (4, 1))
    """
    return shape[0], int(np.prod(shape[1:]))


def _lengths(length: int, step: int) -> np.ndarray:
    return np.diff(np.append(np.arange(0, length, step), length))
