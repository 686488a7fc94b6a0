"""Torch module -> layers of the engine: the one place that knows both."""

import operator
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array, eye_array
from sklearn.base import is_classifier
from skorch import NeuralNet, NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from torch import fx, nn

from skprune.engine import Layer, Network
from skprune.engine.cleanup import without_dead_units
from skprune.nets.modules import MLPNetClassifier, MLPNetRegressor, _SizedByData
from skprune.nets.rows import numbers_of


class UnsupportedLayerError(ValueError):
    """The engine lacks a layer of the net; the message names it."""


@dataclass(frozen=True)
class _Activation:
    name: str
    alpha: float = 0.0


@dataclass(frozen=True)
class _Affine:
    """``y = scale * x + shift`` unit by unit: a batch norm in evaluation mode."""

    scale: np.ndarray
    shift: np.ndarray


_NOTHING = object()  # what a dropout or a flatten is at prediction


def lower(net: NeuralNet, X: Any, engine: str = "auto") -> Network:
    """Compile a fitted skorch net for the engine.

    Parameters
    ----------
    net : NeuralNet
        A fitted net whose module is a chain of layers, written with modules or functions.
    X : ndarray of shape (n_samples, ...), or what else skorch takes
        Some rows in the net's form, on which the result is compared with the net. The engine
        reads them as float32, whatever the net computes with.
    engine : {"auto", "native", "scipy"}, default="auto"
        See :class:`skprune.engine.Network`.

    Returns
    -------
    network : Network
        Its `predict` is the net's `predict_proba`, the nonlinearity that skorch infers from
        the criterion included; its `transform` is the last hidden layer.

    Raises
    ------
    UnsupportedLayerError
        If the engine lacks a layer, or would not predict what the net predicts.

    Examples
    --------
    >>> import numpy as np
    >>> from skprune import MLPNetClassifier
    >>> X, y = np.eye(4, dtype=np.float32), [0, 1, 0, 1]
    >>> net = MLPNetClassifier((3,), max_epochs=1, random_state=0).fit(X, y)
    >>> network = lower(net, X)
    >>> [layer.activation for layer in network.layers]
    ['relu', 'softmax']
    >>> bool(np.allclose(network.predict(X), net.predict_proba(X), atol=1e-6))
    True
    """
    _check_prediction_is_skorch_s_own(net)
    steps = _trace(_only_module(net))
    chain = _fold(steps)
    n_hidden = max(i for i, layer in enumerate(chain) if layer.name)
    chain = _append(chain, _predict_nonlinearity(net, chain[-1].weight.shape[0]))
    chain, constants = without_dead_units(chain, n_hidden)
    network = Network(chain, engine, n_hidden, constants)
    _check_agreement(network, net, X)
    return network


def _check_prediction_is_skorch_s_own(net: NeuralNet) -> None:
    known = (
        NeuralNet,
        NeuralNetClassifier,
        NeuralNetBinaryClassifier,
        NeuralNetRegressor,
        MLPNetClassifier,
        MLPNetRegressor,
        _SizedByData,
    )
    for method in ("predict", "predict_proba", "forward_iter", "evaluation_step", "infer"):
        owner = next(cls for cls in type(net).__mro__ if method in vars(cls))
        if owner not in known:
            raise UnsupportedLayerError(f"{owner.__name__} has a {method} of its own")


def _only_module(net: NeuralNet) -> nn.Module:
    if net._modules != ["module"]:
        raise UnsupportedLayerError(f"the net has several modules: {net._modules}")
    module = getattr(net.module_, "_orig_mod", net.module_)
    return deepcopy(module).cpu().float().eval()


# --- module -> steps ----------------------------------------------------------------------


class _LayerTracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, tuple(LAYERS)) or super().is_leaf_module(m, module_qualified_name)


def _trace(module: nn.Module) -> list[tuple[str, Any]]:
    """List what a module does to its one input, in order: (name, layer or step)."""
    root = nn.Sequential(OrderedDict(net=module))  # so that a lone Linear is a layer too
    try:
        graph = _LayerTracer().trace(root)
    except Exception as error:  # whatever a user's forward raises on a symbolic input
        raise UnsupportedLayerError(
            f"the forward of {type(module).__name__} cannot be traced: {error}"
        ) from error
    modules = dict(root.named_modules())
    steps: list[tuple[str, Any]] = []
    tip: fx.Node | None = None
    sizes: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder":
            tip = tip or node
        elif node.op == "output":
            if node.args[0] is not tip:
                raise UnsupportedLayerError("the module returns more than its last layer")
        elif node.target in ("size", operator.getitem, getattr) and (
            node.args[0] is tip or node.args[0] in sizes
        ):
            sizes.add(node)
        else:
            if [n for n in node.all_input_nodes if n not in sizes] != [tip]:
                raise UnsupportedLayerError(f"{node.name} is not one of a chain of layers")
            layer = modules[node.target] if node.op == "call_module" else _functional(node)
            name = str(node.target) if node.op == "call_module" else node.name
            name = name.removeprefix("net.")
            steps.append((name, _step(name, layer)))
            tip = node
    return steps


