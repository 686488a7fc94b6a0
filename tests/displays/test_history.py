"""PruningHistoryDisplay: what is drawn is the history."""

import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.tree import DecisionTreeClassifier

from skprune import (
    CostComplexityPruner,
    L0Pruner,
    MagnitudePruner,
    MLPNetClassifier,
    PruningHistoryDisplay,
    SoftThresholdPruner,
)

LAYERS = ["layers.hidden0", "layers.output"]


@pytest.fixture(scope="module")
def pruner():
    X, y = load_iris(return_X_y=True)
    net = MLPNetClassifier((8,), lr=0.02, batch_size=16, max_epochs=10)
    return L0Pruner(net, sparsity=0.5, random_state=0).fit(X, y)


def entries(*chances, after=1):
    """Make the history of a net whose layer "a" has gates with these chances, epoch by epoch."""
    learning = [
        {"epoch": number, "sparsity": 0.0, "gates": {"a": np.array(row)}}
        for number, row in enumerate(chances, start=1)
    ]
    done = [{"epoch": len(chances) + 1 + i, "sparsity": 0.5} for i in range(after)]
    return [*learning, *done]


def test_the_lines_are_the_history(pruner, ax):
    display = PruningHistoryDisplay.from_estimator(pruner, ax=ax, line_kw={"color": "r"})
    history = pruner.pruning_history_
    for line, key in ((display.sparsity_, "sparsity"), (display.expected_, "expected_sparsity")):
        x, y = line.get_data()
        np.testing.assert_array_equal(x, range(1, 11))
        np.testing.assert_array_equal(y, [entry[key] for entry in history])
    assert display.sparsity_.get_color() == "r"
    assert list(display.target_.get_ydata()) == [0.5, 0.5]
    assert display.target_.get_linestyle() == "--"
    # no price once the gates are folded, after four fifths of the epochs
    x, y = display.dual_.get_data()
    np.testing.assert_array_equal(x, range(1, len(x) + 1))
    assert 6 <= len(x) <= 8
    np.testing.assert_array_equal(y, [entry["dual"] for entry in history[: len(x)]])
    assert max(y) > 0
    assert display.dual_ in display.dual_ax_.get_lines()
    assert display.dual_ax_ is not ax
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "sparsity",
        "expected sparsity",
        "sparsity asked for",
        "dual variable",
    ]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "sparsity")
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.image_ is display.order_ is display.closed_ is None
    ax.figure.canvas.draw()


def test_lines_that_a_history_lacks_are_left_out(ax):
    X, y = load_iris(return_X_y=True)
    net = MLPNetClassifier((8,), max_epochs=2)
    magnitude = MagnitudePruner(net, sparsity=0.5, schedule="cubic", random_state=0).fit(X, y)
    display = PruningHistoryDisplay.from_estimator(magnitude, ax=ax)
    sparsities = [entry["sparsity"] for entry in magnitude.pruning_history_]
    np.testing.assert_array_equal(display.sparsity_.get_ydata(), sparsities)
    assert display.expected_ is display.dual_ is display.dual_ax_ is None
    assert len(ax.get_lines()) == 2
    assert len(ax.figure.axes) == 1

    by_price = L0Pruner(net, lam=0.1, random_state=0).fit(X, y)
    display = PruningHistoryDisplay.from_estimator(by_price, ax=Figure().subplots())
    assert display.target_ is display.dual_ is display.dual_ax_ is None
    assert len(display.expected_.get_xdata()) == 2


