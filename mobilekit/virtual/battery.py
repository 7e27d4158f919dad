"""A battery that is simulated, with a truth that is known.

The power drawn is the profile's idle or active power with a slowly wandering background. The gauge
sees it as a real one does: with a gain error and a voltage error of its own, only at its updates,
and rounded to its steps; and as one of the oddities of ``gauges.toml``. The estimator never sees
the truth; tests and ``truth/`` compare with it.
"""

from __future__ import annotations

import math
import random
from importlib.resources import files
from pathlib import Path
from typing import Literal

import msgspec

from mobilekit.contract.codec import Record, decode, decode_toml, encode
from mobilekit.contract.protocol import BatterySample, RailSample, ThermalSample
from mobilekit.errors import UsageError
from mobilekit.records.device import DeviceProfile
from mobilekit.units import COULOMB_PER_UAH, NS_PER_MS, NS_PER_S

EMPTY_MV, FULL_MV = 3500.0, 4150.0
"""Open-circuit voltage of a lithium cell, taken as linear in between."""
INTERNAL_OHM = 0.12
GAIN_ERROR = 0.03
"""Standard deviation of a gauge's gain between phones: what the estimator assumes of one that
nobody calibrated."""
VOLTAGE_ERROR = 0.005
"""Likewise of its voltage."""
BACKGROUND_TIME_S = 20.0
"""How long the background keeps its memory."""
AMBIENT_CELSIUS = 25.0
WARMING_TIME_S = 300.0
SLOWDOWN = 1.4
"""How much longer an inference takes while the phone throttles ..."""
THROTTLED_SHARE = 0.65
"""... and how much of its marginal power is left."""
COOLING_CELSIUS = 3.0
"""How far below the threshold it cools down before it is fast again."""
THROTTLED_STATUS = 2
CHARGING_UA = 1_000_000.0
RAIL_SHARES = {"[S1M]:CPU": 0.5, "[S2M]:DISPLAY": 0.3, "[S3M]:DDR": 0.2}
"""Of the power; together all of it, which no real phone's rails are."""
MODELLED_CONSUMER = "CPU"
"""A monitor that Android computes from the rails, which must not be counted again."""
COARSE_RAIL_PERIOD_NS = 20 * NS_PER_S
RAIL_PERIODS_NS = {"coarse": COARSE_RAIL_PERIOD_NS, "fine": 250 * NS_PER_MS}
COARSE_RAIL_NOISE_UJ = 10_000_000

GAUGE_FILE = "gauge.json"
"""In a phone's directory: which ``GaugeKind`` it has."""

GaugeProperty = Literal["charge_counter_uah", "current_now_ua"]


class GaugeKind(Record, frozen=True):
    """What a simulated phone's gauge does, and the phone around it; the default is a MAX170xx."""

    title: str = "as the profile says"
    name: str = ""
    """Among ``gauge_kinds``; empty: the profile's own."""
    charge_steps: Literal["charge", "percent"] = "charge"
    """``percent``: the counter moves with the whole percent of the level only."""
    charge_step_uah: float = 500.0
    charge_divisor: Literal[1, 1000] = 1
    """1000: the counter is in milliampere-hours."""
    charge_from_full: bool = False
    """The counter is 0 at a full battery, and below zero else."""
    charge_period_ms: int = 176
    current_step_ua: float = 156.25
    current_period_ms: int = 176
    current_divisor: Literal[1, 1000] = 1
    """1000: it reports milliamperes."""
    current_sign: Literal[1, -1] = 1
    """-1: it reports a discharge as positive."""
    current_share: float = 1.0
    """Of the charge that the counter sees."""
    energy_step_nwh: int | None = None
    """``None``: no energy counter."""
    voltage_unit: Literal["mV", "uV", "V"] = "mV"
    unsupported: tuple[GaugeProperty, ...] = ()
    zero: tuple[GaugeProperty, ...] = ()
    stuck: tuple[GaugeProperty, ...] = ()
    rails: Literal["none", "coarse", "fine"] = "none"
    gain_error: float = GAIN_ERROR
    background_relative: float = 0.03
    """Standard deviation of the background, relative to the idle power."""
    idle_drift_per_hour: float = 0.0
    """Relative rise of the idle power."""
    degree_per_w: float = 2.0
    throttle_celsius: float | None = None
    """``None``: it never gets too hot."""


