"""MLPNetClassifier and MLPNetRegressor, on their own and under the pruner."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EpochScoring
from skorch.dataset import ValidSplit
from torch import nn

from skprune import MagnitudePruner, MLPNetClassifier, MLPNetRegressor
from skprune.nets.modules import ACTIVATIONS, MLPModule

QUICK = {"max_epochs": 3, "lr": 0.02, "batch_size": 32, "random_state": 0}
NAMES = np.array(["setosa", "versicolor", "virginica"])


def classifier(hidden=(8,), **params):
    return MLPNetClassifier(hidden, **(QUICK | params))


def regressor(hidden=(8,), **params):
    return MLPNetRegressor(hidden, **(QUICK | params))


def state(net):
    return {name: value.numpy().copy() for name, value in net.module_.state_dict().items()}


def largest_difference(a, b):
    a, b = state(a), state(b)
    return max(np.abs(a[name] - b[name]).max() for name in a)


# --- the module ---------------------------------------------------------------------------


def test_module_is_linear_norm_activation_dropout_and_linear_at_the_end():
    module = MLPModule(4, 2, (8, 6), activation="tanh", dropout=0.1, batch_norm=True)
    kinds = [type(layer) for layer in module.layers]
    block = [nn.Linear, nn.BatchNorm1d, nn.Tanh, nn.Dropout]
    assert kinds == block + block + [nn.Linear]
    widths = [p.shape for name, p in module.named_parameters() if "weight" in name and p.ndim == 2]
    assert widths == [(8, 4), (6, 8), (2, 6)]


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_trains_and_predicts_on_the_engine(activation, iris):
    pruner = MagnitudePruner(classifier(activation=activation), sparsity=0.3).fit(*iris)
    expected = pruner.estimator_.predict_proba(iris[0])
    assert_allclose(pruner.predict_proba(iris[0]), expected, atol=1e-5)
    assert pruner.estimator_.module_.layers.activation0.__class__ is ACTIVATIONS[activation]


def test_one_integer_is_one_hidden_layer_and_none_a_linear_model(iris):
    assert state(classifier(6).fit(*iris))["layers.hidden0.weight"].shape == (6, 4)
    linear = classifier(()).fit(*iris)
    assert list(state(linear)) == ["layers.output.weight", "layers.output.bias"]


# --- sizes and labels ---------------------------------------------------------------------


def test_sizes_come_from_the_data_of_each_fit(iris):
    X, y = iris
    net = classifier().fit(X, y)
    assert (net.n_features_in_, len(net.classes_)) == (4, 3)
    net.fit(X[:, :2], y == 0)
    assert state(net)["layers.hidden0.weight"].shape == (8, 2)
    assert state(net)["layers.output.weight"].shape == (2, 8)
    assert net.predict_proba(X[:, :2]).shape == (150, 2)


def test_labels_come_back_as_they_were(iris):
    X, y = iris
    net = classifier(max_epochs=30).fit(X, NAMES[y])
    assert_array_equal(net.classes_, NAMES)
    assert set(net.predict(X)) <= set(NAMES)
    assert net.score(X, NAMES[y]) > 0.9
    codes = classifier(max_epochs=30).fit(X, y).predict(X)
    assert_array_equal(net.predict(X), NAMES[codes])


def test_probabilities_sum_to_one(iris):
    proba = classifier().fit(*iris).predict_proba(iris[0])
    assert proba.shape == (150, 3)
    assert proba.min() >= 0
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)


def test_regressor_keeps_the_shape_of_its_targets(diabetes):
    X, y = diabetes
    flat = regressor().fit(X, y)
    column = regressor().fit(X, y[:, None])
    assert flat.predict(X).shape == (200,)
    assert column.predict(X).shape == (200, 1)
    assert flat.predict(X).dtype == np.float64
    assert_array_equal(flat.predict(X), column.predict(X)[:, 0])


def test_regressor_learns_several_targets(diabetes):
    X = diabetes[0]
    y = np.stack([X[:, 0] - X[:, 1], np.abs(X[:, 2])], axis=1)
    net = regressor((32,), max_epochs=60).fit(X, y)
    assert net.predict(X).shape == (200, 2)
    assert r2_score(y, net.predict(X)) > 0.9


# --- sample_weight ------------------------------------------------------------------------

# one batch holds all rows, so that the sum over rows is all that training sees
FULL_BATCH = {"batch_size": -1, "max_epochs": 8, "random_state": 0}
OPTIMIZERS = {
    "sgd": {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9, "lr": 0.1},
    "adam": {"optimizer": torch.optim.Adam, "lr": 0.01},
}


def net_and_data(kind, iris, diabetes, **params):
    if kind == "regressor":
        return MLPNetRegressor((8,), **(FULL_BATCH | params)), *diabetes
    return MLPNetClassifier((8,), **(FULL_BATCH | params)), *iris


weighted_nets = pytest.mark.parametrize("kind", ["classifier", "regressor"])
weighted_by = pytest.mark.parametrize("optimizer", OPTIMIZERS)


def fit_both_ways(estimator, X, y):
    """Fit with whole weights 0 to 3, and with each row so many times."""
    times = np.random.default_rng(0).integers(0, 4, len(X))
    assert (times == 0).any()
    weighted = clone(estimator).fit(X, y, sample_weight=times.astype(float))
    repeated = clone(estimator).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    return weighted, repeated


@weighted_nets
@weighted_by
def test_weight_is_how_often_a_row_counts(kind, optimizer, iris, diabetes):
    net, X, y = net_and_data(kind, iris, diabetes, **OPTIMIZERS[optimizer])
    weighted, repeated = fit_both_ways(net, X, y)
    assert largest_difference(weighted, repeated) < 1e-4
    assert largest_difference(weighted, clone(net).fit(X, y)) > 1e-3


@weighted_nets
@weighted_by
def test_weight_is_how_often_a_row_counts_under_the_pruner(kind, optimizer, iris, diabetes):
    net, X, y = net_and_data(kind, iris, diabetes, **OPTIMIZERS[optimizer])
    for schedule in ("one_shot", "cubic"):
        pruner = MagnitudePruner(net, sparsity=0.5, schedule=schedule)
        weighted, repeated = fit_both_ways(pruner, X, y)
        assert weighted.sparsity_ == repeated.sparsity_ == 0.5
        assert largest_difference(weighted.estimator_, repeated.estimator_) < 1e-4
        method = "predict" if kind == "regressor" else "predict_proba"
        ours, theirs = (getattr(model, method)(X) for model in (weighted, repeated))
        assert_allclose(ours, theirs, atol=1e-4)


@weighted_nets
def test_equal_weights_are_no_weights(kind, iris, diabetes):
    net, X, y = net_and_data(kind, iris, diabetes, **OPTIMIZERS["sgd"])
    plain = clone(net).fit(X, y)
    assert largest_difference(clone(net).fit(X, y, np.full(len(X), 7.0)), plain) < 1e-5


@weighted_nets
@pytest.mark.parametrize("scale", [1e-3, 2.0**20, 1e-60, 1e60])
def test_scale_of_the_weights_makes_no_difference(kind, scale, iris, diabetes):
    net, X, y = net_and_data(kind, iris, diabetes, **OPTIMIZERS["sgd"])
    weight = np.random.default_rng(0).uniform(0.1, 3, len(X))
    plain = clone(net).fit(X, y, weight)
    assert largest_difference(clone(net).fit(X, y, scale * weight), plain) < 1e-5
    # and a pruner that removes nothing trains as the net by itself
    pruner = MagnitudePruner(net, sparsity=0, finetune_epochs=0)
    pruner.fit(X, y, sample_weight=scale * weight)
    assert largest_difference(pruner.estimator_, plain) < 1e-5


def test_class_weights_of_the_criterion_hold_beside_row_weights(iris):
    net = MLPNetClassifier(
        (8,), criterion__weight=torch.tensor([1.0, 5.0, 0.5]), lr=0.01, **FULL_BATCH
    )
    weighted, repeated = fit_both_ways(net, *iris)
    assert largest_difference(weighted, repeated) < 1e-4


@pytest.mark.parametrize("criterion", [nn.L1Loss, nn.SmoothL1Loss, nn.MSELoss])
def test_criteria_of_regressors_take_weights_over_several_targets(criterion, diabetes):
    X, y = diabetes
    times = np.random.default_rng(0).integers(0, 4, len(X))
    both = np.stack([y, X[:, 0]], axis=1)
    net = MLPNetRegressor((8,), criterion=criterion, lr=0.01, **FULL_BATCH)
    weighted = clone(net).fit(X, both, sample_weight=times)
    repeated = clone(net).fit(np.repeat(X, times, axis=0), np.repeat(both, times, axis=0))
    assert largest_difference(weighted, repeated) < 1e-4


def test_batches_of_weight_zero_teach_nothing(diabetes):
    X, y = diabetes
    sgd = {"optimizer": torch.optim.SGD, "batch_size": 10, "iterator_train__shuffle": False}
    weight = np.r_[np.zeros(190), np.ones(10)]
    net = regressor(**sgd).fit(X, y, sample_weight=weight)
    assert largest_difference(net, regressor(**sgd).fit(X[190:], y[190:])) < 1e-6


def test_weights_and_train_split_work_together(iris):
    X, y = iris
    net = classifier(train_split=ValidSplit(5)).fit(X, y, sample_weight=np.linspace(0, 1, 150))
    assert np.isfinite(net.history[:, ("train_loss", "valid_loss", "valid_acc")]).all()
    assert 0 <= net.history[-1, "valid_acc"] <= 1


# --- randomness, printing, state ----------------------------------------------------------


@pytest.mark.parametrize("make", [classifier, regressor])
def test_random_state_decides_all(make, iris):
    params = {"dropout": 0.2}
    torch.manual_seed(0)
    first = make(random_state=3, **params).fit(*iris)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    second = make(random_state=3, **params).fit(*iris)
    assert torch.equal(torch.get_rng_state(), before)
    assert largest_difference(first, second) == 0
    assert largest_difference(first, make(random_state=4, **params).fit(*iris)) > 0


def test_without_random_state_torchs_generator_decides(iris):
    def fit(seed):
        torch.manual_seed(seed)
        return classifier(random_state=None).fit(*iris)

    assert largest_difference(fit(0), fit(0)) == 0
    assert largest_difference(fit(0), fit(1)) > 0


@pytest.mark.parametrize("make", [classifier, regressor])
def test_quiet_by_default(make, iris, capsys):
    net = make().fit(*iris)
    net.predict(iris[0])
    assert capsys.readouterr() == ("", "")
    make(verbose=1).fit(*iris)
    assert "train_loss" in capsys.readouterr().out


@pytest.mark.usefixtures("warnings_are_errors")
@pytest.mark.parametrize("make", [classifier, regressor])
def test_read_only_data_bring_no_warning(make, iris):
    # pandas hands out read-only arrays, and torch warns of them
    X, y = pd.DataFrame(iris[0]), pd.Series(iris[1])
    assert not X.to_numpy().flags.writeable
    make().fit(X, y).predict(X)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_fitted_net_pickles(make, iris):
    net = make().fit(*iris)
    copy = pickle.loads(pickle.dumps(net))
    assert_array_equal(copy.predict(iris[0]), net.predict(iris[0]))
    assert copy.get_params().keys() == net.get_params().keys()


def test_clone_and_set_params_reach_everything(iris):
    net = clone(classifier(dropout=0.3, optimizer__weight_decay=0.1))
    assert net.get_params()["dropout"] == 0.3
    assert net.get_params()["optimizer__weight_decay"] == 0.1
    net.set_params(hidden_layer_sizes=(5,), activation="elu", optimizer__weight_decay=0.0)
    net.fit(*iris)
    assert isinstance(net.module_.layers.activation0, nn.ELU)
    assert net.optimizer_.param_groups[0]["weight_decay"] == 0.0


# --- what skorch offers is there ----------------------------------------------------------


def test_train_split_scores_held_out_rows_in_their_own_labels(iris):
    X, y = iris
    net = classifier(max_epochs=15, train_split=ValidSplit(5)).fit(X, NAMES[y])
    train, valid = ValidSplit(5)(X, torch.as_tensor(y))
    held_out = np.asarray(valid.indices)
    assert len(train.indices) == 120
    expected = accuracy_score(NAMES[y][held_out], net.predict(X[held_out]))
    assert net.history[-1, "valid_acc"] == pytest.approx(expected)
    assert net.history[-1, "valid_acc"] > 0.5


@pytest.mark.parametrize("labels", [[0, 1, 2], NAMES], ids=["codes", "strings"])
def test_users_epoch_scoring_works_whatever_the_labels(labels, iris):
    X, y = iris[0], np.asarray(labels)[iris[1]]
    scorings = [
        EpochScoring("accuracy", lower_is_better=False, name="mine"),
        EpochScoring("f1_macro", lower_is_better=False, name="train_f1", on_train=True),
        EpochScoring(lambda net, X, y: net.score(X, y), name="by_call", lower_is_better=False),
    ]
    net = classifier(max_epochs=15, train_split=ValidSplit(5), callbacks=scorings).fit(X, y)
    assert net.history[:, "mine"] == net.history[:, "valid_acc"]
    assert net.history[:, "by_call"] == net.history[:, "valid_acc"]
    assert 0.5 < net.history[-1, "train_f1"] <= 1


def test_users_epoch_scoring_works_for_regressors(diabetes):
    scoring = EpochScoring("r2", lower_is_better=False, name="r2")
    net = regressor(max_epochs=20, train_split=ValidSplit(5), callbacks=[scoring])
    net.fit(*diabetes)
    assert net.history[-1, "r2"] > net.history[0, "r2"]


class NoBias(nn.Module):
    """A module that takes sizes and more."""

    def __init__(self, n_inputs, n_outputs, hidden_layer_sizes, gain=1.0, **others):
        super().__init__()
        self.hidden = nn.Linear(n_inputs, hidden_layer_sizes[0], bias=False)
        self.out = nn.Linear(hidden_layer_sizes[0], n_outputs, bias=False)
        self.gain = gain

    def forward(self, X):
        return self.out(torch.tanh(self.hidden(X))) * self.gain


def test_module_may_be_the_users_own(iris):
    net = classifier(module=NoBias, module__gain=2.0).fit(*iris)
    assert net.module_.gain == 2.0
    assert net.module_.hidden.weight.shape == (8, 4)
    net.set_params(module__n_outputs=5).fit(*iris)
    assert net.module_.out.weight.shape == (5, 8)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_partial_fit_goes_on(make, iris):
    X, y = iris
    net = make().partial_fit(X, y)
    assert len(net.history) == 3
    started = state(net)
    net.partial_fit(X, y)
    assert len(net.history) == 6
    assert any((started[name] != value).any() for name, value in state(net).items())


def test_first_partial_fit_is_fit(iris):
    net = classifier(max_epochs=0)
    assert largest_difference(net.partial_fit(*iris), clone(net).fit(*iris)) == 0


def test_partial_fit_may_announce_classes_that_come_later(iris):
    X, y = iris
    net = classifier().partial_fit(X[y < 2], NAMES[y[y < 2]], classes=NAMES)
    assert net.predict_proba(X).shape == (150, 3)
    net.partial_fit(X, NAMES[y])
    assert_array_equal(net.classes_, NAMES)


def test_partial_fit_refuses_labels_it_was_not_told_of(iris):
    X, y = iris
    net = classifier().partial_fit(X[y < 2], y[y < 2])
    with pytest.raises(ValueError, match="previously unseen labels"):
        net.partial_fit(X, y)


def test_warm_start_goes_on_and_a_new_fit_does_not(iris):
    warm = classifier(warm_start=True).fit(*iris).fit(*iris)
    assert len(warm.history) == 6
    cold = classifier().fit(*iris)
    again = clone(cold).fit(*iris).fit(*iris)
    assert len(again.history) == 3
    assert largest_difference(cold, again) == 0


# --- errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"activation": "swish"}, "activation must be one of.*'swish'"),
        ({"hidden_layer_sizes": (8, 0)}, r"hidden_layer_sizes.*\[8, 0\]"),
        ({"hidden_layer_sizes": (8, 2.5)}, r"hidden_layer_sizes.*2\.5"),
        ({"hidden_layer_sizes": -3}, r"hidden_layer_sizes.*-3"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": -0.5}, "dropout.*-0.5"),
    ],
)
@pytest.mark.parametrize("under_pruner", [False, True])
def test_wrong_parameters_are_named(params, named, under_pruner, iris):
    net = classifier().set_params(**params)
    with pytest.raises(ValueError, match=named):
        (MagnitudePruner(net) if under_pruner else net).fit(*iris)


def test_initialize_before_the_data_are_seen_says_what_is_missing():
    with pytest.raises(ValueError, match="sizes from the data: call fit"):
        classifier().initialize()


@pytest.mark.parametrize("make", [classifier, regressor])
def test_net_that_is_not_fitted_says_so(make, iris):
    net = make()
    with pytest.raises(NotFittedError):
        net.predict(iris[0])
    assert not hasattr(net, "classes_")


@pytest.mark.parametrize("make", [classifier, regressor])
def test_wrong_data_are_refused(make, iris):
    X, y = iris
    net = make().fit(X, y)
    with pytest.raises(ValueError, match=r"X has 3 features, but \w+ is expecting 4"):
        net.predict(X[:, :3])
    with pytest.raises(ValueError, match="contains NaN"):
        net.fit(np.where(X > 2, np.nan, X), y)
    with pytest.raises(ValueError, match="contains NaN"):
        net.predict(np.full((2, 4), np.nan))
    with pytest.raises(ValueError, match=r"sample_weight\.shape == \(3,\)"):
        net.fit(X, y, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match="Negative values"):
        net.fit(X, y, sample_weight=-np.ones(150))


def test_one_class_and_continuous_labels_are_refused(iris):
    X, y = iris
    with pytest.raises(ValueError, match=r"one class only: \[1\]"):
        classifier().fit(X, np.ones(150, dtype=int))
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        classifier().fit(X, y + 0.5)


@pytest.mark.parametrize("under_pruner", [False, True])
def test_labels_outside_of_classes_are_refused(under_pruner, iris):
    net = classifier(classes=[0, 1])
    with pytest.raises(ValueError, match=r"unseen labels.*2"):
        (MagnitudePruner(net) if under_pruner else net).fit(*iris)


def test_partial_fit_keeps_the_number_of_targets(diabetes):
    X, y = diabetes
    net = regressor().fit(X, y)
    with pytest.raises(ValueError, match="y has 2 outputs, the net has 1"):
        net.partial_fit(X, np.stack([y, y], axis=1))


def test_sizes_may_be_given_in_advance():
    net = MLPNetClassifier((5,), module__n_inputs=4, module__n_outputs=3).initialize()
    assert net.module_.layers.output.out_features == 3
    with pytest.raises(ValueError, match="module__n_outputs"):
        MLPNetClassifier(module__n_inputs=4).initialize()


def test_batch_norm_meets_no_batch_of_one_row(iris):
    X, y = iris
    net = classifier(batch_norm=True, batch_size=149).fit(X, y)
    assert net.history[-1, "train_batch_count"] == 1


def test_rows_sorted_by_class_are_shuffled(iris):
    X, y = iris
    order = np.argsort(y, kind="stable")
    net = MLPNetClassifier((16,), lr=0.02, batch_size=16, random_state=0)
    assert net.fit(X[order], y[order]).score(X, y) > 0.9


def test_weights_need_a_criterion_that_can_be_weighted(iris):
    class OwnLoss(nn.Module):
        def forward(self, logits, y):
            return nn.functional.cross_entropy(logits, y)

    with pytest.raises(TypeError, match="criterion=OwnLoss has none"):
        classifier(criterion=OwnLoss).fit(*iris, sample_weight=np.ones(150))


# --- repr ---------------------------------------------------------------------------------


def test_repr_shows_what_was_changed():
    net = MLPNetClassifier((8,), lr=0.1, device="cpu")
    assert repr(MLPNetRegressor()) == "MLPNetRegressor()"
    assert repr(net) == "MLPNetClassifier(hidden_layer_sizes=(8,), lr=0.1)"
    assert repr(MagnitudePruner(net)) == f"MagnitudePruner(estimator={net!r})"
    changed = MLPNetClassifier(iterator_train__shuffle=False, optimizer__weight_decay=0.1)
    assert "iterator_train__shuffle=False, optimizer__weight_decay=0.1" in repr(changed)
    with config_context(print_changed_only=False):
        assert "warm_start=False" in repr(net)
    assert set(net._get_params_html(deep=False).non_default) == {"hidden_layer_sizes", "lr"}


def test_repr_of_a_fitted_net():
    X, y = load_iris(return_X_y=True)
    net = MLPNetClassifier((4,), max_epochs=1).fit(X, y)
    assert repr(net) == "MLPNetClassifier(hidden_layer_sizes=(4,), max_epochs=1)"


@pytest.mark.parametrize("net", [MLPNetClassifier(max_epochs=7), MLPNetRegressor(max_epochs=7)])
def test_a_notebook_marks_what_was_changed_alone(net):
    shown = getattr(net, "_get_params_html", None)
    if shown is None:  # scikit-learn shows no parameters before 1.7
        assert "MLPNet" in net._repr_html_()
        return
    assert tuple(shown().non_default) == ("max_epochs",)
    page = make_pipeline(StandardScaler(), MagnitudePruner(net))._repr_html_()
    assert "callbacks__" not in page
    assert "hidden_layer_sizes" in page
