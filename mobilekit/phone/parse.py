"""What a phone prints, as data: pure functions of text, whatever its line ends and oddities.

An answer may have megabytes of anything, so that none may take longer than its length allows: no
pattern may begin in many places and read to the end from each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from mobilekit.records.device import BatteryStatus
from mobilekit.units import CHARGE_UNITS_UAH, charge_unit, normalize_voltage_mv

# android.os.BatteryManager.BATTERY_STATUS_CHARGING, BATTERY_STATUS_FULL.
_CHARGING_STATUSES = {2, 5}

ABI_PATTERN = "[a-z][a-z0-9_-]{0,30}"
MOST_ABIS = 10
"""An app is looked for for each; Android has had seven."""
_SHARED_SERIAL = re.compile(
    r"|unknown|null|none|0+|0?1234567890?(abcdef)?|emulator.*", re.IGNORECASE
)


def parse_properties(text: str) -> dict[str, str]:
    """``getprop``: ``[name]: [value]``; a value may run over several lines."""
    properties: dict[str, str] = {}
    name: str | None = None
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").removesuffix("\r").split("\n"):
        if name is None:
            begun = re.match(r"\[([^\]\r\n]+)\]: \[", line)
            if begun is None:
                continue
            name, lines, line = begun[1], [], line[begun.end() :]
        lines.append(line)
        if line.endswith("]"):
            properties[name] = "\n".join(lines)[:-1]
            name = None
    return properties


def parse_hardware_serial(properties: Mapping[str, str]) -> str:
    """The serial number that a phone has to itself; empty where it tells none, or one that makers
    leave in every phone of a kind and emulators in every emulator."""
    for name in ("ro.serialno", "ro.boot.serialno"):
        serial = properties.get(name, "").strip()
        if not _SHARED_SERIAL.fullmatch(serial):
            return serial
    return ""


def parse_abis(text: str) -> tuple[str, ...]:
    """``getprop ro.product.cpu.abilist``: what the phone's Android runs, the best first."""
    return tuple(re.findall(f"(?<![^,]){ABI_PATTERN}(?![^,])", text.strip()))[:MOST_ABIS]


def parse_cpu_features(text: str) -> tuple[str, ...] | None:
    """``/proc/cpuinfo``: what all cores of an Arm processor have; ``None`` where it tells none."""
    cores = [
        frozenset(re.findall(r"[a-z][a-z0-9_]{0,30}", features))
        for features in re.findall(r"^Features[ \t]*:(.*)$", text, flags=re.MULTILINE)
    ]
    common = frozenset.intersection(*cores) if cores else frozenset()
    return tuple(sorted(common)) or None


_VULKAN_FEATURE = re.compile(
    r"^feature:android\.hardware\.vulkan\.version=(\d{1,10})\s*$", re.MULTILINE
)


def parse_vulkan_version(text: str) -> str | None:
    """``pm list features``: the newest Vulkan of the phone's hardware, ``1.1``; ``None``: none.

    ``PackageManager.FEATURE_VULKAN_HARDWARE_VERSION`` has the major version in the bits from 22 on,
    and the minor one in the ten below.
    """
    told = _VULKAN_FEATURE.search(text)
    number = int(told[1]) if told else 0
    return f"{number >> 22}.{number >> 12 & 0x3FF}" if number >> 22 else None


class ToldGpu(NamedTuple):
    """What the phone's GPU service says of the first graphics processor; ``None``: not told."""

    name: str | None = None
    half_storage: bool | None = None
    """Whether shaders may keep numbers of 16 bits in memory."""
    texture_texels: int | None = None
    """The most that a side of a three-dimensional texture has."""


_HALF_STORAGE = (
    ("16bitStorageFeatures",),
    ("bit16StorageFeatures",),
    ("core11", "features"),
)
"""Where the service has had it: ``frameworks/native/vulkan/vkjson`` of Android 9 and after, its
name in the newest, and what a driver of Vulkan 1.2 tells in newer ones."""


