"""Device profiles: what is known of a kind of phone, as TOML with the source of each figure."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import msgspec

from mobilekit import places
from mobilekit.contract.codec import decode_toml
from mobilekit.errors import ProfileError
from mobilekit.records.device import (
    BatteryCapacity,
    DeviceInfo,
    DeviceProfile,
    ProfileBattery,
    ProfileGauge,
    ProfileHardware,
    ProfileMatch,
    ProfilePower,
)
from mobilekit.units import NOMINAL_CELL_MV, charge_energy_j

GENERIC_NAME = "generic"
_VERSION = re.compile(r"\d{1,2}\.\d{1,3}")


def load_profiles() -> dict[str, DeviceProfile]:
    """All profiles by name; the user's own replace the packaged ones of the same name.

    Raises ``ProfileError`` naming file and field for one that is not valid.
    """
    own = sorted(places.profiles_directory().glob("*.toml"))
    profiles = [*_packaged_profiles(), *(parse_profile(_read(path), str(path)) for path in own)]
    return {profile.name: profile for profile in profiles}


@lru_cache(maxsize=1)
def _packaged_profiles() -> tuple[DeviceProfile, ...]:
    paths = sorted((Path(__file__).parents[1] / "profiles").iterdir())
    return tuple(parse_profile(path.read_bytes(), str(path)) for path in paths)


def parse_profile(data: bytes, source: str) -> DeviceProfile:
    """Decode one profile; raises ``ProfileError`` for what does not parse or make sense."""
    fix = (
        f"Correct it, or move it out of {Path(source).parent}; "
        "`mobilekit docs devices` has the format."
    )
    try:
        profile = decode_toml(data, DeviceProfile)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # Of a long number too.
        raise ProfileError(f"The profile is not valid: {error}", file=source, fix=fix) from None
    if profile.battery is None:
        raise ProfileError("It has no [battery]", file=source, fix=fix)
    for figure in figures(profile):
        if figure not in profile.sources:
            raise ProfileError(f"[sources] says nothing about {figure}", file=source, fix=fix)
    hardware = profile.hardware
    told = {"hardware.gpu": hardware.gpu, "hardware.vulkan_version": hardware.vulkan_version}
    for name, value in told.items():
        if value is not None and name not in profile.sources:
            raise ProfileError(f"[sources] says nothing about {name}", file=source, fix=fix)
    if hardware.vulkan_version is not None and not _VERSION.fullmatch(hardware.vulkan_version):
        raise ProfileError(
            f"hardware.vulkan_version {hardware.vulkan_version!r} is not of the form 1.1",
            file=source,
            fix=fix,
        )
    if profile.power.active_mw <= profile.power.idle_mw:
        raise ProfileError("power.active_mw is not above power.idle_mw", file=source, fix=fix)
    uploads_j = [upload.energy_j for upload in profile.uploads]
    if min([*_numbers(profile).values(), *uploads_j]) <= 0:
        raise ProfileError("A figure is not positive", file=source, fix=fix)
    return profile


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProfileError(
            f"The profile cannot be read: {error.strerror}",
            file=path,
            fix="Make it readable, or move it away.",
        ) from None


def figures(profile: DeviceProfile) -> list[str]:
    """The dotted names of a profile's figures, each of which needs a source."""
    return list(_numbers(profile))


def match_profile(device: DeviceInfo, profiles: dict[str, DeviceProfile]) -> DeviceProfile | None:
    """The profile that is for this phone, by its ``ro.product.device``."""
    matching = [item for item in profiles.values() if device.device in item.match.devices]
    return matching[-1] if matching else None


def generic_profile(device: DeviceInfo, capacity: BatteryCapacity) -> DeviceProfile:
    """A profile of an unknown phone, with the capacity that the phone itself tells."""
    guess = "assumed, nothing being known of this phone"
    return DeviceProfile(
        name=GENERIC_NAME,
        title=f"{device.manufacturer} {device.model}".strip(),
        match=ProfileMatch(devices=(device.device,)),
        android_release=device.android_release,
        android_sdk=device.android_sdk,
        hardware=ProfileHardware(
            soc=device.soc,
            cpu=device.soc,
            cores=None,
            max_cpu_khz=None,
            ram_bytes=device.ram_bytes or 4 * 1024**3,
            abi=device.abi,
        ),
        battery=None
        if capacity.uah is None
        else ProfileBattery(
            capacity_uah=capacity.uah, energy_j=charge_energy_j(capacity.uah, NOMINAL_CELL_MV)
        ),
        gauge=ProfileGauge(charge_step_uah=1000, current_step_ua=1000, update_period_ms=1000),
        power=ProfilePower(idle_mw=900.0, active_mw=3500.0),
        sources={
            "android_sdk": "the phone",
            "hardware.ram_bytes": "the phone" if device.ram_bytes else guess,
            "battery.capacity_uah": capacity.source,
            "battery.energy_j": f"{capacity.source}, x 3.85 V, a lithium cell's nominal voltage",
            "gauge.charge_step_uah": guess,
            "gauge.current_step_ua": guess,
            "gauge.update_period_ms": guess,
            "power.idle_mw": guess,
            "power.active_mw": guess,
        },
    )


def _numbers(profile: DeviceProfile) -> dict[str, float]:
    """Dotted name and value of every numeric field."""
    numbers: dict[str, float] = {}
    for name, value in msgspec.structs.asdict(profile).items():
        fields = msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else {"": value}
        for field, number in fields.items():
            if isinstance(number, int | float):
                numbers[f"{name}.{field}" if field else name] = number
    return numbers
