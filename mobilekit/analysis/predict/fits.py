"""Whether what is predicted keeps within what somebody asks for, and how likely that is.

A network fits where it does so with a probability of at least 95 %, which is where its 90 %
interval lies within the bound as a whole, and does not where it is at most 5 %. Else it is unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from mobilekit.analysis.predict.intervals import SDS_OF_90_PERCENT, half_width
from mobilekit.errors import UsageError
from mobilekit.records.prediction import (
    Criterion,
    CriterionFit,
    Fit,
    FitFigure,
    FitVerdict,
    NetworkPrediction,
    PredictedDevice,
)
from mobilekit.records.statistics import Interval

Array = npt.NDArray[np.float64]
Read = Callable[[str, str], float | None]
"""From what somebody wrote, ``100ms``, and a unit, to how many of it that is; ``None`` for what is
no amount of it."""

SURE = 0.95
UNITS: dict[FitFigure, str] = {
    "latency": "ms",
    "memory": "byte",
    "energy": "J",
    "marginal": "J",
    "charge": "",
}
"""What bounds are kept in; inferences are a plain number."""
EXAMPLES: dict[FitFigure, str] = {
    "latency": "latency<100ms",
    "memory": "memory<200MiB",
    "energy": "energy<50mJ",
    "marginal": "marginal<50mJ",
    "charge": "charge>10000",
}
_CRITERION = re.compile(r"\s*(?P<figure>[a-z]+)\s*(?P<sign><=|>=|<|>)\s*(?P<bound>\S.*?)\s*")
_STEPS = 400
"""Quantiles of each of two normal distributions that the probability of several bounds is summed
over; it is then right to about 0.002."""


def parse_criteria(text: str, read: Read) -> tuple[Criterion, ...]:
    """Read ``latency<100ms, memory<200MiB, charge>10000``.

    Raises ``UsageError`` for a figure that is none, a comparison that is none, and an amount that
    is no positive one of the figure's unit.
    """
    criteria = tuple(_parse(part, read) for part in text.split(","))
    if len({(each.figure, each.sign[0]) for each in criteria}) < len(criteria):
        raise UsageError(
            "A figure is bounded twice from one side", fits=text, fix="Give its tighter bound."
        )
    return criteria


def _parse(part: str, read: Read) -> Criterion:
    example = ", ".join(EXAMPLES.values())
    match = _CRITERION.fullmatch(part)
    if match is None or match["figure"] not in UNITS:
        raise UsageError(
            f"{part.strip()!r} says of no figure what it has to be",
            fix=f"Write bounds with commas between them, as in {example}.",
        )
    figure = cast(FitFigure, match["figure"])
    bound = read(match["bound"], UNITS[figure])
    if bound is None or not (math.isfinite(bound) and bound > 0):
        raise UsageError(
            f"{match['bound']!r} is no amount of {figure}",
            fix=f"Write it with its unit, as in {EXAMPLES[figure]}.",
        )
    return Criterion(
        text="".join((figure, match["sign"], match["bound"])),
        figure=figure,
        sign=cast(Literal["<", "<=", ">", ">="], match["sign"]),
        bound=bound,
    )


class _Told(NamedTuple):
    """A figure: log-normal, the log of its median and of its sd."""

    log_median: float
    log_sd: float

    def keeps(self, criterion: Criterion) -> float:
        """The probability that it keeps within a bound."""
        away = (math.log(criterion.bound) - self.log_median) / max(self.log_sd, 1e-9)
        below = NormalDist().cdf(away)
        return below if _is_upper(criterion) else 1 - below


def judge(
    prediction: NetworkPrediction, device: PredictedDevice, criteria: Sequence[Criterion]
) -> Fit:
    """Each criterion by itself, and all of them together.

    Latency and power make energy and charge, so that these move together; gross and marginal power
    are taken to be high or low at once, and everything else to be independent.
    """
    told = _figures_of(prediction)
    judged = tuple(_judge_one(each, told, prediction) for each in criteria)
    if any(each.probability is None for each in judged):
        is_no = any(each.verdict == "no" for each in judged)
        return Fit(verdict="no" if is_no else "unknown", probability=None, criteria=judged)
    if len(judged) == 1:
        return Fit(verdict=judged[0].verdict, probability=judged[0].probability, criteria=judged)
    probability = _all_keep(criteria, told, device)
    return Fit(verdict=_verdict_of(probability), probability=probability, criteria=judged)


def _figures_of(prediction: NetworkPrediction) -> Mapping[FitFigure, _Told]:
    return dict(_each_figure(prediction))


def _each_figure(prediction: NetworkPrediction) -> Iterator[tuple[FitFigure, _Told]]:
    if prediction.latency_ms is not None and prediction.low_ms and prediction.high_ms:
        interval = Interval(low=prediction.low_ms, high=prediction.high_ms)
        yield "latency", _told(prediction.latency_ms, interval)
    if prediction.energy is not None:
        energy = prediction.energy
        yield "energy", _told(energy.gross_j, energy.gross_interval_j)
        yield "marginal", _told(energy.marginal_j, energy.marginal_interval_j)
    if prediction.charge is not None:
        charge = prediction.charge
        yield "charge", _told(charge.inferences, charge.inferences_interval)
    if prediction.memory is not None and prediction.memory.peak is not None:
        peak = prediction.memory.peak
        # Its low end may be 0, and it is the high one that matters to a bound.
        log_sd = math.log(peak.high_bytes / peak.expected_bytes) / SDS_OF_90_PERCENT
        yield "memory", _Told(math.log(peak.expected_bytes), log_sd)


def _told(median: float, interval: Interval) -> _Told:
    return _Told(math.log(median), half_width(interval) / SDS_OF_90_PERCENT)


def _judge_one(
    criterion: Criterion, told: Mapping[FitFigure, _Told], prediction: NetworkPrediction
) -> CriterionFit:
    figure = told.get(criterion.figure)
    if figure is None:
        return CriterionFit(
            criterion=criterion,
            verdict="unknown",
            probability=None,
            reason=_why_untold(criterion.figure, prediction),
        )
    probability = figure.keeps(criterion)
    return CriterionFit(
        criterion=criterion,
        verdict=_verdict_of(probability),
        probability=probability,
        reason=None,
    )


def _why_untold(figure: FitFigure, prediction: NetworkPrediction) -> str:
    if figure == "latency":
        return "; ".join(prediction.reasons)
    name = "energy" if figure == "marginal" else figure
    reasons = (each.reason for each in prediction.untold if each.figure == name)
    return next(reasons, f"{name} is not predicted")


def _verdict_of(probability: float) -> FitVerdict:
    if probability >= SURE:
        return "yes"
    return "no" if probability <= 1 - SURE else "unknown"


def _all_keep(
    criteria: Sequence[Criterion], told: Mapping[FitFigure, _Told], device: PredictedDevice
) -> float:
    """The probability that all do, over how the latency and the power may turn out."""
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf((step + 0.5) / _STEPS) for step in range(_STEPS)])
    time, power = np.meshgrid(quantiles, quantiles, indexing="ij")
    keep = np.ones_like(time)
    time_sd = told["latency"].log_sd if "latency" in told else 0.0
    for criterion in criteria:
        figure = told[criterion.figure]
        if criterion.figure == "latency":
            off, own_sd = time_sd * time, 0.0
        elif criterion.figure == "memory":
            off, own_sd = np.zeros_like(time), figure.log_sd
        else:
            own_sd = 0.0
            if criterion.figure == "charge" and device.battery is not None:
                own_sd = device.battery.relative_uncertainty
            # What is not the latency's, nor the battery's, is the power's.
            power_sd = math.sqrt(max(figure.log_sd**2 - time_sd**2 - own_sd**2, 0.0))
            off = time_sd * time + power_sd * power
            if criterion.figure == "charge":
                off = -off
        keep *= _keeping(math.log(criterion.bound) - figure.log_median - off, own_sd, criterion)
    return float(keep.mean())


def _keeping(left: Array, own_sd: float, criterion: Criterion) -> Array:
    """The probability of each, of what is left up to the bound's logarithm."""
    if own_sd == 0:
        below = (left > 0).astype(np.float64)
    else:
        normal = NormalDist()
        # At as many places as tell it, since there is no normal distribution in numpy.
        places = np.linspace(-6, 6, 241)
        below = np.interp(left / own_sd, places, [normal.cdf(place) for place in places])
    return below if _is_upper(criterion) else 1 - below


def _is_upper(criterion: Criterion) -> bool:
    return criterion.sign.startswith("<")
