"""Deploys on virtual phones that fail: what became of each, and of what it had measured."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from replaying import SAMPLES, ReplayCompanion
from servers import AdbServer, FakeBattery, running_adb_server

from mobilekit.contract.protocol import (
    IterationsMeasured,
    LoadMeasured,
    ProgressEvent,
    Samples,
    WarmupMeasured,
)
from mobilekit.phone.profiles import load_profiles
from mobilekit.records.measurement import Measurement
from mobilekit.results.store import Store
from mobilekit.runner.abi import this_abi
from mobilekit.virtual.faults import FaultName, Faults, Moment
from mobilekit.virtual.phone import VirtualPhone

PACE_S = 0.15
LONGEST_S = 420.0
"""After which a deploy counts as one without an end."""
ENDED_BY_US = -9
SILENT: tuple[FaultName, ...] = ("silent-progress", "stall")
"""The phone is there, and what it is asked of the run is not to be had."""
IN_THE_RUN: tuple[Moment, ...] = ("start", "load", "warmup", "measuring", "fetching")
"""Moments from which on a silent phone is waited for as long as a silent run."""


@dataclass(frozen=True)
class Outcome:
    """What a person sees of one deploy, and what is left of its samples."""

    fault: FaultName
    moment: Moment
    exit_code: int
    seconds: float
    """From the fault to the end of the command; from its start where the fault did not come."""
    came: bool
    message: str
    has_traceback: bool
    kept: str
    lost: tuple[str, ...]
    """Kinds of samples that the phone had written, and that nobody has in the end."""
    stored: Measurement | None
    """In the end, after what was pending has been collected."""


class StruckPhone(VirtualPhone):
    """A virtual phone to which anything may happen in a fault's place."""

    strike_as: Callable[[], None] | None = None

    async def _strike(self) -> None:
        if self.strike_as is None:
            await super()._strike()
        elif self._is_due:
            self._is_due, self.struck_at_s = False, time.time()
            await asyncio.to_thread(self.strike_as)


@dataclass(frozen=True)
class Bench:
    """Where deploys are made to fail: an adb server, and a home with the network exported."""

    server: AdbServer
    loop: asyncio.AbstractEventLoop
    cache: Path
    network: str
    samples: Samples
    scratch: Path

    def deploy(
        self,
        fault: FaultName,
        moment: Moment,
        *,
        profile: str = "pixel8",
        instead: Callable[[VirtualPhone, Path], None] | None = None,
    ) -> Outcome:
        """``instead``: what happens in the fault's place, to the phone or in the command's home."""
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="pair-") as name:
            return self._deploy(Path(name), fault, moment, profile, instead)

    def _deploy(
        self,
        directory: Path,
        fault: FaultName,
        moment: Moment,
        profile: str,
        instead: Callable[[VirtualPhone, Path], None] | None,
    ) -> Outcome:
        home, phone_directory = directory / "home", directory / "phone"
        (home / "cache").mkdir(parents=True)
        (home / "cache/artifacts").symlink_to(self.cache, target_is_directory=True)
        phone_directory.mkdir()
        companion = ReplayCompanion(phone_directory, self.samples, PACE_S)
        phone = StruckPhone(
            load_profiles()[profile],
            phone_directory,
            this_abi(),
            FakeBattery(plugged=False),
            companion,
        )
        if instead is not None:
            phone.strike_as = partial(instead, phone, home)
        self._call(phone.start())
        try:
            self._attach(phone.serial)
            faults = Faults(fault=fault, at=moment, adb_server_port=self.server.port)
            self._call(phone.set_faults(faults))
            started_s = time.time()
            exit_code, message = self._mobilekit(
                home, "deploy", self.network, "--fast", "--no-energy", "-d", phone.serial
            )
            ended_s = time.time()
            written = list(companion.written)
            came_s = phone.struck_at_s
            self._call(phone.set_faults(Faults()))
            self._attach(phone.serial)
            store = Store(home / "results.sqlite")
            collected = bool(store.list_pending())
            if collected:
                self._mobilekit(home, "collect", "--wait")
            stored = next(iter(store.iterate_measurements()), None)
            samples = None if stored is None else stored.result.samples
            waiting = bool(store.list_pending())
        finally:
            self._call(phone.stop())
            self.server.adb("disconnect", phone.serial, may_fail=True)
        lost = _lost(written, samples)
        return Outcome(
            fault=fault,
            moment=moment,
            exit_code=exit_code,
            seconds=ended_s - (started_s if came_s is None else came_s),
            came=came_s is not None,
            message=message,
            has_traceback="Traceback" in message,
            kept=_kept(written, samples, collected, waiting),
            lost=() if waiting else lost,
            stored=stored,
        )

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def _attach(self, serial: str) -> None:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            self.server.adb("connect", serial, may_fail=True)
            listed = self.server.adb("devices", may_fail=True).stdout
            if f"{serial}\tdevice" in listed:
                return
            if f"{serial}\toffline" in listed:
                self.server.adb("disconnect", serial, may_fail=True)
            time.sleep(0.2)
        raise AssertionError(f"{serial} is not attached: {listed}")

    def _mobilekit(self, home: Path, *arguments: str) -> tuple[int, str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "mobilekit", *arguments],
            cwd=home,
            env={
                **self.server.environment,
                "MOBILEKIT_HOME": str(home),
                "MOBILEKIT_STORE": f"sqlite:///{home / 'results.sqlite'}",
                "COLUMNS": "200",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _, stderr = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            _, stderr = process.communicate()
            return ENDED_BY_US, "no end"
        position = stderr.rfind("Error: ")
        return process.returncode, stderr[position:].strip() if position >= 0 else stderr[
            -2000:
        ] * (process.returncode != 0)


@contextmanager
def running_bench(scratch: Path, cache: Path, network: str, samples: Samples) -> Iterator[Bench]:
    """``cache`` has the network; ``samples`` are of a run of it with ``--fast --no-energy``."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    (scratch / "adb").mkdir()
    try:
        with running_adb_server(scratch / "adb") as server:
            yield Bench(server, loop, cache, network, samples, scratch)
    finally:
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _lost(written: list[ProgressEvent], stored: Samples | None) -> tuple[str, ...]:
    loads = [event.load_ns for event in written if isinstance(event, LoadMeasured)]
    warmups = [event.latency_ns for event in written if isinstance(event, WarmupMeasured)]
    iterations = [event.latency_ns for event in written if isinstance(event, IterationsMeasured)]
    lost = {
        "load": bool(loads) and (stored is None or list(stored.load_ns[: len(loads)]) != loads),
        "warm-up": bool(warmups) and (stored is None or stored.warmup_ns != warmups[0]),
        "iterations": bool(iterations) and (stored is None or stored.iteration_ns != iterations[0]),
    }
    return tuple(name for name, is_lost in lost.items() if is_lost)


def _kept(
    written: list[ProgressEvent], stored: Samples | None, collected: bool, waiting: bool
) -> str:
    if not any(isinstance(event, SAMPLES) for event in written):
        return "nothing was measured"
    if waiting:
        return "all, on the phone"
    if stored is None:
        return "nothing"
    whole = stored.ended_ns is not None
    words = "all" if whole else f"{len(stored.iteration_ns)} iterations"
    if not whole and not stored.iteration_ns:
        words = f"{len(stored.load_ns)} loads"
    return words + (", by `collect`" if collected else "")
