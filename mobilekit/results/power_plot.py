"""Power over time, from a phone's gauge: whether a run is sound, at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mobilekit.analysis.energy.estimate import energy_of
from mobilekit.analysis.energy.power_series import StretchPower, stretch_powers
from mobilekit.analysis.energy.sources import known_gauge
from mobilekit.analysis.energy.stretches import find_stretches
from mobilekit.contract.protocol import Window
from mobilekit.errors import UsageError
from mobilekit.records.energy import GaugeEstimate
from mobilekit.records.measurement import Measurement
from mobilekit.results.text.words import SOURCE_NAMES
from mobilekit.units import NS_PER_S, format_energy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 2000
"""Across the picture: more are drawn as the range that they span."""
# Of Okabe and Ito's palette, which colour-blind people tell apart.
LOAD, IDLE, LEVEL, POWER, COUNTER = "#E69F00", "#56B4E9", "#0072B2", "#333333", "#009E73"
UNUSED = "#777777"


def draw_measurement(measurement: Measurement) -> Figure:
    """A stored measurement: the windows' powers from its gauge, and the charge counter below.

    Windows that do not count, since the phone was plugged in or their block is not complete, are
    grey. Raises ``UsageError`` for a measurement without energy windows.
    """
    from matplotlib.figure import Figure

    windows = measurement.result.samples.windows
    if not windows or measurement.profile is None:
        raise UsageError(
            "The measurement has no energy windows",
            id=measurement.id,
            fix="`mobilekit energy` makes one that has.",
        )
    figure = Figure(figsize=(11, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    start_ns = windows[0].started_ns
    energy = energy_of(measurement)
    source = energy.source if energy is not None else "charge_counter"
    stretches = find_stretches(windows)
    counted = {window.started_ns for stretch in stretches for window in stretch}
    for axes in (above, below):
        named: set[str] = set()
        for window in windows:
            name, colour = f"{window.kind} window", LOAD if window.kind == "load" else IDLE
            if window.started_ns not in counted:
                name, colour = "window that does not count", UNUSED
            # A name that begins with an underscore is left out of the legend.
            is_first = axes is above and name not in named
            named.add(name)
            axes.axvspan(
                *_edges_s(window, start_ns),
                color=colour,
                alpha=0.15,
                linewidth=0,
                label=f"{'' if is_first else '_'}{name}",
            )
    profile = measurement.profile
    gauge = known_gauge(profile.gauge, measurement.gauge, stretches, profile.capacity_uah)
    drawn = 0
    for drawn, powers in enumerate(stretch_powers(measurement, stretches, gauge, source), 1):
        edges_s = [_edges_s(window, start_ns) for window in powers.windows]
        _draw_powers(above, edges_s, powers, is_first=drawn == 1)
    readings = [
        ((sample.at_ns - start_ns) / NS_PER_S, charge_uah)
        for window in windows
        for sample in window.battery
        if (charge_uah := gauge.charge_uah(sample)) is not None
    ]
    if readings:
        at_s, counted_uah = zip(*readings, strict=True)
        below.step(
            at_s, np.array(counted_uah) / 1000, where="post", color=COUNTER, label="charge counter"
        )
    below.set_ylabel("charge (mAh)")
    below.set_xlabel("time in the energy phase (s)")
    simulated = ", simulated battery" if measurement.virtual else ""
    told = f"power by the {SOURCE_NAMES[source]}" if drawn else "no source tells the power"
    above.set_title(
        f"{measurement.artifact.model.label} on {measurement.device.name}{simulated}, {told}: "
        f"{measurement.id}{_energy_text(energy)}"
    )
    finish_axes(above, _edges_s(windows[-1], start_ns)[1])
    return figure


def _energy_text(energy: GaugeEstimate | None) -> str:
    """What was integrated, in a line of its own."""
    if energy is None:
        return "\nno energy can be told"
    gross, marginal = energy.gross_interval_j, energy.marginal_interval_j
    kind = "95 % intervals" if energy.interval_kind == "interval_95" else "ranges of the blocks"
    return (
        f"\n{format_energy(energy.gross_j)} [{format_energy(gross.low)}, "
        f"{format_energy(gross.high)}] gross and {format_energy(energy.marginal_j)} "
        f"[{format_energy(marginal.low)}, {format_energy(marginal.high)}] marginal per inference, "
        f"{energy.plane} plane ({kind})"
    )


def _edges_s(window: Window, start_ns: int) -> tuple[float, float]:
    return (window.started_ns - start_ns) / NS_PER_S, (window.ended_ns - start_ns) / NS_PER_S


def _draw_powers(
    axes: Axes,
    edges_s: Sequence[tuple[float, float]],
    powers: StretchPower,
    *,
    is_first: bool,
) -> None:
    """The windows' powers as steps, with what the source's resolution alone makes uncertain, and
    the energy above the mean of the idle windows on both sides."""
    _, power_w, half_widths_w = powers
    for number, edges in enumerate(edges_s):
        # A name that begins with an underscore is left out of the legend.
        hidden = "" if is_first and number < 2 else "_"
        if number % 2 == 1:
            idle_w = (power_w[number - 1] + power_w[number + 1]) / 2
            axes.fill_between(
                edges,
                idle_w,
                power_w[number],
                color=LOAD,
                alpha=0.4,
                linewidth=0,
                label=f"{hidden}marginal energy",
            )
            axes.hlines(
                idle_w,
                *edges,
                color=LEVEL,
                linestyle="--",
                linewidth=1,
                label=f"{hidden}idle level",
            )
            hidden = "_"
        axes.hlines(power_w[number], *edges, color=POWER, linewidth=1.2, label=f"{hidden}power")
        axes.fill_between(
            edges,
            power_w[number] - half_widths_w[number],
            power_w[number] + half_widths_w[number],
            color=POWER,
            alpha=0.3,
            linewidth=0,
            label=f"{hidden}95 % by the gauge's resolution alone",
        )


def finish_axes(axes: Axes, end_s: float) -> None:
    axes.set_xlim(0, end_s)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.set_ylabel("power (W)")
    axes.grid(alpha=0.3)
    axes.figure.legend(loc="outside lower center", ncols=6, fontsize="small")
