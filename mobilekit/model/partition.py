"""Which operators a backend's delegates take. Imports executorch."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir.backend.partitioner import Partitioner, PartitionResult
from executorch.exir.backend.utils import tag_constant_data, tag_mutated_buffer
from executorch.exir.graph_module import get_control_flow_submodules
from torch.fx import GraphModule, Node
from torch.fx.passes.infra.partitioner import CapabilityBasedPartitioner
from torch.fx.passes.operator_support import create_op_support

from mobilekit.errors import ExportError
from mobilekit.formats import VULKAN_TEXTURE_TEXELS
from mobilekit.model.layers import layer_name
from mobilekit.model.vulkan_convolutions import read_convolution, why_miscomputed
from mobilekit.records.network import ModelSpec, Variant

_TAG = "delegation_tag"
"""What ExecuTorch reads of a node to tell which delegate takes it."""


def make_partitioners(spec: ModelSpec, exported: Any) -> list[Any]:
    """What marks the operators for the variant's backend, or for each of those that its layers are
    placed on.

    Raises ``ExportError`` for a placement of layers that the graph does not have, and for a layer
    that Vulkan would compute wrongly.
    """
    variant = spec.variant
    if not variant.placement:
        if variant.backend == "vulkan":
            _refuse_miscomputed(spec, exported.graph.nodes)
        return [_make_partitioner(variant)]
    known = {name for node in exported.graph.nodes if (name := layer_name(node)) is not None}
    backends = {layer: placed.backend for placed in variant.placement for layer in placed.layers}
    unknown = [layer for layer in backends if layer not in known]
    if unknown:
        raise ExportError(
            f"{spec.name} has no layer {unknown[0]} that computes anything, which its placement "
            "puts on a backend",
            fix="A placement is for one network with one set of options: `mobilekit partition` "
            "makes it, and `mobilekit describe` lists the network's layers.",
            unknown=", ".join(unknown),
            model=spec.path,
        )
    of_vulkan = {layer for layer, backend in backends.items() if backend == "vulkan"}
    _refuse_miscomputed(
        spec, (node for node in exported.graph.nodes if layer_name(node) in of_vulkan)
    )
    wholes = {"xnnpack": _make_partitioner(Variant())}
    if variant.needs_vulkan:
        wholes["vulkan"] = _make_partitioner(Variant(backend="vulkan"))
    return [PlacingPartitioner(each, wholes, backends) for each in wholes]


def _refuse_miscomputed(spec: ModelSpec, nodes: Iterable[Node]) -> None:
    wrong = [
        (layer_name(node) or node.name, what)
        for node in nodes
        if (what := _what_is_miscomputed(node)) is not None
    ]
    if wrong:
        name, what = wrong[0]
        raise ExportError(
            f"{spec.name} has {what} ({name}), which ExecuTorch's Vulkan in the "
            "companion app computes wrongly or does not load",
            fix="Use --backend xnnpack, or another layer in its place: which ones are right is "
            "listed in `mobilekit docs models`.",
            layers=len(wrong),
            model=spec.path,
        )


def _what_is_miscomputed(node: Node) -> str | None:
    from mobilekit.model.vulkan_operators import is_uneven_upsampling

    if is_uneven_upsampling(node):
        return "nearest upsampling by no whole number"
    convolution = read_convolution(node)
    why = None if convolution is None else why_miscomputed(convolution)
    return None if why is None else f"a convolution {why}"


def _make_partitioner(variant: Variant) -> Any:
    if variant.backend is None:
        return LoopingPartitioner()
    from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

    return VulkanPartitioner(
        {
            "force_fp16": variant.precision == "fp16",
            "texture_limits": (VULKAN_TEXTURE_TEXELS,) * 3,
        }
    )


class LoopingPartitioner(XnnpackPartitioner):  # type: ignore[misc]  # executorch is untyped
    """XNNPACK's, of loops too: ``XnnpackPartitioner`` looks at the outermost graph alone, and
    leaves a loop's step to portable kernels."""

    def generate_partitions(self, program: Any) -> list[Any]:
        partitions = list(super().generate_partitions(program))
        # Weights flow into a loop like any other value.
        of_steps = XnnpackPartitioner(force_non_static_weights_for_f32_linear=True)
        numbers = {partition.id for partition in partitions}
        for _, step, _ in get_control_flow_submodules(program.graph_module):
            program_of_step = copy.copy(program)
            program_of_step._graph_module = step
            for partition in of_steps.generate_partitions(program_of_step):
                partition.id = max(numbers, default=-1) + 1
                numbers.add(partition.id)
                partitions.append(partition)
        return partitions


