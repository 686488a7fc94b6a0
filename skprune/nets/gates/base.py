"""What all gates share: a layer whose weights learn whether to stay."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

Prunable = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


class Gate(nn.Module):
    """Stands in for a Linear or Conv while a net learns what to remove.

    A gate holds the very parameters `weight` and `bias` of the layer that it stands in for, under
    these names, and parameters of its own, `own_parameters`, from which it can tell at any time
    which of its groups are open. A subclass says how it trains (`forward`), what it costs
    (`penalty`) and what it comes to in the end (`is_open`, `values`).

    Parameters
    ----------
    layer : Linear, Conv1d, Conv2d or Conv3d
        The layer; comes back when the gate is taken away.
    per : {"unit", "weight"}
        What opens and closes as one: an input unit of a Linear or an output map of a Conv, or
        single weights.

    Attributes
    ----------
    travel : float
        How far the gate's own parameters should be able to go in a run: Adam's steps are of the
        size of its rate, so it sets the rate in a short one.
    pace : dict of str to float
        Parameters that go at a part of that rate.
    """

    travel: ClassVar[float] = 60.0
    pace: ClassVar[dict[str, float]] = {}

    def __init__(self, layer: Prunable, per: str) -> None:
        super().__init__()
        self.weight = layer.weight
        bias: Any = layer.bias
        self.register_parameter("bias", bias)
        self._layer = [layer]  # in a list, so that its parameters do not stand here twice
        for hooks in _HOOKS:  # the user's own: they see the gate's calls as they saw the layer's
            vars(self)[hooks] = vars(layer)[hooks]
        self.was_called = False
        self.per = per

    @property
    def layer(self) -> Prunable:
        """The layer that the gate stands in for."""
        return self._layer[0]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and remember it: a module that reads a layer's weights past it has no gate."""
        self.was_called = True
        return super().__call__(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or "_layer" not in vars(self):
                raise
            return getattr(vars(self)["_layer"][0], name)  # in_features, say, for a user's forward

    @property
    def side(self) -> str:
        """What the groups are: "inputs" or "outputs" of the layer, or its "weights"."""
        if self.per == "weight":
            return "weights"
        return "inputs" if isinstance(self.layer, nn.Linear) else "outputs"

    def group_shape(self) -> torch.Size:
        """Give the shape of a tensor of one number a group."""
        axis = {"outputs": 0, "inputs": 1}.get(self.side)
        return self.weight.shape if axis is None else self.weight.shape[axis : axis + 1]

    @property
    def group_size(self) -> int:
        """The number of weights in each group."""
        return self.weight.numel() // max(1, self.group_shape().numel())

    def on_weights(self, values: torch.Tensor) -> torch.Tensor:
        """Shape one number a group such that it multiplies the weights of that group."""
        if self.side == "outputs":
            return values.reshape(-1, *[1] * (self.weight.ndim - 1))
        return values

    def on_bias(self, values: torch.Tensor) -> torch.Tensor | None:
        """Give the bias that goes with some values of the groups: an output map takes its along."""
        if self.bias is None or self.side != "outputs":
            return self.bias
        return self.bias * values

    def own_parameters(self) -> dict[str, nn.Parameter]:
        """Give the parameters that are not the layer's, by name."""
        shared = {"weight", "bias"}
        return {name: p for name, p in self.named_parameters(recurse=False) if name not in shared}

    def run(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Do what the layer does, with other weights."""
        if isinstance(self.layer, nn.Linear):
            return functional.linear(x, weight, bias)
        return self.layer._conv_forward(x, weight, bias)  # padding modes and all

    def run_folded(self, x: torch.Tensor) -> torch.Tensor:
        """Do what the plain layer will do in the end."""
        values = self.values() * self.is_open()
        return self.run(x, self.weight * self.on_weights(values), self.on_bias(values))

    @abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer's output: with noise in training, else as `run_folded`."""

    @abstractmethod
    def penalty(self) -> torch.Tensor:
        """Compute what the groups cost: a scalar that training adds to the loss, scaled."""

    @abstractmethod
    def scores(self) -> torch.Tensor:
        """Give one number a group; the higher, the sooner it is kept."""

    @abstractmethod
    def is_open(self) -> torch.Tensor:
        """Tell which groups stay by the method's own rule: bool, one a group."""

    @abstractmethod
    def values(self) -> torch.Tensor:
        """Give the factor of each group's weights once it stays."""

    def open_probability(self) -> torch.Tensor:
        """Give the chance that each group is open; a matter of yes and no unless overridden."""
        return self.is_open().to(self.weight.dtype)

    def closing_values(self, kept: torch.Tensor) -> torch.Tensor:
        """Give the factor of each group's weights where a number of groups must stay.

        Parameters
        ----------
        kept : Tensor of bool, one a group
            Those that stay, the highest of the `scores` of all gates.

        Returns
        -------
        values : Tensor
            `values`, and 0 for what goes.
        """
        return self.values() * kept
