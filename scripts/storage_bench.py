"""Ways to make a network's file small beside each other: size, time and accuracy of one device.

    python scripts/storage_bench.py [--device D] [--output docs/compressing.md] MODEL=DIR...

For each way, the smallest step of its ladder that loses at most ``--max-loss`` points of the
labelled examples of ``DIR`` in PyTorch; an empty ``DIR`` is for those that come with the network.
That step is then exported and evaluated on the device, with one thread. int8 takes the steps of
fp32: it is calibrated with some of the examples, which no way is judged by. ``--output`` replaces
the part of that file between the two markers; the tables are printed in any case.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from bench import markdown_table, tell_section
from layers_bench import run
from torch import Tensor

from mobilekit import places
from mobilekit.contract.codec import encode
from mobilekit.model.dataset import INPUTS, LABELS
from mobilekit.model.examples import split_examples
from mobilekit.model.given import NOTHING
from mobilekit.model.load import load_module
from mobilekit.model.lowrank import find_layers
from mobilekit.model.ranks import make_ladder
from mobilekit.model.reference import make_inputs
from mobilekit.model.storage_ladders import storage_ladders
from mobilekit.model.zoo import find_model, with_variant
from mobilekit.records.network import ModelSpec, Variant
from mobilekit.results.saved import CompressedDocument
from mobilekit.units import format_bytes, format_duration


def ladders(spec: ModelSpec) -> Iterator[tuple[str, Sequence[Variant]]]:
    ranks = make_ladder(find_layers(load_module(spec), make_inputs(spec)))
    shared, cut, pruned, pruned_int8, dictionary = storage_ladders(
        ("shared", "pruned", "dictionary"), ranks
    )
    low_rank = [Variant(compression=each) for each in ranks]
    yield "fp32", [Variant()]
    yield "fp16", [Variant(precision="fp16")]
    yield "int8", [Variant(precision="int8")]
    yield "low rank", low_rank
    yield "low rank, int8", [Variant(precision="int8", compression=each) for each in ranks]
    yield "shared values", shared
    yield "low rank, shared values", cut
    yield "pruned", pruned
    yield "pruned, int8", pruned_int8
    yield "dictionary", dictionary


def right(spec: ModelSpec, variant: Variant, inputs: Tensor, labels: Tensor) -> int:
    """In PyTorch, where every program computes in fp32."""
    network = load_module(with_variant(spec, variant))
    with torch.no_grad():
        outputs = torch.cat([network(each[None]) for each in inputs])
    return int((outputs.argmax(1) == labels).sum())


def smallest(
    spec: ModelSpec, ladder: Iterable[Variant], inputs: Tensor, labels: Tensor, least: float
) -> Variant | None:
    """The last step before the first that loses too much; ``None`` where that is the first."""
    found = None
    for variant in ladder:
        if right(spec, variant, inputs, labels) < least:
            break
        found = variant
    return found


def measure(model: str, variant: Variant, device: str, data: Path, calibration: Path) -> dict:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "variant.json"
        document = CompressedDocument(
            model=model,
            precision=variant.precision,
            compression=variant.compression,
            storage=variant.storage,
        )
        file.write_bytes(encode(document))
        options = ["--device", device, "--threads", "1", "--data", str(data), "--format", "pte"]
        if variant.precision == "int8":
            options += ["--calibration", str(calibration)]
        # Precisions have an option, and no file.
        if variant.compression is None and variant.storage is None:
            options += ["--precision", variant.precision]
        else:
            options += ["--compressed", str(file)]
        store = f"sqlite:///{directory}/results.sqlite"
        return run("evaluate", model, *options, store=store)


def row(name: str, variant: Variant, found: dict, whole: dict) -> list[str]:
    artifact, answer = found["measurement"]["artifact"], found["answer"]
    size_bytes = artifact["file"]["size_bytes"]
    share = size_bytes / whole["measurement"]["artifact"]["file"]["size_bytes"]
    accuracy = answer["accuracy"]["device"]["top1"]
    step = variant.storage.text if variant.storage else ""
    if variant.compression is not None:
        ranks = ", ".join(str(each.rank) for each in variant.compression.ranks)
        step = "; ".join(filter(None, (f"ranks {ranks}", step)))
    return [
        name,
        step or "-",
        format_bytes(size_bytes),
        f"{share:.3f}",
        format_duration(answer["init"]["p50_ns"]),
        format_duration(answer["latency"]["p50_ns"]),
        f"{accuracy['count']} of {answer['accuracy']['examples']}: {accuracy['share']:.1%} "
        f"[{accuracy['interval']['low']:.1%}, {accuracy['interval']['high']:.1%}]",
    ]


def table(model: str, data: Path | None, device: str, max_loss: float) -> str:
    spec = find_model(model, NOTHING)
    calibration, evaluated = split_examples(
        spec, data, cache_directory=places.artifacts_directory()
    )
    inputs = torch.from_numpy(np.load(evaluated / INPUTS))
    labels = torch.from_numpy(np.load(evaluated / LABELS))
    before = right(spec, Variant(), inputs, labels)
    least = before - max_loss / 100 * len(labels)
    whole, rows = None, []
    for name, ladder in ladders(spec):
        variant = smallest(spec, ladder, inputs, labels, least)
        if variant is None:
            rows.append([name, "none loses so little", *["-"] * 5])
            continue
        print(f"{model}: {name}, {variant.text} ...", file=sys.stderr)
        found = measure(model, variant, device, evaluated, calibration)
        whole = whole or found
        rows.append(row(name, variant, found, whole))
        print(" | ".join(rows[-1]), file=sys.stderr)
    header = ["way", "step", "file", "of fp32", "init", "latency", "right, with 95 % interval"]
    return "\n".join([f"### {model}", "", *markdown_table(header, rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="+", metavar="MODEL=DIR")
    parser.add_argument("--device", default="pc")
    parser.add_argument("--max-loss", type=float, default=1.0, help="points, in PyTorch")
    parser.add_argument("--output", type=Path, help="put the tables here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tables = []
    for each in arguments.networks:
        model, _, data = each.partition("=")
        where = Path(data) if data else None
        tables.append(table(model, where, arguments.device, arguments.max_loss))
    text = "\n\n".join(tables)
    tell_section(arguments.output, "storage", f"{text}\n")


if __name__ == "__main__":
    main()
