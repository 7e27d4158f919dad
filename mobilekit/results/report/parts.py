"""What a report's sections are made of, and how they name what ran where."""

from __future__ import annotations

from msgspec import Struct

from mobilekit.analysis.repeats import Arrangement
from mobilekit.records.statistics import Origin
from mobilekit.results.tables.cells import CellOrigin, Table


class Chart(Struct, frozen=True):
    """What the page's script draws, from the document in the page."""

    kind: str
    """The name of a function there."""
    argument: str = ""


class Part(Struct, frozen=True):
    title: str
    table: Table
    chart: Chart | None = None
    notes: tuple[str, ...] = ()
    is_open: bool | None = None
    """Whether it is unfolded at first; ``None``: it cannot be folded."""


class Section(Struct, frozen=True):
    id: str
    title: str
    notes: tuple[str, ...]
    parts: tuple[Part, ...]


def arrangement_text(arrangement: Arrangement) -> str:
    """As what a network ran: ``.pte fp32, xnnpack, 4 threads, fast``."""
    threads = arrangement.threads
    words = [f".{arrangement.format} {arrangement.precision}", arrangement.backend]
    if threads is not None:
        words.append(f"{threads} thread{'' if threads == 1 else 's'}")
    if arrangement.preset != "default":
        words.append(arrangement.preset)
    return ", ".join(words)


def device_text(arrangement: Arrangement) -> str:
    return f"{arrangement.device} (virtual)" if arrangement.virtual else arrangement.device


def time_origin(origin: Origin, arrangement: Arrangement) -> CellOrigin:
    """Of what was measured, whether it was on the computer that was a virtual phone."""
    return "virtual" if origin == "measured" and arrangement.virtual else origin
