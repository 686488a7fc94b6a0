"""L0Pruner: hard-concrete gates, at a price or at a given sparsity."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.utils._param_validation import Interval, StrOptions

from skprune.nets.pruners.learned import LearnedPruner

if TYPE_CHECKING:
    from skprune.nets.gates import Gate
    from skprune.nets.gates.pressure import Pressure


class L0Pruner(LearnedPruner):
    """Learn which units or weights of a skorch net to remove, by L0 regularisation.

    Louizos, Welling and Kingma (2018) [1]_ for `lam`; Gallego-Posada et al. (2022) [2]_ for
    `sparsity`.

    Parameters
    ----------
    estimator : skorch net
        What to prune, for example :class:`~skprune.MLPNetClassifier`, or a
        :class:`~sklearn.frozen.FrozenEstimator` around a fitted net, which is pruned on a copy that
        trains for `finetune_epochs`.
    sparsity : float in [0, 1], default=None
        Fraction of the prunable weights to remove; biases and norm layers are not prunable. A
        number that groups cannot meet is met from above.
        None leaves it to `lam`; with neither of the two it is 0.9. 0 trains the plain
        net.
    lam : float or dict of str to float, default=None
        The price of a weight (of a unit, for each of its weights), divided by the number of rows:
        the penalised form. A dict gives each layer its own. With `sparsity` instead, the price is
        found in training: the constrained form.
    groups : {"units", "weights"}, default="units"
        What has a gate of its own: input units of a Linear and output maps of a Conv, or single
        weights.
    droprate_init, input_droprate_init : float in (0, 1), default=None
        Where the gates start: the chance that they are closed, but for the noise. The second is for
        the inputs of a Linear that comes first. None is 0.5 and 0.2, and 0.05 for a frozen net,
        which has learned already what half-closed gates would undo.
    temperature : float, default=2/3
        Of the hard-concrete distribution, beta.
    stretch : (float, float), default=(-0.1, 1.1)
        The interval over which its sigmoid is stretched: gamma < 0 and zeta > 1.
    dual_lr : float, default=None
        Step size of the dual variable in the constrained form. None is 20 / steps.
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
        and which stands in the weights once the gates are folded; "expected_sparsity", over the
        noise of the gates; "penalty", what the last step added to the loss; "dual", the dual
        variable or None; the net's losses; and "gates", the chance that each gate of each layer is
        open. See :class:`~skprune.PruningHistoryDisplay`. "lr" is the
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
    A unit that a closed gate cuts off is a row of zeros in the layer that makes it, its bias
    included, and a column of zeros in the one that reads it, and all of these count for `sparsity`.
    Who reads whom is read off the module's graph; where that cannot be traced, the gate's own
    weights alone go.

    At the end the gates of highest log alpha stay, as many as `sparsity` asks for; one that would
    be closed at test time, but must stay, gets a small value.

    References
    ----------
    .. [1] C. Louizos, M. Welling and D. P. Kingma, "Learning sparse neural networks through L0
       regularization", 2018, equations 9 to 13.
    .. [2] J. Gallego-Posada, J. Ramirez, A. Erraqabi, Y. Bengio and S. Lacoste-Julien, "Controlled
       sparsity via constrained optimization: or how I learned to stop tuning penalties and love
       constraints", 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune import L0Pruner, MLPNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPNetClassifier((32,), lr=0.02, batch_size=16, max_epochs=30)
    >>> pruner = L0Pruner(net, sparsity=0.5, random_state=0).fit(X, y)
    >>> pruner.score(X, y) > 0.9
    True
    >>> 0.5 <= pruner.sparsity_ < 0.55
    True
    """

    own_rule = "lam"
    path_params: ClassVar[dict[str, int]] = {"sparsity": 1, "lam": 1}
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **LearnedPruner._parameter_constraints,
        "lam": [Interval(Real, 0, None, closed="left"), Mapping, None],
        "groups": [StrOptions({"units", "weights"})],
        "droprate_init": [Interval(Real, 0, 1, closed="neither"), None],
        "input_droprate_init": [Interval(Real, 0, 1, closed="neither"), None],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "stretch": [tuple, list],
        "dual_lr": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        sparsity: float | None = None,
        lam: float | Mapping[str, float] | None = None,
        groups: str = "units",
        droprate_init: float | None = None,
        input_droprate_init: float | None = None,
        temperature: float = 2 / 3,
        stretch: tuple[float, float] = (-0.1, 1.1),
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
        self.lam = lam
        self.groups = groups
        self.droprate_init = droprate_init
        self.input_droprate_init = input_droprate_init
        self.temperature = temperature
        self.stretch = stretch
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
        from skprune.nets.gates import HardConcreteGate

        closed, usual = self.droprate_init, 0.5
        if is_first and self.groups == "units" and layer.weight.ndim == 2:
            closed, usual = self.input_droprate_init, 0.2
        if closed is None:
            closed = 0.05 if self._is_frozen else usual
        gate = HardConcreteGate(
            layer,
            self.groups.removesuffix("s"),
            droprate_init=closed,
            temperature=self.temperature,
            stretch=self.stretch,
        )
        if self._target is not None and not self._is_frozen:
            gate.weight.data /= 1 - closed  # Gallego-Posada 2022: as large as without gates
        return gate

    def _pressure(self, sparsity: float | None, epochs: float) -> "Pressure":
        from skprune.nets.gates.pressure import Price, Target

        if sparsity is None:
            assert self.lam is not None
            return Price(self.lam)
        return Target(1 - sparsity, lr=self.dual_lr)

    def _check_parameters_agree(self) -> None:
        if isinstance(self.lam, Mapping) and not all(
            isinstance(price, Real) and price >= 0 for price in self.lam.values()
        ):
            raise ValueError(f"lam={self.lam!r} must hold prices of 0 or more.")
        numbers = len(self.stretch) == 2 and all(isinstance(end, Real) for end in self.stretch)
        if not numbers or not self.stretch[0] < 0 < 1 < self.stretch[1]:
            raise ValueError(
                f"stretch must be a pair (gamma, zeta) with gamma < 0 and zeta > 1; "
                f"got {self.stretch!r}."
            )
        if self.dual_lr is not None and self.lam is not None:
            raise ValueError(
                f"dual_lr={self.dual_lr!r} is for a given sparsity, not for lam={self.lam!r}."
            )
