import math

import msgspec
import numpy as np
import pytest
from examples import (
    MS,
    artifact,
    device_info,
    measured,
    measurement,
    run_request,
    samples,
    traced_run,
)

from mobilekit.analysis.compare.comparison import compare
from mobilekit.analysis.compare.figures import MIN_COUNT_FOR_INTERVAL, ratio_of
from mobilekit.analysis.compare.records import Quantity
from mobilekit.analysis.findings import find_doubts
from mobilekit.analysis.stats import bootstrap_median_interval
from mobilekit.contract.protocol import ArtifactFile, MemorySample, SegmentLatency
from mobilekit.contract.samples import interrupted
from mobilekit.records.artifact import Cut, SegmentArtifact
from mobilekit.records.finding import Finding
from mobilekit.records.statistics import Interval


def changed(record, **fields):
    return msgspec.structs.replace(record, **fields)


def figures_of(comparison):
    return {figure.name: figure for figure in comparison.figures}


def quantity(value, low=None, high=None):
    return Quantity(value=value, interval=low and Interval(low=low, high=high))


# --- the ratio ---------------------------------------------------------------------------------


def test_the_ratio_of_known_quantities():
    """By hand: of 8 [6, 10] over 2 [1.6, 2.5]."""
    ratio = ratio_of(quantity(8.0, 6.0, 10.0), quantity(2.0, 1.6, 2.5))

    assert ratio.value == 4.0
    down = math.sqrt(math.log(8 / 6) ** 2 + math.log(2.5 / 2) ** 2)
    up = math.sqrt(math.log(10 / 8) ** 2 + math.log(2 / 1.6) ** 2)
    assert ratio.interval.low == pytest.approx(4 * math.exp(-down))
    assert ratio.interval.high == pytest.approx(4 * math.exp(up))


def test_an_exact_divisor_only_scales():
    """Where the second is known exactly, the interval is the first's, divided."""
    ratio = ratio_of(quantity(8.0, 6.0, 10.0), quantity(2.0, 2.0, 2.0))

    assert ratio.interval.low == pytest.approx(3.0)
    assert ratio.interval.high == pytest.approx(5.0)


def test_swapping_inverts_the_ratio():
    """Which of two is called the device does not change what is known."""
    one, other = quantity(8.0, 6.0, 10.0), quantity(3.0, 2.0, 3.5)

    ratio, inverse = ratio_of(one, other), ratio_of(other, one)

    assert inverse.value == pytest.approx(1 / ratio.value)
    assert inverse.interval.low == pytest.approx(1 / ratio.interval.high)
    assert inverse.interval.high == pytest.approx(1 / ratio.interval.low)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(None, quantity(1.0), id="nothing over something"),
        pytest.param(quantity(1.0), None, id="something over nothing"),
        pytest.param(quantity(1.0), quantity(0.0), id="over zero"),
        pytest.param(quantity(-1.0), quantity(2.0), id="of a shrinking"),
    ],
)
def test_no_ratio_without_two_positive_quantities(first, second):
    """There is none then, rather than an infinite or a negative one."""
    assert ratio_of(first, second) is None


def test_a_ratio_without_intervals_has_none():
    """A single reading has no interval, nor has one that reaches zero: nor has their ratio."""
    for second in (quantity(2.0), quantity(2.0, -1.0, 5.0)):
        ratio = ratio_of(quantity(8.0, 6.0, 10.0), second)

        assert ratio.value == 4.0
        assert ratio.interval is None


@pytest.mark.parametrize(
    ("count", "other_count", "spread"),
    [(MIN_COUNT_FOR_INTERVAL, MIN_COUNT_FOR_INTERVAL, 0.1), (100, 100, 0.05), (30, 300, 0.3)],
)
def test_the_interval_covers_the_true_ratio(count, other_count, spread):
    """Of 1,000 pairs of runs, about 95 % have the true ratio of medians within their interval."""
    random = np.random.default_rng(7)

    def median_of(true_median, size):
        values = true_median * np.exp(spread * random.standard_normal(size))
        return Quantity(value=float(np.median(values)), interval=bootstrap_median_interval(values))

    covered = 0
    for _ in range(1000):
        interval = ratio_of(median_of(13e6, count), median_of(2e6, other_count)).interval
        covered += interval.low <= 6.5 <= interval.high

    assert 0.93 <= covered / 1000 <= 0.99


