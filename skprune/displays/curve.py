"""PruningCurveDisplay: what each choice of how much to prune scores."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skprune.model_selection import PrunerCV, fold_scores, one_se_index, standard_errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    <skprune.displays.curve.PruningCurveDisplay object at ...>
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


def _finite(values: ArrayLike) -> np.ndarray:
    values = np.array(values, dtype=np.float64)
    finite = values[np.isfinite(values)]
    values[np.isinf(values)] = 2.0 * finite.max() if finite.any() else 1.0
    return values
