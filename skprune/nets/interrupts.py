"""Ctrl-C in a net's training, told from a callback that ends it by the same exception."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from traceback import walk_tb
from typing import Any

from skorch import NeuralNet
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader


class Interrupts:
    """Which KeyboardInterrupt came from where.

    skorch's `partial_fit` swallows each of them: that is how its callbacks end training.

    Attributes
    ----------
    signalled : KeyboardInterrupt or None
        What the last SIGINT raised.
    of_callback : KeyboardInterrupt or None
        What a callback raised last.
    """

    def __init__(self) -> None:
        self.signalled: KeyboardInterrupt | None = None
        self.of_callback: KeyboardInterrupt | None = None

    def is_stop(self, error: KeyboardInterrupt) -> bool:
        """Tell whether a callback raised this to end training.

        Parameters
        ----------
        error : KeyboardInterrupt
            What reached a callback's caller.

        Returns
        -------
        whether : bool
            False for a Ctrl-C in a callback, and for what a callback's use of the net brought up.
        """
        cause: BaseException | None = error
        while cause is not None:
            if cause is self.signalled:
                return False
            cause = cause.__cause__ or cause.__context__
        frames = (frame for frame, _ in walk_tb(error.__traceback__))
        workers = (nn.Module, Optimizer, DataLoader)
        return not any(isinstance(frame.f_locals.get("self"), workers) for frame in frames)


class _Interrupted(BaseException):
    """A KeyboardInterrupt on its way past skorch's `partial_fit`."""


@contextmanager
def interruptible(net: NeuralNet) -> Iterator[Interrupts]:
    """Let Ctrl-C through where skorch would end training and go on as if it were over.

    Parameters
    ----------
    net : NeuralNet
        Trains in the block.

    Yields
    ------
    interrupts : Interrupts
        Tells a callback's stop from a Ctrl-C.
    """
    interrupts = Interrupts()
    # as instance attributes, past skorch's own __setattr__: nothing of it must stay
    vars(net).update(
        notify=partial(_notify, net, interrupts), fit_loop=partial(_fit_loop, net, interrupts)
    )
    try:
        with _watched(interrupts):
            yield interrupts
    except _Interrupted as error:
        raise error.__cause__ or KeyboardInterrupt from None
    finally:
        vars(net).pop("notify")
        vars(net).pop("fit_loop")


def _notify(net: NeuralNet, interrupts: Interrupts, /, method_name: str, **kwargs: Any) -> None:
    try:
        type(net).notify(net, method_name, **kwargs)
    except KeyboardInterrupt as error:
        if interrupts.is_stop(error):
            interrupts.of_callback = error
        raise


def _fit_loop(net: NeuralNet, interrupts: Interrupts, /, *args: Any, **kwargs: Any) -> Any:
    try:
        return type(net).fit_loop(net, *args, **kwargs)
    except KeyboardInterrupt as error:
        if error is interrupts.of_callback:
            raise
        raise _Interrupted from error


@contextmanager
def _watched(interrupts: Interrupts) -> Iterator[None]:
    """Remember what SIGINT raises: by its traceback alone it may look like a callback's stop."""
    handler = signal.getsignal(signal.SIGINT)
    # signals reach the main thread alone, and no other may set a handler
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return

    def watching(signum: int, frame: Any) -> None:
        try:
            handler(signum, frame)
        except KeyboardInterrupt as error:
            interrupts.signalled = error
            raise

    signal.signal(signal.SIGINT, watching)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is watching:
            signal.signal(signal.SIGINT, handler)
