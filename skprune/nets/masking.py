"""Holds pruned weights at zero, whatever the optimizer does to them."""

from collections.abc import Mapping

import torch
from skorch import NeuralNet
from torch import nn

from skprune.nets.layers import parameters_named

# name of a parameter -> True where it stays
Masks = Mapping[str, torch.Tensor]


class Masking:
    """The masks of a net's parameters.

    Attributes
    ----------
    kept : dict of str to Tensor of bool
        By the names of the parameters; True where a weight stays. Those that are not named stay.
    """

    def __init__(self) -> None:
        self.kept: dict[str, torch.Tensor] = {}
        self._closed: dict[str, torch.Tensor] = {}
        self._held: list[tuple[nn.Parameter, torch.Tensor]] = []

    def put_on(self, net: NeuralNet, kept: Masks) -> None:
        """Take new masks: zero what they close, and forget the optimizer's state where they change.

        Momenta of weights that close belong to values that are gone; those of weights that open
        again belong to an earlier life.
        """
        parameters = parameters_named(net)
        for name in {**self.kept, **kept}:
            ones = torch.ones_like(parameters[name], dtype=torch.bool)
            before, after = self.kept.get(name, ones), kept.get(name, ones)
            _clear_optimizer_state(net, parameters[name], (before != after) | ~after)
        self.kept = dict(kept)
        closed = {name: ~mask for name, mask in kept.items()}
        self._closed = {name: zeros for name, zeros in closed.items() if bool(zeros.any())}
        self.find(net)
        self.hold()

    def find(self, net: NeuralNet) -> None:
        """Look up the parameters, which may have been replaced."""
        if self._closed:
            parameters = parameters_named(net)
            self._held = [(parameters[name], zeros) for name, zeros in self._closed.items()]
        else:
            self._held = []

    def hold(self) -> None:
        """Undo what the optimizer, or a checkpoint, did to zeros."""
        for parameter, zeros in self._held:
            parameter.detach().masked_fill_(zeros, 0)

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_held": []}  # the parameters belong to the net


def _clear_optimizer_state(net: NeuralNet, parameter: nn.Parameter, where: torch.Tensor) -> None:
    for name in net._optimizers:
        state = getattr(net, name + "_").state
        for value in state.get(parameter, {}).values():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                value.masked_fill_(where, 0)
