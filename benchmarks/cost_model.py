"""Fit what kernels cost, and print ``skprune/engine/costs.py`` anew.

Times single layers of many shapes and densities in every kernel and tile, for each set of
instructions that this machine has, and fits nanoseconds to what the model counts: multiplies, those
that wait for memory, outputs, and the layer. The error printed beside is that
of the fit: half of the layers are within it.

    python benchmarks/cost_model.py [--isa avx2] [--seconds 0.02] > skprune/engine/costs.py
"""

import argparse
import itertools
import runpy
import sys
from pathlib import Path
from time import perf_counter
from time import process_time as clock

import numpy as np
from engine import cpu_model
from scipy.optimize import nnls

from skprune.engine import costs
from skprune.engine.native import kernels
from skprune.engine.planning import ACTIVE, KERNELS, WIDTHS, counts_of

INPUTS = (48, 200, 784, 1536)
OUTPUTS = (10, 100, 300, 1024)
DENSITIES = (0.01, 0.03, 0.1, 0.3, 0.6)
HEIGHT = 8
MOST_MULTIPLIES = 1_100_000
ROWS = 64
TOGETHER = 2**24  # bytes of the networks that take turns: more than a core's own caches hold


def time_of(call, seconds):
    """Return the least processor time of a call: what others do on the machine only adds to it."""
    call()
    start = clock()
    call()
    repeats = max(1, round(5e-4 / max(clock() - start, 1e-7)))
    least, end = np.inf, perf_counter() + seconds
    while perf_counter() < end or least == np.inf:
        start = clock()
        for _ in range(repeats):
            call()
        least = min(least, (clock() - start) / repeats)
    return least * 1e9


