"""Profiles networks by segments on this computer: do the segments add up to the whole?

    python scripts/segments_bench.py [--output docs/performance.md] [MODEL...]

Each network is profiled in commands of their own, with one thread: by segments in each
format, and as .pte by ExecuTorch's trace too, since there both can be had. ``--output`` replaces
the part of that file between the two markers; the table is printed in any case.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench import markdown_table, tell_section
from layers_bench import run

from mobilekit.units import format_duration

MODELS = (
    *("deep_kws", "digits", "svhn", "deepear", "all_cnn_c", "squeezenet", "mobilenet_v2"),
    *("googlenet", "resnet18"),
)
ITERATIONS = 40


def profile(model: str, artifact_format: str, store: str, *options: str) -> dict:
    arguments = ("--device", "pc", "--fast", "--threads", "1", "--format", artifact_format)
    found = run(
        *("profile", model, *arguments, "--iterations", str(ITERATIONS), *options), store=store
    )
    return found["profile"]


def row(model: str, artifact_format: str, found: dict, traced: dict | None) -> list[str]:
    plain_ns, sum_ns = found["plain_p50_ns"], found["operators_ns"] + found["outside_ns"]
    return [
        model,
        f".{artifact_format}",
        str(sum(layer["p50_ns"] is not None for layer in found["layers"])),
        format_duration(plain_ns),
        format_duration(sum_ns),
        f"{sum_ns / plain_ns - 1:+.1%}",
        f"{found['fastest_difference']:+.1%}",
        format_duration(found["outside_ns"]),
        f"{found['types'][0]['type']} {found['types'][0]['share']:.0%}",
        "-" if traced is None else f"{100 * _farthest_share(found, traced):.1f} points",
    ]


def _farthest_share(found: dict, traced: dict) -> float:
    first, second = (
        {one["type"]: one["share"] for one in each["types"]} for each in (found, traced)
    )
    return max(abs(first.get(name, 0) - second.get(name, 0)) for name in first | second)


def render(rows: list[list[str]]) -> str:
    header = [
        *("network", "format", "segments", "plain inference", "sum of segments", "difference"),
        *("of the fastest", "a call", "costliest type", "from the trace's shares"),
    ]
    lines = markdown_table(header, rows)
    return "\n".join(
        [
            "## Segments against the whole",
            "",
            "`python scripts/segments_bench.py --output docs/performance.md`: networks cut into "
            "segments by [`mobilekit profile --segments`](layers.md#by-segments), one thread, "
            f"{ITERATIONS} inferences of each segment, less a call of each and with one in all, "
            "against plain inferences in the same run. "
            "*Of the fastest* compares the sum of each segment's fastest with the fastest plain "
            "inference, which other work on the computer disturbs less. *From the trace's shares* "
            "is the largest difference of any type's share from what ExecuTorch's own trace gives "
            "for the same network.",
            "",
            *lines,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--output", type=Path, help="put the table here")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        store = f"sqlite:///{directory}/results.sqlite"
        for model in arguments.models or MODELS:
            print(f"{model} ...", file=sys.stderr)
            traced = profile(model, "pte", store, "--no-segments")
            for artifact_format, beside in (("pte", traced), ("onnx", None), ("tflite", None)):
                found = profile(model, artifact_format, store, "--segments")
                rows.append(row(model, artifact_format, found, beside))
    text = render(rows)
    tell_section(arguments.output, "segments", text)


if __name__ == "__main__":
    main()
