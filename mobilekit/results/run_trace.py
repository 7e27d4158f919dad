"""Whole runs in time, for Perfetto's viewer: phases, windows, power, gauge, memory, layers."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator
from itertools import pairwise

from mobilekit.analysis.energy.power_series import power_series_of
from mobilekit.contract.protocol import Samples
from mobilekit.records.measurement import Measurement
from mobilekit.results.chrome_trace import has_layers, layer_events, name_event, span_event

_PHASES, _WINDOWS, _WAITS = 0, 1, 2
_ROWS = {_PHASES: "phases", _WINDOWS: "energy windows", _WAITS: "waits"}


def render_run_trace(measurements: Iterable[Measurement]) -> bytes:
    """Chrome's trace event format, which Perfetto opens: a process a run, from its own beginning.

    Counters (``C``) hold their last value until the next. How many loads and inferences there were,
    and their median, are arguments of their phase, since their own moments are not told; the layers
    of one inference are a process of their own, at the beginning of the phase that measured them.
    Two runs' clocks have nothing to do with one another.
    """
    events: list[dict[str, object]] = []
    for number, measurement in enumerate(measurements):
        events += _run_events(measurement, 2 * number)
    return json.dumps({"displayTimeUnit": "ns", "traceEvents": events}).encode() + b"\n"


def _run_events(measurement: Measurement, process: int) -> Iterator[dict[str, object]]:
    samples = measurement.result.samples
    begun_ns = samples.phases[0].at_ns if samples.phases else 0
    device = f"{measurement.device.name}{' (virtual)' if measurement.virtual else ''}"
    title = f"{measurement.artifact.model.label} on {device}, {measurement.id}"
    yield name_event("process_name", process, 0, title)
    for row, name in _ROWS.items():
        yield name_event("thread_name", process, row, name)
    yield from _phase_events(samples, process, begun_ns)
    for wait in samples.waits:
        yield span_event(
            wait.reason,
            "wait",
            process,
            _WAITS,
            wait.started_ns - begun_ns,
            wait.ended_ns - wait.started_ns,
        )
    yield from _power_events(measurement, process, begun_ns)
    yield from _gauge_events(measurement, process, begun_ns)
    for sample in samples.memory:
        for name in ("pss_bytes", "rss_bytes"):
            value = getattr(sample, name)
            if value is not None:
                yield _counter(f"memory {name}", process, sample.at_ns - begun_ns, {name: value})
    if has_layers(measurement):
        profiled = [each.at_ns for each in samples.phases if each.phase == "profile"]
        begins_ns = profiled[0] - begun_ns if profiled else 0
        yield from layer_events(measurement, process + 1, begins_ns)


def _phase_events(samples: Samples, process: int, begun_ns: int) -> Iterator[dict[str, object]]:
    durations = {
        "load": samples.load_ns,
        "warmup": samples.warmup_ns,
        "iterate": samples.iteration_ns,
    }
    # Of a virtual phone whose energy phase goes faster, windows and waits are on a clock of their
    # own, on which they end after the run does.
    ends = [
        *(each.ended_ns for each in samples.windows),
        *(each.ended_ns for each in samples.waits),
    ]
    if samples.ended_ns is not None:
        ends.append(samples.ended_ns)
    elif samples.phases:
        # A failed run's last phase lasted at least as long as what is known of it.
        last = samples.phases[-1]
        ends += [
            last.at_ns + sum(durations.get(last.phase, ())),
            *(each.at_ns for each in samples.memory),
            *(each.at_ns for each in samples.battery),
            *(each.at_ns for each in samples.thermal),
        ]
    starts: list[tuple[str, int]] = [(each.phase, each.at_ns) for each in samples.phases]
    if starts:
        starts.append(("", max(ends)))
    for (phase, at_ns), (_, until_ns) in pairwise(starts):
        taken = list(durations.get(phase, ()))
        detail: dict[str, object] = {}
        if taken:
            detail = {"count": len(taken), "p50_ns": statistics.median(taken)}
        yield span_event(
            phase, "phase", process, _PHASES, at_ns - begun_ns, until_ns - at_ns, detail
        )


def _power_events(
    measurement: Measurement, process: int, begun_ns: int
) -> Iterator[dict[str, object]]:
    """A window's mean power from its start on, and the ends of its 95 % interval beside it."""
    series = power_series_of(measurement)
    if series is None:
        for window in measurement.result.samples.windows:
            at_ns, taken_ns = window.started_ns - begun_ns, window.ended_ns - window.started_ns
            yield span_event(f"{window.kind} window", "window", process, _WINDOWS, at_ns, taken_ns)
        return
    told = f"{series.origin}, {series.source}"
    for each in series.windows:
        at_ns = each.started_ns - begun_ns
        detail: dict[str, object] = {
            "iterations": each.iterations,
            "power_w": each.power_w,
            "half_width_w": each.half_width_w,
            "origin": series.origin,
            "source": series.source,
            "counts": each.power_w is not None,
        }
        name = f"{each.kind} window{'' if each.power_w is not None else ' that does not count'}"
        taken_ns = each.ended_ns - each.started_ns
        yield span_event(name, "window", process, _WINDOWS, at_ns, taken_ns, detail)
        if each.power_w is not None and each.half_width_w is not None:
            for label, value in (
                ("power_w", each.power_w),
                ("power_w, low", each.power_w - each.half_width_w),
                ("power_w, high", each.power_w + each.half_width_w),
            ):
                yield _counter(f"{label} ({told})", process, at_ns, {"power_w": value})


def _gauge_events(
    measurement: Measurement, process: int, begun_ns: int
) -> Iterator[dict[str, object]]:
    """As the gauge gives it, in the units that Android documents."""
    samples = measurement.result.samples
    suffix = " (simulated)" if measurement.virtual else ""
    readings = [*samples.battery, *(each for window in samples.windows for each in window.battery)]
    for reading in sorted(readings, key=lambda each: each.at_ns):
        for name in (
            "charge_counter_uah",
            "current_now_ua",
            "energy_counter_nwh",
            "voltage_mv",
            "temperature_decicelsius",
        ):
            value = getattr(reading, name)
            if value is not None:
                at_ns = reading.at_ns - begun_ns
                yield _counter(f"gauge {name}{suffix}", process, at_ns, {name: value})


def _counter(name: str, process: int, at_ns: int, values: dict[str, float]) -> dict[str, object]:
    return {"name": name, "ph": "C", "pid": process, "ts": at_ns / 1000, "args": values}