def layer_of(rng, n_in, n_out, density, kernel):
    """Return the arrays of a random CSR matrix; for blocks, eight outputs share their inputs."""
    height = HEIGHT if kernel == "blocks" else 1
    mask = np.repeat(rng.random((-(-n_out // height), n_in)) < density, height, axis=0)[:n_out]
    starts = np.r_[0, np.cumsum(mask.sum(axis=1))].astype(np.int64)
    columns = np.nonzero(mask)[1].astype(np.uint32)
    return starts, columns, rng.normal(size=len(columns)).astype(np.float32)


def network_of(isa, width, n_in, n_out, arrays, kernel):
    steps = np.full(65, WIDTHS.index(width), np.uint8)
    nothing = np.zeros(0, np.uint32)
    native = kernels.Network(n_in, nothing, nothing.astype(np.float32), steps, isa)
    order = np.full(-(-n_out // HEIGHT) * HEIGHT, n_out, np.uint32)
    order[:n_out] = np.arange(n_out)
    layouts = np.full(5, KERNELS.index(kernel), np.uint8)
    bias = np.zeros(n_out, np.float32)
    native.add_layer(n_out, *arrays, bias, 1, 0.0, layouts, HEIGHT, order)
    # Its outputs stay in the tile, as those of hidden layers do: one unit, which reads nothing, is
    # all that goes back to rows.
    empty = np.zeros(2, np.int64), nothing, nothing.astype(np.float32)
    sparse = np.full(5, KERNELS.index("sparse"), np.uint8)
    native.add_layer(1, *empty, np.zeros(1, np.float32), 0, 0.0, sparse, HEIGHT, nothing)
    return native


def rows_of(rng, n_in):
    X = rng.normal(size=(ROWS, n_in)).astype(np.float32)
    X[rng.random(X.shape) > ACTIVE] = 0
    return X


def fit(counts, nanoseconds):
    """Return non-negative coefficients that are as right for short times as for long ones."""
    scaled = np.asarray(counts, float) / np.asarray(nanoseconds)[:, None]
    coefficients, _ = nnls(scaled, np.ones(len(nanoseconds)))
    error = np.median(np.abs(scaled @ coefficients - 1))
    return coefficients, error


def fit_copy(isa, width, rng, seconds):
    counts, times = [], []
    for n_in in (16, *INPUTS, 3000):
        arrays = layer_of(rng, n_in, 1, 0.0, "sparse")
        native = network_of(isa, width, n_in, 1, arrays, "sparse")
        X = rows_of(rng, n_in)
        times.append(time_of(lambda n=native, X=X: n.run(X, 1, 2), seconds) * width / ROWS)
        counts.append((n_in, 1))
    return fit(counts, times)


def copies_of(held):
    """Return how many networks take turns, row by row: what a cache does not hold is read anew.

    The weights of a lone row that are too many for the second cache wait for memory, in a network
    whose other layers go by in between. One layer on its own would find them in a larger cache.
    """
    return 1 if held <= costs.SECOND_CACHE else -(-TOGETHER // held)


def run_all(natives, X):
    if len(natives) == 1:
        natives[0].run(X, 1, 2)
        return
    for i in range(len(X)):
        for native in natives:
            native.run(X[i : i + 1], 1, 2)


def fit_kernel(isa, kernel, width, copy, rng, seconds):
    counts, times = [], []
    for n_in, n_out, density in itertools.product(INPUTS, OUTPUTS, DENSITIES):
        if kernel == "dense" and density != DENSITIES[-1]:
            continue  # all densities are one to it
        arrays = layer_of(rng, n_in, n_out, density, kernel)
        multiplies = n_in * -(-n_out // 8) * 8 if kernel == "dense" else len(arrays[1])
        if multiplies > MOST_MULTIPLIES:
            continue
        held = 4 * multiplies if width == 1 else 0
        natives = [
            network_of(isa, width, n_in, n_out, arrays, kernel) for _ in range(copies_of(held))
        ]
        X = rows_of(rng, n_in)
        tile = time_of(lambda: run_all(natives, X), seconds) * width / len(X) / len(natives)  # noqa: B023
        counts.append(counts_of(kernel, width, multiplies, n_in, n_out))
        # no less than half, should the copy have been slow when it was measured
        times.append(max(tile - copy @ (n_in, 1), tile / 2))
    return fit(counts, times)


def halved(table):
    """Return what vectors of half the width are expected to cost.

    A tile has twice the vectors, each of which costs what one of the wider did: multiplies, waits
    and outputs cost twice as much, the layer the same. So do the multiplies of a lone row, unless
    it is sparse: these are scalars.
    """
    derived = {}
    for (kernel, width), (multiply, wait, output, layer) in table.items():
        twice = 1 if (kernel, width) == ("sparse", 1) else 2
        derived[kernel, width] = twice * multiply, twice * wait, twice * output, layer
    return derived


def halved_copy(table):
    return {width: (2 * an_input, a_tile) for width, (an_input, a_tile) in table.items()}


def geometric_mean(one, other):
    """Return the geometric means of two tables; of a zero and another figure, the half of that."""
    return {
        key: tuple(
            np.sqrt(a * b) if a and b else (a + b) / 2
            for a, b in zip(one[key], other[key], strict=True)
        )
        for key in one
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", nargs="*", default=kernels.available_isas())
    parser.add_argument("--seconds", type=float, default=0.02, help="for each shape and kernel")
    parser.add_argument(
        "--mean", type=Path, help="figures of another machine to take the mean with"
    )
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    fitted, copies, origins = dict(costs.COSTS), dict(costs.COPY), dict(costs.ORIGINS)
    for isa in options.isa:
        fitted[isa], copies[isa] = {}, {}
        origins[isa] = f"measured on {cpu_model()}"
        for width in WIDTHS:
            copies[isa][width], error = fit_copy(isa, width, rng, options.seconds)
            print(f"{isa} copy {width}: {error:.0%}", file=sys.stderr)
        for kernel, width in itertools.product(KERNELS, WIDTHS):
            found = fit_kernel(isa, kernel, width, copies[isa][width], rng, options.seconds)
            fitted[isa][kernel, width], error = found
            print(f"{isa} {kernel} {width}: {error:.0%}", file=sys.stderr)
        if options.mean:
            other = runpy.run_path(str(options.mean))
            fitted[isa] = geometric_mean(fitted[isa], other["COSTS"][isa])
            copies[isa] = geometric_mean(copies[isa], other["COPY"][isa])
            origins[isa] = f"geometric mean: {origins[isa]}, {other['ORIGINS'][isa]}"
    if "neon" not in options.isa:
        fitted["neon"], copies["neon"] = halved(fitted["avx2"]), halved_copy(copies["avx2"])
    print(source_of(fitted, copies, origins), end="")


def source_of(fitted, copies, origins):
    """Return the module, with the figures in place of those it has."""

    def numbers(values):
        return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"

    head = Path(costs.__file__).read_text(encoding="utf-8").split("ORIGINS:")[0]
    lines = ["ORIGINS: dict[str, str] = {"]
    lines += [f'    "{isa}": "{origin}",' for isa, origin in origins.items()]
    lines += [
        "}",
        "",
        "# For a kernel in tiles of a width: a multiply, what it costs more where it",
    ]
    lines += ["# waits for memory, an output, and the layer."]
    lines += ["COSTS: dict[str, dict[tuple[str, int], tuple[float, float, float, float]]] = {"]
    for isa, table in fitted.items():
        lines += [f'    "{isa}": {{']
        lines += [f'        ("{k}", {w}): {numbers(c)},' for (k, w), c in table.items()]
        lines += ["    },"]
    lines += ["}", "", "# To bring in a tile of a width: an input, and the tile."]
    lines += ["COPY: dict[str, dict[int, tuple[float, float]]] = {"]
    for isa, table in copies.items():
        lines += [f'    "{isa}": {{']
        lines += [f"        {width}: {numbers(c)}," for width, c in table.items()]
        lines += ["    },"]
    return head + "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    main()
