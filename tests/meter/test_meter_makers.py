"""Files as makers of oscilloscopes and meters write them, imported without naming a column."""

from functools import partial

import makers
import pytest

from mobilekit.errors import MeterFileError

SHUNT = ("--shunt-ohm", makers.SHUNT_OHM)
ALONE = (*SHUNT, "--supply-volt", makers.SUPPLY_V)
MAKERS = {
    "keysight, two voltages": (partial(makers.keysight), SHUNT, "shunt"),
    "keysight, one voltage": (partial(makers.keysight, "shunt"), ALONE, "shunt"),
    "keysight, a current probe": (partial(makers.keysight, "current, supply"), (), "meter"),
    "agilent dso3102a": (partial(makers.agilent_dso3000), SHUNT, "shunt"),
    "rigol ds1000z": (partial(makers.rigol_1000z), SHUNT, "shunt"),
    "rigol ds1000z, one channel": (partial(makers.rigol_1000z, 1), ALONE, "shunt"),
    "rigol dho": (partial(makers.rigol_dho), SHUNT, "shunt"),
    "rigol mso5000": (partial(makers.rigol_dho, times=False), SHUNT, "shunt"),
    "siglent": (partial(makers.siglent), SHUNT, "shunt"),
    "siglent, one channel": (partial(makers.siglent, 1), ALONE, "shunt"),
    "tektronix tds": (partial(makers.tektronix_tds), ALONE, "shunt"),
    "tektronix tds, units beside": (
        partial(makers.tektronix_tds, units_beside=True),
        ALONE,
        "shunt",
    ),
    "tektronix mso2000": (partial(makers.tektronix_mso), SHUNT, "shunt"),
    "tektronix mso5": (partial(makers.tektronix_mso, trailing=True), SHUNT, "shunt"),
    "gw instek": (partial(makers.gw_instek), SHUNT, "shunt"),
    "gw instek, one trace": (partial(makers.gw_instek, traces=1), ALONE, "shunt"),
    "monsoon powertool": (partial(makers.power_tool), (), "monsoon"),
    "monsoon powertool, amperes": (partial(makers.power_tool, amperes=True), (), "monsoon"),
    "monsoon powertool, both channels": (partial(makers.power_tool, usb=True), (), "monsoon"),
    "monsoon powertool, no voltage": (partial(makers.power_tool_without_voltage), (), "monsoon"),
    "fnirsi": (partial(makers.fnirsi_logger), (), "meter"),
    "fnirsi, iso times": (partial(makers.fnirsi_logger, moments=True), (), "meter"),
    "usb meter": (partial(makers.usb_meter), (), "meter"),
    "usb meter without power": (partial(makers.usb_meter, power=False), (), "meter"),
    "ruideng um25c": (partial(makers.um25c), (), "meter"),
    "ina219": (partial(makers.ina219), (), "meter"),
    "ina219, time of day": (partial(makers.ina219, "clock"), (), "meter"),
    "ina219, since 1970": (partial(makers.ina219, "epoch"), (), "meter"),
    "ina219 of a script": (partial(makers.ina219_script), (), "meter"),
}
COARSE = {"ruideng um25c": 0.04, "tektronix tds": 0.01, "tektronix tds, units beside": 0.01}
"""Where samples are so rare that their place in a step counts."""


