"""Which parameters of which layers are weights that can be pruned."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from skorch import NeuralNet
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from skprune.nets.gates.base import Gate, Prunable

# a subclass is pruned as its base is
WEIGHTS: dict[type[nn.Module], tuple[str, ...]] = {
    **dict.fromkeys((nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, Gate), ("weight",)),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), ("weight",)),
    nn.Bilinear: ("weight",),
    nn.RNNCellBase: ("weight_ih", "weight_hh"),
    nn.MultiheadAttention: ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
}
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def weight_names(layer: nn.Module) -> list[str]:
    """Name the weights of a layer that can be pruned.

    Parameters
    ----------
    layer : nn.Module
        Of any kind.

    Returns
    -------
    names : list of str
        Attributes of the layer, without those of its children. Empty for a layer of no kind that
        is pruned; biases, norms and embeddings are not.

    Examples
    --------
    >>> from torch import nn
    >>> weight_names(nn.Linear(3, 2)), weight_names(nn.LSTM(3, 2)), weight_names(nn.Embedding(3, 2))
    (['weight'], ['weight_ih_l0', 'weight_hh_l0'], [])
    """
    if isinstance(layer, nn.RNNBase):
        # one for each layer, direction and projection
        return [name for name in layer._flat_weights_names if name.startswith("weight")]
    known = next((WEIGHTS[cls] for cls in type(layer).__mro__ if cls in WEIGHTS), ())
    return [name for name in known if getattr(layer, name, None) is not None]


def is_prunable(layer: nn.Module) -> bool:
    """Tell whether a layer has weights that can be pruned.

    Parameters
    ----------
    layer : nn.Module
        Of any kind.

    Returns
    -------
    whether : bool
    """
    return bool(weight_names(layer))


def can_have_gate(layer: nn.Module) -> bool:
    """Tell whether a gate can stand in for a layer, or does.

    Parameters
    ----------
    layer : nn.Module
        Of any kind.

    Returns
    -------
    whether : bool
        False for the last projection of an attention, whose weight is read without a call.
    """
    if isinstance(layer, NonDynamicallyQuantizableLinear):
        return False
    return isinstance(layer, Prunable | Gate)


def modules_of(net: NeuralNet) -> list[tuple[str, nn.Module]]:
    """List the modules of a net, each with what stands before the names of its layers.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.

    Returns
    -------
    modules : list of (str, Module)
        The prefix of ``module_`` itself is empty.
    """
    named = ((name, getattr(net, name + "_")) for name in net._modules)
    return [
        # what torch.compile wraps
        ("" if name == "module" else name, getattr(module, "_orig_mod", module))
        for name, module in named
    ]


@dataclass(frozen=True)
class Choice:
    """Which layers of a net are meant.

    Attributes
    ----------
    layers : sequence of str or None
        Their names; None for all that `takes` accepts.
    takes : callable
        Layer -> whether its kind is meant.
    """

    layers: Sequence[str] | None = None
    takes: Callable[[nn.Module], bool] = is_prunable


EVERY = Choice()


def dense_weights(
    module: nn.Module, pruned: set[int], prefix: str = ""
) -> Iterator[tuple[str, torch.Tensor]]:
    """List the weights of a module that are not pruned, each with a word on what it is.

    Parameters
    ----------
    module : nn.Module
        A net's module.
    pruned : set of int
        The ids of the parameters that are pruned.
    prefix : str, default=""
        What stands before the names of this module's layers.

    Yields
    ------
    what, weight : str, Tensor
        The layer and its type. A parameter of one dimension is a bias or a scale, not a weight.
    """
    seen = set(pruned)
    for name, layer in module.named_modules(prefix=prefix):
        if isinstance(layer, _NORMS):
            continue
        for key, parameter in layer.named_parameters(recurse=False):
            is_new = id(parameter) not in seen
            seen.add(id(parameter))
            if is_new and parameter.ndim > 1 and "bias" not in key:
                full = f"{name}.{key}".lstrip(".")
                yield f"{full!r} ({type(layer).__name__})", parameter
