"""`compile`: a fitted pipeline as one sparse estimator.

What stands before the model must work on each column by itself: then it is a rising function of
one column of X. A net takes it into the weights of its first layer; a tree takes it into its
thresholds, which are found to the last bit, by bisection over all floats.
"""

import reprlib
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from sklearn.base import is_classifier
from sklearn.feature_selection import SelectorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skprune.base import BasePruner
from skprune.engine import Forest, Layer, Network, Tree
from skprune.estimators import SparseClassifier, SparseRegressor
from skprune.limits import ANY, FLOAT64_MOST, REFUSED, Limits
from skprune.trees.core.subtrees import PrunedTree
from skprune.trees.models.averaged import AveragedTrees
from skprune.trees.models.base import TreeModel
from skprune.trees.models.single import SingleTree

__all__ = ["compile"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Sparse = SparseClassifier | SparseRegressor

_LEAF = -1
# A net reads X as float32. Where the mean of a column is this many times its scale, rounding moves
# a scaled value by 2**-10.
_FARTHEST = 2.0**14


def compile(pipeline: Any) -> Sparse:
    """Make one sparse estimator of a fitted pipeline.

    Scaling, imputing and the selection of columns go into the first layer of a net, or into the
    thresholds of trees, so that one call to the engine does what the pipeline does.

    Parameters
    ----------
    pipeline : estimator
        A fitted :class:`~sklearn.pipeline.Pipeline`; its last step is a pruner, a search over
        pruners, a sparse estimator, or a tree, forest or bagging of scikit-learn. The steps before
        it may be `StandardScaler`, `MinMaxScaler`, `MaxAbsScaler`, `RobustScaler`,
        `SimpleImputer`, any feature selector, pipelines of these, and "passthrough". Or a search
        over such a pipeline, or what may be its last step.

    Returns
    -------
    model : SparseClassifier or SparseRegressor
        It takes X of shape (n_samples, n_features) as the pipeline does, under the names of columns
        that its first step knows.

    Raises
    ------
    TypeError
        If a step is of a class that cannot be folded, or the last one is no model for the engine;
        the message names it.
    ValueError
        If a step cannot be folded as it is set or fitted, or the engine lacks a layer of the net.
    NotFittedError
        If a step is not fitted.

    Notes
    -----
    Trees, forests and boosted trees predict for float64 rows, and for integers, what the pipeline
    predicts, to the bit. scikit-learn scales rows of float32 in float32, and sparse rows by a
    product in place of a quotient. Here they are taken for what they are in float64; this makes a
    difference only where a value is within a rounding error of a threshold. Without scaling
    nothing differs. Nets predict the same but for the rounding of float32.

    NaN, infinity and numbers that are too large are taken and refused column by column as by the
    pipeline. In columns that a net reads, numbers that float32 cannot hold are always refused.

    Examples
    --------
    >>> import skprune
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.impute import SimpleImputer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> pruner = skprune.CostComplexityPruner(DecisionTreeClassifier(random_state=0))
    >>> pipeline = make_pipeline(SimpleImputer(), StandardScaler(), pruner).fit(X, y)
    >>> model = skprune.compile(pipeline)
    >>> model
    SparseClassifier(...)
    >>> bool((model.predict(X) == pipeline.predict(X)).all())
    True
    """
    *transformers, (name, last) = _unrolled("", pipeline) or [("", None)]
    estimator = copy(_sparse_estimator(name, last))
    if not transformers:
        return estimator
    front = _front(transformers)
    model = estimator.model
    if len(front.columns) != model.n_features_in:
        raise ValueError(
            f"{_called(name, last)} reads {model.n_features_in} columns, but the steps before it "
            f"give {len(front.columns)}."
        )
    fold = next(fold for kind, fold in _FOLDS.items() if isinstance(model, kind))
    names = getattr(transformers[0][1], "feature_names_in_", None)
    narrowed = front.before(estimator.limits or Limits.of_model(model))
    folded = fold(model, front)
    categories = estimator.categories
    if categories is not None:
        # the engine looks for those that are numbers by itself
        moved = categories.moved(front.columns, front.n_features_in)
        categories = None if moved.are_numbers else moved
    return estimator.set_params(
        model=folded,
        feature_names_in=names,
        limits=narrowed.beyond(folded),
        categories=categories,
    )


# --- the steps ----------------------------------------------------------------------------


def _unrolled(name: str, estimator: Any) -> list[tuple[str, Any]]:
    """List the steps of pipelines within pipelines and searches, without those that do nothing."""
    if isinstance(estimator, FrozenEstimator):
        return _unrolled(name, estimator.estimator)
    if hasattr(estimator, "best_estimator_"):
        return _unrolled(name, estimator.best_estimator_)
    if not isinstance(estimator, Pipeline):
        return [(name, estimator)]
    steps = [step for step in estimator.steps if step[1] not in (None, "passthrough")]
    return [inner for own, step in steps for inner in _unrolled(f"{name}.{own}".strip("."), step)]


def _called(name: str, step: Any) -> str:
    kind = type(step).__name__
    return f"step {name!r} ({kind})" if name else kind


def _what(name: str, last: Any) -> str:
    if isinstance(last, type):
        return f"the class {last.__name__}, not an instance"
    if last is None or not hasattr(last, "fit"):
        return reprlib.repr(last)
    return _called(name, last)


def _sparse_estimator(name: str, last: Any) -> Sparse:
    """Give the model of the last step as a sparse estimator."""
    if hasattr(last, "fit") and not isinstance(last, type):
        check_is_fitted(last)
    if getattr(last, "refit", True) is False:
        raise TypeError(
            f"{_called(name, last)} has no best_estimator_ to compile: it was fitted with "
            f"refit=False. Fit it with refit=True, or pass an estimator that is fitted."
        )
    if isinstance(last, SparseClassifier | SparseRegressor):
        estimator = last
    elif isinstance(last, BasePruner):
        try:
            estimator = last.sparse_estimator_
        except AttributeError as error:  # it names the layer that the engine lacks
            raise ValueError(f"{_called(name, last)} cannot be compiled: {error}") from error
    elif kind := next((kind for kind in _TREES if isinstance(last, kind.kinds)), None):
        estimator = _unpruned(kind, last)
    else:
        raise TypeError(
            f"what is compiled must be a fitted pruner, a search over pruners, a decision tree or "
            f"a forest, or a pipeline with one of these as its last step, but it is "
            f"{_what(name, last)}. A model that a pruner takes can be put into one, with "
            f"sparsity=0 to remove nothing."
        )
    if not isinstance(estimator.model, tuple(_FOLDS)):
        raise TypeError(
            f"{_called(name, last)} cannot be compiled: its model must be a network, a tree or a "
            f"forest of the engine, but it is {type(estimator.model).__name__}."
        )
    return estimator


# Boosting is left to the pruners: what its splits would be worth as leaves takes rows to know.
_TREES: tuple[type[TreeModel], ...] = (SingleTree, AveragedTrees)


def _unpruned(kind: type[TreeModel], fitted: Any) -> Sparse:
    """Put a tree or a forest of scikit-learn on the engine as it is."""
    kind.check(fitted)
    model = kind(fitted)
    trees = [PrunedTree.unpruned(tree) for tree in model.trees(None)]
    engine = model.to_engine(trees, "auto")
    about_X = {"feature_names_in": getattr(fitted, "feature_names_in_", None), **model.output}
    if not is_classifier(fitted):
        return SparseRegressor(engine, **about_X)
    return SparseClassifier(engine, classes=fitted.classes_, **about_X)


# --- what transformers do -----------------------------------------------------------------


_INSTEAD = (
    "The last step alone can be compiled, as pipeline[-1]; it predicts for the rows that "
    "pipeline[:-1].transform gives."
)


class _NotFoldableError(Exception):
    """Why a transformer cannot be folded."""


class _Effect(NamedTuple):
    """What a transformer does: it keeps some columns, fills NaN in them, and computes on them.

    The arithmetic is that of its `transform`, as ufuncs with an operand a column.
    """

    keep: Bools
    fill: Floats | None = None
    operations: tuple[tuple[np.ufunc, Floats], ...] = ()


def _arithmetic(scaler: Any, *operations: tuple[np.ufunc, Any]) -> _Effect:
    if getattr(scaler, "clip", False):
        raise _NotFoldableError("clip=True bounds the values, which is no scaling")
    given = [(ufunc, operand) for ufunc, operand in operations if operand is not None]
    return _Effect(
        keep=np.ones(scaler.n_features_in_, bool),
        operations=tuple((ufunc, np.asarray(operand, np.float64)) for ufunc, operand in given),
    )


def _standard(scaler: Any) -> _Effect:
    mean = scaler.mean_ if scaler.with_mean else None
    scale = scaler.scale_ if scaler.with_std else None
    return _arithmetic(scaler, (np.subtract, mean), (np.divide, scale))


def _imputed(imputer: Any) -> _Effect:
    missing = imputer.missing_values
    if not (isinstance(missing, Real) and np.isnan(float(missing))):
        raise _NotFoldableError(f"missing_values must be NaN, but it is {missing!r}")
    if imputer.add_indicator:
        raise _NotFoldableError("add_indicator=True adds columns that tell what was missing")
    statistics = np.asarray(imputer.statistics_)
    with catch_warnings():
        simplefilter("ignore")  # of columns left out, and of names that this row lacks
        # asked for, and not read from `statistics_`: they are rounded to the type seen in fit
        fill = np.asarray(imputer.transform(np.full((1, len(statistics)), np.nan)))[0]
    if fill.dtype.kind != "f":
        raise _NotFoldableError(f"it was fitted to data that are no numbers ({fill.dtype})")
    left_out = np.isnan(statistics.astype(np.float64)) & (not imputer.keep_empty_features)
    return _Effect(keep=~left_out, fill=fill)


def _as_it_is(transformer: Any) -> _Effect:
    if transformer.func is not None:
        raise _NotFoldableError(f"func={transformer.func!r} may do anything")
    return _Effect(keep=np.ones(transformer.n_features_in_, bool))


_EFFECTS: dict[type, Callable[[Any], _Effect]] = {
    StandardScaler: _standard,
    MinMaxScaler: lambda s: _arithmetic(s, (np.multiply, s.scale_), (np.add, s.min_)),
    MaxAbsScaler: lambda s: _arithmetic(s, (np.divide, s.scale_)),
    RobustScaler: lambda s: _arithmetic(s, (np.subtract, s.center_), (np.divide, s.scale_)),
    SimpleImputer: _imputed,
    SelectorMixin: lambda selector: _Effect(keep=selector.get_support()),
    FunctionTransformer: _as_it_is,
}


# of those of which users name the class otherwise, or that go only as they come
_NAMES: dict[type, str] = {
    SelectorMixin: "feature selectors such as SelectKBest",
    FunctionTransformer: "FunctionTransformer without a function",
}


def _effect(name: str, step: Any) -> _Effect:
    check_is_fitted(step)
    # a subclass with a transform of its own may do anything
    known = (k for k in _EFFECTS if isinstance(step, k) and type(step).transform is k.transform)  # type: ignore[attr-defined]
    kind = next(known, None)
    if kind is None:
        raise TypeError(
            f"{_called(name, step)} cannot be folded into the model: of the steps before it, "
            f"compile folds {', '.join(_NAMES.get(kind, kind.__name__) for kind in _EFFECTS)}. "
            f"{_INSTEAD}"
        )
    try:
        return _EFFECTS[kind](step)
    except _NotFoldableError as error:
        raise ValueError(f"{_called(name, step)} cannot be folded: {error}. {_INSTEAD}") from None


def _lets_nan_in(step: Any) -> bool:
    tags = get_tags(step)
    return tags.input_tags.allow_nan or tags.no_validation


# --- what all of them do together ---------------------------------------------------------


class _Operation(NamedTuple):
    """Arithmetic on all columns, and the step that it comes from."""

    ufunc: np.ufunc
    operand: Floats
    step: str

    def at(self, columns: Any) -> "_Operation":
        return self._replace(operand=self.operand[columns])

    @property
    def stretches(self) -> bool:
        return self.ufunc in (np.multiply, np.divide)

    @property
    def bad(self) -> Bools:
        """Columns that it does not take to a rising function of them."""
        finite = np.isfinite(self.operand)
        return ~finite | (self.operand <= 0) if self.stretches else ~finite


def _through(operations: Iterable[_Operation], x: Floats) -> Floats:
    """Compute what numbers become, one for each of the columns."""
    with np.errstate(over="ignore", under="ignore"):
        for operation in operations:
            x = operation.ufunc(x, operation.operand)
    return x


@dataclass(frozen=True)
class _Front:
    """What stands before the model.

    Attributes
    ----------
    n_features_in : int
        Columns of X.
    columns : ndarray of shape (n_columns,), intp
        The column of X that each of the model's columns is made of.
    operations : tuple of _Operation
        What is done to these, in this order.
    fill : ndarray of shape (n_columns,), float64, or None
        What the model reads where X is NaN; None: NaN.
    filled_by : str
        The step that fills.
    takes_nan : bool
        Whether the steps take X with NaN.
    takes_infinity : bool
        Whether they take infinite X.
    limits : Limits
        What they let each column of X hold.
    """

    n_features_in: int
    columns: Ints
    limits: Limits
    operations: tuple[_Operation, ...] = ()
    fill: Floats | None = None
    filled_by: str = ""
    takes_nan: bool = True
    takes_infinity: bool = True

    def then(self, step: str, effect: _Effect, lets_nan_in: bool) -> "_Front":
        """Put a step behind these."""
        keep = effect.keep
        if len(keep) != len(self.columns):
            raise ValueError(
                f"{step} reads {len(keep)} columns, but the steps before it give "
                f"{len(self.columns)}."
            )
        added = tuple(_Operation(*operation, step) for operation in effect.operations)
        fill = effect.fill if self.fill is None else self.fill[keep]
        computes = added or effect.fill is not None
        own = Limits.of_columns(
            len(keep),
            np.inf if lets_nan_in and not computes else FLOAT64_MOST,
            ANY if lets_nan_in else REFUSED,
        )
        return _Front(
            self.n_features_in,
            self.columns[keep],
            self.before(own),
            (*(operation.at(keep) for operation in self.operations), *added),
            None if fill is None else _through(added, fill),
            self.filled_by or (step if effect.fill is not None else ""),
            # what is filled is not seen by the steps behind
            self.takes_nan and (self.fill is not None or lets_nan_in),
            # scalers and imputers refuse it, and selectors that refuse NaN
            self.takes_infinity and lets_nan_in and not computes,
        )

    def before(self, limits: Limits) -> Limits:
        """Give the limits of X, where what comes out of these steps must keep others."""
        missing = limits.missing if self.fill is None else ANY
        low, high, nan = (array.copy() for array in self.limits.arrays.values())
        np.maximum.at(low, self.columns, -self._largest(-limits.low, -1.0))
        np.minimum.at(high, self.columns, self._largest(limits.high, 1.0))
        np.minimum.at(nan, self.columns, missing)
        return Limits(low, high, nan)

    def _largest(self, most: Floats, sign: float) -> Floats:
        """Give how large X, times the sign, may be, lest what becomes of it exceed something."""
        if not self.operations:
            return most
        with np.errstate(invalid="ignore", divide="ignore"):
            x = _largest(lambda x: sign * _through(self.operations, sign * x) <= most, len(most))
        # a column where nothing rises is not read, or `check` refuses it
        rises = ~np.logical_or.reduce([operation.bad for operation in self.operations])
        return np.where(most == np.inf, np.inf, np.where(rises, x, np.inf).clip(max=FLOAT64_MOST))

    def check(self, used: Ints) -> None:
        """Refuse scaling that cannot be folded, of columns that the model reads."""
        for operation in self.operations:
            for column in used[operation.bad[used]]:
                raise ValueError(
                    f"{operation.step} cannot be folded: its numbers must be finite, and those "
                    f"that it scales by positive, but column {self.columns[column]} has "
                    f"{operation.operand[column]}. {_INSTEAD}"
                )


def _front(transformers: list[tuple[str, Any]]) -> _Front:
    effects = [_effect(name, step) for name, step in transformers]
    n_features_in = len(effects[0].keep)
    front = _Front(n_features_in, np.arange(n_features_in), Limits.of_columns(n_features_in))
    for (name, step), effect in zip(transformers, effects, strict=True):
        front = front.then(_called(name, step), effect, _lets_nan_in(step))
    return front if front.takes_nan else replace(front, fill=None)


# --- nets ---------------------------------------------------------------------------------


def _folded_network(network: Network, front: _Front) -> Network:
    first, *others = network.layers
    n_hidden = network.n_hidden
    if n_hidden == 0:  # `transform` gives what the first layer reads: that stays a layer
        n_hidden, others = 1, [first, *others]
        units = np.ones(len(front.columns), np.float32)
        first = Layer(csr_array(diags_array(units)), np.zeros_like(units), name="scaling")
    used = np.unique(first.weight.indices).astype(np.intp)
    front.check(used)
    shift = _through(front.operations, np.zeros(len(front.columns)))
    scale = _through((o for o in front.operations if o.stretches), np.ones(len(front.columns)))
    _refuse_far_columns(front, used, shift)
    fill = front.fill if front.fill is not None else network.fill
    raw_fill = None
    if fill is not None and front.takes_nan:
        raw_fill = np.zeros(front.n_features_in, np.float32)  # also for columns that nothing reads
        raw_fill[front.columns[used]] = (fill[used] - shift[used]) / scale[used]
    layers = [_folded_layer(first, front, scale, shift), *others]
    return network.replace(layers=layers, n_hidden=n_hidden, fill=raw_fill)


def _refuse_far_columns(front: _Front, used: Ints, shift: Floats) -> None:
    for column in used[np.abs(shift[used]) > _FARTHEST]:
        steps = ", ".join(dict.fromkeys(operation.step for operation in front.operations))
        raise ValueError(
            f"{steps} cannot be folded into a net, which reads X as float32: column "
            f"{front.columns[column]} lies {abs(shift[column]):.3g} times its scale from 0, more "
            f"than {_FARTHEST:.0f}. Leave scaling to the pipeline, or subtract a constant from the "
            f"column before."
        )


def _folded_layer(layer: Layer, front: _Front, scale: Floats, shift: Floats) -> Layer:
    weight = layer.weight
    with np.errstate(over="ignore"):
        data = weight.data * scale[weight.indices]
        folded = data.astype(np.float32)
    tiny = np.finfo(np.float32).tiny
    bad = ~np.isfinite(folded) | ((np.abs(folded) < tiny) & (np.abs(weight.data) >= tiny))
    if bad.any():
        at = int(np.argmax(bad))
        steps = ", ".join(dict.fromkeys(operation.step for operation in front.operations))
        raise ValueError(
            f"{steps} cannot be folded: a weight of column {front.columns[weight.indices[at]]} "
            f"would become {data[at]:.3g}, which float32 cannot hold."
        )
    shape = (weight.shape[0], front.n_features_in)
    indices = front.columns[weight.indices]
    return replace(
        layer,
        weight=csr_array((folded, indices, weight.indptr), shape=shape),
        bias=(layer.bias + weight.astype(np.float64) @ shift).astype(np.float32),
    )


# --- trees --------------------------------------------------------------------------------


def _folded_tree(tree: Tree, front: _Front) -> Tree | Forest:
    nodes = _folded_nodes(tree, front)
    if not front.operations:
        return tree.replace(**nodes)
    # the thresholds of scaled columns stand between floats of 64 bits
    changed = {"tree_starts": tree.tree_starts, "dtype": "float64", "allow_infinity": False}
    return Forest(**(tree.state() | nodes | changed))


def _folded_forest(forest: Forest, front: _Front) -> Forest:
    nodes = _folded_nodes(forest, front)
    dtype = "float64" if front.operations else forest.dtype
    changed = {
        "dtype": dtype,
        "categories": _folded_categories(forest, front),
        "allow_infinity": forest.allow_infinity and front.takes_infinity,
        "accepts_sparse": True,
    }
    return forest.replace(**(nodes | changed))


def _folded_nodes(model: Tree | Forest, front: _Front) -> dict[str, Any]:
    split = model.left != _LEAF
    at = model.feature[split]  # columns of the model
    front.check(np.unique(at))
    dtype = model.dtype
    feature, threshold = model.feature.copy(), model.threshold.copy()
    missing = model.missing_go_to_left
    feature[split] = front.columns[at]
    if front.operations:
        threshold[split] = _raw_thresholds(threshold[split], at, front, dtype)
    if front.fill is not None:
        missing = missing.copy()
        missing[split] = _as_read(front.fill, dtype)[at] <= model.threshold[split]
    return {
        "feature": feature,
        "threshold": threshold,
        "left": model.left,
        "right": model.right,
        "missing_go_to_left": missing,
        "n_features_in": front.n_features_in,
        "allow_nan": front.takes_nan and (front.fill is not None or model.allow_nan),
    }


def _folded_categories(forest: Forest, front: _Front) -> dict[int, Floats]:
    known = forest.categories or {}
    steps = [operation.step for operation in front.operations]
    steps += [front.filled_by] if front.fill is not None else []
    if known and steps:
        raise ValueError(
            f"{steps[0]} cannot be folded: column {front.columns[next(iter(known))]} holds "
            f"categories, which are no numbers to scale or to fill."
        )
    return {int(front.columns[column]): values for column, values in known.items()}


def _as_read(x: Floats, dtype: str) -> Floats:
    """Round as the model does before it compares."""
    with np.errstate(over="ignore"):
        return x.astype(dtype).astype(np.float64)


def _raw_thresholds(threshold: Floats, columns: Ints, front: _Front, dtype: str) -> Floats:
    """Give the largest value of X of which the scaled one is not above each threshold."""
    operations = [o.at(columns) for o in front.operations]

    def goes_left(x: Floats) -> Bools:
        return _as_read(_through(operations, x), dtype) <= threshold

    return _largest(goes_left, len(threshold))


def _largest(holds: Callable[[Floats], Bools], size: int) -> Floats:
    """Find the largest finite float64 for which something holds that holds for all below it.

    Parameters
    ----------
    holds : callable
        Of an array of shape (size,), an array of bool of that shape.
    size : int
        For how many things at once.

    Returns
    -------
    ndarray of shape (size,), float64
        Infinity where it holds for all, minus infinity where it holds for none.

    Examples
    --------
    >>> _largest(lambda x: x + 1.0 <= 3.0, 1).item(), _largest(lambda x: x < 2.0, 1).item()
    (2.0, 1.9999999999999998)
    """
    most = np.finfo(np.float64).max
    low, high = _place(np.full(size, -most)), _place(np.full(size, most))
    none, everything = ~holds(_at_place(low)), holds(_at_place(high))
    for _ in range(64):
        middle = (low >> 1) + (high >> 1) + (low & high & 1)  # their sum would not fit
        left = holds(_at_place(middle))
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    return np.where(everything, np.inf, np.where(none, -np.inf, _at_place(low)))


_SIGN = np.int64(-(2**63))


def _place(x: Floats) -> NDArray[np.int64]:
    """Give floats numbers in their order: 0 has 0, and neighbours have neighbouring ones."""
    bits = x.view(np.int64)
    return np.where(bits < 0, _SIGN - bits, bits)


def _at_place(place: NDArray[np.int64]) -> Floats:
    return np.where(place < 0, _SIGN - place, place).view(np.float64)


_FOLDS: dict[type, Callable[[Any, _Front], Any]] = {
    Network: _folded_network,
    Tree: _folded_tree,
    Forest: _folded_forest,
}
