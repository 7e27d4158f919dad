"""From a fuel gauge's samples over idle-load-idle windows to joules per inference.

**Power of the windows.** The charge counter is a staircase whose step, often several joules, is
large against a window. All that it tells is when it changes, so the charge is fitted through every
change of the whole run as a continuous line with one slope per window: a change in one window helps
its neighbours, and an idle window in which the counter never moves is still determined by them. At
the gauge's update that shows a change, the charge lies below the level that it crossed by up to
what was drawn since the update before, at most one step; that and the time between the two polls
are the error of a change,

    sigma_q^2 = (min(L, r tau)^2 + (r t_poll)^2) / 12

with L the step, r the rate in that window and tau the update's period. Errors are propagated
through the fit. Where the counter does not step enough, the mean of the current serves if it is
plausible: draining, 50 mA to 6 A under load, and not in contradiction with the counter.

**Blocks.** The marginal power of a block is P_load - (P_idle_before + P_idle_after) / 2, which
cancels linear drift. The block is the unit of analysis: the interval is Student's t over blocks,
but never less than what the gauge's resolution alone allows, since blocks that agree because they
were all rounded alike prove nothing. Gain and voltage errors are common to all blocks and are
added in quadrature.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

from mobilekit.protocol import SYNC_PULSE_NS, SYNC_PULSES, BatterySample, EnergyPlan, Window
from mobilekit.records import (
    ChargeEstimate,
    DeviceProfile,
    EnergyEstimate,
    EnergySource,
    Interval,
    ProfileGauge,
    UncertaintyTerm,
)
from mobilekit.units import NOMINAL_CELL_MV, NS_PER_S, charge_energy_j, normalize_voltage_mv

GAIN_RELATIVE_UNCERTAINTY = 0.03
"""Of a gauge whose gain nobody calibrated: an assumption (sense resistor and ADC tolerance)."""
VOLTAGE_RELATIVE_UNCERTAINTY = 0.005
"""About 20 mV at 3.85 V, usual for fuel gauges: an assumption."""
BATTERY_RELATIVE_UNCERTAINTY = 0.075
"""Of a full charge against the profile's figure, for a battery of unknown age: an assumption."""
PLAUSIBLE_LOAD_CURRENT_UA = (50_000, 6_000_000)
CONSISTENT_CHARGE_RATIO = (0.85, 1.15)
"""Integral of the current over the change of the charge counter, where both are sound."""
MAX_RELATIVE_RESIDUAL = 0.1
"""How far a change may lie off the fit beyond the gauge's resolution, relative to the charge of a
load window: a counter that jumps (gauges correct themselves) is not used."""
NORMAL_95 = 1.96


class WindowPowers(NamedTuple):
    """The power of each of n windows."""

    power_w: np.ndarray
    covariance_w2: np.ndarray
    """n x n: what the gauge's resolution alone makes uncertain."""


# --- planning ----------------------------------------------------------------------------------


def plan_energy(profile: DeviceProfile, *, blocks: int, target_error: float) -> EnergyPlan:
    """Windows long enough for the gauge: the half-width that its resolution causes in the marginal
    power, averaged over ``blocks``, is at most ``target_error`` of it.

    T = 1.96 sqrt(L^2 + (P tau)^2) / (2 eps dP sqrt(K)): a window's power from the counter at its
    two ends has the variance (L^2 + (P tau)^2) / (6 T^2), an idle-load-idle difference 3/2 of it.
    The fit does better, which leaves room for a gauge that is coarser than assumed. At least 10 s,
    so that the load reaches its steady state.
    """
    step_j = charge_energy_j(profile.gauge.charge_step_uah, NOMINAL_CELL_MV)
    load_w = profile.power.active_mw / 1000
    marginal_w = load_w - profile.power.idle_mw / 1000
    period_s = profile.gauge.update_period_ms / 1000
    resolution_j = float(np.hypot(step_j, load_w * period_s))
    window_s = NORMAL_95 * resolution_j / (2 * target_error * marginal_w * np.sqrt(blocks))
    window_ns = int(max(window_s, 10.0) * NS_PER_S)
    return EnergyPlan(
        blocks=blocks,
        idle_ns=window_ns,
        load_ns=window_ns,
        sample_period_ns=NS_PER_S // 5,
        unplug_timeout_ns=None,
        rest_ns=None,
        temperature_gate=None,
        sync_pattern=False,
    )


def planned_duration_ns(plan: EnergyPlan) -> int:
    """From the moment that the cable is out, on a phone that need not cool down."""
    windows_ns = (plan.blocks + 1) * plan.idle_ns + plan.blocks * plan.load_ns
    patterns_ns = 2 * SYNC_PULSES * 2 * SYNC_PULSE_NS if plan.sync_pattern else 0
    return (plan.rest_ns or 0) + windows_ns + patterns_ns


