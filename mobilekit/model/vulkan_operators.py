"""Operators that Vulkan in the companion app's ExecuTorch lacks, or takes in some forms only.

The exporter's partitioner is newer than that library (1.3) and gives it operators that it has not,
with which it ends the process, and forms that it refuses or computes wrongly. They are left to
portable kernels, as is what no Vulkan takes. Which operators it has is in ``packed.toml``; the
forms are from about 280 small networks that were run in it. Imports executorch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from executorch.backends.vulkan import patterns
from executorch.backends.vulkan._passes.remove_redundant_ops import RemoveRedundantOpsTransform
from executorch.backends.vulkan.op_registry import vulkan_supported_ops
from executorch.backends.vulkan.partitioner import vulkan_partitioner
from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanSupportedOperators
from executorch.exir.dialects._ops import ops as edge_operators
from executorch.exir.dialects.edge._ops import EdgeOpOverload
from torch import Tensor, nn
from torch.fx import Node

from mobilekit.model.packed import read_packed
from mobilekit.model.spared_work import replacing

_ATEN = edge_operators.edge.aten

_FUSED = {"rms_norm": "et_vk.rms_norm.default"}
"""Operators that the exporter makes of several, by the pattern that it finds those by."""


@contextmanager
def keeping_to_packed() -> Iterator[None]:
    """A context to lower to Vulkan in: it is given what the packed library runs."""
    found = {
        name: pattern
        for name, pattern in patterns.fusable_patterns.items()
        if name not in _FUSED or _FUSED[name] in read_packed().pte.vulkan
    }
    with (
        replacing(patterns, "fusable_patterns", found),
        replacing(vulkan_partitioner, "VulkanSupportedOperators", _PackedOperators),
    ):
        yield


class _PackedOperators(VulkanSupportedOperators):  # type: ignore[misc]  # executorch is untyped
    def is_node_supported(self, submodules: Mapping[str, nn.Module], node: Node) -> bool:
        return runs_in_packed(node) and bool(super().is_node_supported(submodules, node))


def runs_in_packed(node: Node) -> bool:
    """Whether the packed library computes it, if it is one that the exporter gives to Vulkan."""
    target = node.target
    if not isinstance(target, EdgeOpOverload) or target not in vulkan_supported_ops:
        return True
    value = node.meta.get("val")
    if isinstance(value, Tensor) and value.dtype == torch.int64:
        return False  # Vulkan has 32 bits, and a kernel that reads indices has 64.
    if target == _ATEN.copy.default:
        return False  # Without it, as the exporter writes it, the library takes the wrong input.
    if target in RemoveRedundantOpsTransform.redundant_ops:  # None is left for the library.
        return True
    return target.__name__ in read_packed().pte.vulkan and not _is_form_that_fails(node)


def _is_form_that_fails(node: Node) -> bool:
    source = node.args[0] if node.args else None
    if not isinstance(source, Node) or not isinstance(source.meta.get("val"), Tensor):
        return False
    shape = source.meta["val"].shape
    if node.target == _ATEN.index.Tensor:
        return len(shape) > 1
    if node.target == _ATEN._native_batch_norm_legit_no_training.default:
        # One that follows a convolution becomes a part of it.
        return len(shape) != 4 and source.target != _ATEN.convolution.default
    if node.target == _ATEN.avg_pool2d.default:
        return len(node.args) < 3 or not node.args[2]  # Strides that are the kernel's, unsaid.
    return False


def is_uneven_upsampling(node: Node) -> bool:
    """Nearest, by no whole number, which the library computes wrongly and the exporter leaves to no
    kernel. Of an exported graph, not lowered yet."""
    if node.target != torch.ops.aten.upsample_nearest2d.vec:
        return False
    inputs, outputs = (each.meta["val"].shape[-2:] for each in (node.args[0], node))
    return any(out % size for out, size in zip(outputs, inputs, strict=True))
