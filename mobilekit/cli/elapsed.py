"""For how long what was begun last has gone on, told from five seconds on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

FIRST_S = 5.0
"""Then after twice as long, and so on, so that hours are few lines."""
LOOKS_AFTER_S = 0.5


class _Begun(NamedTuple):
    what: str | None
    at_s: float


class Elapsed:
    """Tells from a thread of its own, because what is begun does not return meanwhile.

    What was begun is replaced in one step, under no lock: Ctrl-C may come at any moment, and would
    leave a lock, or a notification, half done.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        *,
        first_s: float = FIRST_S,
        looks_after_s: float = LOOKS_AFTER_S,
    ) -> None:
        self._tell = tell
        self._first_s = first_s
        self._looks_after_s = looks_after_s
        self._begun = _Begun(None, 0.0)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, what: str | None) -> None:
        """``None``: nothing that is worth a word."""
        self._begun = _Begun(what, time.monotonic())

    def text(self) -> str:
        """``Lowering it to XNNPACK: 12 s so far``; empty before five seconds."""
        begun = self._begun
        return self._text(begun, time.monotonic() - begun.at_s)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="elapsed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _text(self, begun: _Begun, gone_s: float) -> str:
        if begun.what is None or gone_s < self._first_s:
            return ""
        minutes, seconds = divmod(round(gone_s), 60)
        return f"{begun.what}: {f'{minutes} min ' if minutes else ''}{seconds} s so far"

    def _run(self) -> None:
        begun, told = self._begun, 0
        while not self._over.wait(self._looks_after_s):
            if begun is not self._begun:
                begun, told = self._begun, 0
            gone_s = time.monotonic() - begun.at_s
            if begun.what is not None and gone_s >= self._first_s * 2**told:
                told += 1
                with suppress(OSError, ValueError):  # standard error may be closed already
                    self._tell(self._text(begun, gone_s))
