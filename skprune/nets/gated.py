"""Pruning by gates: put in before training, and folded into plain weights at the end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from skprune.masks import Update
from skprune.masks.groups import Groups, Units, Weights
from skprune.nets.evidence import Rows
from skprune.nets.gates import Gate
from skprune.nets.gates.learning import Learning
from skprune.nets.gates.pressure import Pressure, Run
from skprune.nets.layers import Choice, can_have_gate, modules_of, prunable_layers
from skprune.nets.method import Method
from skprune.nets.structure.wiring import links

GATED = Choice(takes=can_have_gate)


@dataclass(eq=False)
class Gated(Method):
    """Learn what to remove with gates, until a time; then fold them, and train what is left.

    Attributes
    ----------
    make_gate : callable
        (layer, whether it reads the net's input) -> Gate.
    pressure : Pressure
        What makes the gates close.
    sparsity : float or None
        To be reached when the gates are folded; None leaves it to their own rule.
    stop : float
        The epoch at which they are folded.
    epochs : int
        Length of the whole run.
    choice : Choice
        The layers that get gates; others stay dense.
    lr : float or None
        Of the gates' own Adam; None for 1e-3, or more where a run is short.
    """

    make_gate: Callable[[nn.Module, bool], Gate]
    pressure: Pressure
    sparsity: float | None
    stop: float
    epochs: int
    choice: Choice = GATED
    lr: float | None = None

    learning: Learning | None = field(default=None, init=False)
    handles: list[RemovableHandle] = field(default_factory=list, init=False)
    advice = ", or leave the layer out of layers"

    def update_at(self, epoch: float, history: Sequence[dict[str, Any]]) -> Update:
        """Return the update that folds the gates once it is due: at the end of training at last."""
        if epoch == inf or (epoch >= self.stop and self.stop < self.epochs):
            return Update(1.0 if self.sparsity is None else self.sparsity, is_last=True)
        return Update(0.0)

    @contextmanager
    def prepared(self, net: NeuralNet) -> Iterator[None]:
        """Give the net gates: now, or whenever it makes its modules anew."""
        if net.initialized_:
            self.install(net)
        # as instance attributes, past skorch's own __setattr__: nothing of it must stay
        vars(net)["get_all_learnable_params"] = partial(_params_of_layers, net)
        vars(net)["initialize_module"] = partial(_initialize_with_gates, net, self)
        # torch's shortcut through encoder layers in evaluation reads weights past the gates
        shortcut = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(shortcut)
            vars(net).pop("initialize_module")
            vars(net).pop("get_all_learnable_params")
            for handle in self.handles:
                handle.remove()
            self.handles.clear()

    def install(self, net: NeuralNet) -> None:
        """Put gates in place of the layers."""
        layers = prunable_layers(net, self.choice)
        _refuse_odd_layers(net, layers)
        first = next(iter(prunable_layers(net)))
        gates = {name: self.make_gate(layer, name == first) for name, layer in layers.items()}
        groups = _groups(net, gates, layers)
        for name, gate in gates.items():
            _replace(net, layers[name], gate.train(layers[name].training))
        self.learning = Learning(gates, groups, self.pressure, self.sparsity, self.lr)

    def callbacks(self) -> list[Callback]:
        """Return what lets the gates learn."""
        return [_GateSteps(self)]

    def masks(self, net: NeuralNet, update: Update, rows: Rows) -> dict[str, torch.Tensor]:
        """Fold the gates and put the layers back."""
        assert self.learning is not None
        masks = self.learning.fold()
        for gate in self.learning.gates.values():
            gate.layer.train(gate.training)
            _replace(net, gate, gate.layer)
            for parameter in gate.parameters():
                parameter.grad = None
            # a checkpoint of the time with gates may yet be loaded
            drop = partial(_drop_keys, tuple(gate.own_parameters()))
            self.handles.append(gate.layer.register_load_state_dict_pre_hook(drop))
        return masks

    def record(self, net: NeuralNet, sparsity: float) -> dict[str, Any]:
        """Return how the gates stand."""
        assert self.learning is not None
        return self.learning.record(sparsity)

    def sparsity_of(self, net: NeuralNet) -> float | None:
        """Return the sparsity that folding now by the gates' own rule would come to."""
        if self.learning is None or self.learning.folded:
            return None
        return 1 - self.learning.density()


def _groups(net: NeuralNet, gates: Mapping[str, Gate], layers: Mapping[str, Any]) -> Groups:
    shapes = {name: tuple(gate.weight.shape) for name, gate in gates.items()}
    sides = {name: gate.side for name, gate in gates.items()}
    if "weights" in sides.values():
        return Weights(shapes)
    wires = [link for prefix, module in modules_of(net) for link in links(module, layers, prefix)]
    return Units(shapes, sides, wires)


def _drop_keys(
    names: Sequence[str], layer: nn.Module, state: dict[str, Any], prefix: str, *rest: Any
) -> None:
    for name in names:
        state.pop(prefix + name, None)


class _GateSteps(Callback):
    """Adds the gradients of what gates cost before anybody clips them, and takes their steps."""

    def __init__(self, method: Gated) -> None:
        self.method = method
        self.epoch_ = 0
        self.n_steps_ = 1

    def on_epoch_begin(
        self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Count what a run is made of, once it is known."""
        self.step_ = 0
        learning = self.method.learning
        if learning is None or learning.optimizer is not None:
            return
        try:
            self.n_steps_ = len(net.get_iterator(dataset_train, training=True))
            n_rows = len(dataset_train)
        except TypeError as error:
            raise ValueError(
                f"X must have a length: {type(dataset_train).__name__} has none, and what gates "
                f"cost is said per row."
            ) from error
        _refuse_closures(net)
        epochs = min(self.method.stop, self.method.epochs)
        learning.begin(
            Run(
                n_rows=n_rows,
                n_steps=max(1, round(self.n_steps_ * epochs)),
                epochs=epochs,
            )
        )

    def on_grad_computed(
        self, net: NeuralNet, named_parameters: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Add the gradients of what the gates cost."""
        learning = self.method.learning
        if training and learning is not None and not learning.folded:
            learning.add_cost(self.epoch_ + self.step_ / self.n_steps_)

    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Let the gates take their step."""
        learning = self.method.learning
        if training:
            self.step_ += 1
            if learning is not None and not learning.folded:
                learning.step()

    def on_epoch_end(
        self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Count the epochs; after one of them, every gate must have been asked."""
        self.epoch_ += 1
        learning = self.method.learning
        unasked = (
            [] if learning is None else [n for n, g in learning.gates.items() if not g.was_called]
        )
        if unasked and self.step_:
            raise ValueError(
                f"layers {unasked} are not called in the module's forward, which reads their "
                f"weights or keeps them in a list, so gates cannot learn there: leave them out of "
                f"layers."
            )


def _initialize_with_gates(net: NeuralNet, method: Gated) -> NeuralNet:
    type(net).initialize_module(net)
    method.install(net)
    return net


def _params_of_layers(net: NeuralNet) -> Iterator[tuple[str, nn.Parameter]]:
    """List the parameters for the net's own optimizer: gates have one of theirs."""
    own = {
        id(parameter)
        for _, module in modules_of(net)
        for gate in module.modules()
        if isinstance(gate, Gate)
        for parameter in gate.own_parameters().values()
    }
    for name, parameter in type(net).get_all_learnable_params(net):
        if id(parameter) not in own:
            yield name, parameter


def _replace(net: NeuralNet, old: nn.Module, new: nn.Module) -> None:
    """Put a module where another stands, wherever it stands."""
    for name, module in modules_of(net):
        if module is old:
            setattr(net, (name or "module") + "_", new)
        for parent in list(module.modules()):
            if isinstance(parent, Gate):
                continue
            for child_name, child in list(parent._modules.items()):
                if child is old:
                    setattr(parent, child_name, new)


def _refuse_odd_layers(net: NeuralNet, layers: Mapping[str, Any]) -> None:
    owners: dict[int, set[int]] = {}
    for _, module in modules_of(net):
        for layer in module.modules():
            weight = getattr(layer, "_parameters", {}).get("weight")
            if weight is not None:
                owners.setdefault(id(weight), set()).add(id(layer))
    for name, layer in layers.items():
        if is_lazy(layer.weight):
            raise ValueError(
                f"layer {name!r} is a {type(layer).__name__} without a shape yet, so it cannot "
                f"have gates: give it its sizes, or leave it out of layers."
            )
        if "bias" not in layer._parameters:
            raise ValueError(
                f"the bias of layer {name!r} is no parameter but computed from others: make it "
                f"plain again, or leave the layer out of layers."
            )
        if len(owners[id(layer.weight)]) > 1:
            raise ValueError(
                f"layer {name!r} shares its weight with another layer, so it cannot have gates of "
                f"its own: leave it out of layers."
            )
        plain: Any = next(cls for cls in type(layer).__mro__ if cls.__module__.startswith("torch."))
        if type(layer).forward is not plain.forward:
            raise ValueError(
                f"layer {name!r} is a {type(layer).__name__} with a forward of its own, which "
                f"gates would pass by: leave it out of layers."
            )


def _refuse_closures(net: NeuralNet) -> None:
    for name in net._optimizers:
        optimizer = getattr(net, name + "_")
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ValueError(
                f"{name}={type(optimizer).__name__} computes the loss by itself, where what gates "
                f"cost is left out; take one that does not, such as Adam or SGD."
            )
