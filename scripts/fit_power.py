"""Fit what a phone's cores draw, from cores that were measured, and tell how far that is right.

Reads ``mobilekit/prediction/power`` and writes ``mobilekit/prediction/power.json``. Then prints the
errors of chips that were held back, beside simpler guesses, and a few powers that others measured
with networks; ``--docs`` also writes them into docs/predicting.md.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from bench import put_section

from mobilekit.analysis.predict.intervals import SDS_OF_90_PERCENT
from mobilekit.analysis.predict.power import (
    CorePower,
    PowerModel,
    RestPower,
    core_features,
    power_of_chip,
)
from mobilekit.contract.codec import encode
from mobilekit.flow.predict import read_phone
from mobilekit.phone.chips import load_cores
from mobilekit.records.chip import Core
from mobilekit.results.published import load_publication
from mobilekit.units import NS_PER_S

Array = npt.NDArray[np.float64]
PACKAGE = Path(__file__).parents[1] / "mobilekit" / "prediction"
DOCS = Path(__file__).parents[1] / "docs" / "predicting.md"


class MeasuredCore(NamedTuple):
    """One busy core of a phone's cluster, at the cluster's highest clock."""

    soc: str
    """Without the letters of a faster one: SM8150-AC is SM8150 here."""
    phone: str
    core: Core
    clock_ghz: float
    power_mw: float


def read_cores() -> list[MeasuredCore]:
    kinds = load_cores()
    return [
        MeasuredCore(
            soc=row["soc"].split("-")[0],
            phone=row["phone"],
            core=kinds[row["core"]],
            clock_ghz=float(row["ghz"]),
            power_mw=float(row["core_mw"]),
        )
        for row in read_rows("cores.csv")
    ]


def read_rows(name: str) -> list[dict[str, str]]:
    with (PACKAGE / "power" / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


Features = Callable[[Core, float], tuple[float, ...]]
GUESSES: dict[str, Features] = {
    "**kind and clock**": core_features,
    "in or out of order, and clock": lambda core, ghz: (1.0, float(core.out_of_order), np.log(ghz)),
    "in or out of order": lambda core, ghz: (1.0, float(core.out_of_order)),
    "nothing": lambda core, ghz: (1.0,),
}


def fit(cores: Sequence[MeasuredCore], features: Features) -> Array:
    """Least squares on the logarithm of mW."""
    rows = np.array([features(each.core, each.clock_ghz) for each in cores])
    values = np.log([each.power_mw for each in cores])
    return np.asarray(np.linalg.lstsq(rows, values, rcond=None)[0])


def held_back(cores: Sequence[MeasuredCore], features: Features) -> Array:
    """Predicted less true log mW of each core, without any of its SoC's."""
    errors = []
    for each in cores:
        fitted = fit([other for other in cores if other.soc != each.soc], features)
        predicted = np.dot(features(each.core, each.clock_ghz), fitted)
        errors.append(predicted - np.log(each.power_mw))
    return np.array(errors)


def fit_rest() -> RestPower:
    """Over phones, and over displays from their dimmest to their brightest."""
    logs = np.log(
        [
            float(row["running_ma"])
            + float(row["screen_on_ma"])
            + brightness * float(row["screen_full_ma"])
            for row in read_rows("rest.csv")
            for brightness in np.linspace(0, 1, 21)
        ]
    )
    return RestPower(
        current_ma=round(float(np.exp(logs.mean())), 1), log_sd=round(float(logs.std()), 3)
    )


def render(cores: Sequence[MeasuredCore], model: PowerModel) -> str:
    lines = [
        f"What one busy core draws, of {len(cores)} clusters of {model.phones} phones, each SoC "
        "held back:",
        "",
        "| told from its | half within a factor of | nine in ten within |",
        "|---|---|---|",
    ]
    for name, features in GUESSES.items():
        off = np.abs(held_back(cores, features))
        lines.append(
            f"| {name} | {np.exp(np.median(off)):.2f} | {np.exp(np.quantile(off, 0.9)):.2f} |"
        )
    lines += [
        "",
        "Beside powers that others measured with networks, of the whole phone or board, which are "
        "not in the fit; neither tells its threads, and these are taken:",
        "",
        "| | predicted, gross [90 %] | measured |",
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="store_true", help="write the tables into the guide")
    options = parser.parse_args()
    cores = read_cores()
    off = np.abs(held_back(cores, core_features))
    model = PowerModel(
        sources=(
            "cores: kdrag0n/freqbench, results/, as power/cores.csv names them",
            "rest: power_profile.xml of Android device trees, as power/rest.csv names them",
        ),
        licenses=("MIT", "Apache-2.0"),
        phones=len({each.phone for each in cores}),
        cores=CorePower(
            *(round(float(each), 4) for each in fit(cores, core_features)),
            log_sd=round(float(np.quantile(off, 0.9)) / SDS_OF_90_PERCENT, 3),
        ),
        rest=fit_rest(),
    )
    (PACKAGE / "power.json").write_bytes(encode(model) + b"\n")
    tables = render(cores, model)
    print(tables)
    print(model)
    if options.docs:
        put_section(DOCS, "power", f"{tables}\n")


if __name__ == "__main__":
    main()
