"""TreePruner: what the pruners of trees share. A subclass gives a risk and where to stop."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from functools import partial
from numbers import Real
from time import perf_counter
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.ensemble import BaggingRegressor
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import _num_samples, check_X_y, validate_data

from skprune.base import BasePruner, PathScores, Pruned, TrainingData
from skprune.trees.core.allocation import EnsemblePath
from skprune.trees.core.arrays import TreeArrays
from skprune.trees.core.subtrees import PrunedTree, Subtree, merge_equal_leaves
from skprune.trees.core.weakest_link import pruning_path
from skprune.trees.grown import FullModel, Grown
from skprune.trees.models import TreeModel, kind_of
from skprune.trees.models.base import places_left, weights_left
from skprune.trees.scoring import scores_of_choices, sees_predictions_alone


class TreePruner(BasePruner):
    """Base class of the pruners of trees and of ensembles of trees.

    A subclass implements `_risk`. With `sparsity`, the path of best subtrees for that risk is
    followed to it; without, to the price 0: splits go that do not lower the risk. A rule that
    stops elsewhere overrides `_steps`, or `_chosen` where it takes trees that are on no path.

    Examples
    --------
    A rule of one's own: no leaf may hold less than a tenth of the rows.

    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.pruners import TreePruner
    >>> class LargeLeavesPruner(TreePruner):
    ...     def __init__(self, estimator, *, sparsity=None, allocation="global",
    ...                  merge_equal_leaves=False, sparse_output=True, n_jobs=None, engine="auto"):
    ...         self.estimator, self.sparsity, self.allocation = estimator, sparsity, allocation
    ...         self.merge_equal_leaves, self.sparse_output = merge_equal_leaves, sparse_output
    ...         self.n_jobs, self.engine = n_jobs, engine
    ...     def _risk(self, tree):
    ...         return 1.0 * (tree.n_node_samples < tree.n_node_samples[0] / 10)
    >>> pruner = LargeLeavesPruner(DecisionTreeClassifier(random_state=0), sparsity=0.5)
    >>> pruner.fit(*load_iris(return_X_y=True)).sparsity_
    0.5
    """

    sparsity: float | None
    allocation: str
    merge_equal_leaves: bool

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BasePruner._parameter_constraints,
        "estimator": "no_validation",  # told what it must be before anything else
        "sparsity": [Interval(Real, 0, 1, closed="both"), None],
        "allocation": [StrOptions({"global", "uniform"})],
        "merge_equal_leaves": ["boolean"],
        "sparse_output": ["boolean"],
    }

    # What history calls the price of the full trees, which are the best at any price below.
    _lowest_price: ClassVar[float] = -np.inf

    def _risk(self, tree: TreeArrays) -> np.ndarray:
        """Give the risk of each node of a tree as a leaf."""
        raise NotImplementedError("implement _risk, or _risks where the rows are needed")

    def _risks(self, full: FullModel) -> Iterable[np.ndarray]:
        """Give the risks of all trees, which may depend on the rows that judge."""
        return map(self._risk, full.trees)

    def _steps(self, grown: Grown) -> np.ndarray:
        """Choose a step for each tree."""
        if self.sparsity is not None:
            return grown.path.steps_for_sparsity(self.sparsity)
        return grown.stop

    def _chosen(self, grown: Grown) -> tuple[list[Subtree], float]:
        """Give the chosen subtrees, and the price from which on they are the best."""
        steps = self._steps(grown)
        return grown.subtrees(steps), max(grown.path.price(steps), self._lowest_price)

    def _divide(self, data: TrainingData) -> tuple[TrainingData, TrainingData]:
        """Give the rows to grow the trees on, and those to judge them by."""
        return data, data

    def _check_parameters_agree(self, estimator: Any) -> None:
        """Refuse parameters that contradict each other, or the estimator."""

    def _prune(self, data: TrainingData) -> Pruned:
        return self._cut(self._grow(data))

    def _grow(self, data: TrainingData) -> Grown:
        """Train the full model and find the paths of its trees."""
        estimator = self._unfitted_or_frozen_copy()
        kind = kind_of(estimator)
        self._check_parameters_agree(estimator)
        growing, judging = self._divide(data)
        if not self._is_frozen:
            train(estimator, growing)
        return self._follow(kind(estimator), growing, judging)

    # What under- or overflows here is meant to; a user's np.seterr is for the user's own sums.
    @np.errstate(all="ignore")
    def _follow(self, model: TreeModel, growing: TrainingData, judging: TrainingData) -> Grown:
        """Find the paths of the trees of a trained model."""
        full = FullModel(model, model.trees(growing), judging)
        paths, stops = [], []
        for tree, risk in zip(full.trees, self._risks(full), strict=True):
            if not np.isfinite(risk).all():
                bad = risk[~np.isfinite(risk)][0]
                raise ValueError(
                    f"the trees cannot be pruned: the risk of a node is {bad}, as sums over y or "
                    f"sample_weight are out of range. Scale y or sample_weight to numbers whose "
                    f"squares are finite and not 0; negative weights can cause this, too."
                )
            paths.append(pruning_path(tree.left, tree.right, risk))
            stops.append(paths[-1].last_worthless_step)
        return Grown(full, EnsemblePath(paths, self.allocation), np.array(stops, dtype=np.intp))

    @np.errstate(all="ignore")
    def _cut(self, grown: Grown) -> Pruned:
        """Cut what the parameters ask for from the full model, which is left as it is."""
        full = grown.full
        subtrees, price = self._chosen(grown)
        history = [
            _record([Subtree(tree, tree.left, tree.right) for tree in full.trees],
                    self._lowest_price),
            _record(subtrees, price),
        ]  # fmt: skip
        if self.merge_equal_leaves:
            # what ensembles add up are values, not labels
            classifier = is_classifier(full.model.estimator) and not full.model.is_ensemble
            subtrees = [merge_equal_leaves(subtree, classifier) for subtree in subtrees]
            history.append(_record(subtrees, np.nan))

        if history[-1]["sparsity"] > 0.0 or self._reorders:
            estimator = full.model.cut(subtrees)
            trees = [subtree.alone() for subtree in subtrees]
        else:
            estimator = copy(full.model.estimator)
            trees = [PrunedTree.unpruned(tree) for tree in full.trees]
        model = type(full.model)(estimator)
        engine = model.to_engine(trees, self.engine)
        return Pruned(
            estimator=estimator,
            model=engine,
            sparse_weights=partial(weights_left, model, places_left(trees)),
            sparsity=history[-1]["sparsity"],
            n_features_out=engine.n_leaves,
            history=history,
            classes=getattr(estimator, "classes_", None),
            output=model.output,
        )

    @property
    def _accepts_sparse(self) -> bool:
        return True

    @property
    def _takes_many_outputs(self) -> bool:
        return super()._takes_many_outputs or bags_many_outputs(self._inner)

    @property
    def _reorders(self) -> bool:
        """Whether nodes are put into depth-first order where nothing is removed, too."""
        return False

    @property
    def _kind(self) -> type[TreeModel]:
        return kind_of(self.estimator.estimator if self._is_frozen else self.estimator)

    def _validation_options(self) -> dict[str, Any]:
        return super()._validation_options() | self._kind.validation

    def _validate_rows(self, X: Any, y: Any) -> tuple[Any, Any]:
        if not self._kind.checks_rows(self._inner, X):
            return super()._validate_rows(X, y)
        validate_data(self, X, skip_check_array=True)  # for its names; what it holds is for `fit`
        if self._is_frozen:
            self._inner.predict(X)  # which checks it
            self.n_features_in_ = self._inner.n_features_in_
        if y is not None or self._needs_target:
            beside = np.zeros((_num_samples(X), 1))
            _, y = check_X_y(beside, y, multi_output=self._takes_many_outputs, estimator=self)
        return X, y

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
        """Fit a pruner for each of several choices of how much to prune, from one model grown.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or targets.
        values : sequence
            Values of the parameter.
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
        """
        name = self.path_param(param_name)
        if not len(values):
            return
        first = clone(self).set_params(**{name: values[0]})
        grown = first._grow_on(X, y, sample_weight, fit_params)
        about_X = {key: value for key, value in vars(first).items() if key.endswith("_in_")}
        for value in values:
            pruner = clone(self).set_params(**{name: value})
            pruner._validate_params()
            vars(pruner).update(about_X)
            pruner._store(pruner._cut(grown))
            yield pruner

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
        """List the values of the parameter that tell the subtrees of the path apart.

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
            In growing sparsity. For "ccp_alpha": 0, the geometric mean of every two neighbours
            among the path's alphas, and a price above all; alphas that differ by rounding alone
            count as one. For "sparsity" and "max_leaf_nodes": what each subtree has. Unless
            `every`, a hundred of them at most, the first and the last among them.
        """
        name = self.path_param(param_name)
        return clone(self)._grow_on(X, y, sample_weight, fit_params).path.values(name, every=every)

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
        """Score the pruners of `path` on other rows, from one model grown and one descent of it.

        Accuracy, R squared, the mean squared and the mean absolute error of all subtrees of a lone
        tree take O(rows * depth) together. Any other metric of scikit-learn's is computed once for
        each different subtree, from its predictions; a scorer of another kind, and any scorer with
        `merge_equal_leaves`, sees fitted pruners.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels or targets.
        values : sequence
            Values of the parameter, such that each prunes at least as much as the one before.
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
        score_params = score_params or {}
        if self.merge_equal_leaves or not sees_predictions_alone(scorer):
            return super().path_scores(
                X, y, values, X_test, y_test, scorer,
                param_name=param_name, score_params=score_params, **fit_params,
            )  # fmt: skip
        start = perf_counter()
        name = self.path_param(param_name)
        pruner = clone(self).set_params(**{name: values[0]})
        weight = fit_params.pop("sample_weight", None)
        grown = pruner._grow_on(X, y, weight, fit_params)
        choices = np.array([pruner._steps_for(grown, name, value) for value in values])
        pruner._store(pruner._cut(grown))
        fitted = perf_counter()
        scores = scores_of_choices(
            choices, grown, pruner._predictor, X_test, y_test, scorer, score_params
        )
        n_values = len(values)
        return PathScores(
            scores=scores,
            sparsities=np.array([grown.path.sparsity(steps) for steps in choices]),
            fit_times=np.full(n_values, (fitted - start) / n_values),
            score_times=np.full(n_values, (perf_counter() - fitted) / n_values),
        )

    def _grow_on(self, X: Any, y: Any, sample_weight: Any, fit_params: dict) -> Grown:
        self._validate_params()
        fit_params = self._route(fit_params)
        return self._grow(self._validate_training_data(X, y, sample_weight, fit_params))

    def _steps_for(self, grown: Grown, name: str, value: Any) -> np.ndarray:
        # thousands of values on a large tree: the other parameters were checked once
        constraints = {name: self._parameter_constraints[name]}
        validate_parameter_constraints(constraints, {name: value}, type(self).__name__)
        setattr(self, name, value)
        return self._steps(grown)

    def _check_votes(self, estimator: Any) -> None:
        """Refuse what has no trees that predict classes."""
        kind = kind_of(estimator)
        if not is_classifier(estimator) or not kind.votes:
            what = "classes" if not is_classifier(estimator) else "classes tree by tree"
            raise TypeError(
                f"estimator must be a classifier whose trees predict {what}: "
                f"{type(self).__name__} counts errors of labels; got {estimator!r}."
            )


