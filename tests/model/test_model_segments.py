"""Cutting a network: which layers make a segment, what flows between them, what they yield."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from model_files import WriteModel
from torch import Tensor, nn

from mobilekit.contract.protocol import Format
from mobilekit.errors import ExportError
from mobilekit.model import segments
from mobilekit.model.describe import count_cost
from mobilekit.model.export_segments import export_segments
from mobilekit.model.graph import make_graph
from mobilekit.model.layers import describe_layers
from mobilekit.model.load import load_module
from mobilekit.model.reference import make_inputs, run_eager
from mobilekit.model.segments import Segment
from mobilekit.model.zoo import find_model, read_spec, with_variant
from mobilekit.records.artifact import Cut
from mobilekit.records.network import Precision, Variant
from mobilekit.records.partition import Chart

SPEC = find_model("digits")
ExportSmall = Callable[[Format, Precision], tuple[Cut, list[str]]]


def cut(module: nn.Module, *inputs: Tensor, format: Format = "tflite") -> list[Segment]:
    torch.manual_seed(0)
    module.eval()
    exported = make_graph(SPEC, module, inputs)
    description = describe_layers(exported, count_cost(module, exported))
    return segments.cut(SPEC, exported, description, inputs, format)


def layers(parts: Sequence[Segment]) -> list[tuple[str, ...]]:
    return [part.layers for part in parts]


def check_chain(parts: Sequence[Segment], inputs: Sequence[Tensor], outputs: Sequence[Tensor]):
    """Each segment yields what it was recorded to; what it reads, an earlier one yields, or the
    network is given; and what the network yields is among what they yield."""
    known = list(inputs)
    for part in parts:
        for one in part.inputs:
            assert any(one.shape == each.shape and torch.equal(one, each) for each in known)
        for made, recorded in zip(part.module(*part.inputs), part.outputs, strict=True):
            assert torch.equal(made, recorded)
        known += part.outputs
    for one in outputs:
        assert any(
            one.shape == each.shape and torch.allclose(one, each, atol=1e-6) for each in known
        )


class Residual(nn.Module):
    """A branch that is added in place, and a ReLU that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        return self.relu(out)


def test_a_residual_block() -> None:
    """What only reads a convolution joins it; the addition is a segment with two inputs."""
    x = torch.randn(1, 4, 8, 8)
    module = Residual()

    parts = cut(module, x)

    assert layers(parts) == [
        ("conv1", "bn1", "relu"),
        ("conv2", "bn2"),
        ("add_", "relu#2"),
    ]
    assert [len(part.inputs) for part in parts] == [1, 1, 2]
    check_chain(parts, [x], [module(x.clone())])


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.left = nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU())
        self.right = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(4, 2, 1), nn.ReLU6())

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return torch.cat([self.left(x), self.right(x)], 1)


def test_branches_and_their_concatenation() -> None:
    """Every segment comes after those that it reads."""
    x = torch.randn(1, 3, 6, 6)
    module = Branches()

    parts = cut(module, x)

    assert layers(parts) == [
        ("stem",),
        ("left.0", "left.1"),
        ("right.0",),
        ("right.1", "right.2"),
        ("cat",),
    ]
    check_chain(parts, [x], [module(x)])


