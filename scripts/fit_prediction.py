"""Fit the model that ``mobilekit predict`` ships, and tell how far it was right.

Reads ``mobilekit/prediction/ncnn`` and writes ``mobilekit/prediction/latency.json``, with
``latency_whitener.npy``, which every prediction would have to compute from it. Prints the errors
of predictions of chips, and of networks, that were left out, beside simple rivals on the same
splits; ``--docs`` also writes the tables into docs/predicting.md.

A chip is left out with every row of its SoC, whatever the board and the threads. Its kernel's
values are fitted anew without it (``--same-values`` keeps the whole fit's, which is quick, and
flatters). A network is left out of the fit of the costs and of the measurements.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from bench import put_section
from msgspec.structs import astuple
from scipy.linalg import cho_factor, cho_solve, lapack
from scipy.optimize import minimize, nnls

from mobilekit.analysis.predict.chips import FEATURES, features_of
from mobilekit.analysis.predict.costs import COSTS, costs_of
from mobilekit.analysis.predict.kernel import (
    KernelSds,
    PhoneLikeness,
    compare_phones,
    make_phones,
    phone_covariances,
    scale_features,
)
from mobilekit.analysis.predict.latency import (
    FittedNetwork,
    FittedPhone,
    IntervalFactor,
    LatencyModel,
    combine,
    pack_whitener,
)
from mobilekit.analysis.predict.refusal import WorkRange, reasons_against
from mobilekit.contract.codec import encode
from mobilekit.model.layer_table import read_layer_table
from mobilekit.phone.chips import load_cores
from mobilekit.records.chip import Chip, Cluster
from mobilekit.records.prediction import NetworkWork, PastError

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
PACKAGE = Path(__file__).parents[1] / "mobilekit" / "prediction"
SAME_SOC = {"OrangePi4 LTS": "Rockchip RK3399"}
"""Boards with the same SoC, of chips.csv."""
CHOSEN: dict[int, tuple[str, ...]] = {
    0: (),
    1: ("squeezenet",),
    3: ("mobilenet", "shufflenet", "vgg16"),
    5: ("mobilenet", "mobilenet_v2", "shufflenet", "resnet18", "vgg16"),
}
"""The networks that tell the most of the others, by how many may be measured."""
PRIOR_SDS = KernelSds(
    device_constant=0.5,
    device_linear=1.0,
    device_shape=0.2,
    device_soc=0.2,
    device_phone=0.2,
    price_constant=0.2,
    price_linear=0.2,
    price_shape=0.2,
    price_soc=0.12,
    price_phone=0.13,
    network_constant=0.1,
    network_shape=0.1,
    network_soc=0.06,
    noise=0.08,
    device_length=1.0,
    price_length=1.0,
)
"""About which the fit is drawn, in logarithms, by as much as ``PRIOR_SPREAD``."""
PRIOR_SPREAD = np.array([0.7, 0.3, *[0.7] * 12, 0.5, 0.5])
RIDGE = 0.3
"""How strongly the costs' shares on the reference device are drawn to equal ones."""


@dataclass(frozen=True)
class Data:
    works: tuple[NetworkWork, ...]
    costs: Array
    """(networks, costs)."""
    devices: tuple[str, ...]
    socs: tuple[str, ...]
    threads: tuple[int, ...]
    features: Array
    """(phones, features)."""
    phone: Indices
    network: Indices
    log_ms: Array

    @property
    def names(self) -> list[str]:
        return [work.name for work in self.works]

    @property
    def soc_index(self) -> Indices:
        order = sorted(set(self.socs))
        return np.array([order.index(soc) for soc in self.socs])


def read_data() -> Data:
    works = read_layer_table(PACKAGE / "ncnn" / "layers.csv")
    chips = read_chips()
    names = [work.name for work in works]
    with (PACKAGE / "ncnn" / "latency.csv").open(encoding="utf-8") as file:
        rows = [
            (row["device"], int(row["threads"]), row["model"], float(row["min_ms"]))
            for row in csv.DictReader(file)
        ]
    phones = list(dict.fromkeys((device, threads) for device, threads, _, _ in rows))
    phones = [phone for phone in phones if not is_contradictory(phone, rows)]
    kept = [row for row in rows if row[:2] in phones]
    chip_names = [max((name for name in chips if name in device), key=len) for device, _ in phones]
    return Data(
        works=works,
        costs=np.array([costs_of(work.layers) for work in works]),
        devices=tuple(device for device, _ in phones),
        socs=tuple(SAME_SOC.get(name, name) for name in chip_names),
        threads=tuple(threads for _, threads in phones),
        features=np.array(
            [
                features_of(chips[name], threads)
                for name, (_, threads) in zip(chip_names, phones, strict=True)
            ]
        ),
        phone=np.array([phones.index(row[:2]) for row in kept]),
        network=np.array([names.index(row[2]) for row in kept]),
        log_ms=np.log([row[3] for row in kept]),
    )


