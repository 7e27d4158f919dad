"""Comparisons as grouped bars with their intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mobilekit.analysis.compare.records import ComparedFigure, Comparison, Quantity
from mobilekit.errors import UsageError
from mobilekit.records.prediction import Predictions
from mobilekit.records.profile import MISSES_BY
from mobilekit.records.statistics import Origin
from mobilekit.results.compare_tables import side_name
from mobilekit.results.layer_plot import style_of_type
from mobilekit.results.prediction_cells import PredictedFigure, predicted_cell
from mobilekit.results.published import Publication
from mobilekit.results.tables.cell_text import IN_DOUBT
from mobilekit.results.tables.cells import Number
from mobilekit.units import MIB, NS_PER_MS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
LOG_RANGE = 20.0
"""The largest over the smallest bar from which an axis is logarithmic."""
DARKEST, LIGHTEST = 0x33, 0xAA
"""Greys of the bars, since colours stand for types of layers."""
GROUP_WIDTH, GAP = 0.8, 0.05
"""All bars of a network, of the place that it has; and the part of a bar's place left free."""
MICROSECONDS_BELOW_MS = 0.1
PREDICTED_STYLE: dict[str, Any] = {
    "facecolor": "white",
    "edgecolor": "#0072B2",
    "linestyle": "--",
    "linewidth": 1.2,
}
"""Of a bar that nobody measured: neither filled like ours nor hatched like published ones."""


class _Panel(NamedTuple):
    name: str
    """Of the figure that it shows."""
    origin: Origin
    title: str
    unit: str
    size: float
    """Of the unit, in the figure's own."""
    published: str = ""
    """The name of the figure in what others published."""


PANELS = (
    _Panel("init", "measured", "init, p50", "ms", NS_PER_MS, "init"),
    _Panel("latency", "measured", "latency, p50", "ms", NS_PER_MS, "latency"),
    _Panel("inference_pss", "measured", "memory by inference, PSS", "MiB", MIB),
    _Panel("inference_rss", "measured", "memory by inference, RSS", "MiB", MIB),
    _Panel("energy_gross", "measured", "energy, gross", "J", 1.0, "energy"),
    _Panel("energy_gross", "simulated", "energy, gross, simulated", "J", 1.0, "energy"),
)
THEIR_HATCHES = ("//", "\\\\", "..", "xx", "--", "++", "oo", "||")
"""Of the platforms of a paper, whose bars are white."""


