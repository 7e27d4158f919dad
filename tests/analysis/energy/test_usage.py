import pytest
from examples import artifact, device_info, energy_estimate, energy_plan, measured, run_request
from msgspec.structs import replace
from scipy.special import stdtrit
from simulated import PROFILE, work

from mobilekit.analysis.energy.charge import estimate_charge
from mobilekit.analysis.energy.usage import choose_life_basis, describe_use, estimate_life
from mobilekit.errors import UsageError
from mobilekit.records.energy import UncertaintyTerm, UploadEnergy
from mobilekit.records.network import Compression, LayerRank, Variant
from mobilekit.records.statistics import Interval
from mobilekit.results.documents import make_life_document
from mobilekit.results.text.energy import render_life

ENERGY = energy_estimate()
CHARGE = estimate_charge(ENERGY, PROFILE)


def test_one_photo_a_minute_lasts_as_long_as_published():
    """54 kJ at 4.05 J an inference: 13,333 of them, one a minute for 9.3 days."""
    alexnet = energy_estimate(gross_j=4.05, gross_interval_j=Interval(low=3.9, high=4.2))
    charge = estimate_charge(alexnet, PROFILE)

    use = describe_use(alexnet, charge)

    assert use.days_at_one_a_minute == pytest.approx(9.26, abs=0.01)
    assert use.days_interval.low < 9.26 < use.days_interval.high


def test_uploads_are_told_in_inferences():
    """40 J by LTE and 23 J by Wi-Fi, as published; or a person's own figure."""
    lte, wifi = describe_use(ENERGY, CHARGE).uploads
    own = UploadEnergy(name="5G", energy_j=7.3, source="measured")
    (mine,) = describe_use(ENERGY, CHARGE, [own]).uploads

    assert lte.inferences == pytest.approx(40 / 3.65)
    assert wifi.inferences == pytest.approx(23 / 3.65)
    assert lte.inferences_interval.low == pytest.approx(40 / 3.87)
    assert "CCGrid" in lte.upload.source
    assert mine.inferences == pytest.approx(2.0)


def test_life_under_a_duty_cycle():
    """Marginal energy every ten seconds on top of 50 mW: hours, inferences and their share."""
    life = estimate_life(ENERGY, CHARGE, every_s=10, idle_w=0.05)

    assert life.mean_w == pytest.approx(0.255 + 0.05)
    assert life.hours == pytest.approx(54_000 / 0.305 / 3600)
    assert life.inferences == pytest.approx(54_000 / 0.305 / 10)
    assert life.inference_share == pytest.approx(0.255 / 0.305)
    # 7.5 % of the battery's age; 0.077 J of the gain every 10 s, of 0.305 W.
    relative = 1.96 * (0.075**2 + (0.0077 / 0.305) ** 2) ** 0.5
    assert life.hours_interval.low == pytest.approx(life.hours * (1 - relative))
    assert life.hours_interval.high == pytest.approx(life.hours * (1 + relative))
    assert life.inferences_interval.low == pytest.approx(life.inferences * (1 - relative))
    assert life.inferences_interval.high == pytest.approx(life.inferences * (1 + relative))


def test_an_uncertain_idle_power_widens_life():
    """Where the idle power was measured, its uncertainty counts."""
    sure = estimate_life(ENERGY, CHARGE, every_s=60, idle_w=0.5).hours_interval
    unsure = estimate_life(
        ENERGY, CHARGE, every_s=60, idle_w=0.5, idle_relative_uncertainty=0.1
    ).hours_interval

    assert unsure.low < sure.low < sure.high < unsure.high


@pytest.mark.parametrize(
    ("every_s", "idle_w", "words"),
    [(1.0, 0.05, "takes 1.08 s"), (10, -1, "finite"), (float("inf"), 0.1, "finite")],
)
def test_duty_cycles_that_cannot_be_are_refused(every_s, idle_w, words):
    """More inferences than time, and powers that are none."""
    with pytest.raises(UsageError, match=words):
        estimate_life(ENERGY, CHARGE, every_s=every_s, idle_w=idle_w)


def test_a_phone_that_draws_nothing_has_no_life():
    """A marginal energy below zero and no idle power do not make an endless battery."""
    strange = energy_estimate(marginal_j=-0.1, marginal_interval_j=Interval(low=-0.3, high=0.1))

    with pytest.raises(UsageError, match="draw nothing"):
        estimate_life(strange, CHARGE, every_s=10, idle_w=0.0)


def test_the_gauges_own_gain_cancels_in_coulombs():
    """With a learned full charge, N is full charge over charge, and its interval is narrower."""
    nominal_mv = 54_000 / (3950 * 3.6) * 1000
    energy = energy_estimate(gauge_charge_uah=260.0, gauge_voltage_mv=nominal_mv)

    coulombs = estimate_charge(energy, PROFILE, 3_900_000)
    joules = estimate_charge(energy, PROFILE)

    assert (coulombs.method, joules.method) == ("coulombs", "energy")
    assert coulombs.inferences == pytest.approx(3_900_000 / 260)

    def width(charge):
        return (charge.inferences_interval.high - charge.inferences) / charge.inferences

    assert width(coulombs) < 0.6 * width(joules)


def test_a_learned_charge_needs_a_charge_per_inference():
    """An energy counter counts no coulombs: the profile's energy serves, and says so."""
    energy = energy_estimate(source="energy_counter", gauge_charge_uah=None, gauge_voltage_mv=None)

    charge = estimate_charge(energy, PROFILE, 3_900_000)

    assert charge.method == "energy"
    assert charge.inferences == pytest.approx(54_000 / 3.65)


