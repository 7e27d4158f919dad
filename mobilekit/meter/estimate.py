"""From an external meter's trace and the load windows in it to joules per inference.

**Energy.** With E_w the integral over a load window of length T_w, n inferences in all, and the
idle windows on both sides,

    E_gross = sum(E_w) / n        E_marginal = sum(E_w - T_w (P_before + P_after) / 2) / n

**Interval.** h^2 = (t u_windows)^2 + sum (1.96 u)^2 over the other terms of the budget, with
Student's t for K - 1 degrees of freedom over K load windows. One window alone is cut into
``PARTS`` parts in place of it, which shows no scatter between runs; the note says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from mobilekit.analysis.energy.estimate import (
    BATTERY_RELATIVE_UNCERTAINTY,
    NORMAL_95,
    estimate_energy,
)
from mobilekit.errors import TraceRefusedError
from mobilekit.meter.envelope import PARTS, Bins, Floats, ReadingKind, Span
from mobilekit.meter.records import (
    ClockFit,
    MeterCharge,
    MeterEstimate,
    MeterSource,
    MeterTerm,
    MeterTrace,
    MeterUncertainty,
    MeterWindow,
    MeterWindowsFrom,
    Plane,
)
from mobilekit.meter.windows import Block, TraceBlocks
from mobilekit.records.device import DeviceProfile
from mobilekit.records.energy import GaugeGain
from mobilekit.records.measurement import Measurement
from mobilekit.records.statistics import Interval
from mobilekit.units import format_power

PLAUSIBLE_LOAD_W = (0.01, 100.0)
MIN_COVERED = 0.99
MAX_ZERO_SHARE = 0.2
"""Of the idle reading, for an offset: beyond it something was drawn while the zero was taken."""
UNIT_OF_READING: dict[ReadingKind, str] = {"shunt voltage": "V", "current": "A", "power": "W"}
CLOCK_RELATIVE_UNCERTAINTY = 100e-6
"""Of a meter's clock that nothing checked: an assumption, usual for a crystal."""


class Instrument(NamedTuple):
    """What is assumed of a meter that nobody calibrated, as standard uncertainties."""

    gain: float
    """Relative."""
    offsets: dict[ReadingKind, float]
    """Of a zero that nobody took, in volts, amperes or watts."""


INSTRUMENTS: dict[MeterSource, Instrument] = {
    # A resistor of 1 % and an oscilloscope's vertical gain of 2 %; its zero wanders by millivolts.
    "shunt": Instrument(0.02, {"shunt voltage": 1e-3}),
    # Monsoon gives +-1 %, Nordic up to +-10 % in the lowest of the ranges, Joulescope +-0.5 %.
    "monsoon": Instrument(0.01, {"current": 1e-3}),
    "ppk2": Instrument(0.05, {"current": 1e-4}),
    "joulescope": Instrument(0.005, {"current": 1e-4, "power": 1e-3}),
    "meter": Instrument(0.03, {"current": 1e-3, "power": 5e-3}),
}
"""All of them assumptions: round figures of the size that makers give."""
GIVEN_OFFSET_SHARE = 0.1
"""Of an offset that was given by hand: an assumption."""
CONSTANT_VOLTAGE_UNCERTAINTY = 0.01
"""Of a supply voltage that was given by hand, relative, for its sag under load: an assumption."""


class Budget(NamedTuple):
    """Standard uncertainties of the meter, with where they are from."""

    gain: float
    """Relative to the energy."""
    gain_note: str
    offset: float
    """In the unit of the reading."""
    offset_note: str
    voltage: float
    """Relative; 0 where each sample has its own voltage."""
    voltage_note: str


def measure_offset(bins: Bins, zero: Span) -> tuple[float, float]:
    """The mean reading of the part in which nothing was drawn, and its standard uncertainty.

    The uncertainty is the standard error over ``PARTS`` parts, so that slow noise counts.
    Raises ``TraceRefusedError`` where the trace has too little of it.
    """
    covered_s = bins.integral(bins.covered_s, zero)
    if zero.end_s > bins.duration_s or covered_s < MIN_COVERED * zero.length_s:
        raise TraceRefusedError(
            "The trace does not cover the time that its zero is to be taken from",
            zero=f"{zero.start_s:g} s to {zero.end_s:g} s",
            trace=f"{bins.duration_s:g} s",
            fix="Give a time within the trace, in seconds since its first sample: --zero 0:5.",
        )
    means = np.array([bins.mean(bins.reading_s, part) for part in zero.cut(PARTS)])
    return float(means.mean()), _standard_error(means)


