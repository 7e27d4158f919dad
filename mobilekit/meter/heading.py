"""What stands above a table's numbers, and beside them: names, units, the time between samples.

Oscilloscopes write lines of a label and its values. A value belongs to the column below it, or to
the one trace that there is; the label of a pair stands over the time of its trace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from mobilekit.meter.quantities import OTHER, Unit, read_unit

Fields = Sequence[str]

INTERVALS = {
    "sample interval",
    "sample period",
    "sampling interval",
    "sampling period",
    "time increment",
    "increment",
    "tinc",
}
RATES = {"sample rate", "sampling rate", "samplerate"}
COUNTS = {"sequence", "sample", "samples", "index", "points", "count", "counts"}
"""In a line of units, over the number of a sample."""
_UNIT_IN_NAME = re.compile(
    r"^(.+?)(?:\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]|\s*/\s*(\w+)|\s+-\s+(\S+)|_([^\W_]+))$"
)
_CHANNEL_WITH_UNIT = re.compile(r"^(CH\d+)([A-Za-z]{1,2})$")
_SMALL_UNIT = re.compile(r"[vaw]")
_QUANTITY_IN_NAME = re.compile(r"volt|curr|amp|pow|watt|supply", re.IGNORECASE)
_LABELLED = re.compile(r"^([A-Za-z][\w ]*?)\s*[:=]\s*(.+)$")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_RATE = re.compile(rf"({_NUMBER.pattern})\s*([kMG]?)(?:Sa/s|S/s|Hz)?")
_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_CHANNEL_NUMBER = re.compile(r"\d{1,2}")


class Column(NamedTuple):
    """A column's name as the file has it, without its unit."""

    title: str
    """With its unit, as it stands in the file; its number where it has no name."""
    name: str
    unit: Unit | None
    """``None`` where no known one is given."""
    unit_is_above: bool = False
    """Whether the unit is from a line of the preamble, which is of the trace's axis."""
    is_empty: bool = False
    """Whether nothing stands in it, but for what is written beside the data."""


class Heading(NamedTuple):
    columns: tuple[Column, ...]
    has_names: bool
    interval_s: float | None
    """From sample to sample, as the file says in words; ``None`` where it does not."""


def read_heading(above: Sequence[Fields], rows: Sequence[Fields], width: int) -> Heading:
    """Of a table of so many columns, from the fields of the lines above it and of its first rows.

    Words beside the numbers, in columns that are empty further down, are lines of a preamble too.
    """
    lines = [line for line in map(_trimmed, above) if line]
    empty = [_is_beside(rows, index) for index in range(width)]
    beside = [
        line
        for row in rows
        if (line := [row[index] for index in range(min(width, len(row))) if empty[index]])
        and any(line)
    ]
    units = lines.pop() if lines and _are_units(lines[-1], width) else None
    names = lines.pop() if lines and _are_names(lines[-1], units, width) else []
    facts = list(_facts(lines)) + list(_facts(beside))
    facts += [pair for field in names if (pair := _labelled(field))]
    if units is not None:
        # Rigol writes the time between samples there, below its name.
        facts += [
            (name, [unit])
            for name, unit in zip(names, units, strict=False)
            if _NUMBER.fullmatch(unit)
        ]
    told = _told_units(lines, beside, [index for index in range(width) if not empty[index]])
    columns = []
    for index in range(width):
        title = names[index] if index < len(names) else ""
        name, own = _split_title(title)
        over = units[index].strip("()[] ") if units is not None and index < len(units) else ""
        below = read_unit(over)
        number = over if over.lower() in COUNTS else str(index + 1)
        columns.append(
            Column(
                title=title or number,
                name=(title if below else name) or number,
                unit=below or own or told.get(index),
                unit_is_above=not (below or own) and index in told,
                is_empty=empty[index],
            )
        )
    return Heading(tuple(columns), bool(names or units), _interval_s(facts))


def is_text(field: str) -> bool:
    """Whether it is neither empty nor a number with a point."""
    return bool(field) and not _NUMBER.fullmatch(field)


def _trimmed(fields: Fields) -> list[str]:
    """Without empty fields at the end."""
    kept = list(fields)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _is_beside(rows: Sequence[Fields], index: int) -> bool:
    """Whether a column is empty but for words in fewer than half of its rows."""
    filled = [row[index] for row in rows if index < len(row) and row[index]]
    return 2 * len(filled) < len(rows) and (not filled or any(map(is_text, filled)))


