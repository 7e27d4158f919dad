"""Operators that onnx2torch does not know, as modules of torch; importing this adds them to it.

Imports torch and onnx2torch.
"""

from __future__ import annotations

from typing import Any

import torch
from onnx2torch.node_converters.registry import add_converter
from onnx2torch.utils.common import (
    OnnxMapping,
    OperationConverterResult,
    get_const_value,
    onnx_mapping_from_node,
)
from torch import Tensor, nn


class Quantized(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """``QuantizeLinear`` with one scale: whole numbers within the type's range."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        range_of = torch.iinfo(self.dtype)
        moved = torch.round(x / scale) + (0.0 if zero is None else zero.to(x.dtype))
        return torch.clamp(moved, float(range_of.min), float(range_of.max))


class Dequantized(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """``DequantizeLinear`` of what ``Quantized`` yields, which is whole numbers in floats."""

    def forward(self, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        number = x.to(scale.dtype)
        return (number if zero is None else number - zero.to(scale.dtype)) * scale


class Gru(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """``GRU`` over (steps, batch, size), with weights that do not vary.

    Yields what the node names: the outputs alone, or the last states too.
    """

    def __init__(self, layer: nn.GRU, *, with_last: bool) -> None:
        super().__init__()
        self.layer = layer
        self.with_last = with_last

    def forward(self, x: Tensor, first: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        directions, size = 1 + self.layer.bidirectional, self.layer.hidden_size
        first = x.new_zeros(directions, x.shape[1], size) if first is None else first
        output, last = self.layer(x, first)
        steps, batch = x.shape[:2]
        outputs = output.reshape(steps, batch, directions, size).transpose(1, 2)
        return (outputs, last) if self.with_last else outputs


@add_converter(operation_type="QuantizeLinear", version=10)  # type: ignore[untyped-decorator]
@add_converter(operation_type="QuantizeLinear", version=13)  # type: ignore[untyped-decorator]
def _quantize(node: Any, graph: Any) -> OperationConverterResult:
    values = node.input_values
    zero = get_const_value(values[2], graph) if len(values) > 2 and values[2] else None
    _check_one_scale(get_const_value(values[1], graph))
    dtype = torch.uint8 if zero is None else zero.dtype
    return OperationConverterResult(Quantized(dtype), onnx_mapping_from_node(node))


@add_converter(operation_type="DequantizeLinear", version=10)  # type: ignore[untyped-decorator]
@add_converter(operation_type="DequantizeLinear", version=13)  # type: ignore[untyped-decorator]
def _dequantize(node: Any, graph: Any) -> OperationConverterResult:
    _check_one_scale(get_const_value(node.input_values[1], graph))
    return OperationConverterResult(Dequantized(), onnx_mapping_from_node(node))


def _check_one_scale(scale: Any) -> None:
    if torch.as_tensor(scale).numel() != 1:
        raise NotImplementedError("Activations with a scale for each channel")


@add_converter(operation_type="GRU", version=3)  # type: ignore[untyped-decorator]
@add_converter(operation_type="GRU", version=7)  # type: ignore[untyped-decorator]
@add_converter(operation_type="GRU", version=14)  # type: ignore[untyped-decorator]
def _gru(node: Any, graph: Any) -> OperationConverterResult:
    names = [*node.input_values, *[""] * (6 - len(node.input_values))]
    attributes, first = node.attributes, names[5]
    direction = attributes.get("direction", "forward")
    usual = [b"Sigmoid", b"Tanh", "Sigmoid", "Tanh"]
    plain = (
        attributes.get("linear_before_reset", 0) == 1
        and attributes.get("layout", 0) == 0
        and direction in ("forward", "bidirectional")
        and all(each in usual for each in attributes.get("activations", []))
        and "clip" not in attributes
    )
    if not plain or names[4]:
        raise NotImplementedError(
            "GRU in another form than PyTorch's (linear_before_reset=1, steps first, one length)"
        )
    weight, recurrent = get_const_value(names[1], graph), get_const_value(names[2], graph)
    directions, rows, size = weight.shape
    hidden = rows // 3
    bias = get_const_value(names[3], graph) if names[3] else torch.zeros(directions, 2 * rows)
    layer = nn.GRU(size, hidden, bidirectional=directions == 2)

    def in_order(gates: Tensor) -> Tensor:
        """ONNX says update, reset, new; PyTorch reset, update, new."""
        update, reset, new = gates.split(hidden)
        return torch.cat([reset, update, new])

    with torch.no_grad():
        for way, suffix in zip(range(directions), ("", "_reverse"), strict=False):
            getattr(layer, f"weight_ih_l0{suffix}").copy_(in_order(weight[way]))
            getattr(layer, f"weight_hh_l0{suffix}").copy_(in_order(recurrent[way]))
            getattr(layer, f"bias_ih_l0{suffix}").copy_(in_order(bias[way, :rows]))
            getattr(layer, f"bias_hh_l0{suffix}").copy_(in_order(bias[way, rows:]))
    inputs = (names[0], *((first,) if first else ()))
    mapping = OnnxMapping(inputs=inputs, outputs=node.output_values)
    return OperationConverterResult(Gru(layer, with_last=len(node.output_values) > 1), mapping)
