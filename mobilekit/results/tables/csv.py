"""Tables as CSV, for programs: numbers in full, each with all that is known of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from mobilekit.results.tables.cells import Cell, Column, Number, Table

PARTS = ("unit", "origin", "value", "low", "high")
"""The columns that a column of numbers becomes; its name stands before them where a table has
several. A bound has a ``high`` alone."""


def render_csv(table: Table) -> str:
    """A line a row under a header; what is absent is empty."""
    several = sum(column.holds == "numbers" for column in table.columns) > 1
    header = [name for column in table.columns for name in _names(column, several=several)]
    return csv_text(
        header,
        (
            [
                field
                for column, cell in zip(table.columns, row.cells, strict=True)
                for field in _fields(column, cell)
            ]
            for row in table.rows
        ),
    )


def csv_text(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return text.getvalue()


def _names(column: Column, *, several: bool) -> list[str]:
    if column.holds == "text":
        return [column.name]
    return [f"{column.name} {part}" if several else part for part in PARTS]


def _fields(column: Column, cell: Cell) -> list[object]:
    if column.holds == "text":
        assert isinstance(cell, str)
        return [cell]
    if not isinstance(cell, Number):
        return [""] * len(PARTS)
    unit = "" if cell.unit == "ratio" else cell.unit
    origin = cell.source or cell.origin
    if cell.is_bound:
        return [unit, origin, "", "", cell.value]
    low, high = (cell.interval.low, cell.interval.high) if cell.interval else ("", "")
    return [unit, origin, cell.value, low, high]
