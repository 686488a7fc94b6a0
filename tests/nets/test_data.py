"""Dtypes and labels, as a skorch net wants them."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from skorch import NeuralNetBinaryClassifier, NeuralNetRegressor
from torch import nn

from skprune import MagnitudePruner, MLPNetClassifier
from skprune.nets.data import Labels, check_is_skorch_net, inputs_for, targets_for
from tests.conftest import UserModule, user_net

ROWS = np.zeros((1, 4), np.float32)


class Lookup(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 2)
        self.out = nn.Linear(8, 3)

    def forward(self, X):
        return self.out(self.table(X).flatten(1))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, bool, np.float64, np.float16])
def test_numbers_become_float32(dtype):
    X = np.array([[0, 1], [1, 0]], dtype=dtype)
    converted = inputs_for(user_net(), X)
    assert converted.dtype == np.float32
    assert_array_equal(converted, X)


def test_float32_is_not_copied():
    X = np.ones((3, 4), np.float32)
    assert inputs_for(user_net(), X) is X


@pytest.mark.parametrize("initialized", [False, True])
def test_integers_for_a_lookup_stay_integers(initialized):
    net = user_net(Lookup)
    if initialized:
        net.initialize()
    state = torch.get_rng_state()
    assert inputs_for(net, np.array([[1, 2]], np.int8)).dtype == np.int64
    assert inputs_for(net, np.array([[1.0, 2.0]])).dtype == np.float32
    assert net.initialized_ == initialized
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("value", [1e39, -1e200])
def test_what_float32_cannot_hold_is_refused(value):
    with pytest.raises(ValueError, match="too large for dtype"):
        inputs_for(user_net(), np.array([[value, 0.0]]))


def test_labels_become_codes_in_sorted_order():
    labels = Labels(user_net(), ROWS, np.array(["b", "c", "a", "b"]))
    assert labels.encoded.tolist() == [1, 2, 0, 1]
    assert labels.encoded.dtype == np.int64
    assert labels.classes.tolist() == ["a", "b", "c"]


def test_net_that_encodes_labels_gets_them_as_they_are(iris):
    net = MLPNetClassifier(max_epochs=1)
    y = np.array(["b", "c", "a"])[iris[1]]
    labels = Labels(net, ROWS, y)
    assert_array_equal(labels.encoded, y)
    net.fit(iris[0], y)
    assert labels.classes.tolist() == ["a", "b", "c"]


def test_column_of_labels_is_flattened_with_a_warning():
    with pytest.warns(UserWarning, match="column-vector y"):
        labels = Labels(user_net(), ROWS, np.array([[3], [5], [3]]))
    assert labels.encoded.tolist() == [0, 1, 0]


def test_fitted_net_keeps_its_classes(iris):
    net = user_net(max_epochs=1).fit(*iris)
    labels = Labels(net, ROWS, np.array([2, 0]))
    assert labels.classes.tolist() == [0, 1, 2]
    assert labels.encoded.tolist() == [2, 0]
    assert Labels(net, ROWS, None).encoded is None
    with pytest.raises(ValueError, match=r"unseen labels: \[7, 9\]"):
        Labels(net, ROWS, np.array([9, 0, 7]))


def test_one_class_is_refused():
    with pytest.raises(ValueError, match=r"one class only: \[4\]"):
        Labels(user_net(), ROWS, np.array([4, 4]))


@pytest.mark.parametrize("criterion", [nn.BCELoss, nn.BCEWithLogitsLoss])
def test_codes_for_binary_cross_entropy_are_float32(criterion):
    net = NeuralNetBinaryClassifier(UserModule, criterion=criterion)
    assert targets_for(net, np.array([0, 1])).dtype == np.float32


def test_targets_take_the_precision_of_the_weights():
    net = NeuralNetRegressor(UserModule)
    assert targets_for(net, np.array([0.5, 1.0])).dtype == np.float32
    assert targets_for(user_net(), np.array([0, 1])).dtype == np.int64
    assert targets_for(net, None) is None


def test_criterion_may_be_an_object():
    net = NeuralNetBinaryClassifier(UserModule, criterion=nn.BCEWithLogitsLoss())
    assert targets_for(net, np.array([0, 1])).dtype == np.float32


@pytest.mark.parametrize("estimator", [LogisticRegression(), UserModule(), None])
def test_what_is_no_skorch_net_is_refused(estimator):
    with pytest.raises(TypeError, match=r"estimator must be a skorch net.*got"):
        check_is_skorch_net(estimator)


def test_frozen_net_keeps_its_codes_whatever_its_classes(iris):
    X, y = iris
    net = user_net(max_epochs=5, lr=0.1, classes=[2, 1, 0]).fit(X, y)
    assert Labels(net, X, y).classes.tolist() == [0, 1, 2]
    pruner = MagnitudePruner(FrozenEstimator(net), sparsity=0).fit(X)
    assert_array_equal(pruner.predict(X), net.predict(X))


def test_classes_of_the_net_name_its_outputs(iris):
    X, y = iris
    two = y < 2
    net = user_net(max_epochs=1, classes=["c", "a", "b"])
    pruner = MagnitudePruner(net, sparsity=0.5).fit(X[two], np.array(["a", "b"])[y[two]])
    assert pruner.classes_.tolist() == ["c", "a", "b"]
    assert pruner.predict_proba(X).shape == (150, 3)


def test_more_outputs_than_labels_are_refused(iris):
    X, y = iris
    with pytest.raises(ValueError, match=r"3 outputs, but y holds 2 classes: \[0, 2\]"):
        MagnitudePruner(user_net(max_epochs=1)).fit(X[y != 1], y[y != 1])


def test_module_that_needs_fit_for_its_sizes_is_no_lookup():
    class Late(nn.Module):
        def __init__(self, n_in):
            super().__init__()
            self.out = nn.Linear(n_in, 2)

    assert inputs_for(user_net(Late), np.ones((2, 3), int)).dtype == np.float32
