import itertools

import pytest

from mobilekit.analysis.energy.estimate import (
    GAIN_RELATIVE_UNCERTAINTY,
    VOLTAGE_RELATIVE_UNCERTAINTY,
)
from mobilekit.errors import UsageError
from mobilekit.phone.profiles import load_profiles
from mobilekit.virtual.battery import (
    GAIN_ERROR,
    VOLTAGE_ERROR,
    BatteryEmpty,
    BatteryState,
    GaugeKind,
    SimulatedBattery,
    gauge_named,
)

PROFILE = load_profiles()["nexus7"]
S = 10**9


def battery(charge=0.8, plugged=False, gauge_seed=1, seed=1, **fields):
    state = BatteryState(
        charge_uah=charge * PROFILE.battery.capacity_uah,
        plugged=plugged,
        seed=seed,
        gauge_seed=gauge_seed,
    )
    return SimulatedBattery(PROFILE, state, GaugeKind(**fields))


def test_its_errors_are_those_that_the_budget_assumes():
    """Else the coverage of intervals on simulated phones would say nothing."""
    assert (GAIN_ERROR, VOLTAGE_ERROR) == (
        GAIN_RELATIVE_UNCERTAINTY,
        VOLTAGE_RELATIVE_UNCERTAINTY,
    )


def test_a_phone_keeps_its_gauge():
    """Gain and voltage errors are the phone's own, whatever run it is in; phones differ."""
    first = battery()
    again = SimulatedBattery(PROFILE, first.state, first.kind)

    assert again.gain == first.gain
    assert battery(gauge_seed=2).gain != first.gain


def test_an_empty_battery_says_so():
    """Drawn to nothing, it raises; what is left is nothing."""
    nearly = battery(charge=0.0001)

    with pytest.raises(BatteryEmpty):
        nearly.advance(3600 * S, 3.0)

    assert nearly.state.charge_uah == 0


def test_plugged_in_it_charges():
    """The counter rises, the current is positive, and nothing is drawn."""
    charging = battery(plugged=True)
    before = charging.read(0)

    charging.advance(60 * S, 3.0)

    after = charging.read(60 * S)
    assert after.charge_counter_uah > before.charge_counter_uah
    assert after.current_now_ua > 0
    assert after.plugged


def test_it_warms_and_cools_with_the_power():
    """Towards 2 degC a watt above the surroundings, and back; kept between runs."""
    phone = battery(background_relative=0.0)

    phone.advance(3600 * S, 3.0)
    warm = phone.read(0).temperature_decicelsius
    rested = SimulatedBattery(PROFILE, phone.state, phone.kind)
    rested.advance(3600 * S, 0.0)

    assert warm == 310
    assert rested.read(0).temperature_decicelsius == 250


def test_its_voltage_sags_under_load():
    """By the internal resistance times the current."""
    phone = battery(background_relative=0.0)
    phone.advance(S, 1.0)
    light_mv = phone.read(0).voltage_mv
    phone.advance(S, 4.0)

    assert light_mv - phone.read(0).voltage_mv == pytest.approx(0.12 * 3 / 3.85 * 1000, abs=2)


def test_it_throttles_when_hot_and_recovers_when_cool():
    """Slow above the threshold until three degrees below it."""
    phone = battery(degree_per_w=8.0, throttle_celsius=38.0, background_relative=0.0)
    phone.advance(1200 * S, 3.0)
    assert phone.throttled
    assert phone.read_thermal(0).status == 2

    phone.advance(60 * S, 1.0)
    assert phone.throttled
    phone.advance(1200 * S, 0.5)
    assert not phone.throttled


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("zeros", "charge_counter_uah", 0),
        ("nothing", "charge_counter_uah", None),
        ("nothing", "current_now_ua", None),
        ("zeros", "energy_counter_nwh", None),
    ],
)
def test_what_a_gauge_does_not_tell(name, field, value):
    """Unsupported is nothing; some phones say a constant 0."""
    phone = SimulatedBattery(PROFILE, battery().state, gauge_named(name))
    phone.advance(60 * S, 3.0)

    assert getattr(phone.read(0), field) == value


def test_a_stuck_property_never_changes():
    """Its first value is its last."""
    phone = SimulatedBattery(PROFILE, battery().state, gauge_named("stuck-current"))
    readings = set()
    for _ in range(50):
        phone.advance(S, 3.0)
        readings.add(phone.read(0).current_now_ua)

    assert len(readings) == 1


def test_a_percent_counter_moves_with_the_level():
    """Its steps are a hundredth of the capacity."""
    phone = SimulatedBattery(PROFILE, battery().state, gauge_named("percent"))
    values = []
    for _ in range(60):
        phone.advance(60 * S, 3.38)
        values.append(phone.read(0).charge_counter_uah)
    steps = {before - after for before, after in itertools.pairwise(values)} - {0}

    assert steps == {39_500}


def test_rails_add_noise_and_are_old_for_ordinary_callers():
    """The sum of the rails is what was drawn, at most 10 J a rail too much, at its own time."""
    phone = SimulatedBattery(PROFILE, battery().state, gauge_named("rails-coarse"))
    ages, now_ns = [], 0
    first = {rail.name: rail.energy_uj for rail in phone.read_rails(0)}
    for _ in range(200):
        phone.advance(S, 3.0)
        now_ns += S
        ages.append(now_ns - phone.read_rails(now_ns)[0].at_ns)
    last = {rail.name: rail.energy_uj for rail in phone.read_rails(now_ns)}

    assert 18 * S < max(ages) < 20 * S
    assert min(ages) <= 1_000_000
    drawn_j = sum(last[name] - first[name] for name in first if name.startswith("[")) / 1e6
    assert drawn_j == pytest.approx(3.0 * phone.rail_gain * 200, abs=3 * 10 + 3 * 20 + 10)
    assert "CPU" in first


def test_an_unknown_gauge_is_refused():
    """With the names that there are."""
    with pytest.raises(UsageError, match="no simulated gauge 'best'"):
        gauge_named("best")
