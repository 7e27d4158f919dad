"""The power of each window, from each source that a phone has.

**Counters** (of charge and of energy) are staircases whose step, often several joules, is large
against a window. All that they tell is when they change, so the charge is fitted through every
change of a stretch as a continuous line with one slope per window: a change in one window helps its
neighbours, and an idle window in which the counter never moves is still determined by them. At the
gauge's update that shows a change, the charge lies below the level that it crossed by up to what
was drawn since the update before, at most one step; that and the time between the two polls are the
error of a change,

    sigma_q^2 = (min(L, r tau)^2 + (r t_poll)^2) / 12

with L the step, r the rate in that window and tau the update's period. Changes are weighted by it,
and it is propagated through the fit.

**Current times voltage** is averaged over the readings that lie wholly inside a window: one that
was given within two update periods after its start may still be about the window before.

**Power rails** are energies at times of their own, up to 20 s before they were asked for, with a
noise that only adds. The same line goes through them.

Everything here is about one stretch of windows (``stretches``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from mobilekit.contract.protocol import BatterySample, Window
from mobilekit.records.device import ProfileGauge
from mobilekit.records.energy import EnergySource, GaugeVerdict
from mobilekit.units import (
    CHARGE_UNITS_UAH,
    COULOMB_PER_UAH,
    LEAST_TELLING_PERCENT,
    NOMINAL_CELL_MV,
    NS_PER_S,
    SHARE_OF_STATED,
    charge_unit,
    normalize_voltage_mv,
)

PLAUSIBLE_LOAD_CURRENT_UA = (50_000, 6_000_000)
PLAUSIBLE_LOAD_W = (0.05 * 3.85, 6 * 3.85)
"""The same currents at a lithium cell's nominal voltage."""
PLAUSIBLE_MEAN_CURRENT_UA = (10_000, 6_000_000)
"""Of idle and load windows together. Its ends are less than a thousand apart, like the units."""
CONSISTENT_CHARGE_RATIO = (0.85, 1.15)
"""Integral of the current over the change of the charge counter, where both are sound."""
MIN_RATIO_CHANGES = 5
MAX_RELATIVE_RESIDUAL = 0.1
"""How far a change may lie off the fit beyond the gauge's resolution, relative to the charge of a
load window: a counter that jumps (gauges correct themselves) is not used."""
SETTLING_PERIODS = 2
"""A current is held for one period, and may be the mean over the one before."""
JOULE_PER_NWH = 3.6e-6
COARSE_RAIL_AGE_S = 1.0
"""Readings for ordinary callers are up to 20 s old, the others at most 250 ms."""
COARSE_RAIL_NOISE_J = 10.0
RAIL_TIMING_S = 1e-3
"""Rails give their times in whole milliseconds."""


class WindowPowers(NamedTuple):
    """The power of each of n windows."""

    power_w: np.ndarray
    covariance_w2: np.ndarray
    """n x n: what the source's resolution alone makes uncertain."""


class Unusable(NamedTuple):
    """Why a source tells nothing of a stretch."""

    reason: str
    contradictory: bool
    """The source cannot be right, in this stretch or any other."""


class Gauge(NamedTuple):
    """What is known of a gauge's readings: measured where there is a verdict, else the
    profile's; the charge counter's unit and sign always from the readings."""

    charge_scale: float | None
    """What the charge counter is multiplied with to fall with the charge, in microampere-hours;
    ``None``: there is no such number."""
    charge_step_uah: float | None
    """``None``: the smallest change that is seen."""
    charge_period_s: float
    current_step_ua: float
    current_period_s: float
    energy_period_s: float
    current_scale: int
    current_sign: int

    def current_ua(self, sample: BatterySample) -> float | None:
        """In microamperes, a discharge negative."""
        if sample.current_now_ua is None:
            return None
        return float(sample.current_now_ua * self.current_scale * self.current_sign)

    def charge_uah(self, sample: BatterySample) -> float | None:
        if sample.charge_counter_uah is None or self.charge_scale is None:
            return None
        return sample.charge_counter_uah * self.charge_scale


