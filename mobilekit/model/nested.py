"""Nested ranks: a network whose layers are sums of blocks, of which a level takes the first ones.

A layer's matrix W is U S V by its singular values, in groups of which, largest first, each block is
a thin layer followed by another. Level k of N computes with the blocks 1 to k, so that one set of
weights serves every level: the best approximation of each rank holds that of every lower rank
(Eckart and Young 1936). A k x k convolution is split into a k x 1 and a 1 x k one (Jaderberg et
al., arXiv 1405.3866), any other layer into two of its own kind.

Imports torch.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mobilekit.errors import ExportError
from mobilekit.records.network import Level

LEAST_PARAMETERS = 4096
"""Below this a layer is left whole: calls of two kernels cost more than its products."""
RANK_STEP = 8
"""Ranks are multiples of this: kernels compute so many channels at a time, and narrower blocks
would only add calls."""
EXACT_SIZE = 2048
"""Up to this many rows or columns the decomposition is exact; beyond, a randomized one (Halko et
al., arXiv 0909.4061) takes seconds in place of minutes."""


class Factors(NamedTuple):
    """A layer's matrix of m x n, as far as a rank that saves anything."""

    left: Tensor
    """(rank, m), each row times the root of its singular value."""
    right: Tensor
    """(n, rank), each column times the same root."""
    shares: tuple[float, ...]
    """Of the matrix's squared Frobenius norm, that each rank holds; never rising."""

    @property
    def parameters_per_rank(self) -> int:
        return int(self.left.shape[1] + self.right.shape[0])


