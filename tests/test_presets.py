"""How often is measured."""

import pytest

from mobilekit.presets import profiled_iterations


@pytest.mark.parametrize(
    ("macs", "iterations"),
    [(0, 1000), (240_512, 1000), (10_000_000, 100), (20_000_000, 50), (15_470_000_000, 50)],
)
def test_small_networks_are_profiled_more_often(macs, iterations):
    """A billion multiply-accumulates in all, within bounds."""
    assert profiled_iterations(macs) == iterations
