"""Cuts a network into segments, each of which can be exported and timed by itself. Imports torch.

A segment is a layer that does work, with what engines compute inside it: the batch normalization
and the activation that follow it where nothing else reads what they read, and reshapings. The graph
is cut as it is once no operation writes over another's output, so that a segment's outputs are what
it yields, and nothing later changes them.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg
from torch.fx.passes.split_utils import split_by_tags
from torch.utils._pytree import tree_leaves

from mobilekit.contract.outputs import check_outputs
from mobilekit.contract.protocol import DType, Format
from mobilekit.errors import ExportError
from mobilekit.formats import FORMATS
from mobilekit.model.failures import describe_error
from mobilekit.model.layers import layer_name, operation_name
from mobilekit.model.quiet import quiet_python
from mobilekit.model.reference import dtype_name
from mobilekit.records.network import Description, LayerType, ModelSpec
from mobilekit.records.partition import Chart, Flow

LARGEST_CHAIN_ERROR = 1e-5
"""Of the eager segments' outputs against those of the network's whole graph, run eagerly as well,
relative to the largest of them. Both call the same kernels, up to a batch normalization that is
written otherwise."""

_FIX = "Profile it with an engine that traces its operators: --format pte, or onnx."
_INPUT, _OUTPUT = "<input>", "<output>"
_BATCH_NORM = {"batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"}


class Segment(NamedTuple):
    """A part of a network that runs by itself."""

    layers: tuple[str, ...]
    """What it computes: the layer that does the work first, then those computed inside it; none
    for ``make_call``."""
    module: nn.Module
    inputs: tuple[Tensor, ...]
    """What flows into it in the network's own inference."""
    outputs: tuple[Tensor, ...]
    """What it yields there."""


def make_call() -> Segment:
    """One operator on one number, of no layer: calling it is nearly all that it costs."""
    number = torch.ones(1, 1)
    return Segment((), nn.ReLU(), (number,), (number,))


def cut(
    spec: ModelSpec,
    exported: Any,
    description: Description,
    inputs: Sequence[Tensor],
    format: Format,
) -> list[Segment]:
    """The segments of a ``torch.export.ExportedProgram`` of ``trace``, in an order to run them in.

    What an engine computes inside another operator depends on ``format``.

    Raises ``ExportError`` for a graph that cannot be cut, or whose segments, one after another,
    do not yield what the network does.
    """
    try:
        with quiet_python(), torch.no_grad():
            whole, tags = _split(exported, description, format)
            recorder = _Recorder(whole)
            outputs = tree_leaves(recorder.run(*(tensor.clone() for tensor in inputs)))
            expected = tree_leaves(exported.module()(*(tensor.clone() for tensor in inputs)))
    except Exception as error:
        raise ExportError(
            f"{spec.name} cannot be cut into segments: {describe_error(error)}",
            fix=_FIX,
            model=spec.path,
        ) from error
    if not tags:
        raise ExportError(
            f"{spec.name} has no layer that does anything", fix="Profile another.", model=spec.path
        )
    _check_chain(spec, outputs, expected)
    parts = [
        Segment(group, whole.get_submodule(tag), *recorder.seen[tag]) for tag, group in tags.items()
    ]
    for part in parts:
        _check_values(spec, part)
    return parts


def make_chart(spec: ModelSpec, exported: Any, description: Description, format: Format) -> Chart:
    """Which segments the network has, and which of them reads what of which.

    Raises ``ExportError`` for a graph that cannot be cut.
    """
    try:
        with quiet_python(), torch.no_grad():
            whole, tags = _split(exported, description, format)
    except Exception as error:
        raise ExportError(
            f"{spec.name} cannot be cut into segments: {describe_error(error)}",
            fix="Its layers stay on one backend: `mobilekit deploy` measures it.",
            model=spec.path,
        ) from error
    places = {tag: place for place, tag in enumerate(tags)}
    flows = []
    for node in whole.graph.nodes:
        if node.op == "call_module":
            # A segment yields a tuple; each value of it is taken out by an operation of its own.
            for value in node.users:
                readers = {places[user.target] for user in value.users if user.op == "call_module"}
                if readers:
                    own = places[node.target]
                    flows.append(Flow(producer=own, consumers=tuple(sorted(readers))))
    return Chart(segments=tuple(tags.values()), flows=tuple(flows))


def _split(
    exported: Any, description: Description, format: Format
) -> tuple[GraphModule, dict[str, tuple[str, ...]]]:
    """The network as a graph of calls of its segments, and their layers by what is called."""
    types = {layer.name: layer.type for layer in description.layers}
    graph = _functional_graph(exported, types)
    groups = _group(graph, types, FORMATS[format].folded_activations)
    tags = {f"segment_{number}": group for number, group in enumerate(groups)}
    owner = {layer: tag for tag, group in tags.items() for layer in group}
    for node in _operations(graph):
        node.tag = owner[_layer_of(node)]
    return split_by_tags(graph, list(tags), return_tuple=True), tags


