"""SoftThresholdPruner: a learned threshold for every layer."""

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.utils._param_validation import Interval

from skprune.nets.pruners.learned import LearnedPruner

if TYPE_CHECKING:
    from skprune.nets.gates import Gate
    from skprune.nets.gates.pressure import Pressure


class SoftThresholdPruner(LearnedPruner):
    """Remove the weights of a skorch net that are below a threshold which each layer learns.

    Soft-threshold reparameterisation (STR), Kusupati et al. (2020) [1]_. How sparse each layer
    becomes is learned with the weights.

    Parameters
    ----------
    estimator : skorch net
        What to prune, for example :class:`~skprune.MLPNetClassifier`, or a
        :class:`~sklearn.frozen.FrozenEstimator` around a fitted net, which is pruned on a copy that
        trains for `finetune_epochs`.
    sparsity : float in [0, 1], default=None
        Fraction of the prunable weights to remove; biases and norm layers are not prunable. Met
        exactly.
        None leaves it to `threshold_decay`; with neither of the two it is 0.9. 0 trains the plain
        net.
    threshold_decay : float, default=None
        Weight decay of the thresholds' logits, which drives the thresholds up. With `sparsity`
        instead, the decay is found in training, as the price of a constraint.
    s_init : float, default=-5.0
        Where the logits start. The paper's -3200 is for ResNet-50; the sigmoid of -5 is 0.0067.
    dual_lr : float, default=None
        Step size of the decay where `sparsity` is given. None is 20 / steps.
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
        the net's losses. See :class:`~skprune.PruningHistoryDisplay`. "lr" is the
        learning rate with which the epoch began, and "lr_restarted" whether schedules of the rate
        began anew with it.
    classes_ : ndarray of shape (n_classes,)
        Labels (classifiers).
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns of X, where it had names.

    Notes
    -----
    The paper steers by the weight decay alone. Here `sparsity` is a constraint on the density, and
    the decay its dual variable, as Gallego-Posada et al. (2022) do for L0; when the thresholds are
    folded, the weights furthest above theirs stay, exactly as many as are asked for.

    References
    ----------
    .. [1] A. Kusupati et al., "Soft threshold weight reparameterization for learnable sparsity",
       2020, equation 4.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune import SoftThresholdPruner, MLPNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPNetClassifier((32,), lr=0.02, batch_size=16, max_epochs=30)
    >>> pruner = SoftThresholdPruner(net, sparsity=0.75, random_state=0).fit(X, y)
    >>> pruner.score(X, y) > 0.9
    True
    >>> pruner.sparsity_ == 0.75
    True
    """

    own_rule = "threshold_decay"
    path_params: ClassVar[dict[str, int]] = {"sparsity": 1, "threshold_decay": 1}
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **LearnedPruner._parameter_constraints,
        "threshold_decay": [Interval(Real, 0, None, closed="left"), None],
        "s_init": [Interval(Real, -30, 0, closed="left")],
        "dual_lr": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        sparsity: float | None = None,
        threshold_decay: float | None = None,
        s_init: float = -5.0,
        dual_lr: float | None = None,
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
        self.threshold_decay = threshold_decay
        self.s_init = s_init
        self.dual_lr = dual_lr
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
        from skprune.nets.gates import SoftThresholdGate

        return SoftThresholdGate(layer, s_init=self.s_init)

    def _pressure(self, sparsity: float | None, epochs: float) -> "Pressure":
        from skprune.nets.gates.pressure import Price, Target

        if sparsity is None:
            assert self.threshold_decay is not None
            return Price(self.threshold_decay, per_row=False)
        return Target(1 - sparsity, lr=self.dual_lr, penalises="penalty")

    def _check_parameters_agree(self) -> None:
        if self.dual_lr is not None and self.threshold_decay is not None:
            raise ValueError(
                f"dual_lr={self.dual_lr!r} is for a given sparsity, not for "
                f"threshold_decay={self.threshold_decay!r}."
            )
