"""``logcat`` and ``log``. What they print is what a phone prints."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

from mobilekit.virtual.logcat import LEVELS, Buffer, Layout, Level, LogEntry
from mobilekit.virtual.shell import Call, CommandError, to_bytes

FOLLOW_S = 0.1
MOMENT = re.compile(r"\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")
LAYOUTS: dict[str, Layout] = {layout: layout for layout in get_args(Layout)}
BUFFERS = {"main", "system", "radio", "events", "crash", "kernel", "security", "stats"}
LONG_OPTIONS = {"--clear": "-c", "--dump": "-d"}
LEVEL_LETTERS: dict[str, Level] = {"v": "V", "d": "D", "i": "I", "w": "W", "e": "E", "f": "F"}


async def run_logcat(call: Call) -> int:
    words = [LONG_OPTIONS.get(arg, arg) for arg in call.args]
    options, operands = replace(call, args=words).options("dcs", "tTvbm")
    layout = LAYOUTS.get(options.get("v", "threadtime"))
    if layout is None:
        raise CommandError(f'Invalid parameter "{options["v"]}" to -v')
    if "c" in options:
        call.device.log.clear()
        return 0
    told = _buffers(options.get("b", "default"))
    passes = _log_filter([*(["*:S"] if "s" in options else []), *operands])

    def shows(entry: LogEntry) -> bool:
        return entry.buffer in told and passes(entry)

    call.device.log_crashes()
    entries = [entry for entry in call.device.log.since(0) if shows(entry)]
    newest = options.get("t") or options.get("T")
    if newest is not None:
        entries = _newest(entries, newest)
    await call.print(f"--------- beginning of {told[0]}\n")
    await call.print("".join(entry.render(layout) for entry in entries))
    if "d" in options or "t" in options:
        return 0
    last = max((entry.number for entry in call.device.log.since(0)), default=0)
    while True:
        await asyncio.sleep(FOLLOW_S)
        call.device.log_crashes()
        new = call.device.log.since(last)
        last = new[-1].number if new else last
        text = "".join(entry.render(layout) for entry in new if shows(entry))
        # Even of nothing, so that a reader that is gone ends it.
        await call.streams.stdout.write(to_bytes(text))


def _newest(entries: list[LogEntry], given: str) -> list[LogEntry]:
    """As many as ``-t`` and ``-T`` say, or those since the moment that they name, such as
    ``11-29 08:15:30.000``."""
    if given.isdecimal():
        return entries[len(entries) - min(int(given), len(entries)) :]
    if MOMENT.fullmatch(given) is None:
        raise CommandError(f'Invalid parameter "{given}"')
    return [entry for entry in entries if entry.moment >= given]


def _buffers(given: str) -> tuple[str, ...]:
    """Those of ``-b``, several parted by commas; what a phone has more of is empty here."""
    names = tuple(given.split(","))
    if {"all", "default"} & set(names):
        return get_args(Buffer)
    for name in names:
        if name not in BUFFERS:
            raise CommandError(f"Unknown -b buffer '{name}'")
    return names


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
