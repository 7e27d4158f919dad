"""What a person says of a meter's file, the beginning of its table, and where its parts are."""

from __future__ import annotations

from typing import Literal, NamedTuple

from mobilekit.errors import MeterFileError
from mobilekit.meter.layout import Layout, is_number, is_value
from mobilekit.meter.quantities import Quantity
from mobilekit.records.energy import Plane
from mobilekit.records.meter import MeterSource, ReadingKind

Format = Literal["monsoon", "ppk2", "joulescope", "csv"]


class FileOptions(NamedTuple):
    """What a person says of a meter's file; ``None`` where it is to be found."""

    format: Format | None = None
    shunt_ohm: float | None = None
    supply_volt: float | None = None
    time_column: str | None = None
    time_unit: str | None = None
    value_column: str | None = None
    value_unit: str | None = None
    voltage_column: str | None = None
    voltage_unit: str | None = None
    load_channel: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    plane: Plane | None = None


class Scaled(NamedTuple):
    """A column, and what one of its unit is in SI units."""

    column: int
    scale: float


class TimeColumn(NamedTuple):
    column: int
    """-1 for the number of the row."""
    scale: float
    """The seconds of one of its unit."""
    is_clock: bool = False
    """Whether it holds times of a clock or a calendar in place of numbers."""


class Marker(NamedTuple):
    """A digital channel: a column of its own, or one character of a column of eight."""

    column: int
    character: int | None


class Columns(NamedTuple):
    """Where everything is."""

    format: Format
    source: MeterSource
    time: TimeColumn
    kind: ReadingKind
    value: Scaled
    voltage: Scaled | None
    voltage_is_sure: bool
    """Whether a person named its column, or the reading's name does."""
    marker: Marker | None
    reading: str
    on_usb: bool | None
    """Which plane the column is on, where the format tells."""
    notes: tuple[str, ...]


class MeterTable(NamedTuple):
    """The beginning of a file, for what is to be told from it."""

    layout: Layout
    path: object

    def error(self, what: str, fix: str) -> MeterFileError:
        titles = ", ".join(column.title for column in self.layout.columns if not column.is_empty)
        return MeterFileError(what, path=self.path, columns=titles, fix=fix)

    def named(self, name: str) -> int:
        """By its name, with its unit or without, or by its number from 1."""
        columns = self.layout.columns
        for fold in (str, str.lower):
            alike = [
                number
                for number, column in enumerate(columns)
                if fold(name) in (fold(column.title), fold(column.name))
            ]
            if len(alike) == 1:
                return alike[0]
        if name.isdecimal() and 1 <= int(name) <= len(columns):
            return int(name) - 1
        raise self.error(f"There is no one column {name!r}", "Name one of them, or its number.")

    def of_quantity(self, quantity: Quantity) -> list[int]:
        return [
            number
            for number, column in enumerate(self.layout.columns)
            if column.unit is not None and column.unit.quantity == quantity and not column.is_empty
        ]

    def fields(self, index: int) -> list[str]:
        """Of the first rows."""
        return [row[index] if index < len(row) else "" for row in self.layout.head]

    def numbers(self, index: int) -> list[str]:
        """Of the first rows, those that are numbers, with a point."""
        decimal = self.layout.decimal
        return [
            text.replace(decimal, ".") for text in self.fields(index) if is_number(text, decimal)
        ]

    def refuse_words(self, index: int) -> None:
        """Dates and words are seen at once, before a long file is read."""
        fields = self.fields(index)
        wrong = [one for one in fields if not is_value(one, self.layout.decimal)]
        if len(wrong) > len(fields) / 2:
            raise self.error(
                f"Column {self.layout.columns[index].title!r} has no numbers, but {wrong[0]!r}",
                "Readings must be numbers, and times numbers, times of day or dates with the year "
                "first; name other columns, or --decimal.",
            )
