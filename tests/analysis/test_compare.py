import math

import msgspec
import numpy as np
import pytest
from examples import (
    MS,
    artifact,
    device_info,
    energy_plan,
    measured,
    measurement,
    run_request,
    samples,
    traced_run,
)
from simulated import work

from mobilekit.analysis.compare.comparison import MeasuredSide
from mobilekit.analysis.compare.comparison import compare as compare_sides
from mobilekit.analysis.compare.figures import MIN_COUNT_FOR_INTERVAL, ratio_of
from mobilekit.analysis.compare.records import Quantity
from mobilekit.analysis.findings import find_doubts
from mobilekit.analysis.stats import bootstrap_median_interval
from mobilekit.contract.protocol import ArtifactFile, MemorySample, SegmentLatency
from mobilekit.contract.samples import interrupted
from mobilekit.records.artifact import Cut, SegmentArtifact
from mobilekit.records.finding import Finding
from mobilekit.records.network import Compression, LayerRank, Variant
from mobilekit.records.statistics import Interval


def compare(device, against, layers=(None, None)):
    """One side over the reference."""
    side, reference = map(MeasuredSide, (device, against), layers)
    return compare_sides([side], reference)


def changed(record, **fields):
    return msgspec.structs.replace(record, **fields)


def figures_of(comparison):
    """By name, where each has one origin."""
    figures = {figure.name: figure for figure in comparison.figures}
    assert len(figures) == len(comparison.figures)
    return figures


def ratio_in(figure):
    """Of the one side."""
    (side,) = figure.sides
    return side.ratio


def quantity_in(figure):
    (side,) = figure.sides
    return side.quantity


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
    assert comparison.sides[0].refusals == ()
    assert list(figures) == [
        "init",
        "latency",
        "artifact",
        "load_pss",
        "inference_pss",
        "peak_rss",
    ]
    assert ratio_in(figures["init"]).value == 4.0
    assert ratio_in(figures["latency"]).value == pytest.approx(4.0, rel=1e-4)
    interval = ratio_in(figures["latency"]).interval
    assert interval.low < ratio_in(figures["latency"]).value < interval.high
    assert quantity_in(figures["inference_pss"]).value == 38_000_000
    assert ratio_in(figures["inference_pss"]).value == 1.0
    assert ratio_in(figures["inference_pss"]).interval is None


def test_too_few_loads_have_no_interval():
    """Three loads cannot give a 95 % interval of their median; five can."""
    few, enough = measured(load_ns=(MS, 2 * MS, 3 * MS)), measured(load_ns=(MS,) * 5, id="b")

    init = figures_of(compare(few, enough))["init"]

    assert quantity_in(init).interval is None
    assert init.against.interval is not None
    assert ratio_in(init).interval is None


def test_pss_and_rss_are_not_divided():
    """Where one platform tells PSS and the other RSS, each stands alone."""
    rss_only = tuple(changed(sample, pss_bytes=None) for sample in samples().memory)

    figures = figures_of(compare(measured(), measured(id="b", memory=rss_only)))

    assert figures["inference_pss"].against is None
    assert quantity_in(figures["inference_rss"]) is None
    assert ratio_in(figures["inference_pss"]) is ratio_in(figures["inference_rss"]) is None
    assert ratio_in(figures["peak_rss"]) is not None


def test_available_memory_is_compared_where_it_is_told():
    """What the device had before the run stands beside what the run took."""
    phone = measured(device=device_info(available_bytes=1_000))

    figure = figures_of(compare(phone, measured(id="b")))["available"]

    assert quantity_in(figure).value == 1_000
    assert figure.against is None


def test_memory_that_shrank_has_no_ratio():
    """A growth below zero is shown, and not divided."""
    memory = tuple(
        MemorySample(at_ns=0, stage=stage, pss_bytes=100 - step, rss_bytes=100, peak_rss_bytes=None)
        for step, stage in enumerate(("closed", "loaded", "inferred"))
    )

    figure = figures_of(compare(measured(memory=memory), measured(id="b")))["inference_pss"]

    assert quantity_in(figure).value == -2
    assert ratio_in(figure) is None


# --- differences -------------------------------------------------------------------------------


def with_artifact(**fields):
    return measured(id="b", artifact=artifact(**fields))


def with_model(**fields):
    return with_artifact(model=changed(artifact().model, **fields))


