"""Recordings for the replay executor, made of samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mobilekit.contract.checks import encode_event
from mobilekit.contract.codec import encode
from mobilekit.contract.protocol import (
    CompanionStarted,
    EnergyRefused,
    EvaluationMade,
    IterationsMeasured,
    LoadMeasured,
    MemoryMeasured,
    OutputsChecked,
    PhaseStarted,
    ProfileRefused,
    ProgressEvent,
    RunEnded,
    RunTaken,
    Samples,
    SegmentMeasured,
    StateSampled,
    SyncPatternMade,
    TraceMade,
    WaitEnded,
    WarmupMeasured,
    WindowMeasured,
)
from mobilekit.executor.replay import RecordedRun, ReplayExecutor
from mobilekit.records.device import DeviceState
from mobilekit.records.measurement import Measurement


def events_of(samples: Samples) -> Iterator[ProgressEvent]:
    """Events that fold to these samples, in an order that a run may have."""
    yield RunTaken(pid=7)
    if samples.companion is not None:
        yield CompanionStarted(companion=samples.companion)
    for phase in samples.phases:
        yield PhaseStarted(phase=phase.phase, at_ns=phase.at_ns)
    for load_ns in samples.load_ns:
        yield LoadMeasured(load_ns=load_ns)
    yield WarmupMeasured(latency_ns=samples.warmup_ns, settled=samples.warmup_settled)
    yield IterationsMeasured(latency_ns=samples.iteration_ns)
    if samples.output_check is not None:
        yield OutputsChecked(check=samples.output_check)
    for memory in samples.memory:
        yield MemoryMeasured(sample=memory)
    if samples.trace is not None:
        yield TraceMade(trace=samples.trace)
    if samples.profile_refusal is not None:
        yield ProfileRefused(reason=samples.profile_refusal)
    for latency in samples.segments:
        yield SegmentMeasured(latency=latency)
    if samples.evaluation is not None:
        yield EvaluationMade(evaluation=samples.evaluation)
    for wait in samples.waits:
        yield WaitEnded(wait=wait)
    for pattern in samples.sync_patterns:
        yield SyncPatternMade(pattern=pattern)
    for window in samples.windows:
        yield WindowMeasured(window=window)
    if samples.energy_refusal is not None:
        yield EnergyRefused(reason=samples.energy_refusal)
    batteries = [*samples.battery, *(None for _ in samples.thermal)]
    for battery, thermal in zip(batteries, samples.thermal, strict=False):
        yield StateSampled(battery=battery, thermal=thermal)
    if samples.ended_ns is not None:
        yield RunEnded(at_ns=samples.ended_ns)


def state_of(measurement: Measurement) -> DeviceState:
    return DeviceState(
        info=measurement.device,
        profile=measurement.profile,
        battery=measurement.battery_before,
        airplane_mode=measurement.airplane_mode,
        full_charge_uah=measurement.full_charge_uah,
        companion_formats=("pte", "onnx", "tflite"),
    )


def recorded(measurement: Measurement, directory: Path = Path("/nowhere")) -> RecordedRun:
    return RecordedRun(
        measurement.request,
        tuple(events_of(measurement.result.samples)),
        measurement.result,
        directory,
    )


def replaying(*measurements: Measurement) -> ReplayExecutor:
    return ReplayExecutor([recorded(measurement) for measurement in measurements])


def write_recording(directory: Path, *measurements: Measurement) -> Path:
    """What ``--device replay:DIRECTORY`` plays: runs on the device of the first."""
    (directory / "runs").mkdir(parents=True)
    (directory / "device.json").write_bytes(encode(state_of(measurements[0])))
    for number, measurement in enumerate(measurements):
        run = directory / f"runs/{number:03}"
        run.mkdir()
        (run / "request.json").write_bytes(encode(measurement.request))
        events = events_of(measurement.result.samples)
        (run / "progress.jsonl").write_bytes(b"".join(map(encode_event, events)))
        (run / "result.json").write_bytes(encode(measurement.result))
    return directory
