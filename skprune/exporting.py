"""`to_onnx`: sparse estimators as ONNX, for runtimes elsewhere.

Each activation and each link of the engine is a few nodes of a graph, in a table. ONNX has no
product with a sparse matrix that runtimes run, so weights are written dense.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skprune import __version__
from skprune.engine import Forest, Network, Tree
from skprune.engine.nodes import Nodes
from skprune.estimators import SparseClassifier, SparseRegressor
from skprune.saving import file_name, sparse_estimator_of

# The oldest version that has all operators used. Gelu is newer, so it is written out.
OPSET = 17
OPSET_ML = 3
IR_VERSION = 8

_LARGEST = 2**31 - 1  # bytes of a model: protobuf holds no more


def to_onnx(model: Any, path: str | os.PathLike[str] | None = None) -> Any:
    """Write a fitted model as an ONNX model.

    Parameters
    ----------
    model : SparseClassifier, SparseRegressor or fitted estimator
        What to export. Anything but a sparse estimator goes through :func:`compile`: a fitted
        pruner, a pipeline around one with all of its steps, or a search over either.
    path : str or os.PathLike, default=None
        Where to write it; None writes nothing.

    Returns
    -------
    onnx_model : onnx.ModelProto
        Its input is "X" of shape (n_rows, n_features), float32, or float64 for a forest that
        compares numbers as such. The outputs of a classifier are "label" and "probabilities", with
        "_0", "_1" and so on behind if there are several; that of a regressor is "variable", of
        shape (n_rows, n_outputs). Probabilities and targets are float32, and sums are rounded as
        the runtime that runs the model rounds them.

    Raises
    ------
    ImportError
        Where onnx is not installed; it comes with ``pip install skprune[onnx]``.
    TypeError
        If the model is none of these, or `path` names no file.
    OSError
        If the file cannot be written.
    TypeError or ValueError
        If a step of a pipeline cannot be folded; as in :func:`compile`, the message names it.
    ValueError
        If ONNX cannot say what the model does: splits by category, classes of a type that it
        lacks, or weights of more than 2 GB when they are written dense.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune import CostComplexityPruner, to_onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> pruner = CostComplexityPruner(DecisionTreeClassifier(random_state=0), sparsity=0.5)
    >>> onnx_model = to_onnx(pruner.fit(X, y))
    >>> [output.name for output in onnx_model.graph.output]
    ['label', 'probabilities']
    """
    name = None if path is None else file_name(path)
    onnx = _import_onnx()
    estimator = sparse_estimator_of(model, "exported")
    if type(estimator.model) not in _MODELS:
        raise TypeError(
            f"{type(estimator).__name__} cannot be exported: it runs a "
            f"{type(estimator.model).__name__}, which is no model of the engine."
        )
    if (by_category := estimator.model.categories) is not None:
        names = estimator.feature_names_in
        columns = [column if names is None else names[column] for column in by_category]
        raise ValueError(
            f"{type(estimator).__name__} cannot be exported: trees of ONNX compare numbers, and "
            f"columns {columns} hold categories. Use save, or encode the categories before the fit."
        )
    graph = _Graph(onnx)
    sums, answers = _MODELS[type(estimator.model)](graph, estimator.model)
    _ESTIMATORS[type(estimator)](graph, estimator, sums, answers)
    whole = _as_model(graph, estimator)
    if name is not None:
        with open(name, "wb") as file:
            file.write(whole.SerializeToString())
    return whole


def _import_onnx() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ImportError(
            "skprune.to_onnx needs onnx, which is not installed: pip install skprune[onnx]",
            name="onnx",
        ) from error
    return onnx


class _Graph:
    """The nodes, constants and outputs of a graph, as they are added."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.outputs: list[Any] = []

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add a constant and return its name."""
        name = f"constant_{len(self.constants)}"
        array = np.asarray(values, dtype=dtype)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output and return the name of the output."""
        name = f"{operator}_{len(self.nodes)}"
        node = self.onnx.helper.make_node(operator, inputs, [name], name=name, **attributes)
        self.nodes.append(node)
        return name

    def columns(self, matrix: str, first: int, end: int) -> str:
        """Return the name of a matrix of some neighbouring columns."""
        bounds = [self.constant([number], np.int64) for number in (first, end, 1)]
        return self.add("Slice", matrix, *bounds)

    def output(self, value: str, name: str, dtype: Any, shape: Sequence[Any]) -> None:
        """Make a value an output of the graph."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name], name=name))
        self.outputs.append(self.described(name, dtype, shape))

    def described(self, name: str, dtype: Any, shape: Sequence[Any]) -> Any:
        """Return the declaration of an input or output."""
        number = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.onnx.helper.make_tensor_value_info(name, number, shape)


def _as_model(graph: _Graph, estimator: Any) -> Any:
    helper = graph.onnx.helper
    dtype = estimator.model.dtype
    X = graph.described("X", dtype, ["n_rows", estimator.n_features_in_])
    whole = helper.make_model(
        helper.make_graph(graph.nodes, "skprune", [X], graph.outputs, graph.constants),
        producer_name="skprune",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[
            helper.make_opsetid("", OPSET),
            helper.make_opsetid("ai.onnx.ml", OPSET_ML),
        ],
    )
    if estimator.feature_names_in is not None:
        names = json.dumps(list(estimator.feature_names_in))
        helper.set_model_props(whole, {"feature_names": names})
    graph.onnx.checker.check_model(whole)
    return whole


# -- networks ------------------------------------------------------------------------------------


def _write_network(graph: _Graph, network: Network) -> tuple[str, str]:
    n_weights = sum(math.prod(layer.weight.shape) for layer in network.layers)
    if 4 * n_weights > _LARGEST:
        raise ValueError(
            f"the network cannot be exported: ONNX writes weights dense, and these {n_weights} "
            f"would take more than {_LARGEST} bytes."
        )
    h = "X"
    if network.fill is not None:
        h = graph.add("Where", graph.add("IsNaN", h), graph.constant(network.fill), h)
    for layer in network.layers:
        weight, bias = graph.constant(layer.weight.toarray()), graph.constant(layer.bias)
        z = graph.add("Gemm", h, weight, bias, transB=1)
        h = _ACTIVATIONS[layer.activation](graph, z, layer.alpha)
    return h, h


def _gelu(graph: _Graph, z: str, alpha: float) -> str:
    spread = graph.add("Erf", graph.add("Mul", z, graph.constant(math.sqrt(0.5))))
    return _half_of_one_plus(graph, z, spread)


def _gelu_tanh(graph: _Graph, z: str, alpha: float) -> str:
    cube = graph.add("Mul", graph.add("Mul", z, z), z)
    bent = graph.add("Add", z, graph.add("Mul", cube, graph.constant(0.044715)))
    scaled = graph.add("Mul", bent, graph.constant(math.sqrt(2 / math.pi)))
    return _half_of_one_plus(graph, z, graph.add("Tanh", scaled))


def _half_of_one_plus(graph: _Graph, z: str, spread: str) -> str:
    share = graph.add("Add", spread, graph.constant(1))
    return graph.add("Mul", graph.add("Mul", z, graph.constant(0.5)), share)


_ACTIVATIONS: dict[str, Callable[[_Graph, str, float], str]] = {
    "identity": lambda graph, z, alpha: z,
    "relu": lambda graph, z, alpha: graph.add("Relu", z),
    "leaky_relu": lambda graph, z, alpha: graph.add("LeakyRelu", z, alpha=alpha),
    "elu": lambda graph, z, alpha: graph.add("Elu", z, alpha=alpha),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "tanh": lambda graph, z, alpha: graph.add("Tanh", z),
    "sigmoid": lambda graph, z, alpha: graph.add("Sigmoid", z),
    "softmax": lambda graph, z, alpha: graph.add("Softmax", z, axis=1),
    "log_softmax": lambda graph, z, alpha: graph.add("LogSoftmax", z, axis=1),
}


# -- trees and forests ---------------------------------------------------------------------------


def _write_tree(graph: _Graph, tree: Tree) -> tuple[str, str]:
    sums = _write_nodes(graph, tree, tree.n_outputs)
    return sums, sums


def _write_forest(graph: _Graph, forest: Forest) -> tuple[str, str]:
    sums = _write_nodes(graph, forest, len(forest.base), forest.outputs)
    if forest.base.any():
        # onnxruntime ignores the attribute base_values for sums that no tree adds to
        sums = graph.add("Add", sums, graph.constant(_in_range(forest.base, np.float32)))
    if forest.divisor != 1.0:
        sums = graph.add("Div", sums, graph.constant(forest.divisor))
    return sums, _LINKS[forest.link](graph, sums, forest.groups)


def _write_nodes(
    graph: _Graph, nodes: Nodes, n_sums: int, outputs: np.ndarray | None = None
) -> str:
    """Add all trees as one node of the graph, which returns the sums of the values of leaves."""
    starts, dtype = nodes.tree_starts, np.dtype(nodes.dtype)
    tree_of = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    left, right = (
        np.where(children < 0, -1, children + starts[tree_of])
        for children in (nodes.left, nodes.right)
    )
    # ONNX would take a node that no root reaches for a root.
    kept = _reached(left, right, starts[:-1])
    number = np.cumsum(kept) - 1  # among all kept nodes; roots stay the first of their trees
    first = number[starts[:-1]]
    own, is_leaf = (number - first[tree_of])[kept], left[kept] < 0
    trees = tree_of[kept]
    n_values = nodes.value.shape[1]
    leaves = np.flatnonzero(is_leaf)
    targets = np.tile(np.arange(n_values), len(leaves))
    if outputs is not None:
        targets = outputs[trees[leaves]]

    def child(children: np.ndarray) -> list[int]:
        inside = np.where(is_leaf, 0, number[children[kept]] - first[trees])
        return inside.tolist()

    floats = {
        "nodes_values": _rounded_down(np.where(is_leaf, 0.0, nodes.threshold[kept]), dtype),
        "target_weights": _in_range(nodes.value[kept][leaves].ravel(), dtype),
    }
    return graph.add(
        "TreeEnsembleRegressor",
        "X",
        domain="ai.onnx.ml",
        aggregate_function="SUM",
        post_transform="NONE",
        n_targets=n_sums,
        nodes_treeids=trees.tolist(),
        nodes_nodeids=own.tolist(),
        nodes_featureids=np.where(is_leaf, 0, nodes.feature[kept]).tolist(),
        nodes_modes=np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=child(left),
        nodes_falsenodeids=child(right),
        nodes_missing_value_tracks_true=np.where(
            is_leaf, 0, nodes.missing_go_to_left[kept]
        ).tolist(),
        target_treeids=np.repeat(trees[leaves], n_values).tolist(),
        target_nodeids=np.repeat(own[leaves], n_values).tolist(),
        target_ids=targets.tolist(),
        **_as_attributes(graph, floats, dtype),
    )


def _reached(left: np.ndarray, right: np.ndarray, roots: np.ndarray) -> np.ndarray:
    reached = np.zeros(len(left), dtype=bool)
    level = roots
    while level.size:
        reached[level] = True
        splits = level[left[level] >= 0]
        level = np.concatenate([left[splits], right[splits]])
    return reached


def _rounded_down(thresholds: np.ndarray, dtype: Any) -> np.ndarray:
    """Round so that what a number of this dtype is compared to gives the same answer."""
    with np.errstate(over="ignore"):
        rounded = thresholds.astype(dtype)
    above = rounded > thresholds
    rounded[above] = np.nextafter(rounded[above], np.array(-np.inf, dtype=dtype))
    return rounded


def _in_range(values: np.ndarray, dtype: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    if np.isinf(rounded).any():
        raise ValueError(
            f"the trees cannot be exported: a leaf holds {values[np.isinf(rounded)][0]:g}, which "
            f"{np.dtype(dtype)} cannot."
        )
    return rounded


def _as_attributes(graph: _Graph, floats: dict[str, np.ndarray], dtype: Any) -> dict[str, Any]:
    """Return float32 numbers as attributes, and float64 as tensor attributes."""
    if dtype == np.float32:
        return {name: array.tolist() for name, array in floats.items()}
    as_tensor = graph.onnx.numpy_helper.from_array
    return {f"{name}_as_tensor": as_tensor(array, name) for name, array in floats.items()}


def _two(graph: _Graph, second: str) -> str:
    first = graph.add("Sub", graph.constant(1), second)
    return graph.add("Concat", first, second, axis=1)


def _clip(graph: _Graph, sums: str, groups: np.ndarray) -> str:
    clipped, parts = graph.add("Relu", sums), []
    for size, end in zip(groups.tolist(), np.cumsum(groups).tolist(), strict=True):
        part = graph.columns(clipped, end - size, end)
        total = graph.add("ReduceSum", part, graph.constant([1], np.int64), keepdims=1)
        nothing = graph.add("Equal", total, graph.constant(0))
        share = graph.add("Div", part, graph.add("Where", nothing, graph.constant(1), total))
        parts.append(graph.add("Where", nothing, graph.constant(1 / size), share))
    return graph.add("Concat", *parts, axis=1)


_LINKS: dict[str, Callable[[_Graph, str, np.ndarray], str]] = {
    "identity": lambda graph, sums, groups: sums,
    "exp": lambda graph, sums, groups: graph.add("Exp", sums),
    "sigmoid": lambda graph, sums, groups: _two(graph, graph.add("Sigmoid", sums)),
    "exponential": lambda graph, sums, groups: _two(
        graph, graph.add("Sigmoid", graph.add("Mul", sums, graph.constant(2)))
    ),
    "softmax": lambda graph, sums, groups: graph.add("Softmax", sums, axis=1),
    "clip": _clip,
}

_MODELS: dict[type, Callable[[_Graph, Any], tuple[str, str]]] = {
    Network: _write_network,
    Tree: _write_tree,
    Forest: _write_forest,
}


# -- labels and targets --------------------------------------------------------------------------

# numpy's kinds of dtypes -> the types that ONNX runtimes have
_LABELS = {"i": np.int64, "u": np.int64, "b": np.bool_, "f": np.float64, "U": object, "O": object}


def _write_classifier(graph: _Graph, estimator: Any, sums: str, answers: str) -> None:
    many = isinstance(estimator.classes, list) and isinstance(estimator.classes[0], np.ndarray)
    outputs = estimator.classes if many else [estimator.classes]
    first = 0
    for k, given in enumerate(outputs):
        classes, end = _labels(np.asarray(given)), first + len(given)
        suffix = f"_{k}" if many else ""
        proba = graph.columns(answers, first, end) if many else answers
        number = _number_of_class(graph, estimator, sums, proba)
        label = graph.add("Gather", graph.constant(classes, classes.dtype), number)
        graph.output(label, f"label{suffix}", classes.dtype, ["n_rows"])
        graph.output(proba, f"probabilities{suffix}", np.float32, ["n_rows", len(given)])
        first = end


def _number_of_class(graph: _Graph, estimator: Any, sums: str, proba: str) -> str:
    """Decide as `SparseClassifier.predict` does."""
    score, column, threshold = proba, 1, estimator.threshold
    if estimator.decision_threshold is not None:
        lone_sum = len(estimator.model.base) == 1
        score, column = sums, 0
        threshold = estimator.decision_threshold if lone_sum else None
    if threshold is None:
        return graph.add("ArgMax", score, axis=1, keepdims=0)
    second = graph.add("Gather", score, graph.constant(column, np.int64), axis=1)
    above = graph.add("Greater", second, graph.constant(threshold))
    return graph.add("Cast", above, to=graph.onnx.TensorProto.INT64)


def _labels(classes: np.ndarray) -> np.ndarray:
    dtype = _LABELS.get(classes.dtype.kind)
    if dtype is None or (dtype is object and not all(isinstance(c, str) for c in classes)):
        raise ValueError(
            f"the classifier cannot be exported: classes must be numbers, booleans or strings, but "
            f"their dtype is {classes.dtype}."
        )
    labels: np.ndarray = classes.astype(dtype)
    if (labels != classes).any():
        raise ValueError(
            f"the classifier cannot be exported: classes are written as {labels.dtype}, which "
            f"cannot hold {classes[labels != classes][0]!r}."
        )
    return labels


def _write_regressor(graph: _Graph, estimator: Any, sums: str, answers: str) -> None:
    n_outputs = estimator.model.n_outputs
    graph.output(answers, "variable", np.float32, ["n_rows", n_outputs])


_ESTIMATORS: dict[type, Callable[[_Graph, Any, str, str], None]] = {
    SparseClassifier: _write_classifier,
    SparseRegressor: _write_regressor,
}
