"""Power, energy and charge of predictions: known answers, and what is not known."""

import math

import numpy as np
import pytest
from examples import energy_estimate
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mobilekit.analysis.predict.chips import parse_chip
from mobilekit.analysis.predict.costs import COSTS
from mobilekit.analysis.predict.energy import predict_charge, predict_energy, predict_network
from mobilekit.analysis.predict.intervals import around, half_width
from mobilekit.analysis.predict.power import (
    CorePower,
    OwnRun,
    PowerModel,
    RestPower,
    arithmetic_share,
    power_of_chip,
    power_of_runs,
)
from mobilekit.flow.predict import read_phone
from mobilekit.flow.shipped import load_power_model
from mobilekit.phone.chips import load_cores
from mobilekit.records.prediction import (
    LatencyPrediction,
    PhoneBattery,
    PhonePower,
    PredictedDevice,
)
from mobilekit.records.statistics import Interval
from mobilekit.results.published import load_publication

CORES = load_cores()
LATENCY = LatencyPrediction(
    network="net", latency_ms=100.0, low_ms=50.0, high_ms=200.0, known=0, seen=True, reasons=()
)
POWER = PhonePower(
    gross_w=4.0,
    gross_interval_w=Interval(low=2.0, high=8.0),
    marginal_w=3.0,
    marginal_interval_w=Interval(low=1.0, high=9.0),
    told_from="a test",
)
BATTERY = PhoneBattery(energy_j=54_000.0, relative_uncertainty=0.0, source="a test")
DEVICE = PredictedDevice(
    device="nexus7", chip="4xKRAIT@1.51", threads=4, engine="a test", power=POWER, battery=BATTERY
)
MODEL = PowerModel(
    sources=(),
    licenses=(),
    phones=1,
    cores=CorePower(
        constant=math.log(100),
        out_of_order=math.log(2),
        log_macs_per_cycle=0.5,
        log_ghz=1.0,
        fp16=math.log(0.5),
        log_sd=0.5,
    ),
    rest=RestPower(current_ma=200.0, log_sd=0.5),
)


def test_energy_is_power_times_time_and_intervals_add_in_quadrature_of_logarithms():
    energy = predict_energy(LATENCY, POWER)

    assert energy.gross_j == pytest.approx(0.4)
    assert energy.marginal_j == pytest.approx(0.3)
    both = math.exp(math.hypot(math.log(2), math.log(2)))
    assert energy.gross_interval_j.high == pytest.approx(0.4 * both)
    assert energy.gross_interval_j.low == pytest.approx(0.4 / both)
    assert half_width(energy.marginal_interval_j) == pytest.approx(
        math.hypot(math.log(2), math.log(3))
    )


def test_a_charge_buys_its_energy_over_that_of_an_inference():
    charge = predict_charge(predict_energy(LATENCY, POWER), BATTERY)

    assert charge.inferences == pytest.approx(135_000)
    aged = predict_charge(
        predict_energy(LATENCY, POWER), replace(BATTERY, relative_uncertainty=0.5)
    )
    assert aged.inferences_interval.low < charge.inferences_interval.low


@pytest.mark.parametrize(
    ("device", "latency", "reasons"),
    [
        (DEVICE, LATENCY, {}),
        (replace(DEVICE, battery=None), LATENCY, {"charge": "a chip alone has no battery"}),
        (
            replace(DEVICE, power=None),
            LATENCY,
            {"energy": "what this phone draws is not known", "charge": "its energy cannot"},
        ),
        (
            DEVICE,
            replace(LATENCY, latency_ms=None, low_ms=None, high_ms=None, reasons=("strange",)),
            {"energy": "its latency cannot be told", "charge": "its energy cannot"},
        ),
    ],
)
def test_what_cannot_be_told_is_said_and_nothing_else(device, latency, reasons):
    told = predict_network(latency, device)

    assert {each.figure for each in told.untold} == set(reasons)
    for each in told.untold:
        assert each.reason.startswith(reasons[each.figure])
    assert (told.energy is None) == ("energy" in reasons)
    assert (told.charge is None) == ("charge" in reasons)
    assert told.origin == "predicted"


