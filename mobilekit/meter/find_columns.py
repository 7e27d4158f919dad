"""Which column of a meter's table is what: by format, by name and unit, by value, or as told.

A unit is never assumed, and of two columns that could be the reading none is taken, unless their
values leave no doubt.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from statistics import median
from typing import Literal, cast

from mobilekit.meter.columns import (
    Columns,
    FileOptions,
    Format,
    Marker,
    MeterTable,
    Scaled,
    TimeColumn,
)
from mobilekit.meter.heading import Column
from mobilekit.meter.layout import Layout
from mobilekit.meter.quantities import Unit, read_unit
from mobilekit.meter.time_column import find_time
from mobilekit.records.meter import MeterSource, ReadingKind

ReadingQuantity = Literal["voltage", "current", "power"]
MONSOON_CHANNEL = re.compile(r"(main|usb|aux)(?: avg current)?")
"""As its Python library names a current, and as PowerTool does."""
MONSOON_MIN_PERIOD_S = 2e-5
"""A tenth of the 0.2 ms at which a Monsoon samples; faster means that its unit is wrong."""
OTHER_VOLTAGE = re.compile(r"(?:d\s*[-+pn]|cc\s*\d|shunt)", re.IGNORECASE)
"""How the names begin of voltages that are not the supply's: data lines, a meter's own shunt."""
MIN_SUPPLY_V = 2.5
MAX_SHUNT_SHARE = 0.2
"""Of the supply's voltage, across a shunt: above it, values do not tell two columns apart."""
SHUNT_CURRENT_A = (1e-5, 20.0)
MAX_POWER_RATIO = 1.25
"""Of a column of powers and the product of current and voltage beside it, either way."""
SMALLEST_POWER_W = 1e-3


def find_columns(layout: Layout, options: FileOptions, path: object) -> Columns:
    """Raises ``MeterFileError`` naming the columns that there are, where one cannot be told."""
    table = MeterTable(layout, path)
    found_format = options.format or _recognise(layout)
    notes: list[str] = []
    time = find_time(table, options, notes)
    voltage = None
    if options.voltage_column is not None:
        column = table.named(options.voltage_column)
        voltage = _scaled(table, column, options.voltage_unit, "voltage", "--voltage-unit")
    taken = {time.column, voltage.column if voltage is not None else -1}
    if options.value_column is not None:
        index = table.named(options.value_column)
    elif found_format == "monsoon":
        index = _monsoon_channel(table, options)
        if voltage is None and options.supply_volt is None:
            index = _power_without_voltage(table, index)
    elif options.shunt_ohm is not None:
        index, beside = _shunt_columns(table, options, options.shunt_ohm, taken, notes)
        if voltage is None and options.supply_volt is None:
            voltage = beside
    else:
        index = _only_value(table, options, taken)
    quantity = _quantity(table, index, options)
    value = _scaled(table, index, options.value_unit, quantity, "--value-unit")
    if options.value_unit is None:
        _refuse_counts(table, index)
    if quantity == "current" and voltage is None and options.supply_volt is None:
        voltage = _own_voltage(table, index)
    if quantity == "power" and options.value_column is None:
        _check_power(table, value)
    if quantity != "power" and voltage is None and options.supply_volt is None:
        raise table.error(
            f"A {quantity} alone is not a power: the supply's voltage is missing",
            "Give --supply-volt, or the column that has it with --voltage-column.",
        )
    if found_format == "monsoon":
        time = _monsoon_time(table, time, notes)
    for scaled in (value, voltage):
        if scaled is not None:
            table.refuse_words(scaled.column)
    kind: ReadingKind = "shunt voltage" if quantity == "voltage" else quantity
    source: MeterSource = "shunt" if kind == "shunt voltage" else "meter"
    if found_format in ("monsoon", "ppk2"):
        source = found_format
    column_found = layout.columns[index]
    return Columns(
        format=found_format,
        source=source,
        time=time,
        kind=kind,
        value=value,
        voltage=voltage,
        voltage_is_sure=options.voltage_column is not None
        or (voltage is not None and _named_alike(table, index, voltage.column)),
        marker=_find_marker(table, options.load_channel),
        reading=f"{kind} from column {column_found.title!r}",
        on_usb=column_found.name.lower().startswith("usb") if found_format == "monsoon" else None,
        notes=tuple(notes),
    )


def _recognise(layout: Layout) -> Format:
    columns = [column for column in layout.columns if column.unit is not None]
    units = {column.name.lower(): column.unit for column in columns}
    if units.get("timestamp") == Unit("time", 1e-3) and units.get("current") == Unit(
        "current", 1e-6
    ):
        return "ppk2"
    if any(_is_monsoon_channel(column) for column in columns):
        return "monsoon"
    return "csv"


def _is_monsoon_channel(column: Column) -> bool:
    is_current = column.unit is not None and column.unit.quantity == "current"
    return is_current and MONSOON_CHANNEL.fullmatch(column.name.lower()) is not None


