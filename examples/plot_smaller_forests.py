"""
How small can a forest get?
===========================

A forest can lose its splits in two ways. :class:`~skprune.CostComplexityPruner` takes those that
are worth least in their tree, over all trees at one price. :class:`~skprune.ForestPruner` looks at
the forest as a whole: it fits the values of all leaves together, so that trees make up for what is
gone. Both are set against the full forest here, on digits.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split

from skprune import CostComplexityPruner, ForestPruner

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
forest = RandomForestClassifier(n_estimators=50, random_state=0)
full = forest.fit(X_train, y_train).score(X_test, y_test)

# %%
# Prune at several sparsities
# ---------------------------
# The sparsity is the fraction of the splits that go. A path serves all of them: the forest is grown
# once for the first pruner. The second refits the leaves each time.

sparsities = [0.3, 0.5, 0.7, 0.8, 0.9, 0.95]
pruners = {
    "cost complexity": CostComplexityPruner(forest),
    "ForestPruner": ForestPruner(forest),
}
scores = {
    name: [
        fitted.score(X_test, y_test)
        for fitted in pruner.path(X_train, y_train, sparsities, param_name="sparsity")
    ]
    for name, pruner in pruners.items()
}
print(f"full forest: {full:.3f}")
for name, accuracies in scores.items():
    print(f"{name}: " + "  ".join(f"{accuracy:.3f}" for accuracy in accuracies))

# %%
# The curves
# ----------

figure, axes = plt.subplots()
axes.axhline(full, color="grey", linestyle="--", label="full forest")
for name, accuracies in scores.items():
    axes.plot(sparsities, accuracies, marker="o", label=name)
axes.set(xlabel="sparsity", ylabel="accuracy on test rows", title="Digits, a forest of 50 trees")
axes.legend()
plt.show()
