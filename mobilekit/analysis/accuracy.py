"""How often a network is right, and how sure that is."""

from __future__ import annotations

from scipy.special import ndtri

from mobilekit.records import Interval


def wilson_interval(successes: int, count: int, coverage: float = 0.95) -> Interval:
    """The score interval of a proportion of ``count`` independent trials, at least one.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", J. Am.
    Stat. Assoc. 22 (1927). Unlike p +- 1.96 sigma it stays within [0, 1] and has a width where
    every trial succeeded.
    """
    z = float(ndtri((1 + coverage) / 2))
    share = successes / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * (share * (1 - share) / count + z**2 / (4 * count**2)) ** 0.5
    # Exactly 0 and 1 at the ends, but for rounding.
    return Interval(low=max(0.0, middle - half), high=min(1.0, middle + half))