def doubt_zero(bins: Bins, blocks: Sequence[Block], offset: float) -> list[str]:
    """A note where the offset that was taken off the ``bins`` is much of their idle reading."""
    levels = [bins.mean(bins.reading_s, span) for block in blocks for span in block.idle]
    idle = float(np.mean(levels)) + offset
    if not idle or abs(offset) <= MAX_ZERO_SHARE * abs(idle):
        return []
    return [
        f"the offset of --zero is {abs(offset / idle):.0%} of the idle reading: if the phone was "
        "connected then, its own idle power is taken for the meter's zero, and gross energy and "
        "idle power are too low; --zero is for a time in which nothing was connected"
    ]


def make_budget(
    source: MeterSource,
    kind: ReadingKind,
    *,
    gain: float | None,
    given_offset: float | None,
    measured_offset_uncertainty: float | None,
    constant_voltage: bool,
) -> Budget:
    """The meter's uncertainties: ``gain`` as the user states it, the zero as it was taken."""
    instrument = INSTRUMENTS[source]
    unit = UNIT_OF_READING[kind]
    if measured_offset_uncertainty is not None:
        offset = measured_offset_uncertainty
        offset_note = f"{offset:.2g} {unit}, the standard error of the part that was zeroed on"
    elif given_offset is not None:
        offset = GIVEN_OFFSET_SHARE * abs(given_offset)
        offset_note = f"{offset:.2g} {unit}, a tenth of the offset that was given, an assumption"
    else:
        offset = instrument.offsets[kind]
        offset_note = f"{offset:.2g} {unit} of a meter that was not zeroed, an assumption"
    voltage = CONSTANT_VOLTAGE_UNCERTAINTY if constant_voltage else 0.0
    return Budget(
        gain=instrument.gain if gain is None else gain,
        gain_note=f"{instrument.gain:.1%} of an uncalibrated meter, an assumption"
        if gain is None
        else f"{gain:.1%}, as stated",
        offset=offset,
        offset_note=offset_note,
        voltage=voltage,
        voltage_note=f"{voltage:.1%} of a voltage that was given by hand, an assumption"
        if constant_voltage
        else "recorded by the meter; in its gain",
    )


def estimate_meter_energy(
    bins: Bins,
    found: TraceBlocks,
    *,
    iterations: Sequence[int] | int,
    budget: Budget,
    plane: Plane,
    source: MeterSource,
    windows_from: MeterWindowsFrom,
    clock: ClockFit | None,
) -> MeterEstimate:
    """Energy per inference over the blocks of a zeroed trace.

    ``iterations`` are those of each load window, or of all together, which then are spread by the
    windows' lengths. Raises ``TraceRefusedError`` for windows that the trace does not cover, for a
    power that no phone draws and for blocks without idle time.
    """
    blocks = found.blocks
    for number, block in enumerate(blocks, start=1):
        _check_covered(bins, block, number)
    load_s = np.array([block.load.length_s for block in blocks])
    counts = (
        iterations * load_s / load_s.sum() if isinstance(iterations, int) else np.array(iterations)
    )
    total = float(counts.sum())
    load_w, idle_w = _block_means(bins, blocks, bins.energy_j)
    _check_plausible(load_w, idle_w)
    load_slope_w, idle_slope_w = _block_means(bins, blocks, bins.slope_j)

    def per_inference(power_w: Floats) -> float:
        return float((power_w * load_s).sum()) / total

    gross_j, marginal_j = per_inference(load_w), per_inference(load_w - idle_w)
    covered_s = sum(bins.integral(bins.covered_s, block.load) for block in blocks)
    missing = max(0.0, 1 - covered_s / float(load_s.sum()))
    edges_j = (2 * len(blocks)) ** 0.5 * found.edge_s * float(np.mean(load_w - idle_w)) / total
    clock_relative, clock_note = _clock_term(clock)
    terms = (
        _windows_term(bins, blocks, load_w * load_s / counts, idle_w * load_s / counts, counts),
        _common("gain", budget.gain, gross_j, marginal_j, budget.gain_note),
        MeterUncertainty(
            name="offset",
            gross_j=budget.offset * abs(per_inference(load_slope_w)),
            marginal_j=budget.offset * abs(per_inference(load_slope_w - idle_slope_w)),
            note=budget.offset_note,
        ),
        _common("voltage", budget.voltage, gross_j, marginal_j, budget.voltage_note),
        MeterUncertainty(
            name="edges",
            gross_j=edges_j,
            marginal_j=edges_j,
            note=f"{found.edge_s * 1e3:.2g} ms at each edge of a window",
        ),
        # What is missing lies somewhere between idle and twice the step.
        _common(
            "gaps",
            missing / 3**0.5,
            marginal_j,
            marginal_j,
            f"{missing:.2%} of the load's time is not in the trace",
        ),
        _common("clock", clock_relative, gross_j, marginal_j, clock_note),
    )
    freedom = (len(blocks) if len(blocks) > 1 else PARTS) - 1
    return MeterEstimate(
        source=source,
        plane=plane,
        windows_from=windows_from,
        windows=tuple(
            MeterWindow(
                start_s=block.load.start_s,
                end_s=block.load.end_s,
                load_w=float(load_w[number]),
                idle_w=float(idle_w[number]),
                iterations=float(counts[number]),
            )
            for number, block in enumerate(blocks)
        ),
        iterations=round(total),
        load_s=float(load_s.sum()),
        idle_w=float(np.average(idle_w, weights=load_s)),
        load_w=float(np.average(load_w, weights=load_s)),
        gross_j=gross_j,
        gross_interval_j=_interval(gross_j, [term.gross_j for term in terms], freedom),
        marginal_j=marginal_j,
        marginal_interval_j=_interval(marginal_j, [term.marginal_j for term in terms], freedom),
        budget=terms,
        clock=clock,
    )


