"""What ``mobilekit doctor`` reads of one phone."""

from __future__ import annotations

import time
from collections.abc import Mapping

from msgspec.structs import replace

from mobilekit import __version__, places
from mobilekit.errors import DeviceError, DisconnectedError, PhoneError
from mobilekit.formats import FORMATS
from mobilekit.phone.adb import (
    AdbServer,
    Phone,
)
from mobilekit.phone.app import (
    app_folders,
    find_apk,
    found_apks,
    installed_version,
    missing_tools,
    where_to_get_app,
)
from mobilekit.phone.attaching import (
    advice,
)
from mobilekit.phone.device import (
    read_battery,
    read_companion_formats,
    read_companion_vulkan,
    read_device_info,
    read_gpu,
)
from mobilekit.phone.formats import find_obstacle
from mobilekit.phone.gpu import vulkan_obstacle
from mobilekit.phone.parse import (
    parse_abis,
    parse_free_bytes,
    parse_integer,
    parse_locked,
    parse_user_unlocked,
)
from mobilekit.records.checkup import FormatFitness, PhoneFacts
from mobilekit.records.device import AttachedDevice, DeviceProfile

STORAGE = "/data/local/tmp"
"""Where artifacts go; the companion app's own files are in the same file system."""


def read_phone_facts(
    server: AdbServer, attached: AttachedDevice, profiles: Mapping[str, DeviceProfile]
) -> PhoneFacts:
    """Of a phone that is not ready, or that fails on the way, no more than that."""
    if attached.state != "device":
        return unread(attached, None)
    try:
        return _read(server.phone(attached.serial), attached, profiles)
    except (DeviceError, DisconnectedError, PhoneError) as error:
        return unread(attached, error.what)


def unread(attached: AttachedDevice, failure: str | None) -> PhoneFacts:
    """Of a phone of which nothing is known but its link."""
    return PhoneFacts(
        attached=attached,
        advice=advice(attached),
        failure=failure,
        info=None,
        battery=None,
        formats=(),
        vulkan_obstacle=None,
        app_version=None,
        app_wanted=__version__,
        apk=None,
        app_fix="",
        free_bytes=None,
        clock_ahead_s=None,
        clock_uncertainty_s=None,
        user_unlocked=None,
        locked=None,
    )


def _read(
    phone: Phone, attached: AttachedDevice, profiles: Mapping[str, DeviceProfile]
) -> PhoneFacts:
    info = read_device_info(phone, dict(profiles))
    info = replace(info, gpu=read_gpu(phone))
    companion_formats = read_companion_formats(phone, info)
    abis = parse_abis(_ask(phone, "getprop ro.product.cpu.abilist"))
    apk = find_apk(None, abis, app_folders())
    ahead_s, uncertainty_s = _compare_clocks(phone)
    return PhoneFacts(
        attached=attached,
        advice="",
        failure=None,
        info=info,
        battery=read_battery(phone),
        formats=tuple(
            FormatFitness(format=name, obstacle=find_obstacle(name, info, companion_formats))
            for name in FORMATS
        ),
        vulkan_obstacle=vulkan_obstacle(info, info.gpu, read_companion_vulkan(phone, info), "fp32"),
        app_version=installed_version(phone),
        app_wanted=__version__,
        apk=None if apk is None else str(apk.path),
        app_fix=where_to_get_app(abis, found_apks(), places.checkout(), missing_tools()),
        free_bytes=parse_free_bytes(_ask(phone, f"df -k {STORAGE}")),
        clock_ahead_s=ahead_s,
        clock_uncertainty_s=uncertainty_s,
        user_unlocked=parse_user_unlocked(_ask(phone, "cmd activity get-started-user-state 0")),
        locked=parse_locked(_ask(phone, "dumpsys trust")),
    )


def _ask(phone: Phone, command: str) -> str:
    return phone.shell(command, check=False).text


def _compare_clocks(phone: Phone) -> tuple[float | None, float | None]:
    """By how much the phone's clock is ahead of this computer's, and how sure that is: it tells
    whole seconds, at some moment between question and answer."""
    asked_s, started_s = time.time(), time.monotonic()
    told_s = parse_integer(_ask(phone, "date +%s").strip())
    half_s = (time.monotonic() - started_s) / 2
    if told_s is None:
        return None, None
    return told_s + 0.5 - (asked_s + half_s), 0.5 + half_s
