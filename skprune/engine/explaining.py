"""The tables that `explain` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral

from skprune.engine.layers import Layer
from skprune.engine.native import isa
from skprune.engine.planning import WIDTHS, LayerPlan, Plan

_BATCHES = (1, 8, 16, 64)  # the numbers of rows that are shown unless the caller gives one


def explain_network(engine: str, layers: Sequence[Layer], plan: Plan, n_rows: int | None) -> str:
    """Return what runs for each layer of a network, and on what.

    Parameters
    ----------
    engine : {"native", "scipy"}
        What runs the network.
    layers : sequence of Layer
        From input to output.
    plan : Plan
        The plan of these layers.
    n_rows : int or None
        Show only what runs for a batch of this many rows.
    """
    native = engine == "native"
    weights = sum(layer.weight.shape[0] * layer.weight.shape[1] for layer in layers)
    nnz = sum(layer.weight.nnz for layer in layers)
    name = f"native ({plan.isa})" if native else "scipy"
    n_in, n_out = layers[0].weight.shape[1], layers[-1].weight.shape[0]
    title = (
        f"engine {name}, {n_in} -> {n_out}, {nnz} of {weights} weights "
        f"(sparsity {1 - nnz / weights:.1%})"
    )
    source = [f"expected gains: costs of {plan.origin}"] if native else []
    return "\n".join([title, table(_layer_rows(native, layers, plan, n_rows)), *source])


def _layer_rows(
    native: bool, layers: Sequence[Layer], plan: Plan, n_rows: int | None
) -> list[list[str]]:
    counts = _BATCHES if n_rows is None else (checked_rows(n_rows),)
    tiles = [plan.widths(n) for n in counts]
    batches = ["any batch"]
    if native:
        batches = [_rows(n) for n in counts]
    if native and n_rows is not None and n_rows > 1:
        batches = [f"{n_rows} rows, {tile_counts(tiles[0])}"]
    rows = [["layer", "shape", "non-zeros", "sparsity", *batches, "activation"]]
    for i, (layer, chosen) in enumerate(zip(layers, plan.layers, strict=True)):
        n_out, n_in = layer.weight.shape
        kernels = [describe(chosen, widths) for widths in tiles] if native else ["scipy CSR"]
        alpha = f"({layer.alpha:g})" if layer.activation in ("leaky_relu", "elu") else ""
        rows.append(
            [
                layer.name or f"layer {i}",
                f"{n_out} x {n_in}",
                str(layer.weight.nnz),
                f"{1 - layer.weight.nnz / (n_out * n_in):.1%}",
                *kernels,
                layer.activation + alpha,
            ]
        )
    return rows


def describe(plan: LayerPlan, widths: Sequence[int]) -> str:
    """Return the kernel of the width that takes most of the rows, and the gain over all.

    The gain is how many times faster than dense kernels the layer is expected to be in tiles of
    these widths.
    """
    places = [WIDTHS.index(width) for width in widths]
    gain = sum(plan.dense_nanoseconds[i] for i in places) / sum(plan.nanoseconds[i] for i in places)
    width = max(set(widths), key=lambda width: (width * widths.count(width), width))
    kernel = plan.kernels[WIDTHS.index(width)]
    name = f"{plan.height}x1 blocks" if kernel == "blocks" else kernel
    tile = "row" if width == 1 else f"tile of {width}"
    return f"{name} {tile} ({gain:.1f}x)"


def tile_counts(widths: Sequence[int]) -> str:
    """Return how many tiles of each width there are.

    Examples
    --------
    >>> tile_counts([1, 16, 16]), tile_counts([16])
    ('2 x 16 + 1', '16')
    """
    counts = {width: list(widths).count(width) for width in sorted(set(widths), reverse=True)}
    return " + ".join(f"{n} x {width}" if n > 1 else str(width) for width, n in counts.items())


def explain_nodes(
    engine: str,
    shape: tuple[int, int],
    counts: Mapping[str, int],
    allow_nan: bool,
    kernels: tuple[str, str],
    n_rows: int | None,
) -> str:
    """Return what runs a tree or a forest.

    Parameters
    ----------
    engine : {"native", "scipy"}
        What runs it.
    shape : tuple of int
        Columns of ``X`` and of the predictions.
    counts : mapping of str to int
        Columns of the table: nodes, leaves and the like.
    allow_nan : bool
        Whether ``X`` may hold NaN.
    kernels : tuple of str
        What the native engine runs for up to 7 rows, and for more.
    n_rows : int or None
        Show only what runs for a batch of this many rows.
    """
    n = None if n_rows is None else checked_rows(n_rows)
    if engine != "native":
        name, batches = "scipy", {"any batch": "numpy, level by level"}
    else:
        name, batches = (
            f"native ({isa()})",
            dict(zip(("1-7 rows", "8+ rows"), kernels, strict=True)),
        )
        if n is not None:
            batches = {_rows(n): kernels[n >= 8]}
    missing = "allowed" if allow_nan else "refused"
    return f"engine {name}, {shape[0]} -> {shape[1]}\n" + table(
        [
            [*counts, "missing", *batches],
            [*map(str, counts.values()), missing, *batches.values()],
        ]
    )


def checked_rows(n_rows: int) -> int:
    """Return a number of rows to explain, or raise where it is not one."""
    if not isinstance(n_rows, Integral) or isinstance(n_rows, bool) or n_rows < 1:
        raise ValueError(f"n_rows must be None or an integer from 1, but it is {n_rows!r}.")
    return int(n_rows)


def _rows(n: int) -> str:
    return f"{n} row{'s' * (n != 1)}"


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
