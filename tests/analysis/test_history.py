"""Levels and changes, by simulated runs whose changes are known."""

import itertools
import math
import operator

import numpy as np
import pytest

from mobilekit.analysis.compare.records import Quantity
from mobilekit.analysis.history import find_changes
from mobilekit.records.statistics import Interval

of_histories = pytest.mark.parametrize(
    "histories", [100, pytest.param(200, marks=pytest.mark.soak)]
)


def simulated(seed, factors, between, within=0.01, *, is_heavy=False):
    """Runs of 10 ms times their factor, with intervals that tell ``within`` and not ``between``."""
    chance = np.random.default_rng(seed)
    for factor in factors:
        own = within * math.exp(chance.normal(0, 0.5))
        odd = chance.standard_t(3) / math.sqrt(3) if is_heavy else chance.normal()
        value = 1e7 * factor * math.exp(between * odd + own * chance.normal())
        half = math.exp(1.96 * own)
        yield Quantity(value=value, interval=Interval(low=value / half, high=value * half))


@of_histories
@pytest.mark.parametrize(("between", "is_heavy"), [(0.002, False), (0.02, False), (0.02, True)])
def test_what_did_not_change_is_seldom_said_to_have(between, is_heavy, histories):
    """At most one history of twenty, whatever the spread between runs and its tails."""
    found = [
        find_changes(list(simulated(seed, [1.0] * 20, between, is_heavy=is_heavy)))
        for seed in range(histories)
    ]

    assert sum(bool(each) for each in found) <= 0.05 * histories


@of_histories
@pytest.mark.parametrize(("runs", "between"), [(10, 0.01), (12, 0.02), (20, 0.02)])
def test_a_step_by_a_tenth_is_found_where_it_is(runs, between, histories):
    """In nine of ten, at most one run beside its place."""
    half = runs // 2
    factors = [1.0] * half + [1.1] * half

    found = [find_changes(list(simulated(seed, factors, between))) for seed in range(histories)]

    right = [any(abs(split.at - half) <= 1 for split in splits) for splits in found]
    assert sum(right) >= 0.9 * histories


def test_several_changes_are_found():
    """There and back again, and one more."""
    factors = [1.0] * 12 + [1.15] * 12 + [1.0] * 12 + [0.8] * 12
    long = [factor for factor in factors for _ in range(8)]

    splits = find_changes(list(simulated(3, factors, 0.01)))
    later = find_changes(list(simulated(3, long, 0.01)))

    assert [split.at for split in splits] == [12, 24, 36]
    assert [split.at for split in later] == pytest.approx([96, 192, 288], abs=1)


@pytest.mark.parametrize("of_each", [6, 10])
def test_every_level_of_a_staircase_is_found(of_each):
    """Sixteen, a tenth apart: clear changes are found however many there are."""
    factors = [1.1**level for level in range(16) for _ in range(of_each)]

    splits = find_changes(list(simulated(1, factors, 0.004, 0.003)))

    assert [split.at for split in splits] == list(range(of_each, 16 * of_each, of_each))


def test_growing_steps_are_all_found():
    """The largest is split off first each time, so that the first is the last to be looked at."""
    levels = itertools.accumulate([1.0, 1.03, 1.07, 1.14, 1.3], operator.mul)
    factors = [factor for factor in levels for _ in range(6)]

    splits = find_changes(list(simulated(1, factors, 0.003, 0.001)))

    assert [split.at for split in splits] == [6, 12, 18, 24]


@of_histories
def test_one_change_brings_no_false_ones_along(histories):
    """At most one history of twenty tells another beside it."""
    factors = [1.0] * 30 + [1.3] * 30

    found = [find_changes(list(simulated(seed, factors, 0.01))) for seed in range(histories // 2)]

    assert all(any(abs(split.at - 30) <= 1 for split in splits) for splits in found)
    assert sum(len(splits) > 1 for splits in found) <= 0.05 * len(found)


def test_an_uncertain_run_counts_for_little():
    """Two far runs at the end with wide intervals are no level; with narrow ones they are."""

    def at_the_end(half):
        wide = [
            Quantity(value=value, interval=Interval(low=value / half, high=value * half))
            for value in (13e6, 13.1e6, 12.9e6, 13e6)
        ]
        return find_changes([*simulated(5, [1.0] * 12, 0.002, 0.002), *wide])

    assert [split.at for split in at_the_end(1.01)] == [12]
    assert at_the_end(40.0) == ()


@pytest.mark.parametrize("values", [(), (1.0,), (1.0, 2.0, 3.0), (5.0,) * 9, (0.0, -1.0) * 4])
def test_what_tells_nothing_has_no_change(values):
    assert find_changes([Quantity(value=each, interval=None) for each in values]) == ()


def test_readings_without_intervals_change_too():
    """Those that are not above zero as well, which have no logarithm."""
    values = [0.0, 1.0, -1.0, 0.5, 0.0, 9.0, 10.0, 9.5, 10.5, 9.0]

    (split,) = find_changes([Quantity(value=each, interval=None) for each in values])

    assert split.at == 5
