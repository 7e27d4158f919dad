"""The whole way on one page: from a model's name to a stored measurement. Read this first."""

from __future__ import annotations

import math
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.accuracy import classify
from mobilekit.analysis.energy.doubts import refuse_energy
from mobilekit.analysis.energy.gauge import NO_OVERRIDES, Overrides, characterize_gauge
from mobilekit.analysis.energy.planning import plan_energy
from mobilekit.analysis.findings import find_doubts, foresee_doubts
from mobilekit.analysis.layers.profile import why_by_segments
from mobilekit.analysis.layers.traces import parse_trace
from mobilekit.analysis.memory import least_need
from mobilekit.contract.codec import encode_pretty
from mobilekit.contract.outputs import map_tensor
from mobilekit.contract.protocol import (
    PACKAGE,
    PROTOCOL_VERSION,
    ArtifactFile,
    EnergyPlan,
    ProgressEvent,
    RunFailure,
    RunRequest,
    RunResult,
    RunSuccess,
    Segment,
    TensorFile,
    Trace,
    WindowMeasured,
)
from mobilekit.contract.samples import interrupted, was_lost
from mobilekit.errors import (
    AdbServerError,
    AppError,
    DeviceError,
    DisconnectedError,
    ExportError,
    InUseError,
    MobilekitError,
    ProtocolError,
    StoreError,
)
from mobilekit.executor.computer import run_on_computer
from mobilekit.executor.targets import Target, attached_phones, exclusive, open_target
from mobilekit.model.describe import find_description, read_description
from mobilekit.model.examples import prepare_examples
from mobilekit.model.export import (
    check_can_be_cut,
    export_artifact,
    export_segments,
    read_operators,
)
from mobilekit.model.zoo import find_model, with_activation
from mobilekit.phone import bench
from mobilekit.phone.adb import Phone
from mobilekit.phone.app import ensure_app
from mobilekit.phone.formats import WantedFormat, choose_format
from mobilekit.presets import (
    PRESETS,
    WARMUP,
    Preset,
    profiled_iterations,
)
from mobilekit.records.artifact import LARGEST_ERRORS, Artifact, Cut, Precision
from mobilekit.records.energy import (
    GaugeFound,
    GaugeGain,
    GaugeRefusal,
    GaugeVerdict,
    PlannedEnergy,
)
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import (
    Classification,
    Examples,
    Measurement,
    Purpose,
    TimeSpent,
    WaitingRun,
    WhyWaiting,
)
from mobilekit.records.network import Activation
from mobilekit.records.profile import LayerTrace
from mobilekit.results.render import render_findings
from mobilekit.results.store import PendingRun, Store
from mobilekit.runner.host import read_host

Iterations = int | Literal["auto"]
"""Inferences whose layers are timed; ``auto`` for as many as the network's size asks for."""


class Wanted(NamedTuple):
    """What a person asks ``deploy`` for."""

    model: str
    device: str
    weights: Path | None
    preset: str
    threads: int | None
    energy: bool
    require_phone: bool
    format: WantedFormat
    precision: Precision
    calibration: Path | None
    """Examples for int8; ``None``: generated ones."""
    apk: Path | None
    """The companion app to install where it is missing; ``None``: whichever is at hand."""
    install: bool
    """Whether the companion app may be installed."""
    activation: Activation | None
    """As in ``ModelSpec``."""


class Reporter(Protocol):
    """Hears what is going on while it goes on."""

    def step(self, name: str) -> None: ...

    def note(self, text: str) -> None: ...

    def pushed(self, done_bytes: int, total_bytes: int) -> None: ...

    def planned_energy(self, planned: PlannedEnergy, *, simulated: bool) -> None: ...

    def planned_calibration(self, plan: EnergyPlan, *, simulated: bool) -> None: ...

    def queued_run(self, name: str, number: int, count: int, plan: EnergyPlan) -> None:
        """That one of the runs that were started together is followed from here."""

    def event(self, event: ProgressEvent) -> None: ...

    def lost(self, requests: Sequence[RunRequest]) -> None:
        """The phone of these runs went away; the first of them was under way."""

    def back(self) -> None: ...


