"""A measurement's raw durations as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mobilekit.records.measurement import Measurement
from mobilekit.results.tables.csv import csv_text


def render_samples_csv(measurements: Iterable[Measurement]) -> str:
    """Every duration in time order: ``phase,index,duration_ns`` lines under a header."""
    return csv_text(
        ("id", "model", "device", "virtual", "phase", "index", "duration_ns"),
        (line for measurement in measurements for line in _lines(measurement)),
    )


def _lines(measurement: Measurement) -> Iterator[tuple[object, ...]]:
    samples = measurement.result.samples
    series = (
        ("load", samples.load_ns),
        ("warmup", samples.warmup_ns),
        ("iterate", samples.iteration_ns),
    )
    whose = (
        measurement.id,
        measurement.artifact.model.label,
        measurement.device.name,
        str(measurement.virtual).lower(),
    )
    for phase, durations in series:
        for index, duration_ns in enumerate(durations):
            yield (*whose, phase, index, duration_ns)
