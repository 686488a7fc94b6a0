"""Checks what a run of training and pruning came to."""

import warnings
from typing import Any

import numpy as np
from skorch import NeuralNet

from skprune.nets.layers import (
    Choice,
    check_finite,
    dense_weights,
    label,
    modules_of,
    prunable_weights,
)
from skprune.nets.method import Method


def check_outcome(net: NeuralNet, method: Method, history: list[dict[str, Any]]) -> None:
    """Refuse a net whose loss is not finite; warn of layers without weights and of dense ones.

    Parameters
    ----------
    net : NeuralNet
        A pruned net.
    method : Method
        How it was pruned.
    history : list of dict
        Its epochs.
    """
    weights = prunable_weights(net, method.choice)
    check_finite(weights)
    loss = history[-1].get("train_loss", 0.0) if history else 0.0
    if not np.isfinite(loss):
        raise ValueError(
            f"train_loss is {loss} after the last epoch: lower the estimator's lr, scale X and y, "
            f"or give it a criterion that fits what its module returns (NLLLoss wants "
            f"probabilities, CrossEntropyLoss logits)."
        )
    if method.sparsity != 0:
        _tell_what_stays_dense(net, method.choice, trained=bool(history))
    empty = [label(name) for name, weight in weights.items() if not bool(weight.any())]
    if empty and method.sparsity != 1:
        if method.sparsity is None:
            cause, remedy = "pruning", "prune less"
        else:
            cause, remedy = f"sparsity={method.sparsity}", "lower sparsity"
        warnings.warn(
            f"{cause} leaves no weight in {empty}, so predictions do not depend on X through them; "
            f"{remedy}{method.advice}.",
            stacklevel=5,
        )


def _tell_what_stays_dense(net: NeuralNet, choice: Choice, trained: bool) -> None:
    """Warn of weights that are not counted, and of pruned ones that do not train."""
    pruned = prunable_weights(net, choice)
    ids = {id(weight) for weight in pruned.values()}
    dense = [
        each for prefix, module in modules_of(net) for each in dense_weights(module, ids, prefix)
    ]
    n_dense = sum(weight.numel() for _, weight in dense)
    share = n_dense / (n_dense + sum(weight.numel() for weight in pruned.values()))
    if choice.layers is None and share > 0.005:
        warnings.warn(
            f"{share:.0%} of the estimator's weights are not pruned, and sparsity does not count "
            f"them: {', '.join(what for what, _ in dense)}.",
            stacklevel=6,
        )
    fixed = [label(name) for name, w in pruned.items() if not w.requires_grad and not bool(w.all())]
    if fixed and trained:
        warnings.warn(
            f"layers {fixed} have requires_grad=False: they are pruned as any other, and do not "
            f"recover in training; leave them out of layers to keep them as they are.",
            stacklevel=6,
        )
