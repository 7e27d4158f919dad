"""How far networks are told that spend more of their time in one kind of work than any fitted one,
and how much wider their intervals have to be; ``fit_prediction.py`` writes what comes of it.

The networks with the largest shares of a cost are left out together, the largest one, the two
largest and so on, as chips are, and all of them are told from what is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from held_back import Outcome, quantile_of
from prediction_fit import Array, Indices

from mobilekit.analysis.predict.costs import COSTS
from mobilekit.analysis.predict.refusal import WORDS
from mobilekit.records.prediction import PastError

EDGES = (1.0, 1.25, 1.7, 2.5, math.inf)
"""Of the bins of ``excesses`` that are judged apart."""
FURTHEST_LEFT_OUT = 4.0
"""No more networks are left out once the largest share is so many times the largest one left, or
half of them are."""
LEAST_COVERAGE = 0.85
"""Of 90 % intervals, before they are widened, in the last bin that is told."""
LEAST_NETWORKS = 3
"""Of one kind of work in a bin, for that kind to be told there."""


def heaviest_sets(costs: Array, unit_ms: Array) -> list[frozenset[int]]:
    """Each of the sets of networks that are left out together, of ``COSTS`` of all networks,
    (networks, costs)."""
    times = costs * unit_ms
    sets = []
    for shares in (times / times.sum(axis=1, keepdims=True)).T:
        order = np.argsort(-shares)
        for count in range(1, len(order) // 2 + 1):
            if not shares[order[count]]:
                break
            sets.append(frozenset(map(int, order[:count])))
            if shares[order[0]] >= FURTHEST_LEFT_OUT * shares[order[count]]:
                break
    return list(dict.fromkeys(sets))


@dataclass(frozen=True)
class Extrapolated:
    """Predictions of networks that exceed what was fitted, (predictions,) each."""

    known: Indices
    network: Indices
    cost: Indices
    """Which of ``COSTS`` exceeds it most."""
    excess: Array
    error: Array
    """Predicted less true log time."""
    off: Array
    """How far that is, in halves of the 90 % interval before it is widened."""

    def where(self, chosen: npt.NDArray[np.bool_]) -> Extrapolated:
        return Extrapolated(*(values[chosen] for values in vars(self).values()))

    @property
    def weights(self) -> Array:
        """With which each network counts the same in each kind of work: it was left out with few
        others and with many."""
        _, group, counts = np.unique(
            self.cost * (self.network.max(initial=0) + 1) + self.network,
            return_inverse=True,
            return_counts=True,
        )
        return np.asarray(1.0 / counts[group])

    def coverage(self, power: float = 0.0) -> float:
        """The share that lies within intervals that are widened by their excess to a power."""
        within = self.off <= self.excess**power
        return float(self.weights @ within / self.weights.sum())


def extrapolated_of(outcomes: Sequence[Outcome], factors: Mapping[int, float]) -> Extrapolated:
    """Those of ``outcomes`` that exceed it; ``factors`` are sds in half of an interval, by how many
    networks are known."""
    those = [each for each in outcomes if each.excess > 1]
    return Extrapolated(
        known=np.array([each.known for each in those]),
        network=np.array([each.network for each in those]),
        cost=np.array([each.cost for each in those]),
        excess=np.array([each.excess for each in those]),
        error=np.array([each.error for each in those]),
        off=np.array([abs(each.error) / each.sd / factors[each.known] for each in those]),
    )


def furthest_of(held: Extrapolated) -> tuple[float, ...]:
    """How far each of ``COSTS`` is told: up to the last bin before the first in which intervals are
    too narrow, with however many networks known, and in which networks of that kind are; those of
    which too few are up to the first edge."""
    told = []
    for low, high in pairwise(EDGES):
        within = _between(held, low, high)
        by_known = [within.where(within.known == known) for known in np.unique(within.known)]
        if min(each.coverage() for each in by_known) < LEAST_COVERAGE:
            break
        told.append((high, within))
    return tuple(
        max(
            (
                high
                for high, within in told
                if len(np.unique(within.network[within.cost == cost])) >= LEAST_NETWORKS
            ),
            default=EDGES[1],
        )
        for cost in range(len(COSTS))
    )


def widening_power_of(held: Extrapolated, furthest: Sequence[float]) -> float:
    """The power of the excess that widens intervals so far that nine in ten lie within also in the
    kind of work that is told worst, beyond the first edge."""
    told = held.where((held.excess > EDGES[1]) & (held.excess <= np.array(furthest)[held.cost]))
    needed = np.log(told.off) / np.log(told.excess)
    worst = max(
        quantile_of(needed[told.cost == cost], told.where(told.cost == cost).weights, 0.9)
        for cost in np.unique(told.cost)
    )
    return math.ceil(100 * max(worst, 0.0)) / 100


def extrapolation_errors(
    held: Extrapolated, furthest: Sequence[float], power: float
) -> list[PastError]:
    """Of what is told, by how many networks are known; each network in each kind of work counts the
    same."""
    told = held.where(held.excess <= np.array(furthest)[held.cost])
    errors = []
    for known in np.unique(told.known):
        those = told.where(told.known == known)
        apes = 100 * np.abs(np.expm1(those.error))
        errors.append(
            PastError(
                known=int(known),
                seen=False,
                extrapolated=True,
                predictions=len(apes),
                median_ape_percent=round(quantile_of(apes, those.weights, 0.5), 2),
                p90_ape_percent=round(quantile_of(apes, those.weights, 0.9), 2),
                coverage=round(those.coverage(power), 4),
            )
        )
    return errors


def _between(held: Extrapolated, low: float, high: float) -> Extrapolated:
    return held.where((held.excess > low) & (held.excess <= high))


# --- tables ------------------------------------------------------------------------------------

_FIGURES = ("networks", "median APE", "median error", "within, not widened", "within")


def render_extrapolation(held: Extrapolated, furthest: Sequence[float], power: float) -> str:
    """How far predictions were right by how far a share exceeds the largest fitted one; then those
    that are told, by the kind of work."""
    lines = [
        f"| a share over the largest fitted one | {' | '.join(_FIGURES)} |",
        f"|---|{'---|' * len(_FIGURES)}",
    ]
    for low, high in pairwise(EDGES):
        words = f"{low:g} to {high:g}" if math.isfinite(high) else f"more than {low:g}"
        lines.append(_row(words, _between(held, low, high), power))
    lines += [
        "",
        f"| kind of work | told up to | {' | '.join(_FIGURES)} |",
        f"|---|---|{'---|' * len(_FIGURES)}",
    ]
    for cost, most in enumerate(furthest):
        told = held.where((held.cost == cost) & (held.excess > EDGES[1]) & (held.excess <= most))
        words = f"{WORDS[COSTS[cost]]} | {most:g}"
        if len(told.excess):
            lines.append(_row(words, told, power))
        else:
            lines.append(f"| {words} | {' | '.join('-' for _ in _FIGURES)} |")
    return "\n".join(lines)


def _row(words: str, held: Extrapolated, power: float) -> str:
    by_known = [held.where(held.known == known) for known in np.unique(held.known)]
    columns = (
        [
            f"{100 * quantile_of(np.abs(np.expm1(each.error)), each.weights, 0.5):.0f}"
            for each in by_known
        ],
        [
            f"{100 * math.expm1(quantile_of(each.error, each.weights, 0.5)):+.0f}"
            for each in by_known
        ],
        [f"{100 * each.coverage():.0f}" for each in by_known],
        [f"{100 * each.coverage(power):.0f}" for each in by_known],
    )
    cells = (f"{' / '.join(column)} %" for column in columns)
    return f"| {words} | {len(np.unique(held.network))} | {' | '.join(cells)} |"
