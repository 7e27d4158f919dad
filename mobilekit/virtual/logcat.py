"""The phone's log."""

from __future__ import annotations

import time
from collections import deque
from typing import Literal

from mobilekit.contract.codec import Record

MAX_ENTRIES = 4096
LEVELS = "VDIWEFS"
Level = Literal["V", "D", "I", "W", "E", "F"]


class LogEntry(Record, frozen=True):
    number: int
    at_s: float
    pid: int
    level: Level
    tag: str
    message: str

    def render(self) -> str:
        """As ``logcat -v threadtime``, Android's default."""
        moment = time.strftime("%m-%d %H:%M:%S", time.gmtime(self.at_s))
        milliseconds = int(self.at_s % 1 * 1000)
        start = f"{moment}.{milliseconds:03} {self.pid:5} {self.pid:5} {self.level} {self.tag}"
        return "".join(f"{start}: {line}\n" for line in self.message.splitlines() or [""])


class PhoneLog:
    """The newest entries; may be added to from any thread."""

    def __init__(self) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=MAX_ENTRIES)
        self._count = 0

    def add(self, tag: str, message: str, *, level: Level = "I", pid: int = 1000) -> None:
        self._count += 1
        entry = LogEntry(
            number=self._count, at_s=time.time(), pid=pid, level=level, tag=tag, message=message
        )
        self._entries.append(entry)

    def since(self, number: int) -> list[LogEntry]:
        """The entries with a higher number."""
        return [entry for entry in list(self._entries) if entry.number > number]

    def clear(self) -> None:
        self._entries.clear()