class Several(nn.Module):
    """Two inputs, one of them of integers, and outputs of different kinds, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 8)
        self.norm = nn.LayerNorm(8)
        self.first, self.second = nn.Linear(8, 3), nn.Linear(8, 2)

    def forward(self, words: Tensor, extra: Tensor) -> dict[str, Any]:
        x = self.norm(self.table(words)) + extra
        y = torch.sigmoid(self.first(x))
        return {"scores": [y, torch.softmax(self.second(x), -1)], "mean": x.mean(1), "again": y}


def test_several_inputs_and_outputs() -> None:
    """Whatever structure they come in; an activation that engines do not fold is by itself."""
    inputs = torch.tensor([[1, 4, 2]]), torch.randn(1, 3, 8)
    module = Several()

    parts = cut(module, *inputs)

    assert layers(parts) == [
        ("table",),
        ("norm",),
        ("add",),
        ("first",),
        ("sigmoid",),
        ("second",),
        ("softmax",),
        ("mean",),
    ]
    made = module(*inputs)
    check_chain(parts, inputs, [*made["scores"], made["mean"], made["again"]])


@pytest.mark.parametrize(
    ("format", "joined"),
    [("pte", ("relu",)), ("tflite", ("relu",)), ("onnx", ("relu", "sigmoid", "tanh"))],
)
def test_which_activations_are_folded_depends_on_the_engine(
    format: Format, joined: tuple[str, ...]
) -> None:
    """ONNX Runtime computes a sigmoid or a tanh inside a product, XNNPACK neither."""
    for name in ("relu", "sigmoid", "tanh", "gelu"):

        class Network(nn.Module):
            def __init__(self, name: str) -> None:
                super().__init__()
                self.fc, self._name = nn.Linear(4, 4), name

            def forward(self, x: Tensor) -> Tensor:
                return getattr(F, self._name)(self.fc(x))

        parts = cut(Network(name), torch.randn(1, 4), format=format)

        assert layers(parts) == ([("fc", name)] if name in joined else [("fc",), (name,)])


class ReadTwice(nn.Module):
    """A convolution whose output its ReLU writes over, but that is read before that as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(2, 2, 1), nn.MaxPool2d(2)
        self.again = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(x)
        before = self.pool(x)
        F.relu_(x)
        return before, self.again(x)


def test_what_is_written_over_is_kept_for_those_that_read_it_before() -> None:
    """The ReLU is no part of the convolution's segment then, and the pooling reads what was
    there."""
    x = torch.randn(1, 2, 4, 4)
    module = ReadTwice()

    parts = cut(module, x)

    assert layers(parts) == [("conv",), ("pool",), ("relu_",), ("again",)]
    assert torch.equal(parts[1].inputs[0], parts[0].outputs[0])
    assert (parts[1].inputs[0] < 0).any()
    assert not (parts[3].inputs[0] < 0).any()
    check_chain(parts, [x], module(x.clone()))


class Reshaped(nn.Module):
    """Reshapings before, between and after layers, dropout, a constant, and a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.drop = nn.Conv1d(6, 6, 1), nn.Dropout()
        self.rnn, self.fc = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.drop(self.conv(x.flatten(1, 2).unsqueeze(-1)))
        x = x.view(1, 3, 2).repeat(1, 1, 2) + torch.arange(4.0)
        all_steps, last = self.rnn(self.drop(x))
        return self.fc(all_steps[:, -1]), last.transpose(0, 1)


def test_reshapings_belong_to_what_they_read() -> None:
    """Those of the input to their reader; dropout is in no segment, a constant in its reader's."""
    x = torch.randn(1, 2, 3)
    module = Reshaped()

    parts = cut(module, x)

    mains = [part.layers[0] for part in parts]
    assert mains == ["conv", "add", "rnn", "fc"]
    assert parts[0].inputs[0].shape == x.shape
    assert "drop" not in [layer for part in parts for layer in part.layers]
    assert [len(part.inputs) for part in parts] == [1, 1, 1, 1]
    assert len(parts[2].outputs) == 2
    check_chain(parts, [x], module(x))


class Random(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + torch.rand_like(x))


def test_segments_that_yield_something_else_than_the_whole_are_refused() -> None:
    """Here because the network itself yields something else each time."""
    with pytest.raises(ExportError, match="one after another, do not yield what the whole does"):
        cut(Random(), torch.zeros(1, 8))


class Between(nn.Module):
    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fc, self._change = nn.Linear(4, 4), change

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self._change(self.fc(x)), -1).float()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.double(), "softmax are of float64|fc are of float64"),
        (lambda x: x.masked_fill(x < x.max(), -torch.inf), "masked_fill are not all finite"),
    ],
)
def test_what_no_companion_takes_is_refused(change: Callable[[Tensor], Tensor], said: str) -> None:
    """Between segments it would have to be a file that a companion reads."""
    with pytest.raises(ExportError, match=said):
        cut(Between(change), torch.randn(1, 4))


