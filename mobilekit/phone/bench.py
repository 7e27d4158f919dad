"""Runs of the companion app: deliver files, start a run, follow it, fetch its result."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mobilekit.codec import encode
from mobilekit.errors import (
    AdbServerError,
    AppError,
    DeviceError,
    DisconnectedError,
    PhoneError,
    ProtocolError,
)
from mobilekit.phone.adb import Phone
from mobilekit.protocol import (
    ACTIVITY,
    INPUT_ROOT,
    OUTPUT_ROOT,
    OUTPUTS_NAME,
    PACKAGE,
    PROFILE_WARMUPS,
    RUN_ID_PATTERN,
    TRACE_NAME,
    ArtifactFile,
    FailureCode,
    IterationsMeasured,
    ProgressEvent,
    RunFailure,
    RunRequest,
    RunResult,
    TensorFile,
    decode_events,
    decode_result,
    interrupted,
    run_directory,
)
from mobilekit.units import NS_PER_S

FIRST_POLL_S, LONGEST_POLL_S = 0.1, 2.0
"""Polling grows slower with a run's age: it costs the phone little where it could disturb most."""
POLLS_BETWEEN_LIFE_SIGNS = 5
START_TIMEOUT_S = 20.0
SILENCE_MARGIN_S = 120.0
INTERRUPTED = "interrupted from the keyboard"
LEFT_TO_ITSELF = "left to itself from the keyboard"
RECONNECT_S = 15.0
"""How long a phone that went away is waited for where its run needs the link."""


def deliver(
    phone: Phone,
    files: Sequence[ArtifactFile | TensorFile],
    directory: Path,
    *,
    on_bytes: Callable[[int, int], None],
) -> int:
    """Push what the phone does not have of ``files``; the number of bytes that went over.

    A file's name is its content's hash, so one of the right name and size is not pushed again; the
    companion checks every hash before a run.
    ``on_bytes`` gets bytes done and bytes in all. Raises ``PhoneError``, ``DisconnectedError``.
    """
    listing = phone.shell(
        f"mkdir -p {INPUT_ROOT}/artifacts {INPUT_ROOT}/runs && "
        f"chmod 755 {INPUT_ROOT} {INPUT_ROOT}/artifacts {INPUT_ROOT}/runs && "
        f"cd {INPUT_ROOT}/artifacts && stat -c '%s %n' * 2>/dev/null; true"
    ).text
    present = {
        name: size for size, _, name in (line.partition(" ") for line in listing.splitlines())
    }
    sources = {file.path: directory / Path(file.path).name for file in files}
    missing = {
        path: source
        for path, source in sources.items()
        if present.get(source.name) != str(source.stat().st_size)
    }
    total_bytes = sum(source.stat().st_size for source in missing.values())
    done_bytes = 0

    def count(size_bytes: int) -> None:
        nonlocal done_bytes
        done_bytes += size_bytes
        on_bytes(done_bytes, total_bytes)

    for path, source in missing.items():
        phone.push(source, f"{INPUT_ROOT}/{path}", on_bytes=count)
    return total_bytes


