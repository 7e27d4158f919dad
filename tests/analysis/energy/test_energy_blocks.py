import msgspec
import numpy as np
import pytest
from examples import gauge_gain
from simulated import PROFILE, work

from mobilekit.analysis.answer import derive_answer
from mobilekit.analysis.energy.estimate import estimate_energy, explain_refusal
from mobilekit.analysis.energy.planning import plan_energy
from mobilekit.analysis.energy.stretches import find_stretches
from mobilekit.contract.protocol import PROTOCOL_VERSION, RunSuccess
from mobilekit.virtual.battery import gauge_named

PLAN = plan_energy(PROFILE, blocks=8, target_error=0.05).plan


def plugged(window):
    samples = (
        *window.battery[:-1],
        msgspec.structs.replace(window.battery[-1], plugged=True),
    )
    return msgspec.structs.replace(window, battery=samples)


def later(window, ns):
    """The same window at another time."""
    return msgspec.structs.replace(
        window,
        started_ns=window.started_ns + ns,
        ended_ns=window.ended_ns + ns,
        battery=tuple(
            msgspec.structs.replace(sample, at_ns=sample.at_ns + ns) for sample in window.battery
        ),
    )


def test_a_spoiled_block_does_not_count():
    """One plugged sample takes its block; the windows begin again, and the rest is estimated."""
    first, truth, _ = work(PLAN, seed=1)
    # Spoiled in its second load; then, after a while on the cable, windows from the start.
    pause_ns = first[3].ended_ns + 600 * 10**9
    windows = [*first[:3], plugged(first[3]), *(later(item, pause_ns) for item in first[:11])]

    energy = estimate_energy(windows, PROFILE.gauge)

    assert [len(stretch) for stretch in find_stretches(windows)] == [3, 11]
    assert energy.blocks == 6
    assert energy.spoiled_windows == 1
    assert energy.gross_interval_j.low < truth.gross_j < energy.gross_interval_j.high


@pytest.mark.parametrize(
    ("spoiled", "lengths"),
    [(0, [15]), (1, [15]), (3, [3, 13]), (4, [3, 11]), (16, [15])],
)
def test_stretches_are_whole_blocks(spoiled, lengths):
    """A spoiled window ends a stretch; the next begins with an idle window, whichever it was."""
    windows, _, _ = work(PLAN)
    windows[spoiled] = plugged(windows[spoiled])

    stretches = find_stretches(windows)

    assert [len(stretch) for stretch in stretches] == lengths
    for stretch in stretches:
        assert [window.kind for window in stretch[:2]] == ["idle", "load"]
        assert stretch[-1].kind == "idle"


def test_a_gap_in_time_begins_anew():
    """What a phone did in a minute between two windows is not known."""
    windows, _, _ = work(PLAN)
    apart = [*windows[:6], *(later(window, 60 * 10**9) for window in windows[6:])]

    assert [len(stretch) for stretch in find_stretches(apart)] == [5, 11]


def test_a_charge_between_two_stretches_does_not_matter():
    """The line through the counter is one for each stretch: what the cable gave is in none."""
    windows, truth, _ = work(PLAN, current_step_ua=1.0, unsupported=("current_now_ua",))
    charged = [*windows[:7]] + [
        later(
            msgspec.structs.replace(
                window,
                battery=tuple(
                    msgspec.structs.replace(
                        sample, charge_counter_uah=sample.charge_counter_uah + 400_000
                    )
                    for sample in window.battery
                ),
            ),
            10**12,
        )
        for window in windows[8:]
    ]

    energy = estimate_energy(charged, PROFILE.gauge)

    assert energy.source == "charge_counter"
    assert energy.blocks == 7
    assert energy.marginal_interval_j.low < truth.marginal_j < energy.marginal_interval_j.high


