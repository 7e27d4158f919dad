"""Every figure of several measurements side by side, and its ratio to one of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import get_args

from mobilekit.analysis.answer import derive_answer
from mobilekit.analysis.compare.records import (
    UNITS,
    ComparedFigure,
    ComparedQuantity,
    Quantity,
    Unit,
)
from mobilekit.records.measurement import Measurement
from mobilekit.records.statistics import Interval, MemoryGrowth, Origin, Summary

MIN_COUNT_FOR_INTERVAL = 5
"""Two extremes of n samples hold the median with a probability of 1 - 2^(1 - n): 94 % for five of
them, 87.5 % for four, so that fewer can give no 95 % interval, whatever is computed."""


def ratio_of(first: Quantity | None, second: Quantity | None) -> Quantity | None:
    """``first`` over ``second`` with a 95 % interval; ``None`` unless both are positive.

    The interval recovers each logarithm's variance from its own interval's limits (MOVER: Zou and
    Donner, "Construction of confidence limits about effect measures: a general approach",
    Statistics in Medicine 27, 2008): for r = a / b, log r lies down to
    sqrt(log(a / a_low)^2 + log(b_high / b)^2) below its estimate, and up likewise. Both must be
    independent, and have an interval of positive limits; else there is none of the ratio.
    """
    if first is None or second is None or min(first.value, second.value) <= 0:
        return None
    value = first.value / second.value
    one, other = first.interval, second.interval
    if one is None or other is None or min(one.low, other.low) <= 0:
        return Quantity(value=value, interval=None)
    down = math.hypot(math.log(first.value / one.low), math.log(other.high / second.value))
    up = math.hypot(math.log(one.high / first.value), math.log(second.value / other.low))
    return Quantity(
        value=value,
        interval=Interval(low=value * math.exp(-down), high=value * math.exp(up)),
    )


def compare_figures(
    sides: Sequence[Measurement | None], against: Measurement
) -> Iterator[ComparedFigure]:
    """Each figure that anybody has, once for each origin; a side that is refused is ``None``."""
    reference = figures_of(against)
    others = [{} if side is None else figures_of(side) for side in sides]
    known = {key for figures in (reference, *others) for key in figures}
    for name, unit in UNITS.items():
        for origin in get_args(Origin):
            if (name, origin) in known:
                yield _compare_figure(name, origin, unit, others, reference)


Figures = dict[tuple[str, Origin], Quantity]
"""By name and origin."""


def _compare_figure(
    name: str, origin: Origin, unit: Unit, others: Sequence[Figures], reference: Figures
) -> ComparedFigure:
    against = reference.get((name, origin))
    quantities = [figures.get((name, origin)) for figures in others]
    return ComparedFigure(
        name=name,
        origin=origin,
        unit=unit,
        sides=tuple(
            ComparedQuantity(quantity=quantity, ratio=ratio_of(quantity, against))
            for quantity in quantities
        ),
        against=against,
    )


def figures_of(measurement: Measurement) -> Figures:
    """Every figure that a measurement has."""
    answer = derive_answer(measurement)
    measured: dict[str, Quantity | None] = {
        "init": _median(answer.init),
        "latency": _median(answer.latency),
        "artifact": _reading(measurement.artifact.size_bytes),
        **_memory_figures(answer.memory),
    }
    figures: Figures = {
        (name, "measured"): quantity for name, quantity in measured.items() if quantity is not None
    }
    available = _reading(measurement.device.available_bytes)
    if available is not None:
        # A virtual phone's is its profile's.
        figures["available", "simulated" if measurement.virtual else "measured"] = available
    energy, charge = answer.energy, answer.charge
    if energy is not None:
        figures["energy_gross", energy.origin] = Quantity(
            value=energy.gross_j, interval=energy.gross_interval_j
        )
        figures["energy_marginal", energy.origin] = Quantity(
            value=energy.marginal_j, interval=energy.marginal_interval_j
        )
    if charge is not None:
        figures["charge", charge.origin] = Quantity(
            value=charge.inferences, interval=charge.inferences_interval
        )
    return figures


def _memory_figures(memory: MemoryGrowth | None) -> dict[str, Quantity | None]:
    if memory is None:
        return {}
    measure = memory.measure.lower()
    return {
        f"load_{measure}": _reading(memory.load_bytes),
        f"inference_{measure}": _reading(memory.inference_bytes),
        "peak_rss": _reading(memory.peak_rss_bytes),
    }


def _median(summary: Summary | None) -> Quantity | None:
    if summary is None:
        return None
    enough = summary.count >= MIN_COUNT_FOR_INTERVAL
    return Quantity(value=summary.p50_ns, interval=summary.p50_interval_ns if enough else None)


def _reading(value: float | None) -> Quantity | None:
    return None if value is None else Quantity(value=value, interval=None)
