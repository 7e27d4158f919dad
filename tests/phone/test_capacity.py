from pathlib import Path

import pytest
from examples import battery_status
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.phone.capacity import judge_capacity
from mobilekit.phone.parse import parse_battery
from mobilekit.units import CHARGE_UNITS_UAH, charge_unit

CAPTURED = Path(__file__).parents[1] / "captured"
DEFAULT = "Estimated power use (mAh):\n    Capacity: 1000, Computed drain: 12.3, actual drain: 10\n"
STATED = "  Estimated battery capacity: 5000 mAh\n"
LEARNED = "  Last learned battery capacity: 4123 mAh\n"


def told(level=80, counter=None, voltage=3900, stopped=False):
    stop = "  (UPDATES STOPPED -- use 'reset' to restart)\n" if stopped else ""
    count = "" if counter is None else f"  Charge counter: {counter}\n"
    return parse_battery(
        f"Current Battery Service state:\n{stop}{count}  level: {level}\n  voltage: {voltage}\n"
    )


def test_a_counter_in_milliampere_hours():
    """A Redmi's 4190 at 79 % is a battery of 5,304 mAh, and not one of 5.3."""
    battery = parse_battery((CAPTURED / "battery-redmi-mah.txt").read_text(encoding="utf-8"))

    capacity = judge_capacity(battery, "Estimated power use (mAh):\n")

    assert (capacity.verdict, capacity.uah) == ("known", 5_303_797)
    assert "in mAh on this phone" in capacity.source


def test_androids_default_is_not_believed_against_the_counter():
    """2,016 mAh at 50 % are a battery of 4,032 mAh, whatever batterystats says by default."""
    capacity = judge_capacity(told(50, 2_016_000, 3870), DEFAULT)

    assert (capacity.verdict, capacity.uah) == ("known", 4_032_000)
    assert "1,000 mAh of batterystats are Android's default" in capacity.source


@pytest.mark.parametrize(
    ("battery", "batterystats", "verdict", "uah"),
    [
        pytest.param(told(), STATED, "known", 5_000_000, id="stated alone"),
        pytest.param(told(), LEARNED, "known", 4_123_000, id="learned alone"),
        pytest.param(told(), STATED + LEARNED, "known", 4_123_000, id="learned before stated"),
        pytest.param(told(80, 3_900_000), STATED, "known", 5_000_000, id="counter confirms"),
        pytest.param(told(80, 2_800_000), STATED, "known", 3_500_000, id="an aged battery"),
        pytest.param(told(80, 3_300_000), LEARNED, "known", 4_123_000, id="learned is confirmed"),
        pytest.param(
            told(),
            "  Capacity: 4410000",
            "known",
            4_410_000,
            id="batterystats in uAh",
        ),
        pytest.param(told(80, 3_200_000_000), "", "known", 4_000_000, id="a counter in nAh"),
        pytest.param(told(80, -148_000), STATED, "known", 5_000_000, id="a negative counter"),
        pytest.param(told(80, -148_000), "", "unknown", None, id="nothing but a negative counter"),
        pytest.param(told(80, 0), "", "unknown", None, id="frozen at 0"),
        pytest.param(told(80, 80), "", "unknown", None, id="percent"),
        pytest.param(told(3, 120_000), "", "unknown", None, id="too low to tell"),
        pytest.param(told(10, 1_000_000, 4350), "", "unknown", None, id="the voltage says full"),
        pytest.param(told(), DEFAULT, "unknown", None, id="nothing but the default"),
        pytest.param(told(), "  Capacity: 12", "unknown", None, id="a watch's"),
        pytest.param(told(80, 2_000_000), STATED, "contradictory", None, id="half: two cells"),
        pytest.param(told(80, 6_000_000), STATED, "contradictory", None, id="more than was stated"),
        pytest.param(told(80, 1_800_000), LEARNED, "contradictory", None, id="learned otherwise"),
        pytest.param(told(50, 4_000_000), STATED, "contradictory", None, id="level was set"),
        pytest.param(
            told(50, 4_000_000, stopped=True), STATED, "known", 5_000_000, id="and says so"
        ),
    ],
)
def test_witnesses_of_a_capacity(battery, batterystats, verdict, uah):
    """Each is believed as long as none of the others speaks against it."""
    capacity = judge_capacity(battery, batterystats)

    assert (capacity.verdict, capacity.uah) == (verdict, uah)
    assert capacity.source


def test_a_contradiction_says_who_says_what():
    """All figures, and what a half of the stated one suggests."""
    source = judge_capacity(told(80, 2_000_000), STATED).source

    assert "5,000 mAh" in source
    assert "2,500 mAh" in source
    assert "two cells" in source


def test_a_profiles_figure_stands_and_is_checked():
    """What the phone tells is held against it; a learned charge that cannot be right is dropped."""
    agreed = judge_capacity(told(80, 3_200_000), LEARNED, 4_000_000)
    against = judge_capacity(told(80, None), "  Last learned battery capacity: 1400 mAh", 4_000_000)

    assert (agreed.verdict, agreed.learned_uah) == ("known", 4_123_000)
    assert (against.verdict, against.learned_uah) == ("contradictory", None)
    assert "its device profile says 4,000 mAh, against the learned 1,400 mAh" in against.source


@given(
    st.floats(1_000_000, 20_000_000),
    st.integers(5, 100),
    st.sampled_from(sorted(CHARGE_UNITS_UAH)),
)
def test_any_batterys_counter_is_understood(full_uah, level, unit):
    """Whatever of the three units it is in."""
    assert charge_unit(full_uah * level / 100 / CHARGE_UNITS_UAH[unit], level) == unit


@given(st.integers(), st.one_of(st.none(), st.integers(0, 100)), st.text())
def test_no_phone_breaks_the_judgement(counter, level, batterystats):
    """Whatever it tells there is a verdict, and a capacity only if it is known."""
    battery = battery_status(told_counter=counter, level_percent=level)

    capacity = judge_capacity(battery, batterystats)

    assert (capacity.uah is not None) == (capacity.verdict == "known")
