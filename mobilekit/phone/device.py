"""Which phone: what is attached, what it is, and which one a person means."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple, cast, get_args

from msgspec.structs import replace

from mobilekit.errors import DeviceError, DisconnectedError, PhoneError, UsageError
from mobilekit.phone.adb import (
    AdbServer,
    Phone,
)
from mobilekit.phone.attaching import (
    advice,
    link_of,
    not_ready,
)
from mobilekit.phone.capacity import judge_capacity
from mobilekit.phone.formats import usable_formats
from mobilekit.phone.gpu import vulkan_obstacle
from mobilekit.phone.parse import (
    parse_available_bytes,
    parse_battery,
    parse_cpu_features,
    parse_hardware_serial,
    parse_integer,
    parse_properties,
    parse_ram_bytes,
    parse_vkjson,
    parse_vulkan_version,
)
from mobilekit.phone.profiles import match_profile
from mobilekit.phone.side_by_side import read_side_by_side
from mobilekit.plain import plain
from mobilekit.records.device import (
    VIRTUAL_PREFIX,
    AttachedDevice,
    BatteryCapacity,
    BatteryStatus,
    CompanionVulkan,
    DeviceInfo,
    DeviceProfile,
    Gpu,
    ListedDevice,
)

VIRTUAL_PROPERTY = "ro.mobilekit.virtual"
FORMATS_PROPERTY = "ro.mobilekit.formats"
VULKAN_PROPERTY = "ro.mobilekit.vulkan"
COMPUTES_PROPERTY = "ro.mobilekit.computes"
GAUGE_PROPERTY = "ro.mobilekit.gauge"
LONGEST_VALUE = 91
"""Of a property, in characters (AOSP, ``PROP_VALUE_MAX``); a name of two has room in the store."""
LONGEST_ANSWER = 60
"""Of one that is shown as it is, in characters."""


class VirtualChoice(NamedTuple):
    """No phone fits; a virtual one of this profile is meant or allowed."""

    profile: DeviceProfile
    asked_for: bool
    """False when it stands in for a phone that was named but is not attached."""


def find_devices(server: AdbServer, profiles: dict[str, DeviceProfile]) -> list[ListedDevice]:
    """Everything attached to an adb server, read at once: one that hangs delays no other, and is
    listed without what it is."""
    attached = server.list_devices()
    looked = read_side_by_side([partial(look_at, server, each, profiles) for each in attached])
    return [found or unknown(each) for each, found in zip(attached, looked, strict=True)]


def look_at(
    server: AdbServer,
    attached: AttachedDevice,
    profiles: dict[str, DeviceProfile],
    *,
    with_gpu: bool = False,
) -> ListedDevice:
    """What a phone is, where it is ready; ``with_gpu``: its graphics processor is asked for too."""
    if attached.state == "device":
        # Of one that leaves meanwhile, or is still booting, nothing is known.
        with suppress(DeviceError, DisconnectedError, PhoneError):
            phone = server.phone(attached.serial)
            info, battery = read_device_info(phone, profiles), read_battery(phone)
            formats = usable_formats(info, read_companion_formats(phone, info))
            obstacle = None
            if with_gpu:
                info = replace(info, gpu=read_gpu(phone))
                companion = read_companion_vulkan(phone, info)
                obstacle = vulkan_obstacle(info, info.gpu, companion, "fp32")
            return ListedDevice(
                attached=attached,
                info=info,
                battery=battery,
                formats=formats,
                vulkan_obstacle=obstacle,
            )
    return unknown(attached)


def unknown(attached: AttachedDevice) -> ListedDevice:
    """A phone that is not ready, or that does not answer."""
    return ListedDevice(attached=attached, info=None, battery=None, formats=())


def choose_device(
    wanted: str,
    found: Sequence[ListedDevice],
    profiles: dict[str, DeviceProfile],
    *,
    require_phone: bool,
) -> ListedDevice | VirtualChoice:
    """The phone that ``wanted`` means: a serial, a profile's name, ``auto`` or ``virtual:NAME``.

    Of a phone that is attached over USB and over a network at once, ``auto`` and a profile's name
    mean the USB link. A profile's name falls back to a virtual phone only where no Android device
    at all is attached and ``require_phone`` is false. Raises ``DeviceError`` that lists what is
    attached, or names the state of the one that was meant; ``UsageError`` for a profile that does
    not exist.
    """
    if wanted.startswith(VIRTUAL_PREFIX):
        profile = profile_named(wanted.removeprefix(VIRTUAL_PREFIX), profiles)
        if require_phone:
            raise UsageError(
                "A virtual phone was asked for and a real one required",
                device=wanted,
                fix="Leave out --require-phone (or MOBILEKIT_REQUIRE_PHONE), or name a phone.",
            )
        return VirtualChoice(profile, asked_for=True)
    candidates = [
        device for device in found if not (require_phone and device.info and device.info.virtual)
    ]
    by_serial = [device for device in candidates if device.attached.serial == wanted]
    ready = [device for device in candidates if device.info is not None]
    if by_serial:
        matching = by_serial
    elif wanted == "auto":
        matching = _one_link_each(ready) or candidates
    else:
        named = [device for device in ready if device.info and device.info.name == wanted]
        matching = _one_link_each(named)
    if len(matching) == 1:
        if matching[0].info is None:
            raise not_ready(matching[0].attached)
        return matching[0]
    if not matching and not found and not require_phone and wanted in profiles:
        return VirtualChoice(profiles[wanted], asked_for=False)
    raise _no_choice(wanted, found, matching, profiles, require_phone=require_phone)


def links_by_phone(found: Sequence[ListedDevice]) -> list[list[ListedDevice]]:
    """What is attached, one list for each phone, a USB link first; one that is not ready is alone.

    A phone has one USB port: two links over USB are two phones, whatever serial number they tell.
    """
    phones = [[device] for device in found if device.info is None or device.info.link != "network"]
    for device in found:
        if device.info is not None and device.info.link == "network":
            key = device.info.key
            same = [links for links in phones if links[0].info and links[0].info.key == key]
            if len(same) == 1:
                same[0].append(device)
            else:
                phones.append([device])
    return phones


def _one_link_each(devices: Sequence[ListedDevice]) -> list[ListedDevice]:
    return [links[0] for links in links_by_phone(devices)]


def read_device_info(phone: Phone, profiles: dict[str, DeviceProfile]) -> DeviceInfo:
    """Read what a phone says of itself; its name is its profile's, else made of its model."""
    answer = phone.shell("getprop").text
    told = parse_properties(answer)
    properties = {name: plain(value)[:LONGEST_VALUE] for name, value in told.items()}
    meminfo = phone.shell("cat /proc/meminfo", check=False).text
    info = DeviceInfo(
        serial=phone.serial,
        hardware_serial=parse_hardware_serial(properties),
        name=properties.get("ro.product.model", phone.serial).lower().replace(" ", "-"),
        manufacturer=properties.get("ro.product.manufacturer", ""),
        model=properties.get("ro.product.model", ""),
        device=properties.get("ro.product.device", ""),
        android_release=properties.get("ro.build.version.release", ""),
        android_sdk=parse_integer(properties.get("ro.build.version.sdk")) or 0,
        # Where the phone answers anything else, it is told by that.
        abi=properties.get("ro.product.cpu.abi", plain(answer.strip())[:LONGEST_ANSWER]),
        cpu_features=parse_cpu_features(phone.shell("cat /proc/cpuinfo", check=False).text),
        soc=properties.get("ro.soc.model") or properties.get("ro.board.platform", ""),
        ram_bytes=parse_ram_bytes(meminfo),
        available_bytes=parse_available_bytes(meminfo),
        virtual=properties.get(VIRTUAL_PROPERTY) == "1",
        gauge=properties.get(GAUGE_PROPERTY),
        link=link_of(phone.serial),
    )
    profile = match_profile(info, profiles)
    return info if profile is None else replace(info, name=profile.name)


