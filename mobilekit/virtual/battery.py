"""A battery that is simulated, with a truth that is known.

The power drawn is the profile's idle or active power with a slowly wandering background. The gauge
sees it as a real one does: with a gain error of its own, only at its updates, and rounded to its
steps. The estimator never sees the truth; tests and ``truth.json`` compare with it.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

from mobilekit.codec import Record, decode, encode
from mobilekit.protocol import BatterySample
from mobilekit.records import DeviceProfile
from mobilekit.units import COULOMB_PER_UAH, NS_PER_S

EMPTY_MV, FULL_MV = 3500.0, 4150.0
"""Open-circuit voltage of a lithium cell, taken as linear in between."""
INTERNAL_OHM = 0.12
GAIN_ERROR = 0.015
"""Standard deviation of a gauge's gain between phones; inside the estimator's 3 % assumption."""
BACKGROUND_RELATIVE = 0.03
"""Standard deviation of the background, relative to the idle power."""
BACKGROUND_TIME_S = 20.0
"""How long the background keeps its memory."""
TEMPERATURE_DECICELSIUS = 271


class BatteryState(Record, frozen=True):
    """What outlasts a run; a virtual phone keeps it in its directory."""

    charge_uah: float
    plugged: bool
    seed: int

    @classmethod
    def read(cls, path: Path) -> BatteryState:
        state: BatteryState = decode(path.read_bytes(), cls, source=str(path))
        return state

    def write(self, path: Path) -> None:
        aside = path.with_suffix(".new")
        aside.write_bytes(encode(self))
        aside.replace(path)


class SimulatedBattery:
    """Advances through simulated time under a given power."""

    def __init__(self, profile: DeviceProfile, state: BatteryState) -> None:
        self.energy_j = 0.0
        """True energy drawn since this object was made."""
        self.plugged = state.plugged
        self._profile = profile
        self._state = state
        self._random = random.Random(state.seed)
        self._charge_uah = state.charge_uah
        self._gain = 1 + GAIN_ERROR * self._random.gauss(0, 1)
        self._background = self._random.gauss(0, 1)
        self._counted_uah = state.charge_uah
        self._since_update_ns = self._random.randrange(self._period_ns)
        self._counter_at_update_uah = self._counted_uah
        self._current_ua = 0.0
        self._voltage_mv = self._open_circuit_mv()

    @property
    def state(self) -> BatteryState:
        """To be kept; the next use of it continues with other noise."""
        return BatteryState(
            charge_uah=self._charge_uah, plugged=self.plugged, seed=self._state.seed + 1
        )

    def advance(self, duration_ns: int, power_w: float) -> None:
        """Draw ``power_w`` and the background for a time."""
        while duration_ns > 0:
            step_ns = min(duration_ns, self._period_ns - self._since_update_ns)
            self._draw(step_ns / NS_PER_S, power_w)
            self._since_update_ns += step_ns
            duration_ns -= step_ns
            if self._since_update_ns >= self._period_ns:
                self._since_update_ns = 0
                self._counter_at_update_uah = self._counted_uah

    def read(self, at_ns: int) -> BatterySample:
        """What the gauge says: Android's units, a discharge negative."""
        gauge = self._profile.gauge
        charge_step_uah, current_step_ua = gauge.charge_step_uah, gauge.current_step_ua
        capacity_uah = self._profile.battery.capacity_uah
        return BatterySample(
            at_ns=at_ns,
            charge_counter_uah=max(0, int(self._counter_at_update_uah // charge_step_uah))
            * charge_step_uah,
            current_now_ua=round(self._current_ua / current_step_ua) * current_step_ua,
            energy_counter_nwh=None,
            voltage_mv=round(self._voltage_mv),
            temperature_decicelsius=TEMPERATURE_DECICELSIUS,
            level_percent=max(0, min(100, int(100 * self._charge_uah / capacity_uah))),
            plugged=self.plugged,
        )

    @property
    def _period_ns(self) -> int:
        return self._profile.gauge.update_period_ms * 1_000_000

    def _draw(self, duration_s: float, power_w: float) -> None:
        if self.plugged:
            self._current_ua = 0.0
            return
        memory = math.exp(-duration_s / BACKGROUND_TIME_S)
        fresh = math.sqrt(1 - memory**2) * self._random.gauss(0, 1)
        self._background = memory * self._background + fresh
        idle_w = self._profile.power.idle_mw / 1000
        power_w += BACKGROUND_RELATIVE * idle_w * self._background
        self._voltage_mv = self._open_circuit_mv() - INTERNAL_OHM * power_w / 3.85 * 1000
        current_a = power_w / (self._voltage_mv / 1000)
        drawn_uah = current_a * duration_s / COULOMB_PER_UAH
        self._charge_uah = max(0.0, self._charge_uah - drawn_uah)
        self._counted_uah -= self._gain * drawn_uah
        self._current_ua = -self._gain * current_a * 1e6
        self.energy_j += power_w * duration_s

    def _open_circuit_mv(self) -> float:
        fraction = self._charge_uah / self._profile.battery.capacity_uah
        return EMPTY_MV + (FULL_MV - EMPTY_MV) * fraction
