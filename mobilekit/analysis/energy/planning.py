"""How long an energy phase has to be, from the gauge's resolution and a short pilot.

The resolution's share is that of the fit which will be made (``sources``): an ideal run of the
planned length is laid out, its counter's changes are put where they would be, and the variance of
the mean marginal power follows. What the phone's own power scatters from window to window does not
shrink with their length (chunks of 8 s vary hardly less than such of 0.5 s), only with their
number; so it decides on the number of blocks, and the resolution on the windows' length.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mobilekit.analysis.energy.budget import NORMAL_95, Standard, expand
from mobilekit.analysis.energy.estimate import (
    GAIN_RELATIVE_UNCERTAINTY,
    MIN_BLOCKS,
    VOLTAGE_RELATIVE_UNCERTAINTY,
    estimate_energy,
)
from mobilekit.analysis.energy.sources import (
    COARSE_RAIL_AGE_S,
    COARSE_RAIL_NOISE_J,
    JOULE_PER_NWH,
    SETTLING_PERIODS,
    known_gauge,
)
from mobilekit.contract.protocol import SYNC_PULSE_NS, SYNC_PULSES, EnergyPlan
from mobilekit.records.device import DeviceProfile
from mobilekit.records.energy import (
    EnergyPilot,
    EnergySource,
    GaugeGain,
    GaugeVerdict,
    PlannedEnergy,
)
from mobilekit.records.measurement import Measurement
from mobilekit.units import NOMINAL_CELL_MV, NS_PER_S, charge_energy_j

MIN_WINDOW_S = 30.0
"""So that the load reaches its steady state, a gauge that averages has followed it, and what else
goes on in one block is over in the next."""
COARSE_RAIL_WINDOW_S = 200.0
"""For readings that are 20 s old and 10 J wrong."""
MIN_PERIODS = 20
"""Updates of the gauge in a window, so that the settling after its start is a small part."""
MAX_BLOCKS = 40
MAX_BATTERY_SHARE = 0.5
"""Of the battery's energy for one run: from 80 % to 30 % of its charge."""
LEAST_CHARGE, LEAST_SHARE = 0.3, 0.05
UNKNOWN_BATTERY_J = charge_energy_j(2_000_000, NOMINAL_CELL_MV)
"""What a battery of unknown capacity is taken to hold, so that no run empties it: less than nearly
all phones have had since 2014."""
SAMPLE_PERIOD_S = 0.193
"""About 5 Hz, and no simple fraction of any gauge's period: polls then fall on all its phases."""
SAMPLES_PER_WINDOW = 600
IDLE_PHASE, LOAD_PHASE = 0.382, 0.236
"""Windows last a whole number of the gauge's periods and these parts of one: at whole multiples
the latency's error would vanish, and the estimate flatter itself."""
CALIBRATION_BLOCKS = 3
CALIBRATION_WINDOW_S = 60.0
CALIBRATION_PERIOD_S = 0.047
"""About 20 Hz: an update period of 0.1 s can still be told."""


class Resolution(NamedTuple):
    """What a source's readings resolve, in joules and seconds."""

    source: EnergySource
    step_j: float
    """Of a counter; of a current: its step times the voltage, in watts."""
    period_s: float
    rails: int
    poll_s: float
    """Between two readings under load, which are taken between inferences."""


def plan_calibration() -> EnergyPlan:
    """Idle and load windows, read often, from which ``gauge.characterize_gauge`` tells."""
    window_ns = round(CALIBRATION_WINDOW_S * NS_PER_S)
    return _plan(CALIBRATION_BLOCKS, window_ns, window_ns, CALIBRATION_PERIOD_S)


def plan_pilot() -> EnergyPlan:
    """The shortest run that tells the powers of idle and load."""
    window_ns = round(MIN_WINDOW_S * NS_PER_S)
    return _plan(MIN_BLOCKS, window_ns, window_ns, SAMPLE_PERIOD_S)