def profile(
    wanted: Wanted,
    store: Store,
    reporter: Reporter,
    *,
    iterations: Iterations,
    by_segments: bool | None,
) -> Measurement:
    """``deploy`` with the time of each layer: by segments, by a trace, or, for ``None``, by a trace
    and then by segments where it tells too little.

    What was traced in vain stays stored. Raises a ``MobilekitError`` like ``deploy``, and
    ``ExportError`` for a network without a trace that cannot be cut into segments.
    """
    if by_segments:
        return _profile_by_segments(wanted, store, reporter, iterations)
    traced = deploy(wanted, store, reporter, traced_iterations=iterations)
    why = why_by_segments(traced)
    if why is None or by_segments is False:
        return traced
    reporter.note(why)
    try:
        return _profile_by_segments(wanted, store, reporter, iterations)
    except ExportError as error:
        if traced.layer_trace is None:
            raise
        reporter.note(f"The trace has to do: {error.what}")
        return traced


def profile_alike(
    each_wanted: Sequence[Wanted],
    store: Store,
    reporter: Reporter,
    *,
    iterations: Iterations,
    by_segments: bool | None,
) -> list[Measurement]:
    """``profile`` of several networks, all in one way: where one is cut, all are."""
    found = [
        profile(each, store, reporter, iterations=iterations, by_segments=by_segments)
        for each in each_wanted
    ]
    if all(each.cut is None for each in found):
        return found
    return [
        each if each.cut is not None else _profile_by_segments(wanted, store, reporter, iterations)
        for wanted, each in zip(each_wanted, found, strict=True)
    ]


def _profile_by_segments(
    wanted: Wanted, store: Store, reporter: Reporter, iterations: Iterations
) -> Measurement:
    check_can_be_cut(wanted.precision)
    reporter.note("The layers are measured by segments, in a run of their own")
    with made_ready(wanted, store, reporter) as ready:
        with ready.steps("segments"):
            cut = export_segments(
                ready.artifact.model,
                ready.artifact.file.format,
                precision=wanted.precision,
                cache_directory=places.artifacts_directory(),
                on_progress=reporter.note,
            )
        _push(ready.target, cut.files, ready.steps, reporter)
        request = replace(
            make_request(wanted, ready, PRESETS[wanted.preset], None),
            profile_iterations=_iterations_of(iterations, ready.artifact),
            segments=tuple(
                Segment(artifact=each.file, inputs=each.inputs) for each in cut.programs
            ),
        )
        return run_and_store(ready, request, store, reporter, purpose="profile", cut=cut)


def _iterations_of(wanted: Iterations, artifact: Artifact) -> int:
    return profiled_iterations(artifact.cost.macs) if wanted == "auto" else wanted


def deploy(
    wanted: Wanted,
    store: Store,
    reporter: Reporter,
    *,
    traced_iterations: Iterations | None = None,
) -> Measurement:
    """Export, push, run and store one measurement; a run that failed is a measurement too.

    With ``traced_iterations`` it holds a trace of so many inferences as well, made in a pass of
    their own. Where the engine could not trace, or its trace cannot be read, the run's samples say
    why. Raises a ``MobilekitError`` for what keeps the run from taking place.
    """
    with made_ready(wanted, store, reporter) as ready:
        if traced_iterations is not None:
            with ready.steps("layers"):
                read_description(ready.artifact.model, cache_directory=places.artifacts_directory())
        plan = None
        on_battery = ready.target.battery is not None and not ready.target.battery.plugged
        refusal = ready.refusal
        if wanted.energy and on_battery and refusal is not None:
            ready = ready._replace(foreseen=(*ready.foreseen, refuse_energy(refusal)))
        elif wanted.energy and on_battery and ready.target.profile is not None:
            preset = PRESETS[wanted.preset]
            planned = plan_energy(
                ready.target.profile,
                blocks=preset.energy_blocks,
                target_error=preset.energy_target_error,
                verdict=ready.gauge,
                gain=ready.gain,
                level_percent=ready.level_percent,
            )
            plan = planned.plan
            reporter.planned_energy(planned, simulated=ready.target.info.virtual)
        request = replace(
            make_request(wanted, ready, PRESETS[wanted.preset], plan),
            profile_iterations=None
            if traced_iterations is None
            else _iterations_of(traced_iterations, ready.artifact),
        )
        purpose: Purpose = "measure" if traced_iterations is None else "profile"
        return run_and_store(
            ready, request, store, reporter, purpose=purpose, energy_wanted=wanted.energy
        )


