"""What the virtual phone is, apart from its cable: properties, files, packages, battery, log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from mobilekit.contract.protocol import PACKAGE, BatterySample
from mobilekit.records.device import CompanionVulkan, DeviceProfile
from mobilekit.units import NS_PER_S
from mobilekit.virtual.crashes import Crash
from mobilekit.virtual.faults import Distortion
from mobilekit.virtual.files import PhoneFiles
from mobilekit.virtual.logcat import PhoneLog
from mobilekit.virtual.packages import Packages
from mobilekit.virtual.sockets import PhoneSockets, ReverseForwards


class Battery(Protocol):
    """What the phone asks of its battery."""

    gauge: str
    """Which simulated gauge it was started with; empty: the profile's."""

    def read(self) -> BatterySample: ...
    def set_plugged(self, plugged: bool) -> None: ...
    def set_level(self, percent: int) -> None: ...
    def reset(self) -> None:
        """Undo what was set, as ``dumpsys battery reset`` does."""


class Companion(Protocol):
    """What the phone asks of the app that runs benchmarks."""

    formats: tuple[str, ...]
    """What it can run; empty: nothing is told about it, as on a real phone."""

    vulkan: CompanionVulkan
    """Whether it runs programs for Vulkan, or why not."""

    computes: bool
    """Whether its runs take this computer's processor: then two phones disturb each other."""

    def start(self, run_id: str) -> int:
        """Start a run behind those that are under way, but for one of them; returns the id of the
        process that carries it."""
        ...

    def stop(self) -> None:
        """End all runs."""

    def signal(self, number: int) -> None:
        """Send a signal to all of its processes."""

    def take_crashes(self) -> list[Crash]:
        """Those of its processes, each told once."""
        ...

    def running_pids(self) -> list[int]: ...
    def memory_bytes(self, pid: int) -> int:
        """Of a running process."""
        ...


ADBD_PID = 301
CRASH_DUMP_PID = 407
"""Of what writes down where a process crashed."""
FIRST_SHELL_PID = 4242


class Process(NamedTuple):
    pid: int
    parent: int
    user: str
    memory_bytes: int
    name: str


class Shells:
    """The shells that run, each with a process id of its own."""

    def __init__(self) -> None:
        self._last_pid = FIRST_SHELL_PID
        self._signals: dict[int, Callable[[str], None]] = {}

    def add(self, signal: Callable[[str], None]) -> int:
        """``signal`` gets a name such as ``HUP``. Returns the new process's id."""
        self._last_pid += 1
        self._signals[self._last_pid] = signal
        return self._last_pid

    def remove(self, pid: int) -> None:
        self._signals.pop(pid, None)

    def pids(self) -> list[int]:
        return sorted(self._signals)

    def signal(self, pid: int, name: str) -> None:
        if pid in self._signals and name != "0":
            self._signals[pid](name)