# --- figures -----------------------------------------------------------------------------------


def test_every_figure_side_by_side():
    """Init, latency and memory of both, with the ratio of the first to the second."""
    slow = measured(
        iteration_ns=tuple(40 * MS + index for index in range(100)), load_ns=(200 * MS,) * 5
    )
    fast = measured(
        id="b",
        iteration_ns=tuple(10 * MS + index for index in range(100)),
        load_ns=(50 * MS,) * 5,
    )

    comparison = compare(slow, fast)

    figures = figures_of(comparison)
    assert comparison.refusals == ()
    assert list(figures) == [
        "init",
        "latency",
        "artifact",
        "load_pss",
        "inference_pss",
        "peak_rss",
    ]
    assert figures["init"].ratio.value == 4.0
    assert figures["latency"].ratio.value == pytest.approx(4.0, rel=1e-4)
    interval = figures["latency"].ratio.interval
    assert interval.low < figures["latency"].ratio.value < interval.high
    assert figures["inference_pss"].device.value == 38_000_000
    assert figures["inference_pss"].ratio.value == 1.0
    assert figures["inference_pss"].ratio.interval is None


def test_too_few_loads_have_no_interval():
    """Three loads cannot give a 95 % interval of their median; five can."""
    few, enough = measured(load_ns=(MS, 2 * MS, 3 * MS)), measured(load_ns=(MS,) * 5, id="b")

    init = figures_of(compare(few, enough))["init"]

    assert init.device.interval is None
    assert init.against.interval is not None
    assert init.ratio.interval is None


def test_pss_and_rss_are_not_divided():
    """Where one platform tells PSS and the other RSS, each stands alone."""
    rss_only = tuple(changed(sample, pss_bytes=None) for sample in samples().memory)

    figures = figures_of(compare(measured(), measured(id="b", memory=rss_only)))

    assert figures["inference_pss"].against is None
    assert figures["inference_rss"].device is None
    assert figures["inference_pss"].ratio is figures["inference_rss"].ratio is None
    assert figures["peak_rss"].ratio is not None


def test_available_memory_is_compared_where_it_is_told():
    """What the device had before the run stands beside what the run took."""
    phone = measured(device=device_info(available_bytes=1_000))

    figure = figures_of(compare(phone, measured(id="b")))["available"]

    assert figure.device.value == 1_000
    assert figure.against is None


def test_memory_that_shrank_has_no_ratio():
    """A growth below zero is shown, and not divided."""
    memory = tuple(
        MemorySample(at_ns=0, stage=stage, pss_bytes=100 - step, rss_bytes=100, peak_rss_bytes=None)
        for step, stage in enumerate(("closed", "loaded", "inferred"))
    )

    figure = figures_of(compare(measured(memory=memory), measured(id="b")))["inference_pss"]

    assert figure.device.value == -2
    assert figure.ratio is None


# --- differences -------------------------------------------------------------------------------


def with_artifact(**fields):
    return measured(id="b", artifact=artifact(**fields))


def with_model(**fields):
    return with_artifact(model=changed(artifact().model, **fields))


def with_request(**fields):
    return measured(id="b", request=run_request(**fields))


def with_companion(**fields):
    return measured(id="b", companion=changed(samples().companion, **fields))


def with_doubts(**sample_fields):
    """Its findings are those that the run itself gives rise to."""
    plain = measured(id="b", **sample_fields)
    return changed(plain, findings=find_doubts(plain))


