"""A measurement's raw durations as CSV."""

from __future__ import annotations

from mobilekit.records.measurement import Measurement
from mobilekit.results.tables.csv import csv_text


def render_samples_csv(measurement: Measurement) -> str:
    """Every duration in time order: ``phase,index,duration_ns`` lines under a header."""
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
    return csv_text(
        ("id", "model", "device", "virtual", "phase", "index", "duration_ns"),
        (
            (*whose, phase, index, duration_ns)
            for phase, durations in series
            for index, duration_ns in enumerate(durations)
        ),
    )
