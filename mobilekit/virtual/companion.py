"""The virtual phone's own companion: this computer's runner, and a simulated battery behind it.

``python -m mobilekit.virtual.companion PHONE_DIRECTORY RUN_ID [FILE]`` takes one run, and carries
it out once ``FILE``, a pipe from the run before, has come to its end. Everything up
to the energy phase is real work on this computer. In the energy phase the clock is simulated: an
iteration takes one of the latencies measured before, the battery pays the profile's power for it,
and no time passes. What the battery truly paid is kept in ``truth/<run_id>.json``, out of reach of
the phone's shell.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

import msgspec

from mobilekit.contract.codec import Record, decode, encode
from mobilekit.contract.protocol import (
    INPUT_ROOT,
    OUTPUT_ROOT,
    BatterySample,
    RailSample,
    ThermalSample,
)
from mobilekit.records.device import DeviceProfile
from mobilekit.runner.energy_phase import EnergyStage
from mobilekit.runner.engine import Program
from mobilekit.runner.engines import make_engine
from mobilekit.runner.machine import Machine
from mobilekit.runner.run import carry_out_run, take_run
from mobilekit.virtual.battery import (
    GAUGE_FILE,
    SLOWDOWN,
    THROTTLED_SHARE,
    BatteryEmpty,
    BatteryState,
    GaugeKind,
    SimulatedBattery,
    capacity_uah_of,
    gauge_of_profile,
)
from mobilekit.virtual.companion_settings import (
    CRASH_REPORT,
    CompanionKind,
    CompanionSettings,
    companion_command,
    companion_formats,
    companion_vulkan,
)
from mobilekit.virtual.crashes import Crash, find_crash
from mobilekit.virtual.faults import read_faults, write_faults
from mobilekit.virtual.files import PhoneFiles
from mobilekit.virtual.pacing import PacedStage


class EnergyTruth(Record, frozen=True):
    """What the load windows of a run cost on the average.

    Without the background's chance, so that an interval is judged by what it is for: what the same
    work would cost again.
    """

    load_energy_j: float
    load_ns: int
    idle_energy_j: float
    """What an idle phone would have drawn in them."""
    iterations: int

    @property
    def gross_j(self) -> float:
        return self.load_energy_j / self.iterations

    @property
    def marginal_j(self) -> float:
        return self.gross_j - self.idle_energy_j / self.iterations


class SimulatedEnergyStage:
    """An energy phase in which time is only counted."""

    def __init__(
        self,
        profile: DeviceProfile,
        battery: SimulatedBattery,
        latency_ns: Sequence[int],
        start_ns: int,
    ) -> None:
        self._idle_w = profile.power.idle_mw / 1000
        self._marginal_w = profile.power.active_mw / 1000 - self._idle_w
        self._battery = battery
        self._latency_ns = itertools.cycle(latency_ns)
        self._mean_latency_ns = fmean(latency_ns)
        self._now_ns = start_ns
        self._load_energy_j = self._idle_energy_j = 0.0
        self._load_ns = 0
        self._iterations = 0

    @property
    def truth(self) -> EnergyTruth:
        return EnergyTruth(
            load_energy_j=self._load_energy_j,
            load_ns=self._load_ns,
            idle_energy_j=self._idle_energy_j,
            iterations=self._iterations,
        )

    def now_ns(self) -> int:
        return self._now_ns

    def idle_until(self, until_ns: int) -> None:
        self._battery.advance(until_ns - self._now_ns, self._idle_w)
        self._now_ns = until_ns

    def iterate_until(self, until_ns: int) -> int:
        slowdown, share = (SLOWDOWN, THROTTLED_SHARE) if self._battery.throttled else (1.0, 1.0)
        mean_ns = self._mean_latency_ns * slowdown
        remaining_ns = until_ns - self._now_ns
        # Tiny networks would take millions of steps: most of the time passes at their mean.
        iterations = max(0, int(remaining_ns / mean_ns) - 2)
        spent_ns = int(iterations * mean_ns)
        while spent_ns < remaining_ns:
            spent_ns += int(next(self._latency_ns) * slowdown)
            iterations += 1
        before_j, idle_before_j = self._battery.energy_j, self._battery.idle_j
        self._battery.advance(spent_ns, self._idle_w + self._marginal_w * share)
        self._load_energy_j += self._battery.energy_j - before_j
        self._idle_energy_j += self._battery.idle_j - idle_before_j
        self._load_ns += spent_ns
        self._iterations += iterations
        self._now_ns += spent_ns
        return iterations

    def read_battery(self) -> BatterySample:
        return self._battery.read(self._now_ns)

    def read_rails(self) -> tuple[RailSample, ...]:
        return self._battery.read_rails(self._now_ns)

    def read_thermal(self) -> ThermalSample:
        return self._battery.read_thermal(self._now_ns)


class PhoneBattery:
    """The phone's battery between runs, in a file of the phone's directory."""

    def __init__(self, profile: DeviceProfile, path: Path) -> None:
        self.gauge = read_gauge(path.parent, profile).name
        self._profile = profile
        self._path = path
        if not path.exists():
            self.reset()

    def read(self) -> BatterySample:
        kind = read_gauge(self._path.parent, self._profile)
        return SimulatedBattery(self._profile, BatteryState.read(self._path), kind).read(0)

    def set_plugged(self, plugged: bool) -> None:
        state = BatteryState.read(self._path)
        msgspec.structs.replace(state, plugged=plugged).write(self._path)

    def set_level(self, percent: int) -> None:
        state = BatteryState.read(self._path)
        charge_uah = capacity_uah_of(self._profile) * percent / 100
        msgspec.structs.replace(state, charge_uah=charge_uah).write(self._path)

    def reset(self) -> None:
        """Four fifths full, unplugged: the adb link is a network's, not a cable's."""
        charge_uah = 0.8 * capacity_uah_of(self._profile)
        BatteryState(charge_uah=charge_uah, plugged=False, seed=1).write(self._path)


class CompanionProcess:
    """The companion as the phone's app: one run after another.

    Each has a process of its own, so that its memory is its own. All are started at once; a pipe
    that each keeps open for as long as it lives is what the next one waits for.
    """

    computes = True

    def __init__(self, phone_directory: Path, kind: CompanionKind = "python") -> None:
        self.formats = companion_formats(kind)
        self.vulkan = companion_vulkan(kind)
        self._directory = phone_directory
        self._kind = kind
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        """By their runs, in the order of their starts."""
        self._crashes: list[Crash] = []
        self._newest_ended: int | None = None
        """The end of the newest one's pipe that is for reading."""

    def start(self, run_id: str) -> int:
        running = self._running()
        if run_id in running:
            return running[run_id].pid
        before = self._newest_ended if running else None
        reading, writing = os.pipe()
        with (self._directory / "companion.log").open("ab" if running else "wb") as log:
            process = subprocess.Popen(
                companion_command(
                    self._kind, self._directory, run_id, waits_for_input=before is not None
                ),
                stdin=subprocess.DEVNULL if before is None else before,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
            )
        os.close(writing)
        self._close_pipe()
        self._newest_ended = reading
        self._processes[run_id] = process
        return process.pid

    def stop(self) -> None:
        self._running()  # One may have crashed before.
        # The last one first, or it would take its turn.
        for process in reversed(self._processes.values()):
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes = {}
        self._close_pipe()

    def signal(self, number: int) -> None:
        # The last one first, or it would take its turn.
        for process in reversed(self._running().values()):
            process.send_signal(number)

    def running_pids(self) -> list[int]:
        return [process.pid for process in self._running().values()]

    def memory_bytes(self, pid: int) -> int:
        """Resident memory of a running process; 0 where it cannot be told."""
        try:
            fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
        except OSError:
            return 0
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def take_crashes(self) -> list[Crash]:
        self._running()
        crashes, self._crashes = self._crashes, []
        return crashes

    def _running(self) -> dict[str, subprocess.Popen[bytes]]:
        """Those that live; of those that have ended since it was last asked, crashes are kept."""
        for run_id, process in list(self._processes.items()):
            if process.poll() is not None:
                del self._processes[run_id]
                report = self._directory / CRASH_REPORT
                crash = find_crash(process.pid, process.returncode, report)
                self._crashes += [] if crash is None else [crash]
        return dict(self._processes)

    def _close_pipe(self) -> None:
        if self._newest_ended is not None:
            os.close(self._newest_ended)
            self._newest_ended = None