@pytest.mark.parametrize(
    ("other", "difference", "words"),
    [
        pytest.param(
            with_model(name="alexnet", content_sha256="1" * 64), "network", "alexnet", id="network"
        ),
        pytest.param(with_model(content_sha256="1" * 64), "network", "1111", id="weights"),
        pytest.param(with_artifact(precision="fp16"), "precision", "fp16", id="precision"),
        pytest.param(
            with_request(inputs=(changed(artifact().inputs[0], sha256="e" * 64),)),
            "inputs",
            "eeee",
            id="inputs",
        ),
        pytest.param(with_request(min_iterations=30), "preset", "30 iterations", id="preset"),
        pytest.param(with_request(protocol_version=99), "protocol", "99", id="protocol"),
        pytest.param(
            measured(id="b", host=changed(measurement().host, mobilekit_version="9.9")),
            "mobilekit",
            "9.9",
            id="mobilekit",
        ),
        pytest.param(
            with_doubts(companion=changed(samples().companion, debuggable=True)),
            "unusable",
            "DEBUGGABLE",
            id="debuggable",
        ),
        pytest.param(
            with_doubts(output_check=changed(samples().output_check, matches=False)),
            "unusable",
            "WRONG-OUTPUT",
            id="wrong outputs",
        ),
        pytest.param(
            with_doubts(output_check=None), "unusable", "outputs not checked", id="not checked"
        ),
        pytest.param(
            measured(
                id="b",
                result=interrupted("r", [], "gone"),
                findings=(Finding(id="RUN-FAILED", severity="error", summary="", advice=""),),
            ),
            "unusable",
            "RUN-FAILED",
            id="failed",
        ),
        pytest.param(measured(), "run", "a", id="itself"),
    ],
)
def test_unlike_runs_are_refused(other, difference, words):
    """Either way round: no figure at all, and what differs, as data."""
    for pair in ((measured(), other), (other, measured())):
        comparison = compare(*pair)

        assert comparison.figures == ()
        (refusal,) = comparison.refusals
        assert refusal.id == difference
        assert words in refusal.device + refusal.against
        assert refusal.meaning


def test_threads_that_were_asked_for_must_be_equal():
    """Four of one and two of the other are unlike if anybody asked; else it is only noted."""
    two = changed(samples().companion, threads=2)

    chosen = compare(measured(), measured(id="b", companion=two))
    asked = compare(
        measured(request=run_request(threads=4)),
        measured(id="b", companion=two, request=run_request(threads=4)),
    )
    equal = compare(measured(request=run_request(threads=4)), measured(id="b"))

    assert [item.id for item in chosen.differences] == ["threads"]
    assert chosen.refusals == ()
    assert [item.id for item in asked.refusals] == ["threads"]
    assert equal.differences == ()


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        pytest.param(measured(id="b", device=device_info(abi="x86_64")), "abi", id="abi"),
        pytest.param(
            with_artifact(
                file=ArtifactFile(sha256="d" * 64, format="onnx", size_bytes=30, method="forward"),
                tool_versions={"onnx": "1"},
            ),
            "format",
            id="format",
        ),
        pytest.param(with_companion(engine_version="2.0"), "engine", id="engine"),
        pytest.param(with_artifact(tool_versions={"torch": "3.0"}), "export", id="export"),
    ],
)
def test_what_differs_between_a_phone_and_a_computer_is_noted(other, difference):
    """It is said, once, and the figures are compared all the same."""
    comparison = compare(measured(), other)

    assert [item.id for item in comparison.differences] == [difference]
    assert comparison.refusals == ()
    assert comparison.figures


# --- virtual phones ----------------------------------------------------------------------------


def test_a_virtual_phones_ratio_says_what_it_is_not():
    """It tells nothing about a phone, and a pair of real devices says nothing of the kind."""
    virtual = measured(virtual=True, device=device_info(name="nexus7", virtual=True))

    (finding,) = compare(virtual, measured(id="b")).findings

    assert finding.id == "VIRTUAL-RATIO"
    assert finding.severity == "warning"
    assert "nexus7 is virtual" in finding.summary
    assert "nothing about a phone" in finding.summary
    assert compare(measured(), measured(id="b")).findings == ()


# --- layer types -------------------------------------------------------------------------------


