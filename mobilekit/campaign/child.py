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
from collections.abc import Callable, Iterable, Sequence
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
from mobilekit.errors import (
    AdbServerError,
    DeviceError,
    DisconnectedError,
    MobilekitError,
    StoppedError,
    StoreError,
)
from mobilekit.flow.collect import collect
from mobilekit.flow.deploy import deploy
from mobilekit.flow.energy import Confirmation, measure_energy
from mobilekit.flow.prepare import Check, DeployOptions
from mobilekit.model.files import write_whole
from mobilekit.model.given import NOTHING
from mobilekit.plain import plain
from mobilekit.records.campaign import Gates, Outcome, PlacedRun, PlannedRun
from mobilekit.records.device import DeviceState
from mobilekit.records.energy import PlannedEnergy
from mobilekit.records.measurement import Measurement
from mobilekit.records.network import Variant, with_backend
from mobilekit.results.store import PendingRun, Store
from mobilekit.results.text.progress import PHASE_TEXTS, STEP_TEXTS, TIMEOUT_TEXTS, WAIT_TEXTS

LOOK_S = 2.0
"""Between two looks at a phone that is not ready for its run."""
STOPPED_CODE = 130


class ChildOrder(Record, frozen=True):
    campaign: str
    placed: PlacedRun
    begun: str
    """A file in which the ids of runs are kept that were started on a phone, for the next
    attempt."""
    store: str


class NotReadyError(DeviceError):
    """The phone is there, and is not yet as the campaign wants it."""


class Outbox(Store):
    """The store, but what is measured is only kept: the host stores it, once."""

    def __init__(self, order: ChildOrder) -> None:
        super().__init__(order.store, keeps_connections=False)
        self._order = order
        self.kept: list[Measurement] = []

    def save(self, measurement: Measurement) -> None:
        self.kept.append(replace(measurement, campaign=self._order.campaign))

    def add_pending(self, run: PendingRun) -> None:
        path = Path(self._order.begun)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{run.measurement.id}\n")
        super().add_pending(
            run._replace(measurement=replace(run.measurement, campaign=self._order.campaign))
        )


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
        self._say("waits: the phone is away")

    def back(self) -> None:
        self._say("The phone is back")


def carry_out(
    order: ChildOrder,
    say: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock_s: Callable[[], float] = time.monotonic,
) -> Outcome:
    """The run, once its phone is there and as it should be, and the store can be read.

    A run that an earlier attempt started on the phone, and whose host died, is followed to its end
    in place of another one. Raises ``StoppedError`` or ``KeyboardInterrupt`` for one that was
    ended.
    """
    run = order.placed.run
    deadline_s = clock_s() + run.gates.patience_s
    measured: list[Measurement] = []
    outbox: Outbox | None = None
    while True:
        try:
            outbox = outbox or Outbox(order)
            fetch_artifact(order.store, order.placed.artifact)
            _collect_begun(order, outbox, LineReporter(say))
            if not outbox.kept:
                _measure(run, order.placed, outbox, say)
            break
        except (DeviceError, DisconnectedError, AdbServerError, StoreError) as error:
            if outbox is not None and outbox.kept:
                break
            if clock_s() >= deadline_s:
                return _failed(error)
            say(f"waits: {error.what}")
            sleep(min(LOOK_S, max(0.0, deadline_s - clock_s())))
        except StoppedError:
            raise
        except MobilekitError as error:
            if outbox is not None and outbox.kept:
                break
            return _failed(error)
    assert outbox is not None
    measured = outbox.kept
    failure = measured[-1].result if isinstance(measured[-1].result, RunFailure) else None
    return Outcome(
        state="done" if failure is None else "failed",
        measurements=tuple(measured),
        detail="" if failure is None else f"{failure.phase}: {failure.message}",
    )


def _failed(error: MobilekitError) -> Outcome:
    return Outcome(state="failed", measurements=(), detail=str(error))


def _measure(
    run: PlannedRun, placed: PlacedRun, outbox: Outbox, say: Callable[[str], None]
) -> None:
    options = DeployOptions(
        model=run.model,
        given=NOTHING,
        device=run.device,
        preset=run.preset,
        threads=run.threads,
        energy=run.energy != "none",
        require_phone=False,
        format=run.format,
        variant=with_backend(Variant(precision=run.precision), run.backend),
        seek_backend=False,
        calibration=None,
        apk=None,
        install=True,
        exported=placed.artifact,
    )
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


def _collect_begun(order: ChildOrder, outbox: Outbox, reporter: LineReporter) -> None:
    path = Path(order.begun)
    if not path.exists():
        return
    ids = set(path.read_text(encoding="utf-8").split())
    collect(outbox, reporter, wait=True, only=ids)
    path.unlink(missing_ok=True)
    left: Iterable[str] = {each.measurement.id for each in outbox.list_pending()} & ids
    for run_id in left if not outbox.kept else ():
        # It is made again, and must not turn up beside that.
        outbox.forget_pending(run_id)


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
    except (KeyboardInterrupt, StoppedError):
        sys.exit(STOPPED_CODE)
    finally:
        over.set()
    write_whole(scratch / "outcome.json", encode(outcome))


if __name__ == "__main__":
    main(sys.argv[1])
