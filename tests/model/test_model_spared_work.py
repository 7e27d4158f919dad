"""What ExecuTorch's lowering is spared of changes no program."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from executorch.exir.dialects.edge import _ops as edge_operators
from model_files import Export, WriteModel
from ruamel.yaml import YAML
from torch.fx.traceback import NodeSource

from mobilekit.model import pte
from mobilekit.model.spared_work import sparing_work
from mobilekit.model.zoo import read_spec

NETWORK = """
import torch
from torch import nn
from torch.nn import functional as F

INPUT_SHAPES = ((1, 3, 8, 8),)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(8, 8)

    def forward(self, x):
        x = F.interpolate(self.stem(x), scale_factor=2, mode="bilinear", align_corners=False)
        x = F.interpolate(x, size=(8, 8), mode="nearest")
        q = self.head(x)
        return F.scaled_dot_product_attention(q, q, q, attn_mask=torch.zeros(8, 8)).softmax(-1)


def build():
    return Network()
"""


def test_programs_stay_the_same_byte_for_byte(
    write_model: WriteModel,
    export: Export,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also of a network that has what the patterns look for."""
    spec = read_spec(write_model(NETWORK))
    spared, _ = export(spec)
    (tmp_path / "cache").rename(tmp_path / "spared")
    monkeypatch.setattr(pte, "sparing_work", nullcontext)

    whole, _ = export(spec)

    assert (spared.file, spared.delegation) == (whole.file, whole.delegation)


def test_operators_are_read_as_their_own_reader_reads_them() -> None:
    """Another dialect of YAML could read a word as a truth value."""
    with sparing_work():
        found = edge_operators._edge_dialect_info
    text = (Path(edge_operators.__file__).parent / "edge.yaml").read_text(encoding="utf-8")

    assert found == {entry["inherits"]: entry for entry in YAML(typ="safe").load(text)}


def test_what_was_replaced_is_put_back() -> None:
    """Nothing of it stays in the libraries."""
    before = torch._export.utils._collect_all_valid_cia_ops_for_namespace
    with sparing_work():
        assert hasattr(NodeSource, "__deepcopy__")

    assert not hasattr(NodeSource, "__deepcopy__")
    assert torch._export.utils._collect_all_valid_cia_ops_for_namespace is before
