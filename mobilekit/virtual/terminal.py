"""The phone's end of an interactive session: the computer's terminal is raw, so editing is here."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from mobilekit.virtual.shell import Lines, Pipe, Sink, Source

INTERRUPT, END, BACKSPACE, DELETE = 0x03, 0x04, 0x08, 0x7F


class Terminal:
    """Echoes keys, gives finished lines to ``lines``, and writes line ends as terminals want."""

    def __init__(self, source: Source, sink: Sink) -> None:
        self._source = source
        self._sink = sink
        self._typed = Pipe()
        self._line = bytearray()
        self._running: asyncio.Future[int] | None = None
        self.lines = Lines(self._typed, is_terminal=True)

    async def write(self, data: bytes) -> None:
        await self._sink.write(data.replace(b"\n", b"\r\n"))

    async def pump(self) -> None:
        """Handle keys until the computer is gone."""
        while keys := await self._source.read():
            for key in keys:
                await self._handle(key)
        await self._typed.end()

    async def foreground(self, command: Coroutine[Any, Any, int]) -> int | None:
        """Run a command that Ctrl-C interrupts: ``None`` if it did."""
        self._running = asyncio.ensure_future(command)
        try:
            await asyncio.wait([self._running])
            return None if self._running.cancelled() else self._running.result()
        finally:
            self._running.cancel()
            self._running = None

    async def _handle(self, key: int) -> None:
        if key == INTERRUPT:
            self._line.clear()
            await self.write(b"^C\n")
            if self._running is not None:
                self._running.cancel()
            else:
                await self._typed.write(b"\n")
        elif key == END:
            if not self._line:
                await self._typed.end()
        elif key in (BACKSPACE, DELETE):
            if self._line:
                del self._line[-1]
                await self.write(b"\b \b")
        elif key in b"\r\n":
            line = bytes(self._line) + b"\n"
            self._line.clear()
            await self.write(b"\n")
            await self._typed.write(line)
        else:
            self._line.append(key)
            await self.write(bytes([key]))
