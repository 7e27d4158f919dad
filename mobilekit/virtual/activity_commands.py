"""``am`` and the processes that it starts. What they print is what a phone prints."""

from __future__ import annotations

import re
import time

from mobilekit.contract.protocol import ACTIVITY, PACKAGE, RUN_ID_PATTERN
from mobilekit.virtual.device import Process
from mobilekit.virtual.shell import SIGNALS, Call, CommandError

CURRENT_USER_SDK = 24
TOYBOX_PS_SDK = 26
"""From here on ``ps`` shows the shell's own processes, unless it is asked for all."""


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
    if verb == "get-current-user" and call.device.profile.android_sdk >= CURRENT_USER_SDK:
        await call.print("0\n")
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
    options, operands = call.options("AefwlTZ", "po")
    processes = call.device.processes()
    chosen = [*operands, *(part for part in options.get("p", "").split(",") if part)]
    if any(not pid.isdecimal() for pid in chosen):
        raise CommandError("bad -p")
    if chosen:
        processes = [each for each in processes if str(each.pid) in chosen]
    elif not options.keys() & {"A", "e"} and call.device.profile.android_sdk >= TOYBOX_PS_SDK:
        processes = [each for each in processes if each.user == "shell"]
    names = [name for name in options.get("o", PS_COLUMNS).upper().split(",") if name]
    if not set(names) <= PS_WIDTHS.keys():
        raise CommandError(f"bad -o '{options['o']}'")
    await call.print(_ps_line({name: name for name in names}))
    for process in processes:
        fields = _ps_fields(process)
        await call.print(_ps_line({name: fields[name] for name in names}))
    return 0


PS_COLUMNS = "USER,PID,PPID,VSZ,RSS,WCHAN,ADDR,S,NAME"
PS_WIDTHS = {
    **{"USER": -12, "PID": 5, "PPID": 5, "VSZ": 7, "RSS": 6, "WCHAN": -16, "ADDR": 4, "S": 1},
    **{"NAME": 0, "CMD": 0, "ARGS": 0},
}
"""Below zero: to the left."""


def _ps_fields(process: Process) -> dict[str, str]:
    rss_kib = process.memory_bytes // 1024
    return {
        "USER": process.user,
        "PID": str(process.pid),
        "PPID": str(process.parent),
        "VSZ": str(2 * rss_kib),
        "RSS": str(rss_kib),
        "WCHAN": "0",
        "ADDR": "0",
        "S": "S",
        **dict.fromkeys(("NAME", "CMD", "ARGS"), process.name),
    }


def _ps_line(fields: dict[str, str]) -> str:
    shown = (
        text.rjust(PS_WIDTHS[name]) if PS_WIDTHS[name] >= 0 else text.ljust(-PS_WIDTHS[name])
        for name, text in fields.items()
    )
    return " ".join(shown).rstrip() + "\n"


async def run_pidof(call: Call) -> int:
    pids = [str(each.pid) for each in call.device.processes() if each.name in call.args]
    if pids:
        await call.print(" ".join(pids) + "\n")
    return int(not pids)


async def run_kill(call: Call) -> int:
    signal, pids = "TERM", list(call.args)
    if pids and pids[0].startswith("-"):
        word = pids.pop(0).removeprefix("-").upper().removeprefix("SIG")
        signal = {str(number): name for name, number in SIGNALS.items()}.get(word, word)
        if signal not in SIGNALS and signal != "0":
            raise CommandError(f"bad signal '{word}'")
    known = {str(process.pid): process for process in call.device.processes()}
    status = int(not pids)
    for pid in pids:
        if pid not in known:
            await call.complain(f"{pid}: No such process")
        elif known[pid].user != "shell":
            # Even the companion is another user's process to the shell.
            await call.complain(f"{pid}: Operation not permitted")
        else:
            call.device.shells.signal(int(pid), signal)
            continue
        status = 1
    return status
