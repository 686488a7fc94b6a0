"""Which kernel runs a layer: fixed rules, so that a plan can be read and repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from skprune.engine.network import Layer

# Up to so many rows run one by one; from there on a tile of eight costs less.
ROW_BATCH = 2

# Above these densities reading every weight is faster than following indices: a lone row gains
# little from each index it follows, a tile of 32 rows shares it.
ROW_DENSE_ABOVE = 0.15
TILE_DENSE_ABOVE = 0.35

# The kernels count in units of 32 rows and hold the count in 32 bits.
MAX_WIDTH = 2**27 - 1


DENSE = "dense"


class LayerPlan(NamedTuple):
    """The names of the kernels that run one layer."""

    row_kernel: str
    tile_kernel: str


def plan_layer(layer: Layer) -> LayerPlan:
    """Return the kernels for ``layer``: by its density alone, never by timing.

    For a lone row the sparse kernel goes by columns and skips the inputs that are zero, as pixels
    and ReLU outputs often are; the dense one skips them too.
    """
    n_out, n_in = layer.weight.shape
    density = layer.weight.nnz / (n_out * n_in)
    return LayerPlan(
        row_kernel=DENSE if density > ROW_DENSE_ABOVE else "sparse columns",
        tile_kernel=DENSE if density > TILE_DENSE_ABOVE else "sparse rows",
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return ``rows`` as aligned text; columns whose entries are numbers align right.

    Examples
    --------
    >>> print(table([["name", "n"], ["a", "10"], ["long", "5"]]))
    name   n
    a     10
    long   5
    """
    lines = []
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(cell[:1].isdigit() and " " not in cell for cell in c[1:]) for c in columns]
    right[0] = False
    for row in rows:
        cells = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