def read_chips() -> dict[str, Chip]:
    cores = load_cores()
    with (PACKAGE / "ncnn" / "chips.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        name: Chip(
            name=name,
            clusters=tuple(
                Cluster(
                    core=cores[row["core"]],
                    clock_ghz=float(row["ghz"]),
                    cores=int(row["count"]),
                )
                for row in of_chip
            ),
            dram_gbps=float(of_chip[0]["dram_gbps"]),
        )
        for name, of_chip in (
            (name, list(group)) for name, group in groupby(rows, lambda row: row["device_contains"])
        )
    }


def is_contradictory(phone: tuple[str, int], rows: Sequence[tuple[str, int, str, float]]) -> bool:
    """Whether most networks took a quarter longer than with one thread: nothing else of the table
    looks like that, and it says nothing of why."""
    device, threads = phone
    alone = {model: ms for name, count, model, ms in rows if (name, count) == (device, 1)}
    ratios = [
        ms / alone[model]
        for name, count, model, ms in rows
        if (name, count) == (device, threads) and model in alone
    ]
    return bool(ratios) and float(np.median(ratios)) > 1.25


# --- fitting -----------------------------------------------------------------------------------


def fit_unit_ms(data: Data, *, without: int | None = None) -> Array:
    """What a unit of each cost takes on the geometric-mean device, without one network.

    Non-negative least squares on relative errors: C. L. Lawson, R. J. Hanson, "Solving Least
    Squares Problems", 1974.
    """
    phones, networks = len(data.devices), len(data.works)
    design = np.zeros((len(data.log_ms), phones + networks))
    rows = np.arange(len(data.log_ms))
    design[rows, data.phone] = 1
    design[rows, phones + data.network] = 1
    penalty = 1e-3 * np.eye(phones + networks)
    effects = np.linalg.lstsq(
        np.vstack([design, penalty]),
        np.concatenate([data.log_ms, np.zeros(phones + networks)]),
        rcond=None,
    )[0][phones:]
    kept = [index for index in range(networks) if index != without]
    relative = data.costs[kept] / np.exp(effects[kept])[:, None]
    scale = relative.mean(axis=0)
    draw = math.sqrt(RIDGE)
    equal = np.full(len(COSTS), draw / len(COSTS))
    prices, _ = nnls(
        np.vstack([relative / scale, draw * np.eye(len(COSTS))]),
        np.concatenate([np.ones(len(kept)), equal]),
    )
    return np.asarray(prices / scale)


@dataclass(frozen=True)
class Problem:
    """All that the likelihood is told from; of observations, (m,) and (m, m)."""

    residuals: Array
    phones: PhoneLikeness
    likeness: Array
    same_network: Array
    phone: Indices
    network: Indices
    offset: float


def make_problem(data: Data, unit_ms: Array) -> Problem:
    phones = make_phones(
        data.features, scale_features(data.features), data.soc_index, np.arange(len(data.devices))
    )
    times = data.costs * unit_ms
    shares = times / times.sum(axis=1, keepdims=True)
    raw = data.log_ms - phones.mean[data.phone] - np.log(times.sum(axis=1))[data.network]
    return Problem(
        residuals=raw - raw.mean(),
        phones=compare_phones(phones, phones),
        likeness=shares @ shares.T,
        same_network=np.eye(len(shares)),
        phone=data.phone,
        network=data.network,
        offset=float(raw.mean()),
    )


def covariance_of(problem: Problem, sds: KernelSds) -> Array:
    parts = phone_covariances(problem.phones, sds)
    return combine(parts, problem.likeness, problem.same_network, problem.phone, problem.network)


