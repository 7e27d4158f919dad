"""Runs: begun, followed to their end, and stored."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.energy.gauge import NO_OVERRIDES, Overrides
from mobilekit.contract.protocol import (
    RunFailure,
    RunRequest,
    RunResult,
)
from mobilekit.contract.samples import interrupted, was_lost
from mobilekit.errors import (
    AdbServerError,
    AppError,
    DeviceError,
    DisconnectedError,
    MobilekitError,
)
from mobilekit.executor.computer import run_on_computer
from mobilekit.executor.phone import LEFT_TO_ITSELF, Link, Watch, follow_run
from mobilekit.executor.targets import Target
from mobilekit.flow.finish import finish
from mobilekit.flow.prepare import Ready
from mobilekit.flow.reporter import Reporter
from mobilekit.phone import runs as phone_runs
from mobilekit.phone.adb import Phone
from mobilekit.records.artifact import Cut
from mobilekit.records.measurement import (
    Examples,
    Measurement,
    Purpose,
)
from mobilekit.results.store import PendingRun, Store
from mobilekit.runner.host import read_host


def was_given_up(measurement: Measurement) -> bool:
    """Whether the phone was lost or a person stopped the run: then another run cannot follow, or is
    not wanted."""
    result = measurement.result
    return isinstance(result, RunFailure) and result.code in ("disconnected", "stopped")


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
                link = make_link(reporter, (request,), target.reconnect)
                result = follow_run(phone, request, link)
            except MobilekitError:
                _forget(target, begun, store)
                raise
            if not was_lost(result):
                with suppress(DeviceError, DisconnectedError, AdbServerError):
                    phone = target.reconnect()
    begun = replace(begun, time_spent=ready.steps.spent)
    return finish(begun, result, phone, store)


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
        link = make_link(reporter, requests[number:], target.reconnect)
        watch = Watch(phone, request, link)
        try:
            with ready.steps("run"):
                if left:
                    result: RunResult = interrupted(
                        request.run_id, [], LEFT_TO_ITSELF, "disconnected"
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
            on_measured(finish(measured, result, phone, store))
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
        dropped = [
            each for each in requests if phone_runs.read_state(phone, each.run_id) == "dropped"
        ]
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
    """The phone, on which these runs were started; raises as ``phone_runs.start_runs``."""
    assert target.reconnect is not None
    # One that left and came back, in a pilot run or since, is another one to adb.
    phone = target.reconnect()
    with tempfile.TemporaryDirectory(prefix="mobilekit-") as scratch:
        phone_runs.start_runs(phone, requests, Path(scratch))
    return phone


def _forget(target: Target, begun: Measurement, store: Store) -> None:
    """It did not begin, and without its request it never will."""
    assert target.phone is not None
    with suppress(DeviceError, DisconnectedError):
        phone_runs.remove_run(target.phone, begun.id)
    store.forget_pending(begun.id)


def make_link(
    reporter: Reporter, requests: Sequence[RunRequest], reconnect: Callable[[], Phone]
) -> Link:
    return Link(
        on_event=reporter.event,
        on_lost=lambda: reporter.lost(requests),
        on_back=reporter.back,
        reconnect=reconnect,
        sleep=time.sleep,
        clock_ns=time.monotonic_ns,
    )
