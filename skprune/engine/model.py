"""What all models of the engine have in common: `Model`."""

from __future__ import annotations

from inspect import signature
from typing import Any, ClassVar, Self

import numpy as np


class Model:
    """A fitted model that predicts for rows of numbers.

    A model never changes after it is made, so threads may share it. It keeps every argument of its
    constructor as an attribute of the same name. `state` returns these arguments; copies, pickles,
    files and compiled pipelines are made from them, so their checks always run.

    The attributes below say what a model takes and does. A subclass overrides those that differ, as
    class attributes, instance attributes or properties.

    Attributes
    ----------
    n_features_in : int
        Columns of ``X``.
    n_outputs : int
        Columns of what `predict` returns.
    dtype : str or numpy.dtype
        The type of number that ``X`` is compared or multiplied as.
    converts : bool
        Whether the model converts other types of numbers itself.
    keeps_dtype : bool
        Whether validation must leave the numeric type of ``X`` as it is.
    accepts_sparse : bool
        Whether ``X`` may be sparse.
    allow_nan, allow_infinity : bool
        Whether ``X`` may hold NaN, infinity.
    allow_nd : bool
        Whether ``X`` may have more than two dimensions.
    flattens : bool
        Whether each row of an ``X`` of more than two dimensions is flattened.
    predicts_labels : bool
        Whether the model has a `predict_labels`, which classifies by a rule of its own.
    categories : dict of int to ndarray, or None
        Columns of categories and the values that each may have.
    """

    n_features_in: Any
    n_outputs: int
    # "auto" is kept as such: a copy on another machine chooses anew
    requested_engine: str = "auto"

    dtype: Any = "float32"
    converts: bool = False
    keeps_dtype: bool = False
    accepts_sparse: bool = False
    # plain attributes in some models, properties in others
    allow_nan: Any = False
    allow_infinity: bool = False
    allow_nd: bool = False
    flattens: bool = False
    predicts_labels: bool = False
    categories: dict[int, np.ndarray] | None = None

    _attribute_of: ClassVar[dict[str, str]] = {"engine": "requested_engine"}

    def state(self) -> dict[str, Any]:
        """Return the arguments of the constructor that make this model."""
        return {
            name: getattr(self, self._attribute_of.get(name, name))
            for name in signature(type(self)).parameters
        }

    def replace(self, **changes: Any) -> Self:
        """Return a model with other values of some arguments.

        Parameters
        ----------
        **changes : dict
            Arguments of the constructor.
        """
        return type(self)(**(self.state() | changes))

    def with_engine(self, engine: str) -> Self:
        """Return the same model on another engine."""
        return self.replace(engine=engine)

    # skops calls both, and no function that a file names; the constructor checks the arguments
    def __getstate__(self) -> dict[str, Any]:
        return self.state()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def columns_read(self) -> np.ndarray:
        """Columns of ``X`` that the predictions depend on, in ascending order."""
        return np.arange(self.n_features_in)

    def reads(self, X: Any) -> bool:
        """Return whether ``X`` must reach the model without any validation."""
        return False

    def predict(self, X: Any, n_jobs: int | None = 1) -> np.ndarray:
        """Return the prediction for each row."""
        raise NotImplementedError

    def transform(self, X: Any, n_jobs: int | None = 1) -> Any:
        """Return the learned representation of each row."""
        raise NotImplementedError

    def explain(self, n_rows: int | None = None) -> str:
        """Return a table of what runs for a batch of ``n_rows``, or for any batch."""
        raise NotImplementedError
