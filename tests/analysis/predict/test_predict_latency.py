"""Latency of networks on chips that are not here: the process, its shipped model, its refusals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mobilekit.analysis.predict.chips import FEATURES, features_of, parse_chip
from mobilekit.analysis.predict.costs import COSTS, are_same, costs_of
from mobilekit.analysis.predict.latency import Predictor, pack_whitener
from mobilekit.analysis.predict.posterior import Posterior, condition, whiten
from mobilekit.errors import MobilekitError, UsageError
from mobilekit.flow.shipped import load_predictor
from mobilekit.model.layer_table import read_layer_table
from mobilekit.phone.chips import load_cores
from mobilekit.records.prediction import KnownLatency, LayerWork

CORES = load_cores()
LAYERS = "mobilekit/prediction/ncnn/layers.csv"
SNAPDRAGON_855 = "1xA76@2.96,3xA76@2.42,4xA55@1.8"


@pytest.fixture(scope="module")
def predictor():
    return load_predictor()


@pytest.fixture(scope="module")
def networks(request):
    return read_layer_table(request.config.rootpath / LAYERS)


def without_soc(predictor, soc):
    """The shipped model, with nothing that was measured on one SoC."""
    model = predictor.model
    left = {index for index, phone in enumerate(model.phones) if phone.soc == soc}
    assert left
    return Predictor(
        replace(model, measured=tuple(row for row in model.measured if row[0] not in left))
    )


def truth_of(predictor, soc, threads):
    """What the networks took there, in ms, by name."""
    model = predictor.model
    return {
        model.networks[network].name: ms
        for phone, network, ms in model.measured
        if (model.phones[phone].soc, model.phones[phone].threads) == (soc, threads)
    }


# --- chips and costs ---------------------------------------------------------------------------


def test_a_network_that_costs_a_little_more_is_another(predictor):
    """What was measured of a network is not told of one that is alike; its counts may be rounded
    otherwise."""
    fitted = np.array([network.costs for network in predictor.model.networks])
    unit_ms = np.array(predictor.model.unit_ms)

    for index, costs in enumerate(fitted):
        assert are_same(costs * 1.0005, fitted, unit_ms).nonzero()[0].tolist() == [index]
        assert not are_same(costs * 1.01, fitted, unit_ms).any()


def test_a_chips_features_are_those_of_the_cores_that_are_used():
    """Worked out by hand for four threads: the fast core, and three that are slower."""
    chip = parse_chip(SNAPDRAGON_855, CORES, dram_gbps=34.1)
    features = dict(zip(FEATURES, features_of(chip, 4), strict=True))

    total = 8 * (2.96 + 3 * 2.42)
    assert features["log_ghz"] == pytest.approx(math.log(2.96))
    assert features["log_scaling"] == pytest.approx(math.log(total / (8 * 2.96)))
    assert features["log_rate"] == pytest.approx(math.log(total))
    assert features["unevenness"] == pytest.approx(math.log(total / 4 / (8 * 2.42)))
    assert features["little_share"] == 0
    assert features["log_chip_rate"] == pytest.approx(math.log(total + 4 * 4 * 1.8))


def test_cores_may_be_listed_in_any_order():
    """The fastest come first by what they compute."""
    listed = features_of(parse_chip("4xA55@1.8,4xA76@2.4", CORES, dram_gbps=30), 4)

    assert listed == pytest.approx(
        features_of(parse_chip("4xA76@2.4,4xA55@1.8", CORES, dram_gbps=30), 4)
    )


@given(st.text(alphabet="0123456789xX@.,-+ A76e\x00GHznai", max_size=24))
def test_a_chips_description_is_read_or_refused(text):
    """Whatever is written, no number leaves the range that a chip has."""
    try:
        chip = parse_chip(text, CORES)
    except MobilekitError:
        return
    assert all(0.1 <= each.clock_ghz <= 10 and each.cores >= 1 for each in chip.clusters)
    assert parse_chip(chip.text, CORES).cores == chip.cores <= 128


@pytest.mark.parametrize("threads", [0, -1, 9])
def test_threads_that_do_not_fit_the_cores_are_refused(threads):
    with pytest.raises(UsageError, match="do not fit 8 cores"):
        features_of(parse_chip(SNAPDRAGON_855, CORES), threads)


def test_costs_are_counted_by_kind():
    """A convolution, a pooling of 3x3 and a fully connected layer."""
    layers = [
        LayerWork(
            name=kind,
            type=type_,
            kind=kind,
            macs=macs,
            weights=weights,
            input_elements=100,
            output_elements=10,
            kernel=3,
        )
        for kind, type_, macs, weights in (
            ("c3s1", "Convolution", 5000, 90),
            ("pool", "Pooling", 0, 0),
            ("fc", "InnerProduct", 700, 700),
        )
    ]

    costs = dict(zip(COSTS, costs_of(layers), strict=True))
    assert {name: cost for name, cost in costs.items() if cost} == {
        "c3s1_macs": 5000,
        "fc_weights": 700,
        "elements": 330,
        "layers": 3,
        "window_operations": 90,
    }


# --- the process -------------------------------------------------------------------------------


def random_covariance(size, seed):
    half = np.random.default_rng(seed).normal(size=(size, size))
    return half @ half.T + size * np.eye(size)


def test_what_is_whitened_is_independent():
    covariance = random_covariance(150, 0)

    whitener = whiten(covariance, 0.5)

    assert (np.tril(whitener) == whitener).all()
    noisy = covariance + 0.25 * np.eye(150)
    assert whitener @ noisy @ whitener.T == pytest.approx(np.eye(150), abs=1e-9)


def test_conditioning_in_two_steps_is_conditioning_on_both():
    """Other phones first and this phone's own afterwards give what both at once do."""
    everything = random_covariance(7, 2) / 10
    values = np.random.default_rng(3).normal(size=5)
    noise = 0.3
    others, own, asked = [0, 1, 2], [3, 4], [5, 6]
    here = own + asked

    step = condition(
        whiten(everything[np.ix_(others, others)], noise),
        everything[np.ix_(others, here)],
        everything[np.ix_(here, here)],
        values[:3],
    ).given(np.array([0, 1]), values[3:], noise)

    measured = everything[np.ix_(others + own, others + own)] + noise**2 * np.eye(5)
    gain = everything[np.ix_(asked, others + own)] @ np.linalg.inv(measured)
    assert step.mean[2:] == pytest.approx(gain @ values)
    assert step.covariance[2:, 2:] == pytest.approx(
        everything[np.ix_(asked, asked)] - gain @ everything[np.ix_(others + own, asked)]
    )


