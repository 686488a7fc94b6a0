"""MLPNetClassifier and MLPNetRegressor: skorch nets that take their sizes from the data."""

import inspect
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import copy
from itertools import pairwise
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.utils import is_dataset
from torch import nn

from skprune.nets.precision import check_device, float_dtype, numpy_dtype
from skprune.nets.rows import as_array, halves, one_array
from skprune.nets.seeding import draw_seed, seeded

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


class MLPModule(nn.Module):
    """A multilayer perceptron: Linear, batch norm, activation, dropout; Linear at the end.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Sizes of the first and last layer.
    hidden_layer_sizes : sequence of int, default=(100,)
        Units of each hidden layer; empty for a linear model.
    activation : {"relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "identity"}
        Activation of the hidden layers, default "relu".
    dropout : float in [0, 1), default=0.0
        Probability that a hidden unit is left out in a training step.
    batch_norm : bool, default=False
        Whether to normalise each hidden layer before its activation.

    Examples
    --------
    >>> MLPModule(4, 3, hidden_layer_sizes=(8,))
    MLPModule(
      (layers): Sequential(
        (hidden0): Linear(in_features=4, out_features=8, bias=True)
        (activation0): ReLU()
        (output): Linear(in_features=8, out_features=3, bias=True)
      )
    )
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        hidden_layer_sizes: Sequence[int] = (100,),
        activation: str = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        sizes = [n_inputs, *_checked_sizes(hidden_layer_sizes)]
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            layers[f"hidden{i}"] = nn.Linear(n_in, n_out)
            if batch_norm:
                layers[f"batch_norm{i}"] = nn.BatchNorm1d(n_out)
            layers[f"activation{i}"] = _activation(activation)
            if dropout:
                layers[f"dropout{i}"] = nn.Dropout(_checked_dropout(dropout))
        layers["output"] = nn.Linear(sizes[-1], n_outputs)
        self.layers = nn.Sequential(layers)
        # Torch's default makes the weights of a narrow input larger than all others, and global
        # magnitude pruning would then empty the other layers; Glorot's is scikit-learn's choice.
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Compute logits, or predictions, of shape (n_samples, n_outputs)."""
        return self.layers(X)


def _checked_sizes(sizes: Any) -> list[int]:
    sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
    if not all(isinstance(size, Integral) and int(size) > 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must hold positive integers, got {sizes!r}.")
    return [int(size) for size in sizes]


def _checked_dropout(dropout: float) -> float:
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout!r}.")
    return dropout


