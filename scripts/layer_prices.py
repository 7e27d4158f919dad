"""Are layers' times on this computer told by their costs? Measures, fits and tells the errors.

    python scripts/layer_prices.py TABLE [MODEL...] [--measure] [--docs]

``--measure`` profiles each packaged network as .pte with one thread, in commands of their own, and
adds what its layers took to TABLE (.csv); those that are there are not measured again. It wants a
quiet computer. Then each network is left out in turn: its layers are told by the prices of costs
(`mobilekit/analysis/predict/costs.py`) that fit the layers of all others, and scaled by one factor
for the run. ``--docs`` writes the table of errors into docs/predicting.md.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from bench import put_section
from layers_bench import run
from scipy.optimize import nnls

from mobilekit import places
from mobilekit.analysis.predict.costs import KINDS, costs_of
from mobilekit.analysis.predict.work import work_of
from mobilekit.model.describe import read_description
from mobilekit.model.zoo import find_model, list_models

Array = npt.NDArray[np.float64]
DOCS = Path(__file__).parents[1] / "docs" / "predicting.md"
COLUMNS = ("network", "layer", "p50_ns")
LEAST_SHARE = 0.01
"""Of a network's time: smaller layers are not counted."""
ITERATIONS = 100


class Layers(NamedTuple):
    """Those of one network that are of a kind with a price, and that the profile tells."""

    names: tuple[str, ...]
    costs: Array
    """``COSTS``, (layers, costs)."""
    times_ns: Array


def measure(table: Path, models: list[str]) -> None:
    done = set(read_times(table)) if table.exists() else set()
    if not done:
        table.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as directory:
        store = f"sqlite:///{directory}/results.sqlite"
        for model in (each for each in models if each not in done):
            print(f"{model} ...", file=sys.stderr)
            arguments = (
                "--device",
                "pc",
                "--threads",
                "1",
                "--format",
                "pte",
                "--no-segments",
                "--fast",
            )
            found = run(
                *("profile", model, *arguments, "--iterations", str(ITERATIONS)), store=store
            )
            with table.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                for each in found["profile"]["layers"]:
                    if each["p50_ns"] is not None:
                        writer.writerow((model, each["layer"]["name"], f"{each['p50_ns']:.0f}"))


def read_times(table: Path) -> dict[str, dict[str, float]]:
    times = defaultdict[str, dict[str, float]](dict)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            times[row["network"]][row["layer"]] = float(row["p50_ns"])
    return times


def read_layers(network: str, times: dict[str, float]) -> Layers:
    description = read_description(
        find_model(network), cache_directory=places.artifacts_directory()
    )
    told = [
        layer
        for layer in work_of(network, description).layers
        if layer.kind in KINDS and times.get(layer.name, 0) > 0
    ]
    return Layers(
        names=tuple(layer.name for layer in told),
        costs=np.array([costs_of([layer]) for layer in told]),
        times_ns=np.array([times[layer.name] for layer in told]),
    )


def fit_prices(networks: list[Layers], rounds: int = 8) -> Array:
    """ns for a unit of each of ``COSTS``, none below 0, by least relative errors of all layers.

    Each network's run has a factor of its own, with a geometric mean of 1, so that a slow run does
    not make its kinds of layers dear.
    """
    costs = np.concatenate([each.costs for each in networks])
    times = np.concatenate([each.times_ns for each in networks])
    run_of = np.repeat(np.arange(len(networks)), [len(each.names) for each in networks])
    shares = np.concatenate([each.times_ns / each.times_ns.sum() for each in networks])
    counted = np.where(shares >= LEAST_SHARE, 1.0, 0.1)
    units = np.maximum(costs.max(axis=0), 1.0)
    factors = np.ones(len(networks))
    robust = np.ones(len(times))
    for _ in range(rounds):
        weights = counted * robust / times
        prices, _ = nnls(costs / units * (factors[run_of] * weights)[:, None], times * weights)
        told = costs / units @ prices
        for index in range(len(networks)):
            mine = run_of == index
            factors[index] = scale(times[mine], told[mine])
        factors /= np.exp(np.log(factors).mean())
        errors = np.abs(told * factors[run_of] / times - 1)
        robust = 1 / np.sqrt(np.maximum(errors, 0.02))
    return np.asarray(prices / units)


def scale(times_ns: Array, told_ns: Array) -> float:
    """One factor for a run: its layers' times over what is told, the median over its time."""
    ratios = times_ns / np.maximum(told_ns, 1e-9)
    order = np.argsort(ratios)
    upto = np.cumsum(times_ns[order]) / times_ns.sum()
    return float(ratios[order][np.searchsorted(upto, 0.5)])


def leave_one_out(networks: dict[str, Layers]) -> dict[str, list[float]]:
    """Relative errors of each network's layers of at least ``LEAST_SHARE`` of its time."""
    errors = {}
    for name, left in networks.items():
        prices = fit_prices([each for other, each in networks.items() if other != name])
        told = left.costs @ prices
        told *= scale(left.times_ns, told)
        is_counted = left.times_ns >= LEAST_SHARE * left.times_ns.sum()
        errors[name] = [*map(float, (told / left.times_ns - 1)[is_counted])]
    return errors


def render(errors: dict[str, list[float]]) -> str:
    lines = ["| network left out | layers | median | nine in ten within |", "|---|---|---|---|"]
    for name, found in sorted(errors.items()):
        lines.append(row(name, found))
    together = [error for found in errors.values() for error in found]
    return "\n".join([*lines, row("**all**", together)])


def row(name: str, found: list[float]) -> str:
    sizes = [abs(error) for error in found]
    return (
        f"| {name} | {len(sizes)} | {statistics.median(sizes):.1%} | "
        f"{np.quantile(sizes, 0.9):.1%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, metavar="TABLE")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all packaged ones")
    parser.add_argument("--measure", action="store_true", help="profile what is not there yet")
    parser.add_argument("--docs", action="store_true", help="also write docs/predicting.md")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.table, arguments.models or [spec.name for spec in list_models()])
    networks = {
        name: read_layers(name, times) for name, times in read_times(arguments.table).items()
    }
    text = render(leave_one_out({name: each for name, each in networks.items() if each.names}))
    print(text)
    if arguments.docs:
        put_section(DOCS, "layers", text)


if __name__ == "__main__":
    main()
