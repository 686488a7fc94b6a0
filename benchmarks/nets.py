"""The nets that the benchmark of the engine runs, and the rows that they get."""

import os
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from skprune.engine import Layer, Network

WIDTHS = {"lenet": (784, 300, 100, 10), "wide": (784, 1024, 1024, 10)}
DATA = Path(os.environ.get("SKPRUNE_DATA", Path(__file__).parents[2] / "shared" / "data"))
DENSE_EPOCHS, FINETUNE_EPOCHS = 3, 2

Layers = tuple[Layer, ...]


@cache
def mnist() -> dict[str, np.ndarray]:
    """Return MNIST in [0, 1], or rows as sparse that a random net labels, where it is not there."""
    path = DATA / "mnist.npz"
    if path.exists():
        with np.load(path) as file:
            images = {
                part: (file[f"x_{part}"].reshape(-1, 784) / 255).astype(np.float32)
                for part in ("train", "test")
            }
            return images | {f"{part} labels": file[f"y_{part}"] for part in images}
    print(f"{path} is missing: synthetic rows, half of them zeros, stand in for MNIST")
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(784, 10)).astype(np.float32)
    data = {}
    for part, n in (("train", 20_000), ("test", 2_000)):
        data[part] = rng.random((n, 784), dtype=np.float32) * (rng.random((n, 784)) < 0.5)
        data[f"{part} labels"] = ((data[part] - data[part].mean(axis=0)) @ teacher).argmax(axis=1)
    return data


def rows_of_pixels(n: int) -> np.ndarray:
    """Return rows that no net was trained on, in an order of their own."""
    images = mnist()["test"]
    return images[np.random.default_rng(0).choice(len(images), n, replace=False)]


def chained(weights: list[np.ndarray], biases: list[np.ndarray]) -> Layers:
    """Return layers with ReLU between them, and nothing behind the last."""
    activations = ["relu"] * (len(weights) - 1) + ["identity"]
    return Network(
        [
            Layer(csr_array(weight), bias, activation, name=f"fc{i + 1}")
            for i, (weight, bias, activation) in enumerate(
                zip(weights, biases, activations, strict=True)
            )
        ]
    ).layers


def random_net(widths: tuple[int, ...], sparsity: float) -> Layers:
    """Return random weights under uniform random masks."""
    rng = np.random.default_rng(1)
    weights, biases = [], []
    for n_in, n_out in pairwise(widths):
        weight = rng.normal(0, np.sqrt(2 / n_in / (1 - sparsity)), (n_out, n_in))
        weight[rng.random((n_out, n_in)) < sparsity] = 0
        weights.append(weight.astype(np.float32))
        biases.append(rng.normal(0, 0.1, n_out).astype(np.float32))
    return chained(weights, biases)


def pruned_nets(
    widths: tuple[int, ...], sparsities: list[float], folder: Path, n_rows: int | None
) -> dict[float, tuple[Layers, float]]:
    """Return nets that learned MNIST and lost their smallest weights, and their test accuracies.

    One dense net is trained; its smallest weights go wherever they stand, and what is left trains
    on. Nets are kept in ``folder`` for the next run.
    """
    n_rows = min(n_rows or len(mnist()["train"]), len(mnist()["train"]))
    name = "-".join(map(str, widths))
    files = {s: folder / f"{name}_{s:.0%}_{n_rows}_rows.npz" for s in sparsities}
    missing = [s for s, file in files.items() if not file.exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{name}: training, then pruning to {', '.join(f'{s:.0%}' for s in missing)}")
        for s, arrays in _train(widths, missing, n_rows).items():
            np.savez_compressed(files[s], **arrays)
    found = {}
    for s, file in files.items():
        with np.load(file) as arrays:
            n_layers = len(widths) - 1
            layers = chained(
                [arrays[f"weight{i}"] for i in range(n_layers)],
                [arrays[f"bias{i}"] for i in range(n_layers)],
            )
            found[s] = layers, float(arrays["accuracy"])
    return found


def _train(
    widths: tuple[int, ...], sparsities: list[float], n_rows: int
) -> dict[float, dict[str, np.ndarray]]:
    import torch
    from sklearn.frozen import FrozenEstimator

    from skprune import MagnitudePruner, MLPNetClassifier

    torch.set_num_threads(os.cpu_count() or 1)
    data = mnist()
    X, y = data["train"][:n_rows], data["train labels"][:n_rows]
    net = MLPNetClassifier(
        widths[1:-1], max_epochs=DENSE_EPOCHS, batch_size=128, lr=1e-3, random_state=0
    ).fit(X, y)
    trained = {}
    for sparsity in sparsities:
        pruner = MagnitudePruner(
            FrozenEstimator(net), sparsity=sparsity, finetune_epochs=FINETUNE_EPOCHS, random_state=0
        ).fit(X, y)
        linears = [m for m in pruner.estimator_.module_.modules() if hasattr(m, "weight")]
        arrays = {"accuracy": np.array(pruner.score(data["test"], data["test labels"]))}
        for i, linear in enumerate(linears):
            arrays[f"weight{i}"] = linear.weight.detach().numpy()
            arrays[f"bias{i}"] = linear.bias.detach().numpy()
        trained[sparsity] = arrays
    return trained
