"""Small data, a user's own net, and the settings that keep the suite quick and repeatable."""

import os
import warnings

import numpy as np
import pytest
import torch
from hypothesis import settings
from sklearn.datasets import load_diabetes, load_iris
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

os.environ.setdefault("MPLBACKEND", "Agg")  # plot_tree must not ask for a screen
torch.set_num_threads(1)  # on nets this small, threads only wait for each other
settings.register_profile("skprune", deadline=None)  # shared machines pause at random
settings.load_profile("skprune")


@pytest.fixture(autouse=True)
def seeded_torch():
    """Let nets without a random state of their own learn the same in every run."""
    torch.manual_seed(0)


# stands at the top of a script that must run where torch is not installed
FORBID_TORCH = """
import sys

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "skorch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Forbid())
"""


class UserModule(nn.Module):
    """What a user would write: sizes of its own, batch norm and dropout, logits out."""

    def __init__(self, n_in=4, n_hidden=12, n_out=3, dropout=0.2):
        super().__init__()
        self.fc1 = nn.Linear(n_in, n_hidden)
        self.norm = nn.BatchNorm1d(n_hidden)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(n_hidden, n_out)

    def forward(self, X):
        return self.fc2(self.dropout(torch.relu(self.norm(self.fc1(X)))))


def user_net(module=UserModule, **params):
    """Make a skorch net that knows nothing of this package, with momentum and weight decay."""
    defaults = {
        "criterion": nn.CrossEntropyLoss,
        "lr": 0.05,
        "max_epochs": 3,
        "batch_size": 32,
        "train_split": None,
        "verbose": 0,
    }
    if "optimizer" not in params:
        defaults |= {"optimizer__momentum": 0.9, "optimizer__weight_decay": 1e-3}
    return NeuralNetClassifier(module, **(defaults | params))


@pytest.fixture(scope="session")
def iris():
    """150 scaled rows of 4 features, float32; 3 classes, int64, in random order."""
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X = StandardScaler().fit_transform(X).astype(np.float32)[order]
    return X, y[order].astype(np.int64)


@pytest.fixture(scope="session")
def diabetes():
    """200 rows of 10 features, float32; a scaled target, float64."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X = StandardScaler().fit_transform(X).astype(np.float32)[:200]
    return X, ((y - y.mean()) / y.std())[:200]


@pytest.fixture
def warnings_are_errors():
    """Make every warning an error, those too that torch gives once a process."""
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    torch.set_warn_always(always)
