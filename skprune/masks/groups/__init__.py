"""What is removed as one, one kind a file: single weights, n of m, blocks, units."""

import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

from skprune.masks.allocation import Shapes
from skprune.masks.groups.base import Groups, Kept
from skprune.masks.groups.blocks import Blocks
from skprune.masks.groups.n_of_m import NOfM
from skprune.masks.groups.units import Link, Units
from skprune.masks.groups.weights import Weights

# how the layers hang together: which read which, and whose outputs are those of the net
Wiring = Callable[[], tuple[Sequence[Link], set[str]]]

_EXPECTED = (
    "'weight', 'neuron', 'n:m' with whole numbers 0 < n < m, such as '2:4', or a pair of whole "
    "numbers (rows, columns), such as (4, 1)"
)


def make_groups(granularity: Any, shapes: Shapes, wiring: Wiring) -> Groups:
    """Return the groups of some layers' weights.

    Parameters
    ----------
    granularity : {"weight", "neuron"}, "n:m" or (int, int)
        What is removed as one: single weights, neurons, all but n of m weights side by side, or
        blocks of (rows, columns).
    shapes : mapping of str to tuple of int
        The shape of each layer's weights.
    wiring : callable
        Returns the links between the layers, and the names of those that give the net's outputs.
        Asked for neurons alone.

    Returns
    -------
    groups : Groups

    Raises
    ------
    ValueError
        If it is none of these.

    Examples
    --------
    >>> make_groups("2:4", {"a": (3, 8)}, lambda: ([], set())).reachable(0.5)
    0.5
    """
    if isinstance(granularity, str) and (pattern := re.fullmatch(r"(\d+):(\d+)", granularity)):
        n, m = map(int, pattern.groups())
        if 0 < n < m:
            return NOfM(shapes, n, m)
    if isinstance(granularity, str) and granularity in NAMED:
        return NAMED[granularity](shapes, wiring)
    if isinstance(granularity, tuple | list) and len(granularity) == 2:
        rows, columns = granularity
        if _is_count(rows) and _is_count(columns):
            return Blocks(shapes, int(rows), int(columns))
    raise ValueError(f"The 'granularity' parameter must be {_EXPECTED}; got {granularity!r}.")


def _is_count(n: Any) -> bool:
    return isinstance(n, Integral) and not isinstance(n, bool) and int(n) > 0


def _weights(shapes: Shapes, wiring: Wiring) -> Groups:
    return Weights(shapes)


def _neurons(shapes: Shapes, wiring: Wiring) -> Groups:
    """Return the hidden units: outputs of every layer but those whose outputs are the net's."""
    links, last = wiring()
    sides: Mapping[str, str | None] = {n: None if n in last else "outputs" for n in shapes}
    return Units(shapes, sides, links)


NAMED: dict[str, Callable[[Shapes, Wiring], Groups]] = {"weight": _weights, "neuron": _neurons}

__all__ = ["Blocks", "Groups", "Kept", "Link", "NOfM", "Units", "Weights", "make_groups"]
