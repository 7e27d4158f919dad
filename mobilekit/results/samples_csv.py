"""A measurement's raw durations as CSV."""

from __future__ import annotations

import csv
import io

from mobilekit.records.measurement import Measurement


def render_samples_csv(measurement: Measurement) -> str:
    """Every duration in time order: ``phase,index,duration_ns`` lines under a header."""
    samples = measurement.result.samples
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "model", "device", "virtual", "phase", "index", "duration_ns"))
    series = (
        ("load", samples.load_ns),
        ("warmup", samples.warmup_ns),
        ("iterate", samples.iteration_ns),
    )
    for phase, durations in series:
        for index, duration_ns in enumerate(durations):
            writer.writerow(
                (
                    measurement.id,
                    measurement.artifact.model.name,
                    measurement.device.name,
                    str(measurement.virtual).lower(),
                    phase,
                    index,
                    duration_ns,
                )
            )
    return text.getvalue()
