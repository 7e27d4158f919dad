"""Traces of external meters, as a person imports them."""

import hashlib
import json
import sys

import msgspec
import numpy as np
import pytest
from matplotlib.collections import FillBetweenPolyCollection, LineCollection
from traces import PAPER, SHUNT_OHM, SUPPLY_V, paper_trace, step_trace, write_table
from typer.testing import CliRunner

from mobilekit.cli.main import app
from mobilekit.contract.codec import decode
from mobilekit.errors import MeterFileError, MeterTraceError, UsageError
from mobilekit.meter.columns import FileOptions
from mobilekit.meter.document import MeterDocument
from mobilekit.meter.importing import TraceOptions, import_trace
from mobilekit.meter.plot import draw_trace

ITERATIONS = 60
"""In three load windows of 4 s: 0.2 s each, 0.6 J gross and 0.4 J marginal at 3 W over 1 W."""


def assert_is_step_trace(estimate, *, rel=5e-3):
    assert len(estimate["windows"]) == 3
    assert estimate["gross_j"] == pytest.approx(0.6, rel=rel)
    assert estimate["marginal_j"] == pytest.approx(0.4, rel=rel)
    assert estimate["load_w"] == pytest.approx(3.0, rel=rel)
    assert estimate["idle_w"] == pytest.approx(1.0, rel=rel)


# --- the published set-up ----------------------------------------------------------------------


@pytest.mark.parametrize("network", PAPER)
def test_the_papers_setup_gives_the_papers_figures(network, meter_import, tmp_path):
    """An oscilloscope's trace of 0.12 Ohm at 5.16 V gives the published energy within 1 % and the
    published inferences per charge."""
    load = PAPER[network]
    trace = write_table(
        tmp_path / "scope.csv",
        paper_trace(load, iterations=20),
        header="Time(s),CH1(V)",
        preamble=["Model,DSO", "Sample Interval,0.0005", ""],
    )

    document = meter_import(
        trace, "--iterations", 20, "--shunt-ohm", SHUNT_OHM, "--supply-volt", SUPPLY_V,
        "--zero", "0:5", "--device", "nexus7",
    ).document  # fmt: skip
    estimate, charge = document["estimate"], document["charge"]

    assert estimate["gross_j"] == pytest.approx(load.energy_j, rel=0.01)
    assert estimate["marginal_j"] == pytest.approx(load.energy_j - load.inference_s, rel=0.01)
    assert (
        estimate["gross_interval_j"]["low"] < load.energy_j < estimate["gross_interval_j"]["high"]
    )
    assert charge["inferences"] == pytest.approx(load.inferences_per_charge, rel=0.01)
    interval = charge["inferences_interval"]
    assert interval["low"] < load.inferences_per_charge < interval["high"]
    assert (estimate["source"], estimate["plane"], charge["plane"]) == ("shunt", "usb", "usb")
    assert document["trace"]["offset"] == pytest.approx(2.1e-3, abs=1e-4)


def test_an_offset_that_is_not_taken_away_is_in_the_interval(meter_import, tmp_path):
    """Without zeroing, 2.1 mV make the figure too high by 90 mW; the interval is wider for it."""
    load = PAPER["nin"]
    columns = paper_trace(load, iterations=20)
    trace = write_table(tmp_path / "scope.csv", columns, header="Time(s),CH1(V)")
    words = (trace, "-n", 20, "--shunt-ohm", SHUNT_OHM, "--supply-volt", SUPPLY_V)

    plain = meter_import(*words).estimate
    given = meter_import(*words, "--offset", 2.1e-3).estimate

    assert plain["gross_j"] == pytest.approx(load.energy_j + 0.09 * load.inference_s, rel=0.01)
    assert given["gross_j"] == pytest.approx(load.energy_j, rel=0.01)
    offsets = [
        next(term["gross_j"] for term in estimate["budget"] if term["name"] == "offset")
        for estimate in (plain, given)
    ]
    assert offsets[0] > 4 * offsets[1] > 0
    # The marginal energy hardly knows of an offset.
    assert plain["marginal_j"] == pytest.approx(given["marginal_j"], rel=5e-3)


