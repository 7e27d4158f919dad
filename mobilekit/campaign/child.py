"""``python -m mobilekit.campaign.child DIRECTORY``: one run of a campaign, in a process of its own.

``order.json`` there says which. What it does goes to standard output, a line each; what came of it
is ``outcome.json``, written whole or not at all. An interrupt, and the end of its standard input,
which is the end of its host, stop the run on the phone; then there is no outcome.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from mobilekit.campaign.artifacts import fetch_artifact
from mobilekit.contract.codec import Record, decode, encode
from mobilekit.contract.protocol import (
    EnergyPlan,
    PhaseStarted,
    ProgressEvent,
    RunFailure,
    RunRequest,
    WaitEnded,
    WaitStarted,
)
from mobilekit.contract.samples import was_lost
from mobilekit.errors import (
    AdbServerError,
    DamagedResultError,
    DeviceError,
    DisconnectedError,
    MobilekitError,
    PhoneError,
    ProtocolError,
    StoppedError,
    StoreError,
    UsageError,
)
from mobilekit.flow.collect import take_up
from mobilekit.flow.deploy import deploy
from mobilekit.flow.energy import Confirmation, measure_energy
from mobilekit.flow.prepare import Check, DeployOptions, open_device_of
from mobilekit.model.files import write_whole
from mobilekit.model.given import NOTHING
from mobilekit.plain import plain
from mobilekit.records.campaign import Gates, Outcome, PlacedRun
from mobilekit.records.device import DeviceState
from mobilekit.records.energy import PlannedEnergy
from mobilekit.records.measurement import Measurement
from mobilekit.results.campaign_rows import (
    BegunRuns,
)
from mobilekit.results.campaigns import (
    Campaigns,
)
from mobilekit.results.store import PendingRun, Store
from mobilekit.results.text.progress import PHASE_TEXTS, STEP_TEXTS, TIMEOUT_TEXTS, WAIT_TEXTS

AWAY = "the phone is away"
LOOK_S = 2.0
"""Between two looks at a phone that is not ready for its run."""
STOPPED_CODE = 130


class ChildOrder(Record, frozen=True):
    campaign: str
    placed: PlacedRun
    measured: str
    """A file in which what was measured is kept for the run's next attempt here, until it is
    stored."""
    store: str


class NotReadyError(DeviceError):
    """The phone is there, and is not yet as the campaign wants it."""


class NotKeptError(MobilekitError):
    """There is no room for what was measured; it is still on its phone."""


class Outbox(Store):
    """The store, but what is measured is only kept: the host stores it, once."""

    def __init__(self, order: ChildOrder) -> None:
        super().__init__(order.store, keeps_connections=False)
        self._order = order
        self._key = order.placed.run.key
        self._campaigns = Campaigns(order.store, most_connections=0)
        self._measured_file = Path(order.measured)
        self._mine: set[str] = set()
        """Started by this attempt."""
        self._on_phone: set[str] = set()
        """... and those of earlier ones, of which a phone may have the files."""
        self.kept: tuple[Measurement, ...] = self._read_kept()
        self.lost: Measurement | None = None
        """What there is of a run whose phone went away in the middle of it."""

    @property
    def has_run(self) -> bool:
        """Whether there is what the run is for, besides what planned it."""
        return any(each.purpose == "measure" for each in self.kept)

    def check_writable(self) -> None:
        """The host keeps what is measured, however the store is."""

    def save(self, measurement: Measurement) -> None:
        """Raises ``NotKeptError`` where there is no room for it, unless it is nowhere else."""
        result = measurement.result
        if was_lost(result):
            self.lost = replace(measurement, campaign=self._order.campaign)
            return
        self.lost = None
        code = result.code if isinstance(result, RunFailure) else None
        if code == "interrupted" and measurement.id in self._on_phone - self._mine:
            self.forget(measurement.id)
            return  # What was under way when its host ended is measured again.
        kept = (*self.kept, replace(measurement, campaign=self._order.campaign))
        try:
            if code != "stopped":
                write_whole(self._measured_file, encode(kept))
        except OSError as error:
            if measurement.id in self._on_phone:
                raise NotKeptError(
                    f"What was measured cannot be kept here: {error.strerror or error}",
                    directory=self._measured_file.parent,
                    fix="Free some space there; until then it stays on its phone.",
                ) from None
        self.kept = kept

    def add_pending(self, run: PendingRun) -> None:
        self._mine.add(run.measurement.id)
        self._on_phone.add(run.measurement.id)
        begun = replace(run.measurement, campaign=self._order.campaign)
        self._campaigns.add_begun(self._order.campaign, self._key, run._replace(measurement=begun))

    def list_begun(self) -> BegunRuns:
        begun = self._campaigns.list_begun(self._order.campaign, self._key)
        self._on_phone |= {each.measurement.id for each in begun.pending}
        return begun

    def adopt(self, stored: Sequence[Measurement]) -> None:
        """Take for the run's own what somebody has collected of it."""
        self.kept = tuple(stored)

    def forget_kept(self) -> None:
        """Of what is kept its phone has nothing any more to be collected."""
        for each in self.kept:
            self.forget(each.id)

    def forget(self, run_id: str) -> None:
        """Its phone has nothing of it any more."""
        with suppress(StoreError, UsageError):
            self.forget_pending(run_id)

    def _read_kept(self) -> tuple[Measurement, ...]:
        try:
            kept: tuple[Measurement, ...] = decode(
                self._measured_file.read_bytes(),
                tuple[Measurement, ...],
                source=self._measured_file.name,
            )
        except (OSError, ProtocolError):
            return ()
        return kept if any(each.purpose == "measure" for each in kept) else ()


