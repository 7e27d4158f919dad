import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.units import (
    charge_energy_j,
    format_bytes,
    format_count,
    format_duration,
    format_energy,
    format_significant,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(9.996, "10.0"), (9.994, "9.99"), (99.96, "100"), (0.12345, "0.123"), (227, "227"), (0, "0")],
)
def test_three_significant_digits(value, text):
    """Rounding comes before the choice of decimals, so 9.996 is 10.0 and not 10.00."""
    assert format_significant(value) == text


@given(st.floats(1e-6, 1e6))
def test_formatting_keeps_the_value(value):
    """What is printed is the value to three digits."""
    assert float(format_significant(value).replace(",", "")) == pytest.approx(value, rel=5.1e-3)


def test_units_fit_or_follow():
    """A duration takes the unit that fits, or the one of the figure that it stands beside."""
    assert format_duration(1_080_000_000) == "1.08 s"
    assert format_duration(69_700) == "69.7 us"
    assert format_duration(69_700, like_ns=9_980_000) == "0.0697 ms"
    assert format_duration(12) == "12 ns"
    assert format_bytes(30_381_088) == "29.0 MiB"
    assert format_energy(3.65) == "3.65 J"
    assert format_energy(0.0412) == "41.2 mJ"
    assert format_count(14_795) == "14,800"
    assert format_count(12.3) == "12.3"


def test_energy_of_a_charge():
    """Half a milliampere-hour at 3.85 V is the 6.93 J of a usual gauge's step."""
    assert charge_energy_j(500, 3850) == pytest.approx(6.93)