def test_rails_do_not_empty_a_battery():
    """What the rails meter is not what the battery pays: no inferences per charge."""
    assert estimate_charge(energy_estimate(source="power_rails", plane="rails"), PROFILE) is None


def test_a_charge_is_expanded_as_a_whole():
    """Scatter of few degrees beside a battery of unknown age: one sum of squares, its degrees those
    of Welch and Satterthwaite, and not Student's t for the one term and 1.96 for the other."""
    scatter = UncertaintyTerm(
        name="blocks", gross_j=0.2, marginal_j=0.2, gross_freedom=4, marginal_freedom=4, note=""
    )
    half_j = 2.776 * 0.2
    energy = energy_estimate(
        gross_interval_j=Interval(low=3.65 - half_j, high=3.65 + half_j), budget=(scatter,)
    )

    charge = estimate_charge(energy, PROFILE)

    half_width = 1 - charge.inferences_interval.low / charge.inferences
    combined = ((0.2 / 3.65) ** 2 + 0.075**2) ** 0.5
    freedom = 4 * (combined / (0.2 / 3.65)) ** 4
    assert half_width == pytest.approx(float(stdtrit(freedom, 0.975)) * combined)
    assert half_width < 0.95 * ((half_j / 3.65) ** 2 + (1.96 * 0.075) ** 2) ** 0.5


def test_a_charge_of_few_blocks_is_their_range():
    """From the dearest block to the cheapest, widened by gain and battery together."""
    energy = energy_estimate(
        gross_interval_j=Interval(low=3.3 - 1.96 * 0.11, high=3.9 + 1.96 * 0.11),
        interval_kind="block_range",
        blocks=3,
    )

    charge = estimate_charge(energy, PROFILE)

    shared = 1.96 * ((0.11 / 3.65) ** 2 + 0.075**2) ** 0.5
    low, high = charge.inferences_interval.low, charge.inferences_interval.high
    assert charge.interval_kind == "block_range"
    assert low == pytest.approx(charge.inferences * (1 - 0.25 / 3.65 - shared))
    assert high == pytest.approx(charge.inferences * (1 + 0.35 / 3.65 + shared))


def ran(id, blocks, *, planned=None, device="nexus7", **fields):
    """A virtual phone's energy run, which may have ended before all planned blocks."""
    plan = energy_plan(blocks=blocks, idle_ns=30 * 10**9, load_ns=30 * 10**9)
    return measured(
        id,
        device=device_info(name=device, virtual=True),
        virtual=True,
        request=run_request(energy=energy_plan(blocks=planned or blocks)),
        windows=tuple(work(plan)[0]),
        **fields,
    )


def test_life_is_told_from_no_pilot():
    """The newest that was meant to tell energy; nothing where there are pilots only."""
    pilot, whole = ran("pilot", 2, purpose="pilot"), ran("whole", 5)
    without_energy = measured("deployed")

    assert choose_life_basis([[without_energy, pilot, whole]]).measurement.id == "whole"
    assert choose_life_basis([[without_energy, pilot]]) is None


def test_life_says_of_which_device_it_is():
    """The newest, with the others named; a name, a key or a serial chooses."""
    stored = [
        [ran("older", 5, started_at="2026-05-02T00:00:00+00:00")],
        [
            ran("new", 5, device="nexus5", started_at="2026-05-03T00:00:00+00:00"),
            ran("oldest", 5, device="nexus5", started_at="2026-05-01T00:00:00+00:00"),
        ],
    ]

    newest, chosen = choose_life_basis(stored), choose_life_basis(stored, "nexus7")

    assert (newest.measurement.id, newest.other_devices) == ("new", ("virtual:nexus7",))
    assert (chosen.measurement.id, chosen.other_devices) == ("older", ("virtual:nexus5",))
    assert choose_life_basis(stored, "virtual:nexus7") == chosen
    assert choose_life_basis(stored, "pixel8") is None
    assert "measured on virtual:nexus7 too" in life_text(newest)


def test_life_is_of_the_network_as_it_is_asked_for():
    """One that a file changes is another one, whichever was measured last; a backend is not told
    with it, and each precision without a file is the network."""
    cut = Variant(compression=Compression(ranks=(LayerRank(layer="0", rank=3),)))
    stored = [
        [
            ran("cut-int8", 5, artifact=artifact(replace(cut, precision="int8"))),
            ran("cut-vulkan", 5, artifact=artifact(replace(cut, backend="vulkan"))),
            ran("int8", 5, artifact=artifact(Variant(precision="int8"))),
            ran("whole", 5),
        ]
    ]

    assert choose_life_basis(stored).measurement.id == "int8"
    assert choose_life_basis(stored, variant=cut).measurement.id == "cut-vulkan"
    assert choose_life_basis([stored[0][:2]]) is None


def life_text(basis):
    life = estimate_life(basis.energy, basis.charge, every_s=10, idle_w=0.05)
    return render_life(make_life_document(basis, life, idle_measured=False))


def test_life_from_a_range_says_so():
    """A run that ended after three of its five blocks."""
    short, whole = (
        life_text(choose_life_basis([[ran("run", blocks, planned=5)]])) for blocks in (3, 5)
    )

    assert short.count("from a range") == 2
    assert "range of 3 blocks" in short
    assert "range" not in whole
