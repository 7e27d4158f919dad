"""``mobilekit partition``: measure a network over a device's backends, plan, and try the plan.

For each number of threads one run times the programs of every boundary (``analysis.partition``
says which), as segments of the ``profile`` phase, in rounds that take turns. The cheapest plan is
then run against each single backend that came near it, in a run that also checks its outputs. Of
each backend a run of the whole network tells what it draws, where the device can tell that.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.answer import derive_answer
from mobilekit.analysis.energy.doubts import doubt_energy
from mobilekit.analysis.partition.costs import boundary_assignments, fit_costs
from mobilekit.analysis.partition.plan import beats, cheapest, kept, verdict_on
from mobilekit.contract.protocol import OutputCheck, RunFailure, Segment
from mobilekit.errors import (
    ExportError,
    MobilekitError,
    RunFailedError,
    StoppedError,
    UnsavedError,
)
from mobilekit.flow.deploy import deploy, plan_deployed_energy
from mobilekit.flow.prepare import (
    DeployOptions,
    Prepared,
    find_vulkan_obstacle,
    make_request,
    prepare,
)
from mobilekit.flow.reporter import Reporter
from mobilekit.flow.run import begin, run
from mobilekit.model.export import export_artifact
from mobilekit.model.export_segments import export_segments, read_chart
from mobilekit.model.packed import find_lacking
from mobilekit.records.artifact import Artifact, SegmentArtifact
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import Description, Placed, Variant
from mobilekit.records.partition import (
    USUAL,
    Assignment,
    BackendPower,
    Candidate,
    Chart,
    Observed,
    Partition,
    PartitionPlan,
)
from mobilekit.results.store import Store

PORTABLE_MACS = 200_000
"""Of a segment that is tried on portable kernels, at most: they are plain loops of scalars, which
take a tenth of a millisecond and more for so many."""
ROUNDS, TRIAL_ROUNDS = 3, 5
TIMED_MACS = 10**9
FEWEST_TIMED, MOST_TIMED = 10, 200
"""Inferences of each program in a round: as many as ``TIMED_MACS`` hold, within these."""
NEAR = 2.0
"""Times the fastest single backend that another may take to be in the trial."""


class Partitioned(NamedTuple):
    measurement: Measurement
    """The run that tells most: the trial's, or the last one before it."""
    partition: Partition


def partition(
    options: DeployOptions, threads: Sequence[int], store: Store, reporter: Reporter
) -> Partitioned:
    """Plan a network of ``options`` (fp32, ``.pte``) over the device's backends and try the plan.

    Raises a ``MobilekitError`` like ``deploy``, ``ExportError`` for a network that cannot be cut,
    and ``RunFailedError`` where a run did not get through.
    """
    placed = options._replace(variant=Variant(backend="vulkan"))
    obstacle = find_vulkan_obstacle(placed, reporter)
    left_out = {} if obstacle is None else {"vulkan": obstacle}
    plans: list[PartitionPlan] = []
    singles: list[list[Candidate]] = []
    runs: list[Measurement] = []
    with prepare(options, store, reporter) as prepared:
        spec = prepared.artifact.model
        tells_energy = plan_deployed_energy(options, prepared) is not None
        with prepared.steps("segments"):
            reporter.note(f"Cutting {spec.name} into segments")
            chart, description = read_chart(
                spec, "pte", cache_directory=places.artifacts_directory()
            )
        programs = _Programs(prepared, chart, reporter)
        candidates = _candidates(chart, description, left_out)
        count = len(chart.segments)
        if "vulkan" in candidates and not programs.has(("vulkan",) * count):
            del candidates["vulkan"]
            left_out["vulkan"] = "the network cannot be exported to it"
        pure = [(each,) * count for each in (USUAL, *candidates)]
        if "portable" not in candidates:
            pure.append(("portable",) * count)
        wanted = list(dict.fromkeys([*boundary_assignments(count, candidates), *pure]))
        with prepared.steps("segments"):
            made = programs.make(wanted)
            alone = export_segments(
                spec,
                "pte",
                cache_directory=places.artifacts_directory(),
                on_progress=reporter.note,
            )
        files = [file for each in made for file in each.files]
        prepared.deliver([*files, *alone.files], reporter)
        every: list[Artifact | SegmentArtifact] = [*made, *alone.programs]
        for number in threads:
            measured, rounds = _time(
                options, prepared, every, ROUNDS, number, store, reporter, f"threads{number}"
            )
            runs.append(measured)
            of_programs, of_segments = rounds[: len(made)], rounds[len(made) :]
            # The least of a program's medians: other work on the device only ever adds to it.
            least = {each: min(of) for each, of in zip(wanted, of_programs, strict=True)}
            *own_ns, call_ns = map(min, of_segments)
            of_layers = {
                each.layers: max(own - call_ns, 0.0)
                for each, own in zip(alone.segments, own_ns, strict=True)
            }
            costs = fit_costs(
                chart,
                candidates,
                [
                    Observed(assignment=each, latency_ns=least[each])
                    for each in wanted
                    if _covers(each, candidates)
                ],
                [of_layers[each] for each in chart.segments],
            )
            assignment, predicted_ns = cheapest(
                chart, costs, [(each, least[each]) for each in pure]
            )
            best = min(pure, key=least.__getitem__)
            plans.append(
                PartitionPlan(
                    threads=number,
                    costs=costs,
                    assignment=assignment,
                    predicted_ns=predicted_ns,
                    best_single=best[0],
                    best_single_ns=least[best],
                )
            )
            singles.append(
                [
                    _candidate(each[0], number, of)
                    for each, of in zip(wanted, of_programs, strict=True)
                    if each in pure
                ]
            )
    chosen = min(range(len(plans)), key=lambda each: plans[each].predicted_ns)
    plan = plans[chosen]
    check: OutputCheck | None = None
    trial = sorted((each for of in singles for each in of), key=lambda each: each.p50_ns)
    adopted = False
    if len(set(plan.assignment)) > 1:
        tried, trial = _try(options, chart, plan, trial, store, reporter)
        runs += tried
        check = tried[0].result.samples.output_check
        ours = next(each for each in trial if each.name == "plan")
        right = check is not None and check.matches
        adopted = right and beats(ours, [each for each in trial if each.name != "plan"])
    powers: tuple[BackendPower, ...] = ()
    powers_unknown: dict[str, str] = {}
    if tells_energy:
        backends = (USUAL, *candidates)
        powers, powers_unknown, drawn = _measure_powers(
            options, chart, plan, backends, store, reporter
        )
        runs[:0] = drawn
    placement = _placement(chart, kept(trial, plan.assignment, adopted=adopted))
    return Partitioned(
        runs[-1],
        Partition(
            chart=chart,
            backends=(USUAL, *(each for each in ("vulkan", "portable") if each not in left_out)),
            left_out=left_out,
            plans=tuple(plans),
            best=chosen,
            trial=tuple(trial),
            check=check,
            adopted=adopted,
            verdict=verdict_on(trial, check, adopted=adopted),
            placement=placement,
            powers=powers,
            powers_unknown=powers_unknown,
            runs=tuple(each.id for each in runs),
        ),
    )