def test_nothing_known_changes_nothing():
    posterior = Posterior(np.zeros(2), np.eye(2))

    assert posterior.given(np.array([], dtype=int), np.array([]), 0.1) is posterior


# --- the shipped model -------------------------------------------------------------------------


def test_what_ships_beside_the_model_is_what_the_model_gives(predictor, request):
    place = request.config.rootpath / "mobilekit/prediction/latency_whitener.npy"
    shipped = np.load(place)

    assert np.abs(shipped - pack_whitener(predictor.model)).max() < 1e-4


def test_a_chip_that_was_held_back_is_predicted(predictor, networks):
    """Snapdragon 810, one thread: SqueezeNet known halves the median error at least."""
    held_back = without_soc(predictor, "MSM8994")
    truth = truth_of(predictor, "MSM8994", 1)
    chip = parse_chip("4xA57@2.0,4xA53@1.55", CORES, dram_gbps=25.6)

    def errors(*known):
        told = held_back.predict(
            networks,
            chip,
            1,
            [KnownLatency(network=name, latency_ms=truth[name]) for name in known],
        )
        assert all(each.low_ms < each.latency_ms < each.high_ms for each in told)
        assert {each.known for each in told} == {len(known)}
        return {
            each.network: abs(each.latency_ms / truth[each.network] - 1)
            for each in told
            if each.network not in known
        }

    assert np.median(list(errors().values())) < 0.35
    assert np.median(list(errors("squeezenet").values())) < 0.08
    five = errors("mobilenet", "mobilenet_v2", "shufflenet", "resnet18", "vgg16")
    assert np.median(list(five.values())) < 0.07


def test_intervals_narrow_with_what_is_known(predictor, networks):
    """From the chip alone, with one network, with five."""
    chip = parse_chip(SNAPDRAGON_855, CORES)
    typical = {each.network: each.latency_ms for each in predictor.predict(networks, chip, 4)}
    order = ["squeezenet", "mobilenet", "resnet18", "vgg16", "shufflenet"]

    widths = []
    for count in (0, 1, 5):
        known = [KnownLatency(network=name, latency_ms=typical[name]) for name in order[:count]]
        told = predictor.predict(networks, chip, 4, known)
        googlenet = next(each for each in told if each.network == "googlenet")
        widths.append(math.log(googlenet.high_ms / googlenet.low_ms))

    assert widths[0] > 2 * widths[1] > 2 * widths[2]


