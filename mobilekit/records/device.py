"""Devices: what is known of a kind of phone, and what was found attached."""

from __future__ import annotations

from typing import Literal

from mobilekit.contract.codec import Record
from mobilekit.contract.protocol import Format
from mobilekit.records.energy import UploadEnergy
from mobilekit.units import CHARGE_UNITS_UAH

VIRTUAL_PREFIX = "virtual:"
"""Before a profile's name where a person means the virtual phone."""


class ProfileMatch(Record, frozen=True):
    """Which phones a profile is for: any of these values of ``ro.product.device``."""

    devices: tuple[str, ...]


class ProfileHardware(Record, frozen=True):
    soc: str
    cpu: str
    cores: int | None
    max_cpu_khz: int | None
    ram_bytes: int
    abi: str
    cpu_features: tuple[str, ...] = ()
    """What a virtual phone's ``/proc/cpuinfo`` lists, in an Arm processor's words; empty: none."""
    gpu: str | None = None
    """As its Vulkan driver names it; ``None``: it has none, or none is known."""
    vulkan_version: str | None = None
    """``1.1``: the newest that its driver offers; ``None``: it has no Vulkan."""


class ProfileBattery(Record, frozen=True):
    capacity_uah: int
    energy_j: float


class ProfileGauge(Record, frozen=True):
    """The fuel gauge's resolution; assumed where ``sources`` says so, until it is measured."""

    charge_step_uah: int
    current_step_ua: int
    update_period_ms: int


class ProfilePower(Record, frozen=True):
    """The whole phone's power, for planning and for the virtual phone; never a result."""

    idle_mw: float
    active_mw: float


class DeviceProfile(Record, frozen=True):
    """What is known of a kind of phone. ``sources`` maps each figure (``battery.energy_j``) to
    where it comes from."""

    name: str
    title: str
    match: ProfileMatch
    android_release: str
    android_sdk: int
    hardware: ProfileHardware
    battery: ProfileBattery | None
    """``None`` for a phone that has no profile's file and tells no capacity to be believed."""
    gauge: ProfileGauge
    power: ProfilePower
    sources: dict[str, str]
    uploads: tuple[UploadEnergy, ...] = ()
    """In place of the published ones, to compare an inference with."""

    @property
    def capacity_uah(self) -> int | None:
        return None if self.battery is None else self.battery.capacity_uah


class AttachedDevice(Record, frozen=True):
    """A line of ``adb devices``."""

    serial: str
    state: str
    """adb's word: ``device``, ``unauthorized``, ``offline``, ..."""


class BatteryStatus(Record, frozen=True):
    """The phone's ``dumpsys battery``; ``None`` where a phone leaves the line out."""

    level_percent: int | None
    plugged: bool
    charging: bool
    charge_counter_uah: int | None
    """``None`` too where no unit makes it what is left in a phone's battery."""
    voltage_mv: int | None
    temperature_decicelsius: int | None
    technology: str | None
    told_counter: int | None = None
    """The charge counter as the phone tells it, whatever its unit and sign."""
    updates_stopped: bool = False
    """Somebody has set values (``dumpsys battery set``, ``unplug``), and Android tells those and no
    others until it is told to ``reset``."""

    @property
    def counter_unit(self) -> str | None:
        """What the phone tells its charge counter in; ``None`` where that is not known."""
        if not self.charge_counter_uah or not self.told_counter:
            return None
        unit_uah = self.charge_counter_uah / self.told_counter
        return min(CHARGE_UNITS_UAH, key=lambda unit: abs(CHARGE_UNITS_UAH[unit] - unit_uah))


class BatteryCapacity(Record, frozen=True):
    """What a phone's own words say that its battery holds when it is full."""

    verdict: Literal["known", "unknown", "contradictory"]
    uah: int | None
    """``None`` unless it is known."""
    source: str
    """Where the figure is from, or why there is none."""
    learned_uah: int | None
    """What the gauge has learned; ``None`` where it does not tell, or cannot be right."""


