"""What a skorch net gets as X: the dtype and the kind of data that plain skorch would hand over."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet, NeuralNetClassifier
from skorch.dataset import Dataset
from skorch.helper import SliceDataset, SliceDict
from torch import nn
from torch.utils.data import IterableDataset

from skprune import MagnitudePruner, MLPNetClassifier, MLPNetRegressor
from skprune.nets.data import inputs_for
from skprune.nets.trial import Trial
from tests.conftest import UserModule, user_net

IN_TORCH = "ignore:predict runs the pruned net in torch"


class Doubles(UserModule):
    def __init__(self):
        super().__init__()
        self.double()


class Halves(UserModule):
    """Computes in bfloat16, and takes and gives other floats."""

    def __init__(self):
        super().__init__()
        self.to(torch.bfloat16)

    def forward(self, X):
        return super().forward(X.to(torch.bfloat16)).float()


class OneHot(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(20, 3)

    def forward(self, X):
        return self.out(nn.functional.one_hot(X, 5).float().flatten(1))


class Table(nn.Module):
    """Looks rows of a parameter up, without an Embedding."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(5, 4))
        self.out = nn.Linear(16, 3)

    def forward(self, X):
        return self.out(self.look_up(X).flatten(1))

    def look_up(self, X):
        return self.table[X]


class Functional(Table):
    def look_up(self, X):
        return nn.functional.embedding(X, self.table)


class Lookup(Table):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(5, 4)

    def look_up(self, X):
        return self.words(X)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.numbers = nn.Linear(2, 4)
        self.words = nn.Embedding(5, 4)
        self.out = nn.Linear(12, 3)

    def forward(self, numbers, words):
        return self.out(torch.cat([self.numbers(numbers), self.words(words).flatten(1)], dim=1))


class OneTuple(TwoInputs):
    def forward(self, X):
        return super().forward(*X)