def was_given_up(measurement: Measurement) -> bool:
    """Whether the phone was lost or a person stopped the run: then another run cannot follow, or is
    not wanted."""
    result = measurement.result
    return isinstance(result, RunFailure) and result.code in ("disconnected", "stopped")


def learn_gauge(measurement: Measurement, store: Store, overrides: Overrides) -> GaugeFound | None:
    """From a run that came to its end: half of one must not take the place of what a whole one
    found."""
    windows, profile = measurement.result.samples.windows, measurement.profile
    if not windows or profile is None or isinstance(measurement.result, RunFailure):
        return None
    found = characterize_gauge(
        windows,
        profile,
        device=measurement.device.gauge_key,
        run_id=measurement.id,
        measured_at=measurement.started_at,
        overrides=overrides,
    )
    store.save_gauge(found)
    return found


def evaluate(wanted: Wanted, data: Path | None, store: Store, reporter: Reporter) -> Measurement:
    """Run labelled examples on the device as well; the measurement holds what came of each.

    ``data`` as in ``open_dataset``. Raises a ``MobilekitError`` like ``deploy``, and ``DataError``.
    """
    with made_ready(wanted, store, reporter) as ready:
        with ready.steps("examples"):
            examples = prepare_examples(
                ready.artifact.model,
                data,
                cache_directory=places.artifacts_directory(),
                on_progress=reporter.note,
            )
        _push(ready.target, (examples.inputs,), ready.steps, reporter)
        request = make_request(wanted, ready, PRESETS[wanted.preset], None)
        request = replace(request, evaluation=examples.inputs)
        return run_and_store(ready, request, store, reporter, purpose="evaluate", examples=examples)


class Ready(NamedTuple):
    """An artifact that is where it is to run, and what is known of the gauge there."""

    target: Target
    artifact: Artifact
    foreseen: tuple[Finding, ...]
    """Doubts that did not wait for the run."""
    found_gauge: GaugeFound | None
    gain: GaugeGain | None
    steps: _Steps

    @property
    def gauge(self) -> GaugeVerdict | None:
        return self.found_gauge if isinstance(self.found_gauge, GaugeVerdict) else None

    @property
    def refusal(self) -> GaugeRefusal | None:
        """Why no energy may be told from this gauge."""
        found = self.found_gauge
        return found if isinstance(found, GaugeRefusal) and found.contradictory else None

    @property
    def level_percent(self) -> int | None:
        """How full the battery is."""
        return self.target.battery.level_percent if self.target.battery else None


@contextmanager
def made_ready(wanted: Wanted, store: Store, reporter: Reporter) -> Iterator[Ready]:
    """Find the model and the device, export, install the app and push."""
    with all_made_ready((wanted,), store, reporter) as (ready,):
        yield ready


@contextmanager
def all_made_ready(
    wanted: Sequence[Wanted], store: Store, reporter: Reporter
) -> Iterator[tuple[Ready, ...]]:
    """As ``made_ready``, for several models on the device of the first."""
    steps = tuple(_Steps(reporter) for _ in wanted)
    specs = []
    for each, its_steps in zip(wanted, steps, strict=True):
        with its_steps("model"):
            spec = find_model(each.model, weights=each.weights)
            if each.activation is not None:
                spec = with_activation(spec, each.activation)
            specs.append(spec)
    with ExitStack() as opened:
        with steps[0]("device"):
            target = opened.enter_context(open_target_of(wanted[0], reporter))
            if target.phone is not None:
                _refuse_occupied(target.phone, store)
            choices = [
                choose_format(each.format, target.info, target.told_formats) for each in wanted
            ]
            for reason in dict.fromkeys(choice.reason for choice in choices):
                if reason is not None:
                    reporter.note(reason)
            if target.phone is not None:
                ensure_app(
                    target.phone,
                    wanted[0].apk,
                    may_install=wanted[0].install,
                    on_note=reporter.note,
                    on_bytes=reporter.pushed,
                )
        artifacts, foreseen = [], []
        for each, its_steps, spec, choice in zip(wanted, steps, specs, choices, strict=True):
            with its_steps("export"):
                artifact = export_artifact(
                    spec,
                    choice.format,
                    precision=each.precision,
                    calibration=each.calibration,
                    cache_directory=places.artifacts_directory(),
                    on_progress=reporter.note,
                )
            description = find_description(spec, cache_directory=places.artifacts_directory())
            doubts = foresee_doubts(least_need(artifact, description), target.info)
            for line in render_findings(doubts):
                reporter.note(line)
            artifacts.append(artifact)
            foreseen.append(doubts)
        for artifact, its_steps in zip(artifacts, steps, strict=True):
            _push(target, artifact.files, its_steps, reporter)
        yield tuple(
            Ready(
                target,
                artifact,
                doubts,
                found_gauge=store.read_gauge(target.info.gauge_key),
                gain=store.read_gain(target.info.gauge_key),
                steps=its_steps,
            )
            for artifact, doubts, its_steps in zip(artifacts, foreseen, steps, strict=True)
        )


