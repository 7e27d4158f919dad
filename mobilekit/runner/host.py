"""This computer, as a host and as a device of its own."""

from __future__ import annotations

import os
import platform
import re
from importlib.util import find_spec
from pathlib import Path

from mobilekit import __version__
from mobilekit.formats import FORMATS
from mobilekit.records.device import DeviceInfo, HostInfo
from mobilekit.runner.abi import this_abi
from mobilekit.runner.readers import read_kib_fields

COMPUTER = "pc"


def installed_formats() -> tuple[str, ...]:
    """What this computer's runner has engines for, without importing any of them."""
    return tuple(name for name, facts in FORMATS.items() if find_spec(facts.engine_package))


def read_host() -> HostInfo:
    return HostInfo(
        name=platform.node() or None,
        platform=platform.platform(),
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        python_version=platform.python_version(),
        mobilekit_version=__version__,
    )


def read_computer() -> DeviceInfo:
    """This computer in the place of a phone."""
    return DeviceInfo(
        serial=platform.node(),
        hardware_serial="",
        name=COMPUTER,
        manufacturer="",
        model=_cpu_name(),
        device="",
        android_release="",
        android_sdk=0,
        abi=this_abi(),
        cpu_features=None,
        soc=_cpu_name(),
        ram_bytes=_ram_bytes(),
        available_bytes=read_kib_fields(Path("/proc/meminfo")).get("MemAvailable"),
        virtual=False,
        gauge=None,
        link="none",
    )


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine()


def _ram_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