def parse_vkjson(text: str) -> ToldGpu:
    """``cmd gpu vkjson``, in which every number is real: ``1.0`` is true."""
    try:
        told = json.loads(text)
        (device, *_) = told["devices"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ToldGpu()
    name = _inside(device, "properties", "deviceName")
    places = (_inside(device, *each, "storageBuffer16BitAccess") for each in _HALF_STORAGE)
    half = next((each for each in places if isinstance(each, int | float)), None)
    texels = _inside(device, "properties", "limits", "maxImageDimension3D")
    return ToldGpu(
        name=_one_line(name) if isinstance(name, str) else None,
        half_storage=None if half is None else bool(half),
        texture_texels=int(texels)
        if isinstance(texels, int | float) and 0 < texels < 1 << 32
        else None,
    )


def _one_line(text: str) -> str | None:
    return "".join(filter(str.isprintable, " ".join(text.split())))[:60] or None


def _inside(value: object, *names: str) -> object:
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


_FATAL = re.compile(
    r"^[-\d]+ [\d:.]+ +(?P<pid>\d{1,10}) +\d+ F libc *: Fatal signal \d+ \((?P<signal>SIG[A-Z]+)\)",
    re.MULTILINE,
)
_FRAME = re.compile(r"^.* F DEBUG *: +#\d\d pc [0-9a-f]+ +(?P<path>\S+)", re.MULTILINE)


def parse_crash(text: str, pid: int) -> str | None:
    """``logcat -b crash``: the signal that ended a process, and the library that it was in:
    ``SIGILL in libexecutorch.so``. ``None`` where no signal of that process is told."""
    ends = [found for found in _FATAL.finditer(text) if int(found["pid"]) == pid]
    if not ends:
        return None
    following = _FATAL.search(text, ends[-1].end())
    frames = _FRAME.finditer(text, ends[-1].end(), following.start() if following else len(text))
    names = (name for frame in frames for name in re.findall(r"[\w.+-]+", frame["path"]))
    libraries = (found[0] for name in names if (found := re.match(r".+\.so\b", name)))
    # What aborts calls the system's library to do so.
    library = next((each for each in libraries if each != "libc.so"), None)
    return ends[-1]["signal"] + (f" in {library}" if library else "")


def parse_battery(text: str) -> BatteryStatus:
    """``dumpsys battery``. The charge counter's unit is the one that fits its level; 0 counts as
    not supported.

    Only the first value of a name counts: some vendors append sections of their own.
    """
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, value = line.partition(":")
        if separator:
            values.setdefault(name.strip().lower(), value.strip())
    plugged = any(
        values.get(f"{source} powered") == "true" for source in ("ac", "usb", "wireless", "dock")
    )
    level, scale = parse_integer(values.get("level")), parse_integer(values.get("scale")) or 100
    level_percent = None if level is None else round(100 * level / scale)
    if level_percent is not None and not 0 <= level_percent <= 100:
        level_percent = None
    counter = parse_integer(values.get("charge counter")) or None
    unit = None if counter is None else charge_unit(counter, level_percent)
    return BatteryStatus(
        level_percent=level_percent,
        plugged=plugged,
        charging=parse_integer(values.get("status")) in _CHARGING_STATUSES,
        charge_counter_uah=None
        if counter is None or unit is None
        else round(counter * CHARGE_UNITS_UAH[unit]),
        voltage_mv=normalize_voltage_mv(_parse_number(values.get("voltage"))),
        temperature_decicelsius=parse_integer(values.get("temperature")),
        technology=_one_line(values.get("technology", "")),
        told_counter=counter,
        updates_stopped="UPDATES STOPPED" in text,
    )


def parse_ram_bytes(text: str) -> int | None:
    """``MemTotal`` of ``/proc/meminfo``; ``None`` where it is missing."""
    match = re.search(r"^MemTotal:\s+(\d{1,15}) kB", text, flags=re.MULTILINE)
    return int(match[1]) * 1024 if match else None


def parse_available_bytes(text: str) -> int | None:
    """``MemAvailable`` of ``/proc/meminfo``; before Linux 3.14, ``MemFree`` and ``Cached``.

    Android's own ``ActivityManager`` takes the latter for available; it is too much by what of the
    cache cannot be dropped. ``None`` where they are missing.
    """
    kib = {
        name: int(value)
        for name, value in re.findall(r"^(\w+):\s+(\d{1,15}) kB", text, flags=re.MULTILINE)
    }
    if "MemAvailable" in kib:
        return kib["MemAvailable"] * 1024
    if "MemFree" in kib and "Cached" in kib:
        return (kib["MemFree"] + kib["Cached"]) * 1024
    return None


def parse_free_bytes(text: str) -> int | None:
    """``df -k PATH``: what is available in the file system of its last line."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    heads = [re.fullmatch(r"Avail(able)?", word) is not None for word in lines[0]] if lines else []
    if len(lines) < 2 or True not in heads or len(lines[-1]) <= heads.index(True):
        return None
    kib = parse_integer(lines[-1][heads.index(True)])
    return None if kib is None or kib < 0 else kib * 1024


def parse_user_unlocked(text: str) -> bool | None:
    """``cmd activity get-started-user-state 0``: whether the phone was unlocked since its start, so
    that apps can reach their files; ``None`` where it is not told (before Android 7)."""
    match = re.search(r"^RUNNING_((?:UN)?LOCK(?:ED|ING))\s*$", text, flags=re.MULTILINE)
    return match[1] == "UNLOCKED" if match else None


def parse_locked(text: str) -> bool | None:
    """``dumpsys trust``: whether a PIN, pattern or password locks the phone for the user in front;
    ``None`` where it is not told."""
    for line in text.splitlines():
        match = re.search(r"\bdeviceLocked=([01])", line.partition("(current):")[2])
        if match:
            return match[1] == "1"
    return None


def parse_adb_version(text: str) -> tuple[int | None, str | None]:
    """``adb version``: the number that program and server must share, the 41 of ``1.0.41``, and
    the release of the platform tools; ``None`` for what it does not say."""
    protocol = re.search(r"^Android Debug Bridge version 1\.0\.(\d{1,4})\s*$", text, re.MULTILINE)
    release = re.search(r"^Version (\d[\w.-]{0,40})\s*$", text, flags=re.MULTILINE)
    return int(protocol[1]) if protocol else None, release[1] if release else None


def parse_version_name(text: str) -> str | None:
    """``versionName`` of ``dumpsys package NAME``; ``None`` when it is not installed."""
    match = re.search(r"^[ \t]*versionName=(\S{1,60})", text, flags=re.MULTILINE)
    return match[1] if match else None


def parse_install_failure(text: str) -> str | None:
    """Why ``cmd package install`` refused: ``INSTALL_FAILED_...: details``, or its other words.

    ``None`` for a success.
    """
    begun = re.search(r"^Failure \[", text, flags=re.MULTILINE)
    told = text[begun.end() :] if begun else ""
    match = re.match(r"(.*)\]\s*$", told, flags=re.MULTILINE | re.DOTALL)
    if match:
        return " ".join(match[1].split())
    if re.search(r"^Success\b", text, flags=re.MULTILINE):
        return None
    lines = text.split("\n")
    return next((line.strip() for line in lines if line.strip()), "it gave no reason")


def parse_learned_capacity(text: str) -> float | None:
    """The full charge that the gauge has learned, as ``dumpsys batterystats`` tells it, in mAh by
    Android's own word; ``None`` where it tells none, or zero."""
    return _parse_capacity(text, "Last learned battery capacity")


def parse_stated_capacity(text: str) -> float | None:
    """The full charge that the phone's maker has stated, as ``dumpsys batterystats`` tells it, in
    mAh by Android's own word; ``None`` where it tells none, or zero."""
    return _parse_capacity(text, "Estimated battery capacity", "Capacity")


def _parse_capacity(text: str, *names: str) -> float | None:
    for name in names:
        match = re.search(
            rf"^[ \t]*{name}:[ \t]*(\d[\d,]{{0,17}}(?:\.\d+)?)(?![\d,])",
            text,
            flags=re.MULTILINE,
        )
        capacity = float(match[1].replace(",", "")) if match else 0.0
        if capacity > 0:
            return capacity
    return None


def _parse_number(text: str | None) -> float | None:
    match = re.match(r"-?\d{1,18}(?!\d)(?:\.\d+)?", text or "")
    return float(match[0]) if match else None


def parse_integer(text: str | None) -> int | None:
    """The integer that a text begins with, if it does; one that no 64 bits hold is none."""
    match = re.match(r"-?\d{1,18}(?!\d)", text or "")
    return int(match[0]) if match else None
