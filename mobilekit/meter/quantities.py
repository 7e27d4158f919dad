"""Units as meters and people write them, read by pint.

pint knows every unit and prefix, in any case of letters: ``ma`` is a milliampere and a milliyear.
Of what it finds, only what a trace of power can be in is taken, and nothing where two fit.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import pint

Quantity = Literal["time", "voltage", "current", "power", "other"]
"""``other``: of a unit that is known and that nothing of a trace is in."""
SI_UNITS: dict[Quantity, str] = {
    "time": "second",
    "voltage": "volt",
    "current": "ampere",
    "power": "watt",
}
_QUANTITIES: dict[str, Quantity] = {
    "second": "time",
    "minute": "time",
    "hour": "time",
    "volt": "voltage",
    "ampere": "current",
    "watt": "power",
}
"""Of pint's names of units."""
_LARGEST: dict[Quantity, float] = {"time": 3600.0, "voltage": 1.0, "current": 1.0, "power": 1.0}
"""No phone draws megaamperes: what is written so is in doubt."""


class Unit(NamedTuple):
    quantity: Quantity
    size: float
    """In the quantity's SI unit; 1 for an ``other``."""


OTHER = Unit("other", 1.0)


@lru_cache(maxsize=256)
def read_unit(text: str) -> Unit | None:
    """``None`` for what is no unit, and for what can be read in two ways."""
    text = text.strip()
    if not text or len(text) > 20:
        return None
    registry = _registry()
    is_known = False
    # The case of a short unit tells it from others, that of a word does not.
    spellings = [(text, True), (text, False), *([(text.lower(), True)] if len(text) > 2 else [])]
    for spelling, exact in spellings:
        found = registry.parse_unit_name(spelling, case_sensitive=exact)
        is_known = is_known or bool(found)
        fitting = {
            unit
            for prefix, name, _ in found
            if name in _QUANTITIES
            and (unit := _unit(registry, prefix, name)).size <= _LARGEST[unit.quantity]
        }
        if fitting:
            return fitting.pop() if len(fitting) == 1 else None
    return OTHER if is_known else None


_AMOUNT = re.compile(
    r"(?P<number>[0-9][0-9_]*(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?|\.[0-9]+)\s*(?P<unit>[A-Za-zµμ]{0,20})"
)


def read_amount(text: str, unit: str) -> float | None:
    """How many of ``unit`` an amount such as ``100ms`` or ``200 MiB`` is; an empty unit is that of
    a plain number. ``None`` for what is no amount of such a unit, in the case that it is written
    in.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None or bool(match["unit"]) != bool(unit):
        return None
    number = float(match["number"])
    if not unit:
        return number
    import pint

    registry = _registry()
    try:
        return float(registry.Quantity(number, match["unit"]).to(unit).m)
    except (pint.UndefinedUnitError, pint.DimensionalityError):
        return None


def _unit(registry: pint.UnitRegistry[Any], prefix: str, name: str) -> Unit:
    quantity = _QUANTITIES[name]
    return Unit(quantity, float(registry.Quantity(1, prefix + name).to(SI_UNITS[quantity]).m))


@lru_cache(maxsize=1)
def _registry() -> pint.UnitRegistry[Any]:
    import pint

    return pint.UnitRegistry()
