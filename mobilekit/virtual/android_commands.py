"""Android's own commands. What they print is what a phone prints."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from mobilekit.contract.protocol import ACTIVITY, PACKAGE, RUN_ID_PATTERN
from mobilekit.virtual.apk import ApkError
from mobilekit.virtual.files import describe, in_thread
from mobilekit.virtual.logcat import LEVELS, Level, LogEntry
from mobilekit.virtual.packages import InstalledPackage
from mobilekit.virtual.shell import Call, CommandError, FileSource, Program, Source, to_bytes

FOLLOW_S = 0.1
LEVEL_LETTERS: dict[str, Level] = {"v": "V", "d": "D", "i": "I", "w": "W", "e": "E", "f": "F"}
SCREEN = "1080x2400"
SERVICES = ("activity", "battery", "meminfo", "package", "thermalservice")
THERMAL_SERVICE_SDK = 29
STREAMING_SDK = 24
MAX_CURRENT_UA, MAX_VOLTAGE_UV = 500000, 5000000


# --- properties and settings


async def run_getprop(call: Call) -> int:
    properties = call.device.properties
    if not call.args:
        await call.print("".join(f"[{name}]: [{value}]\n" for name, value in properties.all()))
        return 0
    default = call.args[1] if len(call.args) > 1 else ""
    value = properties.get(call.args[0])
    await call.print(f"{default if value is None else value}\n")
    return 0


async def run_setprop(call: Call) -> int:
    if len(call.args) != 2:
        raise CommandError("Need 2 arguments")
    name, value = call.args
    if not call.device.properties.set(name, value):
        message = f"Failed to set property '{name}' to '{value}'.\nSee dmesg for error reason.\n"
        await call.print_error(message)
        return 1
    return 0


async def run_settings(call: Call) -> int:
    if len(call.args) < 2:
        raise CommandError("Bad arguments", 255)
    verb, namespace, *rest = call.args
    values = call.device.settings.get(namespace)
    if values is None:
        raise CommandError(f"Unknown namespace '{namespace}'", 255)
    if verb == "list" and not rest:
        await call.print("".join(f"{name}={value}\n" for name, value in sorted(values.items())))
    elif verb == "get" and len(rest) == 1:
        await call.print(f"{values.get(rest[0], 'null')}\n")
    elif verb == "put" and len(rest) == 2:
        values[rest[0]] = rest[1]
    elif verb == "delete" and len(rest) == 1:
        known = values.pop(rest[0], None) is not None
        await call.print(f"Deleted {int(known)} rows\n")
    else:
        raise CommandError("Bad arguments", 255)
    return 0


# --- packages


async def run_package(call: Call) -> int:
    """``pm`` and ``cmd package``."""
    verb = call.args[0] if call.args else ""
    run = PACKAGE_VERBS.get(verb)
    if run is None:
        message = f"Unknown command: {verb}\n" if verb else "usage: pm COMMAND ...\n"
        await call.print_error(message)
        return 255
    return await run(Call(call.name, call.args[1:], call.device, call.session, call.streams))


async def _list_packages(call: Call) -> int:
    what, *args = call.args or [""]
    if what not in ("packages", "package"):
        raise CommandError(f"Error: unknown list type '{what}'", 255)
    options = [arg for arg in args if arg.startswith("-")]
    texts = [arg for arg in args if not arg.startswith("-")]
    for package in call.device.packages.all:
        system = package.path.startswith("/system/")
        if ("-3" in options and system) or ("-s" in options and not system):
            continue
        if texts and texts[0] not in package.name:
            continue
        place = f"{package.path}=" if "-f" in options else ""
        code = f" versionCode:{package.version_code}" if "--show-versioncode" in options else ""
        await call.print(f"package:{place}{package.name}{code}\n")
    return 0


async def _print_path(call: Call) -> int:
    package = call.device.packages.get(call.args[-1]) if call.args else None
    if package is None:
        return 1
    await call.print(f"package:{package.path}\n")
    return 0


async def _uninstall(call: Call) -> int:
    names = [arg for arg in call.args if not arg.startswith("-")]
    if not names:
        raise CommandError("Error: package name not specified")
    if names[0] == PACKAGE:
        call.device.companion.stop()
    if not call.device.packages.uninstall(names[0]):
        await call.print("Failure [DELETE_FAILED_INTERNAL_ERROR]\n")
        return 1
    call.device.log.add("PackageManager", f"Uninstalled {names[0]}")
    await call.print("Success\n")
    return 0


async def _clear(call: Call) -> int:
    cleared = bool(call.args) and call.device.packages.clear(call.args[-1])
    await call.print("Success\n" if cleared else "Failed\n")
    return 0 if cleared else 1


async def _install(call: Call) -> int:
    """From a file of the phone, or with ``-S`` that many bytes of standard input.

    The ``pm`` of before ``STREAMING_SDK`` takes a file only, and repeats its name.
    """
    streaming = call.device.profile.android_sdk >= STREAMING_SDK
    size_bytes: int | None = None
    operands: list[str] = []
    args = list(call.args)
    while args:
        arg = args.pop(0)
        if arg == "-S" and streaming and args and args[0].isdecimal():
            size_bytes = int(args.pop(0))
        elif arg in ("-i", "--user", "--install-location", "--abi", "--pkg") and args:
            args.pop(0)
        elif not arg.startswith("-"):
            operands.append(arg)
        elif arg == "-S":
            raise CommandError("Error: Unknown option: -S")
    if operands and not streaming:
        await call.print(f"\tpkg: {operands[0]}\n")
    staged = f"/data/local/tmp/.vmdl{time.time_ns()}.tmp"
    try:
        if size_bytes is not None:
            await _stage(call, call.streams.stdin, staged, size_bytes)
        elif operands:
            with call.device.files.open(call.path(operands[0])) as file:
                size_bytes = call.device.files.status(call.path(operands[0])).size_bytes
                await _stage(call, FileSource(file), staged, size_bytes)
        else:
            raise CommandError("Error: must either specify a package size or an APK file")
        package = call.device.packages.install(
            call.device.files.host_path(staged), downgrade="-d" in call.args
        )
    except ApkError as error:
        await call.print(f"Failure [{error}]\n")
        return 1
    except OSError as error:
        await call.print(f"Failure [INSTALL_FAILED_INSUFFICIENT_STORAGE: {describe(error)}]\n")
        return 1
    finally:
        if call.device.files.is_file(staged):
            call.device.files.remove_file(staged)
    call.device.log.add("PackageManager", f"Installed {package.name} {package.version_name}")
    await call.print("Success\n")
    return 0


async def _stage(call: Call, source: Source, path: str, size_bytes: int) -> None:
    """Write exactly so many bytes into a file of the phone."""
    writer = call.device.files.create(path, 0o600)
    try:
        left = size_bytes
        while left:
            chunk = await source.read()
            if not chunk:
                raise ApkError("INSTALL_FAILED_INVALID_APK", "the package ended early")
            chunk = chunk[:left]
            left -= len(chunk)
            writer.charge(len(chunk))
            await in_thread(writer.write, [chunk])
    finally:
        writer.close()


PACKAGE_VERBS: dict[str, Program] = {
    "list": _list_packages,
    "path": _print_path,
    "install": _install,
    "uninstall": _uninstall,
    "clear": _clear,
}


async def run_cmd(call: Call) -> int:
    service, *args = call.args or [""]
    programs = {"package": run_package, "activity": run_am, "settings": run_settings}
    if service == "-l":
        await call.print("Currently running services:\n  activity\n  package\n  settings\n")
        return 0
    if service not in programs:
        await call.print_error(f"cmd: Can't find service: {service}\n")
        return 20
    return await programs[service](Call(call.name, args, call.device, call.session, call.streams))


# --- activities and processes


async def run_am(call: Call) -> int:
    verb, *args = call.args or [""]
    if verb in ("start", "start-activity"):
        return await _start_activity(call, args)
    if verb in ("force-stop", "kill"):
        names = [arg for arg in args if not arg.startswith("-")]
        if not names:
            raise CommandError("Error: Argument expected after verb", 255)
        # ``kill`` only takes what is safe to kill, and a run is in the foreground.
        if verb == "force-stop" and names[-1] == PACKAGE:
            call.device.companion.stop()
        return 0
    await call.print_error(f"Unknown command: {verb}\n")
    return 255


async def _start_activity(call: Call, args: list[str]) -> int:
    component = ""
    extras: dict[str, str] = {}
    wait = stop = False
    while args:
        arg = args.pop(0)
        if arg == "-W":
            wait = True
        elif arg == "-S":
            stop = True
        elif arg == "-n" and args:
            component = args.pop(0)
        elif arg in ("--es", "-e", "--ei", "--ez", "--el") and len(args) > 1:
            name = args.pop(0)
            extras[name] = args.pop(0)
        elif arg in ("-a", "-d", "-c", "-f", "-t", "--user") and args:
            args.pop(0)
        else:
            raise CommandError(f"Error: Unknown option: {arg}", 255)
    package, slash, activity = component.partition("/")
    if not slash or not activity:
        await call.print_error(f"Error: Bad component name: {component}\n")
        return 255
    if stop:
        await call.print(f"Stopping: {package}\n")
        if package == PACKAGE:
            call.device.companion.stop()
    full_name = f"{package}/{package if activity.startswith('.') else ''}{activity}"
    short_name = f"{package}/{activity.removeprefix(package)}"
    suffix = " (has extras)" if extras else ""
    await call.print(f"Starting: Intent {{ cmp={short_name}{suffix} }}\n")
    known = short_name == ACTIVITY and call.device.packages.get(PACKAGE) is not None
    if not known:
        message = f"Error type 3\nError: Activity class {{{full_name}}} does not exist.\n"
        await call.print_error(message)
        # As on a phone: only the text tells.
        return 0
    started_s = time.monotonic()
    # The activity itself decides what a start without a run id is, or with a wrong one: nothing.
    run_ids = extras["run_id"].split(",") if "run_id" in extras else []
    if not all(re.fullmatch(RUN_ID_PATTERN, run_id) for run_id in run_ids):
        run_ids = []
    for run_id in run_ids:
        pid = call.device.companion.start(run_id)
        call.device.log.add("ActivityManager", f"Start proc {pid}:{PACKAGE}/u0a100 for {ACTIVITY}")
    if wait:
        duration_ms = int((time.monotonic() - started_s) * 1000)
        await call.print(
            f"Status: ok\nLaunchState: COLD\nActivity: {ACTIVITY}\n"
            f"TotalTime: {duration_ms}\nWaitTime: {duration_ms}\nComplete\n"
        )
    return 0


async def run_ps(call: Call) -> int:
    await call.print("USER           PID  PPID     VSZ    RSS WCHAN            ADDR S NAME\n")
    for process in call.device.processes():
        rss_kib = process.memory_bytes // 1024
        await call.print(
            f"{process.user:12} {process.pid:5} {int(process.pid > 1):5} "
            f"{2 * rss_kib:7} {rss_kib:6} {0:16} {0:4} S {process.name}\n"
        )
    return 0


async def run_pidof(call: Call) -> int:
    pids = [str(each.pid) for each in call.device.processes() if each.name in call.args]
    if pids:
        await call.print(" ".join(pids) + "\n")
    return int(not pids)


async def run_kill(call: Call) -> int:
    pids = [arg for arg in call.args if not arg.startswith("-")]
    known = {str(process.pid) for process in call.device.processes()}
    status = int(not pids)
    for pid in pids:
        # Even the companion is another user's process to the shell.
        reason = "Operation not permitted" if pid in known else "No such process"
        await call.complain(f"{pid}: {reason}")
        status = 1
    return status


# --- dumpsys


async def run_dumpsys(call: Call) -> int:
    service, *args = call.args or ["-l"]
    if service == "-l":
        await call.print("Currently running services:\n")
        await call.print("".join(f"  {name}\n" for name in _services(call)))
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
    stopped = "  (UPDATES STOPPED -- use 'reset' to restart)\n" if call.device.battery_set else ""
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
    await call.print(f"Current Battery Service state:\n{stopped}{lines}")
    return 0


async def _set_battery(call: Call, args: list[str]) -> int:
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
    call.device.battery_set = verb != "reset"
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
}


# --- log


async def run_logcat(call: Call) -> int:
    options, operands = call.options("dcs", "tTvbm")
    if "c" in options:
        call.device.log.clear()
        return 0
    shows = _log_filter([*(["*:S"] if "s" in options else []), *operands])
    entries = [entry for entry in call.device.log.since(0) if shows(entry)]
    newest = options.get("t") or options.get("T")
    if newest is not None and newest.isdecimal():
        entries = entries[len(entries) - min(int(newest), len(entries)) :]
    await call.print("--------- beginning of main\n")
    await call.print("".join(entry.render() for entry in entries))
    if "d" in options or "t" in options:
        return 0
    last = max((entry.number for entry in call.device.log.since(0)), default=0)
    while True:
        await asyncio.sleep(FOLLOW_S)
        new = call.device.log.since(last)
        last = new[-1].number if new else last
        text = "".join(entry.render() for entry in new if shows(entry))
        # Even of nothing, so that a reader that is gone ends it.
        await call.streams.stdout.write(to_bytes(text))


def _log_filter(specs: list[str]) -> Callable[[LogEntry], bool]:
    """From ``TAG:LEVEL`` words; ``*`` is for every other tag."""
    least = {"*": "V"}
    for spec in specs:
        tag, _, level = spec.partition(":")
        level = level.upper() or "V"
        if len(level) != 1 or level not in LEVELS:
            raise CommandError(f"Invalid filter expression '{spec}'")
        least[tag] = level
    return lambda entry: LEVELS.index(entry.level) >= LEVELS.index(least.get(entry.tag, least["*"]))


async def run_log(call: Call) -> int:
    options, operands = call.options("", "pt")
    level = LEVEL_LETTERS.get(options.get("p", "i").lower())
    if level is None:
        raise CommandError(f"Invalid priority '{options['p']}'")
    call.device.log.add(options.get("t", "shell"), " ".join(operands), level=level, pid=4242)
    return 0


# --- the rest


async def run_date(call: Call) -> int:
    form = call.args[-1] if call.args and call.args[-1].startswith("+") else None
    moment = time.gmtime()
    await call.print(time.strftime(form[1:] if form else "%a %b %e %H:%M:%S UTC %Y", moment) + "\n")
    return 0


async def run_id(call: Call) -> int:
    options, _ = call.options("un")
    groups = "2000(shell),1004(input),1007(log),1015(sdcard_rw)"
    plain = f"uid=2000(shell) gid=2000(shell) groups={groups}"
    short = "shell" if "n" in options else "2000"
    await call.print(f"{short if 'u' in options else plain}\n")
    return 0


async def run_whoami(call: Call) -> int:
    await call.print("shell\n")
    return 0


async def run_uname(call: Call) -> int:
    options, _ = call.options("asnrvmo")
    abi = call.device.properties.get("ro.product.cpu.abi") or ""
    machine = {"arm64-v8a": "aarch64", "armeabi-v7a": "armv8l"}.get(abi, abi)
    parts = {
        "s": "Linux",
        "n": "localhost",
        "r": call.device.kernel,
        "v": "#1 SMP PREEMPT",
        "m": machine,
        "o": "Android",
    }
    chosen = parts if "a" in options else (options or {"s": ""})
    await call.print(" ".join(text for key, text in parts.items() if key in chosen) + "\n")
    return 0


async def run_uptime(call: Call) -> int:
    seconds = int(call.device.uptime_s())
    clock = time.strftime("%H:%M:%S", time.gmtime())
    up = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    await call.print(f" {clock} up {up},  0 users,  load average: 0.00, 0.00, 0.00\n")
    return 0


async def run_wm(call: Call) -> int:
    if call.args == ["size"]:
        await call.print(f"Physical size: {SCREEN}\n")
    elif call.args == ["density"]:
        await call.print("Physical density: 420\n")
    else:
        raise CommandError(f"Unknown command: {' '.join(call.args)}", 255)
    return 0


async def run_quietly(call: Call) -> int:
    """``svc power stayon``, ``input keyevent``: there is no screen to keep on or keys to press."""
    return 0


PROGRAMS: dict[str, Program] = {
    "getprop": run_getprop,
    "setprop": run_setprop,
    "settings": run_settings,
    "pm": run_package,
    "cmd": run_cmd,
    "am": run_am,
    "ps": run_ps,
    "pidof": run_pidof,
    "kill": run_kill,
    "dumpsys": run_dumpsys,
    "logcat": run_logcat,
    "log": run_log,
    "date": run_date,
    "id": run_id,
    "whoami": run_whoami,
    "uname": run_uname,
    "uptime": run_uptime,
    "wm": run_wm,
    "svc": run_quietly,
    "input": run_quietly,
}
