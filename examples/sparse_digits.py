"""
Prune a net and a tree on digits, and predict on the sparse engine
===================================================================

A neural net and a decision tree in ordinary pipelines; a grid search over ``sparsity`` decides
how much of each to remove. The table at the end sets the sparse models beside the same models
unpruned: what they score, what they weigh and how fast they answer. All on one thread.
"""

import pickle
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import skprune
from skprune import CostComplexityPruner, MagnitudePruner, MLPNetClassifier, SparseClassifier

COLUMNS = ("model", "sparsity", "accuracy", "non-zeros", "bytes", "us/row, 1 row", "us/row, batch")


def search(pruner, grid, X, y):
    """Search the sparsity of a pruner behind a scaler; give the pruner that was refitted."""
    pipeline = make_pipeline(StandardScaler(), pruner)
    name = f"{pipeline.steps[-1][0]}__sparsity"
    found = GridSearchCV(pipeline, {name: grid}, cv=3, n_jobs=2).fit(X, y)
    print(f"{name}={found.best_params_[name]}: cross-validated accuracy {found.best_score_:.3f}")
    return found.best_estimator_[-1]


def microseconds_a_row(predictors, X, seconds=1.0):
    """Call each predictor in turn, again and again; give the median time of each."""
    times = [[] for _ in predictors]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 10:
        for predict, taken in zip(predictors, times, strict=True):
            start = time.perf_counter()
            predict(X)
            taken.append(time.perf_counter() - start)
    return [1e6 * np.median(taken[1:]) / len(X) for taken in times]


def bytes_of(model):
    """Tell how large the model is on disk: in skprune's own format, or as a pickle."""
    if not isinstance(model, SparseClassifier):
        return len(pickle.dumps(model))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.skprune"
        skprune.save(model, path)
        return path.stat().st_size


def table_rows(contenders, X, y):
    """Compare models: (name, what predicts, sparsity, non-zeros, what to store) of each."""
    predictors = [predict for _, predict, *_ in contenders]
    alone, batch = microseconds_a_row(predictors, X[:1]), microseconds_a_row(predictors, X)
    return [
        (
            name,
            f"{sparsity:.1%}",
            f"{np.mean(predict(X) == y):.3f}",
            f"{nonzeros}",
            f"{bytes_of(model)}",
            f"{alone[i]:.1f}",
            f"{batch[i]:.2f}",
        )
        for i, (name, predict, sparsity, nonzeros, model) in enumerate(contenders)
    ]


def net_contenders(pruner, dense):
    """Set the pruned net beside the dense one, which is run by skorch and by torch alone."""
    module = dense.module_.eval()

    def predict_by_torch(X):
        with torch.inference_mode():
            return dense.classes_[module(torch.from_numpy(X)).argmax(axis=1).numpy()]

    sparse, weights = pruner.sparse_estimator_, pruner.sparse_weights_.values()
    n_weights = sum(weight.shape[0] * weight.shape[1] for weight in weights)
    nonzeros = sum(weight.nnz for weight in weights)
    return [
        ("net, dense, skorch", dense.predict, 0.0, n_weights, module),
        ("net, dense, torch", predict_by_torch, 0.0, n_weights, module),
        ("net, sparse, skprune", sparse.predict, pruner.sparsity_, nonzeros, sparse),
    ]


def tree_contenders(pruner, full):
    """Set the pruned tree beside the full one."""
    sparse, splits = pruner.sparse_estimator_, pruner.sparse_weights_["A"].nnz
    return [
        ("tree, full, scikit-learn", full.predict, 0.0, full.get_n_leaves() - 1, full),
        ("tree, pruned, skprune", sparse.predict, pruner.sparsity_, splits, sparse),
    ]


def print_table(rows):
    """Print rows under the columns, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    for name, *numbers in [COLUMNS, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
        print("  ".join([name.ljust(widths[0]), *cells]))


def main():
    """Search, refit, compare."""
    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X.astype(np.float32), y, test_size=0.2, stratify=y, random_state=0
    )

    net = MLPNetClassifier(hidden_layer_sizes=(300, 100), max_epochs=20, random_state=0)
    net_pruner = MagnitudePruner(net, schedule="cubic", random_state=0)
    net_pruner = search(net_pruner, [0.8, 0.9, 0.95], X_train, y_train)
    tree = DecisionTreeClassifier(random_state=0)
    tree_pruner = search(CostComplexityPruner(tree), [0.25, 0.5, 0.75], X_train, y_train)
    print(f"\n{net_pruner.sparse_estimator_.explain()}\n")

    # The dense models see the same scaled rows, and the net trains for as many epochs.
    scaler = StandardScaler().fit(X_train)
    X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    contenders = (
        net_contenders(net_pruner, clone(net).fit(X_train, y_train)),
        tree_contenders(tree_pruner, clone(tree).fit(X_train, y_train)),
    )
    print_table([row for group in contenders for row in table_rows(group, X_test, y_test)])
    print(
        f"\naccuracy: on {len(X_test)} test rows. non-zeros: weights of the net's layers, splits "
        "of the tree.\nbytes: of the pickled torch module, scikit-learn tree or sparse "
        f"estimator.\nus/row: microseconds of predict, median, one row and {len(X_test)} rows a "
        "call, one thread."
    )


if __name__ == "__main__":
    main()
