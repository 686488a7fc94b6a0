"""Categories: columns of text and other categories as numbers, the way scikit-learn reads them."""

import sys
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder
from sklearn.utils.validation import check_array

from skprune.frames import numbers_of

__all__ = ["Categories", "as_numbers"]

_NUMBERS = frozenset(
    (bool, int, float, np.bool_)
    + tuple(np.dtype(code).type for code in "bhilqBHILQefd")
)  # fmt: skip
_FEW = 4096  # numbers: BLAS wakes threads for many


class Categories:
    """The categories that a model knows, by column, and how rows of X become numbers.

    HistGradientBoosting encodes the columns of its categories before its trees see them. This does
    the same from the categories alone: what is missing or not known becomes NaN. Categories that
    are numbers stay what they are, since the engine looks for them itself; of others, such as text,
    the engine is given their places.

    Parameters
    ----------
    values : mapping of int to array-like
        The categories of each column, in the order of their numbers and without NaN.
    n_features_in : int
        Columns of X.

    Examples
    --------
    >>> categories = Categories({1: ["Bern", "Chur"]}, n_features_in=2)
    >>> categories.numbers(np.array([[0.5, "Chur"], [1.5, "Genf"]], dtype=object))
    array([[0.5, 1. ],
           [1.5, nan]])
    """

    def __init__(self, values: Mapping[int, Any], n_features_in: int) -> None:
        self.n_features_in = n_features_in
        self.values = {int(column): _as_array(values[column]) for column in sorted(values)}
        self.columns = np.array(list(self.values), dtype=np.intp)
        known = {column: as_numbers(values) for column, values in self.values.items()}
        # what the engine knows the categories by
        self.in_engine = {
            column: np.arange(float(len(self.values[column]))) if numbers is None else numbers
            for column, numbers in known.items()
        }
        self._places = {
            column: {value: float(place) for place, value in enumerate(self.values[column])}
            for column, numbers in known.items()
            if numbers is None
        }
        self._encoders: dict[Any, ColumnTransformer] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Categories, (self.values, self.n_features_in)

    def __repr__(self) -> str:
        known = {column: len(values) for column, values in self.values.items()}
        return f"Categories(of columns {known})"

    @property
    def are_numbers(self) -> bool:
        """Whether the engine reads every column as it is."""
        return not self._places

    def numbers(self, X: Any, names: Any = None) -> NDArray[np.float64]:
        """Give what the engine reads for X, checked as HistGradientBoosting checks it.

        Of a frame, columns are found by their names, in any order, if the training had names.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        names : ndarray of str or None
            Names of the columns in training.

        Returns
        -------
        ndarray of shape (n_samples, n_features_in), float64

        Raises
        ------
        TypeError, ValueError
            As scikit-learn's; TypeError where a column of numbers is to hold text.
        """
        key = None if names is None else tuple(names)
        if key not in self._encoders:
            self._encoders[key] = self._encoder(names)
        encoder = self._encoders[key]
        try:
            encoded = encoder.transform(X)
        except TypeError as error:
            if self.are_numbers or "isnan" not in str(error):
                raise
            columns = [column if names is None else names[column] for column in self._places]
            raise TypeError(
                f"X must hold categories such as those of the training in columns {columns}, "
                f"but one of them has a dtype of numbers; convert it to object, or to the dtype "
                f"that it had in fit."
            ) from error
        ordered = np.empty_like(encoded, order="C")
        others = np.setdiff1d(np.arange(self.n_features_in), self.columns)
        ordered[:, np.concatenate([self.columns, others])] = encoded
        return self.decoded(ordered)

    def decoded(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put categories that are numbers in the place of their codes.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features_in), float64
            Rows with the codes of all categories; changed in place.

        Returns
        -------
        ndarray of shape (n_samples, n_features_in), float64
            What the engine reads.
        """
        for column, known in self.in_engine.items():
            if column not in self._places:
                found = X[:, column] < len(known)  # NaN is not
                X[found, column] = known[X[found, column].astype(np.intp)]
                X[~found, column] = np.nan
        return X

    def ready(self, X: Any, is_array: bool) -> tuple[Any, list[str] | None] | None:
        """Give what the engine reads, and the names of the columns, where that takes microseconds.

        This is for numbers where all categories are, and for a single row of any.

        Parameters
        ----------
        X : object
            Anything.
        is_array : bool
            Whether X is an array.

        Returns
        -------
        values : ndarray of shape (n_samples, n_features_in)
        names : list of str or None

        Or None for what only :meth:`numbers` can tell.
        """
        found = None
        if self.are_numbers:
            found = (X, None) if is_array and X.dtype.kind in "fiub" else numbers_of(X)
        found = self._one_row(X) if found is None else found
        if found is None or found[0].ndim != 2 or found[0].shape[1] != self.n_features_in:
            return None
        return None if self._holds_infinity(found[0]) else found

    def _holds_infinity(self, X: NDArray[Any]) -> bool:
        """Tell whether a column of categories holds infinity, which is none, and refused."""
        if X.dtype.kind != "f" or (X.size < _FEW and np.vdot(X, X) < np.inf):
            return False
        return bool(np.isinf(X[:, self.columns]).any())

    def _one_row(self, X: Any) -> tuple[NDArray[np.float64], list[str] | None] | None:
        if getattr(X, "shape", None) != (1, self.n_features_in):
            return None
        if (kind := _kind_of_rows(X)) is None:
            return None
        names = kind.names(X)
        if names is not None and (set(map(type, names)) != {str} or len(set(names)) < len(names)):
            return None
        read = kind.row(X)
        for column, value in enumerate(read):
            if (places := self._places.get(column)) is None:
                if type(value) not in _NUMBERS:
                    return None
            # scikit-learn refuses what is missing in a column of numbers
            elif type(value) is str or (_is_missing(value) and kind.holds_objects(X, column)):
                read[column] = places.get(value, np.nan)
            else:
                return None
        return np.array([read], dtype=np.float64), names

    def moved(self, columns: NDArray[np.intp], n_features_in: int) -> "Categories":
        """Give the categories of an X whose given columns are those that this one reads.

        Parameters
        ----------
        columns : ndarray of shape (n_columns,), intp
            The new number of each column.
        n_features_in : int
            Columns of the new X.

        Returns
        -------
        Categories
        """
        values = {int(columns[column]): values for column, values in self.values.items()}
        return Categories(values, n_features_in)

    def _encoder(self, names: Any) -> ColumnTransformer:
        """Make what HistGradientBoosting calls its preprocessor, as it is after a fit."""
        is_categorical = np.isin(np.arange(self.n_features_in), self.columns)
        by_place = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=np.nan,
            encoded_missing_value=np.nan,
            dtype=np.float64,
        )
        encoder = ColumnTransformer(
            [
                ("encoder", by_place, is_categorical),
                ("numerical", FunctionTransformer(_as_finite_or_not), ~is_categorical),
            ]
        )
        encoder.set_output(transform="default")
        encoder.fit(np.zeros((1, self.n_features_in)))
        fitted = encoder.named_transformers_["encoder"]
        # NaN stands for none, where there are none: the encoder wants a category
        fitted.categories_ = [
            values if len(values) else np.array([np.nan], dtype=values.dtype)
            for values in self.values.values()
        ]
        if names is not None:
            encoder.feature_names_in_ = np.asarray(names, dtype=object)
            fitted.feature_names_in_ = encoder.feature_names_in_[self.columns]
        return encoder


def as_numbers(values: NDArray[Any]) -> NDArray[np.float64] | None:
    """Give categories as float64, or None where they are no numbers that it holds exactly.

    Parameters
    ----------
    values : ndarray of shape (n_categories,)
        Categories, without NaN.

    Returns
    -------
    ndarray of shape (n_categories,), float64, or None
        Growing and finite.

    Examples
    --------
    >>> as_numbers(np.array([2, 5])), as_numbers(np.array(["a"])), as_numbers(np.array([2**53 + 1]))
    (array([2., 5.]), None, None)
    """
    exact: list[Any] = values.tolist()
    if values.dtype.kind not in "biufO" or not all(isinstance(value, Number) for value in exact):
        return None
    try:
        numbers = np.array([float(value) for value in exact])
    except (OverflowError, TypeError, ValueError):
        return None
    grows = np.isfinite(numbers).all() and (numbers[1:] > numbers[:-1]).all()
    return numbers if grows and numbers.tolist() == exact else None


def _as_array(values: Any) -> NDArray[Any]:
    array = np.array(values)
    if array.dtype.kind in "OU":
        # as Python has them, which compare alike; strings of numpy are as wide as the widest
        array = np.array([_as_python(value) for value in array.tolist()], dtype=object)
    array.setflags(write=False)
    return array


def _as_python(value: Any) -> Any:
    return value.item() if isinstance(value, np.number | np.bool_ | np.str_) else value


def _as_finite_or_not(X: Any) -> Any:
    return check_array(X, dtype=[np.float64], ensure_all_finite=False)


def _is_missing(value: Any) -> bool:
    return value is None or (type(value) is float and value != value)


def _pandas_holds_objects(X: Any, column: int) -> bool:
    dtype = X.dtypes.iloc[column]
    return getattr(getattr(dtype, "categories", None), "dtype", dtype).kind == "O"


class _Rows(NamedTuple):
    """How to read rows of a kind: names of columns, the first row, and whether a column is text."""

    names: Callable[[Any], list[Any] | None]
    row: Callable[[Any], list[Any]]
    holds_objects: Callable[[Any, int], bool]


_ARRAY = _Rows(lambda X: None, lambda X: X[0].tolist(), lambda X, column: True)
_FRAMES = {
    "pandas": _Rows(
        lambda X: X.columns.tolist(), lambda X: X.iloc[0].tolist(), _pandas_holds_objects
    ),
    "polars": _Rows(
        lambda X: X.columns,
        lambda X: list(X.row(0)),
        lambda X, column: str(X.dtypes[column]).split("(")[0] in ("Categorical", "Enum", "String"),
    ),
}


def _kind_of_rows(X: Any) -> _Rows | None:
    if type(X) is np.ndarray:
        return _ARRAY if X.dtype == object else None
    # neither library is imported for this: who has a frame has done so
    for library, kind in _FRAMES.items():
        module = sys.modules.get(library)
        if module is not None and type(X) is getattr(module, "DataFrame", None):
            return kind
    return None
