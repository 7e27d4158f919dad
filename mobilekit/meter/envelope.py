"""A power trace of any length as bins of bounded number, in one pass over its chunks.

The samples of a meter are irregular in time, may be many more than fit into memory, and hold an
offset that is known only when all have been read. So each bin keeps three integrals over its part
of the trace: of the reading r itself, of the power p(r) without an offset, and of its derivative
by the offset. With o the offset and the reading being r - o,

    shunt    P = (V - (r - o)) (r - o) / R = V r / R - r^2 / R - o (V - 2 r) / R - o^2 / R
    current  P = V (r - o)                 = V r - o V
    power    P = r - o

so that a bin's energy is exact for any offset. Integrals are trapezoids between neighbouring
samples; a step that crosses bins is split exactly. Where samples are farther apart than
``GAP_PERIODS`` times the usual, nothing is integrated, and the time is not covered.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mobilekit.errors import MeterTraceError
from mobilekit.records.meter import ReadingKind

Floats = npt.NDArray[np.float64]

BIN_S = 1e-3
MAX_BINS = 1 << 20
"""Twice as many bins as this become half as many of twice the width."""
GAP_PERIODS = 10
PERIOD_SAMPLES = 4096
"""How many of the first samples tell the usual period."""
PARTS = 10
"""Into how many parts a window is cut for its scatter."""
MAX_MISPLACED = 0.01
"""Largest share of samples without a number, or with a time before that of an earlier one."""


class Span(NamedTuple):
    """A part of the trace, in seconds since its first sample."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s

    def cut(self, count: int) -> list[Span]:
        """Into equal parts."""
        edges_s = np.linspace(self.start_s, self.end_s, count + 1).tolist()
        return [Span(*edges) for edges in pairwise(edges_s)]


class Reading(NamedTuple):
    """What a meter's reading is, in volts, amperes or watts, and what makes it a power."""

    kind: ReadingKind
    shunt_ohm: float = 1.0
    """In the supply wire, for a shunt's voltage."""
    supply_v: float | None = None
    """``None`` where the trace has a voltage for each sample, and for a power."""


