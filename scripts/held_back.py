"""How far latencies of chips and of networks that were left out are told, and how wide their
intervals have to be."""

from __future__ import annotations

from collections.abc import Sequence
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

from mobilekit.analysis.predict.kernel import KernelSds
from mobilekit.analysis.predict.refusal import reasons_against
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


def hold_back_chips(
    data: Data,
    problem: Problem,
    sds_without: dict[int, KernelSds],
    known: dict[int, tuple[str, ...]],
    *,
    without: int | None = None,
    random_sets: int = 0,
    seed: int = 0,
) -> list[Outcome]:
    """Predict every chip from the others; with ``without`` only that network, seen nowhere.

    ``random_sets``: so many random choices of known networks in place of ``known``'s, of as many.
    """
    random = np.random.default_rng(seed)
    soc_of = data.soc_index[problem.phone]
    outcomes = []
    for soc, sds in sds_without.items():
        covariance = covariance_of(problem, sds)
        tested = np.flatnonzero(soc_of == soc)
        trained = np.flatnonzero((soc_of != soc) & (problem.network != without))
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
            if without is not None and without not in networks:
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
                    is_known = np.isin(networks, choice) & (networks != without)
                    if count and not is_known.any():
                        continue
                    asked = ~is_known if without is None else networks == without
                    outcomes += [
                        Outcome(count, without is None, soc, int(phone), int(network), error, sd)
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
    *,
    random_sets: int = 0,
) -> list[Outcome]:
    """Predict every network on every chip, both held back; those that would be refused are not."""
    outcomes = []
    for network in range(len(data.works)):
        unit_ms = fit_unit_ms(data, without=network)
        kept = [index for index in range(len(data.works)) if index != network]
        fitted = range_of(data.costs[kept], unit_ms)
        if not reasons_against(data.works[network], unit_ms, fitted):
            outcomes += hold_back_chips(
                data,
                make_problem(data, unit_ms),
                sds_without,
                known,
                without=network,
                random_sets=random_sets,
            )
    return outcomes


def factor_of(outcomes: Sequence[Outcome]) -> float:
    """The sds that nine in ten lay within, each chip counting the same."""
    chips = np.array([outcome.soc for outcome in outcomes])
    off = np.array([abs(outcome.error) / outcome.sd for outcome in outcomes])
    weights = 1.0 / np.bincount(chips)[chips]
    order = np.argsort(off)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(off[order][np.searchsorted(reached, 0.9)])


def past_error(known: int, seen: bool, outcomes: Sequence[Outcome], factor: float) -> PastError:
    errors = np.array([outcome.error for outcome in outcomes])
    sds = np.array([outcome.sd for outcome in outcomes])
    apes = np.abs(np.expm1(errors)) * 100
    return PastError(
        known=known,
        seen=seen,
        predictions=len(outcomes),
        median_ape_percent=round(float(np.median(apes)), 2),
        p90_ape_percent=round(float(np.quantile(apes, 0.9)), 2),
        coverage=round(float(np.mean(np.abs(errors) <= factor * sds)), 4),
    )
