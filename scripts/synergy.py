"""SyNERGY's experiment on energies that are to be had: one network left out, told from the others.

C. F. Rodrigues, G. Riley, M. Lujan, "Fine-Grained Energy and Performance Profiling framework for
Deep Convolutional Neural Networks", 2018, regressed the energy of networks on a Jetson TX1 on
counters of the processor, and on MACs. Here it is regressed on MACs, and on MACs and the numbers
that layers read and write, in place of the counters; and set beside the power of the other networks
times the time that was measured. ``--docs`` writes the table into docs/predicting.md.

Energies of a virtual phone are its simulator's constant powers times time, would prove that and no
more, and are not used.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from bench import put_section
from scipy.optimize import nnls

from mobilekit import places
from mobilekit.model.describe import find_description
from mobilekit.model.zoo import find_model
from mobilekit.results.published import load_publication
from mobilekit.units import NS_PER_S

Array = npt.NDArray[np.float64]
TINY = Path(__file__).parent / "energy_data" / "mlperf_tiny.csv"
DOCS = Path(__file__).parents[1] / "docs" / "predicting.md"
PAPERS = (
    ("fantozzi2016", ("nexus7",)),
    ("lane2015", ("tegra_cpu", "snapdragon_cpu", "edison_cpu")),
)


class Counts(NamedTuple):
    macs: int
    moved: int
    """Weights once, and what each layer reads and writes: numbers, not bytes."""


class Run(NamedTuple):
    data: str
    platform: str
    network: str
    counts: Counts
    seconds: float
    energy_j: float


def read_papers() -> Iterator[Run]:
    for name, platforms in PAPERS:
        figures = load_publication(name).figures
        values = {(each.platform, each.model, each.name): each.value for each in figures}
        for platform, model, figure in values:
            if figure == "energy" and platform in platforms:
                yield Run(
                    name,
                    str(platform),
                    model,
                    counts_of(model),
                    values[platform, model, "latency"] / NS_PER_S,
                    values[platform, model, "energy"],
                )


def counts_of(model: str) -> Counts:
    """Of a packaged network, whose layers came with mobilekit."""
    description = find_description(find_model(model), cache_directory=places.artifacts_directory())
    assert description is not None
    layers = description.layers
    bytes_moved = sum(layer.input_bytes + layer.output_bytes for layer in layers)
    return Counts(macs=description.cost.macs, moved=description.cost.parameters + bytes_moved // 4)


def read_tiny() -> Iterator[Run]:
    with TINY.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield Run(
                "MLPerf Tiny",
                row["board"],
                row["network"],
                TINY_COUNTS[row["network"]],
                1 / float(row["inferences_per_s"]),
                float(row["energy_uj"]) * 1e-6,
            )


class Layer(NamedTuple):
    """A convolution with ``side`` x ``width`` outputs, or a product with a vector (1 x 1)."""

    kernel: int
    inputs: int
    outputs: int
    side: int
    width: int
    groups: int = 1
    stride: int = 1

    @property
    def weights(self) -> int:
        return self.kernel * self.inputs * self.outputs // self.groups

    @property
    def macs(self) -> int:
        return self.weights * self.side * self.width

    @property
    def moved(self) -> int:
        read = self.inputs * self.side * self.width * self.stride**2
        return self.weights + read + self.outputs * self.side * self.width


def _separable(inputs: int, outputs: int, side: int, width: int, stride: int = 1) -> list[Layer]:
    return [
        Layer(9, inputs, inputs, side, width, groups=inputs, stride=stride),
        Layer(1, inputs, outputs, side, width),
    ]


def _counts(layers: Sequence[Layer]) -> Counts:
    return Counts(sum(layer.macs for layer in layers), sum(layer.moved for layer in layers))


_AUTOENCODER = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
TINY_COUNTS = {
    "ad": _counts([Layer(1, inputs, outputs, 1, 1) for inputs, outputs in pairwise(_AUTOENCODER)]),
    "kws": _counts(
        [
            Layer(40, 1, 64, 25, 5, stride=2),
            *(layer for _ in range(4) for layer in _separable(64, 64, 25, 5)),
            Layer(1, 64, 12, 1, 1),
        ]
    ),
    "ic": _counts(
        [
            Layer(9, 3, 16, 32, 32),
            *[Layer(9, 16, 16, 32, 32)] * 2,
            Layer(9, 16, 32, 16, 16, stride=2),
            Layer(9, 32, 32, 16, 16),
            Layer(1, 16, 32, 16, 16, stride=2),
            Layer(9, 32, 64, 8, 8, stride=2),
            Layer(9, 64, 64, 8, 8),
            Layer(1, 32, 64, 8, 8, stride=2),
            Layer(1, 64, 10, 1, 1),
        ]
    ),
    "vww": _counts(
        [
            Layer(9, 3, 8, 48, 48, stride=2),
            *_separable(8, 16, 48, 48),
            *_separable(16, 32, 24, 24, 2),
            *_separable(32, 32, 24, 24),
            *_separable(32, 64, 12, 12, 2),
            *_separable(64, 64, 12, 12),
            *_separable(64, 128, 6, 6, 2),
            *(layer for _ in range(5) for layer in _separable(128, 128, 6, 6)),
            *_separable(128, 256, 3, 3, 2),
            *_separable(256, 256, 3, 3),
            Layer(1, 256, 2, 1, 1),
        ]
    ),
}
"""MLPerf Tiny's networks, by their published layers: an autoencoder, DS-CNN, ResNet-8 and MobileNet
v1 of a quarter of its channels at 96 x 96 (C. Banbury et al., "MLPerf Tiny Benchmark", 2021)."""


# --- told from the others -----------------------------------------------------------------------


def by_macs(others: Sequence[Run], run: Run) -> float:
    return _regressed(others, run, lambda counts: [counts.macs])


def by_macs_and_more(others: Sequence[Run], run: Run) -> float:
    return _regressed(others, run, lambda counts: [1, counts.macs])


def by_counts(others: Sequence[Run], run: Run) -> float:
    return _regressed(others, run, lambda counts: [counts.macs, counts.moved])


def by_power(others: Sequence[Run], run: Run) -> float:
    """The geometric mean of their powers, times its measured time."""
    powers = [other.energy_j / other.seconds for other in others]
    return float(np.exp(np.mean(np.log(powers)))) * run.seconds


def _regressed(others: Sequence[Run], run: Run, features: Callable[[Counts], list[int]]) -> float:
    """Non-negative least squares on relative errors."""
    rows = np.array([features(other.counts) for other in others], dtype=np.float64)
    scale = rows.max(axis=0)
    energies = np.array([other.energy_j for other in others])
    found, _ = nnls(rows / scale / energies[:, None], np.ones(len(others)))
    return float(np.dot(features(run.counts) / scale, found))


GUESSES: dict[str, Callable[[Sequence[Run], Run], float]] = {
    "MACs": by_macs,
    "a constant and MACs": by_macs_and_more,
    "MACs and numbers moved": by_counts,
    "constant power x measured time": by_power,
}


def errors(runs: Sequence[Run], guess: Callable[[Sequence[Run], Run], float]) -> Array:
    """Absolute relative ones, in percent: each network of a platform told from its others."""
    found = []
    for _, group in groupby(runs, lambda run: run.platform):
        of_platform = list(group)
        for run in of_platform:
            others = [other for other in of_platform if other is not run]
            found.append(100 * abs(guess(others, run) / run.energy_j - 1))
    return np.array(found)


def render(runs: Sequence[Run]) -> str:
    by_data = {
        name: list(group)
        for name, group in groupby(
            sorted(runs, key=lambda run: (run.data, run.platform)), lambda run: run.data
        )
    }
    heads = [
        f"{name}: {len({run.platform for run in group})} x {len({run.network for run in group})}"
        for name, group in by_data.items()
    ]
    lines = [
        f"| told from | {' | '.join(heads)} |",
        f"|---|{'---|' * len(by_data)}",
    ]
    for name, guess in GUESSES.items():
        cells = (
            f"{np.median(off):.0f} % ({off.mean():.0f} +- {off.std(ddof=1):.0f} %)"
            for off in (errors(group, guess) for group in by_data.values())
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="store_true", help="write the table into the guide")
    options = parser.parse_args()
    text = render([*read_papers(), *read_tiny()])
    print(text)
    if options.docs:
        put_section(DOCS, "synergy", f"{text}\n")


if __name__ == "__main__":
    main()
