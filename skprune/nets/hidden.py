"""What a module computes last before its outputs, found without a hook on any of its layers."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from skorch import NeuralNet
from skorch.dataset import get_len, unpack_data
from torch.overrides import TorchFunctionMode

from skprune.nets.layers import modules_of, prunable_weights


def last_hidden(net: NeuralNet, X: Any) -> torch.Tensor:
    """Give what the last call that uses a prunable weight reads.

    Parameters
    ----------
    net : NeuralNet
        A fitted net.
    X : object
        Whatever skorch takes.

    Returns
    -------
    hidden : Tensor of shape (n_samples, n_units)
        What is read, a row each. Where no such call reads rows of the batch, this is what the
        module returns.
    """
    net = _without_compilation(net)
    weights = list(prunable_weights(net).values())
    fixed = [
        each for _, module in modules_of(net) for each in (*module.parameters(), *module.buffers())
    ]
    batches = []
    for batch in net.get_iterator(net.get_dataset(X), training=False):
        n_rows = get_len(unpack_data(batch)[0])
        with LastInput(weights, fixed, n_rows) as last:
            outputs = net.evaluation_step(batch)
        hidden = next(_tensors(outputs)) if last.input is None else last.input
        batches.append(hidden.detach().cpu().reshape(n_rows, -1))
    return torch.cat(batches)


class LastInput(TorchFunctionMode):
    """Remember what was last multiplied by one of some weights, by whatever function of torch.

    A hook sees a layer that is called, and not a function that is given its weight.

    Parameters
    ----------
    weights : iterable of Tensor
        The weights. Views of them count, and what is computed from them and from `fixed` alone.
    fixed : iterable of Tensor
        What else does not depend on the rows: parameters and buffers.
    n_rows : int
        Rows of the batch; inputs of another length are passed over, and so are integers.

    Attributes
    ----------
    input : Tensor or None
        A copy of the input; None if there was none.
    """

    def __init__(
        self, weights: Iterable[torch.Tensor], fixed: Iterable[torch.Tensor], n_rows: int
    ) -> None:
        super().__init__()
        self._weights = {_storage(tensor) for tensor in weights} - {None}
        self._fixed = {_storage(tensor) for tensor in fixed} - {None} | self._weights
        self._alive: list[torch.Tensor] = []  # so that no other tensor takes their place in memory
        self._n_rows = n_rows
        self.input: torch.Tensor | None = None

    def __torch_function__(
        self, func: Callable, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = list(_tensors([args, kwargs]))
        storages = {_storage(tensor) for tensor in tensors}
        if storages & self._weights:
            rows = (tensor for tensor in tensors if self._may_be_input(tensor))
            self.input = next((row.detach().clone() for row in rows), self.input)
        if tensors and storages <= self._fixed:
            computed = list(_tensors(result))
            self._alive += computed
            new = {_storage(tensor) for tensor in computed} - {None}
            self._fixed |= new
            if storages & self._weights:
                self._weights |= new
        return result

    def _may_be_input(self, tensor: torch.Tensor) -> bool:
        return (
            tensor.is_floating_point()
            and tensor.ndim > 0
            and len(tensor) == self._n_rows
            and _storage(tensor) not in self._fixed
        )


def _tensors(data: Any) -> Iterator[torch.Tensor]:
    """List the tensors among arguments or results, in their order."""
    if torch.is_tensor(data):
        yield data
    elif isinstance(data, list | tuple | Mapping):
        for part in data.values() if isinstance(data, Mapping) else data:
            yield from _tensors(part)


def _storage(tensor: torch.Tensor) -> int | None:
    try:
        return tensor.untyped_storage().data_ptr() or None  # 0 where there are no elements
    except (RuntimeError, NotImplementedError):  # sparse tensors and those of torch.func have none
        return None


def _without_compilation(net: NeuralNet) -> NeuralNet:
    """Let a shallow copy run the modules that `torch.compile` wraps, which hides their calls."""
    plain = object.__new__(type(net))  # `copy` would pickle the modules
    vars(plain).update(vars(net))
    for name in net._modules:
        module = getattr(net, name + "_")
        vars(plain)[name + "_"] = getattr(module, "_orig_mod", module)
    return plain


__all__ = ["LastInput", "last_hidden"]
