"""MagnitudePruner: the weights of smallest magnitude go."""

from typing import TYPE_CHECKING

from skprune.nets.pruners.scored import ScoredPruner

if TYPE_CHECKING:
    from skprune.nets.criteria import Criterion


class MagnitudePruner(ScoredPruner):
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

    Notes
    -----
    Labels that the net's loss cannot take, strings among them, are encoded as 0, 1, ...; then
    `estimator_` predicts codes. All other targets reach the loss as they are. Without an encoding,
    `predict` gives what that of the net gives: of skorch's own classifiers, numbers of outputs.

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

    def _criterion(self) -> "Criterion":
        from skprune.nets.criteria import Magnitude

        return Magnitude()
