"""What a phone drew in each window, as the plot and the report show it."""

import pytest
from examples import energy_plan, gauge_gain, measured
from simulated import PROFILE, work

from mobilekit.analysis.energy.power_series import stretch_powers
from mobilekit.analysis.energy.sources import known_gauge
from mobilekit.analysis.energy.stretches import find_stretches
from mobilekit.virtual.battery import gauge_named


def powers_of(kind, source, gain):
    windows, _, _ = work(energy_plan(blocks=2, idle_ns=60 * 10**9, load_ns=60 * 10**9), kind)
    run = measured("a", windows=tuple(windows), profile=PROFILE, gain=gain)
    stretches = find_stretches(run.result.samples.windows)
    gauge = known_gauge(PROFILE.gauge, None, stretches, PROFILE.capacity_uah)
    (told,) = stretch_powers(run, stretches, gauge, source)
    return told


@pytest.mark.parametrize(
    ("kind", "source", "corrected"),
    [("max170xx", "charge_counter", 1.25), ("rails-fine", "power_rails", 1.0)],
)
def test_a_known_gain_corrects_what_the_gauge_told_and_no_rails(kind, source, corrected):
    """Widths too; idle, load, idle, load, idle."""
    plain = powers_of(gauge_named(kind), source, None)
    told = powers_of(gauge_named(kind), source, gauge_gain(gain=1.25))

    assert list(told.power_w * corrected) == pytest.approx(list(plain.power_w))
    assert list(told.half_width_w * corrected) == pytest.approx(list(plain.half_width_w))
    assert all(
        load_w > 2 * idle_w
        for idle_w, load_w in zip(told.power_w[::2], told.power_w[1::2], strict=False)
    )