# --- estimating --------------------------------------------------------------------------------


def estimate_energy(windows: Sequence[Window], gauge: ProfileGauge) -> EnergyEstimate | None:
    """Energy per inference over the complete blocks of ``windows``.

    ``None`` with fewer than two complete blocks, when neither the charge counter nor the current
    can be used, and when the two contradict each other.
    """
    blocks = (len(windows) - 1) // 2
    used = windows[: 2 * blocks + 1]
    if blocks < 2 or any(window.iterations == 0 for window in used[1::2]):
        return None
    source: EnergySource = "charge_counter"
    if judge_ratio(charge_ratio(used)) == "contradictory":
        return None
    powers = fit_counter(used, gauge)
    if powers is None and current_is_plausible(used):
        source = "current_now"
        powers = _mean_current(used, gauge)
    if powers is None:
        return None
    idle_w, load_w = powers.power_w[0::2], powers.power_w[1::2]
    seconds_per_inference = np.array(
        [
            (window.ended_ns - window.started_ns) / NS_PER_S / window.iterations
            for window in used[1::2]
        ]
    )
    # Rows: blocks; columns: windows. Their product with the powers is in joules per inference.
    gross_weights = np.zeros((blocks, len(used)))
    gross_weights[np.arange(blocks), 1 + 2 * np.arange(blocks)] = seconds_per_inference
    marginal_weights = gross_weights.copy()
    marginal_weights[:, :-2] -= gross_weights[:, 1:-1] / 2
    marginal_weights[:, 2:] -= gross_weights[:, 1:-1] / 2
    gross_j, marginal_j = gross_weights @ powers.power_w, marginal_weights @ powers.power_w
    budget = (
        UncertaintyTerm(
            name="blocks",
            gross_j=_standard_error(gross_j),
            marginal_j=_standard_error(marginal_j),
            note=f"scatter of {blocks} blocks, Student's t",
        ),
        UncertaintyTerm(
            name="quantisation",
            gross_j=_of_mean(gross_weights, powers.covariance_w2),
            marginal_j=_of_mean(marginal_weights, powers.covariance_w2),
            note="the gauge's step and period; counts where it exceeds the blocks' scatter",
        ),
        UncertaintyTerm(
            name="gain",
            gross_j=GAIN_RELATIVE_UNCERTAINTY * abs(float(gross_j.mean())),
            marginal_j=GAIN_RELATIVE_UNCERTAINTY * abs(float(marginal_j.mean())),
            note=f"{GAIN_RELATIVE_UNCERTAINTY:.1%} of an uncalibrated gauge, an assumption",
        ),
        UncertaintyTerm(
            name="voltage",
            gross_j=VOLTAGE_RELATIVE_UNCERTAINTY * abs(float(gross_j.mean())),
            marginal_j=VOLTAGE_RELATIVE_UNCERTAINTY * abs(float(marginal_j.mean())),
            note=f"{VOLTAGE_RELATIVE_UNCERTAINTY:.1%}, an assumption",
        ),
    )
    return EnergyEstimate(
        source=source,
        blocks=blocks,
        gauge_steps=sum(_count_readings(window.battery, source) for window in used[1::2]),
        iterations=sum(window.iterations for window in used[1::2]),
        idle_w=float(idle_w.mean()),
        load_w=float(load_w.mean()),
        gross_j=float(gross_j.mean()),
        gross_interval_j=_interval(gross_j, [term.gross_j for term in budget]),
        marginal_j=float(marginal_j.mean()),
        marginal_interval_j=_interval(marginal_j, [term.marginal_j for term in budget]),
        budget=budget,
        drift_ratio=_drift_ratio(idle_w, float(load_w.mean())),
    )


def estimate_charge(energy: EnergyEstimate, profile: DeviceProfile) -> ChargeEstimate:
    """Inferences per charge: N = E_battery / E_gross, with both relative uncertainties."""
    inferences = profile.battery.energy_j / energy.gross_j
    half_width_j = (energy.gross_interval_j.high - energy.gross_interval_j.low) / 2
    relative = float(
        np.hypot(half_width_j / NORMAL_95 / energy.gross_j, BATTERY_RELATIVE_UNCERTAINTY)
    )
    half_width = NORMAL_95 * relative * inferences
    return ChargeEstimate(
        battery_j=profile.battery.energy_j,
        battery_source=profile.sources["battery.energy_j"],
        battery_relative_uncertainty=BATTERY_RELATIVE_UNCERTAINTY,
        inferences=inferences,
        inferences_interval=Interval(
            low=max(0.0, inferences - half_width), high=inferences + half_width
        ),
    )