def bags_many_outputs(estimator: Any) -> bool:
    """Tell whether an estimator takes several targets, though its tags do not say so.

    Parameters
    ----------
    estimator : estimator
        Any tree or ensemble.

    Returns
    -------
    bool

    Examples
    --------
    >>> from sklearn.ensemble import BaggingClassifier, BaggingRegressor
    >>> bags_many_outputs(BaggingRegressor()), bags_many_outputs(BaggingClassifier())
    (True, False)
    """
    return isinstance(estimator, BaggingRegressor)


def train(estimator: Any, data: TrainingData) -> None:
    """Fit an estimator; one that takes no weights is given none."""
    weight = {} if data.sample_weight is None else {"sample_weight": data.sample_weight}
    estimator.fit(data.X, data.y, **weight, **data.fit_params)


def class_positions(estimator: Any, y: np.ndarray) -> np.ndarray:
    """Turn labels into positions in the classes that a fitted model knows.

    Parameters
    ----------
    estimator : classifier
        A fitted tree or ensemble.
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Labels.

    Returns
    -------
    ndarray of shape (n_rows, n_outputs), intp

    Raises
    ------
    ValueError
        If the model does not know a label.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.pruners.base import class_positions
    >>> tree = DecisionTreeClassifier().fit([[0], [1]], ["no", "yes"])
    >>> class_positions(tree, np.array(["yes", "no"])).ravel()
    array([1, 0])
    """
    classes = estimator.classes_ if isinstance(estimator.classes_, list) else [estimator.classes_]
    y = outputs_of(len(classes), y)
    positions = np.empty(y.shape, dtype=np.intp)
    for output, known in enumerate(classes):
        number = {label: position for position, label in enumerate(known.tolist())}
        labels = y[:, output].tolist()
        unknown = set(labels) - number.keys()
        if unknown:
            raise ValueError(
                f"y holds labels that the estimator does not know: {sorted(unknown, key=str)}; "
                f"it was trained on {known.tolist()}."
            )
        positions[:, output] = [number[label] for label in labels]
    return positions


