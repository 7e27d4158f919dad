"""What `check` found, for people."""

from __future__ import annotations

from mobilekit.analysis.gate import GatedFigure, GatedSide
from mobilekit.results.documents import CheckDocument
from mobilekit.results.tables.cells import Absent, Cell, CellOrigin, Column, Number, make_table
from mobilekit.results.tables.text import render_text

LABELS = {
    "latency": "latency p50",
    "init": "init p50",
    "energy": "energy, gross",
    "memory": "memory by load and inference",
    "size": "artifact",
}


def render_check(document: CheckDocument, width: int | None = None) -> str:
    gate = document.gate
    place = f"{document.device} (virtual)" if document.virtual else document.device
    lines = [
        f"{document.model} on {place}: {gate.verdict}",
        f"{_runs(len(gate.now_ids))} against {_runs(len(gate.baseline_ids))} of the baseline",
        "",
    ]
    table = make_table(
        (
            "figure",
            Column("baseline", holds="numbers"),
            Column("now", holds="numbers"),
            Column("change", holds="numbers"),
            Column("allowed", holds="numbers"),
            "verdict",
        ),
        (
            (
                LABELS[each.name],
                _value(each, each.baseline, virtual=document.virtual),
                _value(each, each.now, virtual=document.virtual),
                _change(each),
                f"{each.limit:+.1%}",
                each.verdict,
            )
            for each in gate.figures
        ),
    )
    lines.append(render_text(table, width))
    notes = [f"{LABELS[each.name]}: {each.reason}" for each in gate.figures if each.reason]
    notes += [
        f"{each.id}: now {each.side}, the baseline {each.against}: {each.meaning}"
        for each in gate.differences
    ]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _value(figure: GatedFigure, side: GatedSide | None, *, virtual: bool) -> Cell:
    if side is None or figure.unit is None:
        return Absent()
    origin: CellOrigin = figure.origin
    if virtual and origin == "measured":
        origin = "virtual"
    return Number(side.typical, figure.unit, origin=origin)


def _change(figure: GatedFigure) -> Cell:
    if figure.ratio is None:
        return Absent()
    text = f"{figure.ratio.value - 1:+.1%}"
    interval = figure.ratio.interval
    if interval is None or interval.low == interval.high:
        return text
    return f"{text} [{interval.low - 1:+.1%}, {interval.high - 1:+.1%}]"
