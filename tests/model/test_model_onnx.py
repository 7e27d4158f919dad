"""Exporting to ONNX: what differs from ExecuTorch's format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from model_files import Export, Known, WriteModel
from onnx import TensorProto, helper, load, shape_inference

from mobilekit.errors import ExportError
from mobilekit.model import onnx
from mobilekit.model.artifact_cache import read_operators
from mobilekit.model.zoo import read_spec

NETWORK = """
import torch
import torch.nn.functional as F
from torch import nn

INPUT_SHAPES = ((1, 3, 8, 8),)


def build():
    return Net()


class Net(nn.Module):
    def forward(self, x):
        return {body}
"""


def test_the_same_network_runs_in_both_formats(
    write_model: WriteModel, export: Export, known: Known
) -> None:
    """Input and reference are the same files, so that the formats can be compared."""
    spec = read_spec(write_model())

    made, messages = export(spec, "onnx")
    other = known(spec, "pte")

    assert (made.file.format, made.backend) == ("onnx", "onnxruntime")
    assert (made.inputs, made.reference_outputs) == (other.inputs, other.reference_outputs)
    tools = {"torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "mobilekit"}
    assert set(made.tool_versions) == tools
    assert "Checking its outputs in ONNX Runtime" in messages
    assert export(spec, "onnx") == (made, [])


def test_every_operator_is_the_engines_own(write_model: WriteModel, export: Export) -> None:
    """The file's operators are counted, and none of them is left to anybody else."""
    artifact, _ = export(read_spec(write_model()), "onnx")

    assert artifact.delegation.delegated_operators == 4  # Conv, Relu, Reshape, Gemm
    assert artifact.delegation.operator_fraction == artifact.delegation.mac_fraction == 1.0
    assert artifact.delegation.total_macs == artifact.cost.macs


def test_activations_without_a_kernel_are_written_out(
    write_model: WriteModel, export: Export, tmp_path: Path
) -> None:
    """ONNX Runtime would do it under names of its own, and their times would be of no layer."""
    path = write_model(NETWORK.format(body="F.mish(F.hardswish(6 * x - 3))"))
    artifact, _ = export(read_spec(path), "onnx")
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(
        tmp_path / "cache" / Path(artifact.file.path).name,
        options,
        providers=["CPUExecutionProvider"],
    )
    session.run(None, {session.get_inputs()[0].name: np.zeros((1, 3, 8, 8), np.float32)})

    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    ran = {event["name"].removesuffix("_kernel_time") for event in events if event["cat"] == "Node"}
    operators = read_operators(artifact, cache_directory=tmp_path / "cache")
    known = {operator.name for operator in operators}
    assert len(ran) >= 5
    assert ran <= known


def test_inputs_keep_their_order_even_if_unused(
    write_model: WriteModel, export: Export, tmp_path: Path
) -> None:
    """Runners bind inputs by position; each has the type and shape of the model file."""
    source = NETWORK.format(body="{'y': t * m, 'm': (m,)}").replace("self, x", "self, t, u, m")
    shapes = '((1, 7), (2,), (1, 7))\nINPUT_DTYPES = ("int64", "float32", "bool")'
    artifact, _ = export(read_spec(write_model(source.replace("((1, 3, 8, 8),)", shapes))), "onnx")

    session = onnxruntime.InferenceSession(
        tmp_path / "cache" / Path(artifact.file.path).name, providers=["CPUExecutionProvider"]
    )
    inputs = [(each.type, each.shape) for each in session.get_inputs()]
    assert inputs == [
        ("tensor(int64)", [1, 7]),
        ("tensor(float)", [2]),
        ("tensor(bool)", [1, 7]),
    ]
    assert [tensor.dtype for tensor in artifact.reference_outputs] == ["int64", "bool"]


