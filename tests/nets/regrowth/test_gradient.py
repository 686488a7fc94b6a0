"""RigL: the smallest weights go, and those of the largest gradient come, layer by layer."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from skorch.callbacks import Callback

from skprune import MLPNetClassifier, SaliencyPruner
from skprune.masks import Constant
from skprune.nets.evidence import CurrentGradient
from skprune.nets.regrowth import Gradient, as_regrowth
from skprune.nets.scored import rewired


def test_score_is_the_magnitude_of_the_gradient():
    seen = {CurrentGradient: torch.tensor([-2.0, 0.0, 1.0])}
    assert Gradient().score(torch.zeros(3), seen).tolist() == [2, 0, 1]


def test_rewiring_by_hand():
    kept = {"a": np.array([[True, True, True], [True, False, False]]), "b": np.array([True, False])}
    scores = {"a": np.array([[4.0, 1.0, 3.0], [2.0, 0.0, 0.0]]), "b": np.array([1.0, 0.0])}
    growth = {"a": np.array([[9.0, 5.0, 9.0], [1.0, 6.0, 2.0]]), "b": np.array([0.0, 9.0])}
    found = rewired(kept, scores, growth, 0.5)
    # 2 of the 4 weights of "a" go, 1.0 and 2.0; 6.0 comes, and 5.0, which was just dropped, returns
    assert_array_equal(found["a"], [[True, True, True], [False, True, False]])
    assert_array_equal(found["b"], kept["b"])  # half of one weight is none


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_nothing_and_everything_may_move(fraction):
    kept = {"a": np.arange(10) < 4}
    growth = np.arange(10.0)
    found = rewired(kept, {"a": -growth}, {"a": growth}, fraction)["a"]
    assert_array_equal(found, kept["a"] if fraction == 0 else growth >= 6)


class Watch(Callback):
    """Copies the masks at the start of each batch."""

    def initialize(self):
        self.masks = []
        return self

    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            weights = [m.weight.detach() for m in net.module_.modules() if hasattr(m, "weight")]
            self.masks.append([(w != 0).numpy() for w in weights])


@pytest.mark.parametrize("regrowth", ["gradient", "random"])
def test_counts_are_constant_and_weights_move(regrowth, iris):
    net = MLPNetClassifier(
        (20,), max_epochs=8, batch_size=30, lr=0.02, callbacks=[Watch()], random_state=0
    )
    pruner = SaliencyPruner(
        net,
        criterion="magnitude",
        sparsity=0.6,
        schedule=Constant(interval=0.6),
        allocation="uniform",
        regrowth=regrowth,
        random_state=0,
    ).fit(*iris)
    masks = dict(pruner.estimator_.callbacks_)["Watch"].masks
    counts = np.array([[mask.sum() for mask in layers] for layers in masks[1:]])
    # a weight that has just returned is zero until the next step, and one that returned at random
    # to a unit that is dead stays zero
    allowed = [80 - 48, 60 - 36]
    assert (counts <= allowed).all()
    assert (counts[-8:] == allowed).all() or regrowth == "random"
    ever = [np.any([layers[i] for layers in masks[1:]], axis=0).sum() for i in range(2)]
    assert ever[0] > allowed[0]
    assert ever[1] > allowed[1]
    last_quarter = masks[-9:]
    assert all(
        (a == b).all() for layers in last_quarter for a, b in zip(layers, masks[-1], strict=True)
    )
    assert pruner.sparsity_ == pytest.approx(0.6, abs=0.03)


def test_what_is_no_rule_is_named():
    assert as_regrowth(None) is None
    with pytest.raises(ValueError, match=r"regrowth must be one of .*; got 'gradiant'"):
        as_regrowth("gradiant")
