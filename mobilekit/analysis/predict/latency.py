"""The latency of networks on a phone that is not here, with an interval, or why it cannot be told.

The shipped model holds what was measured on other phones and the fitted values of the kernel;
nothing is fitted here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mobilekit.analysis.predict.chips import features_of
from mobilekit.analysis.predict.costs import COSTS, are_same, costs_of
from mobilekit.analysis.predict.kernel import (
    LINEAR_PRIOR,
    FeatureScales,
    KernelSds,
    Phones,
    compare_phones,
    make_phones,
    phone_covariances,
)
from mobilekit.analysis.predict.posterior import Posterior, condition, whiten
from mobilekit.analysis.predict.refusal import (
    MOST_SD,
    WORDS,
    WorkRange,
    contradiction_of,
    excesses,
    reason_against_chip,
    reasons_against,
    too_uncertain,
)
from mobilekit.contract.codec import Record
from mobilekit.errors import UsageError
from mobilekit.records.chip import Chip
from mobilekit.records.prediction import (
    Extrapolation,
    KnownLatency,
    LatencyPrediction,
    NetworkWork,
    PastError,
)

Array = npt.NDArray[np.float64]


class FittedPhone(Record, frozen=True):
    """A phone, or a board with a phone's processor, that the model was fitted to."""

    soc: str
    threads: int
    features: tuple[float, ...]
    """``FEATURES``."""


class FittedNetwork(Record, frozen=True):
    name: str
    costs: tuple[float, ...]
    """``COSTS``."""


class IntervalFactor(Record, frozen=True):
    """By how many posterior sds nine in ten times lay off, on phones that were held back."""

    known: int
    """At least so many networks were known on the phone."""
    seen: bool
    factor: float


class LatencyModel(Record, frozen=True):
    """What `scripts/fit_prediction.py` writes."""

    source: str
    license: str
    engine: str
    """What all of it was measured with."""
    unit_ms: tuple[float, ...]
    """What a unit of each of ``COSTS`` takes on the reference device."""
    offset: float
    """What log ms lie above the prior's mean, on average."""
    sds: KernelSds
    scales: FeatureScales
    phones: tuple[FittedPhone, ...]
    networks: tuple[FittedNetwork, ...]
    measured: tuple[tuple[int, int, float], ...]
    """A phone's index, a network's, and ms."""
    range: WorkRange
    factors: tuple[IntervalFactor, ...]
    widening_power: float
    """An interval of an extrapolated network is wider by the factor that a share exceeds the
    largest fitted one by, to this power."""
    errors: tuple[PastError, ...]