def known_gauge(
    profile: ProfileGauge,
    verdict: GaugeVerdict | None,
    stretches: Sequence[Sequence[Window]] = (),
    capacity_uah: int | None = None,
) -> Gauge:
    """The measured step and period where they were measured, else the profile's; the charge
    counter's unit and sign as ``charge_scale`` says."""
    scale = charge_scale(stretches, capacity_uah)
    if verdict is None:
        period_s = profile.update_period_ms / 1000
        return Gauge(scale, None, period_s, profile.current_step_ua, period_s, period_s, 1, 1)
    charge_ms, current_ms, energy_ms = (
        verdict.charge_period_ms,
        verdict.current_period_ms,
        verdict.energy_period_ms,
    )
    # A property that was too seldom seen to change is updated like the others of its gauge.
    known_ms = charge_ms or current_ms or energy_ms or profile.update_period_ms
    return Gauge(
        charge_scale=scale,
        charge_step_uah=verdict.charge_step_uah,
        charge_period_s=(charge_ms or known_ms) / 1000,
        current_step_ua=verdict.current_step_ua or profile.current_step_ua,
        current_period_s=(current_ms or known_ms) / 1000,
        energy_period_s=(energy_ms or known_ms) / 1000,
        current_scale=verdict.current_scale,
        current_sign=verdict.current_sign,
    )


