"""Which column of a meter's table is what: by format, by name and unit, or as told."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal, NamedTuple, cast

from mobilekit.errors import MeterFileError
from mobilekit.meter.envelope import ReadingKind
from mobilekit.meter.layout import UNITS, Column, Layout, is_number, is_value, known_unit
from mobilekit.meter.records import MeterSource
from mobilekit.records.energy import Plane

Format = Literal["monsoon", "ppk2", "joulescope", "csv"]
ROW = "row"
"""In place of a column of times: the number of the row."""
TIME_NAMES = {"t", "x", "time", "timestamp", "timestamps", "zeit", "elapsed", "seconds"}
SI_NAMES = {"time": "seconds", "voltage": "volts", "current": "amperes", "power": "watts"}
Quantity = Literal["voltage", "current", "power"]
MONSOON_MIN_PERIOD_S = 2e-5
"""A tenth of the 0.2 ms at which a Monsoon samples; faster means that its unit is wrong."""


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


class Marker(NamedTuple):
    """A digital channel: a column of its own, or one character of a column of eight."""

    column: int
    character: int | None


class Columns(NamedTuple):
    """Where everything is. ``time.column`` is -1 for the number of the row."""

    format: Format
    source: MeterSource
    time: Scaled
    kind: ReadingKind
    value: Scaled
    voltage: Scaled | None
    marker: Marker | None
    reading: str
    on_usb: bool | None
    """Which plane the column is on, where the format tells."""
    notes: tuple[str, ...]


def find_columns(layout: Layout, options: FileOptions, path: object) -> Columns:
    """Raises ``MeterFileError`` naming the columns that there are, where one cannot be told."""
    table = _Table(layout, path)
    found_format = options.format or _recognise(layout)
    notes: list[str] = []
    time = _find_time(table, options, notes)
    voltage = None
    if options.voltage_column is not None:
        index = table.named(options.voltage_column)
        voltage = Scaled(index, _scale(table, index, options.voltage_unit, "voltage", notes))
    named = _monsoon_channel(table, options) if found_format == "monsoon" else None
    if options.value_column is not None:
        index = table.named(options.value_column)
    elif named is not None:
        index = named
    else:
        index = _only_value(table, options, {time.column, voltage.column if voltage else -1})
    column = layout.columns[index]
    quantity = _quantity(table, index, options)
    value = Scaled(index, _scale(table, index, options.value_unit, quantity, notes))
    if quantity == "current" and voltage is None and options.supply_volt is None:
        voltage = _own_voltage(table, column)
    if quantity != "power" and voltage is None and options.supply_volt is None:
        raise table.error(
            f"A {quantity} alone is not a power: the supply's voltage is missing",
            "Give --supply-volt, or the column that has it with --voltage-column.",
        )
    if found_format == "monsoon" and time.scale == UNITS["ms"][1]:
        time = _monsoon_time(layout, time, notes)
    for scaled in (time, value, voltage):
        if scaled is not None and scaled.column >= 0:
            _check_numbers(table, scaled.column)
    kind: ReadingKind = "shunt voltage" if quantity == "voltage" else quantity
    source: MeterSource = "shunt" if kind == "shunt voltage" else "meter"
    if found_format in ("monsoon", "ppk2"):
        source = found_format
    return Columns(
        format=found_format,
        source=source,
        time=time,
        kind=kind,
        value=value,
        voltage=voltage,
        marker=_find_marker(table, options.load_channel),
        reading=f"{kind} from column {column.title!r}",
        on_usb=column.name.lower() == "usb" if found_format == "monsoon" else None,
        notes=tuple(notes),
    )


class _Table(NamedTuple):
    layout: Layout
    path: object

    def error(self, what: str, fix: str) -> MeterFileError:
        titles = ", ".join(column.title for column in self.layout.columns)
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

    def of_quantity(self, quantity: str) -> list[int]:
        return [
            number
            for number, column in enumerate(self.layout.columns)
            if column.unit is not None and UNITS[column.unit][0] == quantity
        ]


def _check_numbers(table: _Table, index: int) -> None:
    """Dates and words are seen at once, before a long file is read."""
    decimal = table.layout.decimal
    fields = [row[index] if index < len(row) else "" for row in table.layout.head]
    wrong = [one for one in fields if not is_value(one, decimal)]
    if len(wrong) > len(fields) / 2:
        raise table.error(
            f"Column {table.layout.columns[index].title!r} has no numbers, but {wrong[0]!r}",
            "Times and readings must be numbers; name other columns, or --decimal.",
        )


def _recognise(layout: Layout) -> Format:
    names = {(column.name.lower(), column.unit) for column in layout.columns}
    if {("timestamp", "ms"), ("current", "ua")} <= names:
        return "ppk2"
    if {("main", "ma"), ("usb", "ma"), ("aux", "ma")} & names:
        return "monsoon"
    return "csv"


def _find_time(table: _Table, options: FileOptions, notes: list[str]) -> Scaled:
    columns = table.layout.columns
    if options.time_column == ROW:
        if options.time_unit is None:
            raise table.error(
                "Row numbers are not times", "Give the seconds from row to row: --time-unit 2e-5."
            )
        return Scaled(-1, _time_scale(table, options.time_unit))
    if options.time_column is not None:
        index = table.named(options.time_column)
    else:
        likely = table.of_quantity("time") or [
            number for number, column in enumerate(columns) if column.name.lower() in TIME_NAMES
        ]
        if not table.layout.has_header:
            likely = [0]
            notes.append("there is no header: the first column is taken as the time")
        if len(likely) != 1:
            raise table.error(
                "It cannot be told which column is the time",
                "Give --time-column and --time-unit; `--time-column row` counts the rows.",
            )
        index = likely[0]
    if options.time_unit is not None:
        return Scaled(index, _time_scale(table, options.time_unit))
    if columns[index].unit is None and _counts_rows(table.layout, index):
        raise table.error(
            f"Column {columns[index].title!r} counts the samples and has no unit",
            "Give the seconds from sample to sample, --time-unit 2e-5, or --time-unit s.",
        )
    return Scaled(index, _scale(table, index, None, "time", notes))


def _counts_rows(layout: Layout, index: int) -> bool:
    """Whether it goes up by one from line to line, as a number of the sample does."""
    fields = [row[index] for row in layout.head if index < len(row)]
    if not all(field.isdecimal() for field in fields):
        return False
    return all(int(after) == int(before) + 1 for before, after in pairwise(fields))


def _time_scale(table: _Table, text: str) -> float:
    """A unit of time, or the seconds of one count, in seconds."""
    unit = known_unit(text)
    if unit is not None and UNITS[unit][0] == "time":
        return UNITS[unit][1]
    scale = float(text) if is_number(text, ".") else 0.0
    if not scale > 0:
        raise table.error(
            f"{text!r} is not a unit of time", "Give s, ms, us or ns, or the seconds of one count."
        )
    return scale


def _quantity(table: _Table, index: int, options: FileOptions) -> Quantity:
    """What the reading is, by its unit; with a shunt it is the voltage across it."""
    unit = options.value_unit or table.layout.columns[index].unit
    known = known_unit(unit)
    if unit is not None and (known is None or UNITS[known][0] == "time"):
        raise table.error(
            f"{unit!r} is not a unit of a reading", "Give V, mV, uV, A, mA, uA, W, mW or uW."
        )
    told = UNITS[known][0] if known else "voltage" if options.shunt_ohm is not None else None
    title = table.layout.columns[index].title
    if told is None:
        raise table.error(
            f"Nothing says what column {title!r} measures",
            "Give --value-unit, or --shunt-ohm if it is the voltage across a shunt.",
        )
    if (told == "voltage") != (options.shunt_ohm is not None):
        raise table.error(
            f"Column {title!r} is a {told}, "
            + ("and no voltage across a shunt" if options.shunt_ohm is not None else "not a power"),
            "--shunt-ohm goes with the voltage across that resistance, and only with it; "
            "--value-column names the column.",
        )
    return cast("Quantity", told)


def _scale(table: _Table, index: int, told: str | None, quantity: str, notes: list[str]) -> float:
    """What one of the column's unit is in the SI unit of the quantity."""
    column = table.layout.columns[index]
    unit = known_unit(told) if told is not None else column.unit
    if unit is None and told is None:
        notes.append(
            f"no unit is given for column {column.title!r}: {SI_NAMES[quantity]} are taken"
        )
        return 1.0
    if unit is None or UNITS[unit][0] != quantity:
        raise table.error(
            f"{told or unit!r} is not a unit of a {quantity}, which column {column.title!r} holds",
            "Correct the unit, or name another column.",
        )
    return UNITS[unit][1]


