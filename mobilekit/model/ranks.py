"""Which layers of a network are cut to which rank, from the singular values of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mobilekit.records.compression import Redundancy
from mobilekit.records.network import Compression, LayerRank

FloatArray = npt.NDArray[np.float64]


class Layer(NamedTuple):
    """A layer that can be cut to a lower rank."""

    path: str
    rows: int
    columns: int
    """Of its weights as the matrix that is decomposed."""
    singular_values: tuple[float, ...]
    """In falling order, min(rows, columns) of them."""
    least_rank: int = 1
    """Below which it is not cut."""
    most_rank: int | None = None
    """Above which it is not cut either; ``None``: wherever that saves weights."""

    @property
    def weights(self) -> int:
        return self.rows * self.columns

    def weights_at(self, rank: int) -> int:
        return rank * (self.rows + self.columns)

    @property
    def largest_rank(self) -> int:
        """Up to which the two layers have fewer weights than the one; 0: at no rank."""
        saving = (self.weights - 1) // (self.rows + self.columns)
        return saving if self.most_rank is None else min(saving, self.most_rank)


SMALLEST_STEP = 0.08
"""By how many of its weights each step of a ladder is smaller, at least: an export costs seconds,
and accuracy tells no finer steps apart."""
LEAST_WEIGHTS = 4096
"""Of a layer that levels cut: in a smaller one the calls of two kernels cost more than they save,
and each block of a convolution adds two."""
RANK_STEP = 8
"""Of levels: kernels compute so many channels at a time, and narrower blocks would only add
calls."""
ROUNDING = 1e-12
"""A share of the squared weights that is no error."""


def make_ladder(
    layers: Sequence[Layer], redundancy: Redundancy = "frobenius"
) -> tuple[Compression | None, ...]:
    """From the whole network (``None``) down to the least rank everywhere, each step with fewer
    weights and no layer of a higher rank.

    At each step one bound holds for all layers: each has the least rank whose relative error,
    ||W - W_r|| / ||W|| in the Frobenius norm, is within it, or is whole where that rank would save
    nothing. So one with small weights counts as much as any other. The least sum of the errors'
    squares for the same size, by a Lagrange multiplier, was tried too, and is worse: it takes a
    large layer down to almost nothing before it touches a small one (`mobilekit docs compressing`).

    With ``rms`` the bound is on the root mean square of W - W_r in place of that, as in DeepX (N.
    Lane et al., IPSN 2016), relative to the largest such of any whole layer.
    """
    layers = [each for each in layers if each.least_rank <= each.largest_rank]
    lost = [_lost(layer) for layer in layers]
    if redundancy == "rms":
        means = [_mean_square(layer) for layer in layers]
        largest = max(means, default=0.0) or 1.0
        lost = [each * (mean / largest) for each, mean in zip(lost, means, strict=True)]
    whole = [layer.largest_rank + 1 for layer in layers]
    chosen = [whole]
    bounds = np.unique(np.concatenate([*lost, [1.0]]))
    for bound in bounds:
        step = [
            max(int(np.argmax(shares <= bound)) + 1, layer.least_rank)
            for layer, shares in zip(layers, lost, strict=True)
        ]
        smaller = (1 - SMALLEST_STEP) * _weights(layers, chosen[-1])
        is_smaller = _weights(layers, step) <= smaller or bound == 1.0
        if step != chosen[-1] and is_smaller:
            chosen.append(step)
    return tuple(_compression(layers, step) for step in chosen)


def make_levels(layers: Sequence[Layer], count: int) -> tuple[Compression, ...] | None:
    """So many nested levels, from the smallest; ``None`` where the layers give no so many.

    Level k of N has at most k / (N + 1) of the weights of the layers that are cut, so that the
    whole network is as far from the largest level as the levels from each other. At each one error
    bound holds for all layers, as in ``make_ladder``, with ranks rounded up to multiples of
    ``RANK_STEP``; a layer that would have to be whole has the largest that saves anything. Layers
    of fewer than ``LEAST_WEIGHTS`` are left whole.
    """
    cut = [
        layer
        for layer in layers
        if layer.weights >= LEAST_WEIGHTS and layer.largest_rank >= RANK_STEP
    ]
    if not cut:
        return None
    lost = [_lost(layer) for layer in cut]
    steps = [
        [
            min(
                layer.largest_rank // RANK_STEP * RANK_STEP,
                -(-(int(np.argmax(shares <= bound)) + 1) // RANK_STEP) * RANK_STEP,
            )
            for layer, shares in zip(cut, lost, strict=True)
        ]
        for bound in np.unique(np.concatenate([*lost, [1.0]]))
    ]
    allowed = sum(layer.weights for layer in cut) / (count + 1)
    found = [
        next((step for step in steps if _weights(cut, step) <= allowed * number), None)
        for number in range(1, count + 1)
    ]
    if None in found or any(lower == higher for lower, higher in pairwise(found)):
        return None
    return tuple(
        Compression(
            ranks=tuple(
                LayerRank(layer=layer.path, rank=rank)
                for layer, rank in zip(cut, step, strict=True)
            )
        )
        for step in found
        if step is not None
    )


def _lost(layer: Layer) -> FloatArray:
    """The relative error squared at the ranks 1 to ``largest_rank``, and 0 of the whole layer."""
    squares = np.square(np.array(layer.singular_values))
    beyond = np.cumsum(squares[::-1])[::-1] / (squares.sum() or 1.0)
    lost = beyond[1 : layer.largest_rank + 1]
    return np.append(np.where(lost < ROUNDING, 0.0, lost), 0.0)


def _mean_square(layer: Layer) -> float:
    return float(np.square(np.array(layer.singular_values)).sum()) / layer.weights


def _weights(layers: Sequence[Layer], step: Sequence[int]) -> int:
    return sum(
        layer.weights_at(rank) if rank <= layer.largest_rank else layer.weights
        for layer, rank in zip(layers, step, strict=True)
    )


def _compression(layers: Sequence[Layer], step: Sequence[int]) -> Compression | None:
    cut = tuple(
        LayerRank(layer=layer.path, rank=rank)
        for layer, rank in zip(layers, step, strict=True)
        if rank <= layer.largest_rank
    )
    return Compression(ranks=cut) if cut else None
