"""What a phone's fuel gauge is like, told from a calibration run's own readings.

Vendors report the current in milliamperes or with the opposite sign, counters that move in steps of
a percent, constants, nothing. None of it can be told from one reading: the unit is the scale at
which the load's median is a current that a phone can draw, the sign the one with which load drains,
and both are confirmed by the integral of the current over the change of the charge counter. The
step is the largest common divisor of the changes, the update period the time that the intervals
between changes are multiples of. Where two witnesses contradict each other there is no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from mobilekit.analysis.energy import (
    GAIN_RELATIVE_UNCERTAINTY,
    NORMAL_95,
    SOURCES_IN_ORDER,
    UNTOLD_VOLTAGE_RELATIVE_UNCERTAINTY,
    VOLTAGE_RELATIVE_UNCERTAINTY,
    estimate_energy,
)
from mobilekit.analysis.planning import (
    CALIBRATION_WINDOW_S,
    resolution_half_width,
    resolution_of,
)
from mobilekit.analysis.sources import (
    CONSISTENT_CHARGE_RATIO,
    PLAUSIBLE_LOAD_CURRENT_UA,
    Gauge,
    Unusable,
    charge_ratio,
    find_segments,
    measure_powers,
    rail_age_s,
    rail_names,
    voltage_is_told,
)
from mobilekit.protocol import BatterySample, Window
from mobilekit.records import (
    DeviceProfile,
    EnergySource,
    GaugeEvidence,
    GaugeFound,
    GaugeRefusal,
    GaugeVerdict,
    SourceVerdict,
)
from mobilekit.units import NS_PER_S

STATED_BLOCKS = 5
"""The run that expected errors are stated for has so many blocks, and a calibration's windows."""
PERCENT_STEP = (0.008, 0.0125)
"""A counter's step relative to the full charge, where it moves with the level shown only."""
UNCONFIRMED_CURRENT_HANDICAP = 0.05
"""With which a current that no charge counter confirms is weighed against other sources: an
assumption, and no term of its interval."""
HARDLY_WORSE = 1.1
UNIT_AND_SIGN_RATIO = (0.03, 30.0)
"""Of current and counter, with any other fault than a wrong unit (a thousand) or sign."""
DUAL_CELL_RATIOS = (2.0, 0.5)
SETTLING_S = 3.0
"""After a window's start, before its period is known."""
MIN_PERIOD_CHANGES = 12
"""In idle or in load windows, to tell anything from them."""
MIN_UNKNOWN_PERIOD_CHANGES = 40
MIN_COHERENCE = 0.6
LONGEST_COHERENCE = 0.8
"""Of the best: shorter periods that divide the true one fit as well."""
MAX_POLL_SHARE = 0.35
"""Of a period that can be told, a poll's."""
MAX_DIVISOR = 16
MIN_INEXACT_STEP = 8
"""Smaller ones drown in the rounding of readings to whole numbers: the exact divisor counts."""

State = Literal["fine", "unsupported", "stuck", "percent steps"]


class Overrides(NamedTuple):
    """What a person sets against the evidence; ``None``: nothing."""

    current_scale: Literal[1, 1000] | None = None
    current_sign: Literal[1, -1] | None = None
    source: EnergySource | None = None

    @property
    def names(self) -> tuple[Literal["current_scale", "current_sign", "source"], ...]:
        names: tuple[Literal["current_scale", "current_sign", "source"], ...] = (
            "current_scale",
            "current_sign",
            "source",
        )
        return tuple(name for name in names if getattr(self, name) is not None)

    def updated(self, later: Overrides) -> Overrides:
        """With what was set later in the place of what was set before."""
        return self._replace(**{name: getattr(later, name) for name in later.names})


NO_OVERRIDES = Overrides()


class _Property(NamedTuple):
    """What one property of the gauge does."""

    state: State
    step: float | None
    period_ms: float | None
    evidence: tuple[GaugeEvidence, ...]


