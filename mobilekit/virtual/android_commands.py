"""Android's own commands, and those of its shell that are about the phone.

What they print is what a phone prints.
"""

from __future__ import annotations

import time
from dataclasses import replace

from mobilekit.virtual.activity_commands import run_am, run_kill, run_pidof, run_ps
from mobilekit.virtual.dumpsys_commands import run_dumpsys
from mobilekit.virtual.gpu_commands import run_gpu
from mobilekit.virtual.log_commands import run_log, run_logcat
from mobilekit.virtual.package_commands import run_package
from mobilekit.virtual.shell import Call, CommandError, Program

SCREEN = "1080x2400"
GPU_SERVICE_SDK = 24


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


async def run_cmd(call: Call) -> int:
    if not call.args:
        await call.print_error(
            "cmd: No service specified; use -l to list all running services. Use -w to start and "
            "wait for a service.\n"
        )
        return 20
    service, *args = call.args
    programs = {
        "activity": run_am,
        "gpu": run_gpu,
        "package": run_package,
        "settings": run_settings,
    }
    if call.device.profile.android_sdk < GPU_SERVICE_SDK:
        del programs["gpu"]
    if service == "-l":
        names = "".join(f"  {name}\n" for name in programs)
        await call.print(f"Currently running services:\n{names}")
        return 0
    if service not in programs:
        await call.print_error(f"cmd: Can't find service: {service}\n")
        return 20
    return await programs[service](replace(call, args=args))


async def run_date(call: Call) -> int:
    form = call.args[-1] if call.args and call.args[-1].startswith("+") else None
    moment_s = int(time.time() - call.device.log.behind_s)
    # Left to strftime, it would be off by this computer's time zone.
    form = form[1:].replace("%s", str(moment_s)) if form else "%a %b %e %H:%M:%S UTC %Y"
    await call.print(time.strftime(form, time.gmtime(moment_s)) + "\n")
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
