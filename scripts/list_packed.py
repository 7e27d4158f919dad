"""Write mobilekit/model/packed.toml: what the native libraries that the app packs can run.

    python scripts/list_packed.py [--check]

Asks the libraries themselves, on this computer, through their own Java classes (`make native`
builds what that takes, and there is a JDK 17 for it): ExecuTorch's tells its kernels and delegates;
LiteRT's is given empty models that name one operator in one version each, and says which it has
not. So is ExecuTorch's Vulkan, whose process ends of an operator that it has not: it is asked of
one at a time, in ten minutes, and wants a Vulkan of this computer. ``--check`` writes nothing, and
fails where the file says something else.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import flatbuffers
import torch
from ai_edge_litert import schema_py_generated as schema
from executorch.backends.vulkan import vulkan_preprocess
from executorch.backends.vulkan.op_registry import vulkan_supported_ops
from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.exir.dialects.edge._ops import EdgeOpOverload
from torch import nn

from mobilekit import places
from mobilekit.runner.abi import this_abi
from mobilekit.virtual.companion_settings import native_java
from mobilekit.virtual.gpus import find_gpus

PACKED = Path(__file__).parents[1] / "mobilekit/model/packed.toml"
NEWEST_VERSION = 16
"""No operator is asked for in a newer one; an answer of this one means that it is too low."""

PROBE = """
import java.io.File;
import java.util.Arrays;
import org.pytorch.executorch.ExecuTorchRuntime;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.TensorFlowLite;

class Probe {
    public static void main(String[] arguments) {
        tell("litert", TensorFlowLite.runtimeVersion());
        ExecuTorchRuntime.getRuntime();
        for (String name : ExecuTorchRuntime.getRegisteredBackends()) tell("delegate", name);
        for (String name : ExecuTorchRuntime.getRegisteredOps()) tell("kernel", name);
        File[] models = new File(arguments[0]).listFiles((in, name) -> name.endsWith(".tflite"));
        Arrays.sort(models);
        for (File model : models) {
            try {
                new Interpreter(model).close();
                tell("model", model.getName());
            } catch (IllegalArgumentException error) {
                // It has not got the operator, or not in this version.
            }
        }
        System.out.flush();
        Runtime.getRuntime().halt(0);  // fbjni leaves a thread that would keep it alive.
    }

    static void tell(String what, String name) {
        System.out.println(what + " " + name);
    }
}
"""


LOAD = """
import org.pytorch.executorch.Module;

class Load {
    public static void main(String[] arguments) {
        try {
            Module.load(arguments[0], Module.LOAD_MODE_MMAP, 1).loadMethod("forward");
        } catch (Exception error) {
            System.out.println(error);
        }
        System.out.flush();
        Runtime.getRuntime().halt(0);  // fbjni leaves a thread that would keep it alive.
    }
}
"""
MISSING = "Missing operator: "


class Listed(NamedTuple):
    """What the libraries have."""

    delegates: tuple[str, ...]
    kernels: tuple[str, ...]
    litert_version: str
    operators: tuple[tuple[int, str, int], ...]
    """The schema's number and name, and the newest version that it takes; 0: none."""
    gaps: tuple[str, ...]
    """Operators that do not take each version up to their newest."""


def ask_libraries() -> Listed:
    """Raises ``RuntimeError`` where they cannot be asked."""
    names = {
        number: name
        for name, number in vars(schema.BuiltinOperator).items()
        if isinstance(number, int) and name.isupper()
    }
    with tempfile.TemporaryDirectory(prefix="mobilekit-") as scratch:
        directory = Path(scratch)
        for number in names:
            for version in range(1, NEWEST_VERSION + 1):
                path = directory / f"{number:04}-{version:02}.tflite"
                path.write_bytes(_empty_model(number, version))
        told = _run_probe(directory)
    has: dict[int, list[int]] = {number: [] for number in names}
    for model in told["model"]:
        number, version = map(int, Path(model).stem.split("-"))
        has[number].append(version)
    if any(NEWEST_VERSION in versions for versions in has.values()):
        raise RuntimeError("NEWEST_VERSION is too low")
    operators = tuple(
        (number, names[number], max(versions, default=0)) for number, versions in has.items()
    )
    return Listed(
        delegates=tuple(sorted(told["delegate"])),
        kernels=tuple(sorted(told["kernel"])),
        litert_version=told["litert"][0],
        operators=tuple(sorted(operators)),
        gaps=tuple(
            names[number]
            for number, versions in sorted(has.items())
            if versions and versions != list(range(1, max(versions) + 1))
        ),
    )


