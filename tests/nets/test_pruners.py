"""MagnitudePruner: what its parameters mean, and that it is importable without torch."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNet
from torch import nn

from skprune import L0Pruner, MagnitudePruner, MLPNetClassifier, MLPNetRegressor, SaliencyPruner
from skprune.masks import Cubic, Iterative, OneShot
from tests.conftest import FORBID_TORCH, UserModule, user_net

QUICK = {"max_epochs": 4, "lr": 0.02, "batch_size": 50, "random_state": 0}


def mlp(**params):
    return MLPNetClassifier((10,), **(QUICK | params))


def weights(pruner):
    return np.concatenate([w.toarray().ravel() for w in pruner.sparse_weights_.values()])


def n_epochs(pruner):
    return len(pruner.pruning_history_)


def test_defaults_are_those_of_the_design():
    params = MagnitudePruner(None).get_params(deep=False)
    assert params["sparsity"] == 0.9
    assert params["schedule"] == "one_shot"
    assert params["allocation"] == "global"
    assert params["granularity"] == "weight"


@pytest.mark.parametrize(
    ("schedule", "finetune", "epochs"),
    [
        ("one_shot", None, 8),
        ("one_shot", 0, 4),
        ("one_shot", 1, 5),
        ("iterative", None, 8),
        ("iterative", 3, 7),
        ("cubic", None, 4),
        ("cubic", 2, 6),
    ],
)
@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_length_of_training(schedule, finetune, epochs, sparsity, iris):
    pruner = MagnitudePruner(
        mlp(), sparsity=sparsity, schedule=schedule, finetune_epochs=finetune
    ).fit(*iris)
    assert n_epochs(pruner) == len(pruner.estimator_.history) == epochs
    assert pruner.sparsity_ == sparsity


@pytest.mark.parametrize(
    ("name", "schedule"),
    [("one_shot", OneShot()), ("iterative", Iterative()), ("cubic", Cubic())],
)
def test_names_of_schedules_stand_for_their_defaults(name, schedule, iris):
    by_name = MagnitudePruner(mlp(), schedule=name).fit(*iris)
    by_object = MagnitudePruner(mlp(), schedule=schedule).fit(*iris)
    assert_array_equal(weights(by_name), weights(by_object))


@pytest.mark.parametrize(
    ("schedule", "curve"),
    [
        ("one_shot", [0.8, 0.8, 0.8, 0.8]),
        (Iterative(2), [1 - 0.2**0.5, 0.8, 0.8, 0.8]),
        (Cubic(end=1.0), (0.8 - 0.8 * (1 - np.arange(1, 5) / 4) ** 3).tolist()),
    ],
)
def test_frozen_net_runs_the_schedule_over_its_finetune_epochs(schedule, curve, iris):
    dense = MLPNetClassifier((100,), **QUICK).fit(*iris)
    pruner = MagnitudePruner(
        FrozenEstimator(dense), sparsity=0.8, schedule=schedule, finetune_epochs=4
    ).fit(*iris)
    reached = [epoch["sparsity"] for epoch in pruner.pruning_history_]
    assert_allclose(reached, curve, atol=1 / 700)


@pytest.mark.parametrize("schedule", ["one_shot", "iterative", "cubic"])
@pytest.mark.parametrize("finetune", [None, 0])
def test_frozen_net_that_is_not_trained_is_cut_to_the_target(schedule, finetune, iris):
    dense = mlp().fit(*iris)
    pruner = MagnitudePruner(
        FrozenEstimator(dense), sparsity=0.5, schedule=schedule, finetune_epochs=finetune
    ).fit(iris[0])
    trained = np.concatenate(
        [p.detach().numpy().ravel() for n, p in dense.module_.named_parameters() if "weight" in n]
    )
    threshold = np.sort(np.abs(trained))[35]  # of 70
    assert_array_equal(weights(pruner), np.where(np.abs(trained) >= threshold, trained, 0))
    assert pruner.estimator_.history == dense.history


@pytest.mark.parametrize("schedule", ["one_shot", "iterative", "cubic"])
def test_a_net_pruned_by_half_still_learns(schedule, iris):
    net = MLPNetClassifier((32,), lr=0.02, max_epochs=20, batch_size=16)
    pruner = MagnitudePruner(net, sparsity=0.5, schedule=schedule, random_state=0).fit(*iris)
    assert pruner.score(*iris) > 0.93


@pytest.mark.parametrize("allocation", ["global", "uniform"])
def test_allocations_differ_in_where_weights_go(allocation, iris):
    pruner = MagnitudePruner(
        mlp(), sparsity=0.5, allocation=allocation, finetune_epochs=0, random_state=3
    ).fit(*iris)
    kept = [w.nnz for w in pruner.sparse_weights_.values()]
    assert sum(kept) == 35
    assert (kept == [20, 15]) == (allocation == "uniform")


def test_predictions_agree_with_torch(iris, diabetes):
    for pruner, (X, y) in (
        (MagnitudePruner(mlp(batch_norm=True, dropout=0.1), sparsity=0.6), iris),
        (MagnitudePruner(user_net(), sparsity=0.6), iris),
    ):
        pruner.fit(X, y)
        assert_allclose(
            pruner.predict_proba(X), pruner.estimator_.predict_proba(X), rtol=0, atol=1e-5
        )
        assert_array_equal(pruner.predict(X), pruner.estimator_.predict(X))
    X, y = diabetes
    pruner = MagnitudePruner(MLPNetRegressor((10,), **QUICK), sparsity=0.6).fit(X, y)
    assert_allclose(pruner.predict(X), pruner.estimator_.predict(X), atol=1e-5)
    assert pruner.predict(X).shape == (200,)


def test_regressor_of_one_column_stays_a_column(diabetes):
    X, y = diabetes
    pruner = MagnitudePruner(MLPNetRegressor((10,), **QUICK), sparsity=0.6).fit(X, y[:, None])
    assert pruner.predict(X).shape == (200, 1)
    assert pruner.sparse_estimator_.predict(X[:1]).shape == (1, 1)


def test_transform_is_the_last_hidden_layer_after_its_activation(iris):
    X = iris[0]
    pruner = MagnitudePruner(mlp(), sparsity=0.5).fit(*iris)
    layers = pruner.estimator_.module_.layers
    with torch.no_grad():
        expected = torch.relu(layers.hidden0(torch.from_numpy(X))).numpy()
    assert_allclose(pruner.transform(X), expected, atol=1e-6)


def test_linear_model_has_its_input_as_representation(iris):
    pruner = MagnitudePruner(MLPNetClassifier((), **QUICK), sparsity=0.5).fit(*iris)
    assert_array_equal(pruner.transform(iris[0]), iris[0])
    assert len(pruner.get_feature_names_out()) == 4


def test_net_of_no_kind_is_predicted_as_it_predicts(iris):
    # skorch's plain NeuralNet is neither classifier nor regressor
    X, y = iris
    net = NeuralNet(
        UserModule,
        criterion=nn.CrossEntropyLoss,
        max_epochs=2,
        train_split=None,
        verbose=0,
    )
    pruner = MagnitudePruner(net, sparsity=0.5).fit(X, y)
    assert pruner.sparsity_ == 0.5
    assert not hasattr(pruner, "classes_")
    assert_allclose(pruner.predict(X), pruner.estimator_.predict(X), atol=1e-5)


def test_a_criterion_is_all_that_a_new_pruner_needs(iris):
    pruner = SaliencyPruner(
        mlp(), criterion=lambda w: -w.abs(), sparsity=0.5, finetune_epochs=0, random_state=0
    ).fit(*iris)
    largest = MagnitudePruner(mlp(), sparsity=0.5, finetune_epochs=0, random_state=0).fit(*iris)
    assert_array_equal(weights(pruner) == 0, weights(largest) != 0)


def test_compiled_module_is_pruned_where_it_is_wrapped(iris):
    class Wrapped(nn.Module):
        """What torch.compile makes of a module, without the minutes that it takes."""

        def __init__(self):
            super().__init__()
            self._orig_mod = UserModule()

        def forward(self, X):
            return self._orig_mod(X)

    pruner = MagnitudePruner(user_net(Wrapped), sparsity=0.5, random_state=0).fit(*iris)
    assert list(pruner.sparse_weights_) == ["fc1.weight", "fc2.weight"]
    assert_array_equal(pruner.predict(iris[0]), pruner.estimator_.predict(iris[0]))


def test_pruner_is_importable_and_clonable_without_torch():
    code = """
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from skprune import MagnitudePruner
print(clone(MagnitudePruner(LogisticRegression(), sparsity=0.5)).sparsity)
"""
    command = [sys.executable, "-c", FORBID_TORCH + code]
    assert subprocess.run(command, check=True, timeout=60, capture_output=True).stdout == b"0.5\n"


# --- parameters of fit --------------------------------------------------------------------


@pytest.mark.parametrize("make", [user_net, lambda **p: MLPNetClassifier((8,), **p)])
def test_fit_trains_for_the_epochs_that_it_is_told(make, iris):
    net = make(max_epochs=2)
    pruner = MagnitudePruner(net, sparsity=0.5, random_state=0).fit(*iris, epochs=3)
    told = [epoch["sparsity"] for epoch in pruner.pruning_history_]
    assert [sparsity >= 0.5 for sparsity in told] == [False, False, True, True, True, True]
    assert pruner.estimator_.max_epochs == 2
    same = MagnitudePruner(make(max_epochs=3), sparsity=0.5, random_state=0).fit(*iris)
    assert_array_equal(pruner.predict_proba(iris[0]), same.predict_proba(iris[0]))


def test_epochs_are_those_of_gates_too(iris):
    net = MLPNetClassifier((8,), max_epochs=1)
    pruner = L0Pruner(net, sparsity=0.5, finetune_epochs=1, random_state=0).fit(*iris, epochs=3)
    assert len(pruner.pruning_history_) == 4


@pytest.mark.parametrize("epochs", [None, np.int64(2)])
def test_epochs_may_be_what_skorch_takes(epochs, iris):
    pruner = MagnitudePruner(user_net(max_epochs=2), sparsity=0.5).fit(*iris, epochs=epochs)
    assert len(pruner.pruning_history_) == 4


@pytest.mark.parametrize("epochs", [-1, 2.0, True, "3"])
def test_epochs_that_cannot_be_are_refused(epochs, iris):
    with pytest.raises(ValueError, match=f"epochs must be an int.*got {epochs!r}"):
        MagnitudePruner(user_net()).fit(*iris, epochs=epochs)


def test_frozen_net_has_epochs_of_its_own(iris):
    frozen = FrozenEstimator(user_net().fit(*iris))
    with pytest.raises(ValueError, match=r"epochs=3.*finetune_epochs=2"):
        MagnitudePruner(frozen, finetune_epochs=2).fit(*iris, epochs=3)
    with pytest.raises(ValueError, match=r"\['epochs', 'scale'\].*set finetune_epochs"):
        MagnitudePruner(frozen).fit(*iris, epochs=3, scale=2.0)


NAMES = ["net", "recipe", "verbose", "own_epochs", "fit_params", "groups", "y_pred"]


@pytest.mark.filterwarnings("ignore:predict runs the pruned net in torch")
@pytest.mark.parametrize("name", NAMES)
def test_parameter_of_any_name_reaches_the_module(name, iris):
    seen = []

    class Takes(UserModule):
        def forward(self, X, **given):
            seen.append(given)
            return super().forward(X)

    MagnitudePruner(user_net(Takes), sparsity=0.5, schedule="cubic").fit(*iris, **{name: 7})
    assert seen[0] == {name: 7}


def test_classes_mean_what_they_mean_to_skorch(iris):
    plain = user_net().fit(*iris, classes=[0, 1, 2])
    pruner = MagnitudePruner(user_net(), sparsity=0, schedule="cubic").fit(*iris, classes=[0, 1, 2])
    assert len(plain.history) == len(pruner.pruning_history_) == 3


def test_parameter_that_no_forward_takes_is_named(iris):
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        MagnitudePruner(user_net()).fit(*iris, nonsense=1)


def test_epochs_pass_a_pipeline_and_a_search(iris):
    pruner = MagnitudePruner(user_net(max_epochs=1), schedule="cubic")
    pipe = make_pipeline(StandardScaler(), pruner).fit(*iris, magnitudepruner__epochs=2)
    assert len(pipe[-1].pruning_history_) == 2
    search = GridSearchCV(pruner, {"sparsity": [0.5]}, cv=2).fit(*iris, epochs=2)
    assert len(search.best_estimator_.pruning_history_) == 2


def test_epochs_are_routed(iris):
    with config_context(enable_metadata_routing=True):
        net = user_net(max_epochs=1).set_fit_request(epochs=True)
        pruner = MagnitudePruner(net, schedule="cubic").fit(*iris, epochs=2)
        assert len(pruner.pruning_history_) == 2
        with pytest.raises(TypeError, match=r"unexpected argument.*epochs"):
            MagnitudePruner(user_net()).fit(*iris, epochs=2)
