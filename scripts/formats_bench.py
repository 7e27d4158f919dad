"""Times every packaged network in every format and in int8, side by side, against torch eager.

    python scripts/formats_bench.py [--rounds N] [--threads N] [--output FILE] [MODEL...]

One network after the other: its candidates are exported, loaded into this process with the same
inputs and threads, and run in turn, round by round. ``--output docs/performance.md`` replaces the
part of that file between the two markers; the table is printed in any case. One thread is the
default: where a few virtual processors are shared, the scheduler puts a second one beside the
first or on top of it from one moment to the next, and whichever engine that hits takes twice its
time. A network is skipped in a format that it cannot be exported to, and the reason is told.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bench import REST_S, interleave, tell_section, wall_ms

from mobilekit import places
from mobilekit.contract.protocol import Format
from mobilekit.errors import MobilekitError
from mobilekit.model.export import export_artifact
from mobilekit.model.zoo import find_model, list_models, with_variant
from mobilekit.records.artifact import Artifact
from mobilekit.records.network import ModelSpec, Precision, Variant
from mobilekit.runner.abi import this_abi
from mobilekit.runner.engine import Engine
from mobilekit.runner.engines import make_engine
from mobilekit.units import format_significant

EAGER = "torch eager"
CANDIDATES: dict[str, tuple[Format, Precision]] = {
    "ExecuTorch": ("pte", "fp32"),
    "ONNX Runtime": ("onnx", "fp32"),
    "LiteRT": ("tflite", "fp32"),
    "ExecuTorch int8": ("pte", "int8"),
}
ROUND_MS = 30
MIN_INFERENCES, MAX_INFERENCES = 5, 1000
FASTEST_BAR, INT8_SIZE_BAR = 1.1, 0.28
CALL_MS = 0.006
"""What one call costs more in one runtime than in another, in Python and in the runtime: a large
part of the time of networks that take some tens of microseconds."""


class Candidate(NamedTuple):
    run: Callable[[], object]
    artifact: Artifact | None


def load_candidates(spec: ModelSpec, threads: int) -> tuple[dict[str, Candidate], dict[str, str]]:
    """What can be run of a network, and why the rest cannot."""
    candidates, failures = {}, {}
    for name, (artifact_format, precision) in CANDIDATES.items():
        try:
            artifact = export_artifact(
                with_variant(spec, Variant(precision=precision)),
                artifact_format,
                cache_directory=places.artifacts_directory(),
                on_progress=lambda _: None,
            )
        except MobilekitError as error:
            failures[name] = str(error).split("\n")[0]
            continue
        program = engine_of(artifact_format, threads).load(
            places.artifacts_directory() / Path(artifact.file.path).name,
            artifact.file.method,
        )
        program.set_inputs(read_inputs(artifact))
        candidates[name] = Candidate(program.execute, artifact)
    candidates[EAGER] = Candidate(load_eager(spec, threads), None)
    return candidates, failures


@cache
def engine_of(artifact_format: Format, threads: int) -> Engine:
    """One for all programs: another ExecuTorch engine would take the threads of the first away."""
    return make_engine(artifact_format, threads)


def read_inputs(artifact: Artifact) -> list[np.ndarray]:
    directory = places.artifacts_directory()
    return [
        np.fromfile(directory / Path(tensor.path).name, tensor.dtype).reshape(tensor.shape)
        for tensor in artifact.inputs
    ]


def load_eager(spec: ModelSpec, threads: int) -> Callable[[], object]:
    import torch

    from mobilekit.model.load import load_module
    from mobilekit.model.reference import make_inputs

    torch.set_num_threads(threads)
    module, inputs = load_module(spec), make_inputs(spec)

    def run() -> None:
        with torch.no_grad():
            module(*inputs)

    return run


def median_ms(run: Callable[[], object]) -> float:
    """Of a round's inferences, after a rest and one that is not timed: the threads of the candidate
    before still spin for a while."""
    time.sleep(REST_S)
    first_ms = wall_ms(run)
    count = min(max(int(ROUND_MS / first_ms), MIN_INFERENCES), MAX_INFERENCES)
    return statistics.median(wall_ms(run) for _ in range(count))


def measure(spec: ModelSpec, rounds: int, threads: int) -> dict:
    candidates, failures = load_candidates(spec, threads)
    timers = {
        name: lambda run=candidate.run: median_ms(run) for name, candidate in candidates.items()
    }
    interleave(timers, 1)
    artifacts = {
        name: candidate.artifact
        for name, candidate in candidates.items()
        if candidate.artifact is not None
    }
    return {
        "model": spec.name,
        "rounds_ms": interleave(timers, rounds),
        "size_bytes": {name: artifact.file.size_bytes for name, artifact in artifacts.items()},
        "parameters": next((each.cost.parameters for each in artifacts.values()), None),
        "portable": {name: each.delegation.portable_text for name, each in artifacts.items()},
        "failures": failures,
    }


# --- the table ---------------------------------------------------------------------------------


def ratio(result: dict, ours: str, theirs: str) -> float | None:
    """The median over rounds."""
    times = result["rounds_ms"]
    if ours not in times or theirs not in times:
        return None
    pairs = zip(times[ours], times[theirs], strict=True)
    return statistics.median(mine / other for mine, other in pairs)


def fastest_other(result: dict) -> str | None:
    times = result["rounds_ms"]
    others = [name for name in ("ONNX Runtime", "LiteRT") if name in times]
    return min(others, key=lambda name: statistics.median(times[name]), default=None)


def ratio_to_fastest(result: dict) -> float | None:
    other = fastest_other(result)
    return None if other is None else ratio(result, "ExecuTorch", other)


def int8_share(result: dict) -> float | None:
    sizes = result["size_bytes"]
    if "ExecuTorch" not in sizes or "ExecuTorch int8" not in sizes:
        return None
    return sizes["ExecuTorch int8"] / sizes["ExecuTorch"]


def table(results: list[dict]) -> list[str]:
    names = [EAGER, *CANDIDATES]
    header = [
        "network",
        *(f"{name}, ms" for name in names),
        "ExecuTorch / eager",
        "ExecuTorch / faster of the other two",
        "int8 / fp32",
        *(f".{artifact_format}, MiB" for artifact_format in ("pte", "onnx", "tflite")),
        "int8 .pte, MiB",
        "int8 / fp32 size",
    ]
    lines = [f"| {' | '.join(header)} |", f"|---{'|--:' * (len(header) - 1)}|"]
    for result in results:
        times, sizes = result["rounds_ms"], result["size_bytes"]
        cells = [
            result["model"],
            *(
                format_significant(statistics.median(times[name])) if name in times else "-"
                for name in names
            ),
            ratio_text(ratio(result, "ExecuTorch", EAGER)),
            ratio_text(ratio_to_fastest(result)),
            ratio_text(ratio(result, "ExecuTorch int8", "ExecuTorch")),
            *(
                format_significant(sizes[name] / 2**20) if name in sizes else "-"
                for name in CANDIDATES
            ),
            ratio_text(int8_share(result)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def ratio_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def remarks(results: list[dict]) -> list[str]:
    """Why a bar was missed, as far as the artifacts themselves tell, and what was not exported."""
    lines = []
    for result in results:
        against_eager = ratio(result, "ExecuTorch", EAGER)
        against_fastest = ratio_to_fastest(result)
        if against_eager is not None and against_eager > 1:
            lines.append(f"- {result['model']} is slower than torch eager: {slow_reason(result)}.")
        if against_fastest is not None and against_fastest > FASTEST_BAR:
            lines.append(
                f"- {result['model']} is {against_fastest:.2f} x {fastest_other(result)}: "
                f"{slow_reason(result)}."
            )
        share = int8_share(result)
        if share is not None and share > INT8_SIZE_BAR:
            lines.append(
                f"- {result['model']} in int8 is {share:.3f} x fp32: {big_reason(result)}."
            )
        for name, failure in result["failures"].items():
            lines.append(f"- {result['model']}, {name}: {failure}")
    return lines


def slow_reason(result: dict) -> str:
    left = result["portable"]["ExecuTorch"]
    if left:
        return f"left on portable kernels: {left}"
    other = fastest_other(result) or EAGER
    apart_ms = statistics.median(
        mine - theirs
        for mine, theirs in zip(
            result["rounds_ms"]["ExecuTorch"], result["rounds_ms"][other], strict=True
        )
    )
    if apart_ms < CALL_MS:
        return (
            f"an inference takes {apart_ms * 1e3:.0f} us more than in {other}, which a call of the "
            "runtime costs whatever it computes"
        )
    return "every operator is XNNPACK's; `mobilekit profile` tells which of them take the time"


def big_reason(result: dict) -> str:
    rest_bytes = result["size_bytes"]["ExecuTorch int8"] - result["parameters"]
    left = result["portable"]["ExecuTorch int8"]
    text = (
        f"{rest_bytes / 1024:.0f} KiB of its {result['size_bytes']['ExecuTorch int8'] / 1024:.0f} "
        "KiB are no weights (the graph, and a scale and a bias in 32 bits for each channel)"
    )
    return f"{text}; in float: {left}" if left else text


def render(results: list[dict], rounds: int, threads: int) -> str:
    good = [result for result in results if (ratio_to_fastest(result) or 9) <= FASTEST_BAR]
    lines = [
        "## Formats",
        "",
        f"Made by `scripts/formats_bench.py` on {os.cpu_count()} processors ({this_abi()}, "
        f"{platform.system()}), Python {platform.python_version()}: {rounds} interleaved rounds, "
        f"the same inputs, threads: {threads}. Times are medians in milliseconds, ratios medians "
        "over rounds. int8 is calibrated with generated inputs, which matters neither to time nor "
        "to size.",
        "",
        *table(results),
        "",
        f"`.pte` is at most {FASTEST_BAR} x the faster of ONNX Runtime and LiteRT for {len(good)} "
        f"of {len(results)} networks.",
        "",
        *remarks(results),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all packaged ones")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="put the table between this file's markers")
    parser.add_argument("--json", type=Path, help="write every round here")
    arguments = parser.parse_args()
    specs = [find_model(name) for name in arguments.models] or list_models()
    results = []
    for spec in specs:
        print(f"{spec.name} ...", file=sys.stderr)
        results.append(measure(spec, arguments.rounds, arguments.threads))
        gc.collect()
    text = render(results, arguments.rounds, arguments.threads)
    tell_section(arguments.output, "formats", text)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
