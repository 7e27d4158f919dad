"""Regressions are found and false alarms are rare, on runs whose truth is known."""

import math
import random
import statistics

import pytest

from mobilekit.analysis.gate import DEFAULT_LIMITS, RunFigure, judge_figure

PAIRS = 200


def told(values):
    return [RunFigure(value, "ns", ("latency",)) for value in values]


def simulated(chance, truth, count, spread):
    """Runs of a phone that differ from one another by a normal part of their time."""
    return told([truth * math.exp(chance.gauss(0, spread)) for _ in range(count)])


def verdicts(change, *, spread, repeats=5, limit=0.05):
    chance = random.Random(20161128)
    return [
        judge_figure(
            "latency",
            limit,
            simulated(chance, 20e6 * (1 + change), repeats, spread),
            simulated(chance, 20e6, repeats, spread),
        ).verdict
        for _ in range(PAIRS)
    ]


@pytest.mark.parametrize("spread", [0.005, 0.02, 0.03, 0.1])
def test_no_change_is_rarely_a_regression(spread):
    assert verdicts(0.0, spread=spread).count("regressed") <= 0.05 * PAIRS


@pytest.mark.parametrize("spread", [0.005, 0.02, 0.03])
def test_a_regression_of_a_tenth_is_found(spread):
    assert verdicts(0.1, spread=spread).count("regressed") >= 0.95 * PAIRS


def test_an_improvement_is_found_and_a_small_change_is_none():
    assert verdicts(-0.1, spread=0.01).count("improved") >= 0.95 * PAIRS
    assert verdicts(0.02, spread=0.005).count("unchanged") >= 0.95 * PAIRS


def test_runs_that_differ_much_cannot_tell():
    """A spread of 30 % with two runs a side says nothing of 5 %, and is not called unchanged."""
    found = verdicts(0.0, spread=0.3, repeats=2)
    assert found.count("cannot tell") >= 0.85 * PAIRS


def test_welch_by_hand():
    """scipy.stats.ttest_ind(log, log, equal_var=False).confidence_interval(0.9), of these."""
    from scipy import stats

    now, baseline = [11.0, 12.0, 13.5, 11.4], [10.0, 10.2, 9.9]
    figure = judge_figure("latency", 0.05, told(now), told(baseline))
    welch = stats.ttest_ind(
        [math.log(value) for value in now],
        [math.log(value) for value in baseline],
        equal_var=False,
    ).confidence_interval(0.9)
    assert figure.ratio.interval.low == pytest.approx(math.exp(welch.low))
    assert figure.ratio.interval.high == pytest.approx(math.exp(welch.high))
    assert figure.verdict == "regressed"


def test_one_run_on_one_side_goes_by_the_others_spread():
    several = told([10.0, 10.1, 9.9, 10.05, 9.95])
    assert judge_figure("latency", 0.05, told([12.0]), several).verdict == "regressed"
    assert judge_figure("latency", 0.05, told([10.0]), several).verdict == "unchanged"
    figure = judge_figure("latency", 0.05, told([10.0]), several)
    logs = [math.log(each.value) for each in several]
    # Student's t of four degrees of freedom, of one run less the mean of five.
    half = 2.1318 * statistics.stdev(logs) * math.sqrt(1 + 1 / 5)
    assert figure.ratio.interval.high == pytest.approx(figure.ratio.value * math.exp(half), 1e-4)


def test_single_runs_cannot_tell_but_of_a_size():
    one = judge_figure("latency", 0.05, told([20.0]), told([10.0]))
    assert one.verdict == "cannot tell"
    assert "--repeat" in one.reason
    assert judge_figure("size", 0.05, told([20.0]), told([10.0])).verdict == "regressed"


@pytest.mark.parametrize(
    ("now", "baseline", "why"),
    [([], [1.0], "no run of now"), ([1.0], [], "of the baseline"), ([0.0, 1], [1.0, 2], "zero")],
)
def test_what_has_no_ratio_cannot_be_told(now, baseline, why):
    figure = judge_figure("memory", 0.1, told(now), told(baseline))
    assert figure.verdict == "cannot tell"
    assert why in figure.reason
    assert figure.ratio is None


def test_defaults_are_as_documented():
    assert DEFAULT_LIMITS == {"latency": 0.05, "energy": 0.1, "memory": 0.1}
