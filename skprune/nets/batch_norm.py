"""Statistics of batch norms, taken anew for a net whose weights have changed."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import torch
from skorch import NeuralNet
from skorch.dataset import get_len, unpack_data
from torch.utils.data import Subset

from skprune.nets.layers import modules_of
from skprune.nets.seeding import seeded


def take_statistics_anew(net: NeuralNet, dataset: Any, fit_params: Mapping[str, Any]) -> None:
    """Let batch norms run over the training rows, and remember their means and variances.

    All else is as in prediction, so the net's other layers see what they will see then. The rows
    come in random order, as batches of a sorted table would have too small a variance.

    Parameters
    ----------
    net : NeuralNet
        A trained net; its running means and variances are changed in place.
    dataset : Dataset
        Training rows, as skorch has them.
    fit_params : mapping of str to object
        What the module's forward takes beside the rows.

    Warns
    -----
    UserWarning
        If the module fails on the rows. The statistics are then as they were.
    """
    norms = [
        (layer, {name: value.clone() for name, value in layer.named_buffers(recurse=False)})
        for _, module in modules_of(net)
        for layer in module.modules()
        if getattr(layer, "running_mean", None) is not None and hasattr(layer, "momentum")
    ]
    if not norms:
        return
    with seeded(0, net.device), torch.no_grad(), _norms_in_training(net, [n for n, _ in norms]):
        try:
            _run(net, dataset, [norm for norm, _ in norms], fit_params)
        except Exception as error:  # whatever a user's forward raises: the net is trained
            for norm, buffers in norms:
                for name, value in buffers.items():
                    getattr(norm, name).copy_(value)
            warnings.warn(
                f"the statistics of batch norms are still those of the net before pruning, as they "
                f"could not be taken anew: {error}",
                stacklevel=6,
            )


def _run(net: NeuralNet, dataset: Any, norms: list[Any], fit_params: Mapping[str, Any]) -> None:
    with suppress(TypeError):  # a stream of rows has no length, and its own order
        dataset = Subset(dataset, torch.randperm(len(dataset)).tolist())
    n_seen = 0
    for batch in net.get_iterator(dataset, training=True):
        rows, _ = unpack_data(batch)
        n_rows = get_len(rows)
        if n_rows == 1 and n_seen:
            continue  # a row alone has no variance
        n_seen += n_rows
        for norm in norms:
            norm.momentum = n_rows / n_seen  # the first batch leaves nothing of what was there
        net.infer(rows, **fit_params)


@contextmanager
def _norms_in_training(net: NeuralNet, norms: list[Any]) -> Iterator[None]:
    layers = [layer for _, module in modules_of(net) for layer in module.modules()]
    modes = [layer.training for layer in layers]
    momenta = [norm.momentum for norm in norms]
    for layer in layers:
        # not by `train`, which goes on to a layer's children, and may be a user's own
        layer.training = layer in norms
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.training = mode
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


__all__ = ["take_statistics_anew"]
