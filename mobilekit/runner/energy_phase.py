"""The energy phase: what is waited for, then the windows, as the contract orders them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol

from mobilekit.contract.protocol import (
    GATE_POLL_NS,
    SYNC_PULSE_NS,
    SYNC_PULSES,
    BatterySample,
    EnergyPlan,
    EnergyRefused,
    ProgressEvent,
    RailSample,
    SyncPattern,
    SyncPatternMade,
    ThermalSample,
    Wait,
    WaitEnded,
    WaitReason,
    WaitStarted,
    Window,
    WindowMeasured,
)
from mobilekit.runner.failures import inferring

PLUGGED_IN = "the phone is plugged in, so its battery does not pay for the work"


class EnergyStage(Protocol):
    """Time, work and battery of the energy phase, real or simulated."""

    def now_ns(self) -> int: ...

    def idle_until(self, until_ns: int) -> None: ...

    def iterate_until(self, until_ns: int) -> int:
        """Run back-to-back iterations until one ends at or after ``until_ns``; their number."""

    def read_battery(self) -> BatterySample: ...

    def read_rails(self) -> Sequence[RailSample]:
        """The power monitors' newest readings; empty where there are none."""

    def read_thermal(self) -> ThermalSample: ...


def measure_energy(plan: EnergyPlan, stage: EnergyStage) -> Iterator[ProgressEvent]:
    """The energy phase, an event at a time, as the contract orders it."""
    if not (yield from _wait("unplug", plan.unplug_timeout_ns, stage, _is_unplugged)):
        yield EnergyRefused(reason=PLUGGED_IN)
        return
    if plan.rest_ns is not None:
        yield from _wait("rest", plan.rest_ns, stage, None)
    gate = plan.temperature_gate
    if gate is not None:
        yield from _wait(
            "temperature",
            gate.timeout_ns,
            stage,
            lambda sample: (sample.temperature_decicelsius or 0) <= gate.max_decicelsius,
        )
    if plan.sync_pattern:
        yield SyncPatternMade(pattern=make_sync_pattern(stage))
    complete, shares_idle = 0, False
    while complete < plan.blocks:
        unplugged = True
        for is_load in (True, False) if shares_idle else (False, True, False):
            window = measure_window(plan, stage, is_load=is_load)
            yield WindowMeasured(window=window)
            unplugged = all(_is_unplugged(sample) for sample in window.battery)
            if not unplugged:
                break
        complete += unplugged
        shares_idle = unplugged
        if unplugged:
            continue
        if not (yield from _wait("unplug", plan.unplug_timeout_ns, stage, _is_unplugged)):
            yield EnergyRefused(reason=PLUGGED_IN)
            return
    if plan.sync_pattern:
        yield SyncPatternMade(pattern=make_sync_pattern(stage))


def _wait(
    reason: WaitReason,
    timeout_ns: int | None,
    stage: EnergyStage,
    is_over: Callable[[BatterySample], bool] | None,
) -> Generator[ProgressEvent, None, bool]:
    """Wait until ``is_over``, or, without it, for the whole time; false when the time ran out.

    Nothing is said where nothing had to be waited for.
    """
    if is_over is not None and is_over(stage.read_battery()):
        return True
    if timeout_ns is None:
        return False
    started_ns = stage.now_ns()
    end_ns = started_ns + timeout_ns
    yield WaitStarted(reason=reason, at_ns=started_ns)
    passed = is_over is None
    while stage.now_ns() < end_ns:
        stage.idle_until(min(end_ns, stage.now_ns() + GATE_POLL_NS))
        if is_over is not None and is_over(stage.read_battery()):
            passed = True
            break
    wait = Wait(reason=reason, started_ns=started_ns, ended_ns=stage.now_ns(), passed=passed)
    yield WaitEnded(wait=wait)
    return passed


def _is_unplugged(sample: BatterySample) -> bool:
    return not sample.plugged


def make_sync_pattern(stage: EnergyStage) -> SyncPattern:
    edges_ns = []
    for _ in range(SYNC_PULSES):
        edges_ns.append(stage.now_ns())
        with inferring():
            stage.iterate_until(edges_ns[-1] + SYNC_PULSE_NS)
        edges_ns.append(stage.now_ns())
        stage.idle_until(edges_ns[-1] + SYNC_PULSE_NS)
    return SyncPattern(edges_ns=tuple(edges_ns))


def measure_window(plan: EnergyPlan, stage: EnergyStage, *, is_load: bool) -> Window:
    rails = [*stage.read_rails()]
    samples = [stage.read_battery()]
    started_ns = now_ns = stage.now_ns()
    end_ns = started_ns + (plan.load_ns if is_load else plan.idle_ns)
    iterations = 0
    while now_ns < end_ns:
        next_ns = min(end_ns, now_ns + plan.sample_period_ns)
        if is_load:
            with inferring():
                iterations += stage.iterate_until(next_ns)
        else:
            stage.idle_until(next_ns)
        now_ns = stage.now_ns()
        samples.append(stage.read_battery())
    rails += stage.read_rails()
    return Window(
        kind="load" if is_load else "idle",
        started_ns=started_ns,
        ended_ns=now_ns,
        iterations=iterations,
        battery=tuple(samples),
        rails=tuple(rails),
        thermal=stage.read_thermal(),
    )
