"""ExecuTorch's precisions below fp32: a network's graph in int8 or in half, before it is lowered.

Imports torch, torchao and executorch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from mobilekit.errors import ExportError
from mobilekit.model.failures import describe_error
from mobilekit.model.quiet import quiet_python
from mobilekit.model.rewrite import is_normalization
from mobilekit.records.network import ModelSpec


def quantize(
    spec: ModelSpec,
    exported: Any,
    examples: Sequence[Sequence[Tensor]],
    largest_weights: Mapping[str, Tensor] | None = None,
) -> Any:
    """Static int8 as XNNPACK takes it: weights per channel, activations per tensor.

    ``exported`` is a ``torch.export.ExportedProgram``, and so is what is returned; its inputs and
    outputs stay as they are. Ranges of activations are those of ``examples``, and of weights their
    own, or those of ``largest_weights``: by the name of a weight, how large each channel's may be.

    Local response normalization stays in float: over quantized slices XNNPACK builds a program
    that then does not load, and a square needs twice the bits.

    Raises ``ExportError``.
    """
    try:
        with quiet_python(), torch.no_grad():
            from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
                XNNPACKQuantizer,
                get_symmetric_quantization_config,
            )
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

            class Quantizer(XNNPACKQuantizer):  # type: ignore[misc]  # it is untyped
                # Each pattern of training is exported to look for it, and none can occur here.
                SUPPORTED_PATTERNS = tuple(
                    pattern for pattern in XNNPACKQuantizer.SUPPORTED_PATTERNS if not pattern.is_qat
                )

                def annotate(self, model: Any) -> Any:
                    model = super().annotate(model)
                    _quantize_clamped(model)
                    _quantize_padding(model)
                    return model

            quantizer = Quantizer()
            quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True))
            quantizer.set_filter_function(
                lambda node: not is_normalization(node.meta.get("stack_trace"))
            )
            observed = prepare_pt2e(exported.module(), quantizer)
            for example in examples:
                observed(*example)
            _set_ranges(observed, largest_weights or {})
            return torch.export.export(convert_pt2e(observed), tuple(examples[0]))
    except Exception as error:
        raise ExportError(
            f"{spec.name} cannot be quantized to int8 for XNNPACK: {describe_error(error)}",
            fix="Export it with --precision fp32.",
            model=spec.path,
        ) from error


def _set_ranges(observed: torch.fx.GraphModule, largest: Mapping[str, Tensor]) -> None:
    """Has weights of these names quantized as if they were as large as this."""
    for node in observed.graph.nodes:
        if node.op == "get_attr" and node.target in largest:
            for user in node.users:
                observer = observed.get_submodule(user.target)
                observer.min_val = -largest[node.target]
                observer.max_val = largest[node.target].clone()


def _quantize_clamped(model: torch.fx.GraphModule) -> None:
    """Give what a ReLU6 (or any hardtanh) clamps the range of what it leaves.

    XNNPACK's lowering makes one operator of it and what it follows, as of a ReLU, but XNNPACK's
    quantizer knows the ReLU alone: eight bits would span all that is clamped away.
    """
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation

    for node in model.graph.nodes:
        if node.op != "call_function" or node.target not in _CLAMPS:
            continue
        source = node.args[0]
        annotation = source.meta.get("quantization_annotation")
        if source.target not in _FUSED_WITH_CLAMPS or len(source.users) > 1 or annotation is None:
            continue
        node.meta["quantization_annotation"] = QuantizationAnnotation(
            output_qspec=annotation.output_qspec, _annotated=True
        )
        annotation.output_qspec = None


_CLAMPS = (torch.ops.aten.hardtanh.default, torch.ops.aten.hardtanh_.default)
_FUSED_WITH_CLAMPS = (
    torch.ops.aten.conv1d.default,
    torch.ops.aten.conv2d.default,
    torch.ops.aten.conv_transpose1d.default,
    torch.ops.aten.conv_transpose2d.input,
    torch.ops.aten.linear.default,
    torch.ops.aten.add.Tensor,
    torch.ops.aten.add_.Tensor,
    torch.ops.aten.mul.Tensor,
    torch.ops.aten.mul_.Tensor,
)
"""Whose output XNNPACK clamps as it writes it."""


def _quantize_padding(model: torch.fx.GraphModule) -> None:
    """Give padding of quantized values the same range on both sides.

    XNNPACK's quantizer leaves it between the two, as for padded average pools, and the program
    then does not load.
    """
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, SharedQuantizationSpec

    for node in model.graph.nodes:
        if node.op != "call_function" or node.target is not torch.ops.aten.pad.default:
            continue
        source = node.args[0]
        annotation = source.meta.get("quantization_annotation")
        if annotation is not None and annotation.output_qspec is not None:
            node.meta["quantization_annotation"] = QuantizationAnnotation(
                input_qspec_map={source: SharedQuantizationSpec(source)},
                output_qspec=SharedQuantizationSpec((source, node)),
                _annotated=True,
            )


class Halved(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A network that computes in half precision between float32 inputs and outputs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).half()

    def forward(self, *inputs: Tensor) -> Any:
        outputs = self.module(*(_cast(tensor, torch.float32, torch.half) for tensor in inputs))
        return tree_map(lambda output: _cast(output, torch.half, torch.float32), outputs)


def _cast(tensor: Tensor, given: torch.dtype, wanted: torch.dtype) -> Tensor:
    return tensor.to(wanted) if tensor.dtype == given else tensor
