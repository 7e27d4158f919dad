"""What the model of ``mobilekit predict`` is fitted to, and how; ``fit_prediction.py`` does it."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple
from scipy.linalg import lapack
from scipy.optimize import minimize, nnls

from mobilekit.analysis.predict.chips import features_of
from mobilekit.analysis.predict.costs import COSTS, costs_of
from mobilekit.analysis.predict.kernel import (
    KernelSds,
    PhoneLikeness,
    compare_phones,
    make_phones,
    phone_covariances,
    scale_features,
)
from mobilekit.analysis.predict.latency import combine
from mobilekit.analysis.predict.refusal import WorkRange
from mobilekit.model.layer_table import read_layer_table
from mobilekit.phone.chips import load_cores
from mobilekit.records.chip import Chip, Cluster
from mobilekit.records.prediction import NetworkWork

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
PACKAGE = Path(__file__).parents[1] / "mobilekit" / "prediction"
SAME_SOC = {"OrangePi4 LTS": "Rockchip RK3399"}
"""Boards with the same SoC, of chips.csv."""
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


def fit_unit_ms(data: Data, *, without: Collection[int] = ()) -> Array:
    """What a unit of each cost takes on the geometric-mean device, without some networks.

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
    kept = [index for index in range(networks) if index not in without]
    relative = data.costs[kept] / np.exp(effects[kept])[:, None]
    scale = relative.mean(axis=0)
    # A cost that only networks that are left out have.
    scale[scale == 0] = 1.0
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


def range_of(costs: Array, unit_ms: Array, furthest: Sequence[float]) -> WorkRange:
    times = costs * unit_ms
    totals = times.sum(axis=1)
    return WorkRange(
        largest_share=tuple(map(float, (times / totals[:, None]).max(axis=0))),
        furthest=tuple(furthest),
        least_ms=float(totals.min()),
        most_ms=float(totals.max()),
    )
