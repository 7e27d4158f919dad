"""Where the load is in a meter's trace, and where the idle time beside it.

Three ways tell it. *The trace's own steps*: two levels of power are found, by k-medians from the
1st and 99th percentile, and a load lasts from above 70 % of the step between them until below 30 %;
one that is shorter than a quarter of the longest is a disturbance. *A digital channel* that the
load switches. *The run* that the phone recorded, its clock fitted to the meter's (``clocks``).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mobilekit.analysis.energy.stretches import find_stretches
from mobilekit.contract.protocol import SyncPattern, Window
from mobilekit.errors import MeterTraceError, UsageError
from mobilekit.meter.clocks import Alignment
from mobilekit.meter.envelope import PARTS, Bins, Floats, Span, smooth
from mobilekit.records.measurement import Measurement
from mobilekit.units import NS_PER_S, format_power

LOAD, IDLE, OUT = 1, 0, -1
States = npt.NDArray[np.int_]

SMOOTHING_S = 0.1
"""Steps are looked for in means over this time, or over five samples where they are rarer."""
MIN_CONTRAST = 4.0
"""Distance of the two levels over the spread (1.48 MAD) of the smoothed power around them."""
EDGE_LEVEL = 0.3
"""Of the step, above idle: where a load ends. Low, since the power within an inference varies."""
MIN_STEP = 0.02
"""Of the load's power."""
SHORT_SHARE = 0.25
"""Of the longest load window: a shorter load is a disturbance and no window."""
MAX_PAUSE_S = 1.0
NOTHING_SHARE = 0.2
"""Of the idle power: what is lower, after zeroing, is a phone that is not connected."""
SETTLING_SHARE, MAX_SETTLING_S = 0.1, 0.5
"""How much of an idle window is left out at each end, where the power still settles."""


class Block(NamedTuple):
    """One load window with the idle windows beside it; one of them may be missing."""

    load: Span
    before: Span | None
    after: Span | None

    @property
    def idle(self) -> list[Span]:
        return [span for span in (self.before, self.after) if span is not None]


class RunWindows(NamedTuple):
    """What a phone recorded of its own run."""

    patterns: tuple[SyncPattern, ...]
    windows: tuple[Window, ...]

    @property
    def iterations(self) -> tuple[int, ...]:
        """Of each load window."""
        return tuple(window.iterations for window in self.windows if window.kind == "load")


class TraceBlocks(NamedTuple):
    """The blocks of a trace, in time order."""

    blocks: list[Block]
    edge_s: float
    """Standard uncertainty of a load window's edge."""


def find_steps(bins: Bins, *, leave_out: Span | None) -> TraceBlocks:
    """The blocks that the trace's own steps show.

    ``leave_out`` is no part of it (nothing was connected). Raises ``MeterTraceError`` where the
    trace has no clear step between two levels, or no idle part beside a load.
    """
    factor = max(1, round(SMOOTHING_S / bins.width_s))
    power_w, width_s = bins.coarser(factor)
    smooth_w = smooth(power_w, 5)
    is_out = np.zeros(len(smooth_w), dtype=bool)
    if leave_out is not None:
        is_out[int(leave_out.start_s / width_s) : int(np.ceil(leave_out.end_s / width_s))] = True
    low_w, high_w, spread_w = _two_levels(smooth_w[np.isfinite(smooth_w) & ~is_out])
    step_w = high_w - low_w
    if not step_w > MIN_CONTRAST * spread_w or step_w < MIN_STEP * abs(high_w):
        raise MeterTraceError(
            "The trace has no clear step between idle and load",
            levels=f"{format_power(low_w)} and {format_power(high_w)}",
            spread=format_power(spread_w),
            fix="Record idle time before and after the load. `--run ID` finds the windows by the "
            "phone's own record, `--load-channel` by a digital channel.",
        )
    if leave_out is not None:
        # The phone may have been connected later than was said.
        is_out |= smooth_w < NOTHING_SHARE * low_w
    edge_w = low_w + EDGE_LEVEL * step_w
    states = _with_hysteresis(smooth_w, edge_w, low_w + (1 - EDGE_LEVEL) * step_w)
    states[is_out] = OUT
    loads, idles = _spans(states, width_s)
    loads = [_sharpened(bins, span, edge_w, width_s) for span in loads]
    return TraceBlocks(
        _make_blocks(loads, _ended(idles, bins)), max(bins.width_s, width_s / 5) / 12**0.5
    )


