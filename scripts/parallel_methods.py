"""Networks that wait for nothing of each other, as methods of one program: are they faster at once?

    python scripts/parallel_methods.py [--output docs/partitioning.md]

DeepEar's three networks, and the four branches of the first inception module of each of GoogLeNet's
three stages, exported to XNNPACK as methods of one `.pte`. The phone's own library (``make
native``) calls them after one another and each in a thread of its own, in rounds that take turns,
with one thread of the engine and with two; in turn with them the whole network or module as one
method. The least of the rounds counts: other work only ever adds to it. ``--output`` replaces the
part of that file between the two markers; the table is printed in any case.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from bench import markdown_table, tell_section
from torch import Tensor, nn

from mobilekit import places
from mobilekit.model.given import NOTHING
from mobilekit.model.load import load_module
from mobilekit.model.quiet import quiet_python
from mobilekit.model.reference import make_inputs
from mobilekit.model.zoo import find_model
from mobilekit.runner.abi import this_abi
from mobilekit.units import format_duration
from mobilekit.virtual.companion_settings import MAIN_CLASS, check_companion, native_java

SOURCE = Path(__file__).with_name("ParallelMethods.java")
ROUNDS = 11
ROUND_NS = 20_000_000
"""Of calls in each round, about."""
BRANCHES = ("branch1", "branch3", "branch5", "branch_pool")


class Part(NamedTuple):
    method: str
    module: nn.Module
    inputs: tuple[Tensor, ...]


class Timing(NamedTuple):
    whole_ns: float
    after_one_another_ns: float
    at_once_ns: float
    error: float


def groups() -> Iterator[tuple[str, Part, tuple[Part, ...]]]:
    """By name what computes all in one method, and its parts."""
    spec = find_model("deepear", NOTHING)
    module = load_module(spec)
    summary, energies = make_inputs(spec)
    yield (
        "deepear",
        Part("whole", module, (summary, energies)),
        (
            Part("emotion", module.emotion, (summary,)),
            Part("speaker", module.speaker, (energies,)),
            Part("ambient", module.ambient, (energies,)),
        ),
    )
    spec = find_model("googlenet", NOTHING)
    (value,) = make_inputs(spec)
    names = iter(("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"))
    for layer in load_module(spec):
        name = next(names) if all(hasattr(layer, each) for each in BRANCHES) else ""
        if name.endswith("a"):
            parts = tuple(Part(each, getattr(layer, each), (value,)) for each in BRANCHES)
            yield f"googlenet, {name}", Part("whole", layer, (value,)), parts
        with torch.no_grad():
            value = layer(value)


def export(parts: tuple[Part, ...], target: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    with quiet_python(), torch.no_grad():
        programs = {
            each.method: torch.export.export(each.module, each.inputs, strict=False)
            for each in parts
        }
        partitioners = {each.method: [XnnpackPartitioner()] for each in parts}
        made = to_edge_transform_and_lower(programs, partitioner=partitioners)
        target.write_bytes(made.to_executorch().buffer)


def time_methods(parts: tuple[Part, ...], *, threads: int) -> Timing:
    """Of the first, and of the others; the least of the rounds, of one call of all."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        export(parts, directory / "parts.pte")
        words: list[str] = []
        for each in parts:
            with torch.no_grad():
                outputs = each.module(*each.inputs)
            every = outputs if isinstance(outputs, tuple) else (outputs,)
            tensors = {
                **{f"{each.method}.{place}": one for place, one in enumerate(each.inputs)},
                f"{each.method}.expected": torch.cat([one.flatten() for one in every]),
            }
            for file, tensor in tensors.items():
                (directory / file).write_bytes(tensor.contiguous().numpy().tobytes())
            *inputs, expected = (str(directory / file) for file in tensors)
            shapes = ("x".join(map(str, one.shape)) for one in each.inputs)
            words += [each.method, ",".join(shapes), ",".join(inputs), expected]
        first = run_java(directory, [str(threads), "1", "3", *words])
        calls = max(3, int(ROUND_NS / max(first.whole_ns, 1)))
        return run_java(directory, [str(threads), str(ROUNDS), str(calls), *words])


def run_java(directory: Path, words: list[str]) -> Timing:
    libraries = places.built_native_libraries(this_abi())
    command = native_java(libraries, directory / "crash.log")
    command[command.index(MAIN_CLASS)] = str(SOURCE)
    done = subprocess.run(
        [*command, str(directory / "parts.pte"), *words], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    *rounds, error = done.stdout.split("\n")[:-1]
    pairs = [tuple(map(float, line.split())) for line in rounds]
    return Timing(*map(min, zip(*pairs, strict=True)), float(error))


def rows(name: str, whole: Part, parts: tuple[Part, ...]) -> Iterator[list[str]]:
    for threads in (1, 2):
        print(f"{name}, {threads} ...", file=sys.stderr)
        found = time_methods((whole, *parts), threads=threads)
        yield [
            name,
            str(threads),
            format_duration(found.whole_ns),
            format_duration(found.after_one_another_ns),
            format_duration(found.at_once_ns),
            f"{found.at_once_ns / found.whole_ns:.2f}",
            f"{found.error:.1g}",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="put the table here")
    arguments = parser.parse_args()
    check_companion("native")
    header = (
        *("network", "threads of the engine", "one method", "methods in turn", "methods at once"),
        *("at once to one method", "error"),
    )
    found = [row for each in groups() for row in rows(*each)]
    text = "\n".join(markdown_table(header, found))
    tell_section(arguments.output, "parallel", f"{text}\n")


if __name__ == "__main__":
    main()
