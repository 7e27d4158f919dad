"""What a phone's fuel gauge is like, told from the readings of its calibration.

Vendors report the current in milliamperes or with the opposite sign, counters that move in steps of
a percent, constants, nothing. None of it can be told from one reading: the unit is the scale at
which the load's median is a current that a phone can draw, the sign the one with which load drains,
and both are confirmed by the integral of the current over the change of the charge counter. The
step is the largest common divisor of the changes, the update period the time that the intervals
between changes are multiples of. Where two witnesses contradict each other there is no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from mobilekit.analysis.energy.budget import NORMAL_95, Standard, expand
from mobilekit.analysis.energy.estimate import (
    GAIN_RELATIVE_UNCERTAINTY,
    SOURCES_IN_ORDER,
    UNTOLD_VOLTAGE_RELATIVE_UNCERTAINTY,
    VOLTAGE_RELATIVE_UNCERTAINTY,
    estimate_energy,
)
from mobilekit.analysis.energy.planning import (
    CALIBRATION_WINDOW_S,
    resolution_half_width,
    resolution_of,
)
from mobilekit.analysis.energy.properties import (
    CurrentProperty,
    State,
    look_at_counter,
    look_at_current,
)
from mobilekit.analysis.energy.sources import (
    CONSISTENT_CHARGE_RATIO,
    Gauge,
    Unusable,
    charge_ratio,
    charge_scale,
    measure_powers,
    rail_age_s,
    rail_names,
    voltage_is_told,
)
from mobilekit.analysis.energy.stretches import find_stretches
from mobilekit.contract.protocol import Window
from mobilekit.records.device import DeviceProfile
from mobilekit.records.energy import (
    EnergySource,
    GaugeEvidence,
    GaugeOutcome,
    GaugeRefusal,
    GaugeVerdict,
    SourceVerdict,
)
from mobilekit.units import NS_PER_S

STATED_BLOCKS = 5
"""The run that expected errors are stated for has so many blocks, and the windows of a
gauge's calibration."""
UNCONFIRMED_CURRENT_HANDICAP = 0.05
"""With which a current that no charge counter confirms is weighed against other sources: an
assumption, and no term of its interval."""
HARDLY_WORSE = 1.1
UNIT_AND_SIGN_RATIO = (0.03, 30.0)
"""Of current and counter, with any other fault than a wrong unit (a thousand) or sign."""
DUAL_CELL_RATIOS = (2.0, 0.5)


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
    """What the readings of a gauge's calibration (``planning.plan_calibration``) say of the gauge.

    ``overrides`` replace what was decided; an overridden unit or sign is still refused where the
    charge counter contradicts it, an overridden source is taken in spite of contradictions.
    """
    stretches = find_stretches(windows)
    loads = [window for stretch in stretches for window in stretch[1::2]]
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

    if not stretches:
        return refuse("there is no idle-load-idle block without a cable", contradictory=False)
    current = look_at_current(stretches, overrides.current_scale, overrides.current_sign)
    hint_s = None if current.period_ms is None else current.period_ms / 1000
    scale = charge_scale(stretches, profile.capacity_uah)
    charge = look_at_counter(
        stretches,
        "charge counter",
        "uAh",
        lambda sample: sample.charge_counter_uah,
        hint_s,
        scale or 1.0,
    )
    energy = look_at_counter(
        stretches, "energy counter", "nWh", lambda sample: sample.energy_counter_nwh, hint_s
    )
    rails, age_s = rail_names(loads), rail_age_s(loads)
    evidence += [*charge.evidence, *current.evidence, *energy.evidence]
    if scale not in (1.0, None):
        evidence.append(
            GaugeEvidence(
                name="charge counter's unit",
                value=scale,
                unit="uAh",
                text="it fits the level, or falls by a phone's current, only then",
            )
        )
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
        charge_scale=scale,
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
    powers = _measure_all(stretches, states, gauge)
    ratio = None
    if charge.state == "fine" and current.state == "fine":
        ratio = charge_ratio(stretches, gauge)
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


def overrides_of(found: GaugeOutcome) -> Overrides:
    """What a person had set in it; what was set in vain, in a refusal, counts no more."""
    if isinstance(found, GaugeRefusal):
        return NO_OVERRIDES
    return Overrides(**{name: getattr(found, name) for name in found.overridden})


class _Levels(NamedTuple):
    """Mean idle and load power by one source."""

    idle_w: float
    load_w: float


def _measure_all(
    stretches: Sequence[Sequence[Window]], states: dict[EnergySource, State], gauge: Gauge
) -> dict[EnergySource, _Levels | Unusable]:
    measured: dict[EnergySource, _Levels | Unusable] = {}
    for source, state in states.items():
        if state in ("unsupported", "stuck"):
            measured[source] = Unusable(state, False)
            continue
        parts = [measure_powers(stretch, source, gauge) for stretch in stretches]
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
    current: CurrentProperty, ratio: float | None, powers: dict[EnergySource, _Levels | Unusable]
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
        half_width = expand(
            [
                Standard(half_width / NORMAL_95),
                Standard(GAIN_RELATIVE_UNCERTAINTY),
                Standard(voltage if needs_voltage else 0.0),
            ]
        )
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
    estimate = estimate_energy(windows, profile.gauge, chosen, capacity_uah=profile.capacity_uah)
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