def draw_comparisons(
    comparisons: Sequence[Comparison],
    publication: Publication | None = None,
    predicted: Sequence[Predictions] = (),
) -> Figure:
    """A panel for each figure, a group for each network, a bar for each side and the reference.

    What is ``predicted`` of the real phones stands beside them, dashed, with its 90 % interval,
    and what others published of the same figure, hatched. A bar's line is its 95 % interval; over
    each group, or each bar where there are several sides, stands the ratio. Refused comparisons
    are left out. Raises ``UsageError`` where none is left.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    drawn = [comparison for comparison in comparisons if comparison.figures]
    if not drawn:
        raise UsageError(
            "There is nothing to draw: no two runs are comparable",
            fix="Each refusal says what to measure again.",
        )
    theirs = _their_platforms(publication, drawn)
    foretold = _Foretold(predicted, drawn)
    panels = _panels(drawn, publication, theirs)
    traced = [comparison for comparison in drawn if comparison.layer_types]
    count = len(panels) + bool(traced)
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    width = max(3.6, 1.2 + 0.9 * len(drawn))
    figure = Figure(figsize=(width * columns, 3.6 * rows + 0.8), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, axis in zip(panels, axes, strict=False):
        _draw_panel(axis, panel, drawn, publication, theirs, foretold)
    if traced:
        _draw_types(axes[len(panels)], traced, in_last_column=count % columns == 0)
    for axis in axes[count:]:
        axis.set_axis_off()
    names = _side_names(drawn)
    bars = [Patch(color=_colour(place, len(names)), label=name) for place, name in enumerate(names)]
    bars += [
        Patch(label=f"predicted: {device} [90 %]", **PREDICTED_STYLE) for device in foretold.devices
    ]
    bars += [
        Patch(label=f"{publication.name}: {platform}" if publication else platform, **_style(place))
        for place, platform in enumerate(theirs)
    ]
    figure.legend(handles=bars, loc="outside lower center", ncols=len(bars))
    told = "\nwhat is predicted is dashed, with 90 % intervals" if foretold.devices else ""
    *sides, against = names
    figure.suptitle(
        f"{', '.join(sides)} against {against}, with 95 % intervals where there are any"
        f"{f'; published figures are of {publication.name}' if publication and theirs else ''}"
        f"{told}"
        f"{_warning_of(drawn)}",
        fontsize=11,
    )
    return figure


def _panels(
    comparisons: Sequence[Comparison], publication: Publication | None, platforms: Sequence[str]
) -> list[_Panel]:
    """Those of our figures, and of published ones of which we have none."""
    ours = [panel for panel in PANELS if any(_has(each, panel) for each in comparisons)]
    names = {panel.published for panel in ours}
    return [
        panel
        for panel in PANELS
        if panel in ours
        or (
            panel.published not in names
            and panel.origin == "measured"
            and any(
                _their_values(publication, panel, each.model, platforms) for each in comparisons
            )
        )
    ]


def _their_platforms(
    publication: Publication | None, comparisons: Sequence[Comparison]
) -> tuple[str, ...]:
    """Of which a figure that is drawn was published for one of the networks."""
    if publication is None:
        return ()
    names = {panel.published for panel in PANELS if panel.published}
    figures = [each for item in comparisons for each in publication.of(item.model)]
    having = {each.platform for each in figures if each.name in names}
    return tuple(platform for platform in publication.platforms if platform in having)


def _their_values(
    publication: Publication | None, panel: _Panel, model: str, platforms: Sequence[str]
) -> list[tuple[int, float]]:
    """By the platform's place, in the figure's own unit."""
    if publication is None or not panel.published:
        return []
    return sorted(
        (platforms.index(each.platform), each.value)
        for each in publication.of(model)
        if each.name == panel.published and each.platform in platforms
    )


class _Foretold:
    """What can be told of the drawn networks on real phones, by the phones' places."""

    def __init__(self, predicted: Sequence[Predictions], comparisons: Sequence[Comparison]) -> None:
        models = {each.model for each in comparisons}
        self._each = [
            each
            for told in predicted
            for each in told.predictions
            if each.network in models and each.latency_ms is not None
        ]
        self.devices = tuple(dict.fromkeys(each.device for each in self._each))

    def of(self, model: str, figure: str) -> list[tuple[int, Quantity]]:
        """Of a figure that is drawn, where it is one of those that are predicted."""
        if figure not in ("latency", "energy_gross"):
            return []
        name: PredictedFigure = "latency" if figure == "latency" else "energy_gross"
        cells = [(each, predicted_cell(each, name)) for each in self._each]
        return [
            (
                self.devices.index(each.device),
                Quantity(value=cell.value, interval=cell.interval),
            )
            for each, cell in cells
            if each.network == model and isinstance(cell, Number)
        ]


def _style(place: int) -> dict[str, Any]:
    """Of a published bar."""
    hatch = THEIR_HATCHES[place % len(THEIR_HATCHES)]
    return {"facecolor": "white", "edgecolor": "#555555", "hatch": hatch, "linewidth": 0.8}