def operators_for_vulkan() -> list[str]:
    """The names of those that the exporter gives it."""
    return sorted(
        {each.__name__ for each in vulkan_supported_ops if isinstance(each, EdgeOpOverload)}
    )


def ask_vulkan(names: Iterable[str]) -> Iterator[str]:
    """Those operators of these names that the library's Vulkan has, each in some seconds.

    Raises ``RuntimeError`` where it cannot be asked.
    """
    if not find_gpus():
        raise RuntimeError("This computer has no Vulkan: apt-get install mesa-vulkan-drivers")
    with tempfile.TemporaryDirectory(prefix="mobilekit-") as scratch:
        directory = Path(scratch)
        source, program = directory / "Load.java", directory / "program.pte"
        source.write_text(LOAD, encoding="utf-8")
        for name in names:
            program.write_bytes(_vulkan_program(name))
            done = _run_java(source, program, directory)
            said = done.stdout + done.stderr
            if f"{MISSING}{name}" not in said:
                yield name


def _vulkan_program(operator: str) -> bytes:
    """A program whose one call of Vulkan's is of that name: looked for before its arguments are
    looked at."""
    serialize = vulkan_preprocess.serialize_vulkan_graph

    def serialize_renamed(graph: Any, *more: Any) -> bytes:
        graph.chain[:] = [replace(graph.chain[0], name=operator)]
        return bytes(serialize(graph, *more))

    exported = torch.export.export(nn.ReLU(), (torch.ones(1, 4),))
    with mock.patch.object(vulkan_preprocess, "serialize_vulkan_graph", serialize_renamed):
        edge = to_edge_transform_and_lower(exported, partitioner=[VulkanPartitioner()])
    return bytes(edge.to_executorch().buffer)


def _run_java(source: Path, argument: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    libraries = places.built_native_libraries(this_abi())
    *java, _main_class = native_java(libraries, directory / "crash.log")
    return subprocess.run(
        [*java, source, argument], capture_output=True, text=True, cwd=directory, timeout=60
    )


def _empty_model(number: int, version: int) -> bytes:
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
    code.version = version
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [], [], [], []
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _run_probe(directory: Path) -> dict[str, list[str]]:
    """What it says, by the first word of each line; of the models, those that load."""
    source = directory / "Probe.java"
    source.write_text(PROBE, encoding="utf-8")
    done = _run_java(source, directory, directory)
    if done.returncode:
        raise RuntimeError(f"The libraries cannot be asked (`make native`): {done.stderr}")
    told: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        told.setdefault(word, []).append(rest)
    return told


def render(listed: Listed, vulkan: Iterable[str]) -> str:
    but = f", but not each of {' and '.join(listed.gaps)}" if listed.gaps else ""
    lines = [
        "# What the native libraries that the companion app packs can run (android-app/README.md,",
        '# "Engines"), asked of each library itself: scripts/list_packed.py.',
        "",
        "[pte]",
        "# ExecuTorchRuntime's getRegisteredOps() and getRegisteredBackends().",
        f"delegates = [{', '.join(map(_quoted, listed.delegates))}]",
        "# Of the operators that the exporter gives to Vulkan, those that Vulkan there has.",
        "vulkan = [",
        *(f"    {_quoted(name)}," for name in vulkan),
        "]",
        "kernels = [",
        *(f"    {_quoted(name)}," for name in listed.kernels),
        "]",
        "",
        "[tflite]",
        f"# Of LiteRT {listed.litert_version}: the schema's number, name, and the newest version",
        f"# that it takes; 0: none. Older versions it takes too{but}.",
        "operators = [",
        *(
            f"    [{number}, {_quoted(name)}, {newest}],"
            for number, name, newest in listed.operators
        ),
        "]",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return f'"{text}"'


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    check = parser.parse_args().check
    made = render(ask_libraries(), ask_vulkan(operators_for_vulkan()))
    if not check:
        PACKED.write_text(made, encoding="utf-8")
    elif PACKED.read_text(encoding="utf-8") != made:
        sys.exit(f"{PACKED} is not what the libraries say: run this script without --check")