def test_a_network_is_known_by_its_layers_and_not_by_its_name(predictor, networks):
    """Another name changes nothing; another network of that name was never measured."""
    chip = parse_chip(SNAPDRAGON_855, CORES)
    vgg, squeeze = (
        next(each for each in networks if each.name == name) for name in ("vgg16", "squeezenet")
    )
    shorter = replace(squeeze, layers=squeeze.layers[:-8])

    same, renamed, impostor = predictor.predict(
        [squeeze, replace(squeeze, name="mine"), replace(shorter, name="vgg16")], chip, 4
    )
    assert (same.latency_ms, same.seen) == (pytest.approx(renamed.latency_ms), True)
    assert impostor.seen is False
    assert impostor.latency_ms < predictor.predict([vgg], chip, 4)[0].latency_ms / 5


def test_what_is_not_told_of_the_memory_makes_the_interval_no_narrower(predictor, networks):
    """It is then taken to be as fast as a chip like it has."""
    usual = math.exp(
        predictor.model.scales.dram_slope
        * features_of(parse_chip(SNAPDRAGON_855, CORES), 4)[FEATURES.index("log_chip_rate")]
        + predictor.model.scales.dram_intercept
    )
    told, untold = (
        predictor.predict(networks[:1], parse_chip(SNAPDRAGON_855, CORES, dram_gbps=gbps), 4)[0]
        for gbps in (usual, None)
    )

    assert told.latency_ms == pytest.approx(untold.latency_ms)
    assert untold.high_ms / untold.low_ms > told.high_ms / told.low_ms


def test_an_intervals_width_is_that_of_as_many_known_networks(predictor):
    """Of the most that are not more than were known, and of networks seen or not."""
    by_known = {(each.known, each.seen): each.factor for each in predictor.model.factors}

    assert len(set(by_known.values())) > 4
    for seen in (True, False):
        assert predictor.factor(0, seen=seen) == by_known[0, seen]
        assert predictor.factor(2, seen=seen) == by_known[1, seen]
        assert predictor.factor(4, seen=seen) == by_known[3, seen]
        assert predictor.factor(17, seen=seen) == by_known[5, seen]


@pytest.mark.parametrize(
    ("slower", "faster"),
    [
        ("4xA53@1.2", "4xA53@2.0"),
        ("2xA72@1.8,4xA53@1.4", "4xA72@1.8,4xA53@1.4"),
        ("4xA53@1.5", "4xA55@1.5"),
        ("4xA73@2.2", "4xA76@2.2"),
    ],
)
def test_a_faster_chip_is_predicted_to_be_faster(predictor, networks, slower, faster):
    """By its clock, its cores, fp16 arithmetic, and what a core does in a cycle."""
    for less, more in zip(
        *(predictor.predict(networks, parse_chip(chip, CORES), 4) for chip in (faster, slower)),
        strict=True,
    ):
        assert less.latency_ms < more.latency_ms


# --- beyond what was fitted ---------------------------------------------------------------------


def with_share(predictor, networks, cost, share):
    """ResNet-18 with so many convolutions of one ``WorkKind`` that they take this share of its
    time on the reference device."""
    network = next(each for each in networks if each.name == "resnet18")
    unit_ms = np.array(predictor.model.unit_ms)
    index = COSTS.index(f"{cost}_macs")
    left = [layer for layer in network.layers if layer.kind != cost]
    own_ms = costs_of(left) @ unit_ms * share / (1 - share)
    added = LayerWork(
        name="added",
        type="ConvolutionDepthWise" if cost in {"group", "dw"} else "Convolution",
        kind=cost,
        macs=round(own_ms / unit_ms[index]),
        weights=0,
        input_elements=0,
        output_elements=0,
        kernel=5,
    )
    return replace(network, name=f"{share:.0%}", layers=(*left, added))


def told_with_shares(predictor, networks, cost, *factors):
    """Each with the largest fitted share times a factor."""
    most = predictor.model.range.largest_share[COSTS.index(f"{cost}_macs")]
    asked = [with_share(predictor, networks, cost, most * factor) for factor in factors]
    return predictor.predict(asked, parse_chip(SNAPDRAGON_855, CORES), 4)


def test_more_of_one_kind_of_work_is_told_with_a_wider_interval(predictor, networks):
    """By the power that was fitted of how many times as much it is."""
    within, further, furthest = told_with_shares(predictor, networks, "conv", 0.9, 1.3, 1.69)

    assert within.extrapolation is None
    for told, factor in ((further, 1.3), (furthest, 1.69)):
        assert told.extrapolation.work.startswith("dense convolutions other than")
        assert told.extrapolation.share / told.extrapolation.fitted_share == pytest.approx(
            factor, rel=0.001
        )
        assert told.extrapolation.widening == pytest.approx(
            factor**predictor.model.widening_power, rel=0.001
        )
        assert told.low_ms < told.latency_ms < told.high_ms
    assert 1.05 < further.extrapolation.widening < furthest.extrapolation.widening < 1.7


