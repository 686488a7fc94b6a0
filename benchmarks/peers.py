"""What a user would run a pruned net on otherwise: one function a peer.

Each takes the layers of a net and a number of threads, and returns what makes a contender of a
batch of rows.
"""

import atexit
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import numpy as np
from nets import Layers
from scipy.sparse import csr_array
from timing import Contender, Elapsed, in_process

OnRows = Callable[[np.ndarray], Contender]
Peer = Callable[[Layers, int], OnRows]


def torch_dense(layers: Layers, threads: int) -> OnRows:
    import torch

    torch.set_num_threads(threads)
    modules: list[torch.nn.Module] = []
    for layer in layers:
        linear = torch.nn.Linear(*reversed(layer.weight.shape))
        linear.weight.data = torch.tensor(layer.weight.toarray())
        linear.bias.data = torch.tensor(layer.bias)
        modules += [linear] + [torch.nn.ReLU()] * (layer.activation == "relu")
    net = torch.nn.Sequential(*modules).eval()

    def on(X: np.ndarray) -> Contender:
        tensor = torch.from_numpy(X)

        def call() -> np.ndarray:
            with torch.inference_mode():
                return net(tensor).numpy()

        return in_process(call)

    return on


def torch_csr(layers: Layers, threads: int) -> OnRows:
    import warnings

    import torch

    torch.set_num_threads(threads)
    steps = []
    for layer in layers:
        w = layer.weight
        parts = (w.indptr.astype(np.int64), w.indices.astype(np.int64), np.array(w.data))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that its support of CSR is a beta version
            weight = torch.sparse_csr_tensor(*map(torch.from_numpy, parts), size=w.shape)
        bias = torch.tensor(layer.bias)[:, None]
        steps.append((weight, bias, layer.activation == "relu"))

    def on(X: np.ndarray) -> Contender:
        tensor = torch.from_numpy(X)

        def call() -> np.ndarray:
            with torch.inference_mode():
                h = tensor.T
                for weight, bias, relu in steps:
                    h = torch.sparse.mm(weight, h).add_(bias)
                    if relu:
                        h.relu_()
                return h.T.numpy()

        return in_process(call)

    return on


def scipy_csr(layers: Layers, threads: int) -> OnRows:
    """Have scipy multiply, which knows one thread only."""
    steps = [(lay.weight, lay.bias[:, None], lay.activation == "relu") for lay in layers]

    def on(X: np.ndarray) -> Contender:
        def call() -> np.ndarray:
            h = X.T
            for weight, bias, relu in steps:
                h = weight @ h
                h += bias
                if relu:
                    np.maximum(h, 0, out=h)
            return h.T

        return in_process(call)

    return on


def onnx_model(layers: Layers) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, here = [], [], "X"
    for i, layer in enumerate(layers):
        weights += [
            numpy_helper.from_array(layer.weight.toarray(), f"W{i}"),
            numpy_helper.from_array(np.array(layer.bias), f"b{i}"),
        ]
        nodes.append(helper.make_node("Gemm", [here, f"W{i}", f"b{i}"], [f"z{i}"], transB=1))
        here = f"z{i}"
        if layer.activation == "relu":
            nodes.append(helper.make_node("Relu", [here], [f"h{i}"]))
            here = f"h{i}"
    widths = ("X", layers[0].weight.shape[1]), (here, layers[-1].weight.shape[0])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
        for name, width in widths
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    # versions that DeepSparse reads, too
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def onnxruntime_dense(layers: Layers, threads: int) -> OnRows:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(
        onnx_model(layers), options, providers=["CPUExecutionProvider"]
    )
    return lambda X: in_process(lambda: session.run(None, {"X": X})[0])


def padded(layers: Layers, multiple: int = 8) -> Layers:
    """Return the layers with hidden units of zero weight added.

    In batches of up to 32 rows DeepSparse 1.8.0 answers wrongly where it has pruned a layer of 100
    units, here as well as in a bare net; padded, it takes the time it took, and answers rightly.
    """
    chain, extra_in = [], 0
    for i, layer in enumerate(layers):
        n_out = len(layer.bias)
        extra_out = -n_out % multiple if i < len(layers) - 1 else 0
        weight = np.pad(layer.weight.toarray(), ((0, extra_out), (0, extra_in)))
        bias = np.pad(layer.bias, (0, extra_out))
        chain.append(replace(layer, weight=csr_array(weight), bias=bias))
        extra_in = extra_out
    return tuple(chain)


def deepsparse(python: Path) -> tuple[Peer, str]:
    """Start DeepSparse in another interpreter; return the peer and its version.

    It holds one net and batch at a time: a new contender ends the one before.
    """
    folder = Path(mkdtemp(prefix="skprune-deepsparse-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    errors = (folder / "stderr.txt").open("w+")
    worker = subprocess.Popen(
        # without the PYTHONPATH of this interpreter, whose packages are not for that one
        [python, "-E", Path(__file__).with_name("deepsparse_worker.py")],
        env={**os.environ, "NM_DISABLE_ANALYTICS": "True"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None

    def reply() -> dict:
        line = worker.stdout.readline()
        if not line:
            errors.seek(0)
            said = errors.read().strip().splitlines() or ["without a word"]
            raise RuntimeError(f"the process of DeepSparse ended: {said[-1]}")
        return json.loads(line)

    def ask(**request: object) -> dict:
        print(json.dumps(request), file=worker.stdin, flush=True)
        return reply()

    def make(layers: Layers, threads: int) -> OnRows:
        model, rows, answers = (folder / name for name in ("net.onnx", "rows.npy", "answers.npy"))
        serialized = onnx_model(padded(layers))

        def on(X: np.ndarray) -> Contender:
            model.write_bytes(serialized)
            np.save(rows, X)
            ask(model=str(model), rows=str(rows), answers=str(answers), cores=threads)
            given = np.load(answers)
            return Contender(lambda: given, lambda n, warm: Elapsed(**ask(calls=n, warm=warm)))

        return on

    return make, reply()["version"]


PEERS: dict[str, Peer] = {
    "torch": torch_dense,
    "torch CSR": torch_csr,
    "scipy CSR": scipy_csr,
    "onnxruntime": onnxruntime_dense,
}
