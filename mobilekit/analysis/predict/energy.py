"""From a phone's power and a network's latency to an inference's energy, and what a charge buys.

E = P t, and N = E_battery / E. Each is log-normal, so that the logarithms of the ends of their
intervals lie as far off as those of the parts, added in quadrature.
"""

from __future__ import annotations

import math

from msgspec.structs import asdict

from mobilekit.analysis.energy.charge import BATTERY_RELATIVE_UNCERTAINTY
from mobilekit.analysis.predict.intervals import SDS_OF_90_PERCENT, around, half_width
from mobilekit.analysis.predict.power import power_of_network
from mobilekit.records.device import DeviceProfile
from mobilekit.records.prediction import (
    ChargePrediction,
    EnergyPrediction,
    LatencyPrediction,
    NetworkPrediction,
    PhoneBattery,
    PhonePower,
    PredictedDevice,
    Untold,
)

MS_PER_S = 1000


def battery_of(profile: DeviceProfile | None) -> PhoneBattery | None:
    """A profile's battery, of unknown age."""
    if profile is None or profile.battery is None:
        return None
    return PhoneBattery(
        energy_j=profile.battery.energy_j,
        relative_uncertainty=BATTERY_RELATIVE_UNCERTAINTY,
        source=profile.sources["battery.energy_j"],
    )


def predict_network(
    latency: LatencyPrediction, device: PredictedDevice, arithmetic: float | None = None
) -> NetworkPrediction:
    """What else follows from a latency, on the phone that it is of, for a network that spends the
    share ``arithmetic`` of its time in arithmetic."""
    energy, charge = None, None
    untold = []
    if latency.latency_ms is None:
        untold.append(Untold(figure="energy", reason="its latency cannot be told"))
    elif device.power is None:
        untold.append(
            Untold(
                figure="energy",
                reason="what this phone draws is not known, and no chip like it was measured: an "
                "energy run on it tells",
            )
        )
    else:
        energy = predict_energy(latency, device.power, arithmetic)
    if energy is None:
        untold.append(Untold(figure="charge", reason="its energy cannot be told"))
    elif device.battery is None:
        untold.append(
            Untold(
                figure="charge",
                reason="a chip alone has no battery: name a phone that has a profile",
            )
        )
    else:
        charge = predict_charge(energy, device.battery)
    return NetworkPrediction(
        **asdict(latency), device=device.device, energy=energy, charge=charge, untold=tuple(untold)
    )


def predict_energy(
    latency: LatencyPrediction, power: PhonePower, arithmetic: float | None = None
) -> EnergyPrediction:
    """Of one inference of many without a pause. ``latency`` is one that can be told."""
    assert latency.latency_ms is not None
    assert latency.low_ms is not None
    assert latency.high_ms is not None
    seconds = latency.latency_ms / MS_PER_S
    time = math.log(latency.high_ms / latency.low_ms) / 2
    gross_w, marginal_w = power_of_network(power, arithmetic)
    return EnergyPrediction(
        gross_j=gross_w * seconds,
        gross_interval_j=around(gross_w * seconds, time, half_width(power.gross_interval_w)),
        marginal_j=marginal_w * seconds,
        marginal_interval_j=around(
            marginal_w * seconds, time, half_width(power.marginal_interval_w)
        ),
    )


def predict_charge(energy: EnergyPrediction, battery: PhoneBattery) -> ChargePrediction:
    inferences = battery.energy_j / energy.gross_j
    return ChargePrediction(
        inferences=inferences,
        inferences_interval=around(
            inferences,
            half_width(energy.gross_interval_j),
            SDS_OF_90_PERCENT * battery.relative_uncertainty,
        ),
    )
