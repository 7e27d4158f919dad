"""Equal formulations of functions that a backend would leave on slow kernels or cannot run.

While a network is traced, ``ExactRewrites()`` stands in for a few functions of
``torch.nn.functional``, however they are called, so that model files stay natural:

- ``local_response_norm`` becomes ``avg_pool3d``, which has no kernel in ExecuTorch's runtime: the
  program would not even load. As a sum of channel slices it is delegated whole, and several
  times faster than eager PyTorch.
- ``avg_pool2d`` with padding is not delegated; padding and pooling separately are.
- ``adaptive_avg_pool2d`` to the size that the map already has does nothing, and is not delegated.

The same goes for the ATen operators that they have become in a graph exported before.

Imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import TorchFunctionMode


class ExactRewrites(TorchFunctionMode):  # type: ignore[misc]  # torch is untyped here
    """A context in which calls of the functions above take their equal formulation."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        return _REWRITTEN.get(function, function)(*args, **(kwargs or {}))


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """``input / (k + alpha / size * sum of squares over size channels) ** beta``.

    ``input`` is (N, C, ...). The channels summed for channel c are c - size // 2 to
    c + (size - 1) // 2, those outside counting as zero, as in PyTorch and (for odd sizes) Caffe
    (A. Krizhevsky et al., NIPS 2012, section 3.3).
    """
    channels = input.shape[1]
    around = (0, 0) * (input.dim() - 2) + (size // 2, (size - 1) // 2)
    squares = F.pad(input * input, around)
    total = squares[:, :channels]
    for offset in range(1, size):
        total = total + squares[:, offset : offset + channels]
    # An integer would be a tensor that is converted, by a kernel of its own.
    return input / _power(total * (alpha / size) + float(k), beta)


def is_normalization(stack_trace: str | None) -> bool:
    """Whether an operator of a traced graph is a part of ``local_response_norm``.

    Its stack trace ends with the statement that calls it: torch leaves the frames below out.
    """
    last_line = (stack_trace or "").rstrip().rpartition("\n")[2]
    return "local_response_norm(" in last_line


def _power(base: Tensor, exponent: float) -> Tensor:
    """Square roots and products are delegated, ``pow`` is not."""
    if exponent == 0.75:
        root = torch.sqrt(base)
        return root * torch.sqrt(root)
    if exponent == 0.5:
        return torch.sqrt(base)
    if exponent == 1:
        return base
    return base**exponent


def avg_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """``torch.nn.functional.avg_pool2d`` with its zero padding done beforehand."""
    stride = stride or None  # ATen says [] for "the kernel's size"
    across = [padding] if isinstance(padding, int) else list(padding)
    if any(across) and count_include_pad and not ceil_mode:
        input = F.pad(input, (across[-1], across[-1], across[0], across[0]))
        padding = 0
    return F.avg_pool2d(
        input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(input: Tensor, kernel_size: Sequence[int], *options: Any, **named: Any) -> Tensor:
    """``torch.ops.aten.avg_pool3d``, as a sum of slices where it is what has become of a
    ``local_response_norm``: across channels alone, one by one, over a map padded already."""
    size, *others = kernel_size
    if others != [1, 1] or len(options) != 1 or set(options[0]) != {1} or named:
        return torch.ops.aten.avg_pool3d.default(input, kernel_size, *options, **named)
    depth = input.shape[-3] - size + 1
    total = input.narrow(-3, 0, depth)
    for offset in range(1, size):
        total = total + input.narrow(-3, offset, depth)
    return total * (1 / size)


def squeeze(input: Tensor, dim: int) -> Tensor:
    """``torch.ops.aten.squeeze.dim`` as a reshaping, which is delegated."""
    if input.shape[dim] != 1:
        return input
    dim %= input.dim()
    return input.reshape(*input.shape[:dim], *input.shape[dim + 1 :])


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """``torch.nn.functional.adaptive_avg_pool2d``, which is the identity for an equal size."""
    sizes = [output_size] * 2 if isinstance(output_size, int) else list(output_size)
    if all(wanted in (None, given) for wanted, given in zip(sizes, input.shape[-2:], strict=True)):
        return input
    return F.adaptive_avg_pool2d(input, output_size)


def _resize(name: str) -> Callable[..., Tensor]:
    """The overload ``vec`` in place of ``default``, which the lowering does not know."""
    vec = getattr(torch.ops.aten, name).vec
    flags = 0 if "nearest" in name else 1  # align_corners

    def resize(input: Tensor, output_size: Sequence[int], *options: Any) -> Tensor:
        corners, scales = options[:flags], options[flags:]
        if not scales or None in scales:
            return vec(input, output_size, *corners, None)
        sizes = [int(size * scale) for size, scale in zip(input.shape[2:], scales, strict=True)]
        if sizes != list(output_size):
            return getattr(torch.ops.aten, name).default(input, output_size, *options)
        return vec(input, None, *corners, list(scales))

    return resize


_RESIZES = ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "bicubic2d")

_REWRITTEN: dict[Callable[..., Any], Callable[..., Any]] = {
    F.local_response_norm: local_response_norm,
    F.avg_pool2d: avg_pool2d,
    F.adaptive_avg_pool2d: adaptive_avg_pool2d,
    # As they are called in a graph that has been exported before.
    torch.ops.aten.avg_pool2d.default: avg_pool2d,
    torch.ops.aten.avg_pool3d.default: avg_pool3d,
    torch.ops.aten.pow.Tensor_Scalar: _power,
    torch.ops.aten.squeeze.dim: squeeze,
    torch.ops.aten.adaptive_avg_pool2d.default: adaptive_avg_pool2d,
    **{
        getattr(torch.ops.aten, f"upsample_{name}").default: _resize(f"upsample_{name}")
        for name in _RESIZES
    },
}
