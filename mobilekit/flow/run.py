"""Runs: begun, followed to their end, and stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import NamedTuple

from msgspec.structs import replace

from mobilekit.analysis.energy.gauge import NO_OVERRIDES, Overrides
from mobilekit.contract.protocol import RunRequest, RunResult
from mobilekit.contract.samples import interrupted, was_lost
from mobilekit.errors import (
    AppError,
    DeviceError,
    DisconnectedError,
    MobilekitError,
    StoppedError,
)
from mobilekit.executor.base import Executor, Listener
from mobilekit.executor.watch import LEFT_TO_ITSELF
from mobilekit.flow.finish import finish
from mobilekit.flow.prepare import Prepared
from mobilekit.flow.reporter import Reporter
from mobilekit.records.artifact import Artifact, Cut
from mobilekit.records.measurement import Examples, Measurement, Purpose
from mobilekit.records.prediction import EarlierPrediction
from mobilekit.results.store import PendingRun, Store
from mobilekit.runner.host import read_host


def begin(
    prepared: Prepared,
    request: RunRequest,
    purpose: Purpose,
    *,
    energy_wanted: bool = False,
    examples: Examples | None = None,
    cut: Cut | None = None,
    candidates: tuple[Artifact, ...] = (),
    predicted: EarlierPrediction | None = None,
) -> Measurement:
    """What is known of a run before it is started."""
    state = prepared.state
    return Measurement(
        id=request.run_id,
        purpose=purpose,
        started_at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        artifact=prepared.artifact,
        candidates=candidates,
        device=state.info,
        profile=state.profile,
        battery_before=state.battery,
        airplane_mode=state.airplane_mode,
        gauge=prepared.gauge,
        gain=prepared.gain,
        full_charge_uah=state.full_charge_uah,
        energy_wanted=energy_wanted,
        request=request,
        result=interrupted(request.run_id, [], "not collected yet", "disconnected"),
        host=read_host(),
        findings=prepared.foreseen,
        time_spent=prepared.steps.spent,
        layer_trace=None,
        cut=cut,
        virtual=state.info.virtual,
        campaign=None,
        examples=examples,
        classification=None,
        predicted=predicted,
    )


def run(
    prepared: Prepared,
    begun: Measurement,
    store: Store,
    reporter: Reporter,
    *,
    overrides: Overrides = NO_OVERRIDES,
) -> Measurement:
    """Run and store; a run that outlives this process can be collected later.

    ``overrides`` are for the gauge's calibration. Raises a ``MobilekitError`` for what keeps it
    from beginning, and ``StoppedError`` once it is stored where a person ended it: whatever was to
    follow is not wanted.
    """
    measured: list[Measurement] = []
    stopped = run_queue([Queued(prepared, begun, overrides)], store, reporter, measured.append)
    if stopped is not None:
        raise stopped
    return measured[0]


class Queued(NamedTuple):
    """A run that is to be started with others."""

    prepared: Prepared
    begun: Measurement
    overrides: Overrides = NO_OVERRIDES


def run_queue(
    queue: Sequence[Queued],
    store: Store,
    reporter: Reporter,
    on_measured: Callable[[Measurement], None],
) -> StoppedError | None:
    """Start all runs on one device at once, where they wait for each other, and follow them in
    turn.

    Whatever breaks, each is pending from before the start, and each comes to ``on_measured`` as
    soon as it is stored. From the keyboard all of them are stopped, or left to themselves on a
    phone that is away; what became of them is returned then. Raises a ``MobilekitError`` for what
    keeps the first from beginning.
    """
    executor = queue[0].prepared.executor
    requests = tuple(each.begun.request for each in queue)
    if executor.outlives:
        for each in queue:
            store.add_pending(PendingRun(each.begun, each.overrides))
    try:
        with queue[0].prepared.steps("run"):
            executor.start(requests)
    except MobilekitError:
        _forget_all(executor, requests, store)
        raise
    stopped = left = interrupted_here = False
    ended: list[str] = []
    for number, (prepared, begun, _) in enumerate(queue):
        request = requests[number]
        try:
            with prepared.steps("run"):
                if left:
                    result: RunResult = interrupted(
                        request.run_id, [], LEFT_TO_ITSELF, "disconnected"
                    )
                elif stopped:
                    result = executor.stop(request)
                else:
                    if request.energy is not None and len(queue) > 1:
                        name = begun.artifact.model.label
                        reporter.queued_run(name, number + 1, len(queue), request.energy)
                    if number > 0:
                        executor.restart(requests[number:])
                    result = executor.follow(request, _listener(reporter, requests[number:]))
        except KeyboardInterrupt:
            stopped = interrupted_here = True
            result = executor.stop(request)
        except AppError as error:
            if number == 0:
                _forget_all(executor, requests, store)
                raise
            result = interrupted(request.run_id, [], error.what)
        left = was_lost(result)
        if interrupted_here:
            ended.append(request.run_id)
        try:
            measured = replace(begun, time_spent=prepared.steps.spent)
            on_measured(finish(measured, result, executor, store))
        except KeyboardInterrupt:
            if number + 1 == len(queue):
                raise
            stopped = interrupted_here = True
            reporter.note(
                f"Interrupted while {request.run_id} was stored: `mobilekit collect` fetches it "
                "if it is not."
            )
    return _stopped(ended, left=left) if interrupted_here else None


def _stopped(run_ids: Sequence[str], *, left: bool) -> StoppedError:
    return StoppedError(
        "Interrupted from the keyboard",
        runs=", ".join(run_ids),
        fix="The phone is away and goes on by itself; `mobilekit collect` fetches everything."
        if left
        else "What was measured is kept: `mobilekit results show ID`.",
    )


def _listener(reporter: Reporter, requests: Sequence[RunRequest]) -> Listener:
    return Listener(
        on_event=reporter.event, on_lost=lambda: reporter.lost(requests), on_back=reporter.back
    )


def _forget_all(executor: Executor, requests: Sequence[RunRequest], store: Store) -> None:
    """They did not begin, and without their requests they never will."""
    if not executor.outlives:
        return
    for request in requests:
        with suppress(DeviceError, DisconnectedError):
            executor.clean(request.run_id, ())
        store.forget_pending(request.run_id)
