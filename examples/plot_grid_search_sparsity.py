"""
How much can go? Score against sparsity, for a net and a tree
==============================================================

Every pruner has the parameter ``sparsity``, so :class:`~sklearn.model_selection.GridSearchCV`
can say how much of a model to remove. Here it does so on digits, for a neural net and for a
decision tree, each the last step of an ordinary pipeline.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skprune import CostComplexityPruner, MagnitudePruner, MLPNetClassifier

torch.set_num_threads(1)  # the search already fills the cores
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)

# %%
# Two pipelines
# -------------
# The net loses weights while it trains, the smallest first; the tree loses the splits that are
# worth least for the leaves they cost. A sparsity of 0 removes nothing.

net = MLPNetClassifier(hidden_layer_sizes=(100,), max_epochs=20)
net_pipeline = make_pipeline(
    StandardScaler(), MagnitudePruner(net, schedule="cubic", random_state=0)
)
tree_pipeline = make_pipeline(
    StandardScaler(), CostComplexityPruner(DecisionTreeClassifier(random_state=0))
)

# %%
# Two searches
# ------------
# Rather than the best score, which the densest models tend to have by a hair, we ask for the
# sparsest model whose score is within one standard error of the best. That is what a function
# as ``refit`` is for.


def sparsest_within_one_se(results):
    """Choose a candidate from ``cv_results_``."""
    best = np.argmax(results["mean_test_score"])
    folds = [results[f"split{fold}_test_score"][best] for fold in range(5)]
    enough = results["mean_test_score"][best] - np.std(folds, ddof=1) / np.sqrt(5)
    # candidates stand in the order of the grid: sparser behind denser
    return int(np.flatnonzero(results["mean_test_score"] >= enough)[-1])


options = {"cv": 5, "n_jobs": 2, "refit": sparsest_within_one_se}
net_search = GridSearchCV(
    net_pipeline, {"magnitudepruner__sparsity": [0.0, 0.5, 0.8, 0.95]}, **options
).fit(X_train, y_train)
tree_search = GridSearchCV(
    tree_pipeline, {"costcomplexitypruner__sparsity": [0.0, 0.25, 0.5, 0.75, 0.9]}, **options
).fit(X_train, y_train)

for search in (net_search, tree_search):
    pruner = search.best_estimator_[-1]
    print(
        f"{type(pruner).__name__}: sparsity {pruner.sparsity_:.3f}, "
        f"test accuracy {search.score(X_test, y_test):.3f}"
    )

# %%
# One figure
# ----------
# Lines are means over the five folds, bands one standard deviation to either side; dotted lines
# stand at the sparsity that was chosen.

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for search, label in ((net_search, "net"), (tree_search, "tree")):
    results = search.cv_results_
    (parameter,) = search.best_params_
    sparsity = results[f"param_{parameter}"].astype(float)
    mean, spread = results["mean_test_score"], results["std_test_score"]
    (line,) = ax.plot(sparsity, mean, marker="o", label=label)
    ax.fill_between(sparsity, mean - spread, mean + spread, color=line.get_color(), alpha=0.2)
    ax.axvline(sparsity[search.best_index_], color=line.get_color(), linestyle=":")
ax.set(xlabel="sparsity: fraction removed", ylabel="cross-validated accuracy")
ax.set_xticks(np.linspace(0, 1, 6))
ax.legend()
plt.show()
