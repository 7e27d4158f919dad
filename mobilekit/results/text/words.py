"""Words that several texts share."""

from __future__ import annotations

from mobilekit.records.energy import EnergySource, IntervalKind, Plane
from mobilekit.records.statistics import Origin

VIRTUAL_LABEL = "virtual: latency is this computer's, energy is simulated"

SOURCE_NAMES: dict[EnergySource, str] = {
    "charge_counter": "charge counter",
    "current_now": "current x voltage",
    "energy_counter": "energy counter",
    "power_rails": "power rails",
}

PLANE_NAMES: dict[Plane, str] = {
    "usb": "in the USB cable",
    "battery": "at the battery",
    "rails": "of the parts that have one",
}

STEP_NAMES: dict[EnergySource, str] = {
    "charge_counter": "steps",
    "current_now": "readings",
    "energy_counter": "steps",
    "power_rails": "readings",
}


def unless_measured(origin: Origin, form: str) -> str:
    """The word that no figure but a measured one may be shown without."""
    return "" if origin == "measured" else form.format(origin)


def blocks_text(blocks: int, kind: IntervalKind) -> str:
    return f"{'range of ' if kind == 'block_range' else ''}{blocks} blocks"
