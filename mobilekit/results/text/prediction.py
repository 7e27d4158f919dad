"""Predictions for people."""

from __future__ import annotations

from mobilekit.records.prediction import LatencyPrediction, PastError, PredictedChip
from mobilekit.records.statistics import Interval
from mobilekit.results.tables.cells import Absent, Cell, Column, Number, Row, Table, make_table
from mobilekit.results.tables.text import render_text
from mobilekit.units import NS_PER_MS


def render_predictions(predicted: PredictedChip, width: int | None = None) -> str:
    """A line for each network, then why any cannot be told, and how far this has been right."""
    threads = "" if predicted.threads is None else f", {_count(predicted.threads, 'thread')}"
    lines = [
        f"{predicted.chip}{threads} · predicted, as of {predicted.engine}",
        render_text(predictions_table(predicted), width),
    ]
    lines += [
        f"{each.network} cannot be told: {'; '.join(each.reasons)}."
        for each in predicted.predictions
        if each.reasons
    ]
    lines += [_past_text(each) for each in predicted.past_errors]
    return "\n".join(lines)


def predictions_table(predicted: PredictedChip) -> Table:
    rows = [
        Row((each.network, _latency_cell(each), _told_from(each)), origin="predicted")
        for each in predicted.predictions
    ]
    return make_table(
        ("network", Column("latency [90 %]", holds="numbers", scale="common"), "told from"), rows
    )


def _latency_cell(each: LatencyPrediction) -> Cell:
    if each.latency_ms is None or each.low_ms is None or each.high_ms is None:
        return Absent("cannot tell")
    interval = Interval(low=each.low_ms * NS_PER_MS, high=each.high_ms * NS_PER_MS)
    return Number(each.latency_ms * NS_PER_MS, "ns", interval, origin="predicted")


def _told_from(each: LatencyPrediction) -> str:
    if each.latency_ms is None:
        return "-"
    here = f"{_count(each.known, 'network')} measured here" if each.known else "the chip alone"
    return f"{here}; {'measured' if each.seen else 'never measured'} on other phones"


def _past_text(past: PastError) -> str:
    known = (
        f"With {_count(past.known, 'network')} measured on the phone"
        if past.known
        else "From the chip alone"
    )
    kind = "a network measured elsewhere" if past.seen else "a network measured nowhere"
    return (
        f"{known}, {kind} was predicted to {past.median_ape_percent:.1f} % (median; nine in ten to "
        f"{past.p90_ape_percent:.0f} %) on chips held back, and {past.coverage:.0%} of "
        f"{past.predictions:,} lay in their 90 % intervals."
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
