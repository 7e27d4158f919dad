"""Doubts about a run's energy."""

from __future__ import annotations

from collections.abc import Sequence

from mobilekit.analysis.energy.budget import MIN_INTERVAL_BLOCKS
from mobilekit.analysis.energy.estimate import energy_of, explain_refusal
from mobilekit.analysis.energy.sources import charge_ratio, judge_ratio, known_gauge
from mobilekit.analysis.energy.stretches import find_stretches
from mobilekit.contract.protocol import (
    Samples,
    Window,
)
from mobilekit.records.device import BatteryStatus, DeviceProfile, DeviceState
from mobilekit.records.energy import GaugeEstimate, GaugeRefusal, GaugeVerdict
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import Measurement
from mobilekit.units import NS_PER_S, format_duration

MIN_LOAD_STEPS = 25
"""Over all load windows: below it the gauge's resolution alone is several percent."""
MAX_IDLE_DRIFT = 0.1
RADIO_ON = Finding(
    id="RADIO-ON",
    severity="info",
    summary="airplane mode was off when the run began: the energy includes what the radio did",
    advice="Switch it on before the cable is pulled, unless the run needs Wi-Fi.",
)


def refuse_energy(refusal: GaugeRefusal) -> Finding:
    """That a run has no energy, since the gauge's calibration contradicted itself."""
    return Finding(
        id="GAUGE-REFUSED",
        severity="warning",
        summary=f"no energy was measured: this phone's gauge cannot be trusted: {refusal.reason}",
        advice="Calibrate it anew, with --source if you know better, or use an external meter "
        "(`mobilekit docs meter`).",
    )


def doubt_energy(measurement: Measurement) -> list[Finding]:
    """Everything doubtful about its energy, or about why it has none.

    A pilot and a gauge's calibration show an energy that they were not made for: of theirs only
    the number of blocks is doubted.
    """
    profile, battery = measurement.profile, measurement.battery_before
    if measurement.purpose in ("pilot", "calibrate"):
        return _of_blocks(energy_of(measurement))
    if not measurement.energy_wanted or battery is None:
        return []
    if measurement.request.energy is None:
        return _of_power_supply(battery, measurement.device.serial)
    findings = []
    if profile is not None:
        samples, gauge = measurement.result.samples, measurement.gauge
        findings += _of_windows(samples, profile, gauge, energy_of(measurement))
    if measurement.airplane_mode is False and not measurement.device.virtual:
        findings.append(RADIO_ON)
    return findings


def doubt_battery(state: DeviceState) -> tuple[Finding, ...]:
    """What can be told before a run of what the phone says of its battery."""
    battery, capacity = state.battery, state.capacity
    if battery is None or capacity is None:
        return ()
    per_charge = "no inferences per charge are told"
    if state.profile is not None and state.profile.battery is not None:
        per_charge = "inferences per charge are those of the device profile"
    advice = (
        "Put the maker's figure in a device profile (`mobilekit docs devices`), or correct the one "
        "there is."
    )
    findings = []
    if capacity.verdict == "contradictory":
        findings.append(
            Finding(
                id="CAPACITY-CONTRADICTS",
                severity="warning",
                summary="what this phone says of its battery's capacity contradicts itself "
                f"({capacity.source}): {per_charge}",
                advice=advice,
            )
        )
    elif capacity.verdict == "unknown":
        findings.append(
            Finding(
                id="CAPACITY-UNKNOWN",
                severity="warning",
                summary="this phone does not say what its battery holds "
                f"({capacity.source}): {per_charge}",
                advice=advice,
            )
        )
    if battery.counter_unit not in ("uAh", None) and battery.told_counter is not None:
        findings.append(
            Finding(
                id="COUNTER-UNIT",
                severity="info",
                summary=f"the charge counter of this phone is in {battery.counter_unit}: it tells "
                f"{battery.told_counter:,} at {battery.level_percent} %, and Android documents uAh",
                advice="Nothing need be done: it is read so.",
            )
        )
    return tuple(findings)


def refuse_set_battery(serial: str) -> Finding:
    """That nothing can be told of a battery whose state somebody has set."""
    return Finding(
        id="BATTERY-SET",
        severity="warning",
        summary="somebody has set what this phone says of its battery (UPDATES STOPPED), so that "
        "not even its cable is known of: no energy was measured",
        advice=f"`adb -s {serial} shell dumpsys battery reset` undoes it.",
    )


def _of_power_supply(battery: BatteryStatus, serial: str) -> list[Finding]:
    if battery.updates_stopped:
        return [refuse_set_battery(serial)]
    if battery.plugged:
        return [
            Finding(
                id="CHARGING",
                severity="info",
                summary="the phone is on a cable, which pays for the work: no energy was measured",
                advice="`mobilekit energy` asks for the cable to be pulled, and collects later.",
            )
        ]
    return []


def _of_windows(
    samples: Samples,
    profile: DeviceProfile,
    gauge: GaugeVerdict | None,
    estimate: GaugeEstimate | None,
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
                    + explain_refusal(samples.windows, profile.gauge, gauge, profile.capacity_uah),
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
                "remain",
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
                f"{abs(estimate.drift_ratio):.0%} of the power that the load adds",
                advice="Something else was at work on the phone: airplane mode, apps closed.",
            )
        )
    return findings


def _of_blocks(estimate: GaugeEstimate | None) -> list[Finding]:
    if estimate is None or estimate.interval_kind != "block_range":
        return []
    return [
        Finding(
            id="FEW-BLOCKS",
            severity="warning",
            summary=f"only {estimate.blocks} blocks: what is printed is their range, "
            "not a 95 % interval",
            advice=f"At least {MIN_INTERVAL_BLOCKS} blocks make an interval.",
        )
    ]


def _of_waits(samples: Samples) -> list[Finding]:
    late = [wait for wait in samples.waits if wait.reason == "temperature" and not wait.passed]
    return [
        Finding(
            id="GATE-TIMED-OUT",
            severity="warning",
            summary="the battery was still too warm after "
            f"{format_duration(wait.ended_ns - wait.started_ns)}, and energy was measured "
            "all the same",
            advice="Let the phone cool down, out of its case, and run it again.",
        )
        for wait in late
    ]


def _of_gauge(
    samples: Samples,
    profile: DeviceProfile,
    verdict: GaugeVerdict | None,
    estimate: GaugeEstimate | None,
) -> list[Finding]:
    findings = []
    stretches = find_stretches(samples.windows)
    known = known_gauge(profile.gauge, verdict, stretches, profile.capacity_uah)
    ratio = charge_ratio(stretches, known)
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
