"""Latencies from one's own runs: what was measured of this phone, with which engine, precision and
threads, and on other phones of the same person.

The shipped model is of one engine and precision. Another one, a ``Setting``, is a factor that is
not known beforehand: on all times, on each price of the roofline, and on the very network; each is
partly the same on all phones and partly a phone's own. All runs and the networks asked for are
observations of one Gaussian process, so that the same network measured in two settings on one phone
tells the factor there, and elsewhere with a wider interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mobilekit.analysis.predict.chips import FEATURES, features_of
from mobilekit.analysis.predict.costs import costs_of
from mobilekit.analysis.predict.latency import Predictor, refuse_all
from mobilekit.analysis.predict.posterior import Posterior
from mobilekit.records.chip import Chip
from mobilekit.records.prediction import LatencyPrediction, NetworkWork, Setting

Array = npt.NDArray[np.float64]

SETTING_SD, SETTING_PHONE_SD = 0.6, 0.15
"""Assumed: by what another engine or precision changes log time on all phones, and on one of them
besides. Of two kernels of the same product one takes up to a few times as long."""
SETTING_PRICE_SD, SETTING_PRICE_PHONE_SD = 0.4, 0.15
"""Assumed: the same of each price."""
SETTING_NETWORK_SD = 0.1
"""Assumed: the same of a very network."""
UNKNOWN_CHIP_SD, UNKNOWN_CHIP_PRICE_SD, UNKNOWN_THREADS_SD = 2.0, 0.5, 0.5
"""Of a phone whose chip is not known, as this computer's: it is then told from its own runs alone.
What another number of threads changes there is not known either."""


@dataclass(frozen=True)
class OwnPhone:
    """A phone with a number of threads."""

    key: str
    """``DeviceInfo.key``."""
    chip: Chip | None = field(compare=False)
    """``None``: it is not known. Key and threads say which phone it is, whatever is told of it."""
    threads: int


@dataclass(frozen=True)
class OwnLatency:
    """A network that was measured; of several times of one network the median."""

    phone: OwnPhone
    setting: Setting
    network: NetworkWork
    latency_ms: float


@dataclass(frozen=True)
class Wanted:
    """What is to be told: the phone, with what is to run the networks there."""

    phone: OwnPhone
    setting: Setting


def predict_with_own(
    predictor: Predictor,
    networks: Sequence[NetworkWork],
    wanted: Wanted,
    own: Sequence[OwnLatency],
    *,
    widening: Callable[[int], float] = lambda known: 1.0,
) -> tuple[LatencyPrediction, ...]:
    """Each network's latency, in their order, conditioned on all of ``own`` that is within what was
    fitted, and an extrapolated network's also on what was measured of itself.

    ``widening`` is a factor on the shipped width of intervals, by how many networks are known on
    the phone in this setting. A setting that none of ``own`` is of cannot be told: all networks are
    refused. Raises ``UsageError`` for threads that do not fit the chip.
    """
    usable_own = [each for each in own if predictor.is_within_fitted(each.network)]
    told = list(_predict_with_all(predictor, networks, wanted, usable_own, widening))
    for index, network in enumerate(networks):
        of_itself = [each for each in own if each.network.layers == network.layers]
        if of_itself and predictor.can_extrapolate(network):
            told[index : index + 1] = _predict_with_all(
                predictor, [network], wanted, [*usable_own, *of_itself], widening
            )
    return tuple(told)


def _predict_with_all(
    predictor: Predictor,
    networks: Sequence[NetworkWork],
    wanted: Wanted,
    usable_own: Sequence[OwnLatency],
    widening: Callable[[int], float],
) -> tuple[LatencyPrediction, ...]:
    here = [
        each for each in usable_own if (each.phone, each.setting) == (wanted.phone, wanted.setting)
    ]
    if not any(each.setting == wanted.setting for each in usable_own):
        return refuse_all(networks, 0, never_measured(wanted.setting))
    refused = {
        index: reasons
        for index, network in enumerate(networks)
        if (reasons := predictor.reasons_against(network))
    }
    asked = [each for index, each in enumerate(networks) if index not in refused]
    told: list[LatencyPrediction] = []
    if asked:
        expected = expect_with_own(predictor, asked, wanted, usable_own)
        costs = np.array([costs_of(network.layers) for network in asked])
        seen = predictor.are_fitted(costs)
        told = [
            predictor.tell(
                network.name,
                expected.mean[row],
                expected.covariance[row, row],
                costs[row],
                known=len(here),
                seen=bool(seen[row])
                or any(network.layers == each.network.layers for each in usable_own),
                widening=widening(len(here)),
            )
            for row, network in enumerate(asked)
        ]
    rest = iter(told)
    return tuple(
        refuse_all([network], len(here), "; ".join(refused[index]))[0]
        if index in refused
        else next(rest)
        for index, network in enumerate(networks)
    )


def never_measured(setting: Setting) -> str:
    return (
        f"nothing was measured yet with {setting.text}, and by what factor its times differ is not "
        "known: measure a network so on the phone, as `mobilekit predict --calibrate` does"
    )


def expect_with_own(
    predictor: Predictor,
    networks: Sequence[NetworkWork],
    wanted: Wanted,
    own: Sequence[OwnLatency],
) -> Posterior:
    """Of the networks' log ms, once ``own`` were measured, none of which is refused."""
    count = len(networks)
    phones = list(dict.fromkeys((wanted.phone, *(each.phone for each in own))))
    phone = np.array(
        [phones.index(wanted.phone)] * count + [phones.index(each.phone) for each in own]
    )
    settings = [wanted.setting] * count + [each.setting for each in own]
    works = [*networks, *(each.network for each in own)]
    costs = np.array([costs_of(work.layers) for work in works])
    features = np.array([_features_of(predictor, each) for each in phones])
    socs = [(each.chip.name if each.chip else None) or f"of {each.key}" for each in phones]
    prior_mean, posterior = predictor.expect(costs, predictor.make_phones(features, socs), phone)
    shares = predictor.shares(costs)
    extra = _unknown_covariance([phones[each] for each in phone], shares)
    extra += _setting_covariance(
        [phones[each].key for each in phone], settings, shares, predictor.same_networks(costs)
    )
    posterior = Posterior(posterior.mean, posterior.covariance + extra)
    index = np.arange(count, len(works))
    values = np.log([each.latency_ms for each in own]) - prior_mean[index]
    posterior = posterior.given(index, values, predictor.model.sds.noise)
    return Posterior(
        prior_mean[:count] + posterior.mean[:count], posterior.covariance[:count, :count]
    )


