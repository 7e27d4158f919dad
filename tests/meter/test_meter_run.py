"""Traces that belong to a stored run: aligned by its synchronisation patterns."""

import re
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from examples import device_info, energy_plan, measurement, samples
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from traces import write_table

from mobilekit import places
from mobilekit.analysis.energy.estimate import estimate_energy
from mobilekit.contract.protocol import PROTOCOL_VERSION, RunSuccess
from mobilekit.errors import MeterTraceError, UsageError
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.energy import GaugeGain
from mobilekit.results.power_plot import IDLE, LOAD, UNUSED, draw_measurement
from mobilekit.results.store import Store
from mobilekit.runner.energy_phase import make_sync_pattern, measure_window
from mobilekit.virtual.battery import BatteryState, SimulatedBattery
from mobilekit.virtual.companion import SimulatedEnergyStage

PROFILE = load_profiles()["nexus7"]
START_NS = 40 * 10**9
PLAN = energy_plan(blocks=5, idle_ns=20 * 10**9, load_ns=20 * 10**9, sample_period_ns=2 * 10**8)


class WatchedBattery(SimulatedBattery):
    """A simulated battery with a perfect meter at its terminals."""

    drawn: list[tuple[int, float]]
    """Nanoseconds, and the mean power over them in watts."""

    def advance(self, duration_ns, power_w):
        while duration_ns > 0:
            step_ns = min(duration_ns, 20_000_000)
            before_j = self.energy_j
            super().advance(step_ns, power_w)
            self.drawn.append((step_ns, (self.energy_j - before_j) / step_ns * 1e9))
            duration_ns -= step_ns


class MeteredRun:
    """A run of a phone with a gauge, and what a meter at its battery recorded beside it."""

    def __init__(self, *, seed=3, patterns=2):
        battery = WatchedBattery(
            PROFILE,
            BatteryState(charge_uah=0.8 * PROFILE.battery.capacity_uah, plugged=False, seed=seed),
        )
        battery.drawn = []
        stage = SimulatedEnergyStage(PROFILE, battery, [103_000_000, 98_000_000], START_NS)
        made = [make_sync_pattern(stage)] if patterns > 0 else []
        before = stage.truth
        self.windows = tuple(
            measure_window(PLAN, stage, is_load=number % 2 == 1)
            for number in range(2 * PLAN.blocks + 1)
        )
        after = stage.truth
        made += [make_sync_pattern(stage)] if patterns > 1 else []
        self.gross_j = (after.load_energy_j - before.load_energy_j) / (
            after.iterations - before.iterations
        )
        self.iterations = after.iterations - before.iterations
        self.measurement = measurement(
            device=device_info(serial="0123", name="nexus7"),
            result=RunSuccess(
                protocol_version=PROTOCOL_VERSION,
                run_id="nin-nexus7-1",
                samples=samples(windows=self.windows, sync_patterns=tuple(made)),
            ),
        )
        steps_ns, self._power_w = (np.array(column) for column in zip(*battery.drawn, strict=True))
        self._ends_s = (START_NS + np.cumsum(steps_ns)) / 1e9

    def trace(self, *, ahead_s=57.3, drift=80e-6, rate_hz=200, noise_w=0.05, volt=4.0):
        """Times, currents and voltages; the meter was started ``ahead_s`` before the run."""
        last_s = ahead_s + (1 + drift) * self._ends_s[-1] + 20
        time_s = np.arange(round(last_s * rate_hz)) / rate_hz
        phone_s = (time_s - ahead_s) / (1 + drift)
        place = np.searchsorted(self._ends_s, phone_s)
        # Before the energy phase the phone is at other work, after it it is idle.
        power_w = np.append(self._power_w, 1.0)[place]
        generator = np.random.default_rng(5)
        early = phone_s < START_NS / 1e9
        power_w[early] = np.repeat(generator.choice([1.0, 2.0, 3.4], 100), rate_hz)[: early.sum()]
        power_w += generator.normal(0, noise_w, len(time_s))
        return time_s, power_w / volt, np.full(len(time_s), volt)

    def write(self, path, **options):
        return write_table(
            path,
            self.trace(**options),
            header="t(s),I(A),U(V)",
            formats=["%.4f", "%.5f", "%.3f"],
        )


@pytest.fixture(scope="module")
def run():
    return MeteredRun()


@pytest.fixture
def stored(mobilekit, run):
    """The run, in the results of the command."""
    store = Store(places.default_store())
    store.save(run.measurement)
    return store


