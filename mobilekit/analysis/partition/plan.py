"""The cheapest assignment of segments to backends, and what a trial says of it: pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mobilekit.analysis.partition.costs import price_ns
from mobilekit.contract.protocol import OutputCheck
from mobilekit.records.partition import USUAL, Assignment, Candidate, Chart, Costs
from mobilekit.units import format_duration


def plan(chart: Chart, costs: Costs) -> Assignment:
    """The assignment with the least ``price_ns``: of a chain by the shortest path, of a network
    with branches as an integer programme. Where several cost the same, a chain stays on the usual
    backend the longest."""
    return shortest_path(chart, costs) if chart.is_chain else integer_plan(chart, costs)


def shortest_path(chart: Chart, costs: Costs) -> Assignment:
    """Of a chain: dynamic programming over segments, keeping for each backend the cheapest way to
    be there (R. Bellman, 1957)."""
    others = {each.backend: each for each in costs.others}
    flow_after = {flow.producer: number for number, flow in enumerate(chart.flows)}
    ways: dict[str, tuple[float, Assignment]] = {}
    for place in range(len(chart.segments)):
        reached: dict[str, tuple[float, Assignment]] = {}
        for backend in (USUAL, *others):
            extra = 0.0 if backend == USUAL else others[backend].extra_ns[place]
            if extra is None:
                continue
            before = ways or {backend: (0.0, ())}
            cost, path = min(
                (
                    (so_far + _crossing_ns(costs, flow_after.get(place - 1), source, backend), path)
                    for source, (so_far, path) in before.items()
                ),
                key=lambda way: way[0],
            )
            reached[backend] = (cost + extra, (*path, backend))
        ways = reached
    return min(ways.values(), key=lambda way: way[0])[1]


def _crossing_ns(costs: Costs, flow: int | None, source: str, target: str) -> float:
    if flow is None or source == target:
        return 0.0
    return sum(each.crossing_ns[flow] for each in costs.others if each.backend in (source, target))


def integer_plan(chart: Chart, costs: Costs) -> Assignment:
    """Of any network: one binary for each segment and backend, and for each tensor and backend
    whether it leaves it and whether it enters it (``scipy.optimize.milp``, HiGHS)."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_matrix

    backends = (USUAL, *(each.backend for each in costs.others))
    segments, flows = len(chart.segments), len(chart.flows)
    width = len(backends)
    on = np.arange(segments * width).reshape(segments, width)
    leaves = on.size + np.arange(flows * width).reshape(flows, width)
    enters = on.size + leaves.size + np.arange(flows * width).reshape(flows, width)
    price = np.zeros(on.size + leaves.size + enters.size)
    highest = np.ones(len(price))
    for column, each in enumerate(costs.others, start=1):
        for place, extra in enumerate(each.extra_ns):
            price[on[place, column]] = extra or 0.0
            highest[on[place, column]] = 0.0 if extra is None else 1.0
        for crossed in (leaves, enters):
            price[crossed[:, column]] = each.crossing_ns
    rows: list[dict[int, float]] = [
        {int(each): 1.0 for each in on[place]} for place in range(segments)
    ]
    lower = [1.0] * segments
    for number, flow in enumerate(chart.flows):
        for column in range(1, width):
            for consumer in flow.consumers:
                made, read = int(on[flow.producer, column]), int(on[consumer, column])
                rows.append({int(leaves[number, column]): 1.0, made: -1.0, read: 1.0})
                rows.append({int(enters[number, column]): 1.0, made: 1.0, read: -1.0})
                lower += [0.0, 0.0]
    triples = [(row, at, value) for row, each in enumerate(rows) for at, value in each.items()]
    index, at, values = zip(*triples, strict=True)
    scale = max(float(np.abs(price).max()), 1.0)
    solved = milp(
        price / scale,
        integrality=np.ones(len(price)),
        bounds=Bounds(0, highest),
        constraints=LinearConstraint(
            coo_matrix((values, (index, at)), shape=(len(rows), len(price))).tocsr(),
            lower,
            [1.0] * segments + [np.inf] * (len(rows) - segments),
        ),
        options={"mip_rel_gap": 0.0},
    )
    assert solved.x is not None, solved.message  # All on the usual backend is a solution.
    return tuple(backends[int(np.argmax(solved.x[each]))] for each in on)


def beats(plan: Candidate, singles: Sequence[Candidate]) -> bool:
    """Whether the plan was faster than each single backend: its median, and in every round that it
    took turns with one. By chance alone, of two that are alike, one is so in every of five rounds
    once in 32 times."""
    return all(
        plan.p50_ns < single.p50_ns
        and (
            single.threads != plan.threads
            or all(
                ours < theirs
                for ours, theirs in zip(plan.round_p50_ns, single.round_p50_ns, strict=True)
            )
        )
        for single in singles
    )


def verdict_on(trial: Sequence[Candidate], check: OutputCheck | None, *, adopted: bool) -> str:
    """For people, of a trial with its fastest first, and with the plan in it if one was tried."""
    single = next(each for each in trial if each.name != "plan")
    alone = f"{single.name} alone with {single.threads} thread{'' if single.threads == 1 else 's'}"
    ours = next((each for each in trial if each.name == "plan"), None)
    if ours is None:
        return f"{alone} is best: no assignment is predicted to be faster"
    if check is None or not check.matches:
        return f"{alone} is kept: the plan's outputs are not the network's"
    times = f"it took {format_duration(ours.p50_ns)}, and {format_duration(single.p50_ns)} alone"
    if adopted:
        return f"the plan is adopted: {times} with {single.name}"
    if ours.p50_ns < single.p50_ns:
        return f"{alone} is kept: the plan was faster, but not in every round ({times})"
    return f"{alone} is kept: the plan was not faster ({times})"


def kept(trial: Sequence[Candidate], assignment: Assignment, *, adopted: bool) -> Assignment:
    """What the verdict says is best: the plan, or all of it on the fastest single backend."""
    if adopted:
        return assignment
    single = next(each for each in trial if each.name != "plan")
    return (single.name,) * len(assignment)


def cheapest(
    chart: Chart, costs: Costs, measured: Sequence[tuple[Assignment, float]]
) -> tuple[Assignment, float]:
    """The plan and what is predicted of it, or a single backend's program where that was measured
    to take no longer than the plan is predicted to."""
    found = plan(chart, costs)
    predicted_ns = price_ns(chart, costs, found)
    single, single_ns = min(measured, key=lambda each: each[1])
    return (found, predicted_ns) if predicted_ns < single_ns else (single, single_ns)
