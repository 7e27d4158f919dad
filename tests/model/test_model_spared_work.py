"""What exports are spared of changes no program."""

from __future__ import annotations

import inspect
import operator
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from executorch.exir.dialects.edge import _ops as edge_operators
from model_files import Export, WriteModel
from onnxscript import values
from ruamel.yaml import YAML
from torch._export import utils as export_utils
from torch.export import exported_program
from torch.fx import Graph, GraphModule, symbolic_trace
from torch.fx.traceback import NodeSource

from mobilekit.contract.protocol import Format
from mobilekit.formats import FORMATS
from mobilekit.model import onnx, pte, tflite
from mobilekit.model.export import export_artifact
from mobilekit.model.spared_work import (
    sparing_decompositions,
    sparing_lowering,
    sparing_translation,
)
from mobilekit.model.zoo import read_spec, with_variant
from mobilekit.records.network import Variant

BILINEAR = 'F.interpolate(self.stem(x), scale_factor=2, mode="bilinear", align_corners=False)'
NEAREST = 'F.interpolate(x, size=(8, 8), mode="nearest")'
NETWORK = f"""
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
        x = {BILINEAR}
        x = {NEAREST}
        q = self.head(x)
        return F.scaled_dot_product_attention(q, q, q, attn_mask=torch.zeros(8, 8)).softmax(-1)


def build():
    return Network()
"""


@pytest.mark.parametrize(
    "artifact_format",
    [pytest.param(each, marks=[pytest.mark.soak] * (each != "onnx")) for each in FORMATS],
)
def test_programs_stay_the_same_byte_for_byte(
    write_model: WriteModel,
    export: Export,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    artifact_format: Format,
) -> None:
    """Also of a network that has what the patterns look for."""
    # What LiteRT makes of this one is refused, spared or not: it computes something else.
    source = NETWORK.replace(BILINEAR, "self.stem(x)") if artifact_format == "tflite" else NETWORK
    spec = read_spec(write_model(source))
    spared, _ = export(spec, artifact_format)
    (tmp_path / "cache").rename(tmp_path / "spared")
    for module, name in (
        *((pte, "sparing_decompositions"), (pte, "sparing_lowering")),
        *((onnx, "sparing_translation"), (tflite, "sparing_decompositions")),
    ):
        monkeypatch.setattr(module, name, nullcontext)

    whole, _ = export(spec, artifact_format)

    assert (spared.file, spared.delegation) == (whole.file, whole.delegation)


ROTARY = """
import torch
from executorch.backends.vulkan.patterns.rope import RotaryEmbeddingPattern
from torch import nn

INPUT_SHAPES = ((1, 1, 4, 32), (1, 1, 2, 32), (1, 16), (1, 16))


def build():
    return RotaryEmbeddingPattern()
"""


ENLARGING = NETWORK.replace(NEAREST, "F.interpolate(x, scale_factor=2)[..., :8, :8]")
"""Nearest upsampling by a whole number, as Vulkan takes it."""


