"""A network's figures over time: what levels they had, and where they changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, get_args

import numpy as np

from mobilekit.analysis.compare.figures import Figures, figures_of, ratio_of
from mobilekit.analysis.compare.likeness import find_differences
from mobilekit.analysis.compare.records import Difference, Quantity, Unit
from mobilekit.analysis.gate import (
    EXACT,
    GatedName,
    RunFigure,
    figure_of_run,
    figure_origins,
    find_unlike,
)
from mobilekit.analysis.repeats import Arrangement, Between, arrangement_of, is_usable, pool
from mobilekit.contract.codec import Record
from mobilekit.records.measurement import Measurement
from mobilekit.records.statistics import Origin

FALSE_CHANGES = 0.03
"""How often a figure that never changed may be found to have."""
LEAST_RUNS = 2
"""Of a level: a single odd run is no level."""
LEAST_FOR_SPELLS = 12
"""Runs; of fewer, too few orders are unlike to tell a spell, and to look for it costs power."""
SPELL_ENDS = 60
"""Places at which a spell may begin or end, before each is moved to where it fits best."""
LEAST_ORDERS = 999
ORDERS = 10
"""So many at least may be as good: fewer would leave it to luck."""
SPELLS_SHARE = 0.25
"""Of what may be by chance; the more it is, the longer two levels alone have to be."""
_FIRST_BATCH = 37
"""Of orders; most figures did not change, which few orders tell. Each further one is twice as
large, up to so many gains in memory at once:"""
_MOST_GAINS = 1_000_000
_NORMAL_95 = 1.959964


class HistoryPoint(Record, frozen=True):
    id: str
    started_at: str
    """ISO 8601, UTC."""
    quantity: Quantity
    """With the interval within the run."""


class Level(Record, frozen=True):
    """Runs one after another, between which nothing changed that can be told."""

    first_id: str
    last_id: str
    runs: int
    quantity: Quantity
    between: Between
    """What the quantity's interval is."""


class Change(Record, frozen=True):
    """Between two levels."""

    before_id: str
    """The last run of the one."""
    after_id: str
    """The first of the other."""
    ratio: Quantity | None
    """Of the later level over the earlier, with a 95 % interval where both have one."""
    chance: float
    """How often runs that did not change would look so, in another order; 0 where one run tells a
    figure exactly."""
    differences: tuple[Difference, ...]
    """What else changed between the two runs: the network, the engine, the export."""


class FigureHistory(Record, frozen=True):
    name: GatedName
    unit: Unit
    origin: Origin
    points: tuple[HistoryPoint, ...]
    """The oldest first."""
    levels: tuple[Level, ...]
    changes: tuple[Change, ...]
    """One fewer than levels."""


class History(Record, frozen=True):
    """Runs that were made alike, as ``check`` asks for."""

    arrangement: Arrangement
    """Of the newest."""
    ids: tuple[str, ...]
    """The oldest first."""
    figures: tuple[FigureHistory, ...]


class Split(NamedTuple):
    at: int
    """The first of the later level."""
    chance: float


def trace_histories(measurements: Iterable[Measurement]) -> tuple[History, ...]:
    """Of usable runs that were to measure and had their outputs checked, those with like ones
    together; the one with the newest run first."""
    usable = [
        each
        for each in measurements
        if each.purpose == "measure"
        and is_usable(each)
        and each.result.samples.output_check is not None
    ]
    series: list[list[Measurement]] = []
    for run in sorted(usable, key=lambda each: (each.started_at, each.id)):
        alike = next((runs for runs in series if not find_unlike(run, runs[0])), None)
        if alike is None:
            series.append([run])
        else:
            alike.append(run)
    newest_first = sorted(series, key=lambda runs: runs[-1].started_at, reverse=True)
    return tuple(_history(runs) for runs in newest_first)


def _history(runs: Sequence[Measurement]) -> History:
    figures = [figures_of(run) for run in runs]
    return History(
        arrangement=arrangement_of(runs[-1]),
        ids=tuple(run.id for run in runs),
        figures=tuple(
            _figure_history(name, origin, runs, figures)
            for name in get_args(GatedName)
            for origin in figure_origins(name, figures)
            if any(figure_of_run(each, name, origin) for each in figures)
        ),
    )


