"""Takes every packaged network apart, on this computer and on the virtual phone: does the sum of
its layers give the whole?

    python scripts/layers_bench.py [--output docs/performance.md] [MODEL...]

Each network is described, and compared by ``mobilekit compare`` with one thread in both formats
whose engines trace their operators, which profiles it on both devices. ``--output`` replaces the
part of that file between the two markers; the table is printed in any case. A network whose
described layers do not add up to its parameters and multiply-accumulates ends the script.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import markdown_table, tell_section

from mobilekit.analysis.layers.profile import RECONCILED_WITHIN
from mobilekit.model.zoo import list_models
from mobilekit.units import format_duration

FORMATS = ("pte", "onnx")
PHONE = "nexus7"


def run(*arguments: str, store: str) -> dict:
    """What a command of mobilekit prints as JSON."""
    command = [sys.executable, "-m", "mobilekit", *arguments, "--json"]
    environment = {**os.environ, "MOBILEKIT_STORE": store}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command[1:])}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def check_description(model: str, store: str) -> None:
    description = run("describe", model, store=store)["description"]
    layers, cost = description["layers"], description["cost"]
    parameters = sum(layer["parameters"] for layer in layers) + description["unused_parameters"]
    macs = sum(layer["macs"] for layer in layers)
    if (parameters, macs) != (cost["parameters"], cost["macs"]):
        sys.exit(f"{model}: its layers have {parameters} parameters and {macs} MACs, not {cost}")


def profile_pair(model: str, artifact_format: str, store: str) -> dict[str, dict]:
    """The profiles of the phone and of the computer in one comparison."""
    arguments = ("--device", PHONE, "--against", "pc", "--fast", "--threads", "1")
    compared = run("compare", model, *arguments, "--format", artifact_format, store=store)
    (comparison,) = compared["comparisons"]
    return {
        name: run("results", "profile", comparison[side]["profile"]["id"], store=store)["profile"]
        for name, side in (("pc", "against"), (PHONE, "device"))
    }


def row(model: str, artifact_format: str, device: str, found: dict) -> list[str]:
    sum_ns = found["operators_ns"] + found["outside_ns"]
    plain_ns = found["plain_p50_ns"]
    costliest = found["types"][0]
    unresolved = sum(layer["fate"] == "unresolved" for layer in found["layers"])
    return [
        model,
        f".{artifact_format}",
        device,
        found["by"],
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
        *("network", "format", "device", "by", "layers", "unresolved", "plain inference"),
        *("sum of layers and rest", "difference", "of the fastest", "costliest type"),
    ]
    lines = markdown_table(header, rows)
    within = [cells for cells in rows if any(is_within(cell) for cell in cells[8:10])]
    return "\n".join(
        [
            "## Layers against the whole",
            "",
            "`python scripts/layers_bench.py --output docs/performance.md`: each network's layers "
            f"by [`mobilekit compare`](compare.md) on this computer and on a virtual {PHONE}, one "
            "thread, against plain inferences in the same run. *Of the fastest* compares the "
            "fastest traced inference, or the sum of each segment's fastest, with the fastest "
            "plain one, which other work on the computer disturbs less. Tracing costs some "
            "microseconds for each operator: where that was too much, the layers were measured "
            "[by segments](layers.md#by-segments).",
            "",
            *lines,
            "",
            f"{len(within)} of {len(rows)} sums are within {RECONCILED_WITHIN:.0%} of the plain "
            "inference, by the median or by the fastest.",
        ]
    )


def is_within(difference: str) -> bool:
    return abs(float(difference.rstrip("%"))) <= 100 * RECONCILED_WITHIN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--output", type=Path, help="put the table here")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        store = f"sqlite:///{directory}/results.sqlite"
        for model in arguments.models or [spec.name for spec in list_models()]:
            check_description(model, store)
            for artifact_format in FORMATS:
                print(f"{model} .{artifact_format} ...", file=sys.stderr)
                profiles = profile_pair(model, artifact_format, store)
                rows += [row(model, artifact_format, *item) for item in profiles.items()]
    text = render(rows)
    tell_section(arguments.output, "layers", text)


if __name__ == "__main__":
    main()
