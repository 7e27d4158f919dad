"""Every parser and codec that reads what others wrote, on what is almost right: whatever comes,
there is an answer or an error of ours, and nothing else.

``MOBILEKIT_FUZZ`` is how many cases there are in all.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import measurement
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from recordings import write_recording

from mobilekit.analysis.answer import derive_answer
from mobilekit.analysis.findings import find_doubts
from mobilekit.analysis.layers.traces import parse_trace
from mobilekit.campaign.file import parse_plan
from mobilekit.contract.answering import check_answer
from mobilekit.contract.apart import find_lack
from mobilekit.contract.checks import decode_events, decode_request, decode_result
from mobilekit.contract.codec import encode
from mobilekit.contract.condensed import expand
from mobilekit.contract.protocol import RunResult, Trace
from mobilekit.contract.samples import interrupted
from mobilekit.errors import MobilekitError, ProtocolError
from mobilekit.executor.replay import open_recording
from mobilekit.meter.layout import find_layout
from mobilekit.model.checkpoint import INDEX_SUFFIX, find_files
from mobilekit.model.files import read_record, write_record
from mobilekit.model.given import parse_input, read_kinds
from mobilekit.phone import parse
from mobilekit.phone.profiles import parse_profile
from mobilekit.records.network import Placed, SharedValues
from mobilekit.results.documents import make_measurement_document
from mobilekit.results.saved import (
    BaselineDocument,
    CompressedDocument,
    PlacementDocument,
    read_baseline,
    read_compressed,
    read_placement,
)
from mobilekit.results.schema import decode_measurement
from mobilekit.results.text.measurement import render_measurement

CASES = int(os.environ.get("MOBILEKIT_FUZZ", "250"))
HERE = Path(__file__).parent
VECTORS = HERE / "vectors"
CAPTURED = [path.read_bytes() for path in sorted((HERE / "captured").glob("*.txt"))]
ANSWERS = [json.loads(path.read_bytes()) for path in sorted((VECTORS / "answers").glob("*.json"))]
TOKENS = [
    *(b"[" * 5000, b'{"a":' * 5000, b"-1", b"0", b"1e999", b"9" * 400, str(2**63).encode()),
    # More digits than Python makes an integer of.
    b"9" * 5000,
    *(b"null", b"true", b'""', b"\x00", b"\xff\xfe", b"\xe2\x80\xae", b"\x1b[2J", b"\r\n", b"NaN"),
    *(b"../../x", b" ", b",", b"9223372036854775807", b"1.0", b"'", b'"'),
]


def edited(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Some of the seeds' bytes changed, left out, put twice, or with others in their place."""

    @st.composite
    def edit(draw: st.DrawFn) -> bytes:
        data = draw(st.sampled_from(seeds))
        for _ in range(draw(st.integers(0, 4))):
            start = draw(st.integers(0, len(data)))
            end = min(len(data), start + draw(st.integers(0, 40)))
            put = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=6), st.just(b"")))
            again = data[start:end] if draw(st.booleans()) else b""
            data = data[:start] + put + again + data[end:]
        return data

    return st.one_of(edit(), st.binary(max_size=200))


def condensed_seeds() -> list[bytes]:
    vectors = json.loads((VECTORS / "condensed.json").read_bytes())
    return [bytes.fromhex(vector["condensed"]) for vector in vectors]


def apart_seeds(kind: str) -> list[bytes]:
    vectors = json.loads((VECTORS / "apart.json").read_bytes())
    return [bytes.fromhex(vector[kind]) for vector in vectors]


def seeds_of(pattern: str) -> list[bytes]:
    found = [path.read_bytes() for path in sorted((VECTORS / "valid").glob(pattern))]
    assert found
    return found


