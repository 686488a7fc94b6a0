"""Displays, one a file: what was pruned, and how well it does, drawn with matplotlib."""

from skprune.displays.curve import PruningCurveDisplay
from skprune.displays.history import PruningHistoryDisplay

__all__ = ["PruningCurveDisplay", "PruningHistoryDisplay"]
