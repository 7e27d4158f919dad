"""The virtual phone: a device on the end of a cable that is a TCP port of this computer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from mobilekit.contract.codec import Record, decode, encode_pretty
from mobilekit.errors import ProtocolError
from mobilekit.records.device import DeviceProfile
from mobilekit.virtual.adb_services import open_service
from mobilekit.virtual.adbd import FEATURES, FEATURES_SDK, Adbd, Cable
from mobilekit.virtual.device import Battery, Companion, Device
from mobilekit.virtual.files import STORAGE_BYTES

FAULTS_FILE = "faults.json"
FAULTS_PERIOD_S = 0.2
HEALTH_PERIOD_S = 10.0
SHUTDOWN_S = 0.05
"""For the answer of who asked for it to get out."""
BOOT_S = 1.0
"""A real phone takes half a minute."""


class Faults(Record, frozen=True):
    """What is wrong with the phone; the default is nothing."""

    cable: Cable = "ready"
    powered_off: bool = False
    """As with an empty battery: the companion is gone, and so is the link, until it is charged."""
    storage_bytes: int = STORAGE_BYTES


def write_faults(directory: Path, faults: Faults) -> None:
    """Change the faults of the phone that keeps its state there, from any process.

    A running phone takes them over within ``FAULTS_PERIOD_S``; they outlast a restart.
    """
    aside = directory / f"{FAULTS_FILE}.new"
    aside.write_bytes(encode_pretty(faults))
    aside.replace(directory / FAULTS_FILE)


def read_faults(directory: Path) -> Faults:
    """Raises ``ProtocolError`` for a file that is not one."""
    try:
        data = (directory / FAULTS_FILE).read_bytes()
    except FileNotFoundError:
        return Faults()
    faults: Faults = decode(data, Faults, source=FAULTS_FILE)
    return faults


def _link(faults: Faults) -> Cable:
    return "unplugged" if faults.powered_off else faults.cable


class VirtualPhone:
    """A phone in this process; everything that it keeps is in ``directory``."""

    def __init__(
        self,
        profile: DeviceProfile,
        directory: Path,
        abi: str,
        battery: Battery,
        companion: Companion,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.device = Device(profile, directory, abi, battery, companion, clock_ns)
        self.device.on_reboot = self._begin_reboot
        self._directory = directory
        self._faults = Faults()
        self._rebooting: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        values = {
            name: self.device.properties.get(name)
            for name in ("ro.product.name", "ro.product.model", "ro.product.device")
        }
        described = "".join(f"{name}={value};" for name, value in values.items())
        features = f"features={FEATURES}" if profile.android_sdk >= FEATURES_SDK else ""
        self._adbd = Adbd(
            f"device::{described}{features}".encode(),
            lambda link, name: open_service(self.device, link, name),
            self.device.reverse_forwards.forget,
        )

    @property
    def port(self) -> int:
        return self._adbd.port

    @property
    def serial(self) -> str:
        """What ``adb connect`` takes, and what adb calls the phone then."""
        return f"127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Plug it in: listen on ``port`` of this computer, or on a free one."""
        await self._adbd.listen(port)
        # Whoever starts it has charged it.
        await self.set_faults(replace(read_faults(self._directory), powered_off=False))
        self._watch = asyncio.get_running_loop().create_task(self._watch_faults())

    async def stop(self) -> None:
        """Drop every link and end the companion's run."""
        for task in (self._watch, self._rebooting):
            if task is not None:
                task.cancel()
        self._adbd.close()
        self.device.companion.stop()

    async def set_faults(self, faults: Faults) -> None:
        """Change the faults at once."""
        write_faults(self._directory, faults)
        await self._apply(faults)

    async def _apply(self, faults: Faults) -> None:
        before, self._faults = self._faults, faults
        self.device.files.quota_bytes = faults.storage_bytes
        if faults.powered_off:
            self.device.companion.stop()
        if _link(faults) != _link(before):
            await self._adbd.set_cable(_link(faults))

    def _begin_reboot(self) -> None:
        if self._rebooting is None or self._rebooting.done():
            self._rebooting = asyncio.get_running_loop().create_task(self._reboot())

    async def _reboot(self) -> None:
        """Off and on again: no run and no link outlasts it."""
        await asyncio.sleep(SHUTDOWN_S)
        self.device.companion.stop()
        await self._adbd.set_cable("unplugged")
        await asyncio.sleep(BOOT_S)
        self.device.boot()
        await self._adbd.set_cable(_link(self._faults))

    async def _watch_faults(self) -> None:
        complaint = ""
        told_s = time.monotonic()
        while True:
            await asyncio.sleep(FAULTS_PERIOD_S)
            if time.monotonic() - told_s > HEALTH_PERIOD_S:
                told_s = time.monotonic()
                self.device.tell_health()
            try:
                faults = read_faults(self._directory)
            except ProtocolError as error:
                if str(error) != complaint:
                    complaint = str(error)
                    self.device.log.add("faults", complaint, level="E")
                continue
            if faults != self._faults:
                await self._apply(faults)
