"""Where an inference's time goes, drawn: shares by type of layer, and a bar a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mobilekit.analysis.layers.matching import LAYOUT_CHANGE
from mobilekit.records.measurement import Measurement
from mobilekit.records.profile import LayerProfile
from mobilekit.results.layer_tables import costliest
from mobilekit.results.tables.cell_text import IN_DOUBT
from mobilekit.results.text.layers import doubt_text, heading_text
from mobilekit.units import NS_PER_MS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# M. Okabe and K. Ito's colours, which people with any common colour vision can tell apart, by type
# so that two plots agree; what is rare shares grey, and a hatch tells it apart.
_COLOURS = {
    "convolution": "#0072B2",
    "feed-forward": "#E69F00",
    "pooling": "#009E73",
    "normalization": "#CC79A7",
    "non-linear": "#D55E00",
    "softmax": "#56B4E9",
    "concatenation": "#F0E442",
    "addition": "#000000",
}
_RARE = "#999999"
_HATCHES = {LAYOUT_CHANGE: "///", "reshape": "...", "multiplication": "xxx"}
_INCHES_A_LAYER, _INCHES_AROUND = 0.2, 2.6


def draw_profile(measurement: Measurement, profile: LayerProfile) -> Figure:
    """A bar of all types of layers above, and below a bar for each layer that was measured, the
    longest first."""
    from matplotlib.figure import Figure

    measured = costliest(profile, len(profile.layers))
    figure = Figure(
        figsize=(9, _INCHES_AROUND + _INCHES_A_LAYER * max(len(measured), 4)), layout="constrained"
    )
    by_type, by_layer = figure.subplots(
        2, 1, height_ratios=[1, max(len(measured), 4) * _INCHES_A_LAYER]
    )
    size, unit = (NS_PER_MS, "ms") if profile.sum_ns >= NS_PER_MS else (1000, "us")
    _draw_types(by_type, profile, size, unit)
    # In the legend, which has as many lines as there are types, the heading cannot be in its way.
    figure.legend(
        loc="outside upper center",
        ncols=4,
        fontsize=7,
        frameon=False,
        title=heading_text(measurement, profile),
        title_fontsize=12,
    )
    names = [cost.layer.name for cost in measured]
    for place, cost in enumerate(measured):
        assert cost.p50_ns is not None
        by_layer.barh(place, cost.p50_ns / size, **style_of_type(cost.layer.type))
    by_layer.set_yticks(range(len(names)), names, fontsize=7)
    by_layer.invert_yaxis()
    by_layer.margins(y=0.01)
    what = "a layer in one inference" if profile.by == "trace" else "a layer's own segment"
    by_layer.set_xlabel(
        f"time of {what} ({unit}), median of {profile.iterations}, the longest first;\n"
        "layers that are not there are computed inside others, or have nothing to do"
    )
    by_layer.set_ylabel("layer")
    return figure


def _draw_types(axes: Axes, profile: LayerProfile, size: int, unit: str) -> None:
    """One bar of all types; what is outside operators is its last part. ``size`` is in ns."""
    left = 0.0
    for cost in profile.types:
        if cost.p50_ns <= 0:
            continue
        width = cost.p50_ns / size
        share = f"{cost.share:.1%}{IN_DOUBT if cost.share_in_doubt else ''}"
        axes.barh(0, width, left=left, label=f"{cost.type} {share}", **style_of_type(cost.type))
        left += width
    axes.barh(
        0,
        profile.outside_ns / size,
        left=left,
        label="outside operators" if profile.by == "trace" else "one call",
        color="white",
        edgecolor="#444444",
        hatch="--",
    )
    axes.axvline(profile.plain_p50_ns / size, color="#444444", linestyle=":", label="plain p50")
    axes.set_yticks([])
    whole = "one inference" if profile.by == "trace" else "all segments"
    doubt = f"\n{doubt_text(profile.difference)}" if profile.misses else ""
    axes.set_xlabel(f"time of {whole} by type of layer ({unit}){doubt}")


def style_of_type(type: str) -> dict[str, Any]:
    """How a bar of this type of layer looks in every plot."""
    return {
        "color": _COLOURS.get(type, _RARE),
        "hatch": _HATCHES.get(type, ""),
        "edgecolor": "white",
        "linewidth": 0.3,  # A thicker edge hides a slice of one percent.
    }
