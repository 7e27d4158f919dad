"""Weights that several methods of one ExecuTorch program have in common, in it once.

ExecuTorch keeps constants of equal content once. Of a layer that is cut in two, a lower level's
weights are the beginning of a higher one's: as many rows of the first layer, and, of the second
one, as many columns. So the second one's are kept by columns, which XNNPACK takes as well, and a
level's layer names the larger constant and reads as much of it as its shape says. What is replaced
here are the exporter's own functions, for as long as a program is lowered. Imports executorch.

Apart from the program, in ExecuTorch's ``.ptd``, a level's weights are under the same keys, and of
each constant there is as much as the level reads of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from executorch.backends.xnnpack import xnnpack_preprocess
from executorch.backends.xnnpack._passes.fuse_activation_pass import FuseActivationPass
from executorch.backends.xnnpack.operators import node_visitor
from executorch.backends.xnnpack.operators.node_visitor import get_input_node
from executorch.backends.xnnpack.operators.quant_params import QuantParams
from executorch.backends.xnnpack.utils.quant_utils import is_dequant, is_quant
from executorch.backends.xnnpack.utils.xnnpack_constants import XNN_FLAG_TRANSPOSE_WEIGHTS
from executorch.exir._serialize._named_data_store import NamedDataStore
from executorch.exir._serialize.data_serializer import DataPayload
from executorch.extension.flat_tensor.serialize.serialize import FlatTensorSerializer
from torch.fx import Node

from mobilekit.model.spared_work import replacing

_COMPARED_BYTES = 64
"""By which what may begin alike is found."""
_APART = "weights"
"""What ExecuTorch's exporter calls the file that they go to."""
_READ_BYTES = "read_bytes"
"""Of each constant of a delegate: kept beside what the exporter keeps of it."""
_LINEAR = "aten.linear.default"
_LinearVisitor: Any = node_visitor._node_visitor_dict[_LINEAR]


@contextmanager
def sharing_weights(*, apart: bool) -> Iterator[None]:
    """A context to lower several methods in, those with the largest weights first; with ``apart``
    their weights are left out of the program, for ``weights_apart``."""
    seen: dict[bytes, dict[str, bytes]] = {}

    class Store(NamedDataStore):  # type: ignore[misc]  # executorch is untyped
        """Of one delegate. A constant that begins another's is not kept, and has that one's key."""

        def __init__(self) -> None:
            super().__init__()
            self.names: dict[str, str] = {}
            self.taken: dict[str, str] = {}
            self.read_bytes: dict[str, int] = {}
            stores[:] = [self]

        def add_named_data(
            self, key: str, data: bytes, alignment: Any = None, external_tag: Any = None
        ) -> None:
            longer = seen.setdefault(bytes(data[:_COMPARED_BYTES]), {})
            name = next((name for name, each in longer.items() if each.startswith(data)), key)
            # A runtime that remembers what it packed does so by names: within a delegate each is
            # of one size.
            if self.taken.setdefault(name, key) != key:
                name = key
            self.names[key] = name
            self.read_bytes[name] = len(data)
            super().add_named_data(
                name,
                longer.setdefault(name, bytes(data)),
                alignment,
                _APART if apart else external_tag,
            )

        def get_named_data_store_output(self) -> Any:
            output = super().get_named_data_store_output()
            setattr(output, _READ_BYTES, self.read_bytes)
            return output

    stores: list[Store] = []
    serialize: Callable[[Any, Any], bytes] = xnnpack_preprocess.serialize_xnnpack_binary

    def serialize_named(graph: Any, constants: Any) -> bytes:
        for each in graph.constant_data:
            each.named_key = stores[0].names.get(each.named_key, each.named_key)
        return serialize(graph, constants)

    visitors = {**node_visitor._node_visitor_dict, _LINEAR: _SecondVisitor}
    with (
        replacing(xnnpack_preprocess, "NamedDataStore", Store),
        replacing(xnnpack_preprocess, "serialize_xnnpack_binary", serialize_named),
        replacing(node_visitor, "_node_visitor_dict", visitors),
    ):
        yield


def weights_apart(executorch: Any, methods: Iterable[str]) -> bytes:
    """A ``.ptd`` with what methods read of weights that were lowered apart from their program."""
    kept = executorch._named_data
    entries = kept.external_data[_APART]
    read_bytes: dict[str, int] = {}
    modules = [executorch.exported_program(method).graph_module for method in methods]
    for node in chain.from_iterable(module.graph.nodes for module in modules):
        if node.target is torch.ops.higher_order.executorch_call_delegate:
            delegate = getattr(node.graph.owning_module, node.args[0].target)
            for name, size in getattr(delegate.named_data_store_output, _READ_BYTES).items():
                read_bytes[name] = max(size, read_bytes.get(name, 0))
    buffers: list[bytes] = []
    named: dict[str, Any] = {}
    for name, size in read_bytes.items():
        named[name] = replace(entries[name], buffer_index=len(buffers))
        buffers.append(kept.buffers[entries[name].buffer_index][:size])
    payload = DataPayload(buffers=buffers, named_data=named)
    return bytes(FlatTensorSerializer().serialize(payload))


class _SecondVisitor(_LinearVisitor):  # type: ignore[misc]  # executorch is untyped
    """Keeps the weights of a linear layer by columns, if it is the second of two."""

    def define_node(
        self, node: Node, xnn_graph: Any, vals_to_ids: dict[Node, int], debug_handle: int
    ) -> None:
        is_second = _is_second(node)
        if is_second:
            weight = get_input_node(node, 1)
            self.define_tensor(
                weight,
                xnn_graph,
                vals_to_ids,
                quant_params=QuantParams.from_weights(weight, self._exported_program),
                swap_in_out_for_weights=True,
            )
        super().define_node(node, xnn_graph, vals_to_ids, debug_handle)
        if is_second:
            xnn_graph.xnodes[-1].xnode_union.flags = XNN_FLAG_TRANSPOSE_WEIGHTS


def _is_second(node: Node) -> bool:
    """Of a linear layer, whether it reads what another yields, which does not so itself."""
    source = get_input_node(node, 0)
    while is_quant(source) or is_dequant(source):
        source = source.args[0]
    return bool(
        source.op == "call_function"
        and source.target == node.target
        and FuseActivationPass.get_fused_activation(source) is None
        and not _is_second(source)
    )
