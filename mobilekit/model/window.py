"""How a convolution or a pooling of a traced graph looks at its input. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.fx import Node

from mobilekit.records.network import Window


def find_window(node: Node) -> Window | None:
    """Of one operation of ``torch.ops.aten``; ``None`` where it has no window.

    An adaptive pooling's and a mean's window is as large as its input's share for one output.
    """
    schema: Any = getattr(node.target, "_schema", None)
    if schema is None:
        return None
    name = schema.name.partition("::")[2]
    given = {
        argument.name: node.args[index]
        if index < len(node.args)
        else node.kwargs.get(argument.name, argument.default_value)
        for index, argument in enumerate(schema.arguments)
    }
    if "conv" in name and "weight" in given and "stride" in given:
        kernel = tuple(map(int, _shape(given["weight"])[2:]))
        return Window(
            kernel=kernel,
            stride=_each(given["stride"], len(kernel)),
            dilation=_each(given["dilation"], len(kernel)),
            groups=int(given["groups"]),
            transposed="transpose" in name or bool(given.get("transposed")),
        )
    if "kernel_size" in given and "pool" in name:
        source = _shape(given["self"])
        dimensions = int(name[name.index("pool") + len("pool")])
        kernel = _each(given["kernel_size"], min(dimensions, len(source)))
        return _pooling(
            kernel,
            _each(given["stride"], len(kernel)) if given["stride"] else kernel,
            _each(given.get("dilation") or 1, len(kernel)),
        )
    if "adaptive" in name and "pool" in name:
        size = _shape(node)
        dimensions = len(given["output_size"])
        shares = zip(_shape(given["self"])[-dimensions:], size[-dimensions:], strict=True)
        kernel = tuple(-(-wide // max(narrow, 1)) for wide, narrow in shares)
        return _pooling(kernel, kernel, (1,) * dimensions)
    if name in ("mean", "amax") and given.get("dim"):
        shape = _shape(given["self"])
        kernel = tuple(shape[dimension] for dimension in given["dim"])
        return _pooling(kernel, kernel, (1,) * len(kernel))
    return None


def _pooling(kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Window:
    return Window(kernel=kernel, stride=stride, dilation=dilation, groups=1, transposed=False)


def _shape(argument: Any) -> tuple[int, ...]:
    value = argument.meta["val"]
    # With indices, a pooling yields two tensors.
    return tuple((value[0] if isinstance(value, tuple | list) else value).shape)


def _each(number: int | Sequence[int], dimensions: int) -> tuple[int, ...]:
    """One number stands for all dimensions."""
    numbers = (number,) if isinstance(number, int) else tuple(map(int, number))
    return numbers * dimensions if len(numbers) == 1 else numbers