def _functional(node: fx.Node) -> nn.Module:
    """Give the module that does what a function or tensor method in a forward does."""
    name = node.target if isinstance(node.target, str) else node.target.__name__
    make = FUNCTIONS.get(name)
    if make is None:
        raise UnsupportedLayerError(f"{node.name}: the engine has no {name}")
    return make(*node.args[1:], **{k: v for k, v in node.kwargs.items() if k != "inplace"})


def _reshape(*shape: Any) -> nn.Module:
    # x.view(len(x), -1) and the like; any other reshape is not a chain of layers
    if len(shape) == 2 and isinstance(shape[0], fx.Node) and shape[1] == -1:
        return nn.Flatten()
    raise UnsupportedLayerError(f"a reshape to {shape} is not a flatten")


def _functional_dropout(p: float = 0.5, training: bool = True) -> nn.Module:
    if training:
        raise UnsupportedLayerError("a dropout that is active at prediction")
    return nn.Dropout(p)


def _squeeze(dim: int = -1) -> nn.Module:
    return nn.Identity()  # of a last layer of one unit; `_check_agreement` sees to others


FUNCTIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softmax": lambda dim=None, **_: nn.Softmax(dim),
    "log_softmax": lambda dim=None, **_: nn.LogSoftmax(dim),
    "dropout": _functional_dropout,
    "flatten": lambda start_dim=0, end_dim=-1: nn.Flatten(start_dim, end_dim),
    "view": _reshape,
    "reshape": _reshape,
    "squeeze": _squeeze,
}


def _step(name: str, layer: nn.Module) -> Any:
    """Translate one torch layer: a Layer, an activation, an affine map or nothing."""
    known = next((cls for cls in type(layer).__mro__ if cls in LAYERS), None)
    if known is None or type(layer).forward is not known.forward:
        raise UnsupportedLayerError(f"{name}: the engine has no {type(layer).__name__}")
    return LAYERS[known](name, layer)


def _linear(name: str, layer: Any) -> Layer:
    weight = csr_array(layer.weight.detach().numpy())
    bias = np.zeros(weight.shape[0], np.float32)
    if layer.bias is not None:
        bias = layer.bias.detach().numpy().copy()
    return Layer(weight, bias, name=name)


def _batch_norm(name: str, layer: Any) -> _Affine:
    if layer.running_mean is None:
        raise UnsupportedLayerError(f"{name}: a batch norm without running statistics")
    mean, variance = layer.running_mean.double(), layer.running_var.double()
    gamma = layer.weight.double() if layer.affine else torch.ones_like(mean)
    beta = layer.bias.double() if layer.affine else torch.zeros_like(mean)
    scale = gamma / torch.sqrt(variance + layer.eps)
    return _Affine(scale.detach().numpy(), (beta - mean * scale).detach().numpy())


def _softmax(kind: str, name: str, layer: Any) -> _Activation:
    if layer.dim not in (None, 1, -1):
        raise UnsupportedLayerError(f"{name}: a softmax over dim={layer.dim}")
    return _Activation(kind)


def _flatten(name: str, layer: Any) -> Any:
    if layer.start_dim != 1 or layer.end_dim != -1:
        raise UnsupportedLayerError(f"{name}: a flatten that is not of whole rows")
    return _NOTHING


def _gelu(name: str, layer: Any) -> _Activation:
    return _Activation("gelu_tanh" if layer.approximate == "tanh" else "gelu")


LAYERS: dict[type[nn.Module], Callable[[str, Any], Any]] = {
    nn.Linear: _linear,
    nn.BatchNorm1d: _batch_norm,
    nn.ReLU: lambda name, layer: _Activation("relu"),
    nn.LeakyReLU: lambda name, layer: _Activation("leaky_relu", layer.negative_slope),
    nn.ELU: lambda name, layer: _Activation("elu", layer.alpha),
    nn.GELU: _gelu,
    nn.Tanh: lambda name, layer: _Activation("tanh"),
    nn.Sigmoid: lambda name, layer: _Activation("sigmoid"),
    nn.Softmax: partial(_softmax, "softmax"),
    nn.LogSoftmax: partial(_softmax, "log_softmax"),
    nn.Flatten: _flatten,
    nn.Identity: lambda name, layer: _NOTHING,
    nn.Dropout: lambda name, layer: _NOTHING,
    nn.AlphaDropout: lambda name, layer: _NOTHING,
}


# --- steps -> layers ----------------------------------------------------------------------


