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
        self._held: list[tuple[torch.Tensor, torch.Tensor]] = []

    def put_on(self, net: NeuralNet, kept: Masks) -> None:
        """Take new masks: zero what they close, and forget the optimizer's state where they change.

        Momenta of weights that close belong to values that are gone; those of weights that open
        again belong to an earlier life.
        """
        parameters = parameters_named(net)
        for name in {**self.kept, **kept}:
            ones = torch.ones_like(parameters[name], dtype=torch.bool)
            stay = self.kept.get(name, ones) & kept.get(name, ones)
            _clear_optimizer_state(net, parameters[name], stay)
        self.kept = dict(kept)
        self.find(net)
        self.hold()

    def find(self, net: NeuralNet) -> None:
        """Look up the parameters, which may have been replaced."""
        parameters = parameters_named(net) if self.kept else {}
        self._held = [
            as_bits(parameters[name].detach(), mask)
            for name, mask in self.kept.items()
            if not bool(mask.all())
        ]

    def hold(self) -> None:
        """Undo what the optimizer, or a checkpoint, did to zeros."""
        for bits, stay in self._held:
            bits.bitwise_and_(stay)

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_held": []}  # the parameters belong to the net


def as_bits(values: torch.Tensor, kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return numbers and a mask as integers whose bitwise and is zero where the mask is False.

    It takes a tenth of the time of ``masked_fill_``, which matters at every step.

    Parameters
    ----------
    values : Tensor
        Floats.
    kept : Tensor of bool
        Of the same shape.

    Returns
    -------
    bits, stay : Tensor
        A view of the values, and an array of all bits or none.

    Examples
    --------
    >>> import torch
    >>> values = torch.tensor([1.0, -2.0, float("nan")])
    >>> bits, stay = as_bits(values, torch.tensor([True, False, False]))
    >>> _ = bits.bitwise_and_(stay)
    >>> values
    tensor([1., 0., 0.])
    """
    if values.is_complex():
        values, kept = torch.view_as_real(values), kept[..., None]
    bits = values.view(_INTEGERS[values.element_size()])
    return bits, -kept.to(bits.dtype)


_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _clear_optimizer_state(net: NeuralNet, parameter: nn.Parameter, stay: torch.Tensor) -> None:
    for name in net._optimizers:
        state = getattr(net, name + "_").state
        for value in state.get(parameter, {}).values():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                bits, mask = as_bits(value, stay.to(value.device))
                bits.bitwise_and_(mask)
