"""One measurement for people: a figure a line, then its findings."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from mobilekit.analysis.methods import Tried, outputs_match, tolerance_of, tried_methods
from mobilekit.plain import plain
from mobilekit.records.artifact import LARGEST_TOLERANCES
from mobilekit.records.energy import ChargeEstimate, GaugeEstimate, RateEstimate
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import Answer, Measurement
from mobilekit.records.prediction import Predictions
from mobilekit.records.statistics import Accuracy, MemoryGrowth, Origin, Proportion, Summary
from mobilekit.results.tables.cell_text import quantity_text
from mobilekit.results.text.prediction import earlier_text, predicted_text
from mobilekit.results.text.words import (
    PLANE_NAMES,
    SOURCE_NAMES,
    STEP_NAMES,
    VIRTUAL_LABEL,
    blocks_text,
    unless_measured,
)
from mobilekit.units import NS_PER_S, format_bytes, format_count, format_duration, format_energy


def render_measurement(
    measurement: Measurement, answer: Answer, predicted: Predictions | None = None
) -> str:
    """The answer to a deploy, a figure a line, then its findings; ``predicted`` is of the phone
    that a virtual one stands in for."""
    artifact, device = measurement.artifact, measurement.device
    where = f"{device.name} ({VIRTUAL_LABEL})" if measurement.virtual else device.name
    heading = " · ".join(
        (artifact.model.name, artifact.model.variant.text, artifact.backend, where)
    )
    rows = [
        *_choice_rows(measurement),
        ("init", _init_text(answer.init, is_expanded=artifact.dense is not None)),
        ("latency", _latency_text(answer.latency, answer.warmup_iterations)),
        *_expected_rows(measurement, answer),
        ("memory", _memory_text(answer.memory)),
        ("output", _output_text(measurement)),
    ]
    rows += _accuracy_rows(measurement, answer)
    energy, charge = answer.energy, answer.charge
    if energy is not None:
        rows.append(("energy", _energy_text(energy)))
        if answer.far_p50_ratio is not None and answer.latency is not None:
            rows.append(("mean", _mean_text(energy, answer.latency, answer.far_p50_ratio)))
        rows += [
            (name, _rate_text(name, rate, energy.origin))
            for name, rate in (("burst", energy.burst), ("sustain", energy.sustained))
            if rate is not None
        ]
    if charge is not None:
        rows.append(("charge", _charge_text(charge)))
    if predicted is not None:
        rows.append(("predicted", f"the real {predicted_text(predicted)}"))
    rows.append(("took", _time_text(measurement)))
    rows.append(("saved", measurement.id))
    lines = [plain(heading), *(f"  {name:9} {plain(text)}" for name, text in rows)]
    return "\n".join([*lines, *render_findings(measurement.findings)])


def render_findings(findings: Iterable[Finding]) -> list[str]:
    words = {"error": "Error", "warning": "Warning", "info": "Note"}
    return [
        plain(f"{words[finding.severity]} {finding.id}: {finding.summary}. {finding.advice}")
        for finding in findings
    ]


def _choice_rows(measurement: Measurement) -> list[tuple[str, str]]:
    """Which levels were tried before the run, and whether one keeps to the budget."""
    choice = measurement.request.choice
    tried = list(tried_methods(measurement, measurement.result.samples))
    if choice is None or not tried:
        return []
    told = ", ".join(f"{_level_text(each)}: p50 {format_duration(each.p50_ns)}" for each in tried)
    budget = format_duration(choice.budget_ns)
    kept = next((each for each in tried if each.keeps), None)
    verdict = "NONE keeps to" if kept is None else f"{_level_text(kept)} chosen for"
    return [("choice", f"{verdict} {budget} ({told})")]


def _level_text(tried: Tried) -> str:
    """Which level it is; the heading has of how many."""
    variant = tried.artifact.model.variant
    return variant.text if variant.level is None else f"level {variant.level.number}"


def _expected_rows(measurement: Measurement, answer: Answer) -> list[tuple[str, str]]:
    """What had been predicted of the latency, where something told it."""
    if measurement.predicted is None:
        return []
    p50_ns = None if answer.latency is None else answer.latency.p50_ns
    return [("expected", earlier_text(measurement.predicted, p50_ns))]


def _init_text(init: Summary | None, *, is_expanded: bool) -> str:
    if init is None:
        return "not measured"
    loads = f"{init.count} cold loads{', each expanding the program' if is_expanded else ''}"
    return f"p50 {format_duration(init.p50_ns)}   ({loads})"


def _latency_text(latency: Summary | None, warmup_iterations: int) -> str:
    if latency is None:
        return "not measured"

    def text(duration_ns: float) -> str:
        return format_duration(duration_ns, like_ns=latency.p50_ns)

    return (
        f"p50 {quantity_text(latency.p50_ns, 'ns', latency.p50_interval_ns)}   "
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
    matches = outputs_match(measurement, check)
    verdict = "matches PyTorch" if matches else "DIFFERS from PyTorch"
    if measurement.artifact.precision != "fp32":
        verdict += " in fp32"
    return (
        f"{verdict} (by {check.max_relative_error:.2g} of the largest value, "
        f"{'within' if matches else 'BEYOND'} {tolerance_of(measurement):.2g})"
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
            f"{LARGEST_TOLERANCES[measurement.artifact.precision]:g}"
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
    return quantity_text(proportion.share, "share", proportion.interval)


def _energy_text(energy: GaugeEstimate) -> str:
    return (
        f"{quantity_text(energy.gross_j, 'J', energy.gross_interval_j)} gross, "
        f"{quantity_text(energy.marginal_j, 'J', energy.marginal_interval_j)} marginal   "
        f"{unless_measured(energy.origin, '{} ')}{SOURCE_NAMES[energy.source]} "
        f"{PLANE_NAMES[energy.plane]}, "
        f"{blocks_text(energy.blocks, energy.interval_kind)}, "
        f"{energy.gauge_steps} {STEP_NAMES[energy.source]}"
    )


def _mean_text(energy: GaugeEstimate, latency: Summary, p50_ratio: float) -> str:
    """What the energies are for: an inference that takes another time than the median."""
    text = format_duration(energy.seconds_per_inference * NS_PER_S, like_ns=latency.p50_ns)
    return (
        f"{text} an inference under load, {p50_ratio:.2f} times the p50: the energies are for that"
    )


def _rate_text(name: str, rate: RateEstimate, origin: Origin) -> str:
    when = "before the phone slowed down" if name == "burst" else "on the plateau afterwards"
    seconds_ns = rate.seconds_per_inference * NS_PER_S
    return (
        f"{quantity_text(rate.gross_j, 'J', rate.gross_interval_j)} gross at "
        f"{format_duration(seconds_ns)} an inference, {when}   "
        f"{unless_measured(origin, '{}, ')}{blocks_text(rate.blocks, rate.interval_kind)}"
    )


def _charge_text(charge: ChargeEstimate) -> str:
    interval = charge.inferences_interval
    return (
        f"{format_count(charge.inferences)} inferences "
        f"[{format_count(interval.low)}, {format_count(interval.high)}] "
        f"on {format_energy(charge.battery_j)}, "
        f"{'in coulombs of the same gauge' if charge.method == 'coulombs' else 'in joules'}"
        f"{', from a range' if charge.interval_kind == 'block_range' else ''}"
        f"{unless_measured(charge.origin, ', {}')}"
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