class Bins(NamedTuple):
    """n bins of equal width, the first beginning at the time of the first sample, zero here."""

    width_s: float
    duration_s: float
    """Between the first sample and the last."""
    covered_s: Floats
    """n: the time between neighbouring samples that lies in each bin."""
    reading_s: Floats
    """n: integral of the reading."""
    energy_j: Floats
    """n: integral of the power."""
    slope_j: Floats
    """n: its derivative by the offset, per unit of the reading."""
    curvature_w: float
    """Half the second derivative of the power by the offset."""
    marked_s: Floats
    """n: integral of the marker, which is 0 or 1; zero without one."""

    def zeroed(self, offset: float) -> Bins:
        """The same trace with an offset taken from every reading."""
        return self._replace(
            reading_s=self.reading_s - offset * self.covered_s,
            energy_j=self.energy_j
            + offset * self.slope_j
            + offset**2 * self.curvature_w * self.covered_s,
            slope_j=self.slope_j + 2 * offset * self.curvature_w * self.covered_s,
        )

    def supply_vs(self) -> Floats:
        """n: integral of the supply's voltage, of a shunt's voltage or a current."""
        if self.curvature_w:
            return 2 * self.reading_s + self.slope_j / self.curvature_w
        return -self.slope_j

    def behind_shunt(self) -> Bins:
        """The same trace of a shunt, with a supply's voltage that was measured on the phone's side:
        P = V (r - o) / R. Within a bin the reading is taken to be steady."""
        square_v2s = np.divide(
            self.reading_s**2,
            self.covered_s,
            out=np.zeros_like(self.reading_s),
            where=self.covered_s > 0,
        )
        return self._replace(
            energy_j=self.energy_j - self.curvature_w * square_v2s,
            slope_j=self.slope_j + 2 * self.curvature_w * self.reading_s,
            curvature_w=0.0,
        )

    def integral(self, values: Floats, span: Span) -> float:
        """Of one of the integrals over a part of the trace, spread evenly within each bin."""
        first = max(0, int(span.start_s // self.width_s))
        last = min(len(values) - 1, int(span.end_s // self.width_s))
        if last < first:
            return 0.0
        total = float(values[first : last + 1].sum())
        total -= float(values[first]) * max(0.0, span.start_s / self.width_s - first)
        total -= float(values[last]) * min(1.0, max(0.0, last + 1 - span.end_s / self.width_s))
        return total

    def mean(self, values: Floats, span: Span) -> float:
        """Of one of the integrals, over the covered time of a part of the trace."""
        return self.integral(values, span) / self.integral(self.covered_s, span)

    def coarser(self, factor: int) -> tuple[Floats, float]:
        """Mean power in watts over ``factor`` bins at a time, and their width in seconds; NaN
        where nothing is covered."""
        count = -(-len(self.covered_s) // factor)

        def summed(values: Floats) -> Floats:
            padded = np.concatenate([values, np.zeros(count * factor - len(values))])
            sums: Floats = padded.reshape(count, factor).sum(axis=1)
            return sums

        with np.errstate(invalid="ignore", divide="ignore"):
            power: Floats = summed(self.energy_j) / summed(self.covered_s)
        return power, factor * self.width_s


class TraceFacts(NamedTuple):
    """What was met in a trace on the way."""

    samples: int
    missing: int
    """Samples without a number."""
    misplaced: int
    """Samples whose time lies before that of an earlier one; they are left out."""
    period_s: float
    """Median time between two of the first samples."""
    gaps: int
    gap_s: float
    longest_gap_s: float


class Envelope:
    """Takes the chunks of a trace in time order, however they are cut, and yields its bins."""

    def __init__(self, reading: Reading, *, bin_s: float = BIN_S, max_bins: int = MAX_BINS) -> None:
        self._reading = reading
        self._width_s = bin_s
        self._sums = np.zeros((5, max_bins))
        self._used = 0
        self._waiting: list[Floats] = []
        self._waiting_samples = 0
        self._period_s: float | None = None
        self._origin_s: float | None = None
        self._last: Floats | None = None
        """The newest samples, all of one time, to which more may come."""
        self._previous: Floats | None = None
        """The last sample that was integrated up to."""
        self._last_time_s = 0.0
        self._samples = self._missing = self._misplaced = 0
        self._gaps, self._gap_s, self._longest_gap_s = 0, 0.0, 0.0

    def add(
        self,
        time_s: Floats,
        reading: Floats,
        supply_v: Floats | None = None,
        marker: Floats | None = None,
    ) -> None:
        """Take the next samples: times in seconds, readings in the unit of their kind.

        NaN is a missing sample. Raises ``MeterTraceError`` for a reading that is infinite and
        for a time that stands still.
        """
        self._samples += len(time_s)
        rows = self._as_rows(time_s, reading, supply_v, marker)
        if np.isinf(rows).any():
            first = int(np.argmax(np.isinf(rows).any(axis=0)))
            raise MeterTraceError(
                "The trace has infinite readings: the meter was overloaded",
                sample=self._samples - len(time_s) + first + 1,
                fix="Choose a larger range of the meter, and record it again.",
            )
        whole = ~np.isnan(rows).any(axis=0)
        self._missing += int(len(time_s) - np.count_nonzero(whole))
        rows = rows[:, whole]
        if rows.shape[1] == 0:
            return
        if self._period_s is None:
            self._waiting.append(rows)
            self._waiting_samples += rows.shape[1]
            if self._waiting_samples < PERIOD_SAMPLES:
                return
            rows = self._begin()
        self._take(rows)

    def finish(self) -> tuple[Bins, TraceFacts]:
        """The bins of all samples.

        Raises ``MeterTraceError`` for a trace of fewer than two times, and for one in which more
        than ``MAX_MISPLACED`` of the samples are missing or misplaced.
        """
        if self._period_s is None and self._waiting:
            self._take(self._begin())
        if self._last is not None:
            self._integrate(_merge_equal_times(self._last))
        if self._used == 0 or self._period_s is None or self._origin_s is None:
            raise MeterTraceError(
                "The trace has fewer than two samples with different times",
                samples=self._samples,
                fix="Check that the columns are the right ones.",
            )
        facts = TraceFacts(
            samples=self._samples,
            missing=self._missing,
            misplaced=self._misplaced,
            period_s=self._period_s,
            gaps=self._gaps,
            gap_s=self._gap_s,
            longest_gap_s=self._longest_gap_s,
        )
        for count, what in (
            (self._missing, "have no number"),
            (self._misplaced, "lie in time before an earlier one"),
        ):
            if count > MAX_MISPLACED * self._samples:
                raise MeterTraceError(
                    f"{count:,} of {self._samples:,} samples {what}; at most {MAX_MISPLACED:.0%} "
                    "may be left out",
                    fix="A meter that was restarted has begun a second trace: import it by itself. "
                    "Check the columns and the decimal sign too.",
                )
        covered_s, reading_s, energy_j, slope_j, marked_s = self._sums[:, : self._used].copy()
        bins = Bins(
            width_s=self._width_s,
            duration_s=float(self._last_time_s),
            covered_s=covered_s,
            reading_s=reading_s,
            energy_j=energy_j,
            slope_j=slope_j,
            curvature_w=-1 / self._reading.shunt_ohm
            if self._reading.kind == "shunt voltage"
            else 0.0,
            marked_s=marked_s,
        )
        return bins, facts

    def _as_rows(
        self, time_s: Floats, reading: Floats, supply_v: Floats | None, marker: Floats | None
    ) -> Floats:
        """Rows: time, reading, power, slope, marker."""
        kind, shunt_ohm, constant_v = self._reading
        if kind == "power":
            power, slope = reading, np.full(len(reading), -1.0)
        else:
            volt = supply_v if supply_v is not None else np.full(len(reading), constant_v)
            if kind == "current":
                power, slope = volt * reading, -volt
            else:
                power = (volt - reading) * reading / shunt_ohm
                slope = (2 * reading - volt) / shunt_ohm
        marked = marker if marker is not None else np.zeros(len(reading))
        return np.stack([time_s, reading, power, slope, marked])

    def _begin(self) -> Floats:
        """The samples that waited for the period and origin to be known."""
        rows = np.concatenate(self._waiting, axis=1)
        self._waiting = []
        ordered_s = np.maximum.accumulate(rows[0])
        steps_s = np.diff(ordered_s[:PERIOD_SAMPLES])
        if len(steps_s) >= PERIOD_SAMPLES - 1 and not steps_s.any():
            raise MeterTraceError(
                f"The first {PERIOD_SAMPLES:,} samples have the same time",
                fix="Check that the column of times is the right one; `--time-column row` counts "
                "the rows of a meter whose clock is too coarse.",
            )
        self._period_s = float(np.median(steps_s[steps_s > 0])) if steps_s.any() else 0.0
        self._width_s = max(self._width_s, self._period_s)
        self._origin_s = float(rows[0, 0])
        return rows

    def _take(self, rows: Floats) -> None:
        """Leave out what lies back in time, and keep the newest time open for its equals."""
        rows[0] -= self._origin_s
        if self._last is not None:
            rows = np.concatenate([self._last, rows], axis=1)
        newest_s = np.maximum.accumulate(rows[0])
        in_order = rows[0] >= newest_s
        if not in_order.all():
            self._misplaced += int(len(in_order) - np.count_nonzero(in_order))
            rows = rows[:, in_order]
        open_from = int(np.searchsorted(rows[0], rows[0, -1]))
        self._last = rows[:, open_from:].copy()
        if self._last.shape[1] > 1_000_000:
            raise MeterTraceError(
                "A million samples in a row have the same time",
                time_s=float(self._last[0, 0]),
                fix="Check that the column of times is the right one.",
            )
        # The first sample of the open time closes the step before it.
        closed = _merge_equal_times(rows[:, :open_from])
        self._integrate(closed)

    def _integrate(self, rows: Floats) -> None:
        """Add the steps between samples of strictly growing time, and from the one before."""
        if rows.shape[1] == 0:
            return
        if self._previous is not None:
            rows = np.concatenate([self._previous, rows], axis=1)
        self._previous = rows[:, -1:].copy()
        self._last_time_s = float(rows[0, -1])
        if rows.shape[1] < 2:
            return
        time_s, values = rows[0], rows[1:]
        while self._last_time_s >= self._width_s * self._sums.shape[1]:
            self._halve()
        step_s = np.diff(time_s)
        is_gap = step_s > GAP_PERIODS * float(self._period_s or 0)
        if is_gap.any():
            self._gaps += int(np.count_nonzero(is_gap))
            self._gap_s += float(step_s[is_gap].sum())
            self._longest_gap_s = max(self._longest_gap_s, float(step_s[is_gap].max()))
        weight_s = np.where(is_gap, 0.0, step_s)
        first, last = (int(time // self._width_s) for time in (time_s[0], time_s[-1]))
        edges_s = np.arange(first + 1, last + 1) * self._width_s
        step = np.clip(np.searchsorted(time_s, edges_s, side="right") - 1, 0, len(step_s) - 1)
        part = (edges_s - time_s[step]) / step_s[step]
        part_s = part * weight_s[step]
        self._add(0, first, last, np.cumsum(weight_s), step, part_s)
        for number, value in enumerate(values, start=1):
            rise = np.diff(value)
            total = np.cumsum((value[:-1] + value[1:]) / 2 * weight_s)
            partial = (value[step] + rise[step] * part / 2) * part_s
            self._add(number, first, last, total, step, partial)
        self._used = max(self._used, last + 1)

    def _add(
        self,
        row: int,
        first: int,
        last: int,
        total: Floats,
        step: npt.NDArray[np.int_],
        partial: Floats,
    ) -> None:
        """Spread a cumulative integral over the bins ``first`` to ``last``."""
        at_edges = np.where(step > 0, total[step - 1], 0.0) + partial
        self._sums[row, first : last + 1] += np.diff(at_edges, prepend=0.0, append=total[-1])

    def _halve(self) -> None:
        pairs = self._sums.reshape(len(self._sums), -1, 2).sum(axis=2)
        self._sums[:, : pairs.shape[1]] = pairs
        self._sums[:, pairs.shape[1] :] = 0.0
        self._width_s *= 2
        self._used = (self._used + 1) // 2


def _merge_equal_times(rows: Floats) -> Floats:
    """One sample, the mean, for each time: meters repeat one that is coarser than their rate."""
    if rows.shape[1] < 2:
        return rows
    starts = np.flatnonzero(np.diff(rows[0], prepend=-np.inf) > 0)
    if len(starts) == rows.shape[1]:
        return rows
    counts = np.diff(starts, append=rows.shape[1])
    merged: Floats = np.add.reduceat(rows, starts, axis=1) / counts
    merged[0] = rows[0, starts]
    return merged


def smooth(values: Floats, count: int) -> Floats:
    """Mean over ``count`` neighbours, of those that are there."""
    known = np.isfinite(values)
    kernel = np.ones(count)
    sums = np.convolve(np.where(known, values, 0.0), kernel, mode="same")
    counts = np.convolve(known.astype(np.float64), kernel, mode="same")
    with np.errstate(invalid="ignore", divide="ignore"):
        smooth: Floats = sums / counts
    return smooth