def start_run(phone: Phone, request: RunRequest, scratch: Path) -> None:
    """Deliver a request and start it; ``scratch`` is a directory for its file.

    A link that breaks while the app is started leaves open whether it was, which who follows the
    run finds out. Raises ``AppError`` when the companion does not start, ``PhoneError``,
    ``DisconnectedError``.
    """
    directory = f"{INPUT_ROOT}/{run_directory(request.run_id)}"
    source = scratch / f"{request.run_id}.json"
    source.write_bytes(encode(request))
    phone.shell(f"mkdir -p {directory} && chmod 755 {directory}")
    phone.push(source, f"{directory}/request.json", on_bytes=lambda _: None)
    command = f"am start -n {ACTIVITY} --es run_id {request.run_id}"
    try:
        answer = phone.shell(command, check=False)
    except (DeviceError, DisconnectedError):
        return
    words = (answer.stdout + answer.stderr).decode("utf-8", errors="replace")
    # Older releases exit with 0 although the activity could not be started.
    if answer.exit_code != 0 or "Error" in words:
        raise AppError(
            f"The companion app did not start: {words.strip() or 'am said nothing'}",
            serial=phone.serial,
            command=command,
            fix="Unlock the phone; if the app is damaged, uninstall it and install it again.",
        )


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
    """Follow a run that was started to its result.

    A phone that goes away is waited for: for as long as it takes where the run is one that is meant
    to go on without a cable, else ``RECONNECT_S``. A companion that dies, goes silent or stays
    away, that writes what is no message, and one that is stopped from the keyboard, yields a
    ``RunFailure`` with everything that it had reported. A run whose phone is away, noticed or not,
    is not stopped from the keyboard but left to itself. Raises ``AppError`` when it does not start.
    """
    follower = _Follower(request, link)
    try:
        while True:
            try:
                return follower.follow(phone)
            except AppError:
                raise
            except (DisconnectedError, DeviceError) as error:
                link.on_lost()
                returned = _wait_for_return(request, link)
                if returned is None:
                    return follower.failure(error.what, "disconnected")
                phone = returned
                link.on_back()
            except (ProtocolError, PhoneError) as error:
                return follower.failure(error.what, "internal")
    except KeyboardInterrupt:
        return _stop_run(phone, request, link, follower)


def look_at_run(phone: Phone, request: RunRequest, link: Link) -> RunResult | None:
    """The result of a run that was started earlier; ``None`` while it goes on.

    A run whose process ended without a result, or that wrote what is no message, is a
    ``RunFailure`` with all that it had reported.
    """
    follower = _Follower(request, link)
    try:
        result = follower.poll(phone)
        if result is None and not is_running(phone):
            # It may have finished between the poll and the look for its process.
            result = follower.poll(phone)
            return result or follower.failure("the companion's process ended without a result")
    except (ProtocolError, PhoneError) as error:
        return follower.failure(error.what, "internal")
    return result


def is_going_on(phone: Phone, run_id: str) -> bool:
    """Whether a run that was started may still be under way: it has no result, and the companion's
    process lives."""
    over = phone.shell(f"test -f {OUTPUT_ROOT}/{run_directory(run_id)}/result.json", check=False)
    return over.exit_code != 0 and is_running(phone)


def fetch_outputs(phone: Phone, run_id: str, outputs: TensorFile, directory: Path) -> None:
    """Fetch what a run's examples yielded into ``directory``, under its content's hash.

    Raises ``PhoneError``, ``DisconnectedError``; the content is for who reads it to check.
    """
    target = directory / Path(outputs.path).name
    aside = target.with_suffix(".part")
    try:
        phone.pull(f"{OUTPUT_ROOT}/{run_directory(run_id)}/{OUTPUTS_NAME}", aside)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def fetch_trace(phone: Phone, run_id: str, target: Path) -> None:
    """Fetch the trace of a run's operators; raises ``PhoneError``, ``DisconnectedError``."""
    source = f"{OUTPUT_ROOT}/{run_directory(run_id)}/{TRACE_NAME}"
    phone.pull(source, target)


def list_runs(phone: Phone) -> set[str]:
    """The ids of all runs whose files are on the phone."""
    listing = phone.shell(f"ls {INPUT_ROOT}/runs {OUTPUT_ROOT}/runs 2>/dev/null; true").text
    return {line for line in listing.splitlines() if re.fullmatch(RUN_ID_PATTERN, line)}


def is_running(phone: Phone) -> bool:
    """Whether the companion's process lives."""
    return phone.shell(f"pidof {PACKAGE}", check=False).exit_code == 0


def remove_run(phone: Phone, run_id: str) -> None:
    """Delete a run's files from the phone, once they are stored here."""
    directory = run_directory(run_id)
    phone.shell(f"rm -rf {INPUT_ROOT}/{directory} {OUTPUT_ROOT}/{directory}", check=False)


