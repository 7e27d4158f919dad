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
    chart: Chart, candidates: Mapping[str, Sequence[int]], observed: Sequence[Observed]
) -> Costs:
    """The costs that come nearest to what was measured (least squares; no crossing is negative).

    ``observed`` holds the usual backend's own program, and of a backend and a chain as many
    equations as unknowns with ``boundary_assignments``.
    """
    from scipy.optimize import lsq_linear  # at no command's start, as in ``energy.budget``

    usual_ns = next(each.latency_ns for each in observed if set(each.assignment) == {USUAL})
    columns: dict[tuple[str, str, int], int] = {}
    for backend, places in candidates.items():
        for place in places:
            columns[backend, "segment", place] = len(columns)
        for number in range(len(chart.flows)):
            columns[backend, "flow", number] = len(columns)
    rest = [each for each in observed if set(each.assignment) != {USUAL}]
    matrix = np.zeros((len(rest), len(columns)))
    for row, each in enumerate(rest):
        for place, backend in enumerate(each.assignment):
            if backend != USUAL:
                matrix[row, columns[backend, "segment", place]] = 1
        for number, flow in enumerate(chart.flows):
            for backend in _crossed(flow, each.assignment):
                matrix[row, columns[backend, "flow", number]] += 1
    more_ns = np.array([each.latency_ns - usual_ns for each in rest])
    values, residual_ns = np.zeros(len(columns)), 0.0
    if len(columns) and len(rest):
        lowest = [0.0 if kind == "flow" else -np.inf for _, kind, _ in columns]
        scale = max(float(np.abs(more_ns).max()), 1.0)
        # Of costs that only occur together, such as those around a segment whose neighbours are
        # not tried, the smallest: the sum alone is told, and counts.
        system = np.vstack([matrix, SMALLEST * np.eye(len(columns))])
        target = np.concatenate([more_ns / scale, np.zeros(len(columns))])
        values = lsq_linear(system, target, bounds=(lowest, np.inf), method="bvls").x * scale
        residual_ns = float(np.abs(matrix @ values - more_ns).max())
    return Costs(
        usual_ns=usual_ns,
        others=tuple(
            BackendCosts(
                backend=backend,
                extra_ns=tuple(
                    float(values[columns[backend, "segment", place]])
                    if (backend, "segment", place) in columns
                    else None
                    for place in range(len(chart.segments))
                ),
                crossing_ns=tuple(
                    max(float(values[columns[backend, "flow", number]]), 0.0)
                    for number in range(len(chart.flows))
                ),
            )
            for backend in candidates
        ),
        largest_residual_ns=residual_ns,
    )


def _crossed(flow: Flow, assignment: Assignment) -> Iterator[str]:
    """The backends, other than the usual one, that a tensor leaves or enters."""
    source = assignment[flow.producer]
    targets = {assignment[each] for each in flow.consumers} - {source}
    if targets and source != USUAL:
        yield source
    yield from sorted(targets - {USUAL})


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
