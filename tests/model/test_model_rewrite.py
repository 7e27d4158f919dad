"""The equal formulations, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import local_response_norm as imported

from mobilekit.model.rewrite import ExactRewrites


@settings(max_examples=150)
@given(
    size=st.integers(1, 9),
    channels=st.integers(1, 12),
    spatial=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    alpha=st.sampled_from([1e-4, 1e-2, 1.0, 3.0]),
    beta=st.sampled_from([0.75, 0.5, 1.0, 0.25, 0.6]),
    k=st.sampled_from([1.0, 2.0, 0.5]),
    seed=st.integers(0, 2**31),
)
def test_local_response_norm_equals_pytorchs(
    size: int, channels: int, spatial: list[int], alpha: float, beta: float, k: float, seed: int
) -> None:
    """Odd and even sizes, wider than the channels too, and every power."""
    x = torch.randn(2, channels, *spatial, generator=torch.Generator().manual_seed(seed)) * 3
    expected = F.local_response_norm(x, size, alpha=alpha, beta=beta, k=k)
    with ExactRewrites():
        actual = F.local_response_norm(x, size, alpha=alpha, beta=beta, k=k)
    torch.testing.assert_close(actual, expected, rtol=2e-6, atol=1e-7)


@settings(max_examples=60)
@given(
    kernel=st.integers(2, 5),
    stride=st.sampled_from([None, 1, 2]),
    padding=st.sampled_from([0, 1, (1, 0), (0, 1)]),
    ceil_mode=st.booleans(),
    count_include_pad=st.booleans(),
    divisor=st.sampled_from([None, 3]),
)
def test_avg_pool2d_equals_pytorchs(
    kernel: int,
    stride: int | None,
    padding: int | tuple[int, int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> None:
    """With every combination of its options, whether it is rewritten or left."""
    x = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(1))
    options = (kernel, stride, padding, ceil_mode, count_include_pad, divisor)
    expected = F.avg_pool2d(x, *options)
    with ExactRewrites():
        actual = F.avg_pool2d(x, *options)
    torch.testing.assert_close(actual, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("size", [1, 6, (6, 8), (None, 8), (3, 4)])
def test_adaptive_avg_pool2d_equals_pytorchs(size: object) -> None:
    """The identity is left out, any other pooling stays."""
    x = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(1))
    expected = F.adaptive_avg_pool2d(x, size)
    with ExactRewrites():
        actual = F.adaptive_avg_pool2d(x, size)
    torch.testing.assert_close(actual, expected, rtol=2e-6, atol=1e-6)


class Norms(nn.Module):
    """Calls local response normalization in each of the three ways."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LocalResponseNorm(3)

    def forward(self, x: Tensor) -> Tensor:
        return imported(F.local_response_norm(self.norm(x), 4), 2)


def test_every_way_of_calling_is_rewritten_while_tracing() -> None:
    """No pooling is left of a module's, a qualified and an imported call."""
    with ExactRewrites():
        exported = torch.export.export(Norms().eval(), (torch.randn(1, 4, 5, 5),))
    targets = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert not {target for target in targets if "pool" in target or "pow" in target}
    assert "aten.sqrt.default" in targets


@pytest.mark.parametrize(
    ("size", "beta", "k"), [(5, 0.75, 1.0), (3, 0.5, 2.0), (4, 0.6, 1.0), (5, 0.75, 1)]
)
def test_a_norm_that_was_exported_before_is_rewritten(size: int, beta: float, k: float) -> None:
    """What ATen operators it has become, they equal it and pool nothing when traced again."""
    x = torch.randn(1, 6, 5, 4, generator=torch.Generator().manual_seed(1)) * 3
    norm = nn.LocalResponseNorm(size, alpha=0.5, beta=beta, k=k)
    before = torch.export.export(norm, (x,)).module()
    with ExactRewrites():
        exported = torch.export.export(before, (x,))
    torch.testing.assert_close(exported.module()(x), norm(x), rtol=2e-6, atol=1e-7)
    targets = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert not {target for target in targets if "pool" in target or "squeeze.dim" in target}
    assert ("aten.pow.Tensor_Scalar" in targets) == (beta == 0.6)


def test_other_pooling_in_three_dimensions_is_left_alone() -> None:
    """Only the one that a norm has become is rewritten."""
    x = torch.randn(1, 6, 5, 4, generator=torch.Generator().manual_seed(1))
    for options in (
        ([2, 2, 1], [1, 1, 1]),
        ([2, 1, 1], [2, 1, 1]),
        ([2, 1, 1], [1, 1, 1], [1, 0, 0]),
    ):
        expected = torch.ops.aten.avg_pool3d.default(x, *options)
        with ExactRewrites():
            actual = torch.ops.aten.avg_pool3d.default(x, *options)
        assert torch.equal(actual, expected)
