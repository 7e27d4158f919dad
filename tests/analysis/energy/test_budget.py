"""From a budget to an interval."""

import numpy as np
import pytest

from mobilekit.analysis.energy.budget import (
    MIN_INTERVAL_BLOCKS,
    Standard,
    combine,
    expand,
    half_widths,
    interval_of,
)


def test_terms_without_degrees_are_normal():
    assert expand([Standard(3.0), Standard(4.0)]) == pytest.approx(1.96 * 5)
    assert combine([Standard(3.0), Standard(4.0, 2)]) == pytest.approx(5)
    assert expand([]) == expand([Standard(0.0, 4)]) == 0.0


def test_a_scatter_alone_is_expanded_by_students_t():
    """2.776 for four degrees."""
    assert expand([Standard(2.0, 4)]) == pytest.approx(2 * 2.776, rel=1e-3)


def test_degrees_are_those_of_welch_and_satterthwaite():
    """The gauge block of JCGM 100:2008, H.1: u = 32 nm of six terms with 18, 25.6, 50, 2 degrees
    and two without end has 16 effective degrees, and 99 % at 2.92 u; 95 % there is 2.12 u."""
    standards = [
        Standard(25, 18),
        Standard(9.7, 25.6),
        Standard(2.9, 50),
        Standard(16.6, 2),
        Standard(2.6),
    ]
    assert combine(standards) == pytest.approx(32, rel=0.02)
    assert expand(standards) == pytest.approx(2.12 * 32, rel=0.02)


@pytest.mark.parametrize("ratio", [1, 3])
def test_five_blocks_make_an_interval(ratio):
    """94 in 100 truths at least are in it, whatever share of the uncertainty the blocks have; and
    of fewer blocks there are fewer, which is why they make a range."""
    rng = np.random.default_rng(0)

    def covered(count):
        inside = 0
        for _ in range(10_000):
            blocks = rng.normal(0, ratio * count**0.5, count)
            size = float(blocks.std(ddof=1)) / count**0.5
            half_width = expand([Standard(size, count - 1), Standard(1.0)])
            inside += abs(blocks.mean() + rng.normal()) < half_width
        return inside / 10_000

    assert covered(MIN_INTERVAL_BLOCKS) > 0.938
    if ratio == 3:
        assert covered(2) < 0.89


def test_fewer_blocks_make_a_range():
    """From the lowest to the highest, widened by what all blocks share and by nothing else."""
    shared = [Standard(0.5, 3, scattered=True), Standard(0.1)]

    few = interval_of(2.0, [1.0, 2.0, 3.0], shared)
    enough = interval_of(2.0, [1.0, 1.5, 2.0, 2.5, 3.0], shared)

    assert (few.low, few.high) == (pytest.approx(1 - 0.196), pytest.approx(3 + 0.196))
    assert enough.high - 2.0 == pytest.approx(expand(shared))


def test_an_interval_that_is_carried_over_is_expanded_anew():
    """With another budget: not the sum of two intervals' squares."""
    told = [Standard(0.4, 4, scattered=True), Standard(0.3)]
    now = [told[0], Standard(0.6)]
    interval = interval_of(9.0, [8.0, 8.5, 9.0, 9.5, 10.0], told)

    assert half_widths(9.0, interval, "interval_95", told, now) == (expand(now), expand(now))


def test_a_range_that_is_carried_over_stays():
    """Only what widens it is another."""
    told = [Standard(0.4, 2, scattered=True), Standard(0.1)]
    interval = interval_of(9.0, [8.0, 9.0, 10.5], told)

    below, above = half_widths(9.0, interval, "block_range", told, [told[0], Standard(0.2)])

    assert (below, above) == (pytest.approx(1 + 0.392), pytest.approx(1.5 + 0.392))
