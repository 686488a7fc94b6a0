"""PruningHistoryDisplay: how a net was pruned while it trained."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skprune.base import BasePruner

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

_KINDS = ("sparsity", "gates")


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
    <skprune.displays.history.PruningHistoryDisplay object at ...>
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
