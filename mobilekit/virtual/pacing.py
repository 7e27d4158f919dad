"""A simulated energy phase that takes its time, so that something can happen meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mobilekit.contract.protocol import BatterySample, RailSample, ThermalSample
from mobilekit.runner.energy_phase import EnergyStage
from mobilekit.units import NS_PER_S
from mobilekit.virtual.battery import BatteryState, SimulatedBattery


class PacedStage:
    """Another stage on a clock that runs ``speed`` times as fast as this computer's.

    Without a ``speed`` no time passes. The phone's cable can be pulled and plugged in meanwhile by
    whoever writes ``battery_path``; while it is in, the clock is this computer's own, since it is a
    person who pulls it.
    """

    def __init__(
        self,
        stage: EnergyStage,
        battery: SimulatedBattery,
        battery_path: Path,
        speed: float | None,
        sleep: Callable[[float], None],
    ) -> None:
        self._stage = stage
        self._battery = battery
        self._battery_path = battery_path
        self._speed = speed
        self._sleep = sleep

    def now_ns(self) -> int:
        return self._stage.now_ns()

    def idle_until(self, until_ns: int) -> None:
        started_ns = self.now_ns()
        self._stage.idle_until(until_ns)
        self._catch_up(started_ns)

    def iterate_until(self, until_ns: int) -> int:
        started_ns = self.now_ns()
        iterations = self._stage.iterate_until(until_ns)
        self._catch_up(started_ns)
        return iterations

    def read_battery(self) -> BatterySample:
        self._battery.plugged = BatteryState.read(self._battery_path).plugged
        return self._stage.read_battery()

    def read_rails(self) -> Sequence[RailSample]:
        return self._stage.read_rails()

    def read_thermal(self) -> ThermalSample:
        return self._stage.read_thermal()

    def _catch_up(self, started_ns: int) -> None:
        speed = 1.0 if self._battery.plugged else self._speed
        if speed is not None:
            self._sleep((self.now_ns() - started_ns) / NS_PER_S / speed)