class _Current(NamedTuple):
    """The current, with the unit and sign that were decided for it."""

    state: State
    scale: Literal[1, 1000]
    sign: Literal[1, -1]
    step_ua: float | None
    period_ms: float | None
    evidence: tuple[GaugeEvidence, ...]
    contradiction: str | None


class _ContradictionError(Exception):
    """Two witnesses that cannot both be right."""


def characterize_gauge(
    windows: Sequence[Window],
    profile: DeviceProfile,
    *,
    device: str,
    run_id: str,
    measured_at: str,
    overrides: Overrides = NO_OVERRIDES,
) -> GaugeVerdict | GaugeRefusal:
    """What the readings of a calibration run (``planning.plan_calibration``) say of the gauge.

    ``overrides`` replace what was decided; an overridden unit or sign is still refused where the
    charge counter contradicts it, an overridden source is taken in spite of contradictions.
    """
    segments = find_segments(windows)
    loads = [window for segment in segments for window in segment[1::2]]
    evidence: list[GaugeEvidence] = []

    def refuse(reason: str, *, contradictory: bool) -> GaugeRefusal:
        return GaugeRefusal(
            device=device,
            run_id=run_id,
            measured_at=measured_at,
            reason=reason,
            contradictory=contradictory,
            evidence=tuple(evidence),
        )

    if not segments:
        return refuse("there is no idle-load-idle block without a cable", contradictory=False)
    current = _look_at_current(segments, overrides)
    hint_s = None if current.period_ms is None else current.period_ms / 1000
    charge = _look_at_counter(
        segments, "charge counter", "uAh", lambda sample: sample.charge_counter_uah, hint_s
    )
    energy = _look_at_counter(
        segments, "energy counter", "nWh", lambda sample: sample.energy_counter_nwh, hint_s
    )
    rails, age_s = rail_names(loads), rail_age_s(loads)
    evidence += [*charge.evidence, *current.evidence, *energy.evidence]
    if rails and age_s is not None:
        evidence.append(
            GaugeEvidence(
                name="power rails",
                value=float(len(rails)),
                unit="rails",
                text=f"{len(rails)} rails, readings up to {age_s:.1f} s old",
            )
        )
    period_ms = charge.period_ms or current.period_ms or profile.gauge.update_period_ms
    gauge = Gauge(
        charge_step_uah=charge.step,
        charge_period_s=period_ms / 1000,
        current_step_ua=current.step_ua or profile.gauge.current_step_ua,
        current_period_s=(current.period_ms or period_ms) / 1000,
        energy_period_s=(energy.period_ms or period_ms) / 1000,
        current_scale=current.scale,
        current_sign=current.sign,
    )
    states: dict[EnergySource, State] = {
        "charge_counter": charge.state,
        "current_now": current.state,
        "energy_counter": energy.state,
        "power_rails": "fine" if rails else "unsupported",
    }
    powers = _measure_all(segments, states, gauge)
    ratio = None
    if charge.state == "fine" and current.state == "fine":
        ratio = charge_ratio(segments, gauge)
    if ratio is not None:
        evidence.append(
            GaugeEvidence(
                name="charge ratio",
                value=ratio,
                unit="",
                text="integral of the current over the charge counter's change",
            )
        )
    try:
        if overrides.source is None:
            _check(current, ratio, powers)
        elif overrides != Overrides(source=overrides.source):
            _check_unit_and_sign(ratio)
    except _ContradictionError as error:
        return refuse(str(error), contradictory=True)
    usable = {
        source: measured for source, measured in powers.items() if isinstance(measured, _Levels)
    }
    if not usable or (overrides.source is not None and overrides.source not in usable):
        wanted = overrides.source
        reasons = "; ".join(
            f"{source.replace('_', ' ')}: {measured.reason}"
            for source, measured in powers.items()
            if isinstance(measured, Unusable) and wanted in (None, source)
        )
        what = "no source of energy can be used" if wanted is None else "the source set tells none"
        return refuse(f"{what}: {reasons}", contradictory=False)
    # To begin with: the best one follows from the expected errors.
    pick = next(iter(usable)) if overrides.source is None else overrides.source
    verdict = GaugeVerdict(
        device=device,
        run_id=run_id,
        measured_at=measured_at,
        source=pick,
        sources=(),
        stated_blocks=STATED_BLOCKS,
        stated_window_s=CALIBRATION_WINDOW_S,
        charge_step_uah=charge.step,
        charge_period_ms=charge.period_ms,
        current_step_ua=current.step_ua,
        current_period_ms=current.period_ms,
        current_scale=current.scale,
        current_sign=current.sign,
        charge_ratio=ratio,
        energy_step_nwh=energy.step,
        energy_period_ms=energy.period_ms,
        rails=len(rails),
        rail_age_ms=None if age_s is None else age_s * 1000,
        idle_w=usable[pick].idle_w,
        load_w=usable[pick].load_w,
        seconds_per_inference=sum(w.ended_ns - w.started_ns for w in loads)
        / NS_PER_S
        / sum(window.iterations for window in loads),
        scatter_w=0.0,
        evidence=tuple(evidence),
        overridden=overrides.names,
    )
    return _with_best_source(verdict, windows, profile, powers)


