"""Prices of gates, fixed and found, by hand."""

import pytest
import torch

from skprune.nets.gates.pressure import Price, Run, Target

RUN = Run(n_rows=50, n_steps=200, epochs=4.0)


class Costing:
    """Stands in for a gate, of a constant penalty."""

    def __init__(self, cost):
        self.cost = torch.tensor(cost, dtype=torch.float64, requires_grad=True)

    def penalty(self):
        return self.cost


def gates():
    return {"a": Costing(3.0), "b": Costing(5.0), "c": Costing(100.0)}


def nobody_asks():
    raise AssertionError("a fixed price does not depend on the density")


def price_now(epoch, *args, **params):
    price = Price(*args, **params)
    price.begin(RUN)
    loss = float(price.loss(gates(), nobody_asks, epoch).detach())
    price.after_step()
    assert price.dual is None
    assert float(price.loss(gates(), nobody_asks, epoch).detach()) == loss
    return loss


def test_price_is_paid_for_all_penalties():
    assert price_now(0.0) == pytest.approx(108 / 50)
    assert price_now(3.0, 2.0) == pytest.approx(2 * 108 / 50)
    assert price_now(0.0, 2.0, per_row=False) == pytest.approx(2 * 108)
    assert price_now(0.0, 0.0) == 0


def test_layers_may_have_prices_of_their_own():
    prices = {"a": 2.0, "b": 0.5}
    assert price_now(0.0, prices) == pytest.approx((2 * 3 + 0.5 * 5) / 50)
    assert price_now(0.0, prices, per_row=False) == pytest.approx(8.5)


def test_price_of_an_unknown_layer_is_refused():
    with pytest.raises(ValueError, match="must name layers among"):
        price_now(0.0, {"a": 1.0, "z": 1.0})


@pytest.mark.parametrize(
    ("epoch", "warmth"),
    [(0, 0), (4.9, 0), (5, 0), (5.75, 0.05), (12.5, 0.5), (19.25, 0.95), (20, 1), (300, 1)],
)
def test_price_rises_between_two_times(epoch, warmth):
    full = price_now(0.0)
    assert price_now(epoch, warmup=(5, 20)) == pytest.approx(warmth * full)


@pytest.mark.parametrize(("epoch", "warmth"), [(0, 0), (0.5, 0.25), (2, 1)])
def test_price_may_rise_from_the_start(epoch, warmth):
    assert price_now(epoch, warmup=(0.0, 2.0)) == pytest.approx(warmth * 108 / 50)


def test_price_may_start_at_once():
    assert price_now(2.99, warmup=(3.0, 3.0)) == 0
    assert price_now(3.0, warmup=(3.0, 3.0)) == pytest.approx(108 / 50)


def test_gradient_of_a_penalty_is_its_price():
    price, all_gates = Price({"a": 2.0, "b": 0.5}), gates()
    price.begin(RUN)
    price.loss(all_gates, nobody_asks, 1.0).backward()
    assert float(all_gates["a"].cost.grad) == pytest.approx(2 / 50)
    assert float(all_gates["b"].cost.grad) == pytest.approx(0.5 / 50)


# --- targets ------------------------------------------------------------------------------


def climb(target, densities):
    """Go through steps of given densities, and list the losses and the prices after each."""
    losses, duals = [], []
    for density in densities:
        now = torch.tensor(density, dtype=torch.float64)
        losses.append(float(torch.as_tensor(target.loss(gates(), lambda now=now: now, 0.0))))
        target.after_step()
        duals.append(target.dual)
    return losses, duals


def test_price_climbs_by_the_violation_and_restarts_where_there_is_none():
    target = Target(0.2, lr=0.5)
    target.begin(RUN)
    assert target.dual == 0
    losses, duals = climb(target, [1.0, 0.6, 0.3, 0.2, 0.1, 0.4])
    assert losses == pytest.approx([0, 0.4 * 0.4, 0.6 * 0.1, 0.65 * 0.0, 0, 0])
    assert duals == pytest.approx([0.4, 0.6, 0.65, 0, 0, 0.1])


def test_price_restarts_right_after_the_first_step_that_meets_the_target():
    target = Target(0.5, lr=1.0)
    target.begin(RUN)
    losses, duals = climb(target, [0.9, 0.9, 0.4, 0.6])
    assert losses == pytest.approx([0, 0.4 * 0.4, 0.8 * -0.1, 0])
    assert duals == pytest.approx([0.4, 0.8, 0, 0.1])


@pytest.mark.parametrize(("params", "lr"), [({}, 20 / 200), ({"travel": 3.0}, 3 / 200)])
def test_step_size_lets_the_price_travel_so_far_in_all_steps(params, lr):
    target = Target(0.0, **params)
    target.begin(RUN)
    _, duals = climb(target, [1.0])
    assert duals == pytest.approx([lr])
    _, duals = climb(target, [1.0] * (RUN.n_steps - 1))
    assert duals[-1] == pytest.approx(params.get("travel", 20.0))


def test_given_step_size_does_not_depend_on_the_steps():
    target = Target(0.0, lr=0.25, travel=1e9)
    target.begin(RUN)
    assert climb(target, [1.0])[1] == [0.25]


def test_gradient_goes_through_the_density():
    target = Target(0.25, lr=2.0)
    target.begin(RUN)
    density = torch.tensor(0.75, requires_grad=True)
    for price in (0.0, 1.0, 2.0):
        density.grad = None
        target.loss({}, lambda: density, 0.0).backward()
        assert float(density.grad) == pytest.approx(price)
        target.after_step()


def test_penalties_are_paid_where_the_density_has_no_gradient():
    target = Target(0.25, lr=2.0, penalises="penalty")
    target.begin(RUN)
    all_gates = gates()
    assert float(target.loss(all_gates, lambda: 0.5, 0.0).detach()) == 0
    target.after_step()
    assert target.dual == pytest.approx(0.5)
    loss = target.loss(all_gates, lambda: 0.25, 0.0)
    assert float(loss.detach()) == pytest.approx(0.5 * 108)
    loss.backward()
    assert float(all_gates["b"].cost.grad) == pytest.approx(0.5)
    target.after_step()
    assert target.dual == 0