def test_normalization_takes_its_exact_rewrite(write_model: WriteModel, export: Export) -> None:
    """Local response normalization is the sum of slices, and neither average pool nor Pow."""
    source = NETWORK.format(body="F.local_response_norm(x, 5)")
    artifact, _ = export(read_spec(write_model(source)), "onnx")

    assert artifact.delegation.delegated_operators > 10


BRANCHES = """
import torch
from torch import nn

INPUT_SHAPES = ((1, 3, 8, 8),)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.left, self.right, self.last = (
            nn.Conv2d(channels, 4, 3, padding=1) for channels in (3, 4, 4, 4)
        )

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.last(self.left(x) + self.right(x) + x)


def build():
    return Net()
"""


def test_every_convolution_is_computed_in_int8(
    write_model: WriteModel, export: Export, tmp_path: Path
) -> None:
    """Of one whose values several layers read too, on x86 as on Arm."""
    artifact, _ = export(read_spec(write_model(BRANCHES)), "onnx", precision="int8")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    options.log_severity_level = 3

    onnxruntime.InferenceSession(
        tmp_path / "cache" / Path(artifact.file.path).name,
        options,
        providers=["CPUExecutionProvider"],
    )

    kinds = [node.op_type for node in load(tmp_path / "run.onnx").graph.node]
    assert (kinds.count("QLinearConv"), kinds.count("Conv")) == (4, 0)


def test_an_operator_that_onnx_lacks_is_named(write_model: WriteModel, export: Export) -> None:
    """The refusal holds the operator, not the exporter's steps."""
    path = write_model(NETWORK.format(body="torch.special.bessel_j0(x)"))

    with pytest.raises(ExportError, match=r"cannot be translated to ONNX.*bessel_j0"):
        export(read_spec(path), "onnx")


def test_weights_beyond_one_file_are_refused(
    write_model: WriteModel, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protobuf ends at 2 GiB; the limit, the size and the way out are told."""
    monkeypatch.setattr(onnx, "MAX_BYTES", 1000)

    with pytest.raises(ExportError, match="too large") as caught:
        export(read_spec(write_model()), "onnx")

    assert caught.value.facts["weights_bytes"] == str(4 * (4 * 28 + 145 * 5))
    assert "--format pte" in caught.value.fix


@pytest.mark.parametrize(
    ("opset", "in_float"), [(18, set()), (19, {"AveragePool"}), (22, {"AveragePool"})]
)
def test_averages_that_phones_cannot_run_in_half_stay_in_float(
    opset: int, in_float: set[str], write_model: WriteModel
) -> None:
    """On an emulated Cortex-A76 a file with such a one in half was seen not to load."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a"], kernel_shape=[2, 2]),
        helper.make_node("AveragePool", ["a"], ["b"], kernel_shape=[2, 2]),
        helper.make_node("GlobalAveragePool", ["b"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 2, 4, 4]), ("y", [1, 2, 1, 1]))
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "pools", ends[:1], ends[1:]),
        opset_imports=[helper.make_opsetid("", opset)],
    )

    halved = onnx.halve(read_spec(write_model()), onnx.Program(model, {})).model

    types = {
        value.name: value.type.tensor_type.elem_type
        for value in shape_inference.infer_shapes(halved).graph.value_info
    } | {"x": TensorProto.FLOAT}
    found = {
        node.op_type
        for node in halved.graph.node
        if node.op_type.endswith("Pool") and types[node.input[0]] == TensorProto.FLOAT
    }
    assert found == in_float


def test_two_averages_of_one_value_load_in_half(write_model: WriteModel, export: Export) -> None:
    """Both read it in float32, through one cast."""
    body = "F.avg_pool2d(F.relu(x), 2) + F.avg_pool2d(F.relu(x), 2, count_include_pad=False)"
    source = NETWORK.format(body=f"(lambda y: {body.replace('F.relu(x)', 'y')})(F.relu(x))")

    made, _ = export(read_spec(write_model(source)), "onnx", precision="fp16")

    assert made.relative_error < 0.01
