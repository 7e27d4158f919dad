"""Windows and energies in traces whose truth is known, without files."""

import numpy as np
import pytest
from scipy.special import stdtrit

from mobilekit.errors import MeterTraceError
from mobilekit.meter.envelope import Envelope, Reading, Span
from mobilekit.meter.estimate import estimate_meter_energy
from mobilekit.meter.instrument import judge_instrument, measure_offset
from mobilekit.meter.windows import find_steps

SHUNT_OHM, SUPPLY_V, RATE_HZ = 0.12, 5.16, 200
ITERATIONS = 50


def bins_of(time_s, value, reading=None):
    envelope = Envelope(reading or Reading("power"))
    envelope.add(time_s, value)
    return envelope.finish()[0]


def times(duration_s, rate_hz=RATE_HZ):
    return np.arange(round(duration_s * rate_hz)) / rate_hz


def blocks_of(power_w, rate_hz=RATE_HZ):
    return find_steps(bins_of(times(len(power_w) / rate_hz, rate_hz), power_w), leave_out=None)


def estimate(bins, found, **instrument):
    settings = {
        "gain": None,
        "given_offset": None,
        "measured_offset_uncertainty": None,
        "constant_voltage": True,
    } | instrument
    return estimate_meter_energy(
        bins,
        found,
        iterations=ITERATIONS,
        instrument=judge_instrument("shunt", "shunt voltage", **settings),
        plane="usb",
        source="shunt",
        windows_from="steps",
        clock=None,
    )


def shunt_voltage(power_w, supply_v):
    return (supply_v - np.sqrt(supply_v**2 - 4 * power_w * SHUNT_OHM)) / 2