def test_text_for_people_names_source_plane_and_interval(mobilekit, tmp_path):
    """No bare figure: shunt, USB plane with its losses, windows, interval, assumptions."""
    trace = write_table(
        tmp_path / "scope.csv", paper_trace(PAPER["nin"], iterations=20), header="t,v"
    )

    text = mobilekit(
        "meter", "import", trace, "-n", 20, "--shunt-ohm", SHUNT_OHM, "--supply-volt", SUPPLY_V,
        "--zero", "0:5", "--device", "nexus7", "--time-unit", "s", "--value-unit", "V",
    ).text  # fmt: skip

    assert "3.65 J [3.4" in text
    assert "shunt, USB plane: the charger's and the PMIC's losses are in it" in text
    assert "14,800 inferences [" in text
    assert "1 of load" in text


# --- formats -----------------------------------------------------------------------------------


def table_columns():
    time_s, power_w = step_trace()
    return time_s, power_w, power_w / 4.0


def monsoon(path, *, time_scale=1e3, wrap="%s", header="Time(ms),Main(mA),Main Voltage(V),"):
    """As its Python library writes it: a delimiter at each line's end, packets with one time."""
    time_s, _, current_a = table_columns()
    time_s = time_s[np.arange(len(time_s)) // 3 * 3]
    lines = [header]
    lines += [
        ",".join(wrap % repr(value) for value in (t * time_scale, a * 1e3, 4.0)) + ","
        for t, a in zip(time_s.tolist(), current_a.tolist(), strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def ppk2(path, *, bits="combined"):
    """Only a current; D1 is high under load."""
    time_s, power_w, current_a = table_columns()
    header = {"combined": ",D0-D7", "apart": ",D0,D1,D2", "none": ""}[bits]
    lines = [f"Timestamp(ms),Current(uA){header}"]
    for t, a, p in zip(time_s.tolist(), current_a.tolist(), power_w.tolist(), strict=True):
        high = "1" if p > 2 else "0"
        channels = {"combined": f",0{high}00X-00", "apart": f",0,{high},X", "none": ""}[bits]
        lines.append(f"{t * 1e3:.2f},{a * 1e6:.3f}{channels}")
    path.write_text("\n".join(lines) + "\n")
    return path


def joulescope(path, names):
    import pyjls

    _, power_w, current_a = table_columns()
    values = {"power": power_w, "current": current_a, "voltage": np.full(len(power_w), 4.0)}
    units = {"power": "W", "current": "A", "voltage": "V"}
    with pyjls.Writer(str(path)) as writer:
        writer.source_def(
            source_id=1, name="JS220", vendor="", model="", version="", serial_number=""
        )
        for number, name in enumerate(names, start=1):
            writer.signal_def(number, source_id=1, sample_rate=500, name=name, units=units[name])
            writer.fsr_f32(number, 0, values[name].astype(np.float32))
    return path


def comma_table(path, *, encoding="utf-8-sig", delimiter=";"):
    """A byte order mark, a preamble, a line of units, decimal commas, Windows' line ends."""
    time_s, power_w, _ = table_columns()
    lines = ["Messung vom 4. Mai", "", "Kanal;A", "Zeit;Leistung".replace(";", delimiter)]
    lines.append("(s);(mW)".replace(";", delimiter))
    lines += [
        f"{t:.4f}{delimiter}{p * 1e3:.3f}".replace(".", ",")
        for t, p in zip(time_s.tolist(), power_w.tolist(), strict=True)
    ]
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode(encoding))
    return path


def plain_table(path, header, delimiter=","):
    time_s, power_w, _ = table_columns()
    return write_table(path, (time_s, power_w), header=header, delimiter=delimiter)


FORMATS = {
    "monsoon": (monsoon, {}, (), "monsoon", "battery"),
    "monsoon in seconds": (monsoon, {"time_scale": 1.0}, (), "monsoon", "battery"),
    "monsoon with numpy 2": (
        monsoon, {"time_scale": 1.0, "wrap": "np.float64(%s)"}, (), "monsoon", "battery",
    ),
    "monsoon's usb channel": (
        monsoon, {"header": "Time(ms),USB(mA),USB Voltage(V),"}, (), "monsoon", "usb",
    ),
    "ppk2": (ppk2, {}, ("--supply-volt", 4.0), "ppk2", "battery"),
    "ppk2's channel": (
        ppk2, {}, ("--supply-volt", 4.0, "--load-channel", "D1"), "ppk2", "battery",
    ),
    "ppk2's channels apart": (
        ppk2, {"bits": "apart"}, ("--supply-volt", 4.0, "--load-channel", "D1"), "ppk2", "battery",
    ),
    "ppk2 without channels": (
        ppk2, {"bits": "none"}, ("--supply-volt", 4.0), "ppk2", "battery",
    ),
    "decimal commas": (comma_table, {}, ("--plane", "usb"), "meter", "usb"),
    "utf-16": (comma_table, {"encoding": "utf-16"}, ("--plane", "usb"), "meter", "usb"),
    "tabs": (comma_table, {"delimiter": "\t"}, ("--plane", "usb"), "meter", "usb"),
    "spaces": (
        plain_table, {"header": "# time power/W", "delimiter": "  "},
        ("--time-unit", "s", "--plane", "battery"),
        "meter", "battery",
    ),
    "no header": (
        plain_table, {"header": None},
        ("--time-unit", "s", "--value-unit", "W", "--plane", "battery"),
        "meter", "battery",
    ),
    "columns by number": (
        plain_table, {"header": "a,b"},
        ("--time-column", 1, "--time-unit", "s", "--value-column", 2, "--value-unit", "W",
         "--plane", "battery"),
        "meter", "battery",
    ),
    "rows counted": (
        plain_table, {"header": "ignored,P [W]"},
        ("--time-column", "row", "--time-unit", "0.002", "--plane", "battery"), "meter", "battery",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_energy(name, meter_import, tmp_path):
    """The same powers, as each meter writes them."""
    write, options, words, source, plane = FORMATS[name]
    trace = write(tmp_path / "trace.csv", **options)

    estimate = meter_import(trace, "-n", ITERATIONS, *words).estimate

    assert_is_step_trace(estimate)
    assert (estimate["source"], estimate["plane"]) == (source, plane)
    by_channel = "--load-channel" in words
    assert estimate["windows_from"] == ("digital channel" if by_channel else "steps")


@pytest.mark.parametrize("names", [("power",), ("current", "voltage"), ("power", "voltage")])
def test_a_joulescope_recording(names, meter_import, tmp_path):
    """Its power, or its current times its voltage."""
    trace = joulescope(tmp_path / "trace.jls", names)
    words = () if "voltage" in names else ("--plane", "battery")

    estimate = meter_import(trace, "-n", ITERATIONS, *words).estimate

    assert_is_step_trace(estimate)
    assert (estimate["source"], estimate["plane"]) == ("joulescope", "battery")


def test_what_is_no_recording_is_one_error(meter_import, tmp_path, capfd):
    """What the library logs of its own does not stand beside it."""
    trace = plain_table(tmp_path / "trace.csv", "t(s),P(W)")

    error = meter_import(trace, "-n", 1, "--format", "joulescope").error

    assert isinstance(error, MeterFileError)
    assert "invalid file header" not in capfd.readouterr().err


def test_without_pyjls_a_recording_is_refused_with_the_extra(meter_import, tmp_path, monkeypatch):
    """Its absence is said, and what to install."""
    monkeypatch.setitem(sys.modules, "pyjls", None)
    (tmp_path / "trace.jls").write_bytes(b"")

    error = meter_import(tmp_path / "trace.jls", "-n", 1).error

    assert isinstance(error, MeterFileError)
    assert "mobilekit[joulescope]" in error.fix


def test_both_channels_of_a_monsoon_are_kept_apart(meter_import, tmp_path):
    """--plane chooses the channel: USB's and the battery's figures never mix."""
    time_s, power_w, _ = table_columns()
    trace = write_table(
        tmp_path / "trace.csv",
        (time_s * 1e3, power_w / 4 * 1e3, power_w / 4 * 1e3, time_s * 0 + 4, time_s * 0 + 5),
        header="Time(ms),Main(mA),USB(mA),Main Voltage(V),USB Voltage(V)",
    )

    battery = meter_import(trace, "-n", ITERATIONS).estimate
    usb = meter_import(trace, "-n", ITERATIONS, "--plane", "usb").estimate

    assert battery["plane"] == "battery"
    assert usb["plane"] == "usb"
    assert usb["gross_j"] == pytest.approx(1.25 * battery["gross_j"], rel=1e-3)


def test_the_document_is_versioned_and_strict(meter_import, tmp_path):
    """It decodes as the record that it says it is, and names the file by its content."""
    trace = plain_table(tmp_path / "trace.csv", "t(s),P(W)")

    document = meter_import(trace, "-n", ITERATIONS, "--plane", "battery").document
    decoded = decode(msgspec.json.encode(document), MeterDocument, source="stdout")

    assert document["schema"] == "mobilekit.meter/3"
    assert decoded.trace.sha256 == hashlib.sha256(trace.read_bytes()).hexdigest()
    assert decoded.charge is None


# --- what a meter may do -----------------------------------------------------------------------


def test_small_losses_are_borne_and_said(meter_import, tmp_path):
    """A few readings missing, out of order or twice, and a short gap, are counted."""
    time_s, power_w = step_trace()
    cells = [f"{t:.4f},{p:.5f}" for t, p in zip(time_s, power_w, strict=True)]
    cells[100] = f"{time_s[100]:.4f},"
    cells[2000], cells[2001] = cells[2001], cells[2000]
    cells[3000:3000] = [cells[3000]] * 5
    del cells[2500:2515]
    trace = tmp_path / "trace.csv"
    trace.write_text("t(s),P(W)\n" + "\n".join(cells) + "\n")

    document = meter_import(trace, "-n", ITERATIONS, "--plane", "usb").document

    assert_is_step_trace(document["estimate"])
    found = {name: document["trace"][name] for name in ("missing", "misplaced", "gaps")}
    assert found == {"missing": 1, "misplaced": 1, "gaps": 1}


def test_a_last_line_that_is_cut_off_is_left_out(meter_import, tmp_path):
    """A meter that lost power ends its file anywhere."""
    trace = plain_table(tmp_path / "trace.csv", "t(s),P(W)")
    trace.write_bytes(trace.read_bytes()[:-3] + b"\n28.0,1.")
    whole = meter_import(trace, "-n", ITERATIONS, "--plane", "usb").document
    trace.write_bytes(trace.read_bytes() + b"\n28.002,1.0e")

    cut = meter_import(trace, "-n", ITERATIONS, "--plane", "usb").document

    assert cut["trace"]["samples"] == whole["trace"]["samples"]
    assert "the last line is cut off and left out" in cut["trace"]["notes"]
    assert_is_step_trace(cut["estimate"])


def test_a_short_disturbance_is_no_load_window(meter_import, tmp_path):
    """A burst of something else in an idle window is neither load nor idle."""
    time_s, power_w = step_trace()
    power_w[(time_s > 9.0) & (time_s < 9.4)] += 2.0
    trace = write_table(tmp_path / "trace.csv", (time_s, power_w), header="t(s),P(W)")

    assert_is_step_trace(meter_import(trace, "-n", ITERATIONS, "--plane", "usb").estimate, rel=0.01)


def test_a_slow_meter_serves_too(meter_import, tmp_path):
    """A USB tester that logs once a second or so, at uneven times."""
    generator = np.random.default_rng(1)
    time_s = np.cumsum(generator.uniform(0.7, 1.3, 700))
    power_w = np.where(time_s // 100 % 2 == 1, 3.0, 1.0) + generator.normal(0, 0.02, 700)
    trace = write_table(tmp_path / "trace.csv", (time_s, power_w), header="t(s),P(W)")

    estimate = meter_import(trace, "-n", 300, "--plane", "usb").estimate

    assert estimate["seconds_per_inference"] == pytest.approx(1, rel=0.01)
    assert estimate["gross_j"] == pytest.approx(3.0, rel=0.015)


# --- refusals ----------------------------------------------------------------------------------


def power_file(path, change):
    time_s, power_w = step_trace()
    time_s, power_w = change(time_s, power_w)
    return write_table(path, (time_s, power_w), header="t(s),P(W)")


REFUSED = {
    "no step": (lambda t, p: (t, 0 * p + 1 + 0.02 * np.sin(t * 99)), "no clear step"),
    "begins in load": (lambda t, p: (t[2500:], p[2500:]), "begins within a load"),
    "ends in load": (lambda t, p: (t[:11000], p[:11000]), "ends within a load"),
    "gap in a load": (lambda t, p: (np.delete(t, range(2500, 2700)),
                                    np.delete(p, range(2500, 2700))), "gap in a window"),
    "meter restarted": (lambda t, p: (t % 14, p), "lie in time before"),
    "readings missing": (lambda t, p: (t, np.where(np.arange(len(p)) % 50, p, np.nan)),
                         "have no number"),
    "overload": (lambda t, p: (t, np.where(p > 3.05, np.inf, p)), "overloaded"),
    "negative": (lambda t, p: (t, p - 10), "which no phone draws"),
    "milliwatts as watts": (lambda t, p: (t, p * 1000), "which no phone draws"),
    "time stands still": (lambda t, p: (t * 0, p), "samples have the same time"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_trace_that_tells_nothing_is_refused(name, meter_import, tmp_path):
    """Each by what is wrong with it."""
    change, what = REFUSED[name]
    trace = power_file(tmp_path / "trace.csv", change)

    error = meter_import(trace, "-n", ITERATIONS, "--plane", "usb").error

    assert isinstance(error, MeterTraceError)
    assert what in error.what


def test_a_gap_in_a_load_that_is_marked_is_refused(meter_import, tmp_path):
    """It does not become idle time, by which the energy of its inferences would be lost."""
    trace = ppk2(tmp_path / "trace.csv")
    lines = trace.read_text().splitlines()
    trace.write_text("\n".join(lines[:2500] + lines[2700:]) + "\n")
    words = ("-n", ITERATIONS, "--supply-volt", 4.0, "--load-channel", "D1")

    error = meter_import(trace, *words).error

    assert isinstance(error, MeterTraceError)
    assert "gap in a window" in error.what
    assert "delete the lines" in error.fix


@pytest.mark.parametrize(("high", "said"), [("0", "never"), ("1", "always")])
def test_a_channel_that_marks_nothing_is_named(meter_import, tmp_path, high, said):
    """It is another channel than was meant, whatever the power does."""
    trace = ppk2(tmp_path / "trace.csv", bits="apart")
    head, *lines = trace.read_text().splitlines()
    moved = [f"{line.rsplit(',', 1)[0]},{high}" for line in lines]
    trace.write_text("\n".join([head, *moved]) + "\n")
    words = ("-n", ITERATIONS, "--supply-volt", 4.0, "--load-channel", "D2")

    error = meter_import(trace, *words).error

    assert isinstance(error, MeterTraceError)
    assert f"D2 is {said} high" in error.what


def test_a_zero_taken_of_an_idling_phone_is_doubted(meter_import, tmp_path):
    """All of the idle power is then taken for the meter's own; a true zero is not doubted."""
    time_s, power_w = step_trace()
    trace = write_table(tmp_path / "trace.csv", (time_s, power_w), header="t(s),P(W)")
    power_w = np.where(time_s < 2, power_w - 1.0, power_w) + 0.05
    zeroed = write_table(tmp_path / "zeroed.csv", (time_s, power_w), header="t(s),P(W)")
    words = ("-n", ITERATIONS, "--plane", "usb", "--zero", "0:2")

    doubtful, sound = (meter_import(path, *words).document for path in (trace, zeroed))

    assert doubtful["estimate"]["gross_j"] == pytest.approx(0.4, rel=0.01)
    (note,) = [note for note in doubtful["trace"]["notes"] if "--zero" in note]
    assert "100% of the idle reading" in note
    assert_is_step_trace(sound["estimate"])
    assert not [note for note in sound["trace"]["notes"] if "--zero" in note]


def test_a_zero_outside_the_trace_is_refused(meter_import, tmp_path):
    """What it would be taken from is not there."""
    trace = plain_table(tmp_path / "trace.csv", "t(s),P(W)")

    error = meter_import(trace, "-n", 1, "--plane", "usb", "--zero", "20:40").error

    assert isinstance(error, MeterTraceError)
    assert "zero" in error.what


GOOD = "t(s),P(W)\n" + "\n".join(f"{n * 0.01:.2f},1.5" for n in range(400)) + "\n"
UNREADABLE = {
    "empty": (b"", (), "empty"),
    "words": (b"hello\nworld\n", (), "No table of numbers"),
    "binary": (bytes(range(256)) * 40, (), "No table of numbers"),
    "a line of words": (GOOD.encode() + b"stopped,at\n" + b"9,1\n" * 9, (), "in place of a number"),
    "too many fields": (GOOD.encode() + b"9,1,1\n" + b"9,1\n" * 9, (), "has 3 fields"),
    "too few fields": (GOOD.encode() + b"9\n" + b"9,1\n" * 9, (), "has 1 fields"),
    "decimal comma among commas": (
        b"t(s),P(W)\n" + b"0,001,3,65\n" * 40, (), "header has 2 names",
    ),
    "which column": (b"t(s),P(W),Q(W)\n" + b"0.1,2,3\n" * 40, (), "which column is the reading"),
    "a shunt's voltage": (b"t(s),CH1(V)\n" + b"0.1,2\n" * 40, (), "shunt, give --shunt-ohm"),
    "which time": (b"a,b,P(W)\n" + b"0.1,2,3\n" * 40, (), "which column is the time"),
    "no quantity": (b"t(s),b\n" + b"0.1,2\n" * 40, (), "Nothing says what column"),
    "no voltage": (b"t(s),I(mA)\n" + b"0.1,2\n" * 40, (), "supply's voltage is missing"),
    "a voltage without shunt": (b"t(s),U(V)\n" + b"0.1,2\n" * 40,
                                ("--value-column", "U"), "not a power"),
    "shunt of a current": (b"t(s),I(A)\n" + b"0.1,2\n" * 40,
                           ("--shunt-ohm", 1, "--value-column", "I"), "no voltage across"),
    "no such column": (GOOD.encode(), ("--value-column", "x"), "no one column"),
    "no unit": (GOOD.encode(), ("--value-unit", "furlong"), "not a unit"),
    "no unit of time": (GOOD.encode(), ("--time-unit", "mA"), "not a unit of time"),
    "row without period": (GOOD.encode(), ("--time-column", "row"), "Row numbers"),
    "samples counted": (
        b"Sequence,Volt,-6e-3,1e-6\n" + b"".join(b"%d,0.1\n" % n for n in range(40)),
        ("--shunt-ohm", 0.12), "counts the samples",
    ),
    "delimiter": (GOOD.encode(), ("--delimiter", "::"), "cannot divide columns"),
    "decimal sign": (GOOD.encode(), ("--decimal", "'"), "not a decimal sign"),
    "dates": (b"time,P(W)\n" + b"04.05.2026 10 h,2\n" * 40, (), "has no numbers"),
    "no unit of the time": (
        b"time,P(W)\n" + b"".join(b"%.3f,2\n" % (n / 500) for n in range(40)), (),
        "in which unit the times",
    ),
    "no unit of a shunt's voltage": (
        b"t(s),U\n" + b"0.1,0.2\n" * 40, ("--shunt-ohm", 0.1), "--value-unit",
    ),
    "no plane": (GOOD.encode(), (), "on which side of the charger"),
    "no channel": (GOOD.encode(), ("--load-channel", "D9"), "no digital channel"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_understood_is_refused(name, meter_import, tmp_path):
    """With what is wrong, never with a guess."""
    data, words, what = UNREADABLE[name]
    trace = tmp_path / "trace.csv"
    trace.write_bytes(data)

    error = meter_import(trace, "-n", 1, *words).error

    assert isinstance(error, MeterFileError)
    assert what in f"{error.what}. {error.fix}"
    assert error.facts["path"] == str(trace)


def test_a_wrong_line_is_named_by_its_number(meter_import, tmp_path):
    """Counted from 1, preamble and header included, however far into the file it is."""
    trace = tmp_path / "trace.csv"
    trace.write_text("made,by\n\n" + GOOD + "oops,1\n" + "9,1\n" * 30)

    error = meter_import(trace, "-n", 1).error

    assert error.facts["line"] == str(2 + 401 + 1)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((), "how many inferences"),
        (("-n", 1, "--zero", "0:5", "--offset", 0.1), "exclude each other"),
        (("-n", 1, "--run", "x", "--load-channel", "D0"), "exclude each other"),
        (("-n", 1, "--supply-volt", 4, "--voltage-column", "U"), "exclude each other"),
        (("-n", 1, "--voltage-unit", "mV"), "no column that it is the unit of"),
        (("-n", 1, "--format", "joulescope", "--supply-volt", 4), "needs no description"),
        (("-n", 1, "--zero", "5:0"), "not a part of a trace"),
        (("-n", 1, "--shunt-ohm", 0), "must be above zero"),
        (("-n", 1, "--device", "nokia"), "no device profile"),
        (("-n", 1, "--plot", "power.txt"), "cannot be written as"),
        (("-n", 1, "--plot", "no/directory/power.png"), "no such directory"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_reading(words, what, meter_import, tmp_path):
    """A file of an hour is not read for nothing."""
    error = meter_import(tmp_path / "not-there.csv", *words).error

    assert isinstance(error, UsageError)
    assert what in error.what


def test_a_plot_that_fails_after_all_costs_no_answer(tmp_path, monkeypatch):
    """The answer is on standard output before it is drawn, as one document."""
    monkeypatch.setenv("MOBILEKIT_HOME", str(tmp_path / "home"))
    trace = plain_table(tmp_path / "trace.csv", "t(s),P(W)")
    plot = tmp_path / ("x" * 251 + ".png")
    words = ("-n", ITERATIONS, "--plane", "battery", "--plot", plot, "--json")

    result = CliRunner().invoke(app, ["meter", "import", str(trace), *map(str, words)])

    assert json.loads(result.stdout)["estimate"]["iterations"] == ITERATIONS
    assert result.exit_code == 2
    assert "File name too long" in result.stderr


def test_a_file_that_is_not_there(meter_import, tmp_path):
    """The path is named."""
    error = meter_import(tmp_path / "no.csv", "-n", 1).error

    assert isinstance(error, MeterFileError)
    assert "no.csv" in error.facts["path"]


# --- pictures ----------------------------------------------------------------------------------


def test_what_is_integrated_is_drawn(tmp_path):
    """The power, each load with its marginal energy on its idle level, and the idle windows."""
    imported = import_trace(
        plain_table(tmp_path / "trace.csv", "t(s),P(W)"),
        FileOptions(plane="usb"),
        TraceOptions(iterations=ITERATIONS),
        on_bytes=lambda _done, _of: None,
    )

    figure = draw_trace(imported.bins, imported.blocks, imported.trace, imported.estimate)

    (axes,) = figure.axes
    assert axes.get_title().startswith("trace.csv: 600 mJ [")
    assert axes.get_title().endswith("] gross and 400 mJ marginal per inference, meter, usb plane")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time in the trace (s)", "power (W)")
    assert axes.get_xlim() == pytest.approx((0, 28), abs=0.1)
    (power,) = axes.lines
    drawn_w = np.interp([2.0, 6.0, 10.0, 14.0], *power.get_data())
    assert drawn_w == pytest.approx([1, 3, 1, 3], abs=0.1)
    areas = [drawn for drawn in axes.collections if isinstance(drawn, FillBetweenPolyCollection)]
    below, above = (
        [area.get_paths() for area in areas if area.get_label().lstrip("_") == name]
        for name in ("the rest of the gross energy", "marginal energy")
    )
    assert [extent(*paths) for paths in below] == [
        pytest.approx((start, start + 4, 0, 1), abs=0.1) for start in (4, 12, 20)
    ]
    assert [extent(*paths) for paths in above] == [
        pytest.approx((start, start + 4, 1, 3), abs=0.1) for start in (4, 12, 20)
    ]
    levels = [drawn for drawn in axes.collections if isinstance(drawn, LineCollection)]
    assert [extent(*level.get_paths()) for level in levels] == [
        pytest.approx((start, start + 12, 1, 1), abs=0.5) for start in (0, 8, 16)
    ]
    # Neighbouring blocks share an idle window.
    spans = sorted((span.get_x(), span.get_x() + span.get_width()) for span in axes.patches)
    assert spans == [pytest.approx((start, start + 4), abs=0.5) for start in (0, 8, 16, 24)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "its range in a point",
        "power",
        "marginal energy",
        "the rest of the gross energy",
        "idle level",
        "idle window",
    ]


def extent(path):
    """Of something drawn: from and to in seconds, then in watts."""
    box = path.get_extents()
    return box.x0, box.x1, box.y0, box.y1


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_power_over_time_is_drawn(suffix, mobilekit, tmp_path):
    """Into the format of the file's name, and whole or not at all."""
    trace = plain_table(tmp_path / "trace.csv", "t(s),P(W)")
    picture = tmp_path / f"power.{suffix}"

    mobilekit("meter", "import", trace, "-n", 60, "--plane", "usb", "--plot", picture)

    beginning = {"png": b"\x89PNG", "svg": b"<?xml"}[suffix]
    assert picture.read_bytes().startswith(beginning)
    assert sorted(path.name for path in tmp_path.glob("power*")) == [picture.name]
