"""Nested ranks: what each level keeps, and one program of them all."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import torch
from executorch.exir._serialize._cord import Cord
from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.exir._serialize.data_serializer import DataEntry
from executorch.extension.flat_tensor.serialize.serialize import FlatTensorSerializer
from model_files import WriteModel
from torch import nn

from mobilekit.contract.apart import find_lack
from mobilekit.contract.codec import decode, encode
from mobilekit.errors import ProtocolError, UsageError
from mobilekit.model.artifact_cache import Target
from mobilekit.model.export import export_artifact
from mobilekit.model.lowrank import compress
from mobilekit.model.nested import NestedLayer, nest, set_level
from mobilekit.model.program import trace_for
from mobilekit.model.pte import lower
from mobilekit.model.ranks import Layer, make_levels
from mobilekit.model.shared_weights import _READ_BYTES, weights_apart
from mobilekit.model.zoo import read_spec, with_variant
from mobilekit.records.artifact import Artifact
from mobilekit.records.network import Compression, LayerRank, Level, Variant

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


def ladder(*ranks: tuple[int, ...], layers: tuple[str, ...] = ("0",)) -> tuple[Compression, ...]:
    return tuple(
        Compression(
            ranks=tuple(
                LayerRank(layer=layer, rank=rank) for layer, rank in zip(layers, each, strict=True)
            )
        )
        for each in ranks
    )


def test_each_level_is_the_network_cut_to_its_ranks() -> None:
    """Strided convolutions with their bias too."""
    levels = ladder((4,), (9,), (40,))
    value = torch.randn(2, 16, 2, 1)
    nested = nest(network(), Level(number=1, ladder=levels))
    assert isinstance(nested[0], NestedLayer)
    assert isinstance(nested[2], nn.Linear)
    for number, each in enumerate(levels, 1):
        set_level(nested, number)
        with torch.no_grad():
            torch.testing.assert_close(
                nested(value), compress(network(), each)(value), rtol=1e-5, atol=1e-5
            )


def test_a_planted_rank_is_recovered_by_every_level_that_holds_it() -> None:
    made = network()
    left, right = torch.randn(16 * 3, 8), torch.randn(8, 24 * 5)
    value = torch.randn(1, 16, 2, 1)
    with torch.no_grad():
        weight = (left @ right).reshape(16, 3, 24, 5).permute(2, 0, 1, 3)
        made[0].weight.copy_(weight / weight.norm())
        wanted = made(value)
        nested = nest(made, Level(number=1, ladder=ladder((4,), (8,), (16,))))
        errors = []
        for number in (1, 2, 3):
            set_level(nested, number)
            errors.append(float((nested(value) - wanted).abs().max()))

    assert errors[0] > 1e-3
    assert max(errors[1:]) < 1e-5


def layer(path: str, size: int, values: tuple[float, ...]) -> Layer:
    return Layer(path, size, size, values + (0.0,) * (size - len(values)))


def test_levels_hold_their_shares_and_each_other() -> None:
    """One bound for all layers; what is too small is left whole."""
    flat = layer("flat", 128, (1.0,) * 128)
    steep = layer("steep", 128, tuple(0.8**place for place in range(128)))
    small = layer("small", 16, (1.0,) * 16)

    levels = make_levels((flat, steep, small), 4)

    assert levels is not None
    assert Level(number=4, ladder=levels).of == 4  # which looks at the ranks' order
    assert {each.layer for level in levels for each in level.ranks} == {"flat", "steep"}
    weights = [sum(256 * each.rank for each in level.ranks) for level in levels]
    assert all(used <= 2 * 128 * 128 * number / 5 for number, used in enumerate(weights, start=1))
    assert all(each.rank % 8 == 0 for level in levels for each in level.ranks)
    for level in levels:
        of_flat, of_steep = (each.rank for each in level.ranks)
        assert of_steep <= of_flat


def test_what_gives_no_so_many_levels_is_told() -> None:
    assert make_levels((layer("small", 16, (1.0,) * 16),), 2) is None
    assert make_levels((layer("wide", 72, (1.0,) * 72),), 9) is None


@pytest.mark.parametrize(
    ("number", "levels"),
    [
        pytest.param(3, ladder((1,), (2,)), id="beyond"),
        pytest.param(1, ladder((1,)), id="one"),
        pytest.param(1, ladder((2,), (1,)), id="falling"),
        pytest.param(1, ladder((2,), (2,)), id="equal"),
        pytest.param(1, (*ladder((1,)), *ladder((2,), layers=("1",))), id="other-layers"),
        pytest.param(1, (*ladder((1,)), *ladder((2, 2), layers=("0", "1"))), id="more-layers"),
    ],
)
def test_what_is_no_ladder_is_not_read(number: int, levels: tuple[Compression, ...]) -> None:
    sound = encode(Level(number=1, ladder=ladder((1,), (2,))))
    assert decode(sound, Level, source="a file").of == 2
    text = b'{"number": %d, "ladder": %s}' % (number, encode(levels))
    with pytest.raises(ProtocolError, match=r"number|ladder"):
        decode(text, Level, source="a file")


def constant_bytes(cache: Path, made: Artifact) -> int:
    """Of all constants of a program's delegates."""
    content = (cache / Path(made.file.path).name).read_bytes()
    return sum(len(each) for each in deserialize_pte_binary(content).named_data.buffers)


