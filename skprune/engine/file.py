"""Models as headers and tensors of a safetensors file, and back, with every byte checked.

A model becomes a *header*, a few JSON values, and *tensors*, vectors and matrices by name. This
module holds what is common to all files, and the layouts of a `Network`, a `Tree` and a `Forest`;
`skprune.saving` adds the labels around them. docs/files.rst shows the layout.

Two rules keep a bad file harmless. Everything that is read is taken by name and checked for type,
shape and range, and a tensor that was not taken is an error. No number that a file declares decides
how much memory is allocated: sizes follow from tensors, which are as long as the file itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from scipy.sparse import csr_array

from skprune.engine.activations import ACTIVATIONS
from skprune.engine.checks import MAX_WIDTH
from skprune.engine.forest import Forest
from skprune.engine.layers import Layer
from skprune.engine.links import LINKS
from skprune.engine.network import Network
from skprune.engine.nodes import LEAF, Nodes
from skprune.engine.tree import Tree

Header = dict[str, Any]
Tensors = dict[str, np.ndarray]

# A header is parsed before anything in it can be checked, so its length is what bounds the work.
MAX_HEADER = 2**19

_KEY = "skprune"  # of the metadata of safetensors, whose values are strings
_DTYPES = {
    "U8": "<u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "F16": "<f2", "F32": "<f4",
    "I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
_NUMBERS = ("uint16", "uint32")
_FLOATS = ("float32", "float64")
_WORD = 32  # bits of a word of a set of categories


class FileFormatError(ValueError):
    """A file is not a model of this package, or is damaged; the message says where.

    Examples
    --------
    >>> read_header(b"not a model")
    Traceback (most recent call last):
    skprune.engine.file.FileFormatError: it is no safetensors file: its header ends beyond its end
    """


class Wanted(NamedTuple):
    """What a value of a header must be: a test, and its name in errors."""

    holds: Callable[[Any], bool]
    what: str


def _is_finite(value: Any) -> bool:
    # an int of JSON may be too long for a float
    is_number = type(value) is float or (type(value) is int and abs(value) < 2**53)
    return is_number and math.isfinite(value)


def one_of(options: Sequence[str]) -> Wanted:
    """Want one of some names.

    Examples
    --------
    >>> one_of(["tree", "forest"]).what
    "one of 'tree', 'forest'"
    """
    return Wanted(
        lambda value: type(value) is str and value in options,
        f"one of {', '.join(map(repr, options))}",
    )


TEXT = Wanted(lambda value: type(value) is str, "a string")
FLAG = Wanted(lambda value: type(value) is bool, "true or false")
NUMBER = Wanted(_is_finite, "a finite number")
NUMBER_OR_NONE = Wanted(lambda v: v is None or _is_finite(v), "a finite number or null")
COUNT = Wanted(lambda value: type(value) is int and value >= 0, "a whole number from 0")
WIDTH = Wanted(
    lambda value: type(value) is int and 1 <= value <= MAX_WIDTH, f"a whole number in 1-{MAX_WIDTH}"
)
LIST = Wanted(lambda value: type(value) is list, "a list")
OBJECT = Wanted(lambda value: type(value) is dict, "an object")


def check_object(value: Any, where: str) -> Header:
    """Return an object of JSON, or raise where the value is not one."""
    if type(value) is not dict:
        raise FileFormatError(f"{where} must be an object, but it is {_shown(value)}")
    return value


def check_fields(given: Any, wanted: Mapping[str, Wanted], where: str) -> Header:
    """Return an object of the header whose keys and values are those wanted, or raise.

    Examples
    --------
    >>> check_fields({"flat": 1}, {"flat": FLAG}, "header")
    Traceback (most recent call last):
    skprune.engine.file.FileFormatError: header.flat must be true or false, but it is 1
    """
    if check_object(given, where).keys() != wanted.keys():
        missing, odd = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
        found = f"lacks {_shown(missing)}" if missing else f"has unknown keys, {_shown(odd)}"
        raise FileFormatError(f"{where} {found}")
    for name, (holds, what) in wanted.items():
        if not holds(given[name]):
            raise FileFormatError(f"{where}.{name} must be {what}, but it is {_shown(given[name])}")
    return given


def kind_of(given: Any, kinds: Sequence[str], where: str) -> str:
    """Return the kind that an object of the header names, which must be one of `kinds`.

    Examples
    --------
    >>> kind_of({"kind": "tree"}, ["tree", "forest"], "model")
    'tree'
    """
    kind, wanted = check_object(given, where).get("kind"), one_of(kinds)
    if not wanted.holds(kind):
        raise FileFormatError(f"{where}.kind must be {wanted.what}, but it is {_shown(kind)}")
    return str(kind)


def _shown(value: Any) -> str:
    """Return a short repr: an error must not repeat a megabyte."""
    if type(value) is int and abs(value) >= 10**50:  # Python refuses to print the longest ones
        return f"a number of {value.bit_length()} bits"
    shown = repr(value)
    return shown if len(shown) <= 100 else shown[:97] + "..."


def take(tensors: Tensors, name: str, dtypes: Sequence[str], ndim: int = 1) -> np.ndarray:
    """Remove a tensor from those that are left and return it, its dtype and dimensions checked."""
    if name not in tensors:
        raise FileFormatError(f"tensor {name!r} is missing")
    array = tensors.pop(name)
    if array.dtype.name not in dtypes or array.ndim != ndim:
        raise FileFormatError(
            f"tensor {name!r} must have {ndim} dimension(s) of {' or '.join(dtypes)}, but it has "
            f"{array.ndim} of {array.dtype.name}"
        )
    return array


def check_length(array: np.ndarray, length: int, name: str, of: str) -> None:
    """Raise unless a tensor has one entry for each of something."""
    if len(array) != length:
        raise FileFormatError(
            f"tensor {name!r} must have {length} entries, one {of}, but it has {len(array)}"
        )


def refuse_leftovers(tensors: Tensors) -> None:
    """Raise where tensors are left that no part of the model has taken."""
    if tensors:
        raise FileFormatError(f"tensors that do not belong to the model: {_shown(sorted(tensors))}")


def to_bytes(header: Header, tensors: Tensors) -> bytes:
    """Return the content of a file. The same model makes the same bytes.

    Examples
    --------
    >>> data = to_bytes({"format": 1}, {"x": np.arange(3, dtype=np.uint8)})
    >>> read_header(data), read_tensors(data)
    ({'format': 1}, {'x': array([0, 1, 2], dtype=uint8)})
    """
    text = json.dumps(header, separators=(",", ":"), allow_nan=False)
    whole = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    data = safetensors.numpy.save(whole, {_KEY: text})
    if int.from_bytes(data[:8], "little") > MAX_HEADER:
        raise ValueError(
            f"the model has too many parts: a file's header may have {MAX_HEADER} bytes, but it "
            f"would have {int.from_bytes(data[:8], 'little')}"
        )
    return data


def read_header(data: bytes) -> Header:
    """Return the header of a file, its values still unchecked."""
    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8:
        raise FileFormatError("it is no safetensors file: its header ends beyond its end")
    if length > MAX_HEADER:
        raise FileFormatError(f"its header must have at most {MAX_HEADER} bytes, but has {length}")
    whole = _parsed(data[8 : 8 + length])
    metadata = whole.get("__metadata__") if type(whole) is dict else None
    if type(metadata) is not dict or metadata.keys() != {_KEY} or not TEXT.holds(metadata[_KEY]):
        raise FileFormatError("it is no file of skprune.save: its header does not tell of a model")
    return check_object(_parsed(metadata[_KEY]), "header")


def _parsed(text: bytes | str) -> Any:
    try:
        return json.loads(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:  # deep nesting raises the second
        raise FileFormatError(f"its header is no JSON: {error}") from error


def read_tensors(data: bytes) -> Tensors:
    """Return the tensors of a file by name."""
    try:
        found = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise FileFormatError(f"it is no safetensors file: {error}") from error
    tensors = {}
    for name, tensor in found:
        if tensor["dtype"] not in _DTYPES:
            raise FileFormatError(f"tensor {name!r} is of the unknown dtype {tensor['dtype']}")
        array = np.frombuffer(tensor["data"], _DTYPES[tensor["dtype"]])
        if len(tensor["shape"]) > 2:
            raise FileFormatError(f"tensor {name!r} must have 1 or 2 dimensions")
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        tensors[name] = native.reshape(tensor["shape"])
    return tensors


def narrow(numbers: Any) -> np.ndarray:
    """Return whole numbers as uint16 where they fit, else as uint32.

    Examples
    --------
    >>> narrow([1, 65535]).dtype.name, narrow([65536]).dtype.name
    ('uint16', 'uint32')
    """
    array = np.asarray(numbers)
    return array.astype(np.uint16 if not array.size or array.max() < 2**16 else np.uint32)


def _exact(numbers: np.ndarray) -> np.ndarray:
    """Return float64 as float32 where all values stay the same."""
    with np.errstate(over="ignore"):
        short = numbers.astype(np.float32)
    return short if np.array_equal(short.astype(np.float64), numbers) else numbers


def _starts(counts: np.ndarray) -> np.ndarray:
    starts = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts


# -- networks ------------------------------------------------------------------------------------

_NETWORK = {"kind": TEXT, "n_features_in": WIDTH, "n_hidden": COUNT, "layers": LIST}
_LAYER = {"name": TEXT, "activation": one_of(ACTIVATIONS), "alpha": NUMBER}
_WEIGHTS = ("float16", "float32")
_VECTORS = ("hidden_constants", "fill")  # optional vectors of a network, in this order


def _pack_network(network: Network, dtype: str) -> tuple[Header, Tensors]:
    state = network.state()
    layers = network.layers
    tensors: Tensors = {}
    for i, layer in enumerate(layers):
        weight = _rounded(layer, i, dtype)
        tensors[f"{i}.counts"] = narrow(np.diff(weight.indptr))
        tensors[f"{i}.columns"] = narrow(weight.indices)
        tensors[f"{i}.values"] = weight.data.astype(dtype)
        tensors[f"{i}.bias"] = layer.bias
    tensors |= {name: state[name] for name in _VECTORS if state[name] is not None}
    header = {
        "n_features_in": network.n_features_in,
        "n_hidden": network.n_hidden,
        "layers": [{name: getattr(layer, name) for name in _LAYER} for layer in layers],
    }
    return header, tensors


def _rounded(layer: Layer, i: int, dtype: str) -> csr_array:
    """Return the weights rounded to the dtype of the file, without those that become 0."""
    with np.errstate(over="ignore"):
        values = layer.weight.data.astype(dtype).astype(np.float32)
    if not np.isfinite(values).all():
        largest = np.abs(layer.weight.data).max()
        raise ValueError(
            f"dtype={dtype!r} cannot hold the weights of {layer.name or f'layer {i}'}, the largest "
            f"of which is {largest:g}; use dtype='float32'."
        )
    weight = csr_array(
        (values, layer.weight.indices.copy(), layer.weight.indptr.copy()), shape=layer.weight.shape
    )
    weight.eliminate_zeros()
    return weight


def _unpack_network(header: Header, tensors: Tensors, engine: str) -> Network:
    check_fields(header, _NETWORK, "model")
    width, layers = header["n_features_in"], []
    for i, fields in enumerate(header["layers"]):
        check_fields(fields, _LAYER, f"model.layers[{i}]")
        bias = take(tensors, f"{i}.bias", ["float32"])
        weight = _unpack_weight(tensors, i, (len(bias), width))
        layers.append(Layer(weight, bias, **fields))
        width = len(bias)
    options = {name: take(tensors, name, ["float32"]) for name in _VECTORS if name in tensors}
    return Network(layers, engine, header["n_hidden"], **options)


def _unpack_weight(tensors: Tensors, i: int, shape: tuple[int, int]) -> csr_array:
    counts = take(tensors, f"{i}.counts", _NUMBERS)
    columns = take(tensors, f"{i}.columns", _NUMBERS)
    values = take(tensors, f"{i}.values", _WEIGHTS)
    n_rows, n_columns = shape
    check_length(counts, n_rows, f"{i}.counts", "per unit")
    starts = _starts(counts)
    check_length(columns, int(starts[-1]), f"{i}.columns", "per weight")
    check_length(values, int(starts[-1]), f"{i}.values", "per weight")
    if columns.size and columns.max() >= n_columns:
        raise FileFormatError(
            f"tensor '{i}.columns' must stay below {n_columns}, the layer's width"
        )
    grows = columns[1:] > columns[:-1]
    first = starts[1:-1]
    grows[first[(first > 0) & (first < len(columns))] - 1] = True
    if not grows.all():
        raise FileFormatError(f"tensor '{i}.columns' must grow within each unit")
    index = np.int32 if len(columns) < 2**31 else np.int64  # as scipy has it
    places = columns.astype(index), starts.astype(index)
    return csr_array((values.astype(np.float32), *places), shape=shape)


# -- trees and forests ---------------------------------------------------------------------------

_TREE = {"kind": TEXT, "n_features_in": WIDTH, "allow_nan": FLAG}
_FOREST = {
    **_TREE,
    "link": one_of(tuple(LINKS)),
    "divisor": NUMBER,
    "dtype": one_of(("float32", "float64")),
    "allow_infinity": FLAG,
    "accepts_sparse": FLAG,
}


def _pack_nodes(nodes: Nodes) -> Tensors:
    # The root is never a child, so its number can mark leaves.
    is_split = nodes.left != LEAF
    return {
        "left": narrow(np.where(is_split, nodes.left, 0)),
        "right": narrow(nodes.right[is_split]),
        "feature": narrow(nodes.feature[is_split]),
        "threshold": _exact(nodes.threshold[is_split]),
        "missing_go_to_left": nodes.missing_go_to_left[is_split].astype(np.uint8),
        "value": _exact(nodes.value[~is_split]),
    }


def _unpack_nodes(tensors: Tensors, n_trees: int) -> dict[str, Any]:
    """Return the arguments of `Tree` and `Forest` that describe nodes."""
    left = take(tensors, "left", _NUMBERS)
    value = take(tensors, "value", _FLOATS, ndim=2)
    is_split = left > 0
    n_nodes, n_splits = len(left), int(np.count_nonzero(is_split))
    check_length(value, n_nodes - n_splits, "value", "per leaf")
    if not np.isfinite(value).all():
        raise FileFormatError("tensor 'value' must be finite")
    # Never so in a tree; checked here, before memory for the values of all nodes is allocated.
    if len(value) < n_splits + n_trees:
        raise FileFormatError(
            f"tensor 'left' makes {n_splits} splits and {len(value)} leaves, too few for "
            f"{n_trees} tree(s)"
        )
    whole: dict[str, Any] = {"left": np.where(is_split, left.astype(np.int64), LEAF)}
    for name, dtypes, at_leaves in (
        ("right", _NUMBERS, np.int64(LEAF)),
        ("feature", _NUMBERS, np.int64(-2)),  # as in scikit-learn's trees
        ("threshold", _FLOATS, np.float64(-2.0)),
        ("missing_go_to_left", ["uint8"], np.uint8(0)),
    ):
        of_splits = take(tensors, name, dtypes)
        check_length(of_splits, n_splits, name, "per split")
        whole[name] = np.full(n_nodes, at_leaves)
        whole[name][is_split] = of_splits
    if whole["missing_go_to_left"].max(initial=0) > 1:
        raise FileFormatError("tensor 'missing_go_to_left' must hold 0 and 1")
    whole["value"] = np.zeros((n_nodes, value.shape[1]))
    whole["value"][~is_split] = value
    return whole


def _pack_tree(tree: Tree, dtype: str) -> tuple[Header, Tensors]:
    return {name: getattr(tree, name) for name in _TREE if name != "kind"}, _pack_nodes(tree)


def _unpack_tree(header: Header, tensors: Tensors, engine: str) -> Tree:
    check_fields(header, _TREE, "model")
    nodes = _unpack_nodes(tensors, 1)
    return Tree(
        **nodes,
        n_features_in=header["n_features_in"],
        allow_nan=header["allow_nan"],
        engine=engine,
    )


def _pack_forest(forest: Forest, dtype: str) -> tuple[Header, Tensors]:
    tensors = {
        **_pack_nodes(forest),
        "tree_sizes": narrow(np.diff(forest.tree_starts)),
        "base": _exact(forest.base),
        "groups": narrow(forest.groups),
    }
    if forest.outputs is not None:
        tensors["outputs"] = narrow(forest.outputs)
    known_of = forest.categories or {}
    if known_of:
        known = list(known_of.values())
        tensors["categories.columns"] = narrow(list(known_of))
        tensors["categories.counts"] = narrow([len(values) for values in known])
        tensors["categories.values"] = _exact(np.concatenate(known))
    if forest.by_category is not None:
        asked = np.unique(forest.feature[forest.by_category & (forest.left != LEAF)]).tolist()
        n_known = max((len(known_of[column]) for column in asked), default=0)
        tensors["by_category"] = forest.by_category.astype(np.uint8)
        # words beyond the last category are never read
        n_words = max(1, math.ceil(n_known / _WORD))
        tensors["left_categories"] = forest.left_categories[:, :n_words]
    header = {name: getattr(forest, name) for name in _FOREST if name != "kind"}
    if forest.accepts_sparse:  # older files lack the field, and mean True
        del header["accepts_sparse"]
    return header, tensors


def _unpack_forest(header: Header, tensors: Tensors, engine: str) -> Forest:
    header = check_fields({"accepts_sparse": True, **header}, _FOREST, "model")
    tree_starts = _starts(take(tensors, "tree_sizes", _NUMBERS))
    nodes = _unpack_nodes(tensors, len(tree_starts) - 1)
    options: dict[str, Any] = {name: header[name] for name in _FOREST if name != "kind"}
    options["base"] = take(tensors, "base", _FLOATS)
    if not np.isfinite(options["base"]).all():
        raise FileFormatError("tensor 'base' must be finite")
    options["groups"] = take(tensors, "groups", _NUMBERS).astype(np.int64)
    if "outputs" in tensors:
        options["outputs"] = take(tensors, "outputs", _NUMBERS).astype(np.int64)
    if "categories.columns" in tensors:
        options["categories"] = _unpack_categories(tensors)
    if "by_category" in tensors:  # one set per node, leaves included, so that none is invented here
        options["by_category"] = take(tensors, "by_category", ["uint8"])
        options["left_categories"] = take(tensors, "left_categories", ["uint32"], ndim=2)
    return Forest(**nodes, tree_starts=tree_starts, engine=engine, **options)


def _unpack_categories(tensors: Tensors) -> dict[int, np.ndarray]:
    columns = take(tensors, "categories.columns", _NUMBERS)
    counts = take(tensors, "categories.counts", _NUMBERS)
    values = take(tensors, "categories.values", _FLOATS).astype(np.float64)
    starts = _starts(counts)
    check_length(counts, len(columns), "categories.counts", "per column")
    check_length(values, int(starts[-1]), "categories.values", "per category")
    if (columns[1:] <= columns[:-1]).any():
        raise FileFormatError("tensor 'categories.columns' must grow")
    return dict(zip(columns.tolist(), np.split(values, starts[1:-1]), strict=True))


# -- which is which ------------------------------------------------------------------------------


class _Kind(NamedTuple):
    type: type
    pack: Callable[[Any, str], tuple[Header, Tensors]]
    unpack: Callable[[Header, Tensors, str], Any]


# A file names its kind; only these names mean anything.
_KINDS = {
    "network": _Kind(Network, _pack_network, _unpack_network),
    "tree": _Kind(Tree, _pack_tree, _unpack_tree),
    "forest": _Kind(Forest, _pack_forest, _unpack_forest),
}
_NAMES = {kind.type: name for name, kind in _KINDS.items()}


def pack(model: Any, dtype: str = "float32") -> tuple[Header, Tensors]:
    """Return a model as a header and tensors.

    Parameters
    ----------
    model : Network, Tree or Forest
        The model.
    dtype : {"float32", "float16"}, default="float32"
        Of the weights of a network. Trees are kept to the bit, so they take "float32" alone.

    Returns
    -------
    header : dict
        Values that JSON can hold.
    tensors : dict of str to ndarray
        Vectors and matrices by name.

    Raises
    ------
    TypeError
        For another model.

    Examples
    --------
    >>> layer = Layer(csr_array(np.float32([[0, 2], [0, 0]])), np.float32([1, 1]), "relu")
    >>> header, tensors = pack(Network([layer]))
    >>> header["kind"], header["layers"][0]["activation"], tensors["0.counts"]
    ('network', 'relu', array([1, 0], dtype=uint16))
    >>> unpack(header, tensors)
    Network(2 -> 2, engine=...)
    """
    if type(model) not in _NAMES:
        raise TypeError(
            f"only models of the engine can be saved, Network, Tree and Forest, but this is a "
            f"{type(model).__name__}"
        )
    if dtype not in _WEIGHTS or (dtype == "float16" and not isinstance(model, Network)):
        raise ValueError(
            f"dtype must be 'float32', or 'float16' for the weights of a network, but it is "
            f"{dtype!r} for a {type(model).__name__}."
        )
    name = _NAMES[type(model)]
    header, tensors = _KINDS[name].pack(model, dtype)
    return {"kind": name, **header}, tensors


def unpack(header: Any, tensors: Tensors, engine: str = "auto") -> Network | Tree | Forest:
    """Return the model of a header and tensors, having checked both.

    Parameters
    ----------
    header : object
        As `pack` makes it.
    tensors : dict of str to ndarray
        Those that the model takes are removed.
    engine : {"auto", "native", "scipy"}, default="auto"
        As for `Network`.

    Returns
    -------
    Network, Tree or Forest
        The model.

    Raises
    ------
    ValueError
        Where they are not what `pack` makes.
    """
    kind = kind_of(header, tuple(_KINDS), "model")
    return _KINDS[kind].unpack(header, tensors, engine)