def overrides_of(found: GaugeFound) -> Overrides:
    """What a person had set in it; what was set in vain, in a refusal, counts no more."""
    if isinstance(found, GaugeRefusal):
        return NO_OVERRIDES
    return Overrides(**{name: getattr(found, name) for name in found.overridden})


# --- which source ------------------------------------------------------------------------------


class _Levels(NamedTuple):
    """Mean idle and load power by one source."""

    idle_w: float
    load_w: float


def _measure_all(
    segments: Sequence[Sequence[Window]], states: dict[EnergySource, State], gauge: Gauge
) -> dict[EnergySource, _Levels | Unusable]:
    measured: dict[EnergySource, _Levels | Unusable] = {}
    for source, state in states.items():
        if state in ("unsupported", "stuck"):
            measured[source] = Unusable(state, False)
            continue
        parts = [measure_powers(segment, source, gauge) for segment in segments]
        refused = [part for part in parts if isinstance(part, Unusable)]
        told = [part.power_w for part in parts if not isinstance(part, Unusable)]
        worst = [part for part in refused if part.contradictory]
        if worst or not told:
            reason = (worst or refused)[0]
            if state == "percent steps":
                reason = Unusable("it moves in steps of one percent of the charge only", False)
            measured[source] = reason
        else:
            measured[source] = _Levels(
                float(np.mean(np.concatenate([power_w[0::2] for power_w in told]))),
                float(np.mean(np.concatenate([power_w[1::2] for power_w in told]))),
            )
    return measured


def _check(
    current: _Current, ratio: float | None, powers: dict[EnergySource, _Levels | Unusable]
) -> None:
    """Raises ``_ContradictionError`` for readings that cannot all be right."""
    low, high = CONSISTENT_CHARGE_RATIO
    if current.contradiction is not None:
        raise _ContradictionError(current.contradiction)
    if ratio is not None and not low <= ratio <= high:
        hint = ""
        if any(abs(ratio / other - 1) <= high - 1 for other in DUAL_CELL_RATIOS):
            hint = "; a ratio near 2 or 0.5 suggests a battery of two cells"
        raise _ContradictionError(
            f"the current's integral is {ratio:.3g} of the charge counter's change{hint}"
        )
    for source, measured in powers.items():
        if isinstance(measured, Unusable) and measured.contradictory:
            raise _ContradictionError(f"{source.replace('_', ' ')}: {measured.reason}")
    told = {
        source: measured.load_w
        for source, measured in powers.items()
        if isinstance(measured, _Levels)
    }
    others = [source for source in ("charge_counter", "current_now") if source in told]
    if "energy_counter" in told and others:
        share = told["energy_counter"] / told[others[0]]
        if not low <= share <= high:
            reason = f"it shows {share:.3g} of the power that the {others[0]} shows"
            if len(others) < 2:
                raise _ContradictionError(f"energy counter: {reason}".replace("_", " "))
            powers["energy_counter"] = Unusable(reason.replace("_", " "), False)
    if "power_rails" in told and others and told["power_rails"] > high * told[others[0]]:
        powers["power_rails"] = Unusable("they show more than the battery gives", False)


