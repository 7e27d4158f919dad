"""ONNX Runtime behind the engine's interface, on files made by hand."""

import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from mobilekit.model.onnx_runtime import run_file
from mobilekit.runner.engine import EngineError
from mobilekit.runner.engines import make_engine


@pytest.fixture
def gather_file(tmp_path):
    """``output = data[index]``."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["data", "index"], ["output"])],
        "gather",
        [
            helper.make_tensor_value_info("data", TensorProto.FLOAT, [4]),
            helper.make_tensor_value_info("index", TensorProto.INT64, [2]),
        ],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [2])],
    )
    path = tmp_path / "gather.onnx"
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.fixture
def int8_file(tmp_path):
    """Eight channels times the largest weight, in eight bits."""
    constants = {
        "one": np.float32(1),
        "none": np.uint8(0),
        "none_signed": np.int8(0),
        "coarse": np.float32(1000 / 0.255),
        "weights": np.full((1, 8, 1, 1), 127, np.int8),
    }
    nodes = [
        ("QuantizeLinear", ["input", "one", "none"], "narrow"),
        ("DequantizeLinear", ["narrow", "one", "none"], "wide"),
        ("DequantizeLinear", ["weights", "one", "none_signed"], "wide_weights"),
        ("Conv", ["wide", "wide_weights"], "sum"),
        ("QuantizeLinear", ["sum", "coarse", "none"], "narrow_sum"),
        ("DequantizeLinear", ["narrow_sum", "coarse", "none"], "output"),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes],
        "int8",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 8, 1, 1])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, 1])],
        [onnx.numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items()],
    )
    path = tmp_path / "int8.onnx"
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_products_of_eight_bits_are_summed_exactly(int8_file):
    """x86 without VNNI sums pairs in 16 bits, which these would be cut off at; in the check of an
    export too."""
    program = make_engine("onnx", 1).load(int8_file, "forward")
    program.set_inputs([np.full((1, 8, 1, 1), 255, np.float32)])

    program.execute()
    (checked,) = run_file(int8_file, [torch.full((1, 8, 1, 1), 255.0)])

    assert program.outputs()[0].item() == pytest.approx(8 * 255 * 127, rel=0.01)
    assert checked.item() == program.outputs()[0].item()


DATA = np.array([1, 2, 3, 4], np.float32)


def test_inputs_are_bound_by_position(gather_file):
    """Each input keeps its type, and what is returned stays after the program is closed."""
    engine = make_engine("onnx", 1)
    program = engine.load(gather_file, "forward")
    program.set_inputs([DATA, np.array([3, 1])])

    program.execute()
    (output,) = program.outputs()
    program.close()

    assert (engine.name, engine.threads) == ("onnxruntime", 1)
    assert output.tolist() == [4, 2]


def test_inputs_stay_for_as_long_as_they_are_bound(gather_file):
    """Also if whoever gave them forgets them, and their memory would be given to others."""
    program = make_engine("onnx", 1).load(gather_file, "forward")
    program.set_inputs([DATA.copy(), np.array([3, 1])])
    others = [np.zeros(size, kind) for kind in ("f4", "i8") for size in (2, 4) for _ in range(50)]

    program.execute()

    assert program.outputs()[0].tolist() == [4, 2]
    assert not any(each.any() for each in others)


def test_a_failing_inference_is_told(gather_file):
    """The runtime's own words, without a traceback of its own kind."""
    program = make_engine("onnx", 1).load(gather_file, "forward")
    program.set_inputs([DATA, np.array([3, 9])])

    with pytest.raises(EngineError, match="out of data bounds"):
        program.execute()


@pytest.mark.parametrize(
    "inputs", [[DATA], [DATA, np.array([0.5, 1.0])], [DATA, np.array([1, 2]), DATA]]
)
def test_inputs_that_do_not_fit_are_refused(gather_file, inputs):
    """Too few, too many, or of another type: at the binding or at the first inference."""
    program = make_engine("onnx", 1).load(gather_file, "forward")

    def infer():
        program.set_inputs(inputs)
        program.execute()

    with pytest.raises(EngineError):
        infer()


def test_what_is_no_model_is_refused(tmp_path):
    """A damaged file is an engine's refusal."""
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"nonsense")

    with pytest.raises(EngineError, match="INVALID_PROTOBUF"):
        make_engine("onnx", 1).load(path, "forward")


def test_a_missing_package_is_named(monkeypatch):
    """Without onnxruntime there is no engine, and what installs it is said."""
    monkeypatch.delitem(sys.modules, "mobilekit.runner.onnx_engine", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(EngineError, match=r"mobilekit\[onnx\]"):
        make_engine("onnx", None)