def test_the_widening_is_of_the_intervals_width(predictor, networks):
    """Of its logarithm's, about the same median, and only where the network was never measured."""
    costs = costs_of(with_share(predictor, networks, "conv", 0.65).layers)

    extrapolated, measured = (
        predictor.tell("x", 3.0, 0.04, costs, known=0, seen=seen) for seen in (False, True)
    )

    assert measured.extrapolation is None
    assert extrapolated.latency_ms == measured.latency_ms
    factors = predictor.factor(0, seen=False) / predictor.factor(0, seen=True)
    assert math.log(extrapolated.high_ms / extrapolated.latency_ms) == pytest.approx(
        math.log(measured.high_ms / measured.latency_ms)
        * factors
        * extrapolated.extrapolation.widening
    )


@pytest.mark.parametrize(
    ("cost", "factor"), [("conv", 1.72), ("conv", 2.1), ("group", 1.3), ("dw", 1.5), ("dw", 5.0)]
)
def test_too_much_of_one_kind_of_work_is_refused(predictor, networks, cost, factor):
    """Beyond what networks that were held back tell, which is less far for kinds that few of them
    had much of."""
    (told,) = told_with_shares(predictor, networks, cost, factor)

    assert told.latency_ms is None
    assert f"{told.network} of its time on the reference phone goes into" in told.reasons[0]


def test_a_little_more_of_little_is_not_extrapolated(predictor, networks):
    """Depthwise convolutions, of which no network has much: four points more."""
    most = predictor.model.range.largest_share[COSTS.index("dw_macs")]

    (told,) = told_with_shares(predictor, networks, "dw", (most + 0.04) / most)

    assert told.latency_ms is not None
    assert told.extrapolation is None


def test_a_network_that_is_known_on_the_phone_is_not_extrapolated(predictor, networks):
    asked = [with_share(predictor, networks, "conv", 0.65), networks[0]]
    chip = parse_chip(SNAPDRAGON_855, CORES)
    usual = predictor.predict(asked, chip, 4)[0]

    known = KnownLatency(network=usual.network, latency_ms=usual.latency_ms)
    told = predictor.predict(asked, chip, 4, [known])[0]

    assert usual.extrapolation is not None
    assert told.extrapolation is None
    assert told.latency_ms == pytest.approx(usual.latency_ms)


@pytest.mark.parametrize("factor", [1 / 1.45, 100])
def test_an_extrapolated_network_tells_nothing_of_others(predictor, networks, factor):
    """Beside known ones that do; an absurd latency of it refuses it alone."""
    chip = parse_chip(SNAPDRAGON_855, CORES)
    beyond = with_share(predictor, networks, "conv", 0.65)
    asked = [beyond, *networks]
    told = [each for each in predictor.predict(asked, chip, 4) if each.latency_ms is not None]
    assert [predictor.is_within_fitted(each) for each in asked[:2]] == [False, True]
    assert [predictor.can_extrapolate(each) for each in asked[:2]] == [True, False]
    known = [KnownLatency(network=networks[0].name, latency_ms=told[1].latency_ms * 1.2)]
    of_beyond = KnownLatency(network=beyond.name, latency_ms=told[0].latency_ms * factor)

    itself, *others = predictor.predict(asked, chip, 4, [of_beyond, *known])

    assert others == list(predictor.predict(asked, chip, 4, known))[1:]
    if factor < 1:
        assert (itself.known, itself.extrapolation) == (2, None)
        assert itself.latency_ms == pytest.approx(of_beyond.latency_ms, rel=0.1)
    else:
        assert "check the chip" in itself.reasons[0]


def test_what_was_held_back_from_the_fit_is_within_the_goals(predictor):
    """The errors that are shipped with the model, and told to whoever asks it."""
    goals = {
        (0, True, False): 30,
        (1, True, False): 8,
        (3, True, False): 6.5,
        (5, True, False): 6,
        (5, False, False): 14,
        (0, False, True): 37,
        (1, False, True): 17,
        (3, False, True): 17,
        (5, False, True): 17,
    }

    for (known, seen, extrapolated), most in goals.items():
        past = predictor.past_error(known, seen=seen, extrapolated=extrapolated)
        assert (past.known, past.seen, past.extrapolated) == (known, seen, extrapolated)
        assert past.median_ape_percent <= most
        assert 0.85 <= past.coverage <= 0.95