def test_layer_types_side_by_side():
    """Each device's share of the time and the ratio of the times; the most expensive type first."""
    comparison = compare(traced_run("a", 30 * MS, 10 * MS), traced_run("b", 1 * MS, 4 * MS))

    first, second = comparison.layer_types
    assert first.type == "feed-forward"
    assert (first.device.share, first.against.share) == (0.25, 0.8)
    assert first.ratio == 2.5
    assert second.type == "convolution"
    assert (second.device.p50_ns, second.against.p50_ns) == (30 * MS, 1 * MS)
    assert second.ratio == 30.0


CALL_NS = 3000


def by_segments(id, *latency_ns):
    """The same network in two segments."""
    file = artifact().file
    *segments, call = (
        SegmentArtifact(layers=layers, file=file, inputs=(), relative_error=0.0)
        for layers in (("0",), ("1",), ())
    )
    description = traced_run("x", 1, 1).layer_trace.description
    cut = Cut(description=description, segments=tuple(segments), call=call)
    measured_segments = tuple(
        SegmentLatency(segment=place, latency_ns=(each,) * 3)
        for place, each in enumerate((*(one + CALL_NS for one in latency_ns), CALL_NS))
    )
    return measured(id=id, segments=measured_segments, cut=cut)


def test_layer_types_by_segments():
    """They compare like traced ones; that one side was traced and the other cut is noted."""
    alike = compare(by_segments("a", 30 * MS, 10 * MS), by_segments("b", 1 * MS, 4 * MS))
    mixed = compare(by_segments("a", 30 * MS, 10 * MS), traced_run("b", 1 * MS, 4 * MS))

    for comparison in (alike, mixed):
        assert [each.ratio for each in comparison.layer_types] == [2.5, 30.0]
        assert comparison.footprint.weights_bytes == 440
        assert (comparison.device.profile.id, comparison.against.profile.id) == ("a", "b")
        assert comparison.device.profile.sum_ns == 40 * MS + CALL_NS
    assert (alike.device.profile.by, mixed.against.profile.by) == ("segments", "trace")
    assert alike.differences == ()
    (noted,) = mixed.differences
    assert (noted.id, noted.refuses, noted.device) == ("layers", False, "by segments")


def test_a_type_that_takes_less_than_the_call():
    """Its time is 0, and there is no ratio to it."""
    comparison = compare(by_segments("a", 30 * MS, 10 * MS), by_segments("b", 1 * MS, -5))

    (second,) = (each for each in comparison.layer_types if each.type == "feed-forward")
    assert (second.against.p50_ns, second.against.share, second.ratio) == (0, 0, None)


def test_layers_of_runs_beside_the_two():
    """The figures are the first runs', the layers those of the runs by segments."""
    comparison = compare(
        traced_run("a", 30 * MS, 10 * MS),
        measured("b", profile_refusal="it cannot"),
        (by_segments("c", 20 * MS, 5 * MS), by_segments("d", 10 * MS, 5 * MS)),
    )

    assert (comparison.device.id, comparison.against.id) == ("a", "b")
    assert (comparison.device.profile.id, comparison.against.profile.id) == ("c", "d")
    assert comparison.against.profile_refusal is None
    assert [(each.type, each.ratio) for each in comparison.layer_types] == [
        ("convolution", 2.0),
        ("feed-forward", 1.0),
    ]


def test_a_type_that_only_one_device_has():
    """It stands alone; and where only one run was traced, so do all of its types."""
    one_sided = compare(traced_run("a", 30 * MS, 0), traced_run("b", 1 * MS, 4 * MS))
    untraced = compare(traced_run("a", 30 * MS, 10 * MS), measured(id="b"))

    by_type = {each.type: each for each in one_sided.layer_types}
    assert by_type["feed-forward"].device is by_type["feed-forward"].ratio is None
    assert [each.against for each in untraced.layer_types] == [None, None]
    assert compare(measured(), measured(id="b")).layer_types == ()


def test_what_the_network_needs_whole_and_layer_by_layer():
    """From the layers that a trace brings along; without one it is not told."""
    footprint = compare(measured(), traced_run("b", MS, MS)).footprint

    assert footprint.planned_bytes == 440 + 64
    assert (footprint.alone_layer, footprint.alone_bytes) == ("1", 400 + 32 + 32)
    assert compare(measured(), measured(id="b")).footprint is None