def test_each_used_core_draws_by_its_kind_and_clock():
    """Two cores out of order with 8 MACs in a cycle, and one in order with 4, worked out by hand:
    in mW, 100 times 2, the root of 8, 2 GHz and a half for fp16; 100 times the root of 4, 1.5 GHz
    and a half."""
    chip = parse_chip("2xA76@2.0,4xA55@1.5", CORES)

    power = power_of_chip(chip, 3, MODEL)

    fast, slow = 100 * 2 * 8**0.5 * 2.0 * 0.5, 100 * 4**0.5 * 1.5 * 0.5
    assert power.marginal_w == pytest.approx((2 * fast + slow) / 1000)
    sd = math.hypot(0.5, 0.2)
    assert half_width(power.marginal_interval_w) == pytest.approx(1.6449 * sd)


def test_the_sum_of_a_networks_power_and_the_rest_has_the_sums_mean_and_spread():
    """Against 200,000 draws of the two: the mean, and nine in ten within the interval."""
    chip = parse_chip("1xA76@1.0", CORES)
    power = power_of_chip(chip, 1, MODEL)
    draws = np.random.default_rng(1)
    sums = power.marginal_w * np.exp(
        math.hypot(0.5, 0.2) * draws.standard_normal(200_000)
    ) + 0.77 * np.exp(0.5 * draws.standard_normal(200_000))

    sd = half_width(power.gross_interval_w) / 1.6449
    assert power.gross_w * math.exp(sd**2 / 2) == pytest.approx(sums.mean(), rel=0.01)
    inside = (sums > power.gross_interval_w.low) & (sums < power.gross_interval_w.high)
    assert inside.mean() == pytest.approx(0.9, abs=0.01)


def energy_run(power_w, *, relative=0.03, arithmetic=None):
    """One network's: gross at ``power_w``, marginal at half of it."""
    estimate = energy_estimate()
    gross, marginal = power_w * 0.2, power_w * 0.1
    energy = replace(
        estimate,
        seconds_per_inference=0.2,
        gross_j=gross,
        gross_interval_j=Interval(low=gross * (1 - relative), high=gross * (1 + relative)),
        marginal_j=marginal,
        marginal_interval_j=Interval(low=marginal * (1 - relative), high=marginal * (1 + relative)),
    )
    return OwnRun(energy, arithmetic)


def test_a_phones_own_runs_tell_its_power_and_more_of_them_tell_more():
    one = power_of_runs([energy_run(4.0)])
    three = power_of_runs([energy_run(4.0)] * 3)

    assert one.gross_w == pytest.approx(4.0)
    assert three.marginal_w == pytest.approx(2.0)
    assert half_width(three.gross_interval_w) < half_width(one.gross_interval_w) < math.log(1.6)
    unlike = power_of_runs([energy_run(2.0), energy_run(4.0), energy_run(8.0)])
    assert half_width(unlike.gross_interval_w) > half_width(one.gross_interval_w)
    chip = power_of_chip(parse_chip("4xKRAIT@1.51", CORES), 4, load_power_model())
    assert half_width(one.gross_interval_w) < half_width(chip.gross_interval_w)


@pytest.mark.parametrize("runs", [[], [energy_run(4.0), energy_run(-1.0)]])
def test_runs_that_tell_no_power_tell_none(runs):
    assert power_of_runs(runs) is None


def test_a_further_network_lies_in_the_interval_nine_times_in_ten():
    """Of phones whose networks differ as the prior has it."""
    draws = np.random.default_rng(7)
    inside = []
    for _ in range(2000):
        first, second, further = 4.0 * np.exp(0.12 * draws.standard_normal(3))
        power = power_of_runs([energy_run(first, relative=0), energy_run(second, relative=0)])
        inside.append(power.gross_interval_w.low < further < power.gross_interval_w.high)

    assert np.mean(inside) == pytest.approx(0.92, abs=0.025)


