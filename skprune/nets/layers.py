"""Which parameters of which layers are weights that can be pruned, and how sparse they are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.sparse import csr_array
from skorch import NeuralNet
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from skprune.nets.gates.base import Gate, Prunable
from skprune.nets.rows import as_array

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


def prunable_layers(net: NeuralNet, choice: Choice = EVERY) -> dict[str, Any]:
    """Name the layers of a net that are pruned.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.
    choice : Choice
        Which to take; by default all.

    Returns
    -------
    layers : dict of str to Module
        In the order of the module; layers that share all their weights stand once.

    Raises
    ------
    ValueError
        If a name is none of such a layer, or if there is nothing to prune.
    """
    all_of_kind = {
        name: layer
        for prefix, module in modules_of(net)
        for name, layer in module.named_modules(prefix=prefix)
        if weight_names(layer) and choice.takes(layer)
    }
    if not all_of_kind:
        raise ValueError(
            f"estimator has no Linear or Conv layer to prune, nor another layer that can be: "
            f"{net.module!r}."
        )
    layers = choice.layers
    if layers is not None and (not layers or set(layers) - set(all_of_kind)):
        raise ValueError(f"layers={layers!r} must name layers among {list(all_of_kind)}.")
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for name, layer in all_of_kind.items():
        weights = {id(getattr(layer, key)) for key in weight_names(layer)}
        if (layers is None or name in layers) and weights - seen:
            found[name] = layer
            seen |= weights
    computed = [n for n, la in found.items() if set(weight_names(la)) - set(la._parameters)]
    if computed:
        raise ValueError(
            f"the weights of {computed} are no parameters but computed from others (weight_norm, "
            f"torch's own pruning): make them plain again, or leave the layers out of layers."
        )
    return found


def prunable_weights(net: NeuralNet, choice: Choice = EVERY) -> dict[str, nn.Parameter]:
    """Name the weights of a net that are pruned.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.
    choice : Choice
        Which layers to take; by default all.

    Returns
    -------
    weights : dict of str to Parameter
        Named as in the module's ``named_parameters``; one that several layers share stands once.
    """
    found: dict[str, nn.Parameter] = {}
    for name, layer in prunable_layers(net, choice).items():
        for key in weight_names(layer):
            weight = getattr(layer, key)
            if not any(weight is other for other in found.values()):
                found[f"{name}.{key}".lstrip(".")] = weight
    return found


def parameters_named(net: NeuralNet) -> dict[str, nn.Parameter]:
    """Return all parameters of a net by name; one that has several names stands several times."""
    return {
        name: parameter
        for prefix, module in modules_of(net)
        for name, parameter in module.named_parameters(prefix=prefix, remove_duplicate=False)
    }


def sparse_weights(net: NeuralNet, choice: Choice = EVERY) -> dict[str, csr_array]:
    """Copy the pruned layers' weights into CSR arrays.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.
    choice : Choice
        Which layers to take; by default all.

    Returns
    -------
    weights : dict of str to csr_array
        Named as in the module's ``named_parameters``. Rows are those of the parameter, and all its
        other dimensions are one: (n_out, n_in * kernel size) of a Linear or Conv.
    """
    return {
        name: csr_array(as_array(weight.detach().flatten(start_dim=1)))
        for name, weight in prunable_weights(net, choice).items()
    }


def measured_sparsity(net: NeuralNet, choice: Choice = EVERY) -> float:
    """Count the fraction of the prunable weights that are zero.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.
    choice : Choice
        Which layers to take; by default all.

    Returns
    -------
    sparsity : float
        In [0, 1].
    """
    weights = prunable_weights(net, choice).values()
    zeros = sum(w.numel() - int(torch.count_nonzero(w)) for w in weights)
    return zeros / sum(w.numel() for w in weights)


def label(name: str) -> str:
    """Return the name of a weight as users name its layer, where it is the only one of it."""
    return name.removesuffix(".weight")


def check_finite(weights: Mapping[str, nn.Parameter]) -> None:
    """Refuse weights that a training has spoiled.

    Parameters
    ----------
    weights : mapping of str to Parameter
        As `prunable_weights` returns them.

    Raises
    ------
    ValueError
        If one of them holds NaN or infinity.
    """
    for name, weight in weights.items():
        if not bool(torch.isfinite(weight.detach()).all()):
            raise ValueError(
                f"the weights of layer {label(name)!r} hold NaN or infinity: training diverged; "
                f"lower the estimator's lr, or scale X and y."
            )


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