def _are_units(fields: Fields, width: int) -> bool:
    """Units or words for a count over each column that has any, and numbers only behind them."""
    cells = [field.strip("()[] ") for field in fields]
    words = [cell for cell in cells if is_text(cell)]
    numbers = [place for place, cell in enumerate(cells) if _NUMBER.fullmatch(cell)]
    if len(words) < min(2, width) or any(place < len(words) for place in numbers):
        return False
    found = [read_unit(word) for word in words if word.lower() not in COUNTS]
    known = [unit for unit in found if unit is not None]
    # ``t`` is a ton, and the name of a time.
    is_name = any(len(word) == 1 and read_unit(word) == OTHER for word in words)
    return len(known) == len(found) and not is_name and any(unit != OTHER for unit in known)


def _are_names(fields: Fields, units: Fields | None, width: int) -> bool:
    if units is not None:
        # A channel may be named by its number, a label's value is none.
        rest = [cell for cell in fields[1:] if not _CHANNEL_NUMBER.fullmatch(cell)]
        return (
            is_text(fields[0])
            and abs(len(fields) - len(units)) <= 1
            and not any(_NUMBER.fullmatch(cell) for cell in rest)
        )
    own = [cell for cell in fields if _labelled(cell) is None]
    few = len(own) == 1 and width > 1
    return (
        bool(own)
        and not few
        and len(own) <= width
        and all(not cell or is_text(cell) for cell in own)
    )


def _facts(lines: Iterable[Fields]) -> Iterator[tuple[str, list[str]]]:
    """Each label with what follows it; one line can have the same label for several traces."""
    for line in lines:
        for field in line:
            if pair := _labelled(field):
                yield pair
        for place, field in enumerate(line):
            if is_text(field):
                yield field, list(line[place + 1 :])


def _labelled(field: str) -> tuple[str, list[str]] | None:
    """Of a label and its value in one field."""
    match = _LABELLED.match(field)
    return (match[1], match[2].split()) if match else None


def _interval_s(facts: Iterable[tuple[str, list[str]]]) -> float | None:
    """The one time between samples that is told."""
    found = set()
    for label, values in facts:
        label = label.strip(" :").lower()
        first = values[0].strip() if values else ""
        if label in INTERVALS and _NUMBER.fullmatch(first):
            unit = read_unit(values[1]) if len(values) > 1 else None
            size = unit.size if unit is not None and unit.quantity == "time" else 1.0
            found.add(float(first) * size)
        elif label in RATES and (match := _RATE.fullmatch(" ".join(values[:2]).strip() or "-")):
            rate_hz = float(match[1]) * _PREFIXES[match[2]]
            found.add(1 / rate_hz if rate_hz else 0.0)
    longest = max(found, default=0.0)
    alike = longest > 0 and min(found) > 0.99 * longest
    return longest if alike and longest < float("inf") else None


def _told_units(
    lines: Iterable[Fields], beside: Iterable[Fields], filled: Sequence[int]
) -> dict[int, Unit]:
    """By column, what lines of a preamble say of the axes."""
    units: dict[int, Unit] = {}
    for line in lines:
        across, up = (
            [place for place, field in enumerate(line) if field.strip(" :").lower() == label]
            for label in ("horizontal units", "vertical units")
        )
        for place in across:
            _add_unit(units, place if len(filled) != 1 else -1, line, place + 1)
        for place, end in pairwise([*up, len(line)]):
            for below in range(place + 1, end):
                _add_unit(units, below if len(filled) != 1 else filled[0], line, below)
    if len(filled) == 2:
        for line in beside:
            label = line[0].strip(" :").lower()
            if label in ("horizontal units", "vertical units"):
                _add_unit(units, filled[label == "vertical units"], line, 1)
    return units


def _add_unit(units: dict[int, Unit], column: int, line: Fields, place: int) -> None:
    unit = read_unit(line[place]) if place < len(line) else None
    if unit is not None:
        units.setdefault(column, unit)


def _split_title(title: str) -> tuple[str, Unit | None]:
    """A name and the unit in it: ``P (mW)``, ``I/uA``, ``current_mA``, ``CH1V``."""
    match = _UNIT_IN_NAME.match(title)
    if match is not None:
        name = match[1].strip()
        text = next(group for group in match.groups()[1:] if group is not None)
        is_loose = match[5] is not None and _SMALL_UNIT.fullmatch(text)
        if not is_loose or _QUANTITY_IN_NAME.search(name):
            unit = read_unit(text)
            if unit is not None:
                return name, unit
        # A remark in brackets is no part of the name.
        return (name, None) if match[2] is not None else (title, None)
    match = _CHANNEL_WITH_UNIT.match(title)
    unit = read_unit(match[2]) if match else None
    return (match[1], unit) if match and unit else (title, None)
