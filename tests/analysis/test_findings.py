import sys

import msgspec
import pytest
from examples import (
    THERMAL,
    artifact,
    battery_status,
    description,
    device_info,
    energy_plan,
    gauge_verdict,
    layer,
    measurement,
    run_request,
    samples,
)

from mobilekit.analysis.energy.doubts import doubt_battery, refuse_energy
from mobilekit.analysis.findings import find_doubts, find_uncounted, foresee_doubts
from mobilekit.analysis.memory import LeastNeed
from mobilekit.contract.protocol import (
    PROTOCOL_VERSION,
    BatterySample,
    Candidate,
    MethodChoice,
    OutputCheck,
    RunSuccess,
    ThermalSample,
    Window,
)
from mobilekit.contract.samples import interrupted
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.artifact import Calibration, Delegation
from mobilekit.records.device import BatteryCapacity, DeviceState
from mobilekit.records.energy import GaugeRefusal
from mobilekit.records.measurement import Classification, PredictedClasses
from mobilekit.records.network import Variant
from mobilekit.records.prediction import MemoryPrediction, PredictedBytes

PROFILE = load_profiles()["nexus7"]
INT8 = artifact(Variant(precision="int8"), calibration=Calibration(path=None, examples=5))
MS = 1_000_000
NEED = LeastNeed(weights_bytes=1024, activation_bytes=400, layer="conv", input_bytes=112)


def doubts(
    made=None,
    device=None,
    battery=None,
    request=None,
    result=None,
    foreseen=(),
    purpose="measure",
    energy_wanted=True,
    gauge=None,
    profile=PROFILE,
    classification=None,
    **sample_fields,
):
    result = result or RunSuccess(
        protocol_version=PROTOCOL_VERSION, run_id="r", samples=samples(**sample_fields)
    )
    device = device or device_info()
    findings = find_doubts(
        measurement(
            purpose=purpose,
            artifact=made or artifact(),
            device=device,
            profile=profile,
            battery_before=battery or battery_status(),
            request=request or run_request(),
            result=result,
            findings=foreseen,
            energy_wanted=energy_wanted,
            gauge=gauge,
            classification=classification,
            virtual=device.virtual,
        )
    )
    return {finding.id: finding for finding in findings}


@pytest.mark.parametrize("own", [0.01, 0.024])
def test_a_chosen_method_is_judged_by_its_own_tolerance(own):
    """Its request has the largest of all methods', since it was written before the choice."""
    made = artifact(Variant(precision="int8"), calibration=INT8.calibration, relative_tolerance=own)
    candidate = Candidate(method="level_2", reference_outputs=made.reference_outputs)
    choice = MethodChoice(budget_ns=MS, iterations=30, candidates=(candidate,))
    asked = run_request(relative_tolerance=0.024, choice=choice)
    check = OutputCheck(matches=True, max_absolute_error=0.02, max_relative_error=0.02)

    found = doubts(made, request=asked, output_check=check)

    assert ("WRONG-OUTPUT" in found) == (own < 0.02)


def delegation(delegated_macs, portable):
    return Delegation(
        delegated_operators=10,
        portable_operators=sum(portable.values()),
        delegated_macs=delegated_macs,
        total_macs=100,
        portable_operator_counts=portable,
    )


def test_a_sound_run_has_none():
    """Trained, delegated, steady, on battery and cool: nothing to doubt."""
    assert doubts() == {}


