"""Formulations for XNNPACK: they compute what the operators do, and are delegated."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import Export, WriteModel
from torch import Tensor, nn

from mobilekit.model.delegable import _FORMULATIONS, rewrite
from mobilekit.model.layers import layer_name, name_layers
from mobilekit.model.zoo import read_spec

aten = torch.ops.aten
LOWEST = torch.finfo(torch.float32).min
TAKEN = {
    *(aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.rsqrt.default),
    *(aten.view.default, aten.slice.Tensor, aten.cat.default, aten.permute.default),
    *(aten.transpose.int, aten.clone.default, aten._unsafe_view.default, aten.alias.default),
    *(aten.bmm.default, aten.linear.default, aten.softmax.int, aten.mean.dim),
    *(aten.clamp.default, aten.gelu.default, aten.conv2d.default, aten.dropout.default),
}
"""What XNNPACK's delegate takes, or the lowering leaves out."""


CLASSIFIER = """
from torch import nn

INPUT_SHAPES = ((1, 6),)
INPUT_DTYPES = ("int64",)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, ids):
        mask = ids.eq(0)
        return self.head(self.encoder(self.embedding(ids), src_key_padding_mask=mask).mean(1))


def build():
    return Classifier()
"""


class Calls(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def rewritten(module: nn.Module, *inputs: Tensor) -> torch.export.ExportedProgram:
    exported = torch.export.export(module.eval(), inputs)
    name_layers(exported)
    return rewrite(exported)


def targets(exported: torch.export.ExportedProgram) -> set[object]:
    return {node.target for node in exported.graph.nodes if node.op == "call_function"}


def maps(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 + 1


def scored(tensor: Tensor, mask: Tensor | None = None, **options: object) -> Tensor:
    return F.scaled_dot_product_attention(tensor, tensor * 0.5, tensor + 1, mask, **options)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.LayerNorm(6), (2, 5, 6)),
        (nn.LayerNorm((5, 6), elementwise_affine=False), (2, 5, 6)),
        (nn.GroupNorm(3, 6), (2, 6, 4, 5)),
        (nn.GroupNorm(2, 6, affine=False), (2, 6, 7)),
        (nn.RMSNorm(6), (2, 5, 6)),
        (nn.Hardsigmoid(), (1, 4, 3)),
        (Calls(lambda x: x.mean([2, 3])), (2, 6, 4, 5)),
        (Calls(lambda x: x.mean(1)), (2, 5, 6)),
        (Calls(lambda x: x.mean(-1, keepdim=True)), (2, 5, 6)),
        (Calls(lambda x: x.sum((0, 1))), (2, 5, 6)),
        (Calls(lambda x: x[:, 0] + x[:, -1]), (2, 5, 6)),
        (Calls(lambda x: x[:, :, None].squeeze(2).squeeze()), (2, 1, 6)),
        (Calls(lambda x: torch.stack([x, x * 2], -1)), (2, 6)),
        (Calls(lambda x: torch.cat(x.chunk(3, 1)[::-1], 1)), (2, 5)),
        (Calls(lambda x: x.split([1, 4], 1)[1] + x.split(4, 1)[0]), (2, 5)),
        (Calls(lambda x: x.unbind(1)[2].expand(2, 3)), (2, 5, 3)),
        (Calls(lambda x: x @ x.transpose(-2, -1)), (2, 3, 5, 6)),
        (Calls(lambda x: 2 * x / 6 + 1), (2, 5)),
        (Calls(scored), (2, 3, 5, 4)),
        (nn.MultiheadAttention(8, 2, batch_first=True), (1, 5, 8)),
    ],
)
def test_a_formulation_computes_the_same_and_is_delegated(
    module: nn.Module, shape: tuple[int, ...]
) -> None:
    """Of operators that the delegate takes alone, with real numbers as factors."""
    inputs = (maps(*shape),) * (3 if isinstance(module, nn.MultiheadAttention) else 1)
    with torch.no_grad():
        expected = module.eval()(*inputs)

    exported = rewritten(module, *inputs)

    outputs = exported.module()(*inputs)
    torch.testing.assert_close(outputs, expected, rtol=1e-5, atol=1e-5)
    assert targets(exported) <= TAKEN
    for node in exported.graph.nodes:
        if node.target is aten.mean.dim:
            assert node.args[1:] == ([2, 3], True)
        if node.target in (aten.add.Tensor, aten.mul.Tensor, aten.div.Tensor):
            assert type(node.args[1]) is not int


