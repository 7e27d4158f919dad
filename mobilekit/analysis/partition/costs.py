"""What segments and crossings cost, told from programs of the whole network: pure functions.

A segment that is run alone on a graphics processor pays for bringing its input there and its output
back, which it does not in the middle of others. So whole programs are measured that differ at one
boundary. For a backend B, with X the usual one, and segments 1 to n, they are

    B..BX..X and X..XB..B at each of the n - 1 boundaries, and both pure ones: 2n programs.

Of a chain the crossing at boundary k is then (T(B..X) + T(X..B) - T(B..B) - T(X..X)) / 2, and what
segment k costs more on B is the difference of neighbouring programs less that of their crossings.
``fit_costs`` solves these equations, and those of networks with branches, as one system, in which a
tensor's crossing counts once for each backend other than the usual one that it leaves or enters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mobilekit.records.partition import (
    USUAL,
    Assignment,
    BackendCosts,
    Chart,
    Costs,
    Flow,
    Observed,
)

SMALLEST = 1e-4
"""Weight of every cost being none, beside 1 of a program's time being what was measured."""

EXACT = 1e3
"""Weight of the usual backend's own program, which all else is told against."""
TINY_NS = 1e-3
"""Of a segment that takes no time alone, so that even none that do can be spread by."""


def boundary_assignments(
    segments: int, candidates: Mapping[str, Sequence[int]]
) -> list[Assignment]:
    """The programs to measure, each once: ``candidates`` are, by backend, the segments that may go
    there. The usual backend's own is the first."""
    found: dict[Assignment, None] = {(USUAL,) * segments: None}
    for backend, places in candidates.items():
        for count in range(1, len(places) + 1):
            found[_on(segments, backend, places[:count])] = None
            found[_on(segments, backend, places[-count:])] = None
    return list(found)


def _on(segments: int, backend: str, places: Sequence[int]) -> Assignment:
    taken = set(places)
    return tuple(backend if each in taken else USUAL for each in range(segments))


def fit_costs(
    chart: Chart,
    candidates: Mapping[str, Sequence[int]],
    observed: Sequence[Observed],
    alone_ns: Sequence[float],
) -> Costs:
    """The costs that come nearest to what was measured (least squares; no crossing is negative, and
    no segment takes less than nothing on any backend, so that no assignment does).

    ``observed`` holds the usual backend's own program, and of a backend and a chain as many
    equations as unknowns with ``boundary_assignments``. ``alone_ns`` is what each segment takes on
    the usual backend when it runs alone, by which that program's time is spread over them.
    """
    from scipy.optimize import nnls  # at no command's start, as in ``energy.budget``

    count, flows = len(chart.segments), len(chart.flows)
    usual_ns = next(each.latency_ns for each in observed if set(each.assignment) == {USUAL})
    # Of each segment the time on the usual backend, then of each other backend the segments' times
    # there and the tensors' crossings.
    columns: dict[tuple[str, str, int], int] = {}
    for backend, places in ((USUAL, range(count)), *candidates.items()):
        for place in places:
            columns[backend, "segment", place] = len(columns)
        for number in range(flows if backend != USUAL else 0):
            columns[backend, "flow", number] = len(columns)
    matrix = np.zeros((len(observed), len(columns)))
    for row, each in enumerate(observed):
        for place, backend in enumerate(each.assignment):
            matrix[row, columns[backend, "segment", place]] = 1
        for number, flow in enumerate(chart.flows):
            for backend in _crossed(flow, each.assignment):
                matrix[row, columns[backend, "flow", number]] += 1
    taken_ns = np.array([each.latency_ns for each in observed])
    # Of costs that only occur together, such as those around a segment whose neighbours are not
    # tried, the smallest: the sum alone is told, and counts. Of how the usual backend's time is
    # spread over its segments these programs tell no more than what others are faster by.
    smallest = np.eye(len(columns))
    for (backend, kind, place), column in columns.items():
        if kind == "segment" and backend != USUAL:
            smallest[column, columns[USUAL, "segment", place]] = -1
    spread = np.zeros(len(columns))
    spread[:count] = usual_ns * (np.array(alone_ns) + TINY_NS) / (sum(alone_ns) + count * TINY_NS)
    scale = max(float(taken_ns.max()), 1.0)
    weights = np.where([set(each.assignment) == {USUAL} for each in observed], EXACT, 1.0)
    system = np.vstack([weights[:, np.newaxis] * matrix, SMALLEST * smallest])
    target = np.concatenate([weights * taken_ns, SMALLEST * spread]) / scale
    values = nnls(system, target)[0] * scale
    values[:count] *= usual_ns / (values[:count].sum() or 1.0)
    return Costs(
        usual_ns=usual_ns,
        usual_segments_ns=tuple(values[:count].tolist()),
        others=tuple(
            BackendCosts(
                backend=backend,
                extra_ns=tuple(
                    float(values[columns[backend, "segment", place]] - values[place])
                    if (backend, "segment", place) in columns
                    else None
                    for place in range(count)
                ),
                crossing_ns=tuple(
                    float(values[columns[backend, "flow", number]]) for number in range(flows)
                ),
            )
            for backend in candidates
        ),
        largest_residual_ns=float(np.abs(matrix @ values - taken_ns).max()),
    )


def _crossed(flow: Flow, assignment: Assignment) -> Iterator[str]:
    """The backends, other than the usual one, that a tensor leaves or enters."""
    source = assignment[flow.producer]
    targets = {assignment[each] for each in flow.consumers} - {source}
    if targets and source != USUAL:
        yield source
    yield from sorted(targets - {USUAL})


def segment_ns(costs: Costs, backend: str, place: int) -> float | None:
    """Of a segment on a backend; ``None`` where it was not tried there."""
    usual_ns = costs.usual_segments_ns[place]
    extra_ns = {each.backend: each.extra_ns[place] for each in costs.others}.get(backend, 0.0)
    return None if extra_ns is None else usual_ns + extra_ns


def price_ns(chart: Chart, costs: Costs, assignment: Assignment) -> float:
    """What these costs make of an assignment; infinite where a segment was not tried there."""
    others = {each.backend: each for each in costs.others}
    total = costs.usual_ns
    for place, backend in enumerate(assignment):
        if backend != USUAL:
            extra = others[backend].extra_ns[place]
            total += float("inf") if extra is None else extra
    for number, flow in enumerate(chart.flows):
        total += sum(others[each].crossing_ns[number] for each in _crossed(flow, assignment))
    return total