class Columns(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(2, 3)

    def forward(self, age, income):
        return self.out(torch.cat([age, income], dim=1))


@pytest.fixture(scope="module")
def words():
    return np.random.default_rng(0).integers(0, 5, (150, 4))


def pruned(net, X, y):
    torch.manual_seed(0)
    return MagnitudePruner(net, sparsity=0, finetune_epochs=0).fit(X, y)


def assert_as_plain_skorch(net, X, y):
    """Compare the pruner that removes nothing with the net by itself, and give the pruner."""
    torch.manual_seed(0)
    plain = clone(net).fit(X, y)
    pruner = pruned(net, X, y)
    ours, theirs = (n.module_.state_dict() for n in (pruner.estimator_, plain))
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype
        assert_array_equal(ours[name].float().numpy(), value.float().numpy())
    assert_array_equal(pruner.predict(X), plain.predict(X))
    assert_allclose(pruner.predict_proba(X), plain.predict_proba(X), rtol=1e-4, atol=1e-5)
    return pruner


def converted(net, X):
    return inputs_for(net, X, Trial(net, X))


# --- floats -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, bool, np.float64, np.float16])
def test_numbers_become_floats_of_the_modules_kind(dtype):
    X = np.array([[0, 1, 0, 1], [1, 0, 0, 1]], dtype=dtype)
    for module, floats in ((UserModule, np.float32), (Doubles, np.float64)):
        rows = converted(user_net(module), X)
        assert rows.dtype == floats
        assert_array_equal(rows, X)


def test_float32_is_not_copied():
    X = np.ones((3, 4), np.float32)
    assert converted(user_net(), X) is X


def test_doubles_are_trained_as_skorch_trains_them(iris):
    X, y = iris
    pruner = assert_as_plain_skorch(user_net(Doubles), X.astype(np.float64), y)
    # the engine reads float32 all the same
    assert_array_equal(pruner.sparse_estimator_.predict(X), pruner.predict(X))
    assert pruned(user_net(Doubles), X, y).score(X, y) > 0  # float32, which plain skorch refuses


def test_bfloat16_is_trained_as_skorch_trains_it(iris):
    net = user_net(Halves)
    with pytest.warns(UserWarning, match="predict runs the pruned net in torch"):
        pruner = assert_as_plain_skorch(net, *iris)
    assert pruner.sparse_weights_["fc1.weight"].dtype == np.float32


@pytest.fixture
def default_of_float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kind", ["user", "classifier", "regressor"])
def test_default_dtype_of_torch_holds(kind, iris, default_of_float64):
    X, y = iris[0].astype(np.float64), iris[1]
    if kind == "user":
        net = user_net()
    else:
        make = {"classifier": MLPNetClassifier, "regressor": MLPNetRegressor}[kind]
        net = make((4,), max_epochs=2, random_state=0)
    plain = clone(net)
    torch.manual_seed(0)
    plain.fit(X, y)
    torch.manual_seed(0)
    pruner = MagnitudePruner(net, sparsity=0, finetune_epochs=0).fit(X, y)
    assert next(pruner.estimator_.module_.parameters()).dtype == torch.float64
    assert_allclose(pruner.predict(X), plain.predict(X), rtol=1e-5)
    assert_array_equal(pruner.estimator_.predict(X), plain.predict(X))


@pytest.mark.parametrize("value", [1e39, -1e200])
def test_what_float32_cannot_hold_is_refused(value):
    with pytest.raises(ValueError, match="too large for dtype"):
        converted(user_net(), np.array([[value, 0.0, 0.0, 0.0]]))
    assert converted(user_net(Doubles), np.array([[value, 0.0, 0.0, 0.0]]))[0, 0] == value


# --- integers -----------------------------------------------------------------------------


@pytest.mark.parametrize("module", [OneHot, Table, Functional, Lookup])
@pytest.mark.filterwarnings(IN_TORCH)
def test_integers_stay_integers_for_what_looks_them_up(module, words, iris):
    pruner = assert_as_plain_skorch(user_net(module), words, iris[1])
    small = pruned(user_net(module), words.astype(np.int8), iris[1])
    assert_array_equal(small.predict(words.astype(np.int8)), pruner.predict(words))
    # as a frame of counts would arrive
    assert_array_equal(pruner.predict(words.astype(np.float64)), pruner.predict(words))


@pytest.mark.parametrize("initialized", [False, True])
def test_trial_leaves_net_and_generators_alone(initialized):
    net = user_net(Lookup)
    if initialized:
        net.initialize()
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert converted(net, np.ones((3, 4), np.int8)).dtype == np.int64
    assert net.initialized_ == initialized
    assert torch.equal(torch.get_rng_state(), state)
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_module_that_needs_fit_for_its_sizes_gets_floats():
    class Late(nn.Module):
        def __init__(self, n_in):
            super().__init__()
            self.out = nn.Linear(n_in, 2)

    assert converted(user_net(Late), np.ones((2, 3), int)).dtype == np.float32


def test_rows_that_a_fitted_module_does_not_take_are_refused(iris):
    net = user_net().fit(*iris)
    with pytest.raises(ValueError, match=r"X has 3 features, which the estimator's module"):
        MagnitudePruner(FrozenEstimator(net)).fit(iris[0][:, :3])


# --- what is no array ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [dict, SliceDict])
@pytest.mark.parametrize("dtypes", [(np.float32, np.int64), (np.float64, np.int8)])
@pytest.mark.filterwarnings(IN_TORCH)
def test_dict_of_inputs(kind, dtypes, iris, words):
    numbers, ids = iris[0][:, :2].astype(dtypes[0]), words[:, :2].astype(dtypes[1])
    X, y = kind(numbers=numbers, words=ids), iris[1]
    if dtypes[0] == np.float32:
        pruner = assert_as_plain_skorch(user_net(TwoInputs), X, y)
    else:  # which plain skorch leaves to the module to refuse
        pruner = pruned(user_net(TwoInputs), X, y)
        single = {"numbers": numbers.astype(np.float32), "words": ids.astype(np.int64)}
        assert_array_equal(pruner.predict_proba(X), pruner.estimator_.predict_proba(single))
    assert pruner.score(X, y) > 0
    copy = pickle.loads(pickle.dumps(pruner))
    assert_array_equal(copy.predict_proba(X), pruner.predict_proba(X))
    assert not hasattr(pruner, "sparse_estimator_")
    assert not hasattr(pruner, "n_features_in_")


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.filterwarnings(IN_TORCH)
def test_several_inputs_in_a_row(kind, iris, words):
    assert_as_plain_skorch(user_net(OneTuple), kind([iris[0][:, :2], words[:, :2]]), iris[1])


@pytest.mark.filterwarnings(IN_TORCH)
def test_frame_whose_columns_are_inputs(iris):
    X = pd.DataFrame({"age": iris[0][:, 0], "income": iris[0][:, 1]})
    assert_as_plain_skorch(user_net(Columns), X, iris[1])
    plain = pruned(user_net(module__n_in=2), X, iris[1])  # whose forward takes X
    assert plain.feature_names_in_.tolist() == ["age", "income"]


def test_tensors(iris):
    X, y = iris
    pruner = assert_as_plain_skorch(user_net(), torch.as_tensor(X), torch.as_tensor(y))
    assert_array_equal(pruner.predict(X), pruner.predict(torch.as_tensor(X)))
    assert pruner.n_features_in_ == 4


@pytest.mark.parametrize("kind", ["skorch", "torch", "slices", "half"])
def test_datasets(kind, iris):
    X, y = iris
    data = Dataset(X, y)
    given = {
        "skorch": (data, None),
        "torch": (torch.utils.data.TensorDataset(*map(torch.as_tensor, iris)), None),
        "slices": (SliceDataset(data), SliceDataset(data, idx=1)),
        "half": (SliceDataset(data), y),
    }[kind]
    pruner = assert_as_plain_skorch(user_net(), *given)
    assert pruner.classes_.tolist() == [0, 1, 2]
    assert_array_equal(pruner.sparse_estimator_.predict(given[0]), pruner.predict(X))


class Noisy(torch.utils.data.Dataset):
    """Draws its rows anew whenever it is asked."""

    def __init__(self, X, y):
        self.rows, self.labels = X, y

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.rows[i] + torch.randn(4).numpy(), self.labels[i]


@pytest.mark.filterwarnings(IN_TORCH)  # rows drawn twice are compared
def test_rows_of_a_dataset_are_drawn_in_each_epoch(iris):
    net = user_net(max_epochs=3)
    torch.manual_seed(0)
    plain = clone(net).fit(Noisy(*iris), None)
    pruner = pruned(net, Noisy(*iris), None)
    expected = plain.module_.fc1.weight.detach().numpy()
    assert_array_equal(pruner.estimator_.module_.fc1.weight.detach().numpy(), expected)


@pytest.mark.parametrize("kind", ["tensor", "dataset", "slices"])
def test_shipped_nets_take_data_of_torch(kind, iris):
    X, y = iris
    data = Dataset(X, y)
    given = {
        "tensor": (torch.as_tensor(X), torch.as_tensor(y)),
        "dataset": (data, None),
        "slices": (SliceDataset(data), y),
    }[kind]
    net = MLPNetClassifier((4,), max_epochs=2, random_state=0)
    expected = clone(net).fit(X, y).predict(X)
    assert_array_equal(clone(net).fit(*given).predict(X), expected)
    pruner = MagnitudePruner(net, sparsity=0, finetune_epochs=0).fit(*given)
    assert_array_equal(pruner.predict(X), expected)
    assert_array_equal(pruner.predict(given[0]), expected)


def test_shipped_nets_refuse_several_arrays(iris):
    net = MLPNetClassifier((4,), max_epochs=1)
    for estimator in (net, MagnitudePruner(net)):
        with pytest.raises(TypeError, match=r"MLPNetClassifier takes X as one array.*dict"):
            estimator.fit({"X": iris[0]}, iris[1])


def test_parts_of_different_length_are_refused(iris):
    X, y = iris
    with pytest.raises(ValueError, match="as many rows"):
        pruned(user_net(TwoInputs), {"numbers": X[:, :2], "words": X[:9]}, y)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[150, 140\]"):
        pruned(user_net(TwoInputs), {"numbers": X[:, :2], "words": X}, y[:140])


# --- device -------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="has the device")
@pytest.mark.parametrize("make", [MagnitudePruner, lambda net: net])
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_device_that_is_not_there_is_refused_by_name(make, device, iris):
    with pytest.raises(ValueError, match=rf"device='{device}' of the estimator .*device='cpu'"):
        make(MLPNetClassifier((4,), device=device)).fit(*iris)
    if make is MagnitudePruner:
        net = NeuralNetClassifier(UserModule, device=device)
        with pytest.raises(ValueError, match=f"device='{device}'"):
            make(net).fit(*iris)


class Stream(IterableDataset):
    """Rows one after the other, without a length; anew in each epoch, or once."""

    def __init__(self, X, y, once=False):
        self.rows = list(zip(torch.from_numpy(X), torch.from_numpy(y), strict=True))
        if once:
            self.rows = iter(self.rows)

    def __iter__(self):
        return iter(self.rows)


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.filterwarnings("ignore:predict runs the pruned net", "ignore:the net is trained and")
def test_stream_trains_as_with_plain_skorch(once, iris):
    net = user_net(max_epochs=1 if once else 2)
    torch.manual_seed(0)
    plain = clone(net).fit(Stream(*iris, once), None)
    torch.manual_seed(0)
    pruner = MagnitudePruner(net, sparsity=0, finetune_epochs=0).fit(Stream(*iris, once))
    assert len(plain.history[0, "batches"]) == 5
    for ours, theirs in zip(
        pruner.estimator_.module_.parameters(), plain.module_.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Softsign])