def test_a_trace_is_aligned_by_its_run(run, stored, meter_import, tmp_path):
    """Windows, iterations, drift and energy are found, whatever the phone did before."""
    trace = run.write(tmp_path / "trace.csv")

    document = meter_import(trace, "--run", "last", "--gain-uncertainty", 0.002).document
    estimate = document["estimate"]

    assert estimate["windows_from"] == "synchronisation"
    assert estimate["iterations"] == run.iterations
    assert len(estimate["windows"]) == PLAN.blocks
    assert estimate["gross_j"] == pytest.approx(run.gross_j, rel=2e-3)
    interval = estimate["gross_interval_j"]
    assert interval["low"] < run.gross_j < interval["high"]
    clock = estimate["clock"]
    assert clock["drift_ppm"] == pytest.approx(80, abs=3 * clock["drift_uncertainty_ppm"] + 5)
    assert (clock["edges"], clock["patterns"]) == (12, 2)
    for found, window in zip(estimate["windows"], run.windows[1::2], strict=True):
        true_s = 57.3 + (1 + 80e-6) * window.started_ns / 1e9
        assert found["start_s"] == pytest.approx(true_s, abs=0.02)
    # The profile of the run gives the inferences per charge.
    assert document["device"] == "nexus7"
    assert document["charge"]["plane"] == "battery"


def test_the_gauges_gain_is_found_and_stored(run, stored, meter_import, tmp_path):
    """It is what the gauge shows over what the meter shows, kept for the device's later runs."""
    trace = run.write(tmp_path / "trace.csv")
    gauge_j = estimate_energy(run.windows, PROFILE.gauge).gross_j

    document = meter_import(trace, "--run", "last", "--gain-uncertainty", 0.002).document
    gain = stored.read_gain("0123")

    assert gain.gain == pytest.approx(gauge_j / run.gross_j, rel=3e-3)
    assert 0.001 < gain.relative_uncertainty < 0.02
    assert gain.trace_sha256 == document["trace"]["sha256"]
    assert document["gain"]["gain"] == gain.gain
    assert document["gain_refusal"] is None


def test_planes_are_never_compared(run, stored, meter_import, tmp_path):
    """A meter in the USB cable gives no gain of a gauge at the battery."""
    trace = run.write(tmp_path / "trace.csv", volt=5.0)

    document = meter_import(trace, "--run", "last").document

    assert document["estimate"]["plane"] == "usb"
    assert document["gain"] is None
    assert "USB plane" in document["gain_refusal"]
    assert stored.read_gain("0123") is None


def test_one_pattern_leaves_the_drift_open(mobilekit, meter_import, tmp_path):
    """Where the run ended early, the clocks are taken as equal, and the edges as less certain."""
    run = MeteredRun(patterns=1)
    Store(places.default_store()).save(run.measurement)
    trace = run.write(tmp_path / "trace.csv")

    estimate = meter_import(trace, "--run", "last").estimate

    assert estimate["clock"]["drift_ppm"] == 0
    assert estimate["clock"]["drift_uncertainty_ppm"] > 100
    assert estimate["gross_j"] == pytest.approx(run.gross_j, rel=5e-3)


@pytest.mark.parametrize("drift", [450e-6, -700e-6])
def test_clocks_that_differ_too_much_are_refused(drift, run, stored, meter_import, tmp_path):
    """A drift beyond 200 ppm is no clock's, but a wrong trace's or unit's."""
    error = meter_import(run.write(tmp_path / "t.csv", drift=drift), "--run", "last").error

    assert isinstance(error, MeterTraceError)
    assert "differ too much" in error.what


