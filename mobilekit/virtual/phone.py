"""The virtual phone: a device on the end of a cable that is a TCP port of this computer."""

from __future__ import annotations

import asyncio
import errno
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from mobilekit.contract.protocol import OUTPUT_ROOT, PACKAGE
from mobilekit.errors import ProtocolError
from mobilekit.records.device import DeviceProfile
from mobilekit.virtual.adb_services import open_service
from mobilekit.virtual.adbd import (
    FEATURES,
    FEATURES_SDK,
    MAX_PAYLOAD,
    OLD_NAME_BYTES,
    Adbd,
    Cable,
    Link,
    Service,
    Stream,
)
from mobilekit.virtual.device import Battery, Companion, Device
from mobilekit.virtual.faults import (
    DISTORTIONS,
    FAULTS_PERIOD_S,
    PHASES,
    PUSHED,
    FaultName,
    Faults,
    comes_with,
    read_faults,
    write_faults,
)
from mobilekit.virtual.second_computer import use_phone

PROGRESS_PERIOD_S = 0.01
CABLES: dict[FaultName, Cable] = {
    "refuse": "unplugged",
    "offline": "offline",
    "unauthorized": "unauthorized",
    "disconnect": "unplugged",
    "stall": "stalled",
}
RETURN_S: dict[FaultName, float] = {"unauthorized": 3.0, "disconnect": 2.0}
SIGNALS: dict[FaultName, int] = {
    "crash": signal.SIGSEGV,
    "killed": signal.SIGKILL,
    "silent-progress": signal.SIGSTOP,
}
SLOW_BYTES_PER_S = 100_000
LOW_PERCENT = 3
TEN_YEARS_S = 10 * 365 * 24 * 3600
HEALTH_PERIOD_S = 10.0
SHUTDOWN_S = 0.05
"""For the answer of who asked for it to get out."""
BOOT_S = 1.0
"""A real phone takes half a minute."""


def _link(faults: Faults) -> Cable:
    return "unplugged" if faults.powered_off else faults.cable


async def _kill_adb_server(port: int) -> None:
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"0009host:kill")
        await writer.drain()
        writer.close()


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
        self.device.files.on_made = self._file_made
        self._directory = directory
        self._faults = Faults()
        self.struck_at_s: float | None = None
        """When the last fault came, in seconds since 1970."""
        self._is_due = False
        """Whether a fault is to come that has not come yet."""
        self._tasks: set[asyncio.Task[None]] = set()
        """What a fault by name goes on with."""
        self._rebooting: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        values = {
            name: self.device.properties.get(name)
            for name in ("ro.product.name", "ro.product.model", "ro.product.device")
        }
        described = "".join(f"{name}={value};" for name, value in values.items())
        has_features = profile.android_sdk >= FEATURES_SDK
        features = f"features={FEATURES}" if has_features else ""
        self._adbd = Adbd(
            f"device::{described}{features}".encode(),
            self._open,
            self.device.reverse_forwards.forget,
            MAX_PAYLOAD if has_features else OLD_NAME_BYTES,
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
        for task in (self._watch, self._rebooting, *self._tasks):
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
        if _link(faults) != self._adbd.cable:
            await self._adbd.set_cable(_link(faults))
        if faults != before:
            await self._arm(faults)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

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

    # --- faults by name

    async def _arm(self, faults: Faults) -> None:
        """What there was is over; the new one comes at its moment."""
        for task in self._tasks:
            task.cancel()
        device = self.device
        device.distortion, device.log.behind_s = None, 0
        device.companion.signal(signal.SIGCONT)
        device.files.refuse(None)
        device.files.corrupt_name = None
        self._adbd.bytes_per_s = None
        self._is_due = faults.fault != "none"
        if self._is_due and faults.at == "now":
            await self._strike()
        elif self._is_due and faults.at in PHASES:
            self._spawn(self._watch_progress())

    def _open(self, link: Link, name: str) -> Service | None:
        service = open_service(self.device, link, name)
        if service is None or not (self._is_due and comes_with(name, self._faults.at)):
            return service
        found = service

        async def fail_and_serve(stream: Stream) -> None:
            await self._strike()
            await found(stream)

        return fail_and_serve

    def _file_made(self, path: str) -> None:
        if self._is_due and self._faults.at == "push" and path.startswith(PUSHED):
            self._spawn(self._strike())

    async def _watch_progress(self) -> None:
        """Until a run that begins from now on is in the phase that the fault waits for."""
        words = f'"phase":"{PHASES[self._faults.at]}"'
        runs = self.device.files.host_path(OUTPUT_ROOT) / "runs"
        before = set(runs.glob("*"))
        while self._is_due:
            for path in set(runs.glob("*")) - before:
                with suppress(OSError):
                    if words in (path / "progress.jsonl").read_text(encoding="utf-8"):
                        await self._strike()
            await asyncio.sleep(PROGRESS_PERIOD_S)

    async def _strike(self) -> None:
        if not self._is_due:
            return
        self._is_due = False
        self.struck_at_s = time.time()
        name = self._faults.fault
        device = self.device
        device.log.add("faults", name, level="W")
        if name in CABLES:
            await self._adbd.set_cable(CABLES[name])
            if name in RETURN_S:
                self._spawn(self._return(RETURN_S[name]))
        elif name in DISTORTIONS:
            device.distortion = DISTORTIONS[name]
        elif name in SIGNALS:
            device.companion.signal(SIGNALS[name])
        elif name == "slow":
            self._adbd.bytes_per_s = SLOW_BYTES_PER_S
        elif name == "full":
            device.files.quota_bytes = 0
        elif name in ("read-only", "denied"):
            device.files.refuse(errno.EROFS if name == "read-only" else errno.EACCES)
        elif name == "wrong-clock":
            device.log.behind_s = TEN_YEARS_S
        elif name == "wrong-version":
            device.packages.age(PACKAGE)
        elif name == "corrupt-result":
            device.files.corrupt_name = "result.json"
        elif name == "reboot":
            device.reboot()
        elif name == "low-battery":
            device.battery.set_level(LOW_PERCENT)
        elif name == "second-computer":
            self._spawn(use_phone(self.port))
        elif name == "server-killed" and self._faults.adb_server_port is not None:
            await _kill_adb_server(self._faults.adb_server_port)

    async def _return(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self._adbd.set_cable("ready")

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
