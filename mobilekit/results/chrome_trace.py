"""One inference layer by layer, as a file for Chrome's and Perfetto's trace viewers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
    by = "the engine's trace of one inference" if measurement.layer_trace is not None else _LAID_OUT
    document = {
        "displayTimeUnit": "ns",
        "otherData": {
            "measurement": measurement.id,
            "model": measurement.artifact.model.label,
            "device": measurement.device.name,
            "virtual": measurement.virtual,
            "by": by,
        },
        "traceEvents": list(layer_events(measurement, 0, 0)),
    }
    write_file(path, json.dumps(document, indent=1).encode())


NO_DETAIL: Mapping[str, object] = {}
_THREADS = ("program", "part", "operator", "layer")
"""Each a row of the display: what contains others stands above them."""

_LAID_OUT = (
    "segments that ran by themselves: the median of each less that of a call, laid one after "
    "another in an order in which they could run; they were never one inference"
)


def has_layers(measurement: Measurement) -> bool:
    return measurement.layer_trace is not None or measurement.cut is not None


def layer_events(
    measurement: Measurement, process: int, begins_ns: int
) -> Iterator[dict[str, object]]:
    """The events of one inference that begins at ``begins_ns``; it must have layers."""
    trace, cut = measurement.layer_trace, measurement.cut
    yield name_event("process_name", process, 0, measurement.artifact.model.label)
    if trace is not None:
        yield from _traced_events(trace, process, begins_ns)
    else:
        assert cut is not None
        yield from _segment_events(measurement, cut, process, begins_ns)


def _segment_events(
    measurement: Measurement, cut: Cut, process: int, begins_ns: int
) -> Iterator[dict[str, object]]:
    yield name_event("thread_name", process, 0, "segments, one after another: never one inference")
    types = {layer.name: layer.type for layer in cut.description.layers}
    ended_ns = float(begins_ns)
    own_ns = {cost.layer.name: cost.p50_ns for cost in profile_of(measurement).layers}
    for segment in cut.segments:
        layer = segment.layers[0]
        duration_ns = own_ns[layer] or 0.0
        detail = {"layers": list(segment.layers), "type": types[layer]}
        yield span_event(layer, types[layer], process, 0, ended_ns, duration_ns, detail)
        ended_ns += duration_ns


def _traced_events(trace: LayerTrace, process: int, begins_ns: int) -> Iterator[dict[str, object]]:
    for thread, name in enumerate(_THREADS):
        yield name_event(
            "thread_name", process, thread, f"{name}s" if name != "program" else "inference"
        )
    whole = next(each for each in trace.operators if each.role == "program")
    order = np.argsort(whole.duration_ns, kind="stable")
    which = int(order[len(order) // 2])
    resolution = resolve(trace)
    types = {layer.name: layer.type for layer in trace.description.layers}
    for place, timed in enumerate(trace.operators):
        layer = resolution.layer_of.get(place)
        taken = (begins_ns + timed.started_ns[which], timed.duration_ns[which])
        detail = {"engine_operator": timed.name, "layer": layer or ""}
        thread = _THREADS.index(timed.role)
        yield span_event(timed.name, timed.role, process, thread, *taken, detail)
        if layer is not None:
            row = _THREADS.index("layer")
            typed = detail | {"type": types[layer]}
            yield span_event(layer, types[layer], process, row, *taken, typed)


def name_event(kind: str, process: int, thread: int, name: str) -> dict[str, object]:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}


def span_event(
    name: str,
    category: str,
    process: int,
    thread: int,
    started_ns: float,
    duration_ns: float,
    detail: Mapping[str, object] = NO_DETAIL,
) -> dict[str, object]:
    """A complete event (``X``), in microseconds."""
    return {
        "name": name,
        "cat": category,
        "ph": "X",
        "pid": process,
        "tid": thread,
        "ts": started_ns / 1000,
        "dur": duration_ns / 1000,
        "args": dict(detail),
    }