def test_a_trace_of_another_run_is_refused(run, stored, meter_import, tmp_path):
    """A weak correlation is no alignment."""
    time_s, current_a, volt = run.trace()
    generator = np.random.default_rng(0)
    other_a = np.repeat(generator.choice([0.25, 0.8], len(time_s) // 600 + 1), 600)[: len(time_s)]
    columns = (time_s, other_a + 0.01 * current_a, volt)
    trace = write_table(tmp_path / "trace.csv", columns, header="t(s),I(A),U(V)")

    error = meter_import(trace, "--run", "last").error

    assert isinstance(error, MeterTraceError)
    assert "cannot be found" in error.what


def test_a_trace_that_ends_before_its_run_is_refused(run, stored, meter_import, tmp_path):
    """Its second pattern is not there."""
    time_s, current_a, volt = run.trace()
    part = time_s < 200
    trace = write_table(
        tmp_path / "trace.csv", (time_s[part], current_a[part], volt[part]), header="t(s),I(A),U(V)"
    )

    error = meter_import(trace, "--run", "last").error

    assert isinstance(error, MeterTraceError)


def test_a_run_without_pattern_is_refused(mobilekit, meter_import, run, tmp_path):
    """Nothing tells where it is in the trace."""
    bare = MeteredRun(patterns=0)
    Store(places.default_store()).save(bare.measurement)

    error = meter_import(run.write(tmp_path / "trace.csv"), "--run", "last").error

    assert isinstance(error, MeterTraceError)
    assert "no synchronisation pattern" in error.what


def test_a_virtual_phones_run_is_refused(mobilekit, meter_import, run, tmp_path):
    """No meter saw its battery."""
    Store(places.default_store()).save(msgspec.structs.replace(run.measurement, virtual=True))

    error = meter_import(tmp_path / "trace.csv", "--run", "last").error

    assert isinstance(error, UsageError)
    assert "virtual" in error.what


def test_iterations_that_contradict_the_run_are_refused(run, stored, meter_import, tmp_path):
    """The phone counted them."""
    error = meter_import(run.write(tmp_path / "trace.csv"), "--run", "last", "-n", 5).error

    assert isinstance(error, UsageError)
    assert str(run.iterations) in error.what


def test_a_gain_that_was_known_does_not_change_what_is_found(
    mobilekit, run, meter_import, tmp_path
):
    """The gauge is compared as it counts, also in a run whose energy was corrected already."""
    known = GaugeGain(
        device="0123",
        gain=0.5,
        relative_uncertainty=0.01,
        trace_sha256="0" * 64,
        run_id="earlier",
        measured_at="2026-05-04T10:00:00+00:00",
    )
    Store(places.default_store()).save(msgspec.structs.replace(run.measurement, gain=known))

    document = meter_import(run.write(tmp_path / "trace.csv"), "--run", "last").document

    assert document["gain"]["gain"] == pytest.approx(1.0, abs=0.05)


def test_a_stored_measurements_power_is_drawn(run):
    """The windows' powers with their idle levels, and below them the counter's staircase."""
    figure = draw_measurement(run.measurement)

    above, below = figure.axes
    assert "nin on nexus7, power by the charge counter: " in above.get_title()
    assert re.search(r"\n.*J \[.*\] gross and .*J \[.*\] marginal per inf", above.get_title())
    assert above.get_ylabel() == "power (W)"
    assert (below.get_xlabel(), below.get_ylabel()) == (
        "time in the energy phase (s)",
        "charge (mAh)",
    )
    start_ns = run.windows[0].started_ns
    edges_s = [
        ((window.started_ns - start_ns) / 1e9, (window.ended_ns - start_ns) / 1e9)
        for window in run.windows
    ]
    assert above.get_xlim() == (0, edges_s[-1][1])
    lines = {"solid": [], "dashed": []}
    for drawn in above.collections:
        if isinstance(drawn, LineCollection):
            style = "dashed" if drawn.get_linestyles()[0][1] else "solid"
            lines[style] += [
                (start, end, level) for (start, level), (end, _) in drawn.get_segments()
            ]
    # A level for each window, the idle ones about a watt; an idle level below each load.
    assert [line[:2] for line in lines["solid"]] == [*map(pytest.approx, edges_s)]
    powers_w = [line[2] for line in lines["solid"]]
    assert powers_w[::2] == pytest.approx([PROFILE.power.idle_mw / 1000] * 6, rel=0.25)
    assert min(powers_w[1::2]) > 1.5 * max(powers_w[::2])
    assert [line[:2] for line in lines["dashed"]] == [*map(pytest.approx, edges_s[1::2])]
    assert [line[2] for line in lines["dashed"]] == pytest.approx(
        [(before + after) / 2 for before, after in pairwise(powers_w[::2])]
    )
    # A span for each window in both, coloured by its kind.
    for axes in (above, below):
        colours = [to_hex(span.get_facecolor()).upper() for span in axes.patches]
        assert colours == [IDLE, LOAD] * PLAN.blocks + [IDLE]
    (counter,) = below.lines
    charges_mah = counter.get_ydata()
    assert counter.get_drawstyle() == "steps-post"
    assert len(charges_mah) == sum(len(window.battery) for window in run.windows)
    assert all(after <= before for before, after in pairwise(charges_mah))
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {
        "power",
        "marginal energy",
        "idle level",
        "idle window",
        "load window",
        "95 % by the gauge's resolution alone",
        "charge counter",
    }


def test_what_does_not_count_is_grey(run):
    """A window with the cable in: it stands there, and no power is told of it."""
    last = run.windows[-1]
    plugged = msgspec.structs.replace(
        last,
        battery=tuple(msgspec.structs.replace(item, plugged=True) for item in last.battery),
    )
    success = run.measurement.result
    windows = (*run.windows[:-1], plugged)
    changed = msgspec.structs.replace(
        success, samples=msgspec.structs.replace(success.samples, windows=windows)
    )

    above, _ = draw_measurement(msgspec.structs.replace(run.measurement, result=changed)).axes

    colours = [to_hex(span.get_facecolor()).upper() for span in above.patches]
    # The load before it has no idle window behind it: its block is not complete.
    assert colours == [IDLE, LOAD] * (PLAN.blocks - 1) + [IDLE, UNUSED, UNUSED]


def test_a_stored_measurement_is_drawn_into_a_file(stored, mobilekit, tmp_path):
    """`results plot` takes its name."""
    picture = tmp_path / "run.png"

    said = mobilekit("results", "plot", "last", picture)

    assert said.error is None
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_measurement_without_windows_is_not_drawn(mobilekit, tmp_path):
    """It says so."""
    Store(places.default_store()).save(measurement())

    error = mobilekit("results", "plot", "last", tmp_path / "run.png").error

    assert isinstance(error, UsageError)
    assert "no energy windows" in error.what
    assert not (tmp_path / "run.png").exists()


def test_windows_are_those_of_the_run(run):
    """The tests' run is what a companion makes: idle and load in turn, without holes."""
    assert [window.kind for window in run.windows[:3]] == ["idle", "load", "idle"]
    assert all(a.ended_ns == b.started_ns for a, b in pairwise(run.windows))
