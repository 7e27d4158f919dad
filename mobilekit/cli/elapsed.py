"""For how long what was begun last has gone on, told from five seconds on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

FIRST_S = 5.0
"""Then after twice as long, and so on, so that hours are few lines."""


class Elapsed:
    """Tells from a thread of its own, because what is begun does not return meanwhile."""

    def __init__(self, tell: Callable[[str], None], *, first_s: float = FIRST_S) -> None:
        self._tell = tell
        self._first_s = first_s
        self._changed = threading.Condition()
        self._what: str | None = None
        self._since_s = 0.0
        self._told = 0
        self._thread: threading.Thread | None = None
        self._over = False

    def begin(self, what: str | None) -> None:
        """``None``: nothing that is worth a word."""
        with self._changed:
            self._what, self._since_s, self._told = what, time.monotonic(), 0
            self._changed.notify()

    def text(self) -> str:
        """``Lowering it to XNNPACK: 12 s so far``; empty before five seconds."""
        with self._changed:
            return self._text()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="elapsed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _text(self) -> str:
        gone_s = time.monotonic() - self._since_s
        if self._what is None or gone_s < self._first_s:
            return ""
        minutes, seconds = divmod(round(gone_s), 60)
        return f"{self._what}: {f'{minutes} min ' if minutes else ''}{seconds} s so far"

    def _run(self) -> None:
        with self._changed:
            while not self._over:
                left_s = self._since_s + self._first_s * 2**self._told - time.monotonic()
                if self._what is None or left_s > 0:
                    self._changed.wait(None if self._what is None else left_s)
                    continue
                self._told += 1
                with suppress(OSError, ValueError):  # standard error may be closed already
                    self._tell(self._text())
