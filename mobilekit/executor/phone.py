"""Runs on a phone: followed over a link that may break, to their end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from mobilekit.contract.checks import decode_events, decode_result, run_directory
from mobilekit.contract.protocol import (
    OUTPUT_ROOT,
    PACKAGE,
    PROFILE_WARMUPS,
    FailureCode,
    IterationsMeasured,
    ProgressEvent,
    RunFailure,
    RunRequest,
    RunResult,
)
from mobilekit.contract.samples import interrupted
from mobilekit.errors import (
    AdbServerError,
    AppError,
    DeviceError,
    DisconnectedError,
    PhoneError,
    ProtocolError,
)
from mobilekit.phone.adb import Phone
from mobilekit.phone.runs import is_held, is_running, list_runs, read_state
from mobilekit.units import NS_PER_S

FIRST_POLL_S, LONGEST_POLL_S = 0.1, 2.0
"""Polling grows slower with a run's age: it costs the phone little where it could disturb most."""
POLLS_BETWEEN_LIFE_SIGNS = 5
START_TIMEOUT_S = 20.0
"""How long a companion that was started may need to take its runs."""
SILENCE_MARGIN_S = 120.0
STOPPED = "interrupted from the keyboard"
LEFT_TO_ITSELF = "left to itself from the keyboard"
RECONNECT_S = 15.0
"""How long a phone that went away is waited for where its run needs the link."""


class Link(NamedTuple):
    """What following a run needs besides the phone."""

    on_event: Callable[[ProgressEvent], None]
    on_lost: Callable[[], None]
    on_back: Callable[[], None]
    reconnect: Callable[[], Phone]
    """The phone again; raises ``DisconnectedError``, ``DeviceError`` or ``AdbServerError`` while it
    is away."""
    sleep: Callable[[float], None]
    clock_ns: Callable[[], int]


def follow_run(phone: Phone, request: RunRequest, link: Link) -> RunResult:
    """``Watch.to_end``; from the keyboard ``Watch.stop``."""
    watch = Watch(phone, request, link)
    try:
        return watch.to_end()
    except KeyboardInterrupt:
        return watch.stop()


def _wait_for_return(request: RunRequest, link: Link) -> Phone | None:
    may_be_away = request.energy is not None and request.energy.unplug_timeout_ns is not None
    deadline_ns = None if may_be_away else link.clock_ns() + int(RECONNECT_S * NS_PER_S)
    while deadline_ns is None or link.clock_ns() < deadline_ns:
        link.sleep(LONGEST_POLL_S)
        with suppress(DisconnectedError, DeviceError, AdbServerError):
            return link.reconnect()
    return None


