"""From an external meter's trace and the load windows in it to joules per inference.

The load windows with the idle time beside them are blocks as a gauge's are, and their energies,
scatter and interval are told by the same rule (``analysis.energy``). One window alone has no
scatter between runs: that of its ``PARTS`` parts stands in, and the note says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from mobilekit.analysis.energy.blocks import (
    Blocks,
    estimate_of_blocks,
    gross_mean,
    idle_weights,
    marginal_mean,
)
from mobilekit.analysis.energy.budget import combine, fixed_term, gross_standards, share_term
from mobilekit.analysis.energy.estimate import estimate_energy
from mobilekit.errors import MeterTraceError
from mobilekit.meter.envelope import PARTS, Bins, Floats, Span
from mobilekit.meter.instrument import MIN_COVERED, InstrumentUncertainty, standard_error
from mobilekit.meter.windows import Block, TraceBlocks
from mobilekit.records.energy import GaugeGain, Plane, UncertaintyTerm
from mobilekit.records.measurement import Measurement
from mobilekit.records.meter import (
    ClockFit,
    MeterEstimate,
    MeterSource,
    MeterTrace,
    MeterWindow,
    MeterWindowsFrom,
)
from mobilekit.units import format_power

PLAUSIBLE_LOAD_W = (0.01, 100.0)
CLOCK_RELATIVE_UNCERTAINTY = 100e-6
"""Of a meter's clock that nothing checked: an assumption, usual for a crystal."""


def estimate_meter_energy(
    bins: Bins,
    found: TraceBlocks,
    *,
    iterations: Sequence[int] | int,
    instrument: InstrumentUncertainty,
    plane: Plane,
    source: MeterSource,
    windows_from: MeterWindowsFrom,
    clock: ClockFit | None,
) -> MeterEstimate:
    """Energy per inference over the blocks of a zeroed trace.

    ``iterations`` are those of each load window, or of all together, which then are spread by the
    windows' lengths. Raises ``MeterTraceError`` for windows that the trace does not cover, for a
    power that no phone draws and for blocks without idle time.
    """
    for number, block in enumerate(found.blocks, start=1):
        _check_covered(bins, block, number)
    spans = [block.load for block in found.blocks]
    # Neighbouring blocks share the idle time between them.
    idle_spans = sorted({span for block in found.blocks for span in block.idle})
    load_s = np.array([span.length_s for span in spans])
    blocks = Blocks(
        power_w=np.array([bins.mean(bins.energy_j, span) for span in (*spans, *idle_spans)]),
        covariance_w2=None,
        load=np.arange(len(spans)),
        idle=idle_weights(
            len(spans) + len(idle_spans),
            [
                [len(spans) + idle_spans.index(span) for span in block.idle]
                for block in found.blocks
            ],
        ),
        load_s=load_s,
        iterations=iterations * load_s / load_s.sum()
        if isinstance(iterations, int)
        else np.array(iterations, dtype=np.float64),
    )
    load_w, idle_w = blocks.power_w[: len(spans)], blocks.idle @ blocks.power_w
    _check_plausible(load_w, idle_w)
    energy = estimate_of_blocks(
        blocks,
        [
            *_parts_terms(bins, found.blocks, blocks.seconds_per_inference),
            *_common_terms(bins, found, blocks, [*spans, *idle_spans], instrument, clock),
        ],
        idle_w=[blocks.power_w[len(spans) :].tolist()],
        origin="measured",
        plane=plane,
    )
    return MeterEstimate(
        **msgspec.structs.asdict(energy),
        source=source,
        windows_from=windows_from,
        windows=tuple(
            MeterWindow(
                start_s=span.start_s,
                end_s=span.end_s,
                load_w=float(load_w[number]),
                idle_w=float(idle_w[number]),
                iterations=float(blocks.iterations[number]),
            )
            for number, span in enumerate(spans)
        ),
        clock=clock,
    )


