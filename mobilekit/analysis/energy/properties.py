"""What each property of a gauge does: whether it tells anything, its step, period, unit, sign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from mobilekit.analysis.energy.sources import PLAUSIBLE_LOAD_CURRENT_UA
from mobilekit.analysis.energy.staircase import measure_period_s, measure_step
from mobilekit.contract.protocol import BatterySample, Window
from mobilekit.records.energy import GaugeEvidence
from mobilekit.units import NS_PER_S

PERCENT_STEP = (0.008, 0.0125)
"""A counter's step relative to the full charge, where it moves with the level shown only."""
SETTLING_S = 3.0
"""After a window's start, before its period is known."""
State = Literal["fine", "unsupported", "stuck", "percent steps"]


class Property(NamedTuple):
    """What one property of the gauge does."""

    state: State
    step: float | None
    period_ms: float | None
    evidence: tuple[GaugeEvidence, ...]


class CurrentProperty(NamedTuple):
    """The current, with the unit and sign that were decided for it."""

    state: State
    scale: Literal[1, 1000]
    sign: Literal[1, -1]
    step_ua: float | None
    period_ms: float | None
    evidence: tuple[GaugeEvidence, ...]
    contradiction: str | None


def look_at_counter(
    stretches: Sequence[Sequence[Window]],
    name: str,
    unit: str,
    read: Callable[[BatterySample], int | None],
    hint_s: float | None,
    scale: float = 1.0,
) -> Property:
    """A counter's step and period; ``hint_s`` is the period of another property, ``scale`` what the
    readings are multiplied with to be in ``unit``."""
    windows = [window for stretch in stretches for window in stretch]
    samples = [sample for window in windows for sample in window.battery]
    values = [value for sample in samples if (value := read(sample)) is not None]

    def told(state: State, text: str) -> Property:
        return Property(
            state, None, None, (GaugeEvidence(name=name, value=None, unit=unit, text=text),)
        )

    if not values or not any(values):
        return told("unsupported", "unsupported: no reading" if not values else "a constant 0")
    step = measure_step(values)
    if step is None:
        return told("stuck", f"stuck at {values[0]}")
    step_told = step * abs(scale)
    found = [
        GaugeEvidence(
            name=f"{name}'s step", value=step_told, unit=unit, text="largest common divisor"
        )
    ]
    levels = [sample.level_percent for sample in samples if sample.level_percent]
    if levels and PERCENT_STEP[0] <= step / (values[0] * 100 / levels[0]) <= PERCENT_STEP[1]:
        found.append(
            GaugeEvidence(name=name, value=None, unit="", text="moves in steps of 1 % only")
        )
        return Property("percent steps", step_told, None, tuple(found))
    period_s = measure_period_s(windows, read, hint_s)
    if period_s is not None:
        found.append(_period_evidence(name, period_s))
    return Property("fine", step_told, None if period_s is None else period_s * 1000, tuple(found))


def look_at_current(
    stretches: Sequence[Sequence[Window]],
    scale_set: Literal[1, 1000] | None,
    sign_set: Literal[1, -1] | None,
) -> CurrentProperty:
    """``scale_set`` and ``sign_set`` are a person's word for what else is decided here."""
    scale, sign = scale_set or 1, sign_set or 1
    windows = [window for stretch in stretches for window in stretch]
    raw = {
        kind: [
            sample.current_now_ua
            for stretch in stretches
            for window in stretch
            for sample in window.battery
            if window.kind == kind
            and sample.current_now_ua is not None
            and sample.at_ns > window.started_ns + SETTLING_S * NS_PER_S
        ]
        for kind in ("idle", "load")
    }

    def told(state: State, text: str, contradiction: str | None = None) -> CurrentProperty:
        found = GaugeEvidence(name="current", value=None, unit="", text=text)
        return CurrentProperty(state, scale, sign, None, None, (found,), contradiction)

    if not raw["load"] or not raw["idle"]:
        return told("unsupported", "unsupported: no reading")
    if not any(raw["load"]) and not any(raw["idle"]):
        return told("unsupported", "a constant 0")
    if len({*raw["load"], *raw["idle"]}) == 1:
        return told("stuck", f"stuck at {raw['load'][0]}")
    load, idle = float(np.median(raw["load"])), float(np.median(raw["idle"]))
    low_ua, high_ua = PLAUSIBLE_LOAD_CURRENT_UA
    if scale_set is None:
        scales: list[Literal[1, 1000]] = [
            scale for scale in (1, 1000) if low_ua <= abs(load) * scale <= high_ua
        ]
        if not scales:
            return told(
                "stuck",
                f"its median under load, {load:.0f}, is no phone's current in uA nor in mA",
            )
        scale = scales[0]
    if sign_set is None:
        sign = 1 if load < 0 else -1
    found = [
        GaugeEvidence(name="current under load", value=load, unit="as reported", text="median"),
        GaugeEvidence(name="current while idle", value=idle, unit="as reported", text="median"),
        GaugeEvidence(
            name="current's unit",
            value=float(scale),
            unit="uA",
            text="set by a person" if scale_set else "the load is 0.05 to 6 A then",
        ),
        GaugeEvidence(
            name="current's sign",
            value=float(sign),
            unit="",
            text="set by a person" if sign_set else "load drains then",
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
    return CurrentProperty(
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
