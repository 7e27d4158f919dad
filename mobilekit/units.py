"""Unit conversions and the formatting of quantities, used only where text is made for people."""

from __future__ import annotations

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
MIB = 1024 * 1024
COULOMB_PER_UAH = 3.6e-3
NOMINAL_CELL_MV = 3850
"""The usual nominal voltage of a lithium cell, where nothing better is known."""


def charge_energy_j(charge_uah: float, voltage_mv: float) -> float:
    """Energy in joules of a charge in microampere-hours at a voltage in millivolts: Q x V."""
    return charge_uah * COULOMB_PER_UAH * voltage_mv / 1000.0


def normalize_voltage_mv(value: int | None) -> int | None:
    """Android documents millivolts; some phones give microvolts, some whole volts.

    ``None`` for what is no voltage of a battery.
    """
    if not value or value < 0:
        return None
    if value > 100_000:
        return value // 1000
    return value * 1000 if value < 10 else value


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