def _only_value(table: _Table, options: FileOptions, taken: set[int]) -> int:
    """The one column that can be the reading."""
    quantities = ("voltage",) if options.shunt_ohm is not None else ("power", "current")
    for quantity in quantities:
        likely = [index for index in table.of_quantity(quantity) if index not in taken]
        if likely:
            break
    else:
        likely = [
            number
            for number, column in enumerate(table.layout.columns)
            if number not in taken and column.unit is None
        ]
    if len(likely) != 1:
        fix = "Give --value-column, and --value-unit if its header has no unit."
        if options.shunt_ohm is None and table.of_quantity("voltage"):
            fix = f"{fix} If it is the voltage across a shunt, give --shunt-ohm."
        raise table.error("It cannot be told which column is the reading", fix)
    return likely[0]


def _own_voltage(table: _Table, current: Column) -> Scaled | None:
    """The voltage that belongs to a current: of the same name, or the only one that there is."""
    likely = table.of_quantity("voltage")
    same = [
        index
        for index in likely
        if table.layout.columns[index].name.lower() == f"{current.name.lower()} voltage"
    ]
    index = same[0] if same else likely[0] if len(likely) == 1 else None
    if index is None:
        return None
    unit = table.layout.columns[index].unit or "v"
    return Scaled(index, UNITS[unit][1])


