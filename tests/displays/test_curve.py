"""PruningCurveDisplay: what is drawn is what was found."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.datasets import make_classification
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.tree import DecisionTreeClassifier

from skprune import (
    CostComplexityPruner,
    PrunerCV,
    PruningCurveDisplay,
)


@pytest.fixture(scope="module")
def data():
    return make_classification(200, 8, n_informative=4, flip_y=0.15, random_state=0)


@pytest.fixture(scope="module")
def search(data):
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    return PrunerCV(pruner, scoring="balanced_accuracy", cv=4).fit(*data)


def test_the_curve_is_the_mean_and_the_band_one_standard_error(search, ax):
    display = PruningCurveDisplay.from_estimator(search, ax=ax)
    results = search.cv_results_
    x, y = display.line_.get_data()
    assert (np.diff(x) >= 0).all()
    np.testing.assert_array_equal(x, np.sort(results["mean_sparsity"]))
    np.testing.assert_allclose(y, results["mean_test_score"])
    scores = np.transpose([results[f"split{i}_test_score"] for i in range(4)])
    spread = scores.std(axis=1, ddof=1) / 2
    corners = display.fill_between_.get_paths()[0].vertices
    for side in (y - spread, y + spread):
        for corner in zip(x, side, strict=True):
            assert np.isclose(corners, corner).all(axis=1).any()
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert ax.get_xlabel() == "sparsity"
    assert ax.get_ylabel() == "balanced_accuracy"
    assert len(ax.get_legend().get_texts()) == 4


@pytest.mark.parametrize("x", ["sparsity", "ccp_alpha"])
def test_both_choices_are_marked(search, data, ax, x):
    display = PruningCurveDisplay.from_estimator(search, ax=ax, x=x)
    near = PrunerCV(search.pruner, scoring="balanced_accuracy", cv=4, rule="one_se").fit(*data)
    column = "mean_sparsity" if x == "sparsity" else "param_ccp_alpha"
    for mark, row in ((display.best_, search.best_index_), (display.one_se_, near.best_index_)):
        (at,), (score,) = mark.get_data()
        assert at == search.cv_results_[column][row]
        assert score == pytest.approx(search.cv_results_["mean_test_score"][row])
    assert display.best_index == search.best_index_
    assert display.one_se_index == near.best_index_


def test_an_infinite_alpha_has_a_place(data, ax):
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    found = PrunerCV(pruner, param_range=[0.0, 0.02, np.inf], cv=2).fit(*data)
    display = PruningCurveDisplay.from_estimator(found, x="ccp_alpha", ax=ax)
    np.testing.assert_array_equal(display.line_.get_xdata(), [0.0, 0.02, 0.04])
    assert display.values[-1] == np.inf
    assert ax.get_xlabel() == "ccp_alpha"


def test_prices_of_the_path_stand_where_they_are(search, ax):
    display = PruningCurveDisplay.from_estimator(search, x="ccp_alpha", ax=ax)
    alphas = np.array([params["ccp_alpha"] for params in search.cv_results_["params"]])
    assert np.isfinite(alphas).all()
    np.testing.assert_array_equal(display.line_.get_xdata(), alphas)
    assert ax.get_xscale() == "symlog"


@pytest.mark.parametrize("param_range", [[np.inf], [0.0, np.inf], [0.0], [0.02, 0.01]])
def test_few_values(data, ax, param_range):
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    found = PrunerCV(pruner, param_range=param_range, cv=2).fit(*data)
    display = PruningCurveDisplay.from_estimator(found, x="ccp_alpha", ax=ax)
    assert np.isfinite(display.line_.get_xdata()).all()
    assert (np.diff(display.line_.get_xdata()) > 0).all()
    ax.figure.canvas.draw()


def test_leaves_on_the_axis(data, ax):
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0), max_leaf_nodes=9)
    found = PrunerCV(pruner, param_range=[2, 4, 8], cv=3, rule="one_se").fit(*data)
    display = PruningCurveDisplay.from_estimator(found, x="max_leaf_nodes", ax=ax)
    np.testing.assert_array_equal(display.line_.get_xdata(), [2, 4, 8])
    assert display.one_se_index == found.best_index_
    assert ax.get_ylabel() == "Score"


def test_a_single_fold_has_no_spread(data, ax):
    pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    found = PrunerCV(pruner, cv=ShuffleSplit(1, random_state=0)).fit(*data)
    display = PruningCurveDisplay.from_estimator(found, ax=ax)
    assert display.fill_between_ is None
    assert display.one_se_ is None


def test_it_can_be_drawn_again_and_in_another_style(search):
    first, second = Figure().subplots(1, 2)
    display = PruningCurveDisplay.from_cv_results(search.cv_results_, ax=first)
    assert first.get_ylabel() == "Score"
    assert display.plot(
        second, score_name="recall", line_kw={"color": "r"}, fill_between_kw={"alpha": 0.1}
    )
    assert display.line_.get_color() == "r"
    assert display.fill_between_.get_alpha() == 0.1
    assert second.get_ylabel() == "recall"
    assert display.ax_ is second


def test_without_axes_it_makes_some(search):
    plt = pytest.importorskip("matplotlib.pyplot")
    display = PruningCurveDisplay.from_estimator(search)
    assert display.ax_ is plt.gca()
    plt.close(display.figure_)


def test_what_cannot_be_drawn_is_refused(search, data, ax):
    with pytest.raises(TypeError, match="must be a fitted PrunerCV"):
        PruningCurveDisplay.from_estimator(search.best_estimator_)
    with pytest.raises(NotFittedError):
        PruningCurveDisplay.from_estimator(PrunerCV(search.pruner))
    with pytest.raises(ValueError, match="x must be 'sparsity' or 'ccp_alpha', got 'alpha'"):
        PruningCurveDisplay.from_estimator(search, x="alpha", ax=ax)
    other = GridSearchCV(search.pruner, {"sparsity": [0.5]}, cv=2).fit(*data)
    with pytest.raises(ValueError, match="those of a PrunerCV: mean_sparsity is missing"):
        PruningCurveDisplay.from_cv_results(other.cv_results_)


def test_without_matplotlib_the_extra_is_named():
    code = """
import sys
sys.modules["matplotlib"] = None
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier
from skprune import CostComplexityPruner, PrunerCV, PruningCurveDisplay

search = PrunerCV(CostComplexityPruner(DecisionTreeClassifier())).fit(*load_iris(return_X_y=True))
try:
    PruningCurveDisplay.from_estimator(search)
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert "pip install skprune[plot]" in done.stdout
