"""Networks in files that other tools have written."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_files import Export, WriteModel
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from mobilekit.contract.outputs import check_outputs
from mobilekit.errors import ExportError, MobilekitError, ModelFileError, WeightsError
from mobilekit.model.given import Given
from mobilekit.model.load import load_module
from mobilekit.model.onnx_runtime import run_file
from mobilekit.model.reference import make_inputs, run_eager
from mobilekit.model.zoo import find_model, read_card

SHAPE = (1, 3, 8, 8)


class Network(nn.Module):
    """Convolution, normalization, a constant, and a nested output."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout())
        self.head = nn.Linear(4, 5)
        self.register_buffer("shift", torch.arange(4.0), persistent=False)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        pooled = self.body(x).mean((2, 3), keepdim=True).flatten(1)
        return {"scores": self.head(pooled + self.shift)}


@pytest.fixture(scope="module")
def pt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``Network`` as ``torch.export.save`` writes it."""
    path = tmp_path_factory.mktemp("pt2") / "other.pt2"
    torch.manual_seed(1)
    torch.export.save(torch.export.export(Network().eval(), (torch.zeros(SHAPE),)), path)
    return path


def changed(pt2: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The archive with every file passed through ``change``; ``None`` leaves one out."""
    with zipfile.ZipFile(pt2) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name.partition("/")[2], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def changed_program(pt2: Path, target: Path, change: Callable[[Any], None]) -> Path:
    """The archive with its graph changed."""

    def edit(name: str, content: bytes) -> bytes:
        if name != "models/model.json":
            return content
        program = json.loads(content)
        change(program)
        return json.dumps(program).encode()

    return changed(pt2, target, edit)


# --- .pt2 --------------------------------------------------------------------------------------


def test_a_pt2_file_exports(pt2: Path, export: Export) -> None:
    """By its path, with its own weights: delegated whole, and checked against PyTorch."""
    spec = find_model(str(pt2))
    artifact, _ = export(spec)
    (expected,) = torch.export.load(pt2).module()(*make_inputs(spec)).values()
    (given_out,) = run_eager(spec, load_module(spec), make_inputs(spec))

    assert (spec.name, spec.input_shapes, spec.input_dtypes) == ("other", (SHAPE,), ("float32",))
    assert str(pt2) == spec.weights_path
    assert "PyTorch" in spec.title
    assert torch.equal(expected, given_out)
    assert artifact.delegation.portable_operator_counts == {}
    assert artifact.cost.parameters == sum(p.numel() for p in Network().parameters())


