"""Which layers of a network are cut to which rank, from the singular values of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

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

    @property
    def weights(self) -> int:
        return self.rows * self.columns

    def weights_at(self, rank: int) -> int:
        return rank * (self.rows + self.columns)

    @property
    def largest_rank(self) -> int:
        """Up to which the two layers have fewer weights than the one; 0: at no rank."""
        return (self.weights - 1) // (self.rows + self.columns)


SMALLEST_STEP = 0.03
"""By how many of its weights each step of a ladder is smaller, at least: an export costs seconds,
and accuracy tells no finer steps apart."""
ROUNDING = 1e-12
"""A share of the squared weights that is no error."""


def make_ladder(layers: Sequence[Layer]) -> tuple[Compression | None, ...]:
    """From the whole network (``None``) down to a rank of 1 everywhere, each step with fewer
    weights and no layer of a higher rank.

    At each step one bound holds for all layers: each has the least rank whose relative error,
    ||W - W_r|| / ||W|| in the Frobenius norm, is within it, or is whole where that rank would save
    nothing. So one with small weights counts as much as any other. The least sum of the errors'
    squares for the same size, by a Lagrange multiplier, was tried too, and is worse: it takes a
    large layer down to almost nothing before it touches a small one (`mobilekit docs compressing`).
    """
    lost = [_lost(layer) for layer in layers]
    whole = [layer.largest_rank + 1 for layer in layers]
    chosen = [whole]
    bounds = np.unique(np.concatenate([*lost, [1.0]]))
    for bound in bounds:
        step = [int(np.argmax(shares <= bound)) + 1 for shares in lost]
        smaller = (1 - SMALLEST_STEP) * _weights(layers, chosen[-1])
        is_smaller = _weights(layers, step) <= smaller or bound == 1.0
        if step != chosen[-1] and is_smaller:
            chosen.append(step)
    return tuple(_compression(layers, step) for step in chosen)


def _lost(layer: Layer) -> FloatArray:
    """The relative error squared at the ranks 1 to ``largest_rank``, and 0 of the whole layer."""
    squares = np.square(np.array(layer.singular_values))
    beyond = np.cumsum(squares[::-1])[::-1] / (squares.sum() or 1.0)
    lost = beyond[1 : layer.largest_rank + 1]
    return np.append(np.where(lost < ROUNDING, 0.0, lost), 0.0)


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