def _monsoon_channel(table: _Table, options: FileOptions) -> int | None:
    """Main is the battery's terminals, USB the cable; Main where both are there."""
    order = {"usb": ("usb",), "battery": ("main",), None: ("main", "usb")}[options.plane]
    names = [column.name.lower() for column in table.layout.columns]
    for name in order:
        if name in names:
            return names.index(name)
    if options.value_column is None:
        raise table.error(
            f"There is no column of the Monsoon's {' or '.join(order)} channel",
            "Give --plane battery for Main or --plane usb for USB, or --value-column.",
        )
    return None


def _monsoon_time(layout: Layout, time: Scaled, notes: list[str]) -> Scaled:
    """Some versions of the Monsoon's program write seconds below ``Time(ms)``."""
    times = [
        float(row[time.column].replace(layout.decimal, "."))
        for row in layout.head
        if is_number(row[time.column], layout.decimal)
    ]
    period_s = (times[-1] - times[0]) / max(1, len(times) - 1) * time.scale
    if not 0 < period_s < MONSOON_MIN_PERIOD_S:
        return time
    notes.append(
        f"column {layout.columns[time.column].title!r} holds seconds, as the Monsoon's Python "
        f"library writes: in milliseconds its samples would be {period_s * 1e9:.3g} ns apart"
    )
    return Scaled(time.column, 1.0)


def _find_marker(table: _Table, channel: str | None) -> Marker | None:
    if channel is None:
        return None
    names = [column.title.upper() for column in table.layout.columns]
    if channel.upper() in names:
        return Marker(names.index(channel.upper()), None)
    if "D0-D7" in names and re.fullmatch("D[0-7]", channel.upper()):
        return Marker(names.index("D0-D7"), int(channel[1]))
    raise table.error(
        f"There is no digital channel {channel!r}", "Export the digital channels too."
    )
