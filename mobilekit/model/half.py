"""How far a network's outputs move where an engine computes in half precision throughout.

Phones' fp16 kernels keep sums of products in half too, and round each partial sum; this computer's
keep them in float32, so that an error here says little of one there. So a run in PyTorch gets the
errors that such kernels make: everything that is stored is rounded to half, and sums are disturbed
by as much as rounding each of their partial sums would.

Of s = b + p_1 + ... + p_K, rounding to nearest changes each partial sum s_k by ``ROUNDING`` |s_k|,
root mean square. In any order of terms of any sign the sum wanders from b to s as a bridge does:
E[s_k^2] = (b + t (s - b))^2 + t (1 - t) P with t = k / K, where P is the sum of all p^2. The
changes are taken to be independent (N. Higham and T. Mary, SIAM J. Sci. Comput. 41, 2019), so that
their squares add up to

    ROUNDING^2 K ((b^2 + b s + s^2) / 3 + P / 6).

P is the same operator on squares, which makes a run of a network cost little more than two.

Imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from mobilekit.contract.outputs import check_outputs
from mobilekit.model.failures import running_code_of
from mobilekit.model.quiet import quiet_python
from mobilekit.model.state import preserved_state
from mobilekit.records.network import ModelSpec

aten = torch.ops.aten

ROUNDING = 2**-10 / math.sqrt(24)
"""Of a number whose significand is anything from 1 to 2: the last place is 2^-10 of a power of two,
an error uniform within half of it, and the significand's mean inverse square 1/2."""
RUNS = 3


def foresee_error(
    spec: ModelSpec, module: nn.Module, inputs: Sequence[Tensor], references: Sequence[Tensor]
) -> float:
    """The largest error of ``RUNS`` disturbed runs, relative as in ``protocol.OutputCheck``.

    ``references`` are the outputs in float32. It is the largest double where half overflows.
    Raises ``ExportError`` as eager runs do.
    """
    worst = 0.0
    for seed in range(RUNS):
        with (
            running_code_of(spec),
            torch.no_grad(),
            preserved_state(module),
            _operator_by_operator(module),
            _Disturbed(seed),
        ):
            leaves = tree_leaves(module(*(tensor.clone() for tensor in inputs)))
        check = check_outputs(
            [leaf.numpy() for leaf in leaves], [tensor.numpy() for tensor in references], 1.0
        )
        worst = max(worst, check.max_relative_error)
    return worst


@contextmanager
def _operator_by_operator(module: nn.Module) -> Iterator[None]:
    """Without the kernels that hide the sums of attention and of recurrences."""
    fast = torch.backends.mha.get_fastpath_enabled()
    recurrent = any(isinstance(each, nn.RNNBase) for each in module.modules())
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with quiet_python(), ExitStack() as stack:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            if recurrent:
                stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Disturbed(TorchDispatchMode):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        arguments = func._schema.arguments
        if any(each.alias_info is not None for each in (*arguments, *func._schema.returns)):
            return self._in_place(func, arguments, args, kwargs)
        args, kwargs = tree_map(_rounded, (args, kwargs))
        output = func(*args, **kwargs)
        variance = _VARIANCES.get(func)
        if variance is not None and _is_float(output):
            spread = variance(output, *args, **kwargs)
            noise = torch.randn(output.shape, generator=self._random)
            output = output + ROUNDING * spread.clamp(min=0).sqrt() * noise
        return tree_map(_rounded, output)

    def _in_place(self, func: Any, arguments: Any, args: Any, kwargs: Any) -> Any:
        """Views stay views; what is written to is rounded where it lies."""
        output = func(*args, **kwargs)
        for argument, value in zip(arguments, args, strict=False):
            if (
                argument.alias_info is not None
                and argument.alias_info.is_write
                and _is_float(value)
            ):
                value.copy_(_rounded(value))
        return output


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float32


def _rounded(value: Any) -> Any:
    return value.half().float() if _is_float(value) else value


# --- the sums: K ((b^2 + b s + s^2) / 3 + P / 6) of each element ---------------------------------


def _spread(terms: int, squares: Tensor, total: Tensor, start: Tensor | float = 0.0) -> Tensor:
    return terms * ((start * start + start * total + total * total) / 3 + squares / 6)


def _of_convolution(
    output: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any
) -> Tensor:
    transposed = rest[3]
    per_output = weight.shape[0] // rest[5] if transposed else weight.shape[1]
    squares = aten.convolution.default(input * input, weight * weight, None, *rest)
    shape = [1, -1, *[1] * (output.dim() - 2)]
    start = 0.0 if bias is None else bias.reshape(shape)
    return _spread(per_output * math.prod(weight.shape[2:]), squares, output, start)


def _of_addmm(output: Tensor, start: Tensor, left: Tensor, right: Tensor, **kwargs: Any) -> Tensor:
    return _spread(left.shape[-1], (left * left) @ (right * right), output, start)


def _of_product(output: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return _spread(left.shape[-1], (left * left) @ (right * right), output)


def _of_mean(
    output: Tensor, input: Tensor, dim: Any = None, keepdim: bool = False, **kwargs: Any
) -> Tensor:
    terms = input.numel() // max(output.numel(), 1)
    squares = (input * input).mean(dim, keepdim) if dim else (input * input).mean()
    # Sums over the number of their terms.
    return _spread(terms, squares * terms, output * terms) / terms**2


def _of_sum(
    output: Tensor, input: Tensor, dim: Any = None, keepdim: bool = False, **kwargs: Any
) -> Tensor:
    terms = input.numel() // max(output.numel(), 1)
    squares = (input * input).sum(dim, keepdim) if dim else (input * input).sum()
    return _spread(terms, squares, output)


def _of_pool(output: Tensor, input: Tensor, *rest: Any) -> Tensor:
    size = rest[0]
    terms = math.prod(size) if len(size) > 1 else size[0] ** 2
    squares = aten.avg_pool2d.default(input * input, *rest)
    return _spread(terms, squares * terms, output * terms) / terms**2


def _of_adaptive_pool(output: Tensor, input: Tensor, size: Any) -> Tensor:
    terms = -(-math.prod(input.shape[-2:]) // math.prod(output.shape[-2:]))
    squares = aten._adaptive_avg_pool2d.default(input * input, size)
    return _spread(terms, squares * terms, output * terms) / terms**2


_VARIANCES: dict[Any, Callable[..., Tensor]] = {
    aten.convolution.default: _of_convolution,
    aten.addmm.default: _of_addmm,
    aten.mm.default: _of_product,
    aten.bmm.default: _of_product,
    aten.mean.default: _of_mean,
    aten.mean.dim: _of_mean,
    aten.sum.default: _of_sum,
    aten.sum.dim_IntList: _of_sum,
    aten.avg_pool2d.default: _of_pool,
    aten._adaptive_avg_pool2d.default: _of_adaptive_pool,
}
