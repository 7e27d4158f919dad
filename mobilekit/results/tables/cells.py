"""Tables of typed cells: what a number is of stays known until a table is rendered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Union

from msgspec import Struct

from mobilekit.records.statistics import Interval, Origin

Unit = Literal[
    "ns",
    "bytes",
    "MB",
    "J",
    "W",
    "inferences",
    "ratio",
    "share",
    "count",
    "MACs",
    "MACs/s",
    "MACs/byte",
]
"""What a value is in; ``MB`` as others print it, without saying how many bytes it is of; a
``count`` is exact, ``inferences`` are estimated."""
CellOrigin = Literal[Origin, "virtual", "published"]
"""``virtual``: measured, but on the computer that was the virtual phone."""


class Number(Struct, frozen=True):
    value: float
    unit: Unit
    interval: Interval | None = None
    origin: CellOrigin = "measured"
    signed: bool = False
    """Of a growth or a difference: shown with its sign."""
    is_bound: bool = False
    """Whether the value is only known to lie below ``value``."""
    in_doubt: bool = False
    """Whether it may not be what its column says; a line beside the table says why."""
    source: str = ""
    """Of a published one, whose it is."""
    note: str = ""
    """What stands in parentheses after it."""


class Absent(Struct, frozen=True):
    """Where there is no number."""

    why: str = "-"


Cell = Union[str, Number, Absent]
"""Text is a cell as it is."""


class Scale(Struct, frozen=True):
    """One unit and one number of decimals for a whole column."""

    suffix: str
    size: float
    """Of the suffix' unit, in the cells' own."""
    decimals: int | None = None
    """``None``: three significant digits."""


class Column(Struct, frozen=True):
    name: str
    holds: Literal["text", "numbers"] = "text"
    scale: Scale | Literal["common"] | None = None
    """``common``: one that fits most of its numbers; ``None``: each in the unit that fits it."""


class Row(Struct, frozen=True):
    cells: tuple[Cell, ...]
    origin: Origin = "measured"
    """What the row says of all its numbers; one of another origin says so itself."""


class Table(Struct, frozen=True):
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


_SIZES: dict[Unit, tuple[Scale, ...]] = {
    "ns": (Scale(" s", 1e9), Scale(" ms", 1e6), Scale(" us", 1e3)),
    "bytes": (Scale(" GiB", 2.0**30), Scale(" MiB", 2.0**20), Scale(" KiB", 2.0**10)),
    "J": (Scale(" kJ", 1e3), Scale(" J", 1.0), Scale(" mJ", 1e-3), Scale(" uJ", 1e-6)),
    "MACs": (Scale(" M", 1e6), Scale(" k", 1e3), Scale("", 1.0)),
}
"""The largest first."""


def common_scale(column: Column, cells: Iterable[Cell]) -> Scale | None:
    """How all numbers of a column are shown: where it is to have one unit, the median's."""
    if column.scale != "common":
        return column.scale
    numbers = [cell for cell in cells if isinstance(cell, Number)]
    units = {number.unit for number in numbers}
    sizes = _SIZES.get(units.pop(), ()) if len(units) == 1 else ()
    if not sizes:
        return None
    median = sorted(abs(number.value) for number in numbers)[len(numbers) // 2]
    return next((scale for scale in sizes if median >= scale.size), sizes[-1])


def make_table(columns: Iterable[Column | str], rows: Iterable[Sequence[Cell] | Row]) -> Table:
    """A name alone is a column of text; cells alone are a row of what was measured.

    Raises ``ValueError`` for a row that is longer or shorter than the header.
    """
    heads = tuple(Column(each) if isinstance(each, str) else each for each in columns)
    lines = tuple(row if isinstance(row, Row) else Row(tuple(row)) for row in rows)
    if any(len(row.cells) != len(heads) for row in lines):
        raise ValueError(f"not every row has {len(heads)} cells")
    return Table(heads, lines)


def number_or_absent(
    value: float | None, unit: Unit, origin: CellOrigin = "measured"
) -> Number | Absent:
    return Absent() if value is None else Number(value, unit, origin=origin)