class LineReporter:
    """Says a line for each thing that is begun."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def step(self, name: str) -> None:
        self._say(STEP_TEXTS[name])

    def note(self, text: str) -> None:
        """Notes are for who sits before it."""

    def pushed(self, done_bytes: int, total_bytes: int) -> None:
        """The step says so."""

    def planned_energy(self, planned: PlannedEnergy, *, simulated: bool) -> None:
        """The plan is in the result."""

    def planned_calibration(self, plan: EnergyPlan, *, simulated: bool) -> None:
        """A campaign calibrates nothing."""

    def queued_run(self, name: str, number: int, count: int, plan: EnergyPlan) -> None:
        """One at a time."""

    def event(self, event: ProgressEvent) -> None:
        if isinstance(event, PhaseStarted):
            self._say(f"Running: {PHASE_TEXTS[event.phase]}")
        elif isinstance(event, WaitStarted):
            self._say(f"waits: {WAIT_TEXTS[event.reason]}")
        elif isinstance(event, WaitEnded) and not event.wait.passed:
            self._say(TIMEOUT_TEXTS[event.wait.reason])

    def lost(self, requests: Sequence[RunRequest]) -> None:
        self._say(f"waits: {AWAY}")

    def back(self) -> None:
        self._say("The phone is back")


def carry_out(
    order: ChildOrder,
    say: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock_s: Callable[[], float] = time.monotonic,
) -> Outcome:
    """The run, once its phone is there and as it should be, and the store can be read: the phone is
    given its patience, the store whatever it takes.

    A run that an earlier attempt started on the phone, and whose host died or lost it, is followed
    to its end in place of another one; so is one whose phone goes away in the middle, once it is
    back. Raises ``StoppedError`` or ``KeyboardInterrupt`` for one that was ended.
    """
    run = order.placed.run
    deadline_s = clock_s() + run.gates.patience_s
    was_away = False
    outbox: Outbox | None = None
    while True:
        looked_s = clock_s()
        try:
            outbox = outbox or Outbox(order)
            if not outbox.has_run:
                fetch_artifact(order.store, order.placed.artifact)
                _take_up_begun(order.placed, outbox, say)
            if not outbox.has_run and outbox.lost is None:
                _measure(order.placed, outbox, say)
            if outbox.lost is None:
                return _outcome_of(outbox.kept)
            waits_for = AWAY
            if not was_away:
                was_away, deadline_s = True, clock_s() + run.gates.patience_s
            failed = _outcome_of((*outbox.kept, outbox.lost))
        except DamagedResultError as error:
            return _failed(error, outbox)
        except StoreError as error:
            # Until it is back or the host ends this; the phone's patience is not spent meanwhile.
            say(f"waits: {error.what}")
            sleep(LOOK_S)
            deadline_s += clock_s() - looked_s
            continue
        except (DeviceError, DisconnectedError, AdbServerError, NotKeptError) as error:
            waits_for = error.what
            failed = _failed(error, outbox)
        except (StoppedError, KeyboardInterrupt):
            if outbox is not None:
                outbox.forget_kept()
            raise
        except MobilekitError as error:
            return _failed(error, outbox)
        if clock_s() >= deadline_s:
            return failed
        say(f"waits: {waits_for}")
        sleep(min(LOOK_S, max(0.0, deadline_s - clock_s())))


def _outcome_of(measured: Sequence[Measurement]) -> Outcome:
    result = measured[-1].result
    failure = result if isinstance(result, RunFailure) else None
    return Outcome(
        state="done" if failure is None else "failed",
        measurements=tuple(measured),
        detail="" if failure is None else f"{failure.phase}: {failure.message}",
    )


def _failed(error: MobilekitError, outbox: Outbox | None) -> Outcome:
    """With what there is of a run whose phone went away, which may still be collected."""
    measured: tuple[Measurement, ...] = ()
    if outbox is not None and outbox.lost is not None:
        measured = (*outbox.kept, outbox.lost)
    elif outbox is not None:
        # What planned a run that did not take place is nothing to collect.
        outbox.forget_kept()
    return Outcome(state="failed", measurements=measured, detail=str(error))


def _options_of(placed: PlacedRun) -> DeployOptions:
    run = placed.run
    return DeployOptions(
        model=run.model,
        given=NOTHING,
        device=run.device,
        preset=run.preset,
        threads=run.threads,
        energy=run.energy != "none",
        require_phone=False,
        format=run.format,
        variant=run.variant,
        seek_backend=False,
        calibration=None,
        apk=None,
        install=True,
        exported=placed.artifact,
    )


def _measure(placed: PlacedRun, outbox: Outbox, say: Callable[[str], None]) -> None:
    run, options = placed.run, _options_of(placed)
    reporter, check = LineReporter(say), check_gates(run.gates)
    if run.energy != "unplug":
        deploy(options, outbox, reporter, check=check)
        return
    stopped = measure_energy(
        (options,),
        outbox,
        reporter,
        target_error=None,
        sync_pattern=False,
        # The plan was confirmed by who began the campaign.
        confirm=Confirmation(lambda: None, lambda: None),
        on_measured=lambda _: None,
        check=check,
    )
    if stopped is not None:
        raise stopped


def check_gates(gates: Gates) -> Check:
    """What raises ``NotReadyError`` for a phone that is hotter or emptier than it may be; one that
    tells nothing of its battery is taken as it is."""

    def check(state: DeviceState) -> None:
        battery = state.battery
        if battery is None:
            return
        hottest, told = gates.max_temperature_decicelsius, battery.temperature_decicelsius
        if hottest is not None and told is not None and told > hottest:
            raise NotReadyError(
                f"its battery has {told / 10:.1f} degC, and {hottest / 10:.1f} are the most",
                serial=state.info.serial,
                fix="Let it cool down, or raise gates.max_temperature_c.",
            )
        least, level = gates.min_level_percent, battery.level_percent
        if least is not None and level is not None and level < least:
            raise NotReadyError(
                f"its battery is {level} % full, and {least} % are the least",
                serial=state.info.serial,
                fix="Charge it, or lower gates.min_level_percent.",
            )

    return check


def _take_up_begun(placed: PlacedRun, outbox: Outbox, say: Callable[[str], None]) -> None:
    """Follow to its end what earlier attempts started on the phone, unless it has nothing of it
    any more. Raises as opening the device does: a phone that is away is waited for."""
    begun = outbox.list_begun()
    if any(each.purpose == "measure" and not was_lost(each.result) for each in begun.stored):
        outbox.adopt(begun.stored)
        return
    if not begun.pending:
        outbox.lost = None
        return
    reporter = LineReporter(say)
    try:
        with open_device_of(_options_of(placed), reporter) as opened:
            held = opened.executor.held_runs()
            for each in begun.pending:
                if each.measurement.id in held:
                    say("Taking up what was begun on the phone")
                    take_up(opened.executor, each, outbox, reporter)
                    if outbox.lost is not None:
                        return
                elif each.measurement.device.key == opened.state.info.key:
                    outbox.forget(each.measurement.id)
            outbox.lost = None
    except PhoneError as error:
        # It may say yes another time; what it has is not given up for that.
        raise NotReadyError(error.what, fix=error.fix, **error.facts) from None


def main(directory: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    scratch = Path(directory)
    order: ChildOrder = decode(
        (scratch / "order.json").read_bytes(), ChildOrder, source="order.json"
    )
    over = threading.Event()

    def end_with_host() -> None:
        sys.stdin.buffer.read()
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=end_with_host, daemon=True).start()
    try:
        outcome = carry_out(order, lambda line: print(plain(line), flush=True))
        _write(scratch / "outcome.json", outcome)
    except (KeyboardInterrupt, StoppedError):
        sys.exit(STOPPED_CODE)
    finally:
        over.set()


def _write(target: Path, outcome: Outcome) -> None:
    """As soon as there is room for it."""
    while True:
        try:
            write_whole(target, encode(outcome))
            return
        except OSError as error:
            print(f"waits: {target.parent} cannot be written to: {error.strerror}", flush=True)
            time.sleep(LOOK_S)


if __name__ == "__main__":
    main(sys.argv[1])