class Properties:
    """``getprop`` and ``setprop``. Values that start with ``ro.`` never change."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def get(self, name: str) -> str | None:
        return self._values.get(name)

    def set(self, name: str, value: str) -> bool:
        """False for what cannot be set."""
        if name.startswith("ro.") or not name or len(value) > 91:
            return False
        self._values[name] = value
        return True

    def all(self) -> list[tuple[str, str]]:
        return sorted(self._values.items())


class Device:
    """Everything that the phone's shell can see and change."""

    def __init__(
        self,
        profile: DeviceProfile,
        directory: Path,
        abi: str,
        battery: Battery,
        companion: Companion,
        clock_ns: Callable[[], int],
    ) -> None:
        self.profile = profile
        self.battery = battery
        self.companion = companion
        self.told_directory = directory / "dumpsys"
        """What services tell in place of their own words: ``battery.txt``, ``batterystats.txt``."""
        self.log = PhoneLog()
        self.shells = Shells()
        self.sockets = PhoneSockets()
        self.reverse_forwards = ReverseForwards(self.sockets)
        self.properties = Properties(_property_values(profile, abi, companion, battery.gauge))
        self.settings: dict[str, dict[str, str]] = {
            "global": {
                "adb_enabled": "1",
                "airplane_mode_on": "0",
                "stay_on_while_plugged_in": "0",
            },
            "system": {
                "screen_brightness": "102",
                "screen_brightness_mode": "0",
                "screen_off_timeout": "60000",
            },
            "secure": {"android_id": "6d6f62696c656b69"},
        }
        self._clock_ns = clock_ns
        self._booted_ns = clock_ns()
        self.distortion: Distortion | None = None
        """What becomes of its shells' answers."""
        self.on_reboot: Callable[[], None] = lambda: None
        root = directory / "files"
        root.mkdir(parents=True, exist_ok=True)
        self.files = PhoneFiles(
            root,
            {
                "/proc/meminfo": self._meminfo,
                "/proc/cpuinfo": self._cpuinfo,
                "/proc/uptime": lambda: f"{self.uptime_s():.2f} {self.uptime_s():.2f}\n",
                "/proc/stat": _read_processor_times,
                "/proc/version": lambda: f"Linux version {self.kernel} (mobilekit virtual phone)\n",
                "/system/build.prop": lambda: "".join(
                    f"{name}={value}\n"
                    for name, value in self.properties.all()
                    if name.startswith("ro.")
                ),
            },
        )
        self.packages = Packages(directory / "packages.json", root, self.files, abi)
        self.boot()

    kernel = "4.14.0-mobilekit-virtual"

    def reboot(self) -> None:
        """Begin a restart, which whoever holds the cable goes on with."""
        self.properties.set("sys.boot_completed", "0")
        self.on_reboot()

    def boot(self) -> None:
        """It was off: what was in its memory is gone."""
        self._booted_ns = self._clock_ns()
        self.properties.set("sys.boot_completed", "1")
        self.log.clear()
        self.log.add("boot", f"{self.profile.title}: a virtual phone of mobilekit")

    def tell_health(self) -> None:
        """In the log, where something new comes every few seconds, as on any phone."""
        battery = self.battery.read()
        self.log.add(
            "healthd",
            f"battery l={battery.level_percent} v={battery.voltage_mv} "
            f"t={battery.temperature_decicelsius}",
        )

    def log_crashes(self) -> None:
        """Those of the app that the log does not tell of yet."""
        for crash in self.companion.take_crashes():
            head, frames = crash.log_lines(self.properties.get("ro.product.cpu.abi") or "")
            self.log.add("libc", head, level="F", pid=crash.pid, buffer="crash")
            for line in frames:
                self.log.add("DEBUG", line, level="F", pid=CRASH_DUMP_PID, buffer="crash")

    def uptime_s(self) -> float:
        return (self._clock_ns() - self._booted_ns) / NS_PER_S

    def processes(self) -> list[Process]:
        processes = [
            Process(1, 0, "root", 4 << 20, "init"),
            Process(ADBD_PID, 1, "shell", 6 << 20, "adbd"),
            Process(1000, 1, "system", 180 << 20, "system_server"),
        ]
        processes += [
            Process(pid, 1, "u0_a100", self.companion.memory_bytes(pid), PACKAGE)
            for pid in self.companion.running_pids()
        ]
        return processes + [
            Process(pid, ADBD_PID, "shell", 3 << 20, "sh") for pid in self.shells.pids()
        ]

    def memory_kib(self) -> tuple[int, int]:
        """Total and available memory."""
        total_bytes = self.profile.hardware.ram_bytes
        used_bytes = sum(process.memory_bytes for process in self.processes())
        return total_bytes // 1024, max(0, int(total_bytes * 0.7) - used_bytes) // 1024

    def _meminfo(self) -> str:
        total, available = self.memory_kib()
        figures = {
            "MemTotal": total,
            "MemFree": available // 2,
            "MemAvailable": available,
            "Buffers": 0,
            "Cached": available - available // 2,
            "SwapTotal": 0,
            "SwapFree": 0,
        }
        return "".join(f"{name + ':':15} {kib:8} kB\n" for name, kib in figures.items())

    def _cpuinfo(self) -> str:
        hardware = self.profile.hardware
        features = " ".join(hardware.cpu_features)
        told = f"Features\t: {features}\n" if features else ""
        processors = "".join(
            f"processor\t: {index}\nmodel name\t: {hardware.cpu}\n{told}\n"
            for index in range(hardware.cores or 1)
        )
        return f"{processors}Hardware\t: {hardware.soc}\n"


def _read_processor_times() -> str:
    """This computer's, whose processors the phone has."""
    path = Path("/proc/stat")
    return path.read_text(encoding="ascii") if path.exists() else "cpu 0 0 0 0 0 0 0 0 0 0\n"


def _property_values(
    profile: DeviceProfile, abi: str, companion: Companion, gauge: str
) -> dict[str, str]:
    manufacturer, _, model = profile.title.partition(" ")
    device = profile.match.devices[0] if profile.match.devices else profile.name
    release, sdk = profile.android_release, str(profile.android_sdk)
    brand = manufacturer.lower()
    return {
        "ro.product.manufacturer": manufacturer,
        "ro.product.model": model or profile.title,
        "ro.product.device": device,
        "ro.product.name": device,
        "ro.product.brand": brand,
        "ro.product.cpu.abi": abi,
        "ro.product.cpu.abilist": abi,
        "ro.build.version.release": release,
        "ro.build.version.sdk": sdk,
        "ro.build.type": "user",
        "ro.build.tags": "release-keys",
        "ro.build.fingerprint": f"{brand}/{device}/{device}:{release}/VIRTUAL/1:user/release-keys",
        "ro.soc.model": profile.hardware.soc,
        "ro.hardware": device,
        "ro.debuggable": "0",
        "ro.secure": "1",
        "init.svc.adbd": "running",
        "ro.serialno": f"virtual-{profile.name}",
        "ro.mobilekit.virtual": "1",
        **({"ro.mobilekit.formats": ",".join(companion.formats)} if companion.formats else {}),
        "ro.mobilekit.vulkan": companion.vulkan,
        **({} if companion.computes else {"ro.mobilekit.computes": "0"}),
        **({"ro.mobilekit.gauge": gauge} if gauge else {}),
        "persist.sys.timezone": "UTC",
        "sys.boot_completed": "1",
    }
