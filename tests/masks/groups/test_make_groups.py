"""What a granularity may be, and what it must not."""

import numpy as np
import pytest

from skprune.masks import make_groups
from skprune.masks.groups import Blocks, Link, NOfM, Units, Weights

SHAPES = {"a": (3, 4), "b": (2, 3)}


def unasked():
    raise AssertionError("only neurons need to know how the layers hang together")


def test_single_weights():
    groups = make_groups("weight", SHAPES, unasked)
    assert type(groups) is Weights
    assert groups.shapes == SHAPES
    assert groups.n_weights == 18


@pytest.mark.parametrize(
    ("given", "n", "m"), [("2:4", 2, 4), ("1:2", 1, 2), ("4:16", 4, 16), (np.str_("2:4"), 2, 4)]
)
def test_patterns(given, n, m):
    groups = make_groups(given, SHAPES, unasked)
    assert type(groups) is NOfM
    assert (groups.n, groups.m) == (n, m)


@pytest.mark.parametrize(
    ("given", "rows", "columns"),
    [((4, 1), 4, 1), ([2, 2], 2, 2), ((np.int64(1), np.uint8(3)), 1, 3), ((9, 9), 9, 9)],
)
def test_blocks(given, rows, columns):
    groups = make_groups(given, SHAPES, unasked)
    assert type(groups) is Blocks
    assert (groups.rows, groups.columns) == (rows, columns)
    assert groups.n_weights == 18


def test_neurons_are_outputs_of_all_layers_but_the_last():
    wiring = [Link("a", "b")], {"b"}
    groups = make_groups("neuron", SHAPES, lambda: wiring)
    assert type(groups) is Units
    pooled = groups.pool({"a": np.arange(12.0).reshape(3, 4), "b": np.zeros((2, 3))})
    assert pooled["a"].tolist() == [1.5, 5.5, 9.5]
    assert pooled["b"].size == 0
    masks = groups.spread(groups.keep(pooled, 6 / 18))
    assert masks["a"].any(1).tolist() == [False, True, True]
    assert masks["b"].tolist() == [[False, True, True]] * 2


@pytest.mark.parametrize(
    "given",
    [
        *(
            "4:2",
            "4:4",
            "0:4",
            "2:0",
            "-2:4",
            "2:4 ",
            " 2:4",
            "2:4\n",
            "2:4:8",
            "2.0:4",
            ":",
            "2/4",
        ),
        *("weights", "Weight", "neurons", "block", ""),
        *((0, 2), (2, 0), (-1, 2), (1.0, 2), (True, 2), ("1", 2), (None, 2), (float("nan"), 2)),
        *((), (1,), (1, 2, 3), [1], {1, 2}, {"a": 1, "b": 2}, np.array([2, 2])),
        *(4, 0.5, None, True, b"2:4"),
    ],
    ids=repr,
)
def test_all_else_is_refused_by_its_value(given):
    with pytest.raises(
        ValueError, match="'granularity' parameter must be 'weight', 'neuron', 'n:m'"
    ) as caught:
        make_groups(given, SHAPES, unasked)
    assert str(caught.value).endswith(f"got {given!r}.")