@pytest.mark.parametrize(
    ("arguments", "expected", "severity"),
    [
        pytest.param(
            {"made": artifact(delegation=delegation(50, {"aten.elu": 3}))},
            "LOW-DELEGATION",
            "warning",
            id="little delegated",
        ),
        pytest.param(
            {"made": artifact(delegation=delegation(99, {"aten.pow": 2}))},
            "PORTABLE-OPERATORS",
            "info",
            id="something left",
        ),
        pytest.param(
            {"made": artifact(model=msgspec.structs.replace(artifact().model, weights_path=None))},
            "UNTRAINED-WEIGHTS",
            "info",
            id="untrained",
        ),
        pytest.param({"made": INT8}, "UNCALIBRATED", "warning", id="uncalibrated"),
        pytest.param(
            {
                "made": artifact(
                    Variant(precision="int8"),
                    calibration=Calibration(path="x.npy", examples=5, whole_bytes=True),
                )
            },
            "CALIBRATED-WITH-BYTES",
            "warning",
            id="calibrated with bytes",
        ),
        pytest.param(
            {"made": artifact(Variant(precision="fp16"), relative_error=0.31)},
            "LOSSY-PRECISION",
            "warning",
            id="lossy",
        ),
        pytest.param({"device": device_info(virtual=True)}, "VIRTUAL", "info", id="virtual"),
        pytest.param(
            {"battery": battery_status(plugged=True)}, "CHARGING", "info", id="on a cable"
        ),
        pytest.param(
            {"companion": msgspec.structs.replace(samples().companion, debuggable=True)},
            "DEBUGGABLE",
            "error",
            id="debuggable",
        ),
        pytest.param(
            {"thermal": (ThermalSample(at_ns=0, status=2, headroom=None, cpu_khz=()),)},
            "THROTTLED",
            "warning",
            id="throttled",
        ),
        pytest.param(
            {
                "output_check": OutputCheck(
                    matches=False, max_absolute_error=1.0, max_relative_error=0.5
                )
            },
            "WRONG-OUTPUT",
            "error",
            id="wrong output",
        ),
        pytest.param({"warmup_settled": False}, "NOT-WARM", "warning", id="not warm"),
        pytest.param({"iteration_ns": (MS,) * 10}, "FEW-ITERATIONS", "warning", id="few"),
        pytest.param(
            {"iteration_ns": (10 * MS,) * 50 + (12 * MS,) * 50}, "DRIFT", "warning", id="slower"
        ),
        pytest.param(
            {"iteration_ns": tuple(MS * (10 + index % 7) for index in range(100))},
            "NOISY",
            "warning",
            id="noisy",
        ),
        pytest.param(
            {"iteration_ns": (5 * MS, 5 * MS, 10 * MS) * 40}, "TWO-MODES", "warning", id="two modes"
        ),
        pytest.param(
            {"result": interrupted("r", [], "the phone is gone")}, "RUN-FAILED", "error", id="died"
        ),
        pytest.param(
            {"device": device_info(available_bytes=38_000_999)},
            "MEMORY-TIGHT",
            "warning",
            id="little memory",
        ),
    ],
)
def test_each_doubt_is_found(arguments, expected, severity):
    """What is wrong with a run becomes its finding, of its severity, with advice."""
    found = doubts(**arguments)

    assert found[expected].severity == severity
    assert found[expected].advice


def test_memory_that_suffices_is_no_doubt():
    """Neither what is as large as the need beforehand, nor what is as large as the growth."""
    assert foresee_doubts(NEED, None, device_info(available_bytes=NEED.total_bytes)) == ()
    assert foresee_doubts(NEED, None, device_info(available_bytes=None)) == ()
    assert doubts(device=device_info(available_bytes=38_001_000)) == {}
    assert doubts(device=device_info(available_bytes=30), memory=()) == {}


def test_what_will_not_fit_is_told_before_the_run():
    """With what it needs and what there is; afterwards it stays, and nothing is said twice."""
    device = device_info(available_bytes=NEED.total_bytes - 1)

    foreseen = foresee_doubts(NEED, None, device)
    (doubt,) = foreseen

    assert (doubt.id, doubt.severity) == ("WILL-NOT-FIT", "warning")
    assert doubt.advice
    for words in (
        "at least 1.5 KiB",
        "1.0 KiB of weights",
        "400 B of activations in conv",
        "112 B",
    ):
        assert words in doubt.summary
    assert list(doubts(device=device, foreseen=foreseen)) == ["WILL-NOT-FIT"]


def predicted(low_bytes):
    """Of a network's inferences."""
    growth = PredictedBytes(expected_bytes=4096, low_bytes=low_bytes, high_bytes=5120)
    return MemoryPrediction(
        format="pte", precision="fp32", load=None, inference=growth, peak=None, reasons=()
    )


def test_what_is_predicted_not_to_fit_is_told_too():
    """Where even the low end of its interval cannot be had; it is said to be predicted."""
    device = device_info(available_bytes=3071)

    (doubt,) = foresee_doubts(NEED, predicted(3072), device)

    assert doubt.id == "WILL-NOT-FIT"
    assert "is predicted to take 4.0 KiB [3.0 KiB, 5.0 KiB]" in doubt.summary
    assert foresee_doubts(NEED, predicted(3071), device) == ()


def test_what_is_needed_at_the_least_goes_before_what_is_predicted():
    (doubt,) = foresee_doubts(NEED, predicted(3072), device_info(available_bytes=100))

    assert "needs at least" in doubt.summary
    assert "predicted" not in doubt.summary


def test_a_refused_gauge_hides_no_other_doubt():
    """It is foreseen too, and says nothing of the memory."""
    refusal = GaugeRefusal(
        device="N7",
        run_id="c",
        measured_at="2026-05-04T10:00:00+00:00",
        reason="half is missing",
        contradictory=True,
        evidence=(),
    )

    found = doubts(device=device_info(available_bytes=30), foreseen=(refuse_energy(refusal),))

    assert set(found) == {"GAUGE-REFUSED", "MEMORY-TIGHT"}
    assert "half is missing" in found["GAUGE-REFUSED"].summary


