"""What an external meter's trace says, as a JSON document and as text for people."""

from __future__ import annotations

from mobilekit.analysis.energy.charge import estimate_charge
from mobilekit.contract.codec import Record
from mobilekit.records.energy import ChargeEstimate, GaugeGain, Plane
from mobilekit.records.meter import UNIT_OF_READING, MeterEstimate, MeterResult, MeterTrace
from mobilekit.results.documents import MeasurementDocument
from mobilekit.results.tables.cell_text import quantity_text
from mobilekit.units import (
    NS_PER_S,
    format_count,
    format_duration,
    format_energy,
    format_power,
)

PLANE_TEXTS: dict[Plane, str] = {
    "usb": "USB plane: the charger's and the PMIC's losses are in it",
    "battery": "battery plane",
}


# History: 1: first; 2: an energy and a charge are told by the same records as a gauge's; 3: it is
# stored, and has an id.
class MeterDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.meter/3"):
    """``meter import``, and ``results show`` of an import."""

    id: str
    imported_at: str
    """ISO 8601, UTC."""
    trace: MeterTrace
    estimate: MeterEstimate
    model: str | None
    run_id: str | None
    """The stored run that the trace is of; ``None`` where none was named."""
    device: str | None
    """The profile whose battery ``charge`` is of."""
    charge: ChargeEstimate | None
    """``None`` without a device."""
    gain: GaugeGain | None
    """Of the phone's own gauge, in the same windows; ``None`` where it cannot be told."""
    gain_refusal: str | None
    """Why not, where a run was named."""


# History: 1: first.
class ExportDocument(Record, frozen=True, tag_field="schema", tag="mobilekit.export/1"):
    """``results export`` of several results, the newest first, or in the order that was given."""

    measurements: tuple[MeasurementDocument, ...]
    imports: tuple[MeterDocument, ...]


def make_meter_document(result: MeterResult) -> MeterDocument:
    profile = result.profile
    return MeterDocument(
        id=result.id,
        imported_at=result.imported_at,
        trace=result.trace,
        estimate=result.estimate,
        model=result.model,
        run_id=result.run_id,
        device=profile.name if profile is not None else None,
        charge=estimate_charge(result.estimate, profile) if profile is not None else None,
        gain=result.gain,
        gain_refusal=result.gain_refusal,
    )


def render_meter(document: MeterDocument) -> str:
    """A figure a line, each with its source, plane and interval, then what was assumed."""
    trace, estimate = document.trace, document.estimate
    unit = UNIT_OF_READING[trace.kind]
    each_ns = estimate.seconds_per_inference * NS_PER_S
    rows = [
        (
            "power",
            f"{format_power(estimate.load_w)} under load, {format_power(estimate.idle_w)} idle",
        ),
        (
            "windows",
            f"{estimate.blocks} of load, {format_duration(each_ns * estimate.iterations)} in all, "
            f"by {_windows_from(estimate)}; {estimate.iterations} inferences, "
            f"{format_duration(each_ns)} each",
        ),
        (
            "energy",
            f"{quantity_text(estimate.gross_j, 'J', estimate.gross_interval_j)} gross, "
            f"{quantity_text(estimate.marginal_j, 'J', estimate.marginal_interval_j)} marginal   "
            f"{estimate.source}, {PLANE_TEXTS[estimate.plane]}{_range_text(estimate)}",
        ),
        ("budget", _budget_text(estimate)),
    ]
    if document.charge is not None:
        rows.append(("charge", _charge_text(document.charge, document.device)))
    if document.gain is not None:
        rows.append(("gauge", _gain_text(document.gain)))
    if document.gain_refusal is not None:
        rows.append(("gauge", document.gain_refusal))
    rows.append(
        (
            "trace",
            f"{trace.samples:,} samples of {trace.reading}, {format_duration(trace.period_s * 1e9)}"
            f" apart, {format_duration(trace.duration_s * 1e9)}; offset {trace.offset:.4g} {unit}"
            f"{_losses_text(trace)}",
        )
    )
    rows.append(("saved", document.id))
    model = [document.model] if document.model is not None else []
    heading = " · ".join((trace.file, *model, trace.format, f"{estimate.plane} plane"))
    lines = [heading, *(f"  {name:8}  {text}" for name, text in rows)]
    return "\n".join([*lines, *(f"Note: {note}." for note in trace.notes)])


def _windows_from(estimate: MeterEstimate) -> str:
    clock = estimate.clock
    if clock is None:
        names = {"steps": "the trace's own steps", "digital channel": "the digital channel"}
        return names[estimate.windows_from]
    return (
        f"the phone's record, its clock fitted by {clock.edges} edges of {clock.patterns} "
        f"pattern{'s' if clock.patterns > 1 else ''} "
        f"({clock.drift_ppm:+.0f} +- {clock.drift_uncertainty_ppm:.0f} ppm)"
    )


def _budget_text(estimate: MeterEstimate) -> str:
    """Standard uncertainties relative to the gross energy, the largest first."""
    terms = sorted(estimate.budget, key=lambda term: -term.gross_j)
    shown = [
        f"{term.name} {term.gross_j / estimate.gross_j:.2%}"
        for term in terms
        if term.gross_j >= 5e-5 * estimate.gross_j
    ]
    return f"{', '.join(shown)} of the gross energy (standard uncertainties)"


def _range_text(estimate: MeterEstimate) -> str:
    """What too few load windows give in place of an interval."""
    if estimate.interval_kind == "interval_95":
        return ""
    windows = f"{estimate.blocks} load window{'s' if estimate.blocks > 1 else ''}"
    return f"; range of {windows}, not a 95 % interval"


def _charge_text(charge: ChargeEstimate, device: str | None) -> str:
    interval = charge.inferences_interval
    return (
        f"{format_count(charge.inferences)} inferences "
        f"[{format_count(interval.low)}, {format_count(interval.high)}] "
        f"on {format_energy(charge.battery_j)} of {device}, {PLANE_TEXTS[charge.plane]}"
        f"{', from a range' if charge.interval_kind == 'block_range' else ''}"
    )


def _gain_text(gain: GaugeGain) -> str:
    return (
        f"shows {gain.gain:.3f} +- {1.96 * gain.relative_uncertainty * gain.gain:.3f} of what the "
        f"meter shows; kept for later runs of {gain.device}"
    )


def _losses_text(trace: MeterTrace) -> str:
    parts = [
        f"{count:,} {what}"
        for count, what in ((trace.missing, "without a number"), (trace.misplaced, "out of order"))
        if count
    ]
    if trace.gaps:
        parts.append(f"{trace.gaps} gaps, {format_duration(trace.gap_s * 1e9)} in all")
    return f"; {', '.join(parts)}" if parts else ""
