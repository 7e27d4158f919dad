"""Fit what a phone's cores draw, from the tables that phones carry, and tell how far that is right.

Reads ``mobilekit/prediction/power.csv`` and writes ``mobilekit/prediction/power.json``. Then prints
the errors of phones that were held back, beside simpler guesses and a few measured powers;
``--docs`` also writes them into docs/predicting.md.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mobilekit.analysis.predict.intervals import SDS_OF_90_PERCENT
from mobilekit.analysis.predict.power import CorePower, PowerModel, RestPower, power_of_chip
from mobilekit.contract.codec import encode
from mobilekit.flow.predict import read_phone
from mobilekit.phone.chips import load_cores
from mobilekit.records.chip import Core
from mobilekit.results.published import load_publication
from mobilekit.units import NS_PER_S

Array = npt.NDArray[np.float64]
PACKAGE = Path(__file__).parents[1] / "mobilekit" / "prediction"
DOCS = Path(__file__).parents[1] / "docs" / "predicting.md"
MARKS = ("<!-- power: written by `python scripts/fit_power.py --docs` -->", "<!-- end of power -->")


class Cluster(NamedTuple):
    core: Core
    clock_ghz: float
    cores: int
    core_ma: float
    cluster_ma: float


class Phone(NamedTuple):
    name: str
    soc: str
    clusters: tuple[Cluster, ...]
    """The fastest first."""
    running_ma: float
    screen_on_ma: float
    screen_full_ma: float

    def used(self, threads: int) -> list[Cluster]:
        return [each for each in self.clusters for _ in range(each.cores)][:threads]

    def current_ma(self, threads: int) -> float:
        """As its table has it."""
        used = self.used(threads)
        return sum(each.core_ma for each in used) + sum(each.cluster_ma for each in set(used))


def read_phones() -> list[Phone]:
    cores = load_cores()
    with (PACKAGE / "power.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        Phone(
            name=name,
            soc=of_phone[0]["soc"],
            clusters=tuple(
                Cluster(
                    core=cores[row["core"]],
                    clock_ghz=float(row["ghz"]),
                    cores=int(row["cores"]),
                    core_ma=float(row["core_ma"]),
                    cluster_ma=float(row["cluster_ma"] or 0),
                )
                for row in of_phone
            ),
            running_ma=float(of_phone[0]["running_ma"] or 0),
            screen_on_ma=float(of_phone[0]["screen_on_ma"]),
            screen_full_ma=float(of_phone[0]["screen_full_ma"]),
        )
        for name, of_phone in (
            (name, list(group)) for name, group in groupby(rows, lambda row: row["phone"])
        )
    ]


def fit_cores(phones: Sequence[Phone]) -> Array:
    """Log mA of a core in order at 1 GHz, what one out of order adds, and the clock's exponent;
    each phone counts as much as another. Least squares."""
    rows, values = [], []
    for phone in phones:
        weight = 1 / math.sqrt(len(phone.clusters))
        for each in phone.clusters:
            rows.append([weight * part for part in features(each)])
            values.append(weight * math.log(each.core_ma))
    return np.asarray(np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0])


def features(cluster: Cluster) -> list[float]:
    return [1.0, float(cluster.core.out_of_order), math.log(cluster.clock_ghz)]


def by_cores(others: Sequence[Phone], phone: Phone, threads: int) -> float:
    """This model's."""
    fitted = fit_cores(others)
    return sum(math.exp(np.dot(features(each), fitted)) for each in phone.used(threads))


def by_number(others: Sequence[Phone], phone: Phone, threads: int) -> float:
    each = np.exp(
        np.mean(
            [np.log(other.current_ma(count) / count) for other in others for count in counts(other)]
        )
    )
    return float(threads * each)


def by_threads(others: Sequence[Phone], phone: Phone, threads: int) -> float:
    """The same for all phones whose cores are used to the same share."""
    share = threads / len(phone.used(99))
    return float(
        np.exp(
            np.mean(
                [
                    np.log(other.current_ma(max(1, round(share * len(other.used(99))))))
                    for other in others
                ]
            )
        )
    )


