"""Doubts about a measurement, as data: what a person should know before using its figures."""

from __future__ import annotations

import sys

import numpy as np

from mobilekit.analysis.accuracy import estimate_accuracy
from mobilekit.analysis.energy.doubts import (
    doubt_energy,
)
from mobilekit.analysis.memory import LeastNeed, measure_growth
from mobilekit.analysis.methods import outputs_match
from mobilekit.analysis.stats import relative_drift, two_modes
from mobilekit.contract.protocol import (
    RunFailure,
    Samples,
)
from mobilekit.records.artifact import Artifact
from mobilekit.records.device import DeviceInfo
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import Classification, Measurement
from mobilekit.records.network import Description, LayerType
from mobilekit.records.prediction import MemoryPrediction
from mobilekit.units import format_bytes, format_duration

LOSSY_ERROR = 0.3
LOW_DELEGATION_MACS = 0.9
MIN_ITERATIONS = 30
MAX_DRIFT = 0.05
MAX_RELATIVE_MAD = 0.05
HOT_BATTERY_DECICELSIUS = 400

REPLAYED = Finding(
    id="REPLAYED",
    severity="info",
    summary="nothing ran: the samples are those of a recorded run",
    advice="Measure on the device itself for figures of this network today.",
)

_MULTIPLYING: set[LayerType] = {
    "convolution",
    "feed-forward",
    "attention",
    "recurrent",
    "other",
}
"""Types of layers whose parameters are factors of products. Those of the others scale, shift or are
looked up."""


def find_doubts(measurement: Measurement) -> tuple[Finding, ...]:
    """Everything doubtful about a run, errors first, with what was foreseen: its ``findings``."""
    samples, foreseen = measurement.result.samples, measurement.findings
    findings = [
        *_of_result(measurement),
        *_of_classification(measurement.classification),
        *_of_artifact(measurement.artifact),
        *_of_device(measurement.device, samples),
        *_of_latencies(samples),
        *foreseen,
    ]
    if not any(finding.id == "WILL-NOT-FIT" for finding in foreseen):
        findings += _of_memory(measurement.device, samples)
    findings += doubt_energy(measurement)
    order = ("error", "warning", "info")
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


def _of_result(measurement: Measurement) -> list[Finding]:
    findings, result = [], measurement.result
    if isinstance(result, RunFailure):
        findings.append(
            Finding(
                id="RUN-FAILED",
                severity="error",
                summary=f"the run ended early, in its {result.phase} phase: {result.message}",
                advice="What was measured before is kept; run it again.",
            )
        )
    check = result.samples.output_check
    if check is not None and not outputs_match(measurement, check):
        findings.append(
            Finding(
                id="WRONG-OUTPUT",
                severity="error",
                summary="the outputs differ from PyTorch's by "
                f"{check.max_relative_error:.2g} of the largest value",
                advice="The artifact does not compute this network on this device: "
                "do not use its figures.",
            )
        )
    return findings


def _of_classification(classification: Classification | None) -> list[Finding]:
    if classification is None or classification.agreement.matches:
        return []
    answer = estimate_accuracy(classification)
    error = classification.agreement.max_relative_error
    difference = "are not all finite numbers, as PyTorch's are"
    if error < sys.float_info.max:
        difference = f"differ from PyTorch's by {error:.2g} of the largest value"
    return [
        Finding(
            id="EXAMPLES-DIFFER",
            severity="error",
            summary=f"the outputs for the examples {difference}; the class is another for "
            f"{answer.examples - answer.same_class:,} of {answer.examples:,}",
            advice="The artifact does not compute this network on this device: "
            "do not use its accuracy.",
        )
    ]


