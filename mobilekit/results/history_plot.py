"""A network's figures over its runs, with their levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mobilekit.analysis.compare.records import Quantity
from mobilekit.analysis.history import FigureHistory, History
from mobilekit.errors import UsageError
from mobilekit.results.exchange import benchmark_name
from mobilekit.results.text.check import LABELS
from mobilekit.results.text.history import change_text
from mobilekit.units import MIB, NS_PER_MS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_UNITS = {"ns": ("ms", NS_PER_MS), "bytes": ("MiB", MIB), "J": ("J", 1.0)}
# Of Okabe and Ito's palette, which colour-blind people tell apart.
RUN, LEVEL, CHANGE = "#333333", "#0072B2", "#D55E00"
DATES = 8
"""At most, along the axis."""


MOST_DRAWN = 12
"""Histories of one drawing: a picture of more is too long to be looked at, and to be made."""


def draw_histories(histories: Sequence[History]) -> Figure:
    """Below one another those of two runs or more, the first ``MOST_DRAWN`` of them.

    Raises ``UsageError`` where none has as many.
    """
    from matplotlib.figure import Figure

    drawn = [each for each in histories if len(each.ids) > 1][:MOST_DRAWN]
    if not drawn:
        raise UsageError(
            "One run has no history",
            id=histories[0].ids[0],
            fix="Measure the network again, and draw it then.",
        )
    heights = [1 + 2.2 * len(each.figures) for each in drawn]
    drawing = Figure(figsize=(11, sum(heights)), layout="constrained")
    parts = drawing.subfigures(len(drawn), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, history in zip(parts, drawn, strict=True):
        _draw_history(part, history)
    return drawing


def _draw_history(drawing: SubFigure, history: History) -> None:
    """A panel a figure: each run with its own interval, each level with its, and the changes."""
    figures = history.figures
    panels = drawing.subplots(len(figures), 1, sharex=True, squeeze=False)[:, 0]
    place = {id: number for number, id in enumerate(history.ids)}
    for axes, figure in zip(panels, figures, strict=True):
        _draw(axes, figure, place, virtual=history.arrangement.virtual)
    started = {point.id: point.started_at for figure in figures for point in figure.points}
    shown = history.ids[:: math.ceil(len(history.ids) / DATES)]
    panels[-1].set_xticks(
        [place[id] for id in shown],
        [started[id][:16].replace("T", "\n") for id in shown],
        fontsize="small",
    )
    panels[-1].set_xlabel("runs in their order (UTC)")
    drawing.suptitle(benchmark_name(history.arrangement))
    named = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    drawing.legend(
        list(named.values()), list(named), loc="outside lower center", ncols=4, fontsize="small"
    )


def _draw(axes: Axes, figure: FigureHistory, place: dict[str, int], *, virtual: bool) -> None:
    unit, size = _UNITS[figure.unit]
    if figure.unit == "J" and max(point.quantity.value for point in figure.points) < 0.1:
        unit, size = "mJ", 1e-3
    at = [place[point.id] for point in figure.points]
    values = [point.quantity.value / size for point in figure.points]
    ends = [_ends(point.quantity, size) for point in figure.points]
    axes.errorbar(
        at,
        values,
        yerr=(
            [value - low for value, (low, _) in zip(values, ends, strict=True)],
            [high - value for value, (_, high) in zip(values, ends, strict=True)],
        ),
        fmt="o",
        markersize=4,
        linewidth=1,
        color=RUN,
        label="run, with its own 95 % interval",
    )
    for number, level in enumerate(figure.levels):
        edges = (place[level.first_id] - 0.5, place[level.last_id] + 0.5)
        low, high = _ends(level.quantity, size)
        axes.fill_between(edges, low, high, color=LEVEL, alpha=0.2, linewidth=0)
        axes.hlines(
            level.quantity.value / size,
            *edges,
            color=LEVEL,
            linewidth=1.5,
            label=f"{'_' if number else ''}level, with its interval",
        )
    for number, change in enumerate(figure.changes):
        between = (place[change.before_id] + place[change.after_id]) / 2
        axes.axvline(
            between,
            color=CHANGE,
            linestyle="--",
            linewidth=1,
            label=f"{'_' if number else ''}change",
        )
        axes.annotate(
            change_text(change),
            (between, 0.98),
            xycoords=axes.get_xaxis_transform(),
            xytext=(4, 0),
            textcoords="offset points",
            va="top",
            fontsize="small",
            color=CHANGE,
        )
    origin = "virtual" if virtual and figure.origin == "measured" else figure.origin
    said = "" if origin == "measured" else f", {origin}"
    axes.set_title(f"{LABELS[figure.name]}{said}", fontsize="medium", loc="left")
    axes.set_ylabel(unit)
    axes.margins(y=0.4)
    axes.grid(alpha=0.3)


def _ends(quantity: Quantity, size: float) -> tuple[float, float]:
    interval = quantity.interval
    if interval is None:
        return quantity.value / size, quantity.value / size
    return interval.low / size, interval.high / size
