"""Latencies from one's own runs: factors of engines and precisions, other phones, no known chip."""

import math
from pathlib import Path

import pytest
from msgspec.structs import replace

import mobilekit
from mobilekit.analysis.predict.chips import parse_chip
from mobilekit.analysis.predict.own import OwnLatency, OwnPhone, Wanted, predict_with_own
from mobilekit.flow.shipped import load_predictor
from mobilekit.model.layer_table import read_layer_table
from mobilekit.phone.chips import load_cores
from mobilekit.records.prediction import Setting

CHIP = parse_chip("1xA76@2.96,3xA76@2.42,4xA55@1.8", load_cores(), dram_gbps=34.1)
PHONE, OTHER = OwnPhone("mine", CHIP, 4), OwnPhone("other", CHIP, 4)
FLOAT = Setting(format="pte", precision="fp32")
EIGHT_BITS = Setting(format="pte", precision="int8")
NETWORKS = {
    network.name: network
    for network in read_layer_table(Path(mobilekit.__file__).parent / "prediction/ncnn/layers.csv")
}
MEASURED = ("squeezenet", "mobilenet", "resnet18")
ASKED = [NETWORKS["googlenet"], NETWORKS["mobilenet_v2"]]


@pytest.fixture(scope="module")
def predictor():
    return load_predictor()


@pytest.fixture(scope="module")
def usual_ms(predictor):
    """What the shipped model tells of this chip, by network."""
    told = predictor.predict(list(NETWORKS.values()), CHIP, 4)
    return {each.network: each.latency_ms for each in told}


def runs(usual_ms, phone, setting, factor, names=MEASURED):
    """Networks that take so many times what is usual."""
    return [OwnLatency(phone, setting, NETWORKS[name], usual_ms[name] * factor) for name in names]


def ratios(predictions, usual_ms):
    return [each.latency_ms / usual_ms[each.network] for each in predictions]


def half_widths(predictions):
    return [math.log(each.high_ms / each.low_ms) / 2 for each in predictions]


def test_an_engine_that_is_slower_is_slower_for_every_network(predictor, usual_ms):
    own = runs(usual_ms, PHONE, FLOAT, 2)

    told = predict_with_own(predictor, ASKED, Wanted(PHONE, FLOAT), own)

    assert ratios(told, usual_ms) == pytest.approx([2, 2], rel=0.06)
    assert [each.known for each in told] == [3, 3]


def test_each_run_makes_the_interval_narrower(predictor, usual_ms):
    own = runs(usual_ms, PHONE, FLOAT, 2)

    one, three = (
        predict_with_own(predictor, ASKED, Wanted(PHONE, FLOAT), own[:count]) for count in (1, 3)
    )
    assert all(b < a for a, b in zip(half_widths(one), half_widths(three), strict=True))


def test_what_goes_beyond_the_fitted_networks_does_so_from_own_runs_too(predictor, usual_ms):
    """Until the network itself was measured, on whatever phone."""
    own = runs(usual_ms, PHONE, FLOAT, 2)
    resnet = NETWORKS["resnet18"]
    more = [
        replace(layer, macs=layer.macs * 2) if layer.kind == "conv" else layer
        for layer in resnet.layers
    ]
    mine = replace(resnet, name="mine", layers=tuple(more))

    (unknown,) = predict_with_own(predictor, [mine], Wanted(PHONE, FLOAT), own)
    measured = OwnLatency(OTHER, FLOAT, mine, 2 * unknown.latency_ms)
    every = [*own, measured]
    seen, *others = predict_with_own(predictor, [mine, *ASKED], Wanted(PHONE, FLOAT), every)

    assert unknown.extrapolation.widening > 1.1
    assert seen.extrapolation is None
    assert seen.latency_ms > 1.2 * unknown.latency_ms
    without = predict_with_own(predictor, ASKED, Wanted(PHONE, FLOAT), own)
    assert [each.known for each in others] == [each.known for each in without]
    for name in ("latency_ms", "low_ms", "high_ms"):
        expected = pytest.approx([getattr(each, name) for each in without])
        assert [getattr(each, name) for each in others] == expected


def test_a_precision_that_was_not_measured_anywhere_is_refused(predictor, usual_ms):
    own = runs(usual_ms, PHONE, FLOAT, 2)

    told = predict_with_own(predictor, ASKED, Wanted(PHONE, EIGHT_BITS), own)

    assert [each.latency_ms for each in told] == [None, None]
    assert "nothing was measured yet with ExecuTorch, int8" in told[0].reasons[0]


def test_a_precision_is_learned_where_the_same_network_ran_in_both(predictor, usual_ms):
    """One network in int8 tells the factor of the others on that phone; on another phone it is
    told less surely."""
    pairs = [
        *runs(usual_ms, OTHER, FLOAT, 2),
        *runs(usual_ms, OTHER, EIGHT_BITS, 1, ("squeezenet",)),
    ]
    here = predict_with_own(predictor, ASKED, Wanted(OTHER, EIGHT_BITS), pairs)
    elsewhere = predict_with_own(
        predictor, ASKED, Wanted(PHONE, EIGHT_BITS), [*pairs, *runs(usual_ms, PHONE, FLOAT, 2)]
    )

    assert ratios(here, usual_ms) == pytest.approx([1, 1], rel=0.1)
    assert ratios(elsewhere, usual_ms) == pytest.approx([1, 1], rel=0.15)
    assert all(
        wider > 1.1 * narrow
        for wider, narrow in zip(half_widths(elsewhere), half_widths(here), strict=True)
    )
    assert [each.known for each in (*here, *elsewhere)] == [1, 1, 0, 0]


def test_other_threads_of_the_phone_tell_these(predictor, usual_ms):
    """Runs with four threads make what is told of one thread surer than the chip alone does."""
    alone = OwnPhone("mine", CHIP, 1)
    by_chip = predictor.predict(ASKED, CHIP, 1)
    own = runs(usual_ms, PHONE, FLOAT, 2)

    told = predict_with_own(predictor, ASKED, Wanted(alone, FLOAT), own)

    expected = [2 * each.latency_ms for each in by_chip]
    assert [each.latency_ms for each in told] == pytest.approx(expected, rel=0.15)
    assert [each.known for each in told] == [0, 0]


def test_a_phone_whose_chip_is_not_known_is_told_from_its_own_runs_alone(predictor, usual_ms):
    """However fast it is: nothing else tells that."""
    unknown = OwnPhone("pc", None, 4)
    own = runs(usual_ms, unknown, FLOAT, 1 / 30)
    other = runs(usual_ms, OwnPhone("another", None, 4), FLOAT, 1)

    told = predict_with_own(predictor, ASKED, Wanted(unknown, FLOAT), own)
    refused = predict_with_own(predictor, ASKED, Wanted(unknown, FLOAT), other)

    assert ratios(told, usual_ms) == pytest.approx([1 / 30, 1 / 30], rel=0.15)
    assert [each.latency_ms for each in refused] == [None, None]
    assert "the sd of its log time would be 2." in refused[0].reasons[0]
    assert "measure one network on the phone" in refused[0].reasons[0]


def test_widths_follow_what_earlier_predictions_ask_for(predictor, usual_ms):
    own = runs(usual_ms, PHONE, FLOAT, 2)

    plain, wider = (
        predict_with_own(predictor, ASKED, Wanted(PHONE, FLOAT), own, widening=widening)
        for widening in (lambda known: 1.0, lambda known: {3: 1.5}[known])
    )
    assert half_widths(wider) == pytest.approx([1.5 * each for each in half_widths(plain)])
