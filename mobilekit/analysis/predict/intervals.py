"""The 90 % intervals of predictions, which are log-normal."""

from __future__ import annotations

import math

from mobilekit.records.statistics import Interval

SDS_OF_90_PERCENT = 1.6449
"""Of a normal distribution, in half of its interval."""


def half_width(interval: Interval) -> float:
    """Half of an interval's width, of the logarithms of its ends."""
    return math.log(interval.high / interval.low) / 2


def around(middle: float, *halves: float) -> Interval:
    """The interval about ``middle`` of independent parts, whose half widths are of logarithms."""
    factor = math.exp(math.hypot(*halves))
    return Interval(low=middle / factor, high=middle * factor)
