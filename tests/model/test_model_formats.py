"""Exporting to the formats besides ExecuTorch's: what holds for each of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from model_files import Export, WriteModel
from torch import Tensor

from mobilekit.errors import ExportError
from mobilekit.model import onnx, tflite
from mobilekit.model.zoo import read_spec

NETWORK = """
from torch import nn

INPUT_SHAPES = ((1, 3, 8, 8),)


def build():
    return Net()


class Net(nn.Module):
    def forward(self, x):
        return x * 2
"""
PROGRAMS = [("onnx", onnx.Program, "ONNX Runtime"), ("tflite", tflite.Program, "LiteRT")]


@pytest.mark.parametrize("artifact_format", ["onnx", "tflite"])
def test_equal_networks_give_equal_files(
    write_model: WriteModel, export: Export, artifact_format
) -> None:
    """No path of this computer gets into the file, which is named by its content."""
    one, _ = export(read_spec(write_model(NETWORK)), artifact_format)
    source = NETWORK.replace("x * 2", "x *  2")
    other, _ = export(read_spec(write_model(source, "b/small.py")), artifact_format)

    assert one.model.content_sha256 != other.model.content_sha256
    assert one.file == other.file


@pytest.mark.parametrize(
    ("artifact_format", "package"), [("onnx", "onnxscript"), ("tflite", "litert_torch")]
)
def test_missing_packages_are_named_with_their_extra(
    write_model: WriteModel,
    export: Export,
    monkeypatch: pytest.MonkeyPatch,
    artifact_format,
    package,
) -> None:
    """What brings them is said before any work is done."""
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(
        ExportError, match=rf"pip install 'mobilekit\[{artifact_format}\]'"
    ) as caught:
        export(read_spec(write_model()), artifact_format)

    assert caught.value.facts["missing"] == package


@pytest.mark.parametrize(("artifact_format", "program", "runtime"), PROGRAMS)
def test_a_file_that_computes_something_else_is_refused(
    write_model: WriteModel,
    export: Export,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    artifact_format,
    program,
    runtime,
) -> None:
    """The check is the same as for ExecuTorch's format, and nothing is left in the cache."""

    def wrong_runtime(*_: object) -> tuple[Tensor, ...]:
        return (torch.zeros(1, 5),)

    monkeypatch.setattr(program, "run_once", wrong_runtime)

    with pytest.raises(ExportError, match=f"does not compute what PyTorch does.*{runtime}"):
        export(read_spec(write_model()), artifact_format)

    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(("artifact_format", "program", "runtime"), PROGRAMS)
def test_what_the_runtime_refuses_is_told(
    write_model: WriteModel,
    export: Export,
    monkeypatch: pytest.MonkeyPatch,
    artifact_format,
    program,
    runtime,
) -> None:
    """The runtime's own words reach the user."""
    monkeypatch.setattr(program, "write", lambda _, path: path.write_bytes(b"nonsense"))

    with pytest.raises(ExportError, match=rf"{runtime} cannot run small: \w*(Protobuf|Error)"):
        export(read_spec(write_model()), artifact_format)
