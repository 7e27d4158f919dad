"""Exporting to LiteRT's format: what differs from the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ai_edge_litert.interpreter import Interpreter
from model_files import Export, Known, WriteModel

from mobilekit.errors import ExportError
from mobilekit.formats import FORMATS
from mobilekit.model.zoo import read_spec
from mobilekit.records.artifact import Artifact

NETWORK = """
import torch
from torch import nn

INPUT_SHAPES = ((1, 3, 8, 8),)


def build():
    return Net()


class Net(nn.Module):
    def forward(self, x):
        return {body}
"""


def open_file(artifact: Artifact, directory: Path) -> Interpreter:
    interpreter = Interpreter(str(directory / "cache" / Path(artifact.file.path).name))
    interpreter.allocate_tensors()
    return interpreter


def shapes_and_types(details: list[dict[str, object]]) -> list[tuple[list[int], str]]:
    return [(each["shape"].tolist(), each["dtype"].__name__) for each in details]


def test_the_same_network_runs_in_both_formats(
    write_model: WriteModel, export: Export, known: Known, tmp_path: Path
) -> None:
    """The same bytes go in, in PyTorch's layout, and the same reference is compared with."""
    spec = read_spec(write_model())

    made, messages = export(spec, "tflite")
    other = known(spec, "pte")

    assert (made.file.format, made.backend) == ("tflite", "litert")
    assert (made.inputs, made.reference_outputs) == (other.inputs, other.reference_outputs)
    assert set(made.tool_versions) == {
        "torch",
        "torchvision",
        "litert_torch",
        "ai_edge_litert",
        "mobilekit",
    }
    assert "Checking its outputs in LiteRT" in messages
    assert export(spec, "tflite") == (made, [])
    details = open_file(made, tmp_path).get_input_details()
    assert shapes_and_types(details) == [([1, 3, 8, 8], "float32")]


def test_every_operator_is_the_engines_own(write_model: WriteModel, export: Export) -> None:
    """The file's operators are counted, and none of them is left to anybody else."""
    artifact, _ = export(read_spec(write_model()), "tflite")

    # Conv with its ReLU between two transpositions, Reshape, FullyConnected.
    assert artifact.delegation.delegated_operators == 5
    assert artifact.delegation.operator_fraction == artifact.delegation.mac_fraction == 1.0


def test_inputs_and_outputs_keep_their_order_and_types(
    write_model: WriteModel, export: Export, tmp_path: Path
) -> None:
    """Also beyond ten inputs, where names sort otherwise, with 64-bit integers and one unused."""
    types = (*["float32"] * 10, "int64", "float32", "bool")
    names = ", ".join(f"x{index}" for index in range(12))
    body = "{'z': x0 - 2 * x11 + 3 * x2, 'a': (x10 * 2, flag, x1.argmax(1))}"
    source = NETWORK.format(body=body).replace("self, x", f"self, {names}, flag")
    shapes = f"{((1, 4),) * 13}\nINPUT_DTYPES = {types}"
    source = source.replace("((1, 3, 8, 8),)", shapes)
    artifact, _ = export(read_spec(write_model(source)), "tflite")

    interpreter = open_file(artifact, tmp_path)
    inputs = shapes_and_types(interpreter.get_input_details())
    assert inputs == [([1, 4], name) for name in types]
    outputs = shapes_and_types(interpreter.get_output_details())
    assert outputs == [
        ([1, 4], "float32"),
        ([1, 4], "int64"),
        ([1, 4], "bool"),
        ([1], "int64"),
    ]
    assert [tensor.dtype for tensor in artifact.reference_outputs] == [each[1] for each in outputs]


def test_an_operator_that_litert_lacks_is_named(write_model: WriteModel, export: Export) -> None:
    """The refusal holds the operator."""
    path = write_model(NETWORK.format(body="torch.special.bessel_j0(x)"))

    with pytest.raises(ExportError, match=r"cannot be converted to LiteRT's.*bessel_j0"):
        export(read_spec(path), "tflite")


@pytest.mark.soak
def test_an_export_is_silent(write_model: WriteModel, tmp_path: Path) -> None:
    """In no format does what exports or what checks write to the terminal, not even while it is
    imported, and no variable stays set."""
    code = f"""
import os
from pathlib import Path
from mobilekit.model.export import export_artifact
from mobilekit.model.zoo import read_spec
before = dict(os.environ)
spec, cache = read_spec(Path({str(write_model())!r})), Path({str(tmp_path / "cache")!r})
for format in {tuple(FORMATS)!r}:
    export_artifact(spec, format, cache_directory=cache, on_progress=len)
assert {{**os.environ, **before}} == dict(os.environ)
assert not {{"TF_CPP_MIN_LOG_LEVEL", "LITERT_TORCH_SHOW_PROGRESS"}} & set(os.environ)
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("TF_")},
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
