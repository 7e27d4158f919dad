"""``dumpsys``: what the virtual phone's services tell. What it prints is what a phone prints."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from mobilekit.contract.protocol import ACTIVITY
from mobilekit.virtual.packages import InstalledPackage
from mobilekit.virtual.shell import Call

SERVICES = ("activity", "battery", "meminfo", "package", "thermalservice", "user")
THERMAL_SERVICE_SDK = 29
MAX_CURRENT_UA, MAX_VOLTAGE_UV = 500000, 5000000


async def run_dumpsys(call: Call) -> int:
    service, *args = call.args or ["-l"]
    if service == "-l":
        await call.print("Currently running services:\n")
        await call.print("".join(f"  {name}\n" for name in _services(call)))
        return 0
    told = call.device.told_directory / f"{service}.txt"
    if not args and re.fullmatch(r"\w+", service) and told.is_file():
        await call.print(told.read_text(encoding="utf-8"))
        return 0
    if service not in _services(call):
        await call.print_error(f"Can't find service: {service}\n")
        return 0
    return await DUMPS[service](call, args)


def _services(call: Call) -> list[str]:
    new = call.device.profile.android_sdk >= THERMAL_SERVICE_SDK
    return [name for name in SERVICES if new or name != "thermalservice"]


async def _dump_activity(call: Call, args: list[str]) -> int:
    running = bool(call.device.companion.running_pids())
    resumed = f"ActivityRecord{{1a2b3c u0 {ACTIVITY} t1}}" if running else "null"
    await call.print(f"ACTIVITY MANAGER ACTIVITIES (dumpsys activity)\n  mResumed: {resumed}\n")
    return 0


async def _dump_battery(call: Call, args: list[str]) -> int:
    if args and args != ["-a"]:
        return await _set_battery(call, args)
    battery = call.device.battery.read()
    full = battery.level_percent == 100
    status = (5 if full else 2) if battery.plugged else 3
    figures = {
        "AC powered": "false",
        "USB powered": "true" if battery.plugged else "false",
        "Wireless powered": "false",
        "Max charging current": MAX_CURRENT_UA if battery.plugged else 0,
        "Max charging voltage": MAX_VOLTAGE_UV if battery.plugged else 0,
        "Charge counter": battery.charge_counter_uah or 0,
        "status": status,
        "health": 2,
        "present": "true",
        "level": battery.level_percent,
        "scale": 100,
        "voltage": battery.voltage_mv,
        "temperature": battery.temperature_decicelsius,
        "technology": "Li-ion",
    }
    lines = "".join(f"  {name}: {value}\n" for name, value in figures.items() if value is not None)
    await call.print(f"Current Battery Service state:\n{lines}")
    return 0


async def _set_battery(call: Call, args: list[str]) -> int:
    """Sets the battery itself, whose updates go on: a real phone only tells other values then, and
    says that its updates are stopped."""
    battery = call.device.battery
    verb, *rest = [arg for arg in args if arg != "-f"]
    if verb == "unplug" and not rest:
        battery.set_plugged(False)
    elif verb == "reset" and not rest:
        battery.reset()
    elif verb == "set" and len(rest) == 2 and re.fullmatch(r"\d+", rest[1]):
        value = int(rest[1])
        if rest[0] in ("ac", "usb", "wireless"):
            battery.set_plugged(value != 0)
        elif rest[0] == "level" and value <= 100:
            battery.set_level(value)
        else:
            await call.print(f"Unknown set option: {rest[0]}\n")
            return 255
    else:
        await call.print(f"Unknown command: {' '.join(args)}\n")
        return 255
    return 0


async def _dump_thermal(call: Call, args: list[str]) -> int:
    decicelsius = call.device.battery.read().temperature_decicelsius or 0
    temperature = f"\tTemperature{{mValue={decicelsius / 10}, mType=2, mName=battery, mStatus=0}}\n"
    await call.print(
        "IsStatusOverride: false\nThermalEventListeners:\n\tcallbacks: 0\n\tkilled: false\n"
        "\tbroadcasts count: -1\nThermalStatusListeners:\n\tcallbacks: 0\n\tkilled: false\n"
        "\tbroadcasts count: -1\nThermal Status: 0\nCached temperatures:\n"
        f"{temperature}HAL Ready: true\nHAL connection:\n\tThermalHAL 2.0 connected: yes\n"
        f"Current temperatures from HAL:\n{temperature}Current cooling devices from HAL:\n"
    )
    return 0


async def _dump_user(call: Call, args: list[str]) -> int:
    await call.print(
        "Users:\n  UserInfo{0:Owner:13} serialNo=0\n    Created: <unknown>\n"
        "    Last logged in: <unknown>\n"
    )
    return 0


async def _dump_meminfo(call: Call, args: list[str]) -> int:
    names = [arg for arg in args if not arg.startswith("-")]
    uptime_ms = int(call.device.uptime_s() * 1000)
    head = (
        f"Applications Memory Usage (in Kilobytes):\nUptime: {uptime_ms} Realtime: {uptime_ms}\n\n"
    )
    processes = call.device.processes()
    if not names:
        total_kib, available_kib = call.device.memory_kib()
        rows = "".join(
            f"{each.memory_bytes // 1024:11,}K: {each.name} (pid {each.pid})\n"
            for each in sorted(processes, key=lambda each: -each.memory_bytes)
        )
        await call.print(
            f"{head}Total PSS by process:\n{rows}\n"
            f"Total RAM: {total_kib:,}K (status normal)\n Free RAM: {available_kib:,}K\n"
            f" Used RAM: {total_kib - available_kib:,}K\n"
        )
        return 0
    found = [each for each in processes if each.name == names[0]]
    if not found:
        await call.print(f"No process found for: {names[0]}\n")
        return 0
    kib = found[0].memory_bytes // 1024
    await call.print(
        f"{head}** MEMINFO in pid {found[0].pid} [{found[0].name}] **\n"
        "                   Pss  Private  Private  SwapPss      Rss\n"
        "                 Total    Dirty    Clean    Dirty    Total\n"
        "                ------   ------   ------   ------   ------\n"
        f"  Native Heap {kib:8} {kib:8} {0:8} {0:8} {kib:8}\n"
        f"        TOTAL {kib:8} {kib:8} {0:8} {0:8} {kib:8}\n\n"
        " App Summary\n"
        "                       Pss(KB)                        Rss(KB)\n"
        "                        ------                         ------\n"
        f"         Native Heap: {kib:8}                       {kib:8}\n\n"
        f"           TOTAL PSS: {kib:8}            TOTAL RSS: {kib:8}      TOTAL SWAP PSS: {0:8}\n"
    )
    return 0


async def _dump_package(call: Call, args: list[str]) -> int:
    names = [arg for arg in args if not arg.startswith("-")]
    found = [each for each in call.device.packages.all if not names or each.name == names[0]]
    if not found:
        await call.print(f"Unable to find package: {names[0]}\n")
        return 0
    await call.print("Packages:\n" + "".join(_package_text(package) for package in found))
    return 0


def _package_text(package: InstalledPackage) -> str:
    flags = [
        *(["SYSTEM"] if package.path.startswith("/system/") else []),
        *(["DEBUGGABLE"] if package.debuggable else []),
        "HAS_CODE",
        "ALLOW_CLEAR_USER_DATA",
    ]
    handle = f"{package.user_id:x}"
    return (
        f"  Package [{package.name}] ({handle}):\n    userId={package.user_id}\n"
        f"    pkg=Package{{{handle} {package.name}}}\n"
        f"    codePath={Path(package.path).parent}\n    resourcePath={Path(package.path).parent}\n"
        f"    versionCode={package.version_code} minSdk=23 targetSdk=35\n"
        f"    versionName={package.version_name or 'null'}\n"
        f"    flags=[ {' '.join(flags)} ]\n    pkgFlags=[ {' '.join(flags)} ]\n"
        f"    User 0: ceDataInode=0 installed=true hidden=false suspended=false stopped=false\n"
    )


DUMPS: dict[str, Callable[[Call, list[str]], Awaitable[int]]] = {
    "activity": _dump_activity,
    "battery": _dump_battery,
    "meminfo": _dump_meminfo,
    "package": _dump_package,
    "thermalservice": _dump_thermal,
    "user": _dump_user,
}
