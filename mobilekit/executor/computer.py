"""Runs on this computer, each in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mobilekit.contract.checks import decode_events, decode_result, run_directory
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import (
    OUTPUTS_NAME,
    TRACE_NAME,
    FailureCode,
    ProgressEvent,
    RunRequest,
    RunResult,
)
from mobilekit.contract.samples import interrupted
from mobilekit.errors import ProtocolError

POLL_S = 0.1


def run_on_computer(
    request: RunRequest, artifacts: Path, *, on_event: Callable[[ProgressEvent], None]
) -> RunResult:
    """Run a request whose artifacts lie in the directory ``artifacts``.

    A runner that dies (a crash in the runtime, a kill, Ctrl-C) yields a ``RunFailure`` with what it
    had measured and the end of what it printed. What its examples yielded is put into ``artifacts``
    under its content's hash, and so is a trace of its operators, under a name of its own.
    """
    with tempfile.TemporaryDirectory(prefix="mobilekit-") as scratch:
        input_root, output_root = Path(scratch) / "in", Path(scratch) / "out"
        directory = input_root / run_directory(request.run_id)
        directory.mkdir(parents=True)
        (directory / "request.json").write_bytes(encode(request))
        (input_root / "artifacts").symlink_to(artifacts.absolute(), target_is_directory=True)
        log = Path(scratch) / "log"
        with log.open("wb") as log_file:
            process = subprocess.Popen(
                [sys.executable, "-m", "mobilekit.runner", input_root, output_root, request.run_id],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
            )
            events: list[ProgressEvent] = []
            problem: str | None = None
            code: FailureCode = "interrupted"
            try:
                for event in _follow(process, output_root / run_directory(request.run_id)):
                    events.append(event)
                    on_event(event)
            except KeyboardInterrupt:
                problem, code = "interrupted from the keyboard", "stopped"
            except ProtocolError as error:
                problem = error.what
            finally:
                process.kill()
                process.wait()
        result = output_root / run_directory(request.run_id) / "result.json"
        if problem is None and result.exists():
            decoded = decode_result(result.read_bytes())
            evaluation = decoded.samples.evaluation
            if evaluation is not None:
                outputs = result.with_name(OUTPUTS_NAME)
                shutil.move(outputs, artifacts / Path(evaluation.outputs.path).name)
            trace = decoded.samples.trace
            if trace is not None:
                shutil.move(result.with_name(TRACE_NAME), artifacts / trace.kept_name)
            return decoded
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        ending = f"the runner's process ended with {process.returncode}: {''.join(words)}"
        return interrupted(request.run_id, events, problem or ending, code)


def _follow(process: subprocess.Popen[bytes], directory: Path) -> Iterator[ProgressEvent]:
    """Events as they are written, until the process has ended."""
    progress = directory / "progress.jsonl"
    read_bytes = 0
    while True:
        ended = process.poll() is not None
        if progress.exists():
            data = progress.read_bytes()[read_bytes:]
            read_bytes += data.rfind(b"\n") + 1
            yield from decode_events(data)
        if ended:
            return
        time.sleep(POLL_S)