def test_a_cable_matters_only_to_energy():
    """Who wants no energy is not told how to get it."""
    assert doubts(battery=battery_status(plugged=True), energy_wanted=False) == {}


def test_untrained_weights_say_timing_only():
    """The words that the figures of an untrained network must carry."""
    untrained = artifact(model=msgspec.structs.replace(artifact().model, weights_path=None))

    assert doubts(untrained)["UNTRAINED-WEIGHTS"].summary == "untrained weights: timing only"


def test_calibrated_int8_raises_no_doubt():
    """Examples were given."""
    given = Calibration(path="/data/examples.npy", examples=32)

    assert doubts(msgspec.structs.replace(INT8, calibration=given)) == {}


def test_errors_come_first():
    """The worst is read first."""
    result = interrupted("r", [], "gone")

    assert next(iter(doubts(result=result, device=device_info(virtual=True)))) == "RUN-FAILED"


# --- energy ------------------------------------------------------------------------------------

REQUEST = run_request(energy=energy_plan())


def windows(
    step_uah,
    idle_uah_per_s,
    load_uah_per_s,
    idle_fall_uah_per_s=0,
    current=lambda rate: -rate * 3600,
):
    """Windows of 10 s with a reading a second, of a counter that rounds down to its step."""
    made, charge, at_ns = [], 3_000_000.0, 0
    for number in range(11):
        rate = load_uah_per_s if number % 2 else idle_uah_per_s - number * idle_fall_uah_per_s
        readings = []
        for second in range(11):
            readings.append(
                BatterySample(
                    at_ns=at_ns + second * 10**9,
                    charge_counter_uah=int(charge // step_uah) * step_uah,
                    current_now_ua=None if current is None else round(current(rate)),
                    energy_counter_nwh=None,
                    voltage_mv=3800,
                    temperature_decicelsius=None,
                    level_percent=None,
                    plugged=False,
                )
            )
            charge -= rate if second < 10 else 0
        made.append(
            Window(
                kind="load" if number % 2 else "idle",
                started_ns=at_ns,
                ended_ns=at_ns + 10**10,
                iterations=100 if number % 2 else 0,
                battery=tuple(readings),
                rails=(),
                thermal=THERMAL,
            )
        )
        at_ns += 10**10
    return tuple(made)


def test_a_sound_energy_run_has_no_doubt():
    """Enough steps, agreeing current, steady idle: nothing but that the gauge is not calibrated."""
    sound = windows(10, 50, 250)

    assert set(doubts(request=REQUEST, windows=sound)) == {"GAUGE-UNCALIBRATED"}
    assert doubts(request=REQUEST, windows=sound, gauge=gauge_verdict()) == {}


@pytest.mark.parametrize(
    ("energy_windows", "expected"),
    [
        pytest.param(windows(1000, 100, 250, current=None), "FEW-STEPS", id="few steps"),
        pytest.param(windows(10**7, 50, 250, current=None), "NO-ENERGY", id="the gauge is stuck"),
        pytest.param(windows(10, 250, 250), "LOAD-LIKE-IDLE", id="no difference"),
        pytest.param(
            windows(10, 50, 250, current=lambda rate: -rate * 3.6), "CURRENT-CONTRADICTS", id="mA"
        ),
        pytest.param(
            windows(10, 50, 250, current=lambda rate: rate * 3600), "CURRENT-CONTRADICTS", id="sign"
        ),
        pytest.param(
            windows(10, 50, 250, current=lambda rate: -rate * 7200), "GAUGE-CONTRADICTS", id="twice"
        ),
    ],
)
def test_each_doubt_of_energy_is_found(energy_windows, expected):
    """What a gauge does not tell is said."""
    assert expected in doubts(request=REQUEST, windows=energy_windows)


def test_a_pilots_range_is_called_one():
    """It shows an energy, and of all doubts about energy only that this is no interval."""
    pilot = run_request(energy=energy_plan(blocks=2))

    found = doubts(
        purpose="pilot", request=pilot, windows=windows(10, 150, 250)[:5], energy_wanted=False
    )

    assert list(found) == ["FEW-BLOCKS"]
    assert "only 2 blocks" in found["FEW-BLOCKS"].summary


def test_what_a_person_set_is_said_without_an_energy_too():
    """Where nothing can be told, the setting may be why."""
    overridden = msgspec.structs.replace(gauge_verdict(), overridden=("source",))
    stuck = windows(10**7, 50, 250, current=None)

    found = doubts(request=REQUEST, windows=stuck, gauge=overridden)

    assert {"NO-ENERGY", "GAUGE-OVERRIDDEN"} <= set(found)


def test_idle_power_that_drifts_is_said():
    """When the phone's own power falls by half of the load's share, somebody else was at work."""
    falling = windows(10, 150, 250, idle_fall_uah_per_s=6)

    assert "IDLE-DRIFT" in doubts(request=REQUEST, windows=falling)


def test_a_battery_that_somebody_has_set_is_not_measured():
    """What Android says of it then is not the phone's word, its cable included."""
    found = doubts(battery=battery_status(updates_stopped=True))

    assert list(found) == ["BATTERY-SET"]
    assert "dumpsys battery reset" in found["BATTERY-SET"].advice


def battery_doubts(capacity, profile=PROFILE, **battery):
    state = DeviceState(
        info=device_info(),
        profile=profile,
        battery=battery_status(**battery),
        airplane_mode=True,
        full_charge_uah=None,
        companion_formats=None,
        capacity=capacity,
    )
    return {finding.id: finding for finding in doubt_battery(state)}


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ("known", None),
        ("unknown", "CAPACITY-UNKNOWN"),
        ("contradictory", "CAPACITY-CONTRADICTS"),
    ],
)
def test_a_capacity_that_cannot_be_believed_is_said(verdict, expected):
    """With the reason, and with what becomes of the figures."""
    uah = 4_000_000 if verdict == "known" else None
    capacity = BatteryCapacity(verdict=verdict, uah=uah, source="2 against 4", learned_uah=None)
    unknown = msgspec.structs.replace(PROFILE, battery=None)

    found = battery_doubts(capacity)
    without = battery_doubts(capacity, unknown)

    assert list(found) == list(without) == ([expected] if expected else [])
    if expected:
        assert "2 against 4" in found[expected].summary
        assert "those of the device profile" in found[expected].summary
        assert "no inferences per charge" in without[expected].summary


