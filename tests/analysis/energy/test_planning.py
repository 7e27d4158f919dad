import msgspec
import pytest
from examples import gauge_gain, gauge_verdict
from simulated import PROFILE, work

from mobilekit.analysis.energy.estimate import estimate_energy
from mobilekit.analysis.energy.planning import (
    plan_calibration,
    plan_energy,
    planned_duration_ns,
    resolution_half_width,
    resolution_of,
)
from mobilekit.records.energy import EnergyPilot

PILOT = EnergyPilot(idle_w=1.0, load_w=3.38, seconds_per_inference=0.1, scatter_w=0.0)


def plan(blocks=5, target_error=0.05, **known):
    return plan_energy(PROFILE, blocks=blocks, target_error=target_error, **known)


@pytest.mark.parametrize("window_s", [30, 60, 200])
@pytest.mark.parametrize("step_uah", [500, 2000])
def test_the_computed_resolution_is_what_the_fit_then_has(window_s, step_uah):
    """The half-width stated before a run is the quantisation of its estimate, to a third."""
    verdict = gauge_verdict(charge_step_uah=step_uah)
    resolution = resolution_of("charge_counter", PROFILE, verdict, 0.0)
    made = msgspec.structs.replace(
        plan(target_error=0.01).plan, idle_ns=window_s * 10**9, load_ns=window_s * 10**9
    )
    windows, _, _ = work(made, charge_step_uah=step_uah, background_relative=0.0)

    energy = estimate_energy(windows, PROFILE.gauge, verdict)
    stated = resolution_half_width(resolution, 5, window_s, energy.idle_w, energy.load_w)

    quantisation = next(term for term in energy.budget if term.name == "quantisation")
    assert 1.96 * quantisation.marginal_j / energy.marginal_j == pytest.approx(stated, rel=0.33)


def test_what_is_expected_is_said():
    """The target is met, the duration is the windows', and the gain is not hidden."""
    planned = plan(verdict=gauge_verdict(), target_error=0.02)

    assert planned.expected_half_width <= 0.02
    assert planned.expected_total_half_width == pytest.approx(
        (planned.expected_half_width**2 + (1.96 * 0.0304) ** 2) ** 0.5, rel=0.01
    )
    assert planned.expected_duration_ns == planned_duration_ns(planned.plan)
    assert planned.limit is None
    assert 0 < planned.expected_charge_fraction < 0.1


def test_a_measured_gain_narrows_what_is_expected():
    """After a comparison with a meter the rest is as small as that was good."""
    planned = plan(gain=gauge_gain(relative_uncertainty=0.002))

    assert planned.expected_total_half_width < 0.02


def test_a_phone_whose_power_scatters_needs_more_blocks():
    """Longer windows do not help against it, so the number of blocks grows; to a limit."""
    quiet = plan(pilot=PILOT, target_error=0.02)
    restless = plan(pilot=msgspec.structs.replace(PILOT, scatter_w=0.05), target_error=0.02)
    wild = plan(pilot=msgspec.structs.replace(PILOT, scatter_w=2.0), target_error=0.02)

    assert quiet.plan.blocks == 5
    assert 10 < restless.plan.blocks < 40
    assert restless.limit is None
    assert wild.plan.blocks == 40
    assert "scatters" in wild.limit


def test_a_coarse_counter_is_limited_by_the_battery():
    """Steps of a percent take hours; where the battery has not got them, that is said."""
    verdict = gauge_verdict(charge_step_uah=39_500.0)

    planned = plan(verdict=verdict, target_error=0.05)
    low = plan(verdict=verdict, target_error=0.05, level_percent=40)

    assert planned.limit is None
    assert planned.plan.load_ns > 500 * 10**9
    assert "10%" in low.limit
    assert low.expected_half_width > 0.05
    assert low.expected_charge_fraction <= 0.101


def test_slow_inferences_make_a_coarse_poll():
    """A counter that is read once in three seconds resolves less, so windows are longer."""
    fast = plan(pilot=PILOT, target_error=0.004)
    slow = plan(pilot=msgspec.structs.replace(PILOT, seconds_per_inference=3.0), target_error=0.004)

    assert slow.plan.load_ns > 1.5 * fast.plan.load_ns


def test_rails_that_are_old_and_noisy_get_long_windows():
    """At least 200 s, since a reading is up to 20 s old and 10 J wrong."""
    verdict = gauge_verdict(source="power_rails", rails=3, rail_age_ms=12_000.0)

    assert plan(verdict=verdict).plan.load_ns >= 200 * 10**9


def test_a_calibration_polls_fast_enough_for_any_gauge():
    """20 Hz: an update period of 176 ms has more than three polls."""
    calibration = plan_calibration()

    assert calibration.sample_period_ns <= 50_000_000
    assert planned_duration_ns(calibration) < 10 * 60 * 10**9
