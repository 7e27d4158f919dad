"""Static counts, against counts made by hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from model_files import WriteModel
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from mobilekit.errors import ExportError
from mobilekit.model.describe import count_cost, read_cost
from mobilekit.model.zoo import read_spec
from mobilekit.records.network import ModelCost


def count(module: nn.Module, *inputs: Tensor) -> ModelCost:
    return count_cost(module, torch.export.export(module.eval(), inputs))


class Masked(nn.Module):
    """Takes an encoder's fused path in eager PyTorch, where its mask has to be looked at."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.embedding = nn.Embedding(9, 16)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.encoder(self.embedding(ids), src_key_padding_mask=ids.eq(0))


class Deformed(nn.Module):
    """A layer of torchvision's own operators."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = DeformConv2d(3, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, x.new_zeros(1, 18, 4, 4))


class Product(nn.Module):
    """A function of weights of these shapes."""

    def __init__(self, function: Callable[..., Tensor], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList([torch.ones(shape) for shape in shapes])

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.weights)


ENCODER_MACS = 7 * 16 * (3 * 16 + 16 + 2 * 32) + 2 * 7 * 7 * 16


@pytest.mark.parametrize(
    ("module", "shape", "macs"),
    [
        (nn.Linear(3, 2), (5, 3), 5 * 3 * 2),
        (nn.Conv2d(4, 6, 3, groups=2), (1, 4, 5, 5), 9 * 6 * 2 * 9),
        (nn.LSTM(5, 6), (7, 5), 7 * 4 * 6 * (5 + 6)),
        (nn.GRU(5, 6, 2, bidirectional=True), (7, 5), 7 * 2 * 3 * 6 * ((5 + 6) + (12 + 6))),
        (nn.ReLU(), (1, 3), 0),
        (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (1, 7, 16), ENCODER_MACS),
        (Deformed(), (1, 3, 6, 6), 4 * 4 * 5 * 27),
        (Product(torch.mv, (3,)), (5, 3), 15),
        (Product(torch.matmul, (3,)), (2, 5, 3), 30),
        (Product(torch.dot, (3,)), (3,), 3),
        (Product(torch.addmv, (5, 3), (3,)), (5,), 15),
        (Product(torch.addbmm, (2, 3, 4), (2, 4, 5)), (3, 5), 2 * 3 * 4 * 5),
        (Product(F.bilinear, (2, 4), (5, 3, 4)), (2, 3), 2 * 5 * 3 * 4),
    ],
)
def test_multiply_accumulates(module: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    """Also of layers that eager PyTorch fuses, and of products that its own counter leaves out."""
    assert macs == count(module, torch.ones(shape)).macs


def test_a_masked_encoder_is_counted_whole() -> None:
    """Its fused path, of which eager PyTorch shows no product, is not in the graph."""
    assert count(Masked(), torch.ones(1, 7, dtype=torch.int64)).macs == 2 * ENCODER_MACS


def test_counting_leaves_the_network_as_it_was() -> None:
    """The network still has its weights afterwards."""
    module = nn.Linear(2, 2)
    before = module.weight.detach().clone()
    count(module, torch.ones(1, 2))
    assert torch.equal(before, module.weight)


def test_a_shared_parameter_counts_once() -> None:
    """As in the literature."""
    layer = nn.Linear(2, 2)
    cost = count(nn.Sequential(layer, layer), torch.ones(1, 2))
    assert (cost.parameters, cost.macs) == (6, 8)


def test_the_second_time_needs_no_torch(write_model: WriteModel, tmp_path: Path) -> None:
    """A counted network's cost is read from the cache."""
    path, cache = write_model(), tmp_path / "cache"
    cost = read_cost(read_spec(path), cache_directory=cache)
    code = f"""
import sys
from pathlib import Path
from mobilekit.model.describe import read_cost
from mobilekit.model.zoo import read_spec
cost = read_cost(read_spec(Path({str(path)!r})), cache_directory=Path({str(cache)!r}))
print(cost.parameters, cost.macs, {{"torch", "numpy"}} & set(sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == f"{cost.parameters} {cost.macs} set()\n"


def test_a_damaged_cache_is_counted_anew(write_model: WriteModel, tmp_path: Path) -> None:
    """Half a file is no answer."""
    spec = read_spec(write_model())
    cost = read_cost(spec, cache_directory=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_text('{"parameters": 1')
    assert cost == read_cost(spec, cache_directory=tmp_path / "cache")


def test_a_network_that_does_not_run_is_reported(write_model: WriteModel, tmp_path: Path) -> None:
    """An input shape that does not fit is an error of ours."""
    source = (
        "from torch import nn\nINPUT_SHAPES = ((1, 2),)\ndef build():\n    return nn.Linear(3, 1)\n"
    )
    with pytest.raises(ExportError, match="fails in PyTorch"):
        read_cost(read_spec(write_model(source)), cache_directory=tmp_path)
