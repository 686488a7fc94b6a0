"""Gathers evidence: while a net trains, or in one pass over training rows."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.dataset import get_len, unpack_data
from torch import nn
from torch.utils.data import Subset

from skprune.nets.evidence.base import Evidence, Rows, Seen
from skprune.nets.layers import Choice, modules_of, prunable_weights
from skprune.nets.seeding import seeded


class Gathering(Callback):
    """Takes in the gradients of every batch before anybody clips them.

    Parameters
    ----------
    needs : sequence of type of Evidence
        What to gather.
    choice : Choice
        The layers to gather it for.
    n_samples : int or None
        Rows of a pass of its own; None takes all.
    """

    def __init__(self, needs: Sequence[type[Evidence]], choice: Choice, n_samples: int | None):
        self.needs = tuple(dict.fromkeys(needs))
        self.choice = choice
        self.n_samples = n_samples
        self.of_training = {kind: kind() for kind in self.needs if kind.batch_size is None}

    def on_grad_computed(
        self, net: NeuralNet, named_parameters: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Add a batch of training."""
        if training and self.of_training:
            weights = prunable_weights(net, self.choice)
            for each in self.of_training.values():
                each.add(weights, get_len(unpack_data(kwargs["batch"])[0]), fades=True)

    def seen(self, net: NeuralNet, rows: Rows) -> dict[str, Seen]:
        """Return the evidence for each weight.

        Parameters
        ----------
        net : NeuralNet
            Where it has not trained yet, a pass over `rows` is made.
        rows : Rows
            Training rows.

        Returns
        -------
        seen : dict of str to Seen
            By the names of the parameters.
        """
        weights = prunable_weights(net, self.choice)
        found = {kind: each for kind, each in self.of_training.items() if each.n_rows}
        missing = [kind() for kind in self.needs if kind not in found]
        for size in {each.batch_size for each in missing}:
            of_size = [each for each in missing if each.batch_size == size]
            _pass_over(net, weights, of_size, rows, self.n_samples, size)
        found |= {type(each): each for each in missing}
        return {name: {kind: each.means[name] for kind, each in found.items()} for name in weights}


def _pass_over(
    net: NeuralNet,
    weights: Mapping[str, nn.Parameter],
    evidence: Sequence[Evidence],
    rows: Rows,
    n_samples: int | None,
    batch_size: int | None,
) -> None:
    """Compute the gradients of some rows, as the net predicts them, and leave no trace."""
    with seeded(0, net.device), _in_evaluation(net), _without_gradients(net):
        dataset = rows.dataset
        if n_samples is not None and n_samples < len(dataset):
            dataset = Subset(dataset, torch.randperm(len(dataset))[:n_samples].tolist())
        for batch in _batches(net, dataset, batch_size):
            X, y = unpack_data(batch)
            loss = net.get_loss(net.infer(X, **rows.fit_params), y, X=X, training=True)
            loss.backward()
            for each in evidence:
                each.add(weights, get_len(X))
            for weight in _parameters(net):
                weight.grad = None


def _batches(net: NeuralNet, dataset: Any, batch_size: int | None) -> Any:
    if batch_size is None:
        return net.get_iterator(dataset, training=False)
    given = {**net.get_params_for("iterator_valid"), "batch_size": batch_size}
    return net.iterator_valid(dataset, **given)


@contextmanager
def _in_evaluation(net: NeuralNet) -> Iterator[None]:
    layers = [layer for _, module in modules_of(net) for layer in module.modules()]
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer.training = False  # not by `eval`, which may be a user's own
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode


@contextmanager
def _without_gradients(net: NeuralNet) -> Iterator[None]:
    """Take the gradients of a step of training away for a while."""
    gradients = [(parameter, parameter.grad) for parameter in _parameters(net)]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient


def _parameters(net: NeuralNet) -> list[nn.Parameter]:
    return [parameter for _, module in modules_of(net) for parameter in module.parameters()]