def current_is_plausible(windows: Sequence[Window]) -> bool:
    """Whether the current drains under load, is of a phone's size and agrees with the counter."""
    currents = [
        sample.current_now_ua
        for window in windows[1::2]
        for sample in window.battery
        if sample.current_now_ua is not None
    ]
    if not currents:
        return False
    low_ua, high_ua = PLAUSIBLE_LOAD_CURRENT_UA
    ratio = charge_ratio(windows)
    return low_ua <= -float(np.median(currents)) <= high_ua and judge_ratio(ratio) == "agree"


def charge_ratio(windows: Sequence[Window]) -> float | None:
    """Integral of the current over the counter's change, both over the whole run.

    ``None`` where either is missing or the counter changed fewer than five times. 1 is right; a
    negative ratio means an inverted sign, a thousandth means milliamperes.
    """
    samples = [sample for window in windows for sample in window.battery]
    counters = [sample.charge_counter_uah for sample in samples]
    if _count_readings(samples, "charge_counter") < 5 or None in counters:
        return None
    if any(sample.current_now_ua is None for sample in samples):
        return None
    hours = np.array([sample.at_ns for sample in samples]) / NS_PER_S / 3600
    current_ua = np.array([sample.current_now_ua for sample in samples], dtype=np.float64)
    integral_uah = float(np.sum((current_ua[1:] + current_ua[:-1]) / 2 * np.diff(hours)))
    change_uah = float(counters[-1] - counters[0])  # type: ignore[operator]
    return integral_uah / change_uah if change_uah else None


def judge_ratio(ratio: float | None) -> Literal["agree", "current is odd", "contradictory"]:
    """What ``charge_ratio`` says of the two: milliamperes and an inverted sign are known quirks of
    the current, which leave the counter trusted; for any other ratio, either may be wrong.

    No ratio is no contradiction.
    """
    if ratio is None:
        return "agree"
    low, high = CONSISTENT_CHARGE_RATIO
    if low <= ratio <= high:
        return "agree"
    sizes = (abs(ratio), abs(ratio) * 1000)
    return "current is odd" if any(low <= size <= high for size in sizes) else "contradictory"


# --- the windows' power ------------------------------------------------------------------------


def fit_counter(windows: Sequence[Window], gauge: ProfileGauge) -> WindowPowers | None:
    """The windows' powers from the changes of the charge counter, as the module's docstring says.

    ``None`` where the counter does not change in every load window, or changes too rarely to
    determine a slope for every window.
    """
    if not all(_count_readings(window.battery, "charge_counter") for window in windows[1::2]):
        return None
    samples = [sample for window in windows for sample in window.battery]
    changes = _counter_changes(samples)
    change_ns = np.array([change.at_ns for change in changes])
    level_uah = np.array([change.level_uah for change in changes], dtype=np.float64)
    starts_ns = np.array([window.started_ns for window in windows])
    ends_ns = np.array([*starts_ns[1:], windows[-1].ended_ns])
    elapsed_s = np.clip(change_ns[:, None] - starts_ns, 0, ends_ns - starts_ns) / NS_PER_S
    design = np.column_stack([np.ones(len(changes)), -elapsed_s])
    if len(changes) < design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    inverse = np.linalg.pinv(design)
    window_of_change = np.searchsorted(ends_ns, change_ns).clip(max=len(windows) - 1)
    step_uah = min(change.step_uah for change in changes)

    def drawn_at_update_uah(rates: np.ndarray) -> np.ndarray:
        drawn: np.ndarray = np.abs(rates[window_of_change]) * gauge.update_period_ms / 1000
        return drawn.clip(max=step_uah)

    rates_uah_per_s = (inverse @ level_uah)[1:]
    level_uah = level_uah - drawn_at_update_uah(rates_uah_per_s) / 2
    solution = inverse @ level_uah
    rates_uah_per_s = solution[1:]
    load_charge_uah = (
        float(np.median(rates_uah_per_s[1::2] * np.diff([*starts_ns, ends_ns[-1]])[1::2]))
        / NS_PER_S
    )
    residual_uah = float(np.max(np.abs(level_uah - design @ solution)))
    tolerated_uah = 3 * (step_uah + drawn_at_update_uah(rates_uah_per_s).max())
    if (
        not _is_a_phone_draining(rates_uah_per_s)
        or residual_uah > tolerated_uah + MAX_RELATIVE_RESIDUAL * load_charge_uah
    ):
        return None
    poll_s = np.array([change.poll_ns for change in changes]) / NS_PER_S
    polled_uah = rates_uah_per_s[window_of_change] * poll_s
    variance_uah2 = (drawn_at_update_uah(rates_uah_per_s) ** 2 + polled_uah**2) / 12
    covariance = (inverse * variance_uah2) @ inverse.T
    watt_per_rate = np.array(
        [charge_energy_j(1.0, _mean_voltage_mv(window.battery)) for window in windows]
    )
    return WindowPowers(
        power_w=rates_uah_per_s * watt_per_rate,
        covariance_w2=covariance[1:, 1:] * np.outer(watt_per_rate, watt_per_rate),
    )


