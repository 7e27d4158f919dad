"""What is predicted of a network, as cells of tables; intervals are of 90 %."""

from __future__ import annotations

from typing import Literal

from mobilekit.records.prediction import NetworkPrediction, PredictedBytes
from mobilekit.records.statistics import Interval
from mobilekit.results.tables.cells import Absent, Number, Unit
from mobilekit.units import NS_PER_MS

PredictedFigure = Literal["latency", "energy_gross", "energy_marginal", "charge"]
PREDICTED_FIGURES: tuple[PredictedFigure, ...] = (
    "latency",
    "energy_gross",
    "energy_marginal",
    "charge",
)
CANNOT_TELL = Absent("cannot tell")


def predicted_cell(each: NetworkPrediction, figure: PredictedFigure) -> Number | Absent:
    energy, charge = each.energy, each.charge
    if figure == "latency" and each.latency_ms is not None and each.low_ms and each.high_ms:
        interval = Interval(low=each.low_ms * NS_PER_MS, high=each.high_ms * NS_PER_MS)
        return _predicted(each.latency_ms * NS_PER_MS, "ns", interval)
    if figure == "energy_gross" and energy is not None:
        return _predicted(energy.gross_j, "J", energy.gross_interval_j)
    if figure == "energy_marginal" and energy is not None:
        return _predicted(energy.marginal_j, "J", energy.marginal_interval_j)
    if figure == "charge" and charge is not None:
        return _predicted(charge.inferences, "inferences", charge.inferences_interval)
    return CANNOT_TELL


def memory_cell(told: PredictedBytes | None) -> Number | Absent:
    if told is None:
        return CANNOT_TELL
    interval = Interval(low=told.low_bytes, high=told.high_bytes)
    return _predicted(told.expected_bytes, "bytes", interval)


def _predicted(value: float, unit: Unit, interval: Interval) -> Number:
    return Number(value, unit, interval, origin="predicted")
