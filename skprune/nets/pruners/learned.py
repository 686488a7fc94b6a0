"""What the pruners share that learn what to remove, with gates, while the net trains."""

from abc import abstractmethod
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.utils._param_validation import Interval

from skprune.base import TrainingData
from skprune.nets.pruners.base import NetPruner

if TYPE_CHECKING:
    from skorch import NeuralNet

    from skprune.nets.gates import Gate
    from skprune.nets.gates.pressure import Pressure
    from skprune.nets.layers import Choice
    from skprune.nets.method import Method

_DEFAULT_SPARSITY = 0.9


class LearnedPruner(NetPruner):
    """Base class of the pruners that train a net with gates.

    A subclass names the parameter of its own rule, which can be given in place of `sparsity`.
    """

    recovery_fraction: float
    gate_lr: float | None
    own_rule: ClassVar[str]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NetPruner._parameter_constraints,
        "sparsity": [Interval(Real, 0, 1, closed="both"), None],
        "recovery_fraction": [Interval(Real, 0, 1, closed="left")],
        "gate_lr": [Interval(Real, 0, None, closed="neither"), None],
    }

    @abstractmethod
    def _make_gate(self, layer: Any, is_first: bool) -> "Gate":
        """Make the gate of a layer; the first one reads the net's input."""

    @abstractmethod
    def _pressure(self, sparsity: float | None, epochs: float) -> "Pressure":
        """Say what makes gates close, which learn for so many epochs."""

    @property
    def _target(self) -> float | None:
        """The sparsity to reach; None where the method's own rule decides."""
        rule = getattr(self, self.own_rule)
        if rule is not None and self.sparsity is not None:
            raise ValueError(
                f"sparsity={self.sparsity!r} and {self.own_rule}={rule!r} both say how much to "
                f"prune: leave out one of the two."
            )
        if rule is None and self.sparsity is None:
            return _DEFAULT_SPARSITY
        return self.sparsity

    def _check_parameters_agree(self) -> None:
        """Refuse parameters that contradict each other."""

    def _method(
        self, net: "NeuralNet", data: TrainingData, own_epochs: int
    ) -> tuple["Method", int]:
        from skprune.nets.gated import Gated
        from skprune.nets.layers import Choice, can_have_gate

        self._check_parameters_agree()
        target = self._target
        choice = Choice(self.layers, can_have_gate)
        extra = self.finetune_epochs or 0
        learning = extra if self._is_frozen else own_epochs
        epochs = extra if self._is_frozen else own_epochs + extra
        if target == 0:
            return _plain_training(choice), epochs
        if not learning:
            name = "finetune_epochs" if self._is_frozen else "max_epochs of the estimator"
            raise ValueError(
                f"{name} must be at least 1: {type(self).__name__} learns what to remove while the "
                f"net trains; got {learning!r}."
            )
        stop = (1 - self.recovery_fraction) * learning
        method = Gated(
            make_gate=self._make_gate,
            pressure=self._pressure(target, stop),
            sparsity=target,
            stop=stop,
            epochs=epochs,
            choice=choice,
            lr=self.gate_lr,
        )
        return method, epochs


def _plain_training(choice: "Choice") -> "Method":
    """Remove nothing: the net trains as it would by itself."""
    from skprune.masks import as_schedule
    from skprune.nets.criteria import Magnitude
    from skprune.nets.scored import Scored

    return Scored(Magnitude(), 0.0, as_schedule("one_shot"), choice=choice)


def warmup(given: Any, epochs: float) -> tuple[float, float]:
    """Read `warmup_epochs`: the epochs between which a divergence comes to count.

    Parameters
    ----------
    given : int, (float, float) or None
        What the user said.
    epochs : float
        How long gates learn.

    Returns
    -------
    start, stop : float

    Raises
    ------
    ValueError
        If it is no pair of growing numbers.

    Examples
    --------
    >>> warmup(None, 200), warmup(None, 20), warmup(3, 20)
    ((5.0, 20.0), (1.0, 8.0), (0.0, 3.0))
    """
    if given is None:
        return min(5.0, epochs / 20), min(20.0, 0.4 * epochs)
    if isinstance(given, Integral):
        return 0.0, float(given)
    pair = tuple(given)
    if len(pair) != 2 or not all(isinstance(e, Real) for e in pair) or not 0 <= pair[0] <= pair[1]:
        raise ValueError(
            f"warmup_epochs must be an int or a pair of epochs (start, stop) with "
            f"0 <= start <= stop; got {given!r}."
        )
    return float(pair[0]), float(pair[1])