class Watch:
    """One run that was started: reads its progress from where it stopped reading before, whatever
    link it comes over."""

    def __init__(self, phone: Phone, request: RunRequest, link: Link) -> None:
        self.phone = phone
        """The one that answered last."""
        self._events: list[ProgressEvent] = []
        self._request = request
        self._link = link
        self._directory = f"{OUTPUT_ROOT}/{run_directory(request.run_id)}"
        self._read_bytes = 0

    @property
    def has_begun(self) -> bool:
        """False too for a run that was taken and waits for its turn."""
        return len(self._events) > 1

    def to_end(self) -> RunResult:
        """Until there is a result, or there will be none.

        A phone that goes away is waited for: for as long as it takes where the run is one that is
        meant to go on without a cable, else ``RECONNECT_S``. A companion that dies, goes silent or
        stays away, and one that writes what is no message, yields a ``RunFailure`` with everything
        that it had reported. Raises ``AppError`` when it does not take the run.
        """
        while True:
            try:
                return self._follow()
            except AppError:
                raise
            except (DisconnectedError, DeviceError) as error:
                self._link.on_lost()
                returned = _wait_for_return(self._request, self._link)
                if returned is None:
                    return self._failure(error.what, "disconnected")
                self.phone = returned
                self._link.on_back()
            except (ProtocolError, PhoneError) as error:
                return self._failure(error.what, "internal")

    def look(self) -> RunResult | None:
        """The result of a run that was started earlier; ``None`` while it goes on, or waits.

        A run whose process ended without a result, or that wrote what is no message, is a
        ``RunFailure`` with all that it had reported.
        """
        clock_ns = self._link.clock_ns
        deadline_ns = clock_ns() + START_TIMEOUT_S * NS_PER_S
        try:
            result = self._poll()
            # Its start may be on the way to the companion.
            while (
                result is None
                and not self._events
                and is_running(self.phone)
                and clock_ns() < deadline_ns
            ):
                self._link.sleep(LONGEST_POLL_S)
                result = self._poll()
            return result or self._ended()
        except (ProtocolError, PhoneError) as error:
            return self._failure(error.what, "internal")

    def stop(self) -> RunResult:
        """End the companion from the keyboard: what the run had written. One whose phone is away,
        noticed or not, is not stopped but left to itself."""
        # Read anew: the one that was interrupted may have been in the middle of an event.
        last_look = Watch(
            self.phone, self._request, self._link._replace(on_event=lambda _event: None)
        )
        try:
            self.phone.shell(f"am force-stop {PACKAGE}", check=False)
            result = last_look._poll()
        except (DeviceError, DisconnectedError):
            return self._failure(LEFT_TO_ITSELF, "disconnected")
        except (ProtocolError, PhoneError):
            return self._failure(STOPPED, "stopped")
        before = "" if last_look.has_begun else " before it began"
        return result or last_look._failure(f"{STOPPED}{before}", "stopped")

    def _follow(self) -> RunResult:
        clock_ns = self._link.clock_ns
        started_ns = heard_ns = clock_ns()
        wait_s, polls = FIRST_POLL_S, 0
        while True:
            heard_before = len(self._events)
            result = self._poll()
            if result is not None:
                return result
            now_ns = clock_ns()
            if len(self._events) > heard_before:
                heard_ns = now_ns
            silence_s = (now_ns - heard_ns) / NS_PER_S
            if silence_s > _longest_silence_s(self._request, self._events):
                if not self._is_behind_another():
                    return self._failure(f"the companion has been silent for {silence_s:.0f} s")
                heard_ns = now_ns
            if not self._events and now_ns - started_ns > START_TIMEOUT_S * NS_PER_S:
                raise AppError(
                    "The companion app did not start the run",
                    serial=self.phone.serial,
                    run_id=self._request.run_id,
                    fix=f"Look at `adb -s {self.phone.serial} logcat -d` for {PACKAGE}.",
                )
            polls += 1
            if polls % POLLS_BETWEEN_LIFE_SIGNS == 0 and self._events:
                ended = self._ended()
                if ended is not None:
                    return ended
            self._link.sleep(wait_s)
            wait_s = min(LONGEST_POLL_S, wait_s * 1.1)

    def _is_behind_another(self) -> bool:
        """Whether the run waits for the end of one that somebody else started."""
        return not self.has_begun and any(
            read_state(self.phone, run_id) == "running" for run_id in list_runs(self.phone)
        )

    def _ended(self) -> RunResult | None:
        """What is there of a run that no process carries; ``None`` while one does."""
        if self._events and is_held(self.phone, self._events[0]):
            return None
        # It may have finished between the poll and the look for its process.
        result = self._poll()
        if result is not None:
            return result
        if self.has_begun:
            return self._failure("the companion's process ended without a result")
        if self._events:
            return self._failure("the companion's process ended before this run began")
        return self._failure("the companion did not take the run")

    def _poll(self) -> RunResult | None:
        """Read new events; the result once it is there."""
        progress, result = f"{self._directory}/progress.jsonl", f"{self._directory}/result.json"
        data = self.phone.shell(
            f"test -f {result} && echo over; "
            f"tail -c +{self._read_bytes + 1} {progress} 2>/dev/null",
            check=False,
        ).stdout
        over = data.startswith(b"over")
        data = data[data.find(b"\n") + 1 :] if over else data
        complete = data[: data.rfind(b"\n") + 1]
        self._read_bytes += len(complete)
        for event in decode_events(complete):
            self._events.append(event)
            self._link.on_event(event)
        return decode_result(self.phone.shell(f"cat {result}").stdout) if over else None

    def _failure(self, message: str, code: FailureCode = "interrupted") -> RunFailure:
        return interrupted(self._request.run_id, self._events, message, code)


def _longest_silence_s(request: RunRequest, events: Sequence[ProgressEvent]) -> float:
    """Nothing is written during the longest of a run's timed parts."""
    parts_ns = [request.max_duration_ns, request.warmup.max_duration_ns]
    plan = request.energy
    if plan is not None:
        parts_ns += [plan.idle_ns, plan.load_ns, plan.rest_ns or 0, plan.unplug_timeout_ns or 0]
        parts_ns.append(plan.temperature_gate.timeout_ns if plan.temperature_gate else 0)
    slowest_ns = max(
        (max(event.latency_ns) for event in events if isinstance(event, IterationsMeasured)),
        default=0,
    )
    if request.evaluation is not None:
        # Each example takes its input and gives its outputs as well.
        parts_ns.append(2 * slowest_ns * request.evaluation.shape[0])
    if request.profile_iterations is not None:
        # Tracing may cost as much as a small network itself.
        parts_ns.append(2 * slowest_ns * (PROFILE_WARMUPS + request.profile_iterations))
    return max(parts_ns) / NS_PER_S + SILENCE_MARGIN_S
