"""`save` and `load`: sparse estimators as files that are data and not code.

The models of the engine know how to become headers and tensors (`skprune.engine.file`). This is
what stands around them: labels, thresholds and names, the version of the format, and the file.
"""

import json
import os
import reprlib
import stat
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from sklearn.exceptions import NotFittedError

from skprune import __version__
from skprune.categories import Categories
from skprune.engine import Forest
from skprune.engine.checks import n_threads
from skprune.engine.file import (
    COUNT,
    FLAG,
    LIST,
    NUMBER_OR_NONE,
    OBJECT,
    TEXT,
    FileFormatError,
    Header,
    Tensors,
    check_fields,
    check_length,
    kind_of,
    narrow,
    one_of,
    pack,
    read_header,
    read_tensors,
    refuse_leftovers,
    take,
    to_bytes,
    unpack,
)
from skprune.engine.native import choose_engine
from skprune.estimators import SparseClassifier, SparseRegressor
from skprune.limits import ANY, Limits

# Grows when a reader of the last one would misread a file.
FORMAT = 1

_COMMON = {"format": COUNT, "skprune": TEXT, "kind": TEXT, "model": OBJECT}
_REGRESSOR = {**_COMMON, "flat": FLAG}
_CLASSIFIER = {
    **_COMMON,
    "threshold": NUMBER_OR_NONE,
    "decision_threshold": NUMBER_OR_NONE,
    "many_outputs": FLAG,
    "classes": LIST,
}


