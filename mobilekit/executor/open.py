"""Which device a person means, ready for runs; a virtual phone is started for as long as it is
needed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from mobilekit.contract.protocol import Format
from mobilekit.errors import (
    AdbServerError,
    DeviceError,
    DisconnectedError,
    PhoneError,
    UsageError,
)
from mobilekit.executor.base import Executor, Opened
from mobilekit.executor.computer import ComputerExecutor
from mobilekit.executor.lock import exclusive
from mobilekit.executor.phone import PhoneExecutor
from mobilekit.executor.replay import REPLAY_PREFIX, open_recording
from mobilekit.executor.virtual_phones import connect_virtual, stop_idle_server, virtual_server
from mobilekit.executor.watch import Patience
from mobilekit.formats import FORMATS
from mobilekit.phone.adb import (
    AdbServer,
    Phone,
)
from mobilekit.phone.attaching import (
    link_of,
)
from mobilekit.phone.device import (
    VirtualChoice,
    choose_device,
    find_devices,
    links_by_phone,
    look_at,
    read_airplane_mode,
    read_battery,
    read_capacity,
    read_companion_formats,
    read_companion_vulkan,
    read_computes,
    read_device_info,
    read_gpu,
    unknown,
)
from mobilekit.phone.formats import usable_formats
from mobilekit.phone.profiles import generic_profile, load_profiles
from mobilekit.phone.side_by_side import BEHIND_S, read_side_by_side
from mobilekit.records.device import (
    VIRTUAL_PREFIX,
    AttachedDevice,
    DeviceProfile,
    DeviceState,
    ListedDevice,
)
from mobilekit.runner.host import COMPUTER, installed_formats, read_computer
from mobilekit.virtual import service
from mobilekit.virtual.companion_settings import companion_formats

RECONNECT_VARIABLE = "MOBILEKIT_RECONNECT_S"
"""How long a phone that went away is waited for, in place of ``Patience.reconnect_s``."""
MAX_RECONNECT_S = 3600
READY = "device"
"""As adb says it of a phone."""


@contextmanager
def open_device(
    device: str,
    *,
    require_phone: bool,
    energy: bool,
    gpu: bool = False,
    on_note: Callable[[str], None],
) -> Iterator[Opened]:
    """The device that is meant; a virtual phone runs for as long as it is needed.

    ``energy``, ``gpu``: whether to ask for what only energy, or the graphics processor, needs.
    """
    if device == COMPUTER:
        with tempfile.TemporaryDirectory(prefix="mobilekit-") as scratch:
            yield Opened(_state_of_computer(), ComputerExecutor(Path(scratch)))
        return
    if device.startswith(REPLAY_PREFIX):
        yield open_recording(Path(device.removeprefix(REPLAY_PREFIX)))
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
            yield _open_phone(server, choice.attached.serial, profiles, energy=energy, gpu=gpu)
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
                yield _open_phone(
                    server, virtual.address, profiles, energy=energy, gpu=gpu, virtual=virtual.name
                )
        finally:
            stop_idle_server()


class Identified(NamedTuple):
    """Which device a person means, without it being opened."""

    device: str
    """As ``open_device`` takes it; a virtual phone that stands in is named as one."""
    phone: str
    """What no two runs use at once, of all on this computer."""
    name: str
    is_shared: bool
    """Whether ``phone`` tells it from all devices of other computers too."""
    state: str
    computes: bool
    """Whether it takes this computer's processor."""
    formats: tuple[Format, ...]
    level_percent: int | None


def identify_device(device: str) -> Identified:
    """Raises as ``open_device`` does for a device that is not there, or not one."""
    if device == COMPUTER:
        formats = usable_formats(read_computer(), installed_formats())
        return Identified(device, COMPUTER, COMPUTER, False, READY, True, formats, None)
    if device.startswith(REPLAY_PREFIX):
        directory = Path(device.removeprefix(REPLAY_PREFIX)).absolute()
        state = open_recording(directory).state
        name = f"{REPLAY_PREFIX}{directory}"
        formats = usable_formats(state.info, state.companion_formats)
        return Identified(name, name, state.info.name, False, READY, False, formats, None)
    profiles = load_profiles()
    running = {phone.address: phone.name for phone in service.list_phones()}
    if device in running:
        device = VIRTUAL_PREFIX + running[device]
    found = []
    server = AdbServer()
    if not device.startswith(VIRTUAL_PREFIX):
        server.ensure_running()
        found = find_devices(server, profiles)
    choice = choose_device(device, found, profiles, require_phone=False)
    if isinstance(choice, VirtualChoice):
        key = f"{VIRTUAL_PREFIX}{choice.profile.name}"
        kinds = {phone.name: phone.companion for phone in service.list_phones()}
        kind = kinds.get(choice.profile.name, service.DEFAULT_COMPANION.kind)
        able = companion_formats(kind)
        formats = tuple(name for name in FORMATS if name in able)
        return Identified(key, key, choice.profile.name, False, READY, True, formats, None)
    return _identified(device, server, choice)


def _identified(device: str, server: AdbServer, listed: ListedDevice) -> Identified:
    assert listed.info is not None
    return Identified(
        device,
        listed.info.key,
        listed.info.name,
        not listed.info.virtual,
        listed.attached.state,
        read_computes(server.phone(listed.attached.serial), listed.info),
        listed.formats,
        None if listed.battery is None else listed.battery.level_percent,
    )


