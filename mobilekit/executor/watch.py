"""One run on a phone, followed over a link that may break, to its end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from mobilekit.contract.answering import check_answer
from mobilekit.contract.checks import (
    SAME_VERSION,
    decode_events,
    decode_result,
    run_directory,
)
from mobilekit.contract.protocol import (
    MAX_FILE_BYTES,
    OUTPUT_ROOT,
    PACKAGE,
    PROFILE_WARMUPS,
    SYNC_PULSE_NS,
    SYNC_PULSES,
    FailureCode,
    IterationsMeasured,
    PhaseStarted,
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
    TimedOutError,
)
from mobilekit.executor.base import Listener
from mobilekit.hashing import bytes_md5
from mobilekit.phone.adb import (
    Phone,
)
from mobilekit.phone.runs import (
    READINGS,
    is_held,
    is_running,
    is_whole,
    list_runs,
    read_crash,
    read_state,
)
from mobilekit.units import NS_PER_S

POLLS_BETWEEN_LIFE_SIGNS = 5
BROKEN_ANSWERS = 8
"""In a row, of a phone that is there all the time, they are no accident: asked anew every 2 s, it
has had as long as one that is away has to return."""
SLOWING = 1.1
STOPPED = "interrupted from the keyboard"
LEFT_TO_ITSELF = "left to itself from the keyboard"
UNPLANNED_S = 3600.0
"""What a run is given for all that sets itself no limit, as the companion app gives itself."""
UNPLANNED_STEP_S = 10.0
"""... and more for each load, example, profiled inference and inference of a method's trial."""


class Patience(NamedTuple):
    """How often a phone is asked, and how long it is waited for."""

    first_poll_s: float = 0.1
    longest_poll_s: float = 2.0
    """Polling grows slower with a run's age: it costs the phone little where it could disturb
    most."""
    start_timeout_s: float = 20.0
    """For a companion that was started to take its runs."""
    silence_margin_s: float = 120.0
    """Beyond the longest part of a run in which nothing is written."""
    reconnect_s: float = 15.0
    """For a phone that went away, where its run needs the link."""
    queue_s: float = 24 * 3600.0
    """For runs that others started before."""


class Following(NamedTuple):
    """What following a run needs besides the phone."""

    listener: Listener
    reconnect: Callable[[], Phone]
    """The phone again; raises ``DisconnectedError``, ``DeviceError`` or ``AdbServerError`` while it
    is away."""
    patience: Patience
    sleep: Callable[[float], None]
    clock_ns: Callable[[], int]


