"""What an inference's energy means in use: days, uploads, and life under a duty cycle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from mobilekit.analysis.answer import derive_answer
from mobilekit.analysis.energy.budget import Standard, half_widths, marginal_standards
from mobilekit.errors import UsageError
from mobilekit.records.energy import (
    ChargeEstimate,
    EnergyEstimate,
    GaugeEstimate,
    LifeEstimate,
    UploadComparison,
    UploadEnergy,
    Use,
)
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import Variant
from mobilekit.records.statistics import Interval

MINUTES_PER_DAY = 24 * 60
S_PER_HOUR = 3600
PUBLISHED_UPLOAD_SOURCE = (
    "for one picture of 1.1 MB: estimate of doi 10.1109/CCGrid.2014.68, as quoted by C. Fantozzi, "
    "F. Maiani, 'Squeezing Deep Learning onto a Phone', COLA 2016 (slides)"
)
PUBLISHED_UPLOADS = (
    UploadEnergy(name="LTE", energy_j=40.0, source=PUBLISHED_UPLOAD_SOURCE),
    UploadEnergy(name="Wi-Fi", energy_j=23.0, source=PUBLISHED_UPLOAD_SOURCE),
)


def describe_use(
    energy: EnergyEstimate,
    charge: ChargeEstimate,
    uploads: Sequence[UploadEnergy] = PUBLISHED_UPLOADS,
) -> Use:
    """Days at one inference a minute, and inferences for one upload, at gross energy.

    The days are those of the inferences alone; ``estimate_life`` adds what the phone draws in
    between. The uploads' energies are taken as exact.
    """
    interval = charge.inferences_interval
    return Use(
        days_at_one_a_minute=charge.inferences / MINUTES_PER_DAY,
        days_interval=Interval(
            low=interval.low / MINUTES_PER_DAY, high=interval.high / MINUTES_PER_DAY
        ),
        uploads=tuple(_compare(upload, energy) for upload in uploads),
    )


def _compare(upload: UploadEnergy, energy: EnergyEstimate) -> UploadComparison:
    gross = energy.gross_interval_j
    return UploadComparison(
        upload=upload,
        inferences=upload.energy_j / energy.gross_j,
        inferences_interval=Interval(
            low=upload.energy_j / gross.high,
            high=upload.energy_j / gross.low if gross.low > 0 else float("inf"),
        ),
    )


class LifeBasis(NamedTuple):
    """The measurement that a life is told from."""

    measurement: Measurement
    energy: GaugeEstimate
    charge: ChargeEstimate
    other_devices: tuple[str, ...] = ()
    """On which its energy has been measured too, as ``--device`` takes them."""


def life_basis(measurement: Measurement) -> LifeBasis | None:
    """``None`` for a measurement that does not tell how much a charge buys."""
    answer = derive_answer(measurement)
    if answer.energy is None or answer.charge is None:
        return None
    return LifeBasis(measurement, answer.energy, answer.charge)


def choose_life_basis(
    by_device: Iterable[Iterable[Measurement]],
    device: str | None = None,
    variant: Variant | None = None,
) -> LifeBasis | None:
    """The newest that tells it, of ``device`` (a name, ``virtual:NAME`` or a serial) where one is
    given, out of each device's measurements, the newest first; no more are read than are needed.

    ``variant`` is how a file changes the network, on any backend; ``None``: as no file does, in any
    precision. Left out are pilots and gauges' calibrations, which serve to plan a run and to know a
    gauge.
    """
    bases = []
    for measurements in by_device:
        meant = (
            each for each in measurements if each.purpose == "measure" and _is_of(each, variant)
        )
        newest = next((basis for basis in map(life_basis, meant) if basis is not None), None)
        if newest is not None:
            bases.append(newest)
    bases.sort(key=lambda basis: basis.measurement.started_at, reverse=True)
    for chosen in bases:
        info = chosen.measurement.device
        if device in (None, info.name, info.key, info.serial):
            others = [each.measurement.device for each in bases if each is not chosen]
            shown = [each.key if each.virtual else each.name for each in others]
            return chosen._replace(other_devices=tuple(dict.fromkeys(shown)))
    return None


def _is_of(measurement: Measurement, variant: Variant | None) -> bool:
    found = measurement.artifact.model.variant
    return not found.is_by_file if variant is None else replace(found, backend=None) == variant


def estimate_life(
    energy: EnergyEstimate,
    charge: ChargeEstimate,
    *,
    every_s: float,
    idle_w: float,
    idle_relative_uncertainty: float = 0.0,
) -> LifeEstimate:
    """Hours of one charge with an inference every ``every_s`` seconds on a phone that otherwise
    draws ``idle_w``: battery / (E_marginal / every + P_idle).

    ``idle_relative_uncertainty`` is a standard one; 0 where a person states the idle power. Raises
    ``UsageError`` for a cycle shorter than an inference, and for powers that add up to nothing.
    """
    if every_s < energy.seconds_per_inference:
        raise UsageError(
            f"An inference every {every_s:.3g} s cannot be: one takes "
            f"{energy.seconds_per_inference:.3g} s",
            fix="Ask for a longer time with --every.",
        )
    if idle_w < 0 or not np.isfinite(idle_w) or not np.isfinite(every_s):
        raise UsageError(
            "Idle power and time must be finite and not negative",
            idle_w=idle_w,
            every_s=every_s,
            fix="Give the phone's idle power in milliwatts.",
        )
    inference_w = energy.marginal_j / every_s
    mean_w = inference_w + idle_w
    if mean_w <= 0:
        raise UsageError(
            "The phone would draw nothing: neither idle, nor for an inference",
            marginal_j=energy.marginal_j,
            fix="Give its idle power, or measure for longer.",
        )
    cycle_j = mean_w * every_s
    told = marginal_standards(energy.budget)
    less_j, more_j = half_widths(
        energy.marginal_j,
        energy.marginal_interval_j,
        energy.interval_kind,
        told=told,
        now=[
            *told,
            Standard(idle_relative_uncertainty * idle_w * every_s),
            Standard(charge.battery_relative_uncertainty * cycle_j),
        ],
    )
    hours = charge.battery_j / mean_w / S_PER_HOUR
    # More energy in a cycle, shorter life: each end of the one is the other end of the other.
    low = max(0.0, hours * (1 - more_j / cycle_j))
    high = hours * (1 + less_j / cycle_j)
    per_hour = S_PER_HOUR / every_s
    return LifeEstimate(
        every_s=every_s,
        idle_w=idle_w,
        mean_w=mean_w,
        inference_share=inference_w / mean_w,
        inferences=hours * per_hour,
        inferences_interval=Interval(low=low * per_hour, high=high * per_hour),
        hours=hours,
        hours_interval=Interval(low=low, high=high),
    )
