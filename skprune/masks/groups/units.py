"""Units: the outputs of a layer, or its inputs, with all the weights that depend on them.

A unit that nobody reads is dead, and so is one that is zero. So where one layer reads another's
units, a removed input of the one is a removed row of the other, and the other way round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skprune.masks.allocation import Scores, Shapes, n_kept
from skprune.masks.groups.base import Groups, Kept, rounded_down


class Link(NamedTuple):
    """One layer reads the units of another.

    Attributes
    ----------
    producer, consumer : str
        Names of the layers.
    keeps_zero : bool
        Whether a unit whose weights and bias are zero arrives as zero.
    """

    producer: str
    consumer: str
    keeps_zero: bool = True


@dataclass(frozen=True)
class Layer:
    """A layer and which of its units are groups.

    Attributes
    ----------
    n_outputs, n_inputs : int
        Rows and columns of the weights.
    kernel : int
        Weights between two units: 1 for a Linear.
    side : {"inputs", "outputs"} or None
        Which units are groups; None where the layer has none of its own.
    """

    n_outputs: int
    n_inputs: int
    kernel: int
    side: str | None

    @classmethod
    def of(cls, shape: tuple[int, ...], side: str | None) -> "Layer":
        """Return the layer whose weights have a shape."""
        n_outputs, n_inputs, *kernel = shape
        return cls(n_outputs, n_inputs, int(np.prod(kernel)), side)

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return {"outputs": self.n_outputs, "inputs": self.n_inputs, None: 0}[self.side]


class Units(Groups):
    r"""Units stay or go with all the weights that lead to them and from them.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        The shape of each layer's weights, (outputs, inputs, \*kernel).
    sides : mapping of str to {"inputs", "outputs"} or None
        Which units of each layer are groups.
    links : sequence of Link, default=()
        Which layers read which.

    Examples
    --------
    >>> import numpy as np
    >>> units = Units({"a": (2, 3), "b": (1, 2)}, {"a": "outputs", "b": None}, [Link("a", "b")])
    >>> kept = units.keep({"a": np.array([1.0, 2.0]), "b": np.zeros(0)}, sparsity=0.5)
    >>> units.spread(kept)["b"]
    array([[False,  True]])
    """

    can_rewire = False
    can_return = False  # nothing leads to a dead unit, and nothing reads it

    def __init__(
        self,
        shapes: Shapes,
        sides: Mapping[str, str | None],
        links: Sequence[Link] = (),
    ) -> None:
        super().__init__(shapes)
        self.layers = {name: Layer.of(shape, sides[name]) for name, shape in self.shapes.items()}
        self.links = links

    def sizes(self) -> dict[str, int | np.ndarray]:
        """Return the number of weights on the layer's own side of each unit."""
        return {
            name: int(np.prod(self.shapes[name])) // max(1, layer.n_groups)
            for name, layer in self.layers.items()
        }

    def pool(self, scores: Scores) -> dict[str, np.ndarray]:
        """Return the mean over the weights of each unit."""
        pooled = {}
        for name, layer in self.layers.items():
            if layer.side is None:
                pooled[name] = np.zeros(0)
            else:
                axis = 0 if layer.side == "outputs" else 1
                others = tuple(i for i in range(scores[name].ndim) if i != axis)
                pooled[name] = np.mean(scores[name], axis=others)
        return pooled

    def living(self, kept: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Return which rows and columns of every layer's weights stay.

        Parameters
        ----------
        kept : mapping of str to ndarray or Tensor of shape (n_groups,)
            1 for a unit that stays and 0 for one that goes, or the probability that it stays: the
            results are products of these, whatever they are.

        Returns
        -------
        living : dict of str to (rows, columns)
            1 or 0, or probabilities, of shapes (n_outputs,) and (n_inputs,).

        Examples
        --------
        >>> import numpy as np
        >>> sides = {"a": "inputs", "b": "inputs"}
        >>> units = Units({"a": (2, 3), "b": (1, 2)}, sides, [Link("a", "b")])
        >>> units.living({"a": np.array([1, 1, 0]), "b": np.array([0, 1])})["a"]
        (array([0., 1.]), array([1, 1, 0]))
        """
        rows, columns = {}, {}
        one = self._one(kept)
        for name, layer in self.layers.items():
            rows[name] = kept[name] if layer.side == "outputs" else one.repeat(layer.n_outputs)
            columns[name] = kept[name] if layer.side == "inputs" else one.repeat(layer.n_inputs)
        own = dict(kept)
        for link in self.links:
            producer, consumer = self.layers[link.producer], self.layers[link.consumer]
            if consumer.side == "inputs":
                blocks = own[link.consumer].reshape(producer.n_outputs, -1)
                rows[link.producer] = rows[link.producer] * (1 - (1 - blocks).prod(1))
            if producer.side == "outputs" and link.keeps_zero:
                each = own[link.producer].reshape(-1, 1)
                blocks = columns[link.consumer].reshape(producer.n_outputs, -1)
                columns[link.consumer] = (blocks * each).reshape(-1)
        return {name: (rows[name], columns[name]) for name in self.layers}

    def _one(self, kept: Mapping[str, Any]) -> Any:
        """Return 1 in an array or tensor of the same kind, dtype and device as the groups."""
        some = next(kept[name] for name, layer in self.layers.items() if layer.n_groups)
        return some[:1] * 0.0 + 1.0

    def density(self, kept: Mapping[str, Any]) -> Any:
        """Return the fraction of the weights that stay, or its expectation."""
        return self._n_living(kept) / self.n_weights

    def _n_living(self, kept: Mapping[str, Any]) -> Any:
        return sum(
            self.layers[name].kernel * rows.sum() * columns.sum()
            for name, (rows, columns) in self.living(kept).items()
        )

    def spread(self, kept: Mapping[str, Any]) -> Kept:
        """Return masks of the weights between living units."""
        masks = {}
        for name, (rows, columns) in self._alive(kept).items():
            shape = self.shapes[name]
            mask = (rows[:, None] & columns[None, :]).reshape(*shape[:2], *[1] * (len(shape) - 2))
            masks[name] = np.broadcast_to(mask, shape).copy()
        return masks

    def outputs(self, kept: Mapping[str, Any]) -> Kept:
        """Return which outputs of each layer live."""
        return {name: rows for name, (rows, _) in self._alive(kept).items()}

    def _alive(self, kept: Mapping[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        living = self.living({name: np.asarray(each, dtype=float) for name, each in kept.items()})
        return {name: (rows > 0, columns > 0) for name, (rows, columns) in living.items()}

    def reachable(self, sparsity: float) -> float:
        """Return the sparsity itself; refuse one that remains out of reach without any unit."""
        none = {name: np.zeros(layer.n_groups) for name, layer in self.layers.items()}
        most = 1 - float(self.density(none)) if any(each.size for each in none.values()) else 0.0
        if sparsity > most + 1e-9:
            fixed = [name for name, layer in self.layers.items() if layer.side is None]
            raise ValueError(
                f"sparsity={sparsity!r} is out of reach of granularity='neuron', which removes "
                f"{rounded_down(most)!r} of the weights at most: the outputs of {fixed} stay, and "
                f"the inputs of a layer go only where one layer alone feeds it. Lower sparsity, "
                f"leave these layers out of layers, or take another granularity."
            )
        return sparsity

    def keep(self, scores: Scores, sparsity: float, allocation: str = "global") -> Kept:
        """Return which units stay: those of the highest scores, or an equal share of every layer.

        The weights that go with others are counted, too, so units are removed until the weights of
        all layers together are as sparse as asked for. Equal scores are kept in the order of their
        positions.
        """
        if allocation != "global":
            scores = {name: _share_of_rank(score) for name, score in scores.items()}
        pooled = np.concatenate([scores[name] for name in self.layers])
        order = np.argsort(-pooled, kind="stable")
        ends = np.cumsum([scores[name].size for name in self.layers])[:-1]
        allowed = n_kept(self.n_weights, sparsity)

        def best(count: int) -> Kept:
            kept = np.zeros(pooled.size, dtype=bool)
            kept[order[:count]] = True
            return dict(zip(self.layers, np.split(kept, ends), strict=True))

        def n_weights(kept: Kept) -> float:
            numbers = {name: each.astype(float) for name, each in kept.items()}
            return float(self._n_living(numbers))

        # more units never mean fewer weights, so the largest number that is allowed is found by
        # halves
        low, high = 0, pooled.size
        while low < high:
            middle = (low + high + 1) // 2
            fits = n_weights(best(middle)) <= allowed
            low, high = (middle, high) if fits else (low, middle - 1)
        return best(low)


def _share_of_rank(score: np.ndarray) -> np.ndarray:
    """Return the rank of each unit in its layer, from 1 for the lowest, as a share of the units."""
    places = np.empty(score.size)
    places[np.argsort(-score, kind="stable")] = np.arange(score.size, 0, -1)
    return places / max(1, score.size)