class Watch:
    """One run that was started: reads its progress from where it stopped reading before, whatever
    link it comes over."""

    def __init__(self, phone: Phone, request: RunRequest, following: Following) -> None:
        self.phone = phone
        """The one that answered last."""
        self._events: list[ProgressEvent] = []
        self.request = request
        self._following = following
        self._directory = f"{OUTPUT_ROOT}/{run_directory(request.run_id)}"
        self._read_bytes = 0
        self._read_md5 = hashlib.md5(usedforsecurity=False)
        self._lines_md5 = self._read_md5.copy()
        """Of whole lines alone."""
        self._unfinished: list[bytes] = []
        """The parts of a line whose end has not been read yet."""
        self._started_ns = self._heard_ns = self._begun_ns = following.clock_ns()
        self._is_away = False
        self._broken_answers = 0
        """In a row; one that is late is not broken."""

    @property
    def has_begun(self) -> bool:
        """False too for a run that was taken and waits for its turn."""
        return len(self._events) > 1

    def to_end(self) -> RunResult:
        """Until there is a result, or there will be none.

        A phone that goes away is waited for: for as long as it takes where the run is one that is
        meant to go on without a cable, else ``Patience.reconnect_s``. A companion that dies, goes
        silent or takes too long, a phone that stays away, breaks off whatever it answers or answers
        everything but what it is asked of the run, and one that writes what is no message, yields a
        ``RunFailure`` with everything that it had reported; what cannot be read stays on the phone,
        since it may be the way to here that garbles it. No limit begins anew because a link broke
        and came back. Raises ``AppError`` when the run is not taken.
        """
        while True:
            try:
                return self._follow()
            except AppError:
                raise
            except (DisconnectedError, DeviceError) as error:
                self._broken_answers += not isinstance(error, TimedOutError)
                if not self._is_away:
                    self._is_away = True
                    self._following.listener.on_lost()
                returned = self._wait_for_return()
                if returned is None:
                    return self._failure(error.what, "disconnected")
                self.phone = returned
                if self._broken_answers >= BROKEN_ANSWERS:
                    return self._failure(
                        f"the phone is there, but each of its answers breaks off: {error.what}",
                        "disconnected",
                    )
                silence_s = self._seconds_since(self._heard_ns)
                if silence_s > self._longest_silence_s():
                    # What the run has written may be had another time.
                    return self._failure(
                        "the phone is there, but has told nothing of the run for "
                        f"{silence_s:.0f} s: {error.what}",
                        "disconnected",
                    )
            except (ProtocolError, PhoneError) as error:
                return self._failure(error.what, "disconnected")

    def look(self) -> RunResult | None:
        """The result of a run that was started earlier; ``None`` while it goes on, or waits.

        A run whose process ended without a result, or that wrote what is no message, is a
        ``RunFailure`` with all that it had reported.
        """
        clock_ns = self._following.clock_ns
        deadline_ns = clock_ns() + self._following.patience.start_timeout_s * NS_PER_S
        try:
            result = self._poll()
            # Its start may be on the way to the companion.
            while (
                result is None
                and not self._events
                and is_running(self.phone)
                and clock_ns() < deadline_ns
            ):
                self._following.sleep(self._following.patience.longest_poll_s)
                result = self._poll()
            return result or self._ended()
        except PhoneError as error:
            # It may say yes another time.
            return self._failure(error.what, "disconnected")
        except ProtocolError as error:
            return self._failure(error.what, "internal")

    def stop(self) -> RunResult:
        """End the companion from the keyboard: what the run had written. One whose phone is away,
        noticed or not, is not stopped but left to itself."""
        # Read anew: the one that was interrupted may have been in the middle of an event.
        unheard = self._following.listener._replace(on_event=lambda _event: None)
        last_look = Watch(self.phone, self.request, self._following._replace(listener=unheard))
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
        patience = self._following.patience
        wait_s, polls = patience.first_poll_s, 0
        while True:
            result = self._poll()
            if result is not None:
                return result
            ended = self._out_of_time()
            if ended is not None:
                return ended
            polls += 1
            if polls % POLLS_BETWEEN_LIFE_SIGNS == 0 and self._events:
                ended = self._ended()
                if ended is not None:
                    return ended
            self._following.sleep(wait_s)
            wait_s = min(patience.longest_poll_s, wait_s * SLOWING)

    def _out_of_time(self) -> RunResult | None:
        """What is there of a run that is silent or takes too long; ``None`` of any other.

        Raises ``AppError`` for one that was not taken.
        """
        patience, now_ns = self._following.patience, self._following.clock_ns()
        silence_s = self._seconds_since(self._heard_ns)
        if silence_s > self._longest_silence_s():
            waited_s = self._seconds_since(self._started_ns)
            if not self._is_behind_another() or waited_s > patience.queue_s:
                return self._failure(f"the companion has been silent for {silence_s:.0f} s")
            self._heard_ns = now_ns
        if not self._events and self._seconds_since(self._started_ns) > patience.start_timeout_s:
            raise AppError(
                "The companion app did not start the run",
                serial=self.phone.serial,
                run_id=self.request.run_id,
                fix=f"Look at `adb -s {self.phone.serial} logcat -d` for {PACKAGE}.",
            )
        taken_s = self._seconds_since(self._begun_ns)
        if self.has_begun and taken_s > longest_run_s(self.request):
            return self._failure(f"the run is not over after {taken_s:.0f} s")
        return None

    def _seconds_since(self, at_ns: int) -> float:
        return (self._following.clock_ns() - at_ns) / NS_PER_S

    def _wait_for_return(self) -> Phone | None:
        plan, following = self.request.energy, self._following
        may_be_away = plan is not None and plan.unplug_timeout_ns is not None
        left_ns = following.clock_ns()
        deadline_ns = None if may_be_away else left_ns + following.patience.reconnect_s * NS_PER_S
        was_gone = False
        while deadline_ns is None or following.clock_ns() < deadline_ns:
            following.sleep(following.patience.longest_poll_s)
            try:
                phone = following.reconnect()
            except (DisconnectedError, DeviceError, AdbServerError):
                was_gone = True
                self._broken_answers = 0
                continue
            # A phone that was there all the time could have been heard.
            if may_be_away and was_gone:
                absence_ns = following.clock_ns() - left_ns
                self._heard_ns += absence_ns
                self._begun_ns += absence_ns
            return phone
        return None

    def _longest_silence_s(self) -> float:
        part_s = _longest_part_s(self.request, self._events)
        return min(part_s + self._following.patience.silence_margin_s, longest_run_s(self.request))

    def _is_behind_another(self) -> bool:
        """Whether the run waits for the end of one that somebody else started; a phone that has so
        many that they cannot be asked after in the time that a silent one gets does not tell."""
        asked_ns = self._following.clock_ns()
        for run_id in () if self.has_begun else list_runs(self.phone):
            if read_state(self.phone, run_id) == "running":
                return True
            if self._seconds_since(asked_ns) > self._following.patience.silence_margin_s:
                break
        return False

    def _ended(self) -> RunResult | None:
        """What is there of a run that no process carries; ``None`` while one does."""
        if self._events and is_held(self.phone, self._events[0]):
            return None
        # It may have finished between the poll and the look for its process.
        result = self._poll()
        if result is not None:
            return result
        if not self._events:
            return self._failure("the companion did not take the run")
        when = "without a result" if self.has_begun else "before this run began"
        crash = read_crash(self.phone, self._events[0])
        return self._failure(
            f"the companion's process ended {when}" + (f": {crash}" if crash else "")
        )

    def _poll(self) -> RunResult | None:
        """Read new events; the result once it is there."""
        progress, result = f"{self._directory}/progress.jsonl", f"{self._directory}/result.json"
        for readings_left in reversed(range(READINGS)):
            data = self.phone.shell(
                f"test -f {result} && echo over; "
                f"tail -c +{self._read_bytes + 1} {progress} 2>/dev/null",
                check=False,
                limit_bytes=MAX_FILE_BYTES,
            ).stdout
            self._broken_answers = 0
            if self._is_away:
                self._is_away = False
                self._following.listener.on_back()
            over = data.startswith(b"over\n")
            data = data.removeprefix(b"over\n") if over else data
            # The result has all of it. A link that breaks here has it read again.
            readable = over or self._is_readable(data, progress)
            if readable or not readings_left:
                break
            self._unread_line()
        try:
            self._read(data)
        except ProtocolError as error:
            if not readable:
                raise self._garbled(error.what, progress) from None
            if not over:
                raise
        return self._read_result(result) if over else None

    def _read_result(self, path: str) -> RunResult:
        """Raises ``ProtocolError`` for one that is as the companion wrote it, ``PhoneError`` for
        one that does not arrive so."""
        for _ in range(READINGS):
            data = self.phone.shell(f"cat {path}", limit_bytes=MAX_FILE_BYTES).stdout
            if is_whole(self.phone, path, bytes_md5(data)):
                break
        else:
            name = PurePosixPath(path).name
            raise self._garbled(f"What arrives of {name} is not what is on the phone", path)
        told = decode_result(data)
        check_answer(self.request, told)
        return told

    def _garbled(self, what: str, path: str) -> PhoneError:
        return PhoneError(
            what,
            serial=self.phone.serial,
            path=path,
            fix="Look at the cable, then fetch it with `mobilekit collect`.",
        )

    def _is_readable(self, data: bytes, path: str) -> bool:
        """Whether what is new of the progress holds messages, or is no better on the phone."""
        whole, line_end, _ = data.rpartition(b"\n")
        try:
            list(decode_events(b"".join([*self._unfinished, whole, line_end])) if line_end else ())
        except ProtocolError:
            read_md5 = self._read_md5.copy()
            read_md5.update(data)
            return is_whole(self.phone, path, read_md5.hexdigest())
        return True

    def _unread_line(self) -> None:
        """Have the line whose end is not there be read anew: its beginning may be garbled."""
        self._read_bytes -= sum(map(len, self._unfinished))
        self._unfinished = []
        self._read_md5 = self._lines_md5.copy()

    def _read(self, data: bytes) -> None:
        """Take what is new of the progress; what is no whole line yet is not asked for again."""
        self._read_bytes += len(data)
        whole, line_end, rest = data.rpartition(b"\n")
        self._read_md5.update(whole + line_end)
        if line_end:
            self._lines_md5 = self._read_md5.copy()
        self._read_md5.update(rest)
        if self._read_bytes > MAX_FILE_BYTES:
            raise ProtocolError(
                f"progress.jsonl is longer than {MAX_FILE_BYTES} bytes", fix=SAME_VERSION
            )
        self._unfinished.append(rest)
        if not line_end:
            return
        complete = b"".join([*self._unfinished[:-1], whole, line_end])
        self._unfinished = [rest]
        for event in decode_events(complete):
            self._heard_ns = self._following.clock_ns()
            if len(self._events) == 1:
                self._begun_ns = self._heard_ns
            self._events.append(event)
            self._following.listener.on_event(event)

    def _failure(self, message: str, code: FailureCode = "interrupted") -> RunFailure:
        return interrupted(self.request.run_id, self._events, message, code)