def fit_sds(
    problem: Problem, kept: npt.NDArray[np.bool_], start: KernelSds, iterations: int
) -> KernelSds:
    """The most probable values given the observations ``kept``; L-BFGS with the exact gradient.

    Rasmussen and Williams 2006, equation 5.9.
    """
    phone, network = problem.phone[kept], problem.network[kept]
    pairs, networks = np.ix_(phone, phone), np.ix_(network, network)
    likeness, same_network = problem.likeness[networks], problem.same_network[networks]
    values = problem.residuals[kept]
    centre = np.log(astuple(PRIOR_SDS))
    of_phones = problem.phones
    phones_count = len(of_phones.linear)
    # Gradients are told at the level of pairs of phones: sums over the observations of each.
    flat = (phone[:, None] * phones_count + phone[None, :]).ravel()

    def per_phones(weights: Array) -> Array:
        return np.bincount(flat, weights.ravel(), phones_count**2).reshape(phones_count, -1)

    def loss(parameters: Array) -> tuple[float, Array]:
        sds = KernelSds(*map(float, np.exp(parameters)))
        device, price, network_part = phone_covariances(of_phones, sds)
        covariance = device[pairs] + price[pairs] * likeness + network_part[pairs] * same_network
        covariance[np.diag_indices(len(values))] += sds.noise**2
        factor, _ = lapack.dpotrf(covariance, lower=1)
        weights = lapack.dpotrs(factor, values, lower=1)[0]
        inverse, _ = lapack.dpotri(factor, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        outer = inverse - np.outer(weights, weights)
        on_device = per_phones(outer)
        on_price, on_network = per_phones(outer * likeness), per_phones(outer * same_network)
        device_shape = np.exp(-0.5 * of_phones.device_distance / sds.device_length**2)
        price_shape = np.exp(-0.5 * of_phones.price_distance / sds.price_length**2)
        slopes = {
            "device_constant": on_device.sum(),
            "device_linear": np.vdot(on_device, of_phones.linear),
            "device_shape": np.vdot(on_device, device_shape),
            "device_soc": np.vdot(on_device, of_phones.same_soc),
            "device_phone": np.vdot(on_device, of_phones.same_phone),
            "price_constant": on_price.sum(),
            "price_linear": np.vdot(on_price, of_phones.price_linear),
            "price_shape": np.vdot(on_price, price_shape),
            "price_soc": np.vdot(on_price, of_phones.same_soc),
            "price_phone": np.vdot(on_price, of_phones.same_phone),
            "network_constant": on_network.sum(),
            "network_shape": np.vdot(on_network, price_shape),
            "network_soc": np.vdot(on_network, of_phones.same_soc),
            "noise": np.trace(outer),
        }
        gradient = {name: getattr(sds, name) ** 2 * slope for name, slope in slopes.items()}
        by_length = price_shape * of_phones.price_distance / sds.price_length**2
        gradient["device_length"] = (
            0.5
            * sds.device_shape**2
            * np.vdot(on_device, device_shape * of_phones.device_distance)
            / sds.device_length**2
        )
        gradient["price_length"] = 0.5 * (
            sds.price_shape**2 * np.vdot(on_price, by_length)
            + sds.network_shape**2 * np.vdot(on_network, by_length)
        )
        away = (parameters - centre) / PRIOR_SPREAD
        value = 0.5 * values @ weights + np.log(np.diag(factor)).sum() + 0.5 * away @ away
        slope = np.array([gradient[name] for name in KernelSds.__struct_fields__])
        return float(value), slope + away / PRIOR_SPREAD

    found = minimize(
        loss,
        np.log(astuple(start)),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations},
    )
    return KernelSds(*map(float, np.exp(found.x)))


# --- held back ---------------------------------------------------------------------------------


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


def range_of(costs: Array, unit_ms: Array) -> WorkRange:
    times = costs * unit_ms
    totals = times.sum(axis=1)
    return WorkRange(
        largest_share=tuple(map(float, (times / totals[:, None]).max(axis=0))),
        least_ms=float(totals.min()),
        most_ms=float(totals.max()),
    )


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


# --- rivals ------------------------------------------------------------------------------------

RIVALS = ("constant MAC rate", "MACs + parameters", "rank-2", "gradient boosting", "nearest chip")


