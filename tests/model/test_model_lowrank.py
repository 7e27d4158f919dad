"""Layers cut to a lower rank: known ranks are found again, and what is not to be cut is left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.model.load import load_module
from mobilekit.model.lowrank import compress, factorise, find_layers
from mobilekit.model.ranks import Layer, make_ladder
from mobilekit.model.variants import apply_variant
from mobilekit.model.zoo import read_spec, with_variant
from mobilekit.records.network import Compression, LayerRank, Variant


def planted(rows: int, columns: int, rank: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(3)
    left = torch.randn(rows, rank, generator=random)
    return left @ torch.randn(rank, columns, generator=random) / (rank * columns) ** 0.5


def linear(rows: int, columns: int, rank: int) -> nn.Linear:
    layer = nn.Linear(columns, rows)
    layer.weight.data = planted(rows, columns, rank)
    return layer


@pytest.mark.parametrize("size", [40, 1030], ids=["exact", "randomised"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_factors_of_a_narrow_type_are_rounded_once(dtype: torch.dtype, size: int) -> None:
    """They are those of the same numbers in fp32, rounded."""
    narrow = linear(size, size, 12).to(dtype)
    wide = linear(size, size, 12)
    wide.load_state_dict(narrow.state_dict())
    for found, wanted in zip(factorise(narrow, 8), factorise(wide, 8), strict=True):
        assert found.weight.dtype == dtype
        assert torch.equal(found.weight, wanted.weight.to(dtype))


def largest_error(layer: nn.Module, cut: nn.Module, inputs: torch.Tensor) -> float:
    with torch.no_grad():
        return float((layer(inputs) - cut(inputs)).abs().max())


@pytest.mark.parametrize(
    ("rows", "columns"), [(40, 60), (60, 40), (1100, 1030)], ids=["wide", "tall", "randomised"]
)
def test_a_planted_rank_is_recovered(rows: int, columns: int) -> None:
    layer = linear(rows, columns, 7)
    inputs = torch.randn(3, columns)
    assert largest_error(layer, factorise(layer, 7), inputs) < 1e-5
    assert largest_error(layer, factorise(layer, 5), inputs) > 1e-2


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (3, 5), "stride": (2, 3), "padding": (0, 2), "dilation": (2, 1)},
        {"kernel_size": 1, "stride": 2, "bias": False},
        {"kernel_size": 1, "padding": 1, "stride": (1, 2)},
        {"kernel_size": 4, "padding": "same"},
    ],
)
def test_a_convolution_of_full_rank_computes_the_same(options: dict[str, object]) -> None:
    layer = nn.Conv2d(6, 8, **options)  # type: ignore[arg-type]
    height, width = layer.kernel_size
    cut = factorise(layer, min(6 * height, 8 * width))
    assert largest_error(layer, cut, torch.randn(2, 6, 15, 17)) < 1e-5


def test_a_separable_convolution_is_recovered_at_its_rank() -> None:
    layer = nn.Conv2d(8, 8, 3, padding=1)
    matrix = planted(24, 24, 4)
    layer.weight.data = matrix.reshape(8, 3, 8, 3).permute(2, 0, 1, 3).contiguous()
    cut = factorise(layer, 4)
    assert largest_error(layer, cut, torch.randn(1, 8, 9, 9)) < 1e-5
    assert sum(each.numel() for each in cut.parameters()) == 4 * (24 + 24) + 8


class Mixed(nn.Module):
    """Layers of which some must not be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.wide = linear(32, 8 * 36, 4)
        self.tied = nn.Linear(32, 32)
        self.tied_too = nn.Linear(32, 32)
        self.tied_too.weight = self.tied.weight
        self.unused = nn.Linear(32, 32)
        self.last = nn.Linear(32, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.wide(self.depthwise(self.first(image)).flatten(1))
        return self.last(self.tied_too(self.tied(hidden)))


def test_layers_that_may_be_cut_are_found_with_what_they_cost() -> None:
    first, wide = find_layers(Mixed(), (torch.randn(1, 3, 10, 10),))
    assert (first.path, first.rows, first.columns) == ("first", 9, 24)
    assert (wide.path, wide.weights) == ("wide", 32 * 288)
    assert wide.largest_rank == 28  # 28 * 320 = 8,960 weights of 9,216
    exact = torch.linalg.svdvals(planted(32, 288, 4).double())
    found = torch.tensor(wide.singular_values, dtype=torch.float64)
    assert len(found) == 32
    assert torch.allclose(found, exact, atol=1e-6 * float(exact[0]))


def test_a_variant_is_cut_and_known_by_its_ranks(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(
        "from torch import nn\nINPUT_SHAPES = ((1, 20),)\n"
        "def build():\n    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 4))\n"
    )
    spec = read_spec(path)
    cut, other = (
        with_variant(
            spec, Variant(compression=Compression(ranks=(LayerRank(layer="0", rank=rank),)))
        )
        for rank in (3, 4)
    )
    assert [tuple(each.shape) for each in load_module(cut)[0].parameters()] == [  # type: ignore[index]
        (3, 20),
        (16, 3),
        (16,),
    ]
    assert len({spec.content_sha256, cut.content_sha256, other.content_sha256}) == 3
    assert len({spec.label, cut.label, other.label}) == 3
    assert replace(cut.variant, precision="int8").text == "low rank in 1 layer, int8"


@pytest.mark.parametrize(
    ("layer", "rank", "why"),
    [
        ("nowhere.0", 1, "no such layer"),
        ("", 1, "Mixed cannot be cut"),
        ("depthwise", 1, "Conv2d cannot be cut"),
        ("wide", 33, "no rank of 33"),
        ("first.weight", 1, "no such layer"),
    ],
)
def test_a_compression_of_another_network_is_refused(layer: str, rank: int, why: str) -> None:
    compression = Compression(ranks=(LayerRank(layer=layer, rank=rank),))
    with pytest.raises(UsageError, match=why):
        apply_variant(Mixed(), Variant(compression=compression))


def test_a_cut_network_computes_nearly_the_same() -> None:
    network, inputs = Mixed().eval(), torch.randn(1, 3, 10, 10)
    with torch.no_grad():
        before = network(inputs)
        cut = compress(network, Compression(ranks=(LayerRank(layer="wide", rank=4),)))
        assert torch.allclose(cut(inputs), before, atol=1e-5)


def test_a_ladder_takes_what_is_redundant_first_and_falls() -> None:
    spectrum = tuple(0.9**index for index in range(64))
    layers = (
        Layer("planted", 64, 64, (3.0, 2.0, *[0.0] * 62)),
        Layer("tiny but full", 64, 64, (1e-4,) * 64),
        Layer("falling", 64, 64, spectrum),
        Layer("a vector", 1, 64, (1.0,)),
    )
    ladder = make_ladder(layers)
    ranks = [{cut.layer: cut.rank for cut in each.ranks} if each else {} for each in ladder]
    assert ranks[:2] == [{}, {"planted": 2}]
    assert ranks[-1] == {"planted": 1, "tiny but full": 1, "falling": 1}
    kept = [step for step in ranks if "tiny but full" not in step]
    assert min(step.get("falling", 64) for step in kept) <= 10
    weights = [
        sum(128 * step[name] if name in step else 4096 for name in ranks[-1]) for step in ranks
    ]
    assert weights == sorted(weights, reverse=True)
    assert len(set(weights)) == len(weights)
    assert make_ladder(()) == (None,)


def test_layers_whose_weights_are_computed_stay_whole():
    """Of weight norm the layer's own weight is no parameter."""
    normed = torch.nn.utils.weight_norm(nn.Linear(8, 8))
    network = nn.Sequential(normed, nn.Linear(8, 8), nn.Linear(8, 2))
    assert [each.path for each in find_layers(network, (torch.ones(1, 8),))] == ["1"]


def test_layers_that_are_read_and_not_called_stay_whole():
    """A transformer's layer computes with the weights of its own, where nothing is hooked."""
    network = nn.Sequential(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 8), nn.Linear(8, 2)
    ).eval()
    assert [each.path for each in find_layers(network, (torch.ones(1, 3, 8),))] == ["1"]


def test_a_ladder_stays_within_what_each_layer_bears() -> None:
    spectrum = tuple(0.9**index for index in range(64))
    bounded = Layer("bounded", 64, 64, spectrum, least_rank=9, most_rank=12)
    never = Layer("never", 64, 64, spectrum, least_rank=13, most_rank=12)
    ladder = make_ladder((bounded, never, Layer("free", 64, 64, spectrum)))
    ranks = [{cut.layer: cut.rank for cut in each.ranks} for each in ladder[1:] if each]
    assert {step["bounded"] for step in ranks if "bounded" in step} <= set(range(9, 13))
    assert not any("never" in step for step in ranks)
    assert ranks[-1] == {"bounded": 9, "free": 1}


def test_by_root_mean_square_the_layer_of_small_weights_goes_first() -> None:
    """What is lost of it counts for little, however much of the layer it is."""
    layers = (
        Layer("tiny but full", 64, 64, (1e-4,) * 64),
        Layer("falling", 64, 64, tuple(0.9**index for index in range(64))),
    )
    first = {each: make_ladder(layers, each)[1] for each in ("frobenius", "rms")}
    assert [cut.layer for cut in first["rms"].ranks] == ["tiny but full"]
    assert [cut.layer for cut in first["frobenius"].ranks] == ["falling"]


class SamePadding(nn.Conv2d):
    """As networks carried over from TensorFlow have it."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        size, stride, side = self.kernel_size[0], self.stride[0], image.shape[-1]
        missing = max((-(-side // stride) - 1) * stride + size - side, 0)
        padded = nn.functional.pad(image, (missing // 2, missing - missing // 2) * 2)
        return nn.functional.conv2d(padded, self.weight, self.bias, self.stride)


class Clipped(nn.Linear):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs).clamp(-50, 50)


class Renamed(nn.Linear):
    pass


class Derived(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.strided = SamePadding(3, 3, 2, stride=2)
        self.padded = SamePadding(3, 8, 3)
        self.pointwise = SamePadding(8, 8, 1)
        self.clipped = Clipped(8 * 36, 20)
        self.renamed = Renamed(20, 20)
        self.last = nn.Linear(20, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.pointwise(self.padded(self.strided(image))).flatten(1)
        return self.last(self.renamed(self.clipped(hidden)))


def test_a_derived_layer_is_cut_where_it_computes_as_its_base() -> None:
    """One that pads or clips would not be what two layers in its place compute."""
    network, inputs = Derived(), (torch.randn(1, 3, 12, 12),)
    assert [each.path for each in find_layers(network, inputs)] == ["pointwise", "renamed"]
    cut = Compression(ranks=(LayerRank(layer="pointwise", rank=8),))
    before = network(*inputs)
    assert torch.allclose(compress(network, cut)(*inputs), before, atol=1e-5)
    with pytest.raises(UsageError, match="SamePadding cannot be cut"):
        compress(network, Compression(ranks=(LayerRank(layer="padded", rank=1),)))