def _check_unit_and_sign(ratio: float | None) -> None:
    """Raises ``_ContradictionError`` where another unit or sign than the one set is certain."""
    low, high = UNIT_AND_SIGN_RATIO
    if ratio is not None and not low <= ratio <= high:
        raise _ContradictionError(
            f"the current's integral is {ratio:.3g} of the charge counter's change, with the unit "
            "and sign that were set"
        )


def _with_best_source(
    verdict: GaugeVerdict,
    windows: Sequence[Window],
    profile: DeviceProfile,
    powers: dict[EnergySource, _Levels | Unusable],
) -> GaugeVerdict:
    """The source with the smallest expected error for the stated run.

    The current is weighed with a handicap: how far its integral is from the charge counter, or 5 %
    where none confirms it. That is a doubt about the choice and not in the error that is told,
    which is the one that the plan and the interval have: counter and current are of one converter,
    whose gain is in it, and what samples miss scatters from block to block.

    Among those that are hardly worse than the best, the first in the order of ``SOURCES_IN_ORDER``:
    a counter integrates what a current only samples. Rails come last of all, since they are not the
    whole phone.
    """
    voltage = (
        VOLTAGE_RELATIVE_UNCERTAINTY
        if voltage_is_told(windows)
        else UNTOLD_VOLTAGE_RELATIVE_UNCERTAINTY
    )
    sources = []
    handicaps: dict[EnergySource, float] = {}
    for source, measured in powers.items():
        if isinstance(measured, Unusable):
            sources.append(
                SourceVerdict(
                    source=source, usable=False, reason=measured.reason, expected_half_width=None
                )
            )
            continue
        half_width = resolution_half_width(
            resolution_of(source, profile, verdict, verdict.seconds_per_inference),
            STATED_BLOCKS,
            CALIBRATION_WINDOW_S,
            measured.idle_w,
            measured.load_w,
        )
        reason = "resolution, gain and voltage"
        if source == "current_now":
            ratio = verdict.charge_ratio
            handicap = abs(ratio - 1) if ratio is not None else UNCONFIRMED_CURRENT_HANDICAP
            handicaps[source] = handicap
            reason += f"; weighed against the others with {handicap:.1%} more, " + (
                "as far as its integral is from the charge counter"
                if ratio is not None
                else "since no charge counter confirms it"
            )
        needs_voltage = source in ("charge_counter", "current_now")
        common = np.hypot(GAIN_RELATIVE_UNCERTAINTY, voltage if needs_voltage else 0.0)
        half_width = float(np.hypot(half_width, NORMAL_95 * common))
        if not np.isfinite(half_width):
            reason = "the stated run is too short for it; a longer one is not"
        sources.append(
            SourceVerdict(
                source=source,
                usable=True,
                reason=reason,
                expected_half_width=half_width if np.isfinite(half_width) else None,
            )
        )
    best = verdict.source if "source" in verdict.overridden else _choose(sources, handicaps)
    levels = powers[best]
    assert isinstance(levels, _Levels)
    chosen = msgspec.structs.replace(
        verdict,
        source=best,
        sources=tuple(sources),
        idle_w=levels.idle_w,
        load_w=levels.load_w,
    )
    estimate = estimate_energy(windows, profile.gauge, chosen)
    scatter_w = estimate.scatter_w if estimate is not None else 0.0
    return msgspec.structs.replace(chosen, scatter_w=scatter_w)


