"""Multiply-accumulates of a traced network: convolutions and matrix products. Imports torch.

The one count that a description, an artifact and its delegation are made with. The graph that is
exported is what is counted, so that no fused path of eager PyTorch hides a product.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch.fx import Node
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode, flop_registry

_Shape = Sequence[int]


def _matrix_vector_flops(matrix: _Shape, vector: _Shape, **_: Any) -> int:
    return 2 * prod(matrix)


def _added_matrix_vector_flops(added: _Shape, matrix: _Shape, vector: _Shape, **_: Any) -> int:
    return 2 * prod(matrix)


def _dot_flops(one: _Shape, other: _Shape, **_: Any) -> int:
    return 2 * prod(one)


def _added_batch_flops(added: _Shape, one: _Shape, other: _Shape, **_: Any) -> int:
    return 2 * prod(one) * other[-1]


def _trilinear_flops(one: _Shape, two: _Shape, three: _Shape, *expanded: Any, **_: Any) -> int:
    """Sizes that the three have with the dimensions that each of them is widened by."""
    sizes = []
    for shape, dimensions in zip((one, two, three), expanded[:3], strict=True):
        widened = list(shape)
        for dimension in dimensions:
            widened.insert(dimension, 1)
        sizes.append(widened)
    return 2 * int(prod(map(max, *sizes)))


def _deformed_convolution_flops(input: _Shape, weight: _Shape, *_: Any, **named: Any) -> int:
    """As of a convolution; sampling its input is not counted."""
    batch, _channels, *area = named["out_shape"]
    return 2 * int(batch * prod(area) * prod(weight))


_MORE: dict[Any, Callable[..., int]] = {
    torch.ops.aten.mv: _matrix_vector_flops,
    torch.ops.aten.addmv: _added_matrix_vector_flops,
    torch.ops.aten.dot: _dot_flops,
    torch.ops.aten.vdot: _dot_flops,
    torch.ops.aten.addbmm: _added_batch_flops,
    torch.ops.aten._trilinear: _trilinear_flops,
}
"""Products of ``torch.ops.aten`` that ``torch.utils.flop_counter`` does not know."""


def _formulas() -> dict[Any, Callable[..., int]]:
    if "torchvision" not in sys.modules:  # which registers the operator, and takes seconds
        return _MORE
    return {**_MORE, torch.ops.torchvision.deform_conv2d: _deformed_convolution_flops}


def count_macs(exported: Any) -> int:
    """Of one inference of a ``torch.export.ExportedProgram``.

    An operation that cannot run without values, such as ``nonzero``, counts as none.
    """
    total = 0
    for node in exported.graph.nodes:
        if node.op == "call_function":
            try:
                total += node_macs(node)
            except Exception:  # whatever the operator raises for tensors without values
                continue
    return total


def node_macs(node: Node) -> int:
    """Of one operation of a traced graph, run on tensors that have a shape only.

    Raises what the operator raises where it looks at values.
    """
    if node.target is operator.getitem:
        return 0

    def shape_only(argument: Any) -> Any:
        value = argument.meta["val"] if isinstance(argument, Node) else argument
        if isinstance(value, torch.Tensor):
            return torch.empty_strided(
                value.shape, value.stride(), dtype=value.dtype, device="meta"
            )
        return torch.device("meta") if isinstance(value, torch.device) else value

    arguments = tree_map(shape_only, tuple(node.args))
    options = tree_map(shape_only, dict(node.kwargs))
    target: Any = node.target
    counter = FlopCounterMode(display=False, custom_mapping=_formulas())
    with torch.no_grad(), counter:
        target(*arguments, **options)
    return int(counter.get_total_flops()) // 2


def kernel_macs(node: Node) -> int:
    """Of a kernel of a lowered program, which calls an operator's ``out`` variant."""
    target: Any = node.target
    packet = target.overloadpacket
    values = tree_map(
        lambda argument: argument.meta["val"] if isinstance(argument, Node) else argument,
        tuple(node.args),
    )
    if packet in flop_registry:
        return int(flop_registry[packet](*values, out_val=node.meta["val"])) // 2
    formula = _formulas().get(packet)
    if formula is None:
        return 0
    shapes = tree_map(lambda value: getattr(value, "shape", value), values)
    return formula(*shapes, out_shape=node.meta["val"].shape) // 2