def gauge_kinds() -> dict[str, GaugeKind]:
    """The packaged gauges by name."""
    data = files("mobilekit").joinpath("virtual", "gauges.toml").read_bytes()
    kinds = decode_toml(data, dict[str, GaugeKind])
    return {name: msgspec.structs.replace(kind, name=name) for name, kind in kinds.items()}


def gauge_named(name: str) -> GaugeKind:
    """Raises ``UsageError`` for a name that none has."""
    kinds = gauge_kinds()
    if name not in kinds:
        raise UsageError(
            f"There is no simulated gauge {name!r}",
            gauges=", ".join(kinds),
            fix="Choose one of these.",
        )
    return kinds[name]


def gauge_of_profile(profile: DeviceProfile) -> GaugeKind:
    """A sound gauge with the steps and the period that the profile tells."""
    gauge = profile.gauge
    return GaugeKind(
        charge_step_uah=gauge.charge_step_uah,
        charge_period_ms=gauge.update_period_ms,
        current_step_ua=gauge.current_step_ua,
        current_period_ms=gauge.update_period_ms,
    )


def capacity_uah_of(profile: DeviceProfile) -> int:
    """Of a profile with a file, from which virtual phones are made; it has a battery."""
    assert profile.capacity_uah is not None
    return profile.capacity_uah


class BatteryEmpty(BaseException):
    """Nothing is left: the phone is off at once.

    To the run that it happens in it is like the end of its process: no failure to write down.
    """


