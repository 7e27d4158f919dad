"""The phone's log."""

from __future__ import annotations

import time
from collections import deque
from typing import Literal

from mobilekit.contract.codec import Record

MAX_ENTRIES = 4096
LEVELS = "VDIWEFS"
Layout = Literal["threadtime", "time", "brief", "tag", "process", "raw"]
"""How an entry is written; the first is Android's default."""
Level = Literal["V", "D", "I", "W", "E", "F"]
Buffer = Literal["main", "crash"]


class LogEntry(Record, frozen=True):
    number: int
    at_s: float
    pid: int
    level: Level
    tag: str
    message: str
    buffer: Buffer

    @property
    def moment(self) -> str:
        """By the phone's clock: month, day and time, without the year."""
        second = time.strftime("%m-%d %H:%M:%S", time.gmtime(self.at_s))
        return f"{second}.{int(self.at_s % 1 * 1000):03}"

    def render(self, layout: Layout = "threadtime") -> str:
        """As ``logcat -v LAYOUT`` does."""
        start = {
            "threadtime": f"{self.moment} {self.pid:5} {self.pid:5} {self.level} {self.tag}: ",
            "time": f"{self.moment} {self.level}/{self.tag:8}({self.pid:5}): ",
            "brief": f"{self.level}/{self.tag:8}({self.pid:5}): ",
            "tag": f"{self.level}/{self.tag:8}: ",
            "process": f"{self.level}({self.pid:5}) ",
            "raw": "",
        }[layout]
        return "".join(f"{start}{line}\n" for line in self.message.splitlines() or [""])


class PhoneLog:
    """The newest entries; may be added to from any thread."""

    def __init__(self) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=MAX_ENTRIES)
        self._count = 0
        self.behind_s = 0
        """How wrong the phone's clock is."""

    def add(
        self,
        tag: str,
        message: str,
        *,
        level: Level = "I",
        pid: int = 1000,
        buffer: Buffer = "main",
    ) -> None:
        self._count += 1
        entry = LogEntry(
            number=self._count,
            at_s=time.time() - self.behind_s,
            pid=pid,
            level=level,
            tag=tag,
            message=message,
            buffer=buffer,
        )
        self._entries.append(entry)

    def since(self, number: int) -> list[LogEntry]:
        """The entries with a higher number."""
        return [entry for entry in list(self._entries) if entry.number > number]

    def clear(self) -> None:
        self._entries.clear()
