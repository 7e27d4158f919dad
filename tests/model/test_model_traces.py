"""Engines' own traces of a small network, read back; and anything else that claims to be one."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mobilekit.analysis.layers.matching import LAYOUT_CHANGE
from mobilekit.analysis.layers.profile import derive_profile
from mobilekit.analysis.layers.traces import parse_trace
from mobilekit.contract.protocol import PROFILE_WARMUPS, Trace
from mobilekit.errors import ProtocolError
from mobilekit.model.artifact_cache import read_operators
from mobilekit.model.describe import read_description
from mobilekit.model.export import export_artifact
from mobilekit.model.zoo import read_spec
from mobilekit.records.artifact import Artifact
from mobilekit.records.profile import LayerTrace
from mobilekit.runner.engines import make_engine

ITERATIONS = 4
SOURCE = '''
"""Normalization, a repeated module, an addition, a concatenation, and a kernel of no delegate."""

import torch
from torch import nn

INPUT_SHAPES = ((1, 3, 16, 16),)


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 1)
        self.relu = nn.ReLU()
        self.elu = nn.ELU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(16, 4)

    def forward(self, x):
        y = self.relu(self.norm(self.first(x)))
        z = self.relu(self.second(y) + y)
        z = torch.cat([self.elu(z), y], 1)
        return self.last(self.pool(z).flatten(1)).softmax(1)


def build():
    return Mixed()
'''


@dataclass(frozen=True)
class Traced:
    artifact: Artifact
    cache: Path
    trace: Trace
    data: bytes

    @property
    def layer_trace(self) -> LayerTrace:
        return LayerTrace(
            description=read_description(self.artifact.model, cache_directory=self.cache),
            program=read_operators(self.artifact, cache_directory=self.cache),
            operators=parse_trace(self.trace, self.data),
        )


@pytest.fixture(scope="module", params=["pte", "onnx"])
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    directory = tmp_path_factory.mktemp(request.param)
    (directory / "mixed.py").write_text(SOURCE)
    artifact = export_artifact(
        read_spec(directory / "mixed.py"),
        request.param,
        cache_directory=directory / "cache",
        on_progress=lambda message: None,
    )
    inputs = [np.ones((1, 3, 16, 16), np.float32)]
    path = directory / "cache" / Path(artifact.file.path).name
    program = make_engine(request.param, 1).load_traced(path, "forward")
    program.set_inputs(inputs)
    for _ in range(PROFILE_WARMUPS + ITERATIONS):
        program.execute()
    program.write_trace(directory / "trace.bin")
    data = (directory / "trace.bin").read_bytes()
    trace = Trace(
        kind=program.trace_kind,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        latency_ns=(10**6,) * ITERATIONS,
    )
    return Traced(artifact, directory / "cache", trace, data)


def test_every_operator_finds_its_layer(traced: Traced) -> None:
    """Normalization and activations are folded, delegates and kernels are told apart."""
    profile = derive_profile(traced.layer_trace, (10**6,), traced.trace.latency_ns)
    assert profile.problems == ()
    fates = {cost.layer.name: cost.fate for cost in profile.layers}
    measured = {name for name, fate in fates.items() if fate == "measured"}
    assert {"first", "second", "elu", "cat", "pool", "last", "softmax"} <= measured
    assert fates["norm"] == fates["relu"] == "folded"
    assert "unresolved" not in fates.values()
    types = {cost.type for cost in profile.types}
    assert {"convolution", "feed-forward", "pooling", "concatenation", "softmax"} <= types
    assert LAYOUT_CHANGE in types


def test_times_lie_inside_the_inference(traced: Traced) -> None:
    """One start and one duration for each iteration, operators within the whole."""
    operators = parse_trace(traced.trace, traced.data)
    (whole,) = (one for one in operators if one.role == "program")
    for one in operators:
        assert len(one.started_ns) == len(one.duration_ns) == ITERATIONS
        for started, took, total in zip(
            one.started_ns, one.duration_ns, whole.duration_ns, strict=True
        ):
            assert started >= 0
            assert took >= 0
            # XNNPACK adds its own whole microseconds to the time at which its delegate began.
            assert started + took <= total + 10_000


def test_executorchs_own_reader_reads_the_same(traced: Traced, tmp_path: Path) -> None:
    """Every event, its order, its name and both of its times."""
    if traced.trace.kind != "etdump":
        pytest.skip("it reads ETDumps only")
    from executorch.devtools.etdump.serialize import deserialize_from_etdump_flatcc

    dump: Any = deserialize_from_etdump_flatcc(traced.data)
    runs = [run.events for run in dump.run_data if run.name == "Execute"][PROFILE_WARMUPS:]
    operators = parse_trace(traced.trace, traced.data)
    assert len(runs) == ITERATIONS
    for number, events in enumerate(runs):
        profiles = [event.profile_event for event in events]
        (whole,) = (one for one in profiles if one.name == "Method::execute")
        assert [
            (one.name, one.started_ns[number], one.duration_ns[number]) for one in operators
        ] == [
            (
                one.delegate_debug_id_str or one.name,
                one.start_time - whole.start_time,
                one.end_time - one.start_time,
            )
            for one in profiles
        ]


def test_an_etdump_is_read_with_and_without_its_size(traced: Traced) -> None:
    """A companion may write the buffer in either way."""
    if traced.trace.kind != "etdump":
        pytest.skip("only an ETDump has a size before it")
    bare = traced.data[4:]
    assert parse_trace(about(traced.trace, bare), bare) == parse_trace(traced.trace, traced.data)


def test_a_trace_of_other_iterations_is_refused(traced: Traced) -> None:
    """More or fewer than the companion timed: it is not the trace of that run."""
    other = replace(traced.trace, latency_ns=(1, 2))
    with pytest.raises(ProtocolError, match="4 iterations, not 2"):
        parse_trace(other, traced.data)


def test_a_trace_that_changed_on_its_way_is_refused(traced: Traced) -> None:
    """It must hash to what the companion said of it."""
    with pytest.raises(ProtocolError, match="not what the companion wrote"):
        parse_trace(traced.trace, traced.data + b" ")


def test_iterations_that_differ_are_refused(traced: Traced) -> None:
    """An operator that is missing from one of them would shift all others."""
    if traced.trace.kind != "onnxruntime":
        pytest.skip("text is easier to damage")
    events = json.loads(traced.data)
    last = max(n for n, one in enumerate(events) if one["cat"] == "Node")
    del events[last]
    data = json.dumps(events).encode()
    with pytest.raises(ProtocolError, match="differ"):
        parse_trace(about(traced.trace, data), data)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_no_bytes_at_all_are_more_than_refused(traced: Traced, data: bytes) -> None:
    """Whatever the file holds, the error is one of ours."""
    with pytest.raises(ProtocolError):
        parse_trace(about(traced.trace, data), data)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_trace_is_refused_or_read(
    traced: Traced, place: float, value: int, cut: bool
) -> None:
    """One changed byte, or a file that ends there, never ends in another error."""
    at = int(place * len(traced.data))
    data = traced.data[:at] + bytes([value]) + (b"" if cut else traced.data[at + 1 :])
    with contextlib.suppress(ProtocolError):
        parse_trace(about(traced.trace, data), data)


def about(trace: Trace, data: bytes) -> Trace:
    """What a companion would say of these bytes."""
    return replace(trace, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
