"""Summaries of durations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mobilekit.records.statistics import Interval, Summary

SPIKES = 0.05
"""Of durations at either end, that are not looked at for groups."""


def summarize(duration_ns: Sequence[int]) -> Summary:
    """Robust statistics of at least one duration.

    Percentiles interpolate linearly between order statistics; the MAD is the plain median of
    absolute deviations, not scaled to a standard deviation.
    """
    values = np.asarray(duration_ns, dtype=np.float64)
    p50_ns, p90_ns, p99_ns = np.percentile(values, [50, 90, 99])
    return Summary(
        count=len(values),
        p50_ns=float(p50_ns),
        p50_interval_ns=bootstrap_median_interval(duration_ns),
        p90_ns=float(p90_ns),
        p99_ns=float(p99_ns),
        mad_ns=float(np.median(np.abs(values - p50_ns))),
        min_ns=int(values.min()),
        max_ns=int(values.max()),
    )


def bootstrap_median_interval(values: Sequence[int], coverage: float = 0.95) -> Interval:
    """Percentile bootstrap interval of the median, computed exactly instead of by resampling.

    A resample of n values has its upper median at or below the k-th order statistic when at
    least floor(n/2) + 1 of its draws are, so P = P[Binomial(n, k/n) > floor(n/2)] (Efron, "The
    Jackknife, the Bootstrap and Other Resampling Plans", 1982, section 10.3). The interval ends
    at the order statistics where that distribution passes its lower and upper tail.
    """
    from scipy.special import bdtrc  # at no command's start, as in ``energy.budget``

    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = len(ordered)
    ranks = np.arange(1, count + 1)
    cumulative = bdtrc(count // 2, count, ranks / count)
    tail = (1 - coverage) / 2
    low = int(np.searchsorted(cumulative, tail))
    high = int(np.searchsorted(cumulative, 1 - tail))
    return Interval(
        low=float(ordered[min(low, count - 1)]), high=float(ordered[min(high, count - 1)])
    )


def relative_drift(duration_ns: Sequence[int]) -> float:
    """How much slower the second half is than the first: the ratio of their medians less 1."""
    middle = len(duration_ns) // 2
    if middle == 0:
        return 0.0
    first, second = np.median(duration_ns[:middle]), np.median(duration_ns[middle:])
    return float(second / first - 1) if first else 0.0


class Modes(NamedTuple):
    """Two groups of durations, by the medians of each."""

    fast_ns: float
    slow_ns: float
    slow_share: float


def two_modes(duration_ns: Sequence[int]) -> Modes | None:
    """The two groups that durations fall into, or ``None`` where they are one.

    The split is Otsu's (1979), of the durations' logarithms: the one with the largest variance
    between the groups. They count as two when that is at least 90 % of the whole variance (at the
    best split of a normal distribution it is 64 %, of a uniform one 75 %), each holds at least a
    tenth, and their medians differ by at least a tenth. A twentieth at each end is left out of the
    variances, which a few spikes would make up alone.
    """
    ordered = np.sort(np.asarray(duration_ns, dtype=np.float64))
    count = len(ordered)
    ends = int(count * SPIKES)
    values = np.log(np.maximum(ordered[ends : count - ends], 1.0))
    inner = len(values)
    if count < 20 or values[0] == values[-1]:
        return None
    below = np.arange(1, inner)
    sums = np.cumsum(values)
    fast = sums[:-1] / below
    slow = (sums[-1] - sums[:-1]) / (inner - below)
    share = below / inner
    between = share * (1 - share) * (slow - fast) ** 2
    best = int(np.argmax(between))
    split = ends + best + 1
    modes = Modes(
        float(np.median(ordered[:split])), float(np.median(ordered[split:])), 1 - split / count
    )
    apart = between[best] >= 0.9 * values.var() and modes.slow_ns >= 1.1 * modes.fast_ns
    return modes if apart and 0.1 <= modes.slow_share <= 0.9 else None