def open_target_of(wanted: Wanted, reporter: Reporter) -> AbstractContextManager[Target]:
    return open_target(
        wanted.device,
        require_phone=wanted.require_phone,
        energy=wanted.energy,
        on_note=reporter.note,
    )


def _refuse_occupied(phone: Phone, store: Store) -> None:
    """A second run would wait behind the one that was left on the phone."""
    pending = {run.measurement.id for run in store.list_pending()}
    for run_id in sorted(bench.list_runs(phone) & pending) if pending else ():
        if bench.is_going_on(phone, run_id):
            raise InUseError(
                "A run that was started before goes on on this phone",
                serial=phone.serial,
                run_id=run_id,
                fix="`mobilekit collect --wait` follows it to its end; "
                f"`adb -s {phone.serial} shell am force-stop {PACKAGE}` ends it, and `mobilekit "
                "collect` fetches what it has measured.",
            )


def _push(
    target: Target,
    files: Sequence[ArtifactFile | TensorFile],
    steps: _Steps,
    reporter: Reporter,
) -> None:
    with steps("push"):
        if target.phone is not None:
            bench.deliver(
                target.phone, files, places.artifacts_directory(), on_bytes=reporter.pushed
            )


def run_and_store(
    ready: Ready,
    request: RunRequest,
    store: Store,
    reporter: Reporter,
    *,
    purpose: Purpose,
    energy_wanted: bool = False,
    overrides: Overrides = NO_OVERRIDES,
    examples: Examples | None = None,
    cut: Cut | None = None,
) -> Measurement:
    """Run and store; a run on a phone can be collected later if this process does not live."""
    target = ready.target
    begun = _begin(ready, request, purpose, energy_wanted=energy_wanted, examples=examples, cut=cut)
    phone = target.phone
    with ready.steps("run"):
        if target.phone is None:
            result = run_on_computer(request, places.artifacts_directory(), on_event=reporter.event)
        else:
            assert target.reconnect is not None
            store.add_pending(PendingRun(begun, overrides))
            try:
                phone = _start(target, (request,))
                link = _link(reporter, (request,), target.reconnect)
                result = bench.follow_run(phone, request, link)
            except MobilekitError:
                _forget(target, begun, store)
                raise
            if not was_lost(result):
                with suppress(DeviceError, DisconnectedError, AdbServerError):
                    phone = target.reconnect()
    begun = replace(begun, time_spent=ready.steps.spent)
    return _finish(begun, result, phone, store)


