"""How a phone hangs on this computer, and what a person does where it cannot be used."""

from __future__ import annotations

from typing import Literal

from mobilekit.errors import DeviceError
from mobilekit.records.device import AttachedDevice


def link_of(serial: str) -> Literal["usb", "network"]:
    """How adb reaches the phone of that serial: an address, or a name that a phone with wireless
    debugging makes known (``adb-R58M-x1y2z3._adb-tls-connect._tcp``), is a network's."""
    return "network" if ":" in serial or "._adb" in serial else "usb"


def attach_again(serial: str) -> str:
    """What a person does about a phone whose link broke."""
    if link_of(serial) == "usb":
        return "Unplug the phone and plug it in again"
    return (
        f"Connect to it again (`adb connect {serial}`; a virtual phone: `mobilekit virtual list`)"
    )


def not_ready(device: AttachedDevice) -> DeviceError:
    """The error for a phone that is attached but cannot be used, with what to do about it."""
    what = "does not answer" if device.state == "device" else f"is {device.state}"
    return DeviceError(f"The phone {what}", serial=device.serial, fix=advice(device))


def advice(device: AttachedDevice) -> str:
    """What a person does about a phone in this state of which nothing else is known."""
    return {
        "device": "It does not answer: wait until it has booted, check the cable, and restart it "
        f"if `adb -s {device.serial} shell getprop` does not end.",
        "unauthorized": "Unlock the phone and allow USB debugging when it asks; if it does not "
        "ask, revoke USB debugging authorizations in its developer options and plug it in again.",
        "offline": f"{attach_again(device.serial)}, or run `adb reconnect offline`.",
        "no permissions": "Give this user access to the USB device (udev rules), then "
        "`adb kill-server` and plug it in again.",
        "recovery": "Boot the phone into Android.",
        "bootloader": "Boot the phone into Android.",
        "sideload": "Boot the phone into Android.",
        "connecting": "Wait a moment and run the command again.",
        "authorizing": "Wait a moment and run the command again.",
    }.get(device.state, "Boot the phone into Android and allow USB debugging.")