@pytest.mark.parametrize("zeroed", [False, True])
def test_intervals_cover_the_truth(zeroed):
    """For meters whose gain, zero and supply are as uncertain as is assumed of them, and phones
    whose windows scatter: at least 93 of 100 intervals, gross and marginal."""
    generator = np.random.default_rng(7)
    time_s = times(69)
    number = (time_s - 3) // 6
    gross_covered = marginal_covered = 0
    for _ in range(100):
        loads_w = 3 * (1 + generator.normal(0, 0.02, 5))
        power_w = np.where(number % 2 == 1, loads_w[(number // 2).astype(int).clip(0, 4)], 1.0)
        power_w[time_s < 3] = 0.0
        supply_v = SUPPLY_V * (1 + generator.normal(0, 0.01))
        volt = shunt_voltage(power_w, supply_v) * (1 + generator.normal(0, 0.02))
        volt += generator.normal(0, 1e-3) + generator.normal(0, 1.5e-3, len(time_s))
        bins = bins_of(time_s, volt, Reading("shunt voltage", SHUNT_OHM, SUPPLY_V))
        zero, uncertainty = Span(0, 2.8), None
        if zeroed:
            offset, uncertainty = measure_offset(bins, zero)
            bins = bins.zeroed(offset)
        found = find_steps(bins, leave_out=zero)
        made = estimate(bins, found, measured_offset_uncertainty=uncertainty)
        # The mean phone's: each window is a draw from it.
        true_gross_j = 3 * 30 / ITERATIONS
        gross, marginal = made.gross_interval_j, made.marginal_interval_j
        gross_covered += gross.low <= true_gross_j <= gross.high
        marginal_covered += marginal.low <= true_gross_j * 2 / 3 <= marginal.high

    assert gross_covered >= 93
    assert marginal_covered >= 93


def test_the_interval_is_made_of_the_budget():
    """Its terms in quadrature, by Student's t for Welch and Satterthwaite's degrees: the scatter of
    five windows is the only one that was estimated, with four."""
    generator = np.random.default_rng(1)
    power_w = np.where(times(55) // 5 % 2 == 1, 3.0, 1.0)
    bins = bins_of(times(55), power_w + generator.normal(0, 0.3, len(power_w)))
    made = estimate(bins, find_steps(bins, leave_out=None), gain=1e-3, constant_voltage=False)

    term = {item.name: item.gross_j for item in made.budget}
    combined_j = sum(value**2 for value in term.values()) ** 0.5
    freedom = 4 * (combined_j / term["blocks"]) ** 4

    assert min(term["blocks"], term["gain"], term["offset"], term["edges"]) > 0
    expected_j = float(stdtrit(freedom, 0.975)) * combined_j
    assert made.interval_kind == "interval_95"
    assert made.gross_interval_j.high - made.gross_j == pytest.approx(expected_j, rel=1e-3)
    assert made.gross_j - made.gross_interval_j.low == pytest.approx(expected_j, rel=1e-3)


def test_few_windows_are_a_range():
    """Three: from the lowest to the highest, widened by what the meter makes wrong in all."""
    time_s = times(35)
    is_load = time_s // 5 % 2 == 1
    levels_w = np.array([3.0, 3.5, 3.1])[(time_s // 10).astype(int).clip(0, 2)]
    bins = bins_of(time_s, np.where(is_load, levels_w, 1.0))
    made = estimate(bins, find_steps(bins, leave_out=None))

    shared_j = 1.96 * sum(t.gross_j**2 for t in made.budget if t.name != "blocks") ** 0.5
    each_s = made.seconds_per_inference
    assert made.interval_kind == "block_range"
    assert made.gross_interval_j.low == pytest.approx(3.0 * each_s - shared_j, rel=2e-3)
    assert made.gross_interval_j.high == pytest.approx(3.5 * each_s + shared_j, rel=2e-3)


@pytest.mark.parametrize("shift_s", [0.0, 0.013, 0.05, 0.087])
def test_edges_are_found_wherever_they_lie(shift_s):
    """Within 15 ms at 200 samples a second, whatever bin they fall into."""
    time_s = times(30)
    power_w = np.where((time_s >= 10 + shift_s) & (time_s < 20 + shift_s), 3.0, 1.0)
    noise = np.random.default_rng(2).normal(0, 0.05, len(time_s))

    found = blocks_of(power_w + noise)

    (block,) = found.blocks
    assert block.load == pytest.approx((10 + shift_s, 20 + shift_s), abs=0.015)
    assert found.edge_s < 0.01


def test_idle_time_holds_nothing_of_the_load():
    """Also of windows that are short against the smoothing."""
    power_w = np.where(times(9.9) // 0.9 % 2 == 1, 3.0, 1.0)

    bins = bins_of(times(9.9), power_w)
    made = estimate(bins, find_steps(bins, leave_out=None))

    assert made.idle_w == pytest.approx(1.0, abs=2e-3)


def test_pauses_within_a_load_belong_to_it():
    """A wait for memory of half a second, in a load of 20 s, is part of its inferences."""
    time_s = times(60)
    is_load = (time_s > 20) & (time_s < 40) & ~((time_s > 30) & (time_s < 30.5))

    found = blocks_of(np.where(is_load, 3.0, 1.0))

    assert len(found.blocks) == 1
    assert found.blocks[0].load.length_s == pytest.approx(20, abs=0.03)


def test_a_phone_connected_later_than_the_zero_ends_is_no_idle_time():
    """Only the time in which it draws its idle power is."""
    time_s = times(40)
    power_w = np.where((time_s > 15) & (time_s < 30), 3.0, 1.0)
    power_w[time_s < 9] = 0.0

    found = find_steps(bins_of(time_s, power_w), leave_out=Span(0, 4))

    assert found.blocks[0].before.start_s > 9
    assert found.blocks[0].before.end_s < 15


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_no_load(seed):
    """White noise and wandering power have no two levels."""
    generator = np.random.default_rng(seed)
    white = 1 + generator.normal(0, 0.3, 60 * RATE_HZ)
    wander = 1 + 0.002 * np.cumsum(generator.normal(0, 1, 60 * RATE_HZ))

    for power_w in (white, wander):
        with pytest.raises(MeterTraceError):
            blocks_of(power_w)


def test_one_window_says_that_it_is_one():
    """Its parts' scatter stands in, and the note says what that does not show."""
    time_s = times(30)
    noise = np.random.default_rng(3).normal(0, 0.1, len(time_s))
    bins = bins_of(time_s, np.where((time_s > 10) & (time_s < 20), 3.0, 1.0) + noise)

    made = estimate(bins, find_steps(bins, leave_out=None))

    (term,) = (term for term in made.budget if term.name == "parts")
    assert "only load window; says nothing of another run" in term.note
    assert term.marginal_j > term.gross_j > 0
