"""Fit the model by which ``mobilekit predict`` tells memory, and tell how far it was right.

    python scripts/fit_memory.py [--docs]

Reads ``mobilekit/prediction/memory.csv``, which `scripts/measure_memory.py` writes, and the
networks' descriptions, and writes ``mobilekit/prediction/memory.json``. Then prints the errors of
networks that were left out of the fit; ``--docs`` also writes them into docs/predicting.md.
A format in a precision of which fewer than ``FEWEST`` networks were measured is left out.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from bench import put_section
from msgspec.structs import replace
from scipy.optimize import nnls

from mobilekit import places
from mobilekit.analysis.predict.memory import (
    SLACK_BYTES,
    MemoryModel,
    MemoryModels,
    growths,
)
from mobilekit.analysis.predict.memory_parts import MemoryParts, parts_of
from mobilekit.contract.codec import encode_pretty
from mobilekit.contract.protocol import Format
from mobilekit.model.describe import read_description
from mobilekit.model.zoo import find_model
from mobilekit.records.network import Precision

Array = npt.NDArray[np.float64]
PACKAGE = Path(__file__).parents[1] / "mobilekit" / "prediction"
DOCS = Path(__file__).parents[1] / "docs" / "predicting.md"
QUANTITIES = ("load", "inference", "peak")
FEWEST = 8
COMPUTER = "x86_64, Linux, glibc, two threads"
USED: dict[Format, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "pte": (
        ("weights", "inputs", "layers"),
        ("activations", "pointers"),
        ("weights", "program"),
    ),
    "onnx": (
        ("weights", "small_product_weights", "large_product_weights", "layers"),
        ("arena", "program"),
        ("weights", "largest_convolution", "program"),
    ),
    "tflite": (
        ("weights", "inputs", "activations", "pointers", "layers", "program"),
        ("program",),
        ("program",),
    ),
}
"""The parts of load, of inference and of the load's peak: what each runtime is known to hold."""
OF_ONNX_IN_INT8 = (("packed", "layers"), ("arena",), ("weights", "largest_convolution"))
"""Its arena holds the weights too, once all of them are packed for kernels."""
FREED = 1.03
"""A peak that is so many times an inference's growth is of the load."""


class Measured(NamedTuple):
    network: str
    parts: MemoryParts
    bytes: tuple[float, float, float]
    """``QUANTITIES``, the median of its runs."""


def read_measured() -> dict[tuple[Format, Precision], list[Measured]]:
    runs = defaultdict(list)
    with (PACKAGE / "memory.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            runs[row["format"], row["precision"], row["network"]].append(
                [int(row[f"{quantity}_bytes"]) for quantity in QUANTITIES]
            )
    found = defaultdict(list)
    for (artifact_format, precision, network), values in runs.items():
        description = read_description(
            find_model(network), cache_directory=places.artifacts_directory()
        )
        load, inference, peak = (statistics.median(each) for each in zip(*values, strict=True))
        found[artifact_format, precision].append(
            Measured(
                network,
                parts_of(description, precision, is_onnx=artifact_format == "onnx"),
                (load, inference, peak),
            )
        )
    return found


# --- the fit -----------------------------------------------------------------------------------


def fit(artifact_format: Format, precision: Precision, measured: list[Measured]) -> MemoryModel:
    """The factors, without the spreads."""
    is_onnx_in_int8 = (artifact_format, precision) == ("onnx", "int8")
    of_load, of_inference, of_peak = OF_ONNX_IN_INT8 if is_onnx_in_int8 else USED[artifact_format]
    load, inference, peak = np.array([each.bytes for each in measured], dtype=np.float64).T
    parts = [each.parts for each in measured]
    freed = peak > FREED * inference
    return MemoryModel(
        format=artifact_format,
        precision=precision,
        networks=len(measured),
        load=least_absolute(of_load, parts, load, load),
        inference=least_absolute(of_inference, parts, np.maximum(inference - load, 0.0), inference),
        load_peak=least_absolute(
            of_peak,
            [part for part, is_freed in zip(parts, freed, strict=True) if is_freed],
            (peak - load)[freed],
            peak[freed],
        ),
        spreads=(0.0, 0.0, 0.0),
        weights_bytes=(
            min(part.weights for part in parts),
            max(part.weights for part in parts),
        ),
        most_activation_bytes=max(part.activations for part in parts),
    )


