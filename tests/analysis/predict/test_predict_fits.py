"""Whether predictions keep within bounds: what may be asked, and how likely it is."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mobilekit.analysis.predict.energy import predict_network
from mobilekit.analysis.predict.fits import EXAMPLES, judge, parse_criteria
from mobilekit.analysis.predict.intervals import around
from mobilekit.errors import UsageError
from mobilekit.meter.quantities import read_amount
from mobilekit.records.prediction import (
    LatencyPrediction,
    PhoneBattery,
    PhonePower,
    PredictedDevice,
)

SD = 1.6449
LATENCY_SD, POWER_SD, BATTERY_SD = 0.3, 0.5, 0.075
LATENCY = around(100.0, SD * LATENCY_SD)
POWER = PhonePower(
    gross_w=4.0,
    gross_interval_w=around(4.0, SD * POWER_SD),
    marginal_w=3.0,
    marginal_interval_w=around(3.0, SD * POWER_SD),
    told_from="a test",
)
DEVICE = PredictedDevice(
    device="nexus7",
    chip="4xKRAIT@1.51",
    threads=4,
    engine="a test",
    power=POWER,
    battery=PhoneBattery(energy_j=40_000.0, relative_uncertainty=BATTERY_SD, source="a test"),
)
NETWORK = LatencyPrediction(
    network="net",
    latency_ms=100.0,
    low_ms=LATENCY.low,
    high_ms=LATENCY.high,
    known=0,
    seen=True,
    reasons=(),
)


def fit(text, *, device=DEVICE, latency=NETWORK):
    return judge(predict_network(latency, device), device, parse_criteria(text, read_amount))


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("latency<0.1s", 100.0),
        ("latency <= 100 ms", 100.0),
        ("memory<200MiB", 200 * 1024**2),
        ("memory<200MB", 200e6),
        ("energy<5mJ", 0.005),
        ("marginal<2.5 J", 2.5),
        ("charge>1e4", 10_000.0),
        ("charge>=10_000", 10_000.0),
    ],
)
def test_bounds_are_read_with_their_units(text, bound):
    (criterion,) = parse_criteria(text, read_amount)

    assert criterion.bound == pytest.approx(bound)
    assert criterion.text == text.replace(" <= ", "<=")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "says of no figure"),
        ("latency", "says of no figure"),
        ("latency=3ms", "says of no figure"),
        ("size<3MB", "says of no figure"),
        ("latency<100ms,", "says of no figure"),
        ("latency<100", "is no amount of latency"),
        ("latency<5J", "is no amount of latency"),
        ("latency<0ms", "is no amount of latency"),
        ("latency<-3ms", "is no amount of latency"),
        ("latency<nan ms", "is no amount of latency"),
        ("latency<3ms*2", "is no amount of latency"),
        ("memory<3mib", "is no amount of memory"),
        ("charge>5ms", "is no amount of charge"),
        ("latency<1s, latency<2s", "bounded twice"),
    ],
)
def test_what_is_no_bound_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_criteria(text, read_amount)


def test_the_examples_in_the_messages_can_be_given():
    assert len(parse_criteria(",".join(EXAMPLES.values()), read_amount)) == len(EXAMPLES)


@given(st.text(max_size=30))
def test_any_text_is_bounds_or_a_usage_error(text):
    try:
        criteria = parse_criteria(text, read_amount)
    except UsageError:
        return
    assert all(math.isfinite(each.bound) and each.bound > 0 for each in criteria)


def test_a_probability_is_the_normal_distributions():
    """At the median a half, at an end of the 90 % interval 95 %, on either side of the sign."""
    for text, expected in (
        ("latency<100ms", 0.5),
        (f"latency<{LATENCY.high}ms", 0.95),
        (f"latency>{LATENCY.high}ms", 0.05),
        (f"latency<{LATENCY.low}ms", 0.05),
    ):
        (one,) = fit(text).criteria
        assert one.probability == pytest.approx(expected, abs=1e-4)


def test_verdicts_are_yes_from_95_percent_and_no_up_to_5():
    beyond = 1.01
    assert fit(f"latency<{LATENCY.high * beyond}ms").verdict == "yes"
    assert fit(f"latency<{LATENCY.high / beyond}ms").verdict == "unknown"
    assert fit(f"latency<{LATENCY.low * beyond}ms").verdict == "unknown"
    assert fit(f"latency<{LATENCY.low / beyond}ms").verdict == "no"


@pytest.mark.parametrize(
    "bounds",
    [
        {"latency": 120.0, "energy": 0.5},
        {"latency": 120.0, "charge": 80_000.0},
        {"energy": 0.4, "charge": 100_000.0},
        {"latency": 150.0, "energy": 0.6, "marginal": 0.3, "charge": 60_000.0},
    ],
)
def test_all_at_once_are_as_likely_as_drawn(bounds):
    """Latency and power are drawn, and energy and charge follow; not the product of each."""
    draws = np.random.default_rng(3)
    time, power, battery = draws.standard_normal((3, 400_000))
    seconds = 0.1 * np.exp(LATENCY_SD * time)
    watts = np.exp(POWER_SD * power)
    gross = 4.0 * watts * seconds
    figures = {
        "latency": seconds * 1000 < bounds.get("latency", math.inf),
        "energy": gross < bounds.get("energy", math.inf),
        "marginal": 3.0 * watts * seconds < bounds.get("marginal", math.inf),
        "charge": 40_000 * np.exp(BATTERY_SD * battery) / gross > bounds.get("charge", 0),
    }
    units = {"latency": "ms", "energy": "J", "marginal": "J", "charge": ""}
    text = ",".join(
        f"{name}{'>' if name == 'charge' else '<'}{bound}{units[name]}"
        for name, bound in bounds.items()
    )

    truth = np.logical_and.reduce([figures[name] for name in bounds]).mean()
    apart = math.prod(figures[name].mean() for name in bounds)

    assert fit(text).probability == pytest.approx(truth, abs=0.005)
    assert abs(truth - apart) > 0.02


def test_a_figure_that_cannot_be_told_leaves_all_unknown_unless_another_fails():
    chip = replace(DEVICE, battery=None)

    unknown = fit("latency<1s, charge>1, memory<1GiB", device=chip)
    failing = fit("latency<1ms, charge>1", device=chip)

    assert (unknown.verdict, unknown.probability) == ("unknown", None)
    assert [each.verdict for each in unknown.criteria] == ["yes", "unknown", "unknown"]
    assert "has no battery" in unknown.criteria[1].reason
    assert (failing.verdict, failing.probability) == ("no", None)


def test_a_network_that_cannot_be_told_is_unknown_for_its_reason():
    strange = replace(NETWORK, latency_ms=None, low_ms=None, high_ms=None, reasons=("strange",))

    told = fit("latency<1s, marginal<1J", latency=strange)

    assert told.verdict == "unknown"
    assert [each.reason for each in told.criteria] == ["strange", "its latency cannot be told"]


@pytest.mark.parametrize("text", ["latency<164ms", "energy<1.1J", "charge>30000", "marginal>0.2J"])
def test_one_bound_is_judged_once(text):
    """The exit code goes by the verdict on all, which of one is its own."""
    judged = fit(text)
    (alone,) = judged.criteria
    assert (judged.verdict, judged.probability) == (alone.verdict, alone.probability)
