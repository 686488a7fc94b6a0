"""Methods that learn what to remove, on MNIST: errors, sizes, time of an epoch, time of a row.

LeNet-300-100 (784-300-100-10), trained by SGD with Nesterov momentum at 0.1, which falls to 0 in
the second half, weight decay 5e-4, batches of 100. Four parts:

    python benchmarks/learned_sparsity.py errors  [--seeds 3] [--epochs 50]
    python benchmarks/learned_sparsity.py targets [--epochs 3]
    python benchmarks/learned_sparsity.py epochs
    python benchmarks/learned_sparsity.py rows    [--epochs 10]

MNIST is read from mnist.npz in the folder that SKPRUNE_DATA names, by default ../shared/data.

`errors` sets each method's final error (of the last epoch, not the best) beside its paper's;
`targets` asks each for five sparsities and counts what came out; `epochs` times one epoch of each
beside the plain net's, in turn, on processor time; `rows` times single rows and batches on the
engine: pruned units beside as many single weights, and beside the dense net. --only takes some of
the methods, --json appends the results to a file, a line each.
"""

import os

# Before numpy starts its pools.
os.environ.update(
    dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
)

import argparse
import json
from functools import partial
from math import cos, pi
from pathlib import Path
from time import process_time

import numpy as np
import torch
from skorch.callbacks import LRScheduler

from skprune import (
    BayesianGroupPruner,
    L0Pruner,
    MagnitudePruner,
    MLPNetClassifier,
    SoftThresholdPruner,
    VariationalDropoutPruner,
)

N_WEIGHTS = 784 * 300 + 300 * 100 + 100 * 10


def weights_of(*units: int) -> int:
    """Count the weights of a smaller LeNet, told by the units that its layers read."""
    return sum(a * b for a, b in zip(units, [*units[1:], 10], strict=True))


# A price a layer, as for the paper's 266-88-33: closing an input takes few weights off a small net,
# closing a hidden unit takes those along that make it.
LAM = {"layers.hidden0": 0.09, "layers.hidden1": 1.6, "layers.output": 3.0}
# what the papers report: error in percent, and how much is left
METHODS = {
    "L0, price": (
        L0Pruner, {"lam": LAM}, "1.8 at 266-88-33", weights_of(266, 88, 33), 1.8,
    ),
    "L0, constrained": (
        L0Pruner, {"sparsity": 1 - 0.076}, "2.19 at 7.6%", round(0.076 * N_WEIGHTS), 2.2,
    ),
    "variational dropout": (
        VariationalDropoutPruner, {"sparsity": 1 - 1 / 61}, "1.92 at 68x", N_WEIGHTS // 60, 2.0,
    ),
    "Bayesian groups": (
        BayesianGroupPruner,
        {"sparsity": 1 - weights_of(278, 98, 13) / N_WEIGHTS, "warmup_epochs": (0, 120)},
        "1.8 at 278-98-13", weights_of(278, 98, 13), 1.9,
    ),
    "soft thresholds": (SoftThresholdPruner, {"sparsity": 0.98}, "none for this net", None, None),
}  # fmt: skip
RECOVERY = 0.5  # of the epochs: what is left trains on, at a falling rate
# the divergences of Bayesian groups count for an eighth when the gates are folded
EPOCHS = {"Bayesian groups": 30}
TARGETS = (0.5, 0.8, 0.9, 0.95, 0.98)
GATES = {
    "L0, units": (L0Pruner, {}),
    "L0, weights": (L0Pruner, {"groups": "weights"}),
    "variational dropout": (VariationalDropoutPruner, {}),
    "soft thresholds": (SoftThresholdPruner, {}),
    "Bayesian groups": (BayesianGroupPruner, {}),
}


def net(max_epochs: int, seed: int = 0) -> MLPNetClassifier:
    decay = LRScheduler(torch.optim.lr_scheduler.LambdaLR, lr_lambda=partial(_rate, max_epochs))
    return MLPNetClassifier(
        (300, 100),
        max_epochs=max_epochs,
        batch_size=100,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        optimizer__nesterov=True,
        optimizer__weight_decay=5e-4,
        lr=0.1,
        random_state=seed,
        callbacks=[("decay", decay)],
    )


def _rate(max_epochs: int, epoch: int) -> float:
    """Hold the rate for half of the epochs, then let it fall to 0 as a cosine does."""
    return 0.5 * (1 + cos(pi * max(0.0, 2 * epoch / max_epochs - 1)))