def save(model: Any, path: str | os.PathLike[str], *, dtype: str = "float32") -> None:
    """Save a fitted model as a file that is data and not code.

    The file is a safetensors file. It appears whole or not at all: an older one under its name
    stays until the new one is complete and has been read back.

    Parameters
    ----------
    model : SparseClassifier, SparseRegressor or fitted estimator
        What to save. Anything but a sparse estimator goes through :func:`compile`: a fitted pruner,
        a pipeline around one with all of its steps, or a search over either.
    path : str or os.PathLike
        Where.
    dtype : {"float32", "float16"}, default="float32"
        Of the weights of a net. "float16" takes 4 bytes a weight where "float32" takes 6, and
        rounds; predictions change by as much. Trees and forests are always kept to the bit.

    Raises
    ------
    TypeError
        If the model is none of these, or one that the engine does not run.
    ValueError
        If the model cannot be written down, such as one with weights that float16 cannot hold.
    TypeError or ValueError
        If a step of a pipeline cannot be folded; as in :func:`compile`, the message names it.
    OSError
        If the file cannot be written.

    See Also
    --------
    load : Load the file.
    compile : What is done to a pipeline.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> import skprune
    >>> X, y = load_iris(return_X_y=True)
    >>> pruner = skprune.CostComplexityPruner(DecisionTreeClassifier(random_state=0), sparsity=0.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "iris.skprune"
    ...     skprune.save(pruner.fit(X, y), path)
    ...     model = skprune.load(path)
    >>> model
    SparseClassifier(...)
    >>> bool((model.predict(X) == pruner.predict(X)).all())
    True
    """
    path = file_name(path)
    data = save_bytes(model, dtype=dtype)
    path = os.path.realpath(path)  # a link stays one, and what it points to is new
    # in the same folder, because only within a file system is renaming all or nothing
    scratch = os.path.join(os.path.dirname(path), f".skprune-{uuid4().hex}")
    try:
        with open(scratch, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        with suppress(OSError):  # after success there is no such file
            os.unlink(scratch)


def load(
    path: str | os.PathLike[str], *, engine: str = "auto", n_jobs: int | None = None
) -> SparseClassifier | SparseRegressor:
    """Load what :func:`save` has saved.

    Nothing in the file is run, and everything in it is checked before it is used, so a file from a
    stranger can do no worse than predict badly. It needs neither torch nor skorch.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    engine : {"auto", "native", "scipy"}, default="auto"
        See :class:`skprune.engine.Network`.
    n_jobs : int, default=None
        Threads for large batches; None means 1, -1 all processors.

    Returns
    -------
    model : SparseClassifier or SparseRegressor
        It predicts what the saved one does, to the bit where both run on the same kind of
        processor; of a net saved in "float16", what its rounded weights make.

    Raises
    ------
    FileFormatError
        If the file is none of :func:`save`, is damaged, or is of a later format than this version
        of skprune reads. It is a ValueError.
    OSError
        If the file cannot be read.

    See Also
    --------
    save : Save a file, with an example.
    """
    name = file_name(path)
    if isinstance(path, bytes) and not os.path.exists(name):
        raise _no_name(path)  # usually the content of a file in place of its name
    # a pipe or a device may never end
    if not stat.S_ISREG(mode := os.stat(name).st_mode) and not stat.S_ISDIR(mode):
        raise FileFormatError(f"{name!r} cannot be loaded: it is no regular file")
    with open(name, "rb") as file:
        data = file.read()
    try:
        return load_bytes(data, engine=engine, n_jobs=n_jobs)
    except FileFormatError as error:
        raise FileFormatError(f"{name!r} cannot be loaded: {error}") from error


def file_name(path: Any) -> str:
    """Return the name of a file as a str, or raise a TypeError that says what a path may be."""
    try:
        name = os.fsdecode(path)
    except TypeError:
        raise _no_name(path) from None
    if not name or "\0" in name:
        raise _no_name(path)
    return name


def _no_name(path: Any) -> TypeError:
    return TypeError(
        f"path must be the name of a file, a str or an os.PathLike, but it is {reprlib.repr(path)}."
    )


def save_bytes(model: Any, *, dtype: str = "float32") -> bytes:
    """Return what :func:`save` writes.

    Parameters
    ----------
    model, dtype
        As for :func:`save`.

    Returns
    -------
    data : bytes
        The content of the file.
    """
    estimator = sparse_estimator_of(model, "saved")
    kind = _NAMES[type(estimator)]
    try:
        header, tensors = pack(estimator.model, dtype)
        own, more = _KINDS[kind].pack(estimator)
        tensors |= more
        if estimator.feature_names_in is not None:
            names = np.asarray(estimator.feature_names_in, dtype=object)
            tensors |= _pack_strings(names, "feature_names")
        if estimator.categories is not None:
            tensors |= _pack_categories(estimator.categories)
        if estimator.limits is not None:
            arrays = estimator.limits.arrays
            tensors |= {f"limits.{name}": array for name, array in arrays.items()}
    except TypeError as error:
        raise TypeError(f"{type(model).__name__} cannot be saved: {error}") from error
    header = {"format": FORMAT, "skprune": __version__, "kind": kind, "model": header, **own}
    data = to_bytes(header, tensors)
    try:
        load_bytes(data, engine="scipy")
    except FileFormatError as error:
        # an error now, while the model still exists
        raise ValueError(f"{type(model).__name__} cannot be saved: {error}") from error
    return data


def load_bytes(
    data: bytes, *, engine: str = "auto", n_jobs: int | None = None
) -> SparseClassifier | SparseRegressor:
    """Return the estimator whose file has this content.

    Parameters
    ----------
    data : bytes
        The content of a file.
    engine, n_jobs
        As for :func:`load`.

    Returns
    -------
    model : SparseClassifier or SparseRegressor
        The estimator.
    """
    choose_engine(engine)  # a wrong argument is not an error of the file
    n_threads(n_jobs)
    header = read_header(data)
    _refuse_other_formats(header)
    kind = kind_of(header, tuple(_KINDS), "header")
    check_fields(header, _KINDS[kind].fields, "header")
    tensors = read_tensors(data)
    try:
        model = unpack(header["model"], tensors, engine)
    except FileFormatError:
        raise
    except ValueError as error:  # the engine's own checks
        raise FileFormatError(str(error)) from error
    arguments = _KINDS[kind].unpack(header, tensors, model)
    if "feature_names.text" in tensors:
        names = _unpack_strings(tensors, "feature_names")
        check_length(names, model.n_features_in, "feature_names", "per column")
        arguments["feature_names_in"] = names
    if "known.columns" in tensors:
        arguments["categories"] = _unpack_known(tensors, model)
    if "limits.low" in tensors:
        arguments["limits"] = _unpack_limits(tensors, model.n_features_in)
    refuse_leftovers(tensors)
    return _KINDS[kind].type(model, n_jobs=n_jobs, **arguments)


def _pack_categories(categories: Categories) -> Tensors:
    """Return categories of any type as JSON, one text per category."""
    values, dtypes = [], []
    for column, known in categories.values.items():
        dtype = known.dtype.newbyteorder("=").name
        listed = (known.astype(np.int64) if known.dtype.kind == "M" else known).tolist()
        bad = [value for value in listed if type(value) not in _JSON_TYPES]
        if dtype not in _KNOWN_DTYPES or bad:
            raise TypeError(
                f"the categories of column {column} must be text, numbers, booleans, dates or "
                f"None, but they are of dtype {dtype}, and one is {(bad or listed)[0]!r}."
            )
        dtypes.append(dtype)
        values += listed
    texts = np.array([json.dumps(value) for value in values], dtype=object)
    return {
        "known.columns": narrow(categories.columns),
        "known.counts": narrow([len(known) for known in categories.values.values()]),
        **_pack_strings(np.array(dtypes, dtype=object), "known.dtypes"),
        **_pack_strings(texts, "known.values"),
    }


def _unpack_known(tensors: Tensors, model: Any) -> Categories:
    columns = take(tensors, "known.columns", ["uint16", "uint32"])
    counts = take(tensors, "known.counts", ["uint16", "uint32"]).astype(np.int64)
    dtypes = _unpack_strings(tensors, "known.dtypes")
    values = [_parsed_category(text) for text in _unpack_strings(tensors, "known.values")]
    in_engine = model.categories or {}
    if columns.tolist() != list(in_engine):
        raise FileFormatError(
            f"tensor 'known.columns' must hold {list(in_engine)}, the columns of which the forest "
            f"knows categories"
        )
    check_length(counts, len(columns), "known.counts", "per column")
    check_length(dtypes, len(columns), "known.dtypes", "per column")
    if counts.sum() != len(values):
        raise FileFormatError(f"tensor 'known.counts' must add up to {len(values)} categories")
    known, start = {}, 0
    for column, count, dtype in zip(columns.tolist(), counts.tolist(), dtypes, strict=True):
        known[column] = _known_of(values[start : start + count], dtype)
        start += count
    categories = Categories(known, model.n_features_in)
    for column, numbers in categories.in_engine.items():
        if not np.array_equal(numbers, in_engine[column]):
            raise FileFormatError(
                f"tensor 'known.values' must hold the categories of column {column} that the "
                f"forest knows"
            )
    return categories


def _parsed_category(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"tensor 'known.values' must hold JSON, but {error}") from error
    if type(value) not in _JSON_TYPES or value != value:
        raise FileFormatError(
            "tensor 'known.values' must hold text, numbers, booleans and nulls, but no NaN"
        )
    return value


def _known_of(values: list[Any], dtype: str) -> np.ndarray:
    """Return an array of the categories of a column."""
    if dtype not in _KNOWN_DTYPES:
        raise FileFormatError(f"tensor 'known.dtypes' must hold one of {_KNOWN_DTYPES}")
    if len(set(values)) < len(values):
        raise FileFormatError("tensor 'known.values' must hold different categories")
    if dtype == "object":
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype="int64" if dtype in _DATES else dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise FileFormatError(f"tensor 'known.values' must be of {dtype}, but {error}") from error
    if array.tolist() != values or (array[1:] <= array[:-1]).any():
        raise FileFormatError(f"tensor 'known.values' must hold growing numbers of {dtype}")
    return array.view(dtype) if dtype in _DATES else array


def _unpack_limits(tensors: Tensors, n_features: int) -> Limits:
    dtypes = {"low": "float64", "high": "float64", "missing": "uint8"}
    limits = Limits(**{name: take(tensors, f"limits.{name}", [dtypes[name]]) for name in dtypes})
    for name, array in limits.arrays.items():
        check_length(array, n_features, f"limits.{name}", "per column")
    if not (limits.low <= limits.high).all():
        raise FileFormatError("tensor 'limits.low' must not be above 'limits.high'")
    if limits.missing.max(initial=0) > ANY:
        raise FileFormatError("tensor 'limits.missing' must hold 0, 1 and 2")
    return limits


def _refuse_other_formats(header: Header) -> None:
    found = {name: header.get(name) for name in ("format", "skprune")}
    check_fields(found, {"format": COUNT, "skprune": TEXT}, "header")
    if found["format"] != FORMAT:
        raise FileFormatError(
            f"it has format {found['format']}, written by skprune {found['skprune']}, but this is "
            f"skprune {__version__}, which reads format {FORMAT}"
        )


def sparse_estimator_of(model: Any, verb: str) -> Any:
    """Return a sparse estimator, or the one that a fitted model compiles to.

    Parameters
    ----------
    model : object
        What a user has passed.
    verb : str
        What cannot be done with anything else, in the error.

    Raises
    ------
    TypeError
        If it is no such model, or a pruner whose model the engine does not run.
    TypeError or ValueError
        If it is a pipeline that cannot be compiled.
    NotFittedError
        If it is not fitted.
    """
    from skprune.compiling import compile  # here, as files load without all that can be compiled

    if type(model) in _NAMES:
        return model
    name = type(model).__name__
    no_model = isinstance(model, type) or not hasattr(model, "fit")
    if no_model or isinstance(model, tuple(_NAMES)):  # no subclass comes back
        raise TypeError(
            f"{reprlib.repr(model)} cannot be {verb}: pass a fitted pruner, a fitted pipeline or "
            f"search around one, or what compile or sparse_estimator_ gives."
        )
    if hasattr(type(model), "sparse_estimator_"):
        try:
            return model.sparse_estimator_
        except NotFittedError:
            raise
        except AttributeError as error:  # it names the layer that the engine lacks
            raise TypeError(f"{name} cannot be {verb}: {error}") from error
    try:
        return compile(model)
    except NotFittedError:
        raise
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} cannot be {verb}: {error}") from error


