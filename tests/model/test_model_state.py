"""Networks that are random or keep a state, and parts that are called like a graph's own."""

from __future__ import annotations

import pytest
import torch
from model_files import Export, WriteModel

from mobilekit.contract.protocol import Format
from mobilekit.errors import ExportError
from mobilekit.model.failures import fix_of
from mobilekit.model.given import Given, InputKind
from mobilekit.model.load import load_module
from mobilekit.model.reference import find_state, make_inputs, run_eager
from mobilekit.model.state import preserved_state
from mobilekit.model.zoo import find_model
from mobilekit.records.network import ModelSpec

NETWORKS = '''
import torch
import torch.nn.functional as F
from torch import nn


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)


class Stream(Base):
    """Its state begins with other than zeros, and is a function of its parameters."""

    def __init__(self):
        super().__init__()
        self.register_buffer("state", torch.full((1, 4), 0.5))

    def forward(self, x):
        self.state.copy_(torch.tanh(self.layer(x) + self.state))
        return self.state * 2


class Rebound(Stream):
    def forward(self, x):
        self.state = torch.tanh(self.layer(x) + self.state)
        return self.state * 2


class Hidden(Base):
    """Its state is in no buffer."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, x):
        self.seen += 1
        return self.layer(x) * self.seen


class Late(Base):
    def forward(self, x):
        self.before = self.layer(x) + getattr(self, "before", 0)
        return self.before


class Counting(Base):
    """What it leaves behind it never reads."""

    def forward(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return self.layer(x)


class Dropping(Base):
    def forward(self, x):
        return self.layer(F.dropout(x.expand(64, 4), 0.5))


class Noisy(Base):
    def forward(self, x):
        return self.layer(x) + torch.randn(4)


class Named(nn.Module):
    """Its parts have names that torch.fx gives to its own."""

    def __init__(self):
        super().__init__()
        self.meta = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        self.graph = nn.Linear(3, 2)
        self.register_buffer("code", torch.ones(2))

    def forward(self, x):
        return self.graph(self.meta(x)) * self.code


class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).abs()
'''


@pytest.fixture
def network(write_model: WriteModel):  # type: ignore[no-untyped-def]
    path = write_model(NETWORKS, "nets.py")

    def find(name: str) -> ModelSpec:
        return find_model(f"{path}:{name}", Given(kinds=(InputKind("float32", (1, 4)),)))

    return find


@pytest.mark.parametrize("name", ["Stream", "Rebound", "Hidden", "Late"])
def test_an_inference_leaves_no_state_behind(network, name: str) -> None:  # type: ignore[no-untyped-def]
    """Buffers that are written to or replaced, and attributes that are new or replaced."""
    spec = network(name)
    module = load_module(spec)
    inputs = make_inputs(spec)
    first, second = (run_eager(spec, module, inputs)[0] for _ in range(2))
    assert torch.equal(first, second)
    with preserved_state(module) as written, torch.no_grad():
        outputs = [module(*inputs) for _ in range(2)]
    assert not torch.equal(*outputs)
    assert any((written.buffers, written.attributes))


@pytest.mark.parametrize(
    ("name", "state"),
    [("Stream", ("state",)), ("Rebound", ("state",)), ("Counting", ()), ("Named", ())],
)
def test_a_state_is_what_changes_the_next_inference(network, name, state) -> None:  # type: ignore[no-untyped-def]
    """What is left behind and never read is none."""
    spec = network(name)
    module, inputs = load_module(spec), make_inputs(spec)
    assert find_state(spec, module, inputs, run_eager(spec, module, inputs)) == state


@pytest.mark.parametrize(("name", "where"), [("Hidden", "seen"), ("Late", "before")])
def test_a_state_that_an_export_cannot_see_is_refused(network, export: Export, name, where) -> None:  # type: ignore[no-untyped-def]
    """It would be frozen without a word."""
    with pytest.raises(ExportError, match=f"keeps a state.*attributes: {where}.*register_buffer"):
        export(network(name))


@pytest.mark.parametrize(("name", "drawn"), [("Dropping", "dropout"), ("Noisy", "randn")])
@pytest.mark.parametrize("artifact_format", ["pte", "onnx"])
def test_a_random_network_is_told_so(
    network,  # type: ignore[no-untyped-def]
    export: Export,
    name: str,
    drawn: str,
    artifact_format: Format,
) -> None:
    """Its engine is not blamed; what draws is named."""
    with pytest.raises(
        ExportError, match=f"is random: two runs .*drawn by: {drawn}.*training="
    ) as e:
        export(network(name), artifact_format)
    assert "ExecuTorch" not in str(e.value)


def test_a_state_is_exported_as_it_begins(network, export: Export) -> None:  # type: ignore[no-untyped-def]
    """The outputs agree from the same state, although parameters would have needed gradients."""
    artifact, _ = export(network("Stream"))
    assert artifact.relative_error < 1e-5
    with pytest.raises(ExportError, match=r"begin each with the first \(state: state.*pte"):
        export(network("Stream"), "onnx")


def test_parts_may_be_called_like_a_graphs_own(network, export: Export) -> None:  # type: ignore[no-untyped-def]
    """They export, and layers keep their names."""
    from mobilekit.model.describe import count_cost, describe
    from mobilekit.model.graph import make_graph

    spec = network("Named")
    module, inputs = load_module(spec), make_inputs(spec)
    graph = make_graph(spec, module, inputs)
    layers = describe(spec, graph, count_cost(module, graph)).layers
    assert [layer.name for layer in layers] == ["meta.0", "meta.1", "graph", "mul"]
    artifact, _ = export(spec)
    assert artifact.relative_error < 1e-5


def test_onnx_is_advised_where_it_was_tried(network, export: Export) -> None:  # type: ignore[no-untyped-def]
    """Complex numbers are named, and no operator is where none is."""
    with pytest.raises(ExportError) as caught:
        export(network("Spectrum"))
    assert caught.match("`--format onnx` takes it.*no complex numbers")
    assert "operator that it names" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        (
            "no lowering for aten::foo.out and aten.bar.default",
            "aten::foo.out, aten.bar.default by",
        ),
        ("Node meta_0_weight references nonexistent attribute", "No operator is named"),
        ("expected torch.complex64", "no complex numbers"),
    ],
)
def test_only_what_is_named_is_to_be_replaced(said: str, fix: str) -> None:
    """The advice follows from the error."""
    assert fix in fix_of(RuntimeError(said), "ExecuTorch")
