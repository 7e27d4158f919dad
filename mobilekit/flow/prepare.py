"""Everything before a run: find the network and the device, export, install, deliver."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from mobilekit import places
from mobilekit.analysis.findings import foresee_doubts
from mobilekit.analysis.memory import least_need
from mobilekit.contract.protocol import (
    PACKAGE,
    PROTOCOL_VERSION,
    ArtifactFile,
    EnergyPlan,
    RunRequest,
    TensorFile,
)
from mobilekit.errors import (
    InUseError,
)
from mobilekit.executor.targets import Target, open_target
from mobilekit.flow.reporter import Reporter, Steps
from mobilekit.model.describe import find_description
from mobilekit.model.export import (
    export_artifact,
)
from mobilekit.model.zoo import find_model, with_activation
from mobilekit.phone import runs as phone_runs
from mobilekit.phone.adb import Phone
from mobilekit.phone.app import ensure_app
from mobilekit.phone.formats import WantedFormat, choose_format
from mobilekit.presets import (
    WARMUP,
    Preset,
)
from mobilekit.records.artifact import Artifact, Precision
from mobilekit.records.energy import (
    GaugeFound,
    GaugeGain,
    GaugeRefusal,
    GaugeVerdict,
)
from mobilekit.records.finding import Finding
from mobilekit.records.network import Activation
from mobilekit.results.render import render_findings
from mobilekit.results.store import Store


class Wanted(NamedTuple):
    """What a person asks ``deploy`` for."""

    model: str
    device: str
    weights: Path | None
    preset: str
    threads: int | None
    energy: bool
    require_phone: bool
    format: WantedFormat
    precision: Precision
    calibration: Path | None
    """Examples for int8; ``None``: generated ones."""
    apk: Path | None
    """The companion app to install where it is missing; ``None``: whichever is at hand."""
    install: bool
    """Whether the companion app may be installed."""
    activation: Activation | None
    """As in ``ModelSpec``."""


class Ready(NamedTuple):
    """An artifact that is where it is to run, and what is known of the gauge there."""

    target: Target
    artifact: Artifact
    foreseen: tuple[Finding, ...]
    """Doubts that did not wait for the run."""
    found_gauge: GaugeFound | None
    gain: GaugeGain | None
    steps: Steps

    @property
    def gauge(self) -> GaugeVerdict | None:
        return self.found_gauge if isinstance(self.found_gauge, GaugeVerdict) else None

    @property
    def refusal(self) -> GaugeRefusal | None:
        """Why no energy may be told from this gauge."""
        found = self.found_gauge
        return found if isinstance(found, GaugeRefusal) and found.contradictory else None

    @property
    def level_percent(self) -> int | None:
        """How full the battery is."""
        return self.target.battery.level_percent if self.target.battery else None


@contextmanager
def made_ready(wanted: Wanted, store: Store, reporter: Reporter) -> Iterator[Ready]:
    """Find the model and the device, export, install the app and push."""
    with all_made_ready((wanted,), store, reporter) as (ready,):
        yield ready


@contextmanager
def all_made_ready(
    wanted: Sequence[Wanted], store: Store, reporter: Reporter
) -> Iterator[tuple[Ready, ...]]:
    """As ``made_ready``, for several models on the device of the first."""
    steps = tuple(Steps(reporter) for _ in wanted)
    specs = []
    for each, its_steps in zip(wanted, steps, strict=True):
        with its_steps("model"):
            spec = find_model(each.model, weights=each.weights)
            if each.activation is not None:
                spec = with_activation(spec, each.activation)
            specs.append(spec)
    with ExitStack() as opened:
        with steps[0]("device"):
            target = opened.enter_context(open_target_of(wanted[0], reporter))
            if target.phone is not None:
                _refuse_occupied(target.phone, store)
            choices = [
                choose_format(each.format, target.info, target.told_formats) for each in wanted
            ]
            for reason in dict.fromkeys(choice.reason for choice in choices):
                if reason is not None:
                    reporter.note(reason)
            if target.phone is not None:
                ensure_app(
                    target.phone,
                    wanted[0].apk,
                    may_install=wanted[0].install,
                    on_note=reporter.note,
                    on_bytes=reporter.pushed,
                )
        artifacts, foreseen = [], []
        for each, its_steps, spec, choice in zip(wanted, steps, specs, choices, strict=True):
            with its_steps("export"):
                artifact = export_artifact(
                    spec,
                    choice.format,
                    precision=each.precision,
                    calibration=each.calibration,
                    cache_directory=places.artifacts_directory(),
                    on_progress=reporter.note,
                )
            description = find_description(spec, cache_directory=places.artifacts_directory())
            doubts = foresee_doubts(least_need(artifact, description), target.info)
            for line in render_findings(doubts):
                reporter.note(line)
            artifacts.append(artifact)
            foreseen.append(doubts)
        for artifact, its_steps in zip(artifacts, steps, strict=True):
            push(target, artifact.files, its_steps, reporter)
        yield tuple(
            Ready(
                target,
                artifact,
                doubts,
                found_gauge=store.read_gauge(target.info.gauge_key),
                gain=store.read_gain(target.info.gauge_key),
                steps=its_steps,
            )
            for artifact, doubts, its_steps in zip(artifacts, foreseen, steps, strict=True)
        )


def open_target_of(wanted: Wanted, reporter: Reporter) -> AbstractContextManager[Target]:
    return open_target(
        wanted.device,
        require_phone=wanted.require_phone,
        energy=wanted.energy,
        on_note=reporter.note,
    )


def _refuse_occupied(phone: Phone, store: Store) -> None:
    """A second run would wait behind the one that was left on the phone."""
    pending = {run.measurement.id for run in store.list_pending()}
    for run_id in sorted(phone_runs.list_runs(phone) & pending) if pending else ():
        if phone_runs.is_going_on(phone, run_id):
            raise InUseError(
                "A run that was started before goes on on this phone",
                serial=phone.serial,
                run_id=run_id,
                fix="`mobilekit collect --wait` follows it to its end; "
                f"`adb -s {phone.serial} shell am force-stop {PACKAGE}` ends it, and `mobilekit "
                "collect` fetches what it has measured.",
            )


def push(
    target: Target,
    files: Sequence[ArtifactFile | TensorFile],
    steps: Steps,
    reporter: Reporter,
) -> None:
    with steps("push"):
        if target.phone is not None:
            phone_runs.deliver(
                target.phone, files, places.artifacts_directory(), on_bytes=reporter.pushed
            )


def make_request(
    wanted: Wanted, ready: Ready, preset: Preset, energy: EnergyPlan | None, *, name: str = ""
) -> RunRequest:
    """The run that a preset asks for; ``name`` tells its id from others'."""
    artifact, target = ready.artifact, ready.target
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    prefix = "".join(
        char if char.isascii() and char.isalnum() else "-"
        for char in f"{artifact.model.name}-{target.info.name}{name and '-'}{name}".lower()
    )
    return RunRequest(
        protocol_version=PROTOCOL_VERSION,
        run_id=f"{prefix[:40]}-{stamp}-{secrets.token_hex(2)}",
        artifact=artifact.file,
        inputs=artifact.inputs,
        reference_outputs=artifact.reference_outputs,
        relative_tolerance=artifact.relative_tolerance,
        threads=wanted.threads,
        cold_loads=preset.cold_loads,
        warmup=WARMUP,
        min_iterations=preset.min_iterations,
        min_duration_ns=preset.min_duration_ns,
        max_duration_ns=preset.max_duration_ns,
        profile_iterations=None,
        segments=(),
        evaluation=None,
        energy=energy,
    )
