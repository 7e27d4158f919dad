import functools

import msgspec
import pytest
from examples import THERMAL
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import PROFILE, work

from mobilekit.analysis.energy.estimate import estimate_energy
from mobilekit.analysis.energy.gauge import Overrides, characterize_gauge, overrides_of
from mobilekit.analysis.energy.planning import plan_calibration, plan_energy
from mobilekit.analysis.energy.staircase import measure_period_s, measure_step
from mobilekit.contract.protocol import BatterySample, Window
from mobilekit.records.energy import GaugeRefusal, GaugeVerdict
from mobilekit.virtual.battery import gauge_kinds, gauge_named


@functools.cache
def calibration(name):
    return work(plan_calibration(), gauge_named(name))[0]


def characterize(name, overrides=None, windows=None):
    return characterize_gauge(
        windows or calibration(name),
        PROFILE,
        device="virtual:nexus7",
        run_id="calibration-1",
        measured_at="2026-05-04T10:00:00+00:00",
        overrides=overrides or Overrides(),
    )


@pytest.mark.parametrize(
    ("name", "source", "scale", "sign"),
    [
        ("max170xx", "charge_counter", 1, 1),
        ("milliamp", "charge_counter", 1, 1),
        ("percent", "current_now", 1, 1),
        ("reports-ma", "charge_counter", 1000, 1),
        ("inverted", "charge_counter", 1, -1),
        ("inverted-ma", "charge_counter", 1000, -1),
        ("counter-mah", "charge_counter", 1, 1),
        ("counter-negative", "charge_counter", 1, 1),
        ("current-only", "current_now", 1, 1),
        ("energy-only", "energy_counter", 1, 1),
        ("stuck-current", "charge_counter", 1, 1),
        ("stuck-counter", "current_now", 1, 1),
        ("rails-fine", "power_rails", 1, 1),
        ("rails-coarse", "power_rails", 1, 1),
    ],
)
def test_unit_sign_and_source_are_told_from_evidence(name, source, scale, sign):
    """Each simulated gauge's own oddity is found out, and what can be trusted on it is."""
    verdict = characterize(name)

    assert isinstance(verdict, GaugeVerdict)
    assert verdict.source == source
    assert (verdict.current_scale, verdict.current_sign) == (scale, sign)
    assert verdict.evidence
    assert verdict.overridden == ()
    assert {item.source for item in verdict.sources if item.usable} >= {source}
    assert verdict.load_w == pytest.approx(3.38, rel=0.1)
    assert verdict.idle_w == pytest.approx(1.0, rel=0.15)


def test_the_error_that_is_told_is_the_intervals():
    """Of a current that no counter confirms too: 3 % of gain and 0.5 % of voltage, as planned."""
    verdict = characterize("percent")
    (told,) = [item for item in verdict.sources if item.source == "current_now"]
    planned = plan_energy(PROFILE, blocks=5, target_error=0.05, verdict=verdict)

    assert "no charge counter confirms it" in told.reason
    assert told.expected_half_width == pytest.approx(1.96 * 0.0304, rel=0.01)
    assert planned.expected_total_half_width == pytest.approx(1.96 * 0.0304, rel=0.05)


@pytest.mark.parametrize(
    ("name", "charge", "current"),
    [
        ("max170xx", (500, 176), (156.25, 176)),
        ("milliamp", (1000, 1000), (1000, 1000)),
        ("counter-coarse", (1000, 1000), (None, None)),
        ("counter-mah", (1000, 1000), (None, None)),
        ("counter-negative", (500, 176), (None, None)),
        ("reports-ma", (500, 176), (1000, 176)),
        ("current-only", (None, None), (156.25, 176)),
    ],
)
def test_steps_and_periods_are_measured(name, charge, current):
    """They are what the simulated gauge has, to a percent, of counter and current separately."""
    verdict = characterize(name)
    measured = (
        verdict.charge_step_uah,
        verdict.charge_period_ms,
        verdict.current_step_ua,
        verdict.current_period_ms,
    )

    for found, true in zip(measured, (*charge, *current), strict=True):
        assert found == (None if true is None else pytest.approx(true, rel=0.01))


