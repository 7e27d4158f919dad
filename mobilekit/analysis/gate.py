"""Whether runs of now are worse than those of a baseline, by more than is allowed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from mobilekit.analysis.compare.figures import Figures, figures_of
from mobilekit.analysis.compare.likeness import find_differences
from mobilekit.analysis.compare.records import UNITS, Difference, Quantity, Unit
from mobilekit.contract.codec import Record
from mobilekit.records.measurement import Measurement
from mobilekit.records.statistics import Interval, Origin

GatedName = Literal["latency", "init", "energy", "memory", "size"]
Verdict = Literal["regressed", "improved", "unchanged", "cannot tell"]

DEFAULT_LIMITS: dict[GatedName, float] = {"latency": 0.05, "energy": 0.10, "memory": 0.10}
"""What is judged unless told; a figure that neither side has is then left out."""
SIGNIFICANCE = 0.05
"""How often runs that did not change may be found to be slower, of one figure: each end of a
ratio's interval is passed so often, so that it is a 90 % interval."""
_FIGURES: dict[GatedName, tuple[tuple[str, ...], ...]] = {
    "latency": (("latency",),),
    "init": (("init",),),
    "energy": (("energy_gross",),),
    "memory": (("load_pss", "inference_pss"), ("load_rss", "inference_rss")),
    "size": (("artifact",),),
}
"""The compared figures that each is the sum of: of several ways the first that a run has."""
EXACT: frozenset[GatedName] = frozenset({"size"})
"""The same in every run of one export: one run tells it."""


class GatedSide(Record, frozen=True):
    values: tuple[float, ...]
    """A run's each, in their order."""
    typical: float
    """Their geometric mean; the mean of values that are not all positive."""


class GatedFigure(Record, frozen=True):
    name: GatedName
    unit: Unit | None
    """``None`` where neither side has it."""
    origin: Origin
    limit: float
    """By how much of the baseline it may be more."""
    baseline: GatedSide | None
    now: GatedSide | None
    ratio: Quantity | None
    """Of now over the baseline, with its 90 % interval from how runs differ from one another."""
    verdict: Verdict
    reason: str | None
    """Of "cannot tell"."""


class Gate(Record, frozen=True):
    baseline_ids: tuple[str, ...]
    now_ids: tuple[str, ...]
    figures: tuple[GatedFigure, ...]
    differences: tuple[Difference, ...]
    """Of the first of now from the first of the baseline, beside the network: none forbids to judge
    them, and each may be why a figure changed."""
    verdict: Verdict
    """The worst of any figure: regressed, cannot tell, then improved where any is."""


class RunFigure(NamedTuple):
    """What one run says of a figure."""

    value: float
    unit: Unit
    way: tuple[str, ...]
    """The compared figures that it is the sum of."""
    interval: Interval | None = None
    """Within the run; ``None`` of a sum, and where there is none."""


def find_unlike(
    now: Measurement, baseline: Measurement, *, one_network: bool = False
) -> tuple[Difference, ...]:
    """All that keeps two runs from being set against each other; empty where they are alike.

    Stricter than a comparison: the same phone, format, precision, backend and threads, since all
    that may differ is what is under test, the export or what is in the network of that name; with
    ``one_network`` the latter neither, as of repeats of one run.
    """
    allowed = () if one_network else ("network",)
    found = [
        each for each in find_differences(now, baseline) if each.refuses and each.id not in allowed
    ]
    known = {each.id for each in found}
    found += [
        Difference(
            id=rule,
            refuses=True,
            side=one,
            against=other,
            meaning="a change of it is no regression",
        )
        for rule, one, other in (
            ("network", now.artifact.model.label, baseline.artifact.model.label),
            ("device", now.device.key, baseline.device.key),
            ("format", now.artifact.file.format, baseline.artifact.file.format),
            ("precision", now.artifact.precision, baseline.artifact.precision),
            ("backend", now.artifact.backend, baseline.artifact.backend),
        )
        if one != other and rule not in known
    ]
    return tuple(found)


def judge(
    now: Sequence[Measurement],
    baseline: Sequence[Measurement],
    limits: Mapping[GatedName, float],
    *,
    required: bool,
) -> Gate:
    """Each figure of ``limits``; what neither side has is left out unless ``required``.

    All must be usable and alike by ``find_unlike``, and neither side may be empty.
    """
    ours, theirs = ([figures_of(run) for run in runs] for runs in (now, baseline))
    told = [
        (origin, name, _told(ours, name, origin), _told(theirs, name, origin), limit)
        for name, limit in limits.items()
        for origin in figure_origins(name, (*ours, *theirs))
    ]
    figures = tuple(
        judge_figure(name, limit, told_now, told_before, origin)
        for origin, name, told_now, told_before, limit in told
        if required or told_now or told_before
    )
    return Gate(
        baseline_ids=tuple(each.id for each in baseline),
        now_ids=tuple(each.id for each in now),
        figures=figures,
        differences=tuple(
            each for each in find_differences(now[0], baseline[0]) if not each.refuses
        ),
        verdict=_worst([each.verdict for each in figures]),
    )