def test_a_counter_in_another_unit_is_said():
    """It is read as it should be, and a person sees how."""
    capacity = BatteryCapacity(verdict="known", uah=5_303_797, source="-", learned_uah=None)

    found = battery_doubts(
        capacity, level_percent=79, charge_counter_uah=4_190_000, told_counter=4190
    )

    assert list(found) == ["COUNTER-UNIT"]
    assert "in mAh: it tells 4,190 at 79 %" in found["COUNTER-UNIT"].summary


def test_a_refusal_is_passed_on():
    """Why the companion measured no energy reaches the reader."""
    found = doubts(request=REQUEST, energy_refusal="the phone is plugged in")

    assert "plugged in" in found["ENERGY-REFUSED"].summary


def classification(*, matches, relative_error):
    """Two examples, of which the device tells one differently."""
    return Classification(
        classes=3,
        device=PredictedClasses(classes=(0, 1), label_ranks=(0, 1)),
        pytorch=PredictedClasses(classes=(0, 2), label_ranks=(0, 0)),
        agreement=OutputCheck(
            matches=matches, max_absolute_error=relative_error, max_relative_error=relative_error
        ),
    )


def test_examples_that_differ_are_an_error():
    """By how much, and for how many the class is another; within the tolerance nothing is said."""
    finding = doubts(classification=classification(matches=False, relative_error=0.25))

    assert finding["EXAMPLES-DIFFER"].severity == "error"
    assert "0.25 of the largest value" in finding["EXAMPLES-DIFFER"].summary
    assert "another for 1 of 2" in finding["EXAMPLES-DIFFER"].summary
    assert doubts(classification=classification(matches=True, relative_error=1e-4)) == {}


def test_examples_without_finite_outputs_say_so():
    """The largest double stands for what JSON cannot say, and is not shown to people."""
    made = classification(matches=False, relative_error=sys.float_info.max)

    assert "not all finite numbers" in doubts(classification=made)["EXAMPLES-DIFFER"].summary


@pytest.mark.parametrize("kind", ["convolution", "feed-forward", "attention", "recurrent", "other"])
def test_a_layer_with_parameters_and_without_macs_is_told(kind):
    """Its products are not in the count, nor in the share that is delegated."""
    layers = (layer("fine", macs=9), layer("odd", kind, macs=0, parameters=7))

    (doubt,) = find_uncounted(description(*layers))

    assert (doubt.id, doubt.severity) == ("UNCOUNTED-MACS", "warning")
    assert "for odd, which" in doubt.summary


def test_parameters_that_are_no_factors_of_products_are_not_told():
    """Those of a normalization scale, those of an embedding are looked up, and a second layer of
    shared ones has none."""
    layers = (
        layer("norm", "normalization", macs=0, parameters=7),
        layer("embedding", "embedding", macs=0, parameters=7),
        layer("pool", "pooling", macs=0, parameters=0),
        layer("conv", macs=5, parameters=7),
    )

    assert find_uncounted(description(*layers)) == ()
