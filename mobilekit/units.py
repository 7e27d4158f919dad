"""Unit conversions and the formatting of quantities, used only where text is made for people."""

from __future__ import annotations

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
MIB = 1024 * 1024
COULOMB_PER_UAH = 3.6e-3
NOMINAL_CELL_MV = 3850
"""The usual nominal voltage of a lithium cell, where nothing better is known."""
PLAUSIBLE_FULL_CHARGE_UAH = (800_000, 30_000_000)
"""Of phones and tablets. Its ends are less than a thousand apart, so that at most one of the units
below makes a battery of a number."""
CHARGE_UNITS_UAH = {"nAh": 1e-3, "uAh": 1.0, "mAh": 1e3}
SHARE_OF_STATED = (0.55, 1.25)
"""What a battery can hold of the capacity that its maker has stated: it ages, and the level that is
shown is rounded and keeps a reserve."""
LEAST_TELLING_PERCENT = 5
"""Of a level: below, its rounding alone is a tenth of it."""
PLAUSIBLE_CELL_MV = (2_000, 10_000)
"""Of one lithium cell, or of two in a row."""


def charge_energy_j(charge_uah: float, voltage_mv: float) -> float:
    """Energy in joules of a charge in microampere-hours at a voltage in millivolts: Q x V."""
    return charge_uah * COULOMB_PER_UAH * voltage_mv / 1000.0


def normalize_voltage_mv(value: float | None) -> int | None:
    """Android documents millivolts; some phones give microvolts, some volts.

    ``None`` for what is no voltage of a battery.
    """
    if not value or value < 0:
        return None
    if value > 100_000:
        value /= 1000
    elif value < 10:
        value *= 1000
    low_mv, high_mv = PLAUSIBLE_CELL_MV
    return int(value) if low_mv <= value <= high_mv else None


def full_charge_unit(value: float) -> str | None:
    """The one of ``CHARGE_UNITS_UAH`` in which ``value`` is what a phone's battery holds when it is
    full; ``None`` where there is none."""
    low_uah, high_uah = PLAUSIBLE_FULL_CHARGE_UAH
    return next(
        (unit for unit, uah in CHARGE_UNITS_UAH.items() if low_uah <= value * uah <= high_uah), None
    )


def charge_unit(counter: float, level_percent: float | None) -> str | None:
    """The unit that a charge counter is in, told from the charge that would make its battery full.

    Android documents microampere-hours; some phones give milliampere-hours, some nanoampere-hours.
    Without a level that tells anything, it is the one in which the charge itself is above 25 mAh
    and below 25 Ah. ``None`` where no unit fits: then the counter does not count what is left.
    """
    if level_percent is not None and level_percent >= LEAST_TELLING_PERCENT:
        return full_charge_unit(counter * 100 / level_percent)
    return next(
        (unit for unit, uah in CHARGE_UNITS_UAH.items() if 25_000 <= counter * uah < 25_000_000),
        None,
    )


def format_duration(duration_ns: float, like_ns: float | None = None) -> str:
    """``1.08 s``, ``13.0 ms``, ``15.2 us``: three significant digits in the unit that fits.

    ``like_ns`` chooses the unit in place of the duration itself, so that a line has one unit.
    """
    for unit, size in (("s", NS_PER_S), ("ms", NS_PER_MS), ("us", 1_000)):
        if abs(duration_ns if like_ns is None else like_ns) >= size:
            return f"{format_significant(duration_ns / size)} {unit}"
    return f"{duration_ns:.0f} ns"


def format_hours(hours: float) -> str:
    """``9.3 days``, ``14.2 h``, ``35.0 min``."""
    for unit, size in (("days", 24.0), ("h", 1.0)):
        if hours >= (2 * size if unit == "days" else size):
            return f"{format_significant(hours / size)} {unit}"
    return f"{format_significant(hours * 60)} min"


def format_bytes(size_bytes: float) -> str:
    """``29.0 MiB``, ``12.3 KiB``."""
    for unit, size in (("GiB", 1024 * MIB), ("MiB", MIB), ("KiB", 1024)):
        if abs(size_bytes) >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes:.0f} B"


def format_energy(energy_j: float) -> str:
    """``3.65 J``, ``41.2 mJ``, ``310 uJ``."""
    for unit, size in (("kJ", 1e3), ("J", 1.0), ("mJ", 1e-3)):
        if abs(energy_j) >= size:
            return f"{format_significant(energy_j / size)} {unit}"
    return f"{format_significant(energy_j / 1e-6)} uJ"


def format_power(power_w: float) -> str:
    """``3.38 W``, ``41.2 mW``, ``310 uW``."""
    for unit, size in (("W", 1.0), ("mW", 1e-3)):
        if abs(power_w) >= size:
            return f"{format_significant(power_w / size)} {unit}"
    return f"{format_significant(power_w / 1e-6)} uW"


def format_macs(macs: float) -> str:
    """``1,100 M``, ``23.4 k``, ``80``."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if macs >= size:
            return f"{format_significant(macs / size)} {unit}"
    return f"{macs:.0f}"


def format_count(count: float) -> str:
    """A large count rounded to three significant digits with thousands separators: ``14,800``."""
    if count < 1000:
        return f"{format_significant(count)}"
    digits = len(str(int(count))) - 3
    return f"{round(count, -digits):,.0f}"


def format_significant(value: float) -> str:
    """Three significant digits without an exponent: ``1.08``, ``13.0``, ``227``."""
    rounded = float(f"{value:.3g}")
    magnitude = abs(rounded)
    if magnitude >= 100 or magnitude == 0:
        return f"{rounded:,.0f}" if magnitude < 1000 else f"{value:,.0f}"
    if magnitude >= 10:
        return f"{rounded:.1f}"
    if magnitude >= 1:
        return f"{rounded:.2f}"
    return f"{rounded:.3g}"
