"""What a companion's process was ended by, in the words of a phone's log."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import NamedTuple

from mobilekit.contract.protocol import PACKAGE

CRASHES = frozenset(
    (
        *(signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS),
        *(signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS),
    )
)
"""What Android logs as a crash; others are how an app is ended by the system or a person."""


class Crash(NamedTuple):
    pid: int
    signal: signal.Signals
    frames: tuple[tuple[str, str], ...] = ()
    """Of the native libraries that it was in, the innermost first: where, and the file's name."""

    def log_lines(self, abi: str) -> tuple[str, tuple[str, ...]]:
        """What ``libc`` logs, and what ``DEBUG`` does after it."""
        head = f"Fatal signal {int(self.signal)} ({self.signal.name}), code 1 in tid {self.pid}"
        directory = f"/data/app/{PACKAGE}-1/lib/{abi}"
        frames = (
            f"      #{number:02} pc {where.zfill(16)}  {directory}/{name}"
            for number, (where, name) in enumerate(self.frames)
        )
        return head, ("backtrace:", *frames) if self.frames else ()


def find_crash(pid: int, exit_code: int, report: Path) -> Crash | None:
    """Of a process that has ended; ``None`` where it was no crash.

    ``report`` is the file of a JVM, which takes a signal, tells of it there and aborts.
    """
    told = _read_report(report, pid)
    if told is not None:
        return told
    if exit_code >= 0 or -exit_code not in CRASHES:
        return None
    return Crash(pid, signal.Signals(-exit_code))


def _read_report(path: Path, pid: int) -> Crash | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    head = re.search(r"^# +(SIG[A-Z]+) \(0x[0-9a-f]+\) at pc=0x[0-9a-f]+, pid=(\d+)", text, re.M)
    if head is None or int(head[2]) != pid or head[1] not in signal.Signals.__members__:
        return None
    # What is no library's is the JVM's own code and that of the app's classes.
    frames = re.findall(r"^C +\[([\w.+-]+\.so)\+0x([0-9a-f]+)\]", text, re.M)
    innermost = re.search(r"^# C +\[([\w.+-]+\.so)\+0x([0-9a-f]+)\]", text, re.M)
    found = frames or ([(innermost[1], innermost[2])] if innermost else [])
    return Crash(pid, signal.Signals[head[1]], tuple((where, name) for name, where in found))
