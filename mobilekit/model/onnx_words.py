"""An ``.onnx`` graph in words that onnx2torch knows: the same network, said otherwise.

What is missed here onnx2torch refuses, or the comparison with ONNX Runtime finds. Imports onnx.
"""

from __future__ import annotations

from typing import Any

import numpy as np

RESIZING_OPSET = 13
"""The first opsets say Upsample, which onnx2torch does not know; onnx's own converter says Resize
in place of it."""


def in_known_words(model: Any) -> Any:
    """Another ``onnx.ModelProto`` of the same network, or the same one, changed.

    Raises what onnx raises for a graph that it cannot say in a newer opset.
    """
    from onnx import version_converter

    if any(node.op_type == "Upsample" for node in model.graph.node):
        model = version_converter.convert_version(model, RESIZING_OPSET)
    constants = _constants(model)
    for node in model.graph.node:
        while node.input and not node.input[-1]:
            del node.input[-1]  # an optional input that is left out
    _say_lowest(model, constants)
    _dequantize_weights(model, constants)
    return model


def opset_of(model: Any) -> int:
    """Of ONNX's own operators; 0 where the file names none."""
    versions = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
    return max(versions, default=0)


def _constants(model: Any) -> dict[str, Any]:
    """Tensors by name: weights and what ``Constant`` holds."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def _add_weight(model: Any, array: Any, like: str) -> str:
    """A name of its own: all others begin otherwise by now."""
    from onnx import numpy_helper

    name = f"w_{len(model.graph.initializer)}_{like}"
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def _say_lowest(model: Any, constants: dict[str, Any]) -> None:
    """A Clip without a lower bound, but with an upper one, has the lowest number as the former."""
    from onnx import numpy_helper

    for node in model.graph.node:
        if node.op_type == "Clip" and len(node.input) == 3 and not node.input[1]:
            if node.input[2] not in constants:
                continue
            dtype = numpy_helper.to_array(constants[node.input[2]]).dtype
            lowest = np.finfo(dtype).min if dtype.kind == "f" else np.iinfo(dtype).min
            node.input[1] = _add_weight(model, np.array(lowest, dtype), "lowest")


def _dequantize_weights(model: Any, constants: dict[str, Any]) -> None:
    """Weights as the numbers that they stand for: layers of torch.nn hold no others."""
    from onnx import numpy_helper

    outputs = {value.name for value in model.graph.output}
    renamed: dict[str, str] = {}
    for node in list(model.graph.node):
        known = node.op_type == "DequantizeLinear" and set(node.input) <= set(constants)
        if not known or node.output[0] in outputs:
            continue
        given = [numpy_helper.to_array(constants[name]) for name in node.input]
        options = {each.name: each.i for each in node.attribute}
        if options.get("block_size"):
            continue  # onnx2torch refuses it
        scale, zero = given[1], given[2] if len(given) > 2 else np.zeros(1, given[0].dtype)
        if scale.size > 1:
            along = [1] * given[0].ndim
            along[options.get("axis", 1)] = -1
            scale, zero = scale.reshape(along), np.broadcast_to(zero, scale.shape).reshape(along)
        whole = given[0].astype(np.int32) - zero.astype(np.int32)
        numbers = (whole * scale).astype(scale.dtype).reshape(given[0].shape)
        renamed[node.output[0]] = _add_weight(model, numbers, "numbers")
        model.graph.node.remove(node)
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