def _activation(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, got {name!r}.")
    return ACTIVATIONS[name]()


def _default_floats() -> np.dtype:
    # the module is made for X, so before it there is only torch's default to go by
    return numpy_dtype(torch.get_default_dtype())


class _SizedByData(NeuralNet):
    """What both nets share: checked input, sizes from the data, a seed, weighted rows."""

    # a pruner hands such nets labels as they are, and `sample_weight`
    encodes_labels: ClassVar[bool] = True
    criterion_: Any

    __repr__ = BaseEstimator.__repr__

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (100,),
        activation: str = "relu",
        *,
        dropout: float = 0.0,
        batch_norm: bool = False,
        random_state: Any = None,
        module: Any = MLPModule,
        optimizer: Any = torch.optim.Adam,
        lr: float = 2e-3,
        max_epochs: int = 20,
        batch_size: int = 64,
        train_split: Any = None,
        verbose: int = 0,
        **kwargs: Any,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.random_state = random_state
        kwargs.setdefault("iterator_train__shuffle", True)
        super().__init__(
            module,
            optimizer=optimizer,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            train_split=train_split,
            verbose=verbose,
            **kwargs,
        )

    def _get_param_names(self) -> list[str]:
        # skorch lists its private bookkeeping too, which no caller can set
        return [name for name in super()._get_param_names() if not name.startswith("_")]

    def _get_params_html(self, deep: bool = True, **options: Any) -> Any:
        # what notebooks show: deeper stand the parameters of skorch's own callbacks, as if changed
        return super()._get_params_html(deep=False, **options)

    def initialize_module(self) -> Self:
        """Build the module for the sizes of the data; `module__...` parameters win."""
        given = self.get_params_for("module")
        learnt = {
            "n_inputs": getattr(self, "n_features_in_", None),
            "n_outputs": getattr(self, "_n_outputs_", None),
        }
        if None in (learnt | given).values():
            raise ValueError(
                f"{type(self).__name__} takes its sizes from the data: call fit, which "
                f"initializes it, or set module__n_inputs and module__n_outputs."
            )
        parameters = {
            **learnt,
            "hidden_layer_sizes": self.hidden_layer_sizes,
            "activation": self.activation,
            "dropout": self.dropout,
            "batch_norm": self.batch_norm,
        }
        self.module_ = self.initialized_instance(self.module, parameters | given)
        return self

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Batch the rows; with batch norm a last row alone, which has no variance, sits out."""
        iterator = super().get_iterator(dataset, training=training)
        if not (training and self.batch_norm and len(dataset) > 1):
            return iterator
        if len(dataset) % iterator.batch_size != 1:
            return iterator
        given = self.get_params_for("iterator_train")
        given |= {"batch_size": iterator.batch_size, "drop_last": True}
        return self.iterator_train(dataset, **given)

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Initialize the net for these data and train it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels of any kind, or targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows: a batch's loss is their weighted mean, so the scale of the weights
            makes no difference.
        **fit_params : dict
            As in skorch.

        Returns
        -------
        self : object
            The fitted net.
        """
        X, y = self._validate(X, y, reset=not (self.warm_start and self.initialized_))
        with seeded(draw_seed(self.random_state), self.device):
            if not self.warm_start or not self.initialized_:
                self.initialize()
            return self._train(X, y, sample_weight, **fit_params)

    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        classes: Any = None,
        sample_weight: Any = None,
        **fit_params: Any,
    ) -> Self:
        """Go on training for `max_epochs`; a net that is not initialized starts as in `fit`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or targets.
        classes : array-like of shape (n_classes,), default=None
            All labels that may come, for the first call; by default those in `y`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        **fit_params : dict
            As in skorch.

        Returns
        -------
        self : object
            The net.
        """
        X, y = self._validate(X, y, reset=not self.initialized_, classes=classes)
        if not self.initialized_:
            with seeded(draw_seed(self.random_state), self.device):
                self.initialize()
        return self._train(X, y, sample_weight, **fit_params)

    def _train(self, X: np.ndarray, y: np.ndarray, sample_weight: Any, **fit_params: Any) -> Self:
        if sample_weight is None:
            return super().partial_fit(X, y, **fit_params)
        return super().partial_fit(self.weighted(X, sample_weight), y, **fit_params)

    def training_rows(self, X: Any, y: Any, sample_weight: Any = None) -> tuple[Any, np.ndarray]:
        """Return rows and targets as this fitted net trains on them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their labels or targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights.

        Returns
        -------
        X, y : ndarray or dict of str to ndarray, ndarray
            Targets are in the form that the loss takes: codes, or a column for each output.
        """
        X, y = self._validate(X, y, reset=False)
        return (X if sample_weight is None else self.weighted(X, sample_weight)), y

    def weighted(self, X: np.ndarray, sample_weight: Any) -> dict[str, np.ndarray]:
        """Return rows with their weights, as skorch hands them to `infer` and `get_loss`.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            The rows.
        sample_weight : array-like of shape (n_samples,)
            Their weights, of any scale.

        Returns
        -------
        rows : dict of str to ndarray
        """
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        # float32 holds neither very small nor very large weights, whose scale makes no difference
        weight = (weight / (weight.mean() or 1.0)).astype(np.float32)
        return {"X": X, "sample_weight": weight}

    def _validate(
        self, X: Any, y: Any, *, reset: bool, classes: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        check_device(self)
        one_array(X, type(self).__name__)
        X, y = halves(X) if is_dataset(X) else (as_array(X), as_array(y))
        X, y = validate_data(
            self, X, y, reset=reset, dtype=_default_floats(), multi_output=self._many_outputs
        )
        # pandas hands out read-only arrays, of which torch warns
        y = np.require(self._encode(y, reset=reset, classes=classes), requirements="W")
        return np.require(X, requirements="W"), y

    _many_outputs: ClassVar[bool]

    def _encode(self, y: np.ndarray, *, reset: bool, classes: Any) -> np.ndarray:
        raise TypeError("use MLPNetClassifier or MLPNetRegressor")

    def check_data(self, X: Any, y: Any = None) -> None:
        """Leave the data as they are: `fit` has checked them and learnt the classes."""

    def infer(self, x: Any, **fit_params: Any) -> torch.Tensor:
        """Run the module on a batch's features, without its weights, as floats of its own kind."""
        x = torch.as_tensor(x["X"] if isinstance(x, Mapping) else x)
        return super().infer(x.to(float_dtype(self)), **fit_params)

    def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, training: bool = False) -> Any:
        """Compute the loss of a batch: the mean over its rows, weighted where weights came."""
        if torch.is_floating_point(y_true):
            y_true = y_true.to(y_pred.dtype)
        if not isinstance(X, Mapping):
            return super().get_loss(y_pred, y_true, X=X, training=training)
        weight = X["sample_weight"].to(y_pred.device, y_pred.dtype)
        mean_loss = self.criterion_
        if not hasattr(mean_loss, "reduction"):
            raise TypeError(
                f"sample_weight needs a criterion with a reduction parameter; "
                f"criterion={type(mean_loss).__name__} has none."
            )
        self.criterion_ = copy(mean_loss)
        self.criterion_.reduction = "none"
        try:
            losses = super().get_loss(y_pred, y_true, X=X, training=training)
        finally:
            self.criterion_ = mean_loss
        losses = losses.reshape(len(weight), -1).mean(dim=1)
        class_weight = getattr(mean_loss, "weight", None)
        shares = weight if class_weight is None else weight * class_weight[y_true]
        # rows of weight zero alone have no mean; they must teach nothing, not NaN
        return (losses * weight).sum() / shares.sum().clamp_min(torch.finfo(weight.dtype).tiny)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict what the module says of each row: probabilities, or targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        output : ndarray of shape (n_samples, n_outputs)
            Float32.
        """
        self.check_is_fitted()
        if not is_dataset(X):
            X = as_array(one_array(X, type(self).__name__))
            X = validate_data(self, X, reset=False, dtype=_default_floats())
            X = np.require(X, requirements="W")
        return super().predict_proba(X)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.non_deterministic = self.random_state is None
        return tags


class MLPNetClassifier(_SizedByData, NeuralNetClassifier):
    """A multilayer perceptron for classification, trained by skorch.

    The sizes of the first and last layer come from the data, labels may be of any kind, and
    nothing is printed. Everything that skorch offers is there: callbacks, optimizers,
    criteria, `train_split`, devices.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(100,)
        Units of each hidden layer.
    activation : {"relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "identity"}
        Activation of the hidden layers, default "relu".
    dropout : float in [0, 1), default=0.0
        Probability that a hidden unit is left out in a training step.
    batch_norm : bool, default=False
        Whether to normalise each hidden layer before its activation.
    random_state : int, RandomState or None, default=None
        Seeds the weights and the order of the rows; global generators are left as they were.
        None draws from torch's global generator.
    module : type, default=MLPModule
        Called with `n_inputs`, `n_outputs`, the four parameters above and all `module__...`.
    criterion : type, default=torch.nn.CrossEntropyLoss
        The loss of the module's logits.
    optimizer : type, default=torch.optim.Adam
        The optimizer.
    lr : float, default=2e-3
        Its learning rate.
    max_epochs : int, default=20
        Passes over the data.
    batch_size : int, default=64
        Rows a step; -1 takes all.
    train_split : None or callable, default=None
        None trains on all rows; ``skorch.dataset.ValidSplit(5)`` holds a fifth out.
    verbose : int, default=0
        1 prints a line an epoch.
    **kwargs : dict
        Everything else that :class:`skorch.NeuralNetClassifier` takes.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained module.
    classes_ : ndarray of shape (n_classes,)
        The labels.
    n_features_in_ : int
        Number of columns of X.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune import MLPNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> net = MLPNetClassifier((16,), lr=0.02, batch_size=16, random_state=0).fit(X, y)
    >>> net.score(X, y) > 0.9
    True
    """

    _many_outputs = False

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (100,),
        activation: str = "relu",
        *,
        criterion: Any = nn.CrossEntropyLoss,
        classes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            hidden_layer_sizes, activation, criterion=criterion, classes=classes, **kwargs
        )

    def _encode(self, y: np.ndarray, *, reset: bool, classes: Any) -> np.ndarray:
        check_classification_targets(y)
        if reset:
            known = next((c for c in (classes, self.classes) if c is not None), y)
            self.classes_inferred_ = np.unique(np.asarray(known))
            self._n_outputs_ = len(self.classes_inferred_)
        if self._n_outputs_ < 2:
            raise ValueError(
                f"y must hold at least 2 classes, but it holds one class only: "
                f"{self.classes_inferred_.tolist()}."
            )
        encoder = LabelEncoder()
        encoder.classes_ = self.classes_inferred_
        return encoder.transform(y).astype(np.int64, copy=False)

    @property
    def classes_(self) -> np.ndarray:
        """The labels, sorted."""
        if not hasattr(self, "classes_inferred_"):
            raise AttributeError(f"{type(self).__name__} has no classes_ before fit")
        return self.classes_inferred_

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows. For a torch Dataset, whose targets are encoded, the numbers of the
            classes come back: that is what skorch's scoring callbacks compare.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            The labels.
        """
        codes = self.predict_proba(X).argmax(axis=1)
        return codes if is_dataset(X) else self.classes_[codes]


class MLPNetRegressor(_SizedByData, NeuralNetRegressor):
    """A multilayer perceptron for regression on one or several targets, trained by skorch.

    The sizes of the first and last layer come from the data, and nothing is printed.
    Everything that skorch offers is there: callbacks, optimizers, criteria, `train_split`,
    devices.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(100,)
        Units of each hidden layer.
    activation : {"relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "identity"}
        Activation of the hidden layers, default "relu".
    dropout : float in [0, 1), default=0.0
        Probability that a hidden unit is left out in a training step.
    batch_norm : bool, default=False
        Whether to normalise each hidden layer before its activation.
    random_state : int, RandomState or None, default=None
        Seeds the weights and the order of the rows; global generators are left as they were.
        None draws from torch's global generator.
    module : type, default=MLPModule
        Called with `n_inputs`, `n_outputs`, the four parameters above and all `module__...`.
    criterion : type, default=torch.nn.MSELoss
        The loss of the module's outputs.
    optimizer : type, default=torch.optim.Adam
        The optimizer.
    lr : float, default=2e-3
        Its learning rate.
    max_epochs : int, default=20
        Passes over the data.
    batch_size : int, default=64
        Rows a step; -1 takes all.
    train_split : None or callable, default=None
        None trains on all rows; ``skorch.dataset.ValidSplit(5)`` holds a fifth out.
    verbose : int, default=0
        1 prints a line an epoch.
    **kwargs : dict
        Everything else that :class:`skorch.NeuralNetRegressor` takes.

    Attributes
    ----------
    module_ : torch.nn.Module
        The trained module.
    n_features_in_ : int
        Number of columns of X.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from skprune import MLPNetRegressor
    >>> X, y = make_regression(200, 5, n_targets=2, random_state=0)
    >>> net = MLPNetRegressor((32,), lr=0.01, max_epochs=50, random_state=0).fit(X, y)
    >>> net.predict(X).shape
    (200, 2)
    """

    _many_outputs = True

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (100,),
        activation: str = "relu",
        *,
        criterion: Any = nn.MSELoss,
        **kwargs: Any,
    ) -> None:
        super().__init__(hidden_layer_sizes, activation, criterion=criterion, **kwargs)

    def _encode(self, y: np.ndarray, *, reset: bool, classes: Any) -> np.ndarray:
        if reset:
            self._y_is_flat_ = y.ndim == 1
            self._n_outputs_ = 1 if y.ndim == 1 else y.shape[1]
        y = y.reshape(len(y), -1).astype(_default_floats(), copy=False)
        if y.shape[1] != self._n_outputs_:
            raise ValueError(f"y has {y.shape[1]} outputs, the net has {self._n_outputs_}.")
        return y

    def predict(self, X: Any) -> np.ndarray:
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Float64, of the shape of the targets in `fit`.
        """
        y = self.predict_proba(X).astype(np.float64)
        return y[:, 0] if self._y_is_flat_ and not is_dataset(X) else y

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _with_parameters_of_skorch(net: type[_SizedByData]) -> inspect.Signature:
    """Put the parameters that `**kwargs` hands on into the signature, with their defaults.

    scikit-learn holds parameters against these to print what was changed.
    """
    own = inspect.signature(net.__init__).parameters
    shuffle = inspect.Parameter(
        "iterator_train__shuffle", inspect.Parameter.KEYWORD_ONLY, default=True
    )
    parameters = {name: p for name, p in own.items() if p.kind != p.VAR_KEYWORD}
    for owner in (_SizedByData, NeuralNet):
        for name, parameter in inspect.signature(owner.__init__).parameters.items():
            if parameter.kind != parameter.VAR_KEYWORD:
                parameters.setdefault(name, parameter.replace(kind=shuffle.kind))
    return inspect.Signature([*parameters.values(), shuffle, own["kwargs"]])


for _net in (MLPNetClassifier, MLPNetRegressor):
    # The class keeps the short one: scikit-learn's checks set all that it lists to nonsense, and
    # skorch, unlike scikit-learn, refuses that before `fit`.
    _short = inspect.signature(_net)
    _net.__init__.__signature__ = _with_parameters_of_skorch(_net)  # type: ignore[union-attr]
    _net.__signature__ = _short


__all__ = ["ACTIVATIONS", "MLPModule", "MLPNetClassifier", "MLPNetRegressor"]