def test_a_network_that_a_file_changes_is_told_from_the_whole_one():
    """In whatever precision and on whatever backend, which its sides tell."""
    cut = Compression(ranks=(LayerRank(layer="0", rank=3),))
    runs = [
        with_model(variant=each)
        for each in (Variant(precision="int8"), Variant(precision="int8", compression=cut))
    ]
    whole, small = (compare(run, run).model for run in runs)
    assert (whole, small) == (artifact().model.name, f"{artifact().model.name}-{cut.key}")


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
        pytest.param(
            with_artifact(variant=Variant(precision="fp16")), "precision", "fp16", id="precision"
        ),
        pytest.param(
            with_request(inputs=(changed(artifact().inputs[0], sha256="e" * 64),)),
            "inputs",
            "eeee",
            id="inputs",
        ),
        pytest.param(with_request(min_iterations=30), "preset", "30 iterations", id="preset"),
        pytest.param(with_request(protocol_version=99), "protocol", "99", id="protocol"),
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
        (refusal,) = comparison.sides[0].refusals
        assert refusal.id == difference
        assert words in refusal.side + refusal.against
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

    assert [item.id for item in chosen.sides[0].differences] == ["threads"]
    assert chosen.sides[0].refusals == ()
    assert [item.id for item in asked.sides[0].refusals] == ["threads"]
    assert equal.sides[0].differences == ()


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
        pytest.param(
            measured(id="b", host=changed(measurement().host, mobilekit_version="9.9")),
            "mobilekit",
            id="mobilekit",
        ),
    ],
)
def test_what_differs_between_a_phone_and_a_computer_is_noted(other, difference):
    """It is said, once, and the figures are compared all the same."""
    comparison = compare(measured(), other)

    assert [item.id for item in comparison.sides[0].differences] == [difference]
    assert comparison.sides[0].refusals == ()
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
    assert (first.sides[0].taken.share, first.against.share) == (0.25, 0.8)
    assert first.sides[0].ratio == 2.5
    assert second.type == "convolution"
    assert (second.sides[0].taken.p50_ns, second.against.p50_ns) == (30 * MS, 1 * MS)
    assert second.sides[0].ratio == 30.0


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
        assert [each.sides[0].ratio for each in comparison.layer_types] == [2.5, 30.0]
        assert comparison.footprint.weights_bytes == 440
        assert (comparison.sides[0].profile.id, comparison.against.profile.id) == ("a", "b")
        assert comparison.sides[0].profile.sum_ns == 40 * MS + CALL_NS
    assert (alike.sides[0].profile.by, mixed.against.profile.by) == ("segments", "trace")
    assert alike.sides[0].differences == ()
    (noted,) = mixed.sides[0].differences
    assert (noted.id, noted.refuses, noted.side) == ("layers", False, "by segments")


def test_a_type_that_takes_less_than_the_call():
    """Its time is 0, and there is no ratio to it."""
    comparison = compare(by_segments("a", 30 * MS, 10 * MS), by_segments("b", 1 * MS, -5))

    (second,) = (each for each in comparison.layer_types if each.type == "feed-forward")
    assert (second.against.p50_ns, second.against.share, second.sides[0].ratio) == (0, 0, None)


def test_layers_of_runs_beside_the_two():
    """The figures are the first runs', the layers those of the runs by segments."""
    comparison = compare(
        traced_run("a", 30 * MS, 10 * MS),
        measured("b", profile_refusal="it cannot"),
        (by_segments("c", 20 * MS, 5 * MS), by_segments("d", 10 * MS, 5 * MS)),
    )

    assert (comparison.sides[0].id, comparison.against.id) == ("a", "b")
    assert (comparison.sides[0].profile.id, comparison.against.profile.id) == ("c", "d")
    assert comparison.against.profile_refusal is None
    assert [(each.type, each.sides[0].ratio) for each in comparison.layer_types] == [
        ("convolution", 2.0),
        ("feed-forward", 1.0),
    ]


def test_a_type_that_only_one_device_has():
    """It stands alone; and where only one run was traced, so do all of its types."""
    one_sided = compare(traced_run("a", 30 * MS, 0), traced_run("b", 1 * MS, 4 * MS))
    untraced = compare(traced_run("a", 30 * MS, 10 * MS), measured(id="b"))

    by_type = {each.type: each for each in one_sided.layer_types}
    assert by_type["feed-forward"].sides[0].taken is by_type["feed-forward"].sides[0].ratio is None
    assert [each.against for each in untraced.layer_types] == [None, None]
    assert compare(measured(), measured(id="b")).layer_types == ()


def test_what_the_network_needs_whole_and_layer_by_layer():
    """From the layers that a trace brings along; without one it is not told."""
    footprint = compare(measured(), traced_run("b", MS, MS)).footprint

    assert footprint.planned_bytes == 440 + 64
    assert (footprint.alone_layer, footprint.alone_bytes) == ("1", 400 + 32 + 32)
    assert compare(measured(), measured(id="b")).footprint is None


# --- several sides -----------------------------------------------------------------------------


