"""Which weights go when units go: a unit that nobody reads is dead, and so is one that is zero.

Where a layer reads another's units, a removed input of the one is a removed row of the other, and
the other way round. Whatever these functions are told of numbers holds for chances as well: they
are products, for arrays and tensors alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skprune.masks.allocation import n_kept


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
class Units:
    """A layer and its own gates.

    Attributes
    ----------
    n_outputs, n_inputs : int
        Rows and columns of the weights.
    kernel : int
        Weights between two units: 1 for a Linear.
    side : {"inputs", "outputs"}
        Which of both has gates.
    """

    n_outputs: int
    n_inputs: int
    kernel: int
    side: str

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.n_outputs * self.n_inputs * self.kernel


def living(
    layers: Mapping[str, Units], gates: Mapping[str, Any], links: Sequence[Link] = ()
) -> dict[str, tuple[Any, Any]]:
    """Tell which rows and columns of every layer's weights live.

    Parameters
    ----------
    layers : mapping of str to Units
        The layers.
    gates : mapping of str to ndarray or Tensor of shape (n_groups,)
        1 for an open gate and 0 for a closed one, or the chance that it is open.
    links : sequence of Link, default=()
        Which layers read which.

    Returns
    -------
    living : dict of str to (rows, columns)
        1 or 0, or chances, of shapes (n_outputs,) and (n_inputs,).

    Examples
    --------
    >>> import numpy as np
    >>> layers = {"a": Units(2, 3, 1, "inputs"), "b": Units(1, 2, 1, "inputs")}
    >>> gates = {"a": np.array([1, 1, 0]), "b": np.array([0, 1])}
    >>> living(layers, gates, [Link("a", "b")])["a"]
    (array([0., 1.]), array([1, 1, 0]))
    """
    rows, columns = {}, {}
    for name, layer in layers.items():
        one = gates[name][:1] * 0.0 + 1.0  # of the same kind, dtype and device as the gates
        on_inputs = layer.side == "inputs"
        rows[name] = one.repeat(layer.n_outputs) if on_inputs else gates[name]
        columns[name] = gates[name] if on_inputs else one.repeat(layer.n_inputs)
    own = dict(gates)
    for link in links:
        producer, consumer = layers[link.producer], layers[link.consumer]
        if consumer.side == "inputs":
            blocks = own[link.consumer].reshape(producer.n_outputs, -1)
            rows[link.producer] = rows[link.producer] * (1 - (1 - blocks).prod(1))
        if producer.side == "outputs" and link.keeps_zero:
            each = own[link.producer].reshape(-1, 1)
            blocks = columns[link.consumer].reshape(producer.n_outputs, -1)
            columns[link.consumer] = (blocks * each).reshape(-1)
    return {name: (rows[name], columns[name]) for name in layers}


def n_living(layers: Mapping[str, Units], alive: Mapping[str, tuple[Any, Any]]) -> Any:
    """Count the weights between living rows and columns, or compute their expected number."""
    return sum(
        layers[name].kernel * rows.sum() * columns.sum() for name, (rows, columns) in alive.items()
    )


def top_units(
    layers: Mapping[str, Units],
    scores: Mapping[str, np.ndarray],
    sparsity: float,
    links: Sequence[Link] = (),
) -> dict[str, np.ndarray]:
    """Keep the gates of the highest scores, as many as a sparsity of the weights allows.

    Parameters
    ----------
    layers : mapping of str to Units
        The layers.
    scores : mapping of str to ndarray of shape (n_groups,)
        One number a gate; the higher, the sooner kept. They are compared across layers.
    sparsity : float in [0, 1]
        Fraction of all weights to remove, those that die with others among them. Met from above.
    links : sequence of Link, default=()
        Which layers read which.

    Returns
    -------
    kept : dict of str to ndarray of bool
        One entry a gate.

    Examples
    --------
    >>> import numpy as np
    >>> layers = {"a": Units(2, 3, 1, "inputs"), "b": Units(1, 2, 1, "inputs")}
    >>> scores = {"a": np.array([3.0, 1.0, 4.0]), "b": np.array([0.0, 2.0])}
    >>> top_units(layers, scores, 0.6, [Link("a", "b")])
    {'a': array([ True, False,  True]), 'b': array([False,  True])}
    """
    pooled = np.concatenate(list(scores.values()))
    order = np.argsort(-pooled, kind="stable")
    ends = np.cumsum([score.size for score in scores.values()])[:-1]
    allowed = n_kept(sum(layer.size for layer in layers.values()), sparsity)

    def best(count: int) -> dict[str, np.ndarray]:
        kept = np.zeros(pooled.size, dtype=bool)
        kept[order[:count]] = True
        return dict(zip(scores, np.split(kept, ends), strict=True))

    # more gates never mean fewer weights, so the largest number that is allowed is found by halves
    low, high = 0, pooled.size
    while low < high:
        middle = (low + high + 1) // 2
        gates = {name: kept.astype(float) for name, kept in best(middle).items()}
        fits = n_living(layers, living(layers, gates, links)) <= allowed
        low, high = (middle, high) if fits else (low, middle - 1)
    return best(low)