class Predictor:
    """A model that is ready to predict; it may be asked any number of times.

    ``packed`` is what ``pack_whitener`` gave for the same model, which takes longer to compute
    than all else of a prediction.
    """

    def __init__(self, model: LatencyModel, packed: npt.NDArray[np.float32] | None = None) -> None:
        self.model = model
        self._packed = packed
        self._unit_ms = np.array(model.unit_ms)
        self._costs = np.array([network.costs for network in model.networks])
        socs = sorted({phone.soc for phone in model.phones})
        self._soc_of = {soc: index for index, soc in enumerate(socs)}
        self._phones = make_phones(
            np.array([phone.features for phone in model.phones]),
            model.scales,
            np.array([self._soc_of[phone.soc] for phone in model.phones]),
            np.arange(len(model.phones)),
        )
        self._phone = np.array([row[0] for row in model.measured])
        self._network = np.array([row[1] for row in model.measured])

    @cached_property
    def _whitener(self) -> Array:
        if self._packed is None:
            return self.compute_whitener()
        count = len(self.model.measured)
        whitener = np.zeros((count, count))
        whitener[np.tri(count, dtype=bool)] = self._packed
        return whitener

    def compute_whitener(self) -> Array:
        """Of all that was measured: (measurements, measurements), as ``whiten`` has it."""
        parts = phone_covariances(compare_phones(self._phones, self._phones), self.model.sds)
        shares = self.shares(self._costs)
        likeness = shares @ shares.T
        covariance = combine(parts, likeness, np.eye(len(shares)), self._phone, self._network)
        return whiten(covariance, self.model.sds.noise)

    @cached_property
    def _residuals(self) -> Array:
        ms = np.array([row[2] for row in self.model.measured])
        return np.asarray(
            np.log(ms)
            - self.model.offset
            - self._phones.mean[self._phone]
            - self.log_reference_ms(self._costs)[self._network]
        )

    def shares(self, costs: Array) -> Array:
        """Of the reference device's time, for rows of ``COSTS``: (networks, costs)."""
        times = costs * self._unit_ms
        return np.asarray(times / times.sum(axis=-1, keepdims=True))

    def log_reference_ms(self, costs: Array) -> Array:
        return np.asarray(np.log((costs * self._unit_ms).sum(axis=-1)))

    def is_within_fitted(self, network: NetworkWork) -> bool:
        """Whether it is within what was fitted, on whatever phone. Only then does what was measured
        of it tell of other networks."""
        return not self.reasons_against(network) and not self._is_extrapolated(network)

    def can_extrapolate(self, network: NetworkWork) -> bool:
        """Whether it is beyond what was fitted, and told all the same. What was measured of it
        tells of itself alone: how far it lies off what others let expect was not measured."""
        return not self.reasons_against(network) and self._is_extrapolated(network)

    def _is_extrapolated(self, network: NetworkWork) -> bool:
        return self.extrapolation_of(costs_of(network.layers)) is not None

    def reasons_against(self, network: NetworkWork) -> tuple[str, ...]:
        """Why its latency cannot be told, on whatever phone; empty where it can."""
        return reasons_against(network, self._unit_ms, self.model.range)

    def reason_against(self, chip: Chip, threads: int) -> str | None:
        """Why nothing is told from this chip alone, neither a time nor a power; ``None``: it can
        be. Raises ``UsageError`` for threads that do not fit the chip."""
        return self._reason_against(features_of(chip, threads))

    def _reason_against(self, features: Array) -> str | None:
        fitted = np.array([each.features for each in self.model.phones])
        return reason_against_chip(features, fitted)

    def reference_ms(self, network: NetworkWork) -> float:
        """What it takes on the reference device."""
        return float(costs_of(network.layers) @ self._unit_ms)

    def predict(
        self,
        networks: Sequence[NetworkWork],
        chip: Chip,
        threads: int,
        known: Sequence[KnownLatency] = (),
    ) -> tuple[LatencyPrediction, ...]:
        """Each network's latency on a phone of that chip, in their order.

        ``known`` are latencies of some of these networks on that very phone with that many threads;
        each is told once, and one of an extrapolated network tells of that alone. Raises
        ``UsageError`` for a known one that is not among ``networks``, a latency that is not
        positive, and threads that do not fit the chip.
        """
        names = [network.name for network in networks]
        index = _index_known(known, names)
        reasons = [self.reasons_against(network) for network in networks]
        features = features_of(chip, threads)
        usable = [each for each in range(len(networks)) if not reasons[each]]
        place = {each: row for row, each in enumerate(usable)}
        told, alone = [], {}
        for each, item in zip(index, known, strict=True):
            if each not in place:
                continue
            if self._is_extrapolated(networks[each]):
                alone[place[each]] = item
            else:
                told.append((place[each], item))
        costs = np.array([costs_of(networks[each].layers) for each in usable]).reshape(
            -1, self._costs.shape[1]
        )
        predicted: dict[int, LatencyPrediction] = {}
        if usable:
            results = self._predict_usable(
                [names[each] for each in usable], costs, chip, features, told, alone
            )
            predicted = dict(zip(usable, results, strict=True))
        return tuple(
            predicted.get(each) or _refused(names[each], len(told), reasons[each])
            for each in range(len(networks))
        )

    def _predict_usable(
        self,
        names: Sequence[str],
        costs: Array,
        chip: Chip,
        features: Array,
        told: Sequence[tuple[int, KnownLatency]],
        alone: Mapping[int, KnownLatency],
    ) -> list[LatencyPrediction]:
        unlike = None if told else self._reason_against(features)
        if unlike is not None:
            return [_refused(name, 0, (unlike,)) for name in names]
        phone = self.make_phones(features[None, :], [chip.name or ""])
        here = np.zeros(len(costs), dtype=np.int64)
        prior_mean, posterior = self.expect(costs, phone, here)
        rows = np.array([row for row, _ in told], dtype=np.int64)
        values = np.log(np.array([item.latency_ms for _, item in told])) - prior_mean[rows]
        noise = self.model.sds.noise
        contradiction = contradiction_of(
            [names[row] for row in rows], values, posterior, rows, noise
        )
        if contradiction is not None:
            return [_refused(name, len(told), (contradiction,)) for name in names]
        posterior = posterior.given(rows, values, noise)
        seen = self.are_fitted(costs)
        predictions = []
        for row, name in enumerate(names):
            known, expected = len(told), posterior
            if row in alone:
                index = np.array([row])
                value = np.log([alone[row].latency_ms]) - prior_mean[index]
                contradiction = contradiction_of([name], value, posterior, index, noise)
                if contradiction is not None:
                    predictions.append(_refused(name, known, (contradiction,)))
                    continue
                known, expected = known + 1, posterior.given(index, value, noise)
            predictions.append(
                self.tell(
                    name,
                    prior_mean[row] + expected.mean[row],
                    expected.covariance[row, row],
                    costs[row],
                    known=known,
                    seen=bool(seen[row]) or row in rows or row in alone,
                )
            )
        return predictions

    def tell(
        self,
        name: str,
        mean: float,
        variance: float,
        costs: Array,
        *,
        known: int,
        seen: bool,
        widening: float = 1.0,
    ) -> LatencyPrediction:
        """From the mean and the variance of a network's log ms, and its ``COSTS``, (costs,);
        ``widening`` is a factor on the shipped width of the interval."""
        sd = math.sqrt(max(variance, 0.0) + self.model.sds.noise**2)
        if sd >= MOST_SD:
            return _refused(name, known, (too_uncertain(sd),))
        extrapolation = None if seen else self.extrapolation_of(costs)
        half = self.factor(known, seen=seen) * sd * widening
        if extrapolation is not None:
            half *= extrapolation.widening
        return LatencyPrediction(
            network=name,
            latency_ms=math.exp(mean),
            low_ms=math.exp(mean - half),
            high_ms=math.exp(mean + half),
            known=known,
            seen=seen,
            reasons=(),
            extrapolation=extrapolation,
        )

    def extrapolation_of(self, costs: Array) -> Extrapolation | None:
        """Of a network's ``COSTS``, (costs,); ``None`` where none exceeds what was fitted."""
        shares = self.shares(costs)
        excess = excesses(shares, self.model.range)
        most = int(excess.argmax())
        if excess[most] == 1:
            return None
        return Extrapolation(
            work=WORDS[COSTS[most]],
            share=float(shares[most]),
            fitted_share=self.model.range.largest_share[most],
            widening=float(excess[most] ** self.model.widening_power),
        )

    def are_fitted(self, costs: Array) -> npt.NDArray[np.bool_]:
        """Which of the networks were measured on other phones."""
        return np.array([bool(each.any()) for each in self._matches(costs)], dtype=np.bool_)

    def _matches(self, costs: Array) -> npt.NDArray[np.bool_]:
        fitted = [are_same(each, self._costs, self._unit_ms) for each in costs]
        return np.array(fitted).reshape(len(costs), len(self._costs))

    def same_networks(self, costs: Array) -> Array:
        """1 for each pair of the same network, whatever they are called: (networks, networks)."""
        return np.array([are_same(each, costs, self._unit_ms) for each in costs], dtype=np.float64)

    def make_phones(self, features: Array, socs: Sequence[str]) -> Phones:
        """Phones that were not fitted, of ``FEATURES``, (phones, features), each with what its SoC
        is called, which may be one of the fitted ones."""
        return make_phones(
            features,
            self.model.scales,
            np.array([self._soc_of.get(soc, -1 - socs.index(soc)) for soc in socs]),
            -1 - np.arange(len(socs)),
        )

    def expect(
        self, costs: Array, phones: Phones, phone: npt.NDArray[np.int64]
    ) -> tuple[Array, Posterior]:
        """Of observations, each of a network's ``COSTS``, (n, costs), on one of ``phones``, (n,):
        log ms that the prior expects, (n,), and what the fitted phones add to that."""
        shares, fitted_shares = self.shares(costs), self.shares(self._costs)
        every = np.arange(len(costs))
        own = phone_covariances(compare_phones(phones, phones), self.model.sds)
        prior = combine(own, shares @ shares.T, self.same_networks(costs), phone, every)
        unknown = memory_variances(phones, self.model)
        prior += unknown[phone] * (phone[:, None] == phone[None, :])
        others = phone_covariances(compare_phones(self._phones, phones), self.model.sds)
        shared = combine(
            others,
            fitted_shares @ shares.T,
            self._matches(costs).T.astype(float),
            self._phone,
            self._network,
            phone,
            every,
        )
        mean = self.model.offset + phones.mean[phone] + self.log_reference_ms(costs)
        return mean, condition(self._whitener, shared, prior, self._residuals)

    def layer_shares(self, network: NetworkWork, chip: Chip | None, threads: int) -> Array:
        """What part of the network's time each layer takes, (layers,), on a phone of that chip.

        Each is a network of its own, of which the phone's prices are expected as of any other; on
        the reference device where the chip is not known. Raises ``UsageError`` for threads that do
        not fit the chip.
        """
        costs = np.array([costs_of([layer]) for layer in network.layers])
        log_ms = self.log_reference_ms(costs)
        if chip is not None:
            phone = self.make_phones(features_of(chip, threads)[None, :], [chip.name or ""])
            prior, posterior = self.expect(costs, phone, np.zeros(len(costs), dtype=np.int64))
            log_ms = prior + posterior.mean
        times = np.exp(log_ms)
        return np.asarray(times / times.sum())

    def factor(self, known: int, *, seen: bool) -> float:
        """Posterior sds in half of a 90 % interval."""
        return max(
            (each for each in self.model.factors if each.seen == seen and each.known <= known),
            key=lambda each: each.known,
        ).factor

    def past_error(self, known: int, *, seen: bool, extrapolated: bool = False) -> PastError:
        """How far predictions like this were right on phones held back from the fit."""
        kind = (seen, extrapolated)
        return max(
            (
                each
                for each in self.model.errors
                if (each.seen, each.extrapolated) == kind and each.known <= known
            ),
            key=lambda each: each.known,
        )


