"""Doubts about a measurement, as data: what a person should know before using its figures."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from mobilekit.analysis.accuracy import estimate_accuracy
from mobilekit.analysis.energy import estimate as energy_analysis
from mobilekit.analysis.energy.sources import charge_ratio, find_segments, judge_ratio, known_gauge
from mobilekit.analysis.memory import LeastNeed, measure_growth
from mobilekit.analysis.stats import relative_drift, two_modes
from mobilekit.contract.protocol import (
    RunFailure,
    RunRequest,
    RunResult,
    RunSuccess,
    Samples,
    Window,
)
from mobilekit.records.artifact import Artifact
from mobilekit.records.device import BatteryStatus, DeviceInfo, DeviceProfile
from mobilekit.records.energy import EnergyEstimate, GaugeGain, GaugeRefusal, GaugeVerdict
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import Classification
from mobilekit.units import NS_PER_S, format_bytes, format_duration

LOSSY_ERROR = 0.3
LOW_DELEGATION_MACS = 0.9
MIN_ITERATIONS = 30
MAX_DRIFT = 0.05
MAX_RELATIVE_MAD = 0.05
MIN_LOAD_STEPS = 25
"""Over all load windows: below it the gauge's resolution alone is several percent."""
MAX_IDLE_DRIFT = 0.1
HOT_BATTERY_DECICELSIUS = 400


RADIO_ON = Finding(
    id="RADIO-ON",
    severity="info",
    summary="airplane mode was off when the run began: what the radio did is in the energy",
    advice="Switch it on before the cable is pulled, unless the run needs Wi-Fi.",
)


def find_doubts(
    artifact: Artifact,
    device: DeviceInfo,
    profile: DeviceProfile | None,
    battery_before: BatteryStatus | None,
    request: RunRequest,
    result: RunResult,
    *,
    foreseen: tuple[Finding, ...] = (),
    energy_wanted: bool,
    gauge: GaugeVerdict | None = None,
    gain: GaugeGain | None = None,
    classification: Classification | None = None,
    airplane_mode: bool | None = None,
) -> tuple[Finding, ...]:
    """Everything doubtful about a run, errors first, with what was ``foreseen``.

    ``gauge`` and ``gain`` are what was known of the phone's gauge when it was measured.
    """
    samples = result.samples
    findings = [
        *_of_result(result),
        *_of_classification(classification),
        *_of_artifact(artifact),
        *_of_device(device, samples),
        *_of_latencies(samples),
        *foreseen,
    ]
    if not any(finding.id == "WILL-NOT-FIT" for finding in foreseen):
        findings += _of_memory(device, samples)
    if energy_wanted and battery_before is not None:
        if request.energy is None:
            findings += _of_power_supply(battery_before, profile)
        elif profile is not None:
            estimate = energy_analysis.estimate_energy(samples.windows, profile.gauge, gauge, gain)
            findings += _of_energy(samples, profile, gauge, estimate)
        if request.energy is not None and airplane_mode is False and not device.virtual:
            findings.append(RADIO_ON)
    if not energy_wanted and profile is not None and samples.windows:
        # A pilot or a calibration, whose energy is shown all the same.
        findings += _of_blocks(
            energy_analysis.estimate_energy(samples.windows, profile.gauge, gauge, gain)
        )
    order = ("error", "warning", "info")
    return tuple(sorted(findings, key=lambda finding: order.index(finding.severity)))


