"""What one call costs beside scikit-learn's: arrays, frames, names of columns, `sparse_estimator_`.

python benchmarks/calls.py
"""

import argparse
import warnings

import numpy as np
import pandas as pd
import polars as pl
from sklearn.datasets import load_breast_cancer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from timing import in_process, in_turns, spread

import skprune
from skprune import CostComplexityPruner, MagnitudePruner, MLPNetClassifier


def contenders():
    """Give what is timed: its name, scikit-learn's call, ours, and the rows."""
    frame, y = load_breast_cancer(return_X_y=True, as_frame=True)
    mixed = frame.assign(**{"mean area": frame["mean area"].astype(int)})
    X, other = frame.to_numpy(), pl.from_pandas(frame)

    def pair(train):
        ours = CostComplexityPruner(DecisionTreeClassifier(random_state=0), sparsity=0.3)
        return DecisionTreeClassifier(random_state=0).fit(train, y), ours.fit(train, y)

    plain, plain_pruner = pair(X)
    tree, pruner = pair(frame)
    polars_tree, polars_pruner = pair(other)
    net = MLPNetClassifier((16,), max_epochs=5, random_state=0).fit(frame, y)
    sparse_net = MagnitudePruner(FrozenEstimator(net), random_state=0).fit(frame, y)
    whole = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)).fit(frame, y)
    return [
        ("array", plain, plain_pruner, X),
        ("array, fitted to a frame", tree, pruner, X),
        ("pandas", tree, pruner, frame),
        ("pandas, floats and ints", tree, pruner, mixed),
        ("pandas, sparse estimator", tree, pruner.sparse_estimator_, frame),
        ("pandas, compiled pipeline", whole, skprune.compile(whole), frame),
        ("pandas, net", net, sparse_net, frame),
        ("polars", polars_tree, polars_pruner, other),
    ]


def lookup():
    """Time the access to `sparse_estimator_` of a pruner over a frozen model."""
    frame, y = load_breast_cancer(return_X_y=True, as_frame=True)
    frozen = FrozenEstimator(DecisionTreeClassifier(random_state=0).fit(frame, y))
    pruner = CostComplexityPruner(frozen, sparsity=0.3).fit(frame, y)
    calls = {"sparse_estimator_": in_process(lambda: pruner.sparse_estimator_)}
    return np.median(in_turns(calls, 0.5)["sparse_estimator_"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each line")
    seconds = parser.parse_args().seconds
    warnings.filterwarnings("ignore", "X does not have valid feature names")
    print("| rows | n | scikit-learn, us | skprune, us | times faster |\n|---|---|---|---|---|")
    for name, theirs, ours, X in contenders():
        for n in (1, 500):
            rows = X[:n]
            if isinstance(rows, pd.DataFrame):
                rows = rows.copy()
            calls = {
                "theirs": in_process(lambda model=theirs, rows=rows: model.predict(rows)),
                "ours": in_process(lambda model=ours, rows=rows: model.predict(rows)),
            }
            times = in_turns(calls, seconds)
            taken = [f"{1e6 * np.median(times[who]):.1f}" for who in ("theirs", "ours")]
            ratio = spread(times["theirs"] / times["ours"])
            print(f"| {name} | {n} | {taken[0]} | {taken[1]} | {ratio} |")
    print(f"\n`sparse_estimator_` of a pruner over a frozen tree: {1e6 * lookup():.2f} us")


if __name__ == "__main__":
    main()
