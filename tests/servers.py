"""A private adb server and virtual phones for tests, with fakes for what they ask of."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import adbutils

from mobilekit.contract.protocol import BatterySample
from mobilekit.records.device import (
    DeviceProfile,
    ProfileBattery,
    ProfileGauge,
    ProfileHardware,
    ProfileMatch,
    ProfilePower,
)
from mobilekit.virtual.crashes import CRASHES, Crash
from mobilekit.virtual.phone import VirtualPhone

T = TypeVar("T")

TEST_PROFILE = DeviceProfile(
    name="testphone",
    title="Example Test Phone",
    match=ProfileMatch(devices=("testdevice",)),
    android_release="13",
    android_sdk=33,
    hardware=ProfileHardware(
        soc="TS1000",
        cpu="4x Test",
        cores=4,
        max_cpu_khz=2_000_000,
        ram_bytes=4 * 1024**3,
        abi="arm64-v8a",
    ),
    battery=ProfileBattery(capacity_uah=4_000_000, energy_j=55_000.0),
    gauge=ProfileGauge(charge_step_uah=1000, current_step_ua=1000, update_period_ms=1000),
    power=ProfilePower(idle_mw=500.0, active_mw=3000.0),
    sources={},
)


@dataclass
class FakeBattery:
    gauge = ""
    level_percent: int = 80
    plugged: bool = True

    def read(self) -> BatterySample:
        return BatterySample(
            at_ns=0,
            charge_counter_uah=40_000 * self.level_percent,
            current_now_ua=-150_000,
            energy_counter_nwh=None,
            voltage_mv=4012,
            temperature_decicelsius=271,
            level_percent=self.level_percent,
            plugged=self.plugged,
        )

    def set_plugged(self, plugged: bool) -> None:
        self.plugged = plugged

    def set_level(self, percent: int) -> None:
        self.level_percent = percent

    def reset(self) -> None:
        self.level_percent, self.plugged = 80, True


@dataclass
class FakeCompanion:
    pid: int | None = None
    formats: tuple[str, ...] = ()
    vulkan = "python"
    computes = True
    started: list[str] = field(default_factory=list)
    signals: list[int] = field(default_factory=list)
    crashes: list[Crash] = field(default_factory=list)

    def start(self, run_id: str) -> int:
        self.started.append(run_id)
        self.pid = 5000 + len(self.started)
        return self.pid

    def stop(self) -> None:
        self.pid = None

    def signal(self, number: int) -> None:
        self.signals.append(number)
        if self.pid is not None and number in CRASHES:
            self.crashes.append(Crash(self.pid, signal.Signals(number)))

    def take_crashes(self) -> list[Crash]:
        crashes, self.crashes = self.crashes, []
        return crashes

    def running_pids(self) -> list[int]:
        return [] if self.pid is None else [self.pid]

    def memory_bytes(self, pid: int) -> int:
        return 50 * 1024**2


@dataclass(frozen=True)
class AdbServer:
    """An adb server that no other program uses."""

    port: int
    settings: dict[str, str]
    """What tells programs of it, and of nothing else."""

    @property
    def environment(self) -> dict[str, str]:
        """As it is now: a test may have set a variable since the server started."""
        inherited = {name: value for name, value in os.environ.items() if name != "ANDROID_SERIAL"}
        return inherited | self.settings

    def adb(
        self,
        *args: str,
        input: str | bytes | None = None,
        timeout: float = 60,
        may_fail: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """What fails unasked fails the test: it would go on without what it had prepared."""
        done = subprocess.run(
            [adbutils.adb_path(), *args],
            env=self.environment,
            input=input.decode() if isinstance(input, bytes) else input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert may_fail or done.returncode == 0, f"adb {args}: {done.stdout}{done.stderr}"
        return done

    def client(self) -> adbutils.AdbClient:
        return adbutils.AdbClient(host="127.0.0.1", port=self.port)

    def wait_for_state(self, serial: str, state: str | None, timeout_s: float = 15) -> None:
        """Until ``adb devices`` says so; ``None``: until it does not list the serial."""
        deadline = time.monotonic() + timeout_s
        while True:
            lines = self.adb("devices").stdout.splitlines()
            states = dict(line.split("\t") for line in lines if "\t" in line)
            if states.get(serial) == state:
                return
            assert time.monotonic() < deadline, f"{serial} is {states.get(serial)}, not {state}"
            time.sleep(0.05)


@dataclass(frozen=True)
class RunningPhone:
    """A virtual phone in a thread of this process."""

    phone: VirtualPhone
    serial: str
    directory: Path
    battery: Any
    companion: Any
    server: AdbServer
    loop: asyncio.AbstractEventLoop

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the phone's thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def adb(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.server.adb("-s", self.serial, *args, **options)

    def device(self) -> adbutils.AdbDevice:
        return self.server.client().device(self.serial)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_adb_server(home: Path) -> Iterator[AdbServer]:
    """An adb server of its own, which ends with the context."""
    port = _free_port()
    server = AdbServer(
        port,
        {
            "HOME": str(home),
            "ANDROID_ADB_SERVER_PORT": str(port),
            "ANDROID_ADB_LOG_PATH": str(home / "adb.log"),
            "ADB_MDNS": "0",
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "0",
            "ADB_USB": "0",
        },
    )
    with (home / "server.txt").open("wb") as output:
        process = subprocess.Popen(
            [adbutils.adb_path(), "-L", f"tcp:localhost:{port}", "nodaemon", "server"],
            env=server.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        # Not before it listens: a client that finds no server would start one that stays.
        deadline = time.monotonic() + 15
        while not _listens(port):
            assert process.poll() is None, (home / "server.txt").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield server
    finally:
        process.terminate()
        process.wait(10)
        if _listens(port):  # A command may have started another one in its place.
            subprocess.run([adbutils.adb_path(), "kill-server"], env=server.environment, timeout=10)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