def test_no_whole_block_is_told_as_the_reason():
    """A run on the cable says that, and not that the gauge is bad."""
    windows, _, _ = work(PLAN)

    assert "0 complete blocks" in explain_refusal([plugged(w) for w in windows], PROFILE.gauge)
    stuck, _, _ = work(PLAN, gauge_named("zeros"))
    assert "charge counter: the counter never changes" in explain_refusal(stuck, PROFILE.gauge)


def test_few_blocks_are_a_range():
    """Three blocks: from the smallest to the largest, widened by gain and voltage, and no 95 %."""
    windows, _, _ = work(PLAN, background_relative=0.3)

    few, enough = (estimate_energy(windows[:count], PROFILE.gauge) for count in (7, 11))

    assert (few.interval_kind, enough.interval_kind) == ("block_range", "interval_95")
    common_j = 1.96 * np.hypot(0.03, 0.005) * few.marginal_j
    assert few.marginal_interval_j.high - few.marginal_j > common_j
    assert few.marginal_j - few.marginal_interval_j.low > common_j


def test_a_gain_corrects_and_narrows():
    """Against a meter that the gauge exceeded by 3 %, energies are 3 % less, to half a percent."""
    windows, _, _ = work(PLAN)

    plain = estimate_energy(windows, PROFILE.gauge)
    corrected = estimate_energy(windows, PROFILE.gauge, gain=gauge_gain())

    def width(energy):
        return energy.gross_interval_j.high - energy.gross_interval_j.low

    assert corrected.gross_j == pytest.approx(plain.gross_j / 1.03)
    assert corrected.load_w == pytest.approx(plain.load_w / 1.03)
    assert width(corrected) < 0.4 * width(plain)
    assert corrected.gauge_charge_uah == pytest.approx(plain.gauge_charge_uah)


def test_burst_and_sustained_are_told_apart():
    """A phone that slows down has two rates, each with the energy that it truly costs."""
    plan = plan_energy(PROFILE, blocks=16, target_error=0.05).plan
    windows, _, battery = work(plan, gauge_named("throttling"))

    energy = estimate_energy(windows, PROFILE.gauge)

    fast_s = sum((0.013, 0.0125, 0.014)) / 3
    assert energy.burst.seconds_per_inference == pytest.approx(fast_s, rel=0.01)
    assert energy.sustained.seconds_per_inference == pytest.approx(1.4 * fast_s, rel=0.01)
    burst_j, sustained_j = 3.38 * fast_s, (1 + 0.65 * 2.38) * 1.4 * fast_s
    for rate, true_j in ((energy.burst, burst_j), (energy.sustained, sustained_j)):
        assert rate.gross_interval_j.low < true_j < rate.gross_interval_j.high
        assert rate.blocks >= 2
    assert energy.burst.blocks + energy.sustained.blocks <= energy.blocks
    assert battery.throttled


def test_a_cool_phone_has_one_rate():
    """Nothing slows down: neither burst nor sustained."""
    energy = estimate_energy(work(PLAN)[0], PROFILE.gauge)

    assert (energy.burst, energy.sustained) == (None, None)


def test_an_answer_uses_what_was_known_of_the_gauge():
    """A stored run is judged with the verdict, the gain and the full charge stored beside it."""
    from examples import gauge_verdict, measurement, samples

    windows, _, _ = work(PLAN, gauge_named("reports-ma"))
    result = RunSuccess(
        protocol_version=PROTOCOL_VERSION, run_id="r", samples=samples(windows=tuple(windows))
    )
    known = measurement(
        result=result,
        gauge=gauge_verdict(source="current_now", current_scale=1000, current_step_ua=1000.0),
        gain=gauge_gain(),
        full_charge_uah=3_800_000,
    )

    plain, informed = derive_answer(measurement(result=result)), derive_answer(known)

    assert (plain.energy.source, informed.energy.source) == ("charge_counter", "current_now")
    assert informed.energy.gross_j == pytest.approx(plain.energy.gross_j / 1.03, rel=0.03)
    assert (plain.charge.method, informed.charge.method) == ("energy", "coulombs")
