"""The levels of a program as a curve: what they are right in, or how large they are, over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mobilekit.analysis.tradeoff import Rung
from mobilekit.errors import UsageError
from mobilekit.results.network_documents import TradeoffDocument
from mobilekit.results.text.words import VIRTUAL_LABEL
from mobilekit.units import NS_PER_MS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of Okabe and Ito's palette, which colour-blind people tell apart.
LEVELS, WHOLE = "#0072B2", "#E69F00"
Value = Callable[[Rung], "tuple[float, float, float] | None"]
"""A figure with both ends of its interval."""


def draw_tradeoff(document: TradeoffDocument) -> Figure:
    """Accuracy over latency and over energy, as far as there are any; where there is no accuracy,
    the parameters. Raises ``UsageError`` where no run told its latency."""
    from matplotlib.figure import Figure

    rungs = document.rungs
    if not any(_latency_ms(each) for each in rungs):
        raise UsageError(
            "There is nothing to draw: no run told its latency",
            fix="`mobilekit results show ID` tells what came of each.",
        )
    acrosses: list[tuple[str, Value]] = [("latency, p50 (ms)", _latency_ms)]
    if any(_energy_mj(each) for each in rungs):
        origin = next(each.energy.origin for each in rungs if each.energy is not None)
        acrosses.append((f"energy, gross, {origin} (mJ)", _energy_mj))
    ups: tuple[str, Value] = ("parameters", _parameters)
    if any(_accuracy_percent(each) for each in rungs):
        ups = ("accuracy (%)", _accuracy_percent)
    figure = Figure(figsize=(5.4 * len(acrosses), 4.4), layout="constrained")
    axes = figure.subplots(1, len(acrosses), squeeze=False)[0]
    for axis, across in zip(axes, acrosses, strict=True):
        _draw(axis, rungs, across, ups)
    mark = f" ({VIRTUAL_LABEL})" if document.virtual else ""
    figure.suptitle(
        f"{document.model} on {document.device}{mark}: levels of one program, 95 % intervals",
        fontsize=10,
    )
    return figure


def _draw(
    axis: Axes, rungs: tuple[Rung, ...], across: tuple[str, Value], up: tuple[str, Value]
) -> None:
    (across_name, across_of), (up_name, up_of) = across, up
    curve = []
    for rung in rungs:
        x, y = across_of(rung), up_of(rung)
        if x is None or y is None:
            continue
        if rung.level is not None:
            curve.append((x[0], y[0]))
        axis.errorbar(
            x[0],
            y[0],
            xerr=[[x[0] - x[1]], [x[2] - x[0]]],
            yerr=[[y[0] - y[1]], [y[2] - y[0]]],
            fmt="s" if rung.level is None else "o",
            color=WHOLE if rung.level is None else LEVELS,
            elinewidth=1,
            capsize=3,
        )
        axis.annotate(
            "uncompressed" if rung.level is None else f"level {rung.level}",
            (x[0], y[0]),
            xytext=(6, 6 if rung.level is None else -12),
            textcoords="offset points",
            fontsize=8,
        )
    axis.plot([x for x, _ in curve], [y for _, y in curve], color=LEVELS, linewidth=1, alpha=0.5)
    axis.margins(x=0.18, y=0.12)
    axis.set_xlabel(across_name)
    axis.set_ylabel(up_name)
    axis.grid(alpha=0.3)


def _latency_ms(rung: Rung) -> tuple[float, float, float] | None:
    if rung.latency is None:
        return None
    interval = rung.latency.p50_interval_ns
    return (
        rung.latency.p50_ns / NS_PER_MS,
        interval.low / NS_PER_MS,
        interval.high / NS_PER_MS,
    )


def _energy_mj(rung: Rung) -> tuple[float, float, float] | None:
    if rung.energy is None:
        return None
    interval = rung.energy.gross_interval_j
    return 1e3 * rung.energy.gross_j, 1e3 * interval.low, 1e3 * interval.high


def _accuracy_percent(rung: Rung) -> tuple[float, float, float] | None:
    if rung.accuracy is None:
        return None
    interval = rung.accuracy.interval
    return 100 * rung.accuracy.share, 100 * interval.low, 100 * interval.high


def _parameters(rung: Rung) -> tuple[float, float, float] | None:
    count = rung.cost.parameters
    return count, count, count