def _check_values(spec: ModelSpec, part: Segment) -> None:
    """What a companion can be given, and what its outputs can be compared with."""
    tensors = (*part.inputs, *part.outputs)
    problem = None
    if unknown := {dtype_name(tensor) for tensor in tensors} - set(get_args(DType)):
        problem = f"of {', '.join(sorted(unknown))}, not of {', '.join(get_args(DType))}"
    elif not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
        problem = "not all finite"
    elif any(tensor.numel() == 0 for tensor in tensors):
        problem = "without elements"
    if problem is not None:
        raise ExportError(
            f"{spec.name} cannot be measured by segments: values that flow into or out of "
            f"{part.layers[0]} are {problem}",
            fix=_FIX,
            model=spec.path,
        )


def _check_chain(spec: ModelSpec, outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    check = check_outputs(
        [tensor.numpy() for tensor in outputs],
        [tensor.numpy() for tensor in expected],
        LARGEST_CHAIN_ERROR,
    )
    if not check.matches:
        raise ExportError(
            f"The segments of {spec.name}, one after another, do not yield what the whole does",
            fix=_FIX,
            relative_error=f"{check.max_relative_error:.3g}",
            relative_tolerance=LARGEST_CHAIN_ERROR,
            model=spec.path,
        )


# --- the graph ---------------------------------------------------------------------------------


def _functional_graph(exported: Any, types: Mapping[str, LayerType]) -> GraphModule:
    """Without operations in place, without dropout, and with what is constant computed.

    Dropout rests at inference, but would be a copy where it has no reader to be forgotten in.
    """
    graph: GraphModule = exported.run_decompositions({}).module()
    constants: dict[Node, Any] = {}
    for node in list(graph.graph.nodes):
        if node.op == "call_module":  # Checks the inputs' shapes, which are given.
            graph.graph.erase_node(node)
        elif node.op == "get_attr":
            constants[node] = operator.attrgetter(node.target)(graph)
        elif node.op == "call_function" and constants.keys() >= set(node.all_input_nodes):
            arguments = map_arg((node.args, node.kwargs), constants.__getitem__)
            constants[node] = node.target(*arguments[0], **arguments[1])
            if isinstance(constants[node], Tensor):
                name = f"constant_{node.name}"
                graph.register_buffer(name, constants[node].clone())
                with graph.graph.inserting_before(node):
                    node.replace_all_uses_with(graph.graph.get_attr(name))
        elif node.op == "call_function" and types.get(_layer_of(node)) == "dropout":
            node.replace_all_uses_with(node.args[0])
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


class _Recorder(Interpreter):  # type: ignore[misc]  # torch is untyped here
    """Keeps what flows into and out of each segment."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph)
        self.seen: dict[str, tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] = {}

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        inputs = tuple(tensor.contiguous().clone() for tensor in args)
        outputs = super().call_module(target, args, kwargs)
        self.seen[target] = inputs, tuple(tensor.contiguous().clone() for tensor in outputs)
        return outputs


def _operations(graph: GraphModule) -> Iterator[Node]:
    return (node for node in graph.graph.nodes if node.op == "call_function")


def _layer_of(node: Node) -> str:
    """An operation that has lost its layer is of the one whose output it reads."""
    while node.op == "call_function":
        name = layer_name(node)
        if name is not None:
            return name
        node = next(one for one in node.all_input_nodes if one.op != "get_attr")
    return _INPUT


# --- what belongs together ---------------------------------------------------------------------


def _group(
    graph: GraphModule, types: Mapping[str, LayerType], folded_activations: frozenset[str]
) -> list[tuple[str, ...]]:
    """Layers that make a segment, the one that does the work first.

    A layer joins the segment that yields all that it reads, so that no two segments wait for each
    other; the order of those that do the work is then one to run the segments in.
    """
    layers: dict[str, list[Node]] = defaultdict(list)
    for node in _operations(graph):
        layers[_layer_of(node)].append(node)
    reads, readers = _connections(graph)
    host_of: dict[str, str] = {}
    for name, nodes in layers.items():
        sources = reads[name]
        source = next(iter(sources)) if len(sources) == 1 and _INPUT not in sources else None
        operations = {operation_name(node) for node in nodes} - {"getitem"}
        folds = operations <= _BATCH_NORM or operations <= folded_activations
        joins = source is not None and (
            types[name] == "reshape" or (folds and readers[source] == {name})
        )
        host_of[name] = host_of[source] if joins and source is not None else name
    for name in [one for one, host in host_of.items() if one == host and types[one] == "reshape"]:
        # What only reshapes the network's input belongs to the one that reads it.
        own = {one for one, host in host_of.items() if host == name}
        outside = {
            _OUTPUT if one == _OUTPUT else host_of[one] for each in own for one in readers[each]
        } - {name}
        if len(outside) == 1 and _OUTPUT not in outside:
            host_of |= dict.fromkeys(own, outside.pop())
    groups: dict[str, list[str]] = {name: [name] for name, host in host_of.items() if name == host}
    for name, host in host_of.items():
        if name != host:
            groups[host].append(name)
    return [tuple(group) for group in groups.values()]


def _connections(graph: GraphModule) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Which layers each layer reads, and which read it."""
    reads: dict[str, set[str]] = defaultdict(set)
    readers: dict[str, set[str]] = defaultdict(set)
    for node in graph.graph.nodes:
        if node.op not in ("call_function", "output"):
            continue
        own = _OUTPUT if node.op == "output" else _layer_of(node)
        for source in node.all_input_nodes:
            if source.op == "get_attr":
                continue
            read = _layer_of(source)
            if read != own:
                reads[own].add(read)
                readers[read].add(own)
    return reads, readers