def least_absolute(
    names: tuple[str, ...], parts: list[MemoryParts], values: Array, scale: Array
) -> dict[str, float]:
    """Factors of no less than 0 with the least sum of errors relative to ``scale``.

    By iteratively reweighted non-negative least squares, so that a run that went another way than
    the others does not bend what they have in common.
    """
    if len(parts) < len(names):
        return {}
    table = np.array([[getattr(part, name) for name in names] for part in parts], dtype=np.float64)
    units = table.max(axis=0)
    units[units == 0] = 1.0
    weights = relative = 1.0 / (scale + SLACK_BYTES)
    factors = np.zeros(len(names))
    for _ in range(50):
        factors, _ = nnls(table / units * weights[:, None], values * weights)
        errors = np.abs(table / units @ factors - values) * relative
        weights = relative / np.sqrt(np.maximum(errors, 1e-3))
    return {
        name: float(f"{factor:.4g}")
        for name, factor in zip(names, factors / units, strict=True)
        if factor > 0
    }


class Errors(NamedTuple):
    network: str
    relative: tuple[float, float, float]
    """Predicted over measured, less 1; of ``QUANTITIES``."""
    spread: tuple[float, float, float]
    """Relative to ``expected + SLACK_BYTES``."""


def leave_one_out(
    artifact_format: Format, precision: Precision, measured: list[Measured]
) -> list[Errors]:
    """Predictions of each network by a fit to the others."""
    errors = []
    for left in measured:
        model = fit(artifact_format, precision, [each for each in measured if each is not left])
        told = growths(left.parts, model)
        pairs = list(zip(told, left.bytes, strict=True))
        relative = [predicted / true - 1 for predicted, true in pairs]
        spread = [abs(true - predicted) / (predicted + SLACK_BYTES) for predicted, true in pairs]
        errors.append(Errors(left.network, tuple(relative), tuple(spread)))
    return errors


def spread_of(errors: list[Errors], quantity: int) -> float:
    """Within which nine in ten lie, and one network more: the next may be the worst of all."""
    ordered = sorted(each.spread[quantity] for each in errors)
    rank = math.ceil(0.9 * (len(ordered) + 1))
    return float(f"{ordered[min(rank, len(ordered)) - 1]:.3g}")


# --- the tables --------------------------------------------------------------------------------


def render(found: dict[tuple[Format, Precision], list[Errors]]) -> str:
    lines = [
        "| format | precision | networks | load | inference | peak | nine in ten within | worst |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (artifact_format, precision), errors in found.items():
        every = [[abs(each.relative[index]) for each in errors] for index in range(3)]
        together = [error for quantity in every for error in quantity]
        worst = max(errors, key=lambda each: max(map(abs, each.relative)))
        lines.append(
            f"| .{artifact_format} | {precision} | {len(errors)} | "
            + " | ".join(f"{statistics.median(each):.1%}" for each in every)
            + f" | {np.quantile(together, 0.9):.1%} | {worst.network} "
            f"{max(worst.relative, key=abs):+.0%} |"
        )
    together = [
        abs(error) for errors in found.values() for each in errors for error in each.relative
    ]
    lines += [
        "",
        f"All {len(together):,} figures together: median {statistics.median(together):.1%}, nine "
        f"in ten within {np.quantile(together, 0.9):.1%}.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", action="store_true", help="also write docs/predicting.md")
    parser.add_argument("--networks", action="store_true", help="print each network's errors")
    arguments = parser.parse_args()
    models, found = [], {}
    for (artifact_format, precision), measured in sorted(read_measured().items()):
        if len(measured) < FEWEST:
            print(f".{artifact_format} {precision}: only {len(measured)} networks")
            continue
        errors = leave_one_out(artifact_format, precision, measured)
        found[artifact_format, precision] = errors
        spreads = tuple(spread_of(errors, quantity) for quantity in range(3))
        models.append(replace(fit(artifact_format, precision, measured), spreads=spreads))
        if arguments.networks:
            for each in errors:
                texts = (f"{error:+7.1%}" for error in each.relative)
                print(f"{artifact_format:7}{precision:5}{each.network:17}{' '.join(texts)}")
    (PACKAGE / "memory.json").write_bytes(
        encode_pretty(MemoryModels(computer=COMPUTER, models=tuple(models)))
    )
    text = render(found)
    print(text)
    if arguments.docs:
        put_section(DOCS, "memory", text)


if __name__ == "__main__":
    main()
