"""From an uncertainty budget to an interval: one rule for a gauge's energies and for a meter's.

Standard uncertainties add in quadrature, and their sum is expanded by Student's t for the effective
degrees of freedom of Welch and Satterthwaite (JCGM 100:2008, G.4.1),

    u^2 = sum u_i^2        nu = u^4 / sum (u_i^4 / nu_i)        U = t_0.975(nu) u

with no end of degrees for a term that no scatter was taken for.

**Below five blocks** it is a range: from the lowest block to the highest, widened by what all
blocks share. So few degrees of freedom make the rule promise too much: of simulated truths it then
covers as few as 87 % (two blocks), 92 % (three) or 93.5 % (four), and from five on 94 % or more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from mobilekit.records.energy import IntervalKind, TermName, UncertaintyTerm
from mobilekit.records.statistics import Interval

NORMAL_95 = 1.96
MIN_INTERVAL_BLOCKS = 5
"""Below it there is a range of the blocks and no interval."""
SCATTERED: tuple[TermName, ...] = ("blocks", "quantisation")
"""What differs from block to block: a range of the blocks has it in it."""


class Standard(NamedTuple):
    """A standard uncertainty, in the unit of its figure."""

    size: float
    freedom: float | None = None
    """Degrees; ``None``: without end."""
    scattered: bool = False
    """Whether it differs from block to block."""


def gross_standards(
    budget: Iterable[UncertaintyTerm], *, without: Collection[TermName] = ()
) -> list[Standard]:
    """Those of the gross energy, in joules."""
    return [
        Standard(term.gross_j, term.gross_freedom, term.name in SCATTERED)
        for term in budget
        if term.name not in without
    ]


def marginal_standards(budget: Iterable[UncertaintyTerm]) -> list[Standard]:
    """Those of the marginal energy, in joules."""
    return [
        Standard(term.marginal_j, term.marginal_freedom, term.name in SCATTERED) for term in budget
    ]


def share_term(
    name: TermName, relative: float, gross_j: float, marginal_j: float, note: str
) -> UncertaintyTerm:
    """What makes all blocks wrong by the same share of their energy."""
    return fixed_term(name, relative * abs(gross_j), relative * abs(marginal_j), note)


def fixed_term(name: TermName, gross_j: float, marginal_j: float, note: str) -> UncertaintyTerm:
    """A term that was not taken from a scatter."""
    return UncertaintyTerm(
        name=name,
        gross_j=gross_j,
        marginal_j=marginal_j,
        gross_freedom=None,
        marginal_freedom=None,
        note=note,
    )


def combine(standards: Iterable[Standard]) -> float:
    """The standard uncertainty of their sum."""
    return float(np.sqrt(sum(standard.size**2 for standard in standards)))


def expand(standards: Iterable[Standard]) -> float:
    """The 95 % half-width."""
    # scipy takes most of what a command that asks nothing of it takes to start.
    from scipy.special import stdtrit

    standards = list(standards)
    combined = combine(standards)
    estimated = sum(
        standard.size**4 / standard.freedom
        for standard in standards
        if standard.size and standard.freedom is not None
    )
    return combined * (float(stdtrit(combined**4 / estimated, 0.975)) if estimated else NORMAL_95)


def kind_of(blocks: int) -> IntervalKind:
    return "interval_95" if blocks >= MIN_INTERVAL_BLOCKS else "block_range"


def interval_of(mean: float, blocks: Sequence[float], standards: Iterable[Standard]) -> Interval:
    """Of the mean of ``blocks``: an interval or, of fewer than five, a range."""
    standards = list(standards)
    if kind_of(len(blocks)) == "interval_95":
        half_width = expand(standards)
        return Interval(low=mean - half_width, high=mean + half_width)
    shared = _expand_shared(standards)
    return Interval(low=min(blocks) - shared, high=max(blocks) + shared)


def half_widths(
    mean: float, interval: Interval, kind: IntervalKind, told: list[Standard], now: list[Standard]
) -> tuple[float, float]:
    """Below the mean and above it, with the budget ``now`` in place of the one that ``interval``
    was told with: a range of the blocks stays, and what widens it is another."""
    if kind == "interval_95":
        half_width = expand(now)
        return half_width, half_width
    wider = _expand_shared(now) - _expand_shared(told)
    return mean - interval.low + wider, interval.high - mean + wider


def _expand_shared(standards: Iterable[Standard]) -> float:
    return expand(standard for standard in standards if not standard.scattered)
