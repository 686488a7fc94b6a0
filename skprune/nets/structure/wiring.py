"""Which layer of a module reads which other's units."""

from collections.abc import Iterable
from typing import Any

from skorch import NeuralNet
from torch import fx, nn

from skprune.masks.groups import Link
from skprune.nets.gates.base import Prunable
from skprune.nets.layers import modules_of

# what treats every unit for itself: True where a unit that is zero stays zero
MODULES: dict[type[nn.Module], bool] = {
    nn.ReLU: True, nn.ReLU6: True, nn.LeakyReLU: True, nn.ELU: True, nn.GELU: True, nn.SiLU: True,
    nn.Tanh: True, nn.Identity: True, nn.Dropout: True, nn.Dropout1d: True, nn.Dropout2d: True,
    nn.Dropout3d: True, nn.Hardswish: True, nn.Mish: True, nn.CELU: True, nn.SELU: True,
    nn.Softsign: True,
    nn.Hardtanh: False, nn.Sigmoid: False, nn.Softplus: False, nn.BatchNorm1d: False,
    nn.BatchNorm2d: False, nn.BatchNorm3d: False, nn.AlphaDropout: False,
}  # fmt: skip
FUNCTIONS: dict[str, bool] = {
    "relu": True, "relu_": True, "leaky_relu": True, "elu": True, "gelu": True, "silu": True,
    "tanh": True, "dropout": True, "sigmoid": False, "softplus": False,
}  # fmt: skip
# the same for the maps of a convolution of as many dimensions, and for nothing else; all keep zeros
POOLS: dict[type[nn.Module] | str, int] = {
    nn.MaxPool1d: 1, nn.MaxPool2d: 2, nn.MaxPool3d: 3,
    nn.AvgPool1d: 1, nn.AvgPool2d: 2, nn.AvgPool3d: 3,
    nn.AdaptiveAvgPool1d: 1, nn.AdaptiveAvgPool2d: 2, nn.AdaptiveAvgPool3d: 3,
    nn.AdaptiveMaxPool1d: 1, nn.AdaptiveMaxPool2d: 2, nn.AdaptiveMaxPool3d: 3,
    "max_pool1d": 1, "max_pool2d": 2, "max_pool3d": 3,
    "avg_pool1d": 1, "avg_pool2d": 2, "avg_pool3d": 3,
    "adaptive_avg_pool1d": 1, "adaptive_avg_pool2d": 2, "adaptive_avg_pool3d": 3,
}  # fmt: skip
FLATTENS = ("flatten", "view", "reshape")


def links(module: nn.Module, layers: Iterable[str], prefix: str = "") -> list[Link]:
    """Find pairs of layers of which one is the only reader of the other's units.

    Parameters
    ----------
    module : nn.Module
        A net's module, with its own layers in place.
    layers : iterable of str
        Names of Linear and Conv layers, as `named_modules` has them behind `prefix`.
    prefix : str, default=""
        What stands before the names of this module's layers.

    Returns
    -------
    links : list of Link
        A pair that cannot be told from the module's graph, or whose graph cannot be traced, is
        left out: its units are then pruned as if nobody knew what they mean to each other.

    Examples
    --------
    >>> from torch import nn
    >>> links(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), ["0", "2"])
    [Link(producer='0', consumer='2', keeps_zero=True)]
    """
    names = {(f"{prefix}.{n}" if prefix else n): m for n, m in module.named_modules()}
    wanted = {names[name]: name for name in layers if name in names}
    try:
        graph = _Tracer().trace(module)
    except Exception:  # whatever a user's forward raises on a symbolic input
        return []
    modules = dict(module.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    called = [modules[str(node.target)] for node in calls]
    found = []
    for node, producer in zip(calls, called, strict=True):
        if producer not in wanted or called.count(producer) > 1:
            continue
        reader, keeps_zero, flattened = _only_reader(node, modules, producer.weight.ndim - 2)
        if reader is None or reader not in wanted or called.count(reader) > 1:
            continue
        if _fits(producer, reader, flattened):
            found.append(Link(wanted[producer], wanted[reader], keeps_zero))
    return found


def outputs(module: nn.Module, layers: Iterable[str], prefix: str = "") -> set[str]:
    """Find the layers whose outputs are those of the module, with no other layer behind them.

    Parameters
    ----------
    module : nn.Module
        A net's module, with its own layers in place.
    layers : iterable of str
        Names of Linear and Conv layers, as `named_modules` has them behind `prefix`.
    prefix : str, default=""
        What stands before the names of this module's layers.

    Returns
    -------
    outputs : set of str
        Of a module whose graph cannot be traced, the last layer.

    Examples
    --------
    >>> from torch import nn
    >>> outputs(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), ["0", "2"])
    {'2'}
    """
    names = {m: (f"{prefix}.{n}" if prefix else n) for n, m in module.named_modules()}
    every = [name for m, name in names.items() if isinstance(m, Prunable)]
    try:
        graph = _Tracer().trace(module)
    except Exception:  # whatever a user's forward raises on a symbolic input
        return set(layers) & set(every[-1:])
    modules = dict(module.named_modules())
    found, seen = set(), set()
    waiting = [node for node in graph.nodes if node.op == "output"]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        called: Any = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(called, Prunable):
            found.add(names[called])
        else:
            waiting.extend(node.all_input_nodes)
    return found & set(layers)


def wiring_of(net: NeuralNet, weights: Iterable[str]) -> tuple[list[Link], set[str]]:
    """Return the links between a net's layers, and those layers whose outputs are the net's.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.
    weights : iterable of str
        Names of the weights of its layers.

    Returns
    -------
    links, outputs : list of Link, set of str
        By the names of the weights.

    Raises
    ------
    ValueError
        If a weight is none of a Linear or Conv, whose rows are its outputs.
    """
    weight_of = {name.removesuffix("weight").rstrip("."): name for name in weights}
    modules = modules_of(net)
    plain = {
        name
        for prefix, module in modules
        for name, layer in module.named_modules(prefix=prefix)
        if isinstance(layer, Prunable)
    }
    odd = sorted(set(weight_of) - plain)
    if odd:
        raise ValueError(
            f"granularity='neuron' prunes the outputs of Linear and Conv layers, and {odd} are "
            f"none: leave them out of layers, or take another granularity."
        )
    found = [link for prefix, module in modules for link in links(module, weight_of, prefix)]
    last = set().union(*(outputs(module, weight_of, prefix) for prefix, module in modules))
    named = [Link(weight_of[a], weight_of[b], zero) for a, b, zero in found]
    return named, {weight_of[name] for name in last}


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Prunable) or super().is_leaf_module(m, module_qualified_name)


