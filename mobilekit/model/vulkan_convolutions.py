"""Convolutions that Vulkan in the companion app's ExecuTorch gets wrong. Imports torch.

What is refused was run in that library (1.3) and gave other outputs without an error, or was not
loaded. Why, by its source: a convolution by depth that is not of 3 x 3 or 5 x 5 goes on in its
kernel at the right border without skipping what lies beyond it, and has no shader where strides
and dilations differ; the kernels for 1 x 1 and for transposed convolutions know no groups; the one
for other groups takes four channels at once; and the one for 1 x 1 over signals has no stride, no
padding and no groups.
"""

from __future__ import annotations

from typing import NamedTuple

from torch.fx import Node

_PACKED = 4
"""Channels in a texel of Vulkan's."""
_TILED = ((3, 3), (5, 5))
"""Kernels by depth that have shaders of their own."""


class Convolution(NamedTuple):
    """Sizes are one for each dimension of the image or signal."""

    transposed: bool
    groups: int
    outputs: int
    """Channels."""
    inputs_of_group: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    """On either side; of ``"same"``, half of what it adds, rounded up; of ``"valid"`` one zero, as
    the lowered graph has it."""
    dilation: tuple[int, ...]


def read_convolution(node: Node) -> Convolution | None:
    """``None`` for any other operator. Of an exported graph, not lowered yet."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.name.startswith("aten::conv"):
        return None
    named = [(each.name, each.default_value) for each in schema.arguments]
    values = dict(named) | dict(zip((name for name, _ in named), node.args, strict=False))
    values |= node.kwargs
    first, second, *kernel = values["weight"].meta["val"].shape
    transposed = "transpose" in schema.name or bool(values.get("transposed"))
    groups = values["groups"]

    def each_side(name: str) -> tuple[int, ...]:
        value = values[name]
        sides = [value] if isinstance(value, int) else list(value)
        return tuple(sides if len(sides) == len(kernel) else sides * len(kernel))

    dilation = each_side("dilation")
    if values["padding"] == "same":
        added = (step * (size - 1) for step, size in zip(dilation, kernel, strict=True))
        padding = tuple((each + 1) // 2 for each in added)
    else:
        padding = (0,) if values["padding"] == "valid" else each_side("padding")
    return Convolution(
        transposed=transposed,
        groups=groups,
        outputs=second * groups if transposed else first,
        inputs_of_group=first // groups if transposed else second,
        kernel=tuple(kernel),
        stride=each_side("stride"),
        padding=padding,
        dilation=dilation,
    )


def why_miscomputed(convolution: Convolution) -> str | None:
    """What of it the packed library computes wrongly or does not load; ``None``: it is right."""
    if len(convolution.kernel) == 1:
        return _why_of_signals(convolution)
    if len(convolution.kernel) != 2:
        return "over volumes, which portable kernels have not either"
    if len(convolution.padding) != 2:
        return "whose padding is the word 'valid' in place of 0"
    if convolution.transposed:
        return _why_transposed(convolution)
    if convolution.outputs == convolution.groups and convolution.inputs_of_group == 1:
        return _why_by_depth(convolution)
    if convolution.groups == 1:
        return None
    if max(convolution.kernel) == 1:
        return "in groups with a kernel of 1 x 1"
    channels = (convolution.inputs_of_group, convolution.outputs // convolution.groups)
    if any(each % _PACKED for each in channels):
        return f"in groups of {channels[0]} to {channels[1]} channels, no multiples of {_PACKED}"
    return None


def _why_of_signals(convolution: Convolution) -> str | None:
    if convolution.transposed or max(convolution.kernel) > 1:
        return None
    if convolution.groups > 1:
        return "over signals in groups with a kernel of 1"
    if max(convolution.stride) > 1 or max(convolution.padding) > 0:
        return "over signals with a kernel of 1 and with strides or padding"
    return None


def _why_transposed(convolution: Convolution) -> str | None:
    if convolution.groups > 1:
        return "that is transposed and in groups"
    if max(convolution.dilation) > 1:
        return "that is transposed and dilated"
    return None


def _why_by_depth(convolution: Convolution) -> str | None:
    if convolution.kernel in _TILED:
        return None
    height, width = convolution.kernel
    if convolution.stride != convolution.dilation:
        return f"by depth with a kernel of {height} x {width} and strides or dilation"
    if min(height, width) > 1 and convolution.padding[1] > 0:
        return f"by depth with a kernel of {height} x {width} and padding"
    return None
