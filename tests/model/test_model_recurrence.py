"""Recurrent layers: they compute what PyTorch's do, unrolled or as a loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from model_files import Export, WriteModel
from torch import Tensor, nn

from mobilekit.model import pte
from mobilekit.model.delegable import rewrite
from mobilekit.model.recurrence import LONGEST_UNROLLED
from mobilekit.model.zoo import read_spec

SPOTTER = """
import torch
from torch import nn

INPUT_SHAPES = ((1, {steps}, 4),)


class Spotter(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 3, batch_first=True)
        self.last = nn.Linear(3, 2)

    def forward(self, x):
        return self.last(self.gru(x)[0][:, -1])


def build():
    return Spotter()
"""


class All(nn.Module):
    """A recurrent layer with its last states."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        output, states = self.layer(x)
        return output, *(states if isinstance(states, tuple) else (states,))


def loops(exported: Any) -> int:
    nodes = exported.graph.nodes
    return sum(node.target is torch.ops.higher_order.scan for node in nodes)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        pytest.param(nn.GRU(4, 3), (20, 2, 4), 1, marks=pytest.mark.soak),
        (nn.GRU(4, 3, batch_first=True, bidirectional=True), (1, 9, 4), 2),
        (nn.LSTM(4, 3), (17, 1, 4), 1),
        (nn.LSTM(4, 3, bias=False), (3, 4), 0),
        (nn.RNN(4, 3, nonlinearity="relu"), (20, 1, 4), 1),
        (nn.RNN(4, 3), (LONGEST_UNROLLED, 1, 4), 0),
        pytest.param(nn.LSTM(4, 3, bidirectional=True), (4, 1, 4), 0, marks=pytest.mark.soak),
        (nn.LSTM(4, 3, proj_size=2), (3, 1, 4), 0),
    ],
)
def test_a_recurrence_computes_the_same(
    layer: nn.Module, shape: tuple[int, ...], expected: int
) -> None:
    """Long ones as a loop for each layer and direction, short ones and projections without."""
    module, x = All(layer).eval(), torch.randn(shape)
    rewritten = rewrite(torch.export.export(module, (x,)))
    # With gradients a loop would be traced backwards too.
    with torch.no_grad():
        outputs, written = module(x), rewritten.module()(x)

    assert loops(rewritten) == expected
    for found, wanted in zip(written, outputs, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_loop_is_lowered_once_and_delegated(write_model: WriteModel, export: Export) -> None:
    """Its step's operators are in the file once, and all of its products are XNNPACK's.

    The export checks its outputs against PyTorch's.
    """
    artifact, _ = export(read_spec(write_model(SPOTTER.format(steps=40))))

    assert artifact.cost.macs == 40 * (3 * 3 * (4 + 3)) + 3 * 2
    assert artifact.delegation.mac_fraction == 1.0
    assert artifact.delegation.delegated_operators < 40
    assert "aten::addmm" not in artifact.delegation.portable_operator_counts


class Cell(nn.Module):
    """A recurrence written out."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.cell, self.steps = nn.RNNCell(4, 3), steps

    def forward(self, x: Tensor) -> Tensor:
        hidden = x.new_zeros(1, 3)
        for step in range(self.steps):
            hidden = self.cell(x[:, step], hidden)
        return hidden


def test_a_recurrence_written_out_is_told_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long it will take, why, and what takes less; a short one is not worth a word."""
    long, short = (
        rewrite(torch.export.export(Cell(steps), (torch.ones(1, steps, 4),))) for steps in (30, 4)
    )
    monkeypatch.setattr(pte, "LONG_OPERATIONS", 50)

    warning = pte.foresee_length(long)

    assert warning is not None
    assert "cell.weight_ih is used 30 times" in warning
    assert "nn.GRU" in warning
    assert "--format onnx" in warning
    assert pte.foresee_length(short) is None
