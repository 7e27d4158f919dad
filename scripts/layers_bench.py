"""Profiles every packaged network on this computer: do its layers add up to the whole?

    python scripts/layers_bench.py [--output docs/performance.md] [MODEL...]

Each network is profiled in a command of its own, with one thread, in both formats whose engines
trace their operators. ``--output`` replaces the part of that file between the two markers; the
table is printed in any case.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from bench import put_section

from mobilekit.model.zoo import list_models
from mobilekit.units import format_duration

FORMATS = ("pte", "onnx")
ITERATIONS = 40
BAR = 0.1
"""How far the layers' sum may lie off the whole, relative to it."""


def profile(model: str, artifact_format: str) -> dict:
    """The profile of ``mobilekit profile --json``."""
    command = [
        *(sys.executable, "-m", "mobilekit", "profile", model, "--device", "pc", "--fast"),
        *("--threads", "1", "--format", artifact_format, "--json"),
        *("--iterations", str(ITERATIONS)),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[1:])}: {done.stderr.strip()}")
    return json.loads(done.stdout)["profile"]


def row(model: str, artifact_format: str, found: dict) -> list[str]:
    sum_ns = found["operators_ns"] + found["outside_ns"]
    plain_ns = found["plain_p50_ns"]
    costliest = found["types"][0]
    unresolved = sum(layer["fate"] == "unresolved" for layer in found["layers"])
    return [
        model,
        f".{artifact_format}",
        str(len(found["layers"])),
        str(unresolved),
        format_duration(plain_ns),
        format_duration(sum_ns),
        f"{sum_ns / plain_ns - 1:+.1%}",
        f"{found['fastest_difference']:+.1%}",
        f"{costliest['type']} {costliest['share']:.0%}",
    ]


def render(rows: list[list[str]]) -> str:
    header = [
        *("network", "format", "layers", "unresolved", "plain inference", "sum of layers and rest"),
        *("difference", "of the fastest", "costliest type"),
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    within = sum(abs(float(cells[6].rstrip("%"))) <= 100 * BAR for cells in rows)
    return "\n".join(
        [
            "## Layers against the whole",
            "",
            "`python scripts/layers_bench.py --output docs/performance.md`: each network's layers "
            f"by [`mobilekit profile`](layers.md), one thread, {ITERATIONS} traced inferences, "
            "against plain inferences in the same run. *Of the fastest* compares the fastest "
            "traced inference with the fastest plain one, which other work on the computer "
            "disturbs less. Tracing costs some microseconds for each operator, which small "
            "networks feel.",
            "",
            *lines,
            "",
            f"{within} of {len(rows)} sums are within {BAR:.0%} of the plain inference.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--output", type=Path, help="put the table here")
    arguments = parser.parse_args()
    rows = []
    for model in arguments.models or [spec.name for spec in list_models()]:
        for artifact_format in FORMATS:
            print(f"{model} .{artifact_format} ...", file=sys.stderr)
            rows.append(row(model, artifact_format, profile(model, artifact_format)))
    text = render(rows)
    print(text)
    if arguments.output:
        put_section(arguments.output, "layers", text)


if __name__ == "__main__":
    main()
