"""Times every level of a network beside a program of its own, in turns: does sharing cost anything?

    python scripts/levels_bench.py [--rounds 15] [--output docs/compressing.md] [MODEL...]

A level's own program is the network cut to the level's ranks, exported alone, as ``compress`` makes
it. Both run in ExecuTorch here with one thread, in fp32. ``--output`` replaces the part of that
file between the two markers, or adds it at its end; the table is printed in any case. What is
exported is kept: run it once, and again on a quiet computer.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
from bench import markdown_table, tell_section
from executorch.extension.pybindings import _C

from mobilekit import places
from mobilekit.model.export import export_artifact
from mobilekit.model.load import load_module
from mobilekit.model.lowrank import find_layers
from mobilekit.model.ranks import make_levels
from mobilekit.model.reference import make_inputs
from mobilekit.model.zoo import find_model, with_variant
from mobilekit.records.artifact import Artifact
from mobilekit.records.network import Level, ModelSpec, Variant
from mobilekit.units import format_duration

LEVELS = 4
TIMED_NS = 10_000_000
FEWEST, MOST = 5, 300
"""Inferences of each program in a round: as many as take ``TIMED_NS``, within these."""


class Timed:
    def __init__(self, made: Artifact, inputs: tuple[torch.Tensor, ...]) -> None:
        path = places.artifacts_directory() / Path(made.file.path).name
        self._loaded = _C._load_for_executorch(str(path))
        self._method, self._inputs = made.file.method, list(inputs)
        once = min(self._once_ns() for _ in range(FEWEST))
        self._count = min(max(TIMED_NS // once, FEWEST), MOST)

    def _once_ns(self) -> int:
        started_ns = time.perf_counter_ns()
        self._loaded.run_method(self._method, self._inputs)
        return time.perf_counter_ns() - started_ns

    def median_ns(self) -> float:
        return statistics.median(self._once_ns() for _ in range(self._count))


def rows(model: str, rounds: int) -> list[list[str]]:
    spec = find_model(model)
    inputs = make_inputs(spec)
    ladder = make_levels(find_layers(load_module(spec), inputs), LEVELS)
    if ladder is None:
        sys.exit(f"{model} cannot be split into {LEVELS} levels")
    found = []
    for number, alone in enumerate(ladder, 1):
        level = export(spec, Variant(level=Level(number=number, ladder=ladder)))
        own = export(spec, Variant(compression=alone))
        pair = Timed(level, inputs), Timed(own, inputs)
        times_ns = [[each.median_ns() for each in pair] for _ in range(rounds)]
        of_level, of_own = (statistics.median(each) for each in zip(*times_ns, strict=True))
        ratio = statistics.median(ours / theirs for ours, theirs in times_ns)
        found.append(
            [
                *(model, str(number), ", ".join(str(each.rank) for each in alone.ranks)),
                *(f"{level.file.size_bytes:,}", f"{own.file.size_bytes:,}"),
                *(format_duration(of_level), format_duration(of_own), f"{ratio:.2f}"),
            ]
        )
        print(" | ".join(found[-1]), file=sys.stderr)
    return found


def export(spec: ModelSpec, variant: Variant) -> Artifact:
    return export_artifact(
        with_variant(spec, variant),
        cache_directory=places.artifacts_directory(),
        on_progress=lambda _: None,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", default=["deep_kws_digits"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, help="put the table here")
    arguments = parser.parse_args()
    header = [
        *("network", "level", "ranks", "bytes of all levels", "bytes of its own program"),
        *("time", "its own program's", "ratio"),
    ]
    table = [row for model in arguments.models for row in rows(model, arguments.rounds)]
    text = "\n".join(markdown_table(header, table))
    tell_section(arguments.output, "levels", text)


if __name__ == "__main__":
    main()
