"""How a text table is laid out: found from its beginning, told where it cannot be.

Meters and oscilloscopes write a preamble of any length, with or without a header and a line of
units, with a point or a comma in numbers, and some begin with a byte order mark.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from functools import cache
from typing import NamedTuple

from mobilekit.errors import MeterFileError
from mobilekit.meter.clock_times import is_clock
from mobilekit.meter.heading import Column, is_text, read_heading

MISSING = ("", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "#N/A", "null", "NULL", "-", "--", "---")
DELIMITERS = (",", ";", "\t", " ")
DELIMITER_NAMES = {"tab": "\t", "space": " "}
HEAD_LINES = 400
FOLLOWING = 10
"""How many lines tell whether data begin."""


class Layout(NamedTuple):
    encoding: str
    delimiter: str
    decimal: str
    columns: tuple[Column, ...]
    """In the order of the file."""
    has_header: bool
    interval_s: float | None
    """From sample to sample, as the file says in words; ``None`` where it does not."""
    first_line: int
    """Of the data, from 1."""
    head: tuple[tuple[str, ...], ...]
    """The fields of the first lines of data."""


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
    return _number(decimal).fullmatch(text) is not None


@cache
def _number(decimal: str) -> re.Pattern[str]:
    point = re.escape(decimal)
    return re.compile(rf"[+-]?(?:\d+(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?")


def is_infinite(text: str) -> bool:
    return text.lower().lstrip("+-") in ("inf", "infinity")


def is_value(text: str, decimal: str) -> bool:
    """A number, a missing one or an infinite one."""
    return is_number(text, decimal) or text in MISSING or is_infinite(text)


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
        for table in (_split_lines(lines, one),)
        for point in ((decimal,) if decimal else (".", ","))
        if one != point and (rows := _find_rows(table, point)) is not None
    ]
    if not candidates:
        raise MeterFileError(
            "No table of numbers is found in the beginning of the file",
            path=path,
            fix="Give --delimiter and --decimal, or check that the file is a meter's export.",
        )
    rows, one, point = max(candidates, key=lambda found: (found[0].full, found[0].width))
    above = [split_line(line.lstrip("#% "), one) for line in lines[: rows.first] if line.strip()]
    data = [split_line(line, one) for line in lines[rows.first :] if line.strip()][:HEAD_LINES]
    heading = read_heading(above, data, rows.width)
    filled = sum(not column.is_empty for column in heading.columns)
    _refuse_ambiguous_comma(above, one, filled, path)
    return Layout(
        encoding=encoding,
        delimiter=one,
        decimal=point,
        columns=heading.columns,
        has_header=heading.has_names,
        interval_s=heading.interval_s,
        first_line=rows.first + 1,
        head=tuple(tuple(fields) for fields in data),
    )


class _Rows(NamedTuple):
    first: int
    """Index of the first line."""
    width: int
    full: int
    """How many lines are numbers throughout."""


def _split_lines(lines: list[str], delimiter: str) -> dict[int, list[str]]:
    """The fields of the lines that are not blank, by the lines' indices."""
    return {
        number: split_line(line, delimiter) for number, line in enumerate(lines) if line.strip()
    }


def _find_rows(table: dict[int, list[str]], decimal: str) -> _Rows | None:
    """Where rows of numbers begin: at the first that is followed by mostly rows of the usual width.

    Where fewer than half of the lines are numbers throughout, a row may have other fields too.
    """
    full, part = {}, {}
    fits = _number(decimal).fullmatch
    for number, fields in table.items():
        numbers = [fits(field) is not None for field in fields]
        if not any(numbers):
            continue
        width = len(fields) - (len(fields) > 1 and not fields[-1])
        values = sum(
            known or _is_cell(field, decimal)
            for field, known in zip(fields[:width], numbers, strict=False)
        )
        if values == width:
            full[number] = width
        if 2 * values >= width:
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
            first = _with_words_beside(table, number, rows, width, decimal)
            return _Rows(first, width, len(full))
    return None


def _with_words_beside(
    table: dict[int, list[str]], first: int, rows: dict[int, int], width: int, decimal: str
) -> int:
    """Where the rows begin when words may stand in columns that hold nothing further down."""
    below = [table[number] for number in rows if number >= first and len(table[number]) >= width]
    empty = [index for index in range(width) if not any(fields[index] for fields in below)]
    if not empty:
        return first
    for number in sorted((other for other in table if other < first), reverse=True):
        fields = table[number]
        is_row = len(fields) in (width, width + 1) and all(
            is_number(fields[index], decimal) for index in range(width) if index not in empty
        )
        if not is_row:
            break
        first = number
    return first


def _is_cell(field: str, decimal: str) -> bool:
    return is_value(field, decimal) or is_clock(field)


def _refuse_ambiguous_comma(
    above: list[list[str]], delimiter: str, filled: int, path: object
) -> None:
    names = [field for field in above[-1] if field] if above else []
    if (
        delimiter == ","
        and 1 < len(names) < filled <= 2 * len(names)
        and all(is_text(name) for name in names)
    ):
        raise MeterFileError(
            f"The header has {len(names)} names, but a line of data {filled} fields",
            path=path,
            header=",".join(above[-1]),
            fix="A decimal comma in a table that commas divide cannot be told from the others: "
            "export it with another delimiter. --delimiter and --decimal say which they are.",
        )
