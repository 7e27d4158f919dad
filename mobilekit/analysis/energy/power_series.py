"""Power over time: what a phone drew in each window of an energy phase."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from mobilekit.analysis.energy.budget import NORMAL_95
from mobilekit.analysis.energy.estimate import energy_of
from mobilekit.analysis.energy.sources import Gauge, WindowPowers, known_gauge, measure_powers
from mobilekit.analysis.energy.stretches import find_stretches
from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import Window
from mobilekit.records.energy import EnergySource
from mobilekit.records.measurement import Measurement
from mobilekit.records.statistics import Origin


class WindowPower(Record, frozen=True):
    kind: Literal["idle", "load"]
    started_ns: int
    """On the run's own clock."""
    ended_ns: int
    iterations: int
    power_w: float | None
    """By the source that tells the energy, its gain corrected where that is known; ``None`` for a
    window that does not count, since the phone was plugged in or its block is not complete."""
    half_width_w: float | None
    """95 %, of what the source's resolution alone makes uncertain."""


class PowerSeries(Record, frozen=True):
    measurement_id: str
    origin: Origin
    source: EnergySource
    windows: tuple[WindowPower, ...]


class StretchPower(NamedTuple):
    """What was drawn in each window of a stretch, with its 95 % half-width."""

    windows: Sequence[Window]
    power_w: np.ndarray
    half_width_w: np.ndarray


def stretch_powers(
    measurement: Measurement,
    stretches: Sequence[Sequence[Window]],
    gauge: Gauge,
    source: EnergySource,
) -> Iterator[StretchPower]:
    """Of each stretch that the source tells; its gain is corrected where that is known, and rails
    have none."""
    gain = 1.0
    if measurement.gain is not None and source != "power_rails":
        gain = measurement.gain.gain
    for stretch in stretches:
        powers = measure_powers(stretch, source, gauge)
        if isinstance(powers, WindowPowers):
            half_widths_w = NORMAL_95 * np.sqrt(np.diag(powers.covariance_w2))
            yield StretchPower(stretch, powers.power_w / gain, half_widths_w / gain)


def power_series_of(measurement: Measurement) -> PowerSeries | None:
    """``None`` where no source tells the energy."""
    windows, profile = measurement.result.samples.windows, measurement.profile
    energy = energy_of(measurement)
    if energy is None or profile is None:
        return None
    stretches = find_stretches(windows)
    gauge = known_gauge(profile.gauge, measurement.gauge, stretches, profile.capacity_uah)
    told = {
        window.started_ns: (float(power_w), float(half_width_w))
        for each in stretch_powers(measurement, stretches, gauge, energy.source)
        for window, power_w, half_width_w in zip(*each, strict=True)
    }
    return PowerSeries(
        measurement_id=measurement.id,
        origin=energy.origin,
        source=energy.source,
        windows=tuple(
            WindowPower(
                kind=window.kind,
                started_ns=window.started_ns,
                ended_ns=window.ended_ns,
                iterations=window.iterations,
                power_w=told[window.started_ns][0] if window.started_ns in told else None,
                half_width_w=told[window.started_ns][1] if window.started_ns in told else None,
            )
            for window in windows
        ),
    )