def _draw_panel(
    axis: Axes,
    panel: _Panel,
    comparisons: Sequence[Comparison],
    publication: Publication | None,
    platforms: Sequence[str],
    foretold: _Foretold,
) -> None:
    groups = [
        (each, _figure_of(each, panel), _their_values(publication, panel, each.model, platforms))
        for each in comparisons
    ]
    groups = [group for group in groups if group[1] is not None or group[2]]
    parts = [_quantities(figure) for _, figure, _ in groups]
    theirs = [published for _, _, published in groups]
    told = [foretold.of(each.model, panel.name) for each, _, _ in groups]
    values = [each.value for quantities in parts for each in quantities if each is not None]
    values += [value for group in theirs for _, value in group]
    values += [quantity.value for group in told for _, quantity in group]
    if panel.unit == "ms" and max(values) < MICROSECONDS_BELOW_MS * panel.size:
        panel = panel._replace(unit="us", size=panel.size / 1000)
    ours = _count_bars(comparisons)
    with_told = ours + (len(foretold.devices) if any(told) else 0)
    count = with_told + (len(platforms) if any(theirs) else 0)
    heights: dict[tuple[int, int], float] = {}
    for group, quantities in enumerate(parts):
        for place, quantity in _placed(quantities, ours):
            if quantity is None:
                continue
            value, low, high = (each / panel.size for each in _limits(quantity))
            axis.bar(
                group + _offset(place, count),
                value,
                _bar_width(count),
                color=_colour(place, ours),
                yerr=[[value - low], [high - value]] if quantity.interval else None,
                capsize=3,
            )
            heights[group, place] = high
        for place, quantity in told[group]:
            value, low, high = (each / panel.size for each in _limits(quantity))
            axis.bar(
                group + _offset(ours + place, count),
                value,
                _bar_width(count),
                yerr=[[value - low], [high - value]],
                capsize=3,
                ecolor=PREDICTED_STYLE["edgecolor"],
                **PREDICTED_STYLE,
            )
        for place, value in theirs[group]:
            axis.bar(
                group + _offset(with_told + place, count),
                value / panel.size,
                _bar_width(count),
                **_style(place),
            )
    if min(values) > 0 and max(values) > LOG_RANGE * min(values):
        axis.set_yscale("log")
    for group, (_, figure, _) in enumerate(groups):
        sides = figure.sides if figure is not None else ()
        for place, side in enumerate(sides):
            if side.ratio is not None:
                alone = len(sides) == 1
                over = [
                    height
                    for (its_group, its_place), height in heights.items()
                    if its_group == group and (alone or its_place == place)
                ]
                axis.annotate(
                    f"x {side.ratio.value:.3g}",
                    (
                        group + (_middle(ours, count) if alone else _offset(place, count)),
                        max(over),
                    ),
                    xytext=(0, 3),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8,
                )
    axis.margins(y=0.12)
    axis.set_xlim(-0.6, len(groups) - 0.4)
    is_mixed = panel.origin == "simulated" and (any(theirs) or any(told))
    axis.set_title(f"{panel.title}{' (ours)' if is_mixed else ''}", fontsize=10)
    axis.set_ylabel(panel.unit)
    models = [each.model for each, _, _ in groups]
    axis.set_xticks(range(len(models)), models, rotation=30, ha="right")


def _draw_types(axis: Axes, comparisons: Sequence[Comparison], *, in_last_column: bool) -> None:
    """A bar for each side and the reference of a network, stacked by type."""
    count = _count_bars(comparisons)
    bottoms: dict[tuple[int, int], float] = defaultdict(float)
    types = dict.fromkeys(each.type for item in comparisons for each in item.layer_types)
    for type in types:
        bars = {
            (group, place): 100 * share.share
            for group, comparison in enumerate(comparisons)
            for each in comparison.layer_types
            if each.type == type
            for place, share in _placed((*(side.taken for side in each.sides), each.against), count)
            if share is not None
        }
        axis.bar(
            [group + _offset(place, count) for group, place in bars],
            list(bars.values()),
            _bar_width(count),
            bottom=[bottoms[bar] for bar in bars],
            label=type,
            **style_of_type(type),
        )
        for bar, height in bars.items():
            bottoms[bar] += height
    names = _side_names(comparisons)
    order = f"left: {names[0]}, right: {names[1]}"
    if len(names) > 2:
        order = f"from the left: {', '.join(names)}"
    axis.set_title("time by type of layer", fontsize=10)
    axis.set_ylabel("share of all layers' time (%)")
    doubt = _mark_doubts(axis, comparisons, bottoms)
    ways = sorted(
        {
            side.profile.by
            for each in comparisons
            for side in each.all_sides
            if side.profile is not None
        }
    )
    axis.set_xlabel(f"{order}; by {' or '.join(ways)}{doubt}", fontsize=8)
    models = [each.model for each in comparisons]
    axis.set_xticks(range(len(models)), models, rotation=30, ha="right")
    legend = axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, frameon=False)
    # Nothing follows this panel in its row: in the layout it would push the columns apart.
    legend.set_in_layout(in_last_column)


