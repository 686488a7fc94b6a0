"""Methods whose parameters depend on the estimator that is wrapped."""

from collections.abc import Callable
from functools import partial, update_wrapper
from inspect import signature
from types import MethodType
from typing import Any


def parameter_if(name: str, check: Callable[[Any], bool]) -> Callable[[Callable], Any]:
    """Show a parameter of a method only on objects where it has a meaning.

    scikit-learn looks at signatures: what has a parameter `sample_weight` is given weights. A class
    shows the whole signature, and all objects take all arguments, so that the method itself can say
    why it refuses one.

    Parameters
    ----------
    name : str
        The parameter.
    check : callable
        object -> bool, whether it is shown.

    Returns
    -------
    decorator : callable
        For the method.

    Examples
    --------
    >>> class Wrapper:
    ...     weighs = False
    ...     @parameter_if("sample_weight", lambda wrapper: wrapper.weighs)
    ...     def fit(self, X, sample_weight=None):
    ...         return X
    >>> print(signature(Wrapper().fit), signature(Wrapper.fit))
    (X) (self, X, sample_weight=None)
    """

    class Method:
        def __init__(self, function: Callable) -> None:
            self.function = function
            self.__doc__ = function.__doc__

        def __get__(self, owner: Any, kind: Any = None) -> Callable:
            if owner is None:
                return self.function
            bound = MethodType(self.function, owner)
            return bound if check(owner) else _without(name, bound)

    return Method


def _without(name: str, bound: Callable) -> Callable:
    # a partial has no frame of its own, so warnings still point to the caller's line
    method = update_wrapper(partial(bound), bound)
    whole = signature(bound)
    shown = [parameter for parameter in whole.parameters.values() if parameter.name != name]
    method.__signature__ = whole.replace(parameters=shown)  # type: ignore[attr-defined]
    return method
