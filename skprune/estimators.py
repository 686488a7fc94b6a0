"""SparseClassifier and SparseRegressor: scikit-learn estimators around a model of the engine.

A pruner's `sparse_estimator_` is one of them. They hold plain arrays only, so they pickle, and run
without the library that trained the model.
"""

from functools import cache
from typing import Any, Self
from warnings import warn

import numpy as np
from scipy.sparse import csr_array, csr_matrix, issparse, vstack
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from skprune.categories import Categories
from skprune.engine import Model, NonFiniteError
from skprune.engine.checks import dense_parts, refuse_stray_indices
from skprune.frames import numbers_of
from skprune.limits import Limits, blanked, most_of
from skprune.nets.rows import as_array

_DENSE = (np.ndarray, np.memmap)
_SPARSE = (csr_array, csr_matrix)


class _SparseEstimator(BaseEstimator):
    """Common base of both kinds: fast input checks, and the calls of the engine."""

    # The name in messages: the pruner's class, as its user may not know this one.
    _asked_as: str = ""

    def __init__(
        self,
        model: Model,
        *,
        feature_names_in: np.ndarray | None = None,
        limits: Limits | None = None,
        categories: Categories | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.model = model
        self.feature_names_in = feature_names_in
        self.limits = limits
        self.categories = categories
        self.n_jobs = n_jobs

    def __sklearn_clone__(self) -> Self:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.model.allow_nan
        tags.input_tags.sparse = self.model.accepts_sparse
        tags.requires_fit = False
        return tags

    @property
    def n_features_in_(self) -> int:
        """Number of columns that X must have."""
        return self.model.n_features_in

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the columns of X; exists only if the pruner saw names in `fit`."""
        if self.feature_names_in is None:
            raise AttributeError("feature_names_in_: the model was fitted without feature names")
        return self.feature_names_in

    def _finite(self, sparse: bool) -> bool | str:
        if self.limits is not None or self.model.allow_infinity:
            return False
        # as scikit-learn's trees
        return "allow-nan" if self.model.allow_nan and not sparse else True

    @property
    def _dtype(self) -> Any:
        """The types that validation converts X to."""
        if self.model.keeps_dtype:
            return "numeric"
        if self.limits is not None:  # they find the numbers that float32 cannot hold
            return [np.float64, np.float32]
        return self.model.dtype

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Self:
        """Do nothing: the model is frozen, as in :class:`sklearn.frozen.FrozenEstimator`.

        Parameters
        ----------
        X, y : object
            Ignored.
        **fit_params : dict
            Ignored.

        Returns
        -------
        self : object
            The estimator itself.
        """
        return self

    def transform(self, X: Any) -> Any:
        """Return the representation that the model learned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        Xt : ndarray or csr_array of shape (n_samples, n_units)
            Nets: the last hidden layer, float32. Trees: one-hot leaf membership, a float64
            ``csr_array`` of shape (n_samples, n_leaves).
        """
        return self._run("transform", X)

    def explain(self, n_rows: int | None = None) -> str:
        """Return a table of what runs, layer by layer, and why.

        Parameters
        ----------
        n_rows : int, default=None
            The number of rows of the call to explain; None explains every range of them.

        Returns
        -------
        plan : str
            A table to print.
        """
        return self.model.explain(n_rows)

    def _run(self, method: str, X: Any) -> Any:
        run = getattr(self.model, method)
        if (ready := self._ready(X)) is not None:
            rows, warning = ready
            try:
                answers = run(rows, self.n_jobs)
            except NonFiniteError:
                pass  # scikit-learn's own check, below, raises the error
            else:
                if warning:
                    warn(f"X {warning}", stacklevel=1)  # as scikit-learn's, once for all callers
                return answers
        checked: Any = self._validate(X)
        if issparse(checked) and _has_nan(checked):
            # a compiled imputer takes NaN in sparse rows, but the kernels for CSR refuse it
            parts = dense_parts(checked, self.n_features_in_, self.model.dtype)
            return _stacked([run(part, self.n_jobs) for part in parts])
        return run(checked, self.n_jobs)

    def _ready(self, X: Any) -> tuple[Any, str] | None:
        """Return rows that the model takes as they are, and what to warn of.

        scikit-learn's validation takes 100 microseconds, and 500 for a frame: as much as many
        predictions. None is returned for rows that need it.
        """
        names, kind = None, type(X)
        # the engine checks every part of a CSR matrix
        in_place = kind in _DENSE or (kind in _SPARSE and self.model.accepts_sparse)
        categories = self.categories
        if categories is not None:
            if (found := categories.ready(X, in_place)) is None:
                return None
            X, names = found
        elif not in_place:
            if (found := numbers_of(X)) is None:
                return None
            X, names = found
        model, dtype = (
            self.model,
            getattr(X, "dtype", None),
        )  # a sparse matrix may hold data without a dtype
        if (
            dtype is None
            or X.ndim != 2
            or X.shape[1] != model.n_features_in
            or X.shape[0] == 0
            or dtype.kind not in "fiub"
            or dtype.itemsize > 8
            or not (model.converts or dtype == model.dtype)
        ):
            return None
        if self.limits is not None and (
            kind in _SPARSE or not self.limits.surely_hold(X, most_of(model))
        ):
            return None
        known = self.feature_names_in
        if names is known is None:
            return X, ""
        if names is None:
            return X, (
                f"does not have valid feature names, but {self._name} was fitted with feature names"
            )
        if known is None:
            return X, f"has feature names, but {self._name} was fitted without feature names"
        return (X, "") if names == list(known) else None

    @property
    def _name(self) -> str:
        return self._asked_as or type(self).__name__

    def _validate(self, X: Any) -> Any:
        model = self.model
        if model.reads(X):
            return X
        if self.categories is not None:
            X = self.categories.numbers(X, self.feature_names_in)
            return X if self.limits is None else self._limited(X)
        X = as_array(X)
        X = np.asarray(X) if isinstance(X, list | tuple) else X
        if model.flattens and getattr(X, "ndim", 2) > 2:
            X = np.reshape(X, (len(X), -1))
        if issparse(X) and model.accepts_sparse:
            X = refuse_stray_indices(X)  # scikit-learn does not check them
        X = validate_data(
            _stand_in(self) if self._asked_as else self,
            X,
            reset=False,
            accept_sparse="csr" if model.accepts_sparse else False,
            dtype=self._dtype,
            allow_nd=model.allow_nd,
            ensure_all_finite=self._finite(issparse(X)),
        )
        return X if self.limits is None else self._limited(X)

    def _limited(self, X: Any) -> Any:
        assert self.limits is not None
        self.limits.check(X, self._name)
        return blanked(X, self.model)  # the engine checks all columns alike


def _has_nan(rows: Any) -> bool:
    return bool(np.isnan(rows.data).any())


def _stacked(parts: list[Any]) -> Any:
    return vstack(parts, format="csr") if issparse(parts[0]) else np.concatenate(parts)


@cache
def _class_called(name: str) -> type:
    return type(name, (BaseEstimator,), {})


def _stand_in(estimator: _SparseEstimator) -> Any:
    """Return an object for scikit-learn's checks, of the class that the caller knows."""
    stand_in = _class_called(estimator._asked_as)()
    stand_in.n_features_in_ = estimator.n_features_in_
    if estimator.feature_names_in is not None:
        stand_in.feature_names_in_ = estimator.feature_names_in
    return stand_in


def _has_decision_function(classifier: "SparseClassifier") -> bool:
    return classifier.decision_threshold is not None


class SparseClassifier(ClassifierMixin, _SparseEstimator):
    """A pruned classifier on the sparse engine.

    Made by a pruner, as its `sparse_estimator_`; needs neither the training data nor the
    library that trained the model. It is frozen: `fit` does nothing.

    Parameters
    ----------
    model : Network or Tree
        The model of :mod:`skprune.engine`; its outputs are class probabilities, the classes
        of one output after those of another.
    classes : ndarray of shape (n_classes,), or list of such arrays for several outputs
        The labels.
    threshold : float, default=None
        For two classes: predict the second where its probability exceeds this. None takes
        the more probable class.
    decision_threshold : float, default=None
        For models that decide before they turn their sums into probabilities, as boosted trees:
        of two classes, predict the second where `decision_function` exceeds this; of more, the
        one with the largest sum, whatever this is. None: the model has no decision function.
    feature_names_in : ndarray of str, default=None
        Names of the columns that X must have.
    limits : Limits, default=None
        What each column of X may hold, where this is not what the model takes in all columns alike.
    categories : Categories, default=None
        What columns of categories hold; None where there are none, or as numbers that the model
        looks for itself.
    n_jobs : int, default=None
        Threads for large batches; None means 1, -1 all processors.

    Attributes
    ----------
    classes_ : ndarray or list of ndarray
        The labels.
    n_features_in_ : int
        Number of columns that X must have.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune import CostComplexityPruner
    >>> X, y = load_iris(return_X_y=True)
    >>> pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0), sparsity=0.5)
    >>> model = pruner.fit(X, y).sparse_estimator_
    >>> model
    SparseClassifier(...)
    >>> model.predict(X[:2])
    array([0, 0])
    """

    def __init__(
        self,
        model: Model,
        *,
        classes: Any,
        threshold: float | None = None,
        decision_threshold: float | None = None,
        feature_names_in: np.ndarray | None = None,
        limits: Limits | None = None,
        categories: Categories | None = None,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            model,
            feature_names_in=feature_names_in,
            limits=limits,
            categories=categories,
            n_jobs=n_jobs,
        )
        self.classes = classes
        self.threshold = threshold
        self.decision_threshold = decision_threshold

    @property
    def classes_(self) -> Any:
        """The labels, as `classes`."""
        return self.classes

    @property
    def _has_many_outputs(self) -> bool:
        return isinstance(self.classes, list) and isinstance(self.classes[0], np.ndarray)

    def predict_proba(self, X: Any) -> Any:
        """Predict class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), or a list of such for several outputs
            Float32 from a net, float64 from a tree.
        """
        proba = self._run("predict", X)
        if not self._has_many_outputs:
            return proba
        ends = np.cumsum([len(classes) for classes in self.classes])[:-1]
        return np.split(proba, ends, axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The labels.
        """
        if self.model.predicts_labels:
            return self._run("predict_labels", X)
        if self.decision_threshold is not None:
            decision = self.decision_function(X)
            binary = decision.ndim == 1
            codes = decision > self.decision_threshold if binary else decision.argmax(axis=1)
            # a binary model that was fitted to a single class has only one label
            return np.take(self.classes, codes.astype(np.intp), mode="clip")
        proba = self.predict_proba(X)
        if isinstance(proba, list):
            labels = [c.take(p.argmax(axis=1)) for c, p in zip(self.classes, proba, strict=True)]
            return np.stack(labels, axis=1)
        if self.threshold is not None:
            return np.take(self.classes, (proba[:, 1] > self.threshold).astype(np.intp))
        return np.take(self.classes, proba.argmax(axis=1))

    @available_if(_has_decision_function)
    def decision_function(self, X: Any) -> np.ndarray:
        """Compute what the model decides by.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            The sums of the trees, float64; for two classes that of the second.
        """
        decision = self._run("decision", X)
        return decision[:, 0] if decision.shape[1] == 1 else decision

    def predict_log_proba(self, X: Any) -> Any:
        """Predict logarithms of class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes), or a list of such
            The logarithm of `predict_proba`.
        """
        proba = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return [np.log(p) for p in proba] if isinstance(proba, list) else np.log(proba)


class SparseRegressor(RegressorMixin, _SparseEstimator):
    """A pruned regressor on the sparse engine.

    Made by a pruner, as its `sparse_estimator_`; needs neither the training data nor the
    library that trained the model. It is frozen: `fit` does nothing.

    Parameters
    ----------
    model : Network or Tree
        The model of :mod:`skprune.engine`; its outputs are the predictions.
    flat : bool, default=True
        Whether predictions of a single output have shape (n_samples,), not (n_samples, 1).
    feature_names_in : ndarray of str, default=None
        Names of the columns that X must have.
    limits : Limits, default=None
        What each column of X may hold, where this is not what the model takes in all columns alike.
    categories : Categories, default=None
        What columns of categories hold; None where there are none, or as numbers that the model
        looks for itself.
    n_jobs : int, default=None
        Threads for large batches; None means 1, -1 all processors.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns that X must have.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune import CostComplexityPruner
    >>> X, y = load_diabetes(return_X_y=True)
    >>> pruner = CostComplexityPruner(DecisionTreeRegressor(random_state=0), max_leaf_nodes=8)
    >>> pruner.fit(X, y).sparse_estimator_.predict(X).shape
    (442,)
    """

    def __init__(
        self,
        model: Model,
        *,
        flat: bool = True,
        feature_names_in: np.ndarray | None = None,
        limits: Limits | None = None,
        categories: Categories | None = None,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            model,
            feature_names_in=feature_names_in,
            limits=limits,
            categories=categories,
            n_jobs=n_jobs,
        )
        self.flat = flat

    def predict(self, X: Any) -> np.ndarray:
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Float64.
        """
        y = self._run("predict", X).astype(np.float64, copy=False)
        if y.ndim == 2 and y.shape[1] == 1 and self.flat:
            return y[:, 0]
        return y[:, np.newaxis] if y.ndim == 1 and not self.flat else y
