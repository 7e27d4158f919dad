"""Equal formulations of ATen operators, of operators that XNNPACK's delegate takes.

``rewrite`` is for graphs that are lowered to XNNPACK. Other engines have kernels of their own for
what is taken apart here, so that it is not done while a network is traced, as ``rewrite.py`` does.
Every formulation is exact but for the order in which numbers are added.

The delegate takes means of a map's two inner dimensions alone, products of matrices in batches,
slices and reshapings, and no select, split, squeeze or stack. So

- normalizations over layers and groups are means, differences and products;
- attention is two products and a softmax, and a mask of ``-inf`` is put in finite numbers;
- what only moves elements is slices, reshapings and concatenations;
- a long recurrence is a loop (``recurrence.py``).

Imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mobilekit.model.recurrence import RECURRENCES

aten = torch.ops.aten


def rewrite(exported: Any) -> Any:
    """A ``torch.export.ExportedProgram`` that computes the same, each operation of its layer."""
    rewritten = exported
    # What a recurrence becomes is rewritten as the rest is: a table is not applied to its results
    # in a loop.
    for table in (RECURRENCES, _FORMULATIONS):
        if table is _FORMULATIONS or any(node.target in table for node in rewritten.graph.nodes):
            rewritten = rewritten.run_decompositions(dict(table))
    for node in rewritten.graph.nodes:
        if node.op == "call_function" and node.target in _ARITHMETIC and _is_real(node):
            # An integer would become a tensor that a kernel of its own converts.
            node.args = tuple(
                float(each) if type(each) is int and position < 2 else each
                for position, each in enumerate(node.args)
            )
    rewritten.graph_module.recompile()
    return rewritten


_ARITHMETIC = {
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.rsub.Scalar,
    aten.add.Scalar,
    aten.sub.Scalar,
    aten.mul.Scalar,
    aten.div.Scalar,
}


def _is_real(node: Any) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_floating_point()


# --- means and normalizations --------------------------------------------------------------------


def _rows(input: Tensor, count: int) -> Tensor:
    """The elements in so many rows, each a map of one channel, over which a mean is taken."""
    return input.reshape(count, 1, -1, 1)


def _mean(
    input: Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    dims = sorted(each % input.dim() for each in dim or range(input.dim())) if input.dim() else []
    neighbours = dims == list(range(dims[0], dims[-1] + 1)) if dims else False
    if not neighbours or dtype not in (None, input.dtype) or not input.is_floating_point():
        return NotImplemented
    if input.dim() == 4 and dims == [2, 3] and keepdim:
        return NotImplemented  # as it is wanted
    kept = [1 if at in dims else size for at, size in enumerate(input.shape)]
    shape = kept if keepdim else [size for at, size in enumerate(input.shape) if at not in dims]
    if input.dim() == 4 and dims == [2, 3]:
        return input.mean([2, 3], keepdim=True).reshape(shape)
    before, within = math.prod(input.shape[: dims[0]]), math.prod(input.shape[i] for i in dims)
    after = math.prod(input.shape[dims[-1] + 1 :])
    moved = input.reshape(before, within, after)
    if after > 1:
        moved = moved.permute(0, 2, 1)
    return _rows(moved, before * after).mean([2, 3], keepdim=True).reshape(shape)


def _sum(
    input: Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    mean = _mean(input, dim, keepdim, dtype=dtype)
    if mean is NotImplemented:
        return NotImplemented
    return mean * float(input.numel() // max(mean.numel(), 1))


def _normalized(rows: Tensor, eps: float) -> Tensor:
    """``_rows``, each with mean 0 and variance 1 (J. Ba et al., arXiv:1607.06450)."""
    centred = rows - rows.mean([2, 3], keepdim=True)
    return centred * _inverse_root_mean_square(centred, eps)


def _inverse_root_mean_square(rows: Tensor, eps: float) -> Tensor:
    return torch.rsqrt((rows * rows).mean([2, 3], keepdim=True) + eps)


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    count = input.numel() // math.prod(normalized_shape)
    normal = _normalized(_rows(input, count), eps).reshape(input.shape)
    normal = normal if weight is None else normal * weight
    return normal if bias is None else normal + bias


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    batch, channels = input.shape[:2]
    maps = input.reshape(batch, channels, input.shape[2] if input.dim() == 4 else 1, -1)

    def group_mean(values: Tensor) -> Tensor:
        """Of each channel's group, (batch, channels, 1, 1). As maps stay as they lie for
        convolutions, this is faster than means over a group's elements side by side."""
        rows = _rows(values.mean([2, 3], keepdim=True), batch * num_groups)
        # The product has the size to which the sum widens a group's mean.
        return (rows.mean([2, 3], keepdim=True) + rows * 0.0).reshape(batch, channels, 1, 1)

    centred = maps - group_mean(maps)
    factor = torch.rsqrt(group_mean(centred * centred) + eps)
    factor = factor if weight is None else factor * weight.reshape(1, channels, 1, 1)
    normal = centred * factor
    normal = normal if bias is None else normal + bias.reshape(1, channels, 1, 1)
    return normal.reshape(input.shape)