def identify_attached() -> list[Identified]:
    """Every phone that is attached and ready, one that is attached in several ways once."""
    attachments = {each.attached.serial: each for each in list_attachments()}
    found = []
    for listed, *_ in links_by_phone(_look_at_each(list(attachments.values()))):
        serial = listed.attached.serial
        attached = None if listed.info is None else attach(attachments[serial])
        if attached is not None:
            # One that leaves meanwhile is told of no more.
            with suppress(DeviceError, DisconnectedError, PhoneError):
                found.append(_identified(serial, attached[0], listed))
    return found


def _state_of_computer() -> DeviceState:
    return DeviceState(
        info=read_computer(),
        profile=None,
        battery=None,
        airplane_mode=None,
        full_charge_uah=None,
        companion_formats=installed_formats(),
    )


def _open_phone(
    server: AdbServer,
    serial: str,
    profiles: dict[str, DeviceProfile],
    *,
    energy: bool,
    gpu: bool,
    virtual: str | None = None,
) -> Opened:
    phone = server.phone(serial)
    info = read_device_info(phone, profiles)
    if gpu:
        info = replace(info, gpu=read_gpu(phone))
    battery, profile = read_battery(phone), profiles.get(info.name)
    # The capacity of a phone with a profile matters to its energy only.
    capacity = read_capacity(phone, battery, profile) if energy or profile is None else None
    state = DeviceState(
        info=info,
        profile=generic_profile(info, capacity) if profile is None and capacity else profile,
        battery=battery,
        airplane_mode=read_airplane_mode(phone),
        full_charge_uah=None if capacity is None else capacity.learned_uah,
        companion_formats=read_companion_formats(phone, info),
        companion_vulkan=read_companion_vulkan(phone, info) if gpu else None,
        capacity=capacity,
    )
    reconnect = _reconnector(server, serial, virtual)
    return Opened(state, PhoneExecutor(phone, reconnect, _read_patience()))


def _read_patience() -> Patience:
    """Raises ``UsageError`` for a time in the environment that is none."""
    given = os.environ.get(RECONNECT_VARIABLE)
    if given is None:
        return Patience()
    try:
        reconnect_s = float(given)
    except ValueError:
        reconnect_s = -1.0
    if not 0 <= reconnect_s <= MAX_RECONNECT_S:
        raise UsageError(
            f"{RECONNECT_VARIABLE} is {given!r}",
            fix=f"Give seconds, from 0 to {MAX_RECONNECT_S}, or leave it out.",
        )
    return Patience(reconnect_s=reconnect_s)


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
        f"The virtual {virtual} is no longer running",
        fix=f"`mobilekit virtual start {virtual}` starts it.",
    )


def attached_phones() -> Iterator[tuple[str, Executor]]:
    """Every phone that is ready, virtual ones included, with its name for ``exclusive``; one that
    is attached in several ways comes once for each, over USB first."""
    profiles = load_profiles()
    own = AdbServer()
    own.ensure_running()
    virtual = {phone.address: phone.name for phone in service.list_phones()}
    servers: list[tuple[AdbServer, str | None]] = [(own, None)]
    for each in service.list_phones():
        # One that hangs, or has just been stopped, keeps nobody from the others.
        with suppress(DeviceError, DisconnectedError, AdbServerError):
            servers.append((connect_virtual(each), each.address))
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
                    reconnect = _reconnector(server, serial, name)
                    yield key, PhoneExecutor(phone, reconnect, _read_patience())


def list_devices() -> list[ListedDevice]:
    """Everything attached to the user's adb server, and every virtual phone that runs."""
    return _look_at_each(list_attachments(), behind_s=BEHIND_S)


def _look_at_each(
    attachments: Sequence[Attachment], *, behind_s: float | None = None
) -> list[ListedDevice]:
    profiles = load_profiles()
    readers = [partial(_look_at, each, profiles) for each in attachments]
    looked = read_side_by_side(readers, behind_s=behind_s)
    return [
        found or unknown(each.attached) for each, found in zip(attachments, looked, strict=True)
    ]


class Attachment(NamedTuple):
    """One way to a phone: through the user's adb server, or a virtual phone's through its own."""

    attached: AttachedDevice
    """As it was found; a virtual phone that is not attached yet is ``offline``."""
    attach: Callable[[], AdbServer]
    """The server that it is attached to afterwards; raises as ``connect_virtual`` does."""


def list_attachments() -> list[Attachment]:
    """What is attached to the user's adb server, and the virtual phones that run beside; nothing is
    asked of any of them."""
    server = AdbServer()
    server.ensure_running()
    attachments = [Attachment(attached, lambda: server) for attached in server.list_devices()]
    there = {attachment.attached.serial for attachment in attachments}
    # They may be attached to the user's server as well.
    virtual = [phone for phone in service.list_phones() if phone.address not in there]
    if virtual:
        virtual_server().ensure_running()
    for phone in virtual:
        attached = AttachedDevice(serial=phone.address, state="offline")
        attachments.append(Attachment(attached, partial(connect_virtual, phone)))
    return attachments


def attach(attachment: Attachment) -> tuple[AdbServer, AttachedDevice] | None:
    """The server that a phone is attached to and its state there; ``None`` where it is not."""
    # A virtual phone that cannot be attached has just been stopped, or hangs.
    with suppress(DeviceError, DisconnectedError, AdbServerError):
        server = attachment.attach()
        for attached in server.list_devices():
            if attached.serial == attachment.attached.serial:
                return server, attached
    return None


def _look_at(attachment: Attachment, profiles: dict[str, DeviceProfile]) -> ListedDevice:
    found = attach(attachment)
    return (
        unknown(attachment.attached) if found is None else look_at(*found, profiles, with_gpu=True)
    )
