"""What a pruning method says to the run: when its updates are due, and what stays then."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback

from skprune.masks import Update
from skprune.nets.evidence import Rows
from skprune.nets.layers import EVERY, Choice, prunable_weights


class Method(ABC):
    """How a net is pruned; all but the two abstract methods do nothing by default.

    Attributes
    ----------
    sparsity : float or None
        The target; None where the method itself says how much goes.
    choice : Choice
        The layers to prune.
    advice : str
        What else to do where a layer loses all its weights, behind a comma.
    """

    sparsity: float | None
    choice: Choice = EVERY
    advice: str = ""

    @abstractmethod
    def update_at(self, epoch: float, history: Sequence[dict[str, Any]]) -> Update:
        """Return the update in force at a time.

        Parameters
        ----------
        epoch : float
            Time since the run began, in epochs; infinite once it is over.
        history : sequence of dict
            The epochs so far.
        """

    @abstractmethod
    def masks(self, net: NeuralNet, update: Update, rows: Rows) -> dict[str, torch.Tensor]:
        """Carry out an update: return what stays, and change weights where the method does so.

        Parameters
        ----------
        net : NeuralNet
            An initialized net.
        update : Update
            What the masks should come to.
        rows : Rows
            The training rows.

        Returns
        -------
        masks : dict of str to Tensor of bool
            By the names of parameters; True where a weight stays.
        """

    def prepared(self, net: NeuralNet) -> AbstractContextManager[Any]:
        """Make a net ready for the run, and undo it."""
        return nullcontext()

    def begin(self, net: NeuralNet) -> None:
        """Refuse what cannot be pruned, once the module has its final sizes."""
        prunable_weights(net, self.choice)

    def callbacks(self) -> list[Callback]:
        """Return what runs before any other callback."""
        return []

    def record(self, net: NeuralNet, sparsity: float) -> dict[str, Any]:
        """Return more for the history, at the end of an epoch."""
        return {}

    def sparsity_of(self, net: NeuralNet) -> float | None:
        """Return the sparsity now, where it does not stand in the weights."""
        return None