@pytest.mark.soak
@pytest.mark.parametrize("network", [ENLARGING, ROTARY], ids=["without", "with"])
def test_programs_for_vulkan_stay_the_same(
    write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    """Also of a network that has what Vulkan's patterns look for."""
    spec = with_variant(read_spec(write_model(network)), Variant(backend="vulkan"))
    artifacts = []
    for name, sparing in (("spared", sparing_lowering), ("whole", nullcontext)):
        monkeypatch.setattr(pte, "sparing_lowering", sparing)
        artifacts.append(
            export_artifact(spec, cache_directory=tmp_path / name, on_progress=lambda _: None)
        )

    spared, whole = artifacts
    assert (spared.file, spared.delegation) == (whole.file, whole.delegation)


def test_operators_are_read_as_their_own_reader_reads_them() -> None:
    """Another dialect of YAML could read a word as a truth value."""
    with sparing_lowering(Variant()):
        found = edge_operators._edge_dialect_info
    text = (Path(edge_operators.__file__).parent / "edge.yaml").read_text(encoding="utf-8")

    assert found == {entry["inherits"]: entry for entry in YAML(typ="safe").load(text)}


def test_an_operator_that_is_registered_later_is_seen() -> None:
    """As a model file may do between two exports of a process."""

    def collected() -> set[str]:
        with sparing_decompositions():
            found = export_utils._collect_all_valid_cia_ops_for_namespace(torch.ops.mobilekit_test)
        return {str(each) for each in found}

    with torch.library._scoped_library("mobilekit_test", "DEF") as library:
        library.define("first(Tensor x) -> Tensor")
        library.impl("first", lambda x: x + 1, "CompositeImplicitAutograd")
        assert collected() == {"mobilekit_test.first.default"}

        library.define("second(Tensor x) -> Tensor")
        library.impl("second", lambda x: x + 2, "CompositeImplicitAutograd")
        assert collected() == {"mobilekit_test.first.default", "mobilekit_test.second.default"}


class Doubled(torch.nn.Module):
    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value + value


def compute(module: GraphModule, function: Callable[[Any, Any], Any]) -> None:
    """Have the network compute another function of its input and itself."""
    for node in module.graph.nodes:
        if node.op == "call_function":
            node.target = function


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """The graphs whose code has been written."""
    graphs: list[Graph] = []
    write = Graph.python_code

    def note(graph: Graph, *arguments: Any, **options: Any) -> Any:
        graphs.append(graph)
        return write(graph, *arguments, **options)

    monkeypatch.setattr(Graph, "python_code", note)
    return graphs


def test_a_graphs_code_is_written_when_it_is_read(written: list[Graph]) -> None:
    """Once for all who read it: callers, those who ask for arguments, and those who print it."""
    with sparing_decompositions():
        module = symbolic_trace(Doubled())
        copied = deepcopy(module)
        module.recompile()
        assert written == []

        assert module(1) == 2
        assert list(inspect.signature(module.forward).parameters) == ["value"]
        assert "value + value" in module.code
        assert written == [module.graph]

        compute(module, operator.sub)
        module.recompile()
        assert type(module).forward(module, 1) == 0
        assert "value - value" in module.code
        assert written == [module.graph] * 2

        compute(module, operator.mul)
        module.recompile()
        assert "value * value" in str(module)
        assert copied(1) == 2


def test_an_unwritten_module_has_what_a_written_one_has(written: list[Graph]) -> None:
    """And its class does not have what torch writes to modules."""
    whole = symbolic_trace(Doubled())
    with sparing_decompositions():
        for name in ("_code", "_lineno_map", "_prologue_start"):
            module = symbolic_trace(Doubled())
            assert not hasattr(type(module), name)
            assert module.graph not in written
            assert getattr(module, name) == getattr(whole, name)
            assert module.graph in written

        members = dict(inspect.getmembers(type(symbolic_trace(Doubled()))))
        assert list(inspect.signature(members["forward"]).parameters) == ["self", "value"]


@pytest.mark.parametrize("is_exporting", [True, False])
def test_an_unwritten_module_is_pickled(is_exporting: bool) -> None:
    """With the modules in it, while networks are exported and after that."""
    with sparing_decompositions():
        graph = Graph()
        value = graph.call_module("inner", (graph.placeholder("value"),))
        graph.output(graph.call_function(operator.add, (value, value)))
        module = GraphModule({"inner": symbolic_trace(torch.nn.Identity())}, graph)
        pickled = pickle.dumps(module) if is_exporting else b""
    pickled = pickled or pickle.dumps(module)

    assert pickle.loads(pickled)(1) == module(1) == 2


def test_modules_in_a_module_are_recompiled_with_it() -> None:
    inner = symbolic_trace(Doubled())
    graph = Graph()
    graph.output(graph.call_module("inner", (graph.placeholder("value"),)))
    outer = GraphModule({"inner": inner}, graph)
    with sparing_decompositions():
        compute(inner, operator.mul)
        outer.recompile()
        assert outer.inner(3) == outer(3) == 9


def test_code_that_nobody_has_read_is_written_after_the_export_too() -> None:
    """An exported program outlives the context that its graph was changed in."""
    exported = torch.export.export(Doubled(), (torch.ones(2),))
    with sparing_decompositions():
        decomposed = exported.run_decompositions({})
        module = decomposed.module()
        again = GraphModule(module, deepcopy(module.graph))
        assert (again._in_spec, again._out_spec) == (module._in_spec, module._out_spec)

    assert "add.Tensor" in decomposed.graph_module.code
    assert again(torch.ones(2)).tolist() == [2, 2]


def test_what_was_replaced_is_put_back() -> None:
    """Nothing of it stays in the libraries."""
    collect = export_utils._collect_all_valid_cia_ops_for_namespace
    function_ir = values.TracedOnnxFunction.function_ir
    devices = exported_program._BACKEND_KEYS_TO_OVERRIDE
    recompile = GraphModule.recompile
    with sparing_lowering(Variant(backend="vulkan")), sparing_translation():
        assert hasattr(NodeSource, "__deepcopy__")
        assert torch._ops.Callable is not Callable
        assert [isinstance(each, torch._ops.Callable) for each in (print, 1)] == [True, False]
        assert export_utils._collect_all_valid_cia_ops_for_namespace is not collect
        assert values.TracedOnnxFunction.function_ir is not function_ir
        assert GraphModule.recompile is not recompile
        of_networks = exported_program._BACKEND_KEYS_TO_OVERRIDE
        assert [key.name for key in of_networks] == ["CPU", "Meta"]

    assert not hasattr(NodeSource, "__deepcopy__")
    assert torch._ops.Callable is Callable
    assert export_utils._collect_all_valid_cia_ops_for_namespace is collect
    assert values.TracedOnnxFunction.function_ir is function_ir
    assert exported_program._BACKEND_KEYS_TO_OVERRIDE is devices
    assert GraphModule.recompile is recompile
