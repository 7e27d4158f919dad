"""Text for people: one measurement, lists of them, findings. Formatting happens only here."""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from mobilekit.records.artifact import LARGEST_ERRORS, Artifact, Calibration
from mobilekit.records.energy import (
    ChargeEstimate,
    EnergyEstimate,
    EnergyPlane,
    EnergySource,
    GaugeEvidence,
    GaugeFound,
    GaugeRefusal,
    IntervalKind,
    PlannedEnergy,
    RateEstimate,
    Use,
)
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import Answer, Measurement, WaitingRun
from mobilekit.records.network import ModelCard, ModelCost, ModelSpec
from mobilekit.records.statistics import (
    Accuracy,
    Interval,
    MemoryGrowth,
    Origin,
    Proportion,
    Summary,
)
from mobilekit.results.document import LifeDocument
from mobilekit.units import (
    NS_PER_S,
    format_bytes,
    format_count,
    format_duration,
    format_energy,
    format_hours,
    format_significant,
)

VIRTUAL_LABEL = "virtual: latency is this computer's, energy is simulated"
FAR_FROM_MEDIAN = 0.1
"""Of a mean time from the median, so that both are shown."""
SOURCE_NAMES: dict[EnergySource, str] = {
    "charge_counter": "charge counter",
    "current_now": "current x voltage",
    "energy_counter": "energy counter",
    "power_rails": "power rails",
}
PLANE_NAMES: dict[EnergyPlane, str] = {
    "battery": "at the battery",
    "rails": "of the parts that have one",
}
STEP_NAMES: dict[EnergySource, str] = {
    "charge_counter": "steps",
    "current_now": "readings",
    "energy_counter": "steps",
    "power_rails": "readings",
}


def render_measurement(measurement: Measurement, answer: Answer) -> str:
    """The answer to a deploy, a figure a line, then its findings."""
    artifact, device = measurement.artifact, measurement.device
    where = f"{device.name} ({VIRTUAL_LABEL})" if measurement.virtual else device.name
    heading = " · ".join((artifact.model.name, artifact.precision, artifact.backend, where))
    rows = [
        ("init", _init_text(answer.init)),
        ("latency", _latency_text(answer.latency, answer.warmup_iterations)),
        ("memory", _memory_text(answer.memory)),
        ("output", _output_text(measurement)),
    ]
    rows += _accuracy_rows(measurement, answer)
    energy, charge = answer.energy, answer.charge
    if energy is not None:
        rows.append(("energy", _energy_text(energy)))
        if answer.latency is not None:
            rows += _mean_rows(energy, answer.latency)
        rows += [
            (name, _rate_text(name, rate, energy.origin))
            for name, rate in (("burst", energy.burst), ("sustain", energy.sustained))
            if rate is not None
        ]
    if charge is not None:
        rows.append(("charge", _charge_text(charge)))
    rows.append(("took", _time_text(measurement)))
    rows.append(("saved", measurement.id))
    lines = [heading, *(f"  {name:8}  {text}" for name, text in rows)]
    return "\n".join([*lines, *render_findings(measurement.findings)])


def render_artifact(artifact: Artifact, directory: Path) -> str:
    """What became of an export: its file, its size, and what runs where."""
    delegation, calibration = artifact.delegation, artifact.calibration
    left = delegation.portable_text
    rows = [
        ("file", str(directory / Path(artifact.file.path).name)),
        ("size", format_bytes(artifact.file.size_bytes)),
        ("network", _cost_text(artifact.cost)),
        (
            "delegated",
            f"{delegation.mac_fraction:.0%} of the MACs and {delegation.operator_fraction:.0%} of "
            f"the operators{f'; on portable kernels: {left}' if left else ''}",
        ),
        ("outputs", _agreement(artifact)),
        *([("calibrated", _calibration_text(calibration))] if calibration is not None else []),
        ("exporting", f"took {format_duration(artifact.export_ns)}"),
    ]
    heading = " · ".join((artifact.model.name, artifact.precision, artifact.backend))
    return "\n".join([heading, *(f"  {name:10} {text}" for name, text in rows)])


def _agreement(artifact: Artifact) -> str:
    return (
        f"differ from eager PyTorch's in fp32 by {artifact.relative_error:.2g} of the largest "
        f"value, within {artifact.relative_tolerance:.2g}"
    )


