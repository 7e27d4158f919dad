"""One inference layer by layer, as a file for Chrome's and Perfetto's trace viewers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mobilekit.analysis.layers.matching import resolve
from mobilekit.analysis.layers.profile import profile_of
from mobilekit.records.artifact import Cut
from mobilekit.records.measurement import Measurement
from mobilekit.records.profile import LayerTrace
from mobilekit.results.output_file import write_file


def write_chrome_trace(measurement: Measurement, path: Path) -> None:
    """Write the inference of median length in Chrome's trace event format, which Perfetto opens.

    Segments never ran in one inference: their medians, less a call of each, are laid one after
    another, and the file's metadata and the name of their row say so. The format is Google's
    "Trace Event Format": complete events (``X``) with microseconds. Raises ``UsageError`` if the
    file cannot be written.
    """
    trace, cut = measurement.layer_trace, measurement.cut
    if trace is not None:
        events, by = _chrome_events(measurement, trace), "the engine's trace of one inference"
    else:
        assert cut is not None
        events, by = _segment_events(measurement, cut), _LAID_OUT
    document = {
        "displayTimeUnit": "ns",
        "otherData": {
            "measurement": measurement.id,
            "model": measurement.artifact.model.label,
            "device": measurement.device.name,
            "virtual": measurement.virtual,
            "by": by,
        },
        "traceEvents": list(events),
    }
    write_file(path, json.dumps(document, indent=1).encode())


_THREADS = ("program", "part", "operator", "layer")
"""Each a row of the display: what contains others stands above them."""

_LAID_OUT = (
    "segments that ran by themselves: the median of each less that of a call, laid one after "
    "another in an order in which they could run; they were never one inference"
)


def _segment_events(measurement: Measurement, cut: Cut) -> Iterator[dict[str, object]]:
    yield _name_event("process_name", 0, measurement.artifact.model.label)
    yield _name_event("thread_name", 0, "segments, one after another: never one inference")
    types = {layer.name: layer.type for layer in cut.description.layers}
    ended_ns = 0.0
    own_ns = {cost.layer.name: cost.p50_ns for cost in profile_of(measurement).layers}
    for segment in cut.segments:
        layer = segment.layers[0]
        duration_ns = own_ns[layer] or 0.0
        yield {
            "name": layer,
            "cat": types[layer],
            "ph": "X",
            "pid": 0,
            "tid": 0,
            "ts": ended_ns / 1000,
            "dur": duration_ns / 1000,
            "args": {"layers": list(segment.layers), "type": types[layer]},
        }
        ended_ns += duration_ns


def _chrome_events(measurement: Measurement, trace: LayerTrace) -> Iterator[dict[str, object]]:
    yield _name_event("process_name", 0, measurement.artifact.model.label)
    for thread, name in enumerate(_THREADS):
        yield _name_event("thread_name", thread, f"{name}s" if name != "program" else "inference")
    whole = next(each for each in trace.operators if each.role == "program")
    order = np.argsort(whole.duration_ns, kind="stable")
    which = int(order[len(order) // 2])
    resolution = resolve(trace)
    types = {layer.name: layer.type for layer in trace.description.layers}
    for place, timed in enumerate(trace.operators):
        layer = resolution.layer_of.get(place)
        span = {
            "ph": "X",
            "pid": 0,
            "ts": timed.started_ns[which] / 1000,
            "dur": timed.duration_ns[which] / 1000,
        }
        detail = {"engine_operator": timed.name, "layer": layer or ""}
        thread = _THREADS.index(timed.role)
        yield {"name": timed.name, "cat": timed.role, "tid": thread, "args": detail} | span
        if layer is not None:
            yield {
                "name": layer,
                "cat": types[layer],
                "tid": _THREADS.index("layer"),
                "args": detail | {"type": types[layer]},
            } | span


def _name_event(kind: str, thread: int, name: str) -> dict[str, object]:
    return {"name": kind, "ph": "M", "pid": 0, "tid": thread, "args": {"name": name}}
