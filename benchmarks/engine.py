"""Sparse predict beside torch, onnxruntime, scipy and scikit-learn: microseconds and ratios.

All contenders run in this process, one thread each, in turn, many times; a ratio is taken within a
turn, where both saw the same machine, and quoted with its spread. What is measured is processor
time: on an idle machine that is the time on the wall, on a shared one it leaves the others out.

    python benchmarks/engine.py [--net lenet|wide] [--quick] [--json results.json]
"""

import os

# Before numpy and torch start their pools.
os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
)

import argparse
import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from time import process_time as clock

import numpy as np
from scipy.sparse import csr_array

from skprune.engine import Layer, Network, Tree, isa
from skprune.engine.planning import table

NETS = {"lenet": (784, 300, 100, 10), "wide": (784, 1024, 1024, 10)}
SPARSITIES = (0.8, 0.9, 0.95, 0.98)
BATCHES = (1, 16, 64, 1024)
DATA = Path(os.environ.get("SKPRUNE_DATA", Path(__file__).parents[2] / "shared" / "data"))

Call = Callable[[], np.ndarray]


def rows_of_pixels(n: int) -> np.ndarray:
    """Return MNIST rows in [0, 1], or rows as sparse as those where MNIST is not to be had."""
    rng = np.random.default_rng(0)
    path = DATA / "mnist.npz"
    if path.exists():
        arrays = np.load(path)
        images = next(a for a in arrays.values() if a.ndim > 1 and a[0].size == 784)
        chosen = rng.choice(len(images), n, replace=False)
        return np.ascontiguousarray(images[chosen].reshape(n, 784) / 255, dtype=np.float32)
    print(f"{path} is missing: synthetic rows, half of them zeros, stand in for MNIST")
    pixels = rng.random((n, 784), dtype=np.float32)
    return np.where(rng.random((n, 784)) < 0.5, 0, pixels).astype(np.float32)


def random_network(widths: tuple[int, ...], sparsity: float) -> Network:
    """Return a net of random weights under uniform random masks, ReLU between its layers."""
    rng = np.random.default_rng(1)
    layers = []
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        weight = rng.normal(0, np.sqrt(2 / n_in / (1 - sparsity)), (n_out, n_in))
        weight[rng.random((n_out, n_in)) < sparsity] = 0
        bias = rng.normal(0, 0.1, n_out).astype(np.float32)
        last = i == len(widths) - 2
        matrix = csr_array(weight.astype(np.float32))
        layers.append(Layer(matrix, bias, "identity" if last else "relu", name=f"fc{i + 1}"))
    return Network(layers)


def torch_dense(network: Network) -> Callable[[np.ndarray], Call]:
    import torch

    torch.set_num_threads(1)
    modules: list[torch.nn.Module] = []
    for layer in network.layers:
        n_out, n_in = layer.weight.shape
        linear = torch.nn.Linear(n_in, n_out)
        linear.load_state_dict(
            {
                "weight": torch.tensor(layer.weight.toarray()),
                "bias": torch.tensor(layer.bias),
            }
        )
        modules += [linear] + [torch.nn.ReLU()] * (layer.activation == "relu")
    net = torch.nn.Sequential(*modules).eval()

    def on(X: np.ndarray) -> Call:
        tensor = torch.from_numpy(X)

        def call() -> np.ndarray:
            with torch.inference_mode():
                return net(tensor).numpy()

        return call

    return on


def onnxruntime_dense(network: Network) -> Callable[[np.ndarray], Call]:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, here = [], [], "X"
    for i, layer in enumerate(network.layers):
        weights += [
            numpy_helper.from_array(layer.weight.toarray(), f"W{i}"),
            numpy_helper.from_array(np.array(layer.bias), f"b{i}"),
        ]
        nodes.append(helper.make_node("Gemm", [here, f"W{i}", f"b{i}"], [f"z{i}"], transB=1))
        here = f"z{i}"
        if layer.activation == "relu":
            nodes.append(helper.make_node("Relu", [here], [f"h{i}"]))
            here = f"h{i}"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
        for name, width in (("X", network.n_features_in), (here, network.n_outputs))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda X: lambda: session.run(None, {"X": X})[0]


def scipy_csr(network: Network) -> Callable[[np.ndarray], Call]:
    steps = [(lay.weight, lay.bias[:, None], lay.activation == "relu") for lay in network.layers]

    def on(X: np.ndarray) -> Call:
        def call() -> np.ndarray:
            h = X.T
            for weight, bias, relu in steps:
                h = weight @ h
                h += bias
                if relu:
                    np.maximum(h, 0, out=h)
            return h.T

        return call

    return on


PEERS = {"torch": torch_dense, "onnxruntime": onnxruntime_dense, "scipy CSR": scipy_csr}