def pack_whitener(model: LatencyModel) -> npt.NDArray[np.float32]:
    """The rows of the triangle that a ``Predictor`` needs, one after the other.

    In single precision: none of its elements is larger than 1 / noise, so that a log time differs
    by less than 1e-4.
    """
    whitener = Predictor(model).compute_whitener()
    return np.asarray(whitener[np.tri(len(whitener), dtype=bool)], dtype=np.float32)


def memory_variances(phones: Phones, model: LatencyModel) -> Array:
    """What not knowing a phone's memory adds to the variance of its log time, (phones,)."""
    slope_sd = LINEAR_PRIOR["dram_excess"][1] * model.sds.device_linear
    return np.where(phones.unknown_memory, (slope_sd * model.scales.dram_sd) ** 2, 0.0)


def combine(
    parts: tuple[Array, Array, Array],
    likeness: Array,
    same_network: Array,
    phone: npt.NDArray[np.int64],
    network: npt.NDArray[np.int64],
    other_phone: npt.NDArray[np.int64] | None = None,
    other_network: npt.NDArray[np.int64] | None = None,
) -> Array:
    """The covariance of observations, each of a phone and a network, from pairs of phones
    (``parts``, of ``phone_covariances``) and pairs of networks."""
    device, price, same = parts
    others = phone if other_phone is None else other_phone
    other_networks = network if other_network is None else other_network

    def of_phones(pairs: Array) -> Array:
        # Twenty times as fast as numpy's indexing by both at once.
        return pairs.take(phone, axis=0).take(others, axis=1)

    def of_networks(pairs: Array) -> Array:
        return pairs.take(network, axis=0).take(other_networks, axis=1)

    covariance = of_phones(price)
    covariance *= of_networks(likeness)
    covariance += of_phones(device)
    covariance += of_phones(same) * of_networks(same_network)
    return covariance


