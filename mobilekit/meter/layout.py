"""How a text table is laid out: found from its beginning, told where it cannot be.

Meters and oscilloscopes write a preamble of any length, with or without a header and a line of
units, with a point or a comma in numbers, and some begin with a byte order mark.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from typing import NamedTuple

from mobilekit.errors import MeterFileError

MISSING = ("", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "#N/A", "null", "NULL", "-", "--", "---")
DELIMITERS = (",", ";", "\t", " ")
DELIMITER_NAMES = {"tab": "\t", "space": " "}
HEAD_LINES = 400
FOLLOWING = 10
"""How many lines tell whether data begin."""
UNITS = {
    "s": ("time", 1.0),
    "sec": ("time", 1.0),
    "seconds": ("time", 1.0),
    "ms": ("time", 1e-3),
    "us": ("time", 1e-6),
    "ns": ("time", 1e-9),
    "v": ("voltage", 1.0),
    "volt": ("voltage", 1.0),
    "volts": ("voltage", 1.0),
    "mv": ("voltage", 1e-3),
    "uv": ("voltage", 1e-6),
    "a": ("current", 1.0),
    "amp": ("current", 1.0),
    "amps": ("current", 1.0),
    "ma": ("current", 1e-3),
    "ua": ("current", 1e-6),
    "na": ("current", 1e-9),
    "w": ("power", 1.0),
    "watt": ("power", 1.0),
    "mw": ("power", 1e-3),
    "uw": ("power", 1e-6),
}
_UNIT_IN_NAME = re.compile(r"^(.*?)(?:\s*[(\[]\s*([^()\[\]]+?)\s*[)\]]|\s*/\s*(\w+)|_(\w+))\s*$")
_MICRO = str.maketrans({"\u00b5": "u", "\u03bc": "u"})


class Column(NamedTuple):
    """A column's name as the file has it, without its unit."""

    title: str
    """With its unit, as it stands in the file."""
    name: str
    unit: str | None
    """Lower case, micro as ``u``; ``None`` for one that is not known."""


class Layout(NamedTuple):
    encoding: str
    delimiter: str
    decimal: str
    columns: tuple[Column, ...]
    """In the order of the file; named ``1``, ``2`` ... where it has no header."""
    has_header: bool
    first_line: int
    """Of the data, from 1."""
    head: tuple[tuple[str, ...], ...]
    """The fields of the first lines of data."""


def known_unit(text: str | None) -> str | None:
    """The unit in the spelling of ``UNITS``; ``None`` for one that is not there."""
    unit = (text or "").strip().translate(_MICRO).lower()
    return unit if unit in UNITS else None


def encoding_of(head: bytes) -> str:
    """By its byte order mark; Latin-1 for what is not UTF-8."""
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        # The head may end within a character.
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def split_line(line: str, delimiter: str) -> list[str]:
    """The fields of a line, without quotes and spaces; a delimiter at its end adds an empty one."""
    if delimiter == " ":
        return line.split()
    try:
        fields = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return [line]
    return [field.strip() for field in fields]


def is_number(text: str, decimal: str) -> bool:
    """Whether it is a number with that decimal sign, in the spelling of meters."""
    point = re.escape(decimal)
    return bool(re.fullmatch(rf"[+-]?(?:\d+(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?", text))


def is_infinite(text: str) -> bool:
    return text.lower().lstrip("+-") in ("inf", "infinity")


def is_value(text: str, decimal: str) -> bool:
    """A number, a missing one or an infinite one."""
    return text in MISSING or is_infinite(text) or is_number(text, decimal)


