"""A bar that tells how far something long has come, where `verbose` asks for one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, unit: str, verbose: int) -> Iterator[Callable[[int], object]]:
    """Show a bar while something runs.

    Parameters
    ----------
    total : int
        Steps until it is done.
    unit : str
        What a step is.
    verbose : int
        0 shows nothing, and needs no tqdm.

    Yields
    ------
    advance : callable
        Takes the number of steps that were done.

    Raises
    ------
    ImportError
        If a bar is asked for, and tqdm is not installed.

    Examples
    --------
    >>> with progress(2, "fold", verbose=0) as advance:
    ...     for _ in range(2):
    ...         advance(1)
    """
    if not verbose:
        yield lambda steps: None
        return
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError as error:
        raise ImportError(
            f"verbose={verbose!r} shows a progress bar by tqdm, which is not installed: "
            f"pip install tqdm, or set verbose=0.",
            name=error.name,
        ) from error
    with tqdm(total=total, unit=unit) as bar:
        yield bar.update