@pytest.mark.parametrize("layer", [None, *LAYERS])
def test_the_image_is_the_gates(pruner, ax, layer):
    display = PruningHistoryDisplay.from_estimator(pruner, kind="gates", layer=layer, ax=ax)
    told = [e["gates"][layer or LAYERS[0]] for e in pruner.pruning_history_ if "gates" in e]
    image = np.asarray(display.image_.get_array())
    assert image.shape == ({None: 4, LAYERS[0]: 4, LAYERS[1]: 8}[layer], len(told))
    np.testing.assert_array_equal(image, np.transpose(told)[display.order_])
    assert sorted(display.order_) == list(range(len(image)))
    in_order = display.closed_[display.order_]
    closed = in_order[~np.isnan(in_order)]
    np.testing.assert_array_equal(in_order[: len(closed)], np.sort(closed))
    assert list(display.image_.get_extent()) == [0.5, len(told) + 0.5, len(image) - 0.5, -0.5]
    assert display.image_.get_clim() == (0, 1)
    assert display.colorbar_.mappable is display.image_
    assert (layer or LAYERS[0]) in ax.get_ylabel()
    assert display.sparsity_ is display.target_ is display.dual_ax_ is None
    ax.figure.canvas.draw()


def test_gates_stand_in_the_order_in_which_they_closed(ax):
    # open; closed late; opened again, then closed; closed at once; closed and opened again
    history = entries(
        [0.9, 0.9, 0.4, 0.1, 0.9],
        [0.9, 0.9, 0.6, 0.1, 0.3],
        [0.8, 0.9, 0.2, 0.1, 0.2],
        [0.7, 0.2, 0.1, 0.1, 0.5],
    )
    display = PruningHistoryDisplay(history=history).plot(ax, kind="gates")
    np.testing.assert_array_equal(display.closed_, [np.nan, 4, 3, 1, np.nan])
    assert list(display.order_) == [3, 2, 1, 4, 0]
    assert display.image_.get_array()[:, -1].tolist() == [0.1, 0.1, 0.2, 0.5, 0.7]


def test_a_history_can_be_drawn_again(pruner):
    display = PruningHistoryDisplay(history=pruner.pruning_history_)
    first, second = Figure().subplots(1, 2)
    assert display.plot(first) is display
    assert display.target_ is None
    display.plot(second, kind="gates", image_kw={"cmap": "gray", "vmax": 2.0})
    assert display.image_.get_cmap().name == "gray"
    assert display.image_.get_clim() == (0, 2)
    assert display.sparsity_ is None
    assert display.ax_ is second


def test_a_history_without_axes_makes_some(pruner):
    plt = pytest.importorskip("matplotlib.pyplot")
    display = PruningHistoryDisplay.from_estimator(pruner, kind="gates")
    assert display.ax_ is display.figure_.axes[0]
    plt.close(display.figure_)


def test_histories_that_cannot_be_drawn_are_refused(pruner, ax):
    X, y = load_iris(return_X_y=True)
    draw = PruningHistoryDisplay.from_estimator
    with pytest.raises(TypeError, match="pruner must be a fitted pruner of a net"):
        draw(pruner.estimator_)
    with pytest.raises(NotFittedError):
        draw(L0Pruner(pruner.estimator))
    with pytest.raises(ValueError, match="kind must be 'sparsity' or 'gates', got 'dual'"):
        draw(pruner, kind="dual", ax=ax)
    with pytest.raises(ValueError, match=r"layer must be one of \['layers.hidden0', .*got 'a'"):
        draw(pruner, kind="gates", layer="a", ax=ax)
    with pytest.raises(ValueError, match="layer='a' is for kind='gates'"):
        draw(pruner, layer="a", ax=ax)
    tree = CostComplexityPruner(DecisionTreeClassifier(), sparsity=0.5).fit(X, y)
    with pytest.raises(ValueError, match="pruner must have trained a net"):
        draw(tree, ax=ax)
    frozen = MagnitudePruner(FrozenEstimator(pruner.estimator_), sparsity=0.6).fit(X, y)
    with pytest.raises(ValueError, match="pruner must have trained a net"):
        draw(frozen, ax=ax)
    net = MLPNetClassifier((4,), max_epochs=1)
    single = SoftThresholdPruner(net, sparsity=0.5, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="kind='gates' needs a pruner that gives units gates"):
        draw(single, kind="gates", ax=ax)
    assert not ax.get_lines()
    assert not ax.images


def test_without_matplotlib_histories_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"PruningHistoryDisplay .* pip install skprune\[plot\]"):
        PruningHistoryDisplay(history=entries([0.5])).plot()
