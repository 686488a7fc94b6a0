"""What makes gates close: a price, one that warms up, or one that finds a sparsity by itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from skprune.nets.gates.base import Gate

Gates = Mapping[str, Gate]


@dataclass
class Run:
    """How long the gates learn, and from how much.

    Attributes
    ----------
    n_rows : int
        Rows of the training data, whatever they weigh: weights count as if their mean were 1.
    n_steps : int
        Steps of the optimizer in which gates learn.
    epochs : float
        The same in epochs.
    """

    n_rows: int
    n_steps: int
    epochs: float


class Pressure(Protocol):
    """What a gate recipe asks for.

    Attributes
    ----------
    dual : float or None
        The price now, where it is found in training.
    """

    @property
    def dual(self) -> float | None: ...  # noqa: D102

    def begin(self, run: Run) -> None:
        """Take in how long the gates learn."""
        ...

    def loss(self, gates: Gates, density: Callable[[], Any], epoch: float) -> Any:
        """Compute what is added to the loss of a step, at a time in epochs."""
        ...

    def after_step(self) -> None:
        """Move the price."""
        ...


class Price:
    """A fixed price: ``price * sum of the gates' penalties``, divided by the number of rows.

    Parameters
    ----------
    price : float or mapping of str to float, default=1.0
        One for all layers, or one a layer; a layer that is not named costs nothing.
    per_row : bool, default=True
        Whether to divide by the number of rows, as bounds on the evidence and L0 are.
    warmup : (float, float), default=(0.0, 0.0)
        The epochs between which the price rises from 0 to what it is.
    """

    dual = None

    def __init__(
        self,
        price: float | Mapping[str, float] = 1.0,
        *,
        per_row: bool = True,
        warmup: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.price = price
        self.per_row = per_row
        self.warmup = warmup

    def begin(self, run: Run) -> None:
        """Take in the number of rows."""
        self._scale = 1 / run.n_rows if self.per_row else 1.0

    def loss(self, gates: Gates, density: Callable[[], Any], epoch: float) -> Any:
        """Compute the penalties' sum at the price of this time."""
        if isinstance(self.price, Mapping) and set(self.price) - set(gates):
            raise ValueError(f"lam={self.price!r} must name layers among {list(gates)}.")
        scale = self._scale * self._warmth(epoch)
        return scale * sum(self._of(name) * gate.penalty() for name, gate in gates.items())

    def after_step(self) -> None:
        """Leave the price as it is."""

    def _of(self, name: str) -> float:
        return self.price.get(name, 0.0) if isinstance(self.price, Mapping) else self.price

    def _warmth(self, epoch: float) -> float:
        start, stop = self.warmup
        if epoch >= stop or epoch <= start:
            return float(epoch >= stop)
        return (epoch - start) / (stop - start)


class Target:
    """A price that rises while the density is above a target, and falls to 0 once it is not.

    Gallego-Posada et al. (2022) [1]_, equations 4 and 5: gradient ascent on the dual variable of
    the constraint ``density <= target``, with restarts.

    Parameters
    ----------
    density : float
        The target: the fraction of the weights that may stay.
    lr : float, default=None
        Step size of the ascent. None is `travel` / steps: so much could the price rise in all.
    penalises : {"density", "penalty"}
        What the price is paid for: the expected density, or, where that has no gradient, the sum
        of the gates' penalties.
    travel : float, default=20.0
        See `lr`.

    References
    ----------
    .. [1] J. Gallego-Posada, J. Ramirez, A. Erraqabi, Y. Bengio and S. Lacoste-Julien, "Controlled
       sparsity via constrained optimization", 2022.
    """

    def __init__(
        self,
        density: float,
        *,
        lr: float | None = None,
        penalises: str = "density",
        travel: float = 20.0,
    ) -> None:
        self.density = density
        self.lr = lr
        self.penalises = penalises
        self.travel = travel
        self.dual = 0.0
        self._excess = 0.0

    def begin(self, run: Run) -> None:
        """Take in the number of steps, and start at no price."""
        self.dual = 0.0
        self._lr = self.travel / run.n_steps if self.lr is None else self.lr

    def loss(self, gates: Gates, density: Callable[[], Any], epoch: float) -> Any:
        """Compute the dual variable times the constraint."""
        excess = density() - self.density
        self._excess = float(torch.as_tensor(excess).detach())
        if self.penalises == "density":
            return self.dual * excess
        return self.dual * sum(gate.penalty() for gate in gates.values())

    def after_step(self) -> None:
        """Climb by the violation; start again from 0 where there is none."""
        self.dual = self.dual + self._lr * self._excess if self._excess > 0 else 0.0
