"""Planning: costs recovered from programs, and plans equal to the best of all assignments."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekit.analysis.partition.costs import boundary_assignments, fit_costs, price_ns, segment_ns
from mobilekit.analysis.partition.plan import (
    beats,
    cheapest,
    integer_plan,
    kept,
    plan,
    shortest_path,
    verdict_on,
)
from mobilekit.contract.protocol import OutputCheck
from mobilekit.records.partition import (
    USUAL,
    BackendCosts,
    Candidate,
    Chart,
    Costs,
    Flow,
    Observed,
)


def chain(segments: int) -> Chart:
    flows = tuple(Flow(producer=at, consumers=(at + 1,)) for at in range(segments - 1))
    return Chart(segments=tuple((str(at),) for at in range(segments)), flows=flows)


@st.composite
def charts(draw):
    """Up to five segments; each but the first reads one or more of those before it."""
    segments = draw(st.integers(2, 5))
    readers = {}
    for place in range(1, segments):
        for source in draw(st.sets(st.integers(0, place - 1), min_size=1)):
            readers.setdefault(source, []).append(place)
    return Chart(
        segments=tuple((str(at),) for at in range(segments)),
        flows=tuple(Flow(producer=at, consumers=tuple(each)) for at, each in readers.items()),
    )


WHOLE = st.integers(-50, 50).map(float)


def costs_of(draw, chart: Chart, *, gaps: bool) -> Costs:
    extra = st.one_of(st.none(), WHOLE) if gaps else WHOLE
    others = tuple(
        BackendCosts(
            backend=backend,
            extra_ns=tuple(draw(extra) for _ in chart.segments),
            crossing_ns=tuple(draw(st.integers(0, 40).map(float)) for _ in chart.flows),
        )
        for backend in draw(st.sampled_from([("vulkan",), ("vulkan", "portable")]))
    )
    return costs_with(1000.0, others, len(chart.segments))


def costs_with(usual_ns, others, count):
    """The usual backend's time spread evenly."""
    parts = (usual_ns / count,) * count
    return Costs(
        usual_ns=usual_ns, usual_segments_ns=parts, others=tuple(others), largest_residual_ns=0.0
    )


def brute_force_ns(chart: Chart, costs: Costs) -> float:
    backends = (USUAL, *(each.backend for each in costs.others))
    return min(
        price_ns(chart, costs, each) for each in product(backends, repeat=len(chart.segments))
    )


@settings(max_examples=60)
@given(st.data())
def test_the_plan_is_the_best_of_all_assignments(data):
    chart = data.draw(charts())
    costs = costs_of(data.draw, chart, gaps=True)
    best_ns = brute_force_ns(chart, costs)
    assert price_ns(chart, costs, plan(chart, costs)) == pytest.approx(best_ns)
    assert price_ns(chart, costs, integer_plan(chart, costs)) == pytest.approx(best_ns)
    if chart.is_chain:
        assert price_ns(chart, costs, shortest_path(chart, costs)) == pytest.approx(best_ns)


@settings(max_examples=30)
@given(st.data())
def test_costs_are_recovered_from_the_boundary_programs(data):
    """Of a chain every one; of any network what each assignment of two backends takes."""
    length = data.draw(st.integers(2, 6))
    chart = chain(length)
    costs = costs_of(data.draw, chart, gaps=False)
    candidates = {each.backend: range(length) for each in costs.others}
    programs = boundary_assignments(length, candidates)
    assert len(programs) == 1 + (2 * length - 1) * len(candidates)
    observed = [
        Observed(assignment=each, latency_ns=price_ns(chart, costs, each)) for each in programs
    ]
    found = fit_costs(chart, candidates, observed, [1.0] * len(chart.segments))
    for ours, truth in zip(found.others, costs.others, strict=True):
        assert ours.extra_ns == pytest.approx(truth.extra_ns, abs=1e-3)
        assert ours.crossing_ns == pytest.approx(truth.crossing_ns, abs=1e-3)
    assert found.largest_residual_ns < 1e-3


@settings(max_examples=30)
@given(st.data())
def test_costs_of_branches_are_recovered(data):
    chart = data.draw(charts())
    costs = costs_of(data.draw, chart, gaps=False)
    candidates = {each.backend: range(len(chart.segments)) for each in costs.others}
    observed = [
        Observed(assignment=each, latency_ns=price_ns(chart, costs, each))
        for each in boundary_assignments(len(chart.segments), candidates)
    ]
    found = fit_costs(chart, candidates, observed, [1.0] * len(chart.segments))
    for each in product((USUAL, candidates and next(iter(candidates))), repeat=len(chart.segments)):
        assert price_ns(chart, found, each) == pytest.approx(price_ns(chart, costs, each), abs=1e-2)


def test_a_crossing_that_noise_makes_negative_is_none():
    chart = chain(2)
    times = {
        ("xnnpack", "xnnpack"): 100.0,
        ("vulkan", "xnnpack"): 90.0,
        ("xnnpack", "vulkan"): 95.0,
        ("vulkan", "vulkan"): 100.0,
    }
    observed = [Observed(assignment=each, latency_ns=ns) for each, ns in times.items()]
    found = fit_costs(chart, {"vulkan": range(2)}, observed, [1.0, 1.0])
    assert found.others[0].crossing_ns == pytest.approx((0.0,), abs=1e-6)
    assert found.largest_residual_ns > 1


TIMES = st.floats(1.0, 1000.0)


