"""The reader of text tables: whatever meters write, and whatever else a file may hold."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobilekit.errors import MobilekitError
from mobilekit.meter.columns import FileOptions
from mobilekit.meter.table import Table

POWER = FileOptions(time_column="1", time_unit="1", value_column="2", value_unit="W")
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: float(f"{value:.9g}"))
ONLY_PATH = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def read(path, options, block_bytes=1 << 20):
    """All chunks as one: times and readings."""
    table = Table(path, options)
    done = []
    chunks = list(table.chunks(done.append, block_bytes))
    assert done[-1] == path.stat().st_size
    return (
        np.concatenate([chunk.time_s for chunk in chunks]),
        np.concatenate([chunk.reading for chunk in chunks]),
    )


@ONLY_PATH
@given(
    rows=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=12, max_size=60),
    missing=st.sets(st.integers(0, 59), max_size=4),
    delimiter=st.sampled_from([",", ";", "\t"]),
    decimal=st.sampled_from([".", ","]),
    preamble=st.lists(st.sampled_from(["", "Model,DSO", "made by hand", "Rate;5e3"]), max_size=4),
    header=st.booleans(),
    units=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    trailing=st.booleans(),
    last_line_ends=st.booleans(),
    block_bytes=st.integers(16, 4096),
)
def test_a_table_gives_back_its_numbers(
    rows, missing, delimiter, decimal, preamble, header, units, encoding, line_end, trailing,
    last_line_ends, block_bytes, tmp_path,
):  # fmt: skip
    """However it is divided, written, encoded and cut into blocks; NaN for an empty field."""
    if decimal == delimiter:
        decimal = "."
    rows = [(t, None if n in missing else value) for n, (t, value) in enumerate(rows)]
    lines = list(preamble)
    # Without a header, the line above could be taken for one.
    lines += [f"when{delimiter}what"] if header or preamble else []
    lines += [f"(s){delimiter}[W]"] if units and header else []
    end = delimiter if trailing else ""
    lines += [
        f"{time!r}{delimiter}{'' if value is None else repr(value)}{end}".replace(".", decimal)
        for time, value in rows
    ]
    text = line_end.join(lines) + (line_end if last_line_ends else "")
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    options = POWER._replace(delimiter=delimiter, decimal=decimal)

    time_s, reading = read(path, options, block_bytes)

    assert time_s.tolist() == pytest.approx([time for time, _ in rows], rel=1e-12)
    expected = [math.nan if value is None else value for _, value in rows]
    assert reading.tolist() == pytest.approx(expected, rel=1e-12, nan_ok=True)


@ONLY_PATH
@given(data=st.binary(max_size=3000))
def test_no_file_breaks_the_reader(data, tmp_path):
    """Any bytes are a table or are refused, never a crash."""
    path = tmp_path / "any.csv"
    path.write_bytes(data)
    try:
        time_s, reading = read(path, POWER, 256)
    except MobilekitError:
        return
    assert len(time_s) == len(reading)


@ONLY_PATH
@given(
    text=st.text(alphabet='0123456789.,;-+eE\t "\n\rN/aµ', max_size=600),
    delimiter=st.sampled_from([None, ",", ";", "tab", "space"]),
)
def test_no_text_of_numbers_breaks_the_reader(text, delimiter, tmp_path):
    """Nor any text that looks like numbers."""
    path = tmp_path / "any.csv"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        read(path, POWER._replace(delimiter=delimiter), 64)
    except MobilekitError:
        return


WORDS = (
    "Sample Interval", "Sample Rate", "Horizontal Units", "Vertical Units", "Source", "Increment",
    "tInc = 1e-3", "t0 =", "x-axis", "second", "Volt", "Sequence", "s", "V", "mA", "MA", "1", "2",
    "-5e-3", "500.0", "1e999", "0", "", "CH1V", "Power (mW)", "(s)", "10:00:00",
    "2026-05-04 10:00:00", "0x00", "#", "Time(s)", "1.25MSa/s", "\u00b0C",
)  # fmt: skip


@ONLY_PATH
@given(
    above=st.lists(st.lists(st.sampled_from(WORDS), max_size=5), max_size=4),
    beside=st.lists(st.sampled_from(WORDS), max_size=3),
    widths=st.lists(st.integers(0, 4), min_size=1, max_size=30),
    shunt=st.booleans(),
)
def test_no_heading_breaks_the_reader(above, beside, widths, shunt, tmp_path):
    """Words of makers' preambles in any order, above the data and beside them: read or refused."""
    path = tmp_path / "any.csv"
    lines = [",".join(line) for line in above]
    lines += [
        ",".join([*(beside if number < 3 else [""] * len(beside)), *[f"{number * 0.5}"] * width])
        for number, width in enumerate(widths)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        time_s, reading = read(path, FileOptions(shunt_ohm=0.1 if shunt else None, supply_volt=5.0))
    except MobilekitError:
        return
    assert len(time_s) == len(reading)


@ONLY_PATH
@given(block_bytes=st.integers(1, 3000))
def test_blocks_of_any_size_give_the_same_numbers(block_bytes, tmp_path):
    """A number on the border of two blocks is neither lost nor cut."""
    path = tmp_path / "table.csv"
    rows = [(n / 3, n * 1.5) for n in range(100)]
    path.write_text("t(s);P(W)\n" + "".join(f"{t:.6f};{p:.2f}\n" for t, p in rows))

    time_s, reading = read(path, POWER, block_bytes)

    assert time_s.tolist() == pytest.approx([row[0] for row in rows], abs=1e-6)
    assert reading.tolist() == [row[1] for row in rows]


@pytest.mark.parametrize(
    ("header", "scale"),
    [
        ("t(s),P (mW)", 1e-3), ("t(s),P [uW]", 1e-6), ("t(s),P/W", 1.0), ("t_s,p_mw", 1e-3),
        ("t / s,P (\u00b5W)", 1e-6), ("t / s,P (\u03bcW)", 1e-6), ("t(sec),Power( mW )", 1e-3),
    ],
)  # fmt: skip
def test_units_in_headers(header, scale, tmp_path):
    """In parentheses, brackets, after a slash or an underscore, with either letter for micro."""
    path = tmp_path / "table.csv"
    path.write_text(header + "\n" + "1,2\n" * 20, encoding="utf-8")

    _, reading = read(path, FileOptions(plane="usb"))

    assert reading[0] == pytest.approx(2 * scale)


def test_a_line_without_end_is_refused(tmp_path):
    """A file that is one line is not read into memory."""
    path = tmp_path / "table.csv"
    path.write_bytes(b"t(s),P(W)\n" + b"1,2\n" * 20_000 + b"1" * (3 << 20))

    with pytest.raises(MobilekitError, match="longer than a mebibyte"):
        read(path, FileOptions(), 1 << 16)


def test_a_table_is_closed_when_reading_stops(tmp_path):
    """Who stops in the middle leaves no open file behind."""
    path = tmp_path / "table.csv"
    path.write_bytes(b"t(s),P(W)\n" + b"1,2\n" * 2000)
    chunks = Table(path, FileOptions()).chunks(lambda _: None, 100)
    next(chunks)
    chunks.close()

    with pytest.raises(StopIteration):
        next(chunks)
