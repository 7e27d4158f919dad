"""How far earlier predictions were right, and how much wider or narrower intervals are to be."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence

from mobilekit.analysis.predict.intervals import SDS_OF_90_PERCENT
from mobilekit.records.prediction import Population, Score, ScoredPrediction

SHIPPED_COUNTS = 10
"""As how many scored predictions the shipped width of intervals counts."""
COVERAGE = 0.9
_GROUPS: tuple[tuple[int, int | None], ...] = ((0, 0), (1, 2), (3, None))
_WIDENINGS = (0.2, 20.0)


def miss_of(scored: ScoredPrediction) -> float:
    """How far the measured time lay off the predicted one, in logarithms: in halves of the interval
    as it was shipped, before any widening; negative where it took less time."""
    half = math.log(scored.high_ns / scored.low_ns) / 2 / scored.widening
    return math.log(scored.measured_ns / scored.predicted_ns) / half


def widening_of(scored: Sequence[ScoredPrediction]) -> float:
    """The factor on the shipped width of intervals that earlier predictions ask for.

    The misses, in shipped half-widths, are mixed with the distribution that the shipped intervals
    claim, a normal one with nine in ten within 1, which counts as ``SHIPPED_COUNTS`` of them; the
    factor is the mixture's 90 % quantile (conformal prediction's with a prior: V. Vovk et al.,
    "Algorithmic Learning in a Random World", Springer 2005, is the case without). Without any it is
    1; with many it is the misses' own quantile. What is wrong together counts as one: all
    predictions of one phone from its chip alone, and all of one network in one setting there.
    """
    weights = _weights(scored)
    misses = [abs(miss_of(each)) for each in scored]
    total = SHIPPED_COUNTS + sum(weights)

    def within(factor: float) -> float:
        shipped = math.erf(factor * SDS_OF_90_PERCENT / math.sqrt(2))
        own = sum(weight for weight, miss in zip(weights, misses, strict=True) if miss <= factor)
        return (SHIPPED_COUNTS * shipped + own) / total

    low, high = _WIDENINGS
    while high / low > 1.0001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if within(middle) >= COVERAGE else (middle, high)
    return 1.0 if not misses else high


def group_of(known: int) -> tuple[int, int | None]:
    """Predictions are scored with those from as much: no network known on the phone, one or two,
    three or more. The least and the most of the group, whose most may be ``None``."""
    return next((least, most) for least, most in _GROUPS if most is None or known <= most)


def widening_for(known: int, scored: Sequence[ScoredPrediction]) -> float:
    """``widening_of`` of those that were told from as much as ``known`` networks."""
    return widening_of([each for each in scored if group_of(each.known) == group_of(known)])


def score(scored: Sequence[ScoredPrediction]) -> tuple[Score, ...]:
    """Each group of ``group_of`` that has any, real phones, virtual ones and computers apart."""
    populations = sorted({each.population for each in scored})
    groups = (
        (population, group, members)
        for population in populations
        for group in _GROUPS
        if (
            members := [
                each
                for each in scored
                if each.population == population and group_of(each.known) == group
            ]
        )
    )
    return tuple(_score_of(*each) for each in groups)


def _score_of(
    population: Population, known: tuple[int, int | None], group: Sequence[ScoredPrediction]
) -> Score:
    ratios = [each.predicted_ns / each.measured_ns for each in group]
    inside = sum(each.low_ns <= each.measured_ns <= each.high_ns for each in group)
    return Score(
        population=population,
        known_least=known[0],
        known_most=known[1],
        predictions=len(group),
        phones=len({each.device_key for each in group}),
        median_ape_percent=statistics.median([abs(ratio - 1) * 100 for ratio in ratios]),
        coverage=inside / len(group),
        bias_percent=(math.exp(statistics.median([math.log(ratio) for ratio in ratios])) - 1) * 100,
        widening=widening_of(group),
    )


def _weights(scored: Sequence[ScoredPrediction]) -> list[float]:
    """A phone that was told from its chip alone counts once, and so does a network in one setting
    on any other phone, however often it was measured."""
    keys = [
        (each.device_key, *((each.model, each.setting, each.threads) if each.known else ()))
        for each in scored
    ]
    counts = Counter(keys)
    return [1 / counts[key] for key in keys]
