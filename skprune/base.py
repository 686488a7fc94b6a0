"""BasePruner: the contract that every pruner keeps. Subclasses only say how to prune."""

import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
from numbers import Integral, Real
from time import perf_counter
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import csr_array
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_feature_names,
    _check_sample_weight,
    check_array,
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

from skprune.estimators import Model, SparseClassifier, SparseRegressor
from skprune.indices import with_short_indices
from skprune.signatures import parameter_if

# Trees, units and blocks go as wholes, so a target is seldom met exactly; this is more than that.
_FAR_ABOVE = 0.25


@dataclass
class TrainingData:
    """What `fit` was given, checked.

    `y` is None only for a frozen estimator, where neither training nor the rule needs it.
    `X` is an array, or what the user passed where only the wrapped estimator can check it.
    """

    X: Any
    y: Any
    sample_weight: np.ndarray | None
    fit_params: dict[str, Any] = field(default_factory=dict)


@dataclass
class Pruned:
    """What a subclass's hook returns: the pruned model in its forms.

    Attributes
    ----------
    estimator : object
        The pruned model in its own library.
    model : Model
        What predicts: the engine's form of it, or, where `unsupported` tells why there is
        none, the model itself behind the same interface.
    sparse_weights : callable
        Makes the dict of names to csr_array; for a deep tree it is far larger than the tree.
    sparsity : float
        Measured on `sparse_weights`.
    n_features_out : int
        Columns of `transform`.
    history : list of dict
    classes : ndarray, list of ndarray or None
    output : dict
        Further arguments of SparseClassifier or SparseRegressor.
    unsupported : str or None
    """

    estimator: Any
    model: Model
    sparse_weights: Callable[[], dict[str, csr_array]]
    sparsity: float
    n_features_out: int
    history: list[dict[str, Any]]
    classes: Any = None
    output: dict[str, Any] = field(default_factory=dict)
    unsupported: str | None = None


@dataclass
class PathScores:
    """How the pruners of a path do on other rows: arrays of one entry a value.

    Attributes
    ----------
    scores, sparsities : ndarray of shape (n_values,), float64
        What the scorer says of each pruner, and its `sparsity_`.
    fit_times, score_times : ndarray of shape (n_values,), float64
        Seconds. What was done once for many values is shared out among them.
    """

    scores: np.ndarray
    sparsities: np.ndarray
    fit_times: np.ndarray
    score_times: np.ndarray


def score_of(scorer: Callable, estimator: Any, X: Any, y: Any, params: dict[str, Any]) -> float:
    """Call a scorer, and refuse an answer that is not one number.

    Parameters
    ----------
    scorer : callable
        ``scorer(estimator, X, y, **params)``.
    estimator : estimator
        What is scored.
    X, y : array-like
        Rows and their targets.
    params : dict
        Further arguments, such as `sample_weight`.

    Returns
    -------
    score : float
        The higher, the better.

    Raises
    ------
    ValueError
        For a dict of several scores, or anything else that is not a number.
    """
    score = scorer(estimator, X, y, **params)
    if isinstance(score, np.ndarray) and score.size == 1:
        score = score.item()
    if not isinstance(score, Real):
        raise ValueError(
            f"scoring must give one number, for one metric; {scorer!r} gave {score!r}."
        )
    return float(score)


def _estimator_has(name: str) -> Callable[["BasePruner"], bool]:
    def check(pruner: "BasePruner") -> bool:
        if "_predictor" in vars(pruner):
            # asked at every call: the tags of `estimator` would cost more than the prediction
            getattr(pruner.estimator_, name)
            return "proba" not in name or isinstance(pruner._predictor, SparseClassifier)
        getattr(pruner.estimator, name)  # its AttributeError tells the user what is missing
        # skorch's regressors have a predict_proba, which is their predict
        return "proba" not in name or is_classifier(pruner)

    return check