def judge_figure(
    name: GatedName,
    limit: float,
    now: Sequence[RunFigure],
    baseline: Sequence[RunFigure],
    origin: Origin = "measured",
) -> GatedFigure:
    """One figure, of which less is better.

    On logarithms, by the spread between runs: Welch's interval of two means with Satterthwaite's
    degrees of freedom (Welch, "The generalization of 'Student's' problem when several different
    population variances are involved", Biometrika 34, 1947); where one side is a single run, by
    the other's spread, as of one population.
    Regressed: more than the limit, and the whole interval is above no change. Improved: likewise
    less by the limit. Unchanged: the whole interval is below the limit. Else it cannot be told.
    """
    ratio, reason = _ratio(name, now, baseline)
    verdict: Verdict = "cannot tell"
    if ratio is not None and ratio.interval is not None:
        low, high = ratio.interval.low, ratio.interval.high
        if low > 1 and ratio.value > 1 + limit:
            verdict = "regressed"
        elif high < 1 and ratio.value < 1 / (1 + limit):
            verdict = "improved"
        elif high <= 1 + limit:
            verdict = "unchanged"
        else:
            reason = (
                f"it may be up to {high - 1:.1%} more, by how runs differ from one another: "
                "measure more of them"
            )
    unit = next((each.unit for each in (*now, *baseline)), None)
    return GatedFigure(
        name=name,
        unit=unit,
        origin=origin,
        limit=limit,
        baseline=_side(baseline),
        now=_side(now),
        ratio=ratio,
        verdict=verdict,
        reason=reason if verdict == "cannot tell" else None,
    )


def _ratio(
    name: GatedName, now: Sequence[RunFigure], baseline: Sequence[RunFigure]
) -> tuple[Quantity | None, str | None]:
    for which, side in (("the baseline", baseline), ("now", now)):
        if not side:
            return None, f"no run of {which} has it"
    if len({each.way for each in (*now, *baseline)}) > 1:
        return None, "the runs tell it by different measures"
    if min(each.value for each in (*now, *baseline)) <= 0:
        return None, "it is not above zero in every run, so that there is no ratio"
    ours, theirs = ([math.log(each.value) for each in side] for side in (now, baseline))
    difference = statistics.fmean(ours) - statistics.fmean(theirs)
    if name in EXACT:
        half = 0.0
    elif max(len(ours), len(theirs)) < 2:
        value = Quantity(value=math.exp(difference), interval=None)
        return value, "one run on each side does not tell how runs differ: give --repeat"
    else:
        half = _half_width(ours, theirs)
    return (
        Quantity(
            value=math.exp(difference),
            interval=Interval(low=math.exp(difference - half), high=math.exp(difference + half)),
        ),
        None,
    )


def _half_width(ours: Sequence[float], theirs: Sequence[float]) -> float:
    from scipy.special import stdtrit  # at no command's start, as in ``stats``

    sides = [(statistics.variance(each), len(each)) for each in (ours, theirs) if len(each) > 1]
    if len(sides) == 1:
        (variance, count), others = sides[0], min(len(ours), len(theirs))
        squared, freedom = variance * (1 / count + 1 / others), float(count - 1)
    else:
        parts = [variance / count for variance, count in sides]
        squared = sum(parts)
        if squared == 0:
            return 0.0
        terms = zip(parts, sides, strict=True)
        freedom = squared**2 / sum(part**2 / (count - 1) for part, (_, count) in terms)
    return float(stdtrit(freedom, 1 - SIGNIFICANCE)) * math.sqrt(squared)


def figure_of_run(figures: Figures, name: GatedName, origin: Origin) -> RunFigure | None:
    """``None`` where the run does not have it."""
    for way in _FIGURES[name]:
        parts = [figures.get((figure, origin)) for figure in way]
        known = [part for part in parts if part is not None]
        if len(known) == len(way):
            interval = known[0].interval if len(way) == 1 else None
            return RunFigure(sum(part.value for part in known), UNITS[way[0]], way, interval)
    return None


def _told(runs: Sequence[Figures], name: GatedName, origin: Origin) -> list[RunFigure]:
    told = (figure_of_run(figures, name, origin) for figures in runs)
    return [each for each in told if each is not None]


def figure_origins(name: GatedName, runs: Sequence[Figures]) -> tuple[Origin, ...]:
    """A simulated energy is judged apart from a measured one; where there is none, one line."""
    known = {
        origin
        for figures in runs
        for (figure, origin) in figures
        if any(figure in way for way in _FIGURES[name])
    }
    return tuple(sorted(known)) or ("measured",)


def _side(told: Sequence[RunFigure]) -> GatedSide | None:
    if not told:
        return None
    values = [each.value for each in told]
    positive = min(values) > 0
    typical = statistics.geometric_mean(values) if positive else statistics.fmean(values)
    return GatedSide(values=tuple(values), typical=typical)


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    order: tuple[Verdict, ...] = ("regressed", "cannot tell", "improved")
    # Where nothing was judged, nothing can be told.
    if not verdicts:
        return "cannot tell"
    return next((each for each in order if each in verdicts), "unchanged")
