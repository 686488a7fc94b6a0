"""Gates in a net's training: put in before it, paid for in every step, folded away at the end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from skprune.masks import keep_counts, top_masks
from skprune.masks.units import Link, Units, living, n_living, top_units
from skprune.nets.gates import Gate
from skprune.nets.layers import Choice, can_have_gate, modules_of
from skprune.nets.pressure import Pressure, Run
from skprune.nets.rows import as_array
from skprune.nets.training import Masks, prunable_layers
from skprune.nets.wiring import links

GATED = Choice(takes=can_have_gate)
_RATES = (1e-3, 0.1)  # of the gates' own optimizer, unless the user says otherwise


@dataclass
class GateRecipe:
    """Learn what to remove with gates, until a time; then fold them, and train what is left.

    Attributes
    ----------
    make_gate : callable
        (layer, whether it reads the net's input) -> Gate.
    pressure : Pressure
        What makes the gates close.
    sparsity : float or None
        To be reached exactly when the gates are folded; None leaves it to their own rule.
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

    learning: "Learning | None" = field(default=None, init=False)
    final_level = 1.0
    advice = ", or leave the layer out of layers"

    def level_at(self, epoch: float) -> float:
        """Tell whether the gates are folded: at the end of training at the latest, by `masks`."""
        return 1.0 if epoch >= self.stop and self.stop < self.epochs else 0.0

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
            if self.learning is not None:
                self.learning.forget()

    def install(self, net: NeuralNet) -> None:
        """Put gates in place of the layers."""
        layers = prunable_layers(net, self.choice)
        _refuse_odd_layers(net, layers)
        first = next(iter(prunable_layers(net)))
        wires = [
            link
            for prefix, module in modules_of(net)
            for link in links(module, layers, prefix)
            if link.producer in layers and link.consumer in layers
        ]
        gates = {name: self.make_gate(layer, name == first) for name, layer in layers.items()}
        for name, gate in gates.items():
            _replace(net, layers[name], gate.train(layers[name].training))
        self.learning = Learning(self, gates, wires)

    def callbacks(self) -> list[Callback]:
        """List what has to run before any other callback."""
        return [_Paying(self)]

    def masks(self, net: NeuralNet, level: float) -> Masks:
        """Fold the gates and put the layers back; tell what is zero now."""
        assert self.learning is not None
        return self.learning.fold(net)

    def record(self, net: NeuralNet, sparsity: float) -> dict[str, Any]:
        """Tell how the gates stand, for the history."""
        assert self.learning is not None
        return self.learning.record(sparsity)

    def sparsity_of(self, net: NeuralNet) -> float | None:
        """Tell the sparsity that folding now by the gates' own rule would come to."""
        learning = self.learning
        if learning is None or learning.closed is not None:
            return None
        return 1 - learning.density(lambda gate: gate.is_open().to(gate.weight.dtype))


class Learning:
    """The gates of one run, and their optimizer.

    Parameters
    ----------
    recipe : GateRecipe
        What they were made by.
    gates : dict of str to Gate
        By the names of the layers.
    wires : sequence of Link
        Which layers read which.
    """

    def __init__(self, recipe: GateRecipe, gates: dict[str, Gate], wires: Sequence[Link]) -> None:
        self.recipe = recipe
        self.gates = gates
        self.wires = wires
        self.per_weight = any(gate.side == "weights" for gate in gates.values())
        self.units = {} if self.per_weight else {n: _units(gate) for n, gate in gates.items()}
        self.n_weights = sum(gate.weight.numel() for gate in gates.values())
        self.closed: Masks | None = None
        self.optimizer: torch.optim.Adam | None = None
        self.paid = 0.0
        self.handles: list[RemovableHandle] = []

    def begin(self, run: Run) -> None:
        """Make the gates' optimizer, and tell the pressure how long they learn."""
        rate = self.recipe.lr
        if rate is None:
            travel = max(gate.travel for gate in self.gates.values())
            rate = float(np.clip(travel / run.n_steps, *_RATES))
        own = [
            {"params": [parameter], "lr": rate * gate.pace.get(name, 1.0)}
            for gate in self.gates.values()
            for name, parameter in gate.own_parameters().items()
        ]
        # one pass over the parameters: seven times as fast on a CPU where every weight has one
        fused = all(g.weight.device.type in ("cpu", "cuda") for g in self.gates.values())
        self.optimizer = torch.optim.Adam(own, lr=rate, fused=fused)
        self.recipe.pressure.begin(run)

    def pay(self, epoch: float) -> None:
        """Add the gradients of what the gates cost."""
        cost = self.recipe.pressure.loss(self.gates, self.expected_density, epoch)
        if cost.requires_grad:
            cost.backward()
        self.paid = float(torch.as_tensor(cost).detach()) + 0.0  # never -0

    def step(self) -> None:
        """Take a step with the gates' own parameters."""
        assert self.optimizer is not None
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.recipe.pressure.after_step()

    def expected_density(self) -> Any:
        """Compute the expected fraction of the weights that stay, with its gradient."""
        return self.density(lambda gate: gate.open_probability())

    def density(self, chance: Callable[[Gate], torch.Tensor]) -> Any:
        """Compute the fraction of the weights that stay, of open gates or of chances."""
        told = {name: chance(gate) for name, gate in self.gates.items()}
        if self.per_weight:
            return sum(each.sum() for each in told.values()) / self.n_weights
        return n_living(self.units, living(self.units, told, self.wires)) / self.n_weights

    @torch.no_grad()
    def fold(self, net: NeuralNet) -> Masks:
        """Write what the gates come to into the weights, and put the layers back."""
        if self.closed is not None:
            return self.closed
        kept = self._kept()
        closed: Masks = {}
        for name, gate in self.gates.items():
            values = gate.closing_values(kept[name])
            gate.weight.copy_(gate.weight * gate.on_weights(values))
            if gate.bias is not None:
                gate.bias.copy_(gate.on_bias(values))
            open_weights = gate.on_weights(kept[name]).expand_as(gate.weight)
            closed[f"{name}.weight".lstrip(".")] = ~open_weights
        if not self.per_weight:
            told = {name: kept[name].to(gate.weight.dtype) for name, gate in self.gates.items()}
            alive = living(self.units, told, self.wires)
            for name, (rows, columns) in alive.items():
                gate = self.gates[name]
                dead = (rows[:, None] * columns[None, :] == 0).reshape(
                    *gate.weight.shape[:2], *[1] * (gate.weight.ndim - 2)
                )
                closed[f"{name}.weight".lstrip(".")] = dead.expand_as(gate.weight)
                if gate.bias is not None:
                    closed[f"{name}.bias".lstrip(".")] = rows == 0
        for gate in self.gates.values():
            gate.layer.train(gate.training)
            _replace(net, gate, gate.layer)
            for parameter in gate.parameters():
                parameter.grad = None
            # a checkpoint of the time with gates may yet be loaded
            drop = partial(_drop_keys, tuple(gate.own_parameters()))
            self.handles.append(gate.layer.register_load_state_dict_pre_hook(drop))
        self.closed = closed
        return closed

    def forget(self) -> None:
        """Take the last traces of the gates off the layers."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def _kept(self) -> dict[str, torch.Tensor]:
        sparsity = self.recipe.sparsity
        if sparsity is None:
            return {name: gate.is_open() for name, gate in self.gates.items()}
        scores = {name: as_array(gate.scores()) for name, gate in self.gates.items()}
        if self.per_weight:
            kept = top_masks(scores, keep_counts(scores, sparsity))
        else:
            kept = top_units(self.units, scores, sparsity, self.wires)
        return {
            name: torch.from_numpy(kept[name]).to(gate.weight.device)
            for name, gate in self.gates.items()
        }

    @torch.no_grad()
    def record(self, sparsity: float) -> dict[str, Any]:
        """Tell how the gates stand."""
        if self.closed is not None:
            return {"expected_sparsity": sparsity, "penalty": 0.0, "dual": None}
        entry: dict[str, Any] = {
            "expected_sparsity": 1 - float(self.expected_density()),
            "penalty": self.paid,
            "dual": self.recipe.pressure.dual,
        }
        if not self.per_weight:
            entry["gates"] = {
                name: gate.open_probability().float().cpu().numpy()
                for name, gate in self.gates.items()
            }
        return entry


def _drop_keys(
    names: Sequence[str], layer: nn.Module, state: dict[str, Any], prefix: str, *rest: Any
) -> None:
    for name in names:
        state.pop(prefix + name, None)


class _Paying(Callback):
    """Lets the gates learn: adds what they cost before anybody clips gradients."""

    def __init__(self, recipe: GateRecipe) -> None:
        self.recipe = recipe
        self.epoch_ = 0
        self.n_steps_ = 1

    def on_epoch_begin(
        self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Count what a run is made of, once it is known."""
        self.step_ = 0
        learning = self.recipe.learning
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
        epochs = min(self.recipe.stop, self.recipe.epochs)
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
        learning = self.recipe.learning
        if training and learning is not None and learning.closed is None:
            learning.pay(self.epoch_ + self.step_ / self.n_steps_)

    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Let the gates take their step."""
        learning = self.recipe.learning
        if training:
            self.step_ += 1
            if learning is not None and learning.closed is None:
                learning.step()

    def on_epoch_end(
        self, net: NeuralNet, dataset_train: Any = None, dataset_valid: Any = None, **kwargs: Any
    ) -> None:
        """Count the epochs; after one of them, every gate must have been asked."""
        self.epoch_ += 1
        learning = self.recipe.learning
        unasked = (
            [] if learning is None else [n for n, g in learning.gates.items() if not g.was_called]
        )
        if unasked and self.step_:
            raise ValueError(
                f"layers {unasked} are not called in the module's forward, which reads their "
                f"weights or keeps them in a list, so gates cannot learn there: leave them out of "
                f"layers."
            )


def _initialize_with_gates(net: NeuralNet, recipe: GateRecipe) -> NeuralNet:
    type(net).initialize_module(net)
    recipe.install(net)
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


def _units(gate: Gate) -> Units:
    n_outputs, n_inputs, *kernel = gate.weight.shape
    return Units(n_outputs, n_inputs, int(np.prod(kernel)), gate.side)
