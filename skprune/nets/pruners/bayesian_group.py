"""BayesianGroupPruner: a normal posterior for the scale of every unit."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.utils._param_validation import Interval

from skprune.nets.pruners.learned import LearnedPruner, warmup

if TYPE_CHECKING:
    from skprune.nets.gates import Gate
    from skprune.nets.gates.pressure import Pressure


class BayesianGroupPruner(LearnedPruner):
    """Remove the units of a skorch net whose scale bears the most noise.

    Bayesian compression with normal-Jeffreys priors, Louizos, Ullrich and Welling (2017) [1]_:
    the weights of an input unit of a Linear, or of an output map of a Conv, share a random scale
    under a log-uniform prior, and have a normal posterior each.

    Parameters
    ----------
    estimator : skorch net
        What to prune, for example :class:`~skprune.MLPNetClassifier`, or a
        :class:`~sklearn.frozen.FrozenEstimator` around a fitted net, which is pruned on a copy that
        trains for `finetune_epochs`.
    sparsity : float in [0, 1], default=None
        Fraction of the prunable weights to remove; biases and norm layers are not prunable. A
        number that units cannot meet is met from above.
        None leaves it to `threshold`; with neither of the two it is 0.9. 0 trains the plain
        net.
    threshold : float, default=None
        A unit goes where log alpha, the noise of its scale against its size, is at least this.
    warmup_epochs : int or (float, float), default=None
        Epochs in which the KL divergence is left out, and epoch from which on it counts in full;
        it grows linearly between the two. An int is (0, int). None is (5, 20), or a twentieth and
        two fifths of the epochs that gates learn for, where these are shorter.
    layers : sequence of str, default=None
        Names of the layers that get gates, as in the module's ``named_modules``; None takes every
        Linear and Conv. `sparsity` counts the weights of these layers. All others stay dense, and
        a warning names them: ConvTranspose, Bilinear, recurrent layers and cells, the projections
        of MultiheadAttention, embeddings. A layer that shares its weight, or is not called in the
        module's forward, cannot have gates: name the others.
    recovery_fraction : float in [0, 1), default=0.2
        The last part of the net's `max_epochs`, in which gates are folded into the weights, zeros
        are held, and what is left trains on. 0 folds the gates when training ends.
    finetune_epochs : int, default=None
        More epochs behind the net's `max_epochs`, without gates; None for none. A frozen estimator
        trains for these epochs only, with gates, so it needs some.
    gate_lr : float, default=None
        Rate of the Adam that trains the gates' own parameters; weights are left to the net's own
        optimizer. None is 1e-3, or more where training is so short that gates could not close.
    refresh_batch_norm : bool, default=True
        Whether the running statistics of batch norms, which pruning made stale, are taken anew from
        the training rows where no training follows the pruning: with ``recovery_fraction=0``, say.
    random_state : int, RandomState or None, default=None
        Seeds the whole training run, as ``torch.manual_seed`` would before a plain ``fit``; global
        generators are left as they were. None uses the net's own `random_state` if it has one,
        else torch's global generator.
    verbose : int, default=0
        1 shows a progress bar over the epochs.
    n_jobs : int, default=None
        Threads of `predict` on large batches; None means 1, -1 all processors.
    engine : {"auto", "native", "scipy"}, default="auto"
        What `predict` runs on: compiled kernels, or scipy as the plain reference; "auto" takes the
        kernels where they were built.

    Attributes
    ----------
    estimator_ : skorch net
        The pruned net: the layers of its own class and shape, with exact zeros and without gates.
    sparse_estimator_ : SparseClassifier or SparseRegressor
        The pruned net on the sparse engine, without torch. Asking for it raises an
        `AttributeError` that names the layer if the engine lacks one; predictions then come from
        `estimator_`.
    sparse_weights_ : dict of str to csr_array
        The pruned layers' weights, (n_out, n_in * kernel size) each.
    sparsity_ : float
        Zeros in `sparse_weights_` / all their entries.
    pruning_history_ : list of dict
        One entry an epoch: "epoch"; "sparsity", which the gates' own rule would come to at its end,
        and which stands in the weights once the gates are folded; "expected_sparsity", the same
        here; "penalty", what the last step added to the loss; "dual", the dual variable or None;
        the net's losses; and "gates", the chance that each gate of each layer is open. See
        :class:`~skprune.PruningHistoryDisplay`. "lr" is the learning rate with which the epoch
        began, and "lr_restarted" whether schedules of the rate began anew with it.
    classes_ : ndarray of shape (n_classes,)
        Labels (classifiers).
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X, where it had names.

    Notes
    -----
    A unit that goes is a row of zeros in the layer that makes it, its bias included, and a column
    of zeros in the one that reads it; see :class:`~skprune.L0Pruner`. Training adds the KL
    divergence divided by the number of rows, so the loss must be a mean over rows. Biases have no
    posterior here, and nothing is quantised.

    References
    ----------
    .. [1] C. Louizos, K. Ullrich and M. Welling, "Bayesian compression for deep learning", 2017,
       section 4.1.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune import BayesianGroupPruner, MLPNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPNetClassifier((32,), lr=0.02, batch_size=16, max_epochs=30)
    >>> pruner = BayesianGroupPruner(net, sparsity=0.5, random_state=0).fit(X, y)
    >>> pruner.score(X, y) > 0.85
    True
    >>> 0.5 <= pruner.sparsity_ < 0.55
    True
    """

    own_rule = "threshold"
    path_params: ClassVar[dict[str, int]] = {"sparsity": 1, "threshold": -1}
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **LearnedPruner._parameter_constraints,
        "threshold": [Interval(Real, None, None, closed="neither"), None],
        "warmup_epochs": [Interval(Integral, 0, None, closed="left"), tuple, list, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        sparsity: float | None = None,
        threshold: float | None = None,
        warmup_epochs: int | tuple[float, float] | None = None,
        layers: Sequence[str] | None = None,
        recovery_fraction: float = 0.2,
        finetune_epochs: int | None = None,
        gate_lr: float | None = None,
        refresh_batch_norm: bool = True,
        random_state: Any = None,
        verbose: int = 0,
        n_jobs: int | None = None,
        engine: str = "auto",
    ) -> None:
        self.estimator = estimator
        self.sparsity = sparsity
        self.threshold = threshold
        self.warmup_epochs = warmup_epochs
        self.layers = layers
        self.recovery_fraction = recovery_fraction
        self.finetune_epochs = finetune_epochs
        self.gate_lr = gate_lr
        self.refresh_batch_norm = refresh_batch_norm
        self.random_state = random_state
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.engine = engine

    def _make_gate(self, layer: Any, is_first: bool) -> "Gate":
        from skprune.nets.gates import GroupPosteriorGate

        return GroupPosteriorGate(
            layer, threshold=0.0 if self.threshold is None else self.threshold
        )

    def _pressure(self, sparsity: float | None, epochs: float) -> "Pressure":
        from skprune.nets.gates.pressure import Price

        return Price(warmup=warmup(self.warmup_epochs, epochs))
