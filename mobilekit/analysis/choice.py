"""Which of the networks that were tried keeps a budget, and which of those is the answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mobilekit.records.compression import Budget, Candidate, CutLayer
from mobilekit.records.network import Compression


def keeps(candidate: Candidate, budget: Budget) -> bool:
    """Whether it is within every part of the budget; what was not measured is not."""
    return keeps_costs(candidate, budget) and _is_within(
        candidate.loss_points, budget.max_loss_points
    )


def keeps_costs(candidate: Candidate, budget: Budget) -> bool:
    """As ``keeps``, accuracy aside."""
    return all(
        bound is None or _is_within(cost, bound)
        for cost, bound in (
            (candidate.size_bytes, budget.size_bytes),
            (candidate.latency_p50_ns, budget.latency_ns),
            (candidate.energy_j, budget.energy_j),
        )
    )


def choose(candidates: Sequence[Candidate], budget: Budget) -> Candidate | None:
    """The answer: the largest network that keeps the whole budget and that no other one outdoes;
    where nothing but the accuracy is bounded, the smallest that keeps it. ``None`` where none does.

    One network outdoes another that is nowhere better: not smaller, not better in any cost that the
    budget bounds, and not more accurate, where what is gained by chance counts as nothing. One with
    every layer whole outdoes one with cut layers whichever of the two is more accurate: both lose
    no more than allowed.

    Which outdoes which, and the order of sizes, do not depend on how tight the budget is, and
    tightening it only takes networks away: so a tighter budget never gives a larger network, and a
    tighter bound on time or energy never one that takes more of it.
    """
    kept = [each for each in candidates if keeps(each, budget)]
    if not budget.has_costs:
        return min(kept, key=_order, default=None)
    left = [each for each in kept if not any(outdoes(one, each, budget) for one in kept)]
    return max(left, key=_order, default=None)


def outdoes(one: Candidate, other: Candidate, budget: Budget) -> bool:
    """Whether ``other`` is nowhere better and somewhere worse, of two that keep the budget."""
    pairs = list(zip(_costs(one, budget), _costs(other, budget), strict=True))
    if one.variant.compression is not None or other.variant.compression is None:
        pairs.append((_loss(one), _loss(other)))
    return all(mine <= yours for mine, yours in pairs) and any(
        mine < yours for mine, yours in pairs
    )


def _costs(candidate: Candidate, budget: Budget) -> tuple[float, ...]:
    known = (
        candidate.size_bytes,
        None if budget.latency_ns is None else candidate.latency_p50_ns,
        None if budget.energy_j is None else candidate.energy_j,
    )
    return tuple(each or 0.0 for each in known)


def _loss(candidate: Candidate) -> float:
    return max(0.0, candidate.loss_points or 0.0)


def _order(candidate: Candidate) -> tuple[int, str]:
    """No two networks are equal in it."""
    return candidate.size_bytes, candidate.variant.key


def _is_within(value: float | None, bound: float) -> bool:
    return value is not None and value <= bound


def foresee_share(
    layers: Sequence[CutLayer], compression: Compression, whole_ns: float | None
) -> float:
    """Of the whole network's time, what is left by what its layers took alone; 1 where they were
    not timed. Between two ranks that were tried a line is drawn, and below them one to nothing."""
    timed = {each.layer: each for each in layers}
    saved_ns = 0.0
    for cut in compression.ranks:
        layer = timed[cut.layer]
        if layer.whole_latency_ns is None:
            continue
        taken = sorted(
            (each.rank, each.latency_ns) for each in layer.tried if each.latency_ns is not None
        )
        ranks, latencies_ns = zip((0, 0.0), *taken, strict=True)
        saved_ns += layer.whole_latency_ns - float(np.interp(cut.rank, ranks, latencies_ns))
    return max(0.0, 1 - saved_ns / whole_ns) if whole_ns else 1.0


def nearest(
    candidates: Sequence[Candidate], budget: Budget
) -> tuple[Candidate, tuple[str, ...]] | None:
    """Of networks none of which keeps the budget, the one that misses it by least, and what of it
    it misses; ``None`` where there is none.

    The fewest parts missed count first, then by which share the worst of them is missed.
    """
    if not candidates:
        return None
    found = min(candidates, key=lambda each: _missed(each, budget)[:2])
    return found, _missed(found, budget)[2]


def _missed(candidate: Candidate, budget: Budget) -> tuple[int, float, tuple[str, ...]]:
    parts = (
        ("size", candidate.size_bytes, budget.size_bytes),
        ("latency", candidate.latency_p50_ns, budget.latency_ns),
        ("energy", candidate.energy_j, budget.energy_j),
        ("accuracy", candidate.loss_points, budget.max_loss_points),
    )
    # What was not measured was given up for another part, and says nothing of its own.
    missed = [
        (name, (value - bound) / max(bound, 1e-9))
        for name, value, bound in parts
        if value is not None and bound is not None and value > bound
    ]
    worst = max((share for _, share in missed), default=0.0)
    return len(missed), worst, tuple(name for name, _ in missed)
