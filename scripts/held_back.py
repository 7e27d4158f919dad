"""How far latencies of chips and of networks that were left out are told, and how wide their
intervals have to be."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from prediction_fit import (
    Array,
    Data,
    Problem,
    covariance_of,
    fit_unit_ms,
    make_problem,
    range_of,
)
from scipy.linalg import cho_factor, cho_solve

from mobilekit.analysis.predict.costs import COSTS
from mobilekit.analysis.predict.kernel import KernelSds
from mobilekit.analysis.predict.refusal import excesses, reasons_against
from mobilekit.records.prediction import PastError

CHOSEN: dict[int, tuple[str, ...]] = {
    0: (),
    1: ("squeezenet",),
    3: ("mobilenet", "shufflenet", "vgg16"),
    5: ("mobilenet", "mobilenet_v2", "shufflenet", "resnet18", "vgg16"),
}
"""The networks that tell the most of the others, by how many may be measured."""


class Outcome(NamedTuple):
    """One prediction of what was held back."""

    known: int
    seen: bool
    soc: int
    phone: int
    network: int
    error: float
    """Predicted less true log time."""
    sd: float
    excess: float = 1.0
    """Of ``excesses`` the largest, of a network that was held back."""
    cost: int = 0
    """Which of ``COSTS`` that is of."""


def hold_back_chips(
    data: Data,
    problem: Problem,
    sds_without: dict[int, KernelSds],
    known: dict[int, tuple[str, ...]],
    *,
    without: Collection[int] = (),
    random_sets: int = 0,
    seed: int = 0,
) -> list[Outcome]:
    """Predict every chip from the others; with ``without`` only those networks, seen nowhere.

    ``random_sets``: so many random choices of known networks in place of ``known``'s, of as many.
    """
    random = np.random.default_rng(seed)
    soc_of = data.soc_index[problem.phone]
    is_left_out = np.isin(problem.network, list(without))
    outcomes = []
    for soc, sds in sds_without.items():
        covariance = covariance_of(problem, sds)
        tested = np.flatnonzero(soc_of == soc)
        trained = np.flatnonzero((soc_of != soc) & ~is_left_out)
        factor = cho_factor(
            covariance[np.ix_(trained, trained)] + sds.noise**2 * np.eye(len(trained)), lower=True
        )
        shared = covariance[np.ix_(trained, tested)]
        gain = cho_solve(factor, shared)
        means = gain.T @ problem.residuals[trained]
        left = covariance[np.ix_(tested, tested)] - shared.T @ gain
        for phone in np.unique(problem.phone[tested]):
            here = np.flatnonzero(problem.phone[tested] == phone)
            networks = problem.network[tested[here]]
            left_out = is_left_out[tested[here]]
            if without and not left_out.any():
                continue
            truth = problem.residuals[tested[here]]
            for count, chosen in known.items():
                if random_sets:
                    choices = [
                        random.choice(networks, min(count, len(networks) - 1), replace=False)
                        for _ in range(random_sets)
                    ]
                else:
                    choices = [np.array([data.names.index(name) for name in chosen], dtype=int)]
                for choice in choices:
                    is_known = np.isin(networks, choice) & ~left_out
                    if count and not is_known.any():
                        continue
                    asked = left_out if without else ~is_known
                    outcomes += [
                        Outcome(count, not without, soc, int(phone), int(network), error, sd)
                        for network, error, sd in zip(
                            networks[asked],
                            *_told(
                                means[here],
                                left[np.ix_(here, here)],
                                truth,
                                is_known,
                                asked,
                                sds.noise,
                            ),
                            strict=True,
                        )
                    ]
    return outcomes


def _told(
    means: Array,
    covariance: Array,
    truth: Array,
    is_known: npt.NDArray[np.bool_],
    asked: npt.NDArray[np.bool_],
    noise: float,
) -> tuple[Array, Array]:
    """Errors and sds of those asked, once the known ones are."""
    shared = covariance[np.ix_(asked, is_known)]
    measured = covariance[np.ix_(is_known, is_known)] + noise**2 * np.eye(int(is_known.sum()))
    gain = np.linalg.solve(measured, shared.T).T
    mean = means[asked] + gain @ (truth - means)[is_known]
    variance = np.diag(covariance)[asked] - (gain * shared).sum(axis=1) + noise**2
    return mean - truth[asked], np.sqrt(variance)


def hold_back_networks(
    data: Data,
    sds_without: dict[int, KernelSds],
    known: dict[int, tuple[str, ...]],
    sets: Iterable[Collection[int]],
) -> list[Outcome]:
    """Predict each set of networks on every chip, both held back, however far their shares exceed
    the others'; networks that would be refused for another reason are not."""
    outcomes = []
    for networks in sets:
        unit_ms = fit_unit_ms(data, without=networks)
        kept = [index for index in range(len(data.works)) if index not in networks]
        fitted = range_of(data.costs[kept], unit_ms, [math.inf] * len(COSTS))
        times = data.costs * unit_ms
        excess = {
            index: excesses(times[index] / times[index].sum(), fitted)
            for index in networks
            if not reasons_against(data.works[index], unit_ms, fitted)
        }
        outcomes += [
            each._replace(
                excess=float(excess[each.network].max()), cost=int(excess[each.network].argmax())
            )
            for each in hold_back_chips(
                data, make_problem(data, unit_ms), sds_without, known, without=networks
            )
            if each.network in excess
        ]
    return outcomes


def quantile_of(values: Array, weights: Array, share: float) -> float:
    """The least of ``values`` that so much of the weights lie up to."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(reached, share)])


def factor_of(outcomes: Sequence[Outcome]) -> float:
    """The sds that nine in ten lay within, each chip counting the same."""
    chips = np.array([outcome.soc for outcome in outcomes])
    off = np.array([abs(outcome.error) / outcome.sd for outcome in outcomes])
    return quantile_of(off, 1.0 / np.bincount(chips)[chips], 0.9)


def past_error(known: int, seen: bool, outcomes: Sequence[Outcome], factor: float) -> PastError:
    """Of networks within what was fitted."""
    errors = np.array([outcome.error for outcome in outcomes])
    sds = np.array([outcome.sd for outcome in outcomes])
    apes = np.abs(np.expm1(errors)) * 100
    return PastError(
        known=known,
        seen=seen,
        extrapolated=False,
        predictions=len(outcomes),
        median_ape_percent=round(float(np.median(apes)), 2),
        p90_ape_percent=round(float(np.quantile(apes, 0.9)), 2),
        coverage=round(float(np.mean(np.abs(errors) <= factor * sds)), 4),
    )
