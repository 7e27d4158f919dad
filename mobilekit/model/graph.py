"""A network as one graph, from which every format is made. Imports torch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mobilekit.errors import ExportError
from mobilekit.model.failures import describe_error, failing_line
from mobilekit.model.layers import layer_name, name_layers
from mobilekit.model.quiet import quiet_python
from mobilekit.model.rewrite import ExactRewrites
from mobilekit.records.network import ModelSpec

METHOD = "forward"
"""What is traced; where a format has methods, the name of its only one."""


def make_graph(spec: ModelSpec, module: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """The network as one graph (a ``torch.export.ExportedProgram``) for inputs of these shapes.

    Each operation in it knows its layer (``layers.layer_name``).

    Raises ``ExportError`` naming the statement that is no part of a fixed graph.
    """
    try:
        # torch prints half-made graphs to standard error before it gives up.
        with quiet_python(), contextlib.redirect_stderr(io.StringIO()), ExactRewrites():
            exported = _export(module, inputs)
    except Exception as error:
        raise ExportError(
            f"torch.export cannot turn {spec.name} into a fixed graph: {describe_error(error)}",
            fix="Write forward() without branches, loops or sizes that depend on the values of "
            "tensors; torch.where can often take the place of an if.",
            at=failing_line(error, Path(spec.path).parent) or spec.path,
        ) from error
    name_layers(exported)
    return exported


def find_random(spec: ModelSpec, module: nn.Module, inputs: Sequence[Tensor]) -> list[str]:
    """The operations of a network that draw random numbers, by the layer that they are in; none
    where it cannot be traced."""
    try:
        exported = make_graph(spec, module, inputs)
    except ExportError:
        return []
    random = [
        node
        for node in exported.graph.nodes
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        # A dropout that rests is in the graph too.
        and False not in node.args
    ]
    return list(dict.fromkeys(layer_name(node) or node.name for node in random))


class _Whole(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A network as the only part of another."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Any:
        return self.network(*inputs)


_OWN_NAMES = (set(dir(torch.fx.GraphModule({}, torch.fx.Graph()))) - set(dir(nn.Module()))) | set(
    dir(torch.fx.GraphModule)
) - set(dir(nn.Module))


def _export(module: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """With parts that are called like a graph's own attributes (``meta``, ``graph``) one level
    deeper, where they may be."""
    parts = {name for name, _ in module.named_children()} | set(module._parameters)
    if not (parts | set(module._buffers)) & _OWN_NAMES:
        return torch.export.export(module, tuple(inputs))
    exported = torch.export.export(_Whole(module), tuple(inputs))
    for node in exported.graph.nodes:
        stack = node.meta.get("nn_module_stack")
        if stack is not None:
            _, *inner = stack.items()
            node.meta["nn_module_stack"] = {
                key: (path.removeprefix("network").removeprefix("."), kind)
                for key, (path, kind) in inner
            }
    return exported