def read_companion_formats(phone: Phone, info: DeviceInfo) -> tuple[str, ...] | None:
    """The formats that a virtual phone's companion runs, as the phone tells in a property.

    A property is how a phone tells everything else that it is, so that nothing new has to be
    spoken or stored. A real phone's formats follow from its processor and its Android, and it has
    no such property: it is not asked, and ``None``.
    """
    if not info.virtual:
        return None
    told = phone.shell(f"getprop {FORMATS_PROPERTY}").text.strip()
    # What a phone's linker complains of comes before.
    return tuple(told.splitlines()[-1].split(",")) if told else None


def read_computes(phone: Phone, info: DeviceInfo) -> bool:
    """Whether a phone's runs take this computer's processor, as a virtual phone's do unless it says
    otherwise."""
    return info.virtual and phone.shell(f"getprop {COMPUTES_PROPERTY}").text.strip() != "0"


def read_gpu(phone: Phone) -> Gpu:
    version = parse_vulkan_version(phone.shell("pm list features", check=False).text)
    # Without Vulkan it tells nothing more; before Android 7 there is no such service.
    told = "" if version is None else phone.shell("cmd gpu vkjson", check=False).text
    return Gpu(vulkan_version=version, **parse_vkjson(told)._asdict())


def read_companion_vulkan(phone: Phone, info: DeviceInfo) -> CompanionVulkan | None:
    """Whether a virtual phone's companion runs programs for Vulkan, told as its formats are."""
    if not info.virtual:
        return None
    told = phone.shell(f"getprop {VULKAN_PROPERTY}").text.strip()
    return cast("CompanionVulkan", told) if told in get_args(CompanionVulkan) else None


