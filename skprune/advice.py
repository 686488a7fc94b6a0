"""Advice: what to do with an estimator that is near to what a pruner takes."""

import sys
from typing import Any


def advice(estimator: Any) -> str:
    """Say how a pruner can be put around something, where that is plain; else nothing.

    Parameters
    ----------
    estimator : object
        What was given in place of an estimator that can be pruned.

    Returns
    -------
    sentence : str
        With a space before it, or empty.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> advice(DecisionTreeClassifier)
    ' This is a class: pass an instance.'
    >>> advice(DecisionTreeClassifier())
    ''
    """
    if isinstance(estimator, type):
        return " This is a class: pass an instance."
    if hasattr(estimator, "steps"):
        return " Put the pruner into the pipeline, around the estimator of its last step."
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(estimator, torch.nn.Module):
        return " Wrap a module in skorch.NeuralNetClassifier or NeuralNetRegressor."
    return ""