class BasePruner(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    MetaEstimatorMixin,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """Base class of all pruners.

    A subclass has a constructor that stores its arguments, `estimator` and `sparsity` among
    them, names what they may be in `_parameter_constraints`, and implements `_prune`.

    Examples
    --------
    >>> from skprune import CostComplexityPruner, MagnitudePruner
    >>> from skprune.base import BasePruner
    >>> issubclass(MagnitudePruner, BasePruner), issubclass(CostComplexityPruner, BasePruner)
    (True, True)
    """

    estimator: Any
    n_jobs: int | None
    engine: str

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [HasMethods(["fit", "predict"])],
        "n_jobs": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Integral, None, -1, closed="right"),
            None,
        ],
        "engine": [StrOptions({"auto", "native", "scipy"})],
    }
    # the parameters that a path can run along, the default first: 1 where a larger value prunes
    # more, -1 where it prunes less
    path_params: ClassVar[dict[str, int]] = {"sparsity": 1}

    @abstractmethod
    def _prune(self, data: TrainingData) -> Pruned:
        """Train what `_unfitted_or_frozen_copy` gives, as the method wants it, and prune it."""

    def _validation_options(self) -> dict[str, Any]:
        """Give the arguments of `validate_data` that fit the wrapped estimator."""
        tags = get_tags(self).input_tags
        return {
            "accept_sparse": "csr" if tags.sparse else False,
            "dtype": np.float32,
            "ensure_all_finite": "allow-nan" if tags.allow_nan else True,
        }

    @property
    def _accepts_sparse(self) -> bool:
        """Whether sparse X is taken where the wrapped estimator takes it."""
        return False

    @property
    def _takes_many_outputs(self) -> bool:
        return get_tags(self).target_tags.multi_output

    @parameter_if("sample_weight", lambda pruner: pruner._takes_sample_weight)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **fit_params: Any) -> Self:
        """Train the wrapped estimator and prune it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows: float or integer arrays, pandas or polars frames. Nets also take
            arrays of more dimensions, and HistGradientBoosting columns of categories such as text.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels of any kind, or targets. May be left out only for a `FrozenEstimator` that
            is not fine-tuned, if what is removed does not depend on them.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. The signature has this parameter, and scikit-learn hands weights
            over, only if the `fit` of the wrapped estimator has it; else they are an error.
        **fit_params : dict
            Handed on to the `fit` of the wrapped estimator.

        Returns
        -------
        self : object
            The fitted pruner.

        Raises
        ------
        ValueError, TypeError
            For parameters or data that are wrong; the pruner is then left as it was before.
        """
        before = self.__dict__.copy()
        try:
            if not get_config()["skip_parameter_validation"]:
                self._validate_params()
            fit_params = self._route(fit_params)
            data = self._validate_training_data(X, y, sample_weight, fit_params)
            self._store(self._prune(data))
            self._warn_of_overshoot()
        except BaseException:
            self.__dict__ = before
            raise
        return self

    def path_param(self, param_name: str | None = None) -> str:
        """Name the parameter that a path runs along.

        Parameters
        ----------
        param_name : str, default=None
            Is checked. None takes the parameter by which the pruner already says how much to
            prune, or else the pruner's default.

        Returns
        -------
        name : str
            One of `path_params`.

        Raises
        ------
        ValueError
            If the pruner has no path along `param_name`.
        """
        if param_name is None:
            given = (name for name in self.path_params if getattr(self, name) is not None)
            return next(given, next(iter(self.path_params)))
        if param_name not in self.path_params:
            raise ValueError(
                f"param_name must be one of {list(self.path_params)}, along which the path of "
                f"{type(self).__name__} runs; got {param_name!r}."
            )
        return param_name

    def path(
        self,
        X: Any,
        y: Any,
        values: Sequence[Any],
        *,
        param_name: str | None = None,
        sample_weight: Any = None,
        **fit_params: Any,
    ) -> Iterator[Self]:
        """Fit a pruner for each of several choices of how much to prune.

        A pruner that can go on from one value to the next, or cut every pruned model from one
        that was trained once, does so; any other is trained anew for each value.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or targets.
        values : sequence
            Values of the parameter, such that each prunes at least as much as the one before.
        param_name : str, default=None
            The parameter; see `path_param`.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        **fit_params : dict
            As in `fit`.

        Yields
        ------
        pruner : BasePruner
            A clone with the parameter set, as its `fit` would leave it, for each value in turn.
            This pruner itself is not changed.
        """
        name = self.path_param(param_name)
        for value in values:
            pruner = clone(self).set_params(**{name: value})
            yield pruner.fit(X, y, sample_weight=sample_weight, **fit_params)

    def path_values(
        self,
        X: Any,
        y: Any,
        *,
        param_name: str | None = None,
        every: bool = False,
        sample_weight: Any = None,
        **fit_params: Any,
    ) -> list[Any]:
        """List the values of the parameter that are worth trying on some data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or targets.
        param_name : str, default=None
            The parameter; see `path_param`.
        every : bool, default=False
            Whether to list all that tell the pruned models apart, and not only as many as are worth
            a fit or a score.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        **fit_params : dict
            As in `fit`.

        Returns
        -------
        values : list
            In growing sparsity.

        Raises
        ------
        ValueError
            If the pruner cannot tell.
        """
        if every:
            self._refuse_every_value(self.path_param(param_name))
        raise ValueError(
            f"{type(self).__name__} does not know which values of "
            f"{self.path_param(param_name)} are worth trying; name some."
        )

    def _refuse_every_value(self, name: str) -> None:
        raise ValueError(
            f"param_range='all' needs a pruner of trees whose path along {name} is known, such as "
            f"CostComplexityPruner; {type(self).__name__} trains or refits a model for each "
            f"value. Give param_range a list of values."
        )

    def path_scores(
        self,
        X: Any,
        y: Any,
        values: Sequence[Any],
        X_test: Any,
        y_test: Any,
        scorer: Callable,
        *,
        param_name: str | None = None,
        score_params: dict[str, Any] | None = None,
        **fit_params: Any,
    ) -> PathScores:
        """Score the pruners of `path` on other rows.

        A pruner that can score all of them at once does so.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or targets.
        values : sequence
            As in `path`.
        X_test : array-like of shape (n_test, n_features)
            Rows to score on.
        y_test : array-like of shape (n_test,) or (n_test, n_outputs)
            Their labels or targets.
        scorer : callable
            ``scorer(estimator, X, y, **score_params)``, as scikit-learn's.
        param_name : str, default=None
            The parameter; see `path_param`.
        score_params : dict, default=None
            Further arguments of the scorer.
        **fit_params : dict
            As in `fit`, `sample_weight` among them.

        Returns
        -------
        scores : PathScores
            One entry a value, in their order.
        """
        fitted = self.path(X, y, values, param_name=param_name, **fit_params)
        told = np.empty((4, len(values)))
        for number in range(len(values)):
            start = perf_counter()
            pruner = next(fitted)
            trained = perf_counter()
            score = score_of(scorer, pruner, X_test, y_test, score_params or {})
            told[:, number] = (score, pruner.sparsity_, trained - start, perf_counter() - trained)
        return PathScores(*told)

    # Whether the wrapped estimator alone judges the signs of weights.
    _takes_negative_weights: ClassVar[bool] = False

    @property
    def _is_frozen(self) -> bool:
        return isinstance(self.estimator, FrozenEstimator)

    @property
    def _inner(self) -> Any:
        """What is wrapped, frozen or not."""
        return self.estimator.estimator if self._is_frozen else self.estimator

    @property
    def _takes_sample_weight(self) -> bool:
        return hasattr(self._inner, "fit") and has_fit_parameter(self._inner, "sample_weight")

    def _unfitted_or_frozen_copy(self) -> Any:
        """Copy what `estimator` holds: a fresh clone, or a frozen one's fitted model."""
        if not self._is_frozen:
            return clone(self.estimator)
        check_is_fitted(self.estimator.estimator)
        return deepcopy(self.estimator.estimator)

    @property
    def _trains(self) -> bool:
        return not self._is_frozen

    @property
    def _needs_target(self) -> bool:
        """Whether `y` has to be given; rules that look at it ask for it with frozen models, too."""
        return self._trains

    def _route(self, fit_params: dict[str, Any]) -> dict[str, Any]:
        if not _routing_enabled():
            return fit_params
        return dict(process_routing(self, "fit", **fit_params).estimator.fit)

    def _validate_training_data(
        self, X: Any, y: Any, sample_weight: Any, fit_params: dict[str, Any]
    ) -> TrainingData:
        X, y = self._validate_rows(X, y)
        if y is not None:
            y = self._validate_target(y)
        if sample_weight is not None:
            sample_weight = self._validate_sample_weight(sample_weight, X)
        return TrainingData(X, y, sample_weight, fit_params)

    def _validate_rows(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Check X and y together; y may stay None where nothing needs it."""
        options = self._validation_options()
        if self._is_frozen and hasattr(self.estimator.estimator, "feature_names_in_"):
            _check_feature_names(self.estimator.estimator, X, reset=False)
        if y is None and not self._needs_target:
            X = validate_data(self, X, **options)
        else:
            X, y = validate_data(self, X, y, multi_output=self._takes_many_outputs, **options)
        if self._is_frozen:
            self._check_same_width(X)
        return X, y

    def _validate_target(self, y: np.ndarray) -> np.ndarray:
        if is_classifier(self):
            check_classification_targets(y)
            return y
        if is_regressor(self):
            return check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        return y

    def _validate_sample_weight(self, sample_weight: Any, X: np.ndarray) -> np.ndarray:
        if not self._takes_sample_weight:
            raise TypeError(
                f"sample_weight was given, but {type(self._inner).__name__}.fit has no parameter "
                f"sample_weight; wrap an estimator that takes it, or leave it out."
            )
        return _check_sample_weight(
            sample_weight,
            X,
            dtype=np.float64,
            ensure_non_negative=not self._takes_negative_weights,
        )

    def _check_same_width(self, X: np.ndarray) -> None:
        expected = getattr(self.estimator.estimator, "n_features_in_", X.shape[1])
        if X.shape[1] != expected:
            raise ValueError(
                f"X has {X.shape[1]} features, but the frozen estimator was fitted with "
                f"{expected} features."
            )

    def _store(self, pruned: Pruned) -> None:
        if self._is_frozen and hasattr(pruned.estimator, "feature_names_in_"):
            self.feature_names_in_ = pruned.estimator.feature_names_in_
        names = getattr(self, "feature_names_in_", None)
        common = {"feature_names_in": names, "n_jobs": self.n_jobs, **pruned.output}
        predictor: SparseClassifier | SparseRegressor
        if is_classifier(self):
            self.classes_ = pruned.classes
            predictor = SparseClassifier(pruned.model, classes=pruned.classes, **common)
        else:
            predictor = SparseRegressor(pruned.model, **common)
        self._sparse_estimator = predictor if pruned.unsupported is None else None
        self._unsupported = pruned.unsupported
        # the same model, and messages that name the pruner
        self._predictor = copy(predictor)
        self._predictor._asked_as = type(self).__name__
        self._n_features_out = pruned.n_features_out
        self.estimator_ = pruned.estimator
        if names is not None and hasattr(self.estimator_, "n_features_in_"):
            self.estimator_.feature_names_in_ = names
        self._sparse_weights = pruned.sparse_weights
        self.sparsity_ = pruned.sparsity
        self.pruning_history_ = pruned.history

    def _warn_of_overshoot(self) -> None:
        """Tell the target and what was reached, where the two are far apart."""
        target = getattr(self, "sparsity", None)
        if not target or target == 1:  # a frozen model may have held zeros before; 0 removes none
            return
        if self.sparsity_ == 1 or self.sparsity_ > target + _FAR_ABOVE:
            warnings.warn(
                f"sparsity={target!r} was asked for, but sparsity_={self.sparsity_:.4g} was "
                f"reached: a target is met from above, and what {type(self).__name__} removes "
                f"together is large for this model. Lower sparsity, or prune a larger model.",
                stacklevel=3,
            )

    def __sklearn_is_fitted__(self) -> bool:
        return "_predictor" in vars(self)

    @property
    def _fitted_predictor(self) -> SparseClassifier | SparseRegressor:
        if "_predictor" not in vars(self):
            check_is_fitted(self)
        self._predictor.n_jobs = self.n_jobs
        return self._predictor

    @property
    def sparse_estimator_(self) -> SparseClassifier | SparseRegressor:
        """The pruned model on the sparse engine.

        It takes rows as the pruner does: in a pipeline these are what the steps before the pruner
        give. :func:`skprune.compile` makes one sparse estimator of all steps.

        Raises
        ------
        AttributeError
            If the engine lacks a layer of the model; the message names it. Predictions then
            come from `estimator_`.
        """
        found: SparseClassifier | SparseRegressor | None = vars(self).get("_sparse_estimator")
        if found is None:
            check_is_fitted(self)
            raise AttributeError(f"no sparse_estimator_: {self._unsupported}")
        found.n_jobs = self.n_jobs
        return found

    @property
    def feature_importances_(self) -> np.ndarray:
        """What each column of X is worth to the pruned model, where `estimator_` tells it."""
        check_is_fitted(self)
        return self.estimator_.feature_importances_

    @property
    def coef_(self) -> Any:
        """Coefficients of the columns of X, where `estimator_` has them."""
        check_is_fitted(self)
        return self.estimator_.coef_

    @property
    def sparse_weights_(self) -> dict[str, csr_array]:
        """What is left of the model, as sparse arrays by name; made anew at each access."""
        check_is_fitted(self)
        weights = self._sparse_weights()
        return {name: with_short_indices(weight) for name, weight in weights.items()}

    @available_if(_estimator_has("predict"))
    def predict(self, X: Any) -> np.ndarray:
        """Predict labels or targets with the pruned model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or targets.
        """
        return self._fitted_predictor.predict(X)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Predict class probabilities with the pruned model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), or a list of such for several outputs
            In the order of `classes_`.
        """
        return self._fitted_predictor.predict_proba(X)

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X: Any) -> Any:
        """Predict logarithms of class probabilities with the pruned model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes), or a list of such
            The logarithm of `predict_proba`.
        """
        return self._fitted_predictor.predict_log_proba(X)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the decision function of the pruned model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            As the wrapped estimator's.
        """
        return self._fitted_predictor.decision_function(X)

    @available_if(_estimator_has("score"))
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score the pruned model: accuracy, or R squared for regressors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True labels or targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            The higher, the better.
        """
        return self._fitted_predictor.score(X, y, sample_weight=sample_weight)

    def transform(self, X: Any) -> Any:
        """Give the representation that the pruned model learned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        Xt : csr_array of shape (n_samples, n_leaves) or ndarray of shape (n_samples, n_units)
            Trees: one-hot membership of leaves (dense with ``sparse_output=False``). Nets:
            the last hidden layer, after its activation.
        """
        Xt = self._fitted_predictor.transform(X)
        return Xt if getattr(self, "sparse_output", True) else Xt.toarray()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.target_tags = inner.target_tags
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        tags.input_tags.sparse = self._accepts_sparse and inner.input_tags.sparse
        tags.non_deterministic = inner.non_deterministic
        tags.transformer_tags.preserves_dtype = []
        return tags

    def get_metadata_routing(self) -> MetadataRouter:
        """Get the metadata routing of this pruner.

        `sample_weight` is the pruner's own, if the wrapped estimator takes weights; everything else
        is routed to the `fit` of `estimator`.

        Returns
        -------
        routing : MetadataRouter
            See scikit-learn's user guide on metadata routing.
        """
        own = self._get_metadata_request()
        if not self._takes_sample_weight:
            own.fit.requests.pop("sample_weight", None)
        return (
            MetadataRouter(owner=type(self).__name__)
            .add_self_request(own)
            .add(
                estimator=self.estimator,
                method_mapping=MethodMapping().add(caller="fit", callee="fit"),
            )
        )