def read_battery(phone: Phone) -> BatteryStatus:
    return parse_battery(phone.shell("dumpsys battery").text)


def read_airplane_mode(phone: Phone) -> bool | None:
    told = phone.shell("settings get global airplane_mode_on", check=False).text.strip()
    return {"0": False, "1": True}.get(told)


def read_capacity(
    phone: Phone, battery: BatteryStatus, profile: DeviceProfile | None
) -> BatteryCapacity:
    """What the phone itself says that its battery holds, held against a profile's figure."""
    batterystats = phone.shell("dumpsys batterystats", check=False).text
    return judge_capacity(battery, batterystats, None if profile is None else profile.capacity_uah)


def _describe(device: ListedDevice) -> str:
    if device.info is None:
        return f"{device.attached.serial} ({device.attached.state})"
    virtual = ", virtual" if device.info.virtual else ""
    return f"{device.attached.serial} ({device.info.name}{virtual})"


def profile_named(name: str, profiles: dict[str, DeviceProfile]) -> DeviceProfile:
    """Raises ``UsageError`` for a name that no profile has."""
    if name in profiles:
        return profiles[name]
    raise UsageError(
        f"There is no device profile {name!r}",
        profiles=", ".join(sorted(profiles)),
        fix="Name one of these, or write your own (`mobilekit docs devices`).",
    )


def _no_choice(
    wanted: str,
    found: Sequence[ListedDevice],
    matching: Sequence[ListedDevice],
    profiles: dict[str, DeviceProfile],
    *,
    require_phone: bool,
) -> DeviceError:
    attached = "; ".join(_describe(device) for device in found) or "nothing"
    if len(matching) > 1:
        return DeviceError(
            f"Several phones fit {wanted!r}", attached=attached, fix="Name one's serial: --device."
        )
    what = "No phone is attached" if wanted == "auto" else f"No attached phone is {wanted!r}"
    if wanted != "auto" and wanted not in profiles:
        near = difflib.get_close_matches(wanted, profiles, n=1)
        what += f", and no profile has that name (did you mean {near[0]!r}?)" if near else ""
    waiting = [device.attached for device in found if device.info is None]
    names = ", ".join(sorted(profiles))
    if waiting:
        fix = " ".join(f"{device.serial}: {advice(device)}" for device in waiting)
    elif require_phone:
        fix = "Plug in a phone with USB debugging allowed, or leave out --require-phone."
    elif found:
        fix = (
            "Name one that is attached, or ask for a virtual phone: --device virtual:NAME, where "
            f"NAME is one of {names}."
        )
    else:
        fix = (
            "Plug in a phone with USB debugging allowed, or let a virtual phone stand in: "
            f"--device NAME, where NAME is one of {names}."
        )
    return DeviceError(what, attached=attached, fix=fix)
