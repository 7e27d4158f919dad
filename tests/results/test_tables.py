"""Typed tables, and what each renderer makes of their cells."""

import csv
import io

import pytest
from examples import battery_status, device_info, energy_estimate, measurement
from msgspec.structs import replace

from mobilekit.analysis.answer import derive_answer
from mobilekit.records.device import AttachedDevice, ListedDevice
from mobilekit.records.statistics import Interval
from mobilekit.results.listing import devices_table, results_table
from mobilekit.results.tables.cell_text import number_text, quantity_text
from mobilekit.results.tables.cells import Absent, Column, Number, Row, Scale, make_table
from mobilekit.results.tables.csv import render_csv
from mobilekit.results.tables.markdown import render_markdown
from mobilekit.results.tables.text import render_text

TABLE = make_table(
    ("network", Column("latency", holds="numbers"), Column("energy", holds="numbers"), "saved"),
    (
        (
            "nin",
            Number(13e6, "ns", Interval(low=950_000, high=14e6)),
            Number(3.65, "J", origin="simulated"),
            "a|b",
        ),
        Row(("alexnet", Absent(), Number(1.5, "J", origin="simulated"), "c"), origin="simulated"),
    ),
)


def parsed(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_text_is_aligned_and_never_cut():
    """Each column begins where its header does, behind its widest cell."""
    header, first, second = render_text(TABLE).splitlines()

    for line, cells in (
        (first, ["nin", "13.0 ms [0.95 ms, 14.0 ms]", "3.65 J (simulated)", "a|b"]),
        (second, ["alexnet, simulated", "-", "1.50 J", "c"]),
    ):
        starts = [header.index(name) for name in ("network", "latency", "energy", "saved")]
        for start, cell in zip(starts, cells, strict=True):
            assert line[start:].startswith(cell)
        assert line == line.rstrip()


def test_markdown_has_the_cells_of_the_text():
    """What would end a cell is escaped."""
    header, rule, first, second = render_markdown(TABLE).splitlines()

    assert header == "| network | latency | energy | saved |"
    assert rule == "| --- | --- | --- | --- |"
    assert first == r"| nin | 13.0 ms [0.95 ms, 14.0 ms] | 3.65 J (simulated) | a\|b |"
    assert second == "| alexnet, simulated | - | 1.50 J | c |"


def test_csv_has_all_that_is_known_of_a_number():
    """Its unit, origin and interval, unrounded; what is absent is empty."""
    first, second = parsed(render_csv(TABLE))

    assert first == {
        "network": "nin",
        "latency unit": "ns",
        "latency origin": "measured",
        "latency value": "13000000.0",
        "latency low": "950000",
        "latency high": "14000000.0",
        "energy unit": "J",
        "energy origin": "simulated",
        "energy value": "3.65",
        "energy low": "",
        "energy high": "",
        "saved": "a|b",
    }
    assert second["latency value"] == second["latency unit"] == ""
    assert second["network"] == "alexnet"


def test_csv_of_a_bound_has_no_value():
    """It is known only to lie below."""
    table = make_table(
        ("layer", Column("p50", holds="numbers")), [("relu", Number(1000, "ns", is_bound=True))]
    )

    (row,) = parsed(render_csv(table))

    assert (row["value"], row["low"], row["high"]) == ("", "", "1000")


@pytest.mark.parametrize(
    ("number", "scale", "text"),
    [
        (Number(1.08e9, "ns"), None, "1.08 s"),
        (Number(2_100_000, "ns"), Scale(" us", 1000, decimals=1), "2100.0 us"),
        (Number(1000, "ns", is_bound=True), Scale(" ms", 1e6, decimals=3), "< 1.00 us"),
        (Number(2_300_712, "MACs"), Scale(" M", 1e6), "2.30 M"),
        (Number(80, "MACs"), None, "80"),
        (Number(2048, "bytes", signed=True), None, "+2.0 KiB"),
        (Number(-2048, "bytes", signed=True), None, "-2.0 KiB"),
        (Number(0.494, "share", note="7.50 ms"), None, "49.4% (7.50 ms)"),
        (Number(26, "MB"), None, "26 MB"),
        (Number(14_812, "inferences"), None, "14,800"),
        (Number(14_812, "count"), None, "14,812"),
    ],
)
def test_a_number_with_its_unit(number, scale, text):
    """Three significant digits in the unit that fits, unless its column has a scale."""
    assert number_text(number, scale) == text


def test_an_interval_is_in_the_unit_of_its_value():
    """So that a line has one unit of time."""
    interval = Interval(low=999_000, high=1_100_000)

    assert quantity_text(1_050_000, "ns", interval) == "1.05 ms [0.999 ms, 1.10 ms]"


def test_a_row_of_another_length_is_none():
    """A cell too few would move the others under other names."""
    with pytest.raises(ValueError, match="2 cells"):
        make_table(("a", "b"), [("a",)])


# --- lists -------------------------------------------------------------------------------------


def test_a_simulated_energy_is_marked_among_measured_ones():
    """In a column that both are in, the number itself says it."""
    answer = derive_answer(measurement())
    pairs = [
        (measurement(id=origin), replace(answer, energy=energy_estimate(origin=origin)))
        for origin in ("measured", "simulated")
    ]

    _, measured, simulated = render_text(results_table(pairs)).splitlines()

    assert measured.split()[-4:] == ["3.65", "J", "battery", "-"]
    assert simulated.split()[-5:] == ["3.65", "J", "(simulated)", "battery", "-"]


@pytest.mark.parametrize(
    ("battery", "text"),
    [
        (battery_status(), "80%"),
        (battery_status(plugged=True), "80%, plugged in"),
        (battery_status(level_percent=None), "-"),
        (battery_status(level_percent=None, plugged=True), "plugged in"),
        (None, "-"),
    ],
)
def test_a_device_tells_of_its_battery_what_it_knows(battery, text):
    """A level that is not told is not made up."""
    attached = AttachedDevice(serial="0123", state="device")
    listed = ListedDevice(
        attached=attached, info=device_info(), battery=battery, formats=("pte", "onnx")
    )

    (line,) = render_text(devices_table([listed])).splitlines()[1:]

    assert line.split("armeabi-v7a")[1].removeprefix("  .pte .onnx  -    ").strip() == text


# --- widths and units --------------------------------------------------------------------------


def test_a_table_is_broken_to_a_width_between_words():
    """The widest cells first; a word, such as an id, is never broken."""
    table = make_table(
        ("id", "title"), [("nin-nexus7-20261121-095601-4d73", "a network in a network of networks")]
    )

    whole, broken = render_text(table), render_text(table, 50)
    narrow = render_text(table, 10)

    assert max(map(len, whole.splitlines())) == 67
    assert max(map(len, broken.splitlines())) <= 50
    assert "nin-nexus7-20261121-095601-4d73" in narrow
    assert broken.split() == whole.split()


def test_a_number_is_not_broken_from_its_unit():
    """An interval is broken between its ends."""
    table = make_table(("p50",), [("12.4 ms [11.9 ms, 13.1 ms]",)])

    assert render_text(table, 13).splitlines() == ["p50", "12.4 ms", "[11.9 ms,", "13.1 ms]"]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([724e3, 10.1e6, 12.4e6], ["0.724 ms", "10.1 ms", "12.4 ms"]),
        ([1.2e3, 2.4e3, 5e9], ["1.20 us", "2.40 us", "5,000,000 us"]),
    ],
)
def test_a_column_has_one_unit(values, texts):
    """That of its median."""
    column = Column("p50", holds="numbers", scale="common")
    table = make_table((column,), [(Number(value, "ns"),) for value in values])

    assert render_text(table).splitlines()[1:] == texts
