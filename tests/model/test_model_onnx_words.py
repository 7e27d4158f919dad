"""``.onnx`` files in words that onnx2torch does not know, or that the lowering did not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from mobilekit.errors import ModelFileError
from mobilekit.model.graph import make_graph
from mobilekit.model.load import load_module
from mobilekit.model.onnx_runtime import run_file
from mobilekit.model.reference import make_inputs, run_eager
from mobilekit.model.zoo import find_model
from mobilekit.records.network import ModelSpec

node = helper.make_node
MAP = (1, 3, 4, 4)


def real(*shape: int) -> Any:
    return np.random.default_rng(shape).standard_normal(shape, dtype=np.float32)


def number(value: float, dtype: str = "float32") -> Any:
    return np.array(value, dtype)


def write(
    path: Path, nodes: list[Any], weights: dict[str, Any], shape: tuple[int, ...], opset: int = 13
) -> ModelSpec:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"s{i}" for i in range(4)])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return find_model(str(path))


def operators(spec: ModelSpec) -> list[str]:
    """Of the graph that programs are made from, whose outputs are ONNX Runtime's."""
    module, inputs = load_module(spec), make_inputs(spec)
    expected = run_file(Path(spec.path), inputs, fused=False)
    for found, wanted in zip(run_eager(spec, module, inputs), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    graph = make_graph(spec, module, inputs).graph
    return [str(each.target) for each in graph.nodes if each.op == "call_function"]


def resized(*inputs: str, **options: Any) -> list[Any]:
    return [node("Resize", ["x", "", *inputs], ["y"], **options)]


NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
LINEAR = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
CORNERS = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}


@pytest.mark.parametrize(
    ("nodes", "opset", "expected"),
    [
        (resized("scales", nearest_mode="floor", **NEAREST), 13, "aten.upsample_nearest2d.vec"),
        (resized("", "sizes", nearest_mode="floor", **NEAREST), 13, "aten.upsample_nearest2d.vec"),
        (resized("scales", **LINEAR), 13, "aten.upsample_bilinear2d.vec"),
        (resized("", "sizes", **CORNERS), 13, "aten.upsample_bilinear2d.vec"),
        (
            [node("Upsample", ["x", "scales"], ["y"], mode="nearest")],
            9,
            "aten.upsample_nearest2d.vec",
        ),
        (
            [node("Upsample", ["x"], ["y"], mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])],
            7,
            "aten.upsample_nearest2d.vec",
        ),
    ],
)
def test_a_map_is_resized_in_the_words_of_a_model_file(
    tmp_path: Path, nodes: list[Any], opset: int, expected: str
) -> None:
    """Of the overload that the lowering knows, as ``nn.Upsample`` is."""
    given = {name for each in nodes for name in each.input}
    sizes = {
        "scales": np.array([1, 1, 2, 2], np.float32),
        "sizes": np.array([1, 3, 8, 8], np.int64),
    }
    weights = {name: array for name, array in sizes.items() if name in given}

    spec = write(tmp_path / "other.onnx", nodes, weights, MAP, opset)

    assert operators(spec) == [expected]


def test_nn_upsample_becomes_the_same() -> None:
    """What the test above compares with."""
    for mode, name in (("nearest", "nearest2d"), ("bilinear", "bilinear2d")):
        module = torch.nn.Upsample(scale_factor=2, mode=mode)
        nodes = torch.export.export(module, (torch.ones(MAP),)).graph.nodes
        assert [str(each.target) for each in nodes if each.op == "call_function"] == [
            f"aten.upsample_{name}.vec"
        ]


@pytest.mark.parametrize("inputs", [["x", "low", ""], ["x", "", "high"], ["x", "low", "high"]])
def test_a_clip_may_leave_a_bound_out(tmp_path: Path, inputs: list[str]) -> None:
    """An optional input that is left out may stand there as an empty name."""
    bounds = {"low": number(-0.5), "high": number(0.3)}
    weights = {name: bounds[name] for name in inputs[1:] if name}

    spec = write(tmp_path / "other.onnx", [node("Clip", inputs, ["y"])], weights, MAP)

    assert operators(spec) == ["aten.clamp.default"]


@pytest.mark.parametrize(("directions", "with_bias"), [(1, True), (2, True), (1, False)])
def test_a_gru_is_pytorchs(tmp_path: Path, directions: int, with_bias: bool) -> None:
    """With its gates in PyTorch's order, and as one operator."""
    weights = {"w": real(directions, 15, 4), "r": real(directions, 15, 5)}
    weights |= {"b": real(directions, 30)} if with_bias else {}
    gru = node(
        "GRU",
        ["x", "w", "r", *(["b"] if with_bias else [])],
        ["y"],
        hidden_size=5,
        linear_before_reset=1,
        direction="bidirectional" if directions == 2 else "forward",
    )

    spec = write(tmp_path / "other.onnx", [gru], weights, (7, 1, 4))

    assert "aten.gru.input" in operators(spec)


def test_another_gru_is_refused_by_name(tmp_path: Path) -> None:
    """ONNX's own default resets the hidden state before the product, and PyTorch after it."""
    weights = {"w": real(1, 15, 4), "r": real(1, 15, 5)}
    gru = node("GRU", ["x", "w", "r"], ["y"], hidden_size=5)
    with pytest.raises(ModelFileError, match="GRU in another form"):
        load_module(write(tmp_path / "other.onnx", [gru], weights, (7, 1, 4)))


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_quantized_weights_and_activations(tmp_path: Path, kind: str) -> None:
    """Weights are the numbers that they stand for, activations are rounded as the file says."""
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["weight", "ws", "wz"], ["w"], axis=0),
        node("Conv", ["d", "w"], ["c"], kernel_shape=[3, 3]),
        node("QuantizeLinear", ["c", "s", "z"], ["qc"]),
        node("DequantizeLinear", ["qc", "s", "z"], ["y"]),
    ]
    weights = {
        "s": number(0.05),
        "z": number(7, kind),
        "weight": np.random.default_rng(0).integers(-99, 99, (4, 3, 3, 3)).astype("int8"),
        "ws": np.array([0.01, 0.02, 0.03, 0.004], np.float32),
        "wz": np.zeros(4, "int8"),
    }

    spec = write(tmp_path / "other.onnx", nodes, weights, MAP)

    assert operators(spec).count("aten.conv2d.default") == 1
    assert sum(each.numel() for each in load_module(spec).parameters()) == 4 * 27


@pytest.mark.parametrize(
    ("opset", "said"),
    [(11, "newer opset, from 13 to 17"), (13, "with other operators"), (18, "17")],
)
def test_the_advice_names_an_opset_that_helps(tmp_path: Path, opset: int, said: str) -> None:
    """A newer one than an old file's, an older one than a new file's, else none."""
    spec = write(tmp_path / "other.onnx", [node("Det", ["x"], ["y"])], {}, (1, 4, 4), opset)
    with pytest.raises(ModelFileError) as caught:
        load_module(spec)
    assert said in str(caught.value)
    assert ("opset" in str(caught.value).partition("Export")[2]) == (opset != 13)
