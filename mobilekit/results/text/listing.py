"""Lists for people: measurements, and runs that are waited for."""

from __future__ import annotations

from collections.abc import Sequence

from mobilekit.records.artifact import Artifact
from mobilekit.records.measurement import Answer, Measurement, WaitingRun
from mobilekit.results.tables.text import render_table
from mobilekit.units import format_duration, format_energy


def render_waiting(runs: Sequence[WaitingRun]) -> str:
    """What could not be collected, a run a line, and what to do about it."""
    if not runs:
        return "No run is waiting to be collected."
    rows = [
        [
            run.id,
            run.started_at[:16].replace("T", " "),
            run.device,
            run.why,
            f"{run.windows} of {run.planned_windows}" if run.planned_windows else "-",
        ]
        for run in runs
    ]
    advice = {
        "not attached": "Attach the phone, then collect again; --forget ID gives a run up.",
        "running": "Pull the cable again and collect later, or follow it with --wait.",
        "waiting": "It begins by itself when the runs before it are over.",
        "left to itself": "It goes on: pull the cable again and collect later.",
        "followed by another mobilekit": "Wait until the other one is done.",
    }
    lines = [advice[why] for why in sorted({run.why for run in runs})]
    return "\n".join([render_table(["run", "started", "device", "state", "windows"], rows), *lines])


def measurement_row(measurement: Measurement, answer: Answer) -> list[str]:
    """One line of ``results list``."""
    energy = answer.energy
    virtual = " (virtual)" if measurement.virtual else ""
    return [
        measurement.id,
        measurement.started_at[:16].replace("T", " "),
        _model_text(measurement.artifact),
        measurement.device.name + virtual,
        format_duration(answer.latency.p50_ns) if answer.latency else "-",
        format_energy(energy.gross_j) if energy else "-",
        ", ".join(item.id for item in measurement.findings if item.severity != "info") or "-",
    ]


def _model_text(artifact: Artifact) -> str:
    """The usual precision goes without saying."""
    return artifact.model.name + ("" if artifact.precision == "fp32" else f" {artifact.precision}")
