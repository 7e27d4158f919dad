"""The whole way on one page: from a model's name to a stored measurement. Read this first."""

from __future__ import annotations

import fcntl
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote

from mobilekit import places
from mobilekit.analysis.energy import plan_energy
from mobilekit.analysis.findings import find_doubts
from mobilekit.codec import encode_pretty
from mobilekit.errors import DeviceError, DisconnectedError, StoreError
from mobilekit.model.export import export_artifact
from mobilekit.model.zoo import find_model
from mobilekit.phone import bench
from mobilekit.phone.adb import AdbServer, Phone
from mobilekit.phone.app import ensure_app
from mobilekit.phone.device import (
    VIRTUAL_PREFIX,
    VirtualChoice,
    choose_device,
    find_devices,
    profile_named,
    read_battery,
    read_device_info,
    read_generic_profile,
    read_told_formats,
)
from mobilekit.phone.formats import WantedFormat, choose_format
from mobilekit.phone.profiles import load_profiles
from mobilekit.presets import PRESETS, WARMUP
from mobilekit.protocol import (
    PROTOCOL_VERSION,
    EnergyPlan,
    ProgressEvent,
    RunFailure,
    RunRequest,
    RunResult,
)
from mobilekit.records import (
    Artifact,
    BatteryStatus,
    DeviceInfo,
    DeviceProfile,
    ListedDevice,
    Measurement,
    TimeSpent,
)
from mobilekit.results.store import Store
from mobilekit.runner.host import COMPUTER, FORMATS, read_computer, read_host
from mobilekit.runner.process import run_on_computer
from mobilekit.virtual import service
from mobilekit.virtual.companions import CompanionKind


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
    apk: Path | None
    """The companion app to install where it is missing; ``None``: whichever is at hand."""
    install: bool
    """Whether the companion app may be installed."""


class Reporter(Protocol):
    """Hears what is going on while it goes on."""

    def step(self, name: str) -> None: ...

    def note(self, text: str) -> None: ...

    def pushed(self, done_bytes: int, total_bytes: int) -> None: ...

    def planned_energy(self, plan: EnergyPlan, *, simulated: bool) -> None: ...

    def event(self, event: ProgressEvent) -> None: ...


class Target(NamedTuple):
    """Where a run is to happen; ``phone`` is ``None`` for this computer."""

    info: DeviceInfo
    phone: Phone | None
    profile: DeviceProfile | None
    battery: BatteryStatus | None
    told_formats: tuple[str, ...] | None
    """What the device itself says that it runs; ``None`` for a real phone, which says nothing."""


def deploy(wanted: Wanted, store: Store, reporter: Reporter) -> Measurement:
    """Export, push, run and store one measurement; a run that failed is a measurement too.

    Raises a ``MobilekitError`` for what keeps the run from taking place.
    """
    steps = _Steps(reporter)
    with steps("model"):
        spec = find_model(wanted.model, weights=wanted.weights)
    with steps("device"), _open_target(wanted, reporter) as target:
        choice = choose_format(wanted.format, target.info, target.told_formats)
        if choice.reason is not None:
            reporter.note(choice.reason)
        if target.phone is not None:
            ensure_app(
                target.phone,
                wanted.apk,
                may_install=wanted.install,
                on_note=reporter.note,
                on_bytes=reporter.pushed,
            )
        with steps("export"):
            artifact = export_artifact(
                spec,
                choice.format,
                cache_directory=places.artifacts_directory(),
                on_progress=reporter.note,
            )
        with steps("push"):
            if target.phone is not None:
                bench.deliver(
                    target.phone,
                    artifact.files,
                    places.artifacts_directory(),
                    on_bytes=reporter.pushed,
                )
        request = make_request(wanted, artifact, target)
        if request.energy is not None:
            reporter.planned_energy(request.energy, simulated=target.info.virtual)
        started_at = datetime.now(timezone.utc)
        with steps("run"):
            result = _carry_out(target, request, reporter)
        measurement = Measurement(
            id=request.run_id,
            started_at=started_at.isoformat(timespec="milliseconds"),
            artifact=artifact,
            device=target.info,
            profile=target.profile,
            battery_before=target.battery,
            request=request,
            result=result,
            host=read_host(),
            findings=find_doubts(
                artifact,
                target.info,
                target.profile,
                target.battery,
                request,
                result,
                energy_wanted=wanted.energy,
            ),
            time_spent=steps.spent,
            virtual=target.info.virtual,
        )
        _save(measurement, store)
        _clear_up(target, measurement)
    return measurement


def list_devices() -> list[ListedDevice]:
    """Everything attached to the user's adb server, and every virtual phone that runs."""
    profiles = load_profiles()
    server = AdbServer()
    server.ensure_running()
    found = {device.attached.serial: device for device in find_devices(server, profiles)}
    for phone in service.list_phones():
        # It may be attached to the user's server as well.
        if phone.address not in found:
            for device in find_devices(connect_virtual(phone), profiles):
                found.setdefault(device.attached.serial, device)
    return list(found.values())


def start_virtual(
    name: str, companion: CompanionKind = "python"
) -> tuple[service.RunningPhone, int]:
    """A virtual phone of that profile, and the port of the adb server that it is attached to."""
    phone = service.start_phone(profile_named(name, load_profiles()), companion)
    return phone, connect_virtual(phone).port


def stop_virtual(name: str) -> None:
    """Stop a virtual phone, and with the last one their adb server."""
    service.stop_phone(name)
    _stop_idle_server()


def virtual_server() -> AdbServer:
    """The virtual phones' own adb server; a user's is never touched."""
    return AdbServer(service.server_port(), service.server_environment())


