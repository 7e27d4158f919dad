"""The column of times and its unit: from the header, the preamble, or as told; never assumed.

A column that counts the samples looks like seconds. It is one only where a person gives the seconds
of one count, or where the file says how far apart samples are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from statistics import median

from mobilekit.meter.clock_times import is_clock
from mobilekit.meter.columns import FileOptions, MeterTable, TimeColumn
from mobilekit.meter.heading import COUNTS
from mobilekit.meter.layout import is_number
from mobilekit.meter.quantities import read_unit

ROW = "row"
"""In place of a column of times: the number of the row."""
TIME_NAMES = {"t", "x", "time", "timestamp", "timestamps", "datetime", "zeit", "elapsed"}
LONGEST_PERIOD_S = 60.0
"""Between samples of a meter; a longer one is of a wrong unit."""
SHORTEST_PERIOD_S = 1e-8
MAX_DISAGREEMENT = 1.5
"""Of the times' own distance and the one that the preamble tells, either way."""
EPOCH_S = (1.1e9, 4.1e9)
"""Of 2004 to 2099, since 1970."""
FIX = "Give --time-unit s, ms, us or ns, or the seconds of one count, as in --time-unit 2e-5."
COUNT_FIX = (
    "Give the seconds from sample to sample as a number, as in --time-unit 0.002; --time-unit 1 if "
    "there is one sample each second."
)


def find_time(table: MeterTable, options: FileOptions, notes: list[str]) -> TimeColumn:
    """Raises ``MeterFileError`` naming the options that settle it, where there is a doubt."""
    index = _find_index(table, options, notes)
    if index is None:
        return _rows_as_times(table, options, notes)
    title = table.layout.columns[index].title
    texts = [text for text in table.fields(index) if text]
    if texts and sum(map(is_clock, texts)) > len(texts) / 2:
        if options.time_unit is not None:
            raise table.error(
                f"Column {title!r} holds times of a clock, which have no other unit",
                "Leave --time-unit out.",
            )
        return TimeColumn(index, 1.0, is_clock=True)
    table.refuse_words(index)
    time_s = [float(text) for text in table.numbers(index)]
    scale = _scale(table, index, time_s, options, notes)
    _check_period(table, index, [scale * time for time in time_s], options, notes)
    return TimeColumn(index, scale)


def _find_index(table: MeterTable, options: FileOptions, notes: list[str]) -> int | None:
    """``None``: the rows are counted."""
    columns = table.layout.columns
    if options.time_column == ROW:
        return None
    if options.time_column is not None:
        return table.named(options.time_column)
    filled = [number for number, column in enumerate(columns) if not column.is_empty]
    likely = table.of_quantity("time") or [
        number for number in filled if columns[number].name.lower() in TIME_NAMES
    ]
    if not likely and table.layout.interval_s is not None:
        return None
    likely = likely or [number for number in filled if columns[number].name.lower() in COUNTS]
    if not likely and not table.layout.has_header and filled and _grows(table, filled[0]):
        notes.append("there is no header: the first column, which grows, is taken as the time")
        likely = filled[:1]
    # Some meters repeat the time for each of their traces.
    different = {tuple(table.fields(number)): number for number in reversed(likely)}
    if len(different) != 1:
        raise table.error(
            "It cannot be told which column is the time",
            "Give --time-column and --time-unit; where there is none, `--time-column row "
            "--time-unit 0.002` counts the rows, with the seconds from row to row.",
        )
    return likely[0]


def _grows(table: MeterTable, index: int) -> bool:
    values = [float(text) for text in table.numbers(index)]
    return len(values) > 1 and all(before < after for before, after in pairwise(values))


def _rows_as_times(table: MeterTable, options: FileOptions, notes: list[str]) -> TimeColumn:
    interval_s = table.layout.interval_s
    if options.time_unit is not None:
        return TimeColumn(-1, _told_scale(table, options.time_unit))
    if interval_s is None:
        raise table.error(
            "Row numbers are not times", "Give the seconds from row to row: --time-unit 2e-5."
        )
    notes.append(f"rows are {interval_s:.6g} s apart, as the lines above the data say")
    return TimeColumn(-1, interval_s)


