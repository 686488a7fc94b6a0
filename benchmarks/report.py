"""What `engine.py` measured, from its JSON: tables, the targets, and a figure.

    python benchmarks/report.py benchmarks/engine.json                  # prints all of it
    python benchmarks/report.py benchmarks/engine.json --refresh        # README.md, docs, figure

`--refresh` writes between the marks that name `engine.json` in `benchmarks/README.md` and in
`docs/benchmarks.rst`, and draws the figure beside the JSON. Nothing is measured here.
"""

import argparse
import json
from collections.abc import Iterator
from io import BytesIO
from math import exp, log
from pathlib import Path
from typing import NamedTuple

from skprune.engine.explaining import table

HERE = Path(__file__).parent
MASKS = ("uniform", "mnist")
NETS = {"lenet": "784-300-100-10", "wide": "784-1024-1024-10"}

# What is aimed at: how many times ours a peer takes, as the geometric mean over cells ...
MEANS = {"DeepSparse": 2.0, "scipy CSR": 2.5, "onnxruntime": 3.5}
# ... onnxruntime on the wide net at 95%, by rows ...
WIDE_AT_95 = {1: 3.0, 16: 5.0, 64: 6.5, 1024: 8.0}
# ... multiply-adds of non-zeros over those that the core could make, at 90% and 95% ...
OF_PEAK = {"lenet": 0.5, "wide": 0.35}
# ... and calls for one row, by what they are measured beside.
CALLS = {"onnxruntime": 2.0, "Pipeline": 5.0}

Cell = dict
Rows = list[list[str]]


class Section(NamedTuple):
    title: str
    rows: Rows  # the first is the head


def many(threads: int) -> str:
    return "one thread" if threads == 1 else f"{threads} threads"


def place(cell: Cell) -> str:
    """Say where in the table a cell stands."""
    net = f"{cell['net']}, {cell['masks']}, {many(cell['threads'])}"
    return f"{net}, {cell['sparsity']:.0%}, {cell['batch']}"


def line(cell: Cell) -> str:
    """Put a cell in a line, to be read while others are measured."""
    ratios = ", ".join(f"{peer} {r[0]:.2f}" for peer, r in cell["ratios"].items())
    return f"{place(cell)}: {cell['microseconds']['skprune']:.1f} us; {ratios}"


def quoted(interval: list[float], digits: int = 2) -> str:
    middle, low, high = (f"{value:.{digits}f}" for value in interval)
    return f"{middle} ({low}-{high})"


def percent(interval: list[float]) -> str:
    middle, low, high = (f"{100 * value:.0f}" for value in interval)
    return f"{middle}% ({low}-{high})"


def ratio(interval: list[float]) -> str:
    return quoted(interval, 2 if interval[0] < 10 else 1)


def peers_of(cells: list[Cell]) -> list[str]:
    return list(dict.fromkeys(peer for cell in cells for peer in cell["ratios"]))


def of_ideal(cell: Cell) -> float | None:
    """Return the speed-up over the dense onnxruntime, over 1 / density."""
    found = cell["ratios"].get("onnxruntime")
    return found and found[0] * (1 - cell["sparsity"])


