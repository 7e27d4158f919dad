"""What a cell says to people: the only place where a value, its unit and its interval are put
together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mobilekit.plain import plain
from mobilekit.records.statistics import Interval
from mobilekit.results.tables.cells import (
    Absent,
    Cell,
    CellOrigin,
    Number,
    Row,
    Scale,
    Table,
    Unit,
    common_scale,
)
from mobilekit.units import (
    format_bytes,
    format_count,
    format_duration,
    format_energy,
    format_macs,
    format_power,
    format_significant,
)

_FORMATS: dict[Unit, Callable[[float], str]] = {
    "ns": format_duration,
    "bytes": format_bytes,
    "MB": lambda value: f"{value:g} MB" if value >= 100 else f"{value:.3g} MB",
    "J": format_energy,
    "W": format_power,
    "inferences": format_count,
    "ratio": format_significant,
    "share": lambda value: f"{value:.1%}",
    "count": lambda value: f"{value:,.0f}",
    "MACs": format_macs,
    "MACs/s": lambda value: f"{format_macs(value)}/s",
    "MACs/byte": lambda value: f"{value:.2f}",
}
IN_DOUBT = "?"
"""After a number that may not be what its column says."""
_SAYS_NOTHING: set[CellOrigin] = {"measured", "virtual", "published"}
"""Of a device that is there, and what its heading says already."""


def quantity_text(value: float, unit: Unit, interval: Interval | None = None) -> str:
    """``13.0 ms [12.9 ms, 13.1 ms]``, for a sentence."""
    return number_text(Number(value, unit, interval))


def number_text(number: Number, scale: Scale | None = None) -> str:
    """The number with its unit and interval, as a column of this scale shows it."""
    if number.is_bound:
        # It may be far below what the column's scale can show.
        text = f"< {_formatted(number.value, number, None)}"
    else:
        text = _formatted(number.value, number, scale)
    if number.in_doubt:
        text += IN_DOUBT
    if number.interval is not None:
        low = _formatted(number.interval.low, number, scale)
        high = _formatted(number.interval.high, number, scale)
        text = f"{text} [{low}, {high}]"
    return f"{text} ({number.note})" if number.note else text


def p50_note(far_p50_ratio: float | None) -> str:
    """Of an energy that is of another inference than the p50 beside it."""
    return "" if far_p50_ratio is None else f"at {far_p50_ratio:.2f} x the p50"


def table_texts(table: Table) -> list[list[str]]:
    """Each row's cells as text; a row's origin stands in its first."""
    cells = zip(*(row.cells for row in table.rows), strict=True) if table.rows else ()
    scales = [
        common_scale(column, each) for column, each in zip(table.columns, cells, strict=False)
    ]
    return [_row_texts(row, scales) for row in table.rows]


def _row_texts(row: Row, scales: Sequence[Scale | None]) -> list[str]:
    first, *rest = (
        _cell_text(cell, row, scale) for cell, scale in zip(row.cells, scales, strict=True)
    )
    return [first if row.origin == "measured" else f"{first}, {row.origin}", *rest]


def _cell_text(cell: Cell, row: Row, scale: Scale | None) -> str:
    if isinstance(cell, str):
        return plain(cell)
    if isinstance(cell, Absent):
        return plain(cell.why)
    text = number_text(cell, scale)
    is_said = cell.origin == row.origin or cell.origin in _SAYS_NOTHING
    return text if is_said else f"{text} ({cell.origin})"


def _formatted(value: float, number: Number, scale: Scale | None) -> str:
    sign = "+" if number.signed and value >= 0 else ""
    if scale is not None:
        scaled = value / scale.size
        decimals = scale.decimals
        text = format_significant(scaled) if decimals is None else f"{scaled:.{decimals}f}"
        return f"{sign}{text}{scale.suffix}"
    if number.unit == "ns":
        # An interval is in the unit of its value.
        return sign + format_duration(value, like_ns=number.value)
    return sign + _FORMATS[number.unit](value)
