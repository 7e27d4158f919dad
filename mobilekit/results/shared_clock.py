"""The clock that leases of phones and signs of life are on: one for all hosts of a store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from mobilekit.results.database import Database

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
ENDING = "clock"


def clock_s(database: Database) -> sa.ColumnElement[float]:
    """Seconds since 1970: by the database server's clock, or for a file by one of this computer
    that nobody sets. An expression, so that it takes no question of its own; it is read when its
    statement is."""
    if database.is_postgres:
        return sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), sa.Float(53))
    return sa.bindparam(None, callable_=_steady_clock(database.file), type_=sa.Float(53))


@cache
def _steady_clock(database: Path | None) -> Callable[[], float]:
    """The same for all processes that have this file open, until the computer starts anew: the
    time since it started, and when that was by the clock that people set, as it was first read.

    A file beside the database keeps that for them. Where the kernel does not count on, or tells its
    starts apart (Linux does both), it is the clock that people set.
    """
    if database is None or not hasattr(time, "CLOCK_BOOTTIME"):
        return time.time
    try:
        boot = BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return time.time
    path = database.with_name(f"{database.name}.{ENDING}")
    started_s = _read_start(path, boot)
    if started_s is None:
        started_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        aside = path.with_name(f"{path.name}.{os.getpid()}.part")
        # Whose database cannot be written has nothing to keep in step.
        with suppress(OSError):
            aside.write_text(f"{boot} {started_s!r}\n", encoding="ascii")
            aside.replace(path)
    since_s = started_s
    return lambda: since_s + time.clock_gettime(time.CLOCK_BOOTTIME)


def _read_start(path: Path, boot: str) -> float | None:
    """``None`` where it is not known of this start of the computer."""
    try:
        told_boot, started = path.read_text(encoding="ascii").split()
        return float(started) if told_boot == boot else None
    except (OSError, ValueError):
        return None