def rivals_errors(data: Data, known: dict[int, tuple[str, ...]]) -> dict[str, dict[int, Array]]:
    """Absolute percentage errors on the same splits, by rival and number of known networks.

    Each tells a network's log time but for the phone's scale, and the phone's scale from the known
    networks; from the chip alone the scale is what the trained phones have, per rate of the cores.
    """
    errors: dict[str, dict[int, list[float]]] = {
        rival: {count: [] for count in known} for rival in RIVALS
    }
    table = np.full((len(data.devices), len(data.works)), np.nan)
    table[data.phone, data.network] = data.log_ms
    for soc in np.unique(data.soc_index):
        trained = np.flatnonzero(data.soc_index != soc)
        shapes = _Shapes(data, table, trained)
        for phone in np.flatnonzero(data.soc_index == soc):
            there = ~np.isnan(table[phone])
            for count, chosen in known.items():
                is_known = there & np.isin(data.names, chosen)
                if count and not is_known.any():
                    continue
                asked = there & ~is_known
                for rival in RIVALS:
                    told = shapes.tell(rival, int(phone), is_known)
                    apes = np.abs(np.expm1(told[asked] - table[phone, asked])) * 100
                    errors[rival][count] += apes.tolist()
    return {
        rival: {count: np.array(each) for count, each in of_rival.items()}
        for rival, of_rival in errors.items()
    }


class _Shapes:
    """What the rivals learn from the phones they are trained on."""

    def __init__(self, data: Data, table: Array, trained: Indices) -> None:
        from sklearn.ensemble import GradientBoostingRegressor

        self.data, self.table, self.trained = data, table, trained
        macs = np.array([sum(layer.macs for layer in work.layers) for work in data.works])
        weights = np.array([sum(layer.weights for layer in work.layers) for work in data.works])
        self.counts = np.column_stack([macs, weights]).astype(float)
        rows = table[trained]
        self.effects = np.nanmean(rows - np.nanmean(rows, axis=1, keepdims=True), axis=0)
        scales = np.nanmean(rows - self.effects, axis=1)
        self.rate = data.features[:, list(FEATURES).index("log_rate")]
        self.scale = float(np.mean(scales + self.rate[trained]))
        relative = self.counts / np.exp(self.effects)[:, None]
        self.two_prices, _ = nnls(relative, np.ones(len(relative)))
        centred = np.nan_to_num(rows - self.effects - scales[:, None])
        self.directions = np.linalg.svd(centred, full_matrices=False)
        self.boosted = GradientBoostingRegressor(
            n_estimators=200, max_depth=4, learning_rate=0.08, subsample=0.7, random_state=0
        )
        kept = np.isin(data.phone, trained)
        self.boosted.fit(self._features(data.phone[kept], data.network[kept]), data.log_ms[kept])

    def _features(self, phone: Indices, network: Indices) -> Array:
        costs = np.log1p(self.data.costs)
        return np.column_stack([self.data.features[phone], costs[network]])

    def tell(self, rival: str, phone: int, known: npt.NDArray[np.bool_]) -> Array:
        """Log ms of every network on that phone."""
        times, networks = self.table[phone], np.arange(len(self.effects))
        prior = self.scale - self.rate[phone]
        if rival == "constant MAC rate":
            per_mac = np.log(self.counts[:, 0])
            return per_mac + (
                np.mean((times - per_mac)[known])
                if known.any()
                else prior + np.mean(self.effects - per_mac)
            )
        if rival == "MACs + parameters":
            prices = self.two_prices
            if known.sum() > 2:
                relative = self.counts[known] / np.exp(times[known])[:, None]
                prices, _ = nnls(relative, np.ones(len(relative)))
            told = np.log(np.maximum(self.counts @ prices, 1e-9))
            return told + (np.mean((times - told)[known]) if known.any() else prior)
        if rival == "gradient boosting":
            told = self.boosted.predict(self._features(np.full(len(networks), phone), networks))
            return np.asarray(told + (np.mean((times - told)[known]) if known.any() else 0.0))
        if rival == "rank-2":
            if not known.any():
                return np.asarray(self.effects + prior)
            _, values, directions = self.directions
            design = np.column_stack([np.ones(known.sum()), directions[0][known]])
            spread = values[0] / math.sqrt(len(self.trained))
            ridge = np.diag([0.0, (0.1 / spread) ** 2])
            left = (times - self.effects)[known]
            both = np.linalg.solve(design.T @ design + ridge, design.T @ left)
            return np.asarray(self.effects + both[0] + both[1] * directions[0])
        return self._nearest(phone, known)

    def _nearest(self, phone: int, known: npt.NDArray[np.bool_]) -> Array:
        """The times of the phone whose features are nearest, or whose known ones are most alike
        but for a factor, times that factor."""
        features = np.nan_to_num(self.data.features)
        spread = features[self.trained].std(axis=0) + 1e-9
        distance = (((features[self.trained] - features[phone]) / spread) ** 2).mean(axis=1)
        if known.any():
            off = self.table[phone, known] - self.table[np.ix_(self.trained, known)]
            unlike = np.nan_to_num(np.nanstd(off, axis=1), nan=1e3)
            distance = unlike + 1e-3 * distance
        nearest = self.trained[int(distance.argmin())]
        told = np.where(np.isnan(self.table[nearest]), np.nan, self.table[nearest])
        factor = self.table[phone, known] - told[known] if known.any() else np.zeros(1)
        mean = float(np.nanmean(factor)) if np.isfinite(factor).any() else 0.0
        typical = self.effects + np.nanmean(told - self.effects)
        return np.where(np.isnan(told), typical, told) + mean


