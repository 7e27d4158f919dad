"""Fetch the results of runs that were left on their phones."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from msgspec.structs import replace

from mobilekit.contract.protocol import (
    ProgressEvent,
    RunFailure,
    WindowMeasured,
)
from mobilekit.errors import (
    DamagedResultError,
    DeviceError,
    DisconnectedError,
    InUseError,
    PhoneError,
)
from mobilekit.executor.base import Executor, Listener
from mobilekit.executor.lock import exclusive
from mobilekit.executor.open import attached_phones
from mobilekit.flow.finish import finish
from mobilekit.flow.gauge import learn_gauge
from mobilekit.flow.reporter import Reporter
from mobilekit.records.measurement import (
    Measurement,
    WaitingRun,
    WhyWaiting,
)
from mobilekit.results.store import PendingRun, Store


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
    for key, executor in attached_phones() if pending else ():
        with suppress(DeviceError, DisconnectedError, PhoneError):
            held = executor.held_runs()
            for run_id, run in pending.items():
                if run_id in waiting and run.measurement.device.key == key and run_id not in held:
                    waiting[run_id] = _waiting(run, "not on its phone")
            for run_id in [run_id for run_id in pending if run_id in waiting and run_id in held]:
                outcome = _collect_run(executor, key, pending[run_id], store, reporter, wait=wait)
                if isinstance(outcome, WaitingRun):
                    wait = wait and outcome.why != "left to itself"
                    waiting[run_id] = outcome
                else:
                    del waiting[run_id]
                    collected.append(outcome)
    return Collection(tuple(collected), tuple(waiting.values()))


def _collect_run(
    executor: Executor,
    key: str,
    run: PendingRun,
    store: Store,
    reporter: Reporter,
    *,
    wait: bool,
) -> Measurement | WaitingRun:
    request = run.measurement.request
    windows = 0

    def count(event: ProgressEvent) -> None:
        nonlocal windows
        windows += isinstance(event, WindowMeasured)

    def count_and_tell(event: ProgressEvent) -> None:
        count(event)
        reporter.event(event)

    try:
        with exclusive(key):
            result, has_begun = executor.look(request, count)
            if result is None and wait:
                windows = 0
                listener = Listener(
                    on_event=count_and_tell,
                    on_lost=lambda: reporter.lost((request,)),
                    on_back=reporter.back,
                )
                try:
                    result = executor.follow(request, listener)
                except KeyboardInterrupt:
                    return _waiting(run, "left to itself", windows)
    except InUseError:
        return _waiting(run, "followed by another mobilekit")
    if result is None:
        return _waiting(run, "running" if has_begun else "waiting", windows)
    if isinstance(result, RunFailure) and not result.samples.phases:
        # Of what was heard before the phone was lost, nothing is left on it.
        heard = None
        with suppress(DamagedResultError):
            heard = store.find(run.measurement.id)
        result = result if heard is None else replace(result, samples=heard.result.samples)
    measurement = finish(run.measurement, result, executor, store)
    if measurement.purpose == "calibrate":
        learn_gauge(measurement, store, run.overrides)
    return measurement


def take_up(executor: Executor, run: PendingRun, store: Store, reporter: Reporter) -> Measurement:
    """Follow a run that was left on the device to its end and store it, as if it had never been
    left: from the keyboard it is stopped there, and ``KeyboardInterrupt`` raised once it is stored.
    """
    request = run.measurement.request
    listener = Listener(
        on_event=reporter.event,
        on_lost=lambda: reporter.lost((request,)),
        on_back=reporter.back,
    )
    try:
        result = executor.look(request, lambda _: None).result
        if result is None:
            result = executor.follow(request, listener)
    except KeyboardInterrupt:
        finish(run.measurement, executor.stop(request), executor, store)
        raise
    return finish(run.measurement, result, executor, store)


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