def _check_covered(bins: Bins, block: Block, number: int) -> None:
    if not block.idle:
        raise TraceRefusedError(
            "A load window has no idle time beside it",
            window=number,
            at=f"{block.load.start_s:.3f} s",
            fix="Record idle time before or after the load.",
        )
    for span in (block.load, *block.idle):
        if span.start_s < -bins.width_s or span.end_s > bins.duration_s + bins.width_s:
            raise TraceRefusedError(
                "A window of the run lies outside the trace",
                window=f"{span.start_s:.3f} s to {span.end_s:.3f} s",
                trace=f"{bins.duration_s:.3f} s",
                fix="Start the meter before the run, and stop it after the run has ended.",
            )
        covered = bins.integral(bins.covered_s, span) / span.length_s
        if covered < MIN_COVERED:
            raise TraceRefusedError(
                "The trace has a gap in a window",
                window=f"{span.start_s:.3f} s to {span.end_s:.3f} s",
                covered=f"{covered:.1%}, needed {MIN_COVERED:.0%}",
                fix="Record again without losing samples; or, without --run, delete the lines of "
                "the file on one side of the gap, and give the --iterations of the other.",
            )


def _check_plausible(load_w: Floats, idle_w: Floats) -> None:
    low_w, high_w = PLAUSIBLE_LOAD_W
    mean_w = float(load_w.mean())
    if not low_w <= mean_w <= high_w:
        raise TraceRefusedError(
            f"The load's power is {format_power(mean_w)}, which is no phone's",
            plausible=f"{low_w:g} W to {high_w:g} W",
            fix="Check the units of the columns (--value-unit, --time-unit), the shunt and the "
            "supply voltage; a negative power means that the probes are swapped.",
        )
    if not (idle_w < load_w).all():
        raise TraceRefusedError(
            "A load window takes no more power than the idle time beside it",
            window=int(np.argmax(idle_w >= load_w)) + 1,
            fix="Check that the trace is of this run and that its columns are the right ones.",
        )


def _block_means(bins: Bins, blocks: Sequence[Block], values: Floats) -> tuple[Floats, Floats]:
    """Of one of the integrals: over each load window, and over the idle windows beside it."""
    load = [bins.mean(values, block.load) for block in blocks]
    idle = [np.mean([bins.mean(values, span) for span in block.idle]) for block in blocks]
    return np.array(load), np.array(idle)


def _common(
    name: MeterTerm, relative: float, gross_j: float, marginal_j: float, note: str
) -> MeterUncertainty:
    """A term that is a share of the energy."""
    return MeterUncertainty(
        name=name, gross_j=relative * gross_j, marginal_j=relative * marginal_j, note=note
    )


