"""Trees on the rows of a CSR matrix, weighted counts of words, beside scikit-learn's.

python benchmarks/sparse_rows.py
"""

import argparse
import warnings

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.tree import DecisionTreeClassifier
from timing import in_process, in_turns, spread

from skprune import CostComplexityPruner

N_ROWS, N_WORDS = 5574, 8700  # as many as the messages and words of the SMS spam collection
MODELS = {
    "tree": DecisionTreeClassifier(random_state=0),
    "forest": RandomForestClassifier(100, random_state=0),
    "boosting": GradientBoostingClassifier(random_state=0),
}


def messages():
    """Draw short texts: about 13 different words each, one text in eight of the other kind.

    Words are as frequent as their rank says (Zipf), and a third of what the other kind says comes
    from words of its own.
    """
    rng = np.random.default_rng(0)
    chance = 1 / np.arange(1, N_WORDS + 1)
    chance /= chance.sum()
    y = (rng.random(N_ROWS) < 0.13).astype(int)
    row = np.repeat(np.arange(N_ROWS), rng.poisson(16, N_ROWS).clip(1))
    word = rng.choice(N_WORDS, len(row), p=chance)
    own = (y[row] == 1) & (rng.random(len(row)) < 1 / 3)
    word[own] = rng.permutation(N_WORDS)[word[own]]
    counts = csr_matrix((np.ones(len(row)), (row, word)), shape=(N_ROWS, N_WORDS))
    counts.sum_duplicates()
    return csr_matrix(TfidfTransformer().fit_transform(counts)), y


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each line")
    seconds = parser.parse_args().seconds
    warnings.filterwarnings("ignore", "sparsity=0.5 was asked for")  # one tree of few leaves
    X, y = messages()
    print(f"{X.shape[0]} rows, {X.shape[1]} columns, {X.nnz / len(y):.1f} entries a row\n")
    print("| model | pruned to | n | scikit-learn, us | skprune, us | times faster |")
    print("|---|---|---|---|---|---|")
    for name, model in MODELS.items():
        full = model.fit(X, y)
        for sparsity in (0.0, 0.5):
            pruned = CostComplexityPruner(FrozenEstimator(full), sparsity=sparsity).fit(X, y)
            if sparsity == 0:
                np.testing.assert_array_equal(pruned.predict(X), full.predict(X))
            for n in (1, 100, len(y)):
                rows = X[:n]
                calls = {
                    "theirs": in_process(lambda model=full, rows=rows: model.predict(rows)),
                    "ours": in_process(lambda model=pruned, rows=rows: model.predict(rows)),
                }
                times = in_turns(calls, seconds)
                taken = [f"{1e6 * np.median(times[who]):.1f}" for who in ("theirs", "ours")]
                ratio = spread(times["theirs"] / times["ours"])
                print(f"| {name} | {sparsity} | {n} | {taken[0]} | {taken[1]} | {ratio} |")


if __name__ == "__main__":
    main()