def _check_covered(bins: Bins, block: Block, number: int) -> None:
    if not block.idle:
        raise MeterTraceError(
            "A load window has no idle time beside it",
            window=number,
            at=f"{block.load.start_s:.3f} s",
            fix="Record idle time before or after the load.",
        )
    for span in (block.load, *block.idle):
        if span.start_s < -bins.width_s or span.end_s > bins.duration_s + bins.width_s:
            raise MeterTraceError(
                "A window of the run lies outside the trace",
                window=f"{span.start_s:.3f} s to {span.end_s:.3f} s",
                trace=f"{bins.duration_s:.3f} s",
                fix="Start the meter before the run, and stop it after the run has ended.",
            )
        covered = bins.integral(bins.covered_s, span) / span.length_s
        if covered < MIN_COVERED:
            raise MeterTraceError(
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
        raise MeterTraceError(
            f"The load's power is {format_power(mean_w)}, which no phone draws",
            plausible=f"{low_w:g} W to {high_w:g} W",
            fix="Check the units of the columns (--value-unit, --time-unit), the shunt and the "
            "supply voltage; a negative power means that the probes are swapped.",
        )
    if not (idle_w < load_w).all():
        raise MeterTraceError(
            "A load window takes no more power than the idle time beside it",
            window=int(np.argmax(idle_w >= load_w)) + 1,
            fix="Check that the trace is of this run and that its columns are the right ones.",
        )


def _common_terms(
    bins: Bins,
    found: TraceBlocks,
    blocks: Blocks,
    spans: Sequence[Span],
    instrument: InstrumentUncertainty,
    clock: ClockFit | None,
) -> list[UncertaintyTerm]:
    """What the meter, and what was found in its trace, make all blocks wrong by; ``spans`` are
    those of the blocks' powers."""
    gross_j, marginal_j = gross_mean(blocks).mean_j, marginal_mean(blocks).mean_j
    slopes = blocks._replace(power_w=np.array([bins.mean(bins.slope_j, span) for span in spans]))
    load_s = float(blocks.load_s.sum())
    covered_s = sum(bins.integral(bins.covered_s, block.load) for block in found.blocks)
    missing = max(0.0, 1 - covered_s / load_s)
    edges_j = (2 * len(found.blocks)) ** 0.5 * found.edge_s / load_s * marginal_j
    clock_relative, clock_note = _clock_share(clock)
    return [
        share_term("gain", instrument.gain, gross_j, marginal_j, instrument.gain_note),
        fixed_term(
            "offset",
            instrument.offset * abs(gross_mean(slopes).mean_j),
            instrument.offset * abs(marginal_mean(slopes).mean_j),
            instrument.offset_note,
        ),
        share_term("voltage", instrument.voltage, gross_j, marginal_j, instrument.voltage_note),
        fixed_term(
            "edges", edges_j, edges_j, f"{found.edge_s * 1e3:.2g} ms at each edge of a window"
        ),
        # What is missing lies somewhere between idle and twice the step.
        share_term(
            "gaps",
            missing / 3**0.5,
            marginal_j,
            marginal_j,
            f"{missing:.2%} of the load's time is not in the trace",
        ),
        share_term("clock", clock_relative, gross_j, marginal_j, clock_note),
    ]


def _clock_share(clock: ClockFit | None) -> tuple[float, str]:
    if clock is None:
        ppm = CLOCK_RELATIVE_UNCERTAINTY * 1e6
        return CLOCK_RELATIVE_UNCERTAINTY, f"{ppm:.0f} ppm of the meter's clock, an assumption"
    relative = (abs(clock.drift_ppm) + clock.drift_uncertainty_ppm) * 1e-6
    return relative, f"{clock.drift_ppm:+.0f} ppm between the meter's clock and the phone's"


def _parts_terms(
    bins: Bins, found: Sequence[Block], seconds_per_inference: Floats
) -> list[UncertaintyTerm]:
    """Of one load window alone, the scatter of its parts and of those of the idle time."""
    if len(found) > 1:
        return []

    def error_w(span: Span) -> float:
        return standard_error(
            np.array([bins.mean(bins.energy_j, part) for part in span.cut(PARTS)])
        )

    (block,), (seconds,) = found, seconds_per_inference.tolist()
    load_w = error_w(block.load)
    idle_w = float(np.linalg.norm([error_w(span) for span in block.idle])) / len(block.idle)
    return [
        UncertaintyTerm(
            name="parts",
            gross_j=load_w * seconds,
            marginal_j=float(np.hypot(load_w, idle_w)) * seconds,
            gross_freedom=PARTS - 1,
            marginal_freedom=PARTS - 1,
            note=f"scatter of {PARTS} parts of the only load window; says nothing of another run",
        )
    ]


# --- what follows from it ----------------------------------------------------------------------


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
    of_meter = combine(gross_standards(estimate.budget, without=("blocks", "parts")))
    of_gauge = combine(gross_standards(gauge.budget, without=("gain", "voltage")))
    return GaugeGain(
        device=measurement.device.gauge_key,
        gain=gauge.gross_j / estimate.gross_j,
        relative_uncertainty=float(np.hypot(of_meter / estimate.gross_j, of_gauge / gauge.gross_j)),
        trace_sha256=trace.sha256,
        run_id=measurement.id,
        measured_at=measured_at,
    )
