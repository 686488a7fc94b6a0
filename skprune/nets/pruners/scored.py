"""What the pruners that score weights share: criterion, schedule, allocation and granularity."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.utils._param_validation import StrOptions

from skprune.base import TrainingData
from skprune.masks import ALLOCATIONS, SCHEDULES, Curve, Schedule, as_schedule
from skprune.nets.pruners.base import NetPruner

if TYPE_CHECKING:
    from skorch import NeuralNet

    from skprune.nets.criteria import Criterion
    from skprune.nets.method import Method


class ScoredPruner(NetPruner):
    """Base class of the pruners that score weights: a subclass names its criterion."""

    sparsity: float

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NetPruner._parameter_constraints,
        "schedule": [StrOptions(set(SCHEDULES)), Schedule, Curve],
        "allocation": [StrOptions(set(ALLOCATIONS))],
        "granularity": "no_validation",  # told what it must be by `make_groups`
    }

    def __init__(
        self,
        estimator: Any,
        *,
        sparsity: float = 0.9,
        schedule: str | Schedule | Curve = "one_shot",
        allocation: str = "global",
        granularity: str | tuple[int, int] = "weight",
        layers: Sequence[str] | None = None,
        finetune_epochs: int | None = None,
        refresh_batch_norm: bool = True,
        random_state: Any = None,
        verbose: int = 0,
        n_jobs: int | None = None,
        engine: str = "auto",
    ) -> None:
        self.estimator = estimator
        self.sparsity = sparsity
        self.schedule = schedule
        self.allocation = allocation
        self.granularity = granularity
        self.layers = layers
        self.finetune_epochs = finetune_epochs
        self.refresh_batch_norm = refresh_batch_norm
        self.random_state = random_state
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.engine = engine

    @abstractmethod
    def _criterion(self) -> "Criterion":
        """Return what scores the weights of one run."""

    def _method(
        self, net: "NeuralNet", data: TrainingData, own_epochs: int
    ) -> tuple["Method", int]:
        """Lay the schedule over the epochs that the net trains for."""
        from skprune.nets.layers import Choice
        from skprune.nets.regrowth import as_regrowth
        from skprune.nets.scored import Scored

        schedule = as_schedule(self.schedule)
        regrowth = getattr(self, "regrowth", None)
        if regrowth is not None and not schedule.rewires:
            raise ValueError(
                f"regrowth={regrowth!r} has no effect with schedule={self.schedule!r}, which "
                f"replaces no weights: set schedule='constant', or leave out regrowth."
            )
        extra = self.finetune_epochs
        if self._is_frozen:
            start, stop = 0, extra or 0
            epochs = stop
        elif schedule.trains_first:
            start = own_epochs
            stop = epochs = start + (own_epochs if extra is None else extra)
        else:
            start, stop = 0, own_epochs
            epochs = stop + (extra or 0)
        method = Scored(
            criterion=self._criterion(),
            sparsity=self.sparsity,
            schedule=schedule,
            start=start,
            stop=stop,
            allocation=self.allocation,
            granularity=self.granularity,
            regrowth=as_regrowth(regrowth),
            choice=Choice(self.layers),
            n_samples=getattr(self, "n_samples", None),
        )
        return method, epochs
