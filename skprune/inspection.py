"""Displays: what pruning does, drawn. matplotlib is imported where it is used."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skprune.base import BasePruner
from skprune.model_selection import PrunerCV, fold_scores, one_se_index, standard_errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

_KINDS = ("sparsity", "gates")


class PruningCurveDisplay:
    """The score of a pruner against how much it pruned, with the spread over the folds.

    Made by :meth:`from_estimator` or :meth:`from_cv_results`.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        Values of the parameter.
    sparsities : ndarray of shape (n_values,)
        Mean sparsity reached with each.
    scores : ndarray of shape (n_values, n_folds)
        Scores of each on every fold.
    best_index : int
        Which has the highest mean score.
    one_se_index : int or None
        Which is the sparsest within one standard error of it; None for a single fold, which has
        no standard error.
    param_name : str
        Name of the parameter.
    score_name : str, default=None
        Name of the score; None writes "Score".

    Attributes
    ----------
    line_ : matplotlib Line2D
        The mean scores.
    fill_between_ : matplotlib PolyCollection or None
        One standard error to either side; None for a single fold.
    best_ : matplotlib Line2D
        The mark of the best value.
    one_se_ : matplotlib Line2D or None
        The mark of the one-SE choice.
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    skprune.PrunerCV : Finds the scores.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune import CostComplexityPruner, PrunerCV, PruningCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> search = PrunerCV(CostComplexityPruner(DecisionTreeClassifier(random_state=0))).fit(X, y)
    >>> PruningCurveDisplay.from_estimator(search)
    <skprune.inspection.PruningCurveDisplay object at ...>
    """

    def __init__(
        self,
        *,
        values: np.ndarray,
        sparsities: np.ndarray,
        scores: np.ndarray,
        best_index: int,
        one_se_index: int | None,
        param_name: str,
        score_name: str | None = None,
    ) -> None:
        self.values = values
        self.sparsities = sparsities
        self.scores = scores
        self.best_index = best_index
        self.one_se_index = one_se_index
        self.param_name = param_name
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        search: PrunerCV,
        *,
        x: str = "sparsity",
        score_name: str | None = None,
        ax: "Axes | None" = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw what a search found.

        Parameters
        ----------
        search : PrunerCV
            Fitted.
        x : str, default="sparsity"
            What stands on the horizontal axis: "sparsity", or the name of the parameter.
        score_name : str, default=None
            Name of the score; None takes it from `scoring`.
        ax : matplotlib Axes, default=None
            What to draw on; None makes a new figure.
        **plot_kw : dict
            Handed to :meth:`plot`.

        Returns
        -------
        display : PruningCurveDisplay
            With the drawing.

        Raises
        ------
        TypeError
            If `search` is no :class:`~skprune.PrunerCV`.
        ImportError
            If matplotlib is not installed.
        """
        if not isinstance(search, PrunerCV):
            raise TypeError(f"search must be a fitted PrunerCV, got {search!r}.")
        check_is_fitted(search)
        if score_name is None and isinstance(search.scoring, str):
            score_name = search.scoring
        return cls.from_cv_results(search.cv_results_, x=x, score_name=score_name, ax=ax, **plot_kw)

    @classmethod
    def from_cv_results(
        cls,
        cv_results: dict[str, Any],
        *,
        x: str = "sparsity",
        score_name: str | None = None,
        ax: "Axes | None" = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw the results of a search.

        Parameters
        ----------
        cv_results : dict of str to array
            `cv_results_` of a :class:`~skprune.PrunerCV`.
        x : str, default="sparsity"
            What stands on the horizontal axis: "sparsity", or the name of the parameter.
        score_name : str, default=None
            Name of the score; None writes "Score".
        ax : matplotlib Axes, default=None
            What to draw on; None makes a new figure.
        **plot_kw : dict
            Handed to :meth:`plot`.

        Returns
        -------
        display : PruningCurveDisplay
            With the drawing.

        Raises
        ------
        ValueError
            If the results are not those of a :class:`~skprune.PrunerCV`.
        ImportError
            If matplotlib is not installed.
        """
        if "mean_sparsity" not in cv_results:
            raise ValueError("cv_results must be those of a PrunerCV: mean_sparsity is missing.")
        (name,) = cv_results["params"][0]
        scores = fold_scores(cv_results)
        display = cls(
            values=np.array([params[name] for params in cv_results["params"]], dtype=np.float64),
            sparsities=cv_results["mean_sparsity"],
            scores=scores,
            best_index=int(cv_results["rank_test_score"].argmin()),
            one_se_index=one_se_index(cv_results) if scores.shape[1] > 1 else None,
            param_name=name,
            score_name=score_name,
        )
        return display.plot(ax, x=x, **plot_kw)

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        x: str = "sparsity",
        score_name: str | None = None,
        line_kw: dict[str, Any] | None = None,
        fill_between_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            What to draw on; None makes a new figure.
        x : str, default="sparsity"
            What stands on the horizontal axis: "sparsity", or the name of the parameter. An
            infinite value is drawn at twice the largest finite one.
        score_name : str, default=None
            Name of the score; None takes the display's own.
        line_kw : dict, default=None
            For matplotlib's ``plot``, of the mean.
        fill_between_kw : dict, default=None
            For matplotlib's ``fill_between``, of the standard error.

        Returns
        -------
        display : PruningCurveDisplay
            This one.

        Raises
        ------
        ValueError
            If `x` is neither "sparsity" nor the name of the parameter.
        ImportError
            If matplotlib is not installed.
        """
        if x not in ("sparsity", self.param_name):
            raise ValueError(f"x must be 'sparsity' or {self.param_name!r}, got {x!r}.")
        try:
            import matplotlib.pyplot as plt
        except ModuleNotFoundError as error:
            raise ImportError(
                "PruningCurveDisplay needs matplotlib, which is not installed: "
                "pip install skprune[plot]",
                name=error.name,
            ) from error

        if ax is None:
            _, ax = plt.subplots()
        # of the two axes with one name, the sparsity reached says more than the one asked for
        at = self.sparsities if x == "sparsity" else _finite(self.values)
        order = np.lexsort((self.values, at))
        means = self.scores.mean(axis=1)

        line_kw = {"label": "mean over folds", **(line_kw or {})}
        (self.line_,) = ax.plot(at[order], means[order], **line_kw)
        self.fill_between_ = None
        if self.scores.shape[1] > 1:
            spread = standard_errors(self.scores)
            fill_between_kw = {
                "alpha": 0.3,
                "label": "± one standard error",
                **(fill_between_kw or {}),
            }
            self.fill_between_ = ax.fill_between(
                at[order], (means - spread)[order], (means + spread)[order], **fill_between_kw
            )
        self.best_ = self._mark(ax, at, means, self.best_index, "o", "best")
        self.one_se_ = None
        if self.one_se_index is not None:
            self.one_se_ = self._mark(ax, at, means, self.one_se_index, "s", "one-SE rule")

        if x != "sparsity" and (positive := at[at > 0]).size:
            ax.set_xscale("symlog", linthresh=positive.min())
        ax.set_xlabel(x)
        ax.set_ylabel(score_name or self.score_name or "Score")
        ax.legend()
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    @staticmethod
    def _mark(
        ax: "Axes", at: np.ndarray, means: np.ndarray, index: int, marker: str, label: str
    ) -> Any:
        (mark,) = ax.plot(
            at[index], means[index], marker, fillstyle="none", markersize=9, color="k", label=label
        )
        return mark


class PruningHistoryDisplay:
    """How a net became sparse, epoch by epoch: its sparsity, or which gates closed when.

    Made by :meth:`from_estimator`.

    Parameters
    ----------
    history : list of dict
        `pruning_history_` of a pruner of nets.
    sparsity : float, default=None
        The sparsity that was asked for; None where none was.

    Attributes
    ----------
    sparsity_ : matplotlib Line2D or None
        The sparsity; None for another kind, as are all of the following that are not drawn.
    expected_ : matplotlib Line2D or None
        The expected sparsity; None also where the history has none.
    target_ : matplotlib Line2D or None
        The mark of the sparsity that was asked for.
    dual_ : matplotlib Line2D or None
        The dual variable; None also where the price of the gates was fixed.
    dual_ax_ : matplotlib Axes or None
        The second vertical axis, which the dual variable is read from.
    image_ : matplotlib AxesImage or None
        The chance that each gate is open: a row a gate, a column an epoch.
    colorbar_ : matplotlib Colorbar or None
        The scale of the image.
    closed_ : ndarray of shape (n_gates,) or None
        The epoch in which each gate closed, in the order of the layer's units: the first from which
        on it was more likely closed than open as long as there were gates. NaN where it stayed
        open.
    order_ : ndarray of shape (n_gates,) or None
        Which gate stands in each row of the image: those that closed first come first, and those
        that stayed open last.
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Its figure.

    See Also
    --------
    skprune.L0Pruner : Has gates of units.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune import L0Pruner, MLPNetClassifier, PruningHistoryDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPNetClassifier((8,), lr=0.02, batch_size=16, max_epochs=5)
    >>> pruner = L0Pruner(net, sparsity=0.5, random_state=0).fit(X, y)
    >>> PruningHistoryDisplay.from_estimator(pruner)
    <skprune.inspection.PruningHistoryDisplay object at ...>
    """

    sparsity_: "Line2D | None"
    expected_: "Line2D | None"
    target_: "Line2D | None"
    dual_: "Line2D | None"
    dual_ax_: "Axes | None"
    image_: "AxesImage | None"
    colorbar_: "Colorbar | None"
    closed_: np.ndarray | None
    order_: np.ndarray | None

    def __init__(self, *, history: list[dict[str, Any]], sparsity: float | None = None) -> None:
        self.history = history
        self.sparsity = sparsity

    @classmethod
    def from_estimator(
        cls,
        pruner: BasePruner,
        *,
        kind: str = "sparsity",
        layer: str | None = None,
        ax: "Axes | None" = None,
        **plot_kw: Any,
    ) -> Self:
        """Draw what a pruner did to a net.

        Parameters
        ----------
        pruner : pruner of a skorch net
            Fitted.
        kind : {"sparsity", "gates"}, default="sparsity"
            What is drawn; see :meth:`plot`.
        layer : str, default=None
            Whose gates are drawn; None takes the first layer that has some.
        ax : matplotlib Axes, default=None
            What to draw on; None makes a new figure.
        **plot_kw : dict
            Handed to :meth:`plot`.

        Returns
        -------
        display : PruningHistoryDisplay
            With the drawing.

        Raises
        ------
        TypeError
            If `pruner` is no pruner.
        ValueError
            If it did not train a net, or `kind` or `layer` is not among what can be drawn.
        ImportError
            If matplotlib is not installed.
        """
        if not isinstance(pruner, BasePruner):
            raise TypeError(f"pruner must be a fitted pruner of a net, got {pruner!r}.")
        check_is_fitted(pruner)
        display = cls(history=pruner.pruning_history_, sparsity=pruner.sparsity)
        return display.plot(ax, kind=kind, layer=layer, **plot_kw)

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        kind: str = "sparsity",
        layer: str | None = None,
        line_kw: dict[str, Any] | None = None,
        image_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the history.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            What to draw on; None makes a new figure.
        kind : {"sparsity", "gates"}, default="sparsity"
            "sparsity" draws the sparsity of each epoch, that expected over the noise of the gates,
            the sparsity that was asked for, and the dual variable, as far as there are such.
            "gates" draws the chance that each gate of a layer is open, from the gates that closed
            first to those that stayed open.
        layer : str, default=None
            Whose gates are drawn; None takes the first layer that has some. Only for "gates".
        line_kw : dict, default=None
            For matplotlib's ``plot``, of the sparsity.
        image_kw : dict, default=None
            For matplotlib's ``imshow``, of the gates.

        Returns
        -------
        display : PruningHistoryDisplay
            This one.

        Raises
        ------
        ValueError
            If the history is not that of a net's training, or `kind` or `layer` is not among what
            can be drawn.
        ImportError
            If matplotlib is not installed.
        """
        if kind not in _KINDS:
            raise ValueError(f"kind must be 'sparsity' or 'gates', got {kind!r}.")
        if layer is not None and kind != "gates":
            raise ValueError(f"layer={layer!r} is for kind='gates', not for kind={kind!r}.")
        if not self.history or any("epoch" not in entry for entry in self.history):
            raise ValueError(
                "pruner must have trained a net: its pruning_history_ has no entries with an epoch."
            )
        name = self._layer(layer) if kind == "gates" else ""
        try:
            import matplotlib.pyplot as plt
        except ModuleNotFoundError as error:
            raise ImportError(
                "PruningHistoryDisplay needs matplotlib, which is not installed: "
                "pip install skprune[plot]",
                name=error.name,
            ) from error

        if ax is None:
            _, ax = plt.subplots()
        self.sparsity_ = self.expected_ = self.target_ = self.dual_ = self.dual_ax_ = None
        self.image_ = self.colorbar_ = self.closed_ = self.order_ = None
        if kind == "sparsity":
            self._plot_sparsity(ax, line_kw or {})
        else:
            self._plot_gates(ax, name, image_kw or {})
        ax.set_xlabel("epoch")
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _layer(self, layer: str | None) -> str:
        named = next((list(entry["gates"]) for entry in self.history if "gates" in entry), [])
        if not named:
            raise ValueError(
                "kind='gates' needs a pruner that gives units gates, such as L0Pruner, and trains "
                "them for an epoch at least: this pruning_history_ has no gates."
            )
        if layer is None:
            return named[0]
        if layer not in named:
            raise ValueError(f"layer must be one of {named}, got {layer!r}.")
        return layer

    def _column(self, key: str) -> tuple[list[int], list[float]]:
        """Collect what some epochs tell of one thing."""
        told = [(e["epoch"], e[key]) for e in self.history if e.get(key) is not None]
        return [epoch for epoch, _ in told], [value for _, value in told]

    def _plot_sparsity(self, ax: "Axes", line_kw: dict[str, Any]) -> None:
        lines = ax.plot(*self._column("sparsity"), **{"label": "sparsity", **line_kw})
        self.sparsity_ = lines[-1]
        epochs, expected = self._column("expected_sparsity")
        if epochs:
            lines += ax.plot(epochs, expected, label="expected sparsity")
            self.expected_ = lines[-1]
        if self.sparsity is not None:
            self.target_ = ax.axhline(
                self.sparsity, color="k", linestyle="--", label="sparsity asked for"
            )
            lines.append(self.target_)
        epochs, dual = self._column("dual")
        if epochs:
            self.dual_ax_ = dual_ax = ax.twinx()
            lines += dual_ax.plot(epochs, dual, color="grey", linestyle=":", label="dual variable")
            self.dual_ = lines[-1]
            dual_ax.set_ylabel("dual variable")
        ax.set_ylabel("sparsity")
        ax.legend(handles=lines)

    def _plot_gates(self, ax: "Axes", layer: str, image_kw: dict[str, Any]) -> None:
        learning = [entry for entry in self.history if "gates" in entry]
        epochs = np.array([entry["epoch"] for entry in learning])
        chances = np.stack([entry["gates"][layer] for entry in learning], axis=1)
        self.closed_ = closed = _closing_epochs(epochs, chances)
        # of those that closed in one epoch, or never did, the likelier open one comes later; NaN,
        # the epoch of those that stayed open, sorts behind all epochs
        self.order_ = order = np.lexsort((chances[:, -1], closed))
        image_kw = {
            "aspect": "auto",
            "interpolation": "nearest",
            "vmin": 0.0,
            "vmax": 1.0,
            "extent": (epochs[0] - 0.5, epochs[-1] + 0.5, len(chances) - 0.5, -0.5),
            **image_kw,
        }
        self.image_ = image = ax.imshow(chances[order], **image_kw)
        self.colorbar_ = ax.figure.colorbar(image, ax=ax, label="chance that a gate is open")
        ax.set_ylabel(f"gates of {layer}, first closed first")


def _closing_epochs(epochs: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Tell from which epoch on each gate was more likely closed than open; NaN for never."""
    n_epochs = len(epochs)
    # epochs at the end of the row, counted from behind, in which the gate is likelier closed
    tail = np.logical_and.accumulate(chances[:, ::-1] < 0.5, axis=1).sum(axis=1)
    first = epochs[np.minimum(n_epochs - tail, n_epochs - 1)]
    return np.where(tail > 0, first, np.nan)


def _finite(values: ArrayLike) -> np.ndarray:
    values = np.array(values, dtype=np.float64)
    finite = values[np.isfinite(values)]
    values[np.isinf(values)] = 2.0 * finite.max() if finite.any() else 1.0
    return values
