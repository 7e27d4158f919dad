"""Nested ranks: a network of which each level has a lower rank than the next one.

A layer is cut in two as ``lowrank`` does it, at the largest level's rank, and a lower level has the
first of what lies between the two. So one set of weights serves every level, for the best
approximation of a rank holds that of every lower one (Eckart and Young 1936). A linear layer is two
layers at every level, whose weights begin those of the next level's (``shared_weights``); a
convolution is a sum of blocks, of which level k computes with the first k.

Imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor, nn

from mobilekit.model.lowrank import assemble, factors_of, replace_layers
from mobilekit.records.network import LayerRank, Level


class NestedLayer(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """A layer that is cut at the rank of a level."""

    def set_level(self, number: int) -> None:
        raise NotImplementedError


class NestedLinear(NestedLayer):
    """Two linear layers, of whose weights every level has the first ones."""

    def __init__(self, layer: nn.Linear, ranks: Sequence[int]) -> None:
        super().__init__()
        self._layer = (layer,)  # no part of this module
        self._ranks = ranks
        self._factors = factors_of(layer, ranks[-1])
        self.set_level(len(ranks))

    def set_level(self, number: int) -> None:
        (layer,), (first, second) = self._layer, self._factors
        rank = self._ranks[number - 1]
        self.pair = assemble(layer, first[:, :rank], second[:rank], layer.bias)
        self.pair.requires_grad_(False)

    def largest_weights(self) -> Tensor:
        """Of the second layer's outputs, the largest weight by size at the largest level."""
        return self._factors[0].abs().amax(dim=1)

    def forward(self, value: Tensor) -> Tensor:
        return self.pair(value)


class NestedConvolution(NestedLayer):
    """The sum of the first blocks of a layer; the first has the bias.

    XNNPACK takes a convolution's weights by outputs alone, of which the second layer of a lower
    level has all, and each a part.
    """

    def __init__(self, layer: nn.Conv2d, ranks: Sequence[int]) -> None:
        super().__init__()
        self._every = tuple(_blocks(layer, ranks))
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
    """The network itself, whose layers are cut as the ladder says, at that level.

    Raises ``UsageError`` where a layer of the ladder is not there, cannot be cut, or has no such
    rank.
    """
    largest = level.ladder[-1]
    ranks = {
        cut.layer: tuple(each.ranks[place].rank for each in level.ladder)
        for place, cut in enumerate(largest.ranks)
    }

    def make(layer: nn.Module, cut: LayerRank) -> NestedLayer:
        made = NestedLinear if isinstance(layer, nn.Linear) else NestedConvolution
        return made(layer, ranks[cut.layer])

    replace_layers(module, largest, make)
    set_level(module, level.number)
    return module


def set_level(module: nn.Module, number: int) -> None:
    """Have a network that is nested already compute at another level."""
    for each in module.modules():
        if isinstance(each, NestedLayer):
            each.set_level(number)


def find_largest_weights(module: nn.Module) -> dict[str, Tensor]:
    """By the path of a weight of which each level has some columns, the largest number in each row
    of all of them by size: what int8 has to reach, if levels are to share it."""
    return {
        f"{path}.pair.1.weight": each.largest_weights()
        for path, each in module.named_modules()
        if isinstance(each, NestedLinear)
    }


def _blocks(layer: nn.Module, ranks: Sequence[int]) -> Iterator[nn.Sequential | None]:
    """A block for each level; ``None`` where a level adds nothing to this layer."""
    first, second = factors_of(layer, ranks[-1])
    for start, end in pairwise((0, *ranks)):
        if start == end:
            yield None
            continue
        bias = layer.bias if start == 0 else None
        yield assemble(layer, first[:, start:end], second[start:end], bias)
