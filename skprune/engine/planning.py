"""Which kernel runs a layer: fixed rules, so that a plan can be read and repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from skprune.engine.network import Layer

# Up to so many rows run one by one; for three, a tile of eight rows costs less.
ROW_BATCH = 2

# Above these densities reading every weight is faster than following indices. A tile of rows shares
# the cost of an index, a lone row does not. Measured with AVX2 on layers from 300 x 100 to
# 1024 x 1024: lone rows break even at 0.10 to 0.12, tiles at 0.45 (8 rows) to 0.6 (32 rows).
ROW_DENSE_ABOVE = 0.11
TILE_DENSE_ABOVE = 0.45

# The kernels count in units of 32 rows and hold the count in 32 bits.
MAX_WIDTH = 2**27 - 1


class LayerPlan(NamedTuple):
    """What runs one layer: for a lone row and for a tile, every weight or the non-zeros alone."""

    dense_rows: bool
    dense_tiles: bool

    def kernel(self, n_rows: int) -> str:
        """Return the kernel for a batch of ``n_rows``.

        Examples
        --------
        >>> LayerPlan(dense_rows=True, dense_tiles=False).kernel(1)
        'dense row'
        >>> LayerPlan(dense_rows=True, dense_tiles=False).kernel(64)
        'sparse tile'
        """
        lone = n_rows <= ROW_BATCH
        dense = self.dense_rows if lone else self.dense_tiles
        return f"{'dense' if dense else 'sparse'} {'row' if lone else 'tile'}"


def plan_layer(layer: Layer) -> LayerPlan:
    """Return the plan for ``layer``: a matter of its density alone, never of timing.

    Lone rows skip the inputs that are zero; how is for the kernel to say, as only it sees the row
    (csrc/network_rows.h).
    """
    n_out, n_in = layer.weight.shape
    density = layer.weight.nnz / (n_out * n_in)
    return LayerPlan(dense_rows=density > ROW_DENSE_ABOVE, dense_tiles=density > TILE_DENSE_ABOVE)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return ``rows`` as aligned text; columns of numbers align right.

    Examples
    --------
    >>> print(table([["name", "n"], ["a", "10"], ["long", "5"]]))
    name   n
    a     10
    long   5
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    numbers = [all(_is_number(cell) for cell in column[1:]) for column in columns]
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, numbers, strict=True)
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _is_number(cell: str) -> bool:
    return cell.rstrip("%").replace(".", "", 1).isdigit()