def _figure_history(
    name: GatedName, origin: Origin, runs: Sequence[Measurement], figures: Sequence[Figures]
) -> FigureHistory:
    told = [
        (run, figure)
        for run, each in zip(runs, figures, strict=True)
        if (figure := figure_of_run(each, name, origin)) is not None
    ]
    # PSS and RSS are two measures: those of the newest run count.
    way = told[-1][1].way
    told = [(run, figure) for run, figure in told if figure.way == way]
    quantities = [Quantity(value=each.value, interval=each.interval) for _, each in told]
    splits = list(_exact_changes(told) if name in EXACT else find_changes(quantities))
    edges = [0, *(split.at for split in splits), len(told)]
    levels = [
        _level([run.id for run, _ in told[begin:end]], quantities[begin:end])
        for begin, end in pairwise(edges)
    ]
    return FigureHistory(
        name=name,
        unit=told[-1][1].unit,
        origin=origin,
        points=tuple(
            HistoryPoint(id=run.id, started_at=run.started_at, quantity=quantity)
            for (run, _), quantity in zip(told, quantities, strict=True)
        ),
        levels=tuple(levels),
        changes=tuple(
            Change(
                before_id=told[split.at - 1][0].id,
                after_id=told[split.at][0].id,
                ratio=ratio_of(after.quantity, before.quantity),
                chance=split.chance,
                differences=tuple(find_differences(told[split.at][0], told[split.at - 1][0])),
            )
            for split, before, after in zip(splits, levels, levels[1:], strict=False)
        ),
    )


def _level(ids: Sequence[str], quantities: Sequence[Quantity]) -> Level:
    quantity, between = pool(quantities)
    return Level(
        first_id=ids[0], last_id=ids[-1], runs=len(ids), quantity=quantity, between=between
    )


def _exact_changes(told: Sequence[tuple[Measurement, RunFigure]]) -> Iterator[Split]:
    for at in range(1, len(told)):
        if told[at][1].value != told[at - 1][1].value:
            yield Split(at, 0.0)


def find_changes(quantities: Sequence[Quantity]) -> tuple[Split, ...]:
    """Where a figure's level changed, in the order of the runs.

    Binary segmentation (Vostrikova, "Detecting disorder in multidimensional random processes",
    1981), and, since a level that comes back hides from it, circular (Olshen et al., "Circular
    binary segmentation for the analysis of array-based DNA copy number data", Biostatistics 5,
    2004), both with permutation tests, on logarithms of values that are all positive. A split, or
    a spell between two, is as good as the weighted squares that two means leave out of those about
    one. A run's weight is the inverse of its variance: that of its own interval, and between runs
    that of DerSimonian and Laird ("Meta-analysis in clinical trials", Controlled Clinical Trials
    7, 1986), which a run's own interval does not tell. It counts where at most ``FALSE_CHANGES``
    of the orders of the same runs have one as good, which runs that did not change have that
    seldom, however they are distributed. A part has that share of it which it has of the runs, so
    that all parts together have no more, however many there are (Meinshausen, "Hierarchical testing
    of variable importance", Biometrika 95, 2008). As many orders are drawn as a share so small
    needs, from one fixed seed, so that a history says the same each time.
    """
    values = np.array([each.value for each in quantities])
    is_log = bool((values > 0).all())
    scaled = np.log(values) if is_log else values
    variances = np.array([_variance(each, is_log=is_log) for each in quantities])
    found: list[Split] = []
    open_parts = [(0, len(values))]
    while open_parts:
        begin, end = open_parts.pop()
        allowed = FALSE_CHANGES * (end - begin) / max(len(values), 1)
        splits = _find_splits(scaled[begin:end], variances[begin:end], allowed)
        found += [Split(begin + split.at, split.chance) for split in splits]
        edges = [begin, *(begin + split.at for split in splits), end]
        if splits:
            open_parts += pairwise(edges)
    return tuple(_moved(sorted(found), scaled, variances))


def _variance(quantity: Quantity, *, is_log: bool) -> float:
    interval = quantity.interval
    if interval is None:
        return 0.0
    low, high = interval.low, interval.high
    if is_log:
        width = math.log(high / low) if low > 0 else 2 * math.log(max(high / quantity.value, 1.0))
    else:
        width = high - low
    return (width / 2 / _NORMAL_95) ** 2