@pytest.mark.parametrize(
    "name",
    [
        *("digits", "deepear"),
        *(pytest.param(name, marks=pytest.mark.soak) for name in ("squeezenet", "resnet18")),
    ],
)
def test_every_layer_of_the_zoo_is_in_one_segment(name: str) -> None:
    """All but dropout, and each once; and what does the work is what its type says."""
    spec = find_model(name)
    module, inputs = load_module(spec), make_inputs(spec)
    exported = make_graph(spec, module, inputs)
    description = describe_layers(exported, count_cost(module, exported))

    parts = segments.cut(spec, exported, description, inputs, "pte")

    types = {layer.name: layer.type for layer in description.layers}
    placed = [layer for part in parts for layer in part.layers]
    assert sorted(placed) == sorted(name for name, kind in types.items() if kind != "dropout")
    products = [name for name, kind in types.items() if kind in ("convolution", "feed-forward")]
    assert set(products) <= {part.layers[0] for part in parts}
    check_chain(parts, inputs, run_eager(spec, module, inputs))


SMALL = """
from torch import nn

INPUT_SHAPES = ((1, 3, 8, 8),)


def build():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, 5),
    )
"""


@pytest.fixture
def export_small(write_model: WriteModel, tmp_path: Path) -> ExportSmall:
    """Exports the small network's segments into ``tmp_path``; gives them and what was said."""

    def export(format: Format, precision: Precision) -> tuple[Cut, list[str]]:
        spec = with_variant(read_spec(write_model(SMALL)), Variant(precision=precision))
        said: list[str] = []
        made = export_segments(spec, format, cache_directory=tmp_path, on_progress=said.append)
        return made, said

    return export


@pytest.mark.parametrize(
    ("format", "precision"),
    [
        ("pte", "fp32"),
        ("tflite", "fp16"),
        *(
            pytest.param(format, precision, marks=pytest.mark.soak)
            for format, precision in (("pte", "fp16"), ("tflite", "fp32"), ("onnx", "fp16"))
        ),
    ],
)
def test_segments_are_exported_one_by_one(
    export_small: ExportSmall, tmp_path: Path, format: Format, precision: Precision
) -> None:
    """Each is a program with inputs of its own, checked against PyTorch, and cached."""
    made, said = export_small(format, precision)
    again, silence = export_small(format, precision)

    assert [each.layers for each in made.segments] == [("0", "1", "2"), ("3", "4"), ("5",)]
    assert [each.inputs[0].shape for each in made.segments] == [(1, 3, 8, 8), (1, 4, 6, 6), (1, 36)]
    assert (made.call.layers, made.call.inputs[0].shape) == ((), (1, 1))
    assert {each.file.format for each in made.programs} == {format}
    assert all(
        each.relative_error < (1e-4 if precision == "fp32" else 0.01) for each in made.programs
    )
    assert all((tmp_path / Path(file.path).name).is_file() for file in made.files)
    assert "Exporting its 3 segments one by one" in said
    assert (again, silence) == (made, [])


def test_a_damaged_segment_is_made_anew(export_small: ExportSmall, tmp_path: Path) -> None:
    """All of them are exported again, to the same."""
    made, _ = export_small("onnx", "fp32")
    (tmp_path / Path(made.segments[1].file.path).name).write_bytes(b"damaged")

    repaired, said = export_small("onnx", "fp32")

    assert "Exporting its 3 segments one by one" in said
    assert repaired == made


def test_int8_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Before anything is built."""
    int8 = with_variant(SPEC, Variant(precision="int8"))

    with pytest.raises(ExportError, match="convert all that it reads and yields"):
        export_segments(int8, "tflite", cache_directory=tmp_path, on_progress=print)
    assert not list(tmp_path.iterdir())


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = (nn.Conv2d(2, 2, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return torch.cat([self.left(x), self.right(x)], 1)


def chart_of(module: nn.Module, *inputs: Tensor) -> Chart:
    exported = make_graph(SPEC, module.eval(), inputs)
    description = describe_layers(exported, count_cost(module, exported))
    return segments.make_chart(SPEC, exported, description, "pte")


def test_a_chart_says_what_flows_between_segments():
    """A tensor that two segments read is one flow, and what none reads is none."""
    chart = chart_of(Branching(), torch.rand(1, 2, 4, 4))
    assert [group[0] for group in chart.segments] == ["stem", "left", "right", "cat"]
    flows = {flow.producer: flow.consumers for flow in chart.flows}
    assert flows == {0: (1, 2), 1: (3,), 2: (3,)}
    assert not chart.is_chain


def test_the_chart_of_a_chain_is_one():
    chart = chart_of(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), torch.rand(1, 4))
    assert chart.is_chain
    assert [flow.consumers for flow in chart.flows] == [(1,)]