CompanionVulkan = Literal["ready", "no_driver", "python", "jvm"]
"""Whether a virtual phone's companion runs programs for Vulkan: ``no_driver`` is on this computer,
the others are kinds of companion that have no ExecuTorch with Vulkan."""


class Gpu(Record, frozen=True):
    """What a phone tells of its graphics processor."""

    name: str | None
    """The driver's; ``None`` where it tells none."""
    vulkan_version: str | None
    """``1.1``: the newest that the hardware is told to have; ``None``: none."""
    half_storage: bool | None
    """Whether shaders may read and write numbers of 16 bits in memory; ``None``: it is not told."""
    texture_texels: int | None = None
    """The most that a side of a three-dimensional texture has; ``None``: it is not told."""


class DeviceInfo(Record, frozen=True):
    """A device as it was found."""

    serial: str
    """By which adb addresses it; another one over Wi-Fi."""
    hardware_serial: str
    """``ro.serialno``; empty where it is not told, or is not this phone's alone."""
    name: str
    """The profile's name, or ``pc``, or a name made of the phone's own properties."""
    manufacturer: str
    model: str
    device: str
    android_release: str
    android_sdk: int
    abi: str
    cpu_features: tuple[str, ...] | None
    """What all cores of an Arm processor have, in the words of ``/proc/cpuinfo``; ``None``: it is
    not told, or it is no Arm processor."""
    soc: str
    ram_bytes: int | None
    available_bytes: int | None
    """Memory that could be had without swapping when the device was found."""
    virtual: bool
    gauge: str | None
    """Which simulated gauge a virtual phone was started with; ``None``: as its profile says, and
    for every real phone."""
    link: Literal["usb", "network", "none"]
    gpu: Gpu | None = None
    """``None``: it was not asked, as it is for programs that run on it alone."""

    @property
    def key(self) -> str:
        """What stays the same however the device is attached."""
        return f"virtual:{self.name}" if self.virtual else self.hardware_serial or self.serial

    @property
    def gauge_key(self) -> str:
        """Whose fuel gauge it is: a virtual phone has another one with each ``--gauge``, and what
        was found out about one must not be held for another's."""
        return self.key if self.gauge is None else f"{self.key}-{self.gauge}"


class DeviceState(Record, frozen=True):
    """A device that a run is to happen on, and how it was found."""

    info: DeviceInfo
    profile: DeviceProfile | None
    """``None`` for this computer."""
    battery: BatteryStatus | None
    """``None`` for this computer."""
    airplane_mode: bool | None
    """``None`` where it is not told."""
    full_charge_uah: int | None
    """What the gauge has learned that its battery holds; ``None``: it does not tell, cannot be
    right, or energy is not to be measured."""
    companion_formats: tuple[str, ...] | None
    """What its companion says that it runs; ``None`` for a real phone, whose processor and Android
    tell."""
    companion_vulkan: CompanionVulkan | None = None
    """What a virtual phone's companion says of it; ``None`` for all others."""
    capacity: BatteryCapacity | None = None
    """What the phone says that its battery holds; ``None``: this computer, and where a profile says
    it and energy is not to be measured."""


class ListedDevice(Record, frozen=True):
    """A line of ``mobilekit devices``; nothing is known of a phone that is not ready."""

    attached: AttachedDevice
    info: DeviceInfo | None
    battery: BatteryStatus | None
    formats: tuple[Format, ...]
    """What runs there, the usual one first."""
    vulkan_obstacle: str | None = None
    """Why ``--backend vulkan`` would be refused there; ``None``: it is not, or the phone is not
    ready."""


class HostInfo(Record, frozen=True):
    """The computer that mobilekit ran on."""

    name: str | None
    """By which its network knows it; ``None``: it was not kept."""
    platform: str
    cpu: str
    cores: int
    python_version: str
    mobilekit_version: str