LEVELS = ladder((8, 16), (16, 40), (24, 88), layers=("2", "4"))


def test_all_levels_are_one_program(write_model: WriteModel, tmp_path: Path) -> None:
    """One export makes every level's artifact, of one file hardly larger than the largest level."""
    spec = read_spec(write_model(NETWORK))
    messages: list[str] = []
    artifacts = [
        export_artifact(
            with_variant(spec, Variant(level=Level(number=number, ladder=LEVELS))),
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
    # Every number of the largest level is in the file once, and no other one.
    assert constant_bytes(tmp_path / "cache", artifacts[0]) == 4 * parameters[-1]
    assert artifacts[0].file.size_bytes < 1.05 * 4 * parameters[-1] + 20_000
    assert len({each.reference_outputs for each in artifacts}) == 3
    assert len({each.model.label for each in artifacts}) == 3


def test_apart_from_the_program_a_level_has_what_it_reads(
    write_model: WriteModel, tmp_path: Path
) -> None:
    """Its file of weights holds no byte more than its own program would, and the program none."""
    spec = read_spec(write_model(NETWORK))
    cache = tmp_path / "cache"
    artifacts = [
        export_artifact(
            with_variant(spec, Variant(level=Level(number=number, ladder=LEVELS, apart=True))),
            cache_directory=cache,
            on_progress=lambda _: None,
        )
        for number in (1, 2, 3)
    ]

    assert len({each.file.sha256 for each in artifacts}) == 1
    assert artifacts[0].file.size_bytes < 20_000
    for each in artifacts:
        assert each.weights is not None
        assert each.weights in each.files
        stored = (cache / Path(each.weights.path).name).read_bytes()
        data = FlatTensorSerializer().deserialize(Cord(stored))
        assert sum(len(each) for each in data.buffers) == 4 * each.cost.parameters
        # Outputs are those of the level in PyTorch: the export has looked at them.
        assert (each.relative_error or 0) < 1e-5
    program = cache / Path(artifacts[0].file.path).name
    methods = [each.file.method for each in artifacts]
    files = [cache / Path(each.weights.path).name for each in artifacts if each.weights]
    lacking = [[bool(find_lack(program, [each], file)) for each in methods] for file in files]
    assert lacking == [[False, True, True], [False, False, True], [False, False, False]]
    assert "apart" in artifacts[0].model.label
    part = trace_for(
        artifacts[0].model, Target("pte", None), nn.Linear(2048, 8), (torch.ones(1, 2048),)
    )
    assert lower(artifacts[0].model, part).weights is None  # to be timed by itself


def test_with_the_largest_levels_weights_every_level_runs_in_int8(
    write_model: WriteModel, tmp_path: Path
) -> None:
    """Which has scales and biases of its own at each level: a choice has that file alone."""
    spec = read_spec(write_model(NETWORK))
    level = Level(number=3, ladder=LEVELS, apart=True)
    cache = tmp_path / "cache"

    artifact = export_artifact(
        with_variant(spec, Variant(precision="int8", level=level)),
        cache_directory=cache,
        on_progress=lambda _: None,
    )

    assert artifact.weights is not None
    program, weights = (cache / Path(each.path).name for each in (artifact.file, artifact.weights))
    assert find_lack(program, ["level_3", "level_2", "level_1"], weights) is None


@pytest.mark.parametrize("sizes", [(64, 32), (32, 64)])
def test_of_a_constant_of_several_delegates_there_is_as_much_as_any_reads(
    sizes: tuple[int, int],
) -> None:
    """Such as biases of zeros, the shorter of which is the beginning of the longer."""
    kept = SimpleNamespace(
        external_data={"weights": {"zeros": DataEntry(0, 16, None)}}, buffers=[bytes(96)]
    )
    calls = [
        SimpleNamespace(
            target=torch.ops.higher_order.executorch_call_delegate,
            args=[SimpleNamespace(target=f"delegate_{number}")],
            graph=SimpleNamespace(owning_module=SimpleNamespace()),
        )
        for number in (0, 1)
    ]
    for call, size in zip(calls, sizes, strict=True):
        output = SimpleNamespace(**{_READ_BYTES: {"zeros": size}})
        delegate = SimpleNamespace(named_data_store_output=output)
        setattr(call.graph.owning_module, call.args[0].target, delegate)
    module = SimpleNamespace(graph=SimpleNamespace(nodes=calls))
    executorch = SimpleNamespace(
        _named_data=kept, exported_program=lambda _: SimpleNamespace(graph_module=module)
    )

    data = FlatTensorSerializer().deserialize(Cord(weights_apart(executorch, ["level_1"])))

    assert [len(each) for each in data.buffers] == [64]


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
    leveled = msgspec.structs.replace(variant, level=Level(number=1, ladder=LEVELS))
    with pytest.raises(UsageError, match="--level"):
        export_artifact(
            with_variant(read_spec(write_model(NETWORK)), leveled),
            artifact_format,  # type: ignore[arg-type]
            cache_directory=tmp_path / "cache",
            on_progress=lambda _: None,
        )