def find_layout(head: bytes, *, path: object, delimiter: str | None, decimal: str | None) -> Layout:
    """The layout of a table that begins with ``head``, whose last line may be cut off.

    What is not told is what makes the most lines into rows of numbers, then the most columns.
    Raises ``MeterFileError`` where there are none.
    """
    delimiter = DELIMITER_NAMES.get(delimiter or "", delimiter)
    if delimiter is not None and not re.fullmatch(r"[^\w\n\r\".+-]", delimiter):
        raise MeterFileError(
            f"{delimiter!r} cannot divide columns", path=path, fix="Give a sign, tab or space."
        )
    if decimal not in (None, ".", ","):
        raise MeterFileError(
            f"{decimal!r} is not a decimal sign", path=path, fix="Give a point or a comma."
        )
    encoding = encoding_of(head)
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    lines = [line.rstrip("\r") for line in decoder.decode(head).split("\n")[:-1]]
    candidates = [
        (rows, one, point)
        for one in ((delimiter,) if delimiter else DELIMITERS)
        for point in ((decimal,) if decimal else (".", ","))
        if one != point and (rows := _find_rows(lines, one, point)) is not None
    ]
    if not candidates:
        raise MeterFileError(
            "No table of numbers is found in the beginning of the file",
            path=path,
            fix="Give --delimiter and --decimal, or check that the file is a meter's export.",
        )
    rows, one, point = max(candidates, key=lambda found: (found[0].full, found[0].width))
    columns = _read_header(lines[: rows.first], one, point, rows.width, path)
    return Layout(
        encoding=encoding,
        delimiter=one,
        decimal=point,
        columns=columns or tuple(Column(str(n), str(n), None) for n in range(1, rows.width + 1)),
        has_header=bool(columns),
        first_line=rows.first + 1,
        head=tuple(
            tuple(split_line(line, one))
            for line in lines[rows.first :][:HEAD_LINES]
            if line.strip()
        ),
    )


class _Rows(NamedTuple):
    first: int
    """Index of the first line."""
    width: int
    full: int
    """How many lines are numbers throughout."""


def _find_rows(lines: list[str], delimiter: str, decimal: str) -> _Rows | None:
    """Where rows of numbers begin: at the first that is followed by mostly rows of the usual width.

    Where fewer than half of the lines are numbers throughout, a row may have other fields too.
    """
    table = {
        number: split_line(line, delimiter) for number, line in enumerate(lines) if line.strip()
    }
    full, part = {}, {}
    for number, fields in table.items():
        width = len(fields) - (len(fields) > 1 and not fields[-1])
        values = sum(is_value(field, decimal) for field in fields[:width])
        numbers = sum(is_number(field, decimal) for field in fields)
        if numbers and values == width:
            full[number] = width
        if numbers and 2 * values >= width:
            part[number] = width
    rows = full if 2 * len(full) >= len(table) else part
    if not rows:
        return None
    width = Counter(rows.values()).most_common(1)[0][0]
    for number in rows:
        following = [other for other in range(number, number + FOLLOWING) if other in table]
        fitting = [other for other in following if abs(rows.get(other, -1) - width) <= 1]
        # The last field of the first row may be missing.
        begins = width in (rows[number], len(table[number]))
        if begins and len(fitting) >= 0.8 * len(following):
            return _Rows(number, width, len(full))
    return None


def _read_header(
    lines: list[str], delimiter: str, decimal: str, width: int, path: object
) -> tuple[Column, ...]:
    """The names in the line before the data, and units there or in a line of their own."""
    above = [split_line(line.lstrip("#% "), delimiter) for line in lines if line.strip()]
    above = [fields[:-1] if len(fields) > 1 and not fields[-1] else fields for fields in above]
    units: list[str | None] = [None] * width
    if above and len(above[-1]) <= width:
        found = [known_unit(field.strip("()[] ")) for field in above[-1]]
        if above[-1] and all(found) and len(above) > 1:
            units = found + [None] * (width - len(found))
            above.pop()
    if not above or any(is_number(field, decimal) for field in above[-1]):
        return ()
    names = above[-1]
    if 1 < len(names) < width <= 2 * len(names) and delimiter == ",":
        raise MeterFileError(
            f"The header has {len(names)} names, but a line of data {width} fields",
            path=path,
            header=lines[-1].strip(),
            fix="A decimal comma in a table that commas divide cannot be told from the others: "
            "export it with another delimiter. --delimiter and --decimal say which they are.",
        )
    if len(names) > width or len(names) == 1:
        return ()
    names = names + [""] * (width - len(names))
    return tuple(
        _column(title or str(number), unit)
        for number, (title, unit) in enumerate(zip(names, units, strict=True), start=1)
    )


def _column(title: str, unit: str | None) -> Column:
    match = _UNIT_IN_NAME.match(title)
    if unit is None and match:
        unit = known_unit(next(group for group in match.groups()[1:] if group is not None))
        if unit is not None:
            return Column(title, match.group(1).strip(), unit)
    return Column(title, title, unit)
