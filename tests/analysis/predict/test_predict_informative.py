"""Which networks to measure: those that leave least of the variance, within the budget."""

import numpy as np
import pytest

from mobilekit.analysis.predict.informative import most_informative
from mobilekit.analysis.predict.posterior import Posterior

NOISE = 0.1
FREE = [0.0] * 4
TWINS = np.array(
    [
        [1.0, 0.9, 0.8, 0.0],
        [0.9, 1.0, 0.9, 0.0],
        [0.8, 0.9, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.2],
    ]
)
"""Three networks that are alike, the second most of all; and one that is like none."""


def posterior(covariance):
    return Posterior(mean=np.zeros(len(covariance)), covariance=covariance)


def chosen(count, seconds=FREE, budget_s=90.0):
    return most_informative(posterior(TWINS), NOISE, seconds, count, budget_s)


def test_the_first_tells_most_of_all_and_the_second_what_is_left():
    assert chosen(1) == (1,)
    assert chosen(2) == (1, 3)


def test_what_is_left_is_worked_out_anew_after_each():
    """Against every pair, measured in full."""

    def left(pair):
        index = np.array(pair)
        return posterior(TWINS).given(index, np.zeros(2), NOISE).covariance.trace()

    pairs = [(a, b) for a in range(4) for b in range(a)]
    assert left(chosen(2)) == pytest.approx(min(map(left, pairs)))


def test_what_takes_too_long_is_left_out():
    """Alone, and together with what was chosen before."""
    assert chosen(4, [0, 100, 0, 0]) == (0, 3, 2)
    assert chosen(2, [50, 50, 50, 50]) == (1,)
    assert chosen(2, [float("inf")] * 4) == ()
