"""The whole way on one page: from a model's name to a stored measurement. Read this first."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.energy.doubts import refuse_energy
from mobilekit.analysis.energy.planning import plan_energy
from mobilekit.contract.protocol import MethodChoice
from mobilekit.flow.backends import measure_both
from mobilekit.flow.foretell import foretell
from mobilekit.flow.levels import plan_choice
from mobilekit.flow.prepare import (
    Check,
    DeployOptions,
    Prepared,
    accept,
    make_request,
    prepare,
)
from mobilekit.flow.reporter import Reporter
from mobilekit.flow.run import begin, run
from mobilekit.model.describe import read_description
from mobilekit.presets import PRESETS, profiled_iterations
from mobilekit.records.artifact import Artifact
from mobilekit.records.energy import PlannedEnergy
from mobilekit.records.measurement import Measurement, Purpose
from mobilekit.results.store import Store

Iterations = int | Literal["auto"]
"""Inferences whose layers are timed; ``auto`` for as many as the network's size asks for."""


def deploy(
    options: DeployOptions,
    store: Store,
    reporter: Reporter,
    *,
    traced_iterations: Iterations | None = None,
    purpose: Purpose = "measure",
    check: Check = accept,
) -> Measurement:
    """Export, push, run and store one measurement; a run that failed is a measurement too.

    With ``traced_iterations`` it holds a trace of so many inferences as well, made in a pass of
    their own. Where the engine could not trace, or its trace cannot be read, the run's samples say
    why. What earlier runs tell of this one is predicted before it, and stored with it.

    Raises a ``MobilekitError`` for what keeps the run from taking place.
    """
    if options.seek_backend:
        return measure_both(
            options,
            reporter,
            lambda each: deploy(
                each,
                store,
                reporter,
                traced_iterations=traced_iterations,
                purpose=purpose,
                check=check,
            ),
        ).measurement
    with prepare(options, store, reporter, check=check) as prepared:
        planned = plan_deployed_energy(options, prepared)
        if planned is not None:
            reporter.planned_energy(planned, simulated=prepared.state.info.virtual)
        plan = None if planned is None else planned.plan
        choice: MethodChoice | None = None
        candidates: tuple[Artifact, ...] = ()
        if options.budget_ns is not None:
            choice, candidates = plan_choice(options, prepared, options.budget_ns, reporter)
        request = make_request(options, prepared, energy=plan, choice=choice, candidates=candidates)
        if traced_iterations is not None:
            with prepared.steps("layers"):
                read_description(
                    prepared.artifact.model, cache_directory=places.artifacts_directory()
                )
            iterations = iterations_of(traced_iterations, prepared.artifact)
            request = replace(request, profile_iterations=iterations)
        predicted = None
        if choice is None:  # else nobody knows which method it will be of
            predicted = foretell(
                prepared.state.info, prepared.artifact, options.threads, store.list_latencies()
            )
        begun = begin(
            prepared,
            request,
            purpose,
            energy_wanted=options.energy,
            candidates=candidates,
            predicted=predicted,
        )
        if options.energy and prepared.is_on_battery and prepared.refusal is not None:
            begun = replace(begun, findings=(*begun.findings, refuse_energy(prepared.refusal)))
        return run(prepared, begun, store, reporter)


def with_found_backend(options: DeployOptions, store: Store, reporter: Reporter) -> DeployOptions:
    """The options for the better backend, by a short run on each, where both are to be tried."""
    if not options.seek_backend:
        return options
    short = options._replace(preset="fast", energy=False)
    found = measure_both(
        short, reporter, lambda each: deploy(each, store, reporter, purpose="pilot")
    )
    return options._replace(variant=found.options.variant, seek_backend=False)


def iterations_of(asked: Iterations, artifact: Artifact) -> int:
    return profiled_iterations(artifact.cost.macs) if asked == "auto" else asked


def plan_deployed_energy(options: DeployOptions, prepared: Prepared) -> PlannedEnergy | None:
    """By what is known without a pilot run; ``None`` where energy is not wanted, or cannot be
    measured now."""
    profile, preset = prepared.state.profile, PRESETS[options.preset]
    if not options.energy or not prepared.is_on_battery or profile is None or prepared.refusal:
        return None
    return plan_energy(
        profile,
        blocks=preset.energy_blocks,
        target_error=preset.energy_target_error,
        verdict=prepared.gauge,
        gain=prepared.gain,
        level_percent=prepared.level_percent,
    )