def _longest_part_s(request: RunRequest, events: Sequence[ProgressEvent]) -> float:
    """Nothing is written during the longest of a run's timed parts."""
    parts_ns = [request.max_duration_ns, request.warmup.max_duration_ns]
    plan = request.energy
    if plan is not None:
        parts_ns += [plan.idle_ns, plan.load_ns, plan.rest_ns or 0, plan.unplug_timeout_ns or 0]
        parts_ns.append(plan.temperature_gate.timeout_ns if plan.temperature_gate else 0)
    phases = [event.phase for event in events if isinstance(event, PhaseStarted)]
    if request.choice is not None and phases[-1:] == ["choose"]:
        # A method is told of when its whole trial is over, and nothing limits how slow it is.
        trial_ns = request.choice.iterations * int(UNPLANNED_STEP_S * NS_PER_S)
        parts_ns.append(request.warmup.max_duration_ns + trial_ns)
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
    return max(parts_ns) / NS_PER_S


def longest_run_s(request: RunRequest) -> float:
    """From its beginning; windows that were spoiled and are measured again have their time too.

    Of what a companion tells nothing is in it, or it could have any time that it likes.
    """
    tried = len(request.choice.candidates) if request.choice is not None else 0
    trials = tried * request.choice.iterations if request.choice is not None else 0
    planned_ns = (tried + 1) * request.warmup.max_duration_ns + request.max_duration_ns
    plan = request.energy
    if plan is not None:
        waits_ns = (plan.unplug_timeout_ns or 0) + (plan.rest_ns or 0)
        waits_ns += plan.temperature_gate.timeout_ns if plan.temperature_gate else 0
        windows_ns = (plan.blocks + 1) * plan.idle_ns + plan.blocks * plan.load_ns
        patterns_ns = 4 * SYNC_PULSES * SYNC_PULSE_NS if plan.sync_pattern else 0
        planned_ns += 2 * (waits_ns + windows_ns + patterns_ns)
    profiled = max(1, len(request.segments)) * (request.profile_iterations or 0)
    examples = request.evaluation.shape[0] if request.evaluation is not None else 0
    steps = request.cold_loads + profiled + examples + trials
    return planned_ns / NS_PER_S + UNPLANNED_S + steps * UNPLANNED_STEP_S
