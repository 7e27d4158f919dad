"""Which of a program's methods a run chose by its time budget, and how the others did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mobilekit.contract.protocol import OutputCheck, Samples
from mobilekit.records.artifact import Artifact
from mobilekit.records.measurement import Measurement


class Tried(NamedTuple):
    """A method that was tried before the run."""

    artifact: Artifact
    p50_ns: float
    keeps: bool
    """Whether that is within the budget: then the run was of it."""


def tried_methods(measurement: Measurement, samples: Samples) -> Iterator[Tried]:
    """In their order, the most wanted first; none where nothing was to be chosen."""
    choice = measurement.request.choice
    if choice is None:
        return
    for artifact, trial in zip(measurement.candidates, samples.trials, strict=False):
        yield Tried(artifact, trial.p50_ns, trial.keeps_to(choice.budget_ns))


def find_run_artifact(measurement: Measurement, samples: Samples) -> Artifact:
    """The method that the run was of: where none kept to the budget, the request's own."""
    chosen = (each.artifact for each in tried_methods(measurement, samples) if each.keeps)
    return next(chosen, measurement.artifact)


def tolerance_of(measurement: Measurement) -> float:
    """What the outputs may differ by. A request that leaves the method open has the largest of
    all its methods' tolerances; what was run has its own."""
    if measurement.request.choice is None:
        return measurement.request.relative_tolerance
    return measurement.artifact.relative_tolerance


def outputs_match(measurement: Measurement, check: OutputCheck) -> bool:
    """Whether they are what the method computes that was run."""
    return check.matches and check.max_relative_error <= tolerance_of(measurement)
