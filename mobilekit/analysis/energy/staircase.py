"""The step and the update period of readings that change in steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mobilekit.contract.protocol import BatterySample, Window
from mobilekit.units import NS_PER_S

MIN_PERIOD_CHANGES = 12
"""In idle or in load windows, to tell anything from them."""
MIN_UNKNOWN_PERIOD_CHANGES = 40
MIN_COHERENCE = 0.6
LONGEST_COHERENCE = 0.8
"""Of the best: shorter periods that divide the true one fit as well."""
MAX_POLL_SHARE = 0.35
"""Of a period that can be told, a poll's."""
MAX_DIVISOR = 16
MIN_INEXACT_STEP = 8
"""Smaller ones drown in the rounding of readings to whole numbers: the exact divisor counts."""


def measure_step(values: Sequence[int]) -> float | None:
    """The largest number that all differences of successive readings are multiples of, each reading
    being rounded to a whole number; ``None`` where nothing changes.

    Each divisor of the smallest difference is tried: with every larger difference it is known
    better, and refused by the first one that is off by more than the rounding of two readings.
    """
    differences = sorted(
        {abs(after - before) for before, after in pairwise(values) if after != before}
    )
    if not differences:
        return None
    for divisor in range(1, MAX_DIVISOR + 1):
        step = differences[0] / divisor
        if step < MIN_INEXACT_STEP:
            break
        counts = 0
        total = 0.0
        for difference in differences:
            count = max(1, round(difference / step))
            # What is known of the step is as good as the largest difference so far.
            if abs(difference - count * step) > 1 + count * _step_error(total, counts):
                break
            if count > counts:
                counts, total = count, float(difference)
                step = total / counts
        else:
            return step
    return float(np.gcd.reduce(differences))


def _step_error(total: float, counts: int) -> float:
    return 1 / counts if counts else 0.0


def measure_period_s(
    windows: Sequence[Window],
    read: Callable[[BatterySample], int | None],
    hint_s: float | None = None,
) -> float | None:
    """How often a property is updated: the longest period on whose multiples its changes lie, in
    idle and in load windows. ``None`` where it changes too rarely, or is polled too slowly to tell.

    The coherence at the frequency f is the mean of cos(2 pi f d) over the distances d of all pairs
    of changes in a window: 1 for multiples, but for the polls in which the changes are seen, which
    leave sinc^2(f poll). Windows are taken by themselves, since a gauge's clock need not keep time
    with the phone's for longer. A steady power makes a counter's steps themselves periodic, but not
    alike in idle and in load; so the lower coherence of the two counts, and a counter that tells
    of one of them only is not enough. ``hint_s``, another property's period, is taken where it
    fits.
    """
    kinds: list[_Changes] = [
        changes
        for kind in ("idle", "load")
        if (changes := _changes([item for item in windows if item.kind == kind], read)) is not None
    ]
    if not kinds:
        return None
    # A counter's own steps are periodic too, and told from updates by both kinds only.
    least_kinds = 2 if _is_one_way(windows, read) else 1
    if least_kinds == 1:
        kinds = [min(kinds, key=lambda changes: changes.poll_s)]

    def coherence(frequencies: np.ndarray, least_kinds: int) -> np.ndarray:
        each = [_coherence(changes, frequencies) for changes in kinds]
        told = sum(np.isfinite(one).astype(int) for one in each)
        lower = np.min([np.nan_to_num(one, nan=1.0) for one in each], axis=0)
        return np.where(told >= least_kinds, lower, 0.0)

    series = [times for changes in kinds for times in changes.series]
    step_hz = 0.2 / max(float(times[-1] - times[0]) for times in series)
    shortest_s = min(float(np.diff(times).min()) for times in series)
    poll_s = min(changes.poll_s for changes in kinds)
    if hint_s is not None:
        near = np.arange(-5, 6) * step_hz + 1 / hint_s
        if coherence(near, 1).max() >= MIN_COHERENCE:
            return 1 / _peak_hz(lambda at: coherence(at, 1), 1 / hint_s, step_hz)
    frequencies = np.arange(1 / (shortest_s + 2 * poll_s), MAX_POLL_SHARE / poll_s, step_hz)
    if not len(frequencies) or sum(map(len, series)) < MIN_UNKNOWN_PERIOD_CHANGES:
        return None
    found = coherence(frequencies, least_kinds)
    if found.max() < MIN_COHERENCE:
        return None
    first = int(np.argmax(found >= LONGEST_COHERENCE * found.max()))
    peak_hz = float(frequencies[first])
    return 1 / _peak_hz(lambda at: coherence(at, least_kinds), peak_hz, step_hz)


class _Changes(NamedTuple):
    """When a property changed, in windows of one kind."""

    series: list[np.ndarray]
    """Seconds, for each window."""
    poll_s: float
    """Between two readings."""


def _changes(
    windows: Sequence[Window], read: Callable[[BatterySample], int | None]
) -> _Changes | None:
    """A change is in the middle between the two polls that it lies between. ``None`` where there
    are too few."""
    gaps_s = [
        (after.at_ns - before.at_ns) / NS_PER_S
        for window in windows
        for before, after in pairwise(window.battery)
    ]
    quick_s = [gap_s for gap_s in gaps_s if gap_s > 0]
    if not quick_s:
        return None
    poll_s = float(np.median(quick_s))
    series = []
    for window in windows:
        times = [
            (before.at_ns + after.at_ns) / 2 / NS_PER_S
            for before, after in pairwise(window.battery)
            if after.at_ns - before.at_ns <= 2 * poll_s * NS_PER_S and read(before) != read(after)
        ]
        if len(times) > 1:
            series.append(np.array(times))
    if sum(map(len, series)) < MIN_PERIOD_CHANGES:
        return None
    return _Changes(series, poll_s)


def _coherence(changes: _Changes, frequencies: np.ndarray) -> np.ndarray:
    """At each frequency, 1 where all changes lie on its multiples; NaN where the polls are too slow
    to tell."""
    power = np.zeros(len(frequencies))
    for times in changes.series:
        phases = np.exp(2j * np.pi * np.outer(frequencies, times - times[0])).sum(axis=1)
        power += np.abs(phases) ** 2 - len(times)
    pairs = sum(len(times) * (len(times) - 1) for times in changes.series)
    shares = frequencies * changes.poll_s
    found = (power / pairs / np.sinc(np.minimum(shares, 0.5)) ** 2).clip(max=1.0)
    return np.where(shares <= MAX_POLL_SHARE, found, np.nan)


def _is_one_way(windows: Sequence[Window], read: Callable[[BatterySample], int | None]) -> bool:
    """Whether the readings only ever fall: a counter's, and no current's."""
    values = [
        value
        for window in windows
        for sample in window.battery
        if (value := read(sample)) is not None
    ]
    return all(after <= before for before, after in pairwise(values))


def _peak_hz(
    coherence: Callable[[np.ndarray], np.ndarray], about_hz: float, step_hz: float
) -> float:
    """The frequency of the highest coherence within a peak's width."""
    near = about_hz + np.linspace(-5, 5, 201) * step_hz
    return float(near[int(np.argmax(coherence(near)))])
