"""Pruning of skorch nets. Torch and skorch are imported only where they are used."""

from collections.abc import Iterator
from contextlib import contextmanager


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
