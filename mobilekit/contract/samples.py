"""What a run measured, folded from its progress; and the result of a run that left none."""

from __future__ import annotations

from collections.abc import Iterable

from mobilekit.contract.protocol import (
    MAX_TEXT_CHARACTERS,
    PROTOCOL_VERSION,
    BatterySample,
    CompanionStarted,
    EnergyRefused,
    EvaluationMade,
    FailureCode,
    IterationsMeasured,
    LoadMeasured,
    MemoryMeasured,
    MemorySample,
    MethodTrial,
    MethodTried,
    OutputsChecked,
    PhaseStart,
    PhaseStarted,
    ProfileRefused,
    ProgressEvent,
    RunEnded,
    RunFailure,
    RunResult,
    Samples,
    SegmentLatency,
    SegmentMeasured,
    StateSampled,
    SyncPattern,
    SyncPatternMade,
    ThermalSample,
    TraceMade,
    Wait,
    WaitEnded,
    WarmupMeasured,
    Window,
    WindowMeasured,
)


def collect_samples(events: Iterable[ProgressEvent]) -> Samples:
    """Fold progress events into ``Samples``; any prefix of a run's events is taken."""
    companion = output_check = energy_refusal = ended_ns = None
    trace = profile_refusal = evaluation = None
    warmup_ns: tuple[int, ...] = ()
    warmup_settled = False
    iteration_ns: tuple[int, ...] = ()
    phases: list[PhaseStart] = []
    trials: list[MethodTrial] = []
    load_ns: list[int] = []
    memory: list[MemorySample] = []
    battery: list[BatterySample] = []
    thermal: list[ThermalSample] = []
    segments: list[SegmentLatency] = []
    waits: list[Wait] = []
    sync_patterns: list[SyncPattern] = []
    windows: list[Window] = []
    for event in events:
        if isinstance(event, CompanionStarted):
            companion = event.companion
        elif isinstance(event, PhaseStarted):
            phases.append(PhaseStart(phase=event.phase, at_ns=event.at_ns))
        elif isinstance(event, MethodTried):
            trials.append(event.trial)
        elif isinstance(event, LoadMeasured):
            load_ns.append(event.load_ns)
        elif isinstance(event, WarmupMeasured):
            warmup_ns, warmup_settled = event.latency_ns, event.settled
        elif isinstance(event, IterationsMeasured):
            iteration_ns = event.latency_ns
        elif isinstance(event, OutputsChecked):
            output_check = event.check
        elif isinstance(event, MemoryMeasured):
            memory.append(event.sample)
        elif isinstance(event, StateSampled):
            thermal.append(event.thermal)
            if event.battery is not None:
                battery.append(event.battery)
        elif isinstance(event, TraceMade):
            trace = event.trace
        elif isinstance(event, ProfileRefused):
            profile_refusal = event.reason
        elif isinstance(event, SegmentMeasured):
            segments.append(event.latency)
        elif isinstance(event, EvaluationMade):
            evaluation = event.evaluation
        elif isinstance(event, WaitEnded):
            waits.append(event.wait)
        elif isinstance(event, SyncPatternMade):
            sync_patterns.append(event.pattern)
        elif isinstance(event, WindowMeasured):
            windows.append(event.window)
        elif isinstance(event, EnergyRefused):
            energy_refusal = event.reason
        elif isinstance(event, RunEnded):
            ended_ns = event.at_ns
    return Samples(
        companion=companion,
        phases=tuple(phases),
        trials=tuple(trials),
        load_ns=tuple(load_ns),
        warmup_ns=warmup_ns,
        warmup_settled=warmup_settled,
        iteration_ns=iteration_ns,
        output_check=output_check,
        memory=tuple(memory),
        battery=tuple(battery),
        thermal=tuple(thermal),
        trace=trace,
        profile_refusal=profile_refusal,
        segments=tuple(segments),
        evaluation=evaluation,
        waits=tuple(waits),
        sync_patterns=tuple(sync_patterns),
        windows=tuple(windows),
        energy_refusal=energy_refusal,
        ended_ns=ended_ns,
    )


def cut_text(text: str) -> str:
    """As much of the beginning as a message takes, and then how many characters there were."""
    if len(text) <= MAX_TEXT_CHARACTERS:
        return text
    ending = f" ... (the beginning of {len(text)} characters)"
    return text[: MAX_TEXT_CHARACTERS - len(ending)] + ending


def interrupted(
    run_id: str,
    events: Iterable[ProgressEvent],
    message: str,
    code: FailureCode = "interrupted",
) -> RunFailure:
    """The result of a run whose companion left none: what its progress tells. A message that is
    too long is cut."""
    samples = collect_samples(events)
    return RunFailure(
        protocol_version=PROTOCOL_VERSION,
        run_id=run_id,
        phase=samples.phases[-1].phase if samples.phases else "verify",
        code=code,
        message=cut_text(message),
        samples=samples,
    )


def was_lost(result: RunResult) -> bool:
    """Whether its phone went away, so that there may be more to collect."""
    return isinstance(result, RunFailure) and result.code == "disconnected"
