"""The pruners of neural nets. Importable without torch: it comes in when `fit` runs."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils._param_validation import Interval, StrOptions

from skprune.base import BasePruner, Pruned, TrainingData
from skprune.masks import ALLOCATIONS, GRANULARITIES, SCHEDULES, Schedule
from skprune.nets import naming_the_extra
from skprune.nets.criteria import magnitude

if TYPE_CHECKING:
    from skorch import NeuralNet

    from skprune.nets.training import Recipe


class NetPruner(BasePruner):
    """Base class of the pruners that score weights: a subclass names its criterion."""

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **BasePruner._parameter_constraints,
        "sparsity": [Interval(Real, 0, 1, closed="both")],
        "schedule": [StrOptions(set(SCHEDULES)), Schedule],
        "allocation": [StrOptions(set(ALLOCATIONS))],
        "granularity": [StrOptions(set(GRANULARITIES))],
        "layers": [list, tuple, None],
        "finetune_epochs": [Interval(Integral, 0, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        sparsity: float = 0.9,
        schedule: str | Schedule = "one_shot",
        allocation: str = "global",
        granularity: str = "weight",
        layers: Sequence[str] | None = None,
        finetune_epochs: int | None = None,
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
        self.random_state = random_state
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.engine = engine

    @abstractmethod
    def _criterion(self, weight: np.ndarray) -> np.ndarray:
        """Score a layer's weights; the higher, the sooner kept."""

    def _validation_options(self) -> dict[str, Any]:
        return {"dtype": "numeric", "allow_nd": True}

    @property
    def _takes_many_outputs(self) -> bool:
        return not is_classifier(self)

    @property
    def _trains(self) -> bool:
        return not self._is_frozen or bool(self.finetune_epochs)

    def _prune(self, data: TrainingData) -> Pruned:
        with naming_the_extra(f"{type(self).__name__}.fit"):
            from skprune.nets.data import Labels, check_is_skorch_net, inputs_for, targets_for
            from skprune.nets.fallback import engine_or_torch
            from skprune.nets.seeding import draw_seed, seeded
            from skprune.nets.training import measured_sparsity, sparse_weights, train_and_prune

        net = self._unfitted_or_frozen_copy()
        check_is_skorch_net(net)
        seed = draw_seed(self.random_state)
        if seed is not None and "random_state" in net.get_params():
            net.set_params(random_state=seed)
        X = inputs_for(net, data.X)
        labels = Labels(net, X, data.y) if is_classifier(self) else None
        y = targets_for(net, data.y if labels is None else labels.encoded)
        recipe, epochs = self._recipe(net)
        fit_params = data.fit_params
        if data.sample_weight is not None and epochs:
            fit_params = {**fit_params, "sample_weight": data.sample_weight}
        with seeded(seed, net.device):
            history = train_and_prune(net, recipe, epochs, X, y, verbose=self.verbose, **fit_params)
        if labels is not None:
            labels.check_outputs(X)
        with seeded(0, net.device):  # a net that predicts draws from torch's global generator
            model, unsupported = engine_or_torch(net, X, self.engine)
            output = _output_form(net, X, labels is not None)
            row = X[:1].reshape(1, -1) if unsupported is None else X[:1]
            hidden = model.transform(row)
        return Pruned(
            estimator=net,
            model=model,
            sparse_weights=partial(sparse_weights, net, self.layers),
            sparsity=measured_sparsity(net, self.layers),
            n_features_out=hidden.shape[1],
            history=history,
            classes=None if labels is None else labels.classes,
            output=output,
            unsupported=unsupported,
        )

    def _recipe(self, net: "NeuralNet") -> tuple["Recipe", int]:
        """Lay the schedule over the epochs that the net trains for."""
        from skprune.nets.training import Recipe

        schedule = SCHEDULES[self.schedule] if isinstance(self.schedule, str) else self.schedule
        extra = self.finetune_epochs
        if self._is_frozen:
            start, stop = 0, extra or 0
            epochs = stop
        elif schedule.trains_first:
            start = net.max_epochs
            stop = epochs = start + (net.max_epochs if extra is None else extra)
        else:
            start, stop = 0, net.max_epochs
            epochs = stop + (extra or 0)
        recipe = Recipe(
            criterion=self._criterion,
            sparsity=self.sparsity,
            schedule=schedule,
            start=start,
            stop=stop,
            allocation=self.allocation,
            granularity=self.granularity,
            layers=self.layers,
        )
        return recipe, epochs


