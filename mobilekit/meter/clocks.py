"""The phone's clock and a meter's, fitted by the pattern of load that a run makes for it.

A run can begin and end with a synchronisation pattern, pulses of load whose edges it records. Both
patterns are correlated with the trace, and their best common place is taken. Then each edge is
found by itself, and t_meter = a + b t_phone is fitted through all by least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter1d

from mobilekit.contract.protocol import SyncPattern
from mobilekit.errors import MeterTraceError
from mobilekit.meter.envelope import Bins, Floats
from mobilekit.records.meter import ClockFit
from mobilekit.units import NS_PER_S

MAX_DRIFT = 200e-6
SEARCHED_DRIFT = 2000e-6
"""Clocks are looked for this far apart, so that a fit beyond ``MAX_DRIFT`` is seen and refused."""
MIN_CORRELATION = 0.7
MIN_LEAD = 0.1
"""By how much the best place of the pattern must correlate better than any other."""
PATTERN_BIN_S = 0.02
PATTERN_MARGIN_S = 2.0
MAX_EDGE_S = 0.5
"""How far from its place in the correlation an edge of the pattern is looked for."""


class Alignment(NamedTuple):
    """t_meter = offset_s + rate t_phone, and how uncertain it is."""

    offset_s: float
    rate: float
    fit: ClockFit

    def to_meter_s(self, phone_s: float) -> float:
        return self.offset_s + self.rate * phone_s


def align(bins: Bins, patterns: Sequence[SyncPattern]) -> Alignment:
    """Find the phone's synchronisation patterns in the trace, and fit its clock to the meter's.

    Raises ``MeterTraceError`` for a weak or ambiguous correlation and for clocks that differ by
    more than ``MAX_DRIFT``.
    """
    if not patterns:
        raise MeterTraceError(
            "The run made no synchronisation pattern",
            fix="Without --run the windows are found from the trace's own steps.",
        )
    power_w, width_s = bins.coarser(max(1, round(PATTERN_BIN_S / bins.width_s)))
    power_w = np.where(np.isfinite(power_w), power_w, np.nanmedian(power_w))
    # Of a run that was interrupted, the last is the first.
    ends_s = [
        np.array(pattern.edges_ns) / NS_PER_S for pattern in (patterns[0], *patterns[1:][-1:])
    ]
    correlations = [_correlate(power_w, width_s, edges_s) for edges_s in ends_s]
    places, lead = _best_places(correlations, [edges_s[0] / width_s for edges_s in ends_s], width_s)
    weakest = min(float(one[place]) for one, place in zip(correlations, places, strict=True))
    if weakest < MIN_CORRELATION or lead < MIN_LEAD:
        raise MeterTraceError(
            "The run's synchronisation pattern cannot be found in the trace",
            correlation=f"{weakest:.2f}, needed {MIN_CORRELATION}",
            lead_over_other_places=f"{lead:.2f}, needed {MIN_LEAD}",
            fix="Check that the trace is of this run and holds it whole. Without --run the windows "
            "are found from the trace's own steps.",
        )
    pairs = []
    for edges_s, place in zip(ends_s, places, strict=True):
        shift_s = place * width_s + PATTERN_MARGIN_S - edges_s[0]
        for number, edge_s in enumerate(edges_s.tolist()):
            found_s = _find_edge(bins, edge_s + shift_s, rising=number % 2 == 0)
            if found_s is not None:
                pairs.append((edge_s, found_s))
    return _fit_clocks(np.array(pairs).reshape(-1, 2), patterns=len(ends_s), weakest=weakest)


def _best_places(
    correlations: Sequence[Floats], starts: Sequence[float], width_s: float
) -> tuple[list[int], float]:
    """Where each pattern is, and by how much that correlates better than any other place.

    With two, for each place of the first, the best of the last within ``SEARCHED_DRIFT`` counts.
    """
    first, last = correlations[0], correlations[-1]
    total = first
    if len(correlations) > 1:
        apart = round(starts[-1] - starts[0])
        reach = round(SEARCHED_DRIFT * apart + 0.1 / width_s)
        ahead = np.full(len(first), -1.0)
        there = last[apart : apart + len(first)]
        ahead[: len(there)] = there
        total = (first + maximum_filter1d(ahead, 2 * reach + 1, mode="constant", cval=-1.0)) / 2
    best = int(np.argmax(total))
    places = [best]
    if len(correlations) > 1:
        start = min(max(0, best + apart - reach), len(last) - 1)
        places.append(start + int(np.argmax(last[start : best + apart + reach + 1])))
    around = round(PATTERN_MARGIN_S / 2 / width_s)
    elsewhere = np.concatenate([total[: max(0, best - around)], total[best + around + 1 :]])
    return places, float(total[best] - elsewhere.max(initial=-1.0))


def _correlate(power_w: Floats, width_s: float, edges_s: Floats) -> Floats:
    """Pearson's correlation of the pattern with the trace, for each place of its beginning."""
    start_s = edges_s[0] - PATTERN_MARGIN_S
    count = int(np.ceil((edges_s[-1] + PATTERN_MARGIN_S - start_s) / width_s))
    times_s = start_s + (np.arange(count) + 0.5) * width_s
    template = np.where(np.searchsorted(edges_s, times_s, side="right") % 2 == 1, 1.0, 0.0)
    template -= template.mean()
    template /= np.sqrt((template**2).sum())
    if count > len(power_w):
        raise MeterTraceError(
            "The trace is shorter than the run's synchronisation pattern",
            fix="Check that the trace is of this run.",
        )
    centred = power_w - power_w.mean()
    size = 1 << int(np.ceil(np.log2(len(power_w) + count)))
    product = np.fft.irfft(np.fft.rfft(centred, size) * np.conj(np.fft.rfft(template, size)), size)[
        : len(power_w) - count + 1
    ]
    sums = np.concatenate([[0.0], np.cumsum(centred)])
    squares = np.concatenate([[0.0], np.cumsum(centred**2)])
    total = sums[count:] - sums[:-count]
    energy = squares[count:] - squares[:-count] - total**2 / count
    floor = 1e-9 * max(float(squares[-1]), 1e-30)
    correlation: Floats = product / np.sqrt(np.maximum(energy, floor))
    return correlation