def _fold(steps: list[tuple[str, Any]]) -> list[Layer]:
    """Fold activations and batch norms into the layers beside them.

    What stands before the last Linear stays out of it: `transform` returns it.
    """
    layers: list[Layer] = []
    waiting: _Affine | None = None  # a batch norm that the next Linear takes in
    n_linear = sum(isinstance(step, Layer) for _, step in steps)
    for name, step in steps:
        if step is _NOTHING:
            continue
        if isinstance(step, Layer):
            n_linear -= 1
            if waiting is not None and n_linear == 0:
                layers.append(_diagonal(waiting))
            elif waiting is not None:
                step = _after_affine(step, waiting)
            layers.append(step)
            waiting = None
        elif isinstance(step, _Affine):
            if waiting is not None:
                layers.append(_diagonal(waiting))
                waiting = None
            if layers and layers[-1].activation == "identity":
                layers[-1] = _before_affine(layers[-1], step)
            else:
                waiting = step
        else:
            if waiting is not None:
                layers.append(_diagonal(waiting))
                waiting = None
            layers += [_activate(layers, name, step)]
    if waiting is not None:
        layers.append(_diagonal(waiting))
    if not any(layer.name for layer in layers):
        raise UnsupportedLayerError("the module has no Linear layer")
    return layers


def _activate(layers: list[Layer], name: str, activation: _Activation) -> Layer:
    if not layers:
        raise UnsupportedLayerError(f"{name}: an activation before the first Linear")
    if layers[-1].activation == "identity":
        return replace(layers.pop(), activation=activation.name, alpha=activation.alpha)
    return replace(
        _identity(layers[-1].weight.shape[0]), activation=activation.name, alpha=activation.alpha
    )


def _identity(width: int) -> Layer:
    return Layer(
        csr_array(eye_array(width, dtype=np.float32, format="csr")), np.zeros(width, np.float32)
    )


def _diagonal(affine: _Affine) -> Layer:
    weight = csr_array(diags_array(affine.scale, format="csr"))
    return Layer(weight.astype(np.float32), affine.shift.astype(np.float32))


def _before_affine(layer: Layer, affine: _Affine) -> Layer:
    weight = diags_array(affine.scale) @ layer.weight.astype(np.float64)
    bias = affine.scale * layer.bias + affine.shift
    return replace(layer, weight=csr_array(weight).astype(np.float32), bias=bias.astype(np.float32))


def _after_affine(layer: Layer, affine: _Affine) -> Layer:
    weight = layer.weight.astype(np.float64)
    bias = layer.bias + weight @ affine.shift
    scaled = csr_array(weight @ diags_array(affine.scale))
    return replace(layer, weight=scaled.astype(np.float32), bias=bias.astype(np.float32))


def _predict_nonlinearity(net: NeuralNet, width: int) -> list[Layer]:
    """Write what skorch applies to a module's output as layers of the engine.

    See `predict_nonlinearity` of :class:`skorch.NeuralNet`; "auto" goes by the criterion.
    """
    if net.predict_nonlinearity is None:
        return []
    if net.predict_nonlinearity != "auto":
        raise UnsupportedLayerError(f"predict_nonlinearity={net.predict_nonlinearity!r}")
    criterion = getattr(net.criterion_, "_orig_mod", net.criterion_)
    if isinstance(criterion, nn.CrossEntropyLoss):
        return [replace(_identity(width), activation="softmax")]
    if isinstance(criterion, nn.BCEWithLogitsLoss | nn.BCELoss) and width == 1:
        to_both = csr_array(np.array([[-1], [1]], np.float32))
        both = Layer(to_both, np.array([1, 0], np.float32))  # p -> 1 - p, p
        sigmoid = replace(_identity(1), activation="sigmoid")
        return [both] if isinstance(criterion, nn.BCELoss) else [sigmoid, both]
    return []


def _append(chain: list[Layer], behind: list[Layer]) -> list[Layer]:
    """Join two chains; a last layer without activation takes over that of what follows."""
    if behind and behind[0].activation != "identity" and chain[-1].activation == "identity":
        chain[-1] = replace(chain[-1], activation=behind[0].activation)
        behind = behind[1:]
    return chain + behind


def _check_agreement(network: Network, net: NeuralNet, X: Any) -> None:
    """Compare the two on real rows: hooks, say, change a net without a trace in its graph."""
    rows = X[:16] if isinstance(X, np.ndarray) else X
    numbers = numbers_of(rows)
    if numbers is None:
        raise UnsupportedLayerError(f"X is no array of numbers, but {type(X).__name__}")
    shape = getattr(rows, "shape", numbers.shape)
    if len(shape) == 2 and shape[1] != network.n_features_in:
        raise ValueError(
            f"X has {shape[1]} features, but {type(net.module_).__name__} takes "
            f"{network.n_features_in} features."
        )
    try:
        ours = network.predict(numbers)
    except ValueError as error:
        raise UnsupportedLayerError(f"rows of shape {shape[1:]} do not fit: {error}") from error
    theirs = net.predict_proba(rows)
    if theirs.ndim == 1 and is_classifier(net):
        raise UnsupportedLayerError("predict_proba gives one score a row, and no column a class")
    theirs = theirs.reshape(len(rows), -1) if theirs.ndim < 3 else theirs
    scale = np.abs(theirs).max(initial=1.0)
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * scale):
        raise UnsupportedLayerError(
            f"the engine's predictions differ from those of {type(net.module_).__name__}"
        )