def _candidates(
    chart: Chart, description: Description, left_out: Mapping[str, str]
) -> dict[str, tuple[int, ...]]:
    """By backend other than the usual one, the segments that are tried there."""
    macs = {layer.name: layer.macs for layer in description.layers}
    small = tuple(
        place
        for place, layers in enumerate(chart.segments)
        if sum(macs[layer] for layer in layers) <= PORTABLE_MACS
    )
    found = {} if "vulkan" in left_out else {"vulkan": tuple(range(len(chart.segments)))}
    return found | ({"portable": small} if small else {})


def _covers(assignment: Assignment, candidates: Mapping[str, Sequence[int]]) -> bool:
    """Whether each segment of a program is on a backend that it is tried on."""
    return all(
        backend == USUAL or place in candidates.get(backend, ())
        for place, backend in enumerate(assignment)
    )


def _placement(chart: Chart, assignment: Assignment) -> tuple[Placed, ...]:
    return tuple(
        Placed(backend=backend, layers=layers)
        for backend in ("vulkan", "portable")
        if (
            layers := tuple(
                layer
                for group, each in zip(chart.segments, assignment, strict=True)
                for layer in group
                if each == backend
            )
        )
    )


def _variant(chart: Chart, assignment: Assignment) -> Variant:
    """A single backend's is the one that ``--backend`` asks for."""
    if set(assignment) == {"vulkan"}:
        return Variant(backend="vulkan")
    return Variant(placement=_placement(chart, assignment))


class _Programs:
    """Programs of one network for one device, exported as they are asked for."""

    def __init__(self, prepared: Prepared, chart: Chart, reporter: Reporter) -> None:
        self._prepared = prepared
        self._chart = chart
        self._reporter = reporter

    def has(self, assignment: Assignment) -> bool:
        """Whether it can be exported."""
        try:
            self.make([assignment])
        except ExportError as error:
            self._reporter.note(f"{assignment[0]} is left out: {error.what}")
            return False
        return True

    def make(self, assignments: Sequence[Assignment]) -> list[Artifact]:
        found = []
        for number, each in enumerate(assignments):
            if len(assignments) > 1 and number % 5 == 0:
                self._reporter.note(f"Exporting program {number + 1} of {len(assignments)}")
            spec = replace(self._prepared.artifact.model, variant=_variant(self._chart, each))
            made = export_artifact(
                spec,
                "pte",
                cache_directory=places.artifacts_directory(),
                on_progress=lambda _: None,
            )
            lacking = find_lacking(made.file, made.inputs, places.artifacts_directory())
            if lacking is not None and self._prepared.executor.outlives:
                raise lacking.refusal(f"{spec.name} over {made.backend}")
            found.append(made)
        return found


