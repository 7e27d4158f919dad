"""Simulated phones at work, for the tests of what is told from their gauges."""

from mobilekit.phone.profiles import load_profiles
from mobilekit.runner.loop import measure_window
from mobilekit.virtual.battery import BatteryState, GaugeKind, SimulatedBattery
from mobilekit.virtual.companion import SimulatedEnergyStage

PROFILE = load_profiles()["nexus7"]
LATENCY_NS = [13_000_000, 12_500_000, 14_000_000]


def work(plan, kind=None, seed=1, latency_ns=LATENCY_NS, charge=0.8, **fields):
    """Windows of a plan, what they truly cost, and the battery that paid.

    ``fields`` change the gauge ``kind``.
    """
    state = BatteryState(
        charge_uah=charge * PROFILE.battery.capacity_uah,
        plugged=False,
        seed=seed,
        gauge_seed=seed,
    )
    kind = kind or GaugeKind(**fields)
    battery = SimulatedBattery(PROFILE, state, kind)
    stage = SimulatedEnergyStage(PROFILE, battery, latency_ns, 0)
    windows = [
        measure_window(plan, stage, is_load=number % 2 == 1)
        for number in range(2 * plan.blocks + 1)
    ]
    return windows, stage.truth, battery