def _calibration_text(calibration: Calibration) -> str:
    if calibration.path is None:
        return f"with {calibration.examples} generated inputs: outputs mean little"
    return f"with {calibration.examples} examples of {calibration.path}"


def render_card(spec: ModelSpec, card: ModelCard, cost: ModelCost) -> str:
    """What is known of a network before it is run."""
    shapes = (
        f"{'x'.join(map(str, shape))} {dtype}"
        for shape, dtype in zip(spec.input_shapes, spec.input_dtypes, strict=True)
    )
    measured = (
        f"measured: {card.measured_accuracy}" if card.measured_accuracy else "not measured here"
    )
    rows = [
        ("task", card.task),
        ("input", card.input),
        ("tensors", ", ".join(shapes)),
        ("network", _cost_text(cost)),
        ("accuracy", f"published: {card.published_accuracy or 'none'}; {measured}"),
        ("weights", spec.weights_path or "untrained"),
        ("source", spec.source),
        ("licence", spec.license),
        ("note", card.note),
        ("file", spec.path),
    ]
    lines = [f"{spec.name} · {spec.title}"]
    for name, text in rows:
        indent = " " * 12
        lines += textwrap.wrap(
            text or "", 100, initial_indent=f"  {name:8}  ", subsequent_indent=indent,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    return "\n".join(lines)


def _cost_text(cost: ModelCost) -> str:
    return f"{cost.parameters:,} parameters, {cost.macs:,} MACs"


def render_findings(findings: Iterable[Finding]) -> list[str]:
    words = {"error": "Error", "warning": "Warning", "info": "Note"}
    return [
        f"{words[finding.severity]} {finding.id}: {finding.summary}. {finding.advice}"
        for finding in findings
    ]


def render_life(document: LifeDocument) -> str:
    """How long a charge lasts under a duty cycle, and what that rests on."""
    life = document.life
    told = "simulated" if document.virtual else "measured"
    idle = told if document.idle_measured else "as given"
    how = ", from a range" if document.interval_kind == "block_range" else ""
    how += ", simulated" if document.virtual else ""
    lines = [
        f"{document.model} · {document.device} · one inference every {life.every_s:g} s",
        f"  life      {format_hours(life.hours)} "
        f"[{format_hours(life.hours_interval.low)}, {format_hours(life.hours_interval.high)}]"
        f"{how}",
        f"  count     {format_count(life.inferences)} inferences "
        f"[{format_count(life.inferences_interval.low)}, "
        f"{format_count(life.inferences_interval.high)}]{how}",
        f"  power     {format_significant(life.mean_w)} W in the mean, "
        f"{life.inference_share:.1%} of it for inferences; idle {life.idle_w:.3g} W ({idle})",
        f"  from      {document.measurement_id}: marginal energy by "
        f"{'simulated ' if document.virtual else ''}{SOURCE_NAMES[document.source]} "
        f"{PLANE_NAMES[document.plane]}, "
        f"{_blocks_text(document.blocks, document.interval_kind)}, "
        f"{document.gauge_steps} {STEP_NAMES[document.source]}",
    ]
    if document.other_devices:
        lines.append(
            f"  others    measured on {', '.join(document.other_devices)} too: --device names the "
            "one to take; without it, the newest measurement counts"
        )
    return "\n".join(lines)


def render_waiting(runs: Sequence[WaitingRun]) -> str:
    """What could not be collected, a run a line, and what to do about it."""
    if not runs:
        return "No run is waiting to be collected."
    rows = [
        [
            run.id,
            run.started_at[:16].replace("T", " "),
            run.device,
            run.why,
            f"{run.windows} of {run.planned_windows}" if run.planned_windows else "-",
        ]
        for run in runs
    ]
    advice = {
        "not attached": "Attach the phone, then collect again; --forget ID gives a run up.",
        "running": "Pull the cable again and collect later, or follow it with --wait.",
        "waiting": "It begins by itself when the runs before it are over.",
        "left to itself": "It goes on: pull the cable again and collect later.",
        "followed by another mobilekit": "Wait until the other one is done.",
    }
    lines = [advice[why] for why in sorted({run.why for run in runs})]
    return "\n".join([render_table(["run", "started", "device", "state", "windows"], rows), *lines])


def render_energy_plan(planned: PlannedEnergy, *, simulated: bool) -> str:
    """What an energy run will do and what is to be expected of it, before it begins."""
    plan = planned.plan
    lines = [
        f"Energy by the {SOURCE_NAMES[planned.source]}: {plan.blocks} blocks of idle and load, "
        f"{format_duration(plan.load_ns)} each, "
        f"{planned.expected_duration_ns / NS_PER_S / 60:.1f} min"
        f"{' of simulated time' if simulated else ''} and "
        f"{planned.expected_charge_fraction:.1%} of the battery in all",
        f"  expected: +-{planned.expected_half_width:.1%} of the marginal energy from resolution "
        f"and scatter (target {planned.target_error:.1%}), "
        f"+-{planned.expected_total_half_width:.1%} with the gauge's gain and voltage"
        if math.isfinite(planned.expected_half_width)
        else "  expected: no energy, since the windows are too short for this source's resolution",
    ]
    if planned.limit is not None:
        lines.append(f"  the target is not reached: {planned.limit}")
    return "\n".join(lines)


def render_budget(energy: EnergyEstimate) -> str:
    """Each term of an estimate's uncertainty, as standard uncertainties."""
    rows = [
        [
            term.name,
            format_energy(term.gross_j),
            _share(term.gross_j, energy.gross_j),
            format_energy(term.marginal_j),
            _share(term.marginal_j, energy.marginal_j),
            "-" if term.marginal_freedom is None else f"{term.marginal_freedom:.1f}",
            term.note,
        ]
        for term in energy.budget
    ]
    header = ("term", "gross", "", "marginal", "", "degrees", "what it is")
    interval = (
        "95 % intervals"
        if energy.interval_kind == "interval_95"
        else f"ranges of the {energy.blocks} blocks, which promise no 95 %"
    )
    return "\n".join(
        [
            f"{SOURCE_NAMES[energy.source]} {PLANE_NAMES[energy.plane]}, {energy.blocks} blocks, "
            f"{energy.gauge_steps} {STEP_NAMES[energy.source]}: idle {_watts(energy.idle_w)}, load "
            f"{_watts(energy.load_w)}; standard uncertainties for each inference",
            render_table(header, rows),
            f"gross {_energy_with_interval(energy.gross_j, energy.gross_interval_j)}, marginal "
            f"{_energy_with_interval(energy.marginal_j, energy.marginal_interval_j)}: {interval}",
        ]
    )


def render_gauge(found: GaugeFound) -> str:
    """What a calibration run found out about a gauge, and why."""
    evidence = [[item.name, _value_text(item), item.text] for item in found.evidence]
    shown = render_table(("evidence", "value", "what it says"), evidence) if evidence else ""
    if isinstance(found, GaugeRefusal):
        word = "contradicts itself" if found.contradictory else "tells nothing"
        return "\n".join([f"The gauge of {found.device} {word}: {found.reason}", shown]).rstrip()
    sources = [
        [
            SOURCE_NAMES[item.source] + (" <- used" if item.source == found.source else ""),
            "yes" if item.usable else "no",
            "-" if item.expected_half_width is None else f"+-{item.expected_half_width:.2%}",
            item.reason,
        ]
        for item in found.sources
    ]
    expected = f"expected in {found.stated_blocks} x {found.stated_window_s:.0f} s"
    lines = [
        f"The gauge of {found.device}: {SOURCE_NAMES[found.source]} is trusted",
        shown,
        render_table(("source", "usable", expected, "why"), sources),
    ]
    if found.overridden:
        lines.append(f"set by a person, against this evidence: {', '.join(found.overridden)}")
    return "\n".join(lines)


def render_use(use: Use, *, simulated: bool) -> str:
    """What a charge means in use, a line each."""
    low, high = use.days_interval.low, use.days_interval.high
    note = " (simulated)" if simulated else ""
    lines = [
        f"one inference a minute for {format_significant(use.days_at_one_a_minute)} days "
        f"[{format_significant(low)}, {format_significant(high)}], were it all that the phone "
        f"does{note}"
    ]
    for item in use.uploads:
        lower, upper = item.inferences_interval.low, item.inferences_interval.high
        lines.append(
            f"one upload by {item.upload.name} ({format_energy(item.upload.energy_j)}) is worth "
            f"{format_significant(item.inferences)} inferences [{format_significant(lower)}, "
            f"{format_significant(upper)}]{note}"
        )
    lines += dict.fromkeys(f"uploads: {item.upload.source}" for item in use.uploads)
    return "\n".join(lines)


def _watts(power_w: float) -> str:
    return f"{power_w * 1000:.0f} mW" if abs(power_w) < 0.9995 else f"{power_w:.2f} W"


def _share(part: float, whole: float) -> str:
    return f"{part / abs(whole):.2%}" if whole else "-"


def _value_text(item: GaugeEvidence) -> str:
    return "-" if item.value is None else f"{item.value:.6g} {item.unit}".rstrip()


def measurement_row(measurement: Measurement, answer: Answer) -> list[str]:
    """One line of ``results list``."""
    energy = answer.energy
    virtual = " (virtual)" if measurement.virtual else ""
    return [
        measurement.id,
        measurement.started_at[:16].replace("T", " "),
        _model_text(measurement.artifact),
        measurement.device.name + virtual,
        format_duration(answer.latency.p50_ns) if answer.latency else "-",
        format_energy(energy.gross_j) if energy else "-",
        ", ".join(item.id for item in measurement.findings if item.severity != "info") or "-",
    ]


def _model_text(artifact: Artifact) -> str:
    """The usual precision goes without saying."""
    return artifact.model.name + ("" if artifact.precision == "fp32" else f" {artifact.precision}")


def render_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, and never cut off, so that ids can be copied."""
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )


def _init_text(init: Summary | None) -> str:
    if init is None:
        return "not measured"
    return f"p50 {format_duration(init.p50_ns)}   ({init.count} cold loads)"


def _latency_text(latency: Summary | None, warmup_iterations: int) -> str:
    if latency is None:
        return "not measured"
    interval = latency.p50_interval_ns

    def text(duration_ns: float) -> str:
        return format_duration(duration_ns, like_ns=latency.p50_ns)

    return (
        f"p50 {text(latency.p50_ns)} [{text(interval.low)}, {text(interval.high)}]   "
        f"p90 {text(latency.p90_ns)}   p99 {text(latency.p99_ns)}   "
        f"MAD {text(latency.mad_ns)}   n={latency.count} after {warmup_iterations} warm-ups"
    )


def _memory_text(memory: MemoryGrowth | None) -> str:
    if memory is None:
        return "not measured"
    peak = memory.peak_rss_bytes
    return (
        f"{memory.measure} {_signed_bytes(memory.inference_bytes)} "
        f"({_signed_bytes(memory.load_bytes)} by loading"
        f"{f', peak RSS {_signed_bytes(peak)}' if peak is not None else ''})"
    )


def _signed_bytes(size_bytes: int) -> str:
    return f"{'+' if size_bytes >= 0 else ''}{format_bytes(size_bytes)}"


def _output_text(measurement: Measurement) -> str:
    check = measurement.result.samples.output_check
    if check is None:
        return "not checked"
    if check.max_relative_error == sys.float_info.max:
        return "DIFFERS from PyTorch: another shape, or values that are not finite"
    verdict = "matches PyTorch" if check.matches else "DIFFERS from PyTorch"
    if measurement.artifact.precision != "fp32":
        verdict += " in fp32"
    return (
        f"{verdict} (by {check.max_relative_error:.2g} of the largest value, "
        f"{'within' if check.matches else 'BEYOND'} {measurement.request.relative_tolerance:.2g})"
    )


def _accuracy_rows(measurement: Measurement, answer: Answer) -> list[tuple[str, str]]:
    """The accuracy on the device, in PyTorch, and how far the two agree."""
    accuracy, classification = answer.accuracy, measurement.classification
    if accuracy is None or classification is None:
        return [("accuracy", "not measured")] if measurement.examples is not None else []
    check = classification.agreement
    difference = "another shape, or values that are not finite"
    if check.max_relative_error < sys.float_info.max:
        difference = (
            f"outputs by {check.max_relative_error:.1g} of the largest value, "
            f"{'within' if check.matches else 'BEYOND'} "
            f"{LARGEST_ERRORS[measurement.artifact.precision]:g}"
        )
    return [
        ("accuracy", f"{_shares_text(accuracy.device)}   n={accuracy.examples:,}"),
        ("pytorch", f"{_shares_text(accuracy.pytorch)}   on this computer"),
        (
            "differ",
            f"classes for {accuracy.examples - accuracy.same_class:,} of {accuracy.examples:,}, "
            f"{difference}",
        ),
    ]


def _shares_text(accuracy: Accuracy) -> str:
    text = f"top-1 {_share_text(accuracy.top1)}"
    return text if accuracy.top5 is None else f"{text}   top-5 {_share_text(accuracy.top5)}"


def _share_text(proportion: Proportion) -> str:
    low, high = proportion.interval.low, proportion.interval.high
    return f"{proportion.share:.1%} [{low:.1%}, {high:.1%}]"


def _unless_measured(origin: Origin, form: str) -> str:
    """The word that no figure but a measured one may be shown without."""
    return "" if origin == "measured" else form.format(origin)


def _energy_text(energy: EnergyEstimate) -> str:
    return (
        f"{_energy_with_interval(energy.gross_j, energy.gross_interval_j)} gross, "
        f"{_energy_with_interval(energy.marginal_j, energy.marginal_interval_j)} marginal   "
        f"{_unless_measured(energy.origin, '{} ')}{SOURCE_NAMES[energy.source]} "
        f"{PLANE_NAMES[energy.plane]}, "
        f"{_blocks_text(energy.blocks, energy.interval_kind)}, "
        f"{energy.gauge_steps} {STEP_NAMES[energy.source]}"
    )


def _mean_rows(energy: EnergyEstimate, latency: Summary) -> list[tuple[str, str]]:
    """Where the energies are for an inference that takes another time than the median."""
    mean_ns = energy.seconds_per_inference * NS_PER_S
    if abs(mean_ns / latency.p50_ns - 1) < FAR_FROM_MEDIAN:
        return []
    text = format_duration(mean_ns, like_ns=latency.p50_ns)
    return [
        (
            "mean",
            f"{text} an inference under load, {mean_ns / latency.p50_ns:.2f} times the p50: "
            "the energies are for that",
        )
    ]


def _blocks_text(blocks: int, kind: IntervalKind) -> str:
    return f"{'range of ' if kind == 'block_range' else ''}{blocks} blocks"


def _rate_text(name: str, rate: RateEstimate, origin: Origin) -> str:
    when = "before the phone slowed down" if name == "burst" else "on the plateau afterwards"
    seconds_ns = rate.seconds_per_inference * NS_PER_S
    return (
        f"{_energy_with_interval(rate.gross_j, rate.gross_interval_j)} gross at "
        f"{format_duration(seconds_ns)} an inference, {when}   "
        f"{_unless_measured(origin, '{}, ')}{_blocks_text(rate.blocks, rate.interval_kind)}"
    )


def _energy_with_interval(energy_j: float, interval: Interval) -> str:
    low, high = format_energy(interval.low), format_energy(interval.high)
    return f"{format_energy(energy_j)} [{low}, {high}]"


def _charge_text(charge: ChargeEstimate) -> str:
    interval = charge.inferences_interval
    return (
        f"{format_count(charge.inferences)} inferences "
        f"[{format_count(interval.low)}, {format_count(interval.high)}] "
        f"on {format_energy(charge.battery_j)}, "
        f"{'in coulombs of the same gauge' if charge.method == 'coulombs' else 'in joules'}"
        f"{', from a range' if charge.interval_kind == 'block_range' else ''}"
        f"{_unless_measured(charge.origin, ', {}')}"
    )


def _time_text(measurement: Measurement) -> str:
    """Where the time went, and how much of the run was measuring itself."""
    samples = measurement.result.samples
    measured_ns = sum(samples.load_ns) + sum(samples.warmup_ns) + sum(samples.iteration_ns)
    total_ns = sum(item.duration_ns for item in measurement.time_spent)
    steps = ", ".join(
        f"{item.step} {_seconds(item.duration_ns)}" for item in measurement.time_spent
    )
    return f"{_seconds(total_ns)} s: {steps} ({_seconds(measured_ns)} in loads and iterations)"


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / NS_PER_S:.2f}"
