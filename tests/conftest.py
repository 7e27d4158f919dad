"""Fixtures that several parts of the suite share: a private adb server, and virtual phones."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from databases import Postgres, running_postgres
from hypothesis import settings
from servers import (
    TEST_PROFILE,
    AdbServer,
    FakeBattery,
    FakeCompanion,
    RunningPhone,
    running_adb_server,
)
from warm import FreshPopen, WarmPopen, running_nursery

from mobilekit.records.device import DeviceProfile
from mobilekit.virtual.device import Battery, Companion
from mobilekit.virtual.phone import VirtualPhone

EXPORTS_VARIABLE = "MOBILEKIT_TEST_EXPORTS"
"""The directory of artifacts that all workers of a session share."""


# How long an example takes tells something of the other processes.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    # Processes that share the processors would wait for each other's threads by spinning.
    os.environ["OMP_NUM_THREADS"] = "1"
    # Companions in a JVM end within seconds, before its second compiler would pay.
    os.environ["JDK_JAVA_OPTIONS"] = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    if not hasattr(config, "workerinput"):  # There are no others, or they are started by this one.
        session = ExitStack()
        config.add_cleanup(session.close)
        directory = Path(session.enter_context(tempfile.TemporaryDirectory(prefix="mobilekit-")))
        session.enter_context(running_nursery(directory))
        (directory / "exports").mkdir()
        os.environ[EXPORTS_VARIABLE] = str(directory / "exports")
        if config.getoption("numprocesses", None):
            session.enter_context(compiling_tests(config.args))
    subprocess.Popen = WarmPopen  # type: ignore[misc]


@contextmanager
def compiling_tests(arguments: list[str]) -> Iterator[None]:
    """Compile the tests' modules for all workers, which wait for the nursery's imports meanwhile.

    Otherwise each of them would do it, as those of an environment that keeps no bytecode do.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    process = FreshPopen(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def pytest_collection() -> None:
    """Nothing that is collected is garbage, however often that is looked for."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def exports() -> Path:
    """A cache of artifacts, in which each network is exported once."""
    return Path(os.environ[EXPORTS_VARIABLE])


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdbServer]:
    with running_adb_server(tmp_path_factory.mktemp("adb")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server of this worker's own, with a database for each test that makes one."""
    # Not among pytest's directories: another pytest that begins keeps the server's user out there.
    with (
        tempfile.TemporaryDirectory(prefix="mobilekit-postgres-") as directory,
        running_postgres(Path(directory)) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def phone_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The event loop of a thread in which phones run."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def make_phone(
    adb_server: AdbServer,
    phone_loop: asyncio.AbstractEventLoop,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., RunningPhone]]:
    """Starts a virtual phone and connects it, unless told not to; they end with the test."""
    started: list[RunningPhone] = []

    def make(
        *,
        profile: DeviceProfile = TEST_PROFILE,
        directory: Path | None = None,
        abi: str = "x86_64",
        battery: Battery | None = None,
        companion: Companion | None = None,
        connect: bool = True,
    ) -> RunningPhone:
        directory = directory or tmp_path_factory.mktemp("phone")
        battery = battery or FakeBattery()
        companion = companion or FakeCompanion()
        phone = VirtualPhone(profile, directory, abi, battery, companion)
        starting: Future[None] = asyncio.run_coroutine_threadsafe(phone.start(), phone_loop)
        starting.result(10)
        running = RunningPhone(
            phone, phone.serial, directory, battery, companion, adb_server, phone_loop
        )
        started.append(running)
        if connect:
            assert "connected to" in adb_server.adb("connect", phone.serial).stdout
            adb_server.wait_for_state(phone.serial, "device")
        return running

    yield make
    for running in started:
        adb_server.adb("disconnect", running.serial, may_fail=True)
        running.call(running.phone.stop())


@pytest.fixture
def phone(make_phone: Callable[..., RunningPhone]) -> RunningPhone:
    """A connected virtual phone without faults."""
    return make_phone()