def charge_scale(stretches: Sequence[Sequence[Window]], capacity_uah: int | None) -> float | None:
    """What a charge counter is multiplied with to be microampere-hours that a load drains.

    A counter above zero counts what is left: its unit is the one that fits the level, in
    ``units.charge_unit``. One that is below zero, or beside which no level is told, counts from
    anywhere: its unit and sign are those with which it tells a current that a phone can draw. The
    unit that follows from the level is not fitted to the current, which can then contradict it.

    ``None`` where no unit fits, or where what follows is no battery of ``capacity_uah``.
    """
    readings = [
        (sample.at_ns, sample.charge_counter_uah, sample.level_percent)
        for stretch in stretches
        for window in stretch
        for sample in window.battery
        if sample.charge_counter_uah is not None
    ]
    levels = [(told, level) for _, told, level in readings if level]
    if readings and levels and min(told for _, told, _ in readings) > 0:
        told, level = levels[len(levels) // 2]
        unit = charge_unit(told, level)
        if unit is None:
            return None
        share = told * CHARGE_UNITS_UAH[unit] * 100 / level / (capacity_uah or 1)
        low, high = SHARE_OF_STATED
        contradicts = capacity_uah and level >= LEAST_TELLING_PERCENT and not low <= share <= high
        return None if contradicts else CHARGE_UNITS_UAH[unit]
    if not readings or readings[0][1] == readings[-1][1]:
        return 1.0
    (first_ns, first, _), (last_ns, last, _) = readings[0], readings[-1]
    change, hours = last - first, (last_ns - first_ns) / NS_PER_S / 3600
    low_ua, high_ua = PLAUSIBLE_MEAN_CURRENT_UA
    return next(
        (
            math.copysign(unit_uah, -change)
            for unit_uah in CHARGE_UNITS_UAH.values()
            if low_ua <= abs(change) * unit_uah / hours <= high_ua
        ),
        None,
    )


# --- each source -------------------------------------------------------------------------------


def measure_powers(
    stretch: Sequence[Window], source: EnergySource, gauge: Gauge
) -> WindowPowers | Unusable:
    """The power of each window of a stretch by one source."""
    measure: dict[EnergySource, Callable[[Sequence[Window], Gauge], WindowPowers | Unusable]] = {
        "charge_counter": charge_powers,
        "current_now": current_powers,
        "energy_counter": energy_powers,
        "power_rails": rail_powers,
    }
    return measure[source](stretch, gauge)


def charge_powers(stretch: Sequence[Window], gauge: Gauge) -> WindowPowers | Unusable:
    """From the charge counter's changes, and each window's mean voltage."""
    joules = [COULOMB_PER_UAH * mean_voltage_mv(window.battery) / 1000 for window in stretch]
    if gauge.charge_scale is None:
        return Unusable("no unit makes it the charge of this phone's battery", True)
    return _fit_counter(
        stretch,
        gauge.charge_uah,
        gauge.charge_step_uah,
        gauge.charge_period_s,
        np.array(joules),
    )


def energy_powers(stretch: Sequence[Window], gauge: Gauge) -> WindowPowers | Unusable:
    """From the energy counter's changes."""
    return _fit_counter(
        stretch,
        lambda sample: sample.energy_counter_nwh,
        None,
        gauge.energy_period_s,
        np.full(len(stretch), JOULE_PER_NWH),
    )


def current_powers(stretch: Sequence[Window], gauge: Gauge) -> WindowPowers | Unusable:
    """From the mean of the current and of the voltage.

    The rounding of the current is taken to be the same in all windows of a kind: it may be. The
    readings' own scatter shows in that of the blocks.
    """
    power_w, watt_per_ua = [], []
    settling_ns = SETTLING_PERIODS * gauge.current_period_s * NS_PER_S
    for window in stretch:
        currents = [
            current_ua
            for sample in window.battery
            if sample.at_ns >= window.started_ns + settling_ns
            and (current_ua := gauge.current_ua(sample)) is not None
        ]
        if len(currents) < 2:
            return Unusable("the current is not told, or its updates are too rare", False)
        watt_per_ua.append(mean_voltage_mv(window.battery) * 1e-9)
        power_w.append(-float(np.mean(currents)) * watt_per_ua[-1])
    powers, scale = np.array(power_w), np.array(watt_per_ua)
    load_ua = powers[1::2] / scale[1::2]
    low_ua, high_ua = PLAUSIBLE_LOAD_CURRENT_UA
    if not (low_ua <= float(np.median(load_ua)) <= high_ua and load_ua.min() > 0):
        return Unusable("no phone draws the current that it tells under load", True)
    if not current_changes([stretch]):
        return Unusable("the current never changes", True)
    same_kind = np.equal.outer(np.arange(len(stretch)) % 2, np.arange(len(stretch)) % 2)
    return WindowPowers(powers, same_kind * np.outer(scale, scale) * gauge.current_step_ua**2 / 12)


def rail_powers(stretch: Sequence[Window], _: Gauge) -> WindowPowers | Unusable:
    """From the energies of the power rails, summed; monitors that Android models are left out.

    Before the first window the phone is taken to be as idle as in it.
    """
    names = rail_names(stretch)
    if not names:
        return Unusable("there are no power rails", False)
    age_s = rail_age_s(stretch)
    coarse = age_s is not None and age_s > COARSE_RAIL_AGE_S
    starts_ns, ends_ns = _boundaries(stretch)
    power_w = np.zeros(len(stretch))
    covariance_w2 = np.zeros((len(stretch), len(stretch)))
    for name in names:
        readings = sorted(
            {
                (rail.at_ns, rail.energy_uj)
                for window in stretch
                for rail in window.rails
                if rail.name == name
            }
        )
        at_ns = np.array([reading[0] for reading in readings], dtype=np.float64)
        energy_j = np.array([reading[1] for reading in readings], dtype=np.float64) / 1e6
        elapsed_s = np.clip(at_ns[:, None] - starts_ns, 0, ends_ns - starts_ns) / NS_PER_S
        elapsed_s[:, 0] = np.minimum(at_ns, ends_ns[0]) / NS_PER_S - starts_ns[0] / NS_PER_S
        design = np.column_stack([np.ones(len(at_ns)), elapsed_s])
        if np.linalg.matrix_rank(design) < design.shape[1]:
            return Unusable("its readings are too few", False)
        noise_j = COARSE_RAIL_NOISE_J if coarse else 0.0
        inverse = np.linalg.pinv(design)
        rail_w = (inverse @ energy_j)[1:]
        variance_j2 = (noise_j**2 + (rail_w.max() * RAIL_TIMING_S) ** 2) / 12
        power_w += rail_w
        covariance_w2 += (inverse @ inverse.T)[1:, 1:] * variance_j2
    if not _is_a_phone_at_work(power_w):
        return Unusable("no phone draws the power that its rails tell under load", True)
    return WindowPowers(power_w, covariance_w2)


def rail_names(windows: Sequence[Window]) -> list[str]:
    """The rails that are measured: Android names them ``[CHANNEL]:SUBSYSTEM``, and the consumers
    that it computes from them, which would count twice, without brackets."""
    return sorted(
        {rail.name for window in windows for rail in window.rails if rail.name.startswith("[")}
    )


def rail_age_s(windows: Sequence[Window]) -> float | None:
    """How old a reading was at most at a window's end; ``None`` without rails."""
    ages_ns = [
        window.ended_ns - max(rail.at_ns for rail in window.rails)
        for window in windows
        if window.rails
    ]
    return max(ages_ns) / NS_PER_S if ages_ns else None


def count_readings(windows: Sequence[Window], source: EnergySource) -> int:
    """How often a source's reading changed within the windows."""
    if source == "power_rails":
        return sum(len({rail.at_ns for rail in window.rails}) for window in windows)
    field = {
        "charge_counter": "charge_counter_uah",
        "current_now": "current_now_ua",
        "energy_counter": "energy_counter_nwh",
    }[source]
    count = 0
    for window in windows:
        readings = [getattr(sample, field) for sample in window.battery]
        count += sum(
            before is not None and after is not None and before != after
            for before, after in pairwise(readings)
        )
    return count


def voltage_is_told(windows: Sequence[Window]) -> bool:
    """To better than a volt, in all of the windows."""
    return all(
        any(_fine_voltage_mv(sample) is not None for sample in window.battery) for window in windows
    )


def _fine_voltage_mv(sample: BatterySample) -> int | None:
    """Whole volts say less than the nominal voltage does."""
    if sample.voltage_mv is not None and sample.voltage_mv < 10:
        return None
    return normalize_voltage_mv(sample.voltage_mv)


def mean_voltage_mv(samples: Sequence[BatterySample]) -> float:
    """The nominal one where none is told."""
    voltages = [
        voltage_mv for sample in samples if (voltage_mv := _fine_voltage_mv(sample)) is not None
    ]
    return float(np.mean(voltages)) if voltages else float(NOMINAL_CELL_MV)


# --- agreement of current and counter ----------------------------------------------------------


def current_changes(stretches: Sequence[Sequence[Window]]) -> bool:
    """Whether the current ever takes another value."""
    readings = {
        sample.current_now_ua
        for stretch in stretches
        for window in stretch
        for sample in window.battery
    }
    return len(readings - {None}) > 1


def charge_ratio(stretches: Sequence[Sequence[Window]], gauge: Gauge) -> float | None:
    """Integral of the current over the counter's change, from its first to its last change in each
    stretch, since only there the counter's staircase is at a known level.

    ``None`` where either is missing, the current never changes, or the counter changed fewer than
    five times. 1 is right; a negative ratio means an inverted sign, a thousandth milliamperes.
    """
    if not current_changes(stretches):
        return None
    integral_uah = change_uah = moved_uah = 0.0
    changes = 0
    for stretch in stretches:
        readings = [
            (sample.at_ns, charge_uah, gauge.current_ua(sample))
            for window in stretch
            for sample in window.battery
            if (charge_uah := gauge.charge_uah(sample)) is not None
        ]
        if any(current is None for _, _, current in readings):
            return None
        steps = [
            index + 1
            for index, (before, after) in enumerate(pairwise(readings))
            if before[1] != after[1]
        ]
        if len(steps) < 2:
            continue
        changes += len(steps)
        part = readings[steps[0] : steps[-1] + 1]
        hours = np.array([at_ns for at_ns, _, _ in part]) / NS_PER_S / 3600
        current_ua = np.array([current for _, _, current in part], dtype=np.float64)
        integral_uah += float(np.sum((current_ua[1:] + current_ua[:-1]) / 2 * np.diff(hours)))
        change_uah += part[-1][1] - part[0][1]
        moved_uah += sum(abs(after[1] - before[1]) for before, after in pairwise(part))
    # A counter that goes up and down again says nothing of a charge.
    if changes < MIN_RATIO_CHANGES or abs(change_uah) < moved_uah / 2:
        return None
    return integral_uah / change_uah


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


# --- the line through a counter's changes ------------------------------------------------------


class _Change(NamedTuple):
    at_ns: float
    """The middle of the two polls that it lies between."""
    poll_s: float
    """The time between those two."""
    after: float
    size: float


def _fit_counter(
    stretch: Sequence[Window],
    read: Callable[[BatterySample], float | None],
    step: float | None,
    period_s: float,
    joule_per_unit: np.ndarray,
) -> WindowPowers | Unusable:
    """As the module's docstring says; ``joule_per_unit`` is the value of a count in each window."""
    changes = _counter_changes([sample for window in stretch for sample in window.battery], read)
    if not changes:
        return Unusable("the counter never changes", False)
    step = step or min(change.size for change in changes)
    at_ns = np.array([change.at_ns for change in changes])
    crossed = np.array([change.after for change in changes], dtype=np.float64) + step
    starts_ns, ends_ns = _boundaries(stretch)

    def time_in_windows_s(until_ns: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(until_ns[:, None] - starts_ns, 0, ends_ns - starts_ns) / NS_PER_S)

    elapsed_s = time_in_windows_s(at_ns)
    # An update may look back over a window's start, at the power before it.
    since_update_s = elapsed_s - time_in_windows_s(at_ns - period_s * NS_PER_S)
    design = np.column_stack([np.ones(len(changes)), -elapsed_s])
    window_of_change = np.searchsorted(ends_ns, at_ns).clip(max=len(stretch) - 1)
    if not set(range(1, len(stretch), 2)) <= set(window_of_change.tolist()):
        return Unusable("the counter does not change in every load window", False)
    if len(changes) < design.shape[1] or np.linalg.matrix_rank(design) < design.shape[1]:
        return Unusable("the counter changes too rarely", False)
    poll_s = np.array([change.poll_s for change in changes])
    rates = (np.linalg.pinv(design) @ crossed)[1:]
    for _ in range(2):  # The weights depend on the rates, and hardly change with the second.
        rate_then = np.abs(rates)[window_of_change]
        drawn_at_update = (since_update_s @ np.abs(rates)).clip(max=step)
        variance = (drawn_at_update**2 + (rate_then * poll_s) ** 2) / 12 + (1e-3 * step) ** 2
        weight = 1 / np.sqrt(variance)
        inverse = np.linalg.pinv(design * weight[:, None])
        level = crossed - drawn_at_update / 2
        solution = inverse @ (level * weight)
        rates = solution[1:]
    power_w = rates * joule_per_unit
    if not _is_a_phone_at_work(power_w):
        return Unusable("no phone draws the power that the counter tells under load", True)
    load_units = float(np.median(rates[1::2] * (ends_ns - starts_ns)[1::2])) / NS_PER_S
    tolerated = 3 * (step + drawn_at_update.max()) + MAX_RELATIVE_RESIDUAL * load_units
    if float(np.max(np.abs(level - design @ solution))) > tolerated:
        return Unusable("the counter jumps in the middle of the run", True)
    covariance = (inverse @ inverse.T)[1:, 1:]
    return WindowPowers(power_w, covariance * np.outer(joule_per_unit, joule_per_unit))


def _boundaries(stretch: Sequence[Window]) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends in nanoseconds; a window lasts until the next one starts."""
    starts_ns = np.array([window.started_ns for window in stretch], dtype=np.float64)
    return starts_ns, np.append(starts_ns[1:], stretch[-1].ended_ns)


def _is_a_phone_at_work(power_w: np.ndarray) -> bool:
    """Whether every load drains, on the average at a power that a phone can have."""
    low_w, high_w = PLAUSIBLE_LOAD_W
    load_w = power_w[1::2]
    return bool(load_w.min() > 0 and low_w <= load_w.mean() <= high_w)


def _counter_changes(
    samples: Sequence[BatterySample], read: Callable[[BatterySample], float | None]
) -> list[_Change]:
    readings = [(sample.at_ns, value) for sample in samples if (value := read(sample)) is not None]
    return [
        _Change(
            (before[0] + after[0]) / 2,
            (after[0] - before[0]) / NS_PER_S,
            after[1],
            abs(after[1] - before[1]),
        )
        for before, after in pairwise(readings)
        if before[1] != after[1]
    ]