# -- labels --------------------------------------------------------------------------------------


def _pack_classifier(estimator: SparseClassifier) -> tuple[Header, Tensors]:
    many = estimator._has_many_outputs
    kinds, tensors = [], dict[str, np.ndarray]()
    for k, classes in enumerate(estimator.classes if many else [estimator.classes]):
        array = np.asarray(classes)
        kind = _LABEL_KINDS.get(array.dtype.kind)
        if kind is None or array.ndim != 1 or (array.dtype.itemsize > 8 and kind == "number"):
            raise TypeError(
                f"classes must be a vector of numbers, booleans or strings, but the dtype is "
                f"{array.dtype} and the shape {array.shape}."
            )
        kinds.append(kind)
        tensors |= _LABELS[kind].pack(array.astype(array.dtype.newbyteorder("=")), f"classes.{k}")
    thresholds = {
        name: None if value is None else float(value)
        for name in ("threshold", "decision_threshold")
        for value in [getattr(estimator, name)]
    }
    return {**thresholds, "many_outputs": many, "classes": kinds}, tensors


def _unpack_classifier(header: Header, tensors: Tensors, model: Any) -> dict[str, Any]:
    kinds = one_of(tuple(_LABELS))
    classes = []
    for k, kind in enumerate(header["classes"]):
        if not kinds.holds(kind):
            raise FileFormatError(f"header.classes[{k}] must be {kinds.what}")
        labels = _LABELS[kind].unpack(tensors, f"classes.{k}")
        if not len(labels) or len(set(labels.tolist())) < len(labels):
            raise FileFormatError(f"tensor 'classes.{k}' must hold different labels")
        classes.append(labels)
    lengths = [len(labels) for labels in classes]
    # scikit-learn returns the probabilities of two classes where boosting saw a single one
    lone = lengths == [1] and isinstance(model, Forest) and model.link == "sigmoid"
    if not lengths or (sum(lengths) != model.n_outputs and not lone):
        raise FileFormatError(
            f"there must be {model.n_outputs} classes, as many as the model has outputs, but there "
            f"are {sum(lengths)}"
        )
    many = header["many_outputs"]
    if not many and len(lengths) > 1:
        raise FileFormatError(f"there are classes of {len(lengths)} outputs, not of one")
    _check_thresholds(header, lengths, model)
    arguments = {name: header[name] for name in ("threshold", "decision_threshold")}
    return {**arguments, "classes": classes if many else classes[0]}