def _of_artifact(artifact: Artifact) -> list[Finding]:
    findings = []
    delegation = artifact.delegation
    left = delegation.portable_text
    if delegation.mac_fraction < LOW_DELEGATION_MACS or not delegation.delegated_operators:
        findings.append(
            Finding(
                id="LOW-DELEGATION",
                severity="warning",
                summary=f"{artifact.backend} runs only {delegation.mac_fraction:.0%} of the MACs; "
                f"on slow portable kernels: {left}",
                advice="Replace these operators by ones that the backend takes "
                "(`mobilekit docs models`).",
            )
        )
    elif left:
        findings.append(
            Finding(
                id="PORTABLE-OPERATORS",
                severity="info",
                summary=f"left on portable kernels: {left}",
                advice="They cost time beyond their share of MACs; `mobilekit docs models` names "
                "replacements.",
            )
        )
    if artifact.relative_error is not None and artifact.relative_error > LOSSY_ERROR:
        findings.append(
            Finding(
                id="LOSSY-PRECISION",
                severity="warning",
                summary=f"{artifact.precision} moves the outputs by {artifact.relative_error:.0%} "
                "of the largest value",
                advice="Time and size are valid; for meaningful outputs use a higher "
                "--precision, or examples of real inputs with --calibration.",
            )
        )
    if artifact.calibration is not None and artifact.calibration.path is None:
        findings.append(
            Finding(
                id="UNCALIBRATED",
                severity="warning",
                summary="int8 ranges are from generated inputs: timing is valid, outputs mean "
                "little",
                advice="Give examples of real inputs with --calibration.",
            )
        )
    if artifact.calibration is not None and artifact.calibration.whole_bytes:
        findings.append(
            Finding(
                id="CALIBRATED-WITH-BYTES",
                severity="warning",
                summary="the calibration examples are whole numbers of 0 to 255, as pictures are "
                "before they are preprocessed, and the network does not tell what it was given",
                advice="If its training preprocessed them, do the same with the examples: other "
                "ranges make the outputs of real inputs wrong.",
            )
        )
    if artifact.model.weights_path is None:
        findings.append(
            Finding(
                id="UNTRAINED-WEIGHTS",
                severity="info",
                summary="untrained weights: timing only",
                advice="Give trained ones with --weights for meaningful outputs.",
            )
        )
    return findings


def _of_device(device: DeviceInfo, samples: Samples) -> list[Finding]:
    findings = []
    if device.virtual:
        findings.append(
            Finding(
                id="VIRTUAL",
                severity="info",
                summary="no phone was involved: the latency is this computer's, "
                "the energy is simulated",
                advice="Attach a phone for its own figures.",
            )
        )
    companion = samples.companion
    if companion is not None and companion.debuggable:
        findings.append(
            Finding(
                id="DEBUGGABLE",
                severity="error",
                summary="the companion app is a debuggable build, whose timings are not valid",
                advice="Install the release build.",
            )
        )
    thermal = [*samples.thermal, *(window.thermal for window in samples.windows)]
    worst = max((sample.status for sample in thermal if sample.status), default=0)
    if worst:
        findings.append(
            Finding(
                id="THROTTLED",
                severity="warning",
                summary=f"the phone reported thermal status {worst} of 6",
                advice="Let it cool down, out of its case, and run it again.",
            )
        )
    hottest = max(
        (
            sample.temperature_decicelsius
            for sample in samples.battery
            if sample.temperature_decicelsius is not None
        ),
        default=0,
    )
    if hottest > HOT_BATTERY_DECICELSIUS:
        findings.append(
            Finding(
                id="HOT-BATTERY",
                severity="warning",
                summary=f"the battery was at {hottest / 10:.1f} degC",
                advice="Measure between 20 and 35 degC.",
            )
        )
    return findings


