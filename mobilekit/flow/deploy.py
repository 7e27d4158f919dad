"""The whole way on one page: from a model's name to a stored measurement. Read this first."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.energy.doubts import refuse_energy
from mobilekit.analysis.energy.planning import plan_energy
from mobilekit.flow.prepare import Wanted, made_ready, make_request
from mobilekit.flow.reporter import Reporter
from mobilekit.flow.run import run_and_store
from mobilekit.model.describe import read_description
from mobilekit.presets import (
    PRESETS,
    profiled_iterations,
)
from mobilekit.records.artifact import Artifact
from mobilekit.records.measurement import (
    Measurement,
    Purpose,
)
from mobilekit.results.store import Store

Iterations = int | Literal["auto"]
"""Inferences whose layers are timed; ``auto`` for as many as the network's size asks for."""


def iterations_of(wanted: Iterations, artifact: Artifact) -> int:
    return profiled_iterations(artifact.cost.macs) if wanted == "auto" else wanted


def deploy(
    wanted: Wanted,
    store: Store,
    reporter: Reporter,
    *,
    traced_iterations: Iterations | None = None,
) -> Measurement:
    """Export, push, run and store one measurement; a run that failed is a measurement too.

    With ``traced_iterations`` it holds a trace of so many inferences as well, made in a pass of
    their own. Where the engine could not trace, or its trace cannot be read, the run's samples say
    why. Raises a ``MobilekitError`` for what keeps the run from taking place.
    """
    with made_ready(wanted, store, reporter) as ready:
        if traced_iterations is not None:
            with ready.steps("layers"):
                read_description(ready.artifact.model, cache_directory=places.artifacts_directory())
        plan = None
        on_battery = ready.target.battery is not None and not ready.target.battery.plugged
        refusal = ready.refusal
        if wanted.energy and on_battery and refusal is not None:
            ready = ready._replace(foreseen=(*ready.foreseen, refuse_energy(refusal)))
        elif wanted.energy and on_battery and ready.target.profile is not None:
            preset = PRESETS[wanted.preset]
            planned = plan_energy(
                ready.target.profile,
                blocks=preset.energy_blocks,
                target_error=preset.energy_target_error,
                verdict=ready.gauge,
                gain=ready.gain,
                level_percent=ready.level_percent,
            )
            plan = planned.plan
            reporter.planned_energy(planned, simulated=ready.target.info.virtual)
        request = replace(
            make_request(wanted, ready, PRESETS[wanted.preset], plan),
            profile_iterations=None
            if traced_iterations is None
            else iterations_of(traced_iterations, ready.artifact),
        )
        purpose: Purpose = "measure" if traced_iterations is None else "profile"
        return run_and_store(
            ready, request, store, reporter, purpose=purpose, energy_wanted=wanted.energy
        )
