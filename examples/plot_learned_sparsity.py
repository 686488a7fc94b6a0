"""
Which pixels does a net need?
=============================

:class:`~skprune.L0Pruner` gives every unit of a net a gate, and learns while the net trains which
of them to close. A closed gate of the first layer is a pixel that the net does not look at. Here a
net for digits must do with a fifth of its weights; the figure shows which gates closed when.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skprune import L0Pruner, MLPNetClassifier, PruningHistoryDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.4, stratify=y, random_state=0
)
net = MLPNetClassifier((64,), lr=0.005, batch_size=64, max_epochs=60)
dense = L0Pruner(net, sparsity=0, random_state=0).fit(X_train, y_train)
pruner = L0Pruner(net, sparsity=0.8, random_state=0).fit(X_train, y_train)

# %%
# What is left
# ------------
# Pixels and hidden units go together with their weights: a layer of 64 pixels and 64 units becomes
# one of fewer pixels and fewer units. The pixels that never hold ink, at the border of the images,
# cost the net nothing, so it can close their gates for free.

first, last = pruner.sparse_weights_.values()
pixels = np.unique(first.indices)
print(f"test accuracy: dense {dense.score(X_test, y_test):.3f}, ", end="")
print(f"pruned {pruner.score(X_test, y_test):.3f} at sparsity {pruner.sparsity_:.3f}")
print(f"{len(pixels)} of 64 pixels and {len(np.unique(last.indices))} of 64 hidden units are left")
blank = np.flatnonzero(X_train.max(axis=0) == 0)
print(f"of {len(blank)} pixels without ink, {np.isin(blank, pixels).sum()} are left")

# %%
# Which gates closed when
# -----------------------
# The gates are folded into the weights after four fifths of the epochs, and what is left trains on.
# Until then the dual variable, the price of a weight, rises as long as the expected sparsity is
# below what was asked for, and starts again from zero when it is not. A gate counts as closed from
# the epoch on from which it is more likely closed than open. The pixels at both sides go first;
# what
# is missing from the sparsity at the fold is taken from the gates that are nearest to closed.

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4), layout="constrained")
PruningHistoryDisplay.from_estimator(pruner, ax=left)
gates = PruningHistoryDisplay.from_estimator(pruner, kind="gates", ax=middle)
image = right.imshow(gates.closed_.reshape(8, 8), cmap="viridis_r")
right.set(title="white: not closed before the fold", xticks=[], yticks=[])
figure.colorbar(image, ax=right, label="epoch in which the pixel closed")
plt.show()
