"""Every figure of two measurements side by side, and its ratio."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mobilekit.analysis.answer import derive_answer
from mobilekit.analysis.compare.records import UNITS, ComparedFigure, Quantity
from mobilekit.records.energy import ChargeEstimate, EnergyEstimate
from mobilekit.records.measurement import Measurement
from mobilekit.records.statistics import Interval, MemoryGrowth, Summary

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


def compare_figures(device: Measurement, against: Measurement) -> Iterator[ComparedFigure]:
    first, second = _figures(device), _figures(against)
    for name, unit in UNITS.items():
        if name in first or name in second:
            yield ComparedFigure(
                name=name,
                unit=unit,
                device=first.get(name),
                against=second.get(name),
                ratio=ratio_of(first.get(name), second.get(name)),
            )


def _figures(measurement: Measurement) -> dict[str, Quantity]:
    """Every figure that a measurement has."""
    answer = derive_answer(measurement)
    figures: dict[str, Quantity | None] = {
        "init": _median(answer.init),
        "latency": _median(answer.latency),
        "artifact": _reading(measurement.artifact.file.size_bytes),
        "available": _reading(measurement.device.available_bytes),
        **_memory_figures(answer.memory),
        **_energy_figures(answer.energy, answer.charge),
    }
    return {name: quantity for name, quantity in figures.items() if quantity is not None}


def _memory_figures(memory: MemoryGrowth | None) -> dict[str, Quantity | None]:
    if memory is None:
        return {}
    measure = memory.measure.lower()
    return {
        f"load_{measure}": _reading(memory.load_bytes),
        f"inference_{measure}": _reading(memory.inference_bytes),
        "peak_rss": _reading(memory.peak_rss_bytes),
    }


def _energy_figures(
    energy: EnergyEstimate | None, charge: ChargeEstimate | None
) -> dict[str, Quantity | None]:
    figures: dict[str, Quantity | None] = {}
    suffix = "_simulated" if energy is not None and energy.origin == "simulated" else ""
    if energy is not None:
        figures[f"energy_gross{suffix}"] = Quantity(
            value=energy.gross_j, interval=energy.gross_interval_j
        )
        figures[f"energy_marginal{suffix}"] = Quantity(
            value=energy.marginal_j, interval=energy.marginal_interval_j
        )
    if charge is not None:
        figures[f"charge{suffix}"] = Quantity(
            value=charge.inferences, interval=charge.inferences_interval
        )
    return figures


def _median(summary: Summary | None) -> Quantity | None:
    if summary is None:
        return None
    enough = summary.count >= MIN_COUNT_FOR_INTERVAL
    return Quantity(value=summary.p50_ns, interval=summary.p50_interval_ns if enough else None)


def _reading(value: float | None) -> Quantity | None:
    return None if value is None else Quantity(value=value, interval=None)
