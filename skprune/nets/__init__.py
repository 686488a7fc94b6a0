"""Pruning of skorch nets. Torch and skorch are imported only where they are used."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from skprune.advice import advice


@contextmanager
def naming_the_extra(name: str) -> Iterator[None]:
    """Say how to install torch and skorch where an import in the block lacks one of them.

    Parameters
    ----------
    name : str
        What needs it.

    Raises
    ------
    ImportError
        In place of the ModuleNotFoundError.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "skorch"):
            raise
        raise ImportError(
            f"{name} needs {error.name}, which is not installed: pip install skprune[nets]",
            name=error.name,
        ) from error


def check_is_skorch_net(net: Any) -> None:
    """Refuse what is no skorch net, whether or not skorch is installed.

    Parameters
    ----------
    net : object
        What a net pruner was given as `estimator`.

    Raises
    ------
    TypeError
        If it is not a skorch net.
    """
    skorch = sys.modules.get("skorch")  # where nobody has imported it, there are no nets of it
    if skorch is None or not isinstance(net, skorch.NeuralNet):
        raise TypeError(
            f"estimator must be a skorch net, such as skprune.MLPNetClassifier, MLPNetRegressor or "
            f"skorch.NeuralNetClassifier, or a FrozenEstimator around a fitted one; got {net!r}."
            f"{advice(net)}"
        )