@pytest.mark.filterwarnings("ignore:predict runs the pruned net")
def test_stream_is_predicted(activation, iris):
    net = user_net(nn.Sequential(nn.Linear(4, 5), activation(), nn.Linear(5, 3)))
    pruner = MagnitudePruner(net, sparsity=0.5).fit(Stream(*iris))
    assert_array_equal(pruner.predict(Stream(*iris)), pruner.estimator_.predict(iris[0]))
    assert pruner.transform(Stream(*iris)).shape == (150, 5)
    assert pruner.classes_.tolist() == [0, 1, 2]


class Rebuilds(nn.Module):
    """An autoencoder."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 3)
        self.fc2 = nn.Linear(3, 4)

    def forward(self, X):
        return self.fc2(torch.tanh(self.fc1(X)))


class ReadsNoTarget(NeuralNet):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        rows = X["X"] if isinstance(X, dict) else X
        return ((y_pred - rows) ** 2).mean()


@pytest.mark.filterwarnings(IN_TORCH)
@pytest.mark.parametrize("wrap", [np.asarray, lambda X: {"X": X}, lambda X: SliceDict(X=X)])
def test_net_that_trains_without_targets_gets_none(wrap, iris):
    X = wrap(iris[0])
    net = ReadsNoTarget(
        Rebuilds, criterion=nn.MSELoss, max_epochs=2, lr=0.1, train_split=None, verbose=0
    )
    torch.manual_seed(0)
    plain = clone(net).fit(X)
    pruner = MagnitudePruner(net, sparsity=0, finetune_epochs=0, random_state=0).fit(X)
    for name, weight in plain.module_.state_dict().items():
        assert torch.equal(pruner.estimator_.module_.state_dict()[name], weight)
    assert_allclose(pruner.predict(X), plain.predict(X), atol=1e-6)
    assert MagnitudePruner(net, sparsity=0.5).fit(X).sparsity_ == 0.5


def test_net_that_needs_targets_is_not_trained_without(iris):
    with pytest.raises(ValueError, match="requires y to be passed"):
        MagnitudePruner(user_net()).fit(iris[0])
