"""Which operators a backend's delegates take. Imports executorch."""

from __future__ import annotations

import copy
from typing import Any

from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir.graph_module import get_control_flow_submodules

from mobilekit.records.network import Variant


def make_partitioner(variant: Variant) -> Any:
    """What marks the operators for the variant's backend."""
    if variant.backend is None:
        return LoopingPartitioner()
    from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

    return VulkanPartitioner({"force_fp16": variant.precision == "fp16"})


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