@pytest.mark.parametrize("name", ["dual-cell", "double", "off-by-half"])
def test_contradicting_evidence_is_refused(name):
    """Charge counter and current that disagree give no verdict, but the ratio that they have."""
    refusal = characterize(name)

    assert isinstance(refusal, GaugeRefusal)
    assert refusal.contradictory
    ratios = [item.value for item in refusal.evidence if item.name == "charge ratio"]
    assert ratios == [pytest.approx(gauge_named(name).current_share, rel=0.02)]
    assert ("two cells" in refusal.reason) == (name != "off-by-half")


@pytest.mark.parametrize("name", ["percent-only", "nothing", "zeros"])
def test_a_gauge_that_tells_nothing_is_refused(name):
    """Without a contradiction, and with what each property does."""
    refusal = characterize(name)

    assert isinstance(refusal, GaugeRefusal)
    assert not refusal.contradictory
    assert "no source of energy" in refusal.reason


def test_a_cable_gives_no_verdict():
    """A calibration run with the cable in tells nothing."""
    plugged = [
        msgspec.structs.replace(
            window,
            battery=tuple(msgspec.structs.replace(item, plugged=True) for item in window.battery),
        )
        for window in calibration("max170xx")
    ]

    refusal = characterize("max170xx", windows=plugged)

    assert "cable" in refusal.reason


def test_a_wrong_override_is_refused_and_a_right_one_shows():
    """A unit or sign set by a person is held against the charge counter like any other."""
    wrong = characterize("reports-ma", Overrides(current_scale=1))
    right = characterize("reports-ma", Overrides(current_scale=1000))

    assert isinstance(wrong, GaugeRefusal)
    assert right.overridden == ("current_scale",)


def test_a_person_may_choose_the_source_in_spite_of_a_contradiction():
    """Who knows the phone can say which witness is right; it is written down, and it is used."""
    verdict = characterize("dual-cell", Overrides(source="charge_counter"))
    plan = plan_energy(PROFILE, blocks=5, target_error=0.05, verdict=verdict).plan
    windows, truth, _ = work(plan, gauge_named("dual-cell"))

    energy = estimate_energy(windows, PROFILE.gauge, verdict)

    assert verdict.overridden == ("source",)
    assert estimate_energy(windows, PROFILE.gauge) is None
    assert energy.source == "charge_counter"
    assert energy.gross_interval_j.low < truth.gross_j < energy.gross_interval_j.high


def test_a_source_that_tells_nothing_cannot_be_chosen():
    """An override does not make a stuck current an energy."""
    refusal = characterize("stuck-current", Overrides(source="current_now"))

    assert isinstance(refusal, GaugeRefusal)
    assert "stuck" in refusal.reason


def test_what_was_set_before_stays_set():
    """Earlier overrides are kept when another is added; a refusal has none."""
    before = characterize("max170xx", Overrides(source="current_now", current_sign=1))

    later = overrides_of(before).updated(Overrides(source="charge_counter", current_scale=1))

    assert later == Overrides(source="charge_counter", current_scale=1, current_sign=1)
    assert overrides_of(characterize("dual-cell")) == Overrides()


@pytest.mark.parametrize("wrong", [{"current_scale": 1}, {"current_sign": -1}])
def test_a_wrong_unit_is_refused_with_a_source_that_was_set_too(wrong):
    """Trusting a source does not make a unit or a sign right that the counter disproves."""
    wrong = Overrides(source="charge_counter", **wrong)

    assert isinstance(characterize("reports-ma", wrong), GaugeRefusal)
    assert isinstance(characterize("reports-ma", Overrides(source="charge_counter")), GaugeVerdict)
    right = Overrides(source="charge_counter", current_sign=1)
    assert isinstance(characterize("dual-cell", right), GaugeVerdict)


