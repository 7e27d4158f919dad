"""What a phone's battery holds, by what the phone itself tells: pure functions.

Up to three witnesses speak of it: the charge that the gauge has learned, the one that the maker has
stated (both in ``dumpsys batterystats``), and the charge counter over the level that is shown
(``dumpsys battery``). None is believed alone where another one speaks against it. Each is a full
charge, so that its unit is the one in which it is a phone's battery's.
"""

from __future__ import annotations

from mobilekit.phone.parse import parse_learned_capacity, parse_stated_capacity
from mobilekit.records.device import BatteryCapacity, BatteryStatus
from mobilekit.units import (
    CHARGE_UNITS_UAH,
    LEAST_TELLING_PERCENT,
    SHARE_OF_STATED,
    full_charge_unit,
)

ANDROID_DEFAULT_UAH = 1_000_000
"""``battery.capacity`` in Android's own power profile, which makers are to replace and some do
not."""
ALIKE = 1.25
"""How far what two witnesses tell of one battery may lie apart: the level that is shown is rounded,
and keeps a reserve."""
TWO_CELLS = (2.0, 0.5)


def judge_capacity(
    battery: BatteryStatus, batterystats: str, profile_uah: int | None = None
) -> BatteryCapacity:
    """The capacity that can be believed, or why there is none.

    ``profile_uah`` is that of a device profile, which a person answers for: it is the stated one
    then, and stays known whatever else is told, but what contradicts it is said.
    """
    learned_uah, learned_doubt = _as_full_charge(parse_learned_capacity(batterystats), "learned")
    stated_uah, stated_doubt = _as_full_charge(parse_stated_capacity(batterystats), "stated")
    counted_uah, counted_doubt = _counted(battery)
    stated_by = "dumpsys batterystats"
    if profile_uah is not None:
        stated_uah, stated_doubt, stated_by = profile_uah, "", "its device profile"
    elif stated_uah == ANDROID_DEFAULT_UAH:
        stated_uah = None
        stated_doubt = f"the {_text(ANDROID_DEFAULT_UAH)} of batterystats are Android's default"
    doubts = "; ".join(doubt for doubt in (learned_doubt, stated_doubt, counted_doubt) if doubt)
    aged = {
        f"the learned {_text(learned_uah)}": learned_uah,
        f"the charge counter's {_text(counted_uah)}": counted_uah,
    }
    found = {name: uah for name, uah in aged.items() if uah is not None}
    low, high = SHARE_OF_STATED
    against = [
        f"{name}{_cells_hint(uah / stated_uah)}"
        for name, uah in found.items()
        if stated_uah is not None and not low <= uah / stated_uah <= high
    ]
    if against:
        what = f"{stated_by} says {_text(stated_uah)}, against {' and '.join(against)}"
        return _contradictory(what, doubts)
    if learned_uah and counted_uah and not 1 / ALIKE <= learned_uah / counted_uah <= ALIKE:
        return _contradictory(f"{' against '.join(found)}", doubts)
    told = f" ({doubts})" if doubts else ""
    if learned_uah is not None:
        return _known(learned_uah, f"the charge that the gauge has learned{told}", learned_uah)
    worn = stated_uah is not None and counted_uah is not None and counted_uah * ALIKE < stated_uah
    if counted_uah is not None and (stated_uah is None or worn):
        unit = battery.counter_unit
        odd = f", which is in {unit} on this phone," if unit != "uAh" else ""
        return _known(counted_uah, f"the phone's charge counter{odd} over its level{told}", None)
    if stated_uah is not None:
        return _known(stated_uah, f"the phone's own figure: {stated_by}{told}", None)
    return BatteryCapacity(
        verdict="unknown",
        uah=None,
        source=doubts or "it tells neither a capacity nor a charge counter with its level",
        learned_uah=None,
    )


def _as_full_charge(told: float | None, what: str) -> tuple[int | None, str]:
    """In microampere-hours, and what speaks against it where it cannot be a battery's."""
    if told is None:
        return None, ""
    # Android's word is mAh; one phone's number may be in another unit all the same.
    unit = full_charge_unit(told)
    if unit is None:
        return None, f"the {what} capacity of {told:,.10g} mAh is no phone's"
    return round(told * CHARGE_UNITS_UAH[unit]), ""


def _counted(battery: BatteryStatus) -> tuple[int | None, str]:
    """The charge counter over the level, or why it says nothing; nothing of a missing one."""
    counter, level = battery.told_counter, battery.level_percent
    if counter is None:
        return None, ""
    if battery.updates_stopped:
        return None, "somebody has set the level that it shows"
    if level is None or level < LEAST_TELLING_PERCENT:
        return None, "its level is too low to tell, or is not told"
    if battery.charge_counter_uah is None:
        return None, f"its charge counter of {counter:,} at {level} % is no battery's in any unit"
    if not _fits(level, battery.voltage_mv):
        return None, f"its level of {level} % does not go with {battery.voltage_mv:,} mV"
    return round(battery.charge_counter_uah * 100 / level), ""


def _fits(level_percent: int, voltage_mv: int | None) -> bool:
    """Whether a lithium cell can be at that level; charging raises its voltage, load lowers it."""
    if voltage_mv is None:
        return True
    cell_mv = voltage_mv / 2 if voltage_mv > 5000 else voltage_mv
    high_and_empty = level_percent >= 50 and cell_mv < 3300
    low_and_full = level_percent <= 15 and cell_mv > 4200
    return not (high_and_empty or low_and_full)


def _known(uah: int, source: str, learned_uah: int | None) -> BatteryCapacity:
    return BatteryCapacity(verdict="known", uah=uah, source=source, learned_uah=learned_uah)


def _contradictory(what: str, doubts: str) -> BatteryCapacity:
    source = f"{what}; {doubts}" if doubts else what
    return BatteryCapacity(verdict="contradictory", uah=None, source=source, learned_uah=None)


def _cells_hint(ratio: float) -> str:
    close = any(abs(ratio / other - 1) <= 0.1 for other in TWO_CELLS)
    return f" ({ratio:.2g} of it: a battery of two cells?)" if close else ""


def _text(uah: int | None) -> str:
    return "-" if uah is None else f"{uah / 1000:,.0f} mAh"