def _choose(sources: Sequence[SourceVerdict], handicaps: dict[EnergySource, float]) -> EnergySource:
    def weighed(item: SourceVerdict) -> float:
        return float(np.hypot(item.expected_half_width or 0.0, handicaps.get(item.source, 0.0)))

    usable = [item for item in sources if item.usable]
    at_battery = [item for item in usable if item.source != "power_rails"] or usable
    in_time = [item for item in at_battery if item.expected_half_width is not None] or at_battery
    smallest = min(weighed(item) for item in in_time)
    good = {item.source for item in in_time if weighed(item) <= HARDLY_WORSE * smallest}
    return next(source for source in SOURCES_IN_ORDER if source in good)


# --- the properties ----------------------------------------------------------------------------


def _look_at_counter(
    segments: Sequence[Sequence[Window]],
    name: str,
    unit: str,
    read: Callable[[BatterySample], int | None],
    hint_s: float | None,
) -> _Property:
    windows = [window for segment in segments for window in segment]
    samples = [sample for window in windows for sample in window.battery]
    values = [value for sample in samples if (value := read(sample)) is not None]

    def told(state: State, text: str) -> _Property:
        return _Property(
            state, None, None, (GaugeEvidence(name=name, value=None, unit=unit, text=text),)
        )

    if not values or not any(values):
        return told("unsupported", "unsupported: no reading" if not values else "a constant 0")
    step = measure_step(values)
    if step is None:
        return told("stuck", f"stuck at {values[0]}")
    found = [
        GaugeEvidence(name=f"{name}'s step", value=step, unit=unit, text="largest common divisor")
    ]
    levels = [sample.level_percent for sample in samples if sample.level_percent]
    if levels and PERCENT_STEP[0] <= step / (values[0] * 100 / levels[0]) <= PERCENT_STEP[1]:
        found.append(
            GaugeEvidence(name=name, value=None, unit="", text="moves in steps of 1 % only")
        )
        return _Property("percent steps", step, None, tuple(found))
    period_s = measure_period_s(windows, read, hint_s)
    if period_s is not None:
        found.append(_period_evidence(name, period_s))
    return _Property("fine", step, None if period_s is None else period_s * 1000, tuple(found))


def _look_at_current(segments: Sequence[Sequence[Window]], overrides: Overrides) -> _Current:
    scale, sign = overrides.current_scale or 1, overrides.current_sign or 1
    windows = [window for segment in segments for window in segment]
    raw = {
        kind: [
            sample.current_now_ua
            for segment in segments
            for window in segment
            for sample in window.battery
            if window.kind == kind
            and sample.current_now_ua is not None
            and sample.at_ns > window.started_ns + SETTLING_S * NS_PER_S
        ]
        for kind in ("idle", "load")
    }

    def told(state: State, text: str, contradiction: str | None = None) -> _Current:
        found = GaugeEvidence(name="current", value=None, unit="", text=text)
        return _Current(state, scale, sign, None, None, (found,), contradiction)

    if not raw["load"] or not raw["idle"]:
        return told("unsupported", "unsupported: no reading")
    if not any(raw["load"]) and not any(raw["idle"]):
        return told("unsupported", "a constant 0")
    if len({*raw["load"], *raw["idle"]}) == 1:
        return told("stuck", f"stuck at {raw['load'][0]}")
    load, idle = float(np.median(raw["load"])), float(np.median(raw["idle"]))
    low_ua, high_ua = PLAUSIBLE_LOAD_CURRENT_UA
    if overrides.current_scale is None:
        scales: list[Literal[1, 1000]] = [
            scale for scale in (1, 1000) if low_ua <= abs(load) * scale <= high_ua
        ]
        if not scales:
            return told(
                "stuck",
                f"its median under load, {load:.0f}, is no phone's current in uA nor in mA",
            )
        scale = scales[0]
    if overrides.current_sign is None:
        sign = 1 if load < 0 else -1
    found = [
        GaugeEvidence(name="current under load", value=load, unit="as reported", text="median"),
        GaugeEvidence(name="current while idle", value=idle, unit="as reported", text="median"),
        GaugeEvidence(
            name="current's unit",
            value=float(scale),
            unit="uA",
            text="set by a person" if overrides.current_scale else "the load is 0.05 to 6 A then",
        ),
        GaugeEvidence(
            name="current's sign",
            value=float(sign),
            unit="",
            text="set by a person" if overrides.current_sign else "load drains then",
        ),
    ]
    contradiction = None
    if (load - idle) * sign >= 0:
        contradiction = (
            f"the current, {idle:.0f} while idle and {load:.0f} under load, does not drain more "
            "under load"
        )
    step = measure_step([reading for readings in raw.values() for reading in readings])
    period_s = measure_period_s(windows, lambda sample: sample.current_now_ua)
    if step is not None:
        found.append(
            GaugeEvidence(
                name="current's step", value=step * scale, unit="uA", text="largest common divisor"
            )
        )
    if period_s is not None:
        found.append(_period_evidence("current", period_s))
    return _Current(
        "fine",
        scale,
        sign,
        None if step is None else step * scale,
        None if period_s is None else period_s * 1000,
        tuple(found),
        contradiction,
    )