def _output_form(net: "NeuralNet", X: np.ndarray, classifies: bool) -> dict[str, Any]:
    """Tell how the net turns outputs into predictions, where that is not a matter of course."""
    if not classifies:
        return {"flat": net.predict(X[:1]).ndim == 1}
    threshold = getattr(net, "threshold", 0.5)  # of skorch's NeuralNetBinaryClassifier
    return {} if threshold == 0.5 else {"threshold": threshold}


class MagnitudePruner(NetPruner):
    """Remove the weights of smallest magnitude from a skorch net.

    Han et al. (2015) [1]_ for ``schedule="one_shot"`` (train, prune, fine-tune) and
    "iterative" (rounds of pruning and retraining); Zhu and Gupta (2017) [2]_ for "cubic"
    (pruning during training).

    Parameters
    ----------
    estimator : skorch net
        What to prune, for example :class:`~skprune.MLPNetClassifier`, or a
        :class:`~sklearn.frozen.FrozenEstimator` around a fitted net, which is pruned on a
        copy and not trained unless `finetune_epochs` is set.
    sparsity : float in [0, 1], default=0.9
        Fraction of the prunable weights to remove; biases and norm layers are not prunable.
        A number of weights that is not whole is rounded up.
    schedule : {"one_shot", "iterative", "cubic"} or Schedule, default="one_shot"
        When the weights go. An object of :mod:`skprune.masks` sets the details, for example
        ``Cubic(end=0.5)`` or ``Iterative(n_rounds=10)``.
    allocation : {"global", "uniform"}, default="global"
        Whether the smallest weights go wherever they stand, or the same fraction of every layer.
    granularity : {"weight"}, default="weight"
        What is removed as one: single weights.
    layers : sequence of str, default=None
        Names of the layers to prune, as in the module's ``named_modules``; None prunes every
        Linear and Conv. `sparsity` counts the weights of these layers.
    finetune_epochs : int, default=None
        Epochs of training behind the net's own `max_epochs`. None: as many again for
        "one_shot" and "iterative", none for "cubic", whose last part recovers. A frozen
        estimator trains for these epochs only, the schedule running over them.
    random_state : int, RandomState or None, default=None
        Seeds the whole training run, as ``torch.manual_seed`` would before a plain ``fit``;
        global generators are left as they were. None uses the net's own `random_state` if it
        has one, else torch's global generator.
    verbose : int, default=0
        1 shows a progress bar over the epochs.
    n_jobs : int, default=None
        Threads of `predict` on large batches; None means 1, -1 all processors.
    engine : {"auto", "native", "scipy"}, default="auto"
        What `predict` runs on: compiled kernels, or scipy as the plain reference; "auto" takes
        the kernels where they were built.

    Attributes
    ----------
    estimator_ : skorch net
        The pruned net, with exact zeros and nothing hooked on it.
    sparse_estimator_ : SparseClassifier or SparseRegressor
        The pruned net on the sparse engine, without torch. Asking for it raises an
        `AttributeError` that names the layer if the engine lacks one; predictions then come
        from `estimator_`.
    sparse_weights_ : dict of str to csr_array
        The pruned layers' weights, (n_out, n_in * kernel size) each.
    sparsity_ : float
        Zeros in `sparse_weights_` / all their entries.
    pruning_history_ : list of dict
        One entry an epoch: "epoch", "sparsity" and the net's losses.
    classes_ : ndarray of shape (n_classes,)
        Labels (classifiers).
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X, where it had names.

    Notes
    -----
    Labels are encoded as 0, 1, ... for a net that does not do so itself, so `estimator_` of
    such a net predicts codes.

    While the sparsity is below its target, early stopping does not count, and best scores are
    forgotten when the target is reached, so that a `Checkpoint` keeps a net that is sparse.

    References
    ----------
    .. [1] S. Han, J. Pool, J. Tran and W. Dally, "Learning both weights and connections for
       efficient neural networks", 2015, section 3.
    .. [2] M. Zhu and S. Gupta, "To prune, or not to prune: exploring the efficacy of pruning
       for model compression", 2017, equation 1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune import MagnitudePruner, MLPNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPNetClassifier((32,), lr=0.02, batch_size=16)
    >>> pruner = MagnitudePruner(net, sparsity=0.75, random_state=0).fit(X, y)
    >>> pruner.score(X, y) > 0.9
    True
    >>> pruner.sparsity_
    0.75
    """

    def _criterion(self, weight: np.ndarray) -> np.ndarray:
        return magnitude(weight)
