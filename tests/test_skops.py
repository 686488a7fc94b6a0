"""skops: fitted pruners, searches, sparse estimators and compiled pipelines go there and back."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from skorch import NeuralNetClassifier
from torch import nn

import skprune
from skprune import (
    CostComplexityPruner,
    ErrorBasedPruner,
    ForestPruner,
    L0Pruner,
    MagnitudePruner,
    MinimumErrorPruner,
    MLPNetClassifier,
    PrunerCV,
    ReducedErrorPruner,
)

sio = pytest.importorskip("skops.io")

TREE = DecisionTreeClassifier(random_state=0)
FOREST = RandomForestClassifier(3, max_depth=4, random_state=0)
NET = MLPNetClassifier((4,), max_epochs=1, random_state=0)
PRUNERS = [
    CostComplexityPruner(TREE),
    CostComplexityPruner(FOREST),
    CostComplexityPruner(BaggingClassifier(TREE, 2, random_state=0)),
    CostComplexityPruner(GradientBoostingClassifier(n_estimators=2, random_state=0)),
    CostComplexityPruner(HistGradientBoostingClassifier(max_iter=2)),
    ReducedErrorPruner(TREE, random_state=0),
    ErrorBasedPruner(TREE),
    MinimumErrorPruner(TREE, merge_equal_leaves=True),
    ForestPruner(FOREST, sparsity=0.5),
    ForestPruner(FOREST, granularity="tree", n_estimators=2),
    MagnitudePruner(NET, sparsity=0.5, random_state=0),
    L0Pruner(NET, sparsity=0.2, random_state=0),
]
# what the user guide says must be trusted of a sparse estimator
TRUSTED = [
    "skprune.engine.forest.Forest",
    "skprune.engine.layers.Layer",
    "skprune.engine.network.Network",
    "skprune.engine.tree.Tree",
    "skprune.estimators.SparseClassifier",
    "skprune.estimators.SparseRegressor",
    "skprune.limits.Limits",
]


@pytest.fixture(scope="module")
def rows():
    X, y = load_iris(return_X_y=True, as_frame=True)
    return X, np.array(["setosa", "versicolor", "virginica"])[y]


def there_and_back(model, trusted=None):
    data = sio.dumps(model)
    if trusted is None:
        trusted = sio.get_untrusted_types(data=data)
    return sio.loads(data, trusted=trusted)


def names(pruner):
    inner = pruner.estimator
    return f"{type(pruner).__name__}-{type(inner).__name__}"


@pytest.mark.filterwarnings("ignore:sparsity=.* was asked for:UserWarning")  # tiny models
@pytest.mark.parametrize("pruner", PRUNERS, ids=names)
def test_a_pruner_comes_back(rows, pruner):
    X, y = rows
    pruner = pruner.fit(X, y)
    loaded = there_and_back(pruner)
    assert_array_equal(loaded.predict_proba(X), pruner.predict_proba(X))
    assert (loaded.transform(X) != pruner.transform(X)).sum() == 0
    assert loaded.feature_names_in_.tolist() == X.columns.tolist()
    estimator, again = pruner.estimator_, loaded.estimator_
    for one in (estimator, again):  # it reads numbers, as it was trained on them
        vars(one).pop("feature_names_in_")
    numbers = X.to_numpy(np.float32)
    assert_array_equal(again.predict(numbers), estimator.predict(numbers))
    weights = loaded.sparse_weights_
    for name, weight in pruner.sparse_weights_.items():
        assert_array_equal(weights[name].toarray(), weight.toarray())
    refitted = loaded.fit(X, y)
    assert_array_equal(refitted.predict(X), pruner.predict(X))


@pytest.mark.filterwarnings("ignore:sparsity=.* was asked for:UserWarning")  # tiny models
@pytest.mark.parametrize("pruner", PRUNERS, ids=names)
def test_a_sparse_estimator_comes_back(rows, pruner):
    X, y = rows
    sparse = pruner.fit(X, y).sparse_estimator_
    loaded = there_and_back(sparse, TRUSTED)
    assert_array_equal(loaded.predict_proba(X), sparse.predict_proba(X))
    assert loaded.explain() == sparse.explain()


@pytest.mark.parametrize("pruner", [PRUNERS[0], PRUNERS[4], PRUNERS[-2]], ids=names)
def test_a_compiled_pipeline_comes_back(rows, pruner):
    X, y = rows
    pipeline = make_pipeline(StandardScaler(), pruner).fit(X, y)
    compiled = skprune.compile(pipeline)
    loaded = there_and_back(compiled, TRUSTED)
    assert_array_equal(loaded.predict_proba(X), compiled.predict_proba(X))
    assert_array_equal(there_and_back(pipeline).predict_proba(X), pipeline.predict_proba(X))


@pytest.mark.parametrize("scoring", [None, "roc_auc_ovr"])
def test_a_search_comes_back(rows, scoring):
    X, y = rows
    search = PrunerCV(CostComplexityPruner(TREE), cv=2, scoring=scoring).fit(X, y)
    loaded = there_and_back(search)
    assert_array_equal(loaded.predict(X), search.predict(X))
    assert loaded.best_params_ == search.best_params_
    assert loaded.score(X, y) == search.score(X, y)


def test_categories_come_back():
    X = pd.DataFrame({"wood": pd.Categorical([3, 1, 3, 2] * 10), "n": range(40)})
    y = np.arange(40) % 4 < 2
    boosting = HistGradientBoostingClassifier(
        max_iter=2, min_samples_leaf=2, categorical_features="from_dtype"
    )
    pruner = CostComplexityPruner(boosting, sparsity=0).fit(X, y)
    loaded = there_and_back(pruner.sparse_estimator_)
    assert_array_equal(loaded.predict_proba(X), pruner.predict_proba(X))


class Odd(nn.Module):
    """A net that the engine lacks."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, X):
        return torch.sin(self.layer(X))


@pytest.mark.filterwarnings("ignore:.*torch:UserWarning")  # says who predicts
def test_a_net_that_torch_predicts_comes_back(rows):
    X, y = rows[0].to_numpy(np.float32), rows[1]
    net = NeuralNetClassifier(
        Odd, criterion=nn.CrossEntropyLoss, max_epochs=1, train_split=None, verbose=0
    )
    pruner = MagnitudePruner(net, sparsity=0.5, random_state=0).fit(X, y)
    assert not hasattr(pruner, "sparse_estimator_")
    assert_array_equal(there_and_back(pruner).predict_proba(X), pruner.predict_proba(X))


def test_what_a_changed_file_holds_is_checked(rows):
    """The state of a model is its arguments, so they are checked as those of a call are."""
    tree = CostComplexityPruner(TREE).fit(*rows).sparse_estimator_.model
    state = tree.__getstate__()
    state["left"] = state["left"] + 1000
    with pytest.raises(ValueError, match="left and right must"):
        type(tree).__new__(type(tree)).__setstate__(state)
