"""Ranks weighted by what flows through a layer: known answers, and few examples that say little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.model.calibration import calibration_sha256
from mobilekit.model.load import load_module
from mobilekit.model.lowrank import decompose, factorise
from mobilekit.model.whitening import (
    LEAST_SHRINKAGE,
    InputMoments,
    _rows,
    measure_moments,
    moments_of,
)
from mobilekit.model.zoo import read_spec, with_variant
from mobilekit.records.network import Compression, LayerRank, Level, ModelSpec, Variant

ROWS, COLUMNS, SEEN = 30, 40, 5


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.data = weight.clone()
    return layer.requires_grad_(False)


def product(cut: nn.Sequential) -> torch.Tensor:
    """Of two linear layers' weights."""
    return (cut[1].weight @ cut[0].weight).detach()


def each_alone(inputs: torch.Tensor) -> list[torch.Tensor]:
    return list(inputs[:, None])


def unlike(count: int) -> torch.Tensor:
    """Inputs of which some directions are a hundred times another's."""
    return random(count, COLUMNS, seed=1) * torch.logspace(1, -1, COLUMNS)


def test_the_outputs_error_is_the_least_that_a_rank_can_have() -> None:
    """What the singular values of W times the root of E[x x^T] leave, and far below the plain
    one's."""
    layer, inputs = linear(random(ROWS, COLUMNS)), unlike(4000)
    moments = moments_of(each_alone(inputs))
    root = torch.linalg.cholesky(inputs.double().T @ inputs.double() / len(inputs))
    values = torch.linalg.svdvals(layer.weight.double() @ root)
    errors = {}
    for name, cut in (
        ("whitened", factorise(layer, 6, moments=moments)),
        ("plain", factorise(layer, 6)),
    ):
        lost = layer(inputs) - cut(inputs)
        errors[name] = float(lost.detach().square().sum(1).mean())
    least = float(values[6:].square().sum())
    assert least * (1 - 1e-3) <= errors["whitened"] <= least * (1 + 1e-3)
    assert errors["plain"] > 2 * least


def test_inputs_alike_in_every_direction_weigh_nothing() -> None:
    layer = linear(random(ROWS, COLUMNS))
    moments = moments_of(each_alone(3 * torch.eye(COLUMNS)))
    whitened, plain = factorise(layer, 6, moments=moments), factorise(layer, 6)
    assert torch.allclose(product(whitened), product(plain), atol=1e-5)


@pytest.mark.parametrize(
    "inputs",
    [unlike(SEEN), unlike(200), unlike(1).expand(60, COLUMNS)],
    ids=["fewer than inputs", "more than inputs", "equal"],
)
def test_a_planted_rank_is_recovered_whatever_weighs_it(inputs: torch.Tensor) -> None:
    """In every direction, those that no example takes among them; also from a decomposition."""
    weight = random(ROWS, 7) @ random(7, COLUMNS, seed=2) / 7**0.5
    layer, moments = linear(weight), moments_of(each_alone(inputs))
    cut = factorise(layer, 7, moments=moments)
    again = factorise(layer, 7, decompose(layer, moments), moments)
    for made in (cut, again):
        assert float((product(made) - weight).abs().max()) < 1e-5
    lengths = cut[0].weight.norm(dim=1), cut[1].weight.norm(dim=0)
    assert torch.allclose(*lengths, rtol=1e-4)


@pytest.mark.parametrize(
    "inputs",
    [
        unlike(3),
        torch.zeros(4, COLUMNS),
        torch.zeros(100, COLUMNS),
        unlike(1).expand(6, COLUMNS),
        unlike(1).expand(100, COLUMNS),
        random(60, SEEN, seed=4) @ random(SEEN, COLUMNS, seed=5),
    ],
    ids=["few", "zeros", "many zeros", "equal", "many equal", "in a subspace"],
)
def test_examples_that_do_not_tell_every_direction_give_finite_weights(
    inputs: torch.Tensor,
) -> None:
    """And what was never seen is not left to chance: it is as near as a plain cut's order."""
    layer = linear(random(ROWS, COLUMNS))
    moments = moments_of(each_alone(inputs))
    assert moments.rest >= 0.999 * LEAST_SHRINKAGE**0.5
    cut = factorise(layer, 8, moments=moments)
    assert all(bool(torch.isfinite(each).all()) for each in cut.parameters())
    error = float((product(cut) - layer.weight).norm() / layer.weight.norm())
    assert error < 1
    if not inputs.any():
        assert torch.allclose(product(cut), product(factorise(layer, 8)), atol=1e-5)