def time_in_turn(calls: dict[str, Call], seconds: float) -> dict[str, np.ndarray]:
    """Return microseconds a call, one entry a turn, for each contender."""
    repeats = {}
    for name, call in calls.items():
        call()
        start = clock()
        call()
        # Enough calls a turn to drown the clock, few enough to switch often.
        repeats[name] = max(1, round(3e-4 / max(clock() - start, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = perf_counter() + seconds
    while perf_counter() < end or len(times[name]) < 7:
        for name, call in calls.items():
            n = repeats[name]
            start = clock()
            for _ in range(n):
                call()
            times[name].append((clock() - start) / n * 1e6)
    return {name: np.array(t) for name, t in times.items()}


def measure(calls: dict[str, Call], seconds: float, tolerance: float) -> dict[str, object]:
    """Time contenders that agree; the first is ours."""
    ours, *peers = calls
    expected = calls[ours]()
    for peer in peers:
        np.testing.assert_allclose(calls[peer](), expected, rtol=tolerance, atol=tolerance)
    times = time_in_turn(calls, seconds)
    result: dict[str, object] = {
        "microseconds": {name: round(float(np.median(t)), 3) for name, t in times.items()}
    }
    result["ratio"] = {
        peer: [round(float(q), 3) for q in np.quantile(times[peer] / times[ours], [0.5, 0.1, 0.9])]
        for peer in peers
    }
    return result


def report(title: str, label: str, results: dict[str, dict]) -> None:
    first = next(iter(results.values()))
    names, peers = list(first["microseconds"]), list(first["ratio"])
    rows = [[label, *(f"{n} us" for n in names), *(f"{p} / skprune" for p in peers)]]
    for key, result in results.items():
        times = [f"{result['microseconds'][name]:.1f}" for name in names]
        ratios = ["{:6.2f} ({:.2f}-{:.2f})".format(*result["ratio"][peer]) for peer in peers]
        rows.append([key, *times, *ratios])
    print(f"\n{title}\n\n{table(rows)}")


def available_peers() -> dict[str, Callable]:
    found = {}
    probe = random_network((4, 3, 2), 0.5)
    for name, make in PEERS.items():
        try:
            make(probe)
            found[name] = make
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


def bench_net(name: str, seconds: float) -> dict[str, dict]:
    X = rows_of_pixels(max(BATCHES))
    peers = available_peers()
    results = {}
    for sparsity in SPARSITIES:
        network = random_network(NETS[name], sparsity)
        made = {peer: make(network) for peer, make in peers.items()}
        for batch in BATCHES:
            rows = np.ascontiguousarray(X[:batch])
            calls: dict[str, Call] = {"skprune": lambda n=network, r=rows: n.predict(r)}
            calls |= {peer: on(rows) for peer, on in made.items()}
            results[f"{sparsity:.0%}, {batch}"] = measure(calls, seconds, 1e-3)
    widths = "-".join(map(str, NETS[name]))
    report(f"Net {widths}; ratio: median (10%-90%)", "sparsity, batch", results)
    return results


def bench_tree(seconds: float) -> dict[str, dict]:
    try:
        from sklearn.tree import DecisionTreeClassifier
    except ImportError as error:
        print(f"scikit-learn is left out: {error}")
        return {}
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 20)).astype(np.float32)
    y = (X[:, :4].sum(axis=1) + rng.normal(size=len(X)) > 0).astype(int)
    results = {}
    for depth in (8, None):
        model = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(X[:10_000], y[:10_000])
        t = model.tree_
        tree = Tree(
            t.feature,
            t.threshold,
            t.children_left,
            t.children_right,
            t.value[:, 0],
            t.missing_go_to_left,
            20,
        )
        for batch in (1, 10_000):
            rows = np.ascontiguousarray(X[-batch:])
            calls: dict[str, Call] = {
                "skprune": lambda t=tree, r=rows: t.predict(r),
                "scikit-learn": lambda m=model, r=rows: m.predict_proba(r),
            }
            key = f"depth {model.get_depth()} ({tree.n_nodes} nodes), {batch}"
            results[key] = measure(calls, seconds, 0)
    report("DecisionTreeClassifier.predict_proba, 20 features", "tree, batch", results)
    return results


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    found = {}
    for package in ("skprune", "numpy", "scipy", "torch", "onnxruntime", "scikit-learn"):
        try:
            found[package] = version(package)
        except ImportError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", choices=NETS, default="lenet")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, more noise")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    seconds = 0.2 if options.quick else 2.0
    machine = {"cpu": cpu_model(), "isa": isa(), "threads": 1, "versions": versions()}
    print(f"{machine['cpu']}, {isa()}, one thread; {machine['versions']}")
    results = {
        "machine": machine,
        options.net: bench_net(options.net, seconds),
        "tree": bench_tree(seconds),
    }
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