def _of_result(result: RunSuccess | RunFailure) -> list[Finding]:
    findings = []
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
    if check is not None and not check.matches:
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
                advice="Replace these operators by ones that the backend takes (docs/models.md).",
            )
        )
    elif left:
        findings.append(
            Finding(
                id="PORTABLE-OPERATORS",
                severity="info",
                summary=f"left on portable kernels: {left}",
                advice="They cost time beyond their share of MACs; docs/models.md names "
                "replacements.",
            )
        )
    if artifact.relative_error > LOSSY_ERROR:
        findings.append(
            Finding(
                id="LOSSY-PRECISION",
                severity="warning",
                summary=f"{artifact.precision} moves the outputs by {artifact.relative_error:.0%} "
                "of the largest value",
                advice="Time and size count; for outputs that mean something take a higher "
                "--precision, or examples of real inputs with --calibration.",
            )
        )
    if artifact.calibration is not None and artifact.calibration.path is None:
        findings.append(
            Finding(
                id="UNCALIBRATED",
                severity="warning",
                summary="int8 ranges are from generated inputs: timing counts, outputs mean little",
                advice="Give examples of real inputs with --calibration.",
            )
        )
    if artifact.model.weights_path is None:
        findings.append(
            Finding(
                id="UNTRAINED-WEIGHTS",
                severity="info",
                summary="untrained weights: timing only",
                advice="Give trained ones with --weights for outputs that mean something.",
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
                f"({modes.slow_share:.0%} of them), so that the median is either by chance",
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


def foresee_doubts(need: LeastNeed, device: DeviceInfo) -> tuple[Finding, ...]:
    """What can be told of a run before it starts: whether the memory can suffice."""
    available_bytes = device.available_bytes
    if available_bytes is None or need.total_bytes <= available_bytes:
        return ()
    activations = f"{format_bytes(need.activation_bytes)} of activations in {need.layer}"
    parts = (
        f"{format_bytes(need.weights_bytes)} of weights",
        *((activations,) if need.activation_bytes else ()),
        f"{format_bytes(need.input_bytes)} of inputs",
    )
    return (
        Finding(
            id="WILL-NOT-FIT",
            severity="warning",
            summary=f"the run needs at least {format_bytes(need.total_bytes)} "
            f"({', '.join(parts)}), and {device.name} had {format_bytes(available_bytes)} of "
            "memory available before it",
            advice="Close other apps, or use a smaller network or precision: where the system can "
            "make no room it ends the run, and where it can, the time that this takes is in the "
            "figures.",
        ),
    )


def refuse_energy(refusal: GaugeRefusal) -> Finding:
    """That a run has no energy, since the gauge's calibration contradicted itself."""
    return Finding(
        id="GAUGE-REFUSED",
        severity="warning",
        summary=f"no energy was measured: this phone's gauge cannot be trusted: {refusal.reason}",
        advice="Calibrate it anew, with --source if you know better, or use an external meter "
        "(docs/meter.md).",
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


def _of_power_supply(battery: BatteryStatus, profile: DeviceProfile | None) -> list[Finding]:
    if battery.plugged:
        return [
            Finding(
                id="CHARGING",
                severity="info",
                summary="the phone is on a cable, which pays for the work: no energy was measured",
                advice="`mobilekit energy` asks for the cable to be pulled, and collects later.",
            )
        ]
    if profile is None:
        return [
            Finding(
                id="NO-PROFILE",
                severity="info",
                summary="nothing is known of this phone's battery: no energy was measured",
                advice="Write a device profile for it (docs/devices.md).",
            )
        ]
    return []


def _of_energy(
    samples: Samples,
    profile: DeviceProfile,
    gauge: GaugeVerdict | None,
    estimate: EnergyEstimate | None,
) -> list[Finding]:
    findings = []
    if samples.energy_refusal is not None:
        has_battery = samples.companion is not None and samples.companion.battery is not None
        findings.append(
            Finding(
                id="ENERGY-REFUSED",
                severity="warning",
                summary=f"energy measurement ended: {samples.energy_refusal}",
                advice="Keep the cable out until the run is over."
                if has_battery
                else "Use a phone, or a virtual phone with the python companion.",
            )
        )
    findings += _of_waits(samples)
    findings += _of_gauge(samples, profile, gauge, estimate)
    if estimate is None:
        if samples.windows:
            findings.append(
                Finding(
                    id="NO-ENERGY",
                    severity="warning",
                    summary=f"no energy can be told from {len(samples.windows)} windows: "
                    + energy_analysis.explain_refusal(samples.windows, profile.gauge, gauge),
                    advice="Use --rigorous for longer windows; some phones have no usable gauge.",
                )
            )
        return findings
    if estimate.source == "charge_counter" and estimate.gauge_steps < MIN_LOAD_STEPS:
        findings.append(
            Finding(
                id="FEW-STEPS",
                severity="warning",
                summary=f"the charge counter moved only {estimate.gauge_steps} times under load",
                advice="Use --rigorous for longer windows.",
            )
        )
    if estimate.spoiled_windows:
        findings.append(
            Finding(
                id="SPOILED-BLOCKS",
                severity="warning",
                summary=f"{estimate.spoiled_windows} of {len(samples.windows)} windows are left "
                f"out, plugged in or without the rest of their block: {estimate.blocks} blocks "
                "are left",
                advice="Keep the cable out until the run is over.",
            )
        )
    findings += _of_blocks(estimate)
    if estimate.marginal_interval_j.low <= 0:
        findings.append(
            Finding(
                id="LOAD-LIKE-IDLE",
                severity="warning",
                summary="the load's power cannot be told from the idle power",
                advice="Use --rigorous for longer windows, and keep the phone quiet.",
            )
        )
    if abs(estimate.drift_ratio) > MAX_IDLE_DRIFT:
        findings.append(
            Finding(
                id="IDLE-DRIFT",
                severity="warning",
                summary="the idle power drifted by "
                f"{abs(estimate.drift_ratio):.0%} of the load's share",
                advice="Something else was at work on the phone: airplane mode, apps closed.",
            )
        )
    return findings


def _of_blocks(estimate: EnergyEstimate | None) -> list[Finding]:
    if estimate is None or estimate.interval_kind != "block_range":
        return []
    return [
        Finding(
            id="FEW-BLOCKS",
            severity="warning",
            summary=f"only {estimate.blocks} blocks: what is printed is their range, "
            "which promises no 95 %",
            advice=f"At least {energy_analysis.MIN_INTERVAL_BLOCKS} blocks make an interval.",
        )
    ]


def _of_waits(samples: Samples) -> list[Finding]:
    late = [wait for wait in samples.waits if wait.reason == "temperature" and not wait.passed]
    return [
        Finding(
            id="GATE-TIMED-OUT",
            severity="warning",
            summary="the battery was still too warm after "
            f"{format_duration(wait.ended_ns - wait.started_ns)}, and was measured all the same",
            advice="Let the phone cool down, out of its case, and run it again.",
        )
        for wait in late
    ]


def _of_gauge(
    samples: Samples,
    profile: DeviceProfile,
    verdict: GaugeVerdict | None,
    estimate: EnergyEstimate | None,
) -> list[Finding]:
    findings = []
    known = known_gauge(profile.gauge, verdict)
    ratio = charge_ratio(find_segments(samples.windows), known)
    agreement = judge_ratio(ratio)
    if agreement == "current is odd" and verdict is None:
        findings.append(
            Finding(
                id="CURRENT-CONTRADICTS",
                severity="info",
                summary=f"the current's unit or sign is off on this phone: its integral is "
                f"{ratio:.3g} of the charge counter's change",
                advice="It is not used; `mobilekit energy calibrate` finds out what it means.",
            )
        )
    elif agreement != "agree":
        findings.append(
            Finding(
                id="GAUGE-CONTRADICTS",
                severity="warning",
                summary="charge counter and current disagree, and nothing tells which is right: "
                f"the current's integral is {ratio:.3g} of the counter's change",
                advice="No energy can be told from this gauge, unless you know which source to "
                "trust; a ratio near 2 or 0.5 suggests a battery of two cells.",
            )
        )
    if verdict is not None and verdict.overridden:
        findings.append(
            Finding(
                id="GAUGE-OVERRIDDEN",
                severity="info",
                summary=f"set by a person, whatever the gauge's evidence says: "
                f"{', '.join(verdict.overridden)}",
                advice="`mobilekit energy calibrate` decides from evidence again.",
            )
        )
    if estimate is None:
        return findings
    if verdict is None:
        findings.append(
            Finding(
                id="GAUGE-UNCALIBRATED",
                severity="info",
                summary="the gauge's period, and its current's unit and sign, are assumed",
                advice="`mobilekit energy calibrate` measures them, once for a phone.",
            )
        )
    if estimate.source == "current_now" and aliases(
        estimate.seconds_per_inference, known.current_period_s, samples.windows
    ):
        findings.append(
            Finding(
                id="ALIASING",
                severity="warning",
                summary=f"an inference takes nearly a multiple of the current's update period of "
                f"{format_duration(known.current_period_s * NS_PER_S)}: the current may always be "
                "read at the same moment of it",
                advice="Change the number of threads, or trust the charge counter.",
            )
        )
    return findings


def aliases(seconds_per_inference: float, period_s: float, windows: Sequence[Window]) -> bool:
    """Whether the gauge's updates fall on the same moments of the inferences for longer than half
    of a window: whether their beat is that slow."""
    multiple = round(seconds_per_inference / period_s)
    if multiple == 0:
        return False
    beat_hz = abs(1 / period_s - multiple / seconds_per_inference)
    window_s = min(window.ended_ns - window.started_ns for window in windows) / NS_PER_S
    return beat_hz * window_s < 2