@given(st.floats(1e-3, 1e3), st.lists(st.floats(0, 3), min_size=1, max_size=4))
def test_an_interval_holds_its_middle_and_is_as_wide_as_its_widest_part(middle, halves):
    interval = around(middle, *halves)

    assert interval.low <= middle <= interval.high
    assert half_width(interval) == pytest.approx(math.hypot(*halves), abs=1e-9)
    assert half_width(interval) >= max(halves) - 1e-9


def test_the_shipped_model_is_told_from_the_shipped_tables(request):
    """As many phones, and a wide interval: a factor of two or more either way."""
    model = load_power_model()
    table = request.config.rootpath / "mobilekit/prediction/power/cores.csv"
    phones = {line.split(",")[1] for line in table.read_text(encoding="utf-8").splitlines()[1:]}

    assert model.phones == len(phones)
    assert math.exp(1.6449 * model.cores.log_sd) > 2


@pytest.mark.parametrize(
    ("device", "threads", "publication", "platform"),
    [
        ("nexus7", 4, "fantozzi2016", "nexus7"),
        ("MSM8974", 1, "lane2015", "snapdragon_cpu"),
    ],
)
def test_powers_that_others_measured_with_networks_lie_in_the_intervals(
    device, threads, publication, platform
):
    """Which the model was not fitted to."""
    power = power_of_chip(read_phone(device).chip, threads, load_power_model())
    figures = load_publication(publication).figures
    values = {(each.model, each.name): each.value for each in figures if each.platform == platform}
    models = {model for model, name in values if name == "energy"}

    assert len(models) >= 3
    for model in models:
        watts = values[model, "energy"] / (values[model, "latency"] / 1e9)
        assert power.gross_interval_w.low < watts < power.gross_interval_w.high


SHARES = (0.9, 0.7, 0.5, 0.3, 0.1)


def test_power_is_told_by_kind_of_work_where_that_tells_networks_left_out_better():
    """Of a phone that draws 6 W in arithmetic and 2 W in moving numbers."""
    runs = [energy_run(6 * share + 2 * (1 - share), arithmetic=share) for share in SHARES]

    power = power_of_runs(runs)

    assert power.by_kind.arithmetic_gross_w == pytest.approx(6.0)
    assert power.by_kind.moving_gross_w == pytest.approx(2.0)
    assert power.by_kind.moving_marginal_w == pytest.approx(1.0)
    assert "in arithmetic and" in power.told_from
    energy = predict_energy(LATENCY, power, 0.75)
    assert energy.gross_j == pytest.approx(0.1 * (6 * 0.75 + 2 * 0.25))
    assert energy.marginal_j == pytest.approx(energy.gross_j / 2)
    alike = power_of_runs([replace_arithmetic(run, None) for run in runs])
    assert alike.by_kind is None
    assert half_width(power.gross_interval_w) < half_width(alike.gross_interval_w)


def replace_arithmetic(run, share):
    return run._replace(arithmetic=share)


@pytest.mark.parametrize(
    "powers",
    [
        (4.0, 4.1, 3.9, 4.05, 3.95),
        (6.0, 2.0, 6.0, 2.0, 6.0),
    ],
)
def test_power_is_the_same_for_all_where_kinds_tell_no_more(powers):
    """Constant but for scatter, and scattered whatever the work is."""
    runs = [
        energy_run(watts, arithmetic=share) for watts, share in zip(powers, SHARES, strict=True)
    ]

    power = power_of_runs(runs)

    assert power.by_kind is None
    assert power.told_from.endswith("the same for all networks")


def test_three_networks_tell_no_kinds():
    runs = [energy_run(6 * share + 2 * (1 - share), arithmetic=share) for share in SHARES[:3]]

    assert power_of_runs(runs).by_kind is None


def test_the_share_of_arithmetic_is_that_of_all_kinds_of_macs():
    shares = np.zeros(len(COSTS))
    shares[[COSTS.index("pw_macs"), COSTS.index("dw_macs"), COSTS.index("elements")]] = (
        0.5,
        0.2,
        0.3,
    )

    assert arithmetic_share(shares) == pytest.approx(0.7)