def test_a_verdict_that_the_run_contradicts_is_not_used():
    """A phone that reports otherwise than when it was calibrated gives no energy."""
    verdict = characterize("reports-ma")
    plan = plan_energy(PROFILE, blocks=5, target_error=0.05, verdict=verdict).plan
    windows, _, _ = work(plan, gauge_named("inverted"))

    assert estimate_energy(windows, PROFILE.gauge, verdict) is None


def test_the_current_is_used_once_its_unit_is_known():
    """A current in milliamperes with the wrong sign gives the energy where the verdict says so."""
    kind = msgspec.structs.replace(gauge_named("inverted-ma"), stuck=("charge_counter_uah",))
    windows, _, _ = work(plan_calibration(), kind)
    verdict = characterize("inverted-ma", windows=windows)
    plan = plan_energy(PROFILE, blocks=5, target_error=0.05, verdict=verdict).plan
    windows, truth, _ = work(plan, kind)

    energy = estimate_energy(windows, PROFILE.gauge, verdict)

    assert energy.source == "current_now"
    assert energy.gross_interval_j.low < truth.gross_j < energy.gross_interval_j.high
    assert estimate_energy(windows, PROFILE.gauge) is None


@given(
    step=st.floats(min_value=8, max_value=50_000),
    start=st.integers(min_value=0, max_value=10_000_000),
    counts=st.lists(st.integers(min_value=-5, max_value=5), min_size=40, max_size=80),
)
def test_a_step_is_found_though_readings_are_rounded(step, start, counts):
    """From rounded multiples of any step with two neighbouring ones among them, it comes back."""
    levels = [0, 1, 0]
    for count in counts:
        levels.append(levels[-1] + count)

    measured = measure_step([start + round(level * step) for level in levels])

    assert measured == pytest.approx(step, abs=1.01)


def test_no_change_has_no_step():
    """A constant has none, and so has a single reading."""
    assert measure_step([7, 7, 7]) is None
    assert measure_step([7]) is None


@settings(max_examples=40)
@given(
    period_ms=st.integers(min_value=150, max_value=3000),
    phase_ms=st.integers(min_value=0, max_value=3000),
)
def test_a_period_is_found_from_what_is_polled(period_ms, phase_ms):
    """A property that changes with every update, polled at 20 Hz, gives its period to 1 %."""
    windows = [
        Window(
            kind="idle",
            started_ns=number * 10**11,
            ended_ns=number * 10**11 + 94 * 10**9,
            iterations=0,
            battery=tuple(
                battery_sample(
                    at_ns=number * 10**11 + poll * 47_000_000,
                    current_now_ua=(number * 10**5 + poll * 47 + phase_ms) // period_ms * 2 % 13,
                )
                for poll in range(2000)
            ),
            rails=(),
            thermal=THERMAL,
        )
        for number in range(2)
    ]

    measured = measure_period_s(windows, lambda sample: sample.current_now_ua)

    assert measured == pytest.approx(period_ms / 1000, rel=0.01)


@pytest.mark.parametrize("seed", range(6))
def test_a_counters_period_is_told_or_not_told_but_not_guessed(seed):
    """Steady loads make few distances: within a percent it is the true one, or there is none."""
    fast, slow = (
        work(plan_calibration(), gauge_named("counter-only"), seed=seed, latency_ns=[latency_ns])[0]
        for latency_ns in (30_000_000, 700_000_000)
    )

    found = measure_period_s(fast, lambda sample: sample.charge_counter_uah)

    assert found == pytest.approx(0.176, rel=0.01)
    assert measure_period_s(slow, lambda sample: sample.charge_counter_uah) is None
    assert measure_period_s(slow, lambda sample: sample.charge_counter_uah, 0.176) in (
        None,
        pytest.approx(0.176, rel=0.01),
    )


def battery_sample(**fields):
    values = dict.fromkeys(BatterySample.__struct_fields__)
    return BatterySample(**(values | {"plugged": False} | fields))


def test_every_packaged_gauge_is_one():
    """The file decodes, and names are what a command line takes."""
    kinds = gauge_kinds()

    assert len(kinds) >= 20
    assert all(name == name.lower() and " " not in name for name in kinds)
