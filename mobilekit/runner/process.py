"""Runs on this computer, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mobilekit.codec import encode
from mobilekit.protocol import (
    ProgressEvent,
    RunRequest,
    RunResult,
    decode_events,
    decode_result,
    interrupted,
    run_directory,
)

POLL_S = 0.1


def run_on_computer(
    request: RunRequest, artifacts: Path, *, on_event: Callable[[ProgressEvent], None]
) -> RunResult:
    """Run a request whose artifacts lie in the directory ``artifacts``.

    A runner that dies (a crash in the runtime, a kill) yields a ``RunFailure`` with what it had
    measured and the end of what it printed.
    """
    with tempfile.TemporaryDirectory(prefix="mobilekit-") as scratch:
        input_root, output_root = Path(scratch) / "in", Path(scratch) / "out"
        directory = input_root / run_directory(request.run_id)
        directory.mkdir(parents=True)
        (directory / "request.json").write_bytes(encode(request))
        (input_root / "artifacts").symlink_to(artifacts, target_is_directory=True)
        log = Path(scratch) / "log"
        with log.open("wb") as log_file:
            process = subprocess.Popen(
                [sys.executable, "-m", "mobilekit.runner", input_root, output_root, request.run_id],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
            )
            try:
                events = _follow(process, output_root / run_directory(request.run_id), on_event)
            finally:
                process.kill()
                process.wait()
        result = output_root / run_directory(request.run_id) / "result.json"
        if result.exists():
            return decode_result(result.read_bytes())
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return interrupted(
            request.run_id,
            events,
            f"the runner's process ended with {process.returncode}: {''.join(words)}",
        )


def _follow(
    process: subprocess.Popen[bytes], directory: Path, on_event: Callable[[ProgressEvent], None]
) -> list[ProgressEvent]:
    """Report events until the process ends; all of them."""
    events: list[ProgressEvent] = []
    progress = directory / "progress.jsonl"
    while True:
        ended = process.poll() is not None
        if progress.exists():
            known = decode_events(progress.read_bytes())
            for event in known[len(events) :]:
                on_event(event)
            events = known
        if ended:
            return events
        time.sleep(POLL_S)