def _clock_term(clock: ClockFit | None) -> tuple[float, str]:
    if clock is None:
        ppm = CLOCK_RELATIVE_UNCERTAINTY * 1e6
        return CLOCK_RELATIVE_UNCERTAINTY, f"{ppm:.0f} ppm of the meter's clock, an assumption"
    relative = (abs(clock.drift_ppm) + clock.drift_uncertainty_ppm) * 1e-6
    return relative, f"{clock.drift_ppm:+.0f} ppm between the meter's clock and the phone's"


def _windows_term(
    bins: Bins, blocks: Sequence[Block], load_j: Floats, idle_j: Floats, counts: Floats
) -> MeterUncertainty:
    """Scatter of the windows' joules per inference or, of one window, of its parts."""
    if len(blocks) > 1:
        return MeterUncertainty(
            name="windows",
            gross_j=_standard_error(load_j),
            marginal_j=_standard_error(load_j - idle_j),
            note=f"scatter of {len(blocks)} load windows, Student's t",
        )

    def error_w(span: Span) -> float:
        return _standard_error(
            np.array([bins.mean(bins.energy_j, part) for part in span.cut(PARTS)])
        )

    (block,) = blocks
    seconds = block.load.length_s / float(counts[0])
    load_w = error_w(block.load)
    idle_w = float(np.linalg.norm([error_w(span) for span in block.idle])) / len(block.idle)
    return MeterUncertainty(
        name="windows",
        gross_j=load_w * seconds,
        marginal_j=float(np.hypot(load_w, idle_w)) * seconds,
        note=f"scatter of {PARTS} parts of the only load window; says nothing of another run",
    )


def _standard_error(values: Floats) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _interval(value_j: float, standard_j: Sequence[float], freedom: int) -> Interval:
    """95 %: Student's t for the first, the scatter of the windows, and 1.96 for the others."""
    windows_j, *others_j = standard_j
    student_t = float(stdtrit(freedom, 0.975))
    half_width_j = float(
        np.sqrt((student_t * windows_j) ** 2 + sum((NORMAL_95 * term) ** 2 for term in others_j))
    )
    return Interval(low=value_j - half_width_j, high=value_j + half_width_j)


# --- what follows from it ----------------------------------------------------------------------


def estimate_meter_charge(estimate: MeterEstimate, profile: DeviceProfile) -> MeterCharge:
    """Inferences per charge: N = E_battery / E_gross, with both relative uncertainties."""
    inferences = profile.battery.energy_j / estimate.gross_j
    half_width_j = estimate.gross_interval_j.high - estimate.gross_j
    half_width = inferences * float(
        np.hypot(half_width_j / estimate.gross_j, NORMAL_95 * BATTERY_RELATIVE_UNCERTAINTY)
    )
    return MeterCharge(
        plane=estimate.plane,
        device=profile.name,
        battery_j=profile.battery.energy_j,
        battery_source=profile.sources["battery.energy_j"],
        battery_relative_uncertainty=BATTERY_RELATIVE_UNCERTAINTY,
        inferences=inferences,
        inferences_interval=Interval(
            low=max(0.0, inferences - half_width), high=inferences + half_width
        ),
    )


def compare_with_gauge(
    estimate: MeterEstimate, trace: MeterTrace, measurement: Measurement, *, measured_at: str
) -> GaugeGain | str:
    """The gain of the phone's gauge, its energy over the meter's in the same windows; a text that
    says why where it cannot be told.

    What the windows scatter is the phone's own and seen by both; the gauge's gain and voltage are
    what is found. The other terms of both budgets make the uncertainty.
    """
    if estimate.plane != "battery":
        return "not compared: the gauge is on the battery plane, the meter on the USB plane"
    gauge = None
    if measurement.profile is not None:
        # Without the gain that was known already: it is to be found anew.
        gauge = estimate_energy(
            measurement.result.samples.windows, measurement.profile.gauge, measurement.gauge
        )
    if gauge is None or gauge.plane != "battery":
        return "not compared: the run has no energy from the phone's own gauge"
    relative = [
        term.gross_j / estimate.gross_j for term in estimate.budget if term.name != "windows"
    ]
    relative += [
        term.gross_j / gauge.gross_j
        for term in gauge.budget
        if term.name not in ("gain", "voltage")
    ]
    return GaugeGain(
        device=measurement.device.gauge_key,
        gain=gauge.gross_j / estimate.gross_j,
        relative_uncertainty=float(np.sqrt(np.square(relative).sum())),
        trace_sha256=trace.sha256,
        run_id=measurement.id,
        measured_at=measured_at,
    )