@pytest.mark.parametrize(("count", "positions"), [(5, 1), (5, 3), (60, 1), (60, 50)])
def test_moments_are_drawn_to_the_identity_as_ledoit_and_wolf_say(
    count: int, positions: int
) -> None:
    """Their formula, term by term, with an example's own second moment for an observation's."""
    samples = [random(positions, COLUMNS, seed=seed).double() for seed in range(count)]
    samples = [each * torch.linspace(2, 0.5, COLUMNS) for each in samples]
    own = [each.T @ each / positions for each in samples]
    second = sum(own) / count
    identity = torch.eye(COLUMNS, dtype=torch.float64)
    mean = second.trace() / COLUMNS
    spread = (second - mean * identity).square().sum()
    noise = sum((each - second).square().sum() for each in own) / count**2
    share = min(1.0, float(noise / spread))
    assert share > 1e-3
    wanted = (1 - share) * second / mean + share * identity
    moments = moments_of(samples)
    assert torch.allclose(moments.weigh(moments.weigh(identity)), wanted, atol=1e-9)
    assert torch.allclose(moments.unweigh(moments.weigh(identity)), identity, atol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (3, 5), "stride": (2, 3), "padding": (1, 2), "dilation": (2, 1)},
        {"kernel_size": 1, "stride": 2, "bias": False},
        {"kernel_size": (4, 2), "padding": "same"},
        {"kernel_size": 2, "padding": "valid"},
    ],
)
def test_a_convolutions_inputs_are_what_its_first_part_reads(options: dict[str, object]) -> None:
    """Each of its outputs, at every position."""
    layer, image = nn.Conv2d(6, 8, **options), random(1, 6, 15, 17)  # type: ignore[arg-type]
    cut = factorise(layer, 5)
    first = cut[0].weight.detach().flatten(1)
    with torch.no_grad():
        wanted = cut[0](image)[0].flatten(1)
    assert torch.allclose(first @ _rows(layer, image).T, wanted, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_loses_less_of_what_flows_through_it(kernel: int) -> None:
    """Images whose channels are mixtures of three, through a kernel that has more to say of
    others."""
    layer = nn.Conv2d(12, 16, kernel, padding="same").requires_grad_(False)
    layer.weight.data = random(16, 12, kernel, kernel)
    images = [
        torch.einsum("oc,bchw->bohw", random(12, 3, seed=9), random(1, 3, 10, 10, seed=seed))
        for seed in range(12)
    ]
    calibrating, others = images[:8], images[8:]
    moments = moments_of([_rows(layer, each) for each in calibrating])
    rank = 3 * kernel
    errors = [
        sum(float((layer(each) - cut(each)).detach().square().sum()) for each in others)
        for cut in (factorise(layer, rank, moments=moments), factorise(layer, rank))
    ]
    assert errors[0] < 0.1 * errors[1]


@pytest.mark.parametrize("count", [SEEN, 200], ids=["fewer than inputs", "more than inputs"])
@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), -float("inf")])
def test_what_has_no_sum_weighs_nothing(count: int, value: float) -> None:
    """One number among many is enough; zeros are all of them."""
    inputs = unlike(count) if value else torch.zeros(count, COLUMNS)
    inputs[-1, 3] = value
    moments = moments_of(each_alone(inputs))
    weight = random(ROWS, COLUMNS).double()
    assert torch.equal(moments.weigh(weight), weight)
    assert torch.equal(moments.unweigh(weight), weight)


@pytest.mark.parametrize("shape", [(12,), (1, 12), (2, 3, 12)])
def test_a_linear_layers_inputs_are_each_a_row(shape: tuple[int, ...]) -> None:
    """A single one without a dimension of its own, too."""
    inputs = random(*shape)
    rows = _rows(nn.Linear(12, 4), inputs)
    assert rows.shape == (inputs.numel() // 12, 12)
    assert torch.equal(rows.flatten(), inputs.flatten())


MODEL = """
import torch
from torch import nn

INPUT_SHAPES = ((1, 12),)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(12, 10)
        self.unused = nn.Linear(12, 10)
        self.last = nn.Linear(10, 4)

    def forward(self, inputs):
        return self.last(self.first(input=inputs))


def build():
    return Net()
"""


@pytest.fixture
def whitened(tmp_path: Path) -> tuple[ModelSpec, Path, Variant]:
    path, calibration = tmp_path / "net.py", tmp_path / "calibration.npy"
    path.write_text(MODEL)
    np.save(calibration, random(6, 12).numpy())
    compression = Compression(
        ranks=(LayerRank(layer="first", rank=3),), whitened_by=calibration_sha256(calibration)
    )
    return read_spec(path), calibration, Variant(compression=compression)


def test_a_whitened_network_is_made_from_its_examples_anew(
    whitened: tuple[ModelSpec, Path, Variant],
) -> None:
    """The same each time, another one than the plain, and told from it by every name."""
    spec, calibration, variant = whitened
    assert variant.compression is not None
    plain = with_variant(spec, Variant(compression=replace(variant.compression, whitened_by=None)))
    made = with_variant(spec, variant, calibration)
    first, second = (load_module(made).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.allclose(first["first.0.weight"], load_module(plain).first[0].weight)  # type: ignore[index,union-attr]
    assert len({each.label for each in (spec, plain, made)}) == 3
    assert len({each.content_sha256 for each in (spec, plain, made)}) == 3
    assert made.label.startswith("net-whitened")
    assert made.variant.text == "whitened low rank in 1 layer, fp32"
    # Of a level, which has no examples, there is none.
    compression = variant.compression
    lower = replace(compression, ranks=(LayerRank(layer="first", rank=2),))
    with pytest.raises(ValueError, match="whitened"):
        Level(number=1, ladder=(lower, compression))


def test_other_examples_and_none_are_refused(whitened: tuple[ModelSpec, Path, Variant]) -> None:
    spec, calibration, variant = whitened
    with pytest.raises(UsageError, match="no --calibration"):
        with_variant(spec, variant)
    np.save(calibration, random(6, 12, seed=1).numpy())
    with pytest.raises(UsageError, match="other examples"):
        with_variant(spec, variant, calibration)


def test_a_layer_that_no_example_reaches_is_refused(
    whitened: tuple[ModelSpec, Path, Variant],
) -> None:
    spec, calibration, variant = whitened
    assert variant.compression is not None
    layers = ("first", "unused", "nowhere", "")
    found = measure_moments(spec, load_module(spec), layers, calibration)
    assert list(found) == ["first"]
    assert isinstance(found["first"], InputMoments)
    ranks = (LayerRank(layer="unused", rank=3),)
    unreached = Variant(compression=replace(variant.compression, ranks=ranks))
    with pytest.raises(UsageError, match="no example reaches it"):
        load_module(with_variant(spec, unreached, calibration))