def size_of(pruner) -> tuple[int, str]:
    """Count the weights that are left, and the units that any of them reads."""
    weights = list(pruner.sparse_weights_.values())
    left = sum(w.nnz for w in weights)
    return left, "-".join(str(len(np.unique(w.indices))) for w in weights)


def errors(data, args) -> None:
    X, y, X_test, y_test = data
    for name in chosen(METHODS, args):
        n_epochs = args.epochs or EPOCHS.get(name, 50)
        kind, parameters, paper, most_weights, most_error = METHODS[name]
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            pruner = kind(net(n_epochs, seed), recovery_fraction=RECOVERY, **parameters)
            pruner.fit(X, y)
            left, units = size_of(pruner)
            tell(
                args, part="errors", method=name, seed=seed, epochs=n_epochs, paper=paper,
                error=round(100 * (1 - pruner.score(X_test, y_test)), 2), most_error=most_error,
                weights=left, most_weights=most_weights, units=units,
                compression=round(N_WEIGHTS / left, 1),
            )  # fmt: skip


def targets(data, args) -> None:
    X, y, X_test, y_test = data
    for name in chosen(GATES, args):
        kind, parameters = GATES[name]
        for sparsity in TARGETS:
            pruner = kind(net(args.epochs), sparsity=sparsity, **parameters).fit(X, y)
            tell(
                args, part="targets", method=name, target=sparsity, epochs=args.epochs,
                reached=round(pruner.sparsity_, 5),
                error=round(100 * (1 - pruner.score(X_test, y_test)), 2),
            )  # fmt: skip


def epochs(data, args) -> None:
    X, y = data[0][:12_000], data[1][:12_000]

    def trained(kind, parameters) -> None:
        if kind is None:
            net(1).fit(X, y)
        else:
            kind(net(1), sparsity=0.9, recovery_fraction=0.0, **parameters).fit(X, y)

    contenders = {"plain": (None, {}), **GATES}
    seconds = {name: [] for name in contenders}
    for _ in range(9):
        for name, contender in contenders.items():
            start = process_time()
            trained(*contender)
            seconds[name].append(process_time() - start)
    for name in GATES:
        ratio = np.array(seconds[name]) / np.array(seconds["plain"])
        low, middle, high = np.percentile(ratio, [10, 50, 90]).round(2)
        tell(args, part="epochs", method=name, times_plain=middle, p10=low, p90=high)


def rows(data, args) -> None:
    X, y, X_test, _ = data
    # the equally sparse net without pruned units is the same size by magnitude
    by_unit = L0Pruner(net(args.epochs), sparsity=0.9).fit(X, y)
    by_weight = MagnitudePruner(
        net(args.epochs), sparsity=by_unit.sparsity_, schedule="cubic"
    ).fit(X, y)  # fmt: skip
    dense = MagnitudePruner(net(1), sparsity=0.0, finetune_epochs=0).fit(X[:1000], y[:1000])
    contenders = {"L0, units": by_unit, "single weights": by_weight, "dense": dense}
    for batch in (1, 16, 64, 1024):
        some = np.ascontiguousarray(X_test[:batch])
        calls = max(5, 4096 // batch)
        micros = {name: [] for name in contenders}
        for _ in range(31):
            for name, pruner in contenders.items():
                predict = pruner.sparse_estimator_.predict_proba
                start = process_time()
                for _ in range(calls):
                    predict(some)
                micros[name].append((process_time() - start) / calls / batch * 1e6)
        for name in contenders:
            ratio = np.array(micros[name]) / np.array(micros["L0, units"])
            tell(
                args, part="rows", method=name, batch=batch, units=size_of(contenders[name])[1],
                us_a_row=round(float(np.median(micros[name])), 3),
                times_units=round(float(np.median(ratio)), 2),
            )  # fmt: skip


def chosen(table, args) -> list[str]:
    return [name for name in table if not args.only or name in args.only]


def tell(args, **result) -> None:
    print("  ".join(f"{key}={value}" for key, value in result.items()), flush=True)
    if args.json:
        with args.json.open("a") as file:
            file.write(json.dumps(result) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("part", choices=["errors", "targets", "epochs", "rows"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--only", nargs="*", help="methods")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.epochs = args.epochs or {"targets": 3, "rows": 10}.get(args.part)
    torch.set_num_threads(1)
    folder = Path(os.environ.get("SKPRUNE_DATA", "../shared/data"))
    with np.load(folder / "mnist.npz") as file:
        X, X_test = (
            file[k].reshape(-1, 784).astype(np.float32) / 255 for k in ("x_train", "x_test")
        )
        data = X, file["y_train"], X_test, file["y_test"]
    globals()[args.part](data, args)


if __name__ == "__main__":
    main()