def _scale(
    table: MeterTable, index: int, times: list[float], options: FileOptions, notes: list[str]
) -> float:
    """The seconds of one of the column's unit."""
    column, interval_s = table.layout.columns[index], table.layout.interval_s
    counts = _counts_samples(table.numbers(index))
    told = options.time_unit
    if told is not None and (is_number(told, ".") or not counts or column.unit is not None):
        return _told_scale(table, told)
    if told is not None:
        raise table.error(
            f"Column {column.title!r} goes up by one from sample to sample, as a count does: "
            f"--time-unit {told} is in doubt",
            COUNT_FIX,
        )
    if counts and column.unit is None:
        if interval_s is None:
            raise table.error(
                f"Column {column.title!r} counts the samples and has no unit", COUNT_FIX
            )
        notes.append(f"samples are {interval_s:.6g} s apart, as the lines above the data say")
        return interval_s
    if column.unit is not None and column.unit.quantity == "time":
        return column.unit.size
    since_1970 = _epoch_scale(times)
    if since_1970 is not None:
        return since_1970
    fitting = _fitting_scale(times, interval_s)
    if fitting is not None:
        notes.append(
            f"column {column.title!r} is in {fitting:g} s: its samples are {interval_s:.6g} s "
            "apart, as the lines above the data say"
        )
        return fitting
    raise table.error(f"Nothing says in which unit the times in column {column.title!r} are", FIX)


def _told_scale(table: MeterTable, text: str) -> float:
    """A unit of time, or the seconds of one count, in seconds."""
    unit = read_unit(text)
    if unit is not None and unit.quantity == "time":
        return unit.size
    scale = float(text) if is_number(text, ".") else 0.0
    if not scale > 0:
        raise table.error(f"{text!r} is not a unit of time", FIX)
    return scale


def _counts_samples(numbers: Iterable[str]) -> bool:
    """Whether it goes up by one from line to line, as a number of the sample does."""
    texts = list(numbers)
    if not texts or not all(re.fullmatch(r"\d+(?:\.0*)?", text) for text in texts):
        return False
    return all(float(after) == float(before) + 1 for before, after in pairwise(texts))


def _epoch_scale(times: list[float]) -> float | None:
    """For seconds, milliseconds or nanoseconds since 1970, which nothing else looks like.

    Not for microseconds: a clock that shows the nanoseconds since a computer's start looks alike.
    """
    for size in (1.0, 1e-3, 1e-9):
        scaled = [time * size for time in times]
        if scaled and EPOCH_S[0] < min(scaled) and max(scaled) < EPOCH_S[1]:
            return size
    return None


def _fitting_scale(times: list[float], interval_s: float | None) -> float | None:
    """The unit in which the times are as far apart as the preamble says; at most one can be."""
    period = _period_s(times)
    if not period or interval_s is None:
        return None
    for scale in (1.0, 1e-3, 1e-6, 1e-9):
        if 1 / MAX_DISAGREEMENT < period * scale / interval_s < MAX_DISAGREEMENT:
            return scale
    return None


def _period_s(times_s: list[float]) -> float:
    """The median time between samples whose times differ; 0 where none do."""
    steps_s = [after - before for before, after in pairwise(times_s) if after > before]
    return median(steps_s) if steps_s else 0.0


def _check_period(
    table: MeterTable, index: int, times_s: list[float], options: FileOptions, notes: list[str]
) -> None:
    """Whether samples are as far apart as a meter's are, and as the preamble says."""
    period_s = _period_s(times_s)
    column, interval_s = table.layout.columns[index], table.layout.interval_s
    is_number_told = options.time_unit is not None and is_number(options.time_unit, ".")
    if not period_s or is_number_told:
        return
    if not SHORTEST_PERIOD_S <= period_s <= LONGEST_PERIOD_S:
        raise table.error(
            f"Samples would be {period_s:.3g} s apart by column {column.title!r}", COUNT_FIX
        )
    if interval_s is None or 1 / MAX_DISAGREEMENT < period_s / interval_s < MAX_DISAGREEMENT:
        return
    told = (
        f"column {column.title!r} has samples {period_s:.6g} s apart, the lines above the data "
        f"say {interval_s:.6g} s"
    )
    if options.time_unit is not None or column.unit is None:
        raise table.error(f"The times contradict the file: {told}", COUNT_FIX)
    notes.append(f"{told}: the column is believed")
