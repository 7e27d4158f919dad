"""Whether a result answers its request: what the contract says of both together.

A companion is not believed. Its values are in their ranges once its messages are decoded; here they
are held against each other, and against what was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import get_args

from mobilekit.contract.protocol import (
    MemoryStage,
    Phase,
    RunFailure,
    RunRequest,
    RunResult,
    Samples,
    Window,
)
from mobilekit.errors import ProtocolError

_BEFORE_AND_AFTER = 2
"""Of the battery and the thermal state outside of windows, and patterns around the windows."""
Problem = tuple[str, str]
"""The path of a field in the result, and what is wrong with it."""


def check_answer(request: RunRequest, result: RunResult) -> None:
    """Raises ``ProtocolError``, which names the field, for what cannot have come of the request."""
    for field, problem in _problems(request, result):
        raise ProtocolError(
            f"$.{field}: {problem}",
            fix="What the phone says of this run cannot be. Run it again; if it stays so, the "
            "companion app is not mobilekit's, or is damaged: install it again.",
        )


def planned_phases(request: RunRequest) -> tuple[Phase, ...]:
    """Those that a run of this request goes through, in their order."""
    asked = {
        "choose": request.choice is not None,
        "profile": request.profile_iterations is not None,
        "evaluate": request.evaluation is not None,
        "energy": request.energy is not None,
    }
    return tuple(phase for phase in get_args(Phase) if asked.get(phase, True))


def _problems(request: RunRequest, result: RunResult) -> Iterator[Problem]:
    if result.run_id != request.run_id:
        yield "run_id", f"{result.run_id!r} is not {request.run_id!r}"
    samples, is_over = result.samples, not isinstance(result, RunFailure)
    yield from _phase_problems(request, samples, is_over)
    if isinstance(result, RunFailure) and samples.phases:
        last = samples.phases[-1].phase
        if result.phase != last:
            yield "phase", f"{result.phase} is not {last}, which the run was in"
    if is_over and samples.companion is None:
        yield "samples.companion", "missing from a run that is over"
    for found in (
        _choice_problems,
        _time_problems,
        _profile_problems,
        _evaluation_problems,
        _energy_problems,
    ):
        for field, problem in found(request, samples, is_over):
            yield f"samples.{field}", problem


def _phase_problems(request: RunRequest, samples: Samples, is_over: bool) -> Iterator[Problem]:
    planned = planned_phases(request)
    found = tuple(start.phase for start in samples.phases)
    if found != planned[: len(found)] or (is_over and found != planned):
        yield "samples.phases", f"{', '.join(found) or 'none'} are not {', '.join(planned)}"
    times_ns = [start.at_ns for start in samples.phases]
    if is_over and samples.ended_ns is None:
        yield "samples.ended_ns", "missing from a run that is over"
    if samples.ended_ns is not None:
        times_ns.append(samples.ended_ns)
    yield from _order_problems("samples.phases", times_ns)


def _choice_problems(request: RunRequest, samples: Samples, is_over: bool) -> Iterator[Problem]:
    choice, trials = request.choice, samples.trials
    if choice is None:
        if trials:
            yield "trials", "it was not asked for"
        return
    found = [trial.method for trial in trials]
    wanted = [candidate.method for candidate in choice.candidates]
    if found != wanted[: len(found)]:
        yield "trials", f"{', '.join(found)} are not the first of {', '.join(wanted)}"
    for place, trial in enumerate(trials):
        field = f"trials[{place}].latency_ns"
        yield from _count_problems(field, trial.latency_ns, choice.iterations, True)
    if any(trial.keeps_to(choice.budget_ns) for trial in trials[:-1]):
        yield "trials", "others were tried after one that keeps to the budget"
    chosen = bool(trials) and trials[-1].keeps_to(choice.budget_ns)
    if is_over and not chosen and len(trials) < len(wanted):
        yield "trials", f"{len(trials)} are not the {len(wanted)} that were to be tried"


def _time_problems(request: RunRequest, samples: Samples, is_over: bool) -> Iterator[Problem]:
    yield from _count_problems("load_ns", samples.load_ns, request.cold_loads, is_over)
    if len(samples.warmup_ns) > request.warmup.max_iterations:
        yield "warmup_ns", f"{len(samples.warmup_ns)} are more than were asked for"
    if is_over and not samples.warmup_ns:
        yield "warmup_ns", "there are none"
    if is_over and not samples.iteration_ns:
        yield "iteration_ns", "there are none"
    starts_ns = {start.phase: start.at_ns for start in samples.phases}
    if "iterate" in starts_ns and "check" in starts_ns:
        spent_ns = starts_ns["check"] - starts_ns["iterate"]
        if sum(samples.iteration_ns) > spent_ns:
            yield "iteration_ns", f"they take longer than the {spent_ns} ns of their phase"
        if len(samples.iteration_ns) < request.min_iterations and spent_ns < (
            request.max_duration_ns
        ):
            yield "iteration_ns", f"{len(samples.iteration_ns)} are too few"
    for field, readings in (("battery", samples.battery), ("thermal", samples.thermal)):
        if len(readings) > _BEFORE_AND_AFTER:
            yield field, f"{len(readings)} are more than {_BEFORE_AND_AFTER}"
    if is_over and samples.output_check is None:
        yield "output_check", "missing from a run that is over"
    stages = tuple(sample.stage for sample in samples.memory)
    planned = get_args(MemoryStage)
    if stages != planned[: len(stages)] or (is_over and stages != planned):
        yield "memory", f"{', '.join(stages) or 'none'} are not {', '.join(planned)}"


def _profile_problems(request: RunRequest, samples: Samples, is_over: bool) -> Iterator[Problem]:
    iterations = request.profile_iterations
    if samples.trace is not None and samples.profile_refusal is not None:
        yield "profile_refusal", "there is a trace"
    if iterations is None or request.segments:
        for field in ("trace", "profile_refusal"):
            if getattr(samples, field) is not None:
                yield field, "it was not asked for"
    elif is_over and samples.trace is None and samples.profile_refusal is None:
        yield "trace", "missing from a run that is over"
    if samples.trace is not None and iterations is not None:
        yield from _count_problems("trace.latency_ns", samples.trace.latency_ns, iterations, True)
    yield from _count_problems("segments", samples.segments, len(request.segments), is_over)
    for place, segment in enumerate(samples.segments):
        if segment.segment != place:
            yield f"segments[{place}].segment", f"{segment.segment} is not its place"
        if iterations is not None:
            field = f"segments[{place}].latency_ns"
            yield from _count_problems(field, segment.latency_ns, iterations, True)


def _evaluation_problems(request: RunRequest, samples: Samples, is_over: bool) -> Iterator[Problem]:
    evaluation = samples.evaluation
    if request.evaluation is None:
        if evaluation is not None:
            yield "evaluation", "it was not asked for"
    elif evaluation is not None:
        examples = request.evaluation.shape[0]
        yield from _count_problems("evaluation.latency_ns", evaluation.latency_ns, examples, True)
        if evaluation.outputs.shape[:1] != (examples,):
            yield "evaluation.outputs.shape", f"it is not of {examples} examples"
        if math.prod(evaluation.outputs.shape) >= 2**48:
            yield "evaluation.outputs.shape", "no outputs are so large"
    elif is_over:
        yield "evaluation", "missing from a run that is over"


def _energy_problems(request: RunRequest, samples: Samples, is_over: bool) -> Iterator[Problem]:
    plan = request.energy
    if plan is None:
        for field in ("waits", "sync_patterns", "windows", "energy_refusal"):
            if getattr(samples, field):
                yield field, "it was not asked for"
        return
    patterns = _BEFORE_AND_AFTER if plan.sync_pattern else 0
    if len(samples.sync_patterns) > patterns:
        yield "sync_patterns", f"{len(samples.sync_patterns)} are more than {patterns}"
    for number, pattern in enumerate(samples.sync_patterns):
        yield from _order_problems(f"sync_patterns[{number}].edges_ns", pattern.edges_ns)
    times_ns = [at_ns for each in samples.windows for at_ns in (each.started_ns, each.ended_ns)]
    yield from _order_problems("windows", times_ns)
    for number, window in enumerate(samples.windows):
        if (window.iterations > 0) != (window.kind == "load"):
            yield f"windows[{number}].iterations", f"{window.iterations} in {window.kind}"
        at_ns = [sample.at_ns for sample in window.battery]
        yield from _order_problems(f"windows[{number}].battery", at_ns)
        if not window.battery:
            yield f"windows[{number}].battery", "there are no samples"
    loads = sum(each.kind == "load" and not _is_spoiled(each) for each in samples.windows)
    if is_over and samples.energy_refusal is None and loads < plan.blocks:
        yield "windows", f"{loads} loads are fewer than the {plan.blocks} that were asked for"


def _is_spoiled(window: Window) -> bool:
    return any(sample.plugged for sample in window.battery)


def _count_problems(
    field: str, values: Sequence[object], expected: int, is_over: bool
) -> Iterator[Problem]:
    if len(values) > expected or (is_over and len(values) < expected):
        yield field, f"{len(values)} are not the {expected} that were asked for"


def _order_problems(field: str, times_ns: Sequence[int]) -> Iterator[Problem]:
    if any(later < earlier for earlier, later in pairwise(times_ns)):
        yield field, "their times go back"