def _find_edge(bins: Bins, near_s: float, *, rising: bool) -> float | None:
    """When the power crosses the middle between its levels before and after, near ``near_s``.

    ``None`` where it does not do so in the direction that is looked for.
    """
    first = max(0, int((near_s - MAX_EDGE_S) / bins.width_s))
    last = min(len(bins.covered_s), int((near_s + MAX_EDGE_S) / bins.width_s) + 1)
    # The edge that splits it into two means with the least squares left over.
    covered_s = bins.covered_s[first:last]
    energy_j = bins.energy_j[first:last]
    time_before, energy_before = np.cumsum(covered_s)[:-1], np.cumsum(energy_j)[:-1]
    time_after, energy_after = covered_s.sum() - time_before, energy_j.sum() - energy_before
    usable = (time_before > 0.05) & (time_after > 0.05)
    if not usable.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.where(
            usable, energy_before**2 / time_before + energy_after**2 / time_after, -np.inf
        )
    best = int(np.argmax(gain))
    step_w = energy_after[best] / time_after[best] - energy_before[best] / time_before[best]
    if (step_w > 0) != rising:
        return None
    return (first + best + 1) * bins.width_s


def _fit_clocks(pairs: Floats, *, patterns: int, weakest: float) -> Alignment:
    """Through the edges on both clocks, n x 2; with one pattern the rate is taken to be 1."""
    phone_s, meter_s = pairs[:, 0], pairs[:, 1]
    middle_s = float(phone_s.mean()) if len(pairs) else 0.0
    late = int(np.count_nonzero(phone_s > middle_s))
    if min(len(pairs) - late, late) < 2:
        raise MeterTraceError(
            "The edges of the run's synchronisation pattern cannot be found in the trace",
            found=len(pairs),
            fix="Without --run the windows are found from the trace's own steps.",
        )
    centred_s = phone_s - middle_s
    spread_s = float(np.linalg.norm(centred_s))
    rate = float(centred_s @ meter_s) / spread_s**2 if patterns > 1 else 1.0
    residual_s = meter_s - meter_s.mean() - rate * centred_s
    scatter_s = float(np.linalg.norm(residual_s)) / (len(pairs) - patterns) ** 0.5
    rate_uncertainty = scatter_s / spread_s if patterns > 1 else MAX_DRIFT / 3**0.5
    # What the edges themselves leave open is not the clocks' drift.
    if abs(rate - 1) - 2 * rate_uncertainty > MAX_DRIFT:
        raise MeterTraceError(
            "The phone's clock and the meter's differ too much",
            drift=f"{(rate - 1) * 1e6:+.0f} ppm, allowed {MAX_DRIFT * 1e6:.0f} ppm",
            fix="Check that the trace is of this run, and the unit of its times.",
        )
    fit = ClockFit(
        drift_ppm=(rate - 1) * 1e6,
        drift_uncertainty_ppm=rate_uncertainty * 1e6,
        edges=len(pairs),
        patterns=patterns,
        edge_uncertainty_s=float(np.hypot(scatter_s, rate_uncertainty * np.ptp(phone_s) / 2)),
        correlation=weakest,
    )
    return Alignment(float(meter_s.mean()) - rate * middle_s, rate, fit)
