"""Random state of a training run: seeded inside, untouched outside."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state


def draw_seed(random_state: Any) -> int | None:
    """Turn what scikit-learn calls a random state into one seed; None stays None.

    Parameters
    ----------
    random_state : int, RandomState or None
        An int is the seed itself.

    Returns
    -------
    seed : int or None
        The seed for :func:`seeded`.

    Examples
    --------
    >>> draw_seed(7), draw_seed(None)
    (7, None)
    """
    if random_state is None:
        return None
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


@contextmanager
def seeded(seed: int | None, device: Any = "cpu") -> Iterator[None]:
    """Seed torch, numpy and Python inside the block, and restore their states behind it.

    Parameters
    ----------
    seed : int or None
        None leaves the global generators to run on, as plain skorch does.
    device : str or torch.device, default="cpu"
        Where the net trains; a CUDA device's generator is seeded and restored too.

    Examples
    --------
    >>> import torch
    >>> with seeded(0):
    ...     first = torch.rand(1)
    >>> with seeded(0):
    ...     bool(torch.rand(1) == first)
    True
    """
    if seed is None:
        yield
        return
    cuda = [torch.device(device)] if torch.device(device or "cpu").type == "cuda" else []
    states = np.random.get_state(), random.getstate()  # noqa: NPY002 user code may draw from it
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(states[0])  # noqa: NPY002
            random.setstate(states[1])