def pilot_of(measurement: Measurement) -> EnergyPilot | None:
    """What a pilot run tells; ``None`` where the gauge told nothing in it."""
    if measurement.profile is None:
        return None
    windows = measurement.result.samples.windows
    profile = measurement.profile
    energy = estimate_energy(
        windows, profile.gauge, measurement.gauge, capacity_uah=profile.capacity_uah
    )
    if energy is None:
        return None
    return EnergyPilot(
        idle_w=energy.idle_w,
        load_w=energy.load_w,
        seconds_per_inference=energy.seconds_per_inference,
        # Two blocks tell nothing of their scatter.
        scatter_w=0.0,
    )


def plan_energy(
    profile: DeviceProfile,
    *,
    blocks: int,
    target_error: float,
    verdict: GaugeVerdict | None = None,
    pilot: EnergyPilot | None = None,
    gain: GaugeGain | None = None,
    level_percent: int | None = None,
) -> PlannedEnergy:
    """Windows and blocks, at least ``blocks``, for a half-width of at most ``target_error`` of the
    marginal energy from resolution and scatter.

    Powers are the pilot's, else the verdict's, else the profile's. A run that would draw more than
    half of the battery, or leave less than 30 % of a battery at ``level_percent``, is cut to that,
    and ``limit`` says so; a battery of unknown capacity is taken for a small one.
    """
    idle_w, load_w = profile.power.idle_mw / 1000, profile.power.active_mw / 1000
    scatter_w = inference_s = 0.0
    for known in (verdict, pilot):
        if known is not None and known.load_w > known.idle_w:
            idle_w, load_w, scatter_w = known.idle_w, known.load_w, known.scatter_w
            inference_s = known.seconds_per_inference
    source = verdict.source if verdict is not None else "charge_counter"
    resolution = resolution_of(source, profile, verdict, inference_s)
    relative_scatter = scatter_w / (load_w - idle_w)
    # Two thirds of the target's square for the scatter: more blocks are dearer than longer windows.
    scatter_target = target_error * np.sqrt(2 / 3)
    share = MAX_BATTERY_SHARE
    if level_percent is not None:
        share = min(share, max(level_percent / 100 - LEAST_CHARGE, LEAST_SHARE))
    full_j = UNKNOWN_BATTERY_J if profile.battery is None else profile.battery.energy_j
    battery_j = share * full_j

    def longest_s(count: int) -> float:
        return battery_j / _joules_per_second(count, idle_w, load_w)

    least_s = _least_window_s(resolution, idle_w)
    chosen = blocks
    while (
        chosen < MAX_BLOCKS
        and longest_s(chosen + 1) >= least_s
        and expand([_scatter(relative_scatter, chosen)]) > scatter_target
    ):
        chosen += 1
    scatter = _scatter(relative_scatter, chosen)
    allowed = float(
        np.sqrt(max(target_error**2 - expand([scatter]) ** 2, (0.1 * target_error) ** 2))
    )
    window_s = _shortest_window_s(resolution, chosen, idle_w, load_w, allowed, longest_s(chosen))
    limits = []
    if window_s > longest_s(chosen):
        window_s = longest_s(chosen)
        limits.append(f"more than {share:.0%} of the battery would be drawn")
    quantisation = resolution_half_width(resolution, chosen, window_s, idle_w, load_w)
    parts = [scatter, Standard(quantisation / NORMAL_95)]
    expected = expand(parts)
    if expected > target_error and not limits:
        limits.append("the phone's own power scatters too much")
    gain_relative = GAIN_RELATIVE_UNCERTAINTY if gain is None else gain.relative_uncertainty
    voltage_relative = VOLTAGE_RELATIVE_UNCERTAINTY if gain is None else 0.0
    period_s = resolution.period_s
    idle_ns, load_ns = (
        round((np.floor(window_s / period_s) + phase) * period_s * NS_PER_S)
        for phase in (1 + IDLE_PHASE, 1 + LOAD_PHASE)
    )
    plan = _plan(chosen, idle_ns, load_ns, max(SAMPLE_PERIOD_S, window_s / SAMPLES_PER_WINDOW))
    drawn_j = window_s * _joules_per_second(chosen, idle_w, load_w)
    return PlannedEnergy(
        plan=plan,
        source=source,
        target_error=target_error,
        expected_half_width=expected,
        expected_total_half_width=expand(
            [*parts, Standard(gain_relative), Standard(voltage_relative)]
        ),
        expected_duration_ns=planned_duration_ns(plan),
        expected_charge_fraction=drawn_j / full_j,
        battery_assumed=profile.battery is None,
        limit="; ".join(limits) or None,
    )


