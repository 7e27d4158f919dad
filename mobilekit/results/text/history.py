"""What became of a network's figures, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mobilekit.analysis.history import Change, FigureHistory, History
from mobilekit.results.exchange import benchmark_name
from mobilekit.results.tables.cells import Cell, CellOrigin, Column, Number, make_table
from mobilekit.results.tables.text import render_text
from mobilekit.results.text.check import LABELS

_BETWEEN = {
    "one run": "one run's own interval",
    "range of runs": "range of fewer than five runs",
    "interval of runs": "95 % of runs",
}


def render_histories(histories: Iterable[History], width: int | None = None) -> str:
    return "\n\n".join(_render(history, width) for history in histories)


def _render(history: History, width: int | None) -> str:
    count = len(history.ids)
    table = make_table(
        (
            "figure",
            "since (UTC)",
            Column("runs", holds="numbers"),
            Column("level", holds="numbers"),
            "interval",
            "change",
            "by chance",
            "first run",
        ),
        (
            row
            for figure in history.figures
            for row in _rows(figure, virtual=history.arrangement.virtual)
        ),
    )
    notes = [
        f"{LABELS[figure.name]} at {change.after_id}: {_differences_text(change)}"
        for figure in history.figures
        for change in figure.changes
    ]
    return "\n".join(
        [
            f"{benchmark_name(history.arrangement)}: {'1 run' if count == 1 else f'{count} runs'}",
            "",
            render_text(table, width),
            *([""] if notes else []),
            *notes,
        ]
    )


def _rows(figure: FigureHistory, *, virtual: bool) -> Iterator[tuple[Cell, ...]]:
    origin: CellOrigin = "virtual" if virtual and figure.origin == "measured" else figure.origin
    started = {point.id: point.started_at for point in figure.points}
    for level, change in zip(figure.levels, (None, *figure.changes), strict=True):
        interval = level.quantity.interval
        yield (
            LABELS[figure.name],
            started[level.first_id][:16].replace("T", " "),
            Number(level.runs, "count"),
            Number(level.quantity.value, figure.unit, interval=interval, origin=origin),
            "-" if interval is None else _BETWEEN[level.between],
            change_text(change) if change is not None else "-",
            _chance_text(change) if change is not None else "-",
            level.first_id,
        )


def change_text(change: Change) -> str:
    """``+10.0% [+8.1%, +12.0%]``."""
    if change.ratio is None:
        return "not above zero"
    text = f"{change.ratio.value - 1:+.1%}"
    interval = change.ratio.interval
    if interval is None or interval.low == interval.high:
        return text
    return f"{text} [{interval.low - 1:+.1%}, {interval.high - 1:+.1%}]"


def _chance_text(change: Change) -> str:
    if change.chance == 0:
        return "exact"
    return "<0.1%" if change.chance < 0.001 else f"{change.chance:.1%}"


def _differences_text(change: Change) -> str:
    differences = [f"{each.id}: {each.against} -> {each.side}" for each in change.differences]
    return "; ".join(differences) or "nothing else changed that is stored"