def run_queue_and_store(
    runs: Sequence[tuple[Ready, RunRequest]],
    store: Store,
    reporter: Reporter,
    on_measured: Callable[[Measurement], None],
) -> None:
    """Start all runs on the phone at once, where they wait for each other, and follow them in turn.

    Whatever breaks, each is pending from before the start, and each comes to ``on_measured`` as
    soon as it is stored. From the keyboard all of them are stopped, or left to themselves on a
    phone that is away. Raises a ``MobilekitError`` for what keeps the first from beginning.
    """
    target = runs[0][0].target
    assert target.reconnect is not None
    requests = tuple(request for _, request in runs)
    begun = []
    for ready, request in runs:
        begun.append(_begin(ready, request, "measure", energy_wanted=True))
        store.add_pending(PendingRun(begun[-1]))
    try:
        phone = _start(target, requests)
    except MobilekitError:
        for each in begun:
            _forget(target, each, store)
        raise
    stopped = left = False
    for number, (ready, request) in enumerate(runs):
        link = _link(reporter, requests[number:], target.reconnect)
        watch = bench.Watch(phone, request, link)
        try:
            with ready.steps("run"):
                if left:
                    result: RunResult = interrupted(
                        request.run_id, [], bench.LEFT_TO_ITSELF, "disconnected"
                    )
                elif stopped:
                    result = watch.stop()
                else:
                    assert request.energy is not None
                    reporter.queued_run(
                        ready.artifact.model.name, number + 1, len(runs), request.energy
                    )
                    if number > 0:
                        watch.phone = _restart_dropped(target, phone, requests[number:])
                    result = watch.to_end()
        except KeyboardInterrupt:
            stopped = True
            result = watch.stop()
        except AppError as error:
            if number == 0:
                for each in begun:
                    _forget(target, each, store)
                raise
            result = interrupted(request.run_id, [], error.what)
        left = was_lost(result)
        phone = watch.phone
        try:
            if not left:
                with suppress(DeviceError, DisconnectedError, AdbServerError):
                    phone = target.reconnect()
            measured = replace(begun[number], time_spent=ready.steps.spent)
            on_measured(_finish(measured, result, phone, store))
        except KeyboardInterrupt:
            if number + 1 == len(runs):
                raise
            stopped = True
            reporter.note(
                f"Interrupted while {request.run_id} was stored: `mobilekit collect` fetches it "
                "if it is not."
            )


def _restart_dropped(target: Target, phone: Phone, requests: Sequence[RunRequest]) -> Phone:
    """The phone, after a start anew of what a crash of the companion kept from beginning."""
    try:
        dropped = [each for each in requests if bench.read_state(phone, each.run_id) == "dropped"]
        return _start(target, dropped) if dropped else phone
    except MobilekitError:
        # Who follows them finds out.
        return phone


def _begin(
    ready: Ready,
    request: RunRequest,
    purpose: Purpose,
    *,
    energy_wanted: bool,
    examples: Examples | None = None,
    cut: Cut | None = None,
) -> Measurement:
    """What is known of a run before it is started."""
    target = ready.target
    return Measurement(
        id=request.run_id,
        purpose=purpose,
        started_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        artifact=ready.artifact,
        device=target.info,
        profile=target.profile,
        battery_before=target.battery,
        airplane_mode=target.airplane_mode,
        gauge=ready.gauge,
        gain=ready.gain,
        full_charge_uah=target.full_charge_uah,
        energy_wanted=energy_wanted,
        request=request,
        result=interrupted(request.run_id, [], "not collected yet", "disconnected"),
        host=read_host(),
        findings=ready.foreseen,
        time_spent=ready.steps.spent,
        layer_trace=None,
        cut=cut,
        virtual=target.info.virtual,
        examples=examples,
        classification=None,
    )


def _start(target: Target, requests: Sequence[RunRequest]) -> Phone:
    """The phone, on which these runs were started; raises as ``bench.start_runs``."""
    assert target.reconnect is not None
    # One that left and came back, in a pilot run or since, is another one to adb.
    phone = target.reconnect()
    with tempfile.TemporaryDirectory(prefix="mobilekit-") as scratch:
        bench.start_runs(phone, requests, Path(scratch))
    return phone


def _forget(target: Target, begun: Measurement, store: Store) -> None:
    """It did not begin, and without its request it never will."""
    assert target.phone is not None
    with suppress(DeviceError, DisconnectedError):
        bench.remove_run(target.phone, begun.id)
    store.forget_pending(begun.id)


def _link(
    reporter: Reporter, requests: Sequence[RunRequest], reconnect: Callable[[], Phone]
) -> bench.Link:
    return bench.Link(
        on_event=reporter.event,
        on_lost=lambda: reporter.lost(requests),
        on_back=reporter.back,
        reconnect=reconnect,
        sleep=time.sleep,
        clock_ns=time.monotonic_ns,
    )


def _finish(
    begun: Measurement,
    result: RunResult,
    phone: Phone | None,
    store: Store,
) -> Measurement:
    """Store what came of a run, and leave nothing of it on the phone."""
    classification = None
    if begun.examples is not None and isinstance(result, RunSuccess):
        try:
            classification = _classify(begun, begun.examples, result, phone)
        except MobilekitError as error:
            result = _incomplete(result, "evaluate", error)
    layer_trace = None
    if result.samples.trace is not None:
        try:
            layer_trace = _read_trace(begun, result.samples.trace, phone)
        except (DisconnectedError, DeviceError) as error:
            result = result if was_lost(result) else _incomplete(result, "profile", error)
        except MobilekitError as error:
            samples = replace(result.samples, profile_refusal=error.what)
            result = replace(result, samples=samples)
    measurement = replace(
        begun, result=result, classification=classification, layer_trace=layer_trace
    )
    measurement = replace(measurement, findings=find_doubts(measurement))
    _save(measurement, store)
    if phone is not None and not was_lost(result):
        _clear_up(phone, measurement)
    return measurement


