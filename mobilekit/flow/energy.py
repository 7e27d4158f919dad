"""Runs that tell energy: planned by a pilot, or to find out what a gauge tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from mobilekit.analysis.energy.doubts import refuse_set_battery
from mobilekit.analysis.energy.gauge import Overrides, characterize_gauge, overrides_of
from mobilekit.analysis.energy.planning import (
    pilot_of,
    plan_calibration,
    plan_energy,
    plan_pilot,
    planned_duration_ns,
)
from mobilekit.contract.protocol import EnergyPlan, RunFailure, RunRequest
from mobilekit.contract.samples import was_lost
from mobilekit.errors import (
    DeviceError,
    StoppedError,
    UnreliableError,
    UsageError,
)
from mobilekit.flow.deploy import with_found_backend
from mobilekit.flow.gauge import learn_gauge
from mobilekit.flow.prepare import (
    Check,
    DeployOptions,
    Prepared,
    accept,
    make_request,
    open_device_of,
    prepare_all,
    refusal_of,
)
from mobilekit.flow.reporter import Reporter
from mobilekit.flow.run import Queued, begin, run, run_queue
from mobilekit.presets import (
    PRESETS,
    REST_NS,
    TEMPERATURE_GATE,
    UNPLUG_TIMEOUT_NS,
)
from mobilekit.records.device import DeviceProfile, DeviceState
from mobilekit.records.energy import EnergyPilot, GaugeOutcome, GaugeRefusal, GaugeVerdict
from mobilekit.records.measurement import Measurement
from mobilekit.results.store import Store
from mobilekit.runner.host import COMPUTER
from mobilekit.units import NS_PER_S


class Confirmation(NamedTuple):
    """Whether a person wants a run that takes real time; both raise where it may not start."""

    check: Callable[[], None]
    """Called long before ``ask``, which could not ask at all where this raises."""
    ask: Callable[[], None]


def measure_energy(
    options: Sequence[DeployOptions],
    store: Store,
    reporter: Reporter,
    *,
    target_error: float | None,
    sync_pattern: bool,
    confirm: Confirmation,
    on_measured: Callable[[Measurement], None],
    check: Check = accept,
) -> StoppedError | None:
    """Measure the energy of networks on a phone whose cable may be pulled meanwhile: once, however
    many they are. They are alike but for the model.

    A short pilot run of each comes first and is stored too; what it shows plans the run.
    ``confirm`` asks once all plans are told, where they take real time; then all runs are
    started. ``on_measured`` gets each as soon as it is stored, and a pilot that failed in its
    place. Returned is what became of the runs where a person ended them; a person who ends a pilot
    is raised. Raises ``UsageError`` for this computer, ``DeviceError`` for a phone of which nothing
    is known or whose battery somebody has set, and what ``confirm`` raises, all of it before
    anything is exported.
    """
    _refuse_computer(options[0])

    def check_all(state: DeviceState) -> None:
        check(state)
        _profile_of(state)
        found = store.read_gauge(state.info.gauge_key)
        _refuse_contradictory_gauge(refusal_of(found))
        if not state.info.virtual:
            confirm.check()

    if any(each.seek_backend for each in options):
        with open_device_of(options[0], reporter) as opened:
            check_all(opened.state)
        options = [with_found_backend(each, store, reporter) for each in options]
    with prepare_all(options, store, reporter, check=check_all) as every:
        virtual = every[0].state.info.virtual
        profile = _profile_of(every[0].state)
        preset = PRESETS[options[0].preset]
        several = len(every) > 1
        piloted: list[tuple[DeployOptions, Prepared, EnergyPilot | None]] = []
        for each, prepared in zip(options, every, strict=True):
            pilot = None
            if prepared.is_on_battery:
                request = make_request(
                    each, prepared, preset="fast", energy=plan_pilot(), name="pilot"
                )
                of_which = f" of {prepared.artifact.model.label}" if several else ""
                reporter.note(f"A pilot run{of_which}, to plan the energy run by.")
                measured = run(prepared, begin(prepared, request, "pilot"), store, reporter)
                if isinstance(measured.result, RunFailure):
                    on_measured(measured)
                    if was_lost(measured.result):
                        return None
                    continue
                pilot = pilot_of(measured)
            piloted.append((each, prepared, pilot))
        planned_runs: list[tuple[Prepared, RunRequest]] = []
        drawn_share, duration_ns = 0.0, 0
        for each, prepared, pilot in piloted:
            level_percent = prepared.level_percent
            planned = plan_energy(
                profile,
                blocks=preset.energy_blocks,
                target_error=target_error or preset.energy_target_error,
                verdict=prepared.gauge,
                pilot=pilot,
                gain=prepared.gain,
                level_percent=None
                if level_percent is None
                else max(0, level_percent - math.ceil(100 * drawn_share)),
            )
            plan = replace(_waiting_plan(planned.plan), sync_pattern=sync_pattern)
            if several:
                reporter.note(f"{prepared.artifact.model.label}:")
            reporter.planned_energy(replace(planned, plan=plan), simulated=virtual)
            drawn_share += planned.expected_charge_fraction
            duration_ns += planned_duration_ns(plan)
            planned_runs.append((prepared, make_request(each, prepared, energy=plan)))
        if not planned_runs:
            return None
        if several:
            reporter.note(
                f"{len(planned_runs)} runs, in this order: "
                f"{', '.join(prepared.artifact.model.label for prepared, _ in planned_runs)}. "
                f"{duration_ns / NS_PER_S / 60:.1f} min"
                f"{' of simulated time' if virtual else ''} without the cable, and "
                f"{drawn_share:.1%} of the battery."
            )
        if not virtual:
            confirm.ask()
        queue = [
            Queued(prepared, begin(prepared, request, "measure", energy_wanted=True))
            for prepared, request in planned_runs
        ]
        return run_queue(queue, store, reporter, on_measured)


class Calibration(NamedTuple):
    """A calibration run and what it found out; ``None`` when it gave no windows."""

    measurement: Measurement
    found: GaugeOutcome | None


def calibrate_gauge(
    options: DeployOptions,
    store: Store,
    reporter: Reporter,
    overrides: Overrides,
    *,
    confirm: Confirmation,
) -> Calibration:
    """Find out what a phone's gauge tells, and remember it for the device's later runs.

    ``options.model`` is the load. Raises as ``measure_energy``.
    """
    _refuse_computer(options)

    def check(state: DeviceState) -> None:
        _profile_of(state)
        if not state.info.virtual:
            confirm.check()

    with prepare_all((options,), store, reporter, check=check) as (prepared,):
        plan = _waiting_plan(plan_calibration())
        simulated = prepared.state.info.virtual
        reporter.planned_calibration(plan, simulated=simulated)
        if not simulated:
            confirm.ask()
        request = make_request(options, prepared, preset="fast", energy=plan, name="calibrate")
        begun = begin(prepared, request, "calibrate")
        measured = run(prepared, begun, store, reporter, overrides=overrides)
    return Calibration(measured, learn_gauge(measured, store, overrides))


def override_gauge(
    options: DeployOptions, store: Store, reporter: Reporter, overrides: Overrides
) -> GaugeVerdict:
    """Put a person's own word into what is known of a phone's gauge, without a run.

    It is held against the readings of the calibration. Raises ``UsageError`` where there are none,
    ``UnreliableError`` where they contradict it: then nothing is changed.
    """
    _refuse_computer(options)
    with open_device_of(options, reporter) as opened:
        gauge_key = opened.state.info.gauge_key
    found = store.read_gauge(gauge_key)
    measured = None if found is None else store.find(found.run_id)
    if found is None or measured is None or measured.profile is None:
        raise UsageError(
            "This phone's gauge has not been calibrated",
            device=gauge_key,
            fix="Run `mobilekit energy calibrate` first; it takes the same options.",
        )
    again = characterize_gauge(
        measured.result.samples.windows,
        measured.profile,
        device=found.device,
        run_id=found.run_id,
        measured_at=found.measured_at,
        overrides=overrides_of(found).updated(overrides),
    )
    if isinstance(again, GaugeRefusal):
        raise UnreliableError(
            f"The calibration's readings contradict this: {again.reason}",
            device=found.device,
            calibration=found.run_id,
            fix="What was known stays as it was. Set something else, or calibrate anew.",
        )
    store.save_gauge(again)
    return again


def _waiting_plan(plan: EnergyPlan) -> EnergyPlan:
    """For a phone whose cable has to be pulled, and that should be at rest and cool."""
    return replace(
        plan,
        unplug_timeout_ns=UNPLUG_TIMEOUT_NS,
        rest_ns=REST_NS,
        temperature_gate=TEMPERATURE_GATE,
    )


def _refuse_computer(options: DeployOptions) -> None:
    if options.device == COMPUTER:
        raise UsageError(
            "This computer has no battery to measure with",
            fix="Name a phone, or a virtual one: --device nexus7.",
        )


def _refuse_contradictory_gauge(found: GaugeRefusal | None) -> None:
    if found is not None:
        raise UnreliableError(
            f"This phone's gauge cannot be trusted: {found.reason}",
            device=found.device,
            calibration=found.run_id,
            fix="Calibrate it anew, with --source if you know better, or use an external meter "
            "(`mobilekit docs meter`).",
        )


def _profile_of(state: DeviceState) -> DeviceProfile:
    """Raises ``DeviceError`` for a phone whose battery cannot be watched."""
    if state.battery is not None and state.battery.updates_stopped:
        raise DeviceError(
            "Somebody has set what this phone says of its battery: energy cannot be measured",
            serial=state.info.serial,
            dumpsys_battery="UPDATES STOPPED",
            fix=refuse_set_battery(state.info.serial).advice,
        )
    if state.profile is None:
        raise DeviceError(
            "Nothing is known of this phone",
            serial=state.info.serial,
            fix="Write a device profile for it (`mobilekit docs devices`).",
        )
    return state.profile
