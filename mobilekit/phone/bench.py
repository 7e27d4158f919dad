"""Runs of the companion app: deliver files, start a run, follow it, fetch its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from mobilekit.codec import encode
from mobilekit.errors import (
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
    PACKAGE,
    ArtifactFile,
    FailureCode,
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


def run_on_phone(
    phone: Phone,
    request: RunRequest,
    *,
    scratch: Path,
    on_event: Callable[[ProgressEvent], None],
    sleep: Callable[[float], None],
    clock_ns: Callable[[], int],
) -> RunResult:
    """Start a run and follow it to its result.

    ``scratch`` is a directory for the request's file. A companion that dies, goes silent or is
    disconnected, that writes what is no message, and one that is stopped from the keyboard, yields
    a ``RunFailure`` with everything that it had reported. Raises ``AppError`` when it does not
    start.
    """
    _start(phone, request, scratch)
    follower = _Follower(phone, request, on_event)
    started_ns = heard_ns = clock_ns()
    wait_s, polls = FIRST_POLL_S, 0
    try:
        while True:
            result = follower.poll()
            if result is not None:
                return result
            now_ns = clock_ns()
            if follower.heard_something:
                heard_ns = now_ns
            silence_s = (now_ns - heard_ns) / NS_PER_S
            if silence_s > _longest_silence_s(request):
                return follower.failure(f"the companion has been silent for {silence_s:.0f} s")
            if not follower.events and now_ns - started_ns > START_TIMEOUT_S * NS_PER_S:
                raise AppError(
                    "The companion app did not start the run",
                    serial=phone.serial,
                    run_id=request.run_id,
                    fix=f"Look at `adb -s {phone.serial} logcat -d` for {PACKAGE}.",
                )
            polls += 1
            if polls % POLLS_BETWEEN_LIFE_SIGNS == 0 and follower.events:
                alive = follower.is_alive()
                # It may have finished between the poll and the look for its process.
                result = None if alive else follower.poll()
                if result is not None:
                    return result
                if not alive:
                    return follower.failure("the companion's process ended without a result")
            sleep(wait_s)
            wait_s = min(LONGEST_POLL_S, wait_s * 1.1)
    except KeyboardInterrupt:
        with suppress(DeviceError, DisconnectedError):
            phone.shell(f"am force-stop {PACKAGE}", check=False)
        return follower.failure("interrupted from the keyboard")
    except (DisconnectedError, DeviceError) as error:
        if not follower.events:
            raise
        return follower.failure(error.what, "disconnected")
    except (ProtocolError, PhoneError) as error:
        if not follower.events:
            raise
        return follower.failure(error.what, "internal")


def remove_run(phone: Phone, run_id: str) -> None:
    """Delete a run's files from the phone, once they are stored here."""
    directory = run_directory(run_id)
    phone.shell(f"rm -rf {INPUT_ROOT}/{directory} {OUTPUT_ROOT}/{directory}", check=False)


def forget_file(phone: Phone, file: ArtifactFile | TensorFile) -> None:
    """Delete a delivered file, so that the next deploy pushes it again."""
    phone.shell(f"rm -f {INPUT_ROOT}/{file.path}", check=False)


def _start(phone: Phone, request: RunRequest, scratch: Path) -> None:
    directory = f"{INPUT_ROOT}/{run_directory(request.run_id)}"
    source = scratch / f"{request.run_id}.json"
    source.write_bytes(encode(request))
    phone.shell(f"mkdir -p {directory} && chmod 755 {directory}")
    phone.push(source, f"{directory}/request.json", on_bytes=lambda _: None)
    command = f"am start -n {ACTIVITY} --es run_id {request.run_id}"
    answer = phone.shell(command, check=False)
    words = (answer.stdout + answer.stderr).decode("utf-8", errors="replace")
    # Older releases exit with 0 although the activity could not be started.
    if answer.exit_code != 0 or "Error" in words:
        raise AppError(
            f"The companion app did not start: {words.strip() or 'am said nothing'}",
            serial=phone.serial,
            command=command,
            fix="Unlock the phone; if the app is damaged, uninstall it and install it again.",
        )


class _Follower:
    """Reads a run's progress from where it stopped reading before."""

    def __init__(
        self, phone: Phone, request: RunRequest, on_event: Callable[[ProgressEvent], None]
    ) -> None:
        self.events: list[ProgressEvent] = []
        self.heard_something = False
        self._phone = phone
        self._request = request
        self._on_event = on_event
        self._directory = f"{OUTPUT_ROOT}/{run_directory(request.run_id)}"
        self._read_bytes = 0

    def poll(self) -> RunResult | None:
        """Read new events; the result once it is there."""
        progress, result = f"{self._directory}/progress.jsonl", f"{self._directory}/result.json"
        data = self._phone.shell(
            f"test -f {result} && echo over; "
            f"tail -c +{self._read_bytes + 1} {progress} 2>/dev/null",
            check=False,
        ).stdout
        over = data.startswith(b"over")
        data = data[data.find(b"\n") + 1 :] if over else data
        complete = data[: data.rfind(b"\n") + 1]
        self._read_bytes += len(complete)
        self.heard_something = bool(complete)
        for event in decode_events(complete):
            self.events.append(event)
            self._on_event(event)
        return decode_result(self._phone.shell(f"cat {result}").stdout) if over else None

    def is_alive(self) -> bool:
        return self._phone.shell(f"pidof {PACKAGE}", check=False).exit_code == 0

    def failure(self, message: str, code: FailureCode = "interrupted") -> RunFailure:
        return interrupted(self._request.run_id, self.events, message, code)


def _longest_silence_s(request: RunRequest) -> float:
    """Nothing is written during the longest of a run's timed parts."""
    parts_ns = [request.max_duration_ns, request.warmup.max_duration_ns]
    if request.energy is not None:
        parts_ns += [request.energy.idle_ns, request.energy.load_ns]
    return max(parts_ns) / NS_PER_S + SILENCE_MARGIN_S
