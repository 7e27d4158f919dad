"""Runs that were recorded, played again at once: no device, no engine, no waiting.

A recording is a directory: ``device.json``, a ``DeviceState``, and ``runs/*`` with what the
contract has in a run's directories on both sides: ``request.json``, ``progress.jsonl``,
``result.json`` (missing where the companion died) and the files that the run wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from mobilekit.contract.checks import decode_events, decode_request, decode_result
from mobilekit.contract.codec import MAX_DOCUMENT_BYTES, decode
from mobilekit.contract.protocol import (
    File,
    ProgressEvent,
    RunRequest,
    RunResult,
)
from mobilekit.contract.samples import interrupted
from mobilekit.errors import ProtocolError, UsageError
from mobilekit.executor.base import Listener, Look, Opened
from mobilekit.records.device import DeviceState

REPLAY_PREFIX = "replay:"


class RecordedRun(NamedTuple):
    """A run as it took place, and where the files lie that it wrote."""

    request: RunRequest
    events: tuple[ProgressEvent, ...]
    result: RunResult
    directory: Path


class ReplayExecutor:
    """Plays, for a request, a recorded run that went through the same phases: the first that has
    not been played yet, in the order in which they are given, else the last."""

    outlives = False
    replays = True

    def __init__(self, recorded: Sequence[RecordedRun]) -> None:
        self._recorded = tuple(recorded)
        self._played: set[int] = set()
        self._directories: dict[str, Path] = {}

    def held_runs(self) -> set[str]:
        return set()

    def is_going_on(self, run_id: str) -> bool:
        return False

    def install(self, apk: Path | None, **_: object) -> None:
        """Nothing runs anything."""

    def deliver(self, files: Sequence[File], directory: Path, **_: object) -> None:
        """Nothing reads them."""

    def start(self, requests: Sequence[RunRequest]) -> None:
        """Raises ``UsageError`` for a request that no recorded run is like."""
        for request in requests:
            self._alike(request)

    def restart(self, requests: Sequence[RunRequest]) -> None:
        """Nothing crashes."""

    def follow(self, request: RunRequest, listener: Listener) -> RunResult:
        alike = self._alike(request)
        number = next((each for each in alike if each not in self._played), alike[-1])
        self._played.add(number)
        run = self._recorded[number]
        self._directories[request.run_id] = run.directory
        for event in run.events:
            listener.on_event(event)
        return replace(run.result, run_id=request.run_id)

    def stop(self, request: RunRequest) -> RunResult:
        return interrupted(request.run_id, (), "interrupted from the keyboard", "stopped")

    def look(self, request: RunRequest, on_event: Callable[[ProgressEvent], None]) -> Look:
        return Look(None, has_begun=False)

    def fetch(self, run_id: str, name: str, target: Path, *, limit_bytes: int) -> None:
        """Raises ``ProtocolError`` for a file that is not there, or longer."""
        path = self._directories[run_id] / name
        try:
            data = _read(path, limit_bytes)
        except OSError as error:
            raise ProtocolError(
                f"{name} of the recording cannot be read: {error.strerror}",
                path=path,
                fix="Record the run anew.",
            ) from None
        target.write_bytes(data)

    def clean(self, run_id: str, corrupt: Sequence[File]) -> None:
        """A recording stays as it is."""

    def _alike(self, request: RunRequest) -> list[int]:
        wanted = _phases(request)
        found = [n for n, run in enumerate(self._recorded) if _phases(run.request) == wanted]
        if not found:
            raise UsageError(
                "The recording has no run of these phases",
                phases=", ".join(name for name, is_there in wanted.items() if is_there) or "none",
                fix="Record one, or ask for what there is.",
            )
        return found


def _phases(request: RunRequest) -> dict[str, bool]:
    """Which of the phases that not every run has."""
    return {
        "profile": request.profile_iterations is not None,
        "segments": bool(request.segments),
        "evaluate": request.evaluation is not None,
        "energy": request.energy is not None,
    }


def _read(path: Path, limit_bytes: int = MAX_DOCUMENT_BYTES) -> bytes:
    """Raises ``ProtocolError`` for what is longer, or no file at all, as a pipe."""
    if path.exists() and not path.is_file():
        raise ProtocolError(
            f"{path.name} of the recording is no file", path=path, fix="Record the run anew."
        )
    with path.open("rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ProtocolError(
            f"{path.name} of the recording is longer than the {limit_bytes} bytes that it may have",
            path=path,
            fix="Record the run anew.",
        )
    return data


def open_recording(directory: Path) -> Opened:
    """Raises ``UsageError`` for a directory that holds none, ``ProtocolError`` for what is no
    message."""
    try:
        device = _read(directory / "device.json")
        recorded = [_read_run(path) for path in sorted((directory / "runs").iterdir())]
    except OSError as error:
        raise UsageError(
            "There is no recording here",
            path=error.filename,
            fix="A recording has device.json and runs/*/request.json and progress.jsonl.",
        ) from None
    state: DeviceState = decode(device, DeviceState, source="device.json")
    return Opened(state, ReplayExecutor(recorded))


def _read_run(directory: Path) -> RecordedRun:
    request = decode_request(_read(directory / "request.json"))
    events = tuple(decode_events(_read(directory / "progress.jsonl")))
    result = directory / "result.json"
    return RecordedRun(
        request,
        events,
        decode_result(_read(result))
        if result.exists()
        else interrupted(request.run_id, events, "the companion's process ended without a result"),
        directory,
    )