def _period_evidence(name: str, period_s: float) -> GaugeEvidence:
    return GaugeEvidence(
        name=f"{name}'s update period",
        value=period_s * 1000,
        unit="ms",
        text="the intervals between changes are multiples of it",
    )


# --- step and period ---------------------------------------------------------------------------


def measure_step(values: Sequence[int]) -> float | None:
    """The largest number that all differences of successive readings are multiples of, each reading
    being rounded to a whole number; ``None`` where nothing changes.

    Each divisor of the smallest difference is tried: with every larger difference it is known
    better, and refused by the first one that is off by more than the rounding of two readings.
    """
    differences = sorted(
        {abs(after - before) for before, after in pairwise(values) if after != before}
    )
    if not differences:
        return None
    for divisor in range(1, MAX_DIVISOR + 1):
        step = differences[0] / divisor
        if step < MIN_INEXACT_STEP:
            break
        counts = 0
        total = 0.0
        for difference in differences:
            count = max(1, round(difference / step))
            # What is known of the step is as good as the largest difference so far.
            if abs(difference - count * step) > 1 + count * _step_error(total, counts):
                break
            if count > counts:
                counts, total = count, float(difference)
                step = total / counts
        else:
            return step
    return float(np.gcd.reduce(differences))


def _step_error(total: float, counts: int) -> float:
    return 1 / counts if counts else 0.0


def measure_period_s(
    windows: Sequence[Window],
    read: Callable[[BatterySample], int | None],
    hint_s: float | None = None,
) -> float | None:
    """How often a property is updated: the longest period on whose multiples its changes lie, in
    idle and in load windows. ``None`` where it changes too rarely, or is polled too slowly to tell.

    The coherence at the frequency f is the mean of cos(2 pi f d) over the distances d of all pairs
    of changes in a window: 1 for multiples, but for the polls in which the changes are seen, which
    leave sinc^2(f poll). Windows are taken by themselves, since a gauge's clock need not keep time
    with the phone's for longer. A steady power makes a counter's steps themselves periodic, but not
    alike in idle and in load; so the lower coherence of the two counts, and a counter that tells
    of one of them only is not enough. ``hint_s``, another property's period, is taken where it
    fits.
    """
    kinds: list[_Changes] = [
        changes
        for kind in ("idle", "load")
        if (changes := _changes([item for item in windows if item.kind == kind], read)) is not None
    ]
    if not kinds:
        return None
    # A counter's own steps are periodic too, and told from updates by both kinds only.
    least_kinds = 2 if _is_one_way(windows, read) else 1
    if least_kinds == 1:
        kinds = [min(kinds, key=lambda changes: changes.poll_s)]

    def coherence(frequencies: np.ndarray, least_kinds: int) -> np.ndarray:
        each = [_coherence(changes, frequencies) for changes in kinds]
        told = sum(np.isfinite(one).astype(int) for one in each)
        lower = np.min([np.nan_to_num(one, nan=1.0) for one in each], axis=0)
        return np.where(told >= least_kinds, lower, 0.0)

    series = [times for changes in kinds for times in changes.series]
    step_hz = 0.2 / max(float(times[-1] - times[0]) for times in series)
    shortest_s = min(float(np.diff(times).min()) for times in series)
    poll_s = min(changes.poll_s for changes in kinds)
    if hint_s is not None:
        near = np.arange(-5, 6) * step_hz + 1 / hint_s
        if coherence(near, 1).max() >= MIN_COHERENCE:
            return 1 / _peak_hz(lambda at: coherence(at, 1), 1 / hint_s, step_hz)
    frequencies = np.arange(1 / (shortest_s + 2 * poll_s), MAX_POLL_SHARE / poll_s, step_hz)
    if not len(frequencies) or sum(map(len, series)) < MIN_UNKNOWN_PERIOD_CHANGES:
        return None
    found = coherence(frequencies, least_kinds)
    if found.max() < MIN_COHERENCE:
        return None
    first = int(np.argmax(found >= LONGEST_COHERENCE * found.max()))
    peak_hz = float(frequencies[first])
    return 1 / _peak_hz(lambda at: coherence(at, least_kinds), peak_hz, step_hz)