@pytest.mark.parametrize(
    ("mask", "options"),
    [
        (None, {"is_causal": True}),
        (None, {"scale": 0.3}),
        (torch.tensor([[0.0, 1.5, -math.inf, -2.0, -math.inf]]), {}),
        (torch.full((5, 5), -math.inf), {}),
        (torch.full((5, 5), LOWEST), {}),
        (torch.tensor([[True, False, True, True, False]] * 4 + [[False] * 5]), {}),
    ],
)
def test_a_mask_is_what_it_is_in_pytorch(mask: Tensor | None, options: dict[str, object]) -> None:
    """Where nothing may be looked at the result is 0, and where all is equally low it is not."""
    inputs = (maps(1, 2, 5, 4), *(() if mask is None else (mask,)))
    module = Calls(lambda *given: scored(*given, **options))

    outputs = rewritten(module, *inputs).module()(*inputs)

    torch.testing.assert_close(outputs, module(*inputs), rtol=1e-5, atol=1e-5)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=5),
    st.data(),
    st.booleans(),
    st.sampled_from([torch.mean, torch.sum]),
)
@settings(max_examples=60)
def test_means_and_sums_over_any_dimensions(
    shape: list[int], data: st.DataObject, keepdim: bool, function: Callable[..., Tensor]
) -> None:
    """Neighbouring dimensions are rewritten, others left alone."""
    numbers = st.integers(-len(shape), len(shape) - 1)
    dims = data.draw(st.lists(numbers, min_size=1, unique_by=lambda dim: dim % len(shape)))
    operator = aten.mean.dim if function is torch.mean else aten.sum.dim_IntList

    found = _FORMULATIONS[operator](maps(*shape), dims, keepdim)

    expected = function(maps(*shape), dims, keepdim)
    if found is not NotImplemented:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    elif len(dims) == 1:
        assert (len(shape), dims) != (4, [2, 3])
        pytest.fail(f"{dims} of {shape} is not rewritten")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.long().sum(1),
        lambda x: x.expand(3, 4, 5),
        lambda x: x.mean((0, 2)),
        lambda x: x[0] @ x[0].transpose(0, 1),
        lambda x: F.scaled_dot_product_attention(x, x[:1, :1], x[:1, :1]),
    ],
)
def test_what_has_no_formulation_is_left(function: Callable[[Tensor], Tensor]) -> None:
    """Other types, other dimensions, real expansions."""
    input = maps(1, 4, 5)
    torch.testing.assert_close(
        rewritten(Calls(function), input).module()(input), function(input), rtol=1e-5, atol=1e-5
    )


@pytest.mark.soak
def test_a_masked_text_classifier_is_delegated(write_model: WriteModel, export: Export) -> None:
    """All of its products; what looks ids up and compares them stays. The export checks outputs."""
    artifact, _ = export(read_spec(write_model(CLASSIFIER)))

    encoder = 6 * 8 * (3 * 8 + 8 + 2 * 16) + 2 * 6 * 6 * 8
    assert artifact.cost.macs == encoder + 8 * 3
    assert artifact.delegation.mac_fraction == 1.0
    assert artifact.delegation.operator_fraction > 0.9
    assert "aten::native_layer_norm" not in artifact.delegation.portable_operator_counts


def test_operations_stay_of_their_layers() -> None:
    """What a layer becomes has its name, with which a profile finds it."""
    network = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 4), nn.Hardsigmoid())

    exported = rewritten(network, maps(2, 6))

    layers = [layer_name(node) for node in exported.graph.nodes if node.op == "call_function"]
    assert list(dict.fromkeys(layers)) == ["0", "1", "2"]
