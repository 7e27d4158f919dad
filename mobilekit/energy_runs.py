"""Runs that tell energy: planned by a pilot, or to find out what a gauge tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from mobilekit.analysis.gauge import (
    Overrides,
    override_verdict,
)
from mobilekit.analysis.planning import pilot_of, plan_calibration, plan_energy, plan_pilot
from mobilekit.errors import (
    DeviceError,
    UnreliableError,
    UsageError,
)
from mobilekit.flow import (
    Ready,
    Reporter,
    Wanted,
    learn_gauge,
    made_ready,
    make_request,
    open_target_of,
    run_and_store,
)
from mobilekit.presets import (
    PRESETS,
    REST_NS,
    TEMPERATURE_GATE,
    UNPLUG_TIMEOUT_NS,
)
from mobilekit.protocol import (
    EnergyPlan,
    RunFailure,
)
from mobilekit.records import (
    DeviceProfile,
    GaugeFound,
    GaugeRefusal,
    GaugeVerdict,
    Measurement,
)
from mobilekit.results.store import Store
from mobilekit.runner.host import COMPUTER


def measure_energy(
    wanted: Wanted,
    store: Store,
    reporter: Reporter,
    *,
    target_error: float | None,
    sync_pattern: bool,
    confirm: Callable[[], None],
) -> Measurement:
    """Measure the energy of a network on a phone whose cable may be pulled meanwhile.

    A short pilot run comes first and is stored too; what it shows plans the run. ``confirm`` is
    called once the plan is told, where it takes real time. Raises ``UsageError`` for this computer,
    ``DeviceError`` for a phone of which nothing is known, and what ``confirm`` raises.
    """
    _refuse_computer(wanted)
    with made_ready(wanted, store, reporter) as ready:
        profile = _profile_with_battery(ready)
        _refuse_contradictory_gauge(ready.found_gauge)
        preset = PRESETS[wanted.preset]
        pilot = None
        if ready.target.battery is not None and not ready.target.battery.plugged:
            request = make_request(wanted, ready, PRESETS["fast"], plan_pilot(), name="pilot")
            reporter.note("A pilot run, to plan by.")
            measured = run_and_store(ready, request, store, reporter, energy_wanted=False)
            if isinstance(measured.result, RunFailure):
                return measured
            pilot = pilot_of(measured)
        planned = plan_energy(
            profile,
            blocks=preset.energy_blocks,
            target_error=target_error or preset.energy_target_error,
            verdict=ready.gauge,
            pilot=pilot,
            gain=ready.gain,
            level_percent=ready.level_percent,
        )
        plan = replace(_waiting_plan(planned.plan), sync_pattern=sync_pattern)
        simulated = ready.target.info.virtual
        reporter.planned_energy(replace(planned, plan=plan), simulated=simulated)
        if not simulated:
            confirm()
        request = make_request(wanted, ready, preset, plan)
        return run_and_store(ready, request, store, reporter, energy_wanted=True)


class Calibration(NamedTuple):
    """A calibration run and what it found out; ``None`` when it gave no windows."""

    measurement: Measurement
    found: GaugeFound | None


def calibrate_gauge(
    wanted: Wanted,
    store: Store,
    reporter: Reporter,
    overrides: Overrides,
    *,
    confirm: Callable[[], None],
) -> Calibration:
    """Find out what a phone's gauge tells, and remember it for the device's later runs.

    ``wanted.model`` is the load. Raises as ``measure_energy``.
    """
    _refuse_computer(wanted)
    with made_ready(wanted, store, reporter) as ready:
        _profile_with_battery(ready)
        plan = _waiting_plan(plan_calibration())
        simulated = ready.target.info.virtual
        reporter.planned_calibration(plan, simulated=simulated)
        if not simulated:
            confirm()
        request = make_request(wanted, ready, PRESETS["fast"], plan, name="calibrate")
        measured = run_and_store(
            ready,
            request,
            store,
            reporter,
            energy_wanted=False,
            purpose="calibrate",
            overrides=overrides,
        )
    return Calibration(measured, learn_gauge(measured, store, overrides))


def override_gauge(
    wanted: Wanted, store: Store, reporter: Reporter, overrides: Overrides
) -> GaugeVerdict:
    """Put a person's own word into what is known of a phone's gauge, without a run.

    Raises ``UsageError`` where nothing is known yet.
    """
    _refuse_computer(wanted)
    with open_target_of(wanted, reporter) as target:
        found = store.read_gauge(target.info.key)
    if not isinstance(found, GaugeVerdict):
        raise UsageError(
            "This phone's gauge has not been calibrated",
            device=target.info.key,
            fix="Run `mobilekit energy calibrate` first; it takes the same options.",
        )
    verdict = override_verdict(found, overrides)
    store.save_gauge(verdict)
    return verdict


def _waiting_plan(plan: EnergyPlan) -> EnergyPlan:
    """For a phone whose cable has to be pulled, and that should be at rest and cool."""
    return replace(
        plan,
        unplug_timeout_ns=UNPLUG_TIMEOUT_NS,
        rest_ns=REST_NS,
        temperature_gate=TEMPERATURE_GATE,
    )


def _refuse_computer(wanted: Wanted) -> None:
    if wanted.device == COMPUTER:
        raise UsageError(
            "This computer has no battery to measure with",
            fix="Name a phone, or a virtual one: --device nexus7.",
        )


def _refuse_contradictory_gauge(found: GaugeFound | None) -> None:
    if isinstance(found, GaugeRefusal) and found.contradictory:
        raise UnreliableError(
            f"This phone's gauge cannot be trusted: {found.reason}",
            device=found.device,
            calibration=found.run_id,
            fix="Calibrate it anew, with --source if you know better, or use an external meter "
            "(docs/meter.md).",
        )


def _profile_with_battery(ready: Ready) -> DeviceProfile:
    if ready.target.profile is None:
        raise DeviceError(
            "Nothing is known of this phone's battery",
            serial=ready.target.info.serial,
            fix="Write a device profile for it (docs/devices.md).",
        )
    return ready.target.profile