@settings(max_examples=30)
@given(st.data())
def test_no_plan_takes_less_than_nothing(data):
    """However far the measured programs contradict each other."""
    chart = data.draw(st.one_of(charts(), st.integers(2, 5).map(chain)))
    count = len(chart.segments)
    candidates = {"vulkan": range(count), "portable": range(1, count)}
    observed = [
        Observed(assignment=each, latency_ns=data.draw(TIMES))
        for each in boundary_assignments(count, candidates)
    ]
    costs = fit_costs(chart, candidates, observed, [1.0] * len(chart.segments))
    assert costs.usual_ns == observed[0].latency_ns == pytest.approx(sum(costs.usual_segments_ns))
    for place, backend in product(range(count), (USUAL, *candidates)):
        assert (segment_ns(costs, backend, place) or 0) >= -1e-6
    assert brute_force_ns(chart, costs) >= -1e-6


def test_the_usual_time_is_spread_as_segments_alone_took():
    """And further only where another backend is faster by more than that."""
    chart = chain(3)
    times = {
        ("xnnpack", "xnnpack", "xnnpack"): 100.0,
        ("vulkan", "xnnpack", "xnnpack"): 70.0,
        ("xnnpack", "vulkan", "vulkan"): 120.0,
        ("vulkan", "vulkan", "xnnpack"): 80.0,
        ("xnnpack", "xnnpack", "vulkan"): 110.0,
        ("vulkan", "vulkan", "vulkan"): 90.0,
    }
    observed = [Observed(assignment=each, latency_ns=ns) for each, ns in times.items()]
    found = fit_costs(chart, {"vulkan": range(3)}, observed, [5.0, 3.0, 2.0])
    assert found.usual_segments_ns == pytest.approx((50, 30, 20), abs=0.01)
    assert segment_ns(found, "vulkan", 0) == pytest.approx(20, abs=0.01)
    found = fit_costs(chart, {"vulkan": range(3)}, observed, [1.0, 6.0, 3.0])
    assert found.usual_segments_ns[0] == pytest.approx(30, abs=0.01)
    assert found.usual_segments_ns[1:] == pytest.approx((50, 20), abs=0.01)


def test_segments_that_are_no_candidates_stay():
    programs = boundary_assignments(4, {"portable": (1, 3)})
    assert programs == [
        ("xnnpack",) * 4,
        ("xnnpack", "portable", "xnnpack", "xnnpack"),
        ("xnnpack", "xnnpack", "xnnpack", "portable"),
        ("xnnpack", "portable", "xnnpack", "portable"),
    ]


def test_a_single_backend_that_was_measured_faster_is_the_plan():
    chart = chain(2)
    other = BackendCosts(backend="vulkan", extra_ns=(-5.0, 5.0), crossing_ns=(1.0,))
    costs = costs_with(100.0, [other], 2)
    pure = ("vulkan", "vulkan")
    assert cheapest(chart, costs, [(("xnnpack",) * 2, 100.0), (pure, 95.9)]) == (pure, 95.9)
    assert cheapest(chart, costs, [(("xnnpack",) * 2, 100.0), (pure, 97.0)]) == (
        ("vulkan", "xnnpack"),
        96.0,
    )


def candidate(name: str, *rounds: float, threads: int = 1) -> Candidate:
    middle = sorted(rounds)[len(rounds) // 2]
    return Candidate(name=name, threads=threads, round_p50_ns=rounds, p50_ns=middle)


def test_a_plan_must_be_faster_in_every_round():
    single = candidate("xnnpack", 10, 11, 12)
    assert beats(candidate("plan", 9, 10, 11), [single])
    assert not beats(candidate("plan", 9, 10, 12), [single])
    assert not beats(candidate("plan", 9, 10, 11), [single, candidate("vulkan", 9, 9, 9)])
    # Of other threads, whose rounds were others, the medians are compared.
    assert beats(candidate("plan", 9, 10, 12), [candidate("xnnpack", 11, 11, 11, threads=2)])
    assert not beats(candidate("plan", 9, 10, 12), [candidate("xnnpack", 9, 9, 11, threads=2)])


RIGHT = OutputCheck(matches=True, max_absolute_error=1e-6, max_relative_error=1e-6)
WRONG = OutputCheck(matches=False, max_absolute_error=1.0, max_relative_error=1.0)


@pytest.mark.parametrize(
    ("ours", "check", "adopted", "words"),
    [
        ((9e3, 9e3, 9e3), RIGHT, True, "the plan is adopted: it took 9.00 us, and 10.0 us alone"),
        ((9e3, 9e3, 9e3), WRONG, False, "xnnpack alone with 2 threads is kept: the plan's outputs"),
        ((9e3, 9e3, 11e3), RIGHT, False, "was faster, but not in every round"),
        ((11e3, 11e3, 11e3), RIGHT, False, "the plan was not faster"),
        (None, None, False, "xnnpack alone with 2 threads is best: no assignment is predicted"),
    ],
)
def test_the_verdict_says_why(ours, check, adopted, words):
    trial = [candidate("xnnpack", 10e3, 10e3, 10e3, threads=2)]
    if ours is not None:
        trial.append(candidate("plan", *ours, threads=2))
    assert words in verdict_on(sorted(trial, key=lambda each: each.p50_ns), check, adopted=adopted)


def test_what_is_kept_is_what_the_verdict_says():
    """A plan that lost leaves the fastest single backend, which need not be the usual one."""
    trial = [candidate("plan", 8, 8, 12), candidate("vulkan", 9, 9, 9), candidate("xnnpack", 10)]
    assert kept(trial, ("vulkan", "xnnpack"), adopted=True) == ("vulkan", "xnnpack")
    assert kept(trial, ("vulkan", "xnnpack"), adopted=False) == ("vulkan", "vulkan")