def planned_duration_ns(plan: EnergyPlan) -> int:
    """From the moment that the cable is out, on a phone that need not cool down."""
    windows_ns = (plan.blocks + 1) * plan.idle_ns + plan.blocks * plan.load_ns
    patterns_ns = 2 * SYNC_PULSES * 2 * SYNC_PULSE_NS if plan.sync_pattern else 0
    return (plan.rest_ns or 0) + windows_ns + patterns_ns


def resolution_of(
    source: EnergySource,
    profile: DeviceProfile,
    verdict: GaugeVerdict | None,
    seconds_per_inference: float,
) -> Resolution:
    """Of a source: measured where there is a verdict, else the profile's."""
    poll_s = max(SAMPLE_PERIOD_S, seconds_per_inference)
    gauge = profile.gauge
    period_ms: float = gauge.update_period_ms
    charge_step: float = gauge.charge_step_uah
    current_step: float = gauge.current_step_ua
    energy_step_j, rails, age_s = 0.0, 1, COARSE_RAIL_AGE_S
    if verdict is not None:
        known = known_gauge(gauge, verdict)
        period_ms = (
            1000
            * {
                "charge_counter": known.charge_period_s,
                "current_now": known.current_period_s,
                "energy_counter": known.energy_period_s,
                "power_rails": 0.0,
            }[source]
        )
        charge_step = verdict.charge_step_uah or charge_step
        current_step = verdict.current_step_ua or current_step
        energy_step_j = (verdict.energy_step_nwh or 0.0) * JOULE_PER_NWH
        rails = verdict.rails
        age_s = (verdict.rail_age_ms or 0.0) / 1000
    if source == "power_rails":
        noise_j = COARSE_RAIL_NOISE_J if age_s > COARSE_RAIL_AGE_S else 0.0
        return Resolution(source, noise_j, max(age_s, 0.25), rails, poll_s)
    step_j = {
        "charge_counter": charge_energy_j(charge_step, NOMINAL_CELL_MV),
        "energy_counter": energy_step_j,
        "current_now": current_step * NOMINAL_CELL_MV * 1e-9,
    }[source]
    return Resolution(source, step_j, period_ms / 1000, rails, poll_s)


def resolution_half_width(
    resolution: Resolution, blocks: int, window_s: float, idle_w: float, load_w: float
) -> float:
    """95 % half-width that the resolution causes in the mean marginal power, relative to it;
    infinite where the windows are too short for the source."""
    marginal_w = load_w - idle_w
    if window_s < _least_window_s(resolution, idle_w):
        return float("inf")
    if resolution.source == "current_now":
        return NORMAL_95 * resolution.step_j * float(np.sqrt(2 / 12)) / marginal_w
    windows = 2 * blocks + 1
    weights = np.zeros(windows)
    weights[1::2] = 1 / blocks
    weights[0::2] = -1 / blocks
    weights[[0, -1]] /= 2
    if resolution.source == "power_rails":
        # Two readings of each rail for a window, whose errors its neighbours do not share.
        variance_w2 = 2 * resolution.rails * (resolution.step_j / window_s) ** 2 / 12
        return NORMAL_95 * float(np.sqrt(variance_w2 * (weights**2).sum())) / marginal_w
    covariance = _counter_covariance(resolution, windows, window_s, idle_w, load_w)
    if covariance is None:
        return float("inf")
    return NORMAL_95 * float(np.sqrt(weights @ covariance @ weights)) / marginal_w


