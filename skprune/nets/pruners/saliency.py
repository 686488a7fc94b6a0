"""SaliencyPruner: the weights that a criterion scores lowest go."""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.utils._param_validation import Interval

from skprune.masks import Curve, Schedule
from skprune.nets import naming_the_extra
from skprune.nets.pruners.scored import ScoredPruner

if TYPE_CHECKING:
    from skprune.nets.criteria import Criterion


class SaliencyPruner(ScoredPruner):
    """Remove the weights that a criterion scores lowest from a skorch net.

    The criterion says what a weight is worth: by its magnitude, by the loss without it to first
    order (Molchanov et al., 2019 [1]_), by chance, or by a function of your own. Magnitude, with
    ``schedule="constant"`` and ``regrowth="gradient"``, is RigL (Evci et al., 2020 [2]_).

    Parameters
    ----------
    estimator : skorch net
        What to prune, for example :class:`~skprune.MLPNetClassifier`, or a
        :class:`~sklearn.frozen.FrozenEstimator` around a fitted net, which is pruned on a
        copy and not trained unless `finetune_epochs` is set.
    criterion : {"magnitude", "random", "taylor"}, Criterion or callable, default="taylor"
        What a weight is worth. "taylor" is the change of the loss without it, to first order, as
        the absolute value of the weight times the mean gradient; an object of
        :mod:`skprune.nets.criteria`, such as ``Taylor(mean="mean_of_squares")``, sets the
        details. A function takes the weights of a layer, or these and their mean gradient, as
        tensors, and returns scores of the same shape: the higher, the sooner a weight stays.
    sparsity : float in [0, 1], default=0.9
        Fraction of the prunable weights to remove; biases and norm layers are not prunable.
        A number of weights that is not whole is rounded up.
    schedule : {"one_shot", "iterative", "cubic", "cyclic", "constant"} or Schedule, \
            default="one_shot"
        When the weights go. "cyclic" lets all weights train again between phases of sparsity, and
        ends sparse; "constant" prunes before training. An object of :mod:`skprune.masks` sets the
        details, for example ``Cubic(end=0.5)`` or ``Iterative(n_rounds=10)``.
    allocation : {"global", "uniform"}, default="global"
        Whether the smallest weights go wherever they stand, or the same fraction of every layer.
    granularity : {"weight", "neuron"}, "n:m" or (int, int), default="weight"
        What is removed as one: single weights; the hidden units of Linear and Conv layers, with
        the weights that read them; all but n of m weights side by side, as in "2:4", which sets
        the sparsity; or blocks of (outputs, inputs). A group is worth the mean of its scores.
    regrowth : {"gradient", "random"} or Criterion, default=None
        What takes the place of the weights that a schedule such as "constant" replaces now and
        then: those of the largest gradient, or any. None replaces none.
    n_samples : int, default=1024
        Training rows from which a criterion takes its gradients where the net does not train
        before it is pruned, as a frozen one, and for evidence of single rows; None takes all.
        They are taken in batches. Where it trains, other gradients are gathered meanwhile.
    layers : sequence of str, default=None
        Names of the layers to prune, as in the module's ``named_modules``; None prunes every
        Linear, Conv, ConvTranspose, Bilinear, recurrent layer or cell, and the projections of
        MultiheadAttention. `sparsity` counts the weights of these layers.
    finetune_epochs : int, default=None
        Epochs of training behind the net's own `max_epochs`. None: as many again for
        "one_shot" and "iterative", none for "cubic", whose last part recovers. A frozen
        estimator trains for these epochs only, the schedule running over them.
    refresh_batch_norm : bool, default=True
        Whether the running statistics of batch norms, which pruning made stale, are taken anew from
        the training rows where no training follows the pruning: with ``finetune_epochs=0``, say,
        or for a frozen net.
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
        The pruned layers' weights, (n_out, n_in * kernel size) each; a parameter of another
        layout keeps its first dimension.
    sparsity_ : float
        Zeros in `sparse_weights_` / all their entries.
    pruning_history_ : list of dict
        One entry an epoch: "epoch", "sparsity", "lr", the learning rate with which it began,
        "lr_restarted", whether schedules of the rate began anew with it, and the net's losses.
    classes_ : ndarray of shape (n_classes,)
        Labels (classifiers).
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X, where it had names.

    References
    ----------
    .. [1] P. Molchanov, A. Mallya, S. Tyree, I. Frosio and J. Kautz, "Importance estimation for
       neural network pruning", 2019.
    .. [2] U. Evci, T. Gale, J. Menick, P. S. Castro and E. Elsen, "Rigging the lottery: making all
       tickets winners", 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune import MLPNetClassifier, SaliencyPruner
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPNetClassifier((32,), lr=0.02, batch_size=16)
    >>> pruner = SaliencyPruner(net, criterion="taylor", sparsity=0.75, random_state=0).fit(X, y)
    >>> pruner.score(X, y) > 0.9
    True
    >>> pruner.sparsity_
    0.75
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ScoredPruner._parameter_constraints,
        "criterion": "no_validation",  # told what it must be where torch is at hand
        "regrowth": "no_validation",
        "n_samples": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        criterion: "str | Criterion | Callable[..., Any]" = "taylor",
        sparsity: float = 0.9,
        schedule: str | Schedule | Curve = "one_shot",
        allocation: str = "global",
        granularity: str | tuple[int, int] = "weight",
        regrowth: "str | Criterion | None" = None,
        n_samples: int | None = 1024,
        layers: Sequence[str] | None = None,
        finetune_epochs: int | None = None,
        refresh_batch_norm: bool = True,
        random_state: Any = None,
        verbose: int = 0,
        n_jobs: int | None = None,
        engine: str = "auto",
    ) -> None:
        super().__init__(
            estimator,
            sparsity=sparsity,
            schedule=schedule,
            allocation=allocation,
            granularity=granularity,
            layers=layers,
            finetune_epochs=finetune_epochs,
            refresh_batch_norm=refresh_batch_norm,
            random_state=random_state,
            verbose=verbose,
            n_jobs=n_jobs,
            engine=engine,
        )
        self.criterion = criterion
        self.regrowth = regrowth
        self.n_samples = n_samples

    def _criterion(self) -> "Criterion":
        with naming_the_extra(f"{type(self).__name__}.fit"):
            from skprune.nets.criteria import as_criterion

        return as_criterion(self.criterion)