def grouped(cells: list[Cell], *keys: str) -> dict[tuple, list[Cell]]:
    groups: dict[tuple, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(tuple(cell[key] for key in keys), []).append(cell)
    return groups


def cell_tables(results: dict) -> Iterator[Section]:
    """Yield a table a net, kind of masks and number of threads."""
    groups = grouped(results["cells"], "threads", "net", "masks")
    for (threads, net, masks), cells in groups.items():
        peers = peers_of(cells)
        last = "of peak" if threads == 1 else "one thread / skprune"
        head = ["sparsity, batch", "skprune, us", *(f"{peer} / skprune" for peer in peers)]
        rows = [[*head, "of ideal", last]]
        for cell in cells:
            share = of_ideal(cell)
            rows.append(
                [
                    f"{cell['sparsity']:.0%}, {cell['batch']}",
                    f"{cell['microseconds']['skprune']:.1f}",
                    *(ratio(cell["ratios"][p]) if p in cell["ratios"] else "-" for p in peers),
                    "-" if share is None else f"{share:.0%}",
                    percent(cell["of_peak"])
                    if "of_peak" in cell
                    else quoted(cell["speedup"])
                    if "speedup" in cell
                    else "-",
                ]
            )
        yield Section(f"{NETS[net]}, {masks} masks, {many(threads)}", rows)


def means(results: dict) -> Section:
    """Return, for each peer and number of threads, its mean ratio and where it is smallest."""
    rows = [["peer", "threads", "masks", "geometric mean", "at least", "smallest", "slower"]]
    groups = grouped(results["cells"], "threads", "masks")
    for (threads,), cells in grouped(results["cells"], "threads").items():
        if len({cell["masks"] for cell in cells}) > 1:
            groups[threads, "all"] = cells
    for (threads, masks), cells in sorted(groups.items()):
        for peer in peers_of(cells):
            found = [(cell["ratios"][peer], cell) for cell in cells if peer in cell["ratios"]]
            mean = exp(sum(log(r[0]) for r, _ in found) / len(found))
            least, where = min(found, key=lambda pair: pair[0][0])
            n_slower = sum(r[2] < 1 for r, _ in found)
            floor = MEANS.get(peer)
            smallest = f"{least[0]:.2f}: {where['net']}, {where['sparsity']:.0%}, {where['batch']}"
            rows.append(
                [
                    peer,
                    str(threads),
                    masks,
                    f"{mean:.2f}",
                    "-" if floor is None else f"{floor:g}, {'met' if mean >= floor else 'missed'}",
                    smallest,
                    f"{n_slower} of {len(found)}",
                ]
            )
    return Section("Mean ratios (slower: cells whose interval lies below 1)", rows)


def slower(results: dict) -> Section:
    rows = [["cell", "peer", "peer / skprune"]]
    for cell in results["cells"]:
        rows += [[place(cell), peer, ratio(r)] for peer, r in cell["ratios"].items() if r[2] < 1]
    return Section("Cells where skprune is slower", rows)


def targets(results: dict) -> Section:
    """Return what is aimed at in single cells, what came out, and whether that is enough."""
    rows = [["what", "measured", "at least", "met"]]

    def add(what: str, interval: list[float], floor: float, show=quoted) -> None:
        at_least = f"{floor:.0%}" if show is percent else f"{floor:g}"
        rows.append([what, show(interval), at_least, "yes" if interval[0] >= floor else "no"])

    for cell in results["cells"]:
        wide = cell["net"] == "wide" and round(cell["sparsity"], 4) == 0.95
        if (
            wide
            and cell["threads"] == 1
            and cell["batch"] in WIDE_AT_95
            and "onnxruntime" in cell["ratios"]
        ):
            floor = WIDE_AT_95[cell["batch"]]
            add(f"onnxruntime: {place(cell)}", cell["ratios"]["onnxruntime"], floor)
    for cell in results["cells"]:
        if "of_peak" in cell and 0.9 <= round(cell["sparsity"], 4) <= 0.95:
            add(f"of peak: {place(cell)}", cell["of_peak"], OF_PEAK[cell["net"]], percent)
    for call in results["calls"]:
        for peer, interval in call["ratios"].items():
            add(f"one row: {call['call']} / {peer}", interval, CALLS[peer])
    return Section("Targets", rows)


def one_row_calls(results: dict) -> Section:
    rows = [["one row", "skprune, us", "beside", "us", "ratio"]]
    for call in results["calls"]:
        micros = call["microseconds"]
        for peer, interval in call["ratios"].items():
            cells = [f"{micros['skprune']:.1f}", peer, f"{micros[peer]:.1f}", ratio(interval)]
            rows.append([call["call"], *cells])
    return Section("Calls of the public interface", rows)


def about(results: dict) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items())
    hardware = f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']} at the start"
    text = f"{hardware}, {machine['isa']}; {versions}."
    if results["accuracy"]:
        scores = ", ".join(f"{name} {score:.1%}" for name, score in results["accuracy"].items())
        text += f" Accuracy of the nets pruned on MNIST: {scores}."
    return text


def with_rows(*sections: Section) -> list[Section]:
    return [section for section in sections if len(section.rows) > 1]


def summary(results: dict) -> list[Section]:
    return with_rows(means(results), targets(results), slower(results), one_row_calls(results))


def as_text(results: dict) -> str:
    parts = [about(results)]
    parts += [f"{s.title}\n\n{table(s.rows)}" for s in [*cell_tables(results), *summary(results)]]
    return "\n\n".join(["", *parts])