def outputs_of(n_outputs: int, y: np.ndarray) -> np.ndarray:
    """Give the targets one column an output, as many as a fitted model has.

    Parameters
    ----------
    n_outputs : int
        Outputs of the model.
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Labels or targets.

    Returns
    -------
    ndarray of shape (n_rows, n_outputs)

    Raises
    ------
    ValueError
        If there are fewer or more.

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.trees.pruners.base import outputs_of
    >>> outputs_of(1, np.array([5.0, 6.0]))
    array([[5.],
           [6.]])
    """
    y = np.asarray(y).reshape(len(y), -1)
    if y.shape[1] != n_outputs:
        raise ValueError(
            f"y has {y.shape[1]} outputs, but the estimator was trained with {n_outputs}."
        )
    return y


def weights_of_rows(estimator: Any, y: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray:
    """Weigh rows as a tree does when it grows: by `sample_weight` and by its own `class_weight`.

    Parameters
    ----------
    estimator : estimator
        Any tree or ensemble.
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Labels or targets.
    sample_weight : ndarray of shape (n_rows,) or None
        Weights given to `fit`.

    Returns
    -------
    ndarray of shape (n_rows,), float64

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.pruners.base import weights_of_rows
    >>> tree = DecisionTreeClassifier(class_weight={0: 1, 1: 3})
    >>> weights_of_rows(tree, np.array([0, 1, 1]), np.array([1.0, 1.0, 2.0]))
    array([1., 3., 6.])
    """
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    class_weight = getattr(estimator, "class_weight", None)
    if class_weight is None:
        return weight
    if class_weight == "balanced_subsample":  # over all rows, whichever a tree has drawn
        class_weight = "balanced"
    return weight * compute_sample_weight(class_weight, y)


def _record(subtrees: Sequence[Subtree], price: float) -> dict[str, Any]:
    kept = sum(subtree.n_splits for subtree in subtrees)
    full = sum(subtree.nodes.n_splits for subtree in subtrees)
    return {
        "ccp_alpha": price,
        "n_leaves": kept + len(subtrees),
        "sparsity": 1.0 - kept / full if full else 0.0,
    }