def test_a_pt2_file_is_rewritten_like_a_model_file(tmp_path: Path, export: Export) -> None:
    """Normalization, padded averages and identities leave nothing undelegated."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.LocalResponseNorm(5), nn.AvgPool2d(3, 1, 1),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 5),
    )  # fmt: skip
    path = tmp_path / "pooling.pt2"
    torch.export.save(torch.export.export(network.eval(), (torch.zeros(SHAPE),)), path)
    artifact, _ = export(find_model(str(path)))
    assert artifact.delegation.portable_operator_counts == {}


def test_a_pt2_files_shapes_are_known_without_torch(pt2: Path) -> None:
    """Looking at it imports nothing heavy, so that a deploy from the cache stays fast."""
    code = (
        "import sys; from mobilekit.model.zoo import find_model; "
        f"print(find_model({str(pt2)!r}).input_shapes, 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == f"({SHAPE},) False\n"


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


def test_pickles_in_a_pt2_file_are_never_read(pt2: Path, tmp_path: Path) -> None:
    """Sample inputs are left out; pickled weights are refused."""
    trace = tmp_path / "ran"
    evil = pickle.dumps((Malicious(trace), {}), protocol=2)
    samples = changed(
        pt2, tmp_path / "a.pt2", lambda name, old: evil if "sample_inputs" in name else old
    )

    def pickled(name: str, old: bytes) -> bytes:
        if name.endswith("weights/weight_0"):
            return evil
        return old.replace(b'"use_pickle": false', b'"use_pickle": true', 1)

    spec = find_model(str(samples))
    assert run_eager(spec, load_module(spec), make_inputs(spec))[0].shape == (1, 5)
    weights = changed(pt2, tmp_path / "b.pt2", pickled)
    with pytest.raises(ModelFileError, match="pickled weights"):
        load_module(find_model(str(weights)))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda p: p["graph_module"]["graph"]["nodes"][0].update(target="torch.os.system"),
            "torch.os.system, which is not an ATen operator",
        ),
        (
            lambda p: p["graph_module"]["graph"]["nodes"][0].update(
                target="torch.ops.aten.save.default"
            ),
            "not an ATen operator",
        ),
        (
            lambda p: p["graph_module"]["graph"]["nodes"][0].update(
                target="torch.ops.aten.__init__.__globals__"
            ),
            "not an ATen operator",
        ),
        (
            lambda p: p["graph_module"]["graph"]["nodes"][0]["inputs"].append(
                {"name": "x", "arg": {"as_string": "/etc/passwd"}, "kind": 1}
            ),
            "the text '/etc/passwd'",
        ),
        (
            lambda p: p["graph_module"]["graph"]["tensor_values"]["x"]["sizes"].__setitem__(
                0, {"as_expr": {"expr_str": "__import__('os').system('true')", "hint": None}}
            ),
            "sizes that vary",
        ),
        (lambda p: p.update(guards_code=["__import__('os')"]), "sizes that vary"),
        (lambda p: p["schema_version"].update(major=7), "another schema"),
        (
            lambda p: p["graph_module"]["module_call_graph"][0]["signature"].update(
                out_spec=json.dumps([1, {"type": "os.environ", "context": "", "children_spec": []}])
            ),
            "inputs or outputs of os.environ",
        ),
        (
            lambda p: p["graph_module"]["graph"]["tensor_values"]["x"].update(dtype=6),
            "inputs other than",
        ),
        (lambda p: p.pop("graph_module"), "cannot be read as a torch.export archive"),
        (
            lambda p: p["graph_module"]["graph"]["tensor_values"].pop("x"),
            "cannot be read as a torch.export archive",
        ),
        (
            lambda p: p["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"].update(
                as_tensor={"name": "absent"}
            ),
            "PyTorch cannot load evil.pt2",
        ),
    ],
)
def test_a_pt2_file_that_could_run_code_is_refused(
    pt2: Path, tmp_path: Path, change: Callable[[Any], None], said: str
) -> None:
    """Names of functions, expressions and types are looked at before torch looks at them."""
    path = changed_program(pt2, tmp_path / "evil.pt2", change)
    with pytest.raises(ModelFileError) as caught:
        load_module(find_model(str(path)))
    assert said in caught.value.what


def test_a_pt2_file_with_open_sizes_is_refused(tmp_path: Path) -> None:
    """A network is measured at one size."""
    path = tmp_path / "open.pt2"
    batch = torch.export.Dim("batch", min=2, max=8)
    exported = torch.export.export(
        Network().eval(), (torch.zeros(2, *SHAPE[1:]),), dynamic_shapes=({0: batch},)
    )
    torch.export.save(exported, path)
    with pytest.raises(ModelFileError, match="sizes that vary"):
        find_model(str(path))


def test_a_pt2_file_in_training_mode_is_refused(tmp_path: Path) -> None:
    """Its outputs would be random."""
    path = tmp_path / "training.pt2"
    torch.export.save(torch.export.export(Network().train(), (torch.zeros(SHAPE),)), path)
    with pytest.raises(ModelFileError, match="training mode"):
        find_model(str(path))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_pt2_file_ends_in_an_error_of_ours(
    pt2: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Whatever a byte is changed to, or wherever the file ends."""
    content = bytearray(pt2.read_bytes())
    cut = data.draw(st.integers(0, len(content)))
    if data.draw(st.booleans()):
        content = content[:cut]
    else:
        content[min(cut, len(content) - 1)] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "damaged.pt2"
    path.write_bytes(content)
    with contextlib.suppress(ModelFileError):  # any other error fails the test
        find_model(str(path))


# --- .onnx -------------------------------------------------------------------------------------


def weights(name: str, *shape: int) -> TensorProto:
    values = np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32)
    return numpy_helper.from_array(values / 4, name)