def _stop_idle_server() -> None:
    if not service.list_phones():
        with suppress(DisconnectedError):
            virtual_server().stop()


def connect_virtual(phone: service.RunningPhone) -> AdbServer:
    """The virtual phones' adb server, started if need be, with this phone attached to it."""
    server = virtual_server()
    server.ensure_running()
    server.connect(phone.address)
    return server


def make_request(wanted: Wanted, artifact: Artifact, target: Target) -> RunRequest:
    """The run that a preset asks for; energy only where a battery will pay for it."""
    preset = PRESETS[wanted.preset]
    energy = None
    on_battery = target.battery is not None and not target.battery.plugged
    if wanted.energy and on_battery and target.profile is not None:
        energy = plan_energy(
            target.profile, blocks=preset.energy_blocks, target_error=preset.energy_target_error
        )
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    name = "".join(
        char if char.isascii() and char.isalnum() else "-"
        for char in f"{artifact.model.name}-{target.info.name}".lower()
    )
    return RunRequest(
        protocol_version=PROTOCOL_VERSION,
        run_id=f"{name[:40]}-{stamp}-{secrets.token_hex(2)}",
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
        evaluation=None,
        energy=energy,
    )


@contextmanager
def _open_target(wanted: Wanted, reporter: Reporter) -> Iterator[Target]:
    """The device that is meant; a virtual phone runs for as long as it is needed."""
    if wanted.device == COMPUTER:
        yield Target(read_computer(), None, None, None, FORMATS)
        return
    profiles = load_profiles()
    server = AdbServer()
    running = {phone.address: phone.name for phone in service.list_phones()}
    device = wanted.device
    if device in running:
        device = VIRTUAL_PREFIX + running[device]
    found = []
    if not device.startswith(VIRTUAL_PREFIX):
        server.ensure_running()
        found = find_devices(server, profiles)
    choice = choose_device(device, found, profiles, require_phone=wanted.require_phone)
    if not isinstance(choice, VirtualChoice):
        with _exclusive(choice.attached.serial):
            yield _look_at(server.phone(choice.attached.serial), profiles)
        return
    if not choice.asked_for:
        reporter.note(
            f"No Android device is attached: a virtual {choice.profile.name} stands in. Its "
            "latency is this computer's, its energy is simulated."
        )
    with _exclusive(f"{VIRTUAL_PREFIX}{choice.profile.name}"):
        try:
            with service.phone_running(choice.profile) as virtual:
                yield _look_at(connect_virtual(virtual).phone(virtual.address), profiles)
        finally:
            _stop_idle_server()


def _look_at(phone: Phone, profiles: dict[str, DeviceProfile]) -> Target:
    info = read_device_info(phone, profiles)
    battery = read_battery(phone)
    profile = profiles.get(info.name) or read_generic_profile(phone, info, battery)
    return Target(info, phone, profile, battery, read_told_formats(phone, info))


def _carry_out(target: Target, request: RunRequest, reporter: Reporter) -> RunResult:
    if target.phone is None:
        return run_on_computer(request, places.artifacts_directory(), on_event=reporter.event)
    with tempfile.TemporaryDirectory(prefix="mobilekit-") as scratch:
        return bench.run_on_phone(
            target.phone,
            request,
            scratch=Path(scratch),
            on_event=reporter.event,
            sleep=time.sleep,
            clock_ns=time.monotonic_ns,
        )


def _save(measurement: Measurement, store: Store) -> None:
    """Store it; what the database does not take is kept in a file that the error names."""
    try:
        store.save(measurement)
    except StoreError as error:
        path = places.unsaved_directory() / f"{measurement.id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_pretty(measurement))
        raise StoreError(
            error.what,
            fix=f"The measurement is kept as JSON. {error.fix}",
            kept=path,
            **error.facts,
        ) from None


@contextmanager
def _exclusive(phone: str) -> Iterator[None]:
    """Keep other deploys from the phone of this serial or virtual name: it runs one at a time.

    Raises ``DeviceError`` when one is using it.
    """
    path = places.locks_directory() / quote(phone, safe="")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeviceError(
                "Another mobilekit is using this phone", phone=phone, fix="Wait until it is done."
            ) from None
        yield


def _clear_up(target: Target, measurement: Measurement) -> None:
    """Leave nothing of a stored run on the phone, and no file that it found corrupt."""
    result = measurement.result
    if target.phone is None or (isinstance(result, RunFailure) and result.code == "disconnected"):
        return
    # All is stored: a phone that leaves now takes nothing with it.
    with suppress(DeviceError, DisconnectedError):
        bench.remove_run(target.phone, measurement.id)
        if isinstance(result, RunFailure) and result.code == "file_corrupt":
            for file in measurement.artifact.files:
                bench.forget_file(target.phone, file)


class _Steps:
    """Tells the reporter of each step and adds up where the time went."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._spent: dict[str, int] = {}
        self._step: str | None = None
        self._since_ns = time.monotonic_ns()

    @property
    def spent(self) -> tuple[TimeSpent, ...]:
        self._account()
        return tuple(TimeSpent(step=step, duration_ns=ns) for step, ns in self._spent.items())

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        outer = self._step
        self._account()
        self._step = step
        self._reporter.step(step)
        try:
            yield
        finally:
            self._account()
            self._step = outer

    def _account(self) -> None:
        now_ns = time.monotonic_ns()
        if self._step is not None:
            self._spent[self._step] = self._spent.get(self._step, 0) + now_ns - self._since_ns
        self._since_ns = now_ns
