"""``am`` and the processes that it starts. What they print is what a phone prints."""

from __future__ import annotations

import re
import time

from mobilekit.contract.protocol import ACTIVITY, PACKAGE, RUN_ID_PATTERN
from mobilekit.virtual.shell import Call, CommandError


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