def _classify(
    begun: Measurement, examples: Examples, result: RunSuccess, phone: Phone | None
) -> Classification:
    """Read what the run's examples yielded, from the phone first; raises a ``MobilekitError``."""
    directory = places.artifacts_directory()
    evaluation = result.samples.evaluation
    expected = examples.reference_outputs
    if evaluation is None or math.prod(evaluation.outputs.shape) != math.prod(expected.shape):
        raise ProtocolError(
            "The companion did not give the network's outputs for every example",
            fix="Check that the companion app is of mobilekit's own version.",
        )
    if phone is not None:
        bench.fetch_outputs(phone, begun.id, evaluation.outputs, directory)
    return classify(
        examples,
        map_tensor(directory, evaluation.outputs).reshape(expected.shape),
        map_tensor(directory, expected),
        LARGEST_ERRORS[begun.artifact.precision],
    )


def _incomplete(
    result: RunResult, phase: Literal["profile", "evaluate"], error: MobilekitError
) -> RunFailure:
    """A run of which a file cannot be had has failed, whatever else it measured; it is to be
    collected again where the phone left."""
    lost = isinstance(error, (DisconnectedError, DeviceError))
    return RunFailure(
        protocol_version=result.protocol_version,
        run_id=result.run_id,
        phase=phase,
        code="disconnected" if lost else "internal",
        message=f"what the {phase} phase wrote could not be fetched: {error.what}",
        samples=result.samples,
    )


def _read_trace(begun: Measurement, trace: Trace, phone: Phone | None) -> LayerTrace:
    """What the engine recorded, from the phone first, with what tells its layers."""
    directory = places.artifacts_directory()
    path = directory / trace.kept_name
    if phone is not None:
        bench.fetch_trace(phone, begun.id, path)
    try:
        operators = parse_trace(trace, path.read_bytes())
    finally:
        path.unlink(missing_ok=True)
    return LayerTrace(
        description=read_description(begun.artifact.model, cache_directory=directory),
        program=read_operators(begun.artifact, cache_directory=directory),
        operators=operators,
    )


class Collection(NamedTuple):
    collected: tuple[Measurement, ...]
    waiting: tuple[WaitingRun, ...]


def collect(store: Store, reporter: Reporter, *, wait: bool) -> Collection:
    """Fetch and store the results of runs that were started earlier and left on their phones.

    A phone is known by the runs that it holds, so it may be reached in another way than when they
    were started. With ``wait``, a run that still goes on is followed to its end; from the keyboard
    it is left to itself, and no other is followed.
    """
    in_order = sorted(store.list_pending(), key=lambda run: run.measurement.started_at)
    pending = {run.measurement.id: run for run in in_order}
    collected: list[Measurement] = []
    waiting = {run_id: _waiting(run, "not attached") for run_id, run in pending.items()}
    for phone, name, reconnect in attached_phones() if pending else ():
        with suppress(DeviceError, DisconnectedError):
            held = bench.list_runs(phone)
            for run_id in [run_id for run_id in pending if run_id in waiting and run_id in held]:
                run = pending[run_id]
                outcome = _collect_run(phone, name, reconnect, run, store, reporter, wait=wait)
                if isinstance(outcome, WaitingRun):
                    wait = wait and outcome.why != "left to itself"
                    waiting[run_id] = outcome
                else:
                    del waiting[run_id]
                    collected.append(outcome)
    return Collection(tuple(collected), tuple(waiting.values()))