def _of_latencies(samples: Samples) -> list[Finding]:
    latency_ns = samples.iteration_ns
    if not latency_ns:
        return []
    findings = []
    if len(latency_ns) < MIN_ITERATIONS:
        findings.append(
            Finding(
                id="FEW-ITERATIONS",
                severity="warning",
                summary=f"only {len(latency_ns)} iterations within the time limit",
                advice="Use --rigorous: p99 needs at least 100 of them.",
            )
        )
    if not samples.warmup_settled:
        findings.append(
            Finding(
                id="NOT-WARM",
                severity="warning",
                summary=f"still getting faster after {len(samples.warmup_ns)} warm-up iterations",
                advice="Close other apps and run it again.",
            )
        )
    drift = relative_drift(latency_ns)
    if abs(drift) > MAX_DRIFT:
        findings.append(
            Finding(
                id="DRIFT",
                severity="warning",
                summary=f"the second half is {abs(drift):.0%} "
                f"{'slower' if drift > 0 else 'faster'} than the first",
                advice="Throttling or other work: let the device rest and run it again.",
            )
        )
    modes = two_modes(latency_ns)
    if modes is not None:
        fast, slow = (format_duration(mode, like_ns=modes.slow_ns) for mode in modes[:2])
        findings.append(
            Finding(
                id="TWO-MODES",
                severity="warning",
                summary=f"the latencies fall into two groups, about {fast} and {slow} "
                f"({modes.slow_share:.0%} of them), so that chance decides which is the "
                "median",
                advice="Something takes processors away at times: close other apps, use fewer "
                "threads, or use --rigorous.",
            )
        )
    middle = float(np.median(latency_ns))
    mad = float(np.median(np.abs(np.asarray(latency_ns) - middle)))
    if mad > MAX_RELATIVE_MAD * middle:
        findings.append(
            Finding(
                id="NOISY",
                severity="warning",
                summary=f"the latencies scatter: MAD is {mad / middle:.0%} of the median",
                advice="Close other apps, or use --rigorous.",
            )
        )
    return findings


def foresee_doubts(
    need: LeastNeed, predicted: MemoryPrediction | None, device: DeviceInfo
) -> tuple[Finding, ...]:
    """What can be told of a run before it starts: whether the memory can suffice.

    What is needed at the least cannot be had, or the low end of what it is predicted to grow by.
    """
    available_bytes = device.available_bytes
    if available_bytes is None:
        return ()
    growth = predicted.inference if predicted else None
    if need.total_bytes > available_bytes:
        activations = f"{format_bytes(need.activation_bytes)} of activations in {need.layer}"
        parts = (
            f"{format_bytes(need.weights_bytes)} of weights",
            *((activations,) if need.activation_bytes else ()),
            f"{format_bytes(need.input_bytes)} of inputs",
        )
        needs = f"needs at least {format_bytes(need.total_bytes)} ({', '.join(parts)})"
    elif growth is not None and growth.low_bytes > available_bytes:
        needs = (
            f"is predicted to take {format_bytes(growth.expected_bytes)} "
            f"[{format_bytes(growth.low_bytes)}, {format_bytes(growth.high_bytes)}]"
        )
    else:
        return ()
    return (
        Finding(
            id="WILL-NOT-FIT",
            severity="warning",
            summary=f"the run {needs}, and {device.name} had {format_bytes(available_bytes)} of "
            "memory available before it",
            advice="Close other apps, or use a smaller network or precision: where the system can "
            "make no room it ends the run, and where it can, the time that this takes is in the "
            "figures.",
        ),
    )


def not_on_phones(lacking: str, advice: str) -> Finding:
    """Of a program that runs on this computer alone."""
    return Finding(
        id="NOT-ON-PHONES",
        severity="info",
        summary=f"a phone cannot run this program: {lacking}",
        advice=advice,
    )


def find_uncounted(description: Description) -> tuple[Finding, ...]:
    """Layers that read parameters and should multiply by them, and count no multiply-accumulate."""
    names = [
        layer.name
        for layer in description.layers
        if layer.parameters and not layer.macs and layer.type in _MULTIPLYING
    ]
    if not names:
        return ()
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        Finding(
            id="UNCOUNTED-MACS",
            severity="warning",
            summary=f"no MACs are counted for {', '.join(names[:3])}{more}, which have parameters",
            advice="Take the network's MACs, and the share of them that is delegated, as a lower "
            "bound: an operator there is none of the convolutions and matrix products that are "
            "counted.",
        ),
    )


def _of_memory(device: DeviceInfo, samples: Samples) -> list[Finding]:
    growth = measure_growth(samples.memory)
    if growth is None or device.available_bytes is None:
        return []
    most_bytes = max(growth.load_bytes, growth.inference_bytes, growth.peak_rss_bytes or 0)
    if most_bytes <= device.available_bytes:
        return []
    return [
        Finding(
            id="MEMORY-TIGHT",
            severity="warning",
            summary=f"the run's memory grew by {format_bytes(most_bytes)}, and {device.name} had "
            f"{format_bytes(device.available_bytes)} available before it",
            advice="Close other apps and run it again: the system had to make room, and the time "
            "that this takes is in the figures.",
        )
    ]
