import msgspec
import pytest
from examples import THERMAL, energy_estimate, energy_plan
from scipy.stats import t
from simulated import PROFILE, work

from mobilekit.analysis.energy import planning, sources
from mobilekit.analysis.energy.charge import estimate_charge
from mobilekit.analysis.energy.estimate import estimate_energy
from mobilekit.analysis.energy.planning import planned_duration_ns
from mobilekit.analysis.energy.sources import known_gauge
from mobilekit.analysis.energy.stretches import find_stretches
from mobilekit.contract.protocol import Window
from mobilekit.presets import PRESETS
from mobilekit.records.statistics import Interval
from mobilekit.virtual.battery import GaugeKind

GAUGE = PROFILE.gauge


def plan_energy(profile, *, blocks, target_error):
    return planning.plan_energy(profile, blocks=blocks, target_error=target_error).plan


def simulate(seed, plan, profile=PROFILE, **phone):
    """Windows and their truth."""
    return work(plan, seed=seed, profile=profile, **phone)[:2]


def charge_ratio(windows):
    return sources.charge_ratio(find_stretches(windows), known_gauge(GAUGE, None))


def change_samples(windows, **change):
    """The windows with every battery sample changed by functions of the sample."""
    return [
        msgspec.structs.replace(
            window,
            battery=tuple(
                msgspec.structs.replace(
                    sample, **{field: function(sample) for field, function in change.items()}
                )
                for sample in window.battery
            ),
        )
        for window in windows
    ]


@pytest.mark.parametrize("preset", ["fast", "default"])
def test_intervals_cover_the_simulated_truth(preset):
    """At least 90 of 100 simulated runs have the true gross and marginal energy within 95 %."""
    plan = plan_energy(
        PROFILE,
        blocks=PRESETS[preset].energy_blocks,
        target_error=PRESETS[preset].energy_target_error,
    )
    gross_covered = marginal_covered = 0
    for seed in range(100):
        windows, truth = simulate(seed, plan)
        energy = estimate_energy(windows, PROFILE.gauge)
        gross, marginal = energy.gross_interval_j, energy.marginal_interval_j
        gross_covered += gross.low <= truth.gross_j <= gross.high
        marginal_covered += marginal.low <= truth.marginal_j <= marginal.high

    assert gross_covered >= 90
    assert marginal_covered >= 90


def test_intervals_are_not_wide_for_nothing():
    """The interval of a default run is no wider than a tenth either way: coverage is not bought."""
    plan = plan_energy(PROFILE, blocks=5, target_error=0.05)

    energy = estimate_energy(simulate(1, plan)[0], PROFILE.gauge)

    assert energy.source == "charge_counter"
    assert energy.gross_interval_j.high - energy.gross_j < 0.1 * energy.gross_j
    assert energy.marginal_interval_j.high - energy.marginal_j < 0.1 * energy.marginal_j


@pytest.mark.parametrize("kind", ["gross", "marginal"])
def test_the_interval_is_made_of_the_budget(kind):
    """All terms in quadrature, expanded by Student's t for the effective degrees of freedom."""
    plan = plan_energy(PROFILE, blocks=5, target_error=0.1)
    windows, _ = simulate(2, plan, kind=GaugeKind(background_relative=0.3))
    energy = estimate_energy(windows, GAUGE)
    terms = [(getattr(t, f"{kind}_j"), getattr(t, f"{kind}_freedom")) for t in energy.budget]
    variance = sum(standard**2 for standard, _ in terms)
    blocks_j, freedom = terms[0]
    expected_j = t.ppf(0.975, variance**2 / (blocks_j**4 / freedom)) * variance**0.5

    interval, middle_j = getattr(energy, f"{kind}_interval_j"), getattr(energy, f"{kind}_j")

    assert 2 < freedom < 4.01
    assert blocks_j > 0
    assert all(other is None for _, other in terms[1:])
    assert interval.high - middle_j == pytest.approx(expected_j, rel=1e-6)
    assert middle_j - interval.low == pytest.approx(expected_j, rel=1e-6)