class NestedLayer(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The sum of the first blocks of a layer; the first has the bias."""

    def __init__(self, blocks: Iterable[nn.Sequential | None]) -> None:
        super().__init__()
        self._every = tuple(blocks)
        self.blocks = nn.ModuleList()
        self.set_level(len(self._every))

    def set_level(self, number: int) -> None:
        self.blocks = nn.ModuleList(each for each in self._every[:number] if each is not None)

    def forward(self, value: Tensor) -> Tensor:
        first, *others = self.blocks
        total = first(value)
        for block in others:
            total = total + block(value)
        return total


def nest(module: nn.Module, level: Level) -> nn.Module:
    """The network itself, whose layers are split into blocks, at that level.

    Level k of N keeps at most k / N of the parameters of the layers that are split, but for the
    first ranks that each has. Which ranks are kept is decided for all layers together, by what
    share of a layer's squared norm a rank holds for each parameter that it costs; so a level's
    ranks hold those of every level below it. No layer gets a rank at which its two parts would be
    larger than the layer. The last layer is left whole, because a rank below its classes cannot
    tell them apart, and so is one with fewer parameters than ``LEAST_PARAMETERS``.

    Raises ``ExportError`` where nothing can be split.
    """
    layers = dict(_layers(module))
    if not layers:
        raise ExportError(
            "No layer of this network can be split into ranks",
            fix="Levels are for networks with nn.Linear or nn.Conv2d (of one group, without "
            f"dilation) of at least {LEAST_PARAMETERS:,} parameters besides the last layer, in a "
            "model file. Leave --level out.",
        )
    factors = {name: _factorize(_matrix(layer)) for name, layer in layers.items()}
    ranks = plan_ranks(factors, {name: _size(layer) for name, layer in layers.items()}, level.of)
    for name, layer in layers.items():
        parent, _, own = name.rpartition(".")
        blocks = _blocks(layer, factors[name], ranks[name])
        setattr(module.get_submodule(parent), own, NestedLayer(blocks))
    set_level(module, level.number)
    return module


def set_level(module: nn.Module, number: int) -> None:
    """Have a network that is nested already compute at another level."""
    for each in module.modules():
        if isinstance(each, NestedLayer):
            each.set_level(number)


def plan_ranks(
    factors: dict[str, Factors], sizes: dict[str, int], levels: int
) -> dict[str, tuple[int, ...]]:
    """Each layer's rank at each level, never falling; ``sizes`` are the layers' parameters.

    What is best for each parameter comes first, until a level's share of all parameters is used
    up.
    """
    total = sum(sizes.values())
    ranks = dict.fromkeys(factors, 0)
    steps = {name: _steps(each) for name, each in factors.items()}
    # Every layer has at least its first step.
    waiting: list[tuple[float, str]] = []
    used = 0
    for name, found in steps.items():
        ranks[name] = 1
        used += _cost(factors[name], found[0])
        _push(waiting, name, found, 1, factors[name])
    planned: dict[str, list[int]] = {name: [] for name in factors}
    for level in range(1, levels + 1):
        allowed = total * level / levels
        while waiting:
            _, name = waiting[0]
            before, after = steps[name][ranks[name] - 1], steps[name][ranks[name]]
            cost = _cost(factors[name], after) - _cost(factors[name], before)
            if used + cost > allowed:
                break
            heapq.heappop(waiting)
            used += cost
            ranks[name] += 1
            _push(waiting, name, steps[name], ranks[name], factors[name])
        for name, rank in ranks.items():
            planned[name].append(steps[name][rank - 1])
    return {name: tuple(each) for name, each in planned.items()}


def _push(
    waiting: list[tuple[float, str]], name: str, steps: Sequence[int], done: int, factors: Factors
) -> None:
    if done < len(steps):
        before, after = steps[done - 1], steps[done]
        gain = sum(factors.shares[before:after])
        heapq.heappush(waiting, (-gain / _cost(factors, after - before), name))


def _steps(factors: Factors) -> list[int]:
    """The ranks that a layer may have."""
    most = len(factors.shares)
    return [*range(RANK_STEP, most, RANK_STEP), most]


def _cost(factors: Factors, rank: int) -> int:
    return rank * factors.parameters_per_rank


def _layers(module: nn.Module) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    every = [
        (name, each)
        for name, each in module.named_modules()
        if type(each) in (nn.Linear, nn.Conv2d)
    ]
    for name, each in every[:-1]:
        if isinstance(each, nn.Conv2d) and (
            each.groups != 1
            or each.dilation != (1, 1)
            or isinstance(each.padding, str)
            or each.padding_mode != "zeros"
        ):
            continue
        rows, columns = _matrix(each).shape
        if name and _size(each) >= LEAST_PARAMETERS and _break_even(rows, columns) > RANK_STEP:
            yield name, each


def _size(layer: nn.Linear | nn.Conv2d) -> int:
    return int(layer.weight.numel())


def _break_even(rows: int, columns: int) -> int:
    """The largest rank at which two parts are no larger than the whole."""
    return rows * columns // (rows + columns)


def _matrix(layer: nn.Linear | nn.Conv2d) -> Tensor:
    """What the first part reads, in rows, by what the second one yields."""
    weight = layer.weight.detach()
    if isinstance(layer, nn.Linear):
        return weight.T
    outputs, inputs, height, width = weight.shape
    return weight.permute(1, 2, 0, 3).reshape(inputs * height, outputs * width)


def _factorize(matrix: Tensor) -> Factors:
    rows, columns = matrix.shape
    rank = _break_even(rows, columns)
    if min(rows, columns) <= EXACT_SIZE:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            left, values, turned = torch.svd_lowrank(matrix, q=rank, niter=2)
            right = turned.T
    roots = values[:rank].sqrt()
    norm = float(matrix.square().sum()) or 1.0
    return Factors(
        (left[:, :rank] * roots).T.contiguous(),
        (right[:rank].T * roots).contiguous(),
        tuple((values[:rank].square() / norm).tolist()),
    )


def _blocks(
    layer: nn.Linear | nn.Conv2d, factors: Factors, ranks: Sequence[int]
) -> Iterator[nn.Sequential | None]:
    """A block for each level; ``None`` where a level adds nothing to this layer."""
    for start, end in pairwise((0, *ranks)):
        if start == end:
            yield None
            continue
        bias = layer.bias if start == 0 else None
        left, right = factors.left[start:end], factors.right[:, start:end]
        yield (
            _linear_block(left, right, bias)
            if isinstance(layer, nn.Linear)
            else _convolution_block(layer, left, right, bias)
        )


def _linear_block(left: Tensor, right: Tensor, bias: Tensor | None) -> nn.Sequential:
    return nn.Sequential(_linear(left, None), _linear(right, bias)).eval()


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    outputs, inputs = weight.shape
    return _with_weights(nn.Linear(inputs, outputs, bias=bias is not None), weight, bias)


def _convolution_block(
    layer: nn.Conv2d, left: Tensor, right: Tensor, bias: Tensor | None
) -> nn.Sequential:
    rank, (height, width) = len(left), layer.kernel_size
    (down, across), (above, beside) = layer.stride, layer.padding
    tall = nn.Conv2d(layer.in_channels, rank, (height, 1), (down, 1), (above, 0), bias=False)
    wide = nn.Conv2d(
        rank, layer.out_channels, (1, width), (1, across), (0, beside), bias=bias is not None
    )
    second = right.reshape(layer.out_channels, width, rank).permute(0, 2, 1)
    return nn.Sequential(
        _with_weights(tall, left.reshape(rank, layer.in_channels, height, 1), None),
        _with_weights(wide, second.reshape(layer.out_channels, rank, 1, width), bias),
    ).eval()


def _with_weights(
    layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor | None
) -> nn.Linear | nn.Conv2d:
    layer.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer
