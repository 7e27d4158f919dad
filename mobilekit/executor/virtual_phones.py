"""Virtual phones behind an adb server of their own: start, attach, stop."""

from __future__ import annotations

from contextlib import suppress

from mobilekit.contract.protocol import PACKAGE
from mobilekit.errors import (
    AdbServerError,
    DeviceError,
    DisconnectedError,
    InUseError,
    PhoneError,
    UsageError,
)
from mobilekit.executor.lock import exclusive
from mobilekit.phone import runs
from mobilekit.phone.adb import (
    AdbServer,
)
from mobilekit.phone.device import profile_named
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.device import VIRTUAL_PREFIX
from mobilekit.virtual import service
from mobilekit.virtual.companion_settings import CompanionSettings


def start_virtual(
    name: str,
    companion: CompanionSettings = service.DEFAULT_COMPANION,
    gauge: str | None = None,
) -> tuple[service.RunningPhone, int]:
    """A virtual phone of that profile, and the port of the adb server that it is attached to."""
    phone = service.start_phone(profile_named(name, load_profiles()), companion, gauge)
    try:
        return phone, connect_virtual(phone).port
    except BaseException:
        # Nobody has heard of it yet, so nobody else will stop it.
        with suppress(UsageError):
            service.stop_phone(phone.name)
        raise


def stop_virtual(name: str) -> None:
    """Stop a virtual phone, and with the last one their adb server.

    Raises ``InUseError`` while a run goes on on it, or another mobilekit uses it.
    """
    for phone in service.list_phones():
        if phone.name == name:
            _refuse_busy(phone)
    with exclusive(f"{VIRTUAL_PREFIX}{name}"):
        service.stop_phone(name)
    stop_idle_server()


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
            f"A run is still under way on the virtual {virtual.name}",
            run_id=", ".join(going_on),
            fix="Ctrl-C ends it where it is followed, and `mobilekit collect --wait` follows one "
            f"that was left; `ANDROID_ADB_SERVER_PORT={service.server_port()} adb -s "
            f"{virtual.address} shell am force-stop {PACKAGE}` ends it too, and `mobilekit "
            "collect` fetches what it has measured.",
        )


def virtual_server() -> AdbServer:
    """The virtual phones' own adb server; a user's is never touched."""
    return AdbServer(service.server_port(), service.server_environment())


def stop_idle_server() -> None:
    if not service.list_phones():
        with suppress(DisconnectedError):
            virtual_server().stop()


def connect_virtual(phone: service.RunningPhone) -> AdbServer:
    """The virtual phones' adb server, started if need be, with this phone attached to it."""
    server = virtual_server()
    try:
        server.ensure_running()
    except AdbServerError:
        # Free when it was chosen; anybody may have taken it since.
        service.server_port(taken=server.port)
        server = virtual_server()
        server.ensure_running()
    server.connect(phone.address)
    return server
