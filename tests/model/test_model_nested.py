"""Nested ranks: what each level keeps, and one program of them all."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from model_files import WriteModel
from torch import nn

from mobilekit.errors import ExportError, UsageError
from mobilekit.model.export import export_artifact
from mobilekit.model.nested import Factors, NestedLayer, nest, plan_ranks
from mobilekit.model.zoo import read_spec, with_variant
from mobilekit.records.network import Level, Variant

NETWORK = """
from torch import nn

INPUT_SHAPES = ((1, 3, 16, 16),)


def build():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1),
        nn.Flatten(), nn.Linear(2048, 96), nn.ReLU(), nn.Linear(96, 10),
    )
"""


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(16, 24, (3, 5), stride=(2, 1), padding=(1, 2)), nn.Flatten(), nn.Linear(24, 10)
    ).eval()


@pytest.mark.parametrize("rank", [8, 16])
def test_planted_ranks_are_recovered(rank: int) -> None:
    """Every level that holds a layer's true rank computes what the layer does; convolutions too."""
    made = network()
    with torch.no_grad():
        weight = made[0].weight
        left, right = torch.randn(16 * 3, rank), torch.randn(rank, 24 * 5)
        weight.copy_((left @ right).reshape(16, 3, 24, 5).permute(2, 0, 1, 3))
        value = torch.randn(1, 16, 2, 1)
        wanted = made(value)
        nested = nest(made, Level(number=4, of=4))(value)

    assert isinstance(made[0], NestedLayer)
    assert isinstance(made[2], nn.Linear)  # the classifier
    torch.testing.assert_close(nested, wanted, rtol=1e-4, atol=1e-4)


def factors(shares: tuple[float, ...]) -> Factors:
    return Factors(torch.zeros(len(shares), 50), torch.zeros(50, len(shares)), shares)


def test_ranks_go_where_they_hold_most_and_never_fall() -> None:
    """A layer whose norm lies in many ranks keeps more of them, however small its weights are."""
    flat = factors((1 / 24,) * 24)
    steep = factors((0.9,) + (0.1 / 23,) * 23)

    ranks = plan_ranks({"flat": flat, "steep": steep}, {"flat": 2500, "steep": 2500}, 4)

    assert ranks == {"flat": (8, 16, 24, 24), "steep": (8, 8, 8, 24)}


def test_a_network_without_layers_to_split_is_refused() -> None:
    with pytest.raises(ExportError, match="No layer of this network"):
        nest(nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 10)), Level(number=1, of=2))


def test_all_levels_are_one_program(write_model: WriteModel, tmp_path: Path) -> None:
    """One export makes every level's artifact, of one file hardly larger than the largest level."""
    spec = read_spec(write_model(NETWORK))
    messages: list[str] = []
    artifacts = [
        export_artifact(
            with_variant(spec, Variant(level=Level(number=number, of=3))),
            cache_directory=tmp_path / "cache",
            on_progress=messages.append,
        )
        for number in (1, 2, 3)
    ]

    assert len({each.file.sha256 for each in artifacts}) == 1
    assert [each.file.method for each in artifacts] == ["level_1", "level_2", "level_3"]
    assert messages.count("Lowering all levels to XNNPACK") == 1
    assert all((each.relative_error or 0) < 1e-5 for each in artifacts)
    parameters = [each.cost.parameters for each in artifacts]
    assert parameters == sorted(set(parameters))
    assert artifacts[0].file.size_bytes < 1.05 * 4 * parameters[-1]
    assert len({each.reference_outputs for each in artifacts}) == 3
    assert len({each.model.label for each in artifacts}) == 3


@pytest.mark.parametrize(
    ("variant", "artifact_format"),
    [
        pytest.param(Variant(), "onnx", id="format"),
        pytest.param(Variant(backend="vulkan"), "pte", id="vulkan"),
        pytest.param(Variant(precision="fp16"), "pte", id="fp16"),
    ],
)
def test_what_levels_do_not_go_together_with_is_refused(
    write_model: WriteModel, tmp_path: Path, variant: Variant, artifact_format: str
) -> None:
    leveled = msgspec.structs.replace(variant, level=Level(number=1, of=2))
    with pytest.raises(UsageError, match="--level"):
        export_artifact(
            with_variant(read_spec(write_model(NETWORK)), leveled),
            artifact_format,  # type: ignore[arg-type]
            cache_directory=tmp_path / "cache",
            on_progress=lambda _: None,
        )