def _time(
    options: DeployOptions,
    prepared: Prepared,
    programs: Sequence[Artifact | SegmentArtifact],
    rounds: int,
    threads: int,
    store: Store,
    reporter: Reporter,
    name: str,
) -> tuple[Measurement, list[tuple[float, ...]]]:
    """The stored run, and of each program the median of each round in ns."""
    macs = prepared.artifact.cost.macs
    request = replace(
        make_request(options, prepared, name=name),
        threads=threads,
        profile_iterations=min(max(TIMED_MACS // max(macs, 1), FEWEST_TIMED), MOST_TIMED),
        segments=tuple(Segment(artifact=each.file, inputs=each.inputs) for each in programs)
        * rounds,
    )
    reporter.note(
        f"Timing {len(programs)} programs in {rounds} rounds, {threads} "
        f"thread{'' if threads == 1 else 's'}"
    )
    measured = run(prepared, begin(prepared, request, "partition"), store, reporter)
    if isinstance(measured.result, RunFailure):
        raise RunFailedError(
            f"The run of the programs failed: {measured.result.message}",
            fix=f"`mobilekit results show {measured.id}` tells how far it got.",
            code=measured.result.code,
            phase=measured.result.phase,
        )
    medians = [float(statistics.median(one.latency_ns)) for one in measured.result.samples.segments]
    return measured, [tuple(medians[at :: len(programs)]) for at in range(len(programs))]


def _candidate(name: str, threads: int, rounds: tuple[float, ...]) -> Candidate:
    return Candidate(
        name=name, threads=threads, round_p50_ns=rounds, p50_ns=statistics.median(rounds)
    )


def _measure_powers(
    options: DeployOptions,
    chart: Chart,
    plan: PartitionPlan,
    backends: Iterable[str],
    store: Store,
    reporter: Reporter,
) -> tuple[tuple[BackendPower, ...], dict[str, str], list[Measurement]]:
    """What the whole network draws on each backend, why that of others is not known, and the runs
    that were stored. Times were measured before: what breaks here takes no verdict away."""
    found, unknown, runs = [], {}, []
    for backend in backends:
        reporter.note(f"Measuring what {backend} draws")
        variant = _variant(chart, (backend,) * len(chart.segments))
        alone = options._replace(variant=variant, threads=plan.threads)
        try:
            measured = deploy(alone, store, reporter, purpose="partition")
        except (StoppedError, UnsavedError):
            raise
        except MobilekitError as error:
            unknown[backend] = error.what
            continue
        runs.append(measured)
        energy = derive_answer(measured).energy
        if energy is None:
            unknown[backend] = _why_no_energy(measured)
        else:
            found.append(
                BackendPower(
                    backend=backend,
                    origin=energy.origin,
                    power_w=energy.load_w,
                    inference_j=energy.gross_j,
                )
            )
    return tuple(found), unknown, runs


def _why_no_energy(measured: Measurement) -> str:
    if isinstance(measured.result, RunFailure):
        return f"its run failed: {measured.result.message}"
    doubts = [*measured.findings, *doubt_energy(measured)]
    return "; ".join(each.summary for each in doubts) or "its run told none"


def _try(
    options: DeployOptions,
    chart: Chart,
    plan: PartitionPlan,
    singles: Sequence[Candidate],
    store: Store,
    reporter: Reporter,
) -> tuple[list[Measurement], list[Candidate]]:
    """The plan, whose outputs are checked, and what of single backends is near, in new runs."""
    near = [each for each in singles if each.p50_ns <= NEAR * singles[0].p50_ns]
    variant = _variant(chart, plan.assignment)
    runs, found = [], []
    numbers = sorted(
        {each.threads for each in near} | {plan.threads}, key=lambda n: n != plan.threads
    )
    with prepare(options._replace(variant=variant), store, reporter) as prepared:
        programs = _Programs(prepared, chart, reporter)
        for number in numbers:
            names = [each.name for each in near if each.threads == number]
            made = programs.make([(name,) * len(chart.segments) for name in names])
            if number == plan.threads:
                names, made = ["plan", *names], [prepared.artifact, *made]
            prepared.deliver([file for each in made for file in each.files], reporter)
            measured, rounds = _time(
                options, prepared, made, TRIAL_ROUNDS, number, store, reporter, f"trial{number}"
            )
            runs.append(measured)
            found += [
                _candidate(*each) for each in zip(names, [number] * len(names), rounds, strict=True)
            ]
    return runs, sorted(found, key=lambda each: each.p50_ns)