def write_onnx(path: Path, *, opset: int = 13, batch: int | str = "N", name: str = "first") -> Path:
    """What older exporters write: shared weights, normalization, ceil mode, computed sizes."""
    mean = (
        helper.make_node("ReduceMean", ["p"], ["m"], axes=[2, 3], keepdims=1)
        if opset < 18
        else helper.make_node("ReduceMean", ["p", "axes"], ["m"], keepdims=1)
    )
    nodes = [
        helper.make_node("Identity", ["shared"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["c"], name=name, pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "mu", "va"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("LRN", ["r"], ["l"], size=5),
        helper.make_node("MaxPool", ["l"], ["p"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        mean,
        helper.make_node("Shape", ["m"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n0"]),
        (
            helper.make_node("Unsqueeze", ["n0"], ["n1"], axes=[0])
            if opset < 13
            else helper.make_node("Unsqueeze", ["n0", "axis0"], ["n1"])
        ),
        helper.make_node("Concat", ["n1", "minus"], ["flat"], axis=0),
        helper.make_node("Reshape", ["m", "flat"], ["f"]),
        helper.make_node("Gemm", ["f", "h", "bias"], ["y"], transB=1),
    ]
    constants = [
        weights("shared", 4, 3, 3, 3), weights("g", 4), weights("b", 4), weights("mu", 4),
        numpy_helper.from_array(np.ones(4, np.float32), "va"), weights("h", 5, 4),
        weights("bias", 5), numpy_helper.from_array(np.array(0), "zero"),
        numpy_helper.from_array(np.array([-1]), "minus"),
        *([numpy_helper.from_array(np.array([0]), "axis0")] if opset >= 13 else []),
        *([numpy_helper.from_array(np.array([2, 3]), "axes")] if opset >= 18 else []),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 5])],
        constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="a tool"
    )
    model.ir_version = 8
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 20])
def test_an_onnx_file_is_read_as_onnx_runtime_reads_it(tmp_path: Path, opset: int) -> None:
    """Old and new opsets, sizes computed in the graph, and an open batch, which becomes one."""
    path = write_onnx(tmp_path / "other.onnx", opset=opset)
    spec = find_model(str(path))
    inputs = make_inputs(spec)
    outputs = run_eager(spec, load_module(spec), inputs)
    expected = run_file(path, inputs)

    assert spec.input_shapes == ((1, 3, 9, 9),)
    assert check_outputs(
        [tensor.numpy() for tensor in outputs], [tensor.numpy() for tensor in expected], 1e-5
    ).matches


def test_an_onnx_file_exports(tmp_path: Path, export: Export) -> None:
    """To ExecuTorch it is lowered whole, local response normalization included."""
    spec = find_model(str(write_onnx(tmp_path / "other.onnx")))
    artifact, _ = export(spec)

    assert artifact.delegation.portable_operator_counts == {}
    assert artifact.delegation.mac_fraction == 1.0
    assert artifact.cost.macs == 4 * 27 * 81 + 20
    assert "a tool" in spec.title
    assert read_card(spec).task is None


def test_as_onnx_the_file_stays_what_it_is(tmp_path: Path, export: Export) -> None:
    """ONNX Runtime is measured on the graph that was given, not on a translation of it."""
    path = write_onnx(tmp_path / "other.onnx")
    artifact, _ = export(find_model(str(path)), "onnx")

    made = onnx.load(tmp_path / "cache" / Path(artifact.file.path).name)
    assert onnx.load(path).graph == made.graph


def test_weights_beside_an_onnx_file_take_part(tmp_path: Path, export: Export) -> None:
    """They are read, and changing them changes the network's hash."""
    whole, path = write_onnx(tmp_path / "whole.onnx"), tmp_path / "parts.onnx"
    onnx.save(
        onnx.load(whole), path, save_as_external_data=True, location="w.bin", size_threshold=64
    )
    before = find_model(str(path))
    outputs = [
        run_eager(spec, load_module(spec), make_inputs(spec))[0]
        for spec in (find_model(str(whole)), before)
    ]
    assert torch.equal(*outputs)
    assert export(before, "onnx")[0].file.size_bytes > whole.stat().st_size - 1000
    content = bytearray((tmp_path / "w.bin").read_bytes())
    content[0] ^= 1
    (tmp_path / "w.bin").write_bytes(content)
    assert before.content_sha256 != find_model(str(path)).content_sha256
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelFileError, match="not a valid ONNX"):
        find_model(str(path))


def test_names_in_an_onnx_file_do_not_become_code(tmp_path: Path) -> None:
    """A node's name that closes a string in generated Python is a name like any other."""
    trace = tmp_path / "ran"
    name = f'x", getattr(__import__("os"), "system")("touch {trace}") and "'
    spec = find_model(str(write_onnx(tmp_path / "evil.onnx", name=name)))
    run_eager(spec, load_module(spec), make_inputs(spec))
    assert not trace.exists()


