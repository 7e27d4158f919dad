"""A run's files, written so that a process or a battery that dies costs at most a line."""

from __future__ import annotations

import os
from pathlib import Path

from mobilekit.contract.checks import encode_event, run_directory
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import FailureCode, ProgressEvent, RunFailure, RunResult, Samples
from mobilekit.contract.samples import collect_samples, interrupted


class Journal:
    """Appends progress and writes the result below ``output_root``."""

    def __init__(self, output_root: Path, run_id: str) -> None:
        self.run_id = run_id
        self.directory = output_root / run_directory(run_id)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._events: list[ProgressEvent] = []
        self._file = (self.directory / "progress.jsonl").open("wb", buffering=0)

    def append(self, event: ProgressEvent) -> None:
        self._events.append(event)
        self._file.write(encode_event(event))
        os.fsync(self._file.fileno())

    def samples(self) -> Samples:
        return collect_samples(self._events)

    def failure(self, code: FailureCode, message: str) -> RunFailure:
        """The result of a run that ended early, in the phase that it was in."""
        return interrupted(self.run_id, self._events, message, code)

    def write_result(self, result: RunResult) -> None:
        """Make ``result.json`` appear whole, and close the journal."""
        self._file.close()
        aside = self.directory / "result.json.new"
        with aside.open("wb") as file:
            file.write(encode(result))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.directory / "result.json")
