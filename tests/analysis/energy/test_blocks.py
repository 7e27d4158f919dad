"""Blocks of idle-load-idle, of a gauge and of a meter alike."""

import numpy as np
import pytest

from mobilekit.analysis.energy.blocks import (
    Blocks,
    estimate_of_blocks,
    gross_mean,
    idle_weights,
    marginal_mean,
)


def blocks_of(power_w, *, covariance_w2=None, load_s=None, iterations=None):
    """Idle, load, idle ... idle; each load one second, and one inference, where nothing is said."""
    windows = len(power_w)
    load = np.arange(1, windows, 2)
    ones = np.ones(len(load))
    return Blocks(
        power_w=np.asarray(power_w, dtype=np.float64),
        covariance_w2=covariance_w2,
        load=load,
        idle=idle_weights(windows, [(at - 1, at + 1) for at in load]),
        load_s=ones if load_s is None else np.array(load_s, dtype=np.float64),
        iterations=ones if iterations is None else np.array(iterations, dtype=np.float64),
    )


def told(blocks, terms=()):
    idle_w = [blocks.power_w[0::2].tolist()]
    return estimate_of_blocks(blocks, terms, idle_w=idle_w, origin="measured", plane="battery")


def test_energy_is_that_of_all_inferences():
    """Of windows of different length, all joules over all inferences: not the mean of windows."""
    energy = told(blocks_of([1, 3, 1, 5, 1], load_s=[10, 60], iterations=[10, 30]))

    assert energy.gross_j == pytest.approx((3 * 10 + 5 * 60) / 40)
    assert energy.marginal_j == pytest.approx((2 * 10 + 4 * 60) / 40)
    assert energy.seconds_per_inference == pytest.approx(70 / 40)
    assert (energy.load_w, energy.idle_w) == (pytest.approx(330 / 70), pytest.approx(1))
    assert (energy.blocks, energy.iterations, energy.interval_kind) == (2, 40, "block_range")


def test_power_times_time_is_energy():
    """In the figures that are told beside each other."""
    energy = told(blocks_of([1.1, 3, 0.9, 3.2, 1.4, 2.9, 1.0], load_s=[3, 4, 5]))

    assert energy.gross_j == pytest.approx(energy.load_w * energy.seconds_per_inference)
    marginal_w = energy.load_w - energy.idle_w
    assert energy.marginal_j == pytest.approx(marginal_w * energy.seconds_per_inference)


def test_idle_time_on_one_side_is_enough():
    """At an end of a trace."""
    blocks = blocks_of([1, 3, 1, 3, 2])._replace(idle=idle_weights(5, [(2,), (2, 4)]))

    assert marginal_mean(blocks).values_j == pytest.approx([2, 1.5])


def test_the_idle_windows_that_blocks_share_are_not_taken_for_two():
    """With scatter in all windows, the standard error is that of their weighted mean."""
    rng = np.random.default_rng(1)
    means = [marginal_mean(blocks_of(2 + 0.1 * rng.standard_normal(13))) for _ in range(3000)]

    stated = np.mean([mean.blocks_j**2 for mean in means])
    assert stated == pytest.approx(np.var([mean.mean_j for mean in means]), rel=0.08)


def test_gross_energy_of_equal_windows_has_the_degrees_of_its_blocks():
    """K - 1, and the standard error of a mean."""
    power_w = [1, 3.0, 1, 3.3, 1, 2.9, 1, 3.1, 1, 3.4, 1]
    mean = gross_mean(blocks_of(power_w))

    assert mean.blocks_freedom == pytest.approx(4)
    assert mean.blocks_j == pytest.approx(np.std(power_w[1::2], ddof=1) / 5**0.5)


def test_quantisation_is_not_counted_twice():
    """Scatter that the resolution explains leaves nothing to the blocks."""
    rng = np.random.default_rng(2)
    ratios = []
    for _ in range(500):
        power_w = 2 + 0.2 * rng.standard_normal(17)
        mean = gross_mean(blocks_of(power_w, covariance_w2=0.04 * np.eye(17)))
        assert mean.quantisation_j == pytest.approx(0.2 / 8**0.5)
        ratios.append((mean.blocks_j**2 + mean.quantisation_j**2) / mean.quantisation_j**2)

    assert np.median(ratios) < 1.1


def test_the_idle_powers_curvature_is_in_the_budget():
    """A parabola adds an eighth of its second difference to each block; a line adds nothing."""
    bent = told(blocks_of([1.0, 3, 1.0, 3, 1.8, 3, 3.4], load_s=[2, 2, 2]))
    straight = told(blocks_of([1.0, 3, 1.2, 3, 1.4, 3, 1.6]))

    drift_j = {term.name: term.marginal_j for term in bent.budget}["drift"]
    assert drift_j == pytest.approx(0.8 / 8 * 2 / 3**0.5)
    assert straight.budget[-1].marginal_j == pytest.approx(0, abs=1e-12)


def test_one_block_scatters_nothing_that_is_known():
    """Its budget has no term of blocks."""
    energy = told(blocks_of([1, 3, 1]))

    assert [term.name for term in energy.budget] == ["drift"]
    assert (energy.gross_interval_j.low, energy.gross_interval_j.high) == (3, 3)