def _find_splits(values: np.ndarray, variances: np.ndarray, allowed: float) -> tuple[Split, ...]:
    """One, or two around a spell; none where there is no good one."""
    count = len(values)
    if count < 2 * LEAST_RUNS or np.ptp(values) == 0:
        return ()
    weights = 1 / (variances + _variance_between(values, variances))
    centred = values - np.average(values, weights=weights)
    places = np.arange(LEAST_RUNS, count - LEAST_RUNS + 1)
    single = np.stack([np.zeros_like(places), places])
    if count < LEAST_FOR_SPELLS:
        return _tested(centred, weights, single, allowed)
    ends = np.unique(np.linspace(LEAST_RUNS, count - LEAST_RUNS, SPELL_ENDS).astype(int))
    begins, stops = np.meshgrid(ends, ends, indexing="ij")
    wide = stops - begins >= LEAST_RUNS
    spells = np.stack([begins[wide], stops[wide]])
    of_spells = SPELLS_SHARE * allowed
    return _tested(centred, weights, single, allowed - of_spells) or _tested(
        centred, weights, spells, of_spells
    )


def _tested(
    values: np.ndarray, weights: np.ndarray, spans: np.ndarray, allowed: float
) -> tuple[Split, ...]:
    """The ends of the best of ``spans`` (2 x spans: begins, ends), where it is good enough."""
    gains = _gains(values[None], weights[None], spans)[0]
    best = int(np.argmax(gains))
    random = np.random.default_rng(0)
    needed = max(LEAST_ORDERS, math.ceil(ORDERS / allowed))
    as_good = drawn = 0
    batch = _FIRST_BATCH
    while drawn < needed:
        batch = min(batch, needed - drawn)
        orders = random.permuted(np.tile(np.arange(len(values)), (batch, 1)), axis=1)
        shuffled = _gains(values[orders], weights[orders], spans).max(axis=1)
        as_good += int(np.count_nonzero(shuffled >= gains[best] * (1 - 1e-9)))
        if (as_good + 1) / (needed + 1) > allowed:
            return ()
        drawn += batch
        batch = max(1, min(2 * batch, _MOST_GAINS // spans.shape[1]))
    chance = (as_good + 1) / (needed + 1)
    return tuple(Split(int(at), chance) for at in spans[:, best] if at > 0)


def _moved(splits: Sequence[Split], values: np.ndarray, variances: np.ndarray) -> Iterator[Split]:
    """Each to where it fits best between its neighbours."""
    edges = [0, *(split.at for split in splits), len(values)]
    for number, split in enumerate(splits, 1):
        begin, end = edges[number - 1], edges[number + 1]
        part, of_part = values[begin:end], variances[begin:end]
        weights = 1 / (of_part + _variance_between(part, of_part))
        centred = part - np.average(part, weights=weights)
        places = np.arange(LEAST_RUNS, len(part) - LEAST_RUNS + 1)
        gains = _gains(centred[None], weights[None], np.stack([np.zeros_like(places), places]))
        edges[number] = begin + int(places[np.argmax(gains[0])])
        yield Split(edges[number], split.chance)


def _variance_between(values: np.ndarray, variances: np.ndarray) -> float:
    """DerSimonian and Laird's, whatever the order; above 0 where values differ at all."""
    known = np.maximum(variances, 1e-12 * max(float(np.var(values)), 1e-300))
    weights = 1 / known
    mean = np.average(values, weights=weights)
    excess = float((weights * (values - mean) ** 2).sum()) - (len(values) - 1)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    between = max(excess / scale, 0.0)
    return between if between > 0 or (variances > 0).all() else float(np.var(values))


def _gains(values: np.ndarray, weights: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """By each row and each span (a begin and an end): by how much two means, of what is in it and
    of what is not, leave less weighted squares than one."""
    nothing = np.zeros((len(values), 1))
    weight = np.concatenate([nothing, np.cumsum(weights, axis=1)], axis=1)
    moment = np.concatenate([nothing, np.cumsum(weights * values, axis=1)], axis=1)
    begins, ends = spans
    total_weight, total = weight[:, -1:], moment[:, -1:]
    inside = weight[:, ends] - weight[:, begins]
    summed = moment[:, ends] - moment[:, begins]
    gain: np.ndarray = (
        summed**2 / inside
        + (total - summed) ** 2 / (total_weight - inside)
        - total**2 / total_weight
    )
    return gain
