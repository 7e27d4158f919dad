"""Everything before a run: find the network and the device, export, install, deliver."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from mobilekit import places
from mobilekit.analysis.energy.doubts import doubt_battery
from mobilekit.analysis.findings import (
    REPLAYED,
    find_uncounted,
    foresee_doubts,
    not_on_phones,
)
from mobilekit.analysis.memory import least_need
from mobilekit.analysis.predict.memory import predict_memory
from mobilekit.contract.protocol import (
    PACKAGE,
    PROTOCOL_VERSION,
    EnergyPlan,
    File,
    Format,
    MethodChoice,
    RunRequest,
)
from mobilekit.errors import InUseError, UsageError
from mobilekit.executor.base import Executor, Opened
from mobilekit.executor.open import open_device
from mobilekit.flow.ids import make_id
from mobilekit.flow.reporter import Reporter, Steps
from mobilekit.flow.shipped import load_memory_models
from mobilekit.formats import FormatOrAuto
from mobilekit.model.describe import find_description
from mobilekit.model.examples import prepare_examples
from mobilekit.model.export import check_request, export_artifact
from mobilekit.model.given import Given
from mobilekit.model.packed import find_lacking
from mobilekit.model.zoo import find_model, with_variant
from mobilekit.phone.formats import FormatChoice, choose_format
from mobilekit.phone.gpu import vulkan_obstacle
from mobilekit.presets import PRESETS, WARMUP
from mobilekit.records.artifact import Artifact
from mobilekit.records.device import DeviceState
from mobilekit.records.energy import GaugeGain, GaugeOutcome, GaugeRefusal, GaugeVerdict
from mobilekit.records.finding import Finding
from mobilekit.records.measurement import Examples
from mobilekit.records.network import ModelSpec, Variant, with_level
from mobilekit.results.store import Store
from mobilekit.results.text.measurement import render_findings


class DeployOptions(NamedTuple):
    """What a person asks ``deploy`` for."""

    model: str
    given: Given
    """What is said of the model in place of its file."""
    device: str
    preset: str
    threads: int | None
    energy: bool
    require_phone: bool
    format: FormatOrAuto
    variant: Variant
    seek_backend: bool
    """Whether both backends are to be measured, and ``variant`` is to have the faster one."""
    calibration: Path | None
    """Examples for int8, else generated ones, and those that ``variant`` is whitened by."""
    apk: Path | None
    """The companion app to install where it is missing; ``None``: whichever is at hand."""
    install: bool
    """Whether the companion app may be installed."""
    budget_ns: int | None = None
    """What an inference may take: the device chooses the largest level of ``variant``'s ladder that
    keeps to it, and ``variant`` is the level that is run where none does."""
    exported: Artifact | None = None
    """What another computer has exported, its files in the cache; ``None``: it is exported here."""


Check = Callable[[DeviceState], None]
"""Asked whether a device will do, before anything is exported for it; raises where not."""


def accept(_: DeviceState) -> None:
    """Any device will do."""


class Prepared(NamedTuple):
    """An artifact that is where it is to run, and what is known of the gauge there."""

    state: DeviceState
    executor: Executor
    artifact: Artifact
    foreseen: tuple[Finding, ...]
    """Doubts that did not wait for the run."""
    found_gauge: GaugeOutcome | None
    gain: GaugeGain | None
    steps: Steps

    @property
    def gauge(self) -> GaugeVerdict | None:
        return self.found_gauge if isinstance(self.found_gauge, GaugeVerdict) else None

    @property
    def refusal(self) -> GaugeRefusal | None:
        """Why no energy may be told from this gauge."""
        return refusal_of(self.found_gauge)

    @property
    def is_on_battery(self) -> bool:
        """As far as it can be told: what somebody has set on the phone tells nothing."""
        battery = self.state.battery
        return battery is not None and not battery.plugged and not battery.updates_stopped

    @property
    def level_percent(self) -> int | None:
        """How full the battery is."""
        return self.state.battery.level_percent if self.state.battery else None

    def deliver(self, files: Sequence[File], reporter: Reporter) -> None:
        with self.steps("push"):
            self.executor.deliver(files, places.artifacts_directory(), on_bytes=reporter.pushed)


def refusal_of(found: GaugeOutcome | None) -> GaugeRefusal | None:
    """What was found of a gauge, if it is that the gauge contradicts itself."""
    return found if isinstance(found, GaugeRefusal) and found.contradictory else None


@contextmanager
def prepare(
    options: DeployOptions, store: Store, reporter: Reporter, *, check: Check = accept
) -> Iterator[Prepared]:
    """Find the model and the device, export, install the app and push."""
    with prepare_all((options,), store, reporter, check=check) as (prepared,):
        yield prepared


@contextmanager
def prepare_all(
    options: Sequence[DeployOptions],
    store: Store,
    reporter: Reporter,
    *,
    check: Check = accept,
) -> Iterator[tuple[Prepared, ...]]:
    """As ``prepare``, for several models on the device of the first."""
    store.check_writable()
    all_steps = tuple(Steps(reporter) for _ in options)
    specs = []
    for each, steps in zip(options, all_steps, strict=True):
        with steps("model"):
            specs.append(find_network(each))
    with ExitStack() as stack:
        with all_steps[0]("device"):
            opened = stack.enter_context(open_device_of(options[0], reporter))
            check(opened.state)
            _refuse_occupied(opened, store)
            choices = [_choose_format(each, opened) for each in options]
            for reason in dict.fromkeys(choice.reason for choice in choices):
                if reason is not None:
                    reporter.note(reason)
            opened.executor.install(
                options[0].apk,
                may_install=options[0].install,
                on_note=reporter.note,
                on_bytes=reporter.pushed,
            )
        every = []
        for each, steps, spec, choice in zip(options, all_steps, specs, choices, strict=True):
            with steps("export"):
                artifact = each.exported or export_network(each, spec, choice.format, reporter)
                first = artifact
                if each.budget_ns is not None:
                    first = export_network(each, _largest_level(spec), choice.format, reporter)
            every.append(
                _prepared(opened, artifact, store, reporter, steps, first=first, energy=each.energy)
            )
        for each, prepared in zip(options, every, strict=True):
            if each.budget_ns is None:  # else with all levels that there are to choose from
                prepared.deliver(prepared.artifact.files, reporter)
        yield tuple(every)


def export_network(
    options: DeployOptions, spec: ModelSpec, format: Format, reporter: Reporter
) -> Artifact:
    """As ``export_artifact``, with the options' calibration and this computer's cache."""
    return export_artifact(
        spec,
        format,
        calibration=options.calibration,
        cache_directory=places.artifacts_directory(),
        on_progress=reporter.note,
    )


def _largest_level(spec: ModelSpec) -> ModelSpec:
    level = spec.variant.level
    assert level is not None
    return replace(spec, variant=with_level(spec.variant, level.of))


def find_network(options: DeployOptions) -> ModelSpec:
    """The network, once all that can be known of its export beforehand has been looked at."""
    if options.exported is not None:
        return options.exported.model
    network = find_model(options.model, options.given)
    spec = with_variant(network, options.variant, options.calibration)
    check_request(spec, options.format, options.calibration)
    return spec


def check_device(options: DeployOptions, reporter: Reporter) -> None:
    """Raises, as ``prepare`` does, where there is no such device or it runs no such format."""
    with open_device_of(options, reporter) as opened:
        _choose_format(options, opened)


def find_vulkan_obstacle(options: DeployOptions, reporter: Reporter) -> str | None:
    """Why the device runs no program for Vulkan of that precision; raises where there is none."""
    with open_device_of(options, reporter) as opened:
        return _vulkan_obstacle(options, opened)


def _choose_format(options: DeployOptions, opened: Opened) -> FormatChoice:
    """Raises ``UsageError`` for a format or a backend that was asked for and cannot run there,
    ``DeviceError`` where no format can."""
    info = opened.state.info
    if not options.variant.needs_vulkan:
        return choose_format(options.format, info, opened.state.companion_formats)
    obstacle = _vulkan_obstacle(options, opened)
    if obstacle is not None:
        raise UsageError(
            f"{info.name} cannot run --backend vulkan: {obstacle}",
            serial=info.serial,
            fix="Use --backend xnnpack, or auto, which leaves Vulkan out where it cannot run.",
        )
    return FormatChoice("pte", None)


def _vulkan_obstacle(options: DeployOptions, opened: Opened) -> str | None:
    state, precision = opened.state, options.variant.precision
    if opened.executor.replays:
        return None
    return vulkan_obstacle(state.info, state.info.gpu, state.companion_vulkan, precision)


def _prepared(
    opened: Opened,
    artifact: Artifact,
    store: Store,
    reporter: Reporter,
    steps: Steps,
    *,
    first: Artifact,
    energy: bool,
) -> Prepared:
    """``first`` is what is loaded first, and needs the most: where the device chooses a level, the
    largest; else the artifact itself."""
    state, executor = opened
    lacking = find_lacking(
        artifact.program,
        (*artifact.inputs, *artifact.reference_outputs),
        places.artifacts_directory(),
    )
    if lacking is not None and executor.outlives:  # as a run on a phone does, real or virtual
        raise lacking.refusal(artifact.model.name)
    description = find_description(first.model, cache_directory=places.artifacts_directory())
    predicted = (
        None
        # What a graphics processor holds is not among what was measured.
        if description is None or not first.model.variant.has_usual_backend
        else predict_memory(
            description,
            first.file.format,
            first.precision,
            load_memory_models(),
            abi=state.info.abi,
        )
    )
    foreseen = foresee_doubts(least_need(first, description), predicted, state.info)
    if energy:
        foreseen += doubt_battery(state)
    if description is not None:
        foreseen += find_uncounted(description)
    if executor.replays:
        foreseen += (REPLAYED,)
    elif lacking is not None:
        foreseen += (not_on_phones(lacking.text, lacking.advice),)
    for line in render_findings(foreseen):
        reporter.note(line)
    return Prepared(
        state,
        executor,
        artifact,
        foreseen,
        found_gauge=store.read_gauge(state.info.gauge_key),
        gain=store.read_gain(state.info.gauge_key),
        steps=steps,
    )


def open_device_of(options: DeployOptions, reporter: Reporter) -> AbstractContextManager[Opened]:
    return open_device(
        options.device,
        require_phone=options.require_phone,
        energy=options.energy,
        gpu=options.variant.needs_vulkan or options.seek_backend,
        on_note=reporter.note,
    )


def deliver_examples(prepared: Prepared, data: Path | None, reporter: Reporter) -> Examples:
    """The labelled examples of ``evaluate``, where the artifact is to run."""
    with prepared.steps("examples"):
        examples = prepare_examples(
            prepared.artifact.model,
            data,
            cache_directory=places.artifacts_directory(),
            on_progress=reporter.note,
        )
    prepared.deliver((examples.inputs,), reporter)
    return examples


def _refuse_occupied(opened: Opened, store: Store) -> None:
    """A second run would wait behind the one that was left on the device."""
    pending = {run.measurement.id for run in store.list_pending()}
    for run_id in sorted(opened.executor.held_runs() & pending) if pending else ():
        if opened.executor.is_going_on(run_id):
            serial = opened.state.info.serial
            raise InUseError(
                "An earlier run is still under way on this phone",
                serial=serial,
                run_id=run_id,
                fix="`mobilekit collect --wait` follows it to its end; "
                f"`adb -s {serial} shell am force-stop {PACKAGE}` ends it, and `mobilekit "
                "collect` fetches what it has measured.",
            )


def make_request(
    options: DeployOptions,
    prepared: Prepared,
    *,
    preset: str | None = None,
    energy: EnergyPlan | None = None,
    choice: MethodChoice | None = None,
    candidates: tuple[Artifact, ...] = (),
    name: str = "",
) -> RunRequest:
    """The run that a preset asks for, the person's unless it is given; ``name`` tells its id from
    others', and ``candidates`` are what a ``choice`` is made from."""
    artifact = prepared.artifact
    settings = PRESETS[preset or options.preset]
    # Which level it will be of is not known yet.
    label = artifact.model.label if choice is None else f"{artifact.model.name}-auto"
    prefix = f"{label}-{prepared.state.info.name}{name and '-'}{name}"
    return RunRequest(
        protocol_version=PROTOCOL_VERSION,
        run_id=make_id(prefix),
        artifact=artifact.file,
        inputs=artifact.inputs,
        reference_outputs=artifact.reference_outputs,
        # Which one's own will hold is not known yet (``analysis.methods.outputs_match``).
        relative_tolerance=max(each.relative_tolerance for each in (artifact, *candidates)),
        choice=choice,
        threads=options.threads,
        cold_loads=settings.cold_loads,
        warmup=WARMUP,
        min_iterations=settings.min_iterations,
        min_duration_ns=settings.min_duration_ns,
        max_duration_ns=settings.max_duration_ns,
        profile_iterations=None,
        segments=(),
        evaluation=None,
        energy=energy,
        # The first candidate's are enough for every other.
        weights=(candidates[0] if candidates else artifact).weights,
    )
