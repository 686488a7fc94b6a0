"""Where a net computes, and with floats of which kind."""

import numpy as np
import torch
from skorch import NeuralNet


def check_device(net: NeuralNet) -> None:
    """Refuse a device that torch does not have here.

    Parameters
    ----------
    net : NeuralNet
        Fitted or not.

    Raises
    ------
    ValueError
        With the `device` of the net.
    """
    if net.device is None:
        return
    try:
        torch.empty(0, device=net.device)
    except (AssertionError, RuntimeError, NotImplementedError) as error:
        reason = str(error).strip(".")
        raise ValueError(
            f"device={net.device!r} of the estimator cannot be used here ({reason}): set "
            f"device='cpu', or install a torch that has it."
        ) from error


def float_dtype(net: NeuralNet) -> torch.dtype:
    """Tell what kind of floats a net's modules compute with.

    Parameters
    ----------
    net : NeuralNet
        An initialized net.

    Returns
    -------
    dtype : torch.dtype
        Of the first parameter that has a fraction; torch's default where there is none.
    """
    modules = (getattr(net, name + "_") for name in net._modules)
    kinds = (parameter.dtype for module in modules for parameter in module.parameters())
    return next((kind for kind in kinds if kind.is_floating_point), torch.get_default_dtype())


def numpy_dtype(kind: torch.dtype) -> np.dtype:
    """Give the floats of numpy that hold those of torch.

    Parameters
    ----------
    kind : torch.dtype

    Returns
    -------
    dtype : dtype
        Float32 for bfloat16, which numpy lacks.

    Examples
    --------
    >>> numpy_dtype(torch.float64), numpy_dtype(torch.bfloat16)
    (dtype('float64'), dtype('float32'))
    """
    return np.dtype(str(kind).removeprefix("torch.").replace("bfloat16", "float32"))
