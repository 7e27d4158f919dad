"""How many inferences one full charge buys, by a gauge's energy or a meter's."""

from __future__ import annotations

from typing import Literal

import numpy as np

from mobilekit.analysis.energy.budget import Standard, gross_standards, half_widths
from mobilekit.records.device import DeviceProfile
from mobilekit.records.energy import ChargeEstimate, EnergyEstimate, GaugeEstimate, TermName
from mobilekit.records.statistics import Interval
from mobilekit.units import COULOMB_PER_UAH

BATTERY_RELATIVE_UNCERTAINTY = 0.075
"""Of a full charge against the profile's figure, for a battery of unknown age: an assumption."""
LEARNED_CHARGE_RELATIVE_UNCERTAINTY = 0.03
"""Of the full charge that a gauge has learned, against what it would count: an assumption."""
NOMINAL_VOLTAGE_RELATIVE_UNCERTAINTY = 0.02
"""Of the mean voltage of a whole discharge against the battery's nominal one: an assumption."""


def estimate_charge(
    energy: EnergyEstimate, profile: DeviceProfile, full_charge_uah: int | None = None
) -> ChargeEstimate | None:
    """Inferences per charge; ``None`` for the power rails' energy, which is not the whole phone's,
    and for a battery whose capacity is not known.

    Where the gauge has learned its full charge and counts the charge of an inference, N is the one
    over the other, so that the gauge's gain cancels; the charge of an inference is brought from the
    run's voltage to the nominal one of the battery, at which a discharge is on the average.
    Otherwise N = E_battery / E_gross.
    """
    battery = profile.battery
    if energy.plane == "rails" or battery is None:
        return None
    nominal_v = battery.energy_j / (battery.capacity_uah * COULOMB_PER_UAH)
    method: Literal["coulombs", "energy"] = "energy"
    battery_j, battery_source = battery.energy_j, profile.sources["battery.energy_j"]
    battery_relative = BATTERY_RELATIVE_UNCERTAINTY
    inferences = battery_j / energy.gross_j
    cancelled: tuple[TermName, ...] = ()
    counted_v_uah = _counted_v_uah(energy)
    if full_charge_uah is not None and counted_v_uah:
        method = "coulombs"
        battery_j = full_charge_uah * COULOMB_PER_UAH * nominal_v
        battery_source = "the full charge that the gauge has learned, at the nominal voltage"
        battery_relative = float(
            np.hypot(LEARNED_CHARGE_RELATIVE_UNCERTAINTY, NOMINAL_VOLTAGE_RELATIVE_UNCERTAINTY)
        )
        inferences = full_charge_uah * nominal_v / counted_v_uah
        cancelled = ("gain", "voltage")
    # In joules of an inference, of which N is the reciprocal: more energy, fewer inferences.
    less_j, more_j = half_widths(
        energy.gross_j,
        energy.gross_interval_j,
        energy.interval_kind,
        told=gross_standards(energy.budget),
        now=[
            *gross_standards(energy.budget, without=cancelled),
            Standard(battery_relative * energy.gross_j),
        ],
    )
    return ChargeEstimate(
        origin=energy.origin,
        plane=energy.plane,
        method=method,
        battery_j=battery_j,
        battery_source=battery_source,
        battery_relative_uncertainty=battery_relative,
        full_charge_uah=full_charge_uah,
        inferences=inferences,
        inferences_interval=Interval(
            low=max(0.0, inferences * (1 - more_j / energy.gross_j)),
            high=inferences * (1 + less_j / energy.gross_j),
        ),
        interval_kind=energy.interval_kind,
    )


def _counted_v_uah(energy: EnergyEstimate) -> float | None:
    """Charge of an inference as the gauge counts it, times the voltage it was counted at; ``None``
    where no gauge counts it."""
    if not isinstance(energy, GaugeEstimate) or not energy.gauge_charge_uah:
        return None
    return energy.gauge_charge_uah * (energy.gauge_voltage_mv or 0.0) / 1000