def as_markdown(results: dict) -> str:
    """Return the summary and the tables of one thread; those of two are in the JSON."""
    one_thread = results | {"cells": [c for c in results["cells"] if c["threads"] == 1]}
    parts = [about(results)]
    for title, rows in [*summary(results), *cell_tables(one_thread)]:
        head, *body = (f"| {' | '.join(row)} |" for row in rows)
        parts.append("\n".join([f"{title}:\n", head, "|---" * len(rows[0]) + "|", *body]))
    return "\n\n".join(parts)


def as_rst(results: dict) -> str:
    """Return the mean ratios and the targets, as lists that Sphinx makes tables of."""
    parts = [about(results)]
    for title, rows in with_rows(means(results), targets(results)):
        lines = [f".. list-table:: {title}", "   :header-rows: 1", ""]
        for row in rows:
            lines += [f"   {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(row)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def draw(results: dict, path: Path) -> None:
    """Draw the ratio of each peer in each cell with its interval, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from PIL import Image  # matplotlib brings it; few colours make a small file

    groups = grouped(results["cells"], "threads", "masks", "net")
    columns = len({net for _, _, net in groups})
    n_rows = -(-len(groups) // columns)
    figure, axes = plt.subplots(
        n_rows, columns, figsize=(6.5 * columns, 2.9 * n_rows), sharey="row", squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for ax, ((threads, masks, net), cells) in zip(axes.flat, groups.items(), strict=False):
        for color, peer in enumerate(peers_of(results["cells"])):
            found = [(i, c["ratios"][peer]) for i, c in enumerate(cells) if peer in c["ratios"]]
            if not found:
                continue
            at = [i + 0.12 * (color - 2) for i, _ in found]
            middle, low, high = (
                list(values) for values in zip(*(r for _, r in found), strict=True)
            )
            ax.plot(at, middle, "o", ms=3, color=f"C{color}", label=peer)
            ax.vlines(at, low, high, color=f"C{color}", lw=1)
        ax.axhline(1, color="black", lw=0.8)
        ax.set_yscale("log")
        ax.margins(y=0.15)  # leaves room for the sparsities
        batches = [str(cell["batch"]) for cell in cells]
        ax.set_xticks(range(len(cells)), batches, rotation=90, fontsize=7)
        for (sparsity,), of in grouped(cells, "sparsity").items():
            middle_of = sum(cells.index(cell) for cell in of) / len(of)
            ax.text(middle_of, 0.97, f"{sparsity:.0%}", ha="center", va="top",
                    transform=ax.get_xaxis_transform())  # fmt: skip
            ax.axvline(cells.index(of[0]) - 0.5, color="0.85", lw=0.8, zorder=0)
        ax.set_title(f"{NETS[net]}, {masks} masks, {many(threads)}", fontsize=9)
        ax.grid(axis="y", color="0.9")
    for ax in axes[:, 0]:
        ax.set_ylabel("time / skprune's")
    for ax in axes[-1]:
        ax.set_xlabel("rows a call, by sparsity")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    buffer = BytesIO()
    figure.savefig(buffer, dpi=75)
    plt.close(figure)
    Image.open(buffer).convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(path, "png")


def write(results: dict, path: Path) -> None:
    """Write a line a cell, so that versions can be compared."""
    parts = []
    for key, value in results.items():
        if isinstance(value, list):
            lines = ",\n".join(f"  {json.dumps(entry)}" for entry in value)
            parts.append(f' "{key}": [\n{lines}\n ]' if value else f' "{key}": []')
        else:
            parts.append(f' "{key}": {json.dumps(value)}')
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def between_marks(text: str, new: str, begin: str, end: str) -> str:
    """Put `new` between two marks, which stay."""
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n\n{new}\n\n{end}{after}"


def refreshed(results: dict) -> dict[Path, str]:
    """Return the files that show the results, with these in them."""
    shown = {
        HERE / "README.md": (
            as_markdown(results), "<!-- engine.json: begin -->", "<!-- engine.json: end -->",
        ),
        HERE.parent / "docs" / "benchmarks.rst": (
            as_rst(results), ".. engine.json: begin", ".. engine.json: end",
        ),
    }  # fmt: skip
    return {path: between_marks(path.read_text(), *rest) for path, rest in shown.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--refresh", action="store_true", help="README.md, the docs, the figure")
    options = parser.parse_args()
    results = json.loads(options.json.read_text())
    if options.refresh:
        for path, text in refreshed(results).items():
            path.write_text(text)
        options.figure = options.figure or options.json.with_suffix(".png")
    else:
        print(as_text(results))
    if options.figure:
        draw(results, options.figure)


if __name__ == "__main__":
    main()
