"""The examples run as a reader runs them, and print what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_example(name, folder):
    """Run an example in a folder of its own, without a display; give what it printed."""
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONWARNINGS": "error::FutureWarning"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_table(printed):
    """Read the table of sparse_digits.py: the columns, and name -> numbers."""
    lines = printed.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("model  "))
    columns = re.split(r"\s{2,}", lines[start])
    rows = {}
    for line in lines[start + 1 :]:
        if not line:
            break
        name, *cells = re.split(r"\s{2,}", line)
        rows[name] = dict(zip(columns[1:], (float(c.rstrip("%")) for c in cells), strict=True))
    return columns, rows


def test_every_example_is_tested_here():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "plot_grid_search_sparsity.py",
        "plot_learned_sparsity.py",
        "plot_smaller_forests.py",
        "sparse_digits.py",
    }


@pytest.mark.slow
def test_sparse_digits(tmp_path):
    printed = run_example("sparse_digits.py", tmp_path)
    columns, rows = read_table(printed)
    assert columns == [
        "model",
        "sparsity",
        "accuracy",
        "non-zeros",
        "bytes",
        "us/row, 1 row",
        "us/row, batch",
    ]
    assert "engine native" in printed
    dense, by_torch, sparse = (
        rows[f"net, {name}"] for name in ("dense, skorch", "dense, torch", "sparse, skprune")
    )
    assert dense["accuracy"] == by_torch["accuracy"] > 0.95
    assert sparse["accuracy"] > dense["accuracy"] - 0.02
    # the grid holds no smaller sparsity; a net meets it to the weight
    assert sparse["sparsity"] >= 80
    n_weights = 64 * 300 + 300 * 100 + 100 * 10
    assert dense["non-zeros"] == n_weights
    assert sparse["non-zeros"] == n_weights - round(n_weights * sparse["sparsity"] / 100)
    full, pruned = rows["tree, full, scikit-learn"], rows["tree, pruned, skprune"]
    assert pruned["sparsity"] >= 25
    assert pruned["non-zeros"] == pytest.approx(
        full["non-zeros"] * (1 - pruned["sparsity"] / 100), rel=0.01
    )
    assert pruned["accuracy"] > full["accuracy"] - 0.06
    for small, large in ((sparse, dense), (pruned, full)):
        assert small["bytes"] < large["bytes"]
        # calls of torch and scikit-learn through Python cost several times ours at one row
        assert small["us/row, 1 row"] < large["us/row, 1 row"]
        assert small["us/row, batch"] < large["us/row, batch"]


@pytest.mark.slow
def test_plot_grid_search_sparsity(tmp_path):
    show = EXAMPLES / "plot_grid_search_sparsity.py"
    # as matplotlib runs it, but keeping the figure
    (tmp_path / "keep.py").write_text(
        "import runpy, sys\n"
        "import matplotlib.pyplot as plt\n"
        f"runpy.run_path({str(show)!r}, run_name='__main__')\n"
        "assert plt.get_fignums() == [1]\n"
        "(ax,) = plt.figure(1).axes\n"
        "print([text.get_text() for text in ax.get_legend().get_texts()], ax.get_xlabel())\n"
        "plt.savefig('figure.png')\n"
    )
    printed = run_example(tmp_path / "keep.py", tmp_path)
    found = dict(re.findall(r"(\w+Pruner): sparsity ([\d.]+)", printed))
    accuracy = [float(figure) for figure in re.findall(r"test accuracy ([\d.]+)", printed)]
    assert 0.5 <= float(found["MagnitudePruner"]) <= 0.95
    assert 0 < float(found["CostComplexityPruner"]) <= 0.9
    assert accuracy[0] > 0.95
    assert accuracy[1] > 0.75
    assert "['net', 'tree'] sparsity" in printed
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_plot_smaller_forests(tmp_path):
    printed = run_example("plot_smaller_forests.py", tmp_path)
    full = float(re.search(r"full forest: ([\d.]+)", printed)[1])
    curves = {
        name: [float(score) for score in scores.split()]
        for name, scores in re.findall(r"^(cost complexity|ForestPruner): (.*)$", printed, re.M)
    }
    assert full > 0.9
    assert max(curves["ForestPruner"]) > full - 0.01
    # at every sparsity leaves that were fitted together do at least about as well
    for together, alone in zip(
        *(curves[name] for name in ("ForestPruner", "cost complexity")), strict=True
    ):
        assert together > alone - 0.005
    assert curves["ForestPruner"][-1] > curves["cost complexity"][-1] + 0.02


def test_plot_learned_sparsity(tmp_path):
    printed = run_example("plot_learned_sparsity.py", tmp_path)
    found = re.search(r"dense ([\d.]+), pruned ([\d.]+) at sparsity ([\d.]+)", printed)
    dense, pruned, sparsity = map(float, found.groups())
    assert 0.8 <= sparsity < 0.83
    assert dense > 0.95
    assert pruned > dense - 0.03
    assert "pixels without ink, 0 are left" in printed