class PlacingPartitioner(Partitioner):  # type: ignore[misc]  # executorch is untyped
    """Another's, of the layers alone that are placed on its backend.

    The other is asked for all that it can take, and of that what is placed elsewhere is left out.
    What is left is put together anew: without the middle of it, a delegate of before may wait for
    itself.
    """

    def __init__(
        self, backend: str, wholes: Mapping[str, Any], backends: Mapping[str, str]
    ) -> None:
        super().__init__()
        self._backend = backend
        self._wholes = wholes
        """Every backend's partitioner of whole graphs."""
        self._backends = backends
        """Of each layer that leaves XNNPACK."""

    def ops_to_not_decompose(self, program: Any) -> tuple[list[Any], Any]:
        """What any backend keeps whole of its own layers: each partitioner's list is what the
        others' operators are not decomposed by."""
        kept = {name: whole.ops_to_not_decompose(program) for name, whole in self._wholes.items()}

        def keeps(node: Node) -> bool:
            operators, takes = kept.get(self._owner(node), ((), None))
            return node.target in operators and (takes is None or takes(node))

        union = dict.fromkeys(each for operators, _ in kept.values() for each in operators)
        return list(union), keeps

    def partition(self, program: Any) -> Any:
        graph: GraphModule = program.graph_module
        whole = self._wholes[self._backend]
        found = whole.partition(program)
        for _, step, loop in get_control_flow_submodules(graph):
            if not self._owns(loop):
                for node in step.graph.nodes:
                    node.meta.pop(_TAG, None)
        own = {
            node
            for node in graph.graph.nodes
            if node.op == "call_function" and _TAG in node.meta and self._owns(node)
        }
        for node in graph.graph.nodes:
            node.meta.pop(_TAG, None)
        tags = {
            tag: spec
            for tag, spec in found.partition_tags.items()
            if any(
                node.meta.get(_TAG) == tag
                for _, step, _ in get_control_flow_submodules(graph)
                for node in step.graph.nodes
            )
        }
        proposed = CapabilityBasedPartitioner(
            graph,
            create_op_support(lambda _, node: node in own),
            allows_single_node_partition=True,
        ).propose_partitions()
        values = _computed_from_values(program)
        for part in proposed:
            if values.isdisjoint(part.nodes):  # A delegate of constants alone dies as it is run.
                continue
            tag = f"{self._backend}-{part.id}"
            tags[tag] = whole.delegation_spec
            for node in part.nodes:
                node.meta[_TAG] = tag
        tag_constant_data(program)
        tag_mutated_buffer(program)
        return PartitionResult(tagged_exported_program=program, partition_tags=tags)

    def _owns(self, node: Node) -> bool:
        return self._owner(node) == self._backend

    def _owner(self, node: Node) -> str:
        return self._backends.get(_layer_of(node) or "", "xnnpack")


def _layer_of(node: Node) -> str | None:
    """An operation that has lost its layer is of the one whose output it reads."""
    while node.op == "call_function":
        name = layer_name(node)
        if name is not None or not node.all_input_nodes:
            return name
        node = node.all_input_nodes[0]
    return None


def _computed_from_values(program: Any) -> set[Node]:
    """What changes from inference to inference: computed from inputs or from a state."""
    signature = program.graph_signature
    states = {
        name
        for name, buffer in signature.inputs_to_buffers.items()
        if buffer in signature.buffers_to_mutate.values()
    }
    found: set[Node] = set()
    for node in program.graph_module.graph.nodes:
        is_input = node.op == "placeholder" and node.name in {*signature.user_inputs, *states}
        if is_input or not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found