def on_path(read: Callable[[Path], object], suffix: str) -> Callable[[bytes], object]:
    """Of what reads a file."""

    def at_path(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / f"file{suffix}"
            path.write_bytes(data)
            return read(path)

    return at_path


def events(data: bytes) -> None:
    told = list(decode_events(data.replace(b"\n", b" ") + b"\n"))
    shown(interrupted("run-1", told, "why"))


def result(data: bytes) -> None:
    shown(decode_result(data))


def shown(told: RunResult) -> None:
    """Whatever is within the ranges can be stored, derived from and shown."""
    run = measurement(result=told)
    run = replace(run, findings=find_doubts(run))
    stored = decode_measurement(encode(run))
    assert stored == run
    answer = derive_answer(stored)
    encode(make_measurement_document(stored, answer, None))
    render_measurement(stored, answer)


def phone(data: bytes) -> None:
    text = data.decode(errors="replace")
    properties = parse.parse_properties(text)
    parse.parse_hardware_serial(properties)
    parse.parse_crash(text, 7)
    for name in (
        *("abis", "cpu_features", "battery", "ram_bytes", "available_bytes", "free_bytes"),
        *("user_unlocked", "locked", "adb_version", "version_name", "install_failure"),
        *("learned_capacity", "stated_capacity", "integer"),
    ):
        getattr(parse, f"parse_{name}")(text)


def trace(kind: Any) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        import hashlib

        digest = hashlib.sha256(data).hexdigest()
        told = Trace(kind=kind, sha256=digest, size_bytes=max(1, len(data)), latency_ns=(1,))
        return parse_trace(told, data)

    return read


def pt2(path: Path) -> object:
    from mobilekit.model.pt2_file import read_signature

    return read_signature(path)


def onnx(path: Path) -> object:
    from mobilekit.model.onnx_file import read_signature

    return read_signature(path)


def sealed(path: Path) -> object:
    return read_record(path, RunResult)


def sealed_seed() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file.json"
        write_record(path, decode_result(seeds_of("run_success*")[0]))
        return path.read_bytes()


def npy() -> bytes:
    file = BytesIO()
    np.save(file, np.zeros((1, 3, 2, 2), np.float32))
    return file.getvalue()


def archive(**files: bytes) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return file.getvalue()


def onnx_seed() -> bytes:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    data: bytes = model.SerializeToString()
    return data


ORT_TRACE = json.dumps(
    [
        {"cat": "Session", "name": "model_run", "ts": 10 * number, "dur": 9, "ph": "X", "args": {}}
        for number in range(5)
    ]
).encode()
METER = b"Time (s),Current (A),Voltage (V)\n" + b"".join(
    b"%f,0.5,3.9\n" % (number / 100) for number in range(40)
)
CAMPAIGN = b"""
models = ["nin", "./mine.py:Net"]
devices = ["nexus7", "desk2/pixel8"]
threads = ["all", 2]
repeats = 3
energy = "unplug"
seed = 7
[gates]
max_temperature_c = 35.5
"""
PROFILES = [path.read_bytes() for path in (HERE.parent / "mobilekit/profiles").glob("*.toml")]
PT2_GRAPH = b'{"schema_version": {"major": 8}, "guards_code": [], "graph_module": {}}'
INDEX = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'


def condensed(path: Path) -> object:
    return expand(path, path.with_suffix(".program"))


def program_apart(path: Path) -> object:
    weights = path.with_suffix(".ptd")
    weights.write_bytes(apart_seeds("weights")[0])
    return find_lack(path, ["level_1"], weights)


def weights_apart(path: Path) -> object:
    program = path.with_suffix(".pte")
    program.write_bytes(apart_seeds("program")[0])
    return find_lack(program, ["level_1"], path)


PLACED = (Placed(backend="vulkan", layers=("features.0",)),)


def baseline() -> list[bytes]:
    return [encode(BaselineDocument(measurements=(measurement(),)))]


def recording(data: bytes) -> None:
    """Each of its files in turn is what comes."""
    for name in ("device.json", "request.json", "progress.jsonl", "result.json"):
        with tempfile.TemporaryDirectory() as directory:
            for path in write_recording(Path(directory) / "run", measurement()).rglob(name):
                path.write_bytes(data)
            open_recording(Path(directory) / "run")


READERS: dict[str, tuple[Callable[[bytes], object], Callable[[], list[bytes]]]] = {
    "request": (decode_request, lambda: seeds_of("run_request*")),
    "result": (result, lambda: seeds_of("run_[sf]*")),
    "events": (events, lambda: seeds_of("[!r]*")),
    "stored result": (decode_measurement, lambda: [encode(measurement())]),
    "phone": (phone, lambda: CAPTURED),
    "etdump": (trace("etdump"), lambda: [b"\x10\x00\x00\x00ED00" + bytes(64)]),
    "onnxruntime's trace": (trace("onnxruntime"), lambda: [ORT_TRACE]),
    "profile": (lambda data: parse_profile(data, "a profile"), lambda: PROFILES),
    "input": (
        lambda data: parse_input(data.decode(errors="replace")),
        lambda: [b"1x3x224x224", b"int64:1x128"],
    ),
    "npy": (on_path(read_kinds, ".npy"), lambda: [npy()]),
    "npz": (on_path(read_kinds, ".npz"), lambda: [archive(**{"a.npy": npy()})]),
    "index": (on_path(find_files, INDEX_SUFFIX), lambda: [INDEX]),
    "pt2": (
        on_path(pt2, ".pt2"),
        lambda: [archive(a__b=b"{}")],
    ),
    "onnx": (on_path(onnx, ".onnx"), lambda: [onnx_seed()]),
    "baseline": (on_path(read_baseline, ".json"), baseline),
    "placement": (
        on_path(lambda path: read_placement(path, "nin"), ".json"),
        lambda: [encode(PlacementDocument(model="nin", placement=PLACED))],
    ),
    "compressed": (
        on_path(lambda path: read_compressed(path, "nin"), ".json"),
        lambda: [
            encode(
                CompressedDocument(
                    model="nin",
                    precision="int8",
                    compression=None,
                    storage=SharedValues(values=16),
                )
            )
        ],
    ),
    "recording": (recording, lambda: seeds_of("[!r]*") + seeds_of("run_*")),
    "cache": (on_path(sealed, ".json"), lambda: [sealed_seed()]),
    "condensed": (on_path(condensed, ".pte"), condensed_seeds),
    "program apart": (on_path(program_apart, ".pte"), lambda: apart_seeds("program")),
    "weights apart": (on_path(weights_apart, ".ptd"), lambda: apart_seeds("weights")),
    "campaign": (lambda data: parse_plan(data, Path("campaign.toml")), lambda: [CAMPAIGN]),
    "meter": (
        lambda data: find_layout(data, path="a file", delimiter=None, decimal=None),
        lambda: [METER, METER.replace(b",", b";").replace(b".", b",")],
    ),
}
LIMITS = settings(
    max_examples=max(1, CASES // (len(READERS) + 1)),
    suppress_health_check=list(HealthCheck),
    # The same cases each time, until there are many.
    derandomize=CASES < 10_000,
    database=None,
)


@pytest.mark.parametrize("name", READERS)
def test_whatever_comes(name: str) -> None:
    """An answer, or an error of ours."""
    read, seeds = READERS[name]

    @LIMITS
    @given(edited(seeds()))
    def check(data: bytes) -> None:
        with contextlib.suppress(MobilekitError):
            read(data)

    check()


@LIMITS
@given(st.data())
def test_whatever_is_answered(data: st.DataObject) -> None:
    """A result whose fields are other ones is refused as an answer, or can be shown."""
    vector = data.draw(st.sampled_from(ANSWERS))
    request = decode_request(json.dumps(vector["request"]).encode())
    changed = data.draw(edited([json.dumps(vector["result"]).encode()]))
    with contextlib.suppress(ProtocolError):
        told = decode_result(changed)
        check_answer(request, told)
        shown(told)