def _index_known(known: Sequence[KnownLatency], names: Sequence[str]) -> list[int]:
    index = []
    for item in known:
        if item.network not in names:
            raise UsageError(
                f"{item.network!r} is known, and its layers are not",
                networks=", ".join(names),
                fix="Give its layers too, or leave it out.",
            )
        if not (math.isfinite(item.latency_ms) and item.latency_ms > 0):
            raise UsageError(
                f"{item.latency_ms} ms is no latency",
                network=item.network,
                fix="Give what was measured, in milliseconds.",
            )
        index.append(names.index(item.network))
    told = [item.network for item in known]
    twice = {name for name in told if told.count(name) > 1}
    if twice:
        raise UsageError(
            "A network is known twice",
            networks=", ".join(sorted(twice)),
            fix="Give one latency for each network: the median of its measurements.",
        )
    return index


def refuse_all(
    networks: Sequence[NetworkWork], known: int, reason: str
) -> tuple[LatencyPrediction, ...]:
    """None of these can be told, for one reason."""
    return tuple(_refused(network.name, known, (reason,)) for network in networks)


def _refused(network: str, known: int, reasons: tuple[str, ...]) -> LatencyPrediction:
    return LatencyPrediction(
        network=network,
        latency_ms=None,
        low_ms=None,
        high_ms=None,
        known=known,
        seen=False,
        reasons=reasons,
    )
