"""Power over time, from a meter's trace: whether it is sound, at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mobilekit.meter.envelope import Bins
from mobilekit.meter.windows import Block
from mobilekit.records.meter import MeterEstimate, MeterTrace
from mobilekit.results.power_plot import IDLE, LEVEL, LOAD, POINTS, POWER, finish_axes
from mobilekit.units import format_energy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_trace(
    bins: Bins, blocks: Sequence[Block], trace: MeterTrace, estimate: MeterEstimate
) -> Figure:
    """A meter's trace: its power, its windows, the idle levels and what was integrated."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.add_subplot()
    power_w, _ = bins.coarser(1)
    group = -(-len(power_w) // POINTS)
    padded = np.full(group * -(-len(power_w) // group), np.nan)
    padded[: len(power_w)] = power_w
    grouped = padded.reshape(-1, group)
    known = np.isfinite(grouped).any(axis=1)
    time_s = (np.arange(len(grouped)) + 0.5) * group * bins.width_s
    low_w, mean_w, high_w = (np.full(len(grouped), np.nan) for _ in range(3))
    low_w[known] = np.nanmin(grouped[known], axis=1)
    high_w[known] = np.nanmax(grouped[known], axis=1)
    mean_w[known] = np.nanmean(grouped[known], axis=1)
    axes.fill_between(
        time_s, low_w, high_w, color="#BBBBBB", linewidth=0, label="its range in a point"
    )
    axes.plot(time_s, mean_w, color=POWER, linewidth=0.7, label="power")
    for number, (block, window) in enumerate(zip(blocks, estimate.windows, strict=True)):
        # A name that begins with an underscore is left out of the legend.
        hidden = "_" if number else ""
        inside = (time_s >= block.load.start_s) & (time_s <= block.load.end_s)
        axes.fill_between(
            time_s,
            window.idle_w,
            mean_w,
            where=inside,
            color=LOAD,
            alpha=0.5,
            linewidth=0,
            label=f"{hidden}marginal energy",
        )
        axes.fill_between(
            [block.load.start_s, block.load.end_s],
            0,
            window.idle_w,
            color=IDLE,
            alpha=0.4,
            linewidth=0,
            label=f"{hidden}the rest of the gross energy",
        )
        spans = [block.load, *block.idle]
        axes.hlines(
            window.idle_w,
            min(span.start_s for span in spans),
            max(span.end_s for span in spans),
            color=LEVEL,
            linestyle="--",
            linewidth=1,
            label=f"{hidden}idle level",
        )
    # Neighbouring blocks share one.
    for number, span in enumerate(sorted({span for block in blocks for span in block.idle})):
        axes.axvspan(
            span.start_s,
            span.end_s,
            color=IDLE,
            alpha=0.15,
            linewidth=0,
            label=f"{'_' if number else ''}idle window",
        )
    interval = estimate.gross_interval_j
    axes.set_title(
        f"{trace.file}: {format_energy(estimate.gross_j)} "
        f"[{format_energy(interval.low)}, {format_energy(interval.high)}] gross and "
        f"{format_energy(estimate.marginal_j)} marginal per inference, "
        f"{estimate.source}, {estimate.plane} plane"
    )
    finish_axes(axes, bins.duration_s)
    axes.set_xlabel("time in the trace (s)")
    return figure