def find_marked(bins: Bins, channel: str) -> TraceBlocks:
    """The blocks that a digital channel marks.

    Raises ``MeterTraceError`` where the channel never changes.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        states = _with_hysteresis(bins.marked_s / bins.covered_s, 0.5, 0.5)
    if not np.diff(states).any():
        raise MeterTraceError(
            f"Digital channel {channel} is {'always' if states[0] == LOAD else 'never'} high",
            fix="Name the one that is high under load with --load-channel; without it the load is "
            "found by its steps.",
        )
    loads, idles = _spans(states, bins.width_s)
    return TraceBlocks(_make_blocks(loads, _ended(idles, bins)), bins.width_s / 12**0.5)


def place_windows(alignment: Alignment, windows: Sequence[Window]) -> TraceBlocks:
    """The blocks of the phone's own windows, on the meter's clock."""
    blocks = []
    for number, window in enumerate(windows):
        if window.kind == "load":
            beside = [windows[number - 1 : number], windows[number + 1 : number + 2]]
            before, after = (
                _placed(alignment, idle[0]) if idle and idle[0].kind == "idle" else None
                for idle in beside
            )
            blocks.append(Block(_placed(alignment, window), before, after))
    return TraceBlocks(blocks, alignment.fit.edge_uncertainty_s)


def _placed(alignment: Alignment, window: Window) -> Span:
    return Span(
        alignment.to_meter_s(window.started_ns / NS_PER_S),
        alignment.to_meter_s(window.ended_ns / NS_PER_S),
    )


def _two_levels(power_w: Floats) -> tuple[float, float, float]:
    """Median of the lower group and of the upper, and the larger of their spreads."""
    if len(power_w) < PARTS:
        raise MeterTraceError(
            "The trace is too short to find a load in it", fix="Record idle time and load."
        )
    low_w, high_w = (float(level) for level in np.percentile(power_w, [1, 99]))
    for _ in range(100):
        is_high = power_w > (low_w + high_w) / 2
        if not is_high.any() or is_high.all():
            return low_w, high_w, abs(high_w - low_w)
        before = (low_w, high_w)
        low_w, high_w = float(np.median(power_w[~is_high])), float(np.median(power_w[is_high]))
        if (low_w, high_w) == before:
            break
    spreads = (np.abs(power_w[~is_high] - low_w), np.abs(power_w[is_high] - high_w))
    return low_w, high_w, 1.48 * max(float(np.median(spread)) for spread in spreads)


def _with_hysteresis(power_w: Floats, down_w: float, up_w: float) -> States:
    """``LOAD`` from above ``up_w`` until below ``down_w``; in a gap the state before goes on."""
    decided = np.where(power_w > up_w, LOAD, np.where(power_w < down_w, IDLE, OUT))
    position = np.where(decided == OUT, 0, np.arange(len(decided)))
    np.maximum.accumulate(position, out=position)
    return np.where(decided[position] == LOAD, LOAD, IDLE)


def _spans(states: States, width_s: float) -> tuple[list[Span], list[Span]]:
    """Load windows of at least ``SHORT_SHARE`` of the longest, and the idle ones between them.

    A pause within a load that is shorter than ``SHORT_SHARE`` of that again, and than
    ``MAX_PAUSE_S``, belongs to the load. Shorter loads are left out, and end the idle window that
    they lie in. Raises ``MeterTraceError`` where there are not both, and where a load is cut off
    by an end of the trace.
    """
    longest_s = max(
        (span.length_s for state, span in _runs(states, width_s) if state == LOAD), default=0.0
    )
    pause_s = min(SHORT_SHARE**2 * longest_s, MAX_PAUSE_S)
    bridged = states.copy()
    runs = _runs(states, width_s)
    for before, (state, span), after in zip(runs, runs[1:], runs[2:], strict=False):
        if state == IDLE and span.length_s < pause_s and before[0] == after[0] == LOAD:
            first = round(span.start_s / width_s)
            bridged[first : round(span.end_s / width_s)] = LOAD
    runs = _runs(bridged, width_s)
    loads = [span for state, span in runs if state == LOAD]
    idles = [span for state, span in runs if state == IDLE and span.length_s >= pause_s]
    if not loads or not idles:
        raise MeterTraceError(
            "The trace shows no change between idle and load",
            fix="Record idle time before and after the load.",
        )
    for name, (state, _) in (("begins", runs[0]), ("ends", runs[-1])):
        if state == LOAD:
            raise MeterTraceError(
                f"The trace {name} within a load, so that some of its inferences are not in it",
                fix="Record idle time before and after the load.",
            )
    least_s = SHORT_SHARE * max(span.length_s for span in loads)
    return [span for span in loads if span.length_s >= least_s], idles


def _ended(spans: Sequence[Span], bins: Bins) -> list[Span]:
    """Not beyond the last sample, which may lie in the middle of a bin."""
    return [Span(span.start_s, min(span.end_s, bins.duration_s)) for span in spans]


def _runs(states: States, width_s: float) -> list[tuple[int, Span]]:
    changes = np.flatnonzero(np.diff(states)) + 1
    edges = [0, *(int(change) for change in changes), len(states)]
    return [
        (int(states[first]), Span(first * width_s, last * width_s))
        for first, last in pairwise(edges)
    ]


def _sharpened(bins: Bins, span: Span, edge_w: float, width_s: float) -> Span:
    """The window with its edges where the power, in means over a fifth of ``width_s``, crosses
    ``edge_w`` nearest to where the coarse search found them."""
    factor = max(1, round(width_s / 5 / bins.width_s))
    power_w, fine_s = bins.coarser(factor)
    # A step becomes a ramp over the three means; its middle is where the step was.
    to_middle_s = (0.5 - EDGE_LEVEL) * 3 * fine_s

    def crossing_s(near_s: float, *, rising: bool) -> float:
        first = max(0, int((near_s - 4 * width_s) / fine_s))
        part = smooth(power_w[first : int((near_s + 4 * width_s) / fine_s) + 1], 3)
        above = part > edge_w
        crosses = (~above[:-1] & above[1:]) if rising else (above[:-1] & ~above[1:])
        found = np.flatnonzero(crosses)
        if not len(found):
            return near_s
        low, high = part[found], part[found + 1]
        times_s = (first + found + 0.5 + (edge_w - low) / (high - low)) * fine_s
        nearest_s = float(times_s[np.argmin(np.abs(times_s - near_s))])
        return nearest_s + (to_middle_s if rising else -to_middle_s)

    return Span(crossing_s(span.start_s, rising=True), crossing_s(span.end_s, rising=False))


def _make_blocks(loads: Sequence[Span], idles: Sequence[Span]) -> list[Block]:
    """Each load with the longest idle window between it and its neighbours."""
    edges_s = [-np.inf, *(edge_s for load in loads for edge_s in load), np.inf]
    free = [
        [
            Span(max(idle.start_s, earliest_s), min(idle.end_s, latest_s))
            for idle in idles
            if idle.end_s > earliest_s and idle.start_s < latest_s
        ]
        for earliest_s, latest_s in zip(edges_s[0::2], edges_s[1::2], strict=True)
    ]
    return [
        Block(load, _longest(before), _longest(after))
        for load, (before, after) in zip(loads, pairwise(free), strict=True)
    ]


def _longest(spans: Sequence[Span]) -> Span | None:
    return _settled(max(spans, key=lambda span: span.length_s)) if spans else None


def _settled(span: Span) -> Span:
    guard_s = min(SETTLING_SHARE * span.length_s, MAX_SETTLING_S)
    return Span(span.start_s + guard_s, span.end_s - guard_s)


def read_run(measurement: Measurement) -> RunWindows:
    """The windows of complete blocks, and the synchronisation patterns around them.

    Raises ``UsageError`` for a virtual phone's run, which no meter saw, and ``MeterTraceError``
    for one without a complete block on battery.
    """
    if measurement.virtual:
        raise UsageError(
            "The run was of a virtual phone, whose battery is simulated: no meter saw it",
            run=measurement.id,
            fix="Name a run of a real phone.",
        )
    samples = measurement.result.samples
    windows = [window for stretch in find_stretches(samples.windows) for window in stretch]
    if not windows:
        raise MeterTraceError(
            "The run has no complete block on battery",
            run=measurement.id,
            fix="Name a run whose energy was measured; `mobilekit results list` shows all.",
        )
    return RunWindows(samples.sync_patterns, tuple(windows))
