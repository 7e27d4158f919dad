from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekit.errors import MeterTraceError
from mobilekit.meter.envelope import Envelope, Reading

POWER = Reading("power")


def envelope_of(time_s, reading, kind=POWER, cuts=(), supply_v=None, **options):
    """The bins of a trace that is fed in pieces."""
    envelope = Envelope(kind, **options)
    edges = [0, *sorted(cuts), len(time_s)]
    for first, last in pairwise(edges):
        part = slice(first, last)
        envelope.add(time_s[part], reading[part], None if supply_v is None else supply_v[part])
    return envelope.finish()


def uneven(count=5000, seed=0):
    """Times with a jitter, and a power that wanders."""
    generator = np.random.default_rng(seed)
    time_s = np.cumsum(generator.uniform(0.5e-3, 1.5e-3, count))
    return time_s, 2 + np.cumsum(generator.normal(0, 0.05, count))


@given(
    cuts=st.lists(st.integers(0, 5000), max_size=12),
    seed=st.integers(0, 5),
    max_bins=st.sampled_from([64, 1024, 1 << 14]),
)
@settings(max_examples=50)
def test_bins_do_not_depend_on_chunks(cuts, seed, max_bins):
    """However the trace is cut, also into empty pieces, each bin holds the same."""
    time_s, power_w = uneven(seed=seed)

    whole, _ = envelope_of(time_s, power_w, max_bins=max_bins)
    cut, _ = envelope_of(time_s, power_w, max_bins=max_bins, cuts=cuts)

    assert cut.width_s == whole.width_s
    assert len(whole.energy_j) <= max_bins
    for name in ("covered_s", "reading_s", "energy_j", "slope_j"):
        np.testing.assert_allclose(getattr(cut, name), getattr(whole, name), atol=1e-12)


@pytest.mark.parametrize("bin_s", [1e-4, 1e-3, 0.02, 10.0])
def test_no_energy_is_lost_between_bins(bin_s):
    """Their sum is the trapezoid rule's over the whole trace, and so up to each bin's edge."""
    time_s, power_w = uneven()

    bins, _ = envelope_of(time_s, power_w, bin_s=bin_s)

    assert bins.energy_j.sum() == pytest.approx(np.trapezoid(power_w, time_s), rel=1e-12)
    assert bins.covered_s.sum() == pytest.approx(time_s[-1] - time_s[0], rel=1e-12)
    middle = len(bins.energy_j) // 2
    edge_s = time_s[0] + middle * bins.width_s
    inside = time_s < edge_s
    until_s = np.append(time_s[inside], edge_s)
    until_w = np.append(power_w[inside], np.interp(edge_s, time_s, power_w))
    expected_j = np.trapezoid(until_w, until_s)
    assert bins.energy_j[:middle].sum() == pytest.approx(expected_j, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("reading", "power_of"),
    [
        (Reading("shunt voltage", 0.12, 5.16), lambda r, v: (5.16 - r) * r / 0.12),
        (Reading("shunt voltage", 0.12), lambda r, v: (v - r) * r / 0.12),
        (Reading("current", supply_v=4.0), lambda r, v: 4.0 * r),
        (Reading("current"), lambda r, v: v * r),
        (POWER, lambda r, v: r),
    ],
)
def test_an_offset_is_taken_away_exactly_afterwards(reading, power_of):
    """The energy with an offset is that of a trace whose readings had it taken away before."""
    time_s, wander = uneven()
    value = 0.1 + 0.001 * wander
    supply_v = 5 + 0.1 * np.sin(time_s)
    recorded = supply_v if reading.supply_v is None and reading.kind != "power" else None

    bins, _ = envelope_of(time_s, value, reading, supply_v=recorded)

    power_w = power_of(value - 0.003, supply_v)
    assert bins.zeroed(0.003).energy_j.sum() == pytest.approx(
        np.trapezoid(power_w, time_s), rel=1e-9
    )


def test_samples_of_one_time_count_as_their_mean():
    """A clock that is coarser than the samples neither loses readings nor weighs one of them."""
    time_s = np.repeat(np.arange(100) * 0.01, 4)
    power_w = np.tile([1.0, 2.0, 3.0, 6.0], 100)

    for cuts in ((), (5, 6, 203)):
        bins, _ = envelope_of(time_s, power_w, cuts=cuts)
        assert bins.energy_j.sum() == pytest.approx(3.0 * 0.99)


def test_nothing_is_integrated_over_a_gap():
    """It is counted, and its time is not covered."""
    time_s = np.concatenate([np.arange(1000), np.arange(3000, 4000)]) * 1e-3

    bins, facts = envelope_of(time_s, np.full(2000, 2.0))

    assert (facts.gaps, facts.gap_s, facts.longest_gap_s) == (1, pytest.approx(2.001), facts.gap_s)
    assert bins.energy_j.sum() == pytest.approx(2.0 * 2 * 0.999)
    assert np.isnan(bins.coarser(1)[0][2000])


def test_memory_is_bounded():
    """A trace of a day is held by as few bins as one of a minute."""
    time_s = np.arange(0, 86400, 10.0)

    bins, _ = envelope_of(time_s, np.ones(len(time_s)), max_bins=256)

    assert len(bins.energy_j) <= 256
    assert bins.energy_j.sum() == pytest.approx(time_s[-1])


@pytest.mark.parametrize(
    ("time_s", "what"),
    [([], "fewer than two"), ([1.0], "fewer than two"), ([2.0, 2.0, 2.0], "fewer than two")],
)
def test_a_trace_of_no_length_is_refused(time_s, what):
    """Nothing can be integrated."""
    with pytest.raises(MeterTraceError, match=what):
        envelope_of(np.array(time_s), np.ones(len(time_s)))
