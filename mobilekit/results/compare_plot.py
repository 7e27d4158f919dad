"""Comparisons as grouped bars with their intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from mobilekit.analysis.compare.records import ComparedFigure, Comparison, Quantity
from mobilekit.errors import UsageError
from mobilekit.results.compare_render import side_name
from mobilekit.results.layer_plot import style_of_type
from mobilekit.units import MIB, NS_PER_MS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
LOG_RANGE = 20.0
"""The largest over the smallest bar from which an axis is logarithmic."""
COLOURS = ("#333333", "#AAAAAA")
"""Greys, since colours stand for types of layers."""
MICROSECONDS_BELOW_MS = 0.1


class _Panel(NamedTuple):
    name: str
    """Of the figure that it shows."""
    title: str
    unit: str
    size: float
    """Of the unit, in the figure's own."""


PANELS = (
    _Panel("init", "init, p50", "ms", NS_PER_MS),
    _Panel("latency", "latency, p50", "ms", NS_PER_MS),
    _Panel("inference_pss", "memory by inference, PSS", "MiB", MIB),
    _Panel("inference_rss", "memory by inference, RSS", "MiB", MIB),
    _Panel("energy_gross", "energy, gross", "J", 1.0),
    _Panel("energy_gross_simulated", "energy, gross, simulated", "J", 1.0),
)


def draw_comparisons(comparisons: Sequence[Comparison]) -> Figure:
    """A panel for each figure, a group for each network and a bar for each device.

    A bar's line is its 95 % interval; over each group stands the ratio. Refused comparisons are
    left out. Raises ``UsageError`` where none is left.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    drawn = [comparison for comparison in comparisons if comparison.figures]
    if not drawn:
        raise UsageError(
            "There is nothing to draw: no two runs are comparable",
            fix="Each refusal says what to measure again.",
        )
    panels = [panel for panel in PANELS if any(_has(each, panel) for each in drawn)]
    traced = [comparison for comparison in drawn if comparison.layer_types]
    count = len(panels) + bool(traced)
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    width = max(3.6, 1.2 + 0.9 * len(drawn))
    figure = Figure(figsize=(width * columns, 3.6 * rows + 0.8), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, axis in zip(panels, axes, strict=False):
        _draw_panel(axis, panel, drawn)
    if traced:
        _draw_types(axes[len(panels)], traced, in_last_column=count % columns == 0)
    for axis in axes[count:]:
        axis.set_axis_off()
    names = _side_names(drawn)
    bars = [Patch(color=colour, label=name) for colour, name in zip(COLOURS, names, strict=True)]
    figure.legend(handles=bars, loc="outside lower center", ncols=2)
    figure.suptitle(
        f"{' against '.join(names)}, with 95 % intervals where there are any{_warning_of(drawn)}",
        fontsize=11,
    )
    return figure


def _draw_panel(axis: Axes, panel: _Panel, comparisons: Sequence[Comparison]) -> None:
    having = [comparison for comparison in comparisons if _has(comparison, panel)]
    figures = [_figure_of(comparison, panel) for comparison in having]
    sides = [side.value for each in figures for side in (each.device, each.against) if side]
    if panel.unit == "ms" and max(sides) < MICROSECONDS_BELOW_MS * panel.size:
        panel = panel._replace(unit="us", size=panel.size / 1000)
    highest: dict[int, float] = {}
    values = []
    for place, colour in enumerate(COLOURS):
        for group, comparison in enumerate(having):
            figure = _figure_of(comparison, panel)
            quantity = (figure.device, figure.against)[place]
            if quantity is None:
                continue
            value, low, high = (each / panel.size for each in _limits(quantity))
            axis.bar(
                group + (place - 0.5) * 0.4,
                value,
                0.38,
                color=colour,
                yerr=[[value - low], [high - value]] if quantity.interval else None,
                capsize=3,
            )
            values.append(value)
            highest[group] = max(high, highest.get(group, 0.0))
    if min(values) > 0 and max(values) > LOG_RANGE * min(values):
        axis.set_yscale("log")
    for group, comparison in enumerate(having):
        ratio = _figure_of(comparison, panel).ratio
        if ratio is not None:
            axis.annotate(
                f"x {ratio.value:.3g}",
                (group, highest[group]),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    axis.margins(y=0.12)
    axis.set_xlim(-0.6, len(having) - 0.4)
    axis.set_title(panel.title, fontsize=10)
    axis.set_ylabel(panel.unit)
    axis.set_xticks(range(len(having)), [each.model for each in having], rotation=30, ha="right")


def _draw_types(axis: Axes, comparisons: Sequence[Comparison], *, in_last_column: bool) -> None:
    """Two bars a network, of the device and of what it is compared against, stacked by type."""
    bottoms: dict[tuple[int, int], float] = defaultdict(float)
    types = dict.fromkeys(each.type for item in comparisons for each in item.layer_types)
    for type in types:
        bars = {
            (group, place): 100 * share.share
            for group, comparison in enumerate(comparisons)
            for each in comparison.layer_types
            for place, share in enumerate((each.device, each.against))
            if each.type == type and share is not None
        }
        axis.bar(
            [group + (place - 0.5) * 0.4 for group, place in bars],
            list(bars.values()),
            0.38,
            bottom=[bottoms[bar] for bar in bars],
            label=type,
            **style_of_type(type),
        )
        for bar, height in bars.items():
            bottoms[bar] += height
    first, second = _side_names(comparisons)
    axis.set_title("time by type of layer", fontsize=10)
    axis.set_ylabel("share of all layers' time (%)")
    ways = sorted(
        {
            side.profile.by
            for each in comparisons
            for side in (each.device, each.against)
            if side.profile is not None
        }
    )
    axis.set_xlabel(f"left: {first}, right: {second}; by {' or '.join(ways)}", fontsize=8)
    names = [each.model for each in comparisons]
    axis.set_xticks(range(len(names)), names, rotation=30, ha="right")
    legend = axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, frameon=False)
    # Nothing follows this panel in its row: in the layout it would push the columns apart.
    legend.set_in_layout(in_last_column)


def _limits(quantity: Quantity) -> tuple[float, float, float]:
    interval = quantity.interval
    if interval is None:
        return quantity.value, quantity.value, quantity.value
    return quantity.value, interval.low, interval.high


def _figure_of(comparison: Comparison, panel: _Panel) -> ComparedFigure:
    return next(figure for figure in comparison.figures if figure.name == panel.name)


def _has(comparison: Comparison, panel: _Panel) -> bool:
    return any(figure.name == panel.name for figure in comparison.figures)


def _side_names(comparisons: Sequence[Comparison]) -> tuple[str, str]:
    """Of the bars: the devices', or what they are for where the devices differ."""
    pairs = {(side_name(each.device), side_name(each.against)) for each in comparisons}
    return pairs.pop() if len(pairs) == 1 else ("device", "against")


def _warning_of(comparisons: Sequence[Comparison]) -> str:
    sides = [side for each in comparisons for side in (each.device, each.against)]
    if any(side.virtual for side in sides):
        return "\nvirtual: its times and memory are this computer's, its energy is simulated"
    return ""