GUESSES: dict[str, Callable[[Sequence[Phone], Phone, int], float]] = {
    "**kind and clock of the cores**": by_cores,
    "the number of cores": by_number,
    "the share of the cores": by_threads,
}


def counts(phone: Phone) -> list[int]:
    """Threads for which a phone is told: one, half of its cores, all of them."""
    cores = len(phone.used(99))
    return sorted({1, cores // 2, cores})


def held_back(
    phones: Sequence[Phone], guess: Callable[[Sequence[Phone], Phone, int], float]
) -> Array:
    """Predicted less true log mA, of every phone without it, all its numbers of threads."""
    return np.array(
        [
            math.log(
                guess([each for each in phones if each is not phone], phone, threads)
                / phone.current_ma(threads)
            )
            for phone in phones
            for threads in counts(phone)
        ]
    )


def rest_of(phones: Sequence[Phone]) -> RestPower:
    """Over phones, and over displays from their dimmest to their brightest."""
    logs = np.log(
        [
            phone.running_ma + phone.screen_on_ma + brightness * phone.screen_full_ma
            for phone in phones
            for brightness in np.linspace(0, 1, 21)
        ]
    )
    return RestPower(
        current_ma=round(float(np.exp(logs.mean())), 1), log_sd=round(float(logs.std()), 3)
    )


def render(phones: Sequence[Phone], model: PowerModel) -> str:
    lines = [
        f"What busy cores draw, of {len(phones)} phones, each held back, with one thread, half as "
        "many as it has cores, and as many:",
        "",
        "| told from | half within a factor of | nine in ten within |",
        "|---|---|---|",
    ]
    for name, guess in GUESSES.items():
        off = np.abs(held_back(phones, guess))
        lines.append(
            f"| {name} | {np.exp(np.median(off)):.2f} | {np.exp(np.quantile(off, 0.9)):.1f} |"
        )
    lines += [
        "",
        "Beside what others measured with networks, gross, which is not in the fit:",
        "",
        "| | predicted [90 %] | measured |",
        "|---|---|---|",
    ]
    for device, threads, publication, platform in (
        ("nexus7", 4, "fantozzi2016", "nexus7"),
        ("MSM8974", 1, "lane2015", "snapdragon_cpu"),
    ):
        power = power_of_chip(read_phone(device).chip, threads, model)
        measured = published_powers_w(publication, platform)
        words = ", ".join(f"{network} {power_w:.2f} W" for network, power_w in measured.items())
        lines.append(
            f"| {device}, {threads} thread{'' if threads == 1 else 's'} | {power.gross_w:.2f} W "
            f"[{power.gross_interval_w.low:.2f} W, {power.gross_interval_w.high:.2f} W] | "
            f"{words} ({publication}) |"
        )
    return "\n".join(lines)


def published_powers_w(publication: str, platform: str) -> dict[str, float]:
    figures = load_publication(publication).figures
    values = {(each.model, each.name): each.value for each in figures if each.platform == platform}
    return {
        model: values[model, "energy"] / (values[model, "latency"] / NS_PER_S)
        for model, name in values
        if name == "energy"
    }


def write_docs(text: str) -> None:
    guide = DOCS.read_text(encoding="utf-8")
    before, rest = guide.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    DOCS.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="store_true", help="write the tables into the guide")
    options = parser.parse_args()
    phones = read_phones()
    in_order, added, exponent = map(float, fit_cores(phones))
    off = np.sort(np.abs(held_back(phones, by_cores)))
    model = PowerModel(
        source="power_profile.xml of Android device trees, as power.csv names them",
        license="Apache-2.0",
        phones=len(phones),
        cores=CorePower(
            in_order_at_1_ghz_ma=round(math.exp(in_order), 2),
            out_of_order_at_1_ghz_ma=round(math.exp(in_order + added), 2),
            clock_exponent=round(exponent, 3),
            log_sd=round(float(np.quantile(off, 0.9)) / SDS_OF_90_PERCENT, 3),
        ),
        rest=rest_of(phones),
    )
    (PACKAGE / "power.json").write_bytes(encode(model) + b"\n")
    tables = render(phones, model)
    print(tables)
    print(model)
    if options.docs:
        write_docs(tables)


if __name__ == "__main__":
    main()