def test_a_perfect_staircase_gives_back_its_powers():
    """Without noise and with a fine gauge, the fit finds idle and load power to a thousandth."""
    fine = msgspec.structs.replace(PROFILE.gauge, charge_step_uah=10, update_period_ms=10)
    plan = energy_plan(blocks=3, idle_ns=20 * 10**9, load_ns=20 * 10**9, sample_period_ns=10**7)
    windows = staircase(plan, idle_w=1.0, load_w=3.0, step_uah=10)

    energy = estimate_energy(windows, fine)

    assert energy.idle_w == pytest.approx(1.0, rel=1e-3)
    assert energy.load_w == pytest.approx(3.0, rel=1e-3)
    assert energy.gross_j == pytest.approx(3.0 * 20 / 200, rel=1e-3)
    assert energy.marginal_j == pytest.approx(2.0 * 20 / 200, rel=1e-3)


def staircase(plan, *, idle_w, load_w, step_uah):
    """Windows of an ideal gauge at 3.6 V that rounds down to its step; 200 iterations a load."""
    from mobilekit.contract.protocol import BatterySample

    windows, at_ns, charge_uah = [], 0, 1_000_000.0
    for number in range(2 * plan.blocks + 1):
        is_load = number % 2 == 1
        started_ns, samples = at_ns, []
        rate_uah_per_ns = (load_w if is_load else idle_w) / 3.6 / 3.6e-3 / 1e9
        while at_ns <= started_ns + plan.load_ns:
            samples.append(
                BatterySample(
                    at_ns=at_ns,
                    charge_counter_uah=int(charge_uah // step_uah) * step_uah,
                    current_now_ua=None,
                    energy_counter_nwh=None,
                    voltage_mv=3600,
                    temperature_decicelsius=None,
                    level_percent=None,
                    plugged=False,
                )
            )
            at_ns += plan.sample_period_ns
            charge_uah -= rate_uah_per_ns * plan.sample_period_ns
        windows.append(
            Window(
                kind="load" if is_load else "idle",
                started_ns=started_ns,
                ended_ns=at_ns,
                iterations=200 if is_load else 0,
                battery=tuple(samples),
                rails=(),
                thermal=THERMAL,
            )
        )
    return windows


def test_a_gauge_without_a_counter_falls_back_to_its_current():
    """Where the charge counter is missing, a plausible current gives the energy, and says so."""
    plan = plan_energy(PROFILE, blocks=5, target_error=0.05)
    windows, truth = simulate(3, plan)

    energy = estimate_energy(
        change_samples(windows, charge_counter_uah=lambda _: None), PROFILE.gauge
    )

    assert energy.source == "current_now"
    assert energy.gross_interval_j.low <= truth.gross_j <= energy.gross_interval_j.high


@pytest.mark.parametrize(
    "wrong_current",
    [
        pytest.param(lambda sample: sample.current_now_ua // 1000, id="milliamperes"),
        pytest.param(lambda sample: -sample.current_now_ua, id="inverted sign"),
        pytest.param(lambda sample: 0, id="constant zero"),
        pytest.param(lambda sample: None, id="missing"),
    ],
)
def test_an_implausible_current_is_never_used(wrong_current):
    """Without a counter, a current of the wrong unit or sign gives no energy at all."""
    plan = plan_energy(PROFILE, blocks=5, target_error=0.1)
    windows, _ = simulate(4, plan)
    changed = change_samples(
        windows, charge_counter_uah=lambda _: None, current_now_ua=wrong_current
    )

    assert estimate_energy(changed, PROFILE.gauge) is None


def test_charge_ratio_tells_unit_and_sign():
    """The ratio is about 1 for a sound current, a thousandth for mA, negative for a wrong sign."""
    plan = plan_energy(PROFILE, blocks=5, target_error=0.05)
    windows, _ = simulate(5, plan)
    milliamperes = change_samples(windows, current_now_ua=lambda s: s.current_now_ua / 1000)
    inverted = change_samples(windows, current_now_ua=lambda s: -s.current_now_ua)

    assert charge_ratio(windows) == pytest.approx(1, abs=0.05)
    assert charge_ratio(milliamperes) == pytest.approx(1e-3, rel=0.05)
    assert charge_ratio(inverted) == pytest.approx(-1, abs=0.05)


def test_interrupted_runs_use_their_complete_blocks():
    """Two and a half blocks count as two; less than two give nothing."""
    plan = plan_energy(PROFILE, blocks=5, target_error=0.05)
    windows, _ = simulate(6, plan)

    assert estimate_energy(windows[:6], PROFILE.gauge).blocks == 2
    assert estimate_energy(windows[:4], PROFILE.gauge) is None
    assert estimate_energy([], PROFILE.gauge) is None


def test_blocks_that_agree_by_rounding_prove_nothing():
    """With a step as large as a window's charge the interval stays at least as wide as the step."""
    coarse = msgspec.structs.replace(PROFILE.gauge, charge_step_uah=1500)
    profile = msgspec.structs.replace(PROFILE, gauge=coarse)
    plan = energy_plan(blocks=8, idle_ns=30 * 10**9, load_ns=30 * 10**9, sample_period_ns=2 * 10**8)
    covered = estimates = 0
    for seed in range(60):
        windows, truth = simulate(seed, plan, profile)
        energy = estimate_energy(windows, coarse)
        if energy is not None and energy.source == "charge_counter":
            estimates += 1
            covered += energy.gross_interval_j.low <= truth.gross_j <= energy.gross_interval_j.high

    assert estimates >= 30
    assert covered >= 0.9 * estimates


def test_planned_windows_follow_from_the_gauge():
    """A ten times coarser step, or half the error, asks for longer windows; never whole periods."""
    plan = plan_energy(PROFILE, blocks=5, target_error=0.002)
    coarse = msgspec.structs.replace(
        PROFILE, gauge=msgspec.structs.replace(PROFILE.gauge, charge_step_uah=5000)
    )
    period_ns = GAUGE.update_period_ms * 10**6

    assert plan_energy(coarse, blocks=5, target_error=0.002).load_ns > 2 * plan.load_ns
    assert plan_energy(PROFILE, blocks=5, target_error=0.001).load_ns > 1.3 * plan.load_ns
    assert planned_duration_ns(plan) == 6 * plan.idle_ns + 5 * plan.load_ns
    for window_ns in (plan.idle_ns, plan.load_ns, plan.idle_ns + plan.load_ns):
        assert 0.2 < window_ns / period_ns % 1 < 0.8


@pytest.mark.parametrize(("gross_j", "published"), [(4.05, 13_300), (3.65, 14_800), (5.63, 9_600)])
def test_inferences_per_charge_are_the_published_ones(gross_j, published):
    """54 kJ over the paper's energies per inference gives its inferences per charge."""
    energy = energy_estimate(
        gross_j=gross_j,
        gross_interval_j=Interval(low=gross_j, high=gross_j),
        budget=(),
    )

    charge = estimate_charge(energy, PROFILE)

    assert charge.inferences == pytest.approx(published, rel=0.005)
    # The battery's age alone: 7.5 % standard, 1.96 of it either way.
    assert charge.inferences_interval.low == pytest.approx(charge.inferences * 0.853, rel=1e-3)
    assert charge.inferences_interval.high == pytest.approx(charge.inferences * 1.147, rel=1e-3)


# --- gauges that must not be believed ----------------------------------------------------------

PLAN = plan_energy(PROFILE, blocks=5, target_error=0.05)


def without_current(windows):
    return change_samples(windows, current_now_ua=lambda _: None)


def test_a_rising_counter_gives_no_energy():
    """A battery that fills while it works pays for nothing."""
    windows, _ = simulate(7, PLAN)
    rising = change_samples(windows, charge_counter_uah=lambda s: 8_000_000 - s.charge_counter_uah)

    assert estimate_energy(without_current(rising), PROFILE.gauge) is None


@pytest.mark.parametrize("jump_uah", [-20_000, -5_000, 5_000, 20_000])
def test_a_counter_that_jumps_gives_no_energy(jump_uah):
    """A gauge that corrects itself in the middle of the run is not averaged away."""
    windows, _ = simulate(8, PLAN)
    middle_ns = (windows[4].started_ns + windows[4].ended_ns) // 2
    jumping = change_samples(
        windows,
        charge_counter_uah=lambda s: s.charge_counter_uah + jump_uah * (s.at_ns > middle_ns),
    )

    assert estimate_energy(without_current(jumping), PROFILE.gauge) is None


def test_a_counter_in_other_units_gives_no_energy():
    """A charge counter 500 times too large is no phone's, with or without a current beside it."""
    windows, _ = simulate(9, PLAN)
    huge = change_samples(windows, charge_counter_uah=lambda s: s.charge_counter_uah * 500)

    assert estimate_energy(huge, PROFILE.gauge) is None
    capacity_uah = PROFILE.capacity_uah
    assert estimate_energy(without_current(huge), PROFILE.gauge, capacity_uah=capacity_uah) is None


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda s: s.charge_counter_uah // 1000, id="mAh"),
        pytest.param(lambda s: s.charge_counter_uah * 1000, id="nAh"),
        pytest.param(lambda s: s.charge_counter_uah - 3_950_000, id="below zero"),
        pytest.param(lambda s: -s.charge_counter_uah, id="below zero and rising"),
        pytest.param(lambda s: (s.charge_counter_uah - 3_950_000) // 1000, id="below zero in mAh"),
    ],
)
def test_an_odd_charge_counter_tells_the_same_energy(read):
    """Its unit and sign are found out, with a current beside it that agrees and without one."""
    windows, truth = simulate(9, PLAN)
    odd = change_samples(windows, charge_counter_uah=read)
    expected = estimate_energy(windows, PROFILE.gauge)

    for told in (odd, without_current(odd)):
        estimate = estimate_energy(told, PROFILE.gauge, capacity_uah=PROFILE.capacity_uah)
        assert estimate.source == "charge_counter"
        assert estimate.gross_j == pytest.approx(expected.gross_j, rel=0.05)
        assert estimate.gross_interval_j.low < truth.gross_j < estimate.gross_interval_j.high
        charge = estimate_charge(estimate, PROFILE)
        assert charge.inferences == pytest.approx(PROFILE.battery.energy_j / estimate.gross_j)


def test_a_battery_of_unknown_capacity_has_an_energy_and_no_charge():
    """And its run is planned for a small one."""
    unknown = msgspec.structs.replace(PROFILE, battery=None)
    windows, _ = simulate(9, PLAN)

    planned = planning.plan_energy(unknown, blocks=5, target_error=0.05)

    assert estimate_charge(estimate_energy(windows, PROFILE.gauge), unknown) is None
    assert planned.battery_assumed
    assert (
        planned.expected_charge_fraction
        > 1.5 * planning.plan_energy(PROFILE, blocks=5, target_error=0.05).expected_charge_fraction
    )


def test_contradicting_evidence_gives_no_energy():
    """Twice the current that the counter shows: either may be wrong, so neither is used."""
    windows, _ = simulate(10, PLAN)
    doubled = change_samples(windows, current_now_ua=lambda s: 2 * s.current_now_ua)

    assert estimate_energy(doubled, PROFILE.gauge) is None


@pytest.mark.parametrize("factor", [1000, 1])
def test_voltages_in_microvolts_are_known(factor):
    """Some phones report microvolts; the energy is the same."""
    windows, truth = simulate(11, PLAN)
    changed = change_samples(windows, voltage_mv=lambda s: s.voltage_mv * factor)

    energy = estimate_energy(changed, PROFILE.gauge)

    assert energy.gross_j == pytest.approx(truth.gross_j, rel=0.06)


def test_a_few_missing_readings_do_not_matter():
    """A gauge that skips every tenth reading still gives its energy."""
    windows, truth = simulate(12, PLAN)
    skipping = change_samples(
        windows,
        charge_counter_uah=lambda s: s.charge_counter_uah if s.at_ns % 10 else None,
    )

    energy = estimate_energy(skipping, PROFILE.gauge)

    assert energy.gross_interval_j.low <= truth.gross_j <= energy.gross_interval_j.high


def test_a_counter_that_comes_back_is_no_contradiction():
    """A counter that jitters and ends where it began has no ratio, and no crash."""
    windows, _ = simulate(13, PLAN)
    jitter = change_samples(
        windows, charge_counter_uah=lambda s: 1_000_000 + 500 * (s.at_ns // 10**9 % 2)
    )
    ending = jitter[0].battery[0].charge_counter_uah
    last = jitter[-1]
    closed = msgspec.structs.replace(
        last,
        battery=(
            *last.battery[:-1],
            msgspec.structs.replace(last.battery[-1], charge_counter_uah=ending),
        ),
    )

    assert charge_ratio([*jitter[:-1], closed]) is None


def test_slow_networks_are_covered_too():
    """With inferences of 3 s the battery is polled as rarely, and the interval knows it."""
    covered = 0
    for seed in range(60):
        windows, truth = simulate(seed, PLAN, latency_ns=[3_000_000_000, 3_100_000_000])
        energy = estimate_energy(windows, PROFILE.gauge)
        marginal = energy.marginal_interval_j
        covered += marginal.low <= truth.marginal_j <= marginal.high

    assert covered >= 54