class _Changes(NamedTuple):
    """When a property changed, in windows of one kind."""

    series: list[np.ndarray]
    """Seconds, for each window."""
    poll_s: float
    """Between two readings."""


def _changes(
    windows: Sequence[Window], read: Callable[[BatterySample], int | None]
) -> _Changes | None:
    """A change is in the middle between the two polls that it lies between. ``None`` where there
    are too few."""
    gaps_s = [
        (after.at_ns - before.at_ns) / NS_PER_S
        for window in windows
        for before, after in pairwise(window.battery)
    ]
    quick_s = [gap_s for gap_s in gaps_s if gap_s > 0]
    if not quick_s:
        return None
    poll_s = float(np.median(quick_s))
    series = []
    for window in windows:
        times = [
            (before.at_ns + after.at_ns) / 2 / NS_PER_S
            for before, after in pairwise(window.battery)
            if after.at_ns - before.at_ns <= 2 * poll_s * NS_PER_S and read(before) != read(after)
        ]
        if len(times) > 1:
            series.append(np.array(times))
    if sum(map(len, series)) < MIN_PERIOD_CHANGES:
        return None
    return _Changes(series, poll_s)


def _coherence(changes: _Changes, frequencies: np.ndarray) -> np.ndarray:
    """At each frequency, 1 where all changes lie on its multiples; NaN where the polls are too slow
    to tell."""
    power = np.zeros(len(frequencies))
    for times in changes.series:
        phases = np.exp(2j * np.pi * np.outer(frequencies, times - times[0])).sum(axis=1)
        power += np.abs(phases) ** 2 - len(times)
    pairs = sum(len(times) * (len(times) - 1) for times in changes.series)
    shares = frequencies * changes.poll_s
    found = (power / pairs / np.sinc(np.minimum(shares, 0.5)) ** 2).clip(max=1.0)
    return np.where(shares <= MAX_POLL_SHARE, found, np.nan)


def _is_one_way(windows: Sequence[Window], read: Callable[[BatterySample], int | None]) -> bool:
    """Whether the readings only ever fall: a counter's, and no current's."""
    values = [
        value
        for window in windows
        for sample in window.battery
        if (value := read(sample)) is not None
    ]
    return all(after <= before for before, after in pairwise(values))


def _peak_hz(
    coherence: Callable[[np.ndarray], np.ndarray], about_hz: float, step_hz: float
) -> float:
    """The frequency of the highest coherence within a peak's width."""
    near = about_hz + np.linspace(-5, 5, 201) * step_hz
    return float(near[int(np.argmax(coherence(near)))])
