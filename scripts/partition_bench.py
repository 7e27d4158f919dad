"""Plans networks over the backends of a device: does a plan beat every single backend?

    python scripts/partition_bench.py --device D [--output docs/partitioning.md] [MODEL...]

Each network is partitioned by a command of its own, with one thread and with two; a virtual phone
with the app's libraries (``virtual start pixel6a --companion native``) has Vulkan in software.
``--output`` replaces the part of that file between the two markers; the table is printed in any
case.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench import markdown_table, tell_section
from layers_bench import run

from mobilekit.units import format_duration

MODELS = ("digits", "deep_kws_digits", "deep_kws", "deepear", "svhn")


def row(model: str, found: dict) -> list[str]:
    plan = found["plans"][found["best"]]
    ours = next((each for each in found["trial"] if each["name"] == "plan"), None)
    others = [
        f"{each['name']} x {each['threads']} {format_duration(each['p50_ns'])}"
        for each in found["trial"]
        if each is not ours
    ]
    return [
        model,
        str(len(found["chart"]["segments"])),
        str(sum(backend != "xnnpack" for backend in plan["assignment"])),
        str(plan["threads"]),
        f"{plan['best_single']} {format_duration(plan['best_single_ns'])}",
        format_duration(plan["predicted_ns"]),
        format_duration(ours["p50_ns"]) if ours else "not tried",
        ", ".join(others),
        "yes" if found["adopted"] else "no",
        f"{found['check']['max_relative_error']:.1g}" if found["check"] else "-",
    ]


def render(rows: list[list[str]], device: str) -> str:
    header = [
        *("network", "segments", "of them moved", "threads", "best single backend"),
        *("plan predicted", "plan in the trial", "single backends in the trial"),
        *("adopted", "error"),
    ]
    lines = markdown_table(header, rows)
    return "\n".join(
        [
            "## Plans of several networks",
            "",
            f"`python scripts/partition_bench.py --device {device} --output docs/partitioning.md`: "
            "planned with one thread and with two; *threads* are those of the plan that was "
            "predicted to be faster, and `x 2` a single backend with two. *Best single backend* "
            "and *plan predicted* are of the planner's own measure, the least of three rounds; the "
            "trial's are medians of five rounds. Where nothing was tried, the single backends' are "
            "of the three rounds. *Error* is that of the plan's outputs against PyTorch's.",
            "",
            *lines,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--device", required=True)
    parser.add_argument("--output", type=Path, help="put the table here")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        store = f"sqlite:///{directory}/results.sqlite"
        for model in arguments.models or MODELS:
            print(f"{model} ...", file=sys.stderr)
            options = ("--device", arguments.device, "--no-energy")
            rows.append(row(model, run("partition", model, *options, store=store)["partition"]))
            print(" | ".join(rows[-1]), file=sys.stderr)
    text = render(rows, arguments.device)
    tell_section(arguments.output, "plans", text)


if __name__ == "__main__":
    main()
