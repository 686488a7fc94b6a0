"""PrunerCV: how much to prune, chosen by cross-validation along the pruner's path."""

import warnings
from collections.abc import Callable
from inspect import signature
from numbers import Integral
from time import perf_counter
from typing import Any, ClassVar, Self

import numpy as np
from numpy.ma import MaskedArray
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin, clone, is_classifier
from sklearn.metrics import check_scoring, get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.utils import Tags, get_tags, indexable
from sklearn.utils._param_validation import InvalidParameterError, StrOptions
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _raise_for_params,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.metaestimators import _safe_split, available_if
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _check_method_params, check_is_fitted

from skprune.base import BasePruner, PathScores
from skprune.progress import progress


def _refitted_has(name: str) -> Callable[["PrunerCV"], bool]:
    def check(search: "PrunerCV") -> bool:
        if not search.refit:
            raise AttributeError(
                f"this PrunerCV was made with refit=False, so it has no {name}; "
                f"fit a pruner with best_params_"
            )
        getattr(getattr(search, "best_estimator_", search.pruner), name)
        return True

    return check


# set_output is the pruner's, so the output of transform is not wrapped once more
class PrunerCV(  # type: ignore[call-arg]  # scikit-learn has no type hints
    TransformerMixin, MetaEstimatorMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """Choose how much to prune, by cross-validation along the path of a pruner.

    What :class:`~sklearn.model_selection.GridSearchCV` over the same values and folds would
    choose, at a fraction of its cost: a tree is grown once a fold, and all its subtrees are scored
    in one go. A pruner that has no such path is fitted for each value, as there.

    Parameters
    ----------
    pruner : BasePruner
        What to prune, and how. The value that it has for the searched parameter is not used.
    param_name : str, default=None
        The parameter to search: one of the pruner's `path_params`, such as "ccp_alpha",
        "sparsity" or "max_leaf_nodes". None takes the one of them that the pruner has set, or
        else the first.
    param_range : array-like of shape (n_values,), "auto" or "all", default="auto"
        The values to try. "all" fits the path on all of the data and takes every value that
        tells two of its subtrees apart: for "ccp_alpha" 0, the geometric means of neighbouring
        alphas [1]_ and a price above all; for "sparsity" and "max_leaf_nodes" what each subtree
        has. "auto" takes a hundred of them at most, the first and the last among them: of a lone
        tree evenly spread over the logarithm of the splits that are left, as one split means more
        to a small tree; of an ensemble evenly over its steps. So the best mean score was lower by
        0 to 0.4 of its standard error than that of all of up to 8,456 values, on six data sets,
        where three times as many came no nearer; values are told apart by the folds' noise there.
        Pruners without a path, such as ForestPruner, have a short ladder for "auto", or none, and
        refuse "all".
    cv : int, cross-validation generator or iterable, default=5
        The folds; see :func:`sklearn.model_selection.check_cv`.
    scoring : str or callable, default=None
        One metric; None takes the pruner's own `score`.
    rule : {"best", "one_se"}, default="best"
        Which value is chosen: the one with the highest mean score, the first of them where
        several tie; or the sparsest whose mean score is not lower than the highest by more
        than its standard error, the standard deviation over the folds (``ddof=1``) divided by
        the root of their number.
    n_jobs : int, default=None
        Folds that run side by side; None means 1, -1 all processors.
    refit : bool, default=True
        Whether to fit the pruner on all of the data with the chosen value.
    verbose : int, default=0
        Whether to show a progress bar over the folds; needs tqdm.

    Attributes
    ----------
    cv_results_ : dict of str to array
        As of :class:`~sklearn.model_selection.GridSearchCV`, a row a value in the order given,
        with the sparsity reached beside the score: "split0_sparsity" and so on, and
        "mean_sparsity". Seconds that were spent once for all values of a fold are shared out
        evenly, so the sum of "mean_fit_time" is what a fold took.
    best_index_ : int
        The row of the chosen value.
    best_params_ : dict
        The chosen value, by the name of the parameter.
    best_score_ : float
        Its mean score.
    best_estimator_ : BasePruner
        The pruner fitted on all of the data (if `refit`).
    refit_time_ : float
        Seconds that took.
    scorer_ : callable
        What scored.
    n_splits_ : int
        Number of folds.
    classes_ : ndarray of shape (n_classes,), or list of ndarray for several outputs
        Labels (classifiers, if `refit`).
    n_features_in_ : int
        Number of columns of X (if `refit`).
    feature_names_in_ : ndarray of str
        Names of the columns of X, where it had names (if `refit`).

    See Also
    --------
    skprune.PruningCurveDisplay : Draws the scores.

    Notes
    -----
    Sums over the rows of a fold are taken in another order than by scikit-learn, so scores that are
    not plain counts can differ from GridSearchCV's in the last digits. Subtrees that predict alike
    get equal scores.

    An error in a fit or a scorer is raised, as with ``GridSearchCV(error_score="raise")``. Scores
    that are not a number rank last, as there.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression
       Trees", 1984, section 3.4.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune import CostComplexityPruner, PrunerCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> search = PrunerCV(CostComplexityPruner(DecisionTreeClassifier(random_state=0)))
    >>> len(search.fit(X, y).cv_results_["params"])
    14
    >>> print(search.set_params(rule="one_se").fit(X, y).best_estimator_.estimator_.get_n_leaves())
    3
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "pruner": "no_validation",
        "param_name": [str, None],
        "param_range": [StrOptions({"auto", "all"}), "array-like"],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "rule": [StrOptions({"best", "one_se"})],
        "n_jobs": [Integral, None],
        "refit": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        pruner: BasePruner,
        *,
        param_name: str | None = None,
        param_range: Any = "auto",
        cv: Any = 5,
        scoring: Any = None,
        rule: str = "best",
        n_jobs: int | None = None,
        refit: bool = True,
        verbose: int = 0,
    ) -> None:
        self.pruner = pruner
        self.param_name = param_name
        self.param_range = param_range
        self.cv = cv
        self.scoring = scoring
        self.rule = rule
        self.n_jobs = n_jobs
        self.refit = refit
        self.verbose = verbose

    def _check_pruner(self) -> None:
        if isinstance(self.pruner, BasePruner):
            return
        advice = ""
        if hasattr(self.pruner, "steps"):
            advice = " Make PrunerCV the last step of the pipeline, around the pruner."
        raise InvalidParameterError(
            f"The 'pruner' parameter of PrunerCV must be a pruner, such as "
            f"CostComplexityPruner(DecisionTreeClassifier()), "
            f"got {self.pruner!r}.{advice}"
        )

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Score every value on every fold, choose one, and fit the pruner with it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or targets.
        **params : dict
            `groups` go to the splitter, anything else to the `fit` of the pruner; those that
            have an entry a row are split like the rows. `sample_weight` goes to the scorer,
            too, if it takes weights. With metadata routing enabled, each goes where it was
            requested.

        Returns
        -------
        self : object
            The fitted search.
        """
        before = vars(self).copy()
        try:
            self._validate_params()
            self._check_pruner()
            self._search(X, y, params)
        except BaseException:
            self.__dict__ = before
            raise
        return self

    def _search(self, X: Any, y: Any, params: dict[str, Any]) -> None:
        name = self.pruner.path_param(self.param_name)
        scorer = self._scorer()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        fit_params, split_params, score_params = self._routed(scorer, params)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.pruner))
        splits = list(cv.split(X, y, **split_params))
        if not splits:
            raise ValueError(f"cv must give at least one split of X; got {self.cv!r}.")
        if self.rule == "one_se" and len(splits) < 2:
            raise ValueError("rule='one_se' needs two folds or more; cv gave one.")

        values = self._values(X, y, name, fit_params)
        direction = self.pruner.path_params[name]
        growing = np.argsort(direction * _numbers(values, name), kind="stable")
        folds = []
        with progress(len(splits), "fold", self.verbose) as advance:
            for fold in Parallel(n_jobs=self.n_jobs, return_as="generator")(
                delayed(_score_fold)(
                    self.pruner, name, [values[i] for i in growing], X, y, train, test, scorer,
                    fit_params, score_params,
                )
                for train, test in splits
            ):  # fmt: skip
                folds.append(fold)
                advance(1)
        results = _cv_results(name, values, folds, np.argsort(growing))

        best = int(results["rank_test_score"].argmin())
        self.best_index_ = best if self.rule == "best" else one_se_index(results, direction)
        self.best_params_ = results["params"][self.best_index_]
        self.best_score_ = results["mean_test_score"][self.best_index_]
        self.cv_results_ = results
        self.scorer_ = scorer
        self.n_splits_ = len(splits)
        for stale in {"best_estimator_", "refit_time_", "feature_names_in_"} & vars(self).keys():
            delattr(self, stale)
        if self.refit:
            start = perf_counter()
            pruner = clone(self.pruner).set_params(**self.best_params_)
            self.best_estimator_ = pruner.fit(X, y, **fit_params)
            self.refit_time_ = perf_counter() - start
            if hasattr(pruner, "feature_names_in_"):
                self.feature_names_in_ = pruner.feature_names_in_

    def _scorer(self) -> Any:
        return check_scoring(self.pruner, self.scoring)

    def _routed(self, scorer: Any, params: dict[str, Any]) -> tuple[dict, dict, dict]:
        """Share out what `fit` was given among the pruner, the splitter and the scorer."""
        if _routing_enabled():
            routed = process_routing(self, "fit", **params)
            return routed.pruner.fit, routed.splitter.split, routed.scorer.score
        params = dict(params)
        split_params = {"groups": params.pop("groups", None)}
        weight = params.get("sample_weight")
        weighs = weight is not None and _takes_weights(scorer)
        return params, split_params, {"sample_weight": weight} if weighs else {}

    def _values(self, X: Any, y: Any, name: str, fit_params: dict[str, Any]) -> list[Any]:
        if isinstance(self.param_range, str):
            every = {"every": True} if self.param_range == "all" else {}
            return self.pruner.path_values(X, y, param_name=name, **every, **fit_params)
        if np.ndim(self.param_range) != 1 or not len(self.param_range):
            raise ValueError(
                f"param_range must be 'auto', 'all' or a list of values, got {self.param_range!r}."
            )
        return list(self.param_range)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "cv_results_")

    @available_if(_refitted_has("predict"))
    def predict(self, X: Any) -> np.ndarray:
        """Predict labels or targets with the pruner that was fitted on all of the data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or targets.
        """
        check_is_fitted(self)
        return self.best_estimator_.predict(X)

    @available_if(_refitted_has("predict_proba"))
    def predict_proba(self, X: Any) -> Any:
        """Predict class probabilities with the pruner that was fitted on all of the data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), or a list of such for several outputs
            In the order of `classes_`.
        """
        check_is_fitted(self)
        return self.best_estimator_.predict_proba(X)

    @available_if(_refitted_has("predict_log_proba"))
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
        check_is_fitted(self)
        return self.best_estimator_.predict_log_proba(X)

    @available_if(_refitted_has("decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the decision function of the pruner that was fitted on all of the data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        decision : ndarray of shape (n_samples,) or (n_samples, n_classes)
            As the wrapped estimator's.
        """
        check_is_fitted(self)
        return self.best_estimator_.decision_function(X)

    @available_if(_refitted_has("transform"))
    def transform(self, X: Any) -> Any:
        """Give the representation that the pruned model learned.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        Xt : ndarray or sparse array of shape (n_samples, n_out)
            See the pruner.
        """
        check_is_fitted(self)
        return self.best_estimator_.transform(X)

    @available_if(_refitted_has("score"))
    def score(self, X: Any, y: Any = None, **params: Any) -> float:
        """Score the pruner that was fitted on all of the data, by `scoring`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True labels or targets.
        **params : dict
            Handed to the scorer; allowed with metadata routing enabled only.

        Returns
        -------
        score : float
            The higher, the better.
        """
        check_is_fitted(self)
        _raise_for_params(params, self, "score")
        if _routing_enabled():
            params = process_routing(self, "score", **params).scorer.score
        return self.scorer_(self.best_estimator_, X, y, **params)

    @property
    def classes_(self) -> Any:
        """Labels, of a classifier that was fitted on all of the data."""
        _refitted_has("classes_")(self)
        return self.best_estimator_.classes_

    @property
    def feature_importances_(self) -> np.ndarray:
        """What each column of X is worth to `best_estimator_`, where it tells."""
        return self._of_the_best("feature_importances_")

    @property
    def coef_(self) -> Any:
        """Coefficients of the columns of X, where `best_estimator_` has them."""
        return self._of_the_best("coef_")

    def _of_the_best(self, name: str) -> Any:
        _refitted_has(name)(self)
        check_is_fitted(self)
        return getattr(self.best_estimator_, name)

    @property
    def n_features_in_(self) -> int:
        """Number of columns of X, if the pruner was fitted on all of the data."""
        if "best_estimator_" not in vars(self):
            raise AttributeError("n_features_in_: PrunerCV is not fitted, or was with refit=False")
        return self.best_estimator_.n_features_in_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.pruner)
        tags.estimator_type = inner.estimator_type
        tags.classifier_tags = inner.classifier_tags
        tags.regressor_tags = inner.regressor_tags
        tags.transformer_tags = inner.transformer_tags
        tags.target_tags = inner.target_tags
        tags.input_tags = inner.input_tags
        tags.non_deterministic = inner.non_deterministic
        return tags

    def get_metadata_routing(self) -> MetadataRouter:
        """Get the metadata routing of this search.

        Returns
        -------
        routing : MetadataRouter
            See scikit-learn's user guide on metadata routing.
        """
        return (
            MetadataRouter(owner=type(self).__name__)
            .add(
                pruner=self.pruner,
                method_mapping=MethodMapping().add(caller="fit", callee="fit"),
            )
            .add(
                scorer=self._scorer(),
                method_mapping=MethodMapping()
                .add(caller="score", callee="score")
                .add(caller="fit", callee="score"),
            )
            .add(
                splitter=self.cv,
                method_mapping=MethodMapping().add(caller="fit", callee="split"),
            )
        )


def standard_errors(scores: np.ndarray) -> np.ndarray:
    """Estimate how far the mean score of each value may be off, from its spread over the folds.

    Parameters
    ----------
    scores : ndarray of shape (n_values, n_folds)
        Of two folds or more.

    Returns
    -------
    ndarray of shape (n_values,)
        The standard deviation over the folds (``ddof=1``) divided by the root of their number.
    """
    return scores.std(axis=1, ddof=1) / np.sqrt(scores.shape[1])


def fold_scores(cv_results: dict[str, Any]) -> np.ndarray:
    """Gather the scores of all folds.

    Parameters
    ----------
    cv_results : dict of str to array
        `cv_results_` of :class:`PrunerCV`.

    Returns
    -------
    ndarray of shape (n_values, n_folds)
    """
    folds = sum(key.startswith("split") and key.endswith("_test_score") for key in cv_results)
    return np.stack([cv_results[f"split{i}_test_score"] for i in range(folds)], axis=1)


def one_se_index(cv_results: dict[str, Any], direction: int | None = None) -> int:
    """Find the sparsest value whose mean score is within one standard error of the best.

    Parameters
    ----------
    cv_results : dict of str to array
        `cv_results_` of :class:`PrunerCV`, of two folds or more.
    direction : {1, -1}, default=None
        Whether a larger value prunes more, or less; see `path_params` of the pruner. None looks
        at the sparsities reached.

    Returns
    -------
    index : int
        Its row.

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.model_selection import one_se_index
    >>> one_se_index({
    ...     "split0_test_score": np.array([0.8, 0.9, 0.8]),
    ...     "split1_test_score": np.array([0.9, 0.8, 0.7]),
    ...     "mean_test_score": np.array([0.85, 0.85, 0.75]),
    ...     "mean_sparsity": np.array([0.0, 0.3, 0.6]),
    ...     "params": [{"ccp_alpha": 0.0}, {"ccp_alpha": 0.1}, {"ccp_alpha": 0.2}],
    ... })
    1
    """
    means, sparsity = cv_results["mean_test_score"], cv_results["mean_sparsity"]
    if np.isnan(means).all():
        return 0
    best = np.nanargmax(means)
    near = np.flatnonzero(means >= means[best] - standard_errors(fold_scores(cv_results))[best])
    values = np.array([value for params in cv_results["params"] for value in params.values()])
    if direction is None:
        direction = -1 if values[sparsity.argmax()] < values[sparsity.argmin()] else 1
    return int(near[np.argmax(direction * values[near])])


def _takes_weights(scorer: Any) -> bool:
    if hasattr(scorer, "_accept_sample_weight"):
        takes = scorer._accept_sample_weight()
    else:
        takes = "sample_weight" in signature(scorer).parameters
    if not takes:
        warnings.warn(
            f"{scorer!r} takes no sample_weight: rows count alike in the scores, though not in "
            f"the fits.",
            UserWarning,
            stacklevel=4,
        )
    return takes


def _numbers(values: list[Any], name: str) -> np.ndarray:
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if np.isnan(numbers).any():
        raise ValueError(f"param_range must hold numbers, as values of {name}; got {values!r}.")
    return numbers


def _score_fold(
    pruner: BasePruner,
    name: str,
    values: list[Any],
    X: Any,
    y: Any,
    train: np.ndarray,
    test: np.ndarray,
    scorer: Any,
    fit_params: dict[str, Any],
    score_params: dict[str, Any],
) -> PathScores:
    X_train, y_train = _safe_split(pruner, X, y, train)
    X_test, y_test = _safe_split(pruner, X, y, test, train)
    return clone(pruner).path_scores(
        X_train,
        y_train,
        values,
        X_test,
        y_test,
        scorer,
        param_name=name,
        score_params=_check_method_params(X, score_params, indices=test),
        **_check_method_params(X, fit_params, indices=train),
    )


def _cv_results(
    name: str, values: list[Any], folds: list[PathScores], place: np.ndarray
) -> dict[str, Any]:
    """Lay out what the folds gave as GridSearchCV does; `place` brings back the order given."""

    def gather(quantity: str) -> np.ndarray:
        return np.stack([getattr(fold, quantity)[place] for fold in folds], axis=1)

    results: dict[str, Any] = {}
    for key, times in (("fit_time", gather("fit_times")), ("score_time", gather("score_times"))):
        results[f"mean_{key}"] = times.mean(axis=1)
        results[f"std_{key}"] = times.std(axis=1)
    results[f"param_{name}"] = MaskedArray(np.array(values), mask=np.zeros(len(values), bool))
    results["params"] = [{name: value} for value in values]

    scores = gather("scores")
    results |= {f"split{i}_test_score": column for i, column in enumerate(scores.T)}
    means = results["mean_test_score"] = np.average(scores, axis=1)
    results["std_test_score"] = np.sqrt(np.average((scores - means[:, np.newaxis]) ** 2, axis=1))
    results["rank_test_score"] = _ranks(means)

    sparsities = gather("sparsities")
    results |= {f"split{i}_sparsity": column for i, column in enumerate(sparsities.T)}
    results["mean_sparsity"] = sparsities.mean(axis=1)
    return results


def _ranks(means: np.ndarray) -> np.ndarray:
    """Rank mean scores from 1, ties alike; those that are not a number come last."""
    if not np.isfinite(means).all():
        warnings.warn(f"Some of the test scores are not finite: {means}", UserWarning, stacklevel=5)
    if np.isnan(means).all():
        return np.ones(len(means), dtype=np.int32)
    worst = np.nanmin(means) - 1
    return rankdata(-np.where(np.isnan(means), worst, means), method="min").astype(np.int32)