def _quantity(table: MeterTable, index: int, options: FileOptions) -> ReadingQuantity:
    """What the reading is, by its unit; with a shunt it is the voltage across it."""
    column = table.layout.columns[index]
    unit = column.unit if options.value_unit is None else read_unit(options.value_unit)
    if options.value_unit is not None and (unit is None or unit.quantity in ("time", "other")):
        raise table.error(
            f"{options.value_unit!r} is not a unit of a reading",
            "Give V, mV, uV, A, mA, uA, W, mW or uW.",
        )
    if unit is None:
        raise table.error(
            f"Nothing says what column {column.title!r} measures",
            "Give its unit with --value-unit, and --shunt-ohm if it is the voltage across a shunt.",
        )
    if unit.quantity in ("time", "other"):
        raise table.error(
            f"Column {column.title!r} holds neither a power nor a current nor a voltage",
            "Name another column with --value-column.",
        )
    if (unit.quantity == "voltage") != (options.shunt_ohm is not None):
        raise table.error(
            f"Column {column.title!r} is a {unit.quantity}, "
            + ("and no voltage across a shunt" if options.shunt_ohm is not None else "not a power"),
            "--shunt-ohm goes with the voltage across that resistance, and only with it; "
            "--value-column names the column.",
        )
    return cast("ReadingQuantity", unit.quantity)


def _scaled(table: MeterTable, index: int, told: str | None, quantity: str, option: str) -> Scaled:
    """The column with what one of its unit is in the SI unit of the quantity."""
    column = table.layout.columns[index]
    unit = read_unit(told) if told is not None else column.unit
    if unit is None and told is None:
        raise table.error(
            f"Nothing says in which unit column {column.title!r} is", f"Give {option}."
        )
    if unit is None or unit.quantity != quantity:
        shown = repr(told) if told is not None else "its unit"
        raise table.error(
            f"{shown} is not a unit of a {quantity}, which column {column.title!r} holds",
            "Correct the unit, or name another column.",
        )
    return Scaled(index, unit.size)


def _own_scaled(table: MeterTable, index: int) -> Scaled:
    """Of a column that has a unit."""
    unit = table.layout.columns[index].unit
    assert unit is not None
    return Scaled(index, unit.size)


def _only_value(table: MeterTable, options: FileOptions, taken: Collection[int]) -> int:
    """The one column that can be the reading: a power, else a current, else one of a unit that is
    told."""
    for quantity in ("power", "current"):
        likely = [index for index in table.of_quantity(quantity) if index not in taken]
        if likely:
            break
    else:
        likely = _without_unit(table, taken)
    if len(likely) != 1:
        fix = "Give --value-column, and --value-unit if its header has no unit."
        if table.of_quantity("voltage"):
            fix = f"{fix} If it is the voltage across a shunt, give --shunt-ohm."
        raise table.error("It cannot be told which column is the reading", fix)
    return likely[0]


def _without_unit(table: MeterTable, taken: Collection[int]) -> list[int]:
    return [
        number
        for number, column in enumerate(table.layout.columns)
        if number not in taken and column.unit is None and not column.is_empty
    ]


def _refuse_counts(table: MeterTable, index: int) -> None:
    """Some oscilloscopes save their converter's counts, below a line that says volts."""
    column, numbers = table.layout.columns[index], table.numbers(index)
    if column.unit_is_above and all(re.fullmatch(r"[+-]?\d+", text) for text in numbers):
        raise table.error(
            f"Column {column.title!r} has whole numbers only, as a converter's counts are",
            "Save the trace with its voltages (GW Instek: as Detail CSV, not Fast), or give "
            "--value-unit if these are whole volts or amperes.",
        )


# --- two voltages ------------------------------------------------------------------------------


def _shunt_columns(
    table: MeterTable,
    options: FileOptions,
    shunt_ohm: float,
    taken: Collection[int],
    notes: list[str],
) -> tuple[int, Scaled | None]:
    """The voltage across the shunt and, of two columns, the supply's: by their sizes, where they
    leave no doubt."""
    likely = [index for index in table.of_quantity("voltage") if index not in taken]
    if not likely:
        likely = _without_unit(table, taken)
    if len(likely) == 1:
        return likely[0], None
    columns = table.layout.columns
    fix = "Name it with --value-column, and the supply's voltage with --voltage-column."
    if len(likely) != 2 or any(columns[index].unit is None for index in likely):
        raise table.error("It cannot be told which column is the voltage across the shunt", fix)
    sizes = {index: _typical(table, _own_scaled(table, index)) for index in likely}
    shunt, supply = sorted(likely, key=lambda index: sizes[index])
    current_a = sizes[shunt] / shunt_ohm
    if (
        sizes[supply] < MIN_SUPPLY_V
        or sizes[shunt] > MAX_SHUNT_SHARE * sizes[supply]
        or not SHUNT_CURRENT_A[0] <= current_a <= SHUNT_CURRENT_A[1]
    ):
        told = " and ".join(
            f"{columns[index].title!r} with {sizes[index]:.3g} V" for index in likely
        )
        raise table.error(
            f"It cannot be told which column is the voltage across the shunt: {told}", fix
        )
    has_supply = options.voltage_column is not None or options.supply_volt is not None
    role = "is not used" if has_supply else "as that of the supply"
    notes.append(
        f"column {columns[shunt].title!r} with {sizes[shunt]:.3g} V is taken as the shunt's "
        f"voltage, {columns[supply].title!r} with {sizes[supply]:.3g} V {role} "
        "(--value-column, --voltage-column)"
    )
    return shunt, _own_scaled(table, supply)