def _features_of(predictor: Predictor, phone: OwnPhone) -> Array:
    """Of a phone whose chip is not known: a fitted phone's, on average."""
    if phone.chip is not None:
        return features_of(phone.chip, phone.threads)
    fitted = np.array([each.features for each in predictor.model.phones])
    assert fitted.shape[1] == len(FEATURES)
    return np.asarray(np.nanmean(fitted, axis=0))


def _unknown_covariance(phones: Sequence[OwnPhone], shares: Array) -> Array:
    """What not knowing a chip adds, for each pair of observations."""
    unknown = np.array([each.chip is None for each in phones])
    same = _equal([each.key for each in phones]) * (unknown[:, None] & unknown[None, :])
    same_threads = same * _equal([each.threads for each in phones])
    return np.asarray(
        same * (UNKNOWN_CHIP_SD**2 + UNKNOWN_CHIP_PRICE_SD**2 * (shares @ shares.T))
        + same_threads * UNKNOWN_THREADS_SD**2
    )


def _setting_covariance(
    keys: Sequence[str], settings: Sequence[Setting], shares: Array, same_network: Array
) -> Array:
    """What the setting adds, for each pair of observations; nothing in that of the shipped model,
    which is none of one's own runs'."""
    same = _equal(settings)
    here = same * _equal(keys)
    likeness = shares @ shares.T
    return np.asarray(
        SETTING_SD**2 * same
        + SETTING_PHONE_SD**2 * here
        + likeness * (SETTING_PRICE_SD**2 * same + SETTING_PRICE_PHONE_SD**2 * here)
        + SETTING_NETWORK_SD**2 * same * same_network
    )


def _equal(each: Sequence[object]) -> Array:
    """1 for each pair that is equal."""
    known = {value: number for number, value in enumerate(dict.fromkeys(each))}
    numbers = np.array([known[value] for value in each])
    return np.asarray(numbers[:, None] == numbers[None, :], dtype=np.float64)
