"""Which format a phone gets: pure functions of what it is and of what was asked for."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import NamedTuple

from mobilekit.contract.protocol import Format
from mobilekit.errors import DeviceError, UsageError
from mobilekit.formats import FORMATS, FormatOrAuto
from mobilekit.phone.parse import ABI_PATTERN
from mobilekit.records.device import DeviceInfo


def usable_formats(
    info: DeviceInfo, companion_formats: tuple[str, ...] | None
) -> tuple[Format, ...]:
    """What runs there, the usual one first; ``companion_formats`` as in ``choose_format``."""
    return tuple(name for name in FORMATS if find_obstacle(name, info, companion_formats) is None)


class FormatChoice(NamedTuple):
    format: Format
    reason: str | None
    """Why it is not the usual one, where nobody asked for it."""


def choose_format(
    wanted: FormatOrAuto, info: DeviceInfo, companion_formats: tuple[str, ...] | None
) -> FormatChoice:
    """The format that is asked for, or the first of ``FORMATS`` that runs there.

    ``companion_formats`` is what a device itself says that it runs; where that is ``None``, the
    processor and the Android version decide. Raises ``UsageError`` for a format that was asked for
    and cannot run there, ``DeviceError`` where none can.
    """
    obstacles = {name: find_obstacle(name, info, companion_formats) for name in FORMATS}
    usable = usable_formats(info, companion_formats)
    if wanted != "auto":
        if wanted not in usable:
            raise UsageError(
                f"{info.name} cannot run .{wanted}: {obstacles[wanted]}",
                serial=info.serial,
                fix=f"Use --format {usable[0]}, which --format auto chooses too."
                if usable
                else "It can run no other format either.",
            )
        return FormatChoice(wanted, None)
    if not usable:
        reasons = "; ".join(dict.fromkeys(map(str, obstacles.values())))
        raise DeviceError(
            f"{info.name} can run no format that mobilekit exports: {reasons}",
            serial=info.serial,
            fix="Use another phone."
            if _names_abi(info)
            else f"Look at `adb -s {info.serial} shell getprop`, and at the cable.",
        )
    chosen = usable[0]
    passed_over = list(takewhile(lambda name: name != chosen, FORMATS))
    if not passed_over:
        return FormatChoice(chosen, None)
    reasons = "; ".join(dict.fromkeys(str(obstacles[name]) for name in passed_over))
    names = " or ".join(f".{name}" for name in passed_over)
    return FormatChoice(chosen, f"{info.name} gets .{chosen}, not {names}: {reasons}")


def find_obstacle(
    name: Format, info: DeviceInfo, companion_formats: tuple[str, ...] | None
) -> str | None:
    """What keeps this format from running there; ``None``: nothing does."""
    facts = FORMATS[name]
    if info.cpu_features is not None:
        missing = " and ".join(sorted(facts.arm_features.difference(info.cpu_features)))
        if missing:
            return (
                f"{facts.engine}'s library for Android needs a processor with {missing} (ARMv8.1: "
                "Cortex-A55, A75 and newer), and this one has none"
            )
    if companion_formats is not None:
        runs_it = name in companion_formats
        return None if runs_it else f"its companion runs only .{', .'.join(companion_formats)}"
    if not _names_abi(info):
        return f"what it answers names no ABI: {info.abi or 'nothing'}"
    if info.abi not in facts.abis:
        return f"{facts.engine} has no library for {info.abi}"
    if info.android_sdk < facts.android_sdk:
        needed = f"{facts.engine} needs Android {facts.android_release}"
        return f"{needed}, and it has {info.android_release}"
    return None


def _names_abi(info: DeviceInfo) -> bool:
    return re.fullmatch(ABI_PATTERN, info.abi) is not None