def fast_slow_and_reference():
    return [
        measured(id=id, iteration_ns=tuple(latency_ms * MS + index for index in range(100)))
        for id, latency_ms in (("fast", 5), ("slow", 40), ("reference", 10))
    ]


def test_every_side_is_over_the_reference():
    """Three runs, two ratios: in the sides' order, and none of one side over another."""
    fast, slow, reference = map(MeasuredSide, fast_slow_and_reference())

    comparison = compare_sides([slow, fast], reference)

    latency = figures_of(comparison)["latency"]
    assert [side.id for side in comparison.all_sides] == ["slow", "fast", "reference"]
    assert latency.against.value == pytest.approx(10 * MS, rel=1e-4)
    assert [side.quantity.value for side in latency.sides] == pytest.approx(
        [40 * MS, 5 * MS], rel=1e-4
    )
    assert [side.ratio.value for side in latency.sides] == pytest.approx([4.0, 0.5], rel=1e-4)


def test_a_side_that_is_refused_leaves_the_others():
    """It has no figure, keeps its difference, and stays in its place."""
    _, slow, reference = fast_slow_and_reference()
    unlike = changed(slow, id="unlike", request=run_request(min_iterations=30))

    comparison = compare_sides([MeasuredSide(unlike), MeasuredSide(slow)], MeasuredSide(reference))

    refused, sound = comparison.sides
    assert ([item.id for item in refused.refusals], sound.refusals) == (["preset"], ())
    for figure in comparison.figures:
        assert figure.sides[0].quantity is figure.sides[0].ratio is None
        assert figure.sides[1].quantity is not None
    assert comparison.figures


def test_a_refused_virtual_side_raises_no_doubt():
    """What is not shown needs no warning; what is shown does."""
    _, slow, reference = fast_slow_and_reference()
    virtual = changed(slow, id="virtual", virtual=True)
    unlike = changed(virtual, request=run_request(min_iterations=30))

    refused = compare_sides([MeasuredSide(unlike), MeasuredSide(slow)], MeasuredSide(reference))
    shown = compare_sides([MeasuredSide(virtual), MeasuredSide(slow)], MeasuredSide(reference))

    assert refused.findings == ()
    assert [finding.id for finding in shown.findings] == ["VIRTUAL-RATIO"]


def test_layer_types_of_several_sides():
    """Each side's share beside the reference's; a side without layers has none."""
    comparison = compare_sides(
        [
            MeasuredSide(traced_run("a", 30 * MS, 10 * MS)),
            MeasuredSide(measured(id="untraced")),
            MeasuredSide(traced_run("b", 2 * MS, 2 * MS)),
        ],
        MeasuredSide(traced_run("c", 1 * MS, 4 * MS)),
    )

    by_type = {each.type: each for each in comparison.layer_types}
    assert [side.ratio for side in by_type["convolution"].sides] == [30.0, None, 2.0]
    assert [side.taken and side.taken.share for side in by_type["feed-forward"].sides] == [
        0.25,
        None,
        0.5,
    ]


# --- origins -----------------------------------------------------------------------------------


def with_energy(id, *, virtual):
    """A run whose battery paid: of both kinds the same, so that only where it is from differs."""
    windows, _, _ = work(energy_plan(blocks=3, idle_ns=60 * 10**9, load_ns=60 * 10**9))
    return measured(id=id, windows=tuple(windows), virtual=virtual)


def test_a_measured_energy_is_not_divided_by_a_simulated_one():
    """They are two figures of one name; each side stands in the one of its origin."""
    virtual, real = with_energy("a", virtual=True), with_energy("b", virtual=False)

    mixed = compare(virtual, real)
    alike = compare(changed(real, id="c"), real)

    energies = {figure.origin: figure for figure in mixed.figures if figure.name == "energy_gross"}
    assert set(energies) == {"measured", "simulated"}
    assert quantity_in(energies["measured"]) is energies["simulated"].against is None
    assert ratio_in(energies["measured"]) is ratio_in(energies["simulated"]) is None
    assert quantity_in(energies["simulated"]).value > 0
    (energy,) = (figure for figure in alike.figures if figure.name == "energy_gross")
    assert ratio_in(energy).value == 1.0
    assert mixed.sides[0].energy_origin == "simulated"


def test_a_virtual_phones_available_memory_is_simulated():
    """It is its profile's, so that this computer's is not divided by it."""
    device = device_info(available_bytes=1_000)
    comparison = compare(measured(device=device, virtual=True), measured(id="b", device=device))

    available = [figure for figure in comparison.figures if figure.name == "available"]

    assert [figure.origin for figure in available] == ["measured", "simulated"]
    assert [ratio_in(figure) for figure in available] == [None, None]
