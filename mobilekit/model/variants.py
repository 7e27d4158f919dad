"""Makes a variant of a network: what a ``Variant`` changes of the network itself. Imports torch.

Its precision is the program's alone, and is up to each format's own module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mobilekit.model.lowrank import compress
from mobilekit.model.nested import nest
from mobilekit.model.storage import store
from mobilekit.model.whitening import InputMoments
from mobilekit.records.network import Activation, Variant

_FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
_NAMES = (
    "relu relu_ relu6 hardtanh hardtanh_ sigmoid sigmoid_ tanh tanh_ elu elu_ selu selu_ celu "
    "celu_ gelu silu mish hardswish hardsigmoid leaky_relu leaky_relu_ rrelu rrelu_ prelu "
    "softplus softsign logsigmoid hardshrink softshrink tanhshrink threshold threshold_"
)
"""Functions of one number each, in ``torch``, ``torch.nn.functional`` and of tensors."""
_SWAPPED = {
    getattr(place, name)
    for place in (torch, F, torch.Tensor, torch._C._nn)
    for name in _NAMES.split()
    if hasattr(place, name)
} | {
    # As they are called in a graph that has been exported before. In ONNX a ReLU6 is a clip.
    getattr(torch.ops.aten, name).default
    for name in (*_NAMES.split(), "_prelu_kernel", "clamp")
    if hasattr(torch.ops.aten, name)
}


class _Swap(TorchFunctionMode):  # type: ignore[misc]  # torch is untyped here
    """A context in which every activation is this one."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self._function = _FUNCTIONS[activation]

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function in _SWAPPED:
            return self._function(args[0] if args else kwargs["input"])
        return function(*args, **kwargs)


def apply_variant(
    module: nn.Module,
    variant: Variant,
    on_progress: Callable[[str], None] = lambda _: None,
    moments: Mapping[str, InputMoments] | None = None,
) -> nn.Module:
    """The module itself, changed as ``variant`` says; raises ``UsageError`` where it cannot be.

    ``moments`` are those of the layers that a whitened one cuts.
    """
    if variant.compression is not None:
        compress(module, variant.compression, moments)
    if variant.storage is not None:
        store(module, variant.storage, on_progress)
    if variant.activation is not None:
        module = _swap_activations(module, variant.activation)
    return module if variant.level is None else nest(module, variant.level)


def _swap_activations(module: nn.Module, activation: Activation) -> nn.Module:
    """The module itself, whose every activation, gates included, is from now on ``activation``.

    Softmax stays: it is no function of one number. Modules keep their paths and parameters.
    """
    forward = module.forward

    def swapped(*args: Any, **kwargs: Any) -> Any:
        with _Swap(activation):
            return forward(*args, **kwargs)

    module.forward = swapped  # type: ignore[method-assign,unused-ignore]
    return module
