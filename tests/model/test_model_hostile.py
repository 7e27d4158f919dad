"""Files that are meant to harm whoever reads them: small ones that inflate, nest or declare without
end."""

from __future__ import annotations

import io
import json
import resource
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from model_files import SMALL, WriteModel
from onnx import TensorProto, helper
from torch import nn

from mobilekit.errors import ModelFileError, WeightsError
from mobilekit.model.checkpoint import find_files
from mobilekit.model.given import Given, InputKind
from mobilekit.model.load import load_module
from mobilekit.model.weights_file import read_content
from mobilekit.model.zoo import find_model, read_spec

BOMB_BYTES = 2**28


@pytest.fixture
def pt2(tmp_path: Path) -> Path:
    path = tmp_path / "network.pt2"
    network = nn.Sequential(nn.Flatten(), nn.Linear(8, 4)).eval()
    torch.export.save(torch.export.export(network, (torch.zeros(1, 8),)), path)
    return path


@pytest.fixture(autouse=True)
def peak() -> Iterator[None]:
    """No test takes the memory that a bomb would need."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < BOMB_BYTES // 1024


def with_bomb(path: Path, ending: str, filler: bytes) -> None:
    """The archive with one file of it in 256 MiB, deflated."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            if not name.endswith(ending):
                made.writestr(name, content)
                continue
            with made.open(name, "w") as file:
                for _ in range(BOMB_BYTES // 2**20):
                    file.write(filler * (2**20 // len(filler)))
    assert path.stat().st_size < BOMB_BYTES // 100


@pytest.mark.parametrize("ending", ["models/model.json", "model_weights_config.json"])
def test_json_that_inflates(pt2: Path, ending: str) -> None:
    """It is refused by the length that it is said to have, and no byte of it is inflated."""
    with_bomb(pt2, ending, b"[],\n")

    with pytest.raises(ModelFileError, match="268,435,456 bytes where"):
        load_module(find_model(str(pt2)))


def test_a_weight_that_inflates(pt2: Path) -> None:
    """A tensor of 128 bytes takes no file of 256 MiB."""
    spec = find_model(str(pt2))
    with_bomb(pt2, "weights/weight_0", bytes(64))

    with pytest.raises(ModelFileError, match="weight_0 has 268,435,456 bytes where"):
        load_module(spec)


def test_a_weight_that_is_a_part_of_its_storage(tmp_path: Path) -> None:
    """What torch itself saves is taken: whole storages, of which a tensor may be a slice."""
    path = tmp_path / "slice.pt2"

    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("shift", torch.arange(4096.0)[8:16])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.shift

    torch.export.save(torch.export.export(Sliced().eval(), (torch.zeros(1, 8),)), path)

    module = load_module(find_model(str(path)))

    assert module(torch.zeros(1, 8)).tolist() == [list(range(8, 16))]


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"weight_map": ' + '{"a":' * 100_000, "{}" + " " * 2**26]
)
def test_an_index_without_end(tmp_path: Path, content: str) -> None:
    """However deep or long it is."""
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(content)

    with pytest.raises(WeightsError, match="not an index"):
        find_files(path)


def declared(path: Path) -> None:
    """A deflated array of 2^50 numbers, which are not there."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": (2**25, 2**25)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weight.npy", head.getvalue() + bytes(100))


def test_an_array_that_is_not_there(tmp_path: Path) -> None:
    """A number in a header allocates nothing that a traceback would tell of."""
    path = tmp_path / "weights.bin"
    declared(path)

    with pytest.raises(WeightsError):
        read_content(path)


def test_an_onnx_input_of_a_terabyte(tmp_path: Path) -> None:
    """It is told before anything is allocated."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2**40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2**40])],
    )
    path = tmp_path / "large.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)

    with pytest.raises(ModelFileError, match="1,099,511,627,776 numbers"):
        find_model(str(path))


def test_a_given_input_of_a_terabyte(write_model: WriteModel) -> None:
    """However it is asked for."""
    given = Given(kinds=(InputKind("float32", (1, 10**6, 10**6)),))

    with pytest.raises(ModelFileError, match="no phone has the memory"):
        read_spec(write_model(SMALL), given)


def test_a_table_of_another_form(pt2: Path) -> None:
    """What the table of weights says of sizes is not believed either."""
    with zipfile.ZipFile(pt2) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(pt2, "w") as made:
        for name, content in files.items():
            if name.endswith("model_weights_config.json"):
                table = json.loads(content)
                for entry in table["config"].values():
                    entry["tensor_meta"]["sizes"] = [{"as_expr": {"expr_str": "s0"}}]
                content = json.dumps(table).encode()
            made.writestr(name, content)

    with pytest.raises(ModelFileError):
        load_module(find_model(str(pt2)))