def _only_reader(
    node: fx.Node, modules: dict[str, nn.Module], n_dims: int
) -> tuple[nn.Module | None, bool, bool]:
    """Follow the output of a layer, whose units have so many dimensions, to its only reader."""
    keeps_zero, flattened = True, False
    while True:
        readers = [user for user in node.users if not _asks_for_size(user)]
        if len(readers) != 1:
            return None, keeps_zero, flattened
        source, node = node, readers[0]
        if node.op == "call_module":
            module: Any = modules[str(node.target)]
            if isinstance(module, Prunable):
                return module, keeps_zero, flattened
            if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
                flattened = True
                continue
            passes = MODULES.get(type(module))
            if isinstance(module, nn.Hardtanh):
                passes = bool(module.min_val <= 0 <= module.max_val)
            pools = POOLS.get(type(module))
        elif node.op in ("call_function", "call_method") and node.args and node.args[0] is source:
            name = node.target if isinstance(node.target, str) else node.target.__name__
            if name in FLATTENS and _flattens_rows(node, name):
                flattened = True
                continue
            passes = FUNCTIONS.get(name)
            pools = POOLS.get(name)
        else:
            passes = pools = None
        if pools is not None and pools == n_dims and not flattened:
            continue
        if passes is None:
            return None, keeps_zero, flattened
        keeps_zero = keeps_zero and passes


def _asks_for_size(node: fx.Node) -> bool:
    if node.target is getattr:
        return str(node.args[1]) in ("shape", "ndim", "dtype", "device")
    return node.target in ("size", "dim")


def _flattens_rows(node: fx.Node, name: str) -> bool:
    if name == "flatten":
        dims = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
        return (dims.get("start_dim", 0), dims.get("end_dim", -1)) == (1, -1)
    rest = list(node.args[1:])
    if len(rest) == 1 and isinstance(rest[0], tuple | list):
        rest = list(rest[0])
    return len(rest) == 2 and isinstance(rest[0], fx.Node) and bool(rest[1] == -1)


def _fits(producer: Any, reader: Any, flattened: bool) -> bool:
    """Tell whether the reader's inputs are the producer's outputs, each perhaps several times."""
    n_units, n_read = int(producer.weight.shape[0]), int(reader.weight.shape[1])
    if isinstance(producer, nn.Linear):
        return isinstance(reader, nn.Linear) and n_units == n_read
    if isinstance(reader, nn.Linear):
        return flattened and n_read % n_units == 0
    return not flattened and bool(reader.groups == 1) and n_units == n_read


__all__ = ["links", "outputs", "wiring_of"]
