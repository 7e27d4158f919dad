"""The ladder of ranks, each step judged in PyTorch: whitened only where that is surely righter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mobilekit.analysis.accuracy import paired_difference
from mobilekit.flow.reporter import Reporter
from mobilekit.model.ranks import Layer, make_ladder
from mobilekit.records.compression import CutLayer, Redundancy, Screened
from mobilekit.records.network import Compression

if TYPE_CHECKING:
    from mobilekit.model.screening import Screen

SLACK_POINTS = 2.0
"""Beyond the loss allowed that a step of the ladder may have in PyTorch and still be tried: another
precision and another engine move a few examples to either side."""
HOPELESS_STEPS = 2
"""Steps of the ladder in a row beyond that, after which it is not followed further down."""


def screen_ladder(
    layers: Sequence[Layer],
    found: Sequence[CutLayer],
    screen: Screen,
    max_loss_points: float,
    redundancy: Redundancy,
    reporter: Reporter,
    *,
    whitened_by: str | None = None,
) -> tuple[Screened, ...]:
    """The ladder from the whole network down, until it is hopeless. It does not depend on how
    large, slow or hungry a network may be.

    With ``whitened_by``, of which the screen can judge, each step is whitened where that is surely
    better (``_judged``). Where a layer bears lower ranks then, a second ladder goes down to those,
    and the first one stays, so that no step is lost.
    """
    ladders = {_ladder(layers, [each.least_rank for each in found], found, redundancy): None}
    if whitened_by is not None:
        plain = [
            each.least_rank if each.least_plain_rank is None else each.least_plain_rank
            for each in found
        ]
        ladders[_ladder(layers, plain, found, redundancy)] = None
    most = max_loss_points + SLACK_POINTS
    steps: dict[Compression | None, Screened] = {}
    for ladder in ladders:
        hopeless = 0
        for number, compression in enumerate(ladder):
            if number % 5 == 1:
                reporter.note(f"Judging step {number} of {len(ladder) - 1} in PyTorch")
            step = steps.get(compression) or _judged(compression, screen, most, whitened_by)
            steps[compression] = step
            hopeless = hopeless + 1 if step.loss_points > most else 0
            if hopeless == HOPELESS_STEPS:
                break
    return tuple(sorted(steps.values(), key=lambda each: -count_weights(layers, each.compression)))


def count_weights(layers: Sequence[Layer], compression: Compression | None) -> int:
    """Of the layers that can be cut, once they are."""
    cuts = () if compression is None else compression.ranks
    ranks = {cut.layer: cut.rank for cut in cuts}
    return sum(
        layer.weights_at(ranks[layer.path]) if layer.path in ranks else layer.weights
        for layer in layers
    )


def _ladder(
    layers: Sequence[Layer],
    least_ranks: Sequence[int],
    found: Sequence[CutLayer],
    redundancy: Redundancy,
) -> tuple[Compression | None, ...]:
    bounded = [
        layer._replace(least_rank=least, most_rank=cut.most_rank)
        for layer, least, cut in zip(layers, least_ranks, found, strict=True)
    ]
    return make_ladder(bounded, redundancy)


def _judged(
    compression: Compression | None, screen: Screen, most: float, whitened_by: str | None
) -> Screened:
    """Of both ways to cut the same ranks the whitened one where the same examples, in pairs, tell
    surely that it is right for more of them, and that it loses no more than ``most`` beside the
    whole network: the 95 % intervals of both differences say so.

    Else the plain one, which needs no examples to be made anew; and where they do not reach all of
    its layers. Of two the luckier is chosen, by the examples that it is judged by; so what the
    whitened one is observed to lose is no claim.
    """
    loss = screen.loss_points(compression, most)
    if (
        compression is None
        or whitened_by is None
        or not screen.can_whiten(cut.layer for cut in compression.ranks)
    ):
        return Screened(compression=compression, loss_points=loss)
    whitened = replace(compression, whitened_by=whitened_by)
    # What loses more than the plain one need not be followed to its end.
    its_loss = screen.loss_points(whitened, min(most, loss))
    if its_loss < loss and its_loss <= most and _is_sure(compression, whitened, screen, most):
        # The plain one, which may have been given up before, was followed to its end since.
        loss = screen.loss_points(compression, math.inf)
        return Screened(compression=whitened, loss_points=its_loss, other_loss_points=loss)
    return Screened(compression=compression, loss_points=loss, other_loss_points=its_loss)


def _is_sure(plain: Compression, whitened: Compression, screen: Screen, most: float) -> bool:
    right = screen.is_right(whitened)
    _, gained = paired_difference(right, screen.is_right(plain))
    _, lost = paired_difference(screen.is_right(None), right)
    return gained.low > 0 and 100 * lost.high <= most