def _check_thresholds(header: Header, lengths: list[int], model: Any) -> None:
    one_output = not header["many_outputs"]
    if header["threshold"] is not None and not (one_output and lengths == [2]):
        raise FileFormatError("header.threshold must be null but for one output of two classes")
    if header["decision_threshold"] is None:
        return
    if not one_output or not isinstance(model, Forest) or model.n_outputs < 2:
        raise FileFormatError(
            "header.decision_threshold must be null but for a forest that decides among classes"
        )


def _pack_numbers(labels: np.ndarray, name: str) -> Tensors:
    return {name: labels}


def _unpack_numbers(tensors: Tensors, name: str) -> np.ndarray:
    labels = take(tensors, name, _LABEL_DTYPES)
    if not np.isfinite(labels).all():
        raise FileFormatError(f"tensor {name!r} must be finite")
    return labels


def _pack_booleans(labels: np.ndarray, name: str) -> Tensors:
    return {name: labels.astype(np.uint8)}


def _unpack_booleans(tensors: Tensors, name: str) -> np.ndarray:
    labels = take(tensors, name, ["uint8"])
    if labels.max(initial=0) > 1:
        raise FileFormatError(f"tensor {name!r} must hold 0 and 1")
    return labels.astype(bool)


def _pack_text(labels: np.ndarray, name: str) -> Tensors:
    # As in numpy, all strings are as wide as the widest. If they were packed, a short file of many
    # empty strings and a long one could make numpy allocate a huge array.
    return {name: np.ascontiguousarray(labels).view(np.uint32).reshape(len(labels), -1)}