def forget_file(phone: Phone, file: ArtifactFile | TensorFile) -> None:
    """Delete a delivered file, so that the next deploy pushes it again."""
    phone.shell(f"rm -f {INPUT_ROOT}/{file.path}", check=False)


def _stop_run(phone: Phone, request: RunRequest, link: Link, follower: _Follower) -> RunResult:
    """End a run from the keyboard, with all that it has written; where that does not reach the
    phone, it goes on and is left to itself."""
    # Read anew: the one that was interrupted may have been in the middle of an event.
    last_look = _Follower(request, link._replace(on_event=lambda _: None))
    try:
        phone.shell(f"am force-stop {PACKAGE}", check=False)
        result = last_look.poll(phone)
    except (DeviceError, DisconnectedError):
        return follower.failure(LEFT_TO_ITSELF, "disconnected")
    except (ProtocolError, PhoneError):
        return follower.failure(INTERRUPTED)
    return result or last_look.failure(INTERRUPTED)


def _wait_for_return(request: RunRequest, link: Link) -> Phone | None:
    may_be_away = request.energy is not None and request.energy.unplug_timeout_ns is not None
    deadline_ns = None if may_be_away else link.clock_ns() + int(RECONNECT_S * NS_PER_S)
    while deadline_ns is None or link.clock_ns() < deadline_ns:
        link.sleep(LONGEST_POLL_S)
        with suppress(DisconnectedError, DeviceError, AdbServerError):
            return link.reconnect()
    return None


class _Follower:
    """Reads a run's progress from where it stopped reading before, whatever link it comes over."""

    def __init__(self, request: RunRequest, link: Link) -> None:
        self.events: list[ProgressEvent] = []
        self._request = request
        self._link = link
        self._directory = f"{OUTPUT_ROOT}/{run_directory(request.run_id)}"
        self._read_bytes = 0

    def follow(self, phone: Phone) -> RunResult:
        """Until there is a result, or there will be none."""
        clock_ns = self._link.clock_ns
        started_ns = heard_ns = clock_ns()
        wait_s, polls = FIRST_POLL_S, 0
        while True:
            heard_before = len(self.events)
            result = self.poll(phone)
            if result is not None:
                return result
            now_ns = clock_ns()
            if len(self.events) > heard_before:
                heard_ns = now_ns
            silence_s = (now_ns - heard_ns) / NS_PER_S
            if silence_s > _longest_silence_s(self._request, self.events):
                return self.failure(f"the companion has been silent for {silence_s:.0f} s")
            if not self.events and now_ns - started_ns > START_TIMEOUT_S * NS_PER_S:
                raise AppError(
                    "The companion app did not start the run",
                    serial=phone.serial,
                    run_id=self._request.run_id,
                    fix=f"Look at `adb -s {phone.serial} logcat -d` for {PACKAGE}.",
                )
            polls += 1
            if polls % POLLS_BETWEEN_LIFE_SIGNS == 0 and self.events and not is_running(phone):
                # It may have finished between the poll and the look for its process.
                result = self.poll(phone)
                return result or self.failure("the companion's process ended without a result")
            self._link.sleep(wait_s)
            wait_s = min(LONGEST_POLL_S, wait_s * 1.1)

    def poll(self, phone: Phone) -> RunResult | None:
        """Read new events; the result once it is there."""
        progress, result = f"{self._directory}/progress.jsonl", f"{self._directory}/result.json"
        data = phone.shell(
            f"test -f {result} && echo over; "
            f"tail -c +{self._read_bytes + 1} {progress} 2>/dev/null",
            check=False,
        ).stdout
        over = data.startswith(b"over")
        data = data[data.find(b"\n") + 1 :] if over else data
        complete = data[: data.rfind(b"\n") + 1]
        self._read_bytes += len(complete)
        for event in decode_events(complete):
            self.events.append(event)
            self._link.on_event(event)
        return decode_result(phone.shell(f"cat {result}").stdout) if over else None

    def failure(self, message: str, code: FailureCode = "interrupted") -> RunFailure:
        return interrupted(self._request.run_id, self.events, message, code)


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
