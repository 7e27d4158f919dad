"""Where a run is to happen: this computer, a phone, or a virtual one that is started for it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple
from urllib.parse import quote

from mobilekit import places
from mobilekit.contract.protocol import PACKAGE
from mobilekit.errors import (
    AdbServerError,
    DeviceError,
    DisconnectedError,
    InUseError,
    PhoneError,
)
from mobilekit.phone import runs
from mobilekit.phone.adb import AdbServer, Phone
from mobilekit.phone.device import (
    VIRTUAL_PREFIX,
    VirtualChoice,
    choose_device,
    find_devices,
    link_of,
    profile_named,
    read_airplane_mode,
    read_battery,
    read_device_info,
    read_full_charge_uah,
    read_generic_profile,
    read_told_formats,
)
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.device import BatteryStatus, DeviceInfo, DeviceProfile, ListedDevice
from mobilekit.runner.host import COMPUTER, installed_formats, read_computer
from mobilekit.virtual import service
from mobilekit.virtual.companions import CompanionSettings


class Target(NamedTuple):
    """Where a run is to happen; ``phone`` is ``None`` for this computer."""

    info: DeviceInfo
    phone: Phone | None
    profile: DeviceProfile | None
    battery: BatteryStatus | None
    airplane_mode: bool | None
    full_charge_uah: int | None
    told_formats: tuple[str, ...] | None
    """What the device itself says that it runs; ``None`` for a real phone, which says nothing."""
    reconnect: Callable[[], Phone] | None
    """As in ``Link``."""


@contextmanager
def open_target(
    device: str, *, require_phone: bool, energy: bool, on_note: Callable[[str], None]
) -> Iterator[Target]:
    """The device that is meant; a virtual phone runs for as long as it is needed.

    ``energy``: whether to ask for what only energy needs.
    """
    if device == COMPUTER:
        yield Target(read_computer(), None, None, None, None, None, installed_formats(), None)
        return
    profiles = load_profiles()
    server = AdbServer()
    running = {phone.address: phone.name for phone in service.list_phones()}
    if device in running:
        device = VIRTUAL_PREFIX + running[device]
    found = []
    if not device.startswith(VIRTUAL_PREFIX):
        server.ensure_running()
        found = find_devices(server, profiles)
    choice = choose_device(device, found, profiles, require_phone=require_phone)
    if not isinstance(choice, VirtualChoice):
        assert choice.info is not None
        with exclusive(choice.info.key):
            yield _look_at(server, choice.attached.serial, profiles, energy=energy)
        return
    if not choice.asked_for:
        on_note(
            f"No Android device is attached: a virtual {choice.profile.name} stands in. Its "
            "latency is this computer's, its energy is simulated."
        )
    with exclusive(f"{VIRTUAL_PREFIX}{choice.profile.name}"):
        try:
            with service.phone_running(choice.profile) as virtual:
                server = connect_virtual(virtual)
                yield _look_at(
                    server, virtual.address, profiles, energy=energy, virtual=virtual.name
                )
        finally:
            _stop_idle_server()


def _look_at(
    server: AdbServer,
    serial: str,
    profiles: dict[str, DeviceProfile],
    *,
    energy: bool,
    virtual: str | None = None,
) -> Target:
    phone = server.phone(serial)
    info = read_device_info(phone, profiles)
    battery = read_battery(phone)
    profile = profiles.get(info.name) or read_generic_profile(phone, info, battery)
    return Target(
        info=info,
        phone=phone,
        profile=profile,
        battery=battery,
        airplane_mode=read_airplane_mode(phone),
        full_charge_uah=read_full_charge_uah(phone) if energy else None,
        told_formats=read_told_formats(phone, info),
        reconnect=_reconnector(server, serial, virtual),
    )


def _reconnector(server: AdbServer, serial: str, virtual: str | None = None) -> Callable[[], Phone]:
    """What finds a phone that went away, at the serial that it had.

    ``virtual`` names a phone of ``service``, which has another serial when it was started anew.
    """

    def reconnect() -> Phone:
        found = serial if virtual is None else _address_of(virtual)
        server.ensure_running()
        if ":" in found:
            server.connect(found)
        return server.phone(found)

    return reconnect


def _address_of(virtual: str) -> str:
    for phone in service.list_phones():
        if phone.name == virtual:
            return phone.address
    raise DisconnectedError(
        f"The virtual {virtual} runs no more", fix=f"`mobilekit virtual start {virtual}` starts it."
    )


@contextmanager
def exclusive(phone: str) -> Iterator[None]:
    """Keep other deploys from the phone of this ``DeviceInfo.key``: it runs one at a time, however
    it is attached.

    Raises ``InUseError`` when one is using it.
    """
    path = places.locks_directory() / quote(phone, safe="")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError(
                "Another mobilekit is using this phone", phone=phone, fix="Wait until it is done."
            ) from None
        yield


def attached_phones() -> Iterator[tuple[Phone, str, Callable[[], Phone]]]:
    """Every phone that is ready, virtual ones included, with its name for ``exclusive`` and what
    gets it back; one that is attached in several ways comes once for each, over USB first."""
    profiles = load_profiles()
    own = AdbServer()
    own.ensure_running()
    virtual = {phone.address: phone.name for phone in service.list_phones()}
    servers: list[tuple[AdbServer, str | None]] = [(own, None)]
    servers += [(connect_virtual(phone), phone.address) for phone in service.list_phones()]
    seen = set()
    for server, only in servers:
        for attached in sorted(
            server.list_devices(), key=lambda each: link_of(each.serial) == "network"
        ):
            serial = attached.serial
            if attached.state == "device" and serial not in seen and only in (None, serial):
                seen.add(serial)
                # One that leaves meanwhile, or is still booting, holds nothing for now.
                with suppress(DeviceError, DisconnectedError, PhoneError):
                    phone = server.phone(serial)
                    name = virtual.get(serial)
                    key = (
                        read_device_info(phone, profiles).key
                        if name is None
                        else f"{VIRTUAL_PREFIX}{name}"
                    )
                    yield phone, key, _reconnector(server, serial, name)


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
    name: str,
    companion: CompanionSettings = service.DEFAULT_COMPANION,
    gauge: str | None = None,
) -> tuple[service.RunningPhone, int]:
    """A virtual phone of that profile, and the port of the adb server that it is attached to."""
    phone = service.start_phone(profile_named(name, load_profiles()), companion, gauge)
    return phone, connect_virtual(phone).port


def stop_virtual(name: str) -> None:
    """Stop a virtual phone, and with the last one their adb server.

    Raises ``InUseError`` while a run goes on on it, or another mobilekit uses it.
    """
    for phone in service.list_phones():
        if phone.name == name:
            _refuse_busy(phone)
    with exclusive(f"{VIRTUAL_PREFIX}{name}"):
        service.stop_phone(name)
    _stop_idle_server()


def _refuse_busy(virtual: service.RunningPhone) -> None:
    going_on = []
    # One that cannot be reached is stopped all the same.
    with suppress(DeviceError, DisconnectedError, AdbServerError, PhoneError):
        phone = connect_virtual(virtual).phone(virtual.address)
        going_on = [
            run_id for run_id in sorted(runs.list_runs(phone)) if runs.is_going_on(phone, run_id)
        ]
    if going_on:
        raise InUseError(
            f"A run goes on on the virtual {virtual.name}",
            run_id=", ".join(going_on),
            fix="Ctrl-C ends it where it is followed, and `mobilekit collect --wait` follows one "
            f"that was left; `ANDROID_ADB_SERVER_PORT={service.server_port()} adb -s "
            f"{virtual.address} shell am force-stop {PACKAGE}` ends it too, and `mobilekit "
            "collect` fetches what it has measured.",
        )


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