def _unpack_text(tensors: Tensors, name: str) -> np.ndarray:
    points = take(tensors, name, ["uint32"], ndim=2)
    if not points.size or points.max() > 0x10FFFF:
        raise FileFormatError(f"tensor {name!r} must hold characters of Unicode")
    return np.ascontiguousarray(points).view(f"U{points.shape[1]}")[:, 0]


def _pack_strings(strings: np.ndarray, name: str) -> Tensors:
    if strings.ndim != 1 or not all(isinstance(string, str) for string in strings):
        raise TypeError(f"{name} must be a vector of strings, but it is {strings!r}.")
    coded = [string.encode(errors="surrogatepass") for string in strings]
    ends = np.cumsum([len(string) for string in coded])
    text = np.frombuffer(b"".join(coded), np.uint8)
    return {f"{name}.text": text, f"{name}.ends": ends.astype(np.uint32)}


def _unpack_strings(tensors: Tensors, name: str) -> np.ndarray:
    text = take(tensors, f"{name}.text", ["uint8"]).tobytes()
    ends = take(tensors, f"{name}.ends", ["uint32"])
    last = int(ends[-1]) if ends.size else 0
    if (ends[1:] < ends[:-1]).any() or last != len(text):
        raise FileFormatError(f"tensor '{name}.ends' must grow to {len(text)}, the text's length")
    strings, start = np.empty(len(ends), dtype=object), 0
    for k, end in enumerate(ends.tolist()):
        try:
            strings[k] = text[start:end].decode(errors="surrogatepass")
        except UnicodeDecodeError as error:
            raise FileFormatError(f"tensor '{name}.text' must be UTF-8, but {error}") from error
        start = end
    return strings


class _Labels(NamedTuple):
    pack: Any
    unpack: Any


_LABELS = {
    "number": _Labels(_pack_numbers, _unpack_numbers),
    "bool": _Labels(_pack_booleans, _unpack_booleans),
    "str": _Labels(_pack_text, _unpack_text),
    "object": _Labels(_pack_strings, _unpack_strings),
}
# by numpy's kinds of dtypes
_LABEL_KINDS = {"i": "number", "u": "number", "f": "number", "b": "bool", "U": "str", "O": "object"}
_LABEL_DTYPES = (
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
_DATES = tuple(f"datetime64[{unit}]" for unit in ("D", "s", "ms", "us", "ns"))
_KNOWN_DTYPES = ("object", "bool", *_LABEL_DTYPES, *_DATES)
_JSON_TYPES = (str, int, float, bool, type(None))


# -- estimators ----------------------------------------------------------------------------------


def _pack_regressor(estimator: SparseRegressor) -> tuple[Header, Tensors]:
    return {"flat": bool(estimator.flat)}, {}


def _unpack_regressor(header: Header, tensors: Tensors, model: Any) -> dict[str, Any]:
    return {"flat": header["flat"]}


class _Kind(NamedTuple):
    type: type
    fields: dict[str, Any]
    pack: Any
    unpack: Any


# A file names its kind; only these names mean anything.
_KINDS = {
    "classifier": _Kind(SparseClassifier, _CLASSIFIER, _pack_classifier, _unpack_classifier),
    "regressor": _Kind(SparseRegressor, _REGRESSOR, _pack_regressor, _unpack_regressor),
}
_NAMES = {kind.type: name for name, kind in _KINDS.items()}