def _is_a_phone_draining(rates_uah_per_s: np.ndarray) -> bool:
    """Whether every load drains, on the average at a current that a phone can have."""
    load_ua = rates_uah_per_s[1::2] * 3600
    low_ua, high_ua = PLAUSIBLE_LOAD_CURRENT_UA
    return bool(load_ua.min() > 0 and low_ua <= load_ua.mean() <= high_ua)


class _Change(NamedTuple):
    at_ns: float
    """The middle of the two polls that it lies between."""
    poll_ns: int
    """The time between those two."""
    level_uah: int
    """What the counter said before: the level that was crossed last when it falls."""
    step_uah: int


def _counter_changes(samples: Sequence[BatterySample]) -> list[_Change]:
    readings = [
        (sample.at_ns, sample.charge_counter_uah)
        for sample in samples
        if sample.charge_counter_uah is not None
    ]
    smallest_uah = min(
        (
            abs(after[1] - before[1])
            for before, after in pairwise(readings)
            if after[1] != before[1]
        ),
        default=0,
    )
    return [
        _Change(
            (before[0] + after[0]) / 2,
            after[0] - before[0],
            after[1] + smallest_uah,
            abs(after[1] - before[1]),
        )
        for before, after in pairwise(readings)
        if before[1] != after[1]
    ]


def _mean_current(windows: Sequence[Window], gauge: ProfileGauge) -> WindowPowers | None:
    """``None`` where a window has fewer than two readings."""
    power_w, variance_w2 = [], []
    for window in windows:
        current_ua = np.array(
            [
                sample.current_now_ua
                for sample in window.battery
                if sample.current_now_ua is not None
            ],
            dtype=np.float64,
        )
        if len(current_ua) < 2:
            return None
        watt_per_ua = -_mean_voltage_mv(window.battery) * 1e-9
        # Polls between two updates of the gauge repeat one reading and carry nothing new.
        duration_ms = (window.ended_ns - window.started_ns) / 1e6
        updates = max(2, min(len(current_ua), int(duration_ms / gauge.update_period_ms)))
        variance_ua2 = current_ua.var(ddof=1) / updates + gauge.current_step_ua**2 / 12
        power_w.append(current_ua.mean() * watt_per_ua)
        variance_w2.append(variance_ua2 * watt_per_ua**2)
    return WindowPowers(np.array(power_w), np.diag(variance_w2))


def _mean_voltage_mv(samples: Sequence[BatterySample]) -> float:
    voltages = [
        voltage_mv
        for sample in samples
        if (voltage_mv := normalize_voltage_mv(sample.voltage_mv)) is not None
    ]
    return float(np.mean(voltages)) if voltages else float(NOMINAL_CELL_MV)


def _count_readings(samples: Sequence[BatterySample], source: EnergySource) -> int:
    """How often the gauge's reading changed."""
    field = "charge_counter_uah" if source == "charge_counter" else "current_now_ua"
    readings = [getattr(sample, field) for sample in samples]
    return sum(
        before is not None and after is not None and before != after
        for before, after in pairwise(readings)
    )


# --- intervals ---------------------------------------------------------------------------------


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _of_mean(weights: np.ndarray, covariance_w2: np.ndarray) -> float:
    """Standard uncertainty in joules of the mean over the rows of ``weights``."""
    mean_weights = weights.mean(axis=0)
    return float(np.sqrt(mean_weights @ covariance_w2 @ mean_weights))


def _interval(values: np.ndarray, standard_j: Sequence[float]) -> Interval:
    """95 % around the mean: terms in the order of the budget (blocks, quantisation, common ...)."""
    blocks_j, quantisation_j, *common_j = standard_j
    student_t = float(stdtrit(len(values) - 1, 0.975))
    random_j = max(student_t * blocks_j, NORMAL_95 * quantisation_j)
    half_width_j = float(np.sqrt(random_j**2 + sum((NORMAL_95 * term) ** 2 for term in common_j)))
    mean_j = float(values.mean())
    return Interval(low=mean_j - half_width_j, high=mean_j + half_width_j)


def _drift_ratio(idle_w: np.ndarray, load_w: float) -> float:
    """Change of a line through the idle powers over the run, relative to the marginal power."""
    slope = float(np.polyfit(np.arange(len(idle_w)), idle_w, 1)[0])
    marginal_w = load_w - float(idle_w.mean())
    return slope * (len(idle_w) - 1) / marginal_w if marginal_w else 0.0