# --- tables ------------------------------------------------------------------------------------

DOCS = Path(__file__).parents[1] / "docs" / "predicting.md"
PICTURE = DOCS.with_suffix(".png")


def render_tables(
    errors: Sequence[PastError], random: PastError, rivals: dict[str, dict[int, Array]]
) -> str:
    lines = [
        "| known on the phone | the network | predictions | median APE | nine in ten within | "
        "in the 90 % interval |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.known}{words} | {'measured elsewhere' if each.seen else 'measured nowhere'} | "
        f"{each.predictions:,} | {each.median_ape_percent:.1f} % | {each.p90_ape_percent:.0f} % | "
        f"{each.coverage:.0%} |"
        for each, words in [*((each, "") for each in errors), (random, ", at random")]
    ]
    ours = {each.known: each.median_ape_percent for each in errors if each.seen}
    lines += [
        "",
        "Median APE of networks measured elsewhere, on the same splits:",
        "",
        f"| | {' | '.join(f'{known} known' for known in ours)} |",
        f"|---|{'---|' * len(ours)}",
        f"| **this** | {' | '.join(f'**{error:.1f} %**' for error in ours.values())} |",
    ]
    lines += [
        f"| {rival} | {' | '.join(f'{np.median(each):.1f} %' for each in by_known.values())} |"
        for rival, by_known in rivals.items()
    ]
    return "\n".join(lines)


# --- pictures ----------------------------------------------------------------------------------

SHOWN = (0, 1, 5)
"""Numbers of known networks whose predictions are drawn against what was measured."""


