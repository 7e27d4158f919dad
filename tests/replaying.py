"""A companion that plays a run again: its engine takes no time, and its phases a little."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mobilekit.contract.checks import encode_event
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import (
    OUTPUT_ROOT,
    PROTOCOL_VERSION,
    CompanionStarted,
    IterationsMeasured,
    LoadMeasured,
    MemoryMeasured,
    OutputsChecked,
    PhaseStarted,
    ProgressEvent,
    RunEnded,
    RunSuccess,
    RunTaken,
    Samples,
    StateSampled,
    WarmupMeasured,
)
from mobilekit.records.device import CompanionVulkan
from mobilekit.virtual.crashes import CRASHES, Crash
from mobilekit.virtual.files import PhoneFiles

PIDS = itertools.count(20_000)
SAMPLES = (LoadMeasured, WarmupMeasured, IterationsMeasured, OutputsChecked, MemoryMeasured)


def events_in_order(samples: Samples) -> Iterator[ProgressEvent]:
    """The events that a run with these samples writes, without energy, profile and examples."""
    assert samples.companion is not None
    batteries = [*samples.battery, *(None for _ in samples.thermal)]
    states = [
        StateSampled(battery=battery, thermal=thermal)
        for battery, thermal in zip(batteries, samples.thermal, strict=False)
    ]
    of_phase: dict[str, list[ProgressEvent]] = {
        "load": [LoadMeasured(load_ns=load_ns) for load_ns in samples.load_ns],
        "warmup": [WarmupMeasured(latency_ns=samples.warmup_ns, settled=samples.warmup_settled)],
        "iterate": [IterationsMeasured(latency_ns=samples.iteration_ns)],
        "memory": [MemoryMeasured(sample=sample) for sample in samples.memory],
    }
    if samples.output_check is not None:
        of_phase["check"] = [OutputsChecked(check=samples.output_check)]
    yield CompanionStarted(companion=samples.companion)
    for phase in samples.phases:
        if phase.phase == "load":
            yield from states[:1]
        yield PhaseStarted(phase=phase.phase, at_ns=phase.at_ns)
        yield from of_phase.get(phase.phase, [])
    yield from states[1:]
    assert samples.ended_ns is not None
    yield RunEnded(at_ns=samples.ended_ns)


class ReplayCompanion:
    """One process id for each start; a run takes ``pace_s`` for each of its phases."""

    vulkan: CompanionVulkan = "python"
    computes = False

    def __init__(self, phone_directory: Path, samples: Samples, pace_s: float) -> None:
        self.formats = ("pte",)
        self.written: list[ProgressEvent] = []
        """What the last run has told, whether or not anybody heard it."""
        self._files = PhoneFiles(phone_directory / "files", {})
        self._samples = samples
        self._pace_s = pace_s
        self._threads: dict[int, tuple[threading.Thread, threading.Event]] = {}
        self._crashes: list[Crash] = []
        self._goes_on = threading.Event()
        self._goes_on.set()

    def start(self, run_id: str) -> int:
        pid, ended = next(PIDS), threading.Event()
        thread = threading.Thread(target=self._run, args=(run_id, pid, ended), daemon=True)
        self._threads[pid] = thread, ended
        thread.start()
        return pid

    def stop(self) -> None:
        for thread, ended in self._threads.values():
            ended.set()
            self._goes_on.set()
            thread.join(10)
        self._threads = {}

    def signal(self, number: int) -> None:
        if number == signal.SIGSTOP:
            self._goes_on.clear()
        elif number == signal.SIGCONT:
            self._goes_on.set()
        else:
            if number in CRASHES:
                name = signal.Signals(number)
                self._crashes += [Crash(pid, name) for pid in self.running_pids()]
            self.stop()

    def take_crashes(self) -> list[Crash]:
        crashes, self._crashes = self._crashes, []
        return crashes

    def running_pids(self) -> list[int]:
        return [pid for pid, (thread, _) in self._threads.items() if thread.is_alive()]

    def memory_bytes(self, pid: int) -> int:
        return 50 * 1024**2

    def _run(self, run_id: str, pid: int, ended: threading.Event) -> None:
        directory = self._files.host_path(OUTPUT_ROOT) / "runs" / run_id
        directory.mkdir(parents=True, exist_ok=True)
        self.written = []
        with (directory / "progress.jsonl").open("ab", buffering=0) as file:
            for event in (RunTaken(pid=pid), *events_in_order(self._samples)):
                self._goes_on.wait()
                if ended.is_set():
                    return
                file.write(encode_event(event))
                self.written.append(event)
                if isinstance(event, PhaseStarted):
                    ended.wait(self._pace_s)
        self._goes_on.wait()
        if ended.is_set():
            return
        result = RunSuccess(protocol_version=PROTOCOL_VERSION, run_id=run_id, samples=self._samples)
        # The host may have removed the run's files by now.
        with suppress(OSError):
            aside = directory / "result.json.new"
            aside.write_bytes(encode(result))
            aside.replace(directory / "result.json")
