"""Nested ranks: a network whose layers are sums of blocks, of which a level takes the first ones.

A layer is cut in two as ``lowrank`` does it, at the largest level's rank, and what lies between the
two is split: each block is a thin layer followed by another. Level k computes with the blocks 1 to
k. So one set of weights serves every level, for the best approximation of a rank holds that of
every lower one (Eckart and Young 1936).

Imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from torch import Tensor, nn

from mobilekit.model.lowrank import assemble, factors_of, replace_layers
from mobilekit.records.network import Level


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
    """The network itself, whose layers are split into the ladder's blocks, at that level.

    Raises ``UsageError`` where a layer of the ladder is not there, cannot be cut, or has no such
    rank.
    """
    largest = level.ladder[-1]
    ranks = {
        cut.layer: tuple(each.ranks[place].rank for each in level.ladder)
        for place, cut in enumerate(largest.ranks)
    }
    replace_layers(
        module, largest, lambda layer, cut: NestedLayer(_blocks(layer, ranks[cut.layer]))
    )
    set_level(module, level.number)
    return module


def set_level(module: nn.Module, number: int) -> None:
    """Have a network that is nested already compute at another level."""
    for each in module.modules():
        if isinstance(each, NestedLayer):
            each.set_level(number)


def _blocks(layer: nn.Module, ranks: Sequence[int]) -> Iterator[nn.Sequential | None]:
    """A block for each level; ``None`` where a level adds nothing to this layer."""
    first, second = factors_of(layer, ranks[-1])
    for start, end in pairwise((0, *ranks)):
        if start == end:
            yield None
            continue
        bias = layer.bias if start == 0 else None
        yield assemble(layer, first[:, start:end], second[start:end], bias)
