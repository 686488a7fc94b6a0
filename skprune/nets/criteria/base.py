"""What a criterion is: scores of weights, from the weights and from what it asks for."""

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any, ClassVar

import torch

from skprune.nets.evidence import Evidence, MeanGradient, Seen

Tensors = dict[str, torch.Tensor]


class Criterion:
    """Scores weights; the higher a score, the sooner its weight stays.

    A subclass defines `score`, or `scores` where layers depend on each other. What it needs beside
    the weights it names in `needs`. An object scores the nets of one training run, so it may keep
    numbers from one update to the next.

    Attributes
    ----------
    needs : tuple of type of Evidence
        What is gathered for it; see :mod:`skprune.nets.evidence`.
    """

    needs: ClassVar[tuple[type[Evidence], ...]] = ()

    def score(self, weight: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Return the scores of one layer.

        Parameters
        ----------
        weight : Tensor
            The layer's weights, of any shape.
        seen : mapping of type of Evidence to Tensor
            What `needs` names, for this layer.

        Returns
        -------
        scores : Tensor
            Of the same shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define score or scores.")

    def scores(self, weights: Tensors, seen: Mapping[str, Seen]) -> Tensors:
        """Return the scores of all layers.

        Parameters
        ----------
        weights : dict of str to Tensor
            The weights by the names of the parameters, without gradients.
        seen : mapping of str to Seen
            What `needs` names, by the same names.
        """
        return {name: self.score(weight, seen[name]) for name, weight in weights.items()}

    def repair(self, weights: Tensors, kept: Tensors, seen: Mapping[str, Seen]) -> None:
        """Change the weights that stay, to make up for those that go; by default, do nothing.

        Parameters
        ----------
        weights : dict of str to Tensor
            The weights, to be changed in place.
        kept : dict of str to Tensor of bool
            True where a weight stays.
        seen : mapping of str to Seen
            What `needs` names.
        """


class OfFunction(Criterion):
    """The criterion that a function of the user's computes.

    Parameters
    ----------
    function : callable
        ``function(weight)``, or ``function(weight, gradient)`` with the mean gradient of the loss.
        Takes and returns tensors of the shape of the weights.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.needs = (MeanGradient,) if _n_arguments(function) > 1 else ()  # type: ignore[misc]

    def score(self, weight: torch.Tensor, seen: Seen) -> torch.Tensor:
        """Return what the function returns."""
        scores = torch.as_tensor(self.function(weight, *(seen[each] for each in self.needs)))
        if scores.shape != weight.shape:
            raise ValueError(
                f"criterion={self.function!r} must return scores of the shape of the weights, "
                f"{tuple(weight.shape)}, but it returned {tuple(scores.shape)}."
            )
        return scores


def _n_arguments(function: Callable[..., Any]) -> int:
    try:
        parameters = signature(function).parameters.values()
    except ValueError:  # some functions of torch and numpy have no signature
        return 1
    positional = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is Parameter.empty for p in parameters)