def graph_of(*nodes: Any, kind: int = TensorProto.FLOAT, shape: Any = (1, 4)) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (graph_of(helper.make_node("Relu", ["x"], ["y"]), shape=(1, "width")), "no fixed size"),
        (graph_of(helper.make_node("Relu", ["x"], ["y"]), kind=TensorProto.DOUBLE), "is none of"),
        (graph_of(helper.make_node("Det", ["x"], ["y"]), shape=(1, 4, 4)), "onnx2torch cannot"),
        (graph_of(helper.make_node("Relu", ["z"], ["y"])), "not a valid ONNX file"),
    ],
)
def test_an_onnx_file_that_cannot_be_read_is_refused(
    tmp_path: Path, model: onnx.ModelProto, said: str
) -> None:
    """With what is in the way of it."""
    path = tmp_path / "other.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError) as caught:
        load_module(find_model(str(path)))
    assert said in caught.value.what


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08\x12\xff"])
def test_a_damaged_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever a file holds."""
    (tmp_path / "other.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match="not a valid ONNX file"):
        find_model(str(tmp_path / "other.onnx"))


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings them."""
    monkeypatch.setattr("mobilekit.model.onnx_file.find_spec", lambda name: None)
    with pytest.raises(ExportError) as caught:
        find_model(str(write_onnx(tmp_path / "other.onnx")))
    assert "mobilekit[import]" in caught.value.fix


# --- the rest ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said", "fix"),
    [
        ("net.caffemodel", "a Caffe model", "Convert it to ONNX"),
        ("deploy.prototxt", "a Caffe definition", "Convert it to ONNX"),
        ("net.safetensors", "weights, and no network", "--weights"),
        ("net.pth", "weights, and no network", "--weights"),
        ("checkpoint", "a directory", "--weights"),
    ],
)
def test_what_is_no_network_is_refused(tmp_path: Path, name: str, said: str, fix: str) -> None:
    """With what to do instead."""
    path = tmp_path / name
    if path.suffix:
        path.write_bytes(b"x")
    else:
        path.mkdir()
    with pytest.raises(ModelFileError) as caught:
        find_model(str(path))
    assert said in caught.value.what
    assert fix in caught.value.fix


def test_a_missing_file_is_named() -> None:
    """What ends like a file is no network's name."""
    with pytest.raises(MobilekitError, match=r"no file missing\.onnx"):
        find_model("missing.onnx")


def test_weights_do_not_go_with_a_file_that_has_its_own(pt2: Path, tmp_path: Path) -> None:
    """They are not silently ignored."""
    with pytest.raises(WeightsError, match="weights of its own"):
        find_model(str(pt2), Given(tmp_path / "w.pt"))


# --- Hugging Face's layout ---------------------------------------------------------------------


def test_weights_in_several_files_are_read(write_model: WriteModel, tmp_path: Path) -> None:
    """A directory or its index, with a prefix before every name; each file counts in the hash."""
    from safetensors.torch import save_file

    path = write_model()
    state = {
        f"model.{name}": tensor + 1
        for name, tensor in load_module(find_model(str(path))).state_dict().items()
    }
    names = sorted(state)
    parts = {name: f"model-{index % 2}.safetensors" for index, name in enumerate(names)}
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    for part in set(parts.values()):
        held = {name: state[name] for name in names if parts[name] == part}
        save_file(held, directory / part)
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": parts}))

    by_directory = find_model(str(path), Given(directory))
    by_index = find_model(str(path), Given(index))
    loaded = load_module(by_directory).state_dict()
    assert by_directory == by_index
    assert all(torch.equal(state[f"model.{name}"], tensor) for name, tensor in loaded.items())
    (directory / "model-1.safetensors").write_bytes(b"changed")
    assert by_index.content_sha256 != find_model(str(path), Given(index)).content_sha256


def test_weights_of_half_precision_are_widened(write_model: WriteModel, tmp_path: Path) -> None:
    """Checkpoints are often bfloat16; the network stays float32."""
    from safetensors.torch import save_file

    path = write_model()
    state = load_module(find_model(str(path))).state_dict()
    save_file(
        {name: tensor.bfloat16() for name, tensor in state.items()}, tmp_path / "model.safetensors"
    )
    loaded = load_module(find_model(str(path), Given(tmp_path))).state_dict()
    assert all(torch.equal(state[name].bfloat16().float(), loaded[name]) for name in state)


@pytest.mark.parametrize(
    "index",
    [
        {"weight_map": {"0.bias": "../elsewhere.safetensors"}},
        {"weight_map": {"0.bias": "absent.safetensors"}},
        {"weight_map": ["0.bias"]},
        {},
    ],
)
def test_a_bad_index_is_refused(write_model: WriteModel, tmp_path: Path, index: Any) -> None:
    """One that is none, and one that points out of its directory."""
    (tmp_path / "elsewhere.safetensors").write_bytes(b"x")
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=r"index"):
        find_model(str(write_model()), Given(directory))


def test_a_directory_without_weights_is_refused(write_model: WriteModel, tmp_path: Path) -> None:
    """It says what is looked for."""
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        find_model(str(write_model()), Given(tmp_path))