def read_profile(phone_directory: Path) -> DeviceProfile:
    path = phone_directory / "profile.json"
    profile: DeviceProfile = decode(path.read_bytes(), DeviceProfile, source=str(path))
    return profile


def read_gauge(phone_directory: Path, profile: DeviceProfile) -> GaugeKind:
    """The phone's ``gauge.json``; without one, a sound gauge as the profile says."""
    path = phone_directory / GAUGE_FILE
    if not path.exists():
        return gauge_of_profile(profile)
    kind: GaugeKind = decode(path.read_bytes(), GaugeKind, source=str(path))
    return kind


@contextmanager
def open_machine(directory: Path, run_id: str) -> Iterator[Machine]:
    """The phone in that directory as a run's machine: what the run does to it outlasts the run."""
    profile = read_profile(directory)
    battery_path = directory / "battery.json"
    kind = read_gauge(directory, profile)
    battery = SimulatedBattery(profile, BatteryState.read(battery_path), kind)
    stages: list[SimulatedEnergyStage] = []

    def make_energy_stage(_: Program, latency_ns: Sequence[int], at_ns: int) -> EnergyStage:
        stages.append(SimulatedEnergyStage(profile, battery, latency_ns, at_ns))
        speed = CompanionSettings.read(directory).energy_speed
        return PacedStage(stages[-1], battery, battery_path, speed, time.sleep)

    try:
        yield Machine(
            name="mobilekit virtual companion",
            clock_ns=time.monotonic_ns,
            make_engine=make_engine,
            battery="simulated",
            read_battery=battery.read,
            make_energy_stage=make_energy_stage,
        )
    finally:
        battery.state.write(battery_path)
        for stage in stages:
            truth = directory / "truth" / f"{run_id}.json"
            truth.parent.mkdir(exist_ok=True)
            truth.write_bytes(encode(stage.truth))


def main(phone_directory: str, run_id: str, until_end_of: str | None = None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The phone decides when its companion ends.
    directory = Path(phone_directory)
    files = PhoneFiles(directory / "files", {})
    journal = take_run(files.host_path(OUTPUT_ROOT), run_id)
    if until_end_of is not None:
        Path(until_end_of).read_bytes()
        if read_faults(directory).powered_off:
            return
    try:
        carry_out_run(files.host_path(INPUT_ROOT), journal, lambda: open_machine(directory, run_id))
    except BatteryEmpty:
        write_faults(directory, msgspec.structs.replace(read_faults(directory), powered_off=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