def _collect_run(
    phone: Phone,
    name: str,
    reconnect: Callable[[], Phone],
    run: PendingRun,
    store: Store,
    reporter: Reporter,
    *,
    wait: bool,
) -> Measurement | WaitingRun:
    request = run.measurement.request
    link = _link(reporter, (request,), reconnect)
    windows = 0

    def count(event: ProgressEvent) -> None:
        nonlocal windows
        windows += isinstance(event, WindowMeasured)

    def count_and_tell(event: ProgressEvent) -> None:
        count(event)
        reporter.event(event)

    try:
        with exclusive(name):
            watch = bench.Watch(phone, request, link._replace(on_event=count))
            result = watch.look()
            if result is None and wait:
                windows = 0
                watch = bench.Watch(phone, request, link._replace(on_event=count_and_tell))
                try:
                    result = watch.to_end()
                except KeyboardInterrupt:
                    return _waiting(run, "left to itself", windows)
    except InUseError:
        return _waiting(run, "followed by another mobilekit")
    if result is None:
        return _waiting(run, "running" if watch.has_begun else "waiting", windows)
    if isinstance(result, RunFailure) and not result.samples.phases:
        # Of what was heard before the phone was lost, nothing is left on it.
        heard = store.find(run.measurement.id)
        result = result if heard is None else replace(result, samples=heard.result.samples)
    measurement = _finish(run.measurement, result, phone, store)
    if measurement.purpose == "calibrate":
        learn_gauge(measurement, store, run.overrides)
    return measurement


def _waiting(run: PendingRun, why: WhyWaiting, windows: int = 0) -> WaitingRun:
    measurement, plan = run.measurement, run.measurement.request.energy
    return WaitingRun(
        id=measurement.id,
        started_at=measurement.started_at,
        device=measurement.device.name,
        why=why,
        windows=windows,
        planned_windows=2 * plan.blocks + 1 if plan else 0,
    )


def make_request(
    wanted: Wanted, ready: Ready, preset: Preset, energy: EnergyPlan | None, *, name: str = ""
) -> RunRequest:
    """The run that a preset asks for; ``name`` tells its id from others'."""
    artifact, target = ready.artifact, ready.target
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    prefix = "".join(
        char if char.isascii() and char.isalnum() else "-"
        for char in f"{artifact.model.name}-{target.info.name}{name and '-'}{name}".lower()
    )
    return RunRequest(
        protocol_version=PROTOCOL_VERSION,
        run_id=f"{prefix[:40]}-{stamp}-{secrets.token_hex(2)}",
        artifact=artifact.file,
        inputs=artifact.inputs,
        reference_outputs=artifact.reference_outputs,
        relative_tolerance=artifact.relative_tolerance,
        threads=wanted.threads,
        cold_loads=preset.cold_loads,
        warmup=WARMUP,
        min_iterations=preset.min_iterations,
        min_duration_ns=preset.min_duration_ns,
        max_duration_ns=preset.max_duration_ns,
        profile_iterations=None,
        segments=(),
        evaluation=None,
        energy=energy,
    )


def _save(measurement: Measurement, store: Store) -> None:
    """Store it; what the database does not take is kept in a file that the error names."""
    try:
        store.save(measurement)
    except StoreError as error:
        path = places.unsaved_directory() / f"{measurement.id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_pretty(measurement))
        raise StoreError(
            error.what,
            fix=f"The measurement is kept as JSON. {error.fix}",
            kept=path,
            **error.facts,
        ) from None


def _clear_up(phone: Phone, measurement: Measurement) -> None:
    """Leave nothing of a stored run on the phone, and no file that it found corrupt."""
    result = measurement.result
    # All is stored: a phone that leaves now takes nothing with it.
    with suppress(DeviceError, DisconnectedError):
        bench.remove_run(phone, measurement.id)
        if isinstance(result, RunFailure) and result.code == "file_corrupt":
            cut = measurement.cut
            for file in (*measurement.artifact.files, *(cut.files if cut is not None else ())):
                bench.forget_file(phone, file)


class _Steps:
    """Tells the reporter of each step and adds up where the time went."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._spent: dict[str, int] = {}
        self._step: str | None = None
        self._since_ns = time.monotonic_ns()

    @property
    def spent(self) -> tuple[TimeSpent, ...]:
        self._account()
        return tuple(TimeSpent(step=step, duration_ns=ns) for step, ns in self._spent.items())

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        outer = self._step
        self._account()
        self._step = step
        self._reporter.step(step)
        try:
            yield
        finally:
            self._account()
            self._step = outer

    def _account(self) -> None:
        now_ns = time.monotonic_ns()
        if self._step is not None:
            self._spent[self._step] = self._spent.get(self._step, 0) + now_ns - self._since_ns
        self._since_ns = now_ns