def draw(
    data: Data,
    outcomes: Sequence[Outcome],
    factors: Sequence[IntervalFactor],
    rivals: dict[str, dict[int, Array]],
    path: Path,
) -> None:
    """Predicted against measured with 90 % intervals, of networks measured elsewhere on chips held
    back; and the error by how many networks are known there, beside the rivals'."""
    from matplotlib.figure import Figure

    log_ms = {
        (int(phone), int(network)): value
        for phone, network, value in zip(data.phone, data.network, data.log_ms, strict=True)
    }
    figure = Figure(figsize=(4.2 * (len(SHOWN) + 1), 4.4), layout="constrained")
    *scatters, last = figure.subplots(1, len(SHOWN) + 1)
    for axis, known in zip(scatters, SHOWN, strict=True):
        of_known = [each for each in outcomes if each.known == known]
        factor = next(each.factor for each in factors if each.seen and each.known == known)
        truth = np.array([log_ms[each.phone, each.network] for each in of_known])
        told = truth + np.array([each.error for each in of_known])
        half = factor * np.array([each.sd for each in of_known])
        inside = np.abs(told - truth) <= half
        for where, colour, name in (
            (inside, "#4477aa", "holds it"),
            (~inside, "#cc3311", "misses"),
        ):
            middle = np.exp(told[where])
            axis.errorbar(
                np.exp(truth[where]),
                middle,
                yerr=[
                    middle - np.exp(told[where] - half[where]),
                    np.exp(told[where] + half[where]) - middle,
                ],
                fmt=".",
                markersize=2.5,
                elinewidth=0.4,
                alpha=0.5,
                color=colour,
                label=f"90 % interval {name}: {where.mean():.0%}",
            )
        ends = np.exp([truth.min(), truth.max()])
        axis.plot(ends, ends, color="black", linewidth=0.8)
        axis.set(xscale="log", yscale="log", xlabel="measured, ms")
        axis.set_title(f"{known} known networks" if known != 1 else "1 known network", fontsize=10)
        axis.legend(fontsize=7, loc="upper left")
    scatters[0].set_ylabel("predicted, ms")
    counts = list(CHOSEN)
    apes = [
        np.array([100 * abs(math.expm1(each.error)) for each in outcomes if each.known == count])
        for count in counts
    ]
    last.plot(counts, list(map(np.median, apes)), "o-", color="#4477aa", label="this, median")
    last.plot(
        counts,
        [np.quantile(each, 0.9) for each in apes],
        "o--",
        color="#4477aa",
        label="this, nine in ten within",
    )
    for rival, colour in zip(
        RIVALS, ("#bbbbbb", "#999999", "#ee7733", "#009988", "#aa3377"), strict=True
    ):
        medians = [np.median(each) for each in rivals[rival].values()]
        last.plot(counts, medians, ".:", color=colour, label=f"{rival}, median")
    last.set(xlabel="known networks on the phone", ylabel="absolute error, %", xticks=counts)
    # Room for the legend above the lines.
    last.set_ylim(0, 1.5 * max(np.quantile(each, 0.9) for each in apes))
    last.set_title("error by known networks", fontsize=10)
    last.legend(fontsize=6.5, ncols=2, loc="upper right", handlelength=3.5)
    figure.suptitle("Networks measured elsewhere, on chips that were held back", fontsize=11)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--same-values", action="store_true", help="do not fit anew for each chip")
    parser.add_argument(
        "--docs", action="store_true", help="write the tables and the pictures into the guide"
    )
    parser.add_argument("--plot", type=Path, help="draw the pictures into this file")
    options = parser.parse_args()
    data = read_data()
    unit_ms = fit_unit_ms(data)
    problem = make_problem(data, unit_ms)
    everything = np.ones(len(data.log_ms), dtype=bool)
    sds = fit_sds(problem, everything, PRIOR_SDS, iterations=60)
    soc_of = data.soc_index[problem.phone]
    sds_without = {
        soc: sds if options.same_values else fit_sds(problem, soc_of != soc, sds, iterations=12)
        for soc in map(int, np.unique(data.soc_index))
    }
    factors, errors = [], []
    seen = hold_back_chips(data, problem, sds_without, CHOSEN)
    unseen = hold_back_networks(data, sds_without, CHOSEN)
    random = hold_back_chips(data, problem, sds_without, {5: ()}, random_sets=5)
    for is_seen, outcomes in ((True, seen), (False, unseen)):
        for known in CHOSEN:
            of_known = [each for each in outcomes if each.known == known]
            told = of_known
            if is_seen and known == 5:
                told = [*of_known, *random]
            factor = factor_of(told)
            factors.append(IntervalFactor(known=known, seen=is_seen, factor=round(factor, 4)))
            errors.append(past_error(known, is_seen, of_known, factor))
    five = next(each.factor for each in factors if each.seen and each.known == 5)
    rivals = rivals_errors(data, CHOSEN)
    tables = render_tables(errors, past_error(5, True, random, five), rivals)
    print(tables)
    print(sds)
    if options.docs:
        put_section(DOCS, "errors", f"{tables}\n")
    for path in filter(None, (options.plot, PICTURE if options.docs else None)):
        draw(data, seen, factors, rivals, path)
    model = LatencyModel(
        source="https://github.com/Tencent/ncnn, benchmark/: networks and table of latencies",
        license="BSD-3-Clause",
        engine="ncnn, fp32 models, best of a run",
        unit_ms=tuple(map(float, unit_ms)),
        offset=problem.offset,
        sds=sds,
        scales=scale_features(data.features),
        phones=tuple(
            FittedPhone(soc=soc, threads=threads, features=tuple(map(float, features)))
            for soc, threads, features in zip(data.socs, data.threads, data.features, strict=True)
        ),
        networks=tuple(
            FittedNetwork(name=work.name, costs=tuple(map(float, costs)))
            for work, costs in zip(data.works, data.costs, strict=True)
        ),
        measured=tuple(
            (int(phone), int(network), round(math.exp(log_ms), 4))
            for phone, network, log_ms in zip(data.phone, data.network, data.log_ms, strict=True)
        ),
        range=range_of(data.costs, unit_ms),
        factors=tuple(factors),
        errors=tuple(errors),
    )
    (PACKAGE / "latency.json").write_bytes(encode(model) + b"\n")
    np.save(PACKAGE / "latency_whitener.npy", pack_whitener(model))


if __name__ == "__main__":
    main()