class BatteryState(Record, frozen=True):
    """What outlasts a run; a virtual phone keeps it in its directory."""

    charge_uah: float
    plugged: bool
    seed: int
    gauge_seed: int = 1
    """The phone's own: its gauge's errors stay the same for life."""
    celsius: float = AMBIENT_CELSIUS
    """The battery's temperature."""

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

    def __init__(
        self, profile: DeviceProfile, state: BatteryState, kind: GaugeKind | None = None
    ) -> None:
        self.energy_j = 0.0
        """True energy drawn since this object was made, without the background, whose mean is 0:
        what the same work costs on the average."""
        self.plugged = state.plugged
        self.idle_j = 0.0
        """What an idle phone would have drawn in the same time."""
        self.kind = kind or gauge_of_profile(profile)
        own = random.Random(f"gauge {state.gauge_seed}")
        self.gain = 1 + self.kind.gain_error * own.gauss(0, 1)
        """What the gauge counts for each microampere-hour that is drawn."""
        self.voltage_gain = 1 + VOLTAGE_ERROR * own.gauss(0, 1)
        self.rail_gain = 1 + self.kind.gain_error * own.gauss(0, 1)
        self._profile = profile
        self._state = state
        self._random = random.Random(state.seed)
        self._idle_w = profile.power.idle_mw / 1000
        self._capacity_uah = capacity_uah_of(profile)
        self._charge_uah = state.charge_uah
        self._celsius = state.celsius
        self._throttled = False
        self._background = self._random.gauss(0, 1)
        self._charge_period_ns = self.kind.charge_period_ms * NS_PER_MS
        self._current_period_ns = self.kind.current_period_ms * NS_PER_MS
        self._until_charge_ns = self._random.randrange(1, self._charge_period_ns + 1)
        self._until_current_ns = self._random.randrange(1, self._current_period_ns + 1)
        self._voltage_mv = self._open_circuit_mv()
        self._counted_uah = state.charge_uah
        self._counted_nwh = state.charge_uah * 1000 * 3.8
        self._shown_uah, self._shown_nwh = self._counted_uah, self._counted_nwh
        self._since_current_uah = 0.0
        self._since_current_ns = 0
        self._current_ua = -self.gain * self._idle_w / (self._voltage_mv / 1000) * 1e6
        self._first: BatterySample | None = None
        self._elapsed_ns = 0
        # The newest reading was taken while the phone was idle.
        self._rails_read_ns = -self._random.randrange(COARSE_RAIL_PERIOD_NS)
        since_uj = -self._rails_read_ns / NS_PER_S * self._idle_w * self.rail_gain * 1e6
        self._rails_uj = {name: 1e9 - share * since_uj for name, share in RAIL_SHARES.items()}
        self._rail_readings = self._take_rail_readings()
        self._rails_uj = dict.fromkeys(RAIL_SHARES, 1e9)

    @property
    def state(self) -> BatteryState:
        """To be kept; the next use of it continues with other noise."""
        return msgspec.structs.replace(
            self._state,
            charge_uah=self._charge_uah,
            plugged=self.plugged,
            seed=self._state.seed + 1,
            celsius=self._celsius,
        )

    @property
    def throttled(self) -> bool:
        """Whether the phone is slow now, for its heat."""
        return self._throttled

    def advance(self, duration_ns: int, power_w: float) -> None:
        """Draw ``power_w``, the idle power's drift and the background for a time.

        Raises ``BatteryEmpty`` when nothing is left.
        """
        drift_w = self.kind.idle_drift_per_hour * self._idle_w * self._elapsed_ns / NS_PER_S / 3600
        power_w += drift_w
        self.idle_j += (self._idle_w + drift_w) * duration_ns / NS_PER_S
        self._warm(duration_ns / NS_PER_S, power_w)
        self._elapsed_ns += duration_ns
        while duration_ns > 0:
            step_ns = min(duration_ns, self._until_charge_ns, self._until_current_ns)
            self._draw(step_ns, power_w)
            duration_ns -= step_ns
            self._until_charge_ns -= step_ns
            self._until_current_ns -= step_ns
            if not self._until_charge_ns:
                self._until_charge_ns = self._charge_period_ns
                self._shown_uah, self._shown_nwh = self._counted_uah, self._counted_nwh
            if not self._until_current_ns:
                self._until_current_ns = self._current_period_ns
                hours = self._since_current_ns / NS_PER_S / 3600
                self._current_ua = -self._since_current_uah / hours
                self._since_current_uah, self._since_current_ns = 0.0, 0
        if self.kind.rails != "none":
            period_ns = RAIL_PERIODS_NS[self.kind.rails]
            if self._elapsed_ns - self._rails_read_ns >= period_ns:
                self._rails_read_ns = self._elapsed_ns
                self._rail_readings = self._take_rail_readings()

    def read(self, at_ns: int) -> BatterySample:
        """What the gauge says, in this gauge's own units."""
        kind = self.kind
        step_uah = kind.charge_step_uah
        if kind.charge_steps == "percent":
            step_uah = self._capacity_uah / 100
        charge_uah = max(0.0, math.floor(self._shown_uah / step_uah) * step_uah)
        if kind.charge_from_full:
            charge_uah -= self._capacity_uah
        current_ua = round(self._current_ua * kind.current_share / kind.current_step_ua)
        current = kind.current_sign * current_ua * kind.current_step_ua / kind.current_divisor
        energy_nwh = None
        if kind.energy_step_nwh is not None:
            energy_nwh = int(self._shown_nwh // kind.energy_step_nwh) * kind.energy_step_nwh
        per_mv = {"mV": 1.0, "uV": 1000.0, "V": 0.001}[kind.voltage_unit]
        told: dict[GaugeProperty, int | None] = {
            "charge_counter_uah": round(charge_uah / kind.charge_divisor),
            "current_now_ua": round(current),
        }
        for name in kind.stuck:
            told[name] = getattr(self._first, name) if self._first else told[name]
        for name in kind.zero:
            told[name] = 0
        for name in kind.unsupported:
            told[name] = None
        sample = BatterySample(
            at_ns=at_ns,
            charge_counter_uah=told["charge_counter_uah"],
            current_now_ua=told["current_now_ua"],
            energy_counter_nwh=energy_nwh,
            voltage_mv=round(self._voltage_mv * self.voltage_gain * per_mv),
            temperature_decicelsius=round(10 * self._celsius),
            level_percent=self._percent(),
            plugged=self.plugged,
        )
        self._first = self._first or sample
        return sample

    def read_rails(self, at_ns: int) -> tuple[RailSample, ...]:
        """What the power monitors say: for ordinary callers old, and with a noise that only adds;
        the same reading until the phone takes the next one."""
        if self.kind.rails == "none":
            return ()
        taken_ns = at_ns - (self._elapsed_ns - self._rails_read_ns)
        whole_ns = taken_ns // NS_PER_MS * NS_PER_MS
        return tuple(
            RailSample(at_ns=whole_ns, name=name, energy_uj=energy_uj)
            for name, energy_uj in self._rail_readings.items()
        )

    def read_thermal(self, at_ns: int) -> ThermalSample:
        """The phone's thermal state; its headroom is where the threshold is known."""
        limit = self.kind.throttle_celsius
        return ThermalSample(
            at_ns=at_ns,
            status=THROTTLED_STATUS if self._throttled else 0,
            headroom=None if limit is None else self._celsius / limit,
            cpu_khz=(),
        )

    def _take_rail_readings(self) -> dict[str, int]:
        noise_uj = COARSE_RAIL_NOISE_UJ if self.kind.rails == "coarse" else 0
        true_uj = {**self._rails_uj, MODELLED_CONSUMER: self._rails_uj["[S1M]:CPU"]}
        return {
            name: round(energy_uj + noise_uj * self._random.random())
            for name, energy_uj in true_uj.items()
        }

    def _warm(self, duration_s: float, power_w: float) -> None:
        """Towards the temperature at which it gives off what it draws."""
        final = AMBIENT_CELSIUS + self.kind.degree_per_w * power_w
        left = math.exp(-duration_s / WARMING_TIME_S)
        self._celsius = final + (self._celsius - final) * left
        limit = self.kind.throttle_celsius
        if limit is not None:
            limit -= COOLING_CELSIUS if self._throttled else 0.0
            self._throttled = self._celsius > limit

    def _draw(self, duration_ns: int, power_w: float) -> None:
        duration_s = duration_ns / NS_PER_S
        self._since_current_ns += duration_ns
        if self.plugged:
            charged_uah = CHARGING_UA * duration_s / 3600
            self._charge_uah = min(self._capacity_uah, self._charge_uah + charged_uah)
            self._counted_uah = min(self._capacity_uah, self._counted_uah + charged_uah)
            self._since_current_uah -= charged_uah
            return
        memory = math.exp(-duration_s / BACKGROUND_TIME_S)
        fresh = math.sqrt(1 - memory * memory) * self._random.gauss(0, 1)
        self._background = memory * self._background + fresh
        self.energy_j += power_w * duration_s
        power_w += self.kind.background_relative * self._idle_w * self._background
        self._voltage_mv = self._open_circuit_mv() - INTERNAL_OHM * power_w / 3.85 * 1000
        drawn_uah = power_w / (self._voltage_mv / 1000) * duration_s / COULOMB_PER_UAH
        drawn_j = power_w * duration_s
        self._charge_uah -= drawn_uah
        self._counted_uah -= self.gain * drawn_uah
        self._counted_nwh -= self.gain * self.voltage_gain * drawn_j / 3.6e-6
        self._since_current_uah += self.gain * drawn_uah
        if self.kind.rails != "none":
            for name, share in RAIL_SHARES.items():
                self._rails_uj[name] += share * self.rail_gain * drawn_j * 1e6
        if self._charge_uah <= 0:
            self._charge_uah = 0.0
            raise BatteryEmpty

    def _percent(self) -> int:
        return max(0, min(100, int(100 * self._shown_uah / self._capacity_uah)))

    def _open_circuit_mv(self) -> float:
        return EMPTY_MV + (FULL_MV - EMPTY_MV) * self._charge_uah / self._capacity_uah
