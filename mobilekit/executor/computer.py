"""Runs on this computer, each in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mobilekit.contract.answering import check_answer
from mobilekit.contract.checks import decode_events, decode_result, run_directory
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import (
    File,
    ProgressEvent,
    RunRequest,
    RunResult,
)
from mobilekit.contract.samples import interrupted
from mobilekit.errors import ProtocolError
from mobilekit.executor.base import Listener, Look

POLL_S = 0.1


class ComputerExecutor:
    """Keeps the two roots of the contract in ``scratch``; a run lives as long as it is followed."""

    outlives = False
    replays = False

    def __init__(self, scratch: Path) -> None:
        self._inputs, self._outputs = scratch / "in", scratch / "out"
        self._heard: list[ProgressEvent] = []
        """Of the run that was followed last."""

    def held_runs(self) -> set[str]:
        return set()

    def is_going_on(self, run_id: str) -> bool:
        return False

    def install(self, apk: Path | None, **_: object) -> None:
        """The runner is a part of mobilekit."""

    def deliver(self, files: Sequence[File], directory: Path, **_: object) -> None:
        self._inputs.mkdir(exist_ok=True)
        artifacts = self._inputs / "artifacts"
        artifacts.unlink(missing_ok=True)
        artifacts.symlink_to(directory.absolute(), target_is_directory=True)

    def start(self, requests: Sequence[RunRequest]) -> None:
        for request in requests:
            directory = self._inputs / run_directory(request.run_id)
            directory.mkdir(parents=True)
            (directory / "request.json").write_bytes(encode(request))

    def restart(self, requests: Sequence[RunRequest]) -> None:
        """Each has a process of its own, so that none keeps another from beginning."""

    def follow(self, request: RunRequest, listener: Listener) -> RunResult:
        """A runner that dies, or writes what is no message, yields a ``RunFailure`` with all that
        it had told before."""
        self._heard = []
        directory = self._outputs / run_directory(request.run_id)
        log = self._inputs / run_directory(request.run_id) / "log"
        with log.open("wb") as log_file:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mobilekit.runner"),
                    *(self._inputs, self._outputs, request.run_id),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
            )
        try:
            for event in _read_events(process, directory):
                self._heard.append(event)
                listener.on_event(event)
            result = directory / "result.json"
            if result.exists():
                told = decode_result(result.read_bytes())
                check_answer(request, told)
                return told
        except ProtocolError as error:
            return interrupted(request.run_id, self._heard, error.what)
        finally:
            process.kill()
            process.wait()
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        ending = f"the runner's process ended with {process.returncode}: {''.join(words)}"
        return interrupted(request.run_id, self._heard, ending)

    def stop(self, request: RunRequest) -> RunResult:
        heard, self._heard = self._heard, []
        return interrupted(request.run_id, heard, "interrupted from the keyboard", "stopped")

    def look(self, request: RunRequest, on_event: Callable[[ProgressEvent], None]) -> Look:
        return Look(None, has_begun=False)

    def fetch(self, run_id: str, name: str, target: Path, **_: object) -> None:
        shutil.move(self._outputs / run_directory(run_id) / name, target)

    def clean(self, run_id: str, corrupt: Sequence[File]) -> None:
        for root in (self._inputs, self._outputs):
            shutil.rmtree(root / run_directory(run_id), ignore_errors=True)


def _read_events(process: subprocess.Popen[bytes], directory: Path) -> Iterator[ProgressEvent]:
    """Every event that the runner writes, until it has written its result or ends."""
    progress, result = directory / "progress.jsonl", directory / "result.json"
    read_bytes = 0
    while True:
        # Looked at before the progress, so that nothing written before it is missed.
        is_over = process.poll() is not None or result.exists()
        if progress.exists():
            with progress.open("rb") as file:
                file.seek(read_bytes)
                data = file.read()
            complete = data[: data.rfind(b"\n") + 1]
            read_bytes += len(complete)
            yield from decode_events(complete)
        if is_over:
            return
        time.sleep(POLL_S)