def _rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    rows = _rows(input, input.numel() // math.prod(normalized_shape))
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    normal = (rows * _inverse_root_mean_square(rows, eps)).reshape(input.shape)
    return normal if weight is None else normal * weight


# --- attention -----------------------------------------------------------------------------------


def _matmul(input: Tensor, other: Tensor) -> Tensor:
    """Of stacks of equally many matrices: ``bmm`` without the expansions that ATen puts there."""
    if input.dim() < 3 or input.shape[:-2] != other.shape[:-2]:
        return NotImplemented
    batch = math.prod(input.shape[:-2])
    product = torch.bmm(
        input.reshape(batch, *input.shape[-2:]), other.reshape(batch, *other.shape[-2:])
    )
    return product.reshape(*input.shape[:-1], other.shape[-1])


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Softmax of scaled products, times the values (A. Vaswani et al., NIPS 2017, equation 1).

    Where a mask leaves a query nothing to look at, the result is 0, as PyTorch's is.
    """
    alike = query.shape[:-2] == key.shape[:-2] == value.shape[:-2] and query.dim() >= 3
    if not alike or enable_gqa or dropout_p:
        return NotImplemented
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = _matmul(query * scale, key.transpose(-2, -1))
    lowest = torch.finfo(scores.dtype).min
    if is_causal:
        later = scores.new_full(scores.shape[-2:], lowest).triu(1)
        return _matmul(torch.softmax(scores + later, -1), value)
    if attn_mask is None:
        return _matmul(torch.softmax(scores, -1), value)
    if attn_mask.dtype == torch.bool:
        seen = attn_mask.to(scores.dtype)
        mask = (seen - 1.0) * -lowest
    else:
        # 0 for -inf and 1 for every finite number, the lowest too.
        half = torch.clamp(attn_mask * 0.5, min=0.75 * lowest)
        seen = torch.clamp((half - 0.75 * lowest) * (-8 / lowest), min=0.0, max=1.0)
        mask = torch.clamp(attn_mask, min=lowest)
    # A row that sees nothing would share its weights equally.
    return _matmul(torch.softmax(scores + mask, -1) * seen, value)


# --- what moves elements -------------------------------------------------------------------------


def _without(shape: Sequence[int], dim: int) -> list[int]:
    dim %= len(shape)
    return [size for at, size in enumerate(shape) if at != dim]


def _select(input: Tensor, dim: int, index: int) -> Tensor:
    index %= input.shape[dim]
    return input.narrow(dim, index, 1).reshape(_without(input.shape, dim))


def _squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    dims = range(input.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    left_out = {each % input.dim() for each in dims}
    return input.reshape(
        [size for at, size in enumerate(input.shape) if at not in left_out or size != 1]
    )


def _unsqueeze(input: Tensor, dim: int) -> Tensor:
    shape = list(input.shape)
    shape.insert(dim % (input.dim() + 1), 1)
    return input.reshape(shape)


def _expand(input: Tensor, size: Sequence[int], *, implicit: bool = False) -> Tensor:
    shape = [1] * (len(size) - input.dim()) + list(input.shape)
    if any(wanted not in (-1, given) for wanted, given in zip(size, shape, strict=True)):
        return NotImplemented
    return input.reshape(shape)


def _split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> list[Tensor]:
    starts = [sum(split_sizes[:number]) for number in range(len(split_sizes))]
    return [input.narrow(dim, at, size) for at, size in zip(starts, split_sizes, strict=True)]


def _split(input: Tensor, split_size: int, dim: int = 0) -> list[Tensor]:
    total = input.shape[dim]
    return _split_with_sizes(
        input, [min(split_size, total - start) for start in range(0, total, split_size)], dim
    )


def _chunk(input: Tensor, chunks: int, dim: int = 0) -> list[Tensor]:
    return _split(input, -(-input.shape[dim] // chunks), dim)


def _unbind(input: Tensor, dim: int = 0) -> list[Tensor]:
    return [_select(input, dim, index) for index in range(input.shape[dim])]


def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    dim %= tensors[0].dim() + 1
    return torch.cat([_unsqueeze(each, dim) for each in tensors], dim)


# --- functions -----------------------------------------------------------------------------------


def _hardsigmoid(input: Tensor) -> Tensor:
    return torch.clamp(input + 3.0, min=0.0, max=6.0) / 6.0


_FORMULATIONS: dict[Any, Callable[..., Any]] = {
    aten.mean.dim: _mean,
    aten.sum.dim_IntList: _sum,
    aten.layer_norm.default: _layer_norm,
    aten.group_norm.default: _group_norm,
    aten.rms_norm.default: _rms_norm,
    aten.matmul.default: _matmul,
    aten.scaled_dot_product_attention.default: _attention,
    aten.select.int: _select,
    aten.squeeze.dim: _squeeze,
    aten.squeeze.dims: _squeeze,
    aten.squeeze.default: _squeeze,
    aten.unsqueeze.default: _unsqueeze,
    aten.expand.default: _expand,
    aten.split.Tensor: _split,
    aten.split_with_sizes.default: _split_with_sizes,
    aten.chunk.default: _chunk,
    aten.unbind.int: _unbind,
    aten.stack.default: _stack,
    aten.hardsigmoid.default: _hardsigmoid,
}
