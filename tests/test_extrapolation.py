"""How far networks are told beyond what was fitted, from networks that were held back."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

from mobilekit.analysis.predict.costs import COSTS
from mobilekit.flow.shipped import load_predictor

SCRIPTS = Path(__file__).parents[1] / "scripts"
CONV, GROUP = COSTS.index("conv_macs"), COSTS.index("group_macs")


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("extrapolation")


def held(script, *rows):
    """Each row a cost, a network, an excess, and how far off in halves of an interval; ten times,
    with nothing known."""
    cost, network, excess, off = (np.array(each) for each in zip(*rows * 10, strict=True))
    return script.Extrapolated(
        known=np.zeros(len(cost), dtype=int),
        network=network,
        cost=cost,
        excess=excess.astype(float),
        error=0.1 * np.ones(len(cost)),
        off=off.astype(float),
    )


def test_the_networks_with_the_largest_shares_are_left_out_together(script):
    """Until what is left has a quarter of the largest share, or half of them are left out."""
    costs = np.zeros((6, len(COSTS)))
    costs[:, 0] = [50, 60, 70, 80, 90, 100]
    costs[:, 1] = 100 - costs[:, 0]
    costs[:3, 2] = [1, 0, 0]

    sets = script.heaviest_sets(costs, np.ones(len(COSTS)))

    assert sets == [
        *({5}, {5, 4}, {5, 4, 3}),
        *({0}, {0, 1}, {0, 1, 2}),
    ]


def test_each_network_counts_the_same_in_each_kind_of_work(script):
    """One that was left out in nine ways, and one in one way."""
    those = held(script, *[(CONV, 0, 1.5, 0.5)] * 9, (CONV, 1, 1.5, 2.0))

    assert those.coverage() == pytest.approx(0.5)
    assert those.coverage(power=2) == pytest.approx(1.0)


def test_a_kind_is_told_as_far_as_intervals_hold(script):
    """Not in the bin in which they do not, nor behind it; one with too few networks less far."""
    near = [(CONV, network, 1.2, 0.5) for network in range(3)]
    farther = [(CONV, network, 1.5, 0.5) for network in range(3)] + [(GROUP, 3, 1.5, 0.5)]
    wrong = [(CONV, network, 2.0, 1.5) for network in range(3)]
    right = [(CONV, network, 3.0, 0.5) for network in range(3)]

    furthest = script.furthest_of(held(script, *near, *farther, *wrong, *right))

    assert furthest[CONV] == 1.7
    assert {most for cost, most in enumerate(furthest) if cost != CONV} == {1.25}


def test_intervals_widen_until_the_kind_that_is_told_worst_is_covered(script):
    """Half as far off again at 1.5 times needs a power of 1, whatever others need."""
    right = [(CONV, network, 1.5, 0.5) for network in range(9)]
    wrong = [(GROUP, network, 1.5, 1.5) for network in range(3)]
    furthest = [1.7] * len(COSTS)

    assert script.widening_power_of(held(script, *right, *wrong), furthest) == pytest.approx(
        1, abs=0.011
    )
    assert script.widening_power_of(held(script, *right), furthest) == 0


def test_what_ships_is_told_as_far_as_the_bins_go(script):
    """Of NIN's kind of convolutions up to 1.7 times the largest share, of grouped ones 1.25."""
    model = load_predictor().model

    assert set(model.range.furthest) <= set(script.EDGES) - {math.inf}
    assert model.range.furthest[CONV] == 1.7
    assert model.range.furthest[GROUP] == 1.25
    assert 0 < model.widening_power < 1