def write(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", MAKERS)
def test_a_makers_file_gives_its_energy(name, meter_import, tmp_path):
    """1.20 J gross and 0.80 J marginal, with no column named."""
    make, words, source = MAKERS[name]
    # A power says nothing of its plane.
    needs_plane = source == "meter" and name not in ("keysight, a current probe",)
    plane = ("--plane", "usb") if needs_plane else ()

    estimate = meter_import(
        write(tmp_path / "trace.csv", make()), "-n", makers.INFERENCES, *words, *plane
    ).estimate

    rel = COARSE.get(name, 3e-3)
    assert estimate["gross_j"] == pytest.approx(1.20, rel=rel)
    assert estimate["marginal_j"] == pytest.approx(0.80, rel=rel)
    for figure, truth_j in (("gross", 1.20), ("marginal", 0.80)):
        interval = estimate[f"{figure}_interval_j"]
        assert interval["low"] < truth_j < interval["high"]
    assert estimate["source"] == source
    assert estimate["plane"] == ("battery" if source == "monsoon" else "usb")
    assert len(estimate["windows"]) == 3


# --- where the columns leave a doubt -----------------------------------------------------------


def counted():
    """A column that counts samples ten milliseconds apart."""
    return makers.lines_of(["n,P(W)"], lambda s: f"{s.index},{s.power_w:.4f}")


def with_trigger():
    """A shunt's voltage beside a pin that the phone's program raises, which is no supply."""
    return makers.lines_of(
        ["x-axis,1,2", "second,Volt,Volt"],
        lambda s: f"{s.time_s:.3f},{s.shunt_v:.5f},{3.3 if s.time_s % 13 < 11 else 0.0}",
    )


def two_alike():
    """Both ends of the shunt against ground."""
    return makers.lines_of(
        ["x-axis,1,2", "second,Volt,Volt"],
        lambda s: f"{s.time_s:.3f},{makers.SUPPLY_V},{makers.SUPPLY_V - s.shunt_v:.5f}",
    )


def power_of(title, factor=1.0):
    """A power beside a current and a voltage that make another."""
    return makers.lines_of(
        [f"Time(s),Voltage(V),Current(A),{title}"],
        lambda s: f"{s.time_s},5.1,{s.power_w / 5.1:.4f},{s.power_w * factor:.4f}",
        rate_hz=50,
    )


def data_line():
    """A current beside the voltage of a data line alone."""
    return makers.lines_of(
        ["Time(s),Current(A),D+(V)"], lambda s: f"{s.time_s},{s.power_w / 5.1:.4f},2.71",
        rate_hz=50,
    )  # fmt: skip


def contradicting():
    """Times without a unit that are a thousand times what the preamble says."""
    return makers.lines_of(
        ["Sample Interval,0.02", "time,P(W)"],
        lambda s: f"{s.time_s * 1000:.0f},{s.power_w:.4f}",
        rate_hz=50,
    )


def hours():
    """A column of seconds that says hours."""
    return makers.lines_of(["t(h),P(W)"], lambda s: f"{s.time_s},{s.power_w}", rate_hz=1)


def megawatts():
    """A power of no phone beside a current."""
    return makers.lines_of(
        ["Time(s),Current(A),Power(MW)"],
        lambda s: f"{s.time_s},{s.power_w / 5.1:.4f},{s.power_w:.4f}",
        rate_hz=50,
    )


DOUBTS = {
    "a count as seconds": (
        counted, ("--time-column", "n", "--time-unit", "s", "--plane", "usb"),
        "--time-unit s is in doubt", "--time-unit 0.002",
    ),
    "a count": (counted, ("--time-column", "n"), "counts the samples", "--time-unit 0.002"),
    "no time": (
        partial(makers.ina219, "none"), (), "which column is the time", "--time-column row",
    ),
    "a preamble that contradicts": (
        contradicting, ("--time-unit", "s"), "contradict the file", "--time-unit",
    ),
    "hours between samples": (
        hours, (),
        "3.6e+03 s apart", "--time-unit",
    ),
    "a trigger beside the shunt": (
        with_trigger, (*SHUNT, "--plane", "usb"), "is no supply's voltage", "--voltage-column",
    ),
    "both ends of the shunt": (two_alike, SHUNT, "across the shunt: '1' with 5.1 V",
                               "--value-column"),
    "a converter's counts": (
        partial(makers.gw_instek, "Fast", traces=1), ALONE, "converter's counts", "Detail",
    ),
    "a power that is another": (partial(power_of, "Power(W)", 2), (), "has 2", "--value-column"),
    "megawatts": (megawatts, (), "supply's voltage is missing", "--supply-volt"),
    "a data line's voltage": (data_line, (), "supply's voltage is missing", "--supply-volt"),
}  # fmt: skip


@pytest.mark.parametrize("name", DOUBTS)
def test_a_doubt_is_refused_with_what_settles_it(name, meter_import, tmp_path):
    """No figure comes of a guess."""
    make, words, what, fix = DOUBTS[name]

    error = meter_import(
        write(tmp_path / "trace.csv", make()), "-n", makers.INFERENCES, *words
    ).error

    assert isinstance(error, MeterFileError)
    assert what in error.what
    assert fix in error.fix


def test_a_sample_interval_tells_the_unit_of_the_times(meter_import, tmp_path):
    """Of times without one; a note says so."""
    document = meter_import(
        write(tmp_path / "trace.csv", contradicting()), "-n", makers.INFERENCES, "--plane", "usb"
    ).document

    assert [note for note in document["trace"]["notes"] if "is in 0.001 s" in note]
    assert document["estimate"]["gross_j"] == pytest.approx(1.20, rel=3e-3)


SETTLED = {
    "a count": (counted, ("--time-column", "n", "--time-unit", "0.01", "--plane", "usb")),
    "no time": (
        partial(makers.ina219, "none"),
        ("--time-column", "row", "--time-unit", "0.02", "--plane", "usb"),
    ),
    "a trigger beside the shunt": (
        with_trigger, (*SHUNT, "--value-column", "1", "--supply-volt", makers.SUPPLY_V),
    ),
    "a power that is another": (
        partial(power_of, "Power(W)", 2), ("--value-column", "Current(A)", "--plane", "usb"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SETTLED)
def test_what_settles_a_doubt_gives_the_energy(name, meter_import, tmp_path):
    """The message lets a person go on."""
    make, words = SETTLED[name]

    estimate = meter_import(
        write(tmp_path / "trace.csv", make()), "-n", makers.INFERENCES, *words
    ).estimate

    assert estimate["gross_j"] == pytest.approx(1.20, rel=3e-3)
    assert estimate["marginal_j"] == pytest.approx(0.80, rel=3e-3)


def test_a_voltage_behind_the_shunt_is_told_from_its_fall(meter_import, tmp_path):
    """The phone's own voltage falls by what the shunt's rises; the interval has both."""
    behind = write(tmp_path / "behind.csv", makers.siglent())
    before = write(tmp_path / "before.csv", makers.keysight())

    told = meter_import(behind, "-n", makers.INFERENCES, *SHUNT).document
    plain = meter_import(before, "-n", makers.INFERENCES, *SHUNT).document

    (note,) = [note for note in told["trace"]["notes"] if "behind the shunt" in note]
    assert "the 1.2% between both" in note
    assert not [note for note in plain["trace"]["notes"] if "the shunt, and" in note]
    voltages = [
        next((each["gross_j"] for each in document["estimate"]["budget"]
              if each["name"] == "voltage"), 0.0)
        for document in (told, plain)
    ]  # fmt: skip
    assert voltages == [pytest.approx(1.2 * 0.0118 / 3**0.5, rel=0.05), 0.0]


def test_a_meters_own_voltage_may_be_switched(meter_import, tmp_path):
    """Its name says whose it is, however it varies: the output was off at the beginning."""
    off = [f"{n / 100 - 5:.6f},0.0,0.0,0.0" for n in range(500)]
    head, *lines = makers.power_tool()

    estimate = meter_import(
        write(tmp_path / "trace.csv", [head, *off, *lines]), "-n", makers.INFERENCES,
        "--zero", "0:4.9",
    ).estimate  # fmt: skip

    assert estimate["gross_j"] == pytest.approx(1.20, rel=3e-3)


def test_times_that_the_preamble_contradicts_are_told(meter_import, tmp_path):
    """A column with a unit is believed, and a note says what the file says elsewhere."""
    lines = makers.siglent(1)
    lines[1] = "Sample Rate,2000.0"

    document = meter_import(
        write(tmp_path / "trace.csv", lines), "-n", makers.INFERENCES, *ALONE
    ).document

    assert [note for note in document["trace"]["notes"] if "say 0.0005 s" in note]
    assert document["estimate"]["gross_j"] == pytest.approx(1.20, rel=3e-3)
