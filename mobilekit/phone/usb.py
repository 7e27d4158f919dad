"""Phones on this computer's USB ports, as Linux itself tells them: those too that adb cannot."""

from __future__ import annotations

import os
from pathlib import Path

from mobilekit.records.checkup import UsbPhone

DEVICES = Path("/sys/bus/usb/devices")
NODES = Path("/dev/bus/usb")
ADB_INTERFACE = ("ff", "42", "01")
"""Class, subclass and protocol: https://android.googlesource.com/platform/packages/modules/adb,
adb.h, ``ADB_CLASS``, ``ADB_SUBCLASS``, ``ADB_PROTOCOL``."""
STILL_IMAGE_INTERFACE = ("06", "01", "01")
"""USB's class of cameras, by which phones offer their files (MTP and PTP)."""


def find_usb_phones(devices: Path = DEVICES, nodes: Path = NODES) -> tuple[UsbPhone, ...]:
    """What offers adb's interface, or files as a phone does; none where this is not Linux.

    ``devices`` is sysfs' directory of them, ``nodes`` that of the files through which they are
    opened.
    """
    found = []
    for device in sorted(devices.glob("*")):
        interfaces = [_interface(each) for each in device.glob(f"{device.name}:*")]
        debugging = ADB_INTERFACE in interfaces
        if debugging or STILL_IMAGE_INTERFACE in interfaces:
            bus, number = _read(device / "busnum"), _read(device / "devnum")
            node = nodes / bus.zfill(3) / number.zfill(3)
            found.append(
                UsbPhone(
                    serial=_read(device / "serial"),
                    vendor_id=_read(device / "idVendor"),
                    name=_read(device / "product"),
                    debugging=debugging,
                    writable=os.access(node, os.R_OK | os.W_OK),
                )
            )
    return tuple(found)


def _interface(directory: Path) -> tuple[str, str, str]:
    return (
        _read(directory / "bInterfaceClass"),
        _read(directory / "bInterfaceSubClass"),
        _read(directory / "bInterfaceProtocol"),
    )


def _read(path: Path) -> str:
    """Empty where it is not told; a device that was just unplugged tells nothing."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