def _mark_doubts(
    axis: Axes, comparisons: Sequence[Comparison], tops: dict[tuple[int, int], float]
) -> str:
    """A mark above each bar whose shares are none of an inference's; what it means, if any has
    it."""
    count = _count_bars(comparisons)
    doubtful = [
        (group, place)
        for group, comparison in enumerate(comparisons)
        for place, side in _placed(comparison.all_sides, count)
        if side.profile is not None and side.profile.misses and tops[group, place]
    ]
    for group, place in doubtful:
        at = (group + _offset(place, count), tops[group, place])
        axis.annotate(IN_DOUBT, at, ha="center", va="bottom", fontsize=8)
    meaning = f"\n{IN_DOUBT} the layers' sum misses the inference by {MISSES_BY:.0%} or more"
    return meaning if doubtful else ""


_Part = TypeVar("_Part")


def _count_bars(comparisons: Sequence[Comparison]) -> int:
    """Of a network: the most sides that one has, and the reference."""
    return max(len(comparison.all_sides) for comparison in comparisons)


def _placed(parts: Sequence[_Part], count: int) -> Iterator[tuple[int, _Part]]:
    """The reference has the last place, however many sides a network has."""
    if parts:
        *sides, against = parts
        yield from enumerate(sides)
        yield count - 1, against


def _bar_width(count: int) -> float:
    return GROUP_WIDTH / count * (1 - GAP)


def _offset(place: int, count: int) -> float:
    """Of a bar's middle from the middle of its group."""
    return (place - (count - 1) / 2) * GROUP_WIDTH / count


def _middle(ours: int, count: int) -> float:
    """Of our own bars, from the middle of their group."""
    return (_offset(0, count) + _offset(ours - 1, count)) / 2


def _colour(place: int, count: int) -> str:
    grey = round(DARKEST + (LIGHTEST - DARKEST) * place / (count - 1))
    return f"#{grey:02X}{grey:02X}{grey:02X}"


def _quantities(figure: ComparedFigure | None) -> tuple[Quantity | None, ...]:
    """Of the sides and the reference; none of a figure that there is not."""
    if figure is None:
        return ()
    return (*(side.quantity for side in figure.sides), figure.against)


def _limits(quantity: Quantity) -> tuple[float, float, float]:
    interval = quantity.interval
    if interval is None:
        return quantity.value, quantity.value, quantity.value
    return quantity.value, interval.low, interval.high


def _figure_of(comparison: Comparison, panel: _Panel) -> ComparedFigure | None:
    return next((figure for figure in comparison.figures if _is_of(figure, panel)), None)


def _has(comparison: Comparison, panel: _Panel) -> bool:
    return any(_is_of(figure, panel) for figure in comparison.figures)


def _is_of(figure: ComparedFigure, panel: _Panel) -> bool:
    return (figure.name, figure.origin) == (panel.name, panel.origin)


def _side_names(comparisons: Sequence[Comparison]) -> list[str]:
    """Of the bars: the devices', or what they are for where the devices differ."""
    names = {tuple(side_name(side, each) for side in each.all_sides) for each in comparisons}
    if len(names) == 1:
        return list(names.pop())
    sides = _count_bars(comparisons) - 1
    return [*(["device"] if sides == 1 else [f"device {n + 1}" for n in range(sides)]), "against"]


def _warning_of(comparisons: Sequence[Comparison]) -> str:
    if any(side.virtual for each in comparisons for side in each.all_sides):
        return "\nvirtual: its times and memory are this computer's, its energy is simulated"
    return ""