def _counter_covariance(
    resolution: Resolution, windows: int, window_s: float, idle_w: float, load_w: float
) -> np.ndarray | None:
    """Of the windows' powers by the fit of ``sources``, for an ideal run; ``None`` where the
    counter would change too rarely."""
    power_w = np.where(np.arange(windows) % 2, load_w, idle_w)
    starts_s = np.arange(windows) * window_s
    drawn_j = np.concatenate([[0.0], np.cumsum(power_w * window_s)])
    levels_j = np.arange(resolution.step_j / 2, drawn_j[-1], resolution.step_j)
    at_s = np.interp(levels_j, drawn_j, np.append(starts_s, windows * window_s))
    design = np.column_stack([np.ones(len(at_s)), np.clip(at_s[:, None] - starts_s, 0, window_s)])
    rate_w = power_w[np.minimum((at_s / window_s).astype(int), windows - 1)]
    at_update_j = np.minimum(resolution.step_j, rate_w * resolution.period_s)
    poll_s = max(resolution.poll_s, window_s / SAMPLES_PER_WINDOW)
    weight = np.sqrt(12 / (at_update_j**2 + (rate_w * poll_s) ** 2))
    information = (design * weight[:, None]).T @ (design * weight[:, None])
    if len(at_s) < windows + 1 or np.linalg.cond(information) > 1e12:
        return None
    return np.asarray(np.linalg.inv(information)[1:, 1:])


def _least_window_s(resolution: Resolution, idle_w: float) -> float:
    """In which an idle phone still steps once, where steps count."""
    least_s = max(MIN_WINDOW_S, MIN_PERIODS * resolution.period_s)
    if resolution.source == "power_rails":
        return COARSE_RAIL_WINDOW_S if resolution.step_j else least_s
    if resolution.source == "current_now":
        return max(least_s, SETTLING_PERIODS * MIN_PERIODS * resolution.period_s)
    return max(least_s, resolution.step_j / idle_w)


def _shortest_window_s(
    resolution: Resolution,
    blocks: int,
    idle_w: float,
    load_w: float,
    allowed: float,
    longest_s: float,
) -> float:
    """By growing it until it suffices; beyond ``longest_s`` where none does."""
    window_s = _least_window_s(resolution, idle_w)
    while (
        window_s <= longest_s
        and resolution_half_width(resolution, blocks, window_s, idle_w, load_w) > allowed
    ):
        window_s *= 1.05
    return window_s


def _scatter(relative_scatter: float, blocks: int) -> Standard:
    """Of the mean over blocks that share their idle windows: its variance is 2 - 1/(2K) windows'
    over K."""
    size = relative_scatter * float(np.sqrt((2 - 1 / (2 * blocks)) / blocks))
    return Standard(size, max(blocks - 1, 1))


def _joules_per_second(blocks: int, idle_w: float, load_w: float) -> float:
    """What a run draws for each second of a window's length."""
    return (blocks + 1) * idle_w + blocks * load_w


def _plan(blocks: int, idle_ns: int, load_ns: int, sample_period_s: float) -> EnergyPlan:
    """Refuses a cable at once, and waits for nothing: what to wait for is the caller's."""
    return EnergyPlan(
        blocks=blocks,
        idle_ns=idle_ns,
        load_ns=load_ns,
        sample_period_ns=round(sample_period_s * NS_PER_S),
        unplug_timeout_ns=None,
        rest_ns=None,
        temperature_gate=None,
        sync_pattern=False,
    )
