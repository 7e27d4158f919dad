"""Simulated phones at work, for the tests of what is told from their gauges."""

from mobilekit.phone.profiles import load_profiles
from mobilekit.runner.energy_phase import measure_window
from mobilekit.virtual.battery import BatteryState, GaugeKind, SimulatedBattery
from mobilekit.virtual.companion import SimulatedEnergyStage

PROFILE = load_profiles()["nexus7"]
LATENCY_NS = [13_000_000, 12_500_000, 14_000_000]


def work(plan, kind=None, seed=1, latency_ns=LATENCY_NS, profile=PROFILE, **fields):
    """Windows of a plan, what they truly cost, and the battery that paid.

    The gauge is ``kind``, else a MAX170xx with other ``fields``, else as the profile says.
    """
    state = BatteryState(
        charge_uah=0.8 * profile.battery.capacity_uah,
        plugged=False,
        seed=seed,
        gauge_seed=seed,
    )
    if fields:
        kind = GaugeKind(**fields)
    battery = SimulatedBattery(profile, state, kind)
    stage = SimulatedEnergyStage(profile, battery, latency_ns, 0)
    windows = [
        measure_window(plan, stage, is_load=number % 2 == 1)
        for number in range(2 * plan.blocks + 1)
    ]
    return windows, stage.truth, battery