def _typical(table: MeterTable, scaled: Scaled) -> float:
    """The median of the first rows, without its sign, in SI units."""
    values = [float(text) for text in table.numbers(scaled.column)]
    return abs(median(values)) * scaled.scale if values else 0.0


# --- currents and powers -----------------------------------------------------------------------


def _named_alike(table: MeterTable, current: int, voltage: int) -> bool:
    """Whether the names say that a voltage belongs to a current, as ``Main Avg Voltage`` does."""
    name, other = (table.layout.columns[index].name.lower() for index in (current, voltage))
    return other in (
        f"{name} voltage",
        re.sub(r"curr(?:ent)?|amp(?:ere)?s?", "voltage", name),
    )


def _own_voltage(table: MeterTable, current: int) -> Scaled | None:
    """The voltage that belongs to a current: of the same name, or the only one of a supply."""
    columns = table.layout.columns
    likely = [
        index
        for index in table.of_quantity("voltage")
        if not OTHER_VOLTAGE.match(columns[index].name)
    ]
    alike = [index for index in likely if _named_alike(table, current, index)]
    # An INA219 gives the voltage of the bus beside that of the load, which it computes.
    of_bus = [index for index in likely if columns[index].name.lower().startswith("bus")]
    for found in (alike, likely, of_bus):
        if len(found) == 1:
            return _own_scaled(table, found[0])
    return None


def _check_power(table: MeterTable, power: Scaled) -> None:
    """Against the product of current and voltage, where both are there too."""
    currents = table.of_quantity("current")
    voltage = _own_voltage(table, currents[0]) if len(currents) == 1 else None
    if voltage is None:
        return
    current = _own_scaled(table, currents[0])
    power_w = _typical(table, power)
    product_w = _typical(table, current) * _typical(table, voltage)
    if min(power_w, product_w) < SMALLEST_POWER_W:
        return
    if not 1 / MAX_POWER_RATIO < power_w / product_w < MAX_POWER_RATIO:
        names = [table.layout.columns[each.column].title for each in (power, current, voltage)]
        raise table.error(
            f"Column {names[0]!r} has {power_w:.3g} W where {names[1]!r} times {names[2]!r} is "
            f"{product_w:.3g} W",
            "Name the one to believe with --value-column.",
        )


# --- formats -----------------------------------------------------------------------------------


def _monsoon_channel(table: MeterTable, options: FileOptions) -> int:
    """Main is the battery's terminals, USB the cable; Main where both are there."""
    order = {"usb": ("usb",), "battery": ("main",), None: ("main", "usb")}[options.plane]
    for name in order:
        for index, column in enumerate(table.layout.columns):
            if _is_monsoon_channel(column) and column.name.lower().startswith(name):
                return index
    raise table.error(
        f"There is no column of the Monsoon's {' or '.join(order)} channel",
        "Give --plane battery for Main or --plane usb for USB, or --value-column.",
    )


def _power_without_voltage(table: MeterTable, current: int) -> int:
    """Of the same channel, where its voltage was not exported; else the current."""
    columns = table.layout.columns
    name = columns[current].name.lower().replace("current", "power")
    powers = [index for index in table.of_quantity("power") if columns[index].name.lower() == name]
    return powers[0] if powers and _own_voltage(table, current) is None else current


def _monsoon_time(table: MeterTable, time: TimeColumn, notes: list[str]) -> TimeColumn:
    """Some versions of the Monsoon's program write seconds below ``Time(ms)``."""
    if time.scale != 1e-3 or time.column < 0:
        return time
    times = [float(text) for text in table.numbers(time.column)]
    period_s = (times[-1] - times[0]) / max(1, len(times) - 1) * time.scale
    if not 0 < period_s < MONSOON_MIN_PERIOD_S:
        return time
    notes.append(
        f"column {table.layout.columns[time.column].title!r} holds seconds, as the Monsoon's "
        f"Python library writes: in milliseconds its samples would be {period_s * 1e9:.3g} ns apart"
    )
    return time._replace(scale=1.0)


def _find_marker(table: MeterTable, channel: str | None) -> Marker | None:
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
