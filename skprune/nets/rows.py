"""What skorch takes as X and y besides arrays, told apart without torch.

An object of torch or skorch can only come from a process that has imported it, so both are looked
up among what is imported and are never imported here.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse


def is_tensor(data: Any) -> bool:
    """Tell whether something is a torch tensor.

    Parameters
    ----------
    data : object

    Returns
    -------
    is_tensor : bool
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(data, torch.Tensor)


def is_dataset(data: Any) -> bool:
    """Tell whether something is a torch Dataset, which holds X and y.

    Parameters
    ----------
    data : object

    Returns
    -------
    is_dataset : bool
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(data, torch.utils.data.Dataset)


def is_stream(data: Any) -> bool:
    """Tell whether something is a torch IterableDataset, whose rows only come one after the other.

    Parameters
    ----------
    data : object

    Returns
    -------
    is_stream : bool
    """
    return is_dataset(data) and isinstance(data, sys.modules["torch"].utils.data.IterableDataset)


def is_slice_dataset(data: Any) -> bool:
    """Tell whether something is a skorch SliceDataset, one half of a Dataset.

    Parameters
    ----------
    data : object

    Returns
    -------
    is_slice_dataset : bool
    """
    return all(hasattr(data, name) for name in ("dataset", "idx", "indices"))


def are_several(data: Any, n_rows: int | None = None) -> bool:
    """Tell several arrays, which skorch batches together, from one array written as a list.

    Parameters
    ----------
    data : object
    n_rows : int, default=None
        The number of rows, where it is known.

    Returns
    -------
    are_several : bool
        True for a mapping, and for a list or tuple of arrays of a row each.

    Examples
    --------
    >>> a, b = np.ones((3, 2)), np.ones((3, 4))
    >>> are_several({"a": a}), are_several((a, b)), are_several([[1, 2], [3, 4]])
    (True, True, False)
    """
    if isinstance(data, Mapping):
        return not issparse(data)  # dictionaries of keys are one matrix
    if not isinstance(data, list | tuple) or not data:
        return False
    shapes: list[tuple[int, ...]] = [getattr(part, "shape", ()) for part in data]
    if not all(shapes) or len({shape[0] for shape in shapes}) > 1:
        return False
    if n_rows is not None and len(data) != n_rows:
        return bool(shapes[0][0] == n_rows)
    return all(len(shape) > 1 for shape in shapes)


def as_array(data: Any) -> Any:
    """Make an array of a tensor, a SliceDataset, or the X of a Dataset; leave the rest as it is.

    Parameters
    ----------
    data : object

    Returns
    -------
    data : ndarray or object

    Examples
    --------
    >>> import torch
    >>> as_array(torch.ones(2, 1, dtype=torch.bfloat16))
    array([[1.],
           [1.]], dtype=float32)
    >>> as_array([[1, 2]])
    [[1, 2]]
    """
    if is_tensor(data):
        data = data.detach().cpu()
        # numpy has no bfloat16, and scipy no float16; float32 holds all of their values
        short = str(data.dtype) in ("torch.bfloat16", "torch.float16")
        return (data.float() if short else data).numpy()
    if is_slice_dataset(data):
        return _stacked([data[i] for i in range(len(data))])
    return halves(data)[0] if is_dataset(data) else data


def halves(dataset: Any) -> tuple[Any, Any]:
    """Read a Dataset to its end.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Its items are pairs.

    Returns
    -------
    X, y : ndarray
        The first and the second of each pair.
    """
    pairs = dataset if is_stream(dataset) else [dataset[i] for i in range(len(dataset))]
    pairs = list(pairs)
    return _stacked([pair[0] for pair in pairs]), _stacked([pair[1] for pair in pairs])


def one_array(data: Any, name: str) -> Any:
    """Refuse several arrays where a net takes one.

    Parameters
    ----------
    data : object
        What `fit` got as X.
    name : str
        Of the net.

    Returns
    -------
    data : object
        As it is.

    Raises
    ------
    TypeError
        For a mapping, or a tuple of arrays.
    """
    if are_several(data):
        raise TypeError(
            f"{name} takes X as one array of shape (n_samples, n_features), got several in a "
            f"{type(data).__name__}: join them, or wrap a module of your own that takes them in "
            f"skorch.NeuralNetClassifier or NeuralNetRegressor."
        )
    return data


def each_part(data: Any, convert: Callable[..., Any], *others: Any) -> Any:
    """Apply a function to every array of some data.

    Parameters
    ----------
    data : object
        An array, or a mapping, list or tuple of arrays, or of these.
    convert : callable
        Is called with each array, and with what stands in its place in each of `others`.
    *others : object
        Built as `data` is.

    Returns
    -------
    data : object
        Built as `data` is, of what `convert` returned.

    Examples
    --------
    >>> each_part({"a": np.ones((1, 2))}, lambda array, times: times * array, {"a": 3})
    {'a': array([[3., 3.]])}
    """
    if isinstance(data, Mapping):
        parts = {
            name: each_part(part, convert, *(other[name] for other in others))
            for name, part in data.items()
        }
        return parts if type(data) is dict else type(data)(**parts)
    if are_several(data):
        places = zip(data, *others, strict=True)
        return type(data)(each_part(part, convert, *rest) for part, *rest in places)
    return convert(data, *others)


def n_rows(data: Any) -> int:
    """Count the rows.

    Parameters
    ----------
    data : object
        Whatever skorch takes as X or y.

    Returns
    -------
    n : int

    Raises
    ------
    ValueError
        If its parts differ in length.
    """
    if not are_several(data):
        return data.shape[0] if hasattr(data, "shape") else len(data)
    lengths = {n_rows(part) for part in (data.values() if isinstance(data, Mapping) else data)}
    if len(lengths) != 1:
        raise ValueError(f"the parts of X or y must have as many rows, but have {lengths}.")
    return lengths.pop()


def numbers_of(rows: Any) -> np.ndarray | None:
    """Write rows as the engine reads them.

    Parameters
    ----------
    rows : object
        Whatever skorch takes.

    Returns
    -------
    rows : ndarray of shape (n_samples, n_features) or None
        Float32; None for what is no array.
    """
    rows = None if are_several(rows) else as_array(rows)
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "fiub" or rows.ndim < 2:
        return None
    return rows.reshape(len(rows), -1).astype(np.float32, copy=False)


def _stacked(items: list[Any]) -> np.ndarray:
    return np.array([as_array(item) for item in items])
